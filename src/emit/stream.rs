//! Streaming an overlay out: read once, hash, map and write in parallel.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use super::compress::Encoder;
use super::{EmitError, Output};
use crate::bmap::{Bmap, BmapRange};
use crate::disk::{BlockIo, Fill, Overlay, Source, in_pieces};
use crate::plan::OutputFormat;
use crate::report::{Event, Reporter, Step};
use crate::sys::{FlushBehind, write_sparse};
use crate::values::{Digest, DigestKind, Hasher};

/// Bytes read at a time.
const CHUNK: usize = 1 << 20;
/// Chunks on their way to each consumer; together with the readers this bounds the memory to a few MiB.
const QUEUE: usize = 4;

/// What is to be written.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// The finished image.
    pub overlay: &'a Overlay,
    /// Ranges that matter, from [`crate::image::Image::used_ranges`] with [`crate::bmap::BLOCK`].
    pub used: &'a [Range<u64>],
    /// How.
    pub format: OutputFormat,
    /// Set when the user interrupts.
    pub cancel: &'a AtomicBool,
    /// Progress.
    pub reporter: &'a dyn Reporter,
}

impl std::fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Request({})", self.format)
    }
}

/// What was written.
#[derive(Debug)]
pub struct Emitted {
    /// SHA-256 of the raw image.
    pub raw_digest: Digest,
    /// SHA-256 of the file, the same as the raw one for [`OutputFormat::Img`].
    pub file_digest: Digest,
    /// Length of the file in bytes.
    pub file_len: u64,
    /// The block map of the raw image.
    pub bmap: Bmap,
}

/// A piece of the image: bytes, or a run of zeroes.
#[derive(Clone)]
enum Piece {
    Bytes(u64, Arc<Vec<u8>>),
    Zeroes(Range<u64>),
}

/// Writes the image to the (temporary) file of `output`. The caller gives it its name with [`Output::finish`].
///
/// # Errors
/// Reading the base or a payload, writing the file, or an interrupt; the temporary file goes with `output`.
pub fn emit(request: &Request<'_>, output: &Output) -> Result<Emitted, EmitError> {
    let len = BlockIo::len(request.overlay);
    let subject = output.target().display().to_string();
    request.reporter.event(&Event::Start {
        step: Step::Emit,
        subject: &subject,
        total: Some(len),
    });
    let file = output.file();
    let (to_hash, hash_in) = sync_channel::<Piece>(QUEUE);
    let (to_write, write_in) = sync_channel::<Piece>(QUEUE);
    let result = thread::scope(|scope| {
        let hash = scope.spawn(move || hash_all(&hash_in));
        let used = request.used;
        let flush = FlushBehind::start(scope, file);
        let write = scope.spawn(move || write_all(&write_in, file, request.format, len, used, flush));
        let read = read_all(request, len, output.target(), &[&to_hash, &to_write]);
        drop((to_hash, to_write));
        // The threads end when their channel does; a panic in one is a defect and goes on here.
        let hash = hash.join().unwrap_or_else(|e| std::panic::resume_unwind(e));
        let write = write.join().unwrap_or_else(|e| std::panic::resume_unwind(e));
        // A failed writer hangs up, which the reader sees as a closed channel: the writer's reason counts.
        let ranges = write.map_err(|e| output.error(e))?;
        read?;
        // A packer may work for seconds after the last byte was read.
        if request.cancel.load(Ordering::Relaxed) {
            return Err(EmitError::Interrupted(output.target().to_owned()));
        }
        Ok((hash, ranges))
    });
    let (raw_digest, ranges) = result?;
    let (file_digest, file_len) = if request.format == OutputFormat::Img {
        (raw_digest.clone(), len)
    } else {
        digest_file(file).map_err(|e| output.error(e))?
    };
    request.reporter.event(&Event::End { step: Step::Emit });
    Ok(Emitted {
        raw_digest,
        file_digest,
        file_len,
        bmap: Bmap {
            image_len: len,
            ranges,
        },
    })
}

fn read_all(
    request: &Request<'_>,
    len: u64,
    target: &Path,
    consumers: &[&SyncSender<Piece>],
) -> Result<(), EmitError> {
    // A consumer that hung up has failed, and says why itself.
    let send = |piece: &Piece| consumers.iter().all(|c| c.send(piece.clone()).is_ok());
    let mut pool = Pool::default();
    let mut at = 0;
    let mut told = 0;
    while at < len {
        if request.cancel.load(Ordering::Relaxed) {
            return Err(EmitError::Interrupted(target.to_owned()));
        }
        let data = request.overlay.next_data(at).map_err(EmitError::Read)?;
        let start = data.as_ref().map_or(len, |d| d.start);
        if start > at {
            if !send(&Piece::Zeroes(at..start)) {
                return Ok(());
            }
            at = start;
        }
        let Some(data) = data else { break };
        // Small ranges are read together: many files of a few KiB would make many small pieces.
        let end = if data.end - at >= CHUNK as u64 {
            data.end.min(at + CHUNK as u64)
        } else {
            (at + CHUNK as u64).min(len)
        };
        let bytes = pool
            .fill((end - at) as usize, |buf| {
                BlockIo::read_at(request.overlay, at, buf)
            })
            .map_err(EmitError::Read)?;
        if !send(&Piece::Bytes(at, bytes)) {
            return Ok(());
        }
        at = end;
        if at - told >= 8 * CHUNK as u64 {
            told = at;
            request.reporter.event(&Event::Advance {
                step: Step::Emit,
                done: at,
            });
        }
    }
    Ok(())
}

/// Buffers that come back once every consumer has let go of them: fresh ones would cost a page fault per 4 KiB.
#[derive(Default)]
struct Pool(Vec<Arc<Vec<u8>>>);

impl Pool {
    fn fill(
        &mut self,
        len: usize,
        read: impl FnOnce(&mut [u8]) -> io::Result<()>,
    ) -> io::Result<Arc<Vec<u8>>> {
        let at = match self.0.iter_mut().position(|b| Arc::get_mut(b).is_some()) {
            Some(at) => at,
            None => {
                self.0.push(Arc::new(Vec::with_capacity(CHUNK)));
                self.0.len() - 1
            }
        };
        if let Some(buf) = Arc::get_mut(&mut self.0[at]) {
            buf.resize(len, 0);
            read(buf)?;
        }
        Ok(Arc::clone(&self.0[at]))
    }
}

fn hash_all(pieces: &Receiver<Piece>) -> Digest {
    let mut hasher = Hasher::new(DigestKind::Sha256);
    let zeroes = vec![0; CHUNK / 4];
    for piece in pieces {
        match piece {
            Piece::Bytes(_, bytes) => hasher.update(&bytes),
            Piece::Zeroes(range) => {
                let mut left = range.end - range.start;
                while left > 0 {
                    let step = left.min(zeroes.len() as u64);
                    hasher.update(&zeroes[..step as usize]);
                    left -= step;
                }
            }
        }
    }
    hasher.finish()
}

fn write_all(
    pieces: &Receiver<Piece>,
    file: &File,
    format: OutputFormat,
    len: u64,
    used: &[Range<u64>],
    mut flush: FlushBehind<'_>,
) -> io::Result<Vec<BmapRange>> {
    let mut ranges = Ranges::new(used);
    let mut encoder = Encoder::new(format, file.try_clone()?)?;
    let zeroes = vec![0; CHUNK / 4];
    for piece in pieces {
        match piece {
            Piece::Bytes(at, bytes) => {
                match &mut encoder {
                    Some(encoder) => encoder.write_all(&bytes)?,
                    None => write_sparse(file, at, &bytes)?,
                }
                ranges.take(at, &bytes);
                flush.wrote(bytes.len());
            }
            Piece::Zeroes(range) => {
                let mut at = range.start;
                while at < range.end {
                    let step = (range.end - at).min(zeroes.len() as u64);
                    if let Some(encoder) = &mut encoder {
                        encoder.write_all(&zeroes[..step as usize])?;
                    } else if !ranges.touches(&(at..range.end)) {
                        break;
                    }
                    ranges.take(at, &zeroes[..step as usize]);
                    at += step;
                }
            }
        }
    }
    match encoder {
        Some(encoder) => encoder.finish()?,
        None => file.set_len(len)?,
    }
    flush.finish()?;
    Ok(ranges.finish())
}

/// Hashes the ranges that matter while the image passes by.
struct Ranges<'a> {
    used: &'a [Range<u64>],
    hasher: Hasher,
    done: Vec<BmapRange>,
}

impl<'a> Ranges<'a> {
    fn new(used: &'a [Range<u64>]) -> Self {
        Self {
            used,
            hasher: Hasher::new(DigestKind::Sha256),
            done: Vec::with_capacity(used.len()),
        }
    }

    fn touches(&self, range: &Range<u64>) -> bool {
        self.used
            .get(self.done.len())
            .is_some_and(|used| used.start < range.end)
    }

    /// Takes the next bytes of the image; they follow each other without gaps inside a used range.
    fn take(&mut self, at: u64, bytes: &[u8]) {
        let end = at + bytes.len() as u64;
        while let Some(used) = self.used.get(self.done.len()).filter(|used| used.start < end) {
            let from = used.start.max(at);
            let to = used.end.min(end);
            self.hasher
                .update(&bytes[(from - at) as usize..(to - at) as usize]);
            if used.end > end {
                break;
            }
            let hasher = std::mem::replace(&mut self.hasher, Hasher::new(DigestKind::Sha256));
            self.done.push(BmapRange {
                bytes: used.clone(),
                digest: hasher.finish(),
            });
        }
    }

    fn finish(self) -> Vec<BmapRange> {
        self.done
    }
}

fn digest_file(mut file: &File) -> io::Result<(Digest, u64)> {
    file.seek(SeekFrom::Start(0))?;
    let mut hasher = Hasher::new(DigestKind::Sha256);
    let mut buf = vec![0; CHUNK];
    let mut len = 0;
    loop {
        let got = io::Read::read(&mut file, &mut buf)?;
        if got == 0 {
            return Ok((hasher.finish(), len));
        }
        hasher.update(&buf[..got]);
        len += got as u64;
    }
}

/// A digest that names the content of an image without reading its base or its payloads again: SHA-256 over the
/// base's digest, the length, and every changed range with its bytes or the digest of the source it refers to.
///
/// # Errors
/// A source without a digest of its own could not be read.
pub fn content_digest(base: &Digest, overlay: &Overlay) -> io::Result<Digest> {
    let mut hasher = Hasher::new(DigestKind::Sha256);
    hasher.update(b"ceil-img content 1\n");
    hasher.update(base.as_bytes());
    hasher.update(&BlockIo::len(overlay).to_le_bytes());
    for (start, span) in overlay.spans() {
        hasher.update(&start.to_le_bytes());
        hasher.update(&span.len.to_le_bytes());
        match &span.fill {
            Fill::Zeroes => hasher.update(b"z"),
            Fill::Bytes(bytes, at) => {
                hasher.update(b"b");
                hasher.update(&bytes[*at..*at + span.len as usize]);
            }
            Fill::Source(source, at) => match source.digest() {
                Some(digest) => {
                    hasher.update(b"s");
                    hasher.update(&digest);
                    hasher.update(&at.to_le_bytes());
                }
                None => {
                    hasher.update(b"b");
                    in_pieces(&**source, *at..*at + span.len, |_, bytes| {
                        hasher.update(bytes);
                        Ok(true)
                    })?;
                }
            },
        }
    }
    Ok(hasher.finish())
}
