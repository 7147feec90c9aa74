//! What the firmware says about the supply of a board (P57).

/// Flags of `vcgencmd get_throttled`: the low half is now, the high half since the boot
/// (<https://www.raspberrypi.com/documentation/computers/os.html#get_throttled>).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Power(pub u32);

const FLAGS: [(u32, &str); 4] = [
    (0, "under-voltage"),
    (1, "frequency capped"),
    (2, "throttled"),
    (3, "too hot"),
];
/// Distance of a flag of the past from the same flag of now.
const PAST: u32 = 16;

impl Power {
    /// Reads `throttled=0x50005`, `0x50005` or, as the kernel writes it, `50005`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let text = text.strip_prefix("throttled=").unwrap_or(text);
        let digits = text.strip_prefix("0x").unwrap_or(text);
        u32::from_str_radix(digits, 16).ok().map(Self)
    }

    /// One entry for each flag, such as `under-voltage now` and `throttled since boot`; none when all is well.
    #[must_use]
    pub fn words(self) -> Vec<String> {
        let set = |bit: u32| self.0 & (1 << bit) != 0;
        FLAGS
            .iter()
            .filter_map(|(bit, word)| {
                if set(*bit) {
                    Some(format!("{word} now"))
                } else if set(bit + PAST) {
                    Some(format!("{word} since boot"))
                } else {
                    None
                }
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// P57: each flag by itself, now and in the past, in the three ways in which it is written.
    #[test]
    fn p57_flags_become_words() {
        let words = |text: &str| Power::parse(text).map(|p| p.words().join(", "));
        for (text, expected) in [
            ("throttled=0x0", ""),
            ("0x1", "under-voltage now"),
            ("0x2", "frequency capped now"),
            ("0x4", "throttled now"),
            ("0x8", "too hot now"),
            ("0x10000", "under-voltage since boot"),
            ("0x20000", "frequency capped since boot"),
            ("0x40000", "throttled since boot"),
            ("80000\n", "too hot since boot"),
            ("throttled=0x50005", "under-voltage now, throttled now"),
            (
                "throttled=0x50000",
                "under-voltage since boot, throttled since boot",
            ),
        ] {
            assert_eq!(words(text).as_deref(), Some(expected), "{text}");
        }
        for text in [
            "",
            "throttled=",
            "no",
            "0x100000000",
            "VCHI initialization failed",
        ] {
            assert_eq!(words(text), None, "{text}");
        }
    }
}
