//! A cluster is taken apart in order, by programs that write down what they were asked for.

use std::os::unix::fs::PermissionsExt as _;

use crate::support::cli::{Ran, Test};

const RECORDER: &str = "#!/bin/sh\n\
{ echo \"$(basename \"$0\") $*\"; sed 's/^/  | /'; } >>\"$LOG\"\n\
case \"$*\" in *$FAIL_AT*) exit 3 ;; esac\n";

fn cluster() -> Test {
    Test::new()
        .cluster(
            "cluster: {name: c, domain: c.home.arpa}\n\
             network: {lan: 10.11.0.0/25, gateway: 10.11.0.1}\n\
             kubernetes: {distribution: k3s}\n\
             defaults: {base: demo, swap: off, users: {admin: {groups: [sudo]}}}\n\
             nodes:\n\
             \x20 - {name: one, profile: p, role: server, address: 10.11.0.101/25, addons: [first, second]}\n\
             \x20 - {name: two, profile: p, role: agent, address: 10.11.0.102/25}\n\
             \x20 - {name: three, profile: p, role: agent, address: 10.11.0.103/25}\n\
             \x20 - {name: nas, profile: p, role: storage, address: 10.11.0.104/25}\n",
        )
        .profile("p", "description: p\n")
        .programs()
        .file("addons/first.yaml", "kind: First\n")
        .file("addons/second.yaml.j2", "kind: Second\nname: {{ node.name }}\n")
        .file("bin/kubectl", RECORDER)
        .mode("bin/kubectl", 0o755)
        .file("bin/ssh", RECORDER)
        .mode("bin/ssh", 0o755)
}

fn run(test: Test, fail_at: &str, words: &[&str], status: i32) -> Ran {
    let path = format!("{}:/usr/bin:/bin", test.dir().join("bin").display());
    let log = test.dir().join("log");
    test.env("PATH", path)
        .env("LOG", log)
        .env("FAIL_AT", fail_at)
        .args(["teardown"])
        .args(words)
        .status(status)
        .run()
}

const NOWHERE: &str = "no such word";

#[test]
fn f126_add_ons_go_first_and_servers_last() {
    let ran = run(cluster(), NOWHERE, &[], 0);
    let listed: Vec<Vec<&str>> = ran
        .stdout
        .lines()
        .map(|line| line.split_whitespace().take(2).collect())
        .collect();
    assert_eq!(
        listed,
        [
            ["add-on", "second"],
            ["add-on", "first"],
            ["node", "three"],
            ["node", "two"],
            ["reset", "three"],
            ["reset", "two"],
            ["reset", "one"],
        ]
    );
    assert!(!ran.path("log").exists(), "a list does nothing");
    assert!(ran.stderr.contains("nothing was done"), "{}", ran.stderr);

    let ran = run(ran.again(), NOWHERE, &["--yes"], 0);
    let log = String::from_utf8(ran.read("log")).unwrap();
    assert_eq!(
        log,
        "kubectl --kubeconfig out/kubeconfig delete --ignore-not-found --wait --timeout=180s -f -\n\
         \x20 | kind: Second\n\x20 | name: one\n\
         kubectl --kubeconfig out/kubeconfig delete --ignore-not-found --wait --timeout=180s -f -\n\
         \x20 | kind: First\n\
         kubectl --kubeconfig out/kubeconfig delete node three --ignore-not-found\n\
         kubectl --kubeconfig out/kubeconfig delete node two --ignore-not-found\n\
         ssh -o BatchMode=yes admin@10.11.0.103 sudo -n /usr/local/sbin/ceil-reset --yes --off\n\
         ssh -o BatchMode=yes admin@10.11.0.102 sudo -n /usr/local/sbin/ceil-reset --yes --off\n\
         ssh -o BatchMode=yes admin@10.11.0.101 sudo -n /usr/local/sbin/ceil-reset --yes --off\n"
    );
}

#[test]
fn f126_a_step_that_fails_is_the_last_one() {
    let ran = run(cluster(), "node two", &["--yes"], 1);
    assert!(
        ran.stderr.contains("node `two` of the cluster `c`") && ran.stderr.contains("exit status: 3"),
        "{}",
        ran.stderr
    );
    let log = String::from_utf8(ran.read("log")).unwrap();
    assert!(!log.contains("ssh"), "{log}");
    // Without the programs it says which is missing.
    cluster()
        .args(["teardown", "--yes"])
        .status(1)
        .stderr_has("cannot run `kubectl`")
        .run();
    Test::new()
        .cluster("cluster: {name: c}\nnodes: [{name: one, profile: minimal, base: demo}]\n")
        .args(["teardown"])
        .status(1)
        .stderr_has("no node is part of Kubernetes")
        .run();
}

/// F125: every member has the script, and it asks before it does anything.
#[test]
fn f125_the_reset_of_a_node_asks_first() {
    let ran = cluster().args(["-q", "build", "two", "nas"]).run();
    let ran = ran
        .again()
        .args(["cat", "out/two.img", "/usr/local/sbin/ceil-reset"])
        .run();
    let script = ran.path("ceil-reset");
    std::fs::write(&script, &ran.stdout).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    for (words, said) in [
        (&[][..], "say --yes"),
        (&["--yes", "--now"], "unknown word '--now'"),
    ] {
        let out = std::process::Command::new("sh")
            .arg(&script)
            .args(words)
            .output()
            .unwrap();
        assert_eq!(out.status.code(), Some(2), "{words:?}");
        assert!(String::from_utf8_lossy(&out.stderr).contains(said), "{words:?}");
    }
    ran.again()
        .args(["cat", "out/nas.img", "/usr/local/sbin/ceil-reset"])
        .status(1)
        .run();
}
