//! The slots of directories.

use super::super::boot_sector::{ENTRY_SIZE, u16_at, u32_at};
use super::super::dir::{DELETED, DIRECTORY, END, LONG_NAME, LONG_NAME_MASK, UNIT_OFFSETS, VOLUME_ID};
use super::super::name::{self, Short};
use super::super::time::Stamp;
use super::tables::{LONG, SHORT};
use crate::disk::dump::{Part, date};

/// A line for each slot up to the end mark; what is behind it is left to who writes the lines.
pub(super) fn parts(bytes: &[u8]) -> Vec<Part> {
    let slots: Vec<&[u8]> = bytes.chunks_exact(ENTRY_SIZE).collect();
    let mut parts = Vec::new();
    for (n, slot) in slots.iter().enumerate() {
        if slot[0] == END {
            break;
        }
        let range = n * ENTRY_SIZE..(n + 1) * ENTRY_SIZE;
        let (field, value, meaning) = if slot[0] == DELETED {
            let layout = if slot[11] & LONG_NAME_MASK == LONG_NAME {
                LONG
            } else {
                SHORT
            };
            ("deleted slot".to_owned(), layout.brief(slot, &[]), String::new())
        } else if slot[11] & LONG_NAME_MASK == LONG_NAME {
            long(slot, slots.get(n + 1..).unwrap_or_default())
        } else {
            short(slot)
        };
        parts.push(Part::new(range, field, value, meaning));
    }
    parts
}

fn short(slot: &[u8]) -> (String, String, String) {
    let mut stored: Short = [0; 11];
    stored.copy_from_slice(&slot[..11]);
    let attr = slot[11];
    let cluster = u32::from(u16_at(slot, 20)) << 16 | u32::from(u16_at(slot, 26));
    let (kind, shown) = if attr & VOLUME_ID != 0 {
        ("label", name::display_label(&stored))
    } else if attr & DIRECTORY != 0 {
        ("directory", name::display_short(&stored, slot[12]))
    } else {
        ("file", name::display_short(&stored, slot[12]))
    };
    let written = Stamp::to_time(u16_at(slot, 24), u16_at(slot, 22));
    let meaning = format!(
        "{kind}, first cluster {cluster}, {} bytes, written {}",
        u32_at(slot, 28),
        date(written.secs)
    );
    let field = format!("slot {:?}", shown);
    (field, SHORT.brief(slot, &["DIR_Name"]), meaning)
}

/// A part of a long name. `after` are the slots behind it, of which the first with a short name is its entry.
fn long(slot: &[u8], after: &[&[u8]]) -> (String, String, String) {
    let units: Vec<u16> = UNIT_OFFSETS
        .iter()
        .map(|at| u16_at(slot, *at))
        .take_while(|unit| *unit != 0)
        .collect();
    let field = format!("long name {:?}", String::from_utf16_lossy(&units));
    let left = ["LDIR_Name1", "LDIR_Name2", "LDIR_Name3"];
    let owner = after
        .iter()
        .find(|s| s[11] & LONG_NAME_MASK != LONG_NAME || s[0] == END || s[0] == DELETED)
        .filter(|s| s[0] != END && s[0] != DELETED);
    let meaning = owner.map_or(String::new(), |owner| {
        let mut stored: Short = [0; 11];
        stored.copy_from_slice(&owner[..11]);
        let right = name::checksum(&stored);
        if right == slot[13] {
            "right".to_owned()
        } else {
            format!("wrong, {right:#x} would be right")
        }
    });
    (field, LONG.brief(slot, &left), meaning)
}
