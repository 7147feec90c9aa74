//! All or nothing for one operation: what it changed is taken back when it fails.

use super::super::FsResult;
use super::Ext4;
use super::dir::{Directory, Entry};
use super::group::Group;
use super::superblock::Superblock;

/// One change of the state outside the block store.
#[derive(Debug)]
pub(crate) enum Step {
    Group(u32, Group),
    /// A directory was taken among those to lay out.
    DirAdded(u32),
    DirInserted(u32, Box<[u8]>),
    DirRemoved(u32, Box<[u8]>, Entry),
    DirParent(u32, u32),
    DirDropped(u32, Directory),
}

/// Changes of the operation under way.
#[derive(Debug, Default)]
pub(crate) struct Log {
    pub(crate) steps: Vec<Step>,
    sb: Option<Superblock>,
    /// Number of groups before some were added.
    pub(crate) groups_before: Option<usize>,
}

impl Ext4 {
    /// Runs one operation; when it fails, everything is as before.
    pub(crate) fn atomically<T>(&mut self, operation: impl FnOnce(&mut Self) -> FsResult<T>) -> FsResult<T> {
        self.store.keep();
        self.undo.steps.clear();
        self.undo.sb = Some(self.sb.clone());
        self.undo.groups_before = None;
        let result = operation(self);
        if result.is_err() {
            self.roll_back();
        }
        self.store.keep();
        self.undo.steps.clear();
        result
    }

    fn roll_back(&mut self) {
        self.store.rollback();
        if let Some(sb) = self.undo.sb.take() {
            self.sb = sb;
        }
        if let Some(count) = self.undo.groups_before.take() {
            self.groups.truncate(count);
        }
        while let Some(step) = self.undo.steps.pop() {
            match step {
                Step::Group(number, before) => {
                    if let Some(group) = self.groups.get_mut(number as usize) {
                        *group = before;
                    }
                }
                Step::DirAdded(number) => {
                    if let Some(dir) = self.dirs.remove(&number) {
                        self.reserved -= dir.reserved;
                    }
                }
                Step::DirInserted(number, name) => {
                    if let Some(dir) = self.dirs.get_mut(&number) {
                        dir.remove(&name);
                    }
                    self.reserve_again(number);
                }
                Step::DirRemoved(number, name, entry) => {
                    if let Some(dir) = self.dirs.get_mut(&number) {
                        dir.insert(&name, entry);
                    }
                    self.reserve_again(number);
                }
                Step::DirParent(number, parent) => {
                    if let Some(dir) = self.dirs.get_mut(&number) {
                        dir.parent = parent;
                    }
                }
                Step::DirDropped(number, dir) => {
                    self.reserved += dir.reserved;
                    self.dirs.insert(number, dir);
                }
            }
        }
    }

    /// Sets the reservation of a directory to what it needs now.
    fn reserve_again(&mut self, number: u32) {
        if let Some(dir) = self.dirs.get_mut(&number) {
            let wants = dir.wants(&self.sb).unwrap_or(dir.reserved);
            self.reserved = self.reserved - dir.reserved + wants;
            dir.reserved = wants;
        }
    }
}
