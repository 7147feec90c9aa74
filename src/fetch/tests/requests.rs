use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::support::*;
use crate::fetch::test_server::{Reply, TestServer};
use crate::fetch::{ChecksumPolicy, FetchError, FetchRequest, Location, PublishedSums};
use crate::values::ChecksumState;

const LEN: usize = 3 << 20;

fn none() -> ChecksumPolicy {
    ChecksumPolicy::default()
}

/// Noise mostly, so that the packed file is large enough to be cut anywhere.
fn packed() -> (Vec<u8>, Vec<u8>) {
    let raw = raw_image(LEN);
    let packed = pack("xz", &raw);
    assert!(packed.len() > 500_000);
    (raw, packed)
}

fn range_of(server: &TestServer, turn: usize) -> Option<String> {
    server.requests()[turn].header("range").map(str::to_owned)
}

#[test]
fn offline_opens_no_connection() {
    let (_, data) = packed();
    let digest = sha256sum(&data);
    let server = TestServer::start(move |r, _| Reply::file(r, &data, "\"1\""));
    let mut place = Place::new();
    place.options.offline = true;
    let policy = ChecksumPolicy {
        published: PublishedSums::Auto,
        ..none()
    };
    for policy in [pinned(Some(digest.clone()), None), none(), policy] {
        let error = place.fetch_url(&server.url("/x"), policy).unwrap_err();
        assert!(matches!(error, FetchError::Offline { .. }), "{error}");
        assert!(error.to_string().contains(&server.url("/x")));
        assert!(error.hint().unwrap().contains("--base PATH"));
    }
    assert!(server.requests().is_empty());
    place.options.offline = false;
    place
        .fetch_url(&server.url("/x"), pinned(Some(digest.clone()), None))
        .unwrap();
    place.options.offline = true;
    assert!(place.fetch_url(&server.url("/x"), none()).unwrap().from_cache);
    assert!(
        place
            .fetch_url(&server.url("/x"), pinned(Some(digest), None))
            .unwrap()
            .from_cache
    );
}

#[test]
fn other_schemes_are_refused() {
    let place = Place::new();
    for url in ["ftp://host/x", "file:///etc/passwd", "not a url"] {
        assert!(
            matches!(place.fetch_url(url, none()), Err(FetchError::BadUrl { .. })),
            "{url}"
        );
    }
}

#[test]
fn a_published_sum_is_fetched_and_compared() {
    let (raw, data) = packed();
    let digest = sha256sum(&data);
    let list = format!(
        "{}  other.xz\n{} *card.img.xz\n",
        sha256sum(b"").hex(),
        digest.hex()
    );
    let server = TestServer::start(move |r, _| match r.target.as_str() {
        "/card.img.xz" => Reply::file(r, &data, "\"1\""),
        "/card.img.xz.sha256" | "/SHA256SUMS" => Reply::new(200, list.as_bytes()),
        "/WRONG" => Reply::new(
            200,
            format!("{}  card.img.xz\n", sha256sum(b"x").hex()).as_bytes(),
        ),
        "/OTHER" => Reply::new(200, format!("{}  other.xz\n", sha256sum(b"x").hex()).as_bytes()),
        _ => Reply::new(404, b""),
    });
    let url = server.url("/card.img.xz");
    let with = |published| ChecksumPolicy { published, ..none() };
    for sums in [PublishedSums::Auto, PublishedSums::Url(server.url("/SHA256SUMS"))] {
        let image = Place::new().fetch_url(&url, with(sums)).unwrap();
        assert_eq!(image.raw_digest, sha256sum(&raw));
        assert_eq!(image.verified, ChecksumState::Published);
    }
    let sums = |path: &str| with(PublishedSums::Url(server.url(path)));
    assert_mismatch(
        Place::new().fetch_url(&url, sums("/WRONG")),
        &sha256sum(b"x"),
        &digest,
    );
    assert!(words(Place::new().fetch_url(&url, sums("/OTHER"))).contains("it lists `other.xz`"));
    assert!(words(Place::new().fetch_url(&url, sums("/GONE"))).contains("404"));
}

#[test]
fn what_was_taken_on_trust_is_compared_once_a_sum_is_named() {
    let (_, data) = packed();
    let digest = sha256sum(&data);
    let server = TestServer::start(move |r, _| match r.target.as_str() {
        "/good" => Reply::new(200, digest.hex().as_bytes()),
        "/bad" => Reply::new(200, sha256sum(b"").hex().as_bytes()),
        _ => Reply::file(r, &data, "\"1\""),
    });
    let place = Place::new();
    let url = server.url("/x");
    let with = |path: &str| ChecksumPolicy {
        published: PublishedSums::Url(server.url(path)),
        ..none()
    };
    assert_eq!(
        place.fetch_url(&url, none()).unwrap().verified,
        ChecksumState::Tofu
    );
    assert!(matches!(
        place.fetch_url(&url, with("/bad")),
        Err(FetchError::Mismatch { .. })
    ));
    let requests = server.requests().len();
    for asked in [1, 1] {
        let image = place.fetch_url(&url, with("/good")).unwrap();
        assert_eq!(
            (image.verified, image.from_cache),
            (ChecksumState::Published, true)
        );
        // The sum is asked for once, the image not again.
        assert_eq!(server.requests().len(), requests + asked);
    }
}

#[test]
fn what_vouches_for_a_download_is_told() {
    let (_, data) = packed();
    let digest = sha256sum(&data);
    let server = TestServer::start(move |r, _| Reply::file(r, &data, "\"1\""));
    let url = server.url("/x");
    let place = Place::new();
    assert_eq!(
        place.fetch_url(&url, none()).unwrap().verified,
        ChecksumState::Tofu
    );
    assert_eq!(
        place.fetch_url(&url, none()).unwrap().verified,
        ChecksumState::Tofu
    );
    let one = pinned(Some(digest), None);
    assert_eq!(
        place.fetch_url(&url, one.clone()).unwrap().verified,
        ChecksumState::PinnedOneSource
    );
    let policy = ChecksumPolicy {
        cross_checked: true,
        ..one
    };
    let image = place.fetch_url(&url, policy).unwrap();
    assert_eq!(image.verified, ChecksumState::PinnedCrossChecked);
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn sha512_is_as_good_as_sha256() {
    let (_, data) = packed();
    let text = String::from_utf8(through("sha512sum", &[], &data)).unwrap();
    let digest: crate::values::Digest = text[..128].parse().unwrap();
    let server = TestServer::start(move |r, _| Reply::file(r, &data, "\"1\""));
    let place = Place::new();
    let policy = pinned(Some(digest), None);
    assert!(
        !place
            .fetch_url(&server.url("/x"), policy.clone())
            .unwrap()
            .from_cache
    );
    assert!(place.fetch_url(&server.url("/x"), policy).unwrap().from_cache);
    let wrong: crate::values::Digest = "a".repeat(128).parse().unwrap();
    let result = place.fetch_url(&server.url("/x"), pinned(Some(wrong), None));
    assert!(matches!(result, Err(FetchError::Mismatch { .. })));
}

#[test]
fn a_stop_keeps_the_part_for_the_next_run() {
    let (raw, data) = packed();
    let half = data.len() / 2;
    let server = TestServer::start(move |r, turn| {
        let reply = Reply::file(r, &data, "\"1\"");
        if turn == 0 { reply.stall(half) } else { reply }
    });
    let place = Place::new();
    let cancel = place.options.cancel.clone();
    let url = server.url("/x");
    let begin = Instant::now();
    std::thread::scope(|scope| {
        let running = scope.spawn(|| place.fetch_url(&url, none()));
        while !place.heard.has(&format!("advance download {half}")) {
            std::thread::sleep(Duration::from_millis(5));
            assert!(begin.elapsed() < Duration::from_secs(10));
        }
        cancel.store(true, Ordering::Relaxed);
        assert!(matches!(running.join().unwrap(), Err(FetchError::Cancelled)));
    });
    assert!(
        begin.elapsed() < Duration::from_secs(10),
        "a stop must not wait for the stall"
    );
    assert!(place.is_untouched());
    cancel.store(false, Ordering::Relaxed);
    assert_eq!(place.fetch_url(&url, none()).unwrap().raw_digest, sha256sum(&raw));
    assert_eq!(range_of(&server, 1), Some(format!("bytes={half}-")));
}

#[test]
fn two_at_once_share_one_download() {
    let (raw, data) = packed();
    let server = TestServer::start(move |r, _| {
        std::thread::sleep(Duration::from_millis(200));
        Reply::file(r, &data, "\"1\"")
    });
    let place = Place::new();
    let url = server.url("/x");
    std::thread::scope(|scope| {
        let both = [0, 1].map(|_| scope.spawn(|| place.fetch_url(&url, none()).unwrap()));
        let images = both.map(|one| one.join().unwrap());
        assert!(images[0].from_cache != images[1].from_cache);
        assert_eq!(images[0].raw_digest, sha256sum(&raw));
    });
    assert_eq!(server.requests().len(), 1);
    assert!(place.heard.has("another process is fetching"));
}

#[test]
fn artifacts_are_kept_as_they_came() {
    let data = b"#!/bin/sh\n".repeat(1000);
    let digest = sha256sum(&data);
    let copy = data.clone();
    let server = TestServer::start(move |r, _| Reply::file(r, &copy, "\"1\""));
    let place = Place::new();
    let request = FetchRequest::new(
        Location::Url(server.url("/k3s")),
        pinned(Some(digest.clone()), None),
    );
    for from_cache in [false, true] {
        let file = place.fetcher().fetch_artifact(&request).unwrap();
        assert_eq!((file.from_cache, &file.digest), (from_cache, &digest));
        assert!(std::fs::read(&file.path).unwrap() == data);
        assert!(file.path.ends_with(format!("blob/{}", digest.hex())));
    }
    let wrong = FetchRequest::new(
        Location::Url(server.url("/k3s")),
        pinned(Some(sha256sum(b"")), None),
    );
    assert!(matches!(
        place.fetcher().fetch_artifact(&wrong),
        Err(FetchError::Mismatch { .. })
    ));
    let path = place.file("tool", &data);
    let local = FetchRequest::new(Location::Path(path), none());
    assert_eq!(place.fetcher().fetch_artifact(&local).unwrap().digest, digest);
}

#[test]
fn a_download_can_be_kept_as_it_came() {
    let (_, data) = packed();
    let digest = sha256sum(&data);
    let copy = data.clone();
    let server = TestServer::start(move |r, _| Reply::file(r, &copy, "\"1\""));
    let mut place = Place::new();
    place.options.keep_downloads = true;
    place.fetch_url(&server.url("/x"), none()).unwrap();
    assert_eq!(place.names("blob"), [digest.hex()]);
    assert!(place.names("part").is_empty());
}

#[test]
fn the_proxy_of_the_environment_is_used() {
    let (_, data) = packed();
    let proxy = TestServer::start(move |r, _| Reply::file(r, &data, "\"1\""));
    // The environment of a process cannot be changed safely while it runs, so this test runs itself again.
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "fetch::tests::requests::through_the_proxy",
            "--ignored",
            "--test-threads=1",
        ])
        .env("http_proxy", format!("http://{}", proxy.addr()))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
    assert_eq!(proxy.requests().len(), 1);
    assert_eq!(proxy.requests()[0].target, "http://behind.invalid/card");
}

#[test]
#[ignore = "run by the_proxy_of_the_environment_is_used"]
fn through_the_proxy() {
    Place::new()
        .fetch_url("http://behind.invalid/card", none())
        .unwrap();
}
