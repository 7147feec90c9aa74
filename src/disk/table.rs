//! The partition table of an image, whatever its kind.

use std::io;
use std::ops::Range;

use super::block_io::BlockIo;
use super::{gpt, mbr};

/// Bytes of one logical block. SD cards and their images always use 512.
pub const SECTOR: u64 = 512;

/// The kind of a partition table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TableKind {
    /// Master boot record, `dos` for sfdisk.
    Mbr,
    /// GUID partition table.
    Gpt,
}

/// One partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// Its number in the table, from 1.
    pub number: u32,
    /// First byte.
    pub start: u64,
    /// Length in bytes.
    pub len: u64,
    /// `0c`, `83`, … on an MBR; the type GUID on a GPT.
    pub kind: String,
    /// What `PARTUUID=` in fstab and on the kernel's command line means.
    pub partuuid: String,
    /// The partition name of a GPT; empty on an MBR.
    pub name: String,
}

impl Partition {
    /// Its bytes in the image.
    #[must_use]
    pub fn range(&self) -> Range<u64> {
        self.start..self.start + self.len
    }
}

/// A partition table that was read and found consistent with the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// MBR or GPT.
    pub kind: TableKind,
    /// Disk signature of an MBR (8 hex digits), disk GUID of a GPT.
    pub disk_id: String,
    /// Partitions by number.
    pub partitions: Vec<Partition>,
}

/// What is wrong with a partition table.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// No boot signature where a table should be.
    #[error("not a disk image: it has no partition table (no 55 AA at byte 510)")]
    Absent,
    /// The table contradicts itself or the image.
    #[error("damaged partition table: {0}")]
    Damaged(String),
    /// A partition ends behind the end of the image.
    #[error(
        "the image is shorter than its table says: partition {number} ends at byte {end} and the image has {len}; it was cut off"
    )]
    TooShort {
        /// The partition.
        number: u32,
        /// Where it should end.
        end: u64,
        /// How long the image is.
        len: u64,
    },
    /// A table that is legal but cannot be kept right.
    #[error("unsupported partition table: {0}")]
    Unsupported(String),
    /// The image could not be read or written.
    #[error("cannot read or write the partition table")]
    Io(#[from] io::Error),
}

impl Table {
    /// Reads the table of an image.
    ///
    /// # Errors
    /// [`TableError::Absent`] without a table, [`TableError::TooShort`] when a partition passes the end of the
    /// image, [`TableError::Damaged`] when partitions overlap or a checksum is wrong.
    pub fn read(io: &dyn BlockIo) -> Result<Self, TableError> {
        let record = mbr::Mbr::read(io)?;
        let table = if record.has_protective_entry() {
            gpt::read(io, &record)?
        } else {
            record.table()?
        };
        table.check(io.len())?;
        Ok(table)
    }

    fn check(&self, len: u64) -> Result<(), TableError> {
        let mut by_start: Vec<&Partition> = self.partitions.iter().collect();
        by_start.sort_by_key(|p| (p.start, p.number));
        for pair in by_start.windows(2) {
            if pair[0].range().end > pair[1].start {
                return Err(TableError::Damaged(format!(
                    "partitions {} and {} overlap",
                    pair[0].number, pair[1].number
                )));
            }
        }
        for partition in by_start {
            if partition.range().end > len {
                return Err(TableError::TooShort {
                    number: partition.number,
                    end: partition.range().end,
                    len,
                });
            }
        }
        Ok(())
    }

    /// The partition of that number.
    #[must_use]
    pub fn partition(&self, number: u32) -> Option<&Partition> {
        self.partitions.iter().find(|p| p.number == number)
    }

    /// Whether nothing lies behind that partition, so that it can grow with the image.
    #[must_use]
    pub fn is_last(&self, number: u32) -> bool {
        let Some(this) = self.partition(number) else {
            return false;
        };
        self.partitions.iter().all(|p| p.start <= this.start)
    }

    /// Bytes that must stay free behind the last partition: the backup of a GPT, nothing on an MBR.
    #[must_use]
    pub fn tail(&self) -> u64 {
        match self.kind {
            TableKind::Mbr => 0,
            TableKind::Gpt => gpt::BACKUP_SECTORS * SECTOR,
        }
    }

    /// Enlarges one partition to `len` bytes, a multiple of 512, on an image that already has its new length.
    /// Only the length of the entry changes; a GPT's backup moves to the new end and the old backup is zeroed.
    ///
    /// # Errors
    /// Refused when the partition is not the last one or on a hybrid or extended table.
    pub fn grow(&mut self, io: &dyn BlockIo, number: u32, len: u64) -> Result<(), TableError> {
        let partition = self
            .partition(number)
            .ok_or_else(|| TableError::Damaged(format!("there is no partition {number}")))?;
        if !self.is_last(number) {
            return Err(TableError::Unsupported(format!(
                "partition {number} cannot grow: another partition lies behind it"
            )));
        }
        let end = partition
            .start
            .checked_add(len)
            .filter(|end| {
                len.is_multiple_of(SECTOR) && end.checked_add(self.tail()).is_some_and(|e| e <= io.len())
            })
            .ok_or_else(|| {
                TableError::Damaged(format!("{len} bytes is no legal length for partition {number}"))
            })?;
        match self.kind {
            TableKind::Mbr => mbr::set_len(io, number, len / SECTOR)?,
            TableKind::Gpt => gpt::set_last(io, number, end / SECTOR - 1)?,
        }
        *self = Self::read(io)?;
        Ok(())
    }
}
