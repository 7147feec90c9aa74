//! Dumps of what is damaged: told, and every byte still in one line.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use super::super::hostile::Memory;
use super::super::support::*;
use super::{Lines, filled};
use crate::disk::BlockIo;

/// Each damage that e2fsck finds is told by the dump too, and the bytes still add up.
#[test]
fn damage_is_told() {
    let Some(base) = filled("bookworm", &[]) else {
        return;
    };
    let good = base.bytes();
    let lines = Lines::of_image(&base.image, "good");
    let place = |structure: &str, field: &str| {
        let line = lines
            .get(structure, field)
            .unwrap_or_else(|| panic!("{structure} {field}"));
        line.range.start as usize
    };
    let root = "inode 2 directory block 0";
    let tree = lines
        .all
        .iter()
        .find(|l| l.kind == "extents" && l.field == "eh_magic")
        .unwrap()
        .range
        .start as usize;
    let shared = lines
        .all
        .iter()
        .find(|l| l.field == "h_refcount")
        .unwrap()
        .range
        .start as usize;
    let other = place("descriptor 0", "bg_block_bitmap_lo");
    for (what, at, value) in [
        (
            "a free count",
            place("descriptor 0", "bg_free_blocks_count_lo"),
            1u32,
        ),
        (
            "the inode bitmap's place",
            place("descriptor 0", "bg_inode_bitmap_lo"),
            0xFFFF_0000,
        ),
        (
            "one place for two bitmaps",
            place("descriptor 0", "bg_inode_bitmap_lo"),
            u32::from_le_bytes(good[other..other + 4].try_into().unwrap()),
        ),
        ("a block bitmap", place("group 0 block bitmap", "bits") + 8, 0),
        ("an inode bitmap", place("group 0 inode bitmap", "bits"), 0),
        ("the magic of a tree", tree, 0),
        ("entries of a tree", tree + 2, 0x0001_FFFF),
        ("a count of sharers", shared, 77),
        ("an entry's length", place(root, "entry \".\"") + 4, 3),
        ("extra fields", place("inode 2", "i_extra_isize"), 0xFFF0),
        ("an extent", place("inode 2", "extent[0]") + 8, 0xFFFF_FFF0),
        ("the journal's magic", place("journal superblock", "h_magic"), 5),
    ] {
        let mut bytes = good.clone();
        bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
        fs::write(&base.image, &bytes).unwrap();
        if let Some((code, _)) = run("e2fsck", &["-fn", base.path()]) {
            assert_ne!(code, 0, "{what} does not matter to e2fsck");
        }
        let lines = Lines::of_image(&base.image, what);
        assert!(!lines.wrong().is_empty(), "{what} is not told");
    }
}

#[test]
fn without_the_first_superblock_a_copy_is_gone_by() {
    let Some(base) = make("block1k", 48, &[]) else {
        return;
    };
    let before = Lines::of_image(&base.image, "good");
    let file = File::options().write(true).open(&base.image).unwrap();
    file.write_all_at(&[0xAA; 1024], 1024).unwrap();
    let lines = Lines::of_image(&base.image, "without");
    assert!(
        lines.wrong()[0].field.contains("the copy at 0x800400"),
        "{:?}",
        lines.wrong()[0]
    );
    assert_eq!(lines.totals["journal"], before.totals["journal"]);
    file.write_all_at(&[0xAA; 1024], 8193 * 1024).unwrap();
    let lines = Lines::of_image(&base.image, "without any");
    assert_eq!(lines.totals["unknown"], (48 << 20) - 2048);
    for len in [0usize, 1, 1023, 1500, 2048, 4096, 5000] {
        let short = before_bytes(&base, len);
        Lines::of(&Memory(short.into()), "cut off");
    }
}

fn before_bytes(base: &Base, len: usize) -> Vec<u8> {
    let mut bytes = base.bytes();
    bytes.truncate(len);
    bytes
}

/// Flipped bytes anywhere: the dump ends, and the bytes add up.
#[test]
fn flipped_bytes_still_add_up() {
    for layout in ["bookworm", "buster", "debian13"] {
        let Some((good, places)) = to_be_damaged(layout) else {
            return;
        };
        for seed in 1..=seeds(60) {
            let mut random = Random(seed * 0x9E37_79B9);
            let mut bytes = good.clone();
            for _ in 0..1 + random.below(12) {
                // As often in the superblock and the descriptors, where most depends on it.
                let at = match random.below(2) {
                    0 => 1024 + random.below(2048) as usize,
                    _ => places[random.below(places.len() as u64) as usize],
                };
                bytes[at] = random.next() as u8;
            }
            let device: Arc<dyn BlockIo> = Arc::new(Memory(bytes.into()));
            Lines::of(&*device, &format!("{layout}, seed {seed}"));
        }
    }
}
