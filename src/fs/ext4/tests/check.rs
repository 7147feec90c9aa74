//! Our check and `e2fsck -fn`: both silent on sound file systems, both with something to say on every fault.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::super::{Ext4, check};
use super::support::*;
use crate::fs::{FsError, Volume};

fn findings(image: &Path) -> Vec<String> {
    let found = check(&Disk::open(image)).unwrap();
    found.iter().map(ToString::to_string).collect()
}

#[test]
fn sound_file_systems_give_no_findings() {
    for (layout, _) in LAYOUTS {
        let Some(base) = make(layout, 160, &[]) else {
            return;
        };
        assert_eq!(findings(&base.image), [""; 0], "{layout} empty");
        let filled = base.mounted("rw", |root| {
            super::matrix::fill(root);
            // Enough names for an index, some of them gone again.
            let many = root.join("hashed");
            fs::create_dir(&many).unwrap();
            for n in 0..4000 {
                fs::write(many.join(format!("näme number {n}")), b"x").unwrap();
            }
            for n in (0..4000).step_by(3) {
                fs::remove_file(many.join(format!("näme number {n}"))).unwrap();
            }
            fs::hard_link(root.join("old1/fïle-007"), root.join("link")).unwrap();
            std::os::unix::fs::symlink("short", root.join("short link")).unwrap();
            std::os::unix::fs::symlink("long/".repeat(100), root.join("long link")).unwrap();
        });
        if filled {
            base.fsck(layout);
            assert_eq!(findings(&base.image), [""; 0], "{layout} filled");
        }
        let mut editor = base.open();
        editor
            .put_file(b"/new", &source(&[7; 100_000]), false, &attrs(0o644, 1))
            .unwrap();
        editor
            .set_xattr(b"/new", b"user.x", Some(&[1; 900]), at(1))
            .unwrap();
        editor.commit().unwrap();
        assert_eq!(findings(&base.image), [""; 0], "{layout} edited");
    }
}

#[test]
fn a_tree_copied_by_mke2fs_gives_no_findings() {
    let tree = tempfile::tempdir().unwrap();
    super::matrix::fill(tree.path());
    let dir = tree.path().to_str().unwrap().to_owned();
    for layout in ["trixie", "hypriot", "debian"] {
        let Some(base) = make(layout, 600, &["-d", &dir]) else {
            return;
        };
        assert_eq!(findings(&base.image), [""; 0], "{layout}");
        let file = File::options().write(true).open(&base.image).unwrap();
        file.set_len(3 << 30).unwrap();
        let (code, text) = run("resize2fs", &[base.path()]).unwrap();
        assert_eq!(code, 0, "{text}");
        assert_eq!(findings(&base.image), [""; 0], "{layout} grown");
    }
}

/// A base with one of everything.
fn sample(layout: &str) -> Option<Base> {
    // With one seed names have one place in the index.
    let seed = "hash_seed=66666666-7777-8888-9999-aaaaaaaaaaaa";
    let base = make(layout, 64, &["-b", "4096", "-E", seed])?;
    let filled = base.mounted("rw", |root| {
        for n in 0..20 {
            fs::write(root.join(format!("file{n}")), vec![n as u8; 20_000]).unwrap();
        }
        fs::create_dir_all(root.join("dir/sub")).unwrap();
        fs::create_dir(root.join("hashed")).unwrap();
        for n in 0..600 {
            fs::write(root.join(format!("hashed/name number {n}")), b"").unwrap();
        }
        std::os::unix::fs::symlink("target", root.join("fast")).unwrap();
        // Holes between blocks: more extents than an inode holds.
        let holes = File::create(root.join("holes")).unwrap();
        for n in 0..50u64 {
            holes.write_all_at(&[n as u8 + 1; 4096], n * 8192).unwrap();
        }
        let path = root.join("file3");
        let value = "v".repeat(2000);
        let args = ["-n", "user.large", "-v", &value, path.to_str().unwrap()];
        assert_eq!(run("setfattr", &args).unwrap().0, 0);
    });
    filled.then_some(base)
}

/// Commands for `debugfs -w`, each a fault, and a word of our finding.
const FAULTS: [(&str, &[&str], &str); 27] = [
    ("links", &["sif /file1 links_count 5"], "counts 5 links"),
    ("directory links", &["sif /dir links_count 9"], "counts 9 links"),
    ("block count", &["sif /file1 blocks 8"], "counts 1 blocks"),
    ("deletion time", &["sif /file1 dtime 7"], "time of deletion"),
    ("type", &["sif /file1 mode 0"], "no known type"),
    ("cut size", &["sif /file1 size 1"], "has a size of 1"),
    ("directory size", &["sif /dir size 8192"], "directory inode"),
    (
        "attribute block",
        &["sif /file3 file_acl 99999999"],
        "attributes at block",
    ),
    ("shared extent", &["sif /file1 block[5] 40"], "in use twice"),
    (
        "extent outside",
        &["sif /file1 block[5] 99999999"],
        "wrong extent",
    ),
    (
        "extent header",
        &["sif /file1 block[0] 0"],
        "without a right header",
    ),
    ("extent order", &["sif /file1 block[1] 9"], "extent tree"),
    ("cleared inode", &["clri /file1"], "which is free"),
    ("freed inode", &["freei /file1"], "in use and marked free"),
    ("taken inode", &["seti <4000>"], "never used"),
    ("taken block", &["setb 12000"], "belong to nothing"),
    ("freed block", &["freeb 300"], "in use and marked free"),
    ("nameless", &["unlink /file1"], "no name in any directory"),
    (
        "second name",
        &["ln /file1 /dir/again"],
        "links; 2 would be right",
    ),
    (
        "second directory name",
        &["ln /dir/sub /dir/again"],
        "second name",
    ),
    (
        "free blocks",
        &["ssv free_blocks_count 77"],
        "counts 77 free blocks",
    ),
    (
        "free inodes",
        &["ssv free_inodes_count 77"],
        "counts 77 free inodes",
    ),
    (
        "group counts",
        &["set_bg 0 free_blocks_count 7", "set_bg 0 checksum calc"],
        "the descriptor says 7",
    ),
    (
        "group directories",
        &["set_bg 0 used_dirs_count 7", "set_bg 0 checksum calc"],
        "counts 7 directories",
    ),
    ("symlink size", &["sif /fast size 3"], "wrong target"),
    ("journal", &["sif <8> size 4096"], "journal"),
    (
        "resize inode",
        &["sif <7> block[DIND] 99999999"],
        "double indirect block",
    ),
];

fn damaged(base: &Base, name: &str) -> PathBuf {
    let path = base.dir.path().join(name.replace(' ', "-"));
    let (code, _) = run("cp", &["--sparse=always", base.path(), path.to_str().unwrap()]).unwrap();
    assert_eq!(code, 0);
    path
}

fn both_find(image: &Path, name: &str, word: &str) {
    let found = findings(image);
    assert!(found.iter().any(|f| f.contains(word)), "{name}: {found:?}");
    let (code, text) = run("e2fsck", &["-fn", image.to_str().unwrap()]).unwrap();
    // Wrong totals in the superblock are told, but do not change the exit code.
    assert!(
        code != 0 || text.contains("? no"),
        "{name}: e2fsck finds nothing\n{text}"
    );
    fs::remove_file(image).unwrap();
}

#[test]
fn faults_made_by_debugfs_are_found_by_both() {
    for layout in ["trixie", "buster"] {
        let Some(base) = sample(layout) else {
            return;
        };
        assert_eq!(findings(&base.image), [""; 0]);
        for (name, commands, word) in FAULTS {
            // Without checksums of groups no inode counts as never used.
            if name == "taken inode" && layout == "buster" {
                continue;
            }
            let image = damaged(&base, name);
            for command in commands {
                let (code, text) = run("debugfs", &["-w", "-R", command, image.to_str().unwrap()]).unwrap();
                assert_eq!(code, 0, "{name}: {text}");
            }
            both_find(&image, &format!("{layout} {name}"), word);
        }
    }
}

/// The number that `debugfs` answers last.
fn ask(base: &Base, command: &str) -> u64 {
    let (_, text) = run("debugfs", &["-R", command, base.path()]).unwrap();
    let number = text
        .split_whitespace()
        .rev()
        .find_map(|word| word.trim_matches(',').parse().ok());
    number.unwrap_or_else(|| panic!("{command}: {text}"))
}

#[test]
fn flipped_bytes_are_found_by_both() {
    let Some(base) = sample("trixie") else {
        return;
    };
    let root = ask(&base, "bmap / 0") * 4096;
    let hashed = ask(&base, "bmap /hashed 0") * 4096;
    let leaf = ask(&base, "bmap /hashed 1") * 4096;
    let journal = ask(&base, "bmap <8> 0") * 4096;
    let orphans = ask(&base, "bmap <12> 0") * 4096;
    let (_, dump) = run("dumpe2fs", &[base.path()]).unwrap();
    let place = |what: &str| -> u64 {
        let line = dump.lines().find(|line| line.contains(what)).unwrap();
        let words = line.split_whitespace().skip_while(|word| *word != "at");
        let number = words
            .skip(1)
            .find_map(|w| w.split('-').next()?.trim_matches(',').parse::<u64>().ok());
        number.unwrap() * 4096
    };
    let acl = {
        let (_, text) = run("debugfs", &["-R", "stat /file3", base.path()]).unwrap();
        let line = text.lines().find(|line| line.starts_with("File ACL")).unwrap();
        line.split_whitespace().nth(2).unwrap().parse::<u64>().unwrap() * 4096
    };
    let tree = {
        let (_, text) = run("debugfs", &["-R", "stat /holes", base.path()]).unwrap();
        let at = text.find("(ETB0):").unwrap() + 7;
        let digits: String = text[at..].chars().take_while(char::is_ascii_digit).collect();
        digits.parse::<u64>().unwrap() * 4096
    };
    for (name, offset, word) in [
        ("superblock", 1024 + 0x70, "superblock checksum"),
        ("descriptor", 4096 + 12, "descriptor checksum"),
        (
            "block bitmap",
            place("Block bitmap at") + 1000,
            "block bitmap has a wrong checksum",
        ),
        (
            "inode bitmap",
            place("Inode bitmap at") + 100,
            "inode bitmap has a wrong checksum",
        ),
        ("inode", place("Inode table at") + 256 + 16, "checksum"),
        ("directory entry", root + 24, "directory"),
        ("directory tail", root + 4092, "directory"),
        (
            "index entry",
            hashed + 0x2C,
            "index block 0 with wrong counts or checksum",
        ),
        ("index leaf", leaf + 4090, "directory"),
        ("attribute block", acl + 40, "extended attribute block"),
        ("extent block", tree + 20, "wrong checksum"),
        ("journal", journal, "no journal superblock"),
        ("orphan file", orphans + 4088, "no right tail"),
        ("orphan entry", orphans, "orphan file block"),
        ("reserved descriptors", 3 * 4096, "does not name its copies"),
    ] {
        let image = damaged(&base, name);
        let file = File::options().read(true).write(true).open(&image).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, offset).unwrap();
        file.write_all_at(&[byte[0] ^ 0x04], offset).unwrap();
        both_find(&image, name, word);
    }
}

#[test]
fn a_name_in_the_wrong_leaf_is_found_by_both() {
    // Without checksums the bytes of a name can be changed alone.
    let Some(base) = sample("buster") else {
        return;
    };
    let leaf = ask(&base, "bmap /hashed 1") * 4096;
    let image = damaged(&base, "hash");
    let file = File::options().read(true).write(true).open(&image).unwrap();
    file.write_all_at(b"NAME NU", leaf + 8).unwrap();
    both_find(&image, "hash", "where its hash does not belong");
}

#[test]
fn inodes_that_share_everything_end_the_check() {
    let Some(base) = make("buster", 64, &["-b", "4096"]) else {
        return;
    };
    let mut fs = base.open();
    for n in 0..20 {
        fs.put_file(
            format!("/f{n}").as_bytes(),
            &source(b"x"),
            false,
            &attrs(0o644, 1),
        )
        .unwrap();
    }
    fs.put_file(b"/big", &source(&vec![1; 20 << 20]), false, &attrs(0o644, 1))
        .unwrap();
    fs.commit().unwrap();
    let (_, dump) = run("dumpe2fs", &[base.path()]).unwrap();
    let line = dump.lines().find(|l| l.contains("Inode table at")).unwrap();
    let digits = line.split("at ").nth(1).unwrap().split('-').next().unwrap();
    let table: u64 = digits.parse().unwrap();
    let place = |path: &[u8]| table * 4096 + (fs.stat(path).unwrap().unwrap().id - 1) * 256;
    let image = damaged(&base, "shared");
    let file = File::options().read(true).write(true).open(&image).unwrap();
    let mut inode = [0; 256];
    file.read_exact_at(&mut inode, place(b"/big")).unwrap();
    for n in 0..20 {
        file.write_all_at(&inode, place(format!("/f{n}").as_bytes()))
            .unwrap();
    }
    both_find(&image, "shared", "the check ends here");
}

#[test]
fn backups_are_compared() {
    let Some(base) = make("trixie", 300, &["-b", "4096"]) else {
        return;
    };
    let at = 32768 * 4096;
    let image = damaged(&base, "backup");
    let file = File::options().write(true).open(&image).unwrap();
    file.write_all_at(&[9], at + 0x5A).unwrap();
    file.write_all_at(&[9], at + 4096 + 8).unwrap();
    let found = findings(&image).join("\n");
    assert!(found.contains("does not name its group"), "{found}");
    assert!(
        found.contains("group 1 backup descriptors: places group 0 elsewhere"),
        "{found}"
    );
}

#[test]
fn a_dirty_file_system_is_judged_as_recovered() {
    let Some(base) = make("debian", 64, &["-b", "4096"]) else {
        return;
    };
    let (code, _) = run("debugfs", &["-w", "-R", "feature needs_recovery", base.path()]).unwrap();
    assert_eq!(code, 0);
    assert_eq!(findings(&base.image), [""; 0]);
    let (_, text) = run("dumpe2fs", &["-h", base.path()]).unwrap();
    assert!(text.contains("needs_recovery"), "a check wrote: {text}");
    // Where there are errors besides, nobody can say what a recovery would make of it.
    run("debugfs", &["-w", "-R", "ssv state 3", base.path()]);
    let answer = check(&Disk::open(&base.image));
    assert!(
        matches!(&answer, Err(FsError::Unsupported(why)) if why.contains("run e2fsck")),
        "{answer:?}"
    );
}

/// The journal of a clean file system, with the checksums that the kernel gave it.
#[test]
fn a_wrong_journal_superblock_is_found_by_both() {
    for (layout, checksum) in [("trixie", true), ("buster", false)] {
        let Some(base) = sample(layout) else { return };
        // A transaction, so that the kernel writes the superblock.
        if !base.mounted("rw", |root| fs::write(root.join("f"), b"x").unwrap()) {
            return;
        }
        base.fsck(layout);
        assert_eq!(findings(&base.image), [""; 0]);
        let journal = ask(&base, "bmap <8> 0") * 4096;
        for (name, at, word) in [
            ("journal block size", 0x0E, "says that blocks have"),
            ("journal length", 0x11, "its inode has"),
            ("journal feature", 0x2A, "unknown features"),
            ("journal sequence", 0x1A, ""),
        ] {
            if !checksum && word.is_empty() {
                continue;
            }
            let word = if checksum && word != "unknown features" {
                "has a superblock whose checksum is"
            } else {
                word
            };
            let image = damaged(&base, name);
            let file = File::options().read(true).write(true).open(&image).unwrap();
            let mut byte = [0];
            file.read_exact_at(&mut byte, journal + at).unwrap();
            file.write_all_at(&[byte[0] ^ 0x10], journal + at).unwrap();
            both_find(&image, name, word);
        }
    }
}

#[test]
fn hostile_images_end_with_an_answer() {
    let Some(base) = sample("buster") else {
        return;
    };
    let good = base.bytes();
    let used = base.open().used_ranges().unwrap();
    let places: Vec<u64> = used
        .iter()
        .flat_map(|range| range.clone().step_by(512))
        .filter(|at| *at < 8 << 20)
        .collect();
    let mut random = Random(99);
    let image = base.dir.path().join("hostile");
    fs::write(&image, &good).unwrap();
    let file = File::options().write(true).open(&image).unwrap();
    let start = Instant::now();
    for round in 0..400 {
        let mut changed = Vec::new();
        for _ in 0..1 + random.below(12) {
            let at = match random.below(3) {
                0 => 1024 + random.below(1024),
                1 => 4096 + random.below(4096 * 3),
                _ => places[random.below(places.len() as u64) as usize] + random.below(512),
            };
            let value = [0u8, 0xFF, random.next() as u8][random.below(3) as usize];
            file.write_all_at(&[value], at).unwrap();
            changed.push(at);
        }
        match check(&Disk::open(&image)) {
            Ok(found) => assert!(found.len() <= 1000),
            Err(error) => assert!(!matches!(error, FsError::Damaged(_)), "{round}: {error}"),
        }
        for at in changed {
            file.write_all_at(&good[at as usize..=at as usize], at).unwrap();
        }
    }
    assert!(start.elapsed() < Duration::from_secs(300), "too slow");
}

/// The root file system of the test rig's image, where `CEIL_RIG` names the rig.
#[test]
fn the_rig_gives_no_findings() {
    let Some(rig) = std::env::var_os("CEIL_RIG") else {
        eprintln!("SKIPPED: CEIL_RIG is not set");
        return;
    };
    let packed = Path::new(&rig).join("base/ceil-base-arm64.img.xz");
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("root.img");
    let script = format!(
        "xz -dc '{}' | dd of='{}' bs=1M skip=$((540672 * 512)) iflag=skip_bytes,fullblock conv=sparse status=none",
        packed.display(),
        image.display()
    );
    let (code, text) = run("sh", &["-c", &script]).unwrap();
    assert_eq!(code, 0, "{text}");
    fsck(&image, "rig");
    assert_eq!(findings(&image), [""; 0]);
    assert!(
        Ext4::open(Disk::open(&image))
            .unwrap()
            .read_dir(b"/etc")
            .unwrap()
            .len()
            > 50
    );
}
