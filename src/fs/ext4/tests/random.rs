//! Random operations, compared with a model: what our reader sees before the commit, and what the kernel sees after it.
//!
//! `CEIL_EXT4_SEEDS=10000` runs that many sequences over the layouts instead of two for each: on empty bases, on
//! bases of many small groups, and on bases that the kernel filled. Half of them grow in the middle.
//! `CEIL_EXT4_FIRST=236` begins with that one.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::model::Model;
use super::support::*;
use crate::fs::{Attrs, FsError, Volume};

const OPS: u64 = 200;

fn name(random: &mut Random) -> Vec<u8> {
    let stem = random.below(400);
    match random.below(4) {
        0 => format!("n{stem}").into_bytes(),
        1 => format!("ünïcødé-{stem}").into_bytes(),
        2 => format!("{stem}-{}", "long".repeat(random.below(50) as usize)).into_bytes(),
        _ => format!(".{stem:08}").into_bytes(),
    }
}

fn pick(random: &mut Random, from: &[Vec<u8>]) -> Option<Vec<u8>> {
    (!from.is_empty()).then(|| from[random.below(from.len() as u64) as usize].clone())
}

fn fresh(random: &mut Random, model: &Model) -> Option<Vec<u8>> {
    let dir = if random.below(3) == 0 {
        b"/".to_vec()
    } else {
        pick(random, &model.all('d')).unwrap_or(b"/".to_vec())
    };
    let slash: &[u8] = if dir == b"/" { b"" } else { b"/" };
    let path = [&dir, slash, &name(random)].concat();
    (!model.has(&path) && path.len() < 1500).then_some(path)
}

fn content(random: &mut Random) -> Vec<u8> {
    let len = [0, 1, 59, 1000, 4096, 5000, 70_000, 400_000][random.below(8) as usize];
    let len = random.below(len + 1) as usize;
    let mut bytes = random.bytes(len);
    if random.below(3) == 0 && len > 10_000 {
        bytes[2000..9000].fill(0);
    }
    bytes
}

fn some_attrs(random: &mut Random, short: bool) -> Attrs {
    let some = |random: &mut Random| random.below(2) == 0;
    let far = if short { 1 << 31 } else { 1 << 33 };
    Attrs {
        mode: some(random).then(|| random.below(0o10000) as u16),
        owner: some(random).then(|| (random.below(1 << 20) as u32, random.next() as u32 >> 1)),
        mtime: some(random).then(|| at(random.below(far) as i64)),
        now: at(1_500_000_000 + random.below(1000) as i64),
    }
}

/// One operation on both; those that the model has no room for are left out.
fn step(random: &mut Random, fs: &mut super::super::Ext4, model: &mut Model, short: bool) {
    let a = some_attrs(random, short);
    let (files, dirs) = (model.all('f'), model.all('d'));
    match random.below(20) {
        0..=4 => {
            if let Some(path) = fresh(random, model) {
                let bytes = content(random);
                fs.put_file(&path, &source(&bytes), random.below(2) == 0, &a)
                    .unwrap();
                model.put(&path, &bytes, &a);
            }
        }
        5 | 6 => {
            if let Some(path) = pick(random, &files) {
                let bytes = content(random);
                fs.put_file(&path, &source(&bytes), random.below(2) == 0, &a)
                    .unwrap();
                model.put(&path, &bytes, &a);
            }
        }
        7 | 8 => {
            if let Some(path) = pick(random, &files) {
                let bytes = content(random);
                fs.append(&path, &source(&bytes), &a).unwrap();
                model.append(&path, &bytes, &a);
            }
        }
        9 | 10 => {
            if let Some(path) = fresh(random, model) {
                fs.make_dir(&path, &a).unwrap();
                model.make_dir(&path, &a);
            }
        }
        11 => {
            if let Some(path) = fresh(random, model) {
                let len = [5, 59, 60, 500][random.below(4) as usize];
                let target = vec![b't'; len];
                let a = Attrs {
                    mode: Some(0o777),
                    ..a
                };
                fs.symlink(&path, &target, &a).unwrap();
                model.symlink(&path, &target, &a);
            }
        }
        12 => {
            if let (Some(path), Some(old)) = (fresh(random, model), pick(random, &files)) {
                fs.hard_link(&path, &old, a.now).unwrap();
                model.hard_link(&path, &old, a.now);
            }
        }
        13 | 14 => {
            let kinds = [files, dirs, model.all('l')].concat();
            if let (Some(to), Some(from)) = (fresh(random, model), pick(random, &kinds)) {
                let below = [&from[..], b"/"].concat();
                let result = fs.rename(&from, &to, a.now);
                if to.starts_with(&below) {
                    result.unwrap_err();
                } else {
                    result.unwrap();
                    model.rename(&from, &to, a.now);
                }
            }
        }
        15 | 16 => {
            let kinds = [files, model.all('l'), model.all('d')].concat();
            if let Some(path) = pick(random, &kinds) {
                let is_dir = model.kind(&path) == Some('d');
                if !is_dir || random.below(4) == 0 {
                    fs.remove(&path, true, a.now).unwrap();
                    model.remove(&path, a.now);
                }
            }
        }
        17 => {
            if let Some(path) = pick(random, &[files, dirs].concat()) {
                fs.set_attrs(&path, &a).unwrap();
                model.apply(&path, &a);
            }
        }
        _ => {
            if let Some(path) = pick(random, &[files, dirs].concat()) {
                let name = format!("user.{}", random.below(4)).into_bytes();
                let len = [0, 3, 40, 200][random.below(4) as usize];
                let value = random.bytes(len);
                let value = (random.below(4) > 0).then_some(&value[..]);
                fs.set_xattr(&path, &name, value, a.now).unwrap();
                model.set_xattr(&path, &name, value);
            }
        }
    }
}

/// Several operations that belong together: a directory that gets an index, a file in many pieces, a refusal.
fn storm(random: &mut Random, fs: &mut super::super::Ext4, model: &mut Model) {
    let a = attrs(0o644, 1_600_000_000);
    match random.below(4) {
        0 => {
            if let Some(dir) = fresh(random, model) {
                fs.make_dir(&dir, &a).unwrap();
                model.make_dir(&dir, &a);
                for f in 0..100 + random.below(500) {
                    let path = [&dir[..], format!("/entry number {f}").as_bytes()].concat();
                    fs.put_file(&path, &source(b""), false, &a).unwrap();
                    model.put(&path, b"", &a);
                }
            }
        }
        1 => {
            // Holes between blocks: more extents than an inode holds.
            if let Some(path) = fresh(random, model) {
                let mut bytes = vec![0; 300_000];
                for block in bytes.chunks_mut(8192).skip(random.below(3) as usize) {
                    block[0] = 1;
                }
                fs.put_file(&path, &source(&bytes), true, &a).unwrap();
                model.put(&path, &bytes, &a);
            }
        }
        2 => {
            let dirs = model.all('d');
            if let Some(dir) = pick(random, &dirs) {
                fs.remove(&dir, true, a.now).unwrap();
                model.remove(&dir, a.now);
            }
        }
        _ => {
            let before = fs.space();
            let much = super::limits::long(before.free + 5000);
            if let Some(path) = pick(random, &model.all('f')) {
                fs.append(&path, &much, &a).unwrap_err();
            }
            fs.put_file(b"/too-much", &much, false, &a).unwrap_err();
            assert_eq!(fs.space(), before, "a refused file left a trace");
        }
    }
}

/// A base that the kernel filled, made once for a layout.
fn filled(layout: &'static str) -> Option<Base> {
    static MADE: Mutex<BTreeMap<&str, Option<Base>>> = Mutex::new(BTreeMap::new());
    let mut made = MADE.lock().unwrap();
    let base = made.entry(layout).or_insert_with(|| {
        let base = make(layout, 64, &["-N", "8192"])?;
        let filled = base.mounted("rw", super::matrix::fill);
        filled.then_some(base)
    });
    let base = base.as_ref()?;
    let copy = make(layout, 8, &[])?;
    let (from, to) = (base.path(), copy.path());
    assert_eq!(run("cp", &["--sparse=always", from, to]).unwrap().0, 0);
    Some(copy)
}

fn base_of(seed: u64) -> Option<(&'static str, Base)> {
    let layout = LAYOUTS[(seed % LAYOUTS.len() as u64) as usize].0;
    let variant = seed / LAYOUTS.len() as u64;
    let base = match variant % 4 {
        0 => make(layout, 48, &["-N", "8192"]),
        1 => make(layout, 48, &["-N", "8192", "-g", "2048"]),
        _ => filled(layout).or_else(|| make(layout, 48, &["-N", "8192"])),
    };
    Some((layout, base?))
}

fn sequence(seed: u64) {
    let Some((layout, base)) = base_of(seed) else {
        return;
    };
    let what = format!("layout {layout}, seed {seed}");
    let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let mut fs = base.open();
    let mut model = Model::from_view(&our_view(&fs));
    for round in 0..2 {
        for n in 0..OPS / 2 {
            step(&mut random, &mut fs, &mut model, base.short_times);
            if n % 25 == 24 {
                storm(&mut random, &mut fs, &mut model);
            }
        }
        let expected = model.view();
        same(&what, &expected, &our_view(&fs));
        fs.commit().unwrap();
        base.fsck(&what);
        same(&what, &expected, &our_view(&base.open()));
        if round == 1
            && let Some(view) = base.kernel_view()
        {
            same(&format!("{what}, the kernel"), &expected, &view);
        }
        // Every other sequence grows between its halves.
        if round == 0 && seed.is_multiple_of(2) {
            super::grow::lengthen(&base, (64 << 20) + random.below(80 << 20));
            match fs.grow(Disk::open(&base.image)) {
                Ok(()) => {}
                Err(FsError::Unsupported(why)) => assert!(why.contains("allow up to"), "{what}: {why}"),
                Err(e) => panic!("{what}: {e}"),
            }
        }
    }
}

#[test]
fn sequences() {
    let first = number_of("CEIL_EXT4_FIRST", 0);
    let end = first + seeds(2 * LAYOUTS.len() as u64);
    let next = AtomicU64::new(first);
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= end {
                return;
            }
            if let Err(panic) = std::panic::catch_unwind(|| sequence(seed)) {
                eprintln!("seed {seed} failed");
                std::panic::resume_unwind(panic);
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
}
