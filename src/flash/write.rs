//! Writing, reading back, and the first MiB last.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::card::Card;
use super::error::FlashError;
use super::{HEAD, probe};
use crate::disk::Source;
use crate::report::{Event, Reporter, Step};
use crate::sys::ALIGN;
use crate::values::Digest;

/// Bytes of one request: what cards erase at once is a multiple or a part of it.
const CHUNK: u64 = 1 << 20;
/// How often the user is looked at.
const TICK: Duration = Duration::from_millis(100);
/// How many times the patience for one request counts where several follow each other, or a cache is emptied.
const SETTLE: u32 = 10;
/// Gaps up to this length are written too: one long request is faster than two short ones.
const BRIDGE: u64 = 64 << 10;

/// What is to be written.
#[derive(Clone)]
pub struct Job {
    /// The finished image.
    pub source: Arc<dyn Source>,
    /// Ranges that matter, ascending, in whole blocks of 4 KiB but for the end of the image.
    pub used: Vec<Range<u64>>,
    /// Whether the card is told first that all its blocks are free.
    pub discard: bool,
    /// Whether the size that the card claims is put to the test.
    pub probe: bool,
    /// Requests on their way at once, at least one.
    pub depth: usize,
    /// How long a single request may take.
    pub patience: Duration,
    /// Set when the user interrupts.
    pub cancel: Arc<AtomicBool>,
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Job({} bytes, {} ranges)", self.source.len(), self.used.len())
    }
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flashed {
    /// Bytes that matter.
    pub used: u64,
    /// Bytes that were sent to the card, with the test of its size.
    pub written: u64,
    /// Bytes that were read back and compared.
    pub verified: u64,
    /// Whether the device knew the command to free its blocks; `None` when it was not asked.
    pub discarded: Option<bool>,
}

/// Memory that requests past the cache can use.
pub(super) struct Buffer {
    bytes: Vec<u8>,
    start: usize,
}

impl Buffer {
    pub(super) fn new(len: usize) -> Self {
        let bytes = vec![0; len + ALIGN];
        let start = bytes.as_ptr().align_offset(ALIGN).min(ALIGN);
        Self { bytes, start }
    }

    /// The first `len` bytes.
    pub(super) fn of(&mut self, len: usize) -> &mut [u8] {
        &mut self.bytes[self.start..self.start + len]
    }
}

/// The ranges with short gaps between them closed, as long as that adds no more than a two-hundredth.
#[must_use]
pub fn bridged(used: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut spare = used.iter().map(|r| r.end - r.start).sum::<u64>() / 200;
    let mut out: Vec<Range<u64>> = Vec::with_capacity(used.len());
    for range in used {
        match out.last_mut() {
            Some(last) if range.start - last.end <= BRIDGE.min(spare) => {
                spare -= range.start - last.end;
                last.end = range.end;
            }
            _ => out.push(range.clone()),
        }
    }
    out
}

/// Cuts ranges into requests that do not cross a boundary of [`CHUNK`].
fn chunks(ranges: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut out = Vec::new();
    for range in ranges {
        let mut at = range.start;
        while at < range.end {
            let end = ((at / CHUNK + 1) * CHUNK).min(range.end);
            out.push(at..end);
            at = end;
        }
    }
    out
}

/// Writes a card so that it holds the image, or says why it does not.
///
/// The first MiB is zeroed, everything else is written, sent off and read back past the cache, and only then the first
/// MiB follows, which is read back as well. A cut at any moment leaves a card that nothing boots from.
///
/// # Errors
/// [`FlashError`]; unless it is [`FlashError::TooSmall`], the first MiB of the card is zero then, if the card still takes
/// data at all.
pub fn flash(
    card: &Arc<dyn Card>,
    job: &Job,
    subject: &str,
    reporter: &dyn Reporter,
) -> Result<Flashed, FlashError> {
    let image = job.source.len();
    if card.len() < image {
        return Err(FlashError::TooSmall {
            card: card.len(),
            image,
        });
    }
    let done = run(card, job, subject, reporter);
    if let Err(error) = &done
        && !matches!(error, FlashError::Stalled { .. })
    {
        // A card that does not take this either was zeroed at the beginning; a first MiB that turned out wrong was not.
        let _ = guarded(card, job, 0, zero_head);
    }
    done
}

fn run(
    card: &Arc<dyn Card>,
    job: &Job,
    subject: &str,
    reporter: &dyn Reporter,
) -> Result<Flashed, FlashError> {
    let image = job.source.len();
    let rest: Vec<Range<u64>> = bridged(&job.used)
        .iter()
        .map(|r| r.start.max(HEAD)..r.end)
        .filter(|r| r.start < r.end)
        .collect();
    let pieces = Arc::new(chunks(&rest));
    let mut written = guarded(card, job, 0, zero_head)?;
    let mut discarded = None;
    if job.discard {
        let known = guarded(card, job, 0, |card| {
            card.discard()
                .map_err(|source| FlashError::Write { at: 0, source })
        })?;
        discarded = Some(known);
        // What a discarded block reads as is the device's affair.
        written += guarded(card, job, 0, zero_head)?;
    }
    written += guarded(card, job, image, move |card| zero_tail(card, image))?;
    if job.probe {
        written += guarded(card, job, image, probe::probe)?;
    }
    let len: u64 = rest.iter().map(|r| r.end - r.start).sum();
    let start = |step| {
        reporter.event(&Event::Start {
            step,
            subject,
            total: Some(len),
        });
    };
    start(Step::Flash);
    let digests = each(Work::Write, card, job, &pieces, Vec::new(), reporter)?;
    guarded(card, job, image, settle)?;
    reporter.event(&Event::End { step: Step::Flash });
    start(Step::Verify);
    each(Work::Verify, card, job, &pieces, digests, reporter)?;
    reporter.event(&Event::End { step: Step::Verify });
    let head = 0..HEAD.min(image);
    let of_head = job.clone();
    guarded(card, job, 0, move |card| {
        let mut buffer = Buffer::new(head.end as usize);
        let digest = put(card, &of_head, &head, &mut buffer)?;
        settle(card)?;
        check(card, &of_head, &head, &digest, &mut buffer)
    })?;
    let head = HEAD.min(image);
    Ok(Flashed {
        used: job.used.iter().map(|r| r.end - r.start).sum(),
        written: written + len + head,
        verified: len + head,
        discarded,
    })
}

/// Sends everything off, and makes sure that what is read next comes from the medium.
fn settle(card: &dyn Card) -> Result<(), FlashError> {
    card.sync().map_err(FlashError::Sync)?;
    card.forget().map_err(|source| FlashError::Read { at: 0, source })
}

/// Runs a few calls that must end: a device that does not answer holds its thread for ever, and not the program.
fn guarded<T: Send + 'static>(
    card: &Arc<dyn Card>,
    job: &Job,
    at: u64,
    act: impl FnOnce(&dyn Card) -> Result<T, FlashError> + Send + 'static,
) -> Result<T, FlashError> {
    let (tell, told) = sync_channel(1);
    let card = Arc::clone(card);
    thread::spawn(move || tell.send(act(&*card)));
    // What was written through a cache is sent off in one go.
    let patience = job.patience * SETTLE;
    told.recv_timeout(patience).unwrap_or(Err(FlashError::Stalled {
        seconds: patience.as_secs(),
        at,
    }))
}

/// Makes the card boot nothing.
fn zero_head(card: &dyn Card) -> Result<u64, FlashError> {
    let len = HEAD.min(card.len());
    let mut buffer = Buffer::new(len as usize);
    card.write_at(0, buffer.of(len as usize))
        .map_err(|source| FlashError::Write { at: 0, source })?;
    card.sync().map_err(FlashError::Sync)?;
    Ok(len)
}

/// Takes away what arrays, pools and the backup of a GPT left at the end of a card: it would be found again.
fn zero_tail(card: &dyn Card, image: u64) -> Result<u64, FlashError> {
    let at = card.len().saturating_sub(HEAD) / ALIGN as u64 * ALIGN as u64;
    let len = card.len() - at;
    if at < image.max(HEAD) {
        return Ok(0);
    }
    let mut buffer = Buffer::new(len as usize);
    card.write_at(at, buffer.of(len as usize))
        .map_err(|source| FlashError::Write { at, source })?;
    Ok(len)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Work {
    Write,
    Verify,
}

/// What the workers share. They are not waited for: a device that does not answer holds its thread for ever.
struct Shared {
    card: Arc<dyn Card>,
    job: Job,
    pieces: Arc<Vec<Range<u64>>>,
    /// Of every piece, when reading back.
    digests: Vec<Digest>,
    next: Mutex<VecDeque<usize>>,
    stop: AtomicBool,
}

type Done = (usize, Result<Digest, FlashError>);

/// Writes or reads back all pieces with several requests at once, and gives their digests.
fn each(
    work: Work,
    card: &Arc<dyn Card>,
    job: &Job,
    pieces: &Arc<Vec<Range<u64>>>,
    digests: Vec<Digest>,
    reporter: &dyn Reporter,
) -> Result<Vec<Digest>, FlashError> {
    let shared = Arc::new(Shared {
        card: Arc::clone(card),
        job: job.clone(),
        pieces: Arc::clone(pieces),
        digests,
        next: Mutex::new((0..pieces.len()).collect()),
        stop: AtomicBool::new(false),
    });
    let workers = job.depth.clamp(1, pieces.len().max(1));
    let (tell, told) = sync_channel::<Done>(2 * workers);
    for _ in 0..workers {
        let (shared, tell) = (Arc::clone(&shared), tell.clone());
        thread::spawn(move || worker(work, &shared, &tell));
    }
    drop(tell);
    let step = match work {
        Work::Write => Step::Flash,
        Work::Verify => Step::Verify,
    };
    let mut found: Vec<Option<Digest>> = vec![None; pieces.len()];
    let mut failed: Option<(u64, FlashError)> = None;
    let mut last = Instant::now();
    let (mut done, mut furthest, mut shown) = (0, 0, 0);
    loop {
        match told.recv_timeout(TICK) {
            Ok((index, Ok(digest))) => {
                last = Instant::now();
                found[index] = Some(digest);
                done += pieces[index].end - pieces[index].start;
                furthest = furthest.max(pieces[index].end);
                if done - shown >= 4 * CHUNK {
                    shown = done;
                    reporter.event(&Event::Advance { step, done });
                }
            }
            Ok((index, Err(error))) => {
                shared.stop.store(true, Ordering::Relaxed);
                // Of several failures the one nearest the beginning is the one to look at.
                let at = pieces[index].start;
                if failed.as_ref().is_none_or(|(first, _)| at < *first) {
                    failed = Some((at, error));
                }
            }
            Err(RecvTimeoutError::Timeout) => {
                if last.elapsed() >= job.patience {
                    shared.stop.store(true, Ordering::Relaxed);
                    return Err(failed.map_or(
                        FlashError::Stalled {
                            seconds: job.patience.as_secs(),
                            at: furthest,
                        },
                        |(_, error)| error,
                    ));
                }
            }
            Err(RecvTimeoutError::Disconnected) => break,
        }
        if job.cancel.load(Ordering::Relaxed) {
            shared.stop.store(true, Ordering::Relaxed);
        }
    }
    if let Some((_, error)) = failed {
        return Err(error);
    }
    let all: Option<Vec<Digest>> = found.into_iter().collect();
    all.ok_or(FlashError::Interrupted)
}

fn worker(work: Work, shared: &Shared, tell: &SyncSender<Done>) {
    let mut buffer = Buffer::new(CHUNK as usize);
    while !shared.stop.load(Ordering::Relaxed) {
        let next = shared
            .next
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop_front();
        let Some(index) = next else { return };
        let piece = &shared.pieces[index];
        let card = &*shared.card;
        let done = match work {
            Work::Write => put(card, &shared.job, piece, &mut buffer),
            Work::Verify => {
                let expected = &shared.digests[index];
                check(card, &shared.job, piece, expected, &mut buffer).map(|()| expected.clone())
            }
        };
        if tell.send((index, done)).is_err() {
            return;
        }
    }
}

fn put(card: &dyn Card, job: &Job, piece: &Range<u64>, buffer: &mut Buffer) -> Result<Digest, FlashError> {
    let bytes = buffer.of((piece.end - piece.start) as usize);
    job.source
        .read_at(piece.start, bytes)
        .map_err(|source| FlashError::Source {
            at: piece.start,
            source,
        })?;
    let digest = Digest::sha256(bytes);
    card.write_at(piece.start, bytes)
        .map_err(|source| FlashError::Write {
            at: piece.start,
            source,
        })?;
    Ok(digest)
}

/// Reads a piece back; where it differs, the image is read once more to find the byte.
fn check(
    card: &dyn Card,
    job: &Job,
    piece: &Range<u64>,
    expected: &Digest,
    buffer: &mut Buffer,
) -> Result<(), FlashError> {
    let len = (piece.end - piece.start) as usize;
    let bytes = buffer.of(len);
    card.read_at(piece.start, bytes)
        .map_err(|source| FlashError::Read {
            at: piece.start,
            source,
        })?;
    if Digest::sha256(bytes) == *expected {
        return Ok(());
    }
    let mut wanted = vec![0; len];
    job.source
        .read_at(piece.start, &mut wanted)
        .map_err(|source| FlashError::Source {
            at: piece.start,
            source,
        })?;
    let first = wanted.iter().zip(bytes.iter()).position(|(a, b)| a != b);
    match first {
        Some(first) => Err(FlashError::Different {
            at: piece.start + first as u64,
        }),
        // The card has what the image has now, which is not what it was.
        None => Err(FlashError::Source {
            at: piece.start,
            source: io::Error::other("it changed while it was being written"),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_gaps_are_written_up_to_a_two_hundredth() {
        let mib = 1u64 << 20;
        let used = vec![0..mib, mib + 4096..80 * mib, 80 * mib + BRIDGE + 4096..90 * mib];
        assert_eq!(bridged(&used), [0..80 * mib, 80 * mib + BRIDGE + 4096..90 * mib]);
        // A two-hundredth of 200 blocks is one block.
        let used: Vec<Range<u64>> = (0..200).map(|i| i * 8192..i * 8192 + 4096).collect();
        assert_eq!(bridged(&used).len(), 199);
        assert_eq!(bridged(&[]), []);
    }

    #[test]
    fn requests_do_not_cross_a_boundary() {
        let range = CHUNK - 4096..2 * CHUNK + 512;
        assert_eq!(
            chunks(std::slice::from_ref(&range)),
            [CHUNK - 4096..CHUNK, CHUNK..2 * CHUNK, 2 * CHUNK..2 * CHUNK + 512]
        );
    }

    #[test]
    fn buffers_are_aligned() {
        for len in [512, ALIGN, CHUNK as usize] {
            let mut buffer = Buffer::new(len);
            assert_eq!(buffer.of(len).len(), len);
            assert!((buffer.of(len).as_ptr() as usize).is_multiple_of(ALIGN));
        }
    }
}
