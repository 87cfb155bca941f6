//! `builder.toml`: what a builder is to be made of, as `pack builder create` reads it.
//!
//! The specification does not describe it; the format is pack's, with the deprecated `[stack]`. A key that does not exist is an error,
//! because a misspelt one would be silently without effect. Places in the file are kept as lines, for whoever finds a mistake later.

use std::collections::BTreeSet;

use serde::Deserialize;
use toml::Spanned;

use crate::error::{DocumentError, Lines, parse_toml};
use crate::order::{GroupEntry, OrderGroup};
use crate::run_toml::RunImage;
use crate::system_toml::System;
use crate::target::Target;

const DOCUMENT: &str = "builder.toml";

/// `builder.toml`, checked, with the deprecated keys brought into the form of today.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BuilderConfig {
    /// What the builder is for.
    pub description: String,
    /// The buildpacks and where they come from.
    pub buildpacks: Vec<ModuleConfig>,
    /// The image extensions and where they come from.
    pub extensions: Vec<ModuleConfig>,
    /// Groups in the order in which they are tried.
    pub order: Vec<ConfigGroup>,
    /// Groups of image extensions.
    pub order_extensions: Vec<ConfigGroup>,
    /// Buildpacks around every group.
    pub system: System,
    /// The image that the builder is put on.
    pub build_image: String,
    /// Variables of the operator, for every build with this builder.
    pub build_env: Vec<BuildEnv>,
    /// Images that apps run on; the first is the default. At least one.
    pub run_images: Vec<RunImage>,
    /// The deprecated id of the stack.
    pub stack_id: Option<String>,
    /// Processors and systems that the builder is made for; none for what the build image is made for.
    pub targets: Vec<Target>,
    /// The lifecycle to put in, where another than the usual one is wanted.
    pub lifecycle: LifecycleConfig,
    /// What works, but is probably not meant.
    pub warnings: Vec<ConfigWarning>,
}

/// Something to be told to the author of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigWarning {
    /// What is odd, with its line where it has one.
    pub text: String,
    /// What to write instead.
    pub fix: String,
}

/// A `[[buildpacks]]` or `[[extensions]]` entry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModuleConfig {
    /// Its id, where it is to be checked.
    pub id: Option<String>,
    /// Its version, where it is to be checked.
    pub version: Option<String>,
    /// Where it comes from: a path relative to the file, a URI, or the name of an image.
    pub location: String,
    /// Whether it was given as `image`, and so cannot be a path.
    pub is_image: bool,
    /// Line of the file, from 1.
    pub line: usize,
}

/// An `[[order]]` entry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConfigGroup {
    /// The buildpacks; the version is empty where it is left out.
    pub group: Vec<GroupEntry>,
    /// Line of each of them.
    pub lines: Vec<usize>,
}

impl ConfigGroup {
    /// The group as the label of the builder has it.
    pub fn to_group(&self) -> OrderGroup {
        OrderGroup { group: self.group.clone() }
    }
}

/// What becomes of a variable that is there already.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Suffix {
    /// What the buildpack API does by default: override.
    #[default]
    #[serde(rename = "")]
    None,
    /// Only when there is none.
    Default,
    /// Replace it.
    Override,
    /// Put behind it.
    Append,
    /// Put before it.
    Prepend,
}

/// A `[[build.env]]` entry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BuildEnv {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
    /// What becomes of one that is there already.
    pub suffix: Suffix,
    /// What stands between the old and the new value.
    pub delim: Option<String>,
}

impl BuildEnv {
    /// The files of `/cnb/build-config/env` that say it: name and content.
    pub fn files(&self) -> Vec<(String, String)> {
        let suffix = match self.suffix {
            Suffix::None => "",
            Suffix::Default => ".default",
            Suffix::Override => ".override",
            Suffix::Append => ".append",
            Suffix::Prepend => ".prepend",
        };
        let mut files = vec![(format!("{}{suffix}", self.name), self.value.clone())];
        files.extend(self.delim.clone().map(|delim| (format!("{}.delim", self.name), delim)));
        files
    }
}

/// The `[lifecycle]` table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LifecycleConfig {
    /// Where its archive is.
    pub uri: Option<String>,
    /// Which release.
    pub version: Option<String>,
    /// Line of the file, from 1.
    pub line: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawConfig {
    #[serde(default)]
    description: String,
    #[serde(default)]
    buildpacks: Vec<Spanned<RawModule>>,
    #[serde(default)]
    extensions: Vec<Spanned<RawModule>>,
    #[serde(default)]
    order: Vec<RawGroup>,
    #[serde(default)]
    order_extensions: Vec<RawGroup>,
    #[serde(default)]
    system: RawSystem,
    #[serde(default)]
    build: RawBuild,
    #[serde(default)]
    run: RawRun,
    stack: Option<Spanned<RawStack>>,
    #[serde(default)]
    targets: Vec<Target>,
    lifecycle: Option<Spanned<RawLifecycle>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLifecycle {
    uri: Option<String>,
    version: Option<String>,
}

/// What pack lets stand in an entry, also where it has no effect.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct RawModule {
    id: Option<String>,
    version: Option<String>,
    pub(crate) uri: Option<String>,
    pub(crate) image: Option<String>,
    #[serde(rename = "name")]
    _name: Option<String>,
    #[serde(rename = "homepage")]
    _homepage: Option<String>,
    #[serde(rename = "description")]
    _description: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawGroup {
    #[serde(default)]
    group: Vec<Spanned<RawEntry>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawEntry {
    id: String,
    #[serde(default)]
    version: String,
    #[serde(default)]
    optional: bool,
    #[serde(default)]
    exec_env: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSystem {
    #[serde(default)]
    pre: RawSystemSide,
    #[serde(default)]
    post: RawSystemSide,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSystemSide {
    #[serde(default)]
    buildpacks: Vec<Spanned<RawEntry>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawBuild {
    #[serde(default)]
    image: String,
    #[serde(default)]
    env: Vec<Spanned<RawEnv>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawEnv {
    #[serde(default)]
    name: String,
    #[serde(default)]
    value: String,
    #[serde(default)]
    suffix: Suffix,
    delim: Option<String>,
    #[serde(default)]
    exec_env: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRun {
    #[serde(default)]
    images: Vec<Spanned<RawRunImage>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRunImage {
    #[serde(default)]
    image: String,
    #[serde(default)]
    mirrors: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct RawStack {
    id: String,
    build_image: String,
    run_image: String,
    run_image_mirrors: Vec<String>,
}

impl BuilderConfig {
    /// Reads `builder.toml`.
    pub fn parse(text: &str) -> Result<Self, DocumentError> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let raw: RawConfig = parse_toml(DOCUMENT, text)?;
        let lines = Lines::of(text);
        let mut config = Self {
            description: raw.description,
            buildpacks: modules(DOCUMENT, &lines, "buildpacks", raw.buildpacks)?,
            extensions: modules(DOCUMENT, &lines, "extensions", raw.extensions)?,
            order: raw.order.into_iter().map(|group| entries(&lines, group.group)).collect::<Result<_, _>>()?,
            order_extensions: raw
                .order_extensions
                .into_iter()
                .map(|group| entries(&lines, group.group))
                .collect::<Result<_, _>>()?,
            targets: raw.targets,
            build_image: raw.build.image,
            ..Self::default()
        };
        config.system.pre.buildpacks = entries(&lines, raw.system.pre.buildpacks)?.group;
        config.system.post.buildpacks = entries(&lines, raw.system.post.buildpacks)?.group;
        config.warn_of_repetitions();
        config.read_lifecycle(&lines, raw.lifecycle)?;
        config.read_build_env(&lines, raw.build.env)?;
        config.read_run_images(&lines, raw.run.images)?;
        config.merge_stack(&lines, raw.stack)?;
        config.check_images()?;
        if config.order.iter().all(|group| group.group.is_empty()) {
            config
                .warn("the order is empty, so no app can be built with this builder", "add an [[order]] with a group");
        }
        Ok(config)
    }

    fn warn(&mut self, text: impl Into<String>, fix: impl Into<String>) {
        self.warnings.push(ConfigWarning { text: text.into(), fix: fix.into() });
    }

    fn read_build_env(&mut self, lines: &Lines, env: Vec<Spanned<RawEnv>>) -> Result<(), DocumentError> {
        let mut seen = BTreeSet::new();
        for entry in env {
            let at = place(lines, &entry, "build.env");
            let RawEnv { name, value, suffix, delim, exec_env } = entry.into_inner();
            if name.is_empty() || name.contains(['/', '\0', '=']) || matches!(name.as_str(), "." | "..") {
                let message = format!("`{name}` cannot be the name of a variable");
                return Err(DocumentError::invalid(
                    DOCUMENT,
                    at,
                    message,
                    "name the variable, for example BP_LOG_LEVEL",
                ));
            }
            if let Some((_, action)) = name.split_once('.') {
                let message = format!("`{name}` cannot be the name of a variable: what follows a point is an action");
                let fix = match action {
                    "default" | "override" | "append" | "prepend" => format!("write suffix = \"{action}\""),
                    _ => "name it without a point".to_owned(),
                };
                return Err(DocumentError::invalid(DOCUMENT, at, message, fix));
            }
            if matches!(suffix, Suffix::Append | Suffix::Prepend) && delim.is_none() {
                let message = format!("{name} is put to what is there already, but nothing is said to stand between");
                return Err(DocumentError::invalid(DOCUMENT, at, message, "add delim = \":\" (or \"\" for nothing)"));
            }
            if !exec_env.is_empty() {
                let text = format!("{at}: exec-env has no effect here: {name} is set in every execution environment");
                self.warn(text, "remove exec-env");
            }
            if value.is_empty() {
                self.warn(format!("{at}: {name} has an empty value"), "give it a value or remove it");
            }
            let variable = BuildEnv { name, value, suffix, delim };
            if !seen.insert(variable.files()[0].0.clone()) {
                self.warn(format!("{at}: {} is given twice, this one counts", variable.name), "remove one of them");
            }
            self.build_env.push(variable);
        }
        Ok(())
    }

    /// "Of buildpacks with the same id in a group the first stays."
    fn warn_of_repetitions(&mut self) {
        let mut found = Vec::new();
        for group in &self.order {
            let mut seen = BTreeSet::new();
            let again = group.group.iter().zip(&group.lines).filter(|(entry, _)| !seen.insert(&entry.id));
            found.extend(again.map(|(entry, line)| format!("line {line}: {} stands twice in its group", entry.id)));
        }
        for text in found {
            self.warn(text, "remove one of them: only the first takes part");
        }
        for (entry, line) in self.order_extensions.iter_mut().flat_map(|group| group.group.iter_mut().zip(&group.lines))
        {
            if std::mem::take(&mut entry.optional) {
                let text = format!("line {line}: extensions are always optional");
                self.warnings.push(ConfigWarning { text, fix: "remove optional".to_owned() });
            }
        }
    }

    fn read_lifecycle(&mut self, lines: &Lines, raw: Option<Spanned<RawLifecycle>>) -> Result<(), DocumentError> {
        let Some(raw) = raw else { return Ok(()) };
        let line = lines.line_of(raw.span().start);
        let filled = |value: Option<String>| value.filter(|value| !value.is_empty());
        let RawLifecycle { uri, version } = raw.into_inner();
        self.lifecycle = LifecycleConfig { uri: filled(uri), version: filled(version), line };
        if let (Some(uri), Some(version)) = (&self.lifecycle.uri, &self.lifecycle.version) {
            let message = format!("both a uri ({uri}) and a version ({version}) are given");
            let at = format!("line {line}, lifecycle");
            return Err(DocumentError::invalid(DOCUMENT, at, message, "keep one of them"));
        }
        Ok(())
    }

    fn read_run_images(&mut self, lines: &Lines, images: Vec<Spanned<RawRunImage>>) -> Result<(), DocumentError> {
        for entry in images {
            let at = place(lines, &entry, "run.images");
            let RawRunImage { image, mirrors } = entry.into_inner();
            if image.is_empty() {
                let fix = "name the image, for example image = \"hoist/run\"";
                return Err(DocumentError::invalid(DOCUMENT, at, "an entry without an image", fix));
            }
            self.run_images.push(RunImage { image, mirrors });
        }
        Ok(())
    }

    /// `[stack]` says the same as `[build]` and `[run]`, in the way of before.
    fn merge_stack(&mut self, lines: &Lines, stack: Option<Spanned<RawStack>>) -> Result<(), DocumentError> {
        let Some(stack) = stack else { return Ok(()) };
        let line = lines.line_of(stack.span().start);
        let RawStack { id, build_image, run_image, run_image_mirrors } = stack.into_inner();
        let differ = |new: &str, old: &str, one: &str, other: &str| {
            let message = format!("{one} is `{new}`, but {other} is `{old}`");
            let fix = "remove the [stack] table, which is deprecated, or make both the same";
            Err(DocumentError::invalid(DOCUMENT, format!("line {line}, stack"), message, fix))
        };
        if self.build_image.is_empty() {
            self.build_image = build_image;
        } else if !build_image.is_empty() && build_image != self.build_image {
            return differ(&self.build_image, &build_image, "build.image", "stack.build-image");
        }
        match self.run_images.first() {
            None if !run_image.is_empty() => {
                self.run_images.push(RunImage { image: run_image, mirrors: run_image_mirrors });
            }
            Some(first) if !run_image.is_empty() && first.image != run_image => {
                return differ(&first.image, &run_image, "the first of run.images", "stack.run-image");
            }
            _ => {}
        }
        self.stack_id = (!id.is_empty()).then_some(id);
        self.warn(
            format!("line {line}: [stack] is deprecated"),
            "write build-image as [build] image, and run-image as [[run.images]] image",
        );
        Ok(())
    }

    fn check_images(&self) -> Result<(), DocumentError> {
        let missing =
            |field: &str, fix: &str| Err(DocumentError::invalid(DOCUMENT, field, "it must be said, and is not", fix));
        if self.build_image.is_empty() {
            return missing("build.image", "add [build] with image = \"NAME\", the image that buildpacks run in");
        }
        if self.run_images.is_empty() {
            return missing("run.images", "add [[run.images]] with image = \"NAME\", the image that apps run on");
        }
        Ok(())
    }
}

fn place<T>(lines: &Lines, entry: &Spanned<T>, field: &str) -> String {
    format!("line {}, {field}", lines.line_of(entry.span().start))
}

/// Places that modules come from, in a builder.toml or a package.toml.
pub(crate) fn modules<T: Into<RawModule>>(
    document: &'static str,
    lines: &Lines,
    field: &str,
    raw: Vec<Spanned<T>>,
) -> Result<Vec<ModuleConfig>, DocumentError> {
    let mut found = Vec::with_capacity(raw.len());
    for entry in raw {
        let at = place(lines, &entry, field);
        let line = lines.line_of(entry.span().start);
        let module: RawModule = entry.into_inner().into();
        let filled = |value: Option<String>| value.filter(|value| !value.is_empty());
        let (uri, image) = (filled(module.uri), filled(module.image));
        let is_image = image.is_some();
        let location = match (uri, image) {
            (Some(uri), Some(image)) => {
                let message = format!("both a uri ({uri}) and an image ({image}) are given");
                return Err(DocumentError::invalid(document, at, message, "keep one of them"));
            }
            (None, None) => {
                let fix = "add uri = \"PATH OR URI\" or image = \"NAME\"";
                return Err(DocumentError::invalid(document, at, "nothing says where it comes from", fix));
            }
            (Some(location), None) | (None, Some(location)) => location,
        };
        found.push(ModuleConfig { id: filled(module.id), version: filled(module.version), location, is_image, line });
    }
    Ok(found)
}

fn entries(lines: &Lines, raw: Vec<Spanned<RawEntry>>) -> Result<ConfigGroup, DocumentError> {
    let mut group = ConfigGroup::default();
    for entry in raw {
        if entry.as_ref().id.is_empty() {
            let at = place(lines, &entry, "order");
            return Err(DocumentError::invalid(DOCUMENT, at, "an entry without an id", "name the buildpack"));
        }
        group.lines.push(lines.line_of(entry.span().start));
        let RawEntry { id, version, optional, exec_env } = entry.into_inner();
        group.group.push(GroupEntry { id, version, optional, exec_env });
    }
    Ok(group)
}

#[cfg(test)]
mod tests;
