//! What is known of every node of a cluster file, worked out once: interfaces with their addresses, its cluster.

use std::net::IpAddr;

use crate::plan::{Address, Host, Origin, StaticAddress};
use crate::spec::{ClusterSpec, Inputs, NodeSpec, Purpose, Resolved, Role, read_cidr};
use crate::values::{Hostname, MacAddr, ipv4};

use super::PlanError;

/// The interface of a node that has none in its settings.
const INTERFACE: &str = "eth0";

/// One interface, with everything decided.
#[derive(Debug, Clone)]
pub struct Port {
    /// Its name in the running system.
    pub name: String,
    /// What it is for.
    pub purpose: Purpose,
    /// How it gets its address.
    pub address: Address,
    /// Its Ethernet address, where that is known.
    pub mac: Option<MacAddr>,
    /// Name of the WiFi it joins, and where that is said.
    pub wifi: Option<(String, Origin)>,
    /// Whether the boot goes on without it.
    pub optional: bool,
    /// Whether the radio saves power.
    pub power_save: bool,
}

/// A node with its settings.
#[derive(Debug, Clone)]
pub struct View<'a> {
    /// The entry of the cluster file.
    pub spec: &'a NodeSpec,
    /// Its settings with everything merged.
    pub resolved: &'a Resolved,
    /// Name of the cluster it belongs to.
    pub cluster: String,
    /// Its interfaces, one at least.
    pub ports: Vec<Port>,
    /// Index of the interface that carries the cluster's traffic.
    pub main: usize,
}

impl View<'_> {
    /// What it is for; a helper when nothing is said.
    #[must_use]
    pub fn role(&self) -> Role {
        self.resolved
            .settings
            .role
            .as_ref()
            .map_or(Role::Helper, |r| r.value)
    }

    /// The nodes of its cluster, itself included, in the order of the file.
    #[must_use]
    pub fn peers<'v>(&self, views: &'v [View<'v>]) -> Vec<&'v View<'v>> {
        views.iter().filter(|v| v.cluster == self.cluster).collect()
    }

    /// Whether it is the first server among its peers, which the cluster begins on.
    #[must_use]
    pub fn is_first_server(&self, peers: &[&View<'_>]) -> bool {
        first_server(peers).is_some_and(|first| std::ptr::eq(first.spec, self.spec))
    }

    /// The interface that carries the cluster's traffic.
    #[must_use]
    pub fn port(&self) -> &Port {
        &self.ports[self.main]
    }

    /// Its address there, when it is fixed.
    #[must_use]
    pub fn fixed(&self) -> Option<&StaticAddress> {
        match &self.port().address {
            Address::Static(fixed) => Some(fixed),
            Address::Dhcp => None,
        }
    }

    /// The same without its prefix.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        self.fixed().map(|f| f.ip)
    }

    /// The first interface for a purpose.
    #[must_use]
    pub fn of(&self, purpose: Purpose) -> Option<&Port> {
        self.ports.iter().find(|p| p.purpose == purpose)
    }

    /// The line of the hosts file that names it.
    #[must_use]
    pub fn host(&self, domain: Option<&Hostname>) -> Option<Host> {
        let ip = self.ip()?;
        let hostname = &self.spec.hostname;
        let mut names = Vec::new();
        if let Some(domain) = domain
            && !hostname.as_str().contains('.')
            && let Ok(full) = format!("{hostname}.{domain}").parse()
        {
            names.push(full);
        }
        names.push(hostname.clone());
        Some(Host { ip, names })
    }
}

/// Every node of the file.
///
/// # Errors
/// [`PlanError`]: inputs without a node, an address that is none.
pub fn all<'a>(cluster: &'a ClusterSpec, inputs: &'a Inputs) -> Result<Vec<View<'a>>, PlanError> {
    cluster
        .nodes
        .iter()
        .map(|node| one(cluster, node, inputs))
        .collect()
}

fn one<'a>(cluster: &ClusterSpec, node: &'a NodeSpec, inputs: &'a Inputs) -> Result<View<'a>, PlanError> {
    let resolved = inputs
        .nodes
        .get(node.name.as_str())
        .ok_or_else(|| PlanError::not_read(&node.origin, format!("settings of node {}", node.name)))?;
    let settings = &resolved.settings;
    let mut ports = Vec::new();
    for (name, port) in &settings.interfaces {
        let mut address = match &port.address {
            None => Address::Dhcp,
            Some(text) if text.value == "dhcp" => Address::Dhcp,
            Some(text) => read_cidr(&text.value, name, &cluster.network)
                .map(Address::Static)
                .map_err(|why| PlanError::Unsupported {
                    origin: text.origin.clone(),
                    why,
                })?,
        };
        if let Address::Static(fixed) = &mut address {
            match &port.gateway {
                Some(text) if text.value == "none" => fixed.gateway = None,
                Some(text) => {
                    let gateway = text.value.parse().map_err(|_| PlanError::Unsupported {
                        origin: text.origin.clone(),
                        why: format!(
                            "`{}` is not an IP address; `none` stands for no gateway",
                            text.value
                        ),
                    })?;
                    fixed.gateway = Some(gateway);
                }
                None => {}
            }
            if let Some(dns) = &port.dns {
                fixed.dns.clone_from(dns);
            }
        }
        ports.push(Port {
            name: name.clone(),
            purpose: port.purpose.unwrap_or(Purpose::Cluster),
            address,
            mac: port.mac.as_ref().map(|m| m.value),
            wifi: port.wifi.as_ref().map(|w| (w.value.clone(), w.origin.clone())),
            optional: port.optional.unwrap_or(port.wifi.is_some()),
            power_save: port.power_save.unwrap_or(false),
        });
    }
    if ports.is_empty() {
        ports.push(Port {
            name: match &node.address {
                Address::Static(fixed) => fixed.interface.clone(),
                Address::Dhcp => INTERFACE.to_owned(),
            },
            purpose: Purpose::Cluster,
            address: Address::Dhcp,
            mac: None,
            wifi: None,
            optional: false,
            power_save: false,
        });
    }
    let main = ports
        .iter()
        .position(|p| p.purpose == Purpose::Lan)
        .or_else(|| ports.iter().position(|p| p.purpose == Purpose::Cluster))
        .unwrap_or(0);
    if let Address::Static(fixed) = &node.address {
        let mut fixed = fixed.clone();
        fixed.interface.clone_from(&ports[main].name);
        if let Some(own) = settings.interfaces.get(&fixed.interface)
            && own.gateway.as_ref().is_some_and(|g| g.value == "none")
        {
            fixed.gateway = None;
        }
        ports[main].address = Address::Static(fixed);
    }
    // The gateway itself has no gateway on its own side.
    for port in &mut ports {
        if let Address::Static(fixed) = &mut port.address
            && (port.purpose == Purpose::Lan || fixed.gateway == Some(fixed.ip))
        {
            fixed.gateway = None;
        }
    }
    Ok(View {
        spec: node,
        resolved,
        cluster: settings
            .cluster
            .as_ref()
            .map_or_else(|| cluster.name.to_string(), |c| c.value.clone()),
        ports,
        main,
    })
}

/// Whether an address is one of IPv4, for lists that hold only these.
pub(super) fn v4(address: Option<IpAddr>) -> Option<std::net::Ipv4Addr> {
    address.and_then(ipv4)
}

/// The first server among nodes of one cluster.
pub(super) fn first_server<'v, 'a>(peers: &[&'v View<'a>]) -> Option<&'v View<'a>> {
    peers.iter().copied().find(|v| v.role() == Role::Server)
}
