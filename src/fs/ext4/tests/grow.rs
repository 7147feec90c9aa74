//! Growing over a tail of stale bytes; `resize2fs` must be able to go on.

use std::fs::File;
use std::os::unix::fs::FileExt;

use super::support::*;
use crate::fs::{FsError, Volume};

/// Lengthens the image by bytes that are not zero.
pub(super) fn lengthen(base: &Base, to: u64) {
    let file = File::options().write(true).open(&base.image).unwrap();
    let from = file.metadata().unwrap().len();
    let junk = vec![0xFF; 1 << 20];
    let mut at = from;
    while at < to {
        let step = (to - at).min(1 << 20) as usize;
        file.write_all_at(&junk[..step], at).unwrap();
        at += step as u64;
    }
}

fn grow_and_judge(layout: &str, start: u64, sizes: &[u64], more: &[&str]) {
    let Some(base) = make(layout, start, more) else {
        return;
    };
    let mut random = Random(start * 31 + sizes[0]);
    let mut fs = base.open();
    let content = random.bytes(700_000);
    fs.put_file(b"/before", &source(&content), false, &attrs(0o644, 5))
        .unwrap();
    let mut fits = true;
    for (i, size) in sizes.iter().enumerate() {
        lengthen(&base, *size);
        match fs.grow(Disk::open(&base.image)) {
            Ok(()) => {}
            Err(FsError::Unsupported(why)) => {
                assert!(why.contains("reserved descriptor blocks"), "{why}");
                fits = false;
            }
            Err(e) => panic!("{layout} {start} MiB to {size}: {e}"),
        }
        let path = format!("/after{i}").into_bytes();
        fs.make_dir(&path, &attrs(0o755, 6)).unwrap();
        let big = random.bytes((fs.space().free / 2).min(12 << 20) as usize);
        fs.put_file(
            &[&path[..], b"/big"].concat(),
            &source(&big),
            false,
            &attrs(0o644, 6),
        )
        .unwrap();
        fs.commit().unwrap();
        base.fsck(&format!("{layout} {start} MiB {more:?} grown to {size}"));
        let bs = fs.space().block_size;
        if fits {
            // What is left out is less than a group with its metadata.
            assert!(
                size - fs.space().total < bs * 8 * bs,
                "{} of {size}",
                fs.space().total
            );
        }
    }
    let expected = our_view(&base.open());
    assert_eq!(expected[&b"/before"[..]].content, content);
    if let Some(view) = base.kernel_view() {
        same("the kernel", &expected, &view);
        base.mounted("rw", |root| {
            for f in 0..200 {
                std::fs::write(root.join(format!("k{f}")), vec![3; 20_000]).unwrap_or(());
            }
        });
        base.fsck("after the kernel went on");
    }
    let last = *sizes.last().unwrap();
    lengthen(&base, last + (300 << 20));
    if let Some((code, text)) = run("resize2fs", &["-f", base.path()]) {
        assert_eq!(code, 0, "{layout} {start} {sizes:?}: {text}");
        base.fsck("after resize2fs");
    }
}

const MIB: u64 = 1 << 20;

#[test]
fn real_layouts() {
    for layout in ["bookworm", "trixie", "buster", "hypriot", "debian"] {
        grow_and_judge(layout, 100, &[300 * MIB + 12_345, 460 * MIB], &[]);
    }
}

#[test]
fn small_blocks_use_up_the_reserve() {
    for layout in ["block1k", "inode128csum"] {
        grow_and_judge(layout, 60, &[61 * MIB, 200 * MIB + 77_777, 520 * MIB], &[]);
    }
    grow_and_judge("block2k", 60, &[300 * MIB], &[]);
}

#[test]
fn no_reserve() {
    for layout in ["noresize", "noindex", "inode128"] {
        grow_and_judge(layout, 40, &[150 * MIB, 290 * MIB + 4096], &[]);
    }
    grow_and_judge("block1k", 40, &[300 * MIB], &["-O", "^resize_inode"]);
}

#[test]
fn odd_geometries() {
    let seeds = std::env::var("CEIL_EXT4_SEEDS").ok().and_then(|n| n.parse().ok());
    for seed in 0..seeds.unwrap_or(8u64) {
        eprintln!("geometry of seed {seed}");
        let mut random = Random((seed + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let layout = LAYOUTS[random.below(12) as usize].0;
        random.next();
        let start = 20 + random.below(60);
        let first = start * MIB + random.below(150 * MIB);
        let second = first + random.below(150 * MIB);
        let group = format!("{}", 4096 + 8 * random.below(500));
        let more: &[&str] = if random.below(2) == 0 {
            &[]
        } else {
            &["-g", &group]
        };
        grow_and_judge(layout, start, &[first, second], more);
    }
}

#[test]
fn a_failed_growth_changes_nothing() {
    let Some(base) = make("block1k", 16, &["-O", "^resize_inode"]) else {
        return;
    };
    let mut fs = base.open();
    let before = fs.space();
    let file = File::options().write(true).open(&base.image).unwrap();
    file.set_len(600 * MIB).unwrap();
    let error = fs.grow(Disk::open(&base.image)).unwrap_err().to_string();
    assert!(error.contains("allow up to"), "{error}");
    assert_eq!(fs.space(), before);
    fs.commit().unwrap();
    base.fsck("after a refused growth");
}

/// Beyond 16 GiB, descriptors of 32 bytes need a block of the reserve (64-byte ones beyond 8 GiB).
#[test]
fn to_the_size_of_a_card() {
    for layout in ["bookworm", "hypriot", "debian"] {
        let Some(base) = make(layout, 200, &[]) else {
            return;
        };
        let file = File::options().write(true).open(&base.image).unwrap();
        file.set_len(33 << 30).unwrap();
        let mut fs = base.open();
        fs.grow(Disk::open(&base.image)).unwrap();
        fs.put_file(b"/a", &source(&[1; 9000]), false, &attrs(0o644, 6))
            .unwrap();
        fs.commit().unwrap();
        assert_eq!(fs.space().total, 33 << 30);
        base.fsck(layout);
        // Nothing but what is used is copied: with the rest overwritten, all is still there.
        let used = fs.used_ranges().unwrap();
        assert!(used.windows(2).all(|w| w[0].end < w[1].start));
        let copy = base.dir.path().join("copy");
        let junk = File::create(&copy).unwrap();
        junk.set_len(33 << 30).unwrap();
        for at in (0..240 << 20).step_by(1 << 20) {
            junk.write_all_at(&[0xAA; 1 << 20], at).unwrap();
        }
        let mut copied = 0;
        for range in used {
            let mut bytes = vec![0; (range.end - range.start) as usize];
            file_read(&base, range.start, &mut bytes);
            junk.write_all_at(&bytes, range.start).unwrap();
            copied += bytes.len() as u64;
        }
        assert!(copied <= fs.space().total - fs.space().free);
        fsck(&copy, "a copy of the used ranges");
    }
}

fn file_read(base: &Base, at: u64, bytes: &mut [u8]) {
    let file = File::open(&base.image).unwrap();
    file.read_exact_at(bytes, at).unwrap();
}
