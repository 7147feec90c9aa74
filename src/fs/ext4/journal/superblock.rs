//! The superblock of the journal, block 0 of its inode.
//!
//! Offsets and values are those of `Documentation/filesystems/ext4/journal.rst`; numbers are big-endian.

use super::super::FsResult;
use super::super::checksum::crc32c;
use super::super::error::{damaged, unsupported};
use super::super::format::set_u32;

/// `h_magic` of every block of the journal that is not a copy of another block.
pub(crate) const JBD2_MAGIC: u32 = 0xC03B_3998;
/// Size of a superblock, whatever the block size.
pub(crate) const SIZE: usize = 1024;
/// `h_blocktype` of the two versions of a superblock; the first has no features.
const SUPERBLOCK_V1: u32 = 3;
const SUPERBLOCK_V2: u32 = 4;
/// `s_checksum_type`: crc32c, the only one that versions 2 and 3 of the checksums have.
const CRC32C: u8 = 4;

const MAGIC: usize = 0x00;
const BLOCKTYPE: usize = 0x04;
const BLOCKSIZE: usize = 0x0C;
const MAXLEN: usize = 0x10;
const FIRST: usize = 0x14;
const SEQUENCE: usize = 0x18;
const START: usize = 0x1C;
const ERRNO: usize = 0x20;
const FEATURE_COMPAT: usize = 0x24;
pub(crate) const FEATURE_INCOMPAT: usize = 0x28;
const FEATURE_RO_COMPAT: usize = 0x2C;
const UUID: usize = 0x30;
const NR_USERS: usize = 0x40;
const CHECKSUM_TYPE: usize = 0x50;
const NUM_FC_BLKS: usize = 0x54;
pub(crate) const CHECKSUM: usize = 0xFC;

/// `s_feature_compat`: a commit block has a checksum of all blocks of its transaction (version 1).
const COMPAT_CHECKSUM: u32 = 0x1;
/// `s_feature_incompat`.
const INCOMPAT_REVOKE: u32 = 0x1;
const INCOMPAT_64BIT: u32 = 0x2;
const INCOMPAT_ASYNC_COMMIT: u32 = 0x4;
const INCOMPAT_CSUM_V2: u32 = 0x8;
const INCOMPAT_CSUM_V3: u32 = 0x10;
const INCOMPAT_FAST_COMMIT: u32 = 0x20;
/// Checksums in every block, of either version.
pub(crate) const INCOMPAT_CSUM: u32 = INCOMPAT_CSUM_V2 | INCOMPAT_CSUM_V3;
const INCOMPAT_KNOWN: u32 =
    INCOMPAT_REVOKE | INCOMPAT_64BIT | INCOMPAT_ASYNC_COMMIT | INCOMPAT_CSUM | INCOMPAT_FAST_COMMIT;

/// Blocks of fast commits where `s_num_fc_blks` is 0 (`JBD2_DEFAULT_FAST_COMMIT_BLOCKS`).
const DEFAULT_FAST_COMMIT_BLOCKS: u32 = 256;
/// Blocks that fast commits leave to the log, or there are none (`JBD2_MIN_JOURNAL_BLOCKS`).
const MIN_LOG_BLOCKS: u32 = 1024;

/// Which checksums the blocks of the log have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Checksums {
    None,
    /// One crc32 over a transaction.
    V1,
    /// crc32c in every block, 16 bits of it in a tag.
    V2,
    /// crc32c in every block, and in a tag of another layout.
    V3,
}

/// A superblock with its fields checked.
#[derive(Debug, Clone)]
pub(super) struct JournalSuperblock {
    /// As much of the block as the superblock takes.
    raw: Vec<u8>,
    /// First block of the log.
    pub(super) first: u32,
    /// The block after the last one of the log.
    pub(super) last: u32,
    /// Transaction that the log begins with.
    pub(super) sequence: u32,
    /// Where the log begins; 0 when it is empty.
    pub(super) start: u32,
    /// What the kernel wrote when it gave up; 0 for nothing.
    pub(super) errno: u32,
    pub(super) checksums: Checksums,
    /// Block numbers have 64 bits.
    pub(super) wide: bool,
    /// A commit block may be there though the blocks of its transaction are not.
    pub(super) async_commit: bool,
    /// The first block of fast commits, where there is room for them.
    pub(super) fast_commits: Option<u32>,
    /// Start value of every crc32c.
    pub(super) seed: u32,
}

pub(super) fn be16(b: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([b[at], b[at + 1]])
}

pub(super) fn be32(b: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([b[at], b[at + 1], b[at + 2], b[at + 3]])
}

fn set_be32(b: &mut [u8], at: usize, v: u32) {
    set_u32(b, at, v.swap_bytes());
}

/// What `s_checksum` of the [`SIZE`] bytes of a superblock should be.
pub(crate) fn checksum(raw: &[u8]) -> u32 {
    let crc = crc32c(!0, &raw[..CHECKSUM]);
    let crc = crc32c(crc, &[0; 4]);
    crc32c(crc, &raw[CHECKSUM + 4..])
}

impl JournalSuperblock {
    /// Parses the first block of a journal whose inode has `blocks` blocks. Errors say what is wrong with the
    /// journal and leave the subject out.
    pub(super) fn parse(block: &[u8], blocks: u64) -> FsResult<Self> {
        let raw = &block[..SIZE];
        let version = be32(raw, BLOCKTYPE);
        if be32(raw, MAGIC) != JBD2_MAGIC || !matches!(version, SUPERBLOCK_V1 | SUPERBLOCK_V2) {
            return damaged("has no journal superblock");
        }
        let feature = |at: usize| {
            if version == SUPERBLOCK_V1 {
                0
            } else {
                be32(raw, at)
            }
        };
        let incompat = feature(FEATURE_INCOMPAT);
        let unknown = incompat & !INCOMPAT_KNOWN;
        if unknown != 0 {
            return unsupported(format!("has unknown features {unknown:#x}"));
        }
        if feature(FEATURE_RO_COMPAT) != 0 {
            let unknown = feature(FEATURE_RO_COMPAT);
            return unsupported(format!("has unknown read-only features {unknown:#x}"));
        }
        if feature(NR_USERS) > 1 {
            return unsupported(format!("is shared by {} file systems", feature(NR_USERS)));
        }
        let checksums = match (
            feature(FEATURE_COMPAT) & COMPAT_CHECKSUM != 0,
            incompat & INCOMPAT_CSUM_V2 != 0,
            incompat & INCOMPAT_CSUM_V3 != 0,
        ) {
            (false, false, false) => Checksums::None,
            (true, false, false) => Checksums::V1,
            (false, true, false) => Checksums::V2,
            (false, false, true) => Checksums::V3,
            _ => return damaged("has checksums of more than one version"),
        };
        let maxlen = be32(raw, MAXLEN);
        let mut s = Self {
            first: be32(raw, FIRST),
            last: maxlen,
            sequence: be32(raw, SEQUENCE),
            start: be32(raw, START),
            errno: be32(raw, ERRNO),
            checksums,
            wide: incompat & INCOMPAT_64BIT != 0,
            async_commit: incompat & INCOMPAT_ASYNC_COMMIT != 0,
            fast_commits: None,
            seed: crc32c(!0, &raw[UUID..UUID + 16]),
            raw: raw.to_vec(),
        };
        if s.blocks_have_checksums() {
            if raw[CHECKSUM_TYPE] != CRC32C {
                return unsupported(format!(
                    "has checksum type {}; crc32c ({CRC32C}) is supported",
                    raw[CHECKSUM_TYPE]
                ));
            }
            let (found, stored) = (checksum(raw), be32(raw, CHECKSUM));
            if found != stored {
                return damaged(format!(
                    "has a superblock whose checksum is {found:#010x}, stored is {stored:#010x}"
                ));
            }
        }
        if be32(raw, BLOCKSIZE) as usize != block.len() {
            return damaged(format!("says that blocks have {} bytes", be32(raw, BLOCKSIZE)));
        }
        if u64::from(maxlen) > blocks {
            return damaged(format!("says {maxlen} blocks, its inode has {blocks}"));
        }
        if incompat & INCOMPAT_FAST_COMMIT != 0 {
            let wanted = match be32(raw, NUM_FC_BLKS) {
                0 => DEFAULT_FAST_COMMIT_BLOCKS,
                blocks => blocks,
            };
            if let Some(last) = maxlen.checked_sub(wanted).filter(|last| *last >= MIN_LOG_BLOCKS) {
                s.last = last;
            }
            // One block is left out between the two.
            s.fast_commits = Some(s.last + 1).filter(|block| *block < maxlen);
        }
        if s.first == 0 || s.first >= s.last {
            return damaged(format!(
                "says that its log is from block {} to {}",
                s.first, s.last
            ));
        }
        if s.start != 0 && !(s.first..s.last).contains(&s.start) {
            return damaged(format!("says that it begins at block {}", s.start));
        }
        Ok(s)
    }

    /// Whether every block of the log carries a crc32c.
    pub(super) fn blocks_have_checksums(&self) -> bool {
        matches!(self.checksums, Checksums::V2 | Checksums::V3)
    }

    /// Blocks of the log.
    pub(super) fn log_blocks(&self) -> u32 {
        self.last - self.first
    }

    /// The bytes of a journal with nothing in it, whose next transaction is `sequence`.
    pub(super) fn emptied(mut self, sequence: u32) -> Vec<u8> {
        set_be32(&mut self.raw, SEQUENCE, sequence);
        set_be32(&mut self.raw, START, 0);
        if self.blocks_have_checksums() {
            let crc = checksum(&self.raw);
            set_be32(&mut self.raw, CHECKSUM, crc);
        }
        self.raw
    }
}

/// The superblock of a journal of `blocks` blocks with nothing in it.
pub(crate) fn empty_superblock(block_size: usize, blocks: u32, uuid: &[u8]) -> Vec<u8> {
    let mut block = vec![0; block_size];
    for (at, value) in [
        (MAGIC, JBD2_MAGIC),
        (BLOCKTYPE, SUPERBLOCK_V2),
        (BLOCKSIZE, block_size as u32),
        (MAXLEN, blocks),
        (FIRST, 1),
        // `s_start` stays 0: nothing to replay.
        (SEQUENCE, 1),
        (NR_USERS, 1),
    ] {
        set_be32(&mut block, at, value);
    }
    block[UUID..UUID + 16].copy_from_slice(uuid);
    block
}

/// What is wrong with the first block of a journal that should be empty.
pub(crate) fn defect(block: &[u8], blocks: u64) -> Option<String> {
    use super::super::super::FsError;
    match JournalSuperblock::parse(block, blocks) {
        Err(FsError::Damaged(what) | FsError::Unsupported(what)) => Some(what),
        Err(other) => Some(other.to_string()),
        Ok(s) if s.start != 0 => {
            Some("has transactions to replay, though `needs_recovery` is not set".to_owned())
        }
        Ok(s) if s.errno != 0 => Some(format!("has recorded error {}", s.errno as i32)),
        Ok(_) => None,
    }
}
