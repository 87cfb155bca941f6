//! `pyproject.toml`: what a project asks for, whoever reads it (PEP 621, PEP 735, and the tables of Poetry, uv and PDM).

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Deserialize;
use toml::Spanned;

use crate::context::Context;
use crate::failure::Failure;
use crate::manifest::Manifest;
use crate::pip::requirements::normalize;

/// The name of the file.
pub(crate) const PYPROJECT: &str = "pyproject.toml";
/// Groups that include each other deeper than this are a circle.
const MAX_INCLUDES: usize = 32;

/// The file, with its text for the places.
#[derive(Debug, Clone)]
pub(crate) struct PyProject {
    pub(crate) manifest: Manifest,
    pub(crate) document: Document,
}

/// What hoist knows of it. Other keys are other tools' own.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Document {
    pub(crate) project: Option<Project>,
    pub(crate) build_system: Option<BuildSystem>,
    #[serde(default)]
    pub(crate) dependency_groups: BTreeMap<String, Vec<Spanned<GroupItem>>>,
    #[serde(default)]
    pub(crate) tool: Tool,
}

/// `[project]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Project {
    pub(crate) name: Option<String>,
    pub(crate) requires_python: Option<String>,
    pub(crate) dependencies: Option<Vec<Spanned<String>>>,
    #[serde(default)]
    pub(crate) optional_dependencies: BTreeMap<String, Vec<Spanned<String>>>,
    #[serde(default)]
    pub(crate) dynamic: Vec<String>,
}

/// `[build-system]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct BuildSystem {
    #[serde(default)]
    pub(crate) requires: Vec<String>,
    pub(crate) build_backend: Option<String>,
}

/// An entry of `[dependency-groups]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(crate) enum GroupItem {
    Requirement(String),
    Include {
        #[serde(rename = "include-group")]
        include: String,
    },
}

/// `[tool]`.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Tool {
    pub(crate) poetry: Option<PoetryTool>,
    pub(crate) uv: Option<UvTool>,
    pub(crate) pdm: Option<PdmTool>,
    pub(crate) hatch: Option<toml::Table>,
    pub(crate) setuptools: Option<toml::Table>,
}

/// `[tool.poetry]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct PoetryTool {
    pub(crate) name: Option<String>,
    pub(crate) package_mode: Option<bool>,
    pub(crate) packages: Option<Vec<toml::Table>>,
    pub(crate) build: Option<toml::Value>,
    #[serde(default)]
    pub(crate) dependencies: BTreeMap<String, Spanned<toml::Value>>,
    #[serde(default)]
    pub(crate) dev_dependencies: BTreeMap<String, Spanned<toml::Value>>,
    #[serde(default)]
    pub(crate) group: BTreeMap<String, PoetryGroup>,
    #[serde(default)]
    pub(crate) extras: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    pub(crate) source: Vec<Source>,
}

/// `[tool.poetry.group.x]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct PoetryGroup {
    #[serde(default)]
    pub(crate) dependencies: BTreeMap<String, Spanned<toml::Value>>,
    #[serde(default)]
    pub(crate) include_groups: Vec<String>,
}

/// An index, as Poetry, PDM and uv name it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Source {
    #[serde(default)]
    pub(crate) name: String,
    pub(crate) url: Option<String>,
    #[serde(default, rename = "type")]
    pub(crate) kind: String,
    #[serde(default)]
    pub(crate) default: bool,
    /// Poetry's word for how it is used; `explicit` for packages that name it alone.
    pub(crate) priority: Option<String>,
    /// uv's word for the same.
    #[serde(default)]
    pub(crate) explicit: bool,
    /// PDM's: patterns of the names that it is for.
    #[serde(default, rename = "include_packages")]
    pub(crate) include_packages: Vec<String>,
}

impl Source {
    /// Whether it is asked for nothing but packages that name it, or that it names.
    pub(crate) fn is_explicit(&self) -> bool {
        self.explicit || self.priority.as_deref() == Some("explicit") || !self.include_packages.is_empty()
    }

    /// Whether PDM takes a package from it alone.
    pub(crate) fn includes(&self, name: &str) -> bool {
        self.include_packages.iter().any(|pattern| matches(&normalize_pattern(pattern), name))
    }
}

/// Names are compared normalised; `*` and `?` stay.
fn normalize_pattern(pattern: &str) -> String {
    pattern.to_lowercase().replace(['_', '.'], "-")
}

/// Whether a name is of a pattern with `*` and `?` (fnmatch), in time that grows with both lengths alone.
fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut at, mut read) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while read < name.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, read));
                at += 1;
            }
            Some(letter) if *letter == '?' || *letter == name[read] => (at, read) = (at + 1, read + 1),
            _ => {
                let Some((back, from)) = star else { return false };
                star = Some((back, from + 1));
                (at, read) = (back + 1, from + 1);
            }
        }
    }
    pattern[at..].iter().all(|letter| *letter == '*')
}

/// `[tool.uv]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct UvTool {
    #[serde(default)]
    pub(crate) index: Vec<Source>,
    #[serde(default)]
    pub(crate) sources: BTreeMap<String, toml::Value>,
    #[serde(default)]
    pub(crate) dev_dependencies: Vec<Spanned<String>>,
    pub(crate) package: Option<bool>,
}

/// `[tool.pdm]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct PdmTool {
    #[serde(default)]
    pub(crate) source: Vec<Source>,
    #[serde(default)]
    pub(crate) dev_dependencies: BTreeMap<String, Vec<Spanned<String>>>,
    pub(crate) distribution: Option<bool>,
    /// `library` or `application`, in place of `distribution`.
    pub(crate) package_type: Option<String>,
    pub(crate) build: Option<toml::Value>,
    pub(crate) version: Option<toml::Value>,
}

/// A requirement of a project, as it stands in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Declared {
    pub(crate) text: String,
    pub(crate) line: usize,
}

impl PyProject {
    /// The app's own; none when there is none.
    pub(crate) fn read(context: &Context) -> Result<Option<Self>, Failure> {
        Self::read_in(context, "")
    }

    /// That of a folder of the app.
    pub(crate) fn read_in(context: &Context, dir: &str) -> Result<Option<Self>, Failure> {
        let name = if matches!(dir, "" | ".") { PYPROJECT.to_owned() } else { format!("{dir}/{PYPROJECT}") };
        let Some(manifest) = Manifest::read(context, &name)? else { return Ok(None) };
        let document = manifest.toml()?;
        Ok(Some(Self { manifest, document }))
    }

    fn declared(&self, items: &[Spanned<String>]) -> Vec<Declared> {
        let declare = |item: &Spanned<String>| Declared {
            text: item.get_ref().clone(),
            line: self.manifest.line_at(item.span().start),
        };
        items.iter().map(declare).collect()
    }

    /// `project.dependencies`.
    pub(crate) fn dependencies(&self) -> Vec<Declared> {
        let project = self.document.project.as_ref();
        self.declared(project.and_then(|project| project.dependencies.as_deref()).unwrap_or_default())
    }

    /// `project.optional-dependencies`, by normalised name.
    pub(crate) fn extras(&self) -> BTreeMap<String, Vec<Declared>> {
        let project = self.document.project.iter();
        let extras = project.flat_map(|project| &project.optional_dependencies);
        extras.map(|(name, items)| (normalize(name), self.declared(items))).collect()
    }

    /// The groups: `[dependency-groups]` with what they include, and the development dependencies of uv and PDM.
    pub(crate) fn groups(&self) -> BTreeMap<String, Vec<Declared>> {
        let mut groups: BTreeMap<String, Vec<Declared>> = BTreeMap::new();
        for name in self.document.dependency_groups.keys() {
            let mut items = Vec::new();
            self.group_items(name, &mut items, 0);
            groups.entry(normalize(name)).or_default().extend(items);
        }
        if let Some(uv) = self.document.tool.uv.as_ref().filter(|uv| !uv.dev_dependencies.is_empty()) {
            groups.entry("dev".to_owned()).or_default().extend(self.declared(&uv.dev_dependencies));
        }
        for (name, items) in self.document.tool.pdm.iter().flat_map(|pdm| &pdm.dev_dependencies) {
            groups.entry(normalize(name)).or_default().extend(self.declared(items));
        }
        groups
    }

    fn group_items(&self, name: &str, found: &mut Vec<Declared>, depth: usize) {
        let wanted = normalize(name);
        let group = self.document.dependency_groups.iter().find(|(name, _)| normalize(name) == wanted);
        for item in group.iter().flat_map(|(_, items)| items.iter()) {
            match item.get_ref() {
                GroupItem::Requirement(text) => {
                    found.push(Declared { text: text.clone(), line: self.manifest.line_at(item.span().start) });
                }
                GroupItem::Include { include } if depth < MAX_INCLUDES && found.len() < 10_000 => {
                    self.group_items(include, found, depth + 1);
                }
                GroupItem::Include { .. } => {}
            }
        }
    }

    /// The name of the project, normalised.
    pub(crate) fn name(&self) -> Option<String> {
        let poetry = || self.document.tool.poetry.as_ref().and_then(|poetry| poetry.name.clone());
        self.document.project.as_ref().and_then(|project| project.name.clone()).or_else(poetry).map(|n| normalize(&n))
    }

    /// Whether the dependencies are only known once its build code ran.
    pub(crate) fn is_dynamic(&self, key: &str) -> bool {
        self.document.project.as_ref().is_some_and(|project| project.dynamic.iter().any(|dynamic| dynamic == key))
    }

    /// Whether the project can be installed from where it lies: what its build writes is then a path to its sources, which the file alone
    /// decides. Everything else is installed as a copy.
    pub(crate) fn installs_in_place(&self, dir: &Path) -> bool {
        let Some(system) = &self.document.build_system else { return false };
        let tool = &self.document.tool;
        if self.document.project.as_ref().is_some_and(|project| !project.dynamic.is_empty()) {
            return false;
        }
        let plain = |table: &Option<toml::Table>, keys: &[&str]| {
            table.as_ref().is_none_or(|table| !keys.iter().any(|key| table.contains_key(*key)))
        };
        match system.build_backend.as_deref().unwrap_or("setuptools.build_meta") {
            "poetry.core.masonry.api" => tool.poetry.as_ref().is_none_or(|poetry| poetry.build.is_none()),
            "uv_build" | "flit_core.buildapi" => true,
            "hatchling.build" => plain(&tool.hatch, &["build", "version"]),
            "pdm.backend" => tool.pdm.as_ref().is_none_or(|pdm| pdm.build.is_none() && pdm.version.is_none()),
            "setuptools.build_meta" => {
                let only_itself =
                    system.requires.iter().all(|name| name.starts_with("setuptools") || name.starts_with("wheel"));
                only_itself
                    && tool.setuptools.is_none()
                    && dir.join("src").is_dir()
                    && !dir.join("setup.py").exists()
                    && !dir.join("setup.cfg").exists()
            }
            _ => false,
        }
    }
}

/// What a build selects beside what is always installed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Selection {
    pub(crate) extras: BTreeSet<String>,
    pub(crate) groups: BTreeSet<String>,
}

/// Extras of the project to be installed.
pub(crate) const EXTRAS_VARIABLE: &str = "BP_PYTHON_EXTRAS";
/// Groups to be installed beside the main one.
pub(crate) const GROUPS_VARIABLE: &str = "BP_PYTHON_GROUPS";

impl Selection {
    /// As the variables say.
    pub(crate) fn of(context: &Context) -> Self {
        let list = |name| {
            let words = context.variable(name).unwrap_or_default().split([',', ' ']).map(str::trim);
            words.filter(|word| !word.is_empty()).map(normalize).collect()
        };
        Self { extras: list(EXTRAS_VARIABLE), groups: list(GROUPS_VARIABLE) }
    }

    /// For people: `extras web; groups docs`.
    pub(crate) fn note(&self) -> Option<String> {
        let list = |what: &str, names: &BTreeSet<String>| {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            (!names.is_empty()).then(|| format!("{what} {}", names.join(", ")))
        };
        let parts: Vec<String> =
            [list("extras", &self.extras), list("groups", &self.groups)].into_iter().flatten().collect();
        (!parts.is_empty()).then(|| parts.join("; "))
    }

    /// Refuses what the project does not have.
    pub(crate) fn check(
        &self,
        file: &str,
        extras: &BTreeSet<String>,
        groups: &BTreeSet<String>,
    ) -> Result<(), Failure> {
        let pairs =
            [(EXTRAS_VARIABLE, "extra", &self.extras, extras), (GROUPS_VARIABLE, "group", &self.groups, groups)];
        for (variable, what, wanted, known) in pairs {
            if let Some(missing) = wanted.iter().find(|name| !known.contains(*name)) {
                let known: Vec<&str> = known.iter().map(String::as_str).collect();
                let fix = match known.as_slice() {
                    [] => format!("leave out {variable}"),
                    some => format!("set {variable} to some of: {}", some.join(", ")),
                };
                return Err(Failure::new(
                    "choosing what to install",
                    format!("{variable} asks for `{missing}`"),
                    format!("{file} knows no {what} of this name"),
                    fix,
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_of_pdm_is_for_the_names_of_its_patterns() {
        let source = |patterns: &[&str]| Source {
            include_packages: patterns.iter().map(|pattern| (*pattern).to_owned()).collect(),
            ..Source::default()
        };
        assert!(source(&["torch*", "Own_Pkg"]).includes("torchvision") && source(&["Own_Pkg"]).includes("own-pkg"));
        assert!(
            !source(&["torch*"]).includes("pytorch") && !source(&["t?"]).includes("t") && !source(&[]).is_explicit()
        );
        assert!(
            source(&["*"]).includes("x") && source(&["a*b*c"]).includes("a1b2b3c") && !source(&["a*b"]).includes("abc")
        );
        assert!(!source(&["a*a*a*a*a*a*a*a*a*b"]).includes(&"a".repeat(200)), "without trying all ways");
    }
}
