//! Service bindings (the Service Binding Specification for Kubernetes, as the CNB specification takes it over): folders below
//! `<platform>/bindings` or `$SERVICE_BINDING_ROOT`, each with a file `type` and any other files.

use std::path::{Path, PathBuf};

use fs_err as fs;

/// A binding's values are files of people; none is read beyond this size.
const MAX_VALUE_BYTES: u64 = 32 << 20;

/// All bindings of a build, sorted by folder name.
#[derive(Debug, Clone, Default)]
pub struct Bindings(Vec<Binding>);

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
        Self(found)
    }

    /// The bindings of a type.
    pub fn of_type<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Binding> {
        self.0.iter().filter(move |binding| binding.kind == kind)
    }
}

impl Binding {
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
