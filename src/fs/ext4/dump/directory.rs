//! Directories: leaves with their entries, roots and nodes of the index.

use std::io;
use std::ops::Range;

use super::super::checksum::crc32c;
use super::super::dir::{HEADER, TAIL, TAIL_TYPE};
use super::super::format::{u16_at, u32_at};
use super::super::htree::{self, ENTRY, NODE_HEADER, ROOT_HEADER};
use super::tables::{DIR_ENTRY, DIR_TAIL, DX_COUNT, DX_ENTRY, DX_ROOT_INFO, DX_TAIL};
use super::volume::Volume;
use super::{DIRECTORIES, annotate, verdict};
use crate::disk::dump::{Ledger, Part};

/// Offset of `dx_root_info` in a root.
const ROOT_INFO: usize = 0x18;

fn seed(v: &Volume<'_>, number: u32) -> io::Result<Option<u32>> {
    let inode = v.inode(number)?;
    Ok(inode
        .filter(|_| v.s.has_metadata_csum())
        .map(|i| i.seed(number, &v.s)))
}

/// Blocks with names.
pub(super) fn leaves(
    v: &Volume<'_>,
    blocks: Range<u64>,
    number: u32,
    logical: u64,
    out: &mut Ledger<'_>,
) -> io::Result<()> {
    let seed = seed(v, number)?;
    for (block, logical) in blocks.zip(logical..) {
        let bytes = v.block(block)?;
        let at = block * v.bs;
        let structure = format!("inode {number} directory block {logical}");
        let (parts, defect) = leaf(&bytes, seed);
        if let Some(what) = defect {
            out.defect(at..at + v.bs, &structure, &what)?;
        }
        out.structure(at, &bytes, DIRECTORIES, &structure, parts)?;
    }
    Ok(())
}

/// The lines of a leaf, with a tail where `seed` says that there are checksums.
fn leaf(bytes: &[u8], seed: Option<u32>) -> (Vec<Part>, Option<String>) {
    let mut parts = Vec::new();
    let mut end = bytes.len();
    if let Some(seed) = seed {
        let tail = end - TAIL;
        let right = u32_at(bytes, tail) == 0
            && usize::from(u16_at(bytes, tail + 4)) == TAIL
            && bytes[tail + 7] == TAIL_TYPE;
        if !right {
            let (parts, _) = entries(bytes, end);
            return (parts, Some("no tail with a checksum".to_owned()));
        }
        parts = DIR_TAIL.parts(&bytes[tail..], tail);
        annotate(&mut parts, "det_checksum", |p| {
            let right = crc32c(seed, &bytes[..tail]);
            p.meaning = verdict(u64::from(u32_at(bytes, tail + 8)), u64::from(right));
        });
        end = tail;
    }
    let (mut found, defect) = entries(bytes, end);
    parts.append(&mut found);
    (parts, defect)
}

/// Entries up to `end`, or to the first that is wrong.
fn entries(bytes: &[u8], end: usize) -> (Vec<Part>, Option<String>) {
    let mut parts = Vec::new();
    let mut at = 0;
    while at < end {
        let rec_len = match bytes.get(at + 4..at + HEADER) {
            Some(_) => usize::from(u16_at(bytes, at + 4)),
            None => 0,
        };
        // A block of 64 KiB does not fit the field.
        let rec_len = if bytes.len() > 65535 && matches!(rec_len, 0 | 65535) {
            bytes.len()
        } else {
            rec_len
        };
        let name_len = bytes.get(at + 6).map_or(0, |len| usize::from(*len));
        if rec_len < HEADER + name_len || at + rec_len > end || !rec_len.is_multiple_of(4) {
            return (
                parts,
                Some(format!(
                    "wrong entry at byte {at}: rec_len {rec_len}, name_len {name_len}"
                )),
            );
        }
        parts.push(entry(bytes, at, rec_len));
        at += rec_len;
    }
    (parts, None)
}

/// One entry with its name; the room behind it is its own only where that is less than four zeroes.
fn entry(bytes: &[u8], at: usize, rec_len: usize) -> Part {
    let header = &bytes[at..at + HEADER];
    let name = &bytes[at + HEADER..at + HEADER + usize::from(header[6])];
    let used = HEADER + name.len();
    let padded = used.next_multiple_of(4).min(rec_len);
    let padding = &bytes[at + used..at + padded];
    let stop = if padding.iter().all(|b| *b == 0) {
        padded
    } else {
        used
    };
    let field = if u32_at(header, 0) == 0 {
        format!("unused entry \"{}\"", name.escape_ascii())
    } else {
        format!("entry \"{}\"", name.escape_ascii())
    };
    let kind = DIR_ENTRY
        .parts(header, 0)
        .into_iter()
        .find(|p| p.field == "file_type")
        .map_or(String::new(), |p| p.meaning);
    Part::new(at..at + stop, field, DIR_ENTRY.brief(header, &[]), kind)
}

/// The root (logical block 0) or an inner node of an index.
pub(super) fn index(
    v: &Volume<'_>,
    block: u64,
    number: u32,
    logical: u64,
    out: &mut Ledger<'_>,
) -> io::Result<()> {
    let bytes = v.block(block)?;
    let at = block * v.bs;
    let header = if logical == 0 { ROOT_HEADER } else { NODE_HEADER };
    let name = if logical == 0 { "root" } else { "node" };
    let structure = format!("inode {number} directory block {logical} index {name}");
    let mut parts = Vec::new();
    if logical == 0 {
        for at in [0, 12] {
            let name_len = usize::from(bytes[at + 6]);
            if name_len <= 4 {
                parts.push(entry(&bytes, at, 12));
            }
        }
        parts.append(&mut DX_ROOT_INFO.parts(&bytes[ROOT_INFO..ROOT_HEADER], ROOT_INFO));
    } else {
        parts.push(Part::new(
            0..NODE_HEADER,
            "unused entry",
            DIR_ENTRY.brief(&bytes[..HEADER], &[]),
            "hides the node",
        ));
    }
    let limit = htree::limit(header, &v.s);
    let (stored, count) = (
        u64::from(u16_at(&bytes, header)),
        usize::from(u16_at(&bytes, header + 2)),
    );
    if stored != limit || count == 0 || count as u64 > limit {
        let what = format!("limit is {stored} and count {count}; there is room for {limit} entries");
        out.defect(at..at + v.bs, &structure, &what)?;
    }
    let count = count.min(limit as usize);
    for (n, e) in bytes[header..].chunks_exact(ENTRY).take(count.max(1)).enumerate() {
        let place = header + ENTRY * n..header + ENTRY * (n + 1);
        let brief = if n == 0 {
            DX_COUNT.brief(e, &[])
        } else {
            DX_ENTRY.brief(e, &[])
        };
        parts.push(Part::new(place, format!("dx_entry[{n}]"), brief, ""));
    }
    let tail = header + ENTRY * limit as usize;
    if let Some(seed) = seed(v, number)?
        && tail + ENTRY <= bytes.len()
    {
        let mut end = DX_TAIL.parts(&bytes[tail..tail + ENTRY], tail);
        annotate(&mut end, "dt_checksum", |p| {
            let right = htree::index_checksum(&bytes, header, count, seed, &v.s);
            p.meaning = verdict(u64::from(u32_at(&bytes, tail + 4)), u64::from(right));
        });
        parts.append(&mut end);
    }
    out.structure(at, &bytes, DIRECTORIES, &structure, parts)
}
