//! Pure changes of small text files: each function takes the text that is there and returns the text that should
//! be. All are idempotent, and leave every line and word alone that they were not asked about.
//!
//! This room knows the formats of small texts. It must not know images, files or who asks.

mod accounts;
mod assign;
mod config_txt;
mod fstab;
mod hosts;
mod kernel_args;
mod os_release;

pub use accounts::{Account, Accounts, Placed};
pub use assign::{assign, locale_gen, sshd_option};
pub use config_txt::config_txt;
pub use fstab::{FstabEntry, fstab, parse_fstab};
pub use hosts::{hosts_loopback, hosts_members};
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

/// The line ending of a text: that of its first line, also when that one is cut after `\r`; `\n` when it has none.
fn line_ending(text: &str) -> &'static str {
    match text.find('\n') {
        Some(at) if text[..at].ends_with('\r') => "\r\n",
        None if text.ends_with('\r') => "\r\n",
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
        previous.push_str(if previous.ends_with('\r') { "\n" } else { ending });
    }
    lines.insert(at, format!("{line}{ending}"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Doing it twice is doing it once, and the words that were there stay in their order.
        #[test]
        fn kernel_args_are_idempotent(
            text in "([a-c]{1,2}(=[a-c,]{0,3})?|cgroup_enable=(memory|cpuset|pids,memory|[a,\"]{0,6})|cgroup_memory=1|\"| |--){0,12}\n?",
            add in proptest::collection::vec("[a-c]{1,2}(=[a-c]{1,2})?|cgroup_enable=(memory|cpuset|cpuset,memory)", 0..4),
        ) {
            let none: [&str; 0] = [];
            if let Ok(once) = kernel_args(&text, &add, &none) {
                prop_assert_eq!(kernel_args(&once, &add, &none), Ok(once.clone()));
                prop_assert_eq!(once.matches('\n').count(), 1);
                let kept = |line: &str| -> Vec<String> {
                    let words = kernel_words(line).expect("words");
                    words.into_iter().filter(|w| !w.starts_with("cgroup_") && !add.contains(w)).collect()
                };
                prop_assert_eq!(kept(&once), kept(&text));
            }
        }

        /// Setting twice is setting once; other lines stay; the firmware finds the value last in its section.
        #[test]
        fn config_txt_is_idempotent(
            text in "((gpu_mem|arm_64bit|dtoverlay|#gpu_mem)=[0-9]{1,2}(\r?\n)|\\[(all|pi4|cm4)\\](\r?\n)|\r?\n){0,12}",
            section in "all|pi4",
            value in "[0-9]{1,2}",
        ) {
            let none: [&str; 0] = [];
            let set = [("gpu_mem", value.as_str())];
            let once = config_txt(&text, &section, &set, &none).expect("amended");
            prop_assert_eq!(config_txt(&once, &section, &set, &none), Ok(once.clone()));
            let mut inside = section == "all";
            let mut found = Vec::new();
            for line in once.lines().map(str::trim) {
                if let Some(name) = line.strip_prefix('[') {
                    inside = name.trim_end_matches(']') == section;
                } else if inside && line.starts_with("gpu_mem=") {
                    found.push(line.to_owned());
                }
            }
            prop_assert_eq!(found, vec![format!("gpu_mem={value}")]);
            let others = |text: &str| -> Vec<String> {
                text.lines().filter(|l| !l.starts_with("gpu_mem=") && !l.starts_with('[')).map(str::to_owned).collect()
            };
            prop_assert_eq!(others(&once), others(&text));
        }

        /// Any text is amended or refused.
        #[test]
        fn any_text_ends(text in "([a-z/# \t\\\\\n\r=\\[\\]\"']|\\\\0[0-9é]|/data|127.0.1.1){0,60}") {
            let none: [&str; 0] = [];
            let _ = kernel_args(&text, &["a"], &none);
            let _ = config_txt(&text, "all", &[("a", "1")], &["b"]);
            let _ = parse_os_release(&text);
            let _ = parse_fstab(&text);
            let hosts = hosts_loopback(&text, "one", None);
            prop_assert_eq!(hosts_loopback(&hosts, "one", None), hosts);
            let line = "LABEL=x /data ext4 defaults 0 0";
            let once = fstab(&text, "/data", Some(line)).expect("set");
            prop_assert_eq!(fstab(&once, "/data", Some(line)), Ok(once.clone()));
            prop_assert!(parse_fstab(&once).iter().filter(|e| e.mount == "/data").count() == 1);
        }
    }
}
