//! Disks of Linux: sysfs (`Documentation/ABI/{stable,testing}/sysfs-block`), `/proc/self/mountinfo` (proc(5)),
//! `/proc/swaps`, and udev's database where there is one.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::{Bus, Disk, Host, LookError, Mount, Part, is_system};

/// Bytes of the unit of `size` in sysfs, whatever the device's own sectors are.
const UNIT: u64 = 512;

/// Kinds of signatures, as udev names them, whose owner is bigger than the disk.
const MEMBERS: [&str; 6] = [
    "LVM2_member",
    "linux_raid_member",
    "isw_raid_member",
    "ddf_raid_member",
    "zfs_member",
    "bcache",
];

/// All disks that could hold anything: also readers without a card, not memory disks or loop devices without a file.
#[must_use]
pub fn disks(host: &dyn Host) -> Vec<Disk> {
    host.list("/sys/block")
        .iter()
        .filter(|name| !name.starts_with("ram") && !name.starts_with("zram"))
        .filter_map(|name| gather(host, name))
        .filter(|disk| disk.size > 0 || disk.bus != Bus::Loop)
        .collect()
}

/// The disk that a path names, also through links such as `/dev/disk/by-id/…`.
///
/// # Errors
/// Nothing is there, or it is no whole disk.
pub fn disk(host: &dyn Host, path: &str) -> Result<Disk, LookError> {
    let real = host
        .real(path)
        .ok_or_else(|| LookError::Missing(path.to_owned()))?;
    let name = real
        .strip_prefix("/dev/")
        .map(|name| name.replace('/', "!"))
        .ok_or_else(|| LookError::NotADisk(path.to_owned()))?;
    if let Some(disk) = gather(host, &name) {
        return Ok(disk);
    }
    let whole = host
        .list("/sys/block")
        .into_iter()
        .find(|disk| host.list(&format!("/sys/block/{disk}")).contains(&name));
    Err(match whole {
        Some(disk) => LookError::Partition {
            part: path.to_owned(),
            disk: format!("/dev/{disk}"),
        },
        None => LookError::NotADisk(path.to_owned()),
    })
}

/// A file of one value.
fn value(host: &dyn Host, path: &str) -> Option<String> {
    host.read(path).map(|text| text.trim().to_owned())
}

fn number(host: &dyn Host, path: &str) -> Option<u64> {
    value(host, path)?.parse().ok()
}

/// A property of udev's database for a device number.
fn property(host: &dyn Host, dev: &str, key: &str) -> Option<String> {
    let text = host.read(&format!("/run/udev/data/b{dev}"))?;
    let line = text.lines().find_map(|line| {
        line.strip_prefix("E:")?
            .strip_prefix(key)?
            .strip_prefix('=')
            .map(str::to_owned)
    })?;
    Some(unescape_udev(&line))
}

/// udev writes bytes that are unsafe in names as `\x20`.
fn unescape_udev(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("\\x") {
        out.push_str(before);
        match after.get(..2).and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => out.push(char::from(byte)),
            None => {
                out.push_str("\\x");
                rest = after;
                continue;
            }
        }
        rest = &after[2..];
    }
    out.push_str(rest);
    out
}

/// A device that is the disk, a part of it, or made from such.
#[derive(Default)]
struct Family {
    /// Device numbers, as `8:16`.
    numbers: BTreeSet<String>,
    /// Kernel names.
    names: BTreeSet<String>,
    /// Names of what was made from the disk, for people.
    made: Vec<String>,
}

impl Family {
    /// Adds a device and all that holds it; `dir` is its directory in sysfs.
    fn add(&mut self, host: &dyn Host, name: &str, dir: &str) {
        if !self.names.insert(name.to_owned()) {
            return;
        }
        self.numbers.extend(value(host, &format!("{dir}/dev")));
        for holder in host.list(&format!("{dir}/holders")) {
            let below = format!("/sys/block/{holder}");
            let title = value(host, &format!("{below}/dm/name"))
                .map_or_else(|| format!("/dev/{holder}"), |name| format!("/dev/mapper/{name}"));
            if !self.made.contains(&title) {
                self.made.push(title);
            }
            self.add(host, &holder, &below);
        }
    }

    fn has(&self, device: &str) -> bool {
        device
            .strip_prefix("/dev/")
            .is_some_and(|name| self.names.contains(name))
            || self.made.iter().any(|made| made == device)
    }
}

fn gather(host: &dyn Host, name: &str) -> Option<Disk> {
    let dir = format!("/sys/block/{name}");
    let size = number(host, &format!("{dir}/size"))?.saturating_mul(UNIT);
    let dev = value(host, &format!("{dir}/dev")).unwrap_or_default();
    let mut family = Family::default();
    family.add(host, name, &dir);
    let mut parts = Vec::new();
    let mut kinds = vec![(
        name.to_owned(),
        property(host, &dev, "ID_FS_TYPE").unwrap_or_default(),
    )];
    for part in host.list(&dir) {
        let below = format!("{dir}/{part}");
        let Some(index) = number(host, &format!("{below}/partition")) else {
            continue;
        };
        family.add(host, &part, &below);
        let dev = value(host, &format!("{below}/dev")).unwrap_or_default();
        let kind = property(host, &dev, "ID_FS_TYPE").unwrap_or_default();
        kinds.push((part.clone(), kind.clone()));
        let label = property(host, &dev, "ID_FS_LABEL_ENC").or_else(|| property(host, &dev, "ID_FS_LABEL"));
        let found = Part {
            path: PathBuf::from(format!("/dev/{part}")),
            size: number(host, &format!("{below}/size"))
                .unwrap_or_default()
                .saturating_mul(UNIT),
            kind,
            label: label.unwrap_or_default(),
        };
        parts.push((index, found));
    }
    // Names sort `sda10` before `sda2`.
    parts.sort_by_key(|(index, _)| *index);
    let all = mounts(host);
    let pool = family_of_btrfs(host, &family);
    let mut found: Vec<Mount> = all
        .iter()
        .filter(|m| {
            family.numbers.contains(&m.number)
                || family.has(&m.mount.source)
                || pool.contains(&m.mount.source)
        })
        .map(|m| m.mount.clone())
        .collect();
    found.dedup();
    let mut system = found.iter().map(|m| m.at.clone()).find(|at| is_system(at));
    let mut held = family.made.clone();
    let mut members = Vec::new();
    for (part, kind) in &kinds {
        if !MEMBERS.contains(&kind.as_str()) {
            continue;
        }
        let imported = || all.iter().filter(|m| m.kind == "zfs").map(|m| m.mount.at.clone());
        if kind == "zfs_member" && imported().next().is_some() {
            // Nothing says which pool a disk is of; while one is in use, every member counts as in use.
            system = system.or_else(|| imported().find(|at| is_system(at)));
            held.push(format!("a ZFS pool, by /dev/{part}"));
        } else if family.made.is_empty() {
            members.push(format!("{kind} on /dev/{part}"));
        }
    }
    let bus = bus(host, name, &dir);
    Some(Disk {
        path: PathBuf::from(format!("/dev/{}", name.replace('!', "/"))),
        raw: PathBuf::from(format!("/dev/{}", name.replace('!', "/"))),
        size,
        model: model(host, &dir, &dev, bus),
        bus,
        removable: removable(host, &dir, bus),
        read_only: number(host, &format!("{dir}/ro")) == Some(1),
        parts: parts.into_iter().map(|(_, part)| part).collect(),
        swap: swaps(host, &family, &all, &found),
        mounts: found,
        system,
        held,
        members,
        queue_depth: number(host, &format!("{dir}/device/queue_depth")).and_then(|n| u32::try_from(n).ok()),
        discard: number(host, &format!("{dir}/queue/discard_max_bytes")).is_some_and(|n| n > 0),
    })
}

fn bus(host: &dyn Host, name: &str, dir: &str) -> Bus {
    let real = host.real(dir).unwrap_or_default();
    let has = |part: &str| real.contains(part);
    if name.starts_with("loop") {
        Bus::Loop
    } else if has("/virtual/") {
        Bus::Virtual
    } else if has("/usb") {
        // A card reader inside a machine is often a USB device, and a card all the same.
        Bus::Usb
    } else if has("/mmc_host/") {
        match value(host, &format!("{dir}/device/type")).as_deref() {
            Some("SD") => Bus::Sd,
            _ => Bus::Emmc,
        }
    } else if has("/nvme/") || name.starts_with("nvme") {
        Bus::Nvme
    } else if has("/ata") {
        Bus::Ata
    } else if has("/virtio") {
        Bus::Virtio
    } else {
        Bus::Other
    }
}

/// The flag of sysfs is 0 for everything on an MMC host, so that the kind of card has to tell.
fn removable(host: &dyn Host, dir: &str, bus: Bus) -> Option<bool> {
    match bus {
        Bus::Sd => Some(true),
        Bus::Emmc => Some(false),
        Bus::Loop | Bus::Virtual => None,
        _ => number(host, &format!("{dir}/removable")).map(|n| n == 1),
    }
}

fn model(host: &dyn Host, dir: &str, dev: &str, bus: Bus) -> String {
    if bus == Bus::Loop {
        return value(host, &format!("{dir}/loop/backing_file")).unwrap_or_default();
    }
    let from = |file: &str, key: &str| {
        value(host, &format!("{dir}/device/{file}"))
            .filter(|text| !text.is_empty() && !text.starts_with("0x"))
            .or_else(|| property(host, dev, key).map(|text| text.replace('_', " ").trim().to_owned()))
            .unwrap_or_default()
    };
    let vendor = from("vendor", "ID_VENDOR");
    let mut model = from("model", "ID_MODEL");
    if model.is_empty() {
        model = from("name", "ID_NAME");
    }
    format!("{vendor} {model}").trim().to_owned()
}

/// A line of mountinfo.
struct Line {
    number: String,
    kind: String,
    mount: Mount,
}

fn mounts(host: &dyn Host) -> Vec<Line> {
    let text = host.read("/proc/self/mountinfo").unwrap_or_default();
    text.lines()
        .filter_map(|line| {
            let (left, right) = line.split_once(" - ")?;
            let mut left = left.split(' ');
            let number = left.nth(2)?.to_owned();
            let at = unescape_octal(left.nth(1)?);
            let mut right = right.split(' ');
            let kind = right.next()?.to_owned();
            let source = unescape_octal(right.next()?);
            Some(Line {
                number,
                kind,
                mount: Mount { source, at },
            })
        })
        .collect()
}

/// The kernel writes space, tab, newline and backslash as `\040`.
fn unescape_octal(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        match rest
            .get(at + 1..at + 4)
            .and_then(|oct| u8::from_str_radix(oct, 8).ok())
        {
            Some(byte) => {
                out.push(char::from(byte));
                rest = &rest[at + 4..];
            }
            None => {
                out.push('\\');
                rest = &rest[at + 1..];
            }
        }
    }
    out.push_str(rest);
    out
}

/// Sources under which a btrfs of several devices may be mounted, when one of them is of the family.
fn family_of_btrfs(host: &dyn Host, family: &Family) -> Vec<String> {
    let mut found = Vec::new();
    for id in host.list("/sys/fs/btrfs") {
        let devices = host.list(&format!("/sys/fs/btrfs/{id}/devices"));
        if devices.iter().any(|d| family.names.contains(d)) {
            found.extend(devices.iter().map(|d| format!("/dev/{d}")));
        }
    }
    found
}

fn swaps(host: &dyn Host, family: &Family, all: &[Line], own: &[Mount]) -> Vec<String> {
    let text = host.read("/proc/swaps").unwrap_or_default();
    let mut found = Vec::new();
    for line in text.lines().skip(1) {
        let mut words = line.split_whitespace();
        let (Some(place), Some(kind)) = (words.next(), words.next()) else {
            continue;
        };
        let place = unescape_octal(place);
        let on_disk = if kind == "file" {
            // The mount point with the longest name that the file is below.
            let below =
                |at: &str| at == "/" || place.strip_prefix(at).is_some_and(|rest| rest.starts_with('/'));
            all.iter()
                .map(|line| &line.mount)
                .filter(|m| below(&m.at))
                .max_by_key(|m| m.at.len())
                .is_some_and(|m| own.contains(m))
        } else {
            family.has(&place)
        };
        if on_disk {
            found.push(place);
        }
    }
    found
}
