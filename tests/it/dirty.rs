//! Images that were not shut down cleanly: seen and edited as a mount would make them, and told so.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use crate::commands::objects;
use crate::support::cli::Test;
use crate::support::tiny::{ROOT, Tiny};
use crate::support::tools;

/// The file system in an image, as debugfs and dumpe2fs take it.
fn root(image: &Path) -> OsString {
    let mut place = image.as_os_str().to_owned();
    place.push(format!("?offset={ROOT}"));
    place
}

fn debugfs(image: &Path, script: &str) -> String {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), script).unwrap();
    let out = tools::run(
        tools::command("debugfs")
            .args(["-w", "-f"])
            .arg(file.path())
            .arg(root(image)),
    );
    String::from_utf8_lossy(&out).into_owned()
}

fn dump(image: &Path) -> String {
    let out = tools::run(tools::command("dumpe2fs").arg("-h").arg(root(image)));
    String::from_utf8_lossy(&out).into_owned()
}

/// A test whose `base.img` has `/etc/hostname` changed in the journal alone, and a file that was being cut.
fn on_dirty() -> Option<Test> {
    let test = Test::new();
    let image = Tiny::new().make(&test.dir().join("base.img"))?;
    if !tools::have(&["debugfs", "dumpe2fs", "e2fsck"]) {
        return None;
    }
    let said = debugfs(&image, "bmap /etc/hostname 0\n");
    let block = said
        .lines()
        .find_map(|line| line.trim().parse::<u64>().ok())
        .unwrap();
    let mut data = b"moss\n".to_vec();
    data.resize(4096, 0);
    fs::write(test.dir().join("data"), data).unwrap();
    let number = debugfs(&image, "stat /opt/noise\n");
    let number = number
        .split_whitespace()
        .skip_while(|w| *w != "Inode:")
        .nth(1)
        .unwrap();
    debugfs(
        &image,
        &format!(
            "sif /opt/noise size 100\nssv last_orphan {number}\njo\njw -b {block} {}\njc\n",
            test.dir().join("data").display()
        ),
    );
    assert!(dump(&image).contains("needs_recovery"));
    Some(test)
}

const SAID: &str = "was not unmounted cleanly; it is taken as a mount would make it: \
                    1 transaction of the journal replayed, 1 file cut to size";

#[test]
fn looking_shows_the_recovered_state() {
    let Some(test) = on_dirty() else { return };
    let image = test.dir().join("base.img");
    let before = fs::read(&image).unwrap();
    let mut ran = test
        .args(["cat", "base.img", "root:/etc/hostname"])
        .stdout("moss\n")
        .stderr_has("partition 2 of `base.img`")
        .stderr_has(SAID)
        .run();
    for (args, words) in [
        (&["ls", "base.img", "root:/opt"][..], " 100 root:/opt/noise"),
        (&["inspect", "base.img"], "root       p2 ext4"),
        (&["check", "base.img"], ""),
        (&["diff", "base.img", "base.img"], ""),
        (&["extract", "base.img", "root:/etc/hostname", "out"], ""),
    ] {
        ran = ran.again().args(args).stdout_has(words).stderr_has(SAID).run();
    }
    assert_eq!(ran.read("out"), b"moss\n");
    let ran = ran.again().args(["inspect", "--json", "base.img"]).run();
    let told = objects(&ran);
    assert!(
        told.iter()
            .any(|o| o.to_string().contains("1 transaction of the journal replayed")),
        "{told:?}"
    );
    assert!(before == fs::read(&image).unwrap(), "looking changed the image");
}

#[test]
fn editing_begins_with_the_recovery() {
    let Some(test) = on_dirty() else { return };
    let image = test.dir().join("base.img");
    let before = fs::read(&image).unwrap();
    let ran = test
        .file("edits.yaml", "- {put: \"root:/etc/motd\", content: x}\n")
        .args(["edit", "--image", "base.img", "--out", "out.img", "edits.yaml"])
        .stderr_has(SAID)
        .run();
    let out = ran.path("out.img");
    let said = dump(&out);
    assert!(
        !said.contains("needs_recovery") && !said.contains("First orphan"),
        "{said}"
    );
    let checked = tools::output(tools::command("e2fsck").arg("-fn").arg(root(&out)));
    assert!(
        checked.status.success(),
        "{}",
        String::from_utf8_lossy(&checked.stdout)
    );
    assert!(before == fs::read(&image).unwrap(), "the base changed");
    let ran = ran
        .again()
        .args(["cat", "out.img", "root:/etc/hostname"])
        .stdout("moss\n")
        .run();
    assert!(!ran.stderr.contains("unmounted"), "{}", ran.stderr);
    // A node, with a look at what was written.
    let ran = ran
        .again()
        .args(["build", "one", "--base", "./base.img", "--verify"])
        .stderr_has(SAID)
        .run();
    assert!(
        ran.stderr.contains("both file systems are sound"),
        "{}",
        ran.stderr
    );
}
