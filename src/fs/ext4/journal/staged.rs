//! Changes of a device that wait until all of them are known.

use std::fmt;
use std::io;
use std::sync::Arc;

use crate::disk::{BlockIo, Fill, Overlay, Source};

/// A device as the base of an overlay.
struct Below(Arc<dyn BlockIo>);

impl fmt::Debug for Below {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Below({} bytes)", self.0.len())
    }
}

impl Source for Below {
    fn len(&self) -> u64 {
        self.0.len()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.0.read_at(offset, buf)
    }
}

/// An overlay over a device, without changes.
pub(super) fn over(io: &Arc<dyn BlockIo>) -> Arc<Overlay> {
    Arc::new(Overlay::new(Arc::new(Below(io.clone()))))
}

/// Writes the changes of an overlay to the device below it.
pub(super) fn apply(overlay: &Overlay, io: &dyn BlockIo) -> io::Result<()> {
    for (at, span) in overlay.spans() {
        match span.fill {
            Fill::Zeroes => io.write_zeroes(at, span.len)?,
            Fill::Bytes(bytes, from) => io.write_at(at, &bytes[from..from + span.len as usize])?,
            Fill::Source(source, from) => io.write_source(at, &source, from, span.len)?,
        }
    }
    Ok(())
}
