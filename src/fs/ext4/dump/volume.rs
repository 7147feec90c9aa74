//! The geometry of a file system that may be damaged, and its blocks.

use std::io;
use std::ops::Range;

use super::super::format::{
    EXT4_SUPER_MAGIC, SUPERBLOCK_OFFSET, SUPERBLOCK_SIZE, bg, ino, sb, u16_at, u32_at,
};
use super::super::group::Group;
use super::super::inode::Inode;
use super::super::superblock::Superblock;
use crate::disk::BlockIo;

/// `s_feature_compat`: the copies stand in the two groups of `s_backup_bgs`.
const SPARSE_SUPER2: u32 = 0x200;
/// `s_feature_incompat`: descriptors stand in the groups that they describe.
const META_BG: u32 = 0x10;
/// Offset of `s_backup_bgs`.
const BACKUP_BGS: usize = 0x24C;
/// Groups smaller than this are made by no tool.
const MIN_BLOCKS_PER_GROUP: u64 = 256;
/// Where copies of the superblock are looked for when the first one is of no use: the start of group 1 with blocks
/// of 1, 2 and 4 KiB and as many blocks in a group as a bitmap has bits.
const COPIES: [u64; 3] = [8193 * 1024, 16384 * 2048, 32768 * 4096];

/// A file system with numbers that can be worked with.
pub(super) struct Volume<'a> {
    io: &'a dyn BlockIo,
    pub(super) s: Superblock,
    /// The primary superblock as it is, which `s` may not be.
    pub(super) primary: Vec<u8>,
    pub(super) groups: Vec<Group>,
    /// Bytes of a block.
    pub(super) bs: u64,
    /// Why not everything is as the first superblock says.
    pub(super) remarks: Vec<String>,
}

/// The 1024 bytes at offset 1024, where there are as many.
pub(super) fn primary(io: &dyn BlockIo) -> io::Result<Option<Vec<u8>>> {
    superblock_at(io, SUPERBLOCK_OFFSET)
}

fn superblock_at(io: &dyn BlockIo, at: u64) -> io::Result<Option<Vec<u8>>> {
    if at + SUPERBLOCK_SIZE as u64 > io.len() {
        return Ok(None);
    }
    let mut raw = vec![0; SUPERBLOCK_SIZE];
    io.read_at(at, &mut raw)?;
    Ok(Some(raw))
}

/// A superblock whose numbers allow to find the other structures, or why they do not.
fn usable(raw: &[u8], len: u64) -> Result<Superblock, String> {
    if u16_at(raw, sb::MAGIC) != EXT4_SUPER_MAGIC {
        return Err(format!("s_magic is {:#06x}", u16_at(raw, sb::MAGIC)));
    }
    let mut s = Superblock::unchecked(raw);
    let bits = s.block_size as u64 * 8;
    s.blocks_count = s.blocks_count.min(len / s.block_size as u64);
    if u32_at(raw, sb::LOG_BLOCK_SIZE) > 6 {
        Err(format!("s_log_block_size is {}", u32_at(raw, sb::LOG_BLOCK_SIZE)))
    } else if s.first_data_block > 1 || s.blocks_count <= s.first_data_block + 1 {
        Err(format!(
            "s_first_data_block is {} and s_blocks_count {}",
            s.first_data_block, s.blocks_count
        ))
    } else if !(MIN_BLOCKS_PER_GROUP..=bits).contains(&s.blocks_per_group) {
        Err(format!("s_blocks_per_group is {}", s.blocks_per_group))
    } else if s.inodes_per_group == 0 || u64::from(s.inodes_per_group) > bits {
        Err(format!("s_inodes_per_group is {}", s.inodes_per_group))
    } else if !s.inode_size.is_power_of_two()
        || s.inode_size < ino::GOOD_OLD_SIZE
        || s.inode_size > s.block_size
    {
        Err(format!("s_inode_size is {}", s.inode_size))
    } else if s.desc_size != 32 && s.desc_size != 64 {
        Err(format!("s_desc_size is {}", s.desc_size))
    } else {
        Ok(s)
    }
}

impl<'a> Volume<'a> {
    /// The file system by its first superblock, else by a copy of it; or why there is neither.
    pub(super) fn open(io: &'a dyn BlockIo) -> io::Result<Result<Self, String>> {
        let Some(raw) = primary(io)? else {
            return Ok(Err("it ends before the superblock".to_owned()));
        };
        let mut remarks = Vec::new();
        let s = match usable(&raw, io.len()) {
            Ok(s) => s,
            Err(why) => {
                let mut found = None;
                for at in COPIES {
                    let copy = superblock_at(io, at)?;
                    if let Some(s) = copy.and_then(|copy| usable(&copy, io.len()).ok()) {
                        found = Some((at, s));
                        break;
                    }
                }
                let Some((at, s)) = found else {
                    return Ok(Err(format!("the superblock is of no use: {why}")));
                };
                remarks.push(format!(
                    "the first superblock is of no use ({why}); the copy at {at:#x} is gone by"
                ));
                s
            }
        };
        let bs = s.block_size as u64;
        let stated = Superblock::unchecked(&raw).blocks_count;
        if remarks.is_empty() && stated != s.blocks_count {
            remarks.push(format!(
                "s_blocks_count is {stated}, but there is room for {} blocks",
                s.blocks_count
            ));
        }
        if s.has_incompat(META_BG) {
            remarks
                .push("meta_bg is not decoded: descriptors are looked for behind the superblock".to_owned());
        }
        let mut volume = Self {
            io,
            s,
            primary: raw,
            groups: Vec::new(),
            bs,
            remarks,
        };
        volume.read_descriptors()?;
        Ok(Ok(volume))
    }

    fn read_descriptors(&mut self) -> io::Result<()> {
        let size = self.s.desc_size;
        let table = self.descriptors(0);
        for block in table.start..table.end {
            let bytes = self.block(block)?;
            let left = self.s.groups_count() as usize - self.groups.len();
            self.groups
                .extend(bytes.chunks_exact(size).take(left).map(Group::from_bytes));
        }
        // Groups whose descriptors lie behind the end have none.
        let all = self.s.groups_count() as usize;
        self.groups.resize(all, Group::empty(size));
        Ok(())
    }

    /// Bytes at `at`; behind the end, zeroes.
    pub(super) fn read(&self, at: u64, len: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; len];
        let there = self.io.len().saturating_sub(at).min(len as u64) as usize;
        self.io.read_at(at, &mut bytes[..there])?;
        Ok(bytes)
    }

    pub(super) fn block(&self, number: u64) -> io::Result<Vec<u8>> {
        self.read(number.saturating_mul(self.bs), self.s.block_size)
    }

    /// Length of the partition in bytes.
    pub(super) fn len(&self) -> u64 {
        self.io.len()
    }

    /// Bytes of a run of blocks.
    pub(super) fn bytes(&self, blocks: &Range<u64>) -> Range<u64> {
        blocks.start * self.bs..blocks.end * self.bs
    }

    /// Whether a group begins with a copy of the superblock.
    pub(super) fn has_super(&self, group: u32) -> bool {
        if self.s.has_compat(SPARSE_SUPER2) {
            group == 0 || [0, 4].iter().any(|n| self.s.u32(BACKUP_BGS + n) == group)
        } else {
            self.s.has_super(group)
        }
    }

    /// Blocks of the descriptor table of a group that has one.
    pub(super) fn descriptors(&self, group: u32) -> Range<u64> {
        let start = self.s.group_start(group) + 1;
        start..start + self.s.gdt_blocks()
    }

    /// Blocks behind them that are kept for more.
    pub(super) fn reserved(&self, group: u32) -> Range<u64> {
        let start = self.descriptors(group).end;
        start..start + u64::from(self.s.reserved_gdt_blocks())
    }

    /// Whether blocks lie in the file system, behind the first superblock.
    pub(super) fn inside(&self, start: u64, len: u64) -> bool {
        start > self.s.first_data_block
            && start
                .checked_add(len)
                .is_some_and(|end| end <= self.s.blocks_count)
    }

    /// Blocks of a group's inode table, which may lie anywhere.
    pub(super) fn inode_table(&self, group: u32) -> Range<u64> {
        let bytes = u64::from(self.s.inodes_per_group) * self.s.inode_size as u64;
        let start = self.group(group).inode_table();
        start..start.saturating_add(bytes.div_ceil(self.bs))
    }

    pub(super) fn group(&self, group: u32) -> Group {
        self.groups
            .get(group as usize)
            .copied()
            .unwrap_or_else(|| Group::empty(self.s.desc_size))
    }

    /// Whether a flag of `bg_flags` is set, where flags count.
    pub(super) fn group_flag(&self, group: u32, flag: u16) -> bool {
        self.s.has_group_csum() && self.group(group).has_flag(flag)
    }

    /// The block bitmap of a group: `None` where it cannot be found.
    pub(super) fn block_bitmap(&self, group: u32) -> io::Result<Option<Vec<u8>>> {
        self.bitmap(self.group(group).block_bitmap())
    }

    /// The inode bitmap of a group, all clear where it is not initialised: `None` where it cannot be found.
    pub(super) fn inode_bitmap(&self, group: u32) -> io::Result<Option<Vec<u8>>> {
        if self.group_flag(group, bg::INODE_UNINIT) {
            return Ok(Some(vec![0; self.s.block_size]));
        }
        self.bitmap(self.group(group).inode_bitmap())
    }

    fn bitmap(&self, block: u64) -> io::Result<Option<Vec<u8>>> {
        if self.inside(block, 1) {
            self.block(block).map(Some)
        } else {
            Ok(None)
        }
    }

    /// An inode; `None` where its table lies outside.
    pub(super) fn inode(&self, number: u32) -> io::Result<Option<Inode>> {
        let Some(index) = number.checked_sub(1) else {
            return Ok(None);
        };
        let table = self.inode_table(index / self.s.inodes_per_group);
        let offset = u64::from(index % self.s.inodes_per_group) * self.s.inode_size as u64;
        if !self.inside(table.start, table.end.saturating_sub(table.start)) {
            return Ok(None);
        }
        let raw = self.read(table.start * self.bs + offset, self.s.inode_size)?;
        Ok(Some(Inode { raw }))
    }
}

/// Whether an inode counts as in use: by its bit, or by its content where there is no bitmap.
pub(super) fn in_use(bits: Option<&[u8]>, index: usize, raw: &[u8]) -> bool {
    match bits {
        Some(bits) => bits.get(index / 8).is_some_and(|b| b >> (index % 8) & 1 == 1),
        None => u16_at(raw, ino::MODE) != 0 && u16_at(raw, ino::LINKS_COUNT) != 0,
    }
}
