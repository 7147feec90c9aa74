//! What went into an image and what became of it, as JSON beside the image.

use serde::Serialize;

use crate::values::Digest;

/// A thing the image was made of.
#[derive(Debug, Clone, Serialize)]
pub struct Input {
    /// `base` or `artifact`.
    pub role: &'static str,
    /// Catalog name, URL or file name, without the user's directories.
    pub name: String,
    /// The release of an artifact.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The processors that an artifact is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arch: Option<String>,
    /// SHA-256 of the bytes that were used: of the raw image for a base.
    pub digest: Digest,
    /// Their length.
    pub size: u64,
    /// Digest of the file as it was downloaded, where it was compressed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub download_digest: Option<Digest>,
    /// How far the digest can be trusted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verified: Option<String>,
}

/// A path that differs from the base because of an edit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct ChangedPath {
    /// `boot:/…` or `root:/…`.
    pub path: String,
    /// `file`, `directory`, `symlink` or `removed`.
    pub kind: String,
    /// Octal permission bits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// `uid:gid`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Length in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// SHA-256 of the content.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// It holds a secret: size and digest are not told.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub secret: bool,
    /// Target of a symlink.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
}

/// The manifest of one node's image. It holds nothing that depends on when, where or by whom it was built.
#[derive(Debug, Clone, Serialize)]
pub struct Manifest {
    /// `ceil-img` and its version.
    pub tool: String,
    /// Form of this file; raised when a field changes its meaning.
    pub manifest_version: u32,
    /// Cluster name.
    pub cluster: String,
    /// Node name.
    pub node: String,
    /// Digest of the plan.
    pub plan: Digest,
    /// The base and every artifact.
    pub inputs: Vec<Input>,
    /// The image.
    pub image: ImageFacts,
    /// Kernel command line as it is in the image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel_command_line: Option<String>,
    /// Every changed path, sorted.
    pub changes: Vec<ChangedPath>,
}

/// The image that a manifest is of.
#[derive(Debug, Clone, Serialize)]
pub struct ImageFacts {
    /// File name; absent when no file was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// SHA-256 of that file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_digest: Option<Digest>,
    /// SHA-256 of the raw image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub raw_digest: Option<Digest>,
    /// Length of the raw image in bytes.
    pub raw_size: u64,
    /// Bytes of it that matter to a card.
    pub used: u64,
    /// Digest of base and changes together; the same for every output format.
    pub content: Digest,
}

impl Manifest {
    /// The JSON text, with a final newline.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        text
    }
}
