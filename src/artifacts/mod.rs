//! Programs and image archives known by name: where they are, what they must be, and where they go in an image.
//!
//! This room knows a data file, compiled in and extendable by the user's own. It must not know the network, the cache
//! or the lock.

mod data;
#[cfg(test)]
mod tests;
mod version;

use std::collections::BTreeMap;

use crate::catalog::Evidence;
use crate::values::{Arch, ChecksumState, Digest, Mode};

pub use version::{normal, satisfies};

use data::Program;

const BUILTIN: &str = include_str!("../../profiles/artifacts.yaml");
const BUILTIN_NAME: &str = "<built-in artifacts>";

/// How a file is packed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unpack {
    /// It is used as it comes.
    #[default]
    None,
    /// A tar archive, packed in any way that is told by its bytes.
    Tar,
}

/// What of a file goes where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Install {
    /// The file itself.
    File {
        /// Absolute path in the image.
        to: String,
        /// Mode in the image.
        mode: Mode,
    },
    /// One member of the archive.
    Member {
        /// Its name, without `./`.
        member: String,
        /// Absolute path in the image.
        to: String,
        /// Mode in the image.
        mode: Mode,
    },
    /// Every file below a folder of the archive; 0755 where the archive has it executable, else 0644.
    Tree {
        /// The folder without `./`; empty for the whole archive.
        from: String,
        /// Absolute path of a folder in the image.
        to: String,
    },
}

/// One file of one release for one architecture, complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// The name, such as `k3s`.
    pub name: String,
    /// The release without a leading `v`, such as `1.36.4+k3s1`.
    pub version: String,
    /// For which processors.
    pub arch: Arch,
    /// The whole URL.
    pub url: String,
    /// Other URLs of the same file, in the order to try.
    pub mirrors: Vec<String>,
    /// SHA-256 of the file as offered, where it is known.
    pub sha256: Option<Digest>,
    /// Where the vendor publishes the digest.
    pub checksum_url: Option<String>,
    /// Length of the file as offered, in bytes.
    pub size: Option<u64>,
    /// How many sources state the digest.
    pub evidence: Evidence,
    /// How it is packed.
    pub unpack: Unpack,
    /// What of it goes where.
    pub install: Vec<Install>,
}

impl Artifact {
    /// Where the trust comes from before anything is fetched.
    #[must_use]
    pub fn checksum(&self) -> ChecksumState {
        match (&self.sha256, self.evidence, &self.checksum_url) {
            (Some(_), Evidence::A | Evidence::B, _) => ChecksumState::PinnedCrossChecked,
            (Some(_), Evidence::C | Evidence::None, _) => ChecksumState::PinnedOneSource,
            (None, _, Some(_)) => ChecksumState::Published,
            (None, _, None) => ChecksumState::Tofu,
        }
    }
}

/// Why a catalog of artifacts, or a wish for one, cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArtifactError {
    /// The file is not what it should be.
    #[error("{file}: {message}")]
    File {
        /// The file as the user named it.
        file: String,
        /// Place and complaint.
        message: String,
    },
    /// No artifact has this name.
    #[error("there is no artifact `{name}`{}; there are {}", nearest.as_ref().map_or_else(String::new, |n| format!(", did you mean `{n}`?")), known.join(", "))]
    UnknownName {
        /// As asked for.
        name: String,
        /// The name most like it.
        nearest: Option<String>,
        /// All names.
        known: Vec<String>,
    },
    /// The artifact is not made, or not known, for this architecture.
    #[error("`{name}` is not known for {arch}, only for {}", known.join(", "))]
    UnknownArch {
        /// The artifact.
        name: String,
        /// As asked for.
        arch: Arch,
        /// Those that there are.
        known: Vec<String>,
    },
    /// The artifact has no such version for the architecture.
    #[error("`{name}` has no version `{version}` for {arch}{}; there are {}", elsewhere.as_ref().map_or_else(String::new, |a| format!(", only for {a}")), known.join(", "))]
    UnknownVersion {
        /// The artifact.
        name: String,
        /// As asked for.
        version: String,
        /// As asked for.
        arch: Arch,
        /// Architectures that the version is there for.
        elsewhere: Option<String>,
        /// The versions that there are for the architecture, newest first.
        known: Vec<String>,
    },
}

/// The artifacts known by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArtifactCatalog {
    programs: BTreeMap<String, Program>,
}

impl ArtifactCatalog {
    /// The artifacts that are compiled in.
    ///
    /// # Errors
    ///
    /// Never in a released program; the data is checked by a test.
    pub fn builtin() -> Result<Self, ArtifactError> {
        Ok(Self {
            programs: data::read(BUILTIN, BUILTIN_NAME, &BTreeMap::new())?,
        })
    }

    /// Adds the entries of the user's own file; a file there replaces the one of the same name, version and
    /// architecture, and what an entry leaves out is taken from the entry of the same name here. `file` is its name
    /// in messages.
    ///
    /// # Errors
    ///
    /// When the file is not valid, or an entry contradicts itself.
    pub fn with_user_file(mut self, text: &str, file: &str) -> Result<Self, ArtifactError> {
        for (name, own) in data::read(text, file, &self.programs)? {
            match self.programs.get_mut(&name) {
                Some(program) => program.adopt(own),
                None => {
                    self.programs.insert(name, own);
                }
            }
        }
        Ok(self)
    }

    /// All names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.programs.keys().map(String::as_str)
    }

    /// Every file of every artifact: by name, the newest version first, then by architecture.
    #[must_use]
    pub fn entries(&self) -> Vec<&Artifact> {
        let mut all = Vec::new();
        for program in self.programs.values() {
            let mut files: Vec<&Artifact> = program.artifacts().collect();
            files.sort_by(|a, b| version::compare(&b.version, &a.version).then(a.arch.cmp(&b.arch)));
            all.extend(files);
        }
        all
    }

    /// The versions of an artifact for an architecture, newest first; none for an unknown name.
    #[must_use]
    pub fn versions(&self, name: &str, arch: Arch) -> Vec<String> {
        let mut found: Vec<String> = self
            .programs
            .get(name)
            .into_iter()
            .flat_map(|program| program.artifacts())
            .filter(|artifact| artifact.arch == arch)
            .map(|artifact| artifact.version.clone())
            .collect();
        found.sort_by(|a, b| version::compare(b, a));
        found
    }

    /// The artifact of this name for this architecture. `version` may have a leading `v`, may be the beginning of
    /// one (`3` or `3.18` take the newest that begins so), or be left out for the newest.
    ///
    /// # Errors
    ///
    /// When there is none; the error says what there is instead.
    pub fn lookup(&self, name: &str, version: Option<&str>, arch: Arch) -> Result<&Artifact, ArtifactError> {
        let program = self
            .programs
            .get(name)
            .ok_or_else(|| ArtifactError::UnknownName {
                name: name.to_owned(),
                nearest: self.nearest(name),
                known: self.names().map(str::to_owned).collect(),
            })?;
        let wanted = version.map(normal);
        let fits = |artifact: &&Artifact| wanted.is_none_or(|wanted| satisfies(&artifact.version, wanted));
        let exact = program
            .artifacts()
            .find(|a| a.arch == arch && Some(a.version.as_str()) == wanted);
        let newest = || {
            program
                .artifacts()
                .filter(|a| a.arch == arch)
                .filter(fits)
                .max_by(|a, b| version::compare(&a.version, &b.version))
        };
        if let Some(artifact) = exact.or_else(newest) {
            return Ok(artifact);
        }
        let known = self.versions(name, arch);
        let mut others: Vec<Arch> = program.artifacts().filter(fits).map(|a| a.arch).collect();
        others.sort();
        others.dedup();
        let others: Vec<String> = others.iter().map(Arch::to_string).collect();
        Err(match version {
            Some(version) if !known.is_empty() => ArtifactError::UnknownVersion {
                name: name.to_owned(),
                version: version.to_owned(),
                arch,
                elsewhere: (!others.is_empty()).then(|| others.join(" and ")),
                known,
            },
            _ => ArtifactError::UnknownArch {
                name: name.to_owned(),
                arch,
                known: program.arches().iter().map(Arch::to_string).collect(),
            },
        })
    }

    fn nearest(&self, name: &str) -> Option<String> {
        let mut best: Option<(f64, &str)> = None;
        for candidate in self.names() {
            let likeness = strsim::jaro_winkler(&name.to_ascii_lowercase(), candidate);
            if likeness > best.map_or(0.8, |(likeness, _)| likeness) {
                best = Some((likeness, candidate));
            }
        }
        best.map(|(_, name)| name.to_owned())
    }
}
