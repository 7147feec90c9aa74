//! Inode tables: inodes in use field by field, what is left in others, and runs of zeroes.

use std::io;
use std::ops::Range;

use super::super::super::NodeKind;
use super::super::blockmap::DIRECT;
use super::super::format::{EXTENT_MAGIC, ino, u16_at, u32_at};
use super::super::inode::{Inode, Stamp};
use super::tables::INODE;
use super::volume::{Volume, in_use};
use super::{INODES, annotate, attributes, map, verdict};
use crate::disk::dump::{Ledger, Part, date, fold};

/// Inodes of all zeroes that are not in use, from the first one on.
struct Zeroes {
    first: u64,
    start: u64,
}

/// Blocks of the inode table of a group.
pub(super) fn table(v: &Volume<'_>, blocks: Range<u64>, group: u32, out: &mut Ledger<'_>) -> io::Result<()> {
    let bits = v.inode_bitmap(group)?;
    let size = v.s.inode_size;
    let per_block = v.s.inodes_per_block();
    let count = v.s.inodes_per_group as usize;
    let table = v.inode_table(group);
    let before = u64::from(group) * count as u64;
    let mut zeroes: Option<Zeroes> = None;
    for block in blocks.clone() {
        let bytes = v.block(block)?;
        let first = (block - table.start) as usize * per_block;
        let mut at = block * v.bs;
        for (index, raw) in (first..count).zip(bytes.chunks_exact(size)) {
            let number = before + index as u64 + 1;
            let used = in_use(bits.as_deref(), index, raw);
            if !used && raw.iter().all(|b| *b == 0) {
                zeroes.get_or_insert(Zeroes {
                    first: number,
                    start: at,
                });
            } else {
                flush(&mut zeroes, number, at, out)?;
                inode(v, at, (number, used), raw, out)?;
            }
            at += size as u64;
        }
        let end = (block + 1) * v.bs;
        if at < end {
            flush(&mut zeroes, before + count as u64 + 1, at, out)?;
            let rest = &bytes[(at - block * v.bs) as usize..];
            out.structure(at, rest, INODES, "behind the inodes", Vec::new())?;
        }
    }
    let next = before + ((blocks.end - table.start) as usize * per_block).min(count) as u64 + 1;
    flush(&mut zeroes, next, blocks.end * v.bs, out)
}

fn flush(zeroes: &mut Option<Zeroes>, next: u64, end: u64, out: &mut Ledger<'_>) -> io::Result<()> {
    match zeroes.take() {
        Some(z) => {
            let structure = format!("inodes {}..{next}", z.first);
            out.own(z.start..end, INODES, &structure, "unused", "zero", "")
        }
        None => Ok(()),
    }
}

fn inode(
    v: &Volume<'_>,
    at: u64,
    (number, used): (u64, bool),
    raw: &[u8],
    out: &mut Ledger<'_>,
) -> io::Result<()> {
    let inode = Inode { raw: raw.to_vec() };
    let number = u32::try_from(number).unwrap_or(u32::MAX);
    let structure = if used {
        format!("inode {number}")
    } else {
        format!("unused inode {number}")
    };
    let bytes = at..at + raw.len() as u64;
    let mut parts = fields(v, &inode, number);
    let (mut body, defect) = i_block(v, &inode);
    if used && let Some(what) = defect {
        out.defect(bytes.clone(), &structure, &what)?;
    }
    parts.append(&mut body);
    let extra = inode.extra_isize();
    if ino::GOOD_OLD_SIZE + extra > raw.len() || !extra.is_multiple_of(4) {
        let what = format!(
            "i_extra_isize is {extra}, which inodes of {} bytes cannot have",
            raw.len()
        );
        out.defect(bytes.clone(), &structure, &what)?;
    } else if extra > 0 {
        let (mut found, defects) =
            attributes::in_inode(&raw[ino::GOOD_OLD_SIZE + extra..], ino::GOOD_OLD_SIZE + extra);
        for what in defects {
            out.defect(bytes.clone(), &structure, &what)?;
        }
        parts.append(&mut found);
    }
    parts.sort_by_key(|p| p.range.start);
    // Of what is not in use, and of reserved inodes without content, only what is not zero is worth a line.
    if !used || inode.mode() == 0 {
        parts = fold(parts, "zero", |p| raw[p.range.clone()].iter().all(|b| *b == 0));
    }
    out.structure(at, raw, INODES, &structure, parts)
}

/// The fields but `i_block`.
fn fields(v: &Volume<'_>, inode: &Inode, number: u32) -> Vec<Part> {
    let raw = &inode.raw;
    // i_extra_isize is always there where inodes have more than 128 bytes, other fields as far as it says.
    let end = (ino::GOOD_OLD_SIZE + inode.extra_isize().max(2)).min(raw.len());
    let mut parts = INODE.parts(&raw[..end], 0);
    annotate(&mut parts, "i_mode", |p| {
        p.value = format!("0{:o}", inode.mode());
        p.meaning = inode.kind().map_or("no type".to_owned(), |kind| kind.to_string());
    });
    annotate(&mut parts, "i_size_lo", |p| {
        p.meaning = format!("{} bytes", inode.size())
    });
    annotate(&mut parts, "i_blocks_lo", |p| {
        p.meaning = if inode.has_flag(ino::HUGE_FILE_FL) {
            "blocks".to_owned()
        } else {
            "sectors of 512 bytes".to_owned()
        };
    });
    annotate(&mut parts, "i_file_acl_lo", |p| {
        if inode.file_acl() != 0 {
            p.meaning = format!("attributes at block {}", inode.file_acl());
        }
    });
    for (name, extra, stamp) in [
        ("i_atime", "i_atime_extra", Stamp::Access),
        ("i_ctime", "i_ctime_extra", Stamp::Change),
        ("i_mtime", "i_mtime_extra", Stamp::Modify),
        ("i_crtime", "i_crtime_extra", Stamp::Create),
    ] {
        let time = inode.time(stamp);
        if time.secs != 0 {
            annotate(&mut parts, name, |p| p.meaning = date(time.secs));
        }
        annotate(&mut parts, extra, |p| {
            if p.value != "0" {
                p.meaning = format!("{} ns, epoch {}", time.nanos, u32_at(raw, p.range.start) & 3);
            }
        });
    }
    let right = inode.checksum(number, &v.s);
    for (name, at, right) in [
        ("l_i_checksum_lo", ino::CHECKSUM_LO, right & 0xFFFF),
        ("i_checksum_hi", ino::CHECKSUM_HI, right >> 16),
    ] {
        annotate(&mut parts, name, |p| {
            p.meaning = if v.s.has_metadata_csum() {
                verdict(u64::from(u16_at(raw, at)), u64::from(right))
            } else {
                "not used".to_owned()
            };
        });
    }
    parts
}

/// The lines of `i_block`, by what it holds; and what is wrong with that.
fn i_block(v: &Volume<'_>, inode: &Inode) -> (Vec<Part>, Option<String>) {
    let block = inode.block();
    let at = ino::BLOCK;
    let whole = |name: &str, len: usize, value: String, meaning: &str| {
        (vec![Part::new(at..at + len, name, value, meaning)], None)
    };
    if block.iter().all(|b| *b == 0) {
        return whole("i_block", ino::BLOCK_LEN, "zero".to_owned(), "");
    }
    if inode.has_flag(ino::INLINE_DATA_FL) {
        return (Vec::new(), None);
    }
    match inode.kind() {
        _ if inode.is_fast_symlink() => {
            let len = inode.size() as usize;
            let text = format!("\"{}\"", block[..len].escape_ascii());
            whole("i_block", len, text, "target")
        }
        Some(NodeKind::CharDevice | NodeKind::BlockDevice) => {
            let (major, minor) = inode.rdev();
            let mut parts = map::numbers(&block[..8], at, "i_block");
            if let Some(part) = parts.last_mut() {
                part.meaning = format!("device {major}:{minor}");
            }
            (parts, None)
        }
        _ if inode.has_flag(ino::EXTENTS_FL) || u16_at(block, 0) == EXTENT_MAGIC && !inode.maps_blocks() => {
            map::extent_node(v, block, at)
        }
        _ => {
            let mut parts = map::numbers(&block[..4 * DIRECT], at, "i_block");
            for (slot, name) in [
                (DIRECT, "i_block[12]"),
                (DIRECT + 1, "i_block[13]"),
                (DIRECT + 2, "i_block[14]"),
            ] {
                let number = u32_at(block, 4 * slot);
                let meaning = ["indirect", "double indirect", "triple indirect"][slot - DIRECT];
                let range = at + 4 * slot..at + 4 * slot + 4;
                parts.push(Part::new(range, name, number.to_string(), meaning));
            }
            (parts, None)
        }
    }
}
