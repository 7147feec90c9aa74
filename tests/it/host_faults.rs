//! Calls of the system fail under the running program, one at a time, as `strace` makes them: writing, resizing,
//! flushing, renaming, locking, opening and reading of the output, its companions and the base.
//!
//! `strace` counts the calls of each thread for itself: call number 1 is the first one of any thread.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use crate::io_faults::{places, told};
use crate::support::cli::Test;
use crate::support::{tiny, tools};

/// Calls that are made to fail, the error they get, and whether they reach the base rather than the output.
const CALLS: [(&str, &str, bool); 8] = [
    ("pwrite64", "ENOSPC", false),
    ("write", "EIO", false),
    ("ftruncate", "EIO", false),
    ("fsync,fdatasync", "EIO", false),
    ("rename,renameat,renameat2", "EACCES", false),
    ("flock", "EIO", false),
    ("openat", "EMFILE", false),
    ("pread64,read", "EIO", true),
];

/// Places per kind of call; `CEIL_IO_FAULTS` says more.
fn most() -> u64 {
    let asked = std::env::var("CEIL_IO_FAULTS").ok();
    asked.and_then(|n| n.parse().ok()).unwrap_or(4)
}

/// The program under `strace`, which sees the calls that name one of these paths.
fn traced(test: &Test, paths: &[&str], more: &[&str]) -> Output {
    let program = test.command();
    let mut command = tools::command("strace");
    command.args(["-f", "-q", "-o", "calls"]).args(more);
    for path in paths {
        // Open files are known by their whole path, names as the program says them.
        command.arg("-P").arg(path).arg("-P").arg(test.dir().join(path));
    }
    command.arg(program.get_program()).args(program.get_args());
    command.current_dir(test.dir()).env_clear();
    command.envs(program.get_envs().filter_map(|(key, value)| Some((key, value?))));
    command.output().unwrap()
}

/// How often a thread of a good run makes these calls, at most.
fn count(test: &Test, paths: &[&str], calls: &str) -> u64 {
    let trace = format!("trace={calls}");
    let out = traced(test, paths, &["-e", &trace]);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let log = fs::read_to_string(test.dir().join("calls")).unwrap();
    let mut threads: BTreeMap<&str, u64> = BTreeMap::new();
    for line in log
        .lines()
        .filter(|line| line.contains('(') && !line.contains("resumed>"))
    {
        let thread = line.split_whitespace().next().unwrap();
        *threads.entry(thread).or_default() += 1;
    }
    threads.into_values().max().unwrap_or(0)
}

/// Whether calls can be traced here.
fn can_trace() -> bool {
    if !tools::have(&["strace"]) {
        return false;
    }
    let tried = Command::new(tools::find("strace").unwrap())
        .args(["-o", "/dev/null", "true"])
        .output();
    if tried.is_ok_and(|out| out.status.success()) {
        return true;
    }
    tools::say("programs may not be traced here");
    false
}

/// Everything in a folder but the traces, by name.
fn contents(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut all: Vec<(String, Vec<u8>)> = fs::read_dir(dir)
        .into_iter()
        .flatten()
        .map(|e| e.unwrap())
        .filter(|e| e.file_type().unwrap().is_file())
        .map(|e| {
            (
                e.file_name().to_string_lossy().into_owned(),
                fs::read(e.path()).unwrap(),
            )
        })
        .collect();
    all.sort();
    all
}

/// Lets every kind of call fail. `reset` makes the folder as it was before a run; `judge` looks at what a failed run left
/// and says whether the run had finished all the same.
fn sweep(name: &str, test: &Test, out: &[&str], base: &str, reset: &dyn Fn(), judge: &dyn Fn(&Output, &str)) {
    for (calls, error, of_base) in CALLS {
        let paths = if of_base { &[base][..] } else { out };
        reset();
        let total = count(test, paths, calls);
        // Small files alone are written without an offset.
        assert!(total > 0 || calls == "write", "{name}: {calls} are not seen");
        let chosen = places(total, most());
        let (mut refused, mut unharmed) = (0, 0);
        for nth in &chosen {
            reset();
            let inject = format!("inject={calls}:error={error}:when={}", nth + 1);
            let ran = traced(test, paths, &["-e", &inject]);
            let what = format!("{name}: {calls} number {nth} fails with {error}");
            let stderr = String::from_utf8_lossy(&ran.stderr);
            assert!(!stderr.contains("panicked"), "{what}: {stderr}");
            if ran.status.success() {
                unharmed += 1;
            } else {
                assert_eq!(ran.status.code(), Some(1), "{what}: {stderr}");
                assert!(stderr.contains("error: "), "{what}: {stderr}");
                refused += 1;
            }
            judge(&ran, &what);
        }
        let outcome = format!("{refused} errors that name the file, {unharmed} runs that ended well");
        told(name, &format!("{calls} ({error})"), total, chosen.len(), &outcome);
    }
}

#[test]
fn builds() {
    let Some(image) = tiny::shared() else { return };
    if !can_trace() {
        return;
    }
    let test = Test::new().args(["-q", "build", "one", "--base"]).args([&image]);
    let dir = test.dir().to_owned();
    let out = dir.join("out");
    let base = fs::read(&image).unwrap();
    // The first run fills the cache.
    assert!(test.command().output().unwrap().status.success());
    let good = contents(&out);
    assert_eq!(good.len(), 4, "image, checksum, map and manifest");
    let paths = [
        "out",
        "out/one.img",
        "out/.one.img.part",
        "out/.one.img.sha256.part",
        "out/.one.img.bmap.part",
        "out/.one.manifest.json.part",
    ];
    let older = ("one.img".to_owned(), b"an older image\n".to_vec());
    let reset = || {
        fs::remove_dir_all(&out).unwrap_or_default();
        fs::create_dir(&out).unwrap();
        fs::write(out.join(&older.0), &older.1).unwrap();
    };
    let judge = |ran: &Output, what: &str| {
        let left = contents(&out);
        assert!(fs::read(&image).unwrap() == base, "{what}: the base changed");
        if ran.status.success() {
            assert!(left == good, "{what}: said to be done");
            return;
        }
        let stderr = String::from_utf8_lossy(&ran.stderr);
        assert!(stderr.contains("one"), "{what}: which file? {stderr}");
        // Whole files alone: the older image without companions, or the new one with some of its own.
        assert!(
            left == [older.clone()] || left.iter().all(|file| good.contains(file)),
            "{what}: {:?}",
            left.iter()
                .map(|file| (&file.0, file.1.len()))
                .collect::<Vec<_>>()
        );
    };
    let raw = fs::read_dir(dir.join("cache/raw")).unwrap();
    let cached = raw
        .map(|e| e.unwrap().path())
        .find(|p| fs::read(p).is_ok_and(|b| b == base));
    let cached = cached.map_or(image.to_str().unwrap().to_owned(), |p| {
        p.to_str().unwrap().to_owned()
    });
    sweep("build", &test, &paths, &cached, &reset, &judge);
    assert!(test.command().output().unwrap().status.success());
    assert!(contents(&out) == good);
}

#[test]
fn edits_in_place() {
    let Some(image) = tiny::shared() else { return };
    if !can_trace() {
        return;
    }
    let test = Test::new()
        .file("edits.yaml", "- {put: \"root:/etc/motd\", content: x}\n")
        .args([
            "-q",
            "edit",
            "--in-place",
            "--image",
            "disk/base.img",
            "edits.yaml",
        ]);
    let disk = test.dir().join("disk");
    let base = fs::read(&image).unwrap();
    let reset = || {
        fs::remove_dir_all(&disk).unwrap_or_default();
        fs::create_dir(&disk).unwrap();
        fs::write(disk.join("base.img"), &base).unwrap();
    };
    reset();
    assert!(test.command().output().unwrap().status.success());
    let good = contents(&disk);
    let judge = |ran: &Output, what: &str| {
        let left = contents(&disk);
        if ran.status.success() {
            assert!(left == good, "{what}: said to be done");
        } else {
            let stderr = String::from_utf8_lossy(&ran.stderr);
            assert!(stderr.contains("base.img"), "{what}: which file? {stderr}");
            assert!(left.len() == 1 && left[0].1 == base, "{what}: the image changed");
        }
    };
    let paths = ["disk", "disk/.base.img.part"];
    sweep("edit in place", &test, &paths, "disk/base.img", &reset, &judge);
}
