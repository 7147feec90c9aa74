//! A server that has every base of the catalog, with the small ones of the fixtures in the place of the real ones.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::sync::{Mutex, OnceLock};

use ceil_img::catalog::{Catalog, ImageEntry};
use ceil_img::values::{Arch, Digest};

use super::bases;
use super::test_server::{Reply, TestServer};

/// The fixture that stands for a family of the catalog.
fn fixture(family: &str) -> &'static str {
    match family {
        "hypriot" => "hypriot",
        "rpi64" => "rpi64",
        "raspbian-stretch" | "raspbian-buster" | "raspios-buster" => "raspios-buster",
        "raspios-bullseye" => "raspios-bullseye",
        "raspios-bookworm" => "raspios-bookworm",
        "raspios-trixie" => "raspios-trixie",
        "ubuntu" => "ubuntu-raspi",
        "debian-raspi" => "debian-gpt",
        other => panic!("no fixture stands for `{other}`"),
    }
}

/// What the stand-in of an entry says of itself: its version and the name of its release.
fn says(entry: &ImageEntry) -> (&str, &str) {
    let codename = match fixture(&entry.family) {
        "hypriot" => return ("1.10.0", "stretch"),
        "rpi64" => return ("20180429-184538", "stretch"),
        "raspios-buster" => "buster",
        "ubuntu-raspi" => "noble",
        "debian-gpt" => "trixie",
        _ => entry.codename.as_deref().unwrap_or("none"),
    };
    (&entry.version, codename)
}

/// Kernels of buster's fixture, and of stretch as long.
const KERNELS: [&[u8; 12]; 2] = [b"5.10.17-v7l+", b"4.14.79-v7l+"];

/// The image of a family with its programs turned into those of another processor: the headers of its ELF files are
/// exchanged (elf.h: `EI_CLASS` at 4, `e_machine` at 18).
fn image(family: &str, arch: Arch) -> Vec<u8> {
    let mut image = fs::read(bases::base(fixture(family)).unwrap().path).unwrap();
    if family == "raspbian-stretch" {
        // This file system has no checksums, and the name stands in a small directory.
        let [old, new] = KERNELS;
        while let Some(at) = image.windows(old.len()).position(|w| w == old) {
            image[at..at + new.len()].copy_from_slice(new);
        }
    }
    let (class, machine) = match arch {
        Arch::Arm64 => (2, 183),
        Arch::Armhf => (1, 40),
        Arch::Amd64 => (2, 62),
    };
    // Files begin at a block, and the smallest one has 1 KiB.
    for block in image.chunks_exact_mut(1024) {
        if block.starts_with(b"\x7fELF") {
            block[4] = class;
            block[18] = machine;
        }
    }
    image
}

/// Text for the user's `images.yaml`: all bases of the catalog at a server of this process. `None` (after a visible
/// word) when a tool to make the bases is missing.
pub fn catalog() -> Option<&'static str> {
    made().map(|(text, _)| text.as_str())
}

/// For `--mirror`: bases that no catalog has are there as well, by the end of their names.
pub fn mirror(of: &str) -> Option<String> {
    made().map(|(_, server)| format!("{of}={}", server.url("")))
}

fn made() -> Option<&'static (String, TestServer)> {
    static CATALOG: OnceLock<Option<(String, TestServer)>> = OnceLock::new();
    CATALOG
        .get_or_init(|| {
            bases::base("raspios-trixie")?;
            Some(start())
        })
        .as_ref()
}

fn start() -> (String, TestServer) {
    let made: Mutex<BTreeMap<String, Vec<u8>>> = Mutex::default();
    let server = TestServer::start(move |request, _| {
        let mut made = made.lock().unwrap();
        let data = made.entry(request.target.clone()).or_insert_with(|| {
            if request.target.ends_with("amd64.raw") {
                return image("debian-raspi", Arch::Amd64);
            }
            let mut parts = request.target.trim_matches('/').split('/');
            let (family, arch) = (parts.next().unwrap(), parts.next().unwrap());
            zstd::encode_all(&image(family, arch.parse().unwrap())[..], 1).unwrap()
        });
        Reply::file(request, data, &Digest::sha256(data).hex())
    });
    let mut text = String::new();
    for entry in Catalog::builtin().unwrap().entries() {
        let (version, codename) = says(entry);
        let aliases: Vec<&str> = entry.names().skip(1).collect();
        writeln!(
            text,
            "- {{name: {}, aliases: {aliases:?}, family: {}, os: \"{}\", version: \"{}\", codename: \"{}\", arch: {}, \
             boards: {:?}, boot_mount: {}, url: \"{}\", checksum: tofu}}",
            entry.name,
            entry.family,
            entry.os,
            version,
            codename,
            entry.arch,
            entry.boards,
            entry.boot_mount,
            server.url(&format!("/{}/{}/{}.img.zst", entry.family, entry.arch, entry.name)),
        )
        .unwrap();
    }
    (text, server)
}
