//! The commit: directories laid out, checksums set, everything written in one go.

use super::super::FsResult;
use super::Ext4;
use super::checksum::crc32c;
use super::extent::Extent;
use super::format::{LINK_MAX, SUPERBLOCK_OFFSET, incompat, ino};
use super::undo::Step;

impl Ext4 {
    pub(crate) fn do_commit(&mut self) -> FsResult<()> {
        self.atomically(|fs| {
            let dirs: Vec<u32> = fs.dirs.keys().copied().collect();
            for number in dirs {
                fs.lay_out(number)?;
            }
            fs.seal_groups()?;
            if fs.backups_stale {
                fs.write_backups()?;
            }
            Ok(())
        })?;
        self.backups_stale = false;
        self.dirs.clear();
        self.reserved = 0;
        *self.dir_cache.borrow_mut() = super::DirCache::default();
        let superblock = self.sb.to_bytes(0);
        self.store.flush()?;
        for group in &mut self.groups {
            group.changed = false;
            group.block_bitmap_changed = false;
            group.inode_bitmap_changed = false;
        }
        self.store.io.write_at(SUPERBLOCK_OFFSET, &superblock)?;
        Ok(())
    }

    /// Writes the blocks of one directory.
    fn lay_out(&mut self, number: u32) -> FsResult<()> {
        let mut inode = self.inode(number)?;
        let Some(dir) = self.dirs.remove(&number) else {
            return Ok(());
        };
        self.reserved -= dir.reserved;
        let subdirs = dir.subdirs();
        let laid_out = dir.layout(number, inode.seed(number, &self.sb), &self.sb);
        self.undo.steps.push(Step::DirDropped(number, dir));
        let (blocks, indexed) = laid_out?;
        let count = blocks.len() as u64;
        let old = self.mapping(&inode, number)?;
        let mut mapping = self.cut_at(&old, count)?;
        let have = mapping.data_blocks();
        let goal = mapping
            .extents
            .last()
            .map_or(self.goal(number), |e| e.physical + e.len);
        let mut logical = have;
        for (physical, len) in self.allocate(goal, count - have)? {
            mapping.push(Extent {
                logical,
                physical,
                len,
                unwritten: false,
            });
            logical += len;
        }
        let places = mapping
            .extents
            .iter()
            .flat_map(|e| e.physical..e.physical + e.len);
        for (place, block) in places.zip(blocks) {
            self.store.put_block(place, block);
        }
        inode.set_size(count * self.sb.block_size as u64);
        inode.set_flag(ino::INDEX_FL, indexed);
        // Links that were no longer counted are, once there are few enough.
        if inode.links() == 1 && self.sb.has_incompat(incompat::FILETYPE) && subdirs <= LINK_MAX - 2 {
            inode.set_links(2 + subdirs);
        }
        if mapping.extents != old.extents || !inode.has_flag(ino::EXTENTS_FL) {
            self.put_mapping(number, &mut inode, &old.meta, &mapping.extents, b"/")?;
        }
        self.write_inode(number, &inode)
    }

    /// Checksums of bitmaps, then the descriptors that changed.
    fn seal_groups(&mut self) -> FsResult<()> {
        let csum = self.sb.has_metadata_csum();
        for number in 0..self.sb.groups_count() {
            let mut group = self.groups[number as usize];
            if !group.changed {
                continue;
            }
            if csum && group.block_bitmap_changed {
                let map = self.store.block(group.block_bitmap())?;
                let len = self.sb.blocks_per_group as usize / 8;
                group.set_block_bitmap_csum(crc32c(self.sb.checksum_seed, &map[..len]));
            }
            if csum && group.inode_bitmap_changed {
                let map = self.store.block(group.inode_bitmap())?;
                let len = self.sb.inodes_per_group as usize / 8;
                group.set_inode_bitmap_csum(crc32c(self.sb.checksum_seed, &map[..len]));
            }
            *self.group_mut(number) = group;
            let bytes = group.to_bytes(number, &self.sb);
            let at = number as usize * self.sb.desc_size;
            let block = self.sb.first_data_block + 1 + (at / self.sb.block_size) as u64;
            let at = at % self.sb.block_size;
            self.store.block_mut(block)?[at..at + bytes.len()].copy_from_slice(&bytes);
        }
        Ok(())
    }
}
