//! Dated resolution: packages as the index had them on a day (`BP_AS_OF`), and the day that an app itself suggests. Services rot: what is not
//! pinned resolves to other versions each year, until it does not resolve at all.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::Offset;

use crate::context::Context;
use crate::failure::Failure;

/// The variable: `2022-06-01`, or an instant as RFC 3339 has it.
pub(crate) const VARIABLE: &str = "BP_AS_OF";
/// The day on which the newest file of the app was written, from the platform.
const APP_DATE_VARIABLE: &str = "HOIST_APP_DATE";
/// What an app has to be older than before its own day is proposed, in days: what was written lately fails for other reasons.
const OLD_DAYS: i64 = 180;

/// When each Python came (the schedules of PEP 596 and its successors), the newest first.
const RELEASES: &[(&str, (i16, i8, i8))] = &[
    ("3.15", (2026, 10, 1)),
    ("3.14", (2025, 10, 7)),
    ("3.13", (2024, 10, 7)),
    ("3.12", (2023, 10, 2)),
    ("3.11", (2022, 10, 24)),
    ("3.10", (2021, 10, 4)),
];
/// Packages have wheels for a new Python some months later.
const WHEELS_AFTER_DAYS: i64 = 120;

/// A day or an instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AsOf {
    /// As it was written.
    written: String,
    /// Nothing that was uploaded at this instant or later is there.
    end: Timestamp,
}

impl AsOf {
    /// What the build was told.
    pub(crate) fn of(context: &Context) -> Result<Option<Self>, Failure> {
        let Some(text) = context.variable(VARIABLE) else { return Ok(None) };
        let failure = |why: String, fix: &str| {
            Failure::new("choosing the day that packages are taken of", format!("{VARIABLE} is `{text}`"), why, fix)
        };
        let Some(as_of) = Self::parse(text) else {
            let fix = "write a day as 2022-06-01, or an instant as 2022-06-01T12:00:00Z";
            return Err(failure("that is no day of the calendar".to_owned(), fix));
        };
        // The day that has begun may be asked for.
        if as_of.end.as_second() > (crate::python::today() + 1) * 86_400 {
            let why = "what the index will have on that day is not known".to_owned();
            return Err(failure(why, "take a day of the past, or leave it out for the packages of today"));
        }
        Ok(Some(as_of))
    }

    fn parse(text: &str) -> Option<Self> {
        let end = match text.parse::<Date>() {
            Ok(day) if text.len() == 10 => start(day.tomorrow().ok()?)?,
            _ => text.parse::<Timestamp>().ok()?,
        };
        Some(Self { written: text.to_owned(), end })
    }

    /// The instant as uv takes it.
    pub(crate) fn end(&self) -> String {
        self.end.to_string()
    }

    /// As it was written.
    pub(crate) fn written(&self) -> &str {
        &self.written
    }

    /// What to warn of where `file` is a lock.
    pub(crate) fn idle(&self, file: &str) -> String {
        format!("{file} says which versions are taken: {VARIABLE} {} changes nothing", self.written)
    }

    /// The first Python that packages of that day know nothing of.
    pub(crate) fn unknown_python(&self) -> Option<&'static str> {
        let unknown = |(_, (year, month, day)): &&(_, (i16, i8, i8))| {
            let came = Date::new(*year, *month, *day).ok().and_then(start);
            came.is_some_and(|came| self.end.as_second() < came.as_second() + WHEELS_AFTER_DAYS * 86_400)
        };
        RELEASES.iter().take_while(unknown).last().map(|(minor, _)| *minor)
    }
}

/// The first instant of a day; the time zone is the index's, UTC.
fn start(day: Date) -> Option<Timestamp> {
    Offset::UTC.to_timestamp(day.at(0, 0, 0, 0)).ok()
}

/// The day that an old app suggests for its packages: that of its newest file.
pub(crate) fn suggested(context: &Context) -> Option<AsOf> {
    let day = AsOf::parse(context.variable(APP_DATE_VARIABLE)?)?;
    let age = crate::python::today() - day.end.as_second() / 86_400;
    // What has no date has one of 1970 or 1980.
    (age >= OLD_DAYS && day.written.as_str() > "2005").then_some(day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Bindings;

    fn context(variables: &[(&str, &str)]) -> Context {
        Context {
            buildpack_dir: "/".into(),
            app_dir: "/".into(),
            platform_dir: "/".into(),
            root_dir: "/".into(),
            environment: variables.iter().map(|(name, value)| ((*name).to_owned(), value.into())).collect(),
            bindings: Bindings::default(),
        }
    }

    #[test]
    fn a_day_is_meant_to_its_end() {
        let as_of = |text| AsOf::of(&context(&[(VARIABLE, text)])).unwrap().unwrap();
        assert_eq!(as_of("2022-06-01").end(), "2022-06-02T00:00:00Z");
        assert_eq!(as_of("2022-06-01T12:00:00+02:00").end(), "2022-06-01T10:00:00Z");
        assert_eq!(AsOf::of(&context(&[])).unwrap(), None);
    }

    #[test]
    fn what_is_no_day_of_the_past_is_refused() {
        let refused = |text| AsOf::of(&context(&[(VARIABLE, text)])).unwrap_err().to_string();
        for text in ["2022-13-01", "yesterday", "2022", "01.06.2022", "2022-02-30"] {
            assert!(refused(text).contains("no day of the calendar"), "{text}: {}", refused(text));
        }
        assert!(refused("2999-01-01").contains("take a day of the past"));
    }

    #[test]
    fn the_python_of_a_day_had_wheels_by_then() {
        let unknown = |text| AsOf::parse(text).unwrap().unknown_python();
        assert_eq!(unknown("2021-03-01"), Some("3.10"));
        assert_eq!(unknown("2023-01-15"), Some("3.11"));
        assert_eq!(unknown("2023-06-01"), Some("3.12"));
        assert_eq!(unknown("2025-06-01"), Some("3.14"));
        assert_eq!(unknown("2029-06-01"), None);
    }

    #[test]
    fn only_an_old_app_suggests_its_day() {
        let of = |text| suggested(&context(&[(APP_DATE_VARIABLE, text)])).map(|day| day.written);
        assert_eq!(of("2021-04-01").as_deref(), Some("2021-04-01"));
        assert_eq!(of("1980-01-01"), None);
        assert_eq!(of("2999-01-01"), None);
        assert_eq!(of("nonsense"), None);
    }
}
