#![no_main]
use ceil_img_fuzz::{bases, table};
use libfuzzer_sys::fuzz_target;

// The input is the first sector; further sectors, for the chains of extended partitions, begin at sector 64.
fuzz_target!(|data: &[u8]| {
    let mut image = bases::MBR.clone();
    let (first, more) = data.split_at(data.len().min(512));
    image[..first.len()].copy_from_slice(first);
    image[510..512].copy_from_slice(&[0x55, 0xaa]);
    let more = &more[..more.len().min(4096)];
    image[64 * 512..][..more.len()].copy_from_slice(more);
    table::grow(&image);
});
