//! [`Volume`] for ext4.

use std::ops::Range;
use std::sync::Arc;

use super::super::{
    Attrs, DirEntry, Finding, FsError, FsResult, NodeKind, Space, Stat, Time, Volume, show,
};
use super::Ext4;
use super::bitmap;
use super::xattr;
use crate::disk::{BlockIo, Source};

impl Volume for Ext4 {
    fn kind(&self) -> &'static str {
        "ext4"
    }

    fn label(&self) -> String {
        self.sb.label()
    }

    fn uuid(&self) -> String {
        let hex: Vec<String> = self
            .sb
            .uuid_bytes()
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        [&hex[..4], &hex[4..6], &hex[6..8], &hex[8..10], &hex[10..]]
            .map(<[String]>::concat)
            .join("-")
    }

    fn features(&self) -> Vec<String> {
        self.sb.features()
    }

    fn space(&self) -> Space {
        let bs = self.sb.block_size as u64;
        Space {
            block_size: bs,
            total: self.sb.blocks_count * bs,
            free: self.available() * bs,
            inodes: u64::from(self.sb.inodes_count),
            inodes_free: u64::from(self.sb.free_inodes),
        }
    }

    fn stat(&self, path: &[u8]) -> FsResult<Option<Stat>> {
        match self.find(path)? {
            Some(number) => Ok(Some(self.stat_inode(number)?)),
            None => Ok(None),
        }
    }

    fn read_dir(&self, path: &[u8]) -> FsResult<Vec<DirEntry>> {
        let (number, inode) = self.must_find(path)?;
        if inode.kind() != Some(NodeKind::Dir) {
            return Err(FsError::NotADirectory(show(path)));
        }
        let names: Vec<(Vec<u8>, u32)> = self.with_dir(number, |d| {
            d.entries
                .iter()
                .map(|(name, entry)| (name.to_vec(), entry.inode))
                .collect()
        })?;
        names
            .into_iter()
            .map(|(name, number)| {
                let stat = self.stat_inode(number)?;
                Ok(DirEntry { name, stat })
            })
            .collect()
    }

    fn read_link(&self, path: &[u8]) -> FsResult<Vec<u8>> {
        let (number, inode) = self.must_find(path)?;
        match self.kind_of(&inode, number)? {
            NodeKind::Symlink => self.target(&inode, number),
            kind => super::error::invalid(path, format!("is a {kind}; a symlink is wanted")),
        }
    }

    fn open(&self, path: &[u8]) -> FsResult<Arc<dyn Source>> {
        let (number, inode) = self.must_find(path)?;
        match self.kind_of(&inode, number)? {
            NodeKind::File => Ok(Arc::new(self.content(&inode, number)?)),
            NodeKind::Dir => Err(FsError::IsADirectory(show(path))),
            kind => super::error::invalid(path, format!("is a {kind}; a regular file is wanted")),
        }
    }

    fn xattrs(&self, path: &[u8]) -> FsResult<Vec<(Vec<u8>, Vec<u8>)>> {
        let (number, inode) = self.must_find(path)?;
        let (attrs, _) = self.attrs(&inode, number)?;
        let mut all = attrs
            .into_iter()
            .map(|a| {
                let name = a.full_name();
                let value = if matches!(a.index, xattr::INDEX_ACL_ACCESS | xattr::INDEX_ACL_DEFAULT)
                {
                    match xattr::acl_to_xattr(&a.value) {
                        Some(value) => value,
                        None => {
                            return super::error::damaged(format!("inode {number} has a wrong ACL"));
                        }
                    }
                } else {
                    a.value
                };
                Ok((name, value))
            })
            .collect::<FsResult<Vec<_>>>()?;
        all.sort();
        Ok(all)
    }

    fn put_file(
        &mut self,
        path: &[u8],
        content: &Arc<dyn Source>,
        sparse: bool,
        attrs: &Attrs,
    ) -> FsResult<()> {
        self.atomically(|fs| fs.do_put(path, content, sparse, attrs))
    }

    fn append(&mut self, path: &[u8], content: &Arc<dyn Source>, attrs: &Attrs) -> FsResult<()> {
        self.atomically(|fs| fs.do_append(path, content, attrs))
    }

    fn make_dir(&mut self, path: &[u8], attrs: &Attrs) -> FsResult<()> {
        self.atomically(|fs| fs.do_make_dir(path, attrs))
    }

    fn symlink(&mut self, path: &[u8], target: &[u8], attrs: &Attrs) -> FsResult<()> {
        self.atomically(|fs| fs.do_symlink(path, target, attrs))
    }

    fn hard_link(&mut self, path: &[u8], existing: &[u8], now: Time) -> FsResult<()> {
        self.atomically(|fs| fs.do_hard_link(path, existing, now))
    }

    fn rename(&mut self, from: &[u8], to: &[u8], now: Time) -> FsResult<()> {
        self.atomically(|fs| fs.do_rename(from, to, now))
    }

    fn remove(&mut self, path: &[u8], recursive: bool, now: Time) -> FsResult<()> {
        self.atomically(|fs| fs.do_remove(path, recursive, now))
    }

    fn set_attrs(&mut self, path: &[u8], attrs: &Attrs) -> FsResult<()> {
        self.atomically(|fs| {
            let (number, inode) = fs.must_find(path)?;
            fs.apply_attrs(number, inode, attrs, path)
        })
    }

    fn set_xattr(
        &mut self,
        path: &[u8],
        name: &[u8],
        value: Option<&[u8]>,
        now: Time,
    ) -> FsResult<()> {
        self.atomically(|fs| fs.do_set_xattr(path, name, value, now))
    }

    fn grow(&mut self, device: Arc<dyn BlockIo>) -> FsResult<()> {
        self.do_grow(device)
    }

    fn commit(&mut self) -> FsResult<()> {
        self.do_commit()
    }

    fn used_ranges(&self) -> FsResult<Vec<Range<u64>>> {
        let committed = Self::open(self.store.io.clone())?;
        let s = &committed.sb;
        let bs = s.block_size as u64;
        // What is before the first block (a boot record with blocks of 1024 bytes) counts as used.
        let mut ranges: Vec<Range<u64>> = Vec::new();
        let mut add = |range: Range<u64>| match ranges.last_mut() {
            Some(last) if last.end == range.start => last.end = range.end,
            _ if range.is_empty() => {}
            _ => ranges.push(range),
        };
        add(0..s.first_data_block * bs);
        for group in 0..s.groups_count() {
            let map = committed.block_bitmap(group)?;
            let (start, len) = (s.group_start(group), s.group_len(group) as usize);
            let mut bit = 0;
            while let Some(used) = bitmap::find(&map, bit, len, true) {
                bit = bitmap::find(&map, used, len, false).unwrap_or(len);
                add((start + used as u64) * bs..(start + bit as u64) * bs);
            }
        }
        Ok(ranges)
    }

    fn check(&self) -> FsResult<Vec<Finding>> {
        super::check::check(&self.store.io)
    }
}
