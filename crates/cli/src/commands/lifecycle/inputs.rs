//! What the phases are told, from flags and variables.

use std::path::PathBuf;

use hoist_image::Reference;
use hoist_lifecycle::{ImagePhaseInputs, PhaseInputs, RebaserInputs};
use hoist_spec::ApiVersion;

use super::flags::Flags;
use super::{INVALID_ARGUMENTS, Phase, user};
use crate::engine::variable;
use crate::failure::Failure;

/// What the phases that call buildpacks are told, from the flags alone.
pub(super) fn calls(flags: &Flags, platform_api: ApiVersion) -> Result<PhaseInputs, Failure> {
    let layers_dir = flags.path("layers", "/layers")?;
    let own_order = layers_dir.join("order.toml");
    let order = if own_order.exists() { own_order } else { PathBuf::from("/cnb/order.toml") };
    Ok(PhaseInputs {
        analyzed_path: flags.path("analyzed", layers_dir.join("analyzed.toml"))?,
        app_dir: flags.path("app", "/workspace")?,
        build_config_dir: real(flags.path("build-config", "/cnb/build-config")?),
        buildpacks_dir: real(flags.path("buildpacks", "/cnb/buildpacks")?),
        group_path: flags.path("group", layers_dir.join("group.toml"))?,
        order_path: flags.path("order", order)?,
        plan_path: flags.path("plan", layers_dir.join("plan.toml"))?,
        platform_dir: flags.path("platform", "/platform")?,
        system_path: flags.path("system", "/cnb/system.toml")?,
        exec_env: exec_env(),
        platform_api,
        environment: std::env::vars_os().collect(),
        user: None,
        layers_dir,
    })
}

/// A directory by its real path, where it is there: links on the way to it are the platform's.
fn real(dir: PathBuf) -> PathBuf {
    fs_err::canonicalize(&dir).unwrap_or(dir)
}

/// As [`calls`], for a creator that was started as root for `home_of`, or whose buildpacks have to become `buildpack_user`.
pub(super) fn calls_as(
    flags: &Flags,
    platform_api: ApiVersion,
    buildpack_user: Option<(u32, u32)>,
    home_of: Option<u32>,
) -> Result<PhaseInputs, Failure> {
    let mut calls = PhaseInputs { user: buildpack_user, ..calls(flags, platform_api)? };
    if let Some(account) = home_of.and_then(user::account) {
        calls.environment.retain(|(name, _)| name != "HOME" && name != "USER");
        calls.environment.push(("HOME".into(), account.home_dir.into()));
        calls.environment.push(("USER".into(), account.name));
    }
    Ok(calls)
}

/// What the phases that know images are told.
pub(super) fn images(phase: Phase, flags: &Flags, platform_api: ApiVersion) -> Result<ImagePhaseInputs, Failure> {
    let layers_dir = flags.path("layers", "/layers")?;
    let (run_flag, run_default) =
        if platform_api.at_least(12) { ("run", "/cnb/run.toml") } else { ("stack", "/cnb/stack.toml") };
    let mut images = flags.images.iter().map(|text| reference(text)).collect::<Result<Vec<_>, _>>()?;
    let wanted = match phase {
        Phase::Analyzer | Phase::Creator if images.len() != 1 => Some("one image"),
        Phase::Exporter if images.is_empty() => Some("one image or more"),
        _ => None,
    };
    if let Some(wanted) = wanted {
        let text = format!("{} images were given, and the {} takes {wanted}", images.len(), phase.name());
        return Err(Failure::coded(text, "name the app image behind the flags", INVALID_ARGUMENTS));
    }
    for tag in &flags.tags {
        images.push(reference(tag)?);
    }
    if !flags.switch("daemon") {
        one_registry(&images)?;
    }
    Ok(ImagePhaseInputs {
        analyzed_path: flags.path("analyzed", layers_dir.join("analyzed.toml"))?,
        app_dir: flags.path("app", "/workspace")?,
        cache_dir: flags.optional_path("cache-dir")?,
        group_path: flags.path("group", layers_dir.join("group.toml"))?,
        images,
        launch_cache_dir: flags.optional_path("launch-cache")?,
        launcher_path: flags.path("launcher", "/cnb/lifecycle/launcher")?,
        launcher_sbom_dir: flags.path("launcher-sbom", "/cnb/lifecycle")?,
        previous_image: flags.text("previous-image").map(|text| reference(&text)).transpose()?,
        process_type: flags.text("process-type"),
        project_metadata_path: flags.path("project-metadata", layers_dir.join("project-metadata.toml"))?,
        report_path: flags.path("report", layers_dir.join("report.toml"))?,
        run_path: flags.path(run_flag, run_default)?,
        run_image: flags.text("run-image").map(|text| reference(&text)).transpose()?,
        skip_layers: flags.switch("skip-layers") || flags.switch("skip-restore"),
        user: user::wanted(flags)?,
        created: created(platform_api),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        exec_env: exec_env(),
        platform_api,
        layers_dir,
    })
}

/// What the rebaser is told.
pub(super) fn rebaser(flags: &Flags, platform_api: ApiVersion) -> Result<RebaserInputs, Failure> {
    let images = flags.images.iter().map(|text| reference(text)).collect::<Result<Vec<_>, _>>()?;
    if images.is_empty() {
        let text = "no image was given, and the rebaser takes one or more";
        return Err(Failure::coded(text, "name the app image behind the flags", INVALID_ARGUMENTS));
    }
    if !flags.switch("daemon") {
        one_registry(&images)?;
    }
    // `-image` is what `-run-image` was called before.
    let run_image = flags.text("image").or_else(|| flags.text("run-image"));
    Ok(RebaserInputs {
        images,
        previous_image: flags.text("previous-image").map(|text| reference(&text)).transpose()?,
        run_image: run_image.map(|text| reference(&text)).transpose()?,
        // It knows no layers directory: as in the Go lifecycle, the report is where the rebaser was started.
        report_path: flags.path("report", "report.toml")?,
        force: flags.switch("force"),
        platform_api,
    })
}

fn reference(text: &str) -> Result<Reference, Failure> {
    text.parse()
        .map_err(|error: hoist_image::ReferenceError| Failure::new(&error, Some(error.hint()), INVALID_ARGUMENTS))
}

/// "the images MUST refer to the same registry", unless they are a daemon's.
fn one_registry(images: &[Reference]) -> Result<(), Failure> {
    match images.iter().find(|image| image.registry() != images[0].registry()) {
        None => Ok(()),
        Some(other) => {
            let text = format!("{} and {other} are of different registries", images[0]);
            Err(Failure::coded(text, "give the app image names of one registry", INVALID_ARGUMENTS))
        }
    }
}

fn exec_env() -> String {
    variable("CNB_EXEC_ENV").filter(|value| !value.is_empty()).unwrap_or_else(|| "production".into())
}

/// `SOURCE_DATE_EPOCH` as the configuration of an image has times; an unusable one is none, as in the Go lifecycle.
fn created(platform_api: ApiVersion) -> Option<String> {
    let seconds: i64 = variable("SOURCE_DATE_EPOCH").filter(|_| platform_api.at_least(9))?.parse().ok()?;
    rfc3339(seconds)
}

/// Seconds since 1970 as a date of the years 1 to 9999.
fn rfc3339(seconds: i64) -> Option<String> {
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Days since 1 March of the year 0, in eras of 400 years, whose months have 153 days in five.
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    (1..=9999).contains(&year).then(|| format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_dates() {
        for (seconds, date) in [
            (0, "1970-01-01T00:00:00Z"),
            (315_532_801, "1980-01-01T00:00:01Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_641_013_200, "2022-01-01T05:00:00Z"),
            (-1, "1969-12-31T23:59:59Z"),
        ] {
            assert_eq!(rfc3339(seconds).as_deref(), Some(date));
        }
        assert_eq!(rfc3339(i64::MAX / 2), None);
    }
}
