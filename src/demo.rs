//! The demo base (stub until the maker of ext4 is there).
use crate::disk::Overlay;
use crate::fs::FsError;
use std::sync::Arc;
/// Makes it.
///
/// # Errors
/// Always, for now.
pub fn image() -> Result<Arc<Overlay>, FsError> {
    Err(FsError::Unsupported("not yet".to_owned()))
}
