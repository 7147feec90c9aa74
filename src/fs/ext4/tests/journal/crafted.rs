//! Journals that debugfs wrote: every layout of tags and every version of checksums, revocations, numbers of
//! transactions that begin again, transactions without an end.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::super::super::{check, checksum, recover};
use super::super::support::*;
use super::judge::{Dirty, debugfs, dump, fresh};
use crate::fs::FsError;

/// Layouts, more options of mke2fs, options of `journal_open`, and what dumpe2fs says of the journal then.
const VERSIONS: [(&str, &[&str], &str, &str); 11] = [
    ("bookworm", &[], "", "journal_incompat_revoke"),
    ("debian", &[], "", "journal_64bit"),
    ("block1k", &[], "-c", "journal_64bit journal_checksum_v3"),
    ("bookworm", &[], "-c -v 3", "journal_checksum_v3"),
    ("bookworm", &[], "-c -v 2", "journal_checksum_v2"),
    ("debian", &[], "-c -v 2", "journal_64bit journal_checksum_v2"),
    ("debian", &[], "-c -v 3", "journal_64bit journal_checksum_v3"),
    ("buster", &[], "-c", "journal_checksum"),
    (
        "inode128",
        &["-O", "64bit"],
        "-c",
        "journal_checksum journal_64bit",
    ),
    ("hypriot", &[], "-c", "journal_checksum"),
    ("buster", &[], "", "journal_incompat_revoke"),
];

pub(super) fn put(image: &Path, at: u64, bytes: &[u8]) {
    let file = File::options().write(true).open(image).unwrap();
    file.write_all_at(bytes, at).unwrap();
}

/// Where a block of the journal is, in bytes.
pub(super) fn log_place(image: &Path, block: u64) -> u64 {
    log_places(image, block..block + 1)[0]
}

/// Where blocks of the journal are, in bytes.
pub(super) fn log_places(image: &Path, blocks: std::ops::Range<u64>) -> Vec<u64> {
    let said = dump(image);
    let size = if said.contains("Block size:               1024") {
        1024
    } else {
        4096
    };
    let count = blocks.clone().count();
    let script: String = blocks.map(|n| format!("bmap <8> {n}\n")).collect();
    let text = debugfs(image, &script);
    let numbers = text.lines().filter_map(|line| line.trim().parse::<u64>().ok());
    let places: Vec<u64> = numbers.map(|n| n * size).collect();
    assert_eq!(places.len(), count, "{text}");
    places
}

/// A file system with a journal of random transactions. Gives the blocks that they write to.
pub(super) fn crafted(seed: u64) -> Option<(Dirty, Vec<u64>, String)> {
    let (layout, more, open, says) = VERSIONS[seed as usize % VERSIONS.len()];
    let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let what = format!("{layout}, journal_open {open}, seed {seed}");
    let base = fresh(layout, 20, more)?;
    let dirty = Dirty::of(&base);
    let size: usize = if layout == "block1k" { 1024 } else { 4096 };
    let sequence = [1u32, 0, u32::MAX, u32::MAX - 2, 77][random.below(5) as usize];
    put(
        &dirty.image,
        log_place(&dirty.image, 0) + 0x18,
        &sequence.to_be_bytes(),
    );
    let (_, free) = run("debugfs", &["-R", "ffb 40 4000", dirty.image.to_str().unwrap()]).unwrap();
    let free: Vec<u64> = free.split_whitespace().filter_map(|w| w.parse().ok()).collect();
    // debugfs counts revocations in where the kernel does not: they are left to the journals that the kernel writes.
    let first_version = says.contains("journal_checksum") && !says.contains("checksum_v");
    let mut script = String::new();
    let count = 1 + random.below(7);
    for n in 0..count {
        let mut some = |most: u64| -> Vec<u64> {
            let mut some: Vec<u64> = (0..random.below(most + 1)).map(|_| random.below(40)).collect();
            some.sort_unstable();
            some.dedup();
            some.into_iter().map(|n| free[n as usize]).collect()
        };
        let (mut blocks, mut revoked) = (some(12), some(6));
        if first_version {
            revoked.clear();
        }
        if n == 0 && blocks.is_empty() {
            blocks.push(free[0]);
        }
        let mut data = random.bytes(blocks.len() * size);
        for block in data.chunks_mut(size) {
            match random.below(5) {
                // As a block of the journal begins.
                0 => block[..8].copy_from_slice(&[0xC0, 0x3B, 0x39, 0x98, 0, 0, 0, 1 + n as u8 % 5]),
                1 => block.fill(0),
                _ => {}
            }
        }
        let list = |blocks: &[u64]| blocks.iter().map(u64::to_string).collect::<Vec<_>>().join(",");
        let mut line = "jw".to_owned();
        if !revoked.is_empty() {
            let _ = write!(line, " -r {}", list(&revoked));
        }
        // Without its last block.
        if n > 0 && n + 1 == count && random.below(3) == 0 {
            line += " -c";
        }
        if !blocks.is_empty() {
            let file = base.dir.path().join(format!("data{n}"));
            fs::write(&file, data).unwrap();
            let _ = write!(line, " -b {} {}", list(&blocks), file.display());
        }
        if line != "jw" {
            // Each in a session of its own: within one, debugfs forgets the length of what it revoked.
            let _ = writeln!(script, "jo {open}\n{line}\njc");
        }
    }
    debugfs(&dirty.image, &script);
    let said = dump(&dirty.image);
    assert!(said.contains("needs_recovery"), "{what}: {said}");
    assert!(said.contains(says), "{what}: {said}");
    Some((dirty, free, what))
}

fn sequence(seed: u64) {
    let Some((dirty, free, what)) = crafted(seed) else {
        return;
    };
    let replayed = dirty
        .replays_as_e2fsck(&what)
        .unwrap_or_else(|| panic!("{what}: refused"));
    let done = dirty.recovers_as_the_kernel(&what, |_| {});
    assert_eq!(done, replayed, "{what}");
    // The second image was recovered by the kernel.
    let (ours, kernels) = (dirty.read("ours"), dirty.read("theirs"));
    let size = if what.starts_with("block1k") { 1024 } else { 4096 };
    for block in free {
        let range = block as usize * size..(block as usize + 1) * size;
        assert!(
            ours[range.clone()] == kernels[range],
            "{what}: block {block} differs from the kernel's"
        );
    }
}

#[test]
fn all_versions() {
    for seed in 0..seeds(2 * VERSIONS.len() as u64) {
        sequence(seed);
    }
}

/// The same log, moved to the end of its ring so that it goes on at the front.
#[test]
fn a_log_that_goes_around() {
    for seed in 0..VERSIONS.len() as u64 {
        let Some((dirty, _, what)) = crafted(seed) else {
            return;
        };
        let straight = dirty.replays_as_e2fsck(&what).unwrap();
        let image = File::open(&dirty.image).unwrap();
        let places = log_places(&dirty.image, 0..1024);
        let mut sb = vec![0; 1024];
        image.read_exact_at(&mut sb, places[0]).unwrap();
        assert_eq!(
            sb[0x10..0x20],
            [&[0, 0, 4, 0, 0, 0, 0, 1], &sb[0x18..0x1C], &[0, 0, 0, 1]].concat()
        );
        let mut blocks = vec![vec![0; if what.starts_with("block1k") { 1024 } else { 4096 }]; 1023];
        for (block, place) in blocks.iter_mut().zip(&places[1..]) {
            image.read_exact_at(block, *place).unwrap();
        }
        // The first descriptor block stays at the end, or that and what it describes.
        for kept in [1, 3] {
            let start = 1024 - kept;
            for (n, block) in blocks.iter().enumerate() {
                put(&dirty.image, places[1 + (start - 1 + n) % 1023], block);
            }
            sb[0x1E..0x20].copy_from_slice(&(start as u16).to_be_bytes());
            if sb[0x50] == 4 {
                sb[0xFC..0x100].fill(0);
                let crc = checksum::crc32c(!0, &sb);
                sb[0xFC..0x100].copy_from_slice(&crc.to_be_bytes());
            }
            put(&dirty.image, places[0], &sb);
            let around = dirty.replays_as_e2fsck(&what);
            assert_eq!(around, Some(straight), "{what}, from block {start}");
        }
    }
}

/// The first version of the superblock has no features, whatever stands where they would be.
#[test]
fn the_first_version_of_the_superblock() {
    let Some((dirty, _, what)) = crafted(10) else {
        return;
    };
    let place = log_place(&dirty.image, 0);
    put(&dirty.image, place + 7, &[3]);
    // e2fsck zeroes them; the rest of the block is left as it was.
    put(&dirty.image, place + 0x24, &[0; 0x40]);
    dirty.replays_as_e2fsck(&what).unwrap();
    dirty.recovers_as_the_kernel(&what, |_| {});
}

fn refused(image: &Path, what: &str) -> FsError {
    let before = fs::read(image).unwrap();
    let why = recover(&Disk::open(image)).unwrap_err();
    assert!(before == fs::read(image).unwrap(), "{what}: refused, and changed");
    why
}

/// What is refused, and in which words.
#[test]
fn refusals_say_why() {
    let Some((dirty, _, _)) = crafted(1) else { return };
    let place = log_place(&dirty.image, 0);
    let block = |n: u64| log_place(&dirty.image, n);
    let own = (block(5) / 4096) as u32;
    for (what, at, bytes, damage, words) in [
        (
            "an error of the journal",
            place + 0x20,
            &[0xFF, 0xFF, 0xFF, 0xFB][..],
            false,
            "recorded error -5; run e2fsck",
        ),
        (
            "a feature",
            place + 0x2B,
            &[0x40 | 3],
            false,
            "the journal has unknown features 0x40",
        ),
        (
            "two checksums",
            place + 0x2B,
            &[0x18],
            true,
            "checksums of more than one version",
        ),
        (
            "a checksum of none",
            place + 0x2B,
            &[0x10],
            false,
            "checksum type 0",
        ),
        ("users", place + 0x43, &[2], false, "shared by 2 file systems"),
        ("no magic", place, &[0], true, "no journal superblock"),
        (
            "a block size",
            place + 0x0E,
            &[8],
            true,
            "says that blocks have 2048 bytes",
        ),
        ("too long", place + 0x10, &[1], true, "blocks, its inode has"),
        (
            "begins nowhere",
            place + 0x1C,
            &[0, 9, 0, 0],
            true,
            "begins at block 589824",
        ),
        (
            "begins at its superblock",
            place + 0x14,
            &[0, 0, 0, 0],
            true,
            "log is from block 0",
        ),
        (
            "a tag of the journal itself",
            block(1) + 12,
            &own.to_be_bytes(),
            true,
            "the journal writes to block",
        ),
        (
            "a tag behind the end",
            block(1) + 12,
            &[0x7F, 0, 0, 0],
            true,
            "the journal writes to block",
        ),
        ("another device", 1024 + 0xE4, &[1], false, "on another device"),
        ("another inode", 1024 + 0xE0, &[9], true, "inode 9 as journal"),
        ("no journal", 1024 + 0x5C, &[0x38], true, "there is no journal"),
        ("errors", 1024 + 0x3A, &[3], false, "run e2fsck"),
        ("not clean", 1024 + 0x3A, &[0], false, "boot the image once"),
    ] {
        let image = dirty.copy("refused");
        put(&image, at, bytes);
        let mut raw = [0; 1024];
        let file = File::options().read(true).write(true).open(&image).unwrap();
        file.read_exact_at(&mut raw, 1024).unwrap();
        let crc = checksum::crc32c(!0, &raw[..1020]);
        put(&image, 1024 + 1020, &crc.to_le_bytes());
        let why = refused(&image, what);
        assert!(why.to_string().contains(words), "{what}: {why}");
        assert_eq!(matches!(why, FsError::Damaged(_)), damage, "{what}: {why}");
        if damage {
            assert_eq!(check(&Disk::open(&image)).unwrap().len(), 1, "{what}");
        }
    }
}

/// With `async_commit` a wrong commit block is one that was not written yet, if it is the last one.
#[test]
fn a_commit_that_was_not_waited_for() {
    // Those with checksums of the first version.
    let mut seeds = (7..).step_by(VERSIONS.len());
    let (dirty, commits) = loop {
        let Some((dirty, ..)) = seeds.next().and_then(crafted) else {
            return;
        };
        let (_, log) = run("debugfs", &["-R", "logdump", dirty.image.to_str().unwrap()]).unwrap();
        let commits: Vec<u64> = log
            .lines()
            .filter(|l| l.contains("commit block"))
            .filter_map(|l| l.split_whitespace().next_back()?.parse().ok())
            .collect();
        // For e2fsck and for the kernel, transaction 0 cannot be the one that failed.
        if commits.len() > 2 && log.contains("transaction 77") {
            break (dirty, commits);
        }
    };
    let (first, last) = (commits[0], commits[commits.len() - 1]);
    for (asynchronous, commit, fine) in [(false, last, false), (true, last, true), (true, first, false)] {
        let image = Dirty::at(&dirty.image);
        if asynchronous {
            put(&image.image, log_place(&image.image, 0) + 0x2B, &[5]);
        }
        put(&image.image, log_place(&image.image, commit) + 0x10, &[1, 2, 3]);
        let what = format!("async_commit {asynchronous}, wrong commit block {commit} of {commits:?}");
        match image.replays_as_e2fsck(&what) {
            Some(done) => {
                assert!(fine, "{what}");
                assert_eq!(done.transactions as usize, commits.len() - 1, "{what}");
            }
            None => {
                assert!(!fine, "{what}");
                let why = refused(&image.image, &what).to_string();
                assert!(
                    why.contains("of the journal has a wrong checksum; run e2fsck"),
                    "{why}"
                );
            }
        }
    }
}
