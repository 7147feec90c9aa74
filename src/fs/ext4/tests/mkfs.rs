//! Empty file systems, compared with those of `mke2fs`.

use std::fs::File;

use super::super::{Ext4Features, Ext4Options, format};
use super::support::*;
use crate::fs::{Time, Volume};

/// 2025-11-20 20:14:40 UTC.
const EPOCH: i64 = 1_763_669_680;
const UUID: &str = "11111111-2222-3333-4444-555555555555";
const SEED: &str = "66666666-7777-8888-9999-aaaaaaaaaaaa";

const FAMILIES: [(Ext4Features, &[&str]); 5] = [
    (
        Ext4Features::Trixie,
        &["-O", "^64bit,^huge_file,metadata_csum_seed,orphan_file"],
    ),
    (Ext4Features::Bookworm, &["-O", "^64bit,^huge_file"]),
    (Ext4Features::Buster, &["-O", "^huge_file,^metadata_csum,^64bit"]),
    (
        Ext4Features::Hypriot,
        &["-i", "4096", "-O", "uninit_bg,^metadata_csum,^64bit"],
    ),
    (Ext4Features::Debian, &[]),
];

fn bytes_of(text: &str) -> [u8; 16] {
    let digits: Vec<u8> = text
        .bytes()
        .filter(|b| *b != b'-')
        .map(|b| (b as char).to_digit(16).unwrap() as u8)
        .collect();
    std::array::from_fn(|n| digits[2 * n] << 4 | digits[2 * n + 1])
}

fn options(features: Ext4Features) -> Ext4Options {
    Ext4Options {
        features,
        label: "rootfs".to_owned(),
        uuid: bytes_of(UUID),
        hash_seed: bytes_of(SEED),
        epoch: Time {
            secs: EPOCH,
            nanos: 0,
        },
    }
}

fn made(features: Ext4Features, len: u64) -> (Base, super::super::Ext4) {
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("image");
    File::create(&image).unwrap().set_len(len).unwrap();
    let fs = format(Disk::open(&image), &options(features)).unwrap();
    let base = Base {
        dir,
        image,
        short_times: false,
    };
    (base, fs)
}

/// The head of `dumpe2fs`, without what a time, a counter of mke2fs or the layout of blocks decides.
fn described(image: &str) -> Option<Vec<String>> {
    let (_, text) = run("dumpe2fs", &["-h", image])?;
    let moving = [
        "dumpe2fs",
        "Filesystem created",
        "Last write",
        "Last checked",
        "Lifetime writes",
        "Checksum:",
        "Journal checksum",
    ];
    let lines = text
        .lines()
        .filter(|line| !moving.iter().any(|word| line.starts_with(word)));
    Some(lines.map(str::to_owned).collect())
}

#[test]
fn described_as_that_of_mke2fs() {
    for (features, args) in FAMILIES {
        for len in [64 << 20, 300 << 20, 1200 << 20, (2 << 30) + 123_456_789, 20 << 30] {
            // The largest is only for the two widths of descriptors: its inode tables take their time.
            if len == 20 << 30 && !matches!(features, Ext4Features::Trixie | Ext4Features::Debian) {
                continue;
            }
            let what = format!("{features:?} {len}");
            let (base, _) = made(features, len);
            base.fsck(&what);
            let theirs = base.dir.path().join("theirs");
            File::create(&theirs).unwrap().set_len(len).unwrap();
            let seed = format!("hash_seed={SEED}");
            let mut all = vec!["-q", "-F", "-t", "ext4", "-L", "rootfs", "-U", UUID, "-b", "4096"];
            if !args.contains(&"-i") {
                all.extend(["-i", "16384"]);
            }
            all.extend(["-E", &seed]);
            all.extend(args);
            all.push(theirs.to_str().unwrap());
            let Some((code, text)) = run("mke2fs", &all) else {
                return;
            };
            assert_eq!(code, 0, "{text}");
            let ours = described(base.path()).unwrap();
            assert_eq!(ours, described(theirs.to_str().unwrap()).unwrap(), "{what}");
        }
    }
}

#[test]
fn the_kernel_writes_into_it_and_so_do_we() {
    for (features, _) in FAMILIES {
        let what = format!("{features:?}");
        let (base, mut fs) = made(features, 300 << 20);
        assert_eq!(fs.check().unwrap(), [], "{what}");
        fs.make_dir(b"/etc", &attrs(0o755, EPOCH)).unwrap();
        for n in 0..600 {
            let path = format!("/etc/a file with a long name {n}");
            let data = vec![n as u8; n * 37];
            fs.put_file(path.as_bytes(), &source(&data), false, &attrs(0o600, EPOCH))
                .unwrap();
        }
        fs.commit().unwrap();
        base.fsck(&what);
        let written = base.mounted("rw", |root| {
            assert_eq!(
                std::fs::read(root.join("etc/a file with a long name 7")).unwrap(),
                [7; 259]
            );
            std::fs::remove_dir_all(root.join("etc")).unwrap();
            for n in 0..300 {
                std::fs::write(root.join(format!("kernel {n}")), vec![n as u8; 9000]).unwrap();
            }
        });
        if written {
            base.fsck(&what);
            assert_eq!(base.open().check().unwrap(), [], "{what}");
        }
    }
}

#[test]
fn resize2fs_grows_it() {
    for (features, _) in FAMILIES {
        let (base, _) = made(features, 200 << 20);
        let file = File::options().write(true).open(&base.image).unwrap();
        file.set_len(5 << 30).unwrap();
        let Some((code, text)) = run("resize2fs", &["-f", base.path()]) else {
            return;
        };
        assert_eq!(code, 0, "{features:?}: {text}");
        base.fsck(&format!("{features:?} grown"));
    }
}

#[test]
fn our_own_grow_takes_it() {
    for (features, _) in FAMILIES {
        let (base, mut fs) = made(features, 200 << 20);
        let file = File::options().write(true).open(&base.image).unwrap();
        file.set_len(3 << 30).unwrap();
        fs.grow(Disk::open(&base.image)).unwrap();
        fs.commit().unwrap();
        base.fsck(&format!("{features:?} grown by us"));
        assert_eq!(base.open().check().unwrap(), [], "{features:?}");
    }
}

#[test]
fn the_same_options_give_the_same_bytes_whatever_was_there() {
    let (one, _) = made(Ext4Features::Trixie, 64 << 20);
    let (two, fs) = made(Ext4Features::Trixie, 64 << 20);
    let used = fs.used_ranges().unwrap();
    std::fs::write(&two.image, vec![0xA5; 64 << 20]).unwrap();
    format(Disk::open(&two.image), &options(Ext4Features::Trixie)).unwrap();
    two.fsck("over garbage");
    let (one, two) = (one.bytes(), two.bytes());
    for range in used {
        let range = range.start as usize..range.end as usize;
        assert!(one[range.clone()] == two[range.clone()], "{range:?}");
    }
}

#[test]
fn impossible_wishes_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("image");
    File::create(&image).unwrap().set_len(4 << 20).unwrap();
    assert!(format(Disk::open(&image), &options(Ext4Features::Trixie)).is_err());
    let label = Ext4Options {
        label: "a label of seventeen".to_owned(),
        ..options(Ext4Features::Trixie)
    };
    assert!(format(Disk::open(&image), &label).is_err());
}
