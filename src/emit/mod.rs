//! A finished image becomes files: the image itself, its checksum, its block map and its manifest.
//!
//! This room knows files of the host that are written and how they appear (complete, by rename). It must not know
//! file systems or how the image came to be.

mod compress;
mod manifest;
mod output;
mod qcow2;
mod stream;

pub use compress::{by_name, suffix};
pub use manifest::{ChangedPath, ImageFacts, Input, Manifest};
pub use output::Output;
pub use qcow2::{Card, qcow2};
pub use stream::{Emitted, Request, content_digest, emit};

/// Why an image could not be written.
#[derive(Debug, thiserror::Error)]
pub enum EmitError {
    /// A file of the host.
    #[error("cannot write `{path}`")]
    Write {
        /// The file.
        path: std::path::PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Reading the image: the base or a payload.
    #[error("cannot read the image that is to be written")]
    Read(#[source] std::io::Error),
    /// Someone else writes the same file.
    #[error("`{0}` is being written by another ceil-img")]
    Busy(std::path::PathBuf),
    /// Interrupted.
    #[error("interrupted; `{0}` was left as it was")]
    Interrupted(std::path::PathBuf),
}
