//! The Python sources of an app, as far as a proposal looks at them: their text, their names as modules, and what must be told of where those lie.

use std::path::{Path, PathBuf};

use crate::context::Context;
use crate::dependencies::{self, Kind};
use crate::encoding::decode_text;
use crate::install::Wanted;
use crate::pip::requirements::read_requirements;
use crate::pyproject::PyProject;

/// Where sources are looked for, and how many.
const MAX_DEPTH: usize = 4;
const MAX_FILES: usize = 300;
const MAX_FILE_BYTES: u64 = 1 << 20;
/// Folders that hold other people's code, or none that starts.
const SKIPPED: &[&str] = &[
    "node_modules",
    "venv",
    "env",
    "__pycache__",
    "site-packages",
    "vendor",
    "tests",
    "test",
    "docs",
    "docs_src",
    "examples",
    "migrations",
];
/// Files that people start, in the order of likelihood.
const STARTED: &[&str] =
    &["main.py", "app.py", "server.py", "run.py", "start.py", "bot.py", "wsgi.py", "asgi.py", "hello.py"];

/// The sources of an app, the likeliest to be started first.
pub(super) struct Sources(pub(super) Vec<Source>);

/// One source.
pub(super) struct Source {
    /// Below the app.
    pub(super) path: PathBuf,
    pub(super) text: String,
    /// The folder that must be looked into for the module to be found; empty for the app's own.
    root: PathBuf,
}

/// A module as a command names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Module {
    /// `shop.web`.
    pub(super) name: String,
    /// What stands before the command for the module to be found: `PYTHONPATH=src `, or nothing.
    pub(super) before: String,
}

impl Sources {
    pub(super) fn read(context: &Context) -> Self {
        let app_dir = &context.app_dir;
        let walk = walkdir::WalkDir::new(app_dir).max_depth(MAX_DEPTH).sort_by_file_name().into_iter();
        let entries = walk.filter_entry(|entry| {
            let name = entry.file_name().to_string_lossy();
            entry.depth() == 0 || !(name.starts_with('.') || SKIPPED.contains(&name.as_ref()))
        });
        let files = entries.flatten().filter(|entry| {
            entry.file_type().is_file()
                && entry.path().extension().is_some_and(|extension| extension == "py")
                && entry.metadata().is_ok_and(|about| about.len() <= MAX_FILE_BYTES)
        });
        let read = |path: &Path| decode_text(&fs_err::read(path).ok()?).ok();
        let mut sources: Vec<Source> = files
            .take(MAX_FILES)
            .filter_map(|entry| {
                let path = entry.path().strip_prefix(app_dir).ok()?.to_owned();
                Some(Source { path, text: read(entry.path())?, root: PathBuf::new() })
            })
            .collect();
        let paths: Vec<PathBuf> = sources.iter().map(|source| source.path.clone()).collect();
        for source in &mut sources {
            source.root = source.import_root(&paths);
        }
        // What lies at the root and is called as such files are is started rather than what lies below.
        sources.sort_by_key(|source| (source.path.components().count(), source.rank(), source.path.clone()));
        Self(sources)
    }

    /// A module by its name (`shop.cli`), at the root of the app or below `src`.
    pub(super) fn of_name(&self, name: &str) -> Option<Module> {
        let path = name.replace('.', "/");
        let is_it =
            |below: &Path| below == Path::new(&format!("{path}.py")) || below == Path::new(&path).join("__init__.py");
        let has = |home: &str| self.0.iter().any(|source| source.path.strip_prefix(home).is_ok_and(is_it));
        let before = if has("") { "" } else { has("src").then_some("PYTHONPATH=src ")? };
        Some(Module { name: name.to_owned(), before: before.to_owned() })
    }
}

impl Source {
    /// How likely a file of this name is started; the less the likelier.
    fn rank(&self) -> usize {
        let is_it = |name: &&str| self.path.file_name().is_some_and(|file| file == *name);
        STARTED.iter().position(is_it).unwrap_or(STARTED.len())
    }

    /// Whether it is called as files are that people start.
    pub(super) fn is_usual(&self) -> bool {
        self.rank() < STARTED.len()
    }

    /// The folder that its imports begin at: the one with the package that it is in and imports from, `src`, a folder whose files import each other
    /// by their bare names, else the app.
    fn import_root(&self, paths: &[PathBuf]) -> PathBuf {
        let parent = self.path.parent().unwrap_or(Path::new(""));
        let Some(top) = parent.iter().next().and_then(|top| top.to_str()) else { return PathBuf::new() };
        // It imports what lies in a folder above it: imports begin beside that folder.
        let mut root = PathBuf::new();
        for part in parent {
            let hides = |path: &Path| path == root.join(part).with_extension("py");
            if part.to_str().is_some_and(|part| self.imports(part)) && !paths.iter().any(|path| hides(path)) {
                return root;
            }
            root.push(part);
        }
        if top == "src" && !paths.contains(&PathBuf::from("src/__init__.py")) {
            return PathBuf::from("src");
        }
        let beside = |name: &str| [parent.join(format!("{name}.py")), parent.join(name).join("__init__.py")];
        let at_root = |name: &str| [PathBuf::from(format!("{name}.py")), PathBuf::from(name).join("__init__.py")];
        let is_bare = |name: &str| {
            beside(name).iter().any(|path| paths.contains(path))
                && !at_root(name).iter().any(|path| paths.contains(path))
        };
        if self.imported().any(is_bare) { parent.to_owned() } else { PathBuf::new() }
    }

    /// The first parts of the names that it imports; of relative imports an empty one.
    fn imported(&self) -> impl Iterator<Item = &str> {
        self.text.lines().filter_map(|line| {
            let mut words = line.split([' ', ',', '\t']).filter(|word| !word.is_empty());
            let is_import = matches!(words.next(), Some("import" | "from"));
            words.next().filter(|_| is_import)?.split('.').next()
        })
    }

    /// Whether a line imports the package.
    pub(super) fn imports(&self, package: &str) -> bool {
        self.imported().any(|name| name == package)
    }

    /// Whether `from PACKAGE… import …, NAME` stands at the left margin.
    pub(super) fn takes(&self, name: &str, package: &str) -> bool {
        self.text.lines().any(|line| {
            let Some((from, names)) = line.strip_prefix("from ").and_then(|line| line.split_once(" import ")) else {
                return false;
            };
            let names = names.split('#').next().unwrap_or(names);
            let mut names = names.split(',').map(|one| one.trim_matches([' ', '(', ')']));
            from.trim().split('.').next() == Some(package) && names.any(|one| one == name)
        })
    }

    /// `shop.wsgi` of `shop/wsgi.py`; none for names that no import statement takes. What is installed needs not be looked for.
    pub(super) fn module(&self, is_installed: bool) -> Option<Module> {
        let below = self.path.strip_prefix(&self.root).unwrap_or(&self.path).with_extension("");
        let parts: Vec<&str> = below.iter().map(|part| part.to_str()).collect::<Option<_>>()?;
        let is_name = |part: &&str| !part.is_empty() && part.chars().all(|c| c.is_alphanumeric() || c == '_');
        let parts = if parts.last() == Some(&"__init__") { &parts[..parts.len() - 1] } else { &parts[..] };
        let is_found =
            self.root.as_os_str().is_empty() || (is_installed && self.root == Path::new("src") && parts.len() > 1);
        let root = self.root.to_str().filter(|root| !root.contains(char::is_whitespace));
        let before = if is_found { String::new() } else { format!("PYTHONPATH={} ", root?) };
        (!parts.is_empty() && parts.iter().all(is_name)).then(|| Module { name: parts.join("."), before })
    }

    pub(super) fn shown(&self) -> String {
        self.path.display().to_string()
    }
}

/// Whether a build installs the project itself, and with it its programs.
pub(super) fn is_project_installed(context: &Context) -> bool {
    let Ok(Some(leader)) = dependencies::leader(context) else { return false };
    let project = PyProject::read(context).ok().flatten();
    let document = project.as_ref().map(|project| &project.document);
    match leader.kind {
        Kind::Project => true,
        Kind::Conda => false,
        Kind::Pip | Kind::Pipenv => {
            let tree = read_requirements(&context.app_dir, Path::new(&leader.file)).unwrap_or_default();
            tree.local_paths.iter().any(|path| path.as_os_str().is_empty())
        }
        _ => document.is_some_and(|document| document.build_system.is_some()),
    }
}

/// The lines of what a build installs, where the files of the app say it all: a lock, or a Pipfile. What is for development alone is not among them.
pub(crate) fn installed_lines(context: &Context) -> Option<String> {
    let (leader, reading) = dependencies::foresee(context, "").ok()??;
    let listed = match reading.wanted? {
        Wanted::Locked(listed) => listed,
        Wanted::Project(listed) if leader.kind == Kind::Pipenv => listed,
        _ => return None,
    };
    Some(listed.bound.iter().fold(listed.text, |text, bound| text + &bound.requirement + "\n"))
}

/// Whether the app requires a package: by `lines` where those say all that is installed, else by what its dependency files speak of. A word in a comment
/// counts too there: then a person has thought of it.
pub(crate) fn requires(context: &Context, lines: Option<&str>, package: &str) -> bool {
    let named = context.variable("BP_PIP_REQUIREMENT").unwrap_or("requirements.txt");
    let files = [
        "pyproject.toml",
        "Pipfile",
        "Pipfile.lock",
        "environment.yml",
        "environment.yaml",
        "setup.py",
        "setup.cfg",
        "uv.lock",
        "poetry.lock",
        "pdm.lock",
        "pylock.toml",
    ];
    let speaks = |text: &str| {
        // With an extra it is written in one piece, mostly.
        let with_extra = package.contains('[') && text.replace(' ', "").to_lowercase().contains(package);
        with_extra
            || text
                .split(|c: char| !(c.is_alphanumeric() || matches!(c, '-' | '_' | '.')))
                .any(|word| word.eq_ignore_ascii_case(package))
    };
    if let Some(lines) = lines {
        return speaks(lines);
    }
    let included = read_requirements(&context.app_dir, Path::new(named)).unwrap_or_default();
    included.files.iter().any(|file| speaks(&file.text))
        || files.iter().filter_map(|name| context.app_file(name)).any(|path| {
            fs_err::read(path).ok().and_then(|bytes| decode_text(&bytes).ok()).is_some_and(|text| speaks(&text))
        })
}
