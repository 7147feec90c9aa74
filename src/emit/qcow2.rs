//! A finished image as a qcow2 file over its base: only what the overlay changed is written.

use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{EmitError, Output};
use crate::disk::{BlockIo, Fill, Overlay, Source};

/// Bits of a cluster's size; 64 KiB is what `qemu-img` takes too.
const CLUSTER_BITS: u32 = 16;
/// Bytes of a cluster.
const CLUSTER: u64 = 1 << CLUSTER_BITS;
/// Entries of a table that fills one cluster.
const TABLE: u64 = CLUSTER / 8;
/// Reference counts of 16 bits in one cluster.
const COUNTS: u64 = CLUSTER / 2;
/// Bytes of the header of version 3.
const HEADER: u32 = 104;
/// The cluster or table is used by nothing else, so it may be written in place.
const COPIED: u64 = 1 << 63;
/// The cluster reads as zeroes, whatever the backing file holds.
const ZERO: u64 = 1;
/// The header extension that names the format of the backing file.
const BACKING_FORMAT: u32 = 0xE279_2ACA;

/// A card for an emulator.
#[derive(Debug, Clone, Copy)]
pub struct Card<'a> {
    /// The finished image.
    pub overlay: &'a Overlay,
    /// The raw file that the overlay lies over, an absolute path; without one the card holds the whole image.
    pub backing: Option<&'a Path>,
    /// Size of the card in bytes; beyond the image it reads as zeroes.
    pub size: u64,
}

/// Writes a card; the backing file is never written and must stay where it is as long as the card is used.
///
/// # Errors
/// The image does not fit the card or cannot be read, the file cannot be written, or `cancel` was set.
pub fn qcow2(card: &Card<'_>, output: &Output, cancel: &AtomicBool) -> Result<(), EmitError> {
    let overlay = card.overlay;
    let image = BlockIo::len(overlay);
    if image > card.size {
        let text = format!("an image of {image} bytes does not fit a card of {}", card.size);
        return Err(output.error(io::Error::new(io::ErrorKind::InvalidInput, text)));
    }
    let clusters = card.size.div_ceil(CLUSTER);
    let mut writer = Writer {
        output,
        next: 1,
        l2: Vec::new(),
    };
    writer.l2.resize_with(clusters.div_ceil(TABLE) as usize, || None);
    let mut buf = vec![0; CLUSTER as usize];
    for run in runs(card)? {
        for cluster in run {
            if cancel.load(Ordering::Relaxed) {
                return Err(EmitError::Interrupted(output.target().to_owned()));
            }
            let at = cluster * CLUSTER;
            let there = image.saturating_sub(at).min(CLUSTER) as usize;
            let (data, beyond) = buf.split_at_mut(there);
            BlockIo::read_at(overlay, at, data).map_err(EmitError::Read)?;
            beyond.fill(0);
            writer.put(cluster, &buf)?;
        }
    }
    writer.finish(card)
}

/// The clusters that the card must hold itself, as ascending ranges.
fn runs(card: &Card<'_>) -> Result<Vec<Range<u64>>, EmitError> {
    let overlay = card.overlay;
    let image = BlockIo::len(overlay);
    let mut bytes: Vec<Range<u64>> = Vec::new();
    if card.backing.is_some() {
        let base = overlay.base();
        for (start, span) in overlay.spans() {
            // Zeroes over zeroes change nothing: a grown root is mostly that.
            let range = start..start + span.len;
            match span.fill {
                Fill::Zeroes => data_within(&**base, range, &mut bytes).map_err(EmitError::Read)?,
                _ => bytes.push(range),
            }
        }
        // What a shorter image cut off must not shine through.
        if image < base.len().min(card.size) {
            bytes.push(image..base.len().min(card.size));
        }
    } else {
        data_within(overlay, 0..image, &mut bytes).map_err(EmitError::Read)?;
    }
    let mut runs: Vec<Range<u64>> = Vec::new();
    for range in bytes {
        let run = range.start / CLUSTER..range.end.div_ceil(CLUSTER);
        match runs.last_mut() {
            Some(last) if run.start <= last.end => last.end = last.end.max(run.end),
            _ => runs.push(run),
        }
    }
    Ok(runs)
}

/// Adds the parts of a range where a source may hold anything but zeroes.
fn data_within(source: &dyn Source, range: Range<u64>, found: &mut Vec<Range<u64>>) -> io::Result<()> {
    let mut at = range.start;
    while at < range.end.min(source.len()) {
        match source.next_data(at)? {
            Some(data) if data.start < range.end => {
                found.push(data.start..data.end.min(range.end));
                at = data.end;
            }
            _ => break,
        }
    }
    Ok(())
}

/// Data first, then the tables that lead to it, then the header: every table is written once.
struct Writer<'a> {
    output: &'a Output,
    /// The next free cluster of the file.
    next: u64,
    /// The second level of tables, where it has any entry.
    l2: Vec<Option<Vec<u64>>>,
}

impl Writer<'_> {
    fn write(&self, bytes: &[u8], at: u64) -> Result<(), EmitError> {
        let file = self.output.file();
        file.write_all_at(bytes, at).map_err(|e| self.output.error(e))
    }

    fn put(&mut self, cluster: u64, data: &[u8]) -> Result<(), EmitError> {
        let entry = if data.iter().all(|b| *b == 0) {
            ZERO
        } else {
            let at = self.next * CLUSTER;
            self.write(data, at)?;
            self.next += 1;
            at | COPIED
        };
        let table = self.l2[(cluster / TABLE) as usize].get_or_insert_with(|| vec![0; TABLE as usize]);
        table[(cluster % TABLE) as usize] = entry;
        Ok(())
    }

    /// Writes numbers as whole clusters and says where.
    fn table(&mut self, entries: &[u64]) -> Result<u64, EmitError> {
        let at = self.next * CLUSTER;
        let mut bytes: Vec<u8> = entries.iter().flat_map(|e| e.to_be_bytes()).collect();
        bytes.resize(bytes.len().next_multiple_of(CLUSTER as usize), 0);
        self.write(&bytes, at)?;
        self.next += bytes.len() as u64 / CLUSTER;
        Ok(at)
    }

    fn finish(mut self, card: &Card<'_>) -> Result<(), EmitError> {
        let mut l1 = Vec::with_capacity(self.l2.len());
        for table in std::mem::take(&mut self.l2) {
            l1.push(match table {
                Some(table) => self.table(&table)? | COPIED,
                None => 0,
            });
        }
        let l1_at = self.table(&l1)?;
        // Counts cover the clusters that hold them, too.
        let (mut blocks, mut tables) = (0, 0);
        loop {
            let all = self.next + blocks + tables;
            let (b, t) = (all.div_ceil(COUNTS), all.div_ceil(COUNTS).div_ceil(TABLE));
            if (b, t) == (blocks, tables) {
                break;
            }
            (blocks, tables) = (b, t);
        }
        let all = self.next + blocks + tables;
        let first_block = self.next;
        let one = 1u16.to_be_bytes();
        for block in 0..blocks {
            let counted = (all - block * COUNTS).min(COUNTS) as usize;
            let mut bytes = one.repeat(counted);
            bytes.resize(CLUSTER as usize, 0);
            self.write(&bytes, (first_block + block) * CLUSTER)?;
        }
        self.next += blocks;
        let entries: Vec<u64> = (0..blocks).map(|b| (first_block + b) * CLUSTER).collect();
        let counts_at = self.table(&entries)?;
        let header = header(card, l1_at, l1.len() as u32, counts_at, tables as u32);
        let header = header.map_err(|e| self.output.error(e))?;
        self.write(&header, 0)
    }
}

fn header(card: &Card<'_>, l1_at: u64, l1_len: u32, counts_at: u64, tables: u32) -> io::Result<Vec<u8>> {
    let backing = match card.backing {
        Some(path) => path.as_os_str().as_encoded_bytes(),
        None => &[],
    };
    // The format has no room for more.
    if backing.len() > 1023 {
        return Err(io::Error::new(
            io::ErrorKind::InvalidFilename,
            "the path of the base in the cache is longer than 1023 bytes",
        ));
    }
    let mut extensions = Vec::new();
    if !backing.is_empty() {
        for number in [BACKING_FORMAT, 3] {
            extensions.extend(number.to_be_bytes());
        }
        extensions.extend(b"raw\0\0\0\0\0");
    }
    // The end of the extensions.
    extensions.extend([0; 8]);
    let backing_at = if backing.is_empty() {
        0
    } else {
        u64::from(HEADER) + extensions.len() as u64
    };
    let mut out = Vec::new();
    out.extend(b"QFI\xfb");
    out.extend(3u32.to_be_bytes());
    out.extend(backing_at.to_be_bytes());
    out.extend((backing.len() as u32).to_be_bytes());
    out.extend(CLUSTER_BITS.to_be_bytes());
    out.extend(card.size.to_be_bytes());
    // No encryption.
    out.extend(0u32.to_be_bytes());
    out.extend(l1_len.to_be_bytes());
    out.extend(l1_at.to_be_bytes());
    out.extend(counts_at.to_be_bytes());
    out.extend(tables.to_be_bytes());
    // No snapshots, no features.
    out.extend([0; 12 + 24]);
    // Reference counts of 2^4 bits.
    out.extend(4u32.to_be_bytes());
    out.extend(HEADER.to_be_bytes());
    out.extend(extensions);
    out.extend(backing);
    Ok(out)
}
