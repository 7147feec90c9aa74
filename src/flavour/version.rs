//! Versions of Kubernetes as its releases and those of k3s write them.

use std::fmt;
use std::str::FromStr;

/// A version such as `v1.36.4+k3s1`, `1.13.6` or `v1.31.0-rc.1`.
///
/// Source: semantic versioning 2.0.0 with an optional `v` in front, and k3s' `+k3sN` for its own patch level.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KubernetesVersion {
    /// Always 1 so far.
    pub major: u32,
    /// What rules are made by.
    pub minor: u32,
    /// Patch level.
    pub patch: u32,
    /// `rc.1` of `v1.31.0-rc.1`.
    pub pre: Option<String>,
    /// `k3s1` of `v1.36.4+k3s1`.
    pub build: Option<String>,
}

/// Why a text is not a [`KubernetesVersion`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a version of Kubernetes; write it in full, such as `v1.36.4+k3s1` or `1.31.14`")]
pub struct VersionError(pub String);

impl KubernetesVersion {
    /// Whether this is 1.`minor` or later. A release candidate counts as the version that it leads to.
    #[must_use]
    pub const fn at_least(&self, minor: u32) -> bool {
        self.at_least_patch(minor, 0)
    }

    /// Whether this is 1.`minor`.`patch` or later.
    #[must_use]
    pub const fn at_least_patch(&self, minor: u32, patch: u32) -> bool {
        self.major > 1
            || self.major == 1 && (self.minor > minor || self.minor == minor && self.patch >= patch)
    }

    /// Whether it is a release of k3s.
    #[must_use]
    pub fn is_k3s(&self) -> bool {
        self.build
            .as_deref()
            .is_some_and(|build| build.starts_with("k3s"))
    }

    /// Without the build: `v1.36.4`, as kubeadm and its images want it.
    #[must_use]
    pub fn upstream(&self) -> String {
        let plain = Self {
            build: None,
            ..self.clone()
        };
        plain.to_string()
    }
}

impl FromStr for KubernetesVersion {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || VersionError(text.to_owned());
        let rest = text.strip_prefix('v').unwrap_or(text);
        let (rest, build) = match rest.split_once('+') {
            Some((rest, build)) => (rest, Some(build)),
            None => (rest, None),
        };
        let (rest, pre) = match rest.split_once('-') {
            Some((rest, pre)) => (rest, Some(pre)),
            None => (rest, None),
        };
        let mut numbers = rest.split('.').map(|number| {
            // Nine digits fit; a leading zero would be another spelling of the same version.
            let plain = (1..=9).contains(&number.len()) && number.bytes().all(|b| b.is_ascii_digit());
            if plain && (number == "0" || !number.starts_with('0')) {
                number.parse::<u32>().map_err(|_| bad())
            } else {
                Err(bad())
            }
        });
        let mut next = || numbers.next().unwrap_or_else(|| Err(bad()));
        let (major, minor, patch) = (next()?, next()?, next()?);
        if numbers.next().is_some() {
            return Err(bad());
        }
        let identifiers = |text: &str| {
            text.split('.')
                .all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'))
        };
        if ![pre, build].into_iter().flatten().all(identifiers) {
            return Err(bad());
        }
        Ok(Self {
            major,
            minor,
            patch,
            pre: pre.map(str::to_owned),
            build: build.map(str::to_owned),
        })
    }
}

impl fmt::Display for KubernetesVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}.{}.{}", self.major, self.minor, self.patch)?;
        if let Some(pre) = &self.pre {
            write!(f, "-{pre}")?;
        }
        if let Some(build) = &self.build {
            write!(f, "+{build}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> KubernetesVersion {
        text.parse().expect(text)
    }

    #[test]
    fn reads_what_releases_are_called() {
        for (text, printed, upstream) in [
            ("v1.36.4+k3s1", "v1.36.4+k3s1", "v1.36.4"),
            ("1.13.6", "v1.13.6", "v1.13.6"),
            ("v1.31.0-rc.1+k3s2", "v1.31.0-rc.1+k3s2", "v1.31.0-rc.1"),
        ] {
            assert_eq!(version(text).to_string(), printed);
            assert_eq!(version(text).upstream(), upstream);
        }
        assert!(version("v1.36.4+k3s1").is_k3s());
        assert!(!version("v1.36.4+rke2r1").is_k3s());
    }

    #[test]
    fn refuses_what_is_no_version() {
        for text in [
            "",
            "v",
            "1.36",
            "1.36.x",
            "stable",
            "1.36.4.1",
            "1.36.4+",
            "1.36.4-",
            "v1.36.4+k3s 1",
            "vv1.2.3",
            "01.2.3",
            "1.+2.3",
            "1.36.4\n",
            "1.99999999999.0",
        ] {
            assert!(text.parse::<KubernetesVersion>().is_err(), "{text}");
        }
    }

    #[test]
    fn compares_by_number_not_by_text() {
        assert!(version("1.10.0").at_least(9));
        assert!(!version("1.9.6").at_least(10));
        assert!(version("1.22.15").at_least_patch(22, 15));
        assert!(!version("1.22.14").at_least_patch(22, 15));
        assert!(version("1.23.0").at_least_patch(22, 15));
        assert!(version("2.0.0").at_least(36));
    }
}
