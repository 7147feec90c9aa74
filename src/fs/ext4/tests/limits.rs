//! Full disks, fragmentation, large directories, other readers, determinism.

use std::sync::Arc;
use std::time::Instant;

use super::model::Model;
use super::support::*;
use crate::disk::Source;
use crate::fs::{Attrs, FsError, Volume};

/// Many bytes without memory.
#[derive(Debug)]
struct Long(u64);

impl Source for Long {
    fn len(&self) -> u64 {
        self.0
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> std::io::Result<()> {
        for (i, b) in (offset..).zip(buf) {
            *b = (i / 977) as u8;
        }
        Ok(())
    }
}

pub(super) fn long(len: u64) -> Arc<dyn Source> {
    Arc::new(Long(len))
}

#[test]
fn full_disk_changes_nothing() {
    let Some(base) = make("bookworm", 24, &["-N", "8000"]) else {
        return;
    };
    let a = attrs(0o644, 9);
    let mut fs = base.open();
    fs.put_file(b"/kept", &long(100_000), false, &a).unwrap();
    fs.commit().unwrap();
    let before = base.bytes();
    let free = fs.space().free;
    let error = fs.put_file(b"/kept", &long(200 << 20), false, &a).unwrap_err();
    assert!(
        matches!(error, FsError::NoSpace { need, .. } if need == 200 << 20),
        "{error:?}"
    );
    fs.append(b"/kept", &long(200 << 20), &a).unwrap_err();
    fs.put_file(b"/new", &long(free + 1), false, &a).unwrap_err();
    assert_eq!(fs.space().free, free);
    assert!(fs.stat(b"/new").unwrap().is_none());
    fs.commit().unwrap();
    assert!(before == base.bytes(), "a refused operation left a trace");
    // To the last block, file by file.
    let mut count = 0;
    while fs
        .put_file(format!("/f{count}").as_bytes(), &long(5000), false, &a)
        .is_ok()
    {
        count += 1;
    }
    assert!(fs.space().free < 3 * 4096, "{}", fs.space().free);
    fs.commit().unwrap();
    base.fsck("a full disk");
    for f in 0..count {
        fs.remove(format!("/f{f}").as_bytes(), false, at(9)).unwrap();
    }
    fs.commit().unwrap();
    base.fsck("emptied again");
}

#[test]
fn out_of_inodes_changes_nothing() {
    let Some(base) = make("debian", 24, &["-N", "64"]) else {
        return;
    };
    let mut fs = base.open();
    let a = attrs(0o644, 9);
    let mut count = 0;
    let error = loop {
        match fs.put_file(format!("/f{count}").as_bytes(), &long(10), false, &a) {
            Ok(()) => count += 1,
            Err(error) => break error,
        }
    };
    assert!(
        matches!(error, FsError::NoInodes { need: 1, free: 0 }),
        "{error:?}"
    );
    assert!(fs.make_dir(b"/dir", &a).is_err() && fs.symlink(b"/l", b"x", &a).is_err());
    fs.commit().unwrap();
    base.fsck("out of inodes");
    assert_eq!(fs.read_dir(b"/").unwrap().len(), count + 1);
}

#[test]
fn fragmented_to_single_blocks() {
    for layout in ["bookworm", "block1k"] {
        let Some(base) = make(layout, 64, &[]) else {
            return;
        };
        let mut fs = base.open();
        let a = attrs(0o644, 9);
        let bs = fs.space().block_size;
        let mut count = 0;
        fs.make_dir(b"/d", &a).unwrap();
        while fs.space().free > 8 << 20 && fs.space().inodes_free > 10 {
            fs.put_file(format!("/d/{count}").as_bytes(), &long(bs), false, &a)
                .unwrap();
            count += 1;
        }
        let rest = fs.space().free - (1 << 20);
        fs.put_file(b"/rest", &long(rest), false, &a).unwrap();
        for f in (0..count).step_by(2) {
            fs.remove(format!("/d/{f}").as_bytes(), false, at(9)).unwrap();
        }
        let size = fs.space().free - (1 << 20);
        fs.put_file(b"/holes", &long(size), false, &a).unwrap();
        fs.append(b"/holes", &long(200_000), &a).unwrap();
        fs.commit().unwrap();
        base.fsck(layout);
        let mut expected = vec![0; size as usize];
        long(size).read_at(0, &mut expected).unwrap();
        if let Some(view) = base.kernel_view() {
            assert!(view[&b"/holes"[..]].content[..size as usize] == expected);
        }
        fs.remove(b"/holes", false, at(9)).unwrap();
        fs.commit().unwrap();
        base.fsck("without the fragmented file");
    }
}

/// Two levels of index, in time that does not grow with the square of the number of names.
#[test]
fn forty_thousand_names() {
    for (layout, count) in [("bookworm", 40_000), ("block1k", 20_000), ("hypriot", 5_000)] {
        let Some(base) = make(layout, 200, &["-N", "50000"]) else {
            return;
        };
        let mut fs = base.open();
        let a = attrs(0o644, 9);
        fs.make_dir(b"/d", &a).unwrap();
        let start = Instant::now();
        for f in 0..count {
            fs.put_file(format!("/d/some-name-{f}").as_bytes(), &source(b""), false, &a)
                .unwrap();
        }
        fs.commit().unwrap();
        eprintln!("{layout}: {count} names in {:?}", start.elapsed());
        base.fsck(layout);
        for f in (0..count).step_by(3) {
            fs.remove(format!("/d/some-name-{f}").as_bytes(), false, at(9))
                .unwrap();
        }
        fs.commit().unwrap();
        base.fsck("after removing a third");
        base.mounted("rw", |root| {
            // The kernel finds names by hash, not by reading them all.
            for f in (0..count).filter(|f| f % 3 != 0).step_by(37) {
                assert!(root.join(format!("d/some-name-{f}")).exists(), "{f}");
            }
            assert!(!root.join("d/some-name-0").exists());
            for f in 0..500 {
                std::fs::write(root.join(format!("d/kernel{f}")), b"x").unwrap();
            }
        });
        base.fsck("after the kernel went on");
        fs = base.open();
        fs.remove(b"/d", true, at(9)).unwrap();
        fs.commit().unwrap();
        base.fsck("without the directory");
    }
}

#[test]
fn twice_the_same_bytes() {
    let bytes = || {
        let more = [
            "-U",
            "11111111-2222-3333-4444-555555555555",
            "-E",
            "hash_seed=11111111-2222-3333-4444-555555555556",
        ];
        let base = make("trixie", 64, &more)?;
        // The times and the generation of mke2fs's own inodes are not ours.
        let mut fs = base.open();
        let a = attrs(0o644, 9);
        for d in 0..5 {
            fs.make_dir(format!("/d{d}").as_bytes(), &a).unwrap();
            for f in 0..200 {
                let path = format!("/d{d}/{f}").into_bytes();
                fs.put_file(&path, &long(f * 50), false, &a).unwrap();
            }
        }
        fs.remove(b"/d2", true, at(9)).unwrap();
        let untouched = base.bytes();
        fs.commit().unwrap();
        let edited = base.bytes();
        // Only what the commit changed.
        Some(
            untouched
                .chunks(256)
                .zip(edited.chunks(256))
                .map(|(u, e)| if u == e { Vec::new() } else { e.to_vec() })
                .collect::<Vec<_>>(),
        )
    };
    let (Some(first), Some(second)) = (bytes(), bytes()) else {
        return;
    };
    let differing = first.iter().zip(&second).filter(|(a, b)| a != b).count();
    // Superblock and root inode keep the times of two runs of mke2fs.
    assert!(differing <= 4, "{differing} pieces of 256 bytes differ");
}

#[test]
fn another_reader_agrees() {
    for layout in ["bookworm", "debian", "block1k", "hypriot"] {
        let Some(base) = make(layout, 64, &[]) else {
            return;
        };
        let mut fs = base.open();
        let a = attrs(0o640, 1_000_000);
        fs.make_dir(b"/d", &a).unwrap();
        for f in 0..600 {
            fs.put_file(format!("/d/{f}").as_bytes(), &long(f * 97), false, &a)
                .unwrap();
        }
        fs.symlink(b"/d/l", b"../x", &a).unwrap();
        fs.commit().unwrap();
        let other = ext4_view::Ext4::load(Box::new(base.bytes())).unwrap();
        for f in 0..600u64 {
            let read = other.read(format!("/d/{f}").as_str()).unwrap();
            let mut expected = vec![0; (f * 97) as usize];
            long(f * 97).read_at(0, &mut expected).unwrap();
            assert!(read == expected, "{layout} {f}");
        }
        assert_eq!(other.read_dir("/d").unwrap().count(), 603);
        let target = other.read_link("/d/l").unwrap();
        assert_eq!(target.as_ref(), b"../x");
    }
}

/// `mke2fs -d` leaves groups whose bitmaps and inodes were never written.
#[test]
fn filled_by_mke2fs() {
    let tree = tempfile::tempdir().unwrap();
    for d in 0..5 {
        std::fs::create_dir(tree.path().join(format!("t{d}"))).unwrap();
        for f in 0..300 {
            std::fs::write(tree.path().join(format!("t{d}/f{f}")), vec![1; f * 20]).unwrap();
        }
    }
    let tree = tree.path().to_str().unwrap();
    for layout in ["bookworm", "hypriot", "debian13"] {
        let more = ["-d", tree, "-E", "lazy_itable_init=1", "-g", "4096"];
        let Some(base) = make(layout, 300, &more) else {
            return;
        };
        let mut fs = base.open();
        let mut model = Model::from_view(&our_view(&fs));
        let a = attrs(0o644, 9);
        for f in 0..4000 {
            let path = format!("/t{}/new{f}", f % 5).into_bytes();
            fs.put_file(&path, &source(&path), false, &a).unwrap();
            model.put(&path, &path, &a);
        }
        fs.put_file(b"/big", &long(150 << 20), false, &a).unwrap();
        fs.commit().unwrap();
        base.fsck(layout);
        fs.remove(b"/big", false, a.now).unwrap();
        fs.remove(b"/t3", true, a.now).unwrap();
        model.remove(b"/t3", a.now);
        fs.commit().unwrap();
        base.fsck(layout);
        if let Some(view) = base.kernel_view() {
            same(layout, &model.view(), &view);
        }
    }
}

/// Files of ext3, with block maps: read, appended to, replaced and removed.
#[test]
fn block_maps() {
    let Some(base) = make("bookworm", 64, &["-O", "^extent", "-b", "1024"]) else {
        return;
    };
    let mut contents = Vec::new();
    if !base.mounted("rw", |root| {
        for (f, len) in [500, 11_000, 200_000, 3_000_000].into_iter().enumerate() {
            let mut content = vec![0; len];
            long(len as u64).read_at(0, &mut content).unwrap();
            for end in ["a", "r", "d", "k"] {
                std::fs::write(root.join(format!("{end}{f}")), &content).unwrap();
            }
            contents.push(content);
        }
        let sparse = std::fs::File::create(root.join("sparse")).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&sparse, b"end", 5_000_000).unwrap();
    }) {
        return;
    }
    base.fsck("the base");
    run("tune2fs", &["-O", "extents", base.path()]);
    let mut fs = base.open();
    let mut model = Model::from_view(&base.kernel_view().unwrap());
    same("our reader", &model.view(), &our_view(&fs));
    let a = attrs(0o644, 9);
    for f in 0..contents.len() {
        let (append, replace, delete) = (format!("/a{f}"), format!("/r{f}"), format!("/d{f}"));
        fs.append(append.as_bytes(), &source(b"more"), &a).unwrap();
        model.append(append.as_bytes(), b"more", &a);
        fs.put_file(replace.as_bytes(), &source(b"other"), false, &a)
            .unwrap();
        model.put(replace.as_bytes(), b"other", &a);
        fs.remove(delete.as_bytes(), false, a.now).unwrap();
        model.remove(delete.as_bytes(), a.now);
    }
    fs.append(b"/sparse", &source(&[5; 3000]), &a).unwrap();
    model.append(b"/sparse", &[5; 3000], &a);
    fs.commit().unwrap();
    base.fsck("edited");
    same("the kernel", &model.view(), &base.kernel_view().unwrap());
}

/// ACLs go from the kernel to us and from us to the kernel, and follow the mode.
#[test]
fn acls_and_shared_blocks() {
    for layout in ["debian", "inode128", "inode128csum"] {
        let Some(base) = make(layout, 32, &[]) else {
            return;
        };
        let value = "v".repeat(300);
        let mut made = false;
        base.mounted("rw", |root| {
            for f in 0..6 {
                let path = root.join(format!("f{f}"));
                std::fs::write(&path, b"x").unwrap();
                let path = path.to_str().unwrap();
                // Equal attributes: with small inodes the kernel shares one block among them.
                made = run("setfattr", &["-n", "user.v", "-v", &value, path]).is_some()
                    && run("setfacl", &["-m", "u:1000:rw,g:2000:r", path]).is_some();
            }
            let dir = root.join("d");
            std::fs::create_dir(&dir).unwrap();
            run("setfacl", &["-d", "-m", "u:7:rwx", dir.to_str().unwrap()]);
        });
        if !made {
            return;
        }
        let mut fs = base.open();
        let start = base.kernel_view().unwrap();
        same(layout, &start, &our_view(&fs));
        let acl = start[&b"/f0"[..]].xattrs[&b"system.posix_acl_access"[..]].clone();
        let mut model = Model::from_view(&start);
        let a = attrs(0o644, 9);
        fs.set_xattr(b"/f0", b"user.v", Some(b"changed"), a.now).unwrap();
        model.set_xattr(b"/f0", b"user.v", Some(b"changed"));
        fs.remove(b"/f1", false, a.now).unwrap();
        model.remove(b"/f1", a.now);
        fs.set_xattr(b"/f2", b"user.v", None, a.now).unwrap();
        model.set_xattr(b"/f2", b"user.v", None);
        let now = Attrs {
            now: a.now,
            ..Attrs::default()
        };
        fs.put_file(b"/f3", &source(b"replaced"), false, &now).unwrap();
        model.put(b"/f3", b"replaced", &now);
        fs.put_file(b"/new", &source(b"n"), false, &a).unwrap();
        model.put(b"/new", b"n", &a);
        fs.set_xattr(b"/new", b"system.posix_acl_access", Some(&acl), a.now)
            .unwrap();
        model.set_xattr(b"/new", b"system.posix_acl_access", Some(&acl));
        let group_from_mask = Attrs {
            mode: Some(0o664),
            now: a.now,
            ..Attrs::default()
        };
        model.apply(b"/new", &group_from_mask);
        same(layout, &model.view(), &our_view(&fs));
        fs.set_attrs(b"/f4", &attrs(0o604, 9)).unwrap();
        fs.commit().unwrap();
        base.fsck(layout);
        let view = base.kernel_view().unwrap();
        assert_eq!(view[&b"/f4"[..]].mode, 0o604);
        // The mask followed: what chmod 604 leaves to named users is nothing.
        let masked = &view[&b"/f4"[..]].xattrs[&b"system.posix_acl_access"[..]];
        assert!(masked.chunks_exact(8).count() > 3 && *masked != acl);
        let mut expected = model.view();
        expected.insert(b"/f4".to_vec(), view[&b"/f4"[..]].clone());
        same(layout, &expected, &view);
    }
}

/// Above 65,000 links a directory counts one, and counts again when there are fewer.
#[test]
fn very_many_subdirectories() {
    let Some(base) = make("block1k", 120, &["-N", "66000", "-I", "128"]) else {
        return;
    };
    let mut fs = base.open();
    let a = attrs(0o755, 9);
    fs.make_dir(b"/d", &a).unwrap();
    let mut made = 0;
    for (count, links) in [(64_998, 65_000), (65_010, 1)] {
        for d in made..count {
            fs.make_dir(format!("/d/{d}").as_bytes(), &a).unwrap();
        }
        made = count;
        fs.commit().unwrap();
        assert_eq!(fs.stat(b"/d").unwrap().unwrap().links, links);
        base.fsck(&format!("{count} directories"));
    }
    for d in 64_900..65_010 {
        fs.remove(format!("/d/{d}").as_bytes(), false, a.now).unwrap();
    }
    fs.commit().unwrap();
    assert_eq!(fs.stat(b"/d").unwrap().unwrap().links, 64_902);
    base.fsck("fewer directories");
}

/// 20,000 small files and 200 MB in 300 files; prints times and the peak of memory. Judge with an optimised build.
#[test]
#[ignore = "a measurement"]
fn measure() {
    let Some(base) = make("bookworm", 1024, &["-N", "50000"]) else {
        return;
    };
    let mut fs = base.open();
    let a = attrs(0o644, 9);
    let start = Instant::now();
    for f in 0..20_000 {
        if f % 100 == 0 {
            fs.make_dir(format!("/d{}", f / 100).as_bytes(), &a).unwrap();
        }
        let path = format!("/d{}/file{f}", f / 100).into_bytes();
        fs.put_file(&path, &long(3000), false, &a).unwrap();
    }
    eprintln!("20,000 small files collected in {:?}", start.elapsed());
    fs.commit().unwrap();
    eprintln!("and committed in {:?}", start.elapsed());
    let start = Instant::now();
    for f in 0..300 {
        let path = format!("/d1/big{f}").into_bytes();
        fs.put_file(&path, &long(700_000), false, &a).unwrap();
    }
    eprintln!("200 MB in 300 files collected in {:?}", start.elapsed());
    fs.commit().unwrap();
    eprintln!("and committed in {:?}", start.elapsed());
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find(|l| l.starts_with("VmHWM"));
    eprintln!("{}", peak.unwrap_or_default());
    base.fsck("measured");
}

/// A sparse file beyond 4 GiB, whose sizes and block numbers pass 32 bits of bytes.
#[test]
fn five_gigabytes_of_holes() {
    /// Zeroes but for the ends.
    #[derive(Debug)]
    struct Holes;

    impl Source for Holes {
        fn len(&self) -> u64 {
            5 << 30
        }

        fn read_at(&self, offset: u64, buf: &mut [u8]) -> std::io::Result<()> {
            buf.fill(0);
            let end = offset + buf.len() as u64;
            for at in [0, (5 << 30) - 1] {
                if (offset..end).contains(&at) {
                    buf[(at - offset) as usize] = 0xE5;
                }
            }
            Ok(())
        }

        fn next_data(&self, offset: u64) -> std::io::Result<Option<std::ops::Range<u64>>> {
            let last = (5 << 30) - 1;
            Ok(match offset {
                0 => Some(0..1),
                at if at <= last => Some(last..last + 1),
                _ => None,
            })
        }
    }

    let Some(base) = make("bookworm", 32, &["-O", "^large_file"]) else {
        return;
    };
    let mut fs = base.open();
    let a = attrs(0o644, 9);
    let holes: Arc<dyn Source> = Arc::new(Holes);
    fs.put_file(b"/holes", &holes, true, &a).unwrap();
    fs.append(b"/holes", &source(b"end"), &a).unwrap();
    fs.commit().unwrap();
    base.fsck("a sparse file of 5 GiB");
    assert!(fs.features().contains(&"large_file".to_owned()));
    base.mounted("ro", |root| {
        use std::os::unix::fs::FileExt;
        let file = std::fs::File::open(root.join("holes")).unwrap();
        assert_eq!(file.metadata().unwrap().len(), (5 << 30) + 3);
        let mut end = [0; 5];
        file.read_exact_at(&mut end, (5 << 30) - 2).unwrap();
        assert_eq!(&end, b"\0\xE5end");
    });
}

#[test]
fn without_extents_an_edit_is_refused_and_not_the_commit() {
    let Some(base) = make("debian", 32, &["-O", "^extent,^64bit,^metadata_csum"]) else {
        return;
    };
    let mut fs = base.open();
    for refused in [
        fs.remove(b"/lost+found", true, at(1)),
        fs.rename(b"/lost+found", b"/found", at(1)),
        fs.put_file(b"/new", &source(b"x"), false, &attrs(0o644, 1)),
    ] {
        assert!(matches!(refused, Err(FsError::Unsupported(_))), "{refused:?}");
    }
    let before = base.bytes();
    fs.commit().unwrap();
    assert!(base.bytes() == before);
    base.fsck("refused edits");
}
