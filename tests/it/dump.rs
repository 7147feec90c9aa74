//! `inspect --dump`: snapshots of what our own makers make, and the command as a user types it.
//!
//! The snapshots in `tests/snapshots` are compared byte for byte; with `UPDATE_SNAPSHOTS=1` they are written anew.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use ceil_img::disk::dump::{Line, Section, Sink, Text};
use ceil_img::disk::{BlockIo, Bytes, new_record};
use ceil_img::dump::dump;
use ceil_img::fs::ext4::{Ext4Features, Ext4Options, format as format_ext4};
use ceil_img::fs::fat::{FatKind, FatOptions, format as format_fat};
use ceil_img::fs::{Attrs, Time, Volume};

use crate::commands::objects;
use crate::support::cli::Test;
use crate::support::{judge, tiny, tools};

const MIB: u64 = 1 << 20;
/// Largest snapshot that one can still read.
const MAX_SNAPSHOT: usize = 60 << 10;
const TIME: Time = Time {
    secs: 1_763_942_400,
    nanos: 0,
};

/// A device in memory.
struct Memory(Mutex<Vec<u8>>);

impl Memory {
    fn zeroes(len: u64) -> Arc<dyn BlockIo> {
        Arc::new(Self(Mutex::new(vec![0; len as usize])))
    }
}

impl BlockIo for Memory {
    fn len(&self) -> u64 {
        self.0.lock().unwrap().len() as u64
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let at = offset as usize;
        buf.copy_from_slice(&self.0.lock().unwrap()[at..at + buf.len()]);
        Ok(())
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let at = offset as usize;
        self.0.lock().unwrap()[at..at + data.len()].copy_from_slice(data);
        Ok(())
    }
}

/// Adds up the lines of a text: in each section, every line begins where the one before ended, and the summary says
/// the same. Gives the bytes by section.
fn account(text: &str) -> Vec<u64> {
    let mut sections = Vec::new();
    let mut len = 0;
    let mut at = 0;
    let mut kinds: BTreeMap<String, u64> = BTreeMap::new();
    for line in text.lines() {
        if let Some(heading) = line.strip_prefix("# ") {
            let range = heading
                .split("bytes 0x")
                .nth(1)
                .unwrap()
                .split(' ')
                .next()
                .unwrap();
            let (start, end) = range.split_once("..0x").unwrap();
            len = u64::from_str_radix(end, 16).unwrap() - u64::from_str_radix(start, 16).unwrap();
            at = 0;
            kinds.clear();
        } else if let Some(total) = line.strip_prefix("total  ") {
            let (kind, bytes) = total.split_once(" = ").unwrap();
            let bytes: u64 = bytes.parse().unwrap();
            if kind == "all" {
                assert_eq!((bytes, at), (len, len), "{line}");
                sections.push(len);
            } else {
                assert_eq!(bytes, kinds.get(kind).copied().unwrap_or(0), "{line}");
                assert!(kind != "unaccounted" || bytes == 0, "{line}");
            }
        } else {
            let (range, rest) = line.split_once("  ").unwrap();
            let kind = rest.split("  ").next().unwrap();
            let (start, end) = range.split_once("..").unwrap();
            let number = |digits| u64::from_str_radix(digits, 16).unwrap();
            if kind != "note" && kind != "defect" {
                assert_eq!(number(start), at, "{line}");
                at = number(end);
                *kinds.entry(kind.to_owned()).or_default() += at - number(start);
            }
        }
    }
    sections
}

fn text_of(io: &Arc<dyn BlockIo>) -> String {
    let mut sink = Text::new(Vec::new());
    dump(io, None, &mut sink).unwrap();
    let text = String::from_utf8(sink.into_inner()).unwrap();
    assert_eq!(account(&text)[0], io.len());
    assert!(!text.contains("  defect  ") && !text.contains("wrong"), "{text}");
    text
}

/// Compares with the committed text, or writes it.
fn snapshot(name: &str, text: &str) {
    assert!(text.len() < MAX_SNAPSHOT, "{name} has {} bytes", text.len());
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/snapshots")
        .join(name);
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        fs::write(&path, text).unwrap();
        return;
    }
    let stored = fs::read_to_string(&path).unwrap_or_default();
    let first = stored.lines().zip(text.lines()).position(|(a, b)| a != b);
    let line = first.unwrap_or(stored.lines().count().min(text.lines().count()));
    assert!(
        stored == text,
        "{name} differs from line {}:\nstored {:?}\nfound  {:?}\nUPDATE_SNAPSHOTS=1 writes it anew",
        line + 1,
        stored.lines().nth(line),
        text.lines().nth(line)
    );
}

fn attrs(mode: u16) -> Attrs {
    Attrs {
        mode: Some(mode),
        owner: Some((1000, 100)),
        mtime: None,
        now: TIME,
    }
}

fn ext4(features: Ext4Features) -> (Arc<dyn BlockIo>, impl Volume) {
    let io = Memory::zeroes(8 * MIB);
    let options = Ext4Options {
        features,
        label: "rootfs".to_owned(),
        uuid: *b"dump snapshot v1",
        hash_seed: *b"dump hash seed 1",
        epoch: TIME,
    };
    let fs = format_ext4(Arc::clone(&io), &options).unwrap();
    (io, fs)
}

/// Each family with a directory, a file, a symlink and an attribute.
#[test]
fn snapshots_of_the_families() {
    for (name, features) in [
        ("trixie", Ext4Features::Trixie),
        ("bookworm", Ext4Features::Bookworm),
        ("buster", Ext4Features::Buster),
        ("hypriot", Ext4Features::Hypriot),
        ("debian", Ext4Features::Debian),
    ] {
        let (io, mut fs) = ext4(features);
        fs.make_dir(b"/etc", &attrs(0o755)).unwrap();
        fs.put_file(
            b"/etc/hostname",
            &Bytes::shared(b"node-1\n"),
            false,
            &attrs(0o644),
        )
        .unwrap();
        fs.symlink(b"/link", b"etc/hostname", &attrs(0o777)).unwrap();
        fs.set_xattr(b"/etc/hostname", b"user.note", Some(b"kept"), TIME)
            .unwrap();
        fs.commit().unwrap();
        snapshot(&format!("ext4-{name}.txt"), &text_of(&io));
    }
}

/// An indexed directory, an extent tree of two levels, blocks of attributes, a long symlink: the lines of these alone.
#[test]
fn snapshot_of_larger_structures() {
    let (io, mut fs) = ext4(Ext4Features::Trixie);
    fs.make_dir(b"/many", &attrs(0o755)).unwrap();
    fs.put_file(b"/many/file", &Bytes::shared(b"x"), false, &attrs(0o600))
        .unwrap();
    for n in 0..110 {
        let name = format!("/many/another name of the same file, number {n:03}");
        fs.hard_link(name.as_bytes(), b"/many/file", TIME).unwrap();
    }
    let mut pieces = vec![0; 20 * 4096];
    pieces.iter_mut().step_by(2 * 4096).for_each(|b| *b = 1);
    fs.put_file(b"/pieces", &Bytes::shared(&pieces), true, &attrs(0o644))
        .unwrap();
    fs.symlink(b"/long", "far/".repeat(30).as_bytes(), &attrs(0o777))
        .unwrap();
    fs.set_xattr(b"/pieces", b"user.long", Some(&[b'v'; 300]), TIME)
        .unwrap();
    fs.set_xattr(b"/pieces", b"user.short", Some(&[0, 1, 2]), TIME)
        .unwrap();
    fs.commit().unwrap();
    let kinds = [
        "directories",
        "extents",
        "xattrs",
        "data",
        "note",
        "orphans",
        "journal",
    ];
    let inside = ["extent[", "extent_idx[", "entry ", "value of"];
    let text: String = text_of(&io)
        .lines()
        .filter(|line| {
            let mut columns = line.split("  ").skip(1);
            let (kind, field) = (columns.next().unwrap_or(""), columns.nth(1).unwrap_or(""));
            line.starts_with("total")
                || kinds.contains(&kind)
                || (kind == "inodes" && inside.iter().any(|start| field.starts_with(start)))
        })
        .map(|line| format!("{line}\n"))
        .collect();
    snapshot("ext4-structures.txt", &text);
}

/// Each width with long names, a directory, and a file that was removed.
#[test]
fn snapshots_of_fat() {
    for (name, kind, len) in [
        ("fat12", FatKind::Fat12, 2 * MIB),
        ("fat16", FatKind::Fat16, 12 * MIB),
        ("fat32", FatKind::Fat32, 40 * MIB),
    ] {
        let io = Memory::zeroes(len);
        let options = FatOptions {
            kind,
            label: "BOOT".to_owned(),
            serial: 0x1234_5678,
            hidden_sectors: 2048,
            sectors_per_cluster: Some(1),
            epoch: TIME,
        };
        let mut fs = format_fat(Arc::clone(&io), &options).unwrap();
        let a = Attrs {
            now: TIME,
            ..Attrs::default()
        };
        fs.make_dir(b"/overlays", &a).unwrap();
        for (path, len) in [
            ("/config.txt", 700),
            ("/gone.txt", 10),
            ("/overlays/a longer name.dtbo", 1024),
        ] {
            fs.put_file(path.as_bytes(), &Bytes::shared(&vec![b'c'; len]), false, &a)
                .unwrap();
        }
        fs.remove(b"/gone.txt", false, TIME).unwrap();
        fs.commit().unwrap();
        snapshot(&format!("{name}.txt"), &text_of(&io));
    }
}

#[test]
fn snapshot_of_a_table() {
    let io = Memory::zeroes(4 * MIB);
    let record = new_record(0x1234_abcd, &[(0x0c, 2048, 2048), (0x83, 4096, 2048)]);
    io.write_at(0, &record).unwrap();
    io.write_at(0x2000, b"between").unwrap();
    snapshot("mbr.txt", &text_of(&io));
}

fn tiny_image(make: tiny::Tiny) -> Option<(tempfile::TempDir, PathBuf)> {
    let dir = tempfile::tempdir().unwrap();
    let image = make.make(&dir.path().join("tiny.img"))?;
    Some((dir, image))
}

/// The table as sfdisk made it, and every byte of the image in the sections.
#[test]
fn every_byte_of_an_image_is_in_a_line() {
    for make in [
        tiny::Tiny::new(),
        tiny::Tiny::new().gpt(),
        tiny::Tiny::new().without_root(),
    ] {
        let gpt = format!("{make:?}").contains("gpt: true");
        let Some((_dir, image)) = tiny_image(make) else {
            return;
        };
        let before = fs::read(&image).unwrap();
        let ran = Test::new().args(["inspect", "--dump"]).args([&image]).run();
        let partitions = judge::partitions(&image);
        let sections = account(&ran.stdout);
        let expected: Vec<u64> = std::iter::once(before.len() as u64)
            .chain(partitions.iter().map(|p| p.len))
            .collect();
        assert_eq!(sections, expected);
        assert!(!ran.stdout.contains("  defect  ") && !ran.stdout.contains("wrong"));
        for p in &partitions {
            let start = p.start / 512;
            assert!(
                ran.stdout.contains(&format!("StartingLBA = {start} (sector)")),
                "{start}"
            );
        }
        if gpt {
            for word in [
                "GPT header  HeaderCRC32",
                "backup GPT header  PartitionEntryArrayCRC32",
            ] {
                let line = ran.stdout.lines().find(|l| l.contains(word)).unwrap();
                assert!(line.ends_with("(right)"), "{line}");
            }
        }
        assert!(before == fs::read(&image).unwrap());
    }
}

/// The boot sector and the free space of the FAT as mtools has them.
#[test]
fn the_fat_is_as_mtools_shows_it() {
    let Some(image) = tiny::shared() else { return };
    if !tools::have(&["minfo", "mdir"]) {
        return;
    }
    let ours = Test::new()
        .args(["inspect", "--dump", "--partition", "1"])
        .args([&image])
        .run()
        .stdout;
    let mut drive = image.into_os_string();
    drive.push(format!("@@{}", tiny::BOOT));
    let ask = |program: &str| {
        let answer = tools::run(tools::command(program).arg("-i").arg(&drive).arg("::"));
        String::from_utf8(answer).unwrap()
    };
    let theirs = ask("minfo");
    for (label, field) in [
        ("sector size: ", "BPB_BytsPerSec"),
        ("cluster size: ", "BPB_SecPerClus"),
        ("reserved (boot) sectors: ", "BPB_RsvdSecCnt"),
        ("fats: ", "BPB_NumFATs"),
        ("max available root directory slots: ", "BPB_RootEntCnt"),
        ("small size: ", "BPB_TotSec16"),
        ("media descriptor byte: ", "BPB_Media"),
        ("sectors per fat: ", "BPB_FATSz16"),
        ("sectors per track: ", "BPB_SecPerTrk"),
        ("heads: ", "BPB_NumHeads"),
        ("hidden sectors: ", "BPB_HiddSec"),
        ("physical drive id: ", "BS_DrvNum"),
    ] {
        let found = theirs.lines().find_map(|l| l.strip_prefix(label)).unwrap();
        let value = found.split(' ').next().unwrap();
        let line = ours
            .lines()
            .find(|l| l.contains(&format!("  {field} = ")))
            .unwrap();
        let shown = line.split(" = ").nth(1).unwrap().split(' ').next().unwrap();
        assert_eq!(shown, value, "{field}");
    }
    let text = ask("mdir");
    let free = text.lines().find(|l| l.ends_with("bytes free")).unwrap();
    let free: String = free.chars().filter(char::is_ascii_digit).collect();
    assert!(ours.contains(&format!("total  free = {free}\n")), "{free}");
    for name in ["cmdline.txt", "config.txt"] {
        assert!(ours.contains(&format!("slot {name:?} = ")), "{name}");
    }
}

#[test]
fn one_partition_and_json() {
    let Some(image) = tiny::shared() else { return };
    let run = |args: &[&str]| {
        Test::new()
            .args(["inspect", "--dump"])
            .args(args)
            .args([&image])
            .run()
    };
    let all = run(&[]).stdout;
    let second = run(&["--partition", "2"]).stdout;
    assert!(second.starts_with("# partition 2: ext4, ") && all.ends_with(&second));
    let found = objects(&run(&["--partition", "2", "--json"]));
    assert_eq!(found.len(), second.lines().count());
    let line = found.iter().find(|o| o["field"] == "s_magic").unwrap();
    assert_eq!(line["start"], 1024 + 0x38);
    assert_eq!((&line["partition"], &line["event"]), (&2.into(), &"bytes".into()));
    assert_eq!(
        (&line["kind"], &line["value"]),
        (&"superblocks".into(), &"0xef53".into())
    );
    let total = found.last().unwrap();
    assert_eq!(
        (&total["event"], &total["kind"]),
        (&"total".into(), &"all".into())
    );
    assert_eq!(total["bytes"], judge::partitions(&image)[1].len);

    let no_such = Test::new()
        .args(["inspect", "--dump", "--partition", "3"])
        .args([&image]);
    no_such
        .status(1)
        .stderr_has("there is no partition 3; the image has: 1, 2")
        .run();
    for args in [
        &["--partition", "1"][..],
        &["--dump", "--partition", "one"],
        &["--dump", "--partition"],
    ] {
        Test::new()
            .args(["inspect"])
            .args([&image])
            .args(args)
            .status(2)
            .run();
    }
    let help = Test::new().args(["inspect", "--help"]).run().stdout;
    assert!(
        help.contains("--dump") && help.contains("--partition <N>"),
        "{help}"
    );
}

/// A damaged image cannot be opened for anything else, but dumped.
#[test]
fn damaged_images_are_dumped() {
    let Some((dir, image)) = tiny_image(tiny::Tiny::new()) else {
        return;
    };
    let bytes = fs::read(&image).unwrap();
    let file = File::options().write(true).open(&image).unwrap();
    let damages: [(&str, u64, &[u8]); 5] = [
        ("the magic of the superblock", tiny::ROOT + 1024 + 0x38, &[0, 0]),
        ("the group descriptors", tiny::ROOT + 4096, &[0xFF; 32]),
        ("the boot sector", tiny::BOOT + 11, &[7, 7]),
        ("the first FAT", tiny::BOOT + 512 * 4 + 4, &[9; 64]),
        ("a start in the table", 446 + 16 + 8, &[0xFF; 4]),
    ];
    for (what, at, damage) in damages {
        file.write_all_at(damage, at).unwrap();
        let ran = Test::new().args(["inspect", "--dump"]).args([&image]).run();
        account(&ran.stdout);
        let told = ran.stdout.contains("  defect  ") || ran.stdout.contains("unknown");
        assert!(told, "{what}: nothing is told");
        file.write_all_at(&bytes[at as usize..at as usize + damage.len()], at)
            .unwrap();
    }
    let text = dir.path().join("text");
    fs::write(&text, "no image at all").unwrap();
    let ran = Test::new().args(["inspect", "--dump"]).args([&text]).run();
    assert_eq!(account(&ran.stdout), [15]);
}

/// Lines that are counted, not kept.
#[derive(Default)]
struct Count {
    at: u64,
    all: Vec<u64>,
}

impl Sink for Count {
    fn section(&mut self, _: &Section) -> io::Result<()> {
        self.at = 0;
        Ok(())
    }

    fn line(&mut self, line: &Line<'_>) -> io::Result<()> {
        if line.kind != "note" && line.kind != "defect" {
            assert_eq!(line.range.start, self.at, "{line:?}");
            self.at = line.range.end;
        }
        Ok(())
    }

    fn total(&mut self, kind: &str, bytes: u64) -> io::Result<()> {
        assert!(kind != "unaccounted" || bytes == 0);
        if kind == "all" {
            assert_eq!(bytes, self.at);
            self.all.push(bytes);
        }
        Ok(())
    }
}

/// Random bytes in the table and in the FAT: the dump ends, and all sections add up.
#[test]
fn flipped_bytes_of_table_and_fat_add_up() {
    for gpt in [false, true] {
        let make = if gpt {
            tiny::Tiny::new().gpt()
        } else {
            tiny::Tiny::new()
        };
        let Some((_dir, image)) = tiny_image(make) else {
            return;
        };
        let good = fs::read(&image).unwrap();
        let places: Vec<usize> = (tiny::BOOT..tiny::ROOT)
            .map(|at| at as usize)
            .filter(|at| good[*at] != 0)
            .collect();
        let device = Arc::new(Memory(Mutex::new(good.clone())));
        for seed in 1..=80u64 {
            let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
            let mut random = |below: usize| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                (state % below as u64) as usize
            };
            let mut changed = Vec::new();
            for _ in 0..1 + random(6) {
                let at = match random(3) {
                    0 => 440 + random(72),
                    1 => 512 + random(512),
                    _ => places[random(places.len())],
                };
                changed.push(at);
                device.0.lock().unwrap()[at] = random(256) as u8;
            }
            let io: Arc<dyn BlockIo> = device.clone();
            let mut count = Count::default();
            let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| dump(&io, None, &mut count)));
            assert!(matches!(done, Ok(Ok(()))), "seed {seed}, gpt {gpt}: {done:?}");
            assert_eq!(count.all[0], good.len() as u64, "seed {seed}");
            for at in changed {
                device.0.lock().unwrap()[at] = good[at];
            }
        }
    }
}
