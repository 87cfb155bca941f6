//! Reads `requirements.txt` with all it includes: which requirement stands in which line of which file. Decides nothing about versions;
//! what a line means beyond its name, `-r`, `-c` and local paths is the installer's to say.

use std::path::{Component, Path, PathBuf};

use fs_err as fs;

use crate::encoding::decode_text;

const MAX_FILES: usize = 128;
const MAX_FILE_BYTES: u64 = 4 << 20;

/// A requirements file and everything it includes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct RequirementsTree {
    /// The files, the named one first, in the order in which they are included.
    pub(crate) files: Vec<RequirementsFile>,
    /// All requirement lines.
    pub(crate) requirements: Vec<RequirementLine>,
    /// Folders and files of the app that are required by path, or looked into for packages.
    pub(crate) local_paths: Vec<PathBuf>,
    /// Folders that are looked into for packages: below the app, or absolute.
    pub(crate) link_folders: Vec<PathBuf>,
    /// What lines with an option say that uv passes over.
    pub(crate) options: Options,
    /// Lines that include a file from elsewhere, with their places: what stands there is not known here.
    pub(crate) remote_includes: Vec<String>,
}

/// Options in lines of their own that uv passes over in silence, although pip heeds them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) pre: bool,
    pub(crate) require_hashes: bool,
    pub(crate) prefer_binary: bool,
    pub(crate) trusted_hosts: Vec<String>,
    /// Indexes beside the first: uv reads them, and is told of pip's way to choose.
    pub(crate) extra_indexes: usize,
}

impl Options {
    fn take(&mut self, line: &str) {
        let (option, value) = line.split_once(['=', ' ', '\t']).unwrap_or((line, ""));
        match option {
            "--pre" => self.pre = true,
            "--require-hashes" => self.require_hashes = true,
            "--prefer-binary" => self.prefer_binary = true,
            "--extra-index-url" => self.extra_indexes += 1,
            "--trusted-host" => self.trusted_hosts.push(value.trim().to_owned()),
            _ => {}
        }
    }

    /// The same as arguments of uv. (`--prefer-binary` has no counterpart.)
    pub(crate) fn arguments(&self) -> Vec<std::ffi::OsString> {
        let mut arguments: Vec<std::ffi::OsString> = Vec::new();
        if self.pre {
            arguments.extend(["--prerelease".into(), "allow".into()]);
        }
        arguments.extend(self.require_hashes.then(|| "--require-hashes".into()));
        for host in &self.trusted_hosts {
            arguments.extend(["--allow-insecure-host".into(), host.into()]);
        }
        arguments
    }
}

/// One file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RequirementsFile {
    /// Path below the app.
    pub(crate) path: PathBuf,
    /// The decoded text.
    pub(crate) text: String,
    /// Whether the bytes are just this text, so that any tool can read them.
    pub(crate) plain: bool,
}

/// One requirement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RequirementLine {
    /// The normalised name, when the line has one.
    pub(crate) name: Option<String>,
    /// The text without its comment.
    pub(crate) text: String,
    /// Which file.
    pub(crate) file: usize,
    /// Which line, from 1.
    pub(crate) line: usize,
    /// Whether it stands in a constraints file.
    pub(crate) constraint: bool,
}

/// Why the files cannot be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum RequirementsError {
    #[error("{} is not there", path.display())]
    Missing { path: PathBuf, included_from: Option<(PathBuf, usize)>, near: Vec<String> },
    #[error("{} lies outside of the app", path.display())]
    Outside { path: PathBuf, included_from: Option<(PathBuf, usize)> },
    #[error("{} is not text: {reason}", path.display())]
    NotText { path: PathBuf, line: Option<usize>, reason: String },
    #[error("{} has {bytes} bytes", path.display())]
    TooLarge { path: PathBuf, bytes: u64 },
    #[error("{} includes itself", path.display())]
    Circular { path: PathBuf, from: (PathBuf, usize) },
    #[error("more than {MAX_FILES} files are included")]
    TooMany,
}

/// Reads `path` (below the app) and what it includes.
pub(crate) fn read_requirements(app_dir: &Path, path: &Path) -> Result<RequirementsTree, RequirementsError> {
    let mut tree = RequirementsTree::default();
    read_file(app_dir, path, &mut Vec::new(), false, &mut tree)?;
    Ok(tree)
}

/// Reads lines that stand in another kind of file, `path`, at the same numbers as there, and what they include.
pub(crate) fn read_lines(app_dir: &Path, path: &Path, text: &str) -> Result<RequirementsTree, RequirementsError> {
    let mut tree = RequirementsTree::default();
    let file = RequirementsFile { path: path.to_owned(), text: text.to_owned(), plain: false };
    take_file(app_dir, file, &mut Vec::new(), false, &mut tree)?;
    Ok(tree)
}

/// `way` are the lines that led here, from the first file.
fn read_file(
    app_dir: &Path,
    path: &Path,
    way: &mut Vec<(PathBuf, usize)>,
    constraint: bool,
    tree: &mut RequirementsTree,
) -> Result<(), RequirementsError> {
    let included_from = way.last().cloned();
    let outside = || RequirementsError::Outside { path: path.to_owned(), included_from: included_from.clone() };
    let relative = lexical(path).ok_or_else(outside)?;
    if way.iter().any(|(above, _)| *above == relative)
        && let Some(from) = included_from
    {
        return Err(RequirementsError::Circular { path: relative, from });
    }
    if tree.files.iter().any(|file| file.path == relative) {
        return Ok(());
    }
    if tree.files.len() >= MAX_FILES {
        return Err(RequirementsError::TooMany);
    }
    let file = load(app_dir, &relative, included_from)?;
    take_file(app_dir, file, way, constraint, tree)
}

/// What a file says, and what it includes.
fn take_file(
    app_dir: &Path,
    file: RequirementsFile,
    way: &mut Vec<(PathBuf, usize)>,
    constraint: bool,
    tree: &mut RequirementsTree,
) -> Result<(), RequirementsError> {
    let number = tree.files.len();
    let (relative, text) = (file.path.clone(), file.text.clone());
    tree.files.push(file);
    let base = relative.parent().unwrap_or(Path::new("")).to_owned();
    for (line, text) in logical_lines(&text) {
        if let Some((target, is_constraint)) = include_of(&text) {
            if target.contains(':') {
                tree.remote_includes.push(format!("{} line {line}: {text}", relative.display()));
            } else {
                way.push((relative.clone(), line));
                read_file(app_dir, &base.join(target), way, constraint || is_constraint, tree)?;
                way.pop();
            }
            continue;
        }
        // As the installers have it: folders to look into lie beside the file, requirements below the app.
        let folder = find_links_of(&text).map(|links| base.join(links));
        let links = folder.as_deref().and_then(|folder| lexical(folder.strip_prefix(app_dir).unwrap_or(folder)));
        tree.link_folders.extend(folder);
        let required = local_path_of(&text).filter(|_| !is_option(&text)).and_then(|local| lexical(Path::new(local)));
        tree.local_paths.extend(links.or(required));
        if is_option(&text) {
            tree.options.take(&text);
        } else {
            let name = name_of(&text);
            tree.requirements.push(RequirementLine { name, text, file: number, line, constraint });
        }
    }
    Ok(())
}

fn load(
    app_dir: &Path,
    relative: &Path,
    included_from: Option<(PathBuf, usize)>,
) -> Result<RequirementsFile, RequirementsError> {
    let root = fs::canonicalize(app_dir).unwrap_or_else(|_| app_dir.to_owned());
    let Ok(real) = fs::canonicalize(root.join(relative)) else {
        let near = near_files(&root, relative);
        return Err(RequirementsError::Missing { path: relative.to_owned(), included_from, near });
    };
    if !real.starts_with(&root) {
        return Err(RequirementsError::Outside { path: relative.to_owned(), included_from });
    }
    let about = fs::metadata(&real).ok().filter(std::fs::Metadata::is_file);
    let Some(bytes) = about.map(|about| about.len()) else {
        let reason = "it is no file".to_owned();
        return Err(RequirementsError::NotText { path: relative.to_owned(), line: None, reason });
    };
    if bytes > MAX_FILE_BYTES {
        return Err(RequirementsError::TooLarge { path: relative.to_owned(), bytes });
    }
    let not_text =
        |line: Option<usize>, reason: String| RequirementsError::NotText { path: relative.to_owned(), line, reason };
    let bytes = fs::read(&real).map_err(|error| not_text(None, error.to_string()))?;
    let text = decode_text(&bytes).map_err(|error| not_text(Some(error.line()), error.to_string()))?;
    let plain = bytes == text.as_bytes();
    Ok(RequirementsFile { path: relative.to_owned(), text, plain })
}

/// The path with `.` and `..` taken out; `None` when it leaves the app.
pub(crate) fn lexical(path: &Path) -> Option<PathBuf> {
    let mut result = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => result.push(name),
            Component::CurDir => {}
            Component::ParentDir => {
                if !result.pop() {
                    return None;
                }
            }
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(result)
}

/// Text files of the app whose names are near `wanted` or that look like requirements.
fn near_files(root: &Path, wanted: &Path) -> Vec<String> {
    let wanted_name = wanted.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let wanted_path = wanted.to_string_lossy();
    let mut found: Vec<(usize, String)> = walkdir::WalkDir::new(root)
        .max_depth(4)
        .sort_by_file_name()
        .into_iter()
        .filter_entry(|entry| entry.depth() == 0 || !entry.file_name().to_string_lossy().starts_with('.'))
        .flatten()
        .take(20_000)
        .filter(|entry| entry.file_type().is_file())
        .filter_map(|entry| {
            let path = entry.path().strip_prefix(root).ok()?.to_string_lossy().into_owned();
            let name = entry.file_name().to_string_lossy().into_owned();
            let distance = crate::install::name_distance(&name, &wanted_name)
                .min(crate::install::name_distance(&path, &wanted_path));
            (distance <= 3 || (name.contains("requirements") && name.ends_with("txt"))).then_some((distance, path))
        })
        .collect();
    found.sort();
    found.into_iter().take(3).map(|(_, path)| path).collect()
}

/// Lines joined at `\`, without comments, with the number of their first line; empty ones are left out.
fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let mut lines = Vec::new();
    let mut pending: Option<(usize, String)> = None;
    for (index, raw) in text.lines().enumerate() {
        let (number, mut so_far) = pending.take().unwrap_or((index + 1, String::new()));
        let uncommented = uncomment(raw);
        if let Some(open) = uncommented.strip_suffix('\\') {
            so_far.push_str(open);
            so_far.push(' ');
            pending = Some((number, so_far));
            continue;
        }
        so_far.push_str(uncommented);
        lines.push((number, so_far));
    }
    lines.extend(pending);
    lines
        .into_iter()
        .map(|(number, line)| (number, line.trim().to_owned()))
        .filter(|(_, line)| !line.is_empty())
        .collect()
}

fn uncomment(line: &str) -> &str {
    if line.trim_start().starts_with('#') {
        return "";
    }
    let end = line.find(" #").or_else(|| line.find("\t#")).unwrap_or(line.len());
    line[..end].trim_end()
}

/// The target of `-r x`, `-rx`, `--requirement=x`, `-c x` …, and whether it is a constraint.
fn include_of(line: &str) -> Option<(&str, bool)> {
    for (option, constraint) in [("--requirement", false), ("--constraint", true), ("-r", false), ("-c", true)] {
        if let Some(rest) = line.strip_prefix(option) {
            let target = rest.trim_start_matches(['=', ' ', '\t']).trim_matches(['"', '\'']);
            let is_longer_word = option.starts_with("--") && rest.starts_with(|c: char| c.is_alphanumeric());
            if !target.is_empty() && !is_longer_word {
                return Some((target, constraint));
            }
        }
    }
    None
}

/// Whether the line is a setting (`--index-url …`) and no requirement (`-e .`, `flask`).
fn is_option(line: &str) -> bool {
    line.starts_with('-') && !is_editable(line)
}

fn is_editable(line: &str) -> bool {
    line.starts_with("-e") || line.starts_with("--editable")
}

/// The lines that say where packages are looked for, and whether as wheels; folders are absolute, or below `base`.
pub(crate) fn places_in(text: &str, base: &Path) -> Vec<String> {
    const OPTIONS: [&str; 6] = ["-i", "--index-url", "--extra-index-url", "--no-index", "--no-binary", "--only-binary"];
    let place = |line: String| {
        if let Some(folder) = find_links_of(&line) {
            return Some(format!("--find-links {}", base.join(folder).display()));
        }
        let option = line.split(['=', ' ', '\t']).next().unwrap_or_default();
        let is_remote = || line.starts_with("-f") || option == "--find-links";
        (OPTIONS.contains(&option) || is_remote()).then_some(line)
    };
    logical_lines(text).into_iter().filter_map(|(_, line)| place(line)).collect()
}

/// The folder of `-f x`, `--find-links x`, `--find-links=x`.
pub(crate) fn find_links_of(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("--find-links").or_else(|| line.strip_prefix("-f"))?;
    let target = rest.trim_start_matches(['=', ' ', '\t']).trim_matches(['"', '\'']);
    let target = target.strip_prefix("file:").map_or(target, |path| path.trim_start_matches("//"));
    (!target.is_empty() && !target.contains("://")).then_some(target)
}

/// The path of a requirement that is a folder or archive of the app.
pub(super) fn local_path_of(line: &str) -> Option<&str> {
    let editable = line.strip_prefix("-e").or_else(|| line.strip_prefix("--editable"));
    let target = editable.map_or(line, |rest| rest.trim_start_matches(['=', ' ']));
    let target = target.split(" ;").next()?.split(" --").next()?.trim();
    let target = target.split_once(" @ ").map_or(target, |(_, url)| url.trim());
    let target = target.strip_prefix("file:").map_or(target, |path| path.trim_start_matches("//"));
    if target.contains("://") || target.starts_with('/') {
        return None;
    }
    let looks_local = target.starts_with('.')
        || target.contains('/')
        || Path::new(target).extension().is_some_and(|extension| extension == "whl")
        || editable.is_some();
    looks_local.then(|| target.split('[').next().unwrap_or(target))
}

/// A repository, or an archive that is no wheel: `lib @ git+https://…`, `https://h/lib-1.tar.gz`.
fn is_fetched_source(line: &str) -> bool {
    let Some(start) = line.find("://").filter(|_| !is_option(line)) else { return false };
    let scheme = line[..start].rsplit([' ', '@', '\t']).next().unwrap_or_default();
    let path = line[start..].split([' ', '#', '?', ';', '\t']).next().unwrap_or_default();
    scheme.contains('+') || !path.to_ascii_lowercase().ends_with(".whl")
}

/// `--no-binary` of anything but `:none:`, alone in a line or behind a requirement.
fn builds_by_option(line: &str) -> bool {
    line.split_once("--no-binary").is_some_and(|(_, rest)| {
        let names = rest.trim_start_matches(['=', ' ', '\t']).split([' ', '\t']).next().unwrap_or_default();
        names != ":none:"
    })
}

/// The first line of a requirements file that has something built from source, and its number.
pub(crate) fn source_build_in(text: &str) -> Option<(usize, String)> {
    let builds = |line: &str| {
        let folder = !is_option(line)
            && local_path_of(line).is_some_and(|path| Path::new(path).extension().is_none_or(|end| end != "whl"));
        is_editable(line) || folder || is_fetched_source(line) || builds_by_option(line)
    };
    logical_lines(text).into_iter().find(|(_, line)| builds(line))
}

/// The normalised name that a requirement line begins with.
fn name_of(line: &str) -> Option<String> {
    if let Some((_, name)) = line.split_once("#egg=") {
        return Some(normalize(name.split(['&', '[']).next()?));
    }
    let end = line.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))).unwrap_or(line.len());
    let name = &line[..end];
    (name.starts_with(|c: char| c.is_ascii_alphanumeric()) && !line[end..].starts_with(['/', ':']))
        .then(|| normalize(name))
}

/// A distribution name as PEP 503 compares it.
pub(crate) fn normalize(name: &str) -> String {
    let mut result = String::with_capacity(name.len());
    for character in name.chars() {
        if matches!(character, '-' | '_' | '.') {
            if !result.ends_with('-') {
                result.push('-');
            }
        } else {
            result.extend(character.to_lowercase());
        }
    }
    result
}

impl RequirementsTree {
    /// Whether the lines of the files are all that decides: no folder of the app is meant, and no file from elsewhere.
    pub(crate) fn is_whole(&self) -> bool {
        self.local_paths.is_empty() && self.link_folders.is_empty() && self.remote_includes.is_empty()
    }

    /// The first line that has something built from source, whatever the installer was told on its command line: `--no-binary` in a file wins
    /// over `--only-binary`, and editable folders are exempt from `--no-build`. What a file from elsewhere says counts as such a line.
    pub(crate) fn source_build(&self) -> Option<String> {
        if let Some(line) = self.remote_includes.first() {
            return Some(line.clone());
        }
        self.files.iter().find_map(|file| {
            let (number, line) = source_build_in(&file.text)?;
            Some(format!("{} line {number}: {line}", file.path.display()))
        })
    }

    /// The first line that requires `name`: `requirements.txt line 3: flask==3`.
    pub(crate) fn place_of(&self, name: &str) -> Option<String> {
        let wanted = normalize(name);
        let found = self.requirements.iter().find(|line| line.name.as_deref() == Some(&wanted))?;
        Some(format!("{} line {}: {}", self.files[found.file].path.display(), found.line, found.text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app(files: &[(&str, &[u8])]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (path, bytes) in files {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        dir
    }

    #[test]
    fn included_files_are_read_with_their_places() {
        let dir = app(&[
            ("requirements.txt", b"# top\nFlask==3.0 # web\n-r reqs/base.txt\n-c limits.txt\n-e ./own\n"),
            ("reqs/base.txt", b"Zope.Interface>=5\\\n  --hash=sha256:00\n--requirement=../more.txt\n./beside\n"),
            ("more.txt", b"lib @ git+https://h/x.git#egg=Other_Name\nwheels/a.whl\n"),
            ("limits.txt", b"werkzeug<4\n"),
        ]);
        let tree = read_requirements(dir.path(), Path::new("requirements.txt")).unwrap();
        let paths: Vec<_> = tree.files.iter().map(|file| file.path.display().to_string()).collect();
        assert_eq!(paths, ["requirements.txt", "reqs/base.txt", "more.txt", "limits.txt"]);
        assert_eq!(tree.place_of("flask").unwrap(), "requirements.txt line 2: Flask==3.0");
        assert_eq!(
            tree.place_of("zope-interface").unwrap(),
            "reqs/base.txt line 1: Zope.Interface>=5   --hash=sha256:00"
        );
        assert!(tree.place_of("other.name").unwrap().starts_with("more.txt line 1"));
        assert!(tree.requirements.iter().any(|line| line.constraint && line.name.as_deref() == Some("werkzeug")));
        assert_eq!(tree.local_paths, ["wheels/a.whl", "beside", "own"].map(PathBuf::from));
    }

    #[test]
    fn lines_that_build_from_source_are_seen_beforehand() {
        for (text, expected) in [
            ("six\n./wheels/a.whl\n--find-links ./wheels\n-r more.txt\nlib @ https://h/x.whl\n", None),
            ("six\n-e .\n", Some("requirements.txt line 2: -e .")),
            ("./own\n", Some("requirements.txt line 1: ./own")),
            ("--no-binary :none:\nlib @ https://h/x-1-py3-none-any.whl#sha256=00 ; python_version>'3'\n", None),
            ("lib @ git+https://h/x.git@v1\n", Some("requirements.txt line 1: lib @ git+https://h/x.git@v1")),
            ("git+ssh://git@h/x.git#egg=x\n", Some("requirements.txt line 1: git+ssh://git@h/x.git#egg=x")),
            ("https://h/x-1.tar.gz\n", Some("requirements.txt line 1: https://h/x-1.tar.gz")),
            ("-r https://h/more.txt\n", Some("requirements.txt line 1: -r https://h/more.txt")),
            ("-c file:///etc/more.txt\n", Some("requirements.txt line 1: -c file:///etc/more.txt")),
            ("six --no-binary six\n", Some("requirements.txt line 1: six --no-binary six")),
            (
                "--extra-index-url https://h/simple\n--no-binary=:all:\n",
                Some("requirements.txt line 2: --no-binary=:all:"),
            ),
        ] {
            let dir = app(&[("requirements.txt", text.as_bytes()), ("more.txt", b"")]);
            let tree = read_requirements(dir.path(), Path::new("requirements.txt")).unwrap();
            assert_eq!(tree.source_build().as_deref(), expected);
        }
    }

    #[test]
    fn a_missing_include_names_the_near_files() {
        let dir = app(&[("requirements.txt", b"a\n-r reqs/bass.txt\n"), ("reqs/base.txt", b"")]);
        assert_eq!(
            read_requirements(dir.path(), Path::new("requirements.txt")),
            Err(RequirementsError::Missing {
                path: "reqs/bass.txt".into(),
                included_from: Some(("requirements.txt".into(), 2)),
                near: vec!["reqs/base.txt".into(), "requirements.txt".into()],
            })
        );
    }

    #[test]
    fn an_include_never_leaves_the_app() {
        let dir = app(&[("requirements.txt", b"-r ../../etc/passwd\n"), ("link.txt", b"-r up.txt\n")]);
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join("up.txt")).unwrap();
        for start in ["requirements.txt", "link.txt"] {
            let error = read_requirements(dir.path(), Path::new(start)).unwrap_err();
            assert!(matches!(error, RequirementsError::Outside { .. }), "{error}");
        }
    }

    #[test]
    fn what_is_no_file_is_not_waited_for() {
        let dir = app(&[("requirements.txt", b"-r pipe.txt\n")]);
        nix::unistd::mkfifo(&dir.path().join("pipe.txt"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let error = read_requirements(dir.path(), Path::new("requirements.txt")).unwrap_err();
        assert_eq!(error.to_string(), "pipe.txt is not text: it is no file");
    }

    #[test]
    fn folders_that_are_looked_into_are_known() {
        let dir = app(&[(
            "requirements.txt",
            b"--find-links=wheels\n-f ./more\n--find-links https://h/x\n-f file:own\nsix\n",
        )]);
        let tree = read_requirements(dir.path(), Path::new("requirements.txt")).unwrap();
        assert_eq!(tree.local_paths, ["wheels", "more", "own"].map(PathBuf::from));
        assert_eq!(tree.link_folders, ["wheels", "./more", "own"].map(PathBuf::from));
        assert_eq!(tree.requirements.len(), 1);
    }

    #[test]
    fn an_absolute_folder_below_the_app_is_the_apps() {
        let dir = app(&[]);
        let text = format!("-f {}/wheels\n-f /elsewhere\nsix\n", dir.path().display());
        fs::write(dir.path().join("requirements.txt"), text).unwrap();
        let tree = read_requirements(dir.path(), Path::new("requirements.txt")).unwrap();
        assert_eq!(tree.local_paths, [PathBuf::from("wheels")]);
        assert_eq!(tree.link_folders, [dir.path().join("wheels"), "/elsewhere".into()]);
        assert!(!tree.is_whole());
    }

    #[test]
    fn options_that_uv_passes_over_become_its_arguments() {
        let dir = app(&[
            ("requirements.txt", b"--pre\n--trusted-host h:1\n--prefer-binary\n--no-index\nsix\n-r b.txt\n"),
            ("b.txt", b"--require-hashes\n--trusted-host=i\n--extra-index-url=https://e/simple\n"),
        ]);
        let options = read_requirements(dir.path(), Path::new("requirements.txt")).unwrap().options;
        assert!(options.prefer_binary && options.extra_indexes == 1);
        let wanted = "--prerelease allow --require-hashes --allow-insecure-host h:1 --allow-insecure-host i";
        assert_eq!(options.arguments().join(std::ffi::OsStr::new(" ")), wanted);
    }

    #[test]
    fn files_that_include_each_other_are_refused_and_one_that_two_include_is_read_once() {
        let dir = app(&[("requirements.txt", b"x\n-r b.txt\n"), ("b.txt", b"y\n# more\n-c ./requirements.txt\n")]);
        let error = read_requirements(dir.path(), Path::new("requirements.txt")).unwrap_err();
        assert_eq!(error, RequirementsError::Circular { path: "requirements.txt".into(), from: ("b.txt".into(), 3) });
        let dir = app(&[("requirements.txt", b"-r b.txt\n-r c.txt\n"), ("b.txt", b"-r c.txt\n"), ("c.txt", b"y\n")]);
        let tree = read_requirements(dir.path(), Path::new("requirements.txt")).unwrap();
        assert_eq!((tree.files.len(), tree.requirements.len()), (3, 1));
    }

    #[test]
    fn utf_16_is_read_and_known_to_be_not_plain() {
        let bytes: Vec<u8> =
            [0xFF, 0xFE].into_iter().chain("flask\r\n".encode_utf16().flat_map(u16::to_le_bytes)).collect();
        let dir = app(&[("requirements.txt", &bytes)]);
        let tree = read_requirements(dir.path(), Path::new("requirements.txt")).unwrap();
        assert!(!tree.files[0].plain);
        assert_eq!(tree.requirements[0].name.as_deref(), Some("flask"));
    }
}
