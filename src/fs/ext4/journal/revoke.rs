//! Revocations: blocks of the file system that were freed, so that older copies of them must not be written.

use std::collections::BTreeMap;

use super::super::FsResult;
use super::super::error::damaged;
use super::log::Log;
use super::scan::{Found, HEADER, TAIL};
use super::superblock::be32;

/// `r_count` of a revocation block, after its header; the numbers follow.
const COUNT: usize = HEADER;

/// For each block that was revoked, the last transaction that did so.
#[derive(Debug, Default)]
pub(super) struct Revoked(BTreeMap<u64, u32>);

impl Revoked {
    /// Reads the revocations of the complete transactions. Only blocks that some tag names are kept: a log may
    /// revoke many times as many blocks as it holds.
    pub(super) fn read(log: &Log, found: &Found) -> FsResult<Self> {
        let mut named: Vec<u64> = found.tags.iter().map(|t| t.block).collect();
        named.sort_unstable();
        let mut revoked = Self::default();
        for (at, sequence) in &found.revocations {
            let block = log.read(*at)?;
            let end = be32(&block, COUNT) as usize;
            let room = block.len() - if log.sb.blocks_have_checksums() { TAIL } else { 0 };
            if end > room {
                return damaged(format!("block {at} of the journal revokes more than it can name"));
            }
            let size = if log.sb.wide { 8 } else { 4 };
            for number in block.get(COUNT + 4..end).unwrap_or(&[]).chunks_exact(size) {
                let number = number.iter().fold(0, |n, byte| n << 8 | u64::from(*byte));
                if named.binary_search(&number).is_ok() {
                    revoked.add(number, *sequence);
                }
            }
        }
        Ok(revoked)
    }

    fn add(&mut self, block: u64, sequence: u32) {
        let last = self.0.entry(block).or_insert(sequence);
        if newer(sequence, *last) {
            *last = sequence;
        }
    }

    /// Whether what transaction `sequence` wrote to a block is void.
    pub(super) fn covers(&self, block: u64, sequence: u32) -> bool {
        self.0.get(&block).is_some_and(|last| !newer(sequence, *last))
    }
}

/// Whether transaction `a` came after `b`: their numbers begin again after the last one.
fn newer(a: u32, b: u32) -> bool {
    a.wrapping_sub(b).cast_signed() > 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_survives_the_last_number() {
        assert!(newer(1, 0) && !newer(0, 1) && !newer(7, 7));
        assert!(newer(0, u32::MAX) && !newer(u32::MAX, 0));
        assert!(newer(5, u32::MAX - 5) && !newer(u32::MAX - 5, 5));
        let mut revoked = Revoked::default();
        revoked.add(9, u32::MAX);
        revoked.add(9, 1);
        revoked.add(9, 0);
        assert!(revoked.covers(9, u32::MAX) && revoked.covers(9, 1) && !revoked.covers(9, 2));
        assert!(!revoked.covers(8, 0));
    }
}
