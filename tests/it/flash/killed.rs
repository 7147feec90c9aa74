//! Killed at random moments: a card never has a first MiB that is valid before a rest that is wrong.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use super::files::{CARD, card, same_as_built};
use crate::support::cli::Test;

const HEAD: usize = 1 << 20;

fn head(path: &Path) -> Vec<u8> {
    let mut bytes = vec![0; HEAD];
    File::open(path).unwrap().read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

fn kill(count: u32) {
    let ran = Test::new()
        .cluster("cluster: {name: c}\nnodes: [{name: one, profile: minimal, base: demo}]\n")
        .args(["build", "one"])
        .run();
    let (path, out) = (ran.path("card.img"), ran.path("out"));
    let wanted = head(&out.join("one.img"));
    card(&path, CARD);
    let mut test = ran.again().args(["flash", "card.img", "one", "--yes", "--quiet"]);
    let start = |test: &Test| {
        test.command()
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    };
    // The first run is slower than the others.
    let length = (0..3)
        .map(|_| {
            let begin = Instant::now();
            assert!(start(&test).wait().unwrap().success());
            begin.elapsed()
        })
        .min()
        .unwrap();
    same_as_built(&path, &out, "one");
    let (mut zero, mut whole) = (0, 0);
    for i in 0..count {
        // Every other time over another image, whose first MiB must not survive a new rest.
        let mut file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        let stale = vec![if i % 2 == 0 { 0xa5 } else { 0x5a }; HEAD];
        for at in [0, 9 << 20, 140 << 20] {
            file.write_all_at(&stale, at).unwrap();
        }
        std::io::Write::flush(&mut file).unwrap();
        let mut child = start(&test);
        // Some moments are anywhere in a run, most between the first write and the end.
        if i % 4 != 0 {
            while head(&path)[..4096] == stale[..4096] && child.try_wait().unwrap().is_none() {
                thread::sleep(Duration::from_millis(1));
            }
        }
        thread::sleep(length * (i * 7919 % count) / count / if i % 4 == 0 { 1 } else { 2 });
        child.kill().unwrap();
        child.wait().unwrap();
        let found = head(&path);
        if found == wanted {
            same_as_built(&path, &out, "one");
            whole += 1;
        } else if found.iter().all(|b| *b == 0) {
            zero += 1;
        } else {
            assert!(
                found == stale,
                "round {i}: the first MiB is neither old, zero nor right"
            );
        }
    }
    assert!(
        zero > 0 && whole > 0,
        "no moment was interesting: {zero} {whole} of {count}"
    );
    // And the next run makes it right.
    test = test.limit(Duration::from_secs(60));
    let _ran = test.run();
    same_as_built(&path, &out, "one");
}

#[test]
fn killed_writers_leave_nothing_that_boots_half() {
    kill(20);
}

#[test]
#[ignore = "takes minutes; .ci/run runs it"]
fn killed_writers_leave_nothing_that_boots_half_many_times() {
    kill(200);
}
