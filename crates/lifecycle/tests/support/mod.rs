//! A little world to build in: a store, a builder made of bash buildpacks, an app; and a runner that enters the build's overlay with
//! `unshare`, `mount` and `chroot`, without any sandbox.
#![allow(
    dead_code,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "each test file uses a part; this module starts the processes"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io::Read;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

use hoist_events::{Event, LayerAction, RecordingReporter, Stream};
use hoist_image::oci::{ConfigBuilder, ImageConfigurationBuilder, RootFsBuilder};
use hoist_image::{Attributes, Image, Store};
use hoist_lifecycle::{
    AnalyzeRequest, BuildRoot, BuildUser, BuildpackCall, BuildpackExit, Buildpacks, CacheFolder, Counters, Counts,
    Directories, ExportRequest, Exported, Launcher, PortableCache, Runner, RunnerError, Setup, SharedLayers, Site,
    Upper, analyze, build, detect, export, restore,
};
use hoist_spec::{ApiVersion, GroupEntry, OrderGroup, ProjectMetadata, RunImage};

/// Enters the overlay of a call and runs its program there.
struct DirectRunner<'a> {
    world: &'a World,
    lower_dirs: Vec<PathBuf>,
}

const ENTER: &str = r#"
set -e
cd "$1"; shift
mount -t overlay overlay -o "userxattr,lowerdir=$1,upperdir=$2,workdir=work" root; shift 2
mount --rbind /usr root/usr
mount --bind /dev root/dev
mount --bind "$1" root/cnb/exchange; shift
exec chroot root /usr/bin/env -i -C "$@"
"#;

impl Runner for DirectRunner<'_> {
    fn run(
        &self,
        call: &BuildpackCall,
        output: &mut (dyn FnMut(Stream, &[u8]) + Send),
    ) -> Result<BuildpackExit, RunnerError> {
        let failed = |source: std::io::Error| RunnerError {
            action: "starting a process".into(),
            hint: None,
            source: Box::new(source),
        };
        let dir = tempfile::tempdir_in(self.world.dir.path()).map_err(failed)?;
        for name in ["work", "root", "throwaway"] {
            std::fs::create_dir(dir.path().join(name)).map_err(failed)?;
        }
        // Short names, because the options of a mount have one page.
        let mut lowers = Vec::new();
        for (n, lower) in call.restored_dirs.iter().chain(&self.lower_dirs).enumerate() {
            symlink(lower, dir.path().join(n.to_string())).map_err(failed)?;
            lowers.push(n.to_string());
        }
        let upper = match &call.upper {
            Upper::Throwaway => PathBuf::from("throwaway"),
            Upper::Keep(upper) => upper.clone(),
        };
        let mut command = Command::new("unshare");
        if !rustix::process::geteuid().is_root() {
            command.args(["--user", "--map-root-user"]);
        }
        command.args(["--mount", "bash", "-c", ENTER, "enter"]).arg(dir.path()).arg(lowers.join(":")).arg(upper);
        command.arg(&call.exchange_host_dir).arg(&call.working_dir);
        for (name, value) in &call.environment {
            let mut variable = name.clone();
            variable.push("=");
            variable.push(value);
            command.arg(variable);
        }
        command.arg(&call.program).args(&call.args);
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(failed)?;
        let mut text = Vec::new();
        child.stdout.take().unwrap().read_to_end(&mut text).map_err(failed)?;
        output(Stream::Stdout, &text);
        text.clear();
        child.stderr.take().unwrap().read_to_end(&mut text).map_err(failed)?;
        output(Stream::Stderr, &text);
        let status = child.wait().map_err(failed)?;
        Ok(status.code().map_or(BuildpackExit::Killed { reason: "it was killed".into() }, BuildpackExit::Exited))
    }

    fn asks_together(&self, buildpack: &str) -> bool {
        self.world.own.contains(buildpack)
    }
}

/// Everything that a test builds with.
pub(crate) struct World {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) store: Store,
    builder: PathBuf,
    app: PathBuf,
    pub(crate) order: Vec<OrderGroup>,
    pub(crate) platform_env: BTreeMap<OsString, Vec<u8>>,
    pub(crate) environment: Vec<(OsString, OsString)>,
    pub(crate) exec_env: String,
    pub(crate) default_process: Option<String>,
    pub(crate) fingerprint: Option<String>,
    pub(crate) fail_order: Mutex<()>,
    /// The image's name, which also names its cache.
    pub(crate) name: String,
    pub(crate) shared: Option<SharedLayers>,
    pub(crate) share_layers: bool,
    pub(crate) portable_cache: Option<PortableCache>,
    pub(crate) launch_cache: Option<PathBuf>,
    pub(crate) platform_api: ApiVersion,
    /// `id@version` of those that one process may ask.
    pub(crate) own: BTreeSet<String>,
}

/// What one build did.
pub(crate) struct Outcome {
    pub(crate) exported: Exported,
    /// Whether layers were restored that anyone may have written.
    pub(crate) strangers: bool,
    pub(crate) events: Vec<Event>,
    pub(crate) counts: Counts,
}

/// Why a build failed: its text with all causes, and the exit code.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) text: String,
    pub(crate) hint: Option<String>,
    pub(crate) code: i32,
    pub(crate) events: Vec<Event>,
}

pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

pub(crate) fn write(path: &Path, content: &str, mode: u32) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

impl World {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let builder = dir.path().join("builder");
        for name in ["usr", "dev", "tmp", "proc", "layers", "platform", "cnb/exchange", "cnb/buildpacks", "workspace"] {
            std::fs::create_dir_all(builder.join(name)).unwrap();
        }
        for name in ["bin", "lib", "lib64", "sbin"] {
            symlink(format!("usr/{name}"), builder.join(name)).unwrap();
        }
        let store = Store::open(dir.path().join("store")).unwrap();
        let app = dir.path().join("app");
        std::fs::create_dir_all(app.join("workspace")).unwrap();
        let path = (OsString::from("PATH"), OsString::from("/usr/bin:/bin"));
        Self {
            dir,
            store,
            builder,
            app,
            order: Vec::new(),
            platform_env: BTreeMap::new(),
            environment: vec![path, ("HOME".into(), "/home/cnb".into()), ("SECRET".into(), "x".into())],
            exec_env: "production".into(),
            default_process: None,
            fingerprint: None,
            fail_order: Mutex::new(()),
            name: "app".into(),
            shared: None,
            share_layers: false,
            portable_cache: None,
            launch_cache: None,
            platform_api: ApiVersion::new(0, 15),
            own: BTreeSet::new(),
        }
    }

    /// A file of the app.
    pub(crate) fn app_file(&self, path: &str, content: &str) {
        write(&self.app.join("workspace").join(path), content, 0o644);
    }

    /// A file of the builder.
    pub(crate) fn builder_file(&self, path: &str, content: &str) {
        write(&self.builder.join(path), content, 0o644);
    }

    /// A component buildpack of two bash scripts, version 1.0.0; `more` is the rest of its buildpack.toml.
    pub(crate) fn buildpack(&self, id: &str, api: &str, more: &str, detect: &str, build: &str) {
        let dir = self.builder.join("cnb/buildpacks").join(id.replace('/', "_")).join("1.0.0");
        let toml = format!("api = \"{api}\"\n[buildpack]\nid = \"{id}\"\nversion = \"1.0.0\"\n{more}\n");
        write(&dir.join("buildpack.toml"), &toml, 0o644);
        write(&dir.join("bin/detect"), &format!("#!/usr/bin/env bash\nset -eu\n{detect}\n"), 0o755);
        write(&dir.join("bin/build"), &format!("#!/usr/bin/env bash\nset -eu\n{build}\n"), 0o755);
    }

    /// A composite buildpack, version 1.0.0.
    pub(crate) fn composite(&self, id: &str, order: &str) {
        let dir = self.builder.join("cnb/buildpacks").join(id.replace('/', "_")).join("1.0.0");
        let toml = format!("api = \"0.10\"\n[buildpack]\nid = \"{id}\"\nversion = \"1.0.0\"\n{order}\n");
        write(&dir.join("buildpack.toml"), &toml, 0o644);
    }

    /// Adds a group to the order; a `?` at the end of an id makes it optional.
    pub(crate) fn group(&mut self, ids: &[&str]) {
        let entry = |id: &&str| match id.strip_suffix('?') {
            Some(id) => GroupEntry::new(id, "1.0.0").optional(),
            None => GroupEntry::new(*id, "1.0.0"),
        };
        self.order.push(OrderGroup { group: ids.iter().map(entry).collect() });
    }

    pub(crate) fn run_image(&self) -> Image {
        let mut builder = self.store.layer_builder().unwrap();
        builder.file("/etc/os-release", Attributes::root(0o644), &mut &b"ID=test\n"[..], 8).unwrap();
        let layer = builder.finish().unwrap();
        let config = ImageConfigurationBuilder::default()
            .os("linux")
            .architecture("amd64")
            .config(ConfigBuilder::default().env(vec!["PATH=/usr/bin".to_owned()]).user("1002:1000").build().unwrap())
            .rootfs(RootFsBuilder::default().typ("layers").diff_ids(vec![layer.diff_id().to_string()]).build().unwrap())
            .build()
            .unwrap();
        self.store.put_image(&config, &["run".parse().unwrap()]).unwrap()
    }

    /// Builds the image [`World::name`].
    pub(crate) fn build(&self) -> Result<Outcome, Failure> {
        let reporter = RecordingReporter::default();
        let scratch = tempfile::tempdir_in(self.dir.path()).unwrap();
        let upper_dir = scratch.path().join("upper");
        let plans = scratch.path().join("plans");
        std::fs::create_dir(&upper_dir).unwrap();
        std::fs::create_dir(&plans).unwrap();
        let lower_dirs = vec![self.app.clone(), self.builder.clone()];
        let runner = DirectRunner { world: self, lower_dirs: lower_dirs.clone() };
        let site = Site {
            runner: &runner,
            reporter: &reporter,
            root: BuildRoot { upper_dir, lower_dirs: lower_dirs.clone() },
            scratch_dir: plans,
            user: BuildUser { uid: 1001, gid: 1000, chown: false },
            directories: Directories::default(),
            environment: self.environment.clone(),
            platform_env: self.platform_env.clone(),
            exec_env: self.exec_env.clone(),
            platform_api: self.platform_api,
            counters: Counters::default(),
        };
        let setup = Setup { site, store: &self.store };
        let failure = |error: &dyn std::error::Error, hint: Option<String>, code: i32| Failure {
            text: chain(error),
            hint,
            code,
            events: reporter.events(),
        };
        let buildpacks = Buildpacks::read(&lower_dirs, Path::new("/cnb/buildpacks"))
            .map_err(|error| failure(&error, error.hint(), 1))?;
        let request = AnalyzeRequest {
            previous: self.store.find_image(&self.name.parse().unwrap()).unwrap(),
            run_image: self.run_image(),
            run_image_names: RunImage { image: "run".into(), mirrors: Vec::new() },
            cache_key: Some(self.name.clone()),
            portable_cache: self.portable_cache.clone(),
            launch_cache: self.launch_cache.clone().map(CacheFolder::new),
            shared: self.shared.clone(),
        };
        let analyzed = analyze(&setup, request).map_err(|error| failure(&error, error.hint(), 32))?;
        let detected = detect(&setup, analyzed, &self.order, &buildpacks)
            .map_err(|error| failure(&error, error.hint(), error.exit_code()))?;
        let restored = restore(&setup, detected).map_err(|error| failure(&error, error.hint(), error.exit_code()))?;
        let strangers = restored.has_layers_of_strangers();
        let built = build(&setup, restored).map_err(|error| failure(&error, error.hint(), error.exit_code()))?;
        let request = ExportRequest {
            names: vec![self.name.parse().unwrap()],
            launcher: Launcher { program: b"a launcher", digest: "of a launcher", version: "1.2.3" },
            default_process: self.default_process.clone(),
            project: ProjectMetadata::default(),
            app_fingerprint: self.fingerprint.clone(),
            share_layers: self.share_layers,
            created: None,
        };
        let exported =
            export(&setup, &built, &request).map_err(|error| failure(&error, error.hint(), error.exit_code()))?;
        Ok(Outcome { exported, strangers, counts: setup.counters.counts(), events: reporter.events() })
    }
}

impl Outcome {
    /// What happened to a buildpack's layer, in order.
    pub(crate) fn layer(&self, name: &str) -> Vec<LayerAction> {
        let action = |event: &Event| match event {
            Event::Layer { layer, action, .. } if layer == name => Some(*action),
            _ => None,
        };
        self.events.iter().filter_map(action).collect()
    }

    /// All lines that the buildpacks wrote.
    pub(crate) fn output(&self) -> Vec<String> {
        let line = |event: &Event| match event {
            Event::Output { line, .. } => Some(line.clone()),
            _ => None,
        };
        self.events.iter().filter_map(line).collect()
    }

    pub(crate) fn label(&self, key: &str) -> serde_json::Value {
        let config = self.exported.image.config().config().clone().unwrap();
        let text = config.labels().clone().unwrap()[key].clone();
        serde_json::from_str(&text).unwrap_or(serde_json::Value::String(text))
    }

    /// A file of the image, from the topmost layer that has it.
    pub(crate) fn file(&self, path: &str) -> Option<String> {
        for layer in self.exported.image.layers().unwrap().iter().rev() {
            if let Some(entry) = layer.entry(Path::new(path)).unwrap() {
                return Some(std::fs::read_to_string(layer.file_path(entry)).unwrap());
            }
        }
        None
    }

    pub(crate) fn id(&self) -> String {
        self.exported.image.id().to_string()
    }
}
