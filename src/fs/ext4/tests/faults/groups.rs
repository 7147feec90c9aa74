//! Faults in superblock, descriptors, bitmaps and their copies.

use super::super::super::format::{bg, compat, incompat, ino, ro_compat, sb};
use super::Fault;
use super::patient::{Patient, Place};

const S: Place = Place::Super(0);
const D: Place = Place::Desc(0);

fn has_csum(p: &Patient) -> Option<()> {
    p.sample.fs.sb.has_group_csum().then_some(())
}

fn orphan_file(p: &Patient) -> Option<()> {
    p.has_orphan_file().then_some(())
}

fn flip(p: &mut Patient, place: Place, bit: usize) -> Option<()> {
    p.edit(place, |map| map[bit / 8] ^= 1 << (bit % 8));
    Some(())
}

/// Changes one byte and no checksum.
pub(super) fn unsealed(p: &mut Patient, place: Place, at: usize) -> Option<()> {
    p.sealed = false;
    p.edit(place, |b| b[at] ^= 4);
    Some(())
}

pub(super) const SUPERBLOCK: &[Fault] = &[
    ("s_inodes_count too large", |p| p.add32(S, sb::INODES_COUNT, 8)),
    ("s_blocks_count too small", |p| {
        p.add32(S, sb::BLOCKS_COUNT_LO, !0)
    }),
    ("s_blocks_count too large", |p| {
        p.add32(S, sb::BLOCKS_COUNT_LO, 50_000)
    }),
    ("s_r_blocks_count beyond all blocks", |p| {
        p.put32(S, sb::R_BLOCKS_COUNT_LO, 8001)
    }),
    ("s_free_blocks_count", |p| p.add32(S, sb::FREE_BLOCKS_COUNT_LO, 1)),
    ("s_free_inodes_count", |p| p.add32(S, sb::FREE_INODES_COUNT, 1)),
    ("s_first_data_block", |p| p.put32(S, sb::FIRST_DATA_BLOCK, 0)),
    ("s_log_block_size", |p| p.put32(S, sb::LOG_BLOCK_SIZE, 1)),
    ("s_log_block_size beyond all", |p| {
        p.put32(S, sb::LOG_BLOCK_SIZE, 40)
    }),
    ("s_log_cluster_size", |p| p.put32(S, sb::LOG_CLUSTER_SIZE, 3)),
    ("s_blocks_per_group", |p| p.put32(S, sb::BLOCKS_PER_GROUP, 4096)),
    ("s_blocks_per_group of zero", |p| {
        p.put32(S, sb::BLOCKS_PER_GROUP, 0)
    }),
    ("s_clusters_per_group", |p| {
        p.put32(S, sb::CLUSTERS_PER_GROUP, 4096)
    }),
    ("s_inodes_per_group", |p| p.add32(S, sb::INODES_PER_GROUP, 8)),
    ("s_inodes_per_group of zero", |p| {
        p.put32(S, sb::INODES_PER_GROUP, 0)
    }),
    ("s_magic", |p| p.put16(S, sb::MAGIC, 0)),
    ("s_state has an error", |p| p.put16(S, sb::STATE, 3)),
    ("s_state not clean", |p| p.put16(S, sb::STATE, 0)),
    ("s_creator_os", |p| p.put32(S, sb::CREATOR_OS, 1)),
    ("s_rev_level", |p| p.put32(S, sb::REV_LEVEL, 9)),
    ("s_first_ino", |p| p.put32(S, sb::FIRST_INO, 13)),
    ("s_first_ino below all", |p| p.put32(S, sb::FIRST_INO, 5)),
    ("s_inode_size", |p| p.put16(S, sb::INODE_SIZE, 512)),
    ("s_inode_size no power of two", |p| {
        p.put16(S, sb::INODE_SIZE, 200)
    }),
    ("s_desc_size", |p| {
        let wide = p.sample.fs.sb.has_incompat(incompat::BIT64);
        wide.then(|| p.put16(S, sb::DESC_SIZE, 32)).flatten()
    }),
    ("has_journal off", |p| {
        p.flag(S, sb::FEATURE_COMPAT, compat::HAS_JOURNAL, false)
    }),
    ("resize_inode off", |p| {
        p.flag(S, sb::FEATURE_COMPAT, compat::RESIZE_INODE, false)
    }),
    ("dir_index off", |p| {
        p.flag(S, sb::FEATURE_COMPAT, compat::DIR_INDEX, false)
    }),
    ("ext_attr off", |p| {
        p.flag(S, sb::FEATURE_COMPAT, compat::EXT_ATTR, false)
    }),
    ("orphan_file off", |p| {
        orphan_file(p)?;
        p.flag(S, sb::FEATURE_COMPAT, compat::ORPHAN_FILE, false)
    }),
    ("filetype off", |p| {
        p.flag(S, sb::FEATURE_INCOMPAT, incompat::FILETYPE, false)
    }),
    ("extent off", |p| {
        p.flag(S, sb::FEATURE_INCOMPAT, incompat::EXTENTS, false)
    }),
    ("64bit changed", |p| {
        let on = p.sample.fs.sb.has_incompat(incompat::BIT64);
        p.flag(S, sb::FEATURE_INCOMPAT, incompat::BIT64, !on)
    }),
    ("needs_recovery with an empty journal", |p| {
        p.flag(S, sb::FEATURE_INCOMPAT, incompat::RECOVER, true)
    }),
    ("an unknown incompatible feature", |p| {
        p.flag(S, sb::FEATURE_INCOMPAT, 1 << 30, true)
    }),
    ("an unknown feature for writers", |p| {
        p.flag(S, sb::FEATURE_RO_COMPAT, 1 << 30, true)
    }),
    ("sparse_super off", |p| {
        p.flag(S, sb::FEATURE_RO_COMPAT, ro_compat::SPARSE_SUPER, false)
    }),
    ("checksums switched", |p| {
        p.edit(S, |b| {
            b[sb::FEATURE_RO_COMPAT + 1] ^= (ro_compat::METADATA_CSUM >> 8) as u8
        })
    }),
    ("metadata_csum and uninit_bg", |p| {
        let bits = ro_compat::METADATA_CSUM | ro_compat::GDT_CSUM;
        p.sample.fs.sb.has_metadata_csum().then_some(())?;
        p.flag(S, sb::FEATURE_RO_COMPAT, bits, true)
    }),
    ("extra_isize off", |p| {
        p.flag(S, sb::FEATURE_RO_COMPAT, ro_compat::EXTRA_ISIZE, false)
    }),
    ("orphan_present with an empty file", |p| {
        orphan_file(p)?;
        p.flag(S, sb::FEATURE_RO_COMPAT, ro_compat::ORPHAN_PRESENT, true)
    }),
    ("s_uuid", |p| p.add32(S, sb::UUID, 1)),
    ("s_reserved_gdt_blocks more", |p| {
        p.add16(S, sb::RESERVED_GDT_BLOCKS, 1)
    }),
    ("s_reserved_gdt_blocks less", |p| {
        p.add16(S, sb::RESERVED_GDT_BLOCKS, !0)
    }),
    ("s_reserved_gdt_blocks beyond a block", |p| {
        p.put16(S, sb::RESERVED_GDT_BLOCKS, 300)
    }),
    ("s_journal_inum", |p| p.put32(S, sb::JOURNAL_INUM, 9)),
    ("s_journal_inum of zero", |p| p.put32(S, sb::JOURNAL_INUM, 0)),
    ("s_journal_dev", |p| p.put32(S, sb::JOURNAL_DEV, 0x801)),
    ("s_last_orphan of a file in use", |p| {
        let file = p.sample.inode("/file1");
        p.put32(S, sb::LAST_ORPHAN, file)
    }),
    ("s_last_orphan beyond all inodes", |p| {
        p.put32(S, sb::LAST_ORPHAN, 99_999)
    }),
    ("s_hash_seed", |p| p.add32(S, sb::HASH_SEED, 1)),
    ("s_def_hash_version", |p| p.put(S, sb::DEF_HASH_VERSION, &[9])),
    ("s_jnl_blocks", |p| p.add32(S, sb::JNL_BLOCKS + 20, 1)),
    ("s_jnl_blocks has another size", |p| {
        p.add32(S, sb::JNL_BLOCKS + 64, 1024)
    }),
    ("s_min_extra_isize too large", |p| {
        p.put16(S, sb::MIN_EXTRA_ISIZE, 200)
    }),
    ("s_want_extra_isize too large", |p| {
        p.put16(S, sb::WANT_EXTRA_ISIZE, 200)
    }),
    ("s_want_extra_isize odd", |p| p.put16(S, sb::WANT_EXTRA_ISIZE, 31)),
    ("s_log_groups_per_flex", |p| {
        p.put(S, sb::LOG_GROUPS_PER_FLEX, &[40])
    }),
    ("s_checksum_type", |p| p.put(S, sb::CHECKSUM_TYPE, &[2])),
    ("s_checksum_seed", |p| {
        p.sample.fs.sb.has_incompat(incompat::CSUM_SEED).then_some(())?;
        p.add32(S, sb::CHECKSUM_SEED, 1)
    }),
    ("s_overhead_clusters", |p| p.put32(S, sb::OVERHEAD_CLUSTERS, 7777)),
    ("s_errors", |p| p.put16(S, sb::ERRORS, 9)),
    ("s_checksum", |p| {
        p.sample.fs.sb.has_metadata_csum().then_some(())?;
        unsealed(p, S, sb::CHECKSUM)
    }),
    ("s_volume_name without its checksum", |p| {
        p.sample.fs.sb.has_metadata_csum().then_some(())?;
        unsealed(p, S, sb::VOLUME_NAME)
    }),
];

pub(super) const DESCRIPTORS: &[Fault] = &[
    ("bg_block_bitmap elsewhere", |p| {
        p.add32(D, bg::BLOCK_BITMAP_LO, 1000)
    }),
    ("bg_block_bitmap outside", |p| {
        p.put32(D, bg::BLOCK_BITMAP_LO, 99_999)
    }),
    ("bg_block_bitmap of zero", |p| p.put32(D, bg::BLOCK_BITMAP_LO, 0)),
    ("bg_block_bitmap in an inode table", |p| {
        let at = p.sample.group(0).inode_table() as u32;
        p.put32(D, bg::BLOCK_BITMAP_LO, at + 1)
    }),
    ("bg_inode_bitmap elsewhere", |p| {
        p.add32(D, bg::INODE_BITMAP_LO, 1000)
    }),
    ("bg_inode_bitmap is the block bitmap", |p| {
        let at = p.sample.group(0).block_bitmap() as u32;
        p.put32(D, bg::INODE_BITMAP_LO, at)
    }),
    ("bg_inode_bitmap of another group", |p| {
        let at = p.sample.group(1).inode_bitmap() as u32;
        p.put32(D, bg::INODE_BITMAP_LO, at)
    }),
    ("bg_inode_bitmap outside", |p| {
        p.put32(D, bg::INODE_BITMAP_LO, 99_999)
    }),
    ("bg_inode_table elsewhere", |p| p.add32(D, bg::INODE_TABLE_LO, 1)),
    ("bg_inode_table on the descriptors", |p| {
        p.put32(D, bg::INODE_TABLE_LO, 2)
    }),
    ("bg_inode_table outside", |p| p.put32(D, bg::INODE_TABLE_LO, 7999)),
    ("bg_inode_table of an empty group", |p| {
        p.add32(Place::Desc(3), bg::INODE_TABLE_LO, 500)
    }),
    ("bg_free_blocks_count", |p| {
        p.add16(D, bg::FREE_BLOCKS_COUNT_LO, 1)
    }),
    ("bg_free_blocks_count beyond the group", |p| {
        p.put16(D, bg::FREE_BLOCKS_COUNT_LO, 9999)
    }),
    ("bg_free_inodes_count", |p| {
        p.add16(D, bg::FREE_INODES_COUNT_LO, !0)
    }),
    ("bg_free_inodes_count beyond the group", |p| {
        p.put16(D, bg::FREE_INODES_COUNT_LO, 9999)
    }),
    ("bg_used_dirs_count", |p| p.add16(D, bg::USED_DIRS_COUNT_LO, 1)),
    ("bg_flags: inodes not initialised, though used", |p| {
        has_csum(p)?;
        p.edit(D, |b| b[bg::FLAGS] |= bg::INODE_UNINIT as u8)
    }),
    ("bg_flags: block bitmap not initialised, though used", |p| {
        has_csum(p)?;
        p.edit(D, |b| b[bg::FLAGS] |= bg::BLOCK_UNINIT as u8)
    }),
    ("bg_flags: block bitmap not initialised beside free blocks", |p| {
        has_csum(p)?;
        p.edit(Place::Desc(1), |b| b[bg::FLAGS] ^= bg::BLOCK_UNINIT as u8)
    }),
    ("bg_flags: inode table not zeroed", |p| {
        has_csum(p)?;
        p.edit(D, |b| b[bg::FLAGS] &= !(bg::INODE_ZEROED as u8))
    }),
    ("bg_itable_unused covers inodes in use", |p| {
        has_csum(p)?;
        let all = p.sample.fs.sb.inodes_per_group as u16;
        p.put16(D, bg::ITABLE_UNUSED_LO, all - 12)
    }),
    ("bg_itable_unused beyond the group", |p| {
        has_csum(p)?;
        p.put16(D, bg::ITABLE_UNUSED_LO, 9999)
    }),
    ("bg_itable_unused of zero", |p| {
        has_csum(p)?;
        p.put16(D, bg::ITABLE_UNUSED_LO, 0)
    }),
    ("bg_block_bitmap_csum", |p| {
        p.sample.fs.sb.has_metadata_csum().then_some(())?;
        p.add16(D, bg::BLOCK_BITMAP_CSUM_LO, 1)
    }),
    ("bg_inode_bitmap_csum", |p| {
        p.sample.fs.sb.has_metadata_csum().then_some(())?;
        p.add16(D, bg::INODE_BITMAP_CSUM_LO, 1)
    }),
    ("bg_checksum", |p| {
        has_csum(p)?;
        unsealed(p, D, bg::CHECKSUM)
    }),
    ("bg_checksum of the last group", |p| {
        has_csum(p)?;
        unsealed(p, Place::Desc(3), bg::CHECKSUM)
    }),
];

pub(super) const BITMAPS: &[Fault] = &[
    ("a free block marked in use", |p| {
        flip(p, Place::BlockBitmap(3), 1500)
    }),
    ("a data block marked free", |p| {
        let file = p.sample.inode("/file1");
        let block = p.sample.block_of(file, 2) - 1;
        let group = (block / 2048) as u32;
        flip(p, Place::BlockBitmap(group), (block % 2048) as usize)
    }),
    ("the superblock marked free", |p| {
        flip(p, Place::BlockBitmap(0), 0)
    }),
    ("a block of an inode table marked free", |p| {
        let block = p.sample.group(0).inode_table() as usize;
        flip(p, Place::BlockBitmap(0), block - 1)
    }),
    ("a reserved descriptor block marked free", |p| {
        flip(p, Place::BlockBitmap(0), 3)
    }),
    ("the journal's first block marked free", |p| {
        let block = p.sample.block_of(ino::JOURNAL, 0) - 1;
        let group = (block / 2048) as u32;
        flip(p, Place::BlockBitmap(group), (block % 2048) as usize)
    }),
    ("all blocks marked in use", |p| {
        p.edit(Place::BlockBitmap(3), |b| b.fill(255))
    }),
    ("block bitmap of zeroes", |p| {
        p.edit(Place::BlockBitmap(0), |b| b.fill(0))
    }),
    ("bits behind the last block clear", |p| {
        flip(p, Place::BlockBitmap(3), 2047)
    }),
    ("bits behind the last group's blocks clear", |p| {
        flip(p, Place::BlockBitmap(3), 8 * 1024 - 1)
    }),
    ("a free inode marked in use", |p| {
        flip(p, Place::InodeBitmap(0), 60)
    }),
    ("an inode in use marked free", |p| {
        let file = p.sample.inode("/file1") as usize;
        flip(p, Place::InodeBitmap(0), file - 1)
    }),
    ("the root directory's inode marked free", |p| {
        flip(p, Place::InodeBitmap(0), 1)
    }),
    ("a reserved inode marked free", |p| {
        flip(p, Place::InodeBitmap(0), 4)
    }),
    ("bits behind the last inode clear", |p| {
        let bit = p.sample.fs.sb.inodes_per_group as usize;
        flip(p, Place::InodeBitmap(0), bit)
    }),
    ("the last bits behind the inodes clear", |p| {
        flip(p, Place::InodeBitmap(0), 8191)
    }),
    ("inode bitmap of zeroes", |p| {
        p.edit(Place::InodeBitmap(0), |b| b.fill(0))
    }),
    ("block bitmap without its checksum", |p| {
        p.sample.fs.sb.has_metadata_csum().then_some(())?;
        unsealed(p, Place::BlockBitmap(0), 200)
    }),
    ("inode bitmap without its checksum", |p| {
        p.sample.fs.sb.has_metadata_csum().then_some(())?;
        unsealed(p, Place::InodeBitmap(0), 5)
    }),
];

const B: Place = Place::Super(1);

pub(super) const BACKUPS: &[Fault] = &[
    ("backup superblock names another group", |p| {
        p.put16(B, sb::BLOCK_GROUP_NR, 3)
    }),
    ("backup superblock has another block count", |p| {
        p.add32(B, sb::BLOCKS_COUNT_LO, 1)
    }),
    ("backup superblock has another inode count", |p| {
        p.add32(B, sb::INODES_COUNT, 8)
    }),
    ("backup superblock has another feature", |p| {
        p.flag(B, sb::FEATURE_INCOMPAT, incompat::LARGEDIR, true)
    }),
    ("backup superblock lacks a feature", |p| {
        p.flag(B, sb::FEATURE_COMPAT, compat::HAS_JOURNAL, false)
    }),
    ("backup superblock has another UUID", |p| p.add32(B, sb::UUID, 1)),
    ("backup superblock has another journal", |p| {
        p.put32(B, sb::JOURNAL_INUM, 9)
    }),
    ("backup superblock has another hash seed", |p| {
        p.add32(B, sb::HASH_SEED, 1)
    }),
    ("backup superblock without magic", |p| p.put16(B, sb::MAGIC, 0)),
    ("backup superblock with a wrong checksum", |p| {
        p.sample.fs.sb.has_metadata_csum().then_some(())?;
        unsealed(p, B, sb::CHECKSUM)
    }),
    ("backup descriptor places a bitmap elsewhere", |p| {
        p.add32(Place::DescCopy(1, 0), bg::BLOCK_BITMAP_LO, 1)
    }),
    ("backup descriptor places an inode table elsewhere", |p| {
        p.add32(Place::DescCopy(3, 2), bg::INODE_TABLE_LO, 1)
    }),
    ("backup descriptor with a wrong checksum", |p| {
        has_csum(p)?;
        unsealed(p, Place::DescCopy(1, 0), bg::CHECKSUM)
    }),
];
