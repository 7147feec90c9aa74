//! Edits, one by one, on the model.

use ceil_img::plan::{Attributes, Content, Op};
use ceil_img::values::ImagePath;

use super::model::{Body, DIR, FILE, LINK, ReadBase, Tree, below, parent};

impl Tree {
    /// Does what one edit says, or nothing and answers `None` when the edit has no place here: it would be refused,
    /// or is about the FAT.
    pub fn apply(&mut self, op: &Op, read: ReadBase<'_>) -> Option<()> {
        match op {
            Op::Put {
                at,
                content,
                attributes,
                xattrs,
                ..
            } => {
                let path = self.on_root(at, false)?;
                let bytes = bytes_of(content);
                match self.kind(&path) {
                    Some(FILE) => {
                        let now = self.now;
                        let node = self.node(&path);
                        node.body = Body::Bytes(bytes);
                        node.mtime = now;
                        self.give(&path, attributes);
                    }
                    Some(LINK) => {
                        self.drop_name(&path);
                        self.add(&path, FILE | 0o644, Body::Bytes(bytes), attributes);
                    }
                    Some(_) => return None,
                    None => {
                        self.free(&path)?;
                        self.make_parents(&path);
                        self.add(&path, FILE | 0o644, Body::Bytes(bytes), attributes);
                    }
                }
                self.set_xattrs(&path, xattrs);
            }
            Op::Dir { at, attributes } => {
                let path = self.on_root(at, false)?;
                let path = match self.kind(&path) {
                    Some(LINK) => self
                        .on_root(at, true)
                        .filter(|real| self.kind(real) == Some(DIR))?,
                    _ => path,
                };
                match self.kind(&path) {
                    Some(DIR) => self.give(&path, attributes),
                    Some(_) => return None,
                    None => {
                        self.free(&path)?;
                        self.make_parents(&path);
                        self.add(&path, DIR | 0o755, Body::Other, attributes);
                    }
                }
            }
            Op::Symlink { at, to, attributes } => {
                let path = self.on_root(at, false)?;
                let body = Body::Target(to.clone().into_bytes());
                match self.kind(&path) {
                    Some(LINK) => {
                        let old = self.node(&path).clone();
                        self.drop_name(&path);
                        self.add(&path, old.mode, body, attributes);
                        if attributes.owner.is_none() {
                            let node = self.node(&path);
                            (node.uid, node.gid) = (old.uid, old.gid);
                        }
                    }
                    Some(_) => return None,
                    None => {
                        self.free(&path)?;
                        self.make_parents(&path);
                        self.add(&path, LINK | 0o777, body, attributes);
                    }
                }
            }
            Op::Hardlink { at, to } => {
                let existing = self.on_root(to, false)?;
                let path = self.on_root(at, false)?;
                self.kind(&existing).filter(|kind| *kind != DIR)?;
                self.free(&path)?;
                self.make_parents(&path);
                self.names.insert(path.clone(), self.names[&existing]);
                let now = self.now;
                self.node(parent(&path)).mtime = now;
            }
            Op::Rename { from, to } => {
                let old = self.on_root(from, false)?;
                let new = self.on_root(to, false)?;
                self.kind(&old)?;
                self.movable(&old)?;
                self.free(&new)?;
                if below(&new, &old) {
                    return None;
                }
                self.make_parents(&new);
                let moved: Vec<(Vec<u8>, usize)> = self
                    .names
                    .iter()
                    .filter(|(name, _)| below(name, &old))
                    .map(|(name, id)| (name.clone(), *id))
                    .collect();
                self.drop_name(&old);
                for (name, id) in moved {
                    self.names.insert([&new[..], &name[old.len()..]].concat(), id);
                }
                let now = self.now;
                self.node(parent(&new)).mtime = now;
            }
            Op::Append { at, content } => {
                let path = self.on_root(at, true)?;
                self.kind(&path).filter(|kind| *kind == FILE)?;
                let id = self.names[&path];
                let mut bytes = match &self.nodes[id].body {
                    Body::Bytes(bytes) => bytes.clone(),
                    Body::Known(name, ..) => read(name.to_str()?),
                    _ => return None,
                };
                bytes.extend(bytes_of(content));
                self.nodes[id].body = Body::Bytes(bytes);
                self.nodes[id].mtime = self.now;
            }
            Op::Remove { at, recursive, .. } => {
                let path = self.on_root(at, false)?;
                let kind = self.kind(&path)?;
                self.movable(&path)?;
                if kind == DIR && !recursive {
                    let first = [&path[..], b"/"].concat();
                    let next = self.names.range(first.clone()..).next();
                    if next.is_some_and(|(name, _)| name.starts_with(&first)) {
                        return None;
                    }
                }
                self.drop_name(&path);
            }
            Op::Chmod { at, mode } => self.set(
                at,
                &Attributes {
                    mode: Some(*mode),
                    ..Attributes::default()
                },
            )?,
            Op::Chown { at, owner } => self.set(
                at,
                &Attributes {
                    owner: Some(*owner),
                    ..Attributes::default()
                },
            )?,
            Op::Mtime { at, mtime } => self.set(
                at,
                &Attributes {
                    mtime: Some(*mtime),
                    ..Attributes::default()
                },
            )?,
            Op::Xattrs { at, xattrs } => {
                let path = self.on_root(at, true)?;
                self.kind(&path).filter(|kind| matches!(*kind, DIR | FILE))?;
                self.set_xattrs(&path, xattrs);
            }
            Op::Grow { .. } => {}
            Op::KernelArgs { .. } | Op::ConfigTxt { .. } | Op::Fstab { .. } => return None,
        }
        Some(())
    }

    fn set(&mut self, at: &ImagePath, given: &Attributes) -> Option<()> {
        let path = self.on_root(at, true)?;
        self.kind(&path)?;
        self.give(&path, given);
        Some(())
    }
}

/// The bytes that an edit brings.
pub fn bytes_of(content: &Content) -> Vec<u8> {
    match content {
        Content::Inline { bytes, .. } => bytes.to_vec(),
        Content::File { path, .. } => std::fs::read(path).unwrap(),
    }
}
