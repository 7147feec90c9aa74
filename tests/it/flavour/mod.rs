//! k3s and kubeadm: what a node gets, judged by OpenSSL, by readers of YAML and TOML, and by systemd.

mod files;
mod kubeadm;
mod pki;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use ceil_img::flavour::pki::{K3sPki, KubeadmPki, Secrets, wanted};
use ceil_img::flavour::{
    Cluster, Cni, Endpoint, Flavour, Item, Kubelet, Node, NodeFiles, Registries, Role, TokenTtl, k3s,
    kubeadm as kubeadm_room,
};
use ceil_img::plan::Content;
use ceil_img::secrets::Secret;
use serde_json::Value;

use crate::support::noise::noise;
use crate::support::tools;

/// All secrets that a flavour asks for.
fn secrets(flavour: Flavour, seed: u64) -> Secrets {
    let mut fill = noise(seed);
    wanted(flavour)
        .iter()
        .map(|w| {
            let value = w.kind.make(&mut fill).unwrap().unwrap();
            (w.name.to_owned(), value)
        })
        .collect()
}

fn cluster(version: &str, servers: usize) -> Cluster {
    Cluster {
        name: "ceil".to_owned(),
        version: version.parse().unwrap(),
        endpoint: Endpoint {
            host: "api.ceil.home.arpa".to_owned(),
            port: 6443,
        },
        first_server: None,
        servers,
        sans: vec!["10.11.0.101".to_owned(), "one".to_owned()],
        pods: "10.244.0.0/16".to_owned(),
        services: "10.96.0.0/16".to_owned(),
        dns_domain: "cluster.local".to_owned(),
        cni: Cni::Flannel,
        disable: vec!["traefik".to_owned()],
        registries: Registries {
            mirror: Some("http://10.11.0.1:5000".to_owned()),
            private: Some("10.11.0.1:5001".to_owned()),
        },
        config: serde_json::Map::new(),
        proxy: None,
    }
}

fn node(name: &str, role: Role) -> Node {
    Node {
        name: name.to_owned(),
        role,
        ip: Some("10.11.0.101".parse().unwrap()),
        interface: Some("eth0".to_owned()),
        labels: BTreeMap::from([
            ("disk".to_owned(), "ssd".to_owned()),
            ("on".to_owned(), "yes".to_owned()),
        ]),
        taints: Some(vec!["dedicated=db:NoSchedule".parse().unwrap()]),
        pods: None,
        kubelet: Kubelet::small_board(),
    }
}

fn options() -> kubeadm_room::Options {
    kubeadm_room::Options {
        token_ttl: "48h".parse().unwrap(),
        ignore_preflight: vec!["Mem".to_owned()],
        config: serde_json::Map::new(),
        patience: 1200,
        containerd: 2,
        pause_image: None,
    }
}

/// The files of a k3s node.
fn k3s_node(cluster: &Cluster, node: &Node, seed: u64) -> NodeFiles {
    let pki = K3sPki::new(cluster, &secrets(Flavour::K3s, seed)).unwrap();
    if node.role.is_server() {
        k3s::server(cluster, node, &pki.server()).unwrap()
    } else {
        k3s::agent(cluster, node, &pki.agent()).unwrap()
    }
}

/// The files of a kubeadm node.
fn kubeadm_node(cluster: &Cluster, node: &Node, options: &kubeadm_room::Options, seed: u64) -> NodeFiles {
    let cluster = &Cluster {
        disable: Vec::new(),
        ..cluster.clone()
    };
    let pki = KubeadmPki::new(cluster, &secrets(Flavour::Kubeadm, seed)).unwrap();
    if node.role.is_server() {
        kubeadm_room::server(cluster, node, options, &pki.control_plane()).unwrap()
    } else {
        kubeadm_room::worker(cluster, node, options, &pki.worker()).unwrap()
    }
}

/// Bytes of a content, secret or not.
fn bytes(content: &Content) -> &[u8] {
    match content {
        Content::Inline { bytes, .. } => bytes,
        Content::File { .. } => panic!("files are made here, not read"),
    }
}

#[track_caller]
fn text<'a>(files: &'a NodeFiles, path: &str) -> &'a str {
    let content = files.file(path).unwrap_or_else(|| panic!("{path} is missing"));
    std::str::from_utf8(bytes(content)).unwrap()
}

/// Writes everything below a folder, with its modes.
fn lay_out(files: &NodeFiles, root: &Path) {
    let at = |path: &str| root.join(path.trim_start_matches('/'));
    for item in &files.items {
        let place = at(item.path());
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        match item {
            Item::Dir { mode, .. } => {
                fs::create_dir_all(&place).unwrap();
                fs::set_permissions(&place, fs::Permissions::from_mode(mode.0.into())).unwrap();
            }
            Item::File { content, mode, .. } => {
                fs::write(&place, bytes(content)).unwrap();
                fs::set_permissions(&place, fs::Permissions::from_mode(mode.0.into())).unwrap();
            }
            Item::Link { to, .. } => std::os::unix::fs::symlink(to, &place).unwrap(),
        }
    }
}

/// A file as another reader sees it: PyYAML, which reads YAML 1.1, or Python's reader of TOML. All documents of it.
fn read_back(kind: &str, text: &str) -> Option<Vec<Value>> {
    let (module, program) = match kind {
        "yaml" => (
            "yaml",
            "import sys, json, yaml; print(json.dumps(list(yaml.safe_load_all(sys.stdin.buffer))))",
        ),
        "toml" => (
            "tomllib",
            "import sys, json, tomllib; print(json.dumps([tomllib.load(sys.stdin.buffer)]))",
        ),
        other => panic!("{other}"),
    };
    if !tools::have(&["python3"]) {
        return None;
    }
    let import = format!("import {module}");
    if !tools::output(tools::command("python3").args(["-c", &import]))
        .status
        .success()
    {
        tools::skip(&format!("python3 has no {module}"));
        return None;
    }
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, text).unwrap();
    let out = tools::run(
        tools::command("python3")
            .args(["-c", program])
            .stdin(fs::File::open(&file).unwrap()),
    );
    Some(serde_json::from_slice(&out).unwrap())
}

fn secret_texts(secrets: &Secrets, names: impl Fn(&str) -> bool) -> Vec<(String, Secret)> {
    secrets
        .iter()
        .filter(|(name, _)| names(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

#[test]
fn f109_the_lifetime_of_a_token_is_said() {
    assert_eq!(options().token_ttl.to_string(), "48h0m0s");
    assert_eq!(TokenTtl::Never.to_string(), "0s");
}
