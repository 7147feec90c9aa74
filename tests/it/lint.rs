//! `lint`: each finding for the plan that has it, and none for one that does not.

use serde_json::Value;

use crate::support::cli::Test;

/// Identifiers of all findings, sorted by the program.
fn findings(cluster: &str) -> Vec<String> {
    let out = Test::new()
        .cluster(cluster)
        .args(["lint", "--json", "--quiet"])
        .any_status()
        .run();
    assert!(!out.stdout.contains("\"event\":\"error\""), "{}", out.stdout);
    out.stdout
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|event| event["event"] == "finding")
        .map(|event| event["id"].as_str().unwrap().to_owned())
        .collect()
}

/// What nobody objects to; `more` are further settings of the server, `file` further sections.
fn good(file: &str, more: &str) -> String {
    format!(
        "cluster: {{name: c, domain: c.home.arpa}}\n\
         network: {{lan: 10.11.0.0/25, gateway: 10.11.0.1, dns: [10.11.0.1]}}\n{file}\
         defaults: {{swap: off, users: {{admin: {{ssh-keys: [\"ssh-ed25519 AAAA a\"]}}}}}}\n\
         nodes:\n  - {{name: one, profile: minimal, role: server, address: 10.11.0.101/25{more}}}\n\
         \x20 - {{name: two, profile: minimal, role: agent, address: 10.11.0.102/25}}\n"
    )
}

#[test]
fn nothing_is_found_where_nothing_is_wrong() {
    assert_eq!(findings(&good("", "")), [""; 0]);
    assert_eq!(
        findings(&good(
            "kubernetes: {distribution: k3s}\n",
            ", board: \"pi4b:4GiB\", arch: arm64"
        )),
        [""; 0]
    );
    let disks = "data: {id: \"usb-A_B.c:1-0:0-part1\", mount: /srv/data/, wipe: \"0001\"}, \
        old: {uuid: 1234-ABCD, mount: /srv/data/old, fs: vfat}, bricks_2.0: {label: +bricks, mount: /bricks, fs: xfs}, \
        play: {file: 1GiB}";
    assert_eq!(findings(&good("", &format!(", disks: {{{disks}}}"))), [""; 0]);
}

// rows: F191, P13
/// The numbers of the ceil cluster as it was: public addresses, /8 against /25, leases beyond the network, load
/// balancer addresses in somebody else's network, and a domain that browsers force to HTTPS.
#[test]
fn p16_the_original_numbers_give_their_known_findings() {
    let cluster = "cluster: {name: ceil, domain: dev}\n\
        network:\n  lan: 11.0.0.0/25\n  gateway: 11.0.0.1\n  dns: [11.0.0.1]\n  dhcp-pool: 11.0.0.105-11.0.0.128\n  \
        load-balancer-pool: 192.168.1.200-192.168.1.250\n\
        defaults: {swap: off, users: {admin: {ssh-keys: [\"ssh-ed25519 AAAA a\"]}}}\n\
        nodes:\n  - {name: router, profile: minimal, role: router, address: 11.0.0.1/8, interfaces: {eth0: {use: lan}, wlan0: {use: uplink}}}\n  \
        - {name: one, profile: minimal, role: server, address: 11.0.0.101/25}\n";
    assert_eq!(findings(cluster), ["P16", "F191", "P13", "P16", "P16"]);
}

// rows: F010, F112, F167, F191, P13, P14, P23, P54, P59
#[test]
fn each_finding_for_what_has_it() {
    let network = |text: &str| good("", "").replace("dns: [10.11.0.1]", &format!("dns: [10.11.0.1], {text}"));
    let kubernetes = |text: &str, more: &str| good(&format!("kubernetes: {{{text}}}\n"), more);
    for (id, cluster) in [
        ("P13", good("", "").replace("c.home.arpa", "c.dev")),
        ("P14", good("", "").replace("c.home.arpa", "c.local")),
        ("F112", network("pods: 10.11.0.0/16")),
        ("F112", network("pods: 10.42.0.0/16, services: 10.42.128.0/17")),
        ("P16", network("pods: 11.42.0.0/16")),
        ("P16", network("dhcp-pool: 10.11.0.110-10.11.0.140")),
        ("F191", network("load-balancer-pool: 192.168.1.2-192.168.1.9")),
        (
            "F191",
            network("dhcp-pool: 10.11.0.10-20, load-balancer-pool: 10.11.0.20-30"),
        ),
        (
            "F142",
            network("dhcp-pool: 10.11.0.100-110").replace("10.11.0.102/25", "10.11.0.90/25"),
        ),
        (
            "P16",
            good("", "")
                .replace("10.11.0.102/25", "10.12.0.102/25")
                .replace("gateway: 10.11.0.1, ", ""),
        ),
        ("P16", good("", "").replace("10.11.0.102/25", "10.11.0.102/24")),
        ("F010", good("", ", board: pi2b, arch: arm64, accept: [P42]")),
        (
            "G1",
            kubernetes("distribution: k3s", ", board: pi1b+, arch: armhf, accept: [G6]"),
        ),
        ("P59", good("", ", board: \"pi2b:2GiB\", accept: [P42]")),
        ("P42", good("", ", board: pi3b+")),
        (
            "F091",
            good(
                "",
                ", board: \"pi4b:2GiB\", interfaces: {eth0: {}, wlan0: {wifi: home}}",
            )
            .replace("pi4b", "pi2b")
            .replace("2GiB", "1GiB")
            .replace("name: one,", "name: one, accept: [P42],"),
        ),
        (
            "P10",
            good("", "")
                .replace("swap: off, ", "")
                .replace("role: agent", "role: agent, swap: off"),
        ),
        ("F120", good("", ", labels: {node-role.kubernetes.io/x: y}")),
        ("F120", good("", ", labels: {a: \"b c\"}")),
        ("F121", good("", ", taints: [\"a=b:Never\"]")),
        ("F051", good("", ", ssh: {password-login: true}")),
        ("F048", good("", ", users: {other: {}}")),
        ("P31", good("", ", base: \"https://example.org/a.img.xz\"")),
        ("P54", good("", ", services: {embedded-mirror: {}, registry: {}}")),
        (
            "F142",
            good(
                "",
                ", interfaces: {eth0: {mac: \"dc:a6:32:00:00:01\"}, eth1: {mac: \"dc:a6:32:00:00:01\", use: uplink}}",
            ),
        ),
        (
            "F104",
            kubernetes("distribution: k3s", "").replace("role: server", "role: agent"),
        ),
        ("P23", kubernetes("distribution: kubeadm, token-ttl: 23h", "")),
        ("P23", kubernetes("distribution: kubeadm, token-ttl: 90m", "")),
        ("P23", kubernetes("distribution: kubeadm, token-ttl: 0s", "")),
        (
            "F167",
            good("", "").replace("address: 10.11.0.101/25", "address: dhcp"),
        ),
        (
            "F146",
            good("", "").replace(
                "role: agent, address: 10.11.0.102/25",
                "role: router, address: 10.11.0.1/25",
            ),
        ),
        (
            "F140",
            good("", "").replace(
                "role: agent, address: 10.11.0.102/25",
                "role: router, interfaces: {eth0: {use: lan}, eth1: {use: uplink}}",
            ),
        ),
    ] {
        assert_eq!(findings(&cluster), [id], "{cluster}");
    }
    let servers = kubernetes("distribution: k3s", "").replace("role: agent", "role: server");
    assert_eq!(findings(&servers), ["F100", "F111"]);
}

/// Each finding about data disks for what has it.
#[test]
fn f088_f089_p33_disks_that_a_node_could_not_read() {
    for (id, disks) in [
        ("F088", "data: {mount: /data}"),
        ("F088", "data: {id: usb-A, label: data, mount: /data}"),
        ("P33", "data: {id: /dev/sda1, mount: /data}"),
        ("P33", "data: {id: sda1, mount: /data}"),
        ("F088", "my data: {uuid: 1234-ABCD, mount: /data}"),
        ("F088", "data: {id: /dev/disk/by-id/usb-A, mount: /data}"),
        ("F088", "data: {uuid: '{1234}', mount: /data}"),
        ("F088", "data: {label: my data, mount: /data}"),
        ("F088", "data: {label: \"a\\nb c\", mount: /data}"),
        ("F088", "data: {label: data, mount: data}"),
        ("F088", "data: {label: data, mount: /}"),
        ("F088", "data: {label: data, mount: /srv/../data}"),
        ("F088", "data: {label: data, mount: /srv/%n}"),
        ("F088", "data: {label: data, mount: /data, fs: 'ext4,ro x'}"),
        (
            "F088",
            "data: {label: data, mount: /data}, more: {label: more, mount: /data/}",
        ),
        ("F089", "data: {id: usb-A, mount: /data, wipe: '1 2'}"),
        ("F089", "data: {label: data, mount: /data, wipe: '1'}"),
        ("F089", "data: {id: usb-A, wipe: '1'}"),
        ("F089", "data: {id: usb-A, mount: /data, wipe: '1', fs: vfat}"),
    ] {
        assert_eq!(
            findings(&good("", &format!(", disks: {{{disks}}}"))),
            [id],
            "{disks}"
        );
    }
}

// rows: P42
#[test]
fn what_is_accepted_is_not_told() {
    let told = good("", ", board: pi3b+");
    assert_eq!(findings(&told), ["P42"]);
    assert_eq!(
        findings(&told.replace("board: pi3b+", "board: pi3b+, accept: [P42]")),
        [""; 0]
    );
}

// rows: F010
#[test]
fn errors_and_denied_warnings_decide_the_exit_code() {
    let warned = || Test::new().cluster(&good("", ", board: pi3b+"));
    let out = warned().args(["lint"]).run();
    assert!(
        out.stdout.starts_with("cluster.yaml:5: warning P42: "),
        "{}",
        out.stdout
    );
    assert!(out.stdout.contains("(remedy: "), "{}", out.stdout);
    warned().args(["lint", "--deny-warnings"]).status(1).run();
    Test::new()
        .cluster(&good("", ", board: pi2b, arch: arm64, accept: [P42]"))
        .args(["lint"])
        .status(1)
        .run();
}
