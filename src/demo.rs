//! The demo base: a small image laid out as Raspberry Pi OS trixie, made here in a moment, for trying everything
//! without a download. It holds no kernel and no programs, and does not boot.
//!
//! This room knows one layout. It must not know plans, host files or the network. The same bytes come out every time.

use std::io;
use std::sync::Arc;

use crate::disk::{BlockIo, Bytes, Overlay, SECTOR, Source, Window, new_record};
use crate::fs::ext4::{Ext4Features, Ext4Options, format as format_ext4};
use crate::fs::fat::{FatKind, FatOptions, format as format_fat};
use crate::fs::{Attrs, FsError, Time, Volume};

/// Disk signature; `PARTUUID`s are made of it.
const DISK_SIGNATURE: u32 = 0xce11_de30;
const MIB: u64 = 1 << 20;
/// Partitions begin on 8 MiB, as pi-gen aligns them since 2025.
const BOOT_START: u64 = 8 * MIB;
const BOOT_LEN: u64 = 64 * MIB;
const ROOT_START: u64 = BOOT_START + BOOT_LEN;
const ROOT_LEN: u64 = 192 * MIB;
/// 2025-11-24, when cloud-init came to Raspberry Pi OS.
const TIME: Time = Time {
    secs: 1_763_942_400,
    nanos: 0,
};

/// A source of zeroes: what the demo is written over.
#[derive(Debug)]
struct Blank(u64);

impl Source for Blank {
    fn len(&self) -> u64 {
        self.0
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let end = offset.checked_add(buf.len() as u64);
        if end.is_none_or(|end| end > self.0) {
            return Err(crate::disk::eof());
        }
        buf.fill(0);
        Ok(())
    }

    fn next_data(&self, _offset: u64) -> io::Result<Option<std::ops::Range<u64>>> {
        Ok(None)
    }
}

const OS_RELEASE: &str = "PRETTY_NAME=\"Demo base, laid out as Debian GNU/Linux 13 (trixie)\"\nNAME=\"Debian GNU/Linux\"\n\
    VERSION_ID=\"13\"\nVERSION=\"13 (trixie)\"\nVERSION_CODENAME=trixie\nID=debian\n";
const CONFIG_TXT: &str = "# Demo base: the settings that matter to ceil-img, as Raspberry Pi OS ships them.\n\
    dtparam=audio=on\ncamera_auto_detect=1\ndisplay_auto_detect=1\nauto_initramfs=1\narm_64bit=1\n\n[cm4]\notg_mode=1\n\n\
    [all]\n";
const DPKG_STATUS: &str = "Package: cloud-init\nStatus: install ok installed\nArchitecture: all\n\
    Version: 25.2-1~bpo13+1+rpt20\nDescription: entry of the demo base\n\n\
    Package: systemd\nStatus: install ok installed\nArchitecture: arm64\nVersion: 257.9-1~deb13u1\n\
    Description: entry of the demo base\n\n";
const CLOUD_CFG: &str =
    "datasource_list: [NoCloud, None]\ndatasource:\n  NoCloud:\n    seedfrom: file:///boot/firmware\n";
const SSH_SERVICE: &str = "[Unit]\nDescription=SSH server\n\n[Service]\nExecStart=/usr/sbin/sshd -D\n\n\
    [Install]\nWantedBy=multi-user.target\nAlias=sshd.service\n";
const STOCK: &str = "# Nothing is set here in the demo base.\n";

/// The start of an ELF file for AArch64 (System V ABI, `e_machine` 183), enough to tell the architecture.
const ELF_AARCH64: [u8; 64] = {
    let mut header = [0u8; 64];
    header[0] = 0x7f;
    header[1] = b'E';
    header[2] = b'L';
    header[3] = b'F';
    header[4] = 2;
    header[5] = 1;
    header[6] = 1;
    header[16] = 3;
    header[18] = 183;
    header[20] = 1;
    header[52] = 64;
    header
};

/// Makes the demo base.
///
/// # Errors
/// Never for want of anything outside: an error here is a defect.
pub fn image() -> Result<Arc<Overlay>, FsError> {
    let overlay = Arc::new(Overlay::new(Arc::new(Blank(ROOT_START + ROOT_LEN))));
    let sectors = |bytes: u64| u32::try_from(bytes / SECTOR).unwrap_or(u32::MAX);
    let record = new_record(
        DISK_SIGNATURE,
        &[
            (0x0c, sectors(BOOT_START), sectors(BOOT_LEN)),
            (0x83, sectors(ROOT_START), sectors(ROOT_LEN)),
        ],
    );
    overlay.write_at(0, &record)?;
    let window = |start: u64, len: u64| -> io::Result<Arc<dyn BlockIo>> {
        let io: Arc<dyn BlockIo> = overlay.clone();
        Ok(Arc::new(Window::new(io, start..start + len)?))
    };
    let mut boot = format_fat(
        window(BOOT_START, BOOT_LEN)?,
        &FatOptions {
            kind: FatKind::Fat32,
            label: "bootfs".to_owned(),
            serial: DISK_SIGNATURE,
            hidden_sectors: sectors(BOOT_START),
            sectors_per_cluster: Some(1),
            ..FatOptions::default()
        },
    )?;
    fill_boot(&mut boot)?;
    boot.commit()?;
    let mut root = format_ext4(
        window(ROOT_START, ROOT_LEN)?,
        &Ext4Options {
            features: Ext4Features::Trixie,
            label: "rootfs".to_owned(),
            uuid: *b"ceil-img demo v1",
            hash_seed: *b"demo hash seed 1",
            epoch: TIME,
        },
    )?;
    fill_root(&mut root)?;
    root.commit()?;
    Ok(overlay)
}

fn fill_boot(boot: &mut dyn Volume) -> Result<(), FsError> {
    let partuuid = format!("{DISK_SIGNATURE:08x}-02");
    let cmdline = format!(
        "console=serial0,115200 console=tty1 root=PARTUUID={partuuid} rootfstype=ext4 fsck.repair=yes rootwait resize\n"
    );
    for (path, text) in [
        ("/cmdline.txt", &*cmdline),
        ("/config.txt", CONFIG_TXT),
        ("/user-data", STOCK),
        ("/network-config", STOCK),
        // The underscore is the vendor's own mistake; cloud-init ignores the key.
        ("/meta-data", "instance_id: rpios-image\n"),
        (
            "/demo.txt",
            "This is the demo base of ceil-img. It has no kernel and does not boot.\n",
        ),
    ] {
        put(boot, path, text.as_bytes(), 0o755)?;
    }
    boot.make_dir(b"/overlays", &attrs(0o755))
}

fn fill_root(root: &mut dyn Volume) -> Result<(), FsError> {
    for (path, mode) in [
        ("/boot", 0o755),
        ("/boot/firmware", 0o755),
        ("/dev", 0o755),
        ("/etc", 0o755),
        ("/etc/cloud", 0o755),
        ("/etc/cloud/cloud.cfg.d", 0o755),
        ("/etc/systemd", 0o755),
        ("/etc/systemd/system", 0o755),
        ("/home", 0o755),
        ("/mnt", 0o755),
        ("/opt", 0o755),
        ("/proc", 0o555),
        ("/root", 0o700),
        ("/run", 0o755),
        ("/srv", 0o755),
        ("/sys", 0o555),
        ("/tmp", 0o1777),
        ("/usr", 0o755),
        ("/usr/bin", 0o755),
        ("/usr/lib", 0o755),
        ("/usr/lib/systemd", 0o755),
        ("/usr/lib/systemd/system", 0o755),
        ("/usr/local", 0o755),
        ("/usr/local/bin", 0o755),
        ("/usr/sbin", 0o755),
        ("/usr/share", 0o755),
        ("/usr/share/doc", 0o755),
        ("/var", 0o755),
        ("/var/lib", 0o755),
        ("/var/lib/cloud", 0o755),
        ("/var/lib/dpkg", 0o755),
        ("/var/log", 0o755),
        ("/var/tmp", 0o1777),
    ] {
        root.make_dir(path.as_bytes(), &attrs(mode))?;
    }
    for (path, target) in [
        ("/bin", "usr/bin"),
        ("/lib", "usr/lib"),
        ("/sbin", "usr/sbin"),
        ("/etc/os-release", "../usr/lib/os-release"),
        ("/usr/bin/sh", "dash"),
    ] {
        root.symlink(path.as_bytes(), target.as_bytes(), &attrs(0o777))?;
    }
    let fstab = format!(
        "proc            /proc           proc    defaults          0       0\n\
         PARTUUID={DISK_SIGNATURE:08x}-01  /boot/firmware  vfat    defaults          0       2\n\
         PARTUUID={DISK_SIGNATURE:08x}-02  /               ext4    defaults,noatime  0       1\n"
    );
    for (path, content, mode) in [
        ("/etc/fstab", fstab.as_bytes(), 0o644),
        ("/etc/hostname", b"raspberrypi\n".as_slice(), 0o644),
        (
            "/etc/hosts",
            b"127.0.0.1\tlocalhost\n::1\t\tlocalhost ip6-localhost ip6-loopback\n127.0.1.1\traspberrypi\n",
            0o644,
        ),
        ("/etc/machine-id", b"uninitialized\n", 0o444),
        ("/etc/motd", b"The demo base of ceil-img.\n", 0o644),
        (
            "/etc/cloud/cloud.cfg.d/99_raspberry-pi.cfg",
            CLOUD_CFG.as_bytes(),
            0o644,
        ),
        ("/usr/lib/os-release", OS_RELEASE.as_bytes(), 0o644),
        ("/usr/bin/dash", &ELF_AARCH64, 0o755),
        ("/usr/bin/dpkg", &ELF_AARCH64, 0o755),
        ("/usr/lib/systemd/systemd", &ELF_AARCH64, 0o755),
        (
            "/usr/lib/systemd/system/ssh.service",
            SSH_SERVICE.as_bytes(),
            0o644,
        ),
        ("/usr/bin/cloud-init", b"#!/bin/sh\nexit 1\n", 0o755),
        ("/var/lib/dpkg/status", DPKG_STATUS.as_bytes(), 0o644),
    ] {
        put(root, path, content, mode)?;
    }
    Ok(())
}

fn attrs(mode: u16) -> Attrs {
    Attrs {
        mode: Some(mode),
        owner: None,
        mtime: None,
        now: TIME,
    }
}

fn put(volume: &mut dyn Volume, path: &str, content: &[u8], mode: u16) -> Result<(), FsError> {
    volume.put_file(path.as_bytes(), &Bytes::shared(content), false, &attrs(mode))
}
