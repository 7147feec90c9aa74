use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::plan::{Content, Program};

use super::{OwnerRules, Profile, Resolved};
use crate::secrets::Secret;

/// Everything that a cluster file, its profiles or a list of edits name, read once: what the planner works from.
#[derive(Debug, Clone, Default)]
pub struct Inputs {
    /// Profiles by name.
    pub profiles: BTreeMap<String, Profile>,
    /// Settings of nodes, by name, with everything merged.
    pub nodes: BTreeMap<String, Resolved>,
    /// Overlays by name.
    pub overlays: BTreeMap<String, Tree>,
    /// Manifests of add-ons by name.
    pub addons: BTreeMap<String, Text>,
    /// Files of public keys by their path on the host.
    pub keys: BTreeMap<PathBuf, String>,
    /// Secrets by name, those that were asked for.
    pub secrets: BTreeMap<String, Secret>,
    /// Programs and archives of images by the name of the node that they are for.
    pub programs: BTreeMap<String, Vec<Program>>,
    /// Payload files, hashed, by their path on the host.
    pub files: BTreeMap<PathBuf, Content>,
    /// Files of packages by the path of the entry of `debs` that stands for them.
    pub debs: BTreeMap<PathBuf, Vec<PathBuf>>,
    /// Texts of templates by their path on the host.
    pub templates: BTreeMap<PathBuf, String>,
    /// Overlay trees by their path on the host.
    pub trees: BTreeMap<PathBuf, Tree>,
}

/// A text and the file it is from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// The file as the user named it.
    pub file: String,
    /// Its content.
    pub text: String,
}

/// One overlay tree.
#[derive(Debug, Clone, Default)]
pub struct Tree {
    /// What is in it, parents before children, sorted by bytes.
    pub entries: Vec<TreeEntry>,
    /// Rules of its `.ceil-owners`, if there is one.
    pub owners: OwnerRules,
}

/// One name in an overlay tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeEntry {
    /// Path below the root of the tree, without a leading slash.
    pub path: String,
    /// What it is.
    pub kind: TreeKind,
}

/// What an overlay tree may hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TreeKind {
    /// A directory.
    Dir,
    /// A symbolic link with its target.
    Symlink(String),
    /// A regular file.
    File {
        /// Its bytes.
        content: Content,
        /// Whether its owner may execute it: mode 0755 instead of 0644.
        executable: bool,
    },
    /// A template, in overlays alone; its path has no `.j2`.
    Template {
        /// Its text.
        source: Text,
        /// As for files.
        executable: bool,
    },
}
