//! The kernel command line: control groups, how the root is found, what the first boot does.

use crate::base_os::Arch;
use crate::disk::TableKind;
use crate::fs::Follow;
use crate::plan::Op;
use crate::spec::Wish;
use crate::values::VolumeName;

use super::case::{find, need, text};
use super::text::config_value;
use super::{Case, Judged, Row, Stop, applies, fails, holds};

pub(super) const ROWS: &[Row] = &[
    Row {
        id: "F025",
        title: "the firmware passes one line, with the memory controller switched on last",
        judge: f025,
    },
    Row {
        id: "F028",
        title: "swap accounting is asked for on cgroup v1 alone",
        judge: f028,
    },
    Row {
        id: "F029",
        title: "kernel and fstab find the root by the partition's own id",
        judge: f029,
    },
    Row {
        id: "F030",
        title: "the first boot still enlarges the root",
        judge: f030,
    },
    Row {
        id: "F031",
        title: "interfaces of HypriotOS for arm64 keep their old names",
        judge: f031,
    },
    Row {
        id: "F032",
        title: "where the firmware reads `current/`, its files are the edited ones",
        judge: f032,
    },
    Row {
        id: "F036",
        title: "a root found by id boots from any disk: nothing names the card reader",
        judge: f036,
    },
];

/// Whether the node asks for a word of the kernel.
fn asks_kernel(case: &Case<'_>, word: &str) -> bool {
    case.node.is_some_and(|node| {
        node.view.resolved.edits.iter().any(
            |edit| matches!(&edit.wish, Wish::Op(Op::KernelArgs { add, .. }) if add.iter().any(|w| w == word)),
        )
    })
}

fn f025(case: &Case<'_>) -> Judged {
    const WORD: &str = "cgroup_enable=memory";
    applies(case.has_kubernetes()? || asks_kernel(case, WORD))?;
    let (path, text) = case.cmdline()?;
    holds(text.lines().filter(|l| !l.trim().is_empty()).count() == 1, || {
        format!("`boot:{path}` is not one line")
    })?;
    let words = case.kernel_words()?;
    let Some(at) = words.iter().rposition(|w| w == WORD) else {
        return fails(format!("`boot:{path}` lacks `{WORD}`"));
    };
    match words[at + 1..].iter().find(|w| w.starts_with("cgroup_")) {
        Some(later) => fails(format!(
            "`{later}` stands behind `{WORD}` in `boot:{path}` and may undo it"
        )),
        None => Ok(()),
    }
}

fn f028(case: &Case<'_>) -> Judged {
    let there = case.kernel_words()?.iter().any(|w| w == "swapaccount=1");
    match case.facts.cgroup_generation() {
        Some(2) => holds(!there, || {
            "`swapaccount=1` is of cgroup v1, and this system mounts v2".to_owned()
        }),
        Some(_) if hypriot(case)?.is_some() => holds(there, || {
            "`swapaccount=1` is gone, and Docker of this base asks for it".to_owned()
        }),
        _ => Err(Stop::NotHere),
    }
}

/// What `HYPRIOT_OS` says, on HypriotOS.
fn hypriot(case: &Case<'_>) -> Result<Option<String>, Stop> {
    Ok(super::base::os_release(case)?.remove("HYPRIOT_OS"))
}

fn f029(case: &Case<'_>) -> Judged {
    let words = case.kernel_words()?;
    let roots: Vec<&str> = words.iter().filter_map(|w| w.strip_prefix("root=")).collect();
    let [root] = roots[..] else {
        return fails(format!(
            "the kernel command line has {} words `root=`",
            roots.len()
        ));
    };
    let entry = case.facts.fstab.iter().find(|e| e.mount == "/");
    let id = match case.image.table.kind {
        TableKind::Mbr => {
            let number = case
                .image
                .partition(VolumeName::Root)
                .map_err(|e| Stop::Fails(e.to_string()))?
                .number;
            format!("{}-{number:02}", case.image.table.disk_id.to_ascii_lowercase())
        }
        TableKind::Gpt => case
            .image
            .partition(VolumeName::Root)
            .map_err(|e| Stop::Fails(e.to_string()))?
            .partuuid
            .to_ascii_lowercase(),
    };
    let by_id = |device: &str| device.strip_prefix("PARTUUID=").map(str::to_ascii_lowercase);
    let fstab = entry.map(|e| e.device.as_str());
    // A base that finds its root by device or label keeps doing so; then the stock is what counts.
    applies(by_id(root).is_some() || fstab.is_some_and(|d| by_id(d).is_some()) || stock_by_id(case)?)?;
    holds(by_id(root).as_deref() == Some(id.as_str()), || {
        format!("the kernel looks for its root as `{root}`, and the partition is PARTUUID={id}")
    })?;
    match fstab {
        None => Ok(()),
        Some(device) => holds(by_id(device).is_none_or(|found| found == id), || {
            format!("fstab mounts `{device}` as root, and the partition is PARTUUID={id}")
        }),
    }
}

/// Whether the stock image, where it is at hand, finds its root by id.
fn stock_by_id(case: &Case<'_>) -> Result<bool, Stop> {
    match (case.stock(), &case.facts.cmdline_path) {
        (Ok((boot, _)), Some(path)) => Ok(text(boot, path)?
            .unwrap_or_default()
            .split_ascii_whitespace()
            .any(|w| w.starts_with("root=PARTUUID="))),
        _ => Ok(false),
    }
}

/// Whether a word makes the first boot enlarge the root.
fn enlarges(word: &str) -> bool {
    word == "resize"
        || word
            .strip_prefix("init=")
            .is_some_and(|init| init.ends_with("/init_resize.sh") || init.ends_with("/firstboot"))
}

fn f030(case: &Case<'_>) -> Judged {
    if case.kernel_words()?.iter().any(|w| enlarges(w)) {
        return Ok(());
    }
    let (boot, _) = case.stock()?;
    let (path, _) = case.cmdline()?;
    let stock = text(boot, path)?.unwrap_or_default();
    match stock.split_ascii_whitespace().find(|w| enlarges(w)) {
        Some(word) => fails(format!(
            "`{word}` of the base is gone from the kernel command line, and the root keeps its size"
        )),
        None => Err(Stop::NotHere),
    }
}

fn f031(case: &Case<'_>) -> Judged {
    applies(hypriot(case)?.is_some() && case.facts.arch == Some(Arch::Arm64))?;
    holds(case.kernel_words()?.iter().any(|w| w == "net.ifnames=0"), || {
        "`net.ifnames=0` is gone from the kernel command line: `eth0` gets another name".to_owned()
    })
}

fn f032(case: &Case<'_>) -> Judged {
    const CURRENT: &str = "/current/cmdline.txt";
    applies(find(case.boot, CURRENT, Follow::Last)?.is_some())?;
    holds(
        config_value(&case.config_txt()?, "os_prefix").as_deref() == Some("current/"),
        || {
            "the boot volume has `current/cmdline.txt`, and config.txt does not lead the firmware there"
                .to_owned()
        },
    )?;
    wanted_words(case, CURRENT)
}

/// The words that the node asks for stand in this file.
pub(super) fn wanted_words(case: &Case<'_>, path: &str) -> Judged {
    let text = need(case.boot, path)?;
    let node = case.node()?;
    let mut wanted: Vec<&String> = Vec::new();
    for edit in &node.view.resolved.edits {
        if let Wish::Op(Op::KernelArgs { add, remove }) = &edit.wish {
            wanted.retain(|word| !remove.contains(word));
            wanted.extend(add);
        }
    }
    for word in wanted {
        let parts: Vec<String> = match word.split_once('=') {
            Some((key, list)) if key.starts_with("cgroup") => {
                list.split(',').map(|item| format!("{key}={item}")).collect()
            }
            _ => vec![word.clone()],
        };
        for part in parts {
            holds(text.split_ascii_whitespace().any(|w| w == part), || {
                format!("`boot:{path}` is what the firmware reads, and it lacks `{part}`")
            })?;
        }
    }
    Ok(())
}

fn f036(case: &Case<'_>) -> Judged {
    let words = case.kernel_words()?;
    applies(words.iter().any(|w| w.starts_with("root=PARTUUID=")))?;
    let (path, _) = case.cmdline()?;
    if let Some(word) = words.iter().find(|w| w.contains("mmcblk")) {
        return fails(format!("`{word}` in `boot:{path}` names the card reader"));
    }
    match case.facts.fstab.iter().find(|e| e.device.contains("mmcblk")) {
        Some(entry) => fails(format!("fstab names the card reader: `{}`", entry.device)),
        None => Ok(()),
    }
}
