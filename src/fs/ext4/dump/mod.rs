//! Every structure of a file system as text, byte by byte, also where it is damaged.
//!
//! Two passes: the first follows every pointer and notes which structure claims which blocks, the second goes
//! through the partition from its start to its end and writes each block as what claimed it first. So each byte has
//! one line, whatever the pointers say; what is claimed twice, or used by nobody, is told as a defect. Blocks are
//! read one at a time; what stays in memory is the list of claims.

mod attributes;
mod claims;
mod descriptors;
mod directory;
mod inode;
mod map;
mod special;
mod superblock;
mod survey;
mod sweep;
mod tables;
mod volume;

use std::io;

use super::format::SUPERBLOCK_OFFSET;
use crate::disk::BlockIo;
use crate::disk::dump::{Ledger, Part, Sink, Totals};
use volume::Volume;

/// Kinds of bytes in the order of the summary.
const KINDS: [&str; 14] = [
    BOOT,
    SUPERBLOCKS,
    DESCRIPTORS,
    RESERVED,
    BITMAPS,
    INODES,
    EXTENTS,
    DIRECTORIES,
    XATTRS,
    JOURNAL,
    ORPHANS,
    DATA,
    FREE,
    OUTSIDE,
];
const BOOT: &str = "boot";
const SUPERBLOCKS: &str = "superblocks";
const DESCRIPTORS: &str = "descriptors";
/// Blocks kept for more descriptors.
const RESERVED: &str = "reserved-descriptors";
const BITMAPS: &str = "bitmaps";
const INODES: &str = "inodes";
/// Nodes of extent trees and indirect blocks.
const EXTENTS: &str = "extents";
const DIRECTORIES: &str = "directories";
const XATTRS: &str = "xattrs";
const JOURNAL: &str = "journal";
const ORPHANS: &str = "orphans";
const DATA: &str = "data";
const FREE: &str = "free";
/// Marked as used, but nothing refers to it.
const LOST: &str = "lost";
/// Behind the last block of the file system.
const OUTSIDE: &str = "outside";
/// What nothing could be made of.
const UNKNOWN: &str = "unknown";

/// Writes the annotated text of an ext4 file system that begins at the start of `io`: each byte of `io` is part of
/// exactly one line, in rising order, and the totals add up to its length.
///
/// A structure that contradicts the format is shown as far as it can be read, and as hexadecimal behind that, with a
/// line of kind [`DEFECT`](crate::disk::dump::DEFECT) that says why.
///
/// # Errors
/// The device or the sink fails; damage is no error.
pub fn dump(io: &dyn BlockIo, sink: &mut dyn Sink) -> io::Result<Totals> {
    let mut ledger = Ledger::new(sink, io.len(), &KINDS);
    match Volume::open(io)? {
        Ok(volume) => {
            let survey = survey::survey(&volume)?;
            sweep::sweep(&volume, survey, &mut ledger)?;
        }
        Err(why) => undecoded(io, &why, &mut ledger)?,
    }
    ledger.finish()
}

/// A partition without a superblock to go by.
fn undecoded(io: &dyn BlockIo, why: &str, ledger: &mut Ledger<'_>) -> io::Result<()> {
    ledger.defect(0..io.len(), "file system", why)?;
    if let Some(raw) = volume::primary(io)? {
        let mut boot = vec![0; SUPERBLOCK_OFFSET as usize];
        io.read_at(0, &mut boot)?;
        ledger.structure(0, &boot, BOOT, "boot area", Vec::new())?;
        let parts = superblock::parts(&raw, 0, None);
        ledger.structure(SUPERBLOCK_OFFSET, &raw, SUPERBLOCKS, "superblock 0", parts)?;
    }
    let rest = ledger.cursor()..io.len();
    ledger.own(rest, UNKNOWN, "partition", "bytes", "not decoded", "")
}

/// Changes value or meaning of the part of that name.
fn annotate(parts: &mut [Part], name: &str, change: impl FnOnce(&mut Part)) {
    if let Some(part) = parts.iter_mut().find(|p| p.field == name) {
        change(part);
    }
}

/// What is said about a stored checksum.
fn verdict(stored: u64, right: u64) -> String {
    if stored == right {
        "right".to_owned()
    } else {
        format!("wrong, {right:#x} would be right")
    }
}
