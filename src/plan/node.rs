use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

use crate::values::{Arch, ByteSize, Digest, Hostname, Timestamp, shown_url};

use super::{Edit, Origin, Wishes};

/// Where a base image comes from. Shown without the secrets that an address may hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BasePlace {
    /// A name of the catalog.
    Name(String),
    /// An `http` or `https` address.
    Url(String),
    /// A file of the host.
    Path(PathBuf),
}

impl fmt::Display for BasePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(text) => f.write_str(text),
            Self::Url(url) => f.write_str(&shown_url(url)),
            Self::Path(path) => write!(f, "{}", path.display()),
        }
    }
}

/// A base image as a profile, a node or the command line names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseRef {
    /// Where it is.
    pub place: BasePlace,
    /// SHA-256 of the file as it is downloaded.
    pub sha256: Option<Digest>,
    /// SHA-512 of the file as it is downloaded.
    pub sha512: Option<Digest>,
    /// SHA-256 of the decompressed image.
    pub raw_sha256: Option<Digest>,
    /// Where a list of checksums is published.
    pub checksum_url: Option<String>,
    /// Where it was asked for.
    pub origin: Origin,
}

/// How a node gets its address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// From a DHCP server, as every base does by itself.
    Dhcp,
    /// A fixed one.
    Static(StaticAddress),
}

/// A fixed address on one interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaticAddress {
    /// The interface, `eth0` by default.
    pub interface: String,
    /// The address.
    pub ip: IpAddr,
    /// Length of the network prefix in bits.
    pub prefix: u8,
    /// Default gateway.
    pub gateway: Option<IpAddr>,
    /// Name servers.
    pub dns: Vec<IpAddr>,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dhcp => f.write_str("dhcp"),
            Self::Static(s) => write!(f, "{}/{}", s.ip, s.prefix),
        }
    }
}

/// Who a node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The host name.
    pub hostname: Hostname,
    /// Domain of the cluster.
    pub domain: Option<Hostname>,
    /// cloud-init's instance id: cluster, node and 12 hex digits of the plan's digest (P02), so that a card with
    /// another plan runs its first boot again.
    pub instance_id: String,
    /// The address.
    pub address: Address,
}

/// What is written besides the manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OutputFormat {
    /// The raw image.
    #[default]
    Img,
    /// Compressed with xz.
    ImgXz,
    /// Compressed with zstd.
    ImgZst,
    /// Compressed with gzip.
    ImgGz,
    /// No image: plan, edit and digest only.
    None,
}

impl OutputFormat {
    /// All formats with their names.
    pub const ALL: [(&'static str, Self); 5] = [
        ("img", Self::Img),
        ("img.xz", Self::ImgXz),
        ("img.zst", Self::ImgZst),
        ("img.gz", Self::ImgGz),
        ("none", Self::None),
    ];
}

impl fmt::Display for OutputFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Img => "img",
            Self::ImgXz => "img.xz",
            Self::ImgZst => "img.zst",
            Self::ImgGz => "img.gz",
            Self::None => "none",
        })
    }
}

/// Why a text is not an [`OutputFormat`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an output format; write `img`, `img.xz`, `img.zst`, `img.gz` or `none`")]
pub struct OutputFormatError(pub String);

impl FromStr for OutputFormat {
    type Err = OutputFormatError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .iter()
            .find(|(name, _)| *name == text)
            .map(|(_, format)| *format)
            .ok_or_else(|| OutputFormatError(text.to_owned()))
    }
}

/// A program, or an archive of container images, that goes into the image of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// Its name in the catalog of artifacts.
    pub name: String,
    /// The release.
    pub version: String,
    /// For which processors.
    pub arch: Arch,
    /// Where it comes from.
    pub url: String,
    /// SHA-256 of the file as it is downloaded, where it is known beforehand.
    pub sha256: Option<Digest>,
    /// Length of the file as it is downloaded, in bytes, where it is known beforehand.
    pub size: Option<u64>,
    /// Where it goes: paths of files, and of folders with a `/` at the end.
    pub to: Vec<String>,
    /// Where it was asked for.
    pub origin: Origin,
}

/// What will be done for one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodePlan {
    /// Name of the cluster.
    pub cluster: String,
    /// Name of the node, and of its output files.
    pub node: String,
    /// Name of its profile.
    pub profile: String,
    /// What it is for, by the word of the cluster file.
    pub role: &'static str,
    /// Where the node was asked for.
    pub origin: Origin,
    /// The base image.
    pub base: BaseRef,
    /// Edits in the order in which they are carried out, without those that depend on the base.
    pub edits: Vec<Edit>,
    /// Programs and archives of images that are brought before the image is made.
    pub programs: Vec<Program>,
    /// Who the node is.
    pub identity: Identity,
    /// What it should be, by the mechanisms of its base.
    pub wishes: Wishes,
    /// Space that must be free on the root volume after all edits.
    pub reserve: ByteSize,
    /// The build epoch: the time that every new file gets.
    pub epoch: Timestamp,
    /// What is written.
    pub output: OutputFormat,
    /// SHA-256 over everything that decides the image: not host paths, not the output format.
    pub digest: Digest,
}

/// What will be done for every node of a cluster, in the order of the cluster file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterPlan {
    /// Name of the cluster.
    pub cluster: String,
    /// The nodes.
    pub nodes: Vec<NodePlan>,
}
