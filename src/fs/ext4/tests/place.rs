//! Where content lies: large files in one piece at the start of a card's allocation unit, small ones in the gaps.

use super::support::*;
use crate::fs::Volume;

const MIB: u64 = 1 << 20;
const UNIT: u64 = 4 * MIB;

/// Physical extents of a file as `debugfs` lists them: first byte and length.
fn extents(base: &Base, path: &str) -> Option<Vec<(u64, u64)>> {
    let bs = base.open().space().block_size;
    let (code, text) = run(
        "debugfs",
        &["-R", &format!("dump_extents -l {path}"), base.path()],
    )?;
    assert_eq!(code, 0, "{text}");
    // Level, entries, logical first - last, physical first - last, length.
    let rows = text
        .lines()
        .filter(|l| l.contains('/') && !l.starts_with("debugfs"));
    let extents = rows.map(|row| {
        let numbers: Vec<u64> = row
            .split(|c: char| !c.is_ascii_digit())
            .filter_map(|n| n.parse().ok())
            .collect();
        let [.., physical, last, length] = numbers[..] else {
            panic!("{row}");
        };
        assert_eq!(last - physical + 1, length, "{row}");
        (physical * bs, length * bs)
    });
    Some(extents.collect())
}

fn put(fs: &mut super::super::Ext4, path: &str, len: u64) {
    let content = vec![7; len as usize];
    fs.put_file(path.as_bytes(), &source(&content), false, &attrs(0o644, 5))
        .unwrap();
}

/// Runs of free blocks, as `dumpe2fs` lists them.
fn free_runs(base: &Base) -> Vec<(u64, u64)> {
    let (code, text) = run("dumpe2fs", &[base.path()]).unwrap();
    assert_eq!(code, 0);
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for line in text.lines().filter_map(|l| l.strip_prefix("  Free blocks: ")) {
        for run in line.split(", ").filter(|r| !r.is_empty()) {
            let (first, last) = run.split_once('-').unwrap_or((run, run));
            let (first, last) = (first.parse().unwrap(), last.parse().unwrap());
            match runs.last_mut() {
                Some(before) if before.1 + 1 == first => before.1 = last,
                _ => runs.push((first, last)),
            }
        }
    }
    runs
}

#[test]
fn large_files_are_whole_and_aligned() {
    for (layout, _) in LAYOUTS {
        let Some(base) = make(layout, 256, &[]) else {
            return;
        };
        let runs_before = free_runs(&base).len();
        let mut fs = base.open();
        let bs = fs.space().block_size;
        fs.make_dir(b"/srv", &attrs(0o755, 5)).unwrap();
        // A group of 1 KiB blocks has 8 MiB, and with 2 KiB 32 MiB: longer files take several.
        let sizes = [UNIT, UNIT + 1, 6 * MIB, 20 * MIB];
        for (n, size) in sizes.iter().enumerate() {
            put(&mut fs, &format!("/srv/small{n}"), 5000);
            put(&mut fs, &format!("/srv/large{n}"), *size);
            put(&mut fs, &format!("/srv/medium{n}"), 900_000);
        }
        fs.commit().unwrap();
        base.fsck(layout);
        let mut pieces = 0;
        for (n, size) in sizes.iter().enumerate() {
            let Some(found) = extents(&base, &format!("/srv/large{n}")) else {
                return;
            };
            pieces += found.len();
            let whole = size.div_ceil(bs) * bs;
            assert_eq!(
                found.iter().map(|e| e.1).sum::<u64>(),
                whole,
                "{layout} {found:?}"
            );
            assert_eq!(found[0].0 % UNIT, 0, "{layout}: {size} bytes at {found:?}");
            // Only a file that no group can hold is in pieces.
            if *size <= UNIT || bs == 4096 {
                assert_eq!(found.len(), 1, "{layout}: {size} bytes at {found:?}");
            }
        }
        // Small files do not begin units of their own: they lie together before the first large one.
        let small: Vec<u64> = (0..4)
            .map(|n| extents(&base, &format!("/srv/small{n}")).unwrap()[0].0)
            .collect();
        assert!(small.windows(2).all(|w| w[0] < w[1]), "{layout}: {small:?}");
        assert!(small[3] - small[0] < 2 * UNIT, "{layout}: {small:?}");
        // Each piece leaves one gap before it at most, and one behind it.
        let runs = free_runs(&base);
        assert!(
            runs.len() <= runs_before + 2 * pieces,
            "{layout}: {pieces} pieces, {runs:?}"
        );
    }
}

/// With a block taken at the start of every unit, files are where they were put before there was a wish.
#[test]
fn without_an_aligned_run_the_first_that_fits_is_taken() {
    let Some(base) = make("debian", 128, &[]) else {
        return;
    };
    let mut fs = base.open();
    let units = 128 * MIB / UNIT;
    for unit in 0..units {
        // Blocks that are taken already stay so.
        let _ = fs.extend_at(unit * UNIT / 4096, 1).unwrap();
    }
    let free = fs.space().free;
    let short = (UNIT / 4096) - 1;
    let goal = fs.goal(2);
    let one = fs.allocate_content(goal, short).unwrap();
    assert_eq!(one.len(), 1, "{one:?}");
    // Longer than any run: in two pieces, not refused.
    let two = fs.allocate_content(goal, short + 1).unwrap();
    assert_eq!(two.len(), 2, "{two:?}");
    // To the last block.
    let rest = fs.space().free / 4096;
    let all = fs.allocate_content(goal, rest).unwrap();
    assert_eq!(all.iter().map(|r| r.1).sum::<u64>(), rest);
    assert_eq!(fs.space().free, 0);
    assert_eq!(free / 4096, 2 * short + 1 + rest);
}

/// What is longer than a group goes on in the next ones, each piece as long as it can be.
#[test]
fn a_file_of_several_groups_has_few_extents() {
    let Some(base) = make("bookworm", 1024, &["-O", "^flex_bg"]) else {
        return;
    };
    let mut fs = base.open();
    put(&mut fs, "/large", 300 * MIB);
    fs.commit().unwrap();
    base.fsck("300 MiB");
    let Some(found) = extents(&base, "/large") else {
        return;
    };
    assert!(found.len() <= 4, "{found:?}");
    assert_eq!(found[0].0 % UNIT, 0, "{found:?}");
}
