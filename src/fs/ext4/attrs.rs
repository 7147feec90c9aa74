//! Attributes of nodes: owner, mode, times, extended attributes, and ACLs that agree with the mode.

use super::super::{Attrs, FsResult, NodeKind, Time, show};
use super::Ext4;
use super::error::{damaged, invalid};
use super::format::{NAME_LEN, compat, ino, sb};
use super::inode::{Inode, Stamp};
use super::xattr::{self, Attr};

impl Ext4 {
    /// Gives up an inode's block of extended attributes, which others may share.
    pub(crate) fn drop_attr_block(&mut self, inode: &Inode) -> FsResult<()> {
        let at = inode.file_acl();
        if at == 0 {
            return Ok(());
        }
        let shared = xattr::read_block(&self.store.block(at)?, at, &self.sb)?.refcount;
        if shared > 1 {
            xattr::set_refcount(self.store.block_mut(at)?, shared - 1, at, &self.sb);
            Ok(())
        } else {
            self.release(at, 1)
        }
    }

    /// Gives an inode the attributes that are given, and writes it.
    pub(crate) fn apply_attrs(
        &mut self,
        number: u32,
        mut inode: Inode,
        attrs: &Attrs,
        path: &[u8],
    ) -> FsResult<()> {
        if let Some((uid, gid)) = attrs.owner {
            inode.set_owner(uid, gid);
        }
        if let Some(time) = attrs.mtime {
            inode.set_time(Stamp::Modify, time, path)?;
        }
        inode.set_time(Stamp::Change, attrs.now, path)?;
        if let Some(mode) = attrs.mode {
            inode.set_mode(inode.mode() & ino::S_IFMT | mode & 0o7777);
            self.mode_to_acl(number, &mut inode, mode, path)?;
        }
        self.write_inode(number, &inode)
    }

    /// As `chmod` does on a file with an ACL: its owner, mask and other entries follow the mode.
    fn mode_to_acl(&mut self, number: u32, inode: &mut Inode, mode: u16, path: &[u8]) -> FsResult<()> {
        let (mut attrs, _) = self.attrs(inode, number)?;
        let Some(acl) = attrs.iter_mut().find(|a| a.index == xattr::INDEX_ACL_ACCESS) else {
            return Ok(());
        };
        let Some(mut entries) = xattr::acl_entries(&acl.value) else {
            return damaged(format!("inode {number} has a wrong ACL"));
        };
        let masked = entries.iter().any(|e| e.0 == xattr::ACL_MASK);
        for e in &mut entries {
            match e.0 {
                xattr::ACL_USER_OBJ => e.1 = mode >> 6 & 7,
                xattr::ACL_GROUP_OBJ if !masked => e.1 = mode >> 3 & 7,
                xattr::ACL_MASK => e.1 = mode >> 3 & 7,
                xattr::ACL_OTHER => e.1 = mode & 7,
                _ => {}
            }
        }
        acl.value = xattr::acl_to_disk(&entries);
        self.put_attrs(number, inode, &attrs, path)
    }

    pub(crate) fn do_set_xattr(
        &mut self,
        path: &[u8],
        full: &[u8],
        value: Option<&[u8]>,
        now: Time,
    ) -> FsResult<()> {
        let (number, mut inode) = self.must_find(path)?;
        let Some((index, name)) = xattr::split_name(full) else {
            return invalid(path, format!("`{}` has no known prefix", show(full)));
        };
        if name.len() > NAME_LEN {
            return invalid(path, format!("an attribute's name has up to {NAME_LEN} bytes"));
        }
        let mut value = value.map(<[u8]>::to_vec);
        if let Some(given) = &value
            && (index == xattr::INDEX_ACL_ACCESS || index == xattr::INDEX_ACL_DEFAULT)
        {
            let Some(acl) = xattr::acl_from_xattr(given) else {
                return invalid(path, format!("`{}` is no valid ACL", show(full)));
            };
            value = Some(xattr::acl_to_disk(&acl));
            if index == xattr::INDEX_ACL_ACCESS {
                let perm = |tag| acl.iter().find(|e| e.0 == tag).map(|e| e.1 & 7);
                let group = perm(xattr::ACL_MASK).or(perm(xattr::ACL_GROUP_OBJ));
                let bits = perm(xattr::ACL_USER_OBJ).unwrap_or(0) << 6
                    | group.unwrap_or(0) << 3
                    | perm(xattr::ACL_OTHER).unwrap_or(0);
                inode.set_mode(inode.mode() & !0o777 | bits);
                // An ACL that says no more than the mode is not stored.
                if acl.len() == 3 {
                    value = None;
                }
            } else if inode.kind() != Some(NodeKind::Dir) {
                return invalid(path, "only a directory has a default ACL");
            }
        }
        let (mut attrs, _) = self.attrs(&inode, number)?;
        let before = attrs.clone();
        attrs.retain(|a| a.index != index || a.name != name);
        if let Some(value) = value {
            attrs.push(Attr {
                index,
                name: name.to_vec(),
                value,
            });
        } else if attrs.len() == before.len() && inode == self.inode(number)? {
            return Ok(());
        }
        if !self.sb.has_compat(compat::EXT_ATTR) && !attrs.is_empty() {
            let bits = self.sb.u32(sb::FEATURE_COMPAT);
            self.sb.set_u32(sb::FEATURE_COMPAT, bits | compat::EXT_ATTR);
        }
        inode.set_time(Stamp::Change, now, path)?;
        self.put_attrs(number, &mut inode, &attrs, path)?;
        self.write_inode(number, &inode)
    }

    /// Stores all attributes of an inode anew. The inode still has to be written.
    fn put_attrs(&mut self, number: u32, inode: &mut Inode, attrs: &[Attr], path: &[u8]) -> FsResult<()> {
        let Some((inside, outside)) = xattr::place(attrs, inode, &self.sb) else {
            return invalid(
                path,
                format!(
                    "its extended attributes do not fit into the inode and a block of {} bytes",
                    self.sb.block_size
                ),
            );
        };
        let old = inode.file_acl();
        let had = u64::from(old != 0);
        let shared = old != 0 && xattr::read_block(&self.store.block(old)?, old, &self.sb)?.refcount > 1;
        let place = if outside.is_empty() {
            self.drop_attr_block(inode)?;
            0
        } else if old != 0 && !shared {
            old
        } else {
            self.drop_attr_block(inode)?;
            self.allocate(self.goal(number), 1)?[0].0
        };
        if place != 0 {
            let block = xattr::build_block(&outside, place, &self.sb);
            self.store.put_block(place, block);
        }
        xattr::write_inode(inode, &inside);
        let blocks = inode.blocks(self.sb.block_size) - had.min(inode.blocks(self.sb.block_size));
        inode.set_file_acl(place);
        if inode
            .set_blocks(blocks + u64::from(place != 0), &self.sb)
            .is_none()
        {
            return invalid(path, "too large for a file system without huge_file");
        }
        Ok(())
    }
}
