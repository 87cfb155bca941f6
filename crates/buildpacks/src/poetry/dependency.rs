//! A dependency as `[tool.poetry.dependencies]` and `poetry.lock` write it: text, a table, or several tables of which the conditions choose.
//! Pure.

use toml::Value;

use super::constraint::Constraint;
use crate::pep508::{self, MarkerEnvironment};
use crate::pip::requirements::normalize;

/// One of the ways in which a dependency may be meant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Dependency {
    /// Normalised.
    pub(super) name: String,
    /// As written, `*` when only a place is given.
    pub(super) version: String,
    pub(super) extras: Vec<String>,
    pub(super) markers: Option<String>,
    pub(super) python: Option<String>,
    pub(super) optional: bool,
    pub(super) place: Option<Place>,
    /// The name of the only index that it is taken from.
    pub(super) source: Option<String>,
}

/// Where a dependency is taken from, when not from an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    Git { url: String, reference: Option<String>, subdirectory: Option<String> },
    Path(String),
    Url(String),
}

impl Dependency {
    /// All ways of a dependency; nothing for a value of another shape.
    pub(super) fn all(name: &str, value: &Value) -> Option<Vec<Self>> {
        match value {
            Value::Array(items) => items.iter().map(|item| Self::one(name, item)).collect(),
            value => Self::one(name, value).map(|one| vec![one]),
        }
    }

    fn one(name: &str, value: &Value) -> Option<Self> {
        let name = normalize(name);
        let table = match value {
            Value::String(version) => return Some(Self { name, version: version.clone(), ..Self::default() }),
            Value::Table(table) => table,
            _ => return None,
        };
        let text = |key: &str| table.get(key).and_then(Value::as_str).map(str::to_owned);
        let reference = text("rev").or_else(|| text("tag")).or_else(|| text("branch"));
        let git = text("git").map(|url| Place::Git { url, reference, subdirectory: text("subdirectory") });
        let path = text("path").or_else(|| text("file")).map(Place::Path);
        let extras = table.get("extras").and_then(Value::as_array).into_iter().flatten();
        Some(Self {
            name,
            version: text("version").unwrap_or_else(|| "*".to_owned()),
            extras: extras.filter_map(Value::as_str).map(normalize).collect(),
            markers: text("markers"),
            python: text("python"),
            optional: table.get("optional").and_then(Value::as_bool).unwrap_or(false),
            place: git.or(path).or_else(|| text("url").map(Place::Url)),
            source: text("source"),
        })
    }

    /// Whether its conditions hold.
    pub(super) fn applies(&self, environment: &MarkerEnvironment, python: &str) -> bool {
        let for_python = |text: &str| Constraint::parse(text).is_none_or(|constraint| constraint.allows(python));
        self.python.as_deref().is_none_or(for_python) && pep508::holds(self.markers.as_deref(), environment)
    }

    /// Whether a locked version is what it asks for.
    pub(super) fn allows(&self, version: &str) -> bool {
        self.place.is_some() || Constraint::parse(&self.version).is_none_or(|constraint| constraint.allows(version))
    }
}
