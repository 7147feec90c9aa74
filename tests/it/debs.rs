//! Packages that a card brings along (F019).

use std::fs;
use std::path::PathBuf;

use crate::support::bases;
use crate::support::cli::{Test, refused};
use crate::support::judge;
use crate::support::tools;

/// A package without files, made by dpkg-deb itself.
fn deb(name: &str, arch: &str) -> Option<Vec<u8>> {
    tools::find("dpkg-deb")?;
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("tree");
    fs::create_dir_all(tree.join("DEBIAN")).unwrap();
    let control = format!(
        "Package: {name}\nVersion: 1-1\nArchitecture: {arch}\nMaintainer: A <a@example.test>\nDescription: d\n"
    );
    fs::write(tree.join("DEBIAN/control"), control).unwrap();
    let made: PathBuf = dir.path().join("made.deb");
    let out = tools::output(
        tools::command("dpkg-deb")
            .args(["--root-owner-group", "--build"])
            .args([&tree, &made]),
    );
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    Some(fs::read(made).unwrap())
}

/// A node on a base with cloud-init that has `jq` and no `nftables`.
fn node(keys: &str) -> Option<Test> {
    let base = bases::base("raspios-trixie")?;
    Some(
        Test::new()
            .cluster(&format!(
                "cluster: {{name: c}}\nnodes:\n  - {{name: one, profile: p, base: {}, {keys}}}\n",
                base.path.display()
            ))
            .profile("p", "description: p\n"),
    )
}

#[test]
fn f019_packages_come_with_the_image() {
    let Some(test) = node(
        "role: storage, packages: [nftables, dnsmasq=1-1, htop, cloud-init], debs: [debs/, more/htop_1-1_all.deb]",
    ) else {
        return;
    };
    let (Some(nftables), Some(dnsmasq), Some(htop)) = (
        deb("nftables", "arm64"),
        deb("dnsmasq", "all"),
        deb("htop", "all"),
    ) else {
        return;
    };
    let ran = test
        .file("debs/nftables_1%3a1-1_arm64.deb", &nftables)
        .file("debs/dnsmasq_1-1_all.deb", &dnsmasq)
        .file("debs/README", "not a package")
        .file("more/htop_1-1_all.deb", &htop)
        .args(["build", "one", "--verify"])
        .stderr_has("the base has these packages: cloud-init")
        .run();
    let image = ran.path("out/one.img");
    judge::all(&image);
    let partitions = judge::partitions(&image);
    let (boot, root) = (
        partitions.iter().find(|p| p.is_boot()).unwrap(),
        partitions.iter().find(|p| !p.is_boot()).unwrap(),
    );
    for (name, bytes) in [
        ("nftables_1%3a1-1_arm64.deb", nftables),
        ("dnsmasq_1-1_all.deb", dnsmasq),
        ("htop_1-1_all.deb", htop),
    ] {
        assert!(
            judge::ext4_cat(&image, root, &format!("/var/lib/ceil/debs/{name}")) == bytes,
            "{name}"
        );
    }
    let listing = judge::debugfs(&image, root, "ls /var/lib/ceil/debs");
    assert!(!listing.contains("README"), "{listing}");
    // Nothing is left that the network would be asked for.
    let seed = String::from_utf8(judge::fat_cat(&image, boot, "user-data")).unwrap();
    assert!(!seed.contains("packages:"), "{seed}");
}

#[test]
fn f053_what_is_not_on_the_card_is_asked_of_the_network() {
    let Some(test) =
        node("role: storage, packages: [nftables, cloud-init, tmux=3.5-1], debs: [nftables_1_arm64.deb]")
    else {
        return;
    };
    let Some(nftables) = deb("nftables", "arm64") else {
        return;
    };
    let ran = test
        .file("nftables_1_arm64.deb", nftables)
        .args(["build", "one"])
        .run();
    let image = ran.path("out/one.img");
    let boot = judge::partitions(&image)
        .into_iter()
        .find(|p| p.is_boot())
        .unwrap();
    let seed = String::from_utf8(judge::fat_cat(&image, &boot, "user-data")).unwrap();
    let packages = seed.split("packages:").nth(1).unwrap();
    assert!(packages.contains("tmux=3.5-1"), "{seed}");
    assert!(
        !packages.contains("nftables") && !packages.contains("- cloud-init"),
        "{seed}"
    );
}

#[test]
fn f019_packages_that_would_not_be_installed_are_refused() {
    let made = [deb("a", "armhf"), deb("a", "all")];
    let [Some(armhf), Some(all)] = made else { return };
    let cases: [(&str, &str, &[u8], &[&str]); 7] = [
        (
            "role: storage, debs: [a_1_armhf.deb]",
            "a_1_armhf.deb",
            &armhf,
            &["armhf", "arm64"],
        ),
        (
            "role: storage, arch: arm64, debs: [a_1_armhf.deb]",
            "a_1_armhf.deb",
            &armhf,
            &["cluster.yaml:3", "armhf"],
        ),
        (
            "role: storage, debs: [a.deb]",
            "a.deb",
            &all,
            &["cluster.yaml:3", "NAME_VERSION_ARCH.deb"],
        ),
        (
            "role: storage, debs: [a_1_all.deb]",
            "a_1_all.deb",
            b"<html>",
            &["cluster.yaml:3", "no package of Debian"],
        ),
        (
            "role: storage, debs: [a_1_all.deb]",
            "b_1_all.deb",
            &all,
            &["cluster.yaml:3", "a_1_all.deb"],
        ),
        (
            "role: storage, debs: [debs]",
            "debs/README",
            b"",
            &["cluster.yaml:3", "without any `.deb` file"],
        ),
        (
            "role: helper, debs: [a_1_all.deb]",
            "a_1_all.deb",
            &all,
            &["cluster.yaml:3", "first-boot"],
        ),
    ];
    for (keys, file, bytes, words) in cases {
        let Some(test) = node(keys) else { return };
        refused(test.file(file, bytes).args(["build", "one"]), words);
    }
}
