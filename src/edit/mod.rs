//! Edits are carried out: the words of `plan` become calls of `fs`.
//!
//! This room knows volumes and texts. It must not know host files, the network or how an edit was written.

pub mod amend;
mod apply;
pub mod grow;

pub use amend::AmendError;
pub use apply::{Applied, EditError, OpenContent, PlaceError, Places, Touch, apply, locate};

/// Whether `path` is `dir` or lies below it.
#[must_use]
pub fn below(path: &str, dir: &str) -> bool {
    path.strip_prefix(dir)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
