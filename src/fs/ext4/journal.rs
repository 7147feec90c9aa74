//! The journal is never read or written here: only a file system whose journal and orphan lists are empty is edited.

use super::FsResult;
use super::error::{damaged, unsupported};
use super::format::{compat, incompat, ino, ro_compat, sb};
use super::superblock::Superblock;

/// `h_magic` of every block of the journal; its numbers are big-endian.
pub(crate) const JBD2_MAGIC: u32 = 0xC03B_3998;
/// `h_blocktype` of a version 2 superblock.
const SUPERBLOCK_V2: u32 = 4;

/// The superblock of a journal of `blocks` blocks with nothing in it.
pub(crate) fn empty_superblock(block_size: usize, blocks: u32, uuid: &[u8]) -> Vec<u8> {
    let mut block = vec![0; block_size];
    for (at, value) in [
        (0x00, JBD2_MAGIC),
        (0x04, SUPERBLOCK_V2),
        // s_blocksize, s_maxlen, s_first, s_sequence, s_nr_users; s_start stays 0: nothing to replay.
        (0x0C, block_size as u32),
        (0x10, blocks),
        (0x14, 1),
        (0x18, 1),
        (0x40, 1),
    ] {
        block[at..at + 4].copy_from_slice(&value.to_be_bytes());
    }
    block[0x30..0x40].copy_from_slice(uuid);
    block
}

/// What is wrong with the superblock of a journal that should be empty.
pub(crate) fn defect(block: &[u8], blocks: u64) -> Option<String> {
    let word = |at: usize| {
        block
            .get(at..at + 4)
            .map_or(0, |b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]))
    };
    if word(0) != JBD2_MAGIC || !matches!(word(4), 3 | SUPERBLOCK_V2) {
        Some("has no journal superblock".to_owned())
    } else if word(0x0C) as usize != block.len() {
        Some(format!("says that blocks have {} bytes", word(0x0C)))
    } else if u64::from(word(0x10)) > blocks {
        Some(format!("says {} blocks, its inode has {blocks}", word(0x10)))
    } else if word(0x1C) != 0 {
        Some("has transactions to replay, though `needs_recovery` is not set".to_owned())
    } else {
        None
    }
}

const ADVICE: &str = "boot the image once and shut it down, or run e2fsck on it";

/// Refuses a file system that has something to replay or to clean up.
pub(crate) fn require_clean(s: &Superblock) -> FsResult<()> {
    if s.has_incompat(incompat::RECOVER) {
        return unsupported(format!("the journal needs recovery; {ADVICE}"));
    }
    if s.has_ro_compat(ro_compat::ORPHAN_PRESENT) {
        return unsupported(format!("the orphan file is not empty; {ADVICE}"));
    }
    if s.u32(sb::LAST_ORPHAN) != 0 {
        return unsupported(format!("the list of orphan inodes is not empty; {ADVICE}"));
    }
    if s.has_compat(compat::HAS_JOURNAL) {
        if s.u32(sb::JOURNAL_DEV) != 0 {
            return unsupported("the journal is on another device; it should be inside the file system");
        }
        if s.u32(sb::JOURNAL_INUM) != ino::JOURNAL {
            return damaged(format!(
                "the superblock names inode {} as journal; it should be inode 8",
                s.u32(sb::JOURNAL_INUM)
            ));
        }
    }
    Ok(())
}
