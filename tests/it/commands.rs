//! Every command as a user types it: exit codes, output of both kinds, and nothing written that was not asked for.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::cli::{Ran, Test};
use crate::support::{judge, tiny, tools};

/// Each line as a JSON object.
pub fn objects(ran: &Ran) -> Vec<Value> {
    ran.stdout
        .lines()
        .map(|line| {
            let value: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
            assert!(value.is_object(), "{line}");
            value
        })
        .collect()
}

fn files(dir: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        }
        found.insert(path);
    }
    found
}

// rows: F248
#[test]
fn every_command_has_help() {
    let list = Test::new().args(["--help"]).run();
    let commands = list.stdout.split_once("Commands:\n").unwrap().1;
    let commands: Vec<(&str, &str)> = commands
        .lines()
        .map_while(|line| line.trim().split_once(' '))
        .filter(|(command, _)| *command != "help")
        .collect();
    for known in [
        "build", "init", "plan", "lint", "export", "secrets", "fetch", "inspect", "diff", "cache",
    ] {
        assert!(
            commands.iter().any(|(command, _)| *command == known),
            "{known}: {commands:?}"
        );
    }
    for (command, line) in commands {
        assert!(
            line.trim()
                .ends_with(|c: char| c.is_alphanumeric() || c == ']' || c == ')'),
            "{line}"
        );
        let ran = Test::new().args([command, "--help"]).run();
        let summary = ran.stdout.lines().next().unwrap_or_default();
        assert!(
            summary.len() > 10 && summary.len() < 100 && !summary.starts_with("Usage"),
            "{command}: {summary}"
        );
        assert!(ran.stdout.contains(&format!("Usage: ceil-img {command}")));
        assert!(ran.stderr.is_empty());
    }
    Test::new()
        .args(["--version"])
        .stdout_has(env!("CARGO_PKG_VERSION"))
        .run();
    assert!(list.stdout.contains("Exit codes: 0 done, 1 failed"));
}

#[test]
fn wrong_usage_ends_with_2() {
    for args in [
        &[][..],
        &["biuld"],
        &["build"],
        &["build", "one", "--all"],
        &["build", "one", "--formta", "img"],
        &["build", "one", "--format", "iso"],
        &["plan"],
        &["plan", "--all", "one"],
        &["plan", "one", "--out", "x"],
        &["ls"],
        &["ls", "x.img", "relative"],
        &["cat", "x.img", "root:/a/../b"],
        &["edit", "--image", "x.img", "e.yaml"],
        &[
            "edit",
            "--image",
            "x.img",
            "--in-place",
            "--out",
            "y.img",
            "e.yaml",
        ],
        &[
            "edit",
            "--image",
            "x.img",
            "--out",
            "y.img",
            "--reserve",
            "much",
            "e.yaml",
        ],
        &["diff", "x.img"],
        &["completions", "cmd"],
        &["cache"],
    ] {
        let ran = Test::new().args(args).status(2).run();
        assert!(
            ran.stdout.is_empty() && ran.stderr.contains("--help"),
            "{args:?}: {}",
            ran.stderr
        );
    }
    Test::new()
        .args(["biuld"])
        .status(2)
        .stderr_has("similar subcommand exists: 'build'")
        .run();
}

#[test]
fn completions_for_every_shell() {
    for (shell, word) in [
        ("bash", "complete -F"),
        ("zsh", "#compdef ceil-img"),
        ("fish", "complete -c ceil-img"),
        ("elvish", "edit:completion:arg-completer"),
        ("powershell", "Register-ArgumentCompleter"),
    ] {
        let ran = Test::new().args(["completions", shell]).stdout_has(word).run();
        assert!(
            ["build", "init", "fetch", "cache"]
                .iter()
                .all(|c| ran.stdout.contains(c)),
            "{shell}"
        );
        if shell == "bash" && tools::have(&["bash"]) {
            fs::write(ran.path("script"), &ran.stdout).unwrap();
            tools::run(tools::command("bash").arg("-n").arg(ran.path("script")));
        }
    }
}

// rows: F254
/// A plan needs neither network nor base, and writes nothing anywhere: a catalog name is enough.
#[test]
fn a_plan_writes_nothing_and_is_what_build_does() {
    let cluster =
        "cluster: {name: c}\nnodes: [{name: one, profile: demo}, {name: two, profile: demo, base: demo}]\n";
    let test = Test::new()
        .cluster(cluster)
        .args(["plan", "one", "--offline"])
        .env("http_proxy", "http://127.0.0.1:9")
        .env("https_proxy", "http://127.0.0.1:9");
    let before = files(test.dir());
    let dir = test.dir().to_owned();
    let ran = test
        .stdout_has("node one of c")
        .stdout_has("raspios-trixie-arm64")
        .stdout_has("+cgroup_enable=memory +psi=1 -quiet")
        .stdout_has("root:/etc/motd")
        .run();
    assert_eq!(files(&dir), before);
    let text = ran.stdout.clone();
    let ran = ran.again().args(["plan", "one", "--json"]).run();
    assert_eq!(files(&dir), before);
    let plan = &objects(&ran)[0];
    let digest = plan["digest"].as_str().unwrap();
    assert!(text.contains(digest.trim_start_matches("sha256:")), "{text}");
    let put = &plan["edits"]
        .as_array()
        .unwrap()
        .iter()
        .find(|e| e["at"] == "root:/etc/motd")
        .unwrap()
        .clone();
    assert_eq!(put["size"], 19);
    assert_eq!(put["mode"], "0644");
    assert_eq!(put["owner"], "0:0");
    let motd = ceil_img::values::Digest::sha256(b"Built by ceil-img.\n");
    assert_eq!(put["digest"], motd.to_string());
    // The digest of the plan is in the manifest of what is built from it, and says the same of every path.
    let ran = ran.again().args(["plan", "two", "--json"]).run();
    assert_eq!(files(&dir), before);
    let plan = objects(&ran).remove(0);
    let ran = ran.again().args(["build", "two", "--json"]).run();
    let manifest: Value = serde_json::from_slice(&ran.read("out/two.manifest.json")).unwrap();
    assert_eq!(manifest["plan"], plan["digest"]);
    let built = objects(&ran);
    assert_eq!(built.last().unwrap()["event"], "built");
    assert_eq!(built.last().unwrap()["plan"], plan["digest"]);
    for edit in plan["edits"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|e| e["op"] == "put")
    {
        let changes = manifest["changes"].as_array().unwrap();
        let change = changes.iter().find(|c| c["path"] == edit["at"]).unwrap();
        assert_eq!(edit["size"], change["size"]);
        let hex = edit["digest"].as_str().unwrap().trim_start_matches("sha256:");
        assert_eq!(change["digest"], hex);
    }
}

// rows: F018
#[test]
fn build_in_every_format() {
    if !tools::have(&["xz", "zstd", "gzip", "bmaptool"]) {
        return;
    }
    let base = ["--base", "demo", "--json", "--verify"];
    let raw = Test::new().args(["build", "one"]).args(base).run();
    let digest = |ran: &Ran, key: &str| objects(ran).last().unwrap()[key].clone();
    let expected = (digest(&raw, "raw_digest"), digest(&raw, "content"));
    for (format, tool) in [("img.xz", "xz"), ("img.zst", "zstd"), ("img.gz", "gzip")] {
        let ran = Test::new()
            .args(["build", "one", "--format", format])
            .args(base)
            .run();
        let name = format!("one.{format}");
        assert_eq!(
            (digest(&ran, "raw_digest"), digest(&ran, "content")),
            expected,
            "{format}"
        );
        assert_eq!(
            ran.names("out"),
            sorted(&[
                &name,
                "one.img.bmap",
                &format!("{name}.sha256"),
                "one.manifest.json"
            ])
        );
        let sums = tools::command("sha256sum")
            .args(["-c", &format!("{name}.sha256")])
            .current_dir(ran.path("out"))
            .output();
        assert!(sums.unwrap().status.success());
        let unpacked = tools::run(tools::command(tool).arg("-dc").arg(ran.path("out").join(&name)));
        assert!(unpacked == raw.read("out/one.img"), "{format}");
    }
    let ran = Test::new()
        .args(["build", "one", "--format", "none"])
        .args(&base[..3])
        .run();
    assert_eq!(ran.names("out"), ["one.manifest.json"]);
    assert_eq!(digest(&ran, "content"), expected.1);
    assert!(digest(&ran, "image").is_null());

    // On a card that is full of something else, what the map leaves out must not matter.
    let card = raw.path("card.img");
    fs::write(&card, vec![0xff; raw.read("out/one.img").len()]).unwrap();
    tools::run(
        tools::command("bmaptool")
            .arg("copy")
            .arg(raw.path("out/one.img"))
            .arg(&card),
    );
    judge::all(&card);
    let ran = raw
        .again()
        .args(["diff", "out/one.img", "card.img"])
        .stdout("")
        .run();
    ran.again()
        .args(["check", "card.img"])
        .stderr_has("no defect was found")
        .run();
}

fn sorted(names: &[&str]) -> Vec<String> {
    let mut names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
    names.sort();
    names
}

// rows: F231
#[test]
fn build_all_and_several() {
    let cluster = "cluster: {name: c}\nnetwork: {gateway: 10.0.0.1, dns: [10.0.0.1]}\nnodes:\n  - {name: one, profile: demo, base: demo, address: 10.0.0.11/24}\n  - {name: two, profile: demo, base: demo}\n  - {name: three, profile: minimal, base: demo}\n";
    let ran = Test::new()
        .cluster(cluster)
        .args(["build", "--all", "--format", "none", "--json"])
        .run();
    let built: Vec<Value> = objects(&ran)
        .into_iter()
        .filter(|o| o["event"] == "built")
        .collect();
    let nodes: Vec<&str> = built.iter().map(|b| b["node"].as_str().unwrap()).collect();
    assert_eq!(nodes, ["one", "two", "three"]);
    assert_eq!(
        ran.names("out"),
        ["one.manifest.json", "three.manifest.json", "two.manifest.json"]
    );
    let ran = ran.again().args(["build", "three", "one", "--out", "o"]).run();
    let lines: Vec<&str> = ran
        .stdout
        .lines()
        .map(|l| l.rsplit(' ').next().unwrap())
        .collect();
    assert_eq!(lines, ["o/three.img", "o/one.img"]);
    let ran = ran
        .again()
        .args(["cat", "o/one.img", "boot:/network-config"])
        .stdout_has("10.0.0.11/24")
        .run();
    ran.again()
        .args(["cat", "o/three.img", "root:/etc/hostname"])
        .stdout("three\n")
        .run();
}

#[test]
fn an_edit_goes_to_another_file_or_in_place() {
    let Some(image) = tiny::shared() else { return };
    let edits = "- {put: \"root:/etc/motd\", content: \"hello\\n\"}\n- {remove: \"boot:/config.txt\"}\n";
    let ran = Test::new()
        .file("edits.yaml", edits)
        .file("base.img", fs::read(&image).unwrap())
        .args([
            "edit",
            "--image",
            "base.img",
            "--out",
            "new.img",
            "edits.yaml",
            "--json",
        ])
        .run();
    let edited = objects(&ran).pop().unwrap();
    assert_eq!(edited["event"], "edited");
    let paths: Vec<&str> = edited["changes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["path"].as_str().unwrap())
        .collect();
    assert_eq!(paths, ["boot:/config.txt", "root:/etc/motd"]);
    assert!(ran.read("base.img") == fs::read(&image).unwrap());
    judge::all(&ran.path("new.img"));
    let new = ran.read("new.img");
    let ran = ran
        .again()
        .args(["edit", "--image", "base.img", "--in-place", "edits.yaml"])
        .run();
    assert!(ran.read("base.img") == new, "in place gives the same");
    // Onto itself by name, and into a packed file and back.
    let list = "- {put: \"root:/etc/again\", content: x}\n";
    let ran = ran
        .again()
        .file("list.yaml", list)
        .args(["edit", "--image", "new.img", "--out", "new.img", "list.yaml"])
        .run();
    judge::all(&ran.path("new.img"));
    let ran = ran
        .again()
        .args([
            "edit",
            "--image",
            "new.img",
            "--out",
            "p.img.zst",
            "--reserve",
            "40MiB",
            "edits.yaml",
        ])
        .status(1)
        .run();
    assert!(
        ran.stderr
            .contains("edits.yaml:2: cannot remove `boot:/config.txt`"),
        "{}",
        ran.stderr
    );
    let ran = ran
        .again()
        .args([
            "edit",
            "--image",
            "new.img",
            "--out",
            "p.img.zst",
            "--reserve",
            "40MiB",
            "list.yaml",
        ])
        .run();
    let ran = ran.again().args(["inspect", "p.img.zst", "--json"]).run();
    assert!(objects(&ran).pop().unwrap()["root"]["free"].as_u64().unwrap() >= 40 << 20);
}

/// The node's own edits and its identity meet in the same files; a plain tree reaches both volumes.
#[test]
fn edits_meet_the_identity_and_both_volumes() {
    let profile = "edits:\n\
                   - {append: \"root:/etc/hosts\", content: \"10.11.0.101 one\\n\"}\n\
                   - {put: \"root:/etc/hostname\", content: \"mine\\n\"}\n\
                   - {tree: \"/\", from: ../overlay}\n";
    let ran = Test::new()
        .cluster("cluster: {name: c}\nnodes: [{name: one, profile: p, base: demo}]\n")
        .profile("p", profile)
        .file("overlay/boot/firmware/sub/x.txt", "on the FAT\n")
        .file("overlay/etc/motd", "on the root\n")
        .file("overlay/bin/tool", "through a link\n")
        .args(["build", "one", "--verify"])
        .stderr_has("`root:/etc/hostname` is put by the node's own edits")
        .run();
    let out = ran.path("out/one.img");
    judge::all(&out);
    let partitions = judge::partitions(&out);
    let cat = |path: &str| String::from_utf8(judge::ext4_cat(&out, &partitions[1], path)).unwrap();
    let hosts = cat("/etc/hosts");
    assert!(
        hosts.contains("127.0.1.1\tone\n") && hosts.ends_with("10.11.0.101 one\n"),
        "{hosts}"
    );
    assert_eq!(cat("/etc/hostname"), "mine\n");
    assert_eq!(cat("/etc/motd"), "on the root\n");
    assert_eq!(cat("/usr/bin/tool"), "through a link\n");
    assert_eq!(judge::fat_cat(&out, &partitions[0], "sub/x.txt"), b"on the FAT\n");
    assert_eq!(cat("/boot/firmware/sub/x.txt"), "");
}
