//! The journal, the orphan file, and symlinks too long for their inode.

use std::io;
use std::ops::Range;

use super::super::format::u32_at;
use super::super::journal::superblock as journal;
use super::super::orphan;
use super::tables::{JOURNAL as LAYOUT, ORPHAN_TAIL};
use super::volume::Volume;
use super::{DATA, JOURNAL, ORPHANS, annotate, map, verdict};
use crate::disk::dump::{Ledger, Part, number};

/// Blocks of the journal: its superblock field by field, the log as a range.
pub(super) fn journal(
    v: &Volume<'_>,
    blocks: Range<u64>,
    inode: u32,
    logical: u64,
    out: &mut Ledger<'_>,
) -> io::Result<()> {
    let mut blocks = blocks;
    let mut logical = logical;
    if logical == 0 {
        let bytes = v.block(blocks.start)?;
        let at = blocks.start * v.bs;
        let (head, rest) = bytes.split_at(journal::SIZE.min(bytes.len()));
        let magic = number(head, 0, 4, true);
        if magic != u64::from(journal::JBD2_MAGIC) {
            let what = format!("h_magic is {magic:#x}, {:#x} would be right", journal::JBD2_MAGIC);
            out.defect(at..at + v.bs, "journal superblock", &what)?;
        }
        let mut parts = LAYOUT.parts(head, 0);
        annotate(&mut parts, "s_checksum", |p| {
            p.meaning = if number(head, journal::FEATURE_INCOMPAT, 4, true)
                & u64::from(journal::INCOMPAT_CSUM)
                != 0
            {
                let right = journal::checksum(head);
                verdict(number(head, journal::CHECKSUM, 4, true), u64::from(right))
            } else {
                "not used".to_owned()
            };
        });
        out.structure(at, head, JOURNAL, "journal superblock", parts)?;
        let behind = at + head.len() as u64;
        out.structure(behind, rest, JOURNAL, "behind the journal superblock", Vec::new())?;
        blocks.start += 1;
        logical += 1;
    }
    let field = format!("logical {logical}..{}", logical + (blocks.end - blocks.start));
    let value = format!("blocks {}..{}", blocks.start, blocks.end);
    let structure = format!("inode {inode} log");
    out.own(v.bytes(&blocks), JOURNAL, &structure, &field, &value, "")
}

/// Blocks of the orphan file: numbers of inodes, and a tail.
pub(super) fn orphans(
    v: &Volume<'_>,
    blocks: Range<u64>,
    inode: u32,
    logical: u64,
    out: &mut Ledger<'_>,
) -> io::Result<()> {
    let seed = v.inode(inode)?.map(|i| i.seed(inode, &v.s));
    for (block, logical) in blocks.zip(logical..) {
        let bytes = v.block(block)?;
        let tail = bytes.len() - orphan::TAIL;
        let mut parts = map::numbers(&bytes[..tail], 0, "inode");
        let mut end = ORPHAN_TAIL.parts(&bytes[tail..], tail);
        annotate(&mut end, "ob_magic", |p| {
            p.meaning = verdict(u64::from(u32_at(&bytes, tail)), u64::from(orphan::MAGIC));
        });
        annotate(&mut end, "ob_checksum", |p| {
            p.meaning = match seed.filter(|_| v.s.has_metadata_csum()) {
                Some(seed) => {
                    let right = orphan::checksum(&bytes, seed, block);
                    verdict(u64::from(u32_at(&bytes, tail + 4)), u64::from(right))
                }
                None => "not used".to_owned(),
            };
        });
        parts.append(&mut end);
        let structure = format!("orphan file block {logical}");
        out.structure(block * v.bs, &bytes, ORPHANS, &structure, parts)?;
    }
    Ok(())
}

/// The target of a symlink in a block of its own.
pub(super) fn target(v: &Volume<'_>, blocks: Range<u64>, inode: u32, out: &mut Ledger<'_>) -> io::Result<()> {
    let structure = format!("inode {inode}");
    let size = v.inode(inode)?.map_or(0, |i| i.size());
    let bytes = v.block(blocks.start)?;
    let len = (size.min(v.bs)) as usize;
    let value = format!("\"{}\"", bytes[..len].escape_ascii());
    let parts = vec![Part::new(0..len, "target", value, "")];
    out.structure(blocks.start * v.bs, &bytes, DATA, &structure, parts)?;
    let rest = blocks.start + 1..blocks.end;
    let field = format!("blocks {}..{}", rest.start, rest.end);
    out.own(v.bytes(&rest), DATA, &structure, &field, "behind i_size", "")
}
