//! Orphans: nodes without a name that were still open, and files that were being cut, when a mount ended.
//!
//! They stand in a list that goes from `s_last_orphan` through `i_dtime`, or in the orphan file (`orphan_file`):
//! blocks of inode numbers, each with a tail.

use std::collections::BTreeSet;

use super::super::{FsResult, NodeKind};
use super::checksum::crc32c;
use super::error::damaged;
use super::format::{compat, ino, ro_compat, sb, set_u32, u32_at};
use super::inode::Inode;
use super::{Ext4, Recovery, bitmap};

/// `ob_magic`.
pub(crate) const MAGIC: u32 = 0x0B10_CA04;
/// Size of `ext4_orphan_block_tail`.
pub(crate) const TAIL: usize = 8;
/// Largest orphan file that the kernel takes, in bytes.
const MAX_FILE: u64 = 8 << 20;

pub(crate) fn checksum(block: &[u8], seed: u32, number: u64) -> u32 {
    let crc = crc32c(seed, &number.to_le_bytes());
    crc32c(crc, &block[..block.len() - TAIL])
}

/// Block `number` of a file system, without orphans. `seed` is that of the orphan file's inode.
pub(crate) fn empty_block(block_size: usize, seed: u32, number: u64) -> Vec<u8> {
    let mut block = vec![0; block_size];
    let tail = block_size - TAIL;
    set_u32(&mut block, tail, MAGIC);
    let crc = checksum(&block, seed, number);
    set_u32(&mut block, tail + 4, crc);
    block
}

/// What is wrong with the tail of block `number` of an orphan file.
fn tail_defect(block: &[u8], seed: u32, number: u64, csum: bool) -> Option<&'static str> {
    let tail = block.len() - TAIL;
    if u32_at(block, tail) != MAGIC {
        Some("has no right tail")
    } else if csum && u32_at(block, tail + 4) != checksum(block, seed, number) {
        Some("has a wrong checksum")
    } else {
        None
    }
}

/// What is wrong with block `number` of an orphan file without orphans.
pub(crate) fn defect(block: &[u8], seed: u32, number: u64, csum: bool) -> Option<&'static str> {
    let entries = &block[..block.len() - TAIL];
    tail_defect(block, seed, number, csum).or_else(|| {
        let empty = entries.iter().all(|b| *b == 0);
        (!empty).then_some("names orphans, though `orphan_present` is not set")
    })
}

impl Ext4 {
    /// Deletes or cuts every orphan, and empties the list and the file.
    pub(crate) fn process_orphans(&mut self, recovery: &mut Recovery) -> FsResult<()> {
        let mut seen = BTreeSet::new();
        let has_file = self.sb.has_compat(compat::ORPHAN_FILE);
        if has_file {
            // It must not free its own blocks.
            seen.insert(self.sb.u32(sb::ORPHAN_FILE_INUM));
        }
        let mut next = self.sb.u32(sb::LAST_ORPHAN);
        while next != 0 {
            next = self.process_orphan(next, &mut seen, recovery)?;
        }
        self.sb.set_u32(sb::LAST_ORPHAN, 0);
        if has_file {
            self.process_orphan_file(&mut seen, recovery)?;
        } else if self.sb.has_ro_compat(ro_compat::ORPHAN_PRESENT) {
            return damaged("`orphan_present` is set, and there is no orphan file");
        }
        let features = self.sb.u32(sb::FEATURE_RO_COMPAT);
        self.sb
            .set_u32(sb::FEATURE_RO_COMPAT, features & !ro_compat::ORPHAN_PRESENT);
        Ok(())
    }

    fn process_orphan_file(&mut self, seen: &mut BTreeSet<u32>, recovery: &mut Recovery) -> FsResult<()> {
        let number = self.sb.u32(sb::ORPHAN_FILE_INUM);
        let inode = self.inode(number)?;
        let mapping = self.mapping(&inode, number)?;
        let bs = self.sb.block_size;
        if inode.size() > MAX_FILE || inode.size() != mapping.data_blocks() * bs as u64 {
            return damaged(format!(
                "the orphan file has {} bytes and {} blocks",
                inode.size(),
                mapping.data_blocks()
            ));
        }
        let seed = inode.seed(number, &self.sb);
        let places = mapping
            .extents
            .iter()
            .flat_map(|e| e.physical..e.physical + e.len);
        for place in places {
            let block = self.store.block(place)?;
            if let Some(what) = tail_defect(&block, seed, place, self.sb.has_metadata_csum()) {
                return damaged(format!("orphan file block {place} {what}"));
            }
            let entries = &block[..bs - TAIL];
            if entries.iter().all(|b| *b == 0) {
                continue;
            }
            for entry in entries.chunks_exact(4) {
                let orphan = u32_at(entry, 0);
                if orphan != 0 {
                    self.process_orphan(orphan, seen, recovery)?;
                }
            }
            self.store.put_block(place, empty_block(bs, seed, place));
        }
        Ok(())
    }

    /// Deletes an inode without links, or cuts the file that it is to its size. Gives the next one of the list.
    fn process_orphan(
        &mut self,
        number: u32,
        seen: &mut BTreeSet<u32>,
        recovery: &mut Recovery,
    ) -> FsResult<u32> {
        if number < self.sb.first_ino || number > self.sb.inodes_count {
            return damaged(format!("inode {number} is named as an orphan and cannot be one"));
        }
        if !seen.insert(number) {
            return damaged(format!("inode {number} is named twice as an orphan"));
        }
        let map = self.inode_bitmap(self.group_of_inode(number))?;
        let index = (number - 1) % self.sb.inodes_per_group;
        if !bitmap::get(&map, index as usize) {
            return damaged(format!("inode {number} is named as an orphan and is free"));
        }
        drop(map);
        let (block, at) = self.inode_place(number);
        let raw = self.store.block(block)?;
        let mut inode = Inode::parse(&raw[at..at + self.sb.inode_size], number, &self.sb)?;
        drop(raw);
        let kind = self.kind_of(&inode, number)?;
        let next = inode.u32(ino::DTIME);
        if inode.links() == 0 {
            self.release_content(&inode, number)?;
            self.drop_attr_block(&inode)?;
            self.release_inode(number, kind == NodeKind::Dir)?;
            recovery.deleted += 1;
        } else {
            self.cut_to_size(number, &mut inode)?;
            inode.set_u32(ino::DTIME, 0);
            self.write_inode(number, &inode)?;
            recovery.truncated += 1;
        }
        Ok(next)
    }

    /// Frees what lies behind the end of a file, and zeroes the rest of its last block.
    fn cut_to_size(&mut self, number: u32, inode: &mut Inode) -> FsResult<()> {
        let bs = self.sb.block_size as u64;
        let size = inode.size();
        let old = self.mapping(inode, number)?;
        let kept = self.cut_at(&old, size.div_ceil(bs))?;
        if !size.is_multiple_of(bs)
            && let Some((place, false)) = kept.find(size / bs)
        {
            self.store.block_mut(place)?[(size % bs) as usize..].fill(0);
        }
        if kept.extents != old.extents {
            self.put_mapping(number, inode, &old.meta, &kept.extents, b"/")?;
        }
        Ok(())
    }
}
