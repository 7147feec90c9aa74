//! Faults by name and at random, checksums made right, and who finds them: our check, `e2fsck -fn`, or neither.

mod groups;
mod names;
mod nodes;
mod patient;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::super::format::ino;
use super::support::{Random, seeds};
use patient::{LAYOUTS, Patient, Place, Sample};

/// A name, and what puts the fault there; `None` where the layout has no such thing.
type Fault = (&'static str, fn(&mut Patient) -> Option<()>);

const PARTS: [(&str, &[Fault]); 13] = [
    ("superblock", groups::SUPERBLOCK),
    ("descriptors", groups::DESCRIPTORS),
    ("bitmaps", groups::BITMAPS),
    ("inodes", nodes::INODES),
    ("extents", nodes::EXTENTS),
    ("attributes", nodes::ATTRIBUTES),
    ("directories", names::DIRECTORIES),
    ("indexes", names::INDEXES),
    ("journal", names::JOURNAL),
    ("orphan file", names::ORPHANS),
    ("resize inode", names::RESIZE),
    ("backups", groups::BACKUPS),
    ("none", &[("no fault", |_| Some(()))]),
];

/// Who finds a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Finder {
    Both,
    Ours,
    E2fsck,
    Nobody,
}

impl Finder {
    fn of(ours: bool, e2fsck: bool) -> Self {
        match (ours, e2fsck) {
            (true, true) => Self::Both,
            (true, false) => Self::Ours,
            (false, true) => Self::E2fsck,
            (false, false) => Self::Nobody,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Both => "both",
            Self::Ours => "ours",
            Self::E2fsck => "e2fsck",
            Self::Nobody => "nobody",
        }
    }
}

/// What `e2fsck` finds and we do not, with the reason.
const KNOWN: [(&str, &str); 1] = [(
    "orphan_present with an empty file",
    "a mount left it behind; the recovery that comes before our check clears it",
)];

#[test]
fn no_fault_is_found_by_e2fsck_alone() {
    let rows = |part: &'static str, faults: &'static [Fault]| {
        let row = move |fault: &Fault| (part, fault.0, BTreeMap::new());
        faults.iter().map(row)
    };
    let mut table: Vec<(&str, &str, BTreeMap<&str, Finder>)> = PARTS[..PARTS.len() - 1]
        .iter()
        .flat_map(|(part, faults)| rows(part, faults))
        .collect();
    let mut missed = Vec::new();
    for (layout, _) in LAYOUTS {
        let Some(sample) = Sample::make(layout) else {
            return;
        };
        for (part, faults) in PARTS {
            for (name, make) in faults {
                let mut patient = sample.patient();
                if make(&mut patient).is_none() {
                    continue;
                }
                let (ours, text) = (patient.ours(), patient.e2fsck());
                let finder = Finder::of(!ours.is_empty(), !text.is_empty());
                if part == "none" {
                    assert_eq!(finder, Finder::Nobody, "{layout}: {ours:?}\n{text}");
                    continue;
                }
                if finder == Finder::E2fsck && !KNOWN.iter().any(|known| known.0 == *name) {
                    missed.push(format!("{layout}: {part}: {name}\n{text}"));
                }
                let row = table.iter_mut().find(|row| (row.0, row.1) == (part, *name));
                row.unwrap().2.insert(layout, finder);
            }
        }
    }
    write_table(&table);
    assert!(table.len() >= 100, "{} faults", table.len());
    for (part, name, finders) in &table {
        assert!(!finders.is_empty(), "{part}: {name}: no layout has it");
    }
    assert!(
        missed.is_empty(),
        "{} missed:\n{}",
        missed.len(),
        missed.join("\n")
    );
}

/// Writes the table as Markdown where `CEIL_FAULT_TABLE` says.
fn write_table(table: &[(&str, &str, BTreeMap<&str, Finder>)]) {
    let Some(path) = std::env::var_os("CEIL_FAULT_TABLE") else {
        return;
    };
    let mut text = String::from(
        "# Faults in ext4, and who finds them\n\nMade by the command in [ext4.md](ext4.md#who-finds-a-fault). Columns are \
         layouts: checksums of crc32c, of crc16, none.\n\n| structure | fault |",
    );
    for (layout, _) in LAYOUTS {
        let _ = write!(text, " {layout} |");
    }
    text.push_str("\n| --- | --- | --- | --- | --- |\n");
    let mut sums: BTreeMap<Finder, u32> = BTreeMap::new();
    for (part, name, finders) in table {
        let _ = write!(text, "| {part} | {name} |");
        for (layout, _) in LAYOUTS {
            let finder = finders.get(layout);
            if let Some(finder) = finder {
                *sums.entry(*finder).or_default() += 1;
            }
            let _ = write!(text, " {} |", finder.map_or("", |f| f.name()));
        }
        text.push('\n');
    }
    let sums: Vec<String> = sums.iter().map(|(f, n)| format!("{} {n}", f.name())).collect();
    let _ = writeln!(text, "\n{} faults; found by: {}.", table.len(), sums.join(", "));
    std::fs::write(path, text).unwrap();
}

/// One byte of a structure in use, at random.
fn random_fault(patient: &mut Patient, random: &mut Random) -> String {
    let paths = [
        "/",
        "/file0",
        "/file1",
        "/file5",
        "/dir",
        "/dir/sub",
        "/hashed",
        "/holes",
        "/attrs",
        "/small",
        "/fast",
        "/slow",
        "/fifo",
        "/device",
        "/lost+found",
    ];
    let inode = patient
        .sample
        .inode(paths[random.below(paths.len() as u64) as usize]);
    let has_acl = |n: u32| patient.at(Place::Inode(n))[ino::FILE_ACL_LO..ino::FILE_ACL_LO + 4] != [0; 4];
    let place = match random.below(12) {
        0 | 1 => Place::Super(0),
        2 => Place::Desc(random.below(4) as u32),
        3 => Place::BlockBitmap(random.below(4) as u32),
        4 => Place::InodeBitmap(random.below(4) as u32),
        5 | 6 => Place::Inode(inode),
        7 => Place::Inode(1 + random.below(11) as u32),
        8 => Place::Extent(patient.sample.inode("/holes"), 0),
        9 => {
            let dirs = [("/", 1), ("/dir", 1), ("/dir/sub", 1), ("/hashed", 3)];
            let (path, blocks) = dirs[random.below(4) as usize];
            Place::Dir(patient.sample.inode(path), random.below(blocks))
        }
        10 if has_acl(patient.sample.inode("/attrs")) => Place::Xattr(patient.sample.inode("/attrs")),
        _ if patient.has_orphan_file() => Place::Orphan(0),
        _ => Place::Super(1),
    };
    let len = patient.at(place).len() as u64;
    // Most of what matters stands in front.
    let at = if random.below(2) == 0 {
        random.below(len.min(128))
    } else {
        random.below(len)
    } as usize;
    let old = patient.at(place)[at];
    let new = match random.below(4) {
        0 => old ^ 1 << random.below(8),
        1 => old.wrapping_add(1),
        2 => [0, 255][random.below(2) as usize],
        _ => random.next() as u8,
    };
    patient.put(place, at, &[new]);
    format!("{place:?} byte {at:#x}: {old:#x} becomes {new:#x}")
}

/// Differences that are meant: the place and what `e2fsck` says, with the reason.
const KNOWN_RANDOM: [(&str, &str); 0] = [];

#[test]
fn no_random_fault_is_found_by_e2fsck_alone() {
    let rounds = seeds(60);
    let mut sums: BTreeMap<Finder, u32> = BTreeMap::new();
    let mut missed = Vec::new();
    for (layout, _) in LAYOUTS {
        let Some(sample) = Sample::make(layout) else {
            return;
        };
        for seed in 1..=rounds {
            let mut random = Random(u64::wrapping_mul(seed, 0x9E37_79B9_7F4A_7C15));
            let mut patient = sample.patient();
            let what = random_fault(&mut patient, &mut random);
            if patient.bytes == sample.bytes {
                continue;
            }
            let (ours, text) = (patient.ours(), patient.e2fsck());
            let finder = Finder::of(!ours.is_empty(), !text.is_empty());
            *sums.entry(finder).or_default() += 1;
            let known = KNOWN_RANDOM
                .iter()
                .any(|(place, says)| what.contains(place) && text.contains(says));
            if finder == Finder::E2fsck && !known {
                missed.push(format!("{layout}, seed {seed}: {what}\n{text}"));
            }
        }
    }
    eprintln!("random faults: {sums:?}");
    assert!(
        missed.is_empty(),
        "{} missed:\n{}",
        missed.len(),
        missed.join("\n")
    );
}
