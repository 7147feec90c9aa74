use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};

use super::support::*;
use crate::disk::Source;
use crate::fetch::{ChecksumPolicy, FetchError, FileSource};

fn none() -> ChecksumPolicy {
    ChecksumPolicy::default()
}

#[test]
fn the_second_use_reads_nothing_again() {
    let place = Place::new();
    let data = raw_image(1 << 20);
    let path = place.file("base.xz", &pack("xz", &data));
    let first = place.fetch_path(&path, none()).unwrap();
    let second = place.fetch_path(&path, none()).unwrap();
    assert!(second.from_cache && !first.from_cache);
    assert_eq!(first.raw_digest, second.raw_digest);
    let starts = place
        .heard
        .0
        .lock()
        .unwrap()
        .iter()
        .filter(|l| l.starts_with("start"))
        .count();
    assert_eq!(starts, 1);
}

#[test]
fn a_changed_local_file_is_another_base() {
    let place = Place::new();
    let path = place.file("base.img", &raw_image(1 << 20));
    let first = place.fetch_path(&path, none()).unwrap();
    let mut other = raw_image(1 << 20);
    other[7000] ^= 1;
    std::fs::write(&path, &other).unwrap();
    let second = place.fetch_path(&path, none()).unwrap();
    assert_ne!(first.raw_digest, second.raw_digest);
    assert_eq!(second.raw_digest, sha256sum(&other));
}

#[test]
fn a_byte_flipped_in_the_cache_is_found_and_the_file_deleted() {
    let place = Place::new();
    let data = raw_image(1 << 20);
    let path = place.file("base.gz", &pack("gz", &data));
    let image = place.fetch_path(&path, none()).unwrap();
    std::fs::set_permissions(&image.raw_path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let file = std::fs::File::options()
        .write(true)
        .open(&image.raw_path)
        .unwrap();
    let before = file.metadata().unwrap();
    file.write_all_at(&[data[9000] ^ 4], 9000).unwrap();
    // Even with the old modification time put back.
    file.set_modified(before.modified().unwrap()).unwrap();
    assert_eq!(file.metadata().unwrap().mtime(), before.mtime());
    let mut bad = data.clone();
    bad[9000] ^= 4;
    assert_mismatch(
        place.fetch_path(&path, none()),
        &sha256sum(&data),
        &sha256sum(&bad),
    );
    assert!(!image.raw_path.exists());
    let again = place.fetch_path(&path, none()).unwrap();
    assert!(!again.from_cache);
    assert!(std::fs::read(&again.raw_path).unwrap() == data);
}

#[test]
fn a_touched_but_unchanged_object_stays() {
    let place = Place::new();
    let path = place.file("base.gz", &pack("gz", &raw_image(1 << 20)));
    let image = place.fetch_path(&path, none()).unwrap();
    std::fs::set_permissions(&image.raw_path, std::fs::Permissions::from_mode(0o444)).unwrap();
    assert!(place.fetch_path(&path, none()).unwrap().from_cache);
}

#[test]
fn a_damaged_record_only_costs_time() {
    let place = Place::new();
    let path = place.file("base.gz", &pack("gz", &raw_image(1 << 20)));
    place.fetch_path(&path, none()).unwrap();
    for name in place.names("index") {
        std::fs::write(place.options.cache_dir.join("index").join(name), b"{\"stamp").unwrap();
    }
    assert!(place.fetch_path(&path, none()).is_ok());
    assert!(place.fetch_path(&path, none()).unwrap().from_cache);
}

#[test]
fn a_known_file_with_the_wrong_digest_is_still_refused() {
    let place = Place::new();
    let data = raw_image(1 << 20);
    let packed = pack("gz", &data);
    let path = place.file("base.gz", &packed);
    place.fetch_path(&path, none()).unwrap();
    let wrong = sha256sum(b"other");
    assert_mismatch(
        place.fetch_path(&path, pinned(Some(wrong.clone()), None)),
        &wrong,
        &sha256sum(&packed),
    );
    assert_mismatch(
        place.fetch_path(&path, pinned(None, Some(wrong.clone()))),
        &wrong,
        &sha256sum(&data),
    );
}

#[test]
fn a_stop_leaves_nothing() {
    let place = Place::new();
    let path = place.file("base.gz", &pack("gz", &raw_image(1 << 20)));
    place
        .options
        .cancel
        .store(true, std::sync::atomic::Ordering::Relaxed);
    assert!(matches!(
        place.fetch_path(&path, none()),
        Err(FetchError::Cancelled)
    ));
    assert!(place.is_untouched());
}

#[test]
fn a_missing_file_and_a_directory_are_named() {
    let place = Place::new();
    let text = words(place.fetch_path(&place.dir.path().join("gone.img"), none()));
    assert!(text.contains("gone.img"), "{text}");
    let text = words(place.fetch_path(place.dir.path(), none()));
    assert!(text.contains("not a regular file"), "{text}");
}

#[test]
fn the_base_is_read_in_place_without_its_holes() {
    let place = Place::new();
    let mut data = raw_image(4 << 20);
    data.extend(vec![0; 4 << 20]);
    let image = place
        .fetch_path(&place.file("base.xz", &pack("xz", &data)), none())
        .unwrap();
    let source = FileSource::cached(&image).unwrap();
    assert_eq!(source.len(), data.len() as u64);
    // What lies outside the ranges told must be zeroes.
    let mut seen = vec![0u8; data.len()];
    let mut at = 0;
    while let Some(range) = source.next_data(at).unwrap() {
        let (start, end) = (range.start as usize, range.end as usize);
        source.read_at(range.start, &mut seen[start..end]).unwrap();
        at = range.end;
    }
    assert!(seen == data);
    assert!(at < data.len() as u64, "the zeroes at the end are told as data");
}

/// A small file system of its own; `None` where it cannot be had.
struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    fn mount(at: &std::path::Path) -> Option<Self> {
        std::fs::create_dir_all(at).unwrap();
        let mut mount = std::process::Command::new("mount");
        let done = mount
            .args(["-t", "tmpfs", "-o", "size=512k", "tmpfs"])
            .arg(at)
            .output()
            .ok()?;
        done.status.success().then(|| Self(at.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount")
            .arg("-l")
            .arg(&self.0)
            .status();
    }
}

#[test]
#[allow(clippy::print_stderr)]
fn a_full_disk_is_named_and_left_as_it_was() {
    let place = Place::new();
    let Some(_disk) = SmallDisk::mount(&place.options.cache_dir) else {
        eprintln!("skipped: mounting needs root");
        return;
    };
    for name in ["xz", "gz", "zip", "raw"] {
        let path = place.file("base", &pack(name, &raw_image(4 << 20)));
        let result = place.fetch_path(&path, none());
        assert!(
            matches!(result, Err(FetchError::DiskFull { .. })),
            "{name}: {result:?}"
        );
        assert!(place.is_untouched(), "{name}");
    }
}
