//! Images, outsiders, and a model of what a volume should hold.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use ceil_img::disk::{BlockIo, Bytes};
use ceil_img::fs::fat::Fat;
use ceil_img::fs::{Attrs, Time, Volume};

/// 2025-11-20 20:14:40 UTC.
pub const EPOCH: i64 = 1_763_669_680;

/// An image file as a device.
#[derive(Debug)]
pub struct FileDevice(pub File);

impl FileDevice {
    pub fn open(path: &Path) -> Arc<Self> {
        let file = File::options().read(true).write(true).open(path).expect("image");
        Arc::new(Self(file))
    }
}

impl BlockIo for FileDevice {
    fn len(&self) -> u64 {
        self.0.metadata().expect("length").len()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(buf, offset)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write_all_at(data, offset)
    }
}

/// A kind of base image.
#[derive(Debug, Clone, Copy)]
pub struct Base {
    pub name: &'static str,
    pub mib: u64,
    pub mkfs: &'static [&'static str],
}

pub const BASES: [Base; 5] = [
    Base {
        name: "fat12",
        mib: 8,
        mkfs: &["-F", "12", "-n", "TINY"],
    },
    Base {
        name: "hypriot",
        mib: 64,
        mkfs: &["-F", "16", "-n", "HypriotOS"],
    },
    Base {
        name: "pigen-master",
        mib: 260,
        mkfs: &["-F", "32", "-s", "1", "-n", "bootfs"],
    },
    Base {
        name: "pigen-bookworm",
        mib: 512,
        mkfs: &["-F", "32", "-s", "4", "-n", "bootfs"],
    },
    Base {
        name: "ubuntu",
        mib: 256,
        mkfs: &["-F", "32", "-n", "system-boot"],
    },
];

pub fn run(program: &str, args: &[&str]) -> Output {
    Command::new(program)
        .args(args)
        .env("TZ", "UTC")
        .env("LC_ALL", "C.UTF-8")
        .env("MTOOLS_SKIP_CHECK", "1")
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}"))
}

/// Runs a program that must succeed.
pub fn ok(program: &str, args: &[&str]) -> String {
    let out = run(program, args);
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(
        out.status.success(),
        "{program} {args:?}: {text}{}",
        String::from_utf8_lossy(&out.stderr)
    );
    text
}

pub fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// An image of zeroes.
pub fn blank(dir: &Path, name: &str, len: u64) -> PathBuf {
    let path = dir.join(name);
    let file = File::create(&path).expect("image");
    file.set_len(len).expect("sparse");
    path
}

/// Makes a base by mkfs.vfat, and fills it through mtools with `overlays` long-named files when not zero.
pub fn make_base(dir: &Path, base: Base, overlays: usize) -> PathBuf {
    let image = blank(dir, &format!("{}.img", base.name), base.mib << 20);
    let mut args = vec!["-i", "CE11ABCD"];
    args.extend(base.mkfs);
    args.push(text(&image));
    ok("mkfs.vfat", &args);
    if overlays > 0 {
        let tree = dir.join("base-tree");
        if !tree.exists() {
            make_base_tree(&tree, overlays);
        }
        let mut args = vec!["-i", text(&image), "-s", "-m", "-Q"];
        let sources: Vec<PathBuf> = sorted(&tree);
        args.extend(sources.iter().map(|p| text(p)));
        args.push("::/");
        ok("mcopy", &args);
    }
    image
}

fn sorted(dir: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = fs::read_dir(dir)
        .expect("directory")
        .map(|entry| entry.expect("entry").path())
        .collect();
    paths.sort();
    paths
}

fn make_base_tree(tree: &Path, overlays: usize) {
    let write = |path: PathBuf, data: &[u8], at: u64| {
        fs::write(&path, data).expect("file");
        let file = File::options().write(true).open(&path).expect("file");
        file.set_modified(UNIX_EPOCH + std::time::Duration::from_secs(at))
            .expect("time");
    };
    fs::create_dir_all(tree.join("overlays")).expect("directory");
    for n in 0..overlays {
        let name = format!("overlays/some-longer-overlay-name-{n:03}.dtbo");
        write(
            tree.join(name),
            &noise(n as u64, 300 + n * 17),
            1_600_000_000 + 2 * n as u64,
        );
    }
    for (name, len) in [
        ("config.txt", 1_500),
        ("cmdline.txt", 150),
        ("KERNEL8.IMG", 1_000_000),
        ("start4.elf", 200_000),
        ("Mixed Case Name.txt", 10),
        ("größe-1.dtb-datei", 33),
        ("empty", 0),
    ] {
        write(tree.join(name), &noise(len as u64, len), 1_500_000_000);
    }
}

/// Bytes without a pattern that a wrong offset would hide.
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut rng = Rng(seed.wrapping_mul(0x9E37_79B9) | 1);
    (0..len).map(|_| rng.next() as u8).collect()
}

/// xorshift64: the same numbers everywhere.
#[derive(Debug)]
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 11
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }
}

/// What a volume holds: paths without a leading slash; `None` is a directory, a file has content and time.
pub type Tree = BTreeMap<String, Option<(Vec<u8>, i64)>>;

/// The tree as mtools extracts it.
pub fn extract(image: &Path) -> Tree {
    let dir = tempfile::tempdir().expect("directory");
    ok(
        "mcopy",
        &["-i", text(image), "-s", "-m", "-n", "-Q", "::/", text(dir.path())],
    );
    let mut tree = Tree::new();
    let mut pending = vec![dir.path().to_path_buf()];
    while let Some(at) = pending.pop() {
        for path in sorted(&at) {
            let name = text(path.strip_prefix(dir.path()).expect("below")).to_owned();
            let meta = fs::metadata(&path).expect("metadata");
            if meta.is_dir() {
                pending.push(path);
                tree.insert(name, None);
            } else {
                let mtime = meta.modified().expect("time");
                let secs = mtime.duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
                tree.insert(name, Some((fs::read(&path).expect("file"), secs as i64)));
            }
        }
    }
    tree
}

/// The tree as our reader sees it.
pub fn read_back(fat: &Fat) -> Tree {
    let mut tree = Tree::new();
    let mut pending = vec![String::new()];
    while let Some(at) = pending.pop() {
        let path = if at.is_empty() { "/" } else { &at };
        for entry in fat.read_dir(path.as_bytes()).expect("directory") {
            let child = format!("{at}/{}", String::from_utf8(entry.name).expect("UTF-8"));
            let key = child[1..].to_owned();
            if entry.stat.kind == ceil_img::fs::NodeKind::Dir {
                pending.push(child);
                tree.insert(key, None);
            } else {
                let source = fat.open(child.as_bytes()).expect("file");
                let mut data = vec![0; source.len() as usize];
                source.read_at(0, &mut data).expect("content");
                tree.insert(key, Some((data, entry.stat.mtime.secs)));
            }
        }
    }
    tree
}

/// Asserts that two trees are equal, naming the first difference only: contents are long.
pub fn assert_same(left: &Tree, right: &Tree, what: &str) {
    let lacking = |one: &Tree, other: &Tree| {
        let names = one.keys().filter(|name| !other.contains_key(*name));
        names.cloned().collect::<Vec<_>>()
    };
    let (only_left, only_right) = (lacking(left, right), lacking(right, left));
    assert!(
        only_left.is_empty() && only_right.is_empty(),
        "{what}: only left {only_left:?}, only right {only_right:?}"
    );
    for (name, value) in left {
        match (value, &right[name]) {
            (None, None) => {}
            (Some((a, at)), Some((b, bt))) => {
                assert!(
                    a == b,
                    "{what}: content of {name}: {} and {} bytes",
                    a.len(),
                    b.len()
                );
                assert_eq!(at, bt, "{what}: time of {name}");
            }
            _ => panic!("{what}: kind of {name}"),
        }
    }
}

/// fsck.vfat finds nothing, all FAT copies are equal, and our own check agrees.
pub fn assert_clean(image: &Path, what: &str) {
    let out = run("fsck.vfat", &["-n", text(image)]);
    let report = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(out.status.success(), "{what}: {report}");
    assert!(!report.contains("rong"), "{what}: {report}");
    let mut boot = [0u8; 512];
    let file = File::open(image).expect("image");
    file.read_exact_at(&mut boot, 0).expect("boot sector");
    let (one, two) = fat_copies(&file, &boot);
    assert!(one == two, "{what}: FAT copies differ");
    let fat = Fat::open(FileDevice::open(image)).expect("opens");
    assert_eq!(fat.check().expect("check"), [], "{what}");
}

fn fat_copies(file: &File, boot: &[u8; 512]) -> (Vec<u8>, Vec<u8>) {
    let u16_at = |at: usize| u64::from(boot[at]) | u64::from(boot[at + 1]) << 8;
    let sectors = match u16_at(22) {
        0 => u16_at(36) | u16_at(38) << 16,
        size => size,
    };
    let len = (sectors * u16_at(11)) as usize;
    let start = u16_at(14) * u16_at(11);
    let mut copies = (vec![0; len], vec![0; len]);
    file.read_exact_at(&mut copies.0, start).expect("first FAT");
    file.read_exact_at(&mut copies.1, start + len as u64)
        .expect("second FAT");
    copies
}

pub fn open(image: &Path) -> Fat {
    Fat::open(FileDevice::open(image)).expect("opens")
}

pub fn attrs(mtime: i64) -> Attrs {
    Attrs {
        mtime: Some(Time {
            secs: mtime,
            nanos: 0,
        }),
        ..now()
    }
}

pub fn now() -> Attrs {
    Attrs {
        mode: Some(0o644),
        owner: Some((0, 0)),
        mtime: None,
        now: Time {
            secs: EPOCH,
            nanos: 0,
        },
    }
}

pub fn put(fat: &mut Fat, path: &str, data: &[u8]) -> ceil_img::fs::FsResult<()> {
    fat.put_file(path.as_bytes(), &Bytes::shared(data), false, &attrs(EPOCH - 100))
}
