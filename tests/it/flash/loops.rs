//! F232, F234, F236, F239: loop devices as cards, judged by the kernel. Needs root.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::files::{CARD, card, events, fails, same_as_built};
use crate::support::cli::{Ran, Test};
use crate::support::{judge, tools};

/// A file that the kernel shows as a disk; detached at the end.
struct Loop {
    device: PathBuf,
}

impl Loop {
    /// None where that cannot be had.
    fn new(file: &Path) -> Option<Self> {
        if !tools::is_root() || !tools::have(&["losetup", "mount", "umount"]) {
            tools::skip("loop devices need root and losetup");
            return None;
        }
        let out = tools::output(
            tools::command("losetup")
                .args(["--find", "--show", "--partscan"])
                .arg(file),
        );
        if !out.status.success() {
            tools::skip("no loop device is to be had");
            return None;
        }
        let device = PathBuf::from(String::from_utf8(out.stdout).unwrap().trim());
        Some(Self { device })
    }

    fn name(&self) -> &str {
        self.device.to_str().unwrap()
    }

    fn part(&self, number: u32) -> String {
        format!("{}p{number}", self.name())
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = Command::new(tools::find("losetup").unwrap())
            .arg("--detach")
            .arg(&self.device)
            .output();
    }
}

fn test() -> Test {
    Test::new()
        .cluster("cluster: {name: c}\nnodes: [{name: one, profile: minimal, base: demo}, {name: two, profile: minimal, base: demo}]\n")
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
}

fn flash(test: Test, device: &str, node: &str) -> Test {
    test.args(["flash", device, node, "--yes", "--allow-fixed", "--json"])
}

#[test]
fn f232_the_kernel_sees_and_mounts_what_was_written() {
    let test = test();
    let file = test.dir().join("card.img");
    card(&file, CARD);
    let Some(disk) = Loop::new(&file) else { return };
    let ran = flash(test, disk.name(), "one").run();
    assert_eq!(events(&ran, "flashed").len(), 1, "{}", ran.stderr);
    // Past the cache is the rule on a disk.
    assert!(!ran.stderr.contains("proves less") && !ran.stdout.contains("proves less"));
    let ran = ran.again().args(["build", "one"]).run();
    same_as_built(&disk.device, &ran.path("out"), "one");
    // Where the kernel knows such tables, it has read this one by itself.
    if !Path::new(&disk.part(1)).exists() {
        tools::say("this kernel reads no partition tables");
    }
    for (number, partition) in judge::partitions(&disk.device).iter().enumerate() {
        let number = number as u32 + 1;
        assert_eq!(partition.number, number);
        if partition.is_boot() {
            judge::fsck_vfat(&disk.device, partition);
        } else {
            judge::e2fsck(&disk.device, partition);
            let mounted = judge::Mount::read_only(&disk.device, partition).unwrap();
            assert_eq!(
                fs::read_to_string(mounted.dir.join("etc/hostname")).unwrap(),
                "one\n"
            );
        }
    }
}

/// A disk that is mounted: it is unmounted and written, unless somebody has a file open there.
#[test]
fn f234_a_mounted_card_is_unmounted_or_refused() {
    let test = test();
    let file = test.dir().join("card.img");
    card(&file, CARD);
    let Some(disk) = Loop::new(&file) else { return };
    tools::run(tools::command("mke2fs").args(["-q", "-t", "ext4", disk.name()]));
    let point = test.dir().join("mnt here");
    fs::create_dir(&point).unwrap();
    tools::run(
        tools::command("mount")
            .args(["-t", "ext4", disk.name()])
            .arg(&point),
    );
    fs::write(point.join("precious"), "kept").unwrap();
    let held = File::open(point.join("precious")).unwrap();
    let ran = flash(test, disk.name(), "one").any_status().run();
    let kept = fs::read_to_string(point.join("precious"));
    drop(held);
    if ran.code != Some(1) || kept.is_err() {
        let _ = tools::output(tools::command("umount").arg(&point));
    }
    assert_eq!(ran.code, Some(1));
    assert!(
        ran.stderr.contains("cannot unmount") && ran.stderr.contains("mnt here"),
        "{}",
        ran.stderr
    );
    assert_eq!(kept.unwrap(), "kept");
    let path = "/usr/sbin:/usr/bin:/sbin:/bin";
    let ran = flash(ran.again().env("PATH", path), disk.name(), "two")
        .any_status()
        .run();
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let _ = tools::output(tools::command("umount").arg(&point));
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(!mounts.contains(&format!("{} ", disk.name())), "{mounts}");
    let ran = ran.again().args(["cat", disk.name(), "root:/etc/hostname"]).run();
    assert_eq!(ran.stdout, "two\n");
    // Claimed, as by another writer.
    let claim = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags_excl()
        .open(&disk.device)
        .unwrap();
    let ran = fails(
        flash(ran.again().env("PATH", path), disk.name(), "one"),
        &["is in use by another program"],
    );
    drop(claim);
    let ran = ran.again().args(["cat", disk.name(), "root:/etc/hostname"]).run();
    assert_eq!(ran.stdout, "two\n");
}

trait Exclusive {
    fn custom_flags_excl(&mut self) -> &mut Self;
}

impl Exclusive for fs::OpenOptions {
    fn custom_flags_excl(&mut self) -> &mut Self {
        use std::os::unix::fs::OpenOptionsExt;
        self.custom_flags(rustix::fs::OFlags::EXCL.bits() as i32)
    }
}

/// F236: without the flag a loop device is no card, and the disk of the running system never is.
#[test]
fn f236_flags_and_the_running_system() {
    let test = test();
    let file = test.dir().join("card.img");
    card(&file, CARD);
    let Some(disk) = Loop::new(&file) else { return };
    let ran = fails(
        test.args(["flash", disk.name(), "one", "--yes"]),
        &["it is a file that the system shows as a disk", "--allow-fixed"],
    );
    let ran = fails(
        ran.again()
            .args(["flash", &disk.part(1), "one", "--yes", "--allow-fixed"]),
        &["there is no"],
    );
    let ran = ran.again().args(["devices", "--all", "--json"]).run();
    let system: Vec<Value> = ran
        .stdout
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|disk| disk["system"] == true)
        .collect();
    let mut ran = ran;
    for found in &system {
        let device = found["device"].as_str().unwrap();
        ran = fails(
            ran.again().args([
                "flash",
                device,
                "one",
                "--yes",
                "--allow-fixed",
                "--allow-large",
                "--allow-member",
            ]),
            &["the running system lives from it"],
        );
        assert!(!ran.stderr.contains("--allow"), "no flag helps: {}", ran.stderr);
    }
}

/// The kernel's own switch: a device that turned read-only.
#[test]
fn f238_a_read_only_device_is_refused() {
    let test = test();
    let file = test.dir().join("card.img");
    card(&file, CARD);
    let Some(disk) = Loop::new(&file) else { return };
    if !tools::have(&["blockdev"]) {
        return;
    }
    tools::run(tools::command("blockdev").args(["--setro", disk.name()]));
    let ran = flash(test, disk.name(), "one").any_status().run();
    tools::run(tools::command("blockdev").args(["--setrw", disk.name()]));
    assert_eq!(ran.code, Some(1));
    assert!(
        ran.stderr.contains("it is write-protected") && ran.stderr.contains("LOCK"),
        "{}",
        ran.stderr
    );
}

/// The file behind the device has no room: the kernel says so in the middle of writing.
#[test]
fn a_device_that_fails_in_the_middle_boots_nothing() {
    let test = test();
    let small = test.dir().join("small");
    fs::create_dir(&small).unwrap();
    if !tools::is_root() || !tools::have(&["mount", "umount"]) {
        return;
    }
    tools::run(
        tools::command("mount")
            .args(["-t", "tmpfs", "-o", "size=12m", "tmpfs"])
            .arg(&small),
    );
    let file = small.join("card.img");
    File::create(&file).unwrap().set_len(CARD).unwrap();
    let good = test.dir().join("good.img");
    card(&good, CARD);
    let disk = Loop::new(&file);
    let ran = disk.as_ref().map(|disk| {
        test.args([
            "flash",
            &format!("one={}", disk.name()),
            "two=good.img",
            "--yes",
            "--allow-fixed",
        ])
        .any_status()
        .run()
    });
    let mut head = vec![0xa5; 1 << 20];
    File::open(&file).unwrap().read_exact_at(&mut head, 0).unwrap();
    drop(disk);
    let _ = tools::output(tools::command("umount").arg(&small));
    let Some(ran) = ran else { return };
    assert_eq!(ran.code, Some(1));
    assert!(
        ran.stderr.contains("could not flash one to /dev/loop"),
        "{}",
        ran.stderr
    );
    assert!(ran.stderr.contains("1 of 2 cards failed"), "{}", ran.stderr);
    assert!(head.iter().all(|b| *b == 0), "the first MiB is not zero");
    // The other card is right all the same.
    assert_eq!(ran.stdout, "good.img  two\n");
    let ran = ran.again().args(["build", "two"]).run();
    same_as_built(&good, &ran.path("out"), "two");
}

/// The writing process that `--sudo` starts: the test is the other end of its pipes.
#[test]
fn the_writer_alone_gets_its_bytes_through_pipes() {
    let test = test();
    let file = test.dir().join("card.img");
    card(&file, CARD);
    let Some(disk) = Loop::new(&file) else { return };
    let ran = test.args(["build", "one"]).run();
    let image = File::open(ran.path("out/one.img")).unwrap();
    let len = image.metadata().unwrap().len();
    let map =
        ceil_img::bmap::Bmap::parse(&fs::read_to_string(ran.path("out/one.img.bmap")).unwrap()).unwrap();
    let used: Vec<Value> = map
        .ranges
        .iter()
        .map(|r| json!({"start": r.bytes.start, "end": r.bytes.end}))
        .collect();
    let request = |extra: Value| {
        let mut request = json!({
            "device": disk.device, "size": CARD, "model": file, "image": len, "used": used, "allow_fixed": true,
            "allow_large": false, "allow_member": false, "discard": false, "probe": true, "eject": false,
            "patience": {"secs": 60, "nanos": 0},
        });
        for (key, value) in extra.as_object().unwrap() {
            request[key] = value.clone();
        }
        request
    };
    let talk = |request: Value| -> Value {
        let mut child = Command::new(env!("CARGO_BIN_EXE_ceil-img"))
            .arg("flash-writer")
            .env_clear()
            .env("HOME", ran.path("home"))
            .env("PATH", "/nowhere")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut to = child.stdin.take().unwrap();
        writeln!(to, "{request}").unwrap();
        let mut last = Value::Null;
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            last = serde_json::from_str(&line.unwrap()).unwrap();
            let Some(read) = last.get("read") else { continue };
            let mut bytes = vec![0; read["len"].as_u64().unwrap() as usize + 1];
            image
                .read_exact_at(&mut bytes[1..], read["at"].as_u64().unwrap())
                .unwrap();
            to.write_all(&bytes).unwrap();
        }
        drop(to);
        assert!(child.wait().unwrap().success());
        last
    };
    // What it is asked to do is judged by the process that has the rights.
    for (extra, words) in [
        (
            json!({"allow_fixed": false}),
            "it is a file that the system shows as a disk",
        ),
        (json!({"size": CARD + 1}), "is another disk than before"),
        (json!({"model": "another"}), "is another disk than before"),
        (json!({"image": CARD + 4096}), "too small"),
        (
            json!({"used": [{"start": 8192, "end": 4096}]}),
            "not those of an image",
        ),
        (
            json!({"used": [{"start": 0, "end": CARD}]}),
            "not those of an image",
        ),
        (json!({"device": "/dev/null"}), "not a disk"),
    ] {
        let said = talk(request(extra.clone()));
        let text = said["failed"]["text"]
            .as_str()
            .unwrap_or_else(|| panic!("{extra}: {said}"));
        assert!(text.contains(words), "{extra}: {text}");
    }
    let mut head = vec![0; 1 << 20];
    File::open(&file).unwrap().read_exact_at(&mut head, 0).unwrap();
    assert!(
        head.iter().all(|b| *b == 0xa5),
        "a refused request touched the card"
    );
    let said = talk(request(json!({})));
    assert!(said["done"]["written"].as_u64().unwrap() > 0, "{said}");
    same_as_built(&disk.device, &ran.path("out"), "one");
}

/// A user who may not write is told what to run; with `--sudo` only the writer runs as root, with no other words.
#[test]
fn without_rights_the_way_is_named_and_sudo_runs_the_writer_alone() {
    let sudo = "#!/bin/sh\necho \"$# $1 $(basename \"$2\") $3\" >\"$HOME/sudo.log\"\nhead -c 1 >/dev/null\necho '{\"failed\":{\"text\":\"as the test wanted\",\"causes\":[],\"hints\":[\"none\"]}}'\n";
    let test = test().file("bin/sudo", sudo).mode("bin/sudo", 0o755);
    let path = format!("{}:/usr/bin:/bin", test.dir().join("bin").display());
    let file = test.dir().join("card.img");
    card(&file, CARD);
    let Some(disk) = Loop::new(&file) else { return };
    fs::set_permissions(&disk.device, fs::Permissions::from_mode(0o600)).unwrap();
    let run = |test: Test, more: &[&str]| -> Ran {
        let mut args = vec!["flash", disk.name(), "one", "--yes", "--allow-fixed"];
        args.extend(more);
        test.env("PATH", &path).user(65534).args(args).status(1).run()
    };
    let ran = run(test, &[]);
    for word in ["is not yours to write", "--sudo", "sudo chown"] {
        assert!(ran.stderr.contains(word), "{word}: {}", ran.stderr);
    }
    let ran = run(ran.again(), &["--sudo"]);
    assert!(
        ran.stderr.contains("as the test wanted") && ran.stderr.contains("hint: none"),
        "{}",
        ran.stderr
    );
    assert_eq!(
        fs::read_to_string(ran.path("home/sudo.log")).unwrap(),
        "3 -- ceil-img flash-writer\n"
    );
    let mut byte = [0];
    File::open(&file).unwrap().read_exact(&mut byte).unwrap();
    assert_eq!(byte, [0xa5]);
}
