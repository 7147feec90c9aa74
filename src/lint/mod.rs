//! What is wrong or unwise in a cluster, decided from its files alone: addresses, names, boards, roles, trust,
//! add-ons, and versions by the gates.
//!
//! This room knows the settings of all nodes. It must not know files, images or the network. A finding has the number
//! of the pitfall, feature or gate that it is about, a sentence, its place, and a remedy.

mod addons;
mod addresses;
mod disks;
mod firewall;
mod names;
mod nodes;

use crate::plan::{Finding, Origin, Severity};
use crate::planner::{Gate, View};
use crate::spec::{ClusterSpec, Inputs};

/// Collects findings.
struct Found(Vec<Finding>);

impl Found {
    fn add(
        &mut self,
        id: &'static str,
        severity: Severity,
        origin: &Origin,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.0.push(Finding {
            id,
            severity,
            origin: origin.clone(),
            message: message.into(),
            remedy: remedy.into(),
        });
    }

    fn error(
        &mut self,
        id: &'static str,
        origin: &Origin,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.add(id, Severity::Error, origin, message, remedy);
    }

    fn warning(
        &mut self,
        id: &'static str,
        origin: &Origin,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.add(id, Severity::Warning, origin, message, remedy);
    }
}

/// All findings, errors first, then by place. What a node's settings `accept` is left out where it is about that node;
/// what all nodes accept is left out altogether. `inputs` has the settings of all nodes and the texts of their add-ons,
/// `gates` what is known of each node's versions, and `against` says what is known against a base of the catalog.
#[must_use]
pub fn lint(
    cluster: &ClusterSpec,
    inputs: &Inputs,
    views: &[View<'_>],
    gates: &[Gate],
    against: &dyn Fn(&str) -> Option<String>,
) -> Vec<Finding> {
    let mut found = Found(Vec::new());
    names::check(cluster, views, &mut found);
    addresses::check(cluster, views, &mut found);
    nodes::check(cluster, views, &mut found);
    disks::check(views, &mut found);
    nodes::bases(views, against, &mut found);
    firewall::check(cluster, views, &mut found);
    addons::check(cluster, inputs, views, gates, &mut found);
    found.0.extend(gates.iter().flat_map(Gate::check));
    let accepted = |finding: &Finding| {
        let accepts = |view: &View<'_>| view.resolved.settings.accept.iter().any(|id| id == finding.id);
        let mut about = views
            .iter()
            .filter(|v| v.spec.origin == finding.origin)
            .peekable();
        if about.peek().is_some() {
            about.all(accepts)
        } else {
            !views.is_empty() && views.iter().all(accepts)
        }
    };
    let mut all: Vec<Finding> = found.0.into_iter().filter(|f| !accepted(f)).collect();
    all.sort_by(|a, b| {
        (a.severity, &a.origin, a.id, &a.message).cmp(&(b.severity, &b.origin, b.id, &b.message))
    });
    all.dedup();
    all
}

/// The file itself, where a finding has no better place.
fn file(cluster: &ClusterSpec) -> Origin {
    Origin {
        file: cluster.file.clone(),
        line: 0,
    }
}
