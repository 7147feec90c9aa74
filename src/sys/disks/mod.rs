//! What the system knows of its disks, gathered without judging it.
//!
//! Both systems are read through [`Host`], so that every platform's code runs, and is tested, on every platform.

mod linux;
mod macos;

use std::fmt;
use std::io;
use std::path::PathBuf;

pub use linux::{disk as linux_disk, disks as linux_disks};
pub use macos::{disk as macos_disk, disks as macos_disks};

/// Files, directories and programs of a machine. Paths are absolute.
pub trait Host {
    /// The text of a file; `None` when it cannot be read.
    fn read(&self, path: &str) -> Option<String>;

    /// Names in a directory, sorted; none when it cannot be read.
    fn list(&self, path: &str) -> Vec<String>;

    /// The path without links; `None` when nothing is there.
    fn real(&self, path: &str) -> Option<String>;

    /// What a program prints, when it ends well.
    ///
    /// # Errors
    /// It is missing, or it failed.
    fn output(&self, program: &str, args: &[&str]) -> io::Result<Vec<u8>>;
}

/// How a disk is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bus {
    /// USB.
    Usb,
    /// A slot for SD cards.
    Sd,
    /// Soldered flash memory.
    Emmc,
    /// NVMe.
    Nvme,
    /// SATA and its kin.
    Ata,
    /// A disk of a virtual machine.
    Virtio,
    /// A file that the system shows as a disk.
    Loop,
    /// Made by software from other disks: LVM, RAID, encryption, compressed memory.
    Virtual,
    /// Anything else.
    Other,
}

impl Bus {
    /// The word for people and for JSON.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Usb => "usb",
            Self::Sd => "sd",
            Self::Emmc => "emmc",
            Self::Nvme => "nvme",
            Self::Ata => "ata",
            Self::Virtio => "virtio",
            Self::Loop => "loop",
            Self::Virtual => "virtual",
            Self::Other => "other",
        }
    }
}

impl fmt::Display for Bus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A partition of a disk.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Part {
    /// Its device, such as `/dev/sdb1`.
    pub path: PathBuf,
    /// Length in bytes.
    pub size: u64,
    /// Kind of what is on it, such as `vfat`; empty when the system does not know.
    pub kind: String,
    /// Label of what is on it.
    pub label: String,
}

/// A mounted file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// What is mounted.
    pub source: String,
    /// Where.
    pub at: String,
}

/// All that is known of one disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// Its device, such as `/dev/sdb` or `/dev/disk4`.
    pub path: PathBuf,
    /// The device that is written to; `/dev/rdisk4` on macOS.
    pub raw: PathBuf,
    /// Length in bytes; 0 for a reader without a card.
    pub size: u64,
    /// Maker and model, as the device tells them.
    pub model: String,
    /// How it is connected.
    pub bus: Bus,
    /// Whether the medium can be taken out; `None` when the system does not say.
    pub removable: Option<bool>,
    /// Whether it refuses to be written: a switch on the card, or an option of the system.
    pub read_only: bool,
    /// Its partitions, in order.
    pub parts: Vec<Part>,
    /// What is mounted of it, also through LVM, RAID and encryption.
    pub mounts: Vec<Mount>,
    /// The mount point that the running system lives from, when it is on this disk.
    pub system: Option<String>,
    /// Swap on it that is in use.
    pub swap: Vec<String>,
    /// What else uses it now: volumes of LVM, RAID, encryption, pools.
    pub held: Vec<String>,
    /// Parts that belong to something bigger that is not in use now, each with its kind.
    pub members: Vec<String>,
    /// How many requests the device takes at once, where it says so.
    pub queue_depth: Option<u32>,
    /// Whether it can be told that blocks are free.
    pub discard: bool,
}

/// Why a path is no disk.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LookError {
    /// Nothing is there.
    #[error("there is no `{0}`")]
    Missing(String),
    /// It is a partition.
    #[error("`{part}` is one partition of `{disk}`; a card is written as a whole")]
    Partition {
        /// What was named.
        part: String,
        /// The disk that it is a part of.
        disk: String,
    },
    /// It is something else.
    #[error("`{0}` is not a disk that the system knows")]
    NotADisk(String),
    /// The system cannot be asked.
    #[error("cannot ask the system about its disks: {0}")]
    Host(String),
}

/// Whether the running system lives from a mount point. File systems of live media count: what was booted from is
/// not a card to write.
fn is_system(point: &str) -> bool {
    const POINTS: [&str; 20] = [
        "/",
        "/boot",
        "/boot/efi",
        "/boot/firmware",
        "/efi",
        "/etc",
        "/home",
        "/nix",
        "/usr",
        "/var",
        "/cdrom",
        "/run/live/medium",
        "/lib/live/mount/medium",
        "/run/initramfs/live",
        "/run/archiso/bootmnt",
        "/System/Volumes/Data",
        "/System/Volumes/Preboot",
        "/System/Volumes/VM",
        "/private/var/vm",
        "/nix/store",
    ];
    // A container binds single files of its host's disk below /etc.
    POINTS.contains(&point) || point.starts_with("/etc/")
}

/// The machine that the program runs on.
#[derive(Debug, Clone, Copy, Default)]
pub struct ThisHost;

impl Host for ThisHost {
    fn read(&self, path: &str) -> Option<String> {
        let bytes = std::fs::read(path).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn list(&self, path: &str) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(path)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    fn real(&self, path: &str) -> Option<String> {
        let real = std::fs::canonicalize(path).ok()?;
        Some(real.to_string_lossy().into_owned())
    }

    fn output(&self, program: &str, args: &[&str]) -> io::Result<Vec<u8>> {
        super::child::output(program, args)
    }
}

/// All disks of this machine.
///
/// # Errors
/// The system cannot be asked.
pub fn disks(host: &dyn Host) -> Result<Vec<Disk>, LookError> {
    if cfg!(target_os = "macos") {
        macos_disks(host)
    } else {
        Ok(linux_disks(host))
    }
}

/// The disk that a path names on this machine.
///
/// # Errors
/// [`LookError`].
pub fn disk(host: &dyn Host, path: &str) -> Result<Disk, LookError> {
    if cfg!(target_os = "macos") {
        macos_disk(host, path)
    } else {
        linux_disk(host, path)
    }
}
