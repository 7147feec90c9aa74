//! The one way to the bytes of an image: file systems, partition tables, emitters and the flasher all speak it.

use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::Arc;

/// Immutable bytes that an image may refer to instead of copying them: a payload file, a cached base.
///
/// Reading the same range twice must give the same bytes; a source that finds its file changed fails.
pub trait Source: Send + Sync + fmt::Debug {
    /// Length in bytes.
    fn len(&self) -> u64;

    /// Whether there are no bytes.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Fills `buf` from `offset`. A range that passes the end is an error ([`io::ErrorKind::UnexpectedEof`]).
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()>;

    /// The first range at or after `offset` that may hold anything but zeroes; `None` when only zeroes follow.
    /// A source that does not know answers with the whole rest.
    fn next_data(&self, offset: u64) -> io::Result<Option<Range<u64>>> {
        let len = self.len();
        Ok((offset < len).then_some(offset..len))
    }

    /// SHA-256 of all the bytes, where it is known without reading them.
    fn digest(&self) -> Option<[u8; 32]> {
        None
    }
}

/// A [`Source`] in memory, for contents that a template or a cluster file gave.
#[derive(Clone)]
pub struct Bytes(pub Arc<[u8]>);

impl Bytes {
    /// A shared source of these bytes.
    #[must_use]
    pub fn shared(data: &[u8]) -> Arc<dyn Source> {
        Arc::new(Self(data.into()))
    }
}

impl fmt::Debug for Bytes {
    /// The length alone: contents may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bytes({})", self.0.len())
    }
}

impl Source for Bytes {
    fn len(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let start = usize::try_from(offset).map_err(|_| eof())?;
        let end = start.checked_add(buf.len()).ok_or_else(eof)?;
        buf.copy_from_slice(self.0.get(start..end).ok_or_else(eof)?);
        Ok(())
    }
}

/// Longest piece that [`in_pieces`] gives.
pub const PIECE: usize = 1 << 20;

/// Reads a range of a source in pieces of up to [`PIECE`] bytes and gives each with its offset to `take`, until that
/// answers `false`.
///
/// # Errors
/// Reading failed, the range passes the end, or `take` failed.
pub fn in_pieces(
    source: &dyn Source,
    range: Range<u64>,
    mut take: impl FnMut(u64, &[u8]) -> io::Result<bool>,
) -> io::Result<()> {
    let len = range.end.saturating_sub(range.start);
    let mut buf = vec![0; len.min(PIECE as u64) as usize];
    let mut at = range.start;
    while at < range.end {
        let step = (range.end - at).min(PIECE as u64) as usize;
        source.read_at(at, &mut buf[..step])?;
        if !take(at, &buf[..step])? {
            break;
        }
        at += step as u64;
    }
    Ok(())
}

/// The error of a range that passes the end.
pub(crate) fn eof() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "range passes the end")
}

/// Random access to the bytes of an image or of a window on it.
///
/// Methods take `&self`, as files do; an implementation synchronises itself, so a handle can be shared
/// (`Arc<dyn BlockIo>`). Offsets and lengths are in bytes and need no alignment. Every range must lie
/// inside `0..len()`; a range that does not is an error and changes nothing.
pub trait BlockIo: Send + Sync {
    /// Length in bytes.
    fn len(&self) -> u64;

    /// Whether there are no bytes.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Fills `buf` from `offset`.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()>;

    /// Writes all of `data` at `offset`.
    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()>;

    /// Makes `len` bytes at `offset` read as zeroes.
    fn write_zeroes(&self, offset: u64, len: u64) -> io::Result<()> {
        let zeroes = [0u8; 65536];
        let mut done = 0;
        while done < len {
            let step = (len - done).min(zeroes.len() as u64);
            self.write_at(offset + done, &zeroes[..step as usize])?;
            done += step;
        }
        Ok(())
    }

    /// Makes `len` bytes at `offset` those of `source` from `source_offset` on. An overlay keeps the reference;
    /// other devices copy through a bounded buffer.
    fn write_source(
        &self,
        offset: u64,
        source: &Arc<dyn Source>,
        source_offset: u64,
        len: u64,
    ) -> io::Result<()> {
        let mut buf = vec![0u8; len.min(1 << 18) as usize];
        let mut done = 0;
        while done < len {
            let step = (len - done).min(buf.len() as u64) as usize;
            source.read_at(source_offset + done, &mut buf[..step])?;
            self.write_at(offset + done, &buf[..step])?;
            done += step as u64;
        }
        Ok(())
    }
}

/// A window of a device, such as one partition: offset 0 of the window is `start` of the device.
#[derive(Clone)]
pub struct Window {
    io: Arc<dyn BlockIo>,
    start: u64,
    len: u64,
}

impl Window {
    /// The bytes `range` of `io`; an error when they pass its end.
    pub fn new(io: Arc<dyn BlockIo>, range: Range<u64>) -> io::Result<Self> {
        if range.start > range.end || range.end > io.len() {
            return Err(eof());
        }
        Ok(Self {
            io,
            start: range.start,
            len: range.end - range.start,
        })
    }

    fn at(&self, offset: u64, len: u64) -> io::Result<u64> {
        match offset.checked_add(len) {
            Some(end) if end <= self.len => Ok(self.start + offset),
            _ => Err(eof()),
        }
    }
}

impl fmt::Debug for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Window({}+{})", self.start, self.len)
    }
}

impl BlockIo for Window {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.io.read_at(self.at(offset, buf.len() as u64)?, buf)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.io.write_at(self.at(offset, data.len() as u64)?, data)
    }

    fn write_zeroes(&self, offset: u64, len: u64) -> io::Result<()> {
        self.io.write_zeroes(self.at(offset, len)?, len)
    }

    fn write_source(
        &self,
        offset: u64,
        source: &Arc<dyn Source>,
        source_offset: u64,
        len: u64,
    ) -> io::Result<()> {
        self.io
            .write_source(self.at(offset, len)?, source, source_offset, len)
    }
}
