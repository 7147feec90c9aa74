//! Programs and archives of container images of a node: those of its distribution, and those that it names.

use std::path::Path;

use crate::flavour::{Flavour, k3s, kubeadm};
use crate::plan::{Edit, Op, Origin};
use crate::spec::{At, ClusterSpec, Inputs, image_archive};
use crate::values::{ImagePath, Mode, VolumeName};

use super::PlanError;
use super::kubernetes::{flavour_of, version};
use super::view::View;

/// A program, or an archive of images, to be looked up in the catalog of artifacts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgramWish {
    /// A name, or a name and a version or the beginning of one, as `helm@3.18`.
    pub name: String,
    /// What does as well where the catalog has no such version.
    pub or: Option<String>,
    /// Who asks for it.
    pub origin: Origin,
}

/// What a node needs of the catalog of artifacts, in the order in which it is put.
///
/// # Errors
/// [`PlanError::Unsupported`]: the version of Kubernetes is none.
pub fn wanted(cluster: &ClusterSpec, view: &View<'_>) -> Result<Vec<ProgramWish>, PlanError> {
    let mut wishes = Vec::new();
    if let (Some((kubernetes, flavour)), Some(version), true) =
        (flavour_of(cluster), version(cluster)?, view.role().in_cluster())
    {
        let origin = kubernetes
            .version
            .as_ref()
            .map_or(&kubernetes.distribution.origin, |v| &v.origin);
        let mut want = |name: String, or: Option<&str>| {
            wishes.push(ProgramWish {
                name,
                or: or.map(str::to_owned),
                origin: origin.clone(),
            });
        };
        let programs = kubernetes.programs != Some(false);
        let images = kubernetes.air_gap != Some(false);
        match flavour {
            Flavour::K3s => {
                if programs {
                    want(format!("k3s@{version}"), None);
                }
                if images {
                    want(format!("k3s-airgap-images@{version}"), None);
                }
            }
            Flavour::Kubeadm if programs => {
                let upstream = version.upstream();
                // The one that is linked statically runs on every base, whatever its C library.
                want(
                    format!(
                        "containerd-static@{}",
                        super::kubernetes::containerd_for(&version)
                    ),
                    None,
                );
                want("runc".to_owned(), None);
                want("cni-plugins".to_owned(), None);
                // Any release of crictl speaks to any containerd that is still there.
                let minor = format!("crictl@{}.{}", version.major, version.minor);
                want(minor, Some("crictl"));
                for name in ["kubelet", "kubeadm", "kubectl"] {
                    want(format!("{name}@{upstream}"), None);
                }
            }
            Flavour::Kubeadm => {}
        }
    }
    let settings = &view.resolved.settings;
    let named: Vec<&At<String>> = settings
        .artifacts
        .iter()
        .chain(settings.images.iter().filter(|i| image_archive(i).is_none()))
        .collect();
    // A program that the node names itself takes the place of the one that Kubernetes would have brought.
    let plain = |name: &str| name.split('@').next().unwrap_or_default().to_owned();
    wishes.retain(|wish| named.iter().all(|name| plain(&name.value) != plain(&wish.name)));
    for name in named {
        wishes.retain(|wish| wish.name != name.value);
        wishes.push(ProgramWish {
            name: name.value.clone(),
            or: None,
            origin: name.origin.clone(),
        });
    }
    Ok(wishes)
}

/// Archives of images from the host, put where the node's containerd gets them from (F106).
pub(super) fn archives(
    cluster: &ClusterSpec,
    inputs: &Inputs,
    view: &View<'_>,
) -> Result<Vec<Edit>, PlanError> {
    let mut edits: Vec<Edit> = Vec::new();
    for image in &view.resolved.settings.images {
        let Some(path) = image_archive(image) else {
            continue;
        };
        let folder = match flavour_of(cluster) {
            Some((_, Flavour::K3s)) if view.role().in_cluster() => k3s::IMAGES_DIR,
            Some((_, Flavour::Kubeadm)) if view.role().in_cluster() => kubeadm::IMAGES_DIR,
            _ => {
                let why = format!(
                    "`{}` is an archive of container images, and node `{}` is no node of Kubernetes that would load it",
                    image.value, view.spec.name
                );
                return Err(PlanError::unsupported(&image.origin, why));
            }
        };
        edits.push(carried(inputs, folder, &path, &image.origin)?);
    }
    Ok(edits)
}

/// A file of the host, put into a folder of the root volume under its own name.
pub(super) fn carried(
    inputs: &Inputs,
    folder: &str,
    path: &Path,
    origin: &Origin,
) -> Result<Edit, PlanError> {
    let content = inputs
        .files
        .get(path)
        .cloned()
        .ok_or_else(|| PlanError::not_read(origin, path.display()))?;
    let at = place(folder, path, origin)?;
    Ok(Edit {
        op: Op::of_root(at, content, Mode(0o644)),
        origin: origin.clone(),
    })
}

fn place(folder: &str, path: &Path, origin: &Origin) -> Result<ImagePath, PlanError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    ImagePath::on(VolumeName::Root, &format!("{folder}/{name}")).map_err(|e| PlanError::bad_path(origin, e))
}
