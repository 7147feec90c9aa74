//! An open image: its overlay, its table and a volume on each partition that has one we know.
//!
//! This room joins `disk` and `fs`. It must not know plans, host files or the network.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use crate::disk::{BlockIo, Overlay, Partition, Source, Table, TableError, Window};
use crate::fs::{self, FsError, Recovery, Volume};
use crate::values::VolumeName;

/// A partition and the file system on it.
pub struct PartitionVolume {
    /// Number in the table.
    pub number: u32,
    /// The file system.
    pub volume: Box<dyn Volume>,
}

impl std::fmt::Debug for PartitionVolume {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "p{} {}", self.number, self.volume.kind())
    }
}

/// An image whose table is understood and whose file systems are open.
#[derive(Debug)]
pub struct Image {
    /// The bytes.
    pub overlay: Arc<Overlay>,
    /// The partition table.
    pub table: Table,
    /// The FAT that the firmware reads.
    pub boot: Option<PartitionVolume>,
    /// The root file system.
    pub root: Option<PartitionVolume>,
    /// Partitions that hold something else, each with the reason why it was not opened.
    pub others: Vec<(u32, FsError)>,
    /// Partitions whose file system was not unmounted cleanly, each with what was done about it in the overlay.
    pub recovered: Vec<(u32, Recovery)>,
}

/// Why an image cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The table.
    #[error(transparent)]
    Table(#[from] TableError),
    /// A file system.
    #[error("partition {number}")]
    Volume {
        /// The partition.
        number: u32,
        /// What is wrong with it.
        source: FsError,
    },
    /// The volume is not there.
    #[error("the image has no {} volume: {reason}", match .name { VolumeName::Boot => "boot (FAT)", VolumeName::Root => "root (ext4)" })]
    Missing {
        /// Which.
        name: VolumeName,
        /// What was found instead.
        reason: String,
    },
    /// Reading or writing failed.
    #[error("cannot read or write the image")]
    Io(#[from] io::Error),
}

impl Image {
    /// Opens an image over an untouched base. A file system that was not unmounted cleanly is brought to what a mount
    /// would make of it, in the overlay.
    ///
    /// The boot volume is the first FAT; the root volume is the first ext4 that holds `/etc`, else the first ext4.
    ///
    /// # Errors
    /// A table or a file system that is damaged. A partition of an unknown or unsupported kind is no error until
    /// it is asked for.
    pub fn open(base: Arc<dyn Source>) -> Result<Self, ImageError> {
        let overlay = Arc::new(Overlay::new(base));
        let table = Table::read(&*overlay)?;
        let mut image = Self {
            overlay,
            table,
            boot: None,
            root: None,
            others: Vec::new(),
            recovered: Vec::new(),
        };
        let mut roots: Vec<PartitionVolume> = Vec::new();
        for partition in image.table.partitions.clone() {
            let number = partition.number;
            let window = image.window(&partition)?;
            let opened = fs::recover(&window).and_then(|recovery| {
                image.recovered.extend(recovery.map(|done| (number, done)));
                fs::open(window)
            });
            match opened {
                Ok(volume) if volume.kind() == "ext4" => roots.push(PartitionVolume { number, volume }),
                Ok(volume) if image.boot.is_none() => image.boot = Some(PartitionVolume { number, volume }),
                Ok(_) => {}
                Err(error @ FsError::Unsupported(_)) => image.others.push((number, error)),
                Err(source) => return Err(ImageError::Volume { number, source }),
            }
        }
        let mut with_etc = None;
        for (at, root) in roots.iter().enumerate() {
            let found = match root.volume.stat(b"/etc") {
                Ok(found) => found.is_some(),
                // A device that fails must not make another volume the root.
                Err(source @ FsError::Io(_)) => {
                    let number = root.number;
                    return Err(ImageError::Volume { number, source });
                }
                Err(_) => false,
            };
            if found {
                with_etc = Some(at);
                break;
            }
        }
        if !roots.is_empty() {
            image.root = Some(roots.swap_remove(with_etc.unwrap_or(0)));
        }
        Ok(image)
    }

    fn window(&self, partition: &Partition) -> io::Result<Arc<dyn BlockIo>> {
        let io: Arc<dyn BlockIo> = self.overlay.clone();
        Ok(Arc::new(Window::new(io, partition.range())?))
    }

    fn slot(&self, name: VolumeName) -> Option<&PartitionVolume> {
        match name {
            VolumeName::Boot => self.boot.as_ref(),
            VolumeName::Root => self.root.as_ref(),
        }
    }

    /// Why a volume is not there, for the error.
    fn missing(&self, name: VolumeName) -> ImageError {
        let reason = if self.others.is_empty() {
            "no partition holds one".to_owned()
        } else {
            self.others
                .iter()
                .map(|(number, error)| format!("partition {number}: {error}"))
                .collect::<Vec<_>>()
                .join("; ")
        };
        ImageError::Missing { name, reason }
    }

    /// A volume to read.
    ///
    /// # Errors
    /// [`ImageError::Missing`] with what was found instead.
    pub fn volume(&self, name: VolumeName) -> Result<&dyn Volume, ImageError> {
        self.slot(name)
            .map(|v| &*v.volume)
            .ok_or_else(|| self.missing(name))
    }

    /// A volume to edit.
    ///
    /// # Errors
    /// [`ImageError::Missing`] with what was found instead.
    pub fn volume_mut(&mut self, name: VolumeName) -> Result<&mut dyn Volume, ImageError> {
        if self.slot(name).is_none() {
            return Err(self.missing(name));
        }
        let slot = match name {
            VolumeName::Boot => self.boot.as_mut(),
            VolumeName::Root => self.root.as_mut(),
        };
        slot.map(|v| &mut *v.volume as &mut dyn Volume)
            .ok_or_else(|| ImageError::Missing {
                name,
                reason: String::new(),
            })
    }

    /// The partition that a volume lies on.
    ///
    /// # Errors
    /// [`ImageError::Missing`].
    pub fn partition(&self, name: VolumeName) -> Result<&Partition, ImageError> {
        let slot = self.slot(name).ok_or_else(|| self.missing(name))?;
        self.table
            .partition(slot.number)
            .ok_or_else(|| self.missing(name))
    }

    /// Enlarges the root partition and its file system by `by` bytes, a multiple of 512; the image grows with it.
    ///
    /// # Errors
    /// When the root partition is not the last one, or the file system cannot grow that far.
    pub fn grow_root(&mut self, by: u64) -> Result<(), ImageError> {
        let partition = self.partition(VolumeName::Root)?.clone();
        let too_far =
            || TableError::Unsupported(format!("growing by {by} bytes passes what a disk can hold"));
        if !self.table.is_last(partition.number) {
            return Err(TableError::Unsupported(format!(
                "partition {} cannot grow: another partition lies behind it",
                partition.number
            ))
            .into());
        }
        let end = partition.range().end.checked_add(by).ok_or_else(too_far)?;
        let len = end.checked_add(self.table.tail()).ok_or_else(too_far)?;
        let old_len = BlockIo::len(&*self.overlay);
        self.overlay.set_len(len.max(old_len));
        // What lay behind the partition and now enters it reads as zeroes; a GPT's backup is moved by the table.
        let stale = partition.range().end..end.min(old_len.saturating_sub(self.table.tail()));
        if stale.start < stale.end {
            self.overlay.write_zeroes(stale.start, stale.end - stale.start)?;
        }
        self.table
            .grow(&*self.overlay, partition.number, partition.len + by)?;
        let grown = self.partition(VolumeName::Root)?.clone();
        let window = self.window(&grown)?;
        self.volume_mut(VolumeName::Root)?
            .grow(window)
            .map_err(|source| ImageError::Volume {
                number: grown.number,
                source,
            })
    }

    /// Writes what the volumes have collected into the overlay.
    ///
    /// # Errors
    /// Reading or writing failed; the overlay is then of no use.
    pub fn commit(&mut self) -> Result<(), ImageError> {
        for slot in [&mut self.boot, &mut self.root].into_iter().flatten() {
            slot.volume.commit().map_err(|source| ImageError::Volume {
                number: slot.number,
                source,
            })?;
        }
        Ok(())
    }

    /// Ranges of the committed image that matter, ascending, in multiples of `block` bytes: what a file system
    /// uses, all of a partition whose file system is not known, and what is not zero outside partitions. The
    /// first MiB always matters, so that a stale table on a card is overwritten.
    ///
    /// # Errors
    /// Reading failed, or a file system's bitmaps are damaged.
    pub fn used_ranges(&self, block: u64) -> Result<Vec<Range<u64>>, ImageError> {
        let len = BlockIo::len(&*self.overlay);
        let mut used: Vec<Range<u64>> = Vec::new();
        used.push(0..len.min(1 << 20));
        let mut partitions: Vec<&Partition> = self.table.partitions.iter().collect();
        partitions.sort_by_key(|p| p.start);
        let mut outside = 0;
        for partition in partitions {
            self.not_zero(outside..partition.start, block, &mut used)?;
            outside = partition.range().end;
            let known = [&self.boot, &self.root]
                .into_iter()
                .flatten()
                .find(|v| v.number == partition.number);
            match known {
                Some(known) => {
                    let ranges = known.volume.used_ranges().map_err(|source| ImageError::Volume {
                        number: known.number,
                        source,
                    })?;
                    used.extend(
                        ranges
                            .into_iter()
                            .map(|r| partition.start + r.start..partition.start + r.end),
                    );
                }
                None => used.push(partition.range()),
            }
        }
        self.not_zero(outside..len, block, &mut used)?;
        Ok(merge(used, block, len))
    }

    /// Adds the blocks of a range that are not all zeroes.
    fn not_zero(&self, range: Range<u64>, block: u64, used: &mut Vec<Range<u64>>) -> io::Result<()> {
        let mut buf = vec![0u8; block as usize];
        let mut at = range.start;
        while at < range.end {
            let Some(data) = self.overlay.next_data(at)?.filter(|d| d.start < range.end) else {
                break;
            };
            at = data.start - data.start % block;
            let stop = data.end.min(range.end);
            while at < stop {
                let end = (at + block).min(BlockIo::len(&*self.overlay));
                let bytes = &mut buf[..(end - at) as usize];
                BlockIo::read_at(&*self.overlay, at, bytes)?;
                if bytes.iter().any(|b| *b != 0) {
                    used.push(at..end);
                }
                at = end;
            }
        }
        Ok(())
    }
}

/// Rounds ranges outwards to whole blocks and joins those that touch.
fn merge(mut ranges: Vec<Range<u64>>, block: u64, len: u64) -> Vec<Range<u64>> {
    ranges.sort_by_key(|r| (r.start, r.end));
    let mut out: Vec<Range<u64>> = Vec::new();
    for range in ranges.into_iter().filter(|r| r.start < r.end) {
        let start = range.start / block * block;
        let end = range.end.div_ceil(block).saturating_mul(block).min(len);
        match out.last_mut() {
            Some(last) if last.end >= start => last.end = last.end.max(end),
            _ => out.push(start..end),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::merge;

    #[test]
    fn ranges_join_in_whole_blocks() {
        let ranges = vec![5000..5001, 0..100, 4096..4097, 20_000..20_480];
        assert_eq!(merge(ranges, 4096, 20_480), [0..8192, 16_384..20_480]);
    }
}
