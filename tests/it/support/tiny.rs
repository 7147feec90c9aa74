//! A small image made on the spot, for what the bases of the families do not have: odd features, tight tables.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use ceil_img::values::Digest;

use super::tools;

const MIB: u64 = 1 << 20;
/// First byte of the boot partition.
pub const BOOT: u64 = MIB;
/// First byte of the root partition.
pub const ROOT: u64 = 9 * MIB;

/// An image of an 8 MiB FAT16 and an ext4 behind it, described and then made.
#[derive(Debug, Clone)]
pub struct Tiny {
    root_mib: u64,
    options: Vec<String>,
    behind: bool,
    gpt: bool,
    no_root: bool,
}

impl Tiny {
    /// With 24 MiB of ext4 as Raspberry Pi OS bookworm makes it.
    pub fn new() -> Self {
        Self {
            root_mib: 24,
            options: Vec::new(),
            behind: false,
            gpt: false,
            no_root: false,
        }
    }

    /// Options of mke2fs.
    pub fn mke2fs(mut self, options: &[&str]) -> Self {
        self.options.extend(options.iter().map(|o| (*o).to_owned()));
        self
    }

    /// A third partition behind the root, which then cannot grow.
    pub fn with_one_behind(mut self) -> Self {
        self.behind = true;
        self
    }

    /// A GPT instead of an MBR.
    pub fn gpt(mut self) -> Self {
        self.gpt = true;
        self
    }

    /// Nothing on the second partition.
    pub fn without_root(mut self) -> Self {
        self.no_root = true;
        self
    }

    /// Makes it; `None` (after a visible word) when a tool is missing.
    pub fn make(&self, image: &Path) -> Option<PathBuf> {
        if !tools::have(&["sfdisk", "mkfs.vfat", "mke2fs", "mcopy"]) {
            return None;
        }
        let len = ROOT + self.root_mib * MIB + 4 * MIB;
        File::create(image).unwrap().set_len(len).unwrap();
        self.partition(image);
        tools::run(
            tools::command("mkfs.vfat")
                .args([
                    "--invariant",
                    "-F",
                    "16",
                    "-s",
                    "1",
                    "-n",
                    "TINY",
                    "-i",
                    "12345678",
                ])
                .arg(format!("--offset={}", BOOT / 512))
                .arg(image)
                .arg("8192"),
        );
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in [
            ("cmdline.txt", "console=tty1 root=/dev/mmcblk0p2 rootwait quiet\n"),
            ("config.txt", "[pi4]\narm_boost=1\n\n[all]\n"),
        ] {
            let file = dir.path().join(name);
            fs::write(&file, text).unwrap();
            let mut drive = image.as_os_str().to_owned();
            drive.push(format!("@@{BOOT}"));
            tools::run(tools::command("mcopy").arg("-i").arg(drive).arg(&file).arg("::"));
        }
        if !self.no_root {
            self.root(image, &dir.path().join("tree"));
        }
        Some(image.to_owned())
    }

    fn partition(&self, image: &Path) {
        let root = self.root_mib * 2048;
        let (label, boot, linux) = if self.gpt {
            (
                "label: gpt\nlabel-id: 2D6F0C3E-51A8-4C7B-9E0D-7A1B2C3D4E5F",
                "C12A7328-F81F-11D2-BA4B-00A0C93EC93B",
                "0FC63DAF-8483-4772-8E79-3D69D8477DE4",
            )
        } else {
            ("label: dos\nlabel-id: 0x1234abcd", "c", "83")
        };
        let mut script = format!(
            "{label}\nunit: sectors\nstart=2048, size=16384, type={boot}\nstart=18432, size={root}, type={linux}\n"
        );
        if self.behind {
            script += &format!("start={}, size=2048, type={linux}\n", 18432 + root);
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), script).unwrap();
        tools::run(
            tools::command("sfdisk")
                .args(["-q", "--no-tell-kernel"])
                .arg(image)
                .stdin(File::open(file.path()).unwrap()),
        );
    }

    fn root(&self, image: &Path, tree: &Path) {
        for dir in ["etc", "boot", "opt", "var/lib"] {
            fs::create_dir_all(tree.join(dir)).unwrap();
        }
        let fstab = "/dev/mmcblk0p1 /boot vfat defaults 0 2\n/dev/mmcblk0p2 / ext4 defaults,noatime 0 1\n";
        for (path, content) in [
            ("etc/os-release", b"PRETTY_NAME=\"Tiny 1\"\nID=debian\n".to_vec()),
            ("etc/fstab", fstab.as_bytes().to_vec()),
            ("etc/hostname", b"tiny\n".to_vec()),
            ("etc/hosts", b"127.0.0.1\tlocalhost\n127.0.1.1\ttiny\n".to_vec()),
            ("opt/noise", noise(3 << 20)),
        ] {
            fs::write(tree.join(path), content).unwrap();
        }
        std::os::unix::fs::symlink("loop-b", tree.join("opt/loop-a")).unwrap();
        std::os::unix::fs::symlink("loop-a", tree.join("opt/loop-b")).unwrap();
        std::os::unix::fs::symlink("/../../../etc", tree.join("opt/up")).unwrap();
        tools::run(
            tools::command("mke2fs")
                .args([
                    "-q", "-F", "-t", "ext4", "-b", "4096", "-I", "256", "-L", "rootfs",
                ])
                .args(["-U", "5f1b2a30-6d3c-4c0e-9a41-1d5b6c7e8f01"])
                .args(["-E", &format!("offset={ROOT},root_owner=0:0"), "-d"])
                .arg(tree)
                .args(&self.options)
                .arg(image)
                .arg(format!("{}M", self.root_mib))
                .env("E2FSPROGS_FAKE_TIME", "1749988800"),
        );
    }
}

/// Bytes that no packer makes smaller, the same every time.
pub fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        })
        .collect()
}

/// The plain one, made once per target folder and only read; `None` (after a visible word) when a tool is missing.
pub fn shared() -> Option<PathBuf> {
    static IMAGE: OnceLock<Option<PathBuf>> = OnceLock::new();
    let make = || {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("tiny");
        fs::create_dir_all(&dir).unwrap();
        let lock = File::create(dir.join("lock")).unwrap();
        lock.lock().unwrap();
        // Another recipe makes another file.
        let recipe = Digest::sha256(include_bytes!("tiny.rs")).hex();
        let image = dir.join(format!("{}.img", &recipe[..12]));
        if !image.exists() {
            let new = Tiny::new().make(&dir.join("new.img"))?;
            fs::rename(new, &image).unwrap();
        }
        Some(image)
    };
    IMAGE.get_or_init(make).clone()
}
