//! Reading: inodes, paths, directories, file contents, attributes.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use super::super::{FsError, FsResult, NodeKind, Stat, show};
use super::dir::{Directory, Entry};
use super::error::{damaged, invalid, unsupported};
use super::extent::Mapping;
use super::format::ino;
use super::inode::{Inode, Stamp};
use super::xattr::{self, Attr};
use super::{Ext4, blockmap, extent};
use crate::disk::{BlockIo, Source};

/// Names of clean directories kept in memory.
const CACHED_NAMES: usize = 50_000;

/// Directories as they are on the device, by inode.
#[derive(Debug, Default)]
pub(crate) struct DirCache {
    dirs: BTreeMap<u32, Arc<Directory>>,
    names: usize,
}

impl DirCache {
    fn insert(&mut self, number: u32, dir: Arc<Directory>) {
        if self.names > CACHED_NAMES {
            *self = Self::default();
        }
        self.names += dir.entries.len();
        self.dirs.insert(number, dir);
    }

    /// Hands out a directory that is about to change.
    pub(crate) fn take(&mut self, number: u32) -> Option<Directory> {
        let dir = self.dirs.remove(&number)?;
        self.names = self.names.saturating_sub(dir.entries.len());
        Some(Arc::unwrap_or_clone(dir))
    }
}

/// Components of an absolute path.
pub(crate) fn components(path: &[u8]) -> FsResult<Vec<&[u8]>> {
    let Some(rest) = path.strip_prefix(b"/") else {
        return invalid(path, "not an absolute path");
    };
    if rest.is_empty() {
        return Ok(Vec::new());
    }
    let parts: Vec<&[u8]> = rest.split(|b| *b == b'/').collect();
    if parts
        .iter()
        .any(|p| p.is_empty() || *p == b"." || *p == b".." || p.contains(&0))
    {
        return invalid(
            path,
            "not a canonical path: no empty, `.` or `..` component may be in it",
        );
    }
    Ok(parts)
}

impl Ext4 {
    /// Reads an inode that is in use.
    pub(crate) fn inode(&self, number: u32) -> FsResult<Inode> {
        if number == 0 || number > self.sb.inodes_count {
            return damaged(format!("inode {number} does not exist"));
        }
        let (block, at) = self.inode_place(number);
        let block = self.store.block(block)?;
        let inode = Inode::parse(&block[at..at + self.sb.inode_size], number, &self.sb)?;
        if inode.links() == 0 || inode.kind().is_none() {
            return damaged(format!("inode {number} is named but not in use"));
        }
        Ok(inode)
    }

    /// The kind of an inode in use.
    pub(crate) fn kind_of(&self, inode: &Inode, number: u32) -> FsResult<NodeKind> {
        match inode.kind() {
            Some(kind) => Ok(kind),
            None => damaged(format!("inode {number} has no known type")),
        }
    }

    /// All blocks of an inode.
    pub(crate) fn mapping(&self, inode: &Inode, number: u32) -> FsResult<Mapping> {
        for (flag, what) in [
            (ino::INLINE_DATA_FL, "inline data"),
            (ino::ENCRYPT_FL, "encryption"),
            (ino::VERITY_FL, "verity"),
            (ino::EA_INODE_FL, "an attribute's value"),
        ] {
            if inode.has_flag(flag) {
                return unsupported(format!("inode {number} has {what}"));
            }
        }
        if !inode.maps_blocks() {
            return Ok(Mapping::default());
        }
        if inode.has_flag(ino::EXTENTS_FL) {
            extent::read(inode, number, &self.sb, &self.store)
        } else {
            blockmap::read(inode, number, &self.sb, &self.store)
        }
    }

    fn read_directory(&self, number: u32) -> FsResult<Directory> {
        let inode = self.inode(number)?;
        if inode.kind() != Some(NodeKind::Dir) {
            return damaged(format!("inode {number} is no directory"));
        }
        let mapping = self.mapping(&inode, number)?;
        Directory::read(&inode, number, &mapping, &self.sb, &self.store)
    }

    /// Gives a directory as edited so far to `look`.
    pub(crate) fn with_dir<T>(&self, number: u32, look: impl FnOnce(&Directory) -> T) -> FsResult<T> {
        if let Some(dir) = self.dirs.get(&number) {
            return Ok(look(dir));
        }
        let cached = self.dir_cache.borrow().dirs.get(&number).cloned();
        let dir = match cached {
            Some(dir) => dir,
            None => {
                let dir = Arc::new(self.read_directory(number)?);
                self.dir_cache.borrow_mut().insert(number, dir.clone());
                dir
            }
        };
        Ok(look(&dir))
    }

    /// A directory to be changed, out of the cache or read.
    pub(crate) fn load_dir(&self, number: u32) -> FsResult<Directory> {
        if let Some(dir) = self.dir_cache.borrow_mut().take(number) {
            return Ok(dir);
        }
        self.read_directory(number)
    }

    pub(crate) fn lookup(&self, dir: u32, name: &[u8]) -> FsResult<Option<Entry>> {
        self.with_dir(dir, |d| d.entries.get(name).copied())
    }

    /// The inode at `path`, `None` when a component does not exist.
    pub(crate) fn find(&self, path: &[u8]) -> FsResult<Option<u32>> {
        let mut at = ino::ROOT;
        let mut walked = 0;
        for part in components(path)? {
            if at != ino::ROOT && self.inode(at)?.kind() != Some(NodeKind::Dir) {
                return Err(FsError::NotADirectory(show(&path[..walked])));
            }
            walked += 1 + part.len();
            match self.lookup(at, part)? {
                Some(entry) => at = entry.inode,
                None => return Ok(None),
            }
        }
        Ok(Some(at))
    }

    /// The inode at `path`, which must exist.
    pub(crate) fn must_find(&self, path: &[u8]) -> FsResult<(u32, Inode)> {
        match self.find(path)? {
            Some(number) => Ok((number, self.inode(number)?)),
            None => Err(FsError::NotFound(show(path))),
        }
    }

    /// The directory that holds (or will hold) `path`, and the last component.
    pub(crate) fn parent<'p>(&self, path: &'p [u8]) -> FsResult<(u32, &'p [u8])> {
        let parts = components(path)?;
        let Some(name) = parts.last() else {
            return invalid(path, "the root directory cannot be made, moved or removed");
        };
        let above = &path[..path.len() - name.len() - 1];
        let above = if above.is_empty() { &b"/"[..] } else { above };
        let (number, inode) = self.must_find(above)?;
        if inode.kind() != Some(NodeKind::Dir) {
            return Err(FsError::NotADirectory(show(above)));
        }
        Ok((number, name))
    }

    pub(crate) fn stat_inode(&self, number: u32) -> FsResult<Stat> {
        let inode = self.inode(number)?;
        Ok(Stat {
            kind: self.kind_of(&inode, number)?,
            mode: inode.mode() & 0o7777,
            uid: inode.uid(),
            gid: inode.gid(),
            size: inode.size(),
            mtime: inode.time(Stamp::Modify),
            links: inode.links(),
            id: u64::from(number),
            rdev: inode.rdev(),
        })
    }

    /// The target of a symlink.
    pub(crate) fn target(&self, inode: &Inode, number: u32) -> FsResult<Vec<u8>> {
        let size = inode.size() as usize;
        if inode.is_fast_symlink() {
            return Ok(inode.block()[..size].to_vec());
        }
        if inode.size() > self.sb.block_size as u64 {
            return damaged(format!("symlink inode {number} has {size} bytes"));
        }
        let mut target = vec![0; size];
        self.content(inode, number)?.read_at(0, &mut target)?;
        Ok(target)
    }

    /// All extended attributes of an inode, and its attribute block if any.
    pub(crate) fn attrs(&self, inode: &Inode, number: u32) -> FsResult<(Vec<Attr>, Option<xattr::Block>)> {
        let mut attrs = xattr::read_inode(inode, number)?;
        let at = inode.file_acl();
        if at == 0 {
            return Ok((attrs, None));
        }
        if at <= self.sb.first_data_block || at >= self.sb.blocks_count {
            return damaged(format!("inode {number} has its attributes at block {at}"));
        }
        let block = xattr::read_block(&self.store.block(at)?, at, &self.sb)?;
        attrs.extend(block.attrs.iter().cloned());
        Ok((attrs, Some(block)))
    }

    /// The content of an inode as edited so far.
    pub(crate) fn content(&self, inode: &Inode, number: u32) -> FsResult<Content> {
        let bs = self.sb.block_size as u64;
        let mut parts = Vec::new();
        let written = self.mapping(inode, number)?.extents;
        for e in written.iter().filter(|e| !e.unwritten) {
            let end = e.physical + e.len;
            let place = |block: u64| (e.logical + (block - e.physical)) * bs;
            let mut pieces: Vec<(u64, u64, From)> = Vec::new();
            for (start, p) in self.store.payload_in(e.physical, e.len) {
                let from = start.max(e.physical);
                let to = (start + p.blocks).min(end);
                let part = p.part(from - start, to - from, bs);
                pieces.push((from, to - from, From::Source(part.source, part.offset, part.len)));
            }
            for (block, bytes) in self.store.dirty_in(e.physical, e.len) {
                pieces.push((block, 1, From::Memory(bytes.clone())));
            }
            pieces.sort_by_key(|p| p.0);
            let mut at = e.physical;
            for (start, len, from) in pieces {
                if at < start {
                    parts.push((place(at), (start - at) * bs, From::Device(at * bs)));
                }
                let bytes = match &from {
                    From::Source(_, _, bytes) => *bytes,
                    _ => len * bs,
                };
                parts.push((place(start), bytes, from));
                at = start + len;
            }
            if at < end {
                parts.push((place(at), (end - at) * bs, From::Device(at * bs)));
            }
        }
        Ok(Content {
            io: self.store.io.clone(),
            size: inode.size(),
            parts,
        })
    }
}

#[derive(Debug, Clone)]
enum From {
    Device(u64),
    Source(Arc<dyn Source>, u64, u64),
    Memory(Arc<[u8]>),
}

/// A file's content: parts of the device, of payload and of memory; whatever is between them is zero.
pub(crate) struct Content {
    io: Arc<dyn BlockIo>,
    size: u64,
    /// Offset in the file, length, and where the bytes are: ascending, not overlapping.
    parts: Vec<(u64, u64, From)>,
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Content({} bytes, {} parts)", self.size, self.parts.len())
    }
}

impl Content {
    /// The first part that ends after `offset`.
    fn first_after(&self, offset: u64) -> usize {
        self.parts
            .partition_point(|(start, len, _)| start + len <= offset)
    }
}

impl Source for Content {
    fn len(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let end = offset
            .checked_add(buf.len() as u64)
            .filter(|end| *end <= self.size)
            .ok_or_else(|| io::Error::new(io::ErrorKind::UnexpectedEof, "range passes the end"))?;
        buf.fill(0);
        for (start, len, from) in &self.parts[self.first_after(offset)..] {
            if *start >= end {
                break;
            }
            let (a, b) = (offset.max(*start), end.min(start + len));
            let inside = a - start;
            let out = &mut buf[(a - offset) as usize..(b - offset) as usize];
            match from {
                From::Device(at) => self.io.read_at(at + inside, out)?,
                From::Source(source, at, _) => source.read_at(at + inside, out)?,
                From::Memory(bytes) => {
                    let inside = inside as usize;
                    out.copy_from_slice(&bytes[inside..inside + out.len()]);
                }
            }
        }
        Ok(())
    }

    fn next_data(&self, offset: u64) -> io::Result<Option<Range<u64>>> {
        let Some((start, len, _)) = self.parts.get(self.first_after(offset)) else {
            return Ok(None);
        };
        let range = offset.max(*start)..(start + len).min(self.size);
        Ok((range.start < range.end).then_some(range))
    }
}
