use std::fmt;

/// A release of cloud-init in a form that compares, from the version of a package.
///
/// ```
/// use ceil_img::cloud_config::Release;
/// let old = Release::parse("0.7.9-2").ok_or("no version")?;
/// let new = Release::parse("25.2-1~bpo13+1+rpt20").ok_or("no version")?;
/// assert!(old < new && new.at_least(&[25, 2]));
/// # Ok::<(), &str>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Release(Vec<u32>);

impl Release {
    /// The upstream numbers of a Debian version: `1:0.7.9-2` is 0.7.9. `None` when it begins with no number.
    #[must_use]
    pub fn parse(version: &str) -> Option<Self> {
        let upstream = version.split_once(':').map_or(version, |(_, rest)| rest);
        let end = upstream
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(upstream.len());
        let numbers: Vec<u32> = upstream[..end].split('.').map_while(|n| n.parse().ok()).collect();
        (!numbers.is_empty()).then_some(Self(numbers))
    }

    /// Whether this is at least the release with these numbers.
    #[must_use]
    pub fn at_least(&self, numbers: &[u32]) -> bool {
        self.0.as_slice() >= numbers
    }

    /// The 0.7 line, whose files are a small part of what later ones know.
    #[must_use]
    pub fn is_old(&self) -> bool {
        !self.at_least(&[17])
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&numbers.join("."))
    }
}
