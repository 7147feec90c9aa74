//! Group descriptors and their copies, and the checksums of bitmaps that they keep.

use std::io;
use std::ops::Range;

use super::super::checksum::crc32c;
use super::super::format::{bg, u16_at};
use super::super::group::Group;
use super::tables::DESCRIPTOR;
use super::volume::Volume;
use super::{DESCRIPTORS, annotate, verdict};
use crate::disk::dump::{Ledger, Part, fold};

/// Blocks of the descriptor table in `group`.
pub(super) fn table(v: &Volume<'_>, blocks: Range<u64>, group: u32, out: &mut Ledger<'_>) -> io::Result<()> {
    let size = v.s.desc_size;
    let count = v.s.groups_count();
    let per_block = (v.s.block_size / size) as u64;
    let (original, copy) = (v.descriptors(0), v.descriptors(group));
    // Descriptors of a copy that are as in the original: their numbers, and where they begin.
    let mut same: Option<(Range<u32>, u64)> = None;
    for block in blocks {
        let index = block - copy.start;
        let bytes = v.block(block)?;
        let first = v.block(original.start + index)?;
        let mut at = block * v.bs;
        for (n, raw) in bytes.chunks_exact(size).enumerate() {
            let number = u32::try_from(index * per_block + n as u64).unwrap_or(u32::MAX);
            if number >= count {
                break;
            }
            let original = &first[n * size..(n + 1) * size];
            if group != 0 && original == raw {
                let run = same.get_or_insert((number..number, at));
                run.0.end = number + 1;
            } else {
                flush(group, &mut same, at, out)?;
                let parts = descriptor(v, number, raw, (group != 0).then_some(original));
                let structure = structure(group, number);
                out.structure(at, raw, DESCRIPTORS, &structure, parts)?;
            }
            at += size as u64;
        }
        let end = (block + 1) * v.bs;
        if at < end {
            flush(group, &mut same, at, out)?;
            let rest = &bytes[(at - block * v.bs) as usize..];
            let structure = match group {
                0 => "behind the descriptors".to_owned(),
                _ => format!("copy in group {group}, behind the descriptors"),
            };
            out.structure(at, rest, DESCRIPTORS, &structure, Vec::new())?;
        } else {
            flush(group, &mut same, end, out)?;
        }
    }
    Ok(())
}

fn structure(copy: u32, number: u32) -> String {
    match copy {
        0 => format!("descriptor {number}"),
        _ => format!("copy in group {copy}, descriptor {number}"),
    }
}

fn flush(group: u32, same: &mut Option<(Range<u32>, u64)>, end: u64, out: &mut Ledger<'_>) -> io::Result<()> {
    let Some((numbers, start)) = same.take() else {
        return Ok(());
    };
    let field = format!("descriptors {}..{}", numbers.start, numbers.end);
    let structure = format!("copy in group {group}");
    out.own(start..end, DESCRIPTORS, &structure, &field, "as in group 0", "")
}

fn descriptor(v: &Volume<'_>, number: u32, raw: &[u8], original: Option<&[u8]>) -> Vec<Part> {
    let mut parts = DESCRIPTOR.parts(raw, 0);
    annotate(&mut parts, "bg_checksum", |p| {
        p.meaning = if v.s.has_group_csum() {
            let right = Group::from_bytes(raw).checksum(number, &v.s);
            verdict(u64::from(u16_at(raw, bg::CHECKSUM)), u64::from(right))
        } else {
            "not used".to_owned()
        };
    });
    match original {
        Some(original) => fold(parts, "as in group 0", |p| {
            original.get(p.range.clone()) == raw.get(p.range.clone())
        }),
        None => parts,
    }
}

/// What the descriptor says about the checksum of a bitmap; `bits` are the bytes that it covers.
pub(super) fn bitmap_verdict(v: &Volume<'_>, group: u32, of_blocks: bool, bits: &[u8]) -> String {
    if !v.s.has_metadata_csum() {
        return String::new();
    }
    let (lo, hi) = if of_blocks {
        (bg::BLOCK_BITMAP_CSUM_LO, bg::BLOCK_BITMAP_CSUM_HI)
    } else {
        (bg::INODE_BITMAP_CSUM_LO, bg::INODE_BITMAP_CSUM_HI)
    };
    let right = crc32c(v.s.checksum_seed, bits);
    if v.group(group).bitmap_csum_agrees(lo, hi, right) {
        format!("crc32c {right:#010x}, right in the descriptor")
    } else {
        format!("crc32c {right:#010x}, wrong in the descriptor")
    }
}
