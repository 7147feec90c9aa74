//! The structures of FAT as tables of fields.
//!
//! Names and offsets after Microsoft's "FAT: General Overview of On-Disk Format" 1.03; `DIR_CrtTimeTenth` and the
//! case flags of `DIR_NTRes` as Windows and Linux use them.

use crate::disk::dump::Show::{Bytes, Dec, Flags, Hex, Text};
use crate::disk::dump::{Field, Layout, Show};

const fn f(at: usize, len: usize, name: &'static str, show: Show, meaning: &'static str) -> Field {
    Field::new(at, len, name, show, meaning)
}

const STATE: Show = Flags(&[(1, "not unmounted"), (2, "surface to be tested")]);

/// The boot sector up to offset 36, the same for all widths.
pub(super) const BOOT: Layout = Layout::little(&[
    f(0, 3, "BS_jmpBoot", Bytes, ""),
    f(3, 8, "BS_OEMName", Text, ""),
    f(11, 2, "BPB_BytsPerSec", Dec, "bytes of a sector"),
    f(13, 1, "BPB_SecPerClus", Dec, "sectors of a cluster"),
    f(14, 2, "BPB_RsvdSecCnt", Dec, "sectors before the first FAT"),
    f(16, 1, "BPB_NumFATs", Dec, "copies of the FAT"),
    f(17, 2, "BPB_RootEntCnt", Dec, "slots of the fixed root directory"),
    f(19, 2, "BPB_TotSec16", Dec, "sectors, 0 when in BPB_TotSec32"),
    f(21, 1, "BPB_Media", Hex, ""),
    f(22, 2, "BPB_FATSz16", Dec, "sectors of a FAT, 0 on FAT32"),
    f(24, 2, "BPB_SecPerTrk", Dec, ""),
    f(26, 2, "BPB_NumHeads", Dec, ""),
    f(28, 4, "BPB_HiddSec", Dec, "sectors before the partition"),
    f(32, 4, "BPB_TotSec32", Dec, "sectors, 0 when in BPB_TotSec16"),
]);

/// From offset 36 on with FAT12 and FAT16.
pub(super) const EXTENDED: Layout = Layout::little(&[
    f(0, 1, "BS_DrvNum", Hex, ""),
    f(1, 1, "BS_Reserved1", STATE, ""),
    f(2, 1, "BS_BootSig", Hex, ""),
    f(3, 4, "BS_VolID", Hex, "serial number"),
    f(7, 11, "BS_VolLab", Text, ""),
    f(18, 8, "BS_FilSysType", Text, ""),
]);

/// From offset 36 on with FAT32; [`EXTENDED`] follows at 64.
pub(super) const FAT32: Layout = Layout::little(&[
    f(0, 4, "BPB_FATSz32", Dec, "sectors of a FAT"),
    f(4, 2, "BPB_ExtFlags", Hex, ""),
    f(6, 2, "BPB_FSVer", Dec, ""),
    f(8, 4, "BPB_RootClus", Dec, "first cluster of the root directory"),
    f(12, 2, "BPB_FSInfo", Dec, "sector of FSInfo"),
    f(14, 2, "BPB_BkBootSec", Dec, "sector of the copy of this one"),
    f(16, 12, "BPB_Reserved", Bytes, ""),
]);

/// Offset of [`FAT32`], and of [`EXTENDED`] below FAT32.
pub(super) const BEHIND_BOOT: usize = 36;
/// Offset of [`EXTENDED`] with FAT32.
pub(super) const BEHIND_FAT32: usize = 64;

/// The end of the boot sector.
pub(super) const SIGNATURE: Layout = Layout::little(&[f(0, 2, "Signature_word", Hex, "0xaa55 is right")]);

/// FSInfo.
pub(super) const FS_INFO: Layout = Layout::little(&[
    f(0, 4, "FSI_LeadSig", Hex, "0x41615252 is right"),
    f(4, 480, "FSI_Reserved1", Bytes, ""),
    f(484, 4, "FSI_StrucSig", Hex, "0x61417272 is right"),
    f(488, 4, "FSI_Free_Count", Dec, "free clusters"),
    f(492, 4, "FSI_Nxt_Free", Dec, "where to look for a free cluster"),
    f(496, 12, "FSI_Reserved2", Bytes, ""),
    f(508, 4, "FSI_TrailSig", Hex, "0xaa550000 is right"),
]);

/// A directory slot with a short name.
pub(super) const SHORT: Layout = Layout::little(&[
    f(0, 11, "DIR_Name", Text, ""),
    f(11, 1, "DIR_Attr", Hex, ""),
    f(12, 1, "DIR_NTRes", Hex, ""),
    f(13, 1, "DIR_CrtTimeTenth", Dec, ""),
    f(14, 2, "DIR_CrtTime", Hex, ""),
    f(16, 2, "DIR_CrtDate", Hex, ""),
    f(18, 2, "DIR_LstAccDate", Hex, ""),
    f(20, 2, "DIR_FstClusHI", Dec, ""),
    f(22, 2, "DIR_WrtTime", Hex, ""),
    f(24, 2, "DIR_WrtDate", Hex, ""),
    f(26, 2, "DIR_FstClusLO", Dec, ""),
    f(28, 4, "DIR_FileSize", Dec, ""),
]);

/// A directory slot with a part of a long name.
pub(super) const LONG: Layout = Layout::little(&[
    f(0, 1, "LDIR_Ord", Hex, ""),
    f(1, 10, "LDIR_Name1", Bytes, ""),
    f(11, 1, "LDIR_Attr", Hex, ""),
    f(12, 1, "LDIR_Type", Dec, ""),
    f(13, 1, "LDIR_Chksum", Hex, ""),
    f(14, 12, "LDIR_Name2", Bytes, ""),
    f(26, 2, "LDIR_FstClusLO", Dec, ""),
    f(28, 4, "LDIR_Name3", Bytes, ""),
]);
