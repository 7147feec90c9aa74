//! Every variable that templates have, for clusters as people build them.

use serde_json::{Value, json};

/// A node with every member of `node`, and nothing given.
fn node(name: &str, role: &str, ip: Option<&str>) -> Value {
    json!({
        "name": name, "hostname": name, "fqdn": format!("{name}.ceil.home.arpa"), "role": role,
        "arch": "arm64", "board": "pi3b+", "ip": ip, "prefix": 25, "interface": "eth0",
        "gateway": "10.11.0.1", "dns": ["10.11.0.1"], "mac": null,
        "interfaces": [{"name": "eth0", "use": "cluster", "address": "dhcp", "ip": ip, "prefix": 25, "mac": null, "wifi": null}],
        "uplink": null, "lan_interface": null, "labels": {}, "taints": [], "disks": [], "firewall_open": [],
        "swap": "off", "services": {}, "kubelet": {}, "users": [{"name": "admin", "admin": true}], "first_server": role == "server",
    })
}

/// A data disk.
pub fn disk(name: &str, device: &str, mount: &str) -> Value {
    json!({"name": name, "device": device, "mount": mount, "fs": "ext4", "wipe": null, "nofail": true, "file": null})
}

/// The variables of the node `me` among these.
fn cluster(nodes: &[Value], me: &str) -> Value {
    let of = |roles: &[&str]| -> Vec<Value> {
        let fits = |n: &&Value| roles.contains(&n["role"].as_str().unwrap());
        nodes.iter().filter(fits).cloned().collect()
    };
    let own = nodes.iter().find(|n| n["name"] == me).unwrap();
    json!({
        "cluster": {"name": "ceil", "domain": "ceil.home.arpa"},
        "network": {
            "lan": "10.11.0.0/25", "prefix": 25, "netmask": "255.255.255.128", "gateway": "10.11.0.1",
            "dns": ["10.11.0.1"], "dhcp_pool": {"from": "10.11.0.10", "to": "10.11.0.60"},
            "load_balancer_pool": {"from": "10.11.0.64", "to": "10.11.0.79"}, "pods": "10.42.0.0/16",
            "services": "10.43.0.0/16", "services_dns": "10.43.0.10", "vpn": "10.8.0.0/24", "vpn_address": "10.8.0.1",
        },
        "kubernetes": {
            "distribution": "k3s", "version": "v1.36.4+k3s1", "minor": 36, "cni": "flannel",
            "endpoint": "api.ceil.home.arpa", "port": 6443, "disable": [], "addons": [], "token_ttl": null,
        },
        "registries": {"mirror": "http://10.11.0.1:5000", "private": "10.11.0.1:5001"},
        "node": own, "nodes": nodes, "servers": of(&["server"]), "agents": of(&["agent"]),
        "router": of(&["router"]).first().cloned(),
        "secret": {
            "wireguard_router": "yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=", "ddns_token": "token-of-a-zone",
            "mariadb_root": "it's \\ a secret", "app_db": "second",
        },
        "wireguard": {
            "server_public": "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=",
            "clients": [{"name": "laptop", "public": "TrMvSoP4jYQlY6RIzBgbssQqY3vxI2Pi+y71lOWWXX0=", "address": "10.8.0.2"}],
        },
        "epoch": 1_750_000_000,
    })
}

/// A router and four nodes: WiFi is the uplink, one has no MAC, one has no address of its own.
pub fn ceil(me: &str) -> Value {
    let mut router = node("router", "router", Some("10.11.0.1"));
    for (key, value) in [
        ("interface", json!("lan0")),
        ("lan_interface", json!("lan0")),
        ("uplink", json!("up0")),
        ("hostname", json!("ceil-router")),
        (
            "firewall_open",
            json!([
                "8080/tcp@uplink",
                "9000-9001/tcp@lan",
                "7000/udp",
                "9100/tcp@nodes",
                "9101/tcp@vpn"
            ]),
        ),
        ("gateway", json!("192.0.2.1")),
        (
            "services",
            json!({"wireguard": {"endpoint": "vpn.example.org"}, "dns": {"upstream": ["9.9.9.9", "1.1.1.1"]}}),
        ),
    ] {
        router[key] = value;
    }
    let mut nodes = vec![router, node("one", "server", Some("10.11.0.101"))];
    for (name, ip) in [
        ("two", Some("10.11.0.102")),
        ("three", Some("10.11.0.103")),
        ("four", None),
    ] {
        nodes.push(node(name, "agent", ip));
    }
    for n in &mut nodes[1..] {
        n["hostname"] = json!(format!("ceil-{}", n["name"].as_str().unwrap()));
        n["fqdn"] = json!(format!("ceil-{}.ceil.home.arpa", n["name"].as_str().unwrap()));
    }
    nodes[1]["mac"] = json!("b8:27:eb:00:00:01");
    nodes[3]["mac"] = json!("b8:27:eb:00:00:03");
    cluster(&nodes, me)
}

/// Three nodes behind somebody else's router: no domain, no pools, no VPN, DHCP.
pub fn alone(me: &str) -> Value {
    let nodes = [
        node("pi-master", "server", Some("10.11.0.20")),
        node("pi-1", "agent", None),
        node("pi-2", "agent", None),
    ];
    let mut all = cluster(&nodes, me);
    all["cluster"]["domain"] = Value::Null;
    for key in ["dhcp_pool", "load_balancer_pool", "vpn", "vpn_address"] {
        all["network"][key] = Value::Null;
    }
    all
}

/// Fifteen nodes: three servers, twelve agents.
pub fn crew(me: &str) -> Value {
    let nodes: Vec<Value> = (1..=15)
        .map(|i| {
            let role = if i <= 3 { "server" } else { "agent" };
            let mut n = node(
                &format!("crew-{i:02}"),
                role,
                Some(&format!("10.11.0.{}", 100 + i)),
            );
            n["mac"] = json!(format!("b8:27:eb:00:01:{i:02x}"));
            n
        })
        .collect();
    cluster(&nodes, me)
}

/// A host for storage and a database with two disks, beside a server and an agent.
pub fn storage() -> Value {
    let mut host = node("store", "storage", Some("10.11.0.110"));
    host["disks"] = json!([
        disk(
            "data",
            "/dev/disk/by-id/usb-WD_Elements_575845-0:0",
            "/mnt/data-disk"
        ),
        disk("cold", "UUID=0f3a2f0e-8a4a-4d0c-9c59-2a1d3a0f5b11", "/mnt/cold"),
    ]);
    host["disks"][0]["wipe"] = json!("575845");
    host["disks"][1]["nofail"] = json!(false);
    host["services"] = json!({
        "firewall": {"enabled": true},
        "mariadb": {"databases": [{"name": "app_1", "user": "app", "secret": "app-db"}]},
        "nfs": {"exports": ["/mnt/data-disk/nfs", "/srv/other"]},
    });
    cluster(
        &[
            host,
            node("one", "server", Some("10.11.0.101")),
            node("two", "agent", Some("10.11.0.102")),
        ],
        "store",
    )
}
