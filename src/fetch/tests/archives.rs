//! Archives, good and hostile, made by GNU tar where it makes such things and by hand where it does not.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use super::support::*;
use crate::fetch::{CachedFile, FetchRequest, Location, Member, Result};
use crate::values::{ChecksumState, Digest};

fn taken_in(place: &Place, data: &[u8]) -> CachedFile {
    let path = place.file("archive", data);
    let request = FetchRequest::new(Location::Path(path), pinned(None, None));
    place.fetcher().fetch_artifact(&request).unwrap()
}

fn all_of(place: &Place, data: &[u8]) -> Result<Vec<Member>> {
    place.fetcher().members(&taken_in(place, data), &|_| true)
}

/// A header with this name, kind and link, as ustar has it, and its data.
fn entry(name: &[u8], kind: u8, link: &[u8], data: &[u8]) -> Vec<u8> {
    let mut head = [0u8; 512];
    head[..name.len()].copy_from_slice(name);
    head[100..108].copy_from_slice(b"0000755\0");
    head[108..116].copy_from_slice(b"0000000\0");
    head[116..124].copy_from_slice(b"0000000\0");
    head[124..136].copy_from_slice(format!("{:011o}\0", data.len()).as_bytes());
    head[136..148].copy_from_slice(b"00000000000\0");
    head[156] = kind;
    head[157..157 + link.len()].copy_from_slice(link);
    head[257..265].copy_from_slice(b"ustar\x0000");
    head[148..156].copy_from_slice(b"        ");
    let sum: u32 = head.iter().map(|b| u32::from(*b)).sum();
    head[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut out = head.to_vec();
    out.extend_from_slice(data);
    out.resize(out.len().div_ceil(512) * 512, 0);
    out
}

fn archive(entries: &[Vec<u8>]) -> Vec<u8> {
    let mut data = entries.concat();
    data.resize(data.len() + 1024, 0);
    data
}

fn tree(dir: &Path) {
    let long = format!("{}/{}", "d".repeat(90), "n".repeat(120));
    for (name, data, mode) in [
        ("bin/ctr", &b"program\n"[..], 0o755),
        ("bin/LICENSE", b"words\n", 0o644),
        (long.as_str(), b"long\n", 0o600),
    ] {
        let path = dir.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, data).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    }
    std::fs::hard_link(dir.join("bin/ctr"), dir.join("bin/ctr2")).unwrap();
    std::os::unix::fs::symlink("../bin/LICENSE", dir.join("bin/COPYING")).unwrap();
    std::os::unix::fs::symlink("bin", dir.join("folder")).unwrap();
}

#[test]
fn members_of_every_form_that_gnu_tar_writes_are_the_files() {
    let dir = tempfile::tempdir().unwrap();
    tree(dir.path());
    for form in ["gnu", "pax", "posix"] {
        for packing in ["", "--gzip", "--xz", "--zstd", "--bzip2"] {
            let mut tar = Command::new("tar");
            tar.arg("-C").arg(dir.path()).arg(format!("--format={form}"));
            if !packing.is_empty() {
                tar.arg(packing);
            }
            let out = tar.args(["-cf", "-", "."]).output().unwrap();
            assert!(out.status.success(), "{out:?}");
            let place = Place::new();
            let members = all_of(&place, &out.stdout).unwrap();
            let names: Vec<&str> = members.iter().map(|m| m.name.as_str()).collect();
            let long = format!("{}/{}", "d".repeat(90), "n".repeat(120));
            assert_eq!(
                names,
                ["bin/COPYING", "bin/LICENSE", "bin/ctr", "bin/ctr2", &long],
                "{form} {packing}"
            );
            for member in &members {
                let expected = std::fs::read(dir.path().join(&member.name)).unwrap();
                assert_eq!(std::fs::read(&member.file.path).unwrap(), expected);
                assert_eq!(member.file.digest, Digest::sha256(&expected));
                assert_eq!(member.file.len, expected.len() as u64);
                assert_eq!(member.executable, member.name.starts_with("bin/ctr"));
            }
        }
    }
}

#[test]
fn a_member_is_taken_out_once_and_again_when_it_is_gone() {
    let place = Place::new();
    let file = taken_in(
        &place,
        &archive(&[
            entry(b"a", b'0', b"", b"first"),
            entry(b"b", b'0', b"", b"second"),
        ]),
    );
    let get = |name: &str| {
        let got = place.fetcher().members(&file, &|n| n == name).unwrap();
        assert_eq!(got.len(), 1, "{name}");
        (got[0].file.from_cache, got[0].file.path.clone())
    };
    assert!(!get("a").0);
    let (again, path) = get("a");
    assert!(again);
    assert!(!get("b").0);
    std::fs::remove_file(&path).unwrap();
    assert!(!get("a").0);
    assert_eq!(std::fs::read(&path).unwrap(), b"first");
    assert_eq!(file.verified, ChecksumState::None);
    assert!(place.fetcher().members(&file, &|_| false).unwrap().is_empty());
}

#[test]
fn hostile_members_are_refused_and_leave_nothing() {
    let good = || entry(b"good", b'0', b"", b"good");
    let pax = |text: &str| {
        let len = text.len() + 4;
        entry(b"x", b'x', b"", format!("{len:2} {text}\n").as_bytes())
    };
    for (hostile, part) in [
        (
            vec![entry(b"/etc/passwd", b'0', b"", b"x")],
            "`/etc/passwd` is absolute",
        ),
        (vec![entry(b"../x", b'0', b"", b"x")], "`../x` goes up"),
        (vec![entry(b"a/../../x", b'0', b"", b"x")], "goes up"),
        (vec![entry(b"a/../x", b'5', b"", b"")], "goes up"),
        (
            vec![entry(b"l", b'2', b"/etc/passwd", b"")],
            "the link `l` leads out: the name `/etc/passwd` is absolute",
        ),
        (
            vec![entry(b"d/l", b'2', b"../../x", b"")],
            "the link `d/l` leads out",
        ),
        (vec![entry(b"l", b'1', b"../x", b"")], "goes up"),
        (vec![entry(b"l", b'1', b"/etc/shadow", b"")], "is absolute"),
        (vec![entry(b"null", b'3', b"", b"")], "`null` is a device"),
        (vec![entry(b"disk", b'4', b"", b"")], "`disk` is a device"),
        (vec![entry(b"pipe", b'6', b"", b"")], "`pipe` is a pipe"),
        (vec![entry(b"s", b'S', b"", b"")], "sparse"),
        (vec![entry(b"v", b'V', b"", b"")], "unknown kind"),
        (vec![entry(b"a\nb", b'0', b"", b"x")], "control character"),
        (vec![entry(b"a\xff", b'0', b"", b"x")], "not UTF-8"),
        (vec![entry(b"./", b'2', b"good", b"")], "without a name"),
        (vec![entry(b"./good", b'0', b"", b"other")], "`good` twice"),
        (vec![entry(b"good", b'2', b"x", b"")], "`good` twice"),
        (
            vec![pax("path=../../x"), entry(b"fine", b'0', b"", b"x")],
            "goes up",
        ),
        (vec![pax("size=999"), entry(b"fine", b'0', b"", b"x")], "8 GiB"),
        (
            vec![
                entry(b"x", b'L', b"", &vec![b'a'; 70_000]),
                entry(b"fine", b'0', b"", b"x"),
            ],
            "header of more than",
        ),
        (
            vec![
                entry(b"x", b'L', b"", &vec![b'a'; 5000]),
                entry(b"fine", b'0', b"", b"x"),
            ],
            "longer than 4096",
        ),
    ] {
        let mut entries = vec![good()];
        entries.extend(hostile);
        let place = Place::new();
        let text = all_of(&place, &archive(&entries)).unwrap_err().to_string();
        assert!(text.contains(part), "{part}: {text}");
        // The archive itself is all there is.
        assert_eq!(place.names("blob").len(), 1, "{part}");
        assert!(
            place.names("index").iter().all(|n| !n.starts_with("members-")),
            "{part}"
        );
    }
}

#[test]
fn what_is_no_archive_or_cut_short_is_refused() {
    for (data, part) in [
        (vec![0; 10240], "no tar archive"),
        (b"#!/bin/sh\n".to_vec(), "damaged"),
        (raw_image(1 << 16), "damaged"),
        (zip_of(&[("a", b"b")]), "zip"),
        (
            archive(&[entry(b"a", b'0', b"", &[7; 5000])])[..3000].to_vec(),
            "damaged",
        ),
        (
            through(
                "gzip",
                &["-c"],
                &archive(&[entry(b"a", b'0', b"", &raw_image(1 << 16))]),
            )[..900]
                .to_vec(),
            "damaged",
        ),
    ] {
        let place = Place::new();
        let text = all_of(&place, &data).unwrap_err().to_string();
        assert!(text.contains(part), "{part}: {text}");
    }
}

/// A link that leads in a circle, to a folder or to nothing is no file.
#[test]
fn links_that_lead_to_no_file_are_not_listed() {
    let place = Place::new();
    let members = all_of(
        &place,
        &archive(&[
            entry(b"d/", b'5', b"", b""),
            entry(b"a", b'2', b"b", b""),
            entry(b"b", b'2', b"a", b""),
            entry(b"c", b'2', b"d", b""),
            entry(b"n", b'2', b"nothing", b""),
            entry(b"f", b'0', b"", b"data"),
            entry(b"d/up", b'2', b"../f", b""),
        ]),
    )
    .unwrap();
    let names: Vec<&str> = members.iter().map(|m| m.name.as_str()).collect();
    assert_eq!(names, ["d/up", "f"]);
}
