//! Short ways to the errors of this module, and to integers of another width.

use super::super::{FsError, FsResult};

pub(crate) fn damaged<T>(what: impl Into<String>) -> FsResult<T> {
    Err(FsError::Damaged(what.into()))
}

pub(crate) fn unsupported<T>(what: impl Into<String>) -> FsResult<T> {
    Err(FsError::Unsupported(what.into()))
}

pub(crate) fn invalid<T>(path: &[u8], why: impl Into<String>) -> FsResult<T> {
    Err(FsError::Invalid {
        path: super::super::show(path),
        why: why.into(),
    })
}
