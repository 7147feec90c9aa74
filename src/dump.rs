//! An image as annotated text, every byte accounted for: its table, and each partition by its file system.
//!
//! This room joins `disk` and `fs` for images that need not be right: unlike [`crate::image`], it refuses nothing.

use std::io;
use std::sync::Arc;

use crate::disk::dump::{Ledger, Section, Sink, Totals, table};
use crate::disk::{BlockIo, Window};
use crate::fs::{ext4, fat};

/// Writes the dump of an image: the partition table with the gaps, then every partition; with `only`, that partition
/// alone. An image without a table that begins with a file system is dumped as one.
///
/// # Errors
/// The image cannot be read, the sink fails, or there is no partition `only` ([`io::ErrorKind::NotFound`]).
pub fn dump(io: &Arc<dyn BlockIo>, only: Option<u32>, sink: &mut dyn Sink) -> io::Result<()> {
    let places = table::partitions(&**io)?;
    if places.is_empty() && only.is_none() && kind(&**io)? != UNKNOWN {
        volume(&**io, None, 0, sink)?;
        return Ok(());
    }
    if only.is_none() {
        table::dump(&**io, sink)?;
    }
    let wanted: Vec<_> = places
        .iter()
        .filter(|p| only.is_none_or(|number| number == p.number))
        .collect();
    if let (Some(number), true) = (only, wanted.is_empty()) {
        let there: Vec<String> = places.iter().map(|p| p.number.to_string()).collect();
        let what = format!(
            "there is no partition {number}; the image has: {}",
            there.join(", ")
        );
        return Err(io::Error::new(io::ErrorKind::NotFound, what));
    }
    for place in wanted {
        let window = Window::new(Arc::clone(io), place.range.clone())?;
        volume(&window, Some(place.number), place.range.start, sink)?;
    }
    Ok(())
}

const UNKNOWN: &str = "unknown";

fn kind(io: &dyn BlockIo) -> io::Result<&'static str> {
    let failed = |error| match error {
        crate::fs::FsError::Io(error) => error,
        other => io::Error::other(other),
    };
    if ext4::probe(io).map_err(failed)? {
        Ok("ext4")
    } else if fat::probe(io).map_err(failed)? {
        Ok("fat")
    } else {
        Ok(UNKNOWN)
    }
}

/// One partition.
fn volume(io: &dyn BlockIo, partition: Option<u32>, start: u64, sink: &mut dyn Sink) -> io::Result<Totals> {
    let what = kind(io)?;
    sink.section(&Section {
        partition,
        what: what.to_owned(),
        range: start..start.saturating_add(io.len()),
    })?;
    match what {
        "ext4" => ext4::dump(io, sink),
        "fat" => fat::dump(io, sink),
        _ => {
            let mut ledger = Ledger::new(sink, io.len(), &[UNKNOWN]);
            let why = "neither an ext4 nor a FAT file system";
            ledger.own(0..io.len(), UNKNOWN, "partition", "bytes", "not decoded", why)?;
            ledger.finish()
        }
    }
}
