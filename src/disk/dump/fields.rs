//! Tables of fields: where each stands in its structure, its name in the format's documentation, how to show it.

use super::parts::Part;
use crate::values::{civil, hex};

/// How the bytes of a field are shown.
#[derive(Debug, Clone, Copy)]
pub enum Show {
    /// A number.
    Dec,
    /// A number in hexadecimal.
    Hex,
    /// Bytes in hexadecimal; `zero` when all are.
    Bytes,
    /// Text up to the first NUL, quoted.
    Text,
    /// 16 bytes as a UUID, in the order they stand.
    Uuid,
    /// 16 bytes as a GUID of the UEFI: the first three groups little-endian.
    Guid,
    /// Seconds since 1970, signed.
    Time,
    /// A number of which each value has a name.
    Choice(&'static [(u64, &'static str)]),
    /// Bits by number; an empty name is unknown.
    Bits(&'static [&'static str]),
    /// Bits by mask.
    Flags(&'static [(u64, &'static str)]),
}

/// One field.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// Offset in the structure.
    pub at: usize,
    /// Bytes.
    pub len: usize,
    /// Name in the format's documentation.
    pub name: &'static str,
    /// How it is shown.
    pub show: Show,
    /// What it is for, where the name does not say it.
    pub meaning: &'static str,
}

impl Field {
    /// A field of a table.
    #[must_use]
    pub const fn new(at: usize, len: usize, name: &'static str, show: Show, meaning: &'static str) -> Self {
        Self {
            at,
            len,
            name,
            show,
            meaning,
        }
    }
}

/// A structure: its fields by rising offset.
#[derive(Debug, Clone, Copy)]
pub struct Layout {
    /// The fields.
    pub fields: &'static [Field],
    /// Numbers are big-endian.
    pub big_endian: bool,
}

/// A number of 1 to 8 bytes; bytes that are not there count as 0.
#[must_use]
pub fn number(bytes: &[u8], at: usize, len: usize, big_endian: bool) -> u64 {
    let byte = |n: usize| u64::from(bytes.get(at.saturating_add(n)).copied().unwrap_or(0));
    (0..len.min(8)).fold(0, |value, n| {
        let place = if big_endian { n } else { len.min(8) - 1 - n };
        value << 8 | byte(place)
    })
}

/// Seconds since 1970 as `2025-11-20 20:14:40 UTC`.
#[must_use]
pub fn date(secs: i64) -> String {
    let (year, month, day) = civil(secs.div_euclid(86_400));
    let second = secs.rem_euclid(86_400);
    format!(
        "{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02} UTC",
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

fn uuid(bytes: &[u8]) -> String {
    let digits = hex(bytes);
    [(0, 8), (8, 12), (12, 16), (16, 20), (20, 32)]
        .map(|(from, to)| digits.get(from..to).unwrap_or_default().to_owned())
        .join("-")
}

fn guid(bytes: &[u8]) -> String {
    let mut ordered = bytes.to_vec();
    for range in [0..4, 4..6, 6..8] {
        if let Some(group) = ordered.get_mut(range) {
            group.reverse();
        }
    }
    uuid(&ordered)
}

/// Text in quotes, with what is not printable escaped.
fn quoted(bytes: &[u8]) -> String {
    let len = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    format!("\"{}\"", bytes[..len].escape_ascii())
}

fn names<'a>(value: u64, named: impl Iterator<Item = (u64, &'a str)>) -> String {
    let mut rest = value;
    let mut words: Vec<String> = Vec::new();
    for (mask, name) in named.filter(|(_, name)| !name.is_empty()) {
        if mask != 0 && rest & mask == mask {
            words.push(name.to_owned());
            rest &= !mask;
        }
    }
    if rest != 0 {
        words.push(format!("unknown {rest:#x}"));
    }
    words.join(" ")
}

impl Field {
    /// The field as a line, from the bytes of its structure.
    #[must_use]
    pub fn part(&self, bytes: &[u8], big_endian: bool) -> Part {
        let end = self.at + self.len;
        let raw = bytes.get(self.at..end).unwrap_or_default();
        let n = number(bytes, self.at, self.len, big_endian);
        let zero = raw.iter().all(|b| *b == 0);
        let (value, decoded) = match self.show {
            Show::Dec => (n.to_string(), String::new()),
            Show::Hex => (format!("{n:#x}"), String::new()),
            Show::Bytes | Show::Uuid | Show::Guid if zero => ("zero".to_owned(), String::new()),
            Show::Bytes => (hex(raw), String::new()),
            Show::Text => {
                let used = raw.iter().position(|b| *b == 0).unwrap_or(raw.len());
                let tail = raw[used..].iter().any(|b| *b != 0);
                let rest = if tail {
                    format!("and behind the NUL {}", hex(&raw[used..]))
                } else {
                    String::new()
                };
                (quoted(raw), rest)
            }
            Show::Uuid => (uuid(raw), String::new()),
            Show::Guid => (guid(raw), String::new()),
            Show::Time if n == 0 => ("0".to_owned(), String::new()),
            Show::Time => (n.to_string(), date(i64::from(n as u32 as i32))),
            Show::Choice(values) => {
                let name = values
                    .iter()
                    .find(|(v, _)| *v == n)
                    .map_or("unknown", |(_, name)| name);
                (n.to_string(), name.to_owned())
            }
            Show::Bits(bits) => {
                let named = bits.iter().enumerate().map(|(bit, name)| (1u64 << bit, *name));
                (format!("{n:#x}"), names(n, named))
            }
            Show::Flags(flags) => (format!("{n:#x}"), names(n, flags.iter().copied())),
        };
        let meaning = if decoded.is_empty() {
            self.meaning.to_owned()
        } else {
            decoded
        };
        Part::new(self.at..end, self.name, value, meaning)
    }
}

impl Layout {
    /// A structure with little-endian numbers.
    #[must_use]
    pub const fn little(fields: &'static [Field]) -> Self {
        Self {
            fields,
            big_endian: false,
        }
    }

    /// A structure with big-endian numbers.
    #[must_use]
    pub const fn big(fields: &'static [Field]) -> Self {
        Self {
            fields,
            big_endian: true,
        }
    }

    /// The fields that `bytes` has in full, as lines at `shift` behind where they stand.
    #[must_use]
    pub fn parts(&self, bytes: &[u8], shift: usize) -> Vec<Part> {
        self.fields
            .iter()
            .filter(|f| f.at + f.len <= bytes.len())
            .map(|f| {
                let mut part = f.part(bytes, self.big_endian);
                part.range = part.range.start + shift..part.range.end + shift;
                part
            })
            .collect()
    }

    /// All fields in one text, `name value` each, without those for which `leave` holds: for structures that take
    /// one line.
    #[must_use]
    pub fn brief(&self, bytes: &[u8], leave: &[&str]) -> String {
        self.fields
            .iter()
            .filter(|f| !leave.contains(&f.name))
            .map(|f| {
                let part = f.part(bytes, self.big_endian);
                format!("{} {}", f.name, part.value)
            })
            .collect::<Vec<_>>()
            .join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_shown_as_outsiders_show_them() {
        let bytes = [
            0x12, 0x34, 0x56, 0x78, 0x9A, 0xBC, 0xDE, 0xF0, 1, 2, 3, 4, 5, 6, 7, 8,
        ];
        assert_eq!(number(&bytes, 0, 4, false), 0x7856_3412);
        assert_eq!(number(&bytes, 0, 4, true), 0x1234_5678);
        assert_eq!(number(&bytes, 14, 4, false), 0x0807);
        assert_eq!(uuid(&bytes), "12345678-9abc-def0-0102-030405060708");
        assert_eq!(guid(&bytes), "78563412-bc9a-f0de-0102-030405060708");
        // `date -u -d @951827696`, `date -u -d @-1`
        assert_eq!(date(951_827_696), "2000-02-29 12:34:56 UTC");
        assert_eq!(date(-1), "1969-12-31 23:59:59 UTC");
        let flags = Field::new(0, 1, "f", Show::Flags(&[(2, "two"), (4, "four")]), "");
        assert_eq!(flags.part(&[0x16], false).meaning, "two four unknown 0x10");
        let text = Field::new(0, 4, "t", Show::Text, "");
        assert_eq!(text.part(b"a\0\0b", false).value, "\"a\"");
        assert_eq!(text.part(b"a\0\0b", false).meaning, "and behind the NUL 000062");
    }
}
