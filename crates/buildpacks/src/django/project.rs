//! Where a Django project lies in an app, and whether Django is installed. Looks at names alone, because it is asked of every app.

use std::path::{Path, PathBuf};

use fs_err as fs;

use crate::context::Context;

/// Names the `manage.py` of an app that has several.
pub(super) const VARIABLE: &str = "BP_DJANGO_MANAGE";
const MANAGE: &str = "manage.py";
/// Folders with other people's code, or none that is served.
const SKIPPED: &[&str] =
    &["node_modules", "venv", "env", "site-packages", "vendor", "tests", "test", "docs", "examples", "static"];
/// More folders than any root of a project has.
const MAX_FOLDERS: usize = 200;

/// What looking for `manage.py` found, relative to the app.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    None,
    One(String),
    Several(Vec<String>),
}

/// Looks for `manage.py`: what the variable names, else at the root, else in its folders and in those of `src`.
pub(super) fn find(context: &Context) -> Found {
    let is_there = |path: &str| context.app_file(path).is_some();
    if let Some(named) = context.variable(VARIABLE) {
        return if is_there(named) { Found::One(named.to_owned()) } else { Found::None };
    }
    if is_there(MANAGE) {
        return Found::One(MANAGE.to_owned());
    }
    let mut found: Vec<String> = Vec::new();
    for parent in ["", "src"] {
        for folder in folders(&context.app_dir.join(parent)) {
            let path = Path::new(parent).join(folder).join(MANAGE).display().to_string();
            if is_there(&path) {
                found.push(path);
            }
        }
    }
    match found.len() {
        0 => Found::None,
        1 => Found::One(found.remove(0)),
        _ => Found::Several(found),
    }
}

fn folders(dir: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let names = entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let mut names: Vec<String> = names
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| !name.starts_with('.') && !SKIPPED.contains(&name.as_str()))
        .take(MAX_FOLDERS)
        .collect();
    names.sort_unstable();
    names
}

/// A project whose Django is installed.
#[derive(Debug)]
pub(super) struct Project {
    /// Relative to the app.
    pub(super) manage: String,
    pub(super) python: PathBuf,
    /// Where its packages lie.
    pub(super) site_packages: PathBuf,
}

impl Project {
    /// With the first Python on `PATH`, where that has Django.
    pub(super) fn with(context: &Context, manage: String) -> Option<Self> {
        let path = context.environment.get("PATH")?;
        let python = std::env::split_paths(path).map(|dir| dir.join("python")).find(|python| python.is_file())?;
        let lib = python.parent()?.parent()?.join("lib");
        let versions = fs::read_dir(lib).ok()?.flatten().map(|entry| entry.path().join("site-packages"));
        let site_packages = versions.into_iter().find(|dir| dir.join("django/__init__.py").is_file())?;
        Some(Self { manage, python, site_packages })
    }

    /// The command as a person would type it.
    pub(super) fn command(&self) -> String {
        format!("python {} collectstatic --noinput", self.manage)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(files: &[&str], named: Option<&str>) -> Found {
        let dir = tempfile::tempdir().unwrap();
        for file in files {
            let path = dir.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        find(&Context {
            buildpack_dir: PathBuf::new(),
            app_dir: dir.path().to_owned(),
            platform_dir: PathBuf::new(),
            root_dir: PathBuf::new(),
            environment: named.map(|name| (VARIABLE.to_owned(), name.into())).into_iter().collect(),
            bindings: crate::binding::Bindings::default(),
        })
    }

    #[test]
    fn the_root_goes_before_folders_and_of_several_folders_one_must_be_named() {
        let one = |path: &str| Found::One(path.to_owned());
        assert_eq!(found(&["manage.py", "shop/manage.py"], None), one("manage.py"));
        assert_eq!(found(&["shop/manage.py", "docs/manage.py", ".x/manage.py"], None), one("shop/manage.py"));
        assert_eq!(found(&["src/manage.py"], None), one("src/manage.py"));
        assert_eq!(found(&["src/shop/manage.py"], None), one("src/shop/manage.py"));
        let several = Found::Several(vec!["a/manage.py".to_owned(), "b/manage.py".to_owned()]);
        assert_eq!(found(&["b/manage.py", "a/manage.py"], None), several);
        assert_eq!(found(&["b/manage.py", "a/manage.py"], Some("b/manage.py")), one("b/manage.py"));
        assert_eq!(found(&["manage.py"], Some("b/manage.py")), Found::None);
        assert_eq!(found(&["app.py"], None), Found::None);
    }
}
