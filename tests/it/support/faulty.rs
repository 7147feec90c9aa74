//! Devices for tests: in memory, on a file, failing at the n-th call, shorter than they say.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use ceil_img::disk::{BlockIo, Source};

/// A device in memory.
pub struct Memory(Mutex<Vec<u8>>);

impl Memory {
    /// A device that holds these bytes.
    pub fn new(bytes: Vec<u8>) -> Arc<Self> {
        Arc::new(Self(Mutex::new(bytes)))
    }

    /// A device full of a byte that is neither zero nor text: what is not written shows.
    pub fn nasty(len: usize) -> Arc<Self> {
        Self::new(vec![0xa5; len])
    }

    /// What it holds now.
    pub fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap().clone()
    }
}

fn range(offset: u64, len: usize, end: usize) -> io::Result<std::ops::Range<usize>> {
    let start = usize::try_from(offset).map_err(|_| io::ErrorKind::UnexpectedEof)?;
    match start.checked_add(len) {
        Some(stop) if stop <= end => Ok(start..stop),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

impl BlockIo for Memory {
    fn len(&self) -> u64 {
        self.0.lock().unwrap().len() as u64
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let bytes = self.0.lock().unwrap();
        buf.copy_from_slice(&bytes[range(offset, buf.len(), bytes.len())?]);
        Ok(())
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut bytes = self.0.lock().unwrap();
        let range = range(offset, data.len(), bytes.len())?;
        bytes[range].copy_from_slice(data);
        Ok(())
    }
}

/// A device on a host file.
pub struct FileDevice {
    file: File,
    len: u64,
}

impl FileDevice {
    /// Opens a file for reading and writing.
    pub fn open(path: &Path) -> Arc<Self> {
        let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
        let len = file.metadata().unwrap().len();
        Arc::new(Self { file, len })
    }
}

impl BlockIo for FileDevice {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buf, offset)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        if offset
            .checked_add(data.len() as u64)
            .is_none_or(|end| end > self.len)
        {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.file.write_all_at(data, offset)
    }
}

/// Which calls a [`Faulty`] device counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Calls {
    /// Reads alone.
    Reads,
    /// Writes alone.
    Writes,
    /// Both.
    All,
}

/// What the failures of these devices say.
pub const WANTED: &str = "the device failed, as the test wanted";

/// A device that stops working, for good or for one call.
pub struct Faulty {
    inner: Arc<dyn BlockIo>,
    counted: Calls,
    good: u64,
    bad: u64,
    seen: AtomicU64,
    end: u64,
}

impl Faulty {
    /// Carries out the first `good` calls of a kind; every later one fails.
    pub fn after(inner: Arc<dyn BlockIo>, counted: Calls, good: u64) -> Arc<Self> {
        let end = inner.len();
        Arc::new(Self {
            inner,
            counted,
            good,
            bad: u64::MAX,
            seen: AtomicU64::new(0),
            end,
        })
    }

    /// Only call number `good` of a kind fails, counted from 0.
    pub fn once(inner: Arc<dyn BlockIo>, counted: Calls, good: u64) -> Arc<Self> {
        let end = inner.len();
        Arc::new(Self {
            inner,
            counted,
            good,
            bad: 1,
            seen: AtomicU64::new(0),
            end,
        })
    }

    /// Says its full length, but everything from `end` on fails, as a card that lies about its size does.
    pub fn short(inner: Arc<dyn BlockIo>, end: u64) -> Arc<Self> {
        Arc::new(Self {
            inner,
            counted: Calls::All,
            good: u64::MAX,
            bad: u64::MAX,
            seen: AtomicU64::new(0),
            end,
        })
    }

    /// How many calls of the counted kind came: the number of places at which to let it fail.
    pub fn calls(&self) -> u64 {
        self.seen.load(Ordering::Relaxed)
    }

    fn call(&self, kind: Calls, offset: u64, len: usize) -> io::Result<()> {
        if self.counted == Calls::All || self.counted == kind {
            let seen = self.seen.fetch_add(1, Ordering::Relaxed);
            if seen >= self.good && seen - self.good < self.bad {
                return Err(io::Error::other(WANTED));
            }
        }
        match offset.checked_add(len as u64) {
            Some(end) if end <= self.end => Ok(()),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

impl BlockIo for Faulty {
    fn len(&self) -> u64 {
        self.inner.len()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.call(Calls::Reads, offset, buf.len())?;
        self.inner.read_at(offset, buf)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.call(Calls::Writes, offset, data.len())?;
        self.inner.write_at(offset, data)
    }
}

/// A source that fails at one read, or never.
#[derive(Debug)]
pub struct FaultySource {
    inner: Arc<dyn Source>,
    good: u64,
    seen: AtomicU64,
}

impl FaultySource {
    /// Only read number `good` fails, counted from 0.
    pub fn once(inner: Arc<dyn Source>, good: u64) -> Arc<Self> {
        Arc::new(Self {
            inner,
            good,
            seen: AtomicU64::new(0),
        })
    }

    /// How many reads came.
    pub fn calls(&self) -> u64 {
        self.seen.load(Ordering::Relaxed)
    }
}

impl Source for FaultySource {
    fn len(&self) -> u64 {
        self.inner.len()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        if self.seen.fetch_add(1, Ordering::Relaxed) == self.good {
            return Err(io::Error::other(WANTED));
        }
        self.inner.read_at(offset, buf)
    }
}
