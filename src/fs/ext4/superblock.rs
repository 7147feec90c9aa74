//! The superblock: geometry, features, counts.

use super::FsResult;
use super::checksum::crc32c;
use super::error::{damaged, unsupported};
use super::format::{
    EXT4_SUPER_MAGIC, SUPERBLOCK_SIZE, compat, incompat, ino, join, ro_compat, sb, set_u16, set_u32, u16_at,
    u32_at,
};

/// Largest `s_log_block_size` of the format: blocks of 64 KiB.
const MAX_LOG_BLOCK_SIZE: u32 = 6;

/// A superblock with its geometry checked.
#[derive(Debug, Clone)]
pub(crate) struct Superblock {
    raw: Box<[u8]>,
    /// Bytes per block: 1024, 2048 or 4096 where it was parsed.
    pub(crate) block_size: usize,
    pub(crate) blocks_count: u64,
    pub(crate) free_blocks: u64,
    pub(crate) free_inodes: u32,
    pub(crate) inodes_count: u32,
    /// 1 with blocks of 1024 bytes, else 0.
    pub(crate) first_data_block: u64,
    pub(crate) blocks_per_group: u64,
    pub(crate) inodes_per_group: u32,
    pub(crate) inode_size: usize,
    /// Bytes per group descriptor: 32 or 64.
    pub(crate) desc_size: usize,
    pub(crate) first_ino: u32,
    /// Start value of every crc32c of metadata.
    pub(crate) checksum_seed: u32,
}

/// Names of the bits of one feature word; unknown ones as `dumpe2fs` prints them (`FEATURE_R21`).
fn names_of(bits: u32, names: &[&str], letter: char) -> Vec<String> {
    (0..32usize)
        .filter(|bit| bits >> bit & 1 == 1)
        .map(|bit| match names.get(bit) {
            Some(name) if !name.is_empty() => (*name).to_owned(),
            _ => format!("FEATURE_{letter}{bit}"),
        })
        .collect()
}

impl Superblock {
    /// Parses and checks the 1024 bytes of a superblock of a file system on `device_len` bytes. Whether it was
    /// unmounted cleanly is not asked.
    pub(crate) fn parse(raw: &[u8], device_len: u64) -> FsResult<Self> {
        if raw.len() != SUPERBLOCK_SIZE || u16_at(raw, sb::MAGIC) != EXT4_SUPER_MAGIC {
            return unsupported("no ext4 superblock at offset 1024");
        }
        if u32_at(raw, sb::REV_LEVEL) != 1 {
            return unsupported(format!(
                "revision {} of ext2; revision 1 is supported",
                u32_at(raw, sb::REV_LEVEL)
            ));
        }
        refuse_features(raw)?;
        let log = u32_at(raw, sb::LOG_BLOCK_SIZE);
        if log > 2 {
            return unsupported(format!(
                "log block size {log}; blocks of 1024, 2048 and 4096 bytes are supported"
            ));
        }
        let s = Self::unchecked(raw);
        if s.has_metadata_csum() {
            if raw[sb::CHECKSUM_TYPE] != 1 {
                return unsupported(format!(
                    "checksum type {}; crc32c (1) is supported",
                    raw[sb::CHECKSUM_TYPE]
                ));
            }
            let stored = u32_at(raw, sb::CHECKSUM);
            let found = crc32c(!0, &raw[..sb::CHECKSUM]);
            if stored != found {
                return damaged(format!(
                    "superblock checksum is {found:#010x}, stored is {stored:#010x}"
                ));
            }
        }
        s.check_geometry(device_len)?;
        Ok(s)
    }

    /// Takes the 1024 bytes as they are: nothing is checked, and the numbers may contradict each other.
    pub(crate) fn unchecked(raw: &[u8]) -> Self {
        let block_size = 1024usize << u32_at(raw, sb::LOG_BLOCK_SIZE).min(MAX_LOG_BLOCK_SIZE);
        let has64 = u32_at(raw, sb::FEATURE_INCOMPAT) & incompat::BIT64 != 0;
        let hi = |at: usize| if has64 { u32_at(raw, at) } else { 0 };
        let mut s = Self {
            block_size,
            blocks_count: join(u32_at(raw, sb::BLOCKS_COUNT_LO), hi(sb::BLOCKS_COUNT_HI)),
            free_blocks: join(
                u32_at(raw, sb::FREE_BLOCKS_COUNT_LO),
                hi(sb::FREE_BLOCKS_COUNT_HI),
            ),
            free_inodes: u32_at(raw, sb::FREE_INODES_COUNT),
            inodes_count: u32_at(raw, sb::INODES_COUNT),
            first_data_block: u64::from(u32_at(raw, sb::FIRST_DATA_BLOCK)),
            blocks_per_group: u64::from(u32_at(raw, sb::BLOCKS_PER_GROUP)),
            inodes_per_group: u32_at(raw, sb::INODES_PER_GROUP),
            inode_size: usize::from(u16_at(raw, sb::INODE_SIZE)),
            desc_size: if has64 {
                usize::from(u16_at(raw, sb::DESC_SIZE))
            } else {
                32
            },
            first_ino: u32_at(raw, sb::FIRST_INO),
            checksum_seed: 0,
            raw: raw.into(),
        };
        s.checksum_seed = if s.has_incompat(incompat::CSUM_SEED) {
            u32_at(raw, sb::CHECKSUM_SEED)
        } else {
            crc32c(!0, s.uuid_bytes())
        };
        s
    }

    fn check_geometry(&self, device_len: u64) -> FsResult<()> {
        let bs = self.block_size as u64;
        if self.u32(sb::CREATOR_OS) != 0 {
            return unsupported(format!(
                "made for operating system {}; Linux (0) is supported",
                self.u32(sb::CREATOR_OS)
            ));
        }
        if self.u32(sb::LOG_CLUSTER_SIZE) != self.u32(sb::LOG_BLOCK_SIZE) {
            return damaged("cluster size differs from block size without bigalloc");
        }
        if self.first_data_block != u64::from(bs == 1024) {
            return damaged(format!(
                "first data block is {}; it should be {}",
                self.first_data_block,
                u64::from(bs == 1024)
            ));
        }
        let bpg = self.blocks_per_group;
        if bpg < 256 || bpg > bs * 8 || !bpg.is_multiple_of(8) {
            return damaged(format!("{bpg} blocks per group"));
        }
        if !self.inode_size.is_power_of_two()
            || self.inode_size < ino::GOOD_OLD_SIZE
            || self.inode_size > self.block_size
        {
            return damaged(format!("inode size {}", self.inode_size));
        }
        if self.desc_size != 32 && self.desc_size != 64 {
            return unsupported(format!(
                "group descriptors of {} bytes; 32 and 64 are supported",
                self.desc_size
            ));
        }
        let ipg = self.inodes_per_group;
        if ipg == 0
            || u64::from(ipg) > bs * 8
            || !ipg.is_multiple_of(8)
            || !(ipg as usize).is_multiple_of(self.inodes_per_block())
        {
            return damaged(format!("{ipg} inodes per group"));
        }
        if self.first_ino < 11 {
            return damaged(format!("first inode is {}", self.first_ino));
        }
        match self.blocks_count.checked_mul(bs) {
            Some(need) if need <= device_len => {}
            _ => {
                return damaged(format!(
                    "the file system has {} blocks of {bs} bytes, its partition {device_len} bytes",
                    self.blocks_count
                ));
            }
        }
        if self.blocks_count <= self.first_data_block + 8 {
            return damaged(format!("{} blocks", self.blocks_count));
        }
        let inodes = u64::from(self.groups_count()) * u64::from(ipg);
        if inodes != u64::from(self.inodes_count) {
            return damaged(format!(
                "{} inodes; {} groups of {ipg} make {inodes}",
                self.inodes_count,
                self.groups_count()
            ));
        }
        if self.first_ino > self.inodes_count {
            return damaged(format!(
                "first inode is {} of {}",
                self.first_ino, self.inodes_count
            ));
        }
        if self.free_blocks > self.blocks_count || self.free_inodes > self.inodes_count {
            return damaged("more free blocks or inodes than there are");
        }
        if u64::from(self.reserved_gdt_blocks()) > bs / 4
            || self.first_data_block + 1 + self.gdt_blocks() + u64::from(self.reserved_gdt_blocks()) > bpg
        {
            return damaged("group descriptors do not fit into the first group");
        }
        Ok(())
    }

    pub(crate) fn u16(&self, at: usize) -> u16 {
        u16_at(&self.raw, at)
    }

    pub(crate) fn u32(&self, at: usize) -> u32 {
        u32_at(&self.raw, at)
    }

    pub(crate) fn set_u16(&mut self, at: usize, v: u16) {
        set_u16(&mut self.raw, at, v);
    }

    pub(crate) fn set_u32(&mut self, at: usize, v: u32) {
        set_u32(&mut self.raw, at, v);
    }

    pub(crate) fn u8(&self, at: usize) -> u8 {
        self.raw[at]
    }

    pub(crate) fn has_compat(&self, bit: u32) -> bool {
        self.u32(sb::FEATURE_COMPAT) & bit != 0
    }

    pub(crate) fn has_incompat(&self, bit: u32) -> bool {
        self.u32(sb::FEATURE_INCOMPAT) & bit != 0
    }

    pub(crate) fn has_ro_compat(&self, bit: u32) -> bool {
        self.u32(sb::FEATURE_RO_COMPAT) & bit != 0
    }

    /// Whether every metadata block carries a crc32c.
    pub(crate) fn has_metadata_csum(&self) -> bool {
        self.has_ro_compat(ro_compat::METADATA_CSUM)
    }

    /// Whether descriptors carry checksums, and so `bg_flags` and `bg_itable_unused` count.
    pub(crate) fn has_group_csum(&self) -> bool {
        self.has_ro_compat(ro_compat::METADATA_CSUM | ro_compat::GDT_CSUM)
    }

    pub(crate) fn uuid_bytes(&self) -> &[u8] {
        &self.raw[sb::UUID..sb::UUID + 16]
    }

    pub(crate) fn label(&self) -> String {
        let name = &self.raw[sb::VOLUME_NAME..sb::VOLUME_NAME + 16];
        let len = name.iter().position(|b| *b == 0).unwrap_or(name.len());
        String::from_utf8_lossy(&name[..len]).into_owned()
    }

    /// Four words of `s_hash_seed`.
    pub(crate) fn hash_seed(&self) -> [u32; 4] {
        std::array::from_fn(|i| self.u32(sb::HASH_SEED + 4 * i))
    }

    pub(crate) fn inodes_per_block(&self) -> usize {
        self.block_size / self.inode_size
    }

    /// Blocks of one group's inode table.
    pub(crate) fn itable_blocks(&self) -> u64 {
        (self.inodes_per_group as usize / self.inodes_per_block()) as u64
    }

    pub(crate) fn groups_count(&self) -> u32 {
        let groups = (self.blocks_count - self.first_data_block).div_ceil(self.blocks_per_group);
        u32::try_from(groups).unwrap_or(u32::MAX)
    }

    /// Blocks of the group descriptor table.
    pub(crate) fn gdt_blocks(&self) -> u64 {
        (u64::from(self.groups_count()) * self.desc_size as u64).div_ceil(self.block_size as u64)
    }

    pub(crate) fn reserved_gdt_blocks(&self) -> u16 {
        self.u16(sb::RESERVED_GDT_BLOCKS)
    }

    /// First block of a group.
    pub(crate) fn group_start(&self, group: u32) -> u64 {
        self.first_data_block + u64::from(group) * self.blocks_per_group
    }

    /// Number of blocks of a group: the last one may be short.
    pub(crate) fn group_len(&self, group: u32) -> u64 {
        self.blocks_per_group
            .min(self.blocks_count - self.group_start(group))
    }

    /// Whether a group starts with a copy of the superblock and the descriptors.
    pub(crate) fn has_super(&self, group: u32) -> bool {
        if group <= 1 || !self.has_ro_compat(ro_compat::SPARSE_SUPER) {
            return true;
        }
        [3u64, 5, 7].into_iter().any(|base| {
            let mut power = base;
            while power < u64::from(group) {
                power *= base;
            }
            power == u64::from(group)
        })
    }

    /// Blocks that superblock, descriptors and reserved descriptors take at the start of a group.
    pub(crate) fn super_blocks(&self, group: u32) -> u64 {
        if self.has_super(group) {
            1 + self.gdt_blocks() + u64::from(self.reserved_gdt_blocks())
        } else {
            0
        }
    }

    /// All features by name: compat, incompat, ro_compat, each by rising bit.
    pub(crate) fn features(&self) -> Vec<String> {
        let mut all = names_of(self.u32(sb::FEATURE_COMPAT), &compat::NAMES, 'C');
        all.extend(names_of(self.u32(sb::FEATURE_INCOMPAT), &incompat::NAMES, 'I'));
        all.extend(names_of(self.u32(sb::FEATURE_RO_COMPAT), &ro_compat::NAMES, 'R'));
        all
    }

    /// The bytes to write for the copy at the start of `group`.
    pub(crate) fn to_bytes(&self, group: u32) -> Vec<u8> {
        let mut raw = self.raw.to_vec();
        let has64 = self.has_incompat(incompat::BIT64);
        let mut put = |lo: usize, hi: usize, v: u64| {
            set_u32(&mut raw, lo, v as u32);
            if has64 {
                set_u32(&mut raw, hi, (v >> 32) as u32);
            }
        };
        put(sb::BLOCKS_COUNT_LO, sb::BLOCKS_COUNT_HI, self.blocks_count);
        put(
            sb::FREE_BLOCKS_COUNT_LO,
            sb::FREE_BLOCKS_COUNT_HI,
            self.free_blocks,
        );
        set_u32(&mut raw, sb::INODES_COUNT, self.inodes_count);
        set_u32(&mut raw, sb::FREE_INODES_COUNT, self.free_inodes);
        set_u16(&mut raw, sb::BLOCK_GROUP_NR, group as u16);
        if self.has_metadata_csum() {
            let crc = crc32c(!0, &raw[..sb::CHECKSUM]);
            set_u32(&mut raw, sb::CHECKSUM, crc);
        }
        raw
    }
}

fn refuse_features(raw: &[u8]) -> FsResult<()> {
    // A dirty journal or orphan file is reported by `journal`, which knows what to advise.
    let unknown = [
        names_of(
            u32_at(raw, sb::FEATURE_COMPAT) & !compat::KNOWN,
            &compat::NAMES,
            'C',
        ),
        names_of(
            u32_at(raw, sb::FEATURE_INCOMPAT) & !(incompat::KNOWN | incompat::RECOVER),
            &incompat::NAMES,
            'I',
        ),
        names_of(
            u32_at(raw, sb::FEATURE_RO_COMPAT) & !(ro_compat::KNOWN | ro_compat::ORPHAN_PRESENT),
            &ro_compat::NAMES,
            'R',
        ),
    ]
    .concat();
    if unknown.is_empty() {
        Ok(())
    } else {
        unsupported(format!("feature {}", unknown.join(", ")))
    }
}
