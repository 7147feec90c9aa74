//! Base images known by name: where they are, what they must be, and who says so.
//!
//! This room knows a data file, compiled in and extendable by the user's own. It must not know the network or the
//! cache.

use std::fmt;

use serde::{Deserialize, Deserializer};

pub use crate::values::Arch;
use crate::values::{ByteSize, ChecksumState, Digest, shown_url};

const BUILTIN: &str = include_str!("../profiles/images.yaml");
const BUILTIN_NAME: &str = "<built-in images>";

/// How many independent public sources state a digest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
pub enum Evidence {
    /// Four or more.
    A,
    /// Two or three.
    B,
    /// One.
    C,
    /// None.
    #[default]
    #[serde(rename = "none")]
    None,
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::A => "A",
            Self::B => "B",
            Self::C => "C",
            Self::None => "none",
        })
    }
}

/// One base image.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageEntry {
    /// The name that stands for exactly this file.
    pub name: String,
    /// Shorter names; the newest of a series has the name without a date.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// What images of this layout and first boot have in common, such as `raspios-trixie`.
    pub family: String,
    /// Operating system, for people.
    pub os: String,
    /// Version or date, as the vendor writes it.
    pub version: String,
    /// Name of the release, such as `trixie`.
    pub codename: Option<String>,
    /// Architecture.
    pub arch: Arch,
    /// Models that it boots on.
    #[serde(default)]
    pub boards: Vec<String>,
    /// Where the running system mounts the FAT partition.
    pub boot_mount: String,
    /// The whole URL.
    pub url: String,
    /// Other URLs of the same file, in the order to try.
    #[serde(default)]
    pub mirrors: Vec<String>,
    /// Digest of the file as offered.
    #[serde(default, deserialize_with = "digest")]
    pub compressed: Option<Digest>,
    /// Digest of the raw image.
    #[serde(default, deserialize_with = "digest")]
    pub raw: Option<Digest>,
    /// Length of the file as offered, in bytes.
    pub download_size: Option<u64>,
    /// Length of the raw image, in bytes.
    pub raw_size: Option<u64>,
    /// Where the trust comes from.
    pub checksum: ChecksumState,
    /// Where the vendor publishes the digest of the file as offered.
    pub checksum_url: Option<String>,
    /// Where the vendor publishes a signature.
    pub signature_url: Option<String>,
    /// How many sources state the digest.
    #[serde(default)]
    pub evidence: Evidence,
    /// The evidence in words.
    pub evidence_note: Option<String>,
    /// What is worth knowing before using it.
    pub notes: Option<String>,
    /// Why clusters on it are known to fail (P45).
    pub faulty: Option<String>,
}

fn digest<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Digest>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| text.parse().map_err(serde::de::Error::custom))
        .transpose()
}

impl ImageEntry {
    /// Why the entry contradicts itself.
    fn problem(&self) -> Option<String> {
        let usual = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
        for name in self.names() {
            if name.is_empty() || !name.chars().all(usual) {
                return Some(format!(
                    "`{name}` is not a name; use letters, digits, dots, hyphens and underscores"
                ));
            }
        }
        for url in [
            Some(&self.url),
            self.checksum_url.as_ref(),
            self.signature_url.as_ref(),
        ]
        .into_iter()
        .flatten()
        .chain(&self.mirrors)
        {
            if !url.starts_with("https://") && !url.starts_with("http://") {
                return Some(format!("`{}` is not an http or https URL", shown_url(url)));
            }
        }
        let pinned = self.compressed.is_some() || self.raw.is_some();
        if self.checksum.is_pinned() != pinned {
            return Some(format!(
                "`checksum: {}` and the digests contradict each other: `pinned-…` goes with `compressed` or `raw`, \
                 the others go without",
                self.checksum
            ));
        }
        if self.checksum == ChecksumState::Published && self.checksum_url.is_none() {
            return Some("`checksum: published` needs a `checksum_url`".to_owned());
        }
        None
    }

    /// The name and the aliases.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        [self.name.as_str()]
            .into_iter()
            .chain(self.aliases.iter().map(String::as_str))
    }

    /// Length of the download, for people.
    #[must_use]
    pub fn download_size(&self) -> Option<ByteSize> {
        self.download_size.map(ByteSize)
    }
}

/// Why a catalog, or a name in it, cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CatalogError {
    /// The file is not what it should be.
    #[error("{file}: {message}")]
    File {
        /// The file as the user named it.
        file: String,
        /// Place and complaint.
        message: String,
    },
    /// No entry has this name.
    #[error("there is no image `{name}`{}; `ceil-img images` lists them all", nearest.as_ref().map_or_else(String::new, |n| format!(", did you mean `{n}`?")))]
    Unknown {
        /// As asked for.
        name: String,
        /// The name most like it.
        nearest: Option<String>,
    },
}

/// The images known by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Catalog {
    entries: Vec<ImageEntry>,
}

impl Catalog {
    /// The images that are compiled in.
    ///
    /// # Errors
    ///
    /// Never in a released program; the data is checked by a test.
    pub fn builtin() -> Result<Self, CatalogError> {
        Ok(Self {
            entries: read(BUILTIN, BUILTIN_NAME)?,
        })
    }

    /// Adds the entries of the user's own file; one that has the name of another replaces it. `file` is its name in
    /// messages.
    ///
    /// # Errors
    ///
    /// When the file is not valid, or an entry contradicts itself.
    pub fn with_user_file(mut self, text: &str, file: &str) -> Result<Self, CatalogError> {
        let own = read(text, file)?;
        for entry in &mut self.entries {
            let taken = |alias: &String| own.iter().any(|o| o.names().any(|name| name == alias));
            entry.aliases.retain(|alias| !taken(alias));
        }
        self.entries
            .retain(|entry| own.iter().all(|o| o.name != entry.name));
        self.entries.splice(0..0, own);
        Ok(self)
    }

    /// All entries: the user's own first, then in the order of the file.
    #[must_use]
    pub fn entries(&self) -> &[ImageEntry] {
        &self.entries
    }

    /// The entry of this name or alias.
    ///
    /// # Errors
    ///
    /// When there is none; the error names the one most like it.
    pub fn lookup(&self, name: &str) -> Result<&ImageEntry, CatalogError> {
        let by_name = self.entries.iter().find(|entry| entry.name == name);
        let by_alias = || {
            self.entries
                .iter()
                .find(|entry| entry.aliases.iter().any(|a| a == name))
        };
        by_name.or_else(by_alias).ok_or_else(|| CatalogError::Unknown {
            name: name.to_owned(),
            nearest: self.nearest(name),
        })
    }

    fn nearest(&self, name: &str) -> Option<String> {
        let mut best: Option<(f64, &str)> = None;
        for candidate in self.entries.iter().flat_map(ImageEntry::names) {
            let likeness = strsim::jaro_winkler(&name.to_ascii_lowercase(), candidate);
            if likeness > best.map_or(0.8, |(likeness, _)| likeness) {
                best = Some((likeness, candidate));
            }
        }
        best.map(|(_, name)| name.to_owned())
    }
}

fn read(text: &str, file: &str) -> Result<Vec<ImageEntry>, CatalogError> {
    let bad = |message: String| CatalogError::File {
        file: file.to_owned(),
        message,
    };
    let entries: Vec<ImageEntry> = serde_saphyr::from_str(text).map_err(|e| bad(e.to_string()))?;
    let mut names: Vec<&str> = Vec::new();
    for entry in &entries {
        if let Some(problem) = entry.problem() {
            return Err(bad(format!("image `{}`: {problem}", entry.name)));
        }
        for name in entry.names() {
            if names.contains(&name) {
                return Err(bad(format!("`{name}` names two images")));
            }
            names.push(name);
        }
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::values::DigestKind;

    fn builtin() -> Catalog {
        Catalog::builtin().unwrap()
    }

    #[test]
    fn every_digest_is_whole_and_there_once() {
        let catalog = builtin();
        let mut seen = BTreeSet::new();
        for entry in catalog.entries() {
            for digest in entry.compressed.iter().chain(&entry.raw) {
                assert_eq!(digest.kind(), DigestKind::Sha256, "{}", entry.name);
                assert!(
                    seen.insert(digest.clone()),
                    "{}: {digest} is there twice",
                    entry.name
                );
            }
            assert!(seen.len() < 500);
        }
        assert!(seen.len() >= 50, "{}", seen.len());
        let urls: BTreeSet<&str> = catalog.entries().iter().map(|e| e.url.as_str()).collect();
        assert_eq!(urls.len(), catalog.entries().len());
    }

    #[test]
    fn values_that_wrong_pins_in_the_wild_confuse_are_right() {
        let compressed = |name: &str| builtin().lookup(name).unwrap().compressed.clone().unwrap().hex();
        assert!(compressed("raspios-bookworm-arm64-2025-05-13").starts_with("62d025b9bc7ca0e1"));
        assert!(compressed("raspios-trixie-arm64-2025-10-01").starts_with("79146135607ffe8a"));
        assert!(compressed("raspios-bullseye-armhf-2023-05-03").starts_with("b5e3a1d984a7eaa4"));
    }

    #[test]
    fn the_state_of_a_checksum_follows_its_evidence() {
        for entry in builtin().entries() {
            let expected = match entry.evidence {
                Evidence::A | Evidence::B => ChecksumState::PinnedCrossChecked,
                Evidence::C => ChecksumState::PinnedOneSource,
                Evidence::None => ChecksumState::Published,
            };
            assert_eq!(entry.checksum, expected, "{}", entry.name);
            assert!(entry.checksum_url.is_some(), "{}", entry.name);
        }
    }

    #[test]
    fn every_promised_image_is_there() {
        let catalog = builtin();
        for (name, family, arch) in [
            ("raspios-trixie-arm64", "raspios-trixie", Arch::Arm64),
            ("raspios-trixie-arm64-2026-10-06", "raspios-trixie", Arch::Arm64),
            ("raspios-trixie-armhf", "raspios-trixie", Arch::Armhf),
            ("raspios-bookworm-arm64", "raspios-bookworm", Arch::Arm64),
            ("raspios-bookworm-armhf", "raspios-bookworm", Arch::Armhf),
            ("raspios-bullseye-arm64", "raspios-bullseye", Arch::Arm64),
            ("raspios-buster-armhf", "raspios-buster", Arch::Armhf),
            ("ubuntu-24.04-raspi-arm64", "ubuntu", Arch::Arm64),
            ("hypriotos-1.9.0", "hypriot", Arch::Armhf),
            ("hypriotos-1.10.0", "hypriot", Arch::Armhf),
            ("hypriotos-1.12.3", "hypriot", Arch::Armhf),
            ("rpi64-v20180429-184538", "rpi64", Arch::Arm64),
            ("debian-raspi-bookworm-arm64", "debian-raspi", Arch::Arm64),
        ] {
            let entry = catalog.lookup(name).unwrap();
            assert_eq!((entry.family.as_str(), entry.arch), (family, arch), "{name}");
        }
    }

    #[test]
    fn an_alias_stands_for_the_newest_of_its_series() {
        let catalog = builtin();
        for entry in catalog.entries().iter().filter(|e| e.name.starts_with("rasp")) {
            let (series, _) = entry.name.split_at(entry.name.len() - "-2026-10-06".len());
            let newest = catalog.lookup(series).unwrap();
            assert!(newest.version >= entry.version, "{series}");
        }
    }

    #[test]
    fn a_wrong_name_is_met_with_the_nearest() {
        let text = builtin().lookup("raspios-trixi-arm64").unwrap_err().to_string();
        assert!(text.contains("did you mean `raspios-trixie-arm64`?"), "{text}");
        let text = builtin().lookup("zzz").unwrap_err().to_string();
        assert_eq!(text, "there is no image `zzz`; `ceil-img images` lists them all");
    }

    const OWN: &str = "
- name: hypriotos-1.9.0
  aliases: [raspios-trixie-arm64]
  family: hypriot
  os: HypriotOS
  version: 1.9.0-mine
  arch: armhf
  boot_mount: /boot
  url: http://mirror.example/h.zip
  checksum: tofu
";

    #[test]
    fn the_users_own_file_replaces_by_name() {
        let before = builtin().entries().len();
        let catalog = builtin().with_user_file(OWN, "images.yaml").unwrap();
        assert_eq!(catalog.entries().len(), before);
        assert_eq!(
            catalog.lookup("hypriotos-1.9.0").unwrap().url,
            "http://mirror.example/h.zip"
        );
        // An alias can be taken over as well.
        assert_eq!(
            catalog.lookup("raspios-trixie-arm64").unwrap().version,
            "1.9.0-mine"
        );
        assert!(catalog.lookup("raspios-trixie-arm64-2026-10-06").is_ok());
    }

    #[test]
    fn a_bad_file_is_refused_with_its_place() {
        for (change, parts) in [
            (OWN.replace("  os:", "  oss:"), vec!["oss", "4"]),
            (OWN.replace("armhf", "arm"), vec!["arm"]),
            (
                OWN.replace("tofu", "published"),
                vec!["hypriotos-1.9.0", "checksum_url"],
            ),
            (OWN.replace("tofu", "pinned-one-source"), vec!["contradict"]),
            (format!("{OWN}  compressed: abc\n"), vec!["`abc` is not a digest"]),
            (OWN.replace("http:", "ftp:"), vec!["not an http"]),
            (OWN.replace("hypriotos-1.9.0", "a b"), vec!["is not a name"]),
            (format!("{OWN}{OWN}"), vec!["names two images"]),
        ] {
            let text = builtin()
                .with_user_file(&change, "my.yaml")
                .unwrap_err()
                .to_string();
            assert!(text.starts_with("my.yaml: "), "{text}");
            for part in parts {
                assert!(text.contains(part), "`{part}` not in: {text}");
            }
        }
    }
}
