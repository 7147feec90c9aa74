//! Data disks: whether their names stay, and whether what is said of each fits into the words of `/etc/ceil/mounts` and
//! `/etc/ceil/wipe-consent`, of which the node makes units.

use std::collections::BTreeMap;

use crate::planner::View;
use crate::spec::{At, DiskSettings};

use super::Found;

/// File systems that a node can make on a disk that it wipes; see `ceil-prepare-disk` of the overlay `disks`.
const MADE: [&str; 3] = ["ext4", "xfs", "btrfs"];

pub(super) fn check(views: &[View<'_>], found: &mut Found) {
    for view in views {
        let disks = &view.resolved.settings.disks;
        for (name, disk) in disks {
            names(name, disk, found);
            words(name, disk, found);
            wipe(name, disk, found);
        }
        places(disks, found);
    }
}

/// A disk is known by one name, which stays.
fn names(name: &str, disk: &At<DiskSettings>, found: &mut Found) {
    let ways = [&disk.value.id, &disk.value.uuid, &disk.value.label]
        .iter()
        .filter(|way| way.is_some())
        .count();
    if ways + usize::from(disk.value.file.is_some()) != 1 {
        found.error(
            "F088",
            &disk.origin,
            format!("the disk `{name}` is named in {ways} ways"),
            "give one of `id`, `uuid`, `label` and `file`; names such as /dev/sda change with the order of plugging (P33)",
        );
    }
    if let Some(id) = &disk.value.id
        && (id.starts_with("/dev/sd") || id.starts_with("sd"))
    {
        found.error(
            "P33",
            &disk.origin,
            format!("the disk `{name}` is named by its place in the order of plugging"),
            "give its name below /dev/disk/by-id",
        );
    }
}

/// What a node reads as single words holds nothing that it would read as something else.
fn words(name: &str, disk: &At<DiskSettings>, found: &mut Found) {
    let plain = |text: &str| is_word(text, |b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    // The place in the order of plugging is told by `names`.
    let id = |text: &str| is_word(text, stays) || text.starts_with("/dev/sd");
    let uuid = |text: &str| is_word(text, |b| b.is_ascii_hexdigit() || b == b'-');
    let label = |text: &str| is_word(text, stays);
    if !plain(name) {
        found.error(
            "F088",
            &disk.origin,
            format!("a disk cannot be called `{}`", name.escape_debug()),
            "use letters, digits, `-`, `_` and `.`, and begin with none of `-` and `.`",
        );
    }
    let settings = &disk.value;
    let unfit = [
        (
            settings.id.as_deref().filter(|text| !id(text)),
            "cannot have the id",
            "give its name as `ls /dev/disk/by-id` shows it, without the folder",
        ),
        (
            settings.uuid.as_deref().filter(|text| !uuid(text)),
            "cannot have the UUID",
            "give hex digits and `-`, as `blkid` shows them",
        ),
        (
            settings.label.as_deref().filter(|text| !label(text)),
            "cannot be found by the label",
            "use letters, digits and `#+-.:=@_`, or name the disk by its `id` or `uuid`",
        ),
        (
            settings.mount.as_deref().filter(|text| !is_mount_point(text)),
            "cannot be mounted at",
            "give a path from the root, such as /srv/data, of letters, digits and `#+-.:=@_`",
        ),
        (
            settings.fs.as_deref().filter(|text| !plain(text)),
            "cannot have the file system",
            "give one name, such as ext4; ext4 is the default",
        ),
    ];
    for (value, what, remedy) in unfit {
        if let Some(value) = value {
            found.error(
                "F088",
                &disk.origin,
                format!("the disk `{name}` {what} `{}`", value.escape_debug()),
                remedy,
            );
        }
    }
}

/// Consent counts for a disk that is named by its id and mounted, and that gets a file system which the node can make.
fn wipe(name: &str, disk: &At<DiskSettings>, found: &mut Found) {
    let settings = &disk.value;
    let Some(serial) = &settings.wipe else {
        return;
    };
    let mut refuse = |why: String, remedy: &str| {
        found.error(
            "F089",
            &disk.origin,
            format!("the disk `{name}` cannot be wiped: {why}"),
            remedy,
        );
    };
    if serial.is_empty() || !serial.bytes().all(|b| b.is_ascii_graphic()) {
        refuse(
            format!("`{}` is not a serial number", serial.escape_debug()),
            "give the word that `lsblk -o NAME,SERIAL` shows",
        );
    }
    if settings.uuid.is_some() || settings.label.is_some() {
        refuse(
            "its UUID and label would go with what is on it".to_owned(),
            "name it by its `id`",
        );
    }
    if settings.mount.is_none() {
        refuse(
            "only what is mounted is prepared".to_owned(),
            "say its `mount`, or leave `wipe` out",
        );
    }
    let fs = settings.file_system();
    if !MADE.contains(&fs) {
        refuse(
            format!("a node cannot make the file system `{}`", fs.escape_debug()),
            "take ext4, xfs or btrfs",
        );
    }
}

/// No two disks of a node are mounted at one place.
fn places(disks: &BTreeMap<String, At<DiskSettings>>, found: &mut Found) {
    let mut taken: BTreeMap<&str, &str> = BTreeMap::new();
    for (name, disk) in disks {
        let Some(mount) = &disk.value.mount else {
            continue;
        };
        if let Some(other) = taken.insert(mount.trim_end_matches('/'), name) {
            found.error(
                "F088",
                &disk.origin,
                format!(
                    "the disks `{other}` and `{name}` are both mounted at `{}`",
                    mount.escape_debug()
                ),
                "give each a place of its own",
            );
        }
    }
}

/// Whether udev leaves a byte as it is in names of links; others it writes as `\x20`, or as `_` in ids.
fn stays(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"#+-.:=@_".contains(&b)
}

/// One word of allowed bytes that is neither an option, nor the begin of a comment, nor a folder.
fn is_word(text: &str, allowed: impl Fn(u8) -> bool) -> bool {
    !text.is_empty() && !text.starts_with(['-', '#', '.']) && text.bytes().all(allowed)
}

/// A path below the root without detours, of letters that neither the table nor a unit reads otherwise.
fn is_mount_point(path: &str) -> bool {
    path.strip_prefix('/').is_some_and(|below| {
        below
            .trim_end_matches('/')
            .split('/')
            .all(|part| !matches!(part, "" | "." | "..") && part.bytes().all(stays))
    })
}
