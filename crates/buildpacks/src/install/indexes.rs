//! The indexes of a project as uv is told them, and requirements that are taken from one of them alone (`index` of uv and Pipenv, `source` of Poetry,
//! `include_packages` of PDM). A requirements file has no words for that, so uv is given a project that does nothing but ask for them, with uv's own
//! words for it.

use std::ffi::OsString;
use std::path::PathBuf;

use fs_err as fs;
use toml::{Table, Value};

use super::distributions::Distribution;
use super::installation::Installation;
use super::settings::{PIPS_STRATEGY, STRATEGY, Settings};
use super::wanted::{Bound, Index};
use crate::failure::Failure;
use crate::pyproject::PYPROJECT;

impl Installation<'_> {
    /// The indexes of the project. Of what is locked by hash any index may have the file, so that the first one does not hide the rest; and a
    /// requirements file that names another index means pip's choice among them.
    pub(super) fn indexes(&self) -> Vec<OsString> {
        let mut arguments = Vec::new();
        let indexes = self.wanted.listed().into_iter().flat_map(|listed| &listed.indexes);
        // What is locked may lie anywhere.
        for index in indexes.filter(|index| !index.explicit || self.wanted.is_locked()) {
            arguments.extend(["--index".into(), named(index, self.settings).into()]);
        }
        let from_any = self.wanted.is_hashed() || self.wanted.tree().options.extra_indexes > 0;
        if from_any && !self.settings.uv.contains_key(STRATEGY) {
            arguments.extend(["--index-strategy".into(), PIPS_STRATEGY.into()]);
        }
        arguments
    }

    /// Writes the requirements that are taken from one index alone, where there are any: as they are asked for, or as they are installed.
    pub(super) fn bound(&self, installed: Option<&[Distribution]>) -> Result<Option<PathBuf>, Failure> {
        let Some(listed) = self.wanted.listed().filter(|listed| !listed.bound.is_empty()) else { return Ok(None) };
        let mut bound = listed.bound.clone();
        for one in &mut bound {
            let found = installed.and_then(|all| all.iter().find(|distribution| distribution.name == one.name));
            if let Some(found) = found {
                one.requirement = format!("{}=={}", found.name, found.version);
            }
        }
        let dir = self.temporary.join("bound");
        let path = dir.join(PYPROJECT);
        let text = project(&bound, &listed.indexes, self.settings);
        let written = fs::create_dir_all(&dir).and_then(|()| fs::write(&path, text));
        written.map_err(|error| Failure::io("writing the requirements", &error))?;
        Ok(Some(path))
    }

    /// Whether a distribution is taken from one index alone.
    pub(super) fn is_bound(&self, distribution: &Distribution) -> bool {
        self.wanted.listed().is_some_and(|listed| listed.bound.iter().any(|one| one.name == distribution.name))
    }
}

/// An index as uv is told it; its name says which variables have credentials for it.
fn named(index: &Index, settings: &Settings) -> String {
    let address = settings.with_login(&index.url);
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if index.name.is_empty() || !index.name.chars().all(good) { address } else { format!("{}={address}", index.name) }
}

/// The text of a `pyproject.toml` that asks for these.
fn project(bound: &[Bound], indexes: &[Index], settings: &Settings) -> String {
    let named: Vec<(&Index, String)> =
        indexes.iter().enumerate().map(|(number, index)| (index, name_of(number, indexes))).collect();
    let of = |one: &Bound| named.iter().find(|(index, _)| index.url == one.url).map(|(_, name)| name.clone());
    let sources = bound.iter().filter_map(|one| Some((one.name.clone(), table([("index", of(one)?.into())]))));
    let sources: Table = sources.collect();
    let used = named.iter().filter(|(index, _)| bound.iter().any(|one| one.url == index.url));
    let indexes = used.map(|(index, name)| {
        let url = settings.with_login(&index.url);
        table([("name", name.as_str().into()), ("url", url.into()), ("explicit", true.into())])
    });
    let indexes: Vec<Value> = indexes.collect();
    let dependencies: Vec<Value> = bound.iter().map(|one| one.requirement.as_str().into()).collect();
    let uv = table([("index", indexes.into()), ("sources", sources.into())]);
    let project = [("name", "hoist-bound".into()), ("version", "0".into()), ("dependencies", dependencies.into())];
    Table::from_iter([("project".to_owned(), table(project)), ("tool".to_owned(), table([("uv", uv)]))]).to_string()
}

fn table<const N: usize>(entries: [(&str, Value); N]) -> Value {
    Value::Table(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

/// The name by which variables give credentials for an index, where it has one of its own that uv takes.
fn name_of(number: usize, indexes: &[Index]) -> String {
    let name = &indexes[number].name;
    let is_own = indexes.iter().filter(|index| index.name == *name).count() == 1;
    let is_good = name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
    if is_own && is_good { name.clone() } else { format!("hoist-bound-{number}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_requirement_names_its_index_and_no_other_index_is_told() {
        let index = |name: &str, url: &str| Index { name: name.into(), url: url.into(), explicit: true };
        let bound =
            |name: &str, url: &str| Bound { name: name.into(), requirement: format!("{name}>=1"), url: url.into() };
        let indexes =
            [index("own", "https://own/simple"), index("own", "https://two/simple"), index("un used", "https://x/")];
        let text = project(
            &[bound("a", "https://own/simple"), bound("b", "https://two/simple")],
            &indexes,
            &Settings::default(),
        );
        insta::assert_snapshot!(text, @r#"
        [project]
        dependencies = ["a>=1", "b>=1"]
        name = "hoist-bound"
        version = "0"

        [[tool.uv.index]]
        explicit = true
        name = "hoist-bound-0"
        url = "https://own/simple"

        [[tool.uv.index]]
        explicit = true
        name = "hoist-bound-1"
        url = "https://two/simple"

        [tool.uv.sources.a]
        index = "hoist-bound-0"

        [tool.uv.sources.b]
        index = "hoist-bound-1"
        "#);
    }
}
