//! Kubernetes on a node: programs of one version, archives of images, add-ons, roles.

use crate::fs::{Follow, NodeKind};
use crate::spec::{Distribution, Role};

use super::case::find;
use super::text::yamls;
use super::{Case, Judged, Row, Stop, applies, fails, holds};

pub(super) const ROWS: &[Row] = &[
    Row {
        id: "F105",
        title: "all parts of Kubernetes are of one version",
        judge: f105,
    },
    Row {
        id: "F106",
        title: "archives of container images are there, so that no uplink is needed",
        judge: f106,
    },
    Row {
        id: "F119",
        title: "kubectl, crictl and ctr are k3s",
        judge: f119,
    },
    Row {
        id: "F190",
        title: "the first server has the add-ons, and each is YAML",
        judge: f190,
    },
    Row {
        id: "F196",
        title: "the zone of one's own is a ConfigMap that CoreDNS keeps",
        judge: f196,
    },
    Row {
        id: "P44",
        title: "the runtime is one that goes with the kubelet",
        judge: p44,
    },
    Row {
        id: "P64",
        title: "no server joins itself",
        judge: p64,
    },
];

pub(super) const CONFIG: &str = "/etc/rancher/k3s/config.yaml";

pub(super) const KUBEADM: &str = "/etc/kubernetes/kubeadm.yaml";

const SERVER_UNIT: &str = "/etc/systemd/system/k3s.service";

const AGENT_UNIT: &str = "/etc/systemd/system/k3s-agent.service";

const K3S: &str = "/usr/local/bin/k3s";

/// Whether the image is one of a node of k3s: by its units, or by what the cluster file says.
pub(super) fn is_k3s(case: &Case<'_>) -> Result<bool, Stop> {
    let wanted = case
        .node
        .and_then(|n| n.kubernetes().map(|k| k.distribution.value == Distribution::K3s));
    Ok(wanted == Some(true)
        || case.file(SERVER_UNIT)?.is_some()
        || case.file(AGENT_UNIT)?.is_some()
        || case.file(CONFIG)?.is_some())
}

/// Programs of the manifest by name, with their versions.
fn programs(case: &Case<'_>) -> Result<Vec<(String, String)>, Stop> {
    let inputs = case.manifest()?["inputs"].as_array().cloned().unwrap_or_default();
    Ok(inputs
        .iter()
        .filter_map(|input| {
            Some((
                input["name"].as_str()?.to_owned(),
                input["version"].as_str()?.to_owned(),
            ))
        })
        .collect())
}

fn f105(case: &Case<'_>) -> Judged {
    const PARTS: [&str; 5] = ["kubeadm", "kubectl", "kubelet", "k3s", "k3s-airgap-images"];
    applies(is_k3s(case)? || case.file(KUBEADM)?.is_some())?;
    let parts: Vec<(String, String)> = programs(case)?
        .into_iter()
        .filter(|(name, _)| PARTS.contains(&name.as_str()))
        .collect();
    let Some((first, version)) = parts.first() else {
        return Err(Stop::NotHere);
    };
    let plain = |version: &str| version.trim_start_matches('v').to_owned();
    match parts.iter().find(|(_, other)| plain(other) != plain(version)) {
        Some((name, other)) => fails(format!("`{first}` is {version} and `{name}` is {other}")),
        None => Ok(()),
    }
}

fn f106(case: &Case<'_>) -> Judged {
    let node = case.node()?;
    let Some(kubernetes) = node.kubernetes() else {
        return Err(Stop::NotHere);
    };
    let k3s = kubernetes.distribution.value == Distribution::K3s;
    applies((k3s && kubernetes.air_gap != Some(false)) || !node.settings().images.is_empty())?;
    let dir = if k3s {
        "/var/lib/rancher/k3s/agent/images"
    } else {
        "/var/lib/ceil/images"
    };
    let archive = |path: &str| {
        [".tar", ".tar.zst", ".tar.gz", ".tar.lz4", ".tar.bz2", ".tgz"]
            .iter()
            .any(|ending| path.ends_with(ending))
    };
    let found = case.files_below(dir)?;
    holds(
        found.iter().any(|(path, stat)| archive(path) && stat.size > 0),
        || format!("`{dir}` holds no archive of container images"),
    )
}

fn f119(case: &Case<'_>) -> Judged {
    applies(is_k3s(case)?)?;
    for tool in ["kubectl", "crictl", "ctr"] {
        let path = format!("/usr/local/bin/{tool}");
        let target = match find(case.root, &path, Follow::Parents)? {
            Some((real, stat)) if stat.kind == NodeKind::Symlink => case.root.read_link(&real)?,
            _ => return fails(format!("`{path}` is no link to `{K3S}`")),
        };
        holds(target == K3S.as_bytes() || target == b"k3s", || {
            format!(
                "`{path}` points to `{}`, not to `{K3S}`",
                String::from_utf8_lossy(&target)
            )
        })?;
    }
    Ok(())
}

/// Where the first server keeps manifests.
pub(super) fn manifests(case: &Case<'_>) -> Result<Vec<(String, String)>, Stop> {
    let mut found = case.texts_below("/var/lib/rancher/k3s/server/manifests", ".yaml")?;
    found.extend(case.texts_below("/etc/ceil/manifests", ".yaml")?);
    Ok(found)
}

fn f190(case: &Case<'_>) -> Judged {
    let node = case.node()?;
    applies(node.kubernetes().is_some() && node.view.is_first_server(&node.peers()))?;
    let addons = &node.settings().addons;
    applies(!addons.is_empty())?;
    let found = manifests(case)?;
    for addon in addons {
        let name = &addon.value;
        let there = found.iter().find(|(path, _)| {
            path.rsplit('/')
                .next()
                .is_some_and(|file| file.trim_end_matches(".yaml").ends_with(name.as_str()))
        });
        let Some((path, text)) = there else {
            return fails(format!("the first server has no manifest of the add-on `{name}`"));
        };
        let objects = yamls(path, text)?;
        holds(
            objects
                .iter()
                .any(|o| o["kind"].is_string() && o["apiVersion"].is_string()),
            || format!("`{path}` holds no object of Kubernetes"),
        )?;
    }
    Ok(())
}

fn f196(case: &Case<'_>) -> Judged {
    let node = case.node()?;
    let wanted = node.settings().addons.iter().any(|a| a.value == "coredns-custom");
    applies(wanted && node.kubernetes().is_some() && node.view.is_first_server(&node.peers()))?;
    for (path, text) in manifests(case)? {
        for object in yamls(&path, &text)? {
            let of_dns = object["kind"] == "ConfigMap" && object["metadata"]["name"] == "coredns-custom";
            if of_dns {
                let data = object["data"].as_object().is_some_and(|d| !d.is_empty());
                return holds(data && object["metadata"]["namespace"] == "kube-system", || {
                    format!("`{path}`: `coredns-custom` is empty or not in `kube-system`")
                });
            }
        }
    }
    fails("no manifest has the ConfigMap `coredns-custom`, and k3s overwrites CoreDNS's own")
}

fn p44(case: &Case<'_>) -> Judged {
    applies(case.file(KUBEADM)?.is_some())?;
    let programs = programs(case)?;
    let version = |names: &[&str]| -> Option<(u32, u32)> {
        let (_, version) = programs.iter().find(|(name, _)| names.contains(&name.as_str()))?;
        let mut numbers = version.trim_start_matches('v').split(['.', '-', '+']);
        Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
    };
    let kubelet = version(&["kubelet"]).ok_or(Stop::NotHere)?;
    let Some(runtime) = version(&["containerd", "containerd-static"]) else {
        return fails("the manifest names a kubelet and no runtime: whatever the base has would run");
    };
    // CRI v1 came with containerd 1.6, and kubelets of 1.26 and later speak nothing else; those of 1.36 and later want
    // to be told their cgroup driver by the runtime, as containerd 2 does.
    let least = match kubelet {
        (1, minor) if minor >= 36 => (2, 0),
        (1, minor) if minor >= 26 => (1, 6),
        _ => (1, 2),
    };
    holds(runtime >= least, || {
        format!(
            "containerd {}.{} is too old for a kubelet {}.{}, which wants {}.{} at least",
            runtime.0, runtime.1, kubelet.0, kubelet.1, least.0, least.1
        )
    })
}

fn p64(case: &Case<'_>) -> Judged {
    let server = case.file(SERVER_UNIT)?.is_some();
    let agent = case.file(AGENT_UNIT)?.is_some();
    let kubeadm = case
        .text(KUBEADM)?
        .map(|text| yamls(KUBEADM, &text))
        .transpose()?;
    let kinds = |kind: &str| kubeadm.iter().flatten().any(|d| d["kind"] == kind);
    let (begins, joins) = (kinds("InitConfiguration"), kinds("JoinConfiguration"));
    applies(
        server
            || begins
            || case
                .node
                .is_some_and(|n| n.kubernetes().is_some() && n.view.role() == Role::Server),
    )?;
    holds(!(server && agent), || {
        "the image has units of a server and of an agent: it would join itself".to_owned()
    })?;
    holds(!(begins && joins), || {
        format!("`{KUBEADM}` begins a cluster and joins one")
    })?;
    holds(
        !(agent && case.node.is_some_and(|n| n.view.role() == Role::Server)),
        || "the image of a server has the unit of an agent".to_owned(),
    )
}
