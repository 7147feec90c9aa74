//! Openings of firewalls, and what firewalls and routers must know.

use crate::planner::View;
use crate::spec::{ClusterSpec, Purpose, Role};

use super::Found;

pub(super) fn check(cluster: &ClusterSpec, views: &[View<'_>], found: &mut Found) {
    for view in views {
        let settings = &view.resolved.settings;
        for opening in &settings.firewall.open {
            if let Some(why) = problem(&opening.value, cluster, view) {
                found.error(
                    "F148",
                    &opening.origin,
                    format!("`{}` opens nothing: {why}", opening.value),
                    "write a port and `tcp` or `udp`, such as `22/tcp`, `67-68/udp` or `443/tcp@uplink`",
                );
            }
        }
        let walled = settings.overlays.iter().any(|o| o.value == "firewall");
        if cluster.network.lan.is_none() && (walled || view.role() == Role::Router) {
            let what = if walled { "has a firewall" } else { "is a router" };
            found.error(
                "F148",
                &view.spec.origin,
                format!(
                    "`{}` {what}, and nothing says which network is the cluster's own",
                    view.spec.name
                ),
                "give `network: {lan: 10.11.0.0/25}`",
            );
        }
    }
}

/// What is wrong with an opening, for which side it is: one of the words, or an interface.
fn problem(text: &str, cluster: &ClusterSpec, view: &View<'_>) -> Option<String> {
    let (rest, side) = match text.split_once('@') {
        Some((rest, side)) => (rest, Some(side)),
        None => (text, None),
    };
    match side {
        None | Some("lan" | "nodes") => {}
        Some("vpn") if cluster.network.vpn.is_some() => {}
        Some("vpn") => return Some("there is no `network: {vpn: …}`".to_owned()),
        Some("uplink") if view.of(Purpose::Uplink).is_some() => {}
        Some("uplink") => return Some("the node has no interface with `use: uplink`".to_owned()),
        Some(name) if view.ports.iter().any(|port| port.name == name) => {}
        Some(name) => {
            return Some(format!(
                "there is no side `{name}`; there are `lan`, `nodes`, `uplink`, `vpn` and the node's interfaces"
            ));
        }
    }
    let (ports, protocol) = rest.split_once('/').unwrap_or((rest, "tcp"));
    if !["tcp", "udp"].contains(&protocol) {
        return Some(format!("`{protocol}` is not a protocol with ports"));
    }
    let (from, to) = ports.split_once('-').unwrap_or((ports, ports));
    match (from.parse::<u16>(), to.parse::<u16>()) {
        (Ok(from), Ok(to)) if 0 < from && from <= to => None,
        _ => Some(format!("`{ports}` is neither a port nor a range of ports")),
    }
}
