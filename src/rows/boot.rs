//! The firmware's volume: config.txt, files on it, marks and times that the first boot looks for.

use crate::fs::{Follow, NodeKind};
use crate::plan::Op;
use crate::spec::{Wish, parse_time};
use crate::values::VolumeName;

use super::case::{find, text};
use super::host::{Put, puts};
use super::text::{config_lines, config_value};
use super::{Case, Judged, Row, Stop, applies, fails, holds};

pub(super) const ROWS: &[Row] = &[
    Row {
        id: "F020",
        title: "config.txt has each wanted key once in its section, and the rest as it was",
        judge: f020,
    },
    Row {
        id: "F022",
        title: "a Pi 3 that joins WiFi has no serial console on the radio's UART",
        judge: f022,
    },
    Row {
        id: "F023",
        title: "full USB current and HDMI without a monitor come together",
        judge: f023,
    },
    Row {
        id: "F024",
        title: "only a card for that purpose sets the one-time USB boot bit",
        judge: f024,
    },
    Row {
        id: "F033",
        title: "SSH starts by itself",
        judge: f033,
    },
    Row {
        id: "F034",
        title: "files for the boot volume are there as given",
        judge: f034,
    },
    Row {
        id: "F035",
        title: "the clock does not begin before the build",
        judge: f035,
    },
];

/// Keys of config.txt of which each line counts by itself.
const LISTS: [&str; 4] = ["dtoverlay", "dtparam", "device_tree_param", "initramfs"];

/// What the node asks of config.txt: section, key, and its value or nothing.
fn config_wishes(case: &Case<'_>) -> Result<Vec<(String, String, Option<String>)>, Stop> {
    let mut wishes: Vec<(String, String, Option<String>)> = Vec::new();
    let node = case.node()?;
    for edit in &node.view.resolved.edits {
        let Wish::Op(Op::ConfigTxt { section, set, unset }) = &edit.wish else {
            continue;
        };
        let section = section.to_ascii_lowercase();
        let all = set
            .iter()
            .map(|(key, value)| (key, Some(value.clone())))
            .chain(unset.iter().map(|key| (key, None)));
        for (key, value) in all {
            // Of two wishes for one key the later counts, unless lines of that key stand side by side.
            wishes.retain(|(s, k, _)| *s != section || k != key || LISTS.contains(&key.as_str()));
            wishes.push((section.clone(), key.clone(), value));
        }
    }
    Ok(wishes)
}

fn f020(case: &Case<'_>) -> Judged {
    let wishes = config_wishes(case)?;
    applies(!wishes.is_empty())?;
    let config = case.config_txt()?;
    let lines = config_lines(&config);
    for (section, key, value) in &wishes {
        let found: Vec<&String> = lines
            .iter()
            .filter(|(s, k, v)| {
                s == section && k == key && (!LISTS.contains(&key.as_str()) || value.as_ref() == Some(v))
            })
            .map(|(_, _, v)| v)
            .collect();
        let right = match value {
            Some(value) => found == [value],
            None => found.is_empty(),
        };
        holds(right, || {
            format!(
                "section [{section}] of config.txt has `{key}` as {found:?}, and {} is wanted",
                value
                    .as_ref()
                    .map_or("nothing".to_owned(), |v| format!("`{v}` once"))
            )
        })?;
    }
    let (stock, _) = case.stock()?;
    let stock = text(stock, "/config.txt")?.unwrap_or_default();
    let mut rest = config.lines();
    for line in stock.lines().filter(|l| !l.trim().is_empty()) {
        let key = line.split('=').next().unwrap_or_default().trim();
        let ours = wishes.iter().any(|(_, k, _)| k == key);
        holds(ours || rest.any(|l| l.trim_end() == line.trim_end()), || {
            format!("config.txt of the base has the line `{line}`, and here it is gone or out of its order")
        })?;
    }
    Ok(())
}

fn f022(case: &Case<'_>) -> Judged {
    let node = case.node()?;
    let radio = node
        .view
        .ports
        .iter()
        .any(|p| p.wifi.is_some() || p.name.starts_with("wlan"));
    let board = node.settings().board.as_ref();
    applies(radio && board.is_some_and(|b| b.value.model.name.starts_with("pi3")))?;
    let lines = config_lines(&case.config_txt()?);
    let last = lines
        .iter()
        .rev()
        .find(|(section, key, _)| key == "enable_uart" && (section == "all" || section.starts_with("pi3")));
    holds(last.is_some_and(|(_, _, value)| value == "0"), || {
        "config.txt lacks `enable_uart=0`, and a serial console takes the radio's UART".to_owned()
    })
}

fn f023(case: &Case<'_>) -> Judged {
    const KEYS: [&str; 2] = ["max_usb_current", "hdmi_force_hotplug"];
    let wishes = config_wishes(case)?;
    let asked = |key: &str| {
        wishes
            .iter()
            .any(|(_, k, v)| k == key && v.as_deref() == Some("1"))
    };
    applies(asked("max_usb_current"))?;
    let text = case.config_txt()?;
    for key in KEYS {
        holds(config_value(&text, key).as_deref() == Some("1"), || {
            format!("config.txt lacks `{key}=1`")
        })?;
    }
    Ok(())
}

fn f024(case: &Case<'_>) -> Judged {
    let burns = config_lines(&case.config_txt()?)
        .iter()
        .any(|(_, key, value)| key == "program_usb_boot_mode" && value == "1");
    if !burns && case.node.is_none() {
        return Ok(());
    }
    match (burns, case.node()?.overlaid("usb-boot-bit")) {
        (true, false) => fails("config.txt would burn the USB boot bit, and this is no card for that"),
        (false, true) => fails("config.txt lacks `program_usb_boot_mode=1`, which is what this card is for"),
        _ => Ok(()),
    }
}

fn f033(case: &Case<'_>) -> Judged {
    let node = case.node()?;
    applies(node.settings().ssh.enabled == Some(true))?;
    for mark in ["/ssh", "/ssh.txt"] {
        if find(case.boot, mark, Follow::Last)?.is_some() {
            return Ok(());
        }
    }
    for unit in ["ssh.service", "sshd.service", "ssh.socket"] {
        for target in ["multi-user.target", "sockets.target", "ssh.service"] {
            let link = format!("/etc/systemd/system/{target}.wants/{unit}");
            if case.lstat(&link)?.is_some() && !masked(case, unit)? {
                return Ok(());
            }
        }
    }
    let seed = case
        .facts
        .cloud_init
        .as_ref()
        .and_then(|c| c.user_data.as_deref());
    if seed.is_some_and(|s| s.lines().any(|l| l.trim() == "enable_ssh: true")) {
        return Ok(());
    }
    fails("nothing starts the SSH server: no mark on the boot volume, no enabled unit, no word to cloud-init")
}

/// Whether a unit is linked to nothing.
fn masked(case: &Case<'_>, unit: &str) -> Result<bool, Stop> {
    let path = format!("/etc/systemd/system/{unit}");
    match find(case.root, &path, Follow::Parents)? {
        Some((real, stat)) if stat.kind == NodeKind::Symlink => {
            Ok(case.root.read_link(&real)? == b"/dev/null")
        }
        _ => Ok(false),
    }
}

fn f034(case: &Case<'_>) -> Judged {
    let all = puts(case)?;
    let ours: Vec<&Put<'_>> = all.iter().filter(|p| p.volume == VolumeName::Boot).collect();
    applies(!ours.is_empty())?;
    ours.iter().try_for_each(|put| put.judge(case))
}

fn f035(case: &Case<'_>) -> Judged {
    let clock = &case.facts.system.clock;
    applies(clock.fake_hwclock.is_some() || clock.timesyncd)?;
    let node = case.node()?;
    applies(node.shapes_system())?;
    let epoch = node.epoch.secs;
    if let Some((written, _)) = &clock.fake_hwclock {
        let begins = parse_time(&format!("{}Z", written.trim().replacen(' ', "T", 1)))
            .map_err(|_| Stop::Fails(format!("fake-hwclock's file says `{}`", written.trim())))?;
        holds(begins.secs >= epoch, || {
            format!("fake-hwclock begins at {}, before the build", written.trim())
        })?;
    }
    if clock.timesyncd {
        let found = case.file("/var/lib/systemd/timesync/clock")?;
        holds(found.as_ref().is_some_and(|s| s.mtime.secs >= epoch), || {
            "systemd-timesyncd's clock file is missing or older than the build".to_owned()
        })?;
    }
    Ok(())
}
