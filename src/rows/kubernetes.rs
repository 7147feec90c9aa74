//! Kubernetes on a node: what joins whom with which secret, programs of one version, add-ons.

use serde_json::Value;

use crate::fs::{Follow, NodeKind};
use crate::spec::{Distribution, Role};
use crate::values::Digest;
use x509_cert::der::{DecodePem, Encode};

use super::case::{find, need};
use super::text::{strings, yaml, yamls};
use super::{Case, Judged, Row, Stop, applies, fails, holds};

pub(super) const ROWS: &[Row] = &[
    Row {
        id: "F102",
        title: "k3s has its settings in a file for root alone, and units hold no token",
        judge: f102,
    },
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
        id: "F107",
        title: "the secret to join with cannot be guessed and is the cluster's",
        judge: f107,
    },
    Row {
        id: "F108",
        title: "who joins checks the certificate of whom it joins",
        judge: f108,
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
        id: "P24",
        title: "the hash to join with is that of the cluster's own root certificate",
        judge: p24,
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

const CONFIG: &str = "/etc/rancher/k3s/config.yaml";
const KUBEADM: &str = "/etc/kubernetes/kubeadm.yaml";
const SERVER_UNIT: &str = "/etc/systemd/system/k3s.service";
const AGENT_UNIT: &str = "/etc/systemd/system/k3s-agent.service";
const K3S: &str = "/usr/local/bin/k3s";

/// Whether the image is one of a node of k3s: by its units, or by what the cluster file says.
fn is_k3s(case: &Case<'_>) -> Result<bool, Stop> {
    let wanted = case
        .node
        .and_then(|n| n.kubernetes().map(|k| k.distribution.value == Distribution::K3s));
    Ok(wanted == Some(true)
        || case.file(SERVER_UNIT)?.is_some()
        || case.file(AGENT_UNIT)?.is_some()
        || case.file(CONFIG)?.is_some())
}

/// The settings of k3s.
fn config(case: &Case<'_>) -> Result<Value, Stop> {
    yaml(CONFIG, &need(case.root, CONFIG)?)
}

/// A token of the settings.
fn token(config: &Value, key: &str) -> Option<String> {
    config[key].as_str().map(str::to_owned)
}

fn f102(case: &Case<'_>) -> Judged {
    applies(is_k3s(case)?)?;
    let config = config(case)?;
    let Some(stat) = case.file(CONFIG)? else {
        return fails(format!("`{CONFIG}` is missing"));
    };
    holds(stat.mode == 0o600 && (stat.uid, stat.gid) == (0, 0), || {
        format!(
            "`{CONFIG}` has mode {:04o} and owner {}:{}, not 0600 and root's",
            stat.mode, stat.uid, stat.gid
        )
    })?;
    let values: Vec<String> = ["token", "agent-token"]
        .iter()
        .filter_map(|key| token(&config, key))
        .collect();
    for (path, text) in case.units()? {
        let word = ["--token", "--agent-token", "K3S_TOKEN=", "K3S_AGENT_TOKEN="]
            .into_iter()
            .find(|word| text.contains(word));
        holds(word.is_none(), || {
            format!(
                "`{path}` names `{}`, and everybody may read units",
                word.unwrap_or_default()
            )
        })?;
        holds(!values.iter().any(|v| text.contains(v.as_str())), || {
            format!("`{path}` holds a token, and everybody may read units")
        })?;
    }
    Ok(())
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

/// Least information in a secret, in bits.
const BITS: f64 = 128.0;

fn f107(case: &Case<'_>) -> Judged {
    applies(is_k3s(case)?)?;
    let config = config(case)?;
    let mut seen = false;
    for key in ["token", "agent-token"] {
        let Some(token) = token(&config, key) else {
            continue;
        };
        seen = true;
        let secret = token.rsplit(':').next().unwrap_or_default();
        let hex = secret.bytes().all(|b| b.is_ascii_hexdigit());
        let letters: f64 = if hex { 16.0 } else { 36.0 };
        let mut kinds: Vec<u8> = secret.bytes().collect();
        kinds.sort_unstable();
        kinds.dedup();
        let bits = secret.len() as f64 * letters.log2();
        holds(bits >= BITS && kinds.len() >= 8, || {
            format!("the `{key}` of `{CONFIG}` is too short to be a secret of {BITS} bits")
        })?;
        let known = case.node.map(|n| &n.inputs.secrets).filter(|s| !s.is_empty());
        if let Some(known) = known {
            holds(known.values().any(|s| s.reveal().contains(secret)), || {
                format!("the `{key}` of `{CONFIG}` is none of this cluster's secrets")
            })?;
        }
    }
    holds(seen, || format!("`{CONFIG}` has no `token`"))
}

/// Hashes that the image checks its server by: of a token `K10HASH::user:secret`, or of kubeadm's `caCertHashes`.
fn pins(case: &Case<'_>) -> Result<Vec<Pin>, Stop> {
    let mut found = Vec::new();
    if let Some(text) = case.text(CONFIG)? {
        let config = yaml(CONFIG, &text)?;
        for key in ["token", "agent-token"] {
            let full = token(&config, key);
            if let Some(hash) = full
                .as_deref()
                .and_then(|t| t.strip_prefix("K10")?.split_once("::"))
            {
                found.push(Pin::Certificate(hash.0.to_owned()));
            }
        }
    }
    if let Some(text) = case.text(KUBEADM)? {
        for document in yamls(KUBEADM, &text)? {
            let hashes = &document["discovery"]["bootstrapToken"]["caCertHashes"];
            let hashes = strings(hashes)
                .into_iter()
                .filter_map(|h| h.strip_prefix("sha256:"));
            found.extend(hashes.map(|h| Pin::Key(h.to_owned())));
        }
    }
    Ok(found)
}

/// What is hashed.
enum Pin {
    /// The root certificate.
    Certificate(String),
    /// Its public key.
    Key(String),
}

impl Pin {
    fn hex(&self) -> &str {
        match self {
            Self::Certificate(hex) | Self::Key(hex) => hex,
        }
    }
}

fn f108(case: &Case<'_>) -> Judged {
    let joins_k3s = match case.text(CONFIG)? {
        Some(text) => yaml(CONFIG, &text)?["server"].is_string(),
        None => false,
    };
    let joins_kubeadm = match case.text(KUBEADM)? {
        Some(text) => yamls(KUBEADM, &text)?
            .iter()
            .any(|d| d["kind"] == "JoinConfiguration"),
        None => false,
    };
    applies(joins_k3s || joins_kubeadm)?;
    let pins = pins(case)?;
    holds(!pins.is_empty(), || {
        "the node joins a server without a hash of its certificate: whoever answers gets the secret"
            .to_owned()
    })?;
    let whole = |hex: &str| hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit());
    holds(pins.iter().all(|p| whole(p.hex())), || {
        "the hash of the server's certificate is no SHA-256".to_owned()
    })
}

/// Certificates of a bundle, in its order.
fn certificates(bundle: &str) -> Result<Vec<x509_cert::Certificate>, Stop> {
    const END: &str = "-----END CERTIFICATE-----";
    bundle
        .split_inclusive(END)
        .filter(|part| part.contains(END))
        .map(|part| {
            let begin = part.find("-----BEGIN").unwrap_or(0);
            x509_cert::Certificate::from_pem(format!("{}\n", &part[begin..]).as_bytes())
                .map_err(|e| Stop::Fails(format!("a certificate cannot be read: {e}")))
        })
        .collect()
}

fn p24(case: &Case<'_>) -> Judged {
    let pins = pins(case)?;
    applies(!pins.is_empty())?;
    let mut bundle = None;
    for path in [
        "/var/lib/rancher/k3s/server/tls/server-ca.crt",
        "/etc/kubernetes/pki/ca.crt",
    ] {
        bundle = bundle.or(case.text(path)?);
    }
    let bundle = bundle
        .or_else(|| case.authority.clone())
        .ok_or(Stop::Needs("the kubeconfig beside the image"))?;
    let all = certificates(&bundle)?;
    let Some(root) = all.last() else {
        return fails("the certificate of the cluster's authority is missing");
    };
    let der = |what: Result<Vec<u8>, x509_cert::der::Error>| what.map_err(|e| Stop::Fails(e.to_string()));
    for pin in pins {
        let right = match &pin {
            // k3s takes the bytes of the file where there is no chain.
            Pin::Certificate(_) if all.len() == 1 => Digest::sha256(bundle.as_bytes()),
            Pin::Certificate(_) => Digest::sha256(&der(root.to_der())?),
            Pin::Key(_) => Digest::sha256(&der(root.tbs_certificate().subject_public_key_info().to_der())?),
        };
        holds(right.hex() == pin.hex(), || {
            format!(
                "the node joins whom has the hash {}, and the cluster's root has {}",
                pin.hex(),
                right.hex()
            )
        })?;
    }
    Ok(())
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
