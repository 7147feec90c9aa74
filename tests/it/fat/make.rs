//! Empty volumes, compared with those of mkfs.vfat.

use std::fs;

use ceil_img::disk::BlockIo;
use ceil_img::fs::fat::{FatKind, FatOptions, format};
use ceil_img::fs::{Time, Volume};

use super::support::{FileDevice, assert_clean, assert_same, blank, extract, ok, put, read_back, text};

#[test]
fn geometry_is_that_of_mkfs_vfat() {
    type Case = (u64, &'static [&'static str], FatKind, Option<u32>);
    let cases: [Case; 10] = [
        (64 << 20, &["-F", "16"], FatKind::Fat16, None),
        (64 << 20, &["-F", "16", "-s", "8"], FatKind::Fat16, Some(8)),
        (100 << 20, &[], FatKind::Auto, None),
        (512 << 20, &["-F", "32", "-s", "1"], FatKind::Fat32, Some(1)),
        (512 << 20, &["-F", "32", "-s", "4"], FatKind::Fat32, Some(4)),
        (600 << 20, &[], FatKind::Auto, None),
        (260 << 20, &["-F", "32", "-s", "4"], FatKind::Fat32, Some(4)),
        (16 << 20, &[], FatKind::Auto, None),
        (8 << 20, &["-F", "12"], FatKind::Fat12, None),
        (
            (512 << 20) + 12_345 * 512,
            &["-F", "32", "-s", "1"],
            FatKind::Fat32,
            Some(1),
        ),
    ];
    for (len, args, kind, sectors_per_cluster) in cases {
        let dir = tempfile::tempdir().expect("directory");
        let theirs = blank(dir.path(), "theirs.img", len);
        let mut all = vec!["-i", "12345678", "-n", "bootfs", "-h", "8192"];
        all.extend(args);
        all.push(text(&theirs));
        ok("mkfs.vfat", &all);
        let ours = blank(dir.path(), "ours.img", len);
        // What was in the window before must not shine through.
        let device = FileDevice::open(&ours);
        device.write_at(0, &vec![0xA5; 4 << 20]).expect("garbage");
        let options = FatOptions {
            kind,
            sectors_per_cluster,
            label: "bootfs".to_owned(),
            serial: 0x1234_5678,
            hidden_sectors: 8192,
            epoch: Time::default(),
        };
        let mut fat = format(device, &options).expect("made");
        let what = format!("{len} {args:?}");
        assert_clean(&ours, &what);
        let (left, right) = (
            ok("minfo", &["-i", text(&ours), "::"]),
            ok("minfo", &["-i", text(&theirs), "::"]),
        );
        let lines = |all: &str| {
            all.lines()
                .filter(|line| !line.contains("banner") && !line.contains(".img"))
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        assert_eq!(lines(&left), lines(&right), "{what}");
        put(&mut fat, "/a long name.txt", b"content").expect("put");
        fat.commit().expect("commit");
        assert_clean(&ours, &what);
        assert_same(&extract(&ours), &read_back(&fat), &what);
    }
}

#[test]
fn the_same_options_give_the_same_bytes() {
    let dir = tempfile::tempdir().expect("directory");
    let image = |name: &str| {
        let path = blank(dir.path(), name, 64 << 20);
        format(FileDevice::open(&path), &FatOptions::default()).expect("made");
        fs::read(path).expect("image")
    };
    assert!(image("one.img") == image("two.img"));
}

#[test]
fn impossible_wishes_are_refused() {
    let dir = tempfile::tempdir().expect("directory");
    let path = blank(dir.path(), "x.img", 16 << 20);
    for options in [
        FatOptions {
            kind: FatKind::Fat32,
            ..FatOptions::default()
        },
        FatOptions {
            sectors_per_cluster: Some(3),
            ..FatOptions::default()
        },
        FatOptions {
            label: "much too long".to_owned(),
            ..FatOptions::default()
        },
    ] {
        assert!(format(FileDevice::open(&path), &options).is_err(), "{options:?}");
    }
}
