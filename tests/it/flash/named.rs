//! Flags of hypriot/flash: an image gets a name, a WiFi and files, on every family of bases, and is judged by mtools.

use std::fs;

use super::files::{CARD, boot_text, card, fails};
use crate::support::bases::{Base, all, base};
use crate::support::cli::{Ran, Test};
use crate::support::judge::{self, ext4_cat};

const USER_DATA: &str =
    "#cloud-config\nhostname: black-pearl\nmanage_etc_hosts: true\ntimezone: Europe/Berlin\n";

fn test(base: &Base) -> Test {
    let test = Test::new()
        .file("user-data.yml", USER_DATA)
        .file("meta-data", "instance-id: mine\n")
        .file("net.yml", "version: 2\nethernets: {eth0: {dhcp4: true}}\n")
        .file("my-config.txt", "gpu_mem=16\n")
        .file("extra.txt", "more\n")
        .file("device.xml", "<x/>\n");
    fs::copy(&base.path, test.dir().join("base.img")).unwrap();
    card(&test.dir().join("card.img"), CARD);
    test
}

fn flash(test: Test, args: &[&str]) -> Ran {
    let mut all = vec!["flash", "base.img"];
    all.extend(args);
    test.args(all).run()
}

fn root_text(ran: &Ran, path: &str) -> String {
    let card = ran.path("card.img");
    let root = judge::partitions(&card)
        .into_iter()
        .find(|p| !p.is_boot())
        .unwrap();
    String::from_utf8(ext4_cat(&card, &root, path)).unwrap()
}

#[test]
fn files_go_to_the_boot_volume_as_they_are() {
    let Some(base) = base("hypriot") else { return };
    let ran = flash(
        test(&base),
        &[
            "-d",
            "card.img",
            "-u",
            "user-data.yml",
            "-m",
            "meta-data",
            "-C",
            "my-config.txt",
            "-F",
            "extra.txt",
            "-F",
            "device.xml",
            "-f",
        ],
    );
    judge::all(&ran.path("card.img"));
    for (path, text) in [
        ("/user-data", USER_DATA),
        ("/meta-data", "instance-id: mine\n"),
        ("/config.txt", "gpu_mem=16\n"),
        ("/extra.txt", "more\n"),
        ("/device.xml", "<x/>\n"),
    ] {
        assert_eq!(boot_text(&ran, path), text, "{path}");
    }
}

#[test]
fn long_names_mean_the_same() {
    let Some(base) = base("hypriot") else { return };
    let short = [
        "-d",
        "card.img",
        "-n",
        "one",
        "-u",
        "user-data.yml",
        "-m",
        "meta-data",
        "-C",
        "my-config.txt",
        "-F",
        "extra.txt",
        "-f",
    ];
    let long = [
        "--device",
        "card.img",
        "--hostname",
        "one",
        "--userdata",
        "user-data.yml",
        "--metadata",
        "meta-data",
        "--bootconf",
        "my-config.txt",
        "--file",
        "extra.txt",
        "--force",
    ];
    let short = flash(test(&base), &short);
    let long = flash(test(&base), &long);
    assert!(short.read("card.img") == long.read("card.img"));
    assert_eq!(short.stdout, "card.img  one\n");
}

/// The name takes the place of the one in the user's own text; the rest of that stays.
#[test]
fn a_host_name_goes_into_the_users_text() {
    for base in all() {
        let ran = flash(
            test(&base),
            &["-d", "card.img", "-n", "treasure", "-u", "user-data.yml", "-f"],
        );
        judge::all(&ran.path("card.img"));
        assert_eq!(root_text(&ran, "/etc/hostname"), "treasure\n", "{}", base.family);
        if ["hypriot", "rpi64", "raspios-trixie", "ubuntu-raspi"].contains(&base.family) {
            let text = boot_text(&ran, "/user-data");
            assert!(text.starts_with("#cloud-config\n"), "{}: {text}", base.family);
            assert!(
                text.contains("hostname: \"treasure\"\n"),
                "{}: {text}",
                base.family
            );
            assert!(
                text.contains("timezone: Europe/Berlin\n"),
                "{}: {text}",
                base.family
            );
            assert!(!text.contains("black-pearl"), "{}: {text}", base.family);
            let meta = boot_text(&ran, "/meta-data");
            assert!(
                meta.contains("instance-id: flash-treasure-"),
                "{}: {meta}",
                base.family
            );
        }
    }
}

#[test]
fn a_wifi_is_joined_on_every_base() {
    for base in all() {
        // This one has no way to WiFi that we know.
        if base.family == "debian-gpt" {
            continue;
        }
        let ran = flash(
            test(&base),
            &[
                "-d",
                "card.img",
                "-n",
                "one",
                "-s",
                "attic",
                "-p",
                "a passphrase",
                "--wifi-country",
                "DE",
                "-f",
            ],
        );
        judge::all(&ran.path("card.img"));
        let text = String::from_utf8_lossy(&ran.read("card.img")).into_owned();
        // Some files have the name in hexadecimal digits.
        assert!(
            text.contains("attic") || text.contains("6174746963"),
            "{}",
            base.family
        );
        assert!(
            !text.contains("a passphrase"),
            "{}: the passphrase is on the card",
            base.family
        );
        assert!(!ran.stdout.contains("a passphrase") && !ran.stderr.contains("a passphrase"));
    }
}

#[test]
fn wrong_files_are_refused_before_anything_is_written() {
    let Some(base) = base("hypriot") else { return };
    for (name, text, words) in [
        (
            "user-data.yml",
            "hostname: x\n",
            vec!["user-data.yml:1", "#cloud-config"],
        ),
        ("user-data.yml", "#cloud-config\na: [1\n", vec!["user-data.yml:2"]),
        (
            "user-data.yml",
            "#cloud-config\na: 1\na: 2\n",
            vec!["user-data.yml:3"],
        ),
        ("net.yml", "a: b: c\n", vec!["net.yml:1"]),
        ("meta-data", "a: [1\n", vec!["meta-data:"]),
    ] {
        let test = test(&base).file(name, text);
        let ran = fails(
            test.args([
                "flash",
                "base.img",
                "-d",
                "card.img",
                "-u",
                "user-data.yml",
                "-m",
                "meta-data",
                "--network-config",
                "net.yml",
                "-f",
            ]),
            &words,
        );
        assert!(
            ran.read("card.img").iter().all(|b| *b == 0xa5),
            "{text}: the card was touched"
        );
    }
    for (args, words) in [
        (
            vec!["-s", "attic", "-p", "short", "--wifi-country", "DE"],
            vec!["--password", "8 to 63"],
        ),
        (
            vec!["-s", "attic", "-p", "long enough", "--wifi-country", "de"],
            vec!["--wifi-country de", "capital"],
        ),
        (vec!["-u", "none.yml"], vec!["cannot read `none.yml`"]),
        (
            vec!["-s", "attic", "-p", "-", "--wifi-country", "DE"],
            vec!["nobody to ask"],
        ),
    ] {
        let mut all = vec!["flash", "base.img", "-d", "card.img", "-f"];
        all.extend(args);
        fails(test(&base).args(all), &words);
    }
    // Radios without a country stay off (P38): the flag is asked for by name.
    let ran = test(&base)
        .args(["flash", "base.img", "-d", "card.img", "-s", "attic", "-f"])
        .any_status()
        .run();
    assert_eq!(ran.code, Some(2));
    assert!(ran.stderr.contains("--wifi-country"), "{}", ran.stderr);
}
