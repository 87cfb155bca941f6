//! The builder.toml of a service platform: a dozen packages in three orders, an own buildpack from the store, and the deprecated `[stack]`. The packages
//! are made here, of scripts that stand for the real ones.
#![allow(clippy::unwrap_used, clippy::format_push_string)] // helpers fail as loudly as their tests, and write texts

mod support;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use support::{hoist, run, tree};

/// Name, version, and what its detection does.
const PACKAGES: [(&str, &str, &str); 12] = [
    ("cpython", "1.11.0", "provides cpython"),
    ("pipenv", "1.20.0", "[ -e Pipfile ] || exit 100"),
    ("pipenv-install", "0.6.19", "[ -e Pipfile ] || exit 100"),
    ("pip", "0.20.0", "provides pip; requires cpython"),
    (
        "pip-install",
        "0.6.1",
        "[ -e requirements.txt ] || exit 100; provides site-packages; requires cpython; requires pip",
    ),
    ("miniconda", "0.9.0", "[ -e environment.yml ] || exit 100"),
    ("conda-env-update", "0.7.13", "[ -e environment.yml ] || exit 100"),
    ("python-start", "0.14.15", "requires site-packages"),
    ("ca-certificates", "3.6.7", "exit 100"),
    ("environment-variables", "4.5.6", "[ -n \"${BPE_GREETING-}\" ] || exit 100"),
    ("image-labels", "4.5.5", "exit 100"),
    ("watchexec", "2.8.7", "exit 100"),
];

const DETECT: &str = r#"#!/usr/bin/env bash
set -eu
provides() { printf '[[provides]]\nname = "%s"\n' "$1" >> "$CNB_BUILD_PLAN_PATH"; }
requires() { printf '[[requires]]\nname = "%s"\n' "$1" >> "$CNB_BUILD_PLAN_PATH"; }
"#;

const JOB_TEMPLATE: &str = r#"#!/usr/bin/env bash
set -eu
mkdir -p "$CNB_LAYERS_DIR/job-template/env.launch"
echo -n "src.program:run" > "$CNB_LAYERS_DIR/job-template/env.launch/ENTRY_POINT"
printf '[types]\nlaunch = true\n' > "$CNB_LAYERS_DIR/job-template.toml"
cat > "$CNB_LAYERS_DIR/launch.toml" <<'TOML'
[[processes]]
type = "web"
command = ["/bin/sh", "-c", "echo starts $ENTRY_POINT"]
default = true
TOML
"#;

fn order(title: &str, middle: &[&str]) -> String {
    let version = |id: &str| PACKAGES.iter().find(|(name, _, _)| *name == id).unwrap().1;
    let mut text = format!("\n# {title} order\n[[order]]\n");
    let optional = ["ca-certificates", "watchexec", "environment-variables", "image-labels"];
    for id in ["ca-certificates", "watchexec"].iter().chain(middle) {
        text += &format!("  [[order.group]]\n    id = \"acme-buildpacks/{id}\"\n");
        if optional.contains(id) {
            text += "    optional = true\n";
        }
        text += &format!("    version = \"{}\"\n\n", version(id));
    }
    text + "    [[order.group]]\n    id = \"service-buildpacks/job-template\"\n"
}

fn builder_toml() -> String {
    let mut text = "description = \"Service builder\"\n\n".to_owned();
    for (id, version, _) in PACKAGES {
        text +=
            &format!("[[buildpacks]]\nuri = \"registry.example/acme-buildpacks/{id}\"\nversion = \"{version}\"\n\n");
    }
    text += "[[buildpacks]]\nuri = \"docker://service-buildpack-job-template\"\nversion = \"0.0.1\"\n";
    text += &order("pipenv", &["cpython", "pip", "pipenv", "pipenv-install", "python-start"]);
    let more = ["environment-variables", "image-labels"];
    text += &order("pip", &[&["cpython", "pip", "pip-install", "python-start"][..], &more].concat());
    text += &order("conda", &[&["miniconda", "conda-env-update", "python-start"][..], &more].concat());
    text + "\n[stack]\nid = \"io.buildpacks.stacks.jammy\"\nbuild-image = \"hoist/build\"\nrun-image = \"hoist/run\"\nrun-image-mirrors = []\n"
}

/// A folder of a buildpack of two scripts.
fn write(dir: &Path, buildpack_toml: &str, detect: &str, build: &str) {
    fs_err::create_dir_all(dir.join("bin")).unwrap();
    fs_err::write(dir.join("buildpack.toml"), buildpack_toml).unwrap();
    for (program, text) in [("detect", detect), ("build", build)] {
        let path = dir.join("bin").join(program);
        fs_err::write(&path, text).unwrap();
        fs_err::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    }
}

#[test]
fn a_service_is_built_by_the_builder_of_its_platform_and_mistakes_in_it_are_explained() {
    let dir = tree(&[
        ("app/planqk.json", "{}"),
        ("app/requirements.txt", ""),
        ("app/src/program.py", "def run(data, params):\n    return {}\n"),
        ("packages/package.toml", "[buildpack]\nuri = \".\"\n"),
    ]);
    let hoist = |args: &[&str]| run(hoist().args(args).current_dir(dir.path()));
    let mut names = Vec::new();
    for (id, version, detect) in PACKAGES {
        let folder = dir.path().join(id);
        let toml = format!(
            "api = \"0.8\"\n[buildpack]\nid = \"acme-buildpacks/{id}\"\nversion = \"{version}\"\n[[stacks]]\nid = \"io.buildpacks.stacks.jammy\"\n"
        );
        write(&folder, &toml, &format!("{DETECT}{detect}\n"), &format!("#!/usr/bin/env bash\necho \"---> {id}\"\n"));
        let name = format!("acme-buildpacks/{id}");
        hoist(&["buildpack", "package", &name, "--path", id]).ok();
        names.push(name);
    }
    let job = dir.path().join("packages");
    let toml = "api = \"0.9\"\n[buildpack]\nid = \"service-buildpacks/job-template\"\nversion = \"0.0.1\"\n[[targets]]\nos = \"linux\"\n[[stacks]]\nid = \"*\"\n";
    write(&job, toml, "#!/usr/bin/env bash\n[ -f planqk.json ] || exit 100\n", JOB_TEMPLATE);
    hoist(&["buildpack", "package", "service-buildpack-job-template", "--config", "packages/package.toml"]).ok();

    let text = builder_toml();
    fs_err::write(dir.path().join("builder.toml"), &text).unwrap();
    let create = ["builder", "create", "service-base", "--config", "./builder.toml"];
    hoist(&create).ok().says("[stack] is deprecated");
    let build = ["build", "service-built", "--path", "app", "--builder", "service-base", "--clear-cache"];
    hoist(&[&build[..], &["-e", "BPE_GREETING=hello"]].concat())
        .ok()
        .says("---> cpython")
        .says("---> pip-install")
        .says("---> environment-variables");
    assert_eq!(hoist(&["run", "service-built", "--process", "web"]).ok().stdout, "starts src.program:run\n");

    for (from, to, messages) in [
        (
            "acme-buildpacks/pip\"\nversion = \"0.20.0\"",
            "acme-buildpacks/pip\"\nversion = \"0.21.0\"",
            vec!["its version is 0.20.0, but 0.21.0 was asked for", "write version = \"0.20.0\""],
        ),
        (
            "[[buildpacks]]\nuri = \"registry.example/acme-buildpacks/watchexec\"\nversion = \"2.8.7\"\n",
            "",
            vec![
                "the buildpack acme-buildpacks/watchexec is not in the builder, which has",
                "add it as [[buildpacks]]",
            ],
        ),
        (
            "    version = \"0.14.15\"\n",
            "    version = \"0.14.1\"\n",
            vec!["acme-buildpacks/python-start@0.14.1 is not in the builder", "write version = \"0.14.15\""],
        ),
        (
            "docker://service-buildpack-job-template",
            "docker://service-buildpack-job-tmplate",
            vec![
                "service-buildpack-job-tmplate:latest",
                "neither a file nor an image of the store",
                "the store has service-buildpack-job-template:latest",
            ],
        ),
        (
            "[[order.group]]\n    id = \"service",
            "[[order.groups]]\n    id = \"service",
            vec!["unknown field `groups`", "line "],
        ),
        ("run-image = \"hoist/run\"\n", "", vec!["run.images: it must be said, and is not"]),
    ] {
        assert!(text.contains(from), "{from}");
        fs_err::write(dir.path().join("builder.toml"), text.replacen(from, to, 1)).unwrap();
        let said = hoist(&create).code(2);
        for message in messages {
            assert!(said.stderr.contains(message), "{message:?} is not in\n{}", said.stderr);
        }
    }
    let all: Vec<&str> = names.iter().map(String::as_str).collect();
    hoist(&[&["image", "rm", "service-built", "service-base", "service-buildpack-job-template"][..], &all].concat())
        .ok();
}
