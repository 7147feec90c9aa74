//! Growing over a tail of stale bytes; `resize2fs` must be able to go on.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use super::super::Ext4;
use super::super::format::compat;
use super::super::store::Buffer;
use super::support::*;
use crate::disk::Overlay;
use crate::fs::{FsError, Volume};

/// Lengthens the image by bytes that are not zero.
pub(super) fn lengthen(base: &Base, to: u64) {
    let file = File::options().write(true).open(&base.image).unwrap();
    let from = file.metadata().unwrap().len();
    let junk = vec![0xFF; 1 << 20];
    let mut at = from;
    while at < to {
        let step = (to - at).min(1 << 20) as usize;
        file.write_all_at(&junk[..step], at).unwrap();
        at += step as u64;
    }
}

fn grow_and_judge(layout: &str, start: u64, sizes: &[u64], more: &[&str]) {
    let Some(base) = make(layout, start, more) else {
        return;
    };
    let what = format!("{layout} of {start} MiB {more:?}");
    judge(&base, &what, sizes, Load::Half, 300 * MIB);
}

/// What is written between two growths.
#[derive(Debug, Clone, Copy)]
enum Load {
    /// Half of what is free, 12 MiB at most.
    Half,
    /// All but the last few blocks.
    Full,
}

fn put(fs: &mut Ext4, path: &[u8], random: &mut Random, load: Load) {
    let space = fs.space();
    let len = match load {
        Load::Half => (space.free / 2).min(12 * MIB),
        // Beyond this, the test would be busy with bytes.
        Load::Full => space.free.min(60 * MIB),
    };
    let mut spare = 0;
    loop {
        let content = random.bytes(len.saturating_sub(spare) as usize);
        match fs.put_file(path, &source(&content), false, &attrs(0o644, 6)) {
            Ok(()) => return,
            Err(FsError::NoSpace { .. } | FsError::NoInodes { .. }) if spare < len => {
                spare = spare * 2 + space.block_size;
            }
            // No inode, or no block at all: nothing to put.
            Err(FsError::NoSpace { .. } | FsError::NoInodes { .. }) => return,
            Err(e) => panic!("{e}"),
        }
    }
}

/// Bytes that growing to `len` may leave unused: a last group too small for its metadata and 50 blocks.
fn most_left_out(fs: &Ext4) -> u64 {
    let sb = &fs.sb;
    let copies = 1 + sb.gdt_blocks() + u64::from(sb.reserved_gdt_blocks());
    (copies + 2 + sb.itable_blocks() + 50) * sb.block_size as u64
}

/// Grows to each of `sizes`, writes, lets `e2fsck`, the kernel and, `further` on, `resize2fs` judge.
fn judge(base: &Base, what: &str, sizes: &[u64], load: Load, further: u64) {
    let mut random = Random(base.len() * 31 + sizes[0]);
    let mut fs = base.open();
    let before = random.bytes((fs.space().free / 4).min(700_000) as usize);
    fs.put_file(b"/before", &source(&before), false, &attrs(0o644, 5))
        .unwrap();
    for (i, size) in sizes.iter().enumerate() {
        lengthen(base, *size);
        match fs.grow(Disk::open(&base.image)) {
            Ok(()) => {
                let left = size - fs.space().total;
                assert!(left < most_left_out(&fs), "{what}: {left} of {size} left out");
            }
            Err(FsError::Unsupported(why)) => {
                assert!(why.contains("reserved descriptor blocks"), "{why}");
            }
            Err(e) => panic!("{what} to {size}: {e}"),
        }
        let path = format!("/after{i}").into_bytes();
        match fs.make_dir(&path, &attrs(0o755, 6)) {
            Ok(()) => put(&mut fs, &[&path[..], b"/big"].concat(), &mut random, load),
            Err(FsError::NoSpace { .. } | FsError::NoInodes { .. }) => {}
            Err(e) => panic!("{what}: {e}"),
        }
        fs.commit().unwrap();
        base.fsck(&format!("{what} grown to {size}"));
    }
    let expected = our_view(&base.open());
    assert_eq!(expected[&b"/before"[..]].content, before);
    if let Some(view) = base.kernel_view() {
        same("the kernel", &expected, &view);
        base.mounted("rw", |root| {
            for f in 0..200 {
                std::fs::write(root.join(format!("k{f}")), vec![3; 20_000]).unwrap_or(());
            }
        });
        base.fsck("after the kernel went on");
    }
    // resize2fs 1.47.0 forgets to write an inode table that is all zero when it moves it to lower blocks, which it
    // does where nothing says that the table is unused and no reserve keeps it in place.
    if !fs.sb.has_group_csum() && !fs.sb.has_compat(compat::RESIZE_INODE) {
        return;
    }
    let last = *sizes.last().unwrap();
    lengthen(base, last + further);
    if let Some((code, text)) = run("resize2fs", &["-f", base.path()]) {
        assert_eq!(code, 0, "{what} {sizes:?}: {text}");
        base.fsck("after resize2fs");
    }
}

const MIB: u64 = 1 << 20;

#[test]
fn real_layouts() {
    for layout in ["bookworm", "trixie", "buster", "hypriot", "debian"] {
        grow_and_judge(layout, 100, &[300 * MIB + 12_345, 460 * MIB], &[]);
    }
}

#[test]
fn small_blocks_use_up_the_reserve() {
    for layout in ["block1k", "inode128csum"] {
        grow_and_judge(layout, 60, &[61 * MIB, 200 * MIB + 77_777, 520 * MIB], &[]);
    }
    grow_and_judge("block2k", 60, &[300 * MIB], &[]);
}

#[test]
fn no_reserve() {
    for layout in ["noresize", "noindex", "inode128"] {
        grow_and_judge(layout, 40, &[150 * MIB, 290 * MIB + 4096], &[]);
    }
    grow_and_judge("block1k", 40, &[300 * MIB], &["-O", "^resize_inode"]);
}

/// With eight inodes in a group, the reserved ones and `lost+found` reach into the second.
#[test]
fn reserved_inodes_in_two_groups() {
    for features in [
        "^64bit,metadata_csum",
        "64bit,^metadata_csum,uninit_bg",
        "^64bit,^metadata_csum,^uninit_bg",
    ] {
        let options = ["-b", "1024", "-g", "360", "-i", "32768", "-I", "256", "-G", "16"];
        let more = ["-J", "size=1", "-E", "resize=3809728", "-O", features];
        let Some(base) = make_with(8 * MIB, &[&options[..], &more].concat()) else {
            return;
        };
        let base = base.unwrap();
        let mut fs = base.open();
        assert_eq!((fs.sb.inodes_per_group, fs.sb.first_ino), (8, 11), "{features}");
        let free = u64::from(fs.sb.free_inodes);
        let mut taken = Vec::new();
        loop {
            let path = format!("/f{}", taken.len()).into_bytes();
            match fs.put_file(&path, &source(b"x"), false, &attrs(0o644, 5)) {
                Ok(()) => taken.push(fs.stat(&path).unwrap().unwrap().id),
                Err(FsError::NoInodes { .. }) => break,
                Err(e) => panic!("{e}"),
            }
        }
        // 11 is `lost+found`.
        assert_eq!(taken.iter().min(), Some(&12), "{features}");
        assert_eq!(taken.len() as u64, free, "{features}");
        fs.commit().unwrap();
        base.fsck(features);
        for i in 0..taken.len() {
            fs.remove(format!("/f{i}").as_bytes(), false, at(6)).unwrap();
        }
        fs.commit().unwrap();
        base.fsck(&format!("{features}, all removed"));
        judge(&base, features, &[9 * MIB, 20 * MIB + 77], Load::Half, MIB);
    }
}

/// A file system such as nobody would make, and what it is to be grown to.
struct Odd {
    len: u64,
    options: Vec<String>,
    sizes: Vec<u64>,
    load: Load,
    further: u64,
}

fn odd(random: &mut Random) -> Odd {
    let one_in = |random: &mut Random, n: u64| random.below(n) == 0;
    let bs = 1024u64 << random.below(3);
    let len = bs * (4096 + random.below(16_384)) + random.below(bs);
    let blocks = len / bs;
    let mut features: Vec<&str> = Vec::new();
    let mut options = vec!["-b".to_owned(), bs.to_string()];
    let mut option = |name: &str, value: &dyn ToString| options.extend([name.to_owned(), value.to_string()]);
    features.push(if one_in(random, 2) { "64bit" } else { "^64bit" });
    features.push(
        [
            "metadata_csum",
            "^metadata_csum,uninit_bg",
            "^metadata_csum,^uninit_bg",
        ][random.below(3) as usize],
    );
    if one_in(random, 3) {
        features.push("^has_journal");
    } else {
        option("-J", &format!("size={}", bs >> 10));
    }
    let mut extended = Vec::new();
    match random.below(6) {
        0 => features.push("^resize_inode"),
        1 => features.push("^resize_inode,^sparse_super"),
        2 => extended.push(format!("resize={}", blocks * (2 + random.below(1000)))),
        _ => {}
    }
    if one_in(random, 4) {
        features.push("^flex_bg");
    } else {
        let flex = 1u64 << random.below(7);
        option("-G", &flex);
        // Packed groups of one leave mke2fs with wrong counts of its own.
        if flex > 1 && one_in(random, 4) {
            extended.push("packed_meta_blocks=1".to_owned());
        }
    }
    if one_in(random, 4) {
        extended.push(format!("stride={}", 1 << random.below(6)));
    }
    let mut group = bs * 8;
    if one_in(random, 2) {
        group = (256 + 8 * random.below(bs)).min(bs * 8);
        option("-g", &group);
    }
    match random.below(3) {
        0 => option("-N", &(16 * blocks.div_ceil(group) + random.below(blocks / 2))),
        1 => option("-i", &(bs << random.below(6))),
        _ => {}
    }
    option("-I", &([128, 256, 512][random.below(3) as usize]));
    option("-m", &([0, 1, 5, 20][random.below(4) as usize]));
    options.extend(["-O".to_owned(), features.join(",")]);
    if !extended.is_empty() {
        options.extend(["-E".to_owned(), extended.join(",")]);
    }
    let mut sizes = vec![len];
    for _ in 0..1 + random.below(4) {
        let more = match random.below(6) {
            0 => random.below(bs),
            1 => random.below(60) * bs,
            2 => random.below(group) * bs + random.below(bs),
            3 => (1 + random.below(3)) * group * bs + random.below(60) * bs,
            4 => (sizes[0] % (group * bs)) + random.below(300) * bs,
            _ => random.below(120 * MIB),
        };
        let size = sizes[sizes.len() - 1] + more.min(150 * MIB);
        sizes.push(size);
    }
    sizes.remove(0);
    let load = if one_in(random, 3) { Load::Full } else { Load::Half };
    Odd {
        len,
        options,
        sizes,
        load,
        further: random.below(100 * MIB),
    }
}

/// `CEIL_EXT4_SEEDS=1000` tries that many instead of a few, `CEIL_EXT4_FIRST=500` begins with that one.
#[test]
fn odd_geometries() {
    let first = number_of("CEIL_EXT4_FIRST", 0);
    let (mut tried, mut refused) = (0, 0);
    for seed in first..first + seeds(8) {
        let mut random = Random((seed + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        random.next();
        let Odd {
            len,
            options,
            sizes,
            load,
            further,
        } = odd(&mut random);
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        let what = format!(
            "seed {seed}: {len} bytes {}, {load:?}, to {sizes:?}",
            options.join(" ")
        );
        eprintln!("{what}");
        tried += 1;
        match make_with(len, &options) {
            // What mke2fs adds by itself when a table is too long for its group.
            Some(Ok(base))
                if Ext4::open(Disk::open(&base.image)).is_err_and(|e| e.to_string().contains("meta_bg")) =>
            {
                refused += 1;
            }
            Some(Ok(base)) => judge(&base, &what, &sizes, load, further),
            Some(Err(why)) => {
                eprintln!("mke2fs refuses: {why}");
                refused += 1;
            }
            None => return,
        }
    }
    assert!(
        tried < 8 || refused * 3 <= tried,
        "mke2fs refuses {refused} of {tried}"
    );
}

/// Grows a copy of `base` to `len` bytes of zeroes; gives its length, or why not.
fn try_to(base: &Base, len: u64, what: &str) -> Result<u64, String> {
    let copy = base.dir.path().join("copy");
    let (code, text) = run("cp", &["--sparse=always", base.path(), copy.to_str().unwrap()]).unwrap();
    assert_eq!(code, 0, "{text}");
    let file = File::options().write(true).open(&copy).unwrap();
    file.set_len(len).unwrap();
    let mut fs = Ext4::open(Disk::open(&copy)).unwrap();
    let before = fs.space();
    let result = fs.grow(Disk::open(&copy));
    let after = fs.space();
    if result.is_err() {
        assert_eq!(after, before, "{what}: a refused growth changes something");
    }
    fs.commit().unwrap();
    fsck(&copy, &format!("{what} to {len}"));
    match result {
        Ok(()) => Ok(after.total),
        Err(FsError::Unsupported(why)) => Err(why),
        Err(e) => panic!("{what}: {e}"),
    }
}

/// The length that a refusal names can be reached, and not one group more.
#[test]
fn the_limit_named_is_the_limit() {
    for (layout, options) in LAYOUTS {
        let bs = match () {
            () if options.contains(&"1024") => 1024,
            () if options.contains(&"2048") => 2048,
            () => 4096,
        };
        // A reserve of few blocks and small groups bring the limit near.
        let resize = format!("resize={}", 3 * (bs / 32) * 2048);
        let more: &[&str] = if layout == "noresize" {
            &["-g", "2048", "-N", "4096"]
        } else {
            &["-g", "2048", "-N", "4096", "-E", &resize]
        };
        let Some(base) = make(layout, 24, more) else {
            return;
        };
        let group = 2048 * bs;
        let refusal = try_to(&base, 1 << 40, layout).unwrap_err();
        assert!(
            refusal.contains("reserved descriptor blocks allow up to"),
            "{refusal}"
        );
        let named = |refusal: &str| -> u64 {
            let words: Vec<&str> = refusal.split(' ').collect();
            words[words.len() - 2].parse().unwrap()
        };
        let limit = named(&refusal);
        assert!((24 * MIB..4 << 30).contains(&limit), "{layout}: {refusal}");
        assert_eq!(try_to(&base, limit, layout), Ok(limit), "{layout}");
        assert_eq!(
            named(&try_to(&base, limit + group, layout).unwrap_err()),
            limit,
            "{layout}"
        );
        // What is too small for a group is left out, not refused.
        assert_eq!(try_to(&base, limit + 10 * bs, layout), Ok(limit), "{layout}");
    }
}

/// Block numbers of 32 bits end before a large reserve does.
#[test]
fn without_64bit_there_are_fewer_blocks() {
    let Some(base) = make("bookworm", 100, &["-i", "1048576", "-E", "resize=4294967295"]) else {
        return;
    };
    let overlay = Arc::new(Overlay::new(Arc::new(Buffer(base.bytes()))));
    overlay.set_len(16 << 40);
    let refusal = base.open().grow(overlay).unwrap_err().to_string();
    assert!(
        refusal.ends_with(&format!(
            "without 64bit there are up to {} bytes",
            u64::from(u32::MAX) * 4096
        )),
        "{refusal}"
    );
}

/// Beyond 16 GiB, descriptors of 32 bytes need a block of the reserve (64-byte ones beyond 8 GiB).
#[test]
fn to_the_size_of_a_card() {
    for layout in ["bookworm", "hypriot", "debian"] {
        let Some(base) = make(layout, 200, &[]) else {
            return;
        };
        let file = File::options().write(true).open(&base.image).unwrap();
        file.set_len(33 << 30).unwrap();
        let mut fs = base.open();
        fs.grow(Disk::open(&base.image)).unwrap();
        fs.put_file(b"/a", &source(&[1; 9000]), false, &attrs(0o644, 6))
            .unwrap();
        fs.commit().unwrap();
        assert_eq!(fs.space().total, 33 << 30);
        base.fsck(layout);
        // Nothing but what is used is copied: with the rest overwritten, all is still there.
        let used = fs.used_ranges().unwrap();
        assert!(used.windows(2).all(|w| w[0].end < w[1].start));
        let copy = base.dir.path().join("copy");
        let junk = File::create(&copy).unwrap();
        junk.set_len(33 << 30).unwrap();
        for at in (0..240 << 20).step_by(1 << 20) {
            junk.write_all_at(&[0xAA; 1 << 20], at).unwrap();
        }
        let mut copied = 0;
        for range in used {
            let mut bytes = vec![0; (range.end - range.start) as usize];
            file_read(&base, range.start, &mut bytes);
            junk.write_all_at(&bytes, range.start).unwrap();
            copied += bytes.len() as u64;
        }
        assert!(copied <= fs.space().total - fs.space().free);
        fsck(&copy, "a copy of the used ranges");
    }
}

/// Terabytes take less than a second and little memory (40 MiB of it are the base): run it with `--release --ignored --nocapture` to see.
#[test]
#[ignore = "measures"]
fn time_and_memory() {
    let peak = || {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|l| l.starts_with("VmHWM:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
    };
    for (layout, more) in [
        ("bookworm", &[][..]),
        ("buster", &[]),
        ("debian", &[]),
        ("block1k", &["-i", "16384"]),
        ("block1k", &["-i", "16384", "-O", "^metadata_csum,^uninit_bg"]),
    ] {
        let mut options = more.to_vec();
        // The reserve must reach far enough.
        options.extend(["-E", "resize=4000000000"]);
        let Some(base) = make(layout, 40, &options) else {
            return;
        };
        for len in [4 << 30, 8 << 30, 16 << 30, 32 << 30, 1 << 38, 1 << 41] {
            let overlay = Arc::new(Overlay::new(Arc::new(Buffer(base.bytes()))));
            overlay.set_len(len);
            let mut fs = base.open();
            let before = peak();
            let start = std::time::Instant::now();
            let grown = fs.grow(overlay.clone()).map(|()| fs.commit().unwrap());
            let time = start.elapsed();
            let groups = fs.sb.groups_count();
            eprintln!(
                "{layout} {more:?} to {} GiB: {time:?}, {groups} groups, peak {} -> {} KiB, {}",
                len >> 30,
                before,
                peak(),
                grown.map_or_else(|e| e.to_string(), |()| "grown".to_owned())
            );
        }
    }
}

fn file_read(base: &Base, at: u64, bytes: &mut [u8]) {
    let file = File::open(&base.image).unwrap();
    file.read_exact_at(bytes, at).unwrap();
}
