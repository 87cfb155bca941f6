//! Is this a Python app?

use crate::buildpack::{Detection, Provide, Require};
use crate::context::Context;

/// Files at the root that only a Python app has.
const SIGNS: &[&str] = &[
    "requirements.txt",
    "pyproject.toml",
    "setup.py",
    "setup.cfg",
    "Pipfile",
    "Pipfile.lock",
    "poetry.lock",
    "uv.lock",
    "pdm.lock",
    "pylock.toml",
    "environment.yml",
    "environment.yaml",
    ".python-version",
    "manage.py",
];

/// Folders that hold other people's code or none.
const SKIPPED: &[&str] = &["node_modules", "venv", "env", "__pycache__", "site-packages", "vendor"];

const MAX_DEPTH: usize = 5;
const MAX_ENTRIES: usize = 20_000;

pub(super) fn detect(context: &Context) -> Detection {
    let has_sign = SIGNS.iter().any(|name| context.app_file(name).is_some())
        || context.variable("BP_CPYTHON_VERSION").is_some()
        || context.variable("BP_PIP_REQUIREMENT").is_some();
    if has_sign || has_source(context) {
        let python = Require::new("python").with("build", true).with("launch", true);
        return Detection::Pass { provides: vec![Provide::new("python")], requires: vec![python] };
    }
    Detection::Fail { reasons: explain(context) }
}

fn has_source(context: &Context) -> bool {
    walkdir::WalkDir::new(&context.app_dir)
        .max_depth(MAX_DEPTH)
        .into_iter()
        .filter_entry(|entry| {
            let name = entry.file_name().to_string_lossy();
            entry.depth() == 0 || !(name.starts_with('.') || SKIPPED.contains(&name.as_ref()))
        })
        .flatten()
        .take(MAX_ENTRIES)
        .any(|entry| entry.file_type().is_file() && entry.path().extension().is_some_and(|extension| extension == "py"))
}

/// What was looked for, what is there instead, and what may be a slip of the pen.
fn explain(context: &Context) -> Vec<String> {
    let mut names: Vec<String> = fs_err::read_dir(&context.app_dir)
        .map(|entries| entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect())
        .unwrap_or_default();
    names.sort();
    let mut reasons = vec![
        "no Python app: neither a *.py file nor one of requirements.txt, pyproject.toml, Pipfile, environment.yml"
            .to_owned(),
    ];
    let shown: Vec<&str> = names.iter().map(String::as_str).filter(|name| !name.starts_with('.')).take(12).collect();
    reasons.push(match shown.as_slice() {
        [] => "  the app's folder is empty: is the path right (`--path`)?".to_owned(),
        some => {
            format!("  the app's folder has: {}{}", some.join(", "), if names.len() > some.len() { ", …" } else { "" })
        }
    });
    for name in names.iter().filter(|name| name.len() < 40) {
        let near =
            SIGNS.iter().find(|sign| (1..=2).contains(&crate::install::name_distance(&name.to_lowercase(), sign)));
        if let Some(sign) = near {
            reasons.push(format!("  is `{name}` meant to be `{sign}`?"));
        }
    }
    let foreign = [
        ("package.json", "Node.js"),
        ("pom.xml", "Java"),
        ("go.mod", "Go"),
        ("Cargo.toml", "Rust"),
        ("Gemfile", "Ruby"),
        ("composer.json", "PHP"),
    ];
    if let Some((file, language)) = foreign.iter().find(|(file, _)| names.iter().any(|name| name == file)) {
        reasons.push(format!("  {file} is a sign of {language}: hoist's own buildpacks build Python; for {language}, name a builder (`--builder`)"));
    }
    reasons
}
