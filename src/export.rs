//! A cluster in the words of other programs: ssh, Ansible, Terraform, routers.
//!
//! This room knows the settings of all nodes and public host keys. It must not know files, images or the network.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};

use serde_json::json;

use crate::plan::Address;
use crate::planner::View;
use crate::secrets::HostKey;
use crate::spec::{ClusterSpec, Purpose, Role};

/// What a list of reservations is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Router {
    /// `dhcp-host=` lines of dnsmasq.
    Dnsmasq,
    /// `host` blocks of ISC dhcpd.
    Isc,
    /// `set` commands of EdgeOS and VyOS.
    EdgeOs,
    /// Comma-separated values.
    Csv,
}

/// Names by which a node is reached: host name, the same with the domain, address.
fn names(cluster: &ClusterSpec, view: &View<'_>) -> Vec<String> {
    let hostname = view.spec.hostname.to_string();
    let mut names = vec![hostname.clone()];
    if let Some(domain) = &cluster.domain
        && !hostname.contains('.')
    {
        names.push(format!("{hostname}.{domain}"));
    }
    names.extend(view.ip().map(|ip| ip.to_string()));
    names
}

/// Where ssh and others reach it: its address, else its name.
fn target(cluster: &ClusterSpec, view: &View<'_>) -> String {
    names(cluster, view).pop().unwrap_or_default()
}

/// The first account of a node.
#[must_use]
pub fn user<'a>(view: &'a View<'_>) -> Option<&'a str> {
    view.resolved.settings.users.keys().next().map(String::as_str)
}

/// What ssh is told to reach a node: its first account and its address.
#[must_use]
pub fn login(cluster: &ClusterSpec, view: &View<'_>) -> String {
    let target = target(cluster, view);
    match user(view) {
        Some(user) => format!("{user}@{target}"),
        None => target,
    }
}

/// `known_hosts` of OpenSSH (F052). `keys` has the host key of each node that has one, by its name.
#[must_use]
pub fn known_hosts(cluster: &ClusterSpec, views: &[View<'_>], keys: &BTreeMap<String, HostKey>) -> String {
    views
        .iter()
        .filter_map(|view| {
            let key = keys.get(view.spec.name.as_str())?;
            Some(format!("{}\n", key.known_hosts(&names(cluster, view)).trim_end()))
        })
        .collect()
}

/// `ssh_config` of OpenSSH; `known_hosts` is the file that has the host keys.
#[must_use]
pub fn ssh_config(cluster: &ClusterSpec, views: &[View<'_>], known_hosts: Option<&str>) -> String {
    let mut out = String::new();
    for view in views {
        let _ = writeln!(out, "Host {}", view.spec.name);
        let _ = writeln!(out, "  HostName {}", target(cluster, view));
        if let Some(user) = user(view) {
            let _ = writeln!(out, "  User {user}");
        }
        if let Some(file) = known_hosts {
            let _ = writeln!(out, "  UserKnownHostsFile {file}");
            let _ = writeln!(out, "  StrictHostKeyChecking yes");
        }
    }
    out
}

/// A host of `ssh_config` that is reached through a local port of a tunnel. Its key is checked by its host name in the
/// file `known_hosts`: strictly if the key is `known`, else the first one counts.
#[must_use]
pub fn forwarded(view: &View<'_>, port: u16, known_hosts: &str, known: bool) -> String {
    let (name, hostname) = (&view.spec.name, &view.spec.hostname);
    let names = if name == hostname {
        name.to_string()
    } else {
        format!("{name} {hostname}")
    };
    let mut out = format!("Host {names}\n  HostName 127.0.0.1\n  Port {port}\n");
    if let Some(user) = user(view) {
        let _ = writeln!(out, "  User {user}");
    }
    let strict = if known { "yes" } else { "accept-new" };
    let _ = write!(
        out,
        "  HostKeyAlias {hostname}\n  UserKnownHostsFile \"{known_hosts}\"\n  StrictHostKeyChecking {strict}\n"
    );
    out
}

/// Lines of a hosts file.
#[must_use]
pub fn hosts(cluster: &ClusterSpec, views: &[View<'_>]) -> String {
    let mut out = String::new();
    for host in views.iter().filter_map(|v| v.host(cluster.domain.as_ref())) {
        let names: Vec<&str> = host.names.iter().map(|n| n.as_str()).collect();
        let _ = writeln!(out, "{}\t{}", host.ip, names.join(" "));
    }
    out
}

/// Inventory of Ansible in its INI form: a group for each role, and one for each cluster (F221).
#[must_use]
pub fn inventory(cluster: &ClusterSpec, views: &[View<'_>]) -> String {
    let mut out = String::from("[all]\n");
    for view in views {
        let _ = write!(out, "{} ansible_host={}", view.spec.name, target(cluster, view));
        if let Some(user) = user(view) {
            let _ = write!(out, " ansible_user={user}");
        }
        out.push('\n');
    }
    let mut groups: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for view in views {
        // Names of groups are made of letters, digits and underscores.
        for group in [
            view.role().word().to_owned(),
            format!("cluster_{}", view.cluster.replace(['-', '.'], "_")),
        ] {
            groups.entry(group).or_default().push(view.spec.name.as_str());
        }
    }
    for (group, members) in groups {
        let _ = write!(out, "\n[{group}]\n{}\n", members.join("\n"));
    }
    out
}

/// Variables for Terraform in its JSON form (`*.tfvars.json`): nodes with roles and addresses, and where the
/// kubeconfig is.
#[must_use]
pub fn tfvars(cluster: &ClusterSpec, views: &[View<'_>], kubeconfig: Option<&str>) -> String {
    let nodes: serde_json::Map<String, serde_json::Value> = views
        .iter()
        .map(|v| {
            let node = json!({"hostname": v.spec.hostname.as_str(), "role": v.role().word(),
                "address": v.ip(), "cluster": v.cluster});
            (v.spec.name.to_string(), node)
        })
        .collect();
    let value = json!({"cluster_name": cluster.name.as_str(), "cluster_domain": cluster.domain.as_ref().map(|d| d.as_str()),
        "kubeconfig_path": kubeconfig, "nodes": nodes});
    format!("{value:#}\n")
}

/// Reservations for a router that is none of ours (F160): every node with an Ethernet address and a fixed one, once.
/// The names of nodes that lack one of them come second.
#[must_use]
pub fn reservations(cluster: &ClusterSpec, views: &[View<'_>], router: Router) -> (String, Vec<String>) {
    let mut out = String::new();
    let mut missing = Vec::new();
    if router == Router::Csv {
        out.push_str("name,mac,address\n");
    }
    for view in views.iter().filter(|v| v.role() != Role::Router) {
        let port = view.port();
        let (Some(mac), Address::Static(fixed)) = (port.mac, &port.address) else {
            missing.push(view.spec.name.to_string());
            continue;
        };
        let (name, ip) = (&view.spec.hostname, fixed.ip);
        let _ = match router {
            Router::Dnsmasq => writeln!(out, "dhcp-host={mac},{ip},{name}"),
            Router::Isc => writeln!(
                out,
                "host {name} {{ hardware ethernet {mac}; fixed-address {ip}; }}"
            ),
            Router::EdgeOs => {
                let lan = &cluster.network.lan;
                let subnet = lan.as_ref().map_or_else(String::new, |n| n.to_string());
                let at = format!(
                    "set service dhcp-server shared-network-name LAN subnet {subnet} static-mapping {name}"
                );
                writeln!(out, "{at} ip-address {ip}\n{at} mac-address {mac}")
            }
            Router::Csv => writeln!(out, "{name},{mac},{ip}"),
        };
    }
    (out, missing)
}

/// Why there is no route to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoRoute {
    /// The workstation is in the LAN itself.
    #[error("no node is a router, so the nodes are in the network that a workstation is in")]
    NoRouter,
    /// The cluster file does not name the LAN.
    #[error("the cluster file has no `network.lan`, so there is no network to reach")]
    NoLan,
    /// The router asks another for its address.
    #[error("the router has no fixed address on its uplink")]
    NoAddress,
}

impl NoRoute {
    /// What would be right.
    #[must_use]
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::NoRouter => "nothing is to be done",
            Self::NoLan => "write the LAN behind the router, such as `lan: 10.11.0.0/24`",
            Self::NoAddress => {
                "tell the address that it got with `--via ADDRESS`, or give the interface with `use: uplink` one"
            }
        }
    }
}

/// The commands that let a workstation reach the LAN behind the cluster's router (F158). `via` is the router's address
/// towards the workstation; without it, the one of its uplink.
///
/// # Errors
/// [`NoRoute`].
pub fn routes(cluster: &ClusterSpec, views: &[View<'_>], via: Option<Ipv4Addr>) -> Result<String, NoRoute> {
    let router = views
        .iter()
        .find(|view| view.role() == Role::Router)
        .ok_or(NoRoute::NoRouter)?;
    let lan = &cluster.network.lan.as_ref().ok_or(NoRoute::NoLan)?.value;
    let fixed = || match router.of(Purpose::Uplink)?.address {
        Address::Static(ref fixed) => match fixed.ip {
            IpAddr::V4(ip) => Some(ip),
            IpAddr::V6(_) => None,
        },
        Address::Dhcp => None,
    };
    let via = via.or_else(fixed).ok_or(NoRoute::NoAddress)?;
    let (first, mask) = (lan.first(), lan.netmask());
    Ok(format!(
        "# Linux, until the next start\nsudo ip route replace {lan} via {via}\n\
         # macOS, until the next start\nsudo route -n add -net {lan} {via}\n\
         # Windows, as administrator, for good\nroute -p add {first} mask {mask} {via}\n"
    ))
}
