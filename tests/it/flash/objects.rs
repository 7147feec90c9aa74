//! F241: the card as an object: what is on it, changing it in place, reading it back into an image.

use std::fs;
use std::os::unix::fs::FileExt;

use serde_json::Value;

use super::files::{CARD, boot_text, card, events, fails};
use crate::support::cli::{Ran, Test};
use crate::support::judge;
use crate::support::tools;

fn cluster(more: &str) -> String {
    format!(
        "cluster: {{name: lab}}\ndefaults: {{base: demo}}\nnodes:\n  - {{name: one, profile: minimal, base: demo{more}}}\n  - {{name: two, profile: minimal, base: demo}}\n"
    )
}

/// A card with node `one`.
fn flashed() -> Ran {
    let test = Test::new().cluster(&cluster(""));
    card(&test.dir().join("card.img"), CARD);
    test.args(["flash", "card.img", "one", "--yes"]).run()
}

fn inspect(ran: Ran) -> (Ran, Value) {
    let ran = ran.again().args(["inspect", "card.img", "--json"]).run();
    let value: Value = serde_json::from_str(&ran.stdout).unwrap();
    (ran, value["card"].clone())
}

#[test]
fn inspect_says_which_node_it_is_and_whether_it_has_booted() {
    let (ran, found) = inspect(flashed());
    assert_eq!(
        (&found["record"]["cluster"], &found["record"]["node"]),
        (&"lab".into(), &"one".into())
    );
    assert_eq!(found["booted"], false);
    let plan = found["record"]["plan"].as_str().unwrap().to_owned();
    let ran = ran.again().args(["plan", "one", "--json"]).run();
    let planned: Value = serde_json::from_str(ran.stdout.lines().next().unwrap()).unwrap();
    assert_eq!(planned["digest"].as_str(), Some(plan.as_str()), "{planned}");
    let ran = ran.again().args(["inspect", "card.img"]).run();
    assert!(
        ran.stdout
            .starts_with("card       node `one` of cluster `lab`, plan sha256:"),
        "{}",
        ran.stdout
    );
    assert!(
        ran.stdout.lines().next().unwrap().ends_with("has not booted"),
        "{}",
        ran.stdout
    );
    // A system that ran from it has an id.
    let ran = ran
        .again()
        .file("edits.yaml", "- {put: \"root:/etc/machine-id\", content: \"0123456789abcdef0123456789abcdef\\n\"}\n- {dir: \"root:/var/lib/ceil\"}\n- {put: \"root:/var/lib/ceil/ready\", content: \"\"}\n")
        .args(["edit", "--image", "card.img", "--in-place", "edits.yaml"])
        .run();
    let (ran, found) = inspect(ran);
    assert_eq!((&found["booted"], &found["ready"]), (&true.into(), &true.into()));
    // Other images are of nobody.
    let ran = ran
        .again()
        .file("no.yaml", "- {remove: \"boot:/ceil-card.json\"}\n")
        .args(["edit", "--image", "card.img", "--in-place", "no.yaml"])
        .run();
    let (_, found) = inspect(ran);
    assert_eq!(found["record"], Value::Null);
}

/// Bytes of the card outside its boot volume.
fn others(ran: &Ran) -> Vec<u8> {
    let path = ran.path("card.img");
    let boot = judge::partitions(&path)
        .into_iter()
        .find(judge::Partition::is_boot)
        .unwrap();
    let mut bytes = fs::read(path).unwrap();
    bytes[boot.start as usize..(boot.start + boot.len) as usize].fill(0);
    bytes
}

#[test]
fn f241_only_files_of_the_boot_volume_change() {
    let ran = flashed();
    let before = others(&ran);
    // Nothing to do.
    let ran = ran
        .again()
        .args(["reconfigure", "card.img", "one", "--yes"])
        .stderr_has("nothing on the boot volume")
        .run();
    assert_eq!(ran.stdout, "");
    let meta = boot_text(&ran, "/meta-data");
    // config.txt and a file more: nothing of the root volume depends on them.
    let changed = cluster(
        ", config-txt: [{section: all, set: {gpu_mem: 17}}], edits: [{put: \"boot:/note.txt\", content: hi}]",
    );
    let ran = ran
        .again()
        .cluster(&changed)
        .args(["reconfigure", "card.img", "one", "--dry-run"])
        .run();
    assert!(
        ran.stdout.contains("written  boot:/config.txt\n") && ran.stdout.contains("boot:/note.txt\n"),
        "{}",
        ran.stdout
    );
    assert!(!boot_text(&ran, "/config.txt").contains("gpu_mem=17"));
    let ran = fails(
        ran.again().args(["reconfigure", "card.img", "one"]),
        &["this would change card.img", "--yes"],
    );
    let ran = ran
        .again()
        .args(["reconfigure", "card.img", "one", "--yes", "--json"])
        .run();
    let done = events(&ran, "reconfigured");
    assert_eq!(done.len(), 1, "{}", ran.stdout);
    assert_eq!(done[0]["left"], Value::Array(Vec::new()));
    judge::all(&ran.path("card.img"));
    assert!(
        others(&ran) == before,
        "something outside the boot volume changed"
    );
    assert!(boot_text(&ran, "/config.txt").contains("gpu_mem=17"));
    assert_eq!(boot_text(&ran, "/note.txt"), "hi");
    // The new instance id makes cloud-init run again.
    let new = boot_text(&ran, "/meta-data");
    assert_ne!(new, meta);
    assert!(new.contains(done[0]["instance_id"].as_str().unwrap()), "{new}");
    // As if it had been flashed now.
    let ran = ran.again().args(["build", "one"]).run();
    let ran = ran
        .again()
        .args(["diff", "out/one.img", "card.img"])
        .any_status()
        .run();
    assert!(!ran.stdout.contains("boot:/"), "{}", ran.stdout);
}

#[test]
fn another_node_needs_its_root_volume() {
    let ran = flashed();
    let before = others(&ran);
    let ran = ran
        .again()
        .args(["reconfigure", "card.img", "two", "--yes"])
        .status(1)
        .stderr_has("of the root volume differ from the plan; only `ceil-img flash` writes those")
        .run();
    assert!(ran.stdout.contains("left     root:/"), "{}", ran.stdout);
    assert!(others(&ran) == before);
    let (_, found) = inspect(ran);
    assert_eq!(found["record"]["node"], "two");
    assert!(
        found["record"]["root_plan"]
            .as_str()
            .unwrap()
            .starts_with("sha256:"),
        "{found}"
    );
}

/// What cloud-init will make of it is told, and words that the first boot took away stay away.
#[test]
fn a_card_that_has_booted() {
    let ran = flashed();
    let line = boot_text(&ran, "/cmdline.txt");
    let gone = line.split_whitespace().last().unwrap().to_owned();
    let kept = line.trim_end().strip_suffix(&gone).unwrap().trim_end();
    let ran = ran
        .again()
        .file("booted.yaml", format!("- {{put: \"root:/etc/machine-id\", content: \"0123456789abcdef0123456789abcdef\\n\"}}\n- {{dir: \"root:/var/lib/cloud/data\"}}\n- {{put: \"root:/var/lib/cloud/data/instance-id\", content: \"lab-one-old\\n\"}}\n- {{put: \"boot:/cmdline.txt\", content: \"{kept}\\n\"}}\n"))
        .args(["edit", "--image", "card.img", "--in-place", "booted.yaml"])
        .run();
    let ran = ran
        .again()
        .cluster(&cluster(", kernel-args: {add: [ceil.test=1]}"))
        .args(["reconfigure", "card.img", "one", "--yes"])
        .stderr_has("cloud-init has run as `lab-one-old`; it will run again as `lab-one-")
        .run();
    let line = boot_text(&ran, "/cmdline.txt");
    assert!(line.contains("ceil.test=1"), "{line}");
    assert!(
        !line.split_whitespace().any(|word| word == gone),
        "{gone} came back: {line}"
    );
    judge::all(&ran.path("card.img"));
}

#[test]
fn what_is_no_card_of_ours_is_left_alone() {
    let ran = Test::new().cluster(&cluster("")).args(["build", "one"]).run();
    let ran = ran
        .again()
        .file("no.yaml", "- {remove: \"boot:/ceil-card.json\"}\n")
        .args(["edit", "--image", "out/one.img", "--out", "card.img", "no.yaml"])
        .run();
    let before = ran.read("card.img");
    let ran = fails(
        ran.again().args(["reconfigure", "card.img", "one", "--yes"]),
        &["holds no card of ceil-img", "ceil-img flash"],
    );
    assert!(ran.read("card.img") == before);
}

#[test]
fn backup_reads_the_used_blocks_of_a_card() {
    if !tools::have(&["xz"]) {
        return;
    }
    let ran = flashed().again().args(["build", "one"]).run();
    let ran = ran
        .again()
        .args(["backup", "card.img", "saved.img.xz", "--json"])
        .run();
    let done = events(&ran, "backed-up");
    assert_eq!(done[0]["card"]["record"]["node"], "one");
    // The card was full of 0xa5; what no file system uses is not in the image.
    tools::run(tools::command("xz").arg("-dk").arg(ran.path("saved.img.xz")));
    let (saved, built) = (
        fs::File::open(ran.path("saved.img")).unwrap(),
        fs::File::open(ran.path("out/one.img")).unwrap(),
    );
    assert_eq!(saved.metadata().unwrap().len(), built.metadata().unwrap().len());
    let map =
        ceil_img::bmap::Bmap::parse(&fs::read_to_string(ran.path("out/one.img.bmap")).unwrap()).unwrap();
    // In front of the first partition a boot loader may stand, which nobody knows: that is kept.
    let mut free = judge::partitions(&ran.path("card.img"))[0].start;
    for range in &map.ranges {
        let len = (range.bytes.end - range.bytes.start) as usize;
        let (mut a, mut b) = (vec![0; len], vec![0; len]);
        saved.read_exact_at(&mut a, range.bytes.start).unwrap();
        built.read_exact_at(&mut b, range.bytes.start).unwrap();
        assert!(a == b, "{:?}", range.bytes);
        let mut gap = vec![0; range.bytes.start.saturating_sub(free) as usize];
        saved.read_exact_at(&mut gap, free).unwrap();
        assert!(
            gap.iter().all(|b| *b == 0),
            "free blocks before {:?} are in the image",
            range.bytes
        );
        free = free.max(range.bytes.end);
    }
    judge::all(&ran.path("saved.img"));
    let ran = ran.again().args(["diff", "out/one.img", "saved.img.xz"]).run();
    assert_eq!(ran.stdout, "");
    // Keys of the node are in it.
    use std::os::unix::fs::PermissionsExt;
    let mode = fs::metadata(ran.path("saved.img.xz"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    // And it can be flashed again, checked by its companions.
    card(&ran.path("again.img"), CARD);
    let ran = ran
        .again()
        .args(["flash", "again.img", "--image", "saved.img.xz", "--yes"])
        .run();
    let ran = ran.again().args(["diff", "card.img", "again.img"]).run();
    assert_eq!(ran.stdout, "");
}
