//! Buildpacks of the kinds that others write (`fixtures/buildpacks`): a builder of them, an app built with it, its processes, and what the
//! second build has back.
#![allow(clippy::unwrap_used)] // helpers fail as loudly as their tests

mod support;

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;
use support::{Said, hoist, root_dir, run};

fn fixtures(args: &[&str]) -> Command {
    let mut command = hoist();
    command.args(args).current_dir(root_dir().join("fixtures/buildpacks"));
    command
}

fn says(args: &[&str]) -> Said {
    run(&mut fixtures(args))
}

fn build(more: &[&str]) -> Said {
    let args =
        ["build", "test-foreign", "--path", "app", "--builder", "test-fixtures", "-e", "BP_WORD=secret", "--json"];
    says(&[&args[..], more].concat()).ok()
}

/// What the buildpacks said, those lines that begin with their name.
fn lines<'a>(said: &'a Said, buildpack: &str) -> Vec<&'a str> {
    said.stderr.lines().filter_map(|line| line.trim().strip_prefix(buildpack)?.strip_prefix(": ")).collect()
}

fn process(kind: &str, args: &[&str]) -> String {
    says(&[&["run", "test-foreign", "--process", kind, "--"], args].concat()).ok().stdout
}

fn first_build() {
    let said = build(&["--clear-cache"]);
    assert_eq!(lines(&said, "positional"), ["fixtures_positional, asked for 2 word(s)"]);
    assert_eq!(
        lines(&said, "user-of-tools"),
        ["made with the kit, KIT=a-b, nothing of launch, for linux/amd64", "kit kit.toml private.ignore private.toml"]
    );
    assert_eq!(lines(&said, "wants"), ["asked for 2, gives it on"]);
    assert_eq!(lines(&said, "last"), ["asked for 2"], "what is unmet goes to the next provider");
    assert_eq!(lines(&said, "cache-only"), ["found nothing, none of its metadata", "remembers"]);
    assert_eq!(lines(&said, "launch-only"), ["makes it"]);
    assert_eq!(lines(&said, "clear-env"), ["BP_WORD is not there, its file says secret"]);
    said.says("working-dir of process `greet` is ignored below buildpack API 0.8");
}

/// Each process of the image as its API has it: through a shell with its profile scripts, directly, with arguments added or replaced.
fn processes() {
    assert_eq!(process("greet", &[]), "hello profile+greet in /workspace\n");
    assert_eq!(process("words", &["mine"]), "hello|a b|mine|");
    assert_eq!(process("where", &[]), "/tmp\n");
    assert_eq!(process("appended", &["mine"]), "fixed mine\n", "below API 0.9 arguments are added");
    assert_eq!(says(&["run", "test-foreign"]).ok().stdout, "runtime always by-default direct\n");
    assert_eq!(
        process("direct", &["mine"]),
        "runtime always mine direct\n",
        "from 0.9 on they replace the default ones"
    );
    assert_eq!(process("helped", &[]), "in /workspace\n");
    says(&["run", "test-foreign", "--process", "tests"])
        .code(82)
        .says("not for the execution environment `production`");
    says(&["run", "test-foreign", "--process", "tests", "-e", "CNB_EXEC_ENV=test"]).ok();
    let launcher = ["run", "test-foreign", "--entrypoint", "launcher", "--", "--", "printenv", "HELPED", "MODE"];
    assert_eq!(says(&launcher).ok().stdout, "in /workspace\nall\n");
}

fn image() -> Value {
    says(&["image", "inspect", "test-foreign", "--json"]).ok().json()
}

fn contents() {
    let config = image()["config"]["config"].clone();
    assert_eq!(config["Entrypoint"], serde_json::json!(["/cnb/process/direct"]));
    assert_eq!(config["Labels"]["fixtures.kept"], "of labels");
    assert_eq!(config["Labels"]["fixtures.replaced"], "of last");
    assert_eq!(config["Labels"]["io.buildpacks.exec-env"], "production");
    let label: Value =
        serde_json::from_str(config["Labels"]["io.buildpacks.build.metadata"].as_str().unwrap()).unwrap();
    let ids: Vec<&str> = label["buildpacks"].as_array().unwrap().iter().filter_map(|b| b["id"].as_str()).collect();
    let expected =
        "positional shell tools user-of-tools wants cache-only launch-only exec-d clear-env bill slices labels last";
    assert_eq!(ids, expected.split(' ').map(|name| format!("fixtures/{name}")).collect::<Vec<_>>());

    let places = ["/layers", "/workspace", "/tmp", "/root", "/home"];
    let args = [&["run", "test-foreign", "--entrypoint", "find", "--"][..], &places, &["-type", "f"]].concat();
    let found = says(&args).stdout;
    let files: BTreeSet<&str> = found.lines().filter(|path| !path.starts_with("/root/.")).collect();
    let expected = [
        "/layers/config/metadata.toml",
        "/layers/fixtures_bill/packages/file",
        "/layers/fixtures_exec-d/helper/exec.d/1-all",
        "/layers/fixtures_exec-d/helper/exec.d/direct/2-direct",
        "/layers/fixtures_launch-only/runtime/bin/runtime",
        "/layers/fixtures_launch-only/runtime/env.launch/direct/MODE",
        "/layers/fixtures_launch-only/runtime/env/MODE",
        "/layers/fixtures_positional/word/env/WORD.default",
        "/layers/fixtures_positional/word/profile.d/1.sh",
        "/layers/fixtures_positional/word/profile.d/greet/1.sh",
        "/layers/sbom/launch/fixtures_bill/packages/sbom.cdx.json",
        "/layers/sbom/launch/fixtures_bill/sbom.spdx.json",
        "/layers/sbom/launch/sbom.legacy.json",
        "/workspace/app.txt",
        "/workspace/made.txt",
        "/workspace/other.txt",
        "/workspace/static/a.css",
        "/workspace/static/a.js",
        "/workspace/static/logo.svg",
    ];
    assert_eq!(files, BTreeSet::from(expected), "and nothing that was written elsewhere");
}

#[test]
fn buildpacks_of_every_kind_build_run_and_are_reused() {
    says(&["builder", "create", "test-fixtures", "--config", "builder.toml"]).ok();
    first_build();
    processes();
    contents();
    let first = image();
    let made: Vec<&str> = first["layers"].as_array().unwrap().iter().filter_map(|l| l["created_by"].as_str()).collect();
    let slices: Vec<&&str> = made.iter().filter(|name| name.starts_with("Application Slice")).collect();
    assert_eq!(slices, [&"Application Slice: 1", &"Application Slice: 2", &"Application Slice: 3"]);

    let second = build(&[]);
    assert_eq!(image()["id"], first["id"], "the same image");
    assert_eq!(lines(&second, "cache-only"), ["found 1, 1 of its metadata", "remembers 1"]);
    assert_eq!(lines(&second, "launch-only"), ["keeps what the previous image has"]);
    assert_eq!(lines(&second, "bill"), ["found packages.sbom.cdx.json"]);
    let json = second.json();
    // Made again: the layer that is not cached and was written anew. Into the app the buildpack wrote what it wrote before.
    assert_eq!((json["layers"].as_u64(), json["reused_layers"].as_u64()), (Some(12), Some(11)));

    // Another app, in which nothing finds what it looks for: the reasons of both groups.
    says(&["build", "test-foreign-2", "--path", "last", "--builder", "test-fixtures"])
        .code(1)
        .says("fixtures/positional@1.0.0 does not apply, and the group needs it")
        .says("fixtures/not-here@1.0.0 does not apply, and the group needs it");
    says(&["image", "rm", "test-foreign", "test-fixtures"]).ok();
}
