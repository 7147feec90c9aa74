//! Interfaces, hosts and cloud-init's seed: who owns what, and that the seed passes cloud-init's own check.

use super::wishes::{bare, content_of, everything, has, interfaces, resolve, user, wish, with_cloud};
use super::*;
use crate::cloud_config::{check_network_config, check_user_data};

#[test]
fn f045_p48_p63_hosts_are_those_of_all_and_stay() {
    let wishes = wish(|w| {
        w.hosts = vec![crate::plan::Host {
            ip: "10.0.0.2".parse().expect("ip"),
            names: vec!["two.c".parse().expect("name"), "two".parse().expect("name")],
        }];
    });
    let mut facts = with_cloud(bare(), "0.7.9-2");
    if let Some(cloud) = &mut facts.cloud_init {
        cloud.user_data = Some("#cloud-config\nmanage_etc_hosts: true\n".to_owned());
    }
    let resolved = resolve(wishes, &facts, Vec::new()).expect("resolved");
    let (_, hosts) = content_of(&resolved, "root:/etc/hosts").expect("hosts");
    assert!(
        hosts.contains("127.0.1.1\tone\n") && hosts.ends_with("10.0.0.2\ttwo.c two\n"),
        "{hosts}"
    );
    let (_, text) = content_of(&resolved, "boot:/user-data").expect("user-data");
    assert!(
        text.contains("manage_etc_hosts: false") && !text.contains("true"),
        "{text}"
    );
}

#[test]
fn p39_interfaces_have_one_owner_per_base() {
    let wishes = || wish(|w| w.interfaces = interfaces(true));
    let mut facts = bare();
    facts.system.radio.wpa_supplicant = true;
    facts.system.radio.iw = Some("/usr/sbin/iw".to_owned());
    facts.system.units.insert(
        "wpa_supplicant@.service".to_owned(),
        "/lib/systemd/system/wpa_supplicant@.service".to_owned(),
    );
    assert!(
        resolve(wishes(), &facts, Vec::new()).is_err(),
        "nobody sets up interfaces"
    );
    for (manager, paths) in [
        (
            NetworkManager::NetworkManager,
            vec![
                "root:/etc/NetworkManager/conf.d/90-ceil-wifi.conf",
                "root:/etc/NetworkManager/system-connections/ceil-eth0.nmconnection",
                "root:/etc/NetworkManager/system-connections/ceil-wlan0.nmconnection",
            ],
        ),
        (
            NetworkManager::Networkd,
            vec![
                "root:/etc/udev/rules.d/90-ceil-wifi.rules",
                "root:/etc/systemd/network/10-ceil-eth0.network",
                "root:/etc/systemd/network/10-ceil-wlan0.network",
                "root:/etc/wpa_supplicant/wpa_supplicant-wlan0.conf",
            ],
        ),
        (
            NetworkManager::Dhcpcd,
            vec![
                "root:/etc/udev/rules.d/90-ceil-wifi.rules",
                "root:/etc/wpa_supplicant/wpa_supplicant-wlan0.conf",
            ],
        ),
        (
            NetworkManager::Ifupdown,
            vec![
                "root:/etc/udev/rules.d/90-ceil-wifi.rules",
                "root:/etc/network/interfaces.d/ceil-eth0",
                "root:/etc/network/interfaces.d/ceil-wlan0",
                "root:/etc/wpa_supplicant/wpa_supplicant-wlan0.conf",
            ],
        ),
    ] {
        facts.network = manager;
        let resolved = resolve(wishes(), &facts, Vec::new()).expect("resolved");
        let found: Vec<String> = resolved
            .edits
            .iter()
            .filter(|edit| !is_record(edit))
            .skip(2)
            .filter_map(|e| match &e.op {
                Op::Put { at, .. } => Some(at.to_string()),
                _ => None,
            })
            .collect();
        assert_eq!(found, paths, "{manager:?}");
        assert!(has(&resolved, "args [\"cfg80211.ieee80211_regdom=DE\"]"), "f092");
        for edit in &resolved.edits {
            let Op::Put {
                at,
                content,
                attributes,
                ..
            } = &edit.op
            else {
                continue;
            };
            let Content::Inline { bytes, .. } = content else {
                continue;
            };
            if show(bytes).contains(&"ab".repeat(32)) {
                assert!(
                    content.is_secret() && attributes.mode == Some(crate::values::Mode(0o600)),
                    "f091 {at}"
                );
            }
        }
        assert!(!format!("{resolved:?}").contains("abab"));
    }
}

// rows: F061
#[test]
fn p39_cloud_init_keeps_off_where_it_knows_no_wifi() {
    let mut facts = with_cloud(bare(), "0.7.9-2");
    facts.network = NetworkManager::Ifupdown;
    facts.system.radio.wpa_supplicant = true;
    facts.system.interfaces_d = vec![("eth0".to_owned(), "iface eth0 inet dhcp\n".to_owned())];
    let resolved = resolve(wish(|w| w.interfaces = interfaces(true)), &facts, Vec::new()).expect("resolved");
    assert!(has(
        &resolved,
        "root:/etc/cloud/cloud.cfg.d/99-ceil-network.cfg=network: {config: disabled}\n"
    ));
    assert!(has(&resolved, "rm root:/etc/network/interfaces.d/eth0"));
    assert!(content_of(&resolved, "boot:/network-config").is_none());
    let resolved = resolve(wish(|w| w.interfaces = interfaces(false)), &facts, Vec::new()).expect("resolved");
    let (_, text) = content_of(&resolved, "boot:/network-config").expect("network-config");
    assert!(text.starts_with("version: 1\n"), "{text}");

    let facts = with_cloud(bare(), "25.2");
    let resolved = resolve(wish(|w| w.interfaces = interfaces(true)), &facts, Vec::new()).expect("resolved");
    let (content, text) = content_of(&resolved, "boot:/network-config").expect("network-config");
    assert!(
        content.is_secret() && text.contains("wifis:\n  wlan0:") && text.contains("ethernets:\n  eth0:"),
        "{text}"
    );
}

#[test]
fn p38_radios_that_the_base_blocks_are_opened() {
    let mut facts = bare();
    facts.network = NetworkManager::NetworkManager;
    facts.system.radio.blocked = vec!["/var/lib/systemd/rfkill/a:wlan".to_owned()];
    facts.system.radio.nm_state = Some("[main]\nWirelessEnabled=false\n".to_owned());
    let resolved = resolve(wish(|w| w.interfaces = interfaces(true)), &facts, Vec::new()).expect("resolved");
    assert!(has(&resolved, "root:/var/lib/systemd/rfkill/a:wlan=0\n"));
    assert!(has(
        &resolved,
        "root:/var/lib/NetworkManager/NetworkManager.state=[main]\nWirelessEnabled=true\n"
    ));
    let mut wrong = interfaces(true);
    if let Some(wifi) = &mut wrong[1].wifi {
        wifi.country = "Germany".to_owned();
    }
    assert!(resolve(wish(|w| w.interfaces = wrong), &facts, Vec::new()).is_err());
    let mut twice = interfaces(true);
    twice[1].name = "eth0".to_owned();
    assert!(resolve(wish(|w| w.interfaces = twice), &facts, Vec::new()).is_err());
}

#[test]
fn f060_what_is_generated_passes_the_check_of_its_version() {
    let stocks = [
        None,
        Some(
            "#cloud-config\nchpasswd: {expire: true, users: [{name: ubuntu, password: ubuntu, type: text}]}\nssh_pwauth: false\n",
        ),
        Some(
            "#cloud-config\nhostname: black-pearl\nmanage_etc_hosts: true\nusers:\n  - name: pirate\n    plain_text_passwd: x\n    ssh_pwauth: true\nruncmd:\n  - 'systemctl restart avahi-daemon'\n",
        ),
    ];
    for version in [
        "0.7.9-2",
        "18.3-6",
        "22.4.2-1",
        "25.1.4-0ubuntu0~24.04.1",
        "25.2-1~bpo13+1+rpt20",
    ] {
        for stock in stocks {
            let mut facts = with_cloud(bare(), version);
            if let Some(cloud) = &mut facts.cloud_init {
                cloud.user_data = stock.map(str::to_owned);
            }
            let resolved = resolve(everything(), &facts, Vec::new()).expect("resolved");
            let (_, text) = content_of(&resolved, "boot:/user-data").expect("user-data");
            assert_eq!(check_user_data(&text, Some(version)), [], "{version}\n{text}");
            let (_, text) = content_of(&resolved, "boot:/network-config").expect("network-config");
            assert_eq!(
                check_network_config(&text, Some(version)),
                [],
                "{version}\n{text}"
            );
        }
    }
    let facts = with_cloud(bare(), "25.2");
    let resolved = resolve(wish(|w| w.interfaces = interfaces(true)), &facts, Vec::new()).expect("resolved");
    let (_, text) = content_of(&resolved, "boot:/network-config").expect("network-config");
    assert_eq!(check_network_config(&text, Some("25.2")), [], "{text}");
}

#[test]
fn seeds_that_are_no_cloud_config_cannot_carry_accounts() {
    let mut facts = with_cloud(bare(), "25.2");
    if let Some(cloud) = &mut facts.cloud_init {
        cloud.user_data = Some("#!/bin/sh\necho\n".to_owned());
    }
    assert!(resolve(wish(|w| w.users = vec![user("a", false)]), &facts, Vec::new()).is_err());
    assert!(
        resolve(
            wish(|w| w.modules = vec!["overlay".to_owned()]),
            &facts,
            Vec::new()
        )
        .is_ok()
    );
}
