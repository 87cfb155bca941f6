//! Makes what a project cannot store: texts in other encodings, links, long files, wheels and source distributions.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::Path;

use fs_err as fs;

use super::expected::{Encoding, Made, Package};

/// Copies a project without its `expected.toml`, links as links.
pub fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        let kind = entry.file_type()?;
        if kind.is_symlink() {
            std::os::unix::fs::symlink(fs::read_link(entry.path())?, target)?;
        } else if kind.is_dir() {
            copy(&entry.path(), &target)?;
        } else if entry.file_name() != "expected.toml" {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// Makes one file below `dir`.
pub fn make(dir: &Path, made: &Made) -> Result<(), String> {
    let path = dir.join(&made.path);
    let failed = |error: io::Error| format!("making {}: {error}", made.path);
    fs::create_dir_all(path.parent().unwrap_or(dir)).map_err(failed)?;
    if let Some(target) = &made.link {
        return std::os::unix::fs::symlink(target, &path).map_err(failed);
    }
    if made.channel {
        return copy(&super::channel::dir(), &path).map_err(failed);
    }
    if let Some(package) = &made.package {
        return make_package(&path, package).map_err(|error| format!("making {}: {error}", made.path));
    }
    if let Some(folder) = &made.repository {
        return make_repository(&path, &dir.join(folder)).map_err(|error| format!("making {}: {error}", made.path));
    }
    let text = match &made.text {
        Some(text) => text.clone(),
        None => fs::read_to_string(&path).map_err(failed)?,
    };
    let mut whole = String::new();
    for number in 0..made.repeat {
        whole.push_str(&text.replace("{n}", &number.to_string()));
    }
    if made.crlf {
        whole = whole.replace('\n', "\r\n");
    }
    fs::write(&path, encode(&whole, made.encoding)?).map_err(failed)
}

fn encode(text: &str, encoding: Encoding) -> Result<Vec<u8>, String> {
    let utf16 =
        |order: fn(u16) -> [u8; 2]| "\u{FEFF}".encode_utf16().chain(text.encode_utf16()).flat_map(order).collect();
    Ok(match encoding {
        Encoding::Utf8 => text.as_bytes().to_vec(),
        Encoding::Utf8Bom => [b"\xEF\xBB\xBF", text.as_bytes()].concat(),
        Encoding::Utf16Le => utf16(u16::to_le_bytes),
        Encoding::Utf16Be => utf16(u16::to_be_bytes),
        Encoding::Latin1 => text
            .chars()
            .map(|c| u8::try_from(u32::from(c)).map_err(|_| format!("{c:?} is not in Latin-1")))
            .collect::<Result<_, _>>()?,
    })
}

/// A bare repository with what lies in a folder, in one commit of a fixed time, so that its id stays the same.
fn make_repository(path: &Path, folder: &Path) -> Result<(), String> {
    let git = |dir: &Path, arguments: &[&str]| {
        let mut command = std::process::Command::new("git");
        command.args(["-c", "init.defaultBranch=main", "-c", "core.autocrlf=false"]).args(arguments).current_dir(dir);
        for name in ["GIT_AUTHOR", "GIT_COMMITTER"] {
            command.env(format!("{name}_NAME"), "a").env(format!("{name}_EMAIL"), "a@b");
            command.env(format!("{name}_DATE"), "2020-01-01T00:00:00Z");
        }
        let done = command.env("GIT_CONFIG_GLOBAL", "/dev/null").output().map_err(|error| error.to_string())?;
        if done.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&done.stderr).into_owned()) }
    };
    git(folder, &["init", "--quiet"])?;
    git(folder, &["add", "."])?;
    git(folder, &["commit", "--quiet", "--message", "first"])?;
    git(folder, &["clone", "--quiet", "--bare", ".", &path.display().to_string()])?;
    fs::remove_dir_all(folder).map_err(|error| error.to_string())
}

fn make_package(path: &Path, package: &Package) -> Result<(), String> {
    let file = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let (stem, is_wheel) = match (file.strip_suffix(".whl"), file.strip_suffix(".tar.gz")) {
        (Some(stem), _) => (stem, true),
        (_, Some(stem)) => (stem, false),
        _ => return Err("a package is a .whl or a .tar.gz".to_owned()),
    };
    let mut parts = stem.split('-');
    let (Some(name), Some(version)) = (parts.next(), parts.next()) else {
        return Err("a package's file is called name-version…".to_owned());
    };
    let module = package.module.clone().unwrap_or_else(|| format!("VERSION = \"{version}\"\n"));
    let metadata = metadata(name, version, package);
    if is_wheel {
        let info = format!("{name}-{version}.dist-info");
        let mut files = vec![
            (format!("{name}.py"), module),
            (format!("{info}/METADATA"), metadata),
            (
                format!("{info}/WHEEL"),
                "Wheel-Version: 1.0\nGenerator: hoist\nRoot-Is-Purelib: true\nTag: py3-none-any\n".to_owned(),
            ),
        ];
        if !package.scripts.is_empty() {
            let mut text = "[console_scripts]\n".to_owned();
            for (script, target) in &package.scripts {
                let _ = writeln!(text, "{script} = {target}");
            }
            files.push((format!("{info}/entry_points.txt"), text));
        }
        let mut record: String = files.iter().fold(String::new(), |text, (name, _)| text + name + ",,\n");
        let _ = writeln!(record, "{info}/RECORD,,");
        files.push((format!("{info}/RECORD"), record));
        return zip_of(path, &files).map_err(|error| error.to_string());
    }
    let root = format!("{name}-{version}");
    let setup = format!(
        "from setuptools import setup\nsetup(name={name:?}, version={version:?}, py_modules=[{name:?}], install_requires={:?})\n",
        package.requires
    );
    let files = [
        (format!("{root}/setup.py"), setup),
        (format!("{root}/{name}.py"), module),
        (format!("{root}/PKG-INFO"), metadata),
    ];
    tar_gz_of(path, &files).map_err(|error| error.to_string())
}

fn metadata(name: &str, version: &str, package: &Package) -> String {
    let name = name.replace('_', "-");
    let mut text = format!("Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nLicense: MIT\n");
    if let Some(range) = &package.requires_python {
        let _ = writeln!(text, "Requires-Python: {range}");
    }
    for requirement in &package.requires {
        let _ = writeln!(text, "Requires-Dist: {requirement}");
    }
    for (extra, requirements) in &package.extras {
        let _ = writeln!(text, "Provides-Extra: {extra}");
        for requirement in requirements {
            let _ = writeln!(text, "Requires-Dist: {requirement}; extra == '{extra}'");
        }
    }
    text
}

fn zip_of(path: &Path, files: &[(String, String)]) -> io::Result<()> {
    let mut zip = zip::ZipWriter::new(fs::File::create(path)?);
    // The same bytes on every day, so that a hash in a project stays right.
    let options = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for (name, text) in files {
        zip.start_file(name.as_str(), options)?;
        zip.write_all(text.as_bytes())?;
    }
    zip.finish()?;
    Ok(())
}

fn tar_gz_of(path: &Path, files: &[(String, String)]) -> io::Result<()> {
    let gz = flate2::GzBuilder::new().mtime(0).write(fs::File::create(path)?, flate2::Compression::fast());
    let mut tar = tar::Builder::new(gz);
    for (name, text) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(text.len() as u64);
        tar.append_data(&mut header, name, text.as_bytes())?;
    }
    tar.into_inner()?.finish()?.flush()
}
