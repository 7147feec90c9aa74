//! Checksums of ext4, made right after a change: written anew from the format's documentation, so that the library
//! is not compared with itself.

use std::sync::LazyLock;

use ceil_img::disk::{BlockIo, Overlay};

use crate::layout::{Kind, Layout, Piece};
use crate::{set_u16, set_u32, u16_at, u32_at};

static CRC32C: LazyLock<[u32; 256]> = LazyLock::new(|| {
    std::array::from_fn(|n| (0..8).fold(n as u32, |crc, _| crc >> 1 ^ (crc & 1) * 0x82f6_3b78))
});
static CRC16: LazyLock<[u16; 256]> =
    LazyLock::new(|| std::array::from_fn(|n| (0..8).fold(n as u16, |crc, _| crc >> 1 ^ (crc & 1) * 0xa001)));

/// Continues a crc32c.
pub fn crc32c(crc: u32, bytes: &[u8]) -> u32 {
    let table = &*CRC32C;
    bytes
        .iter()
        .fold(crc, |crc, byte| crc >> 8 ^ table[usize::from(crc as u8 ^ byte)])
}

fn crc16(crc: u16, bytes: &[u8]) -> u16 {
    let table = &*CRC16;
    bytes
        .iter()
        .fold(crc, |crc, byte| crc >> 8 ^ table[usize::from(crc as u8 ^ byte)])
}

/// Reads a structure; only an image that a target has made shorter fails.
pub fn read(io: &Overlay, piece: &Piece) -> Vec<u8> {
    let mut bytes = vec![0; piece.len];
    BlockIo::read_at(io, piece.at, &mut bytes).expect("a structure of the base is read");
    bytes
}

/// Writes a structure.
pub fn write(io: &Overlay, piece: &Piece, bytes: &[u8]) {
    io.write_at(piece.at, bytes)
        .expect("a structure of the base is written");
}

/// Makes the checksums of everything right that depends on the changed structures.
pub fn seal(io: &Overlay, layout: &Layout, changed: &[Piece]) {
    let seeds = Seeds::of(io);
    let everything = changed.iter().any(|p| p.kind == Kind::Super);
    for piece in &layout.pieces {
        let touched = everything
            || changed.iter().any(|c| {
                let overlap = c.at < piece.at + piece.len as u64 && piece.at < c.at + c.len as u64;
                let of_inode = matches!(c.kind, Kind::Inode | Kind::Map | Kind::InodeXattr)
                    && matches!(piece.kind, Kind::Extent | Kind::Leaf | Kind::Node | Kind::Orphan);
                let of_group = matches!(c.kind, Kind::BlockBitmap | Kind::InodeBitmap)
                    && matches!(piece.kind, Kind::BlockBitmap | Kind::InodeBitmap | Kind::Desc);
                overlap || ((of_inode || of_group) && c.owner == piece.owner)
            });
        if touched {
            seeds.seal(io, layout, piece);
        }
    }
}

/// What the checksums begin with, and which there are.
struct Seeds {
    metadata: bool,
    groups: bool,
    uuid: [u8; 16],
    seed: u32,
}

impl Seeds {
    fn of(io: &Overlay) -> Self {
        let mut sb = [0; 1024];
        BlockIo::read_at(io, 1024, &mut sb).expect("the superblock is read");
        let uuid: [u8; 16] = std::array::from_fn(|n| sb[0x68 + n]);
        Self {
            metadata: u32_at(&sb, 0x64) & 0x400 != 0,
            groups: u32_at(&sb, 0x64) & 0x410 != 0,
            uuid,
            seed: if u32_at(&sb, 0x60) & 0x2000 != 0 {
                u32_at(&sb, 0x270)
            } else {
                crc32c(!0, &uuid)
            },
        }
    }

    fn inode_seed(&self, io: &Overlay, layout: &Layout, number: u32) -> u32 {
        let crc = crc32c(self.seed, &number.to_le_bytes());
        let generation = match layout.inode(number) {
            Some(inode) => read(io, inode)[0x64..0x68].to_vec(),
            None => vec![0; 4],
        };
        crc32c(crc, &generation)
    }

    fn seal(&self, io: &Overlay, layout: &Layout, piece: &Piece) {
        if !self.groups {
            return;
        }
        let mut bytes = read(io, piece);
        let len = bytes.len();
        let number = (piece.at / layout.block_size as u64).to_le_bytes();
        match piece.kind {
            Kind::Desc => self.descriptor(&mut bytes, piece.owner),
            _ if !self.metadata => return,
            Kind::Super => {
                let crc = crc32c(!0, &bytes[..0x3FC]);
                set_u32(&mut bytes, 0x3FC, crc);
            }
            Kind::BlockBitmap => return self.bitmap(io, layout, piece, &bytes, 0x18, 0x38),
            Kind::InodeBitmap => {
                let used = &bytes[..layout.inodes_per_group / 8];
                return self.bitmap(io, layout, piece, used, 0x1A, 0x3A);
            }
            Kind::Inode => {
                let high = len > 128 && u16_at(&bytes, 0x80) >= 4;
                set_u16(&mut bytes, 0x7C, 0);
                if high {
                    set_u16(&mut bytes, 0x82, 0);
                }
                let crc = crc32c(crc32c(self.seed, &piece.owner.to_le_bytes()), &bytes[0x64..0x68]);
                let crc = crc32c(crc, &bytes);
                set_u16(&mut bytes, 0x7C, crc as u16);
                if high {
                    set_u16(&mut bytes, 0x82, (crc >> 16) as u16);
                }
            }
            Kind::Extent => {
                let tail = 12 + 12 * usize::from(u16_at(&bytes, 4));
                if tail + 4 > len {
                    return;
                }
                let crc = crc32c(self.inode_seed(io, layout, piece.owner), &bytes[..tail]);
                set_u32(&mut bytes, tail, crc);
            }
            Kind::Leaf => {
                let crc = crc32c(self.inode_seed(io, layout, piece.owner), &bytes[..len - 12]);
                set_u32(&mut bytes, len - 4, crc);
            }
            Kind::Node => {
                let root = usize::from(u16_at(&bytes, 4)) != len;
                let entries = if root { 0x20 } else { 8 };
                let limit = usize::from(u16_at(&bytes, entries));
                let count = usize::from(u16_at(&bytes, entries + 2));
                let (end, tail) = (entries + 8 * count, entries + 8 * limit);
                if end > len || tail + 8 > len {
                    return;
                }
                let crc = crc32c(self.inode_seed(io, layout, piece.owner), &bytes[..end]);
                let crc = crc32c(crc32c(crc, &bytes[tail..tail + 4]), &[0; 4]);
                set_u32(&mut bytes, tail + 4, crc);
            }
            Kind::Xattr => {
                set_u32(&mut bytes, 16, 0);
                let crc = crc32c(crc32c(self.seed, &number), &bytes);
                set_u32(&mut bytes, 16, crc);
            }
            Kind::Orphan => {
                let crc = crc32c(self.inode_seed(io, layout, piece.owner), &number);
                let crc = crc32c(crc, &bytes[..len - 8]);
                set_u32(&mut bytes, len - 4, crc);
            }
            Kind::Map | Kind::InodeXattr | Kind::Indirect | Kind::Journal => return,
        }
        write(io, piece, &bytes);
    }

    fn descriptor(&self, bytes: &mut [u8], group: u32) {
        set_u16(bytes, 0x1E, 0);
        let sum = if self.metadata {
            crc32c(crc32c(self.seed, &group.to_le_bytes()), bytes) as u16
        } else {
            let crc = crc16(crc16(!0, &self.uuid), &group.to_le_bytes());
            crc16(crc16(crc, &bytes[..0x1E]), &bytes[0x20..])
        };
        set_u16(bytes, 0x1E, sum);
    }

    /// The checksum of a bitmap stands in the descriptor of its group.
    fn bitmap(&self, io: &Overlay, layout: &Layout, piece: &Piece, bits: &[u8], low: usize, high: usize) {
        let crc = crc32c(self.seed, bits);
        let of_group = |p: &&Piece| p.kind == Kind::Desc && p.owner == piece.owner;
        if let Some(place) = layout.pieces.iter().find(of_group) {
            let mut desc = read(io, place);
            set_u16(&mut desc, low, crc as u16);
            if desc.len() == 64 {
                set_u16(&mut desc, high, (crc >> 16) as u16);
            }
            write(io, place, &desc);
        }
    }
}
