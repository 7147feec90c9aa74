//! The walls between rooms, words that do not belong in the tree, and files that one can read in a sitting.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Which rooms a room may name. `cli` may name all of them, and nothing names `cli`.
const WALLS: &[(&str, &[&str])] = &[
    ("values", &[]),
    ("report", &[]),
    ("addon", &["spec"]),
    ("amend", &["values"]),
    ("spec", &["board", "plan", "secrets", "template", "values"]),
    ("board", &["values"]),
    ("sets", &["spec"]),
    ("cloud_config", &["spec", "values"]),
    ("plan", &["values"]),
    ("catalog", &["values"]),
    ("lock", &["emit", "values"]),
    ("artifacts", &["catalog", "values"]),
    ("remote", &["values"]),
    ("sys", &["values"]),
    ("disk", &["values"]),
    ("template", &["values"]),
    ("secrets", &["values"]),
    ("flavour", &["cloud_config", "plan", "secrets", "values"]),
    ("bmap", &["disk", "values"]),
    ("fs", &["disk", "values"]),
    ("image", &["disk", "fs", "values"]),
    (
        "base_os",
        &[
            "amend",
            "cloud_config",
            "spec",
            "board",
            "template",
            "plan",
            "fs",
            "values",
        ],
    ),
    ("diff", &["disk", "fs", "image", "values"]),
    (
        "rows",
        &[
            "amend",
            "base_os",
            "catalog",
            "cloud_config",
            "diff",
            "disk",
            "fs",
            "image",
            "plan",
            "planner",
            "spec",
            "values",
        ],
    ),
    ("demo", &["disk", "fs", "values"]),
    ("dump", &["disk", "fs"]),
    (
        "planner",
        &[
            "flavour", "spec", "plan", "secrets", "template", "base_os", "board", "values",
        ],
    ),
    ("export", &["spec", "plan", "planner", "secrets"]),
    (
        "lint",
        &["addon", "flavour", "spec", "plan", "planner", "board", "values"],
    ),
    (
        "inputs",
        &["spec", "plan", "secrets", "template", "report", "values"],
    ),
    (
        "edit",
        &[
            "amend", "plan", "disk", "fs", "image", "base_os", "report", "values",
        ],
    ),
    ("fetch", &["plan", "catalog", "disk", "sys", "report", "values"]),
    (
        "emit",
        &["plan", "disk", "fs", "image", "bmap", "sys", "report", "values"],
    ),
    ("boot", &["disk", "fs", "values"]),
    ("flash", &["disk", "sys", "report", "values"]),
];

/// A file is split by structure before it gets this long.
const MAX_LINES: usize = 700;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file below `dir` with one of these endings (the empty one means: without), sorted.
fn files(dir: &Path, endings: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut pending = vec![dir.to_owned()];
    while let Some(dir) = pending.pop() {
        let Ok(entries) = fs::read_dir(dir) else { continue };
        for entry in entries {
            let path = entry.unwrap().path();
            if path.is_dir() {
                pending.push(path);
            } else if endings.contains(&path.extension().and_then(|e| e.to_str()).unwrap_or_default()) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// The path below the project's folder, for messages and lookups.
fn name(path: &Path) -> String {
    path.strip_prefix(root()).unwrap().to_string_lossy().into_owned()
}

/// The room of a source file: `src/disk/mbr.rs` and `src/disk.rs` are of `disk`; the two roots of the crate have none.
fn room(name: &str) -> Option<&str> {
    let rest = name.strip_prefix("src/")?;
    let first = rest.split('/').next()?;
    match first.strip_suffix(".rs").unwrap_or(first) {
        "lib" | "main" => None,
        room => Some(room),
    }
}

/// The code of a source file without comments, and without its tests: they may reach across.
fn code(text: &str) -> String {
    text.split("#[cfg(test)]")
        .next()
        .unwrap_or_default()
        .lines()
        .map(|line| {
            let start = line.trim_start();
            if start.starts_with("//") { "" } else { line }
        })
        .collect::<Vec<_>>()
        .join("\n")
}

/// Whether a file holds tests alone.
fn is_test_file(name: &str) -> bool {
    name.ends_with("tests.rs") || name.ends_with("test_server.rs") || name.contains("/tests/")
}

/// The rooms that code names: `crate::disk::…`, `crate::{disk, fs::…}`.
fn named(code: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for rest in code.split("crate::").skip(1) {
        match rest.strip_prefix('{') {
            None => {
                found.insert(word(rest));
            }
            Some(list) => {
                let mut depth = 0;
                let mut item = String::new();
                for c in list.chars() {
                    match c {
                        '}' if depth == 0 => break,
                        '{' => depth += 1,
                        '}' => depth -= 1,
                        ',' if depth == 0 => {
                            found.insert(word(item.trim()));
                            item.clear();
                            continue;
                        }
                        _ => {}
                    }
                    item.push(c);
                }
                if !item.trim().is_empty() {
                    found.insert(word(item.trim()));
                }
            }
        }
    }
    found
}

fn word(text: &str) -> String {
    text.chars()
        .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
        .collect()
}

#[test]
fn rooms_name_only_whom_they_may() {
    let mut broken = Vec::new();
    for path in files(&root().join("src"), &["rs"]) {
        let name = name(&path);
        let Some(room) = room(&name) else { continue };
        if is_test_file(&name) {
            continue;
        }
        let code = code(&fs::read_to_string(&path).unwrap());
        let allowed = WALLS
            .iter()
            .find(|(r, _)| *r == room)
            .map(|(_, allowed)| *allowed);
        if room != "cli" && allowed.is_none() {
            broken.push(format!("{name}: the room `{room}` is not in the table of walls"));
            continue;
        }
        for other in named(&code) {
            let fine = other == room
                || (room == "cli" && other != "cli")
                || allowed.is_some_and(|allowed| allowed.contains(&other.as_str()));
            if !fine {
                broken.push(format!("{name}: `{room}` must not name `{other}`"));
            }
        }
    }
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

#[test]
fn the_ext4_editor_stands_alone() {
    for path in files(&root().join("src/fs/ext4"), &["rs"]) {
        let name = name(&path);
        if is_test_file(&name) {
            continue;
        }
        for other in named(&code(&fs::read_to_string(&path).unwrap())) {
            assert!(
                ["disk", "fs"].contains(&other.as_str()),
                "{name}: fs/ext4 must not name `{other}`"
            );
        }
    }
}

#[test]
fn words_that_do_not_belong() {
    // Marks of unfinished work, private hosts, and the path of whoever wrote the file.
    let checkout = format!("{}/", root().display());
    let anywhere = [
        "TODO",
        "FIXME",
        "dbg!(",
        "todo!(",
        "unimplemented!(",
        ".internal/",
        ".corp/",
        ".lan/",
        &checkout,
    ];
    let mut found = Vec::new();
    for dir in [
        "src",
        "tests",
        "fixtures",
        "benches",
        ".ci",
        ".github",
        "profiles",
        "overlays",
        "cloud-init",
    ] {
        for path in files(&root().join(dir), &["rs", "sh", "md", "yaml", "yml", "toml", ""]) {
            let name = name(&path);
            if name == "tests/it/walls.rs" {
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            for (number, line) in text.lines().enumerate() {
                for word in anywhere.iter().filter(|word| line.contains(**word)) {
                    found.push(format!("{name}:{}: {word}", number + 1));
                }
            }
            if name.starts_with("src/") && !is_test_file(&name) {
                for (number, line) in code(&text).lines().enumerate() {
                    if line.contains(".unwrap()") {
                        found.push(format!("{name}:{}: unwrap() outside tests", number + 1));
                    }
                }
            }
        }
    }
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn files_are_readable_in_a_sitting() {
    let long: Vec<String> = ["src", "tests"]
        .iter()
        .flat_map(|dir| files(&root().join(dir), &["rs"]))
        .map(|path| (name(&path), fs::read_to_string(&path).unwrap().lines().count()))
        .filter(|(_, lines)| *lines >= MAX_LINES)
        .map(|(name, lines)| format!("{name}: {lines} lines"))
        .collect();
    assert!(long.is_empty(), "\n{}", long.join("\n"));
}

#[test]
fn mentions_are_found() {
    let text = "use crate::disk::BlockIo;\n// crate::cli\nuse crate::{fs::{self, Volume}, values::Digest, plan};\n\
                fn f(x: crate::report::Event) {}\n#[cfg(test)]\nmod tests { use crate::emit; }\n";
    let named: Vec<String> = named(&code(text)).into_iter().collect();
    assert_eq!(named, ["disk", "fs", "plan", "report", "values"]);
    assert_eq!(room("src/fs/ext4/mod.rs"), Some("fs"));
    assert_eq!(room("src/report.rs"), Some("report"));
    assert_eq!(room("src/main.rs"), None);
}
