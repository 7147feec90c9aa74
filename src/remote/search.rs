//! The order in which a node is looked for.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use super::{Lease, Reach, Target, Way, lease_of};

/// What a search asks of the network. Every call ends by itself within a few seconds, but for the resolver of the
/// system, for which nobody waits longer than the search has time.
pub trait Network: Send + Sync + 'static {
    /// Addresses of a name, by the resolver of the workstation.
    fn resolve(&self, name: &str) -> Vec<IpAddr>;
    /// Addresses of a name that ends in `.local`, by multicast.
    fn multicast(&self, name: &str) -> Vec<IpAddr>;
    /// How far a connection to the port of SSH gets.
    fn connect(&self, ip: IpAddr) -> Reach;
}

/// An address that a node may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The address.
    pub ip: IpAddr,
    /// How it was found.
    pub way: Way,
    /// Whether something listens there.
    pub reach: Reach,
}

/// The addresses that a node may have, the best way first, each once. All ways but the leases begin at once and are
/// waited for only when the better ones gave nothing that the caller stays with; leases are read when the others are
/// used up, for that needs the router.
pub struct Search<'a> {
    network: Arc<dyn Network>,
    target: Target,
    ways: VecDeque<Way>,
    ready: VecDeque<Candidate>,
    found: BTreeMap<Way, Vec<Candidate>>,
    arrivals: Receiver<(Way, Vec<Candidate>)>,
    seen: BTreeSet<IpAddr>,
    leases: &'a dyn Fn() -> Vec<Lease>,
    deadline: Instant,
}

impl std::fmt::Debug for Search<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Search")
            .field("target", &self.target)
            .finish_non_exhaustive()
    }
}

impl<'a> Search<'a> {
    /// Begins to look for a node in these ways, until the deadline.
    pub fn begin(
        network: &Arc<dyn Network>,
        target: &Target,
        ways: &BTreeSet<Way>,
        leases: &'a dyn Fn() -> Vec<Lease>,
        deadline: Instant,
    ) -> Self {
        let (sender, arrivals) = mpsc::channel();
        for way in ways.iter().copied().filter(|way| *way != Way::Lease) {
            let (network, target, sender) = (Arc::clone(network), target.clone(), sender.clone());
            // A thread that hangs in the resolver ends with the program.
            std::thread::spawn(move || {
                let found = candidates(&network, way, addresses(&*network, &target, way));
                // Whoever has found the node already does not listen any more.
                let _ = sender.send((way, found));
            });
        }
        Self {
            network: Arc::clone(network),
            target: target.clone(),
            ways: ways.iter().copied().collect(),
            ready: VecDeque::new(),
            found: BTreeMap::new(),
            arrivals,
            seen: BTreeSet::new(),
            leases,
            deadline,
        }
    }

    /// What one way found; nothing when it did not find it in time.
    fn of(&mut self, way: Way) -> Vec<Candidate> {
        if way == Way::Lease {
            let ip = lease_of(&(self.leases)(), &self.target);
            let new = ip.filter(|ip| !self.seen.contains(ip));
            return candidates(&self.network, way, new.into_iter().collect());
        }
        loop {
            if let Some(found) = self.found.remove(&way) {
                return found;
            }
            let left = self.deadline.saturating_duration_since(Instant::now());
            match self.arrivals.recv_timeout(left.max(Duration::from_millis(1))) {
                Ok((way, found)) => self.found.insert(way, found),
                Err(_) => return Vec::new(),
            };
        }
    }
}

impl Iterator for Search<'_> {
    type Item = Candidate;

    fn next(&mut self) -> Option<Candidate> {
        loop {
            if let Some(candidate) = self.ready.pop_front() {
                if self.seen.insert(candidate.ip) {
                    return Some(candidate);
                }
                continue;
            }
            let way = self.ways.pop_front()?;
            self.ready = self.of(way).into();
        }
    }
}

fn addresses(network: &dyn Network, target: &Target, way: Way) -> Vec<IpAddr> {
    match way {
        Way::Address => target.planned.into_iter().collect(),
        Way::Name => {
            let names = target.names();
            names.iter().flat_map(|name| network.resolve(name)).collect()
        }
        Way::Mdns => network.multicast(&format!("{}.local", target.short())),
        Way::Lease => Vec::new(),
    }
}

/// Tries all addresses at once: one that is silent costs no more time than ten.
fn candidates(network: &Arc<dyn Network>, way: Way, ips: Vec<IpAddr>) -> Vec<Candidate> {
    let mut seen = BTreeSet::new();
    let trials: Vec<_> = ips
        .into_iter()
        .filter(|ip| seen.insert(*ip))
        .map(|ip| {
            let network = Arc::clone(network);
            (ip, std::thread::spawn(move || network.connect(ip)))
        })
        .collect();
    trials
        .into_iter()
        .map(|(ip, trial)| Candidate {
            ip,
            way,
            reach: trial
                .join()
                .unwrap_or_else(|_| Reach::Failed("the connection was given up".to_owned())),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// A network in which the names are known, and every address but `10.0.0.9` answers.
    struct Known;

    impl Network for Known {
        fn resolve(&self, name: &str) -> Vec<IpAddr> {
            match name {
                "one.c" => vec!["10.0.0.9".parse().unwrap(), "10.0.0.2".parse().unwrap()],
                "one" => vec!["10.0.0.2".parse().unwrap()],
                _ => {
                    std::thread::sleep(Duration::from_secs(5));
                    Vec::new()
                }
            }
        }

        fn multicast(&self, name: &str) -> Vec<IpAddr> {
            assert_eq!(name, "one.local");
            vec!["10.0.0.3".parse().unwrap()]
        }

        fn connect(&self, ip: IpAddr) -> Reach {
            if ip.to_string() == "10.0.0.9" {
                Reach::Timeout
            } else {
                Reach::Ok
            }
        }
    }

    fn target(planned: Option<&str>) -> Target {
        Target {
            node: "one".to_owned(),
            hostname: "one".to_owned(),
            domain: Some("c".to_owned()),
            planned: planned.map(|ip| ip.parse().unwrap()),
            macs: Vec::new(),
            user: None,
            key_known: false,
        }
    }

    /// F161, P15: the fixed address, then names, mDNS and leases; the router is asked only when nothing else is left.
    #[test]
    fn f161_p15_ways_in_their_order() {
        let network: Arc<dyn Network> = Arc::new(Known);
        let asked = Cell::new(0);
        let leases = || {
            asked.set(asked.get() + 1);
            vec![Lease {
                mac: None,
                ip: "10.0.0.4".parse().unwrap(),
                name: Some("one".to_owned()),
            }]
        };
        let soon = Instant::now() + Duration::from_secs(60);
        let all = Way::ALL.into_iter().collect();
        let found = |target: &Target, ways: &BTreeSet<Way>| -> Vec<String> {
            Search::begin(&network, target, ways, &leases, soon)
                .map(|c| format!("{} {} {}", c.way, c.ip, c.reach))
                .collect()
        };
        assert_eq!(
            found(&target(Some("10.0.0.1")), &all),
            [
                "address 10.0.0.1 ok",
                "name 10.0.0.9 timeout",
                "name 10.0.0.2 ok",
                "mdns 10.0.0.3 ok",
                "lease 10.0.0.4 ok"
            ]
        );
        assert_eq!(found(&target(None), &[Way::Mdns].into()), ["mdns 10.0.0.3 ok"]);
        asked.set(0);
        let target = target(Some("10.0.0.1"));
        let mut search = Search::begin(&network, &target, &all, &leases, soon);
        let mut open = search.by_ref().filter(|c| c.reach == Reach::Ok);
        assert_eq!(open.next().map(|c| c.way), Some(Way::Address));
        assert_eq!(open.next().map(|c| c.way), Some(Way::Name));
        assert_eq!(asked.get(), 0);
    }

    /// F161: a resolver that hangs costs the time that there is, and no more.
    #[test]
    fn f161_nobody_waits_beyond_the_deadline() {
        let network: Arc<dyn Network> = Arc::new(Known);
        let mut target = target(None);
        target.hostname = "hangs".to_owned();
        let begin = Instant::now();
        let deadline = begin + Duration::from_millis(100);
        let ways = [Way::Name].into();
        assert!(
            Search::begin(&network, &target, &ways, &Vec::new, deadline)
                .next()
                .is_none()
        );
        assert!(begin.elapsed() < Duration::from_secs(3));
    }
}
