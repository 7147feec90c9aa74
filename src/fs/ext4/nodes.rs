//! Names and nodes: made, linked, moved, removed.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::super::{Attrs, FsError, FsResult, NodeKind, Time, show};
use super::Ext4;
use super::dir::{Directory, Entry, file_type};
use super::error::{damaged, invalid};
use super::format::{LINK_MAX, NAME_LEN, ino, ro_compat};
use super::inode::{Inode, Stamp};
use super::undo::Step;
use crate::disk::Source;

impl Ext4 {
    /// Takes a directory among those that are laid out at the commit.
    fn touch_dir(&mut self, number: u32) -> FsResult<()> {
        if !self.dirs.contains_key(&number) {
            // Said now, for the commit could no longer say which edit it was.
            self.require_extents()?;
            let dir = self.load_dir(number)?;
            self.undo.steps.push(Step::DirAdded(number));
            self.dirs.insert(number, dir);
            self.reserve_dir(number)?;
        }
        Ok(())
    }

    /// Sets blocks aside for laying a directory out.
    fn reserve_dir(&mut self, number: u32) -> FsResult<()> {
        let Some(dir) = self.dirs.get_mut(&number) else {
            return Ok(());
        };
        let Some(wants) = dir.wants(&self.sb) else {
            return super::error::unsupported(format!(
                "directory inode {number} has too many names for an index of two levels"
            ));
        };
        let others = self.reserved - dir.reserved;
        let bs = self.sb.block_size as u64;
        if others + wants > self.sb.free_blocks && wants > dir.reserved {
            return Err(FsError::NoSpace {
                need: (wants - dir.reserved) * bs,
                free: self.sb.free_blocks.saturating_sub(self.reserved) * bs,
            });
        }
        self.reserved = others + wants;
        dir.reserved = wants;
        Ok(())
    }

    fn stamp_dir(&mut self, number: u32, now: Time, links: i32) -> FsResult<()> {
        let mut inode = self.inode(number)?;
        inode.set_time(Stamp::Modify, now, b"/")?;
        inode.set_time(Stamp::Change, now, b"/")?;
        if links != 0 {
            let many = self.sb.has_ro_compat(ro_compat::DIR_NLINK);
            let count = inode.links();
            // One link means that they are no longer counted.
            let count = match (count, links > 0) {
                (1, _) => 1,
                (n, true) if n + 1 > LINK_MAX => {
                    if !many {
                        return Err(FsError::Invalid {
                            path: format!("inode {number}"),
                            why: format!("a directory has up to {} subdirectories", LINK_MAX - 2),
                        });
                    }
                    1
                }
                (n, true) => n + 1,
                (n, false) => n.saturating_sub(1).max(2),
            };
            inode.set_links(count);
        }
        self.write_inode(number, &inode)
    }

    fn insert_name(&mut self, dir: u32, name: &[u8], entry: Entry, path: &[u8]) -> FsResult<()> {
        if name.len() > NAME_LEN {
            return invalid(path, format!("a name has up to {NAME_LEN} bytes"));
        }
        self.touch_dir(dir)?;
        if let Some(d) = self.dirs.get_mut(&dir) {
            d.insert(name, entry);
            self.undo.steps.push(Step::DirInserted(dir, name.into()));
        }
        self.reserve_dir(dir)
    }

    fn remove_name(&mut self, dir: u32, name: &[u8]) -> FsResult<()> {
        self.touch_dir(dir)?;
        if let Some(d) = self.dirs.get_mut(&dir)
            && let Some(entry) = d.remove(name)
        {
            self.undo.steps.push(Step::DirRemoved(dir, name.into(), entry));
        }
        self.reserve_dir(dir)
    }

    /// A fresh inode with its attributes and times, below `parent`. It still has to be written.
    fn new_inode(
        &mut self,
        parent: u32,
        kind: (NodeKind, u16),
        default_mode: u16,
        attrs: &Attrs,
        path: &[u8],
    ) -> FsResult<(u32, Inode)> {
        let number = self.allocate_inode(parent, kind.0 == NodeKind::Dir)?;
        let mut inode = Inode::empty(&self.sb);
        inode.set_mode(kind.1 | attrs.mode.unwrap_or(default_mode) & 0o7777);
        let (uid, gid) = attrs.owner.unwrap_or((0, 0));
        inode.set_owner(uid, gid);
        inode.set_links(1);
        for stamp in [Stamp::Access, Stamp::Change, Stamp::Create] {
            inode.set_time(stamp, attrs.now, path)?;
        }
        inode.set_time(Stamp::Modify, attrs.mtime.unwrap_or(attrs.now), path)?;
        Ok((number, inode))
    }

    /// Names a new inode, after it was written.
    fn name_inode(
        &mut self,
        parent: u32,
        name: &[u8],
        number: u32,
        kind: NodeKind,
        now: Time,
        path: &[u8],
    ) -> FsResult<()> {
        let entry = Entry {
            inode: number,
            file_type: file_type(kind),
        };
        self.insert_name(parent, name, entry, path)?;
        self.stamp_dir(parent, now, i32::from(kind == NodeKind::Dir))
    }

    pub(crate) fn do_put(
        &mut self,
        path: &[u8],
        content: &Arc<dyn Source>,
        sparse: bool,
        attrs: &Attrs,
    ) -> FsResult<()> {
        let (parent, name) = self.parent(path)?;
        if let Some(entry) = self.lookup(parent, name)? {
            let mut inode = self.inode(entry.inode)?;
            require_file(&inode, path)?;
            self.replace_content(entry.inode, &mut inode, content, sparse, path)?;
            inode.set_time(Stamp::Modify, attrs.now, path)?;
            return self.apply_attrs(entry.inode, inode, attrs, path);
        }
        let kind = (NodeKind::File, ino::S_IFREG);
        let (number, mut inode) = self.new_inode(parent, kind, 0o644, attrs, path)?;
        self.replace_content(number, &mut inode, content, sparse, path)?;
        self.write_inode(number, &inode)?;
        self.name_inode(parent, name, number, kind.0, attrs.now, path)
    }

    pub(crate) fn do_append(
        &mut self,
        path: &[u8],
        content: &Arc<dyn Source>,
        attrs: &Attrs,
    ) -> FsResult<()> {
        let (number, mut inode) = self.must_find(path)?;
        require_file(&inode, path)?;
        if !content.is_empty() {
            self.append_content(number, &mut inode, content, path)?;
        }
        inode.set_time(Stamp::Modify, attrs.now, path)?;
        self.apply_attrs(number, inode, attrs, path)
    }

    pub(crate) fn do_make_dir(&mut self, path: &[u8], attrs: &Attrs) -> FsResult<()> {
        if let Some(number) = self.find(path)? {
            let inode = self.inode(number)?;
            if inode.kind() != Some(NodeKind::Dir) {
                return Err(FsError::NotADirectory(show(path)));
            }
            return self.apply_attrs(number, inode, attrs, path);
        }
        let (parent, name) = self.parent(path)?;
        let kind = (NodeKind::Dir, ino::S_IFDIR);
        let (number, mut inode) = self.new_inode(parent, kind, 0o755, attrs, path)?;
        inode.set_links(2);
        inode.set_size(self.sb.block_size as u64);
        self.put_mapping(number, &mut inode, &[], &[], path)?;
        self.write_inode(number, &inode)?;
        self.undo.steps.push(Step::DirAdded(number));
        self.dirs.insert(number, Directory::new(parent));
        self.reserve_dir(number)?;
        self.name_inode(parent, name, number, kind.0, attrs.now, path)
    }

    pub(crate) fn do_symlink(&mut self, path: &[u8], target: &[u8], attrs: &Attrs) -> FsResult<()> {
        let longest = self.sb.block_size - 1;
        if target.is_empty() || target.len() > longest || target.contains(&0) {
            return invalid(
                path,
                format!("a symlink's target has 1 to {longest} bytes and no zero byte"),
            );
        }
        let (parent, name) = self.parent(path)?;
        if let Some(entry) = self.lookup(parent, name)? {
            let old = self.inode(entry.inode)?;
            if old.kind() != Some(NodeKind::Symlink) {
                return Err(FsError::Exists(show(path)));
            }
            let kept = Attrs {
                mode: Some(attrs.mode.unwrap_or(old.mode() & 0o7777)),
                owner: Some(attrs.owner.unwrap_or((old.uid(), old.gid()))),
                ..attrs.clone()
            };
            self.unlink(entry.inode, attrs.now)?;
            self.remove_name(parent, name)?;
            return self.do_symlink(path, target, &kept);
        }
        let kind = (NodeKind::Symlink, ino::S_IFLNK);
        let (number, mut inode) = self.new_inode(parent, kind, 0o777, attrs, path)?;
        self.put_target(number, &mut inode, target, path)?;
        self.write_inode(number, &inode)?;
        self.name_inode(parent, name, number, kind.0, attrs.now, path)
    }

    pub(crate) fn do_hard_link(&mut self, path: &[u8], existing: &[u8], now: Time) -> FsResult<()> {
        let (number, mut inode) = self.must_find(existing)?;
        let kind = self.kind_of(&inode, number)?;
        if kind == NodeKind::Dir {
            return Err(FsError::IsADirectory(show(existing)));
        }
        let (parent, name) = self.parent(path)?;
        if self.lookup(parent, name)?.is_some() {
            return Err(FsError::Exists(show(path)));
        }
        if inode.links() >= LINK_MAX {
            return invalid(path, format!("a file has up to {LINK_MAX} names"));
        }
        inode.set_links(inode.links() + 1);
        inode.set_time(Stamp::Change, now, path)?;
        self.write_inode(number, &inode)?;
        let entry = Entry {
            inode: number,
            file_type: file_type(kind),
        };
        self.insert_name(parent, name, entry, path)?;
        self.stamp_dir(parent, now, 0)
    }

    pub(crate) fn do_rename(&mut self, from: &[u8], to: &[u8], now: Time) -> FsResult<()> {
        let (old_parent, old_name) = self.parent(from)?;
        let Some(entry) = self.lookup(old_parent, old_name)? else {
            return Err(FsError::NotFound(show(from)));
        };
        if to.strip_prefix(from).is_some_and(|rest| rest.starts_with(b"/")) {
            return invalid(from, "a directory cannot be moved below itself");
        }
        let (parent, name) = self.parent(to)?;
        if self.lookup(parent, name)?.is_some() {
            return Err(FsError::Exists(show(to)));
        }
        let mut inode = self.inode(entry.inode)?;
        inode.set_time(Stamp::Change, now, from)?;
        self.write_inode(entry.inode, &inode)?;
        let moved_dir = inode.kind() == Some(NodeKind::Dir) && parent != old_parent;
        if moved_dir {
            self.touch_dir(entry.inode)?;
            if let Some(dir) = self.dirs.get_mut(&entry.inode) {
                self.undo.steps.push(Step::DirParent(entry.inode, dir.parent));
                dir.parent = parent;
            }
        }
        self.remove_name(old_parent, old_name)?;
        self.stamp_dir(old_parent, now, -i32::from(moved_dir))?;
        self.insert_name(parent, name, entry, to)?;
        self.stamp_dir(parent, now, i32::from(moved_dir))
    }

    pub(crate) fn do_remove(&mut self, path: &[u8], recursive: bool, now: Time) -> FsResult<()> {
        let (parent, name) = self.parent(path)?;
        let Some(entry) = self.lookup(parent, name)? else {
            return Err(FsError::NotFound(show(path)));
        };
        let is_dir = self.inode(entry.inode)?.kind() == Some(NodeKind::Dir);
        // What it frees may be what the directory needs to be laid out anew: the name goes last.
        if !is_dir {
            self.unlink(entry.inode, now)?;
            self.remove_name(parent, name)?;
            return self.stamp_dir(parent, now, 0);
        }
        if !recursive && self.with_dir(entry.inode, |d| !d.entries.is_empty())? {
            return Err(FsError::NotEmpty(show(path)));
        }
        let mut seen = BTreeSet::from([ino::ROOT, parent]);
        let mut pending = vec![entry.inode];
        while let Some(dir) = pending.pop() {
            if !seen.insert(dir) {
                return damaged(format!("directory inode {dir} has two names"));
            }
            let children: Vec<Entry> = self.with_dir(dir, |d| d.entries.values().copied().collect())?;
            for child in children {
                if self.inode(child.inode)?.kind() == Some(NodeKind::Dir) {
                    pending.push(child.inode);
                } else {
                    self.unlink(child.inode, now)?;
                }
            }
            self.drop_dir(dir)?;
        }
        self.remove_name(parent, name)?;
        self.stamp_dir(parent, now, -1)
    }

    /// Frees a directory whose entries are gone already.
    fn drop_dir(&mut self, number: u32) -> FsResult<()> {
        let inode = self.inode(number)?;
        if let Some(dir) = self.dirs.remove(&number) {
            self.reserved -= dir.reserved;
            self.undo.steps.push(Step::DirDropped(number, dir));
        }
        self.dir_cache.borrow_mut().take(number);
        self.release_content(&inode, number)?;
        self.drop_attr_block(&inode)?;
        self.release_inode(number, true)
    }

    /// Takes one name from a node that is no directory; the last one frees it.
    fn unlink(&mut self, number: u32, now: Time) -> FsResult<()> {
        let mut inode = self.inode(number)?;
        if inode.links() > 1 {
            inode.set_links(inode.links() - 1);
            inode.set_time(Stamp::Change, now, b"/")?;
            return self.write_inode(number, &inode);
        }
        self.release_content(&inode, number)?;
        self.drop_attr_block(&inode)?;
        self.release_inode(number, false)
    }
}

fn require_file(inode: &Inode, path: &[u8]) -> FsResult<()> {
    match inode.kind() {
        Some(NodeKind::File) => Ok(()),
        Some(NodeKind::Dir) => Err(FsError::IsADirectory(show(path))),
        Some(kind) => invalid(path, format!("is a {kind}; a regular file is wanted")),
        None => damaged(format!("`{}` has no known type", show(path))),
    }
}
