//! The phases that know images as another platform runs them: on the file system they are in, images in OCI layouts.
#![allow(clippy::unwrap_used, reason = "functions beside the tests")]

use std::collections::HashMap;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use hoist_events::{Event, RecordingReporter};
use hoist_image::oci::{ConfigBuilder, ImageConfigurationBuilder, RootFsBuilder};
use hoist_image::{Attributes, Compression, Image, LoadLimits, Store};
use hoist_lifecycle::{
    ImagePhaseInputs, ImagePlace, LayoutDir, PhaseError, PhaseInputs, RebaserInputs, run_analyzer, run_creator,
    run_exporter, run_rebaser, run_restorer,
};
use hoist_spec::{Analyzed, ApiVersion, LIFECYCLE_METADATA_LABEL, LifecycleMetadata, Report};

/// The directories of a container, and a layout directory with a run image.
struct Container {
    dir: tempfile::TempDir,
    platform_api: ApiVersion,
    reporter: RecordingReporter,
}

impl Container {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let this = Self { dir, platform_api: ApiVersion::NEWEST_PLATFORM, reporter: RecordingReporter::default() };
        this.write("run.toml", "[[images]]\nimage = \"acme/run\"\n");
        this.write("stack.toml", "[run-image]\nimage = \"acme/run\"\n");
        this.write("layers/group.toml", "[[group]]\nid = \"acme/one\"\nversion = \"1.0.0\"\napi = \"0.10\"\n");
        this.write("launcher", "a launcher");
        this.write("workspace/app.txt", "an app");
        this.run_image("acme/run", "test", &[]);
        this
    }

    /// A run image of one layer, in the layout directory.
    fn run_image(&self, name: &str, content: &str, labels: &[(&str, &str)]) {
        let store = Store::open(self.path("store")).unwrap();
        let mut builder = store.layer_builder().unwrap();
        let bytes = content.as_bytes();
        builder.file("/etc/content", Attributes::root(0o644), &mut &*bytes, bytes.len() as u64).unwrap();
        let layer = builder.finish().unwrap();
        let labels =
            labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect::<HashMap<_, _>>();
        let config = ConfigBuilder::default().env(vec!["PATH=/usr/bin".to_owned()]).labels(labels).build().unwrap();
        let rootfs =
            RootFsBuilder::default().typ("layers").diff_ids(vec![layer.diff_id().to_string()]).build().unwrap();
        let config =
            ImageConfigurationBuilder::default().os("linux").architecture("amd64").config(config).rootfs(rootfs);
        let image = store.put_image(&config.build().unwrap(), &[]).unwrap();
        let place = self.layout().path(&name.parse().unwrap());
        fs_err::create_dir_all(place.parent().unwrap()).unwrap();
        image.replace_dir(&place, &[], Compression::Gzip).unwrap();
    }

    fn place(&self) -> ImagePlace {
        ImagePlace::Layout(self.layout())
    }

    fn layout(&self) -> LayoutDir {
        LayoutDir::new(self.path("layout"))
    }

    fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(&path, text).unwrap();
    }

    fn read(&self, path: &str) -> String {
        fs_err::read_to_string(self.path(path)).unwrap()
    }

    /// What a buildpack and the builder left: a layer for launch, one for the cache, SBOM documents.
    fn builder_was_here(&self) {
        self.write("layers/acme_one/cached/file", "cached");
        self.write("layers/sbom/cache/acme_one/cached/sbom.cdx.json", "{\"of\":\"cached\"}");
        self.write("layers/acme_one/kept.toml", "[types]\nlaunch = true\n[metadata]\nkey = \"value\"\n");
        self.write("layers/acme_one/kept/file", "kept");
        self.write("layers/sbom/launch/acme_one/kept/sbom.cdx.json", "{\"of\":\"kept\"}");
        self.write("layers/acme_one/cached.toml", "[types]\ncache = true\n");
        self.write("layers/acme_one/store.toml", "[metadata]\nstored = 1\n");
        self.write(
            "layers/config/metadata.toml",
            "[[buildpacks]]\nid = \"acme/one\"\nversion = \"1.0.0\"\napi = \"0.10\"\n\n[[processes]]\ntype = \"web\"\ncommand = [\"serve\"]\ndirect = true\nbuildpack-id = \"acme/one\"\n",
        );
    }

    fn inputs(&self) -> ImagePhaseInputs {
        let run = if self.platform_api.at_least(12) { "run.toml" } else { "stack.toml" };
        ImagePhaseInputs {
            analyzed_path: self.path("layers/analyzed.toml"),
            app_dir: self.path("workspace"),
            cache_dir: Some(self.path("cache")),
            group_path: self.path("layers/group.toml"),
            images: vec!["acme/app:1".parse().unwrap()],
            launch_cache_dir: None,
            launcher_path: self.path("launcher"),
            launcher_sbom_dir: self.path("launcher-sbom"),
            layers_dir: self.path("layers"),
            previous_image: None,
            process_type: None,
            project_metadata_path: self.path("layers/project-metadata.toml"),
            report_path: self.path("layers/report.toml"),
            run_path: self.path(run),
            run_image: None,
            skip_layers: false,
            user: (1001, 1000),
            created: None,
            version: "1.2.3".into(),
            exec_env: "production".into(),
            platform_api: self.platform_api,
        }
    }

    fn analyze(&self) -> Analyzed {
        run_analyzer(&self.inputs(), &self.place(), &self.reporter).unwrap();
        Analyzed::parse(&self.read("layers/analyzed.toml")).unwrap()
    }

    fn export(&self) -> Image {
        run_exporter(&self.inputs(), &self.place(), &self.reporter).unwrap();
        self.image("acme/app:1")
    }

    fn image(&self, name: &str) -> Image {
        let store = Store::open(self.path("looking")).unwrap();
        let path = self.layout().path(&name.parse().unwrap());
        store.load_unnamed(&path, LoadLimits::default()).unwrap().remove(0)
    }

    /// A buildpack of one script, and what the creator's buildpacks are told.
    fn calls(&self, build: &str) -> PhaseInputs {
        self.write(
            "buildpacks/acme_one/1.0.0/buildpack.toml",
            "api = \"0.10\"\n[buildpack]\nid = \"acme/one\"\nversion = \"1.0.0\"\n",
        );
        for (program, script) in [("detect", "exit 0"), ("build", build)] {
            let path = format!("buildpacks/acme_one/1.0.0/bin/{program}");
            self.write(&path, &format!("#!/bin/sh\nset -e\n{script}\n"));
            fs_err::set_permissions(self.path(&path), PermissionsExt::from_mode(0o755)).unwrap();
        }
        self.write("order.toml", "[[order]]\n[[order.group]]\nid = \"acme/one\"\nversion = \"1.0.0\"\n");
        PhaseInputs {
            analyzed_path: self.path("layers/analyzed.toml"),
            app_dir: self.path("workspace"),
            build_config_dir: self.path("build-config"),
            buildpacks_dir: self.path("buildpacks"),
            group_path: self.path("layers/group.toml"),
            layers_dir: self.path("layers"),
            order_path: self.path("order.toml"),
            plan_path: self.path("layers/plan.toml"),
            platform_dir: self.path("platform"),
            system_path: self.path("system.toml"),
            exec_env: "production".into(),
            platform_api: self.platform_api,
            environment: vec![
                ("PATH".into(), "/usr/bin:/bin".into()),
                ("CNB_REGISTRY_AUTH".into(), "{\"host.test\":\"secret\"}".into()),
                ("DOCKER_CONFIG".into(), "/secret".into()),
            ],
            user: None,
        }
    }

    fn rebase(&self, change: impl FnOnce(&mut RebaserInputs)) -> Result<Image, PhaseError> {
        let mut inputs = RebaserInputs {
            images: vec!["acme/app:1".parse().unwrap()],
            previous_image: None,
            run_image: None,
            report_path: self.path("rebased.toml"),
            force: false,
            platform_api: self.platform_api,
        };
        change(&mut inputs);
        run_rebaser(&inputs, &self.place(), &self.reporter)?;
        Ok(self.image(&inputs.images[0].to_string()))
    }

    fn warnings(&self) -> Vec<String> {
        let warning = |event: &Event| match event {
            Event::Warning { text, .. } => Some(text.clone()),
            _ => None,
        };
        self.reporter.events().iter().filter_map(warning).collect()
    }
}

#[test]
fn an_image_is_analyzed_exported_and_restored_and_the_next_export_makes_the_same_image() {
    let container = Container::new();
    let analyzed = container.analyze();
    let run_image = analyzed.run_image.unwrap();
    assert!(run_image.reference.contains("/layout/index.docker.io/acme/run/latest@sha256:"), "{}", run_image.reference);
    assert_eq!(run_image.target.unwrap().arch, "amd64");
    assert_eq!(analyzed.image.unwrap().reference, "");

    container.builder_was_here();
    let first = container.export();
    let created_by: Vec<String> =
        first.config().history().iter().flatten().filter_map(|h| h.created_by().clone()).collect();
    assert!(created_by.iter().any(|text| text.contains("Layer: 'kept'")), "{created_by:?}");
    assert!(container.path("layers/acme_one/kept/file").is_file(), "nothing was moved away");
    let report = Report::parse(&container.read("layers/report.toml")).unwrap();
    assert_eq!(report.image.tags, [container.path("layout/index.docker.io/acme/app/1").display().to_string()]);
    assert!(container.path("cache/committed/io.buildpacks.lifecycle.cache.metadata").is_file());

    fs_err::remove_dir_all(container.path("layers/acme_one")).unwrap();
    fs_err::remove_dir_all(container.path("layers/sbom")).unwrap();
    let analyzed = container.analyze();
    assert!(analyzed.image.as_ref().unwrap().reference.contains("/layout/index.docker.io/acme/app/1@sha256:"));
    assert!(container.path("layers/sbom/launch/acme_one/kept/sbom.cdx.json").is_file());
    run_restorer(&container.inputs(), &container.reporter).unwrap();
    assert_eq!(container.read("layers/acme_one/kept.toml"), "[metadata]\nkey = \"value\"\n");
    assert_eq!(container.read("layers/acme_one/kept.sbom.cdx.json"), "{\"of\":\"kept\"}");
    assert!(!container.path("layers/acme_one/kept").exists(), "a layer for launch alone stays in the image");
    assert_eq!(container.read("layers/acme_one/cached/file"), "cached");
    assert_eq!(container.read("layers/acme_one/cached.sbom.cdx.json"), "{\"of\":\"cached\"}");
    assert!(container.read("layers/acme_one/store.toml").contains("stored = 1"));
    assert!(!container.path("layers/sbom").exists());

    container.builder_was_here();
    fs_err::remove_dir_all(container.path("layers/acme_one/kept")).unwrap();
    let second = container.export();
    assert_eq!(first.id(), second.id());
    assert_eq!(container.warnings(), Vec::<String>::new());
}

#[test]
fn layers_are_not_restored_when_that_is_asked_for_but_the_store_is() {
    let container = Container::new();
    container.analyze();
    container.builder_was_here();
    container.export();
    fs_err::remove_dir_all(container.path("layers/acme_one")).unwrap();
    fs_err::remove_dir_all(container.path("layers/sbom")).unwrap();
    let inputs = ImagePhaseInputs { skip_layers: true, ..container.inputs() };
    run_analyzer(&inputs, &container.place(), &container.reporter).unwrap();
    assert!(!container.path("layers/sbom").exists());
    run_restorer(&inputs, &container.reporter).unwrap();
    let names: Vec<_> =
        fs_err::read_dir(container.path("layers/acme_one")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["store.toml"]);
}

#[test]
fn below_platform_api_0_12_the_run_image_comes_from_stack_toml_and_has_no_target() {
    let mut container = Container::new();
    container.platform_api = ApiVersion::new(0, 11);
    let run_image = container.analyze().run_image.unwrap();
    assert!(run_image.reference.contains("acme/run/latest@sha256:"));
    assert_eq!((run_image.image, run_image.target), (None, None));
}

#[test]
fn the_launcher_s_own_sbom_is_in_the_image_if_there_is_one() {
    let container = Container::new();
    container.analyze();
    container.builder_was_here();
    container.write("launcher-sbom/launcher.sbom.cdx.json", "{}");
    let image = container.export();
    let path = container.path("layers/sbom/launch/buildpacksio_lifecycle/launcher/sbom.cdx.json");
    let has_it = |layer: &hoist_image::Layer| layer.entry(&path).unwrap().is_some();
    assert!(image.layers().unwrap().iter().any(has_it));
}

#[test]
fn each_phase_ends_with_its_own_code() {
    let container = Container::new();
    let code =
        |result: Result<(), PhaseError>| result.map_err(|error| (error.exit_code(), error.to_string())).unwrap_err();
    let gone = ImagePhaseInputs { run_image: Some("acme/gone".parse().unwrap()), ..container.inputs() };
    let (number, text) = code(run_analyzer(&gone, &container.place(), &container.reporter));
    assert!(number == 32 && text.contains("there is no OCI layout in"), "{number} {text}");
    container.write("run.toml", "");
    assert_eq!(code(run_analyzer(&container.inputs(), &container.place(), &container.reporter)).0, 32);

    container.builder_was_here();
    container.write("layers/analyzed.toml", "[run-image]\nreference = \"/gone@sha256:00\"\n");
    assert_eq!(code(run_exporter(&container.inputs(), &container.place(), &container.reporter)).0, 62);
    container.write("run.toml", "[[images]]\nimage = \"acme/run\"\n");
    container.analyze();
    let process = ImagePhaseInputs { process_type: Some("worker".into()), ..container.inputs() };
    assert_eq!(code(run_exporter(&process, &container.place(), &container.reporter)).0, 62);
    container.write("layers/group.toml", "[[group]]\nid = \"acme/one\"\nversion = \"1.0.0\"\napi = \"0.99\"\n");
    assert_eq!(code(run_restorer(&container.inputs(), &container.reporter)).0, 12);
    assert_eq!(code(run_exporter(&container.inputs(), &container.place(), &container.reporter)).0, 12);
}

/// A hostile cache cannot write outside of the directory of its layer.
#[test]
fn a_cached_layer_that_leads_out_is_not_restored() {
    let container = Container::new();
    container.analyze();
    container.builder_was_here();
    container.export();
    let committed = container.path("cache/committed");
    let document = committed.join("io.buildpacks.lifecycle.cache.metadata");
    let mut metadata = hoist_spec::CacheMetadata::parse(&fs_err::read_to_string(&document).unwrap()).unwrap();
    let store = Store::open(container.path("strangers")).unwrap();
    let mut builder = store.layer_builder().unwrap();
    let victim = container.path("victim/file");
    builder.file(&victim, Attributes::root(0o644), &mut &b"x"[..], 1).unwrap();
    let layer = builder.finish().unwrap();
    let mut tar = Vec::new();
    layer.write_tar(&mut tar).unwrap();
    fs_err::write(committed.join(format!("{}.tar", layer.diff_id())), tar).unwrap();
    metadata.buildpacks[0].layers.get_mut("cached").unwrap().sha = layer.diff_id().to_string();
    fs_err::write(&document, metadata.write().unwrap()).unwrap();
    fs_err::remove_dir_all(container.path("layers/acme_one")).unwrap();
    run_restorer(&container.inputs(), &container.reporter).unwrap();
    assert!(!victim.exists());
    assert!(!container.path("layers/acme_one/cached.toml").exists());
    assert!(container.warnings()[0].contains("outside of its own folder"), "{:?}", container.warnings());
}

#[test]
fn the_creator_runs_all_phases_and_hides_its_environment_from_buildpacks() {
    let container = Container::new();
    let build = "env > \"$CNB_LAYERS_DIR/environment\"\nmkdir -p \"$CNB_LAYERS_DIR/kept\"\n\
                 if [ -e \"$CNB_LAYERS_DIR/kept/file\" ]; then echo again > \"$CNB_LAYERS_DIR/again\"; fi\n\
                 echo kept > \"$CNB_LAYERS_DIR/kept/file\"\n\
                 printf '[types]\\nlaunch = true\\ncache = true\\n' > \"$CNB_LAYERS_DIR/kept.toml\"\n\
                 printf '[[processes]]\\ntype = \"web\"\\ncommand = [\"serve\"]\\ndefault = true\\n' > \"$CNB_LAYERS_DIR/launch.toml\"";
    let calls = container.calls(build);
    let create = || {
        run_creator(&container.inputs(), &calls, &container.place(), &container.reporter).unwrap();
        container.image("acme/app:1")
    };
    let first = create();
    assert_eq!(first.config().config().as_ref().unwrap().entrypoint().as_ref().unwrap(), &["/cnb/process/web"]);
    let environment = container.read("layers/acme_one/environment");
    assert!(environment.contains("PATH="), "{environment}");
    assert!(!environment.contains("secret"), "{environment}");
    assert!(!container.path("layers/acme_one/again").exists());

    fs_err::remove_dir_all(container.path("layers")).unwrap();
    let second = create();
    assert!(container.path("layers/acme_one/again").exists(), "the cached layer was there");
    assert_eq!(first.id(), second.id());
    let phases: Vec<_> = container.reporter.events().iter().filter_map(started).collect();
    assert_eq!(phases[..5], ["Analyze", "Detect", "Restore", "Build", "Export"]);

    container.calls("exit 7");
    let failed = run_creator(&container.inputs(), &calls, &container.place(), &container.reporter).unwrap_err();
    assert_eq!(failed.exit_code(), 51, "{failed}");
}

fn started(event: &Event) -> Option<String> {
    match event {
        Event::PhaseStarted { phase } => Some(format!("{phase:?}")),
        _ => None,
    }
}

#[test]
fn a_rebased_image_has_the_layers_and_labels_of_the_new_run_image_and_its_own_above() {
    let container = Container::new();
    container.analyze();
    container.builder_was_here();
    let before = container.export();
    container.run_image("acme/run", "patched", &[("io.buildpacks.base.id", "new"), ("other", "x")]);
    let after = container.rebase(|_| {}).unwrap();
    assert_eq!(after.diff_ids()[1..], before.diff_ids()[1..]);
    assert_ne!(after.diff_ids()[0], before.diff_ids()[0]);
    let labels = |image: &Image| image.config().config().as_ref().unwrap().labels().clone().unwrap();
    assert_eq!(labels(&after)["io.buildpacks.base.id"], "new");
    assert!(!labels(&after).contains_key("other"));
    let metadata = LifecycleMetadata::parse(&labels(&after)[LIFECYCLE_METADATA_LABEL]).unwrap();
    assert_eq!(metadata.run_image.top_layer, after.diff_ids()[0].to_string());
    assert!(metadata.run_image.reference.contains("acme/run/latest@sha256:"), "{}", metadata.run_image.reference);
    let old = LifecycleMetadata::parse(&labels(&before)[LIFECYCLE_METADATA_LABEL]).unwrap();
    assert_eq!((metadata.buildpacks, metadata.app, metadata.launcher), (old.buildpacks, old.app, old.launcher));
    assert_eq!(after.config().history().as_ref().unwrap().len(), after.diff_ids().len());
    let settings = |image: &Image| {
        let config = image.config().config().clone().unwrap();
        (config.entrypoint().clone(), config.env().clone(), config.working_dir().clone())
    };
    assert_eq!(settings(&after), settings(&before));
    let report = Report::parse(&container.read("rebased.toml")).unwrap();
    assert_eq!(report.image.tags.len(), 1);

    // The same again is the same image, and under another name the first one stays.
    assert_eq!(container.rebase(|_| {}).unwrap().id(), after.id());
    container.run_image("acme/run", "patched again", &[]);
    let named = container.rebase(|inputs| {
        inputs.previous_image = Some("acme/app:1".parse().unwrap());
        inputs.images = vec!["acme/app:2".parse().unwrap()];
    });
    assert_ne!(named.unwrap().id(), after.id());
    assert_eq!(container.image("acme/app:1").id(), after.id());
}

#[test]
fn an_image_is_rebased_on_what_it_was_not_made_for_only_by_force() {
    let container = Container::new();
    container.run_image(
        "acme/run",
        "old",
        &[("io.buildpacks.base.distro.name", "debian"), ("io.buildpacks.rebasable", "true")],
    );
    container.analyze();
    container.builder_was_here();
    container.export();
    let other = |inputs: &mut RebaserInputs| inputs.run_image = Some("acme/other".parse().unwrap());
    let refused = |change: &dyn Fn(&mut RebaserInputs)| {
        let error = container.rebase(change).unwrap_err();
        assert_eq!(error.exit_code(), 72, "{error}");
        error.to_string()
    };
    assert!(refused(&other).contains("there is no OCI layout in"));
    container.run_image("acme/other", "new", &[("io.buildpacks.base.distro.name", "ubuntu")]);
    let text = refused(&other);
    assert!(text.contains("made for linux/amd64 debian , the new run image for linux/amd64 ubuntu"), "{text}");
    container.run_image("acme/other", "new", &[("io.buildpacks.base.distro.name", "debian")]);
    let text = refused(&other);
    assert!(text.contains("acme/other:latest is none of its run images: acme/run"), "{text}");

    let forced =
        container.rebase(|inputs| (inputs.force, inputs.run_image) = (true, Some("acme/other".parse().unwrap())));
    let labels = forced.unwrap().config().config().as_ref().unwrap().labels().clone().unwrap();
    let metadata = LifecycleMetadata::parse(&labels[LIFECYCLE_METADATA_LABEL]).unwrap();
    assert_eq!((metadata.run_image.image.as_str(), metadata.run_image.mirrors.len()), ("acme/other:latest", 0));
    assert!(container.warnings()[0].contains("is none of its run images"), "{:?}", container.warnings());
    assert!(refused(&|inputs| inputs.images = vec!["acme/run".parse().unwrap()]).contains("no lifecycle made it"));
}
