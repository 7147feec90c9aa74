#![no_main]
use ceil_img_fuzz::ext4;
use ceil_img_fuzz::layout::Kind;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| ext4::structures(data, &[Kind::Map, Kind::Extent, Kind::Indirect]));
