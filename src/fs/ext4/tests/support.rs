//! Bases made by `mke2fs`, a model of what should be in them, and the outsiders that judge.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use super::super::Ext4;
use crate::disk::{BlockIo, Bytes, Source};
use crate::fs::{Attrs, Time, Volume};

/// A file as device.
pub(super) struct Disk(pub(super) File);

impl Disk {
    pub(super) fn open(path: &Path) -> Arc<dyn BlockIo> {
        let file = File::options().read(true).write(true).open(path).unwrap();
        Arc::new(Self(file))
    }
}

impl BlockIo for Disk {
    fn len(&self) -> u64 {
        self.0.metadata().unwrap().len()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(buf, offset)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        assert!(offset + data.len() as u64 <= self.len());
        self.0.write_all_at(data, offset)
    }
}

/// Options of `mke2fs` beyond `-t ext4`, named after the images that have them.
pub(super) const LAYOUTS: [(&str, &[&str]); 12] = [
    ("bookworm", &["-O", "^64bit,^huge_file"]),
    (
        "trixie",
        &["-O", "^64bit,^huge_file,metadata_csum_seed,orphan_file"],
    ),
    ("buster", &["-O", "^huge_file,^metadata_csum,^64bit"]),
    (
        "hypriot",
        &["-i", "4096", "-O", "uninit_bg,^metadata_csum,^64bit"],
    ),
    ("debian", &[]),
    ("debian13", &["-O", "metadata_csum_seed,orphan_file"]),
    ("block1k", &["-b", "1024"]),
    ("block2k", &["-b", "2048", "-O", "^flex_bg"]),
    (
        "inode128",
        &["-I", "128", "-O", "^64bit,^metadata_csum,uninit_bg"],
    ),
    ("inode128csum", &["-I", "128", "-b", "1024"]),
    ("noresize", &["-O", "^resize_inode,^sparse_super"]),
    ("noindex", &["-O", "^dir_index,^has_journal"]),
];

pub(super) struct Base {
    pub(super) dir: tempfile::TempDir,
    pub(super) image: PathBuf,
    /// Inodes have no nanoseconds and no times after 2038.
    pub(super) short_times: bool,
}

pub(super) fn run(program: &str, args: &[&str]) -> Option<(i32, String)> {
    let out = Command::new(program)
        .args(args)
        .env("LC_ALL", "C")
        .env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin")
        .output();
    match out {
        Ok(out) => {
            let mut text = String::from_utf8_lossy(&out.stdout).into_owned();
            text += &String::from_utf8_lossy(&out.stderr);
            Some((out.status.code().unwrap_or(-1), text))
        }
        Err(e) => {
            eprintln!("SKIPPED: {program}: {e}");
            None
        }
    }
}

/// A fresh file system of `mib` MiB; `None` where `mke2fs` is missing.
pub(super) fn make(layout: &str, mib: u64, more: &[&str]) -> Option<Base> {
    let options = LAYOUTS.iter().find(|l| l.0 == layout).unwrap().1;
    let mut args = vec!["-L", "root"];
    // Without this, mke2fs takes 1024 bytes for a device as small as those of the tests.
    if !options.contains(&"-b") && !more.contains(&"-b") {
        args.extend(["-b", "4096", "-i", "16384"]);
    }
    args.extend(options);
    args.extend(more);
    make_with(mib << 20, &args)?
        .map_err(|text| format!("{layout}: {text}"))
        .unwrap()
        .into()
}

/// A fresh file system on `len` bytes with these options, or what `mke2fs` has against them; `None` where it is
/// missing.
pub(super) fn make_with(len: u64, options: &[&str]) -> Option<Result<Base, String>> {
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("image");
    File::create(&image).unwrap().set_len(len).unwrap();
    let mut args = vec!["-q", "-F", "-t", "ext4"];
    args.extend(options);
    args.push(image.to_str().unwrap());
    let (code, text) = run("mke2fs", &args)?;
    if code != 0 {
        return Some(Err(text));
    }
    Some(Ok(Base {
        dir,
        image,
        short_times: options.contains(&"128"),
    }))
}

impl Base {
    pub(super) fn open(&self) -> Ext4 {
        Ext4::open(Disk::open(&self.image)).unwrap()
    }

    pub(super) fn path(&self) -> &str {
        self.image.to_str().unwrap()
    }

    /// Length of the image in bytes.
    pub(super) fn len(&self) -> u64 {
        fs::metadata(&self.image).unwrap().len()
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        fs::read(&self.image).unwrap()
    }

    /// `e2fsck -fn` must end with 0 and have nothing to say.
    pub(super) fn fsck(&self, what: &str) {
        fsck(&self.image, what);
    }

    /// Mounts the image and gives its root to `look`; `false` without the right to.
    pub(super) fn mounted(&self, options: &str, look: impl FnOnce(&Path)) -> bool {
        let at = self.dir.path().join("mnt");
        fs::create_dir_all(&at).unwrap();
        let at_text = at.to_str().unwrap().to_owned();
        let options = format!("loop,{options}");
        let Some((code, text)) = run("mount", &["-t", "ext4", "-o", &options, self.path(), &at_text]) else {
            return false;
        };
        if code != 0 {
            assert!(
                text.contains("permitted") || text.contains("superuser") || text.contains("loop device"),
                "the kernel refuses to mount: {text}"
            );
            eprintln!("SKIPPED: mount: {text}");
            return false;
        }
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| look(&at)));
        // A program that another thread is just starting may hold our files for a moment.
        let unmounted = (0..100).any(|_| {
            let done = run("umount", &[&at_text]).is_some_and(|(code, _)| code == 0);
            if !done {
                std::thread::sleep(std::time::Duration::from_millis(50));
            }
            done
        });
        assert!(unmounted, "{at_text} cannot be unmounted");
        self.let_go();
        if let Err(panic) = result {
            std::panic::resume_unwind(panic);
        }
        true
    }

    /// Waits until the kernel has written everything. A mount namespace made in the meantime by another program
    /// holds a copy of the mount, and the file system lives on in it after our `umount`.
    fn let_go(&self) {
        let free = (0..1200).any(|_| {
            let free = run("losetup", &["-j", self.path()]).is_none_or(|(_, text)| text.trim().is_empty());
            if !free {
                std::thread::sleep(std::time::Duration::from_millis(50));
            }
            free
        });
        assert!(free, "{} is still mounted in another namespace", self.path());
    }

    /// What the kernel sees, `None` without the right to mount.
    pub(super) fn kernel_view(&self) -> Option<BTreeMap<Vec<u8>, Seen>> {
        let mut view = None;
        self.mounted("ro", |root| view = Some(walk(root)));
        view
    }
}

/// A number of the environment: `CEIL_EXT4_SEEDS`, how many random cases a test takes instead of a few, or
/// `CEIL_EXT4_FIRST`, the one to begin with.
pub(super) fn number_of(variable: &str, default: u64) -> u64 {
    let asked = std::env::var(variable).ok();
    asked.and_then(|n| n.parse().ok()).unwrap_or(default)
}

/// As [`number_of`] `CEIL_EXT4_SEEDS`.
pub(super) fn seeds(default: u64) -> u64 {
    number_of("CEIL_EXT4_SEEDS", default)
}

/// A small base with directories, a file in many pieces and a block of attributes: its bytes, and the places where
/// anything is. `None` where `mke2fs` is missing.
pub(super) fn to_be_damaged(layout: &str) -> Option<(Vec<u8>, Vec<usize>)> {
    let base = make(layout, 8, &["-b", "1024", "-N", "256"])?;
    let mut fs = base.open();
    let a = attrs(0o644, 3);
    for d in 0..3 {
        fs.make_dir(format!("/d{d}").as_bytes(), &a).unwrap();
        for f in 0..60 {
            fs.put_file(format!("/d{d}/name{f}").as_bytes(), &source(&[1; 100]), false, &a)
                .unwrap();
        }
    }
    let mut gaps = vec![0; 90_000];
    gaps.iter_mut().step_by(3000).for_each(|b| *b = 1);
    fs.put_file(b"/gaps", &source(&gaps), true, &a).unwrap();
    fs.set_xattr(b"/d1", b"user.x", Some(&[1; 600]), a.now).unwrap();
    fs.commit().unwrap();
    let good = base.bytes();
    let places = (0..good.len()).filter(|i| good[*i] != 0).collect();
    Some((good, places))
}

/// The e2fsck of this system, and those that `CEIL_E2FSCK` names (paths with colons between).
pub(super) fn fscks() -> Vec<String> {
    let more = std::env::var("CEIL_E2FSCK").unwrap_or_default();
    let more = more.split(':').filter(|path| !path.is_empty()).map(str::to_owned);
    std::iter::once("e2fsck".to_owned()).chain(more).collect()
}

pub(super) fn fsck(image: &Path, what: &str) {
    for program in fscks() {
        let Some((code, text)) = run(&program, &["-fn", image.to_str().unwrap()]) else {
            return;
        };
        let silent = text.lines().all(|l| {
            l.is_empty() || l.starts_with("e2fsck 1.") || l.starts_with("Pass ") || l.contains(" files (")
        });
        assert!(
            code == 0 && silent,
            "{what}: {program} -fn ends with {code}:\n{text}"
        );
    }
}

/// A node as an outsider sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) kind: char,
    pub(super) mode: u32,
    pub(super) owner: (u32, u32),
    pub(super) mtime: Time,
    pub(super) links: u64,
    pub(super) content: Vec<u8>,
    pub(super) xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

fn walk(root: &Path) -> BTreeMap<Vec<u8>, Seen> {
    let mut all = BTreeMap::new();
    let mut pending = vec![root.to_path_buf()];
    while let Some(path) = pending.pop() {
        let meta = fs::symlink_metadata(&path).unwrap();
        let kind = meta.file_type();
        let (kind, content) = if kind.is_dir() {
            for entry in fs::read_dir(&path).unwrap() {
                pending.push(entry.unwrap().path());
            }
            ('d', Vec::new())
        } else if kind.is_symlink() {
            ('l', fs::read_link(&path).unwrap().into_os_string().into_vec())
        } else if kind.is_fifo() {
            ('p', Vec::new())
        } else if kind.is_char_device() || kind.is_block_device() || kind.is_socket() {
            ('x', Vec::new())
        } else {
            ('f', fs::read(&path).unwrap())
        };
        let name = path.strip_prefix(root).unwrap().as_os_str().as_bytes();
        let name = [b"/", name].concat();
        let seen = Seen {
            kind,
            mode: meta.mode() & 0o7777,
            owner: (meta.uid(), meta.gid()),
            mtime: Time {
                secs: meta.mtime(),
                nanos: meta.mtime_nsec() as u32,
            },
            links: meta.nlink(),
            content,
            xattrs: xattrs(&path),
        };
        all.insert(name, seen);
    }
    all
}

fn xattrs(path: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut names = vec![0u8; 65536];
    let Ok(len) = rustix::fs::llistxattr(path, &mut names[..]) else {
        return BTreeMap::new();
    };
    names[..len]
        .split(|b| *b == 0)
        .filter(|n| !n.is_empty())
        .map(|name| {
            let mut value = vec![0u8; 65536];
            let len = rustix::fs::lgetxattr(path, name, &mut value[..]).unwrap();
            value.truncate(len);
            (name.to_vec(), value)
        })
        .collect()
}

pub(super) fn source(bytes: &[u8]) -> Arc<dyn Source> {
    Bytes::shared(bytes)
}

pub(super) fn at(secs: i64) -> Time {
    Time { secs, nanos: 0 }
}

pub(super) fn attrs(mode: u16, now: i64) -> Attrs {
    Attrs {
        mode: Some(mode),
        now: at(now),
        ..Attrs::default()
    }
}

/// Fails with the first difference, contents shortened.
pub(super) fn same(what: &str, expected: &BTreeMap<Vec<u8>, Seen>, found: &BTreeMap<Vec<u8>, Seen>) {
    for name in expected.keys().chain(found.keys()) {
        let (e, f) = (expected.get(name), found.get(name));
        if e != f {
            let brief = |s: Option<&Seen>| {
                s.map(|s| {
                    let mut brief = s.clone();
                    brief.content.truncate(16);
                    (s.content.len(), brief)
                })
            };
            panic!(
                "{what}: `{}` differs:\nexpected {:?}\nfound    {:?}",
                String::from_utf8_lossy(name),
                brief(e),
                brief(f)
            );
        }
    }
}

/// Pseudo-random numbers (xorshift), so that a seed says everything.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    pub(super) fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len.div_ceil(8))
            .flat_map(|_| self.next().to_le_bytes())
            .take(len)
            .collect()
    }
}

/// What our own reader sees.
pub(super) fn our_view(fs: &Ext4) -> BTreeMap<Vec<u8>, Seen> {
    let mut all = BTreeMap::new();
    let mut pending = vec![b"/".to_vec()];
    while let Some(path) = pending.pop() {
        let stat = fs.stat(&path).unwrap().unwrap();
        let (kind, content) = match stat.kind {
            crate::fs::NodeKind::Dir => {
                for e in fs.read_dir(&path).unwrap() {
                    let slash: &[u8] = if path == b"/" { b"" } else { b"/" };
                    pending.push([&path, slash, &e.name].concat());
                }
                ('d', Vec::new())
            }
            crate::fs::NodeKind::File => {
                let source = fs.open(&path).unwrap();
                let mut content = vec![0xEE; source.len() as usize];
                source.read_at(0, &mut content).unwrap();
                ('f', content)
            }
            crate::fs::NodeKind::Symlink => ('l', fs.read_link(&path).unwrap()),
            crate::fs::NodeKind::Fifo => ('p', Vec::new()),
            _ => ('x', Vec::new()),
        };
        let seen = Seen {
            kind,
            mode: u32::from(stat.mode),
            owner: (stat.uid, stat.gid),
            mtime: stat.mtime,
            links: u64::from(stat.links),
            content,
            xattrs: fs.xattrs(&path).unwrap().into_iter().collect(),
        };
        all.insert(path, seen);
    }
    all
}
