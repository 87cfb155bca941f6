//! Service bindings (the Service Binding Specification for Kubernetes, as the CNB specification takes it over): folders below
//! `<platform>/bindings` or `$SERVICE_BINDING_ROOT`, each with a file `type` and any other files.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fs_err as fs;

/// A binding's values are files of people; none is read beyond this size.
const MAX_VALUE_BYTES: u64 = 32 << 20;

/// The type of bindings with certificates of authorities.
const CA_TYPE: &str = "ca-certificates";
/// The file with all that the machine trusts, in the binding that hoist makes of it (its `provider` is hoist).
const CA_BUNDLE: &str = "ca.pem";

/// All bindings of a build, sorted by folder name.
#[derive(Debug, Clone, Default)]
pub struct Bindings {
    found: Vec<Binding>,
    /// The authorities that bindings add to those of the build image, in one file as installers want them.
    authorities: Option<Arc<tempfile::TempPath>>,
}

/// One binding.
#[derive(Debug, Clone)]
pub struct Binding {
    /// The folder's name.
    pub name: String,
    /// The content of `type`, in lower case, as the specification compares it.
    pub kind: String,
    /// The folder.
    pub dir: PathBuf,
}

impl Bindings {
    /// Reads the bindings below `root`; a folder that is not there has none.
    pub fn read(root: &Path) -> Self {
        let Ok(folders) = fs::read_dir(root) else { return Self::default() };
        let mut found: Vec<Binding> = folders
            .flatten()
            .filter_map(|entry| {
                let dir = entry.path();
                let kind = fs::read_to_string(dir.join("type")).ok()?.trim().to_lowercase();
                Some(Binding { name: entry.file_name().to_string_lossy().into_owned(), kind, dir })
            })
            .collect();
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Self { found, authorities: None }
    }

    /// Has the certificates of `ca-certificates` bindings ready, as files of any name (the convention of that type), together with those of the
    /// machine, or else of the build image below `root`: an installer takes one file, and trusts nobody else.
    pub(crate) fn with_authorities(mut self, root: &Path) -> io::Result<Self> {
        let added = self.certificates();
        if !added.is_empty() {
            let mut file = tempfile::Builder::new().prefix("authorities").suffix(".pem").tempfile()?;
            let own = self.of_machine().unwrap_or_else(|| root.join("etc/ssl/certs/ca-certificates.crt"));
            let own = fs::read_to_string(own).unwrap_or_default();
            for text in std::iter::once(own).chain(added) {
                writeln!(file, "{text}")?;
            }
            self.authorities = Some(Arc::new(file.into_temp_path()));
        }
        Ok(self)
    }

    /// Whom the installers are to trust, where a binding says so: the gathered ones, or all that hoist's machine trusts.
    pub fn authorities(&self) -> Option<PathBuf> {
        self.authorities.as_ref().map(|path| path.to_path_buf()).or_else(|| self.of_machine())
    }

    /// All that the machine trusts, where hoist says so.
    fn of_machine(&self) -> Option<PathBuf> {
        self.of_type(CA_TYPE).filter(|binding| binding.is_of_hoist()).find_map(|binding| binding.path(CA_BUNDLE))
    }

    /// The texts of the certificates that users added to those.
    pub(crate) fn certificates(&self) -> Vec<String> {
        let added = self.of_type(CA_TYPE).filter(|binding| !binding.is_of_hoist());
        added.flat_map(Binding::certificates).collect()
    }

    /// The bindings of a type.
    pub fn of_type<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Binding> {
        self.found.iter().filter(move |binding| binding.kind == kind)
    }
}

impl Binding {
    /// Whether hoist made it of what its machine has.
    fn is_of_hoist(&self) -> bool {
        self.text("provider").is_some_and(|provider| provider.trim() == "hoist")
    }

    /// The texts of its files that hold certificates, sorted by name.
    fn certificates(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(&self.dir) else { return Vec::new() };
        let mut names: Vec<String> =
            entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort_unstable();
        names.retain(|name| name != "type");
        let texts = names.iter().filter_map(|name| self.text(name));
        texts.filter(|text| text.contains("-----BEGIN CERTIFICATE-----")).collect()
    }

    /// The path of a value, when the file exists.
    pub fn path(&self, key: &str) -> Option<PathBuf> {
        let path = self.dir.join(key);
        path.is_file().then_some(path)
    }

    /// The text of a value, when it exists and is UTF-8 of a sane size.
    pub fn text(&self, key: &str) -> Option<String> {
        let path = self.path(key)?;
        if fs::metadata(&path).ok()?.len() > MAX_VALUE_BYTES {
            return None;
        }
        fs::read_to_string(path).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_of_any_name_are_trusted_beside_those_of_the_image() {
        let dir = tempfile::tempdir().unwrap();
        let pem = |who: &str| format!("-----BEGIN CERTIFICATE-----\n{who}\n-----END CERTIFICATE-----");
        let write = |path: &str, text: &str| {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("root/etc/ssl/certs/ca-certificates.crt", &pem("public"));
        write("bindings/ours/type", "CA-Certificates\n");
        write("bindings/ours/b.crt", &pem("second"));
        write("bindings/ours/a.pem", &pem("first"));
        write("bindings/ours/notes", "no certificate");
        let read = || Bindings::read(&dir.path().join("bindings")).with_authorities(&dir.path().join("root")).unwrap();
        let bindings = read();
        let text = fs::read_to_string(bindings.authorities().unwrap()).unwrap();
        assert_eq!(text, [pem("public"), pem("first"), pem("second"), String::new()].join("\n"));
        let path = bindings.authorities().unwrap();
        drop(bindings);
        assert!(!path.exists());
        // Hoist's own is the whole of what its machine trusts; one that a user calls so is not.
        write("bindings/hoist/type", "ca-certificates");
        write("bindings/hoist/provider", "hoist\n");
        write("bindings/hoist/ca.pem", &pem("machine"));
        write("bindings/ours/ca.pem", &pem("third"));
        let bindings = read();
        let text = fs::read_to_string(bindings.authorities().unwrap()).unwrap();
        assert_eq!(text, [pem("machine"), pem("first"), pem("second"), pem("third"), String::new()].join("\n"));
        fs::remove_dir_all(dir.path().join("bindings/ours")).unwrap();
        assert_eq!(read().authorities(), Some(dir.path().join("bindings/hoist/ca.pem")));
        assert_eq!(Bindings::default().authorities(), None);
    }
}
