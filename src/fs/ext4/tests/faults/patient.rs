//! A sound file system with one of everything, and faults put into it whose checksums are right.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::super::Ext4;
use super::super::super::checksum::crc32c;
use super::super::super::format::{bg, compat, ino, sb, set_u16, set_u32, u16_at, u32_at};
use super::super::super::group::Group;
use super::super::super::inode::Inode;
use super::super::support::{Disk, run};
use crate::disk::{Bytes, Overlay};

/// Options of `mke2fs` beyond those that all have.
pub(super) const LAYOUTS: [(&str, &[&str]); 3] = [
    (
        "crc32c",
        &["-O", "64bit,metadata_csum,metadata_csum_seed,orphan_file"],
    ),
    ("crc16", &["-O", "^64bit,^metadata_csum,uninit_bg"]),
    ("none", &["-O", "^64bit,^metadata_csum,^huge_file", "-I", "128"]),
];

/// Where a fault is put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Superblock, or its copy in a group.
    Super(u32),
    /// A group's descriptor.
    Desc(u32),
    /// Copy of a group's descriptor (second) in a group (first).
    DescCopy(u32, u32),
    BlockBitmap(u32),
    InodeBitmap(u32),
    Inode(u32),
    /// The n-th block of the extent tree of an inode.
    Extent(u32, usize),
    /// A block of a directory.
    Dir(u32, u64),
    /// The block of attributes of an inode.
    Xattr(u32),
    /// A block of the orphan file.
    Orphan(u64),
    /// Any other block.
    Block(u64),
}

/// A sound image of `mke2fs` and where things are in it.
pub(super) struct Sample {
    _dir: tempfile::TempDir,
    pub(super) path: PathBuf,
    pub(super) bytes: Vec<u8>,
    pub(super) fs: Ext4,
}

/// A tree with one of everything that `mke2fs -d` copies.
fn tree(root: &Path) {
    let text = |name: &str, len: usize| fs::write(root.join(name), vec![b'x'; len]).unwrap();
    for n in 0..6 {
        text(&format!("file{n}"), 9000);
    }
    fs::create_dir_all(root.join("dir/sub")).unwrap();
    text("dir/sub/deep", 10);
    fs::create_dir(root.join("other")).unwrap();
    fs::create_dir(root.join("hashed")).unwrap();
    for n in 0..200 {
        fs::hard_link(root.join("file0"), root.join(format!("hashed/name number {n}"))).unwrap();
    }
    std::os::unix::fs::symlink("target", root.join("fast")).unwrap();
    std::os::unix::fs::symlink("long/".repeat(50), root.join("slow")).unwrap();
    let holes = fs::File::create(root.join("holes")).unwrap();
    for n in 0..120u64 {
        holes.write_all_at(&[n as u8 + 1; 4096], n * 8192).unwrap();
    }
    for (name, len) in [("attrs", 500), ("attrs2", 400), ("small", 8)] {
        text(name, 10);
        let path = root.join(name);
        let value = "v".repeat(len);
        for (key, value) in [("user.first", &*value), ("user.second", "2")] {
            let args = ["-n", key, "-v", value, path.to_str().unwrap()];
            assert_eq!(run("setfattr", &args).unwrap().0, 0);
        }
    }
    assert_eq!(
        run("mkfifo", &[root.join("fifo").to_str().unwrap()]).unwrap().0,
        0
    );
}

impl Sample {
    /// Makes one; `None` where the tools are missing.
    pub(super) fn make(layout: &str) -> Option<Self> {
        let options = LAYOUTS.iter().find(|l| l.0 == layout).unwrap().1;
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("tree");
        fs::create_dir(&root).unwrap();
        tree(&root);
        let path = dir.path().join("image");
        let name = path.to_str().unwrap();
        let mut args = vec![
            "-q", "-F", "-t", "ext4", "-b", "1024", "-g", "2048", "-J", "size=1",
        ];
        args.extend([
            "-N",
            "256",
            "-U",
            "00000000-0000-4000-8000-0000000000e4",
            "-E",
            "hash_seed=66666666-7777-4888-9999-aaaaaaaaaaaa",
        ]);
        args.extend(options);
        args.extend(["-d", root.to_str().unwrap(), name, "8000"]);
        let (code, text) = run("mke2fs", &args)?;
        assert_eq!(code, 0, "{text}");
        for command in ["mknod device b 8 1", "fallocate file5 9 20"] {
            assert_eq!(run("debugfs", &["-w", "-R", command, name])?.0, 0);
        }
        // Makes the index of the large directory.
        assert!(run("e2fsck", &["-fyD", name])?.0 <= 1);
        let (code, text) = run("e2fsck", &["-fn", name])?;
        assert_eq!(code, 0, "{text}");
        Some(Self {
            bytes: fs::read(&path).unwrap(),
            fs: Ext4::open(Disk::open(&path)).unwrap(),
            path,
            _dir: dir,
        })
    }

    /// The image with no fault yet.
    pub(super) fn patient(&self) -> Patient<'_> {
        Patient {
            sample: self,
            bytes: self.bytes.clone(),
            sealed: true,
        }
    }

    /// The inode of a path.
    pub(super) fn inode(&self, path: &str) -> u32 {
        self.fs.find(path.as_bytes()).unwrap().unwrap()
    }

    /// The inode of a number, however it is.
    fn node(&self, number: u32) -> Inode {
        self.fs.inode(number).unwrap()
    }

    /// The block of the file system that holds a block of an inode.
    pub(super) fn block_of(&self, number: u32, logical: u64) -> u64 {
        let mapping = self.fs.mapping(&self.node(number), number).unwrap();
        mapping.find(logical).unwrap().0
    }

    /// Blocks of an inode's tree.
    pub(super) fn tree_blocks(&self, number: u32) -> Vec<u64> {
        self.fs.mapping(&self.node(number), number).unwrap().meta
    }

    /// The descriptor of a group.
    pub(super) fn group(&self, number: u32) -> &Group {
        &self.fs.groups[number as usize]
    }

    /// Where a place is: first byte and length.
    fn range(&self, place: Place) -> (usize, usize) {
        let s = &self.fs.sb;
        let bs = s.block_size;
        let block = |number: u64| (number as usize * bs, bs);
        match place {
            Place::Super(0) => (1024, 1024),
            Place::Super(group) => (s.group_start(group) as usize * bs, 1024),
            Place::Desc(group) => self.range(Place::DescCopy(0, group)),
            Place::DescCopy(copy, group) => {
                let table = s.group_start(copy) as usize + 1;
                (table * bs + group as usize * s.desc_size, s.desc_size)
            }
            Place::BlockBitmap(group) => block(self.group(group).block_bitmap()),
            Place::InodeBitmap(group) => block(self.group(group).inode_bitmap()),
            Place::Inode(number) => {
                let (block, at) = self.fs.inode_place(number);
                (block as usize * bs + at, s.inode_size)
            }
            Place::Extent(number, n) => block(self.tree_blocks(number)[n]),
            Place::Dir(number, logical) => block(self.block_of(number, logical)),
            Place::Xattr(number) => block(self.node(number).file_acl()),
            Place::Orphan(logical) => block(self.block_of(s.u32(sb::ORPHAN_FILE_INUM), logical)),
            Place::Block(number) => block(number),
        }
    }
}

/// A copy of a sample that gets faults.
pub(super) struct Patient<'a> {
    pub(super) sample: &'a Sample,
    pub(super) bytes: Vec<u8>,
    /// Whether checksums are made right after a change.
    pub(super) sealed: bool,
}

impl Patient<'_> {
    /// The bytes at a place.
    pub(super) fn at(&self, place: Place) -> &[u8] {
        let (at, len) = self.sample.range(place);
        &self.bytes[at..at + len]
    }

    /// Changes a place and makes its checksum right. Gives what a fault gives that was put there, as the rest does.
    pub(super) fn edit(&mut self, place: Place, change: impl FnOnce(&mut [u8])) -> Option<()> {
        let (at, len) = self.sample.range(place);
        change(&mut self.bytes[at..at + len]);
        if self.sealed {
            self.seal(place);
        }
        Some(())
    }

    /// Puts bytes at an offset of a place.
    pub(super) fn put(&mut self, place: Place, at: usize, bytes: &[u8]) -> Option<()> {
        self.edit(place, |b| b[at..at + bytes.len()].copy_from_slice(bytes))
    }

    pub(super) fn put16(&mut self, place: Place, at: usize, value: u16) -> Option<()> {
        self.put(place, at, &value.to_le_bytes())
    }

    pub(super) fn put32(&mut self, place: Place, at: usize, value: u32) -> Option<()> {
        self.put(place, at, &value.to_le_bytes())
    }

    /// Adds to a 16-bit number.
    pub(super) fn add16(&mut self, place: Place, at: usize, more: u16) -> Option<()> {
        self.put16(place, at, u16_at(self.at(place), at).wrapping_add(more))
    }

    /// Adds to a 32-bit number.
    pub(super) fn add32(&mut self, place: Place, at: usize, more: u32) -> Option<()> {
        self.put32(place, at, u32_at(self.at(place), at).wrapping_add(more))
    }

    /// Sets bits of a 32-bit number.
    pub(super) fn flag(&mut self, place: Place, at: usize, bits: u32, on: bool) -> Option<()> {
        let old = u32_at(self.at(place), at);
        self.put32(place, at, if on { old | bits } else { old & !bits })
    }

    fn seal(&mut self, place: Place) {
        let s = &self.sample.fs.sb;
        let (at, len) = self.sample.range(place);
        let csum = s.has_metadata_csum();
        // The seed changes with the superblock alone, which is then the fault.
        let base = s.checksum_seed;
        let number = (at / s.block_size) as u64;
        let generation = |bytes: &[u8], inode: u32| {
            let from = self.sample.range(Place::Inode(inode)).0 + ino::GENERATION;
            crc32c(crc32c(base, &inode.to_le_bytes()), &bytes[from..from + 4])
        };
        match place {
            Place::Super(_) if csum => {
                let raw = &mut self.bytes[at..at + len];
                let crc = crc32c(!0, &raw[..sb::CHECKSUM]);
                set_u32(raw, sb::CHECKSUM, crc);
            }
            Place::Desc(group) | Place::DescCopy(_, group) => {
                let raw = Group::from_bytes(&self.bytes[at..at + len]).to_bytes(group, s);
                self.bytes[at..at + len].copy_from_slice(&raw);
            }
            Place::BlockBitmap(group) if csum => {
                let crc = crc32c(base, &self.bytes[at..at + s.blocks_per_group as usize / 8]);
                self.bitmap_sum(group, crc, bg::BLOCK_BITMAP_CSUM_LO, bg::BLOCK_BITMAP_CSUM_HI);
            }
            Place::InodeBitmap(group) if csum => {
                let crc = crc32c(base, &self.bytes[at..at + s.inodes_per_group as usize / 8]);
                self.bitmap_sum(group, crc, bg::INODE_BITMAP_CSUM_LO, bg::INODE_BITMAP_CSUM_HI);
            }
            Place::Inode(number) => {
                let raw = self.bytes[at..at + len].to_vec();
                let raw = Inode { raw }.to_bytes(number, s);
                self.bytes[at..at + len].copy_from_slice(&raw);
            }
            Place::Extent(inode, _) if csum => {
                let tail = 12 + 12 * usize::from(u16_at(&self.bytes[at..], 4));
                if tail + 4 <= len {
                    let crc = crc32c(generation(&self.bytes, inode), &self.bytes[at..at + tail]);
                    set_u32(&mut self.bytes[at..at + len], tail, crc);
                }
            }
            Place::Dir(inode, logical) if csum => {
                let seed = generation(&self.bytes, inode);
                let indexed = self.sample.node(inode).has_flag(ino::INDEX_FL);
                let good = &self.sample.bytes[at..at + len];
                let node = indexed && logical > 0 && usize::from(u16_at(good, 4)) == len;
                let raw = &mut self.bytes[at..at + len];
                match (indexed && logical == 0, node) {
                    (true, _) => seal_index(raw, 0x20, seed),
                    (_, true) => seal_index(raw, 8, seed),
                    _ => {
                        let crc = crc32c(seed, &raw[..len - 12]);
                        set_u32(raw, len - 4, crc);
                    }
                }
            }
            Place::Xattr(_) if csum => {
                let raw = &mut self.bytes[at..at + len];
                set_u32(raw, 16, 0);
                let crc = crc32c(crc32c(base, &number.to_le_bytes()), raw);
                set_u32(raw, 16, crc);
            }
            Place::Orphan(_) if csum => {
                let seed = generation(&self.bytes, s.u32(sb::ORPHAN_FILE_INUM));
                let raw = &mut self.bytes[at..at + len];
                let crc = crc32c(crc32c(seed, &number.to_le_bytes()), &raw[..len - 8]);
                set_u32(raw, len - 4, crc);
            }
            _ => {}
        }
    }

    fn bitmap_sum(&mut self, group: u32, crc: u32, low: usize, high: usize) {
        let wide = self.sample.fs.sb.desc_size == 64;
        self.edit(Place::Desc(group), |desc| {
            set_u16(desc, low, crc as u16);
            if wide {
                set_u16(desc, high, (crc >> 16) as u16);
            }
        });
    }

    /// Whether the superblock has the orphan file.
    pub(super) fn has_orphan_file(&self) -> bool {
        self.sample.fs.sb.has_compat(compat::ORPHAN_FILE)
    }

    /// What our check says: the findings, or the refusal.
    pub(super) fn ours(&self) -> Vec<String> {
        let io: Arc<dyn crate::disk::BlockIo> = Arc::new(Overlay::new(Bytes::shared(&self.bytes)));
        match super::super::super::check(&io) {
            Ok(found) => found.iter().map(ToString::to_string).collect(),
            Err(error) => vec![error.to_string()],
        }
    }

    /// What `e2fsck -fn` says, empty when it has nothing to say. The image of the sample is changed for the time.
    pub(super) fn e2fsck(&self) -> String {
        let file = fs::File::options().write(true).open(&self.sample.path).unwrap();
        let step = 1024;
        let pairs = self.bytes.chunks(step).zip(self.sample.bytes.chunks(step));
        let changed: Vec<usize> = pairs
            .enumerate()
            .filter(|(_, (a, b))| a != b)
            .map(|(n, _)| n * step)
            .collect();
        for at in &changed {
            file.write_all_at(&self.bytes[*at..at + step], *at as u64)
                .unwrap();
        }
        let (code, text) = run("e2fsck", &["-fn", self.sample.path.to_str().unwrap()]).unwrap();
        for at in &changed {
            file.write_all_at(&self.sample.bytes[*at..at + step], *at as u64)
                .unwrap();
        }
        // Wrong totals in the superblock are told, but do not change the exit code.
        if code != 0 || text.contains("? no") {
            text
        } else {
            String::new()
        }
    }
}

fn seal_index(raw: &mut [u8], entries: usize, seed: u32) {
    let limit = usize::from(u16_at(raw, entries));
    let count = usize::from(u16_at(raw, entries + 2));
    let (end, tail) = (entries + 8 * count, entries + 8 * limit);
    if end <= raw.len() && tail + 8 <= raw.len() {
        let crc = crc32c(seed, &raw[..end]);
        let crc = crc32c(crc32c(crc, &raw[tail..tail + 4]), &[0; 4]);
        set_u32(raw, tail + 4, crc);
    }
}
