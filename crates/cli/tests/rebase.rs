//! What keeps an image up to date and tells what is in it: rebase, inspect with pack's keys, and the SBOM documents of an image.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // helpers fail as loudly as their tests

mod support;

use serde_json::{Value, json};
use support::patched::{STATUS, patched_run_image};
use support::{example, hoist, hoist_says, run, tree};

fn build(name: &str, run_image: &str) -> Value {
    let sum = example("sum");
    let args = ["build", "--json", name, "--run-image", run_image, "--path", sum.to_str().unwrap()];
    hoist_says(args).ok().json()
}

fn layers(name: &str) -> Vec<String> {
    let shown = hoist_says(["image", "inspect", "--json", name]).ok().json();
    shown["layers"].as_array().unwrap().iter().map(|layer| layer["diff_id"].as_str().unwrap().to_owned()).collect()
}

fn id(name: &str) -> String {
    hoist_says(["image", "inspect", "--json", name]).ok().json()["id"].as_str().unwrap().to_owned()
}

#[test]
fn an_image_stands_on_its_new_run_image_and_the_app_is_as_it_was() {
    let (name, run_image) = ("test/rebased", "test/rebase-run");
    hoist_says(["base", "show"]).ok();
    hoist_says(["image", "tag", "hoist/run", run_image]).ok();
    build(name, run_image);
    let before = layers(name);
    let patched = patched_run_image(run_image);
    let report = tree(&[]);
    let mut command = hoist();
    command.args(["rebase", name, "--json", "--report-output-dir"]).arg(report.path());
    let rebased = run(&mut command).ok().json();
    let after = layers(name);
    let own = before.len() - (patched.diff_ids().len() - 1);
    assert_eq!(after[patched.diff_ids().len()..], before[patched.diff_ids().len() - 1..], "the app's layers");
    let count = |key: &str| rebased[key].as_u64().unwrap();
    assert_eq!(
        (count("kept_layers"), count("added_layers"), count("removed_layers")),
        (own as u64, 1, 0),
        "{rebased:#}"
    );
    let packages = &rebased["packages"];
    assert_eq!(packages["changed"].as_array().unwrap().len(), 1, "{packages:#}");
    assert_eq!((&packages["changed"][0]["name"], &packages["changed"][0]["to"]), (&json!("libc6"), &json!("9.99")));
    assert_eq!(packages["added"], json!([{"name": "a-new-one", "version": "1.0"}]));
    assert_eq!((&packages["removed"][0]["name"], packages["removed"].as_array().unwrap().len()), (&json!("tzdata"), 1));
    assert!(packages["same"].as_u64().unwrap() > 10, "{packages:#}");
    let text = fs_err::read_to_string(report.path().join("report.toml")).unwrap();
    assert!(text.contains("test/rebased:latest") && text.contains(rebased["image_id"].as_str().unwrap()), "{text}");
    // It runs, on the new one.
    let said = hoist_says(["run", "--entrypoint", "/bin/grep", name, "--", "-c", "a-new-one", STATUS]).ok();
    assert_eq!(said.stdout, "1\n");
    let job = hoist_says(["job", "run", name, "--data", r#"{"values": [20, 22]}"#]).ok();
    assert!(job.stdout.contains("42"), "{}", job.stdout);
    // The second time nothing is to be done, and a build goes on from the rebased image.
    let again = hoist_says(["rebase", name]).ok();
    assert!(
        again.stdout.starts_with("test/rebased:latest stands on test/rebase-run:latest as it is now"),
        "{}",
        again.stdout
    );
    let built = build(name, run_image);
    assert_eq!(built["image_id"], rebased["image_id"], "the same app on the same run image is the same image");
}

#[test]
fn what_does_not_fit_is_refused_and_nothing_is_changed() {
    let (name, run_image) = ("test/rebase-refused", "test/rebase-run-2");
    hoist_says(["base", "show"]).ok();
    hoist_says(["image", "tag", "hoist/run", run_image]).ok();
    build(name, run_image);
    let before = id(name);
    patched_run_image("test/rebase-other");
    let refused = |args: &[&str], texts: &[&str]| {
        let mut said = run(hoist().arg("rebase").args(args)).code(2);
        for text in texts {
            said = said.says(text);
        }
        assert_eq!(id(name), before);
    };
    refused(
        &[name, "--run-image", "test/rebase-other"],
        &["test/rebase-other:latest is none of its run images: test/rebase-run-2", "or insist with --force"],
    );
    refused(
        &[name, "--run-image", "test/none"],
        &["the run image test/none:latest is not in the store", "hoist image load FILE"],
    );
    refused(
        &["hoist/run"],
        &["it has no label io.buildpacks.lifecycle.metadata", "name an image that buildpacks made"],
    );
    refused(&["test/rebase-nobody"], &["test/rebase-nobody"]);
    refused(&[name, "--publish"], &["`test/rebase-refused` names no registry"]);
    // Insisted on, and under another name: the image that was there stays.
    let args = ["rebase", "test/rebase-new", "--previous-image", name, "--run-image", "test/rebase-other", "--force"];
    let said = hoist_says(args).ok().says("is none of its run images");
    assert!(
        said.stdout.starts_with("test/rebase-new:latest now stands on test/rebase-other:latest\n"),
        "{}",
        said.stdout
    );
    assert!(said.stdout.contains("  packages  1 changed, 1 added, 1 removed, "), "{}", said.stdout);
    assert_eq!(id(name), before);
    assert_ne!(id("test/rebase-new"), before);
}

#[test]
fn an_image_is_shown_with_the_keys_of_pack() {
    let name = "test/inspected";
    build(name, "hoist/run");
    let shown = hoist_says(["inspect", name, "--output", "json"]).ok().json();
    let local = &shown["local_info"];
    assert_eq!((&shown["image_name"], &shown["remote_info"]), (&json!(name), &Value::Null));
    assert_eq!((&local["rebasable"], &local["run_images"]), (&json!(true), &json!([{"name": "hoist/run:latest"}])));
    let own = layers("hoist/run");
    assert_eq!(local["base_image"]["top_layer"].as_str(), own.last().map(String::as_str));
    assert!(local["buildpacks"].as_array().unwrap().iter().any(|one| one["id"] == "hoist/python"), "{local:#}");
    let process = &local["processes"][0];
    assert_eq!((&process["default"], &process["shell"]), (&json!(true), &json!("")), "{local:#}");
    assert!(process["command"].as_str().is_some_and(|command| !command.is_empty()), "{local:#}");
    let yaml = hoist_says(["inspect", name, "-o", "yaml"]).ok().stdout;
    assert!(yaml.contains("remote_info: null\nlocal_info:\n    stack: \"\"\n    rebasable: true\n"), "{yaml}");
    let toml: toml::Value = toml::from_str(&hoist_says(["inspect", name, "-o", "toml"]).ok().stdout).unwrap();
    assert_eq!(toml["local_info"]["run_images"][0]["name"].as_str(), Some("hoist/run:latest"));
    let text = hoist_says(["inspect", name]).ok().stdout;
    assert!(text.contains("built by hoist/python@"), "{text}");
    hoist_says(["inspect", name, "--bom"]).code(2).says("hoist sbom download test/inspected");
    hoist_says(["inspect", "hoist/run", "-o", "json"]).code(2).says("so no buildpack built it");
}

#[test]
fn the_sbom_documents_of_an_image_are_those_that_its_build_wrote() {
    let name = "test/sboms";
    let (out, sum) = (tree(&[]), example("sum"));
    let mut command = hoist();
    command.args(["build", name, "--path"]).arg(sum).arg("--sbom-output-dir").arg(out.path().join("built"));
    run(&mut command).ok();
    let listed = hoist_says(["sbom", "ls", name, "--json"]).ok().json();
    let mut command = hoist();
    command.args(["sbom", "download", name, "--json", "-o"]).arg(out.path().join("downloaded"));
    let written = run(&mut command).ok().json();
    let documents = written["documents"].as_array().unwrap();
    assert_eq!(documents.len(), listed["documents"].as_array().unwrap().len());
    assert!(documents.len() >= 2, "{written:#}");
    for format in ["cyclonedx", "spdx"] {
        assert!(documents.iter().any(|document| document["format"] == format), "{written:#}");
    }
    for document in documents {
        let path = document["path"].as_str().unwrap();
        let built = out.path().join("built").join(path.strip_prefix("/layers/sbom/").unwrap());
        let file = document["file"].as_str().unwrap();
        assert_eq!(fs_err::read(file).unwrap(), fs_err::read(built).unwrap(), "{path}");
        assert!(file.ends_with(&format!("downloaded{path}")), "{file}");
    }
    // All in one document, with the packages below the app.
    for (format, list, system) in
        [("cyclonedx", "components", "pkg:deb/debian/libc6@"), ("spdx", "packages", "pkg:deb/debian/libc6@")]
    {
        let whole = hoist_says(["sbom", "show", name, "--format", format]).ok();
        let names = whole.json()[list]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|one| one["name"].as_str().map(str::to_owned))
            .collect::<Vec<_>>();
        for wanted in ["python3.13", "libc6", "tzdata"] {
            assert_eq!(names.iter().filter(|name| *name == wanted).count(), 1, "{wanted}: {names:?}");
        }
        assert!(whole.stdout.contains(system) && whole.stdout.contains("distro=debian-13"), "{}", whole.stdout);
        assert!(hoist_says(["sbom", "show", "hoist/run", "--format", format]).ok().stdout.contains(system));
    }
    hoist_says(["sbom", "download", "hoist/run"]).code(2).says("it has no label io.buildpacks.lifecycle.metadata");
    hoist_says(["sbom", "download", name, "--remote"])
        .code(2)
        .says("test/sboms:latest names no registry")
        .says("HOST/test/sboms");
    let file = out.path().join("file");
    fs_err::write(&file, "").unwrap();
    let mut command = hoist();
    command.args(["sbom", "download", name, "-o"]).arg(file);
    run(&mut command).code(2).says("name a folder that you may write to: --output-dir DIR");
}

#[test]
fn an_image_is_built_again_and_the_first_file_that_differs_is_named() {
    let name = "test/rebuilt";
    let app = tree(&[("main.py", "print('one')\n"), ("Procfile", "web: python main.py\n")]);
    let path = app.path().to_str().unwrap();
    hoist_says(["build", name, "--path", path, "-e", "BPE_WORD=yes"]).ok();
    let before = id(name);
    let same = hoist_says(["image", "verify", name, "--rebuild", path, "-e", "BPE_WORD=yes"]).ok();
    assert!(same.stdout.ends_with("built again: the same image, byte for byte\n"), "{}", same.stdout);
    // Without what it was built with, and from another source.
    let other = hoist_says(["image", "verify", name, "--rebuild", path]).code(1);
    other.says("another image came of it").says("give the options that it was built with (--env");
    fs_err::write(app.path().join("main.py"), "print('two')\n").unwrap();
    let args = ["image", "verify", name, "--rebuild", path, "-e", "BPE_WORD=yes", "--json"];
    let told = hoist_says(args).code(1).json();
    let difference = told["rebuilt"]["difference"].as_str().unwrap();
    assert!(difference.ends_with("/workspace/main.py has the same length and another content"), "{difference}");
    assert_eq!((&told["ok"], &told["rebuilt"]["is_of_the_run_image"]), (&json!(false), &json!(false)));
    // Nothing of it stays.
    assert_eq!(id(name), before);
    let images = hoist_says(["image", "ls", "--json"]).ok().stdout;
    assert!(
        !images.contains("hoist/rebuilt") && !images.contains(told["rebuilt"]["image_id"].as_str().unwrap()),
        "{images}"
    );
    // On another run image the app is not blamed.
    patched_run_image("test/rebuilt-run");
    hoist_says(["rebase", name, "--run-image", "test/rebuilt-run", "--force"]).ok();
    let said = hoist_says(["image", "verify", name, "--rebuild", path, "-e", "BPE_WORD=yes"]).code(1);
    said.says("it stands on another run image");
}
