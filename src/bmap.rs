//! Block maps, as `bmaptool` writes and reads them (bmap format 2.0).
//!
//! A map says which blocks of an image matter, with a SHA-256 for each range, and carries a checksum of itself:
//! SHA-256 of the file with that checksum written as zeroes.

use std::fmt::Write as _;
use std::ops::Range;

use crate::values::Digest;

/// Bytes of one block of a map. `bmaptool` uses the block size of the file system it runs on, nearly always this.
pub const BLOCK: u64 = 4096;

/// A range of blocks that matters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BmapRange {
    /// Bytes of the image: starts on a block, ends on a block or at the end of the image.
    pub bytes: Range<u64>,
    /// SHA-256 of those bytes.
    pub digest: Digest,
}

/// The map of one image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bmap {
    /// Length of the image in bytes.
    pub image_len: u64,
    /// Ranges, ascending, not touching each other.
    pub ranges: Vec<BmapRange>,
}

impl Bmap {
    /// Bytes that matter.
    #[must_use]
    pub fn mapped(&self) -> u64 {
        self.ranges.iter().map(|r| r.bytes.end - r.bytes.start).sum()
    }

    /// The XML text.
    #[must_use]
    pub fn to_xml(&self) -> String {
        let zeroes = "0".repeat(64);
        let text = self.text(&zeroes);
        let digest = Digest::sha256(text.as_bytes()).hex();
        // The checksum stands on one line only: it is a digest of 64 zeroes' worth of text around it.
        text.replacen(&zeroes, &digest, 1)
    }

    fn text(&self, checksum: &str) -> String {
        let blocks = self.image_len.div_ceil(BLOCK);
        let mapped: u64 = self
            .ranges
            .iter()
            .map(|r| (r.bytes.end - r.bytes.start).div_ceil(BLOCK))
            .sum();
        let mut xml = String::new();
        xml.push_str("<?xml version=\"1.0\" ?>\n<bmap version=\"2.0\">\n");
        let mut element = |name: &str, value: &str| {
            // Writing to a String cannot fail.
            let _ = writeln!(xml, "    <{name}> {value} </{name}>");
        };
        element("ImageSize", &self.image_len.to_string());
        element("BlockSize", &BLOCK.to_string());
        element("BlocksCount", &blocks.to_string());
        element("MappedBlocksCount", &mapped.to_string());
        element("ChecksumType", "sha256");
        element("BmapFileChecksum", checksum);
        xml.push_str("    <BlockMap>\n");
        for range in &self.ranges {
            let first = range.bytes.start / BLOCK;
            let last = range.bytes.end.div_ceil(BLOCK) - 1;
            let blocks = if first == last {
                first.to_string()
            } else {
                format!("{first}-{last}")
            };
            let _ = writeln!(
                xml,
                "        <Range chksum=\"{}\"> {blocks} </Range>",
                range.digest.hex()
            );
        }
        xml.push_str("    </BlockMap>\n</bmap>\n");
        xml
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_carries_its_own_checksum() {
        let bmap = Bmap {
            image_len: 10_000,
            ranges: vec![
                BmapRange {
                    bytes: 0..4096,
                    digest: Digest::sha256(&[1; 4096]),
                },
                BmapRange {
                    bytes: 8192..10_000,
                    digest: Digest::sha256(&[2; 1808]),
                },
            ],
        };
        let xml = bmap.to_xml();
        let field = xml
            .split("BmapFileChecksum> ")
            .nth(1)
            .expect("field")
            .split(' ')
            .next()
            .expect("value");
        let blank = xml.replacen(field, &"0".repeat(64), 1);
        assert_eq!(Digest::sha256(blank.as_bytes()).hex(), field);
        assert!(xml.contains("<BlocksCount> 3 </BlocksCount>"));
        assert!(xml.contains("<MappedBlocksCount> 2 </MappedBlocksCount>"));
        assert!(xml.contains("> 0 </Range>") && xml.contains("> 2 </Range>"));
        assert_eq!(bmap.mapped(), 5904);
    }
}
