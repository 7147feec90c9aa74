//! The first pass: every pointer is followed once, and what it points to is claimed.
//!
//! A node of a tree is descended into only when its block was free to claim, so that the walk ends on any bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use super::super::super::NodeKind;
use super::super::blockmap::DIRECT;
use super::super::extent::{self, ENTRY, Extent};
use super::super::format::{
    EXTENT_MAGIC, EXTENT_MAX_DEPTH, EXTENT_MAX_LEN, compat, ino, join, sb, u16_at, u32_at,
};
use super::super::htree::{NODE_HEADER, ROOT_HEADER};
use super::super::inode::Inode;
use super::claims::{Claims, What};
use super::volume::{Volume, in_use};

/// Most levels of a directory index (`large_dir`).
const INDEX_LEVELS: u8 = 3;

/// What the first pass found.
pub(super) struct Survey {
    pub(super) claims: Claims,
    /// Inodes that name a block of attributes, by block.
    pub(super) sharers: BTreeMap<u64, u32>,
}

struct Walk<'a> {
    v: &'a Volume<'a>,
    found: Survey,
    /// Runs of the inode at hand.
    runs: Vec<Extent>,
}

/// Follows all pointers.
pub(super) fn survey(v: &Volume<'_>) -> io::Result<Survey> {
    let mut walk = Walk {
        v,
        found: Survey {
            claims: Claims::new(v.s.blocks_count),
            sharers: BTreeMap::new(),
        },
        runs: Vec::new(),
    };
    walk.groups();
    for group in 0..v.s.groups_count() {
        walk.inodes(group)?;
    }
    Ok(walk.found)
}

/// The length of an extent and whether it is unwritten, from `ee_len`.
pub(super) fn extent_len(raw: u16) -> (u64, bool) {
    let raw = u32::from(raw);
    if raw > EXTENT_MAX_LEN {
        (u64::from(raw - EXTENT_MAX_LEN), true)
    } else {
        (u64::from(raw), false)
    }
}

impl Walk<'_> {
    fn groups(&mut self) {
        let v = self.v;
        for group in 0..v.s.groups_count() {
            if v.has_super(group) {
                let start = v.s.group_start(group);
                self.found.claims.take(start..start + 1, What::Superblock(group));
                self.found
                    .claims
                    .take(v.descriptors(group), What::Descriptors(group));
                self.found.claims.take(v.reserved(group), What::Reserved(group));
            }
        }
        for group in 0..v.s.groups_count() {
            let g = v.group(group);
            let (blocks, inodes) = (g.block_bitmap(), g.inode_bitmap());
            let table = v.inode_table(group);
            for (range, what) in [
                (blocks..blocks.saturating_add(1), What::BlockBitmap(group)),
                (inodes..inodes.saturating_add(1), What::InodeBitmap(group)),
                (table, What::InodeTable(group)),
            ] {
                if v.inside(range.start, range.end - range.start) {
                    self.found.claims.take(range, what);
                } else {
                    let text = format!("{what} should be at block {}", range.start);
                    let at = v.descriptors(0).start;
                    self.found.claims.defects.push((at, text));
                }
            }
        }
    }

    fn inodes(&mut self, group: u32) -> io::Result<()> {
        let v = self.v;
        let bits = v.inode_bitmap(group)?;
        let table = v.inode_table(group);
        if !v.inside(table.start, table.end - table.start) {
            return Ok(());
        }
        let size = v.s.inode_size;
        let per_block = v.s.inodes_per_block();
        let count = v.s.inodes_per_group as usize;
        for (block, first) in (table.start..table.end).zip((0..count).step_by(per_block)) {
            let members = first..(first + per_block).min(count);
            if let Some(bits) = &bits
                && !members.clone().any(|index| in_use(Some(bits), index, &[]))
            {
                continue;
            }
            let bytes = v.block(block)?;
            for (index, raw) in members.zip(bytes.chunks_exact(size)) {
                let number = u64::from(group) * u64::from(v.s.inodes_per_group) + index as u64 + 1;
                if let (true, Ok(number)) = (in_use(bits.as_deref(), index, raw), u32::try_from(number)) {
                    self.inode(number, &Inode { raw: raw.to_vec() })?;
                }
            }
        }
        Ok(())
    }

    fn inode(&mut self, number: u32, inode: &Inode) -> io::Result<()> {
        let v = self.v;
        let acl = inode.file_acl();
        if acl != 0 {
            if !v.inside(acl, 1) {
                self.outside(number, acl);
            } else if let Some(count) = self.found.sharers.get_mut(&acl) {
                *count += 1;
            } else if self.found.claims.take(acl..acl + 1, What::Attributes(number)) {
                self.found.sharers.insert(acl, 1);
            }
        }
        // The inode of bad blocks has no type.
        let maps = inode.maps_blocks() || (inode.mode() == 0 && inode.block().iter().any(|b| *b != 0));
        if !maps || inode.has_flag(ino::INLINE_DATA_FL) {
            return Ok(());
        }
        self.runs.clear();
        if inode.has_flag(ino::EXTENTS_FL) {
            self.extents(number, inode.block(), None)?;
        } else {
            self.block_map(number, inode)?;
        }
        let runs = std::mem::take(&mut self.runs);
        if inode.kind() == Some(NodeKind::Dir) {
            self.directory(number, inode, &runs)?;
        } else {
            let role = self.role(number, inode);
            for run in &runs {
                let what = role(run);
                self.found
                    .claims
                    .take(run.physical..run.physical.saturating_add(run.len), what);
            }
        }
        self.runs = runs;
        Ok(())
    }

    fn role(&self, number: u32, inode: &Inode) -> impl Fn(&Extent) -> What + use<> {
        let s = &self.v.s;
        let journal = s.has_compat(compat::HAS_JOURNAL) && s.u32(sb::JOURNAL_INUM) == number;
        let orphans = s.has_compat(compat::ORPHAN_FILE) && s.u32(sb::ORPHAN_FILE_INUM) == number;
        let target = inode.kind() == Some(NodeKind::Symlink);
        move |run| {
            let (inode, logical) = (number, run.logical);
            if journal {
                What::Journal { inode, logical }
            } else if orphans {
                What::Orphans { inode, logical }
            } else if target {
                What::Target(inode)
            } else {
                let unwritten = run.unwritten;
                What::Data {
                    inode,
                    logical,
                    unwritten,
                }
            }
        }
    }

    /// Told where the inode stands.
    fn outside(&mut self, number: u32, block: u64) {
        let v = self.v;
        let table = v.inode_table((number - 1) / v.s.inodes_per_group);
        let index = u64::from((number - 1) % v.s.inodes_per_group);
        let at = table.start + index * v.s.inode_size as u64 / v.bs;
        let text = format!("inode {number} points to block {block}, which is outside the file system");
        self.found.claims.defects.push((at, text));
    }

    /// `depth` is what the node above says; `None` for the root.
    fn extents(&mut self, number: u32, node: &[u8], depth: Option<u16>) -> io::Result<()> {
        let own = u16_at(node, 6);
        if u16_at(node, 0) != EXTENT_MAGIC || own > EXTENT_MAX_DEPTH || depth.is_some_and(|d| d != own) {
            return Ok(());
        }
        let room = node.len() / ENTRY - 1;
        let count = usize::from(u16_at(node, 2)).min(room);
        for entry in node[ENTRY..].chunks_exact(ENTRY).take(count) {
            if own == 0 {
                let (len, unwritten) = extent_len(u16_at(entry, 4));
                let physical = join(u32_at(entry, 8), u32::from(u16_at(entry, 6)));
                if len > 0 && !self.v.inside(physical, len) {
                    self.outside(number, physical);
                }
                if len > 0 && self.v.inside(physical, 1) {
                    let logical = u64::from(u32_at(entry, 0));
                    let run = Extent {
                        logical,
                        physical,
                        len,
                        unwritten,
                    };
                    extent::push(&mut self.runs, run);
                }
            } else {
                let child = join(u32_at(entry, 4), u32::from(u16_at(entry, 8)));
                if !self.v.inside(child, 1) {
                    self.outside(number, child);
                } else if self.found.claims.take(child..child + 1, What::Extents(number)) {
                    let block = self.v.block(child)?;
                    self.extents(number, &block, Some(own - 1))?;
                }
            }
        }
        Ok(())
    }

    fn block_map(&mut self, number: u32, inode: &Inode) -> io::Result<()> {
        let per_block = self.v.bs / 4;
        let mut logical = 0;
        for slot in 0..DIRECT + 3 {
            let level = slot.saturating_sub(DIRECT - 1) as u32;
            let block = u64::from(u32_at(inode.block(), slot * 4));
            if number == ino::RESIZE && level == 2 && block != 0 {
                self.resize(block)?;
            } else {
                self.map_entry(number, block, level, logical)?;
            }
            logical += per_block.pow(level);
        }
        Ok(())
    }

    fn map_entry(&mut self, number: u32, block: u64, level: u32, logical: u64) -> io::Result<()> {
        if block == 0 {
            return Ok(());
        }
        if !self.v.inside(block, 1) {
            self.outside(number, block);
            return Ok(());
        }
        if level == 0 {
            let run = Extent {
                logical,
                physical: block,
                len: 1,
                unwritten: false,
            };
            extent::push(&mut self.runs, run);
            return Ok(());
        }
        if self.found.claims.take(block..block + 1, What::Indirect(number)) {
            let content = self.v.block(block)?;
            let step = (self.v.bs / 4).pow(level - 1);
            for (entry, n) in content.chunks_exact(4).zip(0u64..) {
                self.map_entry(number, u64::from(u32_at(entry, 0)), level - 1, logical + n * step)?;
            }
        }
        Ok(())
    }

    /// The double indirect block of the resize inode names the reserved descriptor blocks of group 0, and each of
    /// them its copies; those have their claims already.
    fn resize(&mut self, block: u64) -> io::Result<()> {
        let v = self.v;
        if !v.inside(block, 1) {
            self.outside(ino::RESIZE, block);
            return Ok(());
        }
        if !self
            .found
            .claims
            .take(block..block + 1, What::Indirect(ino::RESIZE))
        {
            return Ok(());
        }
        let reserved = v.reserved(0);
        for entry in v.block(block)?.chunks_exact(4) {
            let named = u64::from(u32_at(entry, 0));
            if named != 0 && !reserved.contains(&named) {
                let text =
                    format!("the resize inode names block {named}, which is not reserved for descriptors");
                self.found.claims.defects.push((block, text));
            }
        }
        Ok(())
    }

    fn directory(&mut self, number: u32, inode: &Inode, runs: &[Extent]) -> io::Result<()> {
        let indexed = inode.has_flag(ino::INDEX_FL) && self.v.s.has_compat(compat::DIR_INDEX);
        let inner = if indexed {
            self.index_blocks(runs)?
        } else {
            BTreeSet::new()
        };
        let inode = number;
        for run in runs {
            let mut at = run.logical;
            let end = run.logical.saturating_add(run.len);
            let mut cuts: Vec<u64> = inner.range(at..end).copied().collect();
            cuts.push(end);
            for cut in cuts {
                let place = |logical: u64| run.physical + (logical - run.logical);
                if at < cut {
                    let what = What::Leaf { inode, logical: at };
                    self.found.claims.take(place(at)..place(cut), what);
                }
                if cut < end {
                    let what = What::Index { inode, logical: cut };
                    self.found.claims.take(place(cut)..place(cut) + 1, what);
                }
                at = cut + 1;
            }
        }
        Ok(())
    }

    /// Logical blocks of the root and the inner nodes of an index.
    fn index_blocks(&self, runs: &[Extent]) -> io::Result<BTreeSet<u64>> {
        let mut sorted: Vec<&Extent> = runs.iter().collect();
        sorted.sort_by_key(|run| run.logical);
        let place = |logical: u64| {
            let after = sorted.partition_point(|run| run.logical <= logical);
            let run = sorted.get(after.checked_sub(1)?)?;
            let block = run.physical.checked_add(logical - run.logical)?;
            (logical - run.logical < run.len && self.v.inside(block, 1)).then_some(block)
        };
        let mut found = BTreeSet::new();
        let mut level: Vec<u64> = vec![0];
        let mut levels = 0;
        let mut depth = 0;
        while depth <= levels && !level.is_empty() {
            let mut below = Vec::new();
            for logical in level {
                let Some(block) = place(logical) else { continue };
                if !found.insert(logical) {
                    continue;
                }
                let bytes = self.v.block(block)?;
                let header = if logical == 0 { ROOT_HEADER } else { NODE_HEADER };
                if logical == 0 {
                    levels = bytes[ROOT_HEADER - 2].min(INDEX_LEVELS);
                }
                if depth < levels {
                    let count = usize::from(u16_at(&bytes, header + 2));
                    let entries = bytes[header..].chunks_exact(8).take(count);
                    below.extend(entries.map(|e| u64::from(u32_at(e, 4))));
                }
            }
            level = below;
            depth += 1;
        }
        Ok(found)
    }
}
