//! The journal (jbd2) of a file system that was not unmounted cleanly: replayed, and then its orphans cleaned up.
//!
//! Nothing is ever written into the log; edits go past an empty one.

mod log;
mod replay;
mod revoke;
mod scan;
mod staged;
pub(crate) mod superblock;

use std::sync::Arc;

use super::error::{damaged, unsupported};
use super::format::{EXT4_ERROR_FS, EXT4_VALID_FS, compat, incompat, ino, ro_compat, sb};
use super::superblock::Superblock;
use super::{Ext4, FsResult, Recovery, read_superblock};
use crate::disk::{BlockIo, Overlay};
pub(crate) use superblock::{defect, empty_superblock};

const ADVICE: &str = "boot the image once and shut it down, or run e2fsck on it";
/// For what the kernel does not mount either.
const REPAIR: &str = "run e2fsck on the image";

/// Whether a file system has something to replay or to clean up.
fn is_dirty(s: &Superblock) -> bool {
    s.has_incompat(incompat::RECOVER)
        || s.has_ro_compat(ro_compat::ORPHAN_PRESENT)
        || s.u32(sb::LAST_ORPHAN) != 0
}

/// Refuses what needs more than a journal: errors that the kernel met, or no journal at all.
fn require_sound(s: &Superblock) -> FsResult<()> {
    let state = s.u16(sb::STATE);
    if state & EXT4_ERROR_FS != 0 {
        return unsupported(
            "the kernel met errors and marked the file system as not clean; run e2fsck on it",
        );
    }
    if state & EXT4_VALID_FS == 0 {
        return unsupported(format!("not marked clean; {ADVICE}"));
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
    } else if s.has_incompat(incompat::RECOVER) {
        return damaged("`needs_recovery` is set, and there is no journal");
    }
    Ok(())
}

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
    require_sound(s)
}

/// Brings a file system that was not unmounted cleanly to what a mount would make of it: the journal is replayed,
/// nodes that had no name left are deleted, and files that were being cut are cut. No times are set. `None` when
/// there was nothing to do.
///
/// Everything is prepared in memory and written at the end, so an error leaves the device as it was, unless it is the
/// device that fails. Memory is bounded by the length of the journal.
///
/// # Errors
/// [`FsError::Unsupported`](super::FsError::Unsupported) for a file system that is not understood, has recorded
/// errors, or whose journal is on another device or holds fast commits;
/// [`FsError::Damaged`](super::FsError::Damaged) for a journal or a list of orphans that cannot be right;
/// [`FsError::Io`](super::FsError::Io) when the device fails.
pub fn recover(io: &Arc<dyn BlockIo>) -> FsResult<Option<Recovery>> {
    match recovered(io)? {
        Some((overlay, recovery)) => {
            staged::apply(&overlay, &**io)?;
            Ok(Some(recovery))
        }
        None => Ok(None),
    }
}

/// The file system as [`recover`] would leave it, and the device untouched; `None` when there is nothing to do.
pub(crate) fn recovered(io: &Arc<dyn BlockIo>) -> FsResult<Option<(Arc<Overlay>, Recovery)>> {
    let s = read_superblock(&**io)?;
    if !is_dirty(&s) {
        return Ok(None);
    }
    let overlay = staged::over(io);
    let device: Arc<dyn BlockIo> = overlay.clone();
    let mut recovery = Recovery::default();
    require_sound(&s)?;
    if s.has_incompat(incompat::RECOVER) {
        replay::replay(&device, &s, &mut recovery)?;
    }
    // The journal may have held another superblock.
    let s = read_superblock(&*device)?;
    require_sound(&s)?;
    let mut fs = Ext4::load(device, s)?;
    fs.count_free();
    fs.process_orphans(&mut recovery)?;
    fs.do_commit()?;
    Ok(Some((overlay, recovery)))
}

/// Replays the journal and leaves orphans as they are, as `e2fsck -E journal_only` does.
#[cfg(test)]
pub(crate) fn replay_only(io: &Arc<dyn BlockIo>) -> FsResult<Recovery> {
    let overlay = staged::over(io);
    let device: Arc<dyn BlockIo> = overlay.clone();
    let mut recovery = Recovery::default();
    let s = read_superblock(&*device)?;
    require_sound(&s)?;
    replay::replay(&device, &s, &mut recovery)?;
    staged::apply(&overlay, &**io)?;
    Ok(recovery)
}

impl Ext4 {
    /// Sums up what the groups have free: the kernel keeps these two counts of the superblock in memory until it
    /// unmounts.
    fn count_free(&mut self) {
        self.sb.free_blocks = self.groups.iter().map(|g| u64::from(g.free_blocks())).sum();
        self.sb.free_inodes = self
            .groups
            .iter()
            .fold(0, |sum: u32, g| sum.saturating_add(g.free_inodes()));
    }
}
