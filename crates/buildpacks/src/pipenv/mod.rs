//! `hoist/pipenv`: installs what `Pipfile.lock` chose, or what a `Pipfile` without a lock asks for, without Pipenv.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::Value as Json;
use toml::Value;

use crate::buildpack::{Buildpack, Detection};
use crate::context::{BuildContext, Context, DetectContext};
use crate::dependencies::{self, Drift, Kind, Reading};
use crate::failure::Failure;
use crate::install::{Listed, LockedFile, LockedList, LockedPackage, Origin, Wanted};
use crate::manifest::Manifest;
use crate::pep440::{Specifiers, Version};
use crate::pep508::{self, MarkerEnvironment};
use crate::pip::requirements::{lexical, normalize};
use crate::pyproject::Selection;

const PIPFILE: &str = "Pipfile";
const PIPFILE_LOCK: &str = "Pipfile.lock";
/// Keys of a Pipfile that are no category of packages.
const NO_CATEGORIES: [&str; 4] = ["source", "requires", "scripts", "pipenv"];

/// The buildpack.
pub(crate) struct PipenvBuildpack;

impl Buildpack for PipenvBuildpack {
    fn id(&self) -> &'static str {
        "hoist/pipenv"
    }

    fn name(&self) -> &'static str {
        "Hoist Pipenv"
    }

    fn description(&self) -> &'static str {
        "Installs what Pipfile.lock chose, or resolves a Pipfile, without Pipenv"
    }

    fn detect(&self, context: &DetectContext<'_>) -> Result<Detection, Failure> {
        Ok(dependencies::detect(context, Kind::Pipenv))
    }

    fn build(&self, context: &mut BuildContext<'_>) -> Result<(), Failure> {
        dependencies::build(context)
    }
}

/// `Pipfile.lock`.
#[derive(Debug, Deserialize)]
struct PipfileLock {
    #[serde(rename = "_meta", default)]
    meta: Meta,
    #[serde(flatten)]
    categories: BTreeMap<String, BTreeMap<String, Entry>>,
}

#[derive(Debug, Default, Deserialize)]
struct Meta {
    #[serde(default)]
    hash: BTreeMap<String, String>,
    #[serde(default)]
    sources: Vec<Source>,
}

#[derive(Debug, Deserialize)]
struct Source {
    #[serde(default)]
    name: String,
    #[serde(default)]
    url: String,
}

/// A package of the lock.
#[derive(Debug, Deserialize)]
struct Entry {
    version: Option<String>,
    #[serde(default)]
    hashes: Vec<String>,
    markers: Option<String>,
    git: Option<String>,
    #[serde(rename = "ref")]
    reference: Option<String>,
    subdirectory: Option<String>,
    path: Option<String>,
    file: Option<String>,
    hg: Option<String>,
    svn: Option<String>,
    bzr: Option<String>,
}

impl Entry {
    /// The system that keeps its sources, where that is not git.
    fn other_vcs(&self) -> Option<&'static str> {
        VCS.into_iter().zip([&self.hg, &self.svn, &self.bzr]).find_map(|(name, url)| url.as_ref().map(|_| name))
    }
}

/// What Pipenv takes sources from, besides git.
const VCS: [&str; 3] = ["hg", "svn", "bzr"];

/// Without this, a package of the same name would be taken from the index.
fn refuse_vcs(manifest: &Manifest, line: usize, name: &str, vcs: &str) -> Failure {
    manifest.refuse(
        line,
        &format!("{name}: its sources are fetched with {vcs}"),
        "a build fetches sources with git alone",
        "take it from an index, from a git repository, or as an archive: name = { file = \"https://…/x.tar.gz\" }",
    )
}

/// The categories that are installed: the default one and the chosen ones, as the lock names them.
fn categories(selection: &Selection) -> BTreeSet<String> {
    let of = |name: &String| if name == "dev-packages" || name == "dev" { "develop".to_owned() } else { name.clone() };
    std::iter::once("default".to_owned()).chain(selection.groups.iter().map(of)).collect()
}

/// Reads the lock, or the Pipfile where there is none, for a build with this Python.
pub(crate) fn read(context: &Context, python: &str) -> Result<Reading, Failure> {
    let pipfile = Manifest::read(context, PIPFILE)?;
    let lock = Manifest::read(context, PIPFILE_LOCK)?;
    let selection = Selection::of(context);
    let mut reading = Reading { notes: selection.note().into_iter().collect(), ..Reading::default() };
    let listed = match (&lock, &pipfile) {
        (Some(lock), pipfile) => {
            Wanted::Locked(locked(context, lock, pipfile.as_ref(), &selection, python, &mut reading)?)
        }
        (None, Some(pipfile)) => Wanted::Project(resolved(context, pipfile, &selection, python, &mut reading)?),
        (None, None) => return Err(dependencies::gone(PIPFILE)),
    };
    reading.wanted = Some(listed);
    Ok(reading)
}

fn locked(
    context: &Context,
    manifest: &Manifest,
    pipfile: Option<&Manifest>,
    selection: &Selection,
    python: &str,
    reading: &mut Reading,
) -> Result<Listed, Failure> {
    let lock: PipfileLock = manifest.json()?;
    let wanted = categories(selection);
    let known: BTreeSet<String> = lock.categories.keys().cloned().collect();
    if let Some(missing) = wanted.iter().find(|name| !known.contains(*name) && *name != "default") {
        let only = Selection { groups: BTreeSet::from([missing.clone()]), ..Selection::default() };
        only.check(PIPFILE_LOCK, &BTreeSet::new(), &known)?;
    }
    if let Some(pipfile) = pipfile {
        reading.warnings.extend(check(manifest, &lock, pipfile, &wanted)?);
    }
    let environment = MarkerEnvironment::linux(python);
    let mut list = LockedList::new(context, manifest, python);
    let mut seen = BTreeSet::new();
    for (category, entries) in lock.categories.iter().filter(|(name, _)| wanted.contains(*name)) {
        let mut at = manifest.text.find(&format!("\"{category}\": {{")).unwrap_or(0);
        for (name, entry) in entries {
            if !pep508::holds(entry.markers.as_deref(), &environment) || !seen.insert(normalize(name)) {
                continue;
            }
            // Locks are sorted: the next one stands behind this one.
            at = manifest.text[at..].find(&format!("\"{name}\": {{")).map_or(at, |found| at + found);
            let line = manifest.line_at(at);
            if let Some(vcs) = entry.other_vcs() {
                return Err(refuse_vcs(manifest, line, name, vcs));
            }
            list.push(&package(name, entry, line))?;
        }
    }
    for (number, source) in lock.meta.sources.iter().enumerate() {
        push_source(context, &mut list.listed, &source.name, &source.url, number == 0);
    }
    Ok(list.listed)
}

fn package(name: &str, entry: &Entry, line: usize) -> LockedPackage {
    let place = entry.path.clone().or_else(|| entry.file.clone());
    let origin = if let Some(git) = &entry.git {
        let commit = entry.reference.clone().unwrap_or_default();
        Origin::Git { url: git.clone(), commit, subdirectory: entry.subdirectory.clone() }
    } else {
        match place {
            Some(url) if url.contains("://") && !url.starts_with("file:") => Origin::Url(url),
            Some(path) => Origin::Path { path },
            None => Origin::Index,
        }
    };
    LockedPackage {
        name: name.to_owned(),
        version: entry.version.as_ref().map(|version| version.trim_start_matches('=').to_owned()),
        line,
        files: entry.hashes.iter().map(|hash| LockedFile { name: None, hash: hash.clone() }).collect(),
        origin,
    }
}

/// Variables in the address of a source (`https://$USER:${PASSWORD}@host/`) are the build's. The first source is the index of the project, which
/// an index that the build was told of takes the place of.
fn push_source(context: &Context, listed: &mut Listed, name: &str, url: &str, first: bool) {
    let url = expanded(url, &|variable| context.variable(variable).map(str::to_owned));
    if url.is_empty() || url.contains(char::is_whitespace) || (first && crate::install::has_index(context)) {
        return;
    }
    // Pipenv asks the others for packages that name them alone.
    listed.push_index_for(name, &url, !first);
}

fn expanded(text: &str, variable: &dyn Fn(&str) -> Option<String>) -> String {
    let mut result = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        result.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let (name, after) = match rest.strip_prefix('{').and_then(|inside| inside.split_once('}')) {
            Some(found) => found,
            None => rest.split_at(rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len())),
        };
        result.push_str(&variable(name).unwrap_or_default());
        rest = after;
    }
    result.push_str(rest);
    result
}

/// The packages of a category of a Pipfile. (`packages` and `dev-packages` are `default` and `develop` in the lock.)
fn of_category<'a>(document: &'a toml::Table, category: &str) -> Option<&'a toml::Table> {
    let key = match category {
        "default" => "packages",
        "develop" => "dev-packages",
        other => other,
    };
    document.get(key)?.as_table()
}

/// Refuses a lock that does not have what the Pipfile asks for; another hash alone is a warning.
fn check(
    manifest: &Manifest,
    lock: &PipfileLock,
    pipfile: &Manifest,
    wanted: &BTreeSet<String>,
) -> Result<Vec<String>, Failure> {
    let document: toml::Table = pipfile.toml()?;
    if lock.meta.hash.get("sha256") == Some(&content_hash(&document)) {
        return Ok(Vec::new());
    }
    let mut drift = Drift::default();
    for category in wanted {
        let entries = lock.categories.get(category);
        for (name, value) in of_category(&document, category).into_iter().flatten() {
            let normalized = normalize(name);
            let locked = entries.and_then(|entries| entries.iter().find(|(other, _)| normalize(other) == normalized));
            let Some((_, entry)) = locked else {
                drift.added(name);
                continue;
            };
            let asked = value.as_str().or_else(|| value.get("version").and_then(Value::as_str)).unwrap_or("*");
            let version = entry.version.as_deref().unwrap_or("*").trim_start_matches('=');
            let allowed = Version::parse(version).is_none_or(|version| {
                Specifiers::parse(specifier(asked).trim()).is_none_or(|specifiers| specifiers.allow(&version))
            });
            if !allowed {
                drift.changed(name, version, asked);
            }
        }
    }
    if !drift.is_empty() {
        return Err(drift.refuse(manifest, "pipenv lock"));
    }
    Ok(vec![format!(
        "{PIPFILE_LOCK} was made from another state of {PIPFILE}: all that is asked for is locked, but `pipenv lock` is due"
    )])
}

/// A version of a Pipfile as PEP 440 says it.
fn specifier(text: &str) -> String {
    match text.trim() {
        "*" | "" => String::new(),
        version if version.starts_with(|c: char| c.is_ascii_digit()) => format!("=={version}"),
        other => other.to_owned(),
    }
}

/// The hash of a Pipfile that is in its lock: JSON with sorted keys and no blanks.
fn content_hash(document: &toml::Table) -> String {
    let json = |value: Option<&Value>| serde_json::to_value(value).unwrap_or(Json::Null);
    let or_empty =
        |value: Option<&Value>| value.map_or_else(|| Json::Object(serde_json::Map::new()), |v| json(Some(v)));
    let mut parts: BTreeMap<String, Json> = BTreeMap::new();
    let meta: BTreeMap<&str, Json> =
        BTreeMap::from([("requires", or_empty(document.get("requires"))), ("sources", json(document.get("source")))]);
    parts.insert("_meta".to_owned(), serde_json::to_value(meta).unwrap_or(Json::Null));
    parts.insert("default".to_owned(), or_empty(document.get("packages")));
    parts.insert("develop".to_owned(), or_empty(document.get("dev-packages")));
    for (key, value) in document {
        if !NO_CATEGORIES.contains(&key.as_str()) && !matches!(key.as_str(), "packages" | "dev-packages") {
            parts.insert(key.clone(), json(Some(value)));
        }
    }
    let text = sorted(&serde_json::to_value(parts).unwrap_or(Json::Null));
    hoist_debian::hex(&hoist_debian::Sha256::digest(text))
}

fn sorted(value: &Json) -> String {
    match value {
        Json::Object(map) => {
            let map: BTreeMap<&String, &Json> = map.iter().collect();
            let parts: Vec<String> =
                map.iter().map(|(key, value)| format!("{}:{}", Json::from(key.as_str()), sorted(value))).collect();
            format!("{{{}}}", parts.join(","))
        }
        Json::Array(items) => format!("[{}]", items.iter().map(sorted).collect::<Vec<_>>().join(",")),
        other => other.to_string(),
    }
}

/// A Pipfile without a lock.
fn resolved(
    context: &Context,
    manifest: &Manifest,
    selection: &Selection,
    python: &str,
    reading: &mut Reading,
) -> Result<Listed, Failure> {
    reading.warnings.push(format!(
        "there is no {PIPFILE_LOCK}: today's versions are taken, and another build may take others; `pipenv lock` fixes them"
    ));
    let document: toml::Table = manifest.toml()?;
    let environment = MarkerEnvironment::linux(python);
    let mut listed = Listed::of(PIPFILE, &manifest.text);
    for (number, source) in document.get("source").and_then(Value::as_array).into_iter().flatten().enumerate() {
        let text = |key: &str| source.get(key).and_then(Value::as_str).unwrap_or_default();
        push_source(context, &mut listed, text("name"), text("url"), number == 0);
    }
    for category in categories(selection) {
        for (name, value) in of_category(&document, &category).into_iter().flatten() {
            let line = manifest.line_with(name);
            let text = |key: &str| value.get(key).and_then(Value::as_str);
            if !holds(value, &environment) {
                continue;
            }
            if let Some(vcs) = VCS.into_iter().find(|vcs| value.get(*vcs).is_some()) {
                return Err(refuse_vcs(manifest, line, name, vcs));
            }
            let written = requirement(name, value).filter(|written| !written.contains(['\n', '\r']));
            let Some(written) = written else {
                return Err(manifest.refuse(
                    line,
                    &crate::install::mask_credentials(&format!("{name} = {value}")),
                    "this is no package as Pipenv reads them",
                    "write it as: name = \"*\"",
                ));
            };
            if let Some(path) = text("path").and_then(|path| lexical(std::path::Path::new(path))) {
                listed.tree.local_paths.push(path);
            }
            let shown = format!("{name} = {value}");
            let is_of_index = !["git", "path", "file"].iter().any(|key| value.get(*key).is_some());
            let index = text("index").filter(|_| is_of_index);
            if !index.is_some_and(|index| listed.push_bound(name, &shown, line, &written, index)) {
                listed.push(Some(name), &shown, line, &written);
            }
        }
    }
    Ok(listed)
}

/// Whether the conditions of a package hold: `markers`, and the keys by the names of variables (`sys_platform = "== 'linux'"`).
fn holds(value: &Value, environment: &MarkerEnvironment) -> bool {
    const KEYS: [&str; 6] =
        ["os_name", "sys_platform", "platform_machine", "platform_system", "python_version", "python_full_version"];
    let marker = value.get("markers").and_then(Value::as_str);
    let by_key = KEYS.iter().filter_map(|key| Some(format!("{key} {}", value.get(*key)?.as_str()?)));
    pep508::holds(marker, environment) && by_key.into_iter().all(|text| pep508::holds(Some(&text), environment))
}

fn requirement(name: &str, value: &Value) -> Option<String> {
    if let Some(version) = value.as_str() {
        return Some(format!("{name}{}", specifier(version)));
    }
    let table = value.as_table()?;
    let text = |key: &str| table.get(key).and_then(Value::as_str);
    let extras: Vec<&str> =
        table.get("extras").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    let extras = if extras.is_empty() { String::new() } else { format!("[{}]", extras.join(",")) };
    if let Some(git) = text("git") {
        let reference = text("ref").map(|reference| format!("@{reference}")).unwrap_or_default();
        return Some(format!("{name}{extras} @ git+{}{reference}", git.trim_start_matches("git+")));
    }
    if let Some(path) = text("path").or_else(|| text("file")) {
        if path.contains("://") {
            return Some(format!("{name}{extras} @ {path}"));
        }
        let inside = lexical(std::path::Path::new(path))?;
        return Some(format!("./{}{extras}", inside.display()));
    }
    Some(format!("{name}{extras}{}", specifier(text("version").unwrap_or("*"))))
}

#[cfg(test)]
mod tests;
