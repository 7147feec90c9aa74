//! `diff` by its exit code and its words: each kind of difference alone, and none where there is none.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::cli::Test;
use crate::support::tiny::{self, ROOT, Tiny};
use crate::support::{bases, tools};

/// What `diff --json` finds between an image and another, and its exit code.
fn differences(old: &Path, new: &Path) -> Vec<Value> {
    let ran = Test::new()
        .args(["diff", "--json"])
        .args([old, new])
        .any_status()
        .run();
    let found: Vec<Value> = ran
        .stdout
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    assert_eq!(ran.code, Some(i32::from(!found.is_empty())), "{}", ran.stderr);
    // The same in words: one line at least for each.
    let text = Test::new().args(["diff"]).args([old, new]).any_status().run();
    assert_eq!(text.code, ran.code);
    for difference in &found {
        assert!(difference["event"].is_null(), "{difference}");
        let subject = difference["path"]
            .as_str()
            .or(difference["property"].as_str())
            .unwrap();
        let change = difference["change"].as_str().unwrap();
        assert!(
            text.stdout
                .lines()
                .any(|l| l.starts_with(change) && l.contains(subject)),
            "{difference}\n{}",
            text.stdout
        );
    }
    found
}

/// The differences that one list of edits makes.
fn after(edits: &str) -> Option<Vec<Value>> {
    let image = tiny::shared()?;
    let ran = Test::new()
        .file("edits.yaml", edits)
        .args(["edit", "--image"])
        .args([&image])
        .args(["--out", "new.img", "edits.yaml"])
        .run();
    Some(differences(&image, &ran.path("new.img")))
}

/// Applies a request of debugfs or another tool to a copy: differences that our own editor did not make.
fn tampered(act: impl FnOnce(&Path)) -> Option<Vec<Value>> {
    let image = tiny::shared()?;
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join("copy.img");
    bases::sparse_copy(&image, &copy);
    act(&copy);
    Some(differences(&image, &copy))
}

fn debugfs(image: &Path, request: &str) {
    let mut place = image.as_os_str().to_owned();
    place.push(format!("?offset={ROOT}"));
    let said = tools::output(tools::command("debugfs").args(["-w", "-R", request]).arg(place));
    assert!(said.status.success());
}

#[test]
fn the_same_is_the_same() {
    let Some(image) = tiny::shared() else { return };
    assert_eq!(differences(&image, &image), Vec::<Value>::new());
    // Packed or not.
    if tools::have(&["gzip"]) {
        let dir = tempfile::tempdir().unwrap();
        let packed = dir.path().join("packed");
        fs::write(
            &packed,
            tools::run(tools::command("gzip").args(["-c", "-1"]).arg(&image)),
        )
        .unwrap();
        let ran = Test::new()
            .args(["diff"])
            .args([&image, &packed])
            .stdout("")
            .run();
        assert_eq!(ran.code, Some(0));
    }
    // Times alone are no difference, and neither is an edit that was taken back.
    assert_eq!(
        after("- {mtime: \"root:/etc/hosts\", to: 0}\n").unwrap(),
        Vec::<Value>::new()
    );
    let there_and_back = "- {put: \"root:/x\", content: x}\n- {remove: \"root:/x\"}\n";
    assert_eq!(after(there_and_back).unwrap(), Vec::<Value>::new());
}

#[test]
fn each_kind_of_change_of_a_file() {
    let hosts = |mode: &str, owner: &str| json!({"kind": "file", "mode": mode, "owner": owner, "size": 35});
    let same = |found: &Value, expected: &Value| {
        ["kind", "mode", "owner", "size"]
            .iter()
            .all(|k| found[k] == expected[k])
    };
    let Some(found) = after("- {chmod: \"root:/etc/hosts\", mode: \"0600\"}\n") else {
        return;
    };
    assert_eq!(found.len(), 1);
    assert!(same(&found[0]["old"], &hosts("0644", "0:0")) && same(&found[0]["new"], &hosts("0600", "0:0")));
    assert_eq!(found[0]["old"]["digest"], found[0]["new"]["digest"]);

    let found = after("- {chown: \"root:/etc/hosts\", owner: \"7:8\"}\n").unwrap();
    assert_eq!(found.len(), 1);
    assert!(same(&found[0]["new"], &hosts("0644", "7:8")));

    let found = after("- {xattr: \"root:/etc/hosts\", set: {user.a: \"0x00ff\"}}\n").unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0]["new"]["xattrs"], json!({"user.a": "00ff"}));
    assert!(found[0]["old"]["xattrs"].is_null());

    // One byte of three million.
    let content = |byte: u8| {
        let mut content = tiny::noise(3 << 20);
        content[2_000_000] ^= byte;
        content
    };
    let image = tiny::shared().unwrap();
    let ran = Test::new()
        .file("noise", content(1))
        .file("edits.yaml", "- {put: \"root:/opt/noise\", from: noise}\n")
        .args(["edit", "--image"])
        .args([&image])
        .args(["--out", "new.img", "edits.yaml"])
        .run();
    let found = differences(&image, &ran.path("new.img"));
    assert_eq!(found.len(), 1);
    assert_eq!(found[0]["path"], "root:/opt/noise");
    assert_eq!(found[0]["change"], "changed");
    let sum = |bytes: &[u8]| ceil_img::values::Digest::sha256(bytes).hex();
    assert_eq!(found[0]["old"]["digest"], sum(&content(0)));
    assert_eq!(found[0]["new"]["digest"], sum(&content(1)));
}

#[test]
fn what_came_and_what_went() {
    let edits = "- {put: \"root:/opt/new/deep/file\", content: x}\n- {symlink: \"root:/opt/new/l\", to: deep}\n\
                 - {remove: \"root:/opt/loop-a\"}\n- {remove: \"boot:/config.txt\"}\n- {dir: \"boot:/d\"}\n\
                 - {remove: \"root:/var/lib\"}\n- {put: \"root:/var/lib\", content: x}\n";
    let Some(found) = after(edits) else { return };
    let words: Vec<String> = found
        .iter()
        .map(|d| {
            format!(
                "{} {}",
                d["change"].as_str().unwrap(),
                d["path"].as_str().unwrap()
            )
        })
        .collect();
    assert_eq!(
        words,
        [
            "removed boot:/config.txt",
            "added boot:/d",
            "removed root:/opt/loop-a",
            "added root:/opt/new",
            "added root:/opt/new/deep",
            "added root:/opt/new/deep/file",
            "added root:/opt/new/l",
            "changed root:/var/lib",
        ]
    );
    assert_eq!(found[6]["new"]["target"], "deep");
    assert_eq!(
        (&found[7]["old"]["kind"], &found[7]["new"]["kind"]),
        (&json!("directory"), &json!("file"))
    );
}

#[test]
fn changes_that_others_made() {
    if !tools::have(&["debugfs", "e2label", "mlabel", "sfdisk"]) {
        return;
    }
    let Some(found) = tampered(|image| debugfs(image, "sif /etc/hosts mode 0100640")) else {
        return;
    };
    assert_eq!(found.len(), 1);
    assert_eq!(found[0]["new"]["mode"], "0640");
    let found = tampered(|image| debugfs(image, "ea_set /opt user.dir v")).unwrap();
    assert_eq!((found.len(), &found[0]["path"]), (1, &json!("root:/opt")));
    let found = tampered(|image| debugfs(image, "mknod device c 1 3")).unwrap();
    assert_eq!((found.len(), &found[0]["change"]), (1, &json!("added")));
    assert_ne!(found[0]["new"]["kind"], "file");
    let found = tampered(|image| debugfs(image, "rm /opt/noise")).unwrap();
    assert_eq!((found.len(), &found[0]["change"]), (1, &json!("removed")));

    let found = tampered(|image| {
        let mut place = image.as_os_str().to_owned();
        place.push(format!("?offset={ROOT}"));
        tools::run(tools::command("e2label").arg(place).arg("other"));
    })
    .unwrap();
    assert_eq!(
        found,
        [json!({"change": "changed", "property": "root label", "old": "rootfs", "new": "other"})]
    );
    let found = tampered(|image| {
        let mut drive = image.as_os_str().to_owned();
        drive.push(format!("@@{}", tiny::BOOT));
        tools::run(tools::command("mlabel").arg("-i").arg(drive).arg("::OTHER"));
    })
    .unwrap();
    assert_eq!(
        found,
        [json!({"change": "changed", "property": "boot label", "old": "TINY", "new": "OTHER"})]
    );
    // The disk's signature, which is in every PARTUUID.
    let found = tampered(|image| {
        let file = OpenOptions::new().write(true).open(image).unwrap();
        file.write_all_at(&[0xce], 440).unwrap();
    })
    .unwrap();
    let properties: Vec<&str> = found.iter().map(|d| d["property"].as_str().unwrap()).collect();
    assert_eq!(properties, ["disk id", "partition 1 uuid", "partition 2 uuid"]);
    let found = tampered(|image| {
        tools::run(
            tools::command("sfdisk")
                .args(["-q", "--no-tell-kernel", "--part-type"])
                .arg(image)
                .args(["1", "e"]),
        );
    })
    .unwrap();
    assert_eq!(
        found,
        [json!({"change": "changed", "property": "partition 1 type", "old": "0c", "new": "0e"})]
    );
}

#[test]
fn another_table_and_what_cannot_be_compared() {
    let Some(image) = tiny::shared() else { return };
    let dir = tempfile::tempdir().unwrap();
    let gpt = Tiny::new()
        .gpt()
        .with_one_behind()
        .make(&dir.path().join("gpt.img"))
        .unwrap();
    let found = differences(&image, &gpt);
    let properties: Vec<&str> = found.iter().filter_map(|d| d["property"].as_str()).collect();
    for property in ["table kind", "disk id", "partition 3 start", "partition 2 type"] {
        assert!(properties.contains(&property), "{properties:?}");
    }
    assert!(
        found.iter().all(|d| d["path"].is_null()),
        "the trees are the same: {found:?}"
    );
    // Without a root there is nothing to compare it with, and that is a difference.
    let bare = Tiny::new()
        .without_root()
        .make(&dir.path().join("bare.img"))
        .unwrap();
    let found = differences(&image, &bare);
    assert!(
        found
            .iter()
            .any(|d| d["property"] == "root file system" && d["change"] == "removed"),
        "{found:?}"
    );
    Test::new()
        .args(["diff", "missing.img"])
        .args([&image])
        .status(1)
        .stderr_has("missing.img")
        .stdout("")
        .run();
}
