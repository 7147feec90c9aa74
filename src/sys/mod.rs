//! What the system does for files and devices. This room knows the operating system and nothing of ours; it is the only
//! one with calls that the compiler cannot check.

mod child;
mod device;
pub mod disks;

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{Scope, ScopedJoinHandle};

pub use child::output as output_of;
pub use device::{ALIGN, Device, Opened, eject, unmount};

/// Bytes after which written data is sent to the disk.
const FLUSH_EVERY: usize = 64 << 20;

/// Runs of zeroes are recognised in blocks of this size, the block size of common host file systems.
const BLOCK: usize = 4096;

/// Writes the runs of blocks that are not all zeroes; the rest of an empty file stays a hole.
///
/// # Errors
/// Writing failed.
pub fn write_sparse(file: &File, at: u64, bytes: &[u8]) -> io::Result<()> {
    // Comparing with a block of zeroes is a memcmp; a loop with an early exit would not be vectorised.
    static ZEROES: [u8; BLOCK] = [0; BLOCK];
    let mut run: Option<usize> = None;
    let mut offset = 0;
    for block in bytes.chunks(BLOCK) {
        match (block == &ZEROES[..block.len()], run) {
            (false, None) => run = Some(offset),
            (true, Some(start)) => {
                file.write_all_at(&bytes[start..offset], at + start as u64)?;
                run = None;
            }
            _ => {}
        }
        offset += block.len();
    }
    if let Some(start) = run {
        file.write_all_at(&bytes[start..], at + start as u64)?;
    }
    Ok(())
}

/// Sends what is being written to the disk while more is written, so that the sync at the end finds little to do.
#[derive(Debug)]
pub struct FlushBehind<'scope> {
    wake: SyncSender<()>,
    thread: ScopedJoinHandle<'scope, io::Result<()>>,
    waiting: usize,
}

impl<'scope> FlushBehind<'scope> {
    /// Begins with nothing to flush.
    pub fn start<'env>(scope: &'scope Scope<'scope, 'env>, file: &'env File) -> Self {
        let (wake, woken) = sync_channel::<()>(1);
        Self {
            wake,
            thread: scope.spawn(move || woken.iter().try_for_each(|()| file.sync_data())),
            waiting: 0,
        }
    }

    /// Counts written bytes; now and then they are sent off.
    pub fn wrote(&mut self, bytes: usize) {
        self.waiting += bytes;
        if self.waiting >= FLUSH_EVERY {
            self.waiting = 0;
            // A flush that is still under way covers these bytes too, or the next one will.
            let _ = self.wake.try_send(());
        }
    }

    /// Waits for the flush that is under way.
    ///
    /// # Errors
    /// Writing back failed. The system tells of that once, so it must not get lost.
    pub fn finish(self) -> io::Result<()> {
        drop(self.wake);
        self.thread
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}
