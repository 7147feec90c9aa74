//! Bits of block and inode bitmaps: bit `n` is bit `n % 8` of byte `n / 8`.

pub(crate) fn get(map: &[u8], bit: usize) -> bool {
    map[bit / 8] >> (bit % 8) & 1 == 1
}

pub(crate) fn set(map: &mut [u8], bit: usize, on: bool) {
    let mask = 1 << (bit % 8);
    if on {
        map[bit / 8] |= mask;
    } else {
        map[bit / 8] &= !mask;
    }
}

/// Sets `from..to`.
pub(crate) fn set_range(map: &mut [u8], from: usize, to: usize) {
    let mut bit = from;
    while bit < to {
        if bit.is_multiple_of(8) && to - bit >= 8 {
            map[bit / 8] = 0xFF;
            bit += 8;
        } else {
            set(map, bit, true);
            bit += 1;
        }
    }
}

/// The first bit in `from..to` that is `on`.
pub(crate) fn find(map: &[u8], from: usize, to: usize, on: bool) -> Option<usize> {
    let skip = if on { 0u8 } else { 0xFF };
    let mut bit = from;
    while bit < to {
        if bit.is_multiple_of(64) && to - bit >= 64 && map[bit / 8..bit / 8 + 8] == [skip; 8] {
            bit += 64;
        } else if bit.is_multiple_of(8) && map[bit / 8] == skip {
            bit += 8;
        } else if get(map, bit) == on {
            return Some(bit);
        } else {
            bit += 1;
        }
    }
    None
}

/// Number of clear bits in `0..to`.
pub(crate) fn count_clear(map: &[u8], to: usize) -> usize {
    let whole: usize = map[..to / 8].iter().map(|b| b.count_zeros() as usize).sum();
    whole + (to / 8 * 8..to).filter(|bit| !get(map, *bit)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_as_bit_by_bit_search_does() {
        let mut map = vec![0xFFu8; 32];
        for bit in [3usize, 64, 65, 127, 200] {
            set(&mut map, bit, false);
        }
        for from in 0..256 {
            for to in [from, 256.min(from + 70), 256] {
                let slow = (from..to).find(|b| !get(&map, *b));
                assert_eq!(find(&map, from, to, false), slow, "{from}..{to}");
                let slow = (from..to).find(|b| get(&map, *b));
                assert_eq!(find(&map, from, to, true), slow, "{from}..{to}");
            }
        }
        assert_eq!(count_clear(&map, 256), 5);
        assert_eq!(count_clear(&map, 65), 2);
        set_range(&mut map, 60, 201);
        assert_eq!(count_clear(&map, 256), 1);
    }
}
