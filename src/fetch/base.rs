//! The story of one base: look it up, lock it, take it in, remember it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Fetcher;
use super::error::{FetchError, Result};
use super::intake::{Intake, Taken};
use super::store::{Alias, Held, ObjectKind, Stamp};
use super::unpack::Format;
use crate::report::Step;
use crate::values::{ChecksumState, Digest, DigestKind};

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
    fn state(&self) -> ChecksumState {
        match (&self.compressed, &self.raw) {
            (None, None) if self.published != PublishedSums::No => ChecksumState::Published,
            (None, None) => ChecksumState::Tofu,
            _ if self.cross_checked => ChecksumState::PinnedCrossChecked,
            _ => ChecksumState::PinnedOneSource,
        }
    }
}

/// A wish for a base image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseRequest {
    /// Where it is.
    pub location: Location,
    /// Other URLs of the same file, tried in this order when the first one fails.
    pub mirrors: Vec<String>,
    /// What it must be.
    pub expected: ChecksumPolicy,
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
    _held: Arc<File>,
}

impl Fetcher {
    /// Brings a base into the cache, unless it is there.
    ///
    /// # Errors
    ///
    /// See [`FetchError`]; the cache is then as it was, but for a partial download that the next run continues.
    pub fn fetch_base(&self, request: &BaseRequest) -> Result<CachedImage> {
        match &request.location {
            Location::Path(path) => self.base_from_path(path, &request.expected),
            Location::Url(url) => Err(FetchError::Offline { url: url.clone() }),
        }
    }

    fn base_from_path(&self, path: &Path, expected: &ChecksumPolicy) -> Result<CachedImage> {
        let subject = path.display().to_string();
        let full = std::fs::canonicalize(path).map_err(|e| FetchError::io("opening", path, e))?;
        let key = path_key(&full);
        let stamp_of = |file: &File| {
            let meta = file.metadata().map_err(|e| FetchError::io("reading", path, e))?;
            if !meta.is_file() {
                return Err(FetchError::NotAnImage {
                    subject: subject.clone(),
                    reason: "it is not a regular file".to_owned(),
                });
            }
            Ok(Stamp::of(&meta))
        };
        let file = File::open(&full).map_err(|e| FetchError::io("opening", path, e))?;
        let stamp = stamp_of(&file)?;
        let known = || {
            let alias = self.store.alias(&key).filter(|alias| alias.stamp == Some(stamp));
            alias.map_or(Ok(None), |alias| self.recall(&alias, expected, &subject))
        };
        if let Some(image) = known()? {
            return Ok(image);
        }
        let _lock = self.lock(&key, &subject)?;
        if let Some(image) = known()? {
            return Ok(image);
        }
        let taken = self.take_in(
            &file,
            &Intake {
                subject: &subject,
                file: expected.compressed.as_ref(),
                object: expected.raw.as_ref(),
                kind: ObjectKind::Raw,
                step: Step::Unpack,
                total: file.metadata().ok().map(|m| m.len()),
                seekable: &full,
            },
        )?;
        if stamp_of(&file)? != stamp {
            return Err(FetchError::Damaged {
                subject,
                detail: "it was changed while it was being read".to_owned(),
            });
        }
        let state = match expected.state() {
            ChecksumState::Tofu | ChecksumState::Published => ChecksumState::None,
            state => state,
        };
        let alias = alias_of(&taken, &full.display().to_string(), state, Some(stamp));
        self.store.remember(&key, &alias)?;
        Ok(image_of(taken, state))
    }

    /// The image that a record names, when it is still there; an error when it is not what is expected now.
    fn recall(&self, alias: &Alias, expected: &ChecksumPolicy, subject: &str) -> Result<Option<CachedImage>> {
        let file = digests(&alias.file);
        let object = digests(&alias.object);
        let Some(raw_digest) = object.first().filter(|d| d.kind() == DigestKind::Sha256) else {
            return Ok(None);
        };
        for (what, expected, known) in [
            ("digest of the file", &expected.compressed, &file),
            ("digest of the raw image", &expected.raw, &object),
        ] {
            let Some(expected) = expected else {
                continue;
            };
            match known.iter().find(|d| d.kind() == expected.kind()) {
                // Known by the other kind of hash only: it must be read again.
                None => return Ok(None),
                Some(found) if found == expected => {}
                Some(found) => {
                    return Err(FetchError::Mismatch {
                        what,
                        subject: subject.to_owned(),
                        expected: expected.clone(),
                        found: found.clone(),
                        note: None,
                    });
                }
            }
        }
        let Some(Held { path, file: held }) = self.store.object(ObjectKind::Raw, raw_digest)? else {
            return Ok(None);
        };
        let state = match expected.state() {
            state if state.is_pinned() => state,
            _ => alias.state,
        };
        Ok(Some(CachedImage {
            raw_path: path,
            raw_digest: raw_digest.clone(),
            raw_len: alias.object_len,
            download_digest: file.first().cloned(),
            download_len: alias.file_len,
            format: alias.format,
            from_cache: true,
            verified: state,
            _held: Arc::new(held),
        }))
    }
}

fn image_of(taken: Taken, verified: ChecksumState) -> CachedImage {
    CachedImage {
        raw_path: taken.held.path,
        raw_digest: taken.object[0].clone(),
        raw_len: taken.object_len,
        download_digest: taken.file.first().cloned(),
        download_len: taken.file_len,
        format: taken.format,
        from_cache: false,
        verified,
        _held: Arc::new(taken.held.file),
    }
}

fn alias_of(taken: &Taken, origin: &str, state: ChecksumState, stamp: Option<Stamp>) -> Alias {
    let texts = |digests: &[Digest]| digests.iter().map(Digest::to_string).collect();
    Alias {
        origin: origin.to_owned(),
        format: taken.format,
        file: texts(&taken.file),
        file_len: taken.file_len,
        object: texts(&taken.object),
        object_len: taken.object_len,
        state,
        stamp,
    }
}

fn digests(texts: &[String]) -> Vec<Digest> {
    texts.iter().filter_map(|t| t.parse().ok()).collect()
}

fn path_key(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt;
    format!("path-{}", Digest::sha256(path.as_os_str().as_bytes()).hex())
}
