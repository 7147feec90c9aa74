//! Directories: 32-byte slots, of which several make one entry with a long name.

use std::collections::BTreeSet;
use std::ops::Range;

use super::boot_sector::{ENTRY_SIZE, u16_at, u32_at};
use super::name::{self, Short};
use super::time::Stamp;

/// `DIR_Attr` bits.
pub(super) const READ_ONLY: u8 = 0x01;
pub(super) const VOLUME_ID: u8 = 0x08;
pub(super) const DIRECTORY: u8 = 0x10;
pub(super) const ARCHIVE: u8 = 0x20;
pub(super) const LONG_NAME: u8 = 0x0F;
pub(super) const LONG_NAME_MASK: u8 = 0x3F;
/// First byte of a free slot, and of the first slot that was never used.
pub(super) const DELETED: u8 = 0xE5;
pub(super) const END: u8 = 0x00;
/// `LDIR_Ord` of the last part of a name, which comes first.
const LAST_LONG_ENTRY: u8 = 0x40;
/// UTF-16 units per long-name slot.
const UNITS_PER_SLOT: usize = 13;
/// Largest directory: the specification gives 2 MiB.
pub(super) const MAX_DIR_BYTES: u64 = 65_536 * ENTRY_SIZE as u64;
/// Where a long-name slot keeps its 13 units.
pub(super) const UNIT_OFFSETS: [usize; UNITS_PER_SLOT] = [1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30];

/// One entry of a directory: a file, a directory or the volume label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// Its slots, long-name parts and the short one, which is the last.
    pub slots: Range<usize>,
    /// The short form as stored.
    pub short: Short,
    /// The name that is shown: the long one, or the short one with its case flags.
    pub name: String,
    /// Whether there is a long name.
    pub long: bool,
    /// `DIR_Attr`.
    pub attr: u8,
    /// First cluster, 0 for none.
    pub cluster: u32,
    /// `DIR_FileSize`.
    pub size: u32,
    /// `DIR_WrtDate` and `DIR_WrtTime`.
    pub written: (u16, u16),
}

impl Entry {
    pub const fn is_dir(&self) -> bool {
        self.attr & DIRECTORY != 0
    }

    pub const fn is_label(&self) -> bool {
        self.attr & VOLUME_ID != 0
    }

    /// `.` or `..`.
    pub fn is_dot(&self) -> bool {
        self.short == DOT || self.short == DOT_DOT
    }
}

/// The short names of the two entries every subdirectory begins with.
pub(super) const DOT: Short = *b".          ";
pub(super) const DOT_DOT: Short = *b"..         ";

/// A defect of long-name slots: the slot, and what is wrong.
pub(super) type SlotDefect = (usize, &'static str);

/// All entries up to the end mark, and what is wrong with long-name slots. Slots that belong to no entry are skipped.
pub(super) fn parse(bytes: &[u8]) -> (Vec<Entry>, Vec<SlotDefect>) {
    let mut entries = Vec::new();
    let mut defects = Vec::new();
    let mut long = LongName::default();
    for (index, slot) in bytes.chunks_exact(ENTRY_SIZE).enumerate() {
        match slot[0] {
            END => break,
            DELETED => {
                long.abandon(&mut defects);
                continue;
            }
            _ => {}
        }
        if slot[11] & LONG_NAME_MASK == LONG_NAME {
            long.push(index, slot, &mut defects);
            continue;
        }
        let mut short = [0u8; 11];
        short.copy_from_slice(&slot[..11]);
        let is_label = slot[11] & VOLUME_ID != 0;
        let (start, full) = long.take(index, &short, is_label, &mut defects);
        entries.push(Entry {
            slots: start..index + 1,
            name: full
                .clone()
                .unwrap_or_else(|| name::display_short(&short, slot[12])),
            long: full.is_some(),
            short,
            attr: slot[11],
            cluster: u32::from(u16_at(slot, 20)) << 16 | u32::from(u16_at(slot, 26)),
            size: u32_at(slot, 28),
            written: (u16_at(slot, 24), u16_at(slot, 22)),
        });
    }
    long.abandon(&mut defects);
    (entries, defects)
}

/// Long-name slots seen since the last entry.
#[derive(Default)]
struct LongName {
    start: usize,
    /// Order number of the next part; 0 when the name is complete.
    next: u8,
    checksum: u8,
    /// Parts, last one first.
    parts: Vec<[u16; UNITS_PER_SLOT]>,
}

impl LongName {
    fn abandon(&mut self, defects: &mut Vec<SlotDefect>) {
        if !self.parts.is_empty() {
            defects.push((self.start, "long name without an entry"));
        }
        *self = Self::default();
    }

    fn push(&mut self, index: usize, slot: &[u8], defects: &mut Vec<SlotDefect>) {
        let order = slot[0] & !LAST_LONG_ENTRY;
        let starts = slot[0] & LAST_LONG_ENTRY != 0;
        let follows = !self.parts.is_empty() && order == self.next && slot[13] == self.checksum;
        if starts {
            self.abandon(defects);
            self.start = index;
            self.checksum = slot[13];
        } else if !follows {
            self.abandon(defects);
            defects.push((index, "long name part out of order"));
            return;
        }
        if !(1..=20).contains(&order) {
            *self = Self::default();
            defects.push((index, "long name part with an impossible number"));
            return;
        }
        self.next = order - 1;
        self.parts.push(UNIT_OFFSETS.map(|at| u16_at(slot, at)));
    }

    /// The name collected when it belongs to the short name at `index`, and the first slot of the entry.
    fn take(
        &mut self,
        index: usize,
        short: &Short,
        is_label: bool,
        defects: &mut Vec<SlotDefect>,
    ) -> (usize, Option<String>) {
        if self.parts.is_empty() {
            return (index, None);
        }
        let fits = self.next == 0 && self.checksum == name::checksum(short) && !is_label;
        if !fits {
            defects.push((self.start, "long name that does not belong to the entry after it"));
            *self = Self::default();
            return (index, None);
        }
        let units: Vec<u16> = self
            .parts
            .iter()
            .rev()
            .flatten()
            .copied()
            .take_while(|unit| *unit != 0)
            .collect();
        let start = self.start;
        *self = Self::default();
        (start, Some(String::from_utf16_lossy(&units)))
    }
}

/// The entry that a name means, case-insensitively: by its long name, else by its alias. Labels and dot entries
/// are no answer.
pub(super) fn find(bytes: &[u8], wanted: &str) -> Option<Entry> {
    let mut by_alias = None;
    for entry in parse(bytes).0 {
        if entry.is_label() || entry.is_dot() {
            continue;
        }
        if name::same(&entry.name, wanted) {
            return Some(entry);
        }
        if entry.long && by_alias.is_none() && name::same(&name::display_short(&entry.short, 0), wanted) {
            by_alias = Some(entry);
        }
    }
    by_alias
}

/// Short names in use.
fn shorts(bytes: &[u8]) -> BTreeSet<Short> {
    bytes
        .chunks_exact(ENTRY_SIZE)
        .take_while(|slot| slot[0] != END)
        .filter(|slot| slot[0] != DELETED && slot[11] & LONG_NAME_MASK != LONG_NAME)
        .filter_map(|slot| slot.first_chunk::<11>().copied())
        .collect()
}

/// What a new entry is made of, besides its name.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields {
    pub attr: u8,
    pub cluster: u32,
    pub size: u32,
    pub created: Stamp,
    pub written: Stamp,
    pub accessed: u16,
}

/// A short slot.
pub(super) fn short_slot(short: &Short, fields: &Fields) -> [u8; ENTRY_SIZE] {
    let mut slot = [0u8; ENTRY_SIZE];
    slot[..11].copy_from_slice(short);
    slot[11] = fields.attr;
    slot[13] = fields.created.tenth;
    slot[14..16].copy_from_slice(&fields.created.time.to_le_bytes());
    slot[16..18].copy_from_slice(&fields.created.date.to_le_bytes());
    slot[18..20].copy_from_slice(&fields.accessed.to_le_bytes());
    set_written(&mut slot, fields.written);
    set_extent(&mut slot, fields.cluster, fields.size);
    slot
}

/// Sets the write time of a short slot.
pub(super) fn set_written(slot: &mut [u8], written: Stamp) {
    slot[22..24].copy_from_slice(&written.time.to_le_bytes());
    slot[24..26].copy_from_slice(&written.date.to_le_bytes());
}

/// Sets the access date of a short slot.
pub(super) fn set_accessed(slot: &mut [u8], date: u16) {
    slot[18..20].copy_from_slice(&date.to_le_bytes());
}

/// Sets first cluster and size of a short slot.
pub(super) fn set_extent(slot: &mut [u8], cluster: u32, size: u32) {
    slot[20..22].copy_from_slice(&((cluster >> 16) as u16).to_le_bytes());
    slot[26..28].copy_from_slice(&(cluster as u16).to_le_bytes());
    slot[28..32].copy_from_slice(&size.to_le_bytes());
}

/// All slots of an entry called `name`, the given short slot last: its name bytes are chosen here. `None` when
/// no short name is left in a directory of these bytes.
///
/// Everything but an upper-case 8.3 name gets a long one, as Linux does: the case flags that could spare it for
/// `config.txt` are unknown to some readers.
pub(super) fn build_slots(bytes: &[u8], name: &str, mut short_slot: [u8; ENTRY_SIZE]) -> Option<Vec<u8>> {
    let taken = shorts(bytes);
    let exact = name::exact_short(name).filter(|short| !taken.contains(short));
    // The case flags belong to the name that the entry had before.
    short_slot[12] = 0;
    if let Some(short) = exact {
        short_slot[..11].copy_from_slice(&short);
        return Some(short_slot.to_vec());
    }
    let short = name::alias(name, &taken)?;
    short_slot[..11].copy_from_slice(&short);
    let checksum = name::checksum(&short);
    let mut units: Vec<u16> = name.encode_utf16().collect();
    let parts = units.len().div_ceil(UNITS_PER_SLOT);
    if !units.len().is_multiple_of(UNITS_PER_SLOT) {
        units.push(0);
        units.resize(parts * UNITS_PER_SLOT, 0xFFFF);
    }
    let mut slots = Vec::with_capacity((parts + 1) * ENTRY_SIZE);
    for (number, part) in units.chunks(UNITS_PER_SLOT).enumerate().rev() {
        let mut slot = [0u8; ENTRY_SIZE];
        slot[0] = number as u8 + 1;
        if number + 1 == parts {
            slot[0] |= LAST_LONG_ENTRY;
        }
        slot[11] = LONG_NAME;
        slot[13] = checksum;
        for (at, unit) in UNIT_OFFSETS.iter().zip(part) {
            slot[*at..at + 2].copy_from_slice(&unit.to_le_bytes());
        }
        slots.extend_from_slice(&slot);
    }
    slots.extend_from_slice(&short_slot);
    Some(slots)
}

/// The first run of `count` free slots.
pub(super) fn free_slots(bytes: &[u8], count: usize) -> Option<usize> {
    let total = bytes.len() / ENTRY_SIZE;
    let mut run = 0;
    for (index, slot) in bytes.chunks_exact(ENTRY_SIZE).enumerate() {
        match slot[0] {
            END => {
                let start = index - run;
                return (start + count <= total).then_some(start);
            }
            DELETED => run += 1,
            _ => run = 0,
        }
        if run == count {
            return Some(index + 1 - count);
        }
    }
    None
}

/// Free slots in all.
pub(super) fn count_free(bytes: &[u8]) -> usize {
    let mut slots = bytes.chunks_exact(ENTRY_SIZE);
    let mut free = 0;
    while let Some(slot) = slots.next() {
        match slot[0] {
            END => return free + 1 + slots.count(),
            DELETED => free += 1,
            _ => {}
        }
    }
    free
}

/// Writes slots at a place that [`free_slots`] gave, and keeps the end mark behind them.
pub(super) fn insert(bytes: &mut [u8], start: usize, slots: &[u8]) {
    let end_mark = bytes.chunks_exact(ENTRY_SIZE).position(|slot| slot[0] == END);
    let at = start * ENTRY_SIZE;
    let after = at + slots.len();
    bytes[at..after].copy_from_slice(slots);
    // What lies behind the end mark may be anything.
    if end_mark.is_some_and(|mark| mark * ENTRY_SIZE < after)
        && let Some(next) = bytes.get_mut(after..after + ENTRY_SIZE)
    {
        next.fill(0);
    }
}

/// Frees the slots of an entry.
pub(super) fn erase(bytes: &mut [u8], slots: Range<usize>) {
    for index in slots {
        bytes[index * ENTRY_SIZE] = DELETED;
    }
}

/// The short slot of an entry.
pub(super) fn slot_mut<'a>(bytes: &'a mut [u8], entry: &Entry) -> &'a mut [u8] {
    let at = (entry.slots.end - 1) * ENTRY_SIZE;
    &mut bytes[at..at + ENTRY_SIZE]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::Time;

    fn fields() -> Fields {
        let stamp = Stamp::from_time(Time::default());
        Fields {
            attr: ARCHIVE,
            cluster: 0x0012_3456,
            size: 7,
            created: stamp,
            written: stamp,
            accessed: stamp.date,
        }
    }

    fn add(bytes: &mut [u8], name: &str) {
        let slots = build_slots(bytes, name, short_slot(&DOT, &fields())).expect("short name");
        let start = free_slots(bytes, slots.len() / ENTRY_SIZE).expect("room");
        insert(bytes, start, &slots);
    }

    #[test]
    fn names_of_every_length_come_back() {
        let mut bytes = vec![0u8; 1 << 17];
        let names: Vec<String> = (1..=255usize).map(|n| "ä".repeat(n)).collect();
        for name in &names {
            add(&mut bytes, name);
        }
        let (entries, defects) = parse(&bytes);
        assert!(defects.is_empty());
        let found: Vec<String> = entries.into_iter().map(|e| e.name).collect();
        assert_eq!(found, names);
    }

    #[test]
    fn freed_slots_are_used_again_and_garbage_behind_the_end_is_not_read() {
        let mut bytes = vec![0xAAu8; 16 * ENTRY_SIZE];
        bytes[0] = 0;
        add(&mut bytes, "A");
        add(&mut bytes, "a long name here");
        add(&mut bytes, "B");
        let long = find(&bytes, "A LONG NAME HERE").expect("there");
        assert_eq!(long.slots, 1..4);
        assert_eq!(long.cluster, 0x0012_3456);
        erase(&mut bytes, long.slots);
        add(&mut bytes, "C");
        let names: Vec<String> = parse(&bytes).0.into_iter().map(|e| e.name).collect();
        assert_eq!(names, ["A", "C", "B"]);
        assert_eq!(count_free(&bytes), 16 - 3);
    }

    #[test]
    fn broken_long_names_are_told_and_the_short_one_shown() {
        let mut bytes = vec![0u8; 16 * ENTRY_SIZE];
        add(&mut bytes, "a rather long name.txt");
        bytes[13] ^= 1;
        let (entries, defects) = parse(&bytes);
        assert_eq!(entries[0].name, "ARATHE~1.TXT");
        assert_eq!(defects.len(), 2);
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x41;
            let _ = parse(&damaged);
        }
    }
}
