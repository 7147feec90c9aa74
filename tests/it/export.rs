//! `export` and `secrets`: other programs read what is printed, and no secret is.

use std::process::Command;

use crate::support::cli::Test;
use crate::support::tools;

const CLUSTER: &str = "
cluster: {name: ceil, domain: ceil.home.arpa}
network: {lan: 10.11.0.0/25, gateway: 10.11.0.1, dns: [10.11.0.1]}
wifi: {home: {ssid: Home, country: DE}}
defaults: {base: demo, ssh: {host-key: true}, users: {admin: {ssh-keys: [\"ssh-ed25519 AAAA a\"], password: admin-password}}}
nodes:
  - {name: router, profile: p, role: router, address: 10.11.0.1/25, interfaces: {eth0: {use: lan}, wlan0: {use: uplink, wifi: home}}}
  - {name: one, profile: p, role: server, address: 10.11.0.101/25, interfaces: {eth0: {mac: dc:a6:32:00:00:01}}}
  - {name: two, profile: p, role: agent, address: 10.11.0.102/25, interfaces: {eth0: {mac: dc:a6:32:00:00:02}}}
  - {name: three, profile: p, role: agent}
";

fn cluster() -> Test {
    Test::new().cluster(CLUSTER).profile("p", "description: p\n")
}

#[test]
fn f160_reservations_in_all_forms_have_each_node_once() {
    for (format, line) in [
        (
            "dnsmasq",
            "dhcp-host=dc:a6:32:00:00:01,10.11.0.101,one\ndhcp-host=dc:a6:32:00:00:02,10.11.0.102,two\n",
        ),
        (
            "isc",
            "host one { hardware ethernet dc:a6:32:00:00:01; fixed-address 10.11.0.101; }\nhost two { hardware ethernet dc:a6:32:00:00:02; fixed-address 10.11.0.102; }\n",
        ),
        (
            "csv",
            "name,mac,address\none,dc:a6:32:00:00:01,10.11.0.101\ntwo,dc:a6:32:00:00:02,10.11.0.102\n",
        ),
    ] {
        cluster()
            .args(["export", "reservations", "--format", format])
            .stdout(line)
            .stderr_has("left out, for want of a `mac` or a fixed address: three")
            .run();
    }
    let out = cluster()
        .args(["export", "reservations", "--format", "edgeos"])
        .run();
    assert_eq!(out.stdout.lines().count(), 4);
    assert!(
        out.stdout
            .contains("subnet 10.11.0.0/25 static-mapping two mac-address dc:a6:32:00:00:02")
    );
}

#[test]
fn f221_hosts_inventory_and_tfvars() {
    cluster()
        .args(["export", "hosts"])
        .stdout("10.11.0.1\trouter.ceil.home.arpa router\n10.11.0.101\tone.ceil.home.arpa one\n10.11.0.102\ttwo.ceil.home.arpa two\n")
        .run();
    let out = cluster().args(["export", "inventory"]).run();
    assert!(
        out.stdout
            .contains("one ansible_host=10.11.0.101 ansible_user=admin\n"),
        "{}",
        out.stdout
    );
    assert!(out.stdout.contains("[agent]\ntwo\nthree\n"), "{}", out.stdout);
    let out = cluster()
        .args(["export", "tfvars", "--kubeconfig", "out/kubeconfig"])
        .run();
    let value: serde_json::Value = serde_json::from_str(&out.stdout).unwrap();
    assert_eq!(value["nodes"]["one"]["address"], "10.11.0.101");
    assert_eq!(value["kubeconfig_path"], "out/kubeconfig");
}

// rows: P49
#[test]
fn f052_host_keys_are_known_before_the_first_login() {
    let missing = cluster().args(["export", "known-hosts"]).status(1).run();
    assert!(missing.stderr.contains("is not there yet"), "{}", missing.stderr);
    let built = missing
        .again()
        .file("secrets.yaml", "wifi-home: correct horse battery\n")
        .mode("secrets.yaml", 0o600)
        .args(["build", "one", "--format", "none"])
        .run();
    let known = built.again().args(["export", "known-hosts"]).run();
    let text = known.stdout.clone();
    assert_eq!(text.lines().count(), 4);
    assert!(
        text.contains("one,one.ceil.home.arpa,10.11.0.101 ssh-ed25519 AAAA"),
        "{text}"
    );
    assert!(!text.contains("PRIVATE"));
    let config = known
        .again()
        .args(["export", "ssh-config", "--known-hosts", "known_hosts"])
        .run();
    if !tools::have(&["ssh", "ssh-keygen"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (hosts, settings) = (dir.path().join("known_hosts"), dir.path().join("config"));
    std::fs::write(&hosts, &text).unwrap();
    std::fs::write(&settings, &config.stdout).unwrap();
    for name in ["one", "one.ceil.home.arpa", "10.11.0.101"] {
        let found = Command::new("ssh-keygen")
            .arg("-F")
            .arg(name)
            .arg("-f")
            .arg(&hosts)
            .output()
            .unwrap();
        assert!(found.status.success(), "{name}");
    }
    let seen = Command::new("ssh")
        .arg("-F")
        .arg(&settings)
        .args(["-G", "two"])
        .output()
        .unwrap();
    let seen = String::from_utf8(seen.stdout).unwrap();
    for line in [
        "hostname 10.11.0.102",
        "user admin",
        "stricthostkeychecking true",
        "userknownhostsfile known_hosts",
    ] {
        assert!(seen.lines().any(|l| l == line), "{line}: {seen}");
    }
}

#[test]
fn secrets_are_checked_and_changed_without_being_shown() {
    let first = cluster().args(["secrets", "check"]).status(1).run();
    assert!(
        first.stdout.contains("wifi-home: missing: only you know it\n"),
        "{}",
        first.stdout
    );
    assert!(first.stdout.contains("ssh.one: made by the next build\n"));
    let built = first
        .again()
        .file(
            "secrets.yaml",
            "wifi-home: correct horse battery\nold: unused value\n",
        )
        .mode("secrets.yaml", 0o600)
        .args(["build", "one", "--format", "none"])
        .run();
    let before = String::from_utf8(built.read("secrets.yaml")).unwrap();
    let checked = built.again().args(["secrets", "check"]).run();
    assert!(checked.stdout.contains("admin-password: there\n") && checked.stdout.contains("old: not used"));
    assert!(!checked.stdout.contains("horse") && !checked.stdout.contains("unused value"));
    let rotated = checked
        .again()
        .args(["secrets", "rotate", "admin-password"])
        .run();
    let after = String::from_utf8(rotated.read("secrets.yaml")).unwrap();
    let line = |text: &str| {
        text.lines()
            .find(|l| l.starts_with("admin-password: "))
            .unwrap()
            .to_owned()
    };
    assert_ne!(line(&before), line(&after));
    assert_eq!(
        before.replace(&line(&before), ""),
        after.replace(&line(&after), "")
    );
    assert!(!rotated.stderr.contains(line(&after).split(": ").nth(1).unwrap()));
    let unknown = rotated
        .again()
        .args(["secrets", "rotate", "admin-pasword"])
        .status(1)
        .run();
    assert!(unknown.stderr.contains("did you mean `admin-password`?"));
}

/// F158: the commands for three systems, with the address of the file or the one that is told.
#[test]
fn f158_routes_to_the_lan() {
    let text = |via: &str| {
        format!(
            "# Linux, until the next start\nsudo ip route replace 10.11.0.0/25 via {via}\n\
             # macOS, until the next start\nsudo route -n add -net 10.11.0.0/25 {via}\n\
             # Windows, as administrator, for good\nroute -p add 10.11.0.0 mask 255.255.255.128 {via}\n"
        )
    };
    cluster()
        .args(["export", "routes"])
        .status(1)
        .stderr_has("the router has no fixed address on its uplink")
        .stderr_has("--via ADDRESS")
        .run();
    cluster()
        .args(["export", "routes", "--via", "192.168.0.100"])
        .stdout(&text("192.168.0.100"))
        .run();
    let fixed = CLUSTER.replace("use: uplink, ", "use: uplink, address: 192.168.0.99/24, ");
    Test::new()
        .cluster(&fixed)
        .profile("p", "description: p\n")
        .args(["export", "routes"])
        .stdout(&text("192.168.0.99"))
        .run();
    Test::new()
        .cluster(&CLUSTER.replace("role: router, ", ""))
        .profile("p", "description: p\n")
        .args(["export", "routes"])
        .status(1)
        .stderr_has("no node is a router")
        .run();
}

const VPN: &str = "
cluster: {name: ceil, domain: ceil.home.arpa}
network: {lan: 10.11.0.0/25, gateway: 10.11.0.1, dns: [10.11.0.1], vpn: 10.8.0.0/24}
nodes:
  - {name: router, profile: p, base: demo, role: router, accept: [F146], address: 10.11.0.1/25, overlays: [wireguard],
     services: {wireguard: {endpoint: vpn.example.org, clients: [laptop, phone]}}}
";

/// F151: one file a client, for its eyes alone, that wg-quick takes and whose keys belong to those of the router.
#[test]
fn f151_p41_files_of_vpn_clients() {
    use std::os::unix::fs::PermissionsExt as _;
    let vpn = |file: &str| Test::new().cluster(file).profile("p", "description: p\n");
    let ran = vpn(VPN).args(["-q", "build", "router"]).run();
    let text = String::from_utf8(ran.read("out/laptop.conf")).unwrap();
    // P41: the name server is the router, by its address in the cluster's network.
    for line in [
        "DNS = 10.11.0.1, ceil.home.arpa",
        "Address = 10.8.0.2/32",
        "Endpoint = vpn.example.org:51820",
        "AllowedIPs = 10.11.0.0/25, 10.8.0.0/24",
    ] {
        assert!(text.lines().any(|l| l == line), "{line}\n{text}");
    }
    let mode = |path: &str| ran.path(path).metadata().unwrap().permissions().mode() & 0o777;
    for file in ["out/laptop.conf", "out/phone.conf", "secrets.yaml"] {
        assert_eq!(mode(file), 0o600, "{file}");
    }
    let private = text
        .lines()
        .find_map(|l| l.strip_prefix("PrivateKey = "))
        .unwrap()
        .to_owned();
    for file in ran.names("out").iter().filter(|n| n.ends_with(".json")) {
        let manifest = String::from_utf8(ran.read(&format!("out/{file}"))).unwrap();
        assert!(!manifest.contains(&private));
    }
    let ran = ran.again().args(["-q", "plan", "router", "--json"]).run();
    assert!(!ran.stdout.contains(&private));
    // The same again, on standard output and in files, and no other client's key.
    let ran = ran
        .again()
        .args(["export", "wireguard", "laptop"])
        .stdout(&text)
        .run();
    let ran = ran
        .again()
        .args(["export", "wireguard", "--out", "clients"])
        .stdout("clients/laptop.conf\nclients/phone.conf\n")
        .run();
    assert_eq!(ran.read("clients/laptop.conf"), text.as_bytes());
    let other = String::from_utf8(ran.read("clients/phone.conf")).unwrap();
    assert!(
        other.contains("Address = 10.8.0.3/32") && !other.contains(&private),
        "{other}"
    );
    let ran = ran
        .again()
        .args(["export", "wireguard", "labtop"])
        .status(1)
        .stderr_has("did you mean `laptop`?")
        .run();
    if tools::have(&["wg", "wg-quick"]) {
        let stripped = tools::run(
            tools::command("wg-quick")
                .arg("strip")
                .arg(ran.path("clients/laptop.conf")),
        );
        let stripped = String::from_utf8(stripped).unwrap();
        assert!(
            stripped.contains(&format!("PrivateKey = {private}")) && !stripped.contains("DNS"),
            "{stripped}"
        );
        // wg computes from the client's key what the router is told, and the other way round.
        let public = |private: &str| {
            let mut wg = tools::command("wg")
                .arg("pubkey")
                .stdin(std::process::Stdio::piped())
                .stdout(std::process::Stdio::piped())
                .spawn()
                .unwrap();
            std::io::Write::write_all(&mut wg.stdin.take().unwrap(), private.as_bytes()).unwrap();
            String::from_utf8(wg.wait_with_output().unwrap().stdout)
                .unwrap()
                .trim()
                .to_owned()
        };
        let server = Command::new(env!("CARGO_BIN_EXE_ceil-img"))
            .args(["cat", "out/router.img", "root:/etc/wireguard/wg0.conf"])
            .current_dir(ran.path("."))
            .output()
            .unwrap();
        let server = String::from_utf8(server.stdout).unwrap();
        assert!(
            server.contains(&format!("PublicKey = {}", public(&private))),
            "{server}"
        );
        let own = server
            .lines()
            .find_map(|l| l.strip_prefix("PrivateKey = "))
            .unwrap();
        assert!(text.contains(&format!("PublicKey = {}", public(own))), "{text}");
    }
    for (from, to, words) in [
        (
            "endpoint: vpn.example.org, ",
            "",
            "nothing says where VPN clients find",
        ),
        ("phone", "../phone", "is not a name of a VPN client"),
        ("phone", "a-very-long-name", "is not a name of a VPN client"),
        (
            ", vpn: 10.8.0.0/24",
            "",
            "there is no address for the VPN client `laptop`",
        ),
        ("[laptop, phone]", "[]", "there are no VPN clients"),
    ] {
        let ran = vpn(&VPN.replace(from, to))
            .args(["export", "wireguard", "--out", "clients"])
            .status(1)
            .stderr_has(words)
            .run();
        assert!(ran.names("clients").is_empty());
    }
}
