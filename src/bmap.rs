//! Block maps, as `bmaptool` writes and reads them (bmap format 2.0).
//!
//! A map says which blocks of an image matter, with a SHA-256 for each range, and carries a checksum of itself:
//! SHA-256 of the file with that checksum written as zeroes.

use std::fmt::Write as _;
use std::ops::Range;

use crate::values::Digest;

/// Why a block map cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BmapError {
    /// It is no XML.
    #[error("it is no XML: {0}")]
    Xml(#[from] roxmltree::Error),
    /// Something of it is missing or out of place.
    #[error("it is no block map of version 2: {0}")]
    Malformed(String),
    /// Its digest of itself is wrong.
    #[error("it was changed: its own SHA-256 is not the one that it says")]
    Changed,
}

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
    /// Reads a map, also one that `bmaptool` made, and checks its digest of itself.
    ///
    /// # Errors
    /// [`BmapError`]; digests other than SHA-256 are not supported.
    pub fn parse(text: &str) -> Result<Self, BmapError> {
        let wrong = |what: &str| BmapError::Malformed(what.to_owned());
        let document = roxmltree::Document::parse(text)?;
        let root = document.root_element();
        if root.tag_name().name() != "bmap" || !root.attribute("version").is_some_and(|v| v.starts_with("2."))
        {
            return Err(wrong("the version"));
        }
        let value = |name: &str| {
            root.children()
                .find(|child| child.has_tag_name(name))
                .and_then(|child| child.text())
                .map(str::trim)
                .ok_or_else(|| BmapError::Malformed(format!("`{name}` is missing")))
        };
        if value("ChecksumType")? != "sha256" {
            return Err(wrong("digests other than `sha256`"));
        }
        let own = value("BmapFileChecksum")?;
        let blank = text.replacen(own, &"0".repeat(own.len()), 1);
        if own.len() != 64 || Digest::sha256(blank.as_bytes()).hex() != own.to_ascii_lowercase() {
            return Err(BmapError::Changed);
        }
        let number = |name: &str| -> Result<u64, BmapError> {
            value(name)?
                .parse()
                .map_err(|_| BmapError::Malformed(format!("`{name}` is no number")))
        };
        let (image_len, block) = (number("ImageSize")?, number("BlockSize")?);
        if block == 0 || block % 512 != 0 {
            return Err(wrong("the size of its blocks"));
        }
        let mut ranges: Vec<BmapRange> = Vec::new();
        for range in root.descendants().filter(|node| node.has_tag_name("Range")) {
            let text = range.text().unwrap_or_default().trim();
            let (first, last) = text.split_once('-').unwrap_or((text, text));
            let place = || BmapError::Malformed(format!("the range `{text}`"));
            let first: u64 = first.trim().parse().map_err(|_| place())?;
            let last: u64 = last.trim().parse().map_err(|_| place())?;
            let start = first.checked_mul(block).ok_or_else(place)?;
            let end = last
                .checked_add(1)
                .and_then(|n| n.checked_mul(block))
                .ok_or_else(place)?;
            let end = end.min(image_len);
            if start >= end || ranges.last().is_some_and(|before| before.bytes.end > start) {
                return Err(place());
            }
            let digest = range
                .attribute("chksum")
                .and_then(|text| text.parse().ok())
                .ok_or_else(place)?;
            ranges.push(BmapRange {
                bytes: start..end,
                digest,
            });
        }
        Ok(Self { image_len, ranges })
    }

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
        assert_eq!(Bmap::parse(&xml).expect("our own"), bmap);
        for (from, to) in [
            ("> 2 </Range>", "> 1 </Range>"),
            ("<ImageSize> 10000", "<ImageSize> 10001"),
            ("version=\"2.0\"", "version=\"1.4\""),
            ("</bmap>", ""),
        ] {
            assert!(xml.contains(from), "{from}");
            assert!(Bmap::parse(&xml.replacen(from, to, 1)).is_err(), "{from}");
        }
    }
}
