//! Whole clusters: processors side by side, many clusters in one file, another version.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;

use crate::build_sets::{built, ready};
use crate::support::cli::{Ran, Test};

fn build(test: Test, more: &[&str]) -> Ran {
    test.args(["-q", "--json", "build", "--all"])
        .args(more)
        .limit(Duration::from_secs(300))
        .run()
}

/// F012, P18: one command makes the 32-bit server and the three 64-bit agents, each with programs of its processor.
#[test]
fn f012_p18_one_command_builds_two_processors() {
    let cache = tempfile::tempdir().unwrap();
    let Some(test) = ready("microcloud-hybrid", cache.path()) else {
        return;
    };
    let mut ran = build(test, &[]);
    let mut machines: BTreeMap<String, usize> = BTreeMap::new();
    let programs = |name: &String| name != "nfs";
    for node in built(&ran).into_keys().filter(programs) {
        let image = format!("out/{node}.img");
        let inspected = ran.again().args(["--json", "inspect", &image]).run();
        let facts: Value = serde_json::from_str(inspected.stdout.lines().next().unwrap()).unwrap();
        let arch = facts["os"]["arch"].as_str().unwrap().to_owned();
        ran = inspected
            .again()
            .args([
                "extract",
                &image,
                "root:/usr/local/bin/k3s",
                &format!("k3s-{node}"),
            ])
            .run();
        let machine = ran.read(&format!("k3s-{node}"))[18];
        assert_eq!(machine, if arch == "armhf" { 40 } else { 183 }, "{node}");
        *machines.entry(arch).or_default() += 1;
    }
    assert_eq!(
        machines,
        BTreeMap::from([("arm64".to_owned(), 3), ("armhf".to_owned(), 1)])
    );
}

/// F122: five crews of three boards are fifteen images, and each crew has secrets of its own.
#[test]
fn f122_five_crews_are_fifteen_images_with_five_secrets() {
    let cache = tempfile::tempdir().unwrap();
    let Some(test) = ready("bee42", cache.path()) else {
        return;
    };
    let ran = build(test, &["--format", "none"]);
    let crews: BTreeMap<String, String> = built(&ran)
        .into_iter()
        .filter(|(node, _)| node.contains("crew"))
        .collect();
    assert_eq!(crews.len(), 15);
    assert_eq!(crews.values().collect::<BTreeSet<_>>().len(), 15);
    let secrets = String::from_utf8(ran.read("secrets.yaml")).unwrap();
    let tokens: Vec<(&str, &str)> = secrets
        .lines()
        .filter_map(|line| line.split_once(": "))
        .filter(|(name, _)| name.ends_with("k3s-token"))
        .collect();
    assert_eq!(tokens.len(), 5, "names of secrets: {:?}", names(&secrets));
    assert_eq!(
        tokens
            .iter()
            .map(|(_, value)| value)
            .collect::<BTreeSet<_>>()
            .len(),
        5
    );
}

fn names(secrets: &str) -> Vec<&str> {
    secrets
        .lines()
        .filter_map(|line| line.split_once(':').map(|(name, _)| name))
        .collect()
}

/// F124: another version changes the program, its images and what names the node anew; the base is not fetched again.
#[test]
fn f124_another_version_changes_what_it_must() {
    let cache = tempfile::tempdir().unwrap();
    let Some(test) = ready("ha3", cache.path()) else {
        return;
    };
    let ran = build(test, &["--format", "none"]);
    let yaml = String::from_utf8(ran.read("cluster.yaml")).unwrap();
    let ran = ran
        .again()
        .cache(cache.path())
        .args(["plan", "--all", "--diff"])
        .run();
    assert!(
        ran.stdout.lines().all(|l| l.ends_with(": as it was built")),
        "{}",
        ran.stdout
    );
    let other = yaml.replacen(
        "distribution: k3s\n",
        "distribution: k3s\n  version: v1.35.8+k3s1\n",
        1,
    );
    assert_ne!(other, yaml);
    let ran = ran
        .again()
        .cluster(&other)
        .cache(cache.path())
        .args(["fetch", "--json"])
        .run();
    let fetched: Vec<Value> = ran
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    for base in fetched.iter().filter(|f| !f["base"].is_null()) {
        assert_eq!(base["from_cache"], true, "{base}");
    }
    let ran = ran
        .again()
        .cache(cache.path())
        .args(["plan", "--all", "--diff"])
        .status(2)
        .run();
    let changed: BTreeSet<&str> = ran
        .stdout
        .lines()
        .filter_map(|line| line.rsplit_once(' ').map(|(_, path)| path))
        .collect();
    assert!(changed.contains("root:/usr/local/bin/k3s"), "{}", ran.stdout);
    let named = ["boot:/meta-data", "boot:/ceil-card.json"];
    let of_it = |path: &&str| path.contains("k3s") || named.contains(path);
    let more: Vec<&&str> = changed.iter().filter(|path| !of_it(path)).collect();
    assert!(more.is_empty(), "{more:?}\n{}", ran.stdout);
}
