use std::collections::BTreeSet;

use super::*;

fn builtin() -> ArtifactCatalog {
    ArtifactCatalog::builtin().unwrap()
}

fn all(catalog: &ArtifactCatalog) -> Vec<&Artifact> {
    catalog
        .programs
        .values()
        .flat_map(|program| program.artifacts())
        .collect()
}

#[test]
fn every_file_is_whole_and_there_once() {
    let catalog = builtin();
    let files = all(&catalog);
    assert!(files.len() >= 180, "{}", files.len());
    let urls: BTreeSet<&str> = files.iter().map(|a| a.url.as_str()).collect();
    assert_eq!(urls.len(), files.len());
    let mut digests = BTreeSet::new();
    let pinned: Vec<_> = files.iter().filter_map(|a| a.sha256.as_ref()).collect();
    for digest in &pinned {
        digests.insert(*digest);
    }
    // One pair of k3s releases has the same images.
    assert_eq!(digests.len() + 1, pinned.len());
    for file in files {
        assert!(!file.url.contains(['{', '+']), "{}", file.url);
        // cri-dockerd publishes no sums, so it must be pinned.
        assert_ne!(file.checksum(), ChecksumState::Tofu, "{}", file.url);
    }
}

#[test]
fn urls_are_those_of_the_vendors() {
    for (name, version, arch, url) in [
        (
            "k3s",
            "v1.36.4+k3s1",
            Arch::Arm64,
            "https://github.com/k3s-io/k3s/releases/download/v1.36.4%2Bk3s1/k3s-arm64",
        ),
        (
            "k3s",
            "1.36.4+k3s1",
            Arch::Amd64,
            "https://github.com/k3s-io/k3s/releases/download/v1.36.4%2Bk3s1/k3s",
        ),
        (
            "kubelet",
            "1.26.15",
            Arch::Armhf,
            "https://dl.k8s.io/release/v1.26.15/bin/linux/arm/kubelet",
        ),
        (
            "containerd-static",
            "2.3.4",
            Arch::Arm64,
            "https://github.com/containerd/containerd/releases/download/v2.3.4/containerd-static-2.3.4-linux-arm64.tar.gz",
        ),
        (
            "nerdctl",
            "2.2.2",
            Arch::Armhf,
            "https://github.com/containerd/nerdctl/releases/download/v2.2.2/nerdctl-2.2.2-linux-arm-v7.tar.gz",
        ),
    ] {
        assert_eq!(
            builtin().lookup(name, Some(version), arch).unwrap().url,
            url,
            "{name}"
        );
    }
    let catalog = builtin();
    let helm = catalog.lookup("helm", Some("3.18.4"), Arch::Armhf).unwrap();
    let mode = "0755".parse().unwrap();
    assert_eq!(
        helm.install,
        [Install::Member {
            member: "linux-arm/helm".to_owned(),
            to: "/usr/local/bin/helm".to_owned(),
            mode
        }]
    );
    let images = catalog
        .lookup("k3s-airgap-images", Some("1.36.4+k3s1"), Arch::Armhf)
        .unwrap();
    assert_eq!(images.checksum(), ChecksumState::Published);
    assert!(matches!(&images.install[..], [Install::File { to, .. }]
        if to == "/var/lib/rancher/k3s/agent/images/k3s-airgap-images-arm.tar.zst"));
}

#[test]
fn a_short_version_takes_the_newest() {
    let catalog = builtin();
    let version = |name, version| {
        catalog
            .lookup(name, version, Arch::Arm64)
            .unwrap()
            .version
            .clone()
    };
    assert_eq!(version("helm", None), "4.3.0");
    assert_eq!(version("helm", Some("3")), "3.18.4");
    assert_eq!(version("k3s", Some("v1.33")), "1.33.13+k3s2");
    assert_eq!(version("k3s", Some("v1.33.13+k3s1")), "1.33.13+k3s1");
    assert_eq!(
        catalog.lookup("kubelet", None, Arch::Armhf).unwrap().version,
        "1.26.15"
    );
}

#[test]
fn what_is_not_there_is_met_with_what_is() {
    let text = |name, version, arch| builtin().lookup(name, version, arch).unwrap_err().to_string();
    assert!(
        text("kubelett", None, Arch::Arm64)
            .starts_with("there is no artifact `kubelett`, did you mean `kubelet`?; there are calicoctl, ")
    );
    assert_eq!(
        text("runc", Some("1.0"), Arch::Arm64),
        "`runc` has no version `1.0` for arm64; there are 1.5.1, 1.4.3, 1.3.6, 1.2.9, 1.1.15"
    );
    assert_eq!(
        text("kubeadm", Some("1.36.4"), Arch::Armhf).split(';').next(),
        Some("`kubeadm` has no version `1.36.4` for armhf, only for arm64")
    );
    assert_eq!(
        text("etcd", None, Arch::Armhf),
        "`etcd` is not known for armhf, only for arm64"
    );
}

const OWN: &str = r#"
- name: k3s
  files:
    - {version: "1.36.2+k3s1", arch: arm64}
    - {version: "v1.36.4+k3s1", arch: arm64, url: "http://mirror.example/{version}/k3s"}
- name: mine
  urls: {armhf: "https://example.com/mine-{version}-{arch}.tgz"}
  unpack: tar
  install:
    - {from: ./bin/, tree: /opt/mine}
  files:
    - {version: "2", arch: armhf}
"#;

#[test]
fn the_users_own_file_adds_and_replaces() {
    let before = all(&builtin()).len();
    let catalog = builtin().with_user_file(OWN, "artifacts.yaml").unwrap();
    assert_eq!(all(&catalog).len(), before + 2);
    let get = |name, version, arch| catalog.lookup(name, Some(version), arch).unwrap();
    let added = get("k3s", "1.36.2+k3s1", Arch::Arm64);
    assert_eq!(added.checksum(), ChecksumState::Published);
    assert_eq!(
        added.url,
        "https://github.com/k3s-io/k3s/releases/download/v1.36.2%2Bk3s1/k3s-arm64"
    );
    let replaced = get("k3s", "1.36.4+k3s1", Arch::Arm64);
    assert_eq!(
        (replaced.url.as_str(), &replaced.sha256),
        ("http://mirror.example/1.36.4%2Bk3s1/k3s", &None)
    );
    assert!(get("k3s", "1.36.4+k3s1", Arch::Amd64).sha256.is_some());
    let mine = get("mine", "2", Arch::Armhf);
    assert_eq!(mine.checksum(), ChecksumState::Tofu);
    assert_eq!(
        mine.install,
        [Install::Tree {
            from: "bin".to_owned(),
            to: "/opt/mine".to_owned()
        }]
    );
}

#[test]
fn a_bad_file_is_refused_with_its_place() {
    for (change, parts) in [
        (OWN.replace("unpack:", "unpak:"), vec!["unpak", "8"]),
        (OWN.replace("arch: armhf", "arch: arm"), vec!["arm"]),
        (
            OWN.replace("urls: {armhf", "urls: {arm64"),
            vec!["`mine`", "no URL for armhf"],
        ),
        (OWN.replace("https:", "ftp:"), vec!["not an http"]),
        (OWN.replace("{arch}", "{cpu}"), vec!["{cpu}", "{goarch}"]),
        (
            OWN.replace("tree: /opt", "tree: opt"),
            vec!["not an absolute path"],
        ),
        (
            OWN.replace("unpack: tar", "unpack: none"),
            vec!["with `unpack: tar`"],
        ),
        (
            OWN.replace("name: mine", "name: k3s"),
            vec!["`k3s` is there twice"],
        ),
        (
            OWN.replace("1.36.2+k3s1", "1.36.4+k3s1"),
            vec!["1.36.4+k3s1 for arm64 is there twice"],
        ),
        (
            OWN.replace("version: \"2\"", "version: \"2\", sha256: abc"),
            vec!["`abc` is not a digest", "line 12"],
        ),
    ] {
        let text = builtin()
            .with_user_file(&change, "my.yaml")
            .unwrap_err()
            .to_string();
        assert!(text.starts_with("my.yaml: "), "{text}");
        for part in parts {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}
