//! Until when the makers of Python mend a version (the schedules of PEP 569 and its successors), for a warning that is early enough to act on.

use std::time::{SystemTime, UNIX_EPOCH};

/// Minor version, and year, month and day of its end.
const ENDS: &[(&str, (i64, i64, i64))] = &[
    ("3.8", (2024, 10, 7)),
    ("3.9", (2025, 10, 31)),
    ("3.10", (2026, 10, 31)),
    ("3.11", (2027, 10, 31)),
    ("3.12", (2028, 10, 31)),
    ("3.13", (2029, 10, 31)),
    ("3.14", (2030, 10, 31)),
    ("3.15", (2031, 10, 31)),
];

/// Days since 1970, by the clock: `SOURCE_DATE_EPOCH` says how old files are to look, and not which day it is.
#[allow(clippy::disallowed_methods)] // a warning may know the day; nothing that is built does
pub(crate) fn today() -> i64 {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    i64::try_from(seconds / 86_400).unwrap_or(i64::MAX)
}

/// The warning for a version that is no longer mended on a day.
pub(crate) fn warning(minor: &str, today: i64) -> Option<String> {
    let (_, (year, month, day)) = ENDS.iter().find(|(known, _)| *known == minor)?;
    (days(*year, *month, *day) < today).then(|| {
        let living = ENDS.iter().find(|(_, (year, month, day))| days(*year, *month, *day) >= today);
        let advice = living.map_or(String::new(), |(minor, _)| format!("; the oldest that gets them is {minor}"));
        format!("Python {minor} has had no security fixes of its makers since {year}-{month:02}-{day:02}{advice}")
    })
}

/// Days from 1970-01-01 to a date of the Gregorian calendar (days_from_civil of Howard Hinnant's "chrono-Compatible Low-Level Date Algorithms").
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_warned_of_from_the_day_after_its_end() {
        assert_eq!((days(1970, 1, 1), days(2000, 3, 1), days(2026, 11, 23)), (0, 11_017, 20_780));
        assert_eq!(warning("3.13", days(2026, 11, 23)), None);
        assert_eq!(warning("3.10", days(2026, 10, 31)), None);
        assert_eq!(
            warning("3.10", days(2026, 11, 1)).unwrap(),
            "Python 3.10 has had no security fixes of its makers since 2026-10-31; the oldest that gets them is 3.11"
        );
        assert!(warning("3.15", days(2040, 1, 1)).unwrap().ends_with("since 2031-10-31"));
    }
}
