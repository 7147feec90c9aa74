//! Where the blocks of files are: extent trees, block maps, and the block maps that reserved descriptors hold.

use std::io;
use std::ops::Range;

use super::super::checksum::crc32c;
use super::super::extent::ENTRY;
use super::super::format::{EXTENT_MAGIC, EXTENT_MAX_DEPTH, join, u16_at, u32_at};
use super::survey::extent_len;
use super::tables::{EXTENT, EXTENT_HEADER, EXTENT_INDEX};
use super::volume::Volume;
use super::{EXTENTS, RESERVED, annotate, verdict};
use crate::disk::dump::{Ledger, Part};

/// The node of an extent tree in `bytes`, its lines `shift` behind their place; and what is wrong with its header.
pub(super) fn extent_node(v: &Volume<'_>, bytes: &[u8], shift: usize) -> (Vec<Part>, Option<String>) {
    let (magic, entries, depth) = (u16_at(bytes, 0), u16_at(bytes, 2), u16_at(bytes, 6));
    if magic != EXTENT_MAGIC || depth > EXTENT_MAX_DEPTH {
        return (
            Vec::new(),
            Some(format!(
                "no extent header: eh_magic {magic:#06x}, eh_depth {depth}"
            )),
        );
    }
    let room = bytes.len() / ENTRY - 1;
    let mut parts = EXTENT_HEADER.parts(&bytes[..ENTRY], shift);
    annotate(&mut parts, "eh_magic", |p| p.meaning = "right".to_owned());
    let defect = (usize::from(entries) > room)
        .then(|| format!("eh_entries is {entries}, but there is room for {room}"));
    let chunks = bytes[ENTRY..].chunks_exact(ENTRY);
    for (n, entry) in chunks.take(usize::from(entries)).enumerate() {
        let at = shift + ENTRY * (n + 1);
        let logical = u64::from(u32_at(entry, 0));
        let (field, value, start, len, mut meaning) = if depth == 0 {
            let (len, unwritten) = extent_len(u16_at(entry, 4));
            let start = join(u32_at(entry, 8), u32::from(u16_at(entry, 6)));
            let kind = if unwritten { ", unwritten" } else { "" };
            let end = logical + len;
            let meaning = format!(
                "logical {logical}..{end} at blocks {start}..{}{kind}",
                start.saturating_add(len)
            );
            (
                format!("extent[{n}]"),
                EXTENT.brief(entry, &[]),
                start,
                len,
                meaning,
            )
        } else {
            let start = join(u32_at(entry, 4), u32::from(u16_at(entry, 8)));
            let meaning = format!("logical {logical} and on: node at block {start}");
            (
                format!("extent_idx[{n}]"),
                EXTENT_INDEX.brief(entry, &[]),
                start,
                1,
                meaning,
            )
        };
        if len == 0 {
            meaning = "empty".to_owned();
        } else if !v.inside(start, len) {
            meaning += ", outside the file system";
        }
        parts.push(Part::new(at..at + ENTRY, field, value, meaning));
    }
    (parts, defect)
}

/// A block of an extent tree.
pub(super) fn extents(v: &Volume<'_>, block: u64, number: u32, out: &mut Ledger<'_>) -> io::Result<()> {
    let bytes = v.block(block)?;
    let at = block * v.bs;
    let structure = format!("inode {number} extent block {block}");
    let (mut parts, defect) = extent_node(v, &bytes, 0);
    if let Some(what) = defect {
        out.defect(at..at + v.bs, &structure, &what)?;
    }
    let tail = ENTRY * (1 + usize::from(u16_at(&bytes, 4)));
    if !parts.is_empty()
        && v.s.has_metadata_csum()
        && tail + 4 <= bytes.len()
        && let Some(inode) = v.inode(number)?
    {
        let right = crc32c(inode.seed(number, &v.s), &bytes[..tail]);
        let stored = u32_at(&bytes, tail);
        let meaning = verdict(u64::from(stored), u64::from(right));
        parts.push(Part::new(
            tail..tail + 4,
            "et_checksum",
            format!("{stored:#x}"),
            meaning,
        ));
    }
    out.structure(at, &bytes, EXTENTS, &structure, parts)
}

/// Numbers of blocks, runs of them as one line: `name[from..to]`.
pub(super) fn numbers(bytes: &[u8], shift: usize, name: &str) -> Vec<Part> {
    let words: Vec<u32> = bytes.chunks_exact(4).map(|b| u32_at(b, 0)).collect();
    let mut parts = Vec::new();
    let mut from = 0;
    while let Some(first) = words.get(from) {
        let mut to = from + 1;
        while let Some(next) = words.get(to) {
            let step = if *first == 0 { 0 } else { to - from };
            if u64::from(*next) != u64::from(*first) + step as u64 {
                break;
            }
            to += 1;
        }
        let range = shift + 4 * from..shift + 4 * to;
        let (field, value) = match (to - from, first) {
            (1, first) => (format!("{name}[{from}]"), first.to_string()),
            (_, 0) => (format!("{name}[{from}..{to}]"), "zero".to_owned()),
            (n, first) => (
                format!("{name}[{from}..{to}]"),
                format!("{first}..{}", u64::from(*first) + n as u64),
            ),
        };
        parts.push(Part::new(range, field, value, ""));
        from = to;
    }
    parts
}

/// An indirect block of any level.
pub(super) fn indirect(v: &Volume<'_>, block: u64, number: u32, out: &mut Ledger<'_>) -> io::Result<()> {
    let bytes = v.block(block)?;
    let structure = format!("inode {number} indirect block {block}");
    let parts = numbers(&bytes, 0, "block");
    out.structure(block * v.bs, &bytes, EXTENTS, &structure, parts)
}

/// Blocks kept for more descriptors: in group 0, the resize inode names their copies in them. Runs of blocks that
/// are zero, or that each name what the block before names and one more, are one line.
pub(super) fn reserved(
    v: &Volume<'_>,
    blocks: Range<u64>,
    group: u32,
    out: &mut Ledger<'_>,
) -> io::Result<()> {
    let structure = format!("group {group} reserved descriptors");
    let mut from = blocks.start;
    while from < blocks.end {
        let first = v.block(from)?;
        let mut last = first.clone();
        let mut to = from + 1;
        while to < blocks.end {
            let next = v.block(to)?;
            if !follows(&last, &next) {
                break;
            }
            last = next;
            to += 1;
        }
        let words = numbers(&first, 0, "block");
        let bytes = v.bytes(&(from..to));
        if to == from + 1 && words.len() > 1 {
            out.structure(bytes.start, &first, RESERVED, &structure, words)?;
        } else {
            let value: Vec<&str> = words.iter().map(|p| &*p.value).collect();
            let meaning = if words.len() > 1 {
                "each block names the next ones"
            } else {
                ""
            };
            let field = format!("blocks {from}..{to}");
            out.own(bytes, RESERVED, &structure, &field, &value.join(", "), meaning)?;
        }
        from = to;
    }
    Ok(())
}

/// Whether a block names what the block before it names, and one more; zeroes stay zero.
fn follows(before: &[u8], after: &[u8]) -> bool {
    let pairs = before.chunks_exact(4).zip(after.chunks_exact(4));
    pairs
        .map(|(b, a)| (u32_at(b, 0), u32_at(a, 0)))
        .all(|(b, a)| match b {
            0 => a == 0,
            _ => b.checked_add(1) == Some(a),
        })
}
