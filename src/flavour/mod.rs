//! What makes a board a Kubernetes node: from plain inputs to files, units and values.
//!
//! This room knows k3s, kubeadm, containerd and the kubelet: their files, their forms through the versions, their
//! certificates, and which versions of what fit together. It must not know the cluster file, images or a base: its
//! inputs are [`Cluster`] and [`Node`], and its outputs are [`NodeFiles`]. Nothing here reads a clock, a file or
//! the environment. Structured files are built as values and written by one writer each, never from templates, so
//! that no character of an input can end a string early.

pub mod gates;
mod input;
pub mod k3s;
pub mod kubeadm;
mod kubelet;
pub mod pki;
mod units;
mod version;
mod yaml;

pub use input::{
    Cluster, Cni, Effect, Endpoint, Node, PodRoutes, Proxy, Registries, Role, Taint, TokenTtl, label_problem,
};
pub use kubelet::{Kubelet, SwapUse};
pub use version::{KubernetesVersion, VersionError};
pub use yaml::{to_yaml, to_yaml_documents};

use crate::plan::{Attributes, Content, Edit, Op, Origin, Unit, UnitState};
use crate::secrets::SecretError;
use crate::values::{ImagePath, ImagePathError, Mode, Owner, VolumeName};

/// Which distribution of Kubernetes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Flavour {
    /// k3s: one program with everything in it.
    K3s,
    /// Upstream Kubernetes, set up by kubeadm.
    Kubeadm,
}

/// Why the files of a node cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum FlavourError {
    /// A text of the input is not what it should be.
    #[error("`{text}` is not {wanted}")]
    Text {
        /// The text.
        text: String,
        /// What would be right.
        wanted: &'static str,
    },
    /// A secret is not there.
    #[error("the secret `{0}` is needed and was not given")]
    MissingSecret(String),
    /// The version cannot do what is asked.
    #[error("Kubernetes {version}: {why}")]
    Version {
        /// The version.
        version: KubernetesVersion,
        /// What it cannot do, and what would be right.
        why: &'static str,
    },
    /// Something that this kind of node must have was left out.
    #[error("the node `{node}` has no {what}")]
    Lacks {
        /// The node.
        node: String,
        /// What is missing.
        what: &'static str,
    },
    /// A secret is malformed, or a certificate cannot be made.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// A path that an image cannot have.
    #[error(transparent)]
    Path(#[from] ImagePathError),
}

/// The script that takes Kubernetes off a node again (F125), and its text.
pub const RESET: &str = "/usr/local/sbin/ceil-reset";
/// Routes to the pods of other nodes, as `ip -batch` reads them.
const POD_ROUTES: &str = "/etc/ceil/pod-routes";
const RESET_SCRIPT: &str = include_str!("reset.sh");

/// One thing on the root volume; everything belongs to root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// A directory.
    Dir {
        /// Absolute path.
        path: String,
        /// Permission bits.
        mode: Mode,
    },
    /// A file.
    File {
        /// Absolute path.
        path: String,
        /// Bytes, marked when they are secret.
        content: Content,
        /// Permission bits.
        mode: Mode,
    },
    /// A symbolic link.
    Link {
        /// Absolute path.
        path: String,
        /// What it points to.
        to: String,
    },
}

impl Item {
    /// Its absolute path.
    #[must_use]
    pub fn path(&self) -> &str {
        match self {
            Self::Dir { path, .. } | Self::File { path, .. } | Self::Link { path, .. } => path,
        }
    }

    fn dir(path: &str, mode: u16) -> Self {
        Self::Dir {
            path: path.to_owned(),
            mode: Mode(mode),
        }
    }

    /// A file that everyone may read.
    fn text(path: &str, text: &str) -> Self {
        Self::File {
            path: path.to_owned(),
            content: Content::inline(text.as_bytes()),
            mode: Mode(0o644),
        }
    }

    /// A program that everyone may run.
    fn script(path: &str, text: &str) -> Self {
        Self::File {
            path: path.to_owned(),
            content: Content::inline(text.as_bytes()),
            mode: Mode(0o755),
        }
    }

    /// A file that only root may read (P25).
    fn secret(path: &str, text: &str) -> Self {
        Self::File {
            path: path.to_owned(),
            content: Content::secret(text.as_bytes()),
            mode: Mode(0o600),
        }
    }

    fn link(path: &str, to: &str) -> Self {
        Self::Link {
            path: path.to_owned(),
            to: to.to_owned(),
        }
    }
}

/// Everything that one node needs beside the programs themselves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeFiles {
    /// Directories, files and links; a directory stands before what is in it.
    pub items: Vec<Item>,
    /// Units to enable.
    pub units: Vec<Unit>,
    /// Kernel modules to load at boot (F075).
    pub modules: Vec<&'static str>,
    /// Kernel parameters (F073, F074).
    pub sysctls: Vec<(&'static str, &'static str)>,
}

impl NodeFiles {
    /// What every node of every flavour needs of its kernel.
    fn with_kernel(cni: Cni) -> Self {
        let mut modules = vec!["overlay", "br_netfilter"];
        if cni == Cni::Flannel {
            modules.push("vxlan");
        }
        Self {
            items: vec![Item::script(RESET, RESET_SCRIPT)],
            modules,
            sysctls: vec![
                ("net.bridge.bridge-nf-call-iptables", "1"),
                ("net.bridge.bridge-nf-call-ip6tables", "1"),
                ("net.ipv4.ip_forward", "1"),
                ("net.ipv6.conf.all.forwarding", "1"),
            ],
            ..Self::default()
        }
    }

    /// The network of pods as a bridge of the node and routes to the others, where the cluster has it.
    fn bridge(&mut self, folder: &str, cluster: &Cluster, node: &Node) {
        let Some(pods) = &node.pods else {
            return;
        };
        let list = serde_json::json!({
            "cniVersion": "0.4.0",
            "name": "ceil",
            "plugins": [
                {
                    "type": "bridge",
                    "bridge": "cni0",
                    "isGateway": true,
                    "hairpinMode": true,
                    "ipam": {
                        "type": "host-local",
                        "ranges": [[{"subnet": pods.own}]],
                        "routes": [{"dst": "0.0.0.0/0"}],
                    },
                },
                {"type": "portmap", "capabilities": {"portMappings": true}},
            ],
        });
        self.items.push(Item::text(
            &format!("{folder}/10-ceil.conflist"),
            &format!("{list:#}\n"),
        ));
        let routes: String = pods
            .others
            .iter()
            .map(|(range, via)| format!("route replace {range} via {via}\n"))
            .collect();
        self.items.push(Item::text(POD_ROUTES, &routes));
        self.items.push(Item::text(
            "/etc/systemd/system/ceil-pod-routes.service",
            &units::pod_routes(&cluster.pods),
        ));
        // Otherwise systemd-networkd drops them when it sets up its links again.
        self.items.push(Item::text(
            "/etc/systemd/networkd.conf.d/ceil-pod-routes.conf",
            "[Network]\nManageForeignRoutes=no\n",
        ));
        self.enable("ceil-pod-routes.service");
    }

    fn enable(&mut self, unit: &str) {
        self.units.push(Unit {
            name: unit.to_owned(),
            state: UnitState::Enabled("multi-user.target".to_owned()),
        });
    }

    /// The file at a path, if there is one.
    #[must_use]
    pub fn file(&self, at: &str) -> Option<&Content> {
        self.items.iter().find_map(|item| match item {
            Item::File { path, content, .. } if path == at => Some(content),
            _ => None,
        })
    }

    /// The items as edits of the root volume, owned by root, and the word that kernels need for containers.
    ///
    /// # Errors
    /// [`FlavourError::Path`].
    pub fn edits(&self, origin: &Origin) -> Result<Vec<Edit>, FlavourError> {
        let owned = |mode: Option<Mode>| Attributes {
            mode,
            owner: Some(Owner::default()),
            mtime: None,
        };
        let mut edits = Vec::with_capacity(self.items.len());
        for item in &self.items {
            let at = ImagePath::on(VolumeName::Root, item.path())?;
            let op = match item {
                Item::Dir { mode, .. } => Op::Dir {
                    at,
                    attributes: owned(Some(*mode)),
                },
                Item::File { content, mode, .. } => Op::of_root(at, content.clone(), *mode),
                Item::Link { to, .. } => Op::Symlink {
                    at,
                    to: to.clone(),
                    attributes: owned(None),
                },
            };
            edits.push(Edit {
                op,
                origin: origin.clone(),
            });
        }
        // Kernels of Raspberry Pi leave the memory controller off, and no kubelet runs without it (F025).
        edits.push(Edit {
            op: Op::KernelArgs {
                add: vec!["cgroup_enable=memory".to_owned()],
                remove: Vec::new(),
            },
            origin: origin.clone(),
        });
        Ok(edits)
    }
}
