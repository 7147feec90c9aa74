//! Hashed directory indexes (`dir_index`): the hashes, and a whole index laid out sorted by hash.

use super::super::FsResult;
use super::checksum::crc32c;
use super::dir::{Directory, Leaf, record_len, usable};
use super::error::unsupported;
use super::format::{EXT2_FLAGS_UNSIGNED_HASH, incompat, sb, set_u16, set_u32, u16_at, u32_at};
use super::superblock::Superblock;

/// `dx_root` before its entries: two directory entries and `dx_root_info`.
pub(crate) const ROOT_HEADER: usize = 0x20;
/// `dx_node` before its entries: one unused directory entry.
pub(crate) const NODE_HEADER: usize = 8;
/// Size of `dx_entry` and of `dx_tail`.
pub(crate) const ENTRY: usize = 8;

/// `dx_root_info.hash_version`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    Legacy,
    HalfMd4,
    Tea,
}

/// How one directory hashes its names.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hasher {
    version: Version,
    unsigned: bool,
    seed: [u32; 4],
}

impl Hasher {
    pub(crate) fn new(version: u8, s: &Superblock) -> FsResult<Self> {
        let flag = s.u32(sb::FLAGS) & EXT2_FLAGS_UNSIGNED_HASH != 0;
        let (version, unsigned) = match version {
            0 => (Version::Legacy, flag),
            1 => (Version::HalfMd4, flag),
            2 => (Version::Tea, flag),
            3 => (Version::Legacy, true),
            4 => (Version::HalfMd4, true),
            5 => (Version::Tea, true),
            other => {
                return unsupported(format!(
                    "directory hash version {other}; legacy, half-MD4 and TEA (0 to 5) are supported"
                ));
            }
        };
        Ok(Self {
            version,
            unsigned,
            seed: s.hash_seed(),
        })
    }

    fn byte(self, b: u8) -> u32 {
        if self.unsigned {
            u32::from(b)
        } else {
            i32::from(b as i8) as u32
        }
    }

    /// Major and minor hash of a name.
    pub(crate) fn hash(self, name: &[u8]) -> (u32, u32) {
        let mut state = [0x6745_2301, 0xEFCD_AB89, 0x98BA_DCFE, 0x1032_5476];
        if self.seed != [0; 4] {
            state = self.seed;
        }
        let (major, minor) = match self.version {
            Version::Legacy => (self.legacy(name), 0),
            Version::HalfMd4 => {
                for at in (0..name.len()).step_by(32) {
                    half_md4(&mut state, &self.words::<8>(&name[at..]));
                }
                (state[1], state[2])
            }
            Version::Tea => {
                for at in (0..name.len()).step_by(16) {
                    tea(&mut state, &self.words::<4>(&name[at..]));
                }
                (state[0], state[1])
            }
        };
        let major = major & !1;
        // The largest value marks the end of a directory stream (`EXT4_HTREE_EOF_32BIT`).
        let major = if major == 0xFFFF_FFFE { 0xFFFF_FFFC } else { major };
        (major, minor)
    }

    fn legacy(self, name: &[u8]) -> u32 {
        let (mut hash0, mut hash1) = (0x12A3_FE2Du32, 0x37AB_E8F9u32);
        for b in name {
            let product = self.byte(*b).wrapping_mul(7_152_373);
            let mut hash = hash1.wrapping_add(hash0 ^ product);
            if hash & 0x8000_0000 != 0 {
                hash = hash.wrapping_sub(0x7FFF_FFFF);
            }
            hash1 = hash0;
            hash0 = hash;
        }
        hash0 << 1
    }

    /// The first `4 * N` bytes of `rest` as words, padded with the length of `rest`.
    fn words<const N: usize>(self, rest: &[u8]) -> [u32; N] {
        let len = rest.len() as u32;
        let pad = (len | len << 8) | (len | len << 8) << 16;
        let mut words = [pad; N];
        let part = &rest[..rest.len().min(4 * N)];
        for (word, bytes) in words.iter_mut().zip(part.chunks(4)) {
            for b in bytes {
                *word = (*word << 8).wrapping_add(self.byte(*b));
            }
        }
        words
    }
}

/// One pass of the three shortened rounds of MD4 (RFC 1320) over half a block.
fn half_md4(state: &mut [u32; 4], x: &[u32; 8]) {
    const ROUNDS: [(u32, [usize; 8], [u32; 4]); 3] = [
        (0, [0, 1, 2, 3, 4, 5, 6, 7], [3, 7, 11, 19]),
        (0x5A82_7999, [1, 3, 5, 7, 0, 2, 4, 6], [3, 5, 9, 13]),
        (0x6ED9_EBA1, [3, 7, 2, 6, 1, 5, 0, 4], [3, 9, 11, 15]),
    ];
    let mut v = *state;
    for (round, (constant, order, shifts)) in ROUNDS.iter().enumerate() {
        for (i, word) in order.iter().enumerate() {
            // The register that is changed goes a, d, c, b.
            let a = (4 - i % 4) % 4;
            let (b, c, d) = (v[(a + 1) % 4], v[(a + 2) % 4], v[(a + 3) % 4]);
            let mixed = match round {
                0 => d ^ (b & (c ^ d)),
                1 => (b & c).wrapping_add((b ^ c) & d),
                _ => b ^ c ^ d,
            };
            v[a] = v[a]
                .wrapping_add(mixed)
                .wrapping_add(x[*word])
                .wrapping_add(*constant)
                .rotate_left(shifts[i % 4]);
        }
    }
    for (s, v) in state.iter_mut().zip(v) {
        *s = s.wrapping_add(v);
    }
}

/// Sixteen cycles of the Tiny Encryption Algorithm.
fn tea(state: &mut [u32; 4], key: &[u32; 4]) {
    let (mut b0, mut b1, mut sum) = (state[0], state[1], 0u32);
    for _ in 0..16 {
        sum = sum.wrapping_add(0x9E37_79B9);
        b0 = b0.wrapping_add(
            (b1 << 4).wrapping_add(key[0]) ^ b1.wrapping_add(sum) ^ (b1 >> 5).wrapping_add(key[1]),
        );
        b1 = b1.wrapping_add(
            (b0 << 4).wrapping_add(key[2]) ^ b0.wrapping_add(sum) ^ (b0 >> 5).wrapping_add(key[3]),
        );
    }
    state[0] = state[0].wrapping_add(b0);
    state[1] = state[1].wrapping_add(b1);
}

/// Bytes of entries that a leaf gets: an eighth stays free for whoever adds names later.
pub(crate) fn leaf_fill(s: &Superblock) -> usize {
    let usable = usable(s);
    usable - usable / 8
}

/// `limit` of an index block: entries that it has room for, the one with the counts included.
pub(crate) fn limit(header: usize, s: &Superblock) -> u64 {
    let tail = if s.has_metadata_csum() { ENTRY } else { 0 };
    ((s.block_size - header - tail) / ENTRY) as u64
}

/// Inner blocks below the root that `leaves` leaves need: none, or one level of them. `None` when two levels are not enough.
pub(crate) fn nodes(leaves: u64, s: &Superblock) -> Option<u64> {
    if leaves <= limit(ROOT_HEADER, s) {
        return Some(0);
    }
    let nodes = leaves.div_ceil(limit(NODE_HEADER, s));
    (nodes <= limit(ROOT_HEADER, s)).then_some(nodes)
}

/// Lays out an indexed directory: the root, inner blocks if any, leaves sorted by hash.
pub(crate) fn layout(
    dir: &Directory,
    number: u32,
    version: Option<u8>,
    seed: u32,
    s: &Superblock,
) -> FsResult<Vec<Vec<u8>>> {
    let version = version.unwrap_or_else(|| s.u8(sb::DEF_HASH_VERSION));
    let hasher = Hasher::new(version, s)?;
    let mut names: Vec<((u32, u32), &[u8])> = dir
        .entries
        .keys()
        .map(|name| (hasher.hash(name), &**name))
        .collect();
    names.sort_unstable();

    let fill = leaf_fill(s);
    let mut leaves: Vec<(u32, Vec<u8>)> = Vec::new();
    let mut leaf = Leaf::new(s);
    let mut first = 0;
    let mut previous = 0;
    for ((hash, _), name) in names {
        if leaf.used > 0 && leaf.used + record_len(name.len()) > fill {
            let full = std::mem::replace(&mut leaf, Leaf::new(s));
            leaves.push((first, full.finish(seed)));
            // A set low bit says that names of this hash begin in the leaf before.
            first = if hash == previous { hash | 1 } else { hash };
        }
        previous = hash;
        if let Some(entry) = dir.entries.get(name) {
            leaf.push(name, entry.inode, entry.file_type);
        }
    }
    leaves.push((first, leaf.finish(seed)));

    let Some(nodes) = nodes(leaves.len() as u64, s) else {
        return unsupported(format!(
            "directory inode {number} needs an index of more than two levels"
        ));
    };
    let first_leaf = 1 + nodes as u32;
    let pointers: Vec<(u32, u32)> = leaves
        .iter()
        .zip(first_leaf..)
        .map(|((hash, _), block)| (*hash, block))
        .collect();

    let mut root = vec![0; s.block_size];
    // `..` claims the rest of the block, so that the index is invisible to who reads names in order.
    write_dot(&mut root, 0, number, 12, b".", s);
    write_dot(&mut root, 12, dir.parent, s.block_size - 12, b"..", s);
    root[0x1C] = version;
    root[0x1D] = 8;
    root[0x1E] = u8::from(nodes > 0);
    let mut blocks = vec![root];
    if nodes == 0 {
        write_index(&mut blocks[0], ROOT_HEADER, &pointers, seed, s);
    } else {
        let mut above = Vec::new();
        for (chunk, block) in pointers.chunks(limit(NODE_HEADER, s) as usize).zip(1..) {
            let mut node = vec![0; s.block_size];
            set_u16(&mut node, 4, s.block_size as u16);
            write_index(&mut node, NODE_HEADER, chunk, seed, s);
            above.push((chunk[0].0, block));
            blocks.push(node);
        }
        write_index(&mut blocks[0], ROOT_HEADER, &above, seed, s);
    }
    blocks.extend(leaves.into_iter().map(|(_, block)| block));
    Ok(blocks)
}

fn write_dot(block: &mut [u8], at: usize, inode: u32, rec_len: usize, name: &[u8], s: &Superblock) {
    set_u32(block, at, inode);
    set_u16(block, at + 4, rec_len as u16);
    block[at + 6] = name.len() as u8;
    block[at + 7] = if s.has_incompat(incompat::FILETYPE) { 2 } else { 0 };
    block[at + 8..at + 8 + name.len()].copy_from_slice(name);
}

/// The entries of an index block, the first with a hash of 0: `None` when counts or checksum are wrong.
pub(crate) fn read_index(block: &[u8], header: usize, seed: u32, s: &Superblock) -> Option<Vec<(u32, u32)>> {
    let limit = limit(header, s) as usize;
    let count = usize::from(u16_at(block, header + 2));
    if usize::from(u16_at(block, header)) != limit || count == 0 || count > limit {
        return None;
    }
    if s.has_metadata_csum()
        && u32_at(block, header + ENTRY * limit + 4) != index_checksum(block, header, count, seed, s)
    {
        return None;
    }
    let entries = (0..count).map(|n| {
        let at = header + ENTRY * n;
        let hash = if n == 0 { 0 } else { u32_at(block, at) };
        (hash, u32_at(block, at + 4))
    });
    Some(entries.collect())
}

pub(crate) fn index_checksum(block: &[u8], header: usize, count: usize, seed: u32, s: &Superblock) -> u32 {
    let tail = header + ENTRY * limit(header, s) as usize;
    let crc = crc32c(seed, &block[..header + ENTRY * count]);
    let crc = crc32c(crc, &block[tail..tail + 4]);
    crc32c(crc, &[0; 4])
}

/// Writes `dx_countlimit` and the entries; the first one's hash field is taken by the former.
fn write_index(block: &mut [u8], header: usize, pointers: &[(u32, u32)], seed: u32, s: &Superblock) {
    for (i, (hash, pointer)) in pointers.iter().enumerate() {
        set_u32(block, header + ENTRY * i, *hash);
        set_u32(block, header + ENTRY * i + 4, *pointer);
    }
    let limit = limit(header, s);
    set_u16(block, header, limit as u16);
    set_u16(block, header + 2, pointers.len() as u16);
    if s.has_metadata_csum() {
        let crc = index_checksum(block, header, pointers.len(), seed, s);
        let tail = header + ENTRY * limit as usize;
        set_u32(block, tail + 4, crc);
    }
}
