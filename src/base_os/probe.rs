mod read;
mod system;

use crate::amend::{FstabEntry, parse_fstab, parse_os_release};
use crate::fs::{Follow, FsResult, NodeKind, Volume};

use crate::values::{ELF_HEAD, elf_machine};

use super::{Arch, BaseFacts, CloudInit, NetworkManager, Seed};
use read::{dir, exists, file, head, node, text};
pub(super) use system::SHARED_ID;
use system::packages;

/// Programs that every base has, to read the processor from.
const PROGRAMS: [&str; 4] = ["/usr/bin/dpkg", "/bin/sh", "/usr/bin/env", "/sbin/init"];

/// Where HypriotOS links its seed.
const SEED_LINKS: &str = "/var/lib/cloud/seed/nocloud-net";

/// Looks at the two volumes of an image. What is not there is a fact too; only an unreadable file system is an error.
///
/// # Errors
/// [`FsError`](crate::fs::FsError) when a volume is damaged or cannot be read.
pub fn probe(boot: &dyn Volume, root: &dyn Volume) -> FsResult<BaseFacts> {
    let os_release = match text(root, "/etc/os-release")? {
        Some(text) => Some(text),
        None => text(root, "/usr/lib/os-release")?,
    };
    let fields = parse_os_release(&os_release.unwrap_or_default());
    let field = |name: &str| fields.get(name).cloned().unwrap_or_default();
    let fstab = parse_fstab(&text(root, "/etc/fstab")?.unwrap_or_default());
    let boot_mount = boot_mount(root, &fstab)?;
    let packages = packages(&text(root, "/var/lib/dpkg/status")?.unwrap_or_default());
    Ok(BaseFacts {
        id: field("ID"),
        version_codename: field("VERSION_CODENAME"),
        version_id: field("VERSION_ID"),
        pretty_name: field("PRETTY_NAME"),
        arch: arch(root)?,
        cmdline_path: cmdline_path(boot)?,
        cloud_init: cloud_init(boot, root, &boot_mount, packages.get("cloud-init"))?,
        system: system::system(boot, root, &fstab, packages)?,
        network: network(root)?,
        hosts: text(root, "/etc/hosts")?,
        root_label: root.label(),
        boot_label: boot.label(),
        boot_mount,
        fstab,
    })
}

/// `e_machine` of the first program that is an ELF file.
fn arch(root: &dyn Volume) -> FsResult<Option<Arch>> {
    for program in PROGRAMS {
        let Some((path, size)) = file(root, program)? else {
            continue;
        };
        let bytes = head(root, &path, size.min(ELF_HEAD as u64))?;
        if bytes.starts_with(b"\x7fELF") {
            return Ok(elf_machine(&bytes));
        }
    }
    Ok(None)
}

fn boot_mount(root: &dyn Volume, fstab: &[FstabEntry]) -> FsResult<String> {
    let listed = fstab
        .iter()
        .find(|e| e.kind == "vfat" && (e.mount == "/boot" || e.mount.starts_with("/boot/")));
    if let Some(entry) = listed {
        return Ok(entry.mount.trim_end_matches('/').to_owned());
    }
    Ok(if dir(root, "/boot/firmware")?.is_some() {
        "/boot/firmware"
    } else {
        "/boot"
    }
    .to_owned())
}

/// The firmware reads `os_prefix` + `cmdline`, both settings of config.txt.
fn cmdline_path(boot: &dyn Volume) -> FsResult<Option<String>> {
    let config = text(boot, "/config.txt")?.unwrap_or_default();
    let mut for_all = true;
    let (mut prefix, mut name) = ("", "cmdline.txt");
    for line in config.lines().map(str::trim) {
        if line.starts_with('[') {
            for_all = line.eq_ignore_ascii_case("[all]");
        } else if let Some((key, value)) = line.split_once('=').filter(|_| for_all) {
            match key.trim() {
                "os_prefix" => prefix = value.trim(),
                "cmdline" => name = value.trim(),
                _ => {}
            }
        }
    }
    for path in [format!("/{prefix}{name}"), "/cmdline.txt".to_owned()] {
        if exists(boot, &path)? {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

fn network(root: &dyn Volume) -> FsResult<NetworkManager> {
    const ENABLED: &str = "/etc/systemd/system/multi-user.target.wants";
    // A unit counts as enabled by its link, whether or not the link's target is there.
    let enabled = |unit: &str| -> FsResult<bool> {
        Ok(node(root, &format!("{ENABLED}/{unit}"), Follow::Parents)?.is_some())
    };
    if exists(root, "/usr/sbin/NetworkManager")? && enabled("NetworkManager.service")? {
        return Ok(NetworkManager::NetworkManager);
    }
    if enabled("systemd-networkd.service")? {
        return Ok(NetworkManager::Networkd);
    }
    let dhcpcd = exists(root, "/usr/sbin/dhcpcd")? || exists(root, "/sbin/dhcpcd")?;
    if dhcpcd && exists(root, "/etc/dhcpcd.conf")? {
        return Ok(NetworkManager::Dhcpcd);
    }
    let ifup = exists(root, "/usr/sbin/ifup")? || exists(root, "/sbin/ifup")?;
    if ifup && exists(root, "/etc/network/interfaces")? {
        return Ok(NetworkManager::Ifupdown);
    }
    Ok(NetworkManager::Unknown)
}

fn cloud_init(
    boot: &dyn Volume,
    root: &dyn Volume,
    boot_mount: &str,
    version: Option<&String>,
) -> FsResult<Option<CloudInit>> {
    if !exists(root, "/usr/bin/cloud-init")? || exists(root, "/etc/cloud/cloud-init.disabled")? {
        return Ok(None);
    }
    let seed = seed(boot, root, boot_mount)?;
    let dir = match &seed {
        Some(Seed::Boot { dir }) => dir.trim_end_matches('/').to_owned(),
        _ => String::new(),
    };
    Ok(Some(CloudInit {
        version: version.cloned(),
        user_data: text(boot, &format!("{dir}/user-data"))?,
        meta_data: text(boot, &format!("{dir}/meta-data"))?,
        seed,
    }))
}

/// Where NoCloud looks. Of several settings the last counts, as cloud-init merges its files in the order of names.
fn seed(boot: &dyn Volume, root: &dyn Volume, boot_mount: &str) -> FsResult<Option<Seed>> {
    let mut files = vec!["/etc/cloud/cloud.cfg".to_owned()];
    if let Some(dir) = dir(root, "/etc/cloud/cloud.cfg.d")? {
        for entry in root.read_dir(&dir)? {
            let name = String::from_utf8_lossy(&entry.name).into_owned();
            if name.ends_with(".cfg") {
                files.push(format!("/etc/cloud/cloud.cfg.d/{name}"));
            }
        }
    }
    let (mut seedfrom, mut label) = (None, "cidata".to_owned());
    for path in files {
        for line in text(root, &path)?.unwrap_or_default().lines() {
            let line = line.split('#').next().unwrap_or_default();
            if let Some(value) = setting(line, "seedfrom") {
                seedfrom = Some(value);
            }
            if let Some(value) = setting(line, "fs_label") {
                label = value;
            }
        }
    }
    if let Some(dir) = seedfrom.as_deref().and_then(|s| s.strip_prefix("file://")) {
        let below = dir.trim_end_matches('/').strip_prefix(boot_mount);
        if let Some(below) = below.filter(|b| b.is_empty() || b.starts_with('/')) {
            let dir = if below.is_empty() { "/" } else { below }.to_owned();
            return Ok(Some(Seed::Boot { dir }));
        }
    }
    if seedfrom.is_none() && label.eq_ignore_ascii_case(&boot.label()) {
        return Ok(Some(Seed::Boot { dir: "/".to_owned() }));
    }
    let link = |name: &str| -> FsResult<bool> {
        let Some((path, stat)) = node(root, &format!("{SEED_LINKS}/{name}"), Follow::Parents)? else {
            return Ok(false);
        };
        if stat.kind != NodeKind::Symlink {
            return Ok(false);
        }
        let target = format!("{boot_mount}/{name}");
        Ok(root.read_link(&path)? == target.as_bytes())
    };
    if link("user-data")? && link("meta-data")? {
        return Ok(Some(Seed::Links {
            network_config: link("network-config")?,
        }));
    }
    Ok(None)
}

/// The value after `key:` in a line of block or flow YAML.
fn setting(line: &str, key: &str) -> Option<String> {
    let (before, rest) = line.split_once(key)?;
    if before.ends_with(|c: char| c.is_alphanumeric() || c == '_') {
        return None;
    }
    let value = rest.trim_start().strip_prefix(':')?;
    let value = value.split([',', '}']).next().unwrap_or_default().trim();
    let value = value.trim_matches(['"', '\'']);
    (!value.is_empty()).then(|| value.to_owned())
}
