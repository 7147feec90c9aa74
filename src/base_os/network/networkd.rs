//! Files of systemd-networkd, as systemd.network(5) describes them.

use std::fmt::Write as _;

use crate::plan::{Address, Interface, StaticAddress};

pub(super) fn path(name: &str) -> String {
    format!("/etc/systemd/network/10-ceil-{name}.network")
}

/// One fixed address.
pub(super) fn address(fixed: &StaticAddress) -> String {
    let mut out = format!(
        "[Match]\nName={}\n\n[Network]\nAddress={}/{}\n",
        fixed.interface, fixed.ip, fixed.prefix
    );
    // Writing to a String cannot fail.
    if let Some(gateway) = fixed.gateway {
        let _ = writeln!(out, "Gateway={gateway}");
    }
    for dns in &fixed.dns {
        let _ = writeln!(out, "DNS={dns}");
    }
    out
}

pub(super) fn text(interface: &Interface) -> String {
    let optional = if interface.optional {
        "\n[Link]\nRequiredForOnline=no\n"
    } else {
        ""
    };
    let body = match &interface.address {
        Address::Dhcp => format!("[Match]\nName={}\n\n[Network]\nDHCP=yes\n", interface.name),
        Address::Static(fixed) => address(&StaticAddress {
            interface: interface.name.clone(),
            ..fixed.clone()
        }),
    };
    body + optional
}
