//! The blocks of the journal, by their number in the log.

use std::sync::Arc;

use super::super::super::{FsError, FsResult};
use super::super::blockmap;
use super::super::error::{damaged, unsupported};
use super::super::extent::{self, Mapping};
use super::super::format::ino;
use super::super::group::Group;
use super::super::inode::Inode;
use super::super::store::Store;
use super::super::superblock::Superblock;
use super::ADVICE;
use super::superblock::JournalSuperblock;
use crate::disk::BlockIo;

/// Longest journal that is replayed, in blocks: as long as mke2fs makes one by itself. Bounds what is kept in
/// memory to the size of such a journal.
const MAX_BLOCKS: u64 = 1 << 18;

/// The journal of a file system that may be anything but clean.
pub(super) struct Log {
    pub(super) io: Arc<dyn BlockIo>,
    pub(super) block_size: usize,
    mapping: Mapping,
    pub(super) sb: JournalSuperblock,
}

impl Log {
    /// Finds the journal through its inode. Nothing else of the file system is looked at: it may be half written.
    pub(super) fn open(io: &Arc<dyn BlockIo>, s: &Superblock) -> FsResult<Self> {
        let store = Store::new(io.clone(), s.block_size);
        let table = store.block(s.first_data_block + 1)?;
        // The first group holds all reserved inodes.
        let group = Group::parse(&table[..s.desc_size], 0, s)?;
        let at = (ino::JOURNAL as usize - 1) * s.inode_size;
        let block = store.block(group.inode_table() + (at / s.block_size) as u64)?;
        let at = at % s.block_size;
        let inode = Inode::parse(&block[at..at + s.inode_size], ino::JOURNAL, s)?;
        if inode.links() == 0 || inode.kind() != Some(super::super::super::NodeKind::File) {
            return damaged("the journal's inode is not in use");
        }
        let mapping = if inode.has_flag(ino::EXTENTS_FL) {
            extent::read(&inode, ino::JOURNAL, s, &store)?
        } else {
            blockmap::read(&inode, ino::JOURNAL, s, &store)?
        };
        let blocks = inode.size() / s.block_size as u64;
        if blocks > MAX_BLOCKS {
            return unsupported(format!(
                "the journal has {blocks} blocks; up to {MAX_BLOCKS} are replayed: {ADVICE}"
            ));
        }
        let first = place(&mapping, 0)?;
        let sb = JournalSuperblock::parse(&store.block(first)?, blocks).map_err(|error| match error {
            FsError::Damaged(what) => FsError::Damaged(format!("the journal {what}")),
            FsError::Unsupported(what) => FsError::Unsupported(format!("the journal {what}")),
            other => other,
        })?;
        Ok(Self {
            io: io.clone(),
            block_size: s.block_size,
            mapping,
            sb,
        })
    }

    /// Reads one block.
    pub(super) fn read(&self, number: u32) -> FsResult<Vec<u8>> {
        let mut block = vec![0; self.block_size];
        let at = place(&self.mapping, number)? * self.block_size as u64;
        self.io.read_at(at, &mut block)?;
        Ok(block)
    }

    /// The block after one of the log, which is a ring.
    pub(super) fn after(&self, number: u32) -> u32 {
        if number + 1 >= self.sb.last {
            self.sb.first
        } else {
            number + 1
        }
    }

    /// Writes the superblock of an empty log.
    pub(super) fn empty(&self, next_sequence: u32) -> FsResult<()> {
        let at = place(&self.mapping, 0)? * self.block_size as u64;
        self.io.write_at(at, &self.sb.clone().emptied(next_sequence))?;
        Ok(())
    }

    /// The blocks of the file system that hold the journal and its map: first and length, ascending.
    pub(super) fn own_blocks(&self) -> Vec<(u64, u64)> {
        let data = self.mapping.extents.iter().map(|e| (e.physical, e.len));
        let mut own: Vec<(u64, u64)> = data.chain(self.mapping.meta.iter().map(|b| (*b, 1))).collect();
        own.sort_unstable();
        own
    }
}

fn place(mapping: &Mapping, number: u32) -> FsResult<u64> {
    match mapping.find(u64::from(number)) {
        Some((block, false)) => Ok(block),
        _ => damaged(format!("the journal has no block {number}")),
    }
}
