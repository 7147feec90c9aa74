//! Structural check of a committed file system: every structure is read and compared with the others.
//!
//! Memory: one bit per block, and four bytes per inode.

mod attributes;
mod dirs;
mod index;
mod inodes;
mod special;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::{Finding, FsError, FsResult};
use super::error::unsupported;
use super::format::{SUPERBLOCK_OFFSET, bg, incompat, ino, join, sb, set_u16, set_u32};
use super::group::Group;
use super::journal::recovered;
use super::superblock::Superblock;
use super::{Ext4, bitmap};
use crate::disk::BlockIo;

/// Findings beyond this count are not collected: a smashed table has thousands.
const MAX_FINDINGS: usize = 1000;
/// Largest file system that is checked: bounds the bitmap to 128 MiB (4 TiB with blocks of 4096 bytes).
const MAX_BLOCKS: u64 = 1 << 30;
/// Most inodes: bounds their table to 256 MiB.
const MAX_INODES: u32 = 1 << 26;

/// Everything that is wrong with the file system on `io`. Damage that keeps it from being opened is a finding too. A
/// file system that was not unmounted cleanly is judged as [`recover`](super::recover) would leave it; `io` is not
/// written to.
///
/// # Errors
/// [`FsError::Unsupported`] for a file system that is not understood; [`FsError::Io`] when the device fails.
pub fn check(io: &Arc<dyn BlockIo>) -> FsResult<Vec<Finding>> {
    let opened = recovered(io).and_then(|recovery| match recovery {
        Some((overlay, _)) => Ext4::open(overlay),
        None => Ext4::open(io.clone()),
    });
    match opened {
        Ok(fs) => Checker::run(&fs),
        Err(FsError::Damaged(what)) => Ok(vec![Finding {
            place: "superblock, group descriptors or journal".to_owned(),
            what,
        }]),
        Err(error) => Err(error),
    }
}

/// What is known of one inode.
#[derive(Debug, Clone, Copy, Default)]
struct Known {
    /// `file_type` of its entries; 0 for an inode that is free or reserved.
    file_type: u8,
    /// `i_links_count`.
    links: u16,
}

struct Checker<'a> {
    fs: &'a Ext4,
    findings: Vec<Finding>,
    /// Blocks that something uses, one bit each.
    owned: Vec<u8>,
    /// By inode number.
    inodes: Vec<Known>,
    /// Blocks met so far, those in use twice counted twice.
    met: u64,
    /// Attribute blocks: the count stored and the inodes met.
    shared: BTreeMap<u64, (u32, u32)>,
}

impl<'a> Checker<'a> {
    fn run(fs: &'a Ext4) -> FsResult<Vec<Finding>> {
        let s = &fs.sb;
        if s.blocks_count > MAX_BLOCKS || s.inodes_count > MAX_INODES {
            return unsupported(format!(
                "{} blocks and {} inodes; up to {MAX_BLOCKS} and {MAX_INODES} are checked",
                s.blocks_count, s.inodes_count
            ));
        }
        let mut checker = Self {
            fs,
            findings: Vec::new(),
            owned: vec![0; s.blocks_count as usize / 8 + 1],
            inodes: vec![Known::default(); s.inodes_count as usize + 1],
            met: 0,
            shared: BTreeMap::new(),
        };
        checker.superblock();
        checker.backups()?;
        checker.own_tables();
        if !checker.inodes()? {
            return Ok(checker.findings);
        }
        checker.journal()?;
        checker.orphan_file()?;
        checker.resize_inode()?;
        checker.directories()?;
        checker.attribute_blocks();
        checker.bitmaps()?;
        Ok(checker.findings)
    }

    fn found(&mut self, place: impl Into<String>, what: impl Into<String>) {
        if self.findings.len() < MAX_FINDINGS {
            self.findings.push(Finding {
                place: place.into(),
                what: what.into(),
            });
        }
    }

    /// Makes damage a finding at `place`, and lets other errors through.
    fn soften<T>(&mut self, place: &str, result: FsResult<T>) -> FsResult<Option<T>> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(FsError::Damaged(what)) => {
                self.found(place, what);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Takes blocks, which must exist, for `place`.
    fn own(&mut self, place: &str, start: u64, len: u64) {
        let (from, to) = (start as usize, (start + len) as usize);
        if let Some(taken) = bitmap::find(&self.owned, from, to, true) {
            self.found(place, format!("block {taken} is in use twice"));
        }
        bitmap::set_range(&mut self.owned, from, to);
    }

    /// Fields of the superblock and flags of the descriptors that opening does not look at.
    fn superblock(&mut self) {
        let s = &self.fs.sb;
        let hi = if s.has_incompat(incompat::BIT64) {
            s.u32(sb::R_BLOCKS_COUNT_HI)
        } else {
            0
        };
        let reserved = join(s.u32(sb::R_BLOCKS_COUNT_LO), hi);
        let mut wrong = Vec::new();
        if reserved > s.blocks_count / 2 {
            wrong.push(format!("reserves {reserved} blocks, more than half of all"));
        }
        let flex = s.u8(sb::LOG_GROUPS_PER_FLEX);
        if s.has_incompat(incompat::FLEX_BG) && flex > 31 {
            wrong.push(format!("has 2^{flex} groups in one flexible group"));
        }
        if s.inode_size > ino::GOOD_OLD_SIZE {
            let room = (s.inode_size - ino::GOOD_OLD_SIZE) as u16;
            for at in [sb::MIN_EXTRA_ISIZE, sb::WANT_EXTRA_ISIZE] {
                let extra = s.u16(at);
                if extra != 0 && (extra < 4 || extra > room || !extra.is_multiple_of(4)) {
                    wrong.push(format!(
                        "wants {extra} more bytes in inodes, of which {room} are there"
                    ));
                }
            }
        }
        // With the features of quotas a file system is not opened.
        for at in [sb::USR_QUOTA_INUM, sb::GRP_QUOTA_INUM, sb::PRJ_QUOTA_INUM] {
            if s.u32(at) != 0 {
                wrong.push(format!("names inode {} for quotas, which are off", s.u32(at)));
            }
        }
        let csum = s.has_group_csum();
        let (uninit, last) = (bg::BLOCK_UNINIT | bg::INODE_UNINIT, s.groups_count() - 1);
        for (number, group) in (0u32..).zip(&self.fs.groups) {
            if !csum && (group.has_flag(uninit) || group.itable_unused() != 0) {
                wrong.push(format!(
                    "has no feature for what group {number} leaves uninitialised"
                ));
            }
            if csum && number == last && group.has_flag(bg::BLOCK_UNINIT) {
                wrong.push(format!("has a last group {number} without a block bitmap"));
            }
        }
        for what in wrong {
            self.found("superblock", what);
        }
    }

    /// Superblocks, descriptors, bitmaps and inode tables.
    fn own_tables(&mut self) {
        let s = &self.fs.sb;
        if s.first_data_block > 0 {
            bitmap::set_range(&mut self.owned, 0, s.first_data_block as usize);
        }
        for number in 0..s.groups_count() {
            let start = s.group_start(number);
            let len = s.super_blocks(number).min(s.blocks_count - start);
            bitmap::set_range(&mut self.owned, start as usize, (start + len) as usize);
        }
        for (number, group) in (0u32..).zip(&self.fs.groups) {
            for (what, at, len) in [
                ("block bitmap", group.block_bitmap(), 1),
                ("inode bitmap", group.inode_bitmap(), 1),
                ("inode table", group.inode_table(), s.itable_blocks()),
            ] {
                self.own(&format!("group {number} {what}"), at, len);
            }
        }
    }

    /// Copies of the superblock and of the descriptors. Counts in them are not kept up to date by anybody, so only
    /// what places and identifies the file system is compared.
    fn backups(&mut self) -> FsResult<()> {
        let s = self.fs.sb.clone();
        let size = s.block_size;
        let primary = s.to_bytes(0);
        for group in (1..s.groups_count()).filter(|group| s.has_super(*group)) {
            let at = s.group_start(group) * size as u64;
            let mut copy = vec![0; SUPERBLOCK_OFFSET as usize];
            self.fs.store.io.read_at(at, &mut copy)?;
            let place = format!("group {group} backup superblock");
            if usize::from(super::format::u16_at(&copy, sb::BLOCK_GROUP_NR)) != group as usize {
                self.found(&*place, "does not name its group");
            }
            if still(&primary) != still(&copy) {
                self.found(&*place, "differs from the superblock");
            }
            let mut table = vec![0; s.gdt_blocks() as usize * size];
            self.fs.store.io.read_at(at + size as u64, &mut table)?;
            for (number, bytes) in (0u32..).zip(table.chunks_exact(s.desc_size)) {
                let Some(group) = self.fs.groups.get(number as usize) else {
                    break;
                };
                let places = |g: &Group| (g.block_bitmap(), g.inode_bitmap(), g.inode_table());
                if places(group) != places(&Group::from_bytes(bytes)) {
                    let place = place.replace("superblock", "descriptors");
                    self.found(place, format!("places group {number} elsewhere"));
                    break;
                }
            }
        }
        Ok(())
    }

    fn attribute_blocks(&mut self) {
        for (block, (stored, met)) in std::mem::take(&mut self.shared) {
            if stored != met {
                self.found(
                    format!("extended attribute block {block}"),
                    format!("counts {stored} inodes, {met} use it"),
                );
            }
        }
    }

    /// Bitmaps against what was met, and all counts of them.
    fn bitmaps(&mut self) -> FsResult<()> {
        let s = &self.fs.sb;
        let (mut free_blocks, mut free_inodes) = (0, 0);
        for number in 0..s.groups_count() {
            free_blocks += self.block_bitmap(number)?;
            free_inodes += self.inode_bitmap(number)?;
        }
        for (what, met, stored) in [
            ("blocks", free_blocks, s.free_blocks),
            ("inodes", free_inodes, u64::from(s.free_inodes)),
        ] {
            if met != stored {
                self.found(
                    "superblock",
                    format!("counts {stored} free {what}, the bitmaps have {met}"),
                );
            }
        }
        Ok(())
    }

    /// Compares one block bitmap. Gives its free blocks.
    fn block_bitmap(&mut self, number: u32) -> FsResult<u64> {
        let s = &self.fs.sb;
        let place = format!("group {number} block bitmap");
        let group = self.fs.groups[number as usize];
        let Some(map) = self.soften(&place, self.fs.block_bitmap(number))? else {
            return Ok(u64::from(group.free_blocks()));
        };
        let start = s.group_start(number) as usize;
        let len = s.group_len(number) as usize;
        let (mut lost, mut missing) = (Run::default(), Run::default());
        for bit in 0..len {
            match (bitmap::get(&map, bit), bitmap::get(&self.owned, start + bit)) {
                (true, false) => lost.add(start + bit),
                (false, true) => missing.add(start + bit),
                _ => {}
            }
        }
        if let Some(text) = lost.text("blocks are marked in use and belong to nothing") {
            self.found(&*place, text);
        }
        if let Some(text) = missing.text("blocks are in use and marked free") {
            self.found(&*place, text);
        }
        if bitmap::find(&map, len, map.len() * 8, false).is_some() {
            self.found(&*place, "bits behind the last block are not set");
        }
        let free = bitmap::count_clear(&map, len) as u64;
        if free != u64::from(group.free_blocks()) {
            self.found(
                place,
                format!(
                    "has {free} free blocks, the descriptor says {}",
                    group.free_blocks()
                ),
            );
        }
        Ok(free)
    }

    /// Compares one inode bitmap. Gives its free inodes.
    fn inode_bitmap(&mut self, number: u32) -> FsResult<u64> {
        let s = &self.fs.sb;
        let place = format!("group {number} inode bitmap");
        let group = self.fs.groups[number as usize];
        let Some(map) = self.soften(&place, self.fs.inode_bitmap(number))? else {
            return Ok(u64::from(group.free_inodes()));
        };
        let count = s.inodes_per_group as usize;
        let first = number as usize * count + 1;
        let (mut lost, mut missing, mut dirs) = (Run::default(), Run::default(), 0);
        for bit in 0..count {
            let inode = first + bit;
            let known = self.inodes[inode];
            let used = known.file_type != 0 || inode < s.first_ino as usize;
            dirs += u32::from(known.file_type == super::dir::DIR_TYPE);
            match (bitmap::get(&map, bit), used) {
                (true, false) => lost.add(inode),
                (false, true) => missing.add(inode),
                _ => {}
            }
        }
        if let Some(text) = lost.text("inodes are marked in use and are not") {
            self.found(&*place, text);
        }
        if let Some(text) = missing.text("inodes are in use and marked free") {
            self.found(&*place, text);
        }
        let uninit = s.has_group_csum() && group.has_flag(bg::INODE_UNINIT);
        if !uninit && bitmap::find(&map, count, map.len() * 8, false).is_some() {
            self.found(&*place, "bits behind the last inode are not set");
        }
        let free = bitmap::count_clear(&map, count) as u64;
        for (what, met, stored) in [
            ("free inodes", free, group.free_inodes()),
            ("directories", u64::from(dirs), group.used_dirs()),
        ] {
            if met != u64::from(stored) {
                self.found(
                    format!("group {number} descriptor"),
                    format!("counts {stored} {what}, there are {met}"),
                );
            }
        }
        Ok(free)
    }
}

/// How many of something, and the first of them.
#[derive(Default)]
struct Run {
    count: usize,
    first: usize,
}

impl Run {
    fn add(&mut self, number: usize) {
        if self.count == 0 {
            self.first = number;
        }
        self.count += 1;
    }

    fn text(&self, what: &str) -> Option<String> {
        (self.count > 0).then(|| format!("{} {what}, the first is {}", self.count, self.first))
    }
}

/// What of a superblock is the same in every copy: the geometry, the features and the identity.
fn still(raw: &[u8]) -> Vec<u8> {
    let mut still = raw[..sb::VOLUME_NAME].to_vec();
    for at in [
        sb::FREE_BLOCKS_COUNT_LO,
        sb::FREE_INODES_COUNT,
        sb::R_BLOCKS_COUNT_LO,
        // Mount time and write time.
        sb::WTIME - 4,
        sb::WTIME,
        // Mount counts.
        sb::WTIME + 4,
        // Error behaviour and minor revision, time of the last check and its interval.
        sb::ERRORS,
        sb::LASTCHECK,
        sb::LASTCHECK + 4,
    ] {
        set_u32(&mut still, at, 0);
    }
    for at in [sb::STATE, sb::BLOCK_GROUP_NR] {
        set_u16(&mut still, at, 0);
    }
    // Set with the first large file, in the superblock alone.
    still[sb::FEATURE_RO_COMPAT] &= !(super::format::ro_compat::LARGE_FILE as u8);
    still
}

impl Superblock {
    /// Whether an inode number is one of those without a name in any directory.
    fn is_reserved(&self, number: u32) -> bool {
        number < self.first_ino
            || (self.has_compat(super::format::compat::ORPHAN_FILE)
                && number == self.u32(sb::ORPHAN_FILE_INUM))
    }
}
