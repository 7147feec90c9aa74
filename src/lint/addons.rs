//! Add-ons of a cluster, by the headers of their manifests.

use std::collections::BTreeSet;

use crate::addon::{Addon, ClassFault, LOCAL_STORAGE, default_class, missing_arches, parse_header};
use crate::plan::Origin;
use crate::planner::{Gate, View};
use crate::spec::{Architecture, ClusterSpec, Distribution, Inputs};

use super::Found;

pub(super) fn check(
    cluster: &ClusterSpec,
    inputs: &Inputs,
    views: &[View<'_>],
    gates: &[Gate],
    found: &mut Found,
) {
    let Some(kubernetes) = &cluster.kubernetes else {
        return;
    };
    let distribution = kubernetes.distribution.value;
    if distribution == Distribution::None {
        return;
    }
    for view in views {
        let peers = view.peers(views);
        if !view.is_first_server(&peers) {
            continue;
        }
        let arches: Vec<Architecture> = peers
            .iter()
            .filter(|peer| peer.role().in_cluster())
            .filter_map(|peer| {
                let gate = gates.iter().find(|g| g.node == peer.spec.name.as_str())?;
                gate.arch()
            })
            .collect();
        let mut addons = Vec::new();
        let mut seen = BTreeSet::new();
        for name in &view.resolved.settings.addons {
            let Some(text) = inputs.addons.get(&name.value) else {
                continue;
            };
            if !seen.insert(&name.value) {
                continue;
            }
            // A manifest of the user's own may have none.
            if !text.text.starts_with("# addon:") {
                found.warning(
                    "F190",
                    &name.origin,
                    format!(
                        "the add-on `{}` has no header, so nobody knows which images it needs and whether there are any for these nodes",
                        name.value
                    ),
                    "begin the manifest with a header as docs/addons.md shows",
                );
                continue;
            }
            match parse_header(&text.file, &name.value, &text.text) {
                Ok(addon) => {
                    one(&addon, distribution, &arches, &name.origin, found);
                    addons.push(addon);
                }
                Err(error) => found.error(
                    "F190",
                    &Origin {
                        file: error.file,
                        line: error.line as u64,
                    },
                    format!(
                        "the header of the add-on `{}` cannot be read: {}",
                        name.value, error.why
                    ),
                    "begin the manifest with a header as docs/addons.md shows",
                ),
            }
        }
        let local =
            distribution == Distribution::K3s && !kubernetes.disable.iter().any(|d| d == LOCAL_STORAGE);
        match default_class(&addons, local) {
            Ok(()) => {}
            Err(fault @ ClassFault::None(_)) => found.error(
                "F220",
                &view.spec.origin,
                fault.to_string(),
                "claims would wait for ever; bring one default StorageClass",
            ),
            Err(fault @ ClassFault::Several(_)) => found.error(
                "P51",
                &view.spec.origin,
                fault.to_string(),
                "leave out all but one; `kubernetes: {disable: [local-storage]}` leaves out that of k3s",
            ),
        }
    }
}

fn one(
    addon: &Addon,
    distribution: Distribution,
    arches: &[Architecture],
    origin: &Origin,
    found: &mut Found,
) {
    if !addon.fits(distribution) {
        let needs: Vec<&str> = addon.needs.iter().map(|n| n.word()).collect();
        found.error(
            "F190",
            origin,
            format!(
                "the add-on `{}` works with {}, and the cluster has {}",
                addon.name,
                needs.join(" and "),
                distribution.word()
            ),
            "choose another add-on, or another distribution",
        );
    }
    for (image, lacking) in missing_arches(addon, arches) {
        let words: Vec<&str> = lacking.iter().map(|a| a.word()).collect();
        found.error(
            "F218",
            origin,
            format!(
                "the image `{image}` of the add-on `{}` is not made for {}, which nodes of the cluster have (P18)",
                addon.name,
                words.join(" and ")
            ),
            "use a newer image, or keep its pods on other nodes with a manifest of your own",
        );
    }
}
