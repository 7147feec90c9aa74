//! The boot sector with its BIOS parameter block (BPB).

use crate::disk::BlockIo;
use crate::fs::{FsError, FsResult};

/// Entry width of the file allocation table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FatType {
    /// 12-bit entries, fewer than 4085 clusters.
    Fat12,
    /// 16-bit entries, fewer than 65525 clusters.
    Fat16,
    /// 32-bit entries of which 28 count; the root directory is a cluster chain.
    Fat32,
}

impl FatType {
    /// `fat12`, `fat16` or `fat32`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fat12 => "fat12",
            Self::Fat16 => "fat16",
            Self::Fat32 => "fat32",
        }
    }
}

/// Largest count of clusters with 12-bit entries, as the specification draws the line.
pub(super) const MAX_FAT12_CLUSTERS: u32 = 4084;
/// Largest count of clusters with 16-bit entries.
pub(super) const MAX_FAT16_CLUSTERS: u32 = 65524;
/// Largest count of clusters that is opened: bounds the memory for the table to 32 MiB. A 256 GiB card with the
/// usual 32 KiB clusters has as many.
const MAX_CLUSTERS: u32 = 1 << 23;
/// Bytes of one directory entry.
pub(super) const ENTRY_SIZE: usize = 32;

/// What the boot sector says, checked.
#[derive(Debug, Clone)]
pub(super) struct BootSector {
    /// Entry width.
    pub fat_type: FatType,
    /// `BPB_BytsPerSec`: 512, 1024, 2048 or 4096.
    pub bytes_per_sector: u32,
    /// `BPB_SecPerClus`: a power of two up to 128.
    pub sectors_per_cluster: u32,
    /// `BPB_RsvdSecCnt`: sectors before the first table.
    pub reserved_sectors: u32,
    /// `BPB_NumFATs`.
    pub num_fats: u32,
    /// `BPB_RootEntCnt`: slots of the fixed root directory; 0 on FAT32.
    pub root_entries: u32,
    /// `BPB_TotSec16` or `BPB_TotSec32`.
    pub total_sectors: u32,
    /// `BPB_Media`.
    pub media: u8,
    /// `BPB_FATSz16` or `BPB_FATSz32`: sectors of one table.
    pub fat_sectors: u32,
    /// `BPB_ExtFlags`; 0 below FAT32.
    pub ext_flags: u16,
    /// `BPB_RootClus`; 0 below FAT32.
    pub root_cluster: u32,
    /// `BPB_FSInfo`: sector of the FSInfo structure, `None` where there is none.
    pub fs_info: Option<u32>,
    /// `BPB_BkBootSec`: sector of the copy of the boot sector, `None` where there is none.
    pub backup: Option<u32>,
    /// The state byte that Linux and Windows use (`BS_Reserved1`): bit 0 is "not unmounted".
    pub state: u8,
    /// `BS_VolID`.
    pub volume_id: u32,
    /// `BS_VolLab`, padded with spaces; `None` without an extended boot signature.
    pub volume_label: Option<[u8; 11]>,
    /// Count of data clusters; valid cluster numbers are 2 to `clusters + 1`.
    pub clusters: u32,
}

/// Little-endian numbers of a structure; a range that is not there reads as 0, so callers pass whole structures.
pub(super) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes
        .get(at..at + 2)
        .map_or(0, |b| u16::from_le_bytes([b[0], b[1]]))
}

/// As [`u16_at`], 32 bits.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes
        .get(at..at + 4)
        .map_or(0, |b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
}

fn damaged(what: String) -> FsError {
    FsError::Damaged(what)
}

/// Whether a first sector of 512 bytes is that of a FAT volume. exFAT has no sector size here and NTFS no tables,
/// so neither passes.
pub(super) fn looks_like_fat(sector: &[u8]) -> bool {
    let media = sector.get(21).copied().unwrap_or(0);
    let per_cluster = sector.get(13).copied().unwrap_or(0);
    sector.get(510..512) == Some(&[0x55, 0xAA])
        && matches!(sector.first(), Some(0xEB | 0xE9))
        && matches!(u16_at(sector, 11), 512 | 1024 | 2048 | 4096)
        && per_cluster.is_power_of_two()
        && u16_at(sector, 14) != 0
        && sector.get(16).is_some_and(|fats| *fats != 0)
        && (media == 0xF0 || media >= 0xF8)
}

impl BootSector {
    /// Reads and checks the boot sector of a window.
    pub fn read(io: &dyn BlockIo) -> FsResult<Self> {
        if io.len() < 512 {
            return Err(damaged("a FAT volume is at least one sector long".to_owned()));
        }
        let mut sector = [0u8; 512];
        io.read_at(0, &mut sector)?;
        Self::parse(&sector, io.len())
    }

    /// Checks a boot sector against a window of `len` bytes.
    pub fn parse(sector: &[u8; 512], len: u64) -> FsResult<Self> {
        if sector[510..512] != [0x55, 0xAA] {
            return Err(damaged("boot sector: signature is not 55 AA".to_owned()));
        }
        let bytes_per_sector = u32::from(u16_at(sector, 11));
        if !matches!(bytes_per_sector, 512 | 1024 | 2048 | 4096) {
            return Err(damaged(format!(
                "boot sector: {bytes_per_sector} bytes per sector; 512, 1024, 2048 or 4096 would be right"
            )));
        }
        let sectors_per_cluster = u32::from(sector[13]);
        if !sectors_per_cluster.is_power_of_two() {
            return Err(damaged(format!(
                "boot sector: {sectors_per_cluster} sectors per cluster; a power of two would be right"
            )));
        }
        let reserved_sectors = u32::from(u16_at(sector, 14));
        let num_fats = u32::from(sector[16]);
        if reserved_sectors == 0 || !(1..=4).contains(&num_fats) {
            return Err(damaged(format!(
                "boot sector: {reserved_sectors} reserved sectors and {num_fats} tables; at least 1 and 1 to 4 would be right"
            )));
        }
        let root_entries = u32::from(u16_at(sector, 17));
        let total_16 = u32::from(u16_at(sector, 19));
        let total_sectors = if total_16 != 0 {
            total_16
        } else {
            u32_at(sector, 32)
        };
        if u64::from(total_sectors) * u64::from(bytes_per_sector) > len {
            return Err(damaged(format!(
                "boot sector: {total_sectors} sectors of {bytes_per_sector} bytes, but the partition has {len} bytes"
            )));
        }
        let size_16 = u32::from(u16_at(sector, 22));
        // A FAT32 volume is told by BPB_FATSz16, as the kernel does: mkfs.vfat makes small ones too.
        let is_32 = size_16 == 0;
        let fat_sectors = if is_32 { u32_at(sector, 36) } else { size_16 };
        let root_sectors = (root_entries * ENTRY_SIZE as u32).div_ceil(bytes_per_sector);
        let overhead = u64::from(reserved_sectors)
            + u64::from(num_fats) * u64::from(fat_sectors)
            + u64::from(root_sectors);
        let data_sectors = u64::from(total_sectors).checked_sub(overhead).ok_or_else(|| {
            damaged(format!(
                "boot sector: tables and root directory end at sector {overhead} of {total_sectors}"
            ))
        })?;
        let clusters = u32::try_from(data_sectors / u64::from(sectors_per_cluster))
            .map_err(|_| damaged("boot sector: too many clusters".to_owned()))?;
        if clusters == 0 {
            return Err(damaged("boot sector: no room for a single cluster".to_owned()));
        }
        if clusters > MAX_CLUSTERS {
            return Err(FsError::Unsupported(format!(
                "{clusters} FAT clusters; up to {MAX_CLUSTERS} are handled"
            )));
        }
        let fat_type = if is_32 {
            FatType::Fat32
        } else if clusters <= MAX_FAT12_CLUSTERS {
            FatType::Fat12
        } else if clusters <= MAX_FAT16_CLUSTERS {
            FatType::Fat16
        } else {
            return Err(damaged(format!(
                "boot sector: {clusters} clusters with 16-bit table entries; at most {MAX_FAT16_CLUSTERS} would be right"
            )));
        };
        let extended = if is_32 { 64 } else { 36 };
        let signature = sector[extended + 2];
        let sector_number = |at: usize| {
            let number = u32::from(u16_at(sector, at));
            (is_32 && number != 0 && number < reserved_sectors).then_some(number)
        };
        let boot = Self {
            fat_type,
            bytes_per_sector,
            sectors_per_cluster,
            reserved_sectors,
            num_fats,
            root_entries,
            total_sectors,
            media: sector[21],
            fat_sectors,
            ext_flags: if is_32 { u16_at(sector, 40) } else { 0 },
            root_cluster: if is_32 { u32_at(sector, 44) } else { 0 },
            fs_info: sector_number(48),
            backup: sector_number(50),
            state: sector[extended + 1],
            volume_id: if matches!(signature, 0x28 | 0x29) {
                u32_at(sector, extended + 3)
            } else {
                0
            },
            volume_label: (signature == 0x29).then(|| {
                let mut label = [b' '; 11];
                label.copy_from_slice(&sector[extended + 7..extended + 18]);
                label
            }),
            clusters,
        };
        let table_bytes = u64::from(fat_sectors) * u64::from(bytes_per_sector);
        if table_bytes < boot.table_bytes() {
            return Err(damaged(format!(
                "boot sector: a table of {fat_sectors} sectors is too small for {clusters} clusters"
            )));
        }
        if is_32 && u16_at(sector, 42) != 0 {
            return Err(FsError::Unsupported("FAT32 version other than 0.0".to_owned()));
        }
        match (is_32, root_entries) {
            (true, 0) if boot.is_cluster(boot.root_cluster) => {}
            (true, 0) => {
                return Err(damaged(format!(
                    "boot sector: root directory cluster {} does not exist",
                    boot.root_cluster
                )));
            }
            (true, _) => {
                return Err(damaged(
                    "boot sector: FAT32 with a fixed root directory".to_owned(),
                ));
            }
            (false, 0) => {
                return Err(damaged(
                    "boot sector: no entries in the root directory".to_owned(),
                ));
            }
            (false, _) => {}
        }
        if boot.active_fat() >= num_fats {
            return Err(damaged(format!(
                "boot sector: table {} is the active one of {num_fats}",
                boot.active_fat()
            )));
        }
        Ok(boot)
    }

    /// Whether `cluster` is the number of a data cluster.
    pub const fn is_cluster(&self, cluster: u32) -> bool {
        cluster >= 2 && cluster - 2 < self.clusters
    }

    /// Bytes of a cluster: 512 to 524,288.
    pub const fn cluster_bytes(&self) -> u64 {
        self.sectors_per_cluster as u64 * self.bytes_per_sector as u64
    }

    /// Bytes of one table that hold entries of existing clusters.
    pub const fn table_bytes(&self) -> u64 {
        let entries = self.clusters as u64 + 2;
        match self.fat_type {
            FatType::Fat12 => (entries * 3).div_ceil(2),
            FatType::Fat16 => entries * 2,
            FatType::Fat32 => entries * 4,
        }
    }

    /// Offset in bytes of table number `copy`.
    pub const fn fat_offset(&self, copy: u32) -> u64 {
        (self.reserved_sectors as u64 + copy as u64 * self.fat_sectors as u64) * self.bytes_per_sector as u64
    }

    /// The table that is read.
    pub const fn active_fat(&self) -> u32 {
        if self.ext_flags & 0x80 == 0 {
            0
        } else {
            (self.ext_flags & 0x0F) as u32
        }
    }

    /// Whether all tables are kept equal (`BPB_ExtFlags` bit 7 clear).
    pub const fn mirrored(&self) -> bool {
        self.ext_flags & 0x80 == 0
    }

    /// Offset in bytes of the fixed root directory of FAT12 and FAT16.
    pub const fn root_offset(&self) -> u64 {
        self.fat_offset(self.num_fats)
    }

    /// Offset in bytes of the first data cluster.
    pub const fn data_offset(&self) -> u64 {
        let root_sectors = (self.root_entries * ENTRY_SIZE as u32).div_ceil(self.bytes_per_sector);
        self.root_offset() + root_sectors as u64 * self.bytes_per_sector as u64
    }

    /// Offset in bytes of a cluster for which [`Self::is_cluster`] holds.
    pub const fn cluster_offset(&self, cluster: u32) -> u64 {
        self.data_offset() + (cluster as u64 - 2) * self.cluster_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fat16() -> [u8; 512] {
        let mut s = [0u8; 512];
        s[..3].copy_from_slice(&[0xEB, 0x3C, 0x90]);
        s[11..13].copy_from_slice(&512u16.to_le_bytes());
        s[13] = 4;
        s[14] = 4;
        s[16] = 2;
        s[17..19].copy_from_slice(&512u16.to_le_bytes());
        s[21] = 0xF8;
        s[22] = 128;
        s[32..36].copy_from_slice(&131_072u32.to_le_bytes());
        s[38] = 0x29;
        s[39..43].copy_from_slice(&0x1234_5678u32.to_le_bytes());
        s[43..54].copy_from_slice(b"boot       ");
        s[510..].copy_from_slice(&[0x55, 0xAA]);
        s
    }

    #[test]
    fn reads_what_mkfs_vfat_wrote() {
        let boot = BootSector::parse(&fat16(), 64 << 20).expect("legal");
        assert_eq!(boot.fat_type, FatType::Fat16);
        assert_eq!(boot.volume_id, 0x1234_5678);
        assert_eq!(boot.root_offset(), (4 + 256) * 512);
        assert_eq!(boot.data_offset(), (4 + 256 + 32) * 512);
        assert_eq!(boot.clusters, (131_072 - 292) / 4);
    }

    #[test]
    fn refuses_impossible_values() {
        type Patch = fn(&mut [u8; 512]);
        let patches: [(&str, Patch); 8] = [
            ("bytes per sector", |s| s[12] = 3),
            ("sectors per cluster", |s| s[13] = 3),
            ("reserved", |s| s[14] = 0),
            ("tables", |s| s[16] = 9),
            ("no room", |s| s[32..36].copy_from_slice(&293u32.to_le_bytes())),
            ("partition", |s| s[34] = 0xFF),
            ("too small", |s| s[22] = 100),
            ("root directory", |s| s[17..19].fill(0)),
        ];
        for (word, patch) in patches {
            let mut sector = fat16();
            patch(&mut sector);
            let error = BootSector::parse(&sector, 64 << 20).expect_err(word);
            assert!(error.to_string().contains(word), "{word}: {error}");
        }
    }

    #[test]
    fn any_boot_sector_is_an_answer_not_a_panic() {
        let good = fat16();
        for at in 0..512 {
            for value in [0u8, 1, 0x7F, 0x80, 0xFF] {
                let mut sector = good;
                sector[at] = value;
                let _ = BootSector::parse(&sector, 64 << 20);
            }
        }
    }
}
