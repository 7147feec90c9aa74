//! What containers need below them: kernel parameters and modules, the runtime, mirrors, a proxy.

use std::net::Ipv4Addr;

use serde_json::Value;

use crate::values::Network4;

use super::kubernetes::manifests;
use super::text::{plain_lines, strings, yaml, yamls};
use super::{Case, Judged, Row, Stop, applies, fails, holds};

pub(super) const ROWS: &[Row] = &[
    Row {
        id: "F073",
        title: "bridged traffic passes iptables of both families after every boot",
        judge: f073,
    },
    Row {
        id: "F075",
        title: "br_netfilter and overlay are loaded at boot",
        judge: f075,
    },
    Row {
        id: "F081",
        title: "runtime and kubelet agree on who drives the cgroups",
        judge: f081,
    },
    Row {
        id: "F083",
        title: "settings of the container runtime parse",
        judge: f083,
    },
    Row {
        id: "F084",
        title: "pulls go to the mirror of the cluster",
        judge: f084,
    },
    Row {
        id: "F086",
        title: "behind a web proxy, pods and services are reached without it",
        judge: f086,
    },
    Row {
        id: "P19",
        title: "labels of the processor tell the truth",
        judge: p19,
    },
    Row {
        id: "P26",
        title: "no check of kubeadm is passed over wholesale",
        judge: p26,
    },
    Row {
        id: "P36",
        title: "no add-on names the address of a pod",
        judge: p36,
    },
];

fn f073(case: &Case<'_>) -> Judged {
    applies(case.has_kubernetes()?)?;
    let texts = case.texts_below("/etc/sysctl.d", ".conf")?;
    for key in [
        "net.bridge.bridge-nf-call-iptables",
        "net.bridge.bridge-nf-call-ip6tables",
    ] {
        let last = texts
            .iter()
            .flat_map(|(_, text)| plain_lines(text))
            .filter_map(|line| line.trim_start_matches('-').split_once('='))
            .filter(|(name, _)| name.trim().replace('/', ".") == key)
            .map(|(_, value)| value.trim())
            .last();
        holds(last == Some("1"), || {
            format!("no file of `/etc/sysctl.d` sets `{key}` to 1")
        })?;
    }
    Ok(())
}

/// Modules that are loaded at boot.
pub(super) fn loaded(case: &Case<'_>) -> Result<Vec<String>, Stop> {
    let mut texts = case.texts_below("/etc/modules-load.d", ".conf")?;
    texts.extend(case.texts_below("/usr/lib/modules-load.d", ".conf")?);
    let mut found = Vec::new();
    for (_, text) in texts {
        found.extend(plain_lines(&text).map(|line| line.replace('-', "_")));
    }
    Ok(found)
}

fn f075(case: &Case<'_>) -> Judged {
    applies(case.has_kubernetes()?)?;
    let loaded = loaded(case)?;
    for module in ["br_netfilter", "overlay"] {
        holds(loaded.iter().any(|m| m == module), || {
            format!("no file of `/etc/modules-load.d` names `{module}`")
        })?;
    }
    Ok(())
}

const CONTAINERD: &str = "/etc/containerd/config.toml";
const DOCKER: &str = "/etc/docker/daemon.json";

fn f081(case: &Case<'_>) -> Judged {
    let containerd = case.text(CONTAINERD)?;
    let docker = case.text(DOCKER)?;
    applies((containerd.is_some() || docker.is_some()) && case.has_kubernetes()?)?;
    let systemd = match (&containerd, &docker) {
        (Some(text), _) => plain_lines(text).any(|l| l.replace(' ', "") == "SystemdCgroup=true"),
        (None, Some(text)) => text.contains("native.cgroupdriver=systemd"),
        (None, None) => false,
    };
    let mut drivers = Vec::new();
    for (path, text) in case.texts_below("/etc/kubernetes", ".yaml")? {
        for document in yamls(&path, &text)? {
            drivers.extend(
                document["cgroupDriver"]
                    .as_str()
                    .map(|d| (path.clone(), d.to_owned())),
            );
        }
    }
    // kubeadm 1.22 and later writes `systemd` for the kubelet where nothing is said.
    if drivers.is_empty() {
        drivers.push(("kubeadm's default".to_owned(), "systemd".to_owned()));
    }
    for (path, driver) in drivers {
        holds((driver == "systemd") == systemd, || {
            let runtime = if systemd { "systemd" } else { "cgroupfs" };
            format!("the runtime has {runtime} drive the cgroups, and {path} says `{driver}`")
        })?;
    }
    Ok(())
}

fn f083(case: &Case<'_>) -> Judged {
    let (docker, containerd) = (case.text(DOCKER)?, case.text(CONTAINERD)?);
    applies(docker.is_some() || containerd.is_some())?;
    if let Some(text) = docker {
        let parsed: Result<Value, _> = serde_json::from_str(&text);
        match parsed {
            Ok(Value::Object(_)) => {}
            Ok(_) => return fails(format!("`{DOCKER}` is no map")),
            Err(error) => return fails(format!("`{DOCKER}` is no JSON: {error}")),
        }
    }
    if let Some(text) = containerd {
        toml(&text)?;
    }
    labels(case)
}

/// Whether every line of a file has the form of TOML: a table, a key with a value, a comment, or part of an array.
fn toml(text: &str) -> Judged {
    let mut open = 0i32;
    for (number, line) in text.lines().enumerate() {
        let mut quoted = false;
        let mut bare = String::new();
        let mut escaped = false;
        for c in line.chars() {
            match c {
                '"' if !escaped => quoted = !quoted,
                '#' if !quoted => break,
                c if !quoted => bare.push(c),
                _ => {}
            }
            escaped = c == '\\' && !escaped;
        }
        let wrong = || {
            format!(
                "`{CONTAINERD}:{}` is no line of TOML: `{}`",
                number + 1,
                line.trim()
            )
        };
        holds(!quoted, wrong)?;
        let inside = open > 0;
        open += bare.matches('[').count() as i32 - bare.matches(']').count() as i32;
        let line = bare.trim();
        let form = line.is_empty() || line.starts_with('[') || line.contains('=') || inside;
        holds(form && open >= 0, wrong)?;
    }
    holds(open == 0, || format!("`{CONTAINERD}` ends inside of brackets"))
}

/// Labels for the processor, in the settings of Docker and of k3s.
fn labels(case: &Case<'_>) -> Judged {
    let Some(arch) = case.facts.arch else {
        return Ok(());
    };
    for (path, label) in all_labels(case)? {
        let Some((key, value)) = label.split_once('=') else {
            continue;
        };
        if key == "arch" || key.ends_with("/arch") {
            holds(value == arch.word() || value == arch.go_word(), || {
                format!("`{path}` labels the node `{label}`, and its programs are for {arch}")
            })?;
        }
    }
    Ok(())
}

fn all_labels(case: &Case<'_>) -> Result<Vec<(String, String)>, Stop> {
    let mut found = Vec::new();
    if let Some(text) = case.text(DOCKER)? {
        // What is no JSON is told by F083.
        let data: Value = serde_json::from_str(&text).unwrap_or_default();
        found.extend(
            strings(&data["labels"])
                .into_iter()
                .map(|l| (DOCKER.to_owned(), l.to_owned())),
        );
    }
    let config = "/etc/rancher/k3s/config.yaml";
    if let Some(text) = case.text(config)? {
        let data = yaml(config, &text)?;
        found.extend(
            strings(&data["node-label"])
                .into_iter()
                .map(|l| (config.to_owned(), l.to_owned())),
        );
    }
    Ok(found)
}

fn p19(case: &Case<'_>) -> Judged {
    let of_arch = |(_, label): &(String, String)| {
        let key = label.split('=').next().unwrap_or_default();
        key == "arch" || key.ends_with("/arch")
    };
    applies(all_labels(case)?.iter().any(of_arch))?;
    labels(case)
}

fn f084(case: &Case<'_>) -> Judged {
    let node = case.node()?;
    let Some(mirror) = node.cluster.registries.mirror.as_ref() else {
        return Err(Stop::NotHere);
    };
    applies(node.kubernetes().is_some())?;
    let mut texts = case.texts_below("/etc/containerd/certs.d", "/hosts.toml")?;
    let k3s = "/etc/rancher/k3s/registries.yaml";
    if let Some(text) = case.text(k3s)? {
        let data = yaml(k3s, &text)?;
        texts.push((k3s.to_owned(), strings(&data["mirrors"]).join("\n")));
    }
    holds(texts.iter().any(|(_, text)| text.contains(&mirror.value)), || {
        format!("no settings of the runtime name the mirror `{}`", mirror.value)
    })
}

fn f086(case: &Case<'_>) -> Judged {
    let mut texts = case.units()?;
    for path in [
        "/etc/default/k3s",
        "/etc/default/k3s-agent",
        "/etc/default/docker",
    ] {
        texts.extend(case.text(path)?.map(|text| (path.to_owned(), text)));
    }
    let proxied: Vec<(String, String)> = texts
        .into_iter()
        .filter(|(_, text)| {
            let text = text.to_ascii_uppercase();
            text.contains("HTTP_PROXY=") || text.contains("HTTPS_PROXY=")
        })
        .collect();
    applies(!proxied.is_empty())?;
    let node = case.node()?;
    let network = &node.cluster.network;
    let ranges = [
        network
            .pods
            .as_ref()
            .map_or("10.42.0.0/16".to_owned(), |n| n.value.to_string()),
        network
            .services
            .as_ref()
            .map_or("10.43.0.0/16".to_owned(), |n| n.value.to_string()),
    ];
    for (path, text) in proxied {
        let direct: String = text
            .lines()
            .filter(|l| l.to_ascii_uppercase().contains("NO_PROXY="))
            .collect::<Vec<_>>()
            .join(",");
        for range in &ranges {
            holds(direct.contains(range.as_str()), || {
                format!("`{path}` sends traffic for {range} through the proxy: `NO_PROXY` lacks it")
            })?;
        }
    }
    Ok(())
}

/// Longest file that is searched for words, in bytes; programs are longer.
const MAX_SCRIPT: u64 = 1 << 20;

fn p26(case: &Case<'_>) -> Judged {
    let mut texts = case.units()?;
    for dir in ["/etc/kubernetes", "/etc/ceil", "/usr/local", "/opt"] {
        for (path, stat) in case.files_below(dir)? {
            if stat.size <= MAX_SCRIPT {
                texts.extend(case.text(&path)?.map(|text| (path, text)));
            }
        }
    }
    let seed = case.facts.cloud_init.as_ref().and_then(|c| c.user_data.clone());
    texts.extend(seed.map(|text| ("user-data".to_owned(), text)));
    for (path, text) in texts {
        let flat = text.to_ascii_lowercase();
        let all = ["=all", " all", "=\"all\"", "='all'"]
            .iter()
            .any(|end| flat.contains(&format!("ignore-preflight-errors{end}")));
        let mut listed = false;
        if path.ends_with(".yaml") && flat.contains("ignorepreflighterrors") {
            for document in yamls(&path, &text)? {
                listed |= strings(&document["nodeRegistration"]["ignorePreflightErrors"])
                    .iter()
                    .any(|word| word.eq_ignore_ascii_case("all"));
            }
        }
        holds(!all && !listed, || {
            format!("`{path}` has kubeadm pass over every check")
        })?;
    }
    Ok(())
}

fn p36(case: &Case<'_>) -> Judged {
    let manifests = manifests(case)?;
    applies(!manifests.is_empty())?;
    let pods: Network4 = match case.node {
        Some(node) => node.cluster.network.pods.as_ref().map(|n| n.value),
        None => None,
    }
    .or_else(|| "10.42.0.0/16".parse().ok())
    .ok_or(Stop::NotHere)?;
    for (path, text) in manifests {
        let numbers = |c: char| !(c.is_ascii_digit() || c == '.' || c == '/');
        for word in plain_lines(&text).flat_map(|l| l.split(numbers)) {
            // A range is no address of a pod.
            if let Ok(address) = word
                .trim_start_matches('/')
                .trim_end_matches('.')
                .parse::<Ipv4Addr>()
            {
                holds(!pods.contains(address), || {
                    format!("`{path}` names {address}, which some pod has today and another one tomorrow")
                })?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::toml;

    #[test]
    fn f083_lines_of_toml_are_known() {
        assert!(toml("version = 2\n[a.\"b\"]\n x = [\n \"y\", # z ]\n]\n").is_ok());
        for wrong in ["a\n", "a = \"b\n", "[a\n", "x = ]\n"] {
            assert!(toml(wrong).is_err(), "{wrong}");
        }
    }
}
