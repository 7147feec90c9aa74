//! Running nodes, seen from the workstation: where one is, what it says of itself, a command on it.
//!
//! This room knows the words of ssh, what a node answers to the probe, leases, mDNS, and the order in which a node is
//! looked for. Sockets and child processes are in [`outside`] alone. It must not know cluster files, private keys, the
//! terminal or the time of day; host keys reach it as a file of public ones.

mod facts;
mod kubernetes;
mod leases;
mod mdns;
pub mod outside;
mod power;
mod search;
mod ssh;

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use crate::values::MacAddr;

pub use facts::{Facts, PROBE, Ready};
pub use kubernetes::{ADMIN_CONFIG, K3S_CONFIG, Kubectl, NoKubeconfig, WEB_UI, token_command, with_server};
pub use leases::{LEASES, Lease, leases, of as lease_of};
pub use power::Power;
pub use search::{Candidate, Network, Search};
pub use ssh::{
    Access, BadPath, configured, connection_was_cut, known_hosts_line, reach, remote_command, stops_the_node,
};

/// A node that is looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Its name in the cluster file.
    pub node: String,
    /// Its host name, which may have a domain already.
    pub hostname: String,
    /// The domain of the cluster.
    pub domain: Option<String>,
    /// Its fixed address, where it has one.
    pub planned: Option<IpAddr>,
    /// Its Ethernet addresses, as far as they are known.
    pub macs: Vec<MacAddr>,
    /// The account to log in to; that of the workstation when it is missing.
    pub user: Option<String>,
    /// Whether its host key was planned, so that another one is the wrong one.
    pub key_known: bool,
}

impl Target {
    /// Names by which the resolver may know it, the full one first.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let full = self
            .domain
            .as_ref()
            .filter(|_| !self.hostname.contains('.'))
            .map(|domain| format!("{}.{domain}", self.hostname));
        full.into_iter().chain([self.hostname.clone()]).collect()
    }

    /// Its host name without a domain.
    #[must_use]
    pub fn short(&self) -> &str {
        self.hostname.split('.').next().unwrap_or_default()
    }
}

/// A way to find the address of a node; the order is that of preference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// The fixed address of the cluster file.
    Address,
    /// The resolver of the workstation.
    Name,
    /// Multicast DNS (RFC 6762).
    Mdns,
    /// The leases of the router.
    Lease,
}

impl Way {
    /// Every way, the best first.
    pub const ALL: [Self; 4] = [Self::Address, Self::Name, Self::Mdns, Self::Lease];

    /// As it is written.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::Name => "name",
            Self::Mdns => "mdns",
            Self::Lease => "lease",
        }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A word that names no way.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no way to find a node; there are `address`, `name`, `mdns` and `lease`")]
pub struct NoWay(String);

impl FromStr for Way {
    type Err = NoWay;

    fn from_str(text: &str) -> Result<Self, NoWay> {
        Self::ALL
            .into_iter()
            .find(|way| way.word() == text)
            .ok_or_else(|| NoWay(text.to_owned()))
    }
}

/// How far a connection to a node got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    /// To the end.
    Ok,
    /// Nothing listens on the port.
    Refused,
    /// The host has another key than the planned one.
    WrongHostKey,
    /// No key was planned, and ssh knows none.
    UnknownHostKey,
    /// Another machine answers; its host name.
    Other(String),
    /// ssh has no key that the account takes.
    Denied,
    /// No way leads there.
    NoRoute,
    /// No answer in time.
    Timeout,
    /// Nothing says which address the node has.
    NoAddress,
    /// Whatever else ssh says.
    Failed(String),
}

impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ok => f.write_str("ok"),
            Self::Refused => f.write_str("refused"),
            Self::WrongHostKey => f.write_str("wrong host key"),
            Self::UnknownHostKey => f.write_str("unknown host key"),
            Self::Other(name) => write!(f, "another host ({name})"),
            Self::Denied => f.write_str("login denied"),
            Self::NoRoute => f.write_str("no route"),
            Self::Timeout => f.write_str("timeout"),
            Self::NoAddress => f.write_str("no address"),
            Self::Failed(why) => write!(f, "failed: {why}"),
        }
    }
}

/// A text from elsewhere on one line, without anything that a terminal acts on.
fn plain(text: &str) -> String {
    let line = text.trim().lines().next().unwrap_or_default();
    line.chars().filter(|c| !c.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_words() {
        let mut target = Target {
            node: "one".to_owned(),
            hostname: "one".to_owned(),
            domain: Some("c.home.arpa".to_owned()),
            planned: None,
            macs: Vec::new(),
            user: None,
            key_known: true,
        };
        assert_eq!(target.names(), ["one.c.home.arpa", "one"]);
        target.hostname = "one.example.org".to_owned();
        assert_eq!(target.names(), ["one.example.org"]);
        assert_eq!(target.short(), "one");
        for way in Way::ALL {
            assert_eq!(way.word().parse(), Ok(way));
        }
        assert!("nmap".parse::<Way>().is_err());
        assert_eq!(plain(" a\u{1b}[31mb\nc"), "a[31mb");
    }
}
