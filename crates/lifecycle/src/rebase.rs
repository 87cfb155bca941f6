//! Rebase: an app image is put on another run image, without being built.
//!
//! platform.md, "rebaser". The layers of the run image go, up to the one that the label calls its topmost, and those of the new one take their
//! place. Nothing is unpacked; the app's layers stay as they are.

use hoist_events::Reporter;
use hoist_image::{DiffId, Image, Reference, Store, StoreError};
use hoist_spec::{
    ApiVersion, BuilderStack, DocumentError, ImageTarget, LIFECYCLE_METADATA_LABEL, LifecycleMetadata, MIXINS_LABEL,
    REBASABLE_LABEL, RunImage, STACK_ID_LABEL,
};
use serde_json::{Value, json};

use crate::analyze::{label, target_of_config};
use crate::place::same_name;

/// The creation time of a reproducible image.
const CREATED: &str = "1980-01-01T00:00:01Z";
/// Labels that are the run image's.
const OF_THE_RUN_IMAGE: [&str; 2] = ["io.buildpacks.stack.", "io.buildpacks.base."];

/// What is put on what.
#[derive(Debug)]
pub struct RebaseRequest<'a> {
    /// The app image.
    pub app: &'a Image,
    /// The new run image.
    pub run_image: &'a Image,
    /// The name of the new run image.
    pub run_name: &'a Reference,
    /// What names it uniquely.
    pub run_reference: &'a str,
    /// Whether it is done although it is not safe.
    pub force: bool,
    /// `CNB_PLATFORM_API`.
    pub platform_api: ApiVersion,
}

/// What an app image stands on, as its labels say.
#[derive(Debug)]
pub struct Foundation {
    /// The names of its run image, best first.
    pub names: RunImage,
    /// How many of its layers, from the lowest, are the run image's.
    pub layers: usize,
}

impl Foundation {
    /// From the labels of `app`, which is called `name` in errors.
    pub fn of(app: &Image, name: &str) -> Result<Self, RebaseError> {
        let text =
            label(app, LIFECYCLE_METADATA_LABEL).ok_or_else(|| RebaseError::NotAnApp { name: name.to_owned() })?;
        let metadata = LifecycleMetadata::parse(text).map_err(RebaseError::Document)?;
        let of_label = metadata.run_image.run_image();
        let of_stack = || metadata.stack.as_ref().map(|stack| stack.run_image.clone()).unwrap_or_default();
        let names = if of_label.image.is_empty() { of_stack() } else { of_label };
        Ok(Self { names, layers: layers_below(app, &metadata)? })
    }
}

/// How many layers of `app` are its run image's: those up to the one that the label calls its topmost.
fn layers_below(app: &Image, metadata: &LifecycleMetadata) -> Result<usize, RebaseError> {
    let top_layer = &metadata.run_image.top_layer;
    let wanted: Option<DiffId> = top_layer.parse().ok();
    let own = app.diff_ids().iter().position(|diff_id| Some(*diff_id) == wanted);
    Ok(own.ok_or_else(|| RebaseError::TopLayer { top_layer: top_layer.clone() })? + 1)
}

/// An image cannot be rebased.
#[derive(Debug, thiserror::Error)]
pub enum RebaseError {
    /// The image was not made by a lifecycle.
    #[error("rebasing {name}: it has no label {LIFECYCLE_METADATA_LABEL}, so no lifecycle made it")]
    NotAnApp {
        /// Its name.
        name: String,
    },
    /// A label cannot be read or written.
    #[error("reading the labels of the image to rebase")]
    Document(#[source] DocumentError),
    /// The configuration of an image cannot be read.
    #[error("reading the configuration of the image to rebase: {problem}")]
    Configuration {
        /// What is wrong.
        problem: String,
    },
    /// Neither the platform nor the label names a run image.
    #[error("looking for the new run image: none is given, and the image's label names none")]
    NoRunImage,
    /// The image says that it cannot be rebased.
    #[error("rebasing the image: its label {REBASABLE_LABEL} says that it is not made for that")]
    NotRebasable,
    /// The new run image is made for something else.
    #[error("rebasing the image: it is made for {app}, the new run image for {run_image}")]
    Target {
        /// What the app is made for.
        app: String,
        /// What the run image is made for.
        run_image: String,
    },
    /// The run image is not one of those that the image was made for.
    #[error("rebasing the image: {name} is none of its run images: {known}")]
    Name {
        /// The new run image.
        name: String,
        /// Those that the label names.
        known: String,
    },
    /// Stacks differ (below Platform API 0.12).
    #[error("rebasing the image: its stack is `{app}`, that of the new run image `{run_image}`")]
    Stack {
        /// The app's.
        app: String,
        /// The run image's.
        run_image: String,
    },
    /// The new run image lacks mixins (below Platform API 0.12).
    #[error("rebasing the image: the new run image lacks the mixins {missing}")]
    Mixins {
        /// Which.
        missing: String,
    },
    /// The label does not fit the image.
    #[error(
        "rebasing the image: its label calls {top_layer} the topmost layer of its run image, and it has no such layer"
    )]
    TopLayer {
        /// The diffID.
        top_layer: String,
    },
    /// The new image cannot be stored.
    #[error("storing the rebased image")]
    Store(#[source] StoreError),
}

impl RebaseError {
    /// Whether the store is at fault, and not what was asked for.
    pub fn is_of_the_machine(&self) -> bool {
        matches!(self, Self::Store(_))
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NotAnApp { .. } => "name an image that buildpacks made".to_owned(),
            Self::Document(error) => return error.hint(),
            Self::Configuration { .. } | Self::TopLayer { .. } => "build the image again".to_owned(),
            Self::NoRunImage => "name one: --run-image NAME".to_owned(),
            Self::NotRebasable => "build it again on the new run image, or insist with --force".to_owned(),
            Self::Target { .. } => "take a run image for the same target, or insist with --force".to_owned(),
            Self::Name { .. } => "take one of these, or insist with --force".to_owned(),
            Self::Stack { .. } | Self::Mixins { .. } => "take a run image of the same stack".to_owned(),
            Self::Store(error) => error.hint(),
        })
    }
}

/// The same app on the new run image, without a name.
pub fn rebase(store: &Store, request: &RebaseRequest<'_>, reporter: &dyn Reporter) -> Result<Image, RebaseError> {
    store.put_image_bytes(rebased_config(request, reporter)?, &[]).map_err(RebaseError::Store)
}

/// The configuration of that. No layer is needed for it.
pub fn rebased_config(request: &RebaseRequest<'_>, reporter: &dyn Reporter) -> Result<Vec<u8>, RebaseError> {
    let text = label(request.app, LIFECYCLE_METADATA_LABEL).unwrap_or_default();
    let mut metadata = LifecycleMetadata::parse(text).map_err(RebaseError::Document)?;
    if app_platform_api(request.app).is_some_and(|api| api.at_least(12)) {
        check_target(request, reporter)?;
    } else {
        check_stack(request)?;
    }
    let kept = layers_below(request.app, &metadata)?;
    if request.platform_api.at_least(12) {
        check_name(request, &mut metadata, reporter)?;
    }
    request.run_reference.clone_into(&mut metadata.run_image.reference);
    metadata.run_image.top_layer = request.run_image.diff_ids().last().map(ToString::to_string).unwrap_or_default();
    configuration(request, kept, &metadata)
}

/// `CNB_PLATFORM_API` of the image: what it was built with.
fn app_platform_api(app: &Image) -> Option<ApiVersion> {
    let environment = app.config().config().as_ref()?.env().as_ref()?;
    environment.iter().find_map(|variable| variable.strip_prefix("CNB_PLATFORM_API="))?.parse().ok()
}

fn check_target(request: &RebaseRequest<'_>, reporter: &dyn Reporter) -> Result<(), RebaseError> {
    let unless_forced = |error: RebaseError| {
        if !request.force {
            return Err(error);
        }
        reporter.warn(&error.to_string(), Some("it is done all the same, because of --force"));
        Ok(())
    };
    if label(request.app, REBASABLE_LABEL) == Some("false") {
        unless_forced(RebaseError::NotRebasable)?;
    }
    let (app, run_image) = (target_of_config(request.app), target_of_config(request.run_image));
    if !fits(&run_image, &app) {
        unless_forced(RebaseError::Target { app: shown(&app), run_image: shown(&run_image) })?;
    }
    Ok(())
}

/// Variants match where one is not known; a distribution that the new run image names must be the app's.
fn fits(run_image: &ImageTarget, app: &ImageTarget) -> bool {
    let same = |new: &str, old: &str| new.is_empty() || new == old;
    let variants = match (run_image.variant.as_deref(), app.variant.as_deref()) {
        (Some(new), Some(old)) => new == old,
        _ => true,
    };
    let distributions = match (&run_image.distro, &app.distro) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(new), Some(old)) => same(&new.name, &old.name) && same(&new.version, &old.version),
    };
    run_image.os == app.os && run_image.arch == app.arch && variants && distributions
}

fn shown(target: &ImageTarget) -> String {
    let distribution =
        target.distro.as_ref().map(|distro| format!(" {} {}", distro.name, distro.version)).unwrap_or_default();
    let variant = target.variant.as_ref().map(|variant| format!("/{variant}")).unwrap_or_default();
    format!("{}/{}{variant}{distribution}", target.os, target.arch)
}

/// Before Platform API 0.12 run images belonged to stacks.
fn check_stack(request: &RebaseRequest<'_>) -> Result<(), RebaseError> {
    let stack = |image| label(image, STACK_ID_LABEL).unwrap_or_default().to_owned();
    let (app, run_image) = (stack(request.app), stack(request.run_image));
    if app.is_empty() || app != run_image {
        return Err(RebaseError::Stack { app, run_image });
    }
    let mixins = |image| -> Vec<String> {
        let list: Vec<String> =
            label(image, MIXINS_LABEL).and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        list.iter().map(|mixin| mixin.split_once(':').map_or(mixin.as_str(), |(_, name)| name).to_owned()).collect()
    };
    let there = mixins(request.run_image);
    let missing: Vec<String> = mixins(request.app).into_iter().filter(|mixin| !there.contains(mixin)).collect();
    if missing.is_empty() { Ok(()) } else { Err(RebaseError::Mixins { missing: missing.join(", ") }) }
}

/// The new run image has to be one that the label names; with `-force` it becomes the one.
fn check_name(
    request: &RebaseRequest<'_>,
    metadata: &mut LifecycleMetadata,
    reporter: &dyn Reporter,
) -> Result<(), RebaseError> {
    let stack = metadata.stack.as_ref().map(|stack| stack.run_image.clone()).unwrap_or_default();
    let known: Vec<String> = [metadata.run_image.run_image(), stack]
        .into_iter()
        .flat_map(|image| std::iter::once(image.image).chain(image.mirrors))
        .filter(|name| !name.is_empty())
        .collect();
    if known.iter().filter_map(|name| name.parse().ok()).any(|name| same_name(&name, request.run_name)) {
        return Ok(());
    }
    let name = request.run_name.to_string();
    let error = RebaseError::Name { name: name.clone(), known: known.join(", ") };
    if !request.force {
        return Err(error);
    }
    reporter.warn(&error.to_string(), Some("it is done all the same, because of --force"));
    metadata.run_image.image.clone_from(&name);
    metadata.run_image.mirrors.clear();
    metadata.stack = Some(BuilderStack { run_image: RunImage { image: name, mirrors: Vec::new() } });
    Ok(())
}

/// The app's configuration with the new run image's layers and labels; `replaced` layers were those of the old one.
fn configuration(
    request: &RebaseRequest<'_>,
    replaced: usize,
    metadata: &LifecycleMetadata,
) -> Result<Vec<u8>, RebaseError> {
    let parse = |image: &Image| -> Result<Value, RebaseError> {
        serde_json::from_slice(image.config_bytes())
            .map_err(|error| RebaseError::Configuration { problem: error.to_string() })
    };
    let (mut config, base) = (parse(request.app)?, parse(request.run_image)?);
    let diff_ids: Vec<String> = request
        .run_image
        .diff_ids()
        .iter()
        .chain(&request.app.diff_ids()[replaced..])
        .map(ToString::to_string)
        .collect();
    let mut history = history(&base, request.run_image.diff_ids().len());
    history.extend(app_history(&config, request.app.diff_ids().len(), replaced));
    config["rootfs"] = json!({ "type": "layers", "diff_ids": diff_ids });
    config["history"] = Value::Array(history);
    config["created"] = json!(CREATED);
    for key in ["os", "architecture", "variant", "os.version"] {
        match base.get(key) {
            Some(value) => config[key] = value.clone(),
            None => {
                config.as_object_mut().map(|config| config.shift_remove(key));
            }
        }
    }
    let label = metadata.to_label().map_err(RebaseError::Document)?;
    set_labels(&mut config, &base, label, request.platform_api);
    serde_json::to_vec(&config).map_err(|error| RebaseError::Configuration { problem: error.to_string() })
}

fn set_labels(config: &mut Value, base: &Value, metadata: String, platform_api: ApiVersion) {
    let prefixes = if platform_api.at_least(12) { &OF_THE_RUN_IMAGE[..] } else { &OF_THE_RUN_IMAGE[..1] };
    let is_its = |key: &String| prefixes.iter().any(|prefix| key.starts_with(prefix));
    if !config["config"]["Labels"].is_object() {
        config["config"]["Labels"] = json!({});
    }
    let Some(labels) = config["config"]["Labels"].as_object_mut() else { return };
    labels.retain(|key, _| !is_its(key));
    for (key, value) in base["config"]["Labels"].as_object().into_iter().flatten().filter(|(key, _)| is_its(key)) {
        labels.insert(key.clone(), value.clone());
    }
    labels.insert(LIFECYCLE_METADATA_LABEL.to_owned(), Value::String(metadata));
    labels.sort_keys();
}

/// One entry for each layer; a history that does not fit the layers is an empty one.
fn history(config: &Value, layers: usize) -> Vec<Value> {
    let entries: Vec<Value> = config["history"].as_array().cloned().unwrap_or_default();
    if entries.iter().filter(|entry| is_layer(entry)).count() == layers {
        return entries;
    }
    (0..layers).map(|_| json!({ "created": CREATED })).collect()
}

/// What the history says of the layers above the first `replaced`.
fn app_history(config: &Value, layers: usize, replaced: usize) -> Vec<Value> {
    let mut below = replaced;
    let mut above = history(config, layers);
    above.retain(|entry| {
        let keep = below == 0;
        below -= usize::from(!keep && is_layer(entry));
        keep
    });
    above
}

fn is_layer(entry: &Value) -> bool {
    entry["empty_layer"] != json!(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hoist_spec::Distribution;

    #[test]
    fn a_run_image_fits_if_it_says_nothing_else_than_the_app() {
        let target = |os: &str, variant: Option<&str>, distro: Option<(&str, &str)>| ImageTarget {
            os: os.to_owned(),
            arch: "amd64".into(),
            variant: variant.map(str::to_owned),
            distro: distro.map(|(name, version)| Distribution { name: name.into(), version: version.into() }),
            ..ImageTarget::default()
        };
        let app = target("linux", Some("v2"), Some(("debian", "13")));
        assert!(fits(&target("linux", None, None), &app));
        assert!(fits(&target("linux", Some("v2"), Some(("debian", "13"))), &app));
        assert!(fits(&target("linux", None, Some(("debian", ""))), &app));
        assert!(!fits(&target("windows", None, None), &app));
        assert!(!fits(&target("linux", Some("v3"), None), &app));
        assert!(!fits(&target("linux", None, Some(("debian", "12"))), &app));
        assert!(!fits(&target("linux", None, Some(("ubuntu", "13"))), &target("linux", None, None)));
        assert_eq!(shown(&app), "linux/amd64/v2 debian 13");
    }

    #[test]
    fn the_history_above_the_run_image_is_kept() {
        let entry = |text: &str, empty: bool| json!({ "created_by": text, "empty_layer": empty });
        let config =
            json!({ "history": [entry("env", true), entry("run", false), entry("label", true), entry("app", false)] });
        assert_eq!(app_history(&config, 2, 1), [entry("label", true), entry("app", false)]);
        let wrong = json!({ "history": [entry("run", false)] });
        assert_eq!(app_history(&wrong, 3, 1), [json!({ "created": CREATED }), json!({ "created": CREATED })]);
    }
}
