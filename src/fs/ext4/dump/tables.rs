//! The structures of ext4 as tables of fields.
//!
//! Names, offsets and meanings after the kernel's `Documentation/filesystems/ext4` (super.rst, group_descr.rst,
//! inodes.rst, ifork.rst, directory.rst, attributes.rst, journal.rst, orphan.rst).

use super::super::format::{bg, compat, incompat, ino, ro_compat, sb};
use super::super::journal::superblock as journal;
use crate::disk::dump::Show::{Bits, Bytes, Choice, Dec, Flags, Hex, Text, Time, Uuid};
use crate::disk::dump::{Field, Layout, Show};

const fn f(at: usize, len: usize, name: &'static str, show: Show, meaning: &'static str) -> Field {
    Field::new(at, len, name, show, meaning)
}

const STATES: Show = Flags(&[
    (1, "unmounted cleanly"),
    (2, "errors detected"),
    (4, "orphans being recovered"),
    (0x20, "fast commits to replay"),
]);
const ERRORS: Show = Choice(&[(1, "continue"), (2, "remount read-only"), (3, "panic")]);
const SYSTEMS: Show = Choice(&[
    (0, "Linux"),
    (1, "Hurd"),
    (2, "Masix"),
    (3, "FreeBSD"),
    (4, "Lites"),
]);
pub(super) const HASHES: Show = Choice(&[
    (0, "legacy"),
    (1, "half MD4"),
    (2, "TEA"),
    (3, "legacy, unsigned"),
    (4, "half MD4, unsigned"),
    (5, "TEA, unsigned"),
    (6, "SipHash"),
]);
const MOUNT_OPTIONS: Show = Flags(&[
    (0x1, "debug"),
    (0x2, "bsdgroups"),
    (0x4, "user_xattr"),
    (0x8, "acl"),
    (0x10, "uid16"),
    (0x60, "journal_data_writeback"),
    (0x20, "journal_data"),
    (0x40, "journal_data_ordered"),
    (0x100, "nobarrier"),
    (0x200, "block_validity"),
    (0x400, "discard"),
    (0x800, "nodelalloc"),
]);
const SUPER_FLAGS: Show = Flags(&[
    (1, "signed directory hash"),
    (2, "unsigned directory hash"),
    (4, "test file system"),
]);

/// `struct ext4_super_block`.
pub(super) const SUPERBLOCK: Layout = Layout::little(&[
    f(sb::INODES_COUNT, 4, "s_inodes_count", Dec, "inodes"),
    f(
        sb::BLOCKS_COUNT_LO,
        4,
        "s_blocks_count_lo",
        Dec,
        "blocks, low half",
    ),
    f(
        sb::R_BLOCKS_COUNT_LO,
        4,
        "s_r_blocks_count_lo",
        Dec,
        "blocks for root alone, low half",
    ),
    f(
        sb::FREE_BLOCKS_COUNT_LO,
        4,
        "s_free_blocks_count_lo",
        Dec,
        "free blocks, low half",
    ),
    f(
        sb::FREE_INODES_COUNT,
        4,
        "s_free_inodes_count",
        Dec,
        "free inodes",
    ),
    f(
        sb::FIRST_DATA_BLOCK,
        4,
        "s_first_data_block",
        Dec,
        "first block of group 0",
    ),
    f(
        sb::LOG_BLOCK_SIZE,
        4,
        "s_log_block_size",
        Dec,
        "block size is 1024 << this",
    ),
    f(
        sb::LOG_CLUSTER_SIZE,
        4,
        "s_log_cluster_size",
        Dec,
        "cluster size is 1024 << this",
    ),
    f(sb::BLOCKS_PER_GROUP, 4, "s_blocks_per_group", Dec, ""),
    f(sb::CLUSTERS_PER_GROUP, 4, "s_clusters_per_group", Dec, ""),
    f(sb::INODES_PER_GROUP, 4, "s_inodes_per_group", Dec, ""),
    f(0x2C, 4, "s_mtime", Time, "last mount"),
    f(sb::WTIME, 4, "s_wtime", Time, "last write"),
    f(0x34, 2, "s_mnt_count", Dec, "mounts since the last check"),
    f(
        sb::MAX_MNT_COUNT,
        2,
        "s_max_mnt_count",
        Dec,
        "mounts until a check; 65535 is never",
    ),
    f(sb::MAGIC, 2, "s_magic", Hex, "0xef53 is right"),
    f(sb::STATE, 2, "s_state", STATES, ""),
    f(sb::ERRORS, 2, "s_errors", ERRORS, ""),
    f(0x3E, 2, "s_minor_rev_level", Dec, ""),
    f(sb::LASTCHECK, 4, "s_lastcheck", Time, "last check"),
    f(
        0x44,
        4,
        "s_checkinterval",
        Dec,
        "seconds until a check; 0 is never",
    ),
    f(sb::CREATOR_OS, 4, "s_creator_os", SYSTEMS, ""),
    f(
        sb::REV_LEVEL,
        4,
        "s_rev_level",
        Choice(&[(0, "original"), (1, "dynamic inode sizes")]),
        "",
    ),
    f(0x50, 2, "s_def_resuid", Dec, "user of the blocks for root alone"),
    f(0x52, 2, "s_def_resgid", Dec, "group of the blocks for root alone"),
    f(
        sb::FIRST_INO,
        4,
        "s_first_ino",
        Dec,
        "first inode that is not reserved",
    ),
    f(sb::INODE_SIZE, 2, "s_inode_size", Dec, "bytes"),
    f(
        sb::BLOCK_GROUP_NR,
        2,
        "s_block_group_nr",
        Dec,
        "group of this copy",
    ),
    f(
        sb::FEATURE_COMPAT,
        4,
        "s_feature_compat",
        Bits(&compat::NAMES),
        "",
    ),
    f(
        sb::FEATURE_INCOMPAT,
        4,
        "s_feature_incompat",
        Bits(&incompat::NAMES),
        "",
    ),
    f(
        sb::FEATURE_RO_COMPAT,
        4,
        "s_feature_ro_compat",
        Bits(&ro_compat::NAMES),
        "",
    ),
    f(sb::UUID, 16, "s_uuid", Uuid, ""),
    f(sb::VOLUME_NAME, 16, "s_volume_name", Text, ""),
    f(0x88, 64, "s_last_mounted", Text, "where it was mounted last"),
    f(0xC8, 4, "s_algorithm_usage_bitmap", Hex, ""),
    f(0xCC, 1, "s_prealloc_blocks", Dec, ""),
    f(0xCD, 1, "s_prealloc_dir_blocks", Dec, ""),
    f(
        sb::RESERVED_GDT_BLOCKS,
        2,
        "s_reserved_gdt_blocks",
        Dec,
        "blocks kept for more descriptors",
    ),
    f(0xD0, 16, "s_journal_uuid", Uuid, ""),
    f(sb::JOURNAL_INUM, 4, "s_journal_inum", Dec, "inode of the journal"),
    f(sb::JOURNAL_DEV, 4, "s_journal_dev", Hex, ""),
    f(
        sb::LAST_ORPHAN,
        4,
        "s_last_orphan",
        Dec,
        "head of the list of orphan inodes",
    ),
    f(sb::HASH_SEED, 16, "s_hash_seed", Uuid, ""),
    f(sb::DEF_HASH_VERSION, 1, "s_def_hash_version", HASHES, ""),
    f(
        sb::JNL_BACKUP_TYPE,
        1,
        "s_jnl_backup_type",
        Dec,
        "1: s_jnl_blocks is a copy of the journal's map",
    ),
    f(
        sb::DESC_SIZE,
        2,
        "s_desc_size",
        Dec,
        "bytes of a descriptor with 64bit",
    ),
    f(
        sb::DEFAULT_MOUNT_OPTS,
        4,
        "s_default_mount_opts",
        MOUNT_OPTIONS,
        "",
    ),
    f(0x104, 4, "s_first_meta_bg", Dec, ""),
    f(sb::MKFS_TIME, 4, "s_mkfs_time", Time, ""),
    f(
        sb::JNL_BLOCKS,
        60,
        "s_jnl_blocks[0..15]",
        Bytes,
        "i_block of the journal",
    ),
    f(
        sb::JNL_BLOCKS + 60,
        4,
        "s_jnl_blocks[15]",
        Dec,
        "i_size_high of the journal",
    ),
    f(
        sb::JNL_BLOCKS + 64,
        4,
        "s_jnl_blocks[16]",
        Dec,
        "i_size_lo of the journal",
    ),
    f(sb::BLOCKS_COUNT_HI, 4, "s_blocks_count_hi", Dec, ""),
    f(sb::R_BLOCKS_COUNT_HI, 4, "s_r_blocks_count_hi", Dec, ""),
    f(sb::FREE_BLOCKS_COUNT_HI, 4, "s_free_blocks_count_hi", Dec, ""),
    f(sb::MIN_EXTRA_ISIZE, 2, "s_min_extra_isize", Dec, ""),
    f(sb::WANT_EXTRA_ISIZE, 2, "s_want_extra_isize", Dec, ""),
    f(sb::FLAGS, 4, "s_flags", SUPER_FLAGS, ""),
    f(0x164, 2, "s_raid_stride", Dec, ""),
    f(0x166, 2, "s_mmp_interval", Dec, ""),
    f(0x168, 8, "s_mmp_block", Dec, ""),
    f(0x170, 4, "s_raid_stripe_width", Dec, ""),
    f(
        sb::LOG_GROUPS_PER_FLEX,
        1,
        "s_log_groups_per_flex",
        Dec,
        "groups of a flexible group are 1 << this",
    ),
    f(
        sb::CHECKSUM_TYPE,
        1,
        "s_checksum_type",
        Choice(&[(0, "none"), (1, "crc32c")]),
        "",
    ),
    f(0x176, 1, "s_encryption_level", Dec, ""),
    f(0x177, 1, "s_reserved_pad", Dec, ""),
    f(0x178, 8, "s_kbytes_written", Dec, "KiB written in its life"),
    f(0x180, 4, "s_snapshot_inum", Dec, ""),
    f(0x184, 4, "s_snapshot_id", Dec, ""),
    f(0x188, 8, "s_snapshot_r_blocks_count", Dec, ""),
    f(0x190, 4, "s_snapshot_list", Dec, ""),
    f(0x194, 4, "s_error_count", Dec, ""),
    f(0x198, 4, "s_first_error_time", Time, ""),
    f(0x19C, 4, "s_first_error_ino", Dec, ""),
    f(0x1A0, 8, "s_first_error_block", Dec, ""),
    f(0x1A8, 32, "s_first_error_func", Text, ""),
    f(0x1C8, 4, "s_first_error_line", Dec, ""),
    f(0x1CC, 4, "s_last_error_time", Time, ""),
    f(0x1D0, 4, "s_last_error_ino", Dec, ""),
    f(0x1D4, 4, "s_last_error_line", Dec, ""),
    f(0x1D8, 8, "s_last_error_block", Dec, ""),
    f(0x1E0, 32, "s_last_error_func", Text, ""),
    f(0x200, 64, "s_mount_opts", Text, ""),
    f(0x240, 4, "s_usr_quota_inum", Dec, ""),
    f(0x244, 4, "s_grp_quota_inum", Dec, ""),
    f(
        sb::OVERHEAD_CLUSTERS,
        4,
        "s_overhead_blocks",
        Dec,
        "blocks of metadata",
    ),
    f(0x24C, 4, "s_backup_bgs[0]", Dec, ""),
    f(0x250, 4, "s_backup_bgs[1]", Dec, ""),
    f(0x254, 4, "s_encrypt_algos", Bytes, ""),
    f(0x258, 16, "s_encrypt_pw_salt", Bytes, ""),
    f(0x268, 4, "s_lpf_ino", Dec, "inode of lost+found"),
    f(0x26C, 4, "s_prj_quota_inum", Dec, ""),
    f(sb::CHECKSUM_SEED, 4, "s_checksum_seed", Hex, ""),
    f(0x274, 1, "s_wtime_hi", Dec, ""),
    f(0x275, 1, "s_mtime_hi", Dec, ""),
    f(0x276, 1, "s_mkfs_time_hi", Dec, ""),
    f(0x277, 1, "s_lastcheck_hi", Dec, ""),
    f(0x278, 1, "s_first_error_time_hi", Dec, ""),
    f(0x279, 1, "s_last_error_time_hi", Dec, ""),
    f(0x27A, 1, "s_first_error_errcode", Dec, ""),
    f(0x27B, 1, "s_last_error_errcode", Dec, ""),
    f(0x27C, 2, "s_encoding", Dec, ""),
    f(0x27E, 2, "s_encoding_flags", Hex, ""),
    f(
        sb::ORPHAN_FILE_INUM,
        4,
        "s_orphan_file_inum",
        Dec,
        "inode of the orphan file",
    ),
    f(sb::CHECKSUM, 4, "s_checksum", Hex, ""),
]);

const GROUP_FLAGS: Show = Flags(&[
    (bg::INODE_UNINIT as u64, "INODE_UNINIT"),
    (bg::BLOCK_UNINIT as u64, "BLOCK_UNINIT"),
    (bg::INODE_ZEROED as u64, "INODE_ZEROED"),
]);

/// `struct ext4_group_desc`; descriptors of 32 bytes end behind `bg_checksum`.
pub(super) const DESCRIPTOR: Layout = Layout::little(&[
    f(bg::BLOCK_BITMAP_LO, 4, "bg_block_bitmap_lo", Dec, "block"),
    f(bg::INODE_BITMAP_LO, 4, "bg_inode_bitmap_lo", Dec, "block"),
    f(bg::INODE_TABLE_LO, 4, "bg_inode_table_lo", Dec, "block"),
    f(bg::FREE_BLOCKS_COUNT_LO, 2, "bg_free_blocks_count_lo", Dec, ""),
    f(bg::FREE_INODES_COUNT_LO, 2, "bg_free_inodes_count_lo", Dec, ""),
    f(bg::USED_DIRS_COUNT_LO, 2, "bg_used_dirs_count_lo", Dec, ""),
    f(bg::FLAGS, 2, "bg_flags", GROUP_FLAGS, ""),
    f(0x14, 4, "bg_exclude_bitmap_lo", Dec, ""),
    f(bg::BLOCK_BITMAP_CSUM_LO, 2, "bg_block_bitmap_csum_lo", Hex, ""),
    f(bg::INODE_BITMAP_CSUM_LO, 2, "bg_inode_bitmap_csum_lo", Hex, ""),
    f(
        bg::ITABLE_UNUSED_LO,
        2,
        "bg_itable_unused_lo",
        Dec,
        "inodes at the end never used",
    ),
    f(bg::CHECKSUM, 2, "bg_checksum", Hex, ""),
    f(bg::BLOCK_BITMAP_HI, 4, "bg_block_bitmap_hi", Dec, ""),
    f(bg::INODE_BITMAP_HI, 4, "bg_inode_bitmap_hi", Dec, ""),
    f(bg::INODE_TABLE_HI, 4, "bg_inode_table_hi", Dec, ""),
    f(bg::FREE_BLOCKS_COUNT_HI, 2, "bg_free_blocks_count_hi", Dec, ""),
    f(bg::FREE_INODES_COUNT_HI, 2, "bg_free_inodes_count_hi", Dec, ""),
    f(bg::USED_DIRS_COUNT_HI, 2, "bg_used_dirs_count_hi", Dec, ""),
    f(bg::ITABLE_UNUSED_HI, 2, "bg_itable_unused_hi", Dec, ""),
    f(0x34, 4, "bg_exclude_bitmap_hi", Dec, ""),
    f(bg::BLOCK_BITMAP_CSUM_HI, 2, "bg_block_bitmap_csum_hi", Hex, ""),
    f(bg::INODE_BITMAP_CSUM_HI, 2, "bg_inode_bitmap_csum_hi", Hex, ""),
    f(0x3C, 4, "bg_reserved", Dec, ""),
]);

const INODE_FLAGS: Show = Flags(&[
    (0x1, "SECRM"),
    (0x2, "UNRM"),
    (0x4, "COMPR"),
    (0x8, "SYNC"),
    (0x10, "IMMUTABLE"),
    (0x20, "APPEND"),
    (0x40, "NODUMP"),
    (0x80, "NOATIME"),
    (0x100, "DIRTY"),
    (0x200, "COMPRBLK"),
    (0x400, "NOCOMPR"),
    (ino::ENCRYPT_FL as u64, "ENCRYPT"),
    (ino::INDEX_FL as u64, "INDEX"),
    (0x2000, "IMAGIC"),
    (0x4000, "JOURNAL_DATA"),
    (0x8000, "NOTAIL"),
    (0x10000, "DIRSYNC"),
    (0x20000, "TOPDIR"),
    (ino::HUGE_FILE_FL as u64, "HUGE_FILE"),
    (ino::EXTENTS_FL as u64, "EXTENTS"),
    (ino::VERITY_FL as u64, "VERITY"),
    (ino::EA_INODE_FL as u64, "EA_INODE"),
    (0x200_0000, "DAX"),
    (ino::INLINE_DATA_FL as u64, "INLINE_DATA"),
    (0x2000_0000, "PROJINHERIT"),
    (0x4000_0000, "CASEFOLD"),
]);

/// `struct ext4_inode` without `i_block`; fields behind `i_extra_isize` are there as far as that says.
pub(super) const INODE: Layout = Layout::little(&[
    f(ino::MODE, 2, "i_mode", Dec, ""),
    f(ino::UID_LO, 2, "i_uid", Dec, ""),
    f(ino::SIZE_LO, 4, "i_size_lo", Dec, ""),
    f(ino::ATIME, 4, "i_atime", Time, ""),
    f(ino::CTIME, 4, "i_ctime", Time, ""),
    f(ino::MTIME, 4, "i_mtime", Time, ""),
    f(ino::DTIME, 4, "i_dtime", Time, ""),
    f(ino::GID_LO, 2, "i_gid", Dec, ""),
    f(ino::LINKS_COUNT, 2, "i_links_count", Dec, ""),
    f(ino::BLOCKS_LO, 4, "i_blocks_lo", Dec, ""),
    f(ino::FLAGS, 4, "i_flags", INODE_FLAGS, ""),
    f(0x24, 4, "l_i_version", Dec, ""),
    f(ino::GENERATION, 4, "i_generation", Dec, ""),
    f(ino::FILE_ACL_LO, 4, "i_file_acl_lo", Dec, ""),
    f(ino::SIZE_HIGH, 4, "i_size_high", Dec, ""),
    f(0x70, 4, "i_obso_faddr", Dec, ""),
    f(ino::BLOCKS_HIGH, 2, "l_i_blocks_high", Dec, ""),
    f(ino::FILE_ACL_HIGH, 2, "l_i_file_acl_high", Dec, ""),
    f(ino::UID_HIGH, 2, "l_i_uid_high", Dec, ""),
    f(ino::GID_HIGH, 2, "l_i_gid_high", Dec, ""),
    f(ino::CHECKSUM_LO, 2, "l_i_checksum_lo", Hex, ""),
    f(0x7E, 2, "l_i_reserved", Dec, ""),
    f(ino::EXTRA_ISIZE, 2, "i_extra_isize", Dec, ""),
    f(ino::CHECKSUM_HI, 2, "i_checksum_hi", Hex, ""),
    f(ino::CTIME_EXTRA, 4, "i_ctime_extra", Dec, ""),
    f(ino::MTIME_EXTRA, 4, "i_mtime_extra", Dec, ""),
    f(ino::ATIME_EXTRA, 4, "i_atime_extra", Dec, ""),
    f(ino::CRTIME, 4, "i_crtime", Time, ""),
    f(ino::CRTIME_EXTRA, 4, "i_crtime_extra", Dec, ""),
    f(0x98, 4, "i_version_hi", Dec, ""),
    f(0x9C, 4, "i_projid", Dec, ""),
]);

/// `struct ext4_extent_header`.
pub(super) const EXTENT_HEADER: Layout = Layout::little(&[
    f(0, 2, "eh_magic", Hex, ""),
    f(2, 2, "eh_entries", Dec, ""),
    f(4, 2, "eh_max", Dec, ""),
    f(6, 2, "eh_depth", Dec, ""),
    f(8, 4, "eh_generation", Dec, ""),
]);

/// `struct ext4_extent`, an entry of a leaf.
pub(super) const EXTENT: Layout = Layout::little(&[
    f(0, 4, "ee_block", Dec, ""),
    f(4, 2, "ee_len", Dec, ""),
    f(6, 2, "ee_start_hi", Dec, ""),
    f(8, 4, "ee_start_lo", Dec, ""),
]);

/// `struct ext4_extent_idx`, an entry of an inner node.
pub(super) const EXTENT_INDEX: Layout = Layout::little(&[
    f(0, 4, "ei_block", Dec, ""),
    f(4, 4, "ei_leaf_lo", Dec, ""),
    f(8, 2, "ei_leaf_hi", Dec, ""),
    f(10, 2, "ei_unused", Hex, ""),
]);

pub(super) const FILE_TYPES: Show = Choice(&[
    (0, "unknown"),
    (1, "file"),
    (2, "directory"),
    (3, "character device"),
    (4, "block device"),
    (5, "fifo"),
    (6, "socket"),
    (7, "symlink"),
    (0xDE, "tail"),
]);

/// `struct ext4_dir_entry_2` before the name.
pub(super) const DIR_ENTRY: Layout = Layout::little(&[
    f(0, 4, "inode", Dec, ""),
    f(4, 2, "rec_len", Dec, ""),
    f(6, 1, "name_len", Dec, ""),
    f(7, 1, "file_type", FILE_TYPES, ""),
]);

/// `struct ext4_dir_entry_tail`.
pub(super) const DIR_TAIL: Layout = Layout::little(&[
    f(0, 4, "det_reserved_zero1", Dec, ""),
    f(4, 2, "det_rec_len", Dec, ""),
    f(6, 1, "det_reserved_zero2", Dec, ""),
    f(7, 1, "det_reserved_ft", Hex, ""),
    f(8, 4, "det_checksum", Hex, ""),
]);

/// `struct dx_root_info`, behind the entries `.` and `..` of a root.
pub(super) const DX_ROOT_INFO: Layout = Layout::little(&[
    f(0, 4, "dx_root.info.reserved_zero", Dec, ""),
    f(4, 1, "dx_root.info.hash_version", HASHES, ""),
    f(5, 1, "dx_root.info.info_length", Dec, ""),
    f(6, 1, "dx_root.info.indirect_levels", Dec, ""),
    f(7, 1, "dx_root.info.unused_flags", Hex, ""),
]);

/// `struct dx_countlimit` and the block of the first entry, whose hash it stands in place of.
pub(super) const DX_COUNT: Layout = Layout::little(&[
    f(0, 2, "limit", Dec, ""),
    f(2, 2, "count", Dec, ""),
    f(4, 4, "block", Dec, ""),
]);

/// `struct dx_entry`.
pub(super) const DX_ENTRY: Layout = Layout::little(&[f(0, 4, "hash", Hex, ""), f(4, 4, "block", Dec, "")]);

/// `struct dx_tail`.
pub(super) const DX_TAIL: Layout =
    Layout::little(&[f(0, 4, "dt_reserved", Hex, ""), f(4, 4, "dt_checksum", Hex, "")]);

/// `struct ext4_xattr_header`.
pub(super) const XATTR_HEADER: Layout = Layout::little(&[
    f(0, 4, "h_magic", Hex, ""),
    f(4, 4, "h_refcount", Dec, ""),
    f(8, 4, "h_blocks", Dec, ""),
    f(12, 4, "h_hash", Hex, ""),
    f(16, 4, "h_checksum", Hex, ""),
    f(20, 12, "h_reserved", Bytes, ""),
]);

/// `struct ext4_xattr_ibody_header`.
pub(super) const XATTR_IBODY: Layout = Layout::little(&[f(0, 4, "h_magic", Hex, "")]);

/// `struct ext4_xattr_entry` before the name.
pub(super) const XATTR_ENTRY: Layout = Layout::little(&[
    f(0, 1, "e_name_len", Dec, ""),
    f(1, 1, "e_name_index", Dec, ""),
    f(2, 2, "e_value_offs", Dec, ""),
    f(4, 4, "e_value_inum", Dec, ""),
    f(8, 4, "e_value_size", Dec, ""),
    f(12, 4, "e_hash", Hex, ""),
]);

/// `struct ext4_orphan_block_tail`.
pub(super) const ORPHAN_TAIL: Layout =
    Layout::little(&[f(0, 4, "ob_magic", Hex, ""), f(4, 4, "ob_checksum", Hex, "")]);

/// `struct journal_superblock_s`.
pub(super) const JOURNAL: Layout = Layout::big(&[
    f(0x00, 4, "h_magic", Hex, ""),
    f(
        0x04,
        4,
        "h_blocktype",
        Choice(&[(3, "superblock, version 1"), (4, "superblock, version 2")]),
        "",
    ),
    f(0x08, 4, "h_sequence", Dec, ""),
    f(0x0C, 4, "s_blocksize", Dec, "bytes"),
    f(0x10, 4, "s_maxlen", Dec, "blocks of the journal"),
    f(0x14, 4, "s_first", Dec, "first block of the log"),
    f(
        0x18,
        4,
        "s_sequence",
        Dec,
        "first transaction expected in the log",
    ),
    f(
        0x1C,
        4,
        "s_start",
        Dec,
        "block where the log begins; 0 is nothing to replay",
    ),
    f(0x20, 4, "s_errno", Dec, ""),
    f(0x24, 4, "s_feature_compat", Bits(&["checksum"]), ""),
    f(
        journal::FEATURE_INCOMPAT,
        4,
        "s_feature_incompat",
        Bits(&[
            "revoke",
            "64bit",
            "async_commit",
            "csum_v2",
            "csum_v3",
            "fast_commit",
        ]),
        "",
    ),
    f(0x2C, 4, "s_feature_ro_compat", Hex, ""),
    f(0x30, 16, "s_uuid", Uuid, ""),
    f(0x40, 4, "s_nr_users", Dec, ""),
    f(0x44, 4, "s_dynsuper", Dec, ""),
    f(0x48, 4, "s_max_transaction", Dec, ""),
    f(0x4C, 4, "s_max_trans_data", Dec, ""),
    f(
        0x50,
        1,
        "s_checksum_type",
        Choice(&[(0, "none"), (1, "crc32"), (4, "crc32c")]),
        "",
    ),
    f(0x51, 3, "s_padding2", Bytes, ""),
    f(0x54, 4, "s_num_fc_blocks", Dec, "blocks for fast commits"),
    f(0x58, 4, "s_head", Dec, ""),
    f(0x5C, 160, "s_padding", Bytes, ""),
    f(journal::CHECKSUM, 4, "s_checksum", Hex, ""),
    f(0x100, 768, "s_users", Bytes, ""),
]);
