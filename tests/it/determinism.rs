//! The same wishes give the same bytes, whoever builds them, where and when.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use serde_json::Value;

use crate::support::cli::{Ran, Test};
use crate::support::{judge, tiny, tools};

const OVERLAY: [(&str, &str, u32); 6] = [
    ("etc/modules-load.d/k8s.conf", "overlay\n", 0o644),
    ("etc/sysctl.d/99.conf", "net.ipv4.ip_forward=1\n", 0o644),
    ("opt/z", "z\n", 0o644),
    ("opt/a", "a\n", 0o644),
    ("usr/local/bin/run", "#!/bin/sh\n", 0o755),
    (".ceil-owners", "opt/a 0600 1000:1000\n", 0o644),
];

const PROFILE: &str = "\
kernel-args: {add: [cgroup_enable=memory]}
edits:
  - {tree: \"root:/\", from: ../overlay}
  - {put: \"root:/opt/payload\", from: ../payload}
  - {put: \"root:/opt/rendered\", template: ../t.j2}
  - {put: \"boot:/note.txt\", content: hello}
  - {xattr: \"root:/opt/payload\", set: {user.a: x}}
";

/// Writes a cluster below `dir`, its overlay in this order and with these bits taken away.
fn write_cluster(dir: &Path, mask: u32, backwards: bool, base: &Path) {
    let put = |path: &Path, text: &[u8], mode: u32| {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode & !mask)).unwrap();
    };
    let mut overlay: Vec<_> = OVERLAY.iter().collect();
    if backwards {
        overlay.reverse();
    }
    for (path, text, mode) in overlay {
        put(&dir.join("overlay").join(path), text.as_bytes(), *mode);
    }
    symlink("run", dir.join("overlay/usr/local/bin/also")).unwrap();
    put(&dir.join("payload"), &tiny::noise(300_000), 0o644);
    put(&dir.join("t.j2"), b"{{ node.name }} at {{ epoch }}\n", 0o644);
    put(
        &dir.join("profiles/p.yaml"),
        format!("base: ../base.img\n{PROFILE}").as_bytes(),
        0o644,
    );
    let cluster = "cluster: {name: c}\nnodes: [{name: one, profile: p, hostname: first}]\n";
    put(&dir.join("cluster.yaml"), cluster.as_bytes(), 0o644);
    put(&dir.join("base.img"), &fs::read(base).unwrap(), 0o644);
}

const RESULTS: [&str; 4] = ["one.img", "one.img.bmap", "one.img.sha256", "one.manifest.json"];

fn results(ran: &Ran) -> Vec<Vec<u8>> {
    RESULTS
        .iter()
        .map(|name| ran.read(&format!("out/{name}")))
        .collect()
}

fn plain(base: &Path) -> Test {
    let test = Test::new().args(["build", "one"]);
    write_cluster(test.dir(), 0o022, false, base);
    test
}

// rows: F015
#[test]
fn the_host_does_not_show_in_the_bytes() {
    let Some(base) = tiny::shared() else { return };
    let here = plain(&base).umask(0o022).tz("UTC").run();
    let expected = results(&here);
    let mut there = Test::new()
        .args(["build", "one", "--file", "deep/er/cluster.yaml", "--out", "out"])
        .env("LC_ALL", "tr_TR.UTF-8")
        .env("LANG", "de_DE.UTF-8")
        .umask(0o077)
        .tz("Asia/Kathmandu");
    write_cluster(&there.dir().join("deep/er"), 0o077, true, &base);
    if tools::is_root() {
        there = there.user(65534);
    } else {
        tools::say("running as another user needs root");
    }
    let ran = there.run();
    for (name, (a, b)) in RESULTS.iter().zip(expected.iter().zip(results(&ran))) {
        assert!(*a == b, "{name} differs:\n{}", {
            let text = |bytes: &[u8]| String::from_utf8_lossy(&bytes[..bytes.len().min(4000)]).into_owned();
            if name.ends_with(".img") {
                String::new()
            } else {
                text(a) + &text(&b)
            }
        });
    }
    // Once more from the cache, and once from an empty one.
    let again = ran
        .again()
        .args(["build", "one", "--file", "deep/er/cluster.yaml"])
        .run();
    assert!(results(&again) == expected);
    judge::all(&again.path("out/one.img"));
}

/// Every entry of both volumes as the program lists them, by path, without its time.
fn listing(ran: Ran) -> (Ran, Vec<Value>, Vec<i64>) {
    let mut ran = ran;
    let (mut entries, mut times) = (Vec::new(), Vec::new());
    for volume in ["boot:/", "root:/"] {
        ran = ran
            .again()
            .args(["ls", "-R", "--json", "out/one.img", volume])
            .run();
        for line in ran.stdout.lines() {
            let mut entry: Value = serde_json::from_str(line).unwrap();
            times.push(entry["mtime"].take().as_i64().unwrap());
            entries.push(entry);
        }
    }
    (ran, entries, times)
}

#[test]
fn the_build_epoch_changes_times_and_what_was_made_of_it() {
    let Some(base) = tiny::shared() else { return };
    let default = plain(&base).run();
    let first = fs::read(default.path("out/one.img")).unwrap();
    // The default's own value changes nothing.
    let same = default
        .again()
        .args(["build", "one"])
        .env("SOURCE_DATE_EPOCH", "1735689600")
        .run();
    assert!(same.read("out/one.img") == first);
    let (ran, entries, times) = listing(same);
    let later = ran
        .again()
        .args(["build", "one"])
        .env("SOURCE_DATE_EPOCH", "1800000000")
        .run();
    assert!(later.read("out/one.img") != first);
    let manifest: Value = serde_json::from_slice(&later.read("out/one.manifest.json")).unwrap();
    let changed: Vec<String> = manifest["changes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["path"].as_str().unwrap().to_owned())
        .collect();
    let (ran, later_entries, later_times) = listing(later);
    assert_eq!(entries, later_entries, "the template is as long as before");
    for (entry, (a, b)) in entries.iter().zip(times.iter().zip(&later_times)) {
        let path = entry["path"].as_str().unwrap();
        // A directory in which a name was made gets a new time too.
        let parent = changed.iter().any(|c| {
            c.rsplit_once('/')
                .is_some_and(|(dir, _)| dir == path.trim_end_matches('/'))
        });
        if changed.iter().any(|c| c == path) && entry["kind"] != "directory" {
            assert_eq!((*a, *b), (1_735_689_600, 1_800_000_000), "{path}");
        } else if !parent && !changed.iter().any(|c| c == path) {
            assert_eq!(a, b, "{path}");
        }
    }
    // By content only what the template made differs, and the plan that the card says it is of.
    fs::write(ran.path("first.img"), &first).unwrap();
    let ran = ran
        .again()
        .args(["diff", "first.img", "out/one.img", "--json"])
        .status(1)
        .run();
    let differences: Vec<Value> = ran
        .stdout
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    let paths: Vec<&str> = differences
        .iter()
        .map(|d| d["path"].as_str().unwrap_or("?"))
        .collect();
    assert_eq!(paths, ["boot:/ceil-card.json", "root:/opt/rendered"]);
    ran.again()
        .args(["build", "one"])
        .env("SOURCE_DATE_EPOCH", "yesterday")
        .status(1)
        .stderr_has("SOURCE_DATE_EPOCH is wrong")
        .run();
}
