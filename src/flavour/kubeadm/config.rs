//! Configuration of kubeadm in the three forms that its versions read.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{Options, PATCHES};
use crate::flavour::k3s::kubelet_head;
use crate::flavour::pki::{PKI_DIR, Worker};
use crate::flavour::{Cluster, FlavourError, KubernetesVersion, Node, Taint, TokenTtl, to_yaml};

/// Seconds after which a node that cannot make sure of its server says why and begins again; the step of the first boot
/// has waited for the API before.
const DISCOVERY: u32 = 120;

/// A form of kubeadm's configuration.
///
/// Source: `kubernetes/kubernetes`, `cmd/kubeadm/app/apis/kubeadm`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ApiVersion {
    /// 1.15 to 1.21.
    V1Beta2,
    /// 1.22 to 1.30.
    V1Beta3,
    /// 1.31 and later.
    V1Beta4,
}

impl ApiVersion {
    /// The form for a version: the newest that it knows.
    ///
    /// # Errors
    /// [`FlavourError::Version`] before 1.15.
    pub fn of(version: &KubernetesVersion) -> Result<Self, FlavourError> {
        if version.at_least(31) {
            Ok(Self::V1Beta4)
        } else if version.at_least(22) {
            Ok(Self::V1Beta3)
        } else if version.at_least(15) {
            Ok(Self::V1Beta2)
        } else {
            Err(FlavourError::Version {
                version: version.clone(),
                why: "the configuration of kubeadm is written for 1.15 and later",
            })
        }
    }

    /// `kubeadm.k8s.io/v1beta4`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V1Beta2 => "kubeadm.k8s.io/v1beta2",
            Self::V1Beta3 => "kubeadm.k8s.io/v1beta3",
            Self::V1Beta4 => "kubeadm.k8s.io/v1beta4",
        }
    }

    /// Flags of a program: a map until v1beta3, then a list, because some flags may be given twice.
    fn arguments(self, flags: &BTreeMap<String, String>) -> Value {
        if self < Self::V1Beta4 {
            return json!(flags);
        }
        flags
            .iter()
            .map(|(name, value)| json!({"name": name, "value": value}))
            .collect()
    }
}

/// Whether kubeadm changes the kubelet's configuration of one node by patches: since 1.25 it does.
pub(super) const fn takes_patches(version: &KubernetesVersion) -> bool {
    version.at_least(25)
}

/// The settings of one kubelet as a patch, where there are any.
pub(super) fn kubelet_patch(cluster: &Cluster, node: &Node) -> Option<String> {
    let map = node.kubelet.configuration(&cluster.version);
    (!map.is_empty()).then(|| to_yaml(&Value::Object(map)))
}

fn document(api: ApiVersion, kind: &str) -> Map<String, Value> {
    let mut map = Map::new();
    map.insert("apiVersion".to_owned(), json!(api.as_str()));
    map.insert("kind".to_owned(), json!(kind));
    map
}

/// What `kubeadm init` reads: InitConfiguration, ClusterConfiguration, KubeletConfiguration.
pub(super) fn init(
    api: ApiVersion,
    cluster: &Cluster,
    node: &Node,
    options: &Options,
    join: &Worker,
) -> Vec<Value> {
    let mut init = document(api, "InitConfiguration");
    init.insert(
        "bootstrapTokens".to_owned(),
        json!([bootstrap_token(join, options.token_ttl)]),
    );
    if let Some(endpoint) = local_endpoint(cluster, node) {
        init.insert("localAPIEndpoint".to_owned(), endpoint);
    }
    init.insert(
        "nodeRegistration".to_owned(),
        registration(api, cluster, node, options),
    );
    node_extras(api, cluster, node, options, &mut init);

    let mut whole = document(api, "ClusterConfiguration");
    whole.insert("clusterName".to_owned(), json!(cluster.name));
    whole.insert("kubernetesVersion".to_owned(), json!(cluster.version.upstream()));
    whole.insert(
        "controlPlaneEndpoint".to_owned(),
        json!(cluster.endpoint.to_string()),
    );
    whole.insert("certificatesDir".to_owned(), json!(PKI_DIR));
    whole.insert(
        "networking".to_owned(),
        json!({
            "podSubnet": cluster.pods,
            "serviceSubnet": cluster.services,
            "dnsDomain": cluster.dns_domain,
        }),
    );
    let mut server = Map::new();
    if !cluster.sans.is_empty() {
        server.insert("certSANs".to_owned(), json!(cluster.sans));
    }
    if api < ApiVersion::V1Beta4 {
        server.insert(
            "timeoutForControlPlane".to_owned(),
            json!(seconds(options.patience)),
        );
    } else {
        // Like the authorities on the card, and much faster than RSA on a board.
        whole.insert("encryptionAlgorithm".to_owned(), json!("ECDSA-P256"));
    }
    if !server.is_empty() {
        whole.insert("apiServer".to_owned(), Value::Object(server));
    }
    let mut flags = BTreeMap::new();
    if cluster.servers == 1 {
        // There is nobody to take over from the only one, and on a slow card leases are lost that nobody else wants.
        flags.insert("leader-elect".to_owned(), "false".to_owned());
        whole.insert(
            "scheduler".to_owned(),
            json!({"extraArgs": api.arguments(&flags)}),
        );
    }
    if node.pods.is_some() {
        // The ranges of the nodes are on the cards.
        flags.insert("allocate-node-cidrs".to_owned(), "false".to_owned());
    }
    if !flags.is_empty() {
        whole.insert(
            "controllerManager".to_owned(),
            json!({"extraArgs": api.arguments(&flags)}),
        );
    }
    lay_over(&mut whole, &options.config);

    // For all nodes alike; what differs between them is in their patches or flags.
    let mut kubelet = kubelet_head();
    kubelet.insert("cgroupDriver".to_owned(), json!("systemd"));
    [init, whole, kubelet].map(Value::Object).to_vec()
}

/// Lays one map over another: maps are merged, everything else is replaced.
fn lay_over(under: &mut Map<String, Value>, over: &Map<String, Value>) {
    for (key, value) in over {
        match (under.get_mut(key), value) {
            (Some(Value::Object(under)), Value::Object(over)) => lay_over(under, over),
            _ => {
                under.insert(key.clone(), value.clone());
            }
        }
    }
}

/// What `kubeadm join` reads.
///
/// # Errors
/// [`FlavourError::Text`] for a pin that is none.
pub(super) fn join(
    api: ApiVersion,
    cluster: &Cluster,
    node: &Node,
    options: &Options,
    join: &Worker,
) -> Result<Value, FlavourError> {
    // Without a pin kubeadm would ask for leave to trust anyone.
    if !join.ca_hash.starts_with("sha256:") {
        return Err(FlavourError::Text {
            text: join.ca_hash.clone(),
            wanted: "the hash of the cluster's authority, `sha256:` and 64 hexadecimal digits",
        });
    }
    let mut map = document(api, "JoinConfiguration");
    let mut discovery = json!({
        "bootstrapToken": {
            "apiServerEndpoint": cluster.endpoint.to_string(),
            "token": join.token.reveal(),
            "caCertHashes": [join.ca_hash],
        },
    });
    if api < ApiVersion::V1Beta4 {
        discovery["timeout"] = json!(seconds(DISCOVERY));
    }
    map.insert("discovery".to_owned(), discovery);
    map.insert(
        "nodeRegistration".to_owned(),
        registration(api, cluster, node, options),
    );
    if node.role.is_server() {
        // No certificate key: the authorities are on the card already.
        let endpoint = local_endpoint(cluster, node);
        let control = endpoint.map_or_else(|| json!({}), |e| json!({"localAPIEndpoint": e}));
        map.insert("controlPlane".to_owned(), control);
    }
    node_extras(api, cluster, node, options, &mut map);
    Ok(Value::Object(map))
}

fn bootstrap_token(join: &Worker, ttl: TokenTtl) -> Value {
    json!({
        "token": join.token.reveal(),
        "description": "nodes of this cluster's cards",
        "ttl": ttl.to_string(),
        "usages": ["signing", "authentication"],
        "groups": ["system:bootstrappers:kubeadm:default-node-token"],
    })
}

fn local_endpoint(cluster: &Cluster, node: &Node) -> Option<Value> {
    let ip = node.ip?;
    Some(json!({"advertiseAddress": ip.to_string(), "bindPort": cluster.endpoint.port}))
}

/// Timeouts and patches of one node, where the form has a place for them.
fn node_extras(
    api: ApiVersion,
    cluster: &Cluster,
    node: &Node,
    options: &Options,
    map: &mut Map<String, Value>,
) {
    if takes_patches(&cluster.version) && kubelet_patch(cluster, node).is_some() {
        map.insert("patches".to_owned(), json!({"directory": PATCHES}));
    }
    if api >= ApiVersion::V1Beta4 {
        let patience = seconds(options.patience);
        map.insert(
            "timeouts".to_owned(),
            json!({
                "controlPlaneComponentHealthCheck": patience,
                "kubeletHealthCheck": patience,
                "tlsBootstrap": patience,
                "discovery": seconds(DISCOVERY),
            }),
        );
    }
}

fn registration(api: ApiVersion, cluster: &Cluster, node: &Node, options: &Options) -> Value {
    let mut map = Map::new();
    map.insert("name".to_owned(), json!(node.name));
    // The scheme became the rule later; before, a plain path is what is compared with.
    let socket = if api < ApiVersion::V1Beta3 {
        "/run/containerd/containerd.sock"
    } else {
        "unix:///run/containerd/containerd.sock"
    };
    map.insert("criSocket".to_owned(), json!(socket));
    // Left out, a server gets the taint of the control plane; an empty list means none.
    if let Some(taints) = &node.taints {
        let taints: Vec<Value> = taints.iter().map(taint).collect();
        map.insert("taints".to_owned(), json!(taints));
    }
    let mut flags = if takes_patches(&cluster.version) {
        node.kubelet.flags.clone()
    } else {
        node.kubelet.to_flags(&cluster.version)
    };
    if let Some(ip) = node.ip {
        flags.insert("node-ip".to_owned(), ip.to_string());
    }
    if !node.labels.is_empty() {
        flags.insert("node-labels".to_owned(), node.label_words().join(","));
    }
    if !flags.is_empty() {
        map.insert("kubeletExtraArgs".to_owned(), api.arguments(&flags));
    }
    if !options.ignore_preflight.is_empty() {
        map.insert(
            "ignorePreflightErrors".to_owned(),
            json!(options.ignore_preflight),
        );
    }
    Value::Object(map)
}

fn taint(taint: &Taint) -> Value {
    let mut map = Map::new();
    map.insert("key".to_owned(), json!(taint.key));
    if !taint.value.is_empty() {
        map.insert("value".to_owned(), json!(taint.value));
    }
    map.insert("effect".to_owned(), json!(taint.effect.as_str()));
    Value::Object(map)
}

/// As Go writes a duration.
fn seconds(seconds: u32) -> String {
    TokenTtl::For(std::time::Duration::from_secs(u64::from(seconds))).to_string()
}
