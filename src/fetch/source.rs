//! Host files as [`Source`]s: payloads by path, and the cached base.

use std::fmt;
use std::fs::{File, Metadata};
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;

use super::CachedImage;
use crate::disk::Source;
use crate::plan::FileStamp;
use crate::values::Digest;

/// Files held open at most by one [`FilePool`]; well below the 256 descriptors that some systems allow a process.
const OPEN: usize = 32;

/// Keeps the files that were used last open, so that thousands of payloads need few descriptors.
#[derive(Debug, Default)]
pub struct FilePool(Mutex<Vec<(PathBuf, Arc<File>)>>);

impl FilePool {
    /// An empty pool.
    #[must_use]
    pub fn shared() -> Arc<Self> {
        Arc::new(Self::default())
    }

    fn open(&self, path: &Path, stamp: &FileStamp) -> io::Result<Arc<File>> {
        let mut files = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let there = files.iter().position(|(p, _)| p == path);
        let entry = match there {
            Some(at) => files.remove(at),
            None => {
                let file = File::open(path).map_err(|e| named(path, &e))?;
                (path.to_owned(), Arc::new(file))
            }
        };
        // The name may stand for another file than when it was opened before.
        let entry = if there.is_some() && stamp_of(&entry.1.metadata()?) != *stamp {
            let file = File::open(path).map_err(|e| named(path, &e))?;
            (entry.0, Arc::new(file))
        } else {
            entry
        };
        let file = Arc::clone(&entry.1);
        if files.len() >= OPEN {
            files.remove(0);
        }
        files.push(entry);
        Ok(file)
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

enum Handle {
    /// Opened when needed.
    Pooled(Arc<FilePool>),
    /// Open as long as the source lives; an image in the cache cannot be pruned meanwhile.
    Held(Arc<File>),
}

/// A file of the host that is read in place and must not change while it is used.
pub struct FileSource {
    path: PathBuf,
    stamp: FileStamp,
    handle: Handle,
    sparse: bool,
    digest: Option<[u8; 32]>,
}

impl FileSource {
    /// The file at `path`, which looked like `stamp` when its digest was taken. Nothing is opened yet.
    #[must_use]
    pub fn new(pool: &Arc<FilePool>, path: impl Into<PathBuf>, stamp: FileStamp) -> Self {
        Self {
            path: path.into(),
            stamp,
            handle: Handle::Pooled(Arc::clone(pool)),
            sparse: false,
            digest: None,
        }
    }

    /// The same, with the SHA-256 that was taken of the file at the time of its stamp.
    #[must_use]
    pub fn with_digest(mut self, digest: &Digest) -> Self {
        self.digest = digest.as_bytes().try_into().ok();
        self
    }

    /// A raw image that is read in place and kept open; its holes are known to be zeroes.
    ///
    /// # Errors
    ///
    /// When it cannot be opened, or is no regular file.
    pub fn held(path: &Path) -> io::Result<Self> {
        let file = File::open(path).map_err(|e| named(path, &e))?;
        Ok(Self {
            path: path.to_owned(),
            stamp: stamp_of(&file.metadata()?),
            handle: Handle::Held(Arc::new(file)),
            sparse: true,
            digest: None,
        })
    }

    /// A base in the cache; its holes are known to be zeroes.
    ///
    /// # Errors
    ///
    /// When the file cannot be asked for its length.
    pub fn cached(image: &CachedImage) -> io::Result<Self> {
        let file = Arc::clone(image.file());
        Ok(Self {
            path: image.raw_path.clone(),
            stamp: stamp_of(&file.metadata()?),
            handle: Handle::Held(file),
            sparse: true,
            digest: None,
        })
    }

    /// What the file at `path` looks like now; taken before its digest is.
    ///
    /// # Errors
    ///
    /// When there is no such file, or it is not a regular file.
    pub fn stamp(path: &Path) -> io::Result<FileStamp> {
        let meta = std::fs::metadata(path).map_err(|e| named(path, &e))?;
        if !meta.is_file() {
            let text = format!("`{}` is not a regular file", path.display());
            return Err(io::Error::new(ErrorKind::InvalidInput, text));
        }
        Ok(stamp_of(&meta))
    }

    fn open(&self) -> io::Result<Arc<File>> {
        match &self.handle {
            Handle::Pooled(pool) => pool.open(&self.path, &self.stamp),
            Handle::Held(file) => Ok(Arc::clone(file)),
        }
    }

    /// Looked at after reading: bytes that were read before a change are good.
    fn check(&self, file: &File) -> io::Result<()> {
        if stamp_of(&file.metadata()?) == self.stamp {
            return Ok(());
        }
        Err(io::Error::other(format!(
            "`{}` was changed while it was being used",
            self.path.display()
        )))
    }
}

impl fmt::Debug for FileSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileSource({}, {} bytes)", self.path.display(), self.stamp.len)
    }
}

impl Source for FileSource {
    fn len(&self) -> u64 {
        self.stamp.len
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let end = offset.checked_add(buf.len() as u64);
        if end.is_none_or(|end| end > self.stamp.len) {
            return Err(io::Error::new(ErrorKind::UnexpectedEof, "range passes the end"));
        }
        let file = self.open()?;
        let read = file.read_exact_at(buf, offset);
        self.check(&file)?;
        read.map_err(|e| named(&self.path, &e))
    }

    fn digest(&self) -> Option<[u8; 32]> {
        self.digest
    }

    fn next_data(&self, offset: u64) -> io::Result<Option<Range<u64>>> {
        let rest = (offset < self.stamp.len).then_some(offset..self.stamp.len);
        if !self.sparse || rest.is_none() {
            return Ok(rest);
        }
        let file = self.open()?;
        // The file offset that this moves is used by nobody: all reading is by position.
        let start = match seek(&*file, SeekFrom::Data(offset)) {
            Ok(start) => start,
            Err(Errno::NXIO) => return Ok(None),
            Err(_) => return Ok(rest),
        };
        let end = seek(&*file, SeekFrom::Hole(start)).unwrap_or(self.stamp.len);
        Ok((start < self.stamp.len).then_some(start..end.min(self.stamp.len)))
    }
}

fn stamp_of(meta: &Metadata) -> FileStamp {
    FileStamp {
        len: meta.len(),
        mtime: (meta.mtime(), meta.mtime_nsec()),
        id: (meta.dev(), meta.ino()),
    }
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("`{}`: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_exactly_and_not_past_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        std::fs::write(&path, b"0123456789").unwrap();
        let source = FileSource::new(&FilePool::shared(), &path, FileSource::stamp(&path).unwrap());
        let mut buf = [0xEE; 4];
        source.read_at(6, &mut buf).unwrap();
        assert_eq!(&buf, b"6789");
        for offset in [7, 10, u64::MAX] {
            assert_eq!(
                source.read_at(offset, &mut buf).unwrap_err().kind(),
                ErrorKind::UnexpectedEof
            );
        }
    }

    #[test]
    fn a_changed_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let changes: [&dyn Fn(); 4] = [
            &|| std::fs::write(&path, b"longer than before").unwrap(),
            &|| std::fs::write(&path, b"abcD").unwrap(),
            &|| {
                std::fs::write(dir.path().join("g"), b"abcd").unwrap();
                std::fs::rename(dir.path().join("g"), &path).unwrap();
            },
            &|| std::fs::remove_file(&path).unwrap(),
        ];
        for (case, change) in changes.iter().enumerate() {
            for read_before in [false, true] {
                std::fs::write(&path, b"abcd").unwrap();
                // An old time, so that any write shows even on a coarse clock.
                let file = File::options().write(true).open(&path).unwrap();
                file.set_modified(std::time::UNIX_EPOCH).unwrap();
                let source = FileSource::new(&FilePool::shared(), &path, FileSource::stamp(&path).unwrap());
                let mut buf = [0; 4];
                if read_before {
                    source.read_at(0, &mut buf).unwrap();
                }
                change();
                let result = source.read_at(0, &mut buf);
                // A file that is open keeps its bytes when only its name goes or is given to another.
                if read_before && case >= 2 {
                    assert_eq!((result.is_ok(), &buf), (true, b"abcd"), "case {case}");
                    continue;
                }
                let text = result.unwrap_err().to_string();
                let part = if case == 3 {
                    "No such file"
                } else {
                    "changed while"
                };
                assert!(
                    text.contains(part) && text.contains(path.to_str().unwrap()),
                    "case {case}: {text}"
                );
            }
        }
    }

    #[test]
    fn few_files_are_open_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let pool = FilePool::shared();
        let sources: Vec<FileSource> = (0..100)
            .map(|i| {
                let path = dir.path().join(i.to_string());
                std::fs::write(&path, [i; 10]).unwrap();
                let stamp = FileSource::stamp(&path).unwrap();
                FileSource::new(&pool, path, stamp)
            })
            .collect();
        assert_eq!(pool.len(), 0);
        for _ in 0..3 {
            for (i, source) in sources.iter().enumerate() {
                let mut buf = [0xEE; 10];
                source.read_at(0, &mut buf).unwrap();
                assert_eq!(buf, [i as u8; 10]);
                assert!(pool.len() <= OPEN);
            }
        }
    }

    #[test]
    fn holes_are_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let file = File::create_new(&path).unwrap();
        file.set_len(8 << 20).unwrap();
        file.write_all_at(&[1; 4096], 1 << 20).unwrap();
        file.write_all_at(&[1; 4096], 5 << 20).unwrap();
        let file = Arc::new(File::open(&path).unwrap());
        let source = FileSource {
            stamp: stamp_of(&file.metadata().unwrap()),
            path,
            handle: Handle::Held(file),
            sparse: true,
            digest: None,
        };
        let mut found = Vec::new();
        let mut at = 0;
        while let Some(range) = source.next_data(at).unwrap() {
            assert!(range.start >= at && range.end > range.start);
            at = range.end;
            found.push(range);
        }
        let covers = |offset: u64| found.iter().any(|range| range.contains(&offset));
        assert!(covers(1 << 20) && covers((5 << 20) + 4095));
        assert!(!covers(3 << 20) && !covers(7 << 20), "{found:?}");
        assert_eq!(source.next_data(8 << 20).unwrap(), None);
    }
}
