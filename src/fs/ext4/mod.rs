//! The ext4 editor.

use std::sync::Arc;

use super::{FsError, FsResult};
use crate::disk::BlockIo;

/// An open ext4 file system.
#[allow(missing_debug_implementations)]
pub struct Ext4;

/// Whether the window looks like ext4.
pub fn probe(_io: &dyn BlockIo) -> FsResult<bool> {
    Ok(false)
}

impl Ext4 {
    /// Opens it.
    pub fn open(_io: Arc<dyn BlockIo>) -> FsResult<Self> {
        Err(FsError::Unsupported("not yet".to_owned()))
    }
}
