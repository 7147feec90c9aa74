//! The address plan.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use crate::plan::{Address, Origin};
use crate::planner::View;
use crate::spec::{ClusterSpec, Purpose, Role};
use crate::values::{Network4, Range4, ipv4};

use super::{Found, file};

pub(super) fn check(cluster: &ClusterSpec, views: &[View<'_>], found: &mut Found) {
    plan(cluster, found);
    pools(cluster, views, found);
    nodes(cluster, views, found);
    reservations(cluster, views, found);
}

/// Networks that must not meet.
fn plan(cluster: &ClusterSpec, found: &mut Found) {
    let network = &cluster.network;
    let all = [
        ("lan", &network.lan),
        ("pods", &network.pods),
        ("services", &network.services),
        ("vpn", &network.vpn),
    ];
    let named: Vec<(&str, Network4, &Origin)> = all
        .iter()
        .filter_map(|(name, at)| at.as_ref().map(|at| (*name, at.value, &at.origin)))
        .collect();
    for (name, net, origin) in &named {
        if !net.is_private() {
            found.warning(
                "P16",
                origin,
                format!("`{name}` is {net}, which is public address space of somebody else"),
                "use a network of 10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16, such as 10.11.0.0/25",
            );
        }
    }
    for (i, (name, net, origin)) in named.iter().enumerate() {
        for (other, against, _) in &named[..i] {
            if net.overlaps(against) {
                found.error(
                    "F112",
                    origin,
                    format!("`{name}` {net} overlaps `{other}` {against}"),
                    "give each a network of its own",
                );
            }
        }
    }
}

fn pools(cluster: &ClusterSpec, views: &[View<'_>], found: &mut Found) {
    let network = &cluster.network;
    let Some(lan) = &network.lan else {
        if let Some(pool) = &network.load_balancer_pool {
            found.warning(
                "F191",
                &pool.origin,
                "there is a `load-balancer-pool` and no `lan`, so nobody can say whether it can be reached",
                "give `network: {lan: …}`",
            );
        }
        return;
    };
    let inside = |name: &str, pool: &Range4, origin: &Origin, found: &mut Found| {
        if !pool.is_in(&lan.value) {
            let whole = !lan.contains(pool.from) && !lan.contains(pool.to);
            found.error(
                if whole && name == "load-balancer-pool" {
                    "F191"
                } else {
                    "P16"
                },
                origin,
                format!(
                    "`{name}` {pool} {} the LAN {}, so {}",
                    if whole { "lies outside" } else { "reaches beyond" },
                    lan.value,
                    if name == "dhcp-pool" {
                        "some leases would be of no use"
                    } else {
                        "nobody in the LAN could reach its addresses"
                    }
                ),
                format!("choose addresses between {} and {}", lan.first(), lan.last()),
            );
        }
    };
    if let Some(pool) = &network.dhcp_pool {
        inside("dhcp-pool", &pool.value, &pool.origin, found);
    }
    if let Some(pool) = &network.load_balancer_pool {
        inside("load-balancer-pool", &pool.value, &pool.origin, found);
        if let Some(dhcp) = &network.dhcp_pool
            && dhcp.overlaps(&pool.value)
        {
            found.error(
                "F191",
                &pool.origin,
                format!(
                    "`load-balancer-pool` {} meets `dhcp-pool` {}",
                    pool.value, dhcp.value
                ),
                "keep the two apart, or an address is given twice",
            );
        }
    }
    let pools = [
        ("dhcp-pool", &network.dhcp_pool, "F142"),
        ("load-balancer-pool", &network.load_balancer_pool, "F191"),
    ];
    for view in views {
        for (name, pool, id) in &pools {
            if let (Some(ip), Some(pool)) = (view.ip().and_then(ipv4), pool)
                && pool.contains(ip)
            {
                found.error(
                    id,
                    &view.spec.origin,
                    format!(
                        "the address {ip} of node `{}` lies in `{name}` {}",
                        view.spec.name, pool.value
                    ),
                    "give the node an address outside the pool",
                );
            }
        }
    }
}

fn nodes(cluster: &ClusterSpec, views: &[View<'_>], found: &mut Found) {
    let network = &cluster.network;
    let mut taken: BTreeMap<IpAddr, &str> = BTreeMap::new();
    for view in views {
        let origin = &view.spec.origin;
        for port in &view.ports {
            let Address::Static(fixed) = &port.address else {
                continue;
            };
            if let Some(other) = taken.insert(fixed.ip, view.spec.name.as_str()) {
                found.error(
                    "P16",
                    origin,
                    format!("nodes `{other}` and `{}` both have {}", view.spec.name, fixed.ip),
                    "give each an address of its own",
                );
            }
        }
        let (Some(lan), Some(fixed)) = (&network.lan, view.fixed()) else {
            continue;
        };
        let Some(ip) = ipv4(fixed.ip) else { continue };
        if !lan.contains(ip) {
            found.error(
                "P16",
                origin,
                format!(
                    "the address {ip} of node `{}` is not in the LAN {}",
                    view.spec.name, lan.value
                ),
                "give it one of the LAN",
            );
        } else if fixed.prefix != lan.prefix() {
            found.warning(
                "P16",
                origin,
                format!(
                    "node `{}` has the prefix /{} and the LAN /{}: it takes addresses for neighbours that are not",
                    view.spec.name,
                    fixed.prefix,
                    lan.prefix()
                ),
                format!("write {ip}/{}", lan.prefix()),
            );
        }
    }
    if let (Some(gateway), Some(lan)) = (network.gateway.and_then(ipv4), &network.lan)
        && !lan.contains(gateway)
    {
        found.error(
            "P16",
            &lan.origin,
            format!("the gateway {gateway} is not in the LAN {}", lan.value),
            "give the router's address in the LAN",
        );
    }
    for (name, view) in views.iter().filter_map(|v| Some((ipv4(v.ip()?)?, v))) {
        reserved(name, view, cluster, found);
    }
}

/// An address of the pod or service network on a node.
fn reserved(ip: Ipv4Addr, view: &View<'_>, cluster: &ClusterSpec, found: &mut Found) {
    for (name, network) in [
        ("pods", &cluster.network.pods),
        ("services", &cluster.network.services),
    ] {
        // Where the whole networks meet, that is told already.
        let met = |n: &Network4| cluster.network.lan.as_ref().is_some_and(|lan| lan.overlaps(n));
        if let Some(network) = network
            && network.contains(ip)
            && !met(&network.value)
        {
            found.error(
                "F112",
                &view.spec.origin,
                format!(
                    "the address {ip} of node `{}` is in `{name}` {}",
                    view.spec.name, network.value
                ),
                "give the node one of the LAN",
            );
        }
    }
}

/// Who hands out addresses, and to whom.
fn reservations(cluster: &ClusterSpec, views: &[View<'_>], found: &mut Found) {
    let mut macs = BTreeMap::new();
    for view in views {
        for port in &view.ports {
            if let Some(mac) = port.mac
                && let Some(other) = macs.insert(mac, view.spec.name.as_str())
            {
                found.error(
                    "F142",
                    &view.spec.origin,
                    format!(
                        "nodes `{other}` and `{}` both have the Ethernet address {mac}",
                        view.spec.name
                    ),
                    "correct one of them",
                );
            }
        }
    }
    let router = views.iter().any(|v| v.role() == Role::Router);
    let moving: Vec<&str> = views
        .iter()
        .filter(|v| v.role() == Role::Server && v.port().address == Address::Dhcp)
        .map(|v| v.spec.name.as_str())
        .collect();
    if !router && !moving.is_empty() {
        found.warning(
            "F167",
            &file(cluster),
            format!(
                "no node of this file is a router, and the servers {} get their addresses by DHCP: without a reservation they move, and the cluster loses its API",
                moving.join(", ")
            ),
            "give servers a fixed `address`, or reserve one in your router (`ceil-img export reservations`)",
        );
    }
    for view in views.iter().filter(|v| v.role() == Role::Router) {
        if view.ports.iter().all(|p| p.purpose != Purpose::Uplink) {
            found.error(
                "F146",
                &view.spec.origin,
                format!(
                    "the router `{}` has no interface with `use: uplink`",
                    view.spec.name
                ),
                "give `interfaces: {wlan0: {use: uplink, wifi: …}, eth0: {use: lan}}`",
            );
        }
        if view.fixed().is_none() {
            found.error(
                "F140",
                &view.spec.origin,
                format!(
                    "the router `{}` has no fixed address on its LAN side",
                    view.spec.name
                ),
                "give it an `address` of the LAN",
            );
        }
    }
}
