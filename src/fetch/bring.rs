//! The story of one file: look it up, lock it, take it in, remember it.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use super::checksum::{base_name, pick_sum};
use super::download::{Download, discard};
use super::error::{FetchError, Result};
use super::http::web_url;
use super::intake::{Intake, Taken};
use super::request::{CachedFile, CachedImage, ChecksumPolicy, FetchRequest, Location, PublishedSums};
use super::store::{Alias, Held, ObjectKind, Stamp};
use super::{Fetcher, Format};
use crate::report::Step;
use crate::values::{ChecksumState, Digest, DigestKind, shown_url};

/// An object and what is known about it.
struct Got {
    held: Held,
    alias: Alias,
    object: Digest,
    from_cache: bool,
    verified: ChecksumState,
}

fn blob(got: Got) -> CachedFile {
    CachedFile {
        path: got.held.path,
        digest: got.object,
        len: got.alias.object_len,
        from_cache: got.from_cache,
        verified: got.verified,
        held: Arc::new(got.held.file),
    }
}

fn image(got: Got) -> CachedImage {
    CachedImage {
        raw_path: got.held.path,
        raw_digest: got.object,
        raw_len: got.alias.object_len,
        download_digest: digests(&got.alias.file).into_iter().next(),
        download_len: got.alias.file_len,
        format: got.alias.format,
        from_cache: got.from_cache,
        verified: got.verified,
        held: Arc::new(got.held.file),
    }
}

impl Fetcher {
    /// Brings a base into the cache, decompressed, unless it is there.
    ///
    /// A base with a pinned digest that is in the cache needs no connection, and neither does a URL that was
    /// fetched before.
    ///
    /// # Errors
    ///
    /// See [`FetchError`]; the cache is then as it was, but for a partial download that the next run continues.
    pub fn fetch_base(&self, request: &FetchRequest) -> Result<CachedImage> {
        Ok(image(self.bring(ObjectKind::Raw, request)?))
    }

    /// The base as it is in the cache; `None` when it would have to be fetched or unpacked first. Opens no
    /// connection.
    ///
    /// # Errors
    ///
    /// When what is in the cache is not what is expected.
    pub fn known_base(&self, request: &FetchRequest) -> Result<Option<CachedImage>> {
        Ok(self.known(ObjectKind::Raw, request)?.map(image))
    }

    /// The file as it is in the cache; `None` when it would have to be fetched first. Opens no connection.
    ///
    /// # Errors
    ///
    /// When what is in the cache is not what is expected.
    pub fn known_artifact(&self, request: &FetchRequest) -> Result<Option<CachedFile>> {
        let mut request = request.clone();
        request.expected.raw = None;
        Ok(self.known(ObjectKind::Blob, &request)?.map(blob))
    }

    fn known(&self, kind: ObjectKind, request: &FetchRequest) -> Result<Option<Got>> {
        let (alias, subject) = match &request.location {
            Location::Path(path) => {
                let full = std::fs::canonicalize(path).map_err(|e| FetchError::io("opening", path, e))?;
                let file = File::open(&full).map_err(|e| FetchError::io("opening", path, e))?;
                let stamp = stamp_of(&file, path)?;
                let alias = self.store.alias(&path_key(kind, &full));
                (
                    alias.filter(|a| a.stamp == Some(stamp)),
                    path.display().to_string(),
                )
            }
            Location::Url(url) => (
                self.store.alias(&wish_key(kind, url, &request.expected)),
                shown_url(url),
            ),
        };
        match alias {
            Some(alias) => self.recall(kind, alias, &request.expected, &subject),
            None => Ok(None),
        }
    }

    /// Brings a file into the cache as it is, unless it is there. `expected.compressed` is the digest of the file;
    /// `expected.raw` is not looked at.
    ///
    /// # Errors
    ///
    /// As [`Fetcher::fetch_base`].
    pub fn fetch_artifact(&self, request: &FetchRequest) -> Result<CachedFile> {
        let mut request = request.clone();
        request.expected.raw = None;
        self.bring(ObjectKind::Blob, &request).map(blob)
    }

    fn bring(&self, kind: ObjectKind, request: &FetchRequest) -> Result<Got> {
        match &request.location {
            Location::Path(path) => self.bring_path(kind, path, &request.expected),
            Location::Url(url) => self.bring_url(kind, url, request),
        }
    }

    fn bring_path(&self, kind: ObjectKind, path: &Path, expected: &ChecksumPolicy) -> Result<Got> {
        let subject = path.display().to_string();
        let full = std::fs::canonicalize(path).map_err(|e| FetchError::io("opening", path, e))?;
        let file = File::open(&full).map_err(|e| FetchError::io("opening", path, e))?;
        let stamp = stamp_of(&file, path)?;
        let key = path_key(kind, &full);
        let known = || match self.store.alias(&key) {
            Some(alias) if alias.stamp == Some(stamp) => self.recall(kind, alias, expected, &subject),
            _ => Ok(None),
        };
        if let Some(got) = known()? {
            return Ok(got);
        }
        let _lock = self.lock(&key, &subject)?;
        if let Some(got) = known()? {
            return Ok(got);
        }
        let taken = self.take_in(
            &file,
            &Intake {
                subject: &subject,
                file: expected.compressed.as_ref(),
                object: expected.raw.as_ref(),
                kind,
                step: Step::Unpack,
                total: Some(stamp.len()),
                seekable: &full,
            },
        )?;
        if stamp_of(&file, path)? != stamp {
            return Err(FetchError::Damaged {
                subject,
                detail: "it was changed while it was being read".to_owned(),
            });
        }
        // A file that the user gave needs nobody to vouch for it; nothing was published for it either.
        let state = match expected.state() {
            state if state.is_pinned() => state,
            _ => ChecksumState::None,
        };
        let alias = alias_of(&taken, &full.display().to_string(), state, Some(stamp));
        self.store.remember(&key, &alias)?;
        self.remember_by_digest(kind, &alias)?;
        Ok(new(taken, alias, state))
    }

    fn bring_url(&self, kind: ObjectKind, url: &str, request: &FetchRequest) -> Result<Got> {
        web_url(url)?;
        let subject = &shown_url(url);
        let expected = &request.expected;
        let key = wish_key(kind, url, expected);
        let known = |key: &str, expected: &ChecksumPolicy| match self.store.alias(key) {
            Some(alias) => self.recall(kind, alias, expected, subject),
            None => Ok(None),
        };
        // What is found by a pinned digest is not going to be another file.
        let fresh = request.fresh && !expected.state().is_pinned();
        if !fresh && let Some(got) = known(&key, expected)? {
            return Ok(got);
        }
        if self.options.offline {
            return Err(FetchError::Offline { url: subject.clone() });
        }
        let _lock = self.lock(&key, subject)?;
        if !fresh && let Some(got) = known(&key, expected)? {
            return Ok(got);
        }
        let state = expected.state();
        let mut wanted = expected.compressed.clone();
        if !state.is_pinned()
            && let Some(published) = self.published(url, &expected.published)?
        {
            let policy = ChecksumPolicy {
                compressed: Some(published.clone()),
                ..ChecksumPolicy::default()
            };
            if let Some(mut got) = known(&digest_key(kind, "file", &published), &policy)? {
                got.verified = state;
                got.alias.state = state;
                self.store.remember(&key, &got.alias)?;
                return Ok(got);
            }
            wanted = Some(published);
        }
        let taken = self.download(kind, url, request, wanted.as_ref(), &key)?;
        let alias = alias_of(&taken, subject, state, None);
        self.store.remember(&key, &alias)?;
        // What was pinned once is, for a wish without a pin, what was seen first.
        let unpinned = if state.is_pinned() {
            ChecksumState::Tofu
        } else {
            state
        };
        let by_url = Alias {
            state: unpinned,
            ..alias.clone()
        };
        self.store
            .remember(&wish_key(kind, url, &ChecksumPolicy::default()), &by_url)?;
        self.remember_by_digest(kind, &alias)?;
        Ok(new(taken, alias, state))
    }

    /// The digest published for `url`.
    fn published(&self, url: &str, sums: &PublishedSums) -> Result<Option<Digest>> {
        let list = match sums {
            PublishedSums::No => return Ok(None),
            PublishedSums::Auto => format!("{url}.sha256"),
            PublishedSums::Url(list) => list.clone(),
        };
        let text = self.fetch_text(&list)?;
        pick_sum(&text, base_name(url), &shown_url(&list)).map(Some)
    }

    fn download(
        &self,
        kind: ObjectKind,
        url: &str,
        request: &FetchRequest,
        wanted: Option<&Digest>,
        key: &str,
    ) -> Result<Taken> {
        let subject = &shown_url(url);
        let part = self.store.part_path(key);
        let places = self.places(url, &request.mirrors)?;
        let pinned = wanted.is_some() || request.expected.raw.is_some();
        let mut restarts = 0;
        loop {
            let mut download = Download::open(self, places.clone(), pinned, &part)?;
            let intake = Intake {
                subject,
                file: wanted,
                object: request.expected.raw.as_ref(),
                kind,
                step: Step::Download,
                total: download.total(),
                seekable: &part,
            };
            let error = match self.take_in(&mut download, &intake) {
                Ok(taken) => {
                    self.after_download(&part, kind, &taken, subject)?;
                    return Ok(taken);
                }
                Err(error) => error,
            };
            let wrong_bytes = matches!(
                error,
                FetchError::Mismatch { .. }
                    | FetchError::Damaged { .. }
                    | FetchError::NotAnImage { .. }
                    | FetchError::Unsupported { .. }
                    | FetchError::TooLarge { .. }
            );
            // Pieces of two different files may have been joined; only a download of one piece is judged.
            let again = download.must_restart() || (wrong_bytes && download.resumed());
            drop(download);
            if wrong_bytes {
                discard(&part)?;
            }
            if !again || restarts == self.options.patience.retries {
                return Err(error);
            }
            restarts += 1;
            self.note(&format!("`{subject}` is fetched again from the start: {error}"));
        }
    }

    /// The packed file is not needed any more, unless the user wants it kept.
    fn after_download(&self, part: &Path, kind: ObjectKind, taken: &Taken, subject: &str) -> Result<()> {
        if self.options.keep_downloads && kind == ObjectKind::Raw && taken.format != Format::Raw {
            let incoming = self.store.adopt_part(part)?;
            self.store
                .keep(ObjectKind::Blob, &taken.file[0], incoming, subject)?;
        }
        discard(part)
    }

    fn remember_by_digest(&self, kind: ObjectKind, alias: &Alias) -> Result<()> {
        for (what, texts) in [("file", &alias.file), ("object", &alias.object)] {
            for digest in digests(texts) {
                let key = digest_key(kind, what, &digest);
                if self
                    .store
                    .alias(&key)
                    .is_none_or(|there| there.object != alias.object)
                {
                    let stamp = None;
                    self.store.remember(
                        &key,
                        &Alias {
                            stamp,
                            ..alias.clone()
                        },
                    )?;
                }
            }
        }
        Ok(())
    }

    /// The object that a record names, when it is still there; an error when it is not what is expected now.
    fn recall(
        &self,
        kind: ObjectKind,
        alias: Alias,
        expected: &ChecksumPolicy,
        subject: &str,
    ) -> Result<Option<Got>> {
        let file = digests(&alias.file);
        let object = digests(&alias.object);
        let Some(digest) = object.first().filter(|d| d.kind() == DigestKind::Sha256) else {
            return Ok(None);
        };
        // What was taken on trust does not stand in for what a published sum vouches for.
        let from_network = alias.stamp.is_none();
        let weaker = alias.state > ChecksumState::Published;
        if from_network && weaker && expected.state() == ChecksumState::Published {
            return Ok(None);
        }
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
        let Some(held) = self.store.object(kind, digest)? else {
            return Ok(None);
        };
        let state = expected.state();
        Ok(Some(Got {
            held,
            object: digest.clone(),
            from_cache: true,
            verified: if state.is_pinned() { state } else { alias.state },
            alias,
        }))
    }
}

fn new(taken: Taken, alias: Alias, verified: ChecksumState) -> Got {
    Got {
        held: taken.held,
        object: taken.object[0].clone(),
        alias,
        from_cache: false,
        verified,
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

fn stamp_of(file: &File, path: &Path) -> Result<Stamp> {
    let meta = file.metadata().map_err(|e| FetchError::io("reading", path, e))?;
    if meta.is_file() {
        return Ok(Stamp::of(&meta));
    }
    Err(FetchError::NotAnImage {
        subject: path.display().to_string(),
        reason: "it is not a regular file".to_owned(),
    })
}

fn digests(texts: &[String]) -> Vec<Digest> {
    texts.iter().filter_map(|t| t.parse().ok()).collect()
}

/// The key of a wish: by the strongest digest it pins, otherwise by its URL.
fn wish_key(kind: ObjectKind, url: &str, expected: &ChecksumPolicy) -> String {
    match (&expected.compressed, &expected.raw) {
        (Some(digest), _) => digest_key(kind, "file", digest),
        (None, Some(digest)) => digest_key(kind, "object", digest),
        (None, None) => format!("{}-url-{}", kind.word(), Digest::sha256(url.as_bytes()).hex()),
    }
}

fn digest_key(kind: ObjectKind, what: &str, digest: &Digest) -> String {
    format!("{}-{what}-{}-{}", kind.word(), digest.kind().name(), digest.hex())
}

fn path_key(kind: ObjectKind, path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt;
    let digest = Digest::sha256(path.as_os_str().as_bytes());
    format!("{}-path-{}", kind.word(), digest.hex())
}
