//! `bundle.json`: what a bundle is, and the digest of everything in it. Written by hoist, and read as a stranger's.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path};

use hoist_base::Base;
use hoist_debian::Source;
use hoist_image::leads_out;
use serde::{Deserialize, Serialize};

/// The version of the format that is written and read.
pub(super) const FORMAT: u32 = 1;
/// The longest document: a million files have about 200 MB.
pub(super) const MAX_BYTES: u64 = 256 << 20;
const MAX_FILES: usize = 1_000_000;
const MAX_IMAGES: usize = 100;
const MAX_PATH: usize = 4096;
/// What the files of a cache may have together.
const MAX_CACHE_BYTES: u64 = 256 << 30;
/// Where buildpacks see the cache: absolute links of uv's lead there.
const CACHE_TARGET: &str = crate::runner::CACHE_TARGET;

/// The document.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Document {
    /// Version of hoist that made it.
    pub(super) hoist: String,
    /// `amd64`.
    pub(super) architecture: String,
    /// The app that it was made for.
    pub(super) app: String,
    /// The id of the image that the app's source made.
    pub(super) image_id: String,
    /// The base; none where a builder of another name brings its images.
    pub(super) base: Option<Base>,
    /// The builder and the run image that were asked for by name.
    pub(super) builder: Option<String>,
    pub(super) run_image: Option<String>,
    /// `id@version` of the buildpacks of that builder that are hoist's own.
    pub(super) own_buildpacks: BTreeSet<String>,
    pub(super) images: Vec<BundledImage>,
    pub(super) trust: Trust,
    pub(super) packages: Vec<BundledPackage>,
    pub(super) files: Vec<CacheFile>,
    pub(super) links: Vec<CacheLink>,
}

/// An image in a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BundledImage {
    /// What it is asked for by.
    pub name: String,
    /// Its id.
    pub id: String,
    /// Bytes of its layers.
    pub bytes: u64,
}

/// A package that the image of the app has.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BundledPackage {
    /// `pypi`, `deb`, `conda`, as in package URLs.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// What the machine said of where packages come from, without who asks.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Trust {
    pub(super) sources: Vec<Source>,
    /// Hexadecimal digits.
    pub(super) keyring: String,
    pub(super) index_settings: BTreeMap<String, String>,
    /// Folders with packages beside the index (`find-links`), as they are called on the machine: what of them is needed is in the cache.
    pub(super) link_dirs: Vec<String>,
    pub(super) conda_files: Vec<String>,
    pub(super) conda_variables: BTreeMap<String, String>,
}

/// A file of the cache.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CacheFile {
    pub(super) path: String,
    /// SHA-256 in hexadecimal digits.
    pub(super) sha256: String,
    pub(super) bytes: u64,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) executable: bool,
}

/// A symbolic link of the cache.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CacheLink {
    pub(super) path: String,
    pub(super) target: String,
}

/// What a bundle holds, for people and programs.
#[derive(Debug, Clone, Serialize)]
pub struct BundleContents {
    /// What it is known by: the digest of the list of all that it holds.
    pub digest: String,
    /// Bytes of the file.
    pub bytes: u64,
    /// Version of hoist that made it.
    pub hoist: String,
    /// `amd64`.
    pub architecture: String,
    /// The app that it was made for.
    pub app: String,
    /// The id of the image that the app's source makes.
    pub image_id: String,
    /// The builder that was asked for; none for hoist's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub builder: Option<String>,
    /// Images.
    pub images: Vec<BundledImage>,
    /// Packages that the image has.
    pub packages: Vec<BundledPackage>,
    /// Files of the cache, and their bytes.
    pub cache_files: usize,
    /// Their bytes when they are unpacked; what is there twice counts twice.
    pub cache_bytes: u64,
}

impl Document {
    /// Bytes of all files.
    pub(super) fn cache_bytes(&self) -> u64 {
        self.files.iter().fold(0, |sum, file| sum.saturating_add(file.bytes))
    }

    /// Whether all of it can be meant: what is said here is not unpacked.
    pub(super) fn problem(&self) -> Option<String> {
        let shown = |text: &str| text.chars().take(200).collect::<String>();
        if self.files.len().saturating_add(self.links.len()) > MAX_FILES {
            return Some(format!("it has more than {MAX_FILES} files"));
        }
        if self.images.len() > MAX_IMAGES {
            return Some(format!("it has more than {MAX_IMAGES} images"));
        }
        if self.cache_bytes() > MAX_CACHE_BYTES {
            return Some("its files have more bytes than a bundle may have".to_owned());
        }
        if let Some(dir) = self.trust.link_dirs.iter().find(|dir| !may_be_shown(dir)) {
            return Some(format!("packages are to be shown at {:?}", shown(dir)));
        }
        let is_hash = |text: &str| {
            text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
        };
        let mut sizes: BTreeMap<&str, u64> = BTreeMap::new();
        let mut kinds: BTreeSet<&str> = BTreeSet::new();
        let paths = self.files.iter().map(|file| &file.path).chain(self.links.iter().map(|link| &link.path));
        for path in paths {
            if !is_inside(path) {
                return Some(format!("the path {:?} leads out of it", shown(path)));
            }
            if !kinds.insert(path) {
                return Some(format!("the path {:?} is in it twice", shown(path)));
            }
        }
        // No file and no link is a folder of another one: nothing is written through a link.
        if let Some(path) = kinds.iter().find(|path| {
            Path::new(path).ancestors().skip(1).any(|above| above.to_str().is_some_and(|above| kinds.contains(above)))
        }) {
            return Some(format!("the path {:?} goes through a file or a link", shown(path)));
        }
        for file in &self.files {
            if !is_hash(&file.sha256) || *sizes.entry(&file.sha256).or_insert(file.bytes) != file.bytes {
                return Some(format!("the file {:?} has no digest, or two lengths", shown(&file.path)));
            }
        }
        let out = |link: &&CacheLink| !link_stays(&link.path, &link.target);
        self.links
            .iter()
            .find(out)
            .map(|link| format!("the link {:?} leads out of it, to {:?}", shown(&link.path), shown(&link.target)))
    }
}

/// Whether a folder of packages may be shown there: it lies over nothing that a build consists of.
fn may_be_shown(dir: &str) -> bool {
    let own = [
        "bin",
        "cnb",
        "dev",
        "etc",
        "hoist-cache",
        "layers",
        "lib",
        "lib64",
        "platform",
        "proc",
        "sbin",
        "sys",
        "usr",
        "workspace",
    ];
    let Some(below) = dir.strip_prefix('/').filter(|below| is_inside(below)) else { return false };
    let mut parts = below.split('/');
    let top = parts.next().unwrap_or_default();
    // Machines keep packages in folders such as /usr/local/share/wheels.
    !own.contains(&top)
        || (below.starts_with("usr/")
            && parts.next().is_some_and(|next| next != "bin" && next != "lib" && next != "sbin"))
}

fn is_inside(path: &str) -> bool {
    let is_plain = Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
    is_plain
        && !path.is_empty()
        && path.len() <= MAX_PATH
        && !path.contains('\0')
        && !path.ends_with('/')
        && !path.contains("//")
        && !path.contains("/./")
}

/// Whether a link leads to something of the cache: from its place, or from where buildpacks see it.
pub(super) fn link_stays(path: &str, target: &str) -> bool {
    if target.is_empty() || target.len() > MAX_PATH || target.contains('\0') {
        return false;
    }
    match target.strip_prefix(CACHE_TARGET).and_then(|below| below.strip_prefix('/')) {
        Some(below) => is_inside(below),
        None => !target.starts_with('/') && !leads_out(Path::new(path), Path::new(target)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document() -> Document {
        Document {
            hoist: "0.1.0".into(),
            architecture: "amd64".into(),
            app: "shop".into(),
            image_id: "sha256:1".into(),
            base: None,
            builder: None,
            run_image: None,
            own_buildpacks: BTreeSet::new(),
            images: Vec::new(),
            trust: Trust::default(),
            packages: Vec::new(),
            files: vec![file("pip/uv/a")],
            links: vec![
                link("pip/uv/b", "a"),
                link("pip/uv/c/d", "/hoist-cache/pip/uv/a"),
                link("pip/e", "uv/../uv/a"),
            ],
        }
    }

    fn file(path: &str) -> CacheFile {
        CacheFile { path: path.into(), sha256: "0".repeat(64), bytes: 1, executable: false }
    }

    fn link(path: &str, target: &str) -> CacheLink {
        CacheLink { path: path.into(), target: target.into() }
    }

    #[test]
    fn what_leads_out_of_a_bundle_is_refused() {
        assert_eq!(document().problem(), None);
        for path in ["../x", "/etc/passwd", "a/../../x", "", "a//b", "a/./b", "a/", "a\0b", "."] {
            let mut one = document();
            one.files.push(file(path));
            let problem = one.problem().unwrap();
            assert!(problem.contains("leads out of it"), "{path:?}: {problem}");
        }
        for target in ["/etc", "../../../etc", "/hoist-cache/../etc", "", "/hoist-cache"] {
            let mut one = document();
            one.links.push(link("pip/x", target));
            let problem = one.problem().unwrap();
            assert!(problem.contains("the link \"pip/x\" leads out of it"), "{target:?}: {problem}");
        }
    }

    #[test]
    fn packages_are_shown_where_a_machine_keeps_them_and_over_no_program() {
        for (dir, may) in [
            ("/opt/wheels", true),
            ("/usr/share/python-wheels", true),
            ("/usr/lib", false),
            ("/usr", false),
            ("/cnb/buildpacks", false),
            ("/", false),
            ("opt", false),
            ("/opt/../usr", false),
        ] {
            assert_eq!(may_be_shown(dir), may, "{dir}");
        }
        let mut one = document();
        one.trust.link_dirs.push("/cnb".into());
        assert_eq!(one.problem().unwrap(), "packages are to be shown at \"/cnb\"");
    }

    #[test]
    fn nothing_is_written_through_a_link_or_twice() {
        let mut one = document();
        one.files.push(file("pip/uv/b/x"));
        assert_eq!(one.problem().unwrap(), "the path \"pip/uv/b/x\" goes through a file or a link");
        let mut one = document();
        one.files.push(file("pip/uv/b"));
        assert_eq!(one.problem().unwrap(), "the path \"pip/uv/b\" is in it twice");
    }

    #[test]
    fn bounds_and_digests_are_looked_at_first() {
        let mut one = document();
        one.files.push(CacheFile { bytes: u64::MAX, ..file("x") });
        assert!(one.problem().unwrap().contains("more bytes"));
        let mut one = document();
        one.files.push(CacheFile { bytes: 2, ..file("x") });
        assert!(one.problem().unwrap().contains("two lengths"));
        let mut one = document();
        one.files.push(CacheFile { sha256: "..".into(), ..file("x") });
        assert!(one.problem().unwrap().contains("no digest"));
    }
}
