//! `verify`: what is built passes its rows, and for each row a spoilt image fails it.

mod command;
mod lab;
mod nodes;
mod sets;
mod spoils;

use std::collections::{BTreeMap, BTreeSet};

use ceil_img::rows::{Verdict, all};

use lab::{Lab, Recipe};

/// Builds every node of the table once.
fn labs() -> Option<BTreeMap<&'static str, Lab>> {
    nodes::RECIPES
        .iter()
        .map(|recipe: &Recipe| Some((recipe.name, recipe.build()?)))
        .collect()
}

/// F247: every row that applies holds on what was built, and fails on the image that was spoilt for it.
#[test]
fn f247_what_is_built_passes_and_what_is_spoilt_fails() {
    let Some(labs) = labs() else { return };
    let mut wrong: Vec<String> = Vec::new();
    let mut passed: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (name, lab) in &labs {
        for (row, verdict) in lab.judge(|_| ()) {
            match verdict {
                Verdict::Fail(why) => wrong.push(format!("{name} as built fails {}: {why}", row.id)),
                Verdict::Needs(what) => wrong.push(format!("{name} as built: {} needs {what}", row.id)),
                Verdict::Pass => {
                    passed.entry(name).or_default().insert(row.id);
                }
                Verdict::DoesNotApply => {}
            }
        }
    }
    for spoil in spoils::SPOILS {
        let lab = labs
            .get(spoil.node)
            .unwrap_or_else(|| panic!("there is no node `{}`", spoil.node));
        if !passed.get(spoil.node).is_some_and(|ids| ids.contains(spoil.id)) {
            wrong.push(format!(
                "{} does not apply to `{}` as built",
                spoil.id, spoil.node
            ));
            continue;
        }
        let judged = lab.judge(spoil.how);
        let (_, verdict) = judged.iter().find(|(row, _)| row.id == spoil.id).unwrap();
        match verdict {
            Verdict::Fail(why) if why.contains(spoil.says) => {}
            Verdict::Fail(why) => wrong.push(format!("{} says `{why}`, not `{}`", spoil.id, spoil.says)),
            other => wrong.push(format!(
                "{} on `{}`, spoilt ({}), is {}",
                spoil.id,
                spoil.node,
                spoil.says,
                other.word()
            )),
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// F247: no row is without an image that fails it.
#[test]
fn f247_every_row_has_an_image_that_fails_it() {
    let rows: BTreeSet<&str> = all().iter().map(|row| row.id).collect();
    let spoilt: BTreeSet<&str> = spoils::SPOILS.iter().map(|spoil| spoil.id).collect();
    assert_eq!(rows, spoilt);
}

/// F247: without anything but the image, nothing that is built fails, and much is decided.
#[test]
fn f247_an_image_alone_is_judged_as_far_as_it_goes() {
    let Some(labs) = labs() else { return };
    for (name, lab) in labs {
        let judged = lab.judge_alone();
        let failed: Vec<String> = judged
            .iter()
            .filter(|(_, v)| matches!(v, Verdict::Fail(_)))
            .map(|(row, v)| format!("{} {v:?}", row.id))
            .collect();
        assert!(failed.is_empty(), "{name}: {failed:?}");
        let passed = judged.iter().filter(|(_, v)| *v == Verdict::Pass).count();
        let needs = judged
            .iter()
            .filter(|(_, v)| matches!(v, Verdict::Needs("--node")))
            .count();
        assert!(
            passed >= 6 && needs >= 6,
            "{name}: {passed} pass, {needs} need the node"
        );
    }
}
