//! `devices`: the disks that cards may be in.

use serde_json::json;

use super::args;
use super::context::Context;
use super::message::{self, Failure, Outcome};
use crate::flash::{Allow, Refusal, judge};
use crate::sys::disks::{self, Disk, ThisHost};
use crate::values::ByteSize;

/// `ceil-img devices`
pub fn devices(context: &Context, args: &args::Devices) -> Result<Outcome, Failure> {
    let mut shown = 0;
    let mut lines: Vec<[String; 6]> = Vec::new();
    for disk in disks::disks(&ThisHost)? {
        let refusals = judge(&disk, 0, Allow::default());
        let listed = refusals.iter().all(|r| matches!(r, Refusal::ReadOnly));
        if !listed && !args.all {
            continue;
        }
        shown += 1;
        if context.json {
            message::json(&to_json(&disk, &refusals))?;
            continue;
        }
        let why: Vec<String> = refusals.iter().map(ToString::to_string).collect();
        lines.push([
            disk.path.display().to_string(),
            ByteSize(disk.size).to_string(),
            disk.bus.to_string(),
            or_dash(&disk.model),
            or_dash(&content(&disk)),
            or_dash(&why.join("; ")),
        ]);
    }
    if shown == 0 {
        context.note(if args.all {
            "no disk was found"
        } else {
            "no card was found; `--all` shows every disk with the reason why it is none"
        });
        return Ok(Outcome::Done);
    }
    if !context.json {
        lines.insert(
            0,
            ["DEVICE", "SIZE", "BUS", "MODEL", "CONTENT", "NOT A CARD BECAUSE"].map(str::to_owned),
        );
        print(&lines, args.all)?;
    }
    Ok(Outcome::Done)
}

/// Columns as wide as they need to be; the last only where it is wanted.
fn print(lines: &[[String; 6]], reasons: bool) -> Result<(), Failure> {
    let columns = if reasons { 6 } else { 5 };
    let width = |column: usize| {
        lines
            .iter()
            .map(|line| line[column].chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    for line in lines {
        let cells: Vec<String> = (0..columns)
            .map(|column| format!("{:<width$}", line[column], width = widths[column]))
            .collect();
        message::line(cells.join("  ").trim_end())?;
    }
    Ok(())
}

fn or_dash(text: &str) -> String {
    if text.is_empty() { "-" } else { text }.to_owned()
}

/// What is on a disk, in few words: kinds, labels and where it is mounted.
pub(super) fn content(disk: &Disk) -> String {
    let mut words = Vec::new();
    for part in &disk.parts {
        let mut word = if part.kind.is_empty() { "?" } else { &part.kind }.to_owned();
        if !part.label.is_empty() {
            word.push_str(&format!(" `{}`", part.label));
        }
        words.push(word);
    }
    for mount in &disk.mounts {
        words.push(format!("mounted at {}", mount.at));
    }
    words.join(", ")
}

fn to_json(disk: &Disk, refusals: &[Refusal]) -> serde_json::Value {
    json!({
        "device": disk.path, "size": disk.size, "model": disk.model, "bus": disk.bus.word(),
        "removable": disk.removable, "read_only": disk.read_only, "system": disk.system.is_some(),
        "partitions": disk.parts.iter().map(|part| json!({
            "device": part.path, "size": part.size, "kind": part.kind, "label": part.label,
        })).collect::<Vec<_>>(),
        "mounts": disk.mounts.iter().map(|mount| &mount.at).collect::<Vec<_>>(),
        "refusals": refusals.iter().map(|refusal| json!({
            "why": refusal.to_string(), "flag": refusal.flag(),
        })).collect::<Vec<_>>(),
    })
}
