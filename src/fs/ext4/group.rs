//! Group descriptors.

use super::FsResult;
use super::checksum::{crc16, crc32c};
use super::error::damaged;
use super::format::{bg, join, ro_compat, set_u16, set_u32, u16_at, u32_at};
use super::superblock::Superblock;

/// One group descriptor; the high halves stay zero with descriptors of 32 bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Group {
    raw: [u8; 64],
    wide: bool,
    /// The descriptor differs from the device.
    pub(crate) changed: bool,
    /// The block bitmap differs from its stored checksum.
    pub(crate) block_bitmap_changed: bool,
    /// The inode bitmap differs from its stored checksum.
    pub(crate) inode_bitmap_changed: bool,
}

impl Group {
    /// Takes `bytes` (32 or 64) as they are.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Self {
        let mut raw = [0; 64];
        raw[..bytes.len()].copy_from_slice(bytes);
        Self {
            raw,
            wide: bytes.len() == 64,
            changed: false,
            block_bitmap_changed: false,
            inode_bitmap_changed: false,
        }
    }

    /// A descriptor of zeroes.
    pub(crate) fn empty(desc_size: usize) -> Self {
        Self::from_bytes(&[0; 64][..desc_size.min(64)])
    }

    /// Parses descriptor `number` and checks its checksum and places.
    pub(crate) fn parse(bytes: &[u8], number: u32, s: &Superblock) -> FsResult<Self> {
        let g = Self::from_bytes(bytes);
        if s.has_group_csum() {
            let found = g.checksum(number, s);
            let stored = u16_at(&g.raw, bg::CHECKSUM);
            if found != stored {
                return damaged(format!(
                    "group {number} descriptor checksum is {found:#06x}, stored is {stored:#06x}"
                ));
            }
        }
        for (what, start, len) in [
            ("block bitmap", g.block_bitmap(), 1),
            ("inode bitmap", g.inode_bitmap(), 1),
            ("inode table", g.inode_table(), s.itable_blocks()),
        ] {
            let end = start.checked_add(len);
            if start <= s.first_data_block || end.is_none_or(|end| end > s.blocks_count) {
                return damaged(format!("group {number} {what} is at block {start}"));
            }
        }
        if u64::from(g.free_blocks()) > s.group_len(number)
            || g.free_inodes() > s.inodes_per_group
            || g.itable_unused() > s.inodes_per_group
        {
            return damaged(format!("group {number} counts more free than it has"));
        }
        Ok(g)
    }

    /// What `bg_checksum` should be; 0 without checksums.
    pub(crate) fn checksum(&self, number: u32, s: &Superblock) -> u16 {
        let size = s.desc_size;
        if s.has_metadata_csum() {
            let mut raw = self.raw;
            set_u16(&mut raw, bg::CHECKSUM, 0);
            let crc = crc32c(s.checksum_seed, &number.to_le_bytes());
            crc32c(crc, &raw[..size]) as u16
        } else if s.has_ro_compat(ro_compat::GDT_CSUM) {
            let crc = crc16(!0, s.uuid_bytes());
            let crc = crc16(crc, &number.to_le_bytes());
            let crc = crc16(crc, &self.raw[..bg::CHECKSUM]);
            crc16(crc, &self.raw[bg::CHECKSUM + 2..size])
        } else {
            0
        }
    }

    /// The bytes to write, with a fresh checksum.
    pub(crate) fn to_bytes(self, number: u32, s: &Superblock) -> Vec<u8> {
        let mut raw = self.raw;
        if s.has_group_csum() {
            set_u16(&mut raw, bg::CHECKSUM, self.checksum(number, s));
        }
        raw[..s.desc_size].to_vec()
    }

    fn wide32(&self, lo: usize, hi: usize) -> u64 {
        join(u32_at(&self.raw, lo), u32_at(&self.raw, hi))
    }

    fn wide16(&self, lo: usize, hi: usize) -> u32 {
        u32::from(u16_at(&self.raw, lo)) | u32::from(u16_at(&self.raw, hi)) << 16
    }

    fn set_wide32(&mut self, lo: usize, hi: usize, v: u64) {
        set_u32(&mut self.raw, lo, v as u32);
        if self.wide {
            set_u32(&mut self.raw, hi, (v >> 32) as u32);
        }
        self.changed = true;
    }

    fn set_wide16(&mut self, lo: usize, hi: usize, v: u32) {
        set_u16(&mut self.raw, lo, v as u16);
        if self.wide {
            set_u16(&mut self.raw, hi, (v >> 16) as u16);
        }
        self.changed = true;
    }

    pub(crate) fn block_bitmap(&self) -> u64 {
        self.wide32(bg::BLOCK_BITMAP_LO, bg::BLOCK_BITMAP_HI)
    }

    pub(crate) fn inode_bitmap(&self) -> u64 {
        self.wide32(bg::INODE_BITMAP_LO, bg::INODE_BITMAP_HI)
    }

    pub(crate) fn inode_table(&self) -> u64 {
        self.wide32(bg::INODE_TABLE_LO, bg::INODE_TABLE_HI)
    }

    pub(crate) fn free_blocks(&self) -> u32 {
        self.wide16(bg::FREE_BLOCKS_COUNT_LO, bg::FREE_BLOCKS_COUNT_HI)
    }

    pub(crate) fn free_inodes(&self) -> u32 {
        self.wide16(bg::FREE_INODES_COUNT_LO, bg::FREE_INODES_COUNT_HI)
    }

    pub(crate) fn used_dirs(&self) -> u32 {
        self.wide16(bg::USED_DIRS_COUNT_LO, bg::USED_DIRS_COUNT_HI)
    }

    /// Inodes at the end of the table that were never used.
    pub(crate) fn itable_unused(&self) -> u32 {
        self.wide16(bg::ITABLE_UNUSED_LO, bg::ITABLE_UNUSED_HI)
    }

    pub(crate) fn has_flag(&self, flag: u16) -> bool {
        u16_at(&self.raw, bg::FLAGS) & flag != 0
    }

    pub(crate) fn set_places(&mut self, block_bitmap: u64, inode_bitmap: u64, inode_table: u64) {
        self.set_wide32(bg::BLOCK_BITMAP_LO, bg::BLOCK_BITMAP_HI, block_bitmap);
        self.set_wide32(bg::INODE_BITMAP_LO, bg::INODE_BITMAP_HI, inode_bitmap);
        self.set_wide32(bg::INODE_TABLE_LO, bg::INODE_TABLE_HI, inode_table);
    }

    pub(crate) fn set_free_blocks(&mut self, v: u32) {
        self.set_wide16(bg::FREE_BLOCKS_COUNT_LO, bg::FREE_BLOCKS_COUNT_HI, v);
    }

    pub(crate) fn set_free_inodes(&mut self, v: u32) {
        self.set_wide16(bg::FREE_INODES_COUNT_LO, bg::FREE_INODES_COUNT_HI, v);
    }

    pub(crate) fn set_used_dirs(&mut self, v: u32) {
        self.set_wide16(bg::USED_DIRS_COUNT_LO, bg::USED_DIRS_COUNT_HI, v);
    }

    pub(crate) fn set_itable_unused(&mut self, v: u32) {
        self.set_wide16(bg::ITABLE_UNUSED_LO, bg::ITABLE_UNUSED_HI, v);
    }

    pub(crate) fn set_flag(&mut self, flag: u16, on: bool) {
        let flags = u16_at(&self.raw, bg::FLAGS);
        let flags = if on { flags | flag } else { flags & !flag };
        set_u16(&mut self.raw, bg::FLAGS, flags);
        self.changed = true;
    }

    /// Whether a bitmap's crc32c agrees with the stored one (of which 32-byte descriptors keep the low half).
    pub(crate) fn bitmap_csum_agrees(&self, lo: usize, hi: usize, crc: u32) -> bool {
        let mask = if self.wide { u32::MAX } else { 0xFFFF };
        self.wide16(lo, hi) == crc & mask
    }

    pub(crate) fn set_block_bitmap_csum(&mut self, crc: u32) {
        self.set_wide16(bg::BLOCK_BITMAP_CSUM_LO, bg::BLOCK_BITMAP_CSUM_HI, crc);
    }

    pub(crate) fn set_inode_bitmap_csum(&mut self, crc: u32) {
        self.set_wide16(bg::INODE_BITMAP_CSUM_LO, bg::INODE_BITMAP_CSUM_HI, crc);
    }
}
