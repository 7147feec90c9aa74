use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::plan::Origin;

use super::{InputError, OWNERS_FILE};

/// What a walk found, sorted by the bytes of the path, so parents come before children.
pub(super) struct Walk {
    pub entries: Vec<FoundEntry>,
    /// The root holds an owner file.
    pub has_owners: bool,
}

pub(super) struct FoundEntry {
    /// Path below the root.
    pub path: String,
    pub kind: Found,
}

pub(super) enum Found {
    Dir,
    Symlink(String),
    File { executable: bool },
}

/// Lists an overlay tree. Symlinks in it are listed, not followed.
pub(super) fn walk(root: &Path, origin: &Origin) -> Result<Walk, InputError> {
    let read = |path: &Path| {
        let path = path.to_owned();
        move |source| InputError::Read {
            origin: Some(origin.clone()),
            path,
            source,
        }
    };
    let unfit = |path: PathBuf, why: &str| InputError::Unfit {
        origin: Some(origin.clone()),
        path,
        why: why.to_owned(),
    };
    if !fs::metadata(root).map_err(read(root))?.is_dir() {
        return Err(unfit(root.to_owned(), "is not a folder, which `tree` wants"));
    }
    let mut found = Walk {
        entries: Vec::new(),
        has_owners: false,
    };
    let mut pending = vec![String::new()];
    while let Some(below) = pending.pop() {
        let dir = root.join(&below);
        for entry in fs::read_dir(&dir).map_err(read(&dir))? {
            let entry = entry.map_err(read(&dir))?;
            let host = entry.path();
            let Some(name) = entry.file_name().to_str().map(str::to_owned) else {
                return Err(unfit(host, "has a name that is not UTF-8"));
            };
            if below.is_empty() && name == OWNERS_FILE {
                found.has_owners = true;
                continue;
            }
            let path = if below.is_empty() {
                name
            } else {
                format!("{below}/{name}")
            };
            let meta = fs::symlink_metadata(&host).map_err(read(&host))?;
            let kind = meta.file_type();
            let kind = if kind.is_dir() {
                pending.push(path.clone());
                Found::Dir
            } else if kind.is_symlink() {
                let target = fs::read_link(&host).map_err(read(&host))?;
                match target.to_str() {
                    Some(text) => Found::Symlink(text.to_owned()),
                    None => return Err(unfit(host, "points to a name that is not UTF-8")),
                }
            } else if kind.is_file() {
                // The umask takes group and world bits away, so only the owner's bit says something.
                Found::File {
                    executable: meta.permissions().mode() & 0o100 != 0,
                }
            } else {
                let what = if kind.is_socket() {
                    "a socket"
                } else if kind.is_fifo() {
                    "a named pipe"
                } else {
                    "a device node"
                };
                let why = format!("is {what}; an overlay holds files, folders and symlinks");
                return Err(unfit(host, &why));
            };
            found.entries.push(FoundEntry { path, kind });
        }
    }
    found
        .entries
        .sort_by(|a, b| a.path.as_bytes().cmp(b.path.as_bytes()));
    Ok(found)
}
