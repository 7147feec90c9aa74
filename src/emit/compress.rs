//! Output formats. All are deterministic: no time stamps, fixed block sizes, the same bytes for any number of cores.

use std::fs::File;
use std::io::{self, Write};

use liblzma::stream::{Check, MtStreamBuilder};
use liblzma::write::XzEncoder;

use crate::plan::OutputFormat;

/// What a format adds to the node's name.
#[must_use]
pub const fn suffix(format: OutputFormat) -> &'static str {
    match format {
        OutputFormat::Img | OutputFormat::None => ".img",
        OutputFormat::ImgXz => ".img.xz",
        OutputFormat::ImgZst => ".img.zst",
        OutputFormat::ImgGz => ".img.gz",
    }
}

/// The format that a file name asks for by its ending; raw when it names none.
#[must_use]
pub fn by_name(name: &str) -> OutputFormat {
    match name.rsplit('.').next() {
        Some("xz") => OutputFormat::ImgXz,
        Some("zst") => OutputFormat::ImgZst,
        Some("gz") => OutputFormat::ImgGz,
        _ => OutputFormat::Img,
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
    pub(super) fn new(format: OutputFormat, file: File) -> io::Result<Option<Self>> {
        Ok(match format {
            OutputFormat::Img | OutputFormat::None => None,
            OutputFormat::ImgXz => {
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
            OutputFormat::ImgZst => {
                let mut encoder = zstd::Encoder::new(file, 6)?;
                encoder.include_checksum(true)?;
                encoder.multithread(THREADS)?;
                encoder.set_parameter(zstd::zstd_safe::CParameter::JobSize(PIECE))?;
                Some(Self::Zst(encoder))
            }
            OutputFormat::ImgGz => Some(Self::Gz(Box::new(
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
