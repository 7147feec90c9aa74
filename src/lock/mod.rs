//! `ceil.lock`: what every input of a cluster is, so that a copy of the cluster file with its lock builds the same
//! bytes.
//!
//! This room knows entries, their text, and when an entry counts. It must not know the network, the cache or what
//! an input is for.

#![allow(
    clippy::result_large_err,
    reason = "errors end the command and are made once; they hold both digests in words"
)]

mod file;
mod rules;
#[cfg(test)]
mod tests;
mod text;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use crate::values::{Arch, ChecksumState, Digest};

pub use file::LockFile;
pub use rules::{Decision, Mode, Stated, decide};
pub use text::{parse, print};

/// Name of the file, beside the cluster file.
pub const LOCK_FILE: &str = "ceil.lock";

/// What an input is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// An image to start from.
    Base,
    /// A program or an archive of container images.
    Artifact,
}

/// What an entry is found by. A base is found by the name that the cluster file has for it, which may be an alias or
/// a URL; an artifact by name, version and architecture.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// What it is.
    pub kind: Kind,
    /// The name.
    pub name: String,
    /// The version of an artifact, whole; `None` for bases.
    pub version: Option<String>,
    /// The architecture of an artifact; `None` for bases.
    pub arch: Option<Arch>,
}

impl Key {
    /// Of a base, by its name or URL in the cluster file.
    #[must_use]
    pub fn base(name: &str) -> Self {
        Self {
            kind: Kind::Base,
            name: name.to_owned(),
            version: None,
            arch: None,
        }
    }

    /// Of an artifact.
    #[must_use]
    pub fn artifact(name: &str, version: &str, arch: Arch) -> Self {
        Self {
            kind: Kind::Artifact,
            name: name.to_owned(),
            version: Some(version.to_owned()),
            arch: Some(arch),
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::Base => write!(f, "the base `{}`", self.name),
            Kind::Artifact => {
                write!(f, "`{}`", self.name)?;
                if let Some(version) = &self.version {
                    write!(f, " {version}")?;
                }
                match self.arch {
                    Some(arch) => write!(f, " for {arch}"),
                    None => Ok(()),
                }
            }
        }
    }
}

/// What is known about the signature of a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SignatureState {
    /// Nobody looked.
    #[default]
    Unchecked,
}

impl SignatureState {
    /// The word used in files.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Unchecked => "unchecked",
        }
    }
}

/// A raw image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Raw {
    /// Length in bytes.
    pub size: u64,
    /// SHA-256.
    pub sha256: Digest,
}

/// One input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What it is.
    pub kind: Kind,
    /// Its name, as in [`Key`].
    pub name: String,
    /// The version, where it has one.
    pub version: Option<String>,
    /// The architecture, where it is known.
    pub arch: Option<Arch>,
    /// Where it was fetched from, without passwords: see [`crate::values::shown_url`].
    pub url: String,
    /// Length of the download in bytes, where it is known.
    pub size: Option<u64>,
    /// SHA-256 of the download, where it is known.
    pub sha256: Option<Digest>,
    /// The raw image in a base.
    pub raw: Option<Raw>,
    /// What vouched for the digest when it was recorded.
    pub checksum: ChecksumState,
    /// What is known about its signature.
    pub signature: SignatureState,
}

impl Entry {
    /// What the entry is found by.
    #[must_use]
    pub fn key(&self) -> Key {
        match self.kind {
            Kind::Base => Key::base(&self.name),
            Kind::Artifact => Key {
                kind: self.kind,
                name: self.name.clone(),
                version: self.version.clone(),
                arch: self.arch,
            },
        }
    }
}

/// All entries, sorted, each with the line where it begins (0 for one that is not written yet).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lock {
    entries: BTreeMap<Key, (Entry, u64)>,
}

impl Lock {
    /// The entry of an input.
    #[must_use]
    pub fn get(&self, key: &Key) -> Option<&Entry> {
        self.entries.get(key).map(|(entry, _)| entry)
    }

    /// Puts an entry in, in place of the one with its key.
    pub fn put(&mut self, entry: Entry) {
        self.entries.insert(entry.key(), (entry, 0));
    }

    /// All entries, sorted by key.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values().map(|(entry, _)| entry)
    }
}

/// Why a lock cannot be used, or forbids what is asked.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// The file cannot be read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file cannot be written; it is as it was.
    #[error("cannot write `{}`", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The file is not what it should be.
    #[error("{file}:{line}: {message}")]
    Syntax {
        /// The file as the user knows it.
        file: String,
        /// Counted from 1.
        line: u64,
        /// What is wrong, and what would be right.
        message: String,
    },
    /// The lock must be complete and is not.
    #[error("{file}: there is no entry for {key}, and `--locked` forbids making one")]
    Missing {
        /// The file.
        file: String,
        /// What was looked for.
        key: Key,
    },
    /// The lock and what is stated elsewhere cannot both be right.
    #[error(
        "{place}: the {what} of {key} is not the one that {by} gives\n  lock  {locked}\n  there {stated}"
    )]
    Contradiction {
        /// File and line of the entry.
        place: String,
        /// What it is about.
        key: Key,
        /// `SHA-256` or `SHA-256 of the raw image`.
        what: &'static str,
        /// Who says otherwise: `the catalog`, or a place in the cluster file.
        by: String,
        /// The lock's digest.
        locked: Digest,
        /// The other one.
        stated: Digest,
    },
    /// The place where an input is fetched from has something else now.
    #[error("{key} has changed: {by} says\n  {expected}\nbut `{url}` now serves\n  {served}")]
    Drift {
        /// What it is about.
        key: Key,
        /// Who says what it should be: a place in the lock, or `the catalog`.
        by: String,
        /// What it should be.
        expected: Digest,
        /// Where it was fetched from.
        url: String,
        /// What came.
        served: Digest,
    },
}

impl LockError {
    /// A way out, for the line after the error.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Missing { .. } => {
                Some("run `ceil-img fetch` without `--locked`, look at what it adds, and keep that")
            }
            Self::Contradiction { .. } => {
                Some("when the other one is right, `ceil-img fetch --update` takes it into the lock")
            }
            Self::Drift { .. } => Some(
                "nothing of it was used; when the change is meant, find out why and run `ceil-img fetch --update`, \
                 otherwise fetch the old file elsewhere with `--mirror`",
            ),
            Self::Syntax { .. } => Some("or delete the file: `ceil-img fetch` makes it anew"),
            Self::Read { .. } | Self::Write { .. } => None,
        }
    }
}
