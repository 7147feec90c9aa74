//! The gates, and what `lint` says of add-ons and firewalls: each finding for the cluster that has it and for no other.

use serde_json::Value;

use crate::support::bases::base;
use crate::support::cli::Test;

/// Identifiers of all findings of `lint`, errors as `G1!` and warnings as `G1?`.
fn findings(test: Test) -> Vec<String> {
    let out = test.args(["lint", "--json", "--quiet"]).any_status().run();
    assert!(!out.stdout.contains("\"event\":\"error\""), "{}", out.stdout);
    out.stdout
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|event| event["event"] == "finding")
        .map(|event| {
            assert!(!event["remedy"].as_str().unwrap().is_empty());
            let mark = if event["severity"] == "error" { '!' } else { '?' };
            format!("{}{mark}", event["id"].as_str().unwrap())
        })
        .collect()
}

/// A server and an agent that nobody objects to; `more` are further settings of the server.
fn cluster(kubernetes: &str, more: &str) -> String {
    format!(
        "cluster: {{name: c, domain: c.home.arpa}}\n\
         network: {{lan: 10.11.0.0/25, gateway: 10.11.0.1, dns: [10.11.0.1]}}\n\
         kubernetes: {{{kubernetes}}}\n\
         defaults: {{users: {{admin: {{ssh-keys: [\"ssh-ed25519 AAAA a\"]}}}}}}\n\
         nodes:\n  - {{name: one, profile: minimal, role: server, address: 10.11.0.101/25, {more}}}\n"
    )
}

fn k3s(more: &str) -> String {
    cluster("distribution: k3s", more)
}

fn kubeadm(version: &str, more: &str) -> String {
    cluster(
        &format!("distribution: kubeadm, version: {version}, token-ttl: 8760h"),
        more,
    )
}

/// Both sides of each gate that the cluster file and the catalog decide.
#[test]
fn gates_speak_before_anything_is_fetched() {
    const BULLSEYE: &str = "swap: off, base: raspios-bullseye-arm64";
    for (good, bad, id) in [
        (
            k3s("swap: off, board: \"pi2b:1GiB\", arch: armhf, accept: [G6]"),
            k3s("swap: off, board: \"pi1b+:512MiB\", arch: armhf, accept: [G6]"),
            "G1!",
        ),
        (
            kubeadm("1.26.15", "swap: off, base: raspios-bullseye-armhf"),
            kubeadm("1.27.0", "swap: off, base: raspios-bullseye-armhf"),
            "G1!",
        ),
        (
            kubeadm("1.13.6", "swap: off, base: hypriotos-1.10.0"),
            kubeadm("1.14.0", "swap: off, base: hypriotos-1.10.0"),
            "G2!",
        ),
        (
            kubeadm(
                "1.23.17",
                &format!("{BULLSEYE}, packages: [\"docker-ce=5:20.10.5~3-0~debian\"]"),
            ),
            kubeadm(
                "1.24.0",
                &format!("{BULLSEYE}, packages: [\"docker-ce=5:20.10.5~3-0~debian\"]"),
            ),
            "G3!",
        ),
        (
            kubeadm("1.34.0", "swap: off, base: ubuntu-20.04-raspi-arm64"),
            kubeadm("1.35.0", "swap: off, base: ubuntu-20.04-raspi-arm64"),
            "G5!",
        ),
        (
            k3s("swap: off, board: \"pi4b:2GiB\""),
            k3s("swap: off, board: pi3b+"),
            "G6?",
        ),
        (
            kubeadm(
                "1.31.0",
                "swap: off, base: raspios-trixie-arm64, packages: [kubeadm]",
            ),
            kubeadm(
                "1.30.0",
                "swap: off, base: raspios-trixie-arm64, packages: [kubeadm]",
            ),
            "G7!",
        ),
        (
            k3s("swap: off, base: raspios-trixie-armhf, packages: [\"docker-ce=5:28.0.1-1\"]"),
            k3s("swap: off, base: raspios-trixie-armhf, packages: [\"docker-ce=5:29.0.1-1\"]"),
            "G10!",
        ),
        (
            k3s(
                "swap: off, base: raspios-bullseye-arm64, edits: [{put: \"boot:/wpa_supplicant.conf\", content: x}]",
            ),
            k3s(
                "swap: off, base: raspios-bookworm-arm64, edits: [{put: \"boot:/wpa_supplicant.conf\", content: x}]",
            ),
            "G11!",
        ),
        (
            k3s("swap: off, base: ubuntu-22.04-raspi-arm64, packages: [linux-modules-extra-raspi]"),
            k3s("swap: off, base: ubuntu-22.04-raspi-arm64"),
            "G12!",
        ),
        (
            kubeadm("1.22.0", "swap: limited, base: raspios-bullseye-arm64"),
            kubeadm("1.21.0", "swap: limited, base: raspios-bullseye-arm64"),
            "P12!",
        ),
        (
            kubeadm(
                "1.19.0",
                &format!("{BULLSEYE}, packages: [\"docker-ce=5:19.03.15~3\"]"),
            ),
            kubeadm(
                "1.19.0",
                &format!("{BULLSEYE}, packages: [\"docker-ce=5:20.10.5~3\"]"),
            ),
            "P44?",
        ),
    ] {
        assert_eq!(findings(Test::new().cluster(&good)), [""; 0], "{good}");
        assert_eq!(findings(Test::new().cluster(&bad)), [id], "{bad}");
        // Errors end `plan`, `fetch` and `build` before the network is asked; `accept` lets them go on.
        if let Some(id) = id.strip_suffix('!') {
            for command in ["plan", "fetch", "build"] {
                let ran = Test::new()
                    .cluster(&bad)
                    .args(["--offline", command, "one"])
                    .status(1)
                    .stderr_has(&format!("error {id}: "))
                    .stderr_has("accept: [")
                    .run();
                assert!(!ran.stderr.contains("not in the cache"), "{}", ran.stderr);
            }
        }
        let id = id.trim_end_matches(['!', '?']);
        let accepted = if bad.contains("accept: [G6]") {
            bad.replace("accept: [G6]", &format!("accept: [G6, {id}]"))
        } else {
            bad.replace("swap:", &format!("accept: [{id}], swap:"))
        };
        assert_eq!(findings(Test::new().cluster(&accepted)), [""; 0], "{accepted}");
    }
    // A node that is no part of Kubernetes meets the gates of its base alone.
    let helper = "cluster: {name: c, domain: c.home.arpa}\nnodes: [{name: one, profile: minimal, base: raspios-bookworm-arm64, \
                  edits: [{put: \"boot:/wpa_supplicant.conf\", content: x}]}]\n";
    assert_eq!(findings(Test::new().cluster(helper)), ["G11!"]);
}

/// What only the opened image tells: kernel, cloud-init, where the boot volume is.
#[test]
fn gates_speak_again_when_the_base_is_open() {
    const OLD: &str = "distribution: k3s, version: v1.17.17+k3s1";
    let user_data = |text: &str| {
        format!(
            "swap: off, accept: [G2], edits: [{{put: \"boot:/user-data\", content: \"#cloud-config\\n{text}\\n\"}}]"
        )
    };
    for (family, good, bad, id) in [
        (
            "raspios-trixie",
            kubeadm("1.26.0", "swap: off"),
            kubeadm("1.25.16", "swap: off"),
            "G4",
        ),
        (
            "hypriot",
            cluster(OLD, "swap: off, accept: [G2]"),
            cluster(OLD, "swap: off"),
            "G2",
        ),
        (
            "hypriot",
            cluster(OLD, &user_data("runcmd: []")),
            cluster(OLD, &user_data("wireguard: {}")),
            "G9",
        ),
    ] {
        let Some(base) = base(family) else { return };
        let told = format!("error {id}: ");
        for (file, stops) in [(&good, false), (&bad, true)] {
            let ran = Test::new()
                .cluster(file)
                .args(["build", "one", "--format", "none", "--base"])
                .args([&base.path])
                .any_status()
                .run();
            assert_eq!(ran.stderr.contains(&told), stops, "{file}\n{}", ran.stderr);
            assert_eq!(
                ran.names("out").contains(&"one.manifest.json".to_owned()),
                !stops && ran.code == Some(0)
            );
        }
    }
}

const HEADER: &str = "# addon: mine\n# version: \"1\"\n# needs: [any]\n\
    # images:\n#   - {image: \"docker.io/library/redis:8.8.3\", arches: [arm64, armhf, amd64], digest: unknown}\n\
    # claims: false\n# default-class: false\n# ports: []\n# secrets: []\n# settings: []\n\n\
    apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: x}\n";

#[test]
fn add_ons_are_judged_by_their_headers() {
    let lint = |kubernetes: &str, manifest: &str| {
        findings(
            Test::new()
                .cluster(&cluster(kubernetes, "swap: off, arch: armhf, addons: [mine]"))
                .file("addons/mine.yaml", manifest),
        )
    };
    let k3s = "distribution: k3s";
    assert_eq!(lint(k3s, HEADER), [""; 0]);
    for (kubernetes, from, to, id) in [
        (k3s, "# addon: mine", "# addon: other", "F190!"),
        (k3s, "needs: [any]", "needs: [kubeadm]", "F190!"),
        (
            k3s,
            "arches: [arm64, armhf, amd64]",
            "arches: [arm64, amd64]",
            "F218!",
        ),
        (k3s, "default-class: false", "default-class: true", "P51!"),
        (
            "distribution: k3s, disable: [local-storage]",
            "claims: false",
            "claims: true",
            "F220!",
        ),
        (k3s, "networking.k8s.io/v1", "extensions/v1beta1", "G8!"),
    ] {
        assert_eq!(
            lint(kubernetes, &HEADER.replace(from, to)),
            [id],
            "{from} -> {to}"
        );
    }
    let kept = HEADER.replace("claims: false", "claims: true");
    assert_eq!(lint(k3s, &kept), [""; 0], "k3s has a class of its own");
}

#[test]
fn firewalls_open_what_exists() {
    let open = |what: &str| {
        findings(Test::new().cluster(&k3s(&format!(
            "swap: off, overlays: [firewall], firewall: {{open: [\"{what}\"]}}"
        ))))
    };
    for what in [
        "22/tcp",
        "67-68/udp",
        "443/tcp@lan",
        "80/tcp@nodes",
        "80/tcp@eth0",
        "80",
    ] {
        assert_eq!(open(what), [""; 0], "{what}");
    }
    for what in [
        "22/tcp@wan",
        "22/tcp@uplink",
        "22/tcp@vpn",
        "22/icmp",
        "0/tcp",
        "http/tcp",
        "90-80/tcp",
        "70000/udp",
    ] {
        assert_eq!(open(what), ["F148!"], "{what}");
    }
    for more in [
        "overlays: [firewall]",
        "role: router, interfaces: {eth0: {use: lan}}",
    ] {
        let file = format!(
            "cluster: {{name: c, domain: c.home.arpa}}\nnodes: [{{name: one, profile: minimal, {more}}}]\n"
        );
        let found = findings(Test::new().cluster(&file));
        assert!(found.contains(&"F148!".to_owned()), "{more}: {found:?}");
    }
}
