//! The Release file of a suite: what it says of itself and the hashes of its indexes.
//!
//! Read only after its signature was checked. The suite that it names must be the one asked for, or a mirror could pass off one
//! suite as another (an older, vulnerable one, say). What was accepted before is remembered by `accepted.rs`.

use crate::control::{ControlError, Paragraph, parse_paragraphs};

/// A Release file.
#[derive(Debug, Clone)]
pub(crate) struct Release {
    pub(crate) paragraph: Paragraph,
    /// Seconds since 1970 after which it is stale.
    pub(crate) valid_until_secs: Option<i64>,
    /// When it was made; the beginning of time where it does not say.
    pub(crate) date_secs: i64,
}

/// What is wrong with a Release file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReleaseError {
    /// It is no control data.
    #[error("it cannot be read")]
    Grammar {
        /// Why.
        #[from]
        source: ControlError,
    },
    /// A field is missing.
    #[error("it has no {field}")]
    Missing {
        /// Which.
        field: String,
    },
    /// It is of another suite.
    #[error("it is the index of `{found}`, not of `{suite}`")]
    OtherSuite {
        /// Asked for.
        suite: String,
        /// What it says.
        found: String,
    },
    /// A date is none.
    #[error("`{text}` is no date")]
    Date {
        /// As written.
        text: String,
    },
    /// It is too old.
    #[error("it was valid until {until}")]
    Expired {
        /// As written.
        until: String,
    },
    /// A newer one was accepted before.
    #[error("it was made {date}, and one made {accepted} was accepted before: the mirror went back in time")]
    Older {
        /// As written, of this one.
        date: String,
        /// As written, of the newest one that was accepted.
        accepted: String,
    },
}

/// An index file as the Release file names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct IndexFile {
    pub(crate) path: String,
    pub(crate) sha256: String,
    pub(crate) size_bytes: u64,
}

impl Release {
    pub(crate) fn parse(text: &str) -> Result<Self, ReleaseError> {
        let paragraph = parse_paragraphs(text)?
            .into_iter()
            .next()
            .ok_or_else(|| ReleaseError::Missing { field: "fields".into() })?;
        let date = |field: &str| match paragraph.get(field) {
            Some(text) => parse_date(text).map(Some).ok_or_else(|| ReleaseError::Date { text: text.to_owned() }),
            None => Ok(None),
        };
        let (valid_until_secs, date_secs) = (date("Valid-Until")?, date("Date")?.unwrap_or(0));
        Ok(Self { paragraph, valid_until_secs, date_secs })
    }

    pub(crate) fn field(&self, name: &str) -> &str {
        self.paragraph.get(name).unwrap_or("")
    }

    /// Refuses the file of another suite, and one that is too old where `now_secs` is given.
    pub(crate) fn check(&self, suite: &str, now_secs: Option<i64>) -> Result<(), ReleaseError> {
        let (codename, name) = (self.field("Codename"), self.field("Suite"));
        let unnamed = codename.is_empty() && name.is_empty();
        // `buster/updates` calls itself `buster`.
        let stem = suite.strip_suffix("/updates").unwrap_or(suite);
        if !unnamed && ![codename, name].iter().any(|own| !own.is_empty() && (*own == suite || *own == stem)) {
            let found = if codename.is_empty() { name } else { codename };
            return Err(ReleaseError::OtherSuite { suite: suite.to_owned(), found: found.to_owned() });
        }
        match (self.valid_until_secs, now_secs) {
            (Some(until), Some(now)) if now > until => {
                Err(ReleaseError::Expired { until: self.field("Valid-Until").to_owned() })
            }
            _ => Ok(()),
        }
    }

    /// The index of packages of a component, in the smallest form that there is.
    pub(crate) fn packages(&self, component: &str, architecture: &str) -> Result<Option<IndexFile>, ReleaseError> {
        let hashes =
            self.paragraph.get("SHA256").ok_or_else(|| ReleaseError::Missing { field: "SHA256 hashes".into() })?;
        for ending in [".xz", ".gz", ""] {
            let wanted = format!("{component}/binary-{architecture}/Packages{ending}");
            for line in hashes.lines() {
                let mut words = line.split_ascii_whitespace();
                if let (Some(sha256), Some(size), Some(path)) = (words.next(), words.next(), words.next())
                    && path == wanted
                    && crate::fetch::is_sha256(sha256)
                {
                    let size_bytes =
                        size.parse().map_err(|_| ReleaseError::Missing { field: format!("size of {path}") })?;
                    return Ok(Some(IndexFile { path: wanted, sha256: sha256.to_owned(), size_bytes }));
                }
            }
        }
        Ok(None)
    }

    /// True where indexes can be fetched by their hash, which a mirror that is being updated needs.
    pub(crate) fn by_hash(&self) -> bool {
        self.field("Acquire-By-Hash") == "yes"
    }
}

/// Seconds since 1970 of `Sat, 21 Nov 2026 02:10:46 UTC`.
fn parse_date(text: &str) -> Option<i64> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    let [_, day, month, year, time, zone] = words[..] else { return None };
    if !matches!(zone, "UTC" | "GMT" | "Z" | "+0000") {
        return None;
    }
    let day: i64 = day.parse().ok().filter(|day| (1..=31).contains(day))?;
    let month = i64::try_from(MONTHS.iter().position(|name| *name == month)?).ok()? + 1;
    let year: i64 = year.parse().ok().filter(|year| (1970..=9999).contains(year))?;
    let mut clock = time.split(':').map(|part| part.parse::<i64>().ok().filter(|part| (0..=60).contains(part)));
    let (hours, minutes, seconds) = (clock.next()??, clock.next()??, clock.next()??);
    // Days from the civil calendar, counted in years that begin in March.
    let shifted = if month <= 2 { year - 1 } else { year };
    let era = shifted / 400;
    let year_of_era = shifted - era * 400;
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468;
    Some(days * 86_400 + hours * 3600 + minutes * 60 + seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_release_files_are_read() {
        assert_eq!(parse_date("Thu, 01 Jan 1970 00:00:00 UTC"), Some(0));
        assert_eq!(parse_date("Sat, 21 Nov 2026 02:10:46 UTC"), Some(1_795_227_046));
        assert_eq!(parse_date("Thu, 29 Feb 2024 23:59:59 GMT"), Some(1_709_251_199));
        for text in ["", "yesterday", "Sat, 21 Nov 2026 02:10:46 CET", "Sat, 41 Nov 2026 02:10:46 UTC"] {
            assert_eq!(parse_date(text), None, "{text}");
        }
    }

    #[test]
    fn a_release_file_must_be_of_the_suite_and_fresh() {
        let text = "Suite: stable-updates\nCodename: trixie-updates\nValid-Until: Sat, 21 Nov 2026 02:10:46 UTC\n";
        let release = Release::parse(text).unwrap();
        assert_eq!(release.check("trixie-updates", None), Ok(()));
        assert_eq!(release.check("stable-updates", Some(1_795_227_046)), Ok(()));
        assert!(matches!(release.check("trixie", None), Err(ReleaseError::OtherSuite { .. })));
        assert!(matches!(release.check("trixie-updates", Some(1_795_227_047)), Err(ReleaseError::Expired { .. })));
    }
}
