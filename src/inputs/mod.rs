//! The only reading of what the user wrote: cluster file, profiles, payload files, overlay trees, templates.
//!
//! This room knows files of the host and their digests. It must not know images, devices or the network.

mod debs;
mod hash;
mod overlays;
mod profiles;
mod secrets;
mod tree;

use std::collections::BTreeSet;
use std::collections::btree_map::Entry;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

pub use hash::{DigestMemo, NoMemo};
pub use profiles::{all_profiles, profile_names};
pub use secrets::{Resolver, SecretFile};

use crate::plan::Origin;
use crate::report::Reporter;
use crate::spec::{
    At, ClusterSpec, EditSpec, Inputs, NodeSpec, Payload, Resolved, Settings, SpecError, Tree, TreeEntry,
    TreeKind, Wish, host_path, image_archive, key_file, parse_cluster, parse_edits, parse_owners,
    resolve_node,
};

/// The name of an owner file in the root of an overlay tree.
pub const OWNERS_FILE: &str = ".ceil-owners";

/// Longest text file that is read into memory, in bytes.
const MAX_TEXT: u64 = 4 << 20;

/// What went wrong while reading inputs.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// A mistake in a text.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// A file that was asked for cannot be read.
    #[error("{}cannot read `{}`", place(.origin.as_ref()), .path.display())]
    Read {
        /// Who asked for it; `None` for a file of the command line.
        origin: Option<Origin>,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file that is there, but not what is wanted.
    #[error("{}`{}` {why}", place(.origin.as_ref()), .path.display())]
    Unfit {
        /// Who asked for it.
        origin: Option<Origin>,
        /// The file.
        path: PathBuf,
        /// What is wrong and what would be right.
        why: String,
    },
    /// The file of secrets cannot be written.
    #[error("cannot write `{}`", .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A name that stands for nothing.
    #[error("{origin}: there is no {kind} `{name}`{advice}")]
    Unknown {
        /// Who asked for it.
        origin: Origin,
        /// What it should be.
        kind: &'static str,
        /// The name.
        name: String,
        /// The nearest name, and the names that exist.
        advice: String,
    },
    /// A node names a profile that is nowhere.
    #[error("{origin}: there is no profile `{name}`{advice}")]
    NoProfile {
        /// Who asked for it.
        origin: Origin,
        /// The name.
        name: String,
        /// The nearest name, the names that exist, and where they were looked for.
        advice: String,
    },
}

fn place(origin: Option<&Origin>) -> String {
    origin.map_or(String::new(), |origin| format!("{origin}: "))
}

/// What reading may use: a memory of digests, and someone to tell progress to.
#[derive(Clone, Copy)]
pub struct Reading<'a> {
    /// Digests of files that did not change since.
    pub memo: &'a dyn DigestMemo,
    /// Told about hashing.
    pub reporter: &'a dyn Reporter,
}

impl std::fmt::Debug for Reading<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Reading")
    }
}

/// Reads a cluster file.
///
/// # Errors
/// [`InputError`] with file, line and column.
pub fn read_cluster(path: &Path) -> Result<ClusterSpec, InputError> {
    let text = read_text(path, None)?;
    Ok(parse_cluster(&path.display().to_string(), &text)?)
}

/// Reads the profiles of a cluster, and everything that those of `nodes` name.
///
/// # Errors
/// [`InputError`] for the first file, in the order of the plan, that is missing, unreadable or wrong.
pub fn read_inputs(
    cluster: &ClusterSpec,
    nodes: &[&NodeSpec],
    reading: Reading<'_>,
) -> Result<Inputs, InputError> {
    let mut inputs = Inputs::default();
    // Nodes name each other in their files, so the settings of all are known, whichever are asked for.
    for node in &cluster.nodes {
        profiles::read(cluster, &node.profile, &node.profile_origin, &mut inputs.profiles)?;
    }
    for node in &cluster.nodes {
        let resolved = resolve_node(cluster, node, &inputs.profiles)?;
        inputs.nodes.insert(node.name.to_string(), resolved);
    }
    let wanted: Vec<&Resolved> = nodes
        .iter()
        .filter_map(|node| inputs.nodes.get(node.name.as_str()))
        .collect();
    let edits: Vec<EditSpec> = wanted.iter().flat_map(|r| r.edits.clone()).collect();
    let settings: Vec<Settings> = wanted.iter().map(|r| r.settings.clone()).collect();
    let folder = dir_of(Path::new(&cluster.file));
    for settings in &settings {
        for name in &settings.overlays {
            if !inputs.overlays.contains_key(&name.value) {
                let tree = overlays::read(folder, name, reading)?;
                inputs.overlays.insert(name.value.clone(), tree);
            }
        }
        add_addons(folder, settings, &mut inputs)?;
        for key in settings.users.values().flat_map(|u| &u.ssh_keys) {
            if let Some(path) = key_file(key)
                && !inputs.keys.contains_key(&path)
            {
                let text = read_text(&path, Some(&key.origin))?;
                inputs.keys.insert(path, text);
            }
        }
    }
    read_payloads(&edits, &mut inputs, reading)?;
    let mut carried: Vec<(PathBuf, Origin)> = Vec::new();
    for image in settings.iter().flat_map(|s| &s.images) {
        carried.extend(image_archive(image).map(|path| (path, image.origin.clone())));
    }
    for entry in settings.iter().flat_map(|s| &s.debs) {
        if let Entry::Vacant(place) = inputs.debs.entry(host_path(entry)) {
            let files = debs::files(entry, place.key())?;
            carried.extend(files.iter().map(|path| (path.clone(), entry.origin.clone())));
            place.insert(files);
        }
    }
    let mut seen = BTreeSet::new();
    carried.retain(|(path, _)| !inputs.files.contains_key(path) && seen.insert(path.clone()));
    inputs.files.extend(hash::contents(&carried, reading)?);
    Ok(inputs)
}

/// Reads the manifests of the add-ons of all nodes.
///
/// # Errors
/// As [`read_inputs`].
pub fn read_addons(cluster: &ClusterSpec, inputs: &mut Inputs) -> Result<(), InputError> {
    let all: Vec<Settings> = inputs.nodes.values().map(|node| node.settings.clone()).collect();
    let folder = dir_of(Path::new(&cluster.file));
    all.iter()
        .try_for_each(|settings| add_addons(folder, settings, inputs))
}

/// Reads an overlay that no node has.
///
/// # Errors
/// As [`read_inputs`].
pub fn read_overlay(
    cluster: &ClusterSpec,
    name: &str,
    inputs: &mut Inputs,
    reading: Reading<'_>,
) -> Result<(), InputError> {
    let folder = dir_of(Path::new(&cluster.file));
    let asked = At {
        value: name.to_owned(),
        origin: Origin {
            file: cluster.file.clone(),
            line: 0,
        },
    };
    let tree = overlays::read(folder, &asked, reading)?;
    inputs.overlays.insert(name.to_owned(), tree);
    Ok(())
}

fn add_addons(folder: &Path, settings: &Settings, inputs: &mut Inputs) -> Result<(), InputError> {
    for name in &settings.addons {
        if !inputs.addons.contains_key(&name.value) {
            inputs
                .addons
                .insert(name.value.clone(), overlays::read_addon(folder, name)?);
        }
    }
    Ok(())
}

/// Reads a stand-alone file of edits and everything that it names.
///
/// # Errors
/// As [`read_inputs`].
pub fn read_edits(path: &Path, reading: Reading<'_>) -> Result<(Vec<EditSpec>, Inputs), InputError> {
    let text = read_text(path, None)?;
    let edits = parse_edits(&path.display().to_string(), &text)?;
    let mut inputs = Inputs::default();
    read_payloads(&edits, &mut inputs, reading)?;
    Ok((edits, inputs))
}

/// The folder of a file, empty for one in the working directory.
fn dir_of(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new(""))
}

fn read_text(path: &Path, origin: Option<&Origin>) -> Result<String, InputError> {
    let error = |source| InputError::Read {
        origin: origin.cloned(),
        path: path.to_owned(),
        source,
    };
    let unfit = |why: String| InputError::Unfit {
        origin: origin.cloned(),
        path: path.to_owned(),
        why,
    };
    let meta = fs::metadata(path).map_err(error)?;
    if !meta.is_file() {
        return Err(unfit("is not a regular file".to_owned()));
    }
    if meta.len() > MAX_TEXT {
        return Err(unfit(format!(
            "is {} bytes long; a text of this kind has {MAX_TEXT} at most",
            meta.len()
        )));
    }
    let bytes = fs::read(path).map_err(error)?;
    String::from_utf8(bytes).map_err(|e| {
        let line = e.as_bytes()[..e.utf8_error().valid_up_to()]
            .iter()
            .filter(|b| **b == b'\n')
            .count()
            + 1;
        unfit(format!("is not UTF-8 text (line {line})"))
    })
}

/// Reads what edits name. Every file is hashed once, however often it is named.
fn read_payloads(edits: &[EditSpec], inputs: &mut Inputs, reading: Reading<'_>) -> Result<(), InputError> {
    let mut seen = BTreeSet::new();
    let mut files: Vec<(PathBuf, Origin)> = Vec::new();
    let mut walks: Vec<(PathBuf, tree::Walk)> = Vec::new();
    for edit in edits {
        match &edit.wish {
            Wish::Put { payload, .. } | Wish::Append { payload, .. } => match payload {
                Payload::File(path) => {
                    if seen.insert(path.clone()) {
                        files.push((path.clone(), edit.origin.clone()));
                    }
                }
                Payload::Template(path) => {
                    if !inputs.templates.contains_key(path) {
                        let text = read_text(path, Some(&edit.origin))?;
                        inputs.templates.insert(path.clone(), text);
                    }
                }
                Payload::Inline(_) => {}
            },
            Wish::Tree { from, .. } => {
                if walks.iter().any(|(root, _)| root == from) {
                    continue;
                }
                let walk = tree::walk(from, &edit.origin)?;
                for entry in &walk.entries {
                    if matches!(entry.kind, tree::Found::File { .. }) {
                        let path = from.join(&entry.path);
                        if seen.insert(path.clone()) {
                            files.push((path, edit.origin.clone()));
                        }
                    }
                }
                walks.push((from.clone(), walk));
            }
            Wish::Op(_) => {}
        }
    }
    for (path, content) in hash::contents(&files, reading)? {
        inputs.files.insert(path, content);
    }
    for (root, walk) in walks {
        let tree = finish_tree(&root, walk, inputs)?;
        inputs.trees.insert(root, tree);
    }
    Ok(())
}

fn finish_tree(root: &Path, walk: tree::Walk, inputs: &Inputs) -> Result<Tree, InputError> {
    let mut tree = Tree::default();
    if walk.has_owners {
        let path = root.join(OWNERS_FILE);
        tree.owners = parse_owners(&path.display().to_string(), &read_text(&path, None)?)?;
    }
    for entry in walk.entries {
        let kind = match entry.kind {
            tree::Found::Dir => TreeKind::Dir,
            tree::Found::Symlink(target) => TreeKind::Symlink(target),
            tree::Found::File { executable } => {
                let path = root.join(&entry.path);
                let content = inputs.files.get(&path).cloned();
                TreeKind::File {
                    content: content.ok_or(InputError::Unfit {
                        origin: None,
                        path,
                        why: "was not hashed".to_owned(),
                    })?,
                    executable,
                }
            }
        };
        tree.entries.push(TreeEntry {
            path: entry.path,
            kind,
        });
    }
    Ok(tree)
}
