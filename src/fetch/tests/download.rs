use std::time::{Duration, Instant};

use super::support::*;
use crate::fetch::test_server::{Reply, TestServer};
use crate::fetch::{ChecksumPolicy, FetchError, FetchRequest, Location};

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
fn every_packing_comes_through_the_network() {
    let raw = raw_image(LEN);
    for name in PACKINGS {
        let data = pack(name, &raw);
        let digest = sha256sum(&data);
        let server = TestServer::start(move |r, _| Reply::file(r, &data, "\"1\""));
        let place = Place::new();
        let policy = pinned(Some(digest.clone()), Some(sha256sum(&raw)));
        let image = place
            .fetch_url(&server.url("/x"), policy.clone())
            .unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(std::fs::read(&image.raw_path).unwrap() == raw, "{name}");
        assert_eq!(image.download_digest, Some(digest), "{name}");
        assert!(place.names("part").is_empty(), "{name}");
        // The second time no connection is opened, even from another URL.
        let image = place.fetch_url("http://127.0.0.1:1/y", policy).unwrap();
        assert!(image.from_cache);
        assert_eq!(server.requests().len(), 1, "{name}");
    }
}

#[test]
fn progress_is_told_in_bytes_of_the_download() {
    let (_, data) = packed();
    let len = data.len();
    let server = TestServer::start(move |r, _| Reply::file(r, &data, "\"1\""));
    let place = Place::new();
    place.fetch_url(&server.url("/x"), none()).unwrap();
    assert!(place.heard.has(&format!("start download Some({len})")));
    assert!(place.heard.has(&format!("advance download {len}")));
    assert!(place.heard.has("end download"));
}

// rows: F006
#[test]
fn a_broken_connection_is_continued_where_it_broke() {
    for name in ["xz", "gz", "zst", "bz2", "zip", "raw"] {
        let raw = raw_image(LEN);
        let data = pack(name, &raw);
        let third = data.len() / 3;
        let server = TestServer::start(move |r, turn| match turn {
            0 | 1 => Reply::file(r, &data, "\"1\"").cut(third),
            _ => Reply::file(r, &data, "\"1\""),
        });
        let place = Place::new();
        let image = place
            .fetch_url(&server.url("/x"), none())
            .unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(image.raw_digest, sha256sum(&raw), "{name}");
        assert_eq!(range_of(&server, 0), None);
        assert_eq!(range_of(&server, 1), Some(format!("bytes={third}-")), "{name}");
        assert_eq!(
            range_of(&server, 2),
            Some(format!("bytes={}-", 2 * third)),
            "{name}"
        );
        assert_eq!(server.requests()[1].header("if-range"), Some("\"1\""));
    }
}

#[test]
fn the_format_is_known_even_when_its_first_bytes_come_alone() {
    for name in ["xz", "gz", "zst", "bz2", "zip", "raw"] {
        let raw = raw_image(LEN);
        let data = pack(name, &raw);
        let server = TestServer::start(move |r, turn| {
            let reply = Reply::file(r, &data, "\"1\"");
            if turn < 4 { reply.cut(1) } else { reply }
        });
        let image = Place::new()
            .fetch_url(&server.url("/x"), none())
            .unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(image.raw_digest, sha256sum(&raw), "{name}");
        assert_eq!(image.format.to_string(), name);
    }
}

// rows: F006
#[test]
fn the_next_run_continues_and_re_reads_nothing_from_the_network() {
    let (raw, data) = packed();
    let half = data.len() / 2;
    let copy = data.clone();
    let server = TestServer::start(move |r, turn| match turn {
        0 => Reply::file(r, &copy, "\"1\"").cut(half),
        1..=3 => Reply::new(500, b""),
        _ => Reply::file(r, &copy, "\"1\""),
    });
    let place = Place::new();
    let text = words(place.fetch_url(&server.url("/x"), none()));
    assert!(text.contains("500"), "{text}");
    assert!(place.is_untouched());
    assert_eq!(place.names("part").len(), 2);
    let image = place.fetch_url(&server.url("/x"), none()).unwrap();
    assert_eq!(image.raw_digest, sha256sum(&raw));
    assert_eq!(image.download_digest, Some(sha256sum(&data)));
    assert_eq!(range_of(&server, 4), Some(format!("bytes={half}-")));
    assert!(place.names("part").is_empty());
}

#[test]
fn a_server_that_ignores_ranges_is_read_from_the_start() {
    let (raw, data) = packed();
    let half = data.len() / 2;
    let server = TestServer::start(move |_, turn| {
        let reply = Reply::new(200, &data).with("ETag", "\"1\"");
        if turn == 0 { reply.cut(half) } else { reply }
    });
    let place = Place::new();
    let image = place.fetch_url(&server.url("/x"), none()).unwrap();
    assert_eq!(image.raw_digest, sha256sum(&raw));
}

#[test]
fn a_file_that_changed_between_two_connections_is_read_from_the_start() {
    let old = pack("gz", &raw_image(LEN));
    let mut changed = raw_image(LEN);
    changed[100_000] ^= 1;
    let new = pack("gz", &changed);
    for honest in [true, false] {
        let (old, new) = (old.clone(), new.clone());
        let half = old.len() / 2;
        let server = TestServer::start(move |r, turn| match turn {
            0 => Reply::file(r, &old, "\"old\"").cut(half),
            // A server that answers with a part of the other file in spite of If-Range.
            1 if !honest => Reply::new(206, &new[half..])
                .with(
                    "Content-Range",
                    &format!("bytes {half}-{}/{}", new.len() - 1, new.len()),
                )
                .with("ETag", "\"new\""),
            _ => Reply::file(r, &new, "\"new\""),
        });
        let place = Place::new();
        let image = place.fetch_url(&server.url("/x"), none()).unwrap();
        assert_eq!(image.raw_digest, sha256sum(&changed), "honest: {honest}");
    }
}

#[test]
fn pieces_of_two_files_that_do_not_fit_are_fetched_again() {
    let (raw, data) = packed();
    let digest = sha256sum(&data);
    let half = data.len() / 2;
    let server = TestServer::start(move |r, turn| {
        let mut other = data.clone();
        other[half / 2] ^= 1;
        // The first half is wrong, under the same tag.
        if turn == 0 {
            Reply::file(r, &other, "\"1\"").cut(half)
        } else {
            Reply::file(r, &data, "\"1\"")
        }
    });
    let place = Place::new();
    let image = place
        .fetch_url(&server.url("/x"), pinned(Some(digest), None))
        .unwrap();
    assert_eq!(image.raw_digest, sha256sum(&raw));
    assert!(place.heard.has("fetched again from the start"));
}

#[test]
fn wrong_bytes_are_refused_and_deleted() {
    let (raw, data) = packed();
    for (name, bytes) in [
        ("another image", pack("xz", &raw_image(LEN / 2))),
        ("a page", b"<html>please log in</html>".repeat(100)),
        ("cut by a proxy", data[..data.len() - 7000].to_vec()),
        ("a flipped bit", {
            let mut bad = data.clone();
            bad[300_000] ^= 1;
            bad
        }),
        ("more behind", [&data[..], b"more"].concat()),
    ] {
        let found = sha256sum(&bytes);
        let server = TestServer::start(move |r, _| Reply::file(r, &bytes, "\"1\""));
        let place = Place::new();
        let result = place.fetch_url(&server.url("/x"), pinned(Some(sha256sum(&data)), None));
        assert_mismatch(result, &sha256sum(&data), &found);
        assert!(place.is_untouched() && place.names("part").is_empty(), "{name}");
    }
    // The right packed file with the wrong raw image inside.
    let server = TestServer::start(move |r, _| Reply::file(r, &data, "\"1\""));
    let place = Place::new();
    let wrong = sha256sum(b"");
    let result = place.fetch_url(&server.url("/x"), pinned(None, Some(wrong.clone())));
    assert_mismatch(result, &wrong, &sha256sum(&raw));
    assert!(place.is_untouched() && place.names("part").is_empty());
}

#[test]
fn a_busy_server_is_asked_again_after_the_time_it_names() {
    let (_, data) = packed();
    let server = TestServer::start(move |r, turn| match turn {
        0 => Reply::new(503, b""),
        1 => Reply::new(429, b"").with("Retry-After", "1"),
        _ => Reply::file(r, &data, "\"1\""),
    });
    let place = Place::new();
    let begin = Instant::now();
    place.fetch_url(&server.url("/x"), none()).unwrap();
    // One second is asked, and cut to the longest pause.
    assert!(begin.elapsed() >= place.options.patience.longest_pause);
    assert_eq!(server.requests().len(), 3);
}

#[test]
fn a_missing_file_is_not_asked_for_again() {
    let server = TestServer::start(|_, _| Reply::new(404, b"no"));
    let place = Place::new();
    let text = words(place.fetch_url(&server.url("/x"), none()));
    assert!(text.contains("404") && text.contains(&server.url("/x")), "{text}");
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn retries_end() {
    let server = TestServer::start(|_, _| Reply::new(503, b""));
    let place = Place::new();
    assert!(words(place.fetch_url(&server.url("/x"), none())).contains("503"));
    assert_eq!(server.requests().len(), 3);
}

#[test]
fn a_silent_connection_is_given_up_and_continued() {
    let (raw, data) = packed();
    let half = data.len() / 2;
    let server = TestServer::start(move |r, turn| {
        let reply = Reply::file(r, &data, "\"1\"");
        if turn == 0 { reply.stall(half) } else { reply }
    });
    let mut place = Place::new();
    place.options.patience.stall = Duration::from_secs(1);
    let begin = Instant::now();
    let image = place.fetch_url(&server.url("/x"), none()).unwrap();
    assert_eq!(image.raw_digest, sha256sum(&raw));
    assert!(begin.elapsed() >= place.options.patience.stall);
    assert_eq!(range_of(&server, 1), Some(format!("bytes={half}-")));
}

#[test]
fn an_announced_length_that_does_not_come_is_a_break() {
    let (_, data) = packed();
    let server = TestServer::start(move |_, _| {
        let reply = Reply::new(200, &data[..data.len() - 1]).without_length();
        reply.with("Content-Length", &data.len().to_string())
    });
    let place = Place::new();
    assert!(matches!(
        place.fetch_url(&server.url("/x"), none()),
        Err(FetchError::Download { .. })
    ));
    assert!(place.is_untouched());
}

#[test]
fn a_download_of_unknown_length_is_whole_when_it_unpacks() {
    let (raw, data) = packed();
    let server = TestServer::start(move |_, _| Reply::new(200, &data).without_length());
    let image = Place::new().fetch_url(&server.url("/x"), none()).unwrap();
    assert_eq!(image.raw_digest, sha256sum(&raw));
}

#[test]
fn mirrors_are_asked_in_order() {
    let (raw, data) = packed();
    let digest = sha256sum(&data);
    let half = data.len() / 2;
    let broken = TestServer::start({
        let data = data.clone();
        move |r, turn| {
            if turn == 0 {
                Reply::file(r, &data, "\"a\"").cut(half)
            } else {
                Reply::new(404, b"")
            }
        }
    });
    let good = TestServer::start(move |r, _| Reply::file(r, &data, "\"b\""));
    let mut place = Place::new();
    place.options.mirrors = vec![("http://127.0.0.1:1/".to_owned(), broken.url("/"))];
    let mut request = FetchRequest::new(
        Location::Url("http://127.0.0.1:1/d/x.xz".to_owned()),
        pinned(Some(digest), None),
    );
    // Nobody listens at the place between them.
    request.mirrors = vec![good.url("/m/x.xz")];
    let image = place.fetcher().fetch_base(&request).unwrap();
    assert_eq!(image.raw_digest, sha256sum(&raw));
    assert_eq!(broken.requests()[0].target, "/d/x.xz");
    assert_eq!(good.requests()[0].target, "/m/x.xz");
    // The digest makes up for the tag of another server.
    assert_eq!(
        good.requests()[0].header("range"),
        Some(format!("bytes={half}-").as_str())
    );
    assert_eq!(good.requests()[0].header("if-range"), None);
}

#[test]
fn redirects_are_followed_but_not_for_ever() {
    let (raw, data) = packed();
    let server = TestServer::start(move |r, _| match r.target.as_str() {
        "/x" => Reply::redirect("/y"),
        "/y" => Reply::file(r, &data, "\"1\""),
        "/ftp" => Reply::redirect("ftp://127.0.0.1/x"),
        _ => Reply::redirect(&format!("{}o", r.target)),
    });
    let place = Place::new();
    assert_eq!(
        place.fetch_url(&server.url("/x"), none()).unwrap().raw_digest,
        sha256sum(&raw)
    );
    let text = words(place.fetch_url(&server.url("/loo"), none()));
    assert!(text.contains("more than 10 redirects"), "{text}");
    assert!(server.requests().len() < 20);
}

#[test]
fn a_host_that_is_not_there_is_named_with_a_way_out() {
    let place = Place::new();
    let error = place.fetch_url("http://127.0.0.1:1/x", none()).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("`127.0.0.1` cannot be reached"), "{text}");
    let hint = error.hint().unwrap();
    assert!(hint.contains("--base demo") && hint.contains("--base PATH"));
}
