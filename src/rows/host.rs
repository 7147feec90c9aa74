//! The system of a node: its own id, package sources, files that the node asks for.

use crate::diff;
use crate::fs::{Follow, NodeKind, Volume};
use crate::plan::{Attributes, Op};
use crate::spec::{Payload, Role, Wish};
use crate::values::{ImagePath, VolumeName};

use super::case::find;
use super::text::plain_lines;
use super::{Case, Judged, Row, Stop, applies, fails, holds};

pub(super) const ROWS: &[Row] = &[
    Row {
        id: "F055",
        title: "pins of packages that the node brings hold against everything",
        judge: f055,
    },
    Row {
        id: "F056",
        title: "package sources that the node brings have keys of their own",
        judge: f056,
    },
    Row {
        id: "F057",
        title: "files that the node brings have content, mode and owner as declared",
        judge: f057,
    },
    Row {
        id: "F061",
        title: "cloud-init keeps off the network of the router, or plans it as declared",
        judge: f061,
    },
    Row {
        id: "F062",
        title: "the machine id is left to the board",
        judge: f062,
    },
    Row {
        id: "P01",
        title: "no id of a machine that a vendor gave to every card",
        judge: p01,
    },
];

/// A file that the node asks for, and what is declared of it.
pub(super) struct Put<'a> {
    /// The volume.
    pub(super) volume: VolumeName,
    /// Its path there.
    pub(super) path: String,
    payload: &'a Payload,
    attributes: &'a Attributes,
}

/// The volume and the path there of a place as a user writes it.
fn place(case: &Case<'_>, at: &ImagePath) -> (VolumeName, String) {
    let below = at
        .path()
        .strip_prefix(case.facts.boot_mount.as_str())
        .filter(|rest| rest.starts_with('/'));
    match (at.volume, below) {
        (None, Some(rest)) => (VolumeName::Boot, rest.to_owned()),
        (volume, _) => (volume.unwrap_or(VolumeName::Root), at.path().to_owned()),
    }
}

/// Files that the node asks for and that no other edit touches afterwards.
pub(super) fn puts<'a>(case: &Case<'a>) -> Result<Vec<Put<'a>>, Stop> {
    let node = case.node()?;
    let edits = &node.view.resolved.edits;
    let mut found = Vec::new();
    for (i, edit) in edits.iter().enumerate() {
        let Wish::Put {
            at,
            payload,
            attributes,
            ..
        } = &edit.wish
        else {
            continue;
        };
        let (volume, path) = place(case, at);
        let touched = edits.iter().enumerate().any(|(j, other)| {
            i != j
                && touches(&other.wish).iter().any(|at| {
                    let (other, above) = place(case, at);
                    other == volume
                        && (path == above || path.starts_with(&format!("{}/", above.trim_end_matches('/'))))
                })
        });
        if !touched {
            found.push(Put {
                volume,
                path,
                payload,
                attributes,
            });
        }
    }
    Ok(found)
}

/// Places that an edit changes, apart from a directory that it makes or fills.
fn touches(wish: &Wish) -> Vec<&ImagePath> {
    match wish {
        Wish::Put { at, .. } | Wish::Append { at, .. } => vec![at],
        Wish::Tree { .. } => Vec::new(),
        Wish::Op(op) => match op {
            Op::Put { at, .. }
            | Op::Symlink { at, .. }
            | Op::Append { at, .. }
            | Op::Remove { at, .. }
            | Op::Chmod { at, .. }
            | Op::Chown { at, .. }
            | Op::Mtime { at, .. }
            | Op::Xattrs { at, .. } => vec![at],
            Op::Rename { from, to } => vec![from, to],
            Op::Hardlink { .. }
            | Op::Dir { .. }
            | Op::KernelArgs { .. }
            | Op::ConfigTxt { .. }
            | Op::Fstab { .. }
            | Op::Grow { .. } => Vec::new(),
        },
    }
}

impl Put<'_> {
    /// Whether the image has it as declared.
    pub(super) fn judge(&self, case: &Case<'_>) -> Judged {
        let volume: &dyn Volume = match self.volume {
            VolumeName::Boot => case.boot,
            VolumeName::Root => case.root,
        };
        let path = format!("{}:{}", self.volume, self.path);
        let Some((real, stat)) =
            find(volume, &self.path, Follow::Last)?.filter(|(_, stat)| stat.kind == NodeKind::File)
        else {
            return fails(format!("`{path}` is missing"));
        };
        let inputs = case.node()?.inputs;
        let content = match self.payload {
            Payload::Inline(content) => Some(content),
            Payload::File(file) => inputs.files.get(file),
            // What a template becomes is for the planner to say.
            Payload::Template(_) => None,
        };
        if let Some(content) = content {
            let found = diff::digest(volume, &real).map_err(|e| Stop::Fails(e.to_string()))?;
            holds(found == content.digest().hex(), || {
                format!("`{path}` has other content than is declared")
            })?;
        }
        if self.volume == VolumeName::Boot {
            return Ok(());
        }
        if let Some(mode) = self.attributes.mode {
            holds(stat.mode == mode.0, || {
                format!(
                    "`{path}` has mode {:04o}, and {:04o} is declared",
                    stat.mode, mode.0
                )
            })?;
        }
        if let Some(owner) = self.attributes.owner {
            holds((stat.uid, stat.gid) == (owner.uid, owner.gid), || {
                format!(
                    "`{path}` belongs to {}:{}, and {}:{} is declared",
                    stat.uid, stat.gid, owner.uid, owner.gid
                )
            })?;
        }
        Ok(())
    }
}

fn f057(case: &Case<'_>) -> Judged {
    let all = puts(case)?;
    let ours: Vec<&Put<'_>> = all.iter().filter(|p| p.volume == VolumeName::Root).collect();
    applies(!ours.is_empty())?;
    ours.iter().try_for_each(|put| put.judge(case))
}

/// Files of a folder that the stock image does not have, or has with another text.
fn brought(case: &Case<'_>, dir: &str, ending: &str) -> Result<Vec<(String, String)>, Stop> {
    let mut found = case.texts_below(dir, ending)?;
    if found.is_empty() {
        return Ok(found);
    }
    let (_, stock) = case.stock()?;
    let mut own = Vec::new();
    for (path, text) in found.drain(..) {
        if super::case::text(stock, &path)?.as_deref() != Some(&text) {
            own.push((path, text));
        }
    }
    Ok(own)
}

/// Paragraphs of deb822, each as its fields.
fn paragraphs(text: &str) -> Vec<Vec<(String, String)>> {
    let mut all: Vec<Vec<(String, String)>> = vec![Vec::new()];
    for line in text.lines().filter(|l| !l.starts_with('#')) {
        if line.trim().is_empty() {
            all.push(Vec::new());
        } else if let (Some((key, value)), Some(last)) = (line.split_once(':'), all.last_mut())
            && !line.starts_with([' ', '\t'])
        {
            last.push((key.trim().to_ascii_lowercase(), value.trim().to_owned()));
        } else if let Some((_, value)) = all.last_mut().and_then(|p| p.last_mut()) {
            value.push(' ');
            value.push_str(line.trim());
        }
    }
    all.retain(|p| !p.is_empty());
    all
}

fn f055(case: &Case<'_>) -> Judged {
    let pins = brought(case, "/etc/apt/preferences.d", "")?;
    applies(!pins.is_empty())?;
    for (path, text) in pins {
        for paragraph in paragraphs(&text) {
            let field = |name: &str| paragraph.iter().find(|(k, _)| k == name).map(|(_, v)| v.as_str());
            let (package, pin) = (field("package"), field("pin"));
            holds(package.is_some() && pin.is_some(), || {
                format!("`{path}` has a paragraph without `Package` or `Pin`, which apt passes over")
            })?;
            let priority: i32 = field("pin-priority").and_then(|p| p.parse().ok()).unwrap_or(0);
            holds(priority >= 1000, || {
                format!(
                    "`{path}` pins {} with priority {priority}; only from 1000 on a pin holds against newer versions",
                    package.unwrap_or_default()
                )
            })?;
        }
    }
    Ok(())
}

fn f056(case: &Case<'_>) -> Judged {
    let mut sources = brought(case, "/etc/apt/sources.list.d", ".sources")?;
    let lines = brought(case, "/etc/apt/sources.list.d", ".list")?;
    applies(!sources.is_empty() || !lines.is_empty())?;
    for (path, text) in sources.drain(..) {
        for paragraph in paragraphs(&text) {
            let signed = paragraph.iter().any(|(k, v)| k == "signed-by" && !v.is_empty());
            holds(signed, || format!("`{path}` has a source without `Signed-By`"))?;
        }
    }
    for (path, text) in lines {
        if let Some(line) = plain_lines(&text).find(|l| !l.contains("signed-by=")) {
            return fails(format!("`{path}` has a source without `signed-by`: `{line}`"));
        }
    }
    let keys = brought(case, "/etc/apt/trusted.gpg.d", "")?;
    let global = match keys.first() {
        Some((path, _)) => Some(path.clone()),
        None => {
            let (_, stock) = case.stock()?;
            let path = "/etc/apt/trusted.gpg";
            let here = case.text(path)?;
            (here.is_some() && here != super::case::text(stock, path)?).then(|| path.to_owned())
        }
    };
    match global {
        Some(path) => fails(format!("`{path}` trusts a key for every source")),
        None => Ok(()),
    }
}

fn f061(case: &Case<'_>) -> Judged {
    let node = case.node()?;
    applies(node.view.role() == Role::Router && case.facts.cloud_init.is_some())?;
    for (_, text) in case.texts_below("/etc/cloud/cloud.cfg.d", ".cfg")? {
        let flat: String = text
            .chars()
            .filter(|c| !c.is_whitespace() && *c != '{' && *c != '}')
            .collect();
        if flat.contains("network:config:disabled") {
            return Ok(());
        }
    }
    // Otherwise cloud-init must be told about every interface, so that it invents none.
    let seed = case.facts.cloud_init.as_ref().and_then(|c| c.seed.as_ref());
    let plan = match seed {
        Some(seed) => super::case::text(case.boot, &format!("{}/network-config", seed.dir()))?,
        None => None,
    };
    let Some(plan) = plan.filter(|p| plain_lines(p).next().is_some()) else {
        return fails("cloud-init may set up the router's interfaces: it is neither off nor has it a plan");
    };
    for port in &node.view.ports {
        holds(plan.contains(&port.name), || {
            format!("the plan of cloud-init leaves `{}` to chance", port.name)
        })?;
    }
    Ok(())
}

const MACHINE_ID: &str = "/etc/machine-id";
const DBUS_ID: &str = "/var/lib/dbus/machine-id";

fn f062(case: &Case<'_>) -> Judged {
    let id = case.text(MACHINE_ID)?.unwrap_or_default();
    holds(matches!(id.trim(), "" | "uninitialized"), || {
        format!("`{MACHINE_ID}` holds an id, so that every card of this image is the same machine")
    })?;
    match case.lstat(DBUS_ID)? {
        None => Ok(()),
        Some(stat) => holds(stat.kind == NodeKind::Symlink, || {
            format!("`{DBUS_ID}` is a copy of its own; the boards would share it")
        }),
    }
}

/// The id of HypriotOS 1.4.0 on every card, and those of the images that its successors were published with.
const KNOWN_IDS: [&str; 1] = ["9989a26f06984d6dbadc01770f018e3b"];

fn p01(case: &Case<'_>) -> Judged {
    for path in [MACHINE_ID, DBUS_ID] {
        let text = case.text(path)?.unwrap_or_default();
        if let Some(id) = KNOWN_IDS.iter().find(|id| text.trim() == **id) {
            return fails(format!(
                "`{path}` holds {id}, which every card of HypriotOS 1.4.0 has"
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::paragraphs;

    #[test]
    fn f055_paragraphs_are_told_apart() {
        let found = paragraphs("# x\nPackage: a\nPin: version 1\n\nPackage: b\nKey:\n -----\n abc\n");
        assert_eq!(found.len(), 2);
        assert_eq!(found[1][1], ("key".to_owned(), " ----- abc".to_owned()));
    }
}
