//! Which versions fit together, told before a card is written: rules over facts, each with a remedy.
//!
//! A fact that nobody knows makes no finding: a gate speaks only of what it was told.

mod facts;
mod rules;

pub use facts::{Arch, BaseFacts, CgroupVersion, Facts, NumbersError, Os, Runtime, Version};
pub use rules::check;

use serde::Serialize;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It works, but not well, or only under conditions.
    Warning,
    /// It does not work; no image is built.
    Error,
}

/// What a gate has to say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// `G1` to `G12`, `P12`, `P44`, `P65`.
    pub id: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What does not fit.
    pub sentence: String,
    /// What would.
    pub remedy: String,
}
