//! Every structure of a FAT volume as text, byte by byte: boot sector, FSInfo, tables, directories, data.

mod chains;
mod directory;
mod tables;

use std::io;
use std::ops::Range;

use super::boot_sector::{BootSector, ENTRY_SIZE, FatType, u16_at};
use super::table::{Entry, Table};
use crate::disk::BlockIo;
use crate::disk::dump::{Layout, Ledger, Part, Sink, Totals, fold};
use crate::fs::FsError;
use chains::{Chains, Run};
use tables::{BEHIND_BOOT, BEHIND_FAT32, BOOT, EXTENDED, FAT32, FS_INFO, SIGNATURE};

/// Kinds of bytes in the order of the summary.
const KINDS: [&str; 7] = [RESERVED, FATS, ROOT, DIRECTORIES, DATA, FREE, OUTSIDE];
/// Boot sector, FSInfo, their copies, and what is beside them.
const RESERVED: &str = "reserved-sectors";
const FATS: &str = "fats";
const ROOT: &str = "root";
const DIRECTORIES: &str = "directories";
const DATA: &str = "data";
const FREE: &str = "free";
/// In use by the table, but in no chain that begins in a directory.
const LOST: &str = "lost";
const BAD: &str = "bad";
/// Behind the last cluster.
const OUTSIDE: &str = "outside";
const UNKNOWN: &str = "unknown";
/// Bytes of the boot sector and of FSInfo, whatever the sector size.
const HEAD: usize = 512;

/// Writes the annotated text of a FAT volume that begins at the start of `io`: each byte of `io` is part of exactly
/// one line, in rising order, and the totals add up to its length. Chains and slots that contradict the format are
/// told in lines of kind [`DEFECT`](crate::disk::dump::DEFECT); behind a boot sector that gives no geometry, nothing
/// is decoded.
///
/// # Errors
/// The device or the sink fails; damage is no error.
pub fn dump(io: &dyn BlockIo, sink: &mut dyn Sink) -> io::Result<Totals> {
    let mut out = Ledger::new(sink, io.len(), &KINDS);
    match BootSector::read(io) {
        Ok(boot) => volume(io, &boot, &mut out)?,
        Err(FsError::Io(error)) => return Err(error),
        Err(why) => {
            out.defect(0..io.len(), "volume", &why.to_string())?;
            if io.len() >= HEAD as u64 {
                let head = read(io, 0..HEAD as u64)?;
                let wide = u16_at(&head, 22) == 0;
                out.structure(0, &head, RESERVED, "boot sector", boot_parts(&head, wide))?;
            }
            let rest = out.cursor()..io.len();
            out.own(rest, UNKNOWN, "volume", "bytes", "not decoded", "")?;
        }
    }
    out.finish()
}

fn read(io: &dyn BlockIo, range: Range<u64>) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; (range.end - range.start) as usize];
    io.read_at(range.start, &mut bytes)?;
    Ok(bytes)
}

fn table_of(io: &dyn BlockIo, boot: &BootSector, copy: u32) -> io::Result<Table> {
    Table::read(io, boot, copy).map_err(|error| match error {
        FsError::Io(error) => error,
        other => io::Error::other(other),
    })
}

fn volume(io: &dyn BlockIo, boot: &BootSector, out: &mut Ledger<'_>) -> io::Result<()> {
    let table = table_of(io, boot, boot.active_fat())?;
    let root = boot.root_offset()..boot.data_offset();
    let fixed = match boot.fat_type {
        FatType::Fat32 => None,
        _ => Some(read(
            io,
            root.start..root.start + u64::from(boot.root_entries) * ENTRY_SIZE as u64,
        )?),
    };
    let chains = chains::survey(io, boot, &table, fixed.as_deref())?;
    for text in &chains.defects {
        out.defect(0..io.len(), "volume", text)?;
    }
    reserved(io, boot, &table, out)?;
    for copy in 0..boot.num_fats {
        fat(io, boot, copy, &table, out)?;
    }
    if let Some(bytes) = fixed {
        let parts = directory::parts(&bytes);
        out.structure(root.start, &bytes, ROOT, "root directory", parts)?;
        out.undescribed(io, out.cursor()..root.end, ROOT, "behind the root directory")?;
    }
    clusters(io, boot, &table, &chains, out)?;
    let rest = out.cursor()..io.len();
    out.own(rest, OUTSIDE, "volume", "bytes", "behind the last cluster", "")
}

/// The fields of a boot sector.
fn boot_parts(head: &[u8], wide: bool) -> Vec<Part> {
    let shifted = |layout: Layout, at: usize| layout.parts(&head[at..], at);
    let mut parts = shifted(BOOT, 0);
    if wide {
        parts.append(&mut shifted(FAT32, BEHIND_BOOT));
    }
    let at = if wide { BEHIND_FAT32 } else { BEHIND_BOOT };
    parts.append(&mut shifted(EXTENDED, at));
    parts.append(&mut shifted(SIGNATURE, HEAD - 2));
    parts
}

/// Sectors before the first table.
fn reserved(io: &dyn BlockIo, boot: &BootSector, table: &Table, out: &mut Ledger<'_>) -> io::Result<()> {
    let size = u64::from(boot.bytes_per_sector);
    let wide = boot.fat_type == FatType::Fat32;
    let first = read(io, 0..HEAD as u64)?;
    let info = boot.fs_info.map(|n| (n, "FSInfo"));
    let backup = boot.backup.map(|n| (n, "backup boot sector"));
    // The copy of FSInfo follows the copy of the boot sector as FSInfo follows the boot sector.
    let copy = match (boot.backup, boot.fs_info) {
        (Some(at), Some(n)) => at.checked_add(n).filter(|n| *n < boot.reserved_sectors),
        _ => None,
    };
    let copy = copy.map(|n| (n, "backup FSInfo"));
    let mut places: Vec<(u32, &str)> = vec![(0, "boot sector")];
    places.extend([info, backup, copy].into_iter().flatten());
    places.sort_unstable();
    places.dedup_by_key(|p| p.0);
    for (sector, name) in places {
        let at = u64::from(sector) * size;
        out.undescribed(io, out.cursor()..at, RESERVED, "reserved sectors")?;
        let bytes = read(io, at..at + size)?;
        let (head, rest) = bytes.split_at(HEAD);
        let mut parts = if name.ends_with("FSInfo") {
            FS_INFO.parts(head, 0)
        } else {
            boot_parts(head, wide)
        };
        if name == "backup boot sector" {
            parts = fold(parts, "as in the boot sector", |p| {
                head.get(p.range.clone()) == first.get(p.range.clone())
            });
        }
        if let Some(part) = parts.iter_mut().find(|p| p.field == "FSI_Free_Count") {
            part.meaning = match (part.value.parse::<u32>(), name) {
                (Ok(count), _) if count == table.free() => "right".to_owned(),
                (Ok(u32::MAX), _) => "not known".to_owned(),
                _ => format!("the table has {} free clusters", table.free()),
            };
        }
        out.structure(at, head, RESERVED, name, parts)?;
        out.structure(at + HEAD as u64, rest, RESERVED, name, Vec::new())?;
    }
    out.undescribed(io, out.cursor()..boot.fat_offset(0), RESERVED, "reserved sectors")
}

/// One copy of the table: its entries as one line with a note for each run, or for each run that differs from the
/// active copy.
fn fat(
    io: &dyn BlockIo,
    boot: &BootSector,
    copy: u32,
    active: &Table,
    out: &mut Ledger<'_>,
) -> io::Result<()> {
    let structure = format!("FAT {copy}");
    let start = boot.fat_offset(copy);
    let end = boot.fat_offset(copy + 1);
    let used = start..start + boot.table_bytes();
    let is_active = copy == boot.active_fat();
    let table = table_of(io, boot, copy)?;
    let field = format!("entries 0..{}", boot.clusters + 2);
    let value = format!("{} free", table.free());
    let same = active.first_difference(&table).is_none();
    let meaning = match (is_active, same) {
        (true, _) => "the one that counts",
        (false, true) => "as the one that counts",
        (false, false) => "differs from the one that counts",
    };
    out.own(used.clone(), FATS, &structure, &field, &value, meaning)?;
    for n in 0..2 {
        let value = format!("{:#x}", table.raw(n));
        if is_active || table.raw(n) != active.raw(n) {
            out.note(used.clone(), &structure, &format!("FAT[{n}]"), &value)?;
        }
    }
    let last = boot.clusters + 2;
    let mut at = 2;
    while at < last {
        if is_active {
            let next = run_end(&table, at, last);
            let (field, value) = run_text(&table, at, next);
            out.note(used.clone(), &structure, &field, &value)?;
            at = next;
            continue;
        }
        if !same && table.raw(at) != active.raw(at) {
            let value = format!(
                "{:#x}, in the one that counts {:#x}",
                table.raw(at),
                active.raw(at)
            );
            out.defect(used.clone(), &structure, &format!("FAT[{at}] is {value}"))?;
        }
        at += 1;
    }
    out.undescribed(io, used.end..end, FATS, &format!("behind {structure}"))
}

/// The end of a run of entries that are free or bad, or that each lead to the next one.
fn run_end(table: &Table, from: u32, last: u32) -> u32 {
    let first = table.entry(from);
    let mut at = from + 1;
    while at < last {
        let goes_on = match first {
            Entry::Free | Entry::Bad => table.entry(at) == first,
            _ => {
                table.entry(at - 1) == Entry::Next(at)
                    && matches!(table.entry(at), Entry::Next(_) | Entry::End)
            }
        };
        if !goes_on {
            break;
        }
        at += 1;
    }
    at
}

fn run_text(table: &Table, from: u32, to: u32) -> (String, String) {
    let value = match table.entry(to - 1) {
        Entry::Free => "free".to_owned(),
        Entry::Bad => "bad".to_owned(),
        Entry::End => format!("chain, ends at {}", to - 1),
        Entry::Next(next) => format!("chain, goes on at {next}"),
    };
    (format!("clusters {from}..{to}"), value)
}

fn clusters(
    io: &dyn BlockIo,
    boot: &BootSector,
    table: &Table,
    chains: &Chains,
    out: &mut Ledger<'_>,
) -> io::Result<()> {
    let mut at = 2;
    for run in &chains.runs {
        unclaimed(boot, table, at..run.clusters.start, out)?;
        claimed(io, boot, chains, run, out)?;
        at = run.clusters.end;
    }
    unclaimed(boot, table, at..boot.clusters + 2, out)
}

fn bytes_of(boot: &BootSector, clusters: &Range<u32>) -> Range<u64> {
    let start = boot.cluster_offset(clusters.start);
    start..start + u64::from(clusters.end - clusters.start) * boot.cluster_bytes()
}

/// Clusters of no chain.
fn unclaimed(boot: &BootSector, table: &Table, clusters: Range<u32>, out: &mut Ledger<'_>) -> io::Result<()> {
    let kind = |cluster: u32| match table.entry(cluster) {
        Entry::Free => FREE,
        Entry::Bad => BAD,
        Entry::Next(_) | Entry::End => LOST,
    };
    let mut at = clusters.start;
    while at < clusters.end {
        let this = kind(at);
        let end = (at..clusters.end)
            .find(|c| kind(*c) != this)
            .unwrap_or(clusters.end);
        let bytes = bytes_of(boot, &(at..end));
        if this == LOST {
            let what = "in use by the table, but in no chain of a directory entry";
            out.defect(bytes.clone(), "clusters", what)?;
        }
        out.own(bytes, this, this, &format!("clusters {at}..{end}"), "", "")?;
        at = end;
    }
    Ok(())
}

fn claimed(
    io: &dyn BlockIo,
    boot: &BootSector,
    chains: &Chains,
    run: &Run,
    out: &mut Ledger<'_>,
) -> io::Result<()> {
    let bytes = bytes_of(boot, &run.clusters);
    let node = &chains.nodes[run.node];
    let structure = format!("`{}`", node.path);
    if node.is_dir {
        for cluster in run.clusters.clone() {
            let place = bytes_of(boot, &(cluster..cluster + 1));
            let content = read(io, place.clone())?;
            let parts = directory::parts(&content);
            let structure = format!("{structure} cluster {cluster}");
            out.structure(place.start, &content, DIRECTORIES, &structure, parts)?;
        }
        return Ok(());
    }
    let from = run.index * boot.cluster_bytes();
    let len = node.size.saturating_sub(from).min(bytes.end - bytes.start);
    let end = bytes.start + len;
    let field = format!("bytes {from}..{}", from + len);
    let value = format!("clusters {}..{}", run.clusters.start, run.clusters.end);
    out.own(bytes.start..end, DATA, &structure, &field, &value, "")?;
    // The rest of the last cluster is looked at; whole clusters behind the end are not.
    let slack = (bytes.end - end) % boot.cluster_bytes();
    if slack > 0 {
        let rest = read(io, end..end + slack)?;
        let value = if rest.iter().all(|b| *b == 0) {
            "zero"
        } else {
            "not zero"
        };
        out.own(
            end..end + slack,
            DATA,
            &structure,
            "behind DIR_FileSize",
            value,
            "",
        )?;
    }
    if end + slack < bytes.end {
        let what = "the chain is longer than DIR_FileSize says";
        out.defect(end + slack..bytes.end, &structure, what)?;
    }
    out.own(
        end + slack..bytes.end,
        DATA,
        &structure,
        "clusters behind DIR_FileSize",
        &value,
        "",
    )
}
