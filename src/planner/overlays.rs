//! Overlays of a node become edits: files, rendered templates, directories, links.

use std::collections::BTreeMap;

use crate::plan::{Attributes, Content, Edit, Op, Origin};
use crate::spec::{At, Inputs, OwnerRules, Settings, TreeEntry, TreeKind};
use crate::values::{ImagePath, ImagePathError, Mode, Owner, VolumeName};

use super::{Names, PlanError};

/// Mode of a file that holds a secret (P25).
const SECRET: Mode = Mode(0o600);

/// The edits of all overlays. Of two that make one path the later overlay counts, and the node's `own` edits come
/// before both.
pub(super) fn edits(
    settings: &Settings,
    inputs: &Inputs,
    names: &Names,
    own: &[Edit],
) -> Result<Vec<Edit>, PlanError> {
    // In the order in which paths first appear, so that parents come before children.
    let mut order: Vec<String> = Vec::new();
    let mut made: BTreeMap<String, Edit> = BTreeMap::new();
    for name in &settings.overlays {
        let tree = inputs
            .overlays
            .get(&name.value)
            .ok_or_else(|| PlanError::not_read(&name.origin, format!("overlay {}", name.value)))?;
        for entry in &tree.entries {
            let place = format!("root:/{}", entry.path);
            let at: ImagePath = place
                .parse()
                .map_err(|e: ImagePathError| PlanError::bad_path(&name.origin, e))?;
            if own.iter().any(|edit| makes(&edit.op, &at)) {
                continue;
            }
            let Some(op) = op(at, entry, &tree.owners, names, name)? else {
                continue;
            };
            let origin = Origin {
                file: format!("overlays/{}", name.value),
                line: 0,
            };
            if !made.contains_key(&place) {
                order.push(place.clone());
            }
            made.insert(place, Edit { op, origin });
        }
    }
    // A directory of which no file came to be is not wanted.
    let files: Vec<&String> = made
        .iter()
        .filter(|(_, e)| !matches!(e.op, Op::Dir { .. }))
        .map(|(place, _)| place)
        .collect();
    let wanted = |place: &str, edit: &Edit| match &edit.op {
        Op::Dir { attributes, .. } => {
            attributes.mode.is_some() || files.iter().any(|f| f.starts_with(&format!("{place}/")))
        }
        _ => true,
    };
    Ok(order
        .iter()
        .filter_map(|place| made.get(place).filter(|edit| wanted(place, edit)).cloned())
        .collect())
}

/// Whether one of `own` makes what `op` makes.
pub(super) fn made_by(own: &[Edit], op: &Op) -> bool {
    match op {
        Op::Put { at, .. } | Op::Symlink { at, .. } => own.iter().any(|edit| makes(&edit.op, at)),
        _ => false,
    }
}

fn makes(op: &Op, at: &ImagePath) -> bool {
    match op {
        Op::Put { at: own, .. } | Op::Symlink { at: own, .. } | Op::Hardlink { at: own, .. } => {
            own.volume != Some(VolumeName::Boot) && own.path() == at.path()
        }
        _ => false,
    }
}

/// What an entry becomes; nothing for a template that renders to white space.
fn op(
    at: ImagePath,
    entry: &TreeEntry,
    owners: &OwnerRules,
    names: &Names,
    overlay: &At<String>,
) -> Result<Option<Op>, PlanError> {
    let (mode, owner) = owners.lookup(&entry.path);
    let put = |content: Content, executable: bool| -> Result<Op, PlanError> {
        let usual = match (content.is_secret(), executable) {
            (true, _) => SECRET,
            (false, true) => Mode(0o755),
            (false, false) => Mode(0o644),
        };
        let mode = mode.unwrap_or(usual);
        if content.is_secret() && mode.0 & 0o077 != 0 {
            return Err(PlanError::Unsupported {
                origin: overlay.origin.clone(),
                why: format!(
                    "`{}` of the overlay `{}` holds a secret, and its mode {mode} lets others read it; 0600 would be right",
                    entry.path, overlay.value
                ),
            });
        }
        Ok(Op::Put {
            at: at.clone(),
            content,
            attributes: Attributes {
                mode: Some(mode),
                owner: Some(owner.unwrap_or_default()),
                mtime: None,
            },
            xattrs: Vec::new(),
            sparse: false,
        })
    };
    Ok(Some(match &entry.kind {
        TreeKind::Dir => Op::Dir {
            at,
            attributes: Attributes {
                mode,
                owner,
                mtime: None,
            },
        },
        TreeKind::Symlink(target) => Op::Symlink {
            at,
            to: target.clone(),
            attributes: Attributes {
                mode: None,
                owner: Some(owner.unwrap_or(Owner::default())),
                mtime: None,
            },
        },
        TreeKind::File { content, executable } => put(content.clone(), *executable)?,
        TreeKind::Template { source, executable } => {
            let content = names.render(&source.file, &source.text, &overlay.origin)?;
            if blank(&content) {
                return Ok(None);
            }
            put(content, *executable)?
        }
    }))
}

fn blank(content: &Content) -> bool {
    match content {
        Content::Inline { bytes, .. } => bytes.iter().all(u8::is_ascii_whitespace),
        Content::File { .. } => false,
    }
}
