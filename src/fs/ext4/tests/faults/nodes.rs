//! Faults in inodes, what they map, and their attributes.

use super::super::super::format::{ino, u16_at, u32_at};
use super::Fault;
use super::groups::unsealed;
use super::patient::{Patient, Place};

fn file(p: &Patient, path: &str) -> Place {
    Place::Inode(p.sample.inode(path))
}

fn wide(p: &Patient) -> Option<()> {
    (p.sample.fs.sb.inode_size > 128).then_some(())
}

fn csum(p: &Patient) -> Option<()> {
    p.sample.fs.sb.has_metadata_csum().then_some(())
}

fn put16(p: &mut Patient, path: &str, at: usize, value: u16) -> Option<()> {
    let place = file(p, path);
    p.put16(place, at, value)
}

fn put32(p: &mut Patient, path: &str, at: usize, value: u32) -> Option<()> {
    let place = file(p, path);
    p.put32(place, at, value)
}

fn flag(p: &mut Patient, path: &str, bits: u32, on: bool) -> Option<()> {
    let place = file(p, path);
    p.flag(place, ino::FLAGS, bits, on)
}

pub(super) const INODES: &[Fault] = &[
    ("i_mode without a type", |p| put16(p, "/file1", ino::MODE, 0o644)),
    ("i_mode of an unknown type", |p| {
        put16(p, "/file1", ino::MODE, 0x3000 | 0o644)
    }),
    ("i_mode of a directory on a file", |p| {
        put16(p, "/file1", ino::MODE, ino::S_IFDIR | 0o755)
    }),
    ("i_mode of a file on a directory", |p| {
        put16(p, "/dir/sub", ino::MODE, ino::S_IFREG | 0o644)
    }),
    ("i_mode of a symlink on a file", |p| {
        put16(p, "/file1", ino::MODE, ino::S_IFLNK | 0o777)
    }),
    ("i_mode of a fifo on a file", |p| {
        put16(p, "/file1", ino::MODE, ino::S_IFIFO | 0o644)
    }),
    ("i_mode of a file on a fifo", |p| {
        put16(p, "/fifo", ino::MODE, ino::S_IFREG | 0o644)
    }),
    ("i_size too small", |p| put32(p, "/file1", ino::SIZE_LO, 1)),
    ("i_size_high of a file", |p| {
        put32(p, "/file1", ino::SIZE_HIGH, 0x8000_0000)
    }),
    ("i_size of a directory too large", |p| {
        put32(p, "/dir", ino::SIZE_LO, 8192)
    }),
    ("i_size of a directory no multiple of a block", |p| {
        put32(p, "/dir", ino::SIZE_LO, 1000)
    }),
    ("i_size of a directory of zero", |p| {
        put32(p, "/dir", ino::SIZE_LO, 0)
    }),
    ("i_size_high of a directory", |p| {
        put32(p, "/dir", ino::SIZE_HIGH, 1)
    }),
    ("i_links_count too large", |p| {
        put16(p, "/file1", ino::LINKS_COUNT, 5)
    }),
    ("i_links_count too small", |p| {
        put16(p, "/file0", ino::LINKS_COUNT, 5)
    }),
    ("i_links_count of zero", |p| {
        put16(p, "/file1", ino::LINKS_COUNT, 0)
    }),
    ("i_links_count of a directory", |p| {
        put16(p, "/dir", ino::LINKS_COUNT, 9)
    }),
    ("i_links_count of the root directory", |p| {
        put16(p, "/", ino::LINKS_COUNT, 2)
    }),
    ("i_blocks too large", |p| put32(p, "/file1", ino::BLOCKS_LO, 800)),
    ("i_blocks odd", |p| {
        let place = file(p, "/file1");
        p.add32(place, ino::BLOCKS_LO, 1)
    }),
    ("i_blocks_high", |p| put16(p, "/file1", ino::BLOCKS_HIGH, 1)),
    ("i_blocks of a fifo", |p| put32(p, "/fifo", ino::BLOCKS_LO, 8)),
    ("i_blocks of a fast symlink", |p| {
        put32(p, "/fast", ino::BLOCKS_LO, 8)
    }),
    ("i_dtime of a file in use", |p| put32(p, "/file1", ino::DTIME, 7)),
    ("i_flags: extents off", |p| {
        flag(p, "/file1", ino::EXTENTS_FL, false)
    }),
    ("i_flags: extents on a fast symlink", |p| {
        flag(p, "/fast", ino::EXTENTS_FL, true)
    }),
    ("i_flags: extents on a device", |p| {
        flag(p, "/device", ino::EXTENTS_FL, true)
    }),
    ("i_flags: index on a file", |p| {
        flag(p, "/file1", ino::INDEX_FL, true)
    }),
    ("i_flags: index on a plain directory", |p| {
        flag(p, "/dir", ino::INDEX_FL, true)
    }),
    ("i_flags: index off", |p| flag(p, "/hashed", ino::INDEX_FL, false)),
    ("i_flags: inline data", |p| {
        flag(p, "/file1", ino::INLINE_DATA_FL, true)
    }),
    ("i_flags: encrypted", |p| flag(p, "/file1", ino::ENCRYPT_FL, true)),
    ("i_flags: verity", |p| flag(p, "/file1", ino::VERITY_FL, true)),
    ("i_flags: value of an attribute", |p| {
        flag(p, "/file1", ino::EA_INODE_FL, true)
    }),
    ("i_flags: blocks counted whole", |p| {
        flag(p, "/file1", ino::HUGE_FILE_FL, true)
    }),
    ("i_flags: case folding", |p| flag(p, "/dir", 0x4000_0000, true)),
    ("i_flags: immutable device", |p| flag(p, "/device", 0x10, true)),
    ("i_generation without its checksum", |p| {
        csum(p)?;
        let place = file(p, "/file1");
        unsealed(p, place, ino::GENERATION)
    }),
    ("i_checksum", |p| {
        csum(p)?;
        let place = file(p, "/file1");
        unsealed(p, place, ino::CHECKSUM_LO)
    }),
    ("i_checksum of the root directory", |p| {
        csum(p)?;
        unsealed(p, Place::Inode(ino::ROOT), ino::CHECKSUM_LO)
    }),
    ("i_checksum of a reserved inode", |p| {
        csum(p)?;
        unsealed(p, Place::Inode(6), ino::CHECKSUM_LO)
    }),
    ("i_checksum of a free inode", |p| {
        csum(p)?;
        unsealed(p, Place::Inode(60), ino::CHECKSUM_LO)
    }),
    ("i_file_acl outside", |p| {
        put32(p, "/file1", ino::FILE_ACL_LO, 99_999)
    }),
    ("i_file_acl of a data block", |p| {
        let block = p.sample.block_of(p.sample.inode("/file2"), 0);
        put32(p, "/file1", ino::FILE_ACL_LO, block as u32)
    }),
    ("i_file_acl in an inode table", |p| {
        let block = p.sample.group(0).inode_table();
        put32(p, "/file1", ino::FILE_ACL_LO, block as u32)
    }),
    ("i_file_acl on the superblock", |p| {
        put32(p, "/file1", ino::FILE_ACL_LO, 1)
    }),
    ("i_file_acl_high", |p| put16(p, "/file1", ino::FILE_ACL_HIGH, 1)),
    ("i_file_acl shared without being counted", |p| {
        let place = file(p, "/attrs");
        let block = u32_at(p.at(place), ino::FILE_ACL_LO);
        (block != 0).then_some(())?;
        let other = file(p, "/file1");
        p.put32(other, ino::FILE_ACL_LO, block);
        p.add32(other, ino::BLOCKS_LO, 2)
    }),
    ("i_extra_isize too large", |p| {
        wide(p)?;
        put16(p, "/file1", ino::EXTRA_ISIZE, 200)
    }),
    ("i_extra_isize odd", |p| {
        wide(p)?;
        put16(p, "/file1", ino::EXTRA_ISIZE, 30)
    }),
    ("i_extra_isize too small", |p| {
        wide(p)?;
        put16(p, "/file1", ino::EXTRA_ISIZE, 2)
    }),
    ("i_size of a fast symlink", |p| put32(p, "/fast", ino::SIZE_LO, 3)),
    ("i_size of a fast symlink too large", |p| {
        put32(p, "/fast", ino::SIZE_LO, 50)
    }),
    ("i_size of a fast symlink of zero", |p| {
        put32(p, "/fast", ino::SIZE_LO, 0)
    }),
    ("i_size of a slow symlink", |p| {
        put32(p, "/slow", ino::SIZE_LO, 100)
    }),
    ("i_size of a slow symlink beyond a block", |p| {
        put32(p, "/slow", ino::SIZE_LO, 3000)
    }),
    ("i_size of a fifo", |p| put32(p, "/fifo", ino::SIZE_LO, 10)),
    ("i_block of a fifo", |p| put32(p, "/fifo", ino::BLOCK + 20, 300)),
    ("a fast symlink with a NUL", |p| {
        let place = file(p, "/fast");
        p.put(place, ino::BLOCK + 2, &[0])
    }),
    ("root directory cleared", |p| {
        p.edit(Place::Inode(ino::ROOT), |b| b.fill(0))
    }),
    ("lost+found cleared", |p| p.edit(Place::Inode(11), |b| b.fill(0))),
    ("a reserved inode in use", |p| {
        p.put16(Place::Inode(5), ino::MODE, ino::S_IFREG | 0o644);
        p.put16(Place::Inode(5), ino::LINKS_COUNT, 1)
    }),
    ("a reserved inode with blocks", |p| {
        p.put16(Place::Inode(5), ino::MODE, ino::S_IFREG | 0o600);
        p.put32(Place::Inode(5), ino::BLOCK, 3000);
        p.put16(Place::Inode(5), ino::LINKS_COUNT, 1)
    }),
    ("bad blocks name a data block", |p| {
        let block = p.sample.block_of(p.sample.inode("/file2"), 0);
        p.put32(Place::Inode(1), ino::BLOCK, block as u32)
    }),
    ("bad blocks name a block outside", |p| {
        p.put32(Place::Inode(1), ino::BLOCK, 99_999)
    }),
    ("an unnamed inode in use", |p| {
        let source = p.at(file(p, "/fifo")).to_vec();
        let free = Place::Inode(200);
        p.edit(free, |b| b.copy_from_slice(&source))
    }),
    ("all inodes of a block cleared", |p| {
        let place = file(p, "/file1");
        p.edit(place, |b| b.fill(0))
    }),
    ("i_faddr", |p| put32(p, "/file1", 0x70, 77)),
    ("a time with impossible nanoseconds", |p| {
        wide(p)?;
        put32(p, "/file1", ino::MTIME_EXTRA, !3)
    }),
];

/// The body of `i_block` of a path, and one word of it.
fn map(p: &mut Patient, path: &str, at: usize, bytes: &[u8]) -> Option<()> {
    let place = file(p, path);
    p.put(place, ino::BLOCK + at, bytes)
}

fn extent_block(p: &mut Patient, at: usize, bytes: &[u8]) -> Option<()> {
    let number = p.sample.inode("/holes");
    p.put(Place::Extent(number, 0), at, bytes)
}

pub(super) const EXTENTS: &[Fault] = &[
    ("eh_magic", |p| map(p, "/file1", 0, &[0])),
    ("eh_entries of zero", |p| map(p, "/file1", 2, &[0, 0])),
    ("eh_entries beyond eh_max", |p| map(p, "/file1", 2, &[9, 0])),
    ("eh_max too large", |p| map(p, "/file1", 4, &[9, 0])),
    ("eh_max too small", |p| map(p, "/file1", 4, &[3, 0])),
    ("eh_depth of a leaf", |p| map(p, "/file1", 6, &[1, 0])),
    ("eh_depth beyond all", |p| map(p, "/file1", 6, &[9, 0])),
    ("eh_generation", |p| map(p, "/file1", 8, &[9, 0])),
    ("ee_block not zero", |p| map(p, "/file1", 12, &[9, 0])),
    ("ee_block beyond all", |p| map(p, "/file1", 12, &[255; 4])),
    ("ee_len of zero", |p| map(p, "/file1", 16, &[0, 0])),
    ("ee_len too large", |p| map(p, "/file1", 16, &[0, 0x70])),
    ("ee_len of an unwritten extent", |p| {
        let place = file(p, "/file1");
        p.edit(place, |b| b[ino::BLOCK + 17] |= 0x80)
    }),
    ("ee_start outside", |p| map(p, "/file1", 20, &[255, 255, 0, 0])),
    ("ee_start_hi", |p| map(p, "/file1", 18, &[1, 0])),
    ("ee_start of zero", |p| map(p, "/file1", 20, &[0; 4])),
    ("ee_start on the superblock", |p| {
        map(p, "/file1", 20, &[1, 0, 0, 0])
    }),
    ("ee_start in an inode table", |p| {
        let block = p.sample.group(0).inode_table() as u32;
        map(p, "/file1", 20, &block.to_le_bytes())
    }),
    ("ee_start on a bitmap", |p| {
        let block = p.sample.group(0).block_bitmap() as u32;
        map(p, "/file1", 20, &block.to_le_bytes())
    }),
    ("ee_start of another file", |p| {
        let block = p.sample.block_of(p.sample.inode("/file2"), 0) as u32;
        map(p, "/file1", 20, &block.to_le_bytes())
    }),
    ("ee_start of a directory", |p| {
        let block = p.sample.block_of(p.sample.inode("/dir"), 0) as u32;
        map(p, "/file1", 20, &block.to_le_bytes())
    }),
    ("ee_start of the journal", |p| {
        let block = p.sample.block_of(ino::JOURNAL, 5) as u32;
        map(p, "/file1", 20, &block.to_le_bytes())
    }),
    ("ee_start on a copy of the superblock", |p| {
        map(p, "/file1", 20, &[1, 8, 0, 0])
    }),
    ("a second extent over the first", |p| {
        let place = file(p, "/file1");
        let first = p.at(place)[ino::BLOCK + 12..ino::BLOCK + 24].to_vec();
        p.put(place, ino::BLOCK + 24, &first);
        p.put16(place, ino::BLOCK + 2, 2)
    }),
    ("an extent behind the end", |p| {
        let place = file(p, "/file1");
        let mut entry = [0u8; 12];
        entry[..4].copy_from_slice(&100u32.to_le_bytes());
        entry[4] = 1;
        entry[8..].copy_from_slice(&7500u32.to_le_bytes());
        p.put(place, ino::BLOCK + 24, &entry);
        p.put16(place, ino::BLOCK + 2, 2)
    }),
    ("an extent of a directory out of place", |p| {
        map(p, "/dir", 12, &[1, 0])
    }),
    ("an unwritten extent of a directory", |p| {
        let place = file(p, "/dir");
        p.edit(place, |b| b[ino::BLOCK + 17] |= 0x80)
    }),
    ("ei_leaf outside", |p| map(p, "/holes", 16, &[255, 255, 0, 0])),
    ("ei_leaf of a data block", |p| {
        let block = p.sample.block_of(p.sample.inode("/file2"), 0) as u32;
        map(p, "/holes", 16, &block.to_le_bytes())
    }),
    ("ei_leaf_hi", |p| map(p, "/holes", 20, &[1, 0])),
    ("ei_block too large", |p| map(p, "/holes", 12, &[5, 0])),
    ("ei_block of the second beyond its extents", |p| {
        let place = file(p, "/holes");
        (u16_at(p.at(place), ino::BLOCK + 2) > 1)
            .then(|| p.add32(place, ino::BLOCK + 24, 3))
            .flatten()
    }),
    ("ei_block of the second before its extents", |p| {
        let place = file(p, "/holes");
        (u16_at(p.at(place), ino::BLOCK + 2) > 1)
            .then(|| p.add32(place, ino::BLOCK + 24, !0))
            .flatten()
    }),
    ("ei_leaf twice the same", |p| {
        let place = file(p, "/holes");
        let first = p.at(place)[ino::BLOCK + 16..ino::BLOCK + 20].to_vec();
        (u16_at(p.at(place), ino::BLOCK + 2) > 1)
            .then(|| p.put(place, ino::BLOCK + 28, &first))
            .flatten()
    }),
    ("extent block: eh_magic", |p| extent_block(p, 0, &[0])),
    ("extent block: eh_entries of zero", |p| {
        extent_block(p, 2, &[0, 0])
    }),
    ("extent block: eh_entries beyond eh_max", |p| {
        extent_block(p, 2, &[255, 0])
    }),
    ("extent block: eh_max too large", |p| extent_block(p, 4, &[90, 0])),
    ("extent block: eh_max too small", |p| extent_block(p, 4, &[83, 0])),
    ("extent block: eh_depth", |p| extent_block(p, 6, &[1, 0])),
    ("extent block: extents out of order", |p| {
        extent_block(p, 24, &[0, 0])
    }),
    ("extent block: ee_start outside", |p| {
        extent_block(p, 20, &[255, 255, 0, 0])
    }),
    ("extent block: ee_len of zero", |p| extent_block(p, 16, &[0, 0])),
    ("extent block: one extent less", |p| {
        let place = Place::Extent(p.sample.inode("/holes"), 0);
        p.add16(place, 2, !0)
    }),
    ("extent block without its checksum", |p| {
        csum(p)?;
        let place = Place::Extent(p.sample.inode("/holes"), 0);
        unsealed(p, place, 900)
    }),
];

fn xattr(p: &mut Patient, at: usize, bytes: &[u8]) -> Option<()> {
    let number = p.sample.inode("/attrs");
    let block = u32_at(p.at(Place::Inode(number)), ino::FILE_ACL_LO);
    (block != 0).then_some(())?;
    p.put(Place::Xattr(number), at, bytes)
}

/// Attributes inside the inode: from `i_extra_isize` on.
fn inner(p: &mut Patient, at: usize, bytes: &[u8]) -> Option<()> {
    wide(p)?;
    let place = file(p, "/small");
    let start = 128 + usize::from(u16_at(p.at(place), ino::EXTRA_ISIZE));
    p.put(place, start + at, bytes)
}

pub(super) const ATTRIBUTES: &[Fault] = &[
    ("h_magic", |p| xattr(p, 2, &[0])),
    ("h_refcount too large", |p| xattr(p, 4, &[2])),
    ("h_refcount of zero", |p| xattr(p, 4, &[0])),
    ("h_refcount beyond all", |p| xattr(p, 4, &[0, 0, 0, 1])),
    ("h_blocks", |p| xattr(p, 8, &[2])),
    ("h_hash", |p| xattr(p, 12, &[1, 2, 3])),
    ("h_checksum", |p| {
        csum(p)?;
        p.sealed = false;
        xattr(p, 16, &[1])
    }),
    ("e_name_len of zero", |p| xattr(p, 32, &[0])),
    ("e_name_len beyond the block", |p| xattr(p, 32, &[255])),
    ("e_name_index unknown", |p| xattr(p, 33, &[99])),
    ("e_value_offs beyond the block", |p| xattr(p, 34, &[255, 255])),
    ("e_value_offs odd", |p| {
        let place = Place::Xattr(p.sample.inode("/attrs"));
        let old = u16_at(p.at(place), 34);
        xattr(p, 34, &(old - 1).to_le_bytes())
    }),
    ("e_value_offs among the entries", |p| xattr(p, 34, &[40, 0])),
    ("e_value_offs on another value", |p| {
        let place = Place::Xattr(p.sample.inode("/attrs"));
        let second = 32 + 16 + usize::from(p.at(place)[32]).next_multiple_of(4);
        let (first, entry) = (u16_at(p.at(place), 34), p.at(place)[second]);
        (entry != 0).then_some(())?;
        xattr(p, second + 2, &(first + 4).to_le_bytes())
    }),
    ("e_value_inum", |p| xattr(p, 36, &[20])),
    ("e_value_size beyond the block", |p| xattr(p, 40, &[0, 4])),
    ("e_value_size beyond all", |p| xattr(p, 40, &[255; 4])),
    ("e_hash", |p| xattr(p, 44, &[1, 2, 3])),
    ("a changed value", |p| xattr(p, 1020, b"abc")),
    ("a changed name", |p| xattr(p, 49, b"X")),
    ("no end of the entries", |p| {
        let number = p.sample.inode("/attrs");
        let block = u32_at(p.at(Place::Inode(number)), ino::FILE_ACL_LO);
        (block != 0).then_some(())?;
        let place = Place::Xattr(number);
        let mut at = 32;
        while u32_at(p.at(place), at) != 0 {
            at += 16 + usize::from(p.at(place)[at]).next_multiple_of(4);
        }
        p.put(place, at, &[7])
    }),
    ("attributes in the inode: magic", |p| inner(p, 2, &[0])),
    ("attributes in the inode: e_name_len of zero", |p| {
        inner(p, 4, &[0])
    }),
    ("attributes in the inode: e_name_len too large", |p| {
        inner(p, 4, &[200])
    }),
    ("attributes in the inode: e_name_index", |p| inner(p, 5, &[77])),
    ("attributes in the inode: e_value_offs", |p| {
        inner(p, 6, &[250, 0])
    }),
    ("attributes in the inode: e_value_offs among the entries", |p| {
        inner(p, 6, &[8, 0])
    }),
    ("attributes in the inode: e_value_inum", |p| inner(p, 8, &[20])),
    ("attributes in the inode: e_value_size", |p| {
        inner(p, 12, &[255, 0])
    }),
    ("attributes in the inode: e_hash", |p| inner(p, 16, &[1, 2, 3])),
];
