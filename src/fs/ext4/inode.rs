//! Inodes: fields, times, checksum.

use super::super::{FsError, FsResult, NodeKind, Time};
use super::checksum::crc32c;
use super::error::damaged;
use super::format::{ino, set_u16, set_u32, u16_at, u32_at};
use super::superblock::Superblock;

/// One inode as its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Inode {
    /// `i_inode_size` bytes.
    pub(crate) raw: Vec<u8>,
}

/// One of an inode's times: place of the seconds and of the extra bits.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Stamp {
    Access,
    Change,
    Modify,
    Create,
}

impl Stamp {
    fn places(self) -> (usize, usize) {
        match self {
            Self::Access => (ino::ATIME, ino::ATIME_EXTRA),
            Self::Change => (ino::CTIME, ino::CTIME_EXTRA),
            Self::Modify => (ino::MTIME, ino::MTIME_EXTRA),
            Self::Create => (ino::CRTIME, ino::CRTIME_EXTRA),
        }
    }
}

impl Inode {
    /// A fresh inode of this file system: all zeroes but `i_extra_isize`.
    pub(crate) fn empty(s: &Superblock) -> Self {
        let mut raw = vec![0; s.inode_size];
        if s.inode_size > ino::GOOD_OLD_SIZE {
            let room = (s.inode_size - ino::GOOD_OLD_SIZE) as u16;
            let want = s.u16(super::format::sb::WANT_EXTRA_ISIZE);
            let extra = if want >= 4 && want <= room && want.is_multiple_of(4) {
                want
            } else {
                ino::DEFAULT_EXTRA.min(room)
            };
            set_u16(&mut raw, ino::EXTRA_ISIZE, extra);
        }
        Self { raw }
    }

    /// Checks `i_extra_isize` and, with `metadata_csum`, the checksum.
    pub(crate) fn parse(raw: &[u8], number: u32, s: &Superblock) -> FsResult<Self> {
        let inode = Self { raw: raw.to_vec() };
        let extra = inode.extra_isize();
        if ino::GOOD_OLD_SIZE + extra > inode.raw.len() || !extra.is_multiple_of(4) {
            return damaged(format!("inode {number} has an extra size of {extra}"));
        }
        if s.has_metadata_csum() {
            let found = inode.checksum(number, s);
            let stored = u32::from(u16_at(&inode.raw, ino::CHECKSUM_LO));
            let (found, stored) = if inode.has_field(ino::CHECKSUM_HI, 2) {
                let hi = u32::from(u16_at(&inode.raw, ino::CHECKSUM_HI));
                (found, stored | hi << 16)
            } else {
                (found & 0xFFFF, stored)
            };
            if found != stored {
                return damaged(format!(
                    "inode {number} checksum is {found:#010x}, stored is {stored:#010x}"
                ));
            }
        }
        Ok(inode)
    }

    /// The bytes to write, with a fresh checksum.
    pub(crate) fn to_bytes(&self, number: u32, s: &Superblock) -> Vec<u8> {
        let mut raw = self.raw.clone();
        if s.has_metadata_csum() {
            let crc = self.checksum(number, s);
            set_u16(&mut raw, ino::CHECKSUM_LO, crc as u16);
            if self.has_field(ino::CHECKSUM_HI, 2) {
                set_u16(&mut raw, ino::CHECKSUM_HI, (crc >> 16) as u16);
            }
        }
        raw
    }

    /// What the two halves of the checksum should be together.
    pub(crate) fn checksum(&self, number: u32, s: &Superblock) -> u32 {
        let mut raw = self.raw.clone();
        set_u16(&mut raw, ino::CHECKSUM_LO, 0);
        if self.has_field(ino::CHECKSUM_HI, 2) {
            set_u16(&mut raw, ino::CHECKSUM_HI, 0);
        }
        crc32c(self.seed(number, s), &raw)
    }

    /// Start value for the checksums of blocks that belong to this inode.
    pub(crate) fn seed(&self, number: u32, s: &Superblock) -> u32 {
        let crc = crc32c(s.checksum_seed, &number.to_le_bytes());
        crc32c(crc, &self.raw[ino::GENERATION..ino::GENERATION + 4])
    }

    /// `i_extra_isize`, 0 where inodes have 128 bytes.
    pub(crate) fn extra_isize(&self) -> usize {
        if self.raw.len() > ino::GOOD_OLD_SIZE {
            usize::from(u16_at(&self.raw, ino::EXTRA_ISIZE))
        } else {
            0
        }
    }

    /// Whether the inode has this field: `i_extra_isize` ends behind it.
    pub(crate) fn has_field(&self, at: usize, len: usize) -> bool {
        at + len <= ino::GOOD_OLD_SIZE + self.extra_isize()
    }

    pub(crate) fn u32(&self, at: usize) -> u32 {
        u32_at(&self.raw, at)
    }

    pub(crate) fn set_u32(&mut self, at: usize, v: u32) {
        set_u32(&mut self.raw, at, v);
    }

    /// Type and permissions.
    pub(crate) fn mode(&self) -> u16 {
        u16_at(&self.raw, ino::MODE)
    }

    pub(crate) fn set_mode(&mut self, mode: u16) {
        set_u16(&mut self.raw, ino::MODE, mode);
    }

    pub(crate) fn kind(&self) -> Option<NodeKind> {
        Some(match self.mode() & ino::S_IFMT {
            ino::S_IFREG => NodeKind::File,
            ino::S_IFDIR => NodeKind::Dir,
            ino::S_IFLNK => NodeKind::Symlink,
            ino::S_IFCHR => NodeKind::CharDevice,
            ino::S_IFBLK => NodeKind::BlockDevice,
            ino::S_IFIFO => NodeKind::Fifo,
            ino::S_IFSOCK => NodeKind::Socket,
            _ => return None,
        })
    }

    pub(crate) fn uid(&self) -> u32 {
        u32::from(u16_at(&self.raw, ino::UID_LO)) | u32::from(u16_at(&self.raw, ino::UID_HIGH)) << 16
    }

    pub(crate) fn gid(&self) -> u32 {
        u32::from(u16_at(&self.raw, ino::GID_LO)) | u32::from(u16_at(&self.raw, ino::GID_HIGH)) << 16
    }

    pub(crate) fn set_owner(&mut self, uid: u32, gid: u32) {
        set_u16(&mut self.raw, ino::UID_LO, uid as u16);
        set_u16(&mut self.raw, ino::UID_HIGH, (uid >> 16) as u16);
        set_u16(&mut self.raw, ino::GID_LO, gid as u16);
        set_u16(&mut self.raw, ino::GID_HIGH, (gid >> 16) as u16);
    }

    pub(crate) fn size(&self) -> u64 {
        super::format::join(self.u32(ino::SIZE_LO), self.u32(ino::SIZE_HIGH))
    }

    pub(crate) fn set_size(&mut self, size: u64) {
        self.set_u32(ino::SIZE_LO, size as u32);
        self.set_u32(ino::SIZE_HIGH, (size >> 32) as u32);
    }

    pub(crate) fn links(&self) -> u32 {
        u32::from(u16_at(&self.raw, ino::LINKS_COUNT))
    }

    pub(crate) fn set_links(&mut self, links: u32) {
        set_u16(&mut self.raw, ino::LINKS_COUNT, links as u16);
    }

    pub(crate) fn flags(&self) -> u32 {
        self.u32(ino::FLAGS)
    }

    pub(crate) fn has_flag(&self, flag: u32) -> bool {
        self.flags() & flag != 0
    }

    pub(crate) fn set_flag(&mut self, flag: u32, on: bool) {
        let flags = self.flags();
        self.set_u32(ino::FLAGS, if on { flags | flag } else { flags & !flag });
    }

    /// `i_block`: an extent tree, a block map, a short symlink or a device number.
    pub(crate) fn block(&self) -> &[u8] {
        &self.raw[ino::BLOCK..ino::BLOCK + ino::BLOCK_LEN]
    }

    pub(crate) fn block_mut(&mut self) -> &mut [u8] {
        &mut self.raw[ino::BLOCK..ino::BLOCK + ino::BLOCK_LEN]
    }

    /// `i_file_acl`: the block of extended attributes, 0 for none.
    pub(crate) fn file_acl(&self) -> u64 {
        let hi = u32::from(u16_at(&self.raw, ino::FILE_ACL_HIGH));
        super::format::join(self.u32(ino::FILE_ACL_LO), hi)
    }

    pub(crate) fn set_file_acl(&mut self, block: u64) {
        self.set_u32(ino::FILE_ACL_LO, block as u32);
        set_u16(&mut self.raw, ino::FILE_ACL_HIGH, (block >> 32) as u16);
    }

    /// `i_blocks` in blocks of the file system, rounded down.
    pub(crate) fn blocks(&self, block_size: usize) -> u64 {
        self.sectors(block_size) / (block_size as u64 / 512)
    }

    /// `i_blocks` in units of 512 bytes.
    pub(crate) fn sectors(&self, block_size: usize) -> u64 {
        let hi = u32::from(u16_at(&self.raw, ino::BLOCKS_HIGH));
        let count = super::format::join(self.u32(ino::BLOCKS_LO), hi);
        if self.has_flag(ino::HUGE_FILE_FL) {
            // 48 bits times 8.
            count * (block_size as u64 / 512)
        } else {
            count
        }
    }

    /// Sets `i_blocks` from a number of blocks. `None` when it cannot be stored.
    pub(crate) fn set_blocks(&mut self, blocks: u64, s: &Superblock) -> Option<()> {
        let sectors = blocks.checked_mul(s.block_size as u64 / 512)?;
        let huge = s.has_ro_compat(super::format::ro_compat::HUGE_FILE);
        self.set_flag(ino::HUGE_FILE_FL, false);
        if sectors >> 32 != 0 && (!huge || sectors >> 48 != 0) {
            return None;
        }
        self.set_u32(ino::BLOCKS_LO, sectors as u32);
        set_u16(&mut self.raw, ino::BLOCKS_HIGH, (sectors >> 32) as u16);
        Some(())
    }

    pub(crate) fn time(&self, stamp: Stamp) -> Time {
        let (at, extra_at) = stamp.places();
        if !self.has_field(at, 4) {
            return Time::default();
        }
        let secs = i64::from(self.u32(at) as i32);
        if !self.has_field(extra_at, 4) {
            return Time { secs, nanos: 0 };
        }
        let extra = self.u32(extra_at);
        Time {
            secs: secs + (i64::from(extra & 3) << 32),
            nanos: extra >> 2,
        }
    }

    /// Stores a time. One that the inode cannot hold is an error for `path`.
    pub(crate) fn set_time(&mut self, stamp: Stamp, time: Time, path: &[u8]) -> FsResult<()> {
        let (at, extra_at) = stamp.places();
        if !self.has_field(at, 4) {
            return Ok(());
        }
        let low = time.secs as i32;
        let epoch = (time.secs - i64::from(low)) >> 32;
        let wide = self.has_field(extra_at, 4);
        let last = if wide { 3 } else { 0 };
        if !(0..=last).contains(&epoch) || time.nanos > 999_999_999 {
            return Err(FsError::Invalid {
                path: super::super::show(path),
                why: format!(
                    "time {} cannot be stored in inodes of {} bytes",
                    time.secs,
                    self.raw.len()
                ),
            });
        }
        self.set_u32(at, low as u32);
        if wide {
            self.set_u32(extra_at, epoch as u32 | time.nanos << 2);
        }
        Ok(())
    }

    /// Major and minor number of a device node.
    pub(crate) fn rdev(&self) -> (u32, u32) {
        match self.kind() {
            Some(NodeKind::CharDevice | NodeKind::BlockDevice) => {
                let old = u32_at(self.block(), 0);
                if old != 0 {
                    (old >> 8 & 0xFF, old & 0xFF)
                } else {
                    let new = u32_at(self.block(), 4);
                    (new >> 8 & 0xFFF, new & 0xFF | new >> 12 & 0xF_FF00)
                }
            }
            _ => (0, 0),
        }
    }

    /// Whether a symlink's target stands in `i_block` itself.
    pub(crate) fn is_fast_symlink(&self) -> bool {
        self.kind() == Some(NodeKind::Symlink)
            && !self.has_flag(ino::EXTENTS_FL)
            && self.size() < ino::BLOCK_LEN as u64
    }

    /// Whether `i_block` maps blocks at all.
    pub(crate) fn maps_blocks(&self) -> bool {
        match self.kind() {
            Some(NodeKind::File | NodeKind::Dir) => true,
            Some(NodeKind::Symlink) => !self.is_fast_symlink(),
            _ => false,
        }
    }
}
