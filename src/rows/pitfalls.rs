//! Pitfalls of the command line, of ids and of secrets that no feature has a row for.

use crate::fs::{Follow, NodeKind};
use crate::plan::Op;
use crate::spec::Wish;
use crate::values::{ImagePath, VolumeName};

use super::case::{find, need};
use super::kernel::wanted_words;
use super::{Case, Judged, Row, Stop, applies, fails, holds};

pub(super) const ROWS: &[Row] = &[
    Row {
        id: "P02",
        title: "cloud-init takes the card for a machine that it has not seen",
        judge: super::cloud::f041,
    },
    Row {
        id: "P04",
        title: "the old word for the memory controller is left to old kernels",
        judge: p04,
    },
    Row {
        id: "P06",
        title: "each control group has a word of its own",
        judge: p06,
    },
    Row {
        id: "P07",
        title: "words of the base's kernel command line are kept",
        judge: p07,
    },
    Row {
        id: "P08",
        title: "the kernel command line is one line",
        judge: p08,
    },
    Row {
        id: "P09",
        title: "the file that the firmware reads is the edited one",
        judge: p09,
    },
    Row {
        id: "P25",
        title: "files with secrets are for their owner alone, and the manifest keeps quiet",
        judge: p25,
    },
];

fn p04(case: &Case<'_>) -> Judged {
    let words = case.kernel_words()?;
    let old = words.iter().any(|w| w == "cgroup_memory=1");
    applies(old || case.has_kubernetes()?)?;
    let kernels = &case.facts.system.kernels;
    let modern = kernels.iter().find(|k| {
        k.release
            .split('.')
            .next()
            .and_then(|m| m.parse::<u32>().ok())
            .is_some_and(|m| m > 4)
    });
    if let (true, Some(kernel)) = (old, modern) {
        return fails(format!(
            "`cgroup_memory=1` is a word of old kernels, which Linux {} does not know",
            kernel.release
        ));
    }
    if case.has_kubernetes()? {
        holds(words.iter().any(|w| w == "cgroup_enable=memory"), || {
            "the kernel command line lacks `cgroup_enable=memory`, the word that counts".to_owned()
        })?;
    }
    Ok(())
}

fn p06(case: &Case<'_>) -> Judged {
    let words = case.kernel_words()?;
    let ours: Vec<&String> = words.iter().filter(|w| w.starts_with("cgroup_")).collect();
    applies(!ours.is_empty())?;
    match ours.iter().find(|w| w.contains(',')) {
        Some(word) => fails(format!(
            "`{word}` is a list, of which some kernels take the first item alone"
        )),
        None => Ok(()),
    }
}

fn p07(case: &Case<'_>) -> Judged {
    let node = case.node()?;
    let (boot, _) = case.stock()?;
    let (path, _) = case.cmdline()?;
    let stock = need(boot, path)?;
    let words = case.kernel_words()?;
    let removed: Vec<&String> = node
        .view
        .resolved
        .edits
        .iter()
        .filter_map(|edit| match &edit.wish {
            Wish::Op(Op::KernelArgs { remove, .. }) => Some(remove),
            _ => None,
        })
        .flatten()
        .collect();
    for word in stock.split_ascii_whitespace() {
        let key = word.split('=').next().unwrap_or_default();
        let asked = removed.iter().any(|r| r.as_str() == word || r.as_str() == key);
        // The country of the radio has one value, and the node's counts.
        let country = key == "cfg80211.ieee80211_regdom" && words.iter().any(|w| w.starts_with(key));
        let split = word.starts_with("cgroup_") && word.contains(',');
        holds(
            asked || country || split || words.iter().any(|w| w == word),
            || {
                format!(
                    "`{word}` of the base is gone from the kernel command line, and nobody asked for that"
                )
            },
        )?;
    }
    Ok(())
}

fn p08(case: &Case<'_>) -> Judged {
    let (path, text) = case.cmdline()?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    holds(!line.contains(['\n', '\r']), || {
        format!("`boot:{path}` has a second line, which the firmware does not read")
    })
}

fn p09(case: &Case<'_>) -> Judged {
    let node = case.node()?;
    let adds = node
        .view
        .resolved
        .edits
        .iter()
        .any(|edit| matches!(&edit.wish, Wish::Op(Op::KernelArgs { add, .. }) if !add.is_empty()));
    applies(adds)?;
    let (path, _) = case.cmdline()?;
    wanted_words(case, path)
}

/// Folders with keys and tokens of a node.
const SECRET_DIRS: [&str; 8] = [
    "/etc/ssh",
    "/etc/rancher",
    "/etc/kubernetes",
    "/etc/wireguard",
    "/etc/wpa_supplicant",
    "/etc/ceil",
    "/etc/NetworkManager/system-connections",
    "/var/lib/rancher",
];

/// Longest file that is looked into for keys, in bytes.
const MAX_KEY: u64 = 1 << 16;

/// Whether a text holds a token of k3s that pins its authority: `K10`, a SHA-256 in hex, `::`. The three letters alone
/// may stand in any certificate.
fn has_pinned_token(text: &str) -> bool {
    text.split("K10").skip(1).any(|rest| {
        let hash = rest.as_bytes().get(..64);
        hash.is_some_and(|hash| hash.iter().all(u8::is_ascii_hexdigit)) && rest[64..].starts_with("::")
    })
}

fn p25(case: &Case<'_>) -> Judged {
    let mut seen = false;
    for dir in SECRET_DIRS {
        for (path, stat) in case.files_below(dir)? {
            if stat.size > MAX_KEY {
                continue;
            }
            let text = case.text(&path)?.unwrap_or_default();
            let secret = [
                "PRIVATE KEY-----",
                "PrivateKey =",
                "PrivateKey=",
                "\tpsk=",
                "\npsk=",
                "\ntoken:",
            ]
            .iter()
            .any(|mark| text.contains(mark))
                || text.starts_with("token:")
                || has_pinned_token(&text);
            if secret {
                seen = true;
                holds(stat.mode & 0o077 == 0, || {
                    format!("`{path}` holds a secret and has mode {:04o}", stat.mode)
                })?;
            }
        }
    }
    for change in case
        .manifest
        .and_then(|m| m["changes"].as_array())
        .into_iter()
        .flatten()
    {
        if change["secret"] != true {
            continue;
        }
        seen = true;
        let path = change["path"].as_str().unwrap_or_default();
        for key in ["digest", "size", "content"] {
            holds(change.get(key).is_none_or(serde_json::Value::is_null), || {
                format!("the manifest tells the {key} of `{path}`, which holds a secret")
            })?;
        }
        let Ok(at) = path.parse::<ImagePath>() else {
            continue;
        };
        if at.volume == Some(VolumeName::Boot) {
            continue;
        }
        let found = find(case.root, at.path(), Follow::Parents)?.filter(|(_, s)| s.kind == NodeKind::File);
        let Some((_, stat)) = found else {
            return fails(format!("`{path}` of the manifest is missing"));
        };
        // Debian's own programs look at hashes of passwords by the group `shadow`.
        let shadow = matches!(at.path(), "/etc/shadow" | "/etc/gshadow") && stat.mode == 0o640;
        holds(shadow || stat.mode & 0o077 == 0, || {
            format!("`{path}` holds a secret and has mode {:04o}", stat.mode)
        })?;
    }
    if seen { Ok(()) } else { Err(Stop::NotHere) }
}
