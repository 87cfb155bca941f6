//! Who asks for a Python: variables and the files of an app, in order of precedence. `sources` reads each kind of file; which Python follows
//! from all of them is `version`'s.

use std::fmt::Write as _;

use super::sources::{self, Asked};
use super::version::{OriginKind, Request, RequestKind, Supply};
use crate::as_of::AsOf;
use crate::context::Context;
use crate::encoding::decode_text;
use crate::failure::Failure;

/// Larger files ask for nothing, but for lock files.
const MAX_FILE_BYTES: u64 = 4 << 20;
const MAX_LOCK_BYTES: u64 = 64 << 20;

/// Where a Python may come from: `debian` or `standalone`.
const SOURCE_VARIABLE: &str = "HOIST_PYTHON_SOURCE";
/// Where standalone builds are; uv's own variables.
pub(crate) const MIRROR_VARIABLE: &str = "UV_PYTHON_INSTALL_MIRROR";
pub(crate) const LIST_VARIABLE: &str = "UV_PYTHON_DOWNLOADS_JSON_URL";

type Reader = fn(&str) -> Result<Vec<Asked>, sources::Malformed>;

/// Files that ask, in order of precedence.
const FILES: &[(&str, RequestKind, Reader)] = &[
    (".python-version", RequestKind::File, sources::python_version),
    ("runtime.txt", RequestKind::File, sources::runtime_txt),
    (".tool-versions", RequestKind::File, sources::tool_versions),
    ("mise.toml", RequestKind::File, sources::mise_toml),
    (".mise.toml", RequestKind::File, sources::mise_toml),
    ("Pipfile", RequestKind::File, sources::pipfile),
    ("Pipfile.lock", RequestKind::File, sources::pipfile_lock),
    ("environment.yml", RequestKind::File, sources::conda),
    ("environment.yaml", RequestKind::File, sources::conda),
    ("pyproject.toml", RequestKind::Bound, sources::pyproject),
    ("setup.cfg", RequestKind::Bound, sources::setup_cfg),
    ("setup.py", RequestKind::Bound, sources::setup_py),
    ("uv.lock", RequestKind::Bound, sources::uv_lock),
    ("poetry.lock", RequestKind::Bound, sources::poetry_lock),
    ("pdm.lock", RequestKind::Bound, sources::pdm_lock),
    ("pylock.toml", RequestKind::Bound, sources::pylock),
];

/// All requests of a build, in order of precedence: `BP_CPYTHON_VERSION`, `HOIST_PYTHON_VERSION` (from the platform, with
/// `HOIST_PYTHON_REASON`), then the files.
pub(crate) fn requests(context: &Context) -> Result<Vec<Request>, Failure> {
    let mut found = Vec::new();
    let mut push = |source: String, text: String, kind| found.push(Request { source, text, kind });
    if let Some(text) = context.variable("BP_CPYTHON_VERSION") {
        push("BP_CPYTHON_VERSION".into(), text.into(), RequestKind::Variable);
    }
    if let Some(text) = context.variable("HOIST_PYTHON_VERSION") {
        let reason = context.variable("HOIST_PYTHON_REASON").unwrap_or("HOIST_PYTHON_VERSION");
        push(reason.into(), text.into(), RequestKind::Variable);
    }
    for (name, kind, read) in FILES {
        let Some(text) = text_of(context, name)? else { continue };
        let asked = read(&text).map_err(|malformed| explain_malformed(name, &malformed))?;
        for Asked { line, key, text } in asked {
            let mut source = (*name).to_owned();
            // The only line of a file needs no number.
            if let Some(line) = line.filter(|line| *line > 1 || !key.is_empty()) {
                let _ = write!(source, " line {line}");
            }
            if !key.is_empty() {
                let _ = write!(source, " ({key})");
            }
            push(source, text, *kind);
        }
    }
    // Packages of a day know the Pythons of that day.
    if found.is_empty()
        && let Some(as_of) = AsOf::of(context)?
        && let Some(unknown) = as_of.unknown_python()
    {
        let source = format!("{} {}", crate::as_of::VARIABLE, as_of.written());
        found.push(Request { source, text: format!("<{unknown}"), kind: RequestKind::Bound });
    }
    Ok(found)
}

/// What there is to choose from on a base of a suite.
pub(crate) fn supply<'a>(context: &Context, base_suite: &'a str) -> Result<Supply<'a>, Failure> {
    let only = match context.variable(SOURCE_VARIABLE) {
        None => None,
        Some("debian") => Some(OriginKind::Debian),
        Some("standalone") => Some(OriginKind::Standalone),
        Some(other) => {
            return Err(Failure::new(
                "choosing the Python",
                format!("{SOURCE_VARIABLE} is `{other}`"),
                "a Python comes of Debian or as a standalone build",
                format!("set {SOURCE_VARIABLE} to debian or standalone, or leave it out"),
            ));
        }
    };
    let settings = crate::install::settings::settings(context).uv;
    let exact = [MIRROR_VARIABLE, LIST_VARIABLE].iter().any(|name| settings.contains_key(*name));
    Ok(Supply { base_suite, only, exact })
}

/// Files that ask for no Python because of their name, each with the one that would be read.
pub(crate) fn misspelt(context: &Context) -> Vec<String> {
    const READ: &[&str] = &[".python-version", "runtime.txt", ".tool-versions", "mise.toml"];
    const KNOWN: &[(&str, &str)] = &[
        ("python-version", ".python-version"),
        ("python_version", ".python-version"),
        ("python-version.txt", ".python-version"),
        ("python_version.txt", ".python-version"),
        (".python-version.txt", ".python-version"),
        ("python.txt", "runtime.txt"),
        ("runtime.txt.txt", "runtime.txt"),
        ("runtime", "runtime.txt"),
        ("runtime.py", "runtime.txt"),
    ];
    let Ok(entries) = fs_err::read_dir(&context.app_dir) else { return Vec::new() };
    let mut names: Vec<String> = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    let is_read = |name: &str| READ.contains(&name) || FILES.iter().any(|(file, ..)| *file == name);
    let meant = |name: &str| -> Option<&'static str> {
        let listed = KNOWN.iter().find(|(wrong, _)| *wrong == name.to_lowercase()).map(|(_, right)| *right);
        let near = || {
            READ.iter().find(|right| {
                (0..=2).contains(&crate::install::name_distance(&name.to_lowercase(), &right.to_lowercase()))
            })
        };
        listed.or_else(|| near().copied())
    };
    let found = names.iter().filter(|name| name.len() < 40 && !is_read(name));
    // What lies beside the right one is something else.
    let found =
        found.filter_map(|name| Some((name, meant(name)?))).filter(|(_, right)| context.app_file(right).is_none());
    found.map(|(name, right)| format!("{name} is not read: is it meant to be {right}?")).collect()
}

fn text_of(context: &Context, name: &str) -> Result<Option<String>, Failure> {
    let Some(path) = context.app_file(name) else { return Ok(None) };
    let doing = || format!("reading {name}");
    let limit = if name.contains("lock") { MAX_LOCK_BYTES } else { MAX_FILE_BYTES };
    let length = fs_err::metadata(&path).map_err(|error| Failure::io(doing(), &error))?.len();
    if length > limit {
        return Err(Failure::new(
            doing(),
            format!("it has {length} bytes"),
            format!("such a file has at most {limit}"),
            "look whether it is another file",
        ));
    }
    let bytes = fs_err::read(path).map_err(|error| Failure::io(doing(), &error))?;
    let text = decode_text(&bytes).map_err(|error| {
        Failure::new(doing(), error.in_file(name), format!("{name} is a text file"), "save it as UTF-8")
            .of_kind("file-malformed")
    })?;
    Ok(Some(text))
}

fn explain_malformed(name: &str, malformed: &sources::Malformed) -> Failure {
    let place = malformed.line.map_or_else(|| name.to_owned(), |line| format!("{name} line {line}"));
    Failure::new(format!("reading {name}"), format!("{place}: {}", malformed.seen), malformed.why, malformed.fix)
        .of_kind("file-malformed")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(files: &[(&str, &[u8])]) -> (tempfile::TempDir, Context) {
        let dir = tempfile::tempdir().unwrap();
        for (name, bytes) in files {
            fs_err::write(dir.path().join(name), bytes).unwrap();
        }
        let context = Context {
            buildpack_dir: "/".into(),
            app_dir: dir.path().to_owned(),
            platform_dir: "/".into(),
            root_dir: "/".into(),
            environment: crate::Environment::new(),
            bindings: crate::Bindings::default(),
        };
        (dir, context)
    }

    #[test]
    fn all_who_ask_are_heard_in_order_with_their_lines() {
        let (_dir, context) = context(&[
            ("pyproject.toml", b"[project]\nname = 'x'\nrequires-python = '>=3.9'\n"),
            (".python-version", b"\xFF\xFE3\0.\x001\x001\0\r\0\n\0"),
            ("uv.lock", b"version = 1\nrequires-python = \">=3.9\"\n"),
            (".tool-versions", b"nodejs 20\npython 3.11.4\n"),
        ]);
        let found = requests(&context).unwrap();
        let said: Vec<String> =
            found.iter().map(|request| format!("{} says {}", request.source, request.text)).collect();
        assert_eq!(
            said,
            [
                ".python-version says 3.11",
                ".tool-versions line 2 says 3.11.4",
                "pyproject.toml line 3 (requires-python) says >=3.9",
                "uv.lock line 2 (requires-python) says >=3.9",
            ]
        );
    }

    /// Each file with something that asks for a Python, and what is heard.
    const ASKING: &[(&str, &str, &str)] = &[
        (".python-version", "3.11\n", ".python-version says 3.11"),
        ("runtime.txt", "python-3.11.4\n", "runtime.txt says python-3.11.4"),
        (".tool-versions", "python 3.11.4\n", ".tool-versions says 3.11.4"),
        ("mise.toml", "[tools]\npython = '3.11'\n", "mise.toml line 2 (tools.python) says 3.11"),
        (".mise.toml", "[tools]\npython = '3.11'\n", ".mise.toml line 2 (tools.python) says 3.11"),
        ("Pipfile", "[requires]\npython_version = '3.11'\n", "Pipfile line 2 (python_version) says 3.11"),
        (
            "Pipfile.lock",
            "{\"_meta\": {\"requires\": {\"python_full_version\": \"3.11.2\"}}}",
            "Pipfile.lock line 1 (python_full_version) says 3.11.2",
        ),
        ("environment.yml", "dependencies:\n  - python=3.11\n", "environment.yml line 2 says 3.11"),
        (
            "pyproject.toml",
            "[project]\nrequires-python = '>=3.9'\n",
            "pyproject.toml line 2 (requires-python) says >=3.9",
        ),
        ("setup.cfg", "[options]\npython_requires = >=3.9\n", "setup.cfg line 2 (python_requires) says >=3.9"),
        ("setup.py", "setup(python_requires='>=3.9')\n", "setup.py line 1 (python_requires) says >=3.9"),
        ("uv.lock", "requires-python = '>=3.9'\n", "uv.lock line 1 (requires-python) says >=3.9"),
        ("poetry.lock", "[metadata]\npython-versions = '^3.9'\n", "poetry.lock line 2 (python-versions) says ^3.9"),
        (
            "pdm.lock",
            "[[metadata.targets]]\nrequires_python = '>=3.9'\n",
            "pdm.lock line 2 (requires_python) says >=3.9",
        ),
        ("pylock.toml", "requires-python = '>=3.9'\n", "pylock.toml line 1 (requires-python) says >=3.9"),
    ];

    #[test]
    fn every_documented_source_is_heard_in_the_documented_order() {
        let document = include_str!("../../../../docs/python.md");
        let table = document.split_once("## Which Python").unwrap().1.split_once("| 11 |").unwrap().0;
        let row = |name: &str| {
            table.lines().position(|line| line.contains(&format!("`{name}`"))).unwrap_or_else(|| panic!("{name}"))
        };
        let files: Vec<(&str, &[u8])> = ASKING.iter().map(|(name, text, _)| (*name, text.as_bytes())).collect();
        let (_dir, mut all) = context(&files);
        for (name, value) in
            [("BP_CPYTHON_VERSION", "3.12"), ("HOIST_PYTHON_VERSION", "3.10"), ("HOIST_PYTHON_REASON", "planqk.json")]
        {
            all.environment.insert(name.to_owned(), value.into());
        }
        let heard: Vec<String> =
            requests(&all).unwrap().iter().map(|request| format!("{} says {}", request.source, request.text)).collect();
        let said = ["BP_CPYTHON_VERSION says 3.12", "planqk.json says 3.10"].into_iter();
        let said: Vec<&str> = said.chain(ASKING.iter().map(|(_, _, said)| *said)).collect();
        assert_eq!(heard, said);
        let names =
            ["BP_CPYTHON_VERSION", "HOIST_PYTHON_VERSION"].into_iter().chain(ASKING.iter().map(|(name, ..)| *name));
        let rows: Vec<usize> = names.map(row).collect();
        assert!(rows.is_sorted(), "{rows:?}");
        let known = FILES.iter().map(|(name, ..)| *name).filter(|name| *name != "environment.yaml");
        assert_eq!(known.collect::<Vec<_>>(), ASKING.iter().map(|(name, ..)| *name).collect::<Vec<_>>());
        for (name, text, said) in ASKING {
            let (_dir, alone) = context(&[(name, text.as_bytes())]);
            let heard = &requests(&alone).unwrap()[0];
            assert_eq!(format!("{} says {}", heard.source, heard.text), *said);
        }
    }

    #[test]
    fn what_cannot_be_read_is_named_with_its_line() {
        let (_dir, app) = context(&[("pyproject.toml", b"[project]\nname = 'x'\nrequires-python = >=3.9\n")]);
        let error = requests(&app).unwrap_err().to_string();
        assert!(error.contains("pyproject.toml line 3: ") && error.contains("not TOML"), "{error}");
        let (_dir, app) = context(&[(".python-version", b"\xFF\xFF")]);
        assert!(requests(&app).unwrap_err().to_string().contains("save it as UTF-8"));
    }

    #[test]
    fn a_misspelt_file_is_noticed_unless_the_right_one_is_there() {
        let (_dir, app) =
            context(&[("runtimes.txt", b""), (".python_version", b""), ("main.py", b""), ("Pipfile", b"")]);
        assert_eq!(
            misspelt(&app),
            [
                ".python_version is not read: is it meant to be .python-version?",
                "runtimes.txt is not read: is it meant to be runtime.txt?"
            ]
        );
        let (_dir, app) = context(&[("runtimes.txt", b""), ("runtime.txt", b"")]);
        assert!(misspelt(&app).is_empty());
    }
}
