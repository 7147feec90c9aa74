//! Disks of macOS, from the property lists of `diskutil` (diskutil(8)). Its words for people change between releases;
//! the keys do not.

use std::path::PathBuf;

use plist::{Dictionary, Value};

use super::{Bus, Disk, Host, LookError, Mount, Part, is_system};

/// Contents of partitions whose owner is bigger than the disk.
const MEMBERS: [&str; 3] = ["Apple_RAID", "Apple_RAID_Offline", "Apple_CoreStorage"];

fn ask(host: &dyn Host, args: &[&str]) -> Result<Dictionary, LookError> {
    let text = host
        .output("/usr/sbin/diskutil", args)
        .map_err(|e| LookError::Host(format!("`diskutil {}`: {e}", args.join(" "))))?;
    let value = Value::from_reader(std::io::Cursor::new(text)).map_err(|e| {
        LookError::Host(format!(
            "what `diskutil {}` prints is no property list: {e}",
            args.join(" ")
        ))
    })?;
    value
        .into_dictionary()
        .ok_or_else(|| LookError::Host(format!("`diskutil {}` prints no dictionary", args.join(" "))))
}

fn text<'a>(of: &'a Dictionary, key: &str) -> &'a str {
    of.get(key).and_then(Value::as_string).unwrap_or_default()
}

fn flag(of: &Dictionary, key: &str) -> Option<bool> {
    of.get(key).and_then(Value::as_boolean)
}

fn bytes(of: &Dictionary, key: &str) -> Option<u64> {
    of.get(key).and_then(Value::as_unsigned_integer)
}

fn dictionaries<'a>(of: &'a Dictionary, key: &str) -> impl Iterator<Item = &'a Dictionary> {
    of.get(key)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_dictionary)
}

/// All whole disks, also virtual ones.
///
/// # Errors
/// `diskutil` cannot be asked.
pub fn disks(host: &dyn Host) -> Result<Vec<Disk>, LookError> {
    let all = ask(host, &["list", "-plist"])?;
    let names: Vec<String> = all
        .get("WholeDisks")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_string)
        .map(str::to_owned)
        .collect();
    // A disk may go away between the two questions.
    Ok(names
        .iter()
        .filter_map(|name| gather(host, &all, name).ok())
        .collect())
}

/// The disk that a path names: `/dev/disk4`, `/dev/rdisk4` or `disk4`.
///
/// # Errors
/// `diskutil` does not know it, or it is no whole disk.
pub fn disk(host: &dyn Host, path: &str) -> Result<Disk, LookError> {
    let name = path.strip_prefix("/dev/").unwrap_or(path);
    let name = name
        .strip_prefix('r')
        .filter(|n| n.starts_with("disk"))
        .unwrap_or(name);
    let number = name.strip_prefix("disk").unwrap_or_default();
    let whole: String = number.chars().take_while(char::is_ascii_digit).collect();
    if whole.is_empty() {
        return Err(LookError::NotADisk(path.to_owned()));
    }
    if whole != number {
        return Err(LookError::Partition {
            part: path.to_owned(),
            disk: format!("/dev/disk{whole}"),
        });
    }
    gather(host, &ask(host, &["list", "-plist"])?, name)
}

fn gather(host: &dyn Host, all: &Dictionary, name: &str) -> Result<Disk, LookError> {
    let info = ask(host, &["info", "-plist", name])?;
    if flag(&info, "WholeDisk") == Some(false) {
        return Err(LookError::Partition {
            part: format!("/dev/{name}"),
            disk: format!("/dev/{}", text(&info, "ParentWholeDisk")),
        });
    }
    let mut parts = Vec::new();
    let mut mounts = Vec::new();
    let mut members = Vec::new();
    let mut mount = |of: &Dictionary| {
        let at = text(of, "MountPoint");
        if !at.is_empty() {
            mounts.push(Mount {
                source: format!("/dev/{}", text(of, "DeviceIdentifier")),
                at: at.to_owned(),
            });
        }
    };
    mount(&info);
    for entry in dictionaries(all, "AllDisksAndPartitions") {
        if text(entry, "DeviceIdentifier") == name {
            for part in dictionaries(entry, "Partitions") {
                mount(part);
                let content = text(part, "Content");
                if MEMBERS.contains(&content) {
                    members.push(format!("{content} on /dev/{}", text(part, "DeviceIdentifier")));
                }
                parts.push(Part {
                    path: PathBuf::from(format!("/dev/{}", text(part, "DeviceIdentifier"))),
                    size: bytes(part, "Size").unwrap_or_default(),
                    kind: content.to_owned(),
                    label: text(part, "VolumeName").to_owned(),
                });
            }
        }
        // A container of APFS is a disk of its own, made from partitions of this one.
        let made = dictionaries(entry, "APFSPhysicalStores").any(|store| {
            let rest = text(store, "DeviceIdentifier").strip_prefix(name);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('s'))
        });
        if made || text(entry, "DeviceIdentifier") == name {
            for volume in dictionaries(entry, "APFSVolumes") {
                mount(volume);
                for snapshot in dictionaries(volume, "MountedSnapshots") {
                    let at = text(snapshot, "SnapshotMountPoint");
                    if !at.is_empty() {
                        mounts_of_snapshot(&mut mount, volume, at);
                    }
                }
            }
        }
    }
    let virtual_disk = text(&info, "VirtualOrPhysical") == "Virtual";
    let bus = match text(&info, "BusProtocol") {
        "Disk Image" => Bus::Loop,
        _ if virtual_disk => Bus::Virtual,
        "USB" => Bus::Usb,
        "Secure Digital" => Bus::Sd,
        "PCI-Express" | "PCI" | "Apple Fabric" | "NVMe" => Bus::Nvme,
        "SATA" | "ATA" => Bus::Ata,
        "Virtio Interface" => Bus::Virtio,
        _ => Bus::Other,
    };
    let system = mounts.iter().map(|m| m.at.clone()).find(|at| is_system(at));
    Ok(Disk {
        path: PathBuf::from(format!("/dev/{name}")),
        raw: PathBuf::from(format!("/dev/r{name}")),
        size: bytes(&info, "TotalSize")
            .or_else(|| bytes(&info, "Size"))
            .unwrap_or_default(),
        model: text(&info, "MediaName").trim().to_owned(),
        bus,
        removable: match bus {
            Bus::Loop | Bus::Virtual => None,
            // `RemovableMediaOrExternalDevice` is true of an external hard disk as well.
            _ => flag(&info, "RemovableMedia").or_else(|| flag(&info, "Removable")),
        },
        read_only: flag(&info, "WritableMedia") == Some(false),
        parts,
        mounts,
        // `SystemImage` marks the disk that the running system was started from, where nothing of it is mounted by name.
        system: system.or_else(|| (flag(&info, "SystemImage") == Some(true)).then(|| "/".to_owned())),
        swap: Vec::new(),
        held: Vec::new(),
        members,
        queue_depth: None,
        discard: false,
    })
}

/// The system's own volume is mounted by a snapshot of it.
fn mounts_of_snapshot(mount: &mut dyn FnMut(&Dictionary), volume: &Dictionary, at: &str) {
    let mut of = Dictionary::new();
    of.insert("MountPoint".to_owned(), Value::String(at.to_owned()));
    let source = text(volume, "DeviceIdentifier").to_owned();
    of.insert("DeviceIdentifier".to_owned(), Value::String(source));
    mount(&of);
}
