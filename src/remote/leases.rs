//! Leases of a router's dnsmasq.

use std::net::IpAddr;

use super::Target;
use crate::values::MacAddr;

/// Where dnsmasq keeps its leases: on Debian, and elsewhere. The router's configuration names no other place.
pub const LEASES: [&str; 2] = ["/var/lib/misc/dnsmasq.leases", "/var/lib/dnsmasq/dnsmasq.leases"];

/// One lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Whose it is; of IPv6 there is none.
    pub mac: Option<MacAddr>,
    /// What was leased.
    pub ip: IpAddr,
    /// The name that the host gave.
    pub name: Option<String>,
}

/// Reads the file: a line is `EXPIRY MAC ADDRESS NAME CLIENT-ID`, with `*` for what is not known. Other lines are left
/// out.
#[must_use]
pub fn leases(text: &str) -> Vec<Lease> {
    text.lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            words.next()?.parse::<u64>().ok()?;
            let (mac, ip, name) = (words.next()?, words.next()?, words.next()?);
            // Hardware other than Ethernet stands in front, as in `06-aa:bb:…`.
            let mac = mac.rsplit_once('-').map_or(mac, |(_, mac)| mac);
            Some(Lease {
                mac: mac.parse().ok(),
                ip: ip.parse().ok()?,
                name: (name != "*").then(|| name.to_owned()),
            })
        })
        .collect()
}

/// The address of a node: by its Ethernet address, else by its host name.
#[must_use]
pub fn of(leases: &[Lease], target: &Target) -> Option<IpAddr> {
    let by_mac = leases
        .iter()
        .find(|lease| lease.mac.is_some_and(|mac| target.macs.contains(&mac)));
    let named = |lease: &&Lease| {
        lease.name.as_ref().is_some_and(|name| {
            let short = name.split('.').next().unwrap_or_default();
            short.eq_ignore_ascii_case(target.short())
        })
    };
    by_mac.or_else(|| leases.iter().find(named)).map(|lease| lease.ip)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// F161: by Ethernet address first, then by name; lines of IPv6 and broken ones do no harm.
    #[test]
    fn f161_leases_of_dnsmasq() {
        let text = "1764170000 dc:a6:32:00:00:01 10.11.0.61 * 01:dc:a6:32:00:00:01\n\
                    1764170001 dc:a6:32:00:00:02 10.11.0.62 Two *\n\
                    0 dc:a6:32:00:00:03 10.11.0.63 one 01:dc\n\
                    duid 00:01:00:01:2e\n\
                    1764170002 12345 fd00::5 three 00:01\n\
                    broken line\n1764170003 dc:a6:32:00:00:09 not-an-address x *\n";
        let found = leases(text);
        assert_eq!(found.len(), 4, "{found:?}");
        let target = |hostname: &str, mac: Option<&str>| Target {
            node: "n".to_owned(),
            hostname: hostname.to_owned(),
            domain: None,
            planned: None,
            macs: mac.map(|m| m.parse().unwrap()).into_iter().collect(),
            user: None,
            key_known: false,
        };
        let ip = |hostname, mac| of(&found, &target(hostname, mac)).map(|ip| ip.to_string());
        assert_eq!(
            ip("one", Some("dc:a6:32:00:00:01")).as_deref(),
            Some("10.11.0.61")
        );
        assert_eq!(ip("one", None).as_deref(), Some("10.11.0.63"));
        assert_eq!(ip("two.c.home.arpa", None).as_deref(), Some("10.11.0.62"));
        assert_eq!(ip("three", None).as_deref(), Some("fd00::5"));
        assert_eq!(ip("four", Some("dc:a6:32:00:00:04")), None);
    }
}
