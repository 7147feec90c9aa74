//! The text of a lock: YAML, sorted, one entry after the other, so that changes are easy to read and to merge.

use std::fmt::Write as _;

use serde::{Deserialize, Deserializer};
use serde_saphyr::Spanned;

use super::{Entry, Key, Kind, Lock, LockError, Raw, SignatureState};
use crate::values::{Arch, ChecksumState, Digest, DigestKind, shown_url};

/// The form that this program reads and writes.
const VERSION: u32 = 1;

const HEAD: &str = "\
# Made by ceil-img: what every input of this cluster is. Keep it beside the cluster file, under version control, and
# the same bytes are built everywhere. `ceil-img fetch` adds what is missing, `ceil-img fetch --update` renews it.
";

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct RawLock {
    lock: u32,
    #[serde(default)]
    bases: Vec<Spanned<RawEntry>>,
    #[serde(default)]
    artifacts: Vec<Spanned<RawEntry>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct RawEntry {
    name: String,
    version: Option<String>,
    arch: Option<Arch>,
    url: String,
    size: Option<u64>,
    #[serde(default, deserialize_with = "sha256")]
    sha256: Option<Digest>,
    raw_size: Option<u64>,
    #[serde(default, deserialize_with = "sha256")]
    raw_sha256: Option<Digest>,
    checksum: ChecksumState,
    #[serde(default)]
    signature: SignatureState,
}

fn sha256<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Digest>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| match text.parse::<Digest>() {
        Ok(digest) if digest.kind() == DigestKind::Sha256 => Ok(digest),
        _ => Err(serde::de::Error::custom(format!(
            "`{text}` is not a SHA-256; it has 64 hex digits"
        ))),
    })
    .transpose()
}

/// Reads a lock. `file` is its name in messages.
///
/// # Errors
/// [`LockError::Syntax`] with the line.
pub fn parse(text: &str, file: &str) -> Result<Lock, LockError> {
    let bad = |line: u64, message: String| LockError::Syntax {
        file: file.to_owned(),
        line,
        message,
    };
    for (number, line) in text.lines().enumerate() {
        if ["<<<<<<<", "=======", ">>>>>>>"]
            .iter()
            .any(|mark| line.starts_with(mark))
        {
            return Err(bad(
                number as u64 + 1,
                "here is a merge conflict; keep one side, or both where their names differ".to_owned(),
            ));
        }
    }
    let raw: RawLock = serde_saphyr::from_str(text).map_err(|error| {
        let line = error.location().map_or(1, |at| at.line());
        let words = error.without_snippet().to_string();
        bad(line, words.lines().next().unwrap_or_default().to_owned())
    })?;
    if raw.lock != VERSION {
        return Err(bad(
            1,
            format!(
                "this is a lock of form {}, and this ceil-img knows form {VERSION}",
                raw.lock
            ),
        ));
    }
    let mut lock = Lock::default();
    let bases = raw.bases.into_iter().map(|e| (Kind::Base, e));
    let artifacts = raw.artifacts.into_iter().map(|e| (Kind::Artifact, e));
    for (kind, entry) in bases.chain(artifacts) {
        let line = entry.referenced.line();
        let entry = whole(kind, entry.value).map_err(|message| bad(line, message))?;
        let key = entry.key();
        if lock.entries.contains_key(&key) {
            return Err(bad(line, format!("{key} is there twice; keep one")));
        }
        lock.entries.insert(key, (entry, line));
    }
    Ok(lock)
}

fn whole(kind: Kind, raw: RawEntry) -> Result<Entry, String> {
    let key = match (kind, &raw.version, raw.arch) {
        (Kind::Base, ..) => Key::base(&shown_url(&raw.name)),
        (Kind::Artifact, Some(version), Some(arch)) => Key::artifact(&raw.name, version, arch),
        (Kind::Artifact, ..) => return Err(format!("`{}` needs `version` and `arch`", raw.name)),
    };
    let image = match (raw.raw_size, raw.raw_sha256) {
        (Some(size), Some(sha256)) => Some(Raw { size, sha256 }),
        (None, None) => None,
        _ => {
            return Err(format!(
                "{key} needs both `raw-size` and `raw-sha256`, or neither"
            ));
        }
    };
    if image.is_none() && kind == Kind::Base {
        return Err(format!("{key} needs `raw-size` and `raw-sha256`"));
    }
    if image.is_some() && kind == Kind::Artifact {
        return Err(format!("{key} is no image: `raw-size` does not belong here"));
    }
    if raw.sha256.is_none() && kind == Kind::Artifact {
        return Err(format!("{key} needs `sha256`"));
    }
    if !raw.url.starts_with("https://") && !raw.url.starts_with("http://") {
        return Err(format!("`{}` is not an http or https URL", shown_url(&raw.url)));
    }
    Ok(Entry {
        kind,
        name: shown_url(&raw.name),
        version: raw.version,
        arch: raw.arch,
        // A lock written by hand may hold more than it should.
        url: shown_url(&raw.url),
        size: raw.size,
        sha256: raw.sha256,
        raw: image,
        checksum: raw.checksum,
        signature: raw.signature,
    })
}

/// The text of a lock. The same entries give the same text.
#[must_use]
pub fn print(lock: &Lock) -> String {
    let mut text = format!("{HEAD}lock: {VERSION}\n");
    for (kind, title) in [(Kind::Base, "bases"), (Kind::Artifact, "artifacts")] {
        let mut first = true;
        for entry in lock.entries().filter(|entry| entry.kind == kind) {
            if first {
                let _ = writeln!(text, "{title}:");
                first = false;
            }
            print_entry(&mut text, entry);
        }
    }
    text
}

fn print_entry(text: &mut String, entry: &Entry) {
    let mut begin = "  - ";
    let mut line = |key: &str, value: Option<String>| {
        if let Some(value) = value {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{begin}{key}: {value}");
            begin = "    ";
        }
    };
    line("name", Some(scalar(&entry.name)));
    line("version", entry.version.as_deref().map(quoted));
    line("arch", entry.arch.map(|arch| arch.to_string()));
    line("url", Some(scalar(&entry.url)));
    line("size", entry.size.map(|size| size.to_string()));
    line("sha256", entry.sha256.as_ref().map(|d| quoted(&d.hex())));
    line("raw-size", entry.raw.as_ref().map(|raw| raw.size.to_string()));
    line(
        "raw-sha256",
        entry.raw.as_ref().map(|raw| quoted(&raw.sha256.hex())),
    );
    line("checksum", Some(entry.checksum.to_string()));
    line("signature", Some(entry.signature.word().to_owned()));
}

/// As it is where every reader of YAML takes it for the same text.
fn scalar(text: &str) -> String {
    let plain = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.contains(['-', '/'])
        && !text.ends_with(':')
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-._/%+~:?=&@".contains(c));
    if plain { text.to_owned() } else { quoted(text) }
}

/// In double quotes: every JSON string is one of YAML too.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
