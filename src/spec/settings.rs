//! What profiles, the cluster's `defaults` and nodes may say: one vocabulary for all three.

use std::collections::BTreeMap;
use std::net::IpAddr;

use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{At, SecretKind};
use crate::board::Board;
use crate::values::{Arch, ByteSize, MacAddr};

/// A part that the readers of edits and bases read; here only its key is known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
pub struct Elsewhere(IgnoredAny);

/// Settings of a node. Maps of a profile, the profiles that it extends and the node itself are merged key by key,
/// lists are appended (or replaced, written as `{replace: [...]}`), of everything else the later counts.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Settings {
    /// One sentence about it.
    pub description: Option<String>,
    /// Base image: a name of the catalog, an address, a path, or a map with checksums.
    #[schemars(schema_with = "super::schema::base")]
    pub base: Elsewhere,
    /// Words of the kernel command line: `add` and `remove`.
    #[schemars(schema_with = "super::schema::kernel_args")]
    pub kernel_args: Elsewhere,
    /// Settings of config.txt by section.
    #[schemars(schema_with = "super::schema::list")]
    pub config_txt: Elsewhere,
    /// Edits of the image, in order.
    #[schemars(schema_with = "super::schema::list")]
    pub edits: Elsewhere,
    /// What is written: `{format: img}`.
    #[schemars(schema_with = "super::schema::output")]
    pub output: Elsewhere,
    /// Space that stays free on the root volume.
    pub reserve: Option<ByteSize>,
    /// What the node is for.
    pub role: Option<At<Role>>,
    /// The board, with its memory where that matters: `pi4b:8GiB`.
    pub board: Option<At<Board>>,
    /// Word size of the system: which programs are injected.
    pub arch: Option<At<Arch>>,
    /// Network interfaces by name.
    pub interfaces: BTreeMap<String, At<InterfaceSettings>>,
    /// Time zone, such as `Europe/Berlin`.
    pub timezone: Option<String>,
    /// Locale, such as `en_GB.UTF-8`.
    pub locale: Option<String>,
    /// Keyboard layout, such as `gb`.
    pub keyboard: Option<String>,
    /// Accounts by login name.
    pub users: BTreeMap<String, At<UserSettings>>,
    /// The SSH server.
    pub ssh: SshSettings,
    /// Packages that the first boot installs.
    pub packages: Vec<String>,
    /// Files of packages (`.deb`), or folders of them, that the card brings along: installed without a network.
    pub debs: Vec<At<String>>,
    /// Whether the first boot upgrades packages.
    pub upgrade: Option<bool>,
    /// Swap.
    pub swap: Option<At<SwapSettings>>,
    /// Kernel parameters.
    pub sysctl: BTreeMap<String, String>,
    /// Kernel modules to load at boot.
    pub modules: Vec<String>,
    /// Units of systemd: `enabled`, `masked`, or the target that wants them.
    pub units: BTreeMap<String, String>,
    /// File trees by name, from `overlays/` beside the cluster file or built in, laid over the root in this order.
    pub overlays: Vec<At<String>>,
    /// Whether the node has the steps of the first boot and their log; yes for every role but `helper`. Without them
    /// kubeadm's nodes do not join by themselves.
    pub first_boot: Option<bool>,
    /// Programs by name, from the catalog of artifacts, with a version as `helm@3.18.4` where it matters.
    pub artifacts: Vec<At<String>>,
    /// Container images that are put on the card, as names of the catalog of artifacts or paths of archives.
    pub images: Vec<At<String>>,
    /// Add-ons by name that the first server applies.
    pub addons: Vec<At<String>>,
    /// Labels that the node registers with.
    pub labels: BTreeMap<String, At<String>>,
    /// Taints that the node registers with, as `key=value:Effect`.
    pub taints: Vec<At<String>>,
    /// Data disks by name.
    pub disks: BTreeMap<String, At<DiskSettings>>,
    /// Firewall of the node.
    pub firewall: FirewallSettings,
    /// Services on the node, each with settings of its own (docs/services.md).
    pub services: BTreeMap<String, At<BTreeMap<String, serde_json::Value>>>,
    /// Settings of the kubelet.
    pub kubelet: KubeletSettings,
    /// Name of the cluster that the node belongs to, where one file has several; the file's name by default.
    pub cluster: Option<At<String>>,
    /// Secrets that the node's templates use, besides those of Kubernetes, each with its kind.
    pub secrets: BTreeMap<String, At<SecretKind>>,
    /// Allows what everybody knows: default passwords, releases without support.
    pub legacy: Option<bool>,
    /// Numbers of findings of `lint` that are known and wanted, such as `P16`.
    pub accept: Vec<String>,
}

impl Settings {
    /// All keys, as the cluster file has them.
    #[must_use]
    pub fn keys() -> &'static [&'static str] {
        let mut keys = Keys(&[]);
        // The only thing that is wanted are the names that serde's own code asks for.
        let _ = Self::deserialize(&mut keys);
        keys.0
    }
}

struct Keys(&'static [&'static str]);

impl<'de> serde::Deserializer<'de> for &mut Keys {
    type Error = serde::de::value::Error;

    fn deserialize_any<V: serde::de::Visitor<'de>>(self, _: V) -> Result<V::Value, Self::Error> {
        Err(serde::de::Error::custom("only the keys are wanted"))
    }

    fn deserialize_struct<V: serde::de::Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        self.0 = fields;
        self.deserialize_any(visitor)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

/// What a node is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Gateway between the cluster's network and the world.
    Router,
    /// Control plane of Kubernetes.
    Server,
    /// Worker of Kubernetes.
    Agent,
    /// Serves files to the cluster.
    Storage,
    /// Serves a database.
    Db,
    /// Serves container images.
    Registry,
    /// Anything else.
    Helper,
}

impl Role {
    /// The word of the cluster file.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Router => "router",
            Self::Server => "server",
            Self::Agent => "agent",
            Self::Storage => "storage",
            Self::Db => "db",
            Self::Registry => "registry",
            Self::Helper => "helper",
        }
    }

    /// Whether it runs a kubelet.
    #[must_use]
    pub const fn in_cluster(self) -> bool {
        matches!(self, Self::Server | Self::Agent)
    }
}

/// A network interface.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct InterfaceSettings {
    /// `dhcp`, or an address with its prefix such as `10.11.0.1/25`.
    pub address: Option<At<String>>,
    /// What it is for; the first one for the cluster carries the node's `address`.
    #[serde(rename = "use")]
    pub purpose: Option<Purpose>,
    /// Gateway instead of the network's; `none` for none.
    pub gateway: Option<At<String>>,
    /// Name servers instead of the network's.
    pub dns: Option<Vec<IpAddr>>,
    /// Ethernet address, for reservations.
    pub mac: Option<At<MacAddr>>,
    /// WiFi to join, by its name in the cluster file.
    pub wifi: Option<At<String>>,
    /// Whether the boot goes on without it.
    pub optional: Option<bool>,
    /// Whether the radio saves power; off by default.
    pub power_save: Option<bool>,
}

/// What an interface is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Purpose {
    /// Traffic of the cluster.
    Cluster,
    /// The way out.
    Uplink,
    /// The router's side towards the nodes; it carries the node's `address` too.
    Lan,
}

impl Purpose {
    /// The word of the cluster file.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Cluster => "cluster",
            Self::Uplink => "uplink",
            Self::Lan => "lan",
        }
    }
}

/// An account.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct UserSettings {
    /// Full name.
    pub gecos: Option<String>,
    /// Groups besides its own.
    pub groups: Vec<String>,
    /// Rule for sudo, such as `ALL=(ALL) NOPASSWD:ALL`.
    pub sudo: Option<String>,
    /// Login shell, `/bin/bash` by default.
    pub shell: Option<String>,
    /// Public keys, each as a line of `authorized_keys` or the path of a file of such lines.
    pub ssh_keys: Vec<At<String>>,
    /// Name of the secret that is its password; without one the password is locked.
    pub password: Option<At<String>>,
}

/// The SSH server.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct SshSettings {
    /// Whether it runs.
    pub enabled: Option<bool>,
    /// Whether passwords log in.
    pub password_login: Option<bool>,
    /// Whether its host key is made at build, so that it is known before the first login.
    pub host_key: Option<bool>,
}

/// What becomes of swap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SwapSettings {
    /// None.
    Off,
    /// The base's own stays; pods may use a part of it.
    Limited,
    /// Compressed memory of this size.
    Zram(ByteSize),
}

/// A data disk.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct DiskSettings {
    /// Name below `/dev/disk/by-id`.
    pub id: Option<String>,
    /// UUID of its file system.
    pub uuid: Option<String>,
    /// Label of its file system.
    pub label: Option<String>,
    /// Where it is mounted.
    pub mount: Option<String>,
    /// File system, `ext4` by default.
    pub fs: Option<String>,
    /// What it is for, in words.
    pub purpose: Option<String>,
    /// Serial number of the disk that may be wiped once, as consent; without it a disk with data is left alone.
    pub wipe: Option<String>,
    /// Size of a file on the root volume that plays the disk, instead of a disk.
    pub file: Option<ByteSize>,
}

impl DiskSettings {
    /// The file system that is said, else the default.
    #[must_use]
    pub fn file_system(&self) -> &str {
        self.fs.as_deref().unwrap_or("ext4")
    }
}

/// Firewall of a node.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct FirewallSettings {
    /// Openings such as `22/tcp`, with `@lan`, `@uplink` or `@vpn` for one side alone.
    pub open: Vec<At<String>>,
}

/// Settings of the kubelet.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct KubeletSettings {
    /// Memory kept for the system, such as `200Mi`.
    pub system_reserved_memory: Option<String>,
    /// Pods are evicted when less memory than this is free, such as `100Mi`.
    pub eviction_memory: Option<String>,
    /// Further arguments by name.
    pub args: BTreeMap<String, String>,
}
