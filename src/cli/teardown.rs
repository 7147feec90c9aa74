//! `teardown`: takes a running cluster apart, add-ons first, servers last (F126).

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::json;

use super::args;
use super::context::Context;
use super::message::{self, Failure, Outcome};
use super::plan::{Remember, plan_nodes};
use crate::export;
use crate::plan::{Content, NodePlan, Op};
use crate::planner::{self, View};
use crate::spec::{ClusterSpec, Role};

/// One thing that is done.
struct Step {
    /// `add-on`, `node` or `reset`.
    kind: &'static str,
    /// Of which cluster of the file.
    cluster: String,
    /// Name of the add-on or node.
    name: String,
    /// Program and arguments.
    command: Vec<String>,
    /// What the program reads.
    input: Content,
}

/// Lists the steps, and takes them with `--yes`.
///
/// # Errors
/// A step fails. What was done before it is done; the command can be given again.
pub fn teardown(context: &Context, args: &args::Teardown) -> Result<Outcome, Failure> {
    let cluster_args = args::ClusterArgs {
        file: args.file.clone(),
        base: None,
    };
    context.use_lock(&cluster_args, crate::lock::Mode::Fill, false)?;
    let planned = plan_nodes(context, &cluster_args, &[], Remember::No)?;
    let cluster = &planned.spec;
    let views = planner::views(cluster, &planned.inputs)?;
    let steps = steps(cluster, &views, &planned.plans, &args.out);
    if steps.is_empty() {
        return Err(Failure::new(format!(
            "{}: no node is part of Kubernetes, so there is nothing to take apart",
            cluster.file
        )));
    }
    for step in &steps {
        if args.yes {
            run(step)?;
        }
        if context.json {
            message::json(&json!({
                "event": "teardown", "step": step.kind, "cluster": step.cluster, "name": step.name,
                "command": step.command, "done": args.yes,
            }))?;
        } else {
            message::line(&format!(
                "{:<8} {:<24} {}",
                step.kind,
                step.name,
                step.command.join(" ")
            ))?;
        }
    }
    if !args.yes {
        context.note("nothing was done; `--yes` does it, with the volumes of the add-ons");
    }
    Ok(Outcome::Done)
}

fn steps(cluster: &ClusterSpec, views: &[View<'_>], plans: &[NodePlan], out: &Path) -> Vec<Step> {
    let mut clusters: Vec<&str> = Vec::new();
    for view in views.iter().filter(|v| v.role().in_cluster()) {
        if !clusters.contains(&view.cluster.as_str()) {
            clusters.push(&view.cluster);
        }
    }
    let mut steps = Vec::new();
    for name in clusters {
        let kubectl = |words: &[&str]| -> Vec<String> {
            let file = super::build::kubeconfig_path(out, name, cluster.name.as_str());
            ["kubectl", "--kubeconfig", &file.display().to_string()]
                .iter()
                .chain(words)
                .map(|word| (*word).to_owned())
                .collect()
        };
        let step = |kind, thing: &str, command, input| Step {
            kind,
            cluster: name.to_owned(),
            name: thing.to_owned(),
            command,
            input,
        };
        // The last one that came is the first one to go.
        let manifests = plans.iter().filter(|p| p.cluster == name).flat_map(manifests);
        for (addon, content) in manifests.collect::<Vec<_>>().into_iter().rev() {
            let words = [
                "delete",
                "--ignore-not-found",
                "--wait",
                "--timeout=180s",
                "-f",
                "-",
            ];
            steps.push(step("add-on", addon, kubectl(&words), content));
        }
        let members: Vec<&View<'_>> = views
            .iter()
            .filter(|v| v.cluster == name && v.role().in_cluster())
            .collect();
        let (servers, agents): (Vec<&View<'_>>, Vec<&View<'_>>) =
            members.into_iter().partition(|v| v.role() == Role::Server);
        let nothing = || Content::inline(b"");
        for view in agents.iter().rev() {
            let host = view.spec.hostname.as_str();
            let words = ["delete", "node", host, "--ignore-not-found"];
            steps.push(step("node", host, kubectl(&words), nothing()));
        }
        for view in agents.iter().rev().chain(servers.iter().rev()) {
            let command = [
                "ssh",
                "-o",
                "BatchMode=yes",
                &export::login(cluster, view),
                "sudo",
                "-n",
            ]
            .into_iter()
            .chain(["/usr/local/sbin/ceil-reset", "--yes", "--off"])
            .map(str::to_owned)
            .collect();
            steps.push(step("reset", view.spec.hostname.as_str(), command, nothing()));
        }
    }
    steps
}

/// Names and texts of the add-ons that a node applies, in the order in which it does.
fn manifests(plan: &NodePlan) -> impl Iterator<Item = (&str, Content)> {
    plan.edits.iter().filter_map(|edit| match &edit.op {
        Op::Put { at, content, .. } => {
            let path = PathBuf::from(at.path());
            let folder = path.parent()?.to_str()?;
            if !planner::MANIFESTS.contains(&folder) {
                return None;
            }
            let file = at.path().rsplit('/').next()?;
            let name = file.strip_prefix("ceil-")?.strip_suffix(".yaml")?;
            Some((name, content.clone()))
        }
        _ => None,
    })
}

fn run(step: &Step) -> Result<(), Failure> {
    let told = || format!("{} `{}` of the cluster `{}`", step.kind, step.name, step.cluster);
    let Some((program, words)) = step.command.split_first() else {
        return Ok(());
    };
    let mut child = Command::new(program)
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::inherit())
        .spawn()
        .map_err(|e| {
            Failure::from(e)
                .while_doing(format!("cannot run `{program}`"))
                .while_doing(told())
        })?;
    if let (Some(mut stdin), Content::Inline { bytes, .. }) = (child.stdin.take(), &step.input) {
        // A program that ends without reading tells why by its exit code.
        let _ = stdin.write_all(bytes);
    }
    let status = child.wait()?;
    if status.success() {
        return Ok(());
    }
    Err(Failure::new(format!("`{}` failed: {status}", step.command.join(" "))).while_doing(told()))
}
