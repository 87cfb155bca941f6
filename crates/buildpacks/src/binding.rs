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
/// The file in one that stands for all that the build image trusts.
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
    /// build image below `root`: an installer takes one file, and trusts nobody else.
    pub(crate) fn with_authorities(mut self, root: &Path) -> io::Result<Self> {
        let mut added = Vec::new();
        for binding in self.of_type(CA_TYPE).filter(|binding| binding.path(CA_BUNDLE).is_none()) {
            added.extend(binding.certificates());
        }
        if !added.is_empty() {
            let mut file = tempfile::Builder::new().prefix("authorities").suffix(".pem").tempfile()?;
            let own = fs::read_to_string(root.join("etc/ssl/certs/ca-certificates.crt")).unwrap_or_default();
            for text in std::iter::once(own).chain(added) {
                writeln!(file, "{text}")?;
            }
            self.authorities = Some(Arc::new(file.into_temp_path()));
        }
        Ok(self)
    }

    /// Whom the installers are to trust, where a binding says so: hoist's `ca.pem`, which is all that its machine trusts, or the gathered ones.
    pub fn authorities(&self) -> Option<PathBuf> {
        let whole = self.of_type(CA_TYPE).find_map(|binding| binding.path(CA_BUNDLE));
        whole.or_else(|| self.authorities.as_ref().map(|path| path.to_path_buf()))
    }

    /// The bindings of a type.
    pub fn of_type<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Binding> {
        self.found.iter().filter(move |binding| binding.kind == kind)
    }
}

impl Binding {
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
        // Hoist's own is the whole of what its machine trusts.
        write("bindings/hoist/type", "ca-certificates");
        write("bindings/hoist/ca.pem", &pem("machine"));
        assert_eq!(read().authorities(), Some(dir.path().join("bindings/hoist/ca.pem")));
        assert_eq!(Bindings::default().authorities(), None);
    }
}
