//! What was really chosen, as lines that an installer can take again: `name==version --hash=sha256:…`. Kept in the layer's metadata, and
//! for a day in the machine's cache, so that the next image with the same requirements resolves nothing.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fs_err as fs;
use serde::Deserialize;

use super::distributions::Distribution;
use super::export::decoded;
use super::uv::{Uv, UvError};
use super::wheels::{is_for, is_wheel};
use crate::keep::{self, sha256_of};
use crate::pip::requirements::normalize;
use crate::sbom::read_start;

/// How long a resolution is believed by other images. The image's own environment is kept until its requirements change.
const BELIEVED: Duration = Duration::from_hours(24);

/// WHEEL is a few lines; a stranger's is not read further.
const MAX_WHEEL_BYTES: u64 = 64 << 10;

/// A file's name is no longer.
const MAX_NAME_BYTES: usize = 255;

/// How often uv is asked when it cannot tell of all at once.
const MAX_QUESTIONS: usize = 40;

/// Stands before a hash.
const HASH: &str = " --hash=sha256:";
/// Stands between a hash and the name of the source archive that it is of, which was built here.
const BUILT_FROM: &str = "  # built from ";

/// Archives of packages by name: their files' names and SHA-256.
pub(super) type Archives = BTreeMap<String, Vec<(String, String)>>;

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
    sdist: Option<PyLockFile>,
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
    /// The name of the file and its SHA-256. A file of a folder is looked at: what lay there under this name before is not it.
    fn named_hash(mut self) -> Option<(String, String)> {
        let place = self.name.or(self.url).or(self.path)?;
        let name = decoded(place.rsplit('/').next().unwrap_or_default());
        let hash = match place.strip_prefix("file://") {
            Some(path) => hash_of_file(Path::new(&decoded(path)))?,
            None => self.hashes.remove("sha256")?,
        };
        let is_hash = !hash.is_empty() && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
        (is_hash && name.len() <= MAX_NAME_BYTES && name.bytes().all(|byte| byte.is_ascii_graphic()))
            .then_some((name, hash))
    }
}

/// A page of an index may name anything.
fn hash_of_file(path: &Path) -> Option<String> {
    if path.is_file() { sha256_of(path).ok() } else { None }
}

/// What is looked for.
pub(super) struct Sought<'a> {
    /// What may come from any index.
    pub(super) free: Vec<&'a Distribution>,
    /// The file of those requirements that come from one index alone.
    pub(super) bound: Option<PathBuf>,
    /// The archives that a lock names. uv is not asked when they are of all packages.
    pub(super) known: &'a Archives,
    /// What is known of distributions that were there before.
    pub(super) kept: Lock,
    /// The Python for which something may have been built here: then only the tags of what is installed tell of which wheel it came, if of any.
    pub(super) built_for: Option<&'a String>,
}

/// How uv is asked.
pub(super) struct Question<'a> {
    pub(super) uv: &'a Uv,
    pub(super) python: &'a Path,
    pub(super) app_dir: &'a Path,
    pub(super) temporary: &'a Path,
    /// Formats, and the indexes of the project.
    pub(super) arguments: Vec<OsString>,
    /// Lines of the requirements about where packages are looked for.
    pub(super) places: String,
}

impl Question<'_> {
    /// The archives of pinned packages, from uv's cache, without network. uv tells of all or of none: then it is asked for less at once, so that
    /// one that it cannot tell of costs the others nothing. `left` is how often it may still be asked.
    fn ask(&self, pins: &[String], bound: Option<&Path>, left: &mut usize) -> Result<Archives, UvError> {
        if *left == 0 || (pins.is_empty() && bound.is_none()) {
            return Ok(Archives::new());
        }
        *left -= 1;
        if let Some(archives) = self.told(pins, bound, *left)? {
            return Ok(archives);
        }
        let parts = match (pins.len(), bound) {
            (0 | 1, None) | (0, Some(_)) => return Ok(Archives::new()),
            (_, Some(_)) => [(&[] as &[String], bound), (pins, None)],
            (count, None) => [(&pins[..count / 2], None), (&pins[count / 2..], None)],
        };
        let mut archives = Archives::new();
        for (pins, bound) in parts {
            archives.extend(self.ask(pins, bound, left)?);
        }
        Ok(archives)
    }

    /// What uv says; none where it refuses.
    fn told(&self, pins: &[String], bound: Option<&Path>, number: usize) -> Result<Option<Archives>, UvError> {
        let io = |source| UvError::Io { action: "writing the lock", source };
        let pins_path = self.temporary.join("pins.txt");
        let lock_path = self.temporary.join(format!("pylock.{number}.toml"));
        fs::write(&pins_path, format!("{}{}\n", self.places, pins.join("\n"))).map_err(io)?;
        let fixed = ["pip", "compile", "--quiet", "--offline", "--no-deps", "--no-header", "--format", "pylock.toml"];
        let mut arguments: Vec<OsString> = fixed.iter().map(OsString::from).collect();
        arguments.extend(["--python".into(), self.python.into(), "--output-file".into(), lock_path.clone().into()]);
        arguments.extend(self.arguments.iter().cloned());
        arguments.extend(bound.map(Into::into));
        arguments.push(pins_path.into());
        if !self.uv.run(self.app_dir, arguments)?.ok {
            return Ok(None);
        }
        Ok(Some(archives_of(&fs::read_to_string(&lock_path).map_err(io)?)))
    }
}

/// The lock of what is installed. Hashes come from a lock, from the last build, or from uv's cache; what has none there is locked without.
pub(super) fn lock_installed(
    question: Option<Question<'_>>,
    distributions: &[Distribution],
    sought: &Sought<'_>,
) -> Result<Lock, UvError> {
    let Sought { free, bound, known, kept, built_for } = sought;
    let is_direct = |d: &&Distribution| d.info_dir.join("direct_url.json").exists();
    let is_told = |d: &&Distribution| known.contains_key(&d.name) || kept.hash_of(&d.name).is_some();
    let (direct, registry): (Vec<_>, Vec<_>) = distributions.iter().partition(is_direct);
    let mut archives = (*known).clone();
    if let Some(question) = question.filter(|_| !registry.iter().all(is_told)) {
        let asked = free.iter().filter(|d| !is_direct(d) && !is_told(d));
        let pins: Vec<String> = asked.map(|d| format!("{}=={}", d.name, d.version)).collect();
        let mut left = MAX_QUESTIONS;
        archives.extend(question.ask(&pins, bound.as_deref(), &mut left)?);
    }
    let line = |d: &&Distribution| {
        if let Some(line) = kept.line_of(&d.name) {
            return line.to_owned();
        }
        let pin = format!("{}=={}", d.name, d.version);
        let files = archives.get(&d.name).map(Vec::as_slice).unwrap_or_default();
        let built_for = built_for.map(String::as_str);
        match hash_among(files, &tags_of(d), built_for.is_some()) {
            Some(hash) => format!("{pin}{HASH}{hash}"),
            None => match built_for.and_then(|python| source_among(files, python)) {
                Some((name, hash)) => format!("{pin}{HASH}{hash}{BUILT_FROM}{name}"),
                None => pin,
            },
        }
    };
    let mut lines: Vec<String> = registry.iter().map(line).chain(direct.iter().map(|d| direct_line(d))).collect();
    lines.sort_unstable();
    Ok(Lock { lines })
}

/// The archives that a pylock.toml names for each package, with their SHA-256.
fn archives_of(pylock: &str) -> Archives {
    let Ok(lock) = toml::from_str::<PyLock>(pylock) else { return Archives::new() };
    let locked = lock.packages.into_iter().filter(|package| package.version.is_some());
    let files = |package: PyLockPackage| package.wheels.into_iter().chain(package.sdist);
    locked
        .map(|package| (normalize(&package.name), files(package).filter_map(PyLockFile::named_hash).collect()))
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
fn hash_among<'a>(archives: &'a [(String, String)], tags: &[String], may_be_built: bool) -> Option<&'a str> {
    let wheels: Vec<&(String, String)> = archives.iter().filter(|(name, _)| is_wheel(name)).collect();
    let is_it = |(name, _): &&&(String, String)| tags_of_name(name).is_some_and(|of_name| of_name == tags);
    let mut found = wheels.iter().filter(is_it).map(|(_, hash)| hash.as_str());
    match (found.next(), found.next(), wheels.as_slice()) {
        (Some(hash), None, _) => Some(hash),
        (None, _, [(_, only)]) if !may_be_built => Some(only),
        _ => None,
    }
}

/// The one source archive, where no wheel could have been installed: wheels may be tagged carelessly, so one that could is in doubt.
fn source_among<'a>(archives: &'a [(String, String)], python: &str) -> Option<&'a (String, String)> {
    let mut sources = archives.iter().filter(|(name, _)| !is_wheel(name));
    let only = sources.next().filter(|_| sources.next().is_none());
    only.filter(|_| !archives.iter().any(|(name, _)| is_for(name, python)))
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
    /// Whether it names every wheel by its hash, so that it means the same everywhere and nothing has to be built.
    pub(crate) fn is_complete(&self) -> bool {
        let is_whole = |line: &String| line.contains(HASH) && !line.contains(BUILT_FROM);
        !self.lines.is_empty() && self.lines.iter().all(is_whole)
    }

    fn line_of(&self, name: &str) -> Option<&str> {
        self.lines.iter().find(|line| line.split("==").next() == Some(name)).map(String::as_str)
    }

    /// The hash of the archive that a distribution came of.
    pub(crate) fn hash_of(&self, name: &str) -> Option<&str> {
        let (_, rest) = self.line_of(name)?.split_once(HASH)?;
        rest.split(' ').next()
    }

    /// The source archive that a distribution was built of here.
    pub(crate) fn source_of(&self, name: &str) -> Option<&str> {
        self.line_of(name)?.split_once(BUILT_FROM).map(|(_, name)| name)
    }

    /// What is known of these distributions, as far as it is a hash.
    pub(super) fn of<'a>(&self, distributions: impl Iterator<Item = &'a Distribution>) -> Self {
        let line = |one: &Distribution| {
            let start = format!("{}=={}{HASH}", one.name, one.version);
            self.lines.iter().find(|line| line.starts_with(&start)).cloned()
        };
        Self { lines: distributions.filter_map(line).collect() }
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

    /// A resolution made less than a day ago, or however old.
    pub(crate) fn recall(&self, id: &str, however_old: bool) -> Option<Lock> {
        let path = self.dir.join(id);
        let age = fs::metadata(&path).ok()?.modified().ok()?.elapsed().ok()?;
        let text = fs::read_to_string(&path).ok().filter(|_| however_old || age < BELIEVED)?;
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
        assert_eq!(memory.recall("a", false), None);
        let lock = Lock { lines: vec!["x==1 --hash=sha256:00".into()] };
        memory.remember("a", &lock);
        assert_eq!(memory.recall("a", false), Some(lock.clone()));
        assert_eq!(lock.hash_of("x"), Some("00"));
        memory.forget("a");
        assert_eq!(memory.recall("a", false), None);
        let built = Lock {
            lines: vec!["x==1 --hash=sha256:00".into(), "y==2 --hash=sha256:11  # built from Y-2.tar.gz".into()],
        };
        memory.remember("a", &built);
        assert_eq!(memory.recall("a", false), None, "what has to be built is resolved again");
        assert_eq!((built.hash_of("y"), built.source_of("y")), (Some("11"), Some("Y-2.tar.gz")));
        assert_eq!(built.source_of("x"), None);
    }

    #[test]
    fn hashes_come_from_the_wheel_whose_tags_are_installed() {
        let pylock = "lock-version='1.0'\n[[packages]]\nname='a'\nversion='1'\nwheels=[{url='https://h/a-1-cp313-cp313-manylinux_2_17_x86_64.manylinux2014_x86_64.whl',hashes={sha256='ff'}},{url='https://h/a-1-cp313-cp313-manylinux_2_28_x86_64.whl',hashes={sha256='ee'}}]\n[[packages]]\nname='b'\nversion='1'\nsdist={url='u',hashes={sha256='00'}}\n[[packages]]\nname='c'\nversion='1'\nwheels=[{name='c-1-py2.py3-none-any.whl',url='u',hashes={sha256='cc'}}]\n";
        let archives = archives_of(pylock);
        let of = |name: &str, tags: &[&str], may_be_built: bool| {
            let tags: Vec<String> = tags.iter().map(|tag| (*tag).to_owned()).collect();
            hash_among(&archives[name], &tags, may_be_built).map(str::to_owned)
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

    #[test]
    fn what_was_built_has_its_source_and_what_may_be_a_wheel_has_none() {
        let machine = std::env::consts::ARCH;
        let pylock = format!(
            "lock-version='1.0'\n[[packages]]\nname='My.Pkg'\nversion='1'\nsdist={{url='https://h/My.Pkg-1.tar.gz',hashes={{sha256='aa'}}}}\n[[packages]]\nname='other'\nversion='1'\nsdist={{url='https://h/other-1.tar.gz',hashes={{sha256='bb'}}}}\nwheels=[{{url='https://h/other-1-cp312-cp312-manylinux_2_17_{machine}.whl',hashes={{sha256='cc'}}}}]\n[[packages]]\nname='odd'\nversion='1'\nsdist={{url='https://h/odd%0A-1.tar.gz',hashes={{sha256='bb'}}}}\n"
        );
        let archives = archives_of(&pylock);
        let of = |name: &str, python: &str| source_among(&archives[name], python).map(|(name, _)| name.as_str());
        assert_eq!(of("my-pkg", "3.13.5"), Some("My.Pkg-1.tar.gz"));
        assert_eq!(of("other", "3.13.5"), Some("other-1.tar.gz"));
        assert_eq!(of("other", "3.12.1"), None, "its wheel fits");
        assert_eq!(of("odd", "3.13.5"), None, "that is no name of a file");
    }

    #[test]
    fn a_file_of_a_folder_has_the_hash_that_it_has_now() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a b-1.tar.gz"), "x").unwrap();
        let url = format!("file://{}/a%20b-1.tar.gz", dir.path().display());
        let pylock = format!("[[packages]]\nname='a'\nversion='1'\nsdist={{url='{url}',hashes={{sha256='00'}}}}\n");
        assert!(archives_of(&pylock)["a"].is_empty(), "a blank is in no name");
        fs::rename(dir.path().join("a b-1.tar.gz"), dir.path().join("a-1.tar.gz")).unwrap();
        let archives = archives_of(&pylock.replace("a%20b-1", "a%2d1"));
        assert_eq!(archives["a"][0].1, "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881");
    }

    #[test]
    fn what_is_kept_keeps_its_hash_only_in_its_version() {
        let dir = tempfile::tempdir().unwrap();
        let one = |name: &str, version: &str| Distribution {
            name: name.into(),
            version: version.into(),
            info_dir: dir.path().join(name),
        };
        let previous = Lock {
            lines: vec![
                "a==1 --hash=sha256:aa  # built from a-1.tar.gz".into(),
                "b==1 --hash=sha256:bb".into(),
                "c==1".into(),
            ],
        };
        let all = [one("a", "1"), one("b", "2"), one("c", "1"), one("d", "1")];
        assert_eq!(previous.of(all.iter()).lines, ["a==1 --hash=sha256:aa  # built from a-1.tar.gz"]);
        let none = Archives::new();
        let sought = Sought {
            free: all.iter().collect(),
            bound: None,
            known: &none,
            kept: previous.of(all.iter()),
            built_for: None,
        };
        let lock = lock_installed(None, &all, &sought).unwrap();
        assert_eq!(lock.lines, ["a==1 --hash=sha256:aa  # built from a-1.tar.gz", "b==2", "c==1", "d==1"]);
    }
}
