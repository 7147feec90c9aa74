//! The cluster model through the program: settings that rest on each other, many nodes from one entry, overlays with
//! templates, secrets that are made once and told to nobody.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;

use crate::support::cli::Test;

const CREW: &str = "
cluster: {name: bee, domain: bee.home.arpa}
network: {lan: 192.168.42.0/24, gateway: 192.168.42.1, dns: [192.168.42.1]}
defaults: {timezone: Europe/Berlin}
nodes:
  - matrix: {crew: 01..02, node: 001..003}
    name: crew-{{ crew }}-{{ node }}
    profile: crew
    cluster: crew-{{ crew }}
    address: 192.168.42.{{ crew | int }}{{ node | int }}/24
";

fn crew() -> Test {
    Test::new()
        .cluster(CREW)
        .profile(
            "crew",
            "extends: below\nmixins: [extra]\nbase: demo\noverlays: [own]\nsecrets: {join: token}\n\
             kernel-args: {add: [top]}\n",
        )
        .profile(
            "below",
            "description: below\nkernel-args: {add: [low]}\nlabels: {a: x, b: x}\n",
        )
        .profile("extra", "kernel-args: {add: [mid]}\nlabels: {b: y}\n")
        .file(
            "overlays/own/etc/members.j2",
            "{% for n in nodes %}{{ n.ip }} {{ n.fqdn }}\n{% endfor %}{{ node.labels | tojson }}\n",
        )
        .file("overlays/own/etc/token.j2", "{{ secret.join }}\n")
        .file("overlays/own/etc/never.j2", "{% if false %}x{% endif %}\n")
        .file("overlays/own/etc/plain", "plain\n")
}

fn json(test: Test) -> Vec<Value> {
    let out = test.run();
    out.stdout
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|value| value.get("edits").is_some())
        .collect()
}

#[test]
fn f122_one_entry_makes_many_nodes_of_several_clusters() {
    let plans = json(crew().args(["plan", "--all", "--json"]));
    let names: Vec<&str> = plans.iter().map(|p| p["node"].as_str().unwrap()).collect();
    assert_eq!(names.len(), 6);
    assert_eq!((names[0], names[5]), ("crew-01-001", "crew-02-003"));
    assert_eq!(plans[5]["cluster"], "crew-02");
    assert_eq!(plans[5]["address"]["cidr"], "192.168.42.23/24");
    let digests: std::collections::BTreeSet<&str> =
        plans.iter().map(|p| p["digest"].as_str().unwrap()).collect();
    assert_eq!(digests.len(), 6);
}

#[test]
fn f243_settings_rest_on_each_other_in_order() {
    let plans = json(crew().args(["plan", "crew-01-001", "--json"]));
    let words: Vec<&Value> = plans[0]["edits"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|e| e["op"] == "kernel-args")
        .map(|e| &e["add"])
        .collect();
    assert_eq!(words, [&serde_json::json!(["low", "mid", "top"])]);
}

// rows: F243
#[test]
fn p25_secrets_are_made_once_kept_private_and_told_to_nobody() {
    let built = crew()
        .args([
            "build",
            "crew-01-001",
            "crew-02-001",
            "--format",
            "none",
            "--verify",
        ])
        .stderr_has("made 2 secrets")
        .run();
    let secrets = built.path("secrets.yaml");
    let text = fs::read_to_string(&secrets).unwrap();
    assert_eq!(
        fs::metadata(&secrets).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert!(
        fs::read_to_string(built.path(".gitignore"))
            .unwrap()
            .contains("secrets.yaml")
    );
    let tokens: Vec<&str> = text
        .lines()
        .filter(|l| !l.starts_with('#') && l.contains("join: "))
        .map(|l| l.split(": ").nth(1).unwrap().trim_matches(['"', '\'']))
        .collect();
    assert_eq!(tokens.len(), 2);
    assert_ne!(tokens[0], tokens[1], "two clusters share a secret");
    for token in &tokens {
        assert!(!built.stdout.contains(token) && !built.stderr.contains(token));
        for entry in fs::read_dir(built.path("out")).unwrap() {
            let text = fs::read_to_string(entry.unwrap().path()).unwrap();
            assert!(!text.contains(token));
        }
    }
    let manifest: Value =
        serde_json::from_str(&fs::read_to_string(built.path("out/crew-01-001.manifest.json")).unwrap())
            .unwrap();
    let changes = manifest["changes"].as_array().unwrap();
    let at = |path: &str| changes.iter().find(|c| c["path"] == path);
    let token = at("root:/etc/token").unwrap();
    assert_eq!(token["secret"], true);
    assert_eq!(token["mode"], "0600");
    assert!(token.get("digest").is_none() && token.get("size").is_none());
    assert_eq!(at("root:/etc/plain").unwrap()["mode"], "0644");
    assert!(at("root:/etc/never").is_none(), "an empty template made a file");

    // The same secrets the next time: nothing is made, and the images are the same.
    let first = built.stdout.clone();
    let again = built
        .again()
        .args(["build", "crew-01-001", "--format", "none"])
        .run();
    assert!(!again.stderr.contains("made "));
    assert_eq!(fs::read_to_string(again.path("secrets.yaml")).unwrap(), text);
    assert!(first.contains(again.stdout.trim()));
    let same = again.again().args(["plan", "crew-01-001", "--diff"]).run();
    assert_eq!(same.stdout, "crew-01-001: as it was built\n");
    let changed = same
        .again()
        .file("overlays/own/etc/plain", "other\n")
        .args(["plan", "crew-01-001", "crew-02-002", "--diff"])
        .status(2)
        .run();
    assert!(
        changed.stdout.contains("crew-01-001: ~ root:/etc/plain\n"),
        "{}",
        changed.stdout
    );
    assert!(changed.stdout.contains("crew-02-002: not built yet\n"));
}

#[test]
fn templates_know_all_members_and_merged_labels() {
    let built = crew().args(["build", "crew-01-002"]).run();
    let shown = built
        .again()
        .args(["cat", "out/crew-01-002.img", "root:/etc/members"])
        .run();
    assert_eq!(
        shown.stdout,
        "192.168.42.11 crew-01-001.bee.home.arpa\n192.168.42.12 crew-01-002.bee.home.arpa\n\
         192.168.42.13 crew-01-003.bee.home.arpa\n{\"a\":\"x\",\"b\":\"y\"}\n"
    );
}

#[test]
fn a_plan_makes_no_secrets() {
    let out = crew()
        .args(["plan", "crew-01-001"])
        .stderr_has("not there yet")
        .run();
    assert!(!out.path("secrets.yaml").exists());
    assert!(out.stdout.contains("(secret)"), "{}", out.stdout);
}

// rows: F243, P27
#[test]
fn mistakes_name_file_line_and_what_would_be_right() {
    for (profile, message) in [
        (
            "swap: of\n",
            "profiles/crew.yaml:1:7: swap: `of` is not known here, did you mean `off`?; the words here are `off`, `limited`, `zram`",
        ),
        ("swap: {zram: big}\n", "profiles/crew.yaml:1:14: swap.zram: "),
        (
            "users: {admin: {grops: [a]}}\n",
            "profiles/crew.yaml:1:17: users.admin.grops: unknown key, did you mean `groups`?",
        ),
        (
            "role: master\n",
            "profiles/crew.yaml:1:7: role: `master` is not known here",
        ),
        ("board: pi9\n", "profiles/crew.yaml:1:8: board: `pi9` is no board"),
        (
            "interfaces: {eth0: {mac: xx}}\n",
            "profiles/crew.yaml:1:26: interfaces.eth0.mac: `xx` is not an Ethernet address",
        ),
        (
            "overlays: [nothing]\nbase: demo\n",
            "profiles/crew.yaml:1: there is no overlay `nothing`",
        ),
        ("extends: crew\nbase: demo\n", "`crew` extends itself"),
        (
            "base: demo\nusers: {Root: {}}\n",
            "profiles/crew.yaml:2: `Root` is no login name",
        ),
        (
            "base: demo\ninterfaces: {wlan0: {wifi: home}}\n",
            "there is no WiFi `home`",
        ),
        (
            "modules: br_netfilter\n",
            "profiles/crew.yaml:1:10: modules: expected a list, found the text `br_netfilter`",
        ),
        ("packages:\n", "profiles/crew.yaml:1:"),
    ] {
        let out = Test::new()
            .cluster(CREW)
            .profile("crew", profile)
            .args(["plan", "crew-01-001"])
            .status(1)
            .run();
        assert!(out.stderr.contains(message), "{profile}: {}", out.stderr);
    }
}
