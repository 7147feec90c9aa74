//! Outsiders that judge an image: e2fsck, fsck.vfat, sfdisk, sgdisk, mtools, debugfs and the kernel.
//!
//! Each panics with the tool's own words when the image is not right.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use ceil_img::values::Digest;

use super::bases::sparse_extract;
use super::tools;

/// One partition as sfdisk sees it; offsets and lengths in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// Number in the table, from 1.
    pub number: u32,
    /// First byte.
    pub start: u64,
    /// Length.
    pub len: u64,
    /// `c`, `83` or a type GUID.
    pub kind: String,
    /// `PARTUUID` of a GPT partition, empty on MBR.
    pub uuid: String,
}

impl Partition {
    /// Whether this is the firmware's partition: FAT on MBR, the EFI system type on GPT.
    pub fn is_boot(&self) -> bool {
        matches!(
            self.kind.as_str(),
            "b" | "c" | "e" | "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"
        )
    }
}

/// What sfdisk dumps about the table: the header's fields, such as `label-id`.
pub fn table_header(image: &Path) -> BTreeMap<String, String> {
    dump(image)
        .lines()
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_once(": "))
        .filter(|(key, _)| *key != "device")
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

/// The partitions that sfdisk finds, in order of their numbers.
pub fn partitions(image: &Path) -> Vec<Partition> {
    let name = image.to_str().unwrap();
    let mut found = Vec::new();
    for line in dump(image).lines() {
        let Some((device, fields)) = line.strip_prefix(name).and_then(|rest| rest.split_once(" : ")) else {
            continue;
        };
        let fields: BTreeMap<&str, &str> = fields
            .split(", ")
            .filter_map(|field| field.split_once('='))
            .map(|(key, value)| (key.trim(), value.trim()))
            .collect();
        found.push(Partition {
            number: device.trim_start_matches('p').parse().unwrap(),
            start: fields["start"].parse::<u64>().unwrap() * 512,
            len: fields["size"].parse::<u64>().unwrap() * 512,
            kind: fields["type"].to_owned(),
            uuid: (*fields.get("uuid").unwrap_or(&"")).to_owned(),
        });
    }
    found.sort_by_key(|p| p.number);
    found
}

fn dump(image: &Path) -> String {
    String::from_utf8(tools::run(tools::command("sfdisk").arg("-d").arg(image))).unwrap()
}

/// Everything that can be judged without mounting: the table and each file system in it.
pub fn all(image: &Path) {
    table(image);
    for partition in partitions(image) {
        if partition.is_boot() {
            fsck_vfat(image, &partition);
        } else {
            e2fsck(image, &partition);
        }
    }
}

/// `sfdisk -V`, and `sgdisk -v` on a GPT; and no partition passes the end of the image, which `sfdisk -V` lets pass.
pub fn table(image: &Path) {
    let said = tools::run(tools::command("sfdisk").arg("-V").arg(image));
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(said.contains("No errors detected"), "sfdisk -V {image:?}: {said}");
    if table_header(image)
        .get("label")
        .is_some_and(|label| label == "gpt")
    {
        let said = tools::run(tools::command("sgdisk").arg("-v").arg(image));
        let said = String::from_utf8_lossy(&said).into_owned();
        assert!(said.contains("No problems found"), "sgdisk -v {image:?}: {said}");
    }
    let len = fs::metadata(image).unwrap().len();
    for partition in partitions(image) {
        assert!(
            partition.start + partition.len <= len,
            "{partition:?} passes the end of {image:?} at {len}"
        );
    }
}

/// `e2fsck -fn`, this system's and those of `CEIL_E2FSCK` (paths with colons between), finds nothing, and the file
/// system fits its partition.
pub fn e2fsck(image: &Path, partition: &Partition) {
    tools::run(tools::command("e2fsck").arg("-fn").arg(at(image, partition)));
    for newer in std::env::split_paths(&std::env::var_os("CEIL_E2FSCK").unwrap_or_default()) {
        if !newer.as_os_str().is_empty() {
            tools::run(Command::new(newer).arg("-fn").arg(at(image, partition)));
        }
    }
    let superblock = superblock(image, partition);
    let number = |key: &str| superblock[key].parse::<u64>().unwrap();
    let len = number("Block count") * number("Block size");
    assert!(
        len <= partition.len,
        "the file system spans {len} bytes and its partition {}",
        partition.len
    );
}

/// The superblock as `dumpe2fs -h` prints it.
pub fn superblock(image: &Path, partition: &Partition) -> BTreeMap<String, String> {
    let said = tools::run(tools::command("dumpe2fs").arg("-h").arg(at(image, partition)));
    String::from_utf8_lossy(&said)
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(key, value)| (key.trim().to_owned(), value.trim().to_owned()))
        .collect()
}

/// `fsck.vfat -n` finds nothing in a copy of the partition.
pub fn fsck_vfat(image: &Path, partition: &Partition) {
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join("fat.img");
    extract(image, partition, &copy);
    tools::run(tools::command("fsck.vfat").arg("-n").arg(&copy));
}

/// The partition as a file of its own, with holes.
pub fn extract(image: &Path, partition: &Partition, to: &Path) {
    sparse_extract(
        &mut File::open(image).unwrap(),
        partition.start,
        partition.len,
        to,
    );
}

/// What debugfs answers to one request, such as `stat /etc/motd`. It has no exit code worth reading.
pub fn debugfs(image: &Path, partition: &Partition, request: &str) -> String {
    let said = tools::run(
        tools::command("debugfs")
            .args(["-R", request])
            .arg(at(image, partition)),
    );
    String::from_utf8_lossy(&said).into_owned()
}

/// A file of the ext4 file system as debugfs reads it; the path must lead through no symlink.
pub fn ext4_cat(image: &Path, partition: &Partition, path: &str) -> Vec<u8> {
    tools::run(
        tools::command("debugfs")
            .args(["-R", &format!("cat \"{path}\"")])
            .arg(at(image, partition)),
    )
}

/// `mdir -b`: the full names in a folder of the FAT, such as `::/overlays/`.
pub fn mdir(image: &Path, partition: &Partition, path: &str) -> Vec<String> {
    let said = tools::run(mtool("mdir", image, partition).arg("-b").arg(format!("::{path}")));
    String::from_utf8_lossy(&said)
        .lines()
        .map(str::to_owned)
        .collect()
}

/// A file of the FAT as mtools read it.
pub fn fat_cat(image: &Path, partition: &Partition, path: &str) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join("file");
    tools::run(
        mtool("mcopy", image, partition)
            .args(["-n", &format!("::{path}")])
            .arg(&copy),
    );
    fs::read(copy).unwrap()
}

/// The files of the FAT as mtools copy them out: path without a leading slash, SHA-256 of the content, seconds of the
/// modification time (FAT's clock taken as UTC).
pub fn fat_view(image: &Path, partition: &Partition) -> BTreeMap<PathBuf, (Digest, i64)> {
    let dir = tempfile::tempdir().unwrap();
    tools::run(
        mtool("mcopy", image, partition)
            .args(["-s", "-n", "-Q", "-m", "::*"])
            .arg(dir.path()),
    );
    let mut found = BTreeMap::new();
    let mut pending = vec![PathBuf::new()];
    while let Some(folder) = pending.pop() {
        for entry in fs::read_dir(dir.path().join(&folder)).unwrap() {
            let path = folder.join(entry.unwrap().file_name());
            let host = dir.path().join(&path);
            let meta = fs::metadata(&host).unwrap();
            if meta.is_dir() {
                pending.push(path);
            } else {
                found.insert(path, (Digest::sha256(&fs::read(&host).unwrap()), meta.mtime()));
            }
        }
    }
    found
}

fn mtool(name: &str, image: &Path, partition: &Partition) -> Command {
    let mut command = tools::command(name);
    let mut drive = image.as_os_str().to_owned();
    drive.push(format!("@@{}", partition.start));
    command.arg("-i").arg(drive);
    command
}

/// The file system's name as e2fsprogs take it.
fn at(image: &Path, partition: &Partition) -> std::ffi::OsString {
    let mut name = image.as_os_str().to_owned();
    name.push(format!("?offset={}", partition.start));
    name
}

/// One node of a mounted file system, with everything that an edit could change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Path from the root of the file system, starting with `/`.
    pub path: PathBuf,
    /// File type and permission bits, as `st_mode` has them.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Length in bytes; 0 for a directory, whose size is the file system's affair.
    pub size: u64,
    /// Modification time: seconds and nanoseconds.
    pub mtime: (i64, i64),
    /// Number of names.
    pub links: u64,
    /// Device number of a device node.
    pub rdev: u64,
    /// The first path (in order) of the same inode: tells hard links from copies.
    pub first_name: PathBuf,
    /// Content of a regular file, target of a symlink.
    pub content: Content,
    /// Extended attributes, sorted by name.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// What a node holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// SHA-256 of a regular file.
    File(Digest),
    /// Target of a symlink.
    Symlink(PathBuf),
    /// Nothing: directories, devices, pipes, sockets.
    Other,
}

/// An ext4 file system as the kernel sees it, sorted by path; `None` (after a visible word) without the right to mount.
pub fn kernel_view(image: &Path, partition: &Partition) -> Option<Vec<Entry>> {
    if !tools::is_root() {
        tools::say("the kernel's view needs the right to mount");
        return None;
    }
    let mount = Mount::read_only(image, partition)?;
    let mut entries = Vec::new();
    let mut first_names = BTreeMap::new();
    walk(&mount.dir, Path::new("/"), &mut entries);
    entries.sort_by(|a, b| a.1.path.cmp(&b.1.path));
    Some(
        entries
            .into_iter()
            .map(|(inode, mut entry)| {
                entry.first_name = first_names
                    .entry(inode)
                    .or_insert_with(|| entry.path.clone())
                    .clone();
                entry
            })
            .collect(),
    )
}

fn walk(host: &Path, path: &Path, entries: &mut Vec<(u64, Entry)>) {
    let meta = fs::symlink_metadata(host).unwrap();
    let content = if meta.is_file() {
        Content::File(Digest::sha256(&fs::read(host).unwrap()))
    } else if meta.is_symlink() {
        Content::Symlink(fs::read_link(host).unwrap())
    } else {
        Content::Other
    };
    entries.push((
        meta.ino(),
        Entry {
            path: path.to_owned(),
            mode: meta.mode(),
            uid: meta.uid(),
            gid: meta.gid(),
            size: if meta.is_dir() { 0 } else { meta.size() },
            mtime: (meta.mtime(), meta.mtime_nsec()),
            links: meta.nlink(),
            rdev: meta.rdev(),
            first_name: PathBuf::new(),
            content,
            xattrs: xattrs(host),
        },
    ));
    if meta.is_dir() {
        for entry in fs::read_dir(host).unwrap() {
            let name = entry.unwrap().file_name();
            walk(&host.join(&name), &path.join(&name), entries);
        }
    }
}

fn xattrs(host: &Path) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut names = vec![0u8; 65536];
    let len = rustix::fs::llistxattr(host, &mut names).unwrap();
    let mut found: Vec<(Vec<u8>, Vec<u8>)> = names[..len]
        .split(|b| *b == 0)
        .filter(|name| !name.is_empty())
        .map(|name| {
            let mut value = vec![0u8; 65536];
            let len = rustix::fs::lgetxattr(host, OsStr::from_bytes(name), &mut value).unwrap();
            value.truncate(len);
            (name.to_vec(), value)
        })
        .collect();
    found.sort();
    found
}

/// A loop mount of an ext4 partition that ends with the value.
pub struct Mount {
    /// The root of the mounted file system.
    pub dir: PathBuf,
    _parent: tempfile::TempDir,
}

impl Mount {
    /// Mounts a partition for reading.
    pub fn read_only(image: &Path, partition: &Partition) -> Option<Self> {
        Self::new(image, partition, "ro")
    }

    /// Mounts a partition for writing, to see whether the kernel can go on with it.
    pub fn read_write(image: &Path, partition: &Partition) -> Option<Self> {
        Self::new(image, partition, "rw")
    }

    fn new(image: &Path, partition: &Partition, how: &str) -> Option<Self> {
        if !tools::have(&["mount", "umount"]) {
            return None;
        }
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("mnt");
        fs::create_dir(&dir).unwrap();
        let options = format!(
            "loop,{how},offset={},sizelimit={}",
            partition.start, partition.len
        );
        tools::run(
            tools::command("mount")
                .args(["-o", &options])
                .arg(image)
                .arg(&dir),
        );
        Some(Self { dir, _parent: parent })
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // A program that another thread is just starting may hold our files for a moment.
        for _ in 0..100 {
            let said = tools::output(tools::command("umount").arg(&self.dir));
            if said.status.success() {
                return;
            }
            eprintln!("umount {:?}: {}", self.dir, String::from_utf8_lossy(&said.stderr));
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }
}

/// The paths at which two views differ, sorted, each with how.
pub fn differences(before: &[Entry], after: &[Entry]) -> Vec<(PathBuf, Change)> {
    let old: BTreeMap<&Path, &Entry> = before.iter().map(|e| (e.path.as_path(), e)).collect();
    let new: BTreeMap<&Path, &Entry> = after.iter().map(|e| (e.path.as_path(), e)).collect();
    let mut found: Vec<(PathBuf, Change)> = Vec::new();
    for (path, entry) in &old {
        match new.get(path) {
            None => found.push((path.to_path_buf(), Change::Removed)),
            Some(other) if other != entry => found.push((path.to_path_buf(), Change::Changed)),
            Some(_) => {}
        }
    }
    for path in new.keys().filter(|path| !old.contains_key(*path)) {
        found.push((path.to_path_buf(), Change::Added));
    }
    found.sort();
    found
}

/// How a path differs between two views.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// Only in the second.
    Added,
    /// Only in the first.
    Removed,
    /// In both, with different attributes or content.
    Changed,
}
