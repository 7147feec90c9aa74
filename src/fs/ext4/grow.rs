//! Growing, offline: the last group is filled up, new groups are added, the reserved descriptor blocks are used up
//! one by one and the resize inode follows. Copies of superblock and descriptors are rewritten at the commit.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::{FsError, FsResult};
use super::Ext4;
use super::bitmap;
use super::error::{damaged, unsupported};
use super::format::{bg, compat, incompat, ino, join, sb, set_u32, u32_at};
use super::group::Group;
use super::store::{Buffer, Payload};
use super::superblock::Superblock;
use crate::disk::{BlockIo, Source};

/// A last group with fewer blocks than this beyond its metadata is left out, as `mke2fs` does.
const LEAST_DATA: u64 = 50;
/// Place of the double indirect block in `i_block` (`EXT2_DIND_BLOCK`).
const DIND_BLOCK: usize = 13 * 4;

/// Bitmaps of new groups. There are few kinds of them, so that terabytes of groups refer to the same bytes.
#[derive(Default)]
struct Bitmaps {
    inodes: Option<Arc<dyn Source>>,
    /// By number of blocks used and in all.
    blocks: BTreeMap<(u64, u64), Arc<dyn Source>>,
}

impl Ext4 {
    pub(crate) fn do_grow(&mut self, device: Arc<dyn BlockIo>) -> FsResult<()> {
        let old = self.sb.blocks_count;
        let bs = self.sb.block_size as u64;
        let wanted = device.len() / bs;
        if wanted < old {
            return Err(FsError::Unsupported(format!(
                "the device has {} bytes and the file system {}; it can only be grown",
                device.len(),
                old * bs
            )));
        }
        if let Some(target) = plan(&self.sb, wanted)? {
            self.atomically(|fs| fs.grow_to(target))?;
            self.backups_stale = true;
        }
        self.store.io = device;
        Ok(())
    }

    fn grow_to(&mut self, target: Superblock) -> FsResult<()> {
        let old_groups = self.sb.groups_count();
        // Before anything else: its bitmap may have to be made up, for which the old geometry counts.
        self.fill_last_group(old_groups - 1, &target)?;
        let (free_blocks, free_inodes) = (self.sb.free_blocks, self.sb.free_inodes);
        let old = std::mem::replace(&mut self.sb, target);
        self.sb.free_blocks = free_blocks;
        self.sb.free_inodes = free_inodes;
        let table = self.sb.first_data_block + 1;
        // Descriptor blocks taken from the reserve held block numbers so far.
        for block in table + old.gdt_blocks()..table + self.sb.gdt_blocks() {
            self.store.put_block(block, vec![0; self.sb.block_size]);
        }
        let mut maps = Bitmaps::default();
        for number in old_groups..self.sb.groups_count() {
            self.add_group(number, &mut maps);
        }
        if self.sb.has_compat(compat::RESIZE_INODE) {
            self.update_resize_inode(&old)?;
        }
        Ok(())
    }

    /// Frees the blocks by which the last group grows.
    fn fill_last_group(&mut self, number: u32, target: &Superblock) -> FsResult<()> {
        let (before, after) = (self.sb.group_len(number), target.group_len(number));
        if before == after {
            return Ok(());
        }
        self.init_block_bitmap(number)?;
        self.block_bitmap(number)?;
        let place = self.groups[number as usize].block_bitmap();
        let map = self.store.block_mut(place)?;
        for bit in before..after {
            bitmap::set(map, bit as usize, false);
        }
        let more = after - before;
        let g = self.group_mut(number);
        g.block_bitmap_changed = true;
        g.set_free_blocks(g.free_blocks() + more as u32);
        self.sb.free_blocks += more;
        Ok(())
    }

    /// Appends a group with its metadata at its own start.
    fn add_group(&mut self, number: u32, maps: &mut Bitmaps) {
        let start = self.sb.group_start(number);
        let len = self.sb.group_len(number);
        let supers = self.sb.super_blocks(number);
        let itable = self.sb.itable_blocks();
        let first = start + supers;
        let used = supers + 2 + itable;
        let mut group = Group::empty(self.sb.desc_size);
        group.set_places(first, first + 1, first + 2);
        group.set_free_blocks((len - used) as u32);
        group.set_free_inodes(self.sb.inodes_per_group);
        self.undo.groups_before.get_or_insert(self.groups.len());
        self.groups.push(group);
        // The reserved descriptor blocks of a copy belong to the resize inode: they should not hold old bytes.
        let reserved = u64::from(self.sb.reserved_gdt_blocks());
        if supers > 0 && reserved > 0 {
            self.zero(first - reserved, reserved);
        }
        let g = &mut self.groups[number as usize];
        if self.sb.has_group_csum() {
            // The table is not zeroed, and no flag says that it is: the kernel does it after the first mount.
            g.set_flag(bg::INODE_UNINIT, true);
            g.set_itable_unused(self.sb.inodes_per_group);
        } else {
            g.inode_bitmap_changed = true;
            let fresh = || Arc::new(Buffer(self.fresh_inode_bitmap())) as Arc<dyn Source>;
            let map = maps.inodes.get_or_insert_with(fresh).clone();
            self.refer(first + 1, 1, map);
            self.zero(first + 2, itable);
        }
        let last = number + 1 == self.sb.groups_count();
        if self.sb.has_group_csum() && !last {
            self.groups[number as usize].set_flag(bg::BLOCK_UNINIT, true);
        } else {
            self.groups[number as usize].block_bitmap_changed = true;
            let bits = self.sb.block_size * 8;
            let fresh = || {
                let mut map = vec![0; bits / 8];
                bitmap::set_range(&mut map, 0, used as usize);
                bitmap::set_range(&mut map, len as usize, bits);
                Arc::new(Buffer(map)) as Arc<dyn Source>
            };
            let map = maps.blocks.entry((used, len)).or_insert_with(fresh).clone();
            self.refer(first, 1, map);
        }
        self.sb.free_blocks += len - used;
        self.sb.free_inodes += self.sb.inodes_per_group;
    }

    /// Makes blocks those of `source`, and zero behind its end.
    fn refer(&mut self, start: u64, blocks: u64, source: Arc<dyn Source>) {
        let payload = Payload {
            blocks,
            offset: 0,
            len: source.len(),
            source,
        };
        self.store.add_payload(start, payload);
    }

    fn zero(&mut self, start: u64, blocks: u64) {
        self.refer(start, blocks, Arc::new(Buffer(Vec::new())));
    }

    /// Takes used descriptor blocks out of the resize inode and names the blocks of new copies in the others:
    /// its double indirect block lists the reserved blocks of group 0, each of which lists its copies.
    fn update_resize_inode(&mut self, old: &Superblock) -> FsResult<()> {
        let bad = || damaged("the resize inode does not list the reserved descriptor blocks");
        let mut inode = self.inode(ino::RESIZE)?;
        let dind = u64::from(u32_at(inode.block(), DIND_BLOCK));
        if dind <= self.sb.first_data_block || dind >= old.blocks_count {
            return bad();
        }
        let per_block = self.sb.block_size as u64 / 4;
        let backups =
            |s: &Superblock| -> Vec<u32> { (1..s.groups_count()).filter(|g| s.has_super(*g)).collect() };
        let (before, after) = (backups(old), backups(&self.sb));
        if after.len() as u64 > per_block {
            return unsupported("more copies of the superblock than the resize inode can list");
        }
        let table = self.sb.first_data_block + 1;
        let end = old.gdt_blocks() + u64::from(old.reserved_gdt_blocks());
        let list = self.store.block(dind)?;
        for index in old.gdt_blocks()..end {
            let slot = (index % per_block * 4) as usize;
            if u64::from(u32_at(&list, slot)) != table + index {
                return bad();
            }
            if index < self.sb.gdt_blocks() {
                set_u32(self.store.block_mut(dind)?, slot, 0);
                continue;
            }
            let block = self.store.block_mut(table + index)?;
            let at = |group: u32| {
                let start = u64::from(group) * self.sb.blocks_per_group;
                (table + index + start) as u32
            };
            for (i, group) in before.iter().enumerate() {
                if u32_at(block, i * 4) != at(*group) {
                    return bad();
                }
            }
            for (i, group) in after.iter().enumerate() {
                set_u32(block, i * 4, at(*group));
            }
        }
        let reserved = u64::from(self.sb.reserved_gdt_blocks());
        let blocks = 1 + reserved * (1 + after.len() as u64);
        if inode.set_blocks(blocks, &self.sb).is_none() {
            return bad();
        }
        self.write_inode(ino::RESIZE, &inode)
    }

    /// Writes the copies of superblock and descriptors, after the latter were sealed.
    pub(crate) fn write_backups(&mut self) -> FsResult<()> {
        let table: Vec<u8> = (0..)
            .zip(&self.groups)
            .flat_map(|(number, g)| g.to_bytes(number, &self.sb))
            .collect();
        let table: Arc<dyn Source> = Arc::new(Buffer(table));
        let blocks = self.sb.gdt_blocks();
        for number in 1..self.sb.groups_count() {
            if !self.sb.has_super(number) {
                continue;
            }
            let start = self.sb.group_start(number);
            let mut block = self.sb.to_bytes(number);
            block.resize(self.sb.block_size, 0);
            self.store.put_block(start, block);
            self.store.forget(start + 1, blocks);
            self.refer(start + 1, blocks, table.clone());
        }
        Ok(())
    }
}

/// The most blocks a file system can be grown to, and what sets that limit.
fn limit(old: &Superblock) -> (u64, String) {
    let reserved = if old.has_compat(compat::RESIZE_INODE) {
        u64::from(old.reserved_gdt_blocks())
    } else {
        0
    };
    let whole = |groups: u64| old.first_data_block + groups * old.blocks_per_group;
    let described = (old.gdt_blocks() + reserved) * (old.block_size / old.desc_size) as u64;
    let mut limits = vec![
        (
            whole(described),
            format!("the {reserved} reserved descriptor blocks allow"),
        ),
        (
            whole(u64::from(u32::MAX / old.inodes_per_group)),
            "inode numbers of 32 bits allow".to_owned(),
        ),
    ];
    if !old.has_incompat(incompat::BIT64) {
        limits.push((u64::from(u32::MAX), "without 64bit there are".to_owned()));
    }
    // There is always one.
    limits.into_iter().min().unwrap_or_default()
}

/// The superblock of the grown file system, `None` when there is nothing to gain.
fn plan(old: &Superblock, wanted: u64) -> FsResult<Option<Superblock>> {
    let bs = old.block_size as u64;
    let mut new = old.clone();
    new.blocks_count = wanted;
    let groups = |s: &Superblock| u64::from(s.groups_count());
    let last = new.groups_count() - 1;
    if groups(&new) > groups(old) {
        let copies = if new.has_super(last) {
            // New descriptor blocks come out of the reserve.
            1 + new
                .gdt_blocks()
                .max(old.gdt_blocks() + u64::from(old.reserved_gdt_blocks()))
        } else {
            0
        };
        if new.group_len(last) < copies + 2 + new.itable_blocks() + LEAST_DATA {
            new.blocks_count = new.group_start(last);
        }
    }
    if new.blocks_count <= old.blocks_count {
        return Ok(None);
    }
    let (most, why) = limit(old);
    if new.blocks_count > most {
        return unsupported(format!(
            "growing to {} bytes: {why} up to {} bytes",
            new.blocks_count * bs,
            most * bs
        ));
    }
    let more = new.gdt_blocks() - old.gdt_blocks();
    let reserved = u64::from(old.reserved_gdt_blocks());
    // The limit is such that both fit.
    new.set_u16(sb::RESERVED_GDT_BLOCKS, reserved.saturating_sub(more) as u16);
    new.inodes_count = (groups(&new) * u64::from(old.inodes_per_group)) as u32;
    scale_reserve(old, &mut new);
    count_overhead(old, &mut new);
    Ok(Some(new))
}

/// Keeps the share of blocks reserved for root.
fn scale_reserve(old: &Superblock, new: &mut Superblock) {
    let wide = old.has_incompat(incompat::BIT64);
    let hi = if wide { old.u32(sb::R_BLOCKS_COUNT_HI) } else { 0 };
    let reserve = u128::from(join(old.u32(sb::R_BLOCKS_COUNT_LO), hi));
    let scaled = reserve * u128::from(new.blocks_count) / u128::from(old.blocks_count);
    // The share was at most the whole, so it fits.
    let scaled = scaled.min(u128::from(new.blocks_count)) as u64;
    new.set_u32(sb::R_BLOCKS_COUNT_LO, scaled as u32);
    if wide {
        new.set_u32(sb::R_BLOCKS_COUNT_HI, (scaled >> 32) as u32);
    }
}

/// Adds the metadata of new groups to `s_overhead_clusters`, where it is kept.
fn count_overhead(old: &Superblock, new: &mut Superblock) {
    let known = old.u32(sb::OVERHEAD_CLUSTERS);
    if known == 0 {
        return;
    }
    let added: u64 = (old.groups_count()..new.groups_count())
        .map(|g| new.super_blocks(g) + 2 + new.itable_blocks())
        .sum();
    let total = u64::from(known) + added;
    new.set_u32(sb::OVERHEAD_CLUSTERS, u32::try_from(total).unwrap_or(0));
}
