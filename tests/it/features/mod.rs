//! The list of features, pitfalls and gates with the state of each row: what `docs/features.md` is made of.
//!
//! `tests/features/*.yaml` say of each row how it is checked and what proves it. No row may be left out, no test may
//! be named that is not in the sources, and a test proves only rows that it names itself.

mod sources;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde::Deserialize;

use sources::{Found, id};

/// A section: its file, its heading, the letter and the ranges of its ids, and how many rows have a check on the image,
/// of the command line, and on a running node.
type Section = (&'static str, &'static str, char, u32, u32, [usize; 3]);

const SECTIONS: [Section; 11] = [
    ("base", "Base image and supply chain", 'F', 1, 19, [6, 12, 1]),
    ("boot", "Boot partition", 'F', 20, 36, [14, 0, 7]),
    ("identity", "cloud-init and identity", 'F', 40, 62, [10, 2, 13]),
    ("system", "Operating system", 'F', 70, 93, [10, 0, 19]),
    ("kubernetes", "Kubernetes", 'F', 100, 128, [6, 6, 20]),
    ("router", "Router, names, access", 'F', 140, 167, [2, 5, 21]),
    ("storage", "Storage and data", 'F', 170, 185, [1, 0, 15]),
    ("addons", "Add-ons", 'F', 190, 221, [2, 4, 29]),
    ("commands", "Cards and command line", 'F', 230, 254, [1, 21, 4]),
    ("pitfalls", "Pitfalls", 'P', 1, 65, [17, 22, 32]),
    ("gates", "Version gates", 'G', 1, 12, [0, 12, 0]),
];

/// A row.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    id: String,
    /// What holds where the row is met.
    what: String,
    /// The check on the finished image.
    img: Option<State>,
    /// The check of the command line.
    cli: Option<State>,
    /// The check on a running node.
    run: Option<State>,
}

/// What became of a check: one of `proven`, `verify` or `emulator`, `boot`, `missing`, and `shown` beside the last two.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct State {
    /// Tests that decide it.
    proven: Vec<String>,
    /// A row of `ceil-img verify` decides it for every image that is built.
    verify: bool,
    /// Scenarios of `tests/e2e.sh` that ask it of nodes in the emulator.
    emulator: Vec<String>,
    /// Only a running node decides it: what is asked of one.
    boot: Option<String>,
    /// Why no emulator has decided it: a word of [`NEEDS`], beside `boot`.
    needs: Option<String>,
    /// It is not done: why.
    missing: Option<String>,
    /// Tests of its parts.
    shown: Vec<String>,
}

impl Row {
    fn checks(&self) -> impl Iterator<Item = (&'static str, &State)> {
        [("img", &self.img), ("cli", &self.cli), ("run", &self.run)]
            .into_iter()
            .filter_map(|(kind, state)| Some((kind, state.as_ref()?)))
    }

    /// The state of the row is that of its worst check.
    fn state(&self) -> &'static str {
        let any = |of: fn(&State) -> bool| self.checks().any(|(_, state)| of(state));
        if any(|state| state.missing.is_some()) {
            "not done"
        } else if any(|state| state.boot.is_some()) {
            "needs boot"
        } else {
            "proven"
        }
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn rows(file: &str) -> Vec<Row> {
    let path = root().join(format!("tests/features/{file}.yaml"));
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path:?}: {e}"));
    serde_saphyr::from_str(&text).unwrap_or_else(|e| panic!("{path:?}: {e}"))
}

/// What a scenario asks of its nodes, by the rows that its questions name.
fn asked(scenario: &str) -> String {
    let questions = |name: &str| {
        // A scenario that there is not asks nothing.
        fs::read_to_string(root().join(format!("tests/e2e/{name}.sh"))).unwrap_or_default()
    };
    let mut asked = questions(scenario);
    // What it asks besides, its pods and their nodes, and at its end a reset of the agent.
    if scenario == "cluster" {
        asked.push_str(&questions("pods"));
        asked.push_str(&questions("reset"));
    }
    if scenario == "faults" {
        asked.push_str(&questions("memory"));
    }
    asked
}

/// What the emulated nodes of the suite lack, by its word.
const NEEDS: [(&str, &str); 8] = [
    (
        "amd64",
        "programs of Kubernetes for amd64; those of the suite are for arm64",
    ),
    ("account", "an account with somebody, and a way to them"),
    (
        "board",
        "a board: its firmware, its one-time memory, its power, or the vendor's kernel",
    ),
    (
        "images",
        "images of containers from registries, which cannot be reached where the suite is run; those of its own cluster \
         are Debian's programs",
    ),
    (
        "k3s",
        "k3s itself, which cannot be fetched where the suite is run; `CEIL_K3S=PROGRAM tests/e2e.sh k3s` takes it",
    ),
    (
        "kubelet",
        "a kubelet of 1.22 or later; the last one whose source Debian carries whole is 1.20",
    ),
    ("radio", "a radio"),
    (
        "servers",
        "three control planes at once, which is more than two processors emulate in time",
    ),
];

/// What is wrong with the state of a check.
fn faults(id: &str, state: &State, tests: &BTreeMap<String, Found>, verified: &[String; 2]) -> Vec<String> {
    let mut wrong = Vec::new();
    for scenario in &state.emulator {
        if !asked(scenario).contains(id) {
            wrong.push(format!("`tests/e2e.sh {scenario}` does not ask it"));
        }
    }
    let said = [
        !state.proven.is_empty() || state.verify || !state.emulator.is_empty(),
        state.boot.is_some(),
        state.missing.is_some(),
    ];
    if said.iter().filter(|said| **said).count() != 1 {
        wrong.push("is one of proven, verify or emulator, boot, missing".to_owned());
    }
    match &state.needs {
        Some(_) if state.boot.is_none() => wrong.push("needs nothing: it says no `boot`".to_owned()),
        Some(word) if NEEDS.iter().all(|(known, _)| known != word) => {
            wrong.push(format!("`{word}` is nothing that an emulator lacks"));
        }
        None if state.boot.is_some() => wrong.push("does not say what the emulator lacks".to_owned()),
        _ => {}
    }
    if !state.shown.is_empty() && said[0] {
        wrong.push("is proven: `shown` is for what is not".to_owned());
    }
    if [&state.boot, &state.missing]
        .into_iter()
        .flatten()
        .any(|why| why.trim().is_empty())
    {
        wrong.push("does not say why".to_owned());
    }
    for name in state.proven.iter().chain(&state.shown) {
        match tests.get(name) {
            None => wrong.push(format!("no test is called {name}")),
            Some(test) if !test.rows.contains(id) => {
                wrong.push(format!(
                    "{name} does not name the row; a line `// rows: {id}` above it would"
                ));
            }
            Some(test)
                if test.ignored
                    && state
                        .proven
                        .iter()
                        .all(|other| tests.get(other).is_none_or(|t| t.ignored)) =>
            {
                wrong.push(format!("{name} is run by hand only, and proves nothing alone"));
            }
            Some(_) => {}
        }
    }
    let [judged, spoilt] = verified
        .each_ref()
        .map(|text| text.contains(&format!("\"{id}\"")));
    if state.verify && !judged {
        wrong.push("is no row of `verify`".to_owned());
    }
    if state.verify && !spoilt {
        wrong.push("is a row of `verify` that no test sees fail".to_owned());
    }
    wrong
}

#[test]
fn every_row_is_there_and_says_what_proves_it() {
    let tests = sources::tests(root());
    let verified = ["src/rows", "tests/it/rows"].map(|dir| sources::text(&root().join(dir)));
    let mut wrong = Vec::new();
    for (file, _, letter, first, last, counts) in SECTIONS {
        let rows = rows(file);
        let ids: Vec<&str> = rows.iter().map(|row| row.id.as_str()).collect();
        let expected: Vec<String> = (first..=last).map(|number| id(letter, number)).collect();
        assert_eq!(ids, expected, "tests/features/{file}.yaml");
        let count = ["img", "cli", "run"].map(|kind| {
            rows.iter()
                .flat_map(Row::checks)
                .filter(|(found, _)| *found == kind)
                .count()
        });
        assert_eq!(
            count, counts,
            "checks on image, command line and node in tests/features/{file}.yaml"
        );
        for row in &rows {
            assert!(row.checks().next().is_some(), "{} has no check", row.id);
            for (kind, state) in row.checks() {
                for fault in faults(&row.id, state, &tests, &verified) {
                    wrong.push(format!("{file}.yaml: {} {kind}: {fault}", row.id));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

const HEAD: &str = "# Features, pitfalls and gates

Every row of the list that this project is built to, with its state. The tables are made by a test from
`tests/features/*.yaml`, which fails when a row is left out, when a test is named that does not exist, or when that test
does not name the row itself (`UPDATE_EXPECTED=1 cargo test --test it features` writes this page anew).

- **proven**: each check is decided by a test. `verify` means that `ceil-img verify` decides it for every image that is
  built, and that tests spoil an image in this respect and see the row fail. `lib::` tests run with `cargo test --lib`,
  `it::` tests with `cargo test --test it`. `tests/e2e.sh` asks nodes that run in the emulator.
- **needs boot**: what can be decided without a running node is proven; the rest is asked of one that has what the
  emulated ones of `tests/e2e.sh` lack. The word in brackets says what:
";

const REST: &str = "- **not done**: at least one check is missing, with the reason.

`img` is a check of the finished image, `cli` one of the command line, `run` one of a running node.

";

fn name(test: &str, tests: &BTreeMap<String, Found>) -> String {
    let by_hand = tests.get(test).is_some_and(|test| test.ignored);
    format!("`{test}`{}", if by_hand { " (run by hand)" } else { "" })
}

fn told(state: &State, tests: &BTreeMap<String, Found>) -> String {
    let names = |list: &[String]| -> Vec<String> { list.iter().map(|test| name(test, tests)).collect() };
    let mut by = names(&state.proven);
    if state.verify {
        by.insert(0, "`verify`".to_owned());
    }
    by.extend(
        state
            .emulator
            .iter()
            .map(|scenario| format!("`tests/e2e.sh {scenario}`")),
    );
    let mut text = by.join(", ");
    if let Some(asked) = &state.boot {
        let lack = state.needs.as_deref().unwrap_or_default();
        write!(text, "needs boot ({lack}): {asked}").unwrap();
    }
    if let Some(why) = &state.missing {
        write!(text, "**not done**: {why}").unwrap();
    }
    if !state.shown.is_empty() {
        write!(text, "; in part {}", names(&state.shown).join(", ")).unwrap();
    }
    text
}

fn page() -> String {
    let tests = sources::tests(root());
    let mut summary =
        "| Section | Rows | Proven | Need boot | Not done |\n|---|---|---|---|---|\n".to_owned();
    let mut tables = String::new();
    let mut total = [0; 4];
    for (file, heading, _, _, _, _) in SECTIONS {
        let rows = rows(file);
        let of = |state: &str| rows.iter().filter(|row| row.state() == state).count();
        let counts = [rows.len(), of("proven"), of("needs boot"), of("not done")];
        let [all, proven, boot, missing] = counts;
        writeln!(summary, "| {heading} | {all} | {proven} | {boot} | {missing} |").unwrap();
        for (sum, count) in total.iter_mut().zip(counts) {
            *sum += count;
        }
        write!(
            tables,
            "\n## {heading}\n\n| Row | What | State | Checks |\n|---|---|---|---|\n"
        )
        .unwrap();
        for row in &rows {
            let checks: Vec<String> = row
                .checks()
                .map(|(kind, state)| format!("{kind}: {}", told(state, &tests)))
                .collect();
            let line =
                [&row.id, &row.what, row.state(), &checks.join("<br>")].map(|cell| cell.replace('|', "\\|"));
            writeln!(tables, "| {} |", line.join(" | ")).unwrap();
        }
    }
    let [all, proven, boot, missing] = total;
    writeln!(summary, "| All | {all} | {proven} | {boot} | {missing} |").unwrap();
    let lacks: String = NEEDS
        .iter()
        .map(|(word, what)| format!("  - `{word}`: {what}\n"))
        .collect();
    format!("{HEAD}{lacks}{REST}{summary}{tables}")
}

#[test]
fn the_page_is_current() {
    let path = root().join("docs/features.md");
    let page = page();
    if std::env::var_os("UPDATE_EXPECTED").is_some() {
        fs::write(&path, &page).unwrap();
    }
    let stored = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        stored == page,
        "docs/features.md is not that of tests/features; UPDATE_EXPECTED=1 stores the new one"
    );
}

#[test]
fn faults_of_states_are_found() {
    let tests = BTreeMap::from([
        (
            "it::a".to_owned(),
            Found {
                ignored: false,
                rows: ["F001".to_owned()].into(),
            },
        ),
        (
            "it::b".to_owned(),
            Found {
                ignored: true,
                rows: ["F001".to_owned()].into(),
            },
        ),
    ]);
    let verified = ["id: \"F002\", \"F003\"", "\"F002\""].map(str::to_owned);
    let of = |yaml: &str| {
        let state: State = serde_saphyr::from_str(yaml).unwrap();
        faults("F001", &state, &tests, &verified)
    };
    assert_eq!(of("proven: [it::a, it::b]"), [""; 0]);
    assert_eq!(
        of("{boot: a node is asked, needs: radio, shown: [it::a]}"),
        [""; 0]
    );
    for (wrong, word) in [
        ("{}", "one of"),
        ("{proven: [it::a], missing: why}", "one of"),
        ("emulator: [nothing]", "does not ask"),
        ("proven: [it::c]", "no test"),
        ("proven: [it::b]", "by hand"),
        ("missing: ''", "why"),
        ("{proven: [it::a], shown: [it::a]}", "shown"),
        ("{boot: a node is asked}", "lacks"),
        ("{boot: a node is asked, needs: luck}", "luck"),
        ("{proven: [it::a], needs: radio}", "needs nothing"),
    ] {
        let found = of(wrong);
        assert!(found.len() == 1 && found[0].contains(word), "{wrong}: {found:?}");
    }
    let row = |id: &str, yaml: &str| {
        let state: State = serde_saphyr::from_str(yaml).unwrap();
        faults(id, &state, &tests, &verified)
    };
    assert!(row("F003", "proven: [it::a]")[0].contains("// rows: F003"));
    assert_eq!(row("F002", "verify: true"), [""; 0]);
    assert_eq!(row("F043", "emulator: [node]"), [""; 0]);
    assert!(row("F043", "{emulator: [node], boot: why, needs: radio}")[0].contains("one of"));
    assert!(row("F003", "verify: true")[0].contains("no test sees fail"));
}
