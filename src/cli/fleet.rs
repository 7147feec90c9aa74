//! Running nodes of a cluster file, as `status`, `ssh`, `run`, `kubeconfig --fetch` and `token` reach them.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use super::args::Reaching;
use super::context::Context;
use super::message::Failure;
use super::plan::{read_settings, select};
use super::secrets::host_keys;
use crate::export;
use crate::planner::{self, View};
use crate::remote::outside::{self, Ended, Sockets};
use crate::remote::{self, Access, Candidate, Kubectl, Lease, Network, Reach, Search, Target, Way};
use crate::spec::{ClusterSpec, Distribution, Role};
use crate::values::{DigestKind, Hasher};

/// How long a connection may take, at most.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a node is looked for before a command runs on it.
pub const FIND: Duration = Duration::from_secs(20);

/// A node.
#[derive(Debug)]
pub struct Member {
    /// What it is looked for by.
    pub target: Target,
    role: Role,
    cluster: String,
}

impl Member {
    /// Name of its cluster.
    pub fn cluster(&self) -> &str {
        &self.cluster
    }
}

/// The nodes of a cluster file and how they are reached.
#[derive(Debug)]
pub struct Fleet {
    /// Set by Ctrl-C, or when nobody reads what is printed.
    pub cancel: Arc<AtomicBool>,
    /// The cluster file.
    pub spec: ClusterSpec,
    members: Vec<Member>,
    ways: BTreeSet<Way>,
    access: Access,
    sockets: Sockets,
    leases: OnceLock<Vec<Lease>>,
}

/// What a node that is looked for has come to.
#[derive(Debug)]
pub struct Place {
    /// Its address; `None` where a file of the user has it.
    pub ip: Option<IpAddr>,
    /// How it was found; `None` where it is in a file of the user.
    pub way: Option<Way>,
}

impl Fleet {
    /// Reads the cluster file and the host keys that were planned.
    ///
    /// # Errors
    /// `--offline`, or a file is wrong.
    pub fn open(context: &Context, args: &Reaching, patience: Duration) -> Result<Self, Failure> {
        if context.offline {
            return Err(Failure::new(
                "running nodes cannot be reached with `--offline`, which opens no connection",
            ));
        }
        let (spec, inputs) = read_settings(context, &args.file)?;
        let views = planner::views(&spec, &inputs)?;
        let (keys, missing) = host_keys(&args.file, &spec, &inputs)?;
        if !missing.is_empty() {
            context.note(&format!(
                "{} host keys are not made yet, so that ssh itself decides whom it trusts; `build` makes them",
                missing.len()
            ));
        }
        let lines: String = keys
            .iter()
            .map(|(node, key)| remote::known_hosts_line(node, key.public("").trim_end()))
            .collect();
        let members: Vec<Member> = views
            .iter()
            .map(|view| Member {
                target: target(&spec, view, keys.contains_key(view.spec.name.as_str())),
                role: view.role(),
                cluster: view.cluster.clone(),
            })
            .collect();
        let interfaces = match args.interface {
            Some(own) => vec![own],
            None => interfaces(&spec, &members),
        };
        let patience = patience.min(PATIENCE);
        Ok(Self {
            cancel: Arc::clone(&context.cancel),
            members,
            ways: args.find.iter().copied().collect(),
            access: Access {
                config: args.ssh_config.clone(),
                known_hosts: (!lines.is_empty())
                    .then(|| known_hosts(&context.cache, &lines))
                    .transpose()?,
                port: (args.port != 22).then_some(args.port),
                batch: true,
                terminal: false,
                patience: Some(patience.as_secs().max(1)),
            },
            sockets: Sockets {
                port: args.port,
                patience,
                mdns: args.mdns,
                interfaces,
            },
            spec,
            leases: OnceLock::new(),
        })
    }

    /// The nodes of these names, in the order in which they are given; all when none is.
    ///
    /// # Errors
    /// There is none of a name.
    pub fn members(&self, names: &[String]) -> Result<Vec<&Member>, Failure> {
        let nodes = select(&self.spec, names)?;
        Ok(nodes
            .iter()
            .filter_map(|node| self.members.iter().find(|m| m.target.node == node.name.as_str()))
            .collect())
    }

    /// The first server of a cluster of the file and the kubectl that it has.
    ///
    /// # Errors
    /// There is no such cluster, or it has no server.
    pub fn first_server(&self, cluster: Option<&str>) -> Result<(&Member, Kubectl), Failure> {
        let kubernetes = self.spec.kubernetes.as_ref().map(|k| k.distribution.value);
        let kubectl = match kubernetes {
            Some(Distribution::K3s) => Kubectl::K3s,
            Some(Distribution::Kubeadm) => Kubectl::Own,
            _ => return Err(no_kubernetes(&self.spec)),
        };
        let mut servers = self.members.iter().filter(|m| m.role == Role::Server);
        let mut clusters: Vec<&str> = Vec::new();
        for server in servers.clone() {
            if !clusters.contains(&server.cluster.as_str()) {
                clusters.push(&server.cluster);
            }
        }
        let name = choose_cluster(&self.spec, &clusters, cluster)?;
        servers
            .find(|m| m.cluster == name)
            .map(|m| (m, kubectl))
            .ok_or_else(|| no_kubernetes(&self.spec))
    }

    /// Words for ssh to a node; those of a command follow.
    ///
    /// # Errors
    /// The cache has a path that ssh cannot be told.
    pub fn words(
        &self,
        member: &Member,
        ip: Option<IpAddr>,
        command: &[String],
    ) -> Result<Vec<OsString>, Failure> {
        self.with_access(&self.access, member, ip, command)
    }

    /// The same for a person: ssh may ask, and gives a terminal where there is one.
    ///
    /// # Errors
    /// As [`Fleet::words`].
    pub fn words_for_person(
        &self,
        member: &Member,
        ip: Option<IpAddr>,
        command: &[String],
        terminal: bool,
    ) -> Result<Vec<OsString>, Failure> {
        let access = Access {
            batch: false,
            patience: None,
            terminal,
            ..self.access.clone()
        };
        self.with_access(&access, member, ip, command)
    }

    fn with_access(
        &self,
        access: &Access,
        member: &Member,
        ip: Option<IpAddr>,
        command: &[String],
    ) -> Result<Vec<OsString>, Failure> {
        let mut words = access
            .words(&member.target, ip)
            .map_err(|e| Failure::from(e).hint("choose another cache with `--cache DIR`"))?;
        if !command.is_empty() {
            words.push(remote::remote_command(command)?.into());
        }
        Ok(words)
    }

    /// Runs a command on a node and gives what it printed.
    ///
    /// # Errors
    /// ssh cannot be started.
    pub fn call(
        &self,
        member: &Member,
        ip: Option<IpAddr>,
        command: &[&str],
        input: &str,
        deadline: Instant,
    ) -> Result<Ended, Failure> {
        let command: Vec<String> = command.iter().map(|word| (*word).to_owned()).collect();
        let words = self.words(member, ip, &command)?;
        outside::ssh(&words, input.as_bytes(), deadline, &self.cancel).map_err(no_ssh)
    }

    /// Address and port in the user's file for ssh.
    pub fn configured(&self, member: &Member, deadline: Instant) -> Option<String> {
        let file = self.access.config.as_ref()?;
        let words = [
            "-F".into(),
            file.into(),
            "-G".into(),
            "--".into(),
            (&member.target.node).into(),
        ];
        let ended = outside::ssh(&words, b"", deadline, &self.cancel).ok()?;
        remote::configured(&ended.stdout)
    }

    /// Whether a file of the user says where nodes are.
    pub fn is_configured(&self) -> bool {
        self.access.config.is_some()
    }

    /// Hands the addresses that a node may have to `each`, the best first, until it is content.
    pub fn search<T>(
        &self,
        member: &Member,
        deadline: Instant,
        mut each: impl FnMut(Candidate) -> Option<T>,
    ) -> Option<T> {
        let network: Arc<dyn Network> = Arc::new(self.sockets.clone());
        // Half of the time is for those that must be asked afterwards.
        let half = Instant::now() + deadline.saturating_duration_since(Instant::now()) / 2;
        let leases = || self.leases(deadline).to_vec();
        Search::begin(&network, &member.target, &self.ways, &leases, half).find_map(&mut each)
    }

    /// Where a node can be reached.
    ///
    /// # Errors
    /// Nowhere, with all that was tried.
    pub fn locate(&self, member: &Member, deadline: Instant) -> Result<Place, Failure> {
        if self.is_configured() {
            return Ok(Place { ip: None, way: None });
        }
        let mut tried: Vec<String> = Vec::new();
        let place = self.search(member, deadline, |candidate| {
            if candidate.reach == Reach::Ok {
                return Some(Place {
                    ip: Some(candidate.ip),
                    way: Some(candidate.way),
                });
            }
            tried.push(format!(
                "{} (by {}): {}",
                candidate.ip, candidate.way, candidate.reach
            ));
            None
        });
        place.ok_or_else(|| {
            let why = if tried.is_empty() {
                "nothing says which address it has".to_owned()
            } else {
                tried.join(", ")
            };
            Failure::new(format!("node `{}` is not reached: {why}", member.target.node))
                .hint("`ceil-img status` looks for all nodes")
        })
    }

    /// What the routers have leased; each is asked once.
    fn leases(&self, deadline: Instant) -> &[Lease] {
        self.leases.get_or_init(|| {
            let routers = self.members.iter().filter(|m| m.role == Role::Router);
            routers
                .flat_map(|router| {
                    let ways = self
                        .ways
                        .iter()
                        .copied()
                        .filter(|way| *way != Way::Lease)
                        .collect();
                    let network: Arc<dyn Network> = Arc::new(self.sockets.clone());
                    let mut places = Search::begin(&network, &router.target, &ways, &Vec::new, deadline);
                    let place = places.find(|candidate| candidate.reach == Reach::Ok);
                    let command: Vec<&str> = ["cat"].into_iter().chain(remote::LEASES).collect();
                    // One of the two files is missing, so the exit code says nothing.
                    let ended =
                        place.and_then(|at| self.call(router, Some(at.ip), &command, "", deadline).ok());
                    ended.map_or_else(Vec::new, |ended| remote::leases(&ended.stdout))
                })
                .collect()
        })
    }
}

/// The cluster that is meant: the one that is named, else the file's own, else the only one.
///
/// # Errors
/// It is not among those that there are.
pub fn choose_cluster<'c>(
    spec: &'c ClusterSpec,
    clusters: &[&'c str],
    wanted: Option<&'c str>,
) -> Result<&'c str, Failure> {
    let own = spec.name.as_str();
    match (wanted, clusters) {
        (_, []) => Err(no_kubernetes(spec)),
        (Some(name), _) if clusters.contains(&name) => Ok(name),
        (Some(name), _) => Err(Failure::new(format!(
            "{}: there is no cluster `{name}` with a server",
            spec.file
        ))
        .hint(format!("its clusters are {}", clusters.join(", ")))),
        (None, _) if clusters.contains(&own) => Ok(own),
        (None, [only]) => Ok(only),
        (None, _) => Err(
            Failure::new(format!("{}: several clusters could be meant", spec.file))
                .hint(format!("name one of {}", clusters.join(", "))),
        ),
    }
}

fn no_kubernetes(spec: &ClusterSpec) -> Failure {
    Failure::new(format!("{}: no node is a server of Kubernetes", spec.file))
        .hint("set `kubernetes: {distribution: k3s}` and give one node `role: server`")
}

/// ssh cannot be started.
pub fn no_ssh(error: io::Error) -> Failure {
    Failure::from(error)
        .while_doing("cannot run `ssh`")
        .hint("it comes with OpenSSH, on Debian in the package `openssh-client`")
}

fn target(spec: &ClusterSpec, view: &View<'_>, key_known: bool) -> Target {
    Target {
        node: view.spec.name.to_string(),
        hostname: view.spec.hostname.to_string(),
        domain: spec.domain.as_ref().map(ToString::to_string),
        planned: view.ip(),
        macs: view.ports.iter().filter_map(|port| port.mac).collect(),
        user: export::user(view).map(str::to_owned),
        key_known,
    }
}

/// Own addresses in the networks that the nodes may be in: towards the planned ones, the gateway and everybody.
fn interfaces(spec: &ClusterSpec, members: &[Member]) -> Vec<std::net::Ipv4Addr> {
    let planned = members.iter().filter_map(|m| m.target.planned);
    let towards: BTreeSet<IpAddr> = planned
        .chain(spec.network.gateway)
        .chain([outside::MDNS.ip()])
        .collect();
    let own: BTreeSet<_> = towards
        .iter()
        .filter_map(|ip| crate::values::ipv4(*ip))
        .filter_map(outside::own_address_towards)
        .collect();
    own.into_iter().collect()
}

/// The file with the planned host keys, in the cache under the digest of its content: public keys, which ssh reads after
/// this program has become it.
fn known_hosts(cache: &Path, lines: &str) -> Result<PathBuf, Failure> {
    let mut hasher = Hasher::new(DigestKind::Sha256);
    hasher.update(lines.as_bytes());
    let dir = std::path::absolute(cache.join("ssh"))?;
    let path = dir.join(format!("{}.known_hosts", hasher.finish().hex()));
    let told = |e: io::Error| Failure::from(e).while_doing(format!("cannot write `{}`", path.display()));
    if fs::read(&path).is_ok_and(|there| there == lines.as_bytes()) {
        return Ok(path);
    }
    fs::create_dir_all(&dir).map_err(told)?;
    // Two runs at once write the same bytes, each to a name of its own.
    let part = dir.join(format!(".{}.part", std::process::id()));
    fs::write(&part, lines)
        .and_then(|()| fs::rename(&part, &path))
        .map_err(told)?;
    Ok(path)
}
