//! Staging: the source becomes an app in a directory of its own.
//!
//! The user's folder is only read. A small service takes one or two milliseconds: one walk, one copy of each file in the kernel, a handful
//! of `stat` calls to see what it is; nothing is hashed.

mod archive;
mod folder;
mod ignore;
mod tree;

use std::path::{Path, PathBuf};

use fs_err as fs;
use hoist_events::{Event, Reporter};

use crate::contract::{self, ContractChoice, Signature};
use crate::dependencies::{self, Dependencies, DependencyError, Manager};
use crate::{Contract, DefaultInput, Layout, Limits, PlanqkJson, PlanqkJsonError};
use archive::Archive;
use ignore::{Dialect, Ignore};
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
    /// Whether dependency files are lifted and chosen from; false for an app that goes to a foreign builder, which has rules of its own.
    pub lift: bool,
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
    /// `planqk.json`.
    pub manifest: Option<PlanqkJson>,
    /// What declares the dependencies.
    pub dependencies: Option<Dependencies>,
    /// `input/data.json` and `input/params.json` of a service. They are not part of the app: an input changes without a build, and often
    /// holds tokens that have no place in an image.
    pub default_input: DefaultInput,
    /// Variables for the buildpacks (`/platform/env`): `HOIST_CONTRACT`; `HOIST_PARAMETERS`, the signature of `run` as JSON (G2);
    /// `HOIST_PYTHON_VERSION` and `HOIST_PYTHON_REASON` where an
    /// `environment.yml` asks for a Python; `HOIST_LAUNCH_ENV` (a JSON object) where it sets variables. What the user sets wins.
    pub build_env: Vec<(String, String)>,
    /// Files in the app.
    pub files: usize,
    /// Their bytes.
    pub total_bytes: u64,
}

/// A source that cannot be staged.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// The dependency files cannot be used.
    #[error(transparent)]
    Dependencies(#[from] DependencyError),
    /// `planqk.json` cannot be used.
    #[error(transparent)]
    Manifest(#[from] PlanqkJsonError),
    /// There is nothing there.
    #[error("there is no {}", path.display())]
    NotFound {
        /// As given.
        path: PathBuf,
    },
    /// The source is empty.
    #[error("{} holds no file to build from", path.display())]
    Empty {
        /// As given.
        path: PathBuf,
    },
    /// The source is a file of another kind.
    #[error("{} is neither a folder nor a zip archive", path.display())]
    NotAnArchive {
        /// As given.
        path: PathBuf,
    },
    /// The archive is damaged.
    #[error("the archive {} cannot be read: {why}", path.display())]
    Broken {
        /// The archive.
        path: PathBuf,
        /// What the reader says.
        why: String,
    },
    /// The archive holds what no honest archive does.
    #[error("the archive {} is refused: {}{why}", path.display(), if entry.is_empty() { String::new() } else { format!("entry {entry:?}: ") })]
    Hostile {
        /// The archive.
        path: PathBuf,
        /// Which entry; empty for the whole.
        entry: String,
        /// Why.
        why: String,
    },
    /// A symbolic link leads out of the source.
    #[error("the link {} leads out of the source, to {}", path.display(), target.display())]
    LinkOut {
        /// The link.
        path: PathBuf,
        /// Where to.
        target: PathBuf,
    },
    /// Too many entries.
    #[error("the source has more than {limit} files and folders")]
    TooMany {
        /// The bound.
        limit: usize,
    },
    /// Too deep.
    #[error("{} lies deeper than {limit} folders", path.display())]
    TooDeep {
        /// Where.
        path: PathBuf,
        /// The bound.
        limit: usize,
    },
    /// Too large.
    #[error("{what} is larger than {limit_bytes} bytes")]
    TooLarge {
        /// What.
        what: String,
        /// The bound.
        limit_bytes: u64,
    },
    /// More bytes came than the source declared.
    #[error("{} holds more than the {size} bytes that it declares", path.display())]
    Lies {
        /// Which file.
        path: PathBuf,
        /// What it declares.
        size: u64,
    },
    /// The app directory is not empty, or lies in the source.
    #[error("{} cannot hold the staged app: {why}", path.display())]
    AppDir {
        /// The app directory.
        path: PathBuf,
        /// Why.
        why: &'static str,
    },
    /// A file cannot be read.
    #[error("reading {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file cannot be written.
    #[error("staging {}", path.display())]
    Write {
        /// Which, in the app.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl StageError {
    fn read(path: &Path, source: std::io::Error) -> Self {
        Self::Read { path: path.to_owned(), source }
    }

    fn write(path: &Path, source: std::io::Error) -> Self {
        Self::Write { path: path.to_owned(), source }
    }

    /// The next step.
    pub fn hint(&self) -> String {
        let text = match self {
            Self::Dependencies(error) => return error.hint(),
            Self::Manifest(error) => return error.hint(),
            Self::NotFound { .. } => "give the folder or the zip archive of the service",
            Self::Empty { .. } => "begin with a new service: hoist init DIR",
            Self::NotAnArchive { .. } => "unpack it, and give the folder; or pack it as a zip: zip -r service.zip .",
            Self::Broken { .. } => "make the archive again: zip -r service.zip .",
            Self::Hostile { .. } => "make the archive again from the service's own folder: zip -r service.zip .",
            Self::LinkOut { .. } => "copy what it leads to into the source, or remove the link",
            Self::TooMany { .. } | Self::TooLarge { .. } | Self::TooDeep { .. } => {
                "leave out what the service does not need with a .planqkignore (data, models, notebooks)"
            }
            Self::Lies { .. } => "do not change the source while it is staged; make an archive again",
            Self::AppDir { .. } => "give an empty directory outside of the source",
            Self::Read { .. } => "look at the permissions",
            Self::Write { .. } => "look for a full disk: hoist system df",
        };
        text.to_owned()
    }
}

/// Copies the source into [`StageRequest::app_dir`]; choices and oddities go to `reporter`.
pub fn stage(request: &StageRequest<'_>, reporter: &dyn Reporter) -> Result<Staged, StageError> {
    let source =
        fs::canonicalize(request.source).map_err(|_| StageError::NotFound { path: request.source.to_owned() })?;
    check_app_dir(request.app_dir, &source)?;
    let mut tree = Tree::new(request.app_dir, &request.limits);
    if source.is_dir() {
        let ignore = folder_ignore(&source)?;
        folder::copy(&source, &ignore, &mut tree, reporter)?;
    } else {
        let mut archive = Archive::open(&source, &request.limits)?;
        let (file, dialect) = ignore_file(|path| archive.has(path), archive_is_service(&archive));
        let ignore = archive.ignore(file, dialect)?;
        archive.unpack(&ignore, &mut tree)?;
    }
    tree.finish()?;
    if tree.files == 0 {
        return Err(StageError::Empty { path: request.source.to_owned() });
    }
    let (files, total_bytes) = (tree.files, tree.total_bytes);
    let mut staged = describe(request, &source, reporter)?;
    (staged.files, staged.total_bytes) = (files, total_bytes);
    Ok(staged)
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
fn ignore_file(has: impl Fn(&str) -> bool, is_service: bool) -> (&'static str, Dialect) {
    match is_service {
        true if has(".planqkignore") => (".planqkignore", Dialect::Git),
        true => (".dockerignore", Dialect::Docker),
        false => ("", Dialect::Git),
    }
}

fn archive_is_service(archive: &Archive) -> bool {
    ["src/program.py", "planqk.json", "app/user_code/src/program.py", "app/user-code/src/program.py"]
        .iter()
        .any(|path| archive.has(path))
}

fn folder_ignore(source: &Path) -> Result<Ignore, StageError> {
    let (file, dialect) = ignore_file(|path| source.join(path).is_file(), Layout::of(source).is_service());
    if file.is_empty() {
        return Ok(Ignore::default());
    }
    Ok(read_text(&source.join(file))?.map_or_else(Ignore::default, |text| Ignore::parse(&text, dialect)))
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
fn describe(request: &StageRequest<'_>, source: &Path, reporter: &dyn Reporter) -> Result<Staged, StageError> {
    let root = request.app_dir;
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
    let (mut contract, mut signature) = (None, None);
    if layout.is_service() {
        let program = read_text(&user_code.join("src/program.py"))?;
        signature = program.as_deref().and_then(Signature::parse);
        let found = contract::choose(root, &layout, program.as_deref(), request.contract);
        choice(
            "service contract",
            found.contract.to_string(),
            format!("{}; choose otherwise with --contract", found.reason),
        );
        contract = Some(found);
    }
    let dependencies = if request.lift { dependencies::lift(root, &layout, request.dependencies)? } else { None };
    if let Some(Dependencies { file, reason: Some(reason), .. }) = &dependencies {
        choice("dependency file", file.display().to_string(), reason.clone());
    }
    let default_input = if layout.is_service() { take_input(root, &layout)? } else { DefaultInput::default() };
    let name = manifest.as_ref().and_then(|manifest| manifest.name.as_deref()).and_then(slug);
    let name = name
        .or_else(|| source.file_stem().and_then(|stem| slug(&stem.to_string_lossy())))
        .unwrap_or_else(|| "app".to_owned());
    Ok(Staged {
        app_dir: root.to_owned(),
        name,
        build_env: build_env(contract.as_ref(), signature.as_ref(), dependencies.as_ref()),
        layout,
        contract,
        signature,
        manifest,
        dependencies,
        default_input,
        files: 0,
        total_bytes: 0,
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

/// Takes `input/data.json` and `input/params.json` out of the app, of the user code first.
fn take_input(root: &Path, layout: &Layout) -> Result<DefaultInput, StageError> {
    let mut found = DefaultInput::default();
    let mut dirs = vec![root.join(layout.user_code_dir()).join("input"), root.join("input")];
    dirs.dedup();
    for dir in dirs.iter().filter(|dir| dir.is_dir()) {
        for (name, slot) in [("data.json", &mut found.data), ("params.json", &mut found.params)] {
            let path = dir.join(name);
            let Ok(about) = std::fs::symlink_metadata(&path) else { continue };
            if !about.is_file() || about.len() > INPUT_BYTES {
                continue;
            }
            let bytes = fs::read(&path).map_err(|source| StageError::read(&path, source))?;
            fs::remove_file(&path).map_err(|source| StageError::write(&path, source))?;
            slot.get_or_insert(bytes);
        }
        let _ = std::fs::remove_dir(dir); // only if nothing else is in it
    }
    Ok(found)
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
