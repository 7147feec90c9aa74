//! Files of k3s: its configuration, its units, and the places it reads from by itself.

use serde_json::{Map, Value, json};

use super::pki::{K3sAgent, K3sServer};
use super::{Cluster, Cni, FlavourError, Item, Node, NodeFiles, Role, SwapUse, Taint, to_yaml, units};
use crate::secrets::Secret;

/// Where the program goes, mode 0755 (F100).
pub const BINARY: &str = "/usr/local/bin/k3s";
/// Archives of images that k3s loads when it starts (F106).
pub const IMAGES_DIR: &str = "/var/lib/rancher/k3s/agent/images";
/// Manifests that a server applies by itself (F190).
pub const MANIFESTS_DIR: &str = "/var/lib/rancher/k3s/server/manifests";
/// Where a server writes the kubeconfig of root.
pub const KUBECONFIG: &str = "/etc/rancher/k3s/k3s.yaml";

const CONFIG_DIR: &str = "/etc/rancher/k3s";
const KUBELET_CONFIG: &str = "/etc/rancher/k3s/kubelet.yaml";

/// Everything a server needs (F100).
///
/// # Errors
/// An input that k3s or systemd would refuse, or a node that is no server.
pub fn server(cluster: &Cluster, node: &Node, with: &K3sServer) -> Result<NodeFiles, FlavourError> {
    node.check()?;
    let mut map = Map::new();
    map.insert("token".to_owned(), json!(with.token.reveal()));
    map.insert("agent-token".to_owned(), json!(with.agent_token.reveal()));
    match node.role {
        // One server keeps its state in SQLite, which is kinder to a card than etcd.
        Role::FirstServer if cluster.servers > 1 => {
            map.insert("cluster-init".to_owned(), json!(true));
        }
        Role::FirstServer => {}
        Role::Server => {
            let to = cluster.first_server.as_ref().unwrap_or(&cluster.endpoint);
            map.insert("server".to_owned(), json!(to.url()));
        }
        Role::Agent => return Err(lacks(node, "role of a server")),
    }
    let mut sans = vec![cluster.endpoint.host.clone()];
    for san in &cluster.sans {
        if !sans.contains(san) {
            sans.push(san.clone());
        }
    }
    map.insert("tls-san".to_owned(), json!(sans));
    map.insert("write-kubeconfig-mode".to_owned(), json!("0600"));
    map.insert("cluster-cidr".to_owned(), json!(cluster.pods));
    map.insert("service-cidr".to_owned(), json!(cluster.services));
    map.insert("cluster-domain".to_owned(), json!(cluster.dns_domain));
    if cluster.cni == Cni::Other {
        map.insert("flannel-backend".to_owned(), json!("none"));
        map.insert("disable-network-policy".to_owned(), json!(true));
    }
    if !cluster.disable.is_empty() {
        map.insert("disable".to_owned(), json!(cluster.disable));
    }
    if let Some(ip) = node.ip {
        map.insert("advertise-address".to_owned(), json!(ip.to_string()));
    }
    for (key, value) in &cluster.config {
        map.insert(key.clone(), value.clone());
    }
    let mut made = common(cluster, node, map, "k3s.service")?;
    made.items.extend(with.files.iter().cloned());
    made.items.push(Item::dir(MANIFESTS_DIR, 0o700));
    Ok(made)
}

/// Everything an agent needs (F101). The token is all it gets of the cluster's secrets.
///
/// # Errors
/// As [`server`].
pub fn agent(cluster: &Cluster, node: &Node, with: &K3sAgent) -> Result<NodeFiles, FlavourError> {
    node.check()?;
    if node.role != Role::Agent {
        return Err(lacks(node, "role of an agent"));
    }
    let mut map = Map::new();
    map.insert("server".to_owned(), json!(cluster.endpoint.url()));
    map.insert("token".to_owned(), json!(with.token.reveal()));
    common(cluster, node, map, "k3s-agent.service")
}

fn lacks(node: &Node, what: &'static str) -> FlavourError {
    FlavourError::Lacks {
        node: node.name.clone(),
        what,
    }
}

/// What servers and agents have in common: `config.yaml` is completed and all files are made.
fn common(
    cluster: &Cluster,
    node: &Node,
    mut map: Map<String, Value>,
    unit: &str,
) -> Result<NodeFiles, FlavourError> {
    map.insert("node-name".to_owned(), json!(node.name));
    if let Some(ip) = node.ip {
        map.insert("node-ip".to_owned(), json!(ip.to_string()));
    }
    if let (Some(interface), Cni::Flannel) = (&node.interface, cluster.cni) {
        map.insert("flannel-iface".to_owned(), json!(interface));
    }
    if !node.labels.is_empty() {
        map.insert("node-label".to_owned(), json!(node.label_words()));
    }
    let taints: Vec<String> = node.taints.iter().flatten().map(Taint::to_string).collect();
    if !taints.is_empty() {
        map.insert("node-taint".to_owned(), json!(taints));
    }
    let mut made = NodeFiles::with_kernel(cluster.cni);
    made.items.push(Item::dir(CONFIG_DIR, 0o755));

    let mut flags = node.kubelet.to_flags(&cluster.version);
    // What pods get of swap has no flag.
    if node.kubelet.swap != SwapUse::None {
        let behaviour = node.kubelet.swap_behaviour(&cluster.version);
        if !behaviour.is_empty() {
            let mut document = kubelet_head();
            document.insert("failSwapOn".to_owned(), json!(false));
            document.extend(behaviour);
            made.items
                .push(Item::text(KUBELET_CONFIG, &to_yaml(&Value::Object(document))));
            flags.insert("config".to_owned(), KUBELET_CONFIG.to_owned());
        }
    }
    if !flags.is_empty() {
        let words: Vec<String> = flags.iter().map(|(k, v)| format!("{k}={v}")).collect();
        map.insert("kubelet-arg".to_owned(), json!(words));
    }
    // Secret because of the token, whatever else is in it (F102, P62).
    made.items.push(Item::secret(
        &format!("{CONFIG_DIR}/config.yaml"),
        &to_yaml(&Value::Object(map)),
    ));
    if let Some(text) = registries(cluster) {
        made.items.push(Item::secret(
            &format!("{CONFIG_DIR}/registries.yaml"),
            text.reveal(),
        ));
    }
    made.items.push(Item::text(
        &format!("/etc/systemd/system/{unit}"),
        &units::k3s(node.role.is_server()),
    ));
    made.items.extend(units::environment(unit, cluster)?);
    for tool in ["kubectl", "crictl", "ctr"] {
        made.items
            .push(Item::link(&format!("/usr/local/bin/{tool}"), BINARY));
    }
    made.items.push(Item::dir(IMAGES_DIR, 0o755));
    made.enable(unit);
    made.bridge("/var/lib/rancher/k3s/agent/etc/cni/net.d", cluster, node);
    Ok(made)
}

/// Kind and version of a KubeletConfiguration.
pub(super) fn kubelet_head() -> Map<String, Value> {
    let mut map = Map::new();
    map.insert("apiVersion".to_owned(), json!("kubelet.config.k8s.io/v1beta1"));
    map.insert("kind".to_owned(), json!("KubeletConfiguration"));
    map
}

/// `registries.yaml` (F084, F085); kept from other users, for the URL of a mirror may hold a password.
fn registries(cluster: &Cluster) -> Option<Secret> {
    let mut mirrors = Map::new();
    if let Some(mirror) = &cluster.registries.mirror {
        mirrors.insert("docker.io".to_owned(), json!({"endpoint": [mirror]}));
    }
    if let Some(private) = &cluster.registries.private {
        let endpoint = format!("http://{private}");
        mirrors.insert(private.clone(), json!({"endpoint": [endpoint]}));
    }
    (!mirrors.is_empty()).then(|| Secret::new(to_yaml(&json!({"mirrors": mirrors}))))
}
