//! hoist/pip outside of any image, with the real uv and pip: an app, its layers and a cache in a temporary folder, and indexes on this machine.
#![allow(dead_code, unreachable_pub, missing_docs)] // each test file uses some of it
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::panic)] // a test looks at the machine as it is

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
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
pub struct Bench {
    dir: tempfile::TempDir,
    /// The cache: its own, or one that benches share.
    cache_dir: PathBuf,
    /// Variables of the builds to come; an empty value takes one away.
    pub variables: BTreeMap<&'static str, String>,
}

/// A cache that holds uv, for the tests of a file. It stays between runs.
pub fn shared_cache() -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pip-cache");
    fs_err::create_dir_all(&dir).unwrap();
    dir
}

impl Bench {
    /// With a cache of its own.
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let cache_dir = dir.path().join("cache");
        let bench = Self { dir, cache_dir, variables: BTreeMap::from([("HOIST_SOURCE_BUILDS", "deny".to_owned())]) };
        for name in ["app", "layers", "platform", "cache", "buildpack", "root"] {
            fs_err::create_dir(bench.path(name)).unwrap();
        }
        fs_err::write(bench.path("buildpack/buildpack.toml"), "api = \"0.10\"\n[buildpack]\nid = \"hoist/pip\"\n")
            .unwrap();
        fs_err::write(bench.path("plan.toml"), "").unwrap();
        bench
    }

    /// With the cache that all share, so that uv is fetched once.
    pub fn with_shared_cache() -> Self {
        Self { cache_dir: shared_cache(), ..Self::new() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn set(&mut self, name: &'static str, value: impl Into<String>) {
        self.variables.insert(name, value.into());
    }

    /// An interpreter that may be damaged: a copy of the machine's.
    pub fn own_interpreter(&mut self) {
        let program =
            "import os, sys; print(os.path.realpath(sys.executable), '.'.join(map(str, sys.version_info[:3])))";
        let output = Command::new("python3").args(["-I", "-c", program]).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        let (python, version) = said.trim().split_once(' ').unwrap();
        fs_err::create_dir(self.path("bin")).unwrap();
        fs_err::copy(python, self.path("bin/python3")).unwrap();
        self.set("HOIST_INTERPRETER", self.path("bin/python3").display().to_string());
        self.set("HOIST_INTERPRETER_VERSION", version);
    }

    /// Only what lies in the folder `wheels` can be had, and there is no network.
    pub fn offline(&mut self) {
        self.set("PIP_NO_INDEX", "1");
        self.set("PIP_FIND_LINKS", self.path("wheels").display().to_string());
    }

    pub fn write(&self, path: &str, bytes: impl AsRef<[u8]>) {
        let path = self.path(path);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, bytes).unwrap();
    }

    /// A wheel `name-version` in the folder `wheels`, with these files; a file below `data:` goes to the wheel's `.data` folder.
    pub fn wheel(&self, name: &str, version: &str, files: &[(&str, &[u8])]) -> PathBuf {
        self.wheel_of(name, version, "py3-none-any", "", files)
    }

    /// The same for other machines or with more lines of metadata.
    pub fn wheel_of(&self, name: &str, version: &str, tag: &str, metadata: &str, files: &[(&str, &[u8])]) -> PathBuf {
        let path = self.path("wheels").join(format!("{name}-{version}-{tag}.whl"));
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        let info = format!("{name}-{version}.dist-info");
        let mut all: Vec<(String, Vec<u8>)> = vec![
            (
                format!("{info}/METADATA"),
                format!("Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{metadata}").into(),
            ),
            (
                format!("{info}/WHEEL"),
                format!("Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {tag}\n").into(),
            ),
        ];
        for (file, bytes) in files {
            let file = file
                .strip_prefix("data:")
                .map(|rest| format!("{name}-{version}.data/{rest}"))
                .unwrap_or((*file).to_owned());
            let file = file.strip_prefix("info:").map(|rest| format!("{info}/{rest}")).unwrap_or(file);
            all.push((file, bytes.to_vec()));
        }
        let listed = all.iter().map(|(file, _)| file.as_str()).collect::<Vec<_>>().join(",,\n");
        all.push((format!("{info}/RECORD"), format!("{listed},,\n{info}/RECORD,,\n").into()));
        let mut archive = zip::ZipWriter::new(fs_err::File::create(&path).unwrap());
        for (file, bytes) in all {
            archive.start_file(file, zip::write::SimpleFileOptions::default()).unwrap();
            archive.write_all(&bytes).unwrap();
        }
        archive.finish().unwrap();
        path
    }

    /// Another buildpack in place of `hoist/pip`.
    pub fn buildpack(&self, id: &str) {
        self.write("buildpack/buildpack.toml", format!("api = \"0.10\"\n[buildpack]\nid = \"{id}\"\n"));
    }

    /// Builds with these requirements; answers the exit code and what was said.
    pub fn build(&self, requirements: impl AsRef<[u8]>) -> (u8, String) {
        fs_err::write(self.path("app/requirements.txt"), requirements).unwrap();
        self.build_app()
    }

    /// Builds what lies in the app.
    pub fn build_app(&self) -> (u8, String) {
        let mut environment: Environment =
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value))).collect();
        for (name, path) in [
            ("CNB_APP_DIR", "app"),
            ("CNB_LAYERS_DIR", "layers"),
            ("CNB_PLATFORM_DIR", "platform"),
            ("CNB_BP_PLAN_PATH", "plan.toml"),
            ("HOIST_BUILD_ROOT", "root"),
        ] {
            environment.insert(name.into(), self.path(path).into());
        }
        environment.insert("HOIST_CACHE_DIR".into(), self.cache_dir.clone().into());
        for (name, value) in &self.variables {
            environment.remove(*name);
            if !value.is_empty() {
                environment.insert((*name).to_owned(), value.into());
            }
        }
        let heard = Heard::default();
        let output = Output::to(Box::new(heard.clone()));
        let code = run_phase(Phase::Build, &self.path("buildpack"), &[], environment, &output);
        let said = String::from_utf8(heard.0.lock().unwrap().clone()).unwrap();
        (code, said)
    }

    /// Builds, and fails the test unless that works.
    #[track_caller]
    pub fn built(&self, requirements: impl AsRef<[u8]>) -> String {
        let (code, said) = self.build(requirements);
        assert_eq!(code, 0, "{said}");
        said
    }

    pub fn imports(&self, module: &str) -> bool {
        let python = self.path("layers/env/bin/python");
        Command::new(python).args(["-c", &format!("import {module}")]).output().unwrap().status.success()
    }

    /// What the environment's Python prints.
    pub fn prints(&self, program: &str) -> String {
        let output = Command::new(self.path("layers/env/bin/python")).args(["-c", program]).output().unwrap();
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
            .trim()
            .to_owned()
    }

    /// Every file and link of the environment with its content.
    pub fn contents(&self) -> BTreeMap<PathBuf, Vec<u8>> {
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

/// An index on this machine (`index_server.py`); it ends with the test.
pub struct TestIndex {
    process: Child,
    pub http: String,
    pub https: String,
}

impl TestIndex {
    pub fn start() -> Self {
        Self::over(Path::new("/nonexistent"))
    }

    /// With the packages of a folder below `/dated` and `/undated`.
    pub fn over(folder: &Path) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/index_server.py");
        let mut process = Command::new("python3")
            .arg(script)
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let mut ports = line.split_whitespace();
        let mut address = |scheme: &str| format!("{scheme}://localhost:{}", ports.next().unwrap());
        Self { http: address("http"), https: address("https"), process }
    }
}

impl Drop for TestIndex {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
