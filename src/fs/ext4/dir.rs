//! Directory blocks: read into a sorted map of names, and laid out afresh from one.

use std::collections::BTreeMap;

use super::super::{FsResult, NodeKind};
use super::checksum::crc32c;
use super::error::damaged;
use super::extent::{self, Mapping};
use super::format::{NAME_LEN, compat, incompat, ino, set_u16, set_u32, u16_at, u32_at};
use super::htree;
use super::inode::Inode;
use super::store::Store;
use super::superblock::Superblock;

/// Fixed part of `ext4_dir_entry_2`.
pub(crate) const HEADER: usize = 8;
/// Size of `ext4_dir_entry_tail`, which ends every leaf with `metadata_csum`.
pub(crate) const TAIL: usize = 12;
/// `det_reserved_ft`.
pub(crate) const TAIL_TYPE: u8 = 0xDE;
/// `file_type` of a directory.
pub(crate) const DIR_TYPE: u8 = 2;
/// Largest directory that is edited, in bytes: more names than this are not kept in memory.
const MAX_SIZE: u64 = 32 << 20;

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) inode: u32,
    pub(crate) file_type: u8,
}

/// A directory in memory.
#[derive(Debug, Clone, Default)]
pub(crate) struct Directory {
    pub(crate) entries: BTreeMap<Box<[u8]>, Entry>,
    /// Inode of `..`.
    pub(crate) parent: u32,
    /// Bytes of all entries with `.` and `..`.
    bytes: u64,
    /// Blocks that it has now.
    pub(crate) allocated: u64,
    /// Free blocks set aside for laying it out.
    pub(crate) reserved: u64,
    /// Hash version of the index it has now.
    hash_version: Option<u8>,
}

/// Bytes of an entry with a name of `len` bytes.
pub(crate) fn record_len(len: usize) -> usize {
    (HEADER + len).next_multiple_of(4)
}

/// `file_type` of a directory entry.
pub(crate) fn file_type(kind: NodeKind) -> u8 {
    match kind {
        NodeKind::File => 1,
        NodeKind::Dir => DIR_TYPE,
        NodeKind::CharDevice => 3,
        NodeKind::BlockDevice => 4,
        NodeKind::Fifo => 5,
        NodeKind::Socket => 6,
        NodeKind::Symlink => 7,
    }
}

/// Bytes of a leaf that entries may use.
pub(crate) fn usable(s: &Superblock) -> usize {
    s.block_size - if s.has_metadata_csum() { TAIL } else { 0 }
}

impl Directory {
    /// An empty directory below `parent`.
    pub(crate) fn new(parent: u32) -> Self {
        Self {
            parent,
            bytes: 2 * record_len(2) as u64,
            ..Self::default()
        }
    }

    pub(crate) fn insert(&mut self, name: &[u8], entry: Entry) {
        self.bytes += record_len(name.len()) as u64;
        self.entries.insert(name.into(), entry);
    }

    pub(crate) fn remove(&mut self, name: &[u8]) -> Option<Entry> {
        let entry = self.entries.remove(name)?;
        self.bytes -= record_len(name.len()) as u64;
        Some(entry)
    }

    /// Directories in it, by the types that the entries carry.
    pub(crate) fn subdirs(&self) -> u32 {
        let dirs = self.entries.values().filter(|e| e.file_type == DIR_TYPE);
        u32::try_from(dirs.count()).unwrap_or(u32::MAX)
    }

    /// Most blocks that laying it out may take beyond those it has, index blocks of its extent tree included.
    /// `None` when no directory can hold so many names.
    pub(crate) fn wants(&self, s: &Superblock) -> Option<u64> {
        let longest = record_len(NAME_LEN) as u64;
        let usable = usable(s) as u64;
        let blocks = if self.bytes <= usable {
            1
        } else if s.has_compat(compat::DIR_INDEX) {
            let leaves = self.bytes / (htree::leaf_fill(s) as u64 - longest) + 1;
            let nodes = htree::nodes(leaves, s)?;
            1 + nodes + leaves
        } else {
            self.bytes / (usable - longest) + 1
        };
        let more = blocks.saturating_sub(self.allocated);
        // At worst every block is an extent of its own.
        let tree = extent::index_blocks(blocks.max(self.allocated) as usize, s.block_size).0;
        Some(if more == 0 { 0 } else { more + tree as u64 })
    }

    /// Reads directory `number`.
    pub(crate) fn read(
        inode: &Inode,
        number: u32,
        mapping: &Mapping,
        s: &Superblock,
        store: &Store,
    ) -> FsResult<Self> {
        let bs = s.block_size as u64;
        let size = inode.size();
        if size == 0 || !size.is_multiple_of(bs) {
            return damaged(format!("directory inode {number} has a size of {size} bytes"));
        }
        if size > MAX_SIZE {
            return super::error::unsupported(format!(
                "directory inode {number} has {size} bytes; up to {MAX_SIZE} are supported"
            ));
        }
        let indexed = inode.has_flag(ino::INDEX_FL) && s.has_compat(compat::DIR_INDEX);
        let seed = inode.seed(number, s);
        let mut dir = Self {
            allocated: mapping.data_blocks(),
            ..Self::default()
        };
        for logical in 0..size / bs {
            let Some((physical, false)) = mapping.find(logical) else {
                return damaged(format!("directory inode {number} has a hole at block {logical}"));
            };
            let block = store.block(physical)?;
            let inner = indexed && (logical == 0 || is_index_node(&block));
            if s.has_metadata_csum() && !inner {
                check_tail(&block, seed, number, logical)?;
            }
            if indexed && logical == 0 {
                dir.hash_version = Some(block[0x1C]);
            }
            dir.read_block(&block, number, logical, s)?;
        }
        if dir.parent == 0 {
            return damaged(format!("directory inode {number} has no `..`"));
        }
        Ok(dir)
    }

    fn read_block(&mut self, block: &[u8], number: u32, logical: u64, s: &Superblock) -> FsResult<()> {
        let mut at = 0;
        while at < block.len() {
            let bad = || {
                damaged(format!(
                    "directory inode {number} block {logical} has a wrong entry at byte {at}"
                ))
            };
            if at + HEADER > block.len() {
                return bad();
            }
            let inode = u32_at(block, at);
            let rec_len = usize::from(u16_at(block, at + 4));
            let name_len = usize::from(block[at + 6]);
            if rec_len < HEADER
                || !rec_len.is_multiple_of(4)
                || at + rec_len > block.len()
                || HEADER + name_len > rec_len
            {
                return bad();
            }
            let name = &block[at + HEADER..at + HEADER + name_len];
            if inode != 0 {
                if inode > s.inodes_count || name_len == 0 {
                    return bad();
                }
                let file_type = block[at + 7];
                let record = record_len(name_len) as u64;
                match name {
                    b"." if logical == 0 && inode == number => self.bytes += record,
                    b".." if logical == 0 && self.parent == 0 => {
                        self.parent = inode;
                        self.bytes += record;
                    }
                    _ if name.contains(&b'/') || name.contains(&0) || name == b"." || name == b".." => {
                        return bad();
                    }
                    _ => {
                        if self.entries.contains_key(name) {
                            return bad();
                        }
                        self.insert(name, Entry { inode, file_type });
                    }
                }
            }
            at += rec_len;
        }
        Ok(())
    }

    /// The blocks of the directory as they are to be written, and whether they are indexed.
    /// `None` when it has too many names for an index.
    pub(crate) fn layout(&self, number: u32, seed: u32, s: &Superblock) -> FsResult<(Vec<Vec<u8>>, bool)> {
        let usable = usable(s);
        if self.bytes > usable as u64 && s.has_compat(compat::DIR_INDEX) {
            let version = self.hash_version;
            return Ok((htree::layout(self, number, version, seed, s)?, true));
        }
        let mut blocks = Vec::new();
        let mut leaf = Leaf::new(s);
        leaf.push(b".", number, DIR_TYPE);
        leaf.push(b"..", self.parent, DIR_TYPE);
        for (name, entry) in &self.entries {
            if leaf.used + record_len(name.len()) > usable {
                blocks.push(std::mem::replace(&mut leaf, Leaf::new(s)).finish(seed));
            }
            leaf.push(name, entry.inode, entry.file_type);
        }
        blocks.push(leaf.finish(seed));
        // A plain directory keeps its blocks, as `lost+found` must.
        if self.hash_version.is_none() {
            while (blocks.len() as u64) < self.allocated {
                blocks.push(Leaf::new(s).finish(seed));
            }
        }
        Ok((blocks, false))
    }
}

/// The names in a leaf that [`Directory::read`] took.
pub(crate) fn names(block: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut at = 0;
    std::iter::from_fn(move || {
        while at + HEADER <= block.len() {
            let here = at;
            at += usize::from(u16_at(block, here + 4)).max(HEADER);
            let end = here + HEADER + usize::from(block[here + 6]);
            if u32_at(block, here) != 0 && end <= block.len() {
                return Some(&block[here + HEADER..end]);
            }
        }
        None
    })
}

fn is_index_node(block: &[u8]) -> bool {
    u32_at(block, 0) == 0 && usize::from(u16_at(block, 4)) == block.len()
}

fn check_tail(block: &[u8], seed: u32, number: u32, logical: u64) -> FsResult<()> {
    let tail = block.len() - TAIL;
    let right = u32_at(block, tail) == 0
        && usize::from(u16_at(block, tail + 4)) == TAIL
        && block[tail + 6] == 0
        && block[tail + 7] == TAIL_TYPE
        && u32_at(block, tail + 8) == crc32c(seed, &block[..tail]);
    if right {
        Ok(())
    } else {
        damaged(format!(
            "directory inode {number} block {logical} has a wrong checksum"
        ))
    }
}

/// A directory block being filled.
pub(crate) struct Leaf {
    block: Vec<u8>,
    last: Option<usize>,
    pub(crate) used: usize,
    limit: usize,
    with_types: bool,
}

impl Leaf {
    pub(crate) fn new(s: &Superblock) -> Self {
        Self {
            block: vec![0; s.block_size],
            last: None,
            used: 0,
            limit: usable(s),
            with_types: s.has_incompat(incompat::FILETYPE),
        }
    }

    /// Appends an entry, for which there must be room.
    pub(crate) fn push(&mut self, name: &[u8], inode: u32, file_type: u8) {
        let at = self.used;
        let len = record_len(name.len());
        set_u32(&mut self.block, at, inode);
        set_u16(&mut self.block, at + 4, len as u16);
        self.block[at + 6] = name.len() as u8;
        self.block[at + 7] = if self.with_types { file_type } else { 0 };
        self.block[at + HEADER..at + HEADER + name.len()].copy_from_slice(name);
        self.last = Some(at);
        self.used += len;
    }

    /// The block with the last entry stretched to its end, and its checksum.
    pub(crate) fn finish(mut self, seed: u32) -> Vec<u8> {
        let last = self.last.unwrap_or(0);
        set_u16(&mut self.block, last + 4, (self.limit - last) as u16);
        if self.limit < self.block.len() {
            let tail = self.limit;
            set_u16(&mut self.block, tail + 4, TAIL as u16);
            self.block[tail + 7] = TAIL_TYPE;
            let crc = crc32c(seed, &self.block[..tail]);
            set_u32(&mut self.block, tail + 8, crc);
        }
        self.block
    }
}
