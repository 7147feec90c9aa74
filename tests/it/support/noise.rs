//! Randomness for tests.

/// Numbers that look random and are the same for a seed.
pub fn noise(seed: u64) -> impl FnMut(&mut [u8]) -> std::io::Result<()> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    move |buf| {
        for byte in buf {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            *byte = (state >> 24) as u8;
        }
        Ok(())
    }
}
