//! Where the structures of a good ext4 file system stand. A reader of its own, for images of `mke2fs` alone: it
//! trusts every number.

use crate::{u16_at, u32_at};

/// What a structure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Superblock or a copy of it.
    Super,
    /// Descriptor of a group, or a copy of it.
    Desc,
    /// Block bitmap of a group.
    BlockBitmap,
    /// Inode bitmap of a group.
    InodeBitmap,
    /// An inode.
    Inode,
    /// `i_block` of an inode, a part of it.
    Map,
    /// A block of an extent tree.
    Extent,
    /// A block of block numbers.
    Indirect,
    /// A block of directory entries.
    Leaf,
    /// A block of a directory's index; the root begins with entries.
    Node,
    /// A block of extended attributes.
    Xattr,
    /// The part of an inode behind its fields.
    InodeXattr,
    /// A block of the orphan file.
    Orphan,
    /// A block of the journal.
    Journal,
}

/// One structure.
#[derive(Debug, Clone, Copy)]
pub struct Piece {
    /// What it is.
    pub kind: Kind,
    /// First byte in the image.
    pub at: u64,
    /// Bytes.
    pub len: usize,
    /// Inode or group that it belongs to.
    pub owner: u32,
}

/// All structures of a file system, bitmaps before descriptors.
pub struct Layout {
    /// Bytes of a block.
    pub block_size: usize,
    /// Bytes of an inode.
    pub inode_size: usize,
    /// Inodes of a group.
    pub inodes_per_group: usize,
    /// Every structure.
    pub pieces: Vec<Piece>,
}

impl Layout {
    /// Reads an image.
    pub fn of(image: &[u8]) -> Self {
        let sb = &image[1024..2048];
        let block_size = 1024 << u32_at(sb, 0x18);
        let wide = u32_at(sb, 0x60) & 0x80 != 0;
        let mut walk = Walk {
            image,
            layout: Self {
                block_size,
                inode_size: usize::from(u16_at(sb, 0x58)),
                inodes_per_group: u32_at(sb, 0x28) as usize,
                pieces: Vec::new(),
            },
            orphan_file: u32_at(sb, 0x280),
        };
        let (first, per_group) = (u32_at(sb, 0x14) as usize, u32_at(sb, 0x20) as usize);
        let groups = (u32_at(sb, 4) as usize - first).div_ceil(per_group);
        let desc_size = if wide { usize::from(u16_at(sb, 0xFE)) } else { 32 };
        let table = (first + 1) * block_size;
        for group in 0..groups {
            let desc = &image[table + group * desc_size..][..desc_size];
            let (bits, inodes) = (u32_at(desc, 0) as usize, u32_at(desc, 4) as usize);
            walk.add(Kind::BlockBitmap, bits * block_size, block_size, group as u32);
            walk.add(Kind::InodeBitmap, inodes * block_size, block_size, group as u32);
            walk.inode_table(group, u32_at(desc, 8) as usize);
        }
        for group in 0..groups {
            let start = (first + group * per_group) * block_size;
            let at = if group == 0 { 1024 } else { start };
            if u16_at(image, at + 0x38) == 0xEF53 && usize::from(u16_at(image, at + 0x5A)) == group {
                walk.add(Kind::Super, at, 1024, group as u32);
                for of in 0..groups {
                    let at = start + block_size + of * desc_size;
                    walk.add(Kind::Desc, at, desc_size, of as u32);
                }
            }
        }
        walk.layout
    }

    /// The structures of some kinds.
    pub fn of_kinds(&self, kinds: &[Kind]) -> Vec<Piece> {
        let wanted = |p: &&Piece| kinds.contains(&p.kind);
        self.pieces.iter().filter(wanted).copied().collect()
    }

    /// Where an inode stands.
    pub fn inode(&self, number: u32) -> Option<&Piece> {
        let is = |p: &&Piece| p.kind == Kind::Inode && p.owner == number;
        self.pieces.iter().find(is)
    }
}

struct Walk<'a> {
    image: &'a [u8],
    layout: Layout,
    orphan_file: u32,
}

impl Walk<'_> {
    fn add(&mut self, kind: Kind, at: usize, len: usize, owner: u32) {
        self.layout.pieces.push(Piece {
            kind,
            at: at as u64,
            len,
            owner,
        });
    }

    fn inode_table(&mut self, group: usize, table: usize) {
        let size = self.layout.inode_size;
        for index in 0..self.layout.inodes_per_group {
            let at = table * self.layout.block_size + index * size;
            let number = (group * self.layout.inodes_per_group + index + 1) as u32;
            let inode = &self.image[at..at + size];
            self.add(Kind::Inode, at, size, number);
            if u16_at(inode, 0x1A) == 0 {
                continue;
            }
            self.add(Kind::Map, at + 0x28, 60, number);
            if size > 128 {
                let start = 128 + usize::from(u16_at(inode, 0x80));
                self.add(Kind::InodeXattr, at + start, size - start, number);
            }
            let attributes = u32_at(inode, 0x68) as usize * self.layout.block_size;
            let shared = |p: &Piece| p.kind == Kind::Xattr && p.at == attributes as u64;
            if attributes != 0 && !self.layout.pieces.iter().any(shared) {
                self.add(Kind::Xattr, attributes, self.layout.block_size, number);
            }
            self.blocks(number, inode);
        }
    }

    fn blocks(&mut self, number: u32, inode: &[u8]) {
        let (mode, flags) = (u16_at(inode, 0) & 0xF000, u32_at(inode, 0x20));
        let map = &inode[0x28..0x64];
        let mut blocks = Vec::new();
        if flags & 0x80000 != 0 {
            self.extents(number, map, &mut blocks);
        } else if number == 7 || mode == 0x4000 || (mode == 0x8000 && u32_at(inode, 0x1C) != 0) {
            let direct = (0..12).map(|n| u32_at(map, 4 * n) as usize);
            blocks.extend(direct.filter(|block| *block != 0));
            for (depth, slot) in [12, 13, 14].into_iter().enumerate() {
                self.indirect(number, u32_at(map, 4 * slot) as usize, depth);
            }
        }
        let size = self.layout.block_size;
        for (n, block) in blocks.into_iter().enumerate() {
            let at = block * size;
            let bytes = &self.image[at..at + size];
            let kind = if number == 8 {
                Kind::Journal
            } else if number == self.orphan_file {
                Kind::Orphan
            } else if mode != 0x4000 {
                continue;
            } else if flags & 0x1000 != 0 && (n == 0 || usize::from(u16_at(bytes, 4)) == size) {
                Kind::Node
            } else {
                Kind::Leaf
            };
            self.add(kind, at, size, number);
        }
    }

    fn extents(&mut self, number: u32, node: &[u8], blocks: &mut Vec<usize>) {
        let leaf = u16_at(node, 6) == 0;
        for n in 1..=usize::from(u16_at(node, 2)) {
            let entry = &node[12 * n..12 * (n + 1)];
            if leaf {
                let start = u32_at(entry, 8) as usize;
                blocks.extend(start..start + usize::from(u16_at(entry, 4)));
                continue;
            }
            let size = self.layout.block_size;
            let at = u32_at(entry, 4) as usize * size;
            self.add(Kind::Extent, at, size, number);
            let image = self.image;
            self.extents(number, &image[at..at + size], blocks);
        }
    }

    fn indirect(&mut self, number: u32, block: usize, depth: usize) {
        if block == 0 {
            return;
        }
        let size = self.layout.block_size;
        let at = block * size;
        self.add(Kind::Indirect, at, size, number);
        for n in 0..size / 4 {
            if depth > 0 {
                self.indirect(number, u32_at(self.image, at + 4 * n) as usize, depth - 1);
            }
        }
    }
}
