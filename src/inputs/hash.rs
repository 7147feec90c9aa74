use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;

use crate::plan::{Content, FileStamp, Origin};
use crate::report::{Event, Step};
use crate::values::{Digest, DigestKind, Hasher};

use super::{InputError, Reading};

/// Threads that hash; a card reader's worth of payloads is bound by the disk with more.
const THREADS: usize = 2;

/// Remembers the digest of a host file as long as its stamp stays the same.
pub trait DigestMemo: Send + Sync {
    /// The digest, if this very state of the file was hashed before.
    fn get(&self, path: &Path, stamp: &FileStamp) -> Option<Digest>;
    /// Keeps a digest.
    fn put(&self, path: &Path, stamp: &FileStamp, digest: &Digest);
}

/// Remembers nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoMemo;

impl DigestMemo for NoMemo {
    fn get(&self, _path: &Path, _stamp: &FileStamp) -> Option<Digest> {
        None
    }

    fn put(&self, _path: &Path, _stamp: &FileStamp, _digest: &Digest) {}
}

/// Hashes files, in the order given. Of several that fail, the first of the list is reported.
pub(super) fn contents(
    files: &[(PathBuf, Origin)],
    reading: Reading<'_>,
) -> Result<Vec<(PathBuf, Content)>, InputError> {
    if files.is_empty() {
        return Ok(Vec::new());
    }
    let stamps = files
        .iter()
        .map(|(path, origin)| stamp_of(path, origin))
        .collect::<Result<Vec<_>, _>>()?;
    let subject = "payload files";
    reading.reporter.event(&Event::Start {
        step: Step::Hash,
        subject,
        total: Some(stamps.iter().map(|s| s.len).sum()),
    });
    let done = AtomicU64::new(0);
    let advance = |bytes: u64| {
        let done = done.fetch_add(bytes, Ordering::Relaxed) + bytes;
        reading.reporter.event(&Event::Advance {
            step: Step::Hash,
            done,
        });
    };
    let next = AtomicUsize::new(0);
    let work = || {
        let mut results = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let (Some((path, origin)), Some(stamp)) = (files.get(index), stamps.get(index)) else {
                return results;
            };
            results.push((index, content(path, origin, *stamp, reading, &advance)));
        }
    };
    let mut results = thread::scope(|scope| {
        let workers: Vec<_> = (1..THREADS).map(|_| scope.spawn(work)).collect();
        let mut results = work();
        for worker in workers {
            match worker.join() {
                Ok(more) => results.extend(more),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        results
    });
    results.sort_by_key(|(index, _)| *index);
    reading.reporter.event(&Event::End { step: Step::Hash });
    results
        .into_iter()
        .zip(files)
        .map(|((_, content), (path, _))| Ok((path.clone(), content?)))
        .collect()
}

fn read_error(path: &Path, origin: &Origin) -> impl FnOnce(io::Error) -> InputError {
    |source| InputError::Read {
        origin: Some(origin.clone()),
        path: path.to_owned(),
        source,
    }
}

/// Looked at before it is opened: opening a named pipe would wait for a writer.
fn stamp_of(path: &Path, origin: &Origin) -> Result<FileStamp, InputError> {
    let meta = fs::metadata(path).map_err(read_error(path, origin))?;
    if !meta.is_file() {
        let why = if meta.is_dir() {
            "is a folder; use `tree` to lay a folder over the image"
        } else {
            "is not a regular file"
        };
        return Err(InputError::Unfit {
            origin: Some(origin.clone()),
            path: path.to_owned(),
            why: why.to_owned(),
        });
    }
    Ok(stamp(&meta))
}

fn stamp(meta: &fs::Metadata) -> FileStamp {
    FileStamp {
        len: meta.len(),
        mtime: (meta.mtime(), meta.mtime_nsec()),
        id: (meta.dev(), meta.ino()),
    }
}

fn content(
    path: &Path,
    origin: &Origin,
    stamp: FileStamp,
    reading: Reading<'_>,
    advance: &dyn Fn(u64),
) -> Result<Content, InputError> {
    let digest = match reading.memo.get(path, &stamp) {
        Some(digest) => {
            // A memory of digests must not hide that the file cannot be read any more.
            File::open(path).map_err(read_error(path, origin))?;
            advance(stamp.len);
            digest
        }
        None => {
            let digest = hash(path, origin, &stamp, advance)?;
            reading.memo.put(path, &stamp, &digest);
            digest
        }
    };
    Ok(Content::File {
        path: path.to_owned(),
        digest,
        stamp,
    })
}

fn hash(
    path: &Path,
    origin: &Origin,
    expected: &FileStamp,
    advance: &dyn Fn(u64),
) -> Result<Digest, InputError> {
    let mut file = File::open(path).map_err(read_error(path, origin))?;
    let mut hasher = Hasher::new(DigestKind::Sha256);
    let mut buf = vec![0; 256 << 10];
    loop {
        let n = match file.read(&mut buf) {
            Ok(0) => break,
            Ok(n) => n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(read_error(path, origin)(e)),
        };
        hasher.update(&buf[..n]);
        advance(n as u64);
    }
    let after = file.metadata().map_err(read_error(path, origin))?;
    if stamp(&after) != *expected {
        return Err(InputError::Unfit {
            origin: Some(origin.clone()),
            path: path.to_owned(),
            why: "changed while it was read; run again when it is complete".to_owned(),
        });
    }
    Ok(hasher.finish())
}
