//! What was really chosen, as lines that an installer can take again: `name==version --hash=sha256:…`. Kept in the layer's metadata, and
//! for a day in the machine's cache, so that the next image with the same requirements resolves nothing.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fs_err as fs;
use serde::Deserialize;

use super::distributions::Distribution;
use super::uv::{Uv, UvError};
use crate::keep;
use crate::sbom::read_start;

/// How long a resolution is believed by other images. The image's own environment is kept until its requirements change.
const BELIEVED: Duration = Duration::from_hours(24);

/// WHEEL is a few lines; a stranger's is not read further.
const MAX_WHEEL_BYTES: u64 = 64 << 10;

/// Wheels of packages by name: their files' names and SHA-256.
pub(super) type WheelFiles = BTreeMap<String, Vec<(String, String)>>;

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
    name: Option<String>,
    url: Option<String>,
    path: Option<String>,
    #[serde(default)]
    hashes: BTreeMap<String, String>,
}

impl PyLockFile {
    /// The name of the file and its SHA-256.
    fn named_hash(mut self) -> Option<(String, String)> {
        let place = self.name.or(self.url).or(self.path)?;
        let name = place.rsplit('/').next().unwrap_or_default().replace("%2B", "+");
        Some((name, self.hashes.remove("sha256")?))
    }
}

/// Where the hashes of what is installed are looked for.
pub(super) struct Sought<'a> {
    /// What may come from any index.
    pub(super) free: Vec<&'a Distribution>,
    /// The indexes of the project as arguments, and the file of those requirements that come from one of them alone.
    pub(super) places: Vec<OsString>,
    /// The wheels that a lock names. uv is not asked when they are of all packages.
    pub(super) known: &'a WheelFiles,
    /// Whether something may have been built here: then only the tags of what is installed tell of which wheel it came, if of any.
    pub(super) may_be_built: bool,
}

/// The lock of what is installed. Hashes come from a lock or from uv's cache, without network; what has none there is locked without.
pub(super) fn lock_installed(
    uv: Option<&Uv>,
    python: &Path,
    distributions: &[Distribution],
    sought: Sought<'_>,
    temporary: &Path,
) -> Result<Lock, UvError> {
    let Sought { free, places, known, may_be_built } = sought;
    let io = |source| UvError::Io { action: "writing the lock", source };
    let is_direct = |d: &&Distribution| d.info_dir.join("direct_url.json").exists();
    let (direct, registry): (Vec<_>, Vec<_>) = distributions.iter().partition(is_direct);
    let pinned = free.iter().filter(|d| !is_direct(d)).map(|d| format!("{}=={}", d.name, d.version));
    let pins = pinned.collect::<Vec<_>>().join("\n");
    let pins_path = temporary.join("pins.txt");
    let lock_path = temporary.join("pylock.toml");
    fs::write(&pins_path, &pins).map_err(io)?;
    let mut wheels = known.clone();
    let is_known = registry.iter().all(|d| known.contains_key(&d.name));
    if let Some(uv) = uv.filter(|_| !is_known) {
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
            wheels.extend(wheels_of(&fs::read_to_string(&lock_path).map_err(io)?));
        }
    }
    let mut lines: Vec<String> = registry
        .iter()
        .map(|d| match wheels.get(&d.name).and_then(|wheels| hash_among(wheels, &tags_of(d), may_be_built)) {
            Some(hash) => format!("{}=={} --hash=sha256:{hash}", d.name, d.version),
            None => format!("{}=={}", d.name, d.version),
        })
        .chain(direct.iter().map(|d| direct_line(d)))
        .collect();
    lines.sort_unstable();
    Ok(Lock { lines })
}

/// The wheels that a pylock.toml names for each package, with their SHA-256.
fn wheels_of(pylock: &str) -> WheelFiles {
    let Ok(lock) = toml::from_str::<PyLock>(pylock) else { return WheelFiles::new() };
    let locked = lock.packages.into_iter().filter(|package| package.version.is_some());
    locked
        .map(|package| (package.name, package.wheels.into_iter().filter_map(PyLockFile::named_hash).collect()))
        .collect()
}

/// The tags of what is installed, as its WHEEL has them (the "binary distribution format" specification), in order.
fn tags_of(distribution: &Distribution) -> Vec<String> {
    let text = read_start(&distribution.info_dir.join("WHEEL"), MAX_WHEEL_BYTES).unwrap_or_default();
    let tags = text.lines().filter_map(|line| line.strip_prefix("Tag:"));
    // Some write several as one.
    let mut tags: Vec<String> = tags.filter_map(|tag| tags_of_name(&format!("{}.whl", tag.trim()))).flatten().collect();
    tags.sort_unstable();
    tags.dedup();
    tags
}

/// The tags that the name of a wheel means: `py2.py3-none-any` is two.
fn tags_of_name(file_name: &str) -> Option<Vec<String>> {
    let mut parts = file_name.strip_suffix(".whl")?.rsplit('-');
    let (platforms, abis, pythons) = (parts.next()?, parts.next()?, parts.next()?);
    let mut tags = Vec::new();
    for python in pythons.split('.') {
        for abi in abis.split('.') {
            tags.extend(platforms.split('.').map(|platform| format!("{python}-{abi}-{platform}")));
        }
    }
    tags.sort_unstable();
    tags.dedup();
    Some(tags)
}

/// The SHA-256 of the wheel with these tags; without such, of the only one there is where nothing can have been built.
fn hash_among<'a>(wheels: &'a [(String, String)], tags: &[String], may_be_built: bool) -> Option<&'a str> {
    let is_it = |(name, _): &&(String, String)| tags_of_name(name).is_some_and(|of_name| of_name == tags);
    let mut found = wheels.iter().filter(is_it).map(|(_, hash)| hash.as_str());
    match (found.next(), found.next(), wheels) {
        (Some(hash), None, _) => Some(hash),
        (None, _, [(_, only)]) if !may_be_built => Some(only),
        _ => None,
    }
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
    fn hashes_come_from_the_wheel_whose_tags_are_installed() {
        let pylock = "lock-version='1.0'\n[[packages]]\nname='a'\nversion='1'\nwheels=[{url='https://h/a-1-cp313-cp313-manylinux_2_17_x86_64.manylinux2014_x86_64.whl',hashes={sha256='ff'}},{url='https://h/a-1-cp313-cp313-manylinux_2_28_x86_64.whl',hashes={sha256='ee'}}]\n[[packages]]\nname='b'\nversion='1'\nsdist={url='u',hashes={sha256='00'}}\n[[packages]]\nname='c'\nversion='1'\nwheels=[{name='c-1-py2.py3-none-any.whl',url='u',hashes={sha256='cc'}}]\n";
        let wheels = wheels_of(pylock);
        let of = |name: &str, tags: &[&str], may_be_built: bool| {
            let tags: Vec<String> = tags.iter().map(|tag| (*tag).to_owned()).collect();
            hash_among(&wheels[name], &tags, may_be_built).map(str::to_owned)
        };
        assert_eq!(of("a", &["cp313-cp313-manylinux_2_28_x86_64"], true).as_deref(), Some("ee"));
        let old = ["cp313-cp313-manylinux2014_x86_64", "cp313-cp313-manylinux_2_17_x86_64"];
        assert_eq!(of("a", &old, true).as_deref(), Some("ff"));
        assert_eq!(of("a", &["cp313-cp313-linux_x86_64"], false), None, "it was built here, or is another one");
        assert_eq!(of("b", &["py3-none-any"], true), None);
        assert_eq!(of("c", &["py2-none-any", "py3-none-any"], true).as_deref(), Some("cc"));
        assert_eq!(of("c", &["py3-none-any"], false).as_deref(), Some("cc"), "wheels may be tagged carelessly");
        assert_eq!(of("c", &["py3-none-any"], true), None);
    }
}
