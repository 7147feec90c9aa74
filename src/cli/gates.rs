//! The gates before and after a base is opened: what does not fit ends the command, what is unwise is told.

use super::context::Context;
use super::message::Failure;
use crate::base_os::BaseFacts;
use crate::catalog::ImageEntry;
use crate::flavour::gates::Os;
use crate::inputs;
use crate::lint::lint;
use crate::plan::{BasePlace, BaseRef, Finding, Severity};
use crate::planner::{self, Gate, Release, View};
use crate::spec::{ClusterSpec, Inputs, NodeSpec};

/// Every node before the gates; `base` is that of the command line, where one is given.
pub fn of(
    context: &Context,
    cluster: &ClusterSpec,
    inputs: &Inputs,
    views: &[View<'_>],
    base: Option<&BaseRef>,
) -> Result<Vec<Gate>, Failure> {
    let catalog = context.catalog()?;
    let release = |view: &View<'_>| match &base.or(view.resolved.base.as_ref())?.place {
        BasePlace::Name(name) => catalog.lookup(name).ok().map(released),
        _ => None,
    };
    Ok(planner::gates(cluster, inputs, views, &release)?)
}

fn released(entry: &ImageEntry) -> Release {
    let os = match entry.family.split('-').next().unwrap_or_default() {
        "raspios" | "raspbian" => Os::RaspberryPiOs,
        "hypriot" => Os::HypriotOs,
        "ubuntu" => Os::Ubuntu,
        "debian" => Os::Debian,
        _ => Os::Other,
    };
    Release {
        os,
        codename: entry.codename.clone().unwrap_or_default(),
        boot_mount: entry.boot_mount.clone(),
        arch: entry.arch,
    }
}

/// What can be said before anything is fetched: the errors of `lint`, and what the gates say of these nodes.
///
/// # Errors
/// Something does not fit.
pub fn before(
    context: &Context,
    cluster: &ClusterSpec,
    inputs: &mut Inputs,
    nodes: &[&NodeSpec],
    base: Option<&BaseRef>,
) -> Result<Vec<Gate>, Failure> {
    inputs::read_addons(cluster, inputs)?;
    let views = planner::views(cluster, inputs)?;
    let mut gates = of(context, cluster, inputs, &views, base)?;
    let mut found = lint(cluster, inputs, &views, &gates, &|_| None);
    found.retain(|finding| finding.severity == Severity::Error);
    gates.retain(|gate| nodes.iter().any(|node| node.name.as_str() == gate.node));
    let unwise = gates.iter().flat_map(Gate::check);
    found.extend(unwise.filter(|finding| finding.severity == Severity::Warning));
    judge(context, &found)?;
    Ok(gates)
}

/// What can be said besides once the base of a node is open.
///
/// # Errors
/// Something does not fit.
pub fn opened(
    context: &Context,
    gates: &[Gate],
    node: &str,
    facts: Option<&BaseFacts>,
) -> Result<(), Failure> {
    match (gates.iter().find(|gate| gate.node == node), facts) {
        (Some(gate), Some(facts)) => judge(context, &gate.check_opened(facts)),
        _ => Ok(()),
    }
}

fn judge(context: &Context, found: &[Finding]) -> Result<(), Failure> {
    let (errors, warnings): (Vec<_>, Vec<_>) = found.iter().partition(|f| f.severity == Severity::Error);
    for finding in warnings {
        context.note(&finding.to_string());
    }
    let Some(first) = errors.first() else {
        return Ok(());
    };
    let all: Vec<String> = errors.iter().map(ToString::to_string).collect();
    Err(Failure::new(all.join("\n")).hint(format!(
        "or give the node `accept: [{}]` to build it nevertheless",
        first.id
    )))
}
