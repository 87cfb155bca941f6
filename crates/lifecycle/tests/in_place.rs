//! `detector` and `builder` as another platform runs them: on the file system they are in, with the documents of platform.md between them.
#![allow(clippy::unwrap_used, reason = "functions beside the tests")]

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use hoist_events::{Event, RecordingReporter};
use hoist_lifecycle::{PhaseError, PhaseInputs, run_builder, run_detector};
use hoist_spec::{ApiVersion, BuildMetadata, Group, Plan};

/// The directories of a build container.
struct Container {
    dir: tempfile::TempDir,
    platform_api: ApiVersion,
    reporter: RecordingReporter,
}

impl Container {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in ["workspace", "layers", "platform/env", "buildpacks"] {
            fs_err::create_dir_all(dir.path().join(name)).unwrap();
        }
        Self { dir, platform_api: ApiVersion::NEWEST_PLATFORM, reporter: RecordingReporter::default() }
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

    fn buildpack(&self, id: &str, api: &str, more: &str, detect: &str, build: &str) {
        let dir = Path::new("buildpacks").join(id.replace('/', "_")).join("1.0.0");
        let toml = format!("api = \"{api}\"\n[buildpack]\nid = \"{id}\"\nversion = \"1.0.0\"\n{more}\n");
        self.write(dir.join("buildpack.toml").to_str().unwrap(), &toml);
        for (name, script) in [("detect", detect), ("build", build)] {
            let program = dir.join("bin").join(name);
            self.write(program.to_str().unwrap(), &format!("#!/usr/bin/env bash\nset -eu\n{script}\n"));
            fs_err::set_permissions(self.path(program.to_str().unwrap()), PermissionsExt::from_mode(0o755)).unwrap();
        }
    }

    fn order(&self, ids: &[&str]) {
        let entries = ids.iter().map(|id| format!("[[order.group]]\nid = \"{id}\"\nversion = \"1.0.0\"\n"));
        self.write("order.toml", &format!("[[order]]\n{}", entries.collect::<String>()));
    }

    fn inputs(&self) -> PhaseInputs {
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
            user: None,
            platform_api: self.platform_api,
            environment: vec![("PATH".into(), "/usr/bin:/bin".into()), ("SECRET".into(), "x".into())],
        }
    }

    fn detect(&self) -> Result<Group, PhaseError> {
        run_detector(&self.inputs(), &self.reporter)
    }

    fn build(&self) -> Result<(), PhaseError> {
        run_builder(&self.inputs(), &self.reporter)
    }

    fn output(&self) -> Vec<String> {
        let line = |event: &Event| match event {
            Event::Output { line, .. } => Some(line.clone()),
            _ => None,
        };
        self.reporter.events().iter().filter_map(line).collect()
    }
}

const PASS: &str = "exit 0";

#[test]
fn detector_writes_the_group_and_the_plan_from_which_builder_builds() {
    let container = Container::new();
    let provide = "printf '[[provides]]\\nname = \"d\"\\n' > $CNB_BUILD_PLAN_PATH";
    let require = "printf '[[requires]]\\nname = \"d\"\\n' > $CNB_BUILD_PLAN_PATH";
    let first = r#"
grep -q 'name = "d"' "$CNB_BP_PLAN_PATH"
mkdir -p "$CNB_LAYERS_DIR/l/bin" "$CNB_LAYERS_DIR/l/env" "$CNB_LAYERS_DIR/t"
printf value > "$CNB_LAYERS_DIR/l/env/FROM_LAYER"
printf '[types]\nlaunch = true\nbuild = true\ncache = true\n' > "$CNB_LAYERS_DIR/l.toml"
echo > "$CNB_LAYERS_DIR/t.toml"
echo '{"l":1}' > "$CNB_LAYERS_DIR/l.sbom.cdx.json"
echo '{"b":1}' > "$CNB_LAYERS_DIR/build.sbom.cdx.json"
printf '[[processes]]\ntype = "web"\ncommand = ["serve", "--fixed"]\nargs = ["--free"]\ndefault = true\n' > "$CNB_LAYERS_DIR/launch.toml"
"#;
    let second = r#"
echo "$FROM_LAYER $USER_VAR $OPERATOR ${SECRET-hidden} $CNB_TARGET_ARCH $CNB_TARGET_DISTRO_NAME $PWD"
echo "$PATH"
ls "$CNB_LAYERS_DIR/../acme_one"
"#;
    let formats = "sbom-formats = [\"application/vnd.cyclonedx+json\"]";
    container.buildpack("acme/one", "0.10", formats, provide, first);
    container.buildpack("acme/two", "0.10", "", require, second);
    container.order(&["acme/one", "acme/two"]);
    container.write("secret", "user");
    symlink(container.path("secret"), container.path("platform/env/USER_VAR")).unwrap();
    container.write("build-config/env/OPERATOR", "op");
    let analyzed = "[run-image]\nreference = \"r\"\n[run-image.target]\nos = \"linux\"\narch = \"arm64\"\n[run-image.target.distro]\nname = \"debian\"\n";
    container.write("layers/analyzed.toml", analyzed);
    container.write("layers/sbom/launch/stale.json", "{}");

    let group = container.detect().unwrap();
    assert_eq!(Group::parse(&container.read("layers/group.toml")).unwrap(), group);
    let plan = Plan::parse(&container.read("layers/plan.toml")).unwrap();
    assert_eq!(plan.for_buildpack("acme/one").entries[0].name, "d");

    container.build().unwrap();
    let (layers, app) = (container.path("layers").display().to_string(), container.path("workspace"));
    assert_eq!(
        container.output(),
        [
            format!("value user op hidden arm64 debian {}", app.display()),
            format!("{layers}/acme_one/l/bin:/usr/bin:/bin"),
            "build.sbom.cdx.json".into(),
            "l".into(),
            "l.sbom.cdx.json".into(),
            "l.toml".into(),
            "launch.toml".into(),
            "t.ignore".into(),
            "t.toml".into(),
        ]
    );
    assert_eq!(container.read("layers/sbom/launch/acme_one/l/sbom.cdx.json"), "{\"l\":1}\n");
    assert_eq!(container.read("layers/sbom/cache/acme_one/l/sbom.cdx.json"), "{\"l\":1}\n");
    assert_eq!(container.read("layers/sbom/build/acme_one/sbom.cdx.json"), "{\"b\":1}\n");
    assert!(!container.path("layers/sbom/launch/stale.json").exists(), "documents of the build before are gone");
    let metadata = BuildMetadata::parse(&container.read("layers/config/metadata.toml")).unwrap();
    assert_eq!(metadata.process("web").unwrap().command.entries(), ["serve", "--fixed"]);
    assert_eq!(metadata.buildpack_default_process_type.as_deref(), Some("web"));
    assert_eq!(metadata.buildpacks.len(), 2);
}

#[test]
fn no_buildpack_changes_what_the_operator_tells_those_after_it() {
    let container = Container::new();
    container.write("build-config/env/OPERATOR", "op");
    let change = format!("printf changed > {}", container.path("build-config/env/OPERATOR").display());
    container.buildpack("acme/one", "0.10", "", PASS, &change);
    container.buildpack("acme/two", "0.10", "", PASS, "echo \"it says $OPERATOR\"");
    container.order(&["acme/one", "acme/two"]);
    container.detect().unwrap();
    container.build().unwrap();
    assert_eq!(
        (container.output(), container.read("build-config/env/OPERATOR")),
        (vec!["it says op".into()], "changed".into())
    );
}

#[test]
fn phases_end_with_the_codes_of_the_specification() {
    let code = |container: &Container| {
        let failed = match container.detect() {
            Err(error) => error,
            Ok(_) => container.build().unwrap_err(),
        };
        failed.exit_code()
    };
    let container = Container::new();
    container.order(&["acme/one"]);
    assert_eq!(code(&container), 22, "a buildpack that is not there");
    container.buildpack("acme/one", "0.10", "", "exit 100", PASS);
    assert_eq!(code(&container), 20, "no group passes");
    container.buildpack("acme/one", "0.10", "", "exit 3", PASS);
    assert_eq!(code(&container), 21, "and a buildpack failed");
    container.buildpack("acme/one", "0.2", "", PASS, PASS);
    assert_eq!(code(&container), 12, "a Buildpack API that is not spoken");
    container.buildpack("acme/one", "0.10", "", PASS, "exit 3");
    assert_eq!(code(&container), 51, "bin/build failed");
    container.buildpack("acme/one", "0.10", "", PASS, "echo x > $CNB_LAYERS_DIR/launch.toml");
    assert_eq!(code(&container), 52, "a document that cannot be read");
    fs_err::remove_file(container.path("buildpacks/acme_one/1.0.0/bin/build")).unwrap();
    assert_eq!(code(&container), 51, "there is no bin/build");
    fs_err::remove_file(container.path("order.toml")).unwrap();
    assert_eq!(code(&container), 1, "there is no order");
}

#[test]
fn a_group_written_for_an_api_that_is_not_spoken_is_refused_by_the_builder() {
    let container = Container::new();
    container.buildpack("acme/one", "0.10", "", PASS, PASS);
    container.order(&["acme/one"]);
    container.detect().unwrap();
    let group = container.read("layers/group.toml");
    container.write("layers/group.toml", &group.replace("0.10", "0.99"));
    assert_eq!(container.build().unwrap_err().exit_code(), 12);
    container.write("layers/group.toml", &group.replace("1.0.0", "2.0.0"));
    let error = container.build().unwrap_err();
    assert!(error.to_string().starts_with("acme/one@2.0.0 is in "), "{error}");
    assert_eq!(error.hint().unwrap(), "run detector and builder in the same build image");
}

#[test]
fn system_buildpacks_shall_be_merged_from_platform_api_0_15_on() {
    let mut container = Container::new();
    for id in ["acme/first", "acme/app", "acme/last"] {
        container.buildpack(id, "0.10", "", PASS, PASS);
    }
    container.order(&["acme/app"]);
    let entry = |id: &str| format!("id = \"{id}\"\nversion = \"1.0.0\"\n");
    let system = format!(
        "[[system.pre.buildpacks]]\n{}[[system.post.buildpacks]]\n{}[[system.post.buildpacks]]\n{}",
        entry("acme/first"),
        entry("acme/app"),
        entry("acme/last")
    );
    container.write("system.toml", &system);
    let ids = |group: Group| group.group.into_iter().map(|buildpack| buildpack.id).collect::<Vec<_>>();
    assert_eq!(ids(container.detect().unwrap()), ["acme/first", "acme/app", "acme/last"]);
    container.platform_api = ApiVersion::new(0, 14);
    assert_eq!(ids(container.detect().unwrap()), ["acme/app"]);
}

#[test]
fn platforms_older_than_0_10_find_a_command_that_is_one_text() {
    let mut container = Container::new();
    let launch = "printf '[[processes]]\\ntype = \"web\"\\ncommand = [\"serve\", \"a\"]\\nargs = [\"b\"]\\n' > $CNB_LAYERS_DIR/launch.toml";
    container.buildpack("acme/one", "0.10", "", PASS, launch);
    container.order(&["acme/one"]);
    container.platform_api = ApiVersion::new(0, 9);
    container.detect().unwrap();
    container.build().unwrap();
    let metadata = container.read("layers/config/metadata.toml");
    assert!(metadata.contains("  command = \"serve\"\n  args = [\"a\", \"b\"]\n"), "{metadata}");
    assert!(container.path("layers/sbom").is_dir(), "platforms copy it, whether or not there are documents");
}
