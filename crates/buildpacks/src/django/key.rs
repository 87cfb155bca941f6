//! The honest cache key of collected files: all that `manage.py` could have read, compared field by field.

use std::io;
use std::path::Path;

use fs_err as fs;
use hoist_debian::{Sha256, hex};
use serde::{Deserialize, Serialize};

use super::project::Project;
use crate::context::{Context, Environment};
use crate::keep::{hash_of_trees, sha256_of};
use crate::layer::missing;

/// Rises when files are collected or kept in another way.
const LAYOUT: u32 = 1;
/// Variables that differ from build to build, or are hoist's own business: `manage.py` is not given them.
const PRIVATE: [&str; 2] = ["HOIST_", "CNB_"];
/// The platform's digest of the staged app.
const APP_VARIABLE: &str = "HOIST_APP_FINGERPRINT";
/// Those that say where a process is, and nothing of the project.
const INCIDENTAL: [&str; 5] = ["PWD", "OLDPWD", "SHLVL", "HOSTNAME", "_"];

/// What files were collected from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Key {
    /// Hash of the files of the app, as they came.
    app: String,
    /// Hash of what is installed.
    packages: String,
    /// The interpreter, as its environment names it.
    interpreter: String,
    /// Names of the variables.
    variables: Vec<String>,
    /// One hash of all their values.
    values: String,
    /// Whether a storage elsewhere is written to.
    forced: bool,
    layout: u32,
}

impl Key {
    pub(super) fn of(context: &Context, project: &Project, forced: bool) -> io::Result<Self> {
        let variables = variables(&context.environment);
        let mut values = Sha256::new();
        for (name, value) in &variables {
            values.update(name);
            values.update([0]);
            values.update(value.as_encoded_bytes());
            values.update([0]);
        }
        Ok(Self {
            app: app(context),
            packages: hash_of_packages(&project.site_packages)?,
            interpreter: context.variable("HOIST_INTERPRETER_IDENTITY").map_or_else(
                || fs::canonicalize(&project.python).map(|path| path.display().to_string()),
                |identity| Ok(identity.to_owned()),
            )?,
            variables: variables.into_keys().collect(),
            values: hex(&values.finalize()),
            forced,
            layout: LAYOUT,
        })
    }

    /// Why files of another key are of no use. Both sides are taken apart, so that a field that nobody looks at does not compile.
    pub(super) fn differences(&self, old: &Self) -> Vec<String> {
        let Self { app, packages, interpreter, variables, values, forced, layout } = self;
        let mut reasons = Vec::new();
        let (new, gone) = (missing(variables, &old.variables), missing(&old.variables, variables));
        for (changed, what) in [
            (*app != old.app, "files of the app changed"),
            (*packages != old.packages, "the installed packages changed"),
            (new.is_empty() && gone.is_empty() && *values != old.values, "the value of a variable changed"),
            (*forced != old.forced, "the wish to collect changed"),
            (*layout != old.layout, "this hoist collects files in another way"),
        ] {
            if changed {
                reasons.push(what.to_owned());
            }
        }
        if *interpreter != old.interpreter {
            reasons.push(format!("the interpreter is {interpreter}, it was {}", old.interpreter));
        }
        for (names, what) in [(new, "is set now"), (gone, "is no longer set")] {
            reasons.extend(names.iter().map(|name| format!("{name} {what}")));
        }
        reasons
    }
}

/// The app, by the digest of who staged it; the platform tells it as long as nothing was written into the app since, and nothing lies over it. Without it
/// all of the app is read.
fn app(context: &Context) -> String {
    match context.variable(APP_VARIABLE) {
        Some(digest) => format!("staged {digest}"),
        None => hash_of_trees(&context.app_dir, [Path::new("")]),
    }
}

/// The variables that `manage.py` gets.
pub(super) fn variables(environment: &Environment) -> Environment {
    let is_private = |name: &str| PRIVATE.iter().any(|start| name.starts_with(start)) || INCIDENTAL.contains(&name);
    environment
        .iter()
        .filter(|(name, _)| !is_private(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

/// Of the lists of files, with their hashes, that distributions have beside them.
fn hash_of_packages(site_packages: &Path) -> io::Result<String> {
    let mut names: Vec<_> = fs::read_dir(site_packages)?
        .flatten()
        .map(|entry| entry.file_name())
        .filter(|name| name.to_string_lossy().ends_with("-info"))
        .collect();
    names.sort_unstable();
    let mut hasher = Sha256::new();
    for name in names {
        hasher.update(name.as_encoded_bytes());
        hasher.update([0]);
        // Conda's packages may have none: their names say version and all.
        hasher.update(sha256_of(&site_packages.join(&name).join("RECORD")).unwrap_or_default());
        hasher.update([0]);
    }
    Ok(hex(&hasher.finalize()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> Key {
        Key {
            app: "a".into(),
            packages: "p".into(),
            interpreter: "3.13.5".into(),
            variables: vec!["LANG".into(), "SECRET_KEY".into()],
            values: "v".into(),
            forced: false,
            layout: 1,
        }
    }

    #[test]
    fn every_reason_is_told_and_no_value_of_a_variable() {
        assert!(key().differences(&key()).is_empty());
        let other = Key {
            app: "b".into(),
            packages: "q".into(),
            interpreter: "3.11.2".into(),
            variables: vec!["DEBUG".into(), "LANG".into()],
            values: "w".into(),
            forced: true,
            layout: 0,
        };
        let wanted = [
            "files of the app changed",
            "the installed packages changed",
            "the wish to collect changed",
            "this hoist collects files in another way",
            "the interpreter is 3.13.5, it was 3.11.2",
            "SECRET_KEY is set now",
            "DEBUG is no longer set",
        ];
        assert_eq!(key().differences(&other), wanted);
        let value = Key { values: "w".into(), ..key() };
        assert_eq!(key().differences(&value), ["the value of a variable changed"]);
    }

    #[test]
    fn the_app_is_told_by_who_staged_it_or_read() {
        let dir = tempfile::tempdir().unwrap();
        let mut context = Context {
            buildpack_dir: "/".into(),
            app_dir: dir.path().to_owned(),
            platform_dir: "/".into(),
            root_dir: "/".into(),
            environment: Environment::new(),
            bindings: crate::Bindings::default(),
        };
        let empty = app(&context);
        fs::write(dir.path().join("manage.py"), "").unwrap();
        let read = app(&context);
        assert_ne!(empty, read);
        context.environment.insert(APP_VARIABLE.to_owned(), "a digest".into());
        assert_eq!(app(&context), "staged a digest");
        assert!(!variables(&context.environment).contains_key(APP_VARIABLE), "code of the app does not see it");
    }
}
