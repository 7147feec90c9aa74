//! Built-in add-ons: headers, what they render to, and an outside judge of Kubernetes objects.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use ceil_img::addon::{Addon, Need, image_references, missing_arches, parse_header};
use ceil_img::spec::Architecture;
use ceil_img::template;
use serde_json::{Value, json};

use crate::support::tools;

/// Groups that are gone from living clusters (G8).
const DEAD: [&str; 5] = [
    "extensions/v1beta1",
    "rbac.authorization.k8s.io/v1beta1",
    "networking.k8s.io/v1beta1",
    "storage.k8s.io/v1beta1",
    "traefik.containo.us",
];

/// Passwords that must be in no manifest (P32): those of `secrets` are made of this word.
const SECRET: &str = "generated-for-the-test";

struct Manifest {
    addon: Addon,
    /// As `kubectl` would see it.
    text: String,
    /// One value a document.
    objects: Vec<Value>,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// File name and text of every built-in add-on, sorted.
fn sources() -> Vec<(String, String)> {
    let mut all: Vec<(String, String)> = fs::read_dir(root().join("profiles/addons"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, fs::read_to_string(path).unwrap())
        })
        .collect();
    all.sort();
    all
}

fn header(file: &str, text: &str) -> Addon {
    let name = file.trim_end_matches(".j2").trim_end_matches(".yaml");
    parse_header(file, name, text).unwrap_or_else(|e| panic!("{e}"))
}

/// The names that templates see, for a cluster of this distribution.
fn variables(distribution: &str) -> Value {
    let node = |name: &str, role: &str, ip: &str| {
        json!({
            "name": name, "hostname": name, "role": role, "ip": ip, "interface": "eth0",
            "labels": {"node.longhorn.io/create-default-disk": "true"},
            "services": {
                "local-path": {"paths": ["/mnt/disk/storage"]},
                "metrics-server": {"kubelet-insecure-tls": true},
                "cert-manager": {"email": "admin@example.org"},
                "nfs-provisioner": {"server": "10.11.0.8", "path": "/data"},
                "nfs-static": {"server": "10.11.0.8"},
            },
        })
    };
    let one = node("one", "server", "10.11.0.101");
    let two = node("two", "agent", "10.11.0.102");
    json!({
        "cluster": {"name": "ceil", "domain": "ceil.home.arpa"},
        "network": {
            "lan": "10.11.0.0/25", "prefix": 25, "gateway": "10.11.0.1", "dns": ["10.11.0.1"],
            "load_balancer_pool": {"from": "10.11.0.110", "to": "10.11.0.120"},
            "pods": "10.244.0.0/16", "services": "10.96.0.0/12", "services_dns": "10.96.0.10", "vpn": "10.8.0.0/24",
        },
        "kubernetes": {"distribution": distribution, "version": "v1.36.4", "minor": 36, "cni": "flannel",
            "endpoint": "10.11.0.100", "port": 6443, "disable": ["local-storage"], "addons": []},
        "node": one, "nodes": [one, two], "servers": [one], "agents": [two],
        "router": node("router", "router", "10.11.0.1"),
    })
}

fn render(file: &str, text: &str, addon: &Addon, variables: &Value) -> Result<String, String> {
    if !file.ends_with(".j2") {
        return Ok(text.to_owned());
    }
    let secrets: BTreeMap<String, _> = addon
        .secrets
        .iter()
        .map(|name| (name.replace(['-', '.'], "_"), SECRET.to_owned().into()))
        .collect();
    let secrets = template::Secrets::new(secrets);
    template::render_with(file, text, variables, &secrets)
        .map(|rendered| {
            assert_eq!(
                rendered.secret,
                !secrets.is_empty(),
                "{file}: secrets of header and template differ"
            );
            rendered.text
        })
        .map_err(|e| e.to_string())
}

fn objects(file: &str, text: &str) -> Vec<Value> {
    text.split("\n---\n")
        .filter(|part| {
            part.lines()
                .any(|line| !line.is_empty() && !line.starts_with('#'))
        })
        .map(|part| serde_saphyr::from_str(part).unwrap_or_else(|e| panic!("{file}: {e}\n{part}")))
        .collect()
}

fn all() -> Vec<Manifest> {
    sources()
        .iter()
        .map(|(file, source)| {
            let addon = header(file, source);
            let distribution = if addon.needs.contains(&Need::Kubeadm) {
                "kubeadm"
            } else {
                "k3s"
            };
            let text =
                render(file, source, &addon, &variables(distribution)).unwrap_or_else(|e| panic!("{e}"));
            let objects = objects(file, &text);
            Manifest { addon, text, objects }
        })
        .collect()
}

/// Every mapping in a value.
fn mappings<'v>(value: &'v Value, found: &mut Vec<&'v serde_json::Map<String, Value>>) {
    match value {
        Value::Object(map) => {
            found.push(map);
            map.values().for_each(|v| mappings(v, found));
        }
        Value::Array(list) => list.iter().for_each(|v| mappings(v, found)),
        _ => {}
    }
}

// rows: F194
#[test]
fn f190_every_addon_has_objects_of_living_groups() {
    let all = all();
    assert!(all.len() >= 26, "only {} add-ons", all.len());
    for Manifest { addon, text, objects } in &all {
        let name = &addon.name;
        assert!(!objects.is_empty(), "{name} has no objects");
        for object in objects {
            for place in ["/apiVersion", "/kind", "/metadata/name"] {
                assert!(
                    object.pointer(place).is_some_and(Value::is_string),
                    "{name}: {place} is missing: {object}"
                );
            }
        }
        for dead in DEAD {
            assert!(!text.contains(dead), "{name}: {dead} is gone (G8)");
        }
    }
}

#[test]
fn f218_headers_list_what_manifests_hold() {
    for Manifest { addon, text, objects } in &all() {
        let name = &addon.name;
        let listed: BTreeSet<&str> = addon.images.iter().map(|i| i.image.as_str()).collect();
        let used = image_references(text);
        for image in &used {
            assert!(listed.contains(image), "{name}: {image} is not in the header");
        }
        let charts: Vec<&Value> = objects.iter().filter(|o| o["kind"] == "HelmChart").collect();
        for chart in &charts {
            let version = chart["spec"]["version"].as_str().unwrap_or_default();
            let version = version.trim_start_matches('v');
            assert_eq!(
                version, addon.version,
                "{name}: version of chart and header differ"
            );
            assert!(
                chart["spec"]["repo"]
                    .as_str()
                    .is_some_and(|r| r.starts_with("https://")),
                "{name}"
            );
        }
        if charts.is_empty() {
            assert_eq!(
                used, listed,
                "{name}: the header lists an image that no object names"
            );
        }
        let claims = [
            "kind: PersistentVolumeClaim",
            "volumeClaimTemplate",
            "    persistence:\n        enabled: true",
        ];
        assert_eq!(
            addon.claims,
            claims.iter().any(|c| text.contains(c)),
            "{name}: claims"
        );
        let class = text.contains("is-default-class: \"true\"") || text.contains("defaultClass: true");
        assert_eq!(addon.default_class, class, "{name}: default-class");
        let ports: BTreeSet<u16> = text
            .split(['\n', ',', '{', '}'])
            .filter_map(|part| {
                let part = part.trim();
                part.strip_prefix("nodePort: ")
                    .or_else(|| part.strip_prefix("hostPort: "))
            })
            .map(|port| port.parse().unwrap())
            .collect();
        let told: BTreeSet<u16> = addon.node_ports.iter().copied().collect();
        // A chart takes ports of its own too.
        assert!(told.is_superset(&ports), "{name}: ports {ports:?}");
        assert!(
            !charts.is_empty() || told == ports,
            "{name}: no object takes all of {told:?}"
        );
    }
}

/// Two add-ons in one cluster must not take one port of the nodes (F214).
#[test]
fn f214_ports_of_nodes_are_taken_once() {
    let mut taken: BTreeMap<u16, String> = BTreeMap::new();
    for Manifest { addon, .. } in all() {
        for port in addon.node_ports {
            // Of the two Prometheus bundles a cluster has one; both bring the exporter of nodes.
            if (addon.name.as_str(), port) == ("prometheus-small", 9100) {
                continue;
            }
            let before = taken.insert(port, addon.name.clone());
            assert_eq!(before, None, "{} takes {port} too", addon.name);
        }
    }
}

// rows: P18
#[test]
fn f218_a_cluster_of_32_bit_is_told_what_it_cannot_run() {
    let all = all();
    let lacking = |name: &str, arches: &[Architecture]| {
        let found = all.iter().find(|m| m.addon.name == name).unwrap();
        !missing_arches(&found.addon, arches).is_empty()
    };
    assert!(lacking("longhorn", &[Architecture::Arm64, Architecture::Armhf]));
    assert!(!lacking("demo", &[Architecture::Arm64, Architecture::Armhf]));
    for manifest in &all {
        assert!(
            missing_arches(&manifest.addon, &[Architecture::Arm64]).is_empty(),
            "{} does not run on a 64-bit Pi",
            manifest.addon.name
        );
    }
}

#[test]
fn p36_p43_every_container_has_bounds_and_no_address_of_a_pod() {
    for Manifest { addon, text, objects } in &all() {
        let name = &addon.name;
        for object in objects {
            let mut found = Vec::new();
            mappings(object, &mut found);
            for container in found.iter().filter(|m| m.contains_key("image")) {
                let limit = container
                    .get("resources")
                    .and_then(|r| r.pointer("/limits/memory"));
                assert!(
                    limit.is_some(),
                    "{name}: a container without a memory limit: {container:?}"
                );
            }
            if object["kind"] == "HelmChart" {
                let values = object["spec"]["valuesContent"].as_str().unwrap_or_default();
                let _: Value =
                    serde_saphyr::from_str(values).unwrap_or_else(|e| panic!("{name}: values: {e}"));
                let bounded = values.contains("limits: {memory") || text.contains("kind: LimitRange");
                assert!(bounded, "{name}: a chart without limits");
            }
        }
        if name != "flannel" {
            assert!(
                !text.contains("10.244.") && !text.contains("10.42."),
                "{name}: an address of a pod"
            );
        }
    }
}

// rows: F208
#[test]
fn p32_no_password_and_no_right_beyond_need() {
    for ((file, source), Manifest { addon, text, objects }) in sources().iter().zip(&all()) {
        let name = &addon.name;
        assert!(!text.contains("cluster-admin"), "{name}: cluster-admin");
        for object in objects {
            if object["kind"] == "Secret" {
                let data = object["stringData"].as_object().unwrap();
                assert!(
                    data.values().any(|v| v == SECRET),
                    "{file}: a secret that is not generated"
                );
            }
            if object["kind"] == "Namespace" {
                let label = object.pointer("/metadata/labels/pod-security.kubernetes.io~1enforce");
                assert!(label.is_some(), "{name}: a namespace without Pod Security");
            }
        }
        // Secrets stand in objects of kind Secret, nowhere else.
        for object in objects.iter().filter(|o| o["kind"] != "Secret") {
            assert!(
                !object.to_string().contains(SECRET),
                "{name}: a secret in {}",
                object["kind"]
            );
        }
        assert!(
            !source.contains("admin/admin") && !source.contains("password: admin"),
            "{file}"
        );
    }
}

#[test]
fn missing_facts_are_named() {
    for (file, place, expected) in [
        (
            "metallb.yaml.j2",
            "load_balancer_pool",
            "network.load_balancer_pool_must_be_set",
        ),
        ("flannel.yaml.j2", "pods", "network.pods_must_be_set"),
    ] {
        let source = sources().into_iter().find(|(f, _)| f == file).unwrap().1;
        let mut variables = variables("kubeadm");
        variables["network"][place] = Value::Null;
        let error = render(file, &source, &header(file, &source), &variables).expect_err(file);
        assert!(error.contains(expected), "{error}");
    }
}

/// A judge that knows the schemas of Kubernetes' own objects, and says of others that it does not.
const JUDGE: &str = r#"
import json, sys
import kubernetes_validate as judge
judged = 0
for line in sys.stdin:
    name, object = json.loads(line)
    try:
        judge.validate(object, "1.36", strict=True)
        judged += 1
    except judge.SchemaNotFoundError:
        group = object["apiVersion"].split("/")[0]
        own = ("helm.cattle.io", "metallb.io", "traefik.io", "cert-manager.io")
        if group not in own:
            sys.exit(f"{name}: {object['apiVersion']} {object['kind']} is not known")
    except judge.ValidationError as fault:
        sys.exit(f"{name}: {object['kind']} {object['metadata']['name']}: {fault.message} at {list(fault.path)}")
print(judged)
"#;

#[test]
fn a_judge_of_schemas_accepts_all() {
    if !tools::have(&["python3"]) {
        return;
    }
    let there = tools::output(tools::command("python3").args(["-c", "import kubernetes_validate"]));
    if !there.status.success() {
        tools::skip("kubernetes-validate (a package of PyPI) is not installed");
        return;
    }
    let mut child = tools::command("python3")
        .args(["-c", JUDGE])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    for manifest in all() {
        for object in manifest.objects {
            // A judge that gave up early says why below.
            let _ = writeln!(input, "{}", json!([manifest.addon.name, object]));
        }
    }
    drop(input);
    let out = child.wait_with_output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let judged: usize = String::from_utf8_lossy(&out.stdout).trim().parse().unwrap();
    assert!(judged > 100, "only {judged} objects were judged");
}

/// The table of docs/addons.md, from the headers.
fn table() -> String {
    let mut table = String::from(
        "| add-on | version | needs | 32-bit ARM | claims storage | default class | node ports | secrets | settings |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n",
    );
    let yes = |flag: bool| if flag { "yes" } else { "–" };
    let list = |items: Vec<String>| {
        if items.is_empty() {
            "–".to_owned()
        } else {
            items.join(", ")
        }
    };
    let code = |items: &[String]| list(items.iter().map(|i| format!("`{i}`")).collect());
    for (file, text) in sources() {
        let a = header(&file, &text);
        let needs: Vec<&str> = a.needs.iter().map(|n| n.word()).collect();
        table.push_str(&format!(
            "| `{}` | {} | {} | {} | {} | {} | {} | {} | {} |\n",
            a.name,
            a.version,
            needs.join(", "),
            yes(missing_arches(&a, &[Architecture::Armhf]).is_empty()),
            yes(a.claims),
            yes(a.default_class),
            list(a.node_ports.iter().map(u16::to_string).collect()),
            code(&a.secrets),
            code(&a.settings),
        ));
    }
    table
}

/// `CEIL_WRITE_DOCS=1` writes the table instead of comparing it.
#[test]
fn the_table_of_the_documentation_is_that_of_the_headers() {
    let path = root().join("docs/addons.md");
    let text = fs::read_to_string(&path).unwrap();
    let (head, rest) = text.split_once("<!-- table -->\n").unwrap();
    let (written, tail) = rest.split_once("<!-- end -->\n").unwrap();
    let table = table();
    if std::env::var_os("CEIL_WRITE_DOCS").is_some() {
        fs::write(
            &path,
            format!("{head}<!-- table -->\n{table}<!-- end -->\n{tail}"),
        )
        .unwrap();
        return;
    }
    assert_eq!(written, table, "CEIL_WRITE_DOCS=1 writes it anew");
}
