use crate::values::Timestamp;

/// Why a text is not a time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a time; write seconds since 1970 or an RFC 3339 date such as `2025-01-01` or `2025-01-01T00:00:00Z`"
)]
pub struct TimeError(pub String);

/// A time as whole seconds since 1970 (`1735689600`, also negative) or as RFC 3339: a date alone is midnight UTC,
/// a date with a time needs `Z` or an offset, fractions of a second are kept to the nanosecond.
///
/// # Errors
/// [`TimeError`] for anything else, also for days that the calendar does not have.
pub fn parse_time(text: &str) -> Result<Timestamp, TimeError> {
    let bad = || TimeError(text.to_owned());
    let digits = text.strip_prefix('-').unwrap_or(text);
    if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
        return text.parse().map(Timestamp::from_secs).map_err(|_| bad());
    }
    rfc3339(text).ok_or_else(bad)
}

fn rfc3339(text: &str) -> Option<Timestamp> {
    let (date, rest) = text.split_at_checked(10)?;
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let days = days_since_1970(year, month, day)?;
    if rest.is_empty() {
        return Some(Timestamp::from_secs(days * 86_400));
    }
    let rest = rest.strip_prefix(['T', 't', ' '])?;
    let (clock, rest) = rest.split_at_checked(8)?;
    let [hour, minute, second] = numbers(clock, ':', [2, 2, 2])?;
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let (nanos, rest) = fraction(rest)?;
    let offset = match rest {
        "Z" | "z" => 0,
        _ => {
            let sign = match rest.as_bytes().first()? {
                b'+' => 1,
                b'-' => -1,
                _ => return None,
            };
            let [hours, minutes] = numbers(&rest[1..], ':', [2, 2])?;
            if hours > 23 || minutes > 59 {
                return None;
            }
            sign * (hours * 3600 + minutes * 60)
        }
    };
    Some(Timestamp {
        secs: days * 86_400 + hour * 3600 + minute * 60 + second - offset,
        nanos,
    })
}

fn fraction(text: &str) -> Option<(u32, &str)> {
    let Some(rest) = text.strip_prefix('.') else {
        return Some((0, text));
    };
    let end = rest.find(|c: char| !c.is_ascii_digit())?;
    let (digits, rest) = rest.split_at(end);
    if digits.is_empty() || digits.len() > 9 {
        return None;
    }
    let nanos = format!("{digits:0<9}").parse().ok()?;
    Some((nanos, rest))
}

/// Numbers of fixed width between separators.
fn numbers<const N: usize>(text: &str, separator: char, widths: [usize; N]) -> Option<[i64; N]> {
    let mut out = [0; N];
    let mut parts = text.split(separator);
    for (slot, width) in out.iter_mut().zip(widths) {
        let part = parts.next()?;
        if part.len() != width || !part.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        *slot = part.parse().ok()?;
    }
    parts.next().is_none().then_some(out)
}

fn days_since_1970(year: i64, month: i64, day: i64) -> Option<i64> {
    let leap = |y: i64| (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
    let lengths = [
        31,
        if leap(year) { 29 } else { 28 },
        31,
        30,
        31,
        30,
        31,
        31,
        30,
        31,
        30,
        31,
    ];
    let index = usize::try_from(month.checked_sub(1)?).ok()?;
    if day < 1 || day > *lengths.get(index)? {
        return None;
    }
    let before: i64 = lengths[..index].iter().sum();
    // Leap days in the years 1 to `y`.
    let leaps = |y: i64| y.div_euclid(4) - y.div_euclid(100) + y.div_euclid(400);
    Some((year - 1970) * 365 + leaps(year - 1) - leaps(1969) + before + day - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Expected values from `date -u -d … +%s`.
    #[test]
    fn reads_times() {
        for (text, secs) in [
            ("0", 0),
            ("-1", -1),
            ("1735689600", 1_735_689_600),
            ("1970-01-01", 0),
            ("2025-01-01", 1_735_689_600),
            ("2024-02-29T23:59:59Z", 1_709_251_199),
            ("2025-01-01T02:00:00+02:00", 1_735_689_600),
            ("1969-12-31T23:59:59Z", -1),
            ("2107-12-31", 4_354_732_800),
        ] {
            assert_eq!(parse_time(text), Ok(Timestamp::from_secs(secs)), "{text}");
        }
        assert_eq!(
            parse_time("1970-01-01T00:00:01.25Z"),
            Ok(Timestamp {
                secs: 1,
                nanos: 250_000_000
            })
        );
    }

    #[test]
    fn refuses_what_is_no_time() {
        for text in [
            "",
            "today",
            "2025-02-29",
            "2025-13-01",
            "2025-00-10",
            "2025-1-1",
            "2025-01-01T00:00:00",
            "2025-01-01T24:00:00Z",
            "2025-01-01T00:00:00.Z",
            "99999999999999999999",
            "é025-01-01",
        ] {
            assert!(parse_time(text).is_err(), "{text}");
        }
    }
}
