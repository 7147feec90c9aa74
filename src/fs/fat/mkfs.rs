//! Making an empty volume, with the geometry that mkfs.vfat of dosfstools chooses.

use std::sync::Arc;

use super::boot_sector::{ENTRY_SIZE, FatType, MAX_FAT12_CLUSTERS, MAX_FAT16_CLUSTERS};
use super::check::NO_NAME;
use super::dir::{self, Fields};
use super::editor::Fat;
use super::name::Short;
use super::time::Stamp;
use crate::disk::BlockIo;
use crate::fs::{FsError, FsResult, Time};

/// Bytes of a sector: what SD cards have.
const SECTOR: u32 = 512;
/// Sectors before the first table on FAT32: boot sector, FSInfo and their copies at 6 and 7.
const RESERVED_32: u32 = 32;
const FS_INFO_SECTOR: u16 = 1;
const BACKUP_SECTOR: u16 = 6;
/// Slots of the fixed root directory, as on every hard disk.
const ROOT_ENTRIES: u32 = 512;
const NUM_FATS: u32 = 2;
/// Media byte of a hard disk.
const MEDIA: u8 = 0xF8;
/// Volumes up to 4 MiB have nothing aligned to clusters.
const SMALL: u32 = 8192;
/// From this count of clusters on, every reader takes the entries for 16-bit ones.
const MIN_FAT16_CLUSTERS: u32 = 4087;

/// Which entry width to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FatKind {
    /// FAT32 from 512 MiB on, below it FAT12 or FAT16 by the count of clusters.
    #[default]
    Auto,
    /// 12-bit entries.
    Fat12,
    /// 16-bit entries.
    Fat16,
    /// 32-bit entries.
    Fat32,
}

/// What an empty volume is to be like.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FatOptions {
    /// Entry width.
    pub kind: FatKind,
    /// Sectors of 512 bytes per cluster, a power of two up to 128; `None` chooses by size.
    pub sectors_per_cluster: Option<u32>,
    /// Volume label of up to 11 ASCII characters; empty for none.
    pub label: String,
    /// Volume serial number.
    pub serial: u32,
    /// Sectors before the partition on its disk.
    pub hidden_sectors: u32,
    /// Time of the label's entry.
    pub epoch: Time,
}

struct Geometry {
    fat_type: FatType,
    total: u32,
    per_track: u16,
    heads: u16,
    per_cluster: u32,
    reserved: u32,
    fat_sectors: u32,
    clusters: u32,
}

/// Makes an empty volume that fills the window, up to the last whole track. The same window length and options
/// give the same bytes in everything the volume uses; free clusters are not written.
///
/// # Errors
/// [`FsError::Invalid`] for a label, a cluster size or a window that do not go together with the entry width.
pub fn format(io: Arc<dyn BlockIo>, options: &FatOptions) -> FsResult<Fat> {
    let label = label(&options.label)?;
    let geometry = geometry(io.len(), options)?;
    let sector = u64::from(SECTOR);
    let is_32 = geometry.fat_type == FatType::Fat32;
    let root_sectors = if is_32 {
        geometry.per_cluster
    } else {
        ROOT_ENTRIES * ENTRY_SIZE as u32 / SECTOR
    };
    let head = u64::from(geometry.reserved) + u64::from(NUM_FATS * geometry.fat_sectors);
    io.write_zeroes(0, (head + u64::from(root_sectors)) * sector)?;

    let boot = boot_sector(&geometry, options, label.as_ref().unwrap_or(NO_NAME));
    io.write_at(0, &boot)?;
    if is_32 {
        let info = fs_info(geometry.clusters - 1);
        let backup = u64::from(BACKUP_SECTOR);
        io.write_at(u64::from(FS_INFO_SECTOR) * sector, &info)?;
        io.write_at(backup * sector, &boot)?;
        io.write_at((backup + u64::from(FS_INFO_SECTOR)) * sector, &info)?;
    }
    let first_entries = first_entries(geometry.fat_type);
    for copy in 0..NUM_FATS {
        let start = u64::from(geometry.reserved + copy * geometry.fat_sectors);
        io.write_at(start * sector, &first_entries)?;
    }
    if let Some(label) = label {
        let stamp = Stamp::from_time(options.epoch);
        let fields = Fields {
            attr: dir::VOLUME_ID,
            cluster: 0,
            size: 0,
            created: stamp,
            written: stamp,
            accessed: stamp.date,
        };
        io.write_at(head * sector, &dir::short_slot(&label, &fields))?;
    }
    Fat::open(io)
}

fn invalid(why: String) -> FsError {
    FsError::Invalid {
        path: "FAT volume".to_owned(),
        why,
    }
}

fn label(text: &str) -> FsResult<Option<Short>> {
    if text.is_empty() {
        return Ok(None);
    }
    let legal = |b: u8| (0x20..0x7F).contains(&b) && !b"\"*+,./:;<=>?[\\]|".contains(&b);
    if text.len() > 11 || !text.bytes().all(legal) || text.starts_with(' ') {
        return Err(invalid(format!(
            "label `{text}`: up to 11 ASCII characters without \"*+,./:;<=>?[\\]| would be right"
        )));
    }
    let mut label = [b' '; 11];
    label[..text.len()].copy_from_slice(text.as_bytes());
    Ok(Some(label))
}

/// Sectors per track and heads of logical block addressing ("LBA-assist" translation), by size.
const fn tracks(sectors: u32) -> (u16, u16) {
    match sectors {
        0..=32_768 => (32, 2),
        32_769..=65_536 => (32, 4),
        65_537..=262_144 => (32, 8),
        262_145..=524_288 => (32, 16),
        524_289..=1_032_192 => (63, 16),
        1_032_193..=2_064_384 => (63, 32),
        2_064_385..=4_128_768 => (63, 64),
        4_128_769..=8_257_536 => (63, 128),
        _ => (63, 255),
    }
}

fn geometry(len: u64, options: &FatOptions) -> FsResult<Geometry> {
    let sectors = u32::try_from(len / u64::from(SECTOR)).unwrap_or(u32::MAX);
    let (per_track, heads) = tracks(sectors);
    let total = sectors - sectors % u32::from(per_track);
    if let Some(per_cluster) = options.sectors_per_cluster
        && !(per_cluster.is_power_of_two() && per_cluster <= 128)
    {
        return Err(invalid(format!(
            "{per_cluster} sectors per cluster; a power of two up to 128 would be right"
        )));
    }
    let fixed = |fat_type, first: u32| {
        let sizes: Vec<u32> = match options.sectors_per_cluster {
            Some(one) => vec![one],
            None => (0..8).map(|n| 1 << n).filter(|n| *n >= first).collect(),
        };
        sizes
            .into_iter()
            .find_map(|per_cluster| lay_out(fat_type, total, per_cluster))
    };
    let mib = sectors / 2048;
    let found = match options.kind {
        FatKind::Fat12 => fixed(FatType::Fat12, 4),
        FatKind::Fat16 => fixed(FatType::Fat16, 4),
        FatKind::Fat32 => fixed(FatType::Fat32, cluster_of_fat32(mib)),
        FatKind::Auto if mib >= 512 => fixed(FatType::Fat32, cluster_of_fat32(mib)),
        FatKind::Auto => fixed(FatType::Fat16, 4).or_else(|| fixed(FatType::Fat12, 4)),
    };
    found
        .map(|geometry| Geometry {
            per_track,
            heads,
            ..geometry
        })
        .ok_or_else(|| {
            invalid(format!(
                "{len} bytes cannot be laid out so; choose another entry width or cluster size"
            ))
        })
}

/// Default sectors per cluster of FAT32, by size in MiB.
const fn cluster_of_fat32(mib: u32) -> u32 {
    match mib {
        0..260 => 1,
        260..8_193 => 8,
        8_193..16_385 => 16,
        16_385..32_769 => 32,
        _ => 64,
    }
}

fn lay_out(fat_type: FatType, total: u32, per_cluster: u32) -> Option<Geometry> {
    let align = |sectors: u32| {
        if total <= SMALL {
            sectors
        } else {
            sectors.next_multiple_of(per_cluster)
        }
    };
    let (reserved, root) = match fat_type {
        FatType::Fat32 => (align(RESERVED_32), 0),
        _ => (align(1), align(ROOT_ENTRIES * ENTRY_SIZE as u32 / SECTOR)),
    };
    let data = u64::from(total.checked_sub(reserved)?.checked_sub(root)?);
    // Twice the bits of an entry in bytes, to stay in whole numbers with 12 bits.
    let half_bytes: u64 = match fat_type {
        FatType::Fat12 => 3,
        FatType::Fat16 => 4,
        FatType::Fat32 => 8,
    };
    let sector = u64::from(SECTOR);
    let fats = u64::from(NUM_FATS);
    let estimate =
        2 * (data * sector + fats * half_bytes) / (2 * u64::from(per_cluster) * sector + fats * half_bytes);
    let bytes = ((estimate + 2) * half_bytes).div_ceil(2);
    let fat_sectors = align(u32::try_from(bytes.div_ceil(sector)).ok()?);
    let rest = data.checked_sub(fats * u64::from(fat_sectors))?;
    let clusters = u32::try_from(rest / u64::from(per_cluster)).ok()?;
    let fits = match fat_type {
        FatType::Fat12 => (1..=MAX_FAT12_CLUSTERS).contains(&clusters),
        FatType::Fat16 => (MIN_FAT16_CLUSTERS..=MAX_FAT16_CLUSTERS).contains(&clusters),
        FatType::Fat32 => (MAX_FAT16_CLUSTERS + 1..=0x0FFF_FFF6).contains(&clusters),
    };
    fits.then_some(Geometry {
        fat_type,
        total,
        per_track: 0,
        heads: 0,
        per_cluster,
        reserved,
        fat_sectors,
        clusters,
    })
}

fn boot_sector(geometry: &Geometry, options: &FatOptions, label: &Short) -> [u8; 512] {
    let mut s = [0u8; 512];
    let is_32 = geometry.fat_type == FatType::Fat32;
    let extended = if is_32 { 64 } else { 36 };
    let code = extended + 26;
    // A jump over the parameters to code that halts: the volume is not bootable by a PC.
    s[..3].copy_from_slice(&[0xEB, code as u8 - 2, 0x90]);
    s[code..code + 4].copy_from_slice(&[0xFA, 0xF4, 0xEB, 0xFD]);
    s[3..11].copy_from_slice(b"ceil-img");
    s[11..13].copy_from_slice(&(SECTOR as u16).to_le_bytes());
    s[13] = geometry.per_cluster as u8;
    s[14..16].copy_from_slice(&(geometry.reserved as u16).to_le_bytes());
    s[16] = NUM_FATS as u8;
    let root_entries = if is_32 { 0 } else { ROOT_ENTRIES as u16 };
    s[17..19].copy_from_slice(&root_entries.to_le_bytes());
    match u16::try_from(geometry.total) {
        Ok(total) if !is_32 => s[19..21].copy_from_slice(&total.to_le_bytes()),
        _ => s[32..36].copy_from_slice(&geometry.total.to_le_bytes()),
    }
    s[21] = MEDIA;
    s[24..26].copy_from_slice(&geometry.per_track.to_le_bytes());
    s[26..28].copy_from_slice(&geometry.heads.to_le_bytes());
    s[28..32].copy_from_slice(&options.hidden_sectors.to_le_bytes());
    if is_32 {
        s[36..40].copy_from_slice(&geometry.fat_sectors.to_le_bytes());
        s[44..48].copy_from_slice(&2u32.to_le_bytes());
        s[48..50].copy_from_slice(&FS_INFO_SECTOR.to_le_bytes());
        s[50..52].copy_from_slice(&BACKUP_SECTOR.to_le_bytes());
    } else {
        s[22..24].copy_from_slice(&(geometry.fat_sectors as u16).to_le_bytes());
    }
    s[extended] = 0x80;
    s[extended + 2] = 0x29;
    s[extended + 3..extended + 7].copy_from_slice(&options.serial.to_le_bytes());
    s[extended + 7..extended + 18].copy_from_slice(label);
    let type_name: &[u8; 8] = match geometry.fat_type {
        FatType::Fat12 => b"FAT12   ",
        FatType::Fat16 => b"FAT16   ",
        FatType::Fat32 => b"FAT32   ",
    };
    s[extended + 18..extended + 26].copy_from_slice(type_name);
    s[510..].copy_from_slice(&[0x55, 0xAA]);
    s
}

fn fs_info(free: u32) -> [u8; 512] {
    let mut s = [0u8; 512];
    s[..4].copy_from_slice(b"RRaA");
    s[484..488].copy_from_slice(b"rrAa");
    s[488..492].copy_from_slice(&free.to_le_bytes());
    s[492..496].copy_from_slice(&2u32.to_le_bytes());
    s[510..].copy_from_slice(&[0x55, 0xAA]);
    s
}

/// The entries of the clusters 0 and 1, which hold the media byte and the clean flags, and on FAT32 the root's.
fn first_entries(fat_type: FatType) -> Vec<u8> {
    match fat_type {
        FatType::Fat12 => vec![MEDIA, 0xFF, 0xFF],
        FatType::Fat16 => vec![MEDIA, 0xFF, 0xFF, 0xFF],
        FatType::Fat32 => vec![
            MEDIA, 0xFF, 0xFF, 0x0F, 0xFF, 0xFF, 0xFF, 0x0F, 0xFF, 0xFF, 0xFF, 0x0F,
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels() {
        assert_eq!(label("bootfs").ok().flatten(), Some(*b"bootfs     "));
        assert!(label("a.b").is_err());
        assert!(label("twelve chars").is_err());
    }
}
