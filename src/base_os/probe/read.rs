//! Reading from a volume where what is not there is a fact too.

use crate::fs::{Follow, FsError, FsResult, NodeKind, Stat, Volume, resolve};

/// Longest file that is looked into, in bytes; `/var/lib/dpkg/status` of a full desktop has about 5 MB.
const MAX_TEXT: u64 = 32 << 20;

/// The node behind a path, through the image's own links; `None` when there is none.
pub(super) fn node(volume: &dyn Volume, path: &str, follow: Follow) -> FsResult<Option<(Vec<u8>, Stat)>> {
    let path = match resolve(volume, path.as_bytes(), follow) {
        Ok(path) => path,
        Err(FsError::NotADirectory(_) | FsError::SymlinkLoop(_) | FsError::NotFound(_)) => return Ok(None),
        Err(e) => return Err(e),
    };
    Ok(volume.stat(&path)?.map(|stat| (path, stat)))
}

/// A regular file and its length.
pub(super) fn file(volume: &dyn Volume, path: &str) -> FsResult<Option<(Vec<u8>, u64)>> {
    Ok(node(volume, path, Follow::Last)?
        .filter(|(_, stat)| stat.kind == NodeKind::File)
        .map(|(path, stat)| (path, stat.size)))
}

pub(super) fn dir(volume: &dyn Volume, path: &str) -> FsResult<Option<Vec<u8>>> {
    Ok(node(volume, path, Follow::Last)?
        .filter(|(_, stat)| stat.kind == NodeKind::Dir)
        .map(|(path, _)| path))
}

pub(super) fn exists(volume: &dyn Volume, path: &str) -> FsResult<bool> {
    Ok(file(volume, path)?.is_some())
}

/// Whether a name is there, whatever it is and wherever it points.
pub(super) fn named(volume: &dyn Volume, path: &str) -> FsResult<bool> {
    Ok(node(volume, path, Follow::Parents)?.is_some())
}

/// The first of several paths that is a file.
pub(super) fn first(volume: &dyn Volume, paths: &[&str]) -> FsResult<Option<String>> {
    for path in paths {
        if exists(volume, path)? {
            return Ok(Some((*path).to_owned()));
        }
    }
    Ok(None)
}

/// Names in a directory, sorted; none when there is no such directory.
pub(super) fn names(volume: &dyn Volume, path: &str) -> FsResult<Vec<String>> {
    let Some(dir) = dir(volume, path)? else {
        return Ok(Vec::new());
    };
    let mut names: Vec<String> = volume
        .read_dir(&dir)?
        .into_iter()
        .map(|entry| String::from_utf8_lossy(&entry.name).into_owned())
        .filter(|name| name != "." && name != "..")
        .collect();
    names.sort();
    Ok(names)
}

/// A text file; bytes that are no UTF-8 are replaced. A file that is too long counts as missing.
pub(super) fn text(volume: &dyn Volume, path: &str) -> FsResult<Option<String>> {
    let Some((path, size)) = file(volume, path)?.filter(|(_, size)| *size <= MAX_TEXT) else {
        return Ok(None);
    };
    let bytes = head(volume, &path, size)?;
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

pub(super) fn head(volume: &dyn Volume, path: &[u8], len: u64) -> FsResult<Vec<u8>> {
    let source = volume.open(path)?;
    let len = len.min(source.len()).min(MAX_TEXT);
    let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
    source.read_at(0, &mut bytes)?;
    Ok(bytes)
}
