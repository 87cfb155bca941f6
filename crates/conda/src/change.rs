//! What differs between an environment and a solution, and whether changing the one into the other, package by package, gives the same files as making it
//! anew. It does where each file belongs to one package and Python stays: rattler then takes away and puts there what changed, and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path};

use fs_err as fs;
use rattler_conda_types::{PrefixRecord, RepoDataRecord};

use crate::error::CondaError;

/// Folders in folders: no environment has as many.
const MAX_DEPTH: usize = 128;

/// What has to go and what has to come.
pub(crate) struct Change<'a> {
    pub(crate) gone: Vec<&'a PrefixRecord>,
    pub(crate) new: Vec<RepoDataRecord>,
}

impl<'a> Change<'a> {
    /// None where the environment has to be made anew.
    pub(crate) fn between(old: &'a [PrefixRecord], wanted: &[RepoDataRecord]) -> Option<Self> {
        let hash = |record: &RepoDataRecord| record.package_record.sha256.map(|hash| hash.to_vec());
        let name = |record: &RepoDataRecord| record.package_record.name.as_normalized().to_owned();
        let mut has: BTreeMap<String, (Vec<u8>, &RepoDataRecord)> = BTreeMap::new();
        let mut files = BTreeSet::new();
        for one in old {
            let listed = one.paths_data.paths.iter().map(|path| &path.relative_path);
            if !listed.chain(&one.files).all(|path| path.components().all(|part| matches!(part, Component::Normal(_))))
            {
                return None;
            }
            // rattler would remove what is listed there, wherever it lies.
            if !one.installed_system_menus.is_empty() {
                return None;
            }
            has.insert(name(&one.repodata_record), (hash(&one.repodata_record)?, &one.repodata_record));
            for file in &one.files {
                let is_renamed = file.to_string_lossy().contains("__clobber");
                if is_renamed || !files.insert(file) {
                    return None;
                }
            }
        }
        let mut is_same = BTreeSet::new();
        let mut new = Vec::new();
        for one in wanted {
            let (name, hash) = (name(one), hash(one)?);
            match has.get(&name) {
                // rattler keeps it, and with it what was written down of where it came from and what it needs.
                Some((old_hash, old)) if *old_hash == hash => {
                    if !is_listed_alike(old, one) {
                        return None;
                    }
                    is_same.insert(name);
                }
                _ => new.push(one.clone()),
            }
        }
        let gone = old.iter().filter(|one| !is_same.contains(&name(&one.repodata_record))).collect();
        is_same.contains("python").then_some(Self { gone, new })
    }
}

fn is_listed_alike(old: &RepoDataRecord, new: &RepoDataRecord) -> bool {
    let (about, new_about) = (&old.package_record, &new.package_record);
    let of_place = (&old.url, &old.channel, &old.identifier) == (&new.url, &new.channel, &new.identifier);
    of_place
        && about.depends == new_about.depends
        && about.constrains == new_about.constrains
        && (&about.license, &about.timestamp, about.size) == (&new_about.license, &new_about.timestamp, new_about.size)
}

/// Whether no link in an environment leads out of it. Code of its packages has run since it was made, and where it is changed other builds' cache can be
/// written: through such a link files would be put and removed elsewhere.
pub(crate) fn is_closed(prefix: &Path) -> bool {
    fs::canonicalize(prefix).is_ok_and(|real| real == prefix) && is_closed_below(prefix, prefix, 0)
}

fn is_closed_below(prefix: &Path, dir: &Path, depth: usize) -> bool {
    let Ok(entries) = fs::read_dir(dir) else { return false };
    depth < MAX_DEPTH
        && entries.into_iter().all(|entry| {
            let Ok(entry) = entry else { return false };
            let Ok(kind) = entry.file_type() else { return false };
            if kind.is_symlink() {
                // One that leads nowhere could lead anywhere once something is there.
                return fs::canonicalize(entry.path()).is_ok_and(|real| real.starts_with(prefix));
            }
            if kind.is_dir() { is_closed_below(prefix, &entry.path(), depth + 1) } else { kind.is_file() }
        })
}

/// The name of the source of a file of bytecode: `run.cpython-313.pyc` and `run.cpython-313.opt-1.pyc` are of `run`. A source may have dots in its name.
fn module_of(bytecode: &str) -> Option<&str> {
    let stem = bytecode.strip_suffix(".pyc")?;
    let stem = stem.rsplit_once('.').filter(|(_, last)| last.starts_with("opt-")).map_or(stem, |(stem, _)| stem);
    stem.rsplit_once('.').map(|(module, _)| module)
}

/// Bytecode that was made of sources that go: no package lists it.
pub(crate) fn forget_bytecode(prefix: &Path, gone: &[&PrefixRecord]) -> Result<(), CondaError> {
    let mut by_dir: BTreeMap<&Path, BTreeSet<&str>> = BTreeMap::new();
    for file in gone.iter().flat_map(|record| &record.files) {
        let (Some(dir), Some(name)) = (file.parent(), file.file_name().and_then(|name| name.to_str())) else {
            continue;
        };
        by_dir.entry(dir).or_default().extend(name.strip_suffix(".py"));
    }
    for (dir, modules) in by_dir.iter().filter(|(_, modules)| !modules.is_empty()) {
        let cache = prefix.join(dir).join("__pycache__");
        let Ok(entries) = fs::read_dir(&cache) else { continue };
        for path in entries.flatten().map(|entry| entry.path()) {
            let module = path.file_name().and_then(|name| name.to_str()).and_then(module_of);
            if module.is_some_and(|module| modules.contains(module)) {
                fs::remove_file(&path).map_err(|source| CondaError::Prefix { path, source })?;
            }
        }
        // Not empty: other sources of the folder stay.
        let _ = fs::remove_dir(&cache);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytecode_is_of_the_source_with_its_name() {
        let found =
            ["a.cpython-313.pyc", "a.cpython-313.opt-1.pyc", "run1.0.cpython-311.pyc", "a.py", "a.pyc"].map(module_of);
        assert_eq!(found, [Some("a"), Some("a"), Some("run1.0"), None, None]);
    }

    #[test]
    fn an_environment_with_a_link_out_of_it_is_not_changed() {
        let dir = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(dir.path()).unwrap();
        let prefix = root.join("env");
        fs::create_dir_all(prefix.join("lib/deep")).unwrap();
        fs::write(prefix.join("lib/x.so.1"), "").unwrap();
        let link = |target: &str, name: &str| std::os::unix::fs::symlink(target, prefix.join(name)).unwrap();
        link("x.so.1", "lib/x.so");
        link("../../lib", "lib/deep/up");
        assert!(is_closed(&prefix));
        for target in ["/tmp", "../../../etc", "../nowhere"] {
            link(target, "lib/deep/out");
            assert!(!is_closed(&prefix), "{target}");
            fs::remove_file(prefix.join("lib/deep/out")).unwrap();
        }
        std::os::unix::fs::symlink(&prefix, root.join("other")).unwrap();
        assert!(!is_closed(&root.join("other")));
    }
}
