//! The examples of README.md are run, or listed here with the reason why not.

use std::fs;
use std::path::Path;

use crate::support::cli::Test;

/// Examples that are not run, each with its reason.
const NOT_RUN: [(&str, &str); 6] = [
    (
        "ceil-img boot --all --until login",
        "needs a base with a kernel, and minutes",
    ),
    ("ceil-img devices", "what it prints is of the machine"),
    ("ceil-img flash /dev/sdb one", "needs a card"),
    ("ceil-img flash one=/dev/sdb two=/dev/sdc", "needs two cards"),
    ("ceil-img flash --all", "asks for cards"),
    (
        "ceil-img boot --all --fault power-cut@join --fault late=server:600 -- kubectl get nodes",
        "needs a base with a kernel, and minutes",
    ),
];

#[test]
fn examples_of_the_readme_run() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let Ok(text) = fs::read_to_string(path) else {
        return;
    };
    let examples = examples(&text);
    for (listed, _) in NOT_RUN {
        assert!(
            examples.iter().any(|e| e == listed),
            "`{listed}` is listed as not run, but README.md does not have it"
        );
    }
    // One folder for all of them: later examples use what earlier ones made.
    let mut test = Test::new();
    for example in examples {
        if NOT_RUN.iter().any(|(listed, _)| *listed == example) {
            continue;
        }
        let words: Vec<&str> = example.split_whitespace().collect();
        if let ["truncate", "-s", size, file] = words[..] {
            let gib: u64 = size.strip_suffix('G').unwrap().parse().unwrap();
            fs::File::create(test.dir().join(file))
                .unwrap()
                .set_len(gib << 30)
                .unwrap();
            continue;
        }
        let ran = test.args(&words[1..]).run();
        test = ran.again();
    }
}

/// The cluster file, the profile and the edit list of the README build and apply as they stand.
#[test]
fn yaml_of_the_readme_is_right() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let text = fs::read_to_string(path).unwrap();
    let blocks = yaml_blocks(&text);
    let [cluster, profile, edits] = blocks[..] else {
        panic!(
            "README.md has {} YAML examples; this test knows three",
            blocks.len()
        );
    };
    let ran = Test::new()
        .cluster(cluster)
        .profile("node", profile)
        .file("overlays/base/etc/modules-load.d/k8s.conf", "overlay\n")
        .file("k3s", "program")
        .file("issue.j2", "{{ node.hostname }} of {{ cluster.name }}\n")
        .args(["build", "--all", "--base", "demo", "--verify"])
        .run();
    assert_eq!(ran.names("out").iter().filter(|n| n.ends_with(".img")).count(), 2);
    let ran = ran
        .again()
        .file("edits.yaml", edits)
        .file("disk.img", vec![0; 1 << 20])
        .file("srv/www/index.html", "hello\n")
        .args([
            "edit",
            "--image",
            "out/one.img",
            "--out",
            "edited.img",
            "edits.yaml",
        ])
        .run();
    let ran = ran.again().args(["check", "edited.img"]).run();
    let ran = ran
        .again()
        .args(["cat", "edited.img", "/boot/firmware/note.txt"])
        .stdout("on the FAT\n")
        .run();
    ran.again()
        .args(["ls", "edited.img", "root:/opt/g"])
        .stdout_has("-0600   1000:1000            6 root:/opt/g")
        .run();
}

/// The cluster file and the profile of docs/cluster.md plan, lint and build as they stand.
#[test]
fn yaml_of_the_cluster_page_is_right() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/cluster.md");
    let text = fs::read_to_string(path).unwrap();
    let blocks = yaml_blocks(&text);
    let [cluster, profile] = blocks[..] else {
        panic!(
            "docs/cluster.md has {} YAML examples; this test knows two",
            blocks.len()
        );
    };
    let ran = Test::new()
        .cluster(cluster)
        .profile("worker", profile)
        .file(
            "admin.pub",
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExample admin\n",
        )
        .file(
            "overlays/motd/etc/motd.j2",
            "{{ node.fqdn }}: {{ secret.door_code }}\n",
        )
        .programs()
        .args(["lint", "--deny-warnings"])
        .run();
    let ran = ran
        .again()
        .args(["build", "one", "node-4", "--base", "demo", "--verify"])
        .run();
    assert!(ran.path("out/kubeconfig").exists());
    ran.again()
        .args(["ls", "out/node-4.img", "root:/etc/motd"])
        .stdout_has("-0600")
        .run();
}

/// The texts of all `yaml` blocks.
fn yaml_blocks(text: &str) -> Vec<&str> {
    text.split("```yaml\n")
        .skip(1)
        .map(|block| block.split("```").next().unwrap())
        .collect()
}

/// The lines of `sh` and `console` blocks that call the program, without prompt and comment.
fn examples(text: &str) -> Vec<String> {
    let mut inside = false;
    let mut found = Vec::new();
    for line in text.lines() {
        if let Some(language) = line.trim_start().strip_prefix("```") {
            inside = !inside && matches!(language.trim(), "sh" | "console");
            continue;
        }
        let line = line.trim_start().trim_start_matches("$ ");
        let line = line.split(" #").next().unwrap_or_default().trim_end();
        if inside && (line.starts_with("ceil-img ") || line.starts_with("truncate ")) {
            found.push(line.to_owned());
        }
    }
    found
}

#[test]
fn examples_are_found_in_their_blocks_alone() {
    let text = "ceil-img not\n```sh\nceil-img plan one   # prints\nls\n```\n```yaml\nceil-img: no\n```\n\
                ```console\n$ ceil-img images\nname\n```\n";
    assert_eq!(examples(text), ["ceil-img plan one", "ceil-img images"]);
}
