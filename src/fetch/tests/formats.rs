use super::support::*;
use crate::fetch::{ChecksumPolicy, FetchError, Format};
use crate::values::{ByteSize, ChecksumState};

const LEN: usize = (3 << 20) + 777;

fn none() -> ChecksumPolicy {
    ChecksumPolicy::default()
}

// rows: F004
#[test]
fn every_packing_gives_the_same_raw_bytes() {
    let data = raw_image(LEN);
    for name in PACKINGS {
        let place = Place::new();
        let packed = pack(name, &data);
        // The name says nothing; the first bytes do.
        let path = place.file("base.bin", &packed);
        let expected = pinned(Some(sha256sum(&packed)), Some(sha256sum(&data)));
        let image = place
            .fetch_path(&path, expected)
            .unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(
            std::fs::read(&image.raw_path).unwrap() == data,
            "{name}: other bytes"
        );
        assert_eq!(image.raw_len, data.len() as u64, "{name}");
        assert_eq!(image.download_len, packed.len() as u64, "{name}");
        assert_eq!(image.download_digest, Some(sha256sum(&packed)), "{name}");
        assert_eq!(image.format.to_string(), name.split(' ').next().unwrap());
        assert_eq!(image.verified, ChecksumState::PinnedOneSource);
        assert!(!image.from_cache);
        let mode = std::os::unix::fs::PermissionsExt::mode(&image.raw_path.metadata().unwrap().permissions());
        assert_eq!(mode & 0o777, 0o444);
        assert_eq!(
            place.names("raw"),
            [format!("{}.img", sha256sum(&data).hex())],
            "{name}"
        );
    }
}

#[test]
fn data_cut_short_anywhere_is_an_error_and_leaves_nothing() {
    let data = raw_image(400_000);
    for name in PACKINGS.iter().filter(|n| **n != "raw") {
        let packed = pack(name, &data);
        let place = Place::new();
        for cut in [1, 4, 9, 20, packed.len() / 3, packed.len() - 30_000] {
            let path = place.file("base", &packed[..packed.len() - cut]);
            let text = words(place.fetch_path(&path, none()));
            assert!(text.contains("is damaged"), "{name} less {cut}: {text}");
            assert!(
                place.is_untouched(),
                "{name} less {cut}: {:?}",
                place.names("raw")
            );
        }
    }
}

#[test]
fn a_flipped_bit_anywhere_is_an_error_and_leaves_nothing() {
    let data = raw_image(400_000);
    for name in PACKINGS {
        let packed = pack(name, &data);
        let digest = sha256sum(&packed);
        let place = Place::new();
        for place_of in [
            8,
            40,
            packed.len() / 2,
            packed.len() * 7 / 8,
            packed.len() - 12,
            packed.len() - 3,
        ] {
            let mut bad = packed.clone();
            bad[place_of] ^= 0x10;
            let path = place.file("base", &bad);
            let result = place.fetch_path(&path, pinned(Some(digest.clone()), None));
            assert_mismatch(result, &digest, &sha256sum(&bad));
            assert!(place.is_untouched(), "{name} at {place_of}");
        }
    }
}

/// Without a digest to compare with, the checks inside the packing must notice. Only bytes that a check covers.
#[test]
fn a_flipped_bit_in_the_data_is_noticed_without_a_digest() {
    let data = raw_image(400_000);
    for name in PACKINGS.iter().filter(|n| **n != "raw") {
        let mut bad = pack(name, &data);
        let middle = bad.len() / 4;
        bad[middle] ^= 1;
        let place = Place::new();
        let text = words(place.fetch_path(&place.file("base", &bad), none()));
        assert!(text.contains("is damaged"), "{name}: {text}");
        assert!(place.is_untouched(), "{name}");
    }
}

#[test]
fn something_behind_the_packed_data_is_an_error() {
    let data = raw_image(400_000);
    for name in PACKINGS.iter().filter(|n| **n != "raw") {
        for garbage in [&b"x"[..], b"garbage that is longer than any header", &[0u8; 7]] {
            let mut packed = pack(name, &data);
            packed.extend_from_slice(garbage);
            let place = Place::new();
            let text = words(place.fetch_path(&place.file("base", &packed), none()));
            assert!(text.contains("is damaged"), "{name}: {text}");
            assert!(place.is_untouched(), "{name}");
        }
    }
}

#[test]
fn padding_between_xz_streams_is_no_garbage() {
    let data = raw_image(LEN);
    let (a, b) = data.split_at(1 << 20);
    let mut packed = through("xz", &["-1", "-c"], a);
    packed.extend([0; 8]);
    packed.extend(through("xz", &["-1", "-c"], b));
    packed.extend([0; 4]);
    let place = Place::new();
    let image = place.fetch_path(&place.file("base", &packed), none()).unwrap();
    assert_eq!(image.raw_digest, sha256sum(&data));
}

#[test]
fn what_is_no_image_is_named() {
    let tar = through("tar", &["-c", "--to-stdout", "/etc/hostname"], b"");
    let text = b"just some text\n".repeat(2000);
    let cases: [(&str, Vec<u8>, &str); 9] = [
        ("empty", Vec::new(), "it is empty"),
        ("text", text.clone(), "neither an MBR"),
        ("short", b"abc".to_vec(), "only 3 bytes"),
        ("page", b"<!DOCTYPE html><html>log in".to_vec(), "a web page"),
        ("tar", tar.clone(), "a tar archive"),
        ("tar in xz", pack("xz", &tar), "a tar archive"),
        ("text in gz", pack("gz", &text), "neither an MBR"),
        ("xz in gz", pack("gz", &pack("xz", &text)), "xz data inside"),
        ("ext4 alone", ext4(), "without a partition table"),
    ];
    for (name, data, part) in cases {
        let place = Place::new();
        let result = place.fetch_path(&place.file("base", &data), none());
        assert!(
            matches!(result, Err(FetchError::NotAnImage { .. })),
            "{name}: {result:?}"
        );
        let text = words(result);
        assert!(text.contains(part), "{name}: {text}");
        assert!(place.is_untouched(), "{name}");
    }
}

fn ext4() -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("fs");
    std::fs::write(&path, vec![0; 1 << 20]).unwrap();
    through("mke2fs", &["-q", "-F", "-t", "ext4", path.to_str().unwrap()], b"");
    std::fs::read(&path).unwrap()
}

#[test]
fn a_zip_may_hold_other_files_but_only_one_image() {
    let data = raw_image(400_000);
    let place = Place::new();
    let one = zip_of(&[("README.txt", b"hello"), ("card.bin", &data)]);
    let image = place.fetch_path(&place.file("one.zip", &one), none()).unwrap();
    assert_eq!((image.raw_digest, image.format), (sha256sum(&data), Format::Zip));

    let two = zip_of(&[("a.img", &data), ("b.img", &data)]);
    let text = words(place.fetch_path(&place.file("two.zip", &two), none()));
    assert!(
        text.contains("exactly one disk image and has 2; it holds `a.img`, `b.img`"),
        "{text}"
    );

    let no = zip_of(&[("a.txt", b"a"), ("b.txt", b"b")]);
    let text = words(place.fetch_path(&place.file("no.zip", &no), none()));
    assert!(text.contains("has 0; it holds `a.txt`, `b.txt`"), "{text}");
}

#[test]
fn an_image_that_unpacks_to_too_much_is_stopped() {
    let mut place = Place::new();
    place.options.max_raw = ByteSize(1 << 20);
    let data = raw_image(8 << 20);
    for name in ["xz", "gz", "zst", "bz2", "zip", "raw"] {
        let text = words(place.fetch_path(&place.file("bomb", &pack(name, &data)), none()));
        assert!(text.contains("unpacks to more than 1 MiB"), "{name}: {text}");
        assert!(place.is_untouched(), "{name}");
    }
}
