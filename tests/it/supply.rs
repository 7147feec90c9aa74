//! From bases to images as a user goes: what comes over the network and what does not, who may build, and that the
//! result needs no more than a plain copy to a card.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use serde_json::Value;

use crate::commands::objects;
use crate::support::cli::{Ran, Test};
use crate::support::test_server::{Reply, TestServer};
use crate::support::{judge, tiny, tools};

use ceil_img::values::Digest;

/// A server with one image.
fn upstream(image: Vec<u8>) -> TestServer {
    let tag = Digest::sha256(&image).hex();
    TestServer::start(move |request, _| match request.target.as_str() {
        "/card.img" => Reply::file(request, &image, &tag),
        _ => Reply::new(404, b"not here"),
    })
}

/// Three nodes of one base.
fn three(base: &str) -> String {
    let mut text = "cluster: {name: c}\nnodes:\n".to_owned();
    for name in ["one", "two", "three"] {
        writeln!(text, "  - {{name: {name}, profile: minimal, base: \"{base}\"}}").unwrap();
    }
    text
}

/// A program that runs another without any network; `None` (after a visible word) where that is not to be had.
fn without_network() -> Option<Vec<OsString>> {
    let unshare = tools::find("unshare")?;
    let flag = if tools::is_root() { "-n" } else { "-rn" };
    let works = tools::command("unshare").args([flag, "true"]).output();
    if !works.is_ok_and(|out| out.status.success()) {
        tools::say("a network of its own is not to be had");
        return None;
    }
    Some(vec![unshare.into(), flag.into()])
}

fn built(ran: &Ran) -> BTreeMap<String, Value> {
    objects(ran)
        .into_iter()
        .filter(|o| o["event"] == "built")
        .map(|o| (o["node"].as_str().unwrap().to_owned(), o["raw_digest"].clone()))
        .collect()
}

/// F002: what is in the cache is not asked for again. F230, F231: an image for each node by its name, from one download.
/// F005, P31: a base in a file, or one that was fetched, needs no network at all.
#[test]
fn f002_f005_f231_p31_one_download_serves_all_and_then_none_is_needed() {
    let Some(image) = tiny::shared() else { return };
    let image = fs::read(&image).unwrap();
    let server = upstream(image.clone());
    let url = server.url("/card.img");
    let ran = Test::new()
        .cluster(&three(&url))
        .args(["build", "--all", "--json"])
        .run();
    let first = built(&ran);
    assert_eq!(first.len(), 3);
    for name in ["one", "two", "three"] {
        assert!(ran.path(&format!("out/{name}.img")).exists(), "{name}");
    }
    let asked = |server: &TestServer| server.requests().len();
    assert_eq!(asked(&server), 1, "{:?}", server.requests());

    let ran = ran
        .again()
        .args(["build", "two", "--json", "--out", "again"])
        .run();
    assert_eq!(built(&ran)["two"], first["two"]);
    assert_eq!(
        ran.names("again"),
        ["two.img", "two.img.bmap", "two.img.sha256", "two.manifest.json"]
    );
    let ran = ran
        .again()
        .args(["fetch", "--json"])
        .stdout_has("\"from_cache\":true")
        .run();
    assert_eq!(asked(&server), 1, "{:?}", server.requests());

    let Some(alone) = without_network() else { return };
    let ran = ran
        .again()
        .through(&alone)
        .args(["build", "--all", "--json", "--out", "alone"])
        .run();
    assert_eq!(built(&ran), first);
    let ran = ran
        .again()
        .cluster(&three("./base.img"))
        .file("base.img", &image)
        .through(&alone)
        .args(["build", "--all", "--json", "--out", "file"])
        .run();
    assert_eq!(built(&ran).len(), 3);
    // The network is really gone: another cache cannot be filled.
    ran.again()
        .cluster(&three(&url))
        .cache(Path::new("other"))
        .through(&alone)
        .args(["build", "one", "--out", "none"])
        .status(1)
        .run();
    assert_eq!(asked(&server), 1);
}

#[test]
fn f004_each_packing_of_one_image_is_that_image() {
    let Some(image) = tiny::shared() else { return };
    if !tools::have(&["xz", "gzip", "zip"]) {
        return;
    }
    let image = fs::read(&image).unwrap();
    let test = Test::new().file("card.img", &image);
    let dir = test.dir().to_owned();
    for (tool, args) in [("xz", ["-0", "-k"]), ("gzip", ["-1", "-k"])] {
        tools::run(tools::command(tool).args(args).arg(dir.join("card.img")));
    }
    tools::run(
        tools::command("zip")
            .args(["-q", "card.zip", "card.img"])
            .current_dir(&dir),
    );
    let mut test = test;
    for name in ["card.img", "card.img.xz", "card.img.gz", "card.zip"] {
        let ran = test
            .args(["fetch", "--base", &format!("./{name}"), "--json", "-q"])
            .run();
        let fetched = objects(&ran);
        let of = fetched.iter().find(|o| o["event"] == "fetched").unwrap();
        assert!(
            of["raw_digest"]
                .as_str()
                .unwrap()
                .ends_with(&Digest::sha256(&image).hex()),
            "{name}: {of}"
        );
        test = ran.again();
    }
}

/// F016: base and every file that came in are in the manifest with the digests that other tools compute, and a build
/// from the same files elsewhere is the image that it names.
#[test]
fn f016_the_manifest_has_every_input() {
    let Some(image) = tiny::shared() else { return };
    let profile = "edits:\n  - {put: \"root:/opt/a\", from: ../a}\n  - {put: \"boot:/b.txt\", content: \"b\\n\"}\n  \
         - {tree: \"root:/\", from: ../tree}\n";
    let test = || {
        Test::new()
            .cluster("cluster: {name: c}\nnodes: [{name: one, profile: p, base: \"./base.img\"}]\n")
            .profile("p", profile)
            .file("a", tiny::noise(70_000))
            .file("tree/etc/deep/er", "x\n")
            .file("base.img", fs::read(&image).unwrap())
            .args(["build", "one", "--json"])
    };
    let ran = test().run();
    let manifest: Value = serde_json::from_slice(&ran.read("out/one.manifest.json")).unwrap();
    let text = manifest.to_string();
    assert!(
        text.contains(&Digest::sha256(&ran.read("base.img")).hex()),
        "{text}"
    );
    assert!(text.contains(env!("CARGO_PKG_VERSION")), "{text}");

    let ran = ran
        .again()
        .args(["diff", "--json", "base.img", "out/one.img"])
        .status(1)
        .run();
    let changed: Vec<String> = objects(&ran)
        .iter()
        .filter(|o| o["change"] != "removed")
        .filter_map(|o| Some(o["path"].as_str()?.to_owned()))
        .collect();
    assert!(changed.iter().any(|p| p == "root:/etc/deep/er"), "{changed:?}");
    let said = manifest["changes"].as_array().unwrap();
    let mut test_again = ran.again();
    for path in &changed {
        let change = said
            .iter()
            .find(|c| c["path"] == path.as_str())
            .unwrap_or_else(|| panic!("{path} is not in the manifest"));
        let Some(digest) = change["digest"].as_str() else {
            assert_eq!(change["kind"], "directory", "{change}");
            continue;
        };
        let ran = test_again
            .args(["extract", "out/one.img", path, "file.tmp"])
            .run();
        assert_eq!(digest, Digest::sha256(&ran.read("file.tmp")).hex(), "{path}");
        fs::remove_file(ran.path("file.tmp")).unwrap();
        test_again = ran.again();
    }
    let ran = test().run();
    let named = Digest::sha256(&ran.read("out/one.img")).hex();
    assert!(text.contains(&named), "{text}");
}

/// F017: a user without any right of the system's, who cannot gain one either, builds without mounts or devices.
#[test]
fn f017_an_ordinary_user_without_capabilities_builds() {
    let Some(image) = tiny::shared() else { return };
    let Some(setpriv) = tools::find("setpriv") else {
        tools::skip("setpriv is not there");
        return;
    };
    let mut test = Test::new()
        .file("base.img", fs::read(image).unwrap())
        .through([setpriv.as_os_str(), "--no-new-privs".as_ref()]);
    if tools::is_root() {
        test = test.user(65534);
    }
    let ran = test
        .args(["build", "one", "--base", "./base.img", "--verify"])
        .run();
    judge::all(&ran.path("out/one.img"));
}

/// F235, P20: the image is whole before it is written, so a plain copy over whatever the card held is the node.
#[test]
fn f235_p20_a_plain_copy_to_a_card_is_the_node() {
    let Some(image) = tiny::shared() else { return };
    if !tools::have(&["dd"]) {
        return;
    }
    let ran = Test::new()
        .file("base.img", fs::read(image).unwrap())
        .args(["build", "one", "--base", "./base.img"])
        .run();
    let image = ran.path("out/one.img");
    let len = fs::metadata(&image).unwrap().len();
    let card = ran.path("card");
    let file = fs::File::create(&card).unwrap();
    file.write_all_at(&vec![0xff; usize::try_from(len).unwrap()], 0)
        .unwrap();
    file.set_len(len + (64 << 20)).unwrap();
    drop(file);
    let to = |key: &str, path: &Path| {
        let mut arg = OsString::from(key);
        arg.push(path);
        arg
    };
    tools::run(
        tools::command("dd")
            .args([to("if=", &image), to("of=", &card)])
            .args(["bs=1M", "conv=notrunc", "status=none"]),
    );
    judge::all(&card);
    let ran = ran
        .again()
        .args(["cat", "card", "root:/etc/hostname"])
        .stdout("one\n")
        .run();
    ran.again()
        .args(["check", "card"])
        .stderr_has("no defect was found")
        .run();
}

/// P21: one image has this digest on every system that the tests run on.
#[test]
fn p21_an_image_has_its_stored_digest() {
    let ran = Test::new().args(["build", "one", "--base", "demo", "-q"]).run();
    let digest = format!("{}\n", Digest::sha256(&ran.read("out/one.img")).hex());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots/demo-image.sha256");
    if std::env::var_os("UPDATE_EXPECTED").is_some() {
        fs::write(&path, &digest).unwrap();
    }
    assert_eq!(
        fs::read_to_string(&path).unwrap_or_default(),
        digest,
        "UPDATE_EXPECTED=1 stores the digest of an image that is meant to be another"
    );
}

#[test]
fn p45_a_base_that_is_known_to_be_faulty_is_warned_of() {
    let cluster = |base: &str| {
        format!(
            "cluster: {{name: c}}\nnodes:\n  - {{name: one, profile: minimal, address: dhcp, base: {base}, \
             users: {{admin: {{ssh-keys: [\"ssh-ed25519 AAAA a\"]}}}}}}\n"
        )
    };
    Test::new()
        .cluster(&cluster("hypriotos-1.11.1"))
        .args(["lint"])
        .stdout_has("cluster.yaml:3: warning P45: the base `hypriotos-1.11.1` is known to be faulty: kubeadm")
        .run();
    let other = Test::new()
        .cluster(&cluster("hypriotos-1.12.3"))
        .args(["lint"])
        .run();
    assert!(!other.stdout.contains("P45"), "{}", other.stdout);
    let ran = Test::new().args(["images", "--json"]).run();
    let faulty: Vec<String> = objects(&ran)
        .iter()
        .filter(|o| !o["faulty"].is_null())
        .map(|o| o["name"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(faulty, ["hypriotos-1.11.1"]);
}
