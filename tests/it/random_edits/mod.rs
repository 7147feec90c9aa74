//! Random edit lists on the bases of all families, compared with what the kernel and mtools see afterwards.
//!
//! `CEIL_EDIT_SEEDS=1000` runs that many lists over the families instead of one for each; a failure names its seed, and
//! `CEIL_EDIT_SEED=17` runs that one alone.

mod boot;
mod interpret;
mod lists;
mod model;

use std::collections::BTreeMap;
use std::path::Path;

use ceil_img::diff::{self, Difference};
use ceil_img::image::Image;
use ceil_img::plan::{Edit, GrowRule, Op, OutputFormat};
use ceil_img::values::VolumeName;

use self::boot::Boot;
use self::lists::{Expected, Random};
use self::model::Tree;
use crate::pipeline::{EPOCH, Raw, places, write_edited, write_with_refusals};
use crate::support::judge::{self, Entry};
use crate::support::{bases, tools, view};

/// Edits of one list.
const EDITS: usize = 60;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// Shows the first nodes at which two views differ, both sides of each.
fn same(what: &str, expected: &[Entry], seen: &[Entry]) {
    let differ = judge::differences(expected, seen);
    let show = |view: &[Entry], path: &Path| view.iter().find(|e| e.path == path).cloned();
    let told: Vec<String> = differ
        .iter()
        .take(5)
        .map(|(path, _)| {
            format!(
                "expected {:#?}\nseen {:#?}",
                show(expected, path),
                show(seen, path)
            )
        })
        .collect();
    assert!(
        differ.is_empty(),
        "{what}: {} nodes differ\n{}",
        differ.len(),
        told.join("\n")
    );
}

/// Every path that our own comparison names differs for the outsider too, and no file that does is left out.
fn diff_agrees(what: &str, old: &Path, new: &Path, before: &[Entry], after: &[Entry]) {
    let said: Vec<String> = diff::diff(
        &Image::open(Raw::open(old)).unwrap(),
        &Image::open(Raw::open(new)).unwrap(),
    )
    .unwrap()
    .into_iter()
    .filter_map(|d| match d {
        Difference::Path { path, .. } => path.strip_prefix("root:").map(str::to_owned),
        Difference::Property { .. } => None,
    })
    .collect();
    let differ = judge::differences(before, after);
    for path in &said {
        assert!(
            differ.iter().any(|(p, _)| p == Path::new(path)),
            "{what}: diff names {path}, which is the same"
        );
    }
    let by_path = |view: &[Entry]| -> BTreeMap<_, _> {
        view.iter()
            .map(|e| {
                (
                    e.path.clone(),
                    (e.mode, e.uid, e.gid, e.content.clone(), e.xattrs.clone()),
                )
            })
            .collect()
    };
    let (old, new) = (by_path(before), by_path(after));
    for (path, _) in &differ {
        // Below a directory that came or went as a whole, the directory's name says it all.
        let told = path.ancestors().any(|p| said.iter().any(|s| Path::new(s) == p));
        assert!(
            told || old.get(path) == new.get(path),
            "{what}: diff leaves out {path:?}"
        );
    }
}

fn run(seed: u64) {
    let family = bases::FAMILIES[(seed % bases::FAMILIES.len() as u64) as usize];
    // Every second round starts from what the kernel laid out on a worn file system.
    let worn = seed / bases::FAMILIES.len() as u64 % 2 == 1 && tools::is_root();
    let base = if worn {
        bases::worn(family)
    } else {
        bases::base(family)
    };
    let Some(base) = base else {
        return;
    };
    let what = format!("{family}{}, seed {seed}", if worn { " (worn)" } else { "" });
    let places = places(family);
    let mount = places.boot_mount.clone().unwrap();
    let before = view::of(&base.path, &base.root);
    let read_root = |path: &str| judge::ext4_cat(&base.path, &base.root, path);
    let read_boot = |path: &str| judge::fat_cat(&base.path, &base.boot, path);
    let fat = judge::fat_view(&base.path, &base.boot);
    let mut expected = Expected {
        root: Tree::new(&before, EPOCH, &mount),
        boot: Boot::new(&fat, EPOCH.secs, &read_boot),
        read_root: &read_root,
        read_boot: &read_boot,
    };
    let mut random = Random(seed);
    let edits = lists::list(&mut random, EDITS, &mut expected);

    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("one.img");
    let again = dir.path().join("again.img");
    let first = write_edited(&base, &edits, &out, OutputFormat::Img);
    // The second run also tries what must be refused, and leaves no trace of it.
    let wrong = lists::wrong(&mut random, &expected.root);
    assert_eq!(
        first,
        write_with_refusals(&base, &edits, &wrong, &again, OutputFormat::Img),
        "{what}: two runs give different bytes"
    );
    std::fs::remove_file(&again).unwrap();

    if let Err(panic) = std::panic::catch_unwind(|| judge::all(&out)) {
        eprintln!("{what}: an outsider refuses it\n{}", show(&edits));
        std::panic::resume_unwind(panic);
    }
    let partitions = judge::partitions(&out);
    let find = |boot: bool| partitions.iter().find(|p| p.is_boot() == boot).unwrap().clone();
    let (boot, root) = (find(true), find(false));
    let view = expected.root.view();
    same(&what, &view, &view::of(&out, &root));
    same(
        &format!("{what}, our own reader"),
        &view,
        &view::ours(&out, VolumeName::Root),
    );
    diff_agrees(&what, &base.path, &out, &before, &view);
    let config = base_text(&read_boot(&expected_config(&fat)));
    expected
        .boot
        .compare(&what, &config, &judge::fat_view(&out, &boot), &|path| {
            judge::fat_cat(&out, &boot, path)
        });
    grown(&what, &edits, base.root.len, root.len);
    kernel_goes_on(&mut random, &out, &root, &expected.root);
}

/// The kernel writes, appends and deletes in what we made, and e2fsck still finds nothing.
fn kernel_goes_on(random: &mut Random, image: &Path, root: &judge::Partition, tree: &Tree) {
    if !tools::is_root() {
        tools::say("the kernel needs the right to mount to go on with it");
        return;
    }
    let Some(mount) = judge::Mount::read_write(image, root) else {
        return;
    };
    // A full file system is no fault here.
    let host = |path: &str| mount.dir.join(path.trim_start_matches('/'));
    let (files, dirs) = (tree.names('f'), tree.names('d'));
    for i in 0..40 {
        let file = &files[random.below(files.len() as u64) as usize];
        let dir = &dirs[random.below(dirs.len() as u64) as usize];
        let len = random.below(50_000) as usize;
        let bytes = random.bytes(len);
        let _ = std::fs::write(host(dir).join(format!("kernel-{i}")), &bytes);
        let _ = match i % 2 {
            0 => std::fs::remove_file(host(file)),
            _ => std::fs::File::options()
                .append(true)
                .open(host(file))
                .and_then(|mut f| std::io::Write::write_all(&mut f, &bytes)),
        };
    }
    drop(mount);
    judge::e2fsck(image, root);
}

fn show(edits: &[Edit]) -> String {
    edits.iter().map(|e| format!("{:?}\n", e.op)).collect()
}

fn expected_config(fat: &BTreeMap<std::path::PathBuf, (ceil_img::values::Digest, i64)>) -> String {
    let config = fat
        .keys()
        .find(|p| p.to_str().is_some_and(|p| p.eq_ignore_ascii_case("config.txt")))
        .unwrap();
    format!("/{}", config.display())
}

fn base_text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The partition is at least as much longer as the largest wish says.
fn grown(what: &str, edits: &[Edit], before: u64, after: u64) {
    let wish = edits.iter().filter_map(|e| match &e.op {
        Op::Grow {
            root: GrowRule::By(by),
        } => Some(by.0),
        _ => None,
    });
    assert!(
        after >= before + wish.max().unwrap_or(0),
        "{what}: {before} became {after}"
    );
}

fn run_all(seeds: impl Iterator<Item = u64>) {
    if !tools::have(&["e2fsck", "fsck.vfat", "sfdisk", "debugfs", "mcopy"]) {
        return;
    }
    for seed in seeds {
        if let Err(panic) = std::panic::catch_unwind(|| run(seed)) {
            eprintln!("run this list alone with CEIL_EDIT_SEED={seed}");
            std::panic::resume_unwind(panic);
        }
    }
}

#[test]
fn random_lists_give_what_the_models_say() {
    match number("CEIL_EDIT_SEED") {
        Some(seed) => run_all(seed..=seed),
        None => run_all(0..number("CEIL_EDIT_SEEDS").unwrap_or(bases::FAMILIES.len() as u64)),
    }
}

/// Minutes: `cargo test --test it random_edits -- --ignored`.
#[test]
#[ignore = "takes minutes"]
fn many_random_lists_give_what_the_models_say() {
    run_all(1000..1000 + number("CEIL_EDIT_SEEDS").unwrap_or(200));
}
