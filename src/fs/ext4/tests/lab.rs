//! File systems for `tests/kernel-lab.sh`, which lets a kernel go on with them that may grow mounted file systems.

use std::fs::{self, File};
use std::path::PathBuf;

use super::super::Ext4;
use super::support::*;
use crate::fs::Volume;
use crate::values::Digest;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// A file system before and after our growth, on a disk that has room for more.
struct Case {
    kind: &'static str,
    layout: &'static str,
    options: &'static [&'static str],
    start_mib: u64,
    sizes: Vec<u64>,
    disk: u64,
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (layout, options) in LAYOUTS {
        let small_blocks = options.contains(&"1024");
        // A last group that is not whole.
        cases.push(Case {
            kind: "partial",
            layout,
            options: &[],
            start_mib: 40,
            sizes: vec![200 * MIB + 12_345],
            disk: 500 * MIB,
        });
        // More descriptor blocks than before, by us and then by the kernel. Without a reserve, only by the kernel.
        let (sizes, disk) = match layout {
            _ if small_blocks => (vec![700 * MIB], 1500 * MIB),
            "noresize" => (vec![7 * GIB], 20 * GIB),
            _ => (vec![17 * GIB + 40 * MIB], 34 * GIB),
        };
        cases.push(Case {
            kind: "descriptors",
            layout,
            options: &["-i", "131072"],
            start_mib: 100,
            sizes,
            disk,
        });
        // Several growths, by less than a group and by less than a group's metadata, of a full file system.
        cases.push(Case {
            kind: "steps",
            layout,
            options: &["-g", "8192"],
            start_mib: 40,
            sizes: vec![45 * MIB, 45 * MIB + 9000, 129 * MIB, 161 * MIB + 777],
            disk: 400 * MIB,
        });
    }
    cases
}

fn fill(fs: &mut Ext4, tag: &str, random: &mut Random, full: bool) {
    let dir = format!("/{tag}").into_bytes();
    fs.make_dir(&dir, &attrs(0o755, 5)).unwrap();
    for n in 0..16 {
        let path = format!("/{tag}/file-{n}").into_bytes();
        let len = 1 + random.below(60_000) as usize;
        let content = random.bytes(len);
        fs.put_file(&path, &source(&content), false, &attrs(0o644, 6))
            .unwrap();
    }
    let rest = fs.space().free;
    let len = if full { rest - rest / 20 } else { 3 * MIB };
    let path = format!("/{tag}/large").into_bytes();
    let content = random.bytes(len.min(30 * MIB) as usize);
    fs.put_file(&path, &source(&content), false, &attrs(0o644, 6))
        .unwrap();
}

/// Makes `CASE.img`, as long as its disk, and `CASE.json` with what is in it.
fn prepare(case: &Case, grow: bool, dir: &std::path::Path) {
    let Some(base) = make(case.layout, case.start_mib, case.options) else {
        panic!("mke2fs is missing");
    };
    let mut random = Random(case.start_mib * 77 + case.disk);
    let mut fs = base.open();
    fill(&mut fs, "before", &mut random, false);
    fs.commit().unwrap();
    let file = File::options().write(true).open(&base.image).unwrap();
    for (n, size) in case.sizes.iter().enumerate().filter(|_| grow) {
        file.set_len(*size).unwrap();
        fs.grow(Disk::open(&base.image)).unwrap();
        fill(&mut fs, &format!("after{n}"), &mut random, case.kind == "steps");
        fs.commit().unwrap();
    }
    base.fsck(case.kind);
    file.set_len(case.disk).unwrap();
    let files: serde_json::Map<String, serde_json::Value> = our_view(&base.open())
        .into_iter()
        .filter(|(_, seen)| seen.kind == 'f')
        .map(|(path, seen)| {
            let sum = Digest::sha256(&seen.content).hex();
            let path = String::from_utf8(path).unwrap()[1..].to_owned();
            (
                path,
                serde_json::json!([seen.content.len(), sum, seen.mtime.secs]),
            )
        })
        .collect();
    let who = if grow { "ours" } else { "control" };
    let name = format!("{}-{}-{who}", case.layout, case.kind);
    let list = serde_json::json!({"kind": "ext4", "files": files});
    fs::write(dir.join(format!("{name}.json")), list.to_string()).unwrap();
    let to = dir.join(format!("{name}.img"));
    let (code, text) = run("cp", &["--sparse=always", base.path(), to.to_str().unwrap()]).unwrap();
    assert_eq!(code, 0, "{text}");
}

#[test]
#[ignore = "makes disks for tests/kernel-lab.sh"]
fn disks() {
    let Some(dir) = std::env::var_os("CEIL_LAB").map(PathBuf::from) else {
        eprintln!("SKIPPED: CEIL_LAB names no folder; tests/kernel-lab.sh does");
        return;
    };
    for case in cases() {
        prepare(&case, true, &dir);
        // What the kernel does with the same file system when we have not grown it.
        if case.kind == "descriptors" {
            prepare(&case, false, &dir);
        }
    }
}
