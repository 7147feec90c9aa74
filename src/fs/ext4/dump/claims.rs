//! Which structure has which blocks.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

/// What a run of blocks is. `logical` is the first block of the file that it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    Superblock(u32),
    Descriptors(u32),
    Reserved(u32),
    BlockBitmap(u32),
    InodeBitmap(u32),
    InodeTable(u32),
    Extents(u32),
    Indirect(u32),
    /// Names, in a directory without index or in the leaf of one.
    Leaf {
        inode: u32,
        logical: u64,
    },
    /// Root or inner node of a directory's index.
    Index {
        inode: u32,
        logical: u64,
    },
    Attributes(u32),
    Journal {
        inode: u32,
        logical: u64,
    },
    Orphans {
        inode: u32,
        logical: u64,
    },
    Target(u32),
    Data {
        inode: u32,
        logical: u64,
        unwritten: bool,
    },
}

impl What {
    /// The same, `blocks` further on.
    fn skip(self, blocks: u64) -> Self {
        let mut what = self;
        match &mut what {
            Self::Leaf { logical, .. }
            | Self::Index { logical, .. }
            | Self::Journal { logical, .. }
            | Self::Orphans { logical, .. }
            | Self::Data { logical, .. } => *logical += blocks,
            _ => {}
        }
        what
    }

    /// Whether it lies where the group descriptors say, and no inode says.
    pub(super) fn is_static(self) -> bool {
        matches!(
            self,
            Self::Superblock(_)
                | Self::Descriptors(_)
                | Self::Reserved(_)
                | Self::BlockBitmap(_)
                | Self::InodeBitmap(_)
                | Self::InodeTable(_)
        )
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Superblock(group) => write!(f, "the superblock of group {group}"),
            Self::Descriptors(group) => write!(f, "the descriptors of group {group}"),
            Self::Reserved(group) => write!(f, "the reserved descriptors of group {group}"),
            Self::BlockBitmap(group) => write!(f, "the block bitmap of group {group}"),
            Self::InodeBitmap(group) => write!(f, "the inode bitmap of group {group}"),
            Self::InodeTable(group) => write!(f, "the inode table of group {group}"),
            Self::Extents(inode) => write!(f, "the extent tree of inode {inode}"),
            Self::Indirect(inode) => write!(f, "the block map of inode {inode}"),
            Self::Attributes(inode) => write!(f, "the attributes of inode {inode}"),
            Self::Target(inode) => write!(f, "the target of inode {inode}"),
            Self::Leaf { inode, logical }
            | Self::Index { inode, logical }
            | Self::Journal { inode, logical }
            | Self::Orphans { inode, logical }
            | Self::Data { inode, logical, .. } => write!(f, "inode {inode} from logical block {logical} on"),
        }
    }
}

/// A run of blocks with its claimant.
#[derive(Debug, Clone)]
pub(super) struct Claim {
    pub(super) blocks: Range<u64>,
    pub(super) what: What,
}

/// All claims; of blocks claimed twice, the first claim counts.
#[derive(Debug, Default)]
pub(super) struct Claims {
    /// Claimed ranges, joined where they touch: start and end.
    taken: BTreeMap<u64, u64>,
    pub(super) list: Vec<Claim>,
    /// First block concerned, and what is wrong.
    pub(super) defects: Vec<(u64, String)>,
    /// Blocks of the file system.
    limit: u64,
}

impl Claims {
    pub(super) fn new(limit: u64) -> Self {
        Self {
            limit,
            ..Self::default()
        }
    }

    /// Claims what is still free of `blocks`. `true` when that was all of it.
    pub(super) fn take(&mut self, blocks: Range<u64>, what: What) -> bool {
        let wanted = blocks.start.min(self.limit)..blocks.end.min(self.limit);
        if wanted.start >= wanted.end {
            return false;
        }
        let before = self.taken.range(..=wanted.start).next_back();
        let first = before
            .filter(|(_, end)| **end >= wanted.start)
            .map_or(wanted.start, |(start, _)| *start);
        let touching: Vec<(u64, u64)> = self
            .taken
            .range(first..=wanted.end)
            .map(|(start, end)| (*start, *end))
            .collect();
        let mut joined = wanted.clone();
        let mut at = wanted.start;
        let mut again: Option<Range<u64>> = None;
        for (start, end) in touching {
            self.taken.remove(&start);
            joined = joined.start.min(start)..joined.end.max(end);
            let common = start.max(wanted.start)..end.min(wanted.end);
            if common.start < common.end {
                again = Some(again.map_or(common.start, |r| r.start)..common.end);
            }
            self.put(at..start.min(wanted.end), &wanted, what);
            at = at.max(end);
        }
        self.put(at..wanted.end, &wanted, what);
        self.taken.insert(joined.start, joined.end);
        match again {
            Some(r) => {
                let text = format!("blocks {}..{} are claimed again by {what}", r.start, r.end);
                self.defects.push((r.start, text));
                false
            }
            None => wanted == blocks,
        }
    }

    fn put(&mut self, part: Range<u64>, whole: &Range<u64>, what: What) {
        if part.start < part.end {
            let what = what.skip(part.start - whole.start);
            self.list.push(Claim { blocks: part, what });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_blocks_claimed_twice_the_first_claim_counts() {
        let data = |inode, logical| What::Data {
            inode,
            logical,
            unwritten: false,
        };
        let mut claims = Claims::new(100);
        assert!(claims.take(10..20, data(1, 0)));
        assert!(claims.take(30..40, data(2, 0)));
        assert!(!claims.take(15..50, data(3, 100)));
        assert!(!claims.take(12..45, data(4, 0)), "all of it is taken");
        assert!(claims.take(50..60, data(5, 0)), "it only touches");
        assert!(!claims.take(95..110, data(6, 0)), "it passes the end");
        assert!(!claims.take(200..300, data(7, 0)));
        let mut list: Vec<_> = claims.list.iter().map(|c| (c.blocks.clone(), c.what)).collect();
        list.sort_by_key(|c| c.0.start);
        assert_eq!(
            list,
            [
                (10..20, data(1, 0)),
                (20..30, data(3, 105)),
                (30..40, data(2, 0)),
                (40..50, data(3, 125)),
                (50..60, data(5, 0)),
                (95..100, data(6, 0)),
            ]
        );
        assert_eq!(claims.defects[0].0, 15);
        assert_eq!(claims.defects.len(), 2);
    }
}
