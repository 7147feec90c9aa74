//! A real arm64 base image, where `CEIL_RIG` names the folder that holds it.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use crate::support::cli::Test;
use crate::support::judge::{self, Change};
use crate::support::tools;

fn base() -> Option<PathBuf> {
    let Some(rig) = std::env::var_os("CEIL_RIG") else {
        tools::say("CEIL_RIG does not name a folder with a real base image");
        return None;
    };
    let base = PathBuf::from(rig).join("base/ceil-base-arm64.img.xz");
    assert!(base.exists(), "{base:?} is not there");
    Some(fs::canonicalize(base).unwrap())
}

// rows: F017
#[test]
fn a_real_base_is_edited_by_an_ordinary_user() {
    let Some(base) = base() else { return };
    if !tools::have(&["xz", "e2fsck", "fsck.vfat", "sfdisk"]) {
        return;
    }
    let cluster = "cluster: {name: c}\nnodes: [{name: one, hostname: first, profile: demo}]\n";
    let build = |mut test: Test| {
        if tools::is_root() {
            test = test.user(65534);
        }
        test.cluster(cluster)
            .args(["build", "one", "--verify", "--base"])
            .args([&base])
            .limit(Duration::from_secs(600))
            .run()
    };
    let ran = build(Test::new());
    let out = ran.path("out/one.img");
    judge::all(&out);

    let raw = ran.path("base.img");
    let unpack = tools::command("xz")
        .arg("-dc")
        .arg(&base)
        .stdout(fs::File::create(&raw).unwrap())
        .status();
    assert!(unpack.unwrap().success());
    let ran = ran
        .again()
        .args(["diff", "--json", "base.img", "out/one.img"])
        .status(1)
        .run();
    let found: BTreeSet<String> = ran
        .stdout
        .lines()
        .map(|line| {
            let difference: Value = serde_json::from_str(line).unwrap();
            let subject = difference["path"].as_str().or(difference["property"].as_str());
            format!("{} {}", difference["change"].as_str().unwrap(), subject.unwrap())
        })
        .collect();
    let mut planned: BTreeSet<String> = [
        "added boot:/ceil-card.json",
        "changed boot:/cmdline.txt",
        "changed boot:/config.txt",
        "changed boot:/meta-data",
        "changed boot:/user-data",
        "changed root:/etc/hostname",
        "changed root:/etc/hosts",
        "changed root:/etc/motd",
        "added root:/etc/ceil",
        "added root:/etc/modules-load.d/ceil.conf",
        "added root:/var/lib/ceil",
    ]
    .map(str::to_owned)
    .into();
    for size in ["image size", "partition 2 size", "root size"] {
        if found.contains(&format!("changed {size}")) {
            planned.insert(format!("changed {size}"));
        }
    }
    assert_eq!(found, planned);

    // The kernel sees the same, and nothing more than times of the directories around it.
    let partition = |image| {
        judge::partitions(image)
            .into_iter()
            .find(|p| !p.is_boot())
            .unwrap()
    };
    if let (Some(before), Some(after)) = (
        judge::kernel_view(&raw, &partition(&raw)),
        judge::kernel_view(&out, &partition(&out)),
    ) {
        for (path, change) in judge::differences(&before, &after) {
            let path = path.display().to_string();
            let planned = planned.iter().any(|p| p.ends_with(&format!("root:{path}")));
            let around = ["/etc", "/etc/modules-load.d", "/var/lib"].contains(&path.as_str());
            assert!(
                planned || (around && change == Change::Changed),
                "{path} {change:?}"
            );
        }
    }

    // Another user, another zone, from the cache and from nothing: the same bytes.
    let sum = ran.read("out/one.img.sha256");
    let cached = ran.again().cluster(cluster).tz("Pacific/Chatham").umask(0o077);
    let cached = cached
        .args(["build", "one", "--out", "cached", "--base"])
        .args([&base])
        .run();
    assert_eq!(cached.read("cached/one.img.sha256"), sum);
}
