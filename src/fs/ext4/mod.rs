//! An offline editor for ext4.
//!
//! Changes are collected: metadata as blocks in memory, file content as references, directories as sorted maps.
//! [`Volume::commit`](super::Volume::commit) lays the directories out and writes everything in one go, past the
//! journal. A file system that was not unmounted cleanly is refused until [`recover`] has replayed its journal and
//! cleaned up its orphans; one that has a feature not in the allow-list is refused. [`format`](fn@format) makes an
//! empty file system, [`check`](fn@check) compares every structure of one with the others, [`dump`](fn@dump) shows
//! them, also where they are damaged.
//!
//! New nodes do not inherit a default ACL of their directory: their mode is what the caller says.

mod alloc;
mod attrs;
mod bitmap;
mod blockmap;
mod check;
mod checksum;
mod commit;
mod content;
mod dir;
mod dump;
mod editor;
mod error;
mod extent;
mod format;
mod group;
mod grow;
mod htree;
mod inode;
mod journal;
mod mkfs;
mod nodes;
mod orphan;
mod reader;
mod store;
mod superblock;
mod undo;
mod xattr;

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::print_stderr)]
mod tests;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::{FsError, FsResult, Recovery};
use crate::disk::BlockIo;
pub use check::check;
use dir::Directory;
pub use dump::dump;
use format::{EXT4_SUPER_MAGIC, SUPERBLOCK_OFFSET, SUPERBLOCK_SIZE, sb};
use group::Group;
pub use journal::recover;
pub use mkfs::{Ext4Features, Ext4Options, format};
use reader::DirCache;
use store::Store;
use superblock::Superblock;

/// An open ext4 file system.
pub struct Ext4 {
    store: Store,
    sb: Superblock,
    groups: Vec<Group>,
    /// Directories with changes not yet laid out, by inode.
    dirs: BTreeMap<u32, Directory>,
    /// Directories as they are on the device.
    dir_cache: RefCell<DirCache>,
    /// Free blocks set aside for `dirs`.
    reserved: u64,
    /// The file system has grown: copies of superblock and descriptors are to be rewritten.
    backups_stale: bool,
    undo: undo::Log,
}

impl std::fmt::Debug for Ext4 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ext4")
            .field("sb", &self.sb)
            .finish_non_exhaustive()
    }
}

/// Whether the window looks like ext4 (or its ancestors): by the superblock's magic number alone.
///
/// # Errors
/// [`FsError::Io`] when the device fails.
pub fn probe(io: &dyn BlockIo) -> FsResult<bool> {
    if io.len() < SUPERBLOCK_OFFSET + SUPERBLOCK_SIZE as u64 {
        return Ok(false);
    }
    let mut magic = [0; 2];
    io.read_at(SUPERBLOCK_OFFSET + sb::MAGIC as u64, &mut magic)?;
    Ok(u16::from_le_bytes(magic) == EXT4_SUPER_MAGIC)
}

impl Ext4 {
    /// Opens the file system at the start of `io`, which may be longer than it.
    ///
    /// # Errors
    /// [`FsError::Unsupported`] for a feature that is not kept right, by name, and for a file system that was not
    /// unmounted cleanly; [`FsError::Damaged`] when superblock or group descriptors contradict themselves or the
    /// length of the window; [`FsError::Io`] when the device fails.
    pub fn open(io: Arc<dyn BlockIo>) -> FsResult<Self> {
        let sb = read_superblock(&*io)?;
        journal::require_clean(&sb)?;
        Self::load(io, sb)
    }

    /// Opens a file system that may have orphans.
    fn load(io: Arc<dyn BlockIo>, sb: Superblock) -> FsResult<Self> {
        let mut table = vec![0; sb.gdt_blocks() as usize * sb.block_size];
        io.read_at((sb.first_data_block + 1) * sb.block_size as u64, &mut table)?;
        let groups = (0..sb.groups_count())
            .zip(table.chunks_exact(sb.desc_size))
            .map(|(number, bytes)| Group::parse(bytes, number, &sb))
            .collect::<FsResult<Vec<_>>>()?;
        check_overlaps(&groups, &sb)?;
        Ok(Self {
            store: Store::new(io, sb.block_size),
            sb,
            groups,
            dirs: BTreeMap::new(),
            dir_cache: RefCell::default(),
            reserved: 0,
            backups_stale: false,
            undo: undo::Log::default(),
        })
    }
}

fn read_superblock(io: &dyn BlockIo) -> FsResult<Superblock> {
    if !probe(io)? {
        return Err(FsError::Unsupported(
            "no ext4 superblock at offset 1024".to_owned(),
        ));
    }
    let mut raw = [0; SUPERBLOCK_SIZE];
    io.read_at(SUPERBLOCK_OFFSET, &mut raw)?;
    Superblock::parse(&raw, io.len())
}

/// Refuses bitmaps and inode tables that share blocks: writing one would destroy another.
fn check_overlaps(groups: &[Group], sb: &Superblock) -> FsResult<()> {
    let mut places: Vec<(u64, u64)> = groups
        .iter()
        .flat_map(|g| {
            [
                (g.block_bitmap(), 1),
                (g.inode_bitmap(), 1),
                (g.inode_table(), sb.itable_blocks()),
            ]
        })
        .chain((0..sb.groups_count()).map(|g| {
            let blocks = if sb.has_super(g) { 1 + sb.gdt_blocks() } else { 0 };
            (sb.group_start(g), blocks)
        }))
        .filter(|(_, len)| *len > 0)
        .collect();
    places.sort_unstable();
    match places.windows(2).find(|w| w[0].0 + w[0].1 > w[1].0) {
        Some(w) => error::damaged(format!(
            "group metadata at blocks {} and {} overlaps",
            w[0].0, w[1].0
        )),
        None => Ok(()),
    }
}
