//! Pure changes of small text files: each function takes the text that is there and returns the text that should
//! be. All are idempotent, and leave every line and word alone that they were not asked about.

mod config_txt;
mod fstab;
mod hosts;
mod kernel_args;
mod os_release;

pub use config_txt::config_txt;
pub use fstab::{FstabEntry, fstab, parse_fstab};
pub use hosts::hosts_loopback;
pub use kernel_args::{kernel_args, kernel_words};
pub use os_release::parse_os_release;

/// Why a text cannot be amended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AmendError {
    /// A file that should be text and is not.
    #[error("it is not UTF-8 text")]
    NotText,
    /// A command line of several lines.
    #[error(
        "the kernel command line holds {0} lines and the firmware reads only the first; join them in the base first"
    )]
    SeveralLines(usize),
    /// A command line with a quote that does not close.
    #[error("the kernel command line has an open quote: `{0}`")]
    OpenQuote(String),
    /// A command line that the kernel would cut.
    #[error("the kernel command line would be {0} bytes long; the kernel takes 2047 at most")]
    TooLong(usize),
    /// A wish that the format cannot hold.
    #[error("`{0}` cannot stand in {1}")]
    Unwritable(String, &'static str),
}

/// The line ending of a text: that of its first line, `\n` when it has none.
fn line_ending(text: &str) -> &'static str {
    match text.find('\n') {
        Some(at) if text[..at].ends_with('\r') => "\r\n",
        _ => "\n",
    }
}

/// Lines with their endings, so that untouched ones go back byte for byte.
fn lines(text: &str) -> Vec<String> {
    text.split_inclusive('\n').map(str::to_owned).collect()
}

/// Appends a line, closing the last one when it is open.
fn push_line(lines: &mut Vec<String>, at: usize, line: &str, ending: &str) {
    if let Some(previous) = at.checked_sub(1).and_then(|i| lines.get_mut(i))
        && !previous.ends_with('\n')
    {
        previous.push_str(ending);
    }
    lines.insert(at, format!("{line}{ending}"));
}
