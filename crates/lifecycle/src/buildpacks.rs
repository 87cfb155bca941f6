//! The buildpacks that a builder holds: `<buildpacks>/<escaped id>/<version>/buildpack.toml`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hoist_spec::{BuildpackDescriptor, DocumentError, escape_id};

use crate::tree::{Node, Tree, TreeError};

/// A buildpack of the builder.
#[derive(Debug, Clone)]
pub struct Buildpack {
    /// What its `buildpack.toml` says.
    pub descriptor: BuildpackDescriptor,
    /// Its directory inside.
    pub dir: PathBuf,
}

/// The buildpacks of a builder by id and version.
#[derive(Debug, Clone, Default)]
pub struct Buildpacks {
    usable: BTreeMap<String, BTreeMap<String, Buildpack>>,
    /// Those whose `buildpack.toml` is wrong, by directory: they matter only if a group asks for them.
    broken: BTreeMap<PathBuf, Arc<BuildpacksError>>,
}

/// The builder's buildpacks cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum BuildpacksError {
    /// A file or directory cannot be read.
    #[error("looking for buildpacks in {dir}")]
    Tree {
        /// The directory inside.
        dir: PathBuf,
        /// Why.
        #[source]
        source: TreeError,
    },
    /// A `buildpack.toml` is wrong.
    #[error("reading {path} of the builder")]
    Document {
        /// The path inside.
        path: PathBuf,
        /// Why.
        #[source]
        source: DocumentError,
    },
}

impl BuildpacksError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Document { source, .. } => source.hint(),
            Self::Tree { .. } => Some("make the builder again".to_owned()),
        }
    }

    /// Whether the buildpack speaks a Buildpack API that hoist does not.
    pub fn is_unsupported_api(&self) -> bool {
        matches!(self, Self::Document { source: DocumentError::Invalid { field, .. }, .. } if field == "api")
    }
}

/// Larger than any real `buildpack.toml`; composites with many orders reach some hundred kilobytes.
const MAX_BYTES: u64 = 4 << 20;

impl Buildpacks {
    /// Reads the buildpacks below `buildpacks_dir` from the builder's layers, topmost first.
    pub fn read(lower_dirs: &[PathBuf], buildpacks_dir: &Path) -> Result<Self, BuildpacksError> {
        let tree = Tree::new(lower_dirs.to_vec());
        let failed = |dir: &Path| {
            let dir = dir.to_owned();
            move |source| BuildpacksError::Tree { dir, source }
        };
        let mut all = Self::default();
        for (id, node) in tree.list(buildpacks_dir).map_err(failed(buildpacks_dir))? {
            let Node::Directory(versions) = node else { continue };
            let id_dir = buildpacks_dir.join(id);
            for (version, node) in crate::tree::list(&versions).map_err(failed(&id_dir))? {
                let Node::Directory(dirs) = node else { continue };
                let dir = id_dir.join(version);
                let path = dir.join("buildpack.toml");
                let text = Tree::new(dirs).read_text(Path::new("/buildpack.toml"), MAX_BYTES).map_err(failed(&dir))?;
                let Some(text) = text else { continue };
                match BuildpackDescriptor::parse(&text) {
                    Ok(descriptor) => all.insert(Buildpack { descriptor, dir }),
                    Err(source) => {
                        let place = dir.strip_prefix(buildpacks_dir).unwrap_or(&dir).to_owned();
                        all.broken.insert(place, Arc::new(BuildpacksError::Document { path, source }));
                    }
                }
            }
        }
        Ok(all)
    }

    /// Adds one.
    pub fn insert(&mut self, buildpack: Buildpack) {
        let info = &buildpack.descriptor.buildpack;
        self.usable.entry(info.id.clone()).or_default().insert(info.version.clone(), buildpack);
    }

    /// One by id and version; any version where the version is empty and there is one only.
    pub fn get(&self, id: &str, version: &str) -> Option<&Buildpack> {
        let versions = self.usable.get(id)?;
        if version.is_empty() && versions.len() == 1 {
            return versions.values().next();
        }
        versions.get(version)
    }

    /// What is wrong with one that is there but cannot be used.
    pub fn problem(&self, id: &str, version: &str) -> Option<Arc<BuildpacksError>> {
        self.broken.get(&Path::new(&escape_id(id)).join(version)).cloned()
    }

    /// All that can be used, by id and version.
    pub fn iter(&self) -> impl Iterator<Item = &Buildpack> {
        self.usable.values().flat_map(BTreeMap::values)
    }
}
