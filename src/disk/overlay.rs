//! The image being built: a copy-on-write overlay over an untouched base.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::block_io::{BlockIo, Source, eof};

/// What a changed range holds.
#[derive(Debug, Clone)]
pub enum Fill {
    /// Zeroes.
    Zeroes,
    /// Bytes in memory, from an offset of the buffer on.
    Bytes(Arc<[u8]>, usize),
    /// A range of a source, from an offset on.
    Source(Arc<dyn Source>, u64),
}

impl Fill {
    /// The same content, `by` bytes further on.
    fn skip(&self, by: u64) -> Self {
        match self {
            Self::Zeroes => Self::Zeroes,
            // A span is never longer than its buffer, so the sum stays within memory sizes.
            Self::Bytes(bytes, at) => Self::Bytes(Arc::clone(bytes), at + by as usize),
            Self::Source(source, at) => Self::Source(Arc::clone(source), at + by),
        }
    }
}

/// A changed range of an overlay.
#[derive(Debug, Clone)]
pub struct Span {
    /// Length in bytes, at least one.
    pub len: u64,
    /// What it holds.
    pub fill: Fill,
}

struct State {
    len: u64,
    /// Changed ranges by their first byte; they never overlap.
    spans: BTreeMap<u64, Span>,
}

/// A base that is never modified, and the ranges that differ from it.
///
/// A changed range holds bytes, zeroes or a reference to a range of a [`Source`], so a payload of any size costs
/// a few dozen bytes. Beyond the end of the base everything reads as zeroes until written.
pub struct Overlay {
    base: Arc<dyn Source>,
    state: RwLock<State>,
}

impl fmt::Debug for Overlay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.read();
        write!(f, "Overlay({} bytes, {} spans)", state.len, state.spans.len())
    }
}

impl Overlay {
    /// An overlay without changes.
    #[must_use]
    pub fn new(base: Arc<dyn Source>) -> Self {
        let len = base.len();
        Self {
            base,
            state: RwLock::new(State {
                len,
                spans: BTreeMap::new(),
            }),
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The base below.
    #[must_use]
    pub fn base(&self) -> &Arc<dyn Source> {
        &self.base
    }

    /// Changes the length; what is beyond a shorter end is forgotten, what a longer end adds reads as zeroes.
    pub fn set_len(&self, len: u64) {
        let mut state = self.write();
        if len < state.len {
            let old = state.len;
            cut(&mut state.spans, len..old);
            // Growing again must not bring the base's bytes back.
            state.spans.insert(
                len,
                Span {
                    len: old - len,
                    fill: Fill::Zeroes,
                },
            );
        }
        state.len = len;
    }

    /// The changed ranges in order, clipped to the length.
    #[must_use]
    pub fn spans(&self) -> Vec<(u64, Span)> {
        let state = self.read();
        state
            .spans
            .range(..state.len)
            .map(|(start, span)| {
                let mut span = span.clone();
                span.len = span.len.min(state.len - start);
                (*start, span)
            })
            .collect()
    }

    /// Puts one span, replacing whatever was there.
    fn put(&self, offset: u64, span: Span) -> io::Result<()> {
        if span.len == 0 {
            return Ok(());
        }
        let mut state = self.write();
        let end = offset.checked_add(span.len).filter(|end| *end <= state.len);
        let end = end.ok_or_else(eof)?;
        cut(&mut state.spans, offset..end);
        state.spans.insert(offset, span);
        Ok(())
    }
}

/// Makes room: afterwards no span touches `range`.
fn cut(spans: &mut BTreeMap<u64, Span>, range: Range<u64>) {
    // The one span that may begin before the range.
    if let Some((&start, span)) = spans.range_mut(..range.start).next_back() {
        let end = start + span.len;
        if end > range.start {
            let rest = (end > range.end).then(|| Span {
                len: end - range.end,
                fill: span.fill.skip(range.end - start),
            });
            span.len = range.start - start;
            if let Some(rest) = rest {
                spans.insert(range.end, rest);
                return;
            }
        }
    }
    while let Some((&start, span)) = spans.range(range.clone()).next() {
        let end = start + span.len;
        let rest = (end > range.end).then(|| Span {
            len: end - range.end,
            fill: span.fill.skip(range.end - start),
        });
        spans.remove(&start);
        if let Some(rest) = rest {
            spans.insert(range.end, rest);
        }
    }
}

/// Reads the base, with zeroes beyond its end.
fn read_base(base: &dyn Source, offset: u64, buf: &mut [u8]) -> io::Result<()> {
    let there = base.len().saturating_sub(offset).min(buf.len() as u64) as usize;
    let (data, beyond) = buf.split_at_mut(there);
    if !data.is_empty() {
        base.read_at(offset, data)?;
    }
    beyond.fill(0);
    Ok(())
}

impl BlockIo for Overlay {
    fn len(&self) -> u64 {
        self.read().len
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let state = self.read();
        let end = offset
            .checked_add(buf.len() as u64)
            .filter(|end| *end <= state.len)
            .ok_or_else(eof)?;
        let mut at = offset;
        // The span that may begin before the range, then those inside.
        let before = state
            .spans
            .range(..offset)
            .next_back()
            .filter(|(start, span)| *start + span.len > offset);
        let inside = state.spans.range(offset..end);
        for (&start, span) in before.into_iter().chain(inside) {
            if start > at {
                let gap = &mut buf[(at - offset) as usize..(start - offset) as usize];
                read_base(&*self.base, at, gap)?;
                at = start;
            }
            let stop = (start + span.len).min(end);
            let target = &mut buf[(at - offset) as usize..(stop - offset) as usize];
            match span.fill.skip(at - start) {
                Fill::Zeroes => target.fill(0),
                Fill::Bytes(bytes, from) => target.copy_from_slice(&bytes[from..from + target.len()]),
                Fill::Source(source, from) => source.read_at(from, target)?,
            }
            at = stop;
        }
        if at < end {
            read_base(&*self.base, at, &mut buf[(at - offset) as usize..])?;
        }
        Ok(())
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        if data.is_empty() {
            return Ok(());
        }
        {
            // A small change inside a buffer that only this overlay holds is made in place.
            let mut state = self.write();
            if let Some((&start, span)) = state.spans.range_mut(..=offset).next_back() {
                let skip = offset - start;
                if let Fill::Bytes(bytes, at) = &mut span.fill
                    && skip + data.len() as u64 <= span.len
                    && let Some(bytes) = Arc::get_mut(bytes)
                {
                    let from = *at + skip as usize;
                    bytes[from..from + data.len()].copy_from_slice(data);
                    return Ok(());
                }
            }
        }
        self.put(
            offset,
            Span {
                len: data.len() as u64,
                fill: Fill::Bytes(data.into(), 0),
            },
        )
    }

    fn write_zeroes(&self, offset: u64, len: u64) -> io::Result<()> {
        self.put(
            offset,
            Span {
                len,
                fill: Fill::Zeroes,
            },
        )
    }

    fn write_source(
        &self,
        offset: u64,
        source: &Arc<dyn Source>,
        source_offset: u64,
        len: u64,
    ) -> io::Result<()> {
        let inside = source_offset
            .checked_add(len)
            .is_some_and(|end| end <= source.len());
        if !inside {
            return Err(eof());
        }
        self.put(
            offset,
            Span {
                len,
                fill: Fill::Source(Arc::clone(source), source_offset),
            },
        )
    }
}

impl Source for Overlay {
    fn len(&self) -> u64 {
        BlockIo::len(self)
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        BlockIo::read_at(self, offset, buf)
    }

    fn next_data(&self, offset: u64) -> io::Result<Option<Range<u64>>> {
        let state = self.read();
        let mut at = offset;
        while at < state.len {
            let before = state.spans.range(..=at).next_back();
            if let Some((&start, span)) = before.filter(|(start, span)| *start + span.len > at) {
                let end = (start + span.len).min(state.len);
                if matches!(span.fill, Fill::Zeroes) {
                    at = end;
                    continue;
                }
                return Ok(Some(at..end));
            }
            let gap_end = state
                .spans
                .range(at..)
                .next()
                .map_or(state.len, |(start, _)| (*start).min(state.len));
            if at < self.base.len()
                && let Some(data) = self.base.next_data(at)?
                && data.start < gap_end
            {
                return Ok(Some(data.start..data.end.min(gap_end)));
            }
            at = gap_end;
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::block_io::Bytes;
    use super::*;

    fn pattern(len: usize, seed: u8) -> Vec<u8> {
        (0..len)
            .map(|i| (i as u8).wrapping_mul(31).wrapping_add(seed) | 1)
            .collect()
    }

    #[test]
    fn the_base_stays_and_changes_show() {
        let base = Bytes::shared(&pattern(100, 0));
        let overlay = Overlay::new(Arc::clone(&base));
        overlay.write_at(10, b"hello").expect("write");
        let mut seen = [0; 7];
        BlockIo::read_at(&overlay, 9, &mut seen).expect("read");
        assert_eq!(&seen[1..6], b"hello");
        let mut untouched = [0; 5];
        base.read_at(10, &mut untouched).expect("read");
        assert_eq!(untouched, pattern(100, 0)[10..15]);
    }

    #[test]
    fn a_range_past_the_end_changes_nothing() {
        let overlay = Overlay::new(Bytes::shared(&[1; 10]));
        assert!(overlay.write_at(8, &[2; 3]).is_err());
        assert!(BlockIo::read_at(&overlay, 8, &mut [0; 3]).is_err());
        assert!(overlay.write_source(0, &Bytes::shared(&[3; 4]), 2, 3).is_err());
        assert!(overlay.spans().is_empty());
    }

    #[test]
    fn shrinking_then_growing_reads_zeroes() {
        let overlay = Overlay::new(Bytes::shared(&[1; 10]));
        overlay.set_len(4);
        overlay.set_len(12);
        let mut seen = [9; 12];
        BlockIo::read_at(&overlay, 0, &mut seen).expect("read");
        assert_eq!(seen, [1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
    }

    #[derive(Debug, Clone)]
    enum Change {
        Write(u64, Vec<u8>),
        Zero(u64, u64),
        Refer(u64, u64, u64),
        SetLen(u64),
    }

    fn change() -> impl Strategy<Value = Change> {
        prop_oneof![
            4 => (0u64..300, proptest::collection::vec(any::<u8>(), 0..60)).prop_map(|(o, d)| Change::Write(o, d)),
            2 => (0u64..300, 0u64..120).prop_map(|(o, l)| Change::Zero(o, l)),
            3 => (0u64..300, 0u64..100, 0u64..100).prop_map(|(o, s, l)| Change::Refer(o, s, l)),
            1 => (0u64..400).prop_map(Change::SetLen),
        ]
    }

    proptest! {
        /// Whatever is done to an overlay, it reads as a plain buffer treated the same way.
        #[test]
        fn behaves_as_a_plain_buffer(changes in proptest::collection::vec(change(), 1..40)) {
            let base = pattern(200, 7);
            let payload = pattern(150, 99);
            let source = Bytes::shared(&payload);
            let overlay = Overlay::new(Bytes::shared(&base));
            let mut plain = base;
            for change in changes {
                match change {
                    Change::Write(at, data) => {
                        let fits = at as usize + data.len() <= plain.len();
                        prop_assert_eq!(overlay.write_at(at, &data).is_ok(), fits || data.is_empty());
                        if fits {
                            plain[at as usize..at as usize + data.len()].copy_from_slice(&data);
                        }
                    }
                    Change::Zero(at, len) => {
                        let fits = (at + len) as usize <= plain.len();
                        prop_assert_eq!(overlay.write_zeroes(at, len).is_ok(), fits || len == 0);
                        if fits {
                            plain[at as usize..(at + len) as usize].fill(0);
                        }
                    }
                    Change::Refer(at, from, len) => {
                        let legal = from + len <= 150;
                        let fits = (at + len) as usize <= plain.len();
                        let done = overlay.write_source(at, &source, from, len).is_ok();
                        prop_assert_eq!(done, legal && (fits || len == 0));
                        if done && fits {
                            plain[at as usize..(at + len) as usize]
                                .copy_from_slice(&payload[from as usize..(from + len) as usize]);
                        }
                    }
                    Change::SetLen(len) => {
                        overlay.set_len(len);
                        plain.resize(len as usize, 0);
                    }
                }
            }
            let mut seen = vec![0xd1; plain.len()];
            BlockIo::read_at(&overlay, 0, &mut seen).expect("read");
            prop_assert_eq!(&seen, &plain);
            // Everything that next_data passes over is zero.
            let mut at = 0;
            while let Some(data) = overlay.next_data(at).expect("next_data") {
                prop_assert!(data.start >= at && data.end > data.start);
                prop_assert!(plain[at as usize..data.start as usize].iter().all(|b| *b == 0));
                at = data.end;
            }
            prop_assert!(plain[at.min(plain.len() as u64) as usize..].iter().all(|b| *b == 0));
        }
    }
}
