//! Blocks and inodes taken and given back. Always the first that fits, counted from a goal: deterministic.

use std::sync::Arc;

use super::super::{FsError, FsResult};
use super::checksum::crc32c;
use super::error::damaged;
use super::format::bg;
use super::group::Group;
use super::inode::Inode;
use super::undo::Step;
use super::{Ext4, bitmap};

/// Files of at least this size start on a multiple of it, in bytes. Flash is erased in allocation units, of 4 MiB on
/// common SD cards (SD Physical Layer Simplified Specification, `AU_SIZE`): a file that begins inside one shares
/// it with its neighbour, and rewriting either wears both. Counted from the start of the file system, which is as good as
/// from that of the card: images of the Raspberry Pi have their partitions on multiples of 4 or 8 MiB.
const ALLOCATION_UNIT: u64 = 4 << 20;

impl Ext4 {
    /// A descriptor to be changed.
    pub(crate) fn group_mut(&mut self, number: u32) -> &mut Group {
        let group = &mut self.groups[number as usize];
        self.undo.steps.push(Step::Group(number, *group));
        group
    }

    /// The group of a block.
    pub(crate) fn group_of_block(&self, block: u64) -> u32 {
        ((block - self.sb.first_data_block) / self.sb.blocks_per_group) as u32
    }

    /// The group of an inode.
    pub(crate) fn group_of_inode(&self, number: u32) -> u32 {
        (number - 1) / self.sb.inodes_per_group
    }

    /// Free blocks that nothing is set aside for.
    pub(crate) fn available(&self) -> u64 {
        self.sb.free_blocks.saturating_sub(self.reserved)
    }

    /// An error unless `blocks` more can be taken.
    pub(crate) fn require_blocks(&self, blocks: u64) -> FsResult<()> {
        if blocks > self.available() {
            let bs = self.sb.block_size as u64;
            return Err(FsError::NoSpace {
                need: blocks.saturating_mul(bs),
                free: self.available() * bs,
            });
        }
        Ok(())
    }

    /// The block bitmap of a group, made up where it is not initialised.
    pub(crate) fn block_bitmap(&self, group: u32) -> FsResult<Arc<[u8]>> {
        let g = &self.groups[group as usize];
        if self.sb.has_group_csum() && g.has_flag(bg::BLOCK_UNINIT) {
            return Ok(self.fresh_block_bitmap(group).into());
        }
        let map = self.store.block(g.block_bitmap())?;
        if self.sb.has_metadata_csum() && !g.block_bitmap_changed {
            let crc = crc32c(
                self.sb.checksum_seed,
                &map[..self.sb.blocks_per_group as usize / 8],
            );
            if !g.bitmap_csum_agrees(bg::BLOCK_BITMAP_CSUM_LO, bg::BLOCK_BITMAP_CSUM_HI, crc) {
                return damaged(format!("group {group} block bitmap has a wrong checksum"));
            }
        }
        Ok(map)
    }

    /// The inode bitmap of a group, made up where it is not initialised.
    pub(crate) fn inode_bitmap(&self, group: u32) -> FsResult<Arc<[u8]>> {
        let g = &self.groups[group as usize];
        if self.sb.has_group_csum() && g.has_flag(bg::INODE_UNINIT) {
            return Ok(self.fresh_inode_bitmap().into());
        }
        let map = self.store.block(g.inode_bitmap())?;
        if self.sb.has_metadata_csum() && !g.inode_bitmap_changed {
            let crc = crc32c(
                self.sb.checksum_seed,
                &map[..self.sb.inodes_per_group as usize / 8],
            );
            if !g.bitmap_csum_agrees(bg::INODE_BITMAP_CSUM_LO, bg::INODE_BITMAP_CSUM_HI, crc) {
                return damaged(format!("group {group} inode bitmap has a wrong checksum"));
            }
        }
        Ok(map)
    }

    /// A block bitmap with nothing but metadata: that of the group, and with `flex_bg` that of others in it.
    pub(crate) fn fresh_block_bitmap(&self, group: u32) -> Vec<u8> {
        let (start, len) = (self.sb.group_start(group), self.sb.group_len(group));
        let mut map = vec![0; self.sb.block_size];
        let mut mark = |from: u64, count: u64| {
            let first = from.max(start);
            let end = (from + count).min(start + len);
            if first < end {
                bitmap::set_range(&mut map, (first - start) as usize, (end - start) as usize);
            }
        };
        mark(start, self.sb.super_blocks(group));
        for g in &self.groups {
            mark(g.block_bitmap(), 1);
            mark(g.inode_bitmap(), 1);
            mark(g.inode_table(), self.sb.itable_blocks());
        }
        bitmap::set_range(&mut map, len as usize, self.sb.block_size * 8);
        map
    }

    /// An inode bitmap without any inode.
    pub(crate) fn fresh_inode_bitmap(&self) -> Vec<u8> {
        let mut map = vec![0; self.sb.block_size];
        bitmap::set_range(
            &mut map,
            self.sb.inodes_per_group as usize,
            self.sb.block_size * 8,
        );
        map
    }

    /// The first run of at least `min` free blocks in `from..to`, cut at `cap`.
    fn find_run(&self, from: u64, to: u64, min: u64, cap: u64) -> FsResult<Option<(u64, u64)>> {
        let (mut run_start, mut run_len) = (from, 0);
        let mut at = from;
        while at < to {
            let group = self.group_of_block(at);
            let start = self.sb.group_start(group);
            let end = (start + self.sb.group_len(group)).min(to);
            if self.groups[group as usize].free_blocks() == 0 {
                if run_len >= min {
                    return Ok(Some((run_start, run_len)));
                }
                run_len = 0;
                at = end;
                continue;
            }
            let map = self.block_bitmap(group)?;
            let last = (end - start) as usize;
            while at < end {
                let bit = (at - start) as usize;
                if run_len == 0 {
                    match bitmap::find(&map, bit, last, false) {
                        Some(free) => {
                            run_start = start + free as u64;
                            at = run_start;
                        }
                        None => {
                            at = end;
                            break;
                        }
                    }
                }
                let bit = (at - start) as usize;
                let used = bitmap::find(&map, bit, last, true).unwrap_or(last);
                run_len += (used - bit) as u64;
                at = start + used as u64;
                if run_len >= cap {
                    return Ok(Some((run_start, cap)));
                }
                if used < last {
                    if run_len >= min {
                        return Ok(Some((run_start, run_len)));
                    }
                    run_len = 0;
                }
            }
        }
        Ok((run_len >= min && run_len > 0).then_some((run_start, run_len)))
    }

    /// As [`Ext4::find_run`], but of a run that begins at a multiple of `align` blocks.
    fn find_aligned(
        &self,
        from: u64,
        to: u64,
        min: u64,
        cap: u64,
        align: u64,
    ) -> FsResult<Option<(u64, u64)>> {
        let mut at = from;
        // A run so long holds an aligned one.
        let enough = cap + align - 1;
        while let Some((start, len)) = self.find_run(at, to, min, enough)? {
            let skip = start.next_multiple_of(align) - start;
            if len >= skip + min {
                return Ok(Some((start + skip, (len - skip).min(cap))));
            }
            at = start + len;
        }
        Ok(None)
    }

    /// Takes `count` blocks: one run if there is one, the first from `goal` on; else the largest runs there are.
    pub(crate) fn allocate(&mut self, goal: u64, count: u64) -> FsResult<Vec<(u64, u64)>> {
        self.allocate_runs(goal, count, 1)
    }

    /// As [`Ext4::allocate`], for the content of a file: a large one begins where an allocation unit does, if there
    /// is such a run as long as the best that does not.
    pub(crate) fn allocate_content(&mut self, goal: u64, count: u64) -> FsResult<Vec<(u64, u64)>> {
        let unit = ALLOCATION_UNIT / self.sb.block_size as u64;
        self.allocate_runs(goal, count, unit)
    }

    fn allocate_runs(&mut self, goal: u64, count: u64, unit: u64) -> FsResult<Vec<(u64, u64)>> {
        if count == 0 {
            return Ok(Vec::new());
        }
        self.require_blocks(count)?;
        let (first, end) = (self.sb.first_data_block, self.sb.blocks_count);
        let goal = if goal < first || goal >= end { first } else { goal };
        let mut runs = Vec::new();
        let mut left = count;
        let mut min = count;
        let mut align = unit;
        while left > 0 {
            let mut at = goal;
            let mut wrapped = false;
            while left > 0 {
                let to = if wrapped { goal } else { end };
                let least = min.min(left);
                let align = if least < unit { 1 } else { align };
                match self.find_aligned(at, to, least, left, align)? {
                    Some((start, len)) => {
                        self.mark_used(start, len)?;
                        runs.push((start, len));
                        left -= len;
                        at = start + len;
                    }
                    None if wrapped => break,
                    None => {
                        wrapped = true;
                        at = first;
                    }
                }
            }
            if align > 1 && min >= unit {
                // Few pieces matter more than where they begin.
                align = 1;
                continue;
            }
            if left > 0 && min == 1 {
                return damaged("the block bitmaps have fewer free blocks than the superblock says");
            }
            align = unit;
            min = (min / 2).max(1);
        }
        Ok(runs)
    }

    /// Takes free blocks from exactly `at` on, up to `count` of them; gives how many.
    pub(crate) fn extend_at(&mut self, at: u64, count: u64) -> FsResult<u64> {
        if at <= self.sb.first_data_block || at >= self.sb.blocks_count || count == 0 {
            return Ok(0);
        }
        let to = at.saturating_add(count).min(self.sb.blocks_count);
        match self.find_run(at, to, 1, count)? {
            Some((start, len)) if start == at => {
                self.require_blocks(len)?;
                self.mark_used(start, len)?;
                Ok(len)
            }
            _ => Ok(0),
        }
    }

    fn mark_used(&mut self, start: u64, len: u64) -> FsResult<()> {
        self.mark(start, len, true)
    }

    /// Gives blocks back, and drops what waited to be written to them.
    pub(crate) fn release(&mut self, start: u64, len: u64) -> FsResult<()> {
        self.mark(start, len, false)?;
        self.store.forget(start, len);
        Ok(())
    }

    /// Makes sure that the bitmap of a group is on disk.
    pub(crate) fn init_block_bitmap(&mut self, group: u32) -> FsResult<()> {
        if self.sb.has_group_csum() && self.groups[group as usize].has_flag(bg::BLOCK_UNINIT) {
            let map = self.fresh_block_bitmap(group);
            let g = self.group_mut(group);
            g.set_flag(bg::BLOCK_UNINIT, false);
            g.block_bitmap_changed = true;
            let at = g.block_bitmap();
            self.store.put_block(at, map);
        }
        Ok(())
    }

    fn mark(&mut self, start: u64, len: u64, used: bool) -> FsResult<()> {
        let mut at = start;
        let end = start + len;
        if start < self.sb.first_data_block || end > self.sb.blocks_count {
            return damaged(format!("block {start} is outside the file system"));
        }
        while at < end {
            let group = self.group_of_block(at);
            let first = self.sb.group_start(group);
            let stop = end.min(first + self.sb.group_len(group));
            self.init_block_bitmap(group)?;
            self.block_bitmap(group)?;
            let place = self.groups[group as usize].block_bitmap();
            let map = self.store.block_mut(place)?;
            let (from, to) = ((at - first) as usize, (stop - first) as usize);
            if let Some(bit) = bitmap::find(map, from, to, used) {
                return damaged(format!(
                    "block {} is {} in its bitmap",
                    first + bit as u64,
                    if used { "taken already" } else { "free" }
                ));
            }
            if used {
                bitmap::set_range(map, from, to);
            } else {
                for bit in from..to {
                    bitmap::set(map, bit, false);
                }
            }
            let count = (to - from) as u32;
            let g = self.group_mut(group);
            g.block_bitmap_changed = true;
            let free = if used {
                g.free_blocks().checked_sub(count)
            } else {
                g.free_blocks().checked_add(count)
            };
            match free {
                Some(free) => g.set_free_blocks(free),
                None => return damaged(format!("group {group} counts too few free blocks")),
            }
            at = stop;
        }
        let total = if used {
            self.sb.free_blocks.checked_sub(len)
        } else {
            self.sb.free_blocks.checked_add(len)
        };
        match total {
            Some(free) => self.sb.free_blocks = free,
            None => return damaged("the superblock counts too few free blocks"),
        }
        Ok(())
    }

    /// Takes an inode: a file's in the group of its directory, a top-level directory's in the emptiest group.
    pub(crate) fn allocate_inode(&mut self, parent: u32, is_dir: bool) -> FsResult<u32> {
        if self.sb.free_inodes == 0 {
            return Err(FsError::NoInodes { need: 1, free: 0 });
        }
        let groups = self.sb.groups_count();
        let mut goal = self.group_of_inode(parent);
        if is_dir && parent == super::format::ino::ROOT {
            let emptiest = (0..groups)
                .filter(|g| self.groups[*g as usize].free_inodes() > 0)
                .max_by_key(|g| {
                    let group = &self.groups[*g as usize];
                    (group.free_blocks(), std::cmp::Reverse(*g))
                });
            goal = emptiest.unwrap_or(goal);
        }
        for group in (goal..groups).chain(0..goal) {
            if self.groups[group as usize].free_inodes() == 0 {
                continue;
            }
            let map = self.inode_bitmap(group)?;
            let ipg = self.sb.inodes_per_group;
            // The reserved inodes fill more than the first group where a group has eight.
            let from = (self.sb.first_ino - 1).saturating_sub(group * ipg).min(ipg) as usize;
            if let Some(bit) = bitmap::find(&map, from, ipg as usize, false) {
                self.take_inode(group, bit as u32, is_dir)?;
                return Ok(group * ipg + bit as u32 + 1);
            }
        }
        damaged("the inode bitmaps have fewer free inodes than the superblock says")
    }

    fn take_inode(&mut self, group: u32, index: u32, is_dir: bool) -> FsResult<()> {
        let checksums = self.sb.has_group_csum();
        let ipg = self.sb.inodes_per_group;
        if checksums && self.groups[group as usize].has_flag(bg::INODE_UNINIT) {
            let map = self.fresh_inode_bitmap();
            let g = self.group_mut(group);
            g.set_flag(bg::INODE_UNINIT, false);
            g.set_itable_unused(ipg);
            let at = g.inode_bitmap();
            self.store.put_block(at, map);
            // A group with inodes in use needs a block bitmap, as the kernel has it.
            self.init_block_bitmap(group)?;
        }
        let place = self.groups[group as usize].inode_bitmap();
        bitmap::set(self.store.block_mut(place)?, index as usize, true);
        let g = self.group_mut(group);
        g.inode_bitmap_changed = true;
        let (Some(free), dirs) = (g.free_inodes().checked_sub(1), g.used_dirs()) else {
            return damaged(format!("group {group} counts too few free inodes"));
        };
        g.set_free_inodes(free);
        if is_dir {
            g.set_used_dirs(dirs + 1);
        }
        let unused = g.itable_unused();
        if checksums && index >= ipg - unused {
            g.set_itable_unused(ipg - index - 1);
            // What was never used may hold anything.
            let isize = self.sb.inode_size;
            for fresh in ipg - unused..=index {
                let (block, at) = self.inode_place(group * ipg + fresh + 1);
                self.store.block_mut(block)?[at..at + isize].fill(0);
            }
        }
        self.sb.free_inodes -= 1;
        Ok(())
    }

    /// Gives an inode back and clears it.
    pub(crate) fn release_inode(&mut self, number: u32, is_dir: bool) -> FsResult<()> {
        let group = self.group_of_inode(number);
        let index = (number - 1) % self.sb.inodes_per_group;
        let map = self.inode_bitmap(group)?;
        if !bitmap::get(&map, index as usize) {
            return damaged(format!("inode {number} is free in its bitmap"));
        }
        drop(map);
        let place = self.groups[group as usize].inode_bitmap();
        bitmap::set(self.store.block_mut(place)?, index as usize, false);
        let g = self.group_mut(group);
        g.inode_bitmap_changed = true;
        g.set_free_inodes(g.free_inodes() + 1);
        if is_dir {
            g.set_used_dirs(g.used_dirs().saturating_sub(1));
        }
        self.sb.free_inodes += 1;
        let (block, at) = self.inode_place(number);
        let isize = self.sb.inode_size;
        self.store.block_mut(block)?[at..at + isize].fill(0);
        Ok(())
    }

    /// Block and byte of an inode, which must exist.
    pub(crate) fn inode_place(&self, number: u32) -> (u64, usize) {
        let group = self.group_of_inode(number);
        let index = ((number - 1) % self.sb.inodes_per_group) as usize;
        let per_block = self.sb.inodes_per_block();
        let block = self.groups[group as usize].inode_table() + (index / per_block) as u64;
        (block, index % per_block * self.sb.inode_size)
    }

    /// Stores an inode with a fresh checksum.
    pub(crate) fn write_inode(&mut self, number: u32, inode: &Inode) -> FsResult<()> {
        let bytes = inode.to_bytes(number, &self.sb);
        let (block, at) = self.inode_place(number);
        self.store.block_mut(block)?[at..at + bytes.len()].copy_from_slice(&bytes);
        Ok(())
    }
}
