use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};

use super::support::*;
use crate::fetch::{ChecksumPolicy, FetchError};

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
