//! File systems in place. A [`Volume`] is one file system on one window of an image.
//!
//! This room knows on-disk formats. It must not know plans, host files or the network. Paths are absolute byte
//! strings (`/etc/motd`) without `.`, `..`, doubled or trailing slashes; a volume follows no symlink itself:
//! [`resolve`] does, as a `chroot` would.

pub mod ext4;
pub mod fat;
mod resolve;
pub mod tree;

use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use crate::disk::Source;
pub use resolve::{Follow, resolve};

/// What a directory entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NodeKind {
    /// Regular file.
    File,
    /// Directory.
    Dir,
    /// Symbolic link.
    Symlink,
    /// Character device.
    CharDevice,
    /// Block device.
    BlockDevice,
    /// Named pipe.
    Fifo,
    /// Socket.
    Socket,
}

impl fmt::Display for NodeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::File => "file",
            Self::Dir => "directory",
            Self::Symlink => "symlink",
            Self::CharDevice => "character device",
            Self::BlockDevice => "block device",
            Self::Fifo => "fifo",
            Self::Socket => "socket",
        })
    }
}

/// Seconds and nanoseconds since the epoch, as the file system stores them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time {
    /// Whole seconds.
    pub secs: i64,
    /// 0 to 999,999,999.
    pub nanos: u32,
}

/// What is known about one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stat {
    /// What it is.
    pub kind: NodeKind,
    /// Permission bits, `0o0000` to `0o7777`.
    pub mode: u16,
    /// Owner; 0 on FAT.
    pub uid: u32,
    /// Group; 0 on FAT.
    pub gid: u32,
    /// Length in bytes (of the target for a symlink).
    pub size: u64,
    /// Last modification.
    pub mtime: Time,
    /// Number of names; 1 on FAT.
    pub links: u32,
    /// Inode number, or first cluster on FAT: equal for two names of one file.
    pub id: u64,
    /// Major and minor number of a device node, else 0.
    pub rdev: (u32, u32),
}

/// One entry of a directory, never `.` or `..`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirEntry {
    /// Name as stored.
    pub name: Vec<u8>,
    /// The node it names.
    pub stat: Stat,
}

/// Attributes of a node to be made or replaced. `None` keeps what a replaced node had, and takes the
/// default for a new one (mode given per operation, owner 0:0, time [`Attrs::now`]).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attrs {
    /// Permission bits.
    pub mode: Option<u16>,
    /// Owner and group.
    pub owner: Option<(u32, u32)>,
    /// Modification time.
    pub mtime: Option<Time>,
    /// The build epoch: creation, change and access times, and the modification time where none is given.
    pub now: Time,
}

/// Space of a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Space {
    /// Size of one allocation unit in bytes.
    pub block_size: u64,
    /// Bytes that the file system spans.
    pub total: u64,
    /// Bytes free (with those reserved for root).
    pub free: u64,
    /// Inodes in all; 0 on FAT.
    pub inodes: u64,
    /// Inodes free; 0 on FAT.
    pub inodes_free: u64,
}

/// A defect that a structural check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Where: a structure in the format's own words, such as `inode 12` or `group 3 block bitmap`.
    pub place: String,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)
    }
}

/// What went wrong in a file system: damaged, unsupported and unreadable are told apart.
#[derive(Debug, thiserror::Error)]
pub enum FsError {
    /// The bytes contradict the format.
    #[error("damaged file system: {0}")]
    Damaged(String),
    /// The bytes are legal, but keeping them right is beyond this editor.
    #[error("unsupported file system: {0}")]
    Unsupported(String),
    /// The device failed.
    #[error("cannot read or write the image")]
    Io(#[from] io::Error),
    /// No node of that name.
    #[error("`{0}` does not exist")]
    NotFound(String),
    /// The name is taken.
    #[error("`{0}` already exists")]
    Exists(String),
    /// A component that should be a directory is something else.
    #[error("`{0}` is not a directory")]
    NotADirectory(String),
    /// A directory where a file is wanted.
    #[error("`{0}` is a directory")]
    IsADirectory(String),
    /// A directory that is not empty, removed without `recursive`.
    #[error("directory `{0}` is not empty; set `recursive: true` to remove it with its contents")]
    NotEmpty(String),
    /// Not enough free blocks.
    #[error("the file system is full: {need} bytes are needed and {free} are free")]
    NoSpace {
        /// Bytes needed by what is being written.
        need: u64,
        /// Bytes free before it.
        free: u64,
    },
    /// Not enough free inodes.
    #[error("the file system is out of inodes: {need} are needed and {free} are free")]
    NoInodes {
        /// Inodes needed.
        need: u64,
        /// Inodes free before.
        free: u64,
    },
    /// A name, target, attribute or size that this file system cannot hold.
    #[error("`{path}`: {why}")]
    Invalid {
        /// The node.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// Too many symlinks on the way.
    #[error("`{0}`: too many levels of symbolic links")]
    SymlinkLoop(String),
}

/// Shorthand of this room.
pub type FsResult<T> = Result<T, FsError>;

/// Shows a path of an image in messages.
#[must_use]
pub fn show(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}

/// One file system on one window of an image.
///
/// Edits are collected in memory (payloads as references) and appear on the device at [`Volume::commit`], in one
/// go; before that, reads see the edited state and the device is unchanged. An operation that fails leaves the
/// volume as it was before it. Operations are deterministic: the same volume and the same calls give the same bytes.
pub trait Volume: Send {
    /// `ext4`, `fat16`, `fat32`, …
    fn kind(&self) -> &'static str;
    /// The volume label, empty when none.
    fn label(&self) -> String;
    /// UUID of ext4, or serial of FAT as `ABCD-1234`.
    fn uuid(&self) -> String;
    /// Feature names in the format's own words, sorted as stored; empty on FAT.
    fn features(&self) -> Vec<String>;
    /// Space in all and free.
    fn space(&self) -> Space;

    /// The node at `path`, `None` when the name does not exist in its directory.
    fn stat(&self, path: &[u8]) -> FsResult<Option<Stat>>;
    /// Entries sorted by name.
    fn read_dir(&self, path: &[u8]) -> FsResult<Vec<DirEntry>>;
    /// Target of a symlink.
    fn read_link(&self, path: &[u8]) -> FsResult<Vec<u8>>;
    /// Content of a regular file as a source that stays valid until the next edit of that file.
    fn open(&self, path: &[u8]) -> FsResult<Arc<dyn Source>>;
    /// Extended attributes sorted by full name (`user.x`, `security.capability`); empty on FAT.
    fn xattrs(&self, path: &[u8]) -> FsResult<Vec<(Vec<u8>, Vec<u8>)>>;

    /// Creates the file or replaces its content; a replaced file keeps the attributes (mode, owner, xattrs and
    /// hard links) that `attrs` does not give. New files get mode 0644 by default. `sparse` leaves blocks that
    /// are all zeroes unallocated where the file system can.
    fn put_file(
        &mut self,
        path: &[u8],
        content: &Arc<dyn Source>,
        sparse: bool,
        attrs: &Attrs,
    ) -> FsResult<()>;
    /// Adds to the end of a file that exists.
    fn append(&mut self, path: &[u8], content: &Arc<dyn Source>, attrs: &Attrs) -> FsResult<()>;
    /// Makes a directory (default mode 0755); one that exists gets the attributes that are given.
    fn make_dir(&mut self, path: &[u8], attrs: &Attrs) -> FsResult<()>;
    /// Makes a symlink; one that exists is replaced, anything else there is an error.
    fn symlink(&mut self, path: &[u8], target: &[u8], attrs: &Attrs) -> FsResult<()>;
    /// Makes another name of an existing file that is no directory.
    fn hard_link(&mut self, path: &[u8], existing: &[u8], now: Time) -> FsResult<()>;
    /// Moves a name; the new name must not exist.
    fn rename(&mut self, from: &[u8], to: &[u8], now: Time) -> FsResult<()>;
    /// Removes a name, and with `recursive` everything below a directory.
    fn remove(&mut self, path: &[u8], recursive: bool, now: Time) -> FsResult<()>;
    /// Changes the attributes that are given.
    fn set_attrs(&mut self, path: &[u8], attrs: &Attrs) -> FsResult<()>;
    /// Sets (`Some`) or removes (`None`) one extended attribute by its full name; removing one that is not there is no error.
    fn set_xattr(&mut self, path: &[u8], name: &[u8], value: Option<&[u8]>, now: Time) -> FsResult<()>;

    /// Takes a device that has become longer into use, up to `len` bytes. The new bytes need not be zero.
    fn grow(&mut self, device: Arc<dyn crate::disk::BlockIo>) -> FsResult<()>;
    /// Writes everything collected to the device. On an error the device may hold a part: the caller discards its overlay.
    fn commit(&mut self) -> FsResult<()>;

    /// Ranges of the window that the committed file system uses (metadata and data), ascending, not touching
    /// each other. Everything outside is free.
    fn used_ranges(&self) -> FsResult<Vec<Range<u64>>>;
    /// Structural check of the committed file system: empty when no defect was found.
    fn check(&self) -> FsResult<Vec<Finding>>;
}

/// What a recovery did to a file system that was not unmounted cleanly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Recovery {
    /// Complete transactions in the journal.
    pub transactions: u32,
    /// Blocks written from it, each once.
    pub blocks: u64,
    /// Copies of blocks in it that were void, because the block was freed later.
    pub revoked: u64,
    /// Nodes without a name that were deleted.
    pub deleted: u32,
    /// Files that were cut to their size.
    pub truncated: u32,
}

impl fmt::Display for Recovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        for (count, one, many, what) in [
            (
                self.transactions,
                "transaction",
                "transactions",
                "of the journal replayed",
            ),
            (self.deleted, "orphan", "orphans", "removed"),
            (self.truncated, "file", "files", "cut to size"),
        ] {
            match count {
                0 => {}
                1 => parts.push(format!("1 {one} {what}")),
                count => parts.push(format!("{count} {many} {what}")),
            }
        }
        if parts.is_empty() {
            parts.push("the journal was empty".to_owned());
        }
        f.write_str(&parts.join(", "))
    }
}

/// Brings a file system that was not unmounted cleanly to what a mount would make of it; `None` when there was
/// nothing to do. An error leaves the window as it was, unless it is the device that fails.
///
/// # Errors
/// As [`ext4::recover`].
pub fn recover(io: &Arc<dyn crate::disk::BlockIo>) -> FsResult<Option<Recovery>> {
    if ext4::probe(&**io)? {
        return ext4::recover(io);
    }
    Ok(None)
}

/// Opens the file system in a window, by magic bytes.
///
/// # Errors
/// [`FsError::Unsupported`] when no known file system is there, or it uses a feature that cannot be kept right.
pub fn open(io: Arc<dyn crate::disk::BlockIo>) -> FsResult<Box<dyn Volume>> {
    if ext4::probe(&*io)? {
        return Ok(Box::new(ext4::Ext4::open(io)?));
    }
    if fat::probe(&*io)? {
        return Ok(Box::new(fat::Fat::open(io)?));
    }
    Err(FsError::Unsupported(
        "neither an ext4 nor a FAT file system is here".to_owned(),
    ))
}
