//! Killed, interrupted, or two at once: what has a final name is whole, and the next run is right.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use ceil_img::values::Digest;
use rustix::process::{Pid, Signal, kill_process};

use crate::support::cli::Test;
use crate::support::{judge, tiny, tools};

fn digest(path: &Path) -> String {
    Digest::sha256(&fs::read(path).unwrap()).hex()
}

/// The packed tiny image, so that a run has to unpack too.
fn packed() -> Option<&'static [u8]> {
    static BYTES: OnceLock<Option<Vec<u8>>> = OnceLock::new();
    let make = || {
        let image = tiny::shared().filter(|_| tools::have(&["xz"]))?;
        Some(tools::run(tools::command("xz").args(["-c", "-1"]).arg(image)))
    };
    BYTES.get_or_init(make).as_deref()
}

fn build(base: &[u8]) -> Test {
    Test::new()
        .file("base.img.xz", base)
        .args(["-q", "build", "one", "--base", "./base.img.xz"])
}

fn start(test: &Test) -> Child {
    test.command()
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Moments spread over the length of a run and a little beyond, in no order.
fn moments(length: Duration, count: u32) -> impl Iterator<Item = Duration> {
    (0..count).map(move |i| length * (i * 7919 % count) / count * 11 / 10)
}

/// What is under the final names must be whole: an image as expected or the older one, a checksum that fits it.
fn whole(out: &Path, expected: &str, older: Option<&str>) {
    let image = out.join("one.img");
    if !image.exists() {
        assert!(older.is_none(), "the older image is gone");
        return;
    }
    let found = digest(&image);
    assert!(found == expected || older == Some(&found), "half an image");
    if let Ok(line) = fs::read_to_string(out.join("one.img.sha256")) {
        assert_eq!(line, format!("{found}  one.img\n"));
    }
    if let Ok(text) = fs::read_to_string(out.join("one.manifest.json")) {
        let manifest: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(manifest["image"]["file_digest"], format!("sha256:{found}"));
    }
}

fn kill_builds(count: u32, keep_cache: bool) {
    let Some(base) = packed() else { return };
    let test = build(base);
    let begin = Instant::now();
    assert!(start(&test).wait().unwrap().success());
    let length = begin.elapsed();
    let out = test.dir().join("out");
    let expected = digest(&out.join("one.img"));
    for (i, moment) in moments(length, count).enumerate() {
        if !keep_cache {
            fs::remove_dir_all(test.dir().join("cache")).unwrap();
        }
        // Every other time there is an older image with its companions.
        let older = "an older image\n";
        let mut older_digest = None;
        if i % 2 == 0 {
            fs::remove_dir_all(&out).unwrap();
        } else {
            let sum = Digest::sha256(older.as_bytes()).hex();
            fs::create_dir_all(&out).unwrap();
            fs::write(out.join("one.img"), older).unwrap();
            fs::write(out.join("one.img.sha256"), format!("{sum}  one.img\n")).unwrap();
            let manifest = format!("{{\"image\": {{\"file_digest\": \"sha256:{sum}\"}}}}\n");
            fs::write(out.join("one.manifest.json"), manifest).unwrap();
            older_digest = Some(sum);
        }
        let mut child = start(&test);
        std::thread::sleep(moment);
        child.kill().unwrap();
        child.wait().unwrap();
        whole(&out, &expected, older_digest.as_deref());
        // The next run needs no help, and leaves nothing of the killed one.
        assert!(start(&test).wait().unwrap().success());
        assert_eq!(digest(&out.join("one.img")), expected);
        whole(&out, &expected, None);
        let names = fs::read_dir(&out).unwrap().count();
        assert_eq!(names, 4, "image, checksum, map and manifest");
        assert!(
            fs::read_dir(test.dir().join("cache/part"))
                .unwrap()
                .next()
                .is_none()
        );
    }
}

#[test]
fn killed_builds_leave_nothing_half_done() {
    kill_builds(7, true);
}

#[test]
fn killed_builds_with_an_empty_cache() {
    kill_builds(7, false);
}

#[test]
#[ignore = "takes minutes"]
fn many_killed_builds() {
    kill_builds(120, true);
    kill_builds(120, false);
}

fn kill_edits(count: u32) {
    let Some(image) = tiny::shared() else { return };
    let test = Test::new()
        .file(
            "edits.yaml",
            "- {put: \"root:/opt/more\", from: more}\n- {grow: {root: \"+16MiB\"}}\n",
        )
        .file("more", tiny::noise(2 << 20))
        .args(["-q", "edit", "--in-place", "--image", "base.img", "edits.yaml"]);
    let target = test.dir().join("base.img");
    let old = digest(&image);
    fs::copy(&image, &target).unwrap();
    let begin = Instant::now();
    assert!(start(&test).wait().unwrap().success());
    let length = begin.elapsed();
    let new = digest(&target);
    for moment in moments(length, count) {
        fs::copy(&image, &target).unwrap();
        let mut child = start(&test);
        std::thread::sleep(moment);
        child.kill().unwrap();
        child.wait().unwrap();
        let found = digest(&target);
        assert!(found == old || found == new, "half an edit");
        fs::copy(&image, &target).unwrap();
        assert!(start(&test).wait().unwrap().success());
        assert_eq!(digest(&target), new);
    }
}

#[test]
fn killed_edits_in_place_leave_the_old_or_the_new_image() {
    kill_edits(7);
}

#[test]
#[ignore = "takes minutes"]
fn many_killed_edits() {
    kill_edits(150);
}

/// Files of a run that have no final name: in the cache, and `.NAME.part` beside the output.
fn temporary(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut pending = vec![dir.to_owned()];
    while let Some(dir) = pending.pop() {
        for entry in fs::read_dir(dir).into_iter().flatten() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                pending.push(path);
            } else if name.ends_with(".part") || path.parent().is_some_and(|p| p.ends_with("cache/part")) {
                found.push(path);
            }
        }
    }
    found
}

#[test]
fn interrupted_builds_clean_up() {
    let Some(base) = packed() else { return };
    // Packing takes its time, so that there is some to interrupt.
    let test = build(base).args(["--format", "img.gz"]);
    let begin = Instant::now();
    assert!(start(&test).wait().unwrap().success());
    let length = begin.elapsed();
    let out = test.dir().join("out");
    let expected = digest(&out.join("one.img.gz"));
    let mut interrupted = 0;
    for moment in moments(length, 12) {
        fs::remove_dir_all(test.dir().join("cache")).unwrap();
        fs::write(out.join("one.img.gz"), "an older image\n").unwrap();
        let mut child = start(&test);
        std::thread::sleep(moment.max(Duration::from_millis(15)));
        let pid = Pid::from_child(&child);
        if child.try_wait().unwrap().is_none() {
            kill_process(pid, Signal::INT).unwrap();
        }
        let status = child.wait().unwrap();
        let found = fs::read(out.join("one.img.gz")).unwrap();
        if status.success() {
            assert_eq!(Digest::sha256(&found).hex(), expected);
        } else {
            interrupted += 1;
            assert_eq!(found, b"an older image\n", "{status}");
        }
        assert_eq!(temporary(test.dir()), Vec::<PathBuf>::new(), "{status}");
    }
    assert!(interrupted > 2, "{interrupted} of 12 runs were interrupted");
    // What was interrupted says so.
    assert!(start(&test).wait().unwrap().success());
    assert_eq!(digest(&out.join("one.img.gz")), expected);
}

#[test]
fn two_builds_of_one_node_at_a_time() {
    let Some(base) = packed() else { return };
    let first = build(base).run();
    let expected = digest(&first.path("out/one.img"));
    let test = first
        .again()
        .args(["-q", "build", "one", "--base", "./base.img.xz"]);
    for round in 0..6 {
        fs::remove_dir_all(test.dir().join("cache")).unwrap();
        if round % 2 == 0 {
            fs::remove_dir_all(test.dir().join("out")).unwrap();
        }
        let spawn = || {
            test.command()
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        };
        let children: Vec<Child> = (0..3).map(|_| spawn()).collect();
        let mut won = 0;
        for child in children {
            let said = child.wait_with_output().unwrap();
            let words = String::from_utf8_lossy(&said.stderr).into_owned();
            match said.status.code() {
                Some(0) => won += 1,
                Some(1) => assert!(words.contains("is being written by another ceil-img"), "{words}"),
                _ => panic!("{}: {words}", said.status),
            }
        }
        assert!(won > 0);
        let out = test.dir().join("out");
        whole(&out, &expected, None);
        assert_eq!(digest(&out.join("one.img")), expected);
        assert_eq!(fs::read_dir(&out).unwrap().count(), 4);
        assert_eq!(temporary(test.dir()), Vec::<PathBuf>::new());
    }
    judge::all(&test.dir().join("out/one.img"));
}
