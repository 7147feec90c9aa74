//! Seeds of cloud-init, the names and accounts of a node.

use crate::base_os::{CloudInit, Seed};
use crate::cloud_config::check_network_config;
use crate::fs::Follow;

use super::case::{find, text};
use super::text::{plain_lines, yaml};
use super::{Case, Judged, Row, Stop, applies, fails, holds};

pub(super) const ROWS: &[Row] = &[
    Row {
        id: "F040",
        title: "user-data begins as cloud-config and parses",
        judge: f040,
    },
    Row {
        id: "F041",
        title: "the instance id is this node's own",
        judge: f041,
    },
    Row {
        id: "F042",
        title: "network-config parses and names the node's interface",
        judge: f042,
    },
    Row {
        id: "F045",
        title: "the hosts file names every member, and cloud-init keeps off it",
        judge: f045,
    },
    Row {
        id: "F048",
        title: "administrators have a key and no usable password",
        judge: f048,
    },
];

/// A seed file of the boot volume that cloud-init reads.
fn seed(case: &Case<'_>, name: &str) -> Result<Option<String>, Stop> {
    let Some(seed) = case.facts.cloud_init.as_ref().and_then(|c| c.seed.as_ref()) else {
        return Ok(None);
    };
    text(case.boot, &format!("{}/{name}", seed.dir()))
}

/// The version of cloud-init, as its package has it.
fn version<'a>(case: &'a Case<'_>) -> Option<&'a str> {
    case.facts.cloud_init.as_ref().and_then(|c| c.version.as_deref())
}

fn f040(case: &Case<'_>) -> Judged {
    applies(case.facts.cloud_init.as_ref().is_some_and(|c| c.seed.is_some()))?;
    let Some(text) = seed(case, "user-data")? else {
        return fails("cloud-init looks for `user-data` on the boot volume, and it is missing");
    };
    let first = text.lines().next().unwrap_or_default().trim_end();
    holds(first == "#cloud-config", || {
        format!(
            "user-data begins with `{first}`, so that cloud-init passes it over; `#cloud-config` is wanted"
        )
    })?;
    // What a vendor's own file says wrongly is no fault of the build.
    holds(yaml("user-data", &text)?.is_object(), || {
        "user-data is no map".to_owned()
    })
}

/// Instance ids that images of vendors come with.
const STOCK_IDS: [&str; 4] = ["pirate001", "rpios-image", "nocloud", "iid-local01"];

pub(super) fn f041(case: &Case<'_>) -> Judged {
    let Some(text) = seed(case, "meta-data")? else {
        return Err(Stop::NotHere);
    };
    let data = yaml("meta-data", &text)?;
    let id = ["instance-id", "instance_id"]
        .iter()
        .find_map(|key| data[*key].as_str())
        .unwrap_or_default();
    holds(!id.is_empty(), || "meta-data has no `instance-id`".to_owned())?;
    holds(!STOCK_IDS.contains(&id), || {
        format!("the instance id is `{id}`, which every card of the base has")
    })?;
    let (cluster, name) = match (case.node, case.manifest) {
        (Some(node), _) => (node.view.cluster.clone(), node.view.spec.name.to_string()),
        (None, Some(manifest)) => {
            let word = |key: &str| manifest[key].as_str().unwrap_or_default().to_owned();
            (word("cluster"), word("node"))
        }
        (None, None) => return case.node().map(drop),
    };
    holds(id.starts_with(&format!("{cluster}-{name}-")), || {
        format!("the instance id `{id}` is not one of node `{name}` of `{cluster}`")
    })
}

fn f042(case: &Case<'_>) -> Judged {
    let links = matches!(
        case.facts.cloud_init.as_ref().and_then(|c| c.seed.as_ref()),
        Some(Seed::Links {
            network_config: false
        })
    );
    let found = if links {
        case.text("/var/lib/cloud/seed/nocloud-net/network-config")?
    } else {
        seed(case, "network-config")?
    };
    let Some(text) = found.filter(|t| plain_lines(t).next().is_some()) else {
        return Err(Stop::NotHere);
    };
    if let Some(finding) = check_network_config(&text, version(case)).first() {
        return fails(format!("network-config: {finding}"));
    }
    let data = yaml("network-config", &text)?;
    let data = if data["network"].is_object() {
        &data["network"]
    } else {
        &data
    };
    let old = case
        .facts
        .cloud_init
        .as_ref()
        .and_then(CloudInit::release)
        .is_some_and(|release| release.is_old());
    let wanted = if old { 1 } else { 2 };
    holds(
        data["version"].as_u64().is_some_and(|v| v == 2 || v == wanted),
        || format!("network-config has version {}, not {wanted}", data["version"]),
    )?;
    let node = case.node()?;
    for port in &node.view.ports {
        let name = &port.name;
        let there = ["ethernets", "wifis"]
            .iter()
            .any(|kind| data[*kind].get(name).is_some())
            || data["config"]
                .as_array()
                .is_some_and(|list| list.iter().any(|e| e["name"] == name.as_str()));
        holds(there, || {
            format!("network-config does not name the interface `{name}`")
        })?;
    }
    Ok(())
}

fn f045(case: &Case<'_>) -> Judged {
    let node = case.node()?;
    let peers = node.peers();
    applies(peers.len() > 1 && peers.iter().any(|p| p.ip().is_some()))?;
    let hosts = case.text("/etc/hosts")?.unwrap_or_default();
    let mut templates = vec![("/etc/hosts".to_owned(), hosts)];
    // cloud-init writes the hosts file anew from a template where it manages it.
    let mut dropped = case.texts_below("/etc/cloud/cloud.cfg.d", ".cfg")?;
    dropped.reverse();
    let manages = seed(case, "user-data")?
        .into_iter()
        .chain(dropped.into_iter().map(|(_, text)| text))
        .chain(case.text("/etc/cloud/cloud.cfg")?)
        .find_map(|text| {
            plain_lines(&text)
                .find_map(|l| l.strip_prefix("manage_etc_hosts:"))
                .map(|v| v.trim().trim_matches(['"', '\'']).to_ascii_lowercase())
        });
    if case.facts.cloud_init.is_some() && manages.is_some_and(|m| m != "false" && m != "localhost") {
        let family = if case.facts.id == "raspbian" {
            "debian"
        } else {
            &case.facts.id
        };
        let path = format!("/etc/cloud/templates/hosts.{family}.tmpl");
        let template = case.text(&path)?.unwrap_or_default();
        templates.push((path, template));
    }
    for (path, text) in templates {
        for peer in &peers {
            let Some(ip) = peer.ip() else { continue };
            let (ip, name) = (ip.to_string(), peer.spec.hostname.as_str());
            let there = plain_lines(&text).any(|line| {
                let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
                words.next() == Some(&ip) && words.any(|w| w == name)
            });
            holds(there, || format!("`{path}` has no line for `{name}` at {ip}"))?;
        }
    }
    Ok(())
}

fn f048(case: &Case<'_>) -> Judged {
    let node = case.node()?;
    let users: Vec<_> = node
        .settings()
        .users
        .iter()
        .filter(|(_, user)| !user.value.ssh_keys.is_empty() && user.value.password.is_none())
        .collect();
    applies(!users.is_empty())?;
    let seed = seed(case, "user-data")?;
    if let Some(text) = &seed {
        for key in ["plain_text_passwd", "passwd: ", "password:"] {
            let open = plain_lines(text).find(|l| {
                let line = l.trim_start_matches("- ");
                line.starts_with(key) && !line.contains("$6$") && !line.contains("$y$")
            });
            holds(open.is_none(), || {
                format!("user-data has a password in the clear (`{key}`)")
            })?;
        }
    }
    let data = seed.map(|text| yaml("user-data", &text)).transpose()?;
    for (name, _) in users {
        let entry = data
            .as_ref()
            .and_then(|d| d["users"].as_array())
            .and_then(|list| list.iter().find(|u| u["name"] == name.as_str()));
        if let Some(entry) = entry {
            let keys = ["ssh_authorized_keys", "ssh-authorized-keys"]
                .iter()
                .any(|key| entry[*key].as_array().is_some_and(|k| !k.is_empty()));
            holds(keys, || format!("user-data gives `{name}` no key"))?;
            let locked = ["lock_passwd", "lock-passwd"]
                .iter()
                .find_map(|k| entry[*k].as_bool());
            holds(locked == Some(true), || {
                format!("user-data does not lock the password of `{name}`")
            })?;
            continue;
        }
        baked(case, name)?;
    }
    Ok(())
}

/// An account in the files of the system.
fn baked(case: &Case<'_>, name: &str) -> Judged {
    let field = |text: &str, at: usize| -> Option<String> {
        text.lines()
            .map(|l| l.split(':').collect::<Vec<_>>())
            .find(|f| f.first() == Some(&name))
            .and_then(|f| f.get(at).map(|f| (*f).to_owned()))
    };
    let passwd = case.text("/etc/passwd")?.unwrap_or_default();
    let Some(home) = field(&passwd, 5) else {
        return fails(format!(
            "there is no account `{name}`, in user-data or in `/etc/passwd`"
        ));
    };
    let shadow = case.text("/etc/shadow")?.unwrap_or_default();
    let hash = field(&shadow, 1).unwrap_or_default();
    holds(hash.starts_with(['!', '*']), || {
        format!("`{name}` has a password in `/etc/shadow`, and none is wanted")
    })?;
    let path = format!("{home}/.ssh/authorized_keys");
    let keys = case.text(&path)?.unwrap_or_default();
    holds(plain_lines(&keys).next().is_some(), || {
        format!("`{path}` has no key for `{name}`")
    })?;
    let strict = find(case.root, &path, Follow::Last)?.is_some_and(|(_, s)| s.mode & 0o022 == 0);
    holds(strict, || {
        format!("`{path}` can be written by others, so that sshd ignores it")
    })
}
