//! Edits that cannot be carried out: each error names the line that asked for it, and no image comes of it.

use std::fs;
use std::os::unix::net::UnixListener;
use std::path::Path;

use crate::support::cli::{Ran, Test, refused};
use crate::support::tiny::{self, Tiny};
use crate::support::{bases, judge, tools};

/// `edit` of an image into `out/one.img`, with this list.
fn edit(image: &Path, edits: &str) -> Test {
    Test::new()
        .file("edits.yaml", edits)
        .args(["-q", "edit", "--image"])
        .args([image])
        .args(["--out", "out/one.img", "edits.yaml"])
}

/// The same of `base.img` in the folder.
fn edit_here(edits: &str) -> Test {
    Test::new().file("edits.yaml", edits).args([
        "-q",
        "edit",
        "--image",
        "base.img",
        "--out",
        "out/one.img",
        "edits.yaml",
    ])
}

fn fails(edits: &str, words: &[&str]) -> Option<Ran> {
    let image = tiny::shared()?;
    let words: Vec<&str> = words.iter().copied().chain(["edits.yaml:"]).collect();
    Some(refused(edit(&image, edits), &words))
}

#[test]
fn mistakes_of_writing_name_line_column_and_what_would_be_right() {
    for (edits, words) in [
        (
            "- {put: \"root:/a\", content: x}\n- {putt: \"root:/b\", content: x}\n",
            &["edits.yaml:2:", "`putt` is no kind of edit, did you mean `put`?"][..],
        ),
        (
            "- {put: \"root:/a\", content: x, mod: \"0644\"}\n",
            &["edits.yaml:1:", "edits[0].mod: unknown key, did you mean `mode`?"],
        ),
        (
            "- {put: \"root:/a\", content: x, mode: 0644}\n",
            &["edits.yaml:1:", "quotes"],
        ),
        (
            "- {put: \"root:/a\", content: x, mode: \"0999\"}\n",
            &["edits.yaml:1:", "0999"],
        ),
        (
            "- {put: \"root:/a\"}\n",
            &["edits.yaml:1:", "`content`, `from` and `template`"],
        ),
        ("- {put: \"rot:/a\", content: x}\n", &["edits.yaml:1:", "rot:/a"]),
        (
            "- {put: \"root:/a/../b\", content: x}\n",
            &["edits.yaml:1:", "`..` is not allowed"],
        ),
        ("- {chown: \"root:/a\", owner: pi}\n", &["edits.yaml:1:", "pi"]),
        ("- {grow: {root: lots}}\n", &["edits.yaml:1:", "lots"]),
        ("- {put: \"root:/a\n", &["edits.yaml:"]),
    ] {
        fails(edits, words);
    }
}

#[test]
fn two_edits_of_one_path() {
    fails(
        "- {put: \"root:/a\", content: x}\n- {symlink: \"root:/a\", to: x}\n",
        &["edits.yaml:2: `root:/a` is already made by the edit at edits.yaml:1"],
    );
    // Two names for one place, which only the image can tell.
    fails(
        "- {put: \"root:/opt/a\", content: x}\n- {hardlink: \"root:/opt/a\", to: \"root:/etc/hosts\"}\n",
        &["edits.yaml:2"],
    );
}

#[test]
fn places_that_are_not_what_is_wanted() {
    for (edits, words) in [
        (
            "- {put: \"root:/etc/hostname/x\", content: x}",
            &["edits.yaml:1", "/etc/hostname", "not a directory"][..],
        ),
        (
            "- {dir: \"root:/etc/hostname\"}",
            &["edits.yaml:1", "/etc/hostname"],
        ),
        (
            "- {put: \"root:/etc\", content: x}",
            &["edits.yaml:1", "/etc", "directory"],
        ),
        (
            "- {put: \"boot:/config.txt/x\", content: x}",
            &["edits.yaml:1", "config.txt"],
        ),
        (
            "- {put: \"root:/opt/loop-a/x\", content: x}",
            &["edits.yaml:1", "/opt/loop-a", "too many levels of symbolic links"],
        ),
        (
            "- {append: \"root:/opt/loop-a\", content: x}",
            &["edits.yaml:1", "/opt/loop-a", "too many levels of symbolic links"],
        ),
        ("- {append: \"root:/etc\", content: x}", &["edits.yaml:1", "/etc"]),
        (
            "- {remove: \"root:/nothing\"}",
            &["edits.yaml:1: cannot remove `root:/nothing`"],
        ),
        (
            "- {remove: \"root:/opt\"}",
            &["edits.yaml:1: cannot remove `root:/opt`", "empty"],
        ),
        (
            "- {rename: \"root:/nothing\", to: \"root:/b\"}",
            &["edits.yaml:1", "/nothing"],
        ),
        (
            "- {rename: \"root:/opt\", to: \"root:/opt/below\"}",
            &["edits.yaml:1", "/opt"],
        ),
        (
            "- {rename: \"root:/etc/hosts\", to: \"boot:/hosts\"}",
            &["edits.yaml:1", "volume"],
        ),
        (
            "- {hardlink: \"root:/h\", to: \"root:/nothing\"}",
            &["edits.yaml:1", "/nothing"],
        ),
        (
            "- {hardlink: \"root:/h\", to: \"root:/etc\"}",
            &["edits.yaml:1", "/etc", "directory"],
        ),
        (
            "- {hardlink: \"root:/h\", to: \"boot:/config.txt\"}",
            &["edits.yaml:1", "volume"],
        ),
        (
            "- {chmod: \"root:/nothing\", mode: \"0600\"}",
            &["edits.yaml:1", "/nothing"],
        ),
        (
            "- {chown: \"root:/nothing\", owner: \"0:0\"}",
            &["edits.yaml:1", "/nothing"],
        ),
        (
            "- {xattr: \"root:/nothing\", set: {user.x: v}}",
            &["edits.yaml:1", "/nothing"],
        ),
        ("- {put: \"boot:/a?b\", content: x}", &["edits.yaml:1", "a?b"]),
        (
            "- {chmod: \"/boot/config.txt\", mode: \"0600\"}",
            &["edits.yaml:1", "FAT"],
        ),
        ("- {symlink: \"/boot/l\", to: x}", &["edits.yaml:1", "FAT"]),
    ] {
        fails(&format!("{edits}\n"), words);
    }
}

#[test]
fn a_place_that_the_fat_hides() {
    fails(
        "- {put: \"root:/etc/x\", content: x}\n- {put: \"root:/boot/x\", content: x}\n",
        &[
            "edits.yaml:2: `root:/boot/x`",
            "`/boot` is the FAT partition",
            "write `boot:/x`",
        ],
    );
    let Some(base) = bases::base("raspios-trixie") else {
        return;
    };
    let test = edit(&base.path, "- {put: \"root:/boot/firmware/x\", content: x}\n");
    refused(
        test,
        &[
            "edits.yaml:1",
            "`/boot/firmware` is the FAT partition",
            "write `boot:/x`",
        ],
    );
}

#[test]
fn payloads_that_are_not_there_or_cannot_be_read() {
    for (edits, words) in [
        (
            "- {put: \"root:/a\", from: missing}\n",
            &["edits.yaml:1", "`missing`", "No such file"][..],
        ),
        (
            "- {tree: \"root:/\", from: missing}\n",
            &["edits.yaml:1", "`missing`", "No such file"],
        ),
        (
            "- {put: \"root:/a\", template: missing.j2}\n",
            &["edits.yaml:1", "`missing.j2`", "No such file"],
        ),
        ("- {put: \"root:/a\", from: edits.yaml/x}\n", &["edits.yaml:1"]),
        (
            "- {tree: \"root:/\", from: edits.yaml}\n",
            &["edits.yaml:1", "not a folder"],
        ),
    ] {
        fails(edits, words);
    }
    if !tools::is_root() {
        tools::say("running as another user needs root");
        return;
    }
    let Some(image) = tiny::shared() else { return };
    for (edits, name) in [
        ("- {put: \"root:/a\", from: secret}\n", "secret"),
        ("- {put: \"root:/a\", template: secret}\n", "secret"),
        ("- {tree: \"root:/\", from: folder}\n", "folder/secret"),
        ("- {tree: \"root:/\", from: closed}\n", "closed"),
    ] {
        let test = edit_here(edits)
            .file("base.img", fs::read(&image).unwrap())
            .file("secret", "x")
            .mode("secret", 0)
            .file("folder/secret", "x")
            .mode("folder/secret", 0)
            .file("closed/x", "x")
            .mode("closed", 0)
            .user(65534);
        refused(test, &["edits.yaml:1", name, "Permission denied"]);
    }
}

#[test]
fn overlays_hold_files_folders_and_links_only() {
    let Some(image) = tiny::shared() else { return };
    let list = "- {put: \"root:/first\", content: x}\n- {tree: \"root:/\", from: tree}\n";
    let odd = |what: &str| edit(&image, list).file("tree/etc/plain", what);
    if tools::have(&["mkfifo", "mknod"]) {
        let test = odd("fifo");
        tools::run(tools::command("mkfifo").arg(test.dir().join("tree/etc/odd")));
        refused(test, &["edits.yaml:2: `tree/etc/odd` is a named pipe"]);
        if tools::is_root() {
            let test = odd("device");
            tools::run(
                tools::command("mknod")
                    .arg(test.dir().join("tree/etc/odd"))
                    .args(["c", "1", "3"]),
            );
            refused(test, &["edits.yaml:2: `tree/etc/odd` is a device node"]);
        } else {
            tools::say("making a device node needs root");
        }
    }
    let test = odd("socket");
    let _listener = UnixListener::bind(test.dir().join("tree/etc/odd")).unwrap();
    refused(test, &["edits.yaml:2: `tree/etc/odd` is a socket"]);
    let test = edit(&image, "- {tree: \"boot:/\", from: tree}\n").symlink("tree/l", "x");
    refused(test, &["edits.yaml:1", "tree/l", "FAT"]);
    let test = odd("owners").file("tree/.ceil-owners", "etc/plain 0640 root:root\n");
    refused(test, &[".ceil-owners:1"]);
}

/// Symlinks are texts: wherever they point, what is written through them stays in the image.
#[test]
fn links_never_lead_out_of_the_image() {
    let Some(image) = tiny::shared().filter(|_| tools::have(&["debugfs"])) else {
        return;
    };
    let outside = tempfile::tempdir().unwrap();
    let target = outside.path().display().to_string();
    let above = format!("{}{}", "../".repeat(40), target.trim_start_matches('/'));
    let list = "- {tree: \"root:/opt\", from: tree}\n\
                - {dir: \"root:/etc/inside\"}\n\
                - {put: \"root:/opt/above/a\", content: through above}\n\
                - {put: \"root:/opt/absolute/b\", content: through absolute}\n\
                - {put: \"root:/opt/up/inside/c\", content: through up}\n";
    let ran = edit(&image, list)
        .symlink("tree/above", &above)
        .symlink("tree/absolute", &target)
        .run();
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    let out = ran.path("out/one.img");
    judge::all(&out);
    let partitions = judge::partitions(&out);
    for (path, text) in [
        (format!("{target}/a"), "through above"),
        (format!("{target}/b"), "through absolute"),
        ("/etc/inside/c".to_owned(), "through up"),
    ] {
        assert_eq!(judge::ext4_cat(&out, &partitions[1], &path), text.as_bytes());
    }
    let said = judge::debugfs(&out, &partitions[1], "stat /opt/above");
    assert!(said.contains("Type: symlink"), "{said}");
    // Read back as text, and copied out as a link, never followed on the host.
    let ran = ran
        .again()
        .args(["cat", "out/one.img", "root:/opt/above/a"])
        .stdout("through above")
        .run();
    let ran = ran
        .again()
        .args(["extract", "out/one.img", "root:/opt", "copied"])
        .run();
    assert_eq!(
        fs::read_link(ran.path("copied/above")).unwrap(),
        Path::new(&above)
    );
}

#[test]
fn a_root_that_cannot_grow_is_full() {
    let make = |tiny: Tiny, edits: &str| {
        let test = edit_here(edits);
        tiny.make(&test.dir().join("base.img")).map(|_| test)
    };
    let large = "- {put: \"root:/opt/large\", from: large}\n";
    for tiny in [Tiny::new(), Tiny::new().gpt()] {
        let Some(test) = make(tiny.clone().with_one_behind(), large) else {
            return;
        };
        refused(
            test.file("large", tiny::noise(30 << 20)),
            &["partition 2 cannot grow", "another partition"],
        );
        let Some(test) = make(tiny, large) else { return };
        let ran = test.file("large", tiny::noise(30 << 20)).run();
        judge::all(&ran.path("out/one.img"));
    }
    if let Some(test) = make(Tiny::new().with_one_behind(), "- {grow: {root: \"+8MiB\"}}\n") {
        refused(test, &["edits.yaml:1", "partition 2 cannot grow"]);
    }
    // Out of inodes while blocks are free: 64 of them in one group.
    let few = Tiny::new().mke2fs(&["-N", "64"]);
    let mut many = String::new();
    for i in 0..100 {
        many += &format!("- {{put: \"root:/opt/many/{i}\", content: x}}\n");
    }
    if let Some(test) = make(few.clone().with_one_behind(), &many) {
        refused(test, &["partition 2 cannot grow"]);
    }
    if let Some(test) = make(few, &many) {
        let ran = test.run();
        judge::all(&ran.path("out/one.img"));
    }
    // The FAT cannot grow at all.
    if let Some(test) = make(Tiny::new(), "- {put: \"boot:/large\", from: large}\n") {
        refused(
            test.file("large", tiny::noise(9 << 20)),
            &[
                "edits.yaml:1: cannot write `boot:/large`",
                "the file system is full",
            ],
        );
    }
}
