//! File content: replaced, appended to, freed. Payload stays a reference.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use super::super::FsResult;
use super::Ext4;
use super::error::{invalid, unsupported};
use super::extent::{self, Extent, Mapping};
use super::format::{incompat, ino, ro_compat, sb};
use super::inode::Inode;
use super::store::Payload;
use crate::disk::Source;

/// Files are read in pieces of this size when their zeroes are looked for.
const SCAN: usize = 256 << 10;
/// Files beyond this size need `large_file`.
const LARGE: u64 = 0x7FFF_FFFF;

impl Ext4 {
    /// Where new blocks of an inode should be near.
    pub(crate) fn goal(&self, number: u32) -> u64 {
        self.sb.group_start(self.group_of_inode(number))
    }

    /// Files and directories are written with extents alone.
    pub(crate) fn require_extents(&self) -> FsResult<()> {
        if self.sb.has_incompat(incompat::EXTENTS) {
            return Ok(());
        }
        unsupported("files are written with extents, and feature extent is off")
    }

    /// Gives an inode the blocks `extents` in place of `old`, whose index blocks are freed. Data blocks are the
    /// caller's. The inode still has to be written.
    pub(crate) fn put_mapping(
        &mut self,
        number: u32,
        inode: &mut Inode,
        old: &[u64],
        extents: &[Extent],
        path: &[u8],
    ) -> FsResult<()> {
        self.require_extents()?;
        for block in old {
            self.release(*block, 1)?;
        }
        let cut = extent::split_long(extents);
        let (wanted, _) = extent::index_blocks(cut.len(), self.sb.block_size);
        let goal = extents.first().map_or(self.goal(number), |e| e.physical);
        let meta: Vec<u64> = self
            .allocate(goal, wanted as u64)?
            .into_iter()
            .flat_map(|(start, len)| start..start + len)
            .collect();
        let seed = inode.seed(number, &self.sb);
        inode.set_flag(ino::EXTENTS_FL, true);
        extent::write(inode, seed, &self.sb, &mut self.store, &cut, &meta);
        let data: u64 = cut.iter().map(|e| e.len).sum();
        let attrs = u64::from(inode.file_acl() != 0);
        if inode
            .set_blocks(data + meta.len() as u64 + attrs, &self.sb)
            .is_none()
        {
            return invalid(path, "too large for a file system without huge_file");
        }
        Ok(())
    }

    /// Frees all blocks of an inode but that of its attributes.
    pub(crate) fn release_content(&mut self, inode: &Inode, number: u32) -> FsResult<()> {
        let mapping = self.mapping(inode, number)?;
        for e in &mapping.extents {
            self.release(e.physical, e.len)?;
        }
        for block in &mapping.meta {
            self.release(*block, 1)?;
        }
        Ok(())
    }

    fn check_size(&mut self, size: u64, path: &[u8]) -> FsResult<()> {
        // Block numbers in a file have 32 bits, and the last one is not used.
        let limit = u64::from(u32::MAX) * self.sb.block_size as u64;
        if size > limit {
            return invalid(path, format!("{size} bytes; a file holds up to {limit}"));
        }
        if size > LARGE && !self.sb.has_ro_compat(ro_compat::LARGE_FILE) {
            let bits = self.sb.u32(sb::FEATURE_RO_COMPAT);
            self.sb
                .set_u32(sb::FEATURE_RO_COMPAT, bits | ro_compat::LARGE_FILE);
        }
        Ok(())
    }

    /// Distributes `ranges` of file blocks over the blocks `runs`, which are as many, and refers to `source` for
    /// their content. Byte `base` of the file, the start of a block, is byte `skip` of the source.
    fn place_content(
        &mut self,
        extents: &mut Vec<Extent>,
        ranges: &[Range<u64>],
        runs: Vec<(u64, u64)>,
        source: &Arc<dyn Source>,
        (base, skip): (u64, u64),
    ) {
        let bs = self.sb.block_size as u64;
        let mut runs = runs.into_iter();
        let (mut start, mut left) = (0, 0);
        for range in ranges {
            let mut at = range.start;
            while at < range.end {
                if left == 0 {
                    match runs.next() {
                        Some(run) => (start, left) = run,
                        None => return,
                    }
                }
                let len = left.min(range.end - at);
                let offset = skip + (at * bs - base);
                let payload = Payload {
                    blocks: len,
                    source: source.clone(),
                    offset,
                    len: (len * bs).min(source.len().saturating_sub(offset)),
                };
                self.store.add_payload(start, payload);
                let extent = Extent {
                    logical: at,
                    physical: start,
                    len,
                    unwritten: false,
                };
                extent::push(extents, extent);
                at += len;
                start += len;
                left -= len;
            }
        }
    }

    /// Replaces the content of a file. The inode still has to be written.
    pub(crate) fn replace_content(
        &mut self,
        number: u32,
        inode: &mut Inode,
        source: &Arc<dyn Source>,
        sparse: bool,
        path: &[u8],
    ) -> FsResult<()> {
        let bs = self.sb.block_size as u64;
        let size = source.len();
        self.check_size(size, path)?;
        self.release_content(inode, number)?;
        let blocks = size.div_ceil(bs);
        let ranges = if sparse {
            data_blocks(&**source, bs)?
        } else if blocks > 0 {
            std::iter::once(0..blocks).collect()
        } else {
            Vec::new()
        };
        let count = ranges.iter().map(|r| r.end - r.start).sum();
        let runs = self.allocate_content(self.goal(number), count)?;
        let mut extents = Vec::new();
        self.place_content(&mut extents, &ranges, runs, source, (0, 0));
        inode.set_size(size);
        self.put_mapping(number, inode, &[], &extents, path)
    }

    /// Adds `source` to the end of a file. The inode still has to be written.
    pub(crate) fn append_content(
        &mut self,
        number: u32,
        inode: &mut Inode,
        source: &Arc<dyn Source>,
        path: &[u8],
    ) -> FsResult<()> {
        let bs = self.sb.block_size as u64;
        let size = inode.size();
        let Some(new_size) = size.checked_add(source.len()) else {
            return invalid(path, "too large");
        };
        self.check_size(new_size, path)?;
        let old_content: Arc<dyn Source> = Arc::new(self.content(inode, number)?);
        let mapping = self.mapping(inode, number)?;
        let mut kept = self.cut_at(&mapping, size.div_ceil(bs))?;
        let in_block = size % bs;
        let head = if in_block == 0 {
            0
        } else {
            (bs - in_block).min(source.len())
        };
        if head > 0 {
            let last = size / bs;
            let mut block = vec![0; bs as usize];
            let (old, new) = block.split_at_mut(in_block as usize);
            old_content.read_at(last * bs, old)?;
            source.read_at(0, &mut new[..head as usize])?;
            let place = match kept.find(last) {
                Some((place, false)) => place,
                found => {
                    if found.is_some() {
                        kept = self.cut_at(&kept, last)?;
                    }
                    let goal = kept
                        .extents
                        .last()
                        .map_or(self.goal(number), |e| e.physical + e.len);
                    let place = self.allocate(goal, 1)?[0].0;
                    kept.push(Extent {
                        logical: last,
                        physical: place,
                        len: 1,
                        unwritten: false,
                    });
                    place
                }
            };
            // The block may have been payload so far.
            self.store.forget(place, 1);
            self.store.put_block(place, block);
        }
        if source.len() > head {
            let first = size.div_ceil(bs);
            let range = first..new_size.div_ceil(bs);
            let goal = kept
                .extents
                .last()
                .map_or(self.goal(number), |e| e.physical + e.len);
            let count = range.end - range.start;
            self.require_blocks(count)?;
            let near = self.extend_at(goal, count)?;
            let mut runs = Vec::new();
            if near > 0 {
                runs.push((goal, near));
            }
            runs.extend(self.allocate(goal, count - near)?);
            let base = (first * bs, head);
            let ranges = std::slice::from_ref(&range);
            self.place_content(&mut kept.extents, ranges, runs, source, base);
        }
        inode.set_size(new_size);
        self.put_mapping(number, inode, &mapping.meta, &kept.extents, path)
    }

    /// The extents before block `end` of a file; those after it are freed.
    pub(crate) fn cut_at(&mut self, mapping: &Mapping, end: u64) -> FsResult<Mapping> {
        let mut kept = Mapping::default();
        for e in &mapping.extents {
            let keep = end.saturating_sub(e.logical).min(e.len);
            if keep > 0 {
                kept.push(Extent { len: keep, ..*e });
            }
            if keep < e.len {
                self.release(e.physical + keep, e.len - keep)?;
            }
        }
        Ok(kept)
    }

    /// Writes the target of a new symlink into a fresh inode.
    pub(crate) fn put_target(
        &mut self,
        number: u32,
        inode: &mut Inode,
        target: &[u8],
        path: &[u8],
    ) -> FsResult<()> {
        inode.set_size(target.len() as u64);
        if target.len() < ino::BLOCK_LEN {
            inode.block_mut()[..target.len()].copy_from_slice(target);
            return Ok(());
        }
        let place = self.allocate(self.goal(number), 1)?[0].0;
        let mut block = target.to_vec();
        block.resize(self.sb.block_size, 0);
        self.store.put_block(place, block);
        let extent = Extent {
            logical: 0,
            physical: place,
            len: 1,
            unwritten: false,
        };
        self.put_mapping(number, inode, &[], &[extent], path)
    }
}

/// Ranges of blocks that are not all zero.
fn data_blocks(source: &dyn Source, bs: u64) -> io::Result<Vec<Range<u64>>> {
    let mut ranges: Vec<Range<u64>> = Vec::new();
    let mut buf = vec![0; SCAN];
    let mut at = 0;
    while let Some(range) = source.next_data(at)? {
        if range.is_empty() {
            break;
        }
        let mut from = range.start / bs * bs;
        while from < range.end {
            let len = (source.len() - from).min(SCAN as u64) as usize;
            source.read_at(from, &mut buf[..len])?;
            for (block, bytes) in (from / bs..).zip(buf[..len].chunks(bs as usize)) {
                if bytes.iter().all(|b| *b == 0) {
                    continue;
                }
                match ranges.last_mut() {
                    Some(last) if last.end == block => last.end += 1,
                    Some(last) if last.end > block => {}
                    _ => ranges.push(block..block + 1),
                }
            }
            from += len as u64;
        }
        // Whole pieces were read: the next range may begin inside the last of them.
        at = range.end.max(from.min(source.len()));
    }
    Ok(ranges)
}
