//! What is written to, and what is written.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use crate::disk::{BlockIo, Overlay, Source};
use crate::sys::Device;

/// A card, or what behaves like one.
///
/// Calls come from several threads. Buffers are aligned to [`crate::sys::ALIGN`].
pub trait Card: Send + Sync {
    /// Length in bytes.
    fn len(&self) -> u64;

    /// Whether there is no room at all.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes all of `bytes`.
    ///
    /// # Errors
    /// The device says so.
    fn write_at(&self, at: u64, bytes: &[u8]) -> io::Result<()>;

    /// Fills `buf` from the medium, not from a cache of what was written.
    ///
    /// # Errors
    /// The device says so.
    fn read_at(&self, at: u64, buf: &mut [u8]) -> io::Result<()>;

    /// Waits until everything written is on the medium.
    ///
    /// # Errors
    /// Writing back failed.
    fn sync(&self) -> io::Result<()>;

    /// Makes sure that what is read next comes from the medium.
    ///
    /// # Errors
    /// The device is gone.
    fn forget(&self) -> io::Result<()>;

    /// Tells the device that none of its blocks is used. Answers whether it knows the command.
    ///
    /// # Errors
    /// The device failed.
    fn discard(&self) -> io::Result<bool>;

    /// Lets the system see the new partitions.
    ///
    /// # Errors
    /// One is in use, or the device failed.
    fn reread_table(&self) -> io::Result<()>;
}

impl Card for Device {
    fn len(&self) -> u64 {
        Self::len(self)
    }

    fn write_at(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        Self::write_at(self, at, bytes)
    }

    fn read_at(&self, at: u64, buf: &mut [u8]) -> io::Result<()> {
        Self::read_at(self, at, buf)
    }

    fn sync(&self) -> io::Result<()> {
        Self::sync(self)
    }

    fn forget(&self) -> io::Result<()> {
        Self::forget(self)
    }

    fn discard(&self) -> io::Result<bool> {
        Self::discard(self)
    }

    fn reread_table(&self) -> io::Result<()> {
        Self::reread_table(self)
    }
}

/// A finished image as a [`Source`]: the overlay will not change any more.
#[derive(Debug, Clone)]
pub struct Whole(pub Arc<Overlay>);

impl Source for Whole {
    fn len(&self) -> u64 {
        BlockIo::len(&*self.0)
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        BlockIo::read_at(&*self.0, offset, buf)
    }

    fn next_data(&self, offset: u64) -> io::Result<Option<Range<u64>>> {
        self.0.next_data(offset)
    }
}
