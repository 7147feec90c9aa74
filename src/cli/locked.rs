//! Inputs through the lock: what is asked for, from where it comes, what is recorded.

use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::args::ClusterArgs;
use super::context::{Context, fetch_failure};
use super::message::Failure;
use crate::artifacts::{Artifact, ArtifactCatalog, ArtifactError, Install, Unpack, normal, satisfies};
use crate::fetch::{
    CachedFile, CachedImage, ChecksumPolicy, FetchError, FetchRequest, FileSource, Location, Member,
    PublishedSums,
};
use crate::lock::{
    Decision, Entry, Key, Kind, LOCK_FILE, LockError, LockFile, Mode, Raw, SignatureState, Stated, decide,
};
use crate::plan::{BasePlace, BaseRef, Content};
use crate::values::{Arch, ChecksumState, Digest, DigestKind, ELF_HEAD, check_machine, shown_url};

/// Name of the user's own catalog of artifacts, beside the cluster file.
const ARTIFACTS_FILE: &str = "artifacts.yaml";

/// The lock of a cluster file, and how it is taken.
#[derive(Debug)]
pub struct Locking {
    file: LockFile,
    mode: Mode,
    /// Whether what is new may be written.
    writes: bool,
    /// Whether bases are locked: not one that the command line names.
    bases: bool,
}

/// What is asked of the fetch room for an input, and on whose word.
#[derive(Debug)]
pub struct Wanted {
    pub request: FetchRequest,
    /// Under which name it is recorded; `None` when it is not.
    key: Option<Key>,
    /// The entry that counts, where there is one.
    locked: Option<Entry>,
    /// Version and architecture, where a catalog knows them.
    version: Option<String>,
    arch: Option<Arch>,
    /// Who gives the digest.
    by: String,
}

impl Wanted {
    /// How far it can be trusted: what vouched for the digest when it was locked.
    pub fn verified(&self, now: ChecksumState) -> ChecksumState {
        self.locked.as_ref().map_or(now, |entry| entry.checksum)
    }

    /// A digest that is not met tells that the file was changed under its name.
    pub fn failure(&self, error: FetchError) -> Failure {
        let (Some(key), Location::Url(url)) = (&self.key, &self.request.location) else {
            return fetch_failure(error);
        };
        let expected = &self.request.expected;
        let pinned = expected.compressed.is_some() || expected.raw.is_some();
        match error {
            FetchError::Mismatch {
                what: "digest of the file" | "digest of the raw image",
                expected,
                found,
                ..
            } if pinned => lock_failure(LockError::Drift {
                key: key.clone(),
                by: self.by.clone(),
                expected,
                url: shown_url(url),
                served: found,
            }),
            error @ (FetchError::Unreachable { .. } | FetchError::Offline { .. })
                if key.kind == Kind::Artifact =>
            {
                Failure::from(error).hint(
                    "run `ceil-img fetch` where there is a connection, or name another place with `--mirror`",
                )
            }
            error => fetch_failure(error),
        }
    }
}

/// A lock's error with its way out.
fn lock_failure(error: LockError) -> Failure {
    let hint = error.hint();
    let failure = Failure::from(error);
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// A program, or an archive of images, that is at hand and verified.
#[derive(Debug)]
pub struct Brought {
    /// What the catalog says of it.
    pub artifact: Artifact,
    /// The file as it came.
    pub file: CachedFile,
    /// How far it can be trusted.
    pub verified: ChecksumState,
    /// Its files in the image, in the order of the catalog.
    pub files: Vec<PlacedFile>,
}

/// A file for the image.
#[derive(Debug)]
pub struct PlacedFile {
    /// Absolute path in the image.
    pub to: String,
    /// Mode in the image.
    pub mode: u16,
    /// Its bytes, in the cache.
    pub content: Content,
    /// Keeps it there as long as this value lives.
    pub held: CachedFile,
}

impl Context {
    /// From now on inputs go through the lock beside the cluster file, when there is a cluster file.
    ///
    /// # Errors
    /// The lock cannot be read, or a mode is asked for that needs one.
    pub fn use_lock(&self, args: &ClusterArgs, mode: Mode, writes: bool) -> Result<(), Failure> {
        if mode == Mode::Update && self.offline {
            return Err(Failure::new(
                "`--update` asks where inputs come from, and `--offline` forbids it",
            ));
        }
        if !args.file.is_file() {
            if mode == Mode::Fill {
                return Ok(());
            }
            return Err(Failure::new(format!(
                "there is no cluster file `{}`, so there is no lock beside it",
                args.file.display()
            )));
        }
        let file = LockFile::open(&args.file.with_file_name(LOCK_FILE)).map_err(lock_failure)?;
        *self.lock.borrow_mut() = Some(Locking {
            file,
            mode,
            writes,
            bases: args.base.is_none(),
        });
        Ok(())
    }

    /// Writes what was recorded. With `all`, every input was asked for, so that a renewal drops the others.
    ///
    /// # Errors
    /// The lock cannot be written; it is as it was.
    pub fn save_lock(&self, all: bool) -> Result<(), Failure> {
        let mut lock = self.lock.borrow_mut();
        let Some(locking) = lock.as_mut().filter(|l| l.writes && l.mode != Mode::Locked) else {
            return Ok(());
        };
        if all && locking.mode == Mode::Update && locking.bases {
            locking.file.keep_used_only();
        }
        locking.file.save().map_err(lock_failure)
    }

    /// What is asked of the fetch room for a base.
    ///
    /// # Errors
    /// The catalog has no such name, or the lock forbids it.
    pub fn base_wanted(&self, base: &BaseRef) -> Result<Wanted, Failure> {
        let mut request = self.base_request(base)?;
        let known = match &base.place {
            BasePlace::Name(name) => {
                let catalog = self.catalog()?;
                let entry = catalog.lookup(name)?;
                Some((entry.version.clone(), entry.arch))
            }
            _ => None,
        };
        let (version, arch) = known.unzip();
        let own_pin = base.sha256.is_some() || base.sha512.is_some() || base.raw_sha256.is_some();
        let by = if own_pin {
            base.origin.to_string()
        } else {
            "the catalog".to_owned()
        };
        let lock = self.lock.borrow();
        let lock = lock.as_ref().filter(|lock| lock.bases);
        let (Some(lock), Location::Url(url)) = (lock, &request.location) else {
            return Ok(Wanted {
                request,
                key: None,
                locked: None,
                version,
                arch,
                by,
            });
        };
        let key = Key::base(&base.place.to_string());
        let stated = Stated {
            // A digest in the cluster file is about this base, whatever its version.
            version: version.clone().filter(|_| !own_pin),
            sha256: request.expected.compressed.clone(),
            raw_sha256: request.expected.raw.clone(),
            by: by.clone(),
        };
        match decide(&lock.file, &key, &stated, lock.mode).map_err(lock_failure)? {
            Decision::AsStated => {
                request.fresh = lock.mode == Mode::Update;
                Ok(Wanted {
                    request,
                    key: Some(key),
                    locked: None,
                    version,
                    arch,
                    by,
                })
            }
            Decision::AsLocked(entry) => {
                if stated.version.is_some() && stated.version != entry.version {
                    self.note(&format!(
                        "{}: {key} stays at {}; `ceil-img fetch --update` takes {}",
                        lock.file.place(&key),
                        entry.version.as_deref().unwrap_or("what it was"),
                        stated.version.as_deref().unwrap_or_default(),
                    ));
                }
                // The lock has no passwords: the address that is stated has.
                let (url, mirrors) = if entry.url == shown_url(url) {
                    (url.clone(), request.mirrors)
                } else {
                    (entry.url.clone(), Vec::new())
                };
                let sha512 = base.sha512.clone().filter(|_| base.sha256.is_none());
                let expected = ChecksumPolicy {
                    compressed: sha512.or_else(|| entry.sha256.clone()),
                    raw: entry.raw.as_ref().map(|raw| raw.sha256.clone()),
                    published: PublishedSums::No,
                    cross_checked: entry.checksum == ChecksumState::PinnedCrossChecked,
                };
                Ok(Wanted {
                    request: FetchRequest {
                        mirrors,
                        ..FetchRequest::new(Location::Url(url), expected)
                    },
                    by: lock.file.place(&key),
                    locked: Some(entry.clone()),
                    key: Some(key),
                    version,
                    arch,
                })
            }
        }
    }

    /// Notes that a base was brought, in the lock where that is wanted.
    ///
    /// # Errors
    /// The lock cannot be written.
    pub fn record_base(&self, wanted: &Wanted, image: &CachedImage) -> Result<(), Failure> {
        let (Some(key), Location::Url(url)) = (&wanted.key, &wanted.request.location) else {
            return Ok(());
        };
        self.record(
            wanted,
            Entry {
                kind: Kind::Base,
                name: key.name.clone(),
                version: wanted.version.clone(),
                arch: wanted.arch,
                url: shown_url(url),
                size: Some(image.download_len).filter(|len| *len > 0),
                sha256: image
                    .download_digest
                    .clone()
                    .filter(|d| d.kind() == DigestKind::Sha256),
                raw: Some(Raw {
                    size: image.raw_len,
                    sha256: image.raw_digest.clone(),
                }),
                checksum: image.verified,
                signature: SignatureState::Unchecked,
            },
        )
    }

    fn record(&self, wanted: &Wanted, entry: Entry) -> Result<(), Failure> {
        if let Some(locking) = self.lock.borrow_mut().as_mut() {
            match &wanted.locked {
                Some(entry) => locking.file.mark_used(entry.key()),
                None => locking.file.record(entry),
            }
        }
        // Each one at once: what takes long afterwards may be interrupted.
        self.save_lock(false)
    }

    /// The artifacts by name: built in, and those of `artifacts.yaml` beside the cluster file.
    ///
    /// # Errors
    /// The user's file is wrong.
    pub fn artifacts(&self, cluster_file: &Path) -> Result<ArtifactCatalog, Failure> {
        let catalog = ArtifactCatalog::builtin()?;
        let file = cluster_file.with_file_name(ARTIFACTS_FILE);
        match std::fs::read_to_string(&file) {
            Ok(text) => Ok(catalog.with_user_file(&text, &file.display().to_string())?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(catalog),
            Err(error) => Err(Failure::from(error).while_doing(format!("cannot read `{}`", file.display()))),
        }
    }

    /// The artifact that a wish stands for. `wish` is a name, or a name and a version as `helm@3.18.4`; a version that
    /// is not whole stays at the newest one that the lock has.
    ///
    /// # Errors
    /// There is none such.
    pub fn artifact_named(
        &self,
        catalog: &ArtifactCatalog,
        wish: &str,
        arch: Arch,
    ) -> Result<Artifact, ArtifactError> {
        let (name, version) = match wish.split_once('@') {
            Some((name, version)) => (name, Some(version)),
            None => (wish, None),
        };
        let held_at = self.locked_version(catalog, name, version, arch);
        catalog
            .lookup(name, held_at.as_deref().or(version), arch)
            .cloned()
    }

    /// Brings one artifact through the lock and the cache.
    ///
    /// # Errors
    /// The lock forbids it; it cannot be fetched, or is not what it should be; a program in it is for another
    /// processor.
    pub fn bring_artifact(&self, artifact: &Artifact) -> Result<Brought, Failure> {
        let subject = || format!("`{}` {} for {}", artifact.name, artifact.version, artifact.arch);
        let wanted = self.artifact_wanted(artifact)?;
        let file = self
            .fetcher()?
            .fetch_artifact(&wanted.request)
            .map_err(|e| wanted.failure(e).while_doing(format!("cannot get {}", subject())))?;
        let verified = wanted.verified(file.verified);
        if let (Some(key), Location::Url(url)) = (&wanted.key, &wanted.request.location) {
            self.record(
                &wanted,
                Entry {
                    kind: Kind::Artifact,
                    name: key.name.clone(),
                    version: wanted.version.clone(),
                    arch: wanted.arch,
                    url: shown_url(url),
                    size: Some(file.len),
                    sha256: Some(file.digest.clone()),
                    raw: None,
                    checksum: file.verified,
                    signature: SignatureState::Unchecked,
                },
            )?;
        }
        let files = self
            .placed(artifact, &file, &|wanted| {
                Ok(Some(self.fetcher()?.members(&file, wanted)?))
            })
            .map_err(|e| e.while_doing(format!("cannot use {}", subject())))?
            .unwrap_or_default();
        Ok(Brought {
            artifact: artifact.clone(),
            file,
            verified,
            files,
        })
    }

    /// The artifact as it is in the cache; `None` when it would have to be fetched or unpacked. Writes nothing.
    ///
    /// # Errors
    /// The lock forbids it, or what is in the cache is not what it should be.
    pub fn artifact_at_hand(&self, artifact: &Artifact) -> Result<Option<Brought>, Failure> {
        // Opening the cache would make its directories.
        if !self.cache.is_dir() {
            return Ok(None);
        }
        let wanted = self.artifact_wanted(artifact)?;
        let Some(file) = self.fetcher()?.known_artifact(&wanted.request)? else {
            return Ok(None);
        };
        let members = |wanted: &dyn Fn(&str) -> bool| Ok(self.fetcher()?.known_members(&file, wanted)?);
        let verified = wanted.verified(file.verified);
        Ok(self.placed(artifact, &file, &members)?.map(|files| Brought {
            artifact: artifact.clone(),
            file: file.clone(),
            verified,
            files,
        }))
    }

    /// The version that the lock holds a wish at which does not name a whole one.
    fn locked_version(
        &self,
        catalog: &ArtifactCatalog,
        name: &str,
        version: Option<&str>,
        arch: Arch,
    ) -> Option<String> {
        let lock = self.lock.borrow();
        let lock = lock.as_ref().filter(|lock| lock.mode != Mode::Update)?;
        // Newest first, so that the first that is locked counts.
        catalog.versions(name, arch).into_iter().find(|known| {
            version.is_none_or(|wanted| satisfies(known, wanted))
                && version.map(normal) != Some(known.as_str())
                && lock.file.expect(&Key::artifact(name, known, arch)).is_some()
        })
    }

    fn artifact_wanted(&self, artifact: &Artifact) -> Result<Wanted, Failure> {
        let expected = ChecksumPolicy {
            compressed: artifact.sha256.clone(),
            raw: None,
            published: match (&artifact.sha256, &artifact.checksum_url) {
                (None, Some(url)) => PublishedSums::Url(url.clone()),
                _ => PublishedSums::No,
            },
            cross_checked: artifact.checksum() == ChecksumState::PinnedCrossChecked,
        };
        let mut request = FetchRequest {
            mirrors: artifact.mirrors.clone(),
            ..FetchRequest::new(Location::Url(artifact.url.clone()), expected)
        };
        let key = Key::artifact(&artifact.name, &artifact.version, artifact.arch);
        let mut by = "the catalog".to_owned();
        let mut locked = None;
        if let Some(lock) = self.lock.borrow().as_ref() {
            let stated = Stated {
                version: None,
                sha256: artifact.sha256.clone(),
                raw_sha256: None,
                by: by.clone(),
            };
            match decide(&lock.file, &key, &stated, lock.mode).map_err(lock_failure)? {
                Decision::AsStated => request.fresh = lock.mode == Mode::Update,
                Decision::AsLocked(entry) => {
                    if entry.url != shown_url(&artifact.url) {
                        request.location = Location::Url(entry.url.clone());
                        request.mirrors.clear();
                    }
                    request.expected = ChecksumPolicy {
                        compressed: entry.sha256.clone(),
                        cross_checked: entry.checksum == ChecksumState::PinnedCrossChecked,
                        ..ChecksumPolicy::default()
                    };
                    by = lock.file.place(&key);
                    locked = Some(entry.clone());
                }
            }
        }
        Ok(Wanted {
            request,
            key: Some(key),
            locked,
            version: Some(artifact.version.clone()),
            arch: Some(artifact.arch),
            by,
        })
    }

    /// Where the files of an artifact go; `None` when `members` has not got them.
    fn placed(
        &self,
        artifact: &Artifact,
        file: &CachedFile,
        members: &Members<'_>,
    ) -> Result<Option<Vec<PlacedFile>>, Failure> {
        let mut found = Vec::new();
        let members = match artifact.unpack {
            Unpack::None => Vec::new(),
            Unpack::Tar => {
                let wanted = |name: &str| {
                    artifact.install.iter().any(|install| match install {
                        Install::File { .. } => false,
                        Install::Member { member, .. } => name == member,
                        Install::Tree { from, .. } => below(name, from).is_some(),
                    })
                };
                match members(&wanted)? {
                    Some(members) => members,
                    None => return Ok(None),
                }
            }
        };
        for install in &artifact.install {
            let before = found.len();
            match install {
                Install::File { to, mode } => found.push(place(artifact, to, mode.0, file)?),
                Install::Member { member, to, mode } => {
                    for there in members.iter().filter(|there| there.name == *member) {
                        found.push(place(artifact, to, mode.0, &there.file)?);
                    }
                }
                Install::Tree { from, to } => {
                    for there in &members {
                        if let Some(rest) = below(&there.name, from) {
                            let mode = if there.executable { 0o755 } else { 0o644 };
                            let to = format!("{}/{rest}", to.trim_end_matches('/'));
                            found.push(place(artifact, &to, mode, &there.file)?);
                        }
                    }
                }
            }
            if found.len() == before {
                let what = match install {
                    Install::Member { member, .. } => format!("no file `{member}`"),
                    Install::Tree { from, .. } => format!("no file below `{from}/`"),
                    Install::File { .. } => "nothing".to_owned(),
                };
                return Err(Failure::new(format!(
                    "`{}` holds {what}",
                    shown_url(&artifact.url)
                )));
            }
        }
        Ok(Some(found))
    }
}

/// Files of an archive whose names are picked.
type Members<'a> = dyn Fn(&dyn Fn(&str) -> bool) -> Result<Option<Vec<Member>>, Failure> + 'a;

/// The rest of a member's name below a folder of the archive; the folder `` holds everything.
fn below<'a>(name: &'a str, folder: &str) -> Option<&'a str> {
    if folder.is_empty() {
        return Some(name);
    }
    name.strip_prefix(folder)?.strip_prefix('/')
}

/// One file for the image. A program must be for the processor that the artifact is for.
fn place(artifact: &Artifact, to: &str, mode: u16, file: &CachedFile) -> Result<PlacedFile, Failure> {
    if mode & 0o111 != 0 {
        let mut head = [0; ELF_HEAD];
        let n = file.file().read_at(&mut head, 0)?;
        check_machine(
            &format!("{to} of {}", shown_url(&artifact.url)),
            &head[..n],
            artifact.arch,
        )?;
    }
    Ok(PlacedFile {
        to: to.to_owned(),
        mode,
        content: content(file)?,
        held: file.clone(),
    })
}

fn content(file: &CachedFile) -> Result<Content, Failure> {
    let digest: Digest = file.digest.clone();
    Ok(Content::File {
        path: file.path.clone(),
        stamp: FileSource::stamp(&file.path)?,
        digest,
    })
}
