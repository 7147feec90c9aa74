//! What can be asked for, and what comes back.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use super::unpack::Format;
use crate::values::{ChecksumState, Digest};

/// Where a file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// An http or https URL.
    Url(String),
    /// A file of this host.
    Path(PathBuf),
}

/// Where a published digest is found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum PublishedSums {
    /// Nowhere.
    #[default]
    No,
    /// In a file beside the image: its URL with `.sha256` added.
    Auto,
    /// At this URL: a bare hash, or a list in any usual form.
    Url(String),
}

/// What the bytes must be.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ChecksumPolicy {
    /// Digest of the file as it is offered, usually compressed.
    pub compressed: Option<Digest>,
    /// Digest of the raw image.
    pub raw: Option<Digest>,
    /// Where the digest of the offered file is published; asked only when none is pinned.
    pub published: PublishedSums,
    /// Several independent sources agree on the pinned digests.
    pub cross_checked: bool,
}

impl ChecksumPolicy {
    pub(super) fn state(&self) -> ChecksumState {
        match (&self.compressed, &self.raw) {
            (None, None) if self.published != PublishedSums::No => ChecksumState::Published,
            (None, None) => ChecksumState::Tofu,
            _ if self.cross_checked => ChecksumState::PinnedCrossChecked,
            _ => ChecksumState::PinnedOneSource,
        }
    }
}

/// A wish for a base image, or for another file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchRequest {
    /// Where it is.
    pub location: Location,
    /// Other URLs of the same file, tried in this order when the first one fails.
    pub mirrors: Vec<String>,
    /// What it must be.
    pub expected: ChecksumPolicy,
    /// Ask the server although the URL was fetched before. Without a digest, published or pinned, the file is fetched
    /// whole again.
    pub fresh: bool,
}

impl FetchRequest {
    /// A wish for what lies at `location`, with these expectations and no further mirrors.
    #[must_use]
    pub fn new(location: Location, expected: ChecksumPolicy) -> Self {
        Self {
            location,
            mirrors: Vec::new(),
            expected,
            fresh: false,
        }
    }
}

/// A raw image in the cache, verified. As long as this value lives, no prune removes the image.
#[derive(Debug, Clone)]
pub struct CachedImage {
    /// The raw image: read-only, sparse.
    pub raw_path: PathBuf,
    /// SHA-256 of the raw image.
    pub raw_digest: Digest,
    /// Length of the raw image in bytes.
    pub raw_len: u64,
    /// SHA-256 of the file as it came; `None` when the image was found by its raw digest alone.
    pub download_digest: Option<Digest>,
    /// Length of the file as it came, in bytes; 0 when not known.
    pub download_len: u64,
    /// How the file was packed.
    pub format: Format,
    /// Whether nothing had to be fetched or unpacked.
    pub from_cache: bool,
    /// Where the trust comes from.
    pub verified: ChecksumState,
    pub(super) held: Arc<File>,
}

impl CachedImage {
    /// The open file; reading through it sees the verified bytes even if the name is gone.
    #[must_use]
    pub fn file(&self) -> &Arc<File> {
        &self.held
    }
}

/// A file in the cache as it came, verified. As long as this value lives, no prune removes it.
#[derive(Debug, Clone)]
pub struct CachedFile {
    /// The file: read-only.
    pub path: PathBuf,
    /// SHA-256 of the file.
    pub digest: Digest,
    /// Length in bytes.
    pub len: u64,
    /// Whether nothing had to be fetched.
    pub from_cache: bool,
    /// Where the trust comes from.
    pub verified: ChecksumState,
    pub(super) held: Arc<File>,
}

impl CachedFile {
    /// The open file; reading through it sees the verified bytes even if the name is gone.
    #[must_use]
    pub fn file(&self) -> &Arc<File> {
        &self.held
    }
}
