//! Has the process trust the certificates of service bindings of type `ca-certificates`, beside those that the image has.
//!
//! All of them go into one file, because that is what programs take, and the variables by which they take it are set. A file that somebody named in
//! `SSL_CERT_FILE` stands for those of the image; the other variables stay where they are set. Knows nothing of what a certificate says.

use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use hoist_spec::{CERTIFICATE_VARIABLES, Environment};

use crate::programs::say;

const KIND: &str = "ca-certificates";
const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
/// OpenSSL's, whose file holds all that is trusted.
const FILE_VARIABLE: &str = CERTIFICATE_VARIABLES[0];
/// Where systems keep all that they trust.
const BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];
/// Where a file may be written, after `TMPDIR`; of a read-only container some are in memory.
const FOLDERS: [&str; 4] = ["/tmp", "/dev/shm", "/run", "/var/tmp"];
/// Larger files are no certificates.
const MAX_BYTES: u64 = 4 << 20;

/// The variables, where there are certificates.
pub(crate) fn variables(environment: &Environment) -> Vec<(&'static str, OsString)> {
    let Some(root) = environment.get("SERVICE_BINDING_ROOT").map(PathBuf::from) else { return Vec::new() };
    let mut added = String::new();
    for binding in bindings(&root) {
        let text = certificates(&binding);
        let name = binding.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match text.matches(BEGIN).count() {
            0 => say(&format!("the binding {name} of type {KIND} has no certificate (a PEM file)")),
            1 => say(&format!("1 certificate of the binding {name} is trusted")),
            count => say(&format!("{count} certificates of the binding {name} are trusted")),
        }
        added.push_str(&text);
    }
    if added.is_empty() {
        return Vec::new();
    }
    let named = environment.get(FILE_VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from);
    let mut all = own(named).unwrap_or_default();
    if !all.is_empty() && !all.ends_with('\n') {
        all.push('\n');
    }
    all.push_str(&added);
    let folders = environment.get("TMPDIR").map(PathBuf::from).into_iter().chain(FOLDERS.map(PathBuf::from));
    let Some(path) = folders.filter(|dir| dir.is_absolute()).find_map(|dir| write(&dir, all.as_bytes()).ok()) else {
        let list = FOLDERS.join(", ");
        say(&format!(
            "certificates of bindings are not trusted: no file can be written to TMPDIR, {list}; mount a folder in memory there"
        ));
        return Vec::new();
    };
    let is_meant = |name: &&str| *name == FILE_VARIABLE || environment.get(name).is_none_or(OsStr::is_empty);
    CERTIFICATE_VARIABLES.into_iter().filter(is_meant).map(|name| (name, path.clone().into_os_string())).collect()
}

/// The folders of bindings of the type, by name. Kubernetes keeps what they link to beside them, in folders that begin with two points.
fn bindings(root: &Path) -> Vec<PathBuf> {
    let is_it = |dir: &PathBuf| read(&dir.join("type")).is_some_and(|kind| kind.trim().eq_ignore_ascii_case(KIND));
    entries(root).into_iter().filter(is_it).collect()
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    let Ok(listed) = dir.read_dir() else { return Vec::new() };
    let mut found: Vec<PathBuf> = listed.flatten().map(|entry| entry.path()).collect();
    found.retain(|path| !path.file_name().unwrap_or_default().to_string_lossy().starts_with(".."));
    found.sort();
    found
}

/// The texts of a binding's files that hold certificates, each with a line end.
fn certificates(binding: &Path) -> String {
    let texts = entries(binding).into_iter().filter_map(|path| read(&path)).filter(|text| text.contains(BEGIN));
    texts.map(|text| if text.ends_with('\n') { text } else { text + "\n" }).collect()
}

/// What is trusted already.
fn own(named: Option<PathBuf>) -> Option<String> {
    named.and_then(|path| read(&path)).or_else(|| BUNDLES.iter().find_map(|path| read(Path::new(path))))
}

#[allow(
    clippy::disallowed_methods,
    reason = "what cannot be read is no certificate; fs_err would be one more dependency"
)]
fn read(path: &Path) -> Option<String> {
    let about = path.metadata().ok().filter(|about| about.is_file() && about.len() <= MAX_BYTES)?;
    let mut text = String::with_capacity(usize::try_from(about.len()).ok()?);
    io::Read::read_to_string(&mut io::Read::take(std::fs::File::open(path).ok()?, MAX_BYTES), &mut text).ok()?;
    Some(text)
}

/// Writes a file whose name follows from its content, so that starts do not heap up files; one that is there must be this user's and the same.
#[allow(clippy::disallowed_methods, reason = "another folder is tried; fs_err would be one more dependency")]
fn write(dir: &Path, bytes: &[u8]) -> io::Result<PathBuf> {
    for attempt in 0..8_u64 {
        let path = dir.join(format!("hoist-certificates-{:016x}.pem", hash(bytes, attempt)));
        match std::fs::OpenOptions::new().write(true).create_new(true).mode(0o644).open(&path) {
            Ok(mut file) => {
                if let Err(error) = file.write_all(bytes) {
                    let _ = std::fs::remove_file(&path); // half a file is of no use
                    return Err(error);
                }
                return Ok(path);
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                // SAFETY: asks for a number and cannot fail.
                let user = unsafe { libc::geteuid() };
                let is_own = path.symlink_metadata().is_ok_and(|about| about.is_file() && about.uid() == user);
                if is_own && std::fs::read(&path).is_ok_and(|there| there == bytes) {
                    return Ok(path);
                }
            }
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::from(io::ErrorKind::AlreadyExists))
}

/// FNV-1a: a name, no protection.
fn hash(bytes: &[u8], seed: u64) -> u64 {
    let start = 0xcbf2_9ce4_8422_2325 ^ seed;
    bytes.iter().fold(start, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // files of a test
mod tests {
    use super::*;

    fn pem(who: &str) -> String {
        format!("{BEGIN}\n{who}\n-----END CERTIFICATE-----")
    }

    fn put(path: &Path, text: &str) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    #[test]
    fn those_of_bindings_stand_behind_those_that_are_trusted_already() {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| dir.path().join(path);
        put(&at("own.pem"), &pem("own"));
        put(&at("bindings/ours/type"), "CA-Certificates\n");
        put(&at("bindings/ours/..data/b.crt"), &pem("not twice"));
        std::os::unix::fs::symlink("..data/b.crt", at("bindings/ours/b.crt")).unwrap();
        put(&at("bindings/ours/a.pem"), &pem("first"));
        put(&at("bindings/ours/provider"), "me");
        put(&at("bindings/database/type"), "postgresql");
        put(&at("bindings/database/ca.pem"), &pem("another"));
        std::fs::create_dir(at("tmp")).unwrap();
        let environment = Environment::from_variables([
            ("SERVICE_BINDING_ROOT".into(), at("bindings").into()),
            (FILE_VARIABLE.into(), at("own.pem").into()),
            ("REQUESTS_CA_BUNDLE".into(), "/mine.pem".into()),
            ("TMPDIR".into(), at("tmp").into()),
        ]);
        let first = variables(&environment);
        let path = PathBuf::from(&first[0].1);
        assert_eq!((first[0].0, path.parent()), (FILE_VARIABLE, Some(at("tmp").as_path())));
        assert!(first.iter().all(|(name, value)| *name != "REQUESTS_CA_BUNDLE" && *value == first[0].1));
        assert_eq!(first.len(), CERTIFICATE_VARIABLES.len() - 1);
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, [pem("own"), pem("first"), pem("not twice"), String::new()].join("\n"));
        assert_eq!(variables(&environment), first, "a second start takes the file of the first");
        std::fs::write(&path, "changed").unwrap();
        let other = variables(&environment);
        assert!(other[0].1 != first[0].1 && std::fs::read_to_string(&other[0].1).unwrap() == text);
    }

    #[test]
    fn without_certificates_nothing_is_set() {
        let dir = tempfile::tempdir().unwrap();
        let environment =
            Environment::from_variables([("SERVICE_BINDING_ROOT".into(), dir.path().join("none").into())]);
        assert_eq!(variables(&environment), Vec::new());
        assert_eq!(variables(&Environment::new()), Vec::new());
    }
}
