//! The index of a hashed directory: its blocks, and the place of every name.

use super::super::super::{FsResult, show};
use super::super::extent::Mapping;
use super::super::format::{incompat, u16_at, u32_at};
use super::super::htree::{self, Hasher};
use super::super::inode::Inode;
use super::super::{bitmap, dir};
use super::Checker;

/// A block of the directory that an index entry names, and the hashes it may hold.
struct Part {
    block: u64,
    level: u8,
    /// Smallest hash.
    from: u32,
    /// Where the next block begins; `None` for the last.
    to: Option<u32>,
}

impl Checker<'_> {
    /// Walks the index of a directory whose entries were read.
    pub(super) fn index(
        &mut self,
        place: &str,
        number: u32,
        inode: &Inode,
        mapping: &Mapping,
    ) -> FsResult<()> {
        let s = &self.fs.sb;
        let blocks = inode.size() / s.block_size as u64;
        let seed = inode.seed(number, s);
        let root = self.dir_block(mapping, 0)?;
        let (version, levels) = (root[0x1C], root[0x1E]);
        let most = if s.has_incompat(incompat::LARGEDIR) { 2 } else { 1 };
        if u32_at(&root, 0x18) != 0 || root[0x1D] != 8 || root[0x1F] != 0 || levels > most {
            self.found(place, "has an index with a wrong root");
            return Ok(());
        }
        let hasher = Hasher::new(version, s)?;
        let mut seen = vec![0u8; blocks as usize / 8 + 1];
        bitmap::set(&mut seen, 0, true);
        let top = Part {
            block: 0,
            level: levels + 1,
            from: 0,
            to: None,
        };
        let mut pending = vec![top];
        while let Some(part) = pending.pop() {
            let block = self.dir_block(mapping, part.block)?;
            if part.level == 0 {
                self.leaf(place, &block, &part, hasher);
                continue;
            }
            let header = if part.block == 0 {
                htree::ROOT_HEADER
            } else {
                htree::NODE_HEADER
            };
            let bad_node =
                part.block != 0 && (u32_at(&block, 0) != 0 || usize::from(u16_at(&block, 4)) != block.len());
            let Some(entries) = htree::read_index(&block, header, seed, s).filter(|_| !bad_node) else {
                self.found(
                    place,
                    format!("has an index block {} with wrong counts or checksum", part.block),
                );
                return Ok(());
            };
            for (n, (hash, below)) in entries.iter().enumerate() {
                let from = if n == 0 { part.from } else { *hash };
                let to = entries.get(n + 1).map(|(hash, _)| *hash).or(part.to);
                let known = *below == 0 || u64::from(*below) >= blocks || bitmap::get(&seen, *below as usize);
                if known || to.is_some_and(|to| to < from) {
                    self.found(
                        place,
                        format!("has an index that is out of order at block {}", part.block),
                    );
                    return Ok(());
                }
                bitmap::set(&mut seen, *below as usize, true);
                pending.push(Part {
                    block: u64::from(*below),
                    level: part.level - 1,
                    from,
                    to,
                });
            }
        }
        if let Some(block) = bitmap::find(&seen, 0, blocks as usize, false) {
            self.found(place, format!("has a block {block} that its index does not name"));
        }
        Ok(())
    }

    /// A block of a directory without holes.
    fn dir_block(&self, mapping: &Mapping, logical: u64) -> FsResult<std::sync::Arc<[u8]>> {
        match mapping.find(logical) {
            Some((physical, _)) => self.fs.store.block(physical),
            None => super::super::error::damaged(format!("a directory has no block {logical}")),
        }
    }

    fn leaf(&mut self, place: &str, block: &[u8], part: &Part, hasher: Hasher) {
        for name in dir::names(block) {
            let (hash, _) = hasher.hash(name);
            // A set low bit says that the first hash of the next block ends this one.
            let below = part
                .to
                .is_none_or(|to| hash < to & !1 || (hash == to & !1 && to & 1 == 1));
            if hash < part.from & !1 || !below {
                self.found(
                    place,
                    format!(
                        "has `{}` in block {}, where its hash does not belong",
                        show(name),
                        part.block
                    ),
                );
                return;
            }
        }
    }
}
