//! Directories: their entries, the tree they make, and the links they give.

use std::collections::{BTreeMap, BTreeSet};

use super::super::super::{FsResult, show};
use super::super::dir::{DIR_TYPE, Directory};
use super::super::format::{incompat, ino, ro_compat, u16_at, u32_at};
use super::super::inode::Inode;
use super::Checker;

impl Checker<'_> {
    pub(super) fn directories(&mut self) -> FsResult<()> {
        let count = self.inodes.len();
        if self.inodes[ino::ROOT as usize].file_type != DIR_TYPE {
            self.found("inode 2", "should be the root directory");
        }
        let mut links = vec![0u16; count];
        // Where each directory has its name.
        let mut parents: BTreeMap<u32, u32> = BTreeMap::from([(ino::ROOT, ino::ROOT)]);
        let mut dot_dot: BTreeMap<u32, u32> = BTreeMap::new();
        let mut subdirs: BTreeMap<u32, u32> = BTreeMap::new();
        for number in 1..count as u32 {
            if self.inodes[number as usize].file_type != DIR_TYPE {
                continue;
            }
            let Some(dir) = self.read_dir(number)? else {
                continue;
            };
            dot_dot.insert(number, dir.parent);
            let below = self.entries(number, &dir, &mut links, &mut parents);
            subdirs.insert(number, below);
        }
        self.tree(&parents, &dot_dot);
        self.links(&links, &subdirs);
        Ok(())
    }

    fn read_dir(&mut self, number: u32) -> FsResult<Option<Directory>> {
        let place = format!("directory inode {number}");
        let s = &self.fs.sb;
        let (block, at) = self.fs.inode_place(number);
        let raw = self.fs.store.block(block)?[at..at + s.inode_size].to_vec();
        let inode = Inode { raw };
        // A map that cannot be read was told with the inode.
        let Ok(mapping) = self.fs.mapping(&inode, number) else {
            return Ok(None);
        };
        if let Some((first, false)) = mapping.find(0) {
            let block = self.fs.store.block(first)?;
            if let Some(what) = self.dots(&block, number) {
                self.found(&*place, what);
            }
        }
        let read = Directory::read(&inode, number, &mapping, s, &self.fs.store);
        let Some(dir) = self.soften(&place, read)? else {
            return Ok(None);
        };
        if inode.has_flag(ino::INDEX_FL) {
            self.index(&place, number, &inode, &mapping)?;
        }
        Ok(Some(dir))
    }

    /// What is wrong with the two entries that begin every directory.
    fn dots(&self, block: &[u8], number: u32) -> Option<&'static str> {
        let typed = self.fs.sb.has_incompat(incompat::FILETYPE);
        let len = usize::from(u16_at(block, 4));
        // A record that is too long or too short is told by the reader.
        let second = block.get(len..).filter(|rest| len >= 12 && rest.len() >= 12)?;
        // Names of both end with NUL, for programs that take them as such.
        for (entry, name) in [(block, &b".\0"[..]), (second, b"..\0")] {
            if u32_at(entry, 0) == 0
                || usize::from(entry[6]) + 1 != name.len()
                || !entry[8..].starts_with(name)
            {
                return Some("does not begin with `.` and `..`");
            }
            if typed && entry[7] != DIR_TYPE {
                return Some("has `.` or `..` that is no directory by its type");
            }
        }
        (u32_at(block, 0) != number).then_some("has `.` that names another inode")
    }

    /// Checks the entries of one directory. Gives the number of its subdirectories.
    fn entries(
        &mut self,
        number: u32,
        dir: &Directory,
        links: &mut [u16],
        parents: &mut BTreeMap<u32, u32>,
    ) -> u32 {
        let typed = self.fs.sb.has_incompat(incompat::FILETYPE);
        let mut below = 0;
        for (name, entry) in &dir.entries {
            let place = || format!("directory inode {number}, entry `{}`", show(name));
            let known = self.inodes[entry.inode as usize];
            if known.file_type == 0 || self.fs.sb.is_reserved(entry.inode) {
                self.found(
                    place(),
                    format!("names inode {}, which is free or reserved", entry.inode),
                );
                continue;
            }
            if typed && entry.file_type != known.file_type {
                self.found(
                    place(),
                    format!(
                        "has file type {}; {} would be right",
                        entry.file_type, known.file_type
                    ),
                );
            }
            let count = &mut links[entry.inode as usize];
            *count = count.saturating_add(1);
            if known.file_type == DIR_TYPE {
                below += 1;
                if parents.insert(entry.inode, number).is_some() {
                    self.found(
                        place(),
                        format!("is a second name of directory inode {}", entry.inode),
                    );
                }
            }
        }
        below
    }

    /// Every directory leads to the root, and `..` is where its name is.
    fn tree(&mut self, parents: &BTreeMap<u32, u32>, dot_dot: &BTreeMap<u32, u32>) {
        let mut rooted = BTreeSet::from([ino::ROOT]);
        for (number, stored) in dot_dot {
            let place = format!("directory inode {number}");
            let Some(parent) = parents.get(number) else {
                // Told with the links: nothing names it.
                continue;
            };
            if parent != stored {
                self.found(
                    &*place,
                    format!("`..` names inode {stored}; {parent} would be right"),
                );
            }
            let mut path = Vec::new();
            let mut at = *number;
            while !rooted.contains(&at) {
                path.push(at);
                match parents.get(&at) {
                    // A path longer than there are directories goes in circles.
                    Some(parent) if path.len() <= dot_dot.len() => at = *parent,
                    _ => break,
                }
            }
            if rooted.contains(&at) {
                rooted.extend(path);
            } else {
                self.found(place, "is not below the root directory");
            }
        }
    }

    fn links(&mut self, links: &[u16], subdirs: &BTreeMap<u32, u32>) {
        let s = &self.fs.sb;
        let inodes = std::mem::take(&mut self.inodes);
        for (number, (known, names)) in inodes.iter().zip(links).enumerate().skip(1) {
            let inode = number as u32;
            if known.file_type == 0 || (s.is_reserved(inode) && inode != ino::ROOT) {
                continue;
            }
            let place = format!("inode {number}");
            if *names == 0 && inode != ino::ROOT {
                self.found(place, "is in use and has no name in any directory");
                continue;
            }
            let wanted = if known.file_type == DIR_TYPE {
                let Some(below) = subdirs.get(&inode) else {
                    // The directory could not be read.
                    continue;
                };
                2 + below
            } else {
                u32::from(*names)
            };
            let stored = u32::from(known.links);
            // One link says "too many to count" (`dir_nlink`).
            let uncounted =
                known.file_type == DIR_TYPE && stored == 1 && s.has_ro_compat(ro_compat::DIR_NLINK);
            if stored != wanted && !uncounted {
                self.found(place, format!("counts {stored} links; {wanted} would be right"));
            }
        }
        self.inodes = inodes;
    }
}
