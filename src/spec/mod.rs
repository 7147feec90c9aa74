//! What the user wrote, checked: the cluster file, profiles and lists of edits.
//!
//! Every function here is pure: text in, values out. Payload files, overlay trees and templates are only named;
//! [`crate::inputs`] reads them into [`Inputs`].
//!
//! ```yaml
//! # cluster.yaml
//! cluster: {name: ceil, domain: ceil.internal}
//! network: {gateway: 10.11.0.1, dns: [10.11.0.1]}    # for nodes with a fixed address
//! profiles: [profiles]                               # folders, searched before the built-in profiles
//! epoch: 2025-01-01                                  # the time of every new file
//! nodes:
//!   - {name: one, profile: demo, address: 10.11.0.101/24}
//!   - {name: two, profile: demo, address: dhcp, hostname: ceil-two, base: ./other.img.xz}
//! ```
//!
//! ```yaml
//! # profiles/demo.yaml
//! base: {url: "https://example.org/os.img.xz", sha256: 9ebe1529…}
//! kernel-args: {add: [cgroup_enable=memory], remove: [quiet]}
//! config-txt: [{section: all, set: {gpu_mem: 16}}]
//! edits:
//!   - {put: "root:/etc/motd", content: "hello\n", mode: "0644", owner: "0:0"}
//!   - {tree: "root:/", from: ../overlays/base}
//! reserve: 64MiB
//! output: {format: img.xz}
//! ```
//!
//! This room knows the file formats of ours. It must not know
//! images or the network, and it reads no file.

mod cluster;
mod crew;
mod de;
mod edits;
mod inputs;
mod keys;
mod merge;
mod owners;
mod profile;
mod reader;
mod schema;
mod secrets;
mod sections;
mod settings;
mod show;
mod time;
pub mod yaml;

pub use crate::values::Arch as Architecture;
pub use cluster::{ClusterSpec, Network, NodeSpec, parse_cluster, read_cidr};
pub use de::At;
pub use edits::{EditSpec, Payload, Wish, parse_edits};
pub use inputs::{Inputs, Text, Tree, TreeEntry, TreeKind};
pub use keys::{host_path, image_archive, key_file};
pub use owners::{OwnerRule, OwnerRules, parse_owners};
pub use profile::{FIRST_BOOT, Profile, Resolved, parse_base, parse_profile, resolve_node, resolve_profile};
pub(crate) use reader::{list_words, nearest};
pub use schema::{cluster_schema, profile_schema};
pub use secrets::{parse_secrets, with_secrets};
pub use sections::{Distribution, KubernetesSpec, RegistriesSpec, SecretKind, WifiSpec};
pub use settings::{
    DiskSettings, FirewallSettings, InterfaceSettings, KubeletSettings, Purpose, Role, Settings, SshSettings,
    SwapSettings, UserSettings,
};
pub use show::{flat, show};
pub use time::{TimeError, parse_time};

use std::fmt;

use yaml::Mark;

/// A mistake in a file of the user's, with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpecError {
    /// The file as the user named it.
    pub file: String,
    /// Where in it.
    pub mark: Mark,
    /// The key that leads there, such as `nodes[1].hostname`; empty at the top.
    pub key: String,
    /// What is wrong and what would be right.
    pub message: String,
}

impl SpecError {
    pub(crate) fn new(file: &str, mark: Mark, key: &str, message: &str) -> Self {
        Self {
            file: file.to_owned(),
            mark,
            key: key.to_owned(),
            message: message.to_owned(),
        }
    }
}

impl fmt::Display for SpecError {
    /// `cluster.yaml:7:5: nodes[1].hostname: …`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: ", self.file, self.mark.line, self.mark.column)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for SpecError {}

#[cfg(test)]
mod mistakes;
