use std::fmt;
use std::str::FromStr;

/// A host name: labels of 1 to 63 lower-case letters, digits and hyphens (RFC 1123), 64 characters in all
/// at most, the limit of the Linux kernel. Kubernetes allows no upper case in node names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hostname(String);

/// Why a text is not a [`Hostname`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a host name; use lower-case letters, digits and inner hyphens, 63 characters a label at most"
)]
pub struct HostnameError(pub String);

impl Hostname {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Hostname {
    type Err = HostnameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let label_ok = |label: &str| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        };
        if text.len() <= 64 && text.split('.').all(label_ok) {
            Ok(Self(text.to_owned()))
        } else {
            Err(HostnameError(text.to_owned()))
        }
    }
}

impl fmt::Display for Hostname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_dns_labels_only() {
        for good in ["one", "ceil-one", "a.b", "0x"] {
            assert!(good.parse::<Hostname>().is_ok(), "{good}");
        }
        for bad in ["", "-a", "a-", "A", "a_b", "a..b", "ö", &"a".repeat(65)] {
            assert!(bad.parse::<Hostname>().is_err(), "{bad}");
        }
    }
}
