//! Annotated texts of what is on a disk, byte by byte: the lines, the accounting that gives every byte to exactly
//! one line, and the tables of fields that describe a structure. The dump of the partition table itself is
//! [`table`]; those of file systems stand with them.

mod fields;
mod ledger;
mod parts;
pub mod table;
mod text;

use std::io;
use std::ops::Range;

pub use fields::{Field, Layout, Show, date, number};
pub use ledger::{Ledger, Totals};
pub use parts::{Part, fold};
// Formats shown by their own rooms name this one alone.
pub use crate::values::hex;
pub use text::Text;

/// Kind of a line that explains bytes which another line has.
pub const NOTE: &str = "note";
/// Kind of a line that tells a contradiction.
pub const DEFECT: &str = "defect";
/// Bytes that no other line has. There are none unless a dump is wrong.
pub const UNACCOUNTED: &str = "unaccounted";

/// One line of a dump.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line<'a> {
    /// Bytes, counted from the start of the section.
    pub range: Range<u64>,
    /// What the bytes are for, as in the summary; [`NOTE`] and [`DEFECT`] for lines that have no bytes of their own.
    pub kind: &'a str,
    /// Which structure: `group 0`, `inode 12`.
    pub structure: &'a str,
    /// The field by its name in the format's documentation, or a range of like things.
    pub field: &'a str,
    /// What is there.
    pub value: &'a str,
    /// What that means; empty where the value says all.
    pub meaning: &'a str,
}

/// A part of an image that is accounted for by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// The partition, `None` for the table and what lies between partitions.
    pub partition: Option<u32>,
    /// What it is: `partition table`, `ext4`, `fat32`, `unknown`.
    pub what: String,
    /// Its bytes in the image.
    pub range: Range<u64>,
}

/// Where lines go.
pub trait Sink {
    /// A section begins: the lines that follow count bytes from its start.
    ///
    /// # Errors
    /// It cannot be written.
    fn section(&mut self, section: &Section) -> io::Result<()>;

    /// One line.
    ///
    /// # Errors
    /// It cannot be written.
    fn line(&mut self, line: &Line<'_>) -> io::Result<()>;

    /// Bytes of one kind in the section that ends: the summary, a kind at a time.
    ///
    /// # Errors
    /// It cannot be written.
    fn total(&mut self, kind: &str, bytes: u64) -> io::Result<()>;
}
