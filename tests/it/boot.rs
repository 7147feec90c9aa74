//! `boot`, with a shell script in place of QEMU: states, faults, time limits, what is left behind. What is written to
//! cards is judged by `qemu-img`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::cli::{Ran, Test};
use crate::support::tools;

/// Writes down that it runs, says that the kernel begins, plays the scene and waits for its end.
const QEMU: &str = r#"#!/bin/sh
trap 'exit 0' TERM
wait_for_end() { while :; do sleep 0.05; done; }
log=
for word in "$@"; do
  case $word in file,id=console,*) log=${word##*path=} ;; esac
done
[ -n "$log" ] || { echo "$$ gateway $*" >>"$LOG"; wait_for_end; }
node=$(basename "$log" .log)
echo "$$ $node $*" >>"$LOG"
starts=$(grep -c " $node " "$LOG")
say() { echo "$*" >>"$log"; }
say '[    0.000000] Booting Linux on physical CPU 0x0000000000'
. "$SCENE"
wait_for_end
"#;

fn cluster(scene: &str) -> Test {
    let test = Test::new()
        .cluster(
            "cluster: {name: c, domain: c.home.arpa}\n\
             network: {lan: 10.11.0.0/25, gateway: 10.11.0.1}\n\
             defaults: {base: demo, ssh: {host-key: true}, users: {admin: {groups: [sudo]}}}\n\
             nodes:\n\
             \x20 - {name: one, hostname: c-one, profile: p, address: 10.11.0.101/25}\n\
             \x20 - {name: two, profile: p, address: 10.11.0.102/25}\n",
        )
        .profile("p", "edits: [{put: \"boot:/kernel8.img\", content: kernel}]\n")
        .file("bin/qemu-system-aarch64", QEMU)
        .mode("bin/qemu-system-aarch64", 0o755)
        .file("scene", scene)
        .file("log", "");
    staged(test)
}

/// With the script in place of QEMU, its log and its scene, all in the test's own folder.
fn staged(test: Test) -> Test {
    let path = format!("{}:/usr/bin:/bin", test.dir().join("bin").display());
    let (log, scene) = (test.dir().join("log"), test.dir().join("scene"));
    test.env("PATH", path).env("LOG", log).env("SCENE", scene)
}

/// `one`, until it is ready, in the folder of an earlier run or of none.
fn boot_one(test: Test, words: &[&str]) -> Test {
    staged(test)
        .args(["boot", "one", "--until", "ready", "--timeout", "60"])
        .args(words)
}

fn events(ran: &Ran, kind: &str) -> Vec<Value> {
    ran.stdout
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|event| event["event"] == kind)
        .collect()
}

/// The states of a node in order.
fn states(ran: &Ran, node: &str) -> Vec<String> {
    events(ran, "state")
        .iter()
        .filter(|event| event["node"] == node)
        .map(|event| {
            let words = [&event["state"], &event["step"]].map(|v| v.as_str().unwrap_or_default());
            words.join(" ").trim_end().to_owned()
        })
        .collect()
}

/// No emulator of a run is alive.
fn all_gone(log: &Path) {
    let text = fs::read_to_string(log).unwrap();
    assert!(!text.is_empty(), "no emulator was started");
    for line in text.lines() {
        let pid: i32 = line.split(' ').next().unwrap().parse().unwrap();
        let pid = rustix::process::Pid::from_raw(pid).unwrap();
        assert!(
            rustix::process::test_kill_process(pid).is_err(),
            "left behind: {line}"
        );
    }
}

const WELL: &str = "say \"$node login: \"\nsay 'ceil-first-boot: join begin'\nsleep 0.3\n\
                    say 'ceil-first-boot: join done 3'\nsay 'ceil-first-boot: ready'\n";

#[test]
fn nodes_boot_until_they_are_ready_and_are_those_that_build_makes() {
    let ran = cluster(WELL).args(["build", "--all", "--format", "none"]).run();
    let mut built = Vec::new();
    for node in ["one", "two"] {
        let manifest: Value =
            serde_json::from_slice(&ran.read(&format!("out/{node}.manifest.json"))).unwrap();
        built.push(manifest["image"]["content"].clone());
    }
    let ran = staged(ran.again())
        .args(["boot", "--all", "--json", "--until", "ready", "--timeout", "60"])
        .run();
    let booted: Vec<Value> = events(&ran, "booted")
        .iter()
        .map(|e| e["content"].clone())
        .collect();
    assert_eq!(booted, built);
    assert_eq!(
        states(&ran, "two"),
        ["booting", "login", "step join", "step join", "ready"]
    );
    let forwards = events(&ran, "forward");
    assert_eq!(forwards.len(), 2);
    assert_eq!(
        (&forwards[0]["address"], &forwards[0]["port"]),
        (&"10.11.0.101".into(), &22.into())
    );
    // Consoles stay, what holds secrets goes.
    assert_eq!(ran.names("out/boot"), ["one.log", "two.log"]);
    assert_eq!(
        fs::metadata(ran.path("out/boot")).unwrap().permissions().mode() & 0o777,
        0o700
    );
    all_gone(&ran.path("log"));
    let log = String::from_utf8(ran.read("log")).unwrap();
    assert!(
        log.contains("restrict=on,net=10.11.0.0/25,host=10.11.0.1"),
        "{log}"
    );
}

#[test]
fn a_command_finds_its_way_and_its_exit_code_decides() {
    let command = "set -e\ncp -r \"$CEIL_BOOT_DIR\" seen\ncp \"$CEIL_SSH_CONFIG\" seen/config\nexit 7\n";
    let ran = cluster(WELL)
        .file("try.sh", command)
        .args(["boot", "--all", "--timeout", "60", "--", "/bin/sh", "try.sh"])
        .status(1)
        .stderr_has("exit status: 7")
        .run();
    let config = String::from_utf8(ran.read("seen/config")).unwrap();
    let known = String::from_utf8(ran.read("seen/known_hosts")).unwrap();
    for part in [
        "Host one c-one\n",
        "  HostName 127.0.0.1\n",
        "  HostKeyAlias c-one\n",
        "  User admin\n",
        "yes",
    ] {
        assert!(config.contains(part), "{config}");
    }
    assert!(known.starts_with("c-one ssh-ed25519 "), "{known}");
    for name in ran.names("seen") {
        let mode = fs::metadata(ran.path("seen").join(&name))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o077, 0, "{name}");
    }
    all_gone(&ran.path("log"));
}

#[test]
fn a_node_that_is_late_is_named_with_its_step_and_console() {
    let scene =
        "say 'ceil-first-boot: join begin'\nsay 'ceil-first-boot: join failed no answer from 10.11.0.1'\n";
    let ran = cluster(&format!(
        "[ \"$node\" = two ] && {{ {WELL} wait_for_end; }}\n{scene}"
    ))
    .args(["boot", "--all", "--until", "ready", "--timeout", "3"])
    .status(1)
    .stderr_has("not all nodes got there in 3 s")
    .stderr_has("node `one` is failed join: no answer from 10.11.0.1 (last step: join)")
    .stderr_has("    ceil-first-boot: join begin")
    .stderr_has("out/boot/one.log")
    .run();
    assert!(!ran.stderr.contains("node `two` is"), "{}", ran.stderr);
    assert_eq!(ran.names("out/boot"), ["one.log", "two.log"]);
    all_gone(&ran.path("log"));
}

#[test]
fn f252_power_is_cut_once_in_a_step_and_the_card_goes_on() {
    let scene = "say 'ceil-first-boot: join begin'\n\
                 if [ \"$node\" = one ]; then [ \"$starts\" = 2 ] || wait_for_end; fi\n\
                 say 'ceil-first-boot: ready'\n";
    let ran = cluster(scene)
        .args(["boot", "--all", "--json", "--until", "ready", "--timeout", "60"])
        .args(["--fault", "power-cut@one:join"])
        .run();
    assert_eq!(
        states(&ran, "one"),
        ["booting", "off", "booting", "step join", "ready"]
    );
    assert_eq!(states(&ran, "two"), ["booting", "step join", "ready"]);
    let cut = events(&ran, "state")
        .into_iter()
        .find(|e| e["state"] == "off")
        .unwrap();
    assert_eq!(cut["fault"], "power-cut@join");
    let log = String::from_utf8(ran.read("log")).unwrap();
    let cards: Vec<&str> = log.lines().filter(|l| l.contains(" one ")).collect();
    let card = |line: &str| {
        line.split("discard=unmap,cache=writeback,file=")
            .nth(1)
            .unwrap()
            .split(' ')
            .next()
            .unwrap()
            .to_owned()
    };
    assert_eq!(cards.len(), 2);
    assert_eq!(card(cards[0]), card(cards[1]));
}

#[test]
fn f110_a_late_node_gets_its_power_later_and_clocks_show_what_they_should() {
    let ran = cluster("say 'ceil-first-boot: ready'\n")
        .args(["boot", "--all", "--json", "--until", "ready", "--timeout", "60"])
        .args([
            "--fault",
            "late=two:2",
            "--fault",
            "clock=2024-02-29",
            "--fault",
            "no-uplink",
        ])
        .run();
    let first = |node: &str| {
        let events = events(&ran, "state");
        let of_node = events.iter().find(|e| e["node"] == node).unwrap();
        of_node["at"].as_u64().unwrap()
    };
    assert_eq!(first("one"), 0);
    assert!(first("two") >= 2);
    assert!(
        ran.read("log")
            .windows(24)
            .any(|w| w == b"base=2024-02-29T00:00:00")
    );
}

#[test]
fn a_node_that_switches_itself_off_ends_the_wait() {
    cluster("say 'ceil-first-boot: join begin'\nexit 0\n")
        .args(["boot", "one", "--until", "login", "--timeout", "60"])
        .status(1)
        .stderr_has("node `one` switched itself off")
        .run();
    cluster("echo 'no such machine' >&2\nexit 3\n")
        .args(["boot", "one", "--until", "login", "--timeout", "60"])
        .status(1)
        .stderr_has("the emulator of node `one` ended")
        .stderr_has("no such machine")
        .run();
}

#[test]
fn a_missing_emulator_is_a_sentence_with_its_packages() {
    let ran = cluster(WELL)
        .env("PATH", "/nowhere")
        .args(["boot", "one"])
        .status(1)
        .stderr_has("`qemu-system-arm`")
        .stderr_has("Homebrew's `qemu`")
        .run();
    assert!(ran.names("out").is_empty());
}

#[test]
fn faults_of_nodes_that_are_not_there_are_refused() {
    cluster(WELL)
        .args(["boot", "one", "--fault", "late=two:5"])
        .status(1)
        .stderr_has("no node `two`")
        .run();
    cluster(WELL)
        .args(["boot", "one", "--fault", "flood"])
        .status(2)
        .stderr_has("power-cut@NODE:STEP")
        .run();
    cluster(WELL)
        .args(["boot", "one", "--uplink", "--fault", "no-uplink"])
        .status(1)
        .stderr_has("contradict")
        .run();
}

#[test]
fn cards_are_kept_and_gone_on_with_when_that_is_wished() {
    let ran = boot_one(cluster(WELL), &["--resume"])
        .status(1)
        .stderr_has("`--keep`")
        .run();
    let ran = boot_one(ran.again(), &["--keep"]).run();
    assert!(ran.names("out/boot").contains(&"one.qcow2".to_owned()));
    let card = ran.path("out/boot/one.qcow2");
    let mut changed = fs::read(&card).unwrap();
    changed.extend([0; 512]);
    fs::write(&card, &changed).unwrap();
    let ran = boot_one(ran.again(), &["--resume"]).run();
    assert_eq!(fs::read(&card).unwrap(), changed);
    // A node that is new beside it.
    let ran = boot_one(ran.again(), &["two", "--resume"])
        .stderr_has("node `two` is new here")
        .run();
    assert_eq!(fs::read(&card).unwrap(), changed);
    assert!(ran.names("out/boot").contains(&"two.qcow2".to_owned()));
    let other = "edits: [{put: \"boot:/kernel8.img\", content: another}]\n";
    boot_one(ran.again().profile("p", other), &["--resume"])
        .status(1)
        .stderr_has("made from another plan")
        .run();
}

const DISKS: &str = "edits: [{put: \"boot:/kernel8.img\", content: kernel}]\n\
                     disks:\n\
                     \x20 data: {id: usb-Some_Disk_0001-0:0, mount: /srv/data}\n\
                     \x20 spare: {label: spare, mount: /srv/spare}\n\
                     \x20 sata: {id: ata-Some_Disk-1, mount: /srv/sata}\n\
                     \x20 inside: {file: 64MiB}\n";

#[test]
fn data_disks_are_plugged_in_under_their_ids_and_files_stay_as_they_are() {
    let image: Vec<u8> = (0..1 << 20).map(|n| (n / 4096 % 251) as u8).collect();
    let boot = |test: Test, words: &[&str]| {
        boot_one(test, words).args(["--disk", "one:data=8MiB", "--disk", "one:spare=old.img"])
    };
    let test = cluster(WELL).profile("p", DISKS).file("old.img", &image);
    let ran = boot(test, &["--keep"]).run();
    let log = String::from_utf8(ran.read("log")).unwrap();
    for part in [
        "-device usb-bot,id=usb0,serial=0001",
        "vendor=Some,product=Disk,serial=0001",
        "-device virtio-blk-pci,drive=disk1,serial=spare",
    ] {
        assert!(log.contains(part), "{log}");
    }
    let disk = |name: &str| ran.path(&format!("out/boot/one.{name}.qcow2"));
    for name in ["data", "spare"] {
        let mode = fs::metadata(disk(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    if tools::have(&["qemu-img"]) {
        let info = tools::run(
            Command::new("qemu-img")
                .args(["info", "--output=json"])
                .arg(disk("data")),
        );
        let info: Value = serde_json::from_slice(&info).unwrap();
        assert_eq!(info["virtual-size"], 8 << 20);
        tools::run(
            Command::new("qemu-img")
                .args(["compare", "-s", "-F", "raw"])
                .arg(disk("spare"))
                .arg(ran.path("old.img")),
        );
        let write = ["-c", "write -P 7 0 64k"];
        tools::run(Command::new("qemu-io").args(write).arg(disk("spare")));
    }
    assert_eq!(ran.read("old.img"), image);

    // What nodes wrote is there at the next start.
    let before = fs::read(disk("spare")).unwrap();
    let ran = boot(ran.again(), &["--resume"]).run();
    assert_eq!(ran.read("out/boot/one.spare.qcow2"), before);
    let ran = boot(ran.again(), &[]).run();
    assert_eq!(ran.names("out/boot"), ["one.log"]);
}

#[test]
fn disks_that_are_none_of_the_nodes_are_refused() {
    for (disk, more, says) in [
        ("two:data=1GiB", &[][..], "no node `two` among those booted"),
        ("one:dta=1GiB", &[], "has no disk `dta`"),
        ("one:sata=1GiB", &[], "`usb-` or `virtio-`"),
        ("one:inside=1GiB", &[], "a file on the root volume"),
        ("one:data=no-such.img", &[], "no-such.img"),
        ("one:data=1GiB", &["--disk", "one:data=2GiB"], "given twice"),
        (
            "one:data=1GiB",
            &["--machine", "raspi3b"],
            "has no data disks in the emulator",
        ),
    ] {
        let ran = cluster(WELL)
            .profile("p", DISKS)
            .args(["boot", "one", "--until", "ready", "--disk", disk])
            .args(more)
            .status(1)
            .stderr_has(says)
            .run();
        assert_eq!(ran.read("log"), b"", "{disk}");
    }
    cluster(WELL)
        .args(["boot", "one", "--disk", "one=1GiB"])
        .status(2)
        .stderr_has("`NODE:DISK=SIZE`")
        .run();
}

#[test]
fn an_interrupt_leaves_no_guest_behind() {
    let test = cluster("say \"$node login: \"\n").args(["boot", "--all"]);
    let mut child = test
        .command()
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let log = test.dir().join("log");
    let begin = Instant::now();
    while fs::read_to_string(&log).unwrap().lines().count() < 3 {
        assert!(
            begin.elapsed() < Duration::from_secs(60),
            "emulators do not start"
        );
        thread::sleep(Duration::from_millis(20));
    }
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert!(child.wait().unwrap().success());
    all_gone(&log);
    assert!(!test.dir().join("out/boot/one.qcow2").exists());
}

#[test]
fn cards_hold_what_the_image_holds_by_qemu_img() {
    if !tools::have(&["qemu-img"]) {
        return;
    }
    let grown = "edits:\n  - {put: \"boot:/kernel8.img\", content: kernel}\n  - {grow: {root: \"+100MiB\"}}\n\
                 \x20 - {put: \"root:/opt/zeroes\", from: zeroes}\n";
    let ran = cluster(WELL)
        .profile("p", grown)
        .file("profiles/zeroes", vec![0; 3 << 20])
        .args(["build", "one"])
        .run();
    let image = ran.path("out/one.img");
    // Once with the whole image in the card, once over a base that is a file; never is the base written.
    fs::copy(&image, ran.path("base.img")).unwrap();
    let before = fs::read(ran.path("base.img")).unwrap();
    let mut test = ran.again();
    for (base, built) in [("demo", "out"), ("base.img", "out2")] {
        let path = test.dir().to_owned();
        let ran = test.args(["build", "one", "--base", base, "--out", built]).run();
        test = ran
            .again()
            .env("PATH", format!("{}:/usr/bin:/bin", path.join("bin").display()))
            .env("LOG", path.join("log"))
            .env("SCENE", path.join("scene"))
            .args(["boot", "one", "--base", base, "--keep", "--card", "2GiB"])
            .args(["--until", "ready", "--timeout", "60"]);
        let ran = test.run();
        let card = ran.path("out/boot/one.qcow2");
        let judge = |words: &[&str], paths: &[&Path]| {
            let out = Command::new(tools::find("qemu-img").unwrap())
                .args(words)
                .args(paths)
                .output()
                .unwrap();
            assert!(out.status.success(), "{base}: {out:?}");
            String::from_utf8(out.stdout).unwrap()
        };
        judge(&["check"], &[&card]);
        judge(&["compare"], &[&card, &ran.path(built).join("one.img")]);
        let info = judge(&["info", "-U"], &[&card]);
        assert!(info.contains("virtual size: 2 GiB"), "{info}");
        assert_eq!(
            info.contains("backing file format: raw"),
            base != "demo",
            "{info}"
        );
        assert_eq!(fs::metadata(&card).unwrap().permissions().mode() & 0o777, 0o600);
        if base != "demo" {
            assert!(fs::metadata(&card).unwrap().len() < 8 << 20, "{info}");
        }
        test = ran.again();
    }
    assert_eq!(fs::read(test.dir().join("base.img")).unwrap(), before);
}
