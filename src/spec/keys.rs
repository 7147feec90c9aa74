use std::path::{Path, PathBuf};

use super::At;
use super::edits::join_host;

/// The file that an entry of `ssh-keys` names; `None` for a key that stands there itself.
///
/// A line of `authorized_keys` has a blank in it, and the names of all kinds of keys begin with one of these words
/// (sshd(8), section AUTHORIZED_KEYS FILE FORMAT).
#[must_use]
pub fn key_file(entry: &At<String>) -> Option<PathBuf> {
    const KINDS: [&str; 3] = ["ssh-", "ecdsa-sha2-", "sk-"];
    let text = entry.value.trim();
    if text.contains(' ') && KINDS.iter().any(|kind| text.contains(kind)) {
        return None;
    }
    Some(host_path(entry))
}

/// The file that an entry of `images` names; `None` for a name of the catalog of artifacts.
///
/// Names have no `/`, and no catalog has an artifact that ends as an archive does.
#[must_use]
pub fn image_archive(entry: &At<String>) -> Option<PathBuf> {
    const ENDINGS: [&str; 6] = [".tar", ".tar.gz", ".tgz", ".tar.zst", ".tar.xz", ".tar.bz2"];
    let text = entry.value.trim();
    if !text.contains('/') && !ENDINGS.iter().any(|ending| text.ends_with(ending)) {
        return None;
    }
    Some(host_path(entry))
}

/// The file or folder that an entry names, beside the file that it stands in unless it is absolute.
#[must_use]
pub fn host_path(entry: &At<String>) -> PathBuf {
    let dir = Path::new(&entry.origin.file).parent().unwrap_or(Path::new(""));
    join_host(dir, entry.value.trim())
}
