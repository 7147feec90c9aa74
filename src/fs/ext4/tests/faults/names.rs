//! Faults in directories, their indexes, the journal, the orphan file and the resize inode.

use super::super::super::format::{compat, ino, sb, u16_at, u32_at};
use super::Fault;
use super::groups::unsealed;
use super::patient::{Patient, Place};

fn csum(p: &Patient) -> Option<()> {
    p.sample.fs.sb.has_metadata_csum().then_some(())
}

/// Puts bytes into a block of a directory.
fn put(p: &mut Patient, path: &str, block: u64, at: usize, bytes: &[u8]) -> Option<()> {
    let place = Place::Dir(p.sample.inode(path), block);
    p.put(place, at, bytes)
}

/// First byte of the n-th entry of the first block of a directory.
fn entry(p: &Patient, path: &str, n: usize) -> usize {
    let block = p.at(Place::Dir(p.sample.inode(path), 0));
    (0..n).fold(0, |at, _| at + usize::from(u16_at(block, at + 4)))
}

/// Puts bytes into the n-th entry of a directory.
fn in_entry(p: &mut Patient, path: &str, n: usize, at: usize, bytes: &[u8]) -> Option<()> {
    let start = entry(p, path, n);
    put(p, path, 0, start + at, bytes)
}

pub(super) const DIRECTORIES: &[Fault] = &[
    ("`.` names another inode", |p| put(p, "/dir", 0, 0, &[2])),
    ("`.` has another name", |p| put(p, "/dir", 0, 8, b"x")),
    ("`.` has another type", |p| put(p, "/dir", 0, 7, &[1])),
    ("`.` has a long record", |p| put(p, "/dir", 0, 4, &[24, 0])),
    ("`.` is free", |p| put(p, "/dir", 0, 0, &[0; 4])),
    ("`.` has a name of two bytes", |p| put(p, "/dir", 0, 6, &[2])),
    ("`.` is not ended by NUL", |p| put(p, "/dir", 0, 9, b"x")),
    ("`..` names another directory", |p| {
        let other = p.sample.inode("/other");
        put(p, "/dir", 0, 12, &other.to_le_bytes())
    }),
    ("`..` names a file", |p| {
        let other = p.sample.inode("/file1");
        put(p, "/dir", 0, 12, &other.to_le_bytes())
    }),
    ("`..` is free", |p| put(p, "/dir", 0, 12, &[0; 4])),
    ("`..` has another name", |p| put(p, "/dir", 0, 20, b"x")),
    ("`..` has another type", |p| put(p, "/dir", 0, 19, &[1])),
    ("`..` of the root directory", |p| {
        let other = p.sample.inode("/other");
        put(p, "/", 0, 12, &other.to_le_bytes())
    }),
    ("`..` stands in front of `.`", |p| {
        let place = Place::Dir(p.sample.inode("/dir"), 0);
        p.edit(place, |b| b[..24].rotate_left(12))
    }),
    ("rec_len of zero", |p| in_entry(p, "/", 3, 4, &[0, 0])),
    ("rec_len odd", |p| in_entry(p, "/", 3, 4, &[13, 0])),
    ("rec_len beyond the block", |p| in_entry(p, "/", 3, 4, &[0, 4])),
    ("rec_len shorter than the name", |p| {
        in_entry(p, "/", 3, 4, &[8, 0])
    }),
    ("rec_len into the middle of an entry", |p| {
        let at = entry(p, "/", 3);
        let old = u16_at(p.at(Place::Dir(ino::ROOT, 0)), at + 4);
        in_entry(p, "/", 3, 4, &(old + 4).to_le_bytes())
    }),
    ("name_len of zero", |p| in_entry(p, "/", 3, 6, &[0])),
    ("name_len beyond the record", |p| in_entry(p, "/", 3, 6, &[200])),
    ("a name with a slash", |p| in_entry(p, "/", 3, 8, b"/")),
    ("a name with a NUL", |p| in_entry(p, "/", 3, 9, &[0])),
    ("a name `.` further on", |p| {
        in_entry(p, "/", 3, 6, &[1])?;
        in_entry(p, "/", 3, 8, b".")
    }),
    ("the same name twice", |p| {
        let root = Place::Dir(ino::ROOT, 0);
        let find = |p: &Patient, name: &[u8]| p.at(root).windows(name.len()).position(|w| w == name);
        let at = find(p, b"file2")?;
        p.put(root, at, b"file1")
    }),
    ("an entry names an inode beyond all", |p| {
        in_entry(p, "/", 3, 0, &[255, 255, 0, 0])
    }),
    ("an entry names a free inode", |p| {
        in_entry(p, "/", 3, 0, &[200, 0, 0, 0])
    }),
    ("an entry names the journal", |p| {
        in_entry(p, "/", 3, 0, &[8, 0, 0, 0])
    }),
    ("an entry names the root directory", |p| {
        in_entry(p, "/dir", 2, 0, &[2, 0, 0, 0])
    }),
    ("an entry names its own directory", |p| {
        let own = p.sample.inode("/dir");
        in_entry(p, "/dir", 2, 0, &own.to_le_bytes())
    }),
    ("an entry names another file", |p| {
        let other = p.sample.inode("/file2");
        in_entry(p, "/dir/sub", 2, 0, &other.to_le_bytes())
    }),
    ("an entry is free", |p| in_entry(p, "/dir/sub", 2, 0, &[0; 4])),
    ("a directory with a second name", |p| {
        let other = p.sample.inode("/other");
        in_entry(p, "/dir", 2, 0, &other.to_le_bytes())
    }),
    ("two directories in each other", |p| {
        let (dir, sub) = (p.sample.inode("/dir"), p.sample.inode("/dir/sub"));
        in_entry(p, "/dir/sub", 2, 0, &dir.to_le_bytes())?;
        in_entry(p, "/dir/sub", 2, 7, &[2])?;
        put(p, "/dir", 0, 12, &sub.to_le_bytes())
    }),
    ("file_type of a file on a directory", |p| {
        in_entry(p, "/dir", 2, 7, &[1])
    }),
    ("file_type unknown", |p| in_entry(p, "/dir/sub", 2, 7, &[0])),
    ("file_type beyond all", |p| in_entry(p, "/dir/sub", 2, 7, &[99])),
    ("a block of zeroes", |p| {
        let place = Place::Dir(p.sample.inode("/dir"), 0);
        p.edit(place, |b| b.fill(0))
    }),
    ("tail: det_reserved_ft", |p| {
        csum(p)?;
        put(p, "/dir", 0, 1019, &[0])
    }),
    ("tail: det_rec_len", |p| {
        csum(p)?;
        put(p, "/dir", 0, 1016, &[8])
    }),
    ("tail: det_reserved_zero1", |p| {
        csum(p)?;
        put(p, "/dir", 0, 1012, &[1])
    }),
    ("tail: det_checksum", |p| {
        csum(p)?;
        let place = Place::Dir(p.sample.inode("/dir"), 0);
        unsealed(p, place, 1020)
    }),
    ("lost+found has another name", |p| {
        let at = p
            .at(Place::Dir(ino::ROOT, 0))
            .windows(10)
            .position(|w| w == b"lost+found")?;
        p.put(Place::Dir(ino::ROOT, 0), at, b"L")
    }),
];

const HASHED: &str = "/hashed";

/// Exchanges two of eight bytes each in the root of the index.
fn swap(p: &mut Patient, first: usize, second: usize, len: usize) -> Option<()> {
    let place = Place::Dir(p.sample.inode(HASHED), 0);
    p.edit(place, |b| {
        for n in 0..len {
            b.swap(first + n, second + n);
        }
    })
}

pub(super) const INDEXES: &[Fault] = &[
    ("dx_root: reserved_zero", |p| put(p, HASHED, 0, 0x18, &[1])),
    ("dx_root: hash_version", |p| put(p, HASHED, 0, 0x1C, &[9])),
    ("dx_root: another hash_version", |p| put(p, HASHED, 0, 0x1C, &[2])),
    ("dx_root: info_length", |p| put(p, HASHED, 0, 0x1D, &[9])),
    ("dx_root: indirect_levels", |p| put(p, HASHED, 0, 0x1E, &[1])),
    ("dx_root: indirect_levels beyond all", |p| {
        put(p, HASHED, 0, 0x1E, &[9])
    }),
    ("dx_root: unused_flags", |p| put(p, HASHED, 0, 0x1F, &[1])),
    ("dx_root: `..` with a short record", |p| {
        put(p, HASHED, 0, 16, &[12, 0])
    }),
    ("limit too large", |p| put(p, HASHED, 0, 0x20, &[200])),
    ("limit too small", |p| put(p, HASHED, 0, 0x20, &[100])),
    ("count of zero", |p| put(p, HASHED, 0, 0x22, &[0])),
    ("count beyond limit", |p| put(p, HASHED, 0, 0x22, &[255])),
    ("count one less", |p| {
        let place = Place::Dir(p.sample.inode(HASHED), 0);
        p.add16(place, 0x22, !0)
    }),
    ("the first block outside the directory", |p| {
        put(p, HASHED, 0, 0x24, &[200])
    }),
    ("a block outside the directory", |p| {
        put(p, HASHED, 0, 0x2C, &[200])
    }),
    ("a block named twice", |p| put(p, HASHED, 0, 0x2C, &[1])),
    ("the index itself as a leaf", |p| put(p, HASHED, 0, 0x2C, &[0])),
    ("two blocks exchanged", |p| swap(p, 0x24, 0x2C, 4)),
    ("two hashes exchanged", |p| swap(p, 0x28, 0x30, 4)),
    ("a hash of zero", |p| put(p, HASHED, 0, 0x28, &[0; 4])),
    ("a hash too large", |p| {
        put(p, HASHED, 0, 0x28, &[0xFE, 255, 255, 255])
    }),
    ("a hash with the mark of a collision", |p| {
        let place = Place::Dir(p.sample.inode(HASHED), 0);
        p.edit(place, |b| b[0x28] ^= 1)
    }),
    ("a name of another hash", |p| put(p, HASHED, 1, 8, b"another")),
    ("two leaves exchanged", |p| {
        let number = p.sample.inode(HASHED);
        let (first, second) = (Place::Dir(number, 1), Place::Dir(number, 2));
        let (a, b) = (p.at(first).to_vec(), p.at(second).to_vec());
        p.edit(first, |raw| raw.copy_from_slice(&b));
        p.edit(second, |raw| raw.copy_from_slice(&a))
    }),
    ("a leaf of zeroes", |p| {
        let place = Place::Dir(p.sample.inode(HASHED), 1);
        p.edit(place, |b| b.fill(0))
    }),
    ("dx_tail: dt_reserved", |p| {
        csum(p)?;
        put(p, HASHED, 0, 1016, &[1])
    }),
    ("dx_tail: dt_checksum", |p| {
        csum(p)?;
        let place = Place::Dir(p.sample.inode(HASHED), 0);
        unsealed(p, place, 1020)
    }),
    ("a leaf without its checksum", |p| {
        csum(p)?;
        let place = Place::Dir(p.sample.inode(HASHED), 1);
        unsealed(p, place, 1020)
    }),
];

/// Puts bytes into the journal's superblock, which has no checksum in an empty journal of `mke2fs`.
fn journal(p: &mut Patient, at: usize, value: u32) -> Option<()> {
    let block = p.sample.block_of(ino::JOURNAL, 0);
    p.put(Place::Block(block), at, &value.to_be_bytes())
}

const J: Place = Place::Inode(ino::JOURNAL);

pub(super) const JOURNAL: &[Fault] = &[
    ("h_magic", |p| journal(p, 0, 0)),
    ("h_blocktype", |p| journal(p, 4, 1)),
    ("s_blocksize", |p| journal(p, 0x0C, 4096)),
    ("s_maxlen too large", |p| journal(p, 0x10, 9999)),
    ("s_maxlen too small", |p| journal(p, 0x10, 100)),
    ("s_first of zero", |p| journal(p, 0x14, 0)),
    ("s_first beyond s_maxlen", |p| journal(p, 0x14, 9999)),
    ("s_sequence of zero", |p| journal(p, 0x18, 0)),
    ("s_start, though nothing is to be replayed", |p| {
        journal(p, 0x1C, 1)
    }),
    ("s_errno", |p| journal(p, 0x20, 5)),
    ("s_feature_compat unknown", |p| journal(p, 0x24, 1 << 20)),
    ("s_feature_incompat unknown", |p| journal(p, 0x28, 1 << 20)),
    ("s_feature_ro_compat unknown", |p| journal(p, 0x2C, 1 << 20)),
    ("s_feature_incompat: both checksums", |p| journal(p, 0x28, 0x18)),
    ("s_feature_incompat: checksums without one", |p| {
        journal(p, 0x28, 0x10)
    }),
    ("s_uuid", |p| journal(p, 0x30, 0x1234_5678)),
    ("s_nr_users", |p| journal(p, 0x40, 77)),
    ("journal superblock of zeroes", |p| {
        let block = p.sample.block_of(ino::JOURNAL, 0);
        p.edit(Place::Block(block), |b| b.fill(0))
    }),
    ("journal inode cleared", |p| p.edit(J, |b| b.fill(0))),
    ("journal inode is a directory", |p| {
        p.put16(J, ino::MODE, ino::S_IFDIR | 0o600)
    }),
    ("journal inode without links", |p| p.put16(J, ino::LINKS_COUNT, 0)),
    ("journal inode with two links", |p| {
        p.put16(J, ino::LINKS_COUNT, 2)
    }),
    ("journal inode too short", |p| p.put32(J, ino::SIZE_LO, 4096)),
    ("journal inode too long", |p| p.add32(J, ino::SIZE_LO, 4096)),
    ("journal inode maps another block", |p| {
        p.put32(J, ino::BLOCK + 20, 7000)
    }),
    ("journal inode maps nothing", |p| p.put16(J, ino::BLOCK + 2, 0)),
    ("journal inode with an unwritten extent", |p| {
        p.edit(J, |b| b[ino::BLOCK + 17] |= 0x80)
    }),
    ("journal inode with a time of deletion", |p| {
        p.put32(J, ino::DTIME, 7)
    }),
    ("journal inode with an attribute block", |p| {
        p.put32(J, ino::FILE_ACL_LO, 7000)
    }),
];

fn orphan_inode(p: &Patient) -> Option<Place> {
    let number = p.sample.fs.sb.u32(sb::ORPHAN_FILE_INUM);
    p.has_orphan_file().then_some(Place::Inode(number))
}

fn orphan(p: &mut Patient, at: usize, bytes: &[u8]) -> Option<()> {
    orphan_inode(p)?;
    p.put(Place::Orphan(1), at, bytes)
}

pub(super) const ORPHANS: &[Fault] = &[
    ("ob_magic", |p| orphan(p, 1016, &[0])),
    ("ob_checksum", |p| {
        p.sealed = false;
        orphan(p, 1020, &[0])
    }),
    ("an orphan, though none is announced", |p| orphan(p, 0, &[14])),
    ("an orphan that does not exist", |p| orphan(p, 40, &[255; 4])),
    ("s_orphan_file_inum of zero", |p| {
        orphan_inode(p)?;
        p.put32(Place::Super(0), sb::ORPHAN_FILE_INUM, 0)
    }),
    ("s_orphan_file_inum of a file", |p| {
        orphan_inode(p)?;
        let file = p.sample.inode("/file1");
        p.put32(Place::Super(0), sb::ORPHAN_FILE_INUM, file)
    }),
    ("s_orphan_file_inum beyond all", |p| {
        orphan_inode(p)?;
        p.put32(Place::Super(0), sb::ORPHAN_FILE_INUM, 99_999)
    }),
    ("orphan file of no size", |p| {
        orphan_inode(p).and_then(|i| p.put32(i, ino::SIZE_LO, 0))
    }),
    ("orphan file longer than its blocks", |p| {
        orphan_inode(p).and_then(|i| p.add32(i, ino::SIZE_LO, 1024))
    }),
    ("orphan file with an odd size", |p| {
        orphan_inode(p).and_then(|i| p.add32(i, ino::SIZE_LO, 9))
    }),
    ("orphan file is a directory", |p| {
        orphan_inode(p).and_then(|i| p.put16(i, ino::MODE, ino::S_IFDIR | 0o700))
    }),
    ("orphan file without links", |p| {
        orphan_inode(p).and_then(|i| p.put16(i, ino::LINKS_COUNT, 0))
    }),
    ("orphan file with two links", |p| {
        orphan_inode(p).and_then(|i| p.put16(i, ino::LINKS_COUNT, 2))
    }),
    ("orphan file cleared", |p| {
        orphan_inode(p).and_then(|i| p.edit(i, |b| b.fill(0)))
    }),
    ("orphan file has a name", |p| {
        let Place::Inode(number) = orphan_inode(p)? else {
            return None;
        };
        in_entry(p, "/dir/sub", 2, 0, &number.to_le_bytes())
    }),
];

const R: Place = Place::Inode(ino::RESIZE);

/// The double indirect block of the resize inode.
fn double(p: &Patient) -> Option<Place> {
    p.sample.fs.sb.has_compat(compat::RESIZE_INODE).then_some(())?;
    let block = u32_at(p.at(R), ino::BLOCK + 13 * 4);
    Some(Place::Block(u64::from(block)))
}

/// The first slot in use of it.
fn slot(p: &Patient) -> Option<usize> {
    let block = p.at(double(p)?);
    (0..block.len()).step_by(4).find(|at| u32_at(block, *at) != 0)
}

pub(super) const RESIZE: &[Fault] = &[
    ("double indirect block of zero", |p| {
        p.put32(R, ino::BLOCK + 52, 0)
    }),
    ("double indirect block outside", |p| {
        p.put32(R, ino::BLOCK + 52, 99_999)
    }),
    ("double indirect block of a file", |p| {
        let block = p.sample.block_of(p.sample.inode("/file2"), 0);
        p.put32(R, ino::BLOCK + 52, block as u32)
    }),
    ("a direct block", |p| p.put32(R, ino::BLOCK, 7000)),
    ("i_blocks of the resize inode", |p| p.add32(R, ino::BLOCKS_LO, 2)),
    ("i_mode of the resize inode", |p| {
        p.put16(R, ino::MODE, ino::S_IFDIR | 0o600)
    }),
    ("i_links_count of the resize inode", |p| {
        p.put16(R, ino::LINKS_COUNT, 2)
    }),
    ("resize inode without links", |p| p.put16(R, ino::LINKS_COUNT, 0)),
    ("resize inode cleared", |p| p.edit(R, |b| b.fill(0))),
    ("i_size of the resize inode", |p| p.put32(R, ino::SIZE_LO, 0)),
    ("extents on the resize inode", |p| {
        p.flag(R, ino::FLAGS, ino::EXTENTS_FL, true)
    }),
    ("i_dtime of the resize inode", |p| p.put32(R, ino::DTIME, 7)),
    ("a slot of zero", |p| {
        let (place, at) = (double(p)?, slot(p)?);
        p.put32(place, at, 0)
    }),
    ("a slot that names another block", |p| {
        let (place, at) = (double(p)?, slot(p)?);
        p.add32(place, at, 1)
    }),
    ("a slot too many", |p| {
        let place = double(p)?;
        p.put32(place, 1000, 7000)
    }),
    ("a reserved block that names another copy", |p| {
        let block = u32_at(p.at(double(p)?), slot(p)?);
        p.add32(Place::Block(u64::from(block)), 0, 1)
    }),
    ("a reserved block that names a copy too many", |p| {
        let block = u32_at(p.at(double(p)?), slot(p)?);
        p.put32(Place::Block(u64::from(block)), 40, 7000)
    }),
    ("a reserved block of zeroes", |p| {
        let block = u32_at(p.at(double(p)?), slot(p)?);
        p.edit(Place::Block(u64::from(block)), |b| b.fill(0))
    }),
];
