//! Structural check of a committed volume.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::boot_sector::{BootSector, ENTRY_SIZE, FatType, u16_at};
use super::dir::{self, Entry};
use super::editor::Fat;
use super::name;
use super::table::{self, FsInfo, Table};
use super::tree::{DirId, Tree};
use crate::disk::BlockIo;
use crate::fs::{Finding, FsError, FsResult};

/// `BS_VolLab` of a volume without a label.
pub(super) const NO_NAME: &[u8; 11] = b"NO NAME    ";
/// Findings beyond this count are not collected: a smashed directory has thousands.
const MAX_FINDINGS: usize = 1000;
/// Directories below a longer path are not entered: bounds the memory for names.
const MAX_PATH: usize = 4096;

/// Everything that is wrong with the volume on `io`. Damage that keeps it from being opened is a finding too.
///
/// # Errors
/// [`FsError::Unsupported`] for a volume too large or of an unknown version, [`FsError::Io`] when the device fails.
pub fn check(io: &Arc<dyn BlockIo>) -> FsResult<Vec<Finding>> {
    match Fat::open(io.clone()) {
        Ok(fat) => run(&fat),
        Err(FsError::Damaged(what)) => Ok(vec![Finding {
            place: "volume".to_owned(),
            what,
        }]),
        Err(error) => Err(error),
    }
}

fn run(fat: &Fat) -> FsResult<Vec<Finding>> {
    let tree = fat.tree();
    let mut checker = Checker {
        tree,
        findings: Vec::new(),
        owned: vec![0u64; tree.boot.clusters as usize / 64 + 1],
    };
    checker.boot_sector()?;
    checker.tables()?;
    checker.directories()?;
    checker.lost_clusters();
    checker.fs_info()?;
    checker.label(fat)?;
    Ok(checker.findings)
}

struct Checker<'a> {
    tree: &'a Tree,
    findings: Vec<Finding>,
    /// One bit per cluster: some chain holds it.
    owned: Vec<u64>,
}

impl Checker<'_> {
    fn found(&mut self, place: impl Into<String>, what: impl Into<String>) {
        if self.findings.len() < MAX_FINDINGS {
            self.findings.push(Finding {
                place: place.into(),
                what: what.into(),
            });
        }
    }

    const fn boot(&self) -> &BootSector {
        &self.tree.boot
    }

    /// Takes a cluster; false when it was taken before.
    fn own(&mut self, cluster: u32) -> bool {
        let bit = 1u64 << (cluster % 64);
        let word = &mut self.owned[cluster as usize / 64];
        let new = *word & bit == 0;
        *word |= bit;
        new
    }

    fn boot_sector(&mut self) -> FsResult<()> {
        let boot = self.boot().clone();
        if boot.media != 0xF0 && boot.media < 0xF8 {
            self.found(
                "boot sector",
                format!(
                    "media byte is {:#04x}; 0xf0 or 0xf8 to 0xff would be right",
                    boot.media
                ),
            );
        }
        if boot.state & 1 != 0 {
            self.found("boot sector", "dirty: the volume was not unmounted");
        }
        if boot.fat_type != FatType::Fat32 {
            return Ok(());
        }
        if boot.fs_info.is_none() {
            self.found("boot sector", "no FSInfo sector among the reserved sectors");
        }
        let Some(backup) = boot.backup else {
            self.found("boot sector", "no backup among the reserved sectors");
            return Ok(());
        };
        let mut first = [0u8; 512];
        let mut second = [0u8; 512];
        self.tree.io.read_at(0, &mut first)?;
        self.tree
            .io
            .read_at(u64::from(backup) * u64::from(boot.bytes_per_sector), &mut second)?;
        // The dirty byte of the backup is left alone by everybody.
        first[65] = 0;
        second[65] = 0;
        if first != second {
            self.found("backup boot sector", "differs from the boot sector");
        }
        Ok(())
    }

    fn tables(&mut self) -> FsResult<()> {
        let boot = self.boot().clone();
        let table = &self.tree.table;
        let media = table.raw(0);
        let flags = table.raw(1);
        if media & 0xFF != u32::from(boot.media) {
            self.found(
                "FAT[0]",
                format!(
                    "holds {media:#x}; its low byte should be the media byte {:#04x}",
                    boot.media
                ),
            );
        }
        let (clean, no_error) = match boot.fat_type {
            FatType::Fat12 => (0, 0),
            FatType::Fat16 => (0x8000, 0x4000),
            FatType::Fat32 => (0x0800_0000, 0x0400_0000),
        };
        if flags & clean != clean {
            self.found("FAT[1]", "dirty: the volume was not unmounted");
        }
        if flags & no_error != no_error {
            self.found("FAT[1]", "the last user met disk errors");
        }
        if !boot.mirrored() {
            return Ok(());
        }
        for copy in 1..boot.num_fats {
            if let Some(offset) = first_difference(&*self.tree.io, &boot, copy)? {
                self.found(
                    format!("FAT {}", copy + 1),
                    format!("differs from the first one at byte {offset}"),
                );
            }
        }
        Ok(())
    }

    /// Walks a chain and takes its clusters. Gives their number when all is well with it.
    fn chain(&mut self, place: &str, first: u32) -> Option<u64> {
        let mut count = 0;
        let mut cluster = first;
        loop {
            if !self.boot().is_cluster(cluster) {
                self.found(
                    place,
                    format!("its chain leads to cluster {cluster}, which does not exist"),
                );
                return None;
            }
            match self.tree.table.entry(cluster) {
                table::Entry::Free => {
                    self.found(
                        place,
                        format!("its chain leads to cluster {cluster}, which is free"),
                    );
                    return None;
                }
                table::Entry::Bad => {
                    self.found(
                        place,
                        format!("its chain leads to cluster {cluster}, which is marked bad"),
                    );
                    return None;
                }
                entry => {
                    if !self.own(cluster) {
                        self.found(
                            place,
                            format!("cluster {cluster} is in two chains, or twice in this one"),
                        );
                        return None;
                    }
                    count += 1;
                    match entry {
                        table::Entry::Next(next) => cluster = next,
                        _ => return Some(count),
                    }
                }
            }
        }
    }

    fn directories(&mut self) -> FsResult<()> {
        let root = self.tree.root();
        if root != 0 && self.chain("root directory", root).is_none() {
            return Ok(());
        }
        // Directory, its parent and its path; every directory enters once, because its first cluster is taken once.
        let mut pending: Vec<(DirId, DirId, String)> = vec![(root, root, String::new())];
        while let Some((id, parent, path)) = pending.pop() {
            let place = if path.is_empty() {
                "root directory".to_owned()
            } else {
                format!("directory `{path}`")
            };
            let bytes = match self.tree.dir_bytes(id) {
                Ok(bytes) => bytes.into_owned(),
                // Longer than a directory may be: the walk of its chain did not ask that.
                Err(FsError::Damaged(what)) => {
                    self.found(place, what);
                    continue;
                }
                Err(error) => return Err(error),
            };
            let (entries, defects) = dir::parse(&bytes);
            for (slot, what) in defects {
                self.found(&*place, format!("slot {slot}: {what}"));
            }
            self.dot_entries(&place, id, parent, &bytes);
            self.names(&place, &entries, id == root);
            for entry in entries
                .iter()
                .filter(|entry| !entry.is_label() && !entry.is_dot())
            {
                let child = format!("{path}/{}", entry.name);
                if let Some(below) = self.entry(&child, entry) {
                    pending.push((below, id, child));
                }
            }
        }
        Ok(())
    }

    /// Checks one entry; gives a directory that is to be entered.
    fn entry(&mut self, path: &str, entry: &Entry) -> Option<DirId> {
        let place = format!("`{path}`");
        if entry.is_dir() {
            if entry.size != 0 {
                self.found(
                    &*place,
                    format!("a directory with a size of {}; 0 would be right", entry.size),
                );
            }
            if !self.boot().is_cluster(entry.cluster) {
                self.found(
                    place,
                    format!("its first cluster {} does not exist", entry.cluster),
                );
                return None;
            }
            self.chain(&place, entry.cluster)?;
            if path.len() > MAX_PATH {
                self.found(place, format!("its path is longer than {MAX_PATH} bytes"));
                return None;
            }
            return Some(entry.cluster);
        }
        let wanted = u64::from(entry.size).div_ceil(self.boot().cluster_bytes());
        let clusters = if entry.cluster == 0 {
            0
        } else {
            self.chain(&place, entry.cluster)?
        };
        if clusters != wanted {
            self.found(
                place,
                format!(
                    "{clusters} clusters for {} bytes; {wanted} would be right",
                    entry.size
                ),
            );
        }
        None
    }

    fn dot_entries(&mut self, place: &str, id: DirId, parent: DirId, bytes: &[u8]) {
        let root = self.tree.root();
        if id == root {
            return;
        }
        let parent = if parent == root { 0 } else { parent };
        for (index, short, cluster) in [(0, dir::DOT, id), (1, dir::DOT_DOT, parent)] {
            let shown = name::display_label(&short);
            let slot = bytes
                .get(index * ENTRY_SIZE..(index + 1) * ENTRY_SIZE)
                .unwrap_or(&[]);
            if slot.get(..11) != Some(&short[..]) || slot[11] & dir::DIRECTORY == 0 {
                self.found(place, format!("slot {index} is not `{shown}`"));
                continue;
            }
            let stored = u32::from(u16_at(slot, 20)) << 16 | u32::from(u16_at(slot, 26));
            if stored != cluster {
                self.found(
                    place,
                    format!("`{shown}` names cluster {stored}; {cluster} would be right"),
                );
            }
        }
    }

    fn names(&mut self, place: &str, entries: &[Entry], is_root: bool) {
        let mut shorts = BTreeSet::new();
        let mut names = BTreeSet::new();
        let mut labels = 0;
        for (index, entry) in entries.iter().enumerate() {
            if entry.is_label() {
                labels += 1;
                if !is_root || labels > 1 {
                    self.found(place, "a second volume label, or one outside the root directory");
                }
                continue;
            }
            if entry.is_dot() {
                if is_root || index > 1 {
                    self.found(place, "`.` or `..` where it does not belong");
                }
                continue;
            }
            if !shorts.insert(entry.short) {
                self.found(
                    place,
                    format!(
                        "two entries with the short name `{}`",
                        name::display_short(&entry.short, 0)
                    ),
                );
            } else if !names.insert(name::fold(&entry.name)) {
                self.found(place, format!("two entries with the name `{}`", entry.name));
            }
            if entry.short[0] == b' ' || entry.short.iter().any(|b| is_illegal(*b)) {
                self.found(
                    place,
                    format!(
                        "illegal short name `{}`",
                        name::display_short(&entry.short, 0).escape_debug()
                    ),
                );
            }
            if entry.long && (entry.name.is_empty() || entry.name.contains(['/', '\0'])) {
                self.found(
                    place,
                    format!("illegal long name `{}`", entry.name.escape_debug()),
                );
            }
        }
    }

    fn lost_clusters(&mut self) {
        let mut lost = 0u32;
        let mut first = 0;
        for cluster in 2..self.boot().clusters + 2 {
            let used = matches!(
                self.tree.table.entry(cluster),
                table::Entry::Next(_) | table::Entry::End
            );
            if used && self.owned[cluster as usize / 64] & 1 << (cluster % 64) == 0 {
                first = if lost == 0 { cluster } else { first };
                lost += 1;
            }
        }
        if lost > 0 {
            self.found(
                "FAT",
                format!("{lost} clusters are allocated and belong to no file, the first is {first}"),
            );
        }
    }

    fn fs_info(&mut self) -> FsResult<()> {
        if self.boot().fs_info.is_none() {
            return Ok(());
        }
        let Some(info) = FsInfo::read(&*self.tree.io, self.boot())? else {
            self.found("FSInfo", "its signatures are wrong");
            return Ok(());
        };
        let free = self.tree.table.free();
        if info.free_count != free && info.free_count != u32::MAX {
            self.found(
                "FSInfo",
                format!("says {} free clusters; {free} would be right", info.free_count),
            );
        }
        if info.next_free != u32::MAX && !self.boot().is_cluster(info.next_free) {
            self.found(
                "FSInfo",
                format!("next free cluster {} does not exist", info.next_free),
            );
        }
        Ok(())
    }

    fn label(&mut self, fat: &Fat) -> FsResult<()> {
        let entry = match fat.label_entry() {
            Ok(entry) => entry,
            // The root directory cannot be read: told above.
            Err(FsError::Damaged(_)) => return Ok(()),
            Err(error) => return Err(error),
        };
        let boot = self.boot().volume_label;
        if let (Some(entry), Some(boot)) = (entry, boot)
            && entry != boot
        {
            self.found(
                "volume label",
                format!(
                    "`{}` in the root directory and `{}` in the boot sector",
                    name::display_label(&entry),
                    name::display_label(&boot)
                ),
            );
        } else if let (None, Some(boot)) = (entry, boot)
            && &boot != NO_NAME
            && boot != [b' '; 11]
            && boot != [0; 11]
        {
            self.found(
                "volume label",
                format!(
                    "`{}` in the boot sector and none in the root directory",
                    name::display_label(&boot)
                ),
            );
        }
        Ok(())
    }
}

/// Whether a byte may not stand in a short name. Lower case is tolerated by nobody.
fn is_illegal(byte: u8) -> bool {
    (byte < 0x20 && byte != 0x05)
        || byte == 0x7F
        || byte.is_ascii_lowercase()
        || b"\"*+,./:;<=>?[\\]|".contains(&byte)
}

/// The first byte at which a table differs from the first one, as far as entries of existing clusters go.
fn first_difference(io: &dyn BlockIo, boot: &BootSector, copy: u32) -> FsResult<Option<u64>> {
    let first = Table::read(io, boot, 0)?;
    let other = Table::read(io, boot, copy)?;
    Ok(first.first_difference(&other))
}
