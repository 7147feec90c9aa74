//! The nodes' network in the emulator: who is the gateway, which addresses the host takes, which ports lead in.

use std::collections::BTreeSet;
use std::io;
use std::net::Ipv4Addr;

use super::forward::{Forward, Protocol};
use crate::values::{DigestKind, Hasher, MacAddr, Network4};

/// The host serves this many addresses by DHCP.
const LEASES: u32 = 16;
/// SSH.
const SSH: u16 = 22;
/// The API of Kubernetes.
const API: u16 = 6443;
/// Used where the cluster file says nothing of a network.
const NETWORKS: [(Ipv4Addr, u8); 3] = [
    (Ipv4Addr::new(10, 0, 2, 0), 24),
    (Ipv4Addr::new(192, 168, 231, 0), 24),
    (Ipv4Addr::new(172, 31, 231, 0), 24),
];

/// A wired interface of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wire {
    /// Name in the running system, such as `eth0`.
    pub name: String,
    /// Ethernet address.
    pub mac: MacAddr,
    /// Whether it is the way out instead of the nodes' network.
    pub uplink: bool,
    /// Its address and the length of its prefix, where fixed.
    pub address: Option<(Ipv4Addr, u8)>,
    /// Its gateway, where fixed.
    pub gateway: Option<Ipv4Addr>,
}

/// A node, as its network sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// Whether it is the gateway of the others.
    pub router: bool,
    /// Whether it serves the API of Kubernetes.
    pub server: bool,
    /// Its wired interfaces.
    pub wires: Vec<Wire>,
}

impl Member {
    fn lan_wire(&self) -> Option<&Wire> {
        self.wires.iter().find(|wire| !wire.uplink)
    }
}

/// The host's part in the nodes' network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lan {
    /// The network.
    pub network: Network4,
    /// The host's address: the gateway, unless a router is.
    pub host: Ipv4Addr,
    /// Where the host answers questions for names.
    pub dns: Ipv4Addr,
    /// First of the addresses that the host gives.
    pub dhcp_start: Ipv4Addr,
    /// Whether the host may give addresses; never beside a router.
    pub serves_dhcp: bool,
    /// Ports that lead in.
    pub forwards: Vec<Forward>,
}

/// Why there is no network.
#[derive(Debug, thiserror::Error)]
pub enum LanError {
    /// Too few addresses.
    #[error("the network {0} has no room for the host and {LEASES} addresses that it gives")]
    Full(Network4),
    /// No free port.
    #[error("cannot find a free port of 127.0.0.1")]
    Port(#[from] io::Error),
}

/// Plans the network of `members`, the nodes that are powered on, and the sentences worth telling. `network`,
/// `gateway` and `dns` are those of the cluster file; `taken` are addresses of further nodes. `port` gives free ports
/// of the host.
///
/// # Errors
/// [`LanError`].
pub fn plan_lan(
    members: &[Member],
    network: Option<Network4>,
    gateway: Option<Ipv4Addr>,
    dns: &[Ipv4Addr],
    taken: &[Ipv4Addr],
    port: &mut dyn FnMut() -> io::Result<u16>,
) -> Result<(Lan, Vec<String>), LanError> {
    let wires = || members.iter().filter_map(Member::lan_wire);
    let fixed = || wires().find_map(|w| w.address);
    let network = network
        .or_else(|| fixed().map(|(ip, prefix)| Network4::of(ip, prefix)))
        .unwrap_or_else(|| spare_network(&[]));
    let gateway = gateway
        .or_else(|| wires().find_map(|w| w.gateway))
        .filter(|ip| network.contains(*ip));
    let routed = members.iter().any(|m| m.router);
    let mut used: BTreeSet<Ipv4Addr> = wires().filter_map(|w| w.address.map(|a| a.0)).collect();
    used.extend(taken);
    let take = |used: &mut BTreeSet<Ipv4Addr>| -> Option<Ipv4Addr> {
        let found = free_from_top(network, used)?;
        used.insert(found);
        Some(found)
    };
    let full = || LanError::Full(network);
    used.extend(gateway);
    let host = match gateway {
        // A node that has the gateway's address is one, whatever its role is called.
        Some(ip) if !routed && !wires().any(|w| w.address.is_some_and(|a| a.0 == ip)) => ip,
        _ => take(&mut used).ok_or_else(full)?,
    };
    let asked = dns
        .iter()
        .copied()
        .find(|ip| network.contains(*ip) && *ip != host && !used.contains(ip));
    let dns = match asked {
        Some(ip) => ip,
        None => take(&mut used).ok_or_else(full)?,
    };
    used.insert(dns);
    let dhcp_start = free_block(network, &used).ok_or_else(full)?;
    let mut notes = Vec::new();
    let mut forwards = Vec::new();
    let asking: Vec<&Member> = members
        .iter()
        .filter(|m| m.lan_wire().is_some_and(|w| w.address.is_none()))
        .collect();
    for member in members {
        let Some(wire) = member.lan_wire() else {
            notes.push(format!(
                "node `{}` has no wired interface in the nodes' network, so no port leads to it",
                member.name
            ));
            continue;
        };
        let address = match wire.address {
            Some((ip, _)) => ip,
            // The only one who asks gets the first address.
            None if !routed && asking.len() == 1 => dhcp_start,
            None => {
                notes.push(format!(
                    "node `{}` gets its address by DHCP, so no port leads to it; a fixed `address` would have one",
                    member.name
                ));
                continue;
            }
        };
        if !network.contains(address) {
            notes.push(format!(
                "node `{}` has the address {address}, which is not in {network}, so no port leads to it",
                member.name
            ));
            continue;
        }
        let ports: &[u16] = if member.server { &[SSH, API] } else { &[SSH] };
        for guest in ports {
            forwards.push(Forward {
                node: member.name.clone(),
                address,
                protocol: Protocol::Tcp,
                port: *guest,
                local: port()?,
                uplink: false,
            });
        }
    }
    let lan = Lan {
        network,
        host,
        dns,
        dhcp_start,
        serves_dhcp: !routed,
        forwards,
    };
    Ok((lan, notes))
}

impl Lan {
    /// The local port that leads to SSH of a node.
    #[must_use]
    pub fn ssh(&self, node: &str) -> Option<u16> {
        self.local(node, SSH)
    }

    /// The local port that leads to the API of a server.
    #[must_use]
    pub fn api(&self, node: &str) -> Option<u16> {
        self.local(node, API)
    }

    fn local(&self, node: &str, port: u16) -> Option<u16> {
        let mine =
            |f: &&Forward| f.node == node && f.port == port && f.protocol == Protocol::Tcp && !f.uplink;
        self.forwards.iter().find(mine).map(|f| f.local)
    }

    /// Network and host address for an uplink of its own: those of its fixed address, else some that are not the
    /// nodes'.
    #[must_use]
    pub fn outside(&self, wire: &Wire) -> (Network4, Ipv4Addr) {
        let network = match wire.address {
            Some((ip, prefix)) => Network4::of(ip, prefix),
            None => spare_network(&[self.network]),
        };
        let second = network.nth(2).unwrap_or(network.first());
        (network, wire.gateway.unwrap_or(second))
    }
}

/// A network that overlaps none of the others.
fn spare_network(others: &[Network4]) -> Network4 {
    let [first, ..] = NETWORKS;
    let (address, prefix) = NETWORKS
        .into_iter()
        .find(|(address, prefix)| {
            let network = Network4::of(*address, *prefix);
            others.iter().all(|other| !other.overlaps(&network))
        })
        .unwrap_or(first);
    Network4::of(address, prefix)
}

/// Addresses of a network without its own and its broadcast address.
fn hosts(network: Network4) -> impl DoubleEndedIterator<Item = Ipv4Addr> {
    let (first, last) = (network.first().to_bits(), network.last().to_bits());
    (first.saturating_add(1)..last).map(Ipv4Addr::from_bits)
}

fn free_from_top(network: Network4, used: &BTreeSet<Ipv4Addr>) -> Option<Ipv4Addr> {
    hosts(network).rev().find(|ip| !used.contains(ip))
}

/// The highest free run of as many addresses as the host gives.
fn free_block(network: Network4, used: &BTreeSet<Ipv4Addr>) -> Option<Ipv4Addr> {
    let mut run = 0;
    hosts(network).rev().find(|ip| {
        run = if used.contains(ip) { 0 } else { run + 1 };
        run == LEASES
    })
}

/// An Ethernet address of the Raspberry Pi's range for an interface that has none in the cluster file, the same in
/// every run.
#[must_use]
pub fn stable_mac(cluster: &str, node: &str, interface: &str) -> MacAddr {
    let mut hasher = Hasher::new(DigestKind::Sha256);
    hasher.update(format!("{cluster}\n{node}\n{interface}").as_bytes());
    let hash = hasher.finish();
    let [a, b, c] = [0, 1, 2].map(|i| hash.as_bytes()[i]);
    format!("dc:a6:32:{a:02x}:{b:02x}:{c:02x}")
        .parse()
        .expect("six bytes that name one board")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(name: &str, address: Option<&str>) -> Wire {
        Wire {
            name: "eth0".to_owned(),
            mac: stable_mac("c", name, "eth0"),
            uplink: false,
            address: address.map(|a| (a.parse().expect("address"), 25)),
            gateway: None,
        }
    }

    fn member(name: &str, address: Option<&str>) -> Member {
        Member {
            name: name.to_owned(),
            router: false,
            server: false,
            wires: vec![wire(name, address)],
        }
    }

    fn plan(members: &[Member], network: Option<&str>, gateway: Option<&str>) -> (Lan, Vec<String>) {
        let mut next = 40000;
        plan_lan(
            members,
            network.map(|n| n.parse().expect("network")),
            gateway.map(|g| g.parse().expect("address")),
            &[],
            &[],
            &mut || {
                next += 1;
                Ok(next)
            },
        )
        .expect("planned")
    }

    #[test]
    fn the_host_is_the_gateway_where_no_node_is() {
        let mut server = member("one", Some("10.11.0.101"));
        server.server = true;
        let members = [server, member("two", Some("10.11.0.126"))];
        let (lan, notes) = plan(&members, Some("10.11.0.0/25"), Some("10.11.0.1"));
        assert_eq!(lan.host.to_string(), "10.11.0.1");
        // Addresses of nodes are given to nobody else.
        assert_eq!(lan.dns.to_string(), "10.11.0.125");
        assert_eq!(lan.dhcp_start.to_string(), "10.11.0.109");
        assert!(lan.serves_dhcp && notes.is_empty());
        assert_eq!(
            (lan.ssh("one"), lan.api("one"), lan.ssh("two")),
            (Some(40001), Some(40002), Some(40003))
        );
        assert_eq!(lan.api("two"), None);
    }

    #[test]
    fn a_router_keeps_the_gateway_and_gives_the_addresses() {
        let mut router = member("router", Some("10.11.0.1"));
        router.router = true;
        let members = [router, member("one", None)];
        let (lan, notes) = plan(&members, Some("10.11.0.0/25"), Some("10.11.0.1"));
        assert_eq!(lan.host.to_string(), "10.11.0.126");
        assert!(!lan.serves_dhcp);
        assert!(lan.ssh("router").is_some() && lan.ssh("one").is_none());
        assert!(
            notes[0].contains("`one`") && notes[0].contains("DHCP"),
            "{notes:?}"
        );
    }

    #[test]
    fn the_only_one_who_asks_gets_the_first_address() {
        let (lan, notes) = plan(&[member("one", None)], None, None);
        assert_eq!(lan.network.to_string(), "10.0.2.0/24");
        assert_eq!(lan.forwards[0].address, lan.dhcp_start);
        assert!(notes.is_empty());
        let (lan, notes) = plan(&[member("one", None), member("two", None)], None, None);
        assert!(lan.forwards.is_empty());
        assert_eq!(notes.len(), 2);
    }

    #[test]
    fn a_network_without_room_is_refused() {
        let members = [member("one", Some("10.11.0.1"))];
        let small = Some("10.11.0.0/28".parse().expect("network"));
        let error = plan_lan(&members, small, None, &[], &[], &mut || Ok(1)).expect_err("full");
        assert!(error.to_string().contains("10.11.0.0/28"), "{error}");
    }

    #[test]
    fn uplinks_have_networks_of_their_own() {
        let (lan, _) = plan(&[member("one", None)], None, None);
        let mut uplink = wire("one", None);
        let (network, host) = lan.outside(&uplink);
        assert!(!network.overlaps(&lan.network) && network.contains(host));
        uplink.address = Some((Ipv4Addr::new(192, 168, 1, 7), 24));
        uplink.gateway = Some(Ipv4Addr::new(192, 168, 1, 1));
        let (network, host) = lan.outside(&uplink);
        assert_eq!(
            (network.to_string(), host.to_string()),
            ("192.168.1.0/24".into(), "192.168.1.1".into())
        );
    }

    #[test]
    fn ethernet_addresses_are_stable_and_differ() {
        let one = stable_mac("c", "one", "eth0");
        assert_eq!(one, stable_mac("c", "one", "eth0"));
        assert!(one.to_string().starts_with("dc:a6:32:"));
        assert_ne!(one, stable_mac("c", "one", "eth1"));
        assert_ne!(one, stable_mac("d", "one", "eth0"));
    }
}
