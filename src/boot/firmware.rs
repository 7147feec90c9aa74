//! What the firmware of a board would start, read from the boot volume of an image.

use super::config::{Config, wide_by_default};
use crate::fs::{FsError, Volume, tree};
use crate::values::Arch;

/// Emulated processors are slow, and a mount of fstab that waits for its device longer than this, in seconds, makes an
/// emergency of the boot (kernel-command-line(7)).
const PATIENCE: [&str; 2] = [
    "systemd.default_device_timeout_sec=600",
    "systemd.default_timeout_start_sec=600",
];

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
        let config = Config::read(
            &String::from_utf8_lossy(&text),
            board,
            &mut |name| match optional(boot, name, TEXT) {
                Ok(text) => text.map(|t| String::from_utf8_lossy(&t).into_owned()),
                Err(error) => {
                    failed = Some(error);
                    None
                }
            },
        );
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
    // No board of ours needs these guards, and in an emulator they cost more than all else: every system call would
    // flush what it knows of memory.
    words.extend(["nokaslr", "kpti=off", "mitigations=off"].map(str::to_owned));
    words.extend(PATIENCE.map(str::to_owned));
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::disk::{BlockIo, Bytes, Overlay};
    use crate::fs::Attrs;
    use crate::fs::fat::{Fat, FatOptions, format};

    fn volume(files: &[(&str, &str)]) -> Fat {
        let overlay = Overlay::new(Bytes::shared(&[]));
        overlay.set_len(16 << 20);
        let io: Arc<dyn BlockIo> = Arc::new(overlay);
        let mut fat = format(io, &FatOptions::default()).expect("formatted");
        for (path, text) in files {
            let path = format!("/{path}");
            if let Some((folder, _)) = path.rsplit_once('/').filter(|(folder, _)| !folder.is_empty()) {
                fat.make_dir(folder.as_bytes(), &Attrs::default())
                    .expect("folder");
            }
            let content = Bytes::shared(text.as_bytes());
            fat.put_file(path.as_bytes(), &content, false, &Attrs::default())
                .expect("file");
        }
        fat
    }

    fn read(files: &[(&str, &str)], board: &str, arch: Arch) -> Result<Firmware, FirmwareError> {
        Firmware::read(&volume(files), board, Some(arch), None)
    }

    fn text(bytes: &[u8]) -> &str {
        std::str::from_utf8(bytes).expect("text")
    }

    #[test]
    fn a_stock_image_starts_with_its_own_initramfs() {
        let files = [
            ("config.txt", "auto_initramfs=1\r\n"),
            ("kernel8.img", "kernel"),
            ("kernel_2712.img", "of 16 KiB pages"),
            ("initramfs8", "initramfs"),
            (
                "cmdline.txt",
                "console=serial0,115200 root=PARTUUID=1-02 rootwait\nsecond line\n",
            ),
        ];
        let firmware = read(&files, "pi5", Arch::Arm64).expect("read");
        assert_eq!(text(&firmware.kernel), "kernel");
        assert_eq!(firmware.initramfs.as_deref().map(text), Some("initramfs"));
        assert!(firmware.wide && firmware.device_tree.is_none());
        assert_eq!(
            firmware.command_line,
            "cgroup_disable=memory console=ttyAMA0,115200 root=PARTUUID=1-02 rootwait net.ifnames=0 nokaslr kpti=off mitigations=off systemd.default_device_timeout_sec=600 systemd.default_timeout_start_sec=600"
        );
    }

    #[test]
    fn the_memory_cgroup_is_there_only_when_it_is_asked_for() {
        let files = [
            ("kernel8.img", "k"),
            ("cmdline.txt", "cgroup_enable=memory quiet"),
        ];
        let firmware = read(&files, "virt", Arch::Arm64).expect("read");
        assert_eq!(
            firmware.command_line,
            "cgroup_enable=memory quiet net.ifnames=0 nokaslr kpti=off mitigations=off systemd.default_device_timeout_sec=600 systemd.default_timeout_start_sec=600"
        );
        let files = [("kernel8.img", "k"), ("cmdline.txt", "cgroup_enable=memory1")];
        let firmware = read(&files, "virt", Arch::Arm64).expect("read");
        assert!(firmware.command_line.starts_with("cgroup_disable=memory "));
    }

    #[test]
    fn names_and_the_prefix_of_the_configuration_count() {
        let files = [
            (
                "config.txt",
                "kernel=vmlinuz\ncmdline=line.txt\ninitramfs initrd.img followkernel\nos_prefix=current/\n",
            ),
            ("current/vmlinuz", "prefixed"),
            ("current/initrd.img", "initrd"),
            ("current/line.txt", "quiet"),
            ("vmlinuz", "plain"),
        ];
        let firmware = read(&files, "pi4b", Arch::Arm64).expect("read");
        assert_eq!(text(&firmware.kernel), "prefixed");
        assert!(firmware.initramfs.is_some() && firmware.command_line.contains("quiet"));
        // A prefix under which there is no kernel is ignored.
        let files = [("config.txt", "os_prefix=none/\n"), ("kernel8.img", "plain")];
        let firmware = read(&files, "pi4b", Arch::Arm64).expect("read");
        assert_eq!(text(&firmware.kernel), "plain");
    }

    #[test]
    fn narrow_systems_start_the_kernel_of_their_board() {
        let mut zimage = vec![b' '; 64];
        zimage[36..40].copy_from_slice(&0x016f_2818u32.to_le_bytes());
        let zimage = String::from_utf8(zimage).expect("magic is ASCII");
        let files = [("kernel7.img", zimage.as_str()), ("kernel7l.img", &zimage)];
        for board in ["pi2b", "pi3b", "pi4b"] {
            let firmware = read(&files, board, Arch::Armhf).expect(board);
            assert!(!firmware.wide, "{board}");
        }
        let both = [("kernel7l.img", zimage.as_str()), ("kernel8.img", "wide")];
        assert!(read(&both, "pi4b", Arch::Armhf).expect("read").wide);
        assert!(read(&both, "pi3b", Arch::Armhf).is_err());
        let told = [both[0], both[1], ("config.txt", "arm_64bit=0\n")];
        assert!(!read(&told, "pi4b", Arch::Armhf).expect("read").wide);
    }

    #[test]
    fn what_is_missing_is_named() {
        let error = read(&[("kernel.img", "x")], "pi4b", Arch::Arm64).expect_err("no kernel");
        assert!(error.to_string().contains("`kernel8.img`"), "{error}");
        let files = [("kernel8.img", "k"), ("config.txt", "initramfs gone\n")];
        let error = read(&files, "pi4b", Arch::Arm64).expect_err("no initramfs");
        assert!(error.to_string().contains("`gone`"), "{error}");
        let volume = volume(&[("kernel8.img", "k")]);
        let error = Firmware::read(&volume, "pi3b", None, Some("x.dtb")).expect_err("no tree");
        assert!(error.to_string().contains("`x.dtb`"), "{error}");
    }
}
