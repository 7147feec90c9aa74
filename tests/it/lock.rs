//! `ceil.lock` and the catalog of artifacts as the program's user meets them, over a server of this test's own.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::cli::{Ran, Test};
use crate::support::test_server::{Reply, TestServer};

use ceil_img::values::Digest;

/// A server whose files can be exchanged.
struct Upstream {
    server: TestServer,
    files: Arc<Mutex<BTreeMap<String, Vec<u8>>>>,
}

impl Upstream {
    fn new() -> Self {
        let files: Arc<Mutex<BTreeMap<String, Vec<u8>>>> = Arc::default();
        let shown = Arc::clone(&files);
        let server = TestServer::start(
            move |request, _| match shown.lock().unwrap().get(&request.target) {
                Some(data) => Reply::file(request, data, &Digest::sha256(data).hex()),
                None => Reply::new(404, b"not here"),
            },
        );
        Self { server, files }
    }

    fn put(&self, path: &str, data: &[u8]) -> &Self {
        self.files.lock().unwrap().insert(path.to_owned(), data.to_vec());
        self
    }

    fn asked(&self) -> usize {
        self.server.requests().len()
    }

    /// A cluster with one node, a base, and one program.
    fn cluster(&self) -> String {
        format!(
            "cluster: {{name: c}}\nnodes:\n  - {{name: one, profile: minimal, arch: arm64, artifacts: [tool@1], base: \"{}\"}}\n",
            self.server.url("/card.img")
        )
    }

    fn catalog(&self, more: &str) -> String {
        format!(
            "- name: tool\n  urls: {{arm64: \"{}\"}}\n  install:\n    - {{to: /usr/local/bin/tool, mode: \"0755\"}}\n  files:\n    - {{version: \"1.0\", arch: arm64{more}}}\n",
            self.server.url("/tool-{version}")
        )
    }
}

/// The least that counts as an image of a card.
fn card(mark: u8) -> Vec<u8> {
    let mut card = vec![mark; 4096];
    card[510..512].copy_from_slice(&[0x55, 0xAA]);
    card
}

fn elf(machine: u8) -> Vec<u8> {
    let mut program = b"\x7fELF\x02\x01\x01".to_vec();
    program.resize(64, 0);
    program[18] = machine;
    program
}

fn hex(data: &[u8]) -> String {
    Digest::sha256(data).hex()
}

fn lock(ran: &Ran) -> String {
    String::from_utf8(ran.read("ceil.lock")).unwrap()
}

/// A folder with the cluster, after its first fetch.
fn fetched(upstream: &Upstream, cache: &Path) -> Ran {
    upstream.put("/card.img", &card(1)).put("/tool-1.0", &elf(183));
    Test::new()
        .cluster(&upstream.cluster())
        .file("artifacts.yaml", upstream.catalog(""))
        .cache(cache)
        .args(["-q", "fetch"])
        .stdout_has("tool 1.0 arm64")
        .run()
}

/// A copy of the cluster file and its lock elsewhere, with a cache of its own.
fn copy(ran: &Ran, cache: &Path) -> Test {
    Test::new()
        .file("cluster.yaml", ran.read("cluster.yaml"))
        .file("artifacts.yaml", ran.read("artifacts.yaml"))
        .file("ceil.lock", ran.read("ceil.lock"))
        .cache(cache)
}

#[test]
fn f003_the_lock_says_what_every_input_is() {
    let (upstream, cache, other) = (
        Upstream::new(),
        tempfile::tempdir().unwrap(),
        tempfile::tempdir().unwrap(),
    );
    let ran = fetched(&upstream, cache.path());
    let text = lock(&ran);
    for part in [
        "lock: 1\nbases:\n",
        &format!("url: {}", upstream.server.url("/card.img")),
        &format!(
            "raw-size: 4096\n    raw-sha256: \"{}\"\n    checksum: tofu\n    signature: unchecked\n",
            hex(&card(1))
        ),
        "artifacts:\n  - name: \"tool\"\n    version: \"1.0\"\n    arch: arm64\n",
        &format!("size: 64\n    sha256: \"{}\"\n", hex(&elf(183))),
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    // F002, P-rows of the cache: a second run asks nobody and writes nothing, offline as well.
    let asked = upstream.asked();
    let ran = ran
        .again()
        .cache(cache.path())
        .args(["-q", "--offline", "fetch", "--locked"])
        .stdout_has("(was in the cache)")
        .run();
    assert_eq!(lock(&ran), text);
    assert_eq!(upstream.asked(), asked);
    // A copy elsewhere takes the same bytes.
    let there = copy(&ran, other.path())
        .args(["-q", "fetch", "--locked"])
        .stdout_has(&hex(&elf(183)))
        .run();
    assert_eq!(lock(&there), text);
}

#[test]
fn a_file_changed_under_its_name_is_told_with_both_digests() {
    let (upstream, cache, other) = (
        Upstream::new(),
        tempfile::tempdir().unwrap(),
        tempfile::tempdir().unwrap(),
    );
    let ran = fetched(&upstream, cache.path());
    let before = lock(&ran);
    upstream.put("/card.img", &card(2));
    let there = copy(&ran, other.path())
        .args(["fetch"])
        .status(1)
        .stderr_has("ceil.lock:5 says")
        .stderr_has(&hex(&card(1)))
        .stderr_has("now serves")
        .stderr_has(&hex(&card(2)))
        .stderr_has("fetch --update")
        .run();
    assert_eq!(lock(&there), before);
    upstream
        .put("/card.img", &card(1))
        .put("/tool-1.0", b"#!/bin/sh\n");
    let there = there
        .again()
        .cache(other.path())
        .args(["fetch"])
        .status(1)
        .stderr_has("`tool` 1.0 for arm64 has changed")
        .stderr_has(&hex(b"#!/bin/sh\n"))
        .run();
    // With a renewal the new file counts, also where the old one is in the cache.
    upstream.put("/card.img", &card(2));
    let there = there
        .again()
        .cache(cache.path())
        .args(["-q", "fetch", "--update"])
        .stdout_has(&hex(&card(2)))
        .stdout_has(&hex(b"#!/bin/sh\n"))
        .run();
    let text = lock(&there);
    assert!(
        text.contains(&hex(&card(2))) && !text.contains(&hex(&card(1))),
        "{text}"
    );
    let there = there
        .again()
        .cache(cache.path())
        .args(["-q", "--offline", "fetch", "--locked"])
        .run();
    there
        .again()
        .args(["--offline", "fetch", "--update"])
        .status(1)
        .stderr_has("`--offline` forbids it")
        .run();
}

#[test]
fn locked_refuses_what_the_lock_does_not_have() {
    let (upstream, cache) = (Upstream::new(), tempfile::tempdir().unwrap());
    let ran = fetched(&upstream, cache.path());
    let text = lock(&ran);
    // A base that is not in the lock.
    let ran = ran
        .again()
        .cluster(&upstream.cluster().replace("card.img", "other.img"))
        .cache(cache.path())
        .args(["fetch", "--locked"])
        .status(1)
        .stderr_has("other.img`, and `--locked` forbids making one")
        .run();
    let ran = ran
        .again()
        .cache(cache.path())
        .args(["build", "one", "--locked"])
        .status(1)
        .stderr_has("`--locked` forbids making one")
        .run();
    assert_eq!(lock(&ran), text);
    assert!(ran.names("out").is_empty());
    // `plan` writes nothing, with and without a lock.
    fs::remove_file(ran.path("ceil.lock")).unwrap();
    let ran = ran.again().cache(cache.path()).args(["plan", "one"]).run();
    assert!(!ran.path("ceil.lock").exists());
    Test::new()
        .args(["fetch", "--locked", "--base", "demo"])
        .status(1)
        .stderr_has("there is no cluster file")
        .run();
}

#[test]
fn a_catalog_that_contradicts_the_lock_is_refused() {
    let (upstream, cache) = (Upstream::new(), tempfile::tempdir().unwrap());
    let ran = fetched(&upstream, cache.path());
    let pinned = |data: &[u8]| upstream.catalog(&format!(", sha256: {}", hex(data)));
    let ran = ran
        .again()
        .file("artifacts.yaml", pinned(b"other"))
        .cache(cache.path())
        .args(["fetch"])
        .status(1)
        .stderr_has("ceil.lock:14: the SHA-256 of `tool` 1.0 for arm64 is not the one that the catalog gives")
        .stderr_has(&hex(b"other"))
        .stderr_has("fetch --update")
        .run();
    // Without the lock it is the catalog that is not met.
    fs::remove_file(ran.path("ceil.lock")).unwrap();
    let ran = ran
        .again()
        .cache(cache.path())
        .args(["fetch"])
        .status(1)
        .stderr_has("the catalog says")
        .stderr_has(&hex(&elf(183)))
        .run();
    ran.again()
        .file("artifacts.yaml", pinned(&elf(183)))
        .cache(cache.path())
        .args(["fetch"])
        .run();
}

#[test]
fn f011_a_program_for_another_processor_is_refused() {
    let (upstream, cache) = (Upstream::new(), tempfile::tempdir().unwrap());
    upstream.put("/card.img", &card(1)).put("/tool-1.0", &elf(40));
    Test::new()
        .cluster(&upstream.cluster())
        .file("artifacts.yaml", upstream.catalog(""))
        .cache(cache.path())
        .args(["fetch"])
        .status(1)
        .stderr_has("/usr/local/bin/tool of http://")
        .stderr_has("is a program for armhf, but the image is arm64")
        .run();
}

#[test]
fn names_and_versions_that_are_not_there_are_met_with_those_that_are() {
    let (upstream, cache) = (Upstream::new(), tempfile::tempdir().unwrap());
    upstream.put("/card.img", &card(1));
    let test = |wish: &str| {
        Test::new()
            .cluster(&upstream.cluster().replace("tool@1", wish))
            .cache(cache.path())
            .args(["fetch"])
            .status(1)
            .stderr_has("cluster.yaml:3")
    };
    test("kubelett").stderr_has("did you mean `kubelet`?").run();
    test("runc@0.9")
        .stderr_has("`runc` has no version `0.9` for arm64; there are 1.5.1, ")
        .run();
}

/// Members of an archive are found, and where they go is told.
#[test]
fn files_of_an_archive_are_listed() {
    let (upstream, cache) = (Upstream::new(), tempfile::tempdir().unwrap());
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("bin")).unwrap();
    fs::write(dir.path().join("bin/tool"), elf(183)).unwrap();
    let out = Command::new("tar")
        .arg("-C")
        .arg(dir.path())
        .args(["--mode=0755", "-czf", "-", "./bin/tool"])
        .output()
        .unwrap();
    upstream.put("/card.img", &card(1)).put("/tool-1.0", &out.stdout);
    let catalog = upstream.catalog("").replace(
        "  install:\n    - {to: /usr/local/bin/tool, mode: \"0755\"}",
        "  unpack: tar\n  install:\n    - {from: bin, tree: /opt}",
    );
    let ran = Test::new()
        .cluster(&upstream.cluster())
        .file("artifacts.yaml", &catalog)
        .cache(cache.path())
        .args(["--json", "-q", "fetch"])
        .stdout_has("\"files\":[{\"path\":\"/opt/tool\",\"mode\":\"0755\",\"size\":64")
        .run();
    ran.again()
        .file("artifacts.yaml", catalog.replace("from: bin", "from: sbin"))
        .cache(cache.path())
        .args(["fetch"])
        .status(1)
        .stderr_has("holds no file below `sbin/`")
        .run();
}

// rows: F016
/// A copy of the cluster file with its lock builds the same bytes, and a build of its own makes the lock.
#[test]
fn f003_a_copy_with_the_lock_builds_the_same_bytes() {
    let (upstream, cache, other) = (
        Upstream::new(),
        tempfile::tempdir().unwrap(),
        tempfile::tempdir().unwrap(),
    );
    let base = Test::new()
        .args(["-q", "build", "one", "--base", "demo", "--format", "img.xz"])
        .run();
    // The built-in first try has no cluster file, so it has no lock.
    assert!(!base.path("ceil.lock").exists());
    upstream.put("/card.img", &base.read("out/one.img.xz"));
    let cluster = upstream.cluster().replace("artifacts: [tool@1], ", "");
    let build = ["-q", "build", "one", "--format", "none"];
    let ran = Test::new()
        .cluster(&cluster)
        .cache(cache.path())
        .args(build)
        .run();
    let text = lock(&ran);
    assert!(text.contains(&hex(&base.read("out/one.img.xz"))), "{text}");
    let there = Test::new()
        .cluster(&cluster)
        .file("ceil.lock", &text)
        .cache(other.path())
        .args(build)
        .args(["--locked"])
        .run();
    let manifest = |ran: &Ran| String::from_utf8(ran.read("out/one.manifest.json")).unwrap();
    assert_eq!(manifest(&ran), manifest(&there));
    assert!(
        manifest(&there).contains("\"verified\": \"tofu\""),
        "{}",
        manifest(&there)
    );
    // A base of the command line is none of the cluster's.
    upstream.put("/card.img", b"gone");
    let there = there
        .again()
        .cache(other.path())
        .args(build)
        .args(["--locked", "--base", "demo"])
        .run();
    assert_eq!(lock(&there), text);
}

/// However early or late a run is killed, the lock is the old one or the new one.
#[test]
fn a_kill_leaves_the_old_lock_or_the_new_one() {
    let (upstream, cache) = (Upstream::new(), tempfile::tempdir().unwrap());
    let ran = fetched(&upstream, cache.path());
    let dir = ran.path("");
    let test = ran.again().cache(cache.path()).args(["-q", "fetch"]);
    let mut finished = 0;
    for round in 0..40u64 {
        let name = format!("card{round}.img");
        upstream.put(&format!("/{name}"), &card(u8::try_from(round).unwrap()));
        fs::write(
            dir.join("cluster.yaml"),
            upstream.cluster().replace("card.img", &name),
        )
        .unwrap();
        let before = fs::read_to_string(dir.join("ceil.lock")).unwrap();
        let mut child = test.command().stdout(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(round * 2));
        let _ = child.kill();
        child.wait().unwrap();
        let after = fs::read_to_string(dir.join("ceil.lock")).unwrap();
        if after != before {
            finished += 1;
            let lock = ceil_img::lock::parse(&after, "ceil.lock").unwrap();
            assert_eq!(ceil_img::lock::print(&lock), after, "round {round}");
            assert!(after.contains(&name), "round {round}");
        }
    }
    assert!(finished > 0, "no run came far enough to write");
    test.run();
}
