#![no_main]
use std::sync::Arc;

use ceil_img::disk::{BlockIo, Bytes, Overlay};
use ceil_img::fs::{self, FsError, NodeKind, tree};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let io: Arc<dyn BlockIo> = Arc::new(Overlay::new(Bytes::shared(data)));
    let _ = fs::recover(&io);
    let Ok(volume) = fs::open(io) else { return };
    let mut left = 2000u32;
    let mut buf = [0; 512];
    let _ = tree::walk(&*volume, b"/", &mut |path, stat| {
        left = left.checked_sub(1).ok_or(FsError::Damaged("enough".to_owned()))?;
        let _ = volume.xattrs(path);
        match stat.kind {
            NodeKind::File => {
                if let Ok(source) = volume.open(path) {
                    let len = source.len().min(512) as usize;
                    let _ = source.read_at(source.len() - len as u64, &mut buf[..len]);
                }
            }
            NodeKind::Symlink => drop(volume.read_link(path)),
            _ => {}
        }
        Ok::<(), FsError>(())
    });
    let _ = volume.check();
    let _ = volume.used_ranges();
});
