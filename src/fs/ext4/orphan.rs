//! The orphan file (`orphan_file`): blocks of inode numbers that wait to be deleted, each with a tail.

use super::checksum::crc32c;
use super::format::{set_u32, u32_at};

/// `ob_magic`.
pub(crate) const MAGIC: u32 = 0x0B10_CA04;
/// Size of `ext4_orphan_block_tail`.
pub(crate) const TAIL: usize = 8;

pub(crate) fn checksum(block: &[u8], seed: u32, number: u64) -> u32 {
    let crc = crc32c(seed, &number.to_le_bytes());
    crc32c(crc, &block[..block.len() - TAIL])
}

/// Block `number` of a file system, without orphans. `seed` is that of the orphan file's inode.
pub(crate) fn empty_block(block_size: usize, seed: u32, number: u64) -> Vec<u8> {
    let mut block = vec![0; block_size];
    let tail = block_size - TAIL;
    set_u32(&mut block, tail, MAGIC);
    let crc = checksum(&block, seed, number);
    set_u32(&mut block, tail + 4, crc);
    block
}

/// What is wrong with block `number` of an orphan file without orphans.
pub(crate) fn defect(block: &[u8], seed: u32, number: u64, csum: bool) -> Option<&'static str> {
    let tail = block.len() - TAIL;
    if u32_at(block, tail) != MAGIC {
        Some("has no right tail")
    } else if csum && u32_at(block, tail + 4) != checksum(block, seed, number) {
        Some("has a wrong checksum")
    } else if block[..tail].iter().any(|b| *b != 0) {
        Some("names orphans, though `orphan_present` is not set")
    } else {
        None
    }
}
