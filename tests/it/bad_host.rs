//! A host that does not play along: full disks, places that cannot be written, files where folders should be.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::cli::{Test, refused};
use crate::support::{tiny, tools};

fn build(base: &Path) -> Test {
    Test::new().args(["-q", "build", "one", "--base"]).args([base])
}

/// A file system of a given size that ends with the value.
struct Tmpfs(PathBuf);

impl Tmpfs {
    fn new(dir: PathBuf, size: &str) -> Option<Self> {
        if !tools::is_root() {
            tools::say("a small file system needs the right to mount");
            return None;
        }
        if !tools::have(&["mount", "umount"]) {
            return None;
        }
        fs::create_dir_all(&dir).unwrap();
        tools::run(
            tools::command("mount")
                .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
                .arg(&dir),
        );
        Some(Self(dir))
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        tools::run(tools::command("umount").arg(&self.0));
    }
}

#[test]
fn a_full_disk_below_the_output() {
    let Some(image) = tiny::shared() else { return };
    for format in ["img", "img.xz", "img.zst", "img.gz"] {
        let test = build(&image).args(["--format", format]);
        let dir = test.dir().join("out");
        let Some(_full) = Tmpfs::new(dir, "1m") else {
            return;
        };
        let file = format!("out/one.{format}");
        let ran = refused(test, &["cannot write", &file, "No space left on device"]);
        drop(_full);
        drop(ran);
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
    let Some(full) = Tmpfs::new(test.dir().join("disk"), "5m") else {
        return;
    };
    // A copy with holes takes 4 MiB of the five; the edited one beside it does not fit.
    crate::support::bases::sparse_copy(&image, &full.0.join("base.img"));
    let ran = refused(
        test,
        &["cannot write", "disk/base.img", "No space left on device"],
    );
    assert!(ran.read("disk/base.img") == fs::read(&image).unwrap());
    assert_eq!(ran.names("disk"), ["base.img"]);
    drop(full);
}

#[test]
fn a_full_disk_below_the_cache() {
    let Some(image) = tiny::shared() else { return };
    let test = build(&image);
    let Some(full) = Tmpfs::new(test.dir().join("cache"), "1m") else {
        return;
    };
    let ran = refused(
        test,
        &["no room left on the disk while writing", "cache", "prune"],
    );
    for dir in ["cache/raw", "cache/part"] {
        assert!(ran.names(dir).is_empty(), "{:?}", ran.names(dir));
    }
    drop(full);
    // With room there it is built.
    let ran = ran
        .again()
        .args(["-q", "build", "one", "--base"])
        .args([&image])
        .run();
    assert!(ran.path("out/one.img").exists());
}

/// A limit of the length of files, as a shell sets it. With the signal for it ignored it is an error like others,
/// without it the program is killed; the older image stays in both cases.
#[test]
fn files_may_not_be_that_long() {
    let Some(image) = tiny::shared() else { return };
    let test = build(&image).file("out/one.img", "an older image\n");
    let run = |signal: &str| {
        let command = test.command();
        let mut shell = Command::new("/bin/sh");
        shell
            .args(["-c", &format!("{signal} ulimit -f 4096; exec \"$0\" \"$@\"")])
            .arg(command.get_program())
            .args(command.get_args())
            .current_dir(test.dir())
            .env("CEIL_CACHE", test.dir().join("cache"));
        tools::output(&mut shell)
    };
    // The cache is filled before, without a limit.
    let warm = Test::new()
        .cache(&test.dir().join("cache"))
        .args(["-q", "fetch", "--base"])
        .args([&image])
        .run();
    assert_eq!(warm.code, Some(0));
    let said = run("trap '' XFSZ;");
    let words = String::from_utf8_lossy(&said.stderr).into_owned();
    assert_eq!(said.status.code(), Some(1), "{words}");
    assert!(
        words.contains("cannot write `out/one.img`") && words.contains("File too large"),
        "{words}"
    );
    let names = |dir: &str| fs::read_dir(test.dir().join(dir)).unwrap().count();
    assert_eq!(names("out"), 1);
    assert!(!run("").status.success());
    assert_eq!(
        fs::read(test.dir().join("out/one.img")).unwrap(),
        b"an older image\n"
    );
}

#[test]
fn an_output_that_cannot_be_written() {
    let Some(image) = tiny::shared() else { return };
    // A file where the folder should be, and a folder where the image should be.
    let ran = build(&image)
        .file("file", "x")
        .args(["--out", "file"])
        .status(1)
        .stderr_has("`file/one.img`")
        .run();
    assert_eq!(ran.read("file"), b"x");
    let test = build(&image);
    fs::create_dir_all(test.dir().join("out/one.img")).unwrap();
    let ran = test
        .status(1)
        .stderr_has("cannot write `out/one.img`")
        .stderr_has("directory")
        .run();
    assert_eq!(ran.names("out"), ["one.img"]);
    if !tools::is_root() {
        tools::say("running as another user needs root");
        return;
    }
    let closed = |dir: &str| {
        Test::new()
            .file("base.img", fs::read(&image).unwrap())
            .file(&format!("{dir}/one.img"), "an older image\n")
            .mode(dir, 0o555)
            .args(["-q", "build", "one", "--base", "./base.img"])
            .user(65534)
    };
    refused(
        closed("out"),
        &["cannot write `out/one.img`", "Permission denied"],
    );
    let ran = closed("cache")
        .status(1)
        .stderr_has("cache")
        .stderr_has("Permission denied")
        .run();
    assert!(ran.names("out").is_empty());
}

#[test]
fn a_folder_as_the_image() {
    for command in [
        &["inspect", "folder"][..],
        &["ls", "folder"],
        &["check", "folder"],
        &["diff", "folder", "folder"],
        &["cat", "folder", "root:/x"],
        &["extract", "folder", "root:/x", "to"],
        &["edit", "--image", "folder", "--in-place", "edits.yaml"],
    ] {
        let test = Test::new()
            .file("folder/x", "x")
            .file("edits.yaml", "[]\n")
            .args(command);
        let ran = refused(test, &["`folder`", "directory"]);
        assert_eq!(ran.names("folder"), ["x"]);
    }
}

#[test]
fn extract_keeps_what_is_there() {
    let Some(image) = tiny::shared() else { return };
    let test = Test::new()
        .file("to", "mine\n")
        .args(["extract"])
        .args([&image])
        .args(["/etc/hosts", "to"]);
    let ran = refused(test, &["`to` already exists"]);
    assert_eq!(ran.read("to"), b"mine\n");
}

/// The file that another process writes is left to it.
#[test]
fn an_output_that_another_process_writes() {
    let Some(image) = tiny::shared() else { return };
    let test = build(&image)
        .file("out/one.img", "an older image\n")
        .file("out/.one.img.part", "half of a new one\n");
    let part = fs::File::open(test.dir().join("out/.one.img.part")).unwrap();
    part.lock().unwrap();
    let ran = test
        .status(1)
        .stderr_has("`out/one.img` is being written by another ceil-img")
        .run();
    assert_eq!(ran.read("out/one.img"), b"an older image\n");
    assert_eq!(ran.read("out/.one.img.part"), b"half of a new one\n");
    // What a killed process left is taken over.
    drop(part);
    let ran = ran
        .again()
        .args(["-q", "build", "one", "--base"])
        .args([&image])
        .run();
    assert!(!ran.names("out").contains(&".one.img.part".to_owned()));
}
