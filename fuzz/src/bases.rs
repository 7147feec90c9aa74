//! Small images made by the real tools (`bases.sh`), unpacked once.

use std::io::Read as _;
use std::sync::{Arc, LazyLock};

use ceil_img::disk::{Bytes, Source};

use crate::layout::Layout;

macro_rules! packed {
    ($($name:literal),*) => {
        [$(($name, include_bytes!(concat!("../bases/", $name, ".xz")).as_slice())),*]
    };
}

/// A good ext4 file system, and where everything in it stands.
pub struct Ext4 {
    /// Its name among the bases.
    pub name: &'static str,
    /// Its bytes.
    pub image: Arc<dyn Source>,
    /// Its structures.
    pub layout: Layout,
}

/// Clean ext4 file systems in all layouts.
pub static EXT4: LazyLock<Vec<Ext4>> = LazyLock::new(|| {
    ext4(&packed!(
        "ext4-csum1k",
        "ext4-csum4k",
        "ext4-crc16",
        "ext4-plain",
        "ext4-groups",
        "ext4-deep",
        "ext4-journal"
    ))
});

/// A clean one with a journal, and two with transactions to replay: without checksums and with those of version 3.
pub static JOURNALS: LazyLock<Vec<Ext4>> =
    LazyLock::new(|| ext4(&packed!("ext4-journal", "ext4-journal-plain", "ext4-journal-v3")));

/// FAT12, FAT16 and FAT32.
pub static FAT: LazyLock<Vec<Arc<dyn Source>>> = LazyLock::new(|| {
    let all = packed!("fat-12", "fat-16", "fat-32").map(|(_, data)| Bytes::shared(&unpack(data)));
    all.to_vec()
});

/// An image with an MBR of two partitions.
pub static MBR: LazyLock<Vec<u8>> = LazyLock::new(|| unpack(packed!("table-dos")[0].1));

/// An image with a GPT of two partitions.
pub static GPT: LazyLock<Vec<u8>> = LazyLock::new(|| unpack(packed!("table-gpt")[0].1));

fn ext4(packed: &[(&'static str, &'static [u8])]) -> Vec<Ext4> {
    let base = |(name, data): &(&'static str, &'static [u8])| {
        let bytes = unpack(data);
        Ext4 {
            name,
            layout: Layout::of(&bytes),
            image: Bytes::shared(&bytes),
        }
    };
    packed.iter().map(base).collect()
}

fn unpack(data: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    liblzma::read::XzDecoder::new(data)
        .read_to_end(&mut bytes)
        .expect("a base unpacks");
    bytes
}
