//! The honest cache key of the environment: all that decides what lies in it, compared field by field.

use std::path::{Path, PathBuf};

use hoist_debian::{Sha256, hex};
use serde::{Deserialize, Serialize};

use super::interpreter::Interpreter;
use super::settings::Settings;
use super::uv::UV_VERSION;
use super::wanted::Wanted;
use crate::keep::{hash_of_trees, sha256_of};
use crate::pip::requirements::RequirementsTree;

/// Changed when this buildpack writes the layer in another way.
const LAYOUT: u32 = 1;

/// What an environment was made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EnvironmentKey {
    /// Hash of what is wanted.
    pub(crate) requirements: String,
    /// Hash of the app's own folders that are required by path; empty when there are none.
    pub(crate) local: String,
    /// The interpreter's identity.
    pub(crate) interpreter: String,
    /// The installer and its version.
    pub(crate) installer: String,
    /// Settings that change what is chosen.
    pub(crate) settings: String,
    /// Hash of the files that settings name (constraints); empty when there are none.
    pub(crate) named_files: String,
    /// The packages of Debian that there were besides the base's; empty without any. What was built on this machine may hold parts of them.
    #[serde(default)]
    pub(crate) system: String,
    /// The layer's path: scripts and bytecode hold it.
    pub(crate) place: String,
    /// How this buildpack writes the layer.
    pub(crate) layout: u32,
}

/// What is to be done with a restored environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing changed.
    Keep,
    /// It can be brought up to date; why.
    Update(Vec<String>),
    /// It must be made anew; why.
    Remake(Vec<String>),
}

impl EnvironmentKey {
    pub(crate) fn new(
        wanted: &Wanted,
        app_dir: &Path,
        interpreter: &Interpreter,
        settings: &Settings,
        system: Option<&str>,
        place: &Path,
    ) -> Self {
        Self {
            requirements: wanted.hash(),
            local: local_hash(&local_paths(wanted.tree(), settings, app_dir), app_dir),
            interpreter: interpreter.identity.clone(),
            installer: format!("uv {UV_VERSION}"),
            settings: settings.fingerprint(),
            named_files: named_files_hash(&settings.files(), app_dir),
            system: system.unwrap_or_default().to_owned(),
            place: place.display().to_string(),
            layout: LAYOUT,
        }
    }

    /// Compares with the key of a restored environment; `wanted` are the words for what changed most often, `built` says whether something of
    /// the old one was built from source. Both are taken apart, so that a field that nobody compares does not compile.
    pub(crate) fn verdict(&self, old: &Self, wanted: &str, built: bool) -> Verdict {
        let Self { requirements, local, interpreter, installer, settings, named_files, system, place, layout } = self;
        let mut remake = Vec::new();
        let mut update = Vec::new();
        if *interpreter != old.interpreter {
            remake.push(format!("the interpreter is {interpreter}, it was {}", old.interpreter));
        }
        if *installer != old.installer {
            remake.push(format!("the installer is {installer}, it was {}", old.installer));
        }
        if *settings != old.settings {
            remake.push("the index settings changed".to_owned());
        }
        if built && *system != old.system {
            remake.push("packages of Debian changed, and something was built against those that there were".to_owned());
        }
        if *place != old.place {
            remake.push(format!("the layer is at {place}, it was at {}", old.place));
        }
        if *layout != old.layout {
            remake.push("this hoist writes environments in another way".to_owned());
        }
        if *named_files != old.named_files {
            update.push("a file of constraints changed".to_owned());
        }
        if *requirements != old.requirements {
            update.push(wanted.to_owned());
        }
        if *local != old.local {
            update.push("a folder of the app that is required by path changed".to_owned());
        }
        match (remake.is_empty(), update.is_empty()) {
            (true, true) => Verdict::Keep,
            (true, false) => Verdict::Update(update),
            (false, _) => {
                remake.append(&mut update);
                Verdict::Remake(remake)
            }
        }
    }

    /// A name for what would be chosen from these requirements anywhere on this machine.
    pub(crate) fn resolution_id(&self) -> String {
        let parts = [&self.requirements, &self.interpreter, &self.installer, &self.settings, &self.named_files];
        let mut hasher = Sha256::new();
        hasher.update(std::env::consts::ARCH);
        for part in parts {
            hasher.update([0]);
            hasher.update(part);
        }
        hex(&hasher.finalize())
    }
}

fn named_files_hash(files: &[PathBuf], app_dir: &Path) -> String {
    if files.is_empty() {
        return String::new();
    }
    let mut hasher = Sha256::new();
    for file in files {
        // A file that is not there is the installer's to complain of.
        hasher.update(sha256_of(&app_dir.join(file)).unwrap_or_default());
        hasher.update([0]);
    }
    hex(&hasher.finalize())
}

/// The digest of all that requirements take from the app itself, and of the settings that can change what is installed.
pub(crate) fn surroundings(tree: &RequirementsTree, settings: &Settings, app_dir: &Path) -> String {
    let mut hasher = Sha256::new();
    for file in &tree.files {
        hasher.update(file.path.to_string_lossy().as_bytes());
        hasher.update([0]);
        hasher.update(file.text.as_bytes());
        hasher.update([0]);
    }
    hasher.update(local_hash(&local_paths(tree, settings, app_dir), app_dir));
    hasher.update(settings.fingerprint());
    hasher.update(named_files_hash(&settings.files(), app_dir));
    hex(&hasher.finalize())
}

/// What of the app is required by path or looked into for packages.
fn local_paths(tree: &RequirementsTree, settings: &Settings, app_dir: &Path) -> Vec<PathBuf> {
    let of_settings = settings.link_folders().into_iter();
    let inside = of_settings.filter_map(|folder| Some(app_dir.join(folder).strip_prefix(app_dir).ok()?.to_owned()));
    tree.local_paths.iter().cloned().chain(inside).collect()
}

fn local_hash(local_paths: &[PathBuf], app_dir: &Path) -> String {
    if local_paths.is_empty() {
        return String::new();
    }
    hash_of_trees(app_dir, local_paths.iter().map(PathBuf::as_path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> EnvironmentKey {
        EnvironmentKey {
            requirements: "r".into(),
            local: String::new(),
            interpreter: "3.13.5".into(),
            installer: "uv 1".into(),
            settings: String::new(),
            named_files: String::new(),
            system: String::new(),
            place: "/layers/hoist_pip/env".into(),
            layout: 1,
        }
    }

    #[test]
    fn a_folder_of_the_app_that_settings_name_counts() {
        let dir = tempfile::tempdir().unwrap();
        fs_err::create_dir(dir.path().join("wheels")).unwrap();
        let mut settings = Settings::default();
        let hash = |settings: &Settings| {
            local_hash(&local_paths(&RequirementsTree::default(), settings, dir.path()), dir.path())
        };
        assert_eq!(hash(&settings), "");
        settings.uv.insert("UV_FIND_LINKS".into(), "wheels,/elsewhere,https://h/x".into());
        let empty = hash(&settings);
        fs_err::write(dir.path().join("wheels/a-1-py3-none-any.whl"), "a").unwrap();
        let one = hash(&settings);
        fs_err::write(dir.path().join("wheels/a-1-py3-none-any.whl"), "b").unwrap();
        let other = hash(&settings);
        assert!(empty != one && one != other && !empty.is_empty());
    }

    #[test]
    fn changed_requirements_update_and_anything_else_remakes() {
        assert_eq!(key().verdict(&key(), "the requirements changed", true), Verdict::Keep);
        let changed = EnvironmentKey { requirements: "other".into(), ..key() };
        assert_eq!(
            changed.verdict(&key(), "the requirements changed", false),
            Verdict::Update(vec!["the requirements changed".into()])
        );
        let limited = EnvironmentKey { named_files: "other".into(), ..key() };
        assert_eq!(
            limited.verdict(&key(), "the requirements changed", false),
            Verdict::Update(vec!["a file of constraints changed".into()])
        );
        let moved = EnvironmentKey { interpreter: "3.11.2".into(), requirements: "other".into(), ..key() };
        assert_eq!(
            moved.verdict(&key(), "the requirements changed", false),
            Verdict::Remake(vec!["the interpreter is 3.11.2, it was 3.13.5".into(), "the requirements changed".into()])
        );
    }

    #[test]
    fn packages_of_debian_count_where_something_was_built() {
        let other = EnvironmentKey { system: "libpq-dev".into(), ..key() };
        assert_eq!(other.verdict(&key(), "", false), Verdict::Keep);
        let reason = "packages of Debian changed, and something was built against those that there were";
        assert_eq!(other.verdict(&key(), "", true), Verdict::Remake(vec![reason.into()]));
    }
}
