//! Which versions fit together, told before a card is written: rules over facts, each with a remedy.
//!
//! A fact that nobody knows makes no finding: a gate speaks only of what it was told.

mod facts;
mod rules;

pub use facts::{Base, CgroupVersion, Facts, NumbersError, Os, Runtime, System, Version};
pub use rules::{check, check_system};
