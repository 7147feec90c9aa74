//! Journals: their checksums made right again (jbd2, big-endian), and what is done with them.

use ceil_img::disk::Overlay;

use crate::bases;
use crate::ext4;
use crate::layout::{Kind, Layout};
use crate::seal::{crc32c, read, write};

const MAGIC: u32 = 0xC03B_3998;
const HEADER: usize = 12;

/// Damages blocks of a journal as the input says, replays it, and works with the result.
pub fn journals(data: &[u8]) {
    let kinds = [Kind::Journal];
    let Some((input, overlay)) = ext4::damaged(data, &bases::JOURNALS, &kinds) else {
        return;
    };
    if !input.unsealed {
        let base = &bases::JOURNALS[input.base % bases::JOURNALS.len()];
        seal(&overlay, &base.layout);
    }
    ext4::exercise(&overlay, input.work);
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn put(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_be_bytes());
}

/// Makes the checksums of all journal blocks right: superblock, tags of data, descriptors, revocations, commits.
fn seal(io: &Overlay, layout: &Layout) {
    let places = layout.of_kinds(&[Kind::Journal]);
    let Some(first) = places.first() else { return };
    let mut head = read(io, first);
    if word(&head, 0) != MAGIC {
        return;
    }
    let incompat = word(&head, 0x28);
    let (wide, v2, v3) = (incompat & 2 != 0, incompat & 8 != 0, incompat & 16 != 0);
    if !v2 && !v3 {
        return;
    }
    put(&mut head, 0xFC, 0);
    let sum = crc32c(!0, &head[..1024]);
    put(&mut head, 0xFC, sum);
    write(io, first, &head);
    let seed = crc32c(!0, &head[0x30..0x40]);
    for (n, piece) in places.iter().enumerate().skip(1) {
        let mut block = read(io, piece);
        if word(&block, 0) != MAGIC {
            continue;
        }
        let (len, sequence) = (block.len(), word(&block, 8));
        match word(&block, 4) {
            1 => {
                let size = if v3 { 16 } else { 8 + 4 * usize::from(wide) };
                let mut at = HEADER;
                for data in places[n + 1..].iter().chain(&places[1..]) {
                    if at + size > len - 4 {
                        break;
                    }
                    let sum = crc32c(crc32c(seed, &sequence.to_be_bytes()), &read(io, data));
                    let flags = if v3 {
                        put(&mut block, at + 12, sum);
                        word(&block, at + 4)
                    } else {
                        block[at + 4..at + 6].copy_from_slice(&(sum as u16).to_be_bytes());
                        word(&block, at + 4) & 0xFFFF
                    };
                    // Without "same UUID" there is one behind the tag; "last tag" ends them.
                    at += size + if flags & 2 == 0 { 16 } else { 0 };
                    if flags & 8 != 0 {
                        break;
                    }
                }
                put(&mut block, len - 4, 0);
                let sum = crc32c(seed, &block);
                put(&mut block, len - 4, sum);
            }
            5 => {
                put(&mut block, len - 4, 0);
                let sum = crc32c(seed, &block);
                put(&mut block, len - 4, sum);
            }
            2 => {
                put(&mut block, 16, 0);
                let sum = crc32c(seed, &block);
                put(&mut block, 16, sum);
            }
            _ => continue,
        }
        write(io, piece, &block);
    }
}
