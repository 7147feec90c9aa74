//! The first pass over the log: which transactions are complete, and what is in them.
//!
//! What ends the log follows the kernel: the first block that is no journal block of the transaction that should be
//! next. A transaction without its commit block did not happen. A wrong checksum is damage, with two exceptions
//! that the kernel makes too: blocks of an older use of the log, whose commit time lies before that of the
//! transaction before them, and, with `async_commit`, the last transaction.

use super::super::FsResult;
use super::super::checksum::{crc32_be, crc32c};
use super::super::error::damaged;
use super::REPAIR;
use super::log::Log;
use super::superblock::{Checksums, JBD2_MAGIC, JournalSuperblock, be16, be32};

/// Size of `journal_header_s`: magic, block type, sequence.
pub(super) const HEADER: usize = 12;
/// Size of `jbd2_journal_block_tail`, at the end of descriptor and revocation blocks with checksums.
pub(super) const TAIL: usize = 4;
/// `h_blocktype`.
const DESCRIPTOR: u32 = 1;
const COMMIT: u32 = 2;
const REVOKE: u32 = 5;
/// `t_flags`: the block began with the magic number, which was replaced by zeroes.
const FLAG_ESCAPE: u16 = 1;
/// `t_flags`: no UUID follows the tag.
const FLAG_SAME_UUID: u16 = 2;
/// `t_flags`: the last tag of its descriptor block.
const FLAG_LAST_TAG: u16 = 8;
/// Size of the UUID after a tag.
const UUID: usize = 16;
/// Offsets in a commit block: `h_chksum_type`, `h_chksum_size`, `h_chksum`, `h_commit_sec`.
const CHKSUM_TYPE: usize = 0x0C;
const CHKSUM_SIZE: usize = 0x0D;
const CHKSUM: usize = 0x10;
const COMMIT_SEC: usize = 0x30;
/// `h_chksum_type` and `h_chksum_size` of a crc32.
const CRC32: (u8, u8) = (1, 4);

/// A block of the file system that a transaction wrote.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tag {
    /// Where it belongs in the file system.
    pub(super) block: u64,
    /// Its copy in the log.
    pub(super) at: u32,
    /// The transaction.
    pub(super) sequence: u32,
    /// As stored: 16 bits (version 2) or 32 bits (version 3).
    pub(super) checksum: u32,
    /// Its first four bytes are the magic number.
    pub(super) escaped: bool,
}

/// What the complete transactions of a log hold, oldest first.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) tags: Vec<Tag>,
    /// Revocation blocks in the log, each with its transaction.
    pub(super) revocations: Vec<(u32, u32)>,
    /// Number of transactions.
    pub(super) transactions: u32,
    /// The transaction that would be next.
    pub(super) end: u32,
}

/// Reads the log of a journal that is not empty.
pub(super) fn scan(log: &Log) -> FsResult<Found> {
    let sb = &log.sb;
    let mut found = Found {
        end: sb.sequence,
        ..Found::default()
    };
    let mut scan = Scan {
        log,
        at: sb.start,
        passed: 0,
        open: Found::default(),
        suspect: false,
        dropped: None,
        last_time: 0,
        sum: !0,
    };
    loop {
        let number = scan.at;
        let block = scan.next_block()?;
        if be32(&block, 0) != JBD2_MAGIC || be32(&block, 8) != found.end {
            break;
        }
        match be32(&block, 4) {
            DESCRIPTOR => scan.descriptor(&block, found.end)?,
            REVOKE => {
                scan.suspect |= !tail_agrees(&block, sb);
                scan.open.revocations.push((number, found.end));
            }
            COMMIT => {
                if !scan.commit(&block, found.end)? {
                    break;
                }
                let open = std::mem::take(&mut scan.open);
                if scan.dropped.is_none() {
                    found.tags.extend(open.tags);
                    found.revocations.extend(open.revocations);
                    found.transactions += 1;
                }
                found.end = found.end.wrapping_add(1);
            }
            _ => break,
        }
    }
    found.end = scan.dropped.unwrap_or(found.end);
    Ok(found)
}

struct Scan<'a> {
    log: &'a Log,
    /// The next block.
    at: u32,
    /// Blocks passed so far.
    passed: u32,
    /// The transaction under way.
    open: Found,
    /// A checksum in the transaction under way is wrong.
    suspect: bool,
    /// The transaction whose commit block is wrong, with `async_commit`.
    dropped: Option<u32>,
    /// `h_commit_sec` of the last complete transaction.
    last_time: u64,
    /// Checksum of version 1 over the transaction under way.
    sum: u32,
}

fn corrupt<T>(sequence: u32) -> FsResult<T> {
    damaged(format!(
        "transaction {sequence} of the journal has a wrong checksum; {REPAIR}"
    ))
}

impl Scan<'_> {
    fn next_block(&mut self) -> FsResult<Vec<u8>> {
        // Going round once and a block further ends at a block of an older transaction, or never.
        if self.passed > self.log.sb.log_blocks() {
            return damaged(format!(
                "the journal has transactions longer than its log; {REPAIR}"
            ));
        }
        let block = self.log.read(self.at)?;
        self.at = self.log.after(self.at);
        self.passed += 1;
        Ok(block)
    }

    fn descriptor(&mut self, block: &[u8], sequence: u32) -> FsResult<()> {
        let sb = &self.log.sb;
        self.suspect |= !tail_agrees(block, sb);
        let summed = sb.checksums == Checksums::V1 && self.dropped.is_none();
        if summed {
            self.sum = crc32_be(self.sum, block);
        }
        for tag in tags(block, sb) {
            let at = self.at;
            if summed {
                let copy = self.next_block()?;
                self.sum = crc32_be(self.sum, &copy);
            } else {
                self.at = self.log.after(at);
                self.passed += 1;
            }
            self.open.tags.push(Tag { at, sequence, ..tag });
        }
        Ok(())
    }

    /// Looks at a commit block. False when it is of an older use of the log, which ends here.
    fn commit(&mut self, block: &[u8], sequence: u32) -> FsResult<bool> {
        let time = u64::from(be32(block, COMMIT_SEC)) << 32 | u64::from(be32(block, COMMIT_SEC + 4));
        let agrees = self.commit_agrees(block) && !self.suspect;
        let stale = !agrees && time < self.last_time;
        if let Some(dropped) = self.dropped {
            // Only a commit block that nothing follows may be there before what it commits.
            let end = stale && self.log.sb.blocks_have_checksums();
            return if end { Ok(false) } else { corrupt(dropped) };
        }
        if stale {
            return Ok(false);
        }
        if !agrees {
            if self.suspect || !self.log.sb.async_commit {
                return corrupt(sequence);
            }
            self.dropped = Some(sequence);
        }
        self.last_time = time;
        Ok(true)
    }

    fn commit_agrees(&mut self, block: &[u8]) -> bool {
        let sb = &self.log.sb;
        let stored = be32(block, CHKSUM);
        match sb.checksums {
            Checksums::None => true,
            Checksums::V1 => {
                let kind = (block[CHKSUM_TYPE], block[CHKSUM_SIZE]);
                let sum = std::mem::replace(&mut self.sum, !0);
                (sum == stored && kind == CRC32) || (kind == (0, 0) && stored == 0)
            }
            Checksums::V2 | Checksums::V3 => stored == checksum_without(block, CHKSUM, sb.seed),
        }
    }
}

/// crc32c of a block with the four bytes at `at` taken as zeroes.
fn checksum_without(block: &[u8], at: usize, seed: u32) -> u32 {
    let crc = crc32c(seed, &block[..at]);
    let crc = crc32c(crc, &[0; 4]);
    crc32c(crc, &block[at + 4..])
}

/// Whether a descriptor or revocation block has the right checksum, where it has one.
fn tail_agrees(block: &[u8], sb: &JournalSuperblock) -> bool {
    let at = block.len() - TAIL;
    !sb.blocks_have_checksums() || be32(block, at) == checksum_without(block, at, sb.seed)
}

/// The tags of a descriptor block; place in the log and transaction are still to be set.
fn tags(block: &[u8], sb: &JournalSuperblock) -> Vec<Tag> {
    let wide = if sb.wide { 4 } else { 0 };
    let size = match sb.checksums {
        Checksums::V3 => 16,
        Checksums::V2 => 10 + wide,
        Checksums::V1 | Checksums::None => 8 + wide,
    };
    let end = block.len() - if sb.blocks_have_checksums() { TAIL } else { 0 };
    let mut tags = Vec::new();
    let mut at = HEADER;
    while at + size <= end {
        let flags = be16(block, at + 6);
        let hi = if sb.wide { be32(block, at + 8) } else { 0 };
        tags.push(Tag {
            block: u64::from(hi) << 32 | u64::from(be32(block, at)),
            at: 0,
            sequence: 0,
            checksum: match sb.checksums {
                Checksums::V3 => be32(block, at + 12),
                Checksums::V2 => u32::from(be16(block, at + 4)),
                Checksums::V1 | Checksums::None => 0,
            },
            escaped: flags & FLAG_ESCAPE != 0,
        });
        at += size;
        if flags & FLAG_SAME_UUID == 0 {
            at += UUID;
        }
        if flags & FLAG_LAST_TAG != 0 {
            break;
        }
    }
    tags
}

/// Whether the copy of a block in the log is what its tag says.
pub(super) fn copy_agrees(copy: &[u8], tag: &Tag, sb: &JournalSuperblock) -> bool {
    let crc = || crc32c(crc32c(sb.seed, &tag.sequence.to_be_bytes()), copy);
    match sb.checksums {
        Checksums::None | Checksums::V1 => true,
        Checksums::V2 => crc() & 0xFFFF == tag.checksum,
        Checksums::V3 => crc() == tag.checksum,
    }
}
