//! What is typed for nodes that run.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::remote::{Way, outside};

/// How running nodes are found and reached.
#[derive(Debug, Clone, Args)]
pub struct Reaching {
    /// The cluster file.
    #[arg(long, value_name = "FILE", default_value = "cluster.yaml")]
    pub file: PathBuf,

    /// A file for `ssh -F` that has the nodes as hosts: addresses, ports and accounts come from it. Planned host keys
    /// are checked all the same.
    #[arg(long, value_name = "FILE")]
    pub ssh_config: Option<PathBuf>,

    /// Ways to find a node; those that are given are tried in this order.
    #[arg(
        long,
        value_name = "WAY",
        value_delimiter = ',',
        default_value = "address,name,mdns,lease"
    )]
    pub find: Vec<Way>,

    /// Port of SSH.
    #[arg(long, value_name = "PORT", default_value_t = 22, value_parser = clap::value_parser!(u16).range(1..))]
    pub port: u16,

    /// This machine's own address in the network that is asked by mDNS [default: those that the nodes are reached by].
    #[arg(long, value_name = "ADDRESS")]
    pub interface: Option<Ipv4Addr>,

    /// Whom mDNS asks; tests have no multicast.
    #[arg(long, value_name = "ADDRESS:PORT", hide = true, default_value_t = outside::MDNS)]
    pub mdns: SocketAddr,
}

/// A number of seconds, minutes or hours, such as `60s`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "write a number with a unit: `60s`, `5m`, `1h`".to_owned();
    let unit = match text.chars().next_back() {
        Some('s') => 1,
        Some('m') => 60,
        Some('h') => 3600,
        _ => return Err(wrong()),
    };
    let digits = &text[..text.len() - 1];
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(wrong());
    }
    let number: u32 = digits.parse().map_err(|_| wrong())?;
    match u64::from(number) * unit {
        0 => Err(wrong()),
        seconds => Ok(Duration::from_secs(seconds)),
    }
}

/// `status`
#[derive(Debug, Args)]
pub struct Status {
    /// The nodes; every node when none is named.
    #[arg(value_name = "NODE", conflicts_with = "all")]
    pub nodes: Vec<String>,

    /// Every node of the cluster file.
    #[arg(long)]
    pub all: bool,

    /// How long the whole command may take.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration)]
    pub timeout: Duration,

    #[command(flatten)]
    pub reaching: Reaching,
}

/// `ssh`
#[derive(Debug, Args)]
pub struct Ssh {
    /// The node.
    #[arg(value_name = "NODE")]
    pub node: String,

    /// A command with its arguments, which arrive as given, instead of a shell.
    #[arg(value_name = "COMMAND", last = true)]
    pub command: Vec<String>,

    #[command(flatten)]
    pub reaching: Reaching,
}

/// `run`
#[derive(Debug, Args)]
pub struct Run {
    /// The nodes.
    #[arg(
        long,
        value_name = "NODE",
        value_delimiter = ',',
        required_unless_present = "all",
        conflicts_with = "all"
    )]
    pub on: Vec<String>,

    /// Every node of the cluster file.
    #[arg(long)]
    pub all: bool,

    /// As root.
    #[arg(long)]
    pub sudo: bool,

    /// On how many nodes at once.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..))]
    pub parallel: u16,

    /// The command with its arguments, which arrive as given; for pipes and the like, `sh -c '…'`.
    #[arg(
        value_name = "COMMAND",
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    pub command: Vec<String>,

    #[command(flatten)]
    pub reaching: Reaching,
}

/// `kubeconfig`
#[derive(Debug, Args)]
pub struct Kubeconfig {
    /// Which cluster of the file [default: the file's own].
    #[arg(value_name = "CLUSTER")]
    pub cluster: Option<String>,

    /// Where it goes, for your eyes alone; `-` prints it [default: `kubeconfig`, or `kubeconfig-CLUSTER` of another than
    /// the file's own].
    #[arg(long, short, value_name = "FILE")]
    pub out: Option<PathBuf>,

    /// Copy the administrator's from the first server instead of making it from the secrets of the cluster.
    #[arg(long)]
    pub fetch: bool,

    #[command(flatten)]
    pub reaching: Reaching,
}

/// `token`
#[derive(Debug, Args)]
pub struct Token {
    /// The service account [default: `headlamp-viewer`, which the add-on `headlamp` makes].
    #[arg(value_name = "SERVICEACCOUNT")]
    pub account: Option<String>,

    /// Its namespace [default: `headlamp`, or `kube-system` of an account that is named].
    #[arg(long, value_name = "NAME")]
    pub namespace: Option<String>,

    /// How long it counts.
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = duration)]
    pub duration: Duration,

    /// Which cluster of the file [default: the file's own].
    #[arg(long, value_name = "CLUSTER")]
    pub cluster: Option<String>,

    #[command(flatten)]
    pub reaching: Reaching,
}
