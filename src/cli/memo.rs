//! Digests of payload files that did not change since they were last hashed, as git's index keeps them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::emit::Output;
use crate::inputs::DigestMemo;
use crate::plan::FileStamp;
use crate::values::Digest;

/// Entries that are kept; beyond this, those that the last run did not ask for go.
const KEEP: usize = 200_000;
/// A file changed this recently could change again without a new time stamp.
const SETTLED: i64 = 2;

#[derive(Debug, Clone)]
struct Entry {
    stamp: FileStamp,
    digest: Digest,
    used: bool,
}

/// The memo file in the cache directory. One that is damaged or missing costs time, never correctness.
#[derive(Debug)]
pub struct Memo {
    file: PathBuf,
    now: i64,
    entries: Mutex<(BTreeMap<PathBuf, Entry>, bool)>,
}

impl Memo {
    /// Reads the memo.
    #[must_use]
    pub fn open(cache: &Path) -> Self {
        let file = cache.join("digests");
        let bytes = std::fs::read(&file).unwrap_or_default();
        let entries = bytes.split(|b| *b == b'\n').filter_map(parse).collect();
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |d| i64::try_from(d.as_secs()).unwrap_or(0));
        Self {
            file,
            now,
            entries: Mutex::new((entries, false)),
        }
    }

    /// Writes the memo back when something was learnt.
    pub fn save(self) {
        let (entries, changed) = self.entries.into_inner().unwrap_or_else(PoisonError::into_inner);
        if !changed {
            return;
        }
        let all = entries.len() <= KEEP;
        let mut bytes = Vec::new();
        for (path, entry) in entries.iter().filter(|(_, entry)| all || entry.used) {
            let mut line = String::new();
            let s = &entry.stamp;
            // Writing to a String cannot fail.
            let _ = write!(
                line,
                "{} {} {} {} {} {} ",
                s.len, s.mtime.0, s.mtime.1, s.id.0, s.id.1, entry.digest
            );
            bytes.extend_from_slice(line.as_bytes());
            bytes.extend_from_slice(path.as_os_str().as_bytes());
            bytes.push(b'\n');
        }
        // A memo that cannot be kept, or that another process keeps at the same moment, is no reason to fail.
        if let Ok(output) = Output::with_bytes(&self.file, &bytes) {
            let _ = output.finish();
        }
    }
}

fn parse(line: &[u8]) -> Option<(PathBuf, Entry)> {
    let mut fields = line.splitn(7, |b| *b == b' ');
    let mut text = || std::str::from_utf8(fields.next()?).ok();
    let len = text()?.parse().ok()?;
    let mtime = (text()?.parse().ok()?, text()?.parse().ok()?);
    let id = (text()?.parse().ok()?, text()?.parse().ok()?);
    let digest = text()?.parse().ok()?;
    let path = fields.next().filter(|p| !p.is_empty())?;
    Some((
        PathBuf::from(std::ffi::OsString::from_vec(path.to_vec())),
        Entry {
            stamp: FileStamp { len, mtime, id },
            digest,
            used: false,
        },
    ))
}

/// A relative path means another file in another working directory.
fn absolute(path: &Path) -> Option<PathBuf> {
    std::path::absolute(path).ok()
}

impl DigestMemo for Memo {
    fn get(&self, path: &Path, stamp: &FileStamp) -> Option<Digest> {
        let mut guard = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = guard.0.get_mut(&absolute(path)?).filter(|e| e.stamp == *stamp)?;
        entry.used = true;
        Some(entry.digest.clone())
    }

    fn put(&self, path: &Path, stamp: &FileStamp, digest: &Digest) {
        let settled = stamp.mtime.0.saturating_add(SETTLED) < self.now;
        // A path with a line break does not fit the file.
        let Some(path) = absolute(path).filter(|p| !p.as_os_str().as_bytes().contains(&b'\n')) else {
            return;
        };
        if !settled {
            return;
        }
        let mut guard = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        guard.1 = true;
        guard.0.insert(
            path,
            Entry {
                stamp: *stamp,
                digest: digest.clone(),
                used: true,
            },
        );
    }
}
