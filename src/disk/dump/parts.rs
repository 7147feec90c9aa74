//! Parts of one structure, brought into order so that together they have each of its bytes once.

use std::ops::Range;

use crate::values::hex;

/// Bytes in one line of hexadecimal.
const HEX_WIDTH: usize = 32;
/// A run of zeroes this long is not shown as hexadecimal.
const ZERO_RUN: usize = 16;

/// Field name of bytes that no field describes.
pub(super) const OTHER: &str = "other bytes";

/// One line's worth of a structure: bytes counted from its start, and what is said about them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Bytes of the structure.
    pub range: Range<usize>,
    /// Field name.
    pub field: String,
    /// What is there.
    pub value: String,
    /// What that means.
    pub meaning: String,
}

impl Part {
    /// A part with a value and what it means.
    pub fn new(
        range: Range<usize>,
        field: impl Into<String>,
        value: impl Into<String>,
        meaning: impl Into<String>,
    ) -> Self {
        Self {
            range,
            field: field.into(),
            value: value.into(),
            meaning: meaning.into(),
        }
    }
}

/// Bytes without a meaning: runs of zeroes as `zero`, the rest in hexadecimal, each line up to 32 bytes.
fn raw(bytes: &[u8], range: Range<usize>, field: &str, out: &mut Vec<Part>) {
    let mut at = range.start;
    while at < range.end {
        let rest = &bytes[at..range.end];
        let zeroes = rest.iter().take_while(|b| **b == 0).count();
        if zeroes == rest.len() || zeroes >= ZERO_RUN {
            out.push(Part::new(at..at + zeroes, field, "zero", ""));
            at += zeroes;
            continue;
        }
        let mut len = rest.len().min(HEX_WIDTH);
        // A long run of zeroes ends the line before it.
        if let Some(stop) = (1..len).find(|n| {
            let tail = &rest[*n..];
            tail.iter().take(ZERO_RUN).all(|b| *b == 0)
        }) {
            len = stop;
        }
        out.push(Part::new(at..at + len, field, hex(&rest[..len]), ""));
        at += len;
    }
}

/// Parts in order, with lines for what none of them has; and the parts (or what was cut from them) that overlap.
pub(super) fn tile(mut parts: Vec<Part>, bytes: &[u8]) -> (Vec<Part>, Vec<(Range<usize>, String)>) {
    for part in &mut parts {
        part.range.end = part.range.end.min(bytes.len());
    }
    parts.retain(|p| p.range.start < p.range.end);
    parts.sort_by_key(|p| (p.range.start, p.range.end));
    let mut out: Vec<Part> = Vec::with_capacity(parts.len());
    let mut overlaps = Vec::new();
    let mut at = 0;
    for mut part in parts {
        if part.range.start > at {
            let gap = at..part.range.start;
            raw(bytes, gap, OTHER, &mut out);
        } else if part.range.start < at {
            overlaps.push((part.range.start..at.min(part.range.end), part.field.clone()));
            part.range.start = at;
        }
        if part.range.start < part.range.end {
            at = part.range.end;
            out.push(part);
        }
    }
    if at < bytes.len() {
        raw(bytes, at..bytes.len(), OTHER, &mut out);
    }
    (out, overlaps)
}

/// Joins runs of two and more neighbouring parts for which `like` holds into one that says `word`.
#[must_use]
pub fn fold(parts: Vec<Part>, word: &str, like: impl Fn(&Part) -> bool) -> Vec<Part> {
    let mut out: Vec<Part> = Vec::new();
    // How many parts the last one of `out` stands for, while it may take more.
    let mut run: Option<(usize, String)> = None;
    for part in parts {
        let fits = like(&part);
        match (&mut run, out.last_mut()) {
            (Some((count, first)), Some(last)) if fits && last.range.end == part.range.start => {
                *count += 1;
                last.range.end = part.range.end;
                last.field = format!("{first} .. {}", part.field);
                word.clone_into(&mut last.value);
                last.meaning = format!("{count} fields");
            }
            _ => {
                run = fits.then(|| (1, part.field.clone()));
                out.push(part);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covered(parts: &[Part], len: usize) {
        let mut at = 0;
        for p in parts {
            assert_eq!(p.range.start, at, "{parts:?}");
            at = p.range.end;
        }
        assert_eq!(at, len, "{parts:?}");
    }

    #[test]
    fn parts_have_each_byte_once_whatever_they_are() {
        let mut bytes = vec![0u8; 100];
        bytes[40..50].fill(7);
        bytes[99] = 1;
        for ranges in [
            vec![],
            vec![0..100, 100..100],
            vec![10..20, 15..30, 15..17, 90..120, 200..300],
            vec![30..30, 50..60, 0..1],
        ] {
            let parts = ranges
                .iter()
                .map(|r: &Range<usize>| Part::new(r.clone(), "f", "v", ""))
                .collect();
            let (parts, _) = tile(parts, &bytes);
            covered(&parts, 100);
        }
        let (parts, overlaps) = tile(
            vec![Part::new(0..10, "a", "", ""), Part::new(5..20, "b", "", "")],
            &bytes,
        );
        assert_eq!(overlaps, [(5..10, "b".to_owned())]);
        assert_eq!(parts[1].range, 10..20);
    }

    #[test]
    fn bytes_without_meaning_are_zero_or_shown() {
        let mut bytes = vec![0u8; 80];
        bytes[20..24].copy_from_slice(&[1, 0, 0, 2]);
        let (parts, _) = tile(Vec::new(), &bytes);
        let shown: Vec<_> = parts.iter().map(|p| (p.range.clone(), &*p.value)).collect();
        assert_eq!(shown, [(0..20, "zero"), (20..24, "01000002"), (24..80, "zero")]);
    }

    #[test]
    fn like_neighbours_are_one_line() {
        let part = |at: usize, value: &str| Part::new(at..at + 1, format!("f{at}"), value, "");
        let parts = vec![
            part(0, "0"),
            part(1, "5"),
            part(2, "0"),
            part(3, "0"),
            part(5, "0"),
        ];
        let folded = fold(parts, "zero", |p| p.value == "0");
        let shown: Vec<_> = folded.iter().map(|p| (&*p.field, &*p.value)).collect();
        assert_eq!(
            shown,
            [("f0", "0"), ("f1", "5"), ("f2 .. f3", "zero"), ("f5", "0")]
        );
    }
}
