#![no_main]
use ceil_img::disk::{Bytes, Overlay, Table};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    grow(data);
    // Few changes get past a GPT's checksums: the same once more with right ones.
    let mut sealed = data.to_vec();
    let backup = (data.len() / 512).saturating_sub(1);
    if seal(&mut sealed, 1).is_some() | seal(&mut sealed, backup).is_some() {
        grow(&sealed);
    }
});

fn grow(data: &[u8]) {
    let overlay = Overlay::new(Bytes::shared(data));
    if let Ok(mut table) = Table::read(&overlay) {
        overlay.set_len(data.len() as u64 + (1 << 20));
        let number = table.partitions[0].number;
        let len = table.partitions[0].len + (1 << 16);
        let _ = table.grow(&overlay, number, len);
    }
}

/// Makes the checksums of the GPT header in a sector right; `None` when none is there.
fn seal(data: &mut [u8], sector: usize) -> Option<()> {
    let at = sector * 512;
    let header = data.get(at..at + 512)?;
    if !header.starts_with(b"EFI PART") {
        return None;
    }
    let number = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]) as usize;
    let (size, entries) = (number(12), number(72).checked_mul(512)?);
    let end = number(80).checked_mul(number(84))?.checked_add(entries)?;
    let sum = crc32(data.get(entries..end)?);
    data[at + 88..at + 92].copy_from_slice(&sum.to_le_bytes());
    data[at + 16..at + 20].fill(0);
    let sum = crc32(data.get(at..at.checked_add(size)?)?);
    data[at + 16..at + 20].copy_from_slice(&sum.to_le_bytes());
    Some(())
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| crc >> 1 ^ (crc & 1) * 0xedb8_8320)
    })
}
