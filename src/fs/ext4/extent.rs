//! Extent trees: read into a flat list, and built afresh from one.

use super::FsResult;
use super::checksum::crc32c;
use super::error::damaged;
use super::format::{EXTENT_MAGIC, EXTENT_MAX_DEPTH, EXTENT_MAX_LEN, join, set_u16, set_u32, u16_at, u32_at};
use super::inode::Inode;
use super::store::Store;
use super::superblock::Superblock;

/// Size of `ext4_extent_header`, `ext4_extent` and `ext4_extent_idx`.
pub(crate) const ENTRY: usize = 12;

/// A run of blocks of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    /// First block of the file (`ee_block`).
    pub(crate) logical: u64,
    /// First block of the file system (`ee_start`).
    pub(crate) physical: u64,
    /// Blocks.
    pub(crate) len: u64,
    /// Allocated, but reads as zeroes.
    pub(crate) unwritten: bool,
}

/// All blocks of one inode.
#[derive(Debug, Clone, Default)]
pub(crate) struct Mapping {
    /// Ascending, not overlapping.
    pub(crate) extents: Vec<Extent>,
    /// Index or indirect blocks.
    pub(crate) meta: Vec<u64>,
    /// An index entry of the tree begins elsewhere than the node that it names.
    pub(crate) crooked: bool,
}

impl Mapping {
    /// Data blocks.
    pub(crate) fn data_blocks(&self) -> u64 {
        self.extents.iter().map(|e| e.len).sum()
    }

    /// Appends a run, joined with the last one where it continues it.
    pub(crate) fn push(&mut self, extent: Extent) {
        push(&mut self.extents, extent);
    }

    /// The block that holds block `logical` of the file, and whether it is unwritten.
    pub(crate) fn find(&self, logical: u64) -> Option<(u64, bool)> {
        let after = self.extents.partition_point(|e| e.logical <= logical);
        let e = self.extents.get(after.checked_sub(1)?)?;
        (logical < e.logical + e.len).then(|| (e.physical + (logical - e.logical), e.unwritten))
    }
}

/// Appends a run to a list, joined with the last one where it continues it.
pub(crate) fn push(list: &mut Vec<Extent>, extent: Extent) {
    if let Some(last) = list.last_mut()
        && last.logical + last.len == extent.logical
        && last.physical + last.len == extent.physical
        && last.unwritten == extent.unwritten
    {
        last.len += extent.len;
        return;
    }
    list.push(extent);
}

/// Reads the tree of inode `number`.
pub(crate) fn read(inode: &Inode, number: u32, s: &Superblock, store: &Store) -> FsResult<Mapping> {
    let mut walk = Walk {
        number,
        seed: inode.seed(number, s),
        s,
        store,
        mapping: Mapping::default(),
        next: 0,
        blocks: 0,
    };
    let depth = u16_at(inode.block(), 6);
    if depth > EXTENT_MAX_DEPTH {
        return walk.bad("is too deep");
    }
    walk.node(inode.block(), depth, 0)?;
    Ok(walk.mapping)
}

struct Walk<'a> {
    number: u32,
    seed: u32,
    s: &'a Superblock,
    store: &'a Store,
    mapping: Mapping,
    /// The next extent must start here or later.
    next: u64,
    blocks: u64,
}

impl Walk<'_> {
    fn bad<T>(&self, what: &str) -> FsResult<T> {
        damaged(format!("extent tree of inode {} {what}", self.number))
    }

    /// Whatever the tree refers to counts against the size of the file system, so a loop ends.
    fn count(&mut self, blocks: u64) -> FsResult<()> {
        self.blocks += blocks;
        if self.blocks > self.s.blocks_count {
            return self.bad("has more blocks than the file system");
        }
        Ok(())
    }

    fn in_range(&self, start: u64, len: u64) -> bool {
        start > self.s.first_data_block
            && start
                .checked_add(len)
                .is_some_and(|end| end <= self.s.blocks_count)
    }

    fn node(&mut self, node: &[u8], depth: u16, level: u16) -> FsResult<()> {
        let (magic, entries, max) = (u16_at(node, 0), u16_at(node, 2), u16_at(node, 4));
        let room = node.len() / ENTRY - 1;
        if magic != EXTENT_MAGIC || u16_at(node, 6) != depth - level {
            return self.bad("has a node without a right header");
        }
        if entries > max || usize::from(max) > room || (level > 0 && entries == 0) {
            return self.bad("has a node with a wrong number of entries");
        }
        if level > 0 && self.s.has_metadata_csum() {
            let tail = ENTRY + ENTRY * usize::from(max);
            if tail + 4 > node.len() || u32_at(node, tail) != crc32c(self.seed, &node[..tail]) {
                return self.bad("has a node with a wrong checksum");
            }
        }
        for entry in node[ENTRY..].chunks_exact(ENTRY).take(usize::from(entries)) {
            let logical = u64::from(u32_at(entry, 0));
            if logical < self.next {
                return self.bad("is not in order");
            }
            if level == depth {
                let raw_len = u32::from(u16_at(entry, 4));
                let unwritten = raw_len > EXTENT_MAX_LEN;
                let len = u64::from(if unwritten {
                    raw_len - EXTENT_MAX_LEN
                } else {
                    raw_len
                });
                let physical = join(u32_at(entry, 8), u32::from(u16_at(entry, 6)));
                if len == 0 || logical + len > 1 << 32 || !self.in_range(physical, len) {
                    return self.bad(&format!("has a wrong extent at block {logical}"));
                }
                self.count(len)?;
                self.next = logical + len;
                self.mapping.push(Extent {
                    logical,
                    physical,
                    len,
                    unwritten,
                });
            } else {
                let child = join(u32_at(entry, 4), u32::from(u16_at(entry, 8)));
                if !self.in_range(child, 1) {
                    return self.bad("has a node outside the file system");
                }
                self.count(1)?;
                self.mapping.meta.push(child);
                let block = self.store.block(child)?;
                self.mapping.crooked |= u64::from(u32_at(&block, ENTRY)) != logical;
                self.node(&block, depth, level + 1)?;
            }
        }
        Ok(())
    }
}

/// How many entries fit into a block of an extent tree.
pub(crate) fn per_block(block_size: usize) -> usize {
    (block_size - ENTRY) / ENTRY
}

/// Index blocks of a tree of `extents` extents, and its depth.
pub(crate) fn index_blocks(mut extents: usize, block_size: usize) -> (usize, u16) {
    let (mut blocks, mut depth) = (0, 0);
    while extents > 4 {
        extents = extents.div_ceil(per_block(block_size));
        blocks += extents;
        depth += 1;
    }
    (blocks, depth)
}

/// Cuts runs to legal extents.
pub(crate) fn split_long(extents: &[Extent]) -> Vec<Extent> {
    let mut cut = Vec::with_capacity(extents.len());
    for e in extents {
        let limit = u64::from(EXTENT_MAX_LEN) - u64::from(e.unwritten);
        let mut done = 0;
        while done < e.len {
            let len = limit.min(e.len - done);
            cut.push(Extent {
                logical: e.logical + done,
                physical: e.physical + done,
                len,
                unwritten: e.unwritten,
            });
            done += len;
        }
    }
    cut
}

fn header(node: &mut [u8], entries: usize, max: usize, depth: u16) {
    set_u16(node, 0, EXTENT_MAGIC);
    set_u16(node, 2, entries as u16);
    set_u16(node, 4, max as u16);
    set_u16(node, 6, depth);
}

/// Puts a tree of `extents` (already cut) into `i_block` and, where it does not fit, into the blocks
/// `meta`, of which there must be as many as [`index_blocks`] says.
pub(crate) fn write(
    inode: &mut Inode,
    seed: u32,
    s: &Superblock,
    store: &mut Store,
    extents: &[Extent],
    meta: &[u64],
) {
    let mut level: Vec<(u32, [u8; ENTRY])> = extents
        .iter()
        .map(|e| {
            let mut b = [0; ENTRY];
            set_u32(&mut b, 0, e.logical as u32);
            let mark = if e.unwritten { EXTENT_MAX_LEN } else { 0 };
            set_u16(&mut b, 4, (e.len as u32 + mark) as u16);
            set_u16(&mut b, 6, (e.physical >> 32) as u16);
            set_u32(&mut b, 8, e.physical as u32);
            (e.logical as u32, b)
        })
        .collect();
    let max = per_block(s.block_size);
    let mut free = meta.iter().copied();
    let mut depth = 0;
    while level.len() > 4 {
        let mut above = Vec::with_capacity(level.len() / max + 1);
        for (chunk, number) in level.chunks(max).zip(free.by_ref()) {
            let mut node = vec![0; s.block_size];
            header(&mut node, chunk.len(), max, depth);
            for (i, (_, entry)) in chunk.iter().enumerate() {
                node[ENTRY * (i + 1)..ENTRY * (i + 2)].copy_from_slice(entry);
            }
            if s.has_metadata_csum() {
                let tail = ENTRY + ENTRY * max;
                let crc = crc32c(seed, &node[..tail]);
                set_u32(&mut node, tail, crc);
            }
            let mut b = [0; ENTRY];
            set_u32(&mut b, 0, chunk[0].0);
            set_u32(&mut b, 4, number as u32);
            set_u16(&mut b, 8, (number >> 32) as u16);
            above.push((chunk[0].0, b));
            store.put_block(number, node);
        }
        level = above;
        depth += 1;
    }
    let root = inode.block_mut();
    root.fill(0);
    header(root, level.len(), 4, depth);
    for (i, (_, entry)) in level.iter().enumerate() {
        root[ENTRY * (i + 1)..ENTRY * (i + 2)].copy_from_slice(entry);
    }
}
