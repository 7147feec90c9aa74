//! The file allocation table and the FSInfo sector.

use std::collections::BTreeSet;
use std::ops::Range;

use super::boot_sector::{BootSector, FatType, u32_at};
use crate::disk::BlockIo;
use crate::fs::{FsError, FsResult};

/// What a table entry says about its cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entry {
    /// Not allocated.
    Free,
    /// The next cluster of the chain (not checked to exist).
    Next(u32),
    /// Unusable.
    Bad,
    /// Last cluster of its chain.
    End,
}

/// The active table in memory, in its on-disk form, with every reserved bit kept.
#[derive(Debug)]
pub(super) struct Table {
    boot: BootSector,
    bytes: Vec<u8>,
    /// Sectors (relative to the table) that differ from the device.
    dirty: BTreeSet<u32>,
    free: u32,
    /// No cluster below this one is free.
    lowest_free: u32,
    /// Last cluster that was allocated, for `FSI_Nxt_Free`.
    last_allocated: Option<u32>,
    /// Old values since [`Table::begin`], newest last.
    undo: Vec<(u32, u32)>,
    saved: (u32, u32, Option<u32>),
}

impl Table {
    /// Reads table number `copy`.
    pub fn read(io: &dyn BlockIo, boot: &BootSector, copy: u32) -> FsResult<Self> {
        let sector = u64::from(boot.bytes_per_sector);
        // BootSector has checked that so many bytes are inside the table, and bounded them.
        let len = boot.table_bytes().div_ceil(sector) * sector;
        let mut bytes = vec![0u8; len as usize];
        io.read_at(boot.fat_offset(copy), &mut bytes)?;
        let mut table = Self {
            boot: boot.clone(),
            bytes,
            dirty: BTreeSet::new(),
            free: 0,
            lowest_free: 2,
            last_allocated: None,
            undo: Vec::new(),
            saved: (0, 2, None),
        };
        table.free = (2..boot.clusters + 2).filter(|c| table.raw(*c) == 0).count() as u32;
        Ok(table)
    }

    /// Free clusters.
    pub const fn free(&self) -> u32 {
        self.free
    }

    /// Whether anything is to be written.
    pub fn is_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// The bits of an entry that count; cluster numbers up to `clusters + 1`.
    pub fn raw(&self, cluster: u32) -> u32 {
        let c = cluster as usize;
        let b = &self.bytes;
        match self.boot.fat_type {
            FatType::Fat12 => {
                let at = c + c / 2;
                let pair = u32::from(b[at]) | u32::from(b[at + 1]) << 8;
                if c.is_multiple_of(2) {
                    pair & 0xFFF
                } else {
                    pair >> 4
                }
            }
            FatType::Fat16 => u32::from(b[2 * c]) | u32::from(b[2 * c + 1]) << 8,
            FatType::Fat32 => u32_at(b, 4 * c) & 0x0FFF_FFFF,
        }
    }

    const fn end_mark(&self) -> u32 {
        match self.boot.fat_type {
            FatType::Fat12 => 0xFFF,
            FatType::Fat16 => 0xFFFF,
            FatType::Fat32 => 0x0FFF_FFFF,
        }
    }

    /// What the entry of a cluster that exists says.
    pub fn entry(&self, cluster: u32) -> Entry {
        let bad = self.end_mark() - 8;
        match self.raw(cluster) {
            0 => Entry::Free,
            value if value == bad => Entry::Bad,
            value if value > bad => Entry::End,
            value => Entry::Next(value),
        }
    }

    fn put(&mut self, cluster: u32, value: u32) {
        let c = cluster as usize;
        let sector = self.boot.bytes_per_sector as usize;
        let (at, len) = match self.boot.fat_type {
            FatType::Fat12 => {
                let at = c + c / 2;
                if c.is_multiple_of(2) {
                    self.bytes[at] = value as u8;
                    self.bytes[at + 1] = self.bytes[at + 1] & 0xF0 | (value >> 8) as u8;
                } else {
                    self.bytes[at] = self.bytes[at] & 0x0F | (value << 4) as u8;
                    self.bytes[at + 1] = (value >> 4) as u8;
                }
                (at, 2)
            }
            FatType::Fat16 => {
                self.bytes[2 * c..2 * c + 2].copy_from_slice(&(value as u16).to_le_bytes());
                (2 * c, 2)
            }
            FatType::Fat32 => {
                let reserved = u32_at(&self.bytes, 4 * c) & 0xF000_0000;
                self.bytes[4 * c..4 * c + 4].copy_from_slice(&(reserved | value).to_le_bytes());
                (4 * c, 4)
            }
        };
        self.dirty.insert((at / sector) as u32);
        self.dirty.insert(((at + len - 1) / sector) as u32);
    }

    fn set(&mut self, cluster: u32, value: u32) {
        let old = self.raw(cluster);
        self.undo.push((cluster, old));
        if old == 0 && value != 0 {
            self.free -= 1;
        } else if old != 0 && value == 0 {
            self.free += 1;
            self.lowest_free = self.lowest_free.min(cluster);
        }
        self.put(cluster, value);
    }

    /// Starts an operation that [`Table::rollback`] can take back.
    pub fn begin(&mut self) {
        self.undo.clear();
        self.saved = (self.free, self.lowest_free, self.last_allocated);
    }

    /// Takes back everything since [`Table::begin`].
    pub fn rollback(&mut self) {
        while let Some((cluster, old)) = self.undo.pop() {
            self.put(cluster, old);
        }
        (self.free, self.lowest_free, self.last_allocated) = self.saved;
    }

    /// The clusters of a chain, in order.
    ///
    /// # Errors
    /// [`FsError::Damaged`] when the chain leaves the volume, meets a free or bad cluster, or is longer than
    /// `limit` clusters (a loop is).
    pub fn chain(&self, first: u32, limit: u32) -> FsResult<Vec<u32>> {
        let mut clusters = Vec::new();
        let mut cluster = first;
        loop {
            if !self.boot.is_cluster(cluster) {
                return Err(FsError::Damaged(format!(
                    "the chain of cluster {first} leads to cluster {cluster}, which does not exist"
                )));
            }
            if clusters.len() as u64 >= u64::from(limit) {
                return Err(FsError::Damaged(format!(
                    "the chain of cluster {first} is a loop or longer than {limit} clusters"
                )));
            }
            clusters.push(cluster);
            cluster = match self.entry(cluster) {
                Entry::Next(next) => next,
                Entry::End => return Ok(clusters),
                Entry::Free | Entry::Bad => {
                    return Err(FsError::Damaged(format!(
                        "the chain of cluster {first} leads to cluster {cluster}, which is free or bad"
                    )));
                }
            };
        }
    }

    /// Frees a whole chain. One that shares clusters with another ends where the other began to be freed.
    pub fn free_chain(&mut self, first: u32) -> FsResult<()> {
        for cluster in self.chain(first, self.boot.clusters)? {
            self.set(cluster, 0);
        }
        Ok(())
    }

    /// Allocates `count` clusters as one chain, behind cluster `after` when given: the first free run that holds
    /// all of them, else free clusters in ascending order. The caller has checked [`Table::free`].
    pub fn allocate(&mut self, count: u32, after: Option<u32>) -> FsResult<Vec<u32>> {
        if count == 0 {
            return Ok(Vec::new());
        }
        if count > self.free {
            return Err(self.no_space(count));
        }
        while self.raw(self.lowest_free) != 0 {
            self.lowest_free += 1;
        }
        let clusters = self.find(count, after);
        for pair in clusters.windows(2) {
            self.set(pair[0], pair[1]);
        }
        if let Some(last) = clusters.last() {
            self.set(*last, self.end_mark());
            self.last_allocated = Some(*last);
        }
        if let (Some(after), Some(first)) = (after, clusters.first()) {
            self.set(after, *first);
        }
        Ok(clusters)
    }

    /// The error of `count` clusters that are not there.
    pub fn no_space(&self, count: u32) -> FsError {
        FsError::NoSpace {
            need: u64::from(count) * self.boot.cluster_bytes(),
            free: u64::from(self.free) * self.boot.cluster_bytes(),
        }
    }

    fn find(&self, count: u32, after: Option<u32>) -> Vec<u32> {
        let end = self.boot.clusters + 2;
        let run_at = |start: u32| {
            let stop = start.checked_add(count).filter(|stop| *stop <= end)?;
            (start..stop)
                .all(|c| self.raw(c) == 0)
                .then(|| (start..stop).collect::<Vec<_>>())
        };
        if let Some(run) = after.and_then(|last| run_at(last + 1)) {
            return run;
        }
        let mut run = 0;
        for cluster in self.lowest_free..end {
            run = if self.raw(cluster) == 0 { run + 1 } else { 0 };
            if run == count {
                return (cluster + 1 - count..=cluster).collect();
            }
        }
        (self.lowest_free..end)
            .filter(|c| self.raw(*c) == 0)
            .take(count as usize)
            .collect()
    }

    /// Runs of clusters that are not free, ascending.
    pub fn allocated_runs(&self) -> Vec<Range<u32>> {
        let mut runs: Vec<Range<u32>> = Vec::new();
        for cluster in (2..self.boot.clusters + 2).filter(|c| self.raw(*c) != 0) {
            match runs.last_mut() {
                Some(run) if run.end == cluster => run.end += 1,
                _ => runs.push(cluster..cluster + 1),
            }
        }
        runs
    }

    /// The first byte in which another copy differs, as far as entries of existing clusters go.
    pub fn first_difference(&self, other: &Self) -> Option<u64> {
        let len = self.boot.table_bytes() as usize;
        let pairs = self.bytes[..len].iter().zip(&other.bytes[..len]);
        pairs.into_iter().position(|(a, b)| a != b).map(|at| at as u64)
    }

    /// Writes the changed sectors to every copy that is kept, and the free count to FSInfo.
    pub fn commit(&mut self, io: &dyn BlockIo) -> FsResult<()> {
        let copies = if self.boot.mirrored() {
            0..self.boot.num_fats
        } else {
            self.boot.active_fat()..self.boot.active_fat() + 1
        };
        let size = self.boot.bytes_per_sector as usize;
        for copy in copies {
            for sector in &self.dirty {
                let at = *sector as usize * size;
                let offset = self.boot.fat_offset(copy) + at as u64;
                io.write_at(offset, &self.bytes[at..at + size])?;
            }
        }
        if self.is_dirty()
            && let Some(mut info) = FsInfo::read(io, &self.boot)?
        {
            info.free_count = self.free;
            if let Some(last) = self.last_allocated {
                info.next_free = last;
            }
            info.write(io)?;
        }
        self.dirty.clear();
        Ok(())
    }
}

/// The FSInfo sector: a summary that spares readers the scan of the table.
#[derive(Debug)]
pub(super) struct FsInfo {
    offset: u64,
    /// `FSI_Free_Count`; `0xFFFF_FFFF` when not known.
    pub free_count: u32,
    /// `FSI_Nxt_Free`: where to begin to look for a free cluster.
    pub next_free: u32,
}

impl FsInfo {
    /// Reads it; `None` when the volume has none or its signatures are wrong.
    pub fn read(io: &dyn BlockIo, boot: &BootSector) -> FsResult<Option<Self>> {
        let Some(sector) = boot.fs_info else {
            return Ok(None);
        };
        let offset = u64::from(sector) * u64::from(boot.bytes_per_sector);
        let mut bytes = [0u8; 512];
        io.read_at(offset, &mut bytes)?;
        let signed = u32_at(&bytes, 0) == 0x4161_5252
            && u32_at(&bytes, 484) == 0x6141_7272
            && u32_at(&bytes, 508) == 0xAA55_0000;
        Ok(signed.then(|| Self {
            offset,
            free_count: u32_at(&bytes, 488),
            next_free: u32_at(&bytes, 492),
        }))
    }

    fn write(&self, io: &dyn BlockIo) -> FsResult<()> {
        let mut bytes = [0u8; 8];
        bytes[..4].copy_from_slice(&self.free_count.to_le_bytes());
        bytes[4..].copy_from_slice(&self.next_free.to_le_bytes());
        io.write_at(self.offset + 488, &bytes)?;
        Ok(())
    }
}
