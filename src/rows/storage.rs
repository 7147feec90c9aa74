//! Disks: how they are found, what the kernel needs for them, who keeps data on them.

use serde_json::Value;

use crate::plan::Op;
use crate::spec::{Role, Wish};

use super::kubernetes::manifests;
use super::runtime::loaded;
use super::text::{plain_lines, yamls};
use super::{Case, Judged, Row, Stop, applies, fails, holds};

pub(super) const ROWS: &[Row] = &[
    Row {
        id: "F076",
        title: "modules of the device mapper are loaded at boot, and there to be loaded",
        judge: f076,
    },
    Row {
        id: "F088",
        title: "data disks are mounted by a name that stays, and the boot goes on without",
        judge: f088,
    },
    Row {
        id: "F177",
        title: "Heketi's topology has each node that stores, once, with a device",
        judge: f177,
    },
];

fn f076(case: &Case<'_>) -> Judged {
    const MODULES: [&str; 3] = ["dm_snapshot", "dm_mirror", "dm_thin_pool"];
    let node = case.node()?;
    let wanted: Vec<&str> = MODULES
        .into_iter()
        .filter(|module| {
            node.settings()
                .modules
                .iter()
                .any(|m| m.replace('-', "_") == *module)
        })
        .collect();
    applies(!wanted.is_empty())?;
    let loaded = loaded(case)?;
    for module in wanted {
        holds(loaded.iter().any(|m| m == module), || {
            format!("no file of `/etc/modules-load.d` names `{module}`")
        })?;
        let lacks = case.facts.system.lacks_module(module).unwrap_or_default();
        holds(lacks.is_empty(), || {
            format!("the kernel {} has no module `{module}`", lacks.join(", "))
        })?;
    }
    Ok(())
}

/// A mount of a data disk: where it is said, device, mount point, options.
struct Mount {
    at: String,
    device: String,
    mount: String,
    options: String,
}

/// Mount points of the system itself, which fstab of the base has.
fn of_system(mount: &str, kind: &str) -> bool {
    mount == "/"
        || mount == "/boot"
        || mount.starts_with("/boot/")
        || !mount.starts_with('/')
        || ["swap", "proc", "tmpfs", "sysfs", "devpts", "nfs", "nfs4", "cifs"].contains(&kind)
}

fn mounts(case: &Case<'_>) -> Result<Vec<Mount>, Stop> {
    let mut found = Vec::new();
    for entry in &case.facts.fstab {
        if !of_system(&entry.mount, &entry.kind) {
            found.push(Mount {
                at: "/etc/fstab".to_owned(),
                device: entry.device.clone(),
                mount: entry.mount.clone(),
                options: entry.options.clone(),
            });
        }
    }
    // The table of the generator of mount units has fstab's form.
    let table = "/etc/ceil/mounts";
    for line in plain_lines(&case.text(table)?.unwrap_or_default()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        if let [device, mount, _, options, ..] = words[..] {
            found.push(Mount {
                at: table.to_owned(),
                device: device.to_owned(),
                mount: mount.to_owned(),
                options: options.to_owned(),
            });
        }
    }
    for (path, text) in case.texts_below("/etc/systemd/system", ".mount")? {
        let value = |key: &str| {
            plain_lines(&text)
                .find_map(|l| l.strip_prefix(key))
                .unwrap_or_default()
                .trim()
                .to_owned()
        };
        if value("What=").starts_with('/') || value("What=").contains('=') {
            found.push(Mount {
                at: path,
                device: value("What="),
                mount: value("Where="),
                options: value("Options="),
            });
        }
    }
    Ok(found)
}

fn f088(case: &Case<'_>) -> Judged {
    let found = mounts(case)?;
    let mut wanted: Vec<String> = Vec::new();
    if let Some(node) = case.node {
        // Without the overlay, disks are for programs that mount them themselves.
        let disks = node.settings().disks.values().filter(|_| node.overlaid("disks"));
        wanted.extend(
            disks
                .filter(|d| d.value.file.is_none())
                .filter_map(|d| d.value.mount.clone()),
        );
        wanted.extend(
            node.view
                .resolved
                .edits
                .iter()
                .filter_map(|edit| match &edit.wish {
                    Wish::Op(Op::Fstab { mount, line: Some(_) }) => Some(mount.clone()),
                    _ => None,
                }),
        );
        wanted.retain(|mount| !of_system(mount, ""));
    }
    applies(!found.is_empty() || !wanted.is_empty())?;
    for mount in wanted {
        holds(found.iter().any(|m| m.mount == mount), || {
            format!("nothing mounts `{mount}`")
        })?;
    }
    const STABLE: [&str; 8] = [
        "UUID=",
        "LABEL=",
        "PARTUUID=",
        "PARTLABEL=",
        "/dev/disk/by-id/",
        "/dev/disk/by-uuid/",
        "/dev/disk/by-label/",
        "/dev/disk/by-partuuid/",
    ];
    for Mount {
        at,
        device,
        mount,
        options,
    } in found
    {
        holds(STABLE.iter().any(|word| device.starts_with(word)), || {
            format!("`{at}` mounts `{mount}` from `{device}`, which may be another disk after the next boot")
        })?;
        holds(options.split(',').any(|o| o.trim() == "nofail"), || {
            format!("`{at}` mounts `{mount}` without `nofail`: the boot stops when the disk is away")
        })?;
    }
    Ok(())
}

/// Topologies of Heketi: files of their own, and those inside of manifests.
fn topologies(case: &Case<'_>) -> Result<Vec<(String, Value)>, Stop> {
    let mut texts = case.texts_below("/etc/heketi", ".json")?;
    for (path, text) in manifests(case)? {
        for object in yamls(&path, &text)? {
            let inside = object["data"]["topology.json"].as_str();
            texts.extend(inside.map(|text| (path.clone(), text.to_owned())));
        }
    }
    texts
        .into_iter()
        .filter(|(_, text)| text.contains("\"clusters\""))
        .map(|(path, text)| match serde_json::from_str(&text) {
            Ok(data) => Ok((path, data)),
            Err(error) => fails(format!("the topology of `{path}` is no JSON: {error}")),
        })
        .collect()
}

fn f177(case: &Case<'_>) -> Judged {
    let found = topologies(case)?;
    applies(!found.is_empty())?;
    let node = case.node()?;
    let stores: Vec<_> = node
        .peers()
        .into_iter()
        .filter(|v| v.role() == Role::Storage || !v.resolved.settings.disks.is_empty())
        .map(|v| (v.spec.hostname.to_string(), v.ip().map(|ip| ip.to_string())))
        .collect();
    for (path, data) in found {
        let mut listed: Vec<(String, String)> = Vec::new();
        for entry in data["clusters"].as_array().into_iter().flatten() {
            for entry in entry["nodes"].as_array().into_iter().flatten() {
                let names = &entry["node"]["hostnames"];
                let (name, address) = (names["manage"][0].as_str(), names["storage"][0].as_str());
                let (Some(name), Some(address)) = (name, address) else {
                    return fails(format!("`{path}`: a node has no name or no address"));
                };
                holds(entry["devices"].as_array().is_some_and(|d| !d.is_empty()), || {
                    format!("`{path}`: `{name}` has no device")
                })?;
                listed.push((name.to_owned(), address.to_owned()));
            }
        }
        for (name, ip) in &stores {
            let times = listed
                .iter()
                .filter(|(n, a)| n == name && ip.as_ref().is_none_or(|ip| ip == a))
                .count();
            holds(times == 1, || {
                format!("`{path}` has `{name}` {times} times, not once")
            })?;
        }
        for (name, _) in &listed {
            let times = listed.iter().filter(|(n, _)| n == name).count();
            holds(times == 1, || {
                format!("`{path}` has `{name}` {times} times, not once")
            })?;
        }
    }
    Ok(())
}
