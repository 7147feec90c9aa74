//! The dump: every byte once, and every field as `dumpe2fs` and `debugfs` have it.

mod damage;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::super::dump;
use super::matrix;
use super::support::*;
use crate::disk::BlockIo;
use crate::disk::dump::{DEFECT, Line, NOTE, Section, Sink, Totals, UNACCOUNTED};
use crate::fs::{Attrs, Volume};

/// A line that is kept.
#[derive(Debug, Clone)]
struct Kept {
    range: Range<u64>,
    kind: String,
    structure: String,
    field: String,
    value: String,
    meaning: String,
}

/// All lines of a dump, with its own account of them.
#[derive(Default)]
struct Lines {
    all: Vec<Kept>,
    totals: BTreeMap<String, u64>,
}

impl Sink for Lines {
    fn section(&mut self, _: &Section) -> io::Result<()> {
        Ok(())
    }

    fn line(&mut self, line: &Line<'_>) -> io::Result<()> {
        self.all.push(Kept {
            range: line.range.clone(),
            kind: line.kind.to_owned(),
            structure: line.structure.to_owned(),
            field: line.field.to_owned(),
            value: line.value.to_owned(),
            meaning: line.meaning.to_owned(),
        });
        Ok(())
    }

    fn total(&mut self, kind: &str, bytes: u64) -> io::Result<()> {
        self.totals.insert(kind.to_owned(), bytes);
        Ok(())
    }
}

impl Lines {
    /// A dump whose lines have been added up: each begins where the one before ended, the last at the end, and the
    /// summary says the same.
    fn of(io: &dyn BlockIo, what: &str) -> Self {
        let mut lines = Self::default();
        let totals: Totals = dump(io, &mut lines).unwrap();
        let mut at = 0;
        let mut kinds: BTreeMap<&str, u64> = BTreeMap::new();
        for line in &lines.all {
            if line.kind == NOTE || line.kind == DEFECT {
                continue;
            }
            assert_eq!(line.range.start, at, "{what}: {line:?}");
            assert!(line.range.end > at, "{what}: {line:?}");
            at = line.range.end;
            *kinds.entry(&line.kind).or_default() += line.range.end - line.range.start;
        }
        assert_eq!(at, io.len(), "{what}: bytes of the last line");
        for (kind, bytes) in &lines.totals {
            let counted = if kind == "all" {
                at
            } else {
                kinds.get(&**kind).copied().unwrap_or(0)
            };
            assert_eq!(*bytes, counted, "{what}: {kind}");
        }
        assert_eq!(totals.sum(), io.len(), "{what}");
        assert_eq!(lines.totals[UNACCOUNTED], 0, "{what}");
        lines
    }

    fn of_image(image: &Path, what: &str) -> Self {
        Self::of(&*Disk::open(image), what)
    }

    /// Defects, and fields said to be wrong.
    fn wrong(&self) -> Vec<&Kept> {
        self.all
            .iter()
            .filter(|l| l.kind == DEFECT || l.meaning.contains("wrong"))
            .collect()
    }

    fn of_structure<'a, 'b: 'a>(&'a self, structure: &'b str) -> impl Iterator<Item = &'a Kept> {
        self.all.iter().filter(move |l| l.structure == structure)
    }

    fn get(&self, structure: &str, field: &str) -> Option<&Kept> {
        self.all
            .iter()
            .find(|l| l.structure == structure && l.field == field)
    }

    /// The value of a number, 0 where the structure has no such field.
    fn number(&self, structure: &str, field: &str) -> u64 {
        self.get(structure, field).map_or(0, |l| to_number(&l.value))
    }

    /// Blocks by the inode that has them, the tables left out.
    fn blocks_of_inodes(&self, bs: u64) -> BTreeMap<u32, BTreeSet<u64>> {
        let mut found: BTreeMap<u32, BTreeSet<u64>> = BTreeMap::new();
        let orphans = self.number("superblock 0", "s_orphan_file_inum") as u32;
        for line in &self.all {
            let owner = line.structure.strip_prefix("inode ").and_then(|rest| {
                let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
                digits.parse().ok()
            });
            let owner = match &*line.kind {
                "data" | "directories" | "extents" => owner,
                "journal" => Some(8),
                "orphans" => Some(orphans),
                _ => None,
            };
            if let Some(owner) = owner {
                let blocks = line.range.start / bs..line.range.end.div_ceil(bs);
                found.entry(owner).or_default().extend(blocks);
            }
        }
        found
    }
}

fn to_number(text: &str) -> u64 {
    let found = if let Some(hex) = text.strip_prefix("0x") {
        u64::from_str_radix(hex, 16)
    } else if text.len() > 1 && text.starts_with('0') {
        u64::from_str_radix(text, 8)
    } else {
        text.parse()
    };
    found.unwrap_or_else(|_| panic!("{text} is no number"))
}

/// A base that the kernel filled: what `matrix` has, and nodes of all other kinds.
fn filled(layout: &str, more: &[&str]) -> Option<Base> {
    let base = make(layout, 48, more)?;
    base.mounted("rw", |root| {
        matrix::fill(root);
        let text = |path: &str| root.join(path).to_str().unwrap().to_owned();
        std::os::unix::fs::symlink("short", root.join("short-link")).unwrap();
        std::os::unix::fs::symlink("long/".repeat(40), root.join("long-link")).unwrap();
        let _ = run("mknod", &[&text("device"), "c", "4", "300"]);
        let _ = run("mkfifo", &[&text("fifo")]);
        let long = "v".repeat(700);
        for name in ["old3/fïle-001", "old3/fïle-002"] {
            let _ = run("setfattr", &["-n", "user.long", "-v", &long, &text(name)]);
        }
        let pieces = File::create(root.join("pieces")).unwrap();
        for n in 0..700 {
            pieces.write_all_at(&[n as u8; 100], n * 2 * 4096).unwrap();
        }
        for n in (0..60).step_by(3) {
            fs::remove_file(root.join(format!("old4/fïle-{n:03}"))).unwrap();
        }
    })
    .then_some(base)
}

/// One run of debugfs with many commands: the answer to each.
fn debugfs(base: &Base, commands: &[String]) -> Option<BTreeMap<String, String>> {
    let script = base.dir.path().join("commands");
    fs::write(&script, commands.join("\n") + "\n").unwrap();
    let (_, text) = run("debugfs", &["-f", script.to_str().unwrap(), base.path()])?;
    let mut answers = BTreeMap::new();
    for part in text.split("debugfs: ").skip(1) {
        let (command, answer) = part.split_once('\n').unwrap_or((part, ""));
        answers.insert(command.to_owned(), answer.to_owned());
    }
    Some(answers)
}

/// Every label of `dumpe2fs -h` with the field that it shows.
const LABELS: [(&str, &str); 25] = [
    ("Filesystem UUID", "s_uuid"),
    ("Inode count", "s_inodes_count"),
    ("Block count", "s_blocks_count_lo"),
    ("Reserved block count", "s_r_blocks_count_lo"),
    ("Overhead clusters", "s_overhead_blocks"),
    ("Free blocks", "s_free_blocks_count_lo"),
    ("Free inodes", "s_free_inodes_count"),
    ("First block", "s_first_data_block"),
    ("Group descriptor size", "s_desc_size"),
    ("Reserved GDT blocks", "s_reserved_gdt_blocks"),
    ("Blocks per group", "s_blocks_per_group"),
    ("Inodes per group", "s_inodes_per_group"),
    ("Mount count", "s_mnt_count"),
    ("Reserved blocks uid", "s_def_resuid"),
    ("Reserved blocks gid", "s_def_resgid"),
    ("First inode", "s_first_ino"),
    ("Inode size", "s_inode_size"),
    ("Required extra isize", "s_min_extra_isize"),
    ("Desired extra isize", "s_want_extra_isize"),
    ("Journal inode", "s_journal_inum"),
    ("Directory Hash Seed", "s_hash_seed"),
    ("Checksum", "s_checksum"),
    ("Checksum seed", "s_checksum_seed"),
    ("Orphan file inode", "s_orphan_file_inum"),
    ("Filesystem magic number", "s_magic"),
];

fn compare_superblock(base: &Base, lines: &Lines, what: &str) {
    let Some((_, text)) = run("dumpe2fs", &["-h", base.path()]) else {
        return;
    };
    let mut compared = 0;
    for line in text.lines() {
        let Some((label, theirs)) = line.split_once(':') else {
            continue;
        };
        let Some((_, field)) = LABELS.iter().find(|(l, _)| *l == label) else {
            continue;
        };
        let ours = &lines.get("superblock 0", field).unwrap().value;
        let theirs = theirs.split_whitespace().next().unwrap_or_default();
        let same = ours == theirs || (!theirs.contains('-') && to_number(ours) == to_number(theirs));
        assert!(same, "{what}: {field} is {ours}; dumpe2fs: {line}");
        compared += 1;
    }
    assert!(compared >= 18, "{what}: {compared} fields compared in:\n{text}");
    let features = text
        .lines()
        .find_map(|l| l.strip_prefix("Filesystem features:"))
        .unwrap();
    let theirs: Vec<&str> = features.split_whitespace().collect();
    let words = ["s_feature_compat", "s_feature_incompat", "s_feature_ro_compat"].map(|field| {
        let line = lines.get("superblock 0", field).unwrap();
        line.meaning.clone()
    });
    let ours: Vec<&str> = words.iter().flat_map(|w| w.split_whitespace()).collect();
    assert_eq!(ours, theirs, "{what}");
}

fn compare_groups(base: &Base, lines: &Lines, what: &str) {
    let Some((_, text)) = run("debugfs", &["-R", "stats", base.path()]) else {
        return;
    };
    let groups: Vec<&str> = text.split(" Group ").skip(1).collect();
    assert!(!groups.is_empty(), "{what}: {text}");
    for (n, group) in groups.iter().enumerate() {
        let d = format!("descriptor {n}");
        let field = |name: &str| lines.number(&d, name);
        for expected in [
            format!("block bitmap at {},", field("bg_block_bitmap_lo")),
            format!("inode bitmap at {},", field("bg_inode_bitmap_lo")),
            format!("inode table at {}\n", field("bg_inode_table_lo")),
            format!("{} free block", field("bg_free_blocks_count_lo")),
            format!("{} free inode", field("bg_free_inodes_count_lo")),
            format!("{} used director", field("bg_used_dirs_count_lo")),
        ] {
            assert!(
                group.contains(&expected),
                "{what}: group {n}: {expected}: {group}"
            );
        }
        if let Some(at) = group.find("Checksum ") {
            let theirs = group[at + 9..].split(']').next().unwrap();
            assert_eq!(field("bg_checksum"), to_number(theirs), "{what}: group {n}");
        }
        let flags = &lines.get(&d, "bg_flags").unwrap().meaning;
        assert_eq!(
            flags.contains("INODE_UNINIT"),
            group.contains("Inode not init"),
            "{what}: {group}"
        );
        assert_eq!(
            flags.contains("BLOCK_UNINIT"),
            group.contains("Block not init"),
            "{what}: {group}"
        );
    }
}

fn compare_inodes(base: &Base, lines: &Lines, what: &str) {
    let numbers: Vec<u32> = lines
        .all
        .iter()
        .filter(|l| l.field == "i_mode")
        .filter_map(|l| l.structure.strip_prefix("inode ")?.parse().ok())
        .collect();
    assert!(numbers.len() > 900, "{what}: {} inodes", numbers.len());
    let commands: Vec<String> = numbers
        .iter()
        .flat_map(|n| [format!("stat <{n}>"), format!("blocks <{n}>")])
        .collect();
    let Some(answers) = debugfs(base, &commands) else {
        return;
    };
    // Lines by structure, or the search through all of them takes long.
    let mut fields: BTreeMap<&str, BTreeMap<&str, &Kept>> = BTreeMap::new();
    for line in lines.all.iter().filter(|l| l.kind == "inodes") {
        fields
            .entry(&line.structure)
            .or_default()
            .insert(&line.field, line);
    }
    let bs = 1024 << lines.number("superblock 0", "s_log_block_size");
    let blocks = lines.blocks_of_inodes(bs);
    for n in numbers {
        let i = &fields[&*format!("inode {n}")];
        let opt = |name: &str| i.get(name).map(|l| to_number(&l.value));
        let get = |name: &str| opt(name).unwrap_or(0);
        let text = &answers[&format!("stat <{n}>")];
        let mut expected = vec![
            format!("Mode:  {:04o} ", get("i_mode") & 0o7777),
            format!("Flags: 0x{:x}\n", get("i_flags")),
            format!("Generation: {} ", get("i_generation")),
            format!("User: {:5} ", get("i_uid") | get("l_i_uid_high") << 16),
            format!("Group: {:5} ", get("i_gid") | get("l_i_gid_high") << 16),
            format!("Size: {}\n", get("i_size_lo") | get("i_size_high") << 32),
            format!(
                "File ACL: {}\n",
                get("i_file_acl_lo") | get("l_i_file_acl_high") << 32
            ),
            format!("Links: {} ", get("i_links_count")),
            format!(
                "Blockcount: {}\n",
                get("i_blocks_lo") | get("l_i_blocks_high") << 32
            ),
        ];
        for name in ["ctime", "atime", "mtime", "crtime"] {
            if let Some(time) = opt(&format!("i_{name}")) {
                expected.push(match opt(&format!("i_{name}_extra")) {
                    Some(extra) => format!("{name}: 0x{time:08x}:{extra:08x} --"),
                    None => format!("{name}: 0x{time:08x} --"),
                });
            }
        }
        if let (Some(hi), true) = (opt("i_checksum_hi"), text.contains("Inode checksum")) {
            expected.push(format!(
                "Inode checksum: 0x{:08x}",
                get("l_i_checksum_lo") | hi << 16
            ));
        }
        for part in &expected {
            assert!(text.contains(&**part), "{what}: inode {n}: {part}: {text}");
        }
        // What the resize inode names are the reserved descriptors. Of nodes without blocks, debugfs takes the text
        // of a symlink and the number of a device for some.
        let has_blocks = match get("i_mode") & 0xF000 {
            0xA000 => get("i_size_lo") >= 60,
            kind => kind == 0x8000 || kind == 0x4000,
        };
        if n != 7 && has_blocks {
            let theirs: BTreeSet<u64> = answers[&format!("blocks <{n}>")]
                .split_whitespace()
                .filter_map(|word| word.parse().ok())
                .collect();
            let ours = blocks.get(&n).cloned().unwrap_or_default();
            assert_eq!(ours, theirs, "{what}: blocks of inode {n}");
        }
    }
}

fn compare_index(base: &Base, lines: &Lines, what: &str) {
    let Some(entry) = lines.all.iter().find(|l| l.field == "entry \"many\"") else {
        panic!("{what}: no directory `many`");
    };
    let number: u32 = entry
        .value
        .split(['=', ' ', ','])
        .nth(1)
        .unwrap()
        .parse()
        .unwrap();
    let root = format!("inode {number} directory block 0 index root");
    let mut ours = Vec::new();
    for line in lines
        .of_structure(&root)
        .filter(|l| l.field.starts_with("dx_entry"))
    {
        let words: Vec<&str> = line.value.split([' ', ',']).filter(|w| !w.is_empty()).collect();
        ours.push(match words[..] {
            ["limit", limit, "count", count, "block", block] => {
                let Some((_, text)) = run("debugfs", &["-R", "htree_dump /many", base.path()]) else {
                    return;
                };
                assert!(
                    text.contains(&format!("Number of entries (count): {count}\n")),
                    "{what}: {text}"
                );
                assert!(
                    text.contains(&format!("Number of entries (limit): {limit}\n")),
                    "{what}: {text}"
                );
                (0, to_number(block))
            }
            ["hash", hash, "block", block] => (to_number(hash), to_number(block)),
            _ => panic!("{what}: {line:?}"),
        });
    }
    let Some((_, text)) = run("debugfs", &["-R", "htree_dump /many", base.path()]) else {
        return;
    };
    if lines
        .get("superblock 0", "s_feature_compat")
        .is_some_and(|l| !l.meaning.contains("dir_index"))
    {
        assert!(ours.is_empty(), "{what}");
        return;
    }
    let theirs: Vec<(u64, u64)> = text
        .lines()
        .filter_map(|l| l.trim().strip_prefix("Entry #"))
        .map(|l| {
            let word = |key: &str| l.split(key).nth(1).unwrap().split([' ', ',']).next().unwrap();
            (to_number(word("Hash ")), to_number(word("block ")))
        })
        .collect();
    let levels = lines.number(&root, "dx_root.info.indirect_levels");
    assert!(ours.len() > 1 && theirs.len() >= ours.len(), "{what}: {text}");
    assert_eq!(
        ours.iter().map(|(h, b)| (h & !1, *b)).collect::<Vec<_>>(),
        theirs[..ours.len()],
        "{what}"
    );
    assert!(
        text.contains(&format!("Indirect levels: {levels}\n")),
        "{what}: {text}"
    );
}

fn compare_journal(base: &Base, lines: &Lines, what: &str) {
    if lines.number("superblock 0", "s_journal_inum") == 0 {
        return;
    }
    let Some((_, text)) = run("debugfs", &["-R", "logdump -S", base.path()]) else {
        return;
    };
    let j = |field: &str| lines.number("journal superblock", field);
    let bs = 1024 << lines.number("superblock 0", "s_log_block_size");
    assert_eq!(j("s_blocksize"), bs, "{what}");
    let mut expected = vec![
        format!("Total journal blocks:     {}\n", j("s_maxlen")),
        format!("Journal sequence:         0x{:08x}\n", j("s_sequence")),
        format!("Journal start:            {}\n", j("s_start")),
    ];
    if text.contains("Journal checksum:") {
        expected.push(format!("Journal checksum:         0x{:08x}\n", j("s_checksum")));
    }
    for part in expected {
        assert!(text.contains(&part), "{what}: {part}: {text}");
    }
}

/// What the totals say about structures whose size others tell.
fn compare_totals(base: &Base, lines: &Lines, what: &str) {
    let Some((_, text)) = run("dumpe2fs", &["-h", base.path()]) else {
        return;
    };
    let theirs = |label: &str| -> u64 {
        let line = text
            .lines()
            .find_map(|l| l.strip_prefix(label)?.strip_prefix(':'));
        line.map_or(0, |l| l.trim().parse().unwrap())
    };
    let bs = theirs("Block size");
    let groups = theirs("Block count").div_ceil(theirs("Blocks per group"));
    assert_eq!(lines.totals["free"], theirs("Free blocks") * bs, "{what}");
    let itable = theirs("Inodes per group") * theirs("Inode size");
    assert_eq!(lines.totals["inodes"], groups * itable, "{what}");
    assert_eq!(lines.totals["bitmaps"], groups * 2 * bs, "{what}");
    assert_eq!(
        lines.totals["journal"],
        theirs("Total journal blocks") * bs,
        "{what}"
    );
    assert_eq!(lines.totals["boot"], 1024, "{what}");
}

fn judge(layout: &str, more: &[&str]) {
    let Some(base) = filled(layout, more) else { return };
    let what = format!("{layout} {more:?}");
    base.fsck(&what);
    let lines = Lines::of_image(&base.image, &what);
    assert!(lines.wrong().is_empty(), "{what}: {:?}", lines.wrong());
    compare_superblock(&base, &lines, &what);
    compare_groups(&base, &lines, &what);
    compare_inodes(&base, &lines, &what);
    compare_index(&base, &lines, &what);
    compare_journal(&base, &lines, &what);
    compare_totals(&base, &lines, &what);
}

#[test]
fn what_the_kernel_wrote_is_as_debugfs_shows_it() {
    for (layout, _) in &LAYOUTS[..6] {
        judge(layout, &[]);
    }
}

#[test]
fn what_the_kernel_wrote_on_odd_layouts_is_as_debugfs_shows_it() {
    for (layout, _) in &LAYOUTS[6..] {
        judge(layout, &[]);
    }
}

/// Files as ext3 maps them, with indirect blocks of two levels.
#[test]
fn block_maps_are_as_debugfs_shows_them() {
    judge("bookworm", &["-O", "^extent,^64bit"]);
    judge("block1k", &["-O", "^extent,^64bit"]);
}

#[test]
fn what_was_edited_and_grown_adds_up() {
    for (layout, _) in LAYOUTS {
        let Some(base) = make(layout, 24, &[]) else { return };
        let mut fs = base.open();
        let mut random = Random(7);
        for n in 0..40u64 {
            let dir = format!("/d{}", n % 4);
            fs.make_dir(dir.as_bytes(), &attrs(0o755, 9)).unwrap();
            let content = random.bytes((n * 900) as usize);
            let path = format!("{dir}/a rather long name of file number {n}");
            fs.put_file(path.as_bytes(), &source(&content), false, &attrs(0o644, 9))
                .unwrap();
            fs.set_xattr(
                path.as_bytes(),
                b"user.n",
                Some(&content[..(n * 7) as usize]),
                at(9),
            )
            .unwrap();
        }
        fs.symlink(b"/l", "t".repeat(200).as_bytes(), &Attrs::default())
            .unwrap();
        fs.remove(b"/d1", true, at(9)).unwrap();
        fs.commit().unwrap();
        let lines = Lines::of_image(&base.image, layout);
        assert!(lines.wrong().is_empty(), "{layout}: {:?}", lines.wrong());
        let file = File::options().write(true).open(&base.image).unwrap();
        file.set_len((300 << 20) + 777).unwrap();
        if fs.grow(Disk::open(&base.image)).is_err() {
            continue;
        }
        fs.commit().unwrap();
        base.fsck(layout);
        let what = format!("{layout} grown");
        let lines = Lines::of_image(&base.image, &what);
        assert!(lines.wrong().is_empty(), "{what}: {:?}", lines.wrong());
        compare_groups(&base, &lines, &what);
        assert!(lines.totals["outside"] >= 777, "{what}");
    }
}
