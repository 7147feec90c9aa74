//! The base image and what is put into it: release, layout, processors, kernels, room.

use std::collections::BTreeMap;
use std::io::Read;

use crate::amend::parse_os_release;
use crate::catalog::ImageEntry;
use crate::disk::TableKind;
use crate::fs::{Follow, NodeKind, Volume, show};
use crate::plan::BasePlace;
use crate::values::{Arch, ELF_HEAD, VolumeName, elf_machine};

use super::case::{find, head};
use super::text::config_value;
use super::{Case, Judged, Row, Stop, applies, fails, holds};

pub(super) const ROWS: &[Row] = &[
    Row {
        id: "F007",
        title: "HypriotOS is of the version that the profile names",
        judge: f007,
    },
    Row {
        id: "F008",
        title: "the release is the one that the profile names",
        judge: f008,
    },
    Row {
        id: "F009",
        title: "the table has a FAT and an ext4 partition, each with an id of this disk",
        judge: f009,
    },
    Row {
        id: "F011",
        title: "programs are for the processor of the system",
        judge: f011,
    },
    Row {
        id: "F013",
        title: "the root volume is sound and has the room that the profile reserves",
        judge: f013,
    },
    Row {
        id: "F014",
        title: "a kernel that the node brings has its modules",
        judge: f014,
    },
    Row {
        id: "P46",
        title: "every kernel of the boot volume has its modules",
        judge: p46,
    },
    Row {
        id: "P60",
        title: "what the profile reserves is free",
        judge: p60,
    },
];

/// Fields of os-release.
pub(super) fn os_release(case: &Case<'_>) -> Result<BTreeMap<String, String>, Stop> {
    let text = match case.text("/etc/os-release")? {
        Some(text) => text,
        None => case.text("/usr/lib/os-release")?.unwrap_or_default(),
    };
    Ok(parse_os_release(&text))
}

/// The base by its entry in the catalog, when the node names one.
fn entry<'a>(case: &Case<'a>) -> Result<&'a ImageEntry, Stop> {
    match case.node()?.base.map(|base| &base.place) {
        Some(BasePlace::Name(name)) => case.catalog.lookup(name).map_err(|_| Stop::NotHere),
        _ => Err(Stop::NotHere),
    }
}

fn f007(case: &Case<'_>) -> Judged {
    let entry = entry(case)?;
    applies(entry.family == "hypriot" || entry.family == "rpi64")?;
    let found = os_release(case)?
        .remove("HYPRIOT_IMAGE_VERSION")
        .unwrap_or_default();
    let plain = |version: &str| version.trim_start_matches('v').to_owned();
    holds(plain(&found) == plain(&entry.version), || {
        format!(
            "the system says HYPRIOT_IMAGE_VERSION={found}, and `{}` is {}",
            entry.name, entry.version
        )
    })
}

fn f008(case: &Case<'_>) -> Judged {
    let entry = entry(case)?;
    let Some(codename) = entry.codename.as_ref().filter(|_| entry.family != "hypriot") else {
        return Err(Stop::NotHere);
    };
    holds(case.facts.version_codename == *codename, || {
        format!(
            "the system says VERSION_CODENAME={}, and `{}` is {codename}",
            case.facts.version_codename, entry.name
        )
    })
}

fn f009(case: &Case<'_>) -> Judged {
    let table = &case.image.table;
    let mut seen = Vec::new();
    for (name, volume) in [(VolumeName::Boot, case.boot), (VolumeName::Root, case.root)] {
        let partition = case
            .image
            .partition(name)
            .map_err(|e| Stop::Fails(e.to_string()))?;
        let kind = volume.kind();
        let right = match name {
            VolumeName::Boot => kind.starts_with("fat"),
            VolumeName::Root => kind == "ext4",
        };
        holds(right, || format!("the {name} volume is {kind}"))?;
        if table.kind == TableKind::Mbr {
            let types: &[&str] = match name {
                VolumeName::Boot => &["06", "0b", "0c", "0e"],
                VolumeName::Root => &["83"],
            };
            holds(types.contains(&partition.kind.as_str()), || {
                format!(
                    "partition {} holds {kind}, and the table says type {}",
                    partition.number, partition.kind
                )
            })?;
            let id = format!("{}-{:02}", table.disk_id, partition.number);
            holds(partition.partuuid.eq_ignore_ascii_case(&id), || {
                format!(
                    "partition {} has the id {}, not {id}",
                    partition.number, partition.partuuid
                )
            })?;
        }
        holds(
            !volume.uuid().is_empty() && !partition.partuuid.is_empty(),
            || format!("the {name} volume has no id"),
        )?;
        seen.push(partition.range());
    }
    holds(
        table.disk_id.bytes().any(|b| b.is_ascii_hexdigit() && b != b'0'),
        || "the disk has no id, so that no PARTUUID is its own".to_owned(),
    )?;
    holds(
        seen[0].end <= seen[1].start || seen[1].end <= seen[0].start,
        || "the two partitions overlap".to_owned(),
    )
}

/// Folders of programs that a node gets beside those of its base.
const PROGRAM_DIRS: [&str; 3] = ["/usr/local/bin", "/usr/local/sbin", "/opt/cni/bin"];

fn f011(case: &Case<'_>) -> Judged {
    let system = elf_machine(&head(case.root, "/usr/bin/dpkg", ELF_HEAD)?).or(case.facts.arch);
    let mut seen = false;
    for dir in PROGRAM_DIRS {
        for (path, _) in case.files_below(dir)? {
            let bytes = head(case.root, &path, ELF_HEAD)?;
            if !bytes.starts_with(b"\x7fELF") {
                continue;
            }
            seen = true;
            let word = |arch: Option<Arch>| arch.map_or("another processor", Arch::word);
            let machine = elf_machine(&bytes);
            holds(machine.is_some() && machine == system, || {
                format!(
                    "`{path}` is for {}, and the system for {}",
                    word(machine),
                    word(system)
                )
            })?;
        }
    }
    applies(seen)
}

fn f013(case: &Case<'_>) -> Judged {
    if let Some(finding) = case.root.check()?.first() {
        return fails(format!("the root volume is damaged: {finding}"));
    }
    p60(case)
}

fn p60(case: &Case<'_>) -> Judged {
    let reserve = case.node()?.view.resolved.reserve;
    let free = case.root.space().free;
    holds(free >= reserve.0, || {
        format!(
            "{free} bytes are free on the root volume, and {} are reserved",
            reserve.0
        )
    })
}

fn f014(case: &Case<'_>) -> Judged {
    let node = case.node()?;
    let brings = super::host::puts(case)?
        .iter()
        .any(|put| put.path.contains("/lib/modules/") || kernel_name(put.path.trim_start_matches('/')));
    applies(brings && node.view.resolved.base.is_some())?;
    let mut known = 0;
    for (path, release) in kernels(case)? {
        known += 1;
        has_modules(case, &path, &release)?;
    }
    holds(known > 0, || {
        "no kernel of the boot volume says what it is, so that its modules cannot be found".to_owned()
    })
}

fn p46(case: &Case<'_>) -> Judged {
    let kernels = kernels(case)?;
    applies(!kernels.is_empty())?;
    kernels
        .iter()
        .try_for_each(|(path, release)| has_modules(case, path, release))
}

fn has_modules(case: &Case<'_>, path: &str, release: &str) -> Judged {
    let dir = find(case.root, &format!("/lib/modules/{release}"), Follow::Last)?;
    holds(dir.is_some_and(|(_, stat)| stat.kind == NodeKind::Dir), || {
        format!("`boot:{path}` is Linux {release}, and `/lib/modules/{release}` is missing")
    })
}

/// Whether a file of the boot volume is a kernel, by its name.
fn kernel_name(name: &str) -> bool {
    (name.starts_with("kernel") && name.ends_with(".img")) || name.starts_with("vmlinuz")
}

/// Kernels of the boot volume that say their release, with it.
fn kernels(case: &Case<'_>) -> Result<Vec<(String, String)>, Stop> {
    let prefix = config_value(&case.config_txt()?, "os_prefix").unwrap_or_default();
    let folder = format!("/{}", prefix.trim_matches('/'));
    let mut found = Vec::new();
    for entry in case.boot.read_dir(folder.as_bytes())? {
        let name = show(&entry.name);
        if entry.stat.kind == NodeKind::File && kernel_name(&name.to_ascii_lowercase()) {
            let path = format!("{}/{name}", folder.trim_end_matches('/'));
            if let Some(release) = release(case.boot, &path)? {
                found.push((path, release));
            }
        }
    }
    Ok(found)
}

/// Bytes of a kernel that are looked through: the banner stands in its read-only data.
const MAX_KERNEL: u64 = 96 << 20;

/// The release in the banner of a kernel, `Linux version 6.12.75+rpt-rpi-v8 (…`: plain or packed by gzip, whole as on
/// 64-bit boards or behind a loader as in a zImage.
fn release(boot: &dyn Volume, path: &str) -> Result<Option<String>, Stop> {
    let source = boot.open(path.as_bytes())?;
    let len = usize::try_from(source.len().min(MAX_KERNEL)).unwrap_or(0);
    let mut bytes = vec![0; len];
    source.read_at(0, &mut bytes)?;
    if let Some(release) = banner(&bytes) {
        return Ok(Some(release));
    }
    // A gzip member begins with its magic number and method (RFC 1952); a loader is no longer than this.
    let loader = bytes.len().min(1 << 17);
    for at in 0..loader.saturating_sub(3) {
        if bytes[at..].starts_with(&[0x1f, 0x8b, 0x08]) {
            let mut unpacked = Vec::new();
            let reader = flate2::read::GzDecoder::new(&bytes[at..]);
            // What follows a packed kernel in a zImage is no error here.
            let _ = reader.take(MAX_KERNEL).read_to_end(&mut unpacked);
            if let Some(release) = banner(&unpacked) {
                return Ok(Some(release));
            }
        }
    }
    Ok(None)
}

fn banner(bytes: &[u8]) -> Option<String> {
    const WORDS: &[u8] = b"Linux version ";
    let mut from = 0;
    while let Some(at) = find_bytes(&bytes[from..], WORDS) {
        let rest = &bytes[from + at + WORDS.len()..];
        let end = rest.iter().position(|b| *b <= b' ' || *b == b'%')?;
        let word = String::from_utf8_lossy(&rest[..end]).into_owned();
        // The kernel has the words in a format of its own, too.
        if word.starts_with(|c: char| c.is_ascii_digit()) {
            return Some(word);
        }
        from += at + WORDS.len();
    }
    None
}

fn find_bytes(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    let first = *needle.first()?;
    let mut from = 0;
    while let Some(at) = bytes[from..].iter().position(|b| *b == first) {
        if bytes[from + at..].starts_with(needle) {
            return Some(from + at);
        }
        from += at + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::banner;

    #[test]
    fn p46_the_banner_of_a_kernel_is_found() {
        let text = b"..Linux version %s (%s)\0Linu\0Linux version 6.12.75+rpt-rpi-v8 (serge@pi) #1\0";
        assert_eq!(banner(text), Some("6.12.75+rpt-rpi-v8".to_owned()));
        assert_eq!(banner(b"Linux version "), None);
        assert_eq!(banner(b"Linux"), None);
    }
}
