//! The accounting: lines come in the order of their bytes, and each byte is counted once.

use std::io;
use std::ops::Range;

use super::parts::{OTHER, Part, tile};
use super::{DEFECT, Line, NOTE, Sink, UNACCOUNTED};
use crate::disk::block_io::BlockIo;

/// Bytes read at once.
const PIECE: u64 = 1 << 16;

/// Bytes by kind, in the order in which the dump names its kinds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Totals {
    /// Kind and bytes.
    pub kinds: Vec<(&'static str, u64)>,
    /// Lines of kind [`DEFECT`].
    pub defects: u64,
}

impl Totals {
    /// Bytes of one kind.
    #[must_use]
    pub fn of(&self, kind: &str) -> u64 {
        self.kinds.iter().find(|(k, _)| *k == kind).map_or(0, |(_, n)| *n)
    }

    /// Bytes of all kinds: the size of what was dumped.
    #[must_use]
    pub fn sum(&self) -> u64 {
        self.kinds.iter().map(|(_, n)| n).sum()
    }

    fn add(&mut self, kind: &'static str, bytes: u64) {
        match self.kinds.iter_mut().find(|(k, _)| *k == kind) {
            Some((_, n)) => *n += bytes,
            None => self.kinds.push((kind, bytes)),
        }
    }
}

/// Passes lines on to a sink and keeps account of their bytes. A line that does not begin where the one before
/// ended is preceded by a line for the gap, or is cut by what overlaps; both are told as defects, and the sum of all
/// lines is the size of the section whatever a dump does.
pub struct Ledger<'a> {
    sink: &'a mut dyn Sink,
    cursor: u64,
    end: u64,
    totals: Totals,
}

impl std::fmt::Debug for Ledger<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Ledger({:#x} of {:#x})", self.cursor, self.end)
    }
}

impl<'a> Ledger<'a> {
    /// An account of `len` bytes. The summary has `kinds` in this order, also those without bytes.
    pub fn new(sink: &'a mut dyn Sink, len: u64, kinds: &[&'static str]) -> Self {
        Self {
            sink,
            cursor: 0,
            end: len,
            totals: Totals {
                kinds: kinds.iter().map(|kind| (*kind, 0)).collect(),
                defects: 0,
            },
        }
    }

    /// The first byte that no line has yet.
    #[must_use]
    pub fn cursor(&self) -> u64 {
        self.cursor
    }

    /// A line that has `range` for itself; none for a range without bytes.
    ///
    /// # Errors
    /// The sink fails.
    pub fn own(
        &mut self,
        range: Range<u64>,
        kind: &'static str,
        structure: &str,
        field: &str,
        value: &str,
        meaning: &str,
    ) -> io::Result<()> {
        if range.start >= range.end {
            return Ok(());
        }
        let end = range.end.min(self.end);
        if range.start > self.cursor {
            let gap = self.cursor..range.start.min(self.end);
            self.defect(gap.clone(), structure, "these bytes were passed over")?;
            self.put(gap, UNACCOUNTED, "gap", "bytes", "", "")?;
        } else if range.start < self.cursor || end < range.end {
            self.defect(
                range.start..range.end,
                structure,
                "these bytes are also another line's",
            )?;
        }
        self.put(self.cursor..end, kind, structure, field, value, meaning)
    }

    fn put(
        &mut self,
        range: Range<u64>,
        kind: &'static str,
        structure: &str,
        field: &str,
        value: &str,
        meaning: &str,
    ) -> io::Result<()> {
        if range.start >= range.end {
            return Ok(());
        }
        self.totals.add(kind, range.end - range.start);
        self.cursor = range.end;
        self.sink.line(&Line {
            range,
            kind,
            structure,
            field,
            value,
            meaning,
        })
    }

    /// A line about bytes that other lines have.
    ///
    /// # Errors
    /// The sink fails.
    pub fn note(&mut self, range: Range<u64>, structure: &str, field: &str, value: &str) -> io::Result<()> {
        self.sink.line(&Line {
            range,
            kind: NOTE,
            structure,
            field,
            value,
            meaning: "",
        })
    }

    /// A contradiction about bytes that other lines have.
    ///
    /// # Errors
    /// The sink fails.
    pub fn defect(&mut self, range: Range<u64>, structure: &str, what: &str) -> io::Result<()> {
        self.totals.defects += 1;
        self.sink.line(&Line {
            range,
            kind: DEFECT,
            structure,
            field: what,
            value: "",
            meaning: "",
        })
    }

    /// The lines of one structure: `bytes` as they are at `start`, described by `parts`. What no part describes
    /// becomes lines of its own: `zero`, or the bytes in hexadecimal.
    ///
    /// # Errors
    /// The sink fails.
    pub fn structure(
        &mut self,
        start: u64,
        bytes: &[u8],
        kind: &'static str,
        structure: &str,
        parts: Vec<Part>,
    ) -> io::Result<()> {
        let (parts, overlaps) = tile(parts, bytes);
        for (range, field) in overlaps {
            let at = start + range.start as u64..start + range.end as u64;
            self.defect(at, structure, &format!("{field} overlaps what stands before it"))?;
        }
        for p in parts {
            let range = start + p.range.start as u64..start + p.range.end as u64;
            self.own(range, kind, structure, &p.field, &p.value, &p.meaning)?;
        }
        Ok(())
    }

    /// The lines of a stretch of any length that nothing describes: `zero`, or the bytes in hexadecimal.
    ///
    /// # Errors
    /// The device or the sink fails.
    pub fn undescribed(
        &mut self,
        io: &dyn BlockIo,
        range: Range<u64>,
        kind: &'static str,
        structure: &str,
    ) -> io::Result<()> {
        let mut zero_from = range.start;
        let mut at = range.start;
        while at < range.end {
            let mut piece = vec![0; (range.end - at).min(PIECE) as usize];
            io.read_at(at, &mut piece)?;
            let end = at + piece.len() as u64;
            if piece.iter().any(|b| *b != 0) {
                self.own(zero_from..at, kind, structure, OTHER, "zero", "")?;
                self.structure(at, &piece, kind, structure, Vec::new())?;
                zero_from = end;
            }
            at = end;
        }
        self.own(zero_from..range.end, kind, structure, OTHER, "zero", "")
    }

    /// Closes the account and writes the summary.
    ///
    /// # Errors
    /// The sink fails.
    pub fn finish(mut self) -> io::Result<Totals> {
        if self.cursor < self.end {
            let rest = self.cursor..self.end;
            self.defect(rest.clone(), "rest", "these bytes were passed over")?;
            self.put(rest, UNACCOUNTED, "gap", "bytes", "", "")?;
        }
        self.totals.add(UNACCOUNTED, 0);
        for (kind, bytes) in &self.totals.kinds {
            self.sink.total(kind, *bytes)?;
        }
        self.sink.total("all", self.totals.sum())?;
        Ok(self.totals)
    }
}
