//! What a build is told of its surroundings: another run image, folders of the host, a time of creation.

use std::path::Path;

use fs_err as fs;
use hoist_image::Reference;
use hoist_lifecycle::image_target;
use hoist_sandbox::Mount;
use hoist_spec::RunImage;

use crate::builder::Builder;
use crate::create::shown;
use crate::engine::LocalEngine;
use crate::error::PlatformError;
use crate::request::{BuildRequest, Volume};
use crate::runner::bind;

/// Where service bindings are: files that buildpacks read, not programs that they run.
const BINDINGS_DIR: &str = "/platform/bindings";

impl LocalEngine {
    /// Puts the app on another run image than the builder names.
    pub(super) fn take_run_image(&self, builder: &mut Builder, name: &Reference) -> Result<(), PlatformError> {
        let typed = name.to_string();
        let text = typed.strip_suffix(":latest").unwrap_or(&typed);
        let image = self.wanted_image("run image", text)?;
        let (run, build) = (image_target(&image), image_target(&builder.image));
        if (&run.os, &run.arch) != (&build.os, &build.arch) {
            return Err(PlatformError::RunImageTarget { name: typed, run: shown(&run), build: shown(&build) });
        }
        builder.run_image = image;
        builder.run_image_names = RunImage { image: typed, mirrors: Vec::new() };
        Ok(())
    }
}

/// The volumes as mounts. `/platform` is itself shown read-only, so that mount points in it are made here.
pub(super) fn volumes(request: &BuildRequest, platform_dir: &Path) -> Result<Vec<Mount>, PlatformError> {
    request.volumes.iter().map(|volume| mount(volume, platform_dir)).collect()
}

fn mount(volume: &Volume, platform_dir: &Path) -> Result<Mount, PlatformError> {
    let missing = || PlatformError::VolumeMissing { path: volume.source.clone() };
    let source = fs::canonicalize(&volume.source).map_err(|_| missing())?;
    if let Ok(below) = volume.target.strip_prefix("/platform") {
        let failed = |source| PlatformError::scratch("make the mount point of a volume", source);
        let point = platform_dir.join(below);
        if source.is_dir() {
            fs::create_dir_all(&point).map_err(failed)?;
        } else {
            fs::create_dir_all(point.parent().unwrap_or(platform_dir)).map_err(failed)?;
            fs::OpenOptions::new().create(true).append(true).open(&point).map_err(failed)?;
        }
    }
    Ok(bind(source, &volume.target, volume.read_only))
}

/// Whether a volume could change what hoist's own buildpacks do: their layers are then no one else's.
pub(super) fn volumes_change_programs(request: &BuildRequest) -> bool {
    request.volumes.iter().any(|volume| !volume.target.starts_with(BINDINGS_DIR))
}

/// Whether a volume lies over something of the app, or over all of it: then the app is not what was staged.
pub(super) fn volumes_change_app(request: &BuildRequest) -> bool {
    let app_dir = &request.app_dir;
    request.volumes.iter().any(|volume| volume.target.starts_with(app_dir) || app_dir.starts_with(&volume.target))
}

/// Seconds since 1970 as `2022-01-01T04:30:00Z`; the calendar is the proleptic Gregorian one.
pub fn rfc3339(seconds: i64) -> String {
    let (days, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Days are counted from 1 March of year 0, so that the leap day is the last of its year; 400 years have 146097 days.
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_as_images_have_it() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (315_532_801, "1980-01-01T00:00:01Z"),
            (951_827_696, "2000-02-29T12:34:56Z"),
            (1_641_013_200, "2022-01-01T05:00:00Z"),
            (253_402_300_799, "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!(rfc3339(seconds), text);
        }
    }

    #[test]
    fn only_volumes_below_the_bindings_leave_the_layers_for_others() {
        let of = |target: &str| {
            let volume = Volume { source: "/x".into(), target: target.into(), read_only: true };
            volumes_change_programs(&BuildRequest { volumes: vec![volume], ..BuildRequest::default() })
        };
        assert!(!of("/platform/bindings/ca") && of("/usr/lib/x") && of("/platform/bindings-else"));
    }

    #[test]
    fn a_volume_over_the_app_changes_it() {
        let of = |target: &str| {
            let volume = Volume { source: "/x".into(), target: target.into(), read_only: true };
            volumes_change_app(&BuildRequest {
                app_dir: "/srv/app".into(),
                volumes: vec![volume],
                ..BuildRequest::default()
            })
        };
        assert!(
            of("/srv/app/static") && of("/srv/app") && of("/srv") && !of("/srv/other") && !of("/platform/bindings/x")
        );
    }
}
