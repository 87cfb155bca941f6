//! hoist/pip with the real uv and the machine's package index, outside of any image: what is installed works, is the same each time, and
//! follows the requirements.

#![allow(clippy::disallowed_methods, clippy::unwrap_used)] // a test looks at the machine as it is

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use hoist_buildpacks::{Environment, Output, Phase, run_phase};

#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<u8>>>);

impl Write for Heard {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// An app, its layers, and a cache beside them.
struct Bench {
    dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let bench = Self { dir: tempfile::tempdir().unwrap() };
        for name in ["app", "layers", "platform", "cache", "buildpack"] {
            fs_err::create_dir(bench.path(name)).unwrap();
        }
        fs_err::write(bench.path("buildpack/buildpack.toml"), "api = \"0.10\"\n[buildpack]\nid = \"hoist/pip\"\n")
            .unwrap();
        fs_err::write(bench.path("plan.toml"), "").unwrap();
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Builds with these requirements; answers the exit code and what was said.
    fn build(&self, requirements: &[u8]) -> (u8, String) {
        fs_err::write(self.path("app/requirements.txt"), requirements).unwrap();
        let mut environment: Environment =
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value))).collect();
        for (name, path) in [
            ("CNB_APP_DIR", "app"),
            ("CNB_LAYERS_DIR", "layers"),
            ("CNB_PLATFORM_DIR", "platform"),
            ("CNB_BP_PLAN_PATH", "plan.toml"),
            ("HOIST_CACHE_DIR", "cache"),
        ] {
            environment.insert(name.into(), self.path(path).into());
        }
        environment.insert("HOIST_SOURCE_BUILDS".into(), "deny".into());
        let heard = Heard::default();
        let output = Output::to(Box::new(heard.clone()));
        let code = run_phase(Phase::Build, &self.path("buildpack"), &[], environment, &output);
        let said = String::from_utf8(heard.0.lock().unwrap().clone()).unwrap();
        (code, said)
    }

    fn imports(&self, module: &str) -> bool {
        let python = self.path("layers/env/bin/python");
        Command::new(python).args(["-c", &format!("import {module}")]).output().unwrap().status.success()
    }

    /// Every file and link of the environment with its content.
    fn contents(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        walkdir::WalkDir::new(self.path("layers/env"))
            .into_iter()
            .flatten()
            .filter(|e| !e.file_type().is_dir())
            .map(content)
            .collect()
    }
}

fn content(entry: walkdir::DirEntry) -> (PathBuf, Vec<u8>) {
    let path = entry.into_path();
    let bytes = match fs_err::read_link(&path) {
        Ok(target) => target.to_string_lossy().into_owned().into_bytes(),
        Err(_) => fs_err::read(&path).unwrap(),
    };
    (path, bytes)
}

#[test]
fn an_environment_follows_its_requirements_and_is_the_same_each_time() {
    let bench = Bench::new();
    // As an editor of Windows saves it.
    let utf16: Vec<u8> =
        [0xFF, 0xFE].into_iter().chain("flask\r\n".encode_utf16().flat_map(u16::to_le_bytes)).collect();
    let (code, said) = bench.build(&utf16);
    assert_eq!(code, 0, "{said}");
    assert!(bench.imports("flask"));
    let first = bench.contents();
    assert!(first.keys().any(|path| path.extension().is_some_and(|e| e == "pyc")), "bytecode is made");
    assert!(!first.keys().any(|path| path.ends_with("REQUESTED")), "nothing tells who wanted a package");

    let (_, said) = bench.build(&utf16);
    assert!(said.contains("unchanged"), "{said}");

    fs_err::remove_dir_all(bench.path("layers/env")).unwrap();
    let (code, said) = bench.build(&utf16);
    assert_eq!(code, 0, "{said}");
    assert!(first == bench.contents(), "a second installation has the same bytes");

    let (code, said) = bench.build(b"flask\ntabulate\n");
    assert!(code == 0 && said.contains("1 of them new or changed"), "{said}");
    assert!(bench.imports("flask, tabulate"));

    let (code, said) = bench.build(b"tabulate\n");
    assert_eq!(code, 0, "{said}");
    assert!(bench.imports("tabulate") && !bench.imports("flask"), "what is no longer required goes");
}

#[test]
fn a_failed_installation_is_explained_and_leaves_nothing() {
    let bench = Bench::new();
    let (code, said) = bench.build(b"flask\ncv2\n");
    assert_eq!(code, 1);
    assert!(
        said.contains("requirements.txt line 2: cv2") && said.contains("require `opencv-python-headless` instead"),
        "{said}"
    );
    assert!(!Path::new(&bench.path("layers/env")).exists());
    let (code, said) = bench.build(b"flask==99.9\n");
    assert!(code == 1 && said.contains("the nearest version is 3."), "{said}");
    let (code, said) = bench.build(b"flask==3.0.0\nwerkzeug==2.0.0\n");
    assert!(
        code == 1 && said.contains("(which needs werkzeug>=3.0.0)") && said.contains("line 2: werkzeug==2.0.0"),
        "{said}"
    );
    let (code, said) = bench.build(b"mysqlclient==2.2.4\n");
    assert!(code == 75 && said.contains("run again"), "{said}");
    assert!(!bench.path("layers/env").exists(), "nothing half-made");
}
