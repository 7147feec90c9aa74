//! An image as bytes: block access, the copy-on-write overlay, partition tables.
//!
//! This room knows offsets and lengths. It must not know file systems, plans or the network.

mod block_io;
pub mod dump;
mod gpt;
mod mbr;
mod overlay;
mod table;
#[cfg(test)]
mod table_tests;

pub(crate) use block_io::eof;
pub use block_io::{BlockIo, Bytes, PIECE, Source, Window, in_pieces};
pub use mbr::new_record;
pub use overlay::{Fill, Overlay, Span};
pub use table::{Partition, SECTOR, Table, TableError, TableKind};
