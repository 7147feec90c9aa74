//! A file that appears complete or not at all.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::EmitError;

/// A file being written under a name of its own beside the final one. Dropped without [`Output::finish`], it is
/// removed and the final name keeps what it had.
///
/// The temporary name is fixed (`.NAME.part`), so that a killed run leaves one file that the next run takes over,
/// and it is locked, so that two runs never write the same one.
#[derive(Debug)]
pub struct Output {
    target: PathBuf,
    part: PathBuf,
    file: Option<File>,
}

impl Output {
    /// Begins writing what will become `target`. Missing directories are made.
    ///
    /// # Errors
    /// [`EmitError::Busy`] when another process writes the same target.
    pub fn create(target: &Path) -> Result<Self, EmitError> {
        let fail = |source| EmitError::Write {
            path: target.to_owned(),
            source,
        };
        let name = target
            .file_name()
            .ok_or_else(|| fail(io::Error::from(io::ErrorKind::IsADirectory)))?;
        if target.is_dir() {
            return Err(fail(io::Error::from(io::ErrorKind::IsADirectory)));
        }
        let parent = match target.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        fs::create_dir_all(parent).map_err(fail)?;
        let mut part_name = std::ffi::OsString::from(".");
        part_name.push(name);
        part_name.push(".part");
        let part = parent.join(part_name);
        let file = loop {
            let (file, made) = open_or_make(&part).map_err(fail)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(EmitError::Busy(target.to_owned())),
                Err(TryLockError::Error(error)) => {
                    // Without locks nobody can say whose an older one is.
                    if made {
                        let _ = fs::remove_file(&part);
                    }
                    return Err(fail(error));
                }
            }
            // Between opening and locking, its writer may have given the file its final name, or removed it.
            if still_there(&file, &part).map_err(fail)? {
                break file;
            }
        };
        // From here on a failure removes the file again.
        let output = Self {
            target: target.to_owned(),
            part,
            file: Some(file),
        };
        output.file().set_len(0).map_err(fail)?;
        Ok(output)
    }

    /// A whole small file, complete but not yet under its final name.
    ///
    /// # Errors
    /// As [`Output::create`].
    pub fn with_bytes(target: &Path, bytes: &[u8]) -> Result<Self, EmitError> {
        let output = Self::create(target)?;
        io::Write::write_all(&mut output.file(), bytes).map_err(|e| output.error(e))?;
        Ok(output)
    }

    /// As [`Output::with_bytes`], for a file that holds a secret.
    ///
    /// # Errors
    /// As [`Output::create`].
    pub fn private(target: &Path, bytes: &[u8]) -> Result<Self, EmitError> {
        let output = Self::create(target)?;
        output.keep_private()?;
        io::Write::write_all(&mut output.file(), bytes).map_err(|e| output.error(e))?;
        Ok(output)
    }

    /// Lets nobody but its owner read the file; called before anything is written to it.
    ///
    /// # Errors
    /// The mode cannot be set.
    pub fn keep_private(&self) -> Result<(), EmitError> {
        self.file()
            .set_permissions(fs::Permissions::from_mode(0o600))
            .map_err(|e| self.error(e))
    }

    /// The file to write to.
    #[must_use]
    pub fn file(&self) -> &File {
        self.file.as_ref().expect("present until finish or drop")
    }

    /// The final name.
    #[must_use]
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// Wraps a failure with the name of this file.
    #[must_use]
    pub fn error(&self, source: io::Error) -> EmitError {
        EmitError::Write {
            path: self.target.clone(),
            source,
        }
    }

    /// Gives the file its final name, replacing what was there, once its bytes are on the disk: a power cut right
    /// after must not leave the name on an empty file.
    ///
    /// # Errors
    /// Writing back or the rename failed; the old file is untouched.
    pub fn finish(mut self) -> Result<(), EmitError> {
        self.file().sync_all().map_err(|e| self.error(e))?;
        fs::rename(&self.part, &self.target).map_err(|e| self.error(e))?;
        self.file = None;
        Ok(())
    }
}

/// Opens a file that may be there, and says whether it was made.
fn open_or_make(path: &Path) -> io::Result<(File, bool)> {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    match options.clone().create_new(true).open(path) {
        Ok(file) => Ok((file, true)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let file = options.create(true).truncate(false).open(path)?;
            Ok((file, false))
        }
        Err(error) => Err(error),
    }
}

/// Whether the path still names the open file.
fn still_there(file: &File, path: &Path) -> io::Result<bool> {
    let ours = file.metadata()?;
    match fs::symlink_metadata(path) {
        Ok(there) => Ok((there.dev(), there.ino()) == (ours.dev(), ours.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        // Removed while the lock is held: afterwards the name could belong to another run.
        if self.file.is_some() {
            // Nothing more can be done about a temporary file that cannot be removed.
            let _ = fs::remove_file(&self.part);
        }
    }
}
