use std::fmt;
use std::str::FromStr;

use sha2::Digest as _;

/// Which hash a [`Digest`] is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DigestKind {
    /// SHA-256, 32 bytes.
    Sha256,
    /// SHA-512, 64 bytes.
    Sha512,
}

impl DigestKind {
    /// Length of the hexadecimal form, in characters.
    #[must_use]
    pub const fn hex_len(self) -> usize {
        match self {
            Self::Sha256 => 64,
            Self::Sha512 => 128,
        }
    }

    /// `sha256` or `sha512`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }
}

/// A SHA-256 or SHA-512 value. Its text form is `sha256:<64 hex digits>`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest {
    kind: DigestKind,
    bytes: Box<[u8]>,
}

/// Why a text is not a [`Digest`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a digest; write 64 hex digits (SHA-256) or 128 (SHA-512), with or without `sha256:` or `sha512:`"
)]
pub struct DigestError(pub String);

impl Digest {
    /// SHA-256 of `data`.
    #[must_use]
    pub fn sha256(data: &[u8]) -> Self {
        let mut hasher = Hasher::new(DigestKind::Sha256);
        hasher.update(data);
        hasher.finish()
    }

    /// Which hash this is.
    #[must_use]
    pub fn kind(&self) -> DigestKind {
        self.kind
    }

    /// The hexadecimal form in lower case, without a prefix.
    #[must_use]
    pub fn hex(&self) -> String {
        super::hex(&self.bytes)
    }

    /// The raw bytes: 32 or 64.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || DigestError(text.to_owned());
        let text = text.trim();
        let (kind, hex) = if let Some(hex) = text.strip_prefix("sha256:") {
            (DigestKind::Sha256, hex)
        } else if let Some(hex) = text.strip_prefix("sha512:") {
            (DigestKind::Sha512, hex)
        } else if text.len() == DigestKind::Sha512.hex_len() {
            (DigestKind::Sha512, text)
        } else {
            (DigestKind::Sha256, text)
        };
        if hex.len() != kind.hex_len() || !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(bad());
        }
        let digit = |b: u8| (b as char).to_digit(16).unwrap_or(0) as u8;
        let bytes = hex
            .as_bytes()
            .chunks_exact(2)
            .map(|pair| digit(pair[0]) << 4 | digit(pair[1]))
            .collect();
        Ok(Self { kind, bytes })
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind.name(), self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl serde::Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A running hash.
#[derive(Clone)]
pub struct Hasher(State);

#[derive(Clone)]
enum State {
    Sha256(sha2::Sha256),
    Sha512(Box<sha2::Sha512>),
}

impl Hasher {
    /// An empty hash of the given kind.
    #[must_use]
    pub fn new(kind: DigestKind) -> Self {
        Self(match kind {
            DigestKind::Sha256 => State::Sha256(sha2::Sha256::new()),
            DigestKind::Sha512 => State::Sha512(Box::new(sha2::Sha512::new())),
        })
    }

    /// Feeds bytes.
    pub fn update(&mut self, data: &[u8]) {
        match &mut self.0 {
            State::Sha256(h) => h.update(data),
            State::Sha512(h) => h.update(data),
        }
    }

    /// The digest of all bytes fed.
    #[must_use]
    pub fn finish(self) -> Digest {
        match self.0 {
            State::Sha256(h) => Digest {
                kind: DigestKind::Sha256,
                bytes: h.finalize().as_slice().into(),
            },
            State::Sha512(h) => Digest {
                kind: DigestKind::Sha512,
                bytes: h.finalize().as_slice().into(),
            },
        }
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hasher")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn knows_the_published_value_of_nothing() {
        assert_eq!(Digest::sha256(b"").hex(), EMPTY);
    }

    #[test]
    fn reads_prefix_bare_and_upper_case() {
        let digest = Digest::sha256(b"");
        for text in [EMPTY.to_owned(), EMPTY.to_uppercase(), format!("sha256:{EMPTY}")] {
            assert_eq!(text.parse(), Ok(digest.clone()), "{text}");
        }
    }

    #[test]
    fn refuses_wrong_length_and_letters() {
        assert!("abc".parse::<Digest>().is_err());
        assert!(EMPTY.replace('e', "g").parse::<Digest>().is_err());
    }
}
