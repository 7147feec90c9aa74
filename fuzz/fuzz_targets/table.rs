#![no_main]
use ceil_img::disk::{Bytes, Overlay, Table};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let overlay = Overlay::new(Bytes::shared(data));
    if let Ok(mut table) = Table::read(&overlay) {
        overlay.set_len(data.len() as u64 + (1 << 20));
        let number = table.partitions[0].number;
        let len = table.partitions[0].len + (1 << 16);
        let _ = table.grow(&overlay, number, len);
    }
});
