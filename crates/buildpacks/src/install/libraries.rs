//! Shared libraries that the extension modules of newly installed distributions want and nothing will have when the app runs: told at the
//! build, with the Debian package that has the library, before an import fails in the image.
//!
//! What counts as there: the libraries of the run image (as the base's list of its packages says; without that list nothing is said),
//! those beside the interpreter, and everything that any distribution of the environment brings, wherever it lies: a wheel finds its own by search
//! paths or loads them by hand, and a false alarm is worse than none.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use fs_err as fs;
use hoist_debian::read_elf;

/// The run image's packages, one in a line, where the base brings the list.
pub(crate) const RUN_PACKAGES: &str = "usr/share/hoist/run-packages";
/// dpkg's lists of the files of each package.
const LISTS: &str = "var/lib/dpkg/info";
const KNOWN: &str = include_str!("../../runner/hoist_runner/libraries.txt");
/// Libraries of a distribution that are named.
const SHOWN: usize = 4;
/// More files than the largest environments have; beyond them nobody looks.
const MAX_FILES: usize = 20_000;
/// Longer lists are none of dpkg's.
const MAX_LIST_BYTES: u64 = 16 << 20;
/// What the driver of a GPU brings, where there is one.
const OF_DRIVERS: [&str; 5] = ["libcuda.so", "libnvidia-", "libnvcuvid.so", "libamdhip64.so", "libze_loader.so"];

/// What will be there when the app runs.
#[derive(Debug, Default)]
pub(crate) struct Provided {
    libraries: BTreeSet<String>,
    /// What only the build image has, and in which package.
    build_only: BTreeMap<String, String>,
}

/// Libraries that a distribution wants and that are not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Missing {
    pub(crate) distribution: String,
    /// One of the files that want the first of them, below site-packages.
    pub(crate) file: PathBuf,
    /// Their names, each with the Debian package that has it, where one is known.
    pub(crate) libraries: Vec<(String, Option<String>)>,
}

impl Provided {
    /// As the base's lists, the folder beside the interpreter and those of `library_path` (of packages that the app asked for) say; none where
    /// the base has no list.
    pub(crate) fn read(root: &Path, interpreter: &Path, library_path: &OsStr) -> Option<Self> {
        let run_packages = fs::read_to_string(root.join(RUN_PACKAGES)).ok()?;
        let run_packages: BTreeSet<&str> = run_packages.lines().map(str::trim).collect();
        let mut provided = Self::default();
        for entry in fs::read_dir(root.join(LISTS)).ok()?.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let Some(package) = name.strip_suffix(".list") else { continue };
            let package = package.split(':').next().unwrap_or(package);
            for library in libraries_of_list(&entry.path()) {
                if run_packages.contains(package) {
                    provided.libraries.insert(library);
                } else {
                    provided.build_only.insert(library, package.to_owned());
                }
            }
        }
        // The interpreter's own lie beside its `bin`, in `lib/x86_64-linux-gnu`.
        let own = interpreter.parent()?.parent()?.join("lib").join(format!("{}-linux-gnu", std::env::consts::ARCH));
        for folder in std::env::split_paths(library_path).filter(|path| path.is_absolute()).chain([own]) {
            provided.add_folder(&folder);
        }
        Some(provided)
    }

    fn add_folder(&mut self, folder: &Path) {
        let names = fs::read_dir(folder).into_iter().flatten().flatten();
        self.libraries.extend(names.map(|entry| entry.file_name().to_string_lossy().into_owned()));
    }

    /// The Debian package that has a library.
    fn package_of(&self, library: &str) -> Option<String> {
        let known = KNOWN.lines().filter_map(|line| line.split_once(' ')).find(|(name, _)| *name == library);
        self.build_only.get(library).cloned().or_else(|| known.map(|(_, package)| package.to_owned()))
    }
}

fn libraries_of_list(path: &Path) -> Vec<String> {
    if fs::metadata(path).map_or(0, |about| about.len()) > MAX_LIST_BYTES {
        return Vec::new();
    }
    let text = fs::read_to_string(path).unwrap_or_default();
    let names = text.lines().filter_map(|line| line.rsplit('/').next()).filter(|name| is_library(name));
    names.map(str::to_owned).collect()
}

/// `libx.so`, `libx.so.1`, `libcrypto-5409cd36.so.1.1.1k`, `_module.cpython-313-x86_64-linux-gnu.so`.
pub(crate) fn is_library(name: &str) -> bool {
    let Some((before, after)) = name.split_once(".so") else { return false };
    let is_version = |text: &str| {
        let parts = || text.split('.');
        parts().all(|part| {
            part.starts_with(|c: char| c.is_ascii_digit()) && part.bytes().all(|b| b.is_ascii_alphanumeric())
        })
    };
    !before.is_empty() && (after.is_empty() || after.strip_prefix('.').is_some_and(is_version))
}

/// What the files of `fresh` distributions (name, paths below site-packages) want, and is neither provided nor in `all` files of the environment.
pub(crate) fn missing(
    fresh: &[(&str, &[PathBuf])],
    all: &[PathBuf],
    site_packages: &Path,
    provided: &Provided,
) -> Vec<Missing> {
    let own: BTreeSet<&str> = all.iter().filter_map(|path| path.file_name()?.to_str()).collect();
    let mut found: BTreeMap<(String, String), PathBuf> = BTreeMap::new();
    for (distribution, files) in fresh {
        for file in files.iter().take(MAX_FILES) {
            let Some(elf) = elf_of(&site_packages.join(file)) else { continue };
            for library in elf.needed {
                let there = provided.libraries.contains(&library) || own.contains(library.as_str());
                if !there && !OF_DRIVERS.iter().any(|start| library.starts_with(start)) {
                    found.entry(((*distribution).to_owned(), library)).or_insert_with(|| file.clone());
                }
            }
        }
    }
    if found.is_empty() {
        return Vec::new();
    }
    // A library that was loaded by hand answers to its own name, whatever its file is called.
    let own_names: BTreeSet<String> =
        all.iter().take(MAX_FILES).filter_map(|file| elf_of(&site_packages.join(file))?.soname).collect();
    let mut missing: Vec<Missing> = Vec::new();
    for ((distribution, library), file) in found {
        if own_names.contains(&library) {
            continue;
        }
        let package = provided.package_of(&library);
        match missing.last_mut().filter(|last| last.distribution == distribution) {
            Some(last) => last.libraries.push((library, package)),
            None => missing.push(Missing { distribution, file, libraries: vec![(library, package)] }),
        }
    }
    missing
}

/// What a file for this processor says of itself.
fn elf_of(path: &Path) -> Option<hoist_debian::Elf> {
    let elf = read_elf(&mut std::io::BufReader::new(fs::File::open(path).ok()?))?;
    (elf.machine == machine()).then_some(elf)
}

/// The ELF number of this processor.
fn machine() -> u16 {
    if std::env::consts::ARCH == "aarch64" { 183 } else { 62 }
}

impl Missing {
    /// What a person reads.
    pub(crate) fn lines(&self) -> [String; 2] {
        let Self { distribution, file, libraries } = self;
        let names: Vec<&str> = libraries.iter().map(|(library, _)| library.as_str()).collect();
        let more = if names.len() > SHOWN { format!(" and {} more", names.len() - SHOWN) } else { String::new() };
        let list = names[..names.len().min(SHOWN)].join(", ");
        let what = format!("{distribution} wants {list}{more} ({}), which the image will not have", file.display());
        [what, self.advice()]
    }

    fn advice(&self) -> String {
        let distribution = self.distribution.as_str();
        if distribution.starts_with("opencv-") && !distribution.ends_with("-headless") {
            return format!("require {} instead, which needs no display", headless(distribution));
        }
        if distribution == "psycopg2" {
            return "require psycopg2-binary instead, which has it inside".to_owned();
        }
        let mut packages: Vec<&str> = self.libraries.iter().filter_map(|(_, package)| package.as_deref()).collect();
        packages.sort_unstable();
        packages.dedup();
        let whose = match packages.as_slice() {
            [] => return "write the package of Debian that has it into apt.txt if the app uses this part".to_owned(),
            [one] => format!("Debian's {one} has it"),
            many => format!("Debian's {} have them", many.join(", ")),
        };
        format!(
            "{whose}: write {} into apt.txt if the app uses this part",
            if packages.len() == 1 { "it" } else { "them" }
        )
    }
}

fn headless(distribution: &str) -> &'static str {
    if distribution.contains("contrib") { "opencv-contrib-python-headless" } else { "opencv-python-headless" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_known_by_their_names() {
        for name in
            ["libz.so.1", "libz.so.1.3.1", "_x.cpython-313-x86_64-linux-gnu.so", "a.abi3.so", "libc-5409cd36.so.1.1.1k"]
        {
            assert!(is_library(name), "{name}");
        }
        for name in ["so", ".so", "a.so.txt", "libz.so.1.py", "a.so.", "notes.so-so", "1.2"] {
            assert!(!is_library(name), "{name}");
        }
    }

    #[test]
    fn each_line_of_the_list_of_packages_has_two_words() {
        for line in KNOWN.lines().filter(|line| !line.starts_with('#')) {
            let words: Vec<&str> = line.split(' ').collect();
            assert!(words.len() == 2 && is_library(words[0]), "{line}");
        }
    }

    /// A build image with a library of its own, and one of the run image.
    fn base(run: &str, build: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let files = [
            (RUN_PACKAGES, "libc6\nrun\n".to_owned()),
            ("var/lib/dpkg/info/run:amd64.list", format!("/.\n/usr/lib/x/{run}\n")),
            ("var/lib/dpkg/info/built.list", format!("/usr/lib/x/{build}\n")),
        ];
        for (path, text) in files {
            fs::create_dir_all(dir.path().join(path).parent().unwrap()).unwrap();
            fs::write(dir.path().join(path), text).unwrap();
        }
        dir
    }

    #[test]
    fn what_neither_the_image_nor_the_environment_has_is_missing() {
        let site = tempfile::tempdir().unwrap();
        assert_eq!(elf_of(Path::new("/bin/sh")).unwrap().needed, ["libc.so.6"]);
        fs::create_dir_all(site.path().join("pkg.libs")).unwrap();
        fs::copy("/bin/sh", site.path().join("_module.so")).unwrap();
        let files = [PathBuf::from("_module.so")];
        let look = |base: &Path, all: &[PathBuf], own: &Path| {
            let provided = Provided::read(base, Path::new("/x/bin/python3"), own.as_os_str()).unwrap();
            missing(&[("pkg", &files)], all, site.path(), &provided)
        };
        let without = base("libz.so.1", "libc.so.6");
        let found = look(without.path(), &files, Path::new(""));
        let expected = Missing {
            distribution: "pkg".into(),
            file: "_module.so".into(),
            libraries: vec![("libc.so.6".into(), Some("built".into()))],
        };
        assert_eq!(found, [expected]);
        assert_eq!(look(base("libc.so.6", "libz.so.1").path(), &files, Path::new("")), [], "the run image has it");
        let bundled = [files[0].clone(), "pkg.libs/libc.so.6".into()];
        assert_eq!(look(without.path(), &bundled, Path::new("")), [], "the wheel has it");
        fs::create_dir(site.path().join("layer")).unwrap();
        fs::write(site.path().join("layer/libc.so.6"), "").unwrap();
        assert_eq!(look(without.path(), &files, &site.path().join("layer")), [], "the app asked for the package");
        fs::remove_file(without.path().join(RUN_PACKAGES)).unwrap();
        assert!(
            Provided::read(without.path(), Path::new("/x/bin/python3"), OsStr::new("")).is_none(),
            "nothing is known"
        );
    }

    #[test]
    fn advice_names_the_package_or_what_does_without() {
        let lines = |distribution: &str, libraries: &[(&str, Option<&str>)]| {
            let libraries = libraries.iter().map(|(name, package)| ((*name).to_owned(), package.map(str::to_owned)));
            Missing { distribution: distribution.into(), file: "a.so".into(), libraries: libraries.collect() }.lines()
        };
        assert_eq!(
            lines("opencv-python", &[("libGL.so.1", Some("libgl1"))]),
            [
                "opencv-python wants libGL.so.1 (a.so), which the image will not have",
                "require opencv-python-headless instead, which needs no display"
            ]
        );
        assert_eq!(
            lines("x", &[("libgomp.so.1", Some("libgomp1"))])[1],
            "Debian's libgomp1 has it: write it into apt.txt if the app uses this part"
        );
        let many = [("a.so", Some("a")), ("b.so", Some("b")), ("c.so", Some("a")), ("d.so", None), ("e.so", None)];
        assert_eq!(
            lines("x", &many),
            [
                "x wants a.so, b.so, c.so, d.so and 1 more (a.so), which the image will not have",
                "Debian's a, b have them: write them into apt.txt if the app uses this part"
            ]
        );
        assert_eq!(
            lines("x", &[("libq.so", None)])[1],
            "write the package of Debian that has it into apt.txt if the app uses this part"
        );
    }
}
