//! A short-lived folder for sockets that nobody else may enter.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::Failure;

/// Longest path of the folder: names of sockets follow, and a socket's path has room for a hundred bytes.
const LONGEST: usize = 80;

/// The folder; removed with all that is in it when dropped.
pub struct Sockets(PathBuf);

impl Sockets {
    /// In the user's own runtime folder where the system has one, else among temporary files.
    pub fn make() -> Result<Self, Failure> {
        let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
        let places = [runtime, Some(std::env::temp_dir()), Some(PathBuf::from("/tmp"))];
        let mut random = [0; 6];
        getrandom::fill(&mut random).map_err(std::io::Error::from)?;
        let name = format!("ceil-{}", crate::values::hex(&random));
        let mut last = None;
        for place in places.into_iter().flatten() {
            let folder = place.join(&name);
            if !place.is_absolute() || folder.as_os_str().len() > LONGEST {
                continue;
            }
            match DirBuilder::new().mode(0o700).create(&folder) {
                Ok(()) => return Ok(Self(folder)),
                Err(error) => last = Some(error),
            }
        }
        let failure = match last {
            Some(error) => Failure::from(error),
            None => Failure::new("the paths of temporary folders are too long for sockets"),
        };
        Err(failure.while_doing("cannot make a folder for sockets"))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Sockets {
    fn drop(&mut self) {
        // What is left of sockets hurts nobody.
        let _ = fs::remove_dir_all(&self.0);
    }
}
