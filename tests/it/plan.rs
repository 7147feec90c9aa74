//! The example cluster, read and planned, against its stored plan.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;

use ceil_img::inputs::{DigestMemo, NoMemo, Reading, read_cluster, read_edits, read_inputs};
use ceil_img::plan::{ClusterPlan, FileStamp};
use ceil_img::planner;
use ceil_img::report::NoReport;
use ceil_img::values::Digest;

const READING: Reading<'_> = Reading {
    memo: &NoMemo,
    reporter: &NoReport,
};

fn plan(file: &Path) -> ClusterPlan {
    let cluster = read_cluster(file).expect("cluster");
    let nodes: Vec<_> = cluster.nodes.iter().collect();
    let inputs = read_inputs(&cluster, &nodes, READING).expect("inputs");
    planner::plan(&cluster, &inputs, planner::epoch(&cluster, None)).expect("plan")
}

/// `UPDATE_EXPECTED=1` stores what was found; the difference is then read in the commit.
fn compare(name: &str, found: &str) {
    let path = format!("fixtures/expected/{name}");
    if std::env::var_os("UPDATE_EXPECTED").is_some() {
        fs::write(&path, found).expect("store");
    }
    let expected = fs::read_to_string(&path).expect("stored plan");
    assert_eq!(
        found, expected,
        "{path} differs; UPDATE_EXPECTED=1 stores the new one"
    );
}

#[test]
fn the_example_cluster_has_its_stored_plan() {
    let plan = plan(Path::new("fixtures/clusters/small/cluster.yaml"));
    let (mut json, mut table) = (String::new(), String::new());
    for node in &plan.nodes {
        json += &serde_json::to_string_pretty(&node.to_json(&node.edits, &[])).expect("json");
        json.push('\n');
        table += &node.to_table(&node.edits, &["a note".to_owned()]);
        table.push('\n');
    }
    compare("small-plan.json", &json);
    compare("small-plan.txt", &table);
}

/// A copy elsewhere, with modes as another umask leaves them, gives the same digests.
#[test]
fn the_digest_knows_neither_place_nor_umask() {
    let here = plan(Path::new("fixtures/clusters/small/cluster.yaml"));
    let dir = tempfile::tempdir().expect("dir");
    let copied = Command::new("cp")
        .args(["-R", "fixtures/clusters/small"])
        .arg(dir.path())
        .status();
    assert!(copied.expect("cp").success());
    let copy = dir.path().join("small");
    for (path, mode) in [
        ("overlays/base/etc/modules", 0o600),
        ("overlays/base/usr/local/bin/run", 0o700),
        ("overlays/base/srv", 0o700),
        ("tool.sh", 0o600),
    ] {
        fs::set_permissions(copy.join(path), fs::Permissions::from_mode(mode)).expect("mode");
    }
    let there = plan(&copy.join("cluster.yaml"));
    assert_eq!(here.nodes.len(), 2);
    for (a, b) in here.nodes.iter().zip(&there.nodes) {
        assert_eq!(a.digest, b.digest);
        assert_eq!(a.identity, b.identity);
    }
    assert_ne!(here.nodes[0].digest, here.nodes[1].digest);

    let mut seen = vec![there.nodes[0].digest.clone()];
    for (path, text) in [
        ("tool.sh", "#!/bin/sh\necho tooL\n"),
        ("overlays/base/srv/data", "datA\n"),
        ("overlays/base/.ceil-owners", "etc/modules 0640 0:43\n"),
        ("motd.j2", "{{ epoch }}\n"),
    ] {
        fs::write(copy.join(path), text).expect("write");
        let changed = plan(&copy.join("cluster.yaml")).nodes[0].digest.clone();
        assert!(!seen.contains(&changed), "{path} does not count");
        seen.push(changed);
    }
}

fn fails(files: &[(&str, &str)], expected: &str) {
    let dir = tempfile::tempdir().expect("dir");
    for (name, text) in files {
        fs::write(dir.path().join(name), text).expect("write");
    }
    fails_in(dir.path(), expected);
}

fn fails_in(dir: &Path, expected: &str) {
    let found = match read_edits(&dir.join("e.yaml"), READING) {
        Err(e) => e.to_string(),
        Ok((edits, inputs)) => planner::plan_edits(&edits, &inputs, &serde_json::json!({"epoch": 0}))
            .expect_err("an error")
            .to_string(),
    };
    let prefix = format!("{}/", dir.display());
    assert_eq!(found.replace(&prefix, ""), expected);
}

#[test]
fn contradictions_name_both_lines() {
    for (text, expected) in [
        (
            "- {put: 'root:/a', content: x}\n- {put: 'root:/a', content: x}\n",
            "e.yaml:2: `root:/a` is already made by the edit at e.yaml:1; a path can be made only once",
        ),
        (
            "- {symlink: 'root:/a', to: x}\n- {dir: '/a'}\n",
            "e.yaml:2: `/a` is already made by the edit at e.yaml:1; a path can be made only once",
        ),
        (
            "- {put: 'boot:/Config.txt', content: x}\n- {put: 'boot:/config.txt', content: x}\n",
            "e.yaml:2: `boot:/config.txt` is already made by the edit at e.yaml:1; a path can be made only once",
        ),
        (
            "- {put: 'root:/a', content: x}\n- {put: 'root:/a/b/c', content: x}\n",
            "e.yaml:2: `root:/a` is a file by the edit at e.yaml:1, and a directory is wanted there",
        ),
        (
            "- {put: 'root:/a/b', content: x}\n- {put: 'root:/a', content: x}\n",
            "e.yaml:1: `root:/a` is a file by the edit at e.yaml:2, and a directory is wanted there",
        ),
        (
            "- {put: 'root:/a', from: missing}\n",
            "e.yaml:1: cannot read `missing`",
        ),
        (
            "- {put: 'root:/a', from: .}\n",
            "e.yaml:1: `.` is a folder; use `tree` to lay a folder over the image",
        ),
        (
            "- {tree: 'root:/a', from: e.yaml}\n",
            "e.yaml:1: `e.yaml` is not a folder, which `tree` wants",
        ),
    ] {
        fails(&[("e.yaml", text)], expected);
    }
    fails(
        &[
            ("e.yaml", "- {put: 'root:/a', template: t.j2}\n"),
            ("t.j2", "\n{{ node.name }}"),
        ],
        "e.yaml:1: cannot render the template: t.j2:2: `node.name` is not defined; the names here are `epoch`",
    );
}

#[test]
fn what_was_made_may_be_changed_and_what_was_removed_made_again() {
    let dir = tempfile::tempdir().expect("dir");
    let text = "- {put: 'root:/a/f', content: x}\n- {append: 'root:/a/f', content: y}\n- {chmod: 'root:/a/f', mode: '0600'}\n- {chown: 'root:/a/f', owner: 1:1}\n- {xattr: 'root:/a/f', set: {user.x: v}}\n- {remove: 'root:/a', recursive: true}\n- {put: 'root:/a', content: z}\n- {rename: 'root:/a', to: 'root:/b'}\n- {dir: 'root:/a'}\n";
    fs::write(dir.path().join("e.yaml"), text).expect("write");
    let (edits, inputs) = read_edits(&dir.path().join("e.yaml"), READING).expect("read");
    let planned = planner::plan_edits(&edits, &inputs, &serde_json::Value::Null).expect("planned");
    assert_eq!(planned.len(), 9);
}

#[test]
fn overlays_hold_files_folders_and_links_only() {
    for (kind, what) in [("p", "a named pipe"), ("s", "a socket")] {
        let dir = tempfile::tempdir().expect("dir");
        fs::write(dir.path().join("e.yaml"), "- {tree: 'root:/', from: tree}\n").expect("write");
        fs::create_dir_all(dir.path().join("tree/etc")).expect("dir");
        let odd = dir.path().join("tree/etc/odd");
        let _listener;
        if kind == "p" {
            let made = Command::new("mkfifo").arg(&odd).status().expect("mkfifo");
            assert!(made.success());
        } else {
            _listener = std::os::unix::net::UnixListener::bind(&odd).expect("socket");
        }
        let expected =
            format!("e.yaml:1: `tree/etc/odd` is {what}; an overlay holds files, folders and symlinks");
        fails_in(dir.path(), &expected);
    }
}

#[test]
fn a_missing_profile_names_the_nearest() {
    let dir = tempfile::tempdir().expect("dir");
    let file = dir.path().join("cluster.yaml");
    fs::write(
        &file,
        "cluster: {name: c}\nnodes:\n  - {name: one, profile: minimla}\n",
    )
    .expect("write");
    let cluster = read_cluster(&file).expect("cluster");
    let nodes: Vec<_> = cluster.nodes.iter().collect();
    let error = read_inputs(&cluster, &nodes, READING).expect_err("missing");
    let prefix = format!("{}/", dir.path().display());
    assert_eq!(
        error.to_string().replace(&prefix, ""),
        "cluster.yaml:3: there is no profile `minimla`, did you mean `minimal`?; the profiles are `agent`, `data-disk`, `demo`, `hypriot-legacy`, `loop-disk`, `minimal`, `nfs-client`, `node`, `pi-1gb`, `raspbian-legacy`, `registry`, `router`, `server`, `storage`, `swap-limited`, `system`, `ubuntu`, `usb-boot-bit`, `wifi`, `wifi-uplink` (searched: `profiles`, built-in)"
    );
}

#[test]
fn built_in_profiles_can_be_planned() {
    let dir = tempfile::tempdir().expect("dir");
    let file = dir.path().join("cluster.yaml");
    fs::write(
        &file,
        "cluster: {name: c}\nnodes:\n  - {name: one, profile: minimal}\n  - {name: two, profile: demo}\n",
    )
    .expect("write");
    let plan = plan(&file);
    assert!(plan.nodes[0].edits.is_empty());
    assert!(plan.nodes[1].edits.len() > 4);
    assert_eq!(plan.nodes[1].epoch.secs, 1_735_689_600);
    let id = &plan.nodes[0].identity.instance_id;
    assert_eq!(*id, format!("c-one-{}", &plan.nodes[0].digest.hex()[..12]));
}

/// Counts what it is asked, and knows what it was told.
#[derive(Default)]
struct Memo {
    known: Mutex<Vec<(FileStamp, Digest)>>,
    hits: Mutex<usize>,
}

impl DigestMemo for Memo {
    fn get(&self, _: &Path, stamp: &FileStamp) -> Option<Digest> {
        let known = self.known.lock().expect("lock");
        let found = known.iter().find(|(s, _)| s == stamp).map(|(_, d)| d.clone());
        *self.hits.lock().expect("lock") += usize::from(found.is_some());
        found
    }

    fn put(&self, _: &Path, stamp: &FileStamp, digest: &Digest) {
        self.known.lock().expect("lock").push((*stamp, digest.clone()));
    }
}

/// Many files on two threads have the digests that `sha256sum` has, each is hashed once, and the second time
/// the memory answers.
#[test]
fn payloads_are_hashed_once_and_right() {
    let dir = tempfile::tempdir().expect("dir");
    let tree = dir.path().join("tree");
    fs::create_dir(&tree).expect("dir");
    for i in 0..40u32 {
        fs::write(tree.join(format!("f{i}")), vec![i as u8; (i * 9973) as usize]).expect("write");
    }
    let text = "- {tree: 'root:/a', from: tree}\n- {put: 'root:/b', from: tree/f7}\n";
    fs::write(dir.path().join("e.yaml"), text).expect("write");
    let memo = Memo::default();
    let reading = Reading {
        memo: &memo,
        reporter: &NoReport,
    };
    let (_, inputs) = read_edits(&dir.path().join("e.yaml"), reading).expect("read");
    assert_eq!(
        (
            memo.known.lock().expect("lock").len(),
            *memo.hits.lock().expect("lock")
        ),
        (40, 0)
    );
    let (_, again) = read_edits(&dir.path().join("e.yaml"), reading).expect("read");
    assert_eq!(*memo.hits.lock().expect("lock"), 40);
    assert_eq!(inputs.files, again.files);
    for (path, content) in &inputs.files {
        let out = Command::new("sha256sum").arg(path).output().expect("sha256sum");
        let out = String::from_utf8(out.stdout).expect("text");
        assert_eq!(
            out.split_whitespace().next(),
            Some(content.digest().hex().as_str())
        );
    }
}
