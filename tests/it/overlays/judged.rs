//! Files judged by the programs that read them.

use std::collections::BTreeSet;
use std::fs;

use ceil_img::spec::parse_owners;
use serde_json::{Value, json};

use super::variables::{alone, ceil, crew, disk, storage};
use super::{Laid, overlays, walk};
use crate::support::tools;

/// Every overlay with a node that it is for.
fn everything() -> Vec<(&'static str, Vec<&'static str>, Value)> {
    let router = ["router", "wireguard", "ddns", "registry"].to_vec();
    let node = ["first-boot", "firewall", "nfs-client", "disks"].to_vec();
    let store = [
        "firewall",
        "disks",
        "nfs-server",
        "mariadb",
        "backup",
        "registry",
        "loop-disk",
    ]
    .to_vec();
    let with_services = |mut v: Value, services: Value| {
        v["node"]["services"] = services;
        v
    };
    let firewall = || json!({"firewall": {"enabled": true}});
    let mut gateway = ceil("router");
    gateway["servers"] = json!([gateway["node"].clone()]);
    gateway["node"]["services"]["ingress"] = json!({"from-uplink": true});
    gateway["node"]["services"]["ddns"] = json!({"record": "home.example.org", "provider": "dyndns2", "api": "https://dyn.example.org/nic/update", "user": "me"});
    let mut routed = ceil("router");
    routed["node"]["services"]["ingress"] = json!({"from-uplink": true, "address": "10.11.0.102"});
    routed["node"]["services"]["ddns"] =
        json!({"record": "home.example.org", "zone-id": "0123456789abcdef0123456789abcdef"});
    let mut cut_off = ceil("router");
    cut_off["node"]["uplink"] = Value::Null;
    cut_off["network"]["vpn"] = Value::Null;
    cut_off["network"]["dhcp_pool"] = Value::Null;
    cut_off["cluster"]["domain"] = Value::Null;
    cut_off["node"]["services"] = json!({"ddns": {"enabled": false}});
    let mut one_disk = ceil("two");
    one_disk["node"]["disks"] = json!([disk("stick", "LABEL=stick", "/mnt/stick")]);
    vec![
        ("the router", router.clone(), routed),
        ("a router that is a member", router.clone(), gateway),
        ("a router without uplink, VPN, pool or domain", router, cut_off),
        ("a node", node.clone(), ceil("two")),
        (
            "a node with a firewall",
            node.clone(),
            with_services(ceil("one"), firewall()),
        ),
        ("a node with a disk", node.clone(), one_disk),
        (
            "a node behind another router",
            node.clone(),
            with_services(alone("pi-1"), firewall()),
        ),
        (
            "one of three servers",
            node,
            with_services(crew("crew-02"), firewall()),
        ),
        ("storage", store.clone(), storage()),
        (
            "storage without disks",
            store,
            with_services(crew("crew-15"), json!({})),
        ),
        ("the boot bit", ["usb-boot-bit"].to_vec(), alone("pi-1")),
    ]
}

#[test]
fn every_overlay_is_laid_out_for_some_node() {
    let used: BTreeSet<String> = everything()
        .into_iter()
        .flat_map(|(_, names, _)| names)
        .map(str::to_owned)
        .chain(["k8s-node".into(), "wireguard-client".into()])
        .collect();
    let there: BTreeSet<String> = fs::read_dir(overlays())
        .unwrap()
        .map(Result::unwrap)
        .filter(|e| e.path().is_dir())
        .map(|e| e.file_name().into_string().unwrap())
        .collect();
    assert!(there.is_subset(&used), "{:?}", there.difference(&used));
}

/// P25: what holds a secret is for root alone, whatever else the planner knows.
#[test]
fn p25_secrets_have_private_modes() {
    let mut count = 0;
    for path in walk(&overlays()) {
        let below = path
            .strip_prefix(overlays())
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned();
        if !fs::read_to_string(&path).unwrap_or_default().contains("secret.") {
            continue;
        }
        count += 1;
        let (tree, file) = below.split_once('/').unwrap();
        let rules = fs::read_to_string(overlays().join(tree).join(".ceil-owners")).unwrap();
        let rules = parse_owners(".ceil-owners", &rules).unwrap();
        for name in [file, file.trim_end_matches(".j2")] {
            assert_eq!(rules.lookup(name).0.map(|m| m.0), Some(0o600), "{below}");
        }
    }
    assert_eq!(count, 3);
}

/// The program has overlays compiled in, where links, execute bits and empty files do not survive.
#[test]
fn overlays_hold_what_can_be_compiled_in() {
    for path in walk(&overlays()) {
        let below = path.strip_prefix(overlays()).unwrap().to_str().unwrap();
        assert!(!path.is_symlink(), "{below}");
        let text = fs::read_to_string(&path).unwrap();
        assert!(!text.is_empty(), "{below}");
        if text.starts_with("#!") {
            let (tree, file) = below.split_once('/').unwrap();
            let rules = fs::read_to_string(overlays().join(tree).join(".ceil-owners")).unwrap();
            let rules = parse_owners(".ceil-owners", &rules).unwrap();
            assert_eq!(rules.lookup(file).0.map(|m| m.0), Some(0o755), "{below}");
        }
    }
}

#[test]
fn scripts_pass_shellcheck() {
    if !tools::have(&["shellcheck"]) {
        return;
    }
    let scripts: Vec<_> = walk(&overlays())
        .into_iter()
        .filter(|p| fs::read(p).is_ok_and(|b| b.starts_with(b"#!/bin/sh")))
        .collect();
    assert_eq!(scripts.len(), 18);
    tools::run(
        tools::command("shellcheck")
            .args(["-o", "avoid-nullary-conditions,quote-safe-variables"])
            .args(scripts),
    );
}

#[test]
fn f141_dnsmasq_accepts_its_file() {
    if !tools::have(&["dnsmasq"]) {
        return;
    }
    let mut judged = 0;
    for (what, names, variables) in everything() {
        let laid = Laid::out(&names, &variables);
        if laid.has("etc/dnsmasq.d/ceil.conf") {
            let file = laid.path("etc/dnsmasq.d/ceil.conf");
            let out = tools::output(tools::command("dnsmasq").arg("--test").arg("-C").arg(&file));
            let said = String::from_utf8_lossy(&out.stderr).into_owned();
            assert!(
                out.status.success(),
                "{what}: {said}\n{}",
                laid.text("etc/dnsmasq.d/ceil.conf")
            );
            judged += 1;
        }
    }
    assert_eq!(judged, 3);
}

/// F142: one reservation a node with a MAC; F143: those without by name; F145: the resolvers of the cluster file.
#[test]
fn f142_f143_f145_reservations_and_resolvers() {
    let laid = Laid::out(&["router"], &ceil("router"));
    let file = "etc/dnsmasq.d/ceil.conf";
    assert_eq!(
        laid.lines(file, "dhcp-host="),
        [
            "dhcp-host=b8:27:eb:00:00:01,10.11.0.101,ceil-one",
            "dhcp-host=ceil-two,10.11.0.102",
            "dhcp-host=b8:27:eb:00:00:03,10.11.0.103,ceil-three",
        ]
    );
    assert_eq!(
        laid.lines(file, "cname="),
        ["cname=four.ceil.home.arpa,ceil-four.ceil.home.arpa"]
    );
    assert_eq!(laid.lines(file, "server="), ["server=9.9.9.9", "server=1.1.1.1"]);
    assert_eq!(laid.lines(file, "no-resolv"), ["no-resolv"]);

    // An address that is not of the LAN is nothing this server could give.
    let mut elsewhere = ceil("router");
    elsewhere["nodes"][1]["ip"] = json!("10.11.0.201");
    assert_eq!(
        Laid::out(&["router"], &elsewhere).lines(file, "dhcp-host=").len(),
        2
    );

    // Without other resolvers than itself, it asks those of the uplink.
    let mut own = ceil("router");
    own["node"]["services"] = json!({});
    let laid = Laid::out(&["router"], &own);
    assert_eq!(laid.lines(file, "server="), [""; 0]);
    assert_eq!(
        laid.lines(file, "resolv-file="),
        ["resolv-file=/run/ceil/resolv.conf"]
    );

    let crew = Laid::out(&["router"], &crew("crew-01"));
    assert_eq!(crew.lines(file, "dhcp-host=b8:27").len(), 14);
}

#[test]
fn p40_nft_accepts_the_firewall() {
    if !tools::have(&["nft", "unshare"]) || !tools::is_root() {
        return;
    }
    let mut judged = 0;
    for (what, names, variables) in everything() {
        let laid = Laid::out(&names, &variables);
        if laid.has("etc/ceil/firewall.nft") {
            let file = laid.firewall();
            let out = tools::output(
                tools::command("unshare")
                    .args(["-n", "nft", "-c", "-f"])
                    .arg(&file),
            );
            let said = String::from_utf8_lossy(&out.stderr).into_owned();
            assert!(
                out.status.success(),
                "{what}: {said}\n{}",
                laid.text("etc/ceil/firewall.nft")
            );
            judged += 1;
        } else {
            // Openings have nowhere to go without it.
            let openings = laid.path("etc/ceil/firewall.d");
            assert_eq!(
                if openings.is_dir() {
                    walk(&openings).len()
                } else {
                    0
                },
                0,
                "{what}"
            );
        }
    }
    assert_eq!(judged, 7);
}

/// A member whose address nobody knows makes the whole LAN one of members.
#[test]
fn f149_members_are_known_by_address() {
    let text = |v: &Value| Laid::out(&["router"], v).text("etc/ceil/firewall.nft");
    assert!(text(&ceil("router")).contains("elements = { 10.11.0.0/25 }"));
    let crew = text(&crew("crew-01"));
    assert!(crew.contains("elements = { 10.11.0.101, 10.11.0.102, "), "{crew}");
}

/// The order that cloud-init 24.3 and later has with systemd-networkd, without what they do.
const CLOUD_INIT: [(&str, &str); 4] = [
    (
        "cloud-init-network.service",
        "[Unit]\nDefaultDependencies=no\nWants=systemd-networkd-wait-online.service\n\
         After=systemd-networkd-wait-online.service\nBefore=sysinit.target\n[Service]\nType=oneshot\nExecStart=/bin/true\n",
    ),
    (
        "systemd-networkd.service",
        "[Unit]\nDefaultDependencies=no\nWants=network-pre.target\nAfter=network-pre.target\n[Service]\nExecStart=/bin/true\n",
    ),
    (
        "systemd-networkd-wait-online.service",
        "[Unit]\nDefaultDependencies=no\nRequires=systemd-networkd.service\nAfter=systemd-networkd.service\n\
         [Service]\nType=oneshot\nExecStart=/bin/true\n",
    ),
    (
        "sysinit.target.d/cloud-init.conf",
        "[Unit]\nWants=cloud-init-network.service\n",
    ),
];

#[test]
fn units_pass_systemd_analyze() {
    if !tools::have(&["systemd-analyze"]) {
        return;
    }
    for (what, names, variables) in everything() {
        let laid = Laid::out(&names, &variables);
        let dir = laid.path("etc/systemd/system");
        // Programs that a node has and this machine may not: the verdict is on the units.
        for program in [
            "usr/sbin/nft",
            "usr/bin/wg-quick",
            "usr/bin/docker-registry",
            "usr/sbin/exportfs",
            "usr/bin/mariadb",
        ] {
            fs::create_dir_all(laid.path(program).parent().unwrap()).unwrap();
            if !laid.has(program) {
                fs::write(laid.path(program), "").unwrap();
            }
        }
        let units: Vec<_> = walk(&dir)
            .into_iter()
            .filter(|p| p.parent() == Some(dir.as_path()))
            .collect();
        let drop_ins: Vec<_> = walk(&dir)
            .into_iter()
            .filter(|p| {
                p.parent()
                    .is_some_and(|d| d.to_str().unwrap().ends_with(".target.d"))
            })
            .map(|p| (p.clone(), fs::read_to_string(p).unwrap()))
            .collect();
        if units.is_empty() {
            continue;
        }
        let here = laid.dir.path().to_str().unwrap();
        // What a unit runs is looked for on this machine, so it is named here; `mariadb.service` and
        // `nfs-server.service` come with their packages.
        for name in ["mariadb.service", "nfs-server.service"] {
            if !laid.has(&format!("etc/systemd/system/{name}")) {
                fs::write(dir.join(name), "[Service]\nExecStart=/bin/true\n").unwrap();
            }
        }
        for unit in &units {
            let text = fs::read_to_string(unit).unwrap();
            let text: String = text
                .split_inclusive('\n')
                .map(|line| match line.split_once('=') {
                    Some((key, rest)) if key.starts_with("Exec") => {
                        let (sign, program) = rest.strip_prefix('+').map_or(("", rest), |r| ("+", r));
                        if program.starts_with("/usr/local/") {
                            format!("{key}={sign}{here}{program}")
                        } else {
                            let program = program.split_once(' ').map_or("\n", |(_, args)| args);
                            format!("{key}={sign}/bin/true {program}")
                        }
                    }
                    _ => line.to_owned(),
                })
                .collect();
            fs::write(unit, text).unwrap();
            let out = tools::output(
                tools::command("systemd-analyze")
                    .args(["verify", "--man=no"])
                    .arg(unit)
                    .env("SYSTEMD_UNIT_PATH", format!("{}:", dir.display())),
            );
            let said = String::from_utf8_lossy(&out.stderr).into_owned();
            let about: Vec<&str> = said
                .lines()
                .filter(|l| l.contains(here) || l.contains("ceil-"))
                .collect();
            assert!(
                about.is_empty() && out.status.success(),
                "{what}: {}: {said}",
                unit.display()
            );
        }
        // cloud-init's network stage is before sysinit.target and after the network: nothing of ours may be before the
        // network and after that target.
        for (name, text) in CLOUD_INIT {
            let path = dir.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let out = tools::output(
            tools::command("systemd-analyze")
                .args(["verify", "--man=no", "multi-user.target"])
                .env("SYSTEMD_UNIT_PATH", format!("{}:", dir.display())),
        );
        let said = String::from_utf8_lossy(&out.stderr);
        assert!(!said.contains("ordering cycle"), "{what}: {said}");
        for (path, text) in drop_ins {
            let wanted = text.split_once("\nWants=").unwrap().1.trim();
            for unit in wanted.split_whitespace() {
                // Timers of services that are off are not there; the rest has conditions.
                assert!(
                    units.iter().any(|u| u.ends_with(unit))
                        || unit.ends_with(".timer")
                        || unit.ends_with(".target"),
                    "{what}: {}",
                    path.display()
                );
            }
        }
    }
}

// rows: P41
#[test]
fn f150_f151_wg_quick_accepts_both_ends() {
    let mut variables = ceil("router");
    let laid = Laid::out(&["wireguard"], &variables);
    variables["client"] = json!({
        "name": "laptop", "address": "10.8.0.2", "private": "gI6EdUSYvn8ugXOt8QQD6Yc+JyiZxIhp3GInSWRfWGE=",
    });
    variables["router"]["services"]["wireguard"]["pods"] = json!(true);
    let client = Laid::out(&["wireguard-client"], &variables);
    let text = client.text("CLIENT.conf");
    // P41: the router's own address, not a loopback of whoever reads it.
    assert!(text.contains("\nDNS = 10.11.0.1, ceil.home.arpa\n"), "{text}");
    assert!(
        text.contains("\nAllowedIPs = 10.11.0.0/25, 10.8.0.0/24, 10.42.0.0/16, 10.43.0.0/16\n"),
        "{text}"
    );
    if !tools::have(&["wg", "wg-quick"]) {
        return;
    }
    for file in [laid.path("etc/wireguard/wg0.conf"), client.path("CLIENT.conf")] {
        // wg-quick wants a name of an interface.
        let named = file.with_file_name("wg9.conf");
        fs::copy(&file, &named).unwrap();
        tools::run(std::process::Command::new("chmod").arg("600").arg(&named));
        let stripped = tools::run(tools::command("wg-quick").arg("strip").arg(&named));
        let stripped = String::from_utf8(stripped).unwrap();
        assert!(
            stripped.contains("[Peer]") && stripped.contains("PrivateKey = "),
            "{stripped}"
        );
        assert!(
            !stripped.contains("Address") && !stripped.contains("DNS"),
            "{stripped}"
        );
    }
    if tools::find("unshare").is_some() && tools::is_root() {
        let probe = "ip link add wg9 type wireguard 2>/dev/null || exit 77; exec wg setconf wg9 <(wg-quick strip \"$1\")";
        for file in [laid.path("etc/wireguard/wg9.conf"), client.path("wg9.conf")] {
            let out = tools::output(
                tools::command("unshare")
                    .args(["-n", "bash", "-c", probe, "-"])
                    .arg(file),
            );
            match out.status.code() {
                Some(77) => tools::say("this kernel has no WireGuard"),
                code => assert_eq!(code, Some(0), "{}", String::from_utf8_lossy(&out.stderr)),
            }
        }
    }
}

#[test]
fn f153_f155_registries_are_yaml_with_data_on_the_disk() {
    for (variables, root) in [
        (storage(), "/mnt/data-disk/registry"),
        (ceil("router"), "/var/lib/ceil-registry"),
    ] {
        let laid = Laid::out(&["registry"], &variables);
        for (name, addr) in [("mirror", ":5000"), ("private", ":5001")] {
            let text = laid.text(&format!("etc/ceil-registry/{name}.yml"));
            let value: Value = serde_saphyr::from_str(&text).unwrap();
            assert_eq!(value["http"]["addr"], addr);
            assert_eq!(
                value["storage"]["filesystem"]["rootdirectory"],
                format!("{root}/{name}")
            );
            assert_eq!(value.get("proxy").is_some(), name == "mirror");
            let unit = laid.text(&format!("etc/systemd/system/ceil-registry-{name}.service"));
            assert!(unit.contains(&format!("\nRequiresMountsFor={root}\n")), "{unit}");
        }
    }
}

#[test]
fn f173_exports_are_for_the_lan() {
    let laid = Laid::out(&["nfs-server"], &storage());
    assert_eq!(
        laid.lines("etc/exports.d/ceil.exports", "\""),
        [
            "\"/mnt/data-disk/nfs\" 10.11.0.0/25(rw,sync,no_subtree_check,root_squash,mountpoint=/mnt/data-disk)",
            "\"/srv/other\" 10.11.0.0/25(rw,sync,no_subtree_check,root_squash)",
        ]
    );
}

#[test]
fn f180_mariadb_accepts_its_file() {
    let laid = Laid::out(&["mariadb"], &storage());
    let file = laid.path("etc/mysql/mariadb.conf.d/90-ceil.cnf");
    assert!(
        laid.text("etc/mysql/mariadb.conf.d/90-ceil.cnf")
            .contains("\nbind-address = 10.11.0.110\n")
    );
    let sql = laid.text("etc/ceil/mariadb-init.sql");
    assert!(sql.contains("PASSWORD('it''s \\\\ a secret')"), "{sql}");
    assert!(
        sql.contains("GRANT ALL PRIVILEGES ON `app\\_1`.* TO 'app'@'10.11.0.0/255.255.255.128';"),
        "{sql}"
    );
    if !tools::have(&["mariadbd"]) {
        return;
    }
    let out = tools::run(
        tools::command("mariadbd")
            .arg(format!("--defaults-file={}", file.display()))
            .args(["--user=root", "--verbose", "--help"]),
    );
    let said = String::from_utf8_lossy(&out).into_owned();
    let value = |key: &str| {
        let line = said.lines().find(|l| l.split_whitespace().next() == Some(key));
        line.and_then(|l| l.split_whitespace().nth(1)).map(str::to_owned)
    };
    assert_eq!(value("bind-address").as_deref(), Some("10.11.0.110"));
    assert_eq!(value("innodb-buffer-pool-size").as_deref(), Some("134217728"));
}

/// F088: names that stay, and `nofail` unless the cluster file says otherwise; systemd accepts what the generator makes.
#[test]
fn f088_disks_become_mount_units() {
    let laid = Laid::out(&["disks"], &storage());
    let table = laid.lines("etc/ceil/mounts", "/dev/disk/by-id");
    assert_eq!(
        table,
        ["/dev/disk/by-id/usb-WD_Elements_575845-0:0 /mnt/data-disk ext4 defaults,noatime,nofail data 2"]
    );
    assert_eq!(laid.lines("etc/ceil/wipe-consent", "data"), ["data 575845"]);
    if !tools::have(&["systemd-analyze", "systemd-escape"]) {
        return;
    }
    let out = tempfile::tempdir().unwrap();
    tools::run(
        std::process::Command::new(laid.path("etc/systemd/system-generators/ceil-mounts"))
            .arg(out.path())
            .env("CEIL_ETC", laid.path("etc/ceil")),
    );
    let made: Vec<String> = walk(out.path())
        .iter()
        .map(|p| p.strip_prefix(out.path()).unwrap().to_str().unwrap().to_owned())
        .collect();
    assert_eq!(
        made,
        [
            "ceil-disk@cold.service.d/disk.conf",
            "ceil-disk@data.service.d/disk.conf",
            // The one that may be away is not waited for as long as others.
            "dev-disk-by\\x2did-usb\\x2dWD_Elements_575845\\x2d0:0.device.d/away.conf",
            "local-fs.target.requires/mnt-cold.mount",
            "local-fs.target.wants/mnt-data\\x2ddisk.mount",
            "mnt-cold.mount",
            "mnt-data\\x2ddisk.mount",
        ]
    );
    let cold = fs::read_to_string(out.path().join("mnt-cold.mount")).unwrap();
    assert!(
        cold.contains("What=/dev/disk/by-uuid/0f3a2f0e-8a4a-4d0c-9c59-2a1d3a0f5b11\n"),
        "{cold}"
    );
    let path = format!(
        "{}:{}:",
        out.path().display(),
        laid.path("etc/systemd/system").display()
    );
    for unit in ["mnt-cold.mount", "mnt-data\\x2ddisk.mount"] {
        let verdict = tools::output(
            tools::command("systemd-analyze")
                .args(["verify", "--man=no"])
                .arg(out.path().join(unit))
                .env("SYSTEMD_UNIT_PATH", &path),
        );
        let said = String::from_utf8_lossy(&verdict.stderr).into_owned();
        let about: Vec<&str> = said
            .lines()
            .filter(|l| l.contains("mnt-") || l.contains("ceil-disk"))
            .filter(|l| !l.contains("ceil-prepare-disk is not executable"))
            .collect();
        assert!(about.is_empty(), "{unit}: {said}");
    }
}
