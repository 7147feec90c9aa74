//! Tests as they stand in the sources: where each is, whether it is run, and which rows it says to prove.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// A test of the sources.
#[derive(Debug, Default)]
pub struct Found {
    /// It is run by hand only.
    pub ignored: bool,
    /// Rows that its name, its documentation or a `// rows:` line above it mentions.
    pub rows: BTreeSet<String>,
}

/// All tests below `src` and `tests/it`, by the path that `cargo test --lib` or `cargo test --test it` calls them,
/// after `lib::` or `it::`.
pub fn tests(root: &Path) -> BTreeMap<String, Found> {
    let mut found = BTreeMap::new();
    for (crate_name, dir) in [("lib", "src"), ("it", "tests/it")] {
        let dir = root.join(dir);
        for path in sources(&dir) {
            let below = path.strip_prefix(&dir).unwrap().with_extension("");
            let mut names: Vec<String> = below
                .iter()
                .map(|part| part.to_str().unwrap().to_owned())
                .collect();
            if names
                .last()
                .is_some_and(|last| matches!(last.as_str(), "mod" | "lib" | "main"))
            {
                names.pop();
            }
            names.insert(0, crate_name.to_owned());
            for (name, test) in of_file(&fs::read_to_string(&path).unwrap()) {
                found.insert(format!("{}::{name}", names.join("::")), test);
            }
        }
    }
    found
}

/// Every text of a folder in one.
pub fn text(dir: &Path) -> String {
    sources(dir)
        .iter()
        .map(|path| fs::read_to_string(path).unwrap())
        .collect()
}

fn sources(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut pending = vec![dir.to_owned()];
    while let Some(next) = pending.pop() {
        let Ok(entries) = fs::read_dir(&next) else {
            continue;
        };
        for entry in entries {
            let path = entry.unwrap().path();
            if path.is_dir() {
                pending.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// The tests of one file, by name within it.
fn of_file(text: &str) -> Vec<(String, Found)> {
    let mut found = Vec::new();
    let mut inner = "";
    let mut above = Above::default();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("mod ").and_then(|rest| rest.strip_suffix(" {")) {
            inner = name;
        } else if line == "}" {
            inner = "";
        }
        let line = line.trim_start();
        let comment = line.strip_prefix("///").or_else(|| line.strip_prefix("// rows:"));
        if let Some(comment) = comment {
            above.rows.extend(rows_in(comment));
        } else if line.starts_with("#[") {
            above.test |= line == "#[test]";
            above.ignored |= line.starts_with("#[ignore");
        } else {
            if let (true, Some(rest)) = (above.test, line.strip_prefix("fn ")) {
                let name: String = rest
                    .chars()
                    .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
                    .collect();
                let mut rows = std::mem::take(&mut above.rows);
                rows.extend(rows_in(&name));
                let path = if inner.is_empty() {
                    name
                } else {
                    format!("{inner}::{name}")
                };
                let ignored = above.ignored;
                found.push((path, Found { ignored, rows }));
            }
            above = Above::default();
        }
    }
    found
}

/// What stands above a function.
#[derive(Default)]
struct Above {
    test: bool,
    ignored: bool,
    rows: BTreeSet<String>,
}

/// Words that are ids of rows, as `F001`, `p03` or `F141 to F144`.
fn rows_in(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut last: Option<(char, u32)> = None;
    let mut range = false;
    for word in text
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|w| !w.is_empty())
    {
        let Some((letter, number)) = row(word) else {
            range = word == "to";
            continue;
        };
        if let (true, Some((first, from))) = (range, last)
            && first == letter
        {
            found.extend((from..number).map(|n| id(letter, n)));
        }
        found.insert(id(letter, number));
        (last, range) = (Some((letter, number)), false);
    }
    found
}

fn row(word: &str) -> Option<(char, u32)> {
    let letter = word.chars().next()?.to_ascii_uppercase();
    let digits = word.get(1..)?;
    let whole = match letter {
        'F' => digits.len() == 3,
        'P' => digits.len() == 2,
        'G' => (1..=2).contains(&digits.len()),
        _ => false,
    };
    (whole && digits.bytes().all(|b| b.is_ascii_digit())).then(|| (letter, digits.parse().unwrap()))
}

/// An id as the list writes it.
pub fn id(letter: char, number: u32) -> String {
    match letter {
        'F' => format!("F{number:03}"),
        'P' => format!("P{number:02}"),
        _ => format!("{letter}{number}"),
    }
}

#[test]
fn tests_and_their_rows_are_found() {
    let text = "/// F001, F003 to F005: what is so; not B12 or F12.\n// rows: G9\n#[test]\n#[ignore = \"minutes\"]\n\
        fn p03_f070_some() {\n}\n\n/// F099\nfn helper() {}\n\nmod tests {\n    #[test]\n    fn inner() {}\n}\n";
    let found = of_file(text);
    let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["p03_f070_some", "tests::inner"]);
    assert!(found[0].1.ignored && !found[1].1.ignored);
    let rows: Vec<&str> = found[0].1.rows.iter().map(String::as_str).collect();
    assert_eq!(rows, ["F001", "F003", "F004", "F005", "F070", "G9", "P03"]);
    assert!(found[1].1.rows.is_empty());
}
