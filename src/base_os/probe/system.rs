//! The inside of a system: what starts programs, kernels, swap, accounts, the SSH server, time and radios.

use std::collections::{BTreeMap, BTreeSet};

use crate::amend::{Accounts, FstabEntry};
use crate::fs::{Follow, FsResult, NodeKind, Volume};

use super::super::facts::{ClockFacts, DbusId, Init, Kernel, RadioFacts, SshFacts, SwapFacts, SystemFacts};
use super::read::{dir, exists, file, first, named, names, node, text};

/// The machine-id of every card of HypriotOS 1.4.0 (P01).
pub(in crate::base_os) const SHARED_ID: &str = "9989a26f06984d6dbadc01770f018e3b";

/// Where units lie; of one name in several the first counts.
const UNIT_FOLDERS: [&str; 3] = [
    "/etc/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];

/// Where generators of units lie.
const GENERATORS: &str = "/usr/lib/systemd/system-generators";

/// Longest file of `/etc/skel` that is copied, in bytes.
const MAX_SKEL: usize = 64 << 10;

/// How deep zones lie below `/usr/share/zoneinfo`: `America/Argentina/Salta`.
const ZONE_DEPTH: usize = 3;

pub(super) fn system(
    boot: &dyn Volume,
    root: &dyn Volume,
    fstab: &[FstabEntry],
    packages: BTreeMap<String, String>,
) -> FsResult<SystemFacts> {
    let units = units(root)?;
    let machine_id = text(root, "/etc/machine-id")?;
    let dbus = text(root, "/var/lib/dbus/machine-id")?;
    let shared = [&machine_id, &dbus]
        .into_iter()
        .flatten()
        .any(|id| id.trim() == SHARED_ID);
    let kept = |path: &str| text(root, path);
    Ok(SystemFacts {
        init: init(root, packages.get("systemd"))?,
        kernels: kernels(root)?,
        swap: swap(root, fstab, &units)?,
        ssh: ssh(root)?,
        accounts: accounts(root)?,
        skel: skel(root)?,
        sudo: dir(root, "/etc/sudoers.d")?.is_some(),
        userconf: units.contains_key("userconfig.service") || exists(root, "/usr/lib/userconf-pi/userconf")?,
        preseed: packages.contains_key("rpi-preseed"),
        machine_id,
        dbus_id: dbus_id(root)?,
        shared_machine_id: shared,
        clock: clock(boot, root)?,
        radio: radio(root)?,
        zones: zones(root)?,
        locale_gen: kept("/etc/locale.gen")?,
        locale: locale(root)?,
        keyboard: kept("/etc/default/keyboard")?,
        interfaces_d: texts_in(root, "/etc/network/interfaces.d")?,
        interfaces: kept("/etc/network/interfaces")?,
        dhcpcd: exists(root, "/etc/dhcpcd.conf")?,
        packages,
        units,
    })
}

/// Installed packages and their versions in the text of dpkg's status.
pub(super) fn packages(status: &str) -> BTreeMap<String, String> {
    let entry = |text: &str| {
        let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
        let there = field("Status: ").is_none_or(|status| status.ends_with(" installed"));
        let (name, version) = (field("Package: ")?, field("Version: ")?);
        there.then(|| (name.to_owned(), version.to_owned()))
    };
    status.split("\n\n").filter_map(entry).collect()
}

fn init(root: &dyn Volume, version: Option<&String>) -> FsResult<Init> {
    if first(root, &["/usr/lib/systemd/systemd", "/lib/systemd/systemd"])?.is_none() {
        return Ok(Init::Other);
    }
    let digits: Option<String> = version.map(|v| v.chars().take_while(char::is_ascii_digit).collect());
    Ok(Init::Systemd(digits.and_then(|d| d.parse().ok())))
}

fn kernels(root: &dyn Volume) -> FsResult<Vec<Kernel>> {
    // One is a link to the other on a merged system.
    let mut kernels: Vec<Kernel> = Vec::new();
    for folder in ["/usr/lib/modules", "/lib/modules"] {
        for release in names(root, folder)? {
            let path = format!("{folder}/{release}");
            if kernels.iter().any(|k| k.release == release) || dir(root, &path)?.is_none() {
                continue;
            }
            let mut modules = None;
            for list in ["modules.dep", "modules.builtin"] {
                if let Some(text) = text(root, &format!("{path}/{list}"))? {
                    modules
                        .get_or_insert_with(BTreeSet::new)
                        .extend(text.lines().filter_map(module));
                }
            }
            kernels.push(Kernel { release, modules });
        }
    }
    kernels.sort_by(|a, b| a.release.cmp(&b.release));
    Ok(kernels)
}

/// `kernel/net/bridge/br_netfilter.ko.xz: …` is `br_netfilter`.
fn module(line: &str) -> Option<String> {
    let path = line.split(':').next()?;
    let (name, _) = path.rsplit('/').next()?.split_once(".ko")?;
    Some(name.replace('-', "_"))
}

fn units(root: &dyn Volume) -> FsResult<BTreeMap<String, String>> {
    const KINDS: [&str; 7] = [
        ".service", ".socket", ".target", ".timer", ".mount", ".path", ".swap",
    ];
    let mut units = BTreeMap::new();
    for folder in UNIT_FOLDERS {
        for name in names(root, folder)? {
            if KINDS.iter().any(|kind| name.ends_with(kind)) {
                let path = format!("{folder}/{name}");
                units.entry(name).or_insert(path);
            }
        }
    }
    Ok(units)
}

fn swap(root: &dyn Volume, fstab: &[FstabEntry], units: &BTreeMap<String, String>) -> FsResult<SwapFacts> {
    let has_dphys =
        units.contains_key("dphys-swapfile.service") || exists(root, "/etc/init.d/dphys-swapfile")?;
    let config = text(root, "/etc/dphys-swapfile")?;
    let generators: Vec<String> = names(root, GENERATORS)?
        .into_iter()
        .filter(|name| name.contains("swap") || name.contains("zram"))
        .collect();
    let rpi_swap = exists(root, "/etc/rpi/swap.conf")? || generators.iter().any(|g| g.starts_with("rpi-"));
    let mut mounts: Vec<String> = fstab
        .iter()
        .filter(|e| e.kind == "swap")
        .map(|e| e.mount.clone())
        .collect();
    mounts.dedup();
    Ok(SwapFacts {
        dphys: config.or_else(|| has_dphys.then(String::new)),
        rpi_swap,
        generators,
        fstab: mounts,
    })
}

fn ssh(root: &dyn Volume) -> FsResult<SshFacts> {
    const LINKS: [&str; 3] = [
        "/etc/systemd/system/multi-user.target.wants/ssh.service",
        "/etc/systemd/system/multi-user.target.wants/sshd.service",
        "/etc/systemd/system/sockets.target.wants/ssh.socket",
    ];
    let mut enabled = false;
    for link in LINKS {
        enabled |= named(root, link)?;
    }
    Ok(SshFacts {
        config: text(root, "/etc/ssh/sshd_config")?,
        enabled,
        first_boot_keys: exists(root, "/usr/lib/raspberrypi-sys-mods/firstboot")?
            || exists(root, "/usr/lib/raspberrypi-sys-mods/regenerate_ssh_host_keys")?,
    })
}

fn accounts(root: &dyn Volume) -> FsResult<Option<Accounts>> {
    let (Some(passwd), Some(group)) = (text(root, "/etc/passwd")?, text(root, "/etc/group")?) else {
        return Ok(None);
    };
    Ok(Some(Accounts {
        passwd,
        group,
        shadow: text(root, "/etc/shadow")?.unwrap_or_default(),
        gshadow: text(root, "/etc/gshadow")?,
    }))
}

fn texts_in(root: &dyn Volume, folder: &str) -> FsResult<Vec<(String, String)>> {
    let mut texts = Vec::new();
    for name in names(root, folder)? {
        if let Some(text) = text(root, &format!("{folder}/{name}"))? {
            texts.push((name, text));
        }
    }
    Ok(texts)
}

fn skel(root: &dyn Volume) -> FsResult<Vec<(String, String)>> {
    let mut files = texts_in(root, "/etc/skel")?;
    files.retain(|(_, text)| text.len() <= MAX_SKEL);
    Ok(files)
}

fn locale(root: &dyn Volume) -> FsResult<Option<(String, String)>> {
    let Some((path, _)) = file(root, "/etc/default/locale")? else {
        return Ok(None);
    };
    let path = String::from_utf8_lossy(&path).into_owned();
    Ok(text(root, &path)?.map(|text| (path, text)))
}

fn dbus_id(root: &dyn Volume) -> FsResult<DbusId> {
    Ok(match node(root, "/var/lib/dbus/machine-id", Follow::Parents)? {
        None => DbusId::Missing,
        Some((_, stat)) if stat.kind == NodeKind::Symlink => DbusId::Link,
        Some(_) => DbusId::File,
    })
}

fn clock(boot: &dyn Volume, root: &dyn Volume) -> FsResult<ClockFacts> {
    let on_root = text(root, "/etc/fake-hwclock.data")?;
    let on_boot = text(boot, "/fake-hwclock.data")?;
    let program = first(root, &["/sbin/fake-hwclock", "/usr/sbin/fake-hwclock"])?;
    let fake_hwclock = match (on_boot, on_root) {
        (Some(text), _) => Some((text, true)),
        (None, Some(text)) => Some((text, false)),
        (None, None) => program.map(|_| (String::new(), false)),
    };
    let timesyncd = first(
        root,
        &[
            "/usr/lib/systemd/systemd-timesyncd",
            "/lib/systemd/systemd-timesyncd",
        ],
    )?;
    Ok(ClockFacts {
        fake_hwclock,
        timesyncd: timesyncd.is_some(),
    })
}

fn radio(root: &dyn Volume) -> FsResult<RadioFacts> {
    const RFKILL: &str = "/var/lib/systemd/rfkill";
    let mut blocked = Vec::new();
    for (name, text) in texts_in(root, RFKILL)? {
        if name.ends_with(":wlan") && text.trim() != "0" {
            blocked.push(format!("{RFKILL}/{name}"));
        }
    }
    let state = text(root, "/var/lib/NetworkManager/NetworkManager.state")?;
    Ok(RadioFacts {
        blocked,
        nm_state: state.filter(|text| text.contains("WirelessEnabled=false")),
        iw: first(root, &["/usr/sbin/iw", "/sbin/iw", "/usr/bin/iw"])?,
        wpa_supplicant: first(root, &["/usr/sbin/wpa_supplicant", "/sbin/wpa_supplicant"])?.is_some(),
    })
}

fn zones(root: &dyn Volume) -> FsResult<BTreeSet<String>> {
    const FOLDER: &str = "/usr/share/zoneinfo";
    let mut zones = BTreeSet::new();
    let mut pending = vec![String::new()];
    while let Some(folder) = pending.pop() {
        for name in names(root, &format!("{FOLDER}/{folder}"))? {
            let zone = if folder.is_empty() {
                name
            } else {
                format!("{folder}/{name}")
            };
            // Zones begin with a capital letter; `posix` and `right` are copies of all.
            if !zone.starts_with(|c: char| c.is_ascii_uppercase()) {
                continue;
            }
            match node(root, &format!("{FOLDER}/{zone}"), Follow::Last)? {
                Some((_, stat)) if stat.kind == NodeKind::Dir && zone.split('/').count() < ZONE_DEPTH => {
                    pending.push(zone);
                }
                Some((_, stat)) if stat.kind == NodeKind::File => {
                    zones.insert(zone);
                }
                _ => {}
            }
        }
    }
    Ok(zones)
}
