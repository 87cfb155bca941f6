//! Packages of a lock, in one shape whatever tool wrote it, turned into the lines that the installer takes. What a lock says is not trusted:
//! a name, a version, a hash or a path that is none is refused with its line, so nothing of it becomes an option of the installer.

use std::path::Path;

use super::wanted::Listed;
use super::wheels::{Wheels, fits, is_wheel};
use crate::context::Context;
use crate::failure::Failure;
use crate::keep::sha256_of;
use crate::manifest::Manifest;
use crate::pep440::{Specifiers, Version};
use crate::pip::requirements::{lexical, normalize};
use crate::pyproject::PyProject;

/// A package that a lock wants here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LockedPackage {
    pub(crate) name: String,
    pub(crate) version: Option<String>,
    /// Where it stands in the lock, from 1.
    pub(crate) line: usize,
    pub(crate) origin: Origin,
    pub(crate) files: Vec<LockedFile>,
}

/// Where a package comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Any index: its hashes say whether it is the one.
    Index,
    /// A file elsewhere.
    Url(String),
    Git {
        url: String,
        commit: String,
        subdirectory: Option<String>,
    },
    /// A folder or an archive of the app.
    Path {
        path: String,
    },
}

/// A file of a package: its name where the lock has it, and its hash (`sha256:…`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LockedFile {
    pub(crate) name: Option<String>,
    pub(crate) hash: String,
}

/// A list of what stands in a lock of the app, made one package after the other.
pub(crate) struct LockedList<'a> {
    context: &'a Context,
    manifest: &'a Manifest,
    /// `3.13.5`.
    python: &'a str,
    pub(crate) listed: Listed,
}

impl<'a> LockedList<'a> {
    pub(crate) fn new(context: &'a Context, manifest: &'a Manifest, python: &'a str) -> Self {
        let wheels = Wheels::among(crate::python::on_this_base(context));
        Self { context, manifest, python, listed: Listed { wheels, ..Listed::of(&manifest.name, &manifest.text) } }
    }

    fn refuse(&self, package: &LockedPackage, what: &str) -> Failure {
        let name: String = package.name.chars().filter(|c| !c.is_control()).take(80).collect();
        let seen = format!("{name}: {what}");
        let fix = "make the lock anew with the tool that wrote it";
        self.manifest.refuse(package.line, &seen, "a lock of packages does not say this", fix)
    }

    /// Adds a package.
    pub(crate) fn push(&mut self, package: &LockedPackage) -> Result<(), Failure> {
        let LockedPackage { name, version, line, origin, files } = package;
        let named = name.starts_with(|c: char| c.is_ascii_alphanumeric())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
        if !named {
            return Err(self.refuse(package, "this is no name of a package"));
        }
        let shown = version.as_ref().map_or_else(|| name.clone(), |version| format!("{name}=={version}"));
        let written = match origin {
            Origin::Index => {
                let version = version.as_ref().filter(|version| Version::parse(version).is_some());
                let Some(version) = version else { return Err(self.refuse(package, "it has no version")) };
                self.check_platform(package)?;
                self.note_archives(package);
                format!("{name}=={version}{}", self.hashes(package)?)
            }
            Origin::Url(url) => format!("{name} @ {}{}", self.url(package, url)?, self.hashes(package)?),
            Origin::Git { url, commit, subdirectory } => {
                let known = commit.len() >= 7 && commit.chars().all(|c| c.is_ascii_hexdigit());
                if !known {
                    return Err(self.refuse(package, "the commit is not locked"));
                }
                let url = self.url(package, url)?;
                let url = url.strip_prefix("git+").unwrap_or(url);
                let folder = match subdirectory {
                    Some(folder) => format!("#subdirectory={}", self.url(package, folder)?),
                    None => String::new(),
                };
                format!("{name} @ git+{url}@{commit}{folder}")
            }
            Origin::Path { path } => return self.push_path(package, path),
        };
        // An option behind the requirement is one of the hashes: nothing of a lock contains blanks.
        debug_assert!(files.is_empty() || !written.contains('\n'), "one line for each package");
        self.listed.push(Some(name), &shown, *line, &written);
        Ok(())
    }

    /// Looks for packages in a folder of the app, too.
    pub(crate) fn push_find_links(&mut self, folder: &str) {
        let Some(inside) = lexical(Path::new(folder)) else { return };
        let line = format!("--find-links {}\n", self.context.app_dir.join(&inside).display());
        if !self.listed.text.contains(&line) && !folder.contains(char::is_control) {
            self.listed.text.push_str(&line);
            self.listed.tree.local_paths.push(inside);
        }
    }

    fn url<'b>(&self, package: &LockedPackage, url: &'b str) -> Result<&'b str, Failure> {
        if url.is_empty() || url.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(self.refuse(package, "its address is none"));
        }
        Ok(url)
    }

    fn hashes(&self, package: &LockedPackage) -> Result<String, Failure> {
        let mut hashes: Vec<&str> = package.files.iter().map(|file| file.hash.as_str()).collect();
        hashes.sort_unstable();
        hashes.dedup();
        let mut text = String::new();
        for hash in hashes {
            let good = hash.split_once(':').is_some_and(|(algorithm, digits)| {
                !digits.is_empty()
                    && digits.chars().all(|c| c.is_ascii_hexdigit())
                    && matches!(algorithm, "md5" | "sha224" | "sha256" | "sha384" | "sha512" | "blake2b")
            });
            if !good {
                return Err(self.refuse(package, "one of its hashes is none"));
            }
            text.push_str(" --hash=");
            text.push_str(hash);
        }
        Ok(text)
    }

    /// A folder of the app is installed from where it lies, or as a copy; an archive is unpacked.
    fn push_path(&mut self, package: &LockedPackage, path: &str) -> Result<(), Failure> {
        let path = path.strip_prefix("file://").unwrap_or(path);
        let inside = lexical(Path::new(path)).filter(|inside| !inside.to_string_lossy().chars().any(char::is_control));
        let Some(inside) = inside else {
            return Err(self.manifest.refuse(
                package.line,
                &format!("{} is at {path}", package.name),
                "the path leads out of the app, and only the app's files are in the build",
                "move the package into the app, then make the lock anew",
            ));
        };
        let shown = format!("{} ({path})", package.name);
        let Some(target) = fs_err::canonicalize(self.context.app_dir.join(&inside)).ok() else {
            return Err(self.manifest.refuse(
                package.line,
                &format!("{} is at {path}, and nothing is there", package.name),
                "a package that is required by path lies in the app",
                "add it to the app; look whether .gitignore or an exclude rule keeps it away",
            ));
        };
        let root = fs_err::canonicalize(&self.context.app_dir).unwrap_or_else(|_| self.context.app_dir.clone());
        if !target.starts_with(root) {
            return Err(self.manifest.refuse(
                package.line,
                &format!("{} is at {path}, which is a link to {}", package.name, target.display()),
                "the link leads out of the app, and only the app's files are in the build",
                "put the package itself into the app",
            ));
        }
        if target.is_file() {
            self.check_file(package, path, &target)?;
        }
        let in_place = target.is_dir() && in_place(self.context, &inside)?;
        let relative = if inside.as_os_str().is_empty() { ".".to_owned() } else { format!("./{}", inside.display()) };
        let line = package.line;
        self.push_folder(Some(&package.name), &shown, line, &inside, &relative, in_place);
        Ok(())
    }

    /// A file of the app must be the one that was locked, where the lock has its SHA-256 (as all tools write it).
    fn check_file(&self, package: &LockedPackage, path: &str, target: &Path) -> Result<(), Failure> {
        let own = |file: &&LockedFile| file.name.as_deref().is_none_or(|name| is_named(name, path));
        let digests = package.files.iter().filter(own).filter_map(|file| file.hash.strip_prefix("sha256:"));
        let locked: Vec<&str> = digests.collect();
        if locked.is_empty() {
            return Ok(());
        }
        let doing = || format!("reading {path}");
        let found = sha256_of(target).map_err(|error| Failure::io(doing(), &error))?;
        if locked.iter().any(|digest| digest.eq_ignore_ascii_case(&found)) {
            return Ok(());
        }
        let hash: String = locked[0].chars().filter(char::is_ascii_hexdigit).take(64).collect();
        Err(self.manifest.refuse(
            package.line,
            &format!("{path} has the hash sha256:{found}, and sha256:{hash} is locked"),
            "the file is another one than the lock was made with",
            "put the file back that was locked, or make the lock anew with the tool that wrote it",
        ))
    }

    fn push_folder(
        &mut self,
        name: Option<&str>,
        shown: &str,
        line: usize,
        inside: &Path,
        relative: &str,
        in_place: bool,
    ) {
        if in_place {
            self.listed.push(name, shown, line, &format!("-e {relative}"));
            self.listed.tree.local_paths.push(inside.join("pyproject.toml"));
        } else {
            self.listed.push(name, shown, line, relative);
            self.listed.tree.local_paths.push(inside.to_owned());
        }
    }

    /// Remembers the archives of a package, so that the one which is installed or built is known by its hash.
    fn note_archives(&mut self, package: &LockedPackage) {
        let of = |file: &LockedFile| {
            let name = file.name.as_deref()?.rsplit('/').next()?.replace("%2B", "+");
            Some((name, file.hash.strip_prefix("sha256:")?.to_owned()))
        };
        let files: Vec<(String, String)> = package.files.iter().filter_map(of).collect();
        if !files.is_empty() {
            self.listed.archives.insert(normalize(&package.name), files);
        }
    }

    /// Whether any of the files that the lock names can be installed here; locks without names of files are believed.
    fn check_platform(&mut self, package: &LockedPackage) -> Result<(), Failure> {
        let names: Vec<&str> = package.files.iter().filter_map(|file| file.name.as_deref()).collect();
        if names.len() < package.files.len() || names.is_empty() {
            return Ok(());
        }
        let name = &package.name;
        if names.iter().any(|name| fits(name)) {
            let others = self.listed.wheels.add(name, &names, self.python);
            let has_source = names.iter().any(|name| !is_wheel(name));
            return match others.filter(|_| !has_source) {
                None => Ok(()),
                Some(others) => Err(self
                    .manifest
                    .refuse(
                        package.line,
                        &format!("{name}: its files are for {others}, and the build has {}", self.python),
                        "the lock was made for another Python, and has no source to build from",
                        "choose one of them: write its version into .python-version, or set BP_CPYTHON_VERSION",
                    )
                    .and_fix("or make the lock anew")),
            };
        }
        Err(self.manifest.refuse(
            package.line,
            &format!("{name}: none of its {} files is for Linux on {}", names.len(), std::env::consts::ARCH),
            "the lock was made for another platform only",
            "make the lock anew for Linux as well (or for all platforms, as the tools do by default)",
        ))
    }

    /// Refuses a Python that the lock was not made for.
    pub(crate) fn check_python(&mut self, line: usize, specifiers: &str) -> Result<(), Failure> {
        let (Some(wanted), Some(python)) = (Specifiers::parse(specifiers), Version::parse(self.python)) else {
            return Ok(());
        };
        self.listed.wheels.limit(|python| Version::parse(python).is_some_and(|python| wanted.allow(&python)));
        if wanted.allow(&python) {
            return Ok(());
        }
        Err(self.manifest.refuse(
            line,
            &format!("it is for Python {specifiers}, and the build has {}", self.python),
            "a lock holds only for the Pythons that it was made for",
            "choose one of them: write its version into .python-version, or set BP_CPYTHON_VERSION",
        ))
    }
}

/// Whether a file of a lock is the one at a path, by the last parts of both.
fn is_named(name: &str, path: &str) -> bool {
    let last = |text: &str| text.rsplit('/').next().unwrap_or_default().to_owned();
    last(name) == last(path)
}

/// Whether a folder of the app is installed from where it lies.
pub(crate) fn in_place(context: &Context, inside: &Path) -> Result<bool, Failure> {
    let dir = context.app_dir.join(inside);
    let project = PyProject::read_in(context, &inside.display().to_string())?;
    Ok(project.is_some_and(|project| project.installs_in_place(&dir)))
}

/// Adds the project itself to a list of requirements.
pub(crate) fn push_project(
    listed: &mut Listed,
    context: &Context,
    name: Option<&str>,
    extras: &[String],
) -> Result<(), Failure> {
    let extras = if extras.is_empty() { String::new() } else { format!("[{}]", extras.join(",")) };
    let shown = format!("the project itself{}{extras}", name.map(|name| format!(", {name}")).unwrap_or_default());
    let name = name.map(normalize);
    if in_place(context, Path::new(""))? {
        listed.push(name.as_deref(), &shown, 1, &format!("-e .{extras}"));
        listed.tree.local_paths.push("pyproject.toml".into());
    } else {
        listed.push(name.as_deref(), &shown, 1, &format!(".{extras}"));
        listed.tree.local_paths.push("".into());
    }
    Ok(())
}
