//! Volumes for `tests/kernel-lab.sh`, which lets a kernel read them and write to them.

use std::fs;
use std::path::{Path, PathBuf};

use ceil_img::fs::Volume;
use ceil_img::values::Digest;

use super::edit::edited;
use super::support::{BASES, Tree, assert_clean, make_base, open, put, read_back};

fn list(dir: &Path, name: &str, image: &Path, model: &Tree) {
    assert_clean(image, name);
    let files: serde_json::Map<String, serde_json::Value> = model
        .iter()
        .map(|(path, node)| {
            let node = match node {
                Some((content, mtime)) => {
                    serde_json::json!([content.len(), Digest::sha256(content).hex(), mtime])
                }
                None => serde_json::Value::Null,
            };
            (path.clone(), node)
        })
        .collect();
    let list = serde_json::json!({"kind": "vfat", "files": files});
    fs::write(dir.join(format!("{name}.json")), list.to_string()).expect("list");
    fs::copy(image, dir.join(format!("{name}.img"))).expect("image");
}

#[test]
#[ignore = "makes disks for tests/kernel-lab.sh"]
fn disks() {
    let Some(dir) = std::env::var_os("CEIL_LAB").map(PathBuf::from) else {
        crate::support::tools::say("CEIL_LAB names no folder; tests/kernel-lab.sh does");
        return;
    };
    let work = tempfile::tempdir().expect("directory");
    for base in BASES {
        let (image, model) = edited(work.path(), base);
        list(&dir, &format!("{}-edited", base.name), &image, &model);
    }
    // A root directory of FAT16 without a free slot.
    let work = tempfile::tempdir().expect("directory");
    let image = make_base(work.path(), BASES[1], 0);
    let mut fat = open(&image);
    for n in 0..255 {
        put(&mut fat, &format!("/long-{n}.txt"), b"x").expect("room");
    }
    put(&mut fat, "/SHORT.TXT", b"x").expect("one slot is left");
    fat.commit().expect("commit");
    list(&dir, "hypriot-full-root", &image, &read_back(&open(&image)));
}
