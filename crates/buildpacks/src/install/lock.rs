//! What was really chosen, as lines that an installer can take again: `name==version --hash=sha256:…`. Kept in the layer's metadata, and
//! for a day in the machine's cache, so that the next image with the same requirements resolves nothing.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fs_err as fs;
use serde::Deserialize;

use super::distributions::Distribution;
use super::uv::{Uv, UvError};
use crate::keep;

/// How long a resolution is believed by other images. The image's own environment is kept until its requirements change.
const BELIEVED: Duration = Duration::from_hours(24);

/// A lock: lines sorted by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Lock {
    pub(crate) lines: Vec<String>,
}

#[derive(Deserialize)]
struct PyLock {
    #[serde(default)]
    packages: Vec<PyLockPackage>,
}

#[derive(Deserialize)]
struct PyLockPackage {
    name: String,
    version: Option<String>,
    #[serde(default)]
    wheels: Vec<PyLockFile>,
}

#[derive(Deserialize)]
struct PyLockFile {
    #[serde(default)]
    hashes: toml::Table,
}

/// The lock of what is installed. Hashes come from uv's cache, without network; what has none there is locked without. `places` are the indexes of
/// the project, and the file of those requirements that are not `free` to come from any of them.
pub(crate) fn lock_installed(
    uv: Option<&Uv>,
    python: &Path,
    distributions: &[Distribution],
    free: &[&Distribution],
    places: Vec<OsString>,
    temporary: &Path,
) -> Result<Lock, UvError> {
    let io = |source| UvError::Io { action: "writing the lock", source };
    let is_direct = |d: &&Distribution| d.info_dir.join("direct_url.json").exists();
    let (direct, registry): (Vec<_>, Vec<_>) = distributions.iter().partition(is_direct);
    let pinned = free.iter().filter(|d| !is_direct(d)).map(|d| format!("{}=={}", d.name, d.version));
    let pins = pinned.collect::<Vec<_>>().join("\n");
    let pins_path = temporary.join("pins.txt");
    let lock_path = temporary.join("pylock.toml");
    fs::write(&pins_path, &pins).map_err(io)?;
    let mut hashes = toml::Table::new();
    if let Some(uv) = uv {
        let fixed = [
            "pip",
            "compile",
            "--quiet",
            "--offline",
            "--no-deps",
            "--no-header",
            "--format",
            "pylock.toml",
            "--no-build",
            "--python",
        ];
        let mut arguments: Vec<OsString> = fixed.iter().map(OsString::from).collect();
        arguments.extend([python.into(), "--output-file".into(), lock_path.clone().into()]);
        arguments.extend(places);
        arguments.push(pins_path.into());
        if uv.run(temporary, arguments)?.ok {
            hashes = wheel_hashes(&fs::read_to_string(&lock_path).map_err(io)?);
        }
    }
    let mut lines: Vec<String> = registry
        .iter()
        .map(|d| match hashes.get(&d.name).and_then(toml::Value::as_str) {
            Some(hash) => format!("{}=={} --hash=sha256:{hash}", d.name, d.version),
            None => format!("{}=={}", d.name, d.version),
        })
        .chain(direct.iter().map(|d| direct_line(d)))
        .collect();
    lines.sort_unstable();
    Ok(Lock { lines })
}

/// Name to SHA-256 of the one wheel that a pylock.toml for this machine names.
fn wheel_hashes(pylock: &str) -> toml::Table {
    let Ok(lock) = toml::from_str::<PyLock>(pylock) else { return toml::Table::new() };
    lock.packages
        .into_iter()
        .filter(|package| package.version.is_some() && package.wheels.len() == 1)
        .filter_map(|package| Some((package.name, package.wheels.into_iter().next()?.hashes.remove("sha256")?)))
        .collect()
}

fn direct_line(distribution: &Distribution) -> String {
    let text = fs::read_to_string(distribution.info_dir.join("direct_url.json")).unwrap_or_default();
    let document: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    let url = super::settings::mask_credentials(document["url"].as_str().unwrap_or("?"));
    match document["vcs_info"]["commit_id"].as_str() {
        Some(commit) => format!("{} @ git+{url}@{commit}", distribution.name),
        None => format!("{} @ {url}", distribution.name),
    }
}

impl Lock {
    /// Whether it names every file by its hash, so that it means the same everywhere.
    pub(crate) fn is_complete(&self) -> bool {
        !self.lines.is_empty() && self.lines.iter().all(|line| line.contains(" --hash=sha256:"))
    }

    /// The hash of a distribution's wheel.
    pub(crate) fn hash_of(&self, name: &str) -> Option<&str> {
        let line = self.lines.iter().find(|line| line.split("==").next() == Some(name))?;
        line.split_once(" --hash=sha256:").map(|(_, hash)| hash)
    }

    pub(crate) fn text(&self) -> String {
        let mut text = self.lines.join("\n");
        text.push('\n');
        text
    }
}

/// The machine's memory of resolutions.
#[derive(Debug, Clone)]
pub(crate) struct Resolutions {
    dir: PathBuf,
}

impl Resolutions {
    pub(crate) fn new(cache_dir: &Path) -> Self {
        Self { dir: cache_dir.join("resolutions") }
    }

    /// A resolution made less than a day ago.
    pub(crate) fn recall(&self, id: &str) -> Option<Lock> {
        let path = self.dir.join(id);
        let age = fs::metadata(&path).ok()?.modified().ok()?.elapsed().ok()?;
        let text = fs::read_to_string(&path).ok().filter(|_| age < BELIEVED)?;
        let lock = Lock { lines: text.lines().map(str::to_owned).collect() };
        lock.is_complete().then_some(lock)
    }

    /// Keeps a resolution; that it cannot be kept is no failure.
    pub(crate) fn remember(&self, id: &str, lock: &Lock) {
        if lock.is_complete() {
            let _ = keep::put(&self.dir.join(id), lock.text().as_bytes());
        }
    }

    /// Forgets a resolution that turned out to be of no use.
    pub(crate) fn forget(&self, id: &str) {
        let _ = fs::remove_file(self.dir.join(id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_resolutions_with_every_hash_are_remembered() {
        let dir = tempfile::tempdir().unwrap();
        let memory = Resolutions::new(dir.path());
        memory.remember("a", &Lock { lines: vec!["x==1".into()] });
        assert_eq!(memory.recall("a"), None);
        let lock = Lock { lines: vec!["x==1 --hash=sha256:00".into()] };
        memory.remember("a", &lock);
        assert_eq!(memory.recall("a"), Some(lock.clone()));
        assert_eq!(lock.hash_of("x"), Some("00"));
        memory.forget("a");
        assert_eq!(memory.recall("a"), None);
    }

    #[test]
    fn hashes_come_from_the_chosen_wheel() {
        let pylock = "lock-version='1.0'\n[[packages]]\nname='a'\nversion='1'\nwheels=[{url='u',hashes={sha256='ff'}}]\n[[packages]]\nname='b'\nversion='1'\nsdist={url='u',hashes={sha256='00'}}\n";
        let hashes = wheel_hashes(pylock);
        assert_eq!(hashes.get("a").and_then(toml::Value::as_str), Some("ff"));
        assert!(!hashes.contains_key("b"));
    }
}
