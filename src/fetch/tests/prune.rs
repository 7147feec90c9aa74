use std::time::{Duration, SystemTime};

use super::support::*;
use crate::fetch::{CachedImage, ChecksumPolicy, FetchRequest, Location, ObjectKind, PruneOptions, Pruned};

const ALL: PruneOptions = PruneOptions {
    all: true,
    unused_since: None,
    max_allocated: None,
    leftovers: false,
};

fn none() -> ChecksumPolicy {
    ChecksumPolicy::default()
}

/// Waits until files are stamped with a later time than those written so far: the clock of a file system has ticks.
fn a_later_time(place: &Place) {
    let stamp = || {
        let probe = place.file("clock", b".");
        std::fs::metadata(probe).unwrap().modified().unwrap()
    };
    let before = stamp();
    while stamp() <= before {
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Three images, each used a little later than the one before.
fn three(place: &Place) -> Vec<CachedImage> {
    (0..3)
        .map(|i| {
            let mut data = raw_image(1 << 20);
            data[5000] = i;
            let image = place
                .fetch_path(&place.file(&format!("{i}.img"), &data), none())
                .unwrap();
            a_later_time(place);
            image
        })
        .collect()
}

/// What `prune` did, if it found as many objects in use as there are.
///
/// A process that another test starts shares our open files, and so their locks, until it has become its program: for
/// that moment an object may look in use that nobody uses.
fn prune(place: &Place, options: &PruneOptions, in_use: usize) -> Option<Pruned> {
    let pruned = place.fetcher().prune(options).unwrap();
    assert!(pruned.kept_in_use >= in_use, "an object in use was taken");
    (pruned.kept_in_use == in_use).then_some(pruned)
}

/// Runs `test` from its start until no process that was just starting came between (see [`prune`]).
fn undisturbed(test: impl Fn(&Place) -> Option<()>) {
    let undisturbed = (0..20).any(|_| test(&Place::new()).is_some());
    assert!(undisturbed, "objects are in use that nobody uses");
}

#[test]
fn lists_what_is_there_with_the_last_used_first() {
    undisturbed(|place| {
        let images = three(place);
        let script = place.file("tool", b"echo");
        let request = FetchRequest::new(Location::Path(script.clone()), none());
        place.fetcher().fetch_artifact(&request).unwrap();
        a_later_time(place);
        place.fetch_path(&place.dir.path().join("0.img"), none()).unwrap();
        let listed = place.fetcher().cache_entries().unwrap();
        let digests: Vec<_> = listed.iter().map(|e| e.digest.clone()).collect();
        let expected = [
            &images[0].raw_digest,
            &sha256sum(b"echo"),
            &images[2].raw_digest,
            &images[1].raw_digest,
        ];
        assert_eq!(digests.iter().collect::<Vec<_>>(), expected);
        assert_eq!(listed[1].kind, ObjectKind::Blob);
        assert_eq!(listed[1].origin, script.display().to_string());
        assert_eq!(listed[0].len, 1 << 20);
        assert!(listed[0].allocated < 700 << 10, "{}", listed[0].allocated);
        assert!(listed[0].in_use);
        (!listed[1].in_use).then_some(())
    });
}

#[test]
fn what_is_in_use_stays() {
    undisturbed(|place| {
        let mut images = three(place);
        let last = images.pop().unwrap();
        drop(images);
        let pruned = prune(place, &ALL, 1)?;
        assert_eq!(pruned.objects.len(), 2);
        assert!(last.raw_path.exists());
        let fetched = place.fetch_path(&place.dir.path().join("2.img"), none());
        assert!(fetched.unwrap().from_cache);
        drop(last);
        assert_eq!(prune(place, &ALL, 0)?.objects.len(), 1);
        assert!(place.is_untouched(), "{:?}", place.names("index"));
        // And it can be fetched again.
        let fetched = place.fetch_path(&place.dir.path().join("2.img"), none());
        assert!(!fetched.unwrap().from_cache);
        Some(())
    });
}

#[test]
fn prunes_by_age_and_by_size() {
    undisturbed(|place| {
        let images = three(place);
        let names: Vec<_> = images.iter().map(|i| i.raw_path.clone()).collect();
        drop(images);
        let listed = place.fetcher().cache_entries().unwrap();
        let by_age = PruneOptions {
            unused_since: Some(listed[1].last_used),
            ..PruneOptions::default()
        };
        assert_eq!(prune(place, &by_age, 0)?.objects.len(), 1);
        assert!(!names[0].exists() && names[1].exists());
        let by_size = PruneOptions {
            max_allocated: Some(listed[0].allocated),
            ..PruneOptions::default()
        };
        let pruned = prune(place, &by_size, 0)?;
        assert_eq!(pruned.freed, listed[1].allocated);
        assert!(!names[1].exists() && names[2].exists());
        let nothing = prune(place, &PruneOptions::default(), 0)?;
        assert!(nothing.objects.is_empty());
        Some(())
    });
}

#[test]
fn leftovers_go_only_when_asked_and_nobody_works_on_them() {
    let place = Place::new();
    place.fetcher();
    let cache = &place.options.cache_dir;
    for name in [
        "raw/.new-1-1",
        "part/k.part",
        "part/k.part.json",
        "part/busy.part",
        "index/x.new-1-1",
    ] {
        std::fs::write(cache.join(name), b"left").unwrap();
    }
    let at_work = std::fs::File::create(cache.join("raw/.new-2-2")).unwrap();
    at_work.lock().unwrap();
    let lock = std::fs::File::create(cache.join("lock/busy.lock")).unwrap();
    lock.lock().unwrap();
    place.fetcher().prune(&PruneOptions::default()).unwrap();
    assert_eq!(place.names("part").len(), 3);
    let options = PruneOptions {
        leftovers: true,
        ..PruneOptions::default()
    };
    let pruned = place.fetcher().prune(&options).unwrap();
    assert_eq!(pruned.leftovers.len(), 3, "{:?}", pruned.leftovers);
    assert_eq!(place.names("part"), ["busy.part"]);
    assert_eq!(place.names("raw"), [".new-2-2"]);
}

#[test]
fn an_age_in_the_future_prunes_everything_unused() {
    undisturbed(|place| {
        drop(three(place));
        let options = PruneOptions {
            unused_since: Some(SystemTime::now() + Duration::from_secs(60)),
            ..PruneOptions::default()
        };
        assert_eq!(prune(place, &options, 0)?.objects.len(), 3);
        Some(())
    });
}

#[test]
fn what_a_killed_program_left_goes_with_the_next_use() {
    let place = Place::new();
    place.fetcher();
    let dead = place.options.cache_dir.join("raw/.new-4711-0");
    std::fs::write(&dead, vec![1; 1 << 20]).unwrap();
    place
        .fetch_path(&place.file("a.img", &raw_image(1 << 20)), none())
        .unwrap();
    assert!(!dead.exists());
}
