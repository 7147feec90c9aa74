//! Output formats. All are deterministic: no time stamps, fixed block sizes, the same bytes for any number of cores.

use std::fs::File;
use std::io::{self, Write};
use std::str::FromStr;

use liblzma::stream::{Check, MtStreamBuilder};
use liblzma::write::XzEncoder;

/// How an image is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A raw image, sparse where it is zero.
    Img,
    /// xz, several blocks, so that it can be decoded on all cores.
    Xz,
    /// Zstandard.
    Zst,
    /// gzip.
    Gz,
    /// No image file: the digest of what it would hold.
    None,
}

impl Format {
    /// Every format, for help and messages.
    pub const NAMES: [&'static str; 5] = ["img", "img.xz", "img.zst", "img.gz", "none"];

    /// What is added to the node's name.
    #[must_use]
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::Img | Self::None => ".img",
            Self::Xz => ".img.xz",
            Self::Zst => ".img.zst",
            Self::Gz => ".img.gz",
        }
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "img" => Ok(Self::Img),
            "img.xz" => Ok(Self::Xz),
            "img.zst" => Ok(Self::Zst),
            "img.gz" => Ok(Self::Gz),
            "none" => Ok(Self::None),
            other => Err(format!(
                "`{other}` is not an output format; there are {}",
                Self::NAMES.join(", ")
            )),
        }
    }
}

impl std::fmt::Display for Format {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Img => "img",
            Self::Xz => "img.xz",
            Self::Zst => "img.zst",
            Self::Gz => "img.gz",
            Self::None => "none",
        })
    }
}

/// Threads of an encoder; more would pass the memory that a build may take.
const THREADS: u32 = 2;
/// Bytes of one independent xz block or zstd job.
const PIECE: u32 = 4 << 20;

/// A compressor over a file.
pub(super) enum Encoder {
    Xz(Box<XzEncoder<File>>),
    Zst(zstd::Encoder<'static, File>),
    Gz(Box<flate2::write::GzEncoder<File>>),
}

impl Encoder {
    pub(super) fn new(format: Format, file: File) -> io::Result<Option<Self>> {
        Ok(match format {
            Format::Img | Format::None => None,
            Format::Xz => {
                // Preset 2 keeps an encoder below 20 MB a thread.
                let stream = MtStreamBuilder::new()
                    .threads(THREADS)
                    .block_size(u64::from(PIECE))
                    .preset(2)
                    .check(Check::Crc64)
                    .encoder()
                    .map_err(io::Error::other)?;
                Some(Self::Xz(Box::new(XzEncoder::new_stream(file, stream))))
            }
            Format::Zst => {
                let mut encoder = zstd::Encoder::new(file, 6)?;
                encoder.include_checksum(true)?;
                encoder.multithread(THREADS)?;
                encoder.set_parameter(zstd::zstd_safe::CParameter::JobSize(PIECE))?;
                Some(Self::Zst(encoder))
            }
            Format::Gz => Some(Self::Gz(Box::new(
                flate2::GzBuilder::new()
                    .mtime(0)
                    .operating_system(255)
                    .write(file, flate2::Compression::new(6)),
            ))),
        })
    }

    pub(super) fn finish(self) -> io::Result<()> {
        match self {
            Self::Xz(encoder) => encoder.finish().map(drop),
            Self::Zst(encoder) => encoder.finish().map(drop),
            Self::Gz(encoder) => encoder.finish().map(drop),
        }
    }
}

impl Write for Encoder {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self {
            Self::Xz(encoder) => encoder.write(buf),
            Self::Zst(encoder) => encoder.write(buf),
            Self::Gz(encoder) => encoder.write(buf),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Xz(encoder) => encoder.flush(),
            Self::Zst(encoder) => encoder.flush(),
            Self::Gz(encoder) => encoder.flush(),
        }
    }
}
