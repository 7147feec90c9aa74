//! Keyfiles of NetworkManager, as nm-settings-keyfile(5) describes them.

use std::fmt::Write as _;

use crate::plan::{Address, Interface, StaticAddress};

pub(super) fn path(name: &str) -> String {
    format!("/etc/NetworkManager/system-connections/ceil-{name}.nmconnection")
}

pub(super) fn text(interface: &Interface) -> String {
    let name = &interface.name;
    let kind = if interface.wifi.is_some() {
        "wifi"
    } else {
        "ethernet"
    };
    let mut out = format!(
        "[connection]\nid=ceil-{name}\ntype={kind}\ninterface-name={name}\nautoconnect-priority=100\n"
    );
    // Writing to a String cannot fail.
    if let Some(wifi) = &interface.wifi {
        let _ = write!(out, "\n[wifi]\nmode=infrastructure\nssid={}\n", ssid(&wifi.ssid));
        if wifi.hidden {
            out.push_str("hidden=true\n");
        }
        if !wifi.power_save {
            out.push_str("powersave=2\n");
        }
        if let Some(psk) = &wifi.psk {
            let _ = write!(out, "\n[wifi-security]\nkey-mgmt=wpa-psk\npsk={psk}\n");
        }
    }
    match &interface.address {
        Address::Dhcp => out.push_str("\n[ipv4]\nmethod=auto\n\n[ipv6]\nmethod=auto\n"),
        Address::Static(fixed) => address(&mut out, fixed),
    }
    out
}

fn address(out: &mut String, fixed: &StaticAddress) {
    let StaticAddress { ip, prefix, .. } = fixed;
    let (own, other) = if ip.is_ipv4() {
        ("ipv4", "ipv6")
    } else {
        ("ipv6", "ipv4")
    };
    let _ = write!(out, "\n[{own}]\nmethod=manual\naddress1={ip}/{prefix}");
    if let Some(gateway) = fixed.gateway.filter(|g| g.is_ipv4() == ip.is_ipv4()) {
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
}

/// The name as text where that is safe, as a list of bytes otherwise.
fn ssid(name: &str) -> String {
    let safe = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b' ');
    if name.bytes().all(safe) && name.trim() == name && !name.is_empty() {
        name.to_owned()
    } else {
        name.bytes().map(|b| format!("{b};")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f091_names_beyond_letters_become_bytes() {
        assert_eq!(ssid("My net-1"), "My net-1");
        assert_eq!(ssid("a;b"), "97;59;98;");
        assert_eq!(ssid(" a"), "32;97;");
    }
}
