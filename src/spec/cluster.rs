use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use crate::plan::{Address, Origin, StaticAddress};
use crate::values::{Hostname, Network4, Range4, Timestamp};

use super::edits::{dir_of, host_path, join_host, origin};
use super::profile::{profile_name, resolved, split};
use super::reader::Node;
use super::yaml::Value;
use super::{At, KubernetesSpec, RegistriesSpec, Settings, SpecError, WifiSpec, crew, de, parse_time, yaml};

/// The cluster file.
#[derive(Debug, Clone, PartialEq)]
pub struct ClusterSpec {
    /// The file as the user named it.
    pub file: String,
    /// Name of the cluster, one label.
    pub name: Hostname,
    /// Domain of the cluster.
    pub domain: Option<Hostname>,
    /// What the nodes' networks share.
    pub network: Network,
    /// Folders with profiles, searched in this order, then the built-in ones.
    pub profiles: Vec<PathBuf>,
    /// The build epoch that the file names.
    pub epoch: Option<Timestamp>,
    /// How Kubernetes is installed.
    pub kubernetes: Option<KubernetesSpec>,
    /// Registries in the cluster.
    pub registries: RegistriesSpec,
    /// WiFi networks by name.
    pub wifi: BTreeMap<String, At<WifiSpec>>,
    /// Settings of every node, below those of its profile.
    pub defaults: Option<Value>,
    /// The nodes, in the order of the file.
    pub nodes: Vec<NodeSpec>,
}

impl ClusterSpec {
    /// The build epoch when neither the file nor the environment names one: 2025-01-01T00:00:00Z.
    pub const EPOCH: Timestamp = Timestamp::from_secs(1_735_689_600);
}

/// The address plan.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Network {
    /// Default gateway of nodes with a fixed address.
    pub gateway: Option<IpAddr>,
    /// Their name servers.
    pub dns: Vec<IpAddr>,
    /// The nodes' own network.
    pub lan: Option<At<Network4>>,
    /// Addresses that the router gives to anybody.
    pub dhcp_pool: Option<At<Range4>>,
    /// Addresses for services of type LoadBalancer.
    pub load_balancer_pool: Option<At<Range4>>,
    /// Addresses of pods.
    pub pods: Option<At<Network4>>,
    /// Addresses of services.
    pub services: Option<At<Network4>>,
    /// Addresses of VPN clients.
    pub vpn: Option<At<Network4>>,
}

/// One node of the cluster file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeSpec {
    /// Name of the node, one label; output files have it.
    pub name: Hostname,
    /// Host name, the name by default.
    pub hostname: Hostname,
    /// Name of its profile.
    pub profile: String,
    /// Where the profile is named.
    pub profile_origin: Origin,
    /// How it gets its address.
    pub address: Address,
    /// Its own settings, over those of the profile.
    pub settings: Value,
    /// Where it stands.
    pub origin: Origin,
}

/// Reads a cluster file. Paths of the host are relative to the folder of the file.
///
/// # Errors
/// [`SpecError`] at the first mistake.
pub fn parse_cluster(file: &str, text: &str) -> Result<ClusterSpec, SpecError> {
    let value = yaml::parse(file, text)?;
    let root = Node::root(&value);
    let fields = root.fields(
        "a cluster: a map with `cluster` and `nodes`",
        &[
            ("cluster", "a map with the cluster's `name`"),
            (
                "network",
                "the address plan: `gateway`, `dns`, `lan` and the like",
            ),
            ("kubernetes", "how Kubernetes is installed"),
            ("registries", "registries of container images in the cluster"),
            ("wifi", "WiFi networks by name"),
            ("defaults", "settings of every node, below those of its profile"),
            ("profiles", "a list of folders with profiles"),
            ("epoch", "the time that new files get, such as `2025-01-01`"),
            ("nodes", "the list of nodes"),
        ],
    )?;
    let cluster = fields.need("cluster")?.fields(
        "a map with `name`",
        &[
            (
                "name",
                "the cluster's name, lower-case letters, digits and hyphens",
            ),
            ("domain", "the cluster's domain, such as `ceil.internal`"),
        ],
    )?;
    let name = label(&cluster.need("name")?, "a name")?;
    let network = match fields.get("network")? {
        Some(node) => read_network(&node)?,
        None => Network::default(),
    };
    let profiles = match fields.get("profiles")? {
        Some(node) => node
            .list("a list of folders")?
            .iter()
            .map(|n| host_path(n))
            .collect::<Result<_, _>>()?,
        None => vec![join_host(dir_of(&root), "profiles")],
    };
    let nodes = read_nodes(&fields.need("nodes")?, &network)?;
    Ok(ClusterSpec {
        file: file.to_owned(),
        name,
        domain: cluster
            .get("domain")?
            .map(|n| n.parse_text("a domain"))
            .transpose()?,
        network,
        profiles,
        epoch: fields.get("epoch")?.map(|n| epoch(&n)).transpose()?,
        kubernetes: typed(fields.get("kubernetes")?)?,
        registries: typed(fields.get("registries")?)?.unwrap_or_default(),
        wifi: typed(fields.get("wifi")?)?.unwrap_or_default(),
        defaults: match fields.get("defaults")? {
            Some(node) => Some(resolved(node.value.clone())?.value),
            None => None,
        },
        nodes,
    })
}

/// A section by its type.
fn typed<'a, T: serde::Deserialize<'a>>(node: Option<Node<'a>>) -> Result<Option<T>, SpecError> {
    node.map(|n| de::read(n.value, &n.path)).transpose()
}

/// FAT can store the years 1980 to 2107.
fn epoch(node: &Node<'_>) -> Result<Timestamp, SpecError> {
    let time = parse_time(node.scalar("a time")?).map_err(|e| node.error(e))?;
    if !(315_532_800..4_354_819_200).contains(&time.secs) {
        return Err(node.error("the build epoch must lie in the years 1980 to 2107, which FAT can store"));
    }
    Ok(Timestamp::from_secs(time.secs))
}

fn label(node: &Node<'_>, what: &str) -> Result<Hostname, SpecError> {
    let name: Hostname = node.parse_text(what)?;
    if name.as_str().contains('.') {
        return Err(node.error(format!("`{name}` holds a dot; a name is one label")));
    }
    Ok(name)
}

fn read_network(node: &Node<'_>) -> Result<Network, SpecError> {
    let fields = node.fields(
        "a map with `gateway` and `dns`",
        &[
            ("gateway", "the address of the default gateway"),
            ("dns", "a list of name servers"),
            ("lan", "the nodes' own network, such as `10.11.0.0/25`"),
            ("dhcp-pool", "addresses that the router gives to anybody"),
            (
                "load-balancer-pool",
                "addresses for services of type LoadBalancer",
            ),
            ("pods", "the network of pods"),
            ("services", "the network of services"),
            ("vpn", "the network of VPN clients"),
        ],
    )?;
    Ok(Network {
        lan: typed(fields.get("lan")?)?,
        dhcp_pool: typed(fields.get("dhcp-pool")?)?,
        load_balancer_pool: typed(fields.get("load-balancer-pool")?)?,
        pods: typed(fields.get("pods")?)?,
        services: typed(fields.get("services")?)?,
        vpn: typed(fields.get("vpn")?)?,
        gateway: fields.get("gateway")?.map(|n| ip(&n)).transpose()?,
        dns: match fields.get("dns")? {
            Some(list) => ips(&list)?,
            None => Vec::new(),
        },
    })
}

fn ip(node: &Node<'_>) -> Result<IpAddr, SpecError> {
    let text = node.scalar("an IP address")?;
    text.parse()
        .map_err(|_| node.error(format!("`{text}` is not an IP address")))
}

fn ips(node: &Node<'_>) -> Result<Vec<IpAddr>, SpecError> {
    node.list("a list of IP addresses")?.iter().map(ip).collect()
}

fn read_nodes(node: &Node<'_>, network: &Network) -> Result<Vec<NodeSpec>, SpecError> {
    let mut nodes: Vec<NodeSpec> = Vec::new();
    // What must differ between nodes, and the line that had it first.
    let mut seen: BTreeMap<(&str, String), u64> = BTreeMap::new();
    let mut unique = |what: &'static str, value: String, at: &Node<'_>| match seen
        .insert((what, value.clone()), at.line())
    {
        Some(line) => Err(at.error(format!(
            "the {what} `{value}` is taken by the node on line {line}"
        ))),
        None => Ok(()),
    };
    let items = node.list("a list of nodes")?;
    if items.is_empty() {
        return Err(node.error("the list is empty; a cluster has a node at least"));
    }
    let mut entries = Vec::new();
    for item in &items {
        for value in crew::expand(item)? {
            entries.push((item.path.clone(), value));
        }
    }
    for (path, value) in entries {
        let (head, settings) = split(value, &NODE_KEYS.map(|(key, _)| key));
        let item = Node {
            path: path.clone(),
            value: &head,
        };
        check_keys(&item, &settings)?;
        let fields = item.fields("a node, such as `{name: one, profile: minimal}`", &NODE_KEYS)?;
        let name_node = fields.need("name")?;
        let name = label(&name_node, "a name")?;
        unique("name", name.to_string(), &name_node)?;
        let hostname = match fields.get("hostname")? {
            Some(node) => {
                let hostname: Hostname = node.parse_text("a host name")?;
                unique("host name", hostname.to_string(), &node)?;
                hostname
            }
            None => {
                unique("host name", name.to_string(), &name_node)?;
                name.clone()
            }
        };
        let profile = fields.need("profile")?;
        let profile_name = profile_name(&profile)?;
        let address = match fields.get("address")? {
            Some(node) => {
                let address = read_address(&node, network)?;
                if let Address::Static(s) = &address {
                    unique("address", s.ip.to_string(), &node)?;
                }
                address
            }
            None => Address::Dhcp,
        };
        nodes.push(NodeSpec {
            name,
            hostname,
            profile: profile_name.to_owned(),
            profile_origin: origin(&profile),
            address,
            origin: origin(&item),
            settings,
        });
    }
    Ok(nodes)
}

/// Keys of a node that are not settings.
const NODE_KEYS: [(&str, &str); 4] = [
    ("name", "the node's name, lower-case letters, digits and hyphens"),
    ("hostname", "its host name, the name by default"),
    ("profile", "the profile to build it from"),
    ("address", "`dhcp`, or an address such as `10.11.0.101/24`"),
];

/// Reads the node's own settings for their mistakes; a key that is neither setting nor [`NODE_KEYS`] names both.
fn check_keys(item: &Node<'_>, settings: &Value) -> Result<(), SpecError> {
    let node = Node {
        path: item.path.clone(),
        value: settings,
    };
    for (key, child) in node.entries("a node, such as `{name: one, profile: minimal}`")? {
        if !Settings::keys().contains(&key) {
            let names: Vec<&'static str> = NODE_KEYS
                .iter()
                .map(|(key, _)| *key)
                .chain(["matrix", "count"])
                .chain(Settings::keys().iter().copied())
                .collect();
            return Err(SpecError::new(
                child.file(),
                key_mark(settings, key),
                &child.path,
                &de::unknown_key(key, &names),
            ));
        }
    }
    // A mistake is told with the node that has it.
    resolved(settings.clone()).map(drop).map_err(|e| SpecError {
        key: format!("{}.{}", item.path, e.key),
        ..e
    })
}

/// Where a key stands.
fn key_mark(map: &Value, key: &str) -> yaml::Mark {
    match &map.kind {
        yaml::Kind::Map(entries) => entries
            .iter()
            .find(|(k, _)| k.text == key)
            .map_or(map.mark, |(k, _)| k.mark),
        _ => map.mark,
    }
}

/// `dhcp`, an address with its prefix, or a map.
fn read_address(node: &Node<'_>, network: &Network) -> Result<Address, SpecError> {
    let what = "`dhcp`, or an address with its prefix such as `10.11.0.101/24`";
    if !matches!(node.value.kind, yaml::Kind::Map(_)) {
        if node.scalar(what)? == "dhcp" {
            return Ok(Address::Dhcp);
        }
        return fixed(node, network.clone(), "eth0".to_owned());
    }
    let fields = node.fields(
        what,
        &[
            ("cidr", "the address with its prefix, such as `10.11.0.101/24`"),
            ("gateway", "the default gateway instead of the network's"),
            ("dns", "name servers instead of the network's"),
            ("interface", "the interface, `eth0` by default"),
        ],
    )?;
    let mut own = network.clone();
    if let Some(node) = fields.get("gateway")? {
        own.gateway = Some(ip(&node)?);
    }
    if let Some(list) = fields.get("dns")? {
        own.dns = ips(&list)?;
    }
    let interface = match fields.get("interface")? {
        Some(node) => {
            let text = node.text("an interface")?;
            // IFNAMSIZ is 16 with the final zero byte.
            let ok = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
            if text.is_empty() || text.len() > 15 || !text.bytes().all(ok) {
                return Err(node.error(format!(
                    "`{}` is not the name of an interface",
                    text.escape_debug()
                )));
            }
            text.to_owned()
        }
        None => "eth0".to_owned(),
    };
    fixed(&fields.need("cidr")?, own, interface)
}

fn fixed(node: &Node<'_>, network: Network, interface: String) -> Result<Address, SpecError> {
    let text = node.scalar("an address")?;
    let address = read_cidr(text, &interface, &network).map_err(|e| node.error(e))?;
    if let (Some(gateway), true) = (network.gateway, address.gateway.is_none())
        && gateway != address.ip
    {
        return Err(node.error(format!(
            "the gateway {gateway} is not in the network of {text}, so the node could not reach it"
        )));
    }
    Ok(Address::Static(address))
}

/// An address with its prefix for an interface. The network's gateway goes with it where it can be reached, and not
/// to the gateway itself.
///
/// # Errors
/// A sentence: no address with a prefix, or that of a network itself.
pub fn read_cidr(text: &str, interface: &str, network: &Network) -> Result<StaticAddress, String> {
    let bad =
        |why: &str| format!("`{text}` is not an address with its prefix, such as `10.11.0.101/24`{why}");
    let (ip, prefix) = text.split_once('/').ok_or_else(|| bad(""))?;
    let ip: IpAddr = ip.parse().map_err(|_| bad(""))?;
    let width: u8 = if ip.is_ipv4() { 32 } else { 128 };
    let prefix: u8 = prefix.parse().map_err(|_| bad(""))?;
    if prefix == 0 || prefix > width {
        return Err(bad(&format!(": the prefix is 1 to {width}")));
    }
    let bits = bits_of(ip);
    let host_bits = u32::from(width - prefix);
    let host = if host_bits >= 128 {
        bits
    } else {
        bits & ((1u128 << host_bits) - 1)
    };
    // A /31, /32, /127 or /128 has no network and no broadcast address.
    if host_bits > 1 && host == 0 {
        return Err(format!(
            "`{text}` is the address of the network itself; give the node's own"
        ));
    }
    if ip.is_ipv4() && host_bits > 1 && host == (1u128 << host_bits) - 1 {
        return Err(format!(
            "`{text}` is the broadcast address of the network; give the node's own"
        ));
    }
    let reachable = |gateway: &IpAddr| {
        gateway.is_ipv4() != ip.is_ipv4() || host_bits >= 128 || (bits_of(*gateway) ^ bits) >> host_bits == 0
    };
    Ok(StaticAddress {
        interface: interface.to_owned(),
        ip,
        prefix,
        gateway: network.gateway.filter(|g| *g != ip && reachable(g)),
        dns: network.dns.clone(),
    })
}

fn bits_of(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}
