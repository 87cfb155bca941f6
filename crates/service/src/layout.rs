//! What a source looks like: a service with the PlanQK layout, a job template around a service, or any other app.

use std::path::{Path, PathBuf};

/// The layout of a source, seen from its files alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Layout {
    /// `src/program.py` at the root, usually with a `planqk.json`.
    PlanQk,
    /// The user code lies in `app/user_code` (or `app/user-code`) of a template that brings its own `app` package.
    JobTemplate {
        /// The user code, relative to the root: `app/user_code` or `app/user-code`.
        user_code_dir: PathBuf,
        /// Whether the template has a program of its own (`app/__main__.py` or a Procfile): then that runs, and not hoist's runner.
        own_program: bool,
    },
    /// Anything else.
    App,
}

/// The user code's folder as templates name it, the importable name first.
const USER_CODE_DIRS: [&str; 2] = ["app/user_code", "app/user-code"];

impl Layout {
    /// Looks at the folder `root` (at most six `stat` calls).
    pub fn of(root: &Path) -> Self {
        for name in USER_CODE_DIRS {
            let user_code = root.join(name);
            if user_code.join("src/program.py").is_file() || user_code.join("planqk.json").is_file() {
                let own_program = root.join("app/__main__.py").is_file() || root.join("Procfile").is_file();
                return Self::JobTemplate { user_code_dir: PathBuf::from(name), own_program };
            }
        }
        if root.join("src/program.py").is_file() || root.join("planqk.json").is_file() {
            Self::PlanQk
        } else {
            Self::App
        }
    }

    /// Whether a `run` function is to be called, or only a process started.
    pub fn is_service(&self) -> bool {
        !matches!(self, Self::App)
    }

    /// The folder with `src/program.py`, relative to the root.
    pub fn user_code_dir(&self) -> &Path {
        match self {
            Self::JobTemplate { user_code_dir, .. } => user_code_dir,
            Self::PlanQk | Self::App => Path::new(""),
        }
    }

    /// The entry point as `ENTRY_POINT` writes it; none for an app that is no service.
    pub fn entry_point(&self) -> Option<&'static str> {
        match self {
            Self::PlanQk => Some("src.program:run"),
            // A folder with a dash is no module name; the runner takes a path as well.
            Self::JobTemplate { user_code_dir, .. } if user_code_dir.ends_with("user-code") => {
                Some("app/user-code/src/program.py:run")
            }
            Self::JobTemplate { .. } => Some("app.user_code.src.program:run"),
            Self::App => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for file in files {
            let path = dir.path().join(file);
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(path, "").unwrap();
        }
        dir
    }

    #[test]
    fn each_layout_is_known_by_its_files() {
        assert_eq!(Layout::of(tree(&["src/program.py"]).path()), Layout::PlanQk);
        assert_eq!(Layout::of(tree(&["planqk.json"]).path()), Layout::PlanQk);
        assert_eq!(Layout::of(tree(&["main.py"]).path()), Layout::App);
        for (dir, own_program) in [("app/user_code", true), ("app/user-code", false)] {
            let mut files = vec![format!("{dir}/src/program.py"), "app/__init__.py".into()];
            if own_program {
                files.push("Procfile".into());
            }
            let tree = tree(&files.iter().map(String::as_str).collect::<Vec<_>>());
            assert_eq!(Layout::of(tree.path()), Layout::JobTemplate { user_code_dir: dir.into(), own_program });
        }
    }
}
