//! Lines of dhcpcd.conf(5). dhcpcd asks for an address on every interface that has none of these.

use std::fmt::Write as _;

use crate::plan::{Address, Interface, StaticAddress};

/// Begins with a newline, since the file may end without one.
pub(super) fn address(fixed: &StaticAddress) -> String {
    let (address, routers) = if fixed.ip.is_ipv4() {
        ("ip_address", "routers")
    } else {
        ("ip6_address", "ip6_routers")
    };
    let mut out = format!(
        "\ninterface {}\nstatic {address}={}/{}\n",
        fixed.interface, fixed.ip, fixed.prefix
    );
    // Writing to a String cannot fail.
    if let Some(gateway) = fixed.gateway {
        let _ = writeln!(out, "static {routers}={gateway}");
    }
    if !fixed.dns.is_empty() {
        let servers: Vec<String> = fixed.dns.iter().map(ToString::to_string).collect();
        let _ = writeln!(out, "static domain_name_servers={}", servers.join(" "));
    }
    out
}

/// Nothing for an interface that gets its address by DHCP.
pub(super) fn text(interface: &Interface) -> String {
    match &interface.address {
        Address::Dhcp => String::new(),
        Address::Static(fixed) => address(&StaticAddress {
            interface: interface.name.clone(),
            ..fixed.clone()
        }),
    }
}
