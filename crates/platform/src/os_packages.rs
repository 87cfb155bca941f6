//! The operating system's packages of an image, as its own package manager keeps them: dpkg's `status` and `status.d`, apk's `installed`.
//!
//! Read from the layers as they lie in the store, never by running anything of the image. Knows no versions: two that are written differently are two.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};

use fs_err as fs;
use hoist_debian::parse_paragraphs;
use hoist_image::{Entry, Kind, Layer, StoreError};
use serde::Serialize;

const DPKG_STATUS: &str = "/var/lib/dpkg/status";
/// Where images without dpkg (distroless ones) have one file for each package, and the checksums of its files beside it.
const DPKG_STATUS_DIR: &str = "/var/lib/dpkg/status.d";
const APK_INSTALLED: &str = "/lib/apk/db/installed";
const APK_INSTALLED_MERGED: &str = "/usr/lib/apk/db/installed";
/// Databases of RPM, which are not read.
const RPM: [&str; 3] = ["/var/lib/rpm/rpmdb.sqlite", "/usr/lib/sysimage/rpm/rpmdb.sqlite", "/var/lib/rpm/Packages"];

/// The longest list of packages that is read; Debian's with everything installed has 60 MB.
const MAX_LIST_BYTES: u64 = 64 << 20;

/// Package, with `:ARCHITECTURE` where it is there for several, and its version.
pub(crate) type Packages = BTreeMap<String, String>;

/// An installed package.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct OsPackage {
    pub(crate) name: String,
    pub(crate) version: String,
    /// As its package manager names it: `amd64`, `all`, `x86_64`; empty where it says nothing.
    pub(crate) architecture: String,
    /// The type of its package URL: `deb` or `apk`.
    pub(crate) kind: &'static str,
}

/// What is known of an image's packages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum OsPackages<T = Packages> {
    /// These are installed.
    Known(T),
    /// They cannot be told; why.
    Unknown(String),
}

/// A package that was changed to another version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChangedPackage {
    /// Its name.
    pub name: String,
    /// The version before.
    pub from: String,
    /// The version after.
    pub to: String,
}

/// A package that came or went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OnePackage {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// What is different between the packages of two images.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct PackageChanges {
    /// In both, in different versions.
    pub changed: Vec<ChangedPackage>,
    /// In the new one alone.
    pub added: Vec<OnePackage>,
    /// In the old one alone.
    pub removed: Vec<OnePackage>,
    /// How many are the same in both.
    pub same: usize,
}

impl PackageChanges {
    pub(crate) fn between(old: &Packages, new: &Packages) -> Self {
        let one = |(name, version): (&String, &String)| OnePackage { name: name.clone(), version: version.clone() };
        let mut changes = Self {
            added: new.iter().filter(|(name, _)| !old.contains_key(*name)).map(one).collect(),
            removed: old.iter().filter(|(name, _)| !new.contains_key(*name)).map(one).collect(),
            ..Self::default()
        };
        for (name, from) in old {
            match new.get(name) {
                Some(to) if to == from => changes.same += 1,
                Some(to) => {
                    changes.changed.push(ChangedPackage { name: name.clone(), from: from.clone(), to: to.clone() });
                }
                None => {}
            }
        }
        changes
    }
}

/// The packages of layers that lie over each other, lowest first, by name.
pub(crate) fn os_packages(layers: &[Layer]) -> Result<OsPackages, StoreError> {
    Ok(match list_os_packages(layers)? {
        OsPackages::Known(found) => OsPackages::Known(named(&found)),
        OsPackages::Unknown(why) => OsPackages::Unknown(why),
    })
}

/// The packages of layers that lie over each other, lowest first.
pub(crate) fn list_os_packages(layers: &[Layer]) -> Result<OsPackages<Vec<OsPackage>>, StoreError> {
    let lists = find_lists(layers)?;
    if lists.values().all(Option::is_none) {
        return Ok(OsPackages::Unknown("it has no list of dpkg or apk".to_owned()));
    }
    if let Some(path) = RPM.iter().find(|path| lists.get(Path::new(path)).is_some_and(Option::is_some)) {
        let why = format!("it keeps them in {path}, a database of RPM, which hoist does not read");
        return Ok(OsPackages::Unknown(why));
    }
    let mut found = Vec::new();
    for (path, file) in &lists {
        let Some(file) = file else { continue };
        let text = match read_bounded(file) {
            Ok(text) => text,
            Err(why) => return Ok(OsPackages::Unknown(format!("{} {why}", path.display()))),
        };
        if path.ends_with("installed") {
            found.extend(apk(&text));
        } else {
            match dpkg(&text) {
                Ok(packages) => found.extend(packages),
                Err(error) => return Ok(OsPackages::Unknown(format!("{}: {error}", path.display()))),
            }
        }
    }
    found.sort();
    Ok(OsPackages::Known(found))
}

/// The files with lists and where they lie: the topmost of each path. None where a layer above removed it.
fn find_lists(layers: &[Layer]) -> Result<BTreeMap<PathBuf, Option<PathBuf>>, StoreError> {
    let mut lists: BTreeMap<PathBuf, Option<PathBuf>> = BTreeMap::new();
    for layer in layers {
        for entry in layer.entries()? {
            let entry = entry?;
            let hides = matches!(entry.kind, Kind::Whiteout | Kind::Opaque);
            if hides {
                let below = lists.iter_mut().filter(|(path, _)| path.starts_with(&entry.path));
                below.for_each(|(_, file)| *file = None);
            } else if is_list(&entry) {
                lists.insert(entry.path.clone(), Some(layer.file_path(&entry)));
            }
        }
    }
    Ok(lists)
}

fn is_list(entry: &Entry) -> bool {
    let path = &entry.path;
    let one = [DPKG_STATUS, APK_INSTALLED, APK_INSTALLED_MERGED].into_iter().chain(RPM);
    let in_dir =
        path.parent() == Some(Path::new(DPKG_STATUS_DIR)) && path.extension().is_none_or(|end| end != "md5sums");
    matches!(entry.kind, Kind::File { .. }) && (in_dir || one.into_iter().any(|list| path == Path::new(list)))
}

/// The text of a file of the store, or why not.
fn read_bounded(path: &Path) -> Result<String, String> {
    let mut bytes = Vec::new();
    let read = fs::File::open(path).and_then(|file| file.take(MAX_LIST_BYTES + 1).read_to_end(&mut bytes));
    read.map_err(|error| format!("cannot be read: {error}"))?;
    if bytes.len() as u64 > MAX_LIST_BYTES {
        return Err(format!("is longer than {} MiB", MAX_LIST_BYTES >> 20));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn dpkg(text: &str) -> Result<Vec<OsPackage>, hoist_debian::ControlError> {
    let installed = |status: Option<&str>| status.is_none_or(|status| status.ends_with(" installed"));
    let field = |paragraph: &hoist_debian::Paragraph, name| paragraph.get(name).unwrap_or_default().to_owned();
    let paragraphs = parse_paragraphs(text)?;
    let those = paragraphs.iter().filter(|one| installed(one.get("Status")) && one.get("Package").is_some());
    let package = |one: &hoist_debian::Paragraph| OsPackage {
        name: field(one, "Package"),
        version: field(one, "Version"),
        architecture: field(one, "Architecture"),
        kind: "deb",
    };
    Ok(those.map(package).collect())
}

fn apk(text: &str) -> Vec<OsPackage> {
    let package = |block: &str| {
        let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
        Some(OsPackage {
            name: field("P:")?,
            version: field("V:").unwrap_or_default(),
            architecture: field("A:").unwrap_or_default(),
            kind: "apk",
        })
    };
    text.split("\n\n").filter_map(package).collect()
}

/// By name; those that are there for several architectures by both.
fn named(found: &[OsPackage]) -> Packages {
    let mut seen = BTreeSet::new();
    let twice: BTreeSet<String> =
        found.iter().map(|one| &one.name).filter(|name| !seen.insert(*name)).cloned().collect();
    let name = |one: &OsPackage| {
        if twice.contains(&one.name) { format!("{}:{}", one.name, one.architecture) } else { one.name.clone() }
    };
    found.iter().map(|one| (name(one), one.version.clone())).collect()
}

#[cfg(test)]
mod tests {
    use hoist_image::{Attributes, Store};

    use super::*;

    fn layer(store: &Store, files: &[(&str, &str)], gone: &[&str]) -> Layer {
        let mut builder = store.layer_builder().unwrap();
        for (path, text) in files {
            builder.file(path, Attributes::root(0o644), &mut text.as_bytes(), text.len() as u64).unwrap();
        }
        for path in gone {
            builder.whiteout(path).unwrap();
        }
        builder.finish().unwrap()
    }

    const STATUS: &str = "Package: libc6\nStatus: install ok installed\nArchitecture: amd64\nVersion: 2.41-12\n\n\
        Package: libc6\nStatus: install ok installed\nArchitecture: i386\nVersion: 2.41-12\n\n\
        Package: gone\nStatus: deinstall ok config-files\nArchitecture: all\nVersion: 1\n";

    #[test]
    fn packages_are_those_of_the_topmost_lists() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let low = layer(&store, &[(DPKG_STATUS, "Package: old\nVersion: 1\n")], &[]);
        let top = layer(
            &store,
            &[
                (DPKG_STATUS, STATUS),
                ("/var/lib/dpkg/status.d/tz", "Package: tzdata\nVersion: 2026b\n"),
                ("/var/lib/dpkg/status.d/tz.md5sums", "no control data"),
            ],
            &[],
        );
        let known = |pairs: &[(&str, &str)]| {
            OsPackages::Known(pairs.iter().map(|(name, version)| ((*name).to_owned(), (*version).to_owned())).collect())
        };
        let expected = known(&[("libc6:amd64", "2.41-12"), ("libc6:i386", "2.41-12"), ("tzdata", "2026b")]);
        assert_eq!(os_packages(&[low.clone(), top]).unwrap(), expected);
        let without = layer(&store, &[], &["/var/lib/dpkg"]);
        let none = OsPackages::Unknown("it has no list of dpkg or apk".into());
        assert_eq!(os_packages(&[low, without]).unwrap(), none);
        let alpine = layer(&store, &[(APK_INSTALLED, "C:Q1\nP:musl\nV:1.2.5-r0\nA:x86_64\n\nP:zlib\nV:1.3\n")], &[]);
        assert_eq!(os_packages(&[alpine]).unwrap(), known(&[("musl", "1.2.5-r0"), ("zlib", "1.3")]));
    }

    #[test]
    fn what_cannot_be_told_says_why() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let why = |files: &[(&str, &str)]| match os_packages(&[layer(&store, files, &[])]).unwrap() {
            OsPackages::Unknown(why) => why,
            OsPackages::Known(packages) => panic!("{packages:?}"),
        };
        assert_eq!(
            why(&[(RPM[0], "x")]),
            "it keeps them in /var/lib/rpm/rpmdb.sqlite, a database of RPM, which hoist does not read"
        );
        assert_eq!(
            why(&[(DPKG_STATUS, "no field")]),
            "/var/lib/dpkg/status: line 1 is no `Name: value` field: it has no colon"
        );
    }

    #[test]
    fn changes_are_told_by_package() {
        let packages = |text: &[(&str, &str)]| -> Packages {
            text.iter().map(|(name, version)| ((*name).to_owned(), (*version).to_owned())).collect()
        };
        let old = packages(&[("a", "1"), ("b", "1"), ("c", "1")]);
        let changes = PackageChanges::between(&old, &packages(&[("a", "1"), ("b", "2"), ("d", "1")]));
        assert_eq!(changes.changed, [ChangedPackage { name: "b".into(), from: "1".into(), to: "2".into() }]);
        assert_eq!(changes.added, [OnePackage { name: "d".into(), version: "1".into() }]);
        assert_eq!((changes.removed[0].name.as_str(), changes.same), ("c", 1));
    }
}
