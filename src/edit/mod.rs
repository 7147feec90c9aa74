//! Edits are carried out: the words of `plan` become calls of `fs`.
//!
//! An [`Edit`](crate::plan::Edit) says what is to become of an image. Most kinds are one call on a
//! [`Volume`](crate::fs::Volume); those that depend on what is there (kernel arguments, config.txt, fstab, hosts)
//! are text in, text out, and live in [`crate::amend`], where they can be tested without an image.
//!
//! This room knows plans, images and texts. It must not know the cluster file, host files or the network.

mod apply;
pub mod grow;

pub use apply::{Applied, EditError, OpenContent, PlaceError, Places, Touch, apply, locate};

/// Whether `path` is `dir` or lies below it.
#[must_use]
pub fn below(path: &str, dir: &str) -> bool {
    path.strip_prefix(dir)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
