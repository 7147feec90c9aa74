//! An image to be judged, with what is known of the node that it is for.

use serde_json::Value;

use crate::base_os::{self, BaseFacts};
use crate::catalog::Catalog;
use crate::fs::{Follow, FsError, NodeKind, Stat, Volume, resolve, show, tree};
use crate::image::Image;
use crate::plan::BaseRef;
use crate::planner::View;
use crate::spec::{ClusterSpec, Distribution, Inputs, KubernetesSpec, Settings};
use crate::values::{Arch, Timestamp, VolumeName};

use super::{Stop, fails};

/// Longest text that is looked into, in bytes.
const MAX_TEXT: u64 = 8 << 20;

/// What a row asks for when the node is not known.
const NODE: &str = "--node";

/// A node by its cluster file.
#[derive(Debug, Clone, Copy)]
pub struct Node<'a> {
    /// The cluster file.
    pub cluster: &'a ClusterSpec,
    /// What it names.
    pub inputs: &'a Inputs,
    /// All nodes of the file.
    pub views: &'a [View<'a>],
    /// This one.
    pub view: &'a View<'a>,
    /// The base image that it is made from.
    pub base: Option<&'a BaseRef>,
    /// The build epoch.
    pub epoch: Timestamp,
}

impl Node<'_> {
    /// Its settings with everything merged.
    pub(super) fn settings(&self) -> &Settings {
        &self.view.resolved.settings
    }

    /// How Kubernetes is installed, where the node is part of it.
    pub(super) fn kubernetes(&self) -> Option<&KubernetesSpec> {
        let kubernetes = self.cluster.kubernetes.as_ref()?;
        let there = kubernetes.distribution.value != Distribution::None && self.view.role().in_cluster();
        there.then_some(kubernetes)
    }

    /// The nodes of its cluster, itself included.
    pub(super) fn peers(&self) -> Vec<&View<'_>> {
        self.view.peers(self.views)
    }

    /// Whether anything but files is asked of its system.
    pub(super) fn shapes_system(&self) -> bool {
        let s = self.settings();
        let ssh = s.ssh.enabled.is_some() || s.ssh.password_login.is_some() || s.ssh.host_key.is_some();
        let texts = [&s.timezone, &s.locale, &s.keyboard];
        !s.users.is_empty()
            || ssh
            || texts.iter().any(|t| t.is_some())
            || !s.packages.is_empty()
            || s.upgrade.is_some()
            || s.swap.is_some()
            || !s.sysctl.is_empty()
            || !s.modules.is_empty()
            || !s.units.is_empty()
            || !s.interfaces.is_empty()
            || self.kubernetes().is_some()
    }

    /// Whether an overlay is laid over it.
    pub(super) fn overlaid(&self, name: &str) -> bool {
        self.settings().overlays.iter().any(|o| o.value == name)
    }
}

/// An image, and what is at hand to judge it by.
pub struct Case<'a> {
    /// The image.
    pub image: &'a Image,
    /// The firmware's volume.
    pub boot: &'a dyn Volume,
    /// The system's volume.
    pub root: &'a dyn Volume,
    /// What the system is.
    pub facts: BaseFacts,
    /// The node, where it is known.
    pub node: Option<Node<'a>>,
    /// The manifest that was written with the image.
    pub manifest: Option<&'a Value>,
    /// The stock image that it was made from, where it is at hand.
    pub stock: Option<&'a Image>,
    /// The certificates of the cluster's authority, where a kubeconfig stands beside the image.
    pub authority: Option<String>,
    /// The base images that are known by name.
    pub catalog: &'a Catalog,
}

impl std::fmt::Debug for Case<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Case").field("facts", &self.facts).finish()
    }
}

impl<'a> Case<'a> {
    /// Looks at an image; what else is known is told by [`Case::node`] and the other fields.
    ///
    /// # Errors
    /// It lacks one of the two volumes, or they cannot be read.
    pub fn of(
        image: &'a Image,
        catalog: &'a Catalog,
    ) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let (boot, root) = (image.volume(VolumeName::Boot)?, image.volume(VolumeName::Root)?);
        Ok(Self {
            image,
            boot,
            root,
            facts: base_os::probe(boot, root)?,
            node: None,
            manifest: None,
            stock: None,
            authority: None,
            catalog,
        })
    }

    /// The node.
    pub(super) fn node(&self) -> Result<Node<'a>, Stop> {
        self.node.ok_or(Stop::Needs(NODE))
    }

    /// The manifest.
    pub(super) fn manifest(&self) -> Result<&'a Value, Stop> {
        self.manifest.ok_or(Stop::Needs("the manifest beside the image"))
    }

    /// The volumes of the stock image.
    pub(super) fn stock(&self) -> Result<(&'a dyn Volume, &'a dyn Volume), Stop> {
        let stock = self.stock.ok_or(Stop::Needs("the base in the cache"))?;
        match (stock.volume(VolumeName::Boot), stock.volume(VolumeName::Root)) {
            (Ok(boot), Ok(root)) => Ok((boot, root)),
            _ => fails("the base lacks one of the two volumes"),
        }
    }

    /// The command line that the firmware reads: its path on the boot volume, and its text.
    pub(super) fn cmdline(&self) -> Result<(&str, String), Stop> {
        match self.facts.cmdline_path.as_deref() {
            Some(path) => Ok((path, need(self.boot, path)?)),
            // A loader of PCs has no such file.
            None if self.facts.arch == Some(Arch::Amd64) => Err(Stop::NotHere),
            None => fails("the boot volume has no cmdline.txt"),
        }
    }

    /// The words of the command line.
    pub(super) fn kernel_words(&self) -> Result<Vec<String>, Stop> {
        let (_, text) = self.cmdline()?;
        Ok(text.split_ascii_whitespace().map(str::to_owned).collect())
    }

    /// The text of config.txt, empty without one.
    pub(super) fn config_txt(&self) -> Result<String, Stop> {
        Ok(text(self.boot, "/config.txt")?.unwrap_or_default())
    }

    /// The text of a file of the root volume.
    pub(super) fn text(&self, path: &str) -> Result<Option<String>, Stop> {
        text(self.root, path)
    }

    /// What a name of the root volume is, links among its parents followed.
    pub(super) fn lstat(&self, path: &str) -> Result<Option<Stat>, Stop> {
        Ok(find(self.root, path, Follow::Parents)?.map(|(_, stat)| stat))
    }

    /// A file of the root volume behind links.
    pub(super) fn file(&self, path: &str) -> Result<Option<Stat>, Stop> {
        Ok(find(self.root, path, Follow::Last)?
            .map(|(_, stat)| stat)
            .filter(|stat| stat.kind == NodeKind::File))
    }

    /// Files of a folder of the root volume and of folders below it, by path; none without the folder.
    pub(super) fn files_below(&self, dir: &str) -> Result<Vec<(String, Stat)>, Stop> {
        let mut found = Vec::new();
        let Some((real, _)) = find(self.root, dir, Follow::Last)?.filter(|(_, s)| s.kind == NodeKind::Dir)
        else {
            return Ok(found);
        };
        tree::walk::<FsError>(self.root, &real, &mut |path, stat| {
            if stat.kind == NodeKind::File {
                found.push((show(path), stat.clone()));
            }
            Ok(())
        })?;
        Ok(found)
    }

    /// Texts of the files of a folder of the root volume whose names end so.
    pub(super) fn texts_below(&self, dir: &str, ending: &str) -> Result<Vec<(String, String)>, Stop> {
        let mut found = Vec::new();
        for (path, stat) in self.files_below(dir)? {
            if path.ends_with(ending) && stat.size <= MAX_TEXT {
                found.extend(text(self.root, &path)?.map(|text| (path, text)));
            }
        }
        Ok(found)
    }

    /// Unit files of the administrator and of the vendor, with drop-ins and environment files.
    pub(super) fn units(&self) -> Result<Vec<(String, String)>, Stop> {
        let mut found = self.texts_below("/etc/systemd/system", "")?;
        found.extend(self.texts_below("/usr/local/lib/systemd", "")?);
        Ok(found)
    }

    /// Whether it carries a part of Kubernetes that starts on the node.
    pub(super) fn has_kubernetes(&self) -> Result<bool, Stop> {
        for path in [
            "/etc/rancher/k3s/config.yaml",
            "/etc/kubernetes/kubeadm.yaml",
            "/etc/systemd/system/k3s.service",
            "/etc/systemd/system/k3s-agent.service",
        ] {
            if self.file(path)?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// The node behind a path of a volume; `None` when there is none.
pub(super) fn find(volume: &dyn Volume, path: &str, follow: Follow) -> Result<Option<(Vec<u8>, Stat)>, Stop> {
    let real = match resolve(volume, path.as_bytes(), follow) {
        Ok(real) => real,
        Err(FsError::NotADirectory(_) | FsError::SymlinkLoop(_) | FsError::NotFound(_)) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    Ok(volume.stat(&real)?.map(|stat| (real, stat)))
}

/// The text of a file; bytes that are no UTF-8 are replaced.
pub(super) fn text(volume: &dyn Volume, path: &str) -> Result<Option<String>, Stop> {
    match find(volume, path, Follow::Last)? {
        Some((real, stat)) if stat.kind == NodeKind::File => {
            let bytes = tree::read_small(volume, &real, MAX_TEXT)?;
            Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
        }
        _ => Ok(None),
    }
}

/// The text of a file that must be there.
pub(super) fn need(volume: &dyn Volume, path: &str) -> Result<String, Stop> {
    text(volume, path)?.ok_or_else(|| Stop::Fails(format!("`{path}` is missing")))
}

/// The first bytes of a file.
pub(super) fn head(volume: &dyn Volume, path: &str, len: usize) -> Result<Vec<u8>, Stop> {
    let Some((real, stat)) = find(volume, path, Follow::Last)?.filter(|(_, s)| s.kind == NodeKind::File)
    else {
        return Ok(Vec::new());
    };
    let source = volume.open(&real)?;
    let len = stat.size.min(source.len()).min(len as u64);
    let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
    source.read_at(0, &mut bytes)?;
    Ok(bytes)
}
