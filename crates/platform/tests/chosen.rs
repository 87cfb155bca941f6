//! The buildpacks of one build and the project descriptor: what a wrong one reads, before anything runs.
#![allow(clippy::unwrap_used, reason = "functions beside the tests")]

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fs_err as fs;
use hoist_events::RecordingReporter;
use hoist_image::Attributes;
use hoist_image::oci::{ConfigBuilder, ImageConfigurationBuilder, RootFsBuilder};
use hoist_lifecycle::Launcher;
use hoist_platform::{
    BuildNetwork, BuildRequest, BuilderParts, BuilderRequest, EngineSettings, Fault, Foresight, HostTrust, LocalEngine,
    WantedBuildpack,
};
use hoist_sandbox::Cancel;

/// An engine with a builder of `acme/a` and two versions of `acme/b`, and an app.
struct World {
    dir: tempfile::TempDir,
    engine: LocalEngine,
    reporter: Arc<RecordingReporter>,
}

impl World {
    fn new() -> Self {
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
        world.image("acme/build", &["CNB_USER_ID=1001", "CNB_GROUP_ID=1000"]);
        world.image("acme/run", &[]);
        for (dir, id, version) in [("a", "acme/a", "1.0.0"), ("b1", "acme/b", "1.0.0"), ("b2", "acme/b", "2.0.0")] {
            world.buildpack(dir, id, version, "");
        }
        world.builder("acme/builder", "[[order]]\n[[order.group]]\nid = \"acme/a\"\n");
        world.builder("acme/orderless", "");
        world.write("app/main.py", "");
        world
    }

    fn image(&self, name: &str, env: &[&str]) {
        self.image_of(name, env, &[("/etc/os-release", "ID=debian\n")], &[]);
    }

    /// An image of one layer with these files; `LAYER` in a label is that layer.
    fn image_of(&self, name: &str, env: &[&str], files: &[(&str, &str)], labels: &[(&str, &str)]) {
        let mut builder = self.engine.store().layer_builder().unwrap();
        for (path, text) in files {
            builder.file(path, Attributes::root(0o755), &mut text.as_bytes(), text.len() as u64).unwrap();
        }
        let layer = builder.finish().unwrap();
        let id = layer.diff_id().to_string();
        let labels = labels.iter().map(|(name, text)| ((*name).to_owned(), text.replace("LAYER", &id)));
        let labels: std::collections::HashMap<String, String> = labels.collect();
        let env: Vec<String> = env.iter().map(|pair| (*pair).to_owned()).collect();
        let config = ImageConfigurationBuilder::default()
            .os("linux")
            .architecture("amd64")
            .config(ConfigBuilder::default().env(env).labels(labels).build().unwrap())
            .rootfs(RootFsBuilder::default().typ("layers").diff_ids(vec![layer.diff_id().to_string()]).build().unwrap())
            .build()
            .unwrap();
        self.engine.store().put_image(&config, &[name.parse().unwrap()]).unwrap();
    }

    fn builder(&self, name: &str, order: &str) {
        let buildpacks = ["a", "b1", "b2"].map(|dir| format!("[[buildpacks]]\nuri = \"{dir}\"\n")).concat();
        let images = "[build]\nimage = \"acme/build\"\n[[run.images]]\nimage = \"acme/run\"\n";
        self.write("builder.toml", &format!("{images}{buildpacks}{order}"));
        let config_path = self.path("builder.toml");
        let name = name.parse().unwrap();
        let request = BuilderRequest {
            name,
            tags: Vec::new(),
            config_path,
            labels: Vec::new(),
            flatten: Vec::new(),
            targets: Vec::new(),
        };
        self.engine.create_builder(&request).unwrap();
    }

    fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    }

    fn buildpack(&self, dir: &str, id: &str, version: &str, more: &str) {
        let text = format!("api = \"0.10\"\n[buildpack]\nid = \"{id}\"\nversion = \"{version}\"\n{more}");
        self.write(&format!("{dir}/buildpack.toml"), &text);
        self.write(&format!("{dir}/bin/detect"), "#!/bin/sh\n");
        self.write(&format!("{dir}/bin/build"), "#!/bin/sh\n");
    }

    fn request(&self) -> BuildRequest {
        BuildRequest {
            builder: Some("acme/builder".parse().unwrap()),
            names: vec!["acme/app".parse().unwrap()],
            ..BuildRequest::new(self.path("app"))
        }
    }

    fn wanted(&self, locators: &[&str]) -> Vec<WantedBuildpack> {
        let full = |locator: &str| locator.replace("DIR", &self.dir.path().display().to_string());
        locators.iter().map(|locator| WantedBuildpack::of_option("--buildpack", full(locator))).collect()
    }

    /// The message with its causes, and the next step. Nothing was built, and nothing is left.
    fn refused(&self, request: &BuildRequest) -> (String, String) {
        let error = self.engine.build(request).unwrap_err();
        assert_eq!(error.fault(), Fault::Usage, "{error}");
        assert!(self.engine.store().find_image(&"acme/app".parse().unwrap()).unwrap().is_none());
        assert_eq!(fs::read_dir(self.path("store/scratch")).unwrap().count(), 0);
        let mut text = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(inner) = source {
            text = format!("{text}: {inner}");
            source = inner.source();
        }
        (text.replace(&format!("{}/", self.dir.path().display()), ""), error.hint())
    }
}

#[test]
fn a_buildpack_that_cannot_be_had_is_explained_with_what_there_is() {
    let world = World::new();
    world.buildpack("a-other", "acme/a", "1.0.0", "name = \"Other\"\n");
    world.buildpack("a-third", "acme/a", "1.0.0", "name = \"Third\"\n");
    world.buildpack(
        "all",
        "acme/all",
        "1.0.0",
        "[[order]]\n[[order.group]]\nid = \"acme/gone\"\nversion = \"9.0.0\"\n",
    );
    world.write("extension/extension.toml", "api = \"0.10\"\n[extension]\nid = \"acme/x\"\nversion = \"1.0.0\"\n");
    world.write("nothing/readme", "");
    let has = "the builder has acme/a@1.0.0, acme/b@1.0.0, acme/b@2.0.0";
    for (locators, message, fix) in [
        (&[""][..], "--buildpack : no buildpack is named", "--buildpack ID@VERSION"),
        (&["DIR/gone"], "--buildpack gone: finding the buildpack `gone`: there is nothing at gone", "correct the path"),
        (
            &["DIR/nothing"],
            "--buildpack nothing: reading the buildpack `nothing`: it has neither buildpack.toml",
            "holds",
        ),
        (&["acme/none"], "--buildpack acme/none: `acme/none` is neither a file or folder, nor a buildpack of", has),
        (&["acme/a@9.9.9"], "--buildpack acme/a@9.9.9: `acme/a@9.9.9` is neither", has),
        (
            &["urn:cnb:builder:acme/z@1"],
            "--buildpack urn:cnb:builder:acme/z@1: the builder has no buildpack acme/z@1",
            has,
        ),
        (&["from=builder:acme/z"], "--buildpack from=builder:acme/z: the builder has no buildpack acme/z", has),
        (
            &["acme/b"],
            "--buildpack acme/b: the builder has 2 versions of acme/b: 1.0.0, 2.0.0",
            "name one of them: acme/b@2.0.0",
        ),
        (
            &["urn:cnb:registry:acme/a@1"],
            "--buildpack urn:cnb:registry:acme/a@1: hoist does not ask registries",
            "hoist image load",
        ),
        (
            &["from=builder", "acme/a", "from=builder"],
            "--buildpack from=builder: the builder's own order can stand",
            "once",
        ),
        (&["DIR/extension"], "--buildpack extension: acme/x@1.0.0 is an image extension", "leave it out"),
        (
            &["DIR/a-other", "DIR/a-third"],
            "acme/a@1.0.0 comes from `a-other` and from `a-third`, and they are different",
            "keep one of them",
        ),
        (
            &["DIR/all"],
            "--buildpack all: acme/all@1.0.0 consists of acme/gone@9.0.0, which neither comes with it nor is in the builder",
            "acme/gone itself with a further --buildpack",
        ),
    ] {
        let mut request = world.request();
        request.buildpacks.group = world.wanted(locators);
        let (found, hint) = world.refused(&request);
        assert!(found.starts_with(message), "{found}\nshould begin with\n{message}");
        assert!(hint.contains(fix), "{found}: {hint}");
    }
    let request = BuildRequest { builder: Some("acme/orderless".parse().unwrap()), ..world.request() };
    let (found, hint) = world.refused(&request);
    assert_eq!(found, "the builder acme/orderless:latest has no order, so no buildpack would be tried");
    assert!(hint.starts_with("name the buildpacks: --buildpack ID"), "{hint}");
}

/// A package of one buildpack, `acme/p`.
const LABELS: [(&str, &str); 2] = [
    ("io.buildpacks.buildpackage.metadata", r#"{"id": "acme/p", "version": "1.0.0"}"#),
    ("io.buildpacks.buildpack.layers", r#"{"acme/p": {"1.0.0": {"api": "0.10", "layerDiffID": "LAYER"}}}"#),
];
const DESCRIPTOR: (&str, &str) = (
    "/cnb/buildpacks/acme_p/1.0.0/buildpack.toml",
    "api = \"0.10\"\n[buildpack]\nid = \"acme/p\"\nversion = \"1.0.0\"\n",
);

#[test]
fn a_package_whose_layer_would_change_the_builders_programs_is_refused() {
    let world = World::new();
    for path in ["/usr/bin/env", "/cnb/buildpacks/acme_a/1.0.0/bin/build", "/cnb/hoist/bin/hoist"] {
        world.image_of("acme/package", &[], &[DESCRIPTOR, (path, "")], &LABELS);
        let mut request = world.request();
        request.buildpacks.pre = world.wanted(&["docker://acme/package"]);
        let (found, hint) = world.refused(&request);
        assert!(found.contains(": its layer holds ") && found.contains("no file of its buildpacks"), "{found}");
        assert!(hint.contains("was changed"), "{hint}");
    }
}

const NEW: &str = "[_]\nschema-version = \"0.2\"\n";

#[test]
fn what_is_wrong_in_a_descriptor_is_named_with_file_and_line() {
    let world = World::new();
    for (text, message, fix) in [
        ("[_\n".to_owned(), "reading the project descriptor app/project.toml: project.toml, line 1", "correct"),
        (
            format!("{NEW}[io.buildpacks]\ninclude = [\"a\"]\nexclude = [\"b\"]\n"),
            "reading the project descriptor app/project.toml: project.toml: line 4, include: both include and exclude",
            "keep one",
        ),
        (
            format!("{NEW}[[io.buildpacks.group]]\n"),
            "reading the project descriptor app/project.toml: project.toml: line 3, buildpack: it has neither an id",
            "add id",
        ),
        (
            format!("{NEW}[[io.buildpacks.group]]\nid = \"acme/none\"\n"),
            "app/project.toml, line 3: `acme/none` is neither a file or folder, nor a buildpack of the builder",
            "the builder has acme/a@1.0.0",
        ),
        (
            format!("{NEW}[[io.buildpacks.group]]\nuri = \"../a\"\n"),
            "app/project.toml, line 3: finding the buildpack `../a`: it lies outside of the app",
            "--descriptor project.toml",
        ),
        (
            format!("{NEW}[[io.buildpacks.pre.group]]\nuri = \"./out\"\n"),
            "app/project.toml, line 3: finding the buildpack `./out`: it lies outside of the app",
            "--descriptor project.toml",
        ),
        (
            format!("{NEW}[[io.buildpacks.post.group]]\nuri = \"file:///etc/passwd\"\n"),
            "app/project.toml, line 3: finding the buildpack `file:///etc/passwd`: it lies outside of the app",
            "--descriptor project.toml",
        ),
        (
            format!("{NEW}[[io.buildpacks.group]]\nuri = \"https://example.invalid/a.tgz\"\n"),
            "app/project.toml, line 3: finding the buildpack `https://example.invalid/a.tgz`: it would have to be fetched",
            "--buildpack FILE",
        ),
    ] {
        world.write("app/project.toml", &text);
        if !world.path("app/out").exists() {
            symlink("../a", world.path("app/out")).unwrap();
        }
        let request = BuildRequest { network: BuildNetwork::None, ..world.request() };
        // The link itself cannot be staged, which is another refusal.
        let request = BuildRequest { selection: without("out"), ..request };
        let (found, hint) = world.refused(&request);
        assert!(found.starts_with(message), "{found}\nshould begin with\n{message}");
        assert!(hint.contains(fix), "{found}: {hint}");
    }
}

fn without(name: &str) -> hoist_service::Selection {
    hoist_service::Selection {
        files: hoist_service::SelectedFiles::Exclude(vec![name.to_owned()]),
        ..hoist_service::Selection::default()
    }
}

#[test]
fn a_descriptor_that_is_named_may_lead_anywhere_and_its_builder_yields_to_the_callers() {
    let world = World::new();
    world.write("app/project.toml", "[_\n");
    world.write(
        "other/project.toml",
        &format!("{NEW}[io.buildpacks]\nbuilder = \"acme/none\"\n[[io.buildpacks.group]]\nuri = \"../gone\"\n"),
    );
    let mut request = BuildRequest { descriptor: Some(world.path("other/project.toml")), ..world.request() };
    let (found, _) = world.refused(&request);
    assert!(
        found.starts_with("other/project.toml, line 5: finding the buildpack `../gone`: there is nothing at"),
        "{found}"
    );
    request.builder = None;
    let (found, _) = world.refused(&request);
    assert_eq!(found, "the builder acme/none:latest is not in the store");
    request.descriptor = Some(PathBuf::from("/nowhere/project.toml"));
    let (found, hint) = world.refused(&request);
    assert!(found.starts_with("reading the project descriptor /nowhere/project.toml: "), "{found}");
    assert_eq!(hint, "name a file that is there: --descriptor FILE");
    world.write("other/project.toml", &format!("{NEW}[io.buildpacks]\nbuilder = \"A B\"\n"));
    request.descriptor = Some(world.path("other/project.toml"));
    let (found, _) = world.refused(&request);
    assert!(found.starts_with("the project descriptor other/project.toml names the builder `A B`: "), "{found}");
    let warned = format!("{:?}", world.reporter.events());
    assert!(warned.contains("--descriptor names it"), "{warned}");
    assert!(!Path::new("/nowhere").exists());
}

#[test]
fn what_a_package_toml_beside_a_buildpack_names_comes_along() {
    let world = World::new();
    let order = "[[order]]\n[[order.group]]\nid = \"acme/part\"\nversion = \"1.0.0\"\n";
    world.buildpack("all", "acme/all", "1.0.0", order);
    world.buildpack("part", "acme/part", "1.0.0", "");
    let mut request = world.request();
    request.buildpacks.group = world.wanted(&["DIR/all"]);
    assert!(world.refused(&request).0.contains("consists of acme/part@1.0.0, which neither comes with it"));
    for (text, message, fix) in [
        (
            "[buildpack]\nuri = \".\"\n[[dependencies]]\nuri = \"../gone\"\n",
            "--buildpack all: all/package.toml, line 3: finding the buildpack `../gone`: there is nothing at",
            "correct the path",
        ),
        (
            "[buildpack]\nuri = \".\"\n[[dependency]]\nuri = \"../part\"\n",
            "--buildpack all: reading all/package.toml: package.toml, line 3, column 3: unknown field",
            "correct package.toml",
        ),
    ] {
        world.write("all/package.toml", text);
        let (found, hint) = world.refused(&request);
        assert!(found.starts_with(message), "{found}\nshould begin with\n{message}");
        assert!(hint.contains(fix), "{found}: {hint}");
    }
    world.write("all/package.toml", "[buildpack]\nuri = \".\"\n[[dependencies]]\nuri = \"../part\"\n");
    // All of it is there, so that the next mistake is told.
    request.buildpacks.group = world.wanted(&["DIR/all", "acme/none"]);
    assert!(world.refused(&request).0.starts_with("--buildpack acme/none"));
    // A stranger's names nothing outside of the app.
    fs::rename(world.path("all"), world.path("app/all")).unwrap();
    world.write("app/all/package.toml", "[buildpack]\nuri = \".\"\n[[dependencies]]\nuri = \"../../part\"\n");
    world.write("app/project.toml", &format!("{NEW}[[io.buildpacks.group]]\nuri = \"all\"\n"));
    let (found, _) = world.refused(&world.request());
    assert!(
        found.contains("app/all/package.toml, line 3: finding the buildpack `../../part`: it lies outside"),
        "{found}"
    );
}

#[test]
fn no_file_of_this_machine_is_read_through_a_link_in_a_strangers_app() {
    let world = World::new();
    world.write("secret", "the-password = 1\n");
    world.write("app/evil/bin/build", "");
    world.write("app/project.toml", &format!("{NEW}[[io.buildpacks.group]]\nuri = \"evil\"\n"));
    for target in [world.path("secret"), PathBuf::from("../../secret")] {
        let _ = fs::remove_file(world.path("app/evil/buildpack.toml"));
        symlink(target, world.path("app/evil/buildpack.toml")).unwrap();
        let request = BuildRequest { selection: without("evil"), ..world.request() };
        let (found, _) = world.refused(&request);
        assert!(found.contains("it is a symbolic link that leads out of the buildpack"), "{found}");
        assert!(!found.contains("password"), "{found}");
    }
}

#[test]
fn an_image_is_found_by_its_name_with_a_registry_and_no_password_is_told() {
    let world = World::new();
    world.image_of("acme/package", &[], &[DESCRIPTOR], &LABELS);
    let mut request = world.request();
    request.buildpacks.group = world.wanted(&["registry.invalid/acme/package:latest", "acme/none"]);
    assert!(world.refused(&request).0.starts_with("--buildpack acme/none"));
    request.buildpacks.group = world.wanted(&["http://me:secret@127.0.0.1:9/x.tgz"]);
    let error = world.engine.build(&request).unwrap_err();
    let mut text = format!("{error} {} {error:?}", error.hint());
    text.truncate(text.find("WantedBuildpack").unwrap_or(text.len()));
    assert!(text.contains("http://***@127.0.0.1:9/x.tgz") && !text.contains("secret"), "{text}");
}

#[test]
fn an_image_does_not_take_the_name_of_what_it_is_built_with() {
    let world = World::new();
    for name in ["acme/builder", "acme/builder:2", "hoist/run", "hoist/builder", "acme/run"] {
        let run_image = (name == "acme/run").then(|| name.parse().unwrap());
        let request = BuildRequest { names: vec![name.parse().unwrap()], run_image, ..world.request() };
        let (found, hint) = world.refused(&request);
        assert!(
            found.ends_with("is the name of the builder or of the run image, and the app's image cannot have it too")
        );
        assert_eq!(hint, "choose another name for the app's image");
    }
}
