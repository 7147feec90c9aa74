//! Versions as vendors write them: which is newer, and which one a short form means.

use std::cmp::Ordering;

/// Numbers of a version, each with the letters behind it.
type Parts = Vec<(u64, String)>;

/// A version without the leading `v` that tags have.
#[must_use]
pub fn normal(version: &str) -> &str {
    version.strip_prefix(['v', 'V']).unwrap_or(version)
}

/// Whether `version` is `wanted`, or begins with its whole components: `1.36.4+k3s1` satisfies `1.36` and `v1.36.4`,
/// but not `1.3`. Versions before a release (`4.0.0-rc.1`) satisfy their full name alone.
#[must_use]
pub fn satisfies(version: &str, wanted: &str) -> bool {
    match normal(version).strip_prefix(normal(wanted)) {
        Some("") => true,
        Some(rest) => rest.starts_with(['.', '+']) && !rest.contains('-'),
        None => false,
    }
}

/// Orders versions: numbers by value, the rest by letters; `-` marks one that comes before the release.
pub(super) fn compare(a: &str, b: &str) -> Ordering {
    let split = |text: &str| -> (Parts, Option<Parts>) {
        let (release, before) = match normal(text).split_once('-') {
            Some((release, before)) => (release, Some(pieces(before))),
            None => (normal(text), None),
        };
        (pieces(release), before)
    };
    let ((a, a_before), (b, b_before)) = (split(a), split(b));
    a.cmp(&b).then_with(|| match (a_before, b_before) {
        (None, None) => Ordering::Equal,
        (None, Some(_)) => Ordering::Greater,
        (Some(_), None) => Ordering::Less,
        (Some(a), Some(b)) => a.cmp(&b),
    })
}

/// Runs of digits with the text behind each: `1.36+k3s1` is `(1 .) (36 +k3s) (1)`.
fn pieces(text: &str) -> Vec<(u64, String)> {
    let mut found: Vec<(u64, String)> = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, tail) = rest.split_at(digits);
        let words = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (word, tail) = tail.split_at(words);
        found.push((number.parse().unwrap_or(u64::MAX), word.to_owned()));
        rest = tail;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newer_is_greater() {
        let ordered = [
            "0.7.0",
            "1.9.1",
            "1.33.13+k3s1",
            "1.33.13+k3s2",
            "1.33.13+k3s10",
            "1.36.4",
            "1.36.4+k3s1",
            "4.0.0-rc.1",
            "4.0.0-rc.2",
            "4.0.0",
        ];
        for pair in ordered.windows(2) {
            assert_eq!(compare(pair[0], pair[1]), Ordering::Less, "{pair:?}");
            assert_eq!(compare(pair[1], pair[0]), Ordering::Greater, "{pair:?}");
        }
        assert_eq!(compare("v1.2", "1.2"), Ordering::Equal);
    }

    #[test]
    fn a_short_form_ends_with_a_component() {
        for (version, wanted, fits) in [
            ("1.36.4+k3s1", "1.36", true),
            ("1.36.4+k3s1", "v1.36.4", true),
            ("1.36.4+k3s1", "1.3", false),
            ("1.36.4+k3s1", "1.36.4+k3s", false),
            ("4.0.0-rc.1", "4", false),
            ("4.0.0-rc.1", "4.0.0-rc.1", true),
        ] {
            assert_eq!(satisfies(version, wanted), fits, "{version} {wanted}");
        }
    }
}
