#![no_main]
use ceil_img_fuzz::input::{self, Input};
use ceil_img_fuzz::{bases, table};
use libfuzzer_sys::fuzz_target;

const SECTOR: usize = 512;

fuzz_target!(|data: &[u8]| {
    let Some(input) = Input::parse(data) else { return };
    let mut image = bases::GPT.clone();
    let backup = image.len() / SECTOR - 1;
    // Protective MBR, header, the first entries, and the same of the backup.
    let pieces = [
        0..SECTOR,
        SECTOR..SECTOR + 96,
        2 * SECTOR..4 * SECTOR,
        backup * SECTOR..backup * SECTOR + 96,
        (backup - 32) * SECTOR..(backup - 30) * SECTOR,
    ];
    for (distance, place, bytes) in input.changes() {
        let range = pieces[(input.piece + distance) % pieces.len()].clone();
        input::put(&mut image[range], place, bytes);
    }
    // With the entries equal, a change gets as far as it can.
    if input.work & 1 != 0 {
        image.copy_within(2 * SECTOR..34 * SECTOR, (backup - 32) * SECTOR);
    }
    if !input.unsealed {
        seal(&mut image, 1);
        seal(&mut image, backup);
    }
    table::grow(&image);
});

/// Makes the checksums of the GPT header in a sector right; `None` when none is there.
fn seal(data: &mut [u8], sector: usize) -> Option<()> {
    let at = sector * SECTOR;
    let header = data.get(at..at + SECTOR)?;
    if !header.starts_with(b"EFI PART") {
        return None;
    }
    let number = |at: usize| {
        let bytes = [header[at], header[at + 1], header[at + 2], header[at + 3]];
        u32::from_le_bytes(bytes) as usize
    };
    let (size, entries) = (number(12), number(72).checked_mul(SECTOR)?);
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
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            crc >> 1 ^ (crc & 1) * 0xedb8_8320
        })
    })
}
