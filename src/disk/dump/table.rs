//! The partition table and what lies between partitions, byte by byte; the partitions themselves are one line each.
//!
//! Field names from the UEFI specification 2.10: the legacy MBR in section 5.2.1, the GPT header in 5.3.2, its
//! entries in 5.3.3.

use std::io;
use std::ops::Range;

use super::fields::Show::{Bytes, Choice, Dec, Flags, Guid, Hex};
use super::fields::{Field, Layout, Show};
use super::ledger::{Ledger, Totals};
use super::parts::{Part, fold};
use super::{Section, Sink, number};
use crate::disk::block_io::BlockIo;
use crate::disk::gpt::{
    self, ALTERNATE_LBA, CRC, FIRST_USABLE, HEADER_CRC, HEADER_SIZE, LAST_LBA, LAST_USABLE, MY_LBA,
    NUM_PARTS, PART_SIZE, PART_START, PARTS_CRC,
};
use crate::disk::mbr::{DISK_SIGNATURE, ENTRIES, ENTRY_LEN, EXTENDED, FIRST_LBA, PROTECTIVE, SECTORS, TYPE};
use crate::disk::table::SECTOR;

const TABLE: &str = "table";
const GAP: &str = "gap";
const PARTITION: &str = "partitions";
/// Most bytes of one gap that are looked at.
const MAX_LOOK: u64 = 64 << 20;
/// Bytes read at once.
const PIECE: u64 = 1 << 16;
/// Smallest and largest entry of a GPT that is decoded, in bytes.
const ENTRY_SIZES: std::ops::RangeInclusive<u64> = 128..=4096;
/// Most entries that are gone through.
const MAX_ENTRIES: u64 = 1 << 12;
/// Fixed part of a GPT header.
const GPT_HEADER_LEN: usize = 92;

const TYPES: Show = Choice(&[
    (0x00, "unused"),
    (0x05, "extended"),
    (0x0b, "FAT32"),
    (0x0c, "FAT32, LBA"),
    (0x0e, "FAT16, LBA"),
    (0x0f, "extended, LBA"),
    (0x82, "Linux swap"),
    (0x83, "Linux"),
    (0x85, "Linux extended"),
    (0xee, "protective, of a GPT"),
    (0xef, "EFI system"),
]);

/// The end of the MBR's sector, from the disk signature on.
const MBR: Layout = Layout::little(&[
    Field::new(0, 4, "UniqueMBRDiskSignature", Hex, ""),
    Field::new(4, 2, "Unknown", Hex, ""),
]);

/// One of the four partition records.
const RECORD: Layout = Layout::little(&[
    Field::new(0, 1, "BootIndicator", Hex, ""),
    Field::new(1, 3, "StartingCHS", Bytes, ""),
    Field::new(TYPE, 1, "OSType", TYPES, ""),
    Field::new(5, 3, "EndingCHS", Bytes, ""),
    Field::new(FIRST_LBA, 4, "StartingLBA", Dec, "sector"),
    Field::new(SECTORS, 4, "SizeInLBA", Dec, "sectors"),
]);

const HEADER: Layout = Layout::little(&[
    Field::new(0, 8, "Signature", Show::Text, ""),
    Field::new(8, 4, "Revision", Hex, ""),
    Field::new(HEADER_SIZE, 4, "HeaderSize", Dec, "bytes"),
    Field::new(HEADER_CRC, 4, "HeaderCRC32", Hex, ""),
    Field::new(20, 4, "Reserved", Hex, ""),
    Field::new(MY_LBA, 8, "MyLBA", Dec, "sector"),
    Field::new(ALTERNATE_LBA, 8, "AlternateLBA", Dec, "sector"),
    Field::new(FIRST_USABLE, 8, "FirstUsableLBA", Dec, "sector"),
    Field::new(LAST_USABLE, 8, "LastUsableLBA", Dec, "sector"),
    Field::new(56, 16, "DiskGUID", Guid, ""),
    Field::new(PART_START, 8, "PartitionEntryLBA", Dec, "sector"),
    Field::new(NUM_PARTS, 4, "NumberOfPartitionEntries", Dec, ""),
    Field::new(PART_SIZE, 4, "SizeOfPartitionEntry", Dec, "bytes"),
    Field::new(PARTS_CRC, 4, "PartitionEntryArrayCRC32", Hex, ""),
]);

/// Offset of the name in a GPT entry, and its bytes.
const NAME: Range<usize> = 56..128;

const ENTRY: Layout = Layout::little(&[
    Field::new(0, 16, "PartitionTypeGUID", Guid, ""),
    Field::new(16, 16, "UniquePartitionGUID", Guid, ""),
    Field::new(32, 8, "StartingLBA", Dec, "sector"),
    Field::new(LAST_LBA as usize, 8, "EndingLBA", Dec, "last sector"),
    Field::new(
        48,
        8,
        "Attributes",
        Flags(&[
            (1, "required"),
            (2, "no block IO protocol"),
            (4, "legacy BIOS bootable"),
        ]),
        "",
    ),
]);

/// A partition as far as it lies in the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Its number in the table.
    pub number: u32,
    /// Its bytes.
    pub range: Range<u64>,
}

/// What a range of the image is.
enum What {
    Record,
    Header { backup: bool },
    Entries { backup: bool, size: u64 },
    Partition(Place),
}

struct Survey {
    parts: Vec<(Range<u64>, What)>,
    defects: Vec<String>,
}

/// Where partitions are, by a table that may be damaged: those that begin inside the image, cut at its end.
///
/// # Errors
/// The image cannot be read.
pub fn partitions(io: &dyn BlockIo) -> io::Result<Vec<Place>> {
    let found = survey(io)?.parts.into_iter().filter_map(|(_, what)| match what {
        What::Partition(place) => Some(place),
        _ => None,
    });
    Ok(found.collect())
}

/// Writes the table, the gaps and a line for each partition; the totals add up to the length of the image.
///
/// # Errors
/// The image cannot be read, or the sink fails.
pub fn dump(io: &dyn BlockIo, sink: &mut dyn Sink) -> io::Result<Totals> {
    sink.section(&Section {
        partition: None,
        what: "partition table".to_owned(),
        range: 0..io.len(),
    })?;
    let mut survey = survey(io)?;
    survey.parts.sort_by_key(|(range, _)| (range.start, range.end));
    let mut out = Ledger::new(sink, io.len(), &[TABLE, GAP, PARTITION]);
    for text in &survey.defects {
        out.defect(0..io.len(), "partition table", text)?;
    }
    for (range, what) in &survey.parts {
        gap(io, out.cursor()..range.start, &mut out)?;
        if range.start < out.cursor() && !matches!(what, What::Partition(_)) {
            out.defect(
                range.clone(),
                "partition table",
                "lies inside what stands before it",
            )?;
            continue;
        }
        match what {
            What::Record => record(io, &mut out)?,
            What::Header { backup } => header(io, range, *backup, &mut out)?,
            What::Entries { backup, size } => entries(io, range, *backup, *size, &mut out)?,
            What::Partition(place) => {
                let structure = format!("partition {}", place.number);
                let value = format!("{}", range.end - range.start);
                out.own(range.clone(), PARTITION, &structure, "bytes", &value, "")?;
            }
        }
    }
    gap(io, out.cursor()..io.len(), &mut out)?;
    out.finish()
}

/// Bytes at `at`, zeroes behind the end.
fn read(io: &dyn BlockIo, at: u64, len: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; len as usize];
    let there = io.len().saturating_sub(at).min(len) as usize;
    io.read_at(at, &mut bytes[..there])?;
    Ok(bytes)
}

/// The bytes of `sectors` from `first` on that are in the image.
fn place(io: &dyn BlockIo, first: u64, sectors: u64) -> Option<Range<u64>> {
    let start = first.checked_mul(SECTOR)?;
    let end = sectors.checked_mul(SECTOR)?.checked_add(start)?;
    (start < io.len() && start < end).then(|| start..end.min(io.len()))
}

fn survey(io: &dyn BlockIo) -> io::Result<Survey> {
    let mut found = Survey {
        parts: Vec::new(),
        defects: Vec::new(),
    };
    if io.len() < SECTOR {
        found
            .defects
            .push("the image is shorter than a sector".to_owned());
        return Ok(found);
    }
    let sector = read(io, 0, SECTOR)?;
    if sector[510..] != [0x55, 0xaa] {
        found.defects.push("no 55 AA at byte 510".to_owned());
        return Ok(found);
    }
    found.parts.push((0..SECTOR, What::Record));
    let records: Vec<&[u8]> = sector[ENTRIES..510].chunks_exact(ENTRY_LEN).collect();
    if records.iter().any(|r| r[TYPE] == PROTECTIVE) {
        gpt(io, &mut found)?;
        return Ok(found);
    }
    for (r, n) in records.iter().zip(1u32..) {
        let first = number(r, FIRST_LBA, 4, false);
        let sectors = number(r, SECTORS, 4, false);
        if r[TYPE] == 0 || sectors == 0 {
            continue;
        }
        if EXTENDED.contains(&r[TYPE]) {
            found.defects.push(format!(
                "partition {n} is extended; the tables chained in it are not decoded"
            ));
        }
        found.partition(io, n, first, sectors);
    }
    Ok(found)
}

impl Survey {
    fn partition(&mut self, io: &dyn BlockIo, number: u32, first: u64, sectors: u64) {
        match place(io, first, sectors).filter(|range| range.start >= SECTOR) {
            Some(range) => {
                if Some(range.end) != first.checked_add(sectors).and_then(|n| n.checked_mul(SECTOR)) {
                    self.defects
                        .push(format!("partition {number} ends behind the end of the image"));
                }
                let place = Place {
                    number,
                    range: range.clone(),
                };
                self.parts.push((range, What::Partition(place)));
            }
            None => self.defects.push(format!(
                "partition {number} lies outside the image, or where the table is"
            )),
        }
    }
}

fn gpt(io: &dyn BlockIo, found: &mut Survey) -> io::Result<()> {
    let last = (io.len() / SECTOR).saturating_sub(1);
    let primary = read(io, SECTOR, SECTOR)?;
    let valid = &primary[..8] == b"EFI PART";
    let alternate = if valid {
        number(&primary, ALTERNATE_LBA, 8, false)
    } else {
        last
    };
    let mut used = None;
    for (lba, backup) in [(1, false), (alternate, true)] {
        let name = if backup { "backup" } else { "primary" };
        let Some(range) = place(io, lba, 1).filter(|r| r.end - r.start == SECTOR && lba > 0) else {
            found
                .defects
                .push(format!("the {name} GPT header lies outside the image"));
            continue;
        };
        let sector = read(io, range.start, SECTOR)?;
        if &sector[..8] != b"EFI PART" {
            found
                .defects
                .push(format!("no {name} GPT header at sector {lba}"));
            continue;
        }
        found.parts.push((range, What::Header { backup }));
        let array = array(io, &sector);
        let size = number(&sector, PART_SIZE, 4, false);
        if let Some(array) = &array {
            found.parts.push((array.clone(), What::Entries { backup, size }));
        } else {
            found
                .defects
                .push(format!("the entries of the {name} GPT lie outside the image"));
        }
        if used.is_none()
            && let Some(array) = array
        {
            used = Some((array, size));
        }
    }
    let Some((array, size)) = used else { return Ok(()) };
    for (at, n) in array.step_by(size as usize).zip(1u32..) {
        let entry = read(io, at, size)?;
        if entry[..16].iter().all(|b| *b == 0) {
            continue;
        }
        let (first, end) = (
            number(&entry, 32, 8, false),
            number(&entry, LAST_LBA as usize, 8, false),
        );
        let sectors = end.checked_sub(first).and_then(|n| n.checked_add(1)).unwrap_or(0);
        found.partition(io, n, first, sectors);
    }
    Ok(())
}

/// The bytes of the entries that a header names.
fn array(io: &dyn BlockIo, header: &[u8]) -> Option<Range<u64>> {
    let size = number(header, PART_SIZE, 4, false);
    let count = number(header, NUM_PARTS, 4, false);
    let start = number(header, PART_START, 8, false).checked_mul(SECTOR)?;
    let end = start.checked_add(size.checked_mul(count)?)?;
    (ENTRY_SIZES.contains(&size) && (1..=MAX_ENTRIES).contains(&count) && start > SECTOR && end <= io.len())
        .then_some(start..end)
}

fn record(io: &dyn BlockIo, out: &mut Ledger<'_>) -> io::Result<()> {
    let sector = read(io, 0, SECTOR)?;
    out.structure(0, &sector[..DISK_SIGNATURE], TABLE, "MBR boot code", Vec::new())?;
    let head = &sector[DISK_SIGNATURE..ENTRIES];
    out.structure(DISK_SIGNATURE as u64, head, TABLE, "MBR", MBR.parts(head, 0))?;
    for (raw, n) in sector[ENTRIES..510].chunks_exact(ENTRY_LEN).zip(0..4) {
        let at = ENTRIES + ENTRY_LEN * n;
        let parts = fold(RECORD.parts(raw, 0), "zero", |p| {
            raw[p.range.clone()].iter().all(|b| *b == 0)
        });
        out.structure(at as u64, raw, TABLE, &format!("MBR record {}", n + 1), parts)?;
    }
    out.own(510..512, TABLE, "MBR", "Signature", "0xaa55", "right")
}

fn header(io: &dyn BlockIo, range: &Range<u64>, backup: bool, out: &mut Ledger<'_>) -> io::Result<()> {
    let sector = read(io, range.start, SECTOR)?;
    let mut parts = HEADER.parts(&sector[..GPT_HEADER_LEN], 0);
    let size = number(&sector, HEADER_SIZE, 4, false) as usize;
    let right = gpt_header_crc(&sector, size);
    let entries = match array(io, &sector) {
        Some(array) => Some(CRC.checksum(&read(io, array.start, array.end - array.start)?)),
        None => None,
    };
    for (name, at, right) in [
        ("HeaderCRC32", HEADER_CRC, right),
        ("PartitionEntryArrayCRC32", PARTS_CRC, entries),
    ] {
        if let Some(part) = parts.iter_mut().find(|p| p.field == name) {
            part.meaning = match right.map(u64::from) {
                Some(right) if right == number(&sector, at, 4, false) => "right".to_owned(),
                Some(right) => format!("wrong, {right:#x} would be right"),
                None => "cannot be checked".to_owned(),
            };
        }
    }
    let structure = if backup { "backup GPT header" } else { "GPT header" };
    out.structure(range.start, &sector, TABLE, structure, parts)
}

fn gpt_header_crc(sector: &[u8], size: usize) -> Option<u32> {
    (GPT_HEADER_LEN..=SECTOR as usize)
        .contains(&size)
        .then(|| gpt::header_crc(sector, size))
}

fn entries(
    io: &dyn BlockIo,
    range: &Range<u64>,
    backup: bool,
    size: u64,
    out: &mut Ledger<'_>,
) -> io::Result<()> {
    let name = if backup { "backup GPT" } else { "GPT" };
    let mut unused: Option<(u64, u64)> = None;
    let flush =
        |unused: &mut Option<(u64, u64)>, next: u64, end: u64, out: &mut Ledger<'_>| match unused.take() {
            Some((first, start)) => {
                let structure = format!("{name} entries {first}..{next}");
                out.own(start..end, TABLE, &structure, "unused", "zero", "")
            }
            None => Ok(()),
        };
    let mut at = range.start;
    let mut n = 1;
    while at < range.end {
        let raw = read(io, at, size.min(range.end - at))?;
        if raw.iter().all(|b| *b == 0) {
            unused.get_or_insert((n, at));
        } else {
            flush(&mut unused, n, at, out)?;
            let mut parts = ENTRY.parts(&raw, 0);
            if let Some(bytes) = raw.get(NAME) {
                let units: Vec<u16> = bytes
                    .as_chunks::<2>()
                    .0
                    .iter()
                    .map(|b| u16::from_le_bytes(*b))
                    .collect();
                let text: Vec<u16> = units.into_iter().take_while(|u| *u != 0).collect();
                let value = format!("{:?}", String::from_utf16_lossy(&text));
                parts.push(Part::new(NAME, "PartitionName", value, ""));
            }
            out.structure(at, &raw, TABLE, &format!("{name} entry {n}"), parts)?;
        }
        at += raw.len() as u64;
        n += 1;
    }
    flush(&mut unused, n, range.end, out)
}

/// Bytes that no partition has: runs of sectors that are zero, and of those that are not.
fn gap(io: &dyn BlockIo, range: Range<u64>, out: &mut Ledger<'_>) -> io::Result<()> {
    let looked = range.end.min(range.start.saturating_add(MAX_LOOK));
    let mut run: Option<(u64, bool)> = None;
    let mut flush = |to: u64, next: Option<bool>, out: &mut Ledger<'_>| -> io::Result<()> {
        if let Some((start, zero)) = run
            && next != Some(zero)
        {
            let value = if zero { "zero" } else { "not zero" };
            out.own(start..to, GAP, "outside partitions", "bytes", value, "")?;
            run = None;
        }
        if let (None, Some(zero)) = (run, next) {
            run = Some((to, zero));
        }
        Ok(())
    };
    let mut at = range.start;
    while at < looked {
        let bytes = read(io, at, PIECE.min(looked - at))?;
        for sector in bytes.chunks(SECTOR as usize) {
            flush(at, Some(sector.iter().all(|b| *b == 0)), out)?;
            at += sector.len() as u64;
        }
    }
    flush(looked.max(range.start), None, out)?;
    out.own(
        looked..range.end,
        GAP,
        "outside partitions",
        "bytes",
        "not looked at",
        "",
    )
}
