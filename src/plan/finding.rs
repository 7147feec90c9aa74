use std::fmt;

use serde::Serialize;

use super::Origin;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It will not work; no image is built.
    Error,
    /// It works, but not well, or only until it does not.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

/// Something wrong or unwise in a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Number of the pitfall, feature or gate, such as `P16`.
    pub id: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// Where it is.
    pub origin: Origin,
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub remedy: String,
}

impl fmt::Display for Finding {
    /// `cluster.yaml:3: warning P13: … (remedy: …)`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {} {}: {} (remedy: {})",
            self.origin, self.severity, self.id, self.message, self.remedy
        )
    }
}
