//! Whether a card has the room that it says: a fake drops what is written beyond its real size, or wraps around.

use std::io;

use super::card::Card;
use super::error::FlashError;
use super::write::Buffer;
use crate::sys::ALIGN;
use crate::values::Digest;

/// Smallest real size that is looked for.
const SMALLEST: u64 = 1 << 30;

/// The places to mark, the furthest first. Where a card wraps around at a power of two, one of the later places is the
/// same as the first.
pub fn places(len: u64) -> Vec<u64> {
    let block = ALIGN as u64;
    let Some(last) = (len / block).checked_sub(1).map(|n| n * block) else {
        return Vec::new();
    };
    let mut found = vec![last];
    let mut size = SMALLEST;
    while size <= last {
        let at = last % size;
        if !found.contains(&at) {
            found.push(at);
        }
        size *= 2;
    }
    found
}

/// What stands at a place: bytes that no card has by itself, and another card no other place.
fn mark(at: u64, buf: &mut [u8]) {
    let digest = Digest::sha256(format!("ceil-img capacity {at}").as_bytes());
    for chunk in buf.chunks_mut(digest.as_bytes().len()) {
        chunk.copy_from_slice(&digest.as_bytes()[..chunk.len()]);
    }
}

/// Marks the places, reads all of them back and leaves zeroes. Gives the number of bytes that were written.
///
/// # Errors
/// [`FlashError::Fake`], or the card failed.
pub fn probe(card: &dyn Card) -> Result<u64, FlashError> {
    let places = places(card.len());
    let mut written = Buffer::new(ALIGN);
    let mut seen = Buffer::new(ALIGN);
    let lies = |at: u64| FlashError::Fake { says: card.len(), at };
    for at in &places {
        mark(*at, written.of(ALIGN));
        card.write_at(*at, written.of(ALIGN))
            .map_err(|e| beyond(e, *at, card.len()))?;
    }
    card.sync().map_err(FlashError::Sync)?;
    card.forget()
        .map_err(|source| FlashError::Read { at: 0, source })?;
    for at in &places {
        mark(*at, written.of(ALIGN));
        card.read_at(*at, seen.of(ALIGN))
            .map_err(|e| beyond(e, *at, card.len()))?;
        if written.of(ALIGN) != seen.of(ALIGN) {
            return Err(lies(*at));
        }
    }
    written.of(ALIGN).fill(0);
    for at in &places {
        card.write_at(*at, written.of(ALIGN))
            .map_err(|source| FlashError::Write { at: *at, source })?;
    }
    Ok(2 * places.len() as u64 * ALIGN as u64)
}

/// A place near the end that cannot be reached at all does not exist; other places fail for other reasons.
fn beyond(source: io::Error, at: u64, says: u64) -> FlashError {
    let end = source.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) && at >= says / 2;
    if end {
        FlashError::Fake { says, at }
    } else {
        FlashError::Write { at, source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_that_wraps_meets_itself() {
        for len in [
            8_000_000_000u64,
            31_914_983_424,
            63_864_569_856,
            512_110_190_592,
            1 << 31,
        ] {
            let places = places(len);
            for real in (30..40).map(|bits| 1u64 << bits).filter(|real| *real < len) {
                let wrapped: Vec<u64> = places.iter().map(|at| at % real).collect();
                let mut sorted = wrapped.clone();
                sorted.sort_unstable();
                sorted.dedup();
                assert!(sorted.len() < places.len(), "{len} that is {real}: {places:?}");
            }
        }
        assert!(places(100).is_empty());
        assert_eq!(places(8192), [4096]);
    }
}
