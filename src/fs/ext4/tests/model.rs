//! What should be in a file system: the operations of a volume on maps.

use std::collections::BTreeMap;

use super::support::Seen;
use crate::fs::{Attrs, Time};

/// One node of the model.
#[derive(Debug, Clone)]
struct Node {
    kind: char,
    mode: u32,
    owner: (u32, u32),
    mtime: Time,
    content: Vec<u8>,
    xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// The names, and the nodes that they stand for.
#[derive(Debug, Clone, Default)]
pub(super) struct Model {
    names: BTreeMap<Vec<u8>, usize>,
    nodes: Vec<Node>,
}

fn parent_of(path: &[u8]) -> Vec<u8> {
    match path.iter().rposition(|b| *b == b'/') {
        Some(0) | None => b"/".to_vec(),
        Some(end) => path[..end].to_vec(),
    }
}

/// What chmod(2) does to an ACL (acl(5)): entries of owner, mask (or group, without a mask) and others follow the mode.
fn chmod_acl(acl: &mut [u8], mode: u16) {
    const USER_OBJ: u8 = 0x01;
    const GROUP_OBJ: u8 = 0x04;
    const MASK: u8 = 0x10;
    const OTHER: u8 = 0x20;
    let has_mask = acl[4..].chunks_exact(8).any(|entry| entry[0] == MASK);
    for entry in acl[4..].chunks_exact_mut(8) {
        let shift = match entry[0] {
            USER_OBJ => 6,
            MASK => 3,
            GROUP_OBJ if !has_mask => 3,
            OTHER => 0,
            _ => continue,
        };
        entry[2] = (mode >> shift & 7) as u8;
    }
}

impl Model {
    /// Starts from what is there: hard links of the base count as one node by what the kernel says of them.
    pub(super) fn from_view(view: &BTreeMap<Vec<u8>, Seen>) -> Self {
        let mut model = Self::default();
        for (name, seen) in view {
            model.names.insert(name.clone(), model.nodes.len());
            model.nodes.push(Node {
                kind: seen.kind,
                mode: seen.mode,
                owner: seen.owner,
                mtime: seen.mtime,
                content: seen.content.clone(),
                xattrs: seen.xattrs.clone(),
            });
        }
        model
    }

    pub(super) fn view(&self) -> BTreeMap<Vec<u8>, Seen> {
        self.names
            .iter()
            .map(|(name, id)| {
                let n = &self.nodes[*id];
                let links = if n.kind == 'd' {
                    let below = |p: &Vec<u8>| p != name && p != b"/" && parent_of(p) == *name;
                    2 + self
                        .names
                        .iter()
                        .filter(|(p, i)| self.nodes[**i].kind == 'd' && below(p))
                        .count()
                } else {
                    self.names.values().filter(|i| *i == id).count()
                };
                let seen = Seen {
                    kind: n.kind,
                    mode: n.mode,
                    owner: n.owner,
                    mtime: n.mtime,
                    links: links as u64,
                    content: n.content.clone(),
                    xattrs: n.xattrs.clone(),
                };
                (name.clone(), seen)
            })
            .collect()
    }

    pub(super) fn has(&self, path: &[u8]) -> bool {
        self.names.contains_key(path)
    }

    pub(super) fn kind(&self, path: &[u8]) -> Option<char> {
        self.names.get(path).map(|id| self.nodes[*id].kind)
    }

    /// Names of one kind below the root, without `lost+found`.
    pub(super) fn all(&self, kind: char) -> Vec<Vec<u8>> {
        self.names
            .iter()
            .filter(|(n, id)| self.nodes[**id].kind == kind && !n.starts_with(b"/lost+found") && n.len() > 1)
            .map(|(n, _)| n.clone())
            .collect()
    }

    fn node(&mut self, path: &[u8]) -> &mut Node {
        let id = self.names[path];
        &mut self.nodes[id]
    }

    fn stamp_parent(&mut self, path: &[u8], now: Time) {
        self.node(&parent_of(path)).mtime = now;
    }

    fn add(&mut self, path: &[u8], kind: char, mode: u32, content: &[u8], attrs: &Attrs) {
        self.stamp_parent(path, attrs.now);
        self.names.insert(path.to_vec(), self.nodes.len());
        self.nodes.push(Node {
            kind,
            mode: attrs.mode.map_or(mode, u32::from),
            owner: attrs.owner.unwrap_or((0, 0)),
            mtime: attrs.mtime.unwrap_or(attrs.now),
            content: content.to_vec(),
            xattrs: BTreeMap::new(),
        });
    }

    pub(super) fn apply(&mut self, path: &[u8], attrs: &Attrs) {
        let node = self.node(path);
        if let Some(mode) = attrs.mode {
            node.mode = u32::from(mode);
            if let Some(acl) = node.xattrs.get_mut(&b"system.posix_acl_access"[..]) {
                chmod_acl(acl, mode);
            }
        }
        node.owner = attrs.owner.unwrap_or(node.owner);
        node.mtime = attrs.mtime.unwrap_or(node.mtime);
    }

    pub(super) fn put(&mut self, path: &[u8], content: &[u8], attrs: &Attrs) {
        if !self.has(path) {
            return self.add(path, 'f', 0o644, content, attrs);
        }
        let node = self.node(path);
        node.content = content.to_vec();
        node.mtime = attrs.now;
        self.apply(path, attrs);
    }

    pub(super) fn append(&mut self, path: &[u8], content: &[u8], attrs: &Attrs) {
        let node = self.node(path);
        node.content.extend(content);
        node.mtime = attrs.now;
        self.apply(path, attrs);
    }

    pub(super) fn make_dir(&mut self, path: &[u8], attrs: &Attrs) {
        if self.has(path) {
            self.apply(path, attrs);
        } else {
            self.add(path, 'd', 0o755, b"", attrs);
        }
    }

    pub(super) fn symlink(&mut self, path: &[u8], target: &[u8], attrs: &Attrs) {
        let mut attrs = attrs.clone();
        if self.has(path) {
            attrs.owner = attrs.owner.or(Some(self.node(path).owner));
            self.names.remove(path);
        }
        self.add(path, 'l', 0o777, target, &attrs);
    }

    pub(super) fn hard_link(&mut self, path: &[u8], existing: &[u8], now: Time) {
        let id = self.names[existing];
        self.stamp_parent(path, now);
        self.names.insert(path.to_vec(), id);
    }

    pub(super) fn rename(&mut self, from: &[u8], to: &[u8], now: Time) {
        self.stamp_parent(from, now);
        self.stamp_parent(to, now);
        let below = [from, b"/"].concat();
        let moved: Vec<Vec<u8>> = self
            .names
            .keys()
            .filter(|n| *n == from || n.starts_with(&below))
            .cloned()
            .collect();
        for old in moved {
            let id = self.names.remove(&old).unwrap();
            self.names.insert([to, &old[from.len()..]].concat(), id);
        }
    }

    pub(super) fn remove(&mut self, path: &[u8], now: Time) {
        self.stamp_parent(path, now);
        let below = [path, b"/"].concat();
        self.names.retain(|n, _| n != path && !n.starts_with(&below));
    }

    pub(super) fn set_xattr(&mut self, path: &[u8], name: &[u8], value: Option<&[u8]>) {
        let xattrs = &mut self.node(path).xattrs;
        match value {
            Some(value) => xattrs.insert(name.to_vec(), value.to_vec()),
            None => xattrs.remove(name),
        };
    }
}
