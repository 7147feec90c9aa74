//! An image as bytes: block access, the copy-on-write overlay, partition tables.
//!
//! This room knows offsets and lengths. It must not know file systems, plans or the network.

mod block_io;

pub(crate) use block_io::eof;
pub use block_io::{BlockIo, Bytes, Source, Window};
