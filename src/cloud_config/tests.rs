use super::*;

fn keys(findings: &[Finding]) -> Vec<(Option<u64>, &str)> {
    findings.iter().map(|f| (f.line, f.key.as_str())).collect()
}

#[test]
fn f060_the_schemas_compile() {
    assert!(schema::cloud_config().is_some());
    assert!(schema::network_v1().is_some());
    assert!(schema::network_v2().is_some());
}

#[test]
fn f060_what_is_right_has_no_finding() {
    for text in [
        "",
        "#!/bin/sh\nnot: [yaml\n",
        "#cloud-config\n",
        "#cloud-config\nhostname: one\nusers:\n  - name: admin\n    sudo: ALL=(ALL) NOPASSWD:ALL\n    lock_passwd: true\n    ssh_authorized_keys: [ssh-ed25519 AAAA]\n",
        "#cloud-config\nrpi: {interfaces: {spi: true}}\nssh_pwauth: no\nmanage_etc_hosts: localhost\n",
    ] {
        assert_eq!(check_user_data(text, Some("25.2-1")), [], "{text}");
    }
    assert_eq!(check_network_config("# comment\n", None), []);
    assert_eq!(check_network_config("network: {config: disabled}\n", None), []);
    let v2 = "network:\n  version: 2\n  ethernets: {eth0: {dhcp4: true, optional: true}}\n  wifis: {wlan0: {dhcp4: true, access-points: {\"x y\": {password: \"0\", hidden: true}}}}\n";
    assert_eq!(check_network_config(v2, Some("25.2")), []);
    let v1 = "version: 1\nconfig:\n  - type: physical\n    name: eth0\n    subnets: [{type: dhcp}]\n";
    assert_eq!(check_network_config(v1, Some("0.7.9-2")), []);
}

#[test]
fn f060_unknown_keys_and_wrong_values_have_their_lines() {
    let text =
        "#cloud-config\nhostnam: x\nusers:\n  - name: a\n    shel: /bin/sh\nruncmd: 7\npackages: {a: b}\n";
    let found = check_user_data(text, None);
    assert_eq!(
        keys(&found),
        [
            (Some(2), "hostnam"),
            (Some(5), "users[0].shel"),
            (Some(6), "runcmd"),
            (Some(7), "packages")
        ],
        "{found:?}"
    );
    assert_eq!(keys(&check_user_data("#cloud-config\na: [\n", None)).len(), 1);
    assert_eq!(
        keys(&check_user_data("#cloud-config\n- a\n", None)),
        [(Some(2), "")]
    );
    assert_eq!(
        keys(&check_user_data("# cloud-config\nhostname: x\n", None)),
        [(Some(1), "")]
    );
    let found = check_user_data("#cloud-config\nusers: [{name: a, passwd: 1234567}]\n", None);
    assert!(
        !found.is_empty() && !format!("{found:?}").contains("1234567"),
        "{found:?}"
    );
}

#[test]
fn p61_misplaced_keys_are_named() {
    let hypriot = "#cloud-config\nhostname: black-pearl\nusers:\n  - name: pirate\n    plain_text_passwd: hypriot\n    lock_passwd: false\n    ssh_pwauth: true\n    chpasswd: { expire: false }\npackage_upgrade: false\n";
    for version in [None, Some("0.7.9-2"), Some("25.2")] {
        let found = check_user_data(hypriot, version);
        assert_eq!(
            keys(&found),
            [(Some(7), "users[0].ssh_pwauth"), (Some(8), "users[0].chpasswd")],
            "{version:?}"
        );
    }
    let found = check_user_data("#cloud-config\nenable_ssh: true\nnetwork: {version: 2}\n", None);
    assert_eq!(keys(&found), [(Some(2), "enable_ssh"), (Some(3), "network")]);
}

// rows: F060
#[test]
fn p47_keys_are_checked_by_version() {
    let text = "#cloud-config\nkeyboard: {layout: gb}\nwrite_files:\n  - path: /a\n    append: true\nusers: [{name: a, hashed_passwd: x}]\n";
    assert_eq!(check_user_data(text, Some("25.2")), []);
    assert_eq!(
        keys(&check_user_data(text, Some("20.2"))),
        [(Some(2), "keyboard")]
    );
    assert_eq!(
        keys(&check_user_data(text, Some("0.7.9-2"))),
        [(Some(2), "keyboard"), (Some(5), "write_files[0].append")]
    );
    assert_eq!(
        keys(&check_user_data(text, Some("0.7.6~bzr976-2"))),
        [
            (Some(2), "keyboard"),
            (Some(5), "write_files[0].append"),
            (Some(6), "users[0].hashed_passwd")
        ]
    );
    let v2 = "version: 2\nethernets: {eth0: {dhcp4: true}}\n";
    assert_eq!(
        keys(&check_network_config(v2, Some("0.7.9"))),
        [(Some(1), "version")]
    );
    assert_eq!(keys(&check_network_config(v2, Some("0.7.6"))).len(), 2);
    assert_eq!(
        keys(&check_network_config("a: b\n", None)),
        [(Some(1), "version")]
    );
    let found = check_network_config(
        "version: 2\nethernets:\n  eth0:\n    dhcp: true\nwifis: {w: {}}\n",
        None,
    );
    assert_eq!(
        keys(&found),
        [(None, "wifis.w"), (Some(4), "ethernets.eth0.dhcp")],
        "{found:?}"
    );
}

#[test]
fn releases_compare() {
    let parse = |v| Release::parse(v).expect("release");
    assert!(parse("0.7.6~bzr976-2") < parse("1:0.7.9-2"));
    assert!(parse("0.7.9") < parse("18.3-6"));
    assert!(parse("22.4.2-1") < parse("25.1.4-0ubuntu0~24.04.1"));
    assert_eq!(parse("25.2-1~bpo13+1+rpt20").to_string(), "25.2");
    assert_eq!(Release::parse("x"), None);
}
