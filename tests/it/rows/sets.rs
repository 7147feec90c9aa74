//! Every node of every set passes its rows.

use std::collections::BTreeMap;
use std::sync::Arc;

use ceil_img::catalog::Catalog;
use ceil_img::disk::Source;
use ceil_img::plan::BasePlace;
use ceil_img::rows::Verdict;
use ceil_img::sets;

use super::lab::{Lab, Spoilt, prepared, read};
use super::nodes::kernel;
use crate::support::cli::Test;

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ2Vd0hI7x3e3g0c0S4Zb6n4kq1aS9mXoJ0vX2bqf3Qp me@here";

const STRETCH: &str = "stretch";

/// Stretch has the first boot of buster, and an older kernel.
fn stretch(base: &mut Spoilt) {
    kernel(base);
    let dir = "/usr/lib/modules";
    for release in base.names(dir) {
        base.rename(&format!("{dir}/{release}"), &format!("{dir}/4.14.79-v7+"));
    }
}

/// The fixture that stands for a base.
fn fixture(catalog: &Catalog, base: &BasePlace) -> &'static str {
    let BasePlace::Name(name) = base else {
        // Debian for PCs is laid out as for boards.
        assert!(base.to_string().contains("cloud.debian.org"), "{base}");
        return "debian-gpt";
    };
    let entry = catalog.lookup(name).unwrap();
    match entry.family.as_str() {
        "hypriot" => "hypriot",
        "rpi64" => "rpi64",
        family if family.contains("trixie") => "raspios-trixie",
        family if family.contains("bookworm") => "raspios-bookworm",
        family if family.contains("bullseye") => "raspios-bullseye",
        family if family.starts_with("ubuntu") => "ubuntu-raspi",
        family if family.starts_with("debian") => "debian-gpt",
        family if family.contains("stretch") => STRETCH,
        family if family.starts_with("rasp") => "raspios-buster",
        family => panic!("no fixture stands for the family `{family}`"),
    }
}

/// F247, F245: nothing that a set makes fails a row.
#[test]
fn f247_every_node_of_every_set_passes() {
    let catalog = Catalog::builtin().unwrap();
    let mut bases: BTreeMap<&str, Arc<dyn Source>> = BTreeMap::new();
    let mut wrong: Vec<String> = Vec::new();
    let mut judged = 0;
    for set in sets::names() {
        let ran = Test::new()
            .args(["init", set, "--yes", "--dir", ".", "--ssh-key", KEY])
            .run();
        let (cluster, inputs) = read(&ran.path(""));
        // Nodes of one profile, role and crew differ in names and addresses alone.
        let mut seen: Vec<(String, bool)> = Vec::new();
        for node in &cluster.nodes {
            let resolved = &inputs.nodes[node.name.as_str()];
            let kind = (node.profile.clone(), resolved.settings.interfaces.is_empty());
            if seen.contains(&kind) {
                continue;
            }
            seen.push(kind);
            let family = fixture(&catalog, &resolved.base.as_ref().unwrap().place);
            if !bases.contains_key(family) {
                let base = match family {
                    STRETCH => prepared("raspios-buster", stretch),
                    family => prepared(family, kernel),
                };
                let Some(base) = base else { return };
                bases.insert(family, base);
            }
            let stock = Arc::clone(&bases[family]);
            let name = node.name.as_str();
            let lab = Lab::build(None, cluster.clone(), inputs.clone(), name, "a-fixture", stock);
            judged += 1;
            for (row, verdict) in lab.judge(|_| ()) {
                match verdict {
                    Verdict::Fail(why) => wrong.push(format!("{set}, {name}: {} {why}", row.id)),
                    Verdict::Needs(what) => wrong.push(format!("{set}, {name}: {} needs {what}", row.id)),
                    Verdict::Pass | Verdict::DoesNotApply => {}
                }
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    assert!(judged >= 2 * sets::names().len(), "{judged} nodes were judged");
}
