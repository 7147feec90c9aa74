//! From a finished image to a card that is known to hold it.
//!
//! Facts about disks come from `sys`; [`judge`] decides over them without asking anything; [`flash`] writes, reads back
//! and puts the first MiB last, so that a card that was cut off boots nothing. This room knows bytes, ranges and
//! devices. It must not know file systems, plans or the terminal.

mod card;
mod error;
mod judge;
mod probe;
mod write;

pub use card::{Card, Whole};
pub use error::FlashError;
pub use judge::{Allow, LARGE, Refusal, judge};
pub use write::{Flashed, Job, bridged, flash};

/// Bytes that are invalid as long as the rest is not known to be right: the partition table, and what a board or a
/// firmware looks at first.
pub const HEAD: u64 = 1 << 20;
