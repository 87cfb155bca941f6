//! The MUSTs of the specification that are rules on documents.
#![allow(clippy::unwrap_used, clippy::format_collect, reason = "functions beside the tests")]

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::Path;

use hoist_spec::{
    Analyzed, ApiVersion, BUILD_PATHS, BuildLabel, BuildMetadata, BuildPlan, BuildToml, BuilderMetadata,
    BuildpackDescriptor, BuildpackLayersLabel, BuildpackPlan, Candidate, Distribution, DocumentError, Environment,
    Group, GroupEntry, ImageTarget, LaunchToml, LayerToml, LifecycleMetadata, Operation, Order, OrderError, OrderGroup,
    Plan, Provider, ResolveError, RunToml, SystemToml, flatten_order, parse_environment_dir, resolve_plan,
};

fn descriptor(id: &str, rest: &str) -> BuildpackDescriptor {
    let text = format!("api = \"0.10\"\n[buildpack]\nid = \"{id}\"\nversion = \"1.0.0\"\n{rest}");
    BuildpackDescriptor::parse(&text).unwrap()
}

fn refused<T: std::fmt::Debug>(result: Result<T, DocumentError>) -> String {
    let error = result.unwrap_err();
    assert!(error.hint().is_some(), "{error} has no hint");
    error.to_string()
}

#[test]
fn a_buildpack_id_must_be_of_the_allowed_characters_and_not_reserved() {
    for id in ["app", "config", "generated", "sbom", "", "a b", "../x", "a//b", "a/../b", "ä"] {
        let text = format!("api = \"0.10\"\n[buildpack]\nid = \"{id}\"\nversion = \"1.0.0\"\n");
        assert!(BuildpackDescriptor::parse(&text).is_err(), "{id}");
    }
    assert_eq!(descriptor("io.buildpacks/Ruby-2", "").full_name(), "io.buildpacks/Ruby-2@1.0.0");
}

#[test]
fn a_buildpack_must_name_a_supported_api_a_version_and_targets_or_stacks() {
    let parse = |api: &str, version: &str| {
        BuildpackDescriptor::parse(&format!("api = \"{api}\"\n[buildpack]\nid = \"a\"\nversion = \"{version}\"\n"))
    };
    assert!(refused(parse("0.6", "1.0.0")).contains("buildpack API 0.6 is not supported"));
    assert!(refused(parse("0.13", "1.0.0")).contains("0.13"));
    assert!(refused(parse("0.10", "../1")).contains("is not a version"));
    let error = BuildpackDescriptor::parse("[buildpack]\nid = \"a\"").unwrap_err();
    assert!(error.to_string().starts_with("buildpack.toml, line 1, column 1: missing field"), "{error}");
    let target = |arch: &str| ImageTarget { os: "linux".into(), arch: arch.into(), ..ImageTarget::default() };
    let any = descriptor("a", "[[stacks]]\nid = \"*\"\n").effective_targets();
    assert!(any[0].matches(&target("arm64")));
    let bionic = descriptor("a", "[[stacks]]\nid = \"io.buildpacks.stacks.bionic\"\n").effective_targets();
    assert!(bionic[0].matches(&target("amd64")) && !bionic[0].matches(&target("arm64")));
    let message = "api = \"0.10\"\n[buildpack]\nid = \"a\"\nversion = \"1.0.0\"\n[[stacks]]\nid = \"*\"\n[[order]]\n[[order.group]]\nid = \"b\"\nversion = \"1\"\n";
    assert!(refused(BuildpackDescriptor::parse(message)).contains("must not name stacks"));
}

#[test]
fn the_distribution_is_read_from_os_release() {
    let text = "PRETTY_NAME=\"Debian GNU/Linux 13\"\nVERSION_ID=\"13\"\nID=debian\nID_LIKE=x\n";
    let found = Distribution::parse_os_release(text).unwrap();
    assert_eq!((found.name.as_str(), found.version.as_str()), ("debian", "13"));
    assert_eq!(Distribution::parse_os_release("ID='arch'\n").unwrap().version, "", "a rolling release has no version");
    assert_eq!(Distribution::parse_os_release("# nothing\n"), None);
}

#[test]
fn exec_env_is_a_list_of_names_or_of_tables() {
    for list in ["exec-env = [\"test\"]", "[[buildpack.exec-env]]\nname = \"test\""] {
        let text = format!("api = \"0.12\"\n[buildpack]\nid = \"a\"\nversion = \"1.0.0\"\n{list}\n");
        let buildpack = BuildpackDescriptor::parse(&text).unwrap();
        assert!(buildpack.supports_exec_env("test") && !buildpack.supports_exec_env("production"));
    }
}

#[test]
fn both_id_and_version_must_be_present_in_an_order() {
    assert!(refused(Order::parse("[[order]]\n[[order.group]]\nid = \"a\"\n")).contains("order[0].group[0]"));
    let order = Order::parse("[[order]]\n[[order.group]]\nid = \"a\"\nversion = \"1\"\noptional = true\n").unwrap();
    assert!(order.order[0].group[0].optional);
    assert_eq!(Order::parse(&order.write().unwrap()).unwrap(), order);
}

fn flat(buildpacks: &[BuildpackDescriptor], group: &[GroupEntry]) -> Result<Vec<Vec<String>>, OrderError> {
    let lookup = |id: &str, _: &str| buildpacks.iter().find(|b| b.buildpack.id == id);
    let groups = flatten_order(&[OrderGroup { group: group.to_vec() }], &lookup)?;
    Ok(groups.iter().map(|group| group.iter().map(|entry| entry.id.clone()).collect()).collect())
}

#[test]
fn a_composite_is_replaced_by_each_of_its_groups_and_by_nothing_if_it_is_optional() {
    let order = |ids: &[&str]| -> String {
        ids.iter().map(|id| format!("[[order]]\n[[order.group]]\nid = \"{id}\"\nversion = \"1.0.0\"\n")).collect()
    };
    let all = [
        descriptor("a", ""),
        descriptor("x", ""),
        descriptor("y", ""),
        descriptor("z", ""),
        descriptor("both", &order(&["x", "y"])),
        descriptor("deep", &order(&["both"])),
        descriptor("self", &order(&["self"])),
    ];
    let entry = |id: &str| GroupEntry::new(id, "1.0.0");
    assert_eq!(flat(&all, &[entry("a"), entry("deep"), entry("z")]).unwrap(), [["a", "x", "z"], ["a", "y", "z"]]);
    let optional = flat(&all, &[entry("both").optional(), entry("z")]).unwrap();
    assert_eq!(optional, [vec!["x", "z"], vec!["y", "z"], vec!["z"]]);
    assert_eq!(flat(&all, &[entry("x"), entry("x")]).unwrap(), [["x"]], "the first of one id stays");
    assert_eq!(flat(&all, &[entry("self")]), Err(OrderError::Cycle { id: "self".into() }));
    assert!(matches!(flat(&all, &[entry("none")]), Err(OrderError::Unknown { .. })));
    // A composite may stand in a group twice; what is there already is not added again.
    assert_eq!(
        flat(&all, &[entry("deep"), entry("both")]).unwrap(),
        [vec!["x"], vec!["x", "y"], vec!["y", "x"], vec!["y"]]
    );
}

#[test]
fn an_order_that_explodes_is_refused() {
    let mut all = vec![descriptor("x", ""), descriptor("y", "")];
    for n in 0..12 {
        all.push(descriptor(&format!("l{n}"), ""));
        all.push(descriptor(&format!("r{n}"), ""));
        let order = format!(
            "[[order]]\n[[order.group]]\nid = \"l{n}\"\nversion = \"1\"\n[[order]]\n[[order.group]]\nid = \"r{n}\"\nversion = \"1\"\n"
        );
        all.push(descriptor(&format!("c{n}"), &order));
    }
    let group: Vec<GroupEntry> = (0..12).map(|n| GroupEntry::new(format!("c{n}"), "1")).collect();
    assert!(matches!(flat(&all, &group), Err(OrderError::TooMany { .. })));
}

fn candidate(id: &str, optional: bool, plan: &str) -> Candidate {
    let entry = GroupEntry { optional, ..GroupEntry::new(id, "1") };
    Candidate { entry, plan: BuildPlan::parse(plan).unwrap() }
}

const PROVIDES: &str = "[[provides]]\nname = \"d\"\n";
const REQUIRES: &str = "[[requires]]\nname = \"d\"\n";

#[test]
fn a_trial_must_have_a_provider_before_each_requirement_and_a_requirement_for_each_provision() {
    let ids = |candidates: &[Candidate]| {
        resolve_plan(candidates).map(|found| found.group.into_iter().map(|entry| entry.id).collect::<Vec<_>>())
    };
    assert_eq!(ids(&[candidate("p", false, PROVIDES), candidate("r", false, REQUIRES)]).unwrap(), ["p", "r"]);
    assert!(matches!(
        ids(&[candidate("r", false, REQUIRES), candidate("p", false, PROVIDES)]),
        Err(ResolveError::Unprovided { .. })
    ));
    assert!(matches!(ids(&[candidate("p", false, PROVIDES)]), Err(ResolveError::Unrequired { .. })));
    assert_eq!(ids(&[candidate("p", true, PROVIDES), candidate("q", false, "")]).unwrap(), ["q"]);
    // Taking one optional buildpack away may leave another without its provider.
    let chain = [
        candidate("a", true, REQUIRES),
        candidate("b", true, "[[provides]]\nname = \"e\"\n[[requires]]\nname = \"d\"\n"),
        candidate("c", true, "[[requires]]\nname = \"e\"\n"),
        candidate("q", false, ""),
    ];
    assert_eq!(ids(&chain).unwrap(), ["q"]);
    assert_eq!(ids(&[candidate("p", true, PROVIDES)]), Err(ResolveError::NothingLeft));
    let itself = candidate("s", false, &(PROVIDES.to_owned() + REQUIRES));
    assert_eq!(ids(&[itself]).unwrap(), ["s"], "a buildpack may provide what it requires");
}

#[test]
fn alternatives_are_tried_in_order() {
    let either = "[[provides]]\nname = \"x\"\n[[or]]\n[[or.provides]]\nname = \"d\"\n";
    let found = resolve_plan(&[candidate("p", false, either), candidate("r", false, REQUIRES)]).unwrap();
    assert_eq!(found.plan.entries.len(), 1);
    assert_eq!(found.plan.entries[0].requires[0].name, "d");
    let provider = Provider { id: "p".into(), version: "1".into(), extension: false };
    assert_eq!(found.plan.entries[0].providers, [provider]);
    assert_eq!(Plan::parse(&found.plan.write().unwrap()).unwrap(), found.plan);
    assert_eq!(found.plan.for_buildpack("p").entries.len(), 1);
    assert!(found.plan.for_buildpack("r").entries.is_empty());
    let mut plan = found.plan;
    plan.remove_met(&["d".into()].into());
    assert!(plan.entries.is_empty());
}

#[test]
fn a_requirement_with_a_version_beside_its_name_is_an_error_that_says_where_it_belongs() {
    let error = BuildPlan::parse("[[requires]]\nname = \"d\"\nversion = \"1\"\n").unwrap_err();
    assert_eq!(error.to_string(), "build plan: requires[0].version: is not supported");
    assert_eq!(error.hint().unwrap(), "write it as version in [requires.metadata]");
    let or = "[[or]]\n[[or.requires]]\nname = \"c\"\n[[or]]\n[[or.requires]]\nname = \"d\"\nversion = \"1\"\n";
    assert!(refused(BuildPlan::parse(or)).contains("or[1].requires[0].version"));
    assert!(BuildPlan::parse("[[requires]]\nname = \"d\"\n[requires.metadata]\nversion = \"1\"\n").is_ok());
    assert!(BuildPlan::parse("").unwrap().requires.is_empty());
}

#[test]
fn unmet_names_must_match_an_entry_of_the_plan() {
    let plan = BuildpackPlan::parse("[[entries]]\nname = \"d\"\n").unwrap();
    assert_eq!(BuildToml::parse("[[unmet]]\nname = \"d\"\n", &plan).unwrap().unmet.len(), 1);
    assert!(refused(BuildToml::parse("[[unmet]]\nname = \"e\"\n", &plan)).contains("`e` is not an entry"));
    assert!(BuildToml::parse("[[unmet]]\n", &plan).is_err());
}

#[test]
fn processes_must_have_types_of_the_allowed_characters_one_default_and_a_command_of_their_api() {
    let new = ApiVersion::new(0, 9);
    let old = ApiVersion::new(0, 8);
    let process = |kind: &str, command: &str| format!("[[processes]]\ntype = \"{kind}\"\ncommand = {command}\n");
    for kind in ["", "a/b", "..", "a b"] {
        assert!(LaunchToml::parse(&process(kind, "[\"x\"]"), new).is_err(), "{kind}");
    }
    assert!(refused(LaunchToml::parse(&process("web", "[]"), new)).contains("processes[0].command: is empty"));
    assert!(LaunchToml::parse(&process("web", "\"run it\""), new).is_err());
    assert!(LaunchToml::parse(&process("web", "[\"run\"]"), old).is_err());
    let text = LaunchToml::parse(&process("web", "\"run it\""), old).unwrap();
    assert_eq!(text.processes[0].command.entries(), ["run it"]);
    assert!(LaunchToml::parse(&(process("web", "[\"x\"]") + "direct = true\n"), new).is_err());
    let twice = process("web", "[\"x\"]") + &process("web", "[\"y\"]");
    assert!(refused(LaunchToml::parse(&twice, new)).contains("is there twice"));
    let defaults = process("a", "[\"x\"]") + "default = true\n" + &process("b", "[\"y\"]") + "default = true\n";
    assert!(refused(LaunchToml::parse(&defaults, new)).contains("more than one process is the default"));
    let labels = "[[labels]]\nkey = \"a\"\nvalue = \"1\"\n[[labels]]\nkey = \"a\"\nvalue = \"2\"\n";
    assert!(refused(LaunchToml::parse(labels, new)).contains("label `a` is there twice"));
}

#[test]
fn types_of_a_layer_must_stand_in_their_table() {
    let layer = LayerToml::parse("[types]\nlaunch = true\n[metadata.hoist]\nsplit = \"distributions\"\n").unwrap();
    assert!(layer.types().launch && !layer.types().cache);
    assert_eq!(layer.hoist_split(), Some("distributions"));
    assert!(refused(LayerToml::parse("launch = true\n")).contains("launch: must stand in [types]"));
    assert!(LayerToml::parse("[types]\nlaunch = \"yes\"\n").is_err());
}

fn environment(start: &[(&str, &str)], files: &[(&str, &str)]) -> Environment {
    let mut environment =
        Environment::from_variables(start.iter().map(|(name, value)| (OsString::from(name), OsString::from(value))));
    let files: BTreeMap<OsString, Vec<u8>> =
        files.iter().map(|(name, value)| (OsString::from(name), value.as_bytes().to_vec())).collect();
    for modification in parse_environment_dir(&files, Operation::Override) {
        environment.apply(&modification);
    }
    environment
}

#[test]
fn environment_files_append_prepend_default_and_override() {
    for (start, files, expected) in [
        ("old", &[("A", "new")][..], "new"),
        ("old", &[("A.override", "new")], "new"),
        ("old", &[("A.default", "new")], "old"),
        ("", &[("A.default", "new")], "new"),
        ("old", &[("A.append", "new")], "oldnew"),
        ("old", &[("A.append", "new"), ("A.delim", "\0")], "old"),
        ("old", &[("A.append", "new"), ("A.delim", ":")], "old:new"),
        ("old", &[("A.prepend", "new"), ("A.delim", ":")], "new:old"),
        ("", &[("A.prepend", "new"), ("A.delim", ":")], "new"),
        ("old", &[("A.unknown", "new"), ("A.b.append", "new")], "old"),
        ("old", &[("A", "new\n")], "new\n"),
    ] {
        let found = environment(&[("A", start)], files);
        assert_eq!(found.get("A"), Some(OsStr::new(expected)), "{start} {files:?}");
    }
}

#[test]
fn folders_of_a_layer_stand_in_front_of_the_path_variables() {
    let mut found = environment(&[("PATH", "/usr/bin")], &[]);
    found.add_layer_paths(Path::new("/layers/a/b"), BUILD_PATHS, &|folder| folder != "pkgconfig");
    assert_eq!(found.get("PATH"), Some(OsStr::new("/layers/a/b/bin:/usr/bin")));
    assert_eq!(found.get("LIBRARY_PATH"), Some(OsStr::new("/layers/a/b/lib")));
    assert_eq!(found.get("CPATH"), Some(OsStr::new("/layers/a/b/include")));
    assert_eq!(found.get("PKG_CONFIG_PATH"), None);
    found.set_from_platform(OsStr::new("PATH"), OsStr::new("/mine"));
    found.set_from_platform(OsStr::new("CPATH2"), OsStr::new("x"));
    assert_eq!(found.get("PATH"), Some(OsStr::new("/mine:/layers/a/b/bin:/usr/bin")));
}

#[test]
fn the_label_of_the_go_lifecycle_is_read_and_written_without_loss() {
    let text = r#"{"app":[{"sha":"sha256:1"}],"sbom":{"sha":"sha256:2"},"buildpacks":[{"key":"a/b","version":"1.0.0","layers":{"l":{"sha":"sha256:3","data":{"n":1,"f":1.5,"s":["x",null]},"build":false,"launch":true,"cache":true}},"store":{"metadata":{"k":"v"}}}],"config":{"sha":"sha256:4"},"launcher":{"sha":"sha256:5"},"process-types":{"sha":"sha256:6"},"runImage":{"topLayer":"sha256:7","reference":"sha256:8","image":"run","mirrors":["m"]},"stack":{"runImage":{"image":"run"}}}"#;
    let label = LifecycleMetadata::parse(text).unwrap();
    let layer = &label.buildpack("a/b").unwrap().layers["l"];
    assert_eq!(layer.to_restored_toml().write().unwrap(), "[metadata]\nf = 1.5\nn = 1\ns = [\"x\"]\n");
    assert_eq!(label.buildpack("a/b").unwrap().store.as_ref().unwrap().to_toml().metadata["k"].as_str(), Some("v"));
    assert_eq!(LifecycleMetadata::parse(&label.to_label().unwrap()).unwrap(), label);
    let error = LifecycleMetadata::parse("{\"app\": 1}").unwrap_err();
    assert!(error.to_string().starts_with("io.buildpacks.lifecycle.metadata, line 1, column 9"), "{error}");
}

#[test]
fn labels_of_builders_are_read_as_pack_writes_them() {
    let text = r#"{"description":"d","buildpacks":[{"id":"a/b","version":"1.0.0","homepage":"h"}],"extensions":null,"stack":{"runImage":{"image":"run","mirrors":null}},"lifecycle":{"version":"0.20.0","api":{"buildpack":"0.7","platform":"0.7"},"apis":{"buildpack":{"deprecated":[],"supported":["0.7","0.10"]},"platform":{"deprecated":[],"supported":["0.12"]}}},"createdBy":{"name":"Pack CLI","version":"0.35"},"images":[{"image":"run","mirrors":["m"]}]}"#;
    let label = BuilderMetadata::parse(text).unwrap();
    assert_eq!(label.run_images()[0].mirrors, ["m"]);
    assert_eq!(label.lifecycle.apis.buildpack.supported[1], ApiVersion::new(0, 10));
    let layers =
        r#"{"a/b":{"1.0.0":{"api":"0.10","layerDiffID":"sha256:1","order":[{"group":[{"id":"c","version":"1"}]}]}}}"#;
    let layers = BuildpackLayersLabel::parse(layers).unwrap();
    assert_eq!(layers.0["a/b"]["1.0.0"].layer_diff_id, "sha256:1");
}

#[test]
fn phase_files_read_back_what_they_write() {
    let group = Group::parse("[[group]]\nid = \"a\"\nversion = \"1\"\napi = \"0.10\"\n").unwrap();
    assert_eq!(Group::parse(&group.write().unwrap()).unwrap(), group);
    assert!(Group::parse("[[group]]\nid = \"a\"\nversion = \"1\"\n").is_err(), "api MUST be present");
    let metadata = "buildpack-default-process-type = \"web\"\n[[buildpacks]]\nid = \"a\"\nversion = \"1\"\napi = \"0.10\"\n[[processes]]\ntype = \"web\"\ncommand = [\"x\"]\nargs = []\ndirect = true\nbuildpack-id = \"a\"\nexec-env = [\"test\"]\n";
    let metadata = BuildMetadata::parse(metadata).unwrap();
    assert_eq!(BuildMetadata::parse(&metadata.write()).unwrap(), metadata);
    assert!(metadata.processes[0].supports_exec_env("test") && !metadata.processes[0].supports_exec_env("production"));
    let label = BuildLabel::new(&metadata, "1");
    assert_eq!(BuildLabel::parse(&label.to_label().unwrap()).unwrap(), label);
    let analyzed = "[run-image]\nreference = \"r\"\n[run-image.target]\nos = \"linux\"\narch = \"amd64\"\n";
    assert_eq!(Analyzed::parse(analyzed).unwrap().run_image.unwrap().target.unwrap().arch, "amd64");
    assert!(refused(RunToml::parse("[[images]]\nmirrors = [\"m\"]\n")).contains("mirrors without an image"));
    let system = "[[system.pre.buildpacks]]\nid = \"p\"\nversion = \"1\"\n";
    let system = SystemToml::parse(system).unwrap().system;
    let around = system.around(&[OrderGroup { group: vec![GroupEntry::new("a", "1")] }]);
    assert_eq!(around[0].group.iter().map(|entry| entry.id.as_str()).collect::<Vec<_>>(), ["p", "a"]);
    let own = OrderGroup { group: vec![GroupEntry::new("a", "1"), GroupEntry::new("p", "2")] };
    assert_eq!(system.around(std::slice::from_ref(&own)), [own], "the group's own version stays, in its place");
}

/// The texts are what Go's encoder made of the same values.
#[test]
fn metadata_toml_is_written_letter_by_letter_as_the_go_lifecycle_writes_it() {
    let buildpacks = "[[buildpacks]]\n  id = \"acme/go\"\n  version = \"1.0.0\"\n  api = \"0.10\"\n";
    let nothing = format!("processes = []\n\n{buildpacks}");
    assert_eq!(BuildMetadata::parse(&nothing).unwrap().write(), nothing);
    let process = "[[processes]]\n  type = \"web\"\n  command = [\"hi\", \"--fixed \\u003c\\u0026\\u003e\"]\n  args = [\"a<b\", \"tab\\there\"]\n  direct = true\n  buildpack-id = \"acme/go\"\n  working-dir = \"/tmp\"\n  exec-env = [\"test\"]\n";
    let some = format!("buildpack-default-process-type = \"web\"\n\n{buildpacks}\n{process}");
    let metadata = BuildMetadata::parse(&some).unwrap();
    assert_eq!(metadata.processes[0].command.entries()[1], "--fixed <&>");
    assert_eq!(metadata.write(), some);
    let odd = "quote \" backslash \\ bell \u{7} delete \u{7f} line\nseparator \u{2028} é";
    let mut metadata = metadata;
    metadata.processes[0].args = vec![odd.to_owned()];
    metadata.processes[0].command = hoist_spec::Command::List(vec![odd.to_owned()]);
    assert_eq!(BuildMetadata::parse(&metadata.write()).unwrap(), metadata, "any text comes back");
}

#[test]
fn documents_of_any_size_are_read_in_bounded_time() {
    let api = ApiVersion::new(0, 10);
    let slices = "[[slices]]\npaths = [\"a\"]\n";
    assert!(LaunchToml::parse(&slices.repeat(100), api).is_ok());
    let error = LaunchToml::parse(&slices.repeat(101), api).unwrap_err();
    assert_eq!(error.to_string(), "launch.toml: slices: there are 101, and an image cannot have more than 100");
    let error = LaunchToml::parse(&format!("[[slices]]\npaths = [{}]\n", "\"a\",".repeat(5000)), api).unwrap_err();
    assert_eq!(error.to_string(), "launch.toml: slices: they have 5000 patterns, and 4096 are the most");
    assert_eq!(error.hint().as_deref(), Some("name folders in place of files"));

    let processes: String =
        (0..50_000).map(|n| format!("[[processes]]\ntype = \"p{n}\"\ncommand = [\"x\"]\n")).collect();
    let labels: String = (0..10_000).map(|n| format!("[[labels]]\nkey = \"k{n}\"\nvalue = \"\"\n")).collect();
    let started = std::time::Instant::now();
    assert_eq!(LaunchToml::parse(&processes, api).unwrap().processes.len(), 50_000);
    assert_eq!(LaunchToml::parse(&labels, api).unwrap().labels.len(), 10_000);
    let unmet: String = (0..10_000).map(|n| format!("[[unmet]]\nname = \"n{n}\"\n")).collect();
    let entries: String = (0..10_000).map(|n| format!("[[entries]]\nname = \"n{n}\"\n")).collect();
    assert_eq!(BuildToml::parse(&unmet, &BuildpackPlan::parse(&entries).unwrap()).unwrap().unmet.len(), 10_000);
    assert!(started.elapsed() < std::time::Duration::from_secs(5), "{:?}", started.elapsed());
}

#[test]
fn plans_whose_alternatives_explode_are_given_up() {
    let alternative: String = "[[or]]\n".to_owned() + &"[[or.requires]]\nname = \"nobody\"\n".repeat(1000);
    let plan = BuildPlan::parse(&("[[requires]]\nname = \"nobody\"\n".to_owned() + &alternative.repeat(60))).unwrap();
    let candidate = |id: &str| Candidate { entry: GroupEntry::new(id, "1"), plan: plan.clone() };
    let started = std::time::Instant::now();
    let error = resolve_plan(&[candidate("a"), candidate("b"), candidate("c")]).unwrap_err();
    assert!(matches!(error, ResolveError::TooMany { .. }), "{error}");
    assert!(started.elapsed() < std::time::Duration::from_secs(5), "{:?}", started.elapsed());
}
