//! Constants and field offsets, named as in the kernel's ext4 documentation (`Documentation/filesystems/ext4`).
//! All numbers on disk are little-endian.

/// `s_magic`.
pub(crate) const EXT4_SUPER_MAGIC: u16 = 0xEF53;
/// Byte offset of the primary superblock, whatever the block size.
pub(crate) const SUPERBLOCK_OFFSET: u64 = 1024;
/// Size of a superblock.
pub(crate) const SUPERBLOCK_SIZE: usize = 1024;

/// Offsets in the superblock.
pub(crate) mod sb {
    pub(crate) const INODES_COUNT: usize = 0x00;
    pub(crate) const BLOCKS_COUNT_LO: usize = 0x04;
    pub(crate) const R_BLOCKS_COUNT_LO: usize = 0x08;
    pub(crate) const FREE_BLOCKS_COUNT_LO: usize = 0x0C;
    pub(crate) const FREE_INODES_COUNT: usize = 0x10;
    pub(crate) const FIRST_DATA_BLOCK: usize = 0x14;
    pub(crate) const LOG_BLOCK_SIZE: usize = 0x18;
    pub(crate) const LOG_CLUSTER_SIZE: usize = 0x1C;
    pub(crate) const BLOCKS_PER_GROUP: usize = 0x20;
    pub(crate) const CLUSTERS_PER_GROUP: usize = 0x24;
    pub(crate) const INODES_PER_GROUP: usize = 0x28;
    pub(crate) const WTIME: usize = 0x30;
    pub(crate) const MAX_MNT_COUNT: usize = 0x36;
    pub(crate) const MAGIC: usize = 0x38;
    pub(crate) const STATE: usize = 0x3A;
    pub(crate) const ERRORS: usize = 0x3C;
    pub(crate) const LASTCHECK: usize = 0x40;
    pub(crate) const CREATOR_OS: usize = 0x48;
    pub(crate) const REV_LEVEL: usize = 0x4C;
    pub(crate) const FIRST_INO: usize = 0x54;
    pub(crate) const INODE_SIZE: usize = 0x58;
    pub(crate) const BLOCK_GROUP_NR: usize = 0x5A;
    pub(crate) const FEATURE_COMPAT: usize = 0x5C;
    pub(crate) const FEATURE_INCOMPAT: usize = 0x60;
    pub(crate) const FEATURE_RO_COMPAT: usize = 0x64;
    pub(crate) const UUID: usize = 0x68;
    pub(crate) const VOLUME_NAME: usize = 0x78;
    pub(crate) const RESERVED_GDT_BLOCKS: usize = 0xCE;
    pub(crate) const JOURNAL_INUM: usize = 0xE0;
    pub(crate) const JOURNAL_DEV: usize = 0xE4;
    pub(crate) const LAST_ORPHAN: usize = 0xE8;
    pub(crate) const HASH_SEED: usize = 0xEC;
    pub(crate) const DEF_HASH_VERSION: usize = 0xFC;
    pub(crate) const JNL_BACKUP_TYPE: usize = 0xFD;
    pub(crate) const DESC_SIZE: usize = 0xFE;
    pub(crate) const DEFAULT_MOUNT_OPTS: usize = 0x100;
    pub(crate) const MKFS_TIME: usize = 0x108;
    /// Copy of the journal's `i_block` and size: 17 words.
    pub(crate) const JNL_BLOCKS: usize = 0x10C;
    pub(crate) const BLOCKS_COUNT_HI: usize = 0x150;
    pub(crate) const R_BLOCKS_COUNT_HI: usize = 0x154;
    pub(crate) const FREE_BLOCKS_COUNT_HI: usize = 0x158;
    pub(crate) const MIN_EXTRA_ISIZE: usize = 0x15C;
    pub(crate) const WANT_EXTRA_ISIZE: usize = 0x15E;
    pub(crate) const FLAGS: usize = 0x160;
    pub(crate) const LOG_GROUPS_PER_FLEX: usize = 0x174;
    pub(crate) const CHECKSUM_TYPE: usize = 0x175;
    pub(crate) const USR_QUOTA_INUM: usize = 0x240;
    pub(crate) const GRP_QUOTA_INUM: usize = 0x244;
    pub(crate) const OVERHEAD_CLUSTERS: usize = 0x248;
    pub(crate) const PRJ_QUOTA_INUM: usize = 0x26C;
    pub(crate) const CHECKSUM_SEED: usize = 0x270;
    pub(crate) const ORPHAN_FILE_INUM: usize = 0x280;
    pub(crate) const CHECKSUM: usize = 0x3FC;
}

/// `s_state`: unmounted cleanly.
pub(crate) const EXT4_VALID_FS: u16 = 1;
/// `s_state`: errors were detected.
pub(crate) const EXT4_ERROR_FS: u16 = 2;
/// `s_flags`: directory hashes take names as unsigned bytes.
pub(crate) const EXT2_FLAGS_UNSIGNED_HASH: u32 = 0x2;

/// `s_feature_compat`.
pub(crate) mod compat {
    pub(crate) const HAS_JOURNAL: u32 = 0x4;
    pub(crate) const EXT_ATTR: u32 = 0x8;
    pub(crate) const RESIZE_INODE: u32 = 0x10;
    pub(crate) const DIR_INDEX: u32 = 0x20;
    /// The journal may hold fast commits; once it is empty, the feature changes nothing.
    pub(crate) const FAST_COMMIT: u32 = 0x400;
    pub(crate) const ORPHAN_FILE: u32 = 0x1000;
    /// Those that this module keeps right.
    pub(crate) const KNOWN: u32 =
        HAS_JOURNAL | EXT_ATTR | RESIZE_INODE | DIR_INDEX | FAST_COMMIT | ORPHAN_FILE;
    /// Names by bit, as `dumpe2fs` prints them.
    pub(crate) const NAMES: [&str; 13] = [
        "dir_prealloc",
        "imagic_inodes",
        "has_journal",
        "ext_attr",
        "resize_inode",
        "dir_index",
        "lazy_bg",
        "",
        "snapshot_bitmap",
        "sparse_super2",
        "fast_commit",
        "stable_inodes",
        "orphan_file",
    ];
}

/// `s_feature_incompat`.
pub(crate) mod incompat {
    pub(crate) const FILETYPE: u32 = 0x2;
    pub(crate) const RECOVER: u32 = 0x4;
    pub(crate) const EXTENTS: u32 = 0x40;
    pub(crate) const BIT64: u32 = 0x80;
    pub(crate) const FLEX_BG: u32 = 0x200;
    pub(crate) const CSUM_SEED: u32 = 0x2000;
    pub(crate) const LARGEDIR: u32 = 0x4000;
    /// Those that this module keeps right.
    pub(crate) const KNOWN: u32 = FILETYPE | EXTENTS | BIT64 | FLEX_BG | CSUM_SEED | LARGEDIR;
    /// Names by bit, as `dumpe2fs` prints them.
    pub(crate) const NAMES: [&str; 18] = [
        "compression",
        "filetype",
        "needs_recovery",
        "journal_dev",
        "meta_bg",
        "",
        "extent",
        "64bit",
        "mmp",
        "flex_bg",
        "ea_inode",
        "",
        "dirdata",
        "metadata_csum_seed",
        "large_dir",
        "inline_data",
        "encrypt",
        "casefold",
    ];
}

/// `s_feature_ro_compat`.
pub(crate) mod ro_compat {
    pub(crate) const SPARSE_SUPER: u32 = 0x1;
    pub(crate) const LARGE_FILE: u32 = 0x2;
    pub(crate) const HUGE_FILE: u32 = 0x8;
    pub(crate) const GDT_CSUM: u32 = 0x10;
    pub(crate) const DIR_NLINK: u32 = 0x20;
    pub(crate) const EXTRA_ISIZE: u32 = 0x40;
    pub(crate) const METADATA_CSUM: u32 = 0x400;
    pub(crate) const ORPHAN_PRESENT: u32 = 0x10000;
    /// Those that this module keeps right.
    pub(crate) const KNOWN: u32 =
        SPARSE_SUPER | LARGE_FILE | HUGE_FILE | GDT_CSUM | DIR_NLINK | EXTRA_ISIZE | METADATA_CSUM;
    /// Names by bit, as `dumpe2fs` prints them.
    pub(crate) const NAMES: [&str; 17] = [
        "sparse_super",
        "large_file",
        "",
        "huge_file",
        "uninit_bg",
        "dir_nlink",
        "extra_isize",
        "snapshot",
        "quota",
        "bigalloc",
        "metadata_csum",
        "replica",
        "read-only",
        "project",
        "shared_blocks",
        "verity",
        "orphan_present",
    ];
}

/// Offsets in a group descriptor.
pub(crate) mod bg {
    pub(crate) const BLOCK_BITMAP_LO: usize = 0x00;
    pub(crate) const INODE_BITMAP_LO: usize = 0x04;
    pub(crate) const INODE_TABLE_LO: usize = 0x08;
    pub(crate) const FREE_BLOCKS_COUNT_LO: usize = 0x0C;
    pub(crate) const FREE_INODES_COUNT_LO: usize = 0x0E;
    pub(crate) const USED_DIRS_COUNT_LO: usize = 0x10;
    pub(crate) const FLAGS: usize = 0x12;
    pub(crate) const BLOCK_BITMAP_CSUM_LO: usize = 0x18;
    pub(crate) const INODE_BITMAP_CSUM_LO: usize = 0x1A;
    pub(crate) const ITABLE_UNUSED_LO: usize = 0x1C;
    pub(crate) const CHECKSUM: usize = 0x1E;
    pub(crate) const BLOCK_BITMAP_HI: usize = 0x20;
    pub(crate) const INODE_BITMAP_HI: usize = 0x24;
    pub(crate) const INODE_TABLE_HI: usize = 0x28;
    pub(crate) const FREE_BLOCKS_COUNT_HI: usize = 0x2C;
    pub(crate) const FREE_INODES_COUNT_HI: usize = 0x2E;
    pub(crate) const USED_DIRS_COUNT_HI: usize = 0x30;
    pub(crate) const ITABLE_UNUSED_HI: usize = 0x32;
    pub(crate) const BLOCK_BITMAP_CSUM_HI: usize = 0x38;
    pub(crate) const INODE_BITMAP_CSUM_HI: usize = 0x3A;
    /// `bg_flags`: inode bitmap and table are not initialised.
    pub(crate) const INODE_UNINIT: u16 = 1;
    /// `bg_flags`: the block bitmap is not initialised.
    pub(crate) const BLOCK_UNINIT: u16 = 2;
    /// `bg_flags`: the inode table is zeroed.
    pub(crate) const INODE_ZEROED: u16 = 4;
}

/// Offsets in an inode.
pub(crate) mod ino {
    pub(crate) const MODE: usize = 0x00;
    pub(crate) const UID_LO: usize = 0x02;
    pub(crate) const SIZE_LO: usize = 0x04;
    pub(crate) const ATIME: usize = 0x08;
    pub(crate) const CTIME: usize = 0x0C;
    pub(crate) const MTIME: usize = 0x10;
    pub(crate) const DTIME: usize = 0x14;
    pub(crate) const GID_LO: usize = 0x18;
    pub(crate) const LINKS_COUNT: usize = 0x1A;
    pub(crate) const BLOCKS_LO: usize = 0x1C;
    pub(crate) const FLAGS: usize = 0x20;
    pub(crate) const BLOCK: usize = 0x28;
    /// Length of `i_block` in bytes.
    pub(crate) const BLOCK_LEN: usize = 60;
    pub(crate) const GENERATION: usize = 0x64;
    pub(crate) const FILE_ACL_LO: usize = 0x68;
    /// `i_obso_faddr`.
    pub(crate) const FADDR: usize = 0x70;
    pub(crate) const SIZE_HIGH: usize = 0x6C;
    pub(crate) const BLOCKS_HIGH: usize = 0x74;
    pub(crate) const FILE_ACL_HIGH: usize = 0x76;
    pub(crate) const UID_HIGH: usize = 0x78;
    pub(crate) const GID_HIGH: usize = 0x7A;
    pub(crate) const CHECKSUM_LO: usize = 0x7C;
    pub(crate) const EXTRA_ISIZE: usize = 0x80;
    pub(crate) const CHECKSUM_HI: usize = 0x82;
    pub(crate) const CTIME_EXTRA: usize = 0x84;
    pub(crate) const MTIME_EXTRA: usize = 0x88;
    pub(crate) const ATIME_EXTRA: usize = 0x8C;
    pub(crate) const CRTIME: usize = 0x90;
    pub(crate) const CRTIME_EXTRA: usize = 0x94;
    /// Size of the part that every inode has (`EXT2_GOOD_OLD_INODE_SIZE`).
    pub(crate) const GOOD_OLD_SIZE: usize = 128;
    /// `i_extra_isize` of new inodes where the superblock wants none: all known fields.
    pub(crate) const DEFAULT_EXTRA: u16 = 32;

    pub(crate) const ROOT: u32 = 2;
    pub(crate) const RESIZE: u32 = 7;
    pub(crate) const JOURNAL: u32 = 8;

    /// `i_flags`.
    pub(crate) const IMMUTABLE_FL: u32 = 0x10;
    pub(crate) const APPEND_FL: u32 = 0x20;
    pub(crate) const IMAGIC_FL: u32 = 0x2000;
    pub(crate) const ENCRYPT_FL: u32 = 0x800;
    pub(crate) const INDEX_FL: u32 = 0x1000;
    pub(crate) const HUGE_FILE_FL: u32 = 0x40000;
    pub(crate) const EXTENTS_FL: u32 = 0x80000;
    pub(crate) const VERITY_FL: u32 = 0x10_0000;
    pub(crate) const EA_INODE_FL: u32 = 0x20_0000;
    pub(crate) const INLINE_DATA_FL: u32 = 0x1000_0000;
    pub(crate) const CASEFOLD_FL: u32 = 0x4000_0000;

    pub(crate) const S_IFMT: u16 = 0xF000;
    pub(crate) const S_IFIFO: u16 = 0x1000;
    pub(crate) const S_IFCHR: u16 = 0x2000;
    pub(crate) const S_IFDIR: u16 = 0x4000;
    pub(crate) const S_IFBLK: u16 = 0x6000;
    pub(crate) const S_IFREG: u16 = 0x8000;
    pub(crate) const S_IFLNK: u16 = 0xA000;
    pub(crate) const S_IFSOCK: u16 = 0xC000;
}

/// Most names of one file, and of subdirectories of one directory without `dir_nlink` (`EXT4_LINK_MAX`).
pub(crate) const LINK_MAX: u32 = 65000;
/// Longest name in a directory.
pub(crate) const NAME_LEN: usize = 255;
/// `eh_magic`.
pub(crate) const EXTENT_MAGIC: u16 = 0xF30A;
/// Longest written extent in blocks; a larger `ee_len` is an unwritten extent of `ee_len - 32768` blocks.
pub(crate) const EXTENT_MAX_LEN: u32 = 32768;
/// Deepest legal extent tree.
pub(crate) const EXTENT_MAX_DEPTH: u16 = 5;

pub(crate) fn u16_at(b: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([b[at], b[at + 1]])
}

pub(crate) fn u32_at(b: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([b[at], b[at + 1], b[at + 2], b[at + 3]])
}

pub(crate) fn set_u16(b: &mut [u8], at: usize, v: u16) {
    b[at..at + 2].copy_from_slice(&v.to_le_bytes());
}

pub(crate) fn set_u32(b: &mut [u8], at: usize, v: u32) {
    b[at..at + 4].copy_from_slice(&v.to_le_bytes());
}

/// A number kept as a low and a high 32-bit half.
pub(crate) fn join(lo: u32, hi: u32) -> u64 {
    u64::from(hi) << 32 | u64::from(lo)
}
