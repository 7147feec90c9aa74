//! What may be said to `boot`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::ClusterArgs;
use crate::values::ByteSize;

/// `boot`
#[derive(Debug, Args)]
pub struct Boot {
    /// Nodes to boot.
    #[arg(value_name = "NODE", required_unless_present = "all", conflicts_with = "all")]
    pub nodes: Vec<String>,

    /// Boot every node of the cluster.
    #[arg(long)]
    pub all: bool,

    #[command(flatten)]
    pub cluster: ClusterArgs,

    /// Directory for cards, serial logs, `ssh-config`, `kubeconfig` and `ports`.
    #[arg(long, value_name = "DIR", default_value = "out/boot")]
    pub dir: PathBuf,

    /// End once all nodes are there: `login` at their prompt, `ready` with their first boot done [default: run until
    /// interrupted; `ready` with a COMMAND].
    #[arg(long, value_enum, value_name = "STATE")]
    pub until: Option<Until>,

    /// How long the nodes may take to get there: seconds, or such as `90m`.
    #[arg(long, value_name = "TIME", default_value = "30m", value_parser = duration)]
    pub timeout: Duration,

    /// Go on with the cards of the last run instead of fresh ones, and keep them; a node that had none gets a fresh one.
    #[arg(long)]
    pub resume: bool,

    /// Keep the cards, which hold the secrets of their nodes.
    #[arg(long)]
    pub keep: bool,

    /// Memory of each node [default: 2GiB for servers, 1GiB for others, never more than the board has].
    #[arg(long, value_name = "SIZE")]
    pub memory: Option<ByteSize>,

    /// Processors of each node. Nodes that have together more than this host are slower than with fewer: an emulated
    /// processor that waits for another one waits long.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=8))]
    pub cpus: u16,

    /// Size of each card [default: 8GiB, or more for a larger image].
    #[arg(long, value_name = "SIZE")]
    pub card: Option<ByteSize>,

    /// A disk that the cluster file lists for a node, plugged in beside its card under the id that the file has; may be
    /// given several times. Blank with a size, or with a copy of what a raw image holds; with `--resume` it is that of the
    /// last run.
    #[arg(long, value_name = "NODE:DISK=SIZE|FILE")]
    pub disk: Vec<crate::boot::WantedDisk>,

    /// `virt`, or `raspi3b` or `raspi4b` without network.
    #[arg(long, value_name = "MACHINE", default_value = "virt")]
    pub machine: crate::boot::Kind,

    /// Let the nodes reach the world through this host.
    #[arg(long)]
    pub uplink: bool,

    /// First of the local ports that lead to the nodes [default: free ones].
    #[arg(long, value_name = "PORT")]
    pub ssh_port: Option<u16>,

    /// Another port that is to lead to a node, `NODE:PORT` or `NODE:PORT/udp`, may be given several times; to the
    /// uplink of a node that has one. The local ones are in `ports` in the directory, a line each: `NODE lan|uplink PORT/PROTOCOL LOCAL`.
    #[arg(long, value_name = "NODE:PORT")]
    pub forward: Vec<crate::boot::WantedPort>,

    /// A misfortune to try, may be given several times: `late=NODE:SECONDS`, `power-cut@STEP`, `power-cut@NODE:STEP`,
    /// `reboot@NODE:SECONDS`, `no-uplink`, `clock=DATE`.
    #[arg(long, value_name = "FAULT")]
    pub fault: Vec<crate::boot::Fault>,

    /// What to run once all nodes are there, with KUBECONFIG, CEIL_SSH_CONFIG and CEIL_BOOT_DIR set; its exit code
    /// decides.
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

/// Where nodes are to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Until {
    /// To the login prompt.
    Login,
    /// To the end of the first boot.
    Ready,
}

/// Seconds, or a number with `s`, `m` or `h`.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match &text[digits.len()..] {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => 0,
    };
    match digits.parse::<u64>().ok().and_then(|n| n.checked_mul(factor)) {
        Some(seconds) if seconds > 0 => Ok(Duration::from_secs(seconds)),
        _ => Err("write a number of seconds, or such as `90s`, `30m` or `2h`".to_owned()),
    }
}
