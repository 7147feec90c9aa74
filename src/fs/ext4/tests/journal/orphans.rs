//! Lists and files of orphans, made with debugfs on a file system that is clean besides.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::super::super::checksum::crc32c;
use super::super::super::{Ext4, read_superblock, recover};
use super::super::support::*;
use super::crafted::put;
use super::judge::{Dirty, ask, debugfs, fresh};
use crate::fs::FsError;

/// Equal ones share a block where inodes are small.
fn attribute(path: &Path) {
    let flags = rustix::fs::XattrFlags::empty();
    rustix::fs::setxattr(path, c"user.v", &[b'v'; 300], flags).unwrap();
}

/// Files with every kind of map: few extents, a tree of them, preallocated blocks, and a block map.
fn sample(layout: &str) -> Option<(Base, Vec<(&'static str, u64)>)> {
    let base = fresh(layout, 40, &[])?;
    let made = base.mounted("rw", |root| {
        let path = |name: &str| root.join(name);
        fs::write(path("plain"), [0xA5; 50_000]).unwrap();
        let holes = File::create(path("holes")).unwrap();
        for n in 0..900 {
            holes.write_all_at(b"in a block of its own", n * 16384).unwrap();
        }
        let ahead = File::create(path("ahead")).unwrap();
        ahead.write_all_at(&[3; 6000], 0).unwrap();
        let flags = rustix::fs::FallocateFlags::KEEP_SIZE;
        rustix::fs::fallocate(&ahead, flags, 0, 3 << 20).unwrap();
        std::os::unix::fs::symlink("t".repeat(300), path("link")).unwrap();
        attribute(&path("plain"));
    });
    if !made {
        return None;
    }
    run("tune2fs", &["-O", "^extents", base.path()]);
    base.mounted("rw", |root| {
        fs::write(root.join("old"), [0x5A; 700_000]).unwrap();
        attribute(&root.join("old"));
    });
    run("tune2fs", &["-O", "extents", base.path()]);
    base.fsck("the sample");
    let sizes = vec![
        ("plain", 12_345),
        ("holes", 5_000_007),
        ("ahead", 6000),
        ("old", 100_001),
        ("link", 300),
    ];
    Some((base, sizes))
}

fn number(image: &Path, name: &str) -> u64 {
    let (_, text) = run(
        "debugfs",
        &["-R", &format!("stat /{name}"), image.to_str().unwrap()],
    )
    .unwrap();
    let words = text.split_whitespace().skip_while(|w| *w != "Inode:");
    words.skip(1).find_map(|w| w.parse().ok()).unwrap()
}

/// What the kernel sets to the time of its recovery.
fn without_times(view: &mut BTreeMap<Vec<u8>, Seen>) {
    for seen in view.values_mut() {
        seen.mtime = at(0);
    }
}

/// The script that makes a list of orphans: each names the next one as its time of deletion.
fn chain(numbers: &[u64]) -> String {
    let mut script = format!("ssv last_orphan {}\n", numbers[0]);
    for pair in numbers.windows(2) {
        script += &format!("sif <{}> dtime @{}\n", pair[0], pair[1]);
    }
    script
}

#[test]
fn files_that_were_being_cut() {
    for layout in ["bookworm", "debian13", "buster", "block1k", "block2k", "inode128"] {
        let Some((base, sizes)) = sample(layout) else {
            return;
        };
        let numbers: Vec<u64> = sizes.iter().map(|(name, _)| number(&base.image, name)).collect();
        let mut script = chain(&numbers);
        for (name, size) in &sizes {
            script += &format!("sif /{name} size {size}\n");
        }
        debugfs(&base.image, &script);
        let dirty = Dirty::of(&base);
        let done = dirty.recovers_as_the_kernel(layout, without_times);
        assert_eq!(
            (done.transactions, done.deleted, done.truncated),
            (0, 0, 5),
            "{layout}"
        );
        // Nothing of what was cut off comes back when the file grows again.
        let ours = dirty.copy("ours");
        recover(&Disk::open(&ours)).unwrap();
        let size = Ext4::open(Disk::open(&ours)).unwrap().sb.block_size as u64;
        for (name, cut) in [("plain", 12_345), ("old", 100_001)] {
            let place = ask(&ours, &format!("bmap /{name} {}", cut / size)) * size;
            let mut block = vec![0; size as usize];
            File::open(&ours)
                .unwrap()
                .read_exact_at(&mut block, place)
                .unwrap();
            let (kept, gone) = block.split_at((cut % size) as usize);
            assert!(
                kept.iter().all(|b| *b != 0) && gone.iter().all(|b| *b == 0),
                "{layout} {name}"
            );
        }
    }
}

/// One list of files to delete and files to cut.
#[test]
fn a_list_of_both() {
    for layout in ["trixie", "hypriot", "inode128csum"] {
        let Some((base, sizes)) = sample(layout) else {
            return;
        };
        let numbers: Vec<u64> = sizes.iter().map(|(name, _)| number(&base.image, name)).collect();
        let mut script = chain(&numbers);
        for name in ["holes", "old", "link"] {
            script += &format!("sif /{name} links_count 0\nunlink /{name}\n");
        }
        script += "sif /plain size 1\n";
        debugfs(&base.image, &script);
        let dirty = Dirty::of(&base);
        let done = dirty.recovers_as_the_kernel(layout, without_times);
        assert_eq!((done.deleted, done.truncated), (3, 2), "{layout}");
    }
}

/// The orphan file of a file system that is clean besides, written by hand.
#[test]
fn an_orphan_file() {
    for layout in ["trixie", "debian13"] {
        let Some((base, sizes)) = sample(layout) else {
            return;
        };
        let numbers: Vec<u64> = sizes.iter().map(|(name, _)| number(&base.image, name)).collect();
        debugfs(
            &base.image,
            "sif /old links_count 0\nunlink /old\nsif /plain size 5000\nfeature orphan_present\n",
        );
        let s = read_superblock(&*Disk::open(&base.image)).unwrap();
        let file = s.u32(0x280);
        for (block, numbers) in [(0, &numbers[..2]), (1, &numbers[2..])] {
            let place = ask(&base.image, &format!("bmap <{file}> {block}"));
            let mut bytes = vec![0; s.block_size];
            let image = File::open(&base.image).unwrap();
            image
                .read_exact_at(&mut bytes, place * s.block_size as u64)
                .unwrap();
            for (n, number) in numbers.iter().enumerate() {
                let at = 4 * (n * 7 + 3);
                bytes[at..at + 4].copy_from_slice(&(*number as u32).to_le_bytes());
            }
            let generation = generation(&base.image, file);
            let crc = crc32c(s.checksum_seed, &file.to_le_bytes());
            let crc = crc32c(crc, &generation.to_le_bytes());
            let crc = crc32c(crc, &place.to_le_bytes());
            let tail = bytes.len() - 8;
            let crc = crc32c(crc, &bytes[..tail]);
            bytes[tail + 4..].copy_from_slice(&crc.to_le_bytes());
            put(&base.image, place * s.block_size as u64, &bytes);
        }
        let dirty = Dirty::of(&base);
        let done = dirty.recovers_as_the_kernel(layout, without_times);
        assert_eq!((done.deleted, done.truncated), (1, 4), "{layout}");
    }
}

fn generation(image: &Path, number: u32) -> u32 {
    let (_, text) = run(
        "debugfs",
        &["-R", &format!("stat <{number}>"), image.to_str().unwrap()],
    )
    .unwrap();
    let words = text.split_whitespace().skip_while(|w| *w != "Generation:");
    words.skip(1).find_map(|w| w.parse().ok()).unwrap()
}

/// Lists that cannot be right are refused, and nothing is changed.
#[test]
fn wrong_lists_are_damage() {
    let Some((base, _)) = sample("debian13") else {
        return;
    };
    let file = number(&base.image, "plain");
    let other = number(&base.image, "ahead");
    let orphan_file = base.open().sb.u32(0x280);
    let free = base.open().sb.inodes_count - 1;
    for (script, words) in [
        (
            "ssv last_orphan 2\n".to_owned(),
            "inode 2 is named as an orphan and cannot be one",
        ),
        ("ssv last_orphan 4000000000\n".to_owned(), "cannot be one"),
        (
            format!("ssv last_orphan {free}\n"),
            "is named as an orphan and is free",
        ),
        (chain(&[file, other, file]), "is named twice"),
        (
            chain(&[file, 8]),
            "inode 8 is named as an orphan and cannot be one",
        ),
        (chain(&[file, u64::from(orphan_file)]), "orphan"),
        (
            format!(
                "{}sif <{file}> block[5] 77777777\nsif <{file}> links_count 0\n",
                chain(&[file])
            ),
            "extent tree of inode",
        ),
        (
            format!("{}freeb {}\n", chain(&[file]), ask(&base.image, "bmap /plain 11"))
                + "sif /plain size 9\n",
            "is free in its bitmap",
        ),
        (
            "feature orphan_present ^orphan_file\n".to_owned(),
            "there is no orphan file",
        ),
    ] {
        let dirty = Dirty::of(&base);
        debugfs(&dirty.image, &script);
        let before = fs::read(&dirty.image).unwrap();
        let why = recover(&Disk::open(&dirty.image)).unwrap_err();
        assert!(matches!(why, FsError::Damaged(_)), "{script}{why}");
        assert!(why.to_string().contains(words), "{script}{why}");
        assert!(before == fs::read(&dirty.image).unwrap(), "{script}changed");
    }
}
