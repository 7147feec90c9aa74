//! F239: every fault of `docs/flash.md`: a sentence, something to try, and a card that boots nothing.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ceil_img::disk::Source;
use ceil_img::flash::{FlashError, HEAD, Job};

use super::cards::{EIO, Fault, Sim, holds, job, write};

const CARD: u64 = 4 << 30;
const ENODEV: i32 = 19;
const ENOSPC: i32 = 28;
const EROFS: i32 = 30;

/// Nothing of the image is where a board looks first.
fn boots_nothing(sim: &Sim) {
    let head = sim.bytes(0..HEAD);
    let other = |than: u8| head.iter().filter(|b| **b != than).count();
    // A bit that flips does so in zeroes as well.
    let flipped = usize::from(matches!(sim.fault, Fault::Flip(_)));
    assert!(
        other(0) <= flipped || other(0xa5) == 0,
        "the first MiB is neither zero nor untouched"
    );
}

fn fails(fault: Fault, change: impl FnOnce(&mut Job)) -> (FlashError, Arc<Sim>) {
    let mut job = job();
    change(&mut job);
    let sim = Sim::new(CARD, fault);
    let error = write(&sim, &job).unwrap_err();
    boots_nothing(&sim);
    assert!(!error.hint().is_empty());
    (error, sim)
}

/// A byte in the middle of what is written, behind the first MiB.
fn middle() -> u64 {
    let used = job().used;
    let range = &used[used.len() / 2];
    (range.start + range.end) / 2
}

#[test]
fn f239_faults_have_their_sentences() {
    let at = middle();
    let chunk = at / HEAD * HEAD;
    for (fault, sentence, hint) in [
        (
            Fault::Write(at, EIO),
            "the card failed while it was written at byte",
            "another reader",
        ),
        (Fault::Write(at, ENODEV), "it went away", "put it in again"),
        (Fault::Write(at, ENOSPC), "it is full", "smaller than it says"),
        (Fault::Write(at, EROFS), "it is write-protected", "LOCK"),
        (
            Fault::Write(0, EIO),
            "the card failed while it was written at byte 0",
            "another reader",
        ),
        (Fault::ReadOnly, "it is write-protected", "LOCK"),
        (
            Fault::Read(at, EIO),
            "the card failed while it was read back at byte",
            "another reader",
        ),
        (
            Fault::Read(0, EIO),
            "the card failed while it was read back at byte 0",
            "another reader",
        ),
        (
            Fault::Sync(0, EIO),
            "the card failed while its data was sent off",
            "another reader",
        ),
        (
            Fault::Sync(40, EIO),
            "the card failed while its data was sent off",
            "another reader",
        ),
        (Fault::Vanish(30), "it went away", "put it in again"),
        (Fault::Vanish(0), "it went away", "put it in again"),
    ] {
        let (error, _) = fails(fault, |_| {});
        let text = error.to_string();
        assert!(text.contains(sentence), "{fault:?}: {text}");
        assert!(error.hint().contains(hint), "{fault:?}: {}", error.hint());
        // The place is that of the request that failed.
        if let FlashError::Write { at: told, .. } | FlashError::Read { at: told, .. } = error
            && matches!(fault, Fault::Write(byte, _) | Fault::Read(byte, _) if byte > HEAD)
        {
            assert!(told >= chunk && told <= at, "{fault:?}: {told}");
        }
    }
}

#[test]
fn f239_one_flipped_bit_is_found_at_its_byte() {
    for at in [middle(), 440, HEAD - 1, job().used.last().unwrap().end - 1] {
        let (error, _) = fails(Fault::Flip(at), |_| {});
        let FlashError::Different { at: found } = error else {
            panic!("{error}");
        };
        assert_eq!(found, at);
    }
}

/// A card that takes data and loses it: without reading back it would have passed.
#[test]
fn fake_capacity_is_found_before_the_image_is_written() {
    for fault in [
        Fault::Drops(1 << 30),
        Fault::Drops(CARD - 4096),
        Fault::Wraps(1 << 30),
        Fault::Wraps(2 << 30),
    ] {
        let (error, sim) = fails(fault, |_| {});
        let FlashError::Fake { says, .. } = error else {
            panic!("{fault:?}: {error}");
        };
        assert_eq!(says, CARD);
        assert!(sim.calls.lock().unwrap().len() < 30, "{fault:?}");
    }
    // A fake whose real size the test of capacity does not meet is found when the image is read back.
    let small = 8 << 20;
    let (error, _) = fails(Fault::Drops(small), |job| job.probe = false);
    assert!(
        matches!(error, FlashError::Different { at } if at >= small),
        "{error}"
    );
}

#[test]
fn a_card_that_stalls_is_given_up() {
    // Among the data; where the first MiB is; where the size is put to the test.
    for at in [middle(), job().used.last().unwrap().end - 1, 0, CARD - 1] {
        let begin = Instant::now();
        let (error, _) = fails(Fault::Stall(at), |job| job.patience = Duration::from_millis(300));
        assert!(matches!(error, FlashError::Stalled { .. }), "{error}");
        assert!(begin.elapsed() < Duration::from_secs(30));
    }
}

#[test]
fn an_interrupt_leaves_nothing_that_boots() {
    let cancel = Arc::new(AtomicBool::new(true));
    let (error, sim) = fails(Fault::None, |job| job.cancel = Arc::clone(&cancel));
    assert!(matches!(error, FlashError::Interrupted), "{error}");
    // The same card, not interrupted.
    cancel.store(false, Ordering::Relaxed);
    let job = job();
    write(&sim, &job).unwrap();
    holds(&sim, &job);
}

/// A base or a payload that changes while it is written, or cannot be read.
#[derive(Debug)]
struct Bad {
    inner: Arc<dyn Source>,
    fails: bool,
    reads: Mutex<u64>,
}

impl Source for Bad {
    fn len(&self) -> u64 {
        self.inner.len()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> std::io::Result<()> {
        let mut reads = self.reads.lock().unwrap();
        *reads += 1;
        if self.fails && *reads > 10 {
            return Err(std::io::Error::other("the file was changed"));
        }
        self.inner.read_at(offset, buf)
    }
}

#[test]
fn an_image_that_cannot_be_read_is_not_blamed_on_the_card() {
    let (error, _) = fails(Fault::None, |job| {
        job.source = Arc::new(Bad {
            inner: Arc::clone(&job.source),
            fails: true,
            reads: Mutex::new(0),
        });
    });
    assert!(matches!(error, FlashError::Source { .. }), "{error}");
    assert!(error.hint().contains("build again"));
}

/// Whatever call fails, the card boots nothing, and the next run makes it right.
#[test]
fn a_failure_at_any_call_leaves_nothing_that_boots() {
    let job = job();
    let sim = Sim::new(CARD, Fault::None);
    write(&sim, &job).unwrap();
    let calls = sim.calls.lock().unwrap().len();
    assert!(calls > 40);
    for after in 0..calls {
        let sim = Sim::new(CARD, Fault::Vanish(after));
        let error = write(&sim, &job).unwrap_err();
        let head = sim.bytes(0..HEAD);
        let untouched = head.iter().all(|b| *b == 0xa5);
        let zero = head.iter().all(|b| *b == 0);
        // Once the first MiB is written, all else is known to be right: the card may then boot.
        let mut wanted = vec![0; HEAD as usize];
        job.source.read_at(0, &mut wanted).unwrap();
        if head == wanted {
            holds(&sim, &job);
        } else {
            assert!(untouched || zero, "after {after} calls: {error}");
        }
    }
}
