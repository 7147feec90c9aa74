//! When an entry counts, and when it forbids going on.

use super::{Entry, Key, LockError, LockFile};
use crate::values::Digest;

/// How strictly the lock is taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode {
    /// What is there counts, what is missing is added.
    #[default]
    Fill,
    /// What is there counts, and nothing may be missing.
    Locked,
    /// Nothing counts: everything is asked for anew.
    Update,
}

/// What the cluster file and the catalog say of an input now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stated {
    /// The version, where a catalog says so. Another one than the lock's is no contradiction: the lock stays.
    pub version: Option<String>,
    /// SHA-256 of the download.
    pub sha256: Option<Digest>,
    /// SHA-256 of the raw image.
    pub raw_sha256: Option<Digest>,
    /// Who says so: `the catalog`, or a place in the cluster file.
    pub by: String,
}

/// Where an input comes from.
#[derive(Debug, PartialEq, Eq)]
pub enum Decision<'a> {
    /// From where the lock says, and nothing but its bytes.
    AsLocked(&'a Entry),
    /// From where the cluster file and the catalog say; it is to be recorded.
    AsStated,
}

/// Decides where an input comes from.
///
/// # Errors
/// [`LockError::Missing`] and [`LockError::Contradiction`].
pub fn decide<'a>(
    lock: &'a LockFile,
    key: &Key,
    stated: &Stated,
    mode: Mode,
) -> Result<Decision<'a>, LockError> {
    if mode == Mode::Update {
        return Ok(Decision::AsStated);
    }
    let Some(entry) = lock.expect(key) else {
        return match mode {
            Mode::Locked => Err(LockError::Missing {
                file: lock.name(),
                key: key.clone(),
            }),
            _ => Ok(Decision::AsStated),
        };
    };
    let moved_on = stated.version.is_some() && stated.version != entry.version;
    if moved_on {
        return Ok(Decision::AsLocked(entry));
    }
    let raw = entry.raw.as_ref().map(|raw| &raw.sha256);
    for (what, locked, stated_digest) in [
        ("SHA-256", entry.sha256.as_ref(), &stated.sha256),
        ("SHA-256 of the raw image", raw, &stated.raw_sha256),
    ] {
        if let (Some(locked), Some(other)) = (locked, stated_digest)
            && locked.kind() == other.kind()
            && locked != other
        {
            return Err(LockError::Contradiction {
                place: lock.place(key),
                key: key.clone(),
                what,
                by: stated.by.clone(),
                locked: locked.clone(),
                stated: other.clone(),
            });
        }
    }
    Ok(Decision::AsLocked(entry))
}
