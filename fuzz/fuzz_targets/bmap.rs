#![no_main]
use ceil_img::bmap::{BLOCK, Bmap, BmapRange};
use ceil_img::values::Digest;
use libfuzzer_sys::fuzz_target;

// Ranges to text, read back by a reader that knows XML's rules and nothing of ours, and by ours; any text to ours.
fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = Bmap::parse(text);
    }
    let Some((head, mut rest)) = data.split_at_checked(2) else {
        return;
    };
    let odd = u64::from(u16::from_le_bytes([head[0], head[1]])) % BLOCK;
    let (mut ranges, mut at) = (Vec::new(), 0u64);
    while let [gap, a, b, c, tail @ ..] = rest {
        let start = at + u64::from(*gap) * BLOCK;
        at = start + (1 + u64::from(u32::from_le_bytes([*a, *b, *c, 0]))) * BLOCK;
        ranges.push(BmapRange {
            bytes: start..at,
            digest: Digest::sha256(&[*a, *b, *c]),
        });
        rest = tail;
        at += BLOCK;
    }
    // The last range may end with the image, inside a block.
    let image_len = match ranges.last_mut() {
        Some(last) if odd > 0 => {
            last.bytes.end -= odd;
            last.bytes.end
        }
        _ => at + odd,
    };
    let bmap = Bmap { image_len, ranges };
    let text = bmap.to_xml();
    assert_eq!(Bmap::parse(&text).expect("our own"), bmap);
    let read = Read::of(&text);
    assert_eq!(read.field("ImageSize"), image_len.to_string());
    assert_eq!(read.field("BlockSize"), BLOCK.to_string());
    assert_eq!(read.field("BlocksCount"), image_len.div_ceil(BLOCK).to_string());
    assert_eq!(read.field("ChecksumType"), "sha256");
    let sum = read.field("BmapFileChecksum");
    let at = text.find(sum).expect("the checksum stands in the text");
    let blank = [&text[..at], &"0".repeat(64), &text[at + 64..]].concat();
    assert_eq!(Digest::sha256(blank.as_bytes()).hex(), sum);
    let ranges = read.ranges();
    assert_eq!(ranges.len(), bmap.ranges.len());
    let mut mapped = 0;
    for ((first, last, sum), range) in ranges.iter().zip(&bmap.ranges) {
        mapped += last - first + 1;
        assert_eq!(first * BLOCK, range.bytes.start);
        assert_eq!(((last + 1) * BLOCK).min(image_len), range.bytes.end);
        assert_eq!(*sum, range.digest.hex());
    }
    assert_eq!(read.field("MappedBlocksCount"), mapped.to_string());
});

/// Elements in order: name, attributes, text.
struct Read<'a>(Vec<(&'a str, Vec<(&'a str, &'a str)>, &'a str)>);

impl<'a> Read<'a> {
    /// Takes well-formed XML of elements and attributes apart; anything else is a fault of the writer.
    fn of(text: &'a str) -> Self {
        let mut rest = text.strip_prefix("<?xml version=\"1.0\" ?>").expect("a prologue");
        let mut open: Vec<&str> = Vec::new();
        let mut all: Vec<(&str, Vec<(&str, &str)>, &str)> = Vec::new();
        while let Some(start) = rest.find('<') {
            assert!(
                !open.is_empty() || rest[..start].trim().is_empty(),
                "text outside the root"
            );
            let end = rest.find('>').expect("a tag ends");
            let tag = &rest[start + 1..end];
            rest = &rest[end + 1..];
            if let Some(name) = tag.strip_prefix('/') {
                assert_eq!(open.pop(), Some(name), "tags are nested");
                continue;
            }
            let (name, attributes) = tag.split_once(' ').unwrap_or((tag, ""));
            let pairs = attributes.split_whitespace().map(|pair| {
                let (key, value) = pair.split_once('=').expect("an attribute has a value");
                let value = value.strip_prefix('"').and_then(|v| v.strip_suffix('"'));
                (key, value.expect("a value stands in quotes"))
            });
            let inner = rest.split('<').next().unwrap_or_default().trim();
            all.push((name, pairs.collect(), inner));
            open.push(name);
        }
        assert!(open.is_empty() && rest.trim().is_empty(), "every element ends");
        assert_eq!((all[0].0, &*all[0].1), ("bmap", &[("version", "2.0")][..]));
        Self(all)
    }

    fn field(&self, name: &str) -> &'a str {
        let mut found = self.0.iter().filter(|e| e.0 == name);
        let first = found.next().expect("the field is there");
        assert!(found.next().is_none(), "one {name}");
        first.2
    }

    fn ranges(&self) -> Vec<(u64, u64, &'a str)> {
        let number = |text: &str| text.parse::<u64>().expect("a number of a block");
        let range = |e: &(&str, Vec<(&'a str, &'a str)>, &'a str)| {
            let (first, last) = e.2.split_once('-').unwrap_or((e.2, e.2));
            let sum = e.1.iter().find(|(key, _)| *key == "chksum").expect("a checksum");
            (number(first), number(last), sum.1)
        };
        self.0.iter().filter(|e| e.0 == "Range").map(range).collect()
    }
}
