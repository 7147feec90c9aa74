//! The fat editor.

use std::sync::Arc;

use super::{FsError, FsResult};
use crate::disk::BlockIo;

/// An open fat file system.
#[allow(missing_debug_implementations)]
pub struct Fat;

/// Whether the window looks like fat.
pub fn probe(_io: &dyn BlockIo) -> FsResult<bool> {
    Ok(false)
}

impl Fat {
    /// Opens it.
    pub fn open(_io: Arc<dyn BlockIo>) -> FsResult<Self> {
        Err(FsError::Unsupported("not yet".to_owned()))
    }
}
