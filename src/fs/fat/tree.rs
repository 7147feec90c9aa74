//! The volume as the editor changes it: table, directories and payloads in memory over the device.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::boot_sector::{BootSector, ENTRY_SIZE};
use super::content::{Extent, FileContent, Piece};
use super::dir::{self, Entry};
use super::table::{self, Table};
use super::time::Stamp;
use crate::disk::BlockIo;
use crate::fs::{FsError, FsResult, Time, show};

/// A directory by its first cluster; the fixed root directory of FAT12 and FAT16 is 0.
pub(super) type DirId = u32;

/// A directory found by its path.
#[derive(Debug)]
pub(super) struct DirPlace {
    /// The directory.
    pub id: DirId,
    /// The directory that holds its entry, and the entry; `None` for the root.
    pub own: Option<(DirId, Entry)>,
    /// All directories on the path, from the root to this one.
    pub path: Vec<DirId>,
}

pub(super) struct Tree {
    pub io: Arc<dyn BlockIo>,
    pub boot: BootSector,
    pub table: Table,
    /// Changed directories, whole.
    dirs: BTreeMap<DirId, Vec<u8>>,
    /// Payloads by the first cluster of their file.
    data: BTreeMap<u32, Vec<Piece>>,
    /// What `dirs` and `data` held when the operation began, for those it changed.
    saved_dirs: BTreeMap<DirId, Option<Vec<u8>>>,
    saved_data: BTreeMap<u32, Option<Vec<Piece>>>,
}

/// Components of a path of a volume.
pub(super) fn components(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|b| *b == b'/').filter(|c| !c.is_empty())
}

impl Tree {
    pub fn open(io: Arc<dyn BlockIo>) -> FsResult<Self> {
        let boot = BootSector::read(&*io)?;
        let table = Table::read(&*io, &boot, boot.active_fat())?;
        Ok(Self {
            io,
            boot,
            table,
            dirs: BTreeMap::new(),
            data: BTreeMap::new(),
            saved_dirs: BTreeMap::new(),
            saved_data: BTreeMap::new(),
        })
    }

    /// Runs an operation; when it fails, everything is as before it.
    pub fn atomically<T>(&mut self, operation: impl FnOnce(&mut Self) -> FsResult<T>) -> FsResult<T> {
        self.table.begin();
        self.saved_dirs.clear();
        self.saved_data.clear();
        let result = operation(self);
        if result.is_err() {
            self.table.rollback();
            restore(&mut self.dirs, &mut self.saved_dirs);
            restore(&mut self.data, &mut self.saved_data);
        }
        result
    }

    pub fn has_edits(&self) -> bool {
        self.table.is_dirty() || !self.dirs.is_empty() || !self.data.is_empty()
    }

    /// The root directory.
    pub const fn root(&self) -> DirId {
        self.boot.root_cluster
    }

    /// Longest chain of a directory.
    pub fn dir_limit(&self) -> u32 {
        (dir::MAX_DIR_BYTES.div_ceil(self.boot.cluster_bytes()) as u32).min(self.boot.clusters)
    }

    /// All slots of a directory.
    pub fn dir_bytes(&self, id: DirId) -> FsResult<Cow<'_, [u8]>> {
        match self.dirs.get(&id) {
            Some(bytes) => Ok(Cow::Borrowed(bytes)),
            None => self.read_dir_bytes(id).map(Cow::Owned),
        }
    }

    fn read_dir_bytes(&self, id: DirId) -> FsResult<Vec<u8>> {
        if id == 0 {
            let mut bytes = vec![0u8; self.boot.root_entries as usize * ENTRY_SIZE];
            self.io.read_at(self.boot.root_offset(), &mut bytes)?;
            return Ok(bytes);
        }
        let chain = self.table.chain(id, self.dir_limit())?;
        let size = self.boot.cluster_bytes() as usize;
        let mut bytes = vec![0u8; chain.len() * size];
        for (cluster, part) in chain.iter().zip(bytes.chunks_exact_mut(size)) {
            self.io.read_at(self.boot.cluster_offset(*cluster), part)?;
        }
        Ok(bytes)
    }

    /// The slots of a directory, to be changed.
    pub fn edit_dir(&mut self, id: DirId) -> FsResult<&mut Vec<u8>> {
        let known = self.dirs.get(&id);
        self.saved_dirs.entry(id).or_insert_with(|| known.cloned());
        if known.is_none() {
            let bytes = self.read_dir_bytes(id)?;
            self.dirs.insert(id, bytes);
        }
        self.dirs
            .get_mut(&id)
            .ok_or_else(|| FsError::Damaged(format!("directory at cluster {id} is gone")))
    }

    /// The cluster a subdirectory's entry names.
    pub fn subdir(&self, entry: &Entry) -> FsResult<DirId> {
        if self.boot.is_cluster(entry.cluster) {
            Ok(entry.cluster)
        } else {
            Err(FsError::Damaged(format!(
                "directory `{}`: its first cluster {} does not exist",
                entry.name, entry.cluster
            )))
        }
    }

    /// The directory at `path`; `None` when a component does not exist.
    pub fn find_dir(&self, path: &[u8]) -> FsResult<Option<DirPlace>> {
        let mut place = DirPlace {
            id: self.root(),
            own: None,
            path: vec![self.root()],
        };
        for component in components(path) {
            let Ok(name) = std::str::from_utf8(component) else {
                return Ok(None);
            };
            let Some(entry) = dir::find(&self.dir_bytes(place.id)?, name) else {
                return Ok(None);
            };
            if !entry.is_dir() {
                return Err(FsError::NotADirectory(show(path)));
            }
            let id = self.subdir(&entry)?;
            place.path.push(id);
            place = DirPlace {
                id,
                own: Some((place.id, entry)),
                path: place.path,
            };
        }
        Ok(Some(place))
    }

    /// Sets the write time of a directory, as changing its entries does.
    pub fn touch(&mut self, place: &DirPlace, now: Time) -> FsResult<()> {
        if let Some((parent, entry)) = &place.own {
            let stamp = Stamp::from_time(now);
            let slot = dir::slot_mut(self.edit_dir(*parent)?, entry);
            dir::set_written(slot, stamp);
            dir::set_accessed(slot, stamp.date);
        }
        Ok(())
    }

    /// Adds an entry, lengthening the directory where it must. Gives the entry back.
    pub fn add_entry(
        &mut self,
        id: DirId,
        path: &[u8],
        name: &str,
        short_slot: [u8; ENTRY_SIZE],
    ) -> FsResult<Entry> {
        let invalid = |why: String| FsError::Invalid {
            path: show(path),
            why,
        };
        let slots = dir::build_slots(&self.dir_bytes(id)?, name, short_slot)
            .ok_or_else(|| invalid("no short name is left for it in its directory".to_owned()))?;
        let count = slots.len() / ENTRY_SIZE;
        let start = loop {
            let bytes = self.edit_dir(id)?;
            if let Some(start) = dir::free_slots(bytes, count) {
                break start;
            }
            let total = bytes.len() / ENTRY_SIZE;
            let free = dir::count_free(bytes);
            if id == 0 {
                return Err(invalid(format!(
                    "the root directory is full: {count} free entries in a row are needed, {free} of its {total} are free and it cannot grow; use a subdirectory or shorter names"
                )));
            }
            if bytes.len() as u64 + self.boot.cluster_bytes() > dir::MAX_DIR_BYTES {
                return Err(invalid(format!(
                    "its directory is full: FAT cannot hold one of more than {total} entries"
                )));
            }
            self.lengthen_dir(id)?;
        };
        dir::insert(self.edit_dir(id)?, start, &slots);
        // The slots alone are a directory of one entry.
        let entry = dir::parse(&slots).0.pop();
        entry
            .map(|entry| Entry {
                slots: start..start + count,
                ..entry
            })
            .ok_or_else(|| invalid("its entry cannot be read back".to_owned()))
    }

    fn lengthen_dir(&mut self, id: DirId) -> FsResult<()> {
        let last = self.table.chain(id, self.dir_limit())?.last().copied();
        self.table.allocate(1, last)?;
        let size = self.boot.cluster_bytes() as usize;
        let bytes = self.edit_dir(id)?;
        bytes.resize(bytes.len() + size, 0);
        Ok(())
    }

    /// Makes a directory's first cluster with these slots.
    pub fn new_dir(&mut self, first_slots: &[u8]) -> FsResult<DirId> {
        let clusters = self.table.allocate(1, None)?;
        let id = clusters.first().copied().unwrap_or(0);
        self.set_new_dir(id, first_slots);
        Ok(id)
    }

    /// Replaces the slots of a directory that was just made.
    pub fn set_new_dir(&mut self, id: DirId, first_slots: &[u8]) {
        let mut bytes = vec![0u8; self.boot.cluster_bytes() as usize];
        bytes[..first_slots.len()].copy_from_slice(first_slots);
        let known = self.dirs.insert(id, bytes);
        self.saved_dirs.entry(id).or_insert(known);
    }

    /// Frees the chain of a file or directory, with what waits to be written to it.
    pub fn free(&mut self, first: u32) -> FsResult<()> {
        self.table.free_chain(first)?;
        let dir = self.dirs.remove(&first);
        self.saved_dirs.entry(first).or_insert(dir);
        let data = self.data.remove(&first);
        self.saved_data.entry(first).or_insert(data);
        Ok(())
    }

    /// Remembers a payload behind those the file has.
    pub fn add_piece(&mut self, first: u32, piece: Piece) {
        let known = self.data.entry(first).or_default();
        self.saved_data
            .entry(first)
            .or_insert_with(|| (!known.is_empty()).then(|| known.clone()));
        known.push(piece);
    }

    /// A file's bytes.
    pub fn content(&self, entry: &Entry) -> FsResult<FileContent> {
        let len = u64::from(entry.size);
        let wanted = len.div_ceil(self.boot.cluster_bytes());
        Ok(FileContent {
            io: self.io.clone(),
            extents: self.extents(entry.cluster, wanted)?,
            pieces: self.data.get(&entry.cluster).cloned().unwrap_or_default(),
            len,
        })
    }

    /// The first `wanted` clusters of a chain as extents.
    fn extents(&self, first: u32, wanted: u64) -> FsResult<Vec<Extent>> {
        let size = self.boot.cluster_bytes();
        let mut extents: Vec<Extent> = Vec::new();
        let mut cluster = first;
        if wanted > u64::from(self.boot.clusters) {
            return Err(FsError::Damaged(format!(
                "a file at cluster {first} is longer than the volume"
            )));
        }
        for index in 0..wanted {
            if !self.boot.is_cluster(cluster) {
                return Err(FsError::Damaged(format!(
                    "the chain of cluster {first} ends after {index} clusters; the file's size needs {wanted}"
                )));
            }
            let device = self.boot.cluster_offset(cluster);
            match extents.last_mut() {
                Some(last) if last.device + last.len == device => last.len += size,
                _ => extents.push(Extent {
                    file: index * size,
                    device,
                    len: size,
                }),
            }
            cluster = match self.table.entry(cluster) {
                table::Entry::Next(next) => next,
                _ => 0,
            };
        }
        Ok(extents)
    }

    /// Writes everything to the device: payloads, directories, tables, FSInfo.
    pub fn commit(&mut self) -> FsResult<()> {
        let size = self.boot.cluster_bytes();
        for (first, pieces) in &self.data {
            let end = pieces.last().map_or(0, |piece| piece.offset + piece.source.len());
            let clusters = end.div_ceil(size);
            let extents = self.extents(*first, clusters)?;
            for piece in pieces {
                self.write_piece(&extents, piece)?;
            }
            if let Some(last) = extents.last() {
                let used = end - last.file;
                self.io.write_zeroes(last.device + used, last.len - used)?;
            }
        }
        for (id, bytes) in &self.dirs {
            if *id == 0 {
                self.io.write_at(self.boot.root_offset(), bytes)?;
                continue;
            }
            let chain = self.table.chain(*id, self.dir_limit())?;
            for (cluster, part) in chain.iter().zip(bytes.chunks(size as usize)) {
                self.io.write_at(self.boot.cluster_offset(*cluster), part)?;
            }
        }
        self.table.commit(&*self.io)?;
        self.data.clear();
        self.dirs.clear();
        Ok(())
    }

    fn write_piece(&self, extents: &[Extent], piece: &Piece) -> FsResult<()> {
        let len = piece.source.len();
        let mut done = 0;
        let from = extents.partition_point(|extent| extent.file + extent.len <= piece.offset);
        for extent in extents.iter().skip(from) {
            if done == len {
                break;
            }
            let within = piece.offset + done - extent.file;
            let step = (extent.len - within).min(len - done);
            self.io
                .write_source(extent.device + within, &piece.source, done, step)?;
            done += step;
        }
        Ok(())
    }
}

fn restore<K: Ord, V>(current: &mut BTreeMap<K, V>, saved: &mut BTreeMap<K, Option<V>>) {
    while let Some((key, value)) = saved.pop_first() {
        match value {
            Some(value) => current.insert(key, value),
            None => current.remove(&key),
        };
    }
}
