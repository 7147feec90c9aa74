//! The content of a file as a source: clusters of the device, and payloads that are not written yet.

use std::fmt;
use std::io;
use std::sync::Arc;

use crate::disk::{BlockIo, Source};

/// A payload that stands at an offset of a file until the commit.
#[derive(Debug, Clone)]
pub(super) struct Piece {
    /// Offset in the file, in bytes.
    pub offset: u64,
    /// The bytes, all of them.
    pub source: Arc<dyn Source>,
}

/// Consecutive clusters of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    /// Offset in the file, in bytes.
    pub file: u64,
    /// Offset on the device, in bytes.
    pub device: u64,
    /// Length in bytes.
    pub len: u64,
}

/// A file's bytes. Pieces stand in ascending order behind each other and hide the extents below them.
pub(super) struct FileContent {
    pub io: Arc<dyn BlockIo>,
    pub extents: Vec<Extent>,
    pub pieces: Vec<Piece>,
    pub len: u64,
}

impl fmt::Debug for FileContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileContent({} bytes)", self.len)
    }
}

impl FileContent {
    /// Fills as much of `buf` as one extent or piece gives at `offset`, and tells how much.
    fn read_some(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let hidden_from = self.pieces.first().map_or(self.len, |piece| piece.offset);
        if offset >= hidden_from {
            let index = self.pieces.partition_point(|piece| piece.offset <= offset);
            let piece = index
                .checked_sub(1)
                .and_then(|index| self.pieces.get(index))
                .ok_or_else(eof)?;
            let within = offset - piece.offset;
            let rest = piece.source.len().checked_sub(within).ok_or_else(eof)?;
            let step = rest.min(buf.len() as u64) as usize;
            piece.source.read_at(within, &mut buf[..step])?;
            return Ok(step);
        }
        let index = self.extents.partition_point(|extent| extent.file <= offset);
        let extent = index
            .checked_sub(1)
            .and_then(|index| self.extents.get(index))
            .ok_or_else(eof)?;
        let within = offset - extent.file;
        let rest = extent.len.saturating_sub(within).min(hidden_from - offset);
        let step = rest.min(buf.len() as u64) as usize;
        self.io.read_at(extent.device + within, &mut buf[..step])?;
        Ok(step)
    }
}

fn eof() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "range passes the end of the file")
}

impl Source for FileContent {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let end = offset.checked_add(buf.len() as u64).ok_or_else(eof)?;
        if end > self.len {
            return Err(eof());
        }
        let mut done = 0;
        while done < buf.len() {
            let step = self.read_some(offset + done as u64, &mut buf[done..])?;
            if step == 0 {
                return Err(eof());
            }
            done += step;
        }
        Ok(())
    }
}
