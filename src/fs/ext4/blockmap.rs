//! The block map of ext2 and ext3 (direct and indirect blocks): read, and freed through what was read.

use super::FsResult;
use super::error::damaged;
use super::extent::{Extent, Mapping};
use super::format::u32_at;
use super::inode::Inode;
use super::store::Store;
use super::superblock::Superblock;

/// Direct blocks in `i_block`; the three after them are indirect, double and triple indirect.
pub(crate) const DIRECT: usize = 12;

/// Reads the map of inode `number`.
pub(crate) fn read(inode: &Inode, number: u32, s: &Superblock, store: &Store) -> FsResult<Mapping> {
    let mut walk = Walk {
        number,
        s,
        store,
        mapping: Mapping::default(),
        blocks: 0,
    };
    let mut logical = 0;
    for slot in 0..DIRECT + 3 {
        let level = slot.saturating_sub(DIRECT - 1) as u32;
        let block = u64::from(u32_at(inode.block(), slot * 4));
        walk.entry(block, level, logical)?;
        logical += walk.span(level);
    }
    Ok(walk.mapping)
}

struct Walk<'a> {
    number: u32,
    s: &'a Superblock,
    store: &'a Store,
    mapping: Mapping,
    blocks: u64,
}

impl Walk<'_> {
    /// Blocks of the file that one entry of `level` covers.
    fn span(&self, level: u32) -> u64 {
        (self.s.block_size as u64 / 4).pow(level)
    }

    fn entry(&mut self, block: u64, level: u32, logical: u64) -> FsResult<()> {
        if block == 0 {
            return Ok(());
        }
        // Counting every block met ends a walk through a map that points into itself.
        self.blocks += 1;
        if block <= self.s.first_data_block
            || block >= self.s.blocks_count
            || self.blocks > self.s.blocks_count
            || logical + self.span(level) > 1 << 33
        {
            return damaged(format!(
                "block map of inode {} is wrong at block {logical}",
                self.number
            ));
        }
        if level == 0 {
            self.mapping.push(Extent {
                logical,
                physical: block,
                len: 1,
                unwritten: false,
            });
            return Ok(());
        }
        self.mapping.meta.push(block);
        let content = self.store.block(block)?;
        let step = self.span(level - 1);
        for (i, entry) in content.chunks_exact(4).enumerate() {
            self.entry(u64::from(u32_at(entry, 0)), level - 1, logical + i as u64 * step)?;
        }
        Ok(())
    }
}
