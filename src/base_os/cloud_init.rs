//! The NoCloud seed files, written so that every cloud-init from 0.7 on reads them the same way.

use serde_json::json;

use crate::plan::StaticAddress;
use crate::template::{TemplateError, render};

const USER_DATA: (&str, &str) = (
    "cloud-init/user-data.j2",
    include_str!("../../cloud-init/user-data.j2"),
);
const NETWORK_V1: (&str, &str) = (
    "cloud-init/network-config-v1.j2",
    include_str!("../../cloud-init/network-config-v1.j2"),
);
const NETWORK_V2: (&str, &str) = (
    "cloud-init/network-config-v2.j2",
    include_str!("../../cloud-init/network-config-v2.j2"),
);

/// Stock `meta-data` with the instance id and the host name of the node. Both spellings of the id go: the images
/// of Ubuntu and Raspberry Pi OS have `instance_id`, which cloud-init ignores.
pub(super) fn meta_data(stock: Option<&str>, instance_id: &str, hostname: &str) -> String {
    let text = remove_top_level(
        stock.unwrap_or_default(),
        &["instance-id", "instance_id", "local-hostname"],
    );
    format!("{text}instance-id: {instance_id}\nlocal-hostname: \"{hostname}\"\n")
}

/// `user-data` that sets the host name, and whether stock content was kept. `None` when the stock file is
/// something other than a cloud-config, such as a script.
///
/// `manage_etc_hosts` stays off in a new file, so that the baked `/etc/hosts` is not replaced by a template.
pub(super) fn user_data(
    stock: Option<&str>,
    hostname: &str,
) -> Result<Option<(String, bool)>, TemplateError> {
    let stock = stock.unwrap_or_default();
    if only_comments(stock) {
        let text = render(USER_DATA.0, USER_DATA.1, &json!({"hostname": hostname}))?;
        return Ok(Some((text, false)));
    }
    if stock.lines().next().map(str::trim_end) != Some("#cloud-config") {
        return Ok(None);
    }
    let text = remove_top_level(stock, &["hostname", "preserve_hostname"]);
    let names = format!("hostname: \"{hostname}\"\npreserve_hostname: false\n");
    Ok(Some((format!("{text}{names}"), true)))
}

fn only_comments(text: &str) -> bool {
    text.lines()
        .map(str::trim)
        .all(|line| line.is_empty() || line.starts_with('#') || line == "---")
}

/// The text without some keys of its top level (with one-line values), ending in a newline.
fn remove_top_level(text: &str, keys: &[&str]) -> String {
    let mut out = String::with_capacity(text.len() + 1);
    for line in text.lines() {
        let key = line.split_once(':').map(|(key, _)| key.trim_end());
        if !key.is_some_and(|key| keys.contains(&key)) {
            out.push_str(line);
            out.push('\n');
        }
    }
    out
}

/// Version 2 (netplan) came with cloud-init 17.1; the older ones read version 1 only.
pub(super) fn network_version(version: Option<&str>) -> u8 {
    // An epoch such as `1:` in front is Debian's.
    let upstream = version.map(|v| v.split_once(':').map_or(v, |(_, rest)| rest));
    match upstream {
        Some(v) if v.starts_with("0.") => 1,
        _ => 2,
    }
}

/// `network-config` with one fixed address.
pub(super) fn network_config(fixed: &StaticAddress, version: u8) -> Result<String, TemplateError> {
    let dns: Vec<String> = fixed.dns.iter().map(|ip| format!("\"{ip}\"")).collect();
    let (name, source) = if version == 1 { NETWORK_V1 } else { NETWORK_V2 };
    let variables = json!({
        "interface": fixed.interface,
        "kind": if fixed.ip.is_ipv4() { "static" } else { "static6" },
        "address": format!("{}/{}", fixed.ip, fixed.prefix),
        "gateway": fixed.gateway,
        // The long form of the default route is read by every netplan.
        "everywhere": if fixed.gateway.is_some_and(|ip| ip.is_ipv4()) { "0.0.0.0/0" } else { "::/0" },
        "dns": dns.join(", "),
    });
    render(name, source, &variables)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixed() -> StaticAddress {
        StaticAddress {
            interface: "eth0".to_owned(),
            ip: "10.11.0.101".parse().expect("ip"),
            prefix: 24,
            gateway: "10.11.0.1".parse().ok(),
            dns: vec!["10.11.0.1".parse().expect("ip"), "9.9.9.9".parse().expect("ip")],
        }
    }

    #[test]
    fn meta_data_keeps_other_keys() {
        assert_eq!(
            meta_data(
                Some("# c\ndsmode: local\ninstance_id: rpios-image\n"),
                "ceil-one-0",
                "one"
            ),
            "# c\ndsmode: local\ninstance-id: ceil-one-0\nlocal-hostname: \"one\"\n"
        );
        assert_eq!(
            meta_data(None, "i", "one"),
            "instance-id: i\nlocal-hostname: \"one\"\n"
        );
    }

    #[test]
    fn user_data_of_comments_is_replaced_and_content_is_kept() {
        let minimal = "#cloud-config\nhostname: \"one\"\npreserve_hostname: false\nmanage_etc_hosts: false\n";
        for stock in [None, Some(""), Some("#cloud-config\n# hostname: x\n\n")] {
            assert_eq!(
                user_data(stock, "one"),
                Ok(Some((minimal.to_owned(), false))),
                "{stock:?}"
            );
        }
        assert_eq!(
            user_data(
                Some("#cloud-config\nhostname: black-pearl\nusers:\n  - name: pirate\n    hostname: x"),
                "one"
            ),
            Ok(Some((
                "#cloud-config\nusers:\n  - name: pirate\n    hostname: x\nhostname: \"one\"\npreserve_hostname: false\n"
                    .to_owned(),
                true
            )))
        );
        assert_eq!(user_data(Some("#!/bin/sh\necho\n"), "one"), Ok(None));
    }

    #[test]
    fn network_config_in_both_versions() {
        assert_eq!(
            network_config(&fixed(), 2).expect("rendered"),
            "version: 2\nethernets:\n  eth0:\n    dhcp4: false\n    addresses: [\"10.11.0.101/24\"]\n    routes: [{to: \"0.0.0.0/0\", via: \"10.11.0.1\"}]\n    nameservers: {addresses: [\"10.11.0.1\", \"9.9.9.9\"]}\n    optional: true\n"
        );
        assert_eq!(
            network_config(&fixed(), 1).expect("rendered"),
            "version: 1\nconfig:\n  - type: physical\n    name: eth0\n    subnets:\n      - type: static\n        address: \"10.11.0.101/24\"\n        gateway: \"10.11.0.1\"\n        dns_nameservers: [\"10.11.0.1\", \"9.9.9.9\"]\n"
        );
    }

    #[test]
    fn versions() {
        for (version, expected) in [
            (Some("0.7.9-2"), 1),
            (Some("25.2-1~bpo13+1"), 2),
            (Some("1:0.7.9"), 1),
            (None, 2),
        ] {
            assert_eq!(network_version(version), expected, "{version:?}");
        }
    }
}
