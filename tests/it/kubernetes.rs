//! Kubernetes in built images: what servers and workers get, and what they must not.

use std::os::unix::fs::PermissionsExt as _;

use ceil_img::secrets::{KeyPair, Secret};

use crate::support::cli::{Ran, Test};

fn cluster(kubernetes: &str) -> Test {
    Test::new()
        .cluster(&format!(
            "cluster: {{name: ceil, domain: ceil.home.arpa}}\n\
             network: {{lan: 10.11.0.0/25, gateway: 10.11.0.1, dns: [10.11.0.1]}}\n\
             kubernetes: {{{kubernetes}}}\n\
             registries: {{mirror: \"http://router.ceil.home.arpa:5000\"}}\n\
             defaults: {{base: demo, swap: off, ssh: {{host-key: true}}}}\n\
             nodes:\n\
             \x20 - {{name: one, profile: p, role: server, address: 10.11.0.101/25, addons: [hello]}}\n\
             \x20 - {{name: two, profile: p, role: agent, address: 10.11.0.102/25, labels: {{ingress: \"true\"}}, taints: [\"a=b:NoSchedule\"]}}\n\
             \x20 - {{name: nas, profile: p, role: storage, address: 10.11.0.103/25}}\n"
        ))
        .programs()
        .profile("p", "description: p\n")
        .file(
            "addons/hello.yaml.j2",
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: hello}\ndata: {domain: {{ cluster.domain }}}\n",
        )
}

/// Values of the file of secrets by name, line ends as they are in keys.
fn secrets(ran: &Ran) -> Vec<(String, String)> {
    let text = String::from_utf8(ran.read("secrets.yaml")).unwrap();
    let mut all: Vec<(String, String)> = Vec::new();
    for line in text.lines().filter(|l| !l.starts_with('#')) {
        match line.strip_prefix("  ") {
            Some(more) => all.last_mut().unwrap().1.push_str(&format!("{more}\n")),
            None => {
                let (name, value) = line.split_once(':').unwrap();
                all.push((
                    name.to_owned(),
                    value.trim().trim_matches(['"', '\'', '|']).to_owned(),
                ));
            }
        }
    }
    all
}

/// Whether an image holds a secret, in the form of the file of secrets or, for keys, in that of programs (SEC 1).
fn holds(image: &[u8], name: &str, value: &str) -> bool {
    let mut forms = vec![value.to_owned()];
    if value.contains("BEGIN PRIVATE KEY") {
        let key = KeyPair::from_pem(name, &Secret::new(value)).unwrap();
        forms.push(key.to_sec1_pem().reveal().to_owned());
    }
    forms.iter().any(|form| {
        // Keys begin alike; a line from their middle is their own.
        let lines: Vec<&str> = form
            .lines()
            .filter(|l| !l.is_empty() && !l.starts_with("-----"))
            .collect();
        let needle = lines[lines.len() / 2];
        assert!(needle.len() >= 16, "nothing to look for");
        memchr(image, needle.as_bytes())
    })
}

fn memchr(image: &[u8], needle: &[u8]) -> bool {
    let mut rest = image;
    while let Some(at) = rest.iter().position(|b| *b == needle[0]) {
        rest = &rest[at..];
        if rest.starts_with(needle) {
            return true;
        }
        rest = &rest[1..];
    }
    false
}

fn cat(ran: Ran, node: &str, path: &str) -> (Ran, String) {
    let out = ran.again().args(["cat", &format!("out/{node}.img"), path]).run();
    let text = out.stdout.clone();
    (out, text)
}

// rows: F108, F118
#[test]
fn p24_f102_f107_k3s_gives_each_node_what_it_may_have() {
    let built = cluster("distribution: k3s")
        .args(["build", "--all", "--verify"])
        .run();
    for node in ["one", "two", "nas"] {
        let mode = std::fs::metadata(built.path(&format!("out/{node}.img")))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(
            mode & 0o077,
            0,
            "{node}: an image with secrets is for its owner alone"
        );
    }
    let images: Vec<Vec<u8>> = ["one", "two", "nas"]
        .map(|n| built.read(&format!("out/{n}.img")))
        .into();
    let mut seen = 0;
    for (name, value) in secrets(&built) {
        let on: Vec<bool> = images.iter().map(|image| holds(image, &name, &value)).collect();
        let right = match name.as_str() {
            "k3s-agent-token" => [true, true, false],
            "ssh.one" => [true, false, false],
            "ssh.two" => [false, true, false],
            "ssh.nas" => [false, false, true],
            // Never on a card.
            "k3s-root-ca-key" | "k3s-intermediate-ca-key" => [false; 3],
            // The administrator's key is made a certificate of for the workstation.
            "admin-key" => [on[0], false, false],
            _ => [true, false, false],
        };
        assert_eq!(on, right, "{name}");
        seen += 1;
    }
    assert!(seen >= 13, "{seen} secrets");
    let kubeconfig = built.path("out/kubeconfig");
    assert_eq!(
        std::fs::metadata(&kubeconfig).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert!(
        std::fs::read_to_string(&kubeconfig)
            .unwrap()
            .contains("https://10.11.0.101:6443")
    );

    let (ran, server) = cat(built, "one", "root:/etc/rancher/k3s/config.yaml");
    assert!(
        server.contains("cluster-cidr") && server.contains("10.11.0.101"),
        "{server}"
    );
    let (ran, agent) = cat(ran, "two", "root:/etc/rancher/k3s/config.yaml");
    assert!(agent.contains("https://10.11.0.101:6443"), "{agent}");
    assert!(agent.contains("K10"), "the worker does not check whom it joins");
    assert!(
        agent.contains("ingress=true") && agent.contains("a=b:NoSchedule"),
        "{agent}"
    );
    let (ran, registries) = cat(ran, "two", "root:/etc/rancher/k3s/registries.yaml");
    assert!(
        registries.contains("http://router.ceil.home.arpa:5000"),
        "{registries}"
    );
    let (ran, addon) = cat(
        ran,
        "one",
        "root:/var/lib/rancher/k3s/server/manifests/ceil-hello.yaml",
    );
    assert!(addon.contains("domain: ceil.home.arpa"));
    ran.again()
        .args(["ls", "out/two.img", "root:/etc/systemd/system"])
        .stdout_has("k3s-agent.service")
        .run();
}

#[test]
fn p24_p26_kubeadm_gives_each_node_what_it_may_have() {
    let built = cluster("distribution: kubeadm, version: v1.36.4")
        .args(["build", "one", "two"])
        .run();
    let images: Vec<Vec<u8>> = ["one", "two"].map(|n| built.read(&format!("out/{n}.img"))).into();
    for (name, value) in secrets(&built) {
        let on: Vec<bool> = images.iter().map(|image| holds(image, &name, &value)).collect();
        let right = match name.as_str() {
            "bootstrap-token" => [true, true],
            "ssh.one" => [true, false],
            "ssh.two" => [false, true],
            "ssh.nas" => [false, false],
            "admin-key" => [on[0], false],
            _ => [true, false],
        };
        assert_eq!(on, right, "{name}");
    }
    for image in &images {
        assert!(!memchr(image, b"ignore-preflight-errors=all"));
    }
    built
        .again()
        .args(["ls", "-R", "out/two.img", "root:/etc/kubernetes"])
        .run();
}

/// Two clusters from one file have the same files, and other secrets in those that hold one.
#[test]
fn f107_a_second_cluster_differs_in_files_with_secrets_alone() {
    let first = cluster("distribution: k3s").args(["build", "one"]).run();
    std::fs::rename(first.path("out/one.img"), first.path("first.img")).unwrap();
    std::fs::rename(first.path("secrets.yaml"), first.path("first.yaml")).unwrap();
    let second = first.again().args(["build", "one"]).run();
    let manifest: serde_json::Value = serde_json::from_slice(&second.read("out/one.manifest.json")).unwrap();
    let secret: Vec<String> = manifest["changes"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|c| c["secret"] == true)
        .map(|c| c["path"].as_str().unwrap().to_owned())
        .collect();
    let out = second
        .again()
        .args(["diff", "first.img", "out/one.img", "--json"])
        .status(1)
        .run();
    let mut differ = 0;
    for line in out.stdout.lines() {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        let Some(path) = event["path"].as_str() else {
            continue;
        };
        // Certificates, the plan and the instance id follow from the secrets.
        let follows = [".crt", ".pub", "/meta-data", "/ceil-card.json"]
            .iter()
            .any(|end| path.ends_with(end));
        assert!(
            secret.iter().any(|s| s == path) || follows,
            "{path} differs and holds no secret"
        );
        differ += 1;
    }
    assert!(differ > 10, "{differ}");
}

/// kubeadm brings no network of pods: flannel is added on the first server unless the file has another, with the
/// network that kubeadm is told.
#[test]
fn f190_kubeadm_gets_a_network_of_pods() {
    let (ran, manifest) = cat(
        cluster("distribution: kubeadm, version: v1.36.4")
            .args(["-q", "build", "one", "two"])
            .run(),
        "one",
        "/etc/ceil/manifests/ceil-flannel.yaml",
    );
    assert!(manifest.contains("\"Network\": \"10.42.0.0/16\""), "{manifest}");
    let (ran, config) = cat(ran, "one", "/etc/kubernetes/kubeadm.yaml");
    assert!(config.contains("podSubnet: \"10.42.0.0/16\""), "{config}");
    ran.again()
        .args(["cat", "out/two.img", "/etc/ceil/manifests/ceil-flannel.yaml"])
        .status(1)
        .run()
        .again()
        .cluster(
            "cluster: {name: c}\nkubernetes: {distribution: kubeadm, cni: none}\nnodes:\n  - {name: one, profile: p, role: server, base: demo, swap: off}\n",
        )
        .args(["-q", "build", "one"])
        .run()
        .again()
        .args(["cat", "out/one.img", "/etc/ceil/manifests/ceil-flannel.yaml"])
        .status(1)
        .run();
}
