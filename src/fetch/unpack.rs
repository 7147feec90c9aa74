//! Formats by their first bytes, and a decoder for each.

use std::fmt;
use std::io::{self, BufRead, Read};

use super::xz::{XzLimits, XzReader};

/// How an image is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Not packed.
    Raw,
    /// xz, one or several streams and blocks.
    Xz,
    /// gzip, one or several members.
    Gz,
    /// Zstandard, one or several frames.
    Zst,
    /// bzip2, one or several streams.
    Bz2,
    /// A zip archive with one image inside.
    Zip,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Raw => "raw",
            Self::Xz => "xz",
            Self::Gz => "gz",
            Self::Zst => "zst",
            Self::Bz2 => "bz2",
            Self::Zip => "zip",
        })
    }
}

/// Bytes that [`Format::of`] and [`image_problem`] want to see: a GPT header begins at byte 4096 at the latest.
pub(super) const SNIFF_LEN: usize = 4096 + 8;

impl Format {
    /// The format that these first bytes announce; anything unknown is taken for raw.
    #[must_use]
    pub fn of(head: &[u8]) -> Self {
        match head {
            [0xFD, b'7', b'z', b'X', b'Z', 0, ..] => Self::Xz,
            [0x1F, 0x8B, 8, ..] => Self::Gz,
            [0x28, 0xB5, 0x2F, 0xFD, ..] | [0x50..=0x5F, 0x2A, 0x4D, 0x18, ..] => Self::Zst,
            [
                b'B',
                b'Z',
                b'h',
                b'1'..=b'9',
                0x31,
                0x41,
                0x59,
                0x26,
                0x53,
                0x59,
                ..,
            ]
            | [
                b'B',
                b'Z',
                b'h',
                b'1'..=b'9',
                0x17,
                0x72,
                0x45,
                0x38,
                0x50,
                0x90,
                ..,
            ] => Self::Bz2,
            [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] => Self::Zip,
            _ => Self::Raw,
        }
    }
}

/// Why bytes that begin with `head` are no disk image; `None` when they are one: an MBR signature (55 AA at byte
/// 510) or a GPT header (at byte 512 or 4096).
#[must_use]
pub(super) fn image_problem(head: &[u8]) -> Option<String> {
    let at = |offset: usize, magic: &[u8]| head.get(offset..offset + magic.len()) == Some(magic);
    if head.is_empty() {
        return Some("it is empty".to_owned());
    }
    if at(257, b"ustar") {
        return Some("it is a tar archive; unpack it and give the image inside".to_owned());
    }
    let inner = Format::of(head);
    if inner != Format::Raw {
        return Some(format!(
            "it holds {inner} data inside; unpack it once and give the result"
        ));
    }
    if at(510, &[0x55, 0xAA]) || at(512, b"EFI PART") || at(4096, b"EFI PART") {
        return None;
    }
    for (magic, what) in [
        (&b"7z\xBC\xAF\x27\x1C"[..], "a 7z archive"),
        (b"Rar!", "a rar archive"),
        (b"\x04\x22\x4D\x18", "lz4 data"),
        (
            b"QFI\xFB",
            "a qcow2 disk; convert it with `qemu-img convert -O raw`",
        ),
        (b"\x7FELF", "a program"),
        (b"%PDF", "a PDF document"),
    ] {
        if at(0, magic) {
            return Some(format!("it is {what}"));
        }
    }
    let start = String::from_utf8_lossy(&head[..head.len().min(256)]).to_ascii_lowercase();
    let start = start.trim_start();
    if start.starts_with("<!doctype") || start.starts_with("<html") {
        return Some("it is a web page".to_owned());
    }
    if at(1080, &[0x53, 0xEF]) {
        return Some(
            "it is an ext4 file system without a partition table; give the image of a whole card".to_owned(),
        );
    }
    if head.len() < 512 {
        return Some(format!("it has only {} bytes", head.len()));
    }
    Some("it has neither an MBR (55 AA at byte 510) nor a GPT".to_owned())
}

/// A decoder of a format that can be read from front to back: every one but zip.
pub(super) fn decoder<'a>(
    format: Format,
    input: impl BufRead + 'a,
    limits: XzLimits,
) -> io::Result<Box<dyn Read + 'a>> {
    Ok(match format {
        Format::Raw | Format::Zip => Box::new(input),
        Format::Xz => Box::new(XzReader::new(input, limits)),
        Format::Gz => Box::new(flate2::bufread::MultiGzDecoder::new(input)),
        Format::Zst => Box::new(zstd::stream::read::Decoder::with_buffer(input)?),
        Format::Bz2 => Box::new(bzip2::bufread::MultiBzDecoder::new(input)),
    })
}

/// Reads until `buf` is full or the data ends.
pub(super) fn read_full(input: &mut dyn Read, buf: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buf.len() {
        match input.read(&mut buf[filled..]) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(filled)
}
