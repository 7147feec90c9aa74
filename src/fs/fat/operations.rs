//! What the editor does to a [`Tree`]. Each of these runs inside [`Tree::atomically`].

use std::sync::Arc;

use super::boot_sector::ENTRY_SIZE;
use super::content::Piece;
use super::dir::{self, Entry, Fields};
use super::editor::invalid;
use super::time::Stamp;
use super::tree::{DirId, DirPlace, Tree};
use crate::disk::Source;
use crate::fs::{Attrs, FsError, FsResult, Time, show};

/// Length of a file's content as FAT stores it.
fn file_size(path: &[u8], len: u64) -> FsResult<u32> {
    u32::try_from(len).map_err(|_| {
        invalid(
            path,
            format!(
                "FAT cannot hold a file of {len} bytes; at most {} would be right",
                u32::MAX
            ),
        )
    })
}

impl Tree {
    fn clusters_for(&self, size: u32) -> u32 {
        // At most 2^32 / 512.
        u64::from(size).div_ceil(self.boot.cluster_bytes()) as u32
    }

    /// Creates a file, or replaces the content of the one that `known` is.
    pub fn put(
        &mut self,
        path: &[u8],
        (place, name, known): (DirPlace, &str, Option<Entry>),
        content: &Arc<dyn Source>,
        attrs: &Attrs,
    ) -> FsResult<()> {
        let size = file_size(path, content.len())?;
        let written = Stamp::from_time(attrs.mtime.unwrap_or(attrs.now));
        let now = Stamp::from_time(attrs.now);
        let entry = match known {
            Some(entry) => {
                if entry.cluster != 0 {
                    self.free(entry.cluster)?;
                }
                entry
            }
            None => {
                let fields = Fields {
                    attr: dir::ARCHIVE,
                    cluster: 0,
                    size: 0,
                    created: now,
                    written,
                    accessed: now.date,
                };
                let slot = dir::short_slot(&dir::DOT, &fields);
                let entry = self.add_entry(place.id, path, name, slot)?;
                self.touch(&place, attrs.now)?;
                entry
            }
        };
        let clusters = self.table.allocate(self.clusters_for(size), None)?;
        let first = clusters.first().copied().unwrap_or(0);
        if first != 0 {
            let source = content.clone();
            self.add_piece(first, Piece { offset: 0, source });
        }
        let slot = dir::slot_mut(self.edit_dir(place.id)?, &entry);
        dir::set_extent(slot, first, size);
        dir::set_written(slot, written);
        dir::set_accessed(slot, now.date);
        Ok(())
    }

    /// Adds to the end of a file.
    pub fn extend(
        &mut self,
        path: &[u8],
        (place, entry): (DirPlace, Entry),
        content: &Arc<dyn Source>,
        attrs: &Attrs,
    ) -> FsResult<()> {
        let old = u64::from(entry.size);
        let size = file_size(path, old.saturating_add(content.len()))?;
        let chain = if entry.cluster == 0 {
            Vec::new()
        } else {
            self.table.chain(entry.cluster, self.boot.clusters)?
        };
        if (chain.len() as u64).saturating_mul(self.boot.cluster_bytes()) < old {
            return Err(FsError::Damaged(format!(
                "`{}`: {} clusters are too few for its {old} bytes",
                show(path),
                chain.len()
            )));
        }
        let more = self.clusters_for(size).saturating_sub(chain.len() as u32);
        let added = self.table.allocate(more, chain.last().copied())?;
        let first = chain.first().or(added.first()).copied().unwrap_or(0);
        if !content.is_empty() {
            let source = content.clone();
            self.add_piece(first, Piece { offset: old, source });
        }
        let slot = dir::slot_mut(self.edit_dir(place.id)?, &entry);
        dir::set_extent(slot, first, size);
        dir::set_written(slot, Stamp::from_time(attrs.mtime.unwrap_or(attrs.now)));
        dir::set_accessed(slot, Stamp::from_time(attrs.now).date);
        Ok(())
    }

    /// Makes a directory that does not exist.
    pub fn add_dir(&mut self, path: &[u8], (place, name): (DirPlace, &str), attrs: &Attrs) -> FsResult<()> {
        let now = Stamp::from_time(attrs.now);
        let written = Stamp::from_time(attrs.mtime.unwrap_or(attrs.now));
        let mut fields = Fields {
            attr: dir::DIRECTORY,
            cluster: 0,
            size: 0,
            created: now,
            written,
            accessed: now.date,
        };
        let id = self.new_dir(&[])?;
        fields.cluster = id;
        let dot = dir::short_slot(&dir::DOT, &fields);
        self.add_entry(place.id, path, name, dot)?;
        // The specification wants 0 where the parent is the root, on FAT32 too.
        fields.cluster = if place.id == self.root() { 0 } else { place.id };
        let dot_dot = dir::short_slot(&dir::DOT_DOT, &fields);
        self.set_new_dir(id, &[dot, dot_dot].concat());
        self.touch(&place, attrs.now)
    }

    /// Removes an entry, and everything below it.
    pub fn remove_entry(&mut self, place: &DirPlace, entry: &Entry, now: Time) -> FsResult<()> {
        let mut pending = Vec::new();
        if entry.is_dir() {
            pending.push(self.subdir(entry)?);
        } else if entry.cluster != 0 {
            self.free(entry.cluster)?;
        }
        while let Some(id) = pending.pop() {
            let entries = dir::parse(&self.dir_bytes(id)?).0;
            // Freed before its children: a directory that is met again is an error, not a loop.
            self.free(id)?;
            for child in entries
                .iter()
                .filter(|child| !child.is_dot() && !child.is_label())
            {
                if child.is_dir() {
                    pending.push(self.subdir(child)?);
                } else if child.cluster != 0 {
                    self.free(child.cluster)?;
                }
            }
        }
        dir::erase(self.edit_dir(place.id)?, entry.slots.clone());
        self.touch(place, now)
    }

    /// Moves an entry to a directory and a name that are free.
    pub fn move_entry(
        &mut self,
        path: &[u8],
        (from, entry): (DirPlace, Entry),
        (to, name): (DirPlace, &str),
        now: Time,
    ) -> FsResult<()> {
        let bytes = self.edit_dir(from.id)?;
        let mut slot = [0u8; ENTRY_SIZE];
        slot.copy_from_slice(dir::slot_mut(bytes, &entry));
        dir::erase(bytes, entry.slots.clone());
        self.add_entry(to.id, path, name, slot)?;
        if entry.is_dir() && from.id != to.id {
            let parent = if to.id == self.root() { 0 } else { to.id };
            let id = self.subdir(&entry)?;
            let bytes = self.edit_dir(id)?;
            if let Some(dot_dot) = bytes.get_mut(ENTRY_SIZE..2 * ENTRY_SIZE)
                && dot_dot[..11] == dir::DOT_DOT
            {
                dir::set_extent(dot_dot, parent, 0);
            }
        }
        self.touch(&from, now)?;
        self.touch(&to, now)
    }

    /// Sets the modification time of an entry.
    pub fn set_mtime(&mut self, dir: DirId, entry: &Entry, mtime: Time, now: Time) -> FsResult<()> {
        let slot = dir::slot_mut(self.edit_dir(dir)?, entry);
        dir::set_written(slot, Stamp::from_time(mtime));
        dir::set_accessed(slot, Stamp::from_time(now).date);
        Ok(())
    }
}
