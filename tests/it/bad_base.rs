//! Bases that cannot be used: each is refused with words that help, and an older image stays.

use std::fs::{self, OpenOptions};
use std::path::Path;
use std::process::Command;

use ceil_img::values::Digest;

use crate::support::cli::{Test, refused};
use crate::support::tiny::{ROOT, Tiny, noise};
use crate::support::{bases, tools};

fn build(base: &str) -> Test {
    Test::new().args(["-q", "build", "one", "--base", base])
}

/// A test whose folder holds a tiny image as `base.img`.
fn on(tiny: &Tiny) -> Option<Test> {
    let test = build("./base.img");
    tiny.make(&test.dir().join("base.img"))?;
    Some(test)
}

/// Packs a file with a tool, which writes to standard output.
fn pack(command: &mut Command, to: &Path) {
    fs::write(to, tools::run(command)).unwrap();
}

#[test]
fn packed_bases_that_are_cut_or_flipped() {
    if !tools::have(&["xz", "gzip", "zstd", "bzip2", "zip"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let Some(raw) = Tiny::new().make(&dir.path().join("base.img")) else {
        return;
    };
    let at = |name: &str| dir.path().join(name);
    pack(
        tools::command("xz")
            .args(["-c", "-1", "--block-size=1MiB", "-T1"])
            .arg(&raw),
        &at("b.xz"),
    );
    pack(tools::command("gzip").args(["-c", "-1"]).arg(&raw), &at("b.gz"));
    pack(
        tools::command("zstd")
            .args(["-c", "-q", "-1", "--check"])
            .arg(&raw),
        &at("b.zst"),
    );
    pack(tools::command("bzip2").args(["-c", "-1"]).arg(&raw), &at("b.bz2"));
    tools::run(
        tools::command("zip")
            .args(["-q", "-1", "b.zip", "base.img"])
            .current_dir(dir.path()),
    );
    let cache = tempfile::tempdir().unwrap();
    let run = |bytes: &[u8], how: &str| {
        let name = format!("./{how}");
        refused(
            build(&name).cache(cache.path()).file(how, bytes),
            &["node `one` was not built", "cannot get the base", how],
        )
    };
    for name in ["b.xz", "b.gz", "b.zst", "b.bz2", "b.zip"] {
        let whole = fs::read(at(name)).unwrap();
        let cut = run(&whole[..whole.len() * 2 / 3], &format!("cut-{name}"));
        assert!(cut.stderr.contains("is damaged: "), "{}", cut.stderr);
        // In the middle of what cannot be packed, so that a bit is a bit of the image.
        let mut flipped = whole.clone();
        flipped[whole.len() / 2] ^= 0x10;
        let flip = run(&flipped, &format!("flipped-{name}"));
        assert!(flip.stderr.contains("is damaged: "), "{name}: {}", flip.stderr);
        let mut longer = whole.clone();
        longer.extend_from_slice(b"not a packed stream");
        if name != "b.zip" {
            let more = run(&longer, &format!("longer-{name}"));
            assert!(more.stderr.contains("is damaged: "), "{name}: {}", more.stderr);
        }
        // The whole one is fine, with the same cache.
        build(&format!("./{name}"))
            .cache(cache.path())
            .file(name, &whole)
            .run();
    }
    // One object came of the five good ones, and nothing of the others.
    let kept: Vec<_> = fs::read_dir(cache.path().join("raw")).unwrap().collect();
    assert_eq!(kept.len(), 1, "{kept:?}");
    assert_eq!(fs::read_dir(cache.path().join("part")).unwrap().count(), 0);
}

#[test]
fn an_archive_of_two_images_or_none() {
    if !tools::have(&["zip"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    for (names, words) in [
        (&["a.img", "b.img"][..], "a.img"),
        (&["readme.txt"][..], "is not an image"),
    ] {
        for name in names {
            fs::write(dir.path().join(name), noise(4096)).unwrap();
        }
        let zip = dir.path().join(format!("{}.zip", names.len()));
        tools::run(
            tools::command("zip")
                .arg("-q")
                .arg(&zip)
                .args(names)
                .current_dir(dir.path()),
        );
        refused(
            build("./x.zip").file("x.zip", fs::read(&zip).unwrap()),
            &["x.zip", words],
        );
    }
}

// rows: F003
#[test]
fn a_base_with_another_digest_than_its_profile_says() {
    let Some(test) = on(&Tiny::new()) else { return };
    let found = Digest::sha256(&fs::read(test.dir().join("base.img")).unwrap()).hex();
    let wrong = "0".repeat(64);
    let dir = test.dir().to_owned();
    for key in ["sha256", "raw_sha256"] {
        let image = fs::read(dir.join("base.img")).unwrap();
        let profile = format!("base: {{path: ../base.img, {key}: {wrong}}}\n");
        let test = Test::new()
            .args(["build", "one"])
            .file("base.img", &image)
            .cluster("cluster: {name: c}\nnodes: [{name: one, profile: p}]\n")
            .profile("p", &profile);
        let ran = refused(test, &["base.img", &wrong, &found, "profiles/p.yaml:1"]);
        // The same once more, when the cache could have learnt something.
        let again = ran.again().args(["build", "one"]);
        let ran = refused(again, &[&wrong, &found]);
        // And with the right digest it is built.
        let profile = format!("base: {{path: ../base.img, {key}: {found}}}\n");
        ran.again().profile("p", &profile).args(["build", "one"]).run();
    }
}

#[test]
fn what_is_no_image() {
    for (name, content, words) in [
        ("text.img", b"hello\n".to_vec(), "is not an image"),
        ("empty.img", Vec::new(), "is not an image"),
        (
            "page.img",
            b"<!DOCTYPE html><html><body>404</body></html>".repeat(40),
            "is not an image",
        ),
        (
            "noise.img",
            noise(1 << 20),
            "neither an MBR (55 AA at byte 510) nor a GPT",
        ),
        ("zeroes.img", vec![0; 1 << 20], "is not an image"),
    ] {
        let ran = refused(build(&format!("./{name}")).file(name, content), &[name, words]);
        assert!(
            ran.stderr.contains("--base: cannot get the base"),
            "{}",
            ran.stderr
        );
    }
    refused(build("./missing.img"), &["missing.img", "No such file"]);
    let folder = build("./folder");
    fs::create_dir(folder.dir().join("folder")).unwrap();
    refused(folder, &["folder", "not a regular file"]);
}

#[test]
fn an_image_that_is_shorter_than_its_table_says() {
    for (tiny, words) in [
        (
            Tiny::new(),
            "partition 2 ends at byte 34603008 and the image has 14680064",
        ),
        (Tiny::new().gpt(), "backup GPT header"),
    ] {
        let Some(test) = on(&tiny) else { return };
        let file = OpenOptions::new()
            .write(true)
            .open(test.dir().join("base.img"))
            .unwrap();
        file.set_len(ROOT + (5 << 20)).unwrap();
        refused(test, &["cannot open the base `base.img`", words]);
    }
}

#[test]
fn an_image_without_ext4() {
    let Some(test) = on(&Tiny::new().without_root()) else {
        return;
    };
    refused(test, &["no root (ext4) volume", "partition 2"]);
    // Looking at it is fine: what is there is said.
    let Some(test) = on(&Tiny::new().without_root()) else {
        return;
    };
    let ran = Test::new()
        .file("base.img", fs::read(test.dir().join("base.img")).unwrap())
        .args(["inspect", "base.img"])
        .stdout_has("boot       p1 fat16 `TINY`")
        .stdout_has("p2 ")
        .run();
    ran.again()
        .args(["ls", "base.img", "root:/"])
        .status(1)
        .stderr_has("no root (ext4) volume")
        .run();
}

#[test]
fn features_that_cannot_be_kept_right_are_named() {
    for (option, feature) in [
        ("bigalloc,^resize_inode", "bigalloc"),
        ("encrypt", "encrypt"),
        ("verity", "verity"),
        ("quota", "quota"),
        ("inline_data", "inline_data"),
        ("meta_bg,^resize_inode", "meta_bg"),
        ("casefold", "casefold"),
    ] {
        let Some(test) = on(&Tiny::new().mke2fs(&["-O", option])) else {
            return;
        };
        refused(test, &["no root (ext4) volume", "partition 2", feature]);
    }
}

/// Where the kernel met errors, a journal alone does not help.
#[test]
fn a_file_system_with_errors() {
    let Some(test) = on(&Tiny::new()) else { return };
    if !tools::have(&["debugfs"]) {
        return;
    }
    let mut place = test.dir().join("base.img").into_os_string();
    place.push(format!("?offset={ROOT}"));
    tools::run(
        tools::command("debugfs")
            .args(["-w", "-R", "ssv state 3"])
            .arg(&place),
    );
    refused(test, &["errors", "not clean", "run e2fsck"]);
}

#[test]
fn names_and_nodes_that_do_not_exist() {
    refused(
        build("raspios-trixie-arm46"),
        &["--base", "raspios-trixie-arm46", "raspios-trixie-arm64"],
    );
    let cluster =
        "cluster: {name: c}\nnodes:\n  - {name: one, profile: minimal}\n  - {name: two, profile: demo}\n";
    let test = Test::new().cluster(cluster).args(["build", "tow"]);
    let ran = refused(test, &["cluster.yaml", "no node `tow`", "one, two"]);
    assert!(ran.stderr.contains("did you mean `two`?"), "{}", ran.stderr);
    let nodes =
        "cluster: {name: c}\nnodes:\n  - {name: one, profile: minimal, base: raspios-bookwrm-arm64}\n";
    refused(
        Test::new().cluster(nodes).args(["build", "one"]),
        &[
            "cluster.yaml:3",
            "raspios-bookwrm-arm64",
            "raspios-bookworm-arm64",
        ],
    );
}

#[test]
fn no_cluster_file() {
    refused(Test::new().args(["build", "two"]), &["cluster.yaml", "--file"]);
    refused(
        Test::new().args(["build", "one", "--file", "other.yaml"]),
        &["other.yaml"],
    );
    let ran = refused(Test::new().args(["build", "--all"]), &["cluster.yaml"]);
    ran.again()
        .args(["plan", "two"])
        .status(1)
        .stderr_has("cluster.yaml")
        .run();
}

/// Without a network the error says how to go on without one.
#[test]
fn a_host_that_cannot_be_reached() {
    let url = "http://127.0.0.1:9/base.img.xz";
    let ways = "`--base demo`";
    refused(
        build(url),
        &[url, "`127.0.0.1` cannot be reached", ways, "`--base PATH`"],
    );
    refused(
        build(url).args(["--offline"]),
        &[url, "`--offline` forbids", "`--base PATH`"],
    );
    refused(
        build("raspios-trixie-arm64").args(["--offline"]),
        &["downloads.raspberrypi.", "`--offline` forbids", "`--base PATH`"],
    );
}

#[test]
fn a_packed_image_is_not_edited_in_place() {
    let Some(base) = bases::base("raspios-trixie").filter(|_| tools::have(&["gzip"])) else {
        return;
    };
    let packed = tools::run(tools::command("gzip").args(["-1", "-c"]).arg(&base.path));
    // By its content, whatever its name says.
    for name in ["base.img.gz", "base.img"] {
        let test = Test::new()
            .file(name, &packed)
            .file("edits.yaml", "- {put: \"root:/etc/motd\", content: x}\n")
            .args(["edit", "--image", name, "--in-place", "edits.yaml"]);
        let ran = refused(test, &[name, "compressed", "--out"]);
        assert_eq!(ran.read(name), packed);
    }
}
