//! Extended attributes, in inodes and in blocks of their own.

use std::io;

use super::super::format::{u16_at, u32_at};
use super::super::xattr::{self, Attr, BLOCK_HEADER, ENTRY};
use super::tables::{XATTR_ENTRY, XATTR_HEADER, XATTR_IBODY};
use super::volume::Volume;
use super::{XATTRS, annotate, verdict};
use crate::disk::dump::{Ledger, Part, hex};

/// Attributes behind the fields of an inode: `area` begins `shift` bytes into it.
pub(super) fn in_inode(area: &[u8], shift: usize) -> (Vec<Part>, Vec<String>) {
    if area.len() < 4 || u32_at(area, 0) != xattr::MAGIC {
        return (Vec::new(), Vec::new());
    }
    let mut parts = XATTR_IBODY.parts(&area[..4], shift);
    let (mut found, defects) = entries(area, (4, 4), shift, false);
    parts.append(&mut found);
    (parts, defects)
}

/// A block of attributes that `shared` inodes name.
pub(super) fn block(
    v: &Volume<'_>,
    block: u64,
    inode: u32,
    shared: u32,
    out: &mut Ledger<'_>,
) -> io::Result<()> {
    let bytes = v.block(block)?;
    let at = block * v.bs;
    let structure = format!("xattr block {block} of inode {inode}");
    if u32_at(&bytes, 0) != xattr::MAGIC {
        let what = format!("h_magic is {:#010x}", u32_at(&bytes, 0));
        out.defect(at..at + v.bs, &structure, &what)?;
        return out.structure(at, &bytes, XATTRS, &structure, Vec::new());
    }
    let mut parts = XATTR_HEADER.parts(&bytes[..BLOCK_HEADER], 0);
    annotate(&mut parts, "h_refcount", |p| {
        p.meaning = verdict(u64::from(u32_at(&bytes, 4)), u64::from(shared));
    });
    annotate(&mut parts, "h_checksum", |p| {
        p.meaning = if v.s.has_metadata_csum() {
            let right = xattr::block_checksum(&bytes, block, &v.s);
            verdict(u64::from(u32_at(&bytes, 16)), u64::from(right))
        } else {
            "not used".to_owned()
        };
    });
    let (mut found, defects) = entries(&bytes, (BLOCK_HEADER, 0), 0, true);
    for what in defects {
        out.defect(at..at + v.bs, &structure, &what)?;
    }
    parts.append(&mut found);
    out.structure(at, &bytes, XATTRS, &structure, parts)
}

/// Entries from `first` on, values counted from `base`, up to the first entry that is wrong.
fn entries(
    area: &[u8],
    (first, base): (usize, usize),
    shift: usize,
    hashed: bool,
) -> (Vec<Part>, Vec<String>) {
    let mut parts = Vec::new();
    let mut defects = Vec::new();
    let mut at = first;
    while at + 4 <= area.len() {
        if u32_at(area, at) == 0 {
            parts.push(Part::new(
                shift + at..shift + at + 4,
                "end of entries",
                "zero",
                "",
            ));
            return (parts, defects);
        }
        let name_len = usize::from(area[at]);
        let Some(name) = area.get(at + ENTRY..at + ENTRY + name_len) else {
            break;
        };
        let end = (at + ENTRY + name_len).next_multiple_of(4).min(area.len());
        let size = u32_at(area, at + 8) as usize;
        let inum = u32_at(area, at + 4);
        let start = base + usize::from(u16_at(area, at + 2));
        let value = if inum == 0 && size > 0 {
            let value = start.checked_add(size).and_then(|stop| area.get(start..stop));
            if value.is_none() {
                defects.push(format!(
                    "the value of attribute {} lies outside",
                    name.escape_ascii()
                ));
            }
            value
        } else {
            Some(&[][..])
        };
        let attr = Attr {
            index: area[at + 1],
            name: name.to_vec(),
            value: value.unwrap_or_default().to_vec(),
        };
        let full = attr.full_name().escape_ascii().to_string();
        let stored = u32_at(area, at + 12);
        let meaning = if inum != 0 {
            format!("value in inode {inum}")
        } else if value.is_none() {
            "value outside".to_owned()
        } else if !hashed && stored == 0 {
            "no hash".to_owned()
        } else {
            let right = if attr.is_hash(stored) { stored } else { attr.hash() };
            format!("hash {}", verdict(u64::from(stored), u64::from(right)))
        };
        let brief = XATTR_ENTRY.brief(&area[at..at + ENTRY], &[]);
        parts.push(Part::new(
            shift + at..shift + end,
            format!("entry {full}"),
            brief,
            meaning,
        ));
        if !attr.value.is_empty() {
            // Values are padded to four bytes.
            let padded = (start + size).next_multiple_of(4).min(area.len());
            let padding = &area[start + size..padded];
            let stop = if padding.iter().all(|b| *b == 0) {
                padded
            } else {
                start + size
            };
            let field = format!("value of {full}");
            parts.push(Part::new(
                shift + start..shift + stop,
                field,
                show(&attr.value),
                "",
            ));
        }
        at = end;
    }
    defects.push(format!("attributes have no end: entry at byte {at} is wrong"));
    (parts, defects)
}

/// A value as text where it is printable, else in hexadecimal.
fn show(value: &[u8]) -> String {
    let printable = |b: &u8| b.is_ascii_graphic() || *b == b' ';
    if value.iter().all(printable) {
        format!("\"{}\"", value.escape_ascii())
    } else {
        hex(value)
    }
}
