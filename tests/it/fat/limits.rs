//! Full volumes, full root directories, files that are too large.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use ceil_img::disk::{Bytes, Source};
use ceil_img::fs::{FsError, Volume};

use super::support::{
    BASES, Base, assert_clean, assert_same, attrs, extract, make_base, noise, now, open, put,
};

#[derive(Debug)]
struct Zeroes(u64);

impl Source for Zeroes {
    fn len(&self) -> u64 {
        self.0
    }

    fn read_at(&self, _offset: u64, buf: &mut [u8]) -> io::Result<()> {
        buf.fill(0);
        Ok(())
    }
}

fn bytes(image: &Path) -> Vec<u8> {
    fs::read(image).expect("image")
}

#[test]
fn a_full_root_directory_is_told_and_nothing_changes() {
    let dir = tempfile::tempdir().expect("directory");
    let image = make_base(dir.path(), BASES[1], 0);
    let mut fat = open(&image);
    // The label takes one of the 512 slots, each of these names two.
    for n in 0..255 {
        put(&mut fat, &format!("/long-{n}.txt"), b"x").expect("room");
    }
    fat.commit().expect("commit");
    assert_clean(&image, "full root");
    let before = bytes(&image);
    let mut fat = open(&image);
    put(&mut fat, "/SHORT.TXT", b"x").expect("one slot is left");
    for error in [
        put(&mut fat, "/one.txt", &noise(1, 9_000)).expect_err("full"),
        fat.make_dir(b"/dir", &now()).expect_err("full"),
        fat.rename(b"/long-3.txt", b"/a name that needs more slots.txt", now().now)
            .expect_err("full"),
    ] {
        assert!(error.to_string().contains("root directory is full"), "{error}");
    }
    fat.remove(b"/SHORT.TXT", false, now().now).expect("remove");
    put(&mut fat, "/long-7.txt", b"y").expect("replacing needs no slot");
    drop(fat);
    assert!(bytes(&image) == before, "changed without a commit");
    let mut fat = open(&image);
    assert!(put(&mut fat, "/a long name.txt", b"").is_err());
    fat.commit().expect("commit");
    assert!(bytes(&image) == before, "changed by a failed operation");
}

#[test]
fn a_full_volume_is_told_before_anything_changes() {
    for base in [BASES[0], BASES[2]] {
        let dir = tempfile::tempdir().expect("directory");
        let image = make_base(dir.path(), base, 20);
        let model = extract(&image);
        let before = bytes(&image);
        let mut fat = open(&image);
        let free = fat.space().free;
        let too_much: Arc<dyn Source> = Arc::new(Zeroes(free + (1 << 20)));
        for answer in [
            fat.put_file(b"/big", &too_much, false, &now()),
            fat.append(b"/config.txt", &too_much, &now()),
        ] {
            let told = matches!(answer, Err(FsError::NoSpace { need, free }) if need > free);
            assert!(told, "{answer:?}");
        }
        assert_eq!(fat.space().free, free);
        fat.commit().expect("commit");
        assert!(bytes(&image) == before, "changed");

        let all: Arc<dyn Source> = Arc::new(Zeroes(free));
        fat.put_file(b"/BIG", &all, false, &attrs(1_700_000_000))
            .expect("exactly full");
        assert_eq!(fat.space().free, 0);
        assert!(fat.make_dir(b"/DIR", &now()).is_err());
        fat.append(b"/empty", &Bytes::shared(b""), &attrs(1_500_000_000))
            .expect("nothing needs no room");
        assert!(fat.append(b"/empty", &Bytes::shared(b"x"), &now()).is_err());
        put(&mut fat, "/KERNEL8.IMG", &noise(4, 999_999)).expect("its own room");
        put(&mut fat, "/KERNEL8.IMG", &noise(4, 1)).expect("shorter");
        fat.commit().expect("commit");
        assert_clean(&image, base.name);
        let mut after = extract(&image);
        let big = after.remove("BIG").flatten().expect("big");
        assert_eq!((big.0.len() as u64, big.1), (free, 1_700_000_000));
        after.insert("KERNEL8.IMG".to_owned(), model["KERNEL8.IMG"].clone());
        assert_same(&after, &model, base.name);
    }
}

#[test]
fn fragmented_space_is_used_whole() {
    let dir = tempfile::tempdir().expect("directory");
    let base = Base {
        mkfs: &["-F", "12", "-s", "16", "-n", "HOLES"],
        ..BASES[0]
    };
    let image = make_base(dir.path(), base, 0);
    let mut fat = open(&image);
    fat.make_dir(b"/d", &now()).expect("directory");
    let cluster = fat.space().block_size as usize;
    let mut n = 0;
    while put(&mut fat, &format!("/d/file {n}"), &noise(n, cluster)).is_ok() {
        n += 1;
    }
    for odd in (1..n).step_by(2) {
        fat.remove(format!("/d/file {odd}").as_bytes(), false, now().now)
            .expect("remove");
    }
    fat.commit().expect("commit");
    let free = fat.space().free as usize;
    assert!(free > 400 * cluster);
    let data = noise(5, free - 100);
    put(&mut fat, "/scattered", &data).expect("fits in holes");
    fat.commit().expect("commit");
    assert_clean(&image, "fragmented");
    let tree = extract(&image);
    assert!(tree["scattered"].as_ref().is_some_and(|file| file.0 == data));
    assert!(
        tree["d/file 2"]
            .as_ref()
            .is_some_and(|file| file.0 == noise(2, cluster))
    );
}

#[test]
fn four_gibibytes_are_too_many() {
    let dir = tempfile::tempdir().expect("directory");
    let image = make_base(dir.path(), BASES[1], 0);
    let mut fat = open(&image);
    let huge: Arc<dyn Source> = Arc::new(Zeroes(1 << 32));
    let error = fat
        .put_file(b"/huge", &huge, false, &now())
        .expect_err("too large");
    assert!(error.to_string().contains("at most 4294967295"), "{error}");
    assert!(matches!(
        fat.grow(super::support::FileDevice::open(&image)),
        Err(FsError::Unsupported(_))
    ));
}
