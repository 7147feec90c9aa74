//! FAT12, FAT16 and FAT32 with long names (VFAT), edited in place.
//!
//! Names of structures and fields are those of Microsoft's "FAT: General Overview of On-Disk Format" 1.03 (`BPB_…`,
//! `DIR_…`, `LDIR_…`, `FSI_…`). Times are stored and read as UTC. This room knows the device and the vocabulary
//! of [`crate::fs`], nothing else.

mod boot_sector;
mod check;
mod content;
mod dir;
mod dump;
mod editor;
mod mkfs;
mod name;
mod operations;
mod table;
mod time;
mod tree;

pub use boot_sector::FatType;
pub use check::check;
pub use dump::dump;
pub use editor::{Fat, probe};
pub use mkfs::{FatKind, FatOptions, format};
