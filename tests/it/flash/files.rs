//! `flash` to regular files, as a new user tries it: nodes, images in every packing, what is asked, what is refused.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

use ceil_img::bmap::Bmap;
use serde_json::Value;

use crate::support::cli::{Ran, Test};
use crate::support::{judge, tools};

pub const CARD: u64 = 512 << 20;

/// A file that stands for a card, full of what was on it before.
pub fn card(path: &Path, len: u64) {
    let file = File::create(path).unwrap();
    let old = vec![0xa5; 1 << 20];
    for at in (0..len).step_by(1 << 20) {
        file.write_all_at(&old, at).unwrap();
    }
}

/// The card holds what the block map of the built image says, and nothing else was touched but its last MiB.
pub fn same_as_built(card: &Path, out: &Path, node: &str) {
    let map = Bmap::parse(&fs::read_to_string(out.join(format!("{node}.img.bmap"))).unwrap()).unwrap();
    let image = File::open(out.join(format!("{node}.img"))).unwrap();
    let card = File::open(card).unwrap();
    for range in &map.ranges {
        let len = (range.bytes.end - range.bytes.start) as usize;
        let (mut wanted, mut found) = (vec![0; len], vec![0; len]);
        image.read_exact_at(&mut wanted, range.bytes.start).unwrap();
        card.read_exact_at(&mut found, range.bytes.start).unwrap();
        assert!(wanted == found, "{:?} differs", range.bytes);
    }
}

/// A file of the boot volume of `card.img`, by mtools.
pub fn boot_text(ran: &Ran, path: &str) -> String {
    let card = ran.path("card.img");
    let boot = judge::partitions(&card)
        .into_iter()
        .find(judge::Partition::is_boot)
        .unwrap();
    String::from_utf8(judge::fat_cat(&card, &boot, path)).unwrap()
}

/// Must end with exit code 1 and all of these words.
pub fn fails(test: Test, words: &[&str]) -> Ran {
    let test = words
        .iter()
        .fold(test.status(1), |test, word| test.stderr_has(word));
    let ran = test.run();
    assert!(
        ran.stderr.lines().any(|line| line.starts_with("error: ")),
        "{}",
        ran.stderr
    );
    ran
}

pub fn events(ran: &Ran, kind: &str) -> Vec<Value> {
    ran.stdout
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|event| event["event"] == kind)
        .collect()
}

const TWO: &str = "cluster: {name: c}\nnodes: [{name: one, profile: minimal, base: demo}, {name: two, profile: minimal, base: demo}]\n";

pub fn cluster() -> Test {
    Test::new().cluster(TWO)
}

#[test]
fn f232_f239_a_node_goes_to_a_file() {
    let test = cluster();
    card(&test.dir().join("card.img"), CARD);
    let ran = test.args(["flash", "card.img", "one", "--yes", "--json"]).run();
    let done = events(&ran, "flashed");
    assert_eq!(done.len(), 1);
    assert_eq!(
        (&done[0]["device"], &done[0]["node"]),
        (&"card.img".into(), &"one".into())
    );
    let (used, written) = (
        done[0]["used"].as_u64().unwrap(),
        done[0]["written"].as_u64().unwrap(),
    );
    assert!(written < used + (4 << 20), "{written} of {used}");
    assert!(done[0]["verified"].as_u64().unwrap() >= used);
    let ran = ran.again().args(["build", "--all"]).run();
    let path = ran.path("card.img");
    same_as_built(&path, &ran.path("out"), "one");
    // The file is longer than the image, as a card is.
    judge::all(&path);
}

#[test]
fn f240_both_phases_tell_how_far_they_are() {
    let test = cluster();
    card(&test.dir().join("card.img"), CARD);
    let ran = test.args(["flash", "card.img", "one", "--yes", "--json"]).run();
    for step in ["flash", "verify"] {
        let starts: Vec<Value> = events(&ran, "start")
            .into_iter()
            .filter(|e| e["step"] == step)
            .collect();
        assert_eq!(starts.len(), 1, "{step}");
        assert!(starts[0]["total"].as_u64().unwrap() > 0);
        let last = events(&ran, "advance")
            .into_iter()
            .rfind(|e| e["step"] == step)
            .unwrap();
        assert!(last["done"].as_u64() <= starts[0]["total"].as_u64());
    }
    // Words go to people alone, and not at all where they are not wanted.
    let ran = ran
        .again()
        .args(["flash", "card.img", "one", "--yes", "--quiet"])
        .run();
    assert_eq!(
        (ran.stdout.as_str(), ran.stderr.as_str()),
        ("card.img  one\n", "")
    );
}

/// Two cards at once of an image with half a GiB in use, with room for an eighth of that in memory.
#[test]
#[cfg(target_os = "linux")]
fn memory_does_not_grow_with_the_image() {
    let test = Test::new()
        .cluster(
            "cluster: {name: c}\nnodes:\n  - {name: one, profile: minimal, base: demo, edits: [{put: \"root:/data\", from: data}]}\n",
        )
        .args(["flash", "one=a.img", "one=b.img", "--yes", "--quiet"])
        .through(["/bin/sh", "-c", "ulimit -d 65536; exec \"$0\" \"$@\""])
        .limit(std::time::Duration::from_secs(300));
    card(&test.dir().join("data"), 512 << 20);
    for name in ["a.img", "b.img"] {
        File::create(test.dir().join(name))
            .unwrap()
            .set_len(1 << 30)
            .unwrap();
    }
    let ran = test.run();
    assert_eq!(ran.stdout, "a.img  one\nb.img  one\n");
}

#[test]
fn several_cards_at_once() {
    let test = cluster();
    for name in ["a.img", "b.img"] {
        card(&test.dir().join(name), CARD);
    }
    let ran = test.args(["flash", "one=a.img", "two=b.img", "-f"]).run();
    assert_eq!(ran.stdout, "a.img  one\nb.img  two\n");
    let ran = ran.again().args(["build", "--all"]).run();
    same_as_built(&ran.path("a.img"), &ran.path("out"), "one");
    same_as_built(&ran.path("b.img"), &ran.path("out"), "two");
    let ran = ran.again().args(["cat", "b.img", "root:/etc/hostname"]).run();
    assert_eq!(ran.stdout, "two\n");
}

#[test]
fn images_in_every_packing_with_their_companions() {
    if !tools::have(&["xz", "zstd", "gzip"]) {
        return;
    }
    let ran = cluster().args(["build", "one"]).run();
    let out = ran.path("out");
    for (program, ending) in [("xz", "xz"), ("zstd", "zst"), ("gzip", "gz")] {
        let packed = format!("one.img.{ending}");
        tools::run(
            tools::command(program)
                .args(["-1", "-k"])
                .arg(out.join("one.img")),
        );
        assert!(out.join(&packed).exists());
    }
    let mut ran = ran;
    for image in ["one.img", "one.img.xz", "one.img.zst", "one.img.gz"] {
        card(&ran.path("card.img"), CARD);
        ran = ran
            .again()
            .args(["flash", "card.img", "--image", &format!("out/{image}"), "--yes"])
            .run();
        same_as_built(&ran.path("card.img"), &out, "one");
        if image == "one.img" {
            // Without the map, the file systems say what is in use.
            fs::rename(out.join("one.img.bmap"), out.join("kept")).unwrap();
            card(&ran.path("card.img"), CARD);
            ran = ran
                .again()
                .args(["flash", "card.img", "--image", "out/one.img", "--yes"])
                .run();
            fs::rename(out.join("kept"), out.join("one.img.bmap")).unwrap();
            same_as_built(&ran.path("card.img"), &out, "one");
        }
    }
}

#[test]
fn companions_that_contradict_are_refused_before_anything_is_written() {
    let ran = cluster().args(["build", "one"]).run();
    let out = ran.path("out");
    card(&ran.path("card.img"), CARD);
    // One byte of a file: both know.
    let image = File::options().write(true).open(out.join("one.img")).unwrap();
    let map = fs::read_to_string(out.join("one.img.bmap")).unwrap();
    let at = Bmap::parse(&map).unwrap().ranges.last().unwrap().bytes.start;
    image.write_all_at(b"x", at + 7).unwrap();
    let flash = |ran: Ran| {
        ran.again()
            .args(["flash", "card.img", "--image", "out/one.img", "--yes"])
    };
    let ran = fails(flash(ran), &["one.img.sha256` says", "has SHA-256"]);
    fs::remove_file(out.join("one.img.sha256")).unwrap();
    let ran = fails(
        flash(ran),
        &["the image is not what `out/one.img.bmap` says", "differ"],
    );
    fs::write(out.join("one.img.bmap"), map.replacen("> 0-", "> 1-", 1)).unwrap();
    let ran = fails(
        flash(ran),
        &["cannot use the block map `out/one.img.bmap`", "it was changed"],
    );
    fs::write(out.join("one.img.sha256"), "nothing\n").unwrap();
    let ran = fails(flash(ran), &["has no SHA-256 of `one.img`"]);
    let bytes = fs::read(ran.path("card.img")).unwrap();
    assert!(bytes.iter().all(|b| *b == 0xa5), "the card was touched");
}

#[test]
fn the_node_that_is_meant() {
    // The only one.
    let test =
        Test::new().cluster("cluster: {name: c}\nnodes: [{name: solo, profile: minimal, base: demo}]\n");
    card(&test.dir().join("card.img"), CARD);
    let ran = test.args(["flash", "card.img", "--yes"]).run();
    assert_eq!(ran.stdout, "card.img  solo\n");
    // The one that was built last.
    let test = cluster();
    card(&test.dir().join("card.img"), CARD);
    let ran = test.args(["build", "two", "--format", "none"]).run();
    let ran = ran
        .again()
        .args(["flash", "card.img", "--yes"])
        .stderr_has("node `two`, which was built last")
        .run();
    assert_eq!(ran.stdout, "card.img  two\n");
    // None: nobody can be asked here.
    fs::remove_dir_all(ran.path("out")).unwrap();
    fails(
        ran.again().args(["flash", "card.img", "--yes"]),
        &["which node?", "one, two"],
    );
}

#[test]
fn f237_without_a_terminal_nothing_is_erased_without_consent() {
    let test = cluster();
    card(&test.dir().join("card.img"), CARD);
    let ran = fails(
        test.args(["flash", "card.img", "one"]),
        &["this would erase card.img", "--yes"],
    );
    let ran = ran.again().args(["flash", "card.img", "one", "--dry-run"]).run();
    assert!(
        ran.stdout.starts_with("card.img would get one: "),
        "{}",
        ran.stdout
    );
    assert!(!ran.path("ceil.lock").exists());
    let bytes = fs::read(ran.path("card.img")).unwrap();
    assert!(bytes.iter().all(|b| *b == 0xa5), "the card was touched");
    fails(
        ran.again().args(["flash", "--all"]),
        &["there is nobody to ask", "ceil-img flash one=DEVICE two=DEVICE"],
    );
}

#[test]
fn wrong_words_are_refused() {
    for (args, words) in [
        (
            vec!["flash", "nothing.img", "one"],
            vec!["there is no `nothing.img` to write to", "truncate"],
        ),
        (
            vec!["flash", "small.img", "one", "--yes"],
            vec!["too small", "truncate -s 512M small.img"],
        ),
        (vec!["flash", ".", "one"], vec!["`.` is a directory"]),
        (
            vec!["flash", "/dev/null", "one"],
            vec!["not a disk that the system knows"],
        ),
        (
            vec!["flash", "small.img", "three", "--yes"],
            vec!["there is no node `three`", "one, two"],
        ),
        (
            vec!["flash", "one=small.img", "two"],
            vec!["write each card as `NODE=DEVICE`"],
        ),
        (
            vec!["flash", "one=small.img", "two=small.img"],
            vec!["`small.img` is named twice"],
        ),
        (
            vec!["flash", "small.img", "one", "two"],
            vec!["one DEVICE and one NODE", "one=/dev/sdb"],
        ),
        (
            vec!["flash", "small.img", "one", "--image", "x.img"],
            vec!["takes the place of the NODE"],
        ),
        (
            vec!["flash", "one=small.img", "--image", "x.img"],
            vec!["not to nodes"],
        ),
        (
            vec!["flash", "small.img", "--image", "x.img", "--yes"],
            vec!["x.img"],
        ),
        (
            vec!["flash", "small.img", "--image", "./cluster.yaml", "--yes"],
            vec!["`./cluster.yaml` is no image of a card", "no partition table"],
        ),
    ] {
        let test = cluster().file("small.img", [0; 4096]);
        fails(test.args(&args), &words);
    }
    for args in [
        vec!["flash"],
        vec!["flash", "--all", "x"],
        vec!["flash", "x", "--hostname", "h"],
    ] {
        let ran = cluster().args(&args).any_status().run();
        assert_eq!(ran.code, Some(2), "{args:?}: {}", ran.stderr);
    }
}
