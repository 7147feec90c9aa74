//! A server that has everything of the catalog of artifacts, with small files in the place of the real ones.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::OnceLock;

use ceil_img::artifacts::{Artifact, ArtifactCatalog, Install, Unpack};
use ceil_img::values::{Arch, Digest};

use super::test_server::{Reply, TestServer};

/// An ELF header for a processor (elf.h), and a text that says what it stands for.
pub fn elf(arch: Arch, text: &str) -> Vec<u8> {
    let machine = match arch {
        Arch::Arm64 => 183,
        Arch::Armhf => 40,
        Arch::Amd64 => 62,
    };
    let mut program = b"\x7fELF\x02\x01\x01".to_vec();
    program.resize(64, 0);
    program[18] = machine;
    program.extend(text.as_bytes());
    program
}

fn bytes(artifact: &Artifact) -> Vec<u8> {
    let text = format!("{} {} {}\n", artifact.name, artifact.version, artifact.arch);
    if artifact.unpack == Unpack::None {
        return match &artifact.install[..] {
            [Install::File { mode, .. }] if mode.0 & 0o111 == 0 => text.into_bytes(),
            _ => elf(artifact.arch, &text),
        };
    }
    let mut tar = tar::Builder::new(Vec::new());
    for install in &artifact.install {
        let name = match install {
            Install::Member { member, .. } => member.clone(),
            Install::Tree { from, .. } => format!("{from}/{}", artifact.name)
                .trim_start_matches('/')
                .to_owned(),
            Install::File { .. } => continue,
        };
        let body = elf(artifact.arch, &format!("{name} of {text}"));
        let mut header = tar::Header::new_gnu();
        header.set_size(body.len() as u64);
        header.set_mode(0o755);
        tar.append_data(&mut header, name, &body[..]).unwrap();
    }
    tar.into_inner().unwrap()
}

/// Text for `artifacts.yaml`: the built-in catalog, with every file at a server of this process that has it, and
/// with its digest.
pub fn catalog() -> &'static str {
    static CATALOG: OnceLock<(String, TestServer)> = OnceLock::new();
    &CATALOG.get_or_init(start).0
}

fn start() -> (String, TestServer) {
    let catalog = ArtifactCatalog::builtin().unwrap();
    let mut files: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let mut lines: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for name in catalog.names() {
        for arch in [Arch::Arm64, Arch::Armhf, Arch::Amd64] {
            for version in catalog.versions(name, arch) {
                let artifact = catalog.lookup(name, Some(&version), arch).unwrap();
                let path = artifact.url.strip_prefix("https:/").unwrap().to_owned();
                let data = bytes(artifact);
                lines.entry(name.to_owned()).or_default().push(format!(
                    "    - {{version: \"{version}\", arch: {arch}, url: \"@{path}\", sha256: {}, size: {}}}\n",
                    Digest::sha256(&data).hex(),
                    data.len()
                ));
                files.insert(path, data);
            }
        }
    }
    let server = TestServer::start(move |request, _| match files.get(&request.target) {
        Some(data) => Reply::file(request, data, &Digest::sha256(data).hex()),
        None => Reply::new(404, b"not here"),
    });
    let mut text = String::new();
    for (name, lines) in lines {
        writeln!(text, "- name: {name}\n  files:\n{}", lines.concat()).unwrap();
    }
    (text.replace("\"@", &format!("\"{}", server.url(""))), server)
}
