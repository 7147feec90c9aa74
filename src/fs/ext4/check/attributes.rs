//! Extended attributes: what their readers pass over. Hashes must be right, and no two things may share bytes.

use super::super::format::{u16_at, u32_at};
use super::super::xattr::{BLOCK_HEADER, ENTRY, entry_hash};

/// How attributes stand in one of their two places.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    /// First entry, behind the header.
    first: usize,
    /// What `e_value_offs` counts from.
    values_from: usize,
    /// An entry may do without a hash.
    bare: bool,
}

/// Behind the fields of an inode; kernels before 4.13 write no hashes there.
pub(super) const INODE: Shape = Shape {
    first: 4,
    values_from: 4,
    bare: true,
};

/// In a block of their own.
pub(super) const BLOCK: Shape = Shape {
    first: BLOCK_HEADER,
    values_from: 0,
    bare: false,
};

/// What is wrong with attributes whose entries can be read: `None` also for those that cannot, which the reader tells.
pub(super) fn defect(area: &[u8], shape: Shape) -> Option<&'static str> {
    let mut used = vec![(0, shape.first)];
    let mut at = shape.first;
    while u32_at(area.get(at..at + 4)?, 0) != 0 {
        let entry = area.get(at..at + ENTRY)?;
        let name_end = at + ENTRY + usize::from(entry[0]);
        let name = area.get(at + ENTRY..name_end)?;
        if entry[1] == 0 {
            return Some("has an extended attribute without a prefix");
        }
        let size = u32_at(entry, 8) as usize;
        let start = shape.values_from + usize::from(u16_at(entry, 2));
        let padded = size.checked_next_multiple_of(4)?;
        // The words of the value are hashed as they stand, padding included.
        let value = if size == 0 {
            &[]
        } else {
            let Some(value) = area.get(start..start.checked_add(padded)?) else {
                return Some("has an extended attribute that passes the end of its place");
            };
            used.push((start, start + padded));
            value
        };
        let stored = u32_at(entry, 12);
        let hashes = [false, true].map(|signed| entry_hash(name, value, signed));
        let missing = shape.bare && stored == 0;
        if !missing && !hashes.contains(&stored) {
            return Some("has an extended attribute with a wrong hash");
        }
        let next = name_end.next_multiple_of(4);
        used.push((at, next));
        at = next;
    }
    used.push((at, at + 4));
    used.sort_unstable();
    let overlap = used.windows(2).any(|pair| pair[0].1 > pair[1].0);
    overlap.then_some("has extended attributes that share bytes")
}
