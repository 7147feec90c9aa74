//! The names that templates see.

use serde_json::{Map, Value, json};

use crate::plan::Address;
use crate::spec::{ClusterSpec, Distribution, Purpose, Role, SwapSettings};
use crate::values::{Network4, Range4, Timestamp};

use super::kubernetes;
use super::view::{View, first_server, v4};

/// Port of the API of Kubernetes.
pub(super) const API_PORT: u16 = 6443;

/// All names for one node. `secret` is not among them: it is looked up by name, and looking makes a secret of the
/// file.
pub(super) fn of(cluster: &ClusterSpec, views: &[View<'_>], view: &View<'_>, epoch: Timestamp) -> Value {
    let peers = view.peers(views);
    let nodes: Vec<Value> = peers.iter().map(|v| node(cluster, &peers, v)).collect();
    let of_role = |role: Role| -> Vec<Value> {
        let pairs = peers.iter().zip(&nodes);
        pairs
            .filter(|(v, _)| v.role() == role)
            .map(|(_, n)| n.clone())
            .collect()
    };
    let router = views.iter().find(|v| v.role() == Role::Router);
    json!({
        "cluster": {"name": view.cluster, "domain": cluster.domain.as_ref().map(|d| d.as_str())},
        "network": network(cluster),
        "kubernetes": kubernetes(cluster, &peers),
        "registries": {
            "mirror": cluster.registries.mirror.as_ref().map(|m| &m.value),
            "private": cluster.registries.private.as_ref().map(|m| &m.value),
        },
        "node": node(cluster, &peers, view),
        "servers": of_role(Role::Server),
        "agents": of_role(Role::Agent),
        "router": router.map(|v| node(cluster, &peers, v)),
        "nodes": nodes,
        "epoch": epoch.secs,
    })
}

fn network(cluster: &ClusterSpec) -> Value {
    let network = &cluster.network;
    let lan = network.lan.as_ref().map(|n| n.value).or_else(|| {
        // Without a plan the network of the first fixed address stands for it.
        cluster.nodes.iter().find_map(|n| match &n.address {
            Address::Static(fixed) => v4(Some(fixed.ip)).map(|ip| Network4::of(ip, fixed.prefix)),
            Address::Dhcp => None,
        })
    });
    let range = |range: &Range4| json!({"from": range.from, "to": range.to});
    // Of a cluster without Kubernetes only what the file says.
    let has_pods = kubernetes::flavour_of(cluster).is_some();
    let pods = (has_pods || network.pods.is_some()).then(|| kubernetes::pods(cluster));
    let services: Option<Network4> = (has_pods || network.services.is_some())
        .then(|| kubernetes::services(cluster))
        .and_then(|text| text.parse().ok());
    let vpn = network.vpn.as_ref().map(|n| n.value);
    json!({
        "lan": lan.map(|n| n.to_string()),
        "prefix": lan.map(|n| n.prefix()),
        "netmask": lan.map(|n| n.netmask()),
        "gateway": network.gateway,
        "dns": network.dns,
        "dhcp_pool": network.dhcp_pool.as_ref().map(|r| range(&r.value)),
        "load_balancer_pool": network.load_balancer_pool.as_ref().map(|r| range(&r.value)),
        "pods": pods,
        "services": services.map(|n| n.to_string()),
        "services_dns": services.and_then(|n| n.nth(10)),
        "vpn": vpn.map(|n| n.to_string()),
        "vpn_prefix": vpn.map(|n| n.prefix()),
        "vpn_address": vpn.and_then(|n| n.nth(1)),
    })
}

/// Name or address of the API: as the file says, else that of the first server.
pub(super) fn endpoint(cluster: &ClusterSpec, peers: &[&View<'_>]) -> Option<String> {
    let told = cluster.kubernetes.as_ref().and_then(|k| k.endpoint.as_ref());
    told.map(|e| e.value.clone()).or_else(|| {
        let first = first_server(peers)?;
        Some(
            first
                .ip()
                .map_or_else(|| full_name(cluster, first), |ip| ip.to_string()),
        )
    })
}

fn kubernetes(cluster: &ClusterSpec, peers: &[&View<'_>]) -> Value {
    let Some(kubernetes) = &cluster.kubernetes else {
        return json!({"distribution": "none", "version": null, "minor": null, "cni": null, "endpoint": null,
            "port": API_PORT, "disable": [], "addons": [], "token_ttl": null});
    };
    let version = kubernetes.version.as_ref().map(|v| v.value.as_str());
    let minor = version.and_then(|v| v.split('.').nth(1)?.parse::<u32>().ok());
    let mut addons: Vec<&str> = peers
        .iter()
        .flat_map(|v| v.resolved.settings.addons.iter().map(|a| a.value.as_str()))
        .collect();
    addons.sort_unstable();
    addons.dedup();
    let distribution = kubernetes.distribution.value;
    json!({
        "distribution": distribution.word(),
        "version": version,
        "minor": minor,
        "cni": kubernetes.cni.as_ref().map_or("flannel", |c| c.value.as_str()),
        "endpoint": (distribution != Distribution::None).then(|| endpoint(cluster, peers)).flatten(),
        "port": API_PORT,
        "disable": kubernetes.disable,
        "addons": addons,
        "token_ttl": kubernetes.token_ttl.as_ref().map(|t| &t.value),
    })
}

pub(super) fn full_name(cluster: &ClusterSpec, view: &View<'_>) -> String {
    let hostname = view.spec.hostname.as_str();
    match &cluster.domain {
        Some(domain) if !hostname.contains('.') => format!("{hostname}.{domain}"),
        _ => hostname.to_owned(),
    }
}

fn node(cluster: &ClusterSpec, peers: &[&View<'_>], view: &View<'_>) -> Value {
    let settings = &view.resolved.settings;
    let fixed = view.fixed();
    let ports: Vec<Value> = view
        .ports
        .iter()
        .map(|p| {
            let fixed = match &p.address {
                Address::Static(fixed) => Some(fixed),
                Address::Dhcp => None,
            };
            json!({"name": p.name, "use": p.purpose.word(), "address": p.address.to_string(),
                "ip": fixed.map(|f| f.ip), "prefix": fixed.map(|f| f.prefix),
                "mac": p.mac.map(|m| m.to_string()), "wifi": p.wifi.as_ref().map(|(name, _)| name)})
        })
        .collect();
    let disks: Vec<Value> = settings
        .disks
        .iter()
        .map(|(name, disk)| {
            let device = disk
                .id
                .as_ref()
                .map(|id| format!("/dev/disk/by-id/{id}"))
                .or_else(|| disk.uuid.as_ref().map(|uuid| format!("UUID={uuid}")))
                .or_else(|| disk.label.as_ref().map(|label| format!("LABEL={label}")));
            json!({"name": name, "device": device, "mount": disk.mount, "fs": disk.file_system(),
                "purpose": disk.purpose, "wipe": disk.wipe, "nofail": true, "file": disk.file.map(|f| f.0)})
        })
        .collect();
    let services: Map<String, Value> = settings
        .services
        .iter()
        .map(|(name, map)| (name.clone(), json!(map.value)))
        .collect();
    let labels: Map<String, Value> = settings
        .labels
        .iter()
        .map(|(key, value)| (key.clone(), json!(value.value)))
        .collect();
    let taints: Vec<&str> = settings.taints.iter().map(|t| t.value.as_str()).collect();
    let open: Vec<&str> = settings.firewall.open.iter().map(|o| o.value.as_str()).collect();
    let users: Vec<Value> = settings
        .users
        .iter()
        .map(|(name, user)| json!({"name": name, "admin": user.value.sudo.is_some()}))
        .collect();
    let kubelet = &settings.kubelet;
    json!({
        "name": view.spec.name.as_str(),
        "hostname": view.spec.hostname.as_str(),
        "fqdn": full_name(cluster, view),
        "profile": view.spec.profile,
        "role": view.role().word(),
        "arch": settings.arch.as_ref().map(|a| a.word()),
        "board": settings.board.as_ref().map(|b| b.to_string()),
        "address": view.port().address.to_string(),
        "ip": fixed.map(|f| f.ip),
        "prefix": fixed.map(|f| f.prefix),
        "interface": view.port().name,
        "gateway": fixed.and_then(|f| f.gateway),
        "dns": fixed.map(|f| f.dns.clone()),
        "mac": view.port().mac.map(|m| m.to_string()),
        "interfaces": ports,
        "uplink": view.of(Purpose::Uplink).map(|p| p.name.as_str()),
        "lan_interface": view.of(Purpose::Lan).map(|p| p.name.as_str()),
        "labels": labels,
        "taints": taints,
        "disks": disks,
        "firewall_open": open,
        "swap": settings.swap.as_ref().map(|s| match s.value {
            SwapSettings::Off => "off",
            SwapSettings::Limited => "limited",
            SwapSettings::Zram(_) => "zram",
        }),
        "services": services,
        "kubelet": {"system_reserved_memory": kubelet.system_reserved_memory,
            "eviction_memory": kubelet.eviction_memory, "args": kubelet.args},
        "users": users,
        "first_server": view.is_first_server(peers),
    })
}
