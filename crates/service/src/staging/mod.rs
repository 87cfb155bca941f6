//! Staging: the source becomes an app in a directory of its own.
//!
//! The user's folder is only read. A small service takes one or two milliseconds: one walk, and each file read once, hashed and written in the
//! same pass ([`Staged::fingerprint`]), by as many threads as the machine has processors.

mod app;
mod archive;
mod content;
mod error;
mod folder;
mod ignore;
mod selection;
mod tree;

use std::path::{Path, PathBuf};

use fs_err as fs;
use hoist_events::{Event, Reporter};

use crate::contract::{self, ContractChoice, Signature};
use crate::dependencies::{self, Dependencies, Manager};
use crate::{Contract, DefaultInput, Layout, Limits, PlanqkJson};
pub use app::Owner;
pub(crate) use app::{StagedApp, Target};
use archive::Archive;
pub use error::StageError;
use ignore::{Dialect, Ignore, Reading};
pub use selection::{IgnoreFile, SelectedFiles, Selection};
use tree::Tree;

/// `planqk.json`, `program.py` and ignore files are text that people wrote.
const TEXT_BYTES: u64 = 4 << 20;
/// A default input larger than this stays in the app and is not read.
const INPUT_BYTES: u64 = 256 << 20;

/// What is to be staged.
#[derive(Debug, Clone)]
pub struct StageRequest<'a> {
    /// A folder or a zip archive. Only read.
    pub source: &'a Path,
    /// An existing, empty directory that becomes the app.
    pub app_dir: &'a Path,
    /// The contract, where the user forces it.
    pub contract: Option<Contract>,
    /// What declares the dependencies, where the user says so (`--dependencies FILE`).
    pub dependencies: Option<Manager>,
    /// Who installs them, where a variable of the build says so (`BP_PYTHON_PACKAGE_MANAGER`).
    pub manager: Option<Manager>,
    /// Whether dependency files are lifted and chosen from; false for an app that goes to a foreign builder, which has rules of its own.
    pub lift: bool,
    /// Which files are wanted; by default all that an app is staged with.
    pub selection: Selection,
    /// Whose the app is to be, where that is not who stages.
    pub owner: Option<Owner>,
    /// The bounds.
    pub limits: Limits,
}

/// A source that was staged, and what it is.
#[derive(Debug, Clone)]
pub struct Staged {
    /// The app.
    pub app_dir: PathBuf,
    /// A name for it that image references take: from `planqk.json`, else from the folder or archive.
    pub name: String,
    /// What it looks like.
    pub layout: Layout,
    /// The contract; none for an app that is no service.
    pub contract: Option<ContractChoice>,
    /// The parameters of `run`, where its text could be read.
    pub signature: Option<Signature>,
    /// Whether the program has a name `run` that it takes from elsewhere (`from .solver import run`): then there is one, of unknown parameters.
    pub imports_run: bool,
    /// `planqk.json`.
    pub manifest: Option<PlanqkJson>,
    /// What declares the dependencies.
    pub dependencies: Option<Dependencies>,
    /// `input/data.json` and `input/params.json` of a service, for G2 also `input/<parameter>.json`. They are not part of the app: an input
    /// changes without a build, and often holds tokens that have no place in an image.
    pub default_input: DefaultInput,
    /// Variables for the buildpacks (`/platform/env`): `HOIST_CONTRACT`; `HOIST_PARAMETERS`, the signature of `run` as JSON (G2);
    /// `HOIST_APP_DATE`, the day on which the newest file was written;
    /// `HOIST_PYTHON_VERSION` and `HOIST_PYTHON_REASON` where an
    /// `environment.yml` asks for a Python; `HOIST_LAUNCH_ENV` (a JSON object) where it sets variables. What the user sets wins.
    pub build_env: Vec<(String, String)>,
    /// Files in the app.
    pub files: usize,
    /// Their bytes.
    pub total_bytes: u64,
    /// A digest of the app's paths, kinds, modes and contents.
    pub fingerprint: String,
}

/// Copies the source into [`StageRequest::app_dir`]; choices and oddities go to `reporter`.
pub fn stage(request: &StageRequest<'_>, reporter: &dyn Reporter) -> Result<Staged, StageError> {
    let source =
        fs::canonicalize(request.source).map_err(|_| StageError::NotFound { path: request.source.to_owned() })?;
    check_app_dir(request.app_dir, &source)?;
    let target = Target::new(request.app_dir, request.owner);
    target.claim_root().map_err(|source| StageError::write(request.app_dir, source))?;
    let mut tree = Tree::new(target, &request.limits);
    if source.is_dir() {
        let mut ignore = folder_ignore(&source, &request.selection, reporter)?;
        let git = request.selection.asks_for(IgnoreFile::Git);
        folder::copy(&source, &mut ignore, git, &mut tree, reporter)?;
    } else {
        let mut archive = Archive::open(&source, &request.limits)?;
        let ignore = archive_ignore(&mut archive, &request.selection, reporter)?;
        archive.unpack(&ignore, &mut tree)?;
    }
    tree.finish()?;
    if !tree.has_files() {
        return Err(StageError::Empty { path: request.source.to_owned() });
    }
    let mut app = StagedApp::new(target);
    let mut staged = describe(request, &source, &mut app, reporter)?;
    tree.refresh(app.changed())?;
    (staged.files, staged.total_bytes) = tree.measure();
    staged.fingerprint = tree.fingerprint();
    if let Some(day) = day_of(tree.newest) {
        staged.build_env.push(("HOIST_APP_DATE".to_owned(), day));
    }
    Ok(staged)
}

/// The day of an instant in seconds since 1970, as `2022-06-01`; none where no file told its time.
fn day_of(seconds: i64) -> Option<String> {
    let instant = jiff::Timestamp::from_second(seconds).ok().filter(|_| seconds > 0)?;
    Some(jiff::tz::Offset::UTC.to_datetime(instant).date().to_string())
}

fn check_app_dir(app_dir: &Path, source: &Path) -> Result<(), StageError> {
    let refuse = |why| StageError::AppDir { path: app_dir.to_owned(), why };
    let mut entries = fs::read_dir(app_dir).map_err(|source| StageError::read(app_dir, source))?;
    if entries.next().is_some() {
        return Err(refuse("it is not empty"));
    }
    let real = fs::canonicalize(app_dir).map_err(|source| StageError::read(app_dir, source))?;
    if real.starts_with(source) {
        return Err(refuse("it lies in the source"));
    }
    Ok(())
}

/// Which ignore file holds. Plain apps have none.
fn ignore_file(has: impl Fn(&str) -> bool, is_service: bool) -> Option<(&'static str, Dialect)> {
    match is_service {
        true if has(".planqkignore") => Some((".planqkignore", Dialect::Git)),
        true => Some((".dockerignore", Dialect::Docker)),
        false => None,
    }
}

fn archive_is_service(archive: &Archive) -> bool {
    ["src/program.py", "planqk.json", "app/user_code/src/program.py", "app/user-code/src/program.py"]
        .iter()
        .any(|path| archive.has(path))
}

fn folder_ignore(source: &Path, selection: &Selection, reporter: &dyn Reporter) -> Result<Ignore, StageError> {
    let is_service = Layout::of(source).is_service();
    let own = ignore_file(|path| source.join(path).is_file(), is_service);
    ignore_of(own, is_service, selection, reporter, &mut |path| read_text_inside(source, path))
}

fn archive_ignore(archive: &mut Archive, selection: &Selection, reporter: &dyn Reporter) -> Result<Ignore, StageError> {
    let is_service = archive_is_service(archive);
    let own = ignore_file(|path| archive.has(path), is_service);
    let mut ignore = ignore_of(own, is_service, selection, reporter, &mut |path| archive.text(Path::new(path)))?;
    if selection.asks_for(IgnoreFile::Git) {
        for path in archive.named(IgnoreFile::Git.name()) {
            let text = archive.text(&path)?.unwrap_or_default();
            let dir = path.parent().unwrap_or(Path::new("")).to_string_lossy().into_owned();
            ignore.add_git(&text, &dir);
        }
    }
    Ok(ignore)
}

/// The source's own ignore file and what the caller asks for. `.gitignore` files are added where they are met.
fn ignore_of(
    own: Option<(&'static str, Dialect)>,
    is_service: bool,
    selection: &Selection,
    reporter: &dyn Reporter,
    read: &mut dyn FnMut(&str) -> Result<Option<String>, StageError>,
) -> Result<Ignore, StageError> {
    let mut ignore = Ignore::default();
    if let Some((file, dialect)) = own
        && let Some(text) = read(file)?
    {
        ignore.add(&text, dialect, Reading::Service);
    }
    selection.add_to(&mut ignore);
    for file in &selection.ignore_files {
        let Some(text) = read(file.name())? else {
            let text = format!("{} is to be honoured, and the source has none at its root", file.name());
            reporter.warn(&text, None);
            continue;
        };
        if *file == IgnoreFile::Docker {
            let reading = if is_service { Reading::Service } else { Reading::Exclude };
            ignore.add(&text, Dialect::Docker, reading);
        }
    }
    Ok(ignore)
}

/// A text of a source that is not staged yet; none where it has no such file. `path` has slashes and stays inside.
pub fn read_source_text(source: &Path, path: &str, limits: &Limits) -> Result<Option<String>, StageError> {
    if source.is_dir() {
        return read_text_inside(source, path);
    }
    if !source.exists() {
        return Err(StageError::NotFound { path: source.to_owned() });
    }
    Archive::open(source, limits)?.text(Path::new(path))
}

/// A text of a folder that a stranger filled: no link is followed out of it.
fn read_text_inside(source: &Path, path: &str) -> Result<Option<String>, StageError> {
    let file = source.join(path);
    if let (Ok(root), Ok(real)) = (fs::canonicalize(source), fs::canonicalize(&file))
        && !real.starts_with(root)
    {
        let target = fs::read_link(&file).unwrap_or(real);
        return Err(StageError::LinkOut { path: path.into(), target });
    }
    read_text(&file)
}

/// A text of the source; none where there is no such file.
fn read_text(path: &Path) -> Result<Option<String>, StageError> {
    match std::fs::metadata(path) {
        Ok(about) if about.len() > TEXT_BYTES => {
            Err(StageError::TooLarge { what: path.display().to_string(), limit_bytes: TEXT_BYTES })
        }
        Ok(about) if about.is_file() => {
            let bytes = fs::read(path).map_err(|source| StageError::read(path, source))?;
            Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
        }
        _ => Ok(None),
    }
}

/// Sees what was staged, lifts its dependency files and takes the default input out of it.
fn describe(
    request: &StageRequest<'_>,
    source: &Path,
    app: &mut StagedApp<'_>,
    reporter: &dyn Reporter,
) -> Result<Staged, StageError> {
    let root = app.root();
    let layout = Layout::of(root);
    let user_code = root.join(layout.user_code_dir());
    let choice = |what: &str, chosen: String, reason: String| {
        reporter.report(&Event::Choice { what: what.to_owned(), chosen, reason });
    };

    let manifest_path =
        [user_code.join("planqk.json"), root.join("planqk.json")].into_iter().find(|path| path.is_file());
    let manifest = match manifest_path {
        Some(path) => {
            let shown = path.strip_prefix(root).unwrap_or(&path).display().to_string();
            read_text(&path)?.map(|text| PlanqkJson::parse(&shown, &text)).transpose()?
        }
        None => None,
    };
    let (mut contract, mut signature, mut imports_run) = (None, None, false);
    if layout.is_service() {
        let program = read_text(&user_code.join("src/program.py"))?;
        signature = program.as_deref().and_then(Signature::parse);
        imports_run = signature.is_none() && program.as_deref().is_some_and(contract::imports_run);
        let found = contract::choose(root, &layout, program.as_deref(), request.contract);
        choice(
            "service contract",
            found.contract.to_string(),
            format!("{}; choose otherwise with --contract", found.reason),
        );
        contract = Some(found);
    }
    let dependencies =
        if request.lift { dependencies::lift(app, &layout, request.dependencies, request.manager)? } else { None };
    if let Some(Dependencies { file, reason: Some(reason), .. }) = &dependencies {
        choice("dependency file", file.display().to_string(), reason.clone());
    }
    let second = contract.as_ref().is_some_and(|found| found.contract == Contract::G2);
    let default_input = if layout.is_service() {
        take_input(app, &layout, signature.as_ref().filter(|_| second))?
    } else {
        DefaultInput::default()
    };
    let name = manifest.as_ref().and_then(|manifest| manifest.name.as_deref()).and_then(slug);
    let name = name
        .or_else(|| source.file_stem().and_then(|stem| slug(&stem.to_string_lossy())))
        .unwrap_or_else(|| "app".to_owned());
    Ok(Staged {
        app_dir: root.to_owned(),
        name,
        imports_run,
        build_env: build_env(contract.as_ref(), signature.as_ref(), dependencies.as_ref()),
        layout,
        contract,
        signature,
        manifest,
        dependencies,
        default_input,
        files: 0,
        total_bytes: 0,
        fingerprint: String::new(),
    })
}

fn build_env(
    contract: Option<&ContractChoice>,
    signature: Option<&Signature>,
    dependencies: Option<&Dependencies>,
) -> Vec<(String, String)> {
    let mut env = Vec::new();
    let mut set = |name: &str, value: &str| env.push((name.to_owned(), value.to_owned()));
    if let Some(choice) = contract {
        set("HOIST_CONTRACT", choice.contract.as_str());
        let second = signature.filter(|_| choice.contract == Contract::G2);
        if let Some(text) = second.and_then(|signature| serde_json::to_string(signature).ok()) {
            set("HOIST_PARAMETERS", &text);
        }
    }
    if let Some(python) = dependencies.and_then(|dependencies| dependencies.python.as_ref()) {
        set("HOIST_PYTHON_VERSION", &python.version);
        set("HOIST_PYTHON_REASON", &python.origin);
    }
    if let Some(dependencies) = dependencies.filter(|dependencies| !dependencies.variables.is_empty()) {
        let variables: serde_json::Map<String, serde_json::Value> =
            dependencies.variables.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
        set("HOIST_LAUNCH_ENV", &serde_json::Value::Object(variables).to_string());
    }
    env
}

/// Takes `input/data.json` and `input/params.json` out of the app, of the user code first; for G2 also `input/<parameter>.json` and `.txt` of
/// what `signature` takes.
fn take_input(
    app: &mut StagedApp<'_>,
    layout: &Layout,
    signature: Option<&Signature>,
) -> Result<DefaultInput, StageError> {
    let mut found = DefaultInput::default();
    let mut dirs = vec![layout.user_code_dir().join("input"), PathBuf::from("input")];
    dirs.dedup();
    for dir in &dirs {
        for name in input_names(&app.root().join(dir), signature) {
            let path = dir.join(&name);
            let full = app.root().join(&path);
            let Ok(about) = std::fs::symlink_metadata(&full) else { continue };
            if !about.is_file() || about.len() > INPUT_BYTES {
                continue;
            }
            let bytes = fs::read(&full).map_err(|source| StageError::read(&full, source))?;
            app.remove(&path).map_err(|source| StageError::write(&path, source))?;
            match name.as_str() {
                "data.json" => _ = found.data.get_or_insert(bytes),
                "params.json" => _ = found.params.get_or_insert(bytes),
                _ if found.extra.iter().any(|(known, _)| *known == name) => {}
                _ => found.extra.push((name, bytes)),
            }
        }
        app.remove_empty_dir(dir);
    }
    Ok(found)
}

/// The files of an input folder that are inputs.
fn input_names(dir: &Path, signature: Option<&Signature>) -> Vec<String> {
    let mut names = vec!["data.json".to_owned(), "params.json".to_owned()];
    let Some(signature) = signature else { return names };
    let mut more: Vec<String> = fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| !names.contains(name))
        .filter(|name| {
            let (key, end) = name.split_once('.').unwrap_or((name, ""));
            matches!(end, "json" | "txt") && signature.accepts(key)
        })
        .collect();
    more.sort();
    names.append(&mut more);
    names
}

/// A name as image references take it: lower case, digits, single dashes.
fn slug(name: &str) -> Option<String> {
    let mut slug = String::new();
    for c in name.chars().flat_map(char::to_lowercase).take(100) {
        if c.is_ascii_alphanumeric() {
            slug.push(c);
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
        if slug.len() >= 60 {
            break;
        }
    }
    let slug = slug.trim_end_matches('-');
    (!slug.is_empty()).then(|| slug.to_owned())
}

#[cfg(test)]
mod tests;
