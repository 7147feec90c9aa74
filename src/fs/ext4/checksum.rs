//! The checksums of ext4: crc32c (`metadata_csum`), crc16 (`uninit_bg`) and that of old journals, crc32, all without
//! final inversion.

/// Castagnoli polynomial, bit-reversed.
const CRC32C_POLY: u32 = 0x82F6_3B78;
/// `x^16 + x^15 + x^2 + 1`, bit-reversed (ANSI).
const CRC16_POLY: u16 = 0xA001;
/// The polynomial of Ethernet, not reversed: the first bit of a byte is its highest.
const CRC32_POLY: u32 = 0x04C1_1DB7;

/// Eight tables: one step takes eight bytes.
static CRC32C: [[u32; 256]; 8] = crc32c_tables();
static CRC16: [u16; 256] = crc16_table();
static CRC32: [u32; 256] = crc32_table();

const fn crc32c_tables() -> [[u32; 256]; 8] {
    let mut tables = [[0u32; 256]; 8];
    let mut i = 0;
    while i < 256 {
        let mut crc = i as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = (crc >> 1) ^ (CRC32C_POLY & (0u32.wrapping_sub(crc & 1)));
            bit += 1;
        }
        tables[0][i] = crc;
        i += 1;
    }
    let mut k = 1;
    while k < 8 {
        let mut i = 0;
        while i < 256 {
            let prev = tables[k - 1][i];
            tables[k][i] = (prev >> 8) ^ tables[0][(prev & 0xFF) as usize];
            i += 1;
        }
        k += 1;
    }
    tables
}

const fn crc16_table() -> [u16; 256] {
    let mut table = [0u16; 256];
    let mut i = 0;
    while i < 256 {
        let mut crc = i as u16;
        let mut bit = 0;
        while bit < 8 {
            crc = (crc >> 1) ^ (CRC16_POLY & (0u16.wrapping_sub(crc & 1)));
            bit += 1;
        }
        table[i] = crc;
        i += 1;
    }
    table
}

const fn crc32_table() -> [u32; 256] {
    let mut table = [0u32; 256];
    let mut i = 0;
    while i < 256 {
        let mut crc = (i as u32) << 24;
        let mut bit = 0;
        while bit < 8 {
            crc = (crc << 1) ^ (CRC32_POLY & (0u32.wrapping_sub(crc >> 31)));
            bit += 1;
        }
        table[i] = crc;
        i += 1;
    }
    table
}

/// Continues `crc` (start with `!0`) over `data`.
pub(crate) fn crc32c(mut crc: u32, data: &[u8]) -> u32 {
    let (chunks, rest) = data.as_chunks::<8>();
    for c in chunks {
        let lo = crc ^ u32::from_le_bytes([c[0], c[1], c[2], c[3]]);
        crc = CRC32C[7][(lo & 0xFF) as usize]
            ^ CRC32C[6][(lo >> 8 & 0xFF) as usize]
            ^ CRC32C[5][(lo >> 16 & 0xFF) as usize]
            ^ CRC32C[4][(lo >> 24) as usize]
            ^ CRC32C[3][usize::from(c[4])]
            ^ CRC32C[2][usize::from(c[5])]
            ^ CRC32C[1][usize::from(c[6])]
            ^ CRC32C[0][usize::from(c[7])];
    }
    for b in rest {
        crc = (crc >> 8) ^ CRC32C[0][((crc ^ u32::from(*b)) & 0xFF) as usize];
    }
    crc
}

/// Continues `crc` (start with `!0`) over `data`.
pub(crate) fn crc16(mut crc: u16, data: &[u8]) -> u16 {
    for b in data {
        crc = (crc >> 8) ^ CRC16[usize::from((crc ^ u16::from(*b)) & 0xFF)];
    }
    crc
}

/// Continues `crc` (start with `!0`) over `data`, highest bits first.
pub(crate) fn crc32_be(mut crc: u32, data: &[u8]) -> u32 {
    for b in data {
        crc = (crc << 8) ^ CRC32[((crc >> 24) ^ u32::from(*b)) as usize];
    }
    crc
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Check values of the catalogue of parametrised CRC algorithms (CRC-32/ISCSI, CRC-16/MODBUS, CRC-32/MPEG-2).
    #[test]
    fn known_values() {
        assert_eq!(!crc32c(!0, b"123456789"), 0xE306_9283);
        assert_eq!(crc16(!0, b"123456789"), 0x4B37);
        assert_eq!(crc32_be(!0, b"123456789"), 0x0376_E6E7);
        assert_eq!(crc32c(crc32c(!0, b"1234"), b"56789"), crc32c(!0, b"123456789"));
    }
}
