//! Whether a disk may be written, over facts alone.

use std::fmt;

use crate::sys::disks::{Bus, Disk};
use crate::values::ByteSize;

/// Cards that are sold as 512 GB have a little more or less than that; none has 512 GiB.
pub const LARGE: u64 = 512 << 30;

/// What the user permits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Allow {
    /// Disks that are fixed, or of which nobody knows.
    pub fixed: bool,
    /// Disks larger than any card.
    pub large: bool,
    /// Parts of a volume group, an array or a pool that is not in use.
    pub member: bool,
}

/// Why a disk is not written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// No card is in the reader.
    NoMedium,
    /// The running system lives from it.
    System(String),
    /// Memory is swapped to it.
    Swap(String),
    /// Something else is made from it and in use.
    Held(String),
    /// Its switch, or the system, forbids writing.
    ReadOnly,
    /// It has too few bytes.
    TooSmall {
        /// Bytes that it has.
        card: u64,
        /// Bytes that are needed.
        image: u64,
    },
    /// It cannot be taken out.
    Fixed(Bus),
    /// Nobody says whether it can be taken out.
    Unknown(Bus),
    /// It is larger than any card.
    Large(u64),
    /// It belongs to something bigger.
    Member(String),
}

impl Refusal {
    /// The flag that permits it; none where nothing does.
    #[must_use]
    pub const fn flag(&self) -> Option<&'static str> {
        match self {
            Self::Fixed(_) | Self::Unknown(_) => Some("--allow-fixed"),
            Self::Large(_) => Some("--allow-large"),
            Self::Member(_) => Some("--allow-member"),
            _ => None,
        }
    }

    /// What to do instead.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::NoMedium => "put the card in".to_owned(),
            Self::System(_) => "`ceil-img devices` lists cards".to_owned(),
            Self::Swap(place) => format!("if it is the right disk, `swapoff {place}` first"),
            Self::Held(what) => format!("if it is the right disk, take {what} out of use first"),
            Self::ReadOnly => "slide the switch of the card away from LOCK".to_owned(),
            Self::TooSmall { .. } => "use a larger card".to_owned(),
            Self::Fixed(_) | Self::Unknown(_) | Self::Large(_) | Self::Member(_) => match self.flag() {
                Some(flag) => format!("if it is the right disk, say so with `{flag}`"),
                None => String::new(),
            },
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoMedium => f.write_str("no card is in it"),
            Self::System(at) => write!(f, "the running system lives from it: `{at}` is there"),
            Self::Swap(place) => write!(f, "memory is swapped to it: `{place}`"),
            Self::Held(what) => write!(f, "it is in use by {what}"),
            Self::ReadOnly => f.write_str("it is write-protected"),
            Self::TooSmall { card, image } => write!(
                f,
                "it is too small: {} ({card} bytes), and the image needs {} ({image} bytes)",
                ByteSize(*card),
                ByteSize(*image)
            ),
            Self::Fixed(bus) => write!(f, "it is a fixed disk ({bus}), not a card"),
            Self::Unknown(Bus::Loop) => f.write_str("it is a file that the system shows as a disk"),
            Self::Unknown(bus) => write!(f, "the system does not say whether it can be taken out ({bus})"),
            Self::Large(size) => write!(f, "it is larger than any card: {}", ByteSize(*size)),
            Self::Member(what) => write!(f, "it is part of something bigger: {what}"),
        }
    }
}

/// What speaks against writing `need` bytes to a disk, the gravest first; nothing when all is well. What is mounted is no
/// reason: it is unmounted after the user was asked.
#[must_use]
pub fn judge(disk: &Disk, need: u64, allow: Allow) -> Vec<Refusal> {
    let mut found = Vec::new();
    if let Some(at) = &disk.system {
        found.push(Refusal::System(at.clone()));
    }
    found.extend(disk.swap.iter().cloned().map(Refusal::Swap));
    found.extend(disk.held.iter().cloned().map(Refusal::Held));
    if disk.size == 0 {
        found.push(Refusal::NoMedium);
        return found;
    }
    if disk.read_only {
        found.push(Refusal::ReadOnly);
    }
    if disk.size < need {
        found.push(Refusal::TooSmall {
            card: disk.size,
            image: need,
        });
    }
    if !allow.fixed {
        match disk.removable {
            Some(true) => {}
            Some(false) => found.push(Refusal::Fixed(disk.bus)),
            None => found.push(Refusal::Unknown(disk.bus)),
        }
    }
    if disk.size > LARGE && !allow.large {
        found.push(Refusal::Large(disk.size));
    }
    if !allow.member {
        found.extend(disk.members.iter().cloned().map(Refusal::Member));
    }
    found
}
