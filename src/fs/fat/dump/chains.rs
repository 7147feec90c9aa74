//! Which file or directory has which clusters: the tree is walked, and every chain followed, once.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;

use super::super::boot_sector::BootSector;
use super::super::dir;
use super::super::table::{Entry, Table};
use crate::disk::BlockIo;

/// Longest path that is written out; deeper ones are cut.
const MAX_PATH: usize = 1024;

/// A file or directory.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) path: String,
    pub(super) is_dir: bool,
    /// `DIR_FileSize`.
    pub(super) size: u64,
}

/// Clusters that follow each other, on the volume and in a chain.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) clusters: Range<u32>,
    pub(super) node: usize,
    /// Place of the first of them in the chain.
    pub(super) index: u64,
}

/// What owns clusters.
#[derive(Debug, Default)]
pub(super) struct Chains {
    pub(super) nodes: Vec<Node>,
    pub(super) runs: Vec<Run>,
    pub(super) defects: Vec<String>,
    taken: Vec<bool>,
}

/// Walks the tree of a volume whose fixed root directory, if it has one, is `root`.
pub(super) fn survey(
    io: &dyn BlockIo,
    boot: &BootSector,
    table: &Table,
    root: Option<&[u8]>,
) -> io::Result<Chains> {
    let mut found = Chains {
        taken: vec![false; boot.clusters as usize + 2],
        ..Chains::default()
    };
    // Directories whose entries are to be read, as bytes: one at a time is in memory.
    let mut pending: VecDeque<(String, Vec<u32>)> = VecDeque::new();
    match root {
        Some(bytes) => found.entries(boot, table, "", bytes, &mut pending),
        None => {
            let node = Node {
                path: "/".to_owned(),
                is_dir: true,
                size: 0,
            };
            let clusters = found.chain(boot, table, boot.root_cluster, node);
            pending.push_back((String::new(), clusters));
        }
    }
    while let Some((path, clusters)) = pending.pop_front() {
        let size = boot.cluster_bytes() as usize;
        let limit = (dir::MAX_DIR_BYTES as usize).div_ceil(size).max(1);
        let mut bytes = vec![0; clusters.len().min(limit) * size];
        for (place, cluster) in bytes.chunks_exact_mut(size).zip(&clusters) {
            io.read_at(boot.cluster_offset(*cluster), place)?;
        }
        found.entries(boot, table, &path, &bytes, &mut pending);
    }
    found.runs.sort_by_key(|run| run.clusters.start);
    Ok(found)
}

impl Chains {
    fn entries(
        &mut self,
        boot: &BootSector,
        table: &Table,
        parent: &str,
        bytes: &[u8],
        pending: &mut VecDeque<(String, Vec<u32>)>,
    ) {
        let (entries, defects) = dir::parse(bytes);
        for (slot, what) in defects {
            self.defects.push(format!("`{parent}/` slot {slot}: {what}"));
        }
        for entry in entries {
            if entry.is_dot() || entry.is_label() || entry.cluster == 0 {
                continue;
            }
            let mut path = format!("{parent}/{}", entry.name.escape_debug());
            if path.len() > MAX_PATH {
                path = format!("…/{}", entry.name.escape_debug());
            }
            let is_dir = entry.is_dir();
            let node = Node {
                path: path.clone(),
                is_dir,
                size: u64::from(entry.size),
            };
            let clusters = self.chain(boot, table, entry.cluster, node);
            if is_dir && !clusters.is_empty() {
                pending.push_back((path, clusters));
            }
        }
    }

    /// Takes the clusters of a chain, up to the first that is not its own.
    fn chain(&mut self, boot: &BootSector, table: &Table, first: u32, node: Node) -> Vec<u32> {
        let number = self.nodes.len();
        let path = node.path.clone();
        self.nodes.push(node);
        let mut clusters = Vec::new();
        let mut cluster = first;
        loop {
            let taken = self.taken.get_mut(cluster as usize);
            let Some(taken) = taken.filter(|_| boot.is_cluster(cluster)) else {
                self.defects.push(format!(
                    "the chain of `{path}` leads to cluster {cluster}, which does not exist"
                ));
                return clusters;
            };
            if *taken {
                self.defects.push(format!(
                    "the chain of `{path}` leads to cluster {cluster}, which is taken already"
                ));
                return clusters;
            }
            let entry = table.entry(cluster);
            if matches!(entry, Entry::Free | Entry::Bad) {
                self.defects.push(format!(
                    "the chain of `{path}` leads to cluster {cluster}, which is free or bad"
                ));
                return clusters;
            }
            *taken = true;
            match self.runs.last_mut() {
                Some(run) if run.node == number && run.clusters.end == cluster => run.clusters.end += 1,
                _ => self.runs.push(Run {
                    clusters: cluster..cluster + 1,
                    node: number,
                    index: clusters.len() as u64,
                }),
            }
            clusters.push(cluster);
            match entry {
                Entry::Next(next) => cluster = next,
                _ => return clusters,
            }
        }
    }
}
