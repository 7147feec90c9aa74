//! Files of ifupdown, as interfaces(5) describes them.

use std::fmt::Write as _;

use crate::plan::{Address, Interface};

use super::wifi;

/// Names with a dot would not be read by `source-directory`.
pub(super) fn path(name: &str) -> String {
    let name: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    format!("/etc/network/interfaces.d/ceil-{name}")
}

pub(super) fn text(interface: &Interface) -> String {
    let name = &interface.name;
    // `allow-hotplug` does not make the boot wait.
    let start = if interface.optional {
        "allow-hotplug"
    } else {
        "auto"
    };
    let mut out = format!("{start} {name}\n");
    // Writing to a String cannot fail.
    match &interface.address {
        Address::Dhcp => {
            let _ = writeln!(out, "iface {name} inet dhcp");
        }
        Address::Static(fixed) => {
            let family = if fixed.ip.is_ipv4() { "inet" } else { "inet6" };
            let _ = writeln!(
                out,
                "iface {name} {family} static\n    address {}/{}",
                fixed.ip, fixed.prefix
            );
            if let Some(gateway) = fixed.gateway {
                let _ = writeln!(out, "    gateway {gateway}");
            }
            if !fixed.dns.is_empty() {
                let servers: Vec<String> = fixed.dns.iter().map(ToString::to_string).collect();
                let _ = writeln!(out, "    dns-nameservers {}", servers.join(" "));
            }
        }
    }
    if interface.wifi.is_some() {
        let _ = writeln!(out, "    wpa-conf {}", wifi::path(name));
    }
    out
}

/// Whether a file sets up an interface.
pub(super) fn defines(text: &str, name: &str) -> bool {
    text.lines().any(|line| {
        let mut words = line.split_whitespace();
        words.next() == Some("iface") && words.next() == Some(name)
    })
}
