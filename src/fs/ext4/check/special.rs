//! Journal, orphan file and resize inode.

use super::super::super::FsResult;
use super::super::format::{compat, ino, sb, u32_at};
use super::super::inode::Inode;
use super::super::{journal, orphan};
use super::Checker;

impl Checker<'_> {
    fn special(&mut self, number: u32, what: &str) -> FsResult<Option<Inode>> {
        if number == 0 || number > self.fs.sb.inodes_count {
            self.found("superblock", format!("names inode {number} as {what}"));
            return Ok(None);
        }
        self.soften(&format!("inode {number}"), self.fs.inode(number))
    }

    pub(super) fn journal(&mut self) -> FsResult<()> {
        let s = &self.fs.sb;
        if !s.has_compat(compat::HAS_JOURNAL) {
            return Ok(());
        }
        let Some(inode) = self.special(ino::JOURNAL, "journal")? else {
            return Ok(());
        };
        // A map that cannot be read was told with the inode.
        let Ok(mapping) = self.fs.mapping(&inode, ino::JOURNAL) else {
            return Ok(());
        };
        let blocks = inode.size() / s.block_size as u64;
        if mapping.data_blocks() != blocks {
            self.found("journal", "has holes, or blocks behind its end");
        }
        let Some((first, false)) = mapping.find(0) else {
            self.found("journal", "has no first block");
            return Ok(());
        };
        let block = self.fs.store.block(first)?;
        if let Some(what) = journal::defect(&block, blocks) {
            self.found("journal", what);
        }
        if s.u8(sb::JNL_BACKUP_TYPE) == 1 {
            let copy: Vec<u32> = (0..15).map(|n| s.u32(sb::JNL_BLOCKS + 4 * n)).collect();
            let map: Vec<u32> = (0..15).map(|n| u32_at(inode.block(), 4 * n)).collect();
            if copy != map {
                self.found("superblock", "keeps another map of the journal than its inode");
            }
        }
        Ok(())
    }

    pub(super) fn orphan_file(&mut self) -> FsResult<()> {
        let s = &self.fs.sb;
        if !s.has_compat(compat::ORPHAN_FILE) {
            return Ok(());
        }
        let number = s.u32(sb::ORPHAN_FILE_INUM);
        let Some(inode) = self.special(number, "orphan file")? else {
            return Ok(());
        };
        let Ok(mapping) = self.fs.mapping(&inode, number) else {
            return Ok(());
        };
        let seed = inode.seed(number, s);
        let blocks = inode.size() / s.block_size as u64;
        if mapping.data_blocks() != blocks || blocks == 0 || !inode.size().is_multiple_of(s.block_size as u64)
        {
            self.found("orphan file", "has holes, no blocks, or blocks behind its end");
        }
        for extent in &mapping.extents {
            for place in extent.physical..extent.physical + extent.len {
                let block = self.fs.store.block(place)?;
                if let Some(what) = orphan::defect(&block, seed, place, s.has_metadata_csum()) {
                    self.found(format!("orphan file block {place}"), what);
                }
            }
        }
        Ok(())
    }

    /// The resize inode names exactly the reserved descriptor blocks and their copies.
    pub(super) fn resize_inode(&mut self) -> FsResult<()> {
        let s = self.fs.sb.clone();
        let reserved = u64::from(s.reserved_gdt_blocks());
        if !s.has_compat(compat::RESIZE_INODE) {
            return Ok(());
        }
        let place = "resize inode";
        let (block, at) = self.fs.inode_place(ino::RESIZE);
        let raw = self.fs.store.block(block)?[at..at + s.inode_size].to_vec();
        let bare = Inode { raw };
        if bare.links() == 0 {
            self.found(place, "is not in use, though its feature is on");
            return Ok(());
        }
        let Some(inode) = self.soften(place, Inode::parse(&bare.raw, ino::RESIZE, &s))? else {
            return Ok(());
        };
        let map = inode.block();
        let dind = u64::from(u32_at(map, 13 * 4));
        let others = (0..15).filter(|n| *n != 13).any(|n| u32_at(map, 4 * n) != 0);
        if inode.has_flag(ino::EXTENTS_FL) {
            self.found(place, "has the flag of extents");
            return Ok(());
        }
        if others || dind <= s.first_data_block || dind >= s.blocks_count {
            self.found(place, "should have a double indirect block and nothing else");
            return Ok(());
        }
        self.own(place, dind, 1);
        let backups: Vec<u64> = (1..s.groups_count())
            .filter(|group| s.has_super(*group))
            .map(|group| u64::from(group) * s.blocks_per_group)
            .collect();
        let names = self.fs.store.block(dind)?;
        let slots = s.block_size as u64 / 4;
        let first = s.first_data_block + 1;
        let range = s.gdt_blocks()..s.gdt_blocks() + reserved;
        for slot in 0..slots {
            // Descriptor blocks beyond the first `slots` begin again at the front.
            let offset = [slot, slot + slots]
                .into_iter()
                .find(|offset| range.contains(offset));
            let wanted = offset.map_or(0, |offset| first + offset);
            let stored = u64::from(u32_at(&names, slot as usize * 4));
            if stored != wanted {
                self.found(
                    place,
                    format!("slot {slot} names block {stored}; {wanted} would be right"),
                );
                return Ok(());
            }
            if wanted == 0 {
                continue;
            }
            let copies = self.fs.store.block(wanted)?;
            let right = copies.chunks_exact(4).enumerate().all(|(n, word)| {
                let copy = backups.get(n).map_or(0, |start| start + wanted);
                u64::from(u32_at(word, 0)) == copy
            });
            if !right {
                self.found(
                    place,
                    format!("block {wanted} does not name its copies in the other groups"),
                );
            }
        }
        // The last block that is mapped: the last copy of the last slot in use.
        let last_slot = range.clone().map(|offset| offset % slots).max().unwrap_or(0);
        let copies = backups.len() as u64;
        let last = 12 + slots + last_slot * slots + copies.saturating_sub(1);
        if copies > 0 && reserved > 0 && inode.size() < last * s.block_size as u64 {
            self.found(place, format!("has a size of {} bytes", inode.size()));
        }
        let blocks = 1 + reserved * (1 + copies);
        let stored = inode.blocks(s.block_size);
        if stored != blocks {
            self.found(place, format!("counts {stored} blocks; {blocks} would be right"));
        }
        Ok(())
    }
}
