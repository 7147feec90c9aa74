//! The secrets of one cluster by name: those given, and those made because they were asked for and not there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::{Fill, Kind, Secret, SecretError};

/// Where the value of a secret comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// It stands in the file.
    Value(Secret),
    /// A variable of the environment.
    Environment(String),
    /// A file of the host; one line end at its end is not part of it.
    File(PathBuf),
    /// What a program prints, for sops, age, pass and the like; one line end at its end is not part of it.
    Command(Vec<String>),
}

/// What a store needs from outside.
pub trait Outside {
    /// The value of a source that does not stand in the file.
    ///
    /// # Errors
    /// A sentence that names the source and says why it gave nothing; never a value.
    fn resolve(&mut self, name: &str, source: &Source) -> Result<Secret, String>;
    /// Random bytes.
    ///
    /// # Errors
    /// The system gives none.
    fn fill(&mut self, buf: &mut [u8]) -> std::io::Result<()>;
}

/// Why a secret could not be had.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Only the user knows it, and it is not there.
    #[error("the secret `{name}` is missing: it cannot be made up, give it in {file}")]
    Missing {
        /// Its name.
        name: String,
        /// The file of secrets.
        file: String,
    },
    /// Its source gave nothing.
    #[error("the secret `{name}`: {why}")]
    Unresolved {
        /// Its name.
        name: String,
        /// What the source said.
        why: String,
    },
    /// It is not what its name says, or could not be made.
    #[error(transparent)]
    Wrong(#[from] SecretError),
    /// It has a source elsewhere, so a new value cannot be made here.
    #[error("the secret `{name}` comes from {whence}; change it there")]
    Elsewhere {
        /// Its name.
        name: String,
        /// Its source in words.
        whence: String,
    },
    /// No such secret.
    #[error("no secret is called `{0}`")]
    Unknown(String),
}

/// The secrets of one cluster.
#[derive(Debug, Clone, Default)]
pub struct SecretStore {
    /// The file they are kept in, for messages.
    file: String,
    sources: BTreeMap<String, Source>,
    /// Values of sources elsewhere, asked for once.
    resolved: BTreeMap<String, Secret>,
    made: BTreeSet<String>,
}

impl SecretStore {
    /// A store with what `file` holds.
    #[must_use]
    pub fn new(file: &str, sources: BTreeMap<String, Source>) -> Self {
        Self {
            file: file.to_owned(),
            sources,
            ..Self::default()
        }
    }

    /// The secret of this name; made, and kept from then on, when it is not there.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn get(&mut self, name: &str, kind: Kind, outside: &mut dyn Outside) -> Result<Secret, StoreError> {
        let value = match self.sources.get(name) {
            Some(Source::Value(value)) => value.clone(),
            Some(source) => match self.resolved.get(name) {
                Some(value) => value.clone(),
                None => {
                    let value = outside
                        .resolve(name, source)
                        .map_err(|why| StoreError::Unresolved {
                            name: name.to_owned(),
                            why,
                        })?;
                    self.resolved.insert(name.to_owned(), value.clone());
                    value
                }
            },
            None => self.make(name, kind, &mut |buf| outside.fill(buf))?,
        };
        kind.check(name, &value)?;
        Ok(value)
    }

    /// A new value for a secret that was made here.
    ///
    /// # Errors
    /// [`StoreError::Unknown`], [`StoreError::Elsewhere`], or as [`SecretStore::get`].
    pub fn rotate(&mut self, name: &str, kind: Kind, fill: Fill<'_>) -> Result<(), StoreError> {
        match self.sources.get(name) {
            None => Err(StoreError::Unknown(name.to_owned())),
            Some(Source::Value(_)) => self.make(name, kind, fill).map(drop),
            Some(source) => Err(StoreError::Elsewhere {
                name: name.to_owned(),
                whence: source.to_string(),
            }),
        }
    }

    fn make(&mut self, name: &str, kind: Kind, fill: Fill<'_>) -> Result<Secret, StoreError> {
        let value = kind.make(fill)?.ok_or_else(|| StoreError::Missing {
            name: name.to_owned(),
            file: self.file.clone(),
        })?;
        self.sources.insert(name.to_owned(), Source::Value(value.clone()));
        self.made.insert(name.to_owned());
        Ok(value)
    }

    /// Names of what was made since the store was opened; when there are none, the file is as it was.
    #[must_use]
    pub fn made(&self) -> &BTreeSet<String> {
        &self.made
    }

    /// All names and sources, by name.
    pub fn sources(&self) -> impl Iterator<Item = (&str, &Source)> {
        self.sources.iter().map(|(name, source)| (name.as_str(), source))
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Value(_) => f.write_str("the file of secrets"),
            Self::Environment(name) => write!(f, "the environment (`{name}`)"),
            Self::File(path) => write!(f, "the file `{}`", path.display()),
            // Arguments may hold what they should not.
            Self::Command(words) => write!(f, "the command `{}`", words.first().map_or("", String::as_str)),
        }
    }
}
