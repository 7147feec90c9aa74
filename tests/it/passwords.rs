//! Passwords and tokens in the addresses of inputs: they are used, and never told.

use std::fs;
use std::path::Path;

use crate::support::cli::{Ran, Test};
use crate::support::test_server::{Reply, TestServer};

use ceil_img::values::Digest;

const PASSWORD: &str = "hunter2-password";
const TOKEN: &str = "hunter2-token";
/// `user:hunter2-password` as HTTP has it.
const BASIC: &str = "Basic dXNlcjpodW50ZXIyLXBhc3N3b3Jk";

/// Gives its one file to those who know the password and the token.
fn guarded(data: Vec<u8>) -> TestServer {
    TestServer::start(move |request, _| {
        if request.header("authorization") != Some(BASIC) {
            return Reply::new(401, b"who are you?");
        }
        if request.target == format!("/card.img?token={TOKEN}") {
            return Reply::file(request, &data, &Digest::sha256(&data).hex());
        }
        Reply::new(404, b"not here")
    })
}

fn address(server: &TestServer, path: &str) -> String {
    format!("http://user:{PASSWORD}@{}{path}?token={TOKEN}", server.addr())
}

fn cluster(base: &str) -> String {
    format!("cluster: {{name: c}}\nnodes:\n  - {{name: one, profile: minimal, base: {base}}}\n")
}

/// Nothing that the program said or wrote holds a secret.
#[track_caller]
fn tells_nothing(ran: Ran) -> Ran {
    for (what, text) in [("stdout", &ran.stdout), ("stderr", &ran.stderr)] {
        assert!(!text.contains("hunter2"), "{what}: {text}");
    }
    let mut seen = 0;
    look(&ran.path("."), &mut seen);
    assert!(seen > 0);
    ran
}

#[track_caller]
fn look(dir: &Path, seen: &mut u32) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            look(&path, seen);
        } else if path.file_name().is_some_and(|n| n != "cluster.yaml") {
            *seen += 1;
            let bytes = fs::read(&path).unwrap();
            assert!(
                !bytes.windows(7).any(|w| w == b"hunter2"),
                "{} holds a secret",
                path.display()
            );
        }
    }
}

#[test]
fn passwords_of_addresses_are_used_and_not_told() {
    let demo = Test::new()
        .args(["-q", "build", "one", "--base", "demo", "--format", "img.xz"])
        .run();
    let server = guarded(demo.read("out/one.img.xz"));
    let file = cluster(&format!("\"{}\"", address(&server, "/card.img")));
    // Fetched with the password; lock, plan, manifest and cache do not have it.
    let ran = tells_nothing(Test::new().cluster(&file).args(["fetch"]).run());
    let lock = String::from_utf8(ran.read("ceil.lock")).unwrap();
    assert!(
        lock.contains(&format!("url: http://{}/card.img?token=***", server.addr()))
            || lock.contains(&format!("url: \"http://{}/card.img?token=***\"", server.addr())),
        "{lock}"
    );
    let ran = tells_nothing(ran.again().args(["plan", "one"]).stdout_has("token=***").run());
    let ran = tells_nothing(
        ran.again()
            .args(["plan", "one", "--json"])
            .stdout_has("token=***")
            .run(),
    );
    let ran = tells_nothing(ran.again().args(["lint"]).any_status().stdout_has("P31").run());
    let ran = tells_nothing(
        ran.again()
            .args(["build", "one", "--verify", "--format", "none"])
            .run(),
    );
    assert!(
        String::from_utf8(ran.read("out/one.manifest.json"))
            .unwrap()
            .contains("card.img?token=***")
    );
    // Another host with the lock alone asks with the password too, and a new password needs no new lock.
    let there = Test::new().cluster(&file).file("ceil.lock", &lock);
    tells_nothing(there.args(["fetch", "--locked"]).run());
    // A lock that somebody wrote a password into is read without it.
    let told = lock.replace("http://", &format!("http://user:{PASSWORD}@"));
    let there = Test::new().cluster(&file).file("ceil.lock", &told);
    there.args(["fetch", "--locked"]).run();
}

#[test]
fn passwords_of_addresses_are_in_no_error() {
    let mut card = vec![1; 4096];
    card[510..512].copy_from_slice(&[0x55, 0xAA]);
    let server = guarded(card.clone());
    let gone = {
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!(
            "http://user:{PASSWORD}@{}/card.img?token={TOKEN}",
            closed.local_addr().unwrap()
        )
    };
    let right = address(&server, "/card.img");
    let digest = "0".repeat(64);
    for (base, words) in [
        (format!("\"{}\"", address(&server, "/other.img")), "404"),
        (
            format!("\"{}\"", right.replace("user:", "nobody:")),
            "the server answered 401",
        ),
        (
            format!("{{url: \"{right}\", sha256: \"{digest}\"}}"),
            "now serves",
        ),
        (format!("{{url: \"{right}\", checksum_url: \"{right}2\"}}"), "404"),
        (format!("\"{gone}\""), "cannot be reached"),
        // What is no address at all.
        (
            format!("\"http://user:{PASSWORD}/@host:x/a\""),
            "not an http or https",
        ),
        (format!("\"ftp://user:{PASSWORD}@host/a\""), "is not an address"),
        (
            format!("\"https://user:{PASSWORD} @host/a\""),
            "is not an address",
        ),
    ] {
        let test = Test::new().cluster(&cluster(&base)).file("x", "");
        tells_nothing(test.args(["fetch"]).status(1).stderr_has(words).run());
    }
    for args in [
        ["--offline", "fetch", "--json"],
        ["--offline", "build", "one"],
        ["--offline", "plan", "one"],
    ] {
        let test = Test::new()
            .cluster(&cluster(&format!("\"{right}\"")))
            .file("x", "");
        tells_nothing(test.args(args).any_status().run());
    }
    // A file that changed under its name.
    let file = cluster(&format!("\"{right}\""));
    let ran = Test::new().cluster(&file).args(["fetch"]).run();
    let lock = String::from_utf8(ran.read("ceil.lock")).unwrap();
    let lock = lock.replace(&Digest::sha256(&card).hex(), &digest);
    tells_nothing(
        Test::new()
            .cluster(&file)
            .file("ceil.lock", lock)
            .args(["fetch"])
            .status(1)
            .stderr_has("now serves")
            .run(),
    );
    // A mirror of the command line.
    let mirror = format!("http://elsewhere.invalid/={}", gone.replace("card.img", ""));
    let test = Test::new()
        .cluster(&cluster("\"http://elsewhere.invalid/card.img\""))
        .file("x", "");
    tells_nothing(test.args(["--mirror", &mirror, "fetch"]).status(1).run());
}
