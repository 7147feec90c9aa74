//! Why a card does not hold the image.

use std::io;

use rustix::io::Errno;

/// Why flashing failed. Whatever the reason, the first MiB of the card is then zero and nothing boots from it, unless the
/// card was not touched at all.
#[derive(Debug, thiserror::Error)]
pub enum FlashError {
    /// The image is longer than the card.
    #[error("the card holds {card} bytes and the image needs {image}")]
    TooSmall {
        /// Bytes of the card.
        card: u64,
        /// Bytes of the image.
        image: u64,
    },
    /// Reading the base or a payload.
    #[error("cannot read the image that is to be written, at byte {at}")]
    Source {
        /// Where.
        at: u64,
        /// Why.
        source: io::Error,
    },
    /// The card does not take data.
    #[error("the card failed while it was written at byte {at}: {}", sentence(.source))]
    Write {
        /// Where.
        at: u64,
        /// What the system says.
        source: io::Error,
    },
    /// What was written could not be sent off.
    #[error("the card failed while its data was sent off: {}", sentence(.0))]
    Sync(#[source] io::Error),
    /// The card does not give data back.
    #[error("the card failed while it was read back at byte {at}: {}", sentence(.source))]
    Read {
        /// Where.
        at: u64,
        /// What the system says.
        source: io::Error,
    },
    /// The card holds something else than was written.
    #[error("the card does not hold what was written: the first wrong byte is at {at}")]
    Different {
        /// The first byte that differs in the piece that was found first.
        at: u64,
    },
    /// The card has less room than it says.
    #[error(
        "the card lies about its size: it says {says} bytes, and what was written at byte {at} is not there"
    )]
    Fake {
        /// What it says.
        says: u64,
        /// A place that does not exist.
        at: u64,
    },
    /// The card does not answer.
    #[error("the card has not answered for {seconds} s, near byte {at}")]
    Stalled {
        /// How long.
        seconds: u64,
        /// The furthest byte that is known to be done.
        at: u64,
    },
    /// The user.
    #[error("interrupted: the card holds nothing that boots")]
    Interrupted,
}

impl FlashError {
    /// What to try.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::TooSmall { .. } => "use a larger card, or make the root volume smaller",
            Self::Source { .. } => "build again: a file that the image is made of has changed or is damaged",
            Self::Write { source, .. } | Self::Read { source, .. } | Self::Sync(source) => match kind(source)
            {
                Kind::Gone => {
                    "put it in again and repeat; if it goes away again, try another reader or cable"
                }
                Kind::ReadOnly => {
                    "slide the switch of the card away from LOCK; a card that turned read-only by itself is worn out"
                }
                Kind::Full => "the card is smaller than it says; use another one",
                Kind::Other => {
                    "try again in another reader; if it fails at the same place, the card is worn out"
                }
            },
            Self::Different { .. } => {
                "try again in another reader; if it fails again, the card is worn out or a fake: use another one"
            }
            Self::Fake { .. } => "use another card: data beyond its real size is lost silently",
            Self::Stalled { .. } => {
                "pull the card out, put it in again and repeat; a card that does this again is worn out"
            }
            Self::Interrupted => "flash it again",
        }
    }
}

enum Kind {
    Gone,
    ReadOnly,
    Full,
    Other,
}

fn kind(error: &io::Error) -> Kind {
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::NODEV | Errno::NXIO | Errno::BADF) => Kind::Gone,
        #[cfg(target_os = "linux")]
        Some(Errno::NOMEDIUM) => Kind::Gone,
        Some(Errno::ROFS | Errno::PERM | Errno::ACCESS) => Kind::ReadOnly,
        Some(Errno::NOSPC | Errno::FBIG) => Kind::Full,
        _ => Kind::Other,
    }
}

fn sentence(error: &io::Error) -> String {
    match kind(error) {
        Kind::Gone => "it went away".to_owned(),
        Kind::ReadOnly => "it is write-protected".to_owned(),
        Kind::Full => "it is full".to_owned(),
        Kind::Other => error.to_string(),
    }
}
