//! Extended attributes: in the inode behind its fields, and in one block of their own.

use super::super::FsResult;
use super::checksum::crc32c;
use super::error::{damaged, unsupported};
use super::format::{ino, set_u16, set_u32, u16_at, u32_at};
use super::inode::Inode;
use super::superblock::Superblock;

/// `h_magic`, of both places.
pub(crate) const MAGIC: u32 = 0xEA02_0000;
/// Size of `ext4_xattr_header`.
pub(crate) const BLOCK_HEADER: usize = 32;
/// Fixed part of `ext4_xattr_entry`.
pub(crate) const ENTRY: usize = 16;
/// Version of ACLs on disk (`EXT4_ACL_VERSION`).
const ACL_DISK_VERSION: u32 = 1;
/// Version of ACLs as attributes (`POSIX_ACL_XATTR_VERSION`).
const ACL_XATTR_VERSION: u32 = 2;
/// `e_tag` of a named user and a named group: the two that carry an id.
const ACL_USER: u16 = 0x02;
const ACL_GROUP: u16 = 0x08;
/// The other tags.
pub(crate) const ACL_USER_OBJ: u16 = 0x01;
pub(crate) const ACL_GROUP_OBJ: u16 = 0x04;
pub(crate) const ACL_MASK: u16 = 0x10;
pub(crate) const ACL_OTHER: u16 = 0x20;
/// `e_name_index` of the two ACLs.
pub(crate) const INDEX_ACL_ACCESS: u8 = 2;
pub(crate) const INDEX_ACL_DEFAULT: u8 = 3;

/// Prefixes by `e_name_index`; the ACLs are whole names.
const PREFIXES: [(u8, &[u8]); 7] = [
    (1, b"user."),
    (INDEX_ACL_ACCESS, b"system.posix_acl_access"),
    (INDEX_ACL_DEFAULT, b"system.posix_acl_default"),
    (4, b"trusted."),
    (6, b"security."),
    (8, b"system.richacl"),
    (7, b"system."),
];

/// One attribute as on disk; sorts as the entries of a block must.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Attr {
    pub(crate) index: u8,
    pub(crate) name: Vec<u8>,
    pub(crate) value: Vec<u8>,
}

impl Attr {
    fn key(&self) -> (u8, usize, &[u8]) {
        (self.index, self.name.len(), &self.name)
    }

    fn entry_len(&self) -> usize {
        (ENTRY + self.name.len()).next_multiple_of(4)
    }

    fn value_len(&self) -> usize {
        self.value.len().next_multiple_of(4)
    }

    /// The full name, as the system calls have it.
    pub(crate) fn full_name(&self) -> Vec<u8> {
        let prefix = PREFIXES
            .iter()
            .find(|(index, _)| *index == self.index)
            .map_or(&b""[..], |(_, prefix)| prefix);
        [prefix, &self.name].concat()
    }

    /// `e_hash`, as kernels since 6.2 and e2fsprogs write it.
    pub(crate) fn hash(&self) -> u32 {
        entry_hash(&self.name, &self.value, false)
    }

    /// Whether a stored `e_hash` is right in either form.
    pub(crate) fn is_hash(&self, stored: u32) -> bool {
        [false, true]
            .iter()
            .any(|signed| stored == entry_hash(&self.name, &self.value, *signed))
    }
}

/// `e_hash`: five bits a byte of the name, sixteen a word of the value, which is filled up with zeroes. Older kernels
/// took the bytes of a name as signed where the processor does.
pub(crate) fn entry_hash(name: &[u8], value: &[u8], signed: bool) -> u32 {
    let mut hash = 0u32;
    for byte in name {
        let byte = if signed {
            i32::from(*byte as i8) as u32
        } else {
            u32::from(*byte)
        };
        hash = hash.rotate_left(5) ^ byte;
    }
    for word in value.chunks(4) {
        let mut padded = [0; 4];
        padded[..word.len()].copy_from_slice(word);
        hash = hash.rotate_left(16) ^ u32::from_le_bytes(padded);
    }
    hash
}

/// Index and name on disk of a full name, `None` for one without a known prefix.
pub(crate) fn split_name(full: &[u8]) -> Option<(u8, &[u8])> {
    PREFIXES.iter().find_map(|(index, prefix)| {
        let rest = full.strip_prefix(*prefix)?;
        let whole = !prefix.ends_with(b".");
        (whole == rest.is_empty()).then_some((*index, rest))
    })
}

/// An ACL as the system calls have it, from its bytes on disk.
pub(crate) fn acl_to_xattr(disk: &[u8]) -> Option<Vec<u8>> {
    let mut out = ACL_XATTR_VERSION.to_le_bytes().to_vec();
    for (tag, perm, id) in acl_entries(disk)? {
        out.extend(tag.to_le_bytes());
        out.extend(perm.to_le_bytes());
        out.extend(id.unwrap_or(u32::MAX).to_le_bytes());
    }
    Some(out)
}

/// Tag, permissions and id of every entry of an ACL on disk.
pub(crate) fn acl_entries(disk: &[u8]) -> Option<Vec<(u16, u16, Option<u32>)>> {
    let (head, mut rest) = disk.split_at_checked(4)?;
    if u32_at(head, 0) != ACL_DISK_VERSION {
        return None;
    }
    let mut entries = Vec::new();
    while !rest.is_empty() {
        let (short, after) = rest.split_at_checked(4)?;
        let tag = u16_at(short, 0);
        let id = if tag == ACL_USER || tag == ACL_GROUP {
            let (id, after) = after.split_at_checked(4)?;
            rest = after;
            Some(u32_at(id, 0))
        } else {
            rest = after;
            None
        };
        entries.push((tag, u16_at(short, 2), id));
    }
    Some(entries)
}

/// The bytes on disk of ACL entries.
pub(crate) fn acl_to_disk(entries: &[(u16, u16, Option<u32>)]) -> Vec<u8> {
    let mut out = ACL_DISK_VERSION.to_le_bytes().to_vec();
    for (tag, perm, id) in entries {
        out.extend(tag.to_le_bytes());
        out.extend(perm.to_le_bytes());
        if let Some(id) = id {
            out.extend(id.to_le_bytes());
        }
    }
    out
}

/// The entries of an ACL as the system calls have it, checked as the kernel does: one each of owner, group and
/// other, a mask where there are named ones, in order.
pub(crate) fn acl_from_xattr(value: &[u8]) -> Option<Vec<(u16, u16, Option<u32>)>> {
    let (head, rest) = value.split_at_checked(4)?;
    let (chunks, odd) = rest.as_chunks::<8>();
    if u32_at(head, 0) != ACL_XATTR_VERSION || !odd.is_empty() {
        return None;
    }
    let mut entries: Vec<(u16, u16, Option<u32>)> = Vec::new();
    for c in chunks {
        let (tag, perm) = (u16_at(c, 0), u16_at(c, 2));
        let named = tag == ACL_USER || tag == ACL_GROUP;
        let known = named || matches!(tag, ACL_USER_OBJ | ACL_GROUP_OBJ | ACL_MASK | ACL_OTHER);
        let last = entries.last().map_or(0, |e| e.0);
        if !known || perm > 7 || tag < last || (tag == last && !named) {
            return None;
        }
        entries.push((tag, perm, named.then(|| u32_at(c, 4))));
    }
    let has = |tag: u16| entries.iter().any(|e| e.0 == tag);
    let complete = has(ACL_USER_OBJ) && has(ACL_GROUP_OBJ) && has(ACL_OTHER);
    let masked = has(ACL_MASK) || !(has(ACL_USER) || has(ACL_GROUP));
    (complete && masked).then_some(entries)
}

fn read_entries(area: &[u8], first: usize, values_from: usize, place: &str) -> FsResult<Vec<Attr>> {
    let bad = || damaged(format!("extended attributes of {place} are wrong"));
    let mut attrs = Vec::new();
    let mut at = first;
    loop {
        if at + 4 > area.len() {
            return bad();
        }
        if u32_at(area, at) == 0 {
            return Ok(attrs);
        }
        if at + ENTRY > area.len() {
            return bad();
        }
        let name_len = usize::from(area[at]);
        let index = area[at + 1];
        let offset = usize::from(u16_at(area, at + 2));
        let inum = u32_at(area, at + 4);
        let size = u32_at(area, at + 8) as usize;
        if inum != 0 {
            return unsupported(format!("extended attribute of {place} in an inode of its own"));
        }
        let Some(name) = area.get(at + ENTRY..at + ENTRY + name_len) else {
            return bad();
        };
        let start = values_from + offset;
        let value = if size == 0 {
            &[][..]
        } else {
            match start.checked_add(size).and_then(|end| area.get(start..end)) {
                Some(value) => value,
                None => return bad(),
            }
        };
        attrs.push(Attr {
            index,
            name: name.to_vec(),
            value: value.to_vec(),
        });
        at += (ENTRY + name_len).next_multiple_of(4);
    }
}

/// The bytes behind the inode's fields, where they are attributes.
pub(crate) fn inode_area(inode: &Inode) -> Option<&[u8]> {
    let start = ino::GOOD_OLD_SIZE + inode.extra_isize();
    if inode.extra_isize() == 0 || start + 4 > inode.raw.len() {
        return None;
    }
    let area = &inode.raw[start..];
    (u32_at(area, 0) == MAGIC).then_some(area)
}

/// Attributes in the inode itself.
pub(crate) fn read_inode(inode: &Inode, number: u32) -> FsResult<Vec<Attr>> {
    match inode_area(inode) {
        Some(area) => read_entries(area, 4, 4, &format!("inode {number}")),
        None => Ok(Vec::new()),
    }
}

/// A block of attributes.
#[derive(Debug)]
pub(crate) struct Block {
    /// Inodes that share it.
    pub(crate) refcount: u32,
    pub(crate) attrs: Vec<Attr>,
}

/// Reads attribute block `number`.
pub(crate) fn read_block(block: &[u8], number: u64, s: &Superblock) -> FsResult<Block> {
    if u32_at(block, 0) != MAGIC || u32_at(block, 8) != 1 {
        return damaged(format!("extended attribute block {number} has no right header"));
    }
    if s.has_metadata_csum() && u32_at(block, 16) != block_checksum(block, number, s) {
        return damaged(format!("extended attribute block {number} has a wrong checksum"));
    }
    Ok(Block {
        refcount: u32_at(block, 4),
        attrs: read_entries(block, BLOCK_HEADER, 0, &format!("block {number}"))?,
    })
}

pub(crate) fn block_checksum(block: &[u8], number: u64, s: &Superblock) -> u32 {
    let crc = crc32c(s.checksum_seed, &number.to_le_bytes());
    let crc = crc32c(crc, &block[..16]);
    let crc = crc32c(crc, &[0; 4]);
    crc32c(crc, &block[20..])
}

/// Changes `h_refcount`.
pub(crate) fn set_refcount(block: &mut [u8], count: u32, number: u64, s: &Superblock) {
    set_u32(block, 4, count);
    if s.has_metadata_csum() {
        let crc = block_checksum(block, number, s);
        set_u32(block, 16, crc);
    }
}

/// Writes entries from `first` on and values from the end of `area`.
fn write_entries(area: &mut [u8], first: usize, values_from: usize, attrs: &[&Attr]) {
    let mut at = first;
    let mut end = area.len() - (area.len() - values_from) % 4;
    for a in attrs {
        area[at] = a.name.len() as u8;
        area[at + 1] = a.index;
        if !a.value.is_empty() {
            end -= a.value_len();
            set_u16(area, at + 2, (end - values_from) as u16);
            area[end..end + a.value.len()].copy_from_slice(&a.value);
        }
        set_u32(area, at + 8, a.value.len() as u32);
        set_u32(area, at + 12, a.hash());
        area[at + ENTRY..at + ENTRY + a.name.len()].copy_from_slice(&a.name);
        at += a.entry_len();
    }
}

/// Builds attribute block `number` for one owner.
pub(crate) fn build_block(attrs: &[&Attr], number: u64, s: &Superblock) -> Vec<u8> {
    let mut block = vec![0; s.block_size];
    set_u32(&mut block, 0, MAGIC);
    set_u32(&mut block, 4, 1);
    set_u32(&mut block, 8, 1);
    write_entries(&mut block, BLOCK_HEADER, 0, attrs);
    let hash = attrs.iter().fold(0u32, |hash, a| hash.rotate_left(16) ^ a.hash());
    // A block with an entry hash of zero is never shared, which a block hash of zero says.
    let shared = attrs.iter().all(|a| a.hash() != 0);
    set_u32(&mut block, 12, if shared { hash } else { 0 });
    set_refcount(&mut block, 1, number, s);
    block
}

/// Puts attributes behind the inode's fields, where they must fit.
pub(crate) fn write_inode(inode: &mut Inode, attrs: &[&Attr]) {
    let start = ino::GOOD_OLD_SIZE + inode.extra_isize();
    if inode.extra_isize() == 0 || start >= inode.raw.len() {
        return;
    }
    let area = &mut inode.raw[start..];
    area.fill(0);
    if !attrs.is_empty() {
        set_u32(area, 0, MAGIC);
        write_entries(area, 4, 4, attrs);
    }
}

/// Distributes attributes to the inode and to the block. `None` when they do not fit.
pub(crate) fn place<'a>(
    attrs: &'a [Attr],
    inode: &Inode,
    s: &Superblock,
) -> Option<(Vec<&'a Attr>, Vec<&'a Attr>)> {
    let start = ino::GOOD_OLD_SIZE + inode.extra_isize();
    // Both places end their entries with a word of zeroes.
    let room = if inode.extra_isize() == 0 {
        0
    } else {
        (inode.raw.len() - start).saturating_sub(8)
    };
    let block_room = s.block_size - BLOCK_HEADER - 4;
    let need = |a: &Attr| a.entry_len() + a.value_len();
    let mut by_key: Vec<&Attr> = attrs.iter().collect();
    by_key.sort_by(|a, b| a.key().cmp(&b.key()));
    let mut by_size = by_key.clone();
    by_size.sort_by_key(|a| std::cmp::Reverse(need(a)));
    [by_key, by_size].into_iter().find_map(|order| {
        let (mut inside, mut outside) = (Vec::new(), Vec::new());
        let (mut used, mut block_used) = (0, 0);
        for a in order {
            if used + need(a) <= room {
                used += need(a);
                inside.push(a);
            } else {
                block_used += need(a);
                outside.push(a);
            }
        }
        inside.sort_by(|a, b| a.key().cmp(&b.key()));
        outside.sort_by(|a, b| a.key().cmp(&b.key()));
        (block_used <= block_room).then_some((inside, outside))
    })
}
