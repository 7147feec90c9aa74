//! `lint`: what is wrong or unwise in a cluster, from its files alone.

use serde_json::json;

use super::args;
use super::context::Context;
use super::gates;
use super::message::{self, Failure, Outcome};
use super::plan::read_settings;
use crate::inputs;
use crate::lint::lint as find;
use crate::plan::Severity;
use crate::planner;

/// `ceil-img lint`
pub fn lint(context: &Context, args: &args::Lint) -> Result<Outcome, Failure> {
    let (cluster, mut inputs) = read_settings(context, &args.file)?;
    inputs::read_addons(&cluster, &mut inputs)?;
    let views = planner::views(&cluster, &inputs)?;
    let gates = gates::of(context, &cluster, &inputs, &views, None)?;
    let catalog = context.catalog()?;
    let findings = find(&cluster, &inputs, &views, &gates, &|base| {
        catalog.lookup(base).ok()?.faulty.clone()
    });
    for finding in &findings {
        if context.json {
            message::json(&json!({
                "event": "finding", "id": finding.id, "severity": finding.severity, "file": finding.origin.file,
                "line": finding.origin.line, "message": finding.message, "remedy": finding.remedy,
            }))?;
        } else {
            message::line(&finding.to_string())?;
        }
    }
    let errors = findings.iter().filter(|f| f.severity == Severity::Error).count();
    if findings.is_empty() {
        context.note(&format!("{} nodes, nothing found", views.len()));
    }
    Ok(if errors > 0 || (args.deny_warnings && !findings.is_empty()) {
        Outcome::Different
    } else {
        Outcome::Done
    })
}
