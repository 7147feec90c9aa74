//! The superblock and its copies.

use std::io;

use super::super::checksum::crc32c;
use super::super::format::{SUPERBLOCK_OFFSET, SUPERBLOCK_SIZE, ro_compat, sb, u32_at};
use super::tables::SUPERBLOCK;
use super::volume::Volume;
use super::{BOOT, SUPERBLOCKS, annotate, verdict};
use crate::disk::dump::{Ledger, Part, fold};

/// Superblock of `group` at block `block`, with what stands beside it in its block.
pub(super) fn dump(v: &Volume<'_>, block: u64, group: u32, out: &mut Ledger<'_>) -> io::Result<()> {
    let mut bytes = v.block(block)?;
    let mut at = block * v.bs;
    if at < SUPERBLOCK_OFFSET && bytes.len() > SUPERBLOCK_OFFSET as usize {
        let rest = bytes.split_off(SUPERBLOCK_OFFSET as usize);
        out.structure(at, &bytes, BOOT, "boot area", Vec::new())?;
        at += SUPERBLOCK_OFFSET;
        bytes = rest;
    }
    let behind = bytes.split_off(SUPERBLOCK_SIZE.min(bytes.len()));
    let structure = format!("superblock {group}");
    let primary = (group != 0).then_some(&*v.primary);
    out.structure(at, &bytes, SUPERBLOCKS, &structure, parts(&bytes, group, primary))?;
    out.structure(
        at + bytes.len() as u64,
        &behind,
        SUPERBLOCKS,
        &format!("behind superblock {group}"),
        Vec::new(),
    )
}

/// The fields of a superblock; of a copy, runs of what is as in `primary` are one line.
pub(super) fn parts(raw: &[u8], group: u32, primary: Option<&[u8]>) -> Vec<Part> {
    let mut parts = SUPERBLOCK.parts(raw, 0);
    if raw.len() < SUPERBLOCK_SIZE {
        return parts;
    }
    let log = u32_at(raw, sb::LOG_BLOCK_SIZE);
    annotate(&mut parts, "s_log_block_size", |p| {
        p.meaning = 1024u64
            .checked_shl(log)
            .filter(|_| log <= 6)
            .map_or("impossible".to_owned(), |size| format!("blocks of {size} bytes"));
    });
    annotate(&mut parts, "s_block_group_nr", |p| {
        if p.value != group.to_string() {
            p.meaning = format!("wrong, {group} would be right");
        }
    });
    let csum = u32_at(raw, sb::FEATURE_RO_COMPAT) & ro_compat::METADATA_CSUM != 0;
    annotate(&mut parts, "s_checksum", |p| {
        p.meaning = if csum {
            let right = crc32c(!0, &raw[..sb::CHECKSUM]);
            verdict(u64::from(u32_at(raw, sb::CHECKSUM)), u64::from(right))
        } else {
            "not used".to_owned()
        };
    });
    match primary {
        Some(primary) => fold(parts, "as in superblock 0", |p| {
            primary.get(p.range.clone()) == raw.get(p.range.clone())
        }),
        None => parts,
    }
}
