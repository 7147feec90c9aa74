//! The numbers of a new file system: features, sizes, superblock.

use super::super::super::{FsResult, Time};
use super::super::checksum::crc32c;
use super::super::error::{invalid, unsupported};
use super::super::format::{
    EXT4_SUPER_MAGIC, EXT4_VALID_FS, SUPERBLOCK_SIZE, compat, incompat, ino, ro_compat, sb, set_u16, set_u32,
};
use super::{BLOCK_SIZE, BLOCKS_PER_GROUP, INODE_SIZE, LOG_GROUPS_PER_FLEX};

/// Largest file system that is made, in blocks: 1 TiB. Bounds the bitmap in memory to 32 MiB.
const MAX_BLOCKS: u64 = 1 << 28;
/// A last group with less room than this beyond its metadata is left out.
const MIN_LAST_GROUP: u64 = 50;
/// Percentage of blocks that only root may use.
const RESERVED_PERCENT: u64 = 5;

/// Which features, named after the images that have them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ext4Features {
    /// Raspberry Pi OS trixie: `metadata_csum`, its seed in the superblock, `orphan_file`; neither `64bit` nor `huge_file`.
    #[default]
    Trixie,
    /// Raspberry Pi OS bookworm: as trixie without seed and orphan file.
    Bookworm,
    /// Raspberry Pi OS buster: no checksums at all.
    Buster,
    /// HypriotOS: `uninit_bg`, and an inode for every 4096 bytes.
    Hypriot,
    /// Debian 12: `64bit`, `huge_file`, `metadata_csum`.
    Debian,
}

impl Ext4Features {
    const fn bits(self) -> (u32, u32, u32) {
        let base = (
            compat::HAS_JOURNAL | compat::EXT_ATTR | compat::RESIZE_INODE | compat::DIR_INDEX,
            incompat::FILETYPE | incompat::EXTENTS | incompat::FLEX_BG,
            ro_compat::SPARSE_SUPER | ro_compat::LARGE_FILE | ro_compat::DIR_NLINK | ro_compat::EXTRA_ISIZE,
        );
        match self {
            Self::Trixie => (
                base.0 | compat::ORPHAN_FILE,
                base.1 | incompat::CSUM_SEED,
                base.2 | ro_compat::METADATA_CSUM,
            ),
            Self::Bookworm => (base.0, base.1, base.2 | ro_compat::METADATA_CSUM),
            Self::Buster => base,
            Self::Hypriot => (
                base.0,
                base.1,
                base.2 | ro_compat::HUGE_FILE | ro_compat::GDT_CSUM,
            ),
            Self::Debian => (
                base.0,
                base.1 | incompat::BIT64,
                base.2 | ro_compat::HUGE_FILE | ro_compat::METADATA_CSUM,
            ),
        }
    }

    /// Bytes of the file system for each inode.
    const fn inode_ratio(self) -> u64 {
        match self {
            Self::Hypriot => 4096,
            _ => 16384,
        }
    }
}

/// What an empty file system is to be like.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ext4Options {
    /// Features.
    pub features: Ext4Features,
    /// Volume label of up to 16 bytes; empty for none.
    pub label: String,
    /// UUID.
    pub uuid: [u8; 16],
    /// Seed of directory hashes (`s_hash_seed`).
    pub hash_seed: [u8; 16],
    /// All times of the new file system.
    pub epoch: Time,
}

pub(super) struct Geometry {
    pub(super) blocks: u64,
    pub(super) inodes_per_group: u32,
    pub(super) reserved_gdt: u32,
}

impl Geometry {
    pub(super) fn of(len: u64, features: Ext4Features) -> FsResult<Self> {
        let mut blocks = len / BLOCK_SIZE as u64;
        if blocks < 2048 {
            return invalid(b"ext4", "a file system of less than 8 MiB is not made");
        }
        if blocks > MAX_BLOCKS {
            return unsupported(format!("{blocks} blocks; up to {MAX_BLOCKS} are made"));
        }
        loop {
            let groups = blocks.div_ceil(BLOCKS_PER_GROUP);
            let inodes = blocks * BLOCK_SIZE as u64 / features.inode_ratio();
            let per_block = (BLOCK_SIZE / INODE_SIZE) as u64;
            // Whole blocks of the inode table, which are whole bytes of the bitmap too.
            let inodes_per_group = inodes
                .div_ceil(groups)
                .next_multiple_of(per_block)
                .min(BLOCKS_PER_GROUP) as u32;
            let desc_size = if features.bits().1 & incompat::BIT64 == 0 {
                32
            } else {
                64
            };
            let per_gdt_block = BLOCK_SIZE as u64 / desc_size;
            let gdt = groups.div_ceil(per_gdt_block);
            // Room to grow to 1024 times the size, as far as block numbers of 32 bits and one indirect block go.
            let largest = (blocks * 1024).min(u64::from(u32::MAX));
            let reserved_gdt = largest
                .div_ceil(BLOCKS_PER_GROUP)
                .div_ceil(per_gdt_block)
                .saturating_sub(gdt)
                .min(BLOCK_SIZE as u64 / 4);
            let rest = blocks % BLOCKS_PER_GROUP;
            let metadata = 3 + gdt + reserved_gdt + u64::from(inodes_per_group).div_ceil(per_block);
            if rest != 0 && groups > 1 && rest < metadata + MIN_LAST_GROUP {
                blocks -= rest;
                continue;
            }
            return Ok(Self {
                blocks,
                inodes_per_group,
                reserved_gdt: reserved_gdt as u32,
            });
        }
    }
}

/// Blocks of the journal for a file system of `blocks`, as mke2fs chooses.
pub(super) const fn journal_blocks(blocks: u64) -> u64 {
    match blocks {
        0..32_768 => 1024,
        32_768..262_144 => 4096,
        262_144..524_288 => 8192,
        524_288..4_194_304 => 16_384,
        4_194_304..8_388_608 => 32_768,
        8_388_608..16_777_216 => 65_536,
        _ => 262_144,
    }
}

/// Blocks of the orphan file for a file system of `blocks`, as mke2fs chooses.
pub(super) const fn orphan_blocks(blocks: u64) -> u64 {
    match blocks {
        0..131_072 => 32,
        131_072..2_097_152 => blocks / 4096,
        _ => 512,
    }
}

/// The superblock before anything is allocated.
pub(super) fn superblock(geometry: &Geometry, options: &Ext4Options) -> Vec<u8> {
    let mut raw = vec![0; SUPERBLOCK_SIZE];
    let groups = geometry.blocks.div_ceil(BLOCKS_PER_GROUP) as u32;
    let (compat, incompat, ro_compat) = options.features.bits();
    // Times of the superblock have 32 bits; the kernel adds eight more elsewhere, which mke2fs leaves zero.
    let epoch = options.epoch.secs.clamp(0, i64::from(u32::MAX)) as u32;
    let reserved = geometry.blocks * RESERVED_PERCENT / 100;
    for (at, value) in [
        (sb::INODES_COUNT, groups * geometry.inodes_per_group),
        (sb::BLOCKS_COUNT_LO, geometry.blocks as u32),
        (sb::R_BLOCKS_COUNT_LO, reserved as u32),
        (sb::LOG_BLOCK_SIZE, 2),
        (sb::LOG_CLUSTER_SIZE, 2),
        (sb::BLOCKS_PER_GROUP, BLOCKS_PER_GROUP as u32),
        (sb::CLUSTERS_PER_GROUP, BLOCKS_PER_GROUP as u32),
        (sb::INODES_PER_GROUP, geometry.inodes_per_group),
        (sb::WTIME, epoch),
        (sb::LASTCHECK, epoch),
        (sb::MKFS_TIME, epoch),
        (sb::REV_LEVEL, 1),
        (sb::FIRST_INO, 11),
        (sb::FEATURE_COMPAT, compat),
        (sb::FEATURE_INCOMPAT, incompat),
        (sb::FEATURE_RO_COMPAT, ro_compat),
        (sb::JOURNAL_INUM, ino::JOURNAL),
        // user_xattr and acl.
        (sb::DEFAULT_MOUNT_OPTS, 0x0C),
        // Signed characters, as mke2fs sets on x86: no flag of the host may decide.
        (sb::FLAGS, 1),
    ] {
        set_u32(&mut raw, at, value);
    }
    for (at, value) in [
        (sb::MAGIC, EXT4_SUPER_MAGIC),
        (sb::STATE, EXT4_VALID_FS),
        // No limit of mounts; continue on errors.
        (sb::MAX_MNT_COUNT, u16::MAX),
        (sb::ERRORS, 1),
        (sb::INODE_SIZE, INODE_SIZE as u16),
        (sb::RESERVED_GDT_BLOCKS, geometry.reserved_gdt as u16),
        (sb::MIN_EXTRA_ISIZE, ino::DEFAULT_EXTRA),
        (sb::WANT_EXTRA_ISIZE, ino::DEFAULT_EXTRA),
    ] {
        set_u16(&mut raw, at, value);
    }
    if incompat & incompat::BIT64 != 0 {
        set_u16(&mut raw, sb::DESC_SIZE, 64);
    }
    raw[sb::UUID..sb::UUID + 16].copy_from_slice(&options.uuid);
    raw[sb::HASH_SEED..sb::HASH_SEED + 16].copy_from_slice(&options.hash_seed);
    let label = options.label.as_bytes();
    raw[sb::VOLUME_NAME..sb::VOLUME_NAME + label.len()].copy_from_slice(label);
    // Half MD4.
    raw[sb::DEF_HASH_VERSION] = 1;
    // The journal's map is kept in `s_jnl_blocks`.
    raw[sb::JNL_BACKUP_TYPE] = 1;
    raw[sb::LOG_GROUPS_PER_FLEX] = LOG_GROUPS_PER_FLEX;
    if ro_compat & ro_compat::METADATA_CSUM != 0 {
        raw[sb::CHECKSUM_TYPE] = 1;
        if incompat & incompat::CSUM_SEED != 0 {
            set_u32(&mut raw, sb::CHECKSUM_SEED, crc32c(!0, &options.uuid));
        }
        let crc = crc32c(!0, &raw[..sb::CHECKSUM]);
        set_u32(&mut raw, sb::CHECKSUM, crc);
    }
    raw
}
