//! What is installed in a site-packages folder: the `.dist-info` folders (the "Recording installed projects" specification), made
//! deterministic and complete after an installer was at work.

use std::path::{Component, Path, PathBuf};

use fs_err as fs;

use super::libraries::is_library;
use crate::bytecode::pyc_path;
use crate::pip::requirements::normalize;

/// An installed distribution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Distribution {
    /// The normalised name.
    pub(crate) name: String,
    /// The version.
    pub(crate) version: String,
    /// The `.dist-info` folder.
    pub(crate) info_dir: PathBuf,
}

/// Files of an installer's own book-keeping. They differ with how a distribution came to be wanted or when, and nothing at run time needs them.
const BOOKKEEPING: &[&str] = &["REQUESTED", "uv_cache.json", "uv_build.json"];

/// The distributions of a site-packages folder, by name.
pub(crate) fn installed(site_packages: &Path) -> std::io::Result<Vec<Distribution>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(site_packages)? {
        let entry = entry?;
        let file_name = entry.file_name().to_string_lossy().into_owned();
        let Some((name, version)) = file_name.strip_suffix(".dist-info").and_then(|stem| stem.rsplit_once('-')) else {
            continue;
        };
        found.push(Distribution { name: normalize(name), version: version.to_owned(), info_dir: entry.path() });
    }
    found.sort_by(|a, b| a.name.cmp(&b.name).then_with(|| a.version.cmp(&b.version)));
    Ok(found)
}

/// One line of a RECORD: a path relative to site-packages, and the rest of the line.
struct RecordLine<'a> {
    path: String,
    line: &'a str,
}

/// A distribution that an installer put there since the last time: its sources to be compiled.
#[derive(Debug)]
pub(crate) struct Fresh {
    pub(crate) distribution: Distribution,
    pub(crate) sources: Vec<PathBuf>,
    record: Vec<String>,
}

/// What a distribution's RECORD tells.
#[derive(Debug, Default)]
pub(crate) struct Looked {
    pub(crate) fresh: Option<Fresh>,
    /// Its shared libraries, below site-packages.
    pub(crate) libraries: Vec<PathBuf>,
}

/// Finds out whether a distribution is fresh, which is when its RECORD lists none of the bytecode it should have, and takes the
/// installer's book-keeping out. The RECORD itself is written by [`Fresh::finish`].
pub(crate) fn look(distribution: &Distribution, site_packages: &Path, tag: &str) -> std::io::Result<Looked> {
    let record_path = distribution.info_dir.join("RECORD");
    let Ok(text) = fs::read_to_string(&record_path) else { return Ok(Looked::default()) };
    let lines: Vec<RecordLine<'_>> = text.lines().filter_map(parse_line).collect();
    let is_own_library = |path: &str| is_library(path.rsplit('/').next().unwrap_or(path)) && is_inside(path);
    let libraries =
        lines.iter().filter(|line| is_own_library(&line.path)).map(|line| line.path.clone().into()).collect();
    Ok(Looked { fresh: freshen(distribution, site_packages, tag, &lines)?, libraries })
}

fn freshen(
    distribution: &Distribution,
    site_packages: &Path,
    tag: &str,
    lines: &[RecordLine<'_>],
) -> std::io::Result<Option<Fresh>> {
    let bookkeeping: Vec<&str> =
        BOOKKEEPING.iter().copied().filter(|name| distribution.info_dir.join(name).exists()).collect();
    let suffix = format!(".{tag}.pyc");
    let has_sources = lines.iter().any(|line| is_source(&line.path));
    let has_bytecode = lines.iter().any(|line| line.path.ends_with(&suffix));
    if bookkeeping.is_empty() && (has_bytecode || !has_sources) {
        return Ok(None);
    }
    for name in bookkeeping {
        fs::remove_file(distribution.info_dir.join(name))?;
    }
    let info_name =
        distribution.info_dir.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let is_bookkeeping = |path: &str| {
        path.strip_prefix(&info_name).is_some_and(|rest| BOOKKEEPING.contains(&rest.trim_start_matches('/')))
    };
    let mut sources = Vec::new();
    let mut record = Vec::new();
    for line in lines {
        if is_bookkeeping(&line.path) || has_extension(&line.path, "pyc") {
            continue;
        }
        record.push(line.line.to_owned());
        let path = site_packages.join(&line.path);
        if is_source(&line.path) && path.is_file() {
            sources.push(path);
        }
    }
    Ok(Some(Fresh { distribution: distribution.clone(), sources, record }))
}

impl Fresh {
    /// Writes the RECORD, with the bytecode that was made, sorted.
    pub(crate) fn finish(mut self, site_packages: &Path, tag: &str) -> std::io::Result<()> {
        for source in &self.sources {
            let Some(pyc) = pyc_path(source, tag).filter(|path| path.exists()) else { continue };
            if let Ok(relative) = pyc.strip_prefix(site_packages) {
                self.record.push(format!("{},,", quoted(&relative.to_string_lossy())));
            }
        }
        self.record.sort_unstable();
        self.record.dedup();
        let mut text = self.record.join("\n");
        text.push('\n');
        let path = self.distribution.info_dir.join("RECORD");
        // A new file: the old one may be a hard link into the installer's cache.
        fs::remove_file(&path)?;
        fs::write(path, text)
    }
}

/// A source of the library itself. What is outside of site-packages is a script, or none of the distribution's business: a stranger
/// writes RECORD.
fn is_source(path: &str) -> bool {
    has_extension(path, "py") && is_inside(path)
}

/// Whether a path of RECORD stays in site-packages.
fn is_inside(path: &str) -> bool {
    Path::new(path).components().all(|part| matches!(part, Component::Normal(_)))
}

fn has_extension(path: &str, wanted: &str) -> bool {
    Path::new(path).extension().is_some_and(|extension| extension == wanted)
}

fn parse_line(line: &str) -> Option<RecordLine<'_>> {
    let path = match line.strip_prefix('"') {
        Some(rest) => {
            let mut path = String::new();
            let mut letters = rest.chars().peekable();
            while let Some(letter) = letters.next() {
                if letter != '"' {
                    path.push(letter);
                } else if letters.peek() == Some(&'"') {
                    letters.next();
                    path.push('"');
                } else {
                    break;
                }
            }
            path
        }
        None => line.split(',').next()?.to_owned(),
    };
    (!path.is_empty()).then_some(RecordLine { path, line })
}

fn quoted(path: &str) -> String {
    if path.contains([',', '"']) { format!("\"{}\"", path.replace('"', "\"\"")) } else { path.to_owned() }
}

/// Headers of a distribution's METADATA.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Metadata {
    pub(crate) name: String,
    pub(crate) summary: Option<String>,
}

/// Reads METADATA's headers; the description below them is not looked at.
pub(crate) fn parse_metadata(text: &str) -> Metadata {
    let mut metadata = Metadata::default();
    for line in text.lines().take_while(|line| !line.is_empty()) {
        let Some((key, value)) = line.split_once(": ") else { continue };
        let value = value.trim();
        match key {
            "Name" => value.clone_into(&mut metadata.name),
            "Summary" if value != "UNKNOWN" => metadata.summary = Some(value.to_owned()),
            _ => {}
        }
    }
    metadata
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fresh_distribution_loses_book_keeping_and_gets_its_bytecode_recorded() {
        let dir = tempfile::tempdir().unwrap();
        let site = dir.path();
        let info = site.join("My_Pkg-1.0.dist-info");
        fs::create_dir_all(&info).unwrap();
        fs::create_dir_all(site.join("my_pkg/__pycache__")).unwrap();
        for name in [
            "my_pkg/b.py",
            "my_pkg/a.py",
            "my_pkg/bad.py",
            "my_pkg/__pycache__/a.cpython-313.pyc",
            "my_pkg/__pycache__/b.cpython-313.pyc",
        ] {
            fs::write(site.join(name), "").unwrap();
        }
        fs::write(info.join("REQUESTED"), "").unwrap();
        fs::write(info.join("uv_cache.json"), "{}").unwrap();
        let record = "my_pkg/b.py,sha256=x,0\nMy_Pkg-1.0.dist-info/REQUESTED,,\nMy_Pkg-1.0.dist-info/uv_cache.json,,\nmy_pkg/a.py,,\nmy_pkg/bad.py,,\nmy_pkg.libs/libq.so.1,,\n../../../bin/tool,,\n../x.py,,\n/etc/x.so,,\nMy_Pkg-1.0.dist-info/RECORD,,\n";
        fs::write(info.join("RECORD"), record).unwrap();
        let all = installed(site).unwrap();
        assert_eq!((all[0].name.as_str(), all[0].version.as_str()), ("my-pkg", "1.0"));
        let looked = look(&all[0], site, "cpython-313").unwrap();
        assert_eq!(looked.libraries, [PathBuf::from("my_pkg.libs/libq.so.1")]);
        let fresh = looked.fresh.unwrap();
        assert_eq!(fresh.sources.len(), 3);
        fresh.finish(site, "cpython-313").unwrap();
        let text = fs::read_to_string(info.join("RECORD")).unwrap();
        assert_eq!(
            text,
            "../../../bin/tool,,\n../x.py,,\n/etc/x.so,,\nMy_Pkg-1.0.dist-info/RECORD,,\nmy_pkg.libs/libq.so.1,,\nmy_pkg/__pycache__/a.cpython-313.pyc,,\nmy_pkg/__pycache__/b.cpython-313.pyc,,\nmy_pkg/a.py,,\nmy_pkg/b.py,sha256=x,0\nmy_pkg/bad.py,,\n"
        );
        assert!(!info.join("REQUESTED").exists() && !info.join("uv_cache.json").exists());
        assert!(look(&all[0], site, "cpython-313").unwrap().fresh.is_none(), "done once, not again");
    }
}
