//! `buildpack new`: the files that a buildpack begins with. Nothing that is there is written over.

use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use fs_err as fs;
use hoist_spec::{ApiVersion, BuildpackDescriptor, BuildpackInfo, DocumentError, Stack, Target};
use thiserror::Error;

const DETECT: &str = r#"#!/usr/bin/env bash
# Does this buildpack apply to the app in the working folder? Code 0: yes; 100: no; any other: something is wrong.
# What it provides and what it requires goes to the file "$CNB_BUILD_PLAN_PATH".
set -euo pipefail

exit 0
"#;

const BUILD: &str = r#"#!/usr/bin/env bash
# Contributes to the app in the working folder: a layer is a folder in "$CNB_LAYERS_DIR" with a file beside it, for example
#   mkdir -p "$CNB_LAYERS_DIR/tools"
#   printf '[types]\nlaunch = true\n' > "$CNB_LAYERS_DIR/tools.toml"
# Processes of the app go to "$CNB_LAYERS_DIR/launch.toml".
set -euo pipefail

exit 0
"#;

/// What is to be begun.
#[derive(Debug, Clone)]
pub struct NewBuildpack {
    /// Its id.
    pub id: String,
    /// Its version.
    pub version: String,
    /// The Buildpack API that it is written for.
    pub api: ApiVersion,
    /// What it runs on.
    pub targets: Vec<Target>,
    /// The deprecated way to say that.
    pub stacks: Vec<String>,
    /// The folder; made, or empty.
    pub dir: PathBuf,
}

/// Why no buildpack was begun.
#[derive(Debug, Error)]
pub enum ScaffoldError {
    /// It would not be one.
    #[error("beginning the buildpack {id}")]
    Descriptor {
        /// Its id.
        id: String,
        /// What is wrong.
        source: DocumentError,
    },
    /// Something is there.
    #[error("beginning the buildpack {id}: {} is there already", dir.display())]
    Taken {
        /// Its id.
        id: String,
        /// The folder.
        dir: PathBuf,
    },
    /// It cannot be written.
    #[error("beginning the buildpack {id}: writing {}", path.display())]
    Write {
        /// Its id.
        id: String,
        /// What.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

impl ScaffoldError {
    /// What to do next.
    pub fn hint(&self) -> String {
        match self {
            Self::Descriptor { source, .. } => source.hint().unwrap_or_default(),
            Self::Taken { .. } => "choose another folder: --path DIR".to_owned(),
            Self::Write { .. } => "choose a folder that you may write to: --path DIR".to_owned(),
        }
    }

    /// Whether what was asked for is at fault.
    pub fn is_of_the_request(&self) -> bool {
        !matches!(self, Self::Write { .. })
    }
}

impl NewBuildpack {
    /// Writes the files and answers with them, relative to the folder.
    pub fn write(&self) -> Result<Vec<&'static str>, ScaffoldError> {
        let wrong = |source| ScaffoldError::Descriptor { id: self.id.clone(), source };
        let text = self.descriptor().write().map_err(wrong)?;
        // What is written is what is read: an id that is none is refused before anything is there.
        BuildpackDescriptor::parse(&text).map_err(wrong)?;
        let is_empty = fs::read_dir(&self.dir).is_ok_and(|mut entries| entries.next().is_none());
        if fs::symlink_metadata(&self.dir).is_ok() && !is_empty {
            return Err(ScaffoldError::Taken { id: self.id.clone(), dir: self.dir.clone() });
        }
        let files =
            [("buildpack.toml", text.as_str(), 0o666), ("bin/detect", DETECT, 0o777), ("bin/build", BUILD, 0o777)];
        for (path, text, mode) in files {
            let path = self.dir.join(path);
            create(&path, text, mode).map_err(|source| ScaffoldError::Write { id: self.id.clone(), path, source })?;
        }
        Ok(files.map(|(path, _, _)| path).to_vec())
    }

    fn descriptor(&self) -> BuildpackDescriptor {
        BuildpackDescriptor {
            api: self.api,
            buildpack: BuildpackInfo { id: self.id.clone(), version: self.version.clone(), ..BuildpackInfo::default() },
            targets: self.targets.clone(),
            stacks: self.stacks.iter().map(|id| Stack { id: id.clone(), mixins: Vec::new() }).collect(),
            order: Vec::new(),
            metadata: toml::Table::new(),
        }
    }
}

fn create(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir)?;
    }
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    io::Write::write_all(&mut file, text.as_bytes())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn new(dir: &Path, id: &str) -> NewBuildpack {
        NewBuildpack {
            id: id.to_owned(),
            version: "1.0.0".to_owned(),
            api: ApiVersion::new(0, 10),
            targets: vec!["linux/amd64".parse().unwrap()],
            stacks: Vec::new(),
            dir: dir.join("new"),
        }
    }

    #[test]
    fn three_files_are_a_buildpack_and_none_is_written_over() {
        let dir = tempfile::tempdir().unwrap();
        let wanted = new(dir.path(), "acme/new");
        assert_eq!(wanted.write().unwrap(), ["buildpack.toml", "bin/detect", "bin/build"]);
        let text = fs::read_to_string(wanted.dir.join("buildpack.toml")).unwrap();
        assert_eq!(
            text,
            "api = \"0.10\"\n\n[buildpack]\nid = \"acme/new\"\nversion = \"1.0.0\"\n\n[[targets]]\nos = \"linux\"\narch = \"amd64\"\n"
        );
        for program in ["bin/detect", "bin/build"] {
            let mode = fs::metadata(wanted.dir.join(program)).unwrap().permissions().mode();
            assert!(mode & 0o100 != 0, "{mode:o}");
        }
        fs::write(wanted.dir.join("bin/build"), "mine").unwrap();
        let error = wanted.write().unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("beginning the buildpack acme/new: {} is there already", wanted.dir.display())
        );
        assert_eq!(fs::read_to_string(wanted.dir.join("bin/build")).unwrap(), "mine");
        let error = new(&dir.path().join("x"), "a b").write().unwrap_err();
        assert_eq!(error.to_string(), "beginning the buildpack a b");
        assert!(!dir.path().join("x").exists());
    }
}
