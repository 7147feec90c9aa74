//! What an edit list should leave on the root volume: a second interpreter of edits, on maps.
//!
//! It starts from an outsider's view of the base and knows nothing of ext4 or of the editor.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use ceil_img::plan::{Attributes, Xattr};
use ceil_img::values::{Digest, ImagePath, Timestamp, VolumeName};

use crate::support::judge::{Content, Entry};

const TYPE: u32 = 0o170_000;
pub(super) const DIR: u32 = 0o040_000;
pub(super) const FILE: u32 = 0o100_000;
pub(super) const LINK: u32 = 0o120_000;
const ACCESS_ACL: &[u8] = b"system.posix_acl_access";

/// What a node holds.
#[derive(Debug, Clone)]
pub(super) enum Body {
    /// A file of the base: its name there, its length and its digest.
    Known(PathBuf, u64, Digest),
    Bytes(Vec<u8>),
    Target(Vec<u8>),
    Other,
}

#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mtime: (i64, i64),
    pub(super) rdev: u64,
    pub(super) body: Body,
    pub(super) xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// Names, and the nodes that they stand for.
#[derive(Clone)]
pub struct Tree {
    pub(super) names: BTreeMap<Vec<u8>, usize>,
    pub(super) nodes: Vec<Node>,
    pub(super) now: (i64, i64),
    /// Where the FAT is mounted: what is below is hidden.
    mount: String,
}

/// Reads a file of the base, for those that are appended to.
pub type ReadBase<'a> = &'a dyn Fn(&str) -> Vec<u8>;

pub(super) fn parent(path: &[u8]) -> &[u8] {
    match path.iter().rposition(|b| *b == b'/') {
        Some(0) | None => b"/",
        Some(end) => &path[..end],
    }
}

pub(super) fn below(path: &[u8], dir: &[u8]) -> bool {
    dir == b"/"
        || path
            .strip_prefix(dir)
            .is_some_and(|rest| rest.first().is_none_or(|b| *b == b'/'))
}

impl Tree {
    /// The base as it was seen; new times are `now`.
    pub fn new(view: &[Entry], now: Timestamp, mount: &str) -> Self {
        let mut tree = Self {
            names: BTreeMap::new(),
            nodes: Vec::new(),
            now: stamp(now),
            mount: mount.to_owned(),
        };
        for entry in view {
            let first = entry.first_name.as_os_str().as_bytes();
            let id = tree.names.get(first).copied().unwrap_or(tree.nodes.len());
            tree.names.insert(entry.path.as_os_str().as_bytes().to_vec(), id);
            if id == tree.nodes.len() {
                tree.nodes.push(Node {
                    mode: entry.mode,
                    uid: entry.uid,
                    gid: entry.gid,
                    mtime: entry.mtime,
                    rdev: entry.rdev,
                    body: match &entry.content {
                        Content::File(digest) => Body::Known(entry.path.clone(), entry.size, digest.clone()),
                        Content::Symlink(to) => Body::Target(to.as_os_str().as_bytes().to_vec()),
                        Content::Other => Body::Other,
                    },
                    xattrs: entry.xattrs.iter().cloned().collect(),
                });
            }
        }
        tree
    }

    /// What an outsider should see, sorted as [`crate::support::judge::kernel_view`] sorts.
    pub fn view(&self) -> Vec<Entry> {
        let mut links: BTreeMap<usize, u64> = BTreeMap::new();
        for (name, id) in &self.names {
            *links.entry(*id).or_default() += 1;
            if self.nodes[*id].mode & TYPE == DIR {
                // Its own dot, and a subdirectory's two dots.
                *links.entry(*id).or_default() += 1;
                if name != b"/" {
                    *links.entry(self.names[parent(name)]).or_default() += 1;
                }
            }
        }
        let mut names: Vec<(PathBuf, usize)> = self
            .names
            .iter()
            .map(|(name, id)| (PathBuf::from(OsStr::from_bytes(name)), *id))
            .collect();
        names.sort();
        let mut first: BTreeMap<usize, PathBuf> = BTreeMap::new();
        names
            .into_iter()
            .map(|(path, id)| {
                let node = &self.nodes[id];
                let (size, content) = match &node.body {
                    Body::Known(_, len, digest) => (*len, Content::File(digest.clone())),
                    Body::Bytes(bytes) => (bytes.len() as u64, Content::File(Digest::sha256(bytes))),
                    Body::Target(to) => (to.len() as u64, Content::Symlink(OsStr::from_bytes(to).into())),
                    Body::Other => (0, Content::Other),
                };
                Entry {
                    first_name: first.entry(id).or_insert_with(|| path.clone()).clone(),
                    path,
                    mode: node.mode,
                    uid: node.uid,
                    gid: node.gid,
                    size,
                    mtime: node.mtime,
                    links: links[&id],
                    rdev: node.rdev,
                    content,
                    xattrs: node.xattrs.clone().into_iter().collect(),
                }
            })
            .collect()
    }

    /// Names that an edit may be about: of a type (`d`, `f`, `l`), in UTF-8, and none that the FAT hides.
    pub fn names(&self, kind: char) -> Vec<String> {
        let wanted = match kind {
            'd' => DIR,
            'f' => FILE,
            _ => LINK,
        };
        self.names
            .iter()
            .filter(|(name, id)| {
                self.nodes[**id].mode & TYPE == wanted
                    && **name != b"/"
                    && !below(name, b"/lost+found")
                    && !below(name, self.mount.as_bytes())
            })
            .filter_map(|(name, _)| String::from_utf8(name.clone()).ok())
            .collect()
    }

    pub(super) fn kind(&self, path: &[u8]) -> Option<u32> {
        self.names.get(path).map(|id| self.nodes[*id].mode & TYPE)
    }

    pub(super) fn node(&mut self, path: &[u8]) -> &mut Node {
        let id = self.names[path];
        &mut self.nodes[id]
    }

    /// The path without symlinks, as a process in a `chroot` would come by it; `None` where it would fail.
    fn resolve(&self, path: &str, last: bool) -> Option<Vec<u8>> {
        let mut todo: Vec<Vec<u8>> = path.split('/').rev().map(|c| c.as_bytes().to_vec()).collect();
        let mut at: Vec<u8> = b"/".to_vec();
        let mut links = 0;
        while let Some(name) = todo.pop() {
            match &name[..] {
                b"" | b"." => continue,
                b".." => {
                    at = parent(&at).to_vec();
                    continue;
                }
                _ => {}
            }
            let next = [&at[..], if at == b"/" { b"" } else { b"/" }, &name].concat();
            let more = todo.iter().any(|c| !c.is_empty());
            let id = self.names.get(&next).copied();
            match id.map(|id| &self.nodes[id]) {
                Some(Node {
                    body: Body::Target(to),
                    ..
                }) if more || last => {
                    links += 1;
                    if links > 40 {
                        return None;
                    }
                    if to[0] == b'/' {
                        at = b"/".to_vec();
                    }
                    todo.extend(to.split(|b| *b == b'/').rev().map(<[u8]>::to_vec));
                }
                Some(node) if more && node.mode & TYPE != DIR => return None,
                _ => at = next,
            }
        }
        Some(at)
    }

    /// Where an edit's path leads: on this volume, or on the FAT; `None` when the edit is to be refused.
    pub fn place(&self, at: &ImagePath, last: bool) -> Option<(VolumeName, Vec<u8>)> {
        if at.volume == Some(VolumeName::Boot) {
            return Some((VolumeName::Boot, at.path().as_bytes().to_vec()));
        }
        let real = self.resolve(at.path(), last)?;
        if !below(&real, self.mount.as_bytes()) {
            return Some((VolumeName::Root, real));
        }
        let rest = &real[self.mount.len()..];
        (at.volume.is_none() && !rest.is_empty()).then(|| (VolumeName::Boot, rest.to_vec()))
    }

    pub(super) fn on_root(&self, at: &ImagePath, last: bool) -> Option<Vec<u8>> {
        match self.place(at, last)? {
            (VolumeName::Root, path) => Some(path),
            (VolumeName::Boot, _) => None,
        }
    }

    /// Whether a name may come or go here: the parents are directories, or can be made.
    pub(super) fn free(&self, path: &[u8]) -> Option<()> {
        let mut up = parent(path);
        while self.kind(up).is_none() {
            up = parent(up);
        }
        // A symlink that leads nowhere may hold a longer name than a directory can.
        let fits = path.split(|b| *b == b'/').all(|name| name.len() <= 255);
        (self.kind(up) == Some(DIR) && self.kind(path).is_none() && fits).then_some(())
    }

    /// Whether a name may go: nothing that the system, the FAT's mount point or `lost+found` hangs on.
    pub(super) fn movable(&self, path: &[u8]) -> Option<()> {
        let kept = [self.mount.as_bytes(), b"/etc/fstab", b"/lost+found"];
        kept.iter().all(|k| !below(k, path)).then_some(())
    }

    pub(super) fn make_parents(&mut self, path: &[u8]) {
        let up = parent(path).to_vec();
        if self.kind(&up).is_none() {
            self.make_parents(&up);
            self.add(&up, DIR | 0o755, Body::Other, &Attributes::default());
        }
    }

    pub(super) fn add(&mut self, path: &[u8], mode: u32, body: Body, given: &Attributes) {
        let now = self.now;
        self.node(parent(path)).mtime = now;
        self.names.insert(path.to_vec(), self.nodes.len());
        self.nodes.push(Node {
            mode,
            uid: 0,
            gid: 0,
            mtime: now,
            rdev: 0,
            body,
            xattrs: BTreeMap::new(),
        });
        self.give(path, given);
    }

    pub(super) fn give(&mut self, path: &[u8], given: &Attributes) {
        let node = self.node(path);
        if let Some(mode) = given.mode {
            node.mode = node.mode & TYPE | u32::from(mode.0);
            if let Some(acl) = node.xattrs.get_mut(ACCESS_ACL) {
                mode_into_acl(mode.0, acl);
            }
        }
        if let Some(owner) = given.owner {
            (node.uid, node.gid) = (owner.uid, owner.gid);
        }
        if let Some(mtime) = given.mtime {
            node.mtime = stamp(mtime);
        }
    }

    pub(super) fn set_xattrs(&mut self, path: &[u8], xattrs: &[Xattr]) {
        let node = self.node(path);
        for Xattr { name, value } in xattrs {
            match value {
                Some(value) => node.xattrs.insert(name.clone().into_bytes(), value.clone()),
                None => node.xattrs.remove(name.as_bytes()),
            };
        }
    }

    pub(super) fn drop_name(&mut self, path: &[u8]) {
        self.names.retain(|name, _| !below(name, path));
        let now = self.now;
        self.node(parent(path)).mtime = now;
    }
}

fn stamp(time: Timestamp) -> (i64, i64) {
    (time.secs, i64::from(time.nanos))
}

/// As `chmod` does on a file with an ACL (`posix_acl_chmod`): owner, mask (or group) and others follow the mode.
/// The value is a version of 4 bytes and then entries of tag, permissions and id.
fn mode_into_acl(mode: u16, acl: &mut [u8]) {
    let tag = |entry: &[u8]| u16::from_le_bytes([entry[0], entry[1]]);
    let masked = acl[4..].chunks_exact(8).any(|entry| tag(entry) == 0x10);
    for entry in acl[4..].chunks_exact_mut(8) {
        let bits = match tag(entry) {
            0x01 => mode >> 6,
            0x04 if !masked => mode >> 3,
            0x10 => mode >> 3,
            0x20 => mode,
            _ => continue,
        };
        entry[2..4].copy_from_slice(&(bits & 7).to_le_bytes());
    }
}
