//! The journal is never read or written here: only a file system whose journal and orphan lists are empty is edited.

use super::FsResult;
use super::error::{damaged, unsupported};
use super::format::{compat, incompat, ino, ro_compat, sb};
use super::superblock::Superblock;

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
