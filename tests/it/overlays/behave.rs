//! What the files do: a router, a client on its LAN and a host on its uplink, each in a network namespace of its own.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use super::Laid;
use super::variables::ceil;
use crate::support::tools;

/// Listens on ports of TCP, and tells who connects its address.
const SERVE: &str = r#"
import selectors, socket, sys
waiting = selectors.DefaultSelector()
for port in sys.argv[1:]:
    s = socket.create_server(("", int(port)))
    waiting.register(s, selectors.EVENT_READ)
print("ready", flush=True)
while True:
    for key, _ in waiting.select():
        peer, address = key.fileobj.accept()
        peer.sendall(address[0].encode())
        peer.close()
"#;

/// Connects to ports of an address, and prints those that answer with what they say.
const TRY: &str = r#"
import socket, sys
for port in sys.argv[2:]:
    try:
        with socket.create_connection((sys.argv[1], int(port)), timeout=1) as s:
            print(port, s.recv(100).decode())
    except OSError:
        pass
"#;

/// Pushes an image of one layer into the registry at the first address, and pulls its manifest from the second.
const PUSH_AND_PULL: &str = r#"
import hashlib, json, sys, time, urllib.request as r
push, pull = sys.argv[1:]
def ask(method, url, body=None, kind="application/octet-stream"):
    request = r.Request(url, data=body, method=method, headers={"Content-Type": kind, "Accept": "*/*"})
    return r.build_opener(r.ProxyHandler({})).open(request, timeout=10)
def blob(data):
    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    where = ask("POST", push + "/v2/team/app/blobs/uploads/", b"").headers["Location"]
    ask("PUT", where + ("&" if "?" in where else "?") + "digest=" + digest, data)
    return {"mediaType": "application/octet-stream", "size": len(data), "digest": digest}
kind = "application/vnd.docker.distribution.manifest.v2+json"
config, layer = blob(b"{}"), blob(b"layer")
config["mediaType"] = "application/vnd.docker.container.image.v1+json"
layer["mediaType"] = "application/vnd.docker.image.rootfs.diff.tar.gzip"
manifest = json.dumps({"schemaVersion": 2, "mediaType": kind, "config": config, "layers": [layer]}).encode()
ask("PUT", push + "/v2/team/app/manifests/1", manifest, kind)
request = r.Request(pull + "/v2/team/app/manifests/1", headers={"Accept": kind})
assert r.build_opener(r.ProxyHandler({})).open(request, timeout=10).read() == manifest
assert ask("GET", pull + "/v2/team/app/blobs/" + layer["digest"]).read() == b"layer"
# The mirror keeps what it pulled after it has answered.
for _ in range(50):
    catalog = ask("GET", pull + "/v2/_catalog").read().decode().strip()
    if "team" in catalog:
        break
    time.sleep(0.2)
print(catalog)
"#;

/// Ends with what it holds.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Three namespaces: `lan` eth0 – lan0 `router` up0 – eth0 `up`.
struct Net {
    prefix: String,
}

impl Net {
    /// The namespaces, or nothing where they cannot be made.
    fn new(wanted: &[&str]) -> Option<Self> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        if !tools::have(wanted) || !tools::have(&["ip", "python3"]) {
            return None;
        }
        if !tools::is_root() {
            tools::say("only the superuser makes network namespaces");
            return None;
        }
        let prefix = format!(
            "ceil-{}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        let net = Self { prefix };
        for place in ["router", "lan", "up"] {
            let made = tools::output(tools::command("ip").args(["netns", "add", &net.name(place)]));
            if !made.status.success() {
                tools::say("no network namespaces here");
                return None;
            }
        }
        for (place, wire) in [("lan", "lan0"), ("up", "up0")] {
            let line = format!(
                "link add {wire} netns {} type veth peer name eth0 netns {}",
                net.name("router"),
                net.name(place)
            );
            tools::run(tools::command("ip").args(line.split(' ')));
        }
        for (place, line) in [
            ("router", "ip link set lo up"),
            ("router", "ip link set lan0 up"),
            ("router", "ip link set up0 up"),
            ("router", "ip address add 10.11.0.1/25 dev lan0"),
            ("router", "ip address add 192.0.2.2/24 dev up0"),
            ("lan", "ip link set eth0 address b8:27:eb:00:00:01"),
            ("lan", "ip link set eth0 up"),
            ("up", "ip link set eth0 up"),
            ("up", "ip address add 192.0.2.1/24 dev eth0"),
            ("up", "ip route add 10.11.0.0/25 via 192.0.2.2"),
        ] {
            tools::run(&mut net.at(place, &line.split(' ').collect::<Vec<_>>()));
        }
        Some(net)
    }

    fn name(&self, place: &str) -> String {
        format!("{}-{place}", self.prefix)
    }

    /// A command in a namespace.
    fn at(&self, place: &str, line: &[&str]) -> Command {
        let mut command = tools::command("ip");
        command.args(["netns", "exec", &self.name(place)]).args(line);
        command
    }

    fn text(&self, place: &str, line: &[&str]) -> String {
        String::from_utf8(tools::run(&mut self.at(place, line))).unwrap()
    }

    /// Starts a program and waits until it has printed a line with this word, on either output.
    fn start(&self, place: &str, line: &[&str], word: &str) -> Running {
        let script = "exec \"$@\" 2>&1";
        let mut all = vec!["sh", "-c", script, "-"];
        all.extend(line);
        let mut running = Running(self.at(place, &all).stdout(Stdio::piped()).spawn().unwrap());
        let mut lines = BufReader::new(running.0.stdout.take().unwrap()).lines();
        let mut said = String::new();
        loop {
            let Some(Ok(next)) = lines.next() else {
                panic!("{line:?} ended: {said}");
            };
            said.push_str(&next);
            said.push('\n');
            if next.contains(word) {
                break;
            }
        }
        // Read on, so that the program never waits for a reader.
        std::thread::spawn(move || lines.for_each(drop));
        running
    }

    fn serve(&self, place: &str, ports: &str) -> Running {
        let mut line = vec!["python3", "-c", SERVE];
        line.extend(ports.split(' '));
        self.start(place, &line, "ready")
    }

    /// Ports of an address that answer.
    fn open_ports(&self, place: &str, address: &str, ports: &str) -> Vec<String> {
        self.answers(place, address, ports)
            .into_iter()
            .map(|line| line.split(' ').next().unwrap().to_owned())
            .collect()
    }

    fn answers(&self, place: &str, address: &str, ports: &str) -> Vec<String> {
        let mut line = vec!["python3", "-c", TRY, address];
        line.extend(ports.split(' '));
        self.text(place, &line).lines().map(str::to_owned).collect()
    }

    /// Gives the client on the LAN an address and routes by hand, and lets the router pass packets on.
    fn without_dhcp(&self) {
        for (place, line) in [
            ("lan", "ip address add 10.11.0.101/25 dev eth0"),
            ("lan", "ip route add default via 10.11.0.1"),
            ("router", "sysctl -q -w net.ipv4.ip_forward=1"),
        ] {
            tools::run(&mut self.at(place, &line.split(' ').collect::<Vec<_>>()));
        }
    }

    fn load(&self, file: &Path) {
        tools::run(&mut self.at("router", &["nft", "-f", file.to_str().unwrap()]));
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for place in ["router", "lan", "up"] {
            let _ = tools::command("ip")
                .args(["netns", "del", &self.name(place)])
                .output();
        }
    }
}

const PORTS: &str = "22 53 80 443 3306 5000 5001 6443 8080 9000 9100 9101 10250";

/// F146: a counter of translated connections grows; F147: from the uplink nothing new goes in; F148: a scan finds the
/// ports of the list and no other.
#[test]
fn f146_f147_f148_the_router_opens_what_is_listed() {
    let Some(net) = Net::new(&["nft", "sysctl"]) else {
        return;
    };
    net.without_dhcp();
    let laid = Laid::out(&["router", "wireguard", "registry"], &ceil("router"));
    let _router = net.serve("router", PORTS);
    let _lan = net.serve("lan", "22 80");
    let _up = net.serve("up", "7777");
    // Without the firewall all of it is there: what is missing below is missing for a reason.
    assert_eq!(net.open_ports("up", "192.0.2.2", PORTS).len(), 13);
    assert_eq!(net.open_ports("up", "10.11.0.101", "22"), ["22"]);

    net.load(&laid.firewall());
    assert_eq!(net.open_ports("up", "192.0.2.2", PORTS), ["8080"]);
    assert_eq!(
        net.open_ports("up", "10.11.0.1", PORTS),
        ["8080"],
        "the other address is the same machine"
    );
    // One member has no known address, so all of the LAN counts as members (9100).
    assert_eq!(
        net.open_ports("lan", "10.11.0.1", PORTS),
        ["22", "53", "5000", "5001", "9000", "9100"]
    );
    assert!(net.open_ports("up", "10.11.0.101", "22 80").is_empty());

    let count = || {
        let text = net.text(
            "router",
            &["nft", "-j", "list", "counter", "inet", "ceil", "lan-to-uplink"],
        );
        let value: Value = serde_json::from_str(&text).unwrap();
        value["nftables"][1]["counter"]["packets"].as_u64().unwrap()
    };
    assert_eq!(count(), 0);
    assert_eq!(net.answers("lan", "192.0.2.1", "7777"), ["7777 192.0.2.2"]);
    assert_eq!(count(), 1);
}

/// P40: loading again replaces our table, and leaves those of others.
#[test]
fn p40_the_firewall_is_one_table_among_others() {
    let Some(net) = Net::new(&["nft"]) else {
        return;
    };
    tools::run(&mut net.at("router", &["nft", "add table ip other; add chain ip other kept"]));
    let file = Laid::out(&["router"], &ceil("router"));
    let file = (file.firewall(), file);
    net.load(&file.0);
    let first = net.text("router", &["nft", "list", "ruleset"]);
    net.load(&file.0);
    assert_eq!(net.text("router", &["nft", "list", "ruleset"]), first);
    assert_eq!(first.matches("table inet ceil {").count(), 1);
    assert!(first.contains("chain kept"));
    tools::run(&mut net.at("router", &["nft", "delete", "table", "inet", "ceil"]));
    assert_eq!(
        net.text("router", &["nft", "list", "tables"]).trim(),
        "table ip other"
    );
}

/// F163: a request to the router's uplink address reaches the ingress, and only for its ports.
#[test]
fn f163_the_uplink_reaches_the_ingress() {
    let Some(net) = Net::new(&["nft", "sysctl"]) else {
        return;
    };
    net.without_dhcp();
    let mut variables = ceil("router");
    variables["node"]["services"]["ingress"] = json!({"from-uplink": true, "address": "10.11.0.101"});
    let _lan = net.serve("lan", "22 80");
    net.load(&Laid::out(&["router"], &variables).firewall());
    assert_eq!(net.answers("up", "192.0.2.2", "22 80"), ["80 192.0.2.1"]);
    assert!(net.open_ports("up", "10.11.0.101", "22").is_empty());
}

/// F149: members reach each other's Kubernetes ports, others do not.
#[test]
fn f149_kubernetes_ports_are_for_members() {
    let Some(net) = Net::new(&["nft"]) else {
        return;
    };
    net.without_dhcp();
    let mut variables = ceil("one");
    // The node stands where the router does; `lan` is a member by its address, 192.0.2.1 is not.
    variables["nodes"]
        .as_array_mut()
        .unwrap()
        .retain(|n| n["name"] != "four");
    variables["node"]["services"]["firewall"] = json!({"enabled": true});
    let laid = Laid::out(&["firewall"], &variables);
    let _node = net.serve("router", PORTS);
    net.load(&laid.firewall());
    assert_eq!(net.open_ports("lan", "10.11.0.1", PORTS), ["22", "6443", "10250"]);
    assert!(net.open_ports("up", "10.11.0.1", PORTS).is_empty());
    for line in [
        "ip address del 10.11.0.101/25 dev eth0",
        "ip address add 10.11.0.99/25 dev eth0",
    ] {
        tools::run(&mut net.at("lan", &line.split(' ').collect::<Vec<_>>()));
    }
    assert_eq!(net.open_ports("lan", "10.11.0.1", PORTS), ["22"]);
}

// rows: P14, P17
/// F141 to F144, F159, F166: leases on the LAN and none on the uplink; names with and without a MAC; the wildcard.
#[test]
fn f141_f143_f144_leases_and_names() {
    let Some(net) = Net::new(&["dnsmasq", "udhcpc", "dig"]) else {
        return;
    };
    let mut variables = ceil("router");
    variables["node"]["services"]["dns"]["records"] = json!({"printer.ceil.home.arpa": "10.11.0.5"});
    variables["node"]["services"]["dns"]["clusters"] = json!([
        {"domain": "crew-2.home.arpa", "hosts": {"001": "10.11.0.121"}, "ingress": "10.11.0.122"},
    ]);
    let laid = Laid::out(&["router"], &variables);
    let conf = format!("--conf-file={}", laid.path("etc/dnsmasq.d/ceil.conf").display());
    let leases = format!("--dhcp-leasefile={}", laid.path("leases").display());
    let line = [
        "dnsmasq",
        "--keep-in-foreground",
        "--log-facility=-",
        "--user=root",
        "--pid-file=",
        &conf,
        &leases,
    ];
    // Its last word before it serves, whichever of the lines comes last.
    let _dnsmasq = net.start("router", &line, "using nameserver 9.9.9.9");

    let script = laid.path("lease.sh");
    fs::write(
        &script,
        "#!/bin/sh\n[ \"$1\" != bound ] || echo \"lease $ip $router $dns\"\n",
    )
    .unwrap();
    tools::run(Command::new("chmod").arg("755").arg(&script));
    // dnsmasq sees for three seconds whether anybody has a free address already.
    let lease = |place: &str, name: &str| {
        let patience = if place == "up" { "1" } else { "4" };
        let name = format!("hostname:{name}");
        let line = [
            "udhcpc",
            "-i",
            "eth0",
            "-f",
            "-n",
            "-q",
            "-t",
            "3",
            "-T",
            patience,
            "-x",
            &name,
            "-s",
            script.to_str().unwrap(),
        ];
        let out = tools::output(&mut net.at(place, &line));
        let said = String::from_utf8(out.stdout).unwrap();
        said.lines().find(|l| l.starts_with("lease ")).map(str::to_owned)
    };
    let mac = |address: &str| {
        tools::run(&mut net.at("lan", &["ip", "link", "set", "eth0", "address", address]));
    };
    assert_eq!(
        lease("lan", "any").as_deref(),
        Some("lease 10.11.0.101 10.11.0.1 10.11.0.1")
    );
    assert_eq!(lease("up", "any"), None, "no lease on the uplink");
    // Without a MAC in the cluster file: the reserved address by name, and for `four` one of the pool.
    mac("02:00:00:00:00:02");
    assert_eq!(
        lease("lan", "ceil-two").as_deref(),
        Some("lease 10.11.0.102 10.11.0.1 10.11.0.1")
    );
    mac("02:00:00:00:00:04");
    let four = lease("lan", "ceil-four").unwrap();
    let four = four.split(' ').nth(1).unwrap();
    let last: u8 = four.rsplit('.').next().unwrap().parse().unwrap();
    assert!((10..=60).contains(&last), "{four}");

    tools::run(&mut net.at(
        "lan",
        &["ip", "address", "add", &format!("{four}/25"), "dev", "eth0"],
    ));
    let ask = |name: &str| {
        let text = net.text(
            "lan",
            &["dig", "+short", "+time=2", "+tries=1", "@10.11.0.1", name],
        );
        text.lines().last().unwrap_or_default().to_owned()
    };
    for (name, address) in [
        ("one.ceil.home.arpa", "10.11.0.101"),
        ("ceil-one.ceil.home.arpa", "10.11.0.101"),
        ("router.ceil.home.arpa", "10.11.0.1"),
        ("ceil-four.ceil.home.arpa", four),
        ("four.ceil.home.arpa", four),
        ("api.ceil.home.arpa", "10.11.0.101"),
        ("grafana.apps.ceil.home.arpa", "10.11.0.64"),
        ("printer.ceil.home.arpa", "10.11.0.5"),
        ("001.crew-2.home.arpa", "10.11.0.121"),
        ("x.apps.crew-2.home.arpa", "10.11.0.122"),
        ("nobody.ceil.home.arpa", ""),
        ("nobody.crew-2.home.arpa", ""),
    ] {
        assert_eq!(ask(name), address, "{name}");
    }
    let mut outside = net.at(
        "up",
        &[
            "dig",
            "+short",
            "+time=1",
            "+tries=1",
            "@192.0.2.2",
            "one.ceil.home.arpa",
        ],
    );
    assert!(
        !tools::output(&mut outside).status.success(),
        "no answer on the uplink"
    );
}

/// F153, F154: push to the private registry; what is pulled through the mirror is listed there.
#[test]
fn f153_f154_registries_push_and_pull() {
    let Some(net) = Net::new(&["docker-registry"]) else {
        return;
    };
    let mut variables = ceil("router");
    variables["node"]["services"]["registry"] = json!({"mirror": {"upstream": "http://127.0.0.1:5001"}});
    let laid = Laid::out(&["registry"], &variables);
    let start = |name: &str| {
        let path = laid.path(&format!("etc/ceil-registry/{name}.yml"));
        let here = laid.path("data").to_str().unwrap().to_owned();
        let text = fs::read_to_string(&path)
            .unwrap()
            .replace("/var/lib/ceil-registry", &here);
        fs::write(&path, text).unwrap();
        net.start(
            "router",
            &["docker-registry", "serve", path.to_str().unwrap()],
            "listening on",
        )
    };
    let _private = start("private");
    let _mirror = start("mirror");
    let line = [
        "python3",
        "-c",
        PUSH_AND_PULL,
        "http://127.0.0.1:5001",
        "http://127.0.0.1:5000",
    ];
    assert_eq!(
        net.text("router", &line).trim(),
        r#"{"repositories":["team/app"]}"#
    );
}
