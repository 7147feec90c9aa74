//! How much room an edit list needs, and how far the root volume must grow for it: pure arithmetic.

use crate::fs::Space;
use crate::plan::{Edit, GrowRule, Op};
use crate::values::VolumeName;

/// Growth is rounded up to whole erase blocks of common cards.
pub const GROW_STEP: u64 = 4 << 20;

/// What edits need of the root volume at most. Space that they free is not counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Need {
    /// Bytes in whole blocks, with directories and extent trees.
    pub bytes: u64,
    /// New inodes.
    pub inodes: u64,
}

/// Adds up what edits need. `on_root` says whether an edit's path lies on the root volume.
#[must_use]
pub fn need(edits: &[Edit], block_size: u64, on_root: &dyn Fn(&crate::values::ImagePath) -> bool) -> Need {
    let block = block_size.max(1);
    let whole = |len: u64| len.div_ceil(block).saturating_mul(block);
    let mut total = Need::default();
    // Names are counted at 280 bytes, more than the longest entry; a directory of its own takes one block.
    let mut names: u64 = 0;
    let mut add = |bytes: u64, inodes: u64| {
        total.bytes = total.bytes.saturating_add(bytes);
        total.inodes += inodes;
    };
    for edit in edits {
        match &edit.op {
            Op::Put {
                at, content, xattrs, ..
            } if on_root(at) => {
                // An extent covers 32768 blocks at best and one block at worst: one index block for each 32 MiB
                // is more than any layout here needs.
                let index = (content.len() >> 25) + u64::from(content.len() > 4 * block);
                add(whole(content.len()) + index * block, 1);
                add(u64::from(!xattrs.is_empty()) * block, 0);
                names += 280;
            }
            Op::Dir { at, .. } if on_root(at) => {
                add(block, 1);
                names += 280;
            }
            Op::Symlink { at, to, .. } if on_root(at) => {
                add(if to.len() < 60 { 0 } else { block }, 1);
                names += 280;
            }
            Op::Hardlink { at, .. } if on_root(at) => names += 280,
            Op::Rename { to, .. } if on_root(to) => names += 280,
            Op::Append { at, content } if on_root(at) => add(whole(content.len()) + block, 0),
            Op::Xattrs { at, .. } if on_root(at) => add(block, 0),
            Op::Fstab { .. } => add(block, 0),
            _ => {}
        }
    }
    add(whole(names) + 16 * block, 8);
    total
}

/// What the edits and the profile ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wish {
    /// Grow by at least this.
    pub by: u64,
    /// Leave at least this free.
    pub free: u64,
}

/// The `grow` edits and the profile's reserve, taken together: the largest of each kind counts.
#[must_use]
pub fn wish(edits: &[Edit], reserve: u64) -> Wish {
    let mut wish = Wish { by: 0, free: reserve };
    for edit in edits {
        match &edit.op {
            Op::Grow {
                root: GrowRule::By(size),
            } => wish.by = wish.by.max(size.0),
            Op::Grow {
                root: GrowRule::Free(size),
            } => wish.free = wish.free.max(size.0),
            _ => {}
        }
    }
    wish
}

/// How many bytes the root partition must grow, a multiple of [`GROW_STEP`]; 0 when nothing is to be done.
#[must_use]
pub fn decide(space: &Space, need: &Need, wish: &Wish) -> u64 {
    let mut by = wish.by;
    let missing = need.bytes.saturating_add(wish.free).saturating_sub(space.free);
    if missing > 0 {
        // New groups bring their own inode tables and bitmaps: 256 bytes an inode and a few blocks a group.
        let overhead = space.inodes.saturating_mul(256).saturating_add(space.total / 64);
        let usable = space.total.saturating_sub(overhead).max(space.total / 4).max(1);
        let scaled = u128::from(missing) * u128::from(space.total) / u128::from(usable);
        by = by.max(u64::try_from(scaled).unwrap_or(u64::MAX));
    }
    let missing_inodes = need.inodes.saturating_sub(space.inodes_free);
    if missing_inodes > 0 && space.inodes > 0 {
        // A group's inodes come as a whole, and a partial last group may bring none.
        let per_inode = space.total.div_ceil(space.inodes);
        let group = space
            .block_size
            .saturating_mul(space.block_size)
            .saturating_mul(8);
        by = by.max(
            missing_inodes
                .saturating_mul(per_inode)
                .div_ceil(group.max(1))
                .saturating_add(1)
                .saturating_mul(group),
        );
    }
    by.div_ceil(GROW_STEP).saturating_mul(GROW_STEP)
}

/// Whether an image path lies on the root volume when plain paths below `boot_mount` are on the FAT.
#[must_use]
pub fn on_root(at: &crate::values::ImagePath, boot_mount: Option<&str>) -> bool {
    match at.volume {
        Some(volume) => volume == VolumeName::Root,
        None => !boot_mount.is_some_and(|mount| super::below(at.path(), mount)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Attributes, Content, Origin};
    use crate::values::ByteSize;

    const MIB: u64 = 1 << 20;

    fn space(free: u64) -> Space {
        Space {
            block_size: 4096,
            total: 1024 * MIB,
            free,
            inodes: 65_536,
            inodes_free: 60_000,
        }
    }

    #[test]
    fn nothing_grows_when_everything_fits() {
        let need = Need {
            bytes: 10 * MIB,
            inodes: 5,
        };
        assert_eq!(
            decide(
                &space(100 * MIB),
                &need,
                &Wish {
                    by: 0,
                    free: 64 * MIB
                }
            ),
            0
        );
    }

    #[test]
    fn a_wish_is_rounded_up_to_erase_blocks() {
        assert_eq!(
            decide(
                &space(100 * MIB),
                &Need::default(),
                &Wish { by: 5 * MIB, free: 0 }
            ),
            8 * MIB
        );
    }

    #[test]
    fn what_is_missing_comes_with_room_for_its_own_tables() {
        let need = Need {
            bytes: 200 * MIB,
            inodes: 5,
        };
        let by = decide(
            &space(100 * MIB),
            &need,
            &Wish {
                by: 0,
                free: 64 * MIB,
            },
        );
        assert!((164 * MIB..190 * MIB).contains(&by), "{by}");
    }

    #[test]
    fn missing_inodes_bring_whole_groups() {
        let need = Need {
            bytes: 0,
            inodes: 60_001,
        };
        let by = decide(&space(100 * MIB), &need, &Wish::default());
        assert_eq!(by, 256 * MIB);
    }

    #[test]
    fn payload_counts_in_whole_blocks_on_the_root_volume_only() {
        let edit = |at: &str, len: usize| Edit {
            op: Op::Put {
                at: at.parse().expect("path"),
                content: Content::inline(&vec![0; len]),
                attributes: Attributes::default(),
                xattrs: Vec::new(),
                sparse: false,
            },
            origin: Origin {
                file: "x".to_owned(),
                line: 1,
            },
        };
        let edits = [
            edit("root:/a", 4097),
            edit("boot:/b", 9000),
            edit("/boot/firmware/c", 9000),
        ];
        let on_root = |at: &crate::values::ImagePath| on_root(at, Some("/boot/firmware"));
        let base = need(&[], 4096, &on_root);
        let with = need(&edits, 4096, &on_root);
        assert_eq!(with.inodes - base.inodes, 1);
        assert_eq!(with.bytes - base.bytes, 8192 + 4096);
        let grow = Edit {
            op: Op::Grow {
                root: GrowRule::Free(ByteSize(7)),
            },
            origin: Origin {
                file: "x".to_owned(),
                line: 1,
            },
        };
        assert_eq!(wish(&[grow], 5), Wish { by: 0, free: 7 });
    }
}
