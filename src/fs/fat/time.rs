//! FAT's date and time: local time without a zone, here always UTC, from 1980 to 2107.

use crate::fs::Time;
use crate::values::civil;

/// `DIR_…Date`, `DIR_…Time` and the hundredths of `DIR_CrtTimeTenth`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    pub date: u16,
    pub time: u16,
    /// 0 to 199: hundredths of a second beyond the even second of `time`.
    pub tenth: u8,
}

/// 1980-01-01 00:00:00.
const FIRST: i64 = 315_532_800;
/// 2107-12-31 23:59:58.
const LAST: i64 = 4_354_819_198;

impl Stamp {
    /// The nearest stamp that is not later; times outside the range become its ends, as the kernel's driver does.
    pub fn from_time(time: Time) -> Self {
        let (secs, nanos) = match time.secs {
            secs if secs < FIRST => (FIRST, 0),
            secs if secs > LAST => (LAST, 0),
            secs => (secs, time.nanos.min(999_999_999)),
        };
        let (year, month, day) = civil(secs.div_euclid(86_400));
        let second = secs.rem_euclid(86_400);
        Self {
            date: (((year - 1980) << 9) | (month << 5) | day) as u16,
            time: (((second / 3600) << 11) | ((second / 60 % 60) << 5) | (second % 60 / 2)) as u16,
            tenth: (second % 2 * 100) as u8 + (nanos / 10_000_000) as u8,
        }
    }

    /// Seconds since the epoch of a date and time; fields outside their range are taken as they count.
    pub fn to_time(date: u16, time: u16) -> Time {
        let (date, time) = (i64::from(date), i64::from(time));
        let days = days(1980 + (date >> 9), (date >> 5 & 15).max(1), (date & 31).max(1));
        Time {
            secs: days * 86_400 + (time >> 11) * 3600 + (time >> 5 & 63) * 60 + (time & 31) * 2,
            nanos: 0,
        }
    }
}

/// The reverse of [`civil`].
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let march_month = if month > 2 { month - 3 } else { month + 9 };
    let of_year = (153 * march_month + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(secs: i64) -> Time {
        Time { secs, nanos: 0 }
    }

    #[test]
    fn known_moments() {
        // Values by `date -u -d @…`.
        for (secs, text) in [
            (315_532_800, (1980, 1, 1, 0, 0, 0)),
            (951_827_696, (2000, 2, 29, 12, 34, 56)),
            (1_763_669_680, (2025, 11, 20, 20, 14, 40)),
            (4_354_819_198, (2107, 12, 31, 23, 59, 58)),
        ] {
            let s = Stamp::from_time(time(secs));
            let (d, t) = (i64::from(s.date), i64::from(s.time));
            let fields = (
                1980 + (d >> 9),
                d >> 5 & 15,
                d & 31,
                t >> 11,
                t >> 5 & 63,
                (t & 31) * 2,
            );
            assert_eq!(fields, text, "{secs}");
            assert_eq!(Stamp::to_time(s.date, s.time), time(secs));
        }
    }

    #[test]
    fn odd_seconds_and_ends() {
        let s = Stamp::from_time(Time {
            secs: 951_827_697,
            nanos: 990_000_000,
        });
        assert_eq!(s.tenth, 199);
        assert_eq!(Stamp::to_time(s.date, s.time), time(951_827_696));
        assert_eq!(Stamp::from_time(time(0)), Stamp::from_time(time(FIRST)));
        assert_eq!(Stamp::from_time(time(i64::MAX)), Stamp::from_time(time(LAST)));
    }

    #[test]
    fn every_day_of_the_range_comes_back() {
        for day in (FIRST / 86_400)..=(LAST / 86_400) {
            let (y, m, d) = civil(day);
            assert_eq!(days(y, m, d), day);
        }
    }
}
