//! From the interfaces of a plan to network cards.

use std::io;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};

use super::{Context, Failure, Planned, args, not_booted};
use crate::boot::{Lan, Link, Member, Nic, Protocol, Segment, Wire, plan_lan, stable_mac};
use crate::plan::Address;
use crate::planner::{Port, View};
use crate::spec::{Purpose, Role};
use crate::values::ipv4;

/// The number of a wired interface: 0 for `eth0`.
fn number(port: &Port) -> Option<usize> {
    let digits = port.name.strip_prefix("eth")?;
    digits.parse().ok().filter(|n| port.wifi.is_none() && *n < 8)
}

fn wire(view: &View<'_>, port: &Port) -> Wire {
    let (address, gateway) = match &port.address {
        Address::Static(fixed) => (
            ipv4(fixed.ip).map(|ip| (ip, fixed.prefix)),
            fixed.gateway.and_then(ipv4),
        ),
        Address::Dhcp => (None, None),
    };
    Wire {
        name: port.name.clone(),
        mac: port
            .mac
            .unwrap_or_else(|| stable_mac(&view.cluster, view.spec.name.as_str(), &port.name)),
        uplink: port.purpose == Purpose::Uplink,
        address,
        gateway,
    }
}

/// How many interfaces are in the nodes' network.
pub fn count(views: &[&View<'_>]) -> usize {
    let mine = |port: &&Port| number(port).is_some() && port.purpose != Purpose::Uplink;
    views
        .iter()
        .map(|view| view.ports.iter().filter(mine).count())
        .sum()
}

/// The network of the nodes that are booted; `all` are those of the cluster file.
pub fn plan(
    context: &Context,
    args: &args::Boot,
    planned: &Planned,
    all: &[View<'_>],
    views: &[&View<'_>],
) -> Result<Lan, Failure> {
    let mut members = Vec::new();
    for view in views {
        for port in view.ports.iter().filter(|port| number(port).is_none()) {
            context.note(&format!(
                "node `{}`: `{}` is not a wired interface and is left out in the emulator",
                view.spec.name, port.name
            ));
        }
        members.push(Member {
            name: view.spec.name.to_string(),
            router: view.role() == Role::Router,
            server: view.role() == Role::Server,
            wires: view
                .ports
                .iter()
                .filter(|port| number(port).is_some())
                .map(|port| wire(view, port))
                .collect(),
        });
    }
    let network = &planned.spec.network;
    let mut taken: Vec<Ipv4Addr> = all.iter().filter_map(|view| view.ip().and_then(ipv4)).collect();
    let routed = members.iter().any(|member| member.router);
    let pools = [
        network.load_balancer_pool.as_ref(),
        network.dhcp_pool.as_ref().filter(|_| routed),
    ];
    for pool in pools.into_iter().flatten() {
        let (from, to) = (pool.value.from.to_bits(), pool.value.to.to_bits());
        taken.extend((from..=to).map(Ipv4Addr::from_bits));
    }
    let mut next = args.ssh_port;
    let mut port = || -> io::Result<u16> {
        if let Some(port) = next {
            next = port.checked_add(1);
            // Said here in words that name the port, not by the emulator.
            TcpListener::bind((Ipv4Addr::LOCALHOST, port))
                .map_err(|e| io::Error::new(e.kind(), format!("port {port} of 127.0.0.1: {e}")))?;
            return Ok(port);
        }
        Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
    };
    let dns: Vec<Ipv4Addr> = network.dns.iter().copied().filter_map(ipv4).collect();
    let (mut lan, notes) = plan_lan(
        &members,
        network.lan.as_ref().map(|lan| lan.value),
        network.gateway.and_then(ipv4),
        &dns,
        &taken,
        &mut port,
    )?;
    for note in notes {
        context.note(&note);
    }
    for wanted in &args.forward {
        let member = members
            .iter()
            .find(|member| member.name == wanted.node)
            .ok_or_else(|| not_booted(planned, "--forward", &wanted.node))?;
        let local = match wanted.protocol {
            Protocol::Tcp => port()?,
            Protocol::Udp => UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port(),
        };
        if !lan.lead(member, wanted, local) {
            return Err(Failure::new(format!(
                "--forward: node `{}` has no fixed address that a port could lead to",
                wanted.node
            )));
        }
    }
    Ok(lan)
}

/// The cards of a node in the order of the names that its kernel gives them; `port` is the next free one of the
/// segment.
pub fn nics(args: &args::Boot, view: &View<'_>, lan: &Lan, segment: &Segment, port: &mut usize) -> Vec<Nic> {
    let last = view.ports.iter().filter_map(number).max();
    (0..last.map_or(0, |n| n + 1))
        .map(|n| {
            let Some(found) = view.ports.iter().find(|p| number(p) == Some(n)) else {
                return Nic {
                    mac: stable_mac(&view.cluster, view.spec.name.as_str(), &format!("eth{n}")),
                    link: Link::Unplugged,
                };
            };
            let wire = wire(view, found);
            let link = if wire.uplink {
                let (network, host) = lan.outside(&wire);
                Link::Outside {
                    network,
                    host,
                    open: args.uplink,
                    forwards: lan
                        .forwards
                        .iter()
                        .filter(|forward| forward.uplink && forward.node == view.spec.name.as_str())
                        .cloned()
                        .collect(),
                }
            } else {
                *port += 1;
                Link::Segment(segment.port(*port - 1).to_owned())
            };
            Nic { mac: wire.mac, link }
        })
        .collect()
}
