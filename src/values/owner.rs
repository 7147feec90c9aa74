use std::fmt;
use std::str::FromStr;

/// A numeric owner, `uid:gid`. Names are not resolved: the host's users are not the image's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Owner {
    /// User id, all 32 bits.
    pub uid: u32,
    /// Group id, all 32 bits.
    pub gid: u32,
}

/// Why a text is not an [`Owner`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an owner; write numbers as `uid:gid`, such as `0:0` or `1000:1000`")]
pub struct OwnerError(pub String);

impl FromStr for Owner {
    type Err = OwnerError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || OwnerError(text.to_owned());
        let (uid, gid) = text.split_once(':').ok_or_else(bad)?;
        let number = |t: &str| {
            if t.is_empty() || !t.bytes().all(|b| b.is_ascii_digit()) {
                return Err(bad());
            }
            t.parse::<u32>().map_err(|_| bad())
        };
        Ok(Self {
            uid: number(uid)?,
            gid: number(gid)?,
        })
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.uid, self.gid)
    }
}

/// Permission bits, `0000` to `7777` (with setuid, setgid and sticky), written in octal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mode(pub u16);

/// Why a text is not a [`Mode`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a mode; write three or four octal digits in quotes, such as \"0644\"")]
pub struct ModeError(pub String);

impl FromStr for Mode {
    type Err = ModeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let ok = (3..=4).contains(&text.len()) && text.bytes().all(|b| (b'0'..=b'7').contains(&b));
        if !ok {
            return Err(ModeError(text.to_owned()));
        }
        u16::from_str_radix(text, 8)
            .map(Self)
            .map_err(|_| ModeError(text.to_owned()))
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

/// Seconds and nanoseconds since 1970-01-01 00:00:00 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp {
    /// Whole seconds; negative before 1970.
    pub secs: i64,
    /// 0 to 999,999,999.
    pub nanos: u32,
}

impl Timestamp {
    /// A whole second.
    #[must_use]
    pub const fn from_secs(secs: i64) -> Self {
        Self { secs, nanos: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owner_is_two_numbers() {
        assert_eq!("0:0".parse(), Ok(Owner { uid: 0, gid: 0 }));
        assert_eq!(
            "165536:4294967295".parse(),
            Ok(Owner {
                uid: 165_536,
                gid: u32::MAX
            })
        );
        for bad in ["", "0", "root:root", "0:", "-1:0", "+1:0", "4294967296:0"] {
            assert!(bad.parse::<Owner>().is_err(), "{bad}");
        }
    }

    #[test]
    fn mode_is_octal() {
        assert_eq!("0644".parse(), Ok(Mode(0o644)));
        assert_eq!("4755".parse(), Ok(Mode(0o4755)));
        for bad in ["", "64", "0x1ff", "0888", "07777"] {
            assert!(bad.parse::<Mode>().is_err(), "{bad}");
        }
    }
}
