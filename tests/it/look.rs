//! Commands that only read: what they say is what outsiders say, and the image stays as it was.

use std::fs;
use std::process::{Command, Stdio};

use crate::commands::objects;
use crate::support::cli::Test;
use crate::support::{bases, judge, tiny};

/// A run on the tiny image.
fn on_tiny(before: &[&str], after: &[&str]) -> Option<Test> {
    let image = tiny::shared()?;
    Some(Test::new().args(before).args([image]).args(after))
}

#[test]
fn images_are_listed() {
    let ran = Test::new().args(["images", "--json"]).run();
    let entries = objects(&ran);
    let text = ran.again().args(["images"]).run().stdout;
    assert_eq!(text.lines().count(), entries.len());
    for entry in &entries {
        let name = entry["name"].as_str().unwrap();
        assert!(text.contains(name), "{name}");
        for key in ["os", "version", "arch", "family", "url", "checksum", "evidence"] {
            assert!(entry[key].is_string(), "{name} lacks {key}");
        }
    }
    let has = |part: &str| entries.iter().any(|e| e["name"].as_str().unwrap().contains(part));
    for part in [
        "trixie", "bookworm", "bullseye", "buster", "ubuntu", "hypriot", "rpi64", "debian",
    ] {
        assert!(has(part), "{part}");
    }
}

/// F001: both catalogs have files for both word sizes, each with a digest of 64 digits.
#[test]
fn f001_catalogs_list_both_architectures_with_digests() {
    for command in ["images", "artifacts"] {
        let ran = Test::new().args([command, "--json"]).run();
        let entries = objects(&ran);
        let text = ran.again().args([command]).run().stdout;
        assert_eq!(text.lines().count(), entries.len(), "{command}");
        for arch in ["armhf", "arm64"] {
            let digests = entries.iter().filter(|e| e["arch"] == arch).filter(|e| {
                let digest = e["sha256"].as_str().unwrap_or_default();
                digest.trim_start_matches("sha256:").len() == 64
                    && text.contains(digest.trim_start_matches("sha256:"))
            });
            assert!(digests.count() > 0, "{command} {arch}");
        }
    }
    let ran = Test::new().args(["artifacts", "k3s", "--json"]).run();
    let entries = objects(&ran);
    assert!(!entries.is_empty());
    for entry in entries {
        assert!(entry["name"].as_str().unwrap().contains("k3s"));
        for key in ["version", "arch", "url", "checksum", "evidence"] {
            assert!(entry[key].is_string(), "{entry} lacks {key}");
        }
    }
    // The user's own entries are listed too.
    let own = "- name: mine\n  urls: {arm64: \"https://user:pw@example.org/mine-{version}\"}\n  install:\n    - {to: /usr/local/bin/mine, mode: \"0755\"}\n  files:\n    - {version: \"1.0\", arch: arm64}\n";
    let ran = Test::new()
        .file("artifacts.yaml", own)
        .args(["artifacts", "mine", "--json"])
        .run();
    assert_eq!(objects(&ran)[0]["url"], "https://example.org/mine-1.0");
}

#[test]
fn looking_at_an_image_changes_nothing() {
    let Some(image) = tiny::shared() else { return };
    let before = fs::read(&image).unwrap();
    let partitions = judge::partitions(&image);
    let run = |args: &[&str], after: &[&str]| on_tiny(args, after).unwrap().run();

    let ran = run(&["inspect"], &[]);
    for word in [
        "MBR 1234abcd",
        "boot       p1 fat16 `TINY`",
        "root       p2 ext4 `rootfs`",
        "Tiny 1",
        "/boot",
    ] {
        assert!(ran.stdout.contains(word), "{word}: {}", ran.stdout);
    }
    let facts = &objects(&run(&["inspect", "--json"], &[]))[0];
    assert_eq!(facts["partitions"][1]["start"], partitions[1].start);
    assert_eq!(facts["partitions"][1]["size"], partitions[1].len);
    let superblock = judge::superblock(&image, &partitions[1]);
    assert_eq!(facts["root"]["uuid"], superblock["Filesystem UUID"]);
    assert_eq!(
        facts["root"]["inodes_free"].to_string(),
        superblock["Free inodes"]
    );
    assert_eq!(facts["os"]["boot_mount"], "/boot");

    let listed = run(&["ls"], &["root:/opt"]).stdout;
    assert!(listed.contains("root:/opt/loop-a -> loop-b"), "{listed}");
    let deep = objects(&run(&["ls", "-R", "--json"], &["root:/"]));
    let paths: Vec<&str> = deep.iter().map(|e| e["path"].as_str().unwrap()).collect();
    assert!(
        paths.contains(&"root:/etc/fstab") && paths.contains(&"root:/opt/noise"),
        "{paths:?}"
    );
    assert!(run(&["ls"], &["/boot"]).stdout.contains("boot:/config.txt"));
    assert_eq!(run(&["cat"], &["/etc/hostname"]).stdout, "tiny\n");
    assert_eq!(
        run(&["cat"], &["/boot/config.txt"]).stdout,
        "[pi4]\narm_boost=1\n\n[all]\n"
    );
    let ran = run(&["extract"], &["/opt/noise", "noise"]);
    assert!(ran.read("noise") == tiny::noise(3 << 20));
    let ran = run(&["extract"], &["root:/etc", "etc"]);
    assert_eq!(ran.names("etc"), ["fstab", "hostname", "hosts", "os-release"]);
    let checked = objects(&run(&["check", "--json"], &[]));
    assert!(checked.iter().all(|o| o["event"] == "note"), "{checked:?}");
    for (args, after, words) in [
        (&["cat"][..], &["/etc"][..], "is a directory, not a file"),
        (&["cat"], &["/nothing"], "does not exist"),
        (&["ls"], &["/opt/loop-a"], "too many levels"),
        (&["extract"], &["/nothing", "to"], "does not exist"),
    ] {
        on_tiny(args, after).unwrap().status(1).stderr_has(words).run();
    }
    let ran = on_tiny(&["cat", "--json"], &["/nothing"])
        .unwrap()
        .status(1)
        .run();
    let error = &objects(&ran)[0];
    assert_eq!(error["event"], "error");
    assert!(error["message"].as_str().unwrap().contains("/nothing"));
    assert!(before == fs::read(&image).unwrap());
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let Some(base) = bases::base("raspios-trixie") else {
        return;
    };
    for args in [&["ls", "-R"][..], &["ls", "-R", "--json"]] {
        let test = Test::new().args(args).args([&base.path]);
        let mut child = test
            .command()
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut head = Command::new("head")
            .args(["-n", "1"])
            .stdin(child.stdout.take().unwrap())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        head.wait().unwrap();
        let said = child.wait_with_output().unwrap();
        assert!(said.status.success(), "{}", said.status);
        assert_eq!(String::from_utf8_lossy(&said.stderr), "");
    }
}
