//! The master boot record: 512 bytes at the start of a disk.
//!
//! Layout as in the UEFI specification 2.10, section 5.2.1: disk signature at 440, four 16-byte entries at 446
//! (status, CHS start, type, CHS end, first LBA, sector count), `55 AA` at 510. A change touches only the bytes
//! it must: the boot code, the disk signature (from which `PARTUUID` is made) and CHS values stay as they are.

use super::block_io::BlockIo;
use super::table::{Partition, SECTOR, Table, TableError, TableKind};

pub(super) const DISK_SIGNATURE: usize = 440;
pub(super) const ENTRIES: usize = 446;
pub(super) const ENTRY_LEN: usize = 16;
/// Offsets inside an entry.
pub(super) const TYPE: usize = 4;
pub(super) const FIRST_LBA: usize = 8;
pub(super) const SECTORS: usize = 12;

/// Partition types that hold a chain of further tables.
pub(super) const EXTENDED: [u8; 3] = [0x05, 0x0f, 0x85];
pub(super) const PROTECTIVE: u8 = 0xee;

/// The four entries as stored.
#[derive(Debug, Clone)]
pub(super) struct Mbr {
    disk_signature: u32,
    entries: [Entry; 4],
}

#[derive(Debug, Clone, Copy, Default)]
struct Entry {
    status: u8,
    kind: u8,
    first_lba: u32,
    sectors: u32,
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

impl Mbr {
    pub(super) fn read(io: &dyn BlockIo) -> Result<Self, TableError> {
        let mut bytes = [0u8; SECTOR as usize];
        if io.len() < SECTOR {
            return Err(TableError::Absent);
        }
        io.read_at(0, &mut bytes)?;
        if bytes[510..] != [0x55, 0xaa] {
            return Err(TableError::Absent);
        }
        let mut entries = [Entry::default(); 4];
        for (entry, raw) in entries.iter_mut().zip(bytes[ENTRIES..].chunks_exact(ENTRY_LEN)) {
            *entry = Entry {
                status: raw[0],
                kind: raw[TYPE],
                first_lba: u32_at(raw, FIRST_LBA),
                sectors: u32_at(raw, SECTORS),
            };
        }
        Ok(Self {
            disk_signature: u32_at(&bytes, DISK_SIGNATURE),
            entries,
        })
    }

    pub(super) fn has_protective_entry(&self) -> bool {
        self.entries.iter().any(|e| e.kind == PROTECTIVE)
    }

    /// Whether something else than the protective entry is there.
    pub(super) fn is_hybrid(&self) -> bool {
        self.entries.iter().any(|e| e.kind != PROTECTIVE && e.kind != 0)
    }

    pub(super) fn table(&self) -> Result<Table, TableError> {
        let mut partitions = Vec::new();
        for (number, entry) in (1u32..).zip(&self.entries) {
            if entry.kind == 0 || entry.sectors == 0 {
                continue;
            }
            // A FAT boot sector also ends in 55 AA; its code at 446 is no table.
            if entry.status & 0x7f != 0 {
                return Err(TableError::Damaged(format!(
                    "entry {number} has status {:02x} instead of 00 or 80",
                    entry.status
                )));
            }
            if EXTENDED.contains(&entry.kind) {
                return Err(TableError::Unsupported(format!(
                    "partition {number} is an extended partition (type {:02x}); images for Raspberry Pi have up to four primary ones",
                    entry.kind
                )));
            }
            if entry.first_lba == 0 {
                return Err(TableError::Damaged(format!(
                    "partition {number} begins at sector 0, where the table itself is"
                )));
            }
            partitions.push(Partition {
                number,
                start: u64::from(entry.first_lba) * SECTOR,
                len: u64::from(entry.sectors) * SECTOR,
                kind: format!("{:02x}", entry.kind),
                partuuid: format!("{:08x}-{number:02x}", self.disk_signature),
                name: String::new(),
            });
        }
        if partitions.is_empty() {
            return Err(TableError::Damaged("it has no partition".to_owned()));
        }
        Ok(Table {
            kind: TableKind::Mbr,
            disk_id: format!("{:08x}", self.disk_signature),
            partitions,
        })
    }
}

/// Sets the length of one partition in sectors: four bytes change at most.
pub(super) fn set_len(io: &dyn BlockIo, number: u32, sectors: u64) -> Result<(), TableError> {
    let sectors = u32::try_from(sectors).map_err(|_| {
        TableError::Unsupported("a partition of 2 TiB or more does not fit an MBR".to_owned())
    })?;
    let at = ENTRIES + ENTRY_LEN * (number as usize - 1) + SECTORS;
    io.write_at(at as u64, &sectors.to_le_bytes())?;
    Ok(())
}

/// The first sector of a new disk with up to four partitions, given as (type, first sector, sectors).
/// CHS fields get the values that say "use LBA" (`fe ff ff`), as sfdisk writes beyond cylinder 1023.
#[must_use]
pub fn new_record(disk_signature: u32, partitions: &[(u8, u32, u32)]) -> [u8; SECTOR as usize] {
    let mut bytes = [0u8; SECTOR as usize];
    bytes[DISK_SIGNATURE..DISK_SIGNATURE + 4].copy_from_slice(&disk_signature.to_le_bytes());
    for (raw, (kind, first, sectors)) in bytes[ENTRIES..].chunks_exact_mut(ENTRY_LEN).zip(partitions) {
        raw[1..4].copy_from_slice(&[0xfe, 0xff, 0xff]);
        raw[TYPE] = *kind;
        raw[5..8].copy_from_slice(&[0xfe, 0xff, 0xff]);
        raw[FIRST_LBA..FIRST_LBA + 4].copy_from_slice(&first.to_le_bytes());
        raw[SECTORS..SECTORS + 4].copy_from_slice(&sectors.to_le_bytes());
    }
    bytes[510..].copy_from_slice(&[0x55, 0xaa]);
    bytes
}
