//! A card in memory that can fail, and the order in which a good one is written.

use std::collections::HashMap;
use std::io;
use std::ops::Range;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use ceil_img::demo;
use ceil_img::disk::Source;
use ceil_img::flash::{self, Card, FlashError, Flashed, HEAD, Job, Whole};
use ceil_img::image::Image;
use ceil_img::report::NoReport;

const PAGE: u64 = 4096;
pub const EIO: i32 = 5;

/// How a card fails.
#[derive(Debug, Clone, Copy)]
pub enum Fault {
    None,
    /// Writes that touch this byte fail with this error of the system.
    Write(u64, i32),
    /// Reads that touch this byte fail.
    Read(u64, i32),
    /// Sending data off fails, the first time that this many calls went before.
    Sync(usize, i32),
    /// The byte is another one afterwards.
    Flip(u64),
    /// Calls that touch this byte never end.
    Stall(u64),
    /// Everything fails after this many calls.
    Vanish(usize),
    /// What is written beyond is lost.
    Drops(u64),
    /// What is written beyond is written to the beginning.
    Wraps(u64),
    /// Everything that is written fails from the start.
    ReadOnly,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    Write(Range<u64>, bool),
    Read(Range<u64>),
    Sync,
    Forget,
    Discard,
    Table,
}

pub struct Sim {
    len: u64,
    pub fault: Fault,
    discards: bool,
    pages: Mutex<HashMap<u64, Vec<u8>>>,
    pub calls: Mutex<Vec<Call>>,
    /// What a stalled call waits for; nobody ever tells.
    never: (Mutex<()>, Condvar),
}

impl Sim {
    pub fn new(len: u64, fault: Fault) -> Arc<Self> {
        Arc::new(Self {
            len,
            fault,
            discards: false,
            pages: Mutex::default(),
            calls: Mutex::default(),
            never: (Mutex::new(()), Condvar::new()),
        })
    }

    /// Bytes as they are on the medium; what was never written is 0xa5.
    pub fn bytes(&self, range: Range<u64>) -> Vec<u8> {
        let mut out = vec![0xa5; (range.end - range.start) as usize];
        self.copy(range.start, &mut out);
        out
    }

    fn copy(&self, at: u64, buf: &mut [u8]) {
        let pages = self.pages.lock().unwrap();
        for (i, byte) in buf.iter_mut().enumerate() {
            let at = at + i as u64;
            *byte = pages
                .get(&(at / PAGE))
                .map_or(0xa5, |page| page[(at % PAGE) as usize]);
        }
    }

    fn store(&self, at: u64, bytes: &[u8]) {
        let mut pages = self.pages.lock().unwrap();
        assert!(at.is_multiple_of(PAGE), "a write at {at} is not aligned");
        for (i, chunk) in bytes.chunks(PAGE as usize).enumerate() {
            let number = at / PAGE + i as u64;
            let number = match self.fault {
                Fault::Drops(real) if number * PAGE >= real => continue,
                Fault::Wraps(real) => number % (real / PAGE),
                _ => number,
            };
            let page = pages.entry(number).or_insert_with(|| vec![0xa5; PAGE as usize]);
            page[..chunk.len()].copy_from_slice(chunk);
            if let Fault::Flip(byte) = self.fault
                && byte / PAGE == number
            {
                page[(byte % PAGE) as usize] ^= 0x10;
            }
        }
    }

    fn call(&self, call: Call) -> io::Result<()> {
        let mut calls = self.calls.lock().unwrap();
        calls.push(call.clone());
        let count = calls.len();
        drop(calls);
        let error = |code: i32| Err(io::Error::from_raw_os_error(code));
        match (self.fault, &call) {
            (Fault::Vanish(after), _) if count > after => error(19),
            (Fault::Write(byte, code), Call::Write(range, _)) if range.contains(&byte) => error(code),
            (Fault::Read(byte, code), Call::Read(range)) if range.contains(&byte) => error(code),
            (Fault::Sync(after, code), Call::Sync) if count > after => error(code),
            (Fault::ReadOnly, Call::Write(..)) => error(30),
            (Fault::Stall(byte), Call::Write(range, _) | Call::Read(range)) if range.contains(&byte) => {
                let (lock, never) = &self.never;
                drop(never.wait_while(lock.lock().unwrap(), |()| true));
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

impl Card for Sim {
    fn len(&self) -> u64 {
        self.len
    }

    fn write_at(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        let zero = bytes.iter().all(|b| *b == 0);
        assert!(
            (bytes.as_ptr() as usize).is_multiple_of(PAGE as usize),
            "memory is not aligned"
        );
        assert!(at + bytes.len() as u64 <= self.len, "beyond the card");
        self.call(Call::Write(at..at + bytes.len() as u64, zero))?;
        self.store(at, bytes);
        Ok(())
    }

    fn read_at(&self, at: u64, buf: &mut [u8]) -> io::Result<()> {
        self.call(Call::Read(at..at + buf.len() as u64))?;
        match self.fault {
            Fault::Wraps(real) => {
                for (i, page) in buf.chunks_mut(PAGE as usize).enumerate() {
                    self.copy((at + i as u64 * PAGE) % real, page);
                }
            }
            _ => self.copy(at, buf),
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.call(Call::Sync)
    }

    fn forget(&self) -> io::Result<()> {
        self.call(Call::Forget)
    }

    fn discard(&self) -> io::Result<bool> {
        self.call(Call::Discard)?;
        Ok(self.discards)
    }

    fn reread_table(&self) -> io::Result<()> {
        self.call(Call::Table)
    }
}

/// The demo base as a job.
pub fn job() -> Job {
    let base: Arc<dyn Source> = demo::image().unwrap();
    let image = Image::open(base).unwrap();
    Job {
        used: image.used_ranges(4096).unwrap(),
        source: Arc::new(Whole(Arc::clone(&image.overlay))),
        discard: false,
        probe: true,
        depth: 3,
        patience: Duration::from_secs(60),
        cancel: Arc::new(AtomicBool::new(false)),
    }
}

pub fn write(sim: &Arc<Sim>, job: &Job) -> Result<Flashed, FlashError> {
    let card: Arc<dyn Card> = sim.clone();
    flash::flash(&card, job, "a card", &NoReport)
}

/// The card holds every used byte of the image.
pub fn holds(sim: &Sim, job: &Job) {
    for range in &job.used {
        let mut wanted = vec![0; (range.end - range.start) as usize];
        job.source.read_at(range.start, &mut wanted).unwrap();
        assert!(sim.bytes(range.clone()) == wanted, "{range:?} differs");
    }
}

const CARD: u64 = 4 << 30;

#[test]
fn f232_only_used_blocks_are_written_and_the_first_mib_last() {
    let (sim, job) = (Sim::new(CARD, Fault::None), job());
    let done = write(&sim, &job).unwrap();
    holds(&sim, &job);
    let used: u64 = job.used.iter().map(|r| r.end - r.start).sum();
    assert_eq!(done.used, used);
    assert_eq!(done.discarded, None);
    let calls = sim.calls.lock().unwrap();
    let sent: u64 = calls
        .iter()
        .map(|call| match call {
            Call::Write(range, _) => range.end - range.start,
            _ => 0,
        })
        .sum();
    assert_eq!(done.written, sent);
    // Beside the used blocks: the first MiB twice, the last MiB, marks of 4 KiB, gaps of a two-hundredth at most.
    assert!(
        sent <= used + used / 200 + 2 * HEAD + (1 << 17),
        "{sent} of {used}"
    );
    // First of all the first MiB is zeroed, and on the medium.
    assert_eq!(calls[0], Call::Write(0..HEAD, true));
    assert_eq!(calls[1], Call::Sync);
    // Nothing of the image stands before HEAD until all else is written, sent off, and read back.
    let last = calls
        .iter()
        .rposition(|call| matches!(call, Call::Write(..)))
        .unwrap();
    assert_eq!(calls[last], Call::Write(0..HEAD, false));
    assert!(
        calls[1..last]
            .iter()
            .all(|call| !matches!(call, Call::Write(range, false) if range.start < HEAD))
    );
    let body = calls[..last]
        .iter()
        .rposition(|call| matches!(call, Call::Write(..)))
        .unwrap();
    assert_eq!(calls[body + 1..body + 3], [Call::Sync, Call::Forget]);
    let back: u64 = calls[body..last]
        .iter()
        .map(|call| match call {
            Call::Read(range) => range.end - range.start,
            _ => 0,
        })
        .sum();
    assert_eq!(back + HEAD, done.verified);
    assert_eq!(calls[last + 1..], [Call::Sync, Call::Forget, Call::Read(0..HEAD)]);
    // What is free in the image is as it was on the card.
    let free = job
        .used
        .windows(2)
        .map(|pair| pair[0].end..pair[1].start)
        .max_by_key(|r| r.end - r.start)
        .unwrap();
    assert!(sim.bytes(free).iter().all(|b| *b == 0xa5));
}

#[test]
fn allocated_zeroes_are_written_and_full_writes_all() {
    let (sim, mut job) = (Sim::new(CARD, Fault::None), job());
    job.used = std::iter::once(0..job.source.len()).collect();
    job.probe = false;
    job.discard = true;
    let done = write(&sim, &job).unwrap();
    assert_eq!(done.discarded, Some(false));
    assert_eq!(done.verified, job.source.len());
    holds(&sim, &job);
    let calls = sim.calls.lock().unwrap();
    assert!(
        calls
            .iter()
            .any(|call| matches!(call, Call::Write(range, true) if range.start > HEAD))
    );
    let discard = calls.iter().position(|call| *call == Call::Discard).unwrap();
    // What a freed block reads as is not known: the first MiB is zeroed before and after.
    assert_eq!(calls[0], Call::Write(0..HEAD, true));
    assert_eq!(calls[discard + 1], Call::Write(0..HEAD, true));
}

#[test]
fn a_card_as_long_as_the_image_is_enough() {
    let job = job();
    let sim = Sim::new(job.source.len(), Fault::None);
    write(&sim, &job).unwrap();
    holds(&sim, &job);
    let sim = Sim::new(job.source.len() - 512, Fault::None);
    let error = write(&sim, &job).unwrap_err();
    assert!(matches!(error, FlashError::TooSmall { .. }), "{error}");
    assert!(
        sim.calls.lock().unwrap().is_empty(),
        "a card that is too small is left alone"
    );
}

/// Four cards at once, one of which fails: the others are right.
#[test]
fn one_of_four_fails_alone() {
    let job = job();
    let middle = job.used[job.used.len() / 2].start;
    let cards: Vec<Arc<Sim>> = (0..4)
        .map(|i| {
            Sim::new(
                CARD,
                if i == 2 {
                    Fault::Write(middle, EIO)
                } else {
                    Fault::None
                },
            )
        })
        .collect();
    std::thread::scope(|scope| {
        let threads: Vec<_> = cards
            .iter()
            .map(|sim| scope.spawn(|| write(sim, &job).is_ok()))
            .collect();
        let done: Vec<bool> = threads.into_iter().map(|t| t.join().unwrap()).collect();
        assert_eq!(done, [true, true, false, true]);
    });
    for i in [0, 1, 3] {
        holds(&cards[i], &job);
    }
}
