//! Edits of filled bases, compared with a model through mtools.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;

use ceil_img::disk::Bytes;
use ceil_img::fs::fat::Fat;
use ceil_img::fs::{FsError, Volume};

use super::support::{
    BASES, Base, EPOCH, FileDevice, Rng, Tree, assert_clean, assert_same, attrs, extract, make_base, noise,
    now, open, put, read_back, run, text,
};

/// A volume and what it should hold.
struct Pair {
    fat: Fat,
    model: Tree,
}

impl Pair {
    /// The stored path that a path means, without regard to case.
    fn stored(&self, path: &str) -> Option<String> {
        let wanted = path.to_lowercase();
        self.model
            .keys()
            .find(|key| key.to_lowercase() == wanted)
            .cloned()
    }

    fn put(&mut self, path: &str, data: &[u8], mtime: i64) {
        let source = Bytes::shared(data);
        let full = format!("/{path}");
        self.fat
            .put_file(full.as_bytes(), &source, false, &attrs(mtime))
            .unwrap_or_else(|error| panic!("put {path}: {error}"));
        let key = self.stored(path).unwrap_or_else(|| {
            let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
            let parent = self.stored(parent).map(|dir| dir + "/");
            parent.unwrap_or_default() + name
        });
        // Two seconds are the step of FAT's times.
        self.model.insert(key, Some((data.to_vec(), mtime - mtime % 2)));
    }

    fn append(&mut self, path: &str, data: &[u8]) {
        let full = format!("/{path}");
        self.fat
            .append(full.as_bytes(), &Bytes::shared(data), &now())
            .unwrap_or_else(|error| panic!("append {path}: {error}"));
        let key = self.stored(path).expect("there");
        let file = self.model.get_mut(&key).expect("there").as_mut().expect("file");
        file.0.extend_from_slice(data);
        file.1 = EPOCH;
    }

    fn mkdir(&mut self, path: &str) {
        let full = format!("/{path}");
        self.fat
            .make_dir(full.as_bytes(), &now())
            .unwrap_or_else(|error| panic!("mkdir {path}: {error}"));
        if self.stored(path).is_none() {
            self.model.insert(path.to_owned(), None);
        }
    }

    fn remove(&mut self, path: &str) {
        let full = format!("/{path}");
        self.fat
            .remove(full.as_bytes(), true, now().now)
            .unwrap_or_else(|error| panic!("remove {path}: {error}"));
        let key = self.stored(path).expect("there");
        let below = format!("{key}/");
        self.model
            .retain(|name, _| *name != key && !name.starts_with(&below));
    }

    fn rename(&mut self, from: &str, to: &str) {
        let (old, new) = (format!("/{from}"), format!("/{to}"));
        self.fat
            .rename(old.as_bytes(), new.as_bytes(), now().now)
            .unwrap_or_else(|error| panic!("rename {from} {to}: {error}"));
        let key = self.stored(from).expect("there");
        let below = format!("{key}/");
        let moved: Vec<String> = self
            .model
            .keys()
            .filter(|name| **name == key || name.starts_with(&below))
            .cloned()
            .collect();
        for name in moved {
            let value = self.model.remove(&name).expect("there");
            self.model.insert(format!("{to}{}", &name[key.len()..]), value);
        }
    }
}

/// About 140 operations, of every kind.
fn operations(pair: &mut Pair, big: usize) {
    pair.put("config.txt", &noise(1, 40_000), EPOCH);
    pair.put("KERNEL8.IMG", &noise(2, 700), EPOCH + 1);
    pair.put("CMDLINE.TXT", b"console=tty1 root=/dev/mmcblk0p2\n", EPOCH);
    pair.put("GRÖßE-1.DTB-DATEI", b"upper", 315_532_800);
    pair.put("mixed case NAME.TXT", &noise(3, 5_000), 4_102_444_798);
    pair.put("日本語のとても長いファイル名前.txt", &noise(4, 3_000), EPOCH);
    pair.put("Ελληνικά και кириллица.dtb", &noise(5, 513), EPOCH);
    pair.put("emoji 🍓 pi.txt", b"pi", EPOCH);
    pair.put(&"n".repeat(255), b"longest", EPOCH);
    pair.put(".dot.first", b"dot", EPOCH);
    pair.put("UPPER.TXT", b"short only", EPOCH);
    pair.put("lower.txt", b"lower", EPOCH);
    pair.put("a+b=c;[d],e.f.g", b"special", EPOCH);
    pair.put("big.bin", &noise(6, big), EPOCH);
    for n in 0..40 {
        pair.put(
            &format!("overlays/some-longer-overlay-name-{:03}.dtbo", n * 5),
            &noise(100 + n, 60 + 911 * n as usize),
            EPOCH + 2 * n as i64,
        );
    }
    for n in 0..20 {
        pair.mkdir(&format!("dir with a name {n}"));
        pair.put(
            &format!("dir with a name {n}/meta-data"),
            &noise(n, 100 + n as usize),
            EPOCH,
        );
    }
    pair.mkdir("a");
    pair.mkdir("a/b");
    pair.mkdir("a/b/c");
    pair.put("A/B/C/deep file.txt", b"deep", EPOCH);
    for n in 0..12 {
        pair.append("config.txt", &noise(50 + n, 1 + 700 * n as usize));
    }
    pair.append("empty", b"not any more");
    pair.append("big.bin", &noise(7, 9_000));
    for n in 0..15 {
        pair.remove(&format!(
            "overlays/some-longer-overlay-name-{:03}.dtbo",
            n * 7 + 1
        ));
    }
    pair.remove("dir with a name 3");
    pair.remove("start4.elf");
    pair.rename("a/b", "moved directory");
    pair.rename("moved directory/c/deep file.txt", "a/Shallow File.txt");
    pair.rename("UPPER.TXT", "upper.txt");
    pair.rename("lower.txt", "LOWER.TXT");
    pair.rename("overlays/some-longer-overlay-name-000.dtbo", "X.DTB");
    pair.put("start4.elf", &noise(8, 100_000), EPOCH);
}

fn boot_sector(image: &Path) -> [u8; 512] {
    let mut sector = [0; 512];
    let file = fs::File::open(image).expect("image");
    file.read_exact_at(&mut sector, 0).expect("boot sector");
    sector
}

pub(super) fn edited(dir: &Path, base: Base) -> (std::path::PathBuf, Tree) {
    let image = make_base(dir, base, 250);
    let model = extract(&image);
    let mut pair = Pair {
        fat: open(&image),
        model,
    };
    assert_same(&read_back(&pair.fat), &pair.model, "base");
    let big = if base.mib < 64 { 300_000 } else { 20_000_000 };
    operations(&mut pair, big);
    assert_same(&read_back(&pair.fat), &pair.model, "before the commit");
    pair.fat.commit().expect("commit");
    assert_same(&read_back(&pair.fat), &pair.model, "after the commit");
    (image, pair.model)
}

#[test]
fn every_base_takes_140_operations() {
    for base in BASES {
        let dir = tempfile::tempdir().expect("directory");
        let clean = make_base(dir.path(), base, 0);
        let boot = boot_sector(&clean);
        let (image, model) = edited(dir.path(), base);
        assert_clean(&image, base.name);
        let mut seen = extract(&image);
        // mtools shows one underscore for each half of a surrogate pair.
        let strawberry = seen.remove("emoji __ pi.txt").expect("mtools");
        seen.insert("emoji 🍓 pi.txt".to_owned(), strawberry);
        assert_same(&seen, &model, base.name);
        assert_eq!(boot_sector(&image), boot, "{}", base.name);
        let label = base.mkfs[base.mkfs.len() - 1];
        assert_eq!(open(&image).label(), label);
        assert_eq!(open(&image).uuid(), "CE11-ABCD");
        let shown = run("mlabel", &["-s", "-i", text(&image), "::"]);
        assert!(String::from_utf8_lossy(&shown.stdout).contains(label));
    }
}

#[test]
fn the_same_edits_give_the_same_bytes() {
    let (one, two) = (
        tempfile::tempdir().expect("directory"),
        tempfile::tempdir().expect("directory"),
    );
    let image = make_base(one.path(), BASES[1], 250);
    let copy = two.path().join("copy.img");
    fs::copy(&image, &copy).expect("copy");
    for image in [&image, &copy] {
        let mut pair = Pair {
            fat: open(image),
            model: extract(image),
        };
        operations(&mut pair, 5_000_000);
        pair.fat.commit().expect("commit");
    }
    assert!(fs::read(image).expect("image") == fs::read(copy).expect("copy"));
}

#[test]
fn attributes_and_untouched_bytes_are_kept() {
    let dir = tempfile::tempdir().expect("directory");
    let image = make_base(dir.path(), BASES[1], 3);
    super::support::ok(
        "mattrib",
        &["-i", text(&image), "+h", "+s", "+r", "-a", "::config.txt"],
    );
    let before = extract(&image);
    let mut fat = open(&image);
    put(&mut fat, "/CONFIG.TXT", b"new").expect("put");
    put(&mut fat, "/fresh.txt", b"new").expect("put");
    fat.commit().expect("commit");
    let shown = super::support::ok("mattrib", &["-i", text(&image), "::config.txt", "::fresh.txt"]);
    let lines: Vec<&str> = shown.lines().collect();
    assert!(lines[0].contains("SHR") && !lines[0].contains('A'), "{shown}");
    assert!(lines[1].contains('A'), "{shown}");
    let mut after = extract(&image);
    after.remove("fresh.txt");
    after.insert("config.txt".to_owned(), before["config.txt"].clone());
    assert_same(&after, &before, "untouched");
    assert_clean(&image, "attributes");
}

#[test]
fn everything_outside_the_used_ranges_is_free() {
    for base in [BASES[0], BASES[1], BASES[2]] {
        let dir = tempfile::tempdir().expect("directory");
        let (image, _) = edited(dir.path(), base);
        let volume = ceil_img::fs::open(FileDevice::open(&image)).expect("a FAT volume");
        assert_eq!(volume.kind(), open(&image).kind());
        let before = extract(&image);
        let used = volume.used_ranges().expect("ranges");
        let mut bytes = fs::read(&image).expect("image");
        let mut free_from = 0;
        let len = bytes.len() as u64;
        let mut free = 0;
        for range in used.iter().cloned().chain(std::iter::once(len..len)) {
            assert!(range.start >= free_from && (range.start > free_from || free_from == 0));
            bytes[free_from as usize..range.start as usize].fill(0xA5);
            free += range.start - free_from;
            free_from = range.end;
        }
        assert!(free >= volume.space().free, "{}", base.name);
        fs::write(&image, bytes).expect("image");
        assert_clean(&image, base.name);
        assert_same(&extract(&image), &before, base.name);
    }
}

#[test]
fn random_sequences_stay_consistent() {
    for seed in 1..=12u64 {
        let dir = tempfile::tempdir().expect("directory");
        let base = BASES[seed as usize % 3];
        let image = make_base(dir.path(), base, 12);
        let mut pair = Pair {
            fat: open(&image),
            model: extract(&image),
        };
        let mut rng = Rng(seed * 7919);
        for step in 0..150 {
            random_step(&mut pair, &mut rng, step, seed % 2 == 0);
            if rng.below(40) == 0 {
                pair.fat.commit().expect("commit");
                pair.fat = open(&image);
            }
        }
        pair.fat.commit().expect("commit");
        let what = format!("seed {seed} on {}", base.name);
        assert_clean(&image, &what);
        assert_same(&extract(&image), &pair.model, &what);
        assert_same(&read_back(&pair.fat), &pair.model, &what);
    }
}

fn pick(pair: &Pair, rng: &mut Rng, dirs: bool) -> Option<String> {
    let names: Vec<&String> = pair
        .model
        .iter()
        .filter(|(_, value)| value.is_none() == dirs)
        .map(|(name, _)| name)
        .collect();
    (!names.is_empty()).then(|| names[rng.below(names.len())].clone())
}

fn random_step(pair: &mut Pair, rng: &mut Rng, step: usize, nested: bool) {
    let parent = match pick(pair, rng, true) {
        Some(dir) if nested && rng.below(3) > 0 && dir.len() < 120 => format!("{dir}/"),
        _ => String::new(),
    };
    let fresh = match rng.below(4) {
        0 => format!("{parent}F{step}.BIN"),
        1 => format!("{parent}file with a long name {step}"),
        2 => format!("{parent}ünï-{step}.text"),
        _ => format!("{parent}same prefix {step}.dat"),
    };
    let len = rng.below(30_000);
    match rng.below(10) {
        0..=2 => pair.put(&fresh, &noise(step as u64, len), EPOCH + step as i64),
        3 => pair.mkdir(&fresh),
        4 | 5 => {
            if let Some(file) = pick(pair, rng, false) {
                pair.put(&file.to_uppercase(), &noise(step as u64, len), EPOCH);
            }
        }
        6 => {
            if let Some(file) = pick(pair, rng, false) {
                pair.append(&file, &noise(step as u64, len / 8));
            }
        }
        7 => {
            let dirs = nested && rng.below(4) == 0;
            if let Some(name) = pick(pair, rng, dirs) {
                pair.remove(&name);
            }
        }
        _ => {
            let dirs = nested && rng.below(3) == 0;
            if let Some(name) = pick(pair, rng, dirs)
                && !format!("{fresh}/").starts_with(&format!("{name}/"))
            {
                pair.rename(&name, &fresh);
            }
        }
    }
}

#[test]
fn a_second_implementation_reads_the_same() {
    use hadris_fat::{FatVolume, FatVolumeReadExt};
    let dir = tempfile::tempdir().expect("directory");
    let (image, model) = edited(dir.path(), BASES[2]);
    let volume = FatVolume::open(fs::File::open(&image).expect("image")).expect("opens");
    let mut seen = Tree::new();
    for (name, value) in &model {
        let entry = volume.open_path(name).expect(name);
        assert_eq!(entry.name(), name.rsplit('/').next().expect("last"));
        assert_eq!(entry.is_directory(), value.is_none(), "{name}");
        let content = value.as_ref().map(|(_, time)| {
            let mut reader = volume.read_file(&entry).expect("file");
            let mut data = vec![0; entry.len() as usize];
            let mut done = 0;
            while done < data.len() {
                let step = reader.read(&mut data[done..]).expect("content");
                assert!(step > 0, "{name} ends early");
                done += step;
            }
            (data, *time)
        });
        seen.insert(name.clone(), content);
    }
    assert_same(&seen, &model, "hadris-fat");
}

#[test]
fn refuses_what_fat_cannot_hold() {
    let dir = tempfile::tempdir().expect("directory");
    let image = make_base(dir.path(), BASES[1], 2);
    let before = fs::read(&image).expect("image");
    let mut fat = open(&image);
    let time = now().now;
    let mut answers = vec![
        fat.symlink(b"/l", b"config.txt", &now()),
        fat.hard_link(b"/l", b"/config.txt", time),
        fat.set_xattr(b"/config.txt", b"user.x", Some(b"1"), time),
        fat.set_attrs(b"/config.txt", &now()),
        fat.rename(b"/", b"/x", time),
        fat.rename(b"/overlays", b"/overlays/x", time),
        fat.remove(b"/", true, time),
    ];
    for name in ["/a:b", "/a*", "/dot.", "/space ", "/tab\t"] {
        answers.push(put(&mut fat, name, b""));
    }
    answers.push(put(&mut fat, &format!("/{}", "x".repeat(256)), b""));
    for (index, answer) in answers.into_iter().enumerate() {
        let refused = matches!(answer, Err(FsError::Invalid { .. }));
        assert!(refused, "{index}: {answer:?}");
    }
    for (answer, word) in [
        (put(&mut fat, "/overlays", b""), "is a directory"),
        (put(&mut fat, "/config.txt/x", b""), "is not a directory"),
        (put(&mut fat, "/no/x", b""), "does not exist"),
        (fat.make_dir(b"/config.txt", &now()), "already exists"),
        (fat.rename(b"/config.txt", b"/EMPTY", time), "already exists"),
        (fat.remove(b"/overlays", false, time), "not empty"),
        (fat.remove(b"/nothing", false, time), "does not exist"),
    ] {
        let text = answer.expect_err(word).to_string();
        assert!(text.contains(word), "{word}: {text}");
    }
    fat.commit().expect("commit");
    assert!(fs::read(&image).expect("image") == before, "changed");
}
