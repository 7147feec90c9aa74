//! The journal written back: everything is looked at before the first block is written.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::checksum::crc32c;
use super::super::error::{damaged, unsupported};
use super::super::format::{
    EXT4_SUPER_MAGIC, SUPERBLOCK_OFFSET, SUPERBLOCK_SIZE, incompat, join, sb, set_u32, u16_at, u32_at,
};
use super::super::superblock::Superblock;
use super::super::{FsResult, Recovery};
use super::log::Log;
use super::revoke::Revoked;
use super::scan::{Found, Tag, copy_agrees, scan};
use super::superblock::JBD2_MAGIC;
use super::{ADVICE, REPAIR};
use crate::disk::BlockIo;

/// `fc_tag` of the first record of a fast commit (`EXT4_FC_TAG_HEAD`): features, then the transaction.
const FC_TAG_HEAD: u16 = 9;
const FC_HEAD_TID: usize = 8;

/// Replays the journal of a file system that needs it, empties it and clears `needs_recovery`.
pub(super) fn replay(io: &Arc<dyn BlockIo>, s: &Superblock, recovery: &mut Recovery) -> FsResult<()> {
    let log = Log::open(io, s)?;
    if log.sb.errno != 0 {
        return unsupported(format!(
            "the journal has recorded error {}; {REPAIR}",
            log.sb.errno.cast_signed()
        ));
    }
    let mut end = log.sb.sequence;
    if log.sb.start != 0 {
        let found = scan(&log)?;
        end = found.end;
        refuse_fast_commits(&log, end)?;
        let last = choose(&log, &found, s, recovery)?;
        for tag in last.values() {
            write(&log, tag)?;
        }
        recovery.transactions = found.transactions;
        recovery.blocks = last.len() as u64;
    }
    // One number is left out, so that no commit block that is still in the log can be taken for the next one.
    log.empty(end.wrapping_add(1))?;
    clear_needs_recovery(&**io, s)
}

/// Fast commits follow the last transaction and describe changes, not blocks.
fn refuse_fast_commits(log: &Log, end: u32) -> FsResult<()> {
    let Some(first) = log.sb.fast_commits else {
        return Ok(());
    };
    let block = log.read(first)?;
    if u16_at(&block, 0) == FC_TAG_HEAD && u32_at(&block, FC_HEAD_TID) == end {
        return unsupported(format!("the journal holds fast commits; {ADVICE}"));
    }
    Ok(())
}

/// For every block that is to be written, its last copy in the log that was not revoked.
fn choose<'a>(
    log: &Log,
    found: &'a Found,
    s: &Superblock,
    recovery: &mut Recovery,
) -> FsResult<BTreeMap<u64, &'a Tag>> {
    let revoked = Revoked::read(log, found)?;
    let mut last = BTreeMap::new();
    for tag in &found.tags {
        if revoked.covers(tag.block, tag.sequence) {
            recovery.revoked += 1;
        } else {
            if !copy_agrees(&log.read(tag.at)?, tag, &log.sb) {
                return damaged(format!(
                    "block {} of the journal has a wrong checksum; {REPAIR}",
                    tag.at
                ));
            }
            last.insert(tag.block, tag);
        }
    }
    let blocks_count = blocks_count(log, s, &last)?;
    let own = log.own_blocks();
    for block in last.keys() {
        let before = own.partition_point(|(start, _)| start <= block);
        let inside = own[..before]
            .last()
            .is_some_and(|(start, len)| block - start < *len);
        // Block 0 holds the superblock where blocks are larger than 1024 bytes.
        if inside || *block < s.first_data_block || *block >= blocks_count {
            return damaged(format!("the journal writes to block {block}; {REPAIR}"));
        }
    }
    Ok(last)
}

/// Blocks of the file system after the replay: it may have grown while it was mounted.
fn blocks_count(log: &Log, s: &Superblock, last: &BTreeMap<u64, &Tag>) -> FsResult<u64> {
    let size = s.block_size as u64;
    let Some(tag) = last.get(&(SUPERBLOCK_OFFSET / size)) else {
        return Ok(s.blocks_count);
    };
    let block = log.read(tag.at)?;
    let raw = &block[(SUPERBLOCK_OFFSET % size) as usize..][..SUPERBLOCK_SIZE];
    if u16_at(raw, sb::MAGIC) != EXT4_SUPER_MAGIC {
        return damaged(format!("the journal writes no superblock to block {}", tag.block));
    }
    let hi = if s.has_incompat(incompat::BIT64) {
        u32_at(raw, sb::BLOCKS_COUNT_HI)
    } else {
        0
    };
    let count = join(u32_at(raw, sb::BLOCKS_COUNT_LO), hi);
    Ok(count.max(s.blocks_count).min(log.io.len() / size))
}

fn write(log: &Log, tag: &Tag) -> FsResult<()> {
    let mut block = log.read(tag.at)?;
    if tag.escaped {
        block[..4].copy_from_slice(&JBD2_MAGIC.to_be_bytes());
    }
    let at = tag.block * log.block_size as u64;
    if block.iter().all(|b| *b == 0) {
        log.io.write_zeroes(at, block.len() as u64)?;
    } else {
        log.io.write_at(at, &block)?;
    }
    Ok(())
}

fn clear_needs_recovery(io: &dyn BlockIo, s: &Superblock) -> FsResult<()> {
    let mut raw = [0; SUPERBLOCK_SIZE];
    io.read_at(SUPERBLOCK_OFFSET, &mut raw)?;
    let features = u32_at(&raw, sb::FEATURE_INCOMPAT);
    set_u32(&mut raw, sb::FEATURE_INCOMPAT, features & !incompat::RECOVER);
    if s.has_metadata_csum() {
        let crc = crc32c(!0, &raw[..sb::CHECKSUM]);
        set_u32(&mut raw, sb::CHECKSUM, crc);
    }
    io.write_at(SUPERBLOCK_OFFSET, &raw)?;
    Ok(())
}
