//! What a build leaves beside its image: `report.toml` (platform.md, "report.toml") with the names that the image got at last and the places
//! besides the store, and the SBOM documents of its buildpacks.

use std::path::Path;

use fs_err as fs;
use hoist_image::Reference;
use hoist_lifecycle::{Built, PhaseError};
use hoist_spec::{OutputReport, Report};

use crate::error::PlatformError;
use crate::place::Placed;

/// As `docker cp` would bring `<layers>/sbom` to that place, and so pack: `DIR/launch/…`, or `DIR/sbom/launch/…` where there was a DIR before.
pub(super) fn write_sboms(built: &Built, dir: &Path) -> Result<(), PlatformError> {
    let dir = if dir.is_dir() { dir.join("sbom") } else { dir.to_owned() };
    let failed = |source: PhaseError| PlatformError::Sbom { dir: dir.clone(), source: Box::new(source) };
    built.write_sboms(&dir).map_err(failed)
}

pub(super) fn write_report(
    mut report: Report,
    names: &[Reference],
    placed: &[Placed],
    dir: &Path,
) -> Result<(), PlatformError> {
    report.image.tags = names.iter().map(ToString::to_string).collect();
    let output =
        |one: &Placed| OutputReport { output: one.output.clone(), id: one.id.clone(), unchanged: one.unchanged };
    report.outputs = placed.iter().map(output).collect();
    write_report_to(&report, dir)
}

/// Writes `report.toml` into a folder, which is made where it is not there.
pub(crate) fn write_report_to(report: &Report, dir: &Path) -> Result<(), PlatformError> {
    let path = dir.join("report.toml");
    let text = report
        .write()
        .map_err(|error| PlatformError::Host { action: "writing report.toml".to_owned(), source: Box::new(error) })?;
    fs::create_dir_all(dir)
        .and_then(|()| fs::write(&path, text))
        .map_err(|source| PlatformError::Report { path, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_names_the_image_and_goes_where_it_is_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let mut report = Report::default();
        report.image.image_id = Some("sha256:00".into());
        let placed = Placed {
            output: "docker".into(),
            names: Vec::new(),
            id: Some("sha256:01".into()),
            unchanged: true,
            sent: None,
            attached: Vec::new(),
        };
        let names = ["bell".parse().unwrap(), "bell:2".parse().unwrap()];
        write_report(report, &names, &[placed], &dir.path().join("a/b")).unwrap();
        let read = Report::parse(&fs::read_to_string(dir.path().join("a/b/report.toml")).unwrap()).unwrap();
        assert_eq!(read.image.tags, ["bell:latest", "bell:2"]);
        assert_eq!(read.image.image_id.as_deref(), Some("sha256:00"));
        let output = &read.outputs[0];
        assert_eq!(
            (output.output.as_str(), output.id.as_deref(), output.unchanged),
            ("docker", Some("sha256:01"), true)
        );
        fs::write(dir.path().join("file"), "").unwrap();
        let error = write_report(Report::default(), &[], &[], &dir.path().join("file")).unwrap_err();
        assert!(
            error.to_string().ends_with("file/report.toml") && error.hint().contains("--report-output-dir"),
            "{error}"
        );
    }
}
