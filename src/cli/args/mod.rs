//! What was typed, checked but not acted on.

mod boot;
mod flash;
mod nodes;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::values::{ByteSize, ImagePath};

pub use boot::{Boot, Until};
pub use flash::{Backup, Devices, Flash, Reconfigure, Writing};
pub use nodes::{Kubeconfig, Reaching, Run, Ssh, Status, Token};

/// Builds SD-card images for Raspberry Pi Kubernetes clusters: one cluster file in, finished cards out.
#[derive(Debug, Parser)]
#[command(
    name = "ceil-img",
    version,
    max_term_width = 100,
    arg_required_else_help = true,
    after_help = "Exit codes: 0 done, 1 failed, refused or different, 2 wrong usage."
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,

    #[command(flatten)]
    pub global: Global,
}

/// Flags of every command.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// Print one JSON object a line on stdout instead of text.
    #[arg(long, global = true)]
    pub json: bool,

    /// No progress and no notes on stderr.
    #[arg(long, short, global = true)]
    pub quiet: bool,

    /// Where downloads and unpacked bases are kept [default: $XDG_CACHE_HOME/ceil-img or ~/.cache/ceil-img].
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = "CEIL_CACHE",
        hide_env_values = true
    )]
    pub cache: Option<PathBuf>,

    /// Open no network connection.
    #[arg(long, global = true)]
    pub offline: bool,

    /// Try URLs that begin with FROM at TO first; may be given several times.
    #[arg(long, global = true, value_name = "FROM=TO", value_parser = mirror)]
    pub mirror: Vec<(String, String)>,
}

/// A pair of URL prefixes.
fn mirror(text: &str) -> Result<(String, String), String> {
    let web = |url: &str| url.starts_with("https://") || url.starts_with("http://");
    match text.split_once('=') {
        Some((from, to)) if web(from) && web(to) => Ok((from.to_owned(), to.to_owned())),
        _ => Err("write two URL prefixes as `https://from/=https://to/`".to_owned()),
    }
}

/// The cluster file and what may be said about it on the command line.
#[derive(Debug, Clone, Args)]
pub struct ClusterArgs {
    /// The cluster file.
    #[arg(long, value_name = "FILE", default_value = "cluster.yaml")]
    pub file: PathBuf,

    /// Use this base instead of the profile's: a catalog name, a URL, a file, or `demo` for a small image made
    /// on the spot, laid out as Raspberry Pi OS trixie but not bootable.
    #[arg(long, value_name = "NAME|URL|PATH")]
    pub base: Option<String>,
}

/// One command.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Build the images of nodes.
    Build(Build),
    /// Write nodes to cards, read them back and compare.
    Flash(Flash),
    /// List the disks that cards may be in.
    Devices(Devices),
    /// Bring a written card to what its node is now, without writing the image again.
    Reconfigure(Reconfigure),
    /// Read a card into an image of what its file systems use.
    Backup(Backup),
    /// Write one card as another process asks; `flash --sudo` starts it.
    #[command(hide = true)]
    FlashWriter,
    /// Boot nodes in an emulator (QEMU), to try a cluster before a card is written.
    Boot(Boot),
    /// Write a complete directory for a new cluster; without SET, list the sets.
    Init(Init),
    /// List, show and compare profiles.
    Profiles(Profiles),
    /// Print the JSON Schema of cluster files or of profiles.
    Schema(SchemaArgs),
    /// Show what `build` would do, without doing it.
    Plan(PlanArgs),
    /// Find what is wrong or unwise in a cluster file; exit code 1 for errors.
    Lint(Lint),
    /// Print the cluster for other programs: ssh, Ansible, Terraform, routers.
    Export(Export),
    /// Take a running cluster apart: add-ons, then agents, then servers.
    Teardown(Teardown),
    /// Find running nodes and say how they are; exit code 1 when one is not ready.
    Status(Status),
    /// Log in to a node, whose planned host key is checked.
    Ssh(Ssh),
    /// Run a command on nodes; exit code 1 when it fails on one.
    Run(Run),
    /// Write the kubeconfig of a cluster.
    Kubeconfig(Kubeconfig),
    /// Print a short-lived token, by default for the web UI.
    Token(Token),
    /// Check or change the secrets of the cluster; no value is ever printed.
    Secrets(Secrets),
    /// Download and verify the bases of nodes, or one base by name or URL.
    Fetch(Fetch),
    /// List the base images of the catalog.
    Images,
    /// List the programs and image archives of the catalog.
    Artifacts(Artifacts),
    /// Show the partition table, file systems and operating system of an image.
    Inspect(Inspect),
    /// List a directory of an image.
    Ls(Ls),
    /// Print a file of an image.
    Cat(Cat),
    /// Copy a file or a directory out of an image.
    Extract(Extract),
    /// Apply an edit list to an image.
    Edit(Edit),
    /// Compare two images by content; exit code 1 when they differ.
    Diff(Diff),
    /// Check the table and the file systems of an image; exit code 1 when something is wrong.
    Check(Check),
    /// Judge an image by the list of features and pitfalls; exit code 1 when a row fails.
    Verify(Verify),
    /// List or clear the cache.
    Cache(Cache),
    /// Print a completion script for a shell.
    Completions(Completions),
}

/// `build`
#[derive(Debug, Args)]
pub struct Build {
    /// Nodes to build.
    #[arg(value_name = "NODE", required_unless_present = "all", conflicts_with = "all")]
    pub nodes: Vec<String>,

    /// Build every node of the cluster.
    #[arg(long)]
    pub all: bool,

    #[command(flatten)]
    pub cluster: ClusterArgs,

    /// Directory for the images.
    #[arg(long, value_name = "DIR", default_value = "out")]
    pub out: PathBuf,

    /// `img`, `img.xz`, `img.zst`, `img.gz`, or `none` for the manifest and digest alone [default: the profile's, else `img`].
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<crate::plan::OutputFormat>,

    /// Read the finished image again: check its file systems, every planned change and every row of `verify`.
    #[arg(long)]
    pub verify: bool,

    /// Refuse inputs that `ceil.lock` does not have.
    #[arg(long)]
    pub locked: bool,
}

/// `plan`
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// The nodes.
    #[arg(value_name = "NODE", required_unless_present = "all", conflicts_with = "all")]
    pub nodes: Vec<String>,

    /// Every node of the cluster, with a table of all before the plans.
    #[arg(long)]
    pub all: bool,

    /// Say what differs from the images that were built last, by their manifests; exit code 2 when something does.
    #[arg(long)]
    pub diff: bool,

    /// With `--diff`, the directory of the images.
    #[arg(long, value_name = "DIR", default_value = "out", requires = "diff")]
    pub out: PathBuf,

    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// `init`
#[derive(Debug, Args)]
pub struct Init {
    /// The set to begin with.
    #[arg(value_name = "SET")]
    pub set: Option<String>,

    /// List the sets.
    #[arg(long, conflicts_with = "set")]
    pub list: bool,

    /// Where to write; made when it is missing [default: a folder of the cluster's name].
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,

    /// Ask nothing: flags and defaults are enough.
    #[arg(long, short)]
    pub yes: bool,

    /// Name of the cluster [default: that of the set].
    #[arg(long, value_name = "NAME")]
    pub name: Option<crate::values::Hostname>,

    /// Domain of the cluster [default: NAME.home.arpa].
    #[arg(long, value_name = "DOMAIN")]
    pub domain: Option<crate::values::Hostname>,

    /// Time zone, such as `Europe/Berlin` [default: UTC].
    #[arg(long, value_name = "ZONE")]
    pub timezone: Option<String>,

    /// Public SSH key, or a file with one [default: the first of ~/.ssh/*.pub].
    #[arg(long, value_name = "FILE|KEY")]
    pub ssh_key: Option<String>,

    /// Login name of the administrator [default: ceil].
    #[arg(long, value_name = "USER")]
    pub user: Option<String>,

    /// Name of the WiFi. Its passphrase is no argument: it is asked for, or stands in secrets.yaml.
    #[arg(long, value_name = "SSID", requires = "wifi_country")]
    pub wifi: Option<String>,

    /// Country whose rules for radio hold, such as `DE`.
    #[arg(long, value_name = "CC")]
    pub wifi_country: Option<String>,

    /// Word size of the system: `arm64` or `armhf` [default: arm64].
    #[arg(long, value_name = "ARCH", value_parser = ["arm64", "armhf"])]
    pub arch: Option<String>,
}

/// `profiles`
#[derive(Debug, Args)]
pub struct Profiles {
    /// What to do; `list` when nothing is said.
    #[command(subcommand)]
    pub action: Option<ProfilesAction>,

    /// The cluster file, whose profiles come first.
    #[arg(long, global = true, value_name = "FILE", default_value = "cluster.yaml")]
    pub file: PathBuf,
}

/// What to do with profiles.
#[derive(Debug, Subcommand)]
pub enum ProfilesAction {
    /// List all profiles: name, what it is, where it is from.
    List,
    /// Print a profile with all that it rests on, every value with its place.
    Show {
        /// The profile.
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Say what would differ if a node used B instead of A; exit code 1 when something does.
    Diff {
        /// The first profile.
        #[arg(value_name = "A")]
        old: String,

        /// The second profile.
        #[arg(value_name = "B")]
        new: String,

        /// The node of the cluster file [default: the first, or a trial node without a cluster file].
        #[arg(long, value_name = "NODE")]
        node: Option<String>,
    },
}

/// `schema`
#[derive(Debug, Args)]
pub struct SchemaArgs {
    /// Of what.
    #[arg(value_name = "WHAT", value_parser = ["cluster", "profile"])]
    pub what: String,
}

/// `export`
#[derive(Debug, Args)]
pub struct Export {
    /// The cluster file.
    #[arg(long, value_name = "FILE", default_value = "cluster.yaml", global = true)]
    pub file: PathBuf,

    /// What to print.
    #[command(subcommand)]
    pub what: ExportWhat,
}

/// `teardown`
#[derive(Debug, Args)]
pub struct Teardown {
    /// The cluster file.
    #[arg(long, value_name = "FILE", default_value = "cluster.yaml")]
    pub file: PathBuf,

    /// Directory with the kubeconfig that `build` wrote.
    #[arg(long, value_name = "DIR", default_value = "out")]
    pub out: PathBuf,

    /// Do it instead of listing the steps. Needs `kubectl`, and `ssh` with a key that the nodes know.
    #[arg(long)]
    pub yes: bool,
}

/// What `export` prints.
#[derive(Debug, Subcommand)]
pub enum ExportWhat {
    /// Host keys for `~/.ssh/known_hosts`, so that the first login is checked, too.
    KnownHosts,
    /// Hosts for `~/.ssh/config`.
    SshConfig {
        /// The file with the host keys.
        #[arg(long, value_name = "FILE")]
        known_hosts: Option<PathBuf>,
    },
    /// Lines for a hosts file.
    Hosts,
    /// An inventory for Ansible.
    Inventory,
    /// Variables for Terraform, as JSON.
    Tfvars {
        /// The kubeconfig of the cluster.
        #[arg(long, value_name = "FILE")]
        kubeconfig: Option<PathBuf>,
    },
    /// What makes another Linux host a node of the cluster, as an archive; prints the command that joins it.
    JoinBundle {
        /// The node of the cluster file that the host is to be; an agent.
        node: String,
        /// The archive, `NODE-join.tar` by default. It holds the token of the cluster.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Reservations of addresses for a router.
    Reservations {
        /// Whose form they have.
        #[arg(long, value_enum, default_value = "dnsmasq")]
        format: ReservationFormat,
    },
    /// Commands that let a workstation reach the LAN behind a router of the cluster.
    Routes {
        /// The router's address towards the workstation, where the cluster file has none.
        #[arg(long, value_name = "ADDRESS")]
        via: Option<std::net::Ipv4Addr>,
    },
    /// The file of a VPN client, with its private key; keep it to yourself.
    Wireguard {
        /// The client; every client when it is left out, which needs `--out`.
        #[arg(value_name = "CLIENT", required_unless_present = "out")]
        client: Option<String>,

        /// A directory for `CLIENT.conf` files that only you may read, instead of printing one.
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
}

/// Forms of reservations.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub enum ReservationFormat {
    /// Lines of dnsmasq.
    Dnsmasq,
    /// Blocks of ISC dhcpd.
    Isc,
    /// Commands of EdgeOS.
    Edgeos,
    /// Comma-separated values.
    Csv,
}

impl From<ReservationFormat> for crate::export::Router {
    fn from(format: ReservationFormat) -> Self {
        match format {
            ReservationFormat::Dnsmasq => Self::Dnsmasq,
            ReservationFormat::Isc => Self::Isc,
            ReservationFormat::Edgeos => Self::EdgeOs,
            ReservationFormat::Csv => Self::Csv,
        }
    }
}

/// `secrets`
#[derive(Debug, Args)]
pub struct Secrets {
    /// The cluster file.
    #[arg(long, value_name = "FILE", default_value = "cluster.yaml", global = true)]
    pub file: PathBuf,

    /// What to do.
    #[command(subcommand)]
    pub action: SecretsAction,
}

/// What `secrets` does.
#[derive(Debug, Subcommand)]
pub enum SecretsAction {
    /// List the secrets that the cluster needs, and whether each is there and well-formed.
    Check,
    /// Make a new value for a secret.
    Rotate {
        /// Its name.
        #[arg(value_name = "NAME")]
        name: String,
    },
}

/// `lint`
#[derive(Debug, Args)]
pub struct Lint {
    /// The cluster file.
    #[arg(long, value_name = "FILE", default_value = "cluster.yaml")]
    pub file: PathBuf,

    /// Exit code 1 for warnings, too.
    #[arg(long)]
    pub deny_warnings: bool,
}

/// `artifacts`
#[derive(Debug, Args)]
pub struct Artifacts {
    /// Only those whose name contains this.
    #[arg(value_name = "NAME")]
    pub name: Option<String>,

    /// The cluster file, beside which `artifacts.yaml` with your own entries may lie.
    #[arg(long, value_name = "FILE", default_value = "cluster.yaml")]
    pub file: PathBuf,
}

/// `fetch`
#[derive(Debug, Args)]
pub struct Fetch {
    /// Nodes whose bases and programs are wanted; all nodes when none is named.
    #[arg(value_name = "NODE")]
    pub nodes: Vec<String>,

    /// Renew `ceil.lock`: ask where inputs come from instead of taking what it says.
    #[arg(long, conflicts_with = "locked")]
    pub update: bool,

    /// Refuse inputs that `ceil.lock` does not have.
    #[arg(long)]
    pub locked: bool,

    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// `inspect`
#[derive(Debug, Args)]
pub struct Inspect {
    /// The image: raw, or compressed (it is then unpacked into the cache); or the device of a card.
    #[arg(value_name = "IMG")]
    pub image: PathBuf,

    /// Explain every byte of the image instead: partition table, and each structure of the file systems with its
    /// fields. The image may be damaged.
    #[arg(long)]
    pub dump: bool,

    /// With `--dump`, the partition of this number alone.
    #[arg(long, value_name = "N", requires = "dump")]
    pub partition: Option<u32>,
}

/// `check`
#[derive(Debug, Args)]
pub struct Check {
    /// The image: raw, or compressed (it is then unpacked into the cache).
    #[arg(value_name = "IMG")]
    pub image: PathBuf,
}

/// `verify`
#[derive(Debug, Args)]
pub struct Verify {
    /// The image: raw, or compressed (it is then unpacked into the cache).
    #[arg(value_name = "IMG")]
    pub image: PathBuf,

    /// The node of the cluster file that the image is for [default: the one that the manifest beside it names].
    #[arg(long, value_name = "NODE")]
    pub node: Option<String>,

    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// `ls`
#[derive(Debug, Args)]
pub struct Ls {
    /// The image.
    #[arg(value_name = "IMG")]
    pub image: PathBuf,

    /// `boot:/…`, `root:/…` or an absolute path as the running system sees it.
    #[arg(value_name = "PATH", default_value = "root:/")]
    pub path: ImagePath,

    /// With everything below.
    #[arg(long, short = 'R')]
    pub recursive: bool,
}

/// `cat`
#[derive(Debug, Args)]
pub struct Cat {
    /// The image.
    #[arg(value_name = "IMG")]
    pub image: PathBuf,

    /// `boot:/…`, `root:/…` or an absolute path as the running system sees it.
    #[arg(value_name = "PATH")]
    pub path: ImagePath,
}

/// `extract`
#[derive(Debug, Args)]
pub struct Extract {
    /// The image.
    #[arg(value_name = "IMG")]
    pub image: PathBuf,

    /// `boot:/…`, `root:/…` or an absolute path as the running system sees it.
    #[arg(value_name = "PATH")]
    pub path: ImagePath,

    /// The file or directory to write; it must not exist.
    #[arg(value_name = "DEST")]
    pub dest: PathBuf,
}

/// `edit`
#[derive(Debug, Args)]
pub struct Edit {
    /// The image to start from: raw, or compressed.
    #[arg(long, value_name = "IN")]
    pub image: PathBuf,

    /// Where the result goes; the ending chooses the format (`.img`, `.img.xz`, `.img.zst`, `.img.gz`).
    #[arg(
        long,
        value_name = "OUT",
        required_unless_present = "in_place",
        conflicts_with = "in_place"
    )]
    pub out: Option<PathBuf>,

    /// Replace the image by the result, in one step, when it is complete.
    #[arg(long)]
    pub in_place: bool,

    /// Bytes to leave free on the root volume.
    #[arg(long, value_name = "SIZE", default_value = "0")]
    pub reserve: ByteSize,

    /// The edit list.
    #[arg(value_name = "EDITS.yaml")]
    pub edits: PathBuf,
}

/// `diff`
#[derive(Debug, Args)]
pub struct Diff {
    /// The first image.
    #[arg(value_name = "A")]
    pub old: PathBuf,

    /// The second image.
    #[arg(value_name = "B")]
    pub new: PathBuf,
}

/// `cache`
#[derive(Debug, Args)]
pub struct Cache {
    /// What to do with it.
    #[command(subcommand)]
    pub action: CacheAction,
}

/// What to do with the cache.
#[derive(Debug, Subcommand)]
pub enum CacheAction {
    /// List what is kept.
    Ls,
    /// Remove what is kept. Nothing that a running program uses is removed.
    #[command(arg_required_else_help = true)]
    Prune {
        /// Everything, partial downloads too.
        #[arg(long, conflicts_with_all = ["keep", "partial"])]
        all: bool,

        /// What was used longest ago, until the rest takes no more than this on the disk.
        #[arg(long, value_name = "SIZE")]
        keep: Option<ByteSize>,

        /// Partial downloads, and what interrupted runs left.
        #[arg(long)]
        partial: bool,
    },
}

/// `completions`
#[derive(Debug, Args)]
pub struct Completions {
    /// The shell.
    #[arg(value_name = "SHELL")]
    pub shell: clap_complete::Shell,
}
