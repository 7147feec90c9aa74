use super::*;

fn digest(text: &str) -> Digest {
    Digest::sha256(text.as_bytes())
}

fn base(name: &str) -> Entry {
    Entry {
        kind: Kind::Base,
        name: name.to_owned(),
        version: Some("2026-10-06".to_owned()),
        arch: Some(Arch::Arm64),
        url: "https://example.com/card.img.xz?a=b".to_owned(),
        size: Some(550),
        sha256: Some(digest("packed")),
        raw: Some(Raw {
            size: 3000,
            sha256: digest("raw"),
        }),
        checksum: ChecksumState::Published,
        signature: SignatureState::Unchecked,
    }
}

fn program(name: &str, version: &str, arch: Arch) -> Entry {
    Entry {
        kind: Kind::Artifact,
        name: name.to_owned(),
        version: Some(version.to_owned()),
        arch: Some(arch),
        url: "https://example.com/v1.2%2Bk3s1/k3s".to_owned(),
        size: Some(7),
        sha256: Some(digest(name)),
        raw: None,
        checksum: ChecksumState::PinnedCrossChecked,
        signature: SignatureState::Unchecked,
    }
}

fn lock_of(entries: &[Entry]) -> Lock {
    let mut lock = Lock::default();
    for entry in entries {
        lock.put(entry.clone());
    }
    lock
}

#[test]
fn what_is_printed_is_read_back_and_does_not_depend_on_the_order() {
    let odd = [
        "k3s",
        "yes",
        "1.5",
        "a: b",
        "x #y",
        "",
        "\u{1}\"\\\n",
        "https://h/p?a=b&c=d:",
        "-x/",
        "ä",
    ];
    let mut entries: Vec<Entry> = odd.iter().map(|name| base(name)).collect();
    entries.extend(odd.iter().map(|name| program(name, "1.36.4+k3s1", Arch::Armhf)));
    entries.push(program("k3s", "1.0", Arch::Arm64));
    entries.push(program("k3s", "1.0", Arch::Armhf));
    let text = print(&lock_of(&entries));
    entries.reverse();
    assert_eq!(print(&lock_of(&entries)), text);
    let again = parse(&text, "ceil.lock").unwrap();
    assert!(again.entries().eq(lock_of(&entries).entries()), "{text}");
    assert_eq!(print(&again), text);
    // Each entry knows the line of its name.
    for (key, (_, line)) in &again.entries {
        let line = text.lines().nth(usize::try_from(*line).unwrap() - 1).unwrap();
        assert!(line.starts_with("  - name: "), "{key}: {line}");
    }
}

#[test]
fn the_text_is_this() {
    let text = print(&lock_of(&[
        program("k3s", "1.0+k3s1", Arch::Armhf),
        base("raspios-a"),
    ]));
    let body: Vec<&str> = text.lines().skip_while(|line| line.starts_with('#')).collect();
    let (packed, raw, k3s) = (digest("packed").hex(), digest("raw").hex(), digest("k3s").hex());
    let expected = format!(
        "lock: 1\nbases:\n  - name: raspios-a\n    version: \"2026-10-06\"\n    arch: arm64\n    url: https://example.com/card.img.xz?a=b\n    size: 550\n    sha256: \"{packed}\"\n    raw-size: 3000\n    raw-sha256: \"{raw}\"\n    checksum: published\n    signature: unchecked\nartifacts:\n  - name: \"k3s\"\n    version: \"1.0+k3s1\"\n    arch: armhf\n    url: https://example.com/v1.2%2Bk3s1/k3s\n    size: 7\n    sha256: \"{k3s}\"\n    checksum: pinned-cross-checked\n    signature: unchecked"
    );
    assert_eq!(body.join("\n"), expected);
    assert_eq!(print(&Lock::default()).lines().last(), Some("lock: 1"));
}

#[test]
fn mistakes_are_told_with_their_line() {
    let text = print(&lock_of(&[base("raspios-a"), base("raspios-b")]));
    let line = |part: &str, nth: usize| {
        let mut lines = text.lines().enumerate().filter(|(_, l)| l.contains(part));
        lines.nth(nth).unwrap().0 + 1
    };
    let first = format!("raw-sha256: \"{}\"", digest("raw").hex());
    for (change, at, part) in [
        (text.replace("lock: 1", "lock: 2"), 1, "form 2"),
        (
            text.replace("raspios-b", "raspios-a"),
            line("name:", 1),
            "the base `raspios-a` is there twice",
        ),
        (
            text.replacen("    url: https", "    url: ftp", 1),
            line("name:", 0),
            "not an http",
        ),
        (
            text.replacen(&first, "raw-sha256: abc", 1),
            line("raw-sha256", 0),
            "`abc` is not a SHA-256",
        ),
        (
            text.replacen(&format!("    {first}\n"), "", 1),
            line("name:", 0),
            "both `raw-size`",
        ),
        (
            text.replacen("checksum: published", "checksum: sworn", 1),
            line("checksum:", 0),
            "sworn",
        ),
        (
            text.replacen("signature:", "signatur:", 1),
            line("signature:", 0),
            "signatur",
        ),
        (
            text.replacen("  - name: raspios-b", "<<<<<<< ours\n  - name: raspios-b", 1),
            line("name:", 1),
            "merge conflict",
        ),
    ] {
        let error = parse(&change, "ceil.lock").unwrap_err();
        let words = error.to_string();
        assert!(words.starts_with(&format!("ceil.lock:{at}: ")), "{at}: {words}");
        assert!(words.contains(part), "{part}: {words}");
        assert!(error.hint().is_some());
    }
    for other in [
        "",
        "lock: 1\nbases: 5\n",
        "lock: 1\nartifacts: [{name: a, url: 'http://x', checksum: tofu}]\n",
    ] {
        assert!(parse(other, "ceil.lock").is_err(), "{other}");
    }
}

fn file(entries: &[Entry]) -> (tempfile::TempDir, LockFile) {
    let dir = tempfile::tempdir().unwrap();
    let mut file = LockFile::open(&dir.path().join(LOCK_FILE)).unwrap();
    for entry in entries {
        file.record(entry.clone());
    }
    file.save().unwrap();
    (dir, file)
}

#[test]
fn an_entry_counts_and_a_contradiction_names_both_digests() {
    let (_dir, lock) = file(&[base("a")]);
    let key = Key::base("a");
    let stated = |version: &str, sha: &str| Stated {
        version: Some(version.to_owned()),
        sha256: Some(digest(sha)),
        raw_sha256: None,
        by: "the catalog".to_owned(),
    };
    let same = decide(&lock, &key, &stated("2026-10-06", "packed"), Mode::Locked).unwrap();
    assert_eq!(same, Decision::AsLocked(&base("a")));
    // A newer image under an old alias: the lock stays.
    let newer = decide(&lock, &key, &stated("2026-11-01", "other"), Mode::Fill).unwrap();
    assert_eq!(newer, Decision::AsLocked(&base("a")));
    for mode in [Mode::Fill, Mode::Locked] {
        let error = decide(&lock, &key, &stated("2026-10-06", "other"), mode).unwrap_err();
        let text = error.to_string();
        for part in [
            "ceil.lock:5: the SHA-256 of the base `a`",
            "the catalog",
            &digest("packed").hex(),
            &digest("other").hex(),
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(error.hint().unwrap().contains("fetch --update"));
    }
    let update = decide(&lock, &key, &stated("2026-10-06", "other"), Mode::Update).unwrap();
    assert_eq!(update, Decision::AsStated);
    let raw = Stated {
        raw_sha256: Some(digest("other")),
        by: "cluster.yaml:4".to_owned(),
        ..Stated::default()
    };
    let text = decide(&lock, &key, &raw, Mode::Fill).unwrap_err().to_string();
    assert!(
        text.contains("SHA-256 of the raw image") && text.contains("cluster.yaml:4"),
        "{text}"
    );
}

#[test]
fn locked_refuses_what_is_missing() {
    let (_dir, lock) = file(&[]);
    let key = Key::artifact("k3s", "1.0", Arch::Arm64);
    let stated = Stated::default();
    assert_eq!(
        decide(&lock, &key, &stated, Mode::Fill).unwrap(),
        Decision::AsStated
    );
    let text = decide(&lock, &key, &stated, Mode::Locked)
        .unwrap_err()
        .to_string();
    assert!(
        text.ends_with(
            "ceil.lock: there is no entry for `k3s` 1.0 for arm64, and `--locked` forbids making one"
        ),
        "{text}"
    );
}

#[test]
fn saving_adds_to_what_another_process_wrote_and_writes_only_changes() {
    let (dir, mut one) = file(&[base("a")]);
    let path = dir.path().join(LOCK_FILE);
    let mut two = LockFile::open(&path).unwrap();
    one.record(base("b"));
    two.record(program("k3s", "1.0", Arch::Arm64));
    one.save().unwrap();
    two.save().unwrap();
    let names = |lock: &LockFile| lock.entries().map(|e| e.name.clone()).collect::<Vec<_>>();
    let mut both = LockFile::open(&path).unwrap();
    assert_eq!(names(&both), ["a", "b", "k3s"]);
    // The same again is no change: the file is not even touched.
    use std::os::unix::fs::MetadataExt;
    let inode = std::fs::metadata(&path).unwrap().ino();
    both.record(base("a"));
    both.save().unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().ino(), inode);
    // A full renewal drops what is not used any more.
    both.keep_used_only();
    both.save().unwrap();
    assert_eq!(names(&LockFile::open(&path).unwrap()), ["a"]);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn a_lock_that_cannot_be_written_stays_as_it_was() {
    let (dir, mut lock) = file(&[base("a")]);
    let path = dir.path().join(LOCK_FILE);
    let before = std::fs::read(&path).unwrap();
    // What a killed run leaves, half written and unlocked: the next one takes it over.
    std::fs::write(dir.path().join(".ceil.lock.part"), "lock: 1\nbas").unwrap();
    assert_eq!(LockFile::open(&path).unwrap().entries().count(), 1);
    lock.record(base("b"));
    lock.save().unwrap();
    assert_eq!(LockFile::open(&path).unwrap().entries().count(), 2);
    assert!(!dir.path().join(".ceil.lock.part").exists());
    // Damaged meanwhile: it is not overwritten.
    std::fs::write(&path, &before[..before.len() / 2]).unwrap();
    lock.record(base("c"));
    assert!(lock.save().is_err());
    assert_eq!(std::fs::read(&path).unwrap(), &before[..before.len() / 2]);
}
