//! [`Fat`]: the volume as the rest of the program sees it.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use super::boot_sector::{self, BootSector};
use super::check;
use super::dir::{self, Entry};
use super::name;
use super::table::Table;
use super::time::Stamp;
use super::tree::{DirPlace, Tree};
use crate::disk::{BlockIo, Source};
use crate::fs::{Attrs, DirEntry, Finding, FsError, FsResult, NodeKind, Space, Stat, Time, Volume, show};

/// An open FAT12, FAT16 or FAT32 volume.
///
/// FAT holds no permission bits and no owner. [`Volume::put_file`] and [`Volume::make_dir`] take them and leave
/// them out, because every overlay gives them; [`Volume::set_attrs`], symbolic and hard links and extended
/// attributes are refused. Times are stored as UTC with a step of two seconds; those before 1980 or after 2107
/// become the nearest that can be stored. The root directory has no times.
pub struct Fat {
    tree: Tree,
}

impl fmt::Debug for Fat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fat({})", self.tree.boot.fat_type.name())
    }
}

/// Whether the window looks like a FAT volume.
///
/// # Errors
/// [`FsError::Io`] when the first sector cannot be read.
pub fn probe(io: &dyn BlockIo) -> FsResult<bool> {
    let mut sector = [0u8; 512];
    if io.len() < sector.len() as u64 {
        return Ok(false);
    }
    io.read_at(0, &mut sector)?;
    Ok(boot_sector::looks_like_fat(&sector))
}

/// A node found by its path.
enum Node {
    Root,
    Entry { parent: DirPlace, entry: Entry },
}

/// The error of something that FAT cannot hold.
pub(super) fn invalid(path: &[u8], why: impl Into<String>) -> FsError {
    FsError::Invalid {
        path: show(path),
        why: why.into(),
    }
}

/// The parent's path and the last component; `None` for the root.
fn split(path: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = path.iter().rposition(|b| *b == b'/')?;
    let (parent, name) = (&path[..at], &path[at + 1..]);
    (!name.is_empty()).then_some((parent, name))
}

/// A name that may be stored.
fn new_name<'a>(path: &[u8], name: &'a [u8]) -> FsResult<&'a str> {
    let text =
        std::str::from_utf8(name).map_err(|_| invalid(path, "FAT cannot hold a name that is not UTF-8"))?;
    match name::refusal(text) {
        Some(why) => Err(invalid(path, why)),
        None => Ok(text),
    }
}

impl Fat {
    /// Opens the volume in a window.
    ///
    /// # Errors
    /// [`FsError::Damaged`] when the boot sector contradicts itself or the window, [`FsError::Unsupported`] above
    /// 8,388,608 clusters.
    pub fn open(io: Arc<dyn BlockIo>) -> FsResult<Self> {
        Ok(Self {
            tree: Tree::open(io)?,
        })
    }

    fn find(&self, path: &[u8]) -> FsResult<Option<Node>> {
        let Some((parent, name)) = split(path) else {
            return Ok(Some(Node::Root));
        };
        let (Some(parent), Ok(name)) = (self.tree.find_dir(parent)?, std::str::from_utf8(name)) else {
            return Ok(None);
        };
        let found = dir::find(&self.tree.dir_bytes(parent.id)?, name);
        Ok(found.map(|entry| Node::Entry { parent, entry }))
    }

    fn get(&self, path: &[u8]) -> FsResult<Node> {
        self.find(path)?.ok_or_else(|| FsError::NotFound(show(path)))
    }

    /// The entry of a regular file.
    fn get_file(&self, path: &[u8]) -> FsResult<(DirPlace, Entry)> {
        match self.get(path)? {
            Node::Entry { parent, entry } if !entry.is_dir() => Ok((parent, entry)),
            _ => Err(FsError::IsADirectory(show(path))),
        }
    }

    /// The directory in which `path` is to be made, its name there, and what has that name now.
    fn target<'a>(&self, path: &'a [u8]) -> FsResult<(DirPlace, &'a str, Option<Entry>)> {
        let (parent, name) = split(path).ok_or_else(|| FsError::IsADirectory(show(path)))?;
        let name = new_name(path, name)?;
        let place = self
            .tree
            .find_dir(parent)?
            .ok_or_else(|| FsError::NotFound(show(parent)))?;
        let known = dir::find(&self.tree.dir_bytes(place.id)?, name);
        Ok((place, name, known))
    }

    fn stat_of(&self, entry: &Entry) -> Stat {
        let writable = if entry.attr & dir::READ_ONLY == 0 {
            0o200
        } else {
            0
        };
        let (kind, mode) = if entry.is_dir() {
            (NodeKind::Dir, 0o555)
        } else {
            (NodeKind::File, 0o444)
        };
        Stat {
            kind,
            mode: mode | writable,
            uid: 0,
            gid: 0,
            size: u64::from(entry.size),
            mtime: Stamp::to_time(entry.written.0, entry.written.1),
            links: 1,
            id: u64::from(entry.cluster),
            rdev: (0, 0),
        }
    }

    fn root_stat(&self) -> Stat {
        Stat {
            kind: NodeKind::Dir,
            mode: 0o755,
            uid: 0,
            gid: 0,
            size: 0,
            mtime: Time::default(),
            links: 1,
            id: u64::from(self.tree.root()),
            rdev: (0, 0),
        }
    }

    /// The volume label entry of the root directory.
    pub(super) fn label_entry(&self) -> FsResult<Option<name::Short>> {
        let bytes = self.tree.dir_bytes(self.tree.root())?;
        Ok(dir::parse(&bytes)
            .0
            .into_iter()
            .find(|entry| entry.is_label() && !entry.is_dir())
            .map(|entry| entry.short))
    }

    pub(super) const fn tree(&self) -> &Tree {
        &self.tree
    }
}

impl Volume for Fat {
    fn kind(&self) -> &'static str {
        self.tree.boot.fat_type.name()
    }

    fn label(&self) -> String {
        match self.label_entry() {
            Ok(Some(label)) => name::display_label(&label),
            _ => self
                .tree
                .boot
                .volume_label
                .filter(|label| label != check::NO_NAME)
                .map(|label| name::display_label(&label))
                .unwrap_or_default(),
        }
    }

    fn uuid(&self) -> String {
        let id = self.tree.boot.volume_id;
        format!("{:04X}-{:04X}", id >> 16, id & 0xFFFF)
    }

    fn features(&self) -> Vec<String> {
        Vec::new()
    }

    fn space(&self) -> Space {
        let boot = &self.tree.boot;
        Space {
            block_size: boot.cluster_bytes(),
            total: u64::from(boot.total_sectors) * u64::from(boot.bytes_per_sector),
            free: u64::from(self.tree.table.free()) * boot.cluster_bytes(),
            inodes: 0,
            inodes_free: 0,
        }
    }

    fn stat(&self, path: &[u8]) -> FsResult<Option<Stat>> {
        Ok(self.find(path)?.map(|node| match node {
            Node::Root => self.root_stat(),
            Node::Entry { entry, .. } => self.stat_of(&entry),
        }))
    }

    fn read_dir(&self, path: &[u8]) -> FsResult<Vec<DirEntry>> {
        let place = self
            .tree
            .find_dir(path)?
            .ok_or_else(|| FsError::NotFound(show(path)))?;
        let mut entries: Vec<DirEntry> = dir::parse(&self.tree.dir_bytes(place.id)?)
            .0
            .iter()
            .filter(|entry| !entry.is_label() && !entry.is_dot())
            .map(|entry| DirEntry {
                name: entry.name.clone().into_bytes(),
                stat: self.stat_of(entry),
            })
            .collect();
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    fn read_link(&self, path: &[u8]) -> FsResult<Vec<u8>> {
        self.get(path)?;
        Err(invalid(path, "it is not a symbolic link; FAT cannot hold one"))
    }

    fn open(&self, path: &[u8]) -> FsResult<Arc<dyn Source>> {
        let (_, entry) = self.get_file(path)?;
        Ok(Arc::new(self.tree.content(&entry)?))
    }

    fn xattrs(&self, path: &[u8]) -> FsResult<Vec<(Vec<u8>, Vec<u8>)>> {
        self.get(path)?;
        Ok(Vec::new())
    }

    fn put_file(
        &mut self,
        path: &[u8],
        content: &Arc<dyn Source>,
        _sparse: bool,
        attrs: &Attrs,
    ) -> FsResult<()> {
        let target = self.target(path)?;
        if target.2.as_ref().is_some_and(Entry::is_dir) {
            return Err(FsError::IsADirectory(show(path)));
        }
        self.tree
            .atomically(|tree| tree.put(path, target, content, attrs))
    }

    fn append(&mut self, path: &[u8], content: &Arc<dyn Source>, attrs: &Attrs) -> FsResult<()> {
        let found = self.get_file(path)?;
        self.tree
            .atomically(|tree| tree.extend(path, found, content, attrs))
    }

    fn make_dir(&mut self, path: &[u8], attrs: &Attrs) -> FsResult<()> {
        if split(path).is_none() {
            return Ok(());
        }
        let (place, name, known) = self.target(path)?;
        match known {
            Some(entry) if !entry.is_dir() => Err(FsError::Exists(show(path))),
            Some(entry) => match attrs.mtime {
                Some(mtime) => self
                    .tree
                    .atomically(|tree| tree.set_mtime(place.id, &entry, mtime, attrs.now)),
                None => Ok(()),
            },
            None => self
                .tree
                .atomically(|tree| tree.add_dir(path, (place, name), attrs)),
        }
    }

    fn symlink(&mut self, path: &[u8], _target: &[u8], _attrs: &Attrs) -> FsResult<()> {
        Err(invalid(path, "FAT cannot hold symbolic links"))
    }

    fn hard_link(&mut self, path: &[u8], _existing: &[u8], _now: Time) -> FsResult<()> {
        Err(invalid(path, "FAT cannot hold hard links"))
    }

    fn rename(&mut self, from: &[u8], to: &[u8], now: Time) -> FsResult<()> {
        let Node::Entry { parent, entry } = self.get(from)? else {
            return Err(invalid(from, "the root directory cannot be renamed"));
        };
        let (place, name, known) = self.target(to)?;
        let same_entry = |other: &Entry| place.id == parent.id && other.slots == entry.slots;
        if known.as_ref().is_some_and(|known| !same_entry(known)) {
            return Err(FsError::Exists(show(to)));
        }
        if entry.is_dir() && place.path.contains(&self.tree.subdir(&entry)?) {
            return Err(invalid(from, "a directory cannot be moved into itself"));
        }
        self.tree
            .atomically(|tree| tree.move_entry(to, (parent, entry), (place, name), now))
    }

    fn remove(&mut self, path: &[u8], recursive: bool, now: Time) -> FsResult<()> {
        let Node::Entry { parent, entry } = self.get(path)? else {
            return Err(invalid(path, "the root directory cannot be removed"));
        };
        if entry.is_dir() && !recursive {
            let id = self.tree.subdir(&entry)?;
            let children = dir::parse(&self.tree.dir_bytes(id)?).0;
            if children.iter().any(|child| !child.is_dot()) {
                return Err(FsError::NotEmpty(show(path)));
            }
        }
        self.tree
            .atomically(|tree| tree.remove_entry(&parent, &entry, now))
    }

    fn set_attrs(&mut self, path: &[u8], attrs: &Attrs) -> FsResult<()> {
        let node = self.get(path)?;
        if attrs.mode.is_some() {
            return Err(invalid(path, "FAT cannot hold permission bits"));
        }
        if attrs.owner.is_some() {
            return Err(invalid(path, "FAT cannot hold an owner"));
        }
        match (node, attrs.mtime) {
            (_, None) => Ok(()),
            (Node::Root, Some(_)) => Err(invalid(
                path,
                "FAT cannot hold a modification time of the root directory",
            )),
            (Node::Entry { parent, entry }, Some(mtime)) => self
                .tree
                .atomically(|tree| tree.set_mtime(parent.id, &entry, mtime, attrs.now)),
        }
    }

    fn set_xattr(&mut self, path: &[u8], _name: &[u8], value: Option<&[u8]>, _now: Time) -> FsResult<()> {
        self.get(path)?;
        match value {
            Some(_) => Err(invalid(path, "FAT cannot hold extended attributes")),
            None => Ok(()),
        }
    }

    fn grow(&mut self, _device: Arc<dyn BlockIo>) -> FsResult<()> {
        Err(FsError::Unsupported(
            "a FAT volume cannot be grown in place: its tables would have to move".to_owned(),
        ))
    }

    fn commit(&mut self) -> FsResult<()> {
        if self.tree.has_edits() {
            self.tree.commit()?;
        }
        Ok(())
    }

    fn used_ranges(&self) -> FsResult<Vec<Range<u64>>> {
        let boot = BootSector::read(&*self.tree.io)?;
        let table = Table::read(&*self.tree.io, &boot, boot.active_fat())?;
        let mut ranges = Vec::new();
        ranges.push(0..boot.data_offset());
        for run in table.allocated_runs() {
            let start = boot.cluster_offset(run.start);
            let end = start + u64::from(run.end - run.start) * boot.cluster_bytes();
            match ranges.last_mut() {
                Some(last) if last.end == start => last.end = end,
                _ => ranges.push(start..end),
            }
        }
        Ok(ranges)
    }

    fn check(&self) -> FsResult<Vec<Finding>> {
        check::check(&self.tree.io)
    }
}
