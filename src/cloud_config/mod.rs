//! What is wrong with the seed files of cloud-init, told before a card is written (F060, P47, P61).
//!
//! This room knows cloud-init's two file formats and in which version a key appeared. It must not know images, bases or
//! files of the host. The JSON Schemas are cloud-init's own, from `cloud-init/schema`.

mod network;
mod old;
mod release;
mod schema;
#[cfg(test)]
mod tests;
mod user_data;

use std::fmt;

pub use network::check_network_config;
pub use release::Release;
pub use user_data::check_user_data;

/// Whether the 0.7 line of cloud-init reads a key at the top of user-data.
#[must_use]
pub fn old_reads(key: &str) -> bool {
    old::knows("", key, true)
}

/// Something that cloud-init would refuse, pass over or read differently.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// Line in the text, 1-based, where known.
    pub line: Option<u64>,
    /// The key that leads there, such as `users[0].ssh_pwauth`; empty for the whole file.
    pub key: String,
    /// What is wrong and what would be right. Values are not repeated, since they may be secret.
    pub message: String,
}

impl fmt::Display for Finding {
    /// `line 7: users[0].ssh_pwauth: …`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)
    }
}

impl Finding {
    fn new(line: Option<u64>, key: &str, message: impl Into<String>) -> Self {
        Self {
            line,
            key: key.to_owned(),
            message: message.into(),
        }
    }
}

/// In order of lines, each once.
fn sorted(mut findings: Vec<Finding>) -> Vec<Finding> {
    findings.sort();
    findings.dedup();
    findings
}
