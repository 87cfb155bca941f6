//! The licences of Debian's packages: the machine-readable `copyright` (DEP-5, "Machine-readable debian/copyright file"), for what a package is made
//! of. A package without one is listed without licences.

use std::collections::BTreeMap;
use std::path::Path;

use fs_err as fs;
use hoist_debian::{LockedPackage, Paragraph, parse_paragraphs};

use super::licence::{Licences, Term};
use super::{Component, purl_encoded, read_start};

/// A copyright file is no longer; the largest of Debian has some megabytes.
const MAX_BYTES: u64 = 1 << 20;
/// Where Debian has them, below the root.
const DOCUMENTATION: &str = "usr/share/doc";

/// The licences of packages by their name.
pub(crate) type PackageLicences = BTreeMap<String, Licences>;

/// Whether a path of a package, without `./`, is its copyright file, or a link in place of the folder that it is in.
pub(crate) fn is_copyright(path: &str) -> bool {
    let Some(below) = path.strip_prefix(DOCUMENTATION).and_then(|rest| rest.strip_prefix('/')) else { return false };
    match below.split_once('/') {
        Some((_, name)) => name == "copyright",
        None => !below.is_empty(),
    }
}

/// A package of a suite as a component of a bill.
pub(crate) fn component(package: &LockedPackage, suite: &str, licences: &PackageLicences) -> Component {
    let LockedPackage { name, version, architecture, filename, sha256, .. } = package;
    let encoded = |text: &str| purl_encoded(text).replace(':', "%3A");
    let purl = format!("pkg:deb/debian/{}@{}?arch={architecture}&distro={suite}", encoded(name), encoded(version));
    // Python's own copyright file is one for people.
    let is_python = ["python3.", "libpython3."].iter().any(|start| name.starts_with(start));
    let of_python = || is_python.then(|| Licences::of_id("Python-2.0"));
    Component {
        name: name.clone(),
        version: version.clone(),
        purl,
        licences: licences.get(name).cloned().or_else(of_python).unwrap_or_default(),
        sha256: Some(sha256.clone()),
        archive: filename.rsplit('/').next().map(str::to_owned),
        ..Component::default()
    }
}

/// Reads the copyright files that were unpacked below `root`, and removes their folders.
pub(crate) fn take_copyrights(root: &Path) -> std::io::Result<PackageLicences> {
    let dir = root.join(DOCUMENTATION);
    let mut found = PackageLicences::new();
    if !dir.is_dir() {
        return Ok(found);
    }
    let inside = fs::canonicalize(&dir)?;
    for entry in fs::read_dir(&dir)?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        // The folder of another package of the same source may stand for it.
        let path = fs::canonicalize(entry.path().join("copyright")).ok().filter(|path| path.starts_with(&inside));
        let Some(text) = path.and_then(|path| read_start(&path, MAX_BYTES).ok()) else { continue };
        let licences = parse_copyright(&text);
        if !licences.terms().is_empty() {
            found.insert(name, licences);
        }
    }
    fs::remove_dir_all(dir)?;
    Ok(found)
}

/// The licences of all files but those of the packaging.
fn parse_copyright(text: &str) -> Licences {
    let mut found = Licences::default();
    let is_readable = text.trim_start().get(..7).is_some_and(|start| start.eq_ignore_ascii_case("Format:"));
    let Some(paragraphs) = is_readable.then(|| parse_paragraphs(text).ok()).flatten() else { return found };
    let is_packaging = |files: &str| files.split_whitespace().all(|file| file.starts_with("debian/"));
    let of_files = |paragraph: &&Paragraph| paragraph.get("Files").is_some_and(|files| !is_packaging(files));
    for paragraph in paragraphs.iter().filter(of_files) {
        let first = paragraph.get("License").and_then(|text| text.lines().next()).unwrap_or_default();
        if let Some(term) = term(first.trim()) {
            found.push(term);
        }
    }
    found
}

/// `GPL-2+ or Artistic`: Debian's short names, with `and`, `or` and commas.
fn term(text: &str) -> Option<Term> {
    if text.is_empty() || text.len() > 200 {
        return None;
    }
    let lower = text.to_lowercase();
    let is_expression = lower.split_whitespace().all(|word| {
        let word = word.trim_end_matches(',');
        matches!(word, "and" | "or") || identifier(word).is_some()
    });
    if !is_expression || text.contains(',') {
        return Some(Term::Name(text.to_owned()));
    }
    let words = lower.split_whitespace().map(|word| match word {
        "and" => "AND",
        "or" => "OR",
        word => identifier(word).unwrap_or(word),
    });
    let expression = words.collect::<Vec<_>>().join(" ");
    let is_valid = spdx::Expression::parse(&expression).is_ok();
    Some(if is_valid { Term::Expression(expression) } else { Term::Name(text.to_owned()) })
}

/// The SPDX identifier of a short name, in small letters.
fn identifier(short: &str) -> Option<&'static str> {
    Some(match short {
        "expat" | "mit" => "MIT",
        "x11" => "X11",
        "isc" => "ISC",
        "zlib" => "Zlib",
        "bsd-2-clause" => "BSD-2-Clause",
        "bsd-3-clause" => "BSD-3-Clause",
        "bsd-4-clause" => "BSD-4-Clause",
        "0bsd" => "0BSD",
        "apache-2.0" | "apache-2" => "Apache-2.0",
        "artistic" => "Artistic-1.0-Perl",
        "artistic-2.0" => "Artistic-2.0",
        "cc0" | "cc0-1.0" => "CC0-1.0",
        "bsl-1.0" => "BSL-1.0",
        "mpl-1.1" => "MPL-1.1",
        "mpl-2.0" => "MPL-2.0",
        "python-2.0" => "Python-2.0",
        "psf-2" | "psf-2.0" => "PSF-2.0",
        "openssl" => "OpenSSL",
        "curl" => "curl",
        "gpl-1" => "GPL-1.0-only",
        "gpl-1+" => "GPL-1.0-or-later",
        "gpl-2" | "gpl-2.0" => "GPL-2.0-only",
        "gpl-2+" | "gpl-2.0+" => "GPL-2.0-or-later",
        "gpl-3" | "gpl-3.0" => "GPL-3.0-only",
        "gpl-3+" | "gpl-3.0+" => "GPL-3.0-or-later",
        "lgpl-2" | "lgpl-2.0" => "LGPL-2.0-only",
        "lgpl-2+" | "lgpl-2.0+" => "LGPL-2.0-or-later",
        "lgpl-2.1" => "LGPL-2.1-only",
        "lgpl-2.1+" => "LGPL-2.1-or-later",
        "lgpl-3" | "lgpl-3.0" => "LGPL-3.0-only",
        "lgpl-3+" | "lgpl-3.0+" => "LGPL-3.0-or-later",
        "agpl-3" => "AGPL-3.0-only",
        "agpl-3+" => "AGPL-3.0-or-later",
        "gfdl-1.3+" => "GFDL-1.3-or-later",
        "gfdl-1.3" => "GFDL-1.3-only",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORMAT: &str =
        "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\nUpstream-Name: x\n";

    fn said(text: &str) -> Vec<String> {
        let shown = |term: &Term| match term {
            Term::Expression(text) => text.clone(),
            Term::Name(name) => format!("`{name}`"),
        };
        parse_copyright(text).terms().iter().map(shown).collect()
    }

    #[test]
    fn what_the_files_are_under_is_listed_and_the_packaging_is_not() {
        let text = format!(
            "{FORMAT}\nFiles: *\nCopyright: A\nLicense: Expat\n\nFiles: src/b.c\nCopyright: B\nLicense: Artistic or GPL-1+\n\nFiles: z.c\nLicense: Expat\n\nFiles: debian/* debian/x\nCopyright: D\nLicense: GPL-3+\n\nFiles: own\nLicense: public-domain\n Nobody has it.\n\nLicense: Expat\n Permission is\n"
        );
        assert_eq!(said(&text), ["MIT", "Artistic-1.0-Perl OR GPL-1.0-or-later", "`public-domain`"]);
        assert_eq!(
            said(&format!("{FORMAT}\nFiles: *\nLicense: GPL-2+ with OpenSSL exception\n")),
            ["`GPL-2+ with OpenSSL exception`"]
        );
    }

    #[test]
    fn a_copyright_for_people_alone_says_nothing() {
        assert_eq!(said("This package was put together by somebody.\n\nLicense: MIT\n"), Vec::<String>::new());
        assert_eq!(said(""), Vec::<String>::new());
    }

    #[test]
    fn only_copyright_files_are_looked_for_and_nothing_of_them_stays() {
        for (path, wanted) in [
            ("usr/share/doc/a/copyright", true),
            ("usr/share/doc/b", true),
            ("usr/share/doc/a/changelog.gz", false),
            ("usr/share/doc/a/x/copyright", false),
            ("usr/share/doc", false),
        ] {
            assert_eq!(is_copyright(path), wanted, "{path}");
        }
        let dir = tempfile::tempdir().unwrap();
        let doc = dir.path().join(DOCUMENTATION);
        fs::create_dir_all(doc.join("a")).unwrap();
        fs::write(doc.join("a/copyright"), format!("{FORMAT}\nFiles: *\nLicense: Expat\n")).unwrap();
        std::os::unix::fs::symlink("a", doc.join("b")).unwrap();
        std::os::unix::fs::symlink("/etc", doc.join("c")).unwrap();
        let found = take_copyrights(dir.path()).unwrap();
        assert_eq!(found.keys().collect::<Vec<_>>(), ["a", "b"]);
        assert!(!doc.exists());
    }
}
