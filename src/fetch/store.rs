//! The cache: objects under their digest, records about them, locks, files on their way in.

use std::fs::{File, Permissions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use super::error::{FetchError, Result};
use super::unpack::Format;
use crate::values::{ChecksumState, Digest, DigestKind, Hasher};

/// What an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ObjectKind {
    /// A raw disk image, sparse.
    Raw,
    /// Any other file, as it came.
    Blob,
}

impl ObjectKind {
    /// The word used in file names and listings.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Blob => "blob",
        }
    }
}

/// What tells that a file was not touched: no write leaves all of these as they were. The change time (ctime)
/// cannot be set by a program, so even a restored modification time is noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stamp {
    len: u64,
    mtime: (i64, i64),
    ctime: (i64, i64),
    id: (u64, u64),
}

impl Stamp {
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn of(meta: &std::fs::Metadata) -> Self {
        Self {
            len: meta.len(),
            mtime: (meta.mtime(), meta.mtime_nsec()),
            ctime: (meta.ctime(), meta.ctime_nsec()),
            id: (meta.dev(), meta.ino()),
        }
    }
}

/// What is remembered about an object that was found whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ObjectRecord {
    pub stamp: Stamp,
    /// Where it came from first: a URL or a path.
    pub origin: String,
}

/// What is remembered about a location, or about a packed file of known digest: which object it gives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Alias {
    pub origin: String,
    pub format: Format,
    /// Digests of the file as it came, as text.
    pub file: Vec<String>,
    pub file_len: u64,
    /// SHA-256 of the object, then other digests known of it.
    pub object: Vec<String>,
    pub object_len: u64,
    pub state: ChecksumState,
    /// What a local file looked like.
    pub stamp: Option<Stamp>,
}

/// The directories of the cache.
#[derive(Debug, Clone)]
pub(super) struct Store {
    root: PathBuf,
}

/// A held lock; released when dropped, and by the system when the process dies.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

/// A file on its way into the cache. Removed when dropped before [`Store::keep`].
#[derive(Debug)]
pub(super) struct Incoming {
    pub file: File,
    pub path: PathBuf,
    kept: bool,
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if !self.kept {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// An object found whole, with a shared lock that keeps it from being pruned.
#[derive(Debug)]
pub(super) struct Held {
    pub path: PathBuf,
    pub file: File,
}

/// How names of files on their way in begin.
const ON_ITS_WAY: &str = ".new-";

static COUNTER: AtomicU64 = AtomicU64::new(0);

impl Store {
    pub(super) const DIRS: [&'static str; 5] = ["raw", "blob", "index", "lock", "part"];

    pub(super) fn open(root: &Path) -> Result<Self> {
        for dir in Self::DIRS {
            let path = root.join(dir);
            std::fs::create_dir_all(&path).map_err(|e| FetchError::io("making the directory", &path, e))?;
        }
        Ok(Self {
            root: root.to_owned(),
        })
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn object_path(&self, kind: ObjectKind, sha256: &Digest) -> PathBuf {
        match kind {
            ObjectKind::Raw => self.root.join("raw").join(format!("{}.img", sha256.hex())),
            ObjectKind::Blob => self.root.join("blob").join(sha256.hex()),
        }
    }

    pub(super) fn record_path(&self, kind: ObjectKind, sha256: &Digest) -> PathBuf {
        self.root
            .join("index")
            .join(format!("{}-{}.json", kind.word(), sha256.hex()))
    }

    fn alias_path(&self, key: &str) -> PathBuf {
        self.root.join("index").join(format!("from-{key}.json"))
    }

    pub(super) fn part_path(&self, key: &str) -> PathBuf {
        self.root.join("part").join(format!("{key}.part"))
    }

    /// The object of this digest, checked. A file that was touched since it was last found whole is hashed again;
    /// when it turns out different it is deleted, and that is an error.
    pub(super) fn object(&self, kind: ObjectKind, sha256: &Digest) -> Result<Option<Held>> {
        let path = self.object_path(kind, sha256);
        loop {
            let file = match File::open(&path) {
                Ok(file) => file,
                Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
                Err(e) => return Err(FetchError::io("opening", &path, e)),
            };
            file.lock_shared()
                .map_err(|e| FetchError::io("locking", &path, e))?;
            let meta = file.metadata().map_err(|e| FetchError::io("reading", &path, e))?;
            // Between opening and locking a prune may have removed the name.
            match std::fs::metadata(&path) {
                Ok(now) if (now.dev(), now.ino()) == (meta.dev(), meta.ino()) => {}
                _ => continue,
            }
            let record_path = self.record_path(kind, sha256);
            let record: Option<ObjectRecord> = read_json(&record_path);
            let stamp = Stamp::of(&meta);
            if record.as_ref().is_none_or(|r| r.stamp != stamp) {
                self.rehash(kind, sha256, &file, &path)?;
                let origin = record.map_or_else(String::new, |r| r.origin);
                write_json(&record_path, &ObjectRecord { stamp, origin })?;
            }
            touch(&record_path);
            return Ok(Some(Held { path, file }));
        }
    }

    fn rehash(&self, kind: ObjectKind, sha256: &Digest, mut file: &File, path: &Path) -> Result<()> {
        let mut hasher = Hasher::new(DigestKind::Sha256);
        let mut buf = vec![0; 256 << 10];
        loop {
            match io::Read::read(&mut file, &mut buf) {
                Ok(0) => break,
                Ok(n) => hasher.update(&buf[..n]),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(FetchError::io("reading", path, e)),
            }
        }
        let found = hasher.finish();
        if found == *sha256 {
            return Ok(());
        }
        self.forget(kind, sha256)?;
        Err(FetchError::Mismatch {
            what: "digest of the cached file",
            subject: path.display().to_string(),
            expected: sha256.clone(),
            found,
            note: Some(
                "the file was changed in the cache; it is deleted now and will be fetched again".to_owned(),
            ),
        })
    }

    /// Removes an object and its record.
    pub(super) fn forget(&self, kind: ObjectKind, sha256: &Digest) -> Result<()> {
        for path in [self.object_path(kind, sha256), self.record_path(kind, sha256)] {
            remove_if_there(&path)?;
        }
        Ok(())
    }

    /// An empty file beside the objects of this kind, locked as long as it is open. What killed programs left there
    /// is removed.
    pub(super) fn incoming(&self, kind: ObjectKind) -> Result<Incoming> {
        self.sweep(kind)?;
        loop {
            let turn = COUNTER.fetch_add(1, Ordering::Relaxed);
            let name = format!("{ON_ITS_WAY}{}-{turn}", std::process::id());
            let path = self.root.join(kind.word()).join(name);
            let opened = File::options()
                .read(true)
                .write(true)
                .create_new(true)
                .open(&path);
            match opened {
                Ok(file) => {
                    file.lock().map_err(|e| FetchError::io("locking", &path, e))?;
                    // Before the lock was there, a sweep may have taken the file for a dead one.
                    if path.exists() {
                        let kept = false;
                        return Ok(Incoming { file, path, kept });
                    }
                }
                Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
                Err(e) => return Err(FetchError::io("creating", &path, e)),
            }
        }
    }

    /// Removes files on their way in whose program is gone: it would hold the lock. Gives their paths and the bytes
    /// that are free again.
    pub(super) fn sweep(&self, kind: ObjectKind) -> Result<Vec<(PathBuf, u64)>> {
        let dir = self.root.join(kind.word());
        let mut swept = Vec::new();
        for entry in std::fs::read_dir(&dir).map_err(|e| FetchError::io("reading", &dir, e))? {
            let entry = entry.map_err(|e| FetchError::io("reading", &dir, e))?;
            if !entry.file_name().to_string_lossy().starts_with(ON_ITS_WAY) {
                continue;
            }
            let path = entry.path();
            // Gone already, or not ours to open: then it is not ours to remove either.
            let Ok(file) = File::open(&path) else {
                continue;
            };
            if file.try_lock().is_ok() {
                let allocated = file
                    .metadata()
                    .map_or(0, |meta| meta.blocks().saturating_mul(512));
                remove_if_there(&path)?;
                swept.push((path, allocated));
            }
        }
        Ok(swept)
    }

    /// A complete partial download, as a file on its way in.
    pub(super) fn adopt_part(&self, part: &Path) -> Result<Incoming> {
        let file = File::open(part).map_err(|e| FetchError::io("opening", part, e))?;
        Ok(Incoming {
            file,
            path: part.to_owned(),
            kept: false,
        })
    }

    /// Gives a complete, verified file its final name. An object that is there already stays, because someone
    /// may be reading it.
    pub(super) fn keep(
        &self,
        kind: ObjectKind,
        sha256: &Digest,
        mut new: Incoming,
        origin: &str,
    ) -> Result<Held> {
        let there = self.object(kind, sha256);
        if let Ok(Some(held)) = there {
            return Ok(held);
        }
        let path = self.object_path(kind, sha256);
        let done = new
            .file
            .set_permissions(Permissions::from_mode(0o444))
            .and_then(|()| new.file.sync_all());
        done.map_err(|e| FetchError::io("writing", &new.path, e))?;
        std::fs::rename(&new.path, &path).map_err(|e| FetchError::io("renaming to", &path, e))?;
        new.kept = true;
        sync_dir(&path);
        new.file
            .lock_shared()
            .map_err(|e| FetchError::io("locking", &path, e))?;
        let meta = new
            .file
            .metadata()
            .map_err(|e| FetchError::io("reading", &path, e))?;
        let record = ObjectRecord {
            stamp: Stamp::of(&meta),
            origin: origin.to_owned(),
        };
        write_json(&self.record_path(kind, sha256), &record)?;
        match self.object(kind, sha256)? {
            Some(held) => Ok(held),
            None => Err(FetchError::io("opening", &path, ErrorKind::NotFound.into())),
        }
    }

    pub(super) fn alias(&self, key: &str) -> Option<Alias> {
        read_json(&self.alias_path(key))
    }

    pub(super) fn remember(&self, key: &str, alias: &Alias) -> Result<()> {
        write_json(&self.alias_path(key), alias)
    }

    /// Takes the lock of `key`, or tells that another process has it.
    pub(super) fn try_lock(&self, key: &str) -> Result<Option<Lock>> {
        let path = self.root.join("lock").join(format!("{key}.lock"));
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(|e| FetchError::io("opening", &path, e))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Lock { _file: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(e)) => Err(FetchError::io("locking", &path, e)),
        }
    }
}

/// Reads a record; one that is missing or damaged counts as not there, and is made anew.
pub(super) fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

/// Writes a record under a temporary name and renames it.
pub(super) fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<()> {
    let turn = COUNTER.fetch_add(1, Ordering::Relaxed);
    let temp = path.with_extension(format!("new-{}-{turn}", std::process::id()));
    let text = serde_json::to_vec(value).map_err(|e| FetchError::io("writing", path, e.into()))?;
    let done = std::fs::write(&temp, text).and_then(|()| std::fs::rename(&temp, path));
    done.map_err(|e| {
        let _ = std::fs::remove_file(&temp);
        FetchError::io("writing", path, e)
    })
}

/// Removes a file that may be gone already.
pub(super) fn remove_if_there(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(FetchError::io("removing", path, e)),
        _ => Ok(()),
    }
}

/// The modification time of a record is the time of its object's last use. Failing to set it harms nobody.
fn touch(path: &Path) {
    use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, utimensat};
    let field = |nsec| Timespec {
        tv_sec: 0,
        tv_nsec: nsec,
    };
    let times = Timestamps {
        last_access: field(UTIME_OMIT),
        last_modification: field(UTIME_NOW),
    };
    let _ = utimensat(CWD, path, &times, AtFlags::empty());
}

/// Makes a rename last. Some file systems cannot sync a directory; the rename holds without it then, or is lost
/// whole with the power.
fn sync_dir(path: &Path) {
    if let Some(Ok(dir)) = path.parent().map(File::open) {
        let _ = dir.sync_all();
    }
}
