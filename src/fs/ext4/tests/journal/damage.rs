//! Logs that were cut off or changed: the outcome is that of e2fsck, or a refusal; never a panic.
//!
//! `CEIL_EXT4_SEEDS=500` runs that many logs instead of a few.

use std::fs::File;
use std::os::unix::fs::FileExt;

use super::super::super::recover;
use super::super::support::*;
use super::crafted::{crafted, log_places, put};
use super::judge::Dirty;

/// Blocks of the log that are long enough for all that is written.
const LOG: u64 = 130;

#[test]
fn cut_and_flipped_logs() {
    let (mut agreed, mut refused) = (0, 0);
    for seed in 0..seeds(10) {
        let Some((dirty, _, what)) = crafted(seed) else {
            return;
        };
        let size = if what.starts_with("block1k") { 1024 } else { 4096 };
        let places = log_places(&dirty.image, 0..LOG);
        let mut random = Random(seed + 99);
        let file = File::open(&dirty.image).unwrap();
        let mut block = vec![0; size as usize];
        let used = places.iter().rposition(|place| {
            file.read_exact_at(&mut block, *place).unwrap();
            block.iter().any(|b| *b != 0)
        });
        let places = &places[..=used.unwrap()];
        for round in 0..8 {
            let image = Dirty::at(&dirty.image);
            let block = random.below(places.len() as u64) as usize;
            let (block, at) = match round % 4 {
                // Headers, tags and superblock say more than data does.
                0 => (block, random.below(0x40)),
                1 => (0, random.below(0x58)),
                _ => (block.max(1), random.below(size)),
            };
            if round % 4 == 3 {
                put(&image.image, places[block] + at, &vec![0; (size - at) as usize]);
                for place in &places[block + 1..] {
                    put(&image.image, *place, &vec![0; size as usize]);
                }
            } else {
                put(&image.image, places[block] + at, &[random.next() as u8]);
            }
            let what = format!("{what}, round {round}, byte {at:#x} of block {block} of the log");
            match image.replays_as_e2fsck(&what) {
                Some(_) => agreed += 1,
                None => refused += 1,
            }
            // Whatever it is, the whole recovery ends with an answer.
            let _ = recover(&Disk::open(&image.image));
        }
    }
    eprintln!("{agreed} logs as e2fsck replays them, {refused} refused");
    assert!(agreed > 10 && refused > 2, "{agreed} {refused}");
}
