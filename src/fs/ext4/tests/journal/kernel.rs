//! Journals that the kernel wrote.
//!
//! `CEIL_EXT4_SEEDS=500` runs that many random ones instead of one for each layout.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use super::super::support::*;
use super::judge::{commit, cut_power, dump, fresh};

/// Layouts with a journal.
fn layouts() -> impl Iterator<Item = &'static str> {
    LAYOUTS.iter().map(|l| l.0).filter(|name| *name != "noindex")
}

/// Directories freed, and their blocks used again as data: what was in the journal for them must not come back.
#[test]
fn freed_directories_stay_gone() {
    let mut revoked = 0;
    for layout in layouts() {
        let Some(base) = fresh(layout, 40, &[]) else {
            return;
        };
        // Without `metadata_csum` the journal has checksums for the asking, of the first version.
        let options = match layout {
            "inode128" => "rw,data=writeback,journal_async_commit",
            _ => "rw,journal_checksum",
        };
        let Some(dirty) = cut_power(&base, options, |root| {
            for d in 0..4 {
                let dir = root.join(format!("d{d}"));
                fs::create_dir(&dir).unwrap();
                for f in 0..300 {
                    fs::write(dir.join(format!("a rather long name, number {f}")), b"").unwrap();
                }
            }
            commit(root);
            for d in 1..4 {
                fs::remove_dir_all(root.join(format!("d{d}"))).unwrap();
            }
            commit(root);
            // To the last block, so that freed ones are used again.
            let mut big = File::create(root.join("big")).unwrap();
            while big.write_all(&[0xC0; 1 << 16]).is_ok() {}
            big.sync_all().unwrap();
            fs::rename(root.join("d0"), root.join("renamed")).unwrap();
        }) else {
            return;
        };
        let replayed = dirty.replays_as_e2fsck(layout).unwrap();
        assert!(replayed.transactions >= 3 && replayed.blocks > 10, "{replayed:?}");
        let said = dump(&dirty.image);
        let version = match layout {
            "buster" | "hypriot" => "journal_checksum",
            "inode128" => "journal_async_commit",
            _ => "journal_checksum_v3",
        };
        assert!(said.contains(version), "{layout}: {said}");
        revoked += replayed.revoked;
        let done = dirty.recovers_as_the_kernel(layout, |_| {});
        // The kernel may not have come to delete all of what has no name.
        let counts = (done.transactions, done.blocks, done.revoked);
        let wanted = (replayed.transactions, replayed.blocks, replayed.revoked);
        assert_eq!(counts, wanted, "{layout}");
    }
    assert!(revoked > 20, "{revoked}");
}

/// Nodes that are open and have no name, links and attributes of all kinds among them.
#[test]
fn open_files_without_a_name_are_deleted() {
    for layout in layouts() {
        let Some(base) = fresh(layout, 40, &[]) else {
            return;
        };
        let Some(dirty) = cut_power(&base, "rw", |root| {
            let mut open = Vec::new();
            fs::write(root.join("kept"), [7; 5000]).unwrap();
            for f in 0..5 {
                let path = root.join(format!("f{f}"));
                fs::write(&path, vec![f as u8; 100_000 * f]).unwrap();
                let value = vec![b'v'; 900];
                // Of equal attributes the kernel makes one block.
                let _ = rustix::fs::setxattr(&path, c"user.v", &value, rustix::fs::XattrFlags::empty());
                open.push(File::open(&path).unwrap());
                if f != 0 {
                    fs::remove_file(&path).unwrap();
                }
            }
            let holes = root.join("holes");
            let file = File::create(&holes).unwrap();
            for n in 0..700 {
                std::os::unix::fs::FileExt::write_all_at(&file, b"x", n * 16384).unwrap();
            }
            open.push(file);
            fs::remove_file(&holes).unwrap();
            let dir = root.join("dir");
            fs::create_dir(&dir).unwrap();
            open.push(File::open(&dir).unwrap());
            fs::remove_dir(&dir).unwrap();
            std::os::unix::fs::symlink("t".repeat(200), root.join("link")).unwrap();
            let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::NOFOLLOW;
            let link = rustix::fs::open(root.join("link"), flags, rustix::fs::Mode::empty()).unwrap();
            open.push(File::from(link));
            fs::remove_file(root.join("link")).unwrap();
            open
        }) else {
            return;
        };
        dirty.replays_as_e2fsck(layout).unwrap();
        let done = dirty.recovers_as_the_kernel(layout, |_| {});
        assert_eq!((done.deleted, done.truncated), (7, 0), "{layout}: {done:?}");
    }
}

/// A log that went around its ring several times.
#[test]
fn a_small_journal_that_wraps() {
    for (layout, size) in [
        ("block1k", "size=1"),
        ("inode128csum", "size=1"),
        ("hypriot", "size=4"),
    ] {
        let Some(base) = fresh(layout, 24, &["-J", size]) else {
            return;
        };
        let Some(dirty) = cut_power(&base, "rw", |root| {
            for n in 0..500 {
                let dir = root.join(format!("d{}", n % 7));
                if n % 5 == 4 {
                    let _ = fs::remove_dir_all(&dir);
                } else {
                    fs::create_dir_all(&dir).unwrap();
                    fs::write(dir.join(format!("{n}")), vec![1; n * 10]).unwrap();
                }
                commit(root);
            }
        }) else {
            return;
        };
        let replayed = dirty.replays_as_e2fsck(layout).unwrap();
        assert!(replayed.transactions > 0, "{layout}: {replayed:?}");
        dirty.recovers_as_the_kernel(layout, |_| {});
    }
}

/// Data goes through the journal too: blocks that begin as blocks of the journal do are escaped in it.
#[test]
fn data_in_the_journal() {
    for layout in ["bookworm", "buster", "block1k"] {
        let Some(base) = fresh(layout, 40, &[]) else {
            return;
        };
        let Some(dirty) = cut_power(&base, "rw,data=journal", |root| {
            for f in 0..20u32 {
                let block = [0xC0, 0x3B, 0x39, 0x98, 0, 0, 0, 2 - f as u8 % 2, 0, 0, 0, f as u8];
                let content: Vec<u8> = block.iter().copied().cycle().take(12 * 1024).collect();
                fs::write(root.join(format!("f{f}")), content).unwrap();
                commit(root);
            }
        }) else {
            return;
        };
        assert!(dirty.replays_as_e2fsck(layout).unwrap().blocks > 40);
        dirty.recovers_as_the_kernel(layout, |_| {});
    }
}

/// The file system grew while it was mounted, as cards do on their first boot.
#[test]
fn grown_while_mounted() {
    for layout in ["bookworm", "trixie", "debian", "hypriot"] {
        let Some(base) = fresh(layout, 64, &["-g", "4096"]) else {
            return;
        };
        let file = File::options().write(true).open(&base.image).unwrap();
        file.set_len(200 << 20).unwrap();
        let mut grown = false;
        let Some(dirty) = cut_power(&base, "rw", |root| {
            fs::write(root.join("f"), [1; 10_000]).unwrap();
            let (_, mounts) = run("findmnt", &["-no", "SOURCE", root.to_str().unwrap()]).unwrap();
            let (code, text) = run("resize2fs", &[mounts.trim()]).unwrap();
            grown = code == 0;
            if !grown {
                eprintln!("SKIPPED: resize2fs: {text}");
            }
        }) else {
            return;
        };
        if !grown {
            return;
        }
        dirty.replays_as_e2fsck(layout).unwrap();
        dirty.recovers_as_the_kernel(layout, |_| {});
        assert!(dump(&dirty.image).contains("needs_recovery"));
        // And after a clean unmount there is nothing to find either.
        base.fsck(layout);
        assert_eq!(
            super::super::super::check(&Disk::open(&base.image)).unwrap(),
            [],
            "{layout}"
        );
    }
}

/// Fast commits are changes, not blocks: refused while there are any, and no matter when there are none.
#[test]
fn fast_commits_are_refused() {
    let more = ["-O", "fast_commit", "-J", "size=8"];
    let Some(base) = fresh("debian", 64, &more) else {
        return;
    };
    assert!(dump(&base.image).contains("fast_commit"));
    let work = |fast: bool| {
        cut_power(&base, "rw", |root| {
            let path = root.join(format!("f{fast}"));
            let mut file = File::create(&path).unwrap();
            commit(root);
            for _ in 0..if fast { 10 } else { 0 } {
                file.write_all(&[5; 9000]).unwrap();
                file.sync_all().unwrap();
            }
            fs::copy(&base.image, base.dir.path().join("fast")).unwrap();
        })
    };
    let Some(dirty) = work(false) else { return };
    dirty.replays_as_e2fsck("no fast commits").unwrap();
    dirty.recovers_as_the_kernel("no fast commits", |_| {});
    if work(true).is_none() {
        return;
    }
    let fast = base.dir.path().join("fast");
    let why = super::super::super::recover(&Disk::open(&fast)).unwrap_err();
    assert!(why.to_string().contains("fast commits; boot"), "{why}");
    base.fsck("unmounted");
    assert!(base.open().sb.has_compat(0x400));
}

fn pick(random: &mut Random, root: &Path) -> PathBuf {
    root.join(format!("n{}", random.below(60)))
}

/// Random work with commits at random places; open files without a name at the end.
fn sequence(seed: u64) {
    let all: Vec<&str> = layouts().collect();
    let layout = all[seed as usize % all.len()];
    let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let mut more: Vec<&str> = Vec::new();
    if random.below(2) == 0 {
        more.extend(["-g", "2048"]);
    }
    let Some(base) = fresh(layout, 32, &more) else {
        return;
    };
    let options = [
        "rw",
        "rw,data=journal",
        "rw,nodelalloc",
        "rw,journal_checksum",
        "rw,data=writeback,journal_async_commit",
    ];
    let options = options[random.below(5) as usize];
    let what = format!("layout {layout}, {options}, seed {seed}");
    let Some(dirty) = cut_power(&base, options, |root| {
        let mut open = Vec::new();
        for _ in 0..20 + random.below(200) {
            let (a, b) = (pick(&mut random, root), pick(&mut random, root));
            let len = [0, 500, 5000, 200_000][random.below(4) as usize];
            let len = random.below(len + 1) as usize;
            // What cannot be done is no matter: the kernel is asked what became of it.
            let _ = match random.below(9) {
                0 | 1 => fs::write(&a, random.bytes(len)),
                2 => fs::create_dir(&a),
                3 => fs::create_dir_all(a.join("x/y")).and_then(|()| fs::write(a.join("x/z"), b"z")),
                4 => fs::rename(&a, &b),
                5 => fs::hard_link(&a, &b),
                6 => fs::remove_dir_all(&a),
                7 => File::options()
                    .write(true)
                    .open(&a)
                    .and_then(|f| f.set_len(len as u64)),
                _ => {
                    if let Ok(file) = File::open(&a) {
                        open.push(file);
                    }
                    fs::remove_file(&a)
                }
            };
            if random.below(8) == 0 {
                commit(root);
            }
        }
        open
    }) else {
        return;
    };
    dirty
        .replays_as_e2fsck(&what)
        .unwrap_or_else(|| panic!("{what}: refused"));
    dirty.recovers_as_the_kernel(&what, |_| {});
}

#[test]
fn random_work() {
    for seed in 0..seeds(11) {
        sequence(seed);
    }
}
