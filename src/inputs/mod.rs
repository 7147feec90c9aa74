//! The only reading of what the user wrote: cluster file, profiles, payload files, overlay trees, templates.
//!
//! This room knows files of the host and their digests. It must not know images, devices or the network.

mod hash;
mod secrets;
mod tree;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

pub use hash::{DigestMemo, NoMemo};
pub use secrets::{Resolver, SecretFile};

use crate::plan::Origin;
use crate::report::Reporter;
use crate::spec::{
    ClusterSpec, EditSpec, Inputs, NodeSpec, Payload, Profile, SpecError, Tree, TreeEntry, TreeKind, Wish,
    list_words, nearest, parse_cluster, parse_edits, parse_owners, parse_profile,
};

/// Profiles that are compiled in; a file of the same name in a profile folder comes first.
pub const BUILT_IN: [(&str, &str); 2] = [
    ("demo", include_str!("../../profiles/demo.yaml")),
    ("minimal", include_str!("../../profiles/minimal.yaml")),
];

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
    Ok(parse_cluster(&path.display().to_string(), dir_of(path), &text)?)
}

/// Reads the profiles of `nodes` and everything that these name.
///
/// # Errors
/// [`InputError`] for the first file, in the order of the plan, that is missing, unreadable or wrong.
pub fn read_inputs(
    cluster: &ClusterSpec,
    nodes: &[&NodeSpec],
    reading: Reading<'_>,
) -> Result<Inputs, InputError> {
    let mut inputs = Inputs::default();
    for node in nodes {
        if !inputs.profiles.contains_key(&node.profile) {
            let profile = read_profile(cluster, node)?;
            inputs.profiles.insert(node.profile.clone(), profile);
        }
    }
    let edits: Vec<EditSpec> = inputs.profiles.values().flat_map(|p| p.edits.clone()).collect();
    read_payloads(&edits, &mut inputs, reading)?;
    Ok(inputs)
}

/// Reads a stand-alone file of edits and everything that it names.
///
/// # Errors
/// As [`read_inputs`].
pub fn read_edits(path: &Path, reading: Reading<'_>) -> Result<(Vec<EditSpec>, Inputs), InputError> {
    let text = read_text(path, None)?;
    let edits = parse_edits(&path.display().to_string(), dir_of(path), &text)?;
    let mut inputs = Inputs::default();
    read_payloads(&edits, &mut inputs, reading)?;
    Ok((edits, inputs))
}

/// The folder of a file, empty for one in the working directory.
fn dir_of(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new(""))
}

/// The names of all profiles that a cluster can use, sorted, each with the file it is from.
///
/// # Errors
/// [`InputError::Read`] when a folder is there but cannot be listed.
pub fn profile_names(cluster: &ClusterSpec) -> Result<BTreeMap<String, String>, InputError> {
    let mut names = BTreeMap::new();
    for dir in &cluster.profiles {
        let listing = match fs::read_dir(dir) {
            Ok(listing) => listing,
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            Err(source) => {
                return Err(InputError::Read {
                    origin: None,
                    path: dir.clone(),
                    source,
                });
            }
        };
        for entry in listing {
            let entry = entry.map_err(|source| InputError::Read {
                origin: None,
                path: dir.clone(),
                source,
            })?;
            let name = entry.file_name();
            if let Some(name) = name.to_str().and_then(|n| n.strip_suffix(".yaml")) {
                names
                    .entry(name.to_owned())
                    .or_insert_with(|| entry.path().display().to_string());
            }
        }
    }
    for (name, _) in BUILT_IN {
        names
            .entry(name.to_owned())
            .or_insert_with(|| built_in_file(name));
    }
    Ok(names)
}

fn built_in_file(name: &str) -> String {
    format!("<built-in>/{name}.yaml")
}

fn read_profile(cluster: &ClusterSpec, node: &NodeSpec) -> Result<Profile, InputError> {
    let name = &node.profile;
    for dir in &cluster.profiles {
        let path = dir.join(format!("{name}.yaml"));
        match read_text(&path, Some(&node.profile_origin)) {
            Ok(text) => return Ok(parse_profile(&path.display().to_string(), dir, &text)?),
            Err(InputError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
    }
    if let Some((_, text)) = BUILT_IN.iter().find(|(n, _)| n == name) {
        return Ok(parse_profile(&built_in_file(name), Path::new(""), text)?);
    }
    let known = profile_names(cluster)?;
    let hint = nearest(name, known.keys().map(String::as_str));
    let searched: String = cluster
        .profiles
        .iter()
        .map(|d| format!("`{}`, ", d.display()))
        .collect();
    Err(InputError::NoProfile {
        origin: node.profile_origin.clone(),
        name: name.clone(),
        advice: format!(
            "{}; the profiles are {} (searched: {searched}built-in)",
            hint.map_or(String::new(), |n| format!(", did you mean `{n}`?")),
            list_words(known.keys().map(String::as_str)),
        ),
    })
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
