//! The NoCloud seed files, written so that every cloud-init from 0.7 on reads them the same way.

use serde_json::{Value, json};

use crate::plan::{Address, Interface};
use crate::template::{TemplateError, render};

use super::CloudInit;

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

/// What the seed carries of a node's wishes.
#[derive(Default)]
pub(super) struct SeedKeys {
    /// Entries of `users`; the base's own accounts go when there are any.
    pub(super) users: Vec<Value>,
    /// Whether an entry has a hash.
    pub(super) hashes: bool,
    /// `ssh_pwauth`.
    pub(super) password_login: Option<bool>,
    /// Host keys are there and stay.
    pub(super) host_key: bool,
    /// `locale`.
    pub(super) locale: Option<String>,
    /// `packages`.
    pub(super) packages: Vec<String>,
    /// `package_upgrade`.
    pub(super) upgrade: Option<bool>,
    /// `/etc/hosts` is baked and must stay as it is (P48).
    pub(super) own_hosts: bool,
    /// Keys of the base's own user-data that go, since what they set is baked.
    pub(super) baked: Vec<&'static str>,
}

impl SeedKeys {
    /// Whether the text that they make is a secret.
    pub(super) const fn is_secret(&self) -> bool {
        self.hashes
    }

    /// Whether nothing depends on them.
    pub(super) fn is_empty(&self) -> bool {
        self.users.is_empty()
            && self.password_login.is_none()
            && !self.host_key
            && self.locale.is_none()
            && self.packages.is_empty()
            && self.upgrade.is_none()
    }

    /// Keys of the base's own user-data that these take the place of.
    fn replaced(&self) -> Vec<&'static str> {
        let mut keys = vec!["hostname", "preserve_hostname"];
        let mut add = |when: bool, more: &[&'static str]| {
            if when {
                keys.extend_from_slice(more);
            }
        };
        add(self.own_hosts, &["manage_etc_hosts"]);
        add(
            !self.users.is_empty(),
            &["users", "user", "chpasswd", "password", "ssh_authorized_keys"],
        );
        add(self.password_login.is_some(), &["ssh_pwauth"]);
        add(self.host_key, &["ssh_deletekeys", "ssh_genkeytypes", "ssh_keys"]);
        add(self.locale.is_some(), &["locale"]);
        add(
            !self.packages.is_empty(),
            &["packages", "package_update", "apt_update"],
        );
        add(self.upgrade.is_some(), &["package_upgrade", "apt_upgrade"]);
        keys.extend_from_slice(&self.baked);
        keys
    }
}

/// Stock `meta-data` with the instance id and the host name of the node. Both spellings of the id go: the images
/// of Ubuntu and Raspberry Pi OS have `instance_id`, which cloud-init ignores.
pub(super) fn meta_data(stock: Option<&str>, instance_id: &str, hostname: &str) -> String {
    let text = remove_top_level(
        stock.unwrap_or_default(),
        &["instance-id", "instance_id", "local-hostname"],
    );
    format!("{text}instance-id: {instance_id}\nlocal-hostname: \"{hostname}\"\n")
}

/// `user-data` that sets the host name and the keys, and whether stock content was kept. `None` when the stock file is
/// something other than a cloud-config, such as a script.
///
/// `manage_etc_hosts` stays off in a new file, so that the baked `/etc/hosts` is not replaced by a template.
pub(super) fn user_data(
    stock: Option<&str>,
    hostname: &str,
    keys: &SeedKeys,
) -> Result<Option<(String, bool)>, TemplateError> {
    let stock = stock.unwrap_or_default();
    let fresh = only_comments(stock);
    if !fresh && stock.lines().next().map(str::trim_end) != Some("#cloud-config") {
        return Ok(None);
    }
    let variables = json!({
        "fresh": fresh,
        "hostname": hostname,
        "own_hosts": keys.own_hosts,
        "users": keys.users,
        "password_login": keys.password_login,
        "host_key": keys.host_key,
        "locale": keys.locale,
        "packages": keys.packages,
        "upgrade": keys.upgrade,
    });
    let text = render(USER_DATA.0, USER_DATA.1, &variables)?;
    if fresh {
        return Ok(Some((text, false)));
    }
    Ok(Some((remove_top_level(stock, &keys.replaced()) + &text, true)))
}

/// Whether a user-data gives an account a password that anyone can read in it (F049).
pub(super) fn tells_a_password(text: &str) -> bool {
    text.lines().any(|line| {
        let line = line.trim_start_matches([' ', '-', '{']);
        ["plain_text_passwd:", "plain-text-passwd:"]
            .iter()
            .any(|key| line.contains(key))
            && !line.starts_with('#')
    })
}

/// A seed file of ours without the lines that hold secrets: hashes of passwords and keys of WiFi.
pub(super) fn without_secrets(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let secret = |line: &&str| {
        let key = line.trim_start_matches([' ', '-']);
        ["passwd:", "hashed_passwd:", "plain_text_passwd:", "password:"]
            .iter()
            .any(|name| key.starts_with(name))
    };
    let mut out: String = text
        .lines()
        .filter(|line| !secret(line))
        .map(|line| format!("{line}\n"))
        .collect();
    out.push_str("# Secrets were taken out after the first boot.\n");
    out
}

fn only_comments(text: &str) -> bool {
    text.lines()
        .map(str::trim)
        .all(|line| line.is_empty() || line.starts_with('#') || line == "---")
}

/// The text without some keys of its top level and what stands below them, ending in a newline.
fn remove_top_level(text: &str, keys: &[&str]) -> String {
    let mut out = String::with_capacity(text.len() + 1);
    let mut below = false;
    for line in text.lines() {
        // Items of a list may stand as far left as their key.
        let inner = line.starts_with([' ', '\t', '-']) && !line.starts_with("---");
        if below && inner {
            continue;
        }
        let key = line
            .split_once(':')
            .map(|(key, _)| key.trim_end().trim_matches(['"', '\'']));
        below = !inner && key.is_some_and(|key| keys.contains(&key)) || (below && line.trim().is_empty());
        if !below {
            out.push_str(line);
            out.push('\n');
        }
    }
    out
}

/// Version 2 (netplan) came with cloud-init 17.1; the older ones read version 1 only.
pub(super) fn network_version(cloud: &CloudInit) -> u8 {
    if cloud.release().is_some_and(|release| release.is_old()) {
        1
    } else {
        2
    }
}

/// `network-config` of these interfaces. It replaces the base's own, so it lists all that should work. Version 1 has no
/// WiFi.
pub(super) fn network_config(interfaces: &[&Interface], version: u8) -> Result<String, TemplateError> {
    let (wireless, wired): (Vec<&Interface>, Vec<&Interface>) =
        interfaces.iter().partition(|i| i.wifi.is_some());
    let values = |list: &[&Interface]| -> Vec<Value> { list.iter().map(|i| variables(i)).collect() };
    if version == 1 {
        return render(NETWORK_V1.0, NETWORK_V1.1, &json!({"interfaces": values(&wired)}));
    }
    let kinds = json!({"ethernets": values(&wired), "wifis": values(&wireless)});
    render(NETWORK_V2.0, NETWORK_V2.1, &json!({"kinds": kinds}))
}

fn variables(interface: &Interface) -> Value {
    let wifi = interface
        .wifi
        .as_ref()
        .map(|w| json!({"ssid": w.ssid, "psk": w.psk, "hidden": w.hidden}));
    let mut value = json!({
        "name": interface.name,
        "dhcp": true,
        "optional": interface.optional,
        "wifi": wifi,
    });
    if let Address::Static(fixed) = &interface.address {
        let dns: Vec<String> = fixed.dns.iter().map(|ip| format!("\"{ip}\"")).collect();
        value["dhcp"] = json!(false);
        value["kind"] = json!(if fixed.ip.is_ipv4() { "static" } else { "static6" });
        value["address"] = json!(format!("{}/{}", fixed.ip, fixed.prefix));
        value["gateway"] = json!(fixed.gateway);
        // The long form of the default route is read by every netplan.
        let v4 = fixed.gateway.is_some_and(|ip| ip.is_ipv4());
        value["everywhere"] = json!(if v4 { "0.0.0.0/0" } else { "::/0" });
        value["dns"] = json!(dns.join(", "));
    }
    value
}

#[cfg(test)]
mod tests {
    use crate::plan::{StaticAddress, Wifi};

    use super::*;

    fn fixed() -> Interface {
        super::super::network::wired(&StaticAddress {
            interface: "eth0".to_owned(),
            ip: "10.11.0.101".parse().expect("ip"),
            prefix: 24,
            gateway: "10.11.0.1".parse().ok(),
            dns: vec!["10.11.0.1".parse().expect("ip"), "9.9.9.9".parse().expect("ip")],
        })
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
                user_data(stock, "one", &SeedKeys::default()),
                Ok(Some((minimal.to_owned(), false))),
                "{stock:?}"
            );
        }
        assert_eq!(
            user_data(
                Some("#cloud-config\nhostname: black-pearl\nusers:\n  - name: pirate\n    hostname: x"),
                "one",
                &SeedKeys::default()
            ),
            Ok(Some((
                "#cloud-config\nusers:\n  - name: pirate\n    hostname: x\nhostname: \"one\"\npreserve_hostname: false\n"
                    .to_owned(),
                true
            )))
        );
        assert_eq!(
            user_data(Some("#!/bin/sh\necho\n"), "one", &SeedKeys::default()),
            Ok(None)
        );
    }

    #[test]
    fn network_config_in_both_versions() {
        assert_eq!(
            network_config(&[&fixed()], 2).expect("rendered"),
            "version: 2\nethernets:\n  eth0:\n    dhcp4: false\n    addresses: [\"10.11.0.101/24\"]\n    routes: [{to: \"0.0.0.0/0\", via: \"10.11.0.1\"}]\n    nameservers: {addresses: [\"10.11.0.1\", \"9.9.9.9\"]}\n    optional: true\n"
        );
        assert_eq!(
            network_config(&[&fixed()], 1).expect("rendered"),
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
            let cloud = CloudInit {
                version: version.map(str::to_owned),
                seed: None,
                user_data: None,
                meta_data: None,
            };
            assert_eq!(network_version(&cloud), expected, "{version:?}");
        }
    }

    #[test]
    fn f091_every_interface_is_listed() {
        let wifi = |ssid: &str, psk: Option<&str>, hidden| Interface {
            name: "wlan0".to_owned(),
            address: Address::Dhcp,
            wifi: Some(Wifi {
                ssid: ssid.to_owned(),
                psk: psk.map(str::to_owned),
                country: "GB".to_owned(),
                hidden,
                power_save: false,
            }),
            optional: false,
        };
        let mut wired = fixed();
        wired.address = Address::Dhcp;
        assert_eq!(
            network_config(&[&wired, &wifi("a \"b\"", Some("0f"), true)], 2).expect("rendered"),
            "version: 2\nethernets:\n  eth0:\n    dhcp4: true\n    optional: true\nwifis:\n  wlan0:\n    dhcp4: true\n    access-points:\n      \"a \\\"b\\\"\":\n        password: \"0f\"\n        hidden: true\n"
        );
        assert_eq!(
            network_config(&[&wifi("open", None, false)], 2).expect("rendered"),
            "version: 2\nwifis:\n  wlan0:\n    dhcp4: true\n    access-points:\n      \"open\": {}\n"
        );
        assert_eq!(
            network_config(&[&wired, &fixed()], 1)
                .expect("rendered")
                .lines()
                .take(5)
                .collect::<Vec<_>>(),
            [
                "version: 1",
                "config:",
                "  - type: physical",
                "    name: eth0",
                "    subnets:"
            ]
        );
    }

    #[test]
    fn f048_keys_take_the_place_of_the_bases_own() {
        let stock = "#cloud-config\nhostname: black-pearl\nmanage_etc_hosts: true\n\nusers:\n- name: pirate\n  plain_text_passwd: hypriot\n\n  gecos: x\nchpasswd: {expire: false}\n# c\nruncmd:\n  - a: b\n";
        let keys = SeedKeys {
            users: vec![json!({"name": "admin", "groups": "sudo, video", "lock_passwd": true})],
            own_hosts: true,
            upgrade: Some(false),
            packages: vec!["nftables".to_owned()],
            ..SeedKeys::default()
        };
        let (text, kept) = user_data(Some(stock), "one", &keys)
            .expect("rendered")
            .expect("a cloud-config");
        assert!(kept);
        assert_eq!(
            text,
            "#cloud-config\n# c\nruncmd:\n  - a: b\nhostname: \"one\"\npreserve_hostname: false\nmanage_etc_hosts: false\nusers:\n  - name: \"admin\"\n    groups: \"sudo, video\"\n    lock_passwd: true\npackage_update: true\npackages:\n  - \"nftables\"\npackage_upgrade: false\n"
        );
        assert!(tells_a_password(stock) && !tells_a_password(&text));
        assert!(!tells_a_password("# plain_text_passwd: x\n"));
    }
}
