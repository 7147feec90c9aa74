//! Ways to the nodes from this host: `ssh-config`, `known_hosts`, `kubeconfig`, `ports`.

use std::path::PathBuf;

use serde_json::Value;

use super::{Failure, Lan, Planned, View, args, cards::Cards};
use crate::export;
use crate::spec::Role;

/// The files that were written.
#[derive(Debug, Default)]
pub struct Access {
    pub ssh_config: Option<PathBuf>,
    /// That of the file's own cluster, else of the first one.
    pub kubeconfig: Option<PathBuf>,
}

/// Writes them for the nodes that a port leads to.
pub fn write(
    args: &args::Boot,
    planned: &Planned,
    views: &[&View<'_>],
    lan: &Lan,
    cards: &mut Cards<'_>,
) -> Result<Access, Failure> {
    let ports: String = lan
        .forwards
        .iter()
        .map(|f| {
            let side = if f.uplink { "uplink" } else { "lan" };
            format!("{} {side} {}/{} {}\n", f.node, f.port, f.protocol, f.local)
        })
        .collect();
    cards.private("ports", ports.as_bytes())?;
    let mut hosts = String::new();
    let mut known = String::new();
    let known_hosts = std::path::absolute(args.dir.join("known_hosts"))?;
    for (plan, view) in planned.plans.iter().zip(views) {
        let Some(port) = lan.ssh(&plan.node) else { continue };
        let key = plan.wishes.ssh.host_key.as_ref();
        if let Some(key) = key {
            known.push_str(&format!("{} {}\n", plan.identity.hostname, key.public.trim_end()));
        }
        hosts.push_str(&export::forwarded(
            view,
            port,
            &known_hosts.display().to_string(),
            key.is_some(),
        ));
    }
    let mut access = Access::default();
    if !hosts.is_empty() {
        cards.private("known_hosts", known.as_bytes())?;
        access.ssh_config = Some(cards.private("ssh-config", hosts.as_bytes())?);
    }
    let own = planned.spec.name.as_str();
    for (name, text) in &planned.kubeconfigs {
        let port = views
            .iter()
            .filter(|view| view.cluster == *name && view.role() == Role::Server)
            .find_map(|view| lan.api(view.spec.name.as_str()));
        let Some(port) = port else { continue };
        let text = forwarded(text.reveal(), port)?;
        let file = if name == own {
            "kubeconfig".to_owned()
        } else {
            format!("kubeconfig-{name}")
        };
        let path = cards.private(&file, text.as_bytes())?;
        if name == own || access.kubeconfig.is_none() {
            access.kubeconfig = Some(path);
        }
    }
    Ok(access)
}

/// A kubeconfig whose servers are behind a local port; their certificates are checked for the names that they had.
fn forwarded(text: &str, port: u16) -> Result<String, Failure> {
    // An error of the parser may quote the file, which holds a private key.
    let mut value: Value = serde_saphyr::from_str(text)
        .map_err(|_| Failure::new("the kubeconfig is not the YAML that it should be"))?;
    let clusters = value.get_mut("clusters").and_then(Value::as_array_mut);
    for entry in clusters.into_iter().flatten() {
        let Some(cluster) = entry.get_mut("cluster").and_then(Value::as_object_mut) else {
            continue;
        };
        let server = cluster.get("server").and_then(Value::as_str).unwrap_or_default();
        let host = host(server).to_owned();
        cluster.insert("server".to_owned(), format!("https://127.0.0.1:{port}").into());
        if !cluster.contains_key("tls-server-name") {
            cluster.insert("tls-server-name".to_owned(), host.into());
        }
    }
    // JSON is YAML, and needs no rules of quoting.
    Ok(format!("{value:#}\n"))
}

/// The host of `https://host:port`, IPv6 without brackets.
fn host(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let rest = rest.split('/').next().unwrap_or(rest);
    if let Some((inside, _)) = rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return inside;
    }
    rest.split_once(':').map_or(rest, |(host, _)| host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kubeconfig_goes_through_the_port_and_checks_the_name() {
        let text = "apiVersion: v1\nclusters:\n- name: c\n  cluster:\n    server: https://10.11.0.101:6443\n    certificate-authority-data: QQ==\n";
        let value: Value = serde_json::from_str(&forwarded(text, 40001).expect("rewritten")).expect("json");
        let cluster = &value["clusters"][0]["cluster"];
        assert_eq!(cluster["server"], "https://127.0.0.1:40001");
        assert_eq!(cluster["tls-server-name"], "10.11.0.101");
        assert_eq!(cluster["certificate-authority-data"], "QQ==");
    }

    #[test]
    fn hosts_of_addresses() {
        assert_eq!(host("https://[fd00::1]:6443"), "fd00::1");
        assert_eq!(host("https://one.c.home.arpa:6443/x"), "one.c.home.arpa");
        assert_eq!(host("https://one"), "one");
    }
}
