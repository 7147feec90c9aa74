//! Inodes, what they map, and their attributes.

use super::super::super::{FsResult, NodeKind};
use super::super::extent::Mapping;
use super::super::format::{bg, ino};
use super::super::inode::Inode;
use super::super::{bitmap, blockmap, dir, xattr};
use super::{Checker, Known, attributes};

/// The inode that names bad blocks (`EXT4_BAD_INO`).
const BAD_BLOCKS: u32 = 1;

impl Checker<'_> {
    /// Reads every inode that was ever used. False when so many share blocks that going on would take forever.
    pub(super) fn inodes(&mut self) -> FsResult<bool> {
        let s = &self.fs.sb;
        for number in 0..s.groups_count() {
            let group = self.fs.groups[number as usize];
            let csum = s.has_group_csum();
            if csum && group.has_flag(bg::INODE_UNINIT) {
                continue;
            }
            let unused = if csum { group.itable_unused() } else { 0 };
            let used = s.inodes_per_group - unused;
            let place = format!("group {number} inode bitmap");
            // A bitmap that cannot be read is told with the other bitmaps.
            let map = self.fs.inode_bitmap(number).ok();
            if let Some(map) = &map
                && let Some(bit) = bitmap::find(map, used as usize, s.inodes_per_group as usize, true)
            {
                self.found(
                    place,
                    format!(
                        "inode {} is in use and among the {unused} never used",
                        number * s.inodes_per_group + bit as u32 + 1
                    ),
                );
            }
            for index in 0..used {
                let inode = number * s.inodes_per_group + index + 1;
                let marked = map.as_ref().map(|map| bitmap::get(map, index as usize));
                self.inode(inode, marked)?;
                if self.met > 2 * s.blocks_count {
                    self.found(
                        "inode tables",
                        format!("inodes up to {inode} use more blocks than there are; the check ends here"),
                    );
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    fn inode(&mut self, number: u32, marked: Option<bool>) -> FsResult<()> {
        let s = &self.fs.sb;
        let (block, at) = self.fs.inode_place(number);
        let block = self.fs.store.block(block)?;
        let raw = &block[at..at + s.inode_size];
        let bare = Inode { raw: raw.to_vec() };
        let place = format!("inode {number}");
        if bare.links() == 0 {
            // Free inodes keep what they were, whatever their checksum; reserved ones are always read.
            if number < s.first_ino && raw.iter().any(|b| *b != 0) {
                self.soften(&place, Inode::parse(raw, number, s))?;
            }
            self.reserved(&place, number, &bare);
            if number == BAD_BLOCKS {
                self.bad_blocks(&bare)?;
            } else if marked == Some(true) && !s.is_reserved(number) {
                self.found(place, "is marked in use and has no links");
            }
            return Ok(());
        }
        let Some(inode) = self.soften(&place, Inode::parse(raw, number, s))? else {
            return Ok(());
        };
        let Some(kind) = inode.kind() else {
            self.found(place, format!("has no known type: mode {:#o}", inode.mode()));
            return Ok(());
        };
        self.inodes[number as usize] = Known {
            file_type: dir::file_type(kind),
            links: inode.links() as u16,
        };
        if inode.u32(ino::DTIME) != 0 {
            self.found(&*place, "is in use and has a time of deletion");
        }
        if number == ino::RESIZE {
            return Ok(());
        }
        self.fields(&place, &inode, kind);
        let attributes = self.attributes(&place, number, &inode)?;
        let Some(mapping) = self.soften(&place, self.fs.mapping(&inode, number))? else {
            return Ok(());
        };
        self.own_mapping(&place, &mapping);
        self.sizes(&place, &inode, kind, &mapping, attributes);
        if kind == NodeKind::Symlink {
            self.symlink(&place, number, &inode)?;
        }
        Ok(())
    }

    pub(super) fn own_mapping(&mut self, place: &str, mapping: &Mapping) {
        self.met += mapping.data_blocks() + mapping.meta.len() as u64;
        for extent in &mapping.extents {
            self.own(place, extent.physical, extent.len);
        }
        for block in &mapping.meta {
            self.own(place, *block, 1);
        }
    }

    /// Reserved inodes without links: nothing in them, and in that of bad blocks nothing but a map.
    fn reserved(&mut self, place: &str, number: u32, inode: &Inode) {
        if number >= self.fs.sb.first_ino || matches!(number, ino::ROOT | ino::RESIZE | ino::JOURNAL) {
            return;
        }
        let wrong = if number == BAD_BLOCKS {
            inode.mode() != 0 || inode.uid() != 0 || inode.gid() != 0 || inode.file_acl() != 0
        } else {
            let mode = inode.mode() & ino::S_IFMT;
            (inode.mode() != 0 && mode != ino::S_IFREG)
                || inode.size() != 0
                || inode.sectors(self.fs.sb.block_size) != 0
                || inode.u32(ino::DTIME) != 0
                || inode.block().iter().any(|b| *b != 0)
        };
        if wrong {
            self.found(place, "is reserved and not in use, and not empty");
        }
    }

    /// Fields and flags that the kind of the inode does not allow.
    fn fields(&mut self, place: &str, inode: &Inode, kind: NodeKind) {
        let special = !matches!(kind, NodeKind::File | NodeKind::Dir | NodeKind::Symlink);
        let fixed = ino::IMMUTABLE_FL | ino::APPEND_FL;
        let wrong = [
            (
                kind != NodeKind::Dir && inode.has_flag(ino::INDEX_FL),
                "is no directory and has the flag of an index",
            ),
            (
                special && inode.has_flag(ino::EXTENTS_FL),
                "has no content and has the flag of extents",
            ),
            (
                (special || kind == NodeKind::Symlink) && inode.has_flag(fixed),
                "is a special file or symlink that is immutable or for appending only",
            ),
            (
                inode.has_flag(ino::IMAGIC_FL),
                "has the flag of AFS, and feature imagic_inodes is off",
            ),
            (
                inode.has_flag(ino::CASEFOLD_FL),
                "ignores case, and feature casefold is off",
            ),
            (special && inode.size() != 0, "has no content and a size"),
            (inode.u32(ino::FADDR) != 0, "has an address of a fragment"),
        ];
        for (_, what) in wrong.into_iter().filter(|(is, _)| *is) {
            self.found(place, what);
        }
    }

    fn bad_blocks(&mut self, inode: &Inode) -> FsResult<()> {
        if inode.block().iter().all(|b| *b == 0) {
            return Ok(());
        }
        let read = blockmap::read(inode, BAD_BLOCKS, &self.fs.sb, &self.fs.store);
        if let Some(mapping) = self.soften("inode 1", read)? {
            self.own_mapping("inode 1", &mapping);
        }
        Ok(())
    }

    /// Size and count of blocks against the map. `attributes` is 1 with an attribute block.
    fn sizes(&mut self, place: &str, inode: &Inode, kind: NodeKind, mapping: &Mapping, attributes: u64) {
        let bs = self.fs.sb.block_size;
        let met = mapping.data_blocks() + mapping.meta.len() as u64 + attributes;
        let stored = inode.blocks(bs);
        if met != stored {
            self.found(place, format!("counts {stored} blocks, it has {met}"));
        } else if inode.sectors(bs) != met * (bs as u64 / 512) {
            self.found(place, "counts a part of a block");
        }
        if mapping.crooked {
            self.found(place, "has an extent index that begins elsewhere than its node");
        }
        if !inode.maps_blocks() {
            return;
        }
        let end = |written_only: bool| {
            let extents = mapping.extents.iter();
            extents
                .filter(|e| !(written_only && e.unwritten))
                .map(|e| e.logical + e.len)
                .max()
                .unwrap_or(0)
        };
        let size = inode.size();
        let slots = bs as u64 / 4;
        // With extents a block number has 32 bits; with a block map, three levels of indirect blocks are all.
        let most = if inode.has_flag(ino::EXTENTS_FL) {
            ((bs as u64) << 32) - 1
        } else {
            (12 + slots + slots.pow(2) + slots.pow(3)) * bs as u64
        };
        let wanted = size.div_ceil(bs as u64);
        let wrong = if kind == NodeKind::Dir {
            size == 0 || !size.is_multiple_of(bs as u64) || end(false) != wanted
        } else {
            // Blocks may be missing (holes); preallocated ones may lie behind the end.
            end(true) > wanted || size > most
        };
        if wrong {
            self.found(
                place,
                format!("has a size of {size} bytes and blocks up to {}", end(true)),
            );
        }
    }

    fn symlink(&mut self, place: &str, number: u32, inode: &Inode) -> FsResult<()> {
        let Some(target) = self.soften(place, self.fs.target(inode, number))? else {
            return Ok(());
        };
        let ended = if inode.is_fast_symlink() {
            inode.block().get(target.len()) == Some(&0)
        } else {
            match self.fs.mapping(inode, number)?.find(0) {
                Some((block, _)) => self.fs.store.block(block)?.get(target.len()) == Some(&0),
                None => false,
            }
        };
        if target.is_empty() || target.contains(&0) || !ended {
            self.found(place, "is a symlink with a wrong target");
        }
        Ok(())
    }

    /// Reads the attributes. Gives 1 when there is a block of them.
    fn attributes(&mut self, place: &str, number: u32, inode: &Inode) -> FsResult<u64> {
        let at = inode.file_acl();
        if let Some(area) = xattr::inode_area(inode)
            && let Some(what) = attributes::defect(area, attributes::INODE)
        {
            self.found(place, what);
        }
        let read = self.soften(place, self.fs.attrs(inode, number))?;
        let Some((_, block)) = read else {
            // The block is the inode's, right or not.
            let exists = at > self.fs.sb.first_data_block && at < self.fs.sb.blocks_count;
            if exists && self.shared.insert(at, (1, 1)).is_none() {
                self.own(place, at, 1);
            }
            return Ok(u64::from(at != 0));
        };
        let Some(block) = block else {
            return Ok(0);
        };
        match self.shared.get_mut(&at) {
            Some((_, met)) => *met += 1,
            None => {
                self.shared.insert(at, (block.refcount, 1));
                self.own(place, at, 1);
                let bytes = self.fs.store.block(at)?;
                if let Some(what) = attributes::defect(&bytes, attributes::BLOCK) {
                    self.found(place, what);
                }
            }
        }
        Ok(1)
    }
}
