//! Growing.

use std::sync::Arc;

use super::Ext4;
use super::super::FsResult;
use super::error::unsupported;
use crate::disk::BlockIo;

impl Ext4 {
    pub(crate) fn do_grow(&mut self, _device: Arc<dyn BlockIo>) -> FsResult<()> {
        unsupported("growing")
    }
}
