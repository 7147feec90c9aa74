//! The cache as the program's user meets it.

use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt};

use crate::support::cli::Test;

/// F002: the second fetch needs nothing. F003: a byte that changed in the cache ends the build with both digests.
#[test]
fn a_base_is_taken_from_the_cache_and_never_when_it_changed() {
    let cache = tempfile::tempdir().unwrap();
    let ran = Test::new().args(["-q", "build", "one", "--base", "demo"]).run();
    let fetch = ["--json", "-q", "--offline", "fetch", "--base", "./out/one.img"];
    let ran = ran
        .again()
        .cache(cache.path())
        .args(fetch)
        .stdout_has("\"from_cache\":false")
        .run();
    let ran = ran
        .again()
        .cache(cache.path())
        .args(fetch)
        .stdout_has("\"from_cache\":true")
        .run();
    let object = fs::read_dir(cache.path().join("raw"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let expected = object.file_stem().unwrap().to_str().unwrap().to_owned();
    fs::set_permissions(&object, fs::Permissions::from_mode(0o644)).unwrap();
    let file = fs::OpenOptions::new().write(true).open(&object).unwrap();
    file.write_all_at(b"?", 100 << 20).unwrap();
    drop(file);
    let ran = ran
        .again()
        .cache(cache.path())
        .args(["-q", "build", "one", "--base", "./out/one.img", "--out", "second"])
        .status(1)
        .stderr_has(&expected)
        .stderr_has("found")
        .run();
    assert!(
        ran.names("second").is_empty(),
        "something was written from a bad base"
    );
    assert!(!object.exists(), "the bad file stayed in the cache");
    // It is taken in anew from where it came.
    ran.again()
        .cache(cache.path())
        .args([
            "-q",
            "build",
            "one",
            "--base",
            "./out/one.img",
            "--out",
            "second",
            "--verify",
        ])
        .run();
}
