//! One OCI layer for each installed distribution of a Python environment.
//!
//! A buildpack asks for it with `[metadata.hoist] split = "distributions"`. Every file belongs to the distribution whose RECORD names it, or to
//! the package of conda's whose `conda-meta/<name>-<version>-<build>.json` does,
//! bytecode to the distribution of its source; small distributions share a fixed number of buckets, by a hash of their name, so that a
//! changed pin changes one layer; what no RECORD names is the base. The result depends on nothing but the files.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsStr;
use std::path::{Component, Path, PathBuf};

use hoist_image::{Digest, Kind, Layer};

use crate::content::{Content, ContentError, Source};
use crate::tree::read_regular;

/// Below this a distribution shares a layer with others.
const SMALL_BYTES: u64 = 1 << 20;
/// Layers of small distributions.
const BUCKETS: u8 = 16;
/// Larger than any real RECORD (torch's has 2 MB).
const MAX_RECORD_BYTES: u64 = 64 << 20;

/// Files of one OCI layer, by the group's name, in the order of the image: `base`, then `bucket:…`, then `distribution:…`.
pub(crate) type Groups<'a> = BTreeMap<String, BTreeSet<&'a PathBuf>>;

struct Distribution {
    name: String,
    /// The directory that RECORD's paths start from.
    site_dir: PathBuf,
    /// What belongs to it without being named; for a package of conda's that is its RECORD.
    info_dir: PathBuf,
    record: PathBuf,
}

/// Divides a layer. At most `max_layers` groups come out.
pub(crate) fn by_distribution<'a>(
    content: &'a Content,
    restored: &[Layer],
    layer_dir: &Path,
    max_layers: usize,
) -> Result<Groups<'a>, ContentError> {
    let distributions = find_distributions(content);
    let owners = owners(content, restored, layer_dir, &distributions)?;
    let info_dirs: HashMap<&Path, usize> =
        distributions.iter().enumerate().map(|(index, d)| (d.info_dir.as_path(), index)).collect();
    let owner = |path: &Path| {
        let direct = owners.get(path).copied();
        direct
            .or_else(|| owners.get(bytecode_source(path)?.as_path()).copied())
            .or_else(|| path.ancestors().find_map(|ancestor| info_dirs.get(ancestor).copied()))
    };
    let mut files: Vec<(&PathBuf, Option<usize>)> = Vec::new();
    let mut sizes = vec![0_u64; distributions.len()];
    for (path, source) in &content.entries {
        if source.is_dir() {
            if is_empty_dir(content, path) {
                files.push((path, None));
            }
            continue;
        }
        let owner = owner(path);
        if let Some(index) = owner {
            sizes[index] += source.size_bytes();
        }
        files.push((path, owner));
    }
    let names = group_names(&distributions, &sizes, max_layers);
    let mut groups = Groups::new();
    for (path, owner) in files {
        let group = owner.map_or("base", |index| names[index].as_str());
        groups.entry(group.to_owned()).or_default().insert(path);
    }
    Ok(groups)
}

/// Which distribution names which file. A RECORD may name anything, any number of times: only files that are there count, so that the answer
/// is no larger than the layer.
fn owners<'a>(
    content: &'a Content,
    restored: &[Layer],
    layer_dir: &Path,
    distributions: &[Distribution],
) -> Result<HashMap<&'a Path, usize>, ContentError> {
    let mut owners = HashMap::new();
    for (index, distribution) in distributions.iter().enumerate() {
        let text = read_record(content, restored, &distribution.record)?;
        for path in listed_paths(&distribution.record, &text) {
            let path = resolve(&distribution.site_dir, &path).filter(|path| path.starts_with(layer_dir));
            if let Some((path, _)) = path.and_then(|path| content.entries.get_key_value(&path)) {
                owners.entry(path.as_path()).or_insert(index);
            }
        }
    }
    Ok(owners)
}

/// Sorted by name, so that a file that two of them claim always belongs to the same one.
fn find_distributions(content: &Content) -> Vec<Distribution> {
    let mut found = Vec::new();
    for path in content.entries.keys().filter(|path| path.file_name() == Some(OsStr::new("RECORD"))) {
        let Some(info_dir) = path.parent() else { continue };
        let Some(site_dir) = info_dir.parent() else { continue };
        let stem = info_dir.file_name().and_then(OsStr::to_str).and_then(|name| name.strip_suffix(".dist-info"));
        let (Some(stem), true) = (stem, site_dir.file_name() == Some(OsStr::new("site-packages"))) else { continue };
        found.push(Distribution {
            name: normalize(stem.split('-').next().unwrap_or(stem)),
            site_dir: site_dir.to_owned(),
            info_dir: info_dir.to_owned(),
            record: path.clone(),
        });
    }
    found.extend(content.entries.keys().filter_map(|path| conda_package(path)));
    found.sort_by(|a, b| (&a.name, &a.info_dir).cmp(&(&b.name, &b.info_dir)));
    found
}

/// `<prefix>/conda-meta/libfoo-1.4-h0_0.json` lists the files of the package `libfoo` in an environment of conda's.
fn conda_package(path: &Path) -> Option<Distribution> {
    let dir = path.parent().filter(|dir| dir.file_name() == Some(OsStr::new("conda-meta")))?;
    let stem = path.file_name()?.to_str()?.strip_suffix(".json")?;
    let name = stem.rsplitn(3, '-').nth(2)?;
    Some(Distribution {
        // No distribution of pip's has a dot in its normalised name.
        name: format!("{}.conda", normalize(name)),
        site_dir: dir.parent()?.to_owned(),
        info_dir: path.to_owned(),
        record: path.to_owned(),
    })
}

/// The files that a RECORD names, or the list of a package of conda's.
fn listed_paths(record: &Path, text: &str) -> Vec<String> {
    if record.extension() != Some(OsStr::new("json")) {
        return record_paths(text).collect();
    }
    let Ok(mut about) = serde_json::from_str::<serde_json::Value>(text) else { return Vec::new() };
    let Some(files) = about.get_mut("files").and_then(serde_json::Value::as_array_mut) else { return Vec::new() };
    let files = std::mem::take(files);
    files.into_iter().filter_map(|file| file.as_str().map(str::to_owned)).collect()
}

/// PEP 503: lower case, and one `-` for each run of `-`, `_` and `.`.
fn normalize(name: &str) -> String {
    let mut normal = String::with_capacity(name.len());
    for c in name.chars() {
        if matches!(c, '-' | '_' | '.') {
            if !normal.ends_with('-') {
                normal.push('-');
            }
        } else {
            normal.extend(c.to_lowercase());
        }
    }
    normal
}

fn read_record(content: &Content, restored: &[Layer], path: &PathBuf) -> Result<String, ContentError> {
    let host = match content.entries.get(path) {
        Some(Source::Host { path, metadata }) if metadata.is_file() => path.clone(),
        Some(Source::Stored { layer, entry }) if matches!(entry.kind, Kind::File { .. }) => {
            match restored.get(*layer) {
                Some(stored) => stored.file_path(entry),
                None => return Ok(String::new()),
            }
        }
        _ => return Ok(String::new()),
    };
    let bytes = read_regular(&host, path, MAX_RECORD_BYTES)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The first field of each line of a CSV file, with quotes taken away.
fn record_paths(text: &str) -> impl Iterator<Item = String> {
    text.lines().filter(|line| !line.is_empty()).map(|line| match line.strip_prefix('"') {
        None => line.split(',').next().unwrap_or_default().to_owned(),
        Some(quoted) => {
            let mut field = String::new();
            let mut chars = quoted.chars().peekable();
            while let Some(c) = chars.next() {
                if c == '"' && chars.next_if_eq(&'"').is_none() {
                    break;
                }
                field.push(c);
            }
            field
        }
    })
}

/// `base/path` with `..` taken into account, without asking the file system.
fn resolve(base: &Path, path: &str) -> Option<PathBuf> {
    let mut resolved = base.to_owned();
    for part in Path::new(path).components() {
        match part {
            Component::Normal(name) => resolved.push(name),
            Component::ParentDir => {
                resolved.pop();
            }
            Component::CurDir => {}
            Component::RootDir => resolved = PathBuf::from("/"),
            Component::Prefix(_) => return None,
        }
    }
    Some(resolved)
}

/// `a/__pycache__/b.cpython-313.pyc` is made from `a/b.py`.
fn bytecode_source(path: &Path) -> Option<PathBuf> {
    let dir = path.parent()?;
    let name = path.file_name()?.to_str()?.strip_suffix(".pyc")?;
    if dir.file_name() != Some(OsStr::new("__pycache__")) {
        return None;
    }
    // `b.cpython-313` or `b.cpython-313.opt-1`; a module's name has no dot.
    let module = name.split('.').next()?;
    Some(dir.parent()?.join(format!("{module}.py")))
}

fn is_empty_dir(content: &Content, dir: &PathBuf) -> bool {
    content.entries.range(dir.clone()..).nth(1).is_none_or(|(next, _)| !next.starts_with(dir))
}

/// The group of each distribution: its own layer for the largest ones, as far as layers are allowed, and buckets for the rest.
fn group_names(distributions: &[Distribution], sizes: &[u64], max_layers: usize) -> Vec<String> {
    // Several dist-info directories of one name (two site-packages) are one group.
    let mut total: BTreeMap<&str, u64> = BTreeMap::new();
    for (distribution, size) in distributions.iter().zip(sizes) {
        *total.entry(&distribution.name).or_default() += size;
    }
    let mut large: Vec<(&str, u64)> = total.into_iter().filter(|(_, size)| *size >= SMALL_BYTES).collect();
    large.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    large.truncate(max_layers.saturating_sub(usize::from(BUCKETS) + 1));
    let large: BTreeSet<&str> = large.into_iter().map(|(name, _)| name).collect();
    let group = |name: &str| {
        if large.contains(name) {
            return format!("distribution:{name}");
        }
        let bucket = u8::from_str_radix(&Digest::of(name.as_bytes()).hex()[..2], 16).unwrap_or_default() % BUCKETS;
        format!("bucket:{bucket:02}")
    };
    distributions.iter().map(|distribution| group(&distribution.name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_of_condas_has_the_files_of_its_list() {
        let found = conda_package(Path::new("/l/conda/conda-meta/lib-foo-1.4-h0_0.json")).unwrap();
        assert_eq!((found.name.as_str(), found.site_dir.as_path()), ("lib-foo.conda", Path::new("/l/conda")));
        assert_eq!(listed_paths(&found.record, r#"{"files": ["lib/a", 1, "bin/b"]}"#), ["lib/a", "bin/b"]);
        assert!(listed_paths(&found.record, "{").is_empty());
        assert!(conda_package(Path::new("/l/conda/conda-meta/history")).is_none());
    }

    #[test]
    fn bytecode_belongs_to_its_source() {
        let source = |path: &str| bytecode_source(Path::new(path));
        assert_eq!(source("/s/a/__pycache__/b.cpython-313.pyc"), Some("/s/a/b.py".into()));
        assert_eq!(source("/s/a/__pycache__/b.cpython-313.opt-1.pyc"), Some("/s/a/b.py".into()));
        assert_eq!(source("/s/a/b.pyc"), None);
    }

    #[test]
    fn a_record_is_csv_with_quoted_names_and_paths_out_of_site_packages() {
        let text = "a/b.py,sha256=x,3\n\"odd,\"\"name\"\".py\",,\n../../../bin/tool,,\n\n";
        let paths: Vec<String> = record_paths(text).collect();
        assert_eq!(paths, ["a/b.py", "odd,\"name\".py", "../../../bin/tool"]);
        let site = Path::new("/layers/p/env/lib/python3/site-packages");
        assert_eq!(resolve(site, "../../../bin/tool"), Some("/layers/p/env/bin/tool".into()));
        assert_eq!(resolve(site, "/etc/passwd"), Some("/etc/passwd".into()));
    }

    #[test]
    fn the_number_of_layers_is_bounded_and_the_largest_get_their_own() {
        let make = |name: String| Distribution {
            name,
            site_dir: PathBuf::new(),
            info_dir: PathBuf::new(),
            record: PathBuf::new(),
        };
        let distributions: Vec<Distribution> = (0..200).map(|n| make(format!("d{n:03}"))).collect();
        let sizes: Vec<u64> = (0..200).map(|n| (n + 1) * SMALL_BYTES).collect();
        let names = group_names(&distributions, &sizes, 40);
        let groups: BTreeSet<&String> = names.iter().collect();
        assert!(groups.len() < 40, "{}", groups.len());
        assert_eq!(names[199], "distribution:d199");
        assert!(names[0].starts_with("bucket:"));
    }

    #[test]
    fn a_record_counts_for_files_that_are_there_alone() {
        let dir = tempfile::tempdir().unwrap();
        let layer = Path::new("/layers/p/env");
        let site = layer.join("lib/site-packages");
        let mut content = Content::default();
        let mut add = |inside: PathBuf, text: &str| {
            let path = dir.path().join(content.entries.len().to_string());
            fs_err::write(&path, text).unwrap();
            let metadata = fs_err::symlink_metadata(&path).unwrap();
            content.entries.insert(inside, Source::Host { path, metadata });
        };
        let phantoms = (0..1000).map(|n| format!("x/{n}.py,,\n")).collect::<Vec<_>>().concat();
        add(site.join("x-1.dist-info/RECORD"), &format!("{phantoms}x.py,,\n../../../../elsewhere,,\n"));
        add(site.join("x.py"), "");
        let distributions = find_distributions(&content);
        let owners = owners(&content, &[], layer, &distributions).unwrap();
        assert_eq!(owners, HashMap::from([(site.join("x.py").as_path(), 0)]));
    }

    #[test]
    fn names_are_normalized() {
        assert_eq!(normalize("Foo._-Bar"), "foo-bar");
    }
}
