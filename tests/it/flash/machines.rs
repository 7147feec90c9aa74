//! F236, F238, F242, P22: what the system tells of its disks, and the judgement over it, on recorded machines of every
//! platform.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use ceil_img::flash::{Allow, judge};
use ceil_img::sys::disks::{self, Disk, Host, LookError};

/// A machine of `fixtures/machines`.
struct Recorded {
    files: BTreeMap<String, String>,
    links: BTreeMap<String, String>,
    programs: BTreeMap<String, String>,
}

impl Recorded {
    fn open(name: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("fixtures/machines/{name}.txt"));
        let text = fs::read_to_string(path).unwrap();
        let mut machine = Self {
            files: BTreeMap::new(),
            links: BTreeMap::new(),
            programs: BTreeMap::new(),
        };
        let mut block: Option<(bool, String)> = None;
        for line in text.lines() {
            if let Some(content) = line.strip_prefix("| ").or_else(|| line.strip_prefix('|')) {
                let (program, key) = block.as_ref().expect("a line of something");
                let into = if *program {
                    &mut machine.programs
                } else {
                    &mut machine.files
                };
                let entry = into.get_mut(key).unwrap();
                entry.push_str(content);
                entry.push('\n');
            } else if let Some(command) = line.strip_prefix("$ ") {
                let command = command.strip_suffix(':').unwrap().to_owned();
                machine.programs.insert(command.clone(), String::new());
                block = Some((true, command));
            } else if let Some(path) = line.strip_suffix(':').filter(|path| path.starts_with('/')) {
                machine.files.insert(path.to_owned(), String::new());
                block = Some((false, path.to_owned()));
            } else if let Some((path, value)) = line.split_once(" = ") {
                machine.files.insert(path.to_owned(), format!("{value}\n"));
            } else if let Some((path, target)) = line.split_once(" -> ") {
                machine.links.insert(path.to_owned(), target.to_owned());
            } else {
                assert!(line.is_empty() || line.starts_with('#'), "{name}: {line}");
            }
        }
        machine
    }

    fn disk(&self, path: &str) -> Result<Disk, LookError> {
        if self.programs.is_empty() {
            disks::linux_disk(self, path)
        } else {
            disks::macos_disk(self, path)
        }
    }

    fn disks(&self) -> Vec<Disk> {
        if self.programs.is_empty() {
            disks::linux_disks(self)
        } else {
            disks::macos_disks(self).unwrap()
        }
    }
}

impl Host for Recorded {
    fn read(&self, path: &str) -> Option<String> {
        self.files.get(path).cloned()
    }

    fn list(&self, path: &str) -> Vec<String> {
        let below = format!("{path}/");
        let mut names: Vec<String> = self
            .files
            .keys()
            .chain(self.links.keys())
            .filter_map(|key| key.strip_prefix(&below))
            .map(|rest| rest.split('/').next().unwrap().to_owned())
            .collect();
        names.sort();
        names.dedup();
        names
    }

    fn real(&self, path: &str) -> Option<String> {
        if let Some(target) = self.links.get(path) {
            let mut parts: Vec<&str> = path.split('/').collect();
            parts.pop();
            for part in target.split('/') {
                match part {
                    ".." => drop(parts.pop()),
                    part => parts.push(part),
                }
            }
            return Some(parts.join("/"));
        }
        (self.files.contains_key(path) || !self.list(path).is_empty()).then(|| path.to_owned())
    }

    fn output(&self, program: &str, args: &[&str]) -> io::Result<Vec<u8>> {
        let command = format!("{program} {}", args.join(" "));
        match self.programs.get(&command) {
            Some(text) => Ok(text.clone().into_bytes()),
            None => Err(io::Error::other("Could not find disk")),
        }
    }
}

const EVERYTHING: Allow = Allow {
    fixed: true,
    large: true,
    member: true,
};

/// Reasons without flags, and with all of them.
fn reasons(disk: &Disk, need: u64) -> (Vec<String>, Vec<String>) {
    let words = |allow| judge(disk, need, allow).iter().map(ToString::to_string).collect();
    (words(Allow::default()), words(EVERYTHING))
}

/// Machine, device, reasons without flags, reasons that no flag removes.
const JUDGED: &[(&str, &str, &[&str], &[&str])] = &[
    ("laptop", "/dev/sda", &[], &[]),
    (
        "laptop",
        "/dev/disk/by-id/usb-Generic-_SD_MMC_CRW_28203008282014000-0:0",
        &[],
        &[],
    ),
    ("laptop", "/dev/sdb", &["no card is in it"], &["no card is in it"]),
    (
        "laptop",
        "/dev/sdc",
        &[
            "it is a fixed disk (usb), not a card",
            "it is larger than any card: 1.8 TiB",
        ],
        &[],
    ),
    (
        "laptop",
        "/dev/sdd",
        &["it is part of something bigger: linux_raid_member on /dev/sdd"],
        &[],
    ),
    (
        "laptop",
        "/dev/nvme0n1",
        &[
            "the running system lives from it: `/` is there",
            "memory is swapped to it: `/dev/dm-2`",
            "it is in use by /dev/mapper/luks-root",
            "it is in use by /dev/mapper/vg-root",
            "it is in use by /dev/mapper/vg-swap",
            "it is a fixed disk (nvme), not a card",
        ],
        &[
            "the running system lives from it: `/` is there",
            "memory is swapped to it: `/dev/dm-2`",
            "it is in use by /dev/mapper/luks-root",
            "it is in use by /dev/mapper/vg-root",
            "it is in use by /dev/mapper/vg-swap",
        ],
    ),
    (
        "pi",
        "/dev/mmcblk0",
        &["the running system lives from it: `/` is there"],
        &["the running system lives from it: `/` is there"],
    ),
    (
        "pi",
        "/dev/sda",
        &["it is write-protected"],
        &["it is write-protected"],
    ),
    (
        "pi",
        "/dev/sdb",
        &["memory is swapped to it: `/mnt/stick/swapfile`"],
        &["memory is swapped to it: `/mnt/stick/swapfile`"],
    ),
    (
        "server",
        "/dev/sda",
        &[
            "the running system lives from it: `/` is there",
            "it is in use by a ZFS pool, by /dev/sda3",
            "it is a fixed disk (ata), not a card",
        ],
        &[
            "the running system lives from it: `/` is there",
            "it is in use by a ZFS pool, by /dev/sda3",
        ],
    ),
    (
        "server",
        "/dev/sdb",
        &[
            "it is in use by /dev/md0",
            "it is in use by /dev/mapper/data-srv",
            "it is a fixed disk (ata), not a card",
            "it is larger than any card: 1.8 TiB",
        ],
        &["it is in use by /dev/md0", "it is in use by /dev/mapper/data-srv"],
    ),
    (
        "server",
        "/dev/sde",
        &["it is part of something bigger: LVM2_member on /dev/sde1"],
        &[],
    ),
    (
        "server",
        "/dev/sdf",
        &["it is larger than any card: 953.9 GiB"],
        &[],
    ),
    (
        "server",
        "/dev/sdg",
        &["the system does not say whether it can be taken out (other)"],
        &[],
    ),
    ("server", "/dev/mmcblk0", &[], &[]),
    (
        "server",
        "/dev/mmcblk1",
        &["it is a fixed disk (emmc), not a card"],
        &[],
    ),
    ("live", "/dev/sda", &["it is a fixed disk (ata), not a card"], &[]),
    (
        "live",
        "/dev/sdb",
        &["the running system lives from it: `/run/live/medium` is there"],
        &["the running system lives from it: `/run/live/medium` is there"],
    ),
    (
        "live",
        "/dev/loop5",
        &["it is a file that the system shows as a disk"],
        &[],
    ),
    (
        "cloud-vm",
        "/dev/vda",
        &[
            "the running system lives from it: `/` is there",
            "it is a fixed disk (virtio), not a card",
        ],
        &["the running system lives from it: `/` is there"],
    ),
    (
        "mac",
        "/dev/disk0",
        &[
            "the running system lives from it: `/` is there",
            "it is a fixed disk (nvme), not a card",
        ],
        &["the running system lives from it: `/` is there"],
    ),
    (
        "mac",
        "/dev/disk3",
        &[
            "the running system lives from it: `/` is there",
            "the system does not say whether it can be taken out (virtual)",
        ],
        &["the running system lives from it: `/` is there"],
    ),
    ("mac", "/dev/disk4", &[], &[]),
    ("mac", "/dev/rdisk4", &[], &[]),
    ("mac", "disk4", &[], &[]),
    (
        "mac",
        "/dev/disk5",
        &["it is write-protected"],
        &["it is write-protected"],
    ),
    (
        "mac",
        "/dev/disk6",
        &[
            "it is a fixed disk (usb), not a card",
            "it is larger than any card: 931.5 GiB",
        ],
        &[],
    ),
    (
        "mac",
        "/dev/disk8",
        &["it is a file that the system shows as a disk"],
        &[],
    ),
    ("mac", "/dev/disk9", &["no card is in it"], &["no card is in it"]),
];

#[test]
fn f236_f238_p22_disks_are_judged_by_facts() {
    for (machine, device, plain, all) in JUDGED {
        let disk = Recorded::open(machine)
            .disk(device)
            .unwrap_or_else(|e| panic!("{machine} {device}: {e}"));
        let (without, with) = reasons(&disk, 1 << 20);
        assert_eq!(without, *plain, "{machine} {device} without flags: {disk:#?}");
        assert_eq!(with, *all, "{machine} {device} with every flag");
    }
}

/// What needs room is refused where there is none.
#[test]
fn a_card_that_is_too_small_is_refused() {
    let disk = Recorded::open("mac").disk("disk4").unwrap();
    assert_eq!(reasons(&disk, 31_914_983_424), (Vec::new(), Vec::new()));
    let (without, with) = reasons(&disk, 31_914_983_425);
    assert_eq!(without, with);
    assert_eq!(
        without,
        ["it is too small: 29.7 GiB (31914983424 bytes), and the image needs 29.7 GiB (31914983425 bytes)"]
    );
}

/// Every refusal has a way out; flags are named where they help, and only there.
#[test]
fn refusals_name_their_flags() {
    for (machine, device, _, _) in JUDGED {
        let disk = Recorded::open(machine).disk(device).unwrap();
        for refusal in judge(&disk, 1 << 60, Allow::default()) {
            let hint = refusal.hint();
            assert!(!hint.is_empty(), "{refusal}");
            match refusal.flag() {
                Some(flag) => {
                    assert!(hint.contains(flag), "{hint}");
                    assert!(!judge(&disk, 1 << 60, EVERYTHING).contains(&refusal), "{refusal}");
                }
                None => assert!(!hint.contains("--allow"), "{hint}"),
            }
        }
    }
}

/// F242: cards with size and model, and nothing else.
#[test]
fn f242_cards_are_listed() {
    for (machine, expected) in [
        (
            "laptop",
            vec![("/dev/sda", 31_914_983_424, "Generic- SD/MMC CRW")],
        ),
        ("pi", vec![]),
        (
            "server",
            vec![
                ("/dev/mmcblk0", 512_174_850_048, "SN512"),
                ("/dev/sdc", 15_931_539_456, "SanDisk Cruzer"),
                ("/dev/sdd", 15_931_539_456, "SanDisk Cruzer"),
            ],
        ),
        ("live", vec![]),
        ("cloud-vm", vec![]),
        ("mac", vec![("/dev/disk4", 31_914_983_424, "Storage Device")]),
    ] {
        let disks = Recorded::open(machine).disks();
        let cards: Vec<(&str, u64, &str)> = disks
            .iter()
            .filter(|disk| judge(disk, 0, Allow::default()).is_empty())
            .map(|disk| (disk.path.to_str().unwrap(), disk.size, disk.model.as_str()))
            .collect();
        assert_eq!(cards, expected, "{machine}");
    }
}

/// F233, F234: what is mounted, also of a btrfs of two disks; what is written to on macOS.
#[test]
fn f233_f234_mounts_and_raw_devices() {
    let points = |disk: &Disk| disk.mounts.iter().map(|m| m.at.clone()).collect::<Vec<_>>();
    let laptop = Recorded::open("laptop");
    let card = laptop.disk("/dev/sda").unwrap();
    assert_eq!(points(&card), ["/media/alex/bootfs", "/media/alex/root fs"]);
    assert_eq!(card.raw, Path::new("/dev/sda"));
    assert_eq!(card.queue_depth, Some(1));
    let labels: Vec<(&str, &str)> = card
        .parts
        .iter()
        .map(|p| (p.kind.as_str(), p.label.as_str()))
        .collect();
    assert_eq!(labels, [("vfat", "bootfs"), ("ext4", "root fs")]);
    let server = Recorded::open("server");
    for disk in ["/dev/sdc", "/dev/sdd"] {
        assert_eq!(points(&server.disk(disk).unwrap()), ["/mnt/pool"], "{disk}");
    }
    let card = Recorded::open("mac").disk("/dev/disk4").unwrap();
    assert_eq!(points(&card), ["/Volumes/bootfs"]);
    assert_eq!(card.raw, Path::new("/dev/rdisk4"));
    let ssd = Recorded::open("mac").disk("/dev/disk6").unwrap();
    assert_eq!(points(&ssd), ["/Volumes/Backup"]);
}

#[test]
fn what_is_no_whole_disk_is_told_apart() {
    for (machine, device, why) in [
        (
            "laptop",
            "/dev/sda1",
            "`/dev/sda1` is one partition of `/dev/sda`; a card is written as a whole",
        ),
        ("laptop", "/dev/sdz", "there is no `/dev/sdz`"),
        (
            "laptop",
            "/sys/block/sda",
            "`/sys/block/sda` is not a disk that the system knows",
        ),
        (
            "mac",
            "/dev/disk4s1",
            "`/dev/disk4s1` is one partition of `/dev/disk4`; a card is written as a whole",
        ),
        (
            "mac",
            "/dev/null",
            "`/dev/null` is not a disk that the system knows",
        ),
        (
            "mac",
            "/dev/disk77",
            "cannot ask the system about its disks: `diskutil info -plist disk77`: Could not find disk",
        ),
    ] {
        let error = Recorded::open(machine).disk(device).unwrap_err().to_string();
        assert_eq!(error, why, "{machine}");
    }
}
