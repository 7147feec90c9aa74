//! The cases that broke other editors, at full size: a base of 1 GiB with a real tree in it, 501 files and one of
//! 100 MB, indexes made by the kernel, full disks. Four readers compare every file: ours, the kernel, and two crates.
//!
//! They take minutes: `cargo test --lib ext4::tests::rows -- --ignored --nocapture` prints a row of a table for each.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use super::limits::long;
use super::matrix::{Both, NOW, Scale, edit_old, fill, kernel_goes_on, operations};
use super::model::Model;
use super::support::*;
use crate::fs::{Attrs, FsError, Volume};

const FULL: Scale = Scale {
    files: 501,
    big: 100 << 20,
    links: &[
        3, 4, 5, 6, 7, 8, 9, 10, 20, 30, 40, 50, 57, 62, 63, 64, 100, 127, 128, 200, 255, 256, 500, 900,
        1000, 3000,
    ],
};

/// Files with unwritten extents, behind which `ext4-view` reads the wrong block.
const PREALLOCATED: [&[u8]; 2] = [b"/old2/prealloc", b"/old2/keepsize"];

fn told(row: &str, layout: &str) {
    eprintln!("| {row} | {layout} | clean |");
}

/// Parts of this system's own tree, as a stand-in for a distribution's.
fn fill_real(root: &Path) {
    fill(root);
    let to = root.join("system");
    std::fs::create_dir(&to).unwrap();
    for from in [
        "/etc",
        "/usr/share/zoneinfo",
        "/usr/share/doc",
        "/usr/lib/python3",
        "/usr/sbin",
    ] {
        if Path::new(from).exists() {
            run(
                "cp",
                &[
                    "-r",
                    "--preserve=mode,ownership,timestamps",
                    from,
                    to.to_str().unwrap(),
                ],
            );
        }
    }
}

/// What `ext4-view` and `rust-fs-ext4` read of every file and symlink.
fn other_readers_agree(what: &str, base: &Base, expected: &BTreeMap<Vec<u8>, Seen>) {
    // It refuses inodes of 128 bytes with checksums.
    let first = (what != "inode128csum").then(|| ext4_view::Ext4::load(Box::new(base.bytes())).unwrap());
    let device = fs_ext4::block_io::FileDevice::open_path(&base.image).unwrap();
    let second = fs_ext4::Filesystem::mount(Arc::new(device)).unwrap();
    let mut symlinks = 0;
    for (name, seen) in expected {
        let shown = String::from_utf8_lossy(name).into_owned();
        let what = format!("{what}: `{shown}`");
        let number = second
            .lookup_path_bytes(name)
            .unwrap_or_else(|e| panic!("{what}: {e:?}"));
        let (inode, _) = second.read_inode_verified(number).unwrap();
        assert_eq!(u32::from(inode.mode) & 0o7777, seen.mode, "{what}");
        assert_eq!((inode.uid, inode.gid), seen.owner, "{what}");
        assert_eq!(inode.mtime, seen.mtime.secs, "{what}");
        assert_eq!(u64::from(inode.links_count), seen.links, "{what}");
        let path = ext4_view::Path::new(&name[..]);
        // It takes a time after 2038 for damage.
        let late = seen.mtime.secs > i64::from(i32::MAX);
        match seen.kind {
            'f' => {
                let mut bytes = vec![0; inode.size as usize];
                let mut done = 0;
                while done < bytes.len() {
                    let read = second.read_ino(number, done as u64, &mut bytes[done..]).unwrap();
                    assert!(read > 0, "{what} ends at {done}");
                    done += read;
                }
                assert!(bytes == seen.content, "{what} differs");
                if let Some(first) = &first
                    && !late
                    && !PREALLOCATED.contains(&&name[..])
                {
                    assert!(first.read(path).unwrap() == seen.content, "{what} differs");
                }
            }
            'l' => {
                symlinks += 1;
                assert_eq!(second.read_link_ino(number).unwrap(), seen.content, "{what}");
                // Nor does it take a target with a part longer than a name can be.
                if let Some(first) = &first
                    && !late
                    && seen.content.len() < 256
                {
                    assert_eq!(first.read_link(path).unwrap().as_ref(), seen.content, "{what}");
                }
            }
            _ => {}
        }
    }
    assert!(symlinks > 30, "{symlinks} symlinks");
}

/// The whole list of operations on a base of 1 GiB that the kernel filled.
fn whole_list(name: &str) {
    let Some(base) = make(name, 1024, &[]) else {
        return;
    };
    let filled = base.mounted("rw", fill_real);
    base.fsck("the base");
    let start = base.kernel_view().unwrap_or_else(|| our_view(&base.open()));
    assert!(!filled || start.len() > 2000, "{} nodes", start.len());
    let mut both = Both {
        fs: base.open(),
        model: Model::from_view(&start),
    };
    same("our reader of the base", &start, &our_view(&both.fs));
    if filled {
        edit_old(&mut both);
        both.remove(b"/system/doc");
    }
    // A block of 1 KiB holds no target of 3000 bytes.
    let block = both.fs.space().block_size as usize;
    let fits = FULL.links.partition_point(|len| *len < block);
    let scale = Scale {
        links: &FULL.links[..fits],
        ..FULL
    };
    operations(&mut both, base.short_times, &scale);
    // Dense where it was sparse, short where it was long and the other way round; the large one once more and gone.
    let large = Random(7).bytes(FULL.big);
    both.put(b"/d13/large", &large, false, &attrs(0o644, NOW));
    both.put(b"/d13/gone", &large[..3_600_000], false, &attrs(0o644, NOW));
    both.fs.commit().unwrap();
    base.fsck("after the first commit");
    both.remove(b"/d13/gone");
    both.put(b"/d2/nothing", &large[..60_000], false, &attrs(0o600, NOW));
    both.append(b"/d13/large", &large[..9000]);
    if block == 4096 {
        both.xattr(b"/d13/large", b"user.large", Some(&large[..3000]));
    }
    let expected = both.model.view();
    both.fs.commit().unwrap();
    base.fsck(name);
    same("a fresh reader", &expected, &our_view(&base.open()));
    if let Some(view) = base.kernel_view() {
        same("the kernel", &expected, &view);
    }
    other_readers_agree(name, &base, &expected);
    if base.mounted("rw", kernel_goes_on) {
        base.fsck("after the kernel went on");
    }
    told("whole list on 1 GiB", name);
}

#[test]
#[ignore = "takes minutes"]
fn whole_lists() {
    for (layout, _) in LAYOUTS {
        whole_list(layout);
    }
}

/// Directories whose index the kernel made, with one level and with two.
#[test]
#[ignore = "takes minutes"]
fn indexes_of_the_kernel() {
    for (layout, _) in LAYOUTS {
        for count in [5_000u32, 40_000] {
            let Some(base) = make(layout, 300, &["-N", "60000"]) else {
                return;
            };
            if !base.mounted("rw", |root| {
                let dir = root.join("d");
                std::fs::create_dir(&dir).unwrap();
                for f in 0..count {
                    std::fs::write(dir.join(format!("an-entry-of-the-kernel-{f}-ä")), b"").unwrap();
                }
            }) {
                return;
            }
            let mut fs = base.open();
            let a = attrs(0o644, NOW);
            for f in 0..300 {
                let path = format!("/d/ours-{f}-ö");
                fs.put_file(path.as_bytes(), &source(b"x"), false, &a).unwrap();
            }
            for f in 0..50 {
                let path = format!("/d/an-entry-of-the-kernel-{}-ä", f * 97);
                fs.remove(path.as_bytes(), false, a.now).unwrap();
            }
            fs.commit().unwrap();
            base.fsck(&format!("{layout}, {count} entries"));
            base.mounted("rw", |root| {
                let dir = root.join("d");
                assert_eq!(std::fs::read_dir(&dir).unwrap().count(), count as usize + 250);
                for f in (0..count).step_by(13) {
                    let gone = f % 97 == 0 && f / 97 < 50;
                    // By name, so that the kernel goes through the index.
                    let found = dir.join(format!("an-entry-of-the-kernel-{f}-ä")).exists();
                    assert_eq!(found, !gone, "{layout} {count}: {f}");
                }
                for f in 0..300 {
                    std::fs::remove_file(dir.join(format!("ours-{f}-ö"))).unwrap();
                    std::fs::write(dir.join(format!("again-{f}")), b"k").unwrap();
                }
            });
            base.fsck(&format!("{layout}, {count} entries, after the kernel went on"));
            told(&format!("index of {count} entries, +300 −50"), layout);
        }
    }
}

#[test]
#[ignore = "takes minutes"]
fn no_room() {
    for (layout, _) in LAYOUTS {
        // 100 MB into 60 MB.
        let Some(base) = make(layout, 64, &[]) else {
            return;
        };
        let mut fs = base.open();
        let before = base.bytes();
        let a = attrs(0o644, NOW);
        let error = fs.put_file(b"/big", &long(100 << 20), false, &a).unwrap_err();
        assert!(
            matches!(error, FsError::NoSpace { need, free } if need == 100 << 20 && free == fs.space().free),
            "{layout}: {error}"
        );
        fs.commit().unwrap();
        assert!(base.bytes() == before, "{layout}: a refused file left a trace");
        told("100 MB into 60 MB", layout);

        // 400 files into 130 inodes: in one batch that is dropped, the image is as it was.
        let Some(base) = make(layout, 64, &["-N", "141"]) else {
            return;
        };
        let mut fs = base.open();
        let free = fs.space().inodes_free;
        let before = base.bytes();
        let made = (0..400)
            .map(|f| fs.put_file(format!("/f{f}").as_bytes(), &source(b"x"), false, &a))
            .take_while(Result::is_ok)
            .count();
        assert_eq!(made as u64, free, "{layout}");
        let error = fs.put_file(b"/one-more", &source(b"x"), false, &a).unwrap_err();
        assert!(matches!(error, FsError::NoInodes { need: 1, free: 0 }), "{error}");
        assert!(base.bytes() == before, "{layout}: nothing was committed");
        fs.commit().unwrap();
        base.fsck("no inode left");
        told("400 files into 130 inodes", layout);
    }
}

/// 60 MB into free space of single blocks: tens of thousands of extents, an extent tree of depth 3 with blocks of 1 KiB.
#[test]
#[ignore = "takes minutes"]
fn single_holes() {
    for (layout, _) in LAYOUTS {
        let Some(base) = make(layout, 360, &["-N", "140000"]) else {
            return;
        };
        let mut fs = base.open();
        let a = attrs(0o644, NOW);
        let block = fs.space().block_size;
        let holes = (62 << 20) / block;
        fs.make_dir(b"/d", &a).unwrap();
        // Files of a block, of which every other one goes; one file takes what is left.
        let kept = holes.min(fs.space().inodes_free / 2 - 50);
        let one = (62 << 20) / kept / block * block;
        for f in 0..2 * kept {
            if fs
                .put_file(format!("/d/{f}").as_bytes(), &long(one), false, &a)
                .is_err()
            {
                break;
            }
        }
        let rest = fs.space().free / 100 * 97;
        fs.put_file(b"/rest", &long(rest), false, &a).unwrap();
        for f in (0..2 * kept).step_by(2) {
            fs.remove(format!("/d/{f}").as_bytes(), false, a.now).unwrap();
        }
        let size = fs.space().free - (2 << 20);
        assert!(size > 50 << 20, "{layout}: {size} free");
        fs.put_file(b"/holes", &long(size), false, &a).unwrap();
        fs.append(b"/holes", &long(300_000), &a).unwrap();
        fs.commit().unwrap();
        base.fsck(layout);
        let mut expected = vec![0; size as usize];
        long(size).read_at(0, &mut expected).unwrap();
        base.mounted("rw", |root| {
            let found = std::fs::read(root.join("holes")).unwrap();
            assert!(found[..size as usize] == expected, "{layout}");
            std::fs::remove_file(root.join("holes")).unwrap();
        });
        base.fsck("after the kernel removed it");
        told(&format!("60 MB into holes of {one} bytes"), layout);
    }
}

/// Old bases: hashes of unsigned characters, inodes with 28 bytes of extra fields, legacy hash versions.
#[test]
#[ignore = "takes minutes"]
fn old_bases() {
    let set = |base: &Base, command: &str| {
        let (code, text) = run("debugfs", &["-w", "-R", command, base.path()]).unwrap();
        assert_eq!(code, 0, "{command}: {text}");
    };
    for layout in ["bookworm", "buster", "hypriot", "debian", "block1k"] {
        let Some(base) = make(layout, 64, &["-N", "16000"]) else {
            return;
        };
        // EXT2_FLAGS_UNSIGNED_HASH, as an ARM board sets it: its characters are unsigned.
        set(&base, "set_super_value flags 2");
        let filled = base.mounted("rw", |root| {
            fill(root);
            for f in 0..3000 {
                std::fs::write(root.join(format!("many/ünïcode-ñame-{f}")), b"").unwrap();
            }
        });
        if !filled {
            return;
        }
        for f in 0..60 {
            set(
                &base,
                &format!("set_inode_field \"/old0/fïle-{f:03}\" extra_isize 28"),
            );
        }
        base.fsck("the old base");
        let mut both = Both {
            fs: base.open(),
            model: Model::from_view(&base.kernel_view().unwrap()),
        };
        same("our reader", &both.model.view(), &our_view(&both.fs));
        let now = Attrs {
            now: at(NOW),
            ..Attrs::default()
        };
        for f in 0..500 {
            both.put(format!("/many/öurs-{f}").as_bytes(), b"x", false, &now);
        }
        for f in 0..20 {
            let path = format!("/old0/fïle-{f:03}").into_bytes();
            both.xattr(&path, b"user.x", Some(&[b'v'; 70]));
            both.append(&path, b"more");
        }
        for f in 20..40 {
            both.put(format!("/old0/fïle-{f:03}").as_bytes(), &[3; 9000], false, &now);
        }
        let expected = both.model.view();
        both.fs.commit().unwrap();
        base.fsck(layout);
        same("the kernel", &expected, &base.kernel_view().unwrap());
        base.mounted("rw", |root| {
            for f in 0..500 {
                std::fs::remove_file(root.join(format!("many/öurs-{f}"))).unwrap();
            }
            for entry in std::fs::read_dir(root.join("old0")).unwrap() {
                let path = entry.unwrap().path();
                let name = path.file_name().unwrap().as_bytes().to_vec();
                std::fs::write(&path, name).unwrap();
            }
        });
        base.fsck("after the kernel went on");
        told("unsigned hash, UTF-8 names, i_extra_isize 28", layout);
    }
}
