//! The command around the rows.

use std::collections::BTreeMap;

use ceil_img::rows::all;

use crate::commands::objects;
use crate::support::cli::{Ran, Test};

const CLUSTER: &str = "cluster: {name: c}\nnetwork: {lan: 10.11.0.0/25, gateway: 10.11.0.1}\n\
                       nodes:\n  - {name: one, profile: p, address: 10.11.0.101/25}\n  - {name: two, profile: p}\n";

fn test() -> Test {
    Test::new()
        .cluster(CLUSTER)
        .profile("p", "base: demo\nextends: node\n")
}

/// Verdicts by row.
fn verdicts(ran: &Ran) -> BTreeMap<String, String> {
    objects(ran)
        .into_iter()
        .filter(|event| event["event"] == "row")
        .map(|event| {
            let word = |key: &str| event[key].as_str().unwrap().to_owned();
            assert!(!word("title").is_empty());
            assert_eq!(event["why"].is_string(), word("verdict") == "fail", "{event}");
            assert_eq!(event["needs"].is_string(), word("verdict") == "needs", "{event}");
            (word("id"), word("verdict"))
        })
        .collect()
}

#[test]
fn f247_a_built_image_is_verified_by_its_manifest_or_by_name() {
    let ran = test()
        .args(["build", "one", "--verify"])
        .stderr_has("0 fail")
        .run()
        .again()
        .args(["build", "two", "--format", "img.xz"])
        .run();
    let ran = ran.again().args(["verify", "out/one.img", "--json"]).run();
    let found = verdicts(&ran);
    assert_eq!(found.len(), all().len());
    for (id, verdict) in [
        ("F025", "pass"),
        ("F062", "pass"),
        ("P08", "pass"),
        ("F102", "does-not-apply"),
        ("F020", "does-not-apply"),
    ] {
        assert_eq!(found[id], verdict, "{id}");
    }
    assert!(!found.values().any(|v| v == "needs"), "{found:?}");

    let ran = ran
        .again()
        .args(["verify", "out/two.img.xz", "--node", "two"])
        .stdout_has("F009  pass            the table has")
        .stderr_has("0 fail")
        .run();
    // Told for another node, the name gives it away.
    ran.again()
        .args(["verify", "out/one.img", "--node", "two"])
        .status(1)
        .stdout_has("F041  fail            the instance id is this node's own: ")
        .run();
}

#[test]
fn f247_an_image_without_its_node_is_judged_as_far_as_it_goes() {
    let ran = test().args(["build", "one"]).run();
    std::fs::rename(ran.path("out/one.img"), ran.path("card.img")).unwrap();
    let ran = ran.again().args(["verify", "card.img", "--json"]).run();
    let found = verdicts(&ran);
    assert_eq!((&*found["F045"], &*found["F009"]), ("needs", "pass"));
    let ran = ran
        .again()
        .args(["verify", "card.img"])
        .stdout_has("F045  needs           the hosts file names every member, and cloud-init keeps off it (needs --node)\n")
        .run();
    // A manifest alone, without the cluster file.
    ran.again()
        .args([
            "verify",
            "out/../card.img",
            "--node",
            "one",
            "--file",
            "nowhere.yaml",
        ])
        .status(1)
        .stderr_has("name the cluster file with `--file`")
        .run();
}

#[test]
fn f247_what_was_changed_behind_the_back_fails() {
    let ran = test()
        .args(["build", "one"])
        .run()
        .again()
        .file(
            "edits.yaml",
            "- {put: 'root:/etc/machine-id', content: \"4f1c2c1e0a6b4d52a1f0c3d9e8b7a605\\n\"}\n\
             - {kernel-args: {remove: [resize]}}\n",
        )
        .args(["edit", "--image", "out/one.img", "--in-place", "edits.yaml"])
        .run();
    ran.again()
        .args(["verify", "out/one.img"])
        .status(1)
        .stdout_has("F030  fail")
        .stdout_has("F062  fail")
        .stdout_has("P07   fail")
        .stderr_has("3 fail")
        .run();
}

#[test]
fn f247_build_with_verify_refuses_what_fails_a_row() {
    test()
        .profile(
            "p",
            "base: demo\nextends: node\nedits:\n  - {put: 'root:/etc/machine-id', content: \"4f1c2c1e0a6b4d52a1f0c3d9e8b7a605\\n\"}\n",
        )
        .args(["build", "one", "--verify", "--format", "none"])
        .status(1)
        .stderr_has("the image fails rows of its verification")
        .stderr_has("F062: `/etc/machine-id` holds an id")
        .run();
}

#[test]
fn f247_wrong_input_is_told() {
    let ran = test().args(["build", "one"]).run();
    let ran = ran
        .again()
        .args(["verify", "out/nine.img"])
        .status(1)
        .stderr_has("cannot open `out/nine.img`")
        .run();
    let ran = ran
        .again()
        .args(["verify", "cluster.yaml"])
        .status(1)
        .stderr_has("cannot open `cluster.yaml`")
        .run();
    let ran = ran
        .again()
        .args(["verify", "out/one.img", "--node", "onee"])
        .status(1)
        .stderr_has("there is no node `onee`, did you mean `one`?")
        .run();
    let ran = ran
        .again()
        .file("other.yaml", CLUSTER.replace("name: c}", "name: d}"))
        .args(["verify", "out/one.img", "--file", "other.yaml"])
        .status(1)
        .stderr_has("the manifest says node `one` of the cluster `c`, and `other.yaml` is of `d`")
        .run();
    let ran = ran
        .again()
        .file("out/one.manifest.json", "{")
        .args(["verify", "out/one.img"])
        .status(1)
        .stderr_has("`out/one.manifest.json` is no manifest")
        .run();
    ran.again().args(["verify"]).status(2).run();
}
