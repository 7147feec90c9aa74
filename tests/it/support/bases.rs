//! The base images of `fixtures/make-bases.sh`, made once per target folder.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::judge::{self, Partition};
use super::tools;

/// Every family of base images, as `fixtures/README.md` describes them.
pub const FAMILIES: [&str; 8] = [
    "hypriot",
    "rpi64",
    "raspios-buster",
    "raspios-bullseye",
    "raspios-bookworm",
    "raspios-trixie",
    "ubuntu-raspi",
    "debian-gpt",
];

/// A small base image. The file is shared by all tests: copy it before writing.
#[derive(Debug, Clone)]
pub struct Base {
    /// One of [`FAMILIES`].
    pub family: &'static str,
    /// The raw image.
    pub path: PathBuf,
    /// The firmware's FAT partition.
    pub boot: Partition,
    /// The ext4 partition.
    pub root: Partition,
}

impl Base {
    /// A copy to write to, holes kept.
    pub fn copy_to(&self, path: &Path) {
        sparse_copy(&self.path, path);
    }
}

/// The base of a family; `None` (after a visible word) when a tool to make it is missing.
pub fn base(family: &str) -> Option<Base> {
    static FOLDER: OnceLock<Option<PathBuf>> = OnceLock::new();
    open(family, FOLDER.get_or_init(|| make("bases", "0")).as_deref()?)
}

/// The same base, filled through the kernel onto a worn file system; differs from one target folder to the next.
/// `None` (after a visible word) without the right to mount.
pub fn worn(family: &str) -> Option<Base> {
    static FOLDER: OnceLock<Option<PathBuf>> = OnceLock::new();
    if !tools::is_root() {
        tools::say("a base filled by the kernel needs the right to mount");
        return None;
    }
    open(family, FOLDER.get_or_init(|| make("worn-bases", "1")).as_deref()?)
}

fn open(family: &str, folder: &Path) -> Option<Base> {
    let family = FAMILIES.iter().find(|f| **f == family).expect("a known family");
    let path = folder.join(format!("{family}.img"));
    let partitions = judge::partitions(&path);
    let find = |boot: bool| {
        partitions
            .iter()
            .find(|p| p.is_boot() == boot)
            .unwrap_or_else(|| panic!("{family} lacks a partition"))
            .clone()
    };
    Some(Base {
        family,
        boot: find(true),
        root: find(false),
        path,
    })
}

/// All bases; none when a tool is missing.
pub fn all() -> Vec<Base> {
    FAMILIES.iter().map_while(|f| base(f)).collect()
}

/// Makes all bases in a folder of the target folder, where they are not there yet. Test processes wait for each other.
fn make(name: &str, kernel: &str) -> Option<PathBuf> {
    if !tools::have(&[
        "bash",
        "mke2fs",
        "debugfs",
        "e2fsck",
        "mkfs.vfat",
        "mcopy",
        "sfdisk",
        "sgdisk",
    ]) {
        return None;
    }
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(&dir).unwrap();
    let lock = File::create(dir.join("lock")).unwrap();
    lock.lock().unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/make-bases.sh");
    tools::run(
        tools::command("bash")
            .arg(script)
            .arg(&dir)
            .env("FIXTURES_KERNEL", kernel),
    );
    Some(dir)
}

/// Copies a file; blocks of zeroes become holes.
pub fn sparse_copy(from: &Path, to: &Path) {
    let mut source = File::open(from).unwrap();
    let length = source.metadata().unwrap().len();
    sparse_extract(&mut source, 0, length, to);
}

/// Copies `length` bytes from `start` of an image to a file of its own; blocks of zeroes become holes.
pub fn sparse_extract(source: &mut File, start: u64, length: u64, to: &Path) {
    const STEP: usize = 1 << 16;
    let zeroes = [0u8; STEP];
    let mut block = vec![0u8; STEP];
    let mut target = File::create(to).unwrap();
    target.set_len(length).unwrap();
    source.seek(SeekFrom::Start(start)).unwrap();
    let mut done = 0;
    while done < length {
        let step = usize::try_from((length - done).min(STEP as u64)).unwrap();
        source.read_exact(&mut block[..step]).unwrap();
        if block[..step] != zeroes[..step] {
            target.seek(SeekFrom::Start(done)).unwrap();
            target.write_all(&block[..step]).unwrap();
        }
        done += step as u64;
    }
}

/// One test for each family, which calls the function with the family's name.
macro_rules! each_family {
    ($call:path) => {
        each_family! { $call:
            hypriot "hypriot",
            rpi64 "rpi64",
            raspios_buster "raspios-buster",
            raspios_bullseye "raspios-bullseye",
            raspios_bookworm "raspios-bookworm",
            raspios_trixie "raspios-trixie",
            ubuntu_raspi "ubuntu-raspi",
            debian_gpt "debian-gpt",
        }
    };
    ($call:path: $($test:ident $name:literal),* $(,)?) => {
        $(#[test]
        fn $test() {
            $call($name);
        })*
    };
}
pub(crate) use each_family;
