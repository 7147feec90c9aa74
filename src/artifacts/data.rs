//! The data file: what it may hold, and whole artifacts out of its rules.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

use super::{Artifact, ArtifactError, Install, Unpack, normal};
use crate::catalog::Evidence;
use crate::values::{Arch, Digest, DigestKind, Mode, shown_url};

/// Everything of one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Program {
    rules: Rules,
    files: Vec<Artifact>,
}

/// What the releases of an artifact have in common.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Rules {
    urls: BTreeMap<Arch, String>,
    checksum_urls: BTreeMap<Arch, String>,
    unpack: Unpack,
    install: Vec<RawInstall>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct RawProgram {
    name: String,
    /// Both are for readers of the file.
    #[serde(default, rename = "about")]
    _about: Option<String>,
    #[serde(default, rename = "notes")]
    _notes: Option<String>,
    urls: Option<BTreeMap<Arch, String>>,
    checksum_urls: Option<BTreeMap<Arch, String>>,
    unpack: Option<Unpack>,
    install: Option<Vec<RawInstall>>,
    files: Vec<RawFile>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct RawFile {
    version: String,
    arch: Arch,
    url: Option<String>,
    #[serde(default)]
    mirrors: Vec<String>,
    #[serde(default, deserialize_with = "digest")]
    sha256: Option<Digest>,
    checksum_url: Option<String>,
    size: Option<u64>,
    #[serde(default)]
    evidence: Evidence,
    #[serde(default, rename = "notes")]
    _notes: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct RawInstall {
    to: Option<String>,
    mode: Option<String>,
    member: Option<String>,
    tree: Option<String>,
    from: Option<String>,
}

fn digest<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Digest>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| match text.parse::<Digest>() {
        Ok(digest) if digest.kind() == DigestKind::Sha256 => Ok(digest),
        Ok(_) => Err(serde::de::Error::custom(
            "`sha256` holds a SHA-512; it must be 64 hex digits",
        )),
        Err(error) => Err(serde::de::Error::custom(error)),
    })
    .transpose()
}

impl Program {
    pub(super) fn artifacts(&self) -> impl Iterator<Item = &Artifact> {
        self.files.iter()
    }

    /// The architectures that there are files for, sorted.
    pub(super) fn arches(&self) -> Vec<Arch> {
        let mut arches: Vec<Arch> = self.files.iter().map(|f| f.arch).collect();
        arches.sort();
        arches.dedup();
        arches
    }

    /// Puts the files of another in, over those of the same version and architecture.
    pub(super) fn adopt(&mut self, own: Self) {
        let taken = |old: &Artifact| {
            own.files
                .iter()
                .any(|new| (&new.version, new.arch) == (&old.version, old.arch))
        };
        self.files.retain(|old| !taken(old));
        self.files.splice(0..0, own.files);
        self.rules = own.rules;
    }
}

/// Reads a file of artifacts; `known` gives the rules that an entry leaves out.
pub(super) fn read(
    text: &str,
    file: &str,
    known: &BTreeMap<String, Program>,
) -> Result<BTreeMap<String, Program>, ArtifactError> {
    let bad = |message: String| ArtifactError::File {
        file: file.to_owned(),
        message,
    };
    let raw: Vec<RawProgram> = serde_saphyr::from_str(text).map_err(|e| bad(e.to_string()))?;
    let mut programs = BTreeMap::new();
    for program in raw {
        let name = program.name.clone();
        let read = build(program, known.get(&name)).map_err(|e| bad(format!("artifact `{name}`: {e}")))?;
        if programs.insert(name.clone(), read).is_some() {
            return Err(bad(format!(
                "`{name}` is there twice; put all its files under one name"
            )));
        }
    }
    Ok(programs)
}

fn build(raw: RawProgram, known: Option<&Program>) -> Result<Program, String> {
    let usual = |text: &str, more: &str| {
        !text.is_empty()
            && text
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "-._".contains(c) || more.contains(c))
    };
    if !usual(&raw.name, "") {
        return Err("this is not a name; use letters, digits, dots, hyphens and underscores".to_owned());
    }
    let default = Rules::default();
    let base = known.map_or(&default, |program| &program.rules);
    let rules = Rules {
        urls: raw.urls.unwrap_or_else(|| base.urls.clone()),
        checksum_urls: raw.checksum_urls.unwrap_or_else(|| base.checksum_urls.clone()),
        unpack: raw.unpack.unwrap_or(base.unpack),
        install: raw.install.unwrap_or_else(|| base.install.clone()),
    };
    if rules.install.is_empty() {
        return Err("`install` is missing: where does it go in the image?".to_owned());
    }
    let mut files: Vec<Artifact> = Vec::new();
    for file in raw.files {
        if !usual(&file.version, "+~:") {
            return Err(format!("`{}` is not a version", file.version));
        }
        let artifact = whole(&raw.name, file, &rules)?;
        if files
            .iter()
            .any(|f| (&f.version, f.arch) == (&artifact.version, artifact.arch))
        {
            return Err(format!(
                "version {} for {} is there twice",
                artifact.version, artifact.arch
            ));
        }
        files.push(artifact);
    }
    Ok(Program { rules, files })
}

fn whole(name: &str, file: RawFile, rules: &Rules) -> Result<Artifact, String> {
    let version = normal(&file.version).to_owned();
    let arch = file.arch;
    let url = file
        .url
        .or_else(|| rules.urls.get(&arch).cloned())
        .ok_or_else(|| {
            format!("there is no URL for {arch}: add one under `urls`, or `url` beside version {version}")
        })?;
    let in_url = |text: &str| fill(text, &version.replace('+', "%2B"), arch, "");
    let url = in_url(&url)?;
    let checksum_url = file
        .checksum_url
        .or_else(|| rules.checksum_urls.get(&arch).cloned())
        .map(|url| in_url(&url))
        .transpose()?;
    let mirrors = file
        .mirrors
        .iter()
        .map(|url| in_url(url))
        .collect::<Result<Vec<_>, _>>()?;
    for url in [&url].into_iter().chain(&checksum_url).chain(&mirrors) {
        if !url.starts_with("https://") && !url.starts_with("http://") {
            return Err(format!("`{}` is not an http or https URL", shown_url(url)));
        }
    }
    let last = url.rsplit('/').next().unwrap_or_default();
    let install = rules
        .install
        .iter()
        .map(|raw| install(raw, rules.unpack, |text| fill(text, &version, arch, last)))
        .collect::<Result<_, _>>()?;
    Ok(Artifact {
        name: name.to_owned(),
        version,
        arch,
        url,
        mirrors,
        sha256: file.sha256,
        checksum_url,
        size: file.size,
        evidence: file.evidence,
        unpack: rules.unpack,
        install,
    })
}

fn install(
    raw: &RawInstall,
    unpack: Unpack,
    fill: impl Fn(&str) -> Result<String, String>,
) -> Result<Install, String> {
    let path = |text: &str| -> Result<String, String> {
        let path = fill(text)?;
        if !path.starts_with('/') || path.split('/').any(|part| part == "..") {
            return Err(format!("`{path}` is not an absolute path in the image"));
        }
        Ok(path)
    };
    let mode = || -> Result<Mode, String> {
        let text = raw
            .mode
            .as_deref()
            .ok_or("a file needs its `mode`, such as \"0755\"")?;
        text.parse().map_err(|e| format!("{e}"))
    };
    let packed = unpack == Unpack::Tar;
    match (&raw.to, &raw.member, &raw.tree, &raw.from) {
        (Some(to), None, None, None) if !packed => Ok(Install::File {
            to: path(to)?,
            mode: mode()?,
        }),
        (Some(to), Some(member), None, None) if packed => Ok(Install::Member {
            member: fill(member)?.trim_start_matches("./").to_owned(),
            to: path(to)?,
            mode: mode()?,
        }),
        (None, None, Some(to), from) if packed && raw.mode.is_none() => Ok(Install::Tree {
            from: fill(from.as_deref().unwrap_or_default())?
                .trim_start_matches("./")
                .trim_matches('/')
                .to_owned(),
            to: path(to)?,
        }),
        _ => Err(
            "`install` takes {to, mode} for a file as it came, and {member, to, mode} or {from, tree} \
                  with `unpack: tar`"
                .to_owned(),
        ),
    }
}

/// Fills the words in braces in.
fn fill(text: &str, version: &str, arch: Arch, file: &str) -> Result<String, String> {
    let filled = text
        .replace("{version}", version)
        .replace("{arch}", arch.word())
        .replace("{goarch}", arch.go_word())
        .replace("{file}", file);
    if filled.contains(['{', '}']) {
        return Err(format!(
            "`{text}` holds a word in braces that is none of {{version}}, {{arch}}, {{goarch}}, {{file}}"
        ));
    }
    Ok(filled)
}
