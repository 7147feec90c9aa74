//! Making an empty file system, in the layouts that `mke2fs -t ext4 -b 4096` gives to the supported images.

mod geometry;

use std::sync::Arc;

use super::super::{FsResult, NodeKind, Time};
use super::checksum::crc32c;
use super::dir::{Directory, Entry, file_type};
use super::error::{invalid, unsupported};
use super::extent::{self, Extent};
use super::format::{SUPERBLOCK_OFFSET, SUPERBLOCK_SIZE, bg, compat, ino, sb, set_u32};
use super::group::Group;
use super::inode::{Inode, Stamp};
use super::store::Store;
use super::superblock::Superblock;
use super::{Ext4, bitmap, journal, orphan};
use crate::disk::BlockIo;
pub use geometry::{Ext4Features, Ext4Options};
use geometry::{Geometry, journal_blocks, orphan_blocks, superblock};

const BLOCK_SIZE: usize = 4096;
const BLOCKS_PER_GROUP: u64 = 8 * BLOCK_SIZE as u64;
const INODE_SIZE: usize = 256;
/// Groups whose bitmaps and inode tables stand together, as a power of two.
const LOG_GROUPS_PER_FLEX: u8 = 4;
const LOST_FOUND: u32 = 11;
const ORPHAN_FILE: u32 = 12;
/// `lost+found` is made large enough to take files without allocating.
const LOST_FOUND_BLOCKS: u64 = 4;

/// Makes an empty file system that fills the window: root directory, `lost+found`, journal, resize inode, and the
/// orphan file where the features have it. The same window length and options give the same bytes in everything the
/// file system uses; free blocks are not written.
///
/// # Errors
/// [`FsError::Invalid`](super::FsError::Invalid) for a label that does not fit or a window below 8 MiB,
/// [`FsError::Unsupported`](super::FsError::Unsupported) above 1 TiB.
pub fn format(io: Arc<dyn BlockIo>, options: &Ext4Options) -> FsResult<Ext4> {
    if options.label.len() > 16 || options.label.contains('\0') {
        return invalid(
            options.label.as_bytes(),
            "an ext4 label has up to 16 bytes without NUL",
        );
    }
    let geometry = Geometry::of(io.len(), options.features)?;
    let mut maker = Maker::new(io.clone(), &geometry, options)?;
    maker.place_tables()?;
    maker.make_nodes()?;
    maker.finish(&geometry)?;
    Ext4::open(io)
}

struct Maker {
    store: Store,
    sb: Superblock,
    groups: Vec<Group>,
    /// One bit per block.
    used: Vec<u8>,
    used_inodes: u32,
    epoch: Time,
}

impl Maker {
    fn new(io: Arc<dyn BlockIo>, geometry: &Geometry, options: &Ext4Options) -> FsResult<Self> {
        let raw = superblock(geometry, options);
        let sb = Superblock::parse(&raw, io.len())?;
        let groups = vec![Group::empty(sb.desc_size); sb.groups_count() as usize];
        let mut used = vec![0; (geometry.blocks as usize).div_ceil(8)];
        for number in 0..sb.groups_count() {
            let start = sb.group_start(number) as usize;
            let end = start + sb.super_blocks(number) as usize;
            if end > geometry.blocks as usize {
                return invalid(b"ext4", "the last group is too small for its metadata");
            }
            bitmap::set_range(&mut used, start, end);
        }
        Ok(Self {
            store: Store::new(io, BLOCK_SIZE),
            sb,
            groups,
            used,
            used_inodes: LOST_FOUND,
            epoch: options.epoch,
        })
    }

    /// The first run of `count` free blocks at or after `from`, taken.
    fn take_run(&mut self, from: u64, count: u64) -> Option<u64> {
        let end = self.sb.blocks_count as usize;
        let mut at = from as usize;
        loop {
            let start = bitmap::find(&self.used, at, end, false)?;
            let stop = bitmap::find(&self.used, start, end, true).unwrap_or(end);
            let wanted = start + count as usize;
            if wanted <= stop {
                bitmap::set_range(&mut self.used, start, wanted);
                return Some(start as u64);
            }
            at = stop;
        }
    }

    /// As [`Self::take_run`], looking from the start when there is none behind `from`.
    fn take(&mut self, from: u64, count: u64) -> FsResult<u64> {
        match self.take_run(from, count).or_else(|| self.take_run(0, count)) {
            Some(start) => Ok(start),
            None => invalid(b"ext4", "the window is too small for the metadata"),
        }
    }

    /// Bitmaps, then inode tables, of each flexible group at its start.
    fn place_tables(&mut self) -> FsResult<()> {
        let flex = 1u32 << LOG_GROUPS_PER_FLEX;
        let count = self.sb.groups_count();
        let itable = self.sb.itable_blocks();
        for first in (0..count).step_by(flex as usize) {
            let members = first..(first + flex).min(count);
            let goal = self.sb.group_start(first);
            let mut places = vec![(0, 0, 0); members.len()];
            for place in &mut places {
                place.0 = self.take(goal, 1)?;
            }
            for place in &mut places {
                place.1 = self.take(goal, 1)?;
            }
            for place in &mut places {
                place.2 = self.take(goal, itable)?;
            }
            for (number, place) in members.zip(places) {
                self.groups[number as usize].set_places(place.0, place.1, place.2);
                self.store
                    .io
                    .write_zeroes(place.2 * BLOCK_SIZE as u64, itable * BLOCK_SIZE as u64)?;
            }
        }
        Ok(())
    }

    fn make_nodes(&mut self) -> FsResult<()> {
        // Reserved inodes are written with a checksum even when they stay empty.
        for number in 1..self.sb.first_ino {
            let raw = vec![0; self.sb.inode_size];
            self.write_inode(number, &Inode { raw })?;
        }
        let mut root = Directory::new(ino::ROOT);
        root.insert(
            b"lost+found",
            Entry {
                inode: LOST_FOUND,
                file_type: file_type(NodeKind::Dir),
            },
        );
        self.make_dir(ino::ROOT, &root, 0o755, 3)?;
        let mut lost = Directory::new(ino::ROOT);
        lost.allocated = LOST_FOUND_BLOCKS;
        self.make_dir(LOST_FOUND, &lost, 0o700, 2)?;
        self.make_resize_inode()?;
        if self.sb.has_compat(compat::ORPHAN_FILE) {
            self.make_orphan_file()?;
        }
        self.make_journal()
    }

    fn inode(&self, mode: u16, links: u32, size: u64) -> FsResult<Inode> {
        let mut inode = Inode::empty(&self.sb);
        inode.set_mode(mode);
        inode.set_links(links);
        inode.set_size(size);
        for stamp in [Stamp::Access, Stamp::Change, Stamp::Modify, Stamp::Create] {
            inode.set_time(stamp, self.epoch, b"/")?;
        }
        Ok(inode)
    }

    /// Gives an inode these runs as its content and writes it.
    fn put_extents(&mut self, number: u32, mut inode: Inode, runs: &[(u64, u64)]) -> FsResult<Inode> {
        let mut extents: Vec<Extent> = Vec::new();
        let mut logical = 0;
        for (physical, len) in runs {
            extents.push(Extent {
                logical,
                physical: *physical,
                len: *len,
                unwritten: false,
            });
            logical += len;
        }
        let extents = extent::split_long(&extents);
        let (index, _) = extent::index_blocks(extents.len(), BLOCK_SIZE);
        let mut meta = Vec::new();
        for _ in 0..index {
            meta.push(self.take(0, 1)?);
        }
        inode.set_flag(ino::EXTENTS_FL, true);
        let seed = inode.seed(number, &self.sb);
        extent::write(&mut inode, seed, &self.sb, &mut self.store, &extents, &meta);
        if inode.set_blocks(logical + index as u64, &self.sb).is_none() {
            return unsupported("an inode with so many blocks");
        }
        self.write_inode(number, &inode)?;
        Ok(inode)
    }

    fn make_dir(&mut self, number: u32, dir: &Directory, mode: u16, links: u32) -> FsResult<()> {
        let count = dir.allocated.max(1);
        let inode = self.inode(ino::S_IFDIR | mode, links, count * BLOCK_SIZE as u64)?;
        let (blocks, _) = dir.layout(number, inode.seed(number, &self.sb), &self.sb)?;
        let start = self.take(0, count)?;
        for (place, block) in (start..).zip(blocks) {
            self.store.put_block(place, block);
        }
        self.put_extents(number, inode, &[(start, count)])?;
        Ok(())
    }

    /// The inode that holds the blocks reserved for more group descriptors: its double indirect block names those
    /// of the first group, and each of them its copies.
    fn make_resize_inode(&mut self) -> FsResult<()> {
        let per_block = (BLOCK_SIZE / 4) as u64;
        let reserved = u64::from(self.sb.reserved_gdt_blocks());
        let dind = self.take(0, 1)?;
        let mut names = vec![0; BLOCK_SIZE];
        let backups: Vec<u64> = (1..self.sb.groups_count())
            .filter(|group| self.sb.has_super(*group))
            .map(|group| self.sb.group_start(group))
            .collect();
        for n in 0..reserved {
            let offset = self.sb.gdt_blocks() + n;
            let block = 1 + offset;
            set_u32(&mut names, (offset % per_block) as usize * 4, block as u32);
            let mut copies = vec![0; BLOCK_SIZE];
            for (at, start) in (0..BLOCK_SIZE).step_by(4).zip(&backups) {
                set_u32(&mut copies, at, (start + block) as u32);
            }
            self.store.put_block(block, copies);
        }
        self.store.put_block(dind, names);
        let size = (per_block * per_block + per_block + 12) * BLOCK_SIZE as u64;
        let mut inode = self.inode(ino::S_IFREG | 0o600, 1, size)?;
        set_u32(inode.block_mut(), 13 * 4, dind as u32);
        if inode
            .set_blocks(1 + reserved * (1 + backups.len() as u64), &self.sb)
            .is_none()
        {
            return unsupported("a resize inode with so many blocks");
        }
        self.write_inode(ino::RESIZE, &inode)
    }

    fn make_orphan_file(&mut self) -> FsResult<()> {
        let count = orphan_blocks(self.sb.blocks_count);
        let start = self.take(0, count)?;
        let inode = self.inode(ino::S_IFREG | 0o600, 1, count * BLOCK_SIZE as u64)?;
        let seed = inode.seed(ORPHAN_FILE, &self.sb);
        for place in start..start + count {
            let block = orphan::empty_block(BLOCK_SIZE, seed, place);
            self.store.put_block(place, block);
        }
        self.put_extents(ORPHAN_FILE, inode, &[(start, count)])?;
        self.used_inodes = ORPHAN_FILE;
        self.sb.set_u32(sb::ORPHAN_FILE_INUM, ORPHAN_FILE);
        Ok(())
    }

    fn make_journal(&mut self) -> FsResult<()> {
        let count = journal_blocks(self.sb.blocks_count);
        // In the middle of the file system, where heads of disks had the shortest way.
        let middle = self.sb.group_start(self.sb.groups_count() / 2);
        let mut runs: Vec<(u64, u64)> = Vec::new();
        let mut left = count;
        while left > 0 {
            let len = left.min(BLOCKS_PER_GROUP / 2);
            let start = self.take(middle, len)?;
            match runs.last_mut() {
                Some(last) if last.0 + last.1 == start => last.1 += len,
                _ => runs.push((start, len)),
            }
            left -= len;
        }
        for (n, (start, len)) in runs.iter().enumerate() {
            let bytes = BLOCK_SIZE as u64;
            self.store.io.write_zeroes(start * bytes, len * bytes)?;
            if n == 0 {
                let head = journal::empty_superblock(BLOCK_SIZE, count as u32, self.sb.uuid_bytes());
                self.store.put_block(*start, head);
            }
        }
        let inode = self.inode(ino::S_IFREG | 0o600, 1, count * BLOCK_SIZE as u64)?;
        let inode = self.put_extents(ino::JOURNAL, inode, &runs)?;
        // A copy of the journal's map, for the day its inode is lost.
        for n in 0..15 {
            let word = inode.u32(ino::BLOCK + 4 * n);
            self.sb.set_u32(sb::JNL_BLOCKS + 4 * n, word);
        }
        self.sb.set_u32(sb::JNL_BLOCKS + 60, inode.u32(ino::SIZE_HIGH));
        self.sb.set_u32(sb::JNL_BLOCKS + 64, inode.u32(ino::SIZE_LO));
        Ok(())
    }

    fn write_inode(&mut self, number: u32, inode: &Inode) -> FsResult<()> {
        // All inodes made here are in the first group.
        let at = (number as usize - 1) * self.sb.inode_size;
        let block = self.groups[0].inode_table() + (at / BLOCK_SIZE) as u64;
        let at = at % BLOCK_SIZE;
        let bytes = inode.to_bytes(number, &self.sb);
        self.store.block_mut(block)?[at..at + bytes.len()].copy_from_slice(&bytes);
        Ok(())
    }

    /// Bitmaps, descriptors, superblocks.
    fn finish(mut self, geometry: &Geometry) -> FsResult<()> {
        let count = self.sb.groups_count();
        let ipg = geometry.inodes_per_group;
        let csum = self.sb.has_metadata_csum();
        let mut free_blocks = 0;
        for number in 0..count {
            let start = self.sb.group_start(number) as usize;
            let len = self.sb.group_len(number) as usize;
            let mut blocks = vec![0; BLOCK_SIZE];
            // Groups begin at whole bytes of the bitmap of all blocks.
            let whole = &self.used[start / 8..(start + len).div_ceil(8)];
            blocks[..whole.len()].copy_from_slice(whole);
            bitmap::set_range(&mut blocks, len, BLOCK_SIZE * 8);
            let used_inodes = if number == 0 { self.used_inodes } else { 0 };
            let mut inodes = vec![0; BLOCK_SIZE];
            bitmap::set_range(&mut inodes, 0, used_inodes as usize);
            bitmap::set_range(&mut inodes, ipg as usize, BLOCK_SIZE * 8);
            let free = bitmap::count_clear(&blocks, len);
            free_blocks += free as u64;

            let mut group = self.groups[number as usize];
            group.set_free_blocks(free as u32);
            group.set_free_inodes(ipg - used_inodes);
            group.set_used_dirs(if number == 0 { 2 } else { 0 });
            if self.sb.has_group_csum() {
                group.set_flag(bg::INODE_ZEROED, true);
                group.set_flag(bg::INODE_UNINIT, number != 0);
                group.set_itable_unused(ipg - used_inodes);
            }
            if csum {
                let seed = self.sb.checksum_seed;
                group.set_block_bitmap_csum(crc32c(seed, &blocks));
                group.set_inode_bitmap_csum(crc32c(seed, &inodes[..ipg as usize / 8]));
            }
            self.store.put_block(group.block_bitmap(), blocks);
            self.store.put_block(group.inode_bitmap(), inodes);
            self.groups[number as usize] = group;
        }
        self.sb.free_blocks = free_blocks;
        self.sb.free_inodes = self.sb.inodes_count - self.used_inodes;
        let overhead: u64 = (0..count)
            .map(|group| self.sb.super_blocks(group) + 2 + self.sb.itable_blocks())
            .sum();
        let overhead = overhead + journal_blocks(self.sb.blocks_count);
        self.sb.set_u32(sb::OVERHEAD_CLUSTERS, overhead as u32);
        self.store.flush()?;
        self.write_superblocks()
    }

    fn write_superblocks(&self) -> FsResult<()> {
        let mut table = Vec::new();
        for (number, group) in (0..).zip(&self.groups) {
            table.extend(group.to_bytes(number, &self.sb));
        }
        table.resize(self.sb.gdt_blocks() as usize * BLOCK_SIZE, 0);
        let io = &self.store.io;
        for group in (0..self.sb.groups_count()).filter(|group| self.sb.has_super(*group)) {
            let at = self.sb.group_start(group) * BLOCK_SIZE as u64;
            let mut block = vec![0; BLOCK_SIZE];
            let offset = if group == 0 {
                SUPERBLOCK_OFFSET as usize
            } else {
                let reserved = u64::from(self.sb.reserved_gdt_blocks()) * BLOCK_SIZE as u64;
                io.write_zeroes(at + (BLOCK_SIZE + table.len()) as u64, reserved)?;
                0
            };
            block[offset..offset + SUPERBLOCK_SIZE].copy_from_slice(&self.sb.to_bytes(group));
            io.write_at(at, &block)?;
            io.write_at(at + BLOCK_SIZE as u64, &table)?;
        }
        Ok(())
    }
}
