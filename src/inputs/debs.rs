//! Files of Debian packages on the host.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use super::InputError;
use crate::spec::At;

/// How every package begins: an archive of ar(5) whose first member tells the version of the format (deb(5)).
const MAGIC: &[u8] = b"!<arch>\ndebian-binary";

/// The files that an entry of `debs` stands for: itself, or the packages of a folder, sorted by name.
pub(super) fn files(entry: &At<String>, place: &Path) -> Result<Vec<PathBuf>, InputError> {
    let unread = |path: &Path| {
        let (origin, path) = (Some(entry.origin.clone()), path.to_owned());
        move |source| InputError::Read { origin, path, source }
    };
    let unfit = |path: &Path, why: &str| InputError::Unfit {
        origin: Some(entry.origin.clone()),
        path: path.to_owned(),
        why: why.to_owned(),
    };
    let mut files = Vec::new();
    if fs::metadata(place).map_err(unread(place))?.is_dir() {
        for found in fs::read_dir(place).map_err(unread(place))? {
            let path = found.map_err(unread(place))?.path();
            if path.extension().is_some_and(|ending| ending == "deb") {
                files.push(path);
            }
        }
        files.sort();
        if files.is_empty() {
            return Err(unfit(place, "is a folder without any `.deb` file"));
        }
    } else {
        files.push(place.to_owned());
    }
    for path in &files {
        let mut start = Vec::new();
        File::open(path)
            .and_then(|file| file.take(MAGIC.len() as u64).read_to_end(&mut start))
            .map_err(unread(path))?;
        if start != MAGIC {
            return Err(unfit(
                path,
                "is no package of Debian; `apt-get download NAME` brings one",
            ));
        }
    }
    Ok(files)
}
