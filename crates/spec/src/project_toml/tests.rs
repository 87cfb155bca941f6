//! Each schema, and what is wrong with a file.

use super::*;
use crate::buildpack_toml::BuildpackDescriptor;

fn parse(text: &str) -> ProjectDescriptor {
    ProjectDescriptor::parse(text).unwrap()
}

fn locators(group: &[ProjectBuildpack]) -> Vec<&str> {
    let locator = |buildpack: &'_ ProjectBuildpack| match &buildpack.source {
        ProjectBuildpackSource::Locator(text) => text.clone(),
        ProjectBuildpackSource::Script(script) => format!("script {}", script.id),
    };
    group.iter().map(locator).map(|text| &*text.leak()).collect()
}

fn warnings(found: &ProjectDescriptor) -> Vec<&str> {
    found.warnings.iter().map(|warning| warning.text.as_str()).collect()
}

const NEW: &str = r#"
[_]
schema-version = "0.2"
id = "com.acme.app"
name = "App"
version = "1.2.3"
source-url = "https://example.org/app"
authors = ["A <a@example.org>"]
[[_.licenses]]
type = "MIT"
[_.metadata.any]
thing = 1
[com.heroku.buildpacks.deb-packages]
install = ["nginx"]
[io.buildpacks]
builder = "acme/builder"
exclude = ["*.log", "!keep.log"]
[[io.buildpacks.pre.group]]
uri = "./lint"
[[io.buildpacks.group]]
id = "acme/python"
version = "1.0.0"
[[io.buildpacks.group]]
uri = "acme/procfile"
[[io.buildpacks.group]]
id = "me/script"
  [io.buildpacks.group.script]
  api = "0.10"
  inline = "echo hello"
[[io.buildpacks.post.group]]
id = "acme/sbom"
[[io.buildpacks.build.env]]
name = "BP_A"
value = "1"
"#;

#[test]
fn a_descriptor_of_schema_0_2_says_all_that_a_build_needs() {
    let found = parse(NEW);
    assert_eq!(warnings(&found), Vec::<&str>::new());
    assert_eq!(found.builder.as_deref(), Some("acme/builder"));
    assert_eq!(found.files, ProjectFiles::Exclude(vec!["*.log".into(), "!keep.log".into()]));
    assert_eq!(locators(&found.group), ["acme/python@1.0.0", "acme/procfile", "script me/script"]);
    assert_eq!(found.group[1].line, 23);
    assert_eq!((locators(&found.pre), locators(&found.post)), (vec!["./lint"], vec!["acme/sbom"]));
    assert_eq!(found.env[0], ProjectVariable { name: "BP_A".into(), value: "1".into(), exec_env: Vec::new() });
    assert_eq!(
        found.metadata().to_label().unwrap(),
        r#"{"source":{"type":"project","version":{"declared":"1.2.3"},"metadata":{"url":"https://example.org/app"}}}"#
    );
    assert_eq!(parse("[_]\nschema-version = \"0.2\"\n").metadata(), ProjectMetadata::default());
}

#[test]
fn a_script_is_a_whole_buildpack() {
    let found = parse(NEW);
    let ProjectBuildpackSource::Script(script) = &found.group[2].source else { panic!("no script") };
    let descriptor = BuildpackDescriptor::parse(&script.buildpack_toml().unwrap()).unwrap();
    assert_eq!(descriptor.full_name(), "me/script@0.0.0");
    assert_eq!(descriptor.effective_targets(), [crate::Target::default()]);
    assert_eq!(
        script.programs(),
        [("bin/detect", "#!/bin/sh\n\nexit 0\n".to_owned()), ("bin/build", "#!/bin/sh\n\necho hello\n".to_owned())]
    );
}

#[test]
fn a_descriptor_without_a_schema_is_of_0_1() {
    let old = "[project]\nid = \"x\"\nversion = \"2\"\n[[project.licenses]]\nuri = \"LICENSE\"\n[build]\ninclude = [\"cmd/\"]\n[[build.buildpacks]]\nid = \"a/b\"\n[[build.env]]\nname = \"A\"\nvalue = \"1\"\n[metadata]\nx = 1\n";
    let found = parse(old);
    assert_eq!(warnings(&found), ["no schema-version is declared, so it is read as schema 0.1"]);
    assert_eq!(found.files, ProjectFiles::Include(vec!["cmd/".into()]));
    assert_eq!((locators(&found.group), found.env.len()), (vec!["a/b"], 1));
    assert_eq!(found.version.as_deref(), Some("2"));
    // The mistake that costs most time: the tables of 0.2 without its number.
    let found = parse("[io.buildpacks]\nbuilder = \"x\"\n");
    assert_eq!(found.builder, None);
    assert_eq!(warnings(&found)[1], "line 1: `io.buildpacks` is not in schema 0.1 and has no effect");
    assert!(found.warnings[1].fix.contains("schema-version = \"0.2\""));
}

#[test]
fn keys_that_a_schema_does_not_have_are_warnings_with_their_line() {
    let text = "[_]\nschema-version = \"0.2\"\nnmae = \"x\"\n[build]\nbuilder = \"y\"\n[io.buildpacks]\nbuildr = \"z\"\n[[io.buildpacks.group]]\nid = \"a\"\nexec-env = [\"test\"]\n[[io.buildpacks.build.processes]]\ntype = \"web\"\n[tool.other]\nanything = 1\n";
    let found = parse(text);
    assert_eq!(
        warnings(&found),
        [
            "line 3: `_.nmae` is not in schema 0.2 and has no effect",
            "line 4: `build` is not in schema 0.2 and has no effect",
            "line 11: `io.buildpacks.build.processes` is not in schema 0.2 and has no effect",
            "line 7: `io.buildpacks.buildr` is not in schema 0.2 and has no effect",
            "line 10: `io.buildpacks.group.exec-env` is not in schema 0.2 and has no effect",
        ]
    );
    assert_eq!(found.group[0].exec_env, Vec::<String>::new());
    let found = parse("[_]\nschema-version = \"0.2\"\n[[io.buildpacks.env.build]]\nname = \"A\"\nvalue = \"1\"\n");
    assert_eq!(warnings(&found), ["line 3: [[io.buildpacks.env.build]] is deprecated"]);
    assert_eq!(found.env[0].name, "A");
}

#[test]
fn what_is_for_another_execution_environment_is_left_out() {
    let text = "[_]\nschema-version = \"0.3\"\n[[io.buildpacks.group]]\nid = \"a\"\nexec-env = [\"test\"]\n[[io.buildpacks.group]]\nid = \"b\"\nexec-env = [\"*\"]\n[[io.buildpacks.build.env]]\nname = \"A\"\nvalue = \"1\"\nexec-env = [\"production\", \"x\"]\n";
    let in_env = |name: &str| {
        let mut found = parse(text);
        assert_eq!(warnings(&found), Vec::<&str>::new());
        found.retain_exec_env(name);
        (found.group.len(), found.env.len())
    };
    assert_eq!((in_env("production"), in_env("test")), ((1, 1), (2, 0)));
}

#[test]
fn mistakes_are_explained_with_their_line() {
    for (text, message, fix) in [
        ("[_]\nschema-version = 0.2\n", "project.toml, line 2, column 18: invalid type: floating point", "line"),
        ("[_\n", "project.toml, line 1", "line"),
        (
            "[_]\nschema-version = \"0.4\"\n",
            "project.toml: line 2, _.schema-version: `0.4` is no schema that hoist reads",
            "\"0.2\"",
        ),
        ("NEW\n[io.buildpacks]\ninclude = \"x\"\n", "project.toml, line 4, column 11: invalid type: string", "line"),
        (
            "NEW\n[io.buildpacks]\ninclude = []\nexclude = [\"a\"]\n",
            "project.toml: line 4, include: both include and exclude are given",
            "keep one",
        ),
        ("NEW\n[[_.licenses]]\n", "project.toml: line 3, licenses: a license has neither", "Apache-2.0"),
        (
            "NEW\n[[io.buildpacks.group]]\nversion = \"1\"\n",
            "project.toml: line 3, buildpack: it has neither",
            "add id",
        ),
        (
            "NEW\n[[io.buildpacks.group]]\nuri = \"./x\"\nversion = \"1\"\n",
            "project.toml: line 3, buildpack: both a uri (./x) and a version (1) are given",
            "remove the version",
        ),
        (
            "NEW\n[[io.buildpacks.group]]\nuri = \"./x\"\nscript = { api = \"0.10\", inline = \"x\" }\n",
            "project.toml: line 3, buildpack: both a uri (./x) and a script are given",
            "keep one",
        ),
        (
            "NEW\n[[io.buildpacks.group]]\nid = \"a\"\n[io.buildpacks.group.script]\ninline = \"x\"\n",
            "project.toml: line 3, script.api: it does not say which Buildpack API it speaks",
            "add api = \"0.12\"",
        ),
        (
            "NEW\n[[io.buildpacks.group]]\nid = \"a\"\nscript = { api = \"0.5\", inline = \"x\" }\n",
            "project.toml: line 3, script.api: buildpack API 0.5 is not supported",
            "use one from 0.7",
        ),
        (
            "NEW\n[[io.buildpacks.group]]\nid = \"a\"\nscript = { api = \"0.10\" }\n",
            "project.toml: line 3, script.inline: there is no script in it",
            "add inline",
        ),
        (
            "NEW\n[[io.buildpacks.group]]\nid = \"a\"\nscript = { api = \"0.10\", inline = \"x\", shell = \"bash\" }\n",
            "project.toml: line 3, script.shell: `bash` is no program of the builder",
            "/bin/bash",
        ),
        (
            "NEW\n[[io.buildpacks.pre.group]]\nid = \"../a\"\nscript = { api = \"0.10\", inline = \"x\" }\n",
            "project.toml: line 3, script.id: `../a` is reserved",
            "letters",
        ),
        (
            "NEW\n[[io.buildpacks.build.env]]\nname = \"A=B\"\n",
            "project.toml: line 3, env: `A=B` cannot be the name",
            "BP_LOG_LEVEL",
        ),
    ] {
        let text = text.replace("NEW", "[_]\nschema-version = \"0.2\"").replace("\"0.2\"\n\n", "\"0.2\"\n");
        let error = ProjectDescriptor::parse(&text).unwrap_err();
        assert!(error.to_string().starts_with(message), "{error}\nshould begin with\n{message}");
        assert!(error.hint().unwrap().contains(fix), "{error}: {:?}", error.hint());
    }
}
