//! The GUID partition table: read and checked by the `gpt` crate, grown in place.
//!
//! Growing patches the one entry that changes in both copies of the entry array instead of having the crate write
//! its table: the crate packs the entries, and a disk whose partitions are numbers 1 and 15 (Debian's cloud images)
//! would come back with numbers 1 and 2. Offsets from the UEFI specification 2.10, section 5.3.

use std::cell::RefCell;
use std::io::{self, Read, Seek, SeekFrom, Write};

use crc::{CRC_32_ISO_HDLC, Crc};

use super::block_io::{BlockIo, eof};
use super::mbr::Mbr;
use super::table::{Partition, SECTOR, Table, TableError, TableKind};

/// Sectors of the backup at the end of the disk: 32 of entries and one header.
pub(super) const BACKUP_SECTORS: u64 = 33;

pub(super) const CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);

/// A read-only cursor over a device, as the crate wants it.
struct Cursor<'a> {
    io: &'a dyn BlockIo,
    at: u64,
    /// Why the device failed: the crate takes some failures for a damaged header.
    failed: &'a RefCell<Option<io::Error>>,
}

impl std::fmt::Debug for Cursor<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Cursor({})", self.at)
    }
}

impl Read for Cursor<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let len = (buf.len() as u64).min(self.io.len().saturating_sub(self.at)) as usize;
        if let Err(error) = self.io.read_at(self.at, &mut buf[..len]) {
            let kind = error.kind();
            self.failed.replace(Some(error));
            return Err(kind.into());
        }
        self.at += len as u64;
        Ok(len)
    }
}

impl Write for Cursor<'_> {
    fn write(&mut self, _buf: &[u8]) -> io::Result<usize> {
        Err(io::Error::from(io::ErrorKind::Unsupported))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Cursor<'_> {
    fn seek(&mut self, pos: SeekFrom) -> io::Result<u64> {
        let target = match pos {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.io.len().checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = target.ok_or_else(eof)?;
        Ok(self.at)
    }
}

/// Reads a GPT whose protective MBR is `record`.
pub(super) fn read(io: &dyn BlockIo, record: &Mbr) -> Result<Table, TableError> {
    if record.is_hybrid() {
        return Err(TableError::Unsupported(
            "a hybrid MBR stands beside the GPT, and the two would have to be kept equal; make it a plain MBR or GPT first"
                .to_owned(),
        ));
    }
    let damaged = |why: String| TableError::Damaged(why);
    let header = Header::read(io, 1)?.ok_or_else(|| {
        damaged(
            "the protective MBR announces a GPT, but the primary header is missing or its checksum is wrong"
                .to_owned(),
        )
    })?;
    if header.alternate_lba >= io.len() / SECTOR {
        return Err(damaged(format!(
            "the image is shorter than its table says: the backup GPT header should be at sector {} and the image has {}; it was cut off",
            header.alternate_lba,
            io.len() / SECTOR
        )));
    }
    if !header.backup_is_valid(io)? {
        return Err(damaged(
            "the backup GPT header is missing or its checksum is wrong; repair it with `sgdisk --move-second-header` (`-e`)"
                .to_owned(),
        ));
    }
    // Growing rewrites the entries and zeroes the old backup: neither may lie where partitions may.
    let entries_end = header.part_start.checked_add(BACKUP_SECTORS - 1);
    let backup_start = header.alternate_lba.checked_sub(BACKUP_SECTORS - 1);
    if header.part_start < 2
        || entries_end.is_none_or(|end| end > header.first_usable)
        || backup_start.is_none_or(|start| header.last_usable >= start)
    {
        return Err(damaged(format!(
            "the sectors for partitions ({} to {}) overlap the table or its backup",
            header.first_usable, header.last_usable
        )));
    }
    let failed = RefCell::new(None);
    let cursor = Cursor {
        io,
        at: 0,
        failed: &failed,
    };
    let disk = gpt::GptConfig::new().open_from_device(cursor);
    if let Some(error) = failed.take() {
        return Err(error.into());
    }
    let disk = disk.map_err(|e| damaged(e.to_string()))?;
    let mut partitions = Vec::new();
    for (number, entry) in disk.partitions() {
        let sectors = entry
            .last_lba
            .checked_sub(entry.first_lba)
            .and_then(|n| n.checked_add(1));
        let bytes = |lba: u64| lba.checked_mul(SECTOR);
        let (Some(start), Some(len)) = (bytes(entry.first_lba), sectors.and_then(bytes)) else {
            return Err(damaged(format!("partition {number} ends before it begins")));
        };
        if entry.first_lba < header.first_usable || entry.last_lba > header.last_usable {
            return Err(damaged(format!(
                "partition {number} lies outside the usable sectors"
            )));
        }
        partitions.push(Partition {
            number: *number,
            start,
            len,
            kind: entry.part_type_guid.guid.to_string().to_lowercase(),
            partuuid: entry.part_guid.hyphenated().to_string(),
            name: entry.name.clone(),
        });
    }
    if partitions.is_empty() {
        return Err(damaged("it has no partition".to_owned()));
    }
    Ok(Table {
        kind: TableKind::Gpt,
        disk_id: disk.guid().hyphenated().to_string(),
        partitions,
    })
}

/// A header sector, valid by its own checksum and that of its entries.
#[derive(Clone)]
struct Header {
    sector: Vec<u8>,
    header_size: usize,
    alternate_lba: u64,
    first_usable: u64,
    last_usable: u64,
    part_start: u64,
    num_parts: u32,
    part_size: u32,
}

pub(super) const HEADER_SIZE: usize = 12;
pub(super) const HEADER_CRC: usize = 16;
pub(super) const MY_LBA: usize = 24;
pub(super) const ALTERNATE_LBA: usize = 32;
pub(super) const FIRST_USABLE: usize = 40;
pub(super) const LAST_USABLE: usize = 48;
pub(super) const PART_START: usize = 72;
pub(super) const NUM_PARTS: usize = 80;
pub(super) const PART_SIZE: usize = 84;
pub(super) const PARTS_CRC: usize = 88;
/// Offset of the last LBA inside an entry.
pub(super) const LAST_LBA: u64 = 40;

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

fn put_u64(bytes: &mut [u8], at: usize, value: u64) {
    bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
}

/// The checksum of the first `size` bytes of a header, which the sector must have.
pub(super) fn header_crc(sector: &[u8], size: usize) -> u32 {
    let mut bytes = sector[..size].to_vec();
    bytes[HEADER_CRC..HEADER_CRC + 4].fill(0);
    CRC.checksum(&bytes)
}

impl Header {
    /// The header at a sector, or `None` when there is none that is valid.
    fn read(io: &dyn BlockIo, lba: u64) -> Result<Option<Self>, TableError> {
        let mut sector = vec![0u8; SECTOR as usize];
        let inside = lba.checked_add(1).and_then(|n| n.checked_mul(SECTOR));
        if inside.is_none_or(|end| end > io.len()) {
            return Ok(None);
        }
        io.read_at(lba * SECTOR, &mut sector)?;
        let header_size = u32_at(&sector, HEADER_SIZE) as usize;
        if &sector[..8] != b"EFI PART" || !(92..=SECTOR as usize).contains(&header_size) {
            return Ok(None);
        }
        let header = Self {
            header_size,
            alternate_lba: u64_at(&sector, ALTERNATE_LBA),
            first_usable: u64_at(&sector, FIRST_USABLE),
            last_usable: u64_at(&sector, LAST_USABLE),
            part_start: u64_at(&sector, PART_START),
            num_parts: u32_at(&sector, NUM_PARTS),
            part_size: u32_at(&sector, PART_SIZE),
            sector,
        };
        // 128 entries of 128 bytes is what every tool makes; more would not fit the 32 sectors kept for them.
        if header.part_size != 128 || header.num_parts != 128 {
            return Err(TableError::Unsupported(format!(
                "a GPT of {} entries of {} bytes; 128 of 128 is what can be handled",
                header.num_parts, header.part_size
            )));
        }
        let legal = u64_at(&header.sector, MY_LBA) == lba
            && header.crc() == u32_at(&header.sector, HEADER_CRC)
            && header.parts_crc(io)? == Some(u32_at(&header.sector, PARTS_CRC));
        Ok(legal.then_some(header))
    }

    fn crc(&self) -> u32 {
        header_crc(&self.sector, self.header_size)
    }

    /// Checksum of the entries, `None` when they pass the end of the disk.
    fn parts_crc(&self, io: &dyn BlockIo) -> Result<Option<u32>, TableError> {
        let mut entries = vec![0u8; self.num_parts as usize * self.part_size as usize];
        let at = self.part_start.checked_mul(SECTOR);
        let Some(at) = at.filter(|at| {
            at.checked_add(entries.len() as u64)
                .is_some_and(|e| e <= io.len())
        }) else {
            return Ok(None);
        };
        io.read_at(at, &mut entries)?;
        Ok(Some(CRC.checksum(&entries)))
    }

    fn backup_is_valid(&self, io: &dyn BlockIo) -> Result<bool, TableError> {
        Ok(Self::read(io, self.alternate_lba)?.is_some())
    }

    /// Writes the header with fresh checksums.
    fn write(&mut self, io: &dyn BlockIo) -> Result<(), TableError> {
        let parts = self.parts_crc(io)?.ok_or_else(eof)?;
        self.sector[PARTS_CRC..PARTS_CRC + 4].copy_from_slice(&parts.to_le_bytes());
        let crc = self.crc();
        self.sector[HEADER_CRC..HEADER_CRC + 4].copy_from_slice(&crc.to_le_bytes());
        io.write_at(u64_at(&self.sector, MY_LBA) * SECTOR, &self.sector)?;
        Ok(())
    }
}

/// Sets the last sector of one partition on a disk that has its new length: moves the backup to the new end,
/// and zeroes the old one, which would otherwise lie inside the partition.
pub(super) fn set_last(io: &dyn BlockIo, number: u32, last_lba: u64) -> Result<(), TableError> {
    let mut primary = Header::read(io, 1)?
        .ok_or_else(|| TableError::Damaged("the primary GPT header is not valid".to_owned()))?;
    let mut entries = vec![0u8; primary.num_parts as usize * primary.part_size as usize];
    let primary_at = primary.part_start * SECTOR;
    io.read_at(primary_at, &mut entries)?;

    let old_backup = primary.alternate_lba;
    let new_backup = io.len() / SECTOR - 1;
    let new_entries = new_backup - (BACKUP_SECTORS - 1);
    if old_backup != new_backup {
        let old_start = (old_backup + 1).saturating_sub(BACKUP_SECTORS);
        io.write_zeroes(old_start * SECTOR, BACKUP_SECTORS * SECTOR)?;
    }

    let at = u64::from(number - 1) * u64::from(primary.part_size) + LAST_LBA;
    put_u64(&mut entries, at as usize, last_lba);
    io.write_at(primary_at, &entries)?;
    io.write_at(new_entries * SECTOR, &entries)?;

    put_u64(&mut primary.sector, ALTERNATE_LBA, new_backup);
    put_u64(&mut primary.sector, LAST_USABLE, new_entries - 1);
    let mut backup = primary.clone();
    primary.write(io)?;
    put_u64(&mut backup.sector, MY_LBA, new_backup);
    put_u64(&mut backup.sector, ALTERNATE_LBA, 1);
    put_u64(&mut backup.sector, PART_START, new_entries);
    backup.part_start = new_entries;
    backup.write(io)?;

    // The protective entry covers the whole disk, as far as 32 bits go.
    let cover = u32::try_from(new_backup).unwrap_or(u32::MAX);
    let mut sector = [0u8; SECTOR as usize];
    io.read_at(0, &mut sector)?;
    for entry in sector[446..510].chunks_exact_mut(16).filter(|e| e[4] == 0xee) {
        entry[12..16].copy_from_slice(&cover.to_le_bytes());
    }
    io.write_at(0, &sector)?;
    Ok(())
}
