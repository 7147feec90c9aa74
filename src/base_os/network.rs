//! A fixed address where no cloud-init carries it: one file of whoever sets up the interfaces.

use std::fmt::Write as _;

use crate::plan::{Attributes, Content, Op, StaticAddress};
use crate::values::{ImagePath, ImagePathError, Mode, Owner, VolumeName};

use super::NetworkManager;

/// The edit that gives the address, and the word for the mechanism. `None` when none is known.
pub(super) fn static_address(
    fixed: &StaticAddress,
    manager: NetworkManager,
) -> Result<Option<(Op, &'static str)>, ImagePathError> {
    let interface = &fixed.interface;
    let put = |path: &str, text: &str, mode: u16| -> Result<Op, ImagePathError> {
        Ok(Op::Put {
            at: ImagePath::on(VolumeName::Root, path)?,
            content: Content::inline(text.as_bytes()),
            attributes: Attributes {
                mode: Some(Mode(mode)),
                owner: Some(Owner::default()),
                mtime: None,
            },
            xattrs: Vec::new(),
            sparse: false,
        })
    };
    Ok(match manager {
        NetworkManager::NetworkManager => {
            // NetworkManager ignores keyfiles that others may read.
            let path = format!("/etc/NetworkManager/system-connections/ceil-{interface}.nmconnection");
            Some((put(&path, &keyfile(fixed), 0o600)?, "a NetworkManager keyfile"))
        }
        NetworkManager::Networkd => {
            let path = format!("/etc/systemd/network/10-ceil-{interface}.network");
            Some((put(&path, &networkd(fixed), 0o644)?, "a systemd-networkd file"))
        }
        NetworkManager::Dhcpcd => {
            let op = Op::Append {
                at: ImagePath::on(VolumeName::Root, "/etc/dhcpcd.conf")?,
                content: Content::inline(dhcpcd(fixed).as_bytes()),
            };
            Some((op, "lines in dhcpcd.conf"))
        }
        NetworkManager::Unknown => None,
    })
}

fn keyfile(fixed: &StaticAddress) -> String {
    let StaticAddress {
        interface,
        ip,
        prefix,
        gateway,
        ..
    } = fixed;
    let (own, other) = if ip.is_ipv4() {
        ("ipv4", "ipv6")
    } else {
        ("ipv6", "ipv4")
    };
    let mut out = format!(
        "[connection]\nid=ceil-{interface}\ntype=ethernet\ninterface-name={interface}\nautoconnect-priority=100\n\n[{own}]\nmethod=manual\naddress1={ip}/{prefix}"
    );
    // Writing to a String cannot fail.
    if let Some(gateway) = gateway.filter(|g| g.is_ipv4() == ip.is_ipv4()) {
        let _ = write!(out, ",{gateway}");
    }
    out.push('\n');
    for (section, v4) in [(own, ip.is_ipv4()), (other, !ip.is_ipv4())] {
        if section == other {
            let _ = write!(out, "\n[{other}]\nmethod=auto\n");
        }
        let servers: String = fixed
            .dns
            .iter()
            .filter(|d| d.is_ipv4() == v4)
            .map(|d| format!("{d};"))
            .collect();
        if !servers.is_empty() {
            let _ = writeln!(out, "dns={servers}");
        }
    }
    out
}

fn networkd(fixed: &StaticAddress) -> String {
    let mut out = format!(
        "[Match]\nName={}\n\n[Network]\nAddress={}/{}\n",
        fixed.interface, fixed.ip, fixed.prefix
    );
    if let Some(gateway) = fixed.gateway {
        let _ = writeln!(out, "Gateway={gateway}");
    }
    for dns in &fixed.dns {
        let _ = writeln!(out, "DNS={dns}");
    }
    out
}

/// Begins with a newline, since the file may end without one.
fn dhcpcd(fixed: &StaticAddress) -> String {
    let (address, routers) = if fixed.ip.is_ipv4() {
        ("ip_address", "routers")
    } else {
        ("ip6_address", "ip6_routers")
    };
    let mut out = format!(
        "\ninterface {}\nstatic {address}={}/{}\n",
        fixed.interface, fixed.ip, fixed.prefix
    );
    if let Some(gateway) = fixed.gateway {
        let _ = writeln!(out, "static {routers}={gateway}");
    }
    if !fixed.dns.is_empty() {
        let servers: Vec<String> = fixed.dns.iter().map(ToString::to_string).collect();
        let _ = writeln!(out, "static domain_name_servers={}", servers.join(" "));
    }
    out
}
