//! The second pass: the partition from its first byte to its last, each block as what claimed it first.

use std::io;
use std::ops::Range;

use super::super::bitmap;
use super::super::format::bg;
use super::claims::{Claim, What};
use super::survey::Survey;
use super::volume::Volume;
use super::{BITMAPS, BOOT, DATA, FREE, LOST, OUTSIDE, UNKNOWN};
use super::{attributes, descriptors, directory, inode, map, special, superblock};
use crate::disk::dump::Ledger;

/// What a block bitmap says about a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    Used,
    Free,
    /// The bitmap is not initialised: nothing but group metadata is used.
    Uninit,
    /// No bitmap covers it.
    None,
}

struct Sweep<'a, 'b> {
    v: &'a Volume<'a>,
    ledger: &'a mut Ledger<'b>,
    /// The block bitmap looked at last.
    bits: Option<(u32, Option<Vec<u8>>)>,
}

/// Writes all lines.
pub(super) fn sweep(v: &Volume<'_>, survey: Survey, ledger: &mut Ledger<'_>) -> io::Result<()> {
    let Survey { mut claims, sharers } = survey;
    claims.list.sort_by_key(|c| c.blocks.start);
    claims.defects.sort();
    for remark in &v.remarks {
        ledger.defect(0..v.len(), "file system", remark)?;
    }
    let mut sweep = Sweep {
        v,
        ledger,
        bits: None,
    };
    let mut defects = claims.defects.iter().peekable();
    let mut at = 0;
    for claim in &claims.list {
        sweep.gap(at..claim.blocks.start)?;
        while let Some((block, text)) = defects.next_if(|(block, _)| *block < claim.blocks.end) {
            let bytes = v.bytes(&(*block..block + 1));
            sweep.ledger.defect(bytes, "blocks", text)?;
        }
        sweep.agree(claim)?;
        let shared = sharers.get(&claim.blocks.start).copied().unwrap_or(0);
        sweep.claim(claim, shared)?;
        at = claim.blocks.end;
    }
    sweep.gap(at..v.s.blocks_count)?;
    for (block, text) in defects {
        sweep
            .ledger
            .defect(v.bytes(&(*block..block + 1)), "blocks", text)?;
    }
    let rest = v.s.blocks_count * v.bs..v.len();
    ledger.own(rest, OUTSIDE, "partition", "bytes", "behind the last block", "")
}

impl Sweep<'_, '_> {
    fn claim(&mut self, claim: &Claim, shared: u32) -> io::Result<()> {
        let (v, blocks) = (self.v, claim.blocks.clone());
        let out = &mut *self.ledger;
        match claim.what {
            What::Superblock(group) => superblock::dump(v, blocks.start, group, out),
            What::Descriptors(group) => descriptors::table(v, blocks, group, out),
            What::Reserved(group) => map::reserved(v, blocks, group, out),
            What::BlockBitmap(group) => self.bitmap(group, true, blocks),
            What::InodeBitmap(group) => self.bitmap(group, false, blocks),
            What::InodeTable(group) => inode::table(v, blocks, group, out),
            What::Extents(inode) => map::extents(v, blocks.start, inode, out),
            What::Indirect(inode) => map::indirect(v, blocks.start, inode, out),
            What::Leaf { inode, logical } => directory::leaves(v, blocks, inode, logical, out),
            What::Index { inode, logical } => directory::index(v, blocks.start, inode, logical, out),
            What::Attributes(inode) => attributes::block(v, blocks.start, inode, shared, out),
            What::Journal { inode, logical } => special::journal(v, blocks, inode, logical, out),
            What::Orphans { inode, logical } => special::orphans(v, blocks, inode, logical, out),
            What::Target(inode) => special::target(v, blocks, inode, out),
            What::Data {
                inode,
                logical,
                unwritten,
            } => data(v, blocks, inode, (logical, unwritten), out),
        }
    }

    /// Runs of blocks with what their bitmaps say, in order.
    fn marks(&mut self, blocks: Range<u64>) -> io::Result<Vec<(Range<u64>, Mark)>> {
        let s = &self.v.s;
        let mut runs: Vec<(Range<u64>, Mark)> = Vec::new();
        let mut put = |range: Range<u64>, mark: Mark| match runs.last_mut() {
            Some((last, m)) if *m == mark && last.end == range.start => last.end = range.end,
            _ => runs.push((range, mark)),
        };
        let mut at = blocks.start;
        while at < blocks.end {
            let Some(inside) = at.checked_sub(s.first_data_block) else {
                let end = blocks.end.min(s.first_data_block);
                put(at..end, Mark::None);
                at = end;
                continue;
            };
            let group = (inside / s.blocks_per_group) as u32;
            let start = s.group_start(group);
            let end = blocks.end.min(start + s.group_len(group));
            if self.bits.as_ref().is_none_or(|(g, _)| *g != group) {
                self.bits = Some((group, self.v.block_bitmap(group)?));
            }
            let bits = self.bits.as_ref().and_then(|(_, bits)| bits.as_deref());
            match bits {
                _ if self.v.group_flag(group, bg::BLOCK_UNINIT) => put(at..end, Mark::Uninit),
                None => put(at..end, Mark::None),
                Some(bits) => {
                    let last = (end - start) as usize;
                    let mut bit = (at - start) as usize;
                    while bit < last {
                        let used = bitmap::get(bits, bit);
                        let stop = bitmap::find(bits, bit, last, !used).unwrap_or(last);
                        let mark = if used { Mark::Used } else { Mark::Free };
                        put(start + bit as u64..start + stop as u64, mark);
                        bit = stop;
                    }
                }
            }
            at = end;
        }
        Ok(runs)
    }

    /// Blocks that nothing has claimed.
    fn gap(&mut self, blocks: Range<u64>) -> io::Result<()> {
        for (run, mark) in self.marks(blocks)? {
            let bytes = self.v.bytes(&run);
            let field = format!("blocks {}..{}", run.start, run.end);
            match mark {
                Mark::Free => self.ledger.own(bytes, FREE, "free", &field, "", "")?,
                Mark::Uninit => {
                    self.ledger
                        .own(bytes, FREE, "free", &field, "", "bitmap not initialised")?;
                }
                Mark::None if run.end <= self.v.s.first_data_block => {
                    let boot = self.v.read(bytes.start, (bytes.end - bytes.start) as usize)?;
                    self.ledger
                        .structure(bytes.start, &boot, BOOT, "boot area", Vec::new())?;
                }
                Mark::None => {
                    let what = "no bitmap covers these blocks";
                    self.ledger.defect(bytes.clone(), "blocks", what)?;
                    self.ledger.own(bytes, UNKNOWN, "blocks", &field, "", "")?;
                }
                Mark::Used => {
                    let what = "marked as used, but nothing in use refers to these blocks";
                    self.ledger.defect(bytes.clone(), "blocks", what)?;
                    self.ledger.own(bytes, LOST, "blocks", &field, "", "")?;
                }
            }
        }
        Ok(())
    }

    /// Tells blocks that are claimed, but free by their bitmap.
    fn agree(&mut self, claim: &Claim) -> io::Result<()> {
        for (run, mark) in self.marks(claim.blocks.clone())? {
            let what = match mark {
                Mark::Free => "the bitmap says free",
                Mark::Uninit if !claim.what.is_static() => "the bitmap is not initialised",
                _ => continue,
            };
            let text = format!("{} has blocks {}..{}; {what}", claim.what, run.start, run.end);
            self.ledger.defect(self.v.bytes(&run), "blocks", &text)?;
        }
        Ok(())
    }

    /// One bitmap: a line for its bytes, and a note for each run of what is used.
    fn bitmap(&mut self, group: u32, of_blocks: bool, blocks: Range<u64>) -> io::Result<()> {
        let (v, s) = (self.v, &self.v.s);
        let bits = v.block(blocks.start)?;
        let bytes = v.bytes(&blocks);
        let (what, unit, count, covered, first) = if of_blocks {
            let first = s.group_start(group);
            (
                "block bitmap",
                "blocks",
                s.group_len(group),
                s.blocks_per_group,
                first,
            )
        } else {
            let count = u64::from(s.inodes_per_group);
            let first = u64::from(group) * count + 1;
            ("inode bitmap", "inodes", count, count, first)
        };
        let structure = format!("group {group} {what}");
        let count = count as usize;
        let used = count - bitmap::count_clear(&bits, count);
        let value = format!("{used} of {count} used");
        let uninit = if of_blocks {
            bg::BLOCK_UNINIT
        } else {
            bg::INODE_UNINIT
        };
        if v.group_flag(group, uninit) {
            let bytes_zero = bits.iter().all(|b| *b == 0);
            let meaning = if bytes_zero {
                "not initialised, zero"
            } else {
                "not initialised, not zero"
            };
            return self
                .ledger
                .own(bytes, BITMAPS, &structure, "bits", &value, meaning);
        }
        let meaning = descriptors::bitmap_verdict(v, group, of_blocks, &bits[..covered as usize / 8]);
        self.ledger
            .own(bytes.clone(), BITMAPS, &structure, "bits", &value, &meaning)?;
        let mut bit = 0;
        while let Some(start) = bitmap::find(&bits, bit, count, true) {
            bit = bitmap::find(&bits, start, count, false).unwrap_or(count);
            let run = format!("{unit} {}..{}", first + start as u64, first + bit as u64);
            self.ledger.note(bytes.clone(), &structure, &run, "used")?;
        }
        if bitmap::find(&bits, count, bits.len() * 8, false).is_some() {
            self.ledger
                .defect(bytes, &structure, "bits behind the last one are not all set")?;
        }
        Ok(())
    }
}

/// Content of a file, with what is behind its end.
fn data(
    v: &Volume<'_>,
    blocks: Range<u64>,
    number: u32,
    (logical, unwritten): (u64, bool),
    out: &mut Ledger<'_>,
) -> io::Result<()> {
    let structure = format!("inode {number}");
    let bytes = v.bytes(&blocks);
    let size = v.inode(number)?.map_or(u64::MAX, |inode| inode.size());
    let content = size.saturating_sub(logical.saturating_mul(v.bs));
    let end = bytes.start.saturating_add(content).min(bytes.end);
    let last = logical + (end - bytes.start).div_ceil(v.bs);
    let meaning = if unwritten { "unwritten" } else { "" };
    let field = format!("logical {logical}..{last}");
    let value = format!("blocks {}..{}", blocks.start, blocks.start + (last - logical));
    out.own(bytes.start..end, DATA, &structure, &field, &value, meaning)?;
    // The rest of the last block is looked at; whole blocks behind the end are not.
    let slack = end..bytes.end.min(end.next_multiple_of(v.bs));
    let tail = v.read(slack.start, (slack.end - slack.start) as usize)?;
    if !tail.is_empty() {
        let value = if tail.iter().all(|b| *b == 0) {
            "zero"
        } else {
            "not zero"
        };
        out.own(slack.clone(), DATA, &structure, "behind i_size", value, meaning)?;
    }
    let whole = format!("logical {last}..{}", logical + (blocks.end - blocks.start));
    out.own(
        slack.end..bytes.end,
        DATA,
        &structure,
        &whole,
        "behind i_size",
        meaning,
    )
}
