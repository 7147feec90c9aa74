//! What this room is told of a cluster and its nodes.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use super::{FlavourError, Kubelet, KubernetesVersion};

/// What all nodes of a cluster share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    /// Its name; it stands in the names of its authorities and in the kubeconfig.
    pub name: String,
    /// The version of every part (F105).
    pub version: KubernetesVersion,
    /// Where the API answers: a name or an address that outlives every single server.
    pub endpoint: Endpoint,
    /// Where joining servers of k3s find the one that began, when the endpoint cannot answer before they have joined.
    pub first_server: Option<Endpoint>,
    /// How many servers there are; more than one means etcd, which wants an odd number.
    pub servers: usize,
    /// More names and addresses that the API's certificate is valid for.
    pub sans: Vec<String>,
    /// Network of the pods in CIDR form (F112).
    pub pods: String,
    /// Network of the services in CIDR form (F112).
    pub services: String,
    /// Domain of the services, `cluster.local` by custom.
    pub dns_domain: String,
    /// Who connects pods (F113).
    pub cni: Cni,
    /// Parts of k3s that are left out (F128).
    pub disable: Vec<String>,
    /// Registries beside those that everyone knows.
    pub registries: Registries,
    /// Settings of k3s's servers that are laid over those that are made here.
    pub config: serde_json::Map<String, serde_json::Value>,
    /// The way out, for nodes that have none of their own (F086).
    pub proxy: Option<Proxy>,
}

/// Host and port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// A name or an address, IPv6 without brackets.
    pub host: String,
    /// TCP port, 6443 for the API.
    pub port: u16,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl Endpoint {
    /// `https://host:port`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://{self}")
    }
}

/// Who connects pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cni {
    /// Flannel with VXLAN: part of k3s, an add-on of kubeadm.
    Flannel,
    /// Something that an add-on brings.
    Other,
}

/// Registries that nodes are told of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Registries {
    /// A cache of Docker Hub as a URL, such as `http://router.example.internal:5000` (F084).
    pub mirror: Option<String>,
    /// A registry of one's own as `host:port`, spoken to without TLS (F085).
    pub private: Option<String>,
}

/// A web proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxy {
    /// URL of the proxy.
    pub url: String,
    /// Names, addresses and networks that are reached without it; pods and services are added.
    pub except: Vec<String>,
}

/// What a node is in its cluster. Roles are exclusive: a node is one of them (P64).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// The server that the cluster begins on.
    FirstServer,
    /// A server that joins.
    Server,
    /// A node that runs pods only.
    Agent,
}

impl Role {
    /// Whether the node is part of the control plane.
    #[must_use]
    pub const fn is_server(self) -> bool {
        matches!(self, Self::FirstServer | Self::Server)
    }
}

/// What one node is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Its role.
    pub role: Role,
    /// Its address in the cluster (F111); found out by itself when not given, as with DHCP.
    pub ip: Option<IpAddr>,
    /// The interface that the cluster is on (F111, F115).
    pub interface: Option<String>,
    /// Labels that it registers with (F120).
    pub labels: BTreeMap<String, String>,
    /// Taints that it registers with (F121); when not given, those of its role by the flavour's custom.
    pub taints: Option<Vec<Taint>>,
    /// Settings of its kubelet.
    pub kubelet: Kubelet,
    /// Its range of pods and the ways to the others', where nodes route to each other's pods.
    pub pods: Option<PodRoutes>,
}

/// The network of pods as routes between nodes of one LAN: no daemon and no image, fixed addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodRoutes {
    /// The range of the node's own pods in CIDR form.
    pub own: String,
    /// Ranges of the other nodes, and the addresses of these nodes.
    pub others: Vec<(String, IpAddr)>,
}

impl Node {
    /// Checks what goes into texts with a syntax of their own.
    pub(super) fn check(&self) -> Result<(), FlavourError> {
        for (key, value) in &self.labels {
            if let Some(wanted) = label_problem(key, value) {
                return Err(FlavourError::Text {
                    text: format!("{key}={value}"),
                    wanted,
                });
            }
        }
        self.kubelet.check()
    }

    /// `key=value` in order.
    pub(super) fn label_words(&self) -> Vec<String> {
        self.labels.iter().map(|(k, v)| format!("{k}={v}")).collect()
    }
}

/// A taint.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Taint {
    /// Key.
    pub key: String,
    /// Value, often empty.
    pub value: String,
    /// What it does.
    pub effect: Effect,
}

/// What a taint does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// New pods stay away.
    NoSchedule,
    /// New pods stay away if they can.
    PreferNoSchedule,
    /// All pods go.
    NoExecute,
}

impl Effect {
    /// As Kubernetes writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoSchedule => "NoSchedule",
            Self::PreferNoSchedule => "PreferNoSchedule",
            Self::NoExecute => "NoExecute",
        }
    }
}

impl fmt::Display for Taint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.key)?;
        if !self.value.is_empty() {
            write!(f, "={}", self.value)?;
        }
        write!(f, ":{}", self.effect.as_str())
    }
}

impl FromStr for Taint {
    type Err = FlavourError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || FlavourError::Text {
            text: text.to_owned(),
            wanted: "a taint; write `key=value:Effect` or `key:Effect` with NoSchedule, PreferNoSchedule or NoExecute",
        };
        let (rest, effect) = text.rsplit_once(':').ok_or_else(bad)?;
        let effect = match effect {
            "NoSchedule" => Effect::NoSchedule,
            "PreferNoSchedule" => Effect::PreferNoSchedule,
            "NoExecute" => Effect::NoExecute,
            _ => return Err(bad()),
        };
        let (key, value) = rest.split_once('=').unwrap_or((rest, ""));
        if !is_qualified(key) || !is_label_value(value) {
            return Err(bad());
        }
        Ok(Self {
            key: key.to_owned(),
            value: value.to_owned(),
            effect,
        })
    }
}

/// Why a kubelet would refuse to register with a label; `None` when it takes it. The answer completes "… is not".
///
/// Labels of Kubernetes' own domains are refused but for a few, so that a node cannot make itself what it is not.
/// Source: kubelet, `--node-labels`, and `k8s.io/kubelet/pkg/apis/well_known_labels.go`.
#[must_use]
pub fn label_problem(key: &str, value: &str) -> Option<&'static str> {
    if !is_qualified(key) {
        return Some(
            "a label: the key is `name` or `prefix/name`, the name 1 to 63 letters, digits or `-_.`",
        );
    }
    if !is_label_value(value) {
        return Some(
            "a label: the value has 63 letters, digits or `-_.` at most and begins and ends with a letter or digit",
        );
    }
    // Without a prefix it is the user's own.
    let (prefix, _) = key.split_once('/')?;
    let within = |domain: &str| prefix == domain || prefix.ends_with(&format!(".{domain}"));
    let own = within("kubernetes.io") || within("k8s.io");
    let allowed = within("kubelet.kubernetes.io")
        || within("node.kubernetes.io")
        || [
            "kubernetes.io/hostname",
            "kubernetes.io/os",
            "kubernetes.io/arch",
            "topology.kubernetes.io/zone",
            "topology.kubernetes.io/region",
        ]
        .contains(&key);
    if own && !allowed {
        return Some(
            "a label that a node may give itself; use a prefix of your own, or `node.kubernetes.io/` instead of `node-role.kubernetes.io/`",
        );
    }
    None
}

/// A qualified name: an optional DNS name and a slash, then up to 63 characters.
fn is_qualified(key: &str) -> bool {
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    let label = |l: &str| {
        !l.is_empty()
            && l.len() <= 63
            && !l.starts_with('-')
            && !l.ends_with('-')
            && l.bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    let prefix_ok = prefix.is_none_or(|p| p.len() <= 253 && p.split('.').all(label));
    prefix_ok && !name.is_empty() && is_label_value(name)
}

fn is_label_value(value: &str) -> bool {
    let edge = |c: Option<char>| c.is_none_or(|c| c.is_ascii_alphanumeric());
    value.len() <= 63
        && value
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
        && edge(value.chars().next())
        && edge(value.chars().next_back())
}

/// How long a bootstrap token of kubeadm lets nodes join (F109). There is no default: a card may lie in a drawer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenTtl {
    /// For ever.
    Never,
    /// This long from the start of the cluster.
    For(Duration),
}

impl fmt::Display for TokenTtl {
    /// As Go writes a duration: `48h0m0s`, and `0s` for ever.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Never => f.write_str("0s"),
            Self::For(time) => {
                let s = time.as_secs();
                write!(f, "{}h{}m{}s", s / 3600, s / 60 % 60, s % 60)
            }
        }
    }
}

impl FromStr for TokenTtl {
    type Err = FlavourError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || FlavourError::Text {
            text: text.to_owned(),
            wanted: "a lifetime; write `never`, or a number with a unit such as `48h` or `30d`",
        };
        if text == "never" {
            return Ok(Self::Never);
        }
        let unit = text.chars().next_back().ok_or_else(bad)?;
        let factor: u64 = match unit {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 86_400,
            _ => return Err(bad()),
        };
        let number = &text[..text.len() - 1];
        if !number.bytes().all(|b| b.is_ascii_digit()) {
            return Err(bad());
        }
        let seconds = number.parse::<u64>().ok().and_then(|n| n.checked_mul(factor));
        match seconds {
            // Zero would mean for ever, which is to be said in words. A hundred years are enough for Go's 63 bits.
            Some(seconds) if (1..=3_155_760_000).contains(&seconds) => {
                Ok(Self::For(Duration::from_secs(seconds)))
            }
            _ => Err(bad()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f109_lifetimes_are_said_or_refused() {
        for (text, printed) in [
            ("never", "0s"),
            ("48h", "48h0m0s"),
            ("30d", "720h0m0s"),
            ("90m", "1h30m0s"),
        ] {
            assert_eq!(text.parse::<TokenTtl>().expect(text).to_string(), printed);
        }
        for text in [
            "",
            "0",
            "0s",
            "0h",
            "48",
            "h",
            "+1h",
            "-1h",
            "99999999999999999999d",
            "1w",
        ] {
            assert!(text.parse::<TokenTtl>().is_err(), "{text}");
        }
    }

    #[test]
    fn f121_taints() {
        for text in [
            "a=b:NoSchedule",
            "node-role.kubernetes.io/control-plane:NoSchedule",
            "a:NoExecute",
        ] {
            assert_eq!(text.parse::<Taint>().expect(text).to_string(), text);
        }
        for text in [
            "",
            "a",
            "a=b",
            "a:Never",
            ":NoSchedule",
            "a=b c:NoSchedule",
            "a=b=c:NoSchedule",
            "a b:NoSchedule",
        ] {
            assert!(text.parse::<Taint>().is_err(), "{text}");
        }
    }

    #[test]
    fn f120_labels_that_a_kubelet_takes() {
        for (key, value) in [
            ("disk", "ssd"),
            ("example.com/role", ""),
            ("node.kubernetes.io/role", "worker"),
            ("kubernetes.io/arch", "arm64"),
        ] {
            assert_eq!(label_problem(key, value), None, "{key}");
        }
        for (key, value) in [
            ("node-role.kubernetes.io/worker", ""),
            ("kubernetes.io/role", "x"),
            ("x.k8s.io/role", "x"),
            ("a b", "x"),
            ("a", "x,y=z"),
            ("a", "-x"),
            ("/a", "x"),
            ("A.com/a", "x"),
        ] {
            assert!(label_problem(key, value).is_some(), "{key}={value}");
        }
    }

    #[test]
    fn endpoints() {
        let at = |host: &str| {
            Endpoint {
                host: host.to_owned(),
                port: 6443,
            }
            .url()
        };
        assert_eq!(at("10.11.0.101"), "https://10.11.0.101:6443");
        assert_eq!(at("fd00::1"), "https://[fd00::1]:6443");
    }
}
