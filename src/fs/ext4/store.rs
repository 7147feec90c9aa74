//! Blocks in memory: changed metadata by number, a bounded cache of clean metadata, and payload as references.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use super::FsResult;
use crate::disk::{BlockIo, Source};

/// Clean metadata kept, in bytes (two generations of half of it).
const CLEAN_CACHE: usize = 8 << 20;
/// Neighbouring blocks are written together up to this many bytes.
const WRITE_RUN: usize = 1 << 20;

/// Bytes of our own to be written where payload is.
#[derive(Debug)]
pub(crate) struct Buffer(pub(crate) Vec<u8>);

impl Source for Buffer {
    fn len(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let end = start.saturating_add(buf.len());
        match self.0.get(start..end) {
            Some(bytes) => buf.copy_from_slice(bytes),
            None => {
                let what = "range passes the end";
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, what));
            }
        }
        Ok(())
    }
}

/// File content waiting for the commit: `blocks` blocks whose bytes are those of `source` from `offset` on;
/// what `len` leaves of the last block is zero.
#[derive(Debug, Clone)]
pub(crate) struct Payload {
    pub(crate) blocks: u64,
    pub(crate) source: Arc<dyn Source>,
    pub(crate) offset: u64,
    pub(crate) len: u64,
}

impl Payload {
    /// The part of `count` blocks from block `skip` on.
    pub(crate) fn part(&self, skip: u64, count: u64, block_size: u64) -> Self {
        let done = skip * block_size;
        Self {
            blocks: count,
            source: self.source.clone(),
            offset: self.offset + done.min(self.len),
            len: self.len.saturating_sub(done).min(count * block_size),
        }
    }
}

/// How to take one change back.
#[derive(Debug)]
enum Undo {
    Block(u64, Option<Arc<[u8]>>),
    PayloadAdded(u64),
    PayloadDropped(u64, Payload),
}

#[derive(Default)]
struct Clean {
    young: BTreeMap<u64, Arc<[u8]>>,
    old: BTreeMap<u64, Arc<[u8]>>,
}

/// The blocks of one file system as edited so far.
pub(crate) struct Store {
    pub(crate) io: Arc<dyn BlockIo>,
    pub(crate) block_size: usize,
    dirty: BTreeMap<u64, Arc<[u8]>>,
    payload: BTreeMap<u64, Payload>,
    clean: RefCell<Clean>,
    log: Vec<Undo>,
    /// Blocks whose earlier state the log already has.
    logged: BTreeSet<u64>,
}

impl Store {
    pub(crate) fn new(io: Arc<dyn BlockIo>, block_size: usize) -> Self {
        Self {
            io,
            block_size,
            dirty: BTreeMap::new(),
            payload: BTreeMap::new(),
            clean: RefCell::default(),
            log: Vec::new(),
            logged: BTreeSet::new(),
        }
    }

    /// A metadata block as edited so far.
    pub(crate) fn block(&self, number: u64) -> FsResult<Arc<[u8]>> {
        if let Some(block) = self.dirty.get(&number) {
            return Ok(block.clone());
        }
        if let Some((start, p)) = self.payload_in(number, 1).next() {
            let bs = self.block_size;
            let part = p.part(number - start, 1, bs as u64);
            let mut buf = vec![0; bs];
            // Not longer than a block.
            let len = part.len as usize;
            part.source.read_at(part.offset, &mut buf[..len])?;
            return Ok(buf.into());
        }
        let mut clean = self.clean.borrow_mut();
        if let Some(block) = clean.young.get(&number) {
            return Ok(block.clone());
        }
        let block = match clean.old.remove(&number) {
            Some(block) => block,
            None => {
                let mut buf = vec![0; self.block_size];
                self.io.read_at(number * self.block_size as u64, &mut buf)?;
                buf.into()
            }
        };
        if (clean.young.len() + 1) * self.block_size > CLEAN_CACHE / 2 {
            clean.old = std::mem::take(&mut clean.young);
        }
        clean.young.insert(number, block.clone());
        Ok(block)
    }

    /// Changed blocks of `start..start + len`, ascending.
    pub(crate) fn dirty_in(&self, start: u64, len: u64) -> impl Iterator<Item = (u64, &Arc<[u8]>)> {
        self.dirty.range(start..start + len).map(|(n, b)| (*n, b))
    }

    /// A metadata block to be changed in place.
    pub(crate) fn block_mut(&mut self, number: u64) -> FsResult<&mut [u8]> {
        let block = self.block(number)?;
        self.log_block(number);
        let mut clean = self.clean.borrow_mut();
        clean.young.remove(&number);
        clean.old.remove(&number);
        drop(clean);
        let slot = self.dirty.entry(number).or_insert(block);
        Ok(Arc::make_mut(slot))
    }

    /// Gives a block new content (one block long).
    pub(crate) fn put_block(&mut self, number: u64, content: Vec<u8>) {
        self.log_block(number);
        self.dirty.insert(number, content.into());
    }

    fn log_block(&mut self, number: u64) {
        if self.logged.insert(number) {
            let before = self.dirty.get(&number).cloned();
            self.log.push(Undo::Block(number, before));
        }
    }

    /// Refers to payload for the blocks from `start` on, which must be free of any.
    pub(crate) fn add_payload(&mut self, start: u64, payload: Payload) {
        self.log.push(Undo::PayloadAdded(start));
        self.payload.insert(start, payload);
    }

    /// Payload that covers blocks of `start..start + len`: its first block and itself, ascending.
    pub(crate) fn payload_in(&self, start: u64, len: u64) -> impl Iterator<Item = (u64, &Payload)> {
        let end = start.saturating_add(len);
        let before = self
            .payload
            .range(..start)
            .next_back()
            .filter(|(at, p)| *at + p.blocks > start);
        before
            .into_iter()
            .chain(self.payload.range(start..end.max(start)))
            .map(|(at, p)| (*at, p))
    }

    /// Drops everything waiting for blocks that became free.
    pub(crate) fn forget(&mut self, start: u64, len: u64) {
        let end = start + len;
        let numbers: Vec<u64> = self.dirty.range(start..end).map(|(n, _)| *n).collect();
        for number in numbers {
            self.log_block(number);
            self.dirty.remove(&number);
        }
        let hits: Vec<u64> = self.payload_in(start, len).map(|(at, _)| at).collect();
        let bs = self.block_size as u64;
        for at in hits {
            let Some(old) = self.payload.remove(&at) else {
                continue;
            };
            let old_end = at + old.blocks;
            let head = (at < start).then(|| old.part(0, start - at, bs));
            let tail = (old_end > end).then(|| old.part(end - at, old_end - end, bs));
            self.log.push(Undo::PayloadDropped(at, old));
            if let Some(head) = head {
                self.add_payload(at, head);
            }
            if let Some(tail) = tail {
                self.add_payload(end, tail);
            }
        }
    }

    /// Forgets how to take changes back: they are to stay.
    pub(crate) fn keep(&mut self) {
        self.log.clear();
        self.logged.clear();
    }

    /// Takes back every change since [`Store::keep`].
    pub(crate) fn rollback(&mut self) {
        self.logged.clear();
        while let Some(step) = self.log.pop() {
            match step {
                Undo::Block(number, Some(before)) => {
                    self.dirty.insert(number, before);
                }
                Undo::Block(number, None) => {
                    self.dirty.remove(&number);
                }
                Undo::PayloadAdded(start) => {
                    self.payload.remove(&start);
                }
                Undo::PayloadDropped(start, payload) => {
                    self.payload.insert(start, payload);
                }
            }
        }
    }

    /// Writes everything that waits: payload first, for it may be read from blocks that are still as they were.
    pub(crate) fn flush(&mut self) -> FsResult<()> {
        let bs = self.block_size as u64;
        for (start, p) in &self.payload {
            let at = start * bs;
            if p.len > 0 {
                self.io.write_source(at, &p.source, p.offset, p.len)?;
            }
            let rest = p.blocks * bs - p.len;
            if rest > 0 {
                self.io.write_zeroes(at + p.len, rest)?;
            }
        }
        let mut run: Vec<u8> = Vec::new();
        let mut run_start = 0;
        for (number, block) in &self.dirty {
            let joins = run_start + (run.len() / self.block_size) as u64 == *number;
            if !run.is_empty() && (!joins || run.len() >= WRITE_RUN) {
                self.io.write_at(run_start * bs, &run)?;
                run.clear();
            }
            if run.is_empty() {
                run_start = *number;
            }
            run.extend_from_slice(block);
        }
        if !run.is_empty() {
            self.io.write_at(run_start * bs, &run)?;
        }
        self.dirty.clear();
        self.payload.clear();
        *self.clean.borrow_mut() = Clean::default();
        self.keep();
        Ok(())
    }
}
