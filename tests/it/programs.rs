//! Programs and archives of images in built images.

use serde_json::Value;

use ceil_img::values::Arch;

use crate::support::cli::{Ran, Test};
use crate::support::judge::{self, Partition};
use crate::support::{bases, programs};

const NODES: &str = "nodes:
  - {name: one, profile: p, role: server, address: 10.11.0.101/25}
  - {name: two, profile: p, role: agent, address: 10.11.0.102/25}
  - {name: nas, profile: p, role: storage, address: 10.11.0.103/25}
";

/// A cluster on a base of the fixtures; `None` when that cannot be made here.
fn cluster(family: &str, kubernetes: &str, defaults: &str) -> Option<Test> {
    let base = bases::base(family)?;
    Some(
        Test::new()
            .cluster(&format!(
                "cluster: {{name: c, domain: c.home.arpa}}\n\
                 network: {{lan: 10.11.0.0/25, gateway: 10.11.0.1, dns: [10.11.0.1]}}\n\
                 kubernetes: {{{kubernetes}}}\n\
                 defaults: {{base: {}{defaults}}}\n{NODES}",
                base.path.display()
            ))
            .profile("p", "description: p\n")
            .programs(),
    )
}

fn root(ran: &Ran, node: &str) -> (std::path::PathBuf, Partition) {
    let image = ran.path(&format!("out/{node}.img"));
    let root = judge::partitions(&image)
        .into_iter()
        .find(|p| !p.is_boot())
        .unwrap();
    (image, root)
}

/// A file as debugfs reads it, with its mode; `None` when it is not there.
fn file(ran: &Ran, node: &str, path: &str) -> Option<(Vec<u8>, String)> {
    let (image, root) = root(ran, node);
    let stat = judge::debugfs(&image, &root, &format!("stat {path}"));
    let mode = stat.split("Mode:").nth(1)?.split_whitespace().next()?.to_owned();
    Some((judge::ext4_cat(&image, &root, path), mode))
}

fn manifest(ran: &Ran, node: &str) -> Value {
    serde_json::from_slice(&ran.read(&format!("out/{node}.manifest.json"))).unwrap()
}

/// Name and version of every artifact in a manifest.
fn artifacts(ran: &Ran, node: &str) -> Vec<(String, String)> {
    manifest(ran, node)["inputs"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|input| input["role"] == "artifact")
        .map(|input| {
            let text = |key: &str| input[key].as_str().unwrap().to_owned();
            (text("name"), text("version"))
        })
        .collect()
}

fn pairs(all: &[(&str, &str)]) -> Vec<(String, String)> {
    all.iter()
        .map(|(name, version)| ((*name).to_owned(), (*version).to_owned()))
        .collect()
}

#[test]
fn f100_f101_f106_k3s_and_its_images_are_put() {
    let Some(test) = cluster(
        "raspios-trixie",
        "distribution: k3s, version: v1.36.4+k3s1",
        ", arch: arm64, artifacts: [helm@4]",
    ) else {
        return;
    };
    let ran = test.args(["build", "--all", "--verify"]).run();
    let k3s = programs::elf(Arch::Arm64, "k3s 1.36.4+k3s1 arm64\n");
    for node in ["one", "two"] {
        judge::all(&ran.path(&format!("out/{node}.img")));
        assert_eq!(
            file(&ran, node, "/usr/local/bin/k3s"),
            Some((k3s.clone(), "0755".to_owned())),
            "{node}"
        );
        let images = "/var/lib/rancher/k3s/agent/images/k3s-airgap-images-arm64.tar.zst";
        let archive = b"k3s-airgap-images 1.36.4+k3s1 arm64\n".to_vec();
        assert_eq!(
            file(&ran, node, images),
            Some((archive, "0644".to_owned())),
            "{node}"
        );
        assert!(file(&ran, node, "/usr/local/bin/helm").is_some(), "{node}");
        assert_eq!(
            artifacts(&ran, node),
            pairs(&[
                ("k3s", "1.36.4+k3s1"),
                ("k3s-airgap-images", "1.36.4+k3s1"),
                ("helm", "4.3.0")
            ])
        );
    }
    // A node that is no part of Kubernetes gets what it names itself.
    assert!(file(&ran, "nas", "/usr/local/bin/k3s").is_none());
    assert_eq!(artifacts(&ran, "nas"), pairs(&[("helm", "4.3.0")]));
}

#[test]
fn f103_f104_f105_programs_of_kubeadm_have_one_version() {
    let Some(test) = cluster(
        "debian-gpt",
        "distribution: kubeadm, version: v1.35.8",
        ", arch: arm64",
    ) else {
        return;
    };
    let ran = test.args(["build", "one", "two"]).run();
    for node in ["one", "two"] {
        assert_eq!(
            artifacts(&ran, node),
            pairs(&[
                ("containerd-static", "2.3.4"),
                ("runc", "1.5.1"),
                ("cni-plugins", "1.9.1"),
                ("crictl", "1.35.0"),
                ("kubelet", "1.35.8"),
                ("kubeadm", "1.35.8"),
                ("kubectl", "1.35.8"),
            ]),
            "{node}"
        );
        for program in [
            "/usr/local/bin/kubelet",
            "/usr/local/bin/kubeadm",
            "/usr/local/bin/kubectl",
            "/usr/local/bin/crictl",
            "/usr/local/bin/containerd-static",
            "/usr/local/sbin/runc",
            "/opt/cni/bin/cni-plugins",
        ] {
            let (bytes, mode) = file(&ran, node, program).unwrap_or_else(|| panic!("{node} lacks {program}"));
            assert!(
                bytes.starts_with(b"\x7fELF") && mode == "0755",
                "{program}: {mode}"
            );
        }
    }
}

#[test]
fn f106_archives_of_images_go_where_they_are_loaded_from() {
    for (kubernetes, folder) in [
        (
            "distribution: k3s, air-gap: false, programs: false",
            "/var/lib/rancher/k3s/agent/images",
        ),
        ("distribution: kubeadm, programs: false", "/var/lib/ceil/images"),
    ] {
        let Some(test) = cluster("raspios-trixie", kubernetes, ", images: [./archives/own.tar.gz]") else {
            return;
        };
        let ran = test
            .file("archives/own.tar.gz", "an archive")
            .args(["build", "one", "two"])
            .run();
        for node in ["one", "two"] {
            let there = file(&ran, node, &format!("{folder}/own.tar.gz"));
            assert_eq!(there, Some((b"an archive".to_vec(), "0644".to_owned())), "{node}");
            // Nothing else was fetched, and no architecture had to be said.
            assert_eq!(artifacts(&ran, node), [], "{node}");
            assert!(file(&ran, node, "/usr/local/bin/k3s").is_none());
        }
        ran.again()
            .args(["build", "nas"])
            .status(1)
            .stderr_has("cluster.yaml:4: `./archives/own.tar.gz` is an archive of container images, and node `nas` is no node of Kubernetes")
            .run();
    }
}

#[test]
fn f011_p18_programs_for_another_processor_are_refused() {
    // The image says that it is armhf, whatever the cluster file says.
    let Some(test) = cluster(
        "raspios-buster",
        "distribution: k3s",
        ", arch: arm64, legacy: true, accept: [G5]",
    ) else {
        return;
    };
    let ran = test
        .args(["build", "one"])
        .status(1)
        .stderr_has("`root:/usr/local/bin/k3s` is a program for arm64, but the image is armhf")
        .run();
    assert!(!ran.path("out/one.img").exists());
    // A program of the user's own as well.
    let own =
        "description: p\nedits:\n  - {put: \"root:/usr/local/bin/own\", from: ../own, mode: \"0755\"}\n";
    ran.again()
        .profile("p", own)
        .file("own", programs::elf(Arch::Amd64, ""))
        .args(["build", "nas"])
        .status(1)
        .stderr_has("profiles/p.yaml:3")
        .stderr_has("`root:/usr/local/bin/own` is a program for amd64, but the image is armhf")
        .run();
}

#[test]
fn f254_a_plan_names_programs_before_and_their_files_after_they_were_fetched() {
    let Some(test) = cluster(
        "raspios-trixie",
        "distribution: kubeadm, version: v1.36.4",
        ", arch: arm64",
    ) else {
        return;
    };
    let head = "program    kubelet 1.36.4 arm64 to /usr/local/bin/kubelet (cluster.yaml:3)\n";
    let ran = test
        .args(["plan", "two"])
        .stdout_has(head)
        .stdout_has("program    cni-plugins 1.9.1 arm64 to /opt/cni/bin/ (cluster.yaml:3)\n")
        .stdout_has("once the base and the programs are in the cache")
        .run();
    assert!(!ran.stdout.contains("root:/opt/cni/bin/cni-plugins"));
    assert!(!ran.path("cache").exists(), "a plan writes nothing");
    let ran = ran
        .again()
        .args(["fetch", "two"])
        .stdout_has("kubelet 1.36.4 arm64")
        .run();
    let ran = ran
        .again()
        .args(["plan", "two"])
        .stdout_has(head)
        .stdout_has(" root:/opt/cni/bin/cni-plugins ")
        .run();
    assert!(ran.stdout.contains("\nimage "), "{}", ran.stdout);
    // What the cards are built from then needs no connection.
    ran.again().args(["--offline", "build", "two"]).run();
}

#[test]
fn p31_versions_that_no_catalog_has_are_told_with_their_place() {
    let Some(test) = cluster(
        "raspios-trixie",
        "distribution: k3s, version: v1.36.99+k3s1",
        ", arch: arm64",
    ) else {
        return;
    };
    let ran = test
        .args(["plan", "one"])
        .status(1)
        .stderr_has("cluster.yaml:3: node `one`")
        .stderr_has("`k3s` has no version `v1.36.99+k3s1` for arm64; there are 1.37.1+k3s1")
        .stderr_has("a file `artifacts.yaml` beside the cluster file adds to the catalog")
        .run();
    // Without a word about the processor there is nothing to look up.
    let Some(test) = cluster("raspios-trixie", "distribution: k3s", "") else {
        return;
    };
    drop(ran);
    test.args(["plan", "one"])
        .status(1)
        .stderr_has("node `one` gets `k3s@v1.36.4+k3s1`, and nothing says which architecture it has")
        .run();
}

/// P02: other programs are another node for cloud-init.
#[test]
fn p02_another_version_is_another_instance() {
    let id = |version: &str| {
        let test = cluster(
            "raspios-trixie",
            &format!("distribution: k3s, version: {version}"),
            ", arch: arm64",
        )?;
        let ran = test.args(["--json", "plan", "one"]).run();
        let plan = ran
            .stdout
            .lines()
            .find(|line| line.contains("instance_id"))
            .unwrap();
        let plan: Value = serde_json::from_str(plan).unwrap();
        Some(plan["instance_id"].as_str().unwrap().to_owned())
    };
    let (Some(old), Some(new)) = (id("v1.35.8+k3s1"), id("v1.36.4+k3s1")) else {
        return;
    };
    assert_ne!(old, new);
}
