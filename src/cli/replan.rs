//! `plan` for whole clusters: a table of all nodes, and what differs from what was built last.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use super::build::{finish_node, manifest};
use super::context::Context;
use super::message::{self, Failure, Outcome};
use super::programs::Programs;
use crate::emit::ChangedPath;
use crate::plan::{Edit, NodePlan, Op};
use crate::values::ByteSize;

/// One line a node: role, address, base, version of Kubernetes, payload, how many files hold secrets.
pub fn table(context: &Context, nodes: &[NodePlan], programs: &Programs) -> Result<(), Failure> {
    if context.json {
        return Ok(());
    }
    let mut rows = vec![
        [
            "node", "cluster", "role", "profile", "address", "base", "version", "files", "payload", "secrets",
        ]
        .map(str::to_owned),
    ];
    for node in nodes {
        let put = programs.at_hand(context, node)?;
        // Of what is not here yet, only the length of the download may be known.
        let (unknown, downloads) = match &put {
            Some(_) => (false, 0),
            None => (
                node.programs.iter().any(|p| p.size.is_none()),
                node.programs.iter().filter_map(|p| p.size).sum(),
            ),
        };
        let puts: Vec<&Edit> = node
            .edits
            .iter()
            .chain(put.iter().flatten())
            .filter(|edit| matches!(edit.op, Op::Put { .. }))
            .collect();
        let secret = |edit: &&&Edit| matches!(&edit.op, Op::Put { content, .. } if content.is_secret());
        let payload: u64 = puts
            .iter()
            .map(|edit| match &edit.op {
                Op::Put { content, .. } => content.len(),
                _ => 0,
            })
            .sum::<u64>()
            + downloads;
        let version = node
            .programs
            .iter()
            .find(|p| ["k3s", "kubelet"].contains(&p.name.as_str()))
            .map_or_else(|| "-".to_owned(), |p| p.version.clone());
        let more = if unknown { " and more" } else { "" };
        rows.push([
            node.node.clone(),
            node.cluster.clone(),
            node.role.to_owned(),
            node.profile.clone(),
            node.identity.address.to_string(),
            node.base.place.to_string(),
            version,
            puts.len().to_string(),
            format!("{}{more}", ByteSize(payload)),
            puts.iter().filter(secret).count().to_string(),
        ]);
    }
    let mut widths = [0; 10];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    for row in &rows {
        let cells = row
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:<width$}"));
        message::line(cells.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    message::line("")?;
    Ok(())
}

/// Says for each node what a build would change of the image that its manifest in `out` describes. Nothing is
/// fetched or written.
pub fn differences(
    context: &Context,
    nodes: &[NodePlan],
    programs: &Programs,
    out: &Path,
) -> Result<Outcome, Failure> {
    let mut outcome = Outcome::Done;
    for node in nodes {
        let found = node_differences(context, node, programs, out)?;
        if !found.is_empty() {
            outcome = Outcome::WouldChange;
        }
        if context.json {
            message::json(&json!({"event": "difference", "node": node.node, "changes": found}))?;
            continue;
        }
        if found.is_empty() {
            message::line(&format!("{}: as it was built", node.node))?;
        }
        for text in found {
            message::line(&format!("{}: {text}", node.node))?;
        }
    }
    Ok(outcome)
}

fn node_differences(
    context: &Context,
    node: &NodePlan,
    programs: &Programs,
    out: &Path,
) -> Result<Vec<String>, Failure> {
    let path = out.join(format!("{}.manifest.json", node.node));
    let old: Value = match std::fs::read_to_string(&path) {
        Ok(text) => serde_json::from_str(&text)
            .map_err(|e| Failure::from(e).while_doing(format!("`{}` is no manifest", path.display())))?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(vec!["not built yet".to_owned()]);
        }
        Err(error) => {
            return Err(Failure::from(error).while_doing(format!("cannot read `{}`", path.display())));
        }
    };
    let put = programs.at_hand(context, node)?;
    let (Some(_), Some(put)) = (context.image_at_hand(&node.base)?, put) else {
        let same = old["plan"] == json!(node.digest);
        return Ok(if same {
            Vec::new()
        } else {
            vec![format!(
                "another plan ({}); base or programs are not in the cache, so files cannot be compared",
                node.digest
            )]
        });
    };
    let base = context.base(&node.base)?;
    let finished = finish_node(context, &base, node, &|| Ok(put.clone()), &|_| Ok(()), &|_| ())?;
    let new = manifest(node, &base, &finished)?;
    if old["image"]["content"] == json!(new.image.content) {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    if old["inputs"][0]["digest"] != json!(base.raw_digest) {
        found.push(format!("another base: {}", base.name));
    }
    if old["kernel_command_line"] != json!(new.kernel_command_line) {
        found.push("another kernel command line".to_owned());
    }
    let before: BTreeMap<String, Value> = old["changes"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|change| Some((change["path"].as_str()?.to_owned(), change.clone())))
        .collect();
    let after: BTreeMap<&str, &ChangedPath> = new.changes.iter().map(|c| (c.path.as_str(), c)).collect();
    for (path, change) in &after {
        match before.get(*path) {
            None => found.push(format!("+ {path}")),
            Some(old) if *old != json!(change) => found.push(format!("~ {path}")),
            Some(_) => {}
        }
    }
    for path in before.keys() {
        if !after.contains_key(path.as_str()) {
            found.push(format!("- {path}"));
        }
    }
    if found.is_empty() {
        found.push("files with secrets, or the place of files, are others".to_owned());
    }
    Ok(found)
}
