use std::fmt;

/// Where the trust in a downloaded file comes from, strongest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChecksumState {
    /// The digest is written down, and several independent sources agree on it.
    PinnedCrossChecked,
    /// The digest is written down, from one source.
    PinnedOneSource,
    /// The digest is published beside the file and fetched together with it.
    Published,
    /// The digest of the first download counts from then on (trust on first use).
    Tofu,
    /// Nothing vouches for the bytes.
    None,
}

impl ChecksumState {
    /// The word used in files and listings.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::PinnedCrossChecked => "pinned-cross-checked",
            Self::PinnedOneSource => "pinned-one-source",
            Self::Published => "published",
            Self::Tofu => "tofu",
            Self::None => "none",
        }
    }

    /// Whether the digest is known before anything is fetched.
    #[must_use]
    pub const fn is_pinned(self) -> bool {
        matches!(self, Self::PinnedCrossChecked | Self::PinnedOneSource)
    }
}

impl fmt::Display for ChecksumState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}
