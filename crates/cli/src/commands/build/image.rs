//! The options that say what the image is like.

use clap::Args;
use hoist_platform::BuildRequest;

use crate::context::Context;
use crate::engine;
use crate::failure::Failure;

/// What the image is like.
#[derive(Debug, Args)]
pub(crate) struct ImageOptions {
    /// Process that the image starts with; otherwise the one that a buildpack proposes
    #[arg(short = 'D', long, value_name = "TYPE")]
    default_process: Option<String>,
    /// Time of creation that the image names: now, or seconds since 1970. Without it that of `SOURCE_DATE_EPOCH`, else a fixed one, so that the same
    /// source makes the same image
    #[arg(long, value_name = "now|SECONDS", allow_negative_numbers = true, value_parser = parse_time)]
    creation_time: Option<i64>,
}

impl ImageOptions {
    /// Writes them into the request.
    pub(crate) fn apply(&self, _context: &Context, request: &mut BuildRequest) -> Result<(), Failure> {
        request.default_process.clone_from(&self.default_process);
        request.created =
            match (self.creation_time, engine::variable("SOURCE_DATE_EPOCH").filter(|text| !text.is_empty())) {
                (Some(time), _) => Some(time),
                (None, Some(text)) => Some(parse_time(&text).map_err(|why| {
                    Failure::usage(
                        format!("SOURCE_DATE_EPOCH is {text:?}: {why}"),
                        "unset SOURCE_DATE_EPOCH, or give --creation-time",
                    )
                })?),
                (None, None) => None,
            };
        Ok(())
    }
}

/// The years that RFC 3339 can write.
const YEARS: std::ops::RangeInclusive<i64> = -62_167_219_200..=253_402_300_799;

fn parse_time(text: &str) -> Result<i64, String> {
    if text == "now" {
        #[allow(clippy::disallowed_methods)] // that is what was asked for
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        return Ok(i64::try_from(now.as_secs()).unwrap_or(i64::MAX));
    }
    let seconds = text.parse().ok().filter(|seconds| YEARS.contains(seconds));
    seconds.ok_or_else(|| "it is now, or a number of seconds since 1970 such as 1641013200".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_now_or_a_number_of_seconds() {
        assert!(parse_time("now").unwrap() > 1_700_000_000);
        assert_eq!(parse_time("1641013200"), Ok(1_641_013_200));
        for wrong in ["", "yesterday", "2022-01-01", "9999999999999", "1.5"] {
            assert!(parse_time(wrong).unwrap_err().contains("seconds since 1970"), "{wrong}");
        }
    }
}
