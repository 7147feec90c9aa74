//! Local ports that lead to nodes.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use super::lan::{Lan, Member};

/// The address that the emulator's own DHCP gives first: the 15th of the network (QEMU's documentation of `-netdev
/// user`, `dhcpstart`).
const FIRST_LEASE: u32 = 15;

/// What a port is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// A port of the host that leads to a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forward {
    /// The node.
    pub node: String,
    /// Its address.
    pub address: Ipv4Addr,
    /// TCP or UDP.
    pub protocol: Protocol,
    /// Its port.
    pub port: u16,
    /// The port of 127.0.0.1.
    pub local: u16,
    /// Whether it comes in at the node's uplink instead of the nodes' network.
    pub uplink: bool,
}

impl Forward {
    /// A rule of QEMU's `-netdev user`.
    #[must_use]
    pub fn rule(&self) -> String {
        let Self {
            protocol,
            local,
            address,
            port,
            ..
        } = self;
        format!(",hostfwd={protocol}:127.0.0.1:{local}-{address}:{port}")
    }
}

/// A port that the user asks for: `NODE:PORT`, `NODE:PORT/udp`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedPort {
    /// The node.
    pub node: String,
    /// Its port.
    pub port: u16,
    /// TCP or UDP.
    pub protocol: Protocol,
}

impl FromStr for WantedPort {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("`{text}` is no port of a node; write `NODE:PORT` or `NODE:PORT/udp`");
        let (node, rest) = text.split_once(':').ok_or_else(bad)?;
        let (port, protocol) = match rest.split_once('/') {
            None | Some((_, "tcp")) => (rest.trim_end_matches("/tcp"), Protocol::Tcp),
            Some((port, "udp")) => (port, Protocol::Udp),
            Some(_) => return Err(bad()),
        };
        match port.parse() {
            Ok(port) if port != 0 && !node.is_empty() => Ok(Self {
                node: node.to_owned(),
                port,
                protocol,
            }),
            _ => Err(bad()),
        }
    }
}

impl Lan {
    /// Leads a local port to a node: to its uplink where it has one, as the world would come, else to its address in
    /// the nodes' network. `false` where it has no address that is known before it runs.
    pub fn lead(&mut self, member: &Member, wanted: &WantedPort, local: u16) -> bool {
        let uplink = member.wires.iter().find(|wire| wire.uplink);
        let address = match uplink {
            Some(wire) => match wire.address {
                Some((ip, _)) => Some(ip),
                None => self.outside(wire).0.nth(FIRST_LEASE),
            },
            None => member
                .wires
                .iter()
                .find_map(|wire| wire.address)
                .map(|(ip, _)| ip)
                .filter(|ip| self.network.contains(*ip)),
        };
        let Some(address) = address else { return false };
        self.forwards.push(Forward {
            node: member.name.clone(),
            address,
            protocol: wanted.protocol,
            port: wanted.port,
            local,
            uplink: uplink.is_some(),
        });
        true
    }
}

#[cfg(test)]
mod tests {
    use super::super::lan::{Wire, plan_lan, stable_mac};
    use super::*;

    fn wire(name: &str, uplink: bool, address: Option<&str>) -> Wire {
        Wire {
            name: name.to_owned(),
            mac: stable_mac("c", "n", name),
            uplink,
            address: address.map(|a| (a.parse().expect("address"), 24)),
            gateway: None,
        }
    }

    #[test]
    fn wanted_ports() {
        let udp: WantedPort = "gate:51820/udp".parse().expect("port");
        assert_eq!(
            (udp.node.as_str(), udp.port, udp.protocol),
            ("gate", 51820, Protocol::Udp)
        );
        assert_eq!("one:80/tcp".parse::<WantedPort>(), "one:80".parse());
        for bad in [
            "one",
            "one:",
            ":80",
            "one:0",
            "one:70000",
            "one:80/sctp",
            "one:80/udp/tcp",
        ] {
            let error = bad.parse::<WantedPort>().expect_err("no port");
            assert!(error.contains(bad) && error.contains("NODE:PORT/udp"), "{error}");
        }
    }

    #[test]
    fn a_router_is_reached_from_outside_and_others_in_their_network() {
        let member = |name: &str, router, wires| Member {
            name: name.to_owned(),
            router,
            server: false,
            wires,
        };
        let gate = member(
            "gate",
            true,
            vec![wire("eth0", false, Some("10.11.0.1")), wire("eth1", true, None)],
        );
        let one = member("one", false, vec![wire("eth0", false, Some("10.11.0.101"))]);
        let guest = member("guest", false, vec![wire("eth0", false, None)]);
        let all = [gate, one, guest];
        let (mut lan, _) = plan_lan(&all, None, None, &[], &[], &mut || Ok(1)).expect("planned");
        lan.forwards.clear();
        let wanted = |text: &str| text.parse().expect("port");
        assert!(lan.lead(&all[0], &wanted("gate:51820/udp"), 7));
        assert!(lan.lead(&all[1], &wanted("one:80"), 8));
        assert!(!lan.lead(&all[2], &wanted("guest:80"), 9));
        let rules: Vec<(String, bool)> = lan.forwards.iter().map(|f| (f.rule(), f.uplink)).collect();
        assert_eq!(
            rules,
            [
                (",hostfwd=udp:127.0.0.1:7-10.0.2.15:51820".to_owned(), true),
                (",hostfwd=tcp:127.0.0.1:8-10.11.0.101:80".to_owned(), false)
            ]
        );
    }
}
