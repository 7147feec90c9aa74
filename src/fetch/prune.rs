//! What lies in the cache, and making room.

use std::fs::{DirEntry, File, Metadata, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::Fetcher;
use super::archive::LISTING;
use super::error::{FetchError, Result};
use super::store::{Alias, ObjectKind, ObjectRecord, read_json, remove_if_there};
use crate::values::Digest;

/// One object of the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheEntry {
    /// What it is.
    pub kind: ObjectKind,
    /// SHA-256, as its name says.
    pub digest: Digest,
    /// Where it lies.
    pub path: PathBuf,
    /// Length in bytes.
    pub len: u64,
    /// Bytes that it takes on the disk; holes take none.
    pub allocated: u64,
    /// Where it came from first: a URL or a path; empty when not known.
    pub origin: String,
    /// When it was last asked for.
    pub last_used: SystemTime,
    /// Whether a running program holds it, so that it would not be pruned.
    pub in_use: bool,
}

/// What to remove. An object goes when any of the rules names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PruneOptions {
    /// Everything.
    pub all: bool,
    /// What was not asked for since this time.
    pub unused_since: Option<SystemTime>,
    /// What was asked for longest ago, until no more than this many bytes of the disk are taken.
    pub max_allocated: Option<u64>,
    /// Partial downloads, and what interrupted programs left, as well.
    pub leftovers: bool,
}

/// What was removed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pruned {
    /// Objects.
    pub objects: Vec<CacheEntry>,
    /// Partial downloads and other leftovers.
    pub leftovers: Vec<PathBuf>,
    /// Bytes of the disk that are free again.
    pub freed: u64,
    /// Objects that a rule names but that are in use.
    pub kept_in_use: usize,
}

impl Fetcher {
    /// The objects of the cache, those used last first.
    ///
    /// # Errors
    ///
    /// When a directory cannot be read.
    pub fn cache_entries(&self) -> Result<Vec<CacheEntry>> {
        let mut entries = Vec::new();
        for kind in [ObjectKind::Raw, ObjectKind::Blob] {
            for entry in self.entries_of(kind.word())? {
                entries.extend(self.cache_entry(kind, &entry));
            }
        }
        entries.sort_by(|a, b| (b.last_used, &a.digest).cmp(&(a.last_used, &b.digest)));
        Ok(entries)
    }

    fn cache_entry(&self, kind: ObjectKind, entry: &DirEntry) -> Option<CacheEntry> {
        let name = entry.file_name();
        let name = name.to_str()?;
        let digest: Digest = name.strip_suffix(".img").unwrap_or(name).parse().ok()?;
        let meta = entry.metadata().ok()?;
        let record_path = self.store.record_path(kind, &digest);
        let record: Option<ObjectRecord> = read_json(&record_path);
        let last_used = std::fs::metadata(&record_path).and_then(|m| m.modified());
        Some(CacheEntry {
            kind,
            digest,
            path: entry.path(),
            len: meta.len(),
            allocated: allocated(&meta),
            origin: record.map_or_else(String::new, |r| r.origin),
            last_used: last_used
                .or_else(|_| meta.modified())
                .unwrap_or(SystemTime::UNIX_EPOCH),
            in_use: is_locked(&entry.path()),
        })
    }

    /// Removes objects by rule. What a running program uses stays.
    ///
    /// # Errors
    ///
    /// When something cannot be read or removed; what was removed before stays so.
    pub fn prune(&self, options: &PruneOptions) -> Result<Pruned> {
        let mut pruned = Pruned::default();
        let entries = self.cache_entries()?;
        let mut left: u64 = entries.iter().map(|e| e.allocated).sum();
        // From the one used longest ago on, so that a size rule stops at the right place.
        for entry in entries.into_iter().rev() {
            let old = options.unused_since.is_some_and(|since| entry.last_used < since);
            let too_much = options.max_allocated.is_some_and(|max| left > max);
            if !(options.all || old || too_much) {
                continue;
            }
            if !self.remove_object(&entry)? {
                pruned.kept_in_use += 1;
                continue;
            }
            left = left.saturating_sub(entry.allocated);
            pruned.freed += entry.allocated;
            pruned.objects.push(entry);
        }
        if options.all || options.leftovers {
            self.remove_leftovers(&mut pruned)?;
        }
        self.remove_stale_records()?;
        Ok(pruned)
    }

    /// Whether the object could be removed; a shared lock of a user forbids it.
    fn remove_object(&self, entry: &CacheEntry) -> Result<bool> {
        let file = match File::open(&entry.path) {
            Ok(file) => file,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(true),
            Err(e) => return Err(FetchError::io("opening", &entry.path, e)),
        };
        match file.try_lock() {
            Ok(()) => self.store.forget(entry.kind, &entry.digest).map(|()| true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(e)) => Err(FetchError::io("locking", &entry.path, e)),
        }
    }

    fn remove_leftovers(&self, pruned: &mut Pruned) -> Result<()> {
        for kind in [ObjectKind::Raw, ObjectKind::Blob] {
            for (path, freed) in self.store.sweep(kind)? {
                pruned.freed += freed;
                pruned.leftovers.push(path);
            }
        }
        for entry in self.entries_of("part")? {
            let name = entry.file_name().to_string_lossy().into_owned();
            let key = name.trim_end_matches(".json").trim_end_matches(".part");
            // Whoever downloads holds the lock of the key.
            if let Some(_lock) = self.store.try_lock(key)? {
                remove_leftover(&entry, pruned)?;
            }
        }
        Ok(())
    }

    /// Records that lead nowhere any more.
    fn remove_stale_records(&self) -> Result<()> {
        for entry in self.entries_of("index")? {
            let name = entry.file_name().to_string_lossy().into_owned();
            if let Some(digest) = name.strip_prefix(LISTING).and_then(|n| n.strip_suffix(".json")) {
                let archive: Option<Digest> = digest.parse().ok();
                if !archive.is_some_and(|a| self.store.object_path(ObjectKind::Blob, &a).exists()) {
                    remove_if_there(&entry.path())?;
                }
                continue;
            }
            if !name.starts_with("from-") || !name.ends_with(".json") {
                continue;
            }
            let leads_somewhere = |alias: &Alias| {
                let digest: Option<Digest> = alias.object.first().and_then(|text| text.parse().ok());
                digest.is_some_and(|digest| {
                    [ObjectKind::Raw, ObjectKind::Blob]
                        .iter()
                        .any(|&kind| self.store.object_path(kind, &digest).exists())
                })
            };
            if !read_json(&entry.path()).as_ref().is_some_and(leads_somewhere) {
                remove_if_there(&entry.path())?;
            }
        }
        Ok(())
    }

    fn entries_of(&self, dir: &str) -> Result<Vec<DirEntry>> {
        let path = self.store.root().join(dir);
        let read = || std::fs::read_dir(&path)?.collect::<std::io::Result<Vec<_>>>();
        let mut entries = read().map_err(|e| FetchError::io("reading", &path, e))?;
        entries.sort_by_key(DirEntry::file_name);
        Ok(entries)
    }
}

fn remove_leftover(entry: &DirEntry, pruned: &mut Pruned) -> Result<()> {
    pruned.freed += entry.metadata().map_or(0, |meta| allocated(&meta));
    remove_if_there(&entry.path())?;
    pruned.leftovers.push(entry.path());
    Ok(())
}

/// The unit of `st_blocks` is 512 bytes whatever the file system.
fn allocated(meta: &Metadata) -> u64 {
    meta.blocks().saturating_mul(512)
}

fn is_locked(path: &Path) -> bool {
    File::open(path).is_ok_and(|file| matches!(file.try_lock(), Err(TryLockError::WouldBlock)))
}
