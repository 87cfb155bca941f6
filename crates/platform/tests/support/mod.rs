//! A store with a build image, a run image and folders of buildpacks, and what failed there in words.
#![allow(dead_code, unreachable_pub, missing_docs)] // each test file uses some of it
#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // functions beside the tests

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fs_err as fs;
use hoist_events::{Event, RecordingReporter};
use hoist_image::oci::{ConfigBuilder, ImageConfigurationBuilder, RootFsBuilder};
use hoist_image::{Attributes, Image, Store};
use hoist_lifecycle::Launcher;
use hoist_platform::{
    BuilderParts, BuilderRequest, CreatedBuilder, EngineSettings, Foresight, HostTrust, LocalEngine, PlatformError,
};
use hoist_sandbox::Cancel;

pub struct World {
    pub dir: tempfile::TempDir,
    pub engine: LocalEngine,
    pub reporter: Arc<RecordingReporter>,
}

impl World {
    /// A store with a build image and a run image, and no buildpack of hoist's own.
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let hoist_path = dir.path().join("hoist");
        fs::write(&hoist_path, "hoist").unwrap();
        let parts = BuilderParts {
            buildpacks: Vec::new(),
            order: Vec::new(),
            hoist_path,
            launcher: Launcher { program: b"launcher", digest: "", version: "" },
            foresee: |_, _, _| Foresight::default(),
            names_process: |_, _| false,
        };
        let settings = EngineSettings {
            store_dir: dir.path().join("store"),
            suite: "trixie".into(),
            mirror: None,
            keyring: None,
            lock: None,
            parts,
            registries: hoist_image::RegistrySettings::default(),
            pull_policy: hoist_platform::PullPolicy::Never,
            offline: false,
        };
        let reporter = Arc::new(RecordingReporter::default());
        let engine =
            LocalEngine::open(settings, HostTrust::default(), reporter.clone(), Cancel::new().unwrap()).unwrap();
        let world = Self { dir, engine, reporter };
        world.image("acme/build", &["CNB_USER_ID=1001", "CNB_GROUP_ID=1000"], &[]);
        world.image("acme/run", &[], &[]);
        world
    }

    pub fn store(&self) -> &Store {
        self.engine.store()
    }

    /// An image of one file, with these variables and labels.
    pub fn image(&self, name: &str, env: &[&str], labels: &[(&str, String)]) -> Image {
        self.image_with(name, env, labels, &[("/etc/os-release".to_owned(), "ID=debian\n".to_owned())])
    }

    pub fn image_with(&self, name: &str, env: &[&str], labels: &[(&str, String)], files: &[(String, String)]) -> Image {
        let mut builder = self.store().layer_builder().unwrap();
        for (path, text) in files {
            builder.file(path, Attributes::root(0o755), &mut text.as_bytes(), text.len() as u64).unwrap();
        }
        let layer = builder.finish().unwrap();
        // A label may name the layer that it stands in.
        let labels = labels
            .iter()
            .map(|(name, text)| ((*name).to_owned(), text.replace("LAYER", &layer.diff_id().to_string())))
            .collect::<std::collections::HashMap<_, _>>();
        let env: Vec<String> = env.iter().map(|pair| (*pair).to_owned()).collect();
        let config = ImageConfigurationBuilder::default()
            .os("linux")
            .architecture("amd64")
            .config(ConfigBuilder::default().env(env).labels(labels).build().unwrap())
            .rootfs(RootFsBuilder::default().typ("layers").diff_ids(vec![layer.diff_id().to_string()]).build().unwrap())
            .build()
            .unwrap();
        self.store().put_image(&config, &[name.parse().unwrap()]).unwrap()
    }

    pub fn write(&self, path: &str, text: &str, mode: u32) {
        let path = self.dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
    }

    /// A folder with a buildpack of two scripts.
    pub fn buildpack(&self, dir: &str, id: &str, version: &str, more: &str) -> PathBuf {
        let text = format!("api = \"0.10\"\n[buildpack]\nid = \"{id}\"\nversion = \"{version}\"\n{more}");
        self.write(&format!("{dir}/buildpack.toml"), &text, 0o600);
        for program in ["detect", "build"] {
            self.write(&format!("{dir}/bin/{program}"), "#!/bin/sh\n", 0o711);
        }
        self.dir.path().join(dir)
    }

    pub fn create(&self, builder_toml: &str) -> Result<CreatedBuilder, PlatformError> {
        self.write("builder.toml", &format!("{IMAGES}{builder_toml}"), 0o644);
        self.engine.create_builder(&BuilderRequest {
            name: "acme/builder".parse().unwrap(),
            tags: vec!["acme/builder:1".parse().unwrap()],
            config_path: self.dir.path().join("builder.toml"),
            labels: vec![("team".into(), "quantum".into())],
            flatten: Vec::new(),
            targets: Vec::new(),
        })
    }

    /// The message with its causes, and the next step. The store has no builder and no scratch folder.
    pub fn refused(&self, builder_toml: &str) -> (String, String) {
        let error = self.create(builder_toml).unwrap_err();
        assert!(self.store().find_image(&"acme/builder".parse().unwrap()).unwrap().is_none());
        assert_eq!(fs::read_dir(self.dir.path().join("store/scratch")).unwrap().count(), 0);
        self.explain(&error)
    }

    /// The message with its causes, and the next step, without the folder of the test.
    pub fn explain(&self, error: &PlatformError) -> (String, String) {
        let mut text = error.to_string();
        let mut source = std::error::Error::source(error);
        while let Some(inner) = source {
            text = format!("{text}: {inner}");
            source = inner.source();
        }
        let dir = format!("{}/", self.dir.path().display());
        (text.replace(&dir, ""), error.hint().replace(&dir, ""))
    }

    pub fn warnings(&self) -> Vec<String> {
        let text = |event: &Event| match event {
            Event::Warning { text, .. } => Some(text.replace(&format!("{}/", self.dir.path().display()), "")),
            _ => None,
        };
        self.reporter.events().iter().filter_map(text).collect()
    }
}

/// The images of builder.toml.
pub const IMAGES: &str = "[build]\nimage = \"acme/build\"\n[[run.images]]\nimage = \"acme/run\"\n";

/// A file of the builder, topmost layer first.
pub fn file(image: &Image, path: &str) -> Option<String> {
    image.layers().unwrap().iter().rev().find_map(|layer| {
        let entry = layer.entry(Path::new(path)).unwrap()?.clone();
        Some(fs::read_to_string(layer.file_path(&entry)).unwrap())
    })
}

pub fn label(image: &Image, name: &str) -> serde_json::Value {
    let labels = image.config().config().clone().unwrap().labels().clone().unwrap();
    serde_json::from_str(&labels[name]).unwrap()
}
