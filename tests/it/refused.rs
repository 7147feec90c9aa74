//! What a build refuses or warns of, as its user meets it.

use crate::support::bases;
use crate::support::cli::{Ran, Test};

/// One node on a base of the fixtures; `None` when that cannot be made here.
fn one(family: &str, settings: &str) -> Option<Test> {
    let base = bases::base(family)?.path;
    Some(
        Test::new()
            .cluster(&format!(
                "cluster: {{name: c}}\nnodes:\n  - {{name: one, profile: p, base: \"{}\"{settings}}}\n",
                base.display()
            ))
            .profile("p", "description: p\n")
            .args(["build", "one", "--format", "none"]),
    )
}

/// F049, P32: a base that brings an account with a password that everyone knows is built with the word `legacy` only,
/// whether the password is in the user-data or in the files.
#[test]
fn f049_p32_known_passwords_need_the_legacy_switch() {
    for family in ["hypriot", "raspios-buster"] {
        // Also of a node that wishes nothing.
        for wish in [", upgrade: false", ""] {
            let Some(test) = one(family, wish) else {
                return;
            };
            let ran = test
                .status(1)
                .stderr_has("a password that everyone knows")
                .stderr_has("legacy: true")
                .run();
            assert!(ran.names("out").is_empty(), "{family}");
        }
        let Some(test) = one(family, ", upgrade: false, legacy: true") else {
            return;
        };
        let ran = test.run();
        assert_eq!(ran.names("out"), ["one.manifest.json"], "{family}");
    }
}

/// F010, P59: what lint calls an error ends a build before anything is fetched, unless the node accepts it.
#[test]
fn f010_a_board_that_cannot_run_the_system_is_refused() {
    let build = |more: &str| {
        Test::new()
            .cluster(&format!(
                "cluster: {{name: c}}\nnodes:\n  - {{name: one, profile: minimal, board: pi2b, arch: arm64{more}}}\n"
            ))
            .args(["build", "one", "--base", "demo", "--format", "none"])
    };
    let ran = build("")
        .status(1)
        .stderr_has("cluster.yaml:3")
        .stderr_has("F010")
        .run();
    assert!(ran.names("out").is_empty() && !ran.path("secrets.yaml").exists());
    build(", accept: [F010]").run();
}

/// P38: radios stay off without a country, so that a WiFi needs one.
#[test]
fn p38_a_wifi_needs_a_country() {
    let plan = |wifi: &str| {
        Test::new()
            .cluster(&format!(
                "cluster: {{name: c}}\nwifi: {{home: {{ssid: Home{wifi}}}}}\nnodes:\n  \
                 - {{name: one, profile: minimal, base: demo, interfaces: {{wlan0: {{wifi: home}}}}}}\n"
            ))
            .file("secrets.yaml", "wifi-home: a passphrase\n")
            .mode("secrets.yaml", 0o600)
            .args(["plan", "one"])
    };
    plan("")
        .status(1)
        .stderr_has("cluster.yaml:2")
        .stderr_has("the WiFi `home` has no `country`, such as `DE`")
        .run();
    plan(", country: DE").run();
}

fn warnings(ran: &Ran) -> Vec<&str> {
    ran.stderr
        .lines()
        .filter_map(|line| line.split_once("user-data: ").map(|(_, finding)| finding))
        .collect()
}

/// P61: the user-data of HypriotOS, kept as it is, has two keys of cloud-init where it does not look for them.
#[test]
fn p61_misplaced_keys_of_a_base_are_told() {
    let Some(test) = one("hypriot", ", legacy: true") else {
        return;
    };
    let ran = test.run();
    let found = warnings(&ran);
    for key in ["users[0].ssh_pwauth", "users[0].chpasswd"] {
        assert_eq!(
            found.iter().filter(|f| f.contains(key)).count(),
            1,
            "{}",
            ran.stderr
        );
    }
}

/// F060: a key that the base's cloud-init does not know, in a user-data of one's own, and none in what we write.
#[test]
fn f060_unknown_keys_are_told_when_building() {
    let Some(test) = one(
        "raspios-trixie",
        ", edits: [{put: \"boot:/user-data\", content: \"#cloud-config\\nhostname: one\\npakages: [vim]\\n\"}]",
    ) else {
        return;
    };
    let ran = test.run();
    let found = warnings(&ran);
    assert!(
        found.len() == 1 && found[0].contains("line 3") && found[0].contains("pakages"),
        "{}",
        ran.stderr
    );
    let Some(test) = one("raspios-trixie", ", timezone: Europe/Berlin") else {
        return;
    };
    assert_eq!(warnings(&test.run()), [""; 0]);
}
