//! Makes a layer of package files: unpacked below `usr` without what no program needs, with links, pkg-config files and scripts that say where they
//! are, and the variables with which others find what is there. No maintainer script is run.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use fs_err as fs;
use hoist_debian::{UnpackError, UnpackOptions, unpack_into};

use crate::install::is_library;
use crate::layer::{EnvironmentChange, EnvironmentScope};
use crate::python::merged_usr;
use crate::sbom::debian::is_copyright;

/// Parts of packages that nobody needs in an image, below `usr`. Copyright files stay until the bill is written.
const PRUNED: &[&str] = &[
    "share/man",
    "share/locale",
    "share/info",
    "share/lintian",
    "share/bug",
    "share/doc-base",
    "share/menu",
    "share/applications",
    "share/pixmaps",
    "share/icons",
    "share/bash-completion",
    "share/zsh",
    "share/fish",
    "share/gtk-doc",
    "lib/systemd",
    "lib/tmpfiles.d",
    "lib/sysusers.d",
];

/// Where a program looks for its data, and the variable that leads it there; `*` is the multiarch name.
const DATA: &[(&str, &str)] = &[
    ("usr/lib/*/girepository-1.0", "GI_TYPELIB_PATH"),
    ("usr/lib/*/gstreamer-1.0", "GST_PLUGIN_SYSTEM_PATH"),
    ("usr/share/tesseract-ocr/5/tessdata", "TESSDATA_PREFIX"),
    ("usr/share/proj", "PROJ_DATA"),
    ("usr/share/gdal", "GDAL_DATA"),
    ("usr/lib/*/dri", "LIBGL_DRIVERS_PATH"),
    ("etc/fonts", "FONTCONFIG_PATH"),
    ("etc/ImageMagick-7", "MAGICK_CONFIGURE_PATH"),
];

/// Largest text that is rewritten: pkg-config files and `*-config` scripts are a few kilobytes.
const MAX_TEXT_BYTES: u64 = 256 << 10;

/// Why a layer cannot be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InstallError {
    #[error("a package cannot be unpacked")]
    Unpack(#[source] UnpackError),
    #[error("{action}")]
    Io { action: &'static str, source: std::io::Error },
}

/// Unpacks packages into a layer's folder. What is for builds alone may lead to `base`, the root of the build image, too.
pub(crate) fn unpack(dir: &Path, debs: &[PathBuf], base: Option<&Path>) -> Result<(), InstallError> {
    for deb in debs {
        unpack_into(deb, dir, &UnpackOptions { filter: Some(&is_wanted), rewrite: Some(&merged_usr) })
            .map_err(InstallError::Unpack)?;
    }
    relocate(dir, base).map_err(|source| InstallError::Io { action: "making the packages find their files", source })
}

/// A variable of the layer: when it holds, its name, how it changes and to what.
pub(crate) type Variable = (EnvironmentScope, &'static str, EnvironmentChange, String);

/// The variables by which programs, libraries, headers and data of a layer are found.
pub(crate) fn variables(dir: &Path, scope: EnvironmentScope, multiarch: &str) -> Vec<Variable> {
    let below = |folders: &[String]| -> Option<String> {
        let found: Vec<String> = folders
            .iter()
            .map(|folder| dir.join(folder))
            .filter(|path| path.is_dir())
            .map(|path| path.display().to_string())
            .collect();
        (!found.is_empty()).then(|| found.join(":"))
    };
    let names = |folders: &[&str]| folders.iter().map(|folder| folder.replace('*', multiarch)).collect::<Vec<_>>();
    let mut libraries = names(&["usr/lib/*", "usr/lib"]);
    libraries.extend(library_folders(dir, &libraries[0]));
    let mut found = Vec::new();
    let mut prepend = |scope, name, value: Option<String>| {
        found.extend(value.map(|value| (scope, name, EnvironmentChange::Prepend(":"), value)));
    };
    prepend(scope, "PATH", below(&names(&["usr/bin", "usr/sbin", "usr/games"])));
    prepend(scope, "LD_LIBRARY_PATH", below(&libraries));
    if scope != EnvironmentScope::Launch {
        let build = EnvironmentScope::Build;
        prepend(build, "LIBRARY_PATH", below(&libraries));
        prepend(build, "CPATH", below(&names(&["usr/include/*", "usr/include"])));
        let pkg_config = names(&["usr/lib/*/pkgconfig", "usr/lib/pkgconfig", "usr/share/pkgconfig"]);
        prepend(build, "PKG_CONFIG_PATH", below(&pkg_config));
    }
    for (folder, name) in DATA {
        let path = below(&[folder.replace('*', multiarch)]);
        found.extend(path.map(|path| (scope, *name, EnvironmentChange::Default, path)));
    }
    if dir.join("usr/share").is_dir() {
        let value = format!("{}:/usr/local/share:/usr/share", dir.join("usr/share").display());
        found.push((scope, "XDG_DATA_DIRS", EnvironmentChange::Default, value));
    }
    found
}

/// Folders beside the usual one that hold libraries which a link of Debian's alternatives would have led to: `blas`, `lapack`.
fn library_folders(dir: &Path, usual: &str) -> Vec<String> {
    let mut found: Vec<String> = fs::read_dir(dir.join(usual))
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.path().is_dir())
        .filter(|entry| {
            let files = fs::read_dir(entry.path()).into_iter().flatten().flatten();
            files
                .map(|file| file.file_name().to_string_lossy().into_owned())
                .any(|name| name.starts_with("lib") && is_library(&name) && !has_extension(&name, "so"))
        })
        .map(|entry| format!("{usual}/{}", entry.file_name().to_string_lossy()))
        .collect();
    found.sort();
    found
}

fn is_wanted(path: &str) -> bool {
    let Some(below) = path.strip_prefix("usr/") else {
        return path == "usr" || path == "etc" || path.starts_with("etc/") || path == "opt" || path.starts_with("opt/");
    };
    let is_below =
        |folder: &str| below == folder || below.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'));
    let is_documentation = is_below("share/doc") && !is_copyright(path);
    !PRUNED.iter().any(|pruned| is_below(pruned)) && !is_documentation
}

/// Absolute links lead into the layer where it has what they name, and others to the base where that has it (`libldap.so` of a package for a library
/// of the base); pkg-config files and scripts that tell compilers where things are tell of the layer.
fn relocate(dir: &Path, base: Option<&Path>) -> std::io::Result<()> {
    let root = dir.display().to_string();
    for entry in walkdir::WalkDir::new(dir).sort_by_file_name() {
        let entry = entry?;
        let path = entry.path();
        let name = entry.file_name().to_string_lossy();
        if entry.path_is_symlink() {
            let target = fs::read_link(path)?;
            let led = match target.strip_prefix("/") {
                Ok(below) => Some(dir.join(merged_usr(&below.to_string_lossy()))),
                Err(_) => base.and_then(|base| in_base(base, path.strip_prefix(dir).ok()?, &target)),
            };
            if let Some(led) = led.filter(|led| led.symlink_metadata().is_ok() && !path.exists()) {
                fs::remove_file(path)?;
                symlink(led, path)?;
            }
        } else if entry.file_type().is_file()
            && tells_compilers(path, &name)
            && entry.metadata()?.len() <= MAX_TEXT_BYTES
        {
            let Ok(text) = String::from_utf8(fs::read(path)?) else { continue };
            if has_extension(&name, "pc") || text.starts_with("#!") {
                let text = at_its_place(&text, &root);
                fs::write(path, without_perl(&text).unwrap_or(text))?;
            }
        }
    }
    Ok(())
}

/// What a relative link names, in the base: the link lies there at the same place.
fn in_base(base: &Path, link: &Path, target: &Path) -> Option<PathBuf> {
    let named = crate::pip::requirements::lexical(&link.parent()?.join(target))?;
    Some(base.join(named))
}

/// PostgreSQL's `pg_config` is a script of Perl's, which the base does not have: one of the shell's that answers the same. None for other scripts.
fn without_perl(text: &str) -> Option<String> {
    let (_, data) = text.split_once("\n__DATA__\n").filter(|_| text.starts_with("#!/usr/bin/perl"))?;
    let values = data.split("\n\n").next()?.trim_end();
    let is_value = |line: &str| line.split_once(" =").is_some_and(|(key, _)| !key.contains(char::is_whitespace));
    (values.lines().all(is_value) && !values.contains("\nEND\n")).then(|| {
        format!(
            "#!/bin/sh\nvalues() {{\ncat <<'END'\n{values}\nEND\n}}\n[ $# -gt 0 ] || {{ values; exit 0; }}\nfor asked; do\n    \
             key=$(printf '%s' \"${{asked#--}}\" | tr a-z A-Z)\n    values | grep -q \"^$key =\" || {{ echo \"pg_config: invalid argument: $asked\"; exit 1; }}\n    \
             values | sed -n \"s|^$key = *||p\"\ndone\n"
        )
    })
}

fn has_extension(name: &str, wanted: &str) -> bool {
    Path::new(name).extension().is_some_and(|extension| extension == wanted)
}

fn tells_compilers(path: &Path, name: &str) -> bool {
    let is_program = path.parent().is_some_and(|folder| folder.ends_with("usr/bin"));
    has_extension(name, "pc") || (is_program && (name.ends_with("-config") || name.ends_with("_config")))
}

/// `/usr` where a path begins, below the layer: `prefix=/usr`, `-I/usr/include/mariadb`; a first line `#!/usr/bin/python3` stays.
fn at_its_place(text: &str, root: &str) -> String {
    let (first, rest) = match text.split_once('\n') {
        Some((first, rest)) if first.starts_with("#!") => (format!("{first}\n"), rest),
        _ => (String::new(), text),
    };
    let mut changed = first;
    let mut rest = rest;
    while let Some(at) = rest.find("/usr") {
        let (before, from) = rest.split_at(at);
        let begins = !before.ends_with(|c: char| c.is_alphanumeric() || matches!(c, '/' | '}' | ')' | '.' | '_' | '-'))
            || before.ends_with("-I")
            || before.ends_with("-L");
        let ends = from[4..].starts_with(|c: char| !c.is_alphanumeric()) || from.len() == 4;
        changed.push_str(before);
        if begins && ends {
            changed.push_str(root);
        }
        changed.push_str("/usr");
        rest = &from[4..];
    }
    changed + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_programs_need_is_taken_and_documentation_left() {
        for path in [
            "usr/bin/ffmpeg",
            "usr/lib/x86_64-linux-gnu/libGL.so.1",
            "etc/fonts/fonts.conf",
            "usr/share/doc/x/copyright",
            "opt/x/y",
        ] {
            assert!(is_wanted(path), "{path}");
        }
        for path in [
            "usr/share/man/man1/x.1.gz",
            "usr/share/doc/x/changelog.gz",
            "var/lib/x",
            "usr/share/locale/de/x",
            "boot/x",
            "root/.x",
        ] {
            assert!(!is_wanted(path), "{path}");
        }
    }

    #[test]
    fn paths_of_usr_lead_into_the_layer() {
        let text = "#!/usr/bin/sh\nprefix=/usr\nlibs=\"-L/usr/lib -I/usr/include/a\"\nown=${prefix}/usr/x /usr2 a/usr/b\nend=/usr";
        let wanted = "#!/usr/bin/sh\nprefix=/L/usr\nlibs=\"-L/L/usr/lib -I/L/usr/include/a\"\nown=${prefix}/usr/x /usr2 a/usr/b\nend=/L/usr";
        assert_eq!(at_its_place(text, "/L"), wanted);
    }

    #[test]
    fn links_to_libraries_of_the_base_lead_there() {
        let (base, dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for (root, file) in [(&base, "libldap.so.2"), (&base, "libown.so.1"), (&dir, "libown.so.1")] {
            fs::create_dir_all(root.path().join("usr/lib/m")).unwrap();
            fs::write(root.path().join("usr/lib/m").join(file), "").unwrap();
        }
        let link = |name: &str| dir.path().join("usr/lib/m").join(name);
        for (name, target) in [("libldap.so", "libldap.so.2"), ("libown.so", "libown.so.1"), ("libgone.so", "gone")] {
            symlink(target, link(name)).unwrap();
        }
        symlink("../../../../../../etc/passwd", link("out.so")).unwrap();
        relocate(dir.path(), None).unwrap();
        assert_eq!(fs::read_link(link("libldap.so")).unwrap(), Path::new("libldap.so.2"), "the image has another base");
        relocate(dir.path(), Some(base.path())).unwrap();
        assert_eq!(fs::read_link(link("libldap.so")).unwrap(), base.path().join("usr/lib/m/libldap.so.2"));
        assert_eq!(fs::read_link(link("libown.so")).unwrap(), Path::new("libown.so.1"));
        assert_eq!(fs::read_link(link("libgone.so")).unwrap(), Path::new("gone"));
        assert_eq!(fs::read_link(link("out.so")).unwrap(), Path::new("../../../../../../etc/passwd"));
    }

    #[test]
    fn the_script_of_postgresql_answers_without_perl() {
        let script = "#!/usr/bin/perl\nexit 0;\n\n__DATA__\nINCLUDEDIR = /L/usr/include/postgresql\nINCLUDEDIR-SERVER = /L/s\nLDFLAGS_EX = \nVERSION = PostgreSQL 17.6 (Debian 'x' $HOME)\n\nUsage:\n";
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pg_config");
        fs::write(&path, without_perl(script).unwrap()).unwrap();
        let ask = |arguments: &[&str]| {
            let mut command = crate::process::command(Path::new("/bin/sh"), &crate::context::Environment::new());
            let output = crate::process::run(command.arg(&path).args(arguments)).unwrap();
            (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
        };
        assert_eq!(ask(&["--version"]), (0, "PostgreSQL 17.6 (Debian 'x' $HOME)\n".to_owned()));
        assert_eq!(ask(&["--includedir", "--ldflags_ex"]), (0, "/L/usr/include/postgresql\n\n".to_owned()));
        assert_eq!(ask(&["--nothing"]).0, 1);
        assert_eq!(ask(&[]).1.lines().count(), 4);
        assert_eq!(without_perl("#!/usr/bin/perl\nprint 1;\n"), None);
    }

    #[test]
    fn what_a_layer_has_is_found_by_variables() {
        let dir = tempfile::tempdir().unwrap();
        for file in [
            "usr/bin/tool",
            "usr/lib/m/libx.so.1",
            "usr/lib/m/blas/libblas.so.3",
            "usr/lib/m/plugins/own.so",
            "usr/include/x.h",
            "usr/lib/m/pkgconfig/x.pc",
            "etc/fonts/fonts.conf",
        ] {
            fs::create_dir_all(dir.path().join(file).parent().unwrap()).unwrap();
            fs::write(dir.path().join(file), "prefix=/usr\n").unwrap();
        }
        symlink("/usr/bin/tool", dir.path().join("usr/bin/other")).unwrap();
        symlink("/usr/bin/elsewhere", dir.path().join("usr/bin/away")).unwrap();
        relocate(dir.path(), None).unwrap();
        let root = dir.path().display().to_string();
        assert_eq!(
            fs::read_to_string(dir.path().join("usr/lib/m/pkgconfig/x.pc")).unwrap(),
            format!("prefix={root}/usr\n")
        );
        assert_eq!(fs::read_link(dir.path().join("usr/bin/other")).unwrap(), dir.path().join("usr/bin/tool"));
        assert_eq!(fs::read_link(dir.path().join("usr/bin/away")).unwrap(), Path::new("/usr/bin/elsewhere"));
        let shown = |scope| -> Vec<String> {
            let lines = variables(dir.path(), scope, "m").into_iter();
            lines.map(|(_, name, _, value)| format!("{name}={}", value.replace(&root, "L"))).collect()
        };
        let launch =
            ["PATH=L/usr/bin", "LD_LIBRARY_PATH=L/usr/lib/m:L/usr/lib:L/usr/lib/m/blas", "FONTCONFIG_PATH=L/etc/fonts"];
        assert_eq!(shown(EnvironmentScope::Launch), launch);
        let build = shown(EnvironmentScope::All);
        assert!(build.contains(&"CPATH=L/usr/include".to_owned()), "{build:?}");
        assert!(build.contains(&"PKG_CONFIG_PATH=L/usr/lib/m/pkgconfig".to_owned()), "{build:?}");
    }
}
