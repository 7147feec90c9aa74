//! [`Volume`] for ext4.

use std::ops::Range;
use std::sync::Arc;

use super::super::{Attrs, DirEntry, Finding, FsError, FsResult, NodeKind, Space, Stat, Time, Volume, show};
use super::Ext4;
use super::bitmap;
use super::format::bg;
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
        let hex: Vec<String> = self.sb.uuid_bytes().iter().map(|b| format!("{b:02x}")).collect();
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
                let value = if matches!(a.index, xattr::INDEX_ACL_ACCESS | xattr::INDEX_ACL_DEFAULT) {
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

    fn set_xattr(&mut self, path: &[u8], name: &[u8], value: Option<&[u8]>, now: Time) -> FsResult<()> {
        self.atomically(|fs| fs.do_set_xattr(path, name, value, now))
    }

    fn grow(&mut self, device: Arc<dyn BlockIo>) -> FsResult<()> {
        self.do_grow(device)
    }

    fn commit(&mut self) -> FsResult<()> {
        self.do_commit()
    }

    /// Parts of inode tables that were never used, and that no flag says to be zeroed, count as free: the kernel
    /// zeroes them itself before it uses them.
    fn used_ranges(&self) -> FsResult<Vec<Range<u64>>> {
        let committed = Self::open(self.store.io.clone())?;
        let s = &committed.sb;
        let bs = s.block_size as u64;
        let unused = committed.unused_tables();
        let mut ranges: Vec<Range<u64>> = Vec::new();
        let mut add = |blocks: Range<u64>| match ranges.last_mut() {
            _ if blocks.is_empty() => {}
            Some(last) if last.end == blocks.start * bs => last.end = blocks.end * bs,
            _ => ranges.push(blocks.start * bs..blocks.end * bs),
        };
        // What is before the first block (a boot record with blocks of 1024 bytes) counts as used.
        add(0..s.first_data_block);
        for group in 0..s.groups_count() {
            let map = committed.block_bitmap(group)?;
            let (start, len) = (s.group_start(group), s.group_len(group) as usize);
            let mut bit = 0;
            while let Some(used) = bitmap::find(&map, bit, len, true) {
                bit = bitmap::find(&map, used, len, false).unwrap_or(len);
                let (mut from, to) = (start + used as u64, start + bit as u64);
                let first = unused.partition_point(|r| r.end <= from);
                for gap in unused[first..].iter().take_while(|r| r.start < to) {
                    add(from..gap.start.max(from));
                    from = gap.end.min(to);
                }
                add(from..to);
            }
        }
        Ok(ranges)
    }

    fn check(&self) -> FsResult<Vec<Finding>> {
        super::check::check(&self.store.io)
    }
}

impl Ext4 {
    /// Blocks of inode tables that hold nothing yet, ascending.
    fn unused_tables(&self) -> Vec<Range<u64>> {
        if !self.sb.has_group_csum() {
            return Vec::new();
        }
        let mut unused: Vec<Range<u64>> = self
            .groups
            .iter()
            .filter(|g| !g.has_flag(bg::INODE_ZEROED))
            .map(|g| {
                let used = self.sb.inodes_per_group - g.itable_unused();
                let used = (used as usize).div_ceil(self.sb.inodes_per_block()) as u64;
                g.inode_table() + used..g.inode_table() + self.sb.itable_blocks()
            })
            .filter(|r| !r.is_empty())
            .collect();
        unused.sort_unstable_by_key(|r| r.start);
        unused
    }
}
