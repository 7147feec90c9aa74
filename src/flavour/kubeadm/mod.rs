//! Files of kubeadm, its kubelet and containerd.

mod config;
mod containerd;

use serde_json::{Map, Value};

use super::pki::{ControlPlane, Worker};
use super::{
    Cluster, FlavourError, Item, KubernetesVersion, Node, NodeFiles, Role, TokenTtl, to_yaml_documents, units,
};

pub use config::ApiVersion;

/// Programs, mode 0755: `kubeadm`, `kubelet`, `kubectl`, `crictl`, `containerd`, `containerd-shim-runc-v2`, `runc`.
pub const BIN_DIR: &str = "/usr/local/bin";
/// CNI plugins. The network add-on brings its own file for `/etc/cni/net.d`.
pub const CNI_BIN_DIR: &str = "/opt/cni/bin";
/// Phases that `kubeadm init` leaves out, as its flag wants them: the configuration has no place for them before 1.22.
const SKIP_PHASES: &str = "/etc/ceil/skip-phases";
/// What kubeadm is told.
pub const CONFIG: &str = "/etc/kubernetes/kubeadm.yaml";
/// Archives of images for `ctr -n k8s.io images import` (F106).
pub const IMAGES_DIR: &str = "/var/lib/ceil/images";
/// Where a server writes the kubeconfig of root.
pub const KUBECONFIG: &str = "/etc/kubernetes/admin.conf";

const PATCHES: &str = "/etc/kubernetes/patches";

/// What kubeadm is told beside the cluster and the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// How long the bootstrap token lets nodes join.
    pub token_ttl: TokenTtl,
    /// Preflight checks that may fail, by name, such as `Mem` on boards of 1 GiB (P26).
    pub ignore_preflight: Vec<String>,
    /// How long kubeadm waits for the API server that it starts and for the kubelet, in seconds. Boards need minutes.
    pub patience: u32,
    /// Laid over ClusterConfiguration, key by key.
    pub config: Map<String, Value>,
    /// Major version of containerd: 1 or 2.
    pub containerd: u32,
    /// The pause image, where it must agree with images that were loaded beforehand.
    pub pause_image: Option<String>,
}

impl Options {
    fn check(&self) -> Result<(), FlavourError> {
        for name in &self.ignore_preflight {
            let plain = !name.is_empty()
                && name
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
            if !plain || name.eq_ignore_ascii_case("all") {
                return Err(FlavourError::Text {
                    text: name.clone(),
                    wanted: "the name of one preflight check; name each that may fail, such as `Mem`",
                });
            }
        }
        Ok(())
    }
}

/// Everything a server needs (F103).
///
/// # Errors
/// An input that kubeadm would refuse, or a node that is no server.
pub fn server(
    cluster: &Cluster,
    node: &Node,
    options: &Options,
    with: &ControlPlane,
) -> Result<NodeFiles, FlavourError> {
    let api = ApiVersion::of(&cluster.version)?;
    let documents = match node.role {
        Role::FirstServer => config::init(api, cluster, node, options, &with.join),
        Role::Server => vec![config::join(api, cluster, node, options, &with.join)?],
        Role::Agent => {
            return Err(FlavourError::Lacks {
                node: node.name.clone(),
                what: "role of a server",
            });
        }
    };
    let mut made = common(cluster, node, options, &to_yaml_documents(&documents))?;
    made.items.extend(with.files.iter().cloned());
    Ok(made)
}

/// Everything a worker needs (F104).
///
/// # Errors
/// As [`server`].
pub fn worker(
    cluster: &Cluster,
    node: &Node,
    options: &Options,
    with: &Worker,
) -> Result<NodeFiles, FlavourError> {
    if node.role != Role::Agent {
        return Err(FlavourError::Lacks {
            node: node.name.clone(),
            what: "role of an agent",
        });
    }
    let api = ApiVersion::of(&cluster.version)?;
    let document = config::join(api, cluster, node, options, with)?;
    common(cluster, node, options, &to_yaml_documents(&[document]))
}

fn common(
    cluster: &Cluster,
    node: &Node,
    options: &Options,
    config: &str,
) -> Result<NodeFiles, FlavourError> {
    node.check()?;
    options.check()?;
    let mut made = NodeFiles::with_kernel(cluster.cni);
    let items = &mut made.items;
    items.push(Item::dir("/etc/kubernetes", 0o755));
    // The kubelet wants the folder on workers too.
    items.push(Item::dir("/etc/kubernetes/manifests", 0o700));
    items.push(Item::secret(CONFIG, config));
    if config::takes_patches(&cluster.version) {
        let patch = config::kubelet_patch(cluster, node);
        if let Some(patch) = patch {
            items.push(Item::dir(PATCHES, 0o755));
            items.push(Item::text(
                &format!("{PATCHES}/kubeletconfiguration0+merge.yaml"),
                &patch,
            ));
        }
    }
    items.extend(containerd::items(cluster, options)?);
    let unit = |name: &str| format!("/etc/systemd/system/{name}");
    items.push(Item::text(&unit("containerd.service"), &units::containerd()));
    items.extend(units::environment("containerd.service", cluster)?);
    items.push(Item::text(&unit("kubelet.service"), &units::kubelet()));
    items.push(Item::dir(&unit("kubelet.service.d"), 0o755));
    items.push(Item::text(
        &unit("kubelet.service.d/10-kubeadm.conf"),
        units::KUBELET_DROP_IN,
    ));
    items.push(Item::dir(IMAGES_DIR, 0o755));
    let phases = skipped_phases(&cluster.disable)?;
    if node.role == Role::FirstServer && !phases.is_empty() {
        items.push(Item::text(SKIP_PHASES, &format!("{}\n", phases.join(","))));
    }
    for name in ["containerd.service", "kubelet.service"] {
        made.enable(name);
    }
    made.bridge("/etc/cni/net.d", cluster, node);
    Ok(made)
}

/// Phases of `kubeadm init` that are left out with the parts that are not wanted.
fn skipped_phases(disable: &[String]) -> Result<Vec<String>, FlavourError> {
    let phase = |part: &String| match part.as_str() {
        "kube-proxy" | "coredns" => Ok(format!("addon/{part}")),
        _ => Err(FlavourError::Text {
            text: part.clone(),
            wanted: "a part that kubeadm can leave out: `kube-proxy` or `coredns`",
        }),
    };
    disable.iter().map(phase).collect()
}

/// The pause image that a version of kubeadm expects, so that the runtime uses the same one, which may have been loaded
/// beforehand. `None` for versions that are not known.
///
/// Source: `kubernetes/kubernetes`, `cmd/kubeadm/app/constants/constants.go` (`PauseVersion`), and the default registry.
#[must_use]
pub fn pause_image(version: &KubernetesVersion) -> Option<String> {
    let tag = match version.minor {
        15..=17 => "3.1",
        18..=20 => "3.2",
        21 => "3.4.1",
        22 => "3.5",
        23 => "3.6",
        24 => "3.7",
        25 => "3.8",
        26..=30 => "3.9",
        31..=33 => "3.10",
        34 => "3.10.1",
        _ => return None,
    };
    let registry = if version.at_least(25) {
        "registry.k8s.io"
    } else {
        "k8s.gcr.io"
    };
    Some(format!("{registry}/pause:{tag}"))
}
