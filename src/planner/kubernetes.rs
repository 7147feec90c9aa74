//! Kubernetes on a node: from the cluster file to the inputs of its flavour, and back to edits.

use crate::flavour::pki::{K3sPki, KubeadmPki, Secrets, wanted};
use crate::flavour::{
    self, Cluster, Cni, Endpoint, Flavour, FlavourError, Kubelet, KubernetesVersion, Node, NodeFiles,
    PodRoutes, Registries, SwapUse, TokenTtl, kubeadm,
};
use crate::plan::{Edit, Op, Origin};
use crate::secrets::{Kind, Secret};
use crate::spec::{At, ClusterSpec, Distribution, Inputs, KubernetesSpec, Role, SwapSettings};
use crate::values::{ImagePath, ImagePathError, Mode, Network4};

use super::secrets::own_name;
use super::variables::{API_PORT, endpoint};
use super::view::View;
use super::{Names, PlanError};

/// The newest releases with a pinned digest in the catalog of artifacts.
const K3S: &str = "v1.36.4+k3s1";
const KUBERNETES: &str = "v1.36.4";
/// Networks when the address plan has none: the defaults of k3s.
const PODS: &str = "10.42.0.0/16";
const SERVICES: &str = "10.43.0.0/16";
/// kubeadm's check that its images can be had.
const IMAGE_PULL: &str = "ImagePull";
/// The network of pods without a daemon.
const BRIDGE: &str = "bridge";
const DNS_DOMAIN: &str = "cluster.local";
/// A year: a card may lie in a drawer.
const TOKEN_TTL: &str = "8760h";
/// Seconds that kubeadm waits; boards need minutes.
const PATIENCE: u32 = 1200;
/// Where k3s looks for manifests of its first server, and where ours wait on kubeadm's.
const K3S_MANIFESTS: &str = "/var/lib/rancher/k3s/server/manifests";
const OWN_MANIFESTS: &str = "/etc/ceil/manifests";

/// Folders of manifests of add-ons, whatever the distribution.
pub const MANIFESTS: [&str; 2] = [K3S_MANIFESTS, OWN_MANIFESTS];

/// The flavour of a cluster file, if it has Kubernetes.
pub(super) fn flavour_of(cluster: &ClusterSpec) -> Option<(&KubernetesSpec, Flavour)> {
    let kubernetes = cluster.kubernetes.as_ref()?;
    match kubernetes.distribution.value {
        Distribution::K3s => Some((kubernetes, Flavour::K3s)),
        Distribution::Kubeadm => Some((kubernetes, Flavour::Kubeadm)),
        Distribution::None => None,
    }
}

/// The network of pods.
pub(super) fn pods(cluster: &ClusterSpec) -> String {
    let own = cluster.network.pods.as_ref();
    own.map_or_else(|| PODS.to_owned(), |n| n.to_string())
}

/// The network of services.
pub(super) fn services(cluster: &ClusterSpec) -> String {
    let own = cluster.network.services.as_ref();
    own.map_or_else(|| SERVICES.to_owned(), |n| n.to_string())
}

/// Names, without the cluster's, and kinds of the secrets of Kubernetes that a node makes needed.
pub(super) fn secrets(cluster: &ClusterSpec, view: &View<'_>) -> Vec<(&'static str, Kind)> {
    match flavour_of(cluster) {
        Some((_, flavour)) if view.role().in_cluster() => {
            wanted(flavour).iter().map(|w| (w.name, w.kind)).collect()
        }
        _ => Vec::new(),
    }
}

/// The version that a cluster gets.
///
/// # Errors
/// [`PlanError::Unsupported`]: the text is no version.
pub fn version(cluster: &ClusterSpec) -> Result<Option<KubernetesVersion>, PlanError> {
    let Some((kubernetes, flavour)) = flavour_of(cluster) else {
        return Ok(None);
    };
    let (text, origin) = match &kubernetes.version {
        Some(at) => (at.value.as_str(), &at.origin),
        None if flavour == Flavour::K3s => (K3S, &kubernetes.distribution.origin),
        None => (KUBERNETES, &kubernetes.distribution.origin),
    };
    text.parse()
        .map(Some)
        .map_err(|e: flavour::VersionError| wrong(origin, e.to_string()))
}

fn wrong(origin: &Origin, why: impl Into<String>) -> PlanError {
    PlanError::Unsupported {
        origin: origin.clone(),
        why: why.into(),
    }
}

/// The values of a cluster's secrets under the names that the flavour knows; of a worker only those that it may have.
fn values(cluster: &ClusterSpec, inputs: &Inputs, view: &View<'_>, flavour: Flavour) -> Secrets {
    wanted(flavour)
        .iter()
        .filter_map(|w| {
            let value = inputs.secrets.get(&own_name(cluster, view, w.name))?;
            Some((w.name.to_owned(), value.clone()))
        })
        .collect()
}

/// What all nodes of the view's cluster share.
fn shared(
    cluster: &ClusterSpec,
    peers: &[&View<'_>],
    view: &View<'_>,
) -> Result<Option<(Cluster, Flavour)>, PlanError> {
    let (Some((kubernetes, flavour)), Some(version)) = (flavour_of(cluster), version(cluster)?) else {
        return Ok(None);
    };
    let Some(host) = endpoint(cluster, peers) else {
        return Err(wrong(
            &view.spec.origin,
            format!(
                "the cluster `{}` has no server, so node `{}` has nobody to join; give one node `role: server`",
                view.cluster, view.spec.name
            ),
        ));
    };
    let servers: Vec<&&View<'_>> = peers.iter().filter(|v| v.role() == Role::Server).collect();
    let mut sans: Vec<String> = Vec::new();
    for server in &servers {
        sans.extend(server.ip().map(|ip| ip.to_string()));
        sans.push(server.spec.hostname.to_string());
        sans.push(super::variables::full_name(cluster, server));
    }
    sans.push(host.clone());
    sans.sort_unstable();
    sans.dedup();
    let first = servers.first().map(|server| Endpoint {
        host: server.ip().map_or_else(
            || super::variables::full_name(cluster, server),
            |ip| ip.to_string(),
        ),
        port: API_PORT,
    });
    let at = |at: &Option<At<String>>| at.as_ref().map(|a| a.value.clone());
    Ok(Some((
        Cluster {
            name: view.cluster.clone(),
            version,
            endpoint: Endpoint { host, port: API_PORT },
            first_server: first,
            servers: servers.len(),
            sans,
            pods: pods(cluster),
            services: services(cluster),
            dns_domain: DNS_DOMAIN.to_owned(),
            cni: match &kubernetes.cni {
                Some(cni) if cni.value != "flannel" => Cni::Other,
                _ => Cni::Flannel,
            },
            disable: kubernetes.disable.clone(),
            registries: Registries {
                mirror: at(&cluster.registries.mirror),
                private: at(&cluster.registries.private),
            },
            config: config(kubernetes),
            proxy: None,
        },
        flavour,
    )))
}

fn config(kubernetes: &KubernetesSpec) -> serde_json::Map<String, serde_json::Value> {
    kubernetes
        .config
        .clone()
        .unwrap_or_default()
        .into_iter()
        .collect()
}

/// The ranges of pods of the members where they route to each other: a /24 for each, in the order of the file.
fn pod_routes(
    cluster: &ClusterSpec,
    view: &View<'_>,
    peers: &[&View<'_>],
) -> Result<Option<PodRoutes>, PlanError> {
    let cni = cluster.kubernetes.as_ref().and_then(|k| k.cni.as_ref());
    let Some(cni) = cni.filter(|cni| cni.value == BRIDGE) else {
        return Ok(None);
    };
    let range = pods(cluster);
    let range: Network4 = range.parse().map_err(|_| {
        wrong(
            &cni.origin,
            format!("`cni: bridge` needs a network of pods of IPv4, and `{range}` is none"),
        )
    })?;
    let mut own = None;
    let mut others = Vec::new();
    for (number, member) in (1_u32..).zip(peers.iter().filter(|v| v.role().in_cluster())) {
        let Some(ip) = member.ip() else {
            return Err(wrong(
                &cni.origin,
                format!(
                    "`cni: bridge` needs fixed addresses, and node `{}` has none; give it one, or use `cni: flannel`",
                    member.spec.name
                ),
            ));
        };
        let first = range.nth(number * 256).filter(|_| range.prefix() < 24);
        let Some(first) = first else {
            return Err(wrong(
                &cni.origin,
                format!("the network of pods {range} has too few ranges /24 for all nodes; a /16 has 255"),
            ));
        };
        let part = Network4::of(first, 24).to_string();
        if member.spec.name == view.spec.name {
            own = Some(part);
        } else {
            others.push((part, ip));
        }
    }
    Ok(own.map(|own| PodRoutes { own, others }))
}

pub(super) fn node(cluster: &ClusterSpec, view: &View<'_>, peers: &[&View<'_>]) -> Result<Node, PlanError> {
    let settings = &view.resolved.settings;
    let role = match view.role() {
        Role::Server if view.is_first_server(peers) => flavour::Role::FirstServer,
        Role::Server => flavour::Role::Server,
        _ => flavour::Role::Agent,
    };
    let taints = settings
        .taints
        .iter()
        .map(|t| {
            t.value
                .parse()
                .map_err(|e: FlavourError| wrong(&t.origin, e.to_string()))
        })
        .collect::<Result<Vec<_>, _>>()?;
    let small = settings.board.as_ref().is_some_and(|b| b.memory() <= 1024);
    let mut kubelet = if small {
        Kubelet::small_board()
    } else {
        Kubelet::default()
    };
    kubelet.swap = match settings.swap.as_ref().map(|s| s.value) {
        None | Some(SwapSettings::Off) => SwapUse::None,
        Some(SwapSettings::Limited) => SwapUse::Limited,
        Some(SwapSettings::Zram(_)) => SwapUse::NotForPods,
    };
    if let Some(memory) = &settings.kubelet.system_reserved_memory {
        kubelet
            .system_reserved
            .insert("memory".to_owned(), memory.clone());
    }
    if let Some(memory) = &settings.kubelet.eviction_memory {
        kubelet
            .eviction_hard
            .insert("memory.available".to_owned(), memory.clone());
    }
    kubelet.flags.extend(settings.kubelet.args.clone());
    Ok(Node {
        name: view.spec.hostname.to_string(),
        role,
        ip: view.ip(),
        interface: Some(view.port().name.clone()),
        labels: settings
            .labels
            .iter()
            .map(|(key, value)| (key.clone(), value.value.clone()))
            .collect(),
        taints: (!taints.is_empty()).then_some(taints),
        kubelet,
        pods: pod_routes(cluster, view, peers)?,
    })
}

/// What Kubernetes needs on a node; `None` for nodes that are not part of it.
pub(super) fn files(
    cluster: &ClusterSpec,
    inputs: &Inputs,
    views: &[View<'_>],
    view: &View<'_>,
) -> Result<Option<NodeFiles>, PlanError> {
    if !view.role().in_cluster() {
        return Ok(None);
    }
    let peers = view.peers(views);
    let Some((shared, flavour)) = shared(cluster, &peers, view)? else {
        return Ok(None);
    };
    let node = node(cluster, view, &peers)?;
    let secrets = values(cluster, inputs, view, flavour);
    let server = node.role.is_server();
    let made = match flavour {
        Flavour::K3s => K3sPki::new(&shared, &secrets).and_then(|pki| {
            if server {
                flavour::k3s::server(&shared, &node, &pki.server())
            } else {
                flavour::k3s::agent(&shared, &node, &pki.agent())
            }
        }),
        Flavour::Kubeadm => {
            let options = options(cluster, inputs, view)?;
            KubeadmPki::new(&shared, &secrets).and_then(|pki| {
                if server {
                    kubeadm::server(&shared, &node, &options, &pki.control_plane())
                } else {
                    kubeadm::worker(&shared, &node, &options, &pki.worker())
                }
            })
        }
    };
    made.map(Some)
        .map_err(|e| wrong(&view.spec.origin, e.to_string()))
}

pub(super) fn options(
    cluster: &ClusterSpec,
    inputs: &Inputs,
    view: &View<'_>,
) -> Result<kubeadm::Options, PlanError> {
    let ttl = cluster.kubernetes.as_ref().and_then(|k| k.token_ttl.as_ref());
    let token_ttl: TokenTtl = match ttl {
        Some(text) if text.value == "0" || text.value == "0s" => TokenTtl::Never,
        Some(text) => text
            .value
            .parse()
            .map_err(|e: FlavourError| wrong(&text.origin, e.to_string()))?,
        None => TOKEN_TTL
            .parse()
            .map_err(|e: FlavourError| wrong(&view.spec.origin, e.to_string()))?,
    };
    let small = view
        .resolved
        .settings
        .board
        .as_ref()
        .is_some_and(|b| b.memory() < 1700);
    let kubernetes = cluster.kubernetes.as_ref();
    let mut ignore_preflight: Vec<String> = kubernetes
        .map(|k| k.ignore_preflight.iter().map(|at| at.value.clone()).collect())
        .unwrap_or_default();
    if small && view.role() == Role::Server && !ignore_preflight.iter().any(|name| name == "Mem") {
        ignore_preflight.push("Mem".to_owned());
    }
    // kubeadm pulls the images of all parts, also of those that are left out; what is needed has to be there anyway.
    if kubernetes.is_some_and(|k| !k.disable.is_empty()) && !ignore_preflight.iter().any(|n| n == IMAGE_PULL)
    {
        ignore_preflight.push(IMAGE_PULL.to_owned());
    }
    let version = version(cluster)?;
    let newest = version.as_ref().map_or(2, containerd_for);
    Ok(kubeadm::Options {
        token_ttl,
        ignore_preflight,
        patience: PATIENCE,
        config: kubernetes.map(config).unwrap_or_default(),
        containerd: containerd_major(inputs, view, newest),
        pause_image: version.as_ref().and_then(kubeadm::pause_image),
    })
}

/// Major version of the containerd that the node gets.
fn containerd_major(inputs: &Inputs, view: &View<'_>, newest: u32) -> u32 {
    let programs = inputs.programs.get(view.spec.name.as_str());
    programs
        .into_iter()
        .flatten()
        .filter(|program| program.name.starts_with("containerd"))
        .find_map(|program| program.version.split('.').next()?.parse().ok())
        .unwrap_or(newest)
}

/// The newest major version of containerd that a kubelet speaks with: 2 no longer has CRI v1alpha2, and v1 came with 1.23.
pub(super) const fn containerd_for(version: &KubernetesVersion) -> u32 {
    if version.at_least(23) { 2 } else { 1 }
}

/// Manifests of the add-ons of the whole cluster, on its first server (F190).
pub(super) fn addons(
    cluster: &ClusterSpec,
    inputs: &Inputs,
    views: &[View<'_>],
    view: &View<'_>,
    names: &Names,
) -> Result<Vec<Edit>, PlanError> {
    let peers = view.peers(views);
    let Some((_, flavour)) = flavour_of(cluster).filter(|_| view.is_first_server(&peers)) else {
        return Ok(Vec::new());
    };
    let folder = match flavour {
        Flavour::K3s => K3S_MANIFESTS,
        Flavour::Kubeadm => OWN_MANIFESTS,
    };
    let mut edits: Vec<Edit> = Vec::new();
    for name in &view.resolved.settings.addons {
        let text = inputs
            .addons
            .get(&name.value)
            .ok_or_else(|| PlanError::not_read(&name.origin, format!("add-on {}", name.value)))?;
        let content = names.render(&text.file, &text.text, &name.origin)?;
        let at: ImagePath = format!("root:{folder}/ceil-{}.yaml", name.value)
            .parse()
            .map_err(|e: ImagePathError| PlanError::bad_path(&name.origin, e))?;
        if edits
            .iter()
            .any(|e| matches!(&e.op, Op::Put { at: made, .. } if *made == at))
        {
            continue;
        }
        edits.push(Edit {
            // For the server alone, whether or not it holds a secret.
            op: Op::of_root(at, content, Mode(0o600)),
            origin: name.origin.clone(),
        });
    }
    Ok(edits)
}

/// A kubeconfig for each cluster of the file, by its name: it works the moment the API answers (F118).
///
/// # Errors
/// [`PlanError`], as for the nodes.
pub fn kubeconfigs(cluster: &ClusterSpec, inputs: &Inputs) -> Result<Vec<(String, Secret)>, PlanError> {
    let views = super::view::all(cluster, inputs)?;
    let mut made: Vec<(String, Secret)> = Vec::new();
    for view in views.iter().filter(|v| v.role() == Role::Server) {
        if made.iter().any(|(name, _)| *name == view.cluster) {
            continue;
        }
        let peers = view.peers(&views);
        let Some((shared, flavour)) = shared(cluster, &peers, view)? else {
            continue;
        };
        let secrets = values(cluster, inputs, view, flavour);
        let url = shared.endpoint.url();
        let text = match flavour {
            Flavour::K3s => K3sPki::new(&shared, &secrets).and_then(|pki| pki.kubeconfig(&shared, &url)),
            Flavour::Kubeadm => {
                KubeadmPki::new(&shared, &secrets).and_then(|pki| pki.kubeconfig(&shared, &url))
            }
        };
        made.push((
            view.cluster.clone(),
            text.map_err(|e| wrong(&view.spec.origin, e.to_string()))?,
        ));
    }
    Ok(made)
}
