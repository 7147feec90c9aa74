//! A root volume as a list of nodes: by the kernel where it may mount, and by our own reader.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ceil_img::disk::Source;
use ceil_img::fs::{FsError, NodeKind, Stat, Volume, tree};
use ceil_img::image::Image;
use ceil_img::values::{Digest, VolumeName};

use super::judge::{self, Content, Entry, Partition};
use super::tools;

#[derive(Debug)]
struct Raw(File, u64);

impl Source for Raw {
    fn len(&self) -> u64 {
        self.1
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(buf, offset)
    }
}

/// What the kernel sees; what our own reader sees (after a visible word) without the right to mount.
pub fn of(image: &Path, root: &Partition) -> Vec<Entry> {
    judge::kernel_view(image, root).unwrap_or_else(|| {
        tools::say("our own reader stands in for the kernel");
        ours(image, VolumeName::Root)
    })
}

/// What our own reader sees, in the kernel's words.
pub fn ours(image: &Path, name: VolumeName) -> Vec<Entry> {
    let file = File::open(image).unwrap();
    let len = file.metadata().unwrap().len();
    let image = Image::open(Arc::new(Raw(file, len))).unwrap();
    let volume = image.volume(name).unwrap();
    let mut found = Vec::new();
    let root = volume.stat(b"/").unwrap().unwrap();
    found.push((root.id, entry(volume, b"/", &root)));
    tree::walk(volume, b"/", &mut |path, stat| {
        found.push((stat.id, entry(volume, path, stat)));
        Ok::<(), FsError>(())
    })
    .unwrap();
    found.sort_by(|a, b| a.1.path.cmp(&b.1.path));
    let mut first: BTreeMap<u64, PathBuf> = BTreeMap::new();
    found
        .into_iter()
        .map(|(id, mut entry)| {
            entry.first_name = first.entry(id).or_insert_with(|| entry.path.clone()).clone();
            entry
        })
        .collect()
}

fn entry(volume: &dyn Volume, path: &[u8], stat: &Stat) -> Entry {
    let (kind, content) = match stat.kind {
        NodeKind::File => {
            let source = volume.open(path).unwrap();
            let mut bytes = vec![0; usize::try_from(source.len()).unwrap()];
            source.read_at(0, &mut bytes).unwrap();
            (0o100_000, Content::File(Digest::sha256(&bytes)))
        }
        NodeKind::Symlink => {
            let target = volume.read_link(path).unwrap();
            (0o120_000, Content::Symlink(OsStr::from_bytes(&target).into()))
        }
        NodeKind::Dir => (0o040_000, Content::Other),
        NodeKind::CharDevice => (0o020_000, Content::Other),
        NodeKind::BlockDevice => (0o060_000, Content::Other),
        NodeKind::Fifo => (0o010_000, Content::Other),
        NodeKind::Socket => (0o140_000, Content::Other),
    };
    Entry {
        path: OsStr::from_bytes(path).into(),
        mode: kind | u32::from(stat.mode),
        uid: stat.uid,
        gid: stat.gid,
        size: match stat.kind {
            NodeKind::File | NodeKind::Symlink => stat.size,
            _ => 0,
        },
        mtime: (stat.mtime.secs, i64::from(stat.mtime.nanos)),
        links: u64::from(stat.links),
        rdev: rustix::fs::makedev(stat.rdev.0, stat.rdev.1),
        first_name: PathBuf::new(),
        content,
        xattrs: volume.xattrs(path).unwrap(),
    }
}
