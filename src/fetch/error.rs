use std::io;
use std::path::{Path, PathBuf};

use crate::values::{ByteSize, Digest};

/// What went wrong on the way from a location to verified bytes in the cache.
///
/// Whatever the error, the cache holds no unverified object under its final name.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// A file of the host could not be used.
    #[error("{action} `{}`: {source}", path.display())]
    Io {
        /// What was attempted, as in `opening`.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The file system of the cache has no room.
    #[error("no room left on the disk while writing `{}`; free some space, or prune the cache", path.display())]
    DiskFull {
        /// The file being written.
        path: PathBuf,
    },
    /// The host of a URL does not answer.
    #[error("`{host}` cannot be reached ({detail}), so `{url}` was not fetched")]
    Unreachable {
        /// What was asked for.
        url: String,
        /// Its host.
        host: String,
        /// The reason in words.
        detail: String,
    },
    /// The server answered, but not with the file.
    #[error("`{url}` was not fetched: {detail}")]
    Download {
        /// What was asked for.
        url: String,
        /// What happened.
        detail: String,
    },
    /// The network was needed while it was forbidden.
    #[error("`{url}` is not in the cache, and `--offline` forbids fetching it")]
    Offline {
        /// What would have been fetched.
        url: String,
    },
    /// The text is not a location.
    #[error("`{url}` is not an http or https URL: {detail}")]
    BadUrl {
        /// As given.
        url: String,
        /// What is wrong with it.
        detail: String,
    },
    /// The bytes are not those that were asked for.
    #[error(
        "{what} of `{subject}` is wrong\n  expected {expected}\n  found    {found}{}",
        seen(note)
    )]
    Mismatch {
        /// `digest of the file` or `digest of the raw image`.
        what: &'static str,
        /// The file or URL.
        subject: String,
        /// What it should be.
        expected: Digest,
        /// What it is.
        found: Digest,
        /// What else was noticed about the bytes.
        note: Option<String>,
    },
    /// The bytes are whole but hold no disk image.
    #[error("`{subject}` is not an image: {reason}")]
    NotAnImage {
        /// The file or URL.
        subject: String,
        /// What it is, or what is missing.
        reason: String,
    },
    /// The compressed data is damaged or cut short.
    #[error("`{subject}` is damaged: {detail}")]
    Damaged {
        /// The file or URL.
        subject: String,
        /// Format and complaint.
        detail: String,
    },
    /// The packing is understood but not supported.
    #[error("`{subject}` cannot be unpacked: {detail}")]
    Unsupported {
        /// The file or URL.
        subject: String,
        /// What is not supported, and what would be right.
        detail: String,
    },
    /// An archive holds something that no archive of programs has.
    #[error("`{subject}` is refused: {detail}")]
    Archive {
        /// The file.
        subject: String,
        /// What it holds.
        detail: String,
    },
    /// The raw image passes the limit.
    #[error("`{subject}` unpacks to more than {limit}; raise the limit if this is meant")]
    TooLarge {
        /// The file or URL.
        subject: String,
        /// The limit in bytes.
        limit: ByteSize,
    },
    /// A list of checksums does not answer the question.
    #[error("`{list}` {detail}")]
    ChecksumList {
        /// The list's file or URL.
        list: String,
        /// What is wrong with it.
        detail: String,
    },
    /// The user asked to stop.
    #[error("stopped")]
    Cancelled,
}

fn seen(note: &Option<String>) -> String {
    note.as_ref()
        .map_or_else(String::new, |note| format!("\n  ({note})"))
}

impl FetchError {
    /// A way out, for the line after the error.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Unreachable { .. } => Some(
                "give an image that is already here with `--base PATH`, or try the built-in one with `--base demo`",
            ),
            Self::Offline { .. } => Some(
                "give an image that is already here with `--base PATH`, try the built-in one with `--base demo`, or drop `--offline`",
            ),
            _ => None,
        }
    }

    /// The error of a failed action on a file; a full disk has its own.
    pub(crate) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        if source.kind() == io::ErrorKind::StorageFull || source.kind() == io::ErrorKind::QuotaExceeded {
            return Self::DiskFull {
                path: path.to_owned(),
            };
        }
        Self::Io {
            action,
            path: path.to_owned(),
            source,
        }
    }
}

/// The result of every operation of this room.
pub type Result<T> = std::result::Result<T, FetchError>;
