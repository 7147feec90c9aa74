//! The sets, `init`, and the commands about profiles.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use ceil_img::inputs::read_cluster;
use ceil_img::spec::{cluster_schema, profile_schema};
use ceil_img::{inputs, sets, spec};

use crate::support::cli::{Ran, Test};
use crate::support::tools;

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ2Vd0hI7x3e3g0c0S4Zb6n4kq1aS9mXoJ0vX2bqf3Qp me@here";

fn init(set: &str, more: &[&str]) -> Ran {
    Test::new()
        .args(["init", set, "--yes", "--dir", ".", "--ssh-key", KEY])
        .args(more)
        .run()
}

fn written(dir: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut pending = vec![dir.to_owned()];
    while let Some(next) = pending.pop() {
        for entry in fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(dir).unwrap().display().to_string();
            if ["home", "cache"].contains(&name.as_str()) {
                continue;
            }
            if path.is_dir() {
                pending.push(path);
            } else {
                found.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found.sort();
    found
}

/// F244, F245: every set is written without a question, and each of its nodes can be planned.
#[test]
fn f244_every_set_is_written_and_planned() {
    for set in sets::names() {
        let ran = init(set, &[]);
        let dir = ran.path("");
        let files = written(&dir);
        for (name, text) in &files {
            assert!(!name.ends_with(".part"), "{set}: {name}");
            assert!(
                !text.contains("[[ ") && !text.contains(" ]]"),
                "{set}: {name} has a placeholder\n{text}"
            );
            assert!(!text.contains("PRIVATE KEY"), "{set}: {name}");
        }
        let get = |name: &str| &files.iter().find(|(n, _)| n == name).unwrap().1;
        assert!(
            get("cluster.yaml").starts_with("# yaml-language-server: $schema=schema/cluster.json\n"),
            "{set}"
        );
        assert!(get(".gitignore").contains("secrets.yaml"), "{set}");
        let cluster = read_cluster(&dir.join("cluster.yaml")).unwrap();
        let mut test = ran.again();
        if !cluster.wifi.is_empty() {
            test = test
                .file("secrets.yaml", "wifi-home: a passphrase\n")
                .mode("secrets.yaml", 0o600);
        }
        test.args(["plan", "--all", "--base", "demo"]).run();
    }
}

fn cluster(ran: &Ran) -> (spec::ClusterSpec, Vec<spec::Resolved>) {
    let cluster = read_cluster(&ran.path("cluster.yaml")).unwrap();
    let profiles = inputs::all_profiles(&cluster).unwrap();
    let nodes = cluster
        .nodes
        .iter()
        .map(|n| spec::resolve_node(&cluster, n, &profiles).unwrap())
        .collect();
    (cluster, nodes)
}

#[test]
fn f245_bee42_has_fifteen_boards_in_five_clusters() {
    for (set, boards, crews, more) in [
        ("bee42", 15, 5, 1),
        ("bee42-legacy", 15, 5, 0),
        ("bee42-travel", 3, 1, 1),
    ] {
        let (cluster, nodes) = cluster(&init(set, &[]));
        assert_eq!(cluster.nodes.len(), boards + more, "{set}");
        let names: BTreeSet<String> = cluster.nodes.iter().map(|n| n.name.to_string()).collect();
        let addresses: BTreeSet<String> = cluster.nodes.iter().map(|n| n.address.to_string()).collect();
        assert_eq!(
            (names.len(), addresses.len()),
            (boards + more, boards + more),
            "{set}"
        );
        let crew_names: BTreeSet<&str> = nodes
            .iter()
            .filter_map(|n| Some(n.settings.cluster.as_ref()?.value.as_str()))
            .collect();
        assert_eq!(crew_names.len(), crews, "{set}: {crew_names:?}");
    }
}

#[test]
fn f245_variants_are_what_they_say() {
    let arches = |set: &str, more: &[&str]| -> BTreeSet<&'static str> {
        let (_, nodes) = cluster(&init(set, more));
        nodes
            .iter()
            .map(|n| n.settings.arch.as_ref().unwrap().value.word())
            .collect()
    };
    assert_eq!(
        arches("microcloud-hybrid", &[]),
        BTreeSet::from(["arm64", "armhf"])
    );
    assert_eq!(arches("microcloud", &[]), BTreeSet::from(["arm64"]));
    assert_eq!(
        arches("microcloud", &["--arch", "armhf"]),
        BTreeSet::from(["armhf"])
    );
    assert_eq!(arches("bee42-amd64", &[]), BTreeSet::from(["amd64", "arm64"]));

    let (k3s, _) = cluster(&init("ceil", &[]));
    let (kubeadm, _) = cluster(&init("ceil-kubeadm", &[]));
    let word = |c: &spec::ClusterSpec| c.kubernetes.as_ref().unwrap().distribution.value.word();
    assert_eq!((word(&k3s), word(&kubeadm)), ("k3s", "kubeadm"));
    assert_eq!(k3s.nodes.len(), 5);

    let (_, small) = cluster(&init("ceil-1gb", &[]));
    let zram = |n: &&spec::Resolved| matches!(&n.settings.swap, Some(s) if matches!(s.value, spec::SwapSettings::Zram(_)));
    assert_eq!(small.iter().filter(zram).count(), 4, "F072");

    for set in sets::names() {
        let (_, nodes) = cluster(&init(set, &[]));
        let legacy = nodes.iter().all(|n| n.settings.legacy == Some(true));
        assert_eq!(legacy, set.ends_with("-legacy"), "{set}");
    }
}

/// What is told on the command line is what the files say.
#[test]
fn f244_flags_fill_the_values() {
    let ran = init(
        "ceil",
        &[
            "--name",
            "lab",
            "--domain",
            "lab.example",
            "--timezone",
            "Europe/Berlin",
            "--user",
            "ada",
            "--wifi",
            "it's \"mine\"",
            "--wifi-country",
            "DE",
        ],
    );
    let (cluster, nodes) = cluster(&ran);
    assert_eq!(cluster.name.as_str(), "lab");
    assert_eq!(cluster.domain.as_ref().unwrap().as_str(), "lab.example");
    assert_eq!(cluster.wifi["home"].value.ssid, "it's \"mine\"");
    assert_eq!(cluster.wifi["home"].value.country.as_ref().unwrap().value, "DE");
    for node in &nodes {
        assert_eq!(node.settings.timezone.as_deref(), Some("Europe/Berlin"));
        assert_eq!(node.settings.users["ada"].value.ssh_keys[0].value, KEY);
        assert_eq!(node.settings.ssh.password_login, Some(false));
    }
}

#[test]
fn f244_keys_are_found_or_missed() {
    Test::new()
        .file("home/.ssh/a.pub", "no key\n")
        .file("home/.ssh/b.pub", format!("{KEY}\n"))
        .args(["init", "ha3", "--yes"])
        .stdout_has("ha3/cluster.yaml\n")
        .run()
        .again()
        .args(["profiles", "show", "server", "--file", "ha3/cluster.yaml"])
        .stdout_has(KEY)
        .run();
    Test::new()
        .args(["init", "ha3"])
        .stderr_has("nobody can log in yet")
        .run();
    Test::new()
        .file("key.pub", format!("# mine\n{KEY}\n"))
        .args(["init", "ceil", "--yes", "--ssh-key", "key.pub"])
        .stderr_has("write `wifi-home: PASSPHRASE` into secrets.yaml")
        .run();
}

#[test]
fn f244_nothing_is_overwritten() {
    let ran = init("ceil", &[]).again().file("cluster.yaml", "mine\n");
    let ran = ran
        .args(["init", "ceil", "--yes", "--dir", "."])
        .status(1)
        .stderr_has("already has `.gitignore`, `README.md`, `cluster.yaml`")
        .run();
    assert_eq!(fs::read_to_string(ran.path("cluster.yaml")).unwrap(), "mine\n");
    // Files of other names are no obstacle.
    Test::new()
        .file("notes.txt", "mine\n")
        .args(["init", "ceil", "--yes", "--dir", "."])
        .run();
}

#[test]
fn f244_wrong_values_are_refused_before_anything_is_written() {
    for (args, status, message) in [
        (
            &["init", "cei1"][..],
            1,
            "there is no set `cei1`, did you mean `ceil`?",
        ),
        (&["init", "_base"], 1, "there is no set `_base`"),
        (&["init", "ceil", "--name", "a.b"], 1, "--name: `a.b` holds a dot"),
        (&["init", "ceil", "--name", "A b"], 2, "--name"),
        (&["init", "ceil", "--domain", "x_y"], 2, "--domain"),
        (
            &["init", "ceil", "--timezone", "../etc"],
            1,
            "--timezone: `../etc` is no time zone",
        ),
        (
            &["init", "ceil", "--user", "root"],
            1,
            "--user: `root` is no login name",
        ),
        (
            &["init", "ceil", "--user", "a: b"],
            1,
            "--user: `a: b` is no login name",
        ),
        (
            &["init", "ceil", "--ssh-key", "nowhere"],
            1,
            "neither a public key nor a file",
        ),
        (
            &["init", "ceil", "--ssh-key", "private"],
            1,
            "`private` holds no public key",
        ),
        (&["init", "ceil", "--wifi", "x"], 2, "--wifi-country"),
        (
            &["init", "ceil", "--wifi", "", "--wifi-country", "DE"],
            1,
            "1 to 32 bytes",
        ),
        (
            &["init", "ceil", "--wifi", "x", "--wifi-country", "de"],
            1,
            "`de` is no country",
        ),
        (
            &["init", "ceil", "--wifi-country", "DE"],
            1,
            "goes with `--wifi SSID`",
        ),
        (
            &["init", "bee42", "--wifi", "x", "--wifi-country", "DE"],
            1,
            "the set `bee42` has no WiFi",
        ),
        (&["init", "ceil", "--arch", "mips"], 2, "arm64"),
        (
            &["init", "ceil-legacy", "--arch", "arm64"],
            1,
            "names the systems of its nodes itself",
        ),
        (&["init", "ceil", "--list"], 2, "--list"),
    ] {
        let ran = Test::new()
            .file("private", "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n")
            .args(args)
            .args(["--yes"])
            .status(status)
            .stderr_has(message)
            .run();
        assert!(!ran.path("ceil").exists(), "{args:?}");
    }
}

#[test]
fn f244_sets_are_listed() {
    Test::new().args(["init"]).stdout_has("ha3 ").run();
    Test::new()
        .args(["init", "--list"])
        .stdout_has("usb-boot-bit ")
        .run();
}

#[test]
fn profiles_are_listed_and_shown() {
    Test::new()
        .profile("own", "description: mine\nextends: server\nlabels: {a: b}\n")
        .args(["profiles"])
        .stdout_has("mine  (profiles/own.yaml)\n")
        .stdout_has("(<built-in>/router.yaml)\n")
        .run()
        .again()
        .args(["profiles", "show", "own"])
        .stdout_has("  password-login: false  # <built-in>/node.yaml:11\n")
        .stdout_has("labels:\n  a: b  # profiles/own.yaml:3\n")
        .run()
        .again()
        .args(["profiles", "show", "owm"])
        .status(1)
        .stderr_has("there is no profile `owm`, did you mean `own`?")
        .run();
}

#[test]
fn lists_of_a_profile_replace_those_below_it() {
    Test::new()
        .profile("low", "kernel-args: {add: [a=1, b=2]}\n")
        .profile("high", "extends: low\nkernel-args: {add: {replace: [b=3]}}\n")
        .args(["profiles", "show", "high"])
        .stdout_has("kernel-args:\n  add:\n    - b=3  # profiles/high.yaml:2\n")
        .run();
}

#[test]
fn f246_profiles_are_compared() {
    let test = Test::new()
        .profile("a", "base: demo\nswap: off\nedits:\n  - {put: 'root:/x', content: '1'}\n  - {put: 'root:/z', content: '1'}\n")
        .profile("b", "base: demo\nswap: limited\nedits:\n  - {put: 'root:/x', content: '2'}\n  - {put: 'root:/y', content: '1'}\n");
    let ran = test
        .args(["profiles", "diff", "a", "b"])
        .status(1)
        .stdout_has("~ setting swap: off -> limited\n")
        .stdout_has("~ put root:/x: one content -> another\n")
        .stdout_has("+ put root:/y\n")
        .stdout_has("- put root:/z\n")
        .run();
    // Keys that are made up are no difference.
    let ran = ran
        .again()
        .args(["profiles", "diff", "server", "server"])
        .stdout("")
        .run();
    let ran = ran
        .again()
        .args(["profiles", "diff", "server", "agent"])
        .status(1)
        .stdout_has("~ setting role: server -> agent\n")
        .run();
    ran.again()
        .args(["profiles", "diff", "a", "b", "--node", "tow"])
        .status(1)
        .stderr_has("there is no node `tow`")
        .run();
}

#[test]
fn schemas_are_current() {
    for (what, text) in [("cluster", cluster_schema()), ("profile", profile_schema())] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("schema/{what}.json"));
        if std::env::var_os("UPDATE_EXPECTED").is_some() {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, &text).unwrap();
        }
        let stored = fs::read_to_string(&path).unwrap();
        assert_eq!(
            stored, text,
            "schema/{what}.json; UPDATE_EXPECTED=1 stores the new one"
        );
        Test::new().args(["schema", what]).stdout(&text).run();
    }
    Test::new().args(["schema", "node"]).status(2).run();
}

/// An outside validator takes every file of every set, and refuses wrong ones.
#[test]
fn files_of_sets_fit_the_schemas() {
    if !tools::have(&["python3"]) {
        return;
    }
    let python = |code: &str, args: &[&str]| {
        let mut command = tools::command("python3");
        command.args(["-c", code]).args(args).output().unwrap()
    };
    if !python("import jsonschema, yaml", &[]).status.success() {
        tools::skip("python3 has no jsonschema and yaml");
        return;
    }
    let check = "import sys, json, re, yaml, jsonschema
schema = json.load(open(sys.argv[1]))
jsonschema.Draft7Validator.check_schema(schema)
# YAML 1.2 as the program reads it: dates and `off` are texts.
class Loader(yaml.SafeLoader): pass
keep = ('tag:yaml.org,2002:null', 'tag:yaml.org,2002:int')
Loader.yaml_implicit_resolvers = {
    c: [r for r in rs if r[0] in keep] for c, rs in yaml.SafeLoader.yaml_implicit_resolvers.items()}
Loader.add_implicit_resolver('tag:yaml.org,2002:bool', re.compile('^(true|false)$'), list('tf'))
for f in sys.argv[2:]:
    errors = list(jsonschema.Draft7Validator(schema).iter_errors(yaml.load(open(f), Loader)))
    for e in errors: print(f, list(e.path), e.message[:400])
    if errors: sys.exit(1)
";
    let schema = |what: &str| format!("{}/schema/{what}.json", env!("CARGO_MANIFEST_DIR"));
    for set in sets::names() {
        let ran = init(set, &[]);
        for what in ["cluster", "profile"] {
            let files: Vec<String> = written(&ran.path(""))
                .into_iter()
                .filter(|(n, _)| n.ends_with(".yaml") && (n == "cluster.yaml") == (what == "cluster"))
                .map(|(n, _)| ran.path(&n).display().to_string())
                .collect();
            let mut args = vec![schema(what)];
            args.extend(files);
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            let out = python(check, &args);
            assert!(
                out.status.success(),
                "{set}: {}{}",
                String::from_utf8_lossy(&out.stdout),
                String::from_utf8_lossy(&out.stderr)
            );
        }
    }
    let wrong = Test::new()
        .file("cluster.yaml", "cluster: {name: a}\nnodes: [{name: one}]\n")
        .file("profile.yaml", "swap: never\n")
        .args(["init"])
        .run();
    for what in ["cluster", "profile"] {
        let file = wrong.path(&format!("{what}.yaml")).display().to_string();
        assert_eq!(
            python(check, &[&schema(what), &file]).status.code(),
            Some(1),
            "{what}"
        );
    }
}
