//! Every set from `init` to images, over small stand-ins for bases and programs.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;

use ceil_img::sets;

use crate::support::cli::{Ran, Test};
use crate::support::{releases, tools};

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ2Vd0hI7x3e3g0c0S4Zb6n4kq1aS9mXoJ0vX2bqf3Qp me@here";
/// The x86 set names a base that is in no catalog.
const ELSEWHERE: &str = "https://cloud.debian.org";

/// A folder with a set, ready to be built.
pub fn ready(set: &str, cache: &std::path::Path) -> Option<Test> {
    let bases = releases::catalog()?;
    let ran = Test::new()
        .args(["init", set, "--yes", "--dir", ".", "--ssh-key", KEY])
        .run();
    let wifi = String::from_utf8(ran.read("cluster.yaml"))
        .unwrap()
        .contains("\nwifi:");
    let mut test = ran
        .again()
        .programs()
        .file("home/.config/ceil-img/images.yaml", bases)
        .cache(cache);
    if wifi {
        test = test
            .file("secrets.yaml", "wifi-home: a passphrase\n")
            .mode("secrets.yaml", 0o600);
    }
    Some(test)
}

/// Digest of the content of each image, from the lines that `build --json` prints.
pub fn built(ran: &Ran) -> BTreeMap<String, String> {
    ran.stdout
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|value| value["event"] == "built")
        .map(|value| {
            let text = |key: &str| value[key].as_str().unwrap().to_owned();
            (text("node"), text("content"))
        })
        .collect()
}

// rows: F167, F245
/// Issue of the model, acceptance 1 and 3: `init`, `lint`, `plan --all`, `build --all` for every set; then once more by
/// somebody else elsewhere, from the cluster file, its lock and its secrets.
#[test]
fn f012_f015_f244_every_set_is_built_twice_with_equal_bytes() {
    let cache = tempfile::tempdir().unwrap();
    for set in sets::names() {
        let Some(test) = ready(set, cache.path()) else {
            return;
        };
        let mirror = releases::mirror(ELSEWHERE).unwrap();
        let ran = test.args(["lint"]).run();
        let ran = ran.again().cache(cache.path()).args(["plan", "--all"]).run();
        let first = ran
            .again()
            .cache(cache.path())
            .args([
                "-q", "--json", "--mirror", &mirror, "build", "--all", "--format", "none", "--verify",
            ])
            .limit(Duration::from_secs(300))
            .run();
        let images = built(&first);
        let contents: BTreeSet<&String> = images.values().collect();
        assert_eq!(contents.len(), images.len(), "{set}: two nodes have one image");

        let mut again = first
            .again()
            .cache(cache.path())
            .umask(0o077)
            .tz("Pacific/Kiritimati")
            .limit(Duration::from_secs(300))
            .args([
                "-q", "--json", "--mirror", &mirror, "build", "--all", "--locked", "--format", "none",
                "--out", "again",
            ]);
        if tools::is_root() {
            let own = tempfile::tempdir().unwrap();
            again = again.cache(own.path()).user(65534);
            std::os::unix::fs::chown(own.path(), Some(65534), Some(65534)).unwrap();
            assert_eq!(built(&again.run()), images, "{set}");
        } else {
            assert_eq!(built(&again.run()), images, "{set}");
        }
    }
}

/// Acceptance 3: a second cluster from the same files with fresh secrets differs in the files that hold a secret, and
/// in those that follow from one: certificates, public keys, and cloud-init's instance id (P02).
#[test]
fn f107_a_second_cluster_of_a_set_differs_in_files_of_secrets_alone() {
    let cache = tempfile::tempdir().unwrap();
    for set in ["ceil", "ceil-kubeadm", "ha3"] {
        let Some(test) = ready(set, cache.path()) else {
            return;
        };
        let first = test.args(["-q", "build", "--all", "--out", "a"]).run();
        let wifi = String::from_utf8(first.read("secrets.yaml")).unwrap();
        let given: Vec<&str> = wifi.lines().filter(|l| l.starts_with("wifi-")).collect();
        let second = first
            .again()
            .cache(cache.path())
            .file("secrets.yaml", format!("{}\n", given.join("\n")))
            .args(["-q", "build", "--all", "--out", "b"])
            .run();
        let manifests: Vec<String> = second
            .names("b")
            .into_iter()
            .filter(|name| name.ends_with(".manifest.json"))
            .collect();
        assert!(manifests.len() >= 3, "{set}");
        let mut ran = second;
        for name in manifests {
            let node = name.strip_suffix(".manifest.json").unwrap();
            let manifest: Value = serde_json::from_slice(&ran.read(&format!("b/{name}"))).unwrap();
            let secret: BTreeSet<&str> = manifest["changes"]
                .as_array()
                .unwrap()
                .iter()
                .filter(|change| change["secret"] == true)
                .map(|change| change["path"].as_str().unwrap())
                .collect();
            ran = ran
                .again()
                .args([
                    "--json",
                    "diff",
                    &format!("a/{node}.img"),
                    &format!("b/{node}.img"),
                ])
                .status(1)
                .run();
            let mut differ = 0;
            for line in ran.stdout.lines() {
                let event: Value = serde_json::from_str(line).unwrap();
                let Some(path) = event["path"].as_str() else {
                    continue;
                };
                let follows = [".crt", ".pub", "/meta-data", "/instance-id", "/ceil-card.json"]
                    .iter()
                    .any(|end| path.ends_with(end));
                assert!(
                    secret.contains(path) || follows,
                    "{set} {node}: {path} differs and holds no secret"
                );
                differ += 1;
            }
            assert!(differ > 0, "{set} {node}");
        }
    }
}

/// F123: a host that is no Pi gets everything that makes it a node in one archive, which tar itself unpacks.
#[test]
fn f123_a_join_bundle_makes_another_host_a_node() {
    let cache = tempfile::tempdir().unwrap();
    let Some(test) = ready("bee42-amd64", cache.path()) else {
        return;
    };
    let ran = test.args(["--json", "plan", "--all", "--base", "demo"]).run();
    let nodes: Vec<Value> = ran
        .stdout
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|plan| plan["node"].is_string() && plan["programs"].is_array())
        .collect();
    let of = |role: &str, arch: &str| {
        nodes
            .iter()
            .find(|plan| plan["role"] == role && plan["programs"][0]["arch"] == arch)
            .map(|plan| plan["node"].as_str().unwrap().to_owned())
    };
    let agent = of("agent", "amd64").expect("an x86 agent");
    let server = of("server", "arm64").expect("a server");
    let ran = ran
        .again()
        .cache(cache.path())
        .args(["export", "join-bundle", &agent, "--out", "x/join.tar"])
        .stdout_has("tar -C / -xpf join.tar && modprobe -a")
        .stdout_has("systemctl enable --now k3s-agent.service")
        .run();
    let archive = ran.path("x/join.tar");
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&archive).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600, "it holds the token");
    let list = String::from_utf8(tools::run(tools::command("tar").arg("-tvf").arg(&archive))).unwrap();
    let line = |path: &str| {
        list.lines()
            .find(|line| line.ends_with(path) || line.contains(&format!("{path} -> ")))
            .unwrap_or_else(|| panic!("{path} is not in\n{list}"))
    };
    for (path, mode) in [
        (" usr/local/bin/k3s", "-rwxr-xr-x"),
        (" etc/rancher/k3s/config.yaml", "-rw-------"),
        (" etc/systemd/system/k3s-agent.service", "-rw-r--r--"),
        (" etc/modules-load.d/ceil.conf", "-rw-r--r--"),
        (" usr/local/bin/kubectl", "lrwxrwxrwx"),
        (
            " var/lib/rancher/k3s/agent/images/k3s-airgap-images-amd64.tar.zst",
            "-rw-r--r--",
        ),
    ] {
        let line = line(path);
        assert!(line.starts_with(mode), "{line}");
        assert!(line.contains("root/root") || line.contains("0/0"), "{line}");
    }
    let cat = |path: &str| tools::run(tools::command("tar").arg("-xOf").arg(&archive).arg(path));
    let config = String::from_utf8(cat("etc/rancher/k3s/config.yaml")).unwrap();
    assert!(config.contains("server: \"https://"), "{config}");
    assert!(
        config.contains("token: K10") || config.contains("token: \"K10"),
        "a pinned authority"
    );
    let k3s = cat("usr/local/bin/k3s");
    assert_eq!(
        ceil_img::values::elf_machine(&k3s),
        Some(ceil_img::values::Arch::Amd64)
    );
    ran.again()
        .cache(cache.path())
        .args(["export", "join-bundle", &server])
        .status(1)
        .stderr_has("has the role `server`; a bundle is for a node with `role: agent`")
        .run();
}
