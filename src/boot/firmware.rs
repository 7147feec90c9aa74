//! What the firmware of a board would start, read from the boot volume of an image.

use super::config::{Config, wide_by_default};
use crate::fs::{FsError, Volume, tree};
use crate::values::Arch;

/// Texts of the boot volume are a few KiB.
const TEXT: u64 = 1 << 20;
/// A kernel or an initramfs above this is a damaged file system.
const BINARY: u64 = 1 << 30;

/// Why nothing can be started.
#[derive(Debug, thiserror::Error)]
pub enum FirmwareError {
    /// A file of the boot volume cannot be read.
    #[error("cannot read `boot:/{path}`")]
    Read {
        /// The file.
        path: String,
        /// Why.
        source: FsError,
    },
    /// There is no kernel.
    #[error("the boot volume has no `{name}`, which the firmware of a `{board}` would start")]
    NoKernel {
        /// The file.
        name: String,
        /// The board.
        board: String,
    },
    /// `config.txt` names an initramfs that is not there.
    #[error("config.txt names the initramfs `{0}`, which is not on the boot volume")]
    NoInitramfs(String),
    /// The machine needs the device tree of its board.
    #[error("the boot volume has no `{0}`, which this machine needs")]
    NoDeviceTree(String),
}

/// Kernel, initramfs and command line of one board.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Firmware {
    /// The kernel.
    pub kernel: Vec<u8>,
    /// Whether it runs in 64-bit mode.
    pub wide: bool,
    /// The initramfs.
    pub initramfs: Option<Vec<u8>>,
    /// The device tree, where one was asked for.
    pub device_tree: Option<Vec<u8>>,
    /// The line that the kernel gets.
    pub command_line: String,
}

impl Firmware {
    /// Reads what the firmware of `board` (a word of the cluster file) would read. `arch` is the word size of the
    /// system on the root volume, `device_tree` the name of one that the machine needs.
    ///
    /// # Errors
    /// [`FirmwareError`].
    pub fn read(
        boot: &dyn Volume,
        board: &str,
        arch: Option<Arch>,
        device_tree: Option<&str>,
    ) -> Result<Self, FirmwareError> {
        let text = optional(boot, "config.txt", TEXT)?.unwrap_or_default();
        let mut failed = None;
        let config = Config::read(&String::from_utf8_lossy(&text), board, &mut |name| {
            match optional(boot, name, TEXT) {
                Ok(text) => text.map(|t| String::from_utf8_lossy(&t).into_owned()),
                Err(error) => {
                    failed = Some(error);
                    None
                }
            }
        });
        if let Some(error) = failed {
            return Err(error);
        }
        let named = config.get("kernel").map(str::to_owned);
        let wide = match config.number("arm_64bit") {
            Some(number) => number != 0,
            None => match arch {
                Some(Arch::Armhf) => wide_by_default(board),
                _ => true,
            },
        };
        // `kernel_2712.img` of the Pi 5 has pages of 16 KiB, which the emulated processor lacks; every image that
        // has it has `kernel8.img`, too.
        let names = match (named, wide) {
            (Some(name), _) => vec![name],
            (None, true) if arch == Some(Arch::Armhf) => {
                vec!["kernel8.img".to_owned(), narrow_kernel(board).to_owned()]
            }
            (None, true) => vec!["kernel8.img".to_owned()],
            (None, false) => vec![narrow_kernel(board).to_owned()],
        };
        let prefix = config.get("os_prefix").unwrap_or_default();
        // The firmware ignores a prefix under which there is no kernel.
        let mut found = None;
        for folder in [prefix, ""] {
            for name in &names {
                if found.is_none()
                    && let Some(kernel) = optional(boot, &format!("{folder}{name}"), BINARY)?
                {
                    found = Some((folder, name.clone(), kernel));
                }
            }
        }
        let Some((folder, name, kernel)) = found else {
            return Err(FirmwareError::NoKernel {
                name: format!("{prefix}{}", names[0]),
                board: board.to_owned(),
            });
        };
        let initramfs = match &config.initramfs {
            Some(name) => {
                let path = format!("{folder}{name}");
                let found = optional(boot, &path, BINARY)?;
                Some(found.ok_or(FirmwareError::NoInitramfs(path))?)
            }
            None if config.number("auto_initramfs").unwrap_or(0) != 0 => {
                optional(boot, &format!("{folder}{}", initramfs_of(&name)), BINARY)?
            }
            None => None,
        };
        let device_tree = match device_tree {
            Some(name) => {
                let path = format!("{folder}{name}");
                let found = optional(boot, &path, BINARY)?;
                Some(found.ok_or(FirmwareError::NoDeviceTree(path))?)
            }
            None => None,
        };
        let cmdline = config.get("cmdline").unwrap_or("cmdline.txt");
        let line = optional(boot, &format!("{folder}{cmdline}"), TEXT)?.unwrap_or_default();
        Ok(Self {
            wide: !is_zimage(&kernel),
            kernel,
            initramfs,
            device_tree,
            command_line: command_line(&String::from_utf8_lossy(&line)),
        })
    }
}

/// The 32-bit kernel of a board.
fn narrow_kernel(board: &str) -> &'static str {
    match board {
        "pi1b+" | "pizero" | "pizerow" => "kernel.img",
        _ if wide_by_default(board) => "kernel7l.img",
        _ => "kernel7.img",
    }
}

/// The initramfs that belongs to a kernel: `kernel8.img` has `initramfs8`.
fn initramfs_of(kernel: &str) -> String {
    let stem = kernel.strip_suffix(".img").unwrap_or(kernel);
    stem.replacen("kernel", "initramfs", 1)
}

/// Whether a kernel is the 32-bit form that unpacks itself, by its magic number.
fn is_zimage(kernel: &[u8]) -> bool {
    kernel.get(36..40) == Some(&0x016f_2818u32.to_le_bytes())
}

/// The line as the firmware hands it on, with the names of the emulated machine.
fn command_line(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default().trim();
    let mut words: Vec<String> = line
        .split_whitespace()
        .map(|word| word.replace("console=serial0", "console=ttyAMA0"))
        .collect();
    // The firmware disables the memory cgroup and the Pi's kernel takes that back on `cgroup_enable=memory`. Other
    // kernels know only the former, so it is left out exactly when the line asks for the cgroup: otherwise a missing
    // argument would go unnoticed here.
    if !words.iter().any(|word| word == "cgroup_enable=memory") {
        words.insert(0, "cgroup_disable=memory".to_owned());
    }
    // The wired interface of a board is `eth0`; that of the emulated machine would be named after its slot.
    words.push("net.ifnames=0".to_owned());
    // Emulated processors are slow, and a mount of fstab that waits longer than this makes an emergency of the boot.
    words.push("systemd.default_device_timeout_sec=600".to_owned());
    words.push("systemd.default_timeout_start_sec=600".to_owned());
    words.join(" ")
}

/// A file of the boot volume, `None` when it is not there.
fn optional(boot: &dyn Volume, path: &str, limit: u64) -> Result<Option<Vec<u8>>, FirmwareError> {
    let full = format!("/{path}");
    let read = || match boot.stat(full.as_bytes()) {
        Ok(Some(_)) => tree::read_small(boot, full.as_bytes(), limit).map(Some),
        // A folder that is missing means a file that is missing.
        Ok(None) | Err(FsError::NotFound(_)) => Ok(None),
        Err(error) => Err(error),
    };
    read().map_err(|source| FirmwareError::Read {
        path: path.to_owned(),
        source,
    })
}
