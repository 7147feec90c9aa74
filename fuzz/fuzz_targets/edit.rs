#![no_main]
use std::sync::Arc;

use ceil_img::disk::{BlockIo, Bytes, Overlay};
use ceil_img::fs::{self, Attrs, Time};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let overlay = Arc::new(Overlay::new(Bytes::shared(data)));
    let io: Arc<dyn BlockIo> = overlay.clone();
    let Ok(mut volume) = fs::open(io) else { return };
    let attrs = Attrs::default();
    let content = Bytes::shared(&[0x5a; 5000]);
    let _ = volume.make_dir(b"/d", &attrs);
    let _ = volume.put_file(b"/d/f", &content, false, &attrs);
    let _ = volume.put_file(b"/a", &content, false, &attrs);
    let _ = volume.append(b"/a", &content, &attrs);
    let _ = volume.rename(b"/a", b"/d/b", Time::default());
    let _ = volume.remove(b"/d", true, Time::default());
    let _ = volume.commit();
    let _ = volume.check();
});
