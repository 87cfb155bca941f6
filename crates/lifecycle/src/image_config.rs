//! The configuration of the app image: platform.md, "exporter", "Outputs".

use hoist_image::oci::{ConfigBuilder, HistoryBuilder, ImageConfiguration, RootFsBuilder};
use hoist_spec::{BUILD_METADATA_LABEL, BuildLabel, EXEC_ENV_LABEL, LIFECYCLE_METADATA_LABEL, PROJECT_METADATA_LABEL};

use crate::build::Built;
use crate::buildpack_layers::Exporting;
use crate::export::{ExportError, ExportRequest};
use crate::generated::{LAUNCHER_PATH, PROCESS_DIR};
use crate::setup::Setup;

/// The creation time of a reproducible image.
const CREATED: &str = "1980-01-01T00:00:01Z";

/// Labels from which the next build learns what this one made.
const OWN_LABELS: [&str; 4] = [LIFECYCLE_METADATA_LABEL, BUILD_METADATA_LABEL, PROJECT_METADATA_LABEL, EXEC_ENV_LABEL];

/// The run image's configuration with the app's layers, labels, environment and entry point.
pub(crate) fn make(
    setup: &Setup<'_>,
    built: &Built,
    request: &ExportRequest<'_>,
    exporting: &Exporting<'_>,
) -> Result<ImageConfiguration, ExportError> {
    let run_image = &built.restored.detected.analyzed.run_image;
    let mut image = run_image.config().clone();
    let created = request.created.clone().unwrap_or_else(|| CREATED.to_owned());
    let mut config = match image.config() {
        Some(config) => config.clone(),
        None => ConfigBuilder::default().build().map_err(unusable)?,
    };
    let mut environment = config.env().clone().unwrap_or_default();
    set_environment(setup, &mut environment);
    config.set_env(Some(environment));
    config.set_entrypoint(Some(vec![entrypoint(built, request)?]));
    config.set_cmd(None);
    config.set_working_dir(Some(setup.directories.app_dir.display().to_string()));
    let mut labels = config.labels().clone().unwrap_or_default();
    labels.insert(LIFECYCLE_METADATA_LABEL.to_owned(), exporting.metadata.to_label().map_err(ExportError::Document)?);
    let build_label = BuildLabel::new(&built.metadata, request.launcher.version);
    labels.insert(BUILD_METADATA_LABEL.to_owned(), build_label.to_label().map_err(ExportError::Document)?);
    labels.insert(PROJECT_METADATA_LABEL.to_owned(), request.project.to_label().map_err(ExportError::Document)?);
    for label in &built.metadata.labels {
        if OWN_LABELS.contains(&label.key.as_str()) {
            let text = format!("a buildpack wants to set the label {}, which is the lifecycle's own", label.key);
            setup.reporter.warn(&text, Some("it is left as it is"));
            continue;
        }
        labels.insert(label.key.clone(), label.value.clone());
    }
    if setup.platform_api.at_least(15) && !setup.exec_env.is_empty() {
        labels.insert(EXEC_ENV_LABEL.to_owned(), setup.exec_env.clone());
    }
    config.set_labels(Some(labels));
    image.set_config(Some(config));
    image.set_created(Some(created.clone()));
    let diff_ids: Vec<String> = run_image
        .diff_ids()
        .iter()
        .chain(exporting.layers.iter().map(|layer| &layer.diff_id))
        .map(ToString::to_string)
        .collect();
    image.set_rootfs(RootFsBuilder::default().typ("layers").diff_ids(diff_ids).build().map_err(unusable)?);
    set_history(&mut image, run_image.diff_ids().len(), exporting, &created)?;
    Ok(image)
}

fn unusable(error: impl std::fmt::Display) -> ExportError {
    ExportError::RunImage { problem: error.to_string() }
}

/// The history has one entry for each layer; a run image whose history does not fit its layers gets an empty one.
fn set_history(
    image: &mut ImageConfiguration,
    run_layers: usize,
    exporting: &Exporting<'_>,
    created: &str,
) -> Result<(), ExportError> {
    let entry = |created_by: &str| {
        let history = HistoryBuilder::default().created(created).created_by(created_by).build();
        history.map_err(unusable)
    };
    let mut history = image.history().clone().unwrap_or_default();
    if history.iter().filter(|entry| entry.empty_layer() != Some(true)).count() != run_layers {
        history = (0..run_layers).map(|_| entry("")).collect::<Result<_, _>>()?;
    }
    for layer in &exporting.layers {
        history.push(entry(&layer.created_by)?);
    }
    image.set_history(Some(history));
    Ok(())
}

fn set_environment(setup: &Setup<'_>, environment: &mut Vec<String>) {
    let path = environment.iter().find_map(|variable| variable.strip_prefix("PATH=")).unwrap_or_default().to_owned();
    let path = if path.is_empty() { String::new() } else { format!(":{path}") };
    let variables = [
        ("CNB_LAYERS_DIR", setup.directories.layers_dir.display().to_string()),
        ("CNB_APP_DIR", setup.directories.app_dir.display().to_string()),
        ("CNB_PLATFORM_API", setup.platform_api.to_string()),
        ("CNB_DEPRECATION_MODE", "quiet".to_owned()),
        ("PATH", format!("{PROCESS_DIR}:/cnb/lifecycle{path}")),
    ];
    for (name, value) in variables {
        let variable = format!("{name}={value}");
        match environment.iter_mut().find(|variable| variable.split('=').next() == Some(name)) {
            Some(there) => *there = variable,
            None => environment.push(variable),
        }
    }
}

/// The chosen process, else the one that the buildpacks chose, else the launcher itself.
fn entrypoint(built: &Built, request: &ExportRequest<'_>) -> Result<String, ExportError> {
    let metadata = &built.metadata;
    if let Some(wanted) = &request.default_process {
        if metadata.process(wanted).is_none() {
            let known = metadata.processes.iter().map(|process| process.kind.clone()).collect();
            return Err(ExportError::NoProcess { wanted: wanted.clone(), known });
        }
        return Ok(format!("{PROCESS_DIR}/{wanted}"));
    }
    Ok(match &metadata.buildpack_default_process_type {
        Some(kind) => format!("{PROCESS_DIR}/{kind}"),
        None => LAUNCHER_PATH.to_owned(),
    })
}
