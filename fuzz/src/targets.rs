//! One function for each parser of hoist's own that reads what others wrote: it must neither panic nor take long, and what it writes again must
//! read back the same.
//!
//! libFuzzer calls them through `fuzz_targets/`, and the ordinary test `crates/cli/tests/fuzz.rs` with the seeds below and mutations of them.
//! Knows no files but those of the store that archives are read into.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use apps::{
    condarc, environment_yml, package_list, pdm_lock, pipfile, pipfile_lock, poetry_lock, procfile, pylock, pyproject,
    python_projects, python_versions, requirements, sources, uv_lock,
};
use hoist_image::{LoadLimits, Reference, Store, TarFile};
use hoist_service::{PlanqkJson, ResultScanner, Signature};
use hoist_spec::{
    Analyzed, ApiVersion, BuildLabel, BuildMetadata, BuildPlan, BuildToml, BuilderConfig, BuilderMetadata,
    BuildpackDescriptor, BuildpackLayersLabel, BuildpackPlan, CacheMetadata, Candidate, Environment,
    ExtensionDescriptor, Group, GroupEntry, LaunchToml, LayerRecord, LayerToml, LifecycleMetadata, Operation, Order,
    PackageConfig, Plan, ProjectDescriptor, RunToml, StoreToml, System, SystemToml, flatten_order,
    parse_environment_dir, parse_order_label, resolve_plan,
};

#[path = "apps.rs"]
mod apps;

/// A parser, by name: what it is called with, and what a sensible input looks like.
pub struct Target {
    /// Name of the file in `fuzz_targets/`.
    pub name: &'static str,
    /// Reads any bytes.
    pub run: fn(&[u8]),
    /// Inputs to begin with.
    pub seeds: &'static [&'static str],
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target {
        name: "builder_toml",
        run: builder_toml,
        seeds: &[
            include_str!("../../fixtures/buildpacks/builder.toml"),
            "[stack]\nid = \"a\"\nbuild-image = \"b\"\nrun-image = \"c\"\n[[system.pre.buildpacks]]\nid = \"a/b\"\n[[build.env]]\nname = \"A\"\nvalue = \"b\"\nsuffix = \"append\"\ndelim = \":\"\n",
        ],
    },
    Target {
        name: "package_toml",
        run: package_toml,
        seeds: &[
            "[buildpack]\nuri = \".\"\n[[dependencies]]\nuri = \"../a\"\n[[dependencies]]\nimage = \"acme/b:1\"\n[platform]\nos = \"linux\"\n[[targets]]\nos = \"linux\"\narch = \"arm64\"\n[[targets.distros]]\nname = \"debian\"\nversion = \"13\"\n",
            "[extension]\nuri = \"https://example.invalid/x.tgz\"\n",
        ],
    },
    Target {
        name: "buildpack_toml",
        run: buildpack_toml,
        seeds: &[
            include_str!("../../fixtures/buildpacks/everything/buildpack.toml"),
            include_str!("../../fixtures/buildpacks/bill/buildpack.toml"),
            "api = \"0.12\"\n[buildpack]\nid = \"a/b\"\nversion = \"1.0.0\"\n[[buildpack.exec-env]]\nname = \"test\"\n[[stacks]]\nid = \"*\"\n[[targets]]\nos = \"linux\"\n[[targets.distros]]\nname = \"debian\"\n",
        ],
    },
    Target {
        name: "extension_toml",
        run: extension_toml,
        seeds: &["api = \"0.10\"\n[extension]\nid = \"acme/curl\"\nversion = \"0.0.1\"\n"],
    },
    Target {
        name: "project_toml",
        run: project_toml,
        seeds: &[
            "[_]\nschema-version = \"0.2\"\n[io.buildpacks]\ninclude = [\"a\"]\n[[io.buildpacks.group]]\nid = \"a/b\"\n[io.buildpacks.group.script]\napi = \"0.9\"\ninline = \"x\"\n",
            "[build]\nexclude = [\"a\"]\n[[build.env]]\nname = \"A\"\nvalue = \"b\"\n",
        ],
    },
    Target {
        name: "order",
        run: order,
        seeds: &[
            "[[order]]\n[[order.group]]\nid = \"a\"\nversion = \"1\"\noptional = true\n",
            "[{\"group\":[{\"id\":\"a\",\"version\":\"1\"}]}]",
        ],
    },
    Target {
        name: "plan",
        run: plan,
        seeds: &[
            "[[provides]]\nname = \"a\"\n[[requires]]\nname = \"a\"\n[requires.metadata]\nv = 1\n[[or]]\n[[or.requires]]\nname = \"b\"\n",
            "[[entries]]\n[[entries.providers]]\nid = \"a\"\nversion = \"1\"\n[[entries.requires]]\nname = \"a\"\n",
        ],
    },
    Target {
        name: "launch_toml",
        run: launch_toml,
        seeds: &[
            "[[labels]]\nkey = \"a\"\nvalue = \"b\"\n[[processes]]\ntype = \"web\"\ncommand = [\"a\", \"b\"]\nargs = [\"c\"]\ndefault = true\nworking-dir = \"x\"\nexec-env = [\"test\"]\n[[slices]]\npaths = [\"a/*\"]\n",
            "[[processes]]\ntype = \"web\"\ncommand = \"a\"\ndirect = true\n[[bom]]\nname = \"x\"\n",
        ],
    },
    Target {
        name: "layer_toml",
        run: layer_toml,
        seeds: &[
            "[types]\nlaunch = true\nbuild = true\ncache = true\n[metadata]\na = 1\nb = 1.5\nc = 1979-05-27T07:32:00Z\nd = [1, 2]\n[metadata.hoist]\nsplit = \"distributions\"\n",
        ],
    },
    Target {
        name: "build_toml",
        run: build_toml,
        seeds: &["[[unmet]]\nname = \"a\"\n[[bom]]\nname = \"b\"\n[bom.metadata]\nx = 1\n"],
    },
    Target { name: "store_toml", run: store_toml, seeds: &["[metadata]\na = 1\n"] },
    Target {
        name: "phase_files",
        run: phase_files,
        seeds: &[
            "[run-image]\nreference = \"x\"\n[run-image.target]\nos = \"linux\"\n",
            "[[group]]\nid = \"a\"\nversion = \"1\"\napi = \"0.10\"\n",
            "[[images]]\nimage = \"a\"\nmirrors = [\"b\"]\n",
            "[[system.pre.buildpacks]]\nid = \"a\"\nversion = \"1\"\n",
        ],
    },
    Target {
        name: "metadata_toml",
        run: metadata_toml,
        seeds: &[
            "buildpack-default-process-type = \"web\"\n[[buildpacks]]\nid = \"a\"\nversion = \"1\"\napi = \"0.10\"\n[[processes]]\ntype = \"web\"\ncommand = [\"<a>\"]\nargs = []\ndirect = true\nbuildpack-id = \"a\"\n[[slices]]\npaths = [\"x\"]\n",
        ],
    },
    Target {
        name: "labels",
        run: labels,
        seeds: &[
            "{\"app\":[{\"sha\":\"sha256:a\"}],\"buildpacks\":[{\"key\":\"a\",\"version\":\"1\",\"layers\":{\"l\":{\"sha\":\"s\",\"data\":{\"a\":[1,null,1.5]},\"launch\":true}},\"store\":{\"metadata\":{}}}],\"config\":{\"sha\":\"\"},\"launcher\":{\"sha\":\"\"},\"runImage\":{\"topLayer\":\"t\",\"reference\":\"r\",\"mirrors\":null}}",
            "{\"processes\":[{\"type\":\"web\",\"command\":[\"a\"],\"args\":null,\"direct\":true,\"buildpackID\":\"a\"}],\"buildpacks\":[{\"id\":\"a\",\"version\":\"1\"}],\"launcher\":{\"version\":\"1\"}}",
            "{\"a\":{\"1.0.0\":{\"api\":\"0.10\",\"layerDiffID\":\"sha256:a\",\"order\":[{\"group\":[{\"id\":\"b\",\"version\":\"1\"}]}],\"stacks\":[{\"id\":\"*\"}]}}}",
            // A number that is only the same again when it is read exactly.
            "{\"buildpacks\":[{\"key\":\"a\",\"version\":\"1\",\"layers\":{\"l\":{\"sha\":\"s\",\"data\":{\"a\":12222222222222222222222222222222222222222222222222222222222222222222222},\"cache\":true}}}]}",
        ],
    },
    Target {
        name: "environment",
        run: environment,
        seeds: &[
            "PATH.prepend=a\nPATH.delim=:\nA.default=b\nA=c\nB.append=d\n.x=y\n",
            // A delimiter that no variable can hold.
            "A.default=b\nA.append=c\nA.delim=\0\nB=d\nB.append=c\nB.delim=\0\nB.prepend=e\nB.delim=\0\n",
        ],
    },
    Target {
        name: "reference",
        run: reference,
        seeds: &[
            "example.org:5000/team/app:1.0@sha256:0000000000000000000000000000000000000000000000000000000000000000",
            "localhost/a_b-c.d",
            "sha256:00",
            "A/b",
        ],
    },
    Target { name: "tar", run: tar, seeds: &[] },
    Target { name: "archive", run: archive, seeds: &[] },
    Target {
        name: "environment_yml",
        run: environment_yml,
        seeds: &[
            "channels: [ours]\ndependencies:\n  - python=3.11\n  - a::b >=1\n  - pip:\n    - -r x.txt\nvariables: {A: b}\n",
        ],
    },
    Target {
        name: "package_list",
        run: package_list,
        seeds: &["# platform: linux-64\n@EXPLICIT\nfile:///c/linux-64/a-1-0.conda#00\n", "python=3.11.9=h1_0\n"],
    },
    Target {
        name: "condarc",
        run: condarc,
        seeds: &[
            "channel_alias: https://m.invalid\ncustom_channels: {a: b}\nmirrored_channels:\n  c: [https://u:p@h.invalid]\n",
        ],
    },
    Target { name: "uv_lock", run: uv_lock, seeds: &[include_str!("../../fixtures/apps/uv-lock/uv.lock")] },
    Target {
        name: "poetry_lock",
        run: poetry_lock,
        seeds: &[
            include_str!("../../fixtures/apps/poetry-lock/poetry.lock"),
            include_str!("../../fixtures/apps/poetry-lock-1.1/poetry.lock"),
        ],
    },
    Target { name: "pdm_lock", run: pdm_lock, seeds: &[include_str!("../../fixtures/apps/pdm-lock/pdm.lock")] },
    Target {
        name: "pipfile_lock",
        run: pipfile_lock,
        seeds: &[include_str!("../../fixtures/apps/pipenv-lock/Pipfile.lock")],
    },
    Target { name: "pipfile", run: pipfile, seeds: &[include_str!("../../fixtures/apps/pipfile/Pipfile")] },
    Target { name: "pylock", run: pylock, seeds: &[include_str!("../../fixtures/apps/pylock/pylock.toml")] },
    Target {
        name: "pyproject",
        run: pyproject,
        seeds: &[
            include_str!("../../fixtures/apps/project/pyproject.toml"),
            include_str!("../../fixtures/apps/poetry-no-lock/pyproject.toml"),
        ],
    },
    Target {
        name: "requirements",
        run: requirements,
        seeds: &[
            "flask==3.0.0 ; python_version >= \"3.8\"  # x\n-r other.txt\n--hash=sha256:00 \\\n  -e git+https://example.org/a#egg=b\n",
        ],
    },
    Target {
        name: "procfile",
        run: procfile,
        seeds: &["web: A=1 gunicorn --bind $PORT 'a b'\nworker: python -m x\n# note\n"],
    },
    Target {
        name: "python_versions",
        run: python_versions,
        seeds: &[
            "# ours\n3.11.4 3.10\n>=3.9, <3.13 || ^2.7\npython 3.12.1\ncpython-3.12.3-linux-x86_64-gnu\n",
            "dependencies:\n  - conda-forge::python=3.11.4=h1_0\n  - pip:\n    - -r a.txt\n",
        ],
    },
    Target {
        name: "python_projects",
        run: python_projects,
        seeds: &[
            "[project]\nrequires-python = \">=3.9\"\n[project.scripts]\na = \"b:c\"\n[tool.poetry.dependencies]\npython = \"^3.9\"\n[tools]\npython = [\"3.11\"]\n[requires]\npython_version = \"3.11\"\n",
            "{\"_meta\": {\"requires\": {\"python_version\": \"3.11\"}}}",
            "requires-python = \">=3.11\"\n[[package]]\n[metadata]\npython-versions = \"~3.9\"\n[[metadata.targets]]\nrequires_python = \">=3.9\"\n[options]\npython_requires = >=3.9\n",
            "L = '>=3.9'  # it\nsetup(x=\"a\\\"b\", y=''z, python_requires=L, **{'python_requires': r'>=3' ',<4'})\n",
        ],
    },
    Target {
        name: "sources",
        run: sources,
        seeds: &[
            "from flask import Flask\napp: Flask = Flask(__name__)\n",
            "import streamlit as st, gradio\ndef create_app(x):\n    gradio.Interface().launch()\n",
        ],
    },
    Target {
        name: "planqk_json",
        run: planqk_json,
        seeds: &[
            "{\"name\":\"a\",\"resources\":{\"cpu\":1,\"memory\":2,\"gpu\":{\"type\":\"x\",\"count\":1}},\"runtime\":\"PYTHON_TEMPLATE\"}",
        ],
    },
    Target {
        name: "signature",
        run: signature,
        seeds: &["def run(data: dict, shots: int = 10, *, seed=None) -> dict:\n    \"\"\"doc\"\"\"\n    return {}\n"],
    },
    Target {
        name: "result",
        run: result,
        seeds: &["log\nPlanQK:Job:MultilineResult\n{\"a\": 1}\nPlanQK:Job:MultilineResult\n"],
    },
    Target {
        name: "packages_index",
        run: packages_index,
        seeds: &[
            "Package: python3\nVersion: 3.13.5-1\nDepends: libc6 (>= 2.38), python3.13 | python3.12 [amd64]\nSHA256: 00\nDescription: a\n b\n\nPackage: x\n",
        ],
    },
    Target {
        name: "deb",
        run: deb,
        seeds: &["!<arch>\ndebian-binary   0           0     0     100644  4         `\n2.0\n"],
    },
    Target { name: "elf", run: elf, seeds: &["\u{7f}ELF\u{2}\u{1}\u{1}\0\0\0\0\0\0\0\0\0\u{3}\0>\0"] },
];

impl Target {
    /// What to begin with; of binary formats it is made here.
    pub fn inputs(&self) -> Vec<Vec<u8>> {
        let mut inputs: Vec<Vec<u8>> = self.seeds.iter().map(|seed| seed.as_bytes().to_vec()).collect();
        let files: &[(&str, &[u8])] = &[("a/buildpack.toml", b"api = \"0.10\"\n"), ("a/bin/build", b"#!/bin/sh\n")];
        match self.name {
            "tar" => inputs.push(tar_of(files)),
            "archive" => {
                let config =
                    br#"{"architecture":"amd64","os":"linux","config":{},"rootfs":{"type":"layers","diff_ids":[]}}"#;
                let manifest = br#"[{"Config":"c.json","RepoTags":["a:1"],"Layers":["l.tar"]}]"#;
                let layer = tar_of(files);
                inputs.push(tar_of(&[("manifest.json", manifest), ("c.json", config), ("l.tar", &layer)]));
                let layout: &[(&str, &[u8])] = &[
                    ("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#),
                    ("index.json", br#"{"schemaVersion":2,"manifests":[]}"#),
                ];
                inputs.push(tar_of(layout));
            }
            "deb" => {
                let member = tar_of(&[("./control", b"Package: a\nVersion: 1\nArchitecture: all\n")]);
                let mut ar = b"!<arch>\n".to_vec();
                for (name, content) in
                    [("debian-binary", &b"2.0\n"[..]), ("control.tar", &member), ("data.tar", &member)]
                {
                    ar.extend(
                        format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, 100_644, content.len()).bytes(),
                    );
                    ar.extend_from_slice(content);
                    ar.resize(ar.len() + ar.len() % 2, b'\n');
                }
                inputs.push(ar);
            }
            _ => {}
        }
        inputs
    }
}

/// A small tar of plain files.
fn tar_of(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = Vec::new();
    for (name, content) in files {
        let mut header = [0_u8; 512];
        header[..name.len()].copy_from_slice(name.as_bytes());
        header[100..107].copy_from_slice(b"0000644");
        header[108..115].copy_from_slice(b"0000000");
        header[116..123].copy_from_slice(b"0000000");
        header[124..135].copy_from_slice(format!("{:011o}", content.len()).as_bytes());
        header[136..147].copy_from_slice(b"00000000000");
        header[148..156].fill(b' ');
        header[156] = b'0';
        header[257..265].copy_from_slice(b"ustar\x0000");
        let sum: u32 = header.iter().copied().map(u32::from).sum();
        header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        tar.extend_from_slice(&header);
        tar.extend_from_slice(content);
        tar.resize(tar.len().next_multiple_of(512), 0);
    }
    tar.resize(tar.len() + 1024, 0);
    tar
}

fn text(data: &[u8]) -> String {
    String::from_utf8_lossy(data).into_owned()
}

/// Whoever reads an error also reads what to do about it.
fn explained<T>(result: Result<T, hoist_spec::DocumentError>) -> Option<T> {
    result.map_err(|error| (error.to_string(), error.hint())).ok()
}

fn builder_toml(data: &[u8]) {
    explained(BuilderConfig::parse(&text(data)));
}

fn package_toml(data: &[u8]) {
    let Some(config) = explained(PackageConfig::parse(&text(data))) else { return };
    assert_ne!(config.buildpack.is_some(), config.extension.is_some(), "a package is of one thing");
}

fn buildpack_toml(data: &[u8]) {
    let Some(descriptor) = explained(BuildpackDescriptor::parse(&text(data))) else { return };
    let written = descriptor.write().expect("what was read can be written");
    let read = BuildpackDescriptor::parse(&written).expect("what was written can be read");
    // Texts are compared, not values: TOML knows numbers that are not equal to themselves.
    assert_eq!(read.write().expect("written again"), written);
    let _ = (descriptor.effective_targets(), descriptor.full_name(), descriptor.supports_exec_env("test"));
    let group = GroupEntry::new(descriptor.buildpack.id.clone(), descriptor.buildpack.version.clone());
    let order = [hoist_spec::OrderGroup { group: vec![group] }];
    let known = |id: &str, _: &str| (id.len() % 2 == descriptor.buildpack.id.len() % 2).then_some(&descriptor);
    let _ = flatten_order(&order, &known);
}

fn extension_toml(data: &[u8]) {
    explained(ExtensionDescriptor::parse(&text(data)));
}

fn project_toml(data: &[u8]) {
    explained(ProjectDescriptor::parse(&text(data)));
}

fn order(data: &[u8]) {
    let text = text(data);
    if let Some(order) = explained(Order::parse(&text)) {
        assert_eq!(Order::parse(&order.write().expect("written")).expect("read"), order);
    }
    explained(parse_order_label("label", &text));
}

fn plan(data: &[u8]) {
    let text = text(data);
    let middle = (0..=text.len() / 2).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    let (one, two) = text.split_at(middle);
    for (one, two) in [(one, two), (&text, &text)] {
        let (Some(one), Some(two)) = (explained(BuildPlan::parse(one)), explained(BuildPlan::parse(two))) else {
            continue;
        };
        let candidate = |id: &str, plan| Candidate { entry: GroupEntry::new(id, "1").optional(), plan };
        if let Ok(resolution) = resolve_plan(&[candidate("one", one), candidate("two", two)]) {
            let mut plan = resolution.plan;
            let written = plan.write().expect("what was resolved can be written");
            assert_eq!(Plan::parse(&written).expect("read").write().expect("written again"), written);
            for entry in &plan.entries {
                assert!(!entry.providers.is_empty() && !entry.requires.is_empty(), "each entry MUST have both");
            }
            let asked = plan.for_buildpack("one");
            BuildpackPlan::parse(&asked.write().expect("written")).expect("what a buildpack is asked for can be read");
            plan.remove_met(&asked.entries.iter().map(|entry| entry.name.clone()).collect());
        }
    }
    explained(Plan::parse(&text));
}

fn launch_toml(data: &[u8]) {
    for minor in [7, 12] {
        let api = ApiVersion::new(0, minor);
        if let Some(launch) = explained(LaunchToml::parse(&text(data), api)) {
            LaunchToml::parse(&launch.write().expect("written"), api).expect("what was written can be read");
        }
    }
}

fn layer_toml(data: &[u8]) {
    let Some(layer) = explained(LayerToml::parse(&text(data))) else { return };
    layer.write().expect("what was read can be written");
    let record = LayerRecord::new("sha256:0".into(), &layer);
    let json = serde_json::to_string(&record).expect("a record is JSON");
    let read: LayerRecord = serde_json::from_str(&json).expect("and reads back");
    read.to_restored_toml().write().expect("what a label had can be restored");
}

fn build_toml(data: &[u8]) {
    let plan = BuildpackPlan::parse("[[entries]]\nname = \"a\"\n").expect("a plan");
    if let Some(build) = explained(BuildToml::parse(&text(data), &plan)) {
        BuildToml::parse(&build.write().expect("written"), &plan).expect("what was written can be read");
    }
}

fn store_toml(data: &[u8]) {
    let Some(store) = explained(StoreToml::parse(&text(data))) else { return };
    hoist_spec::StoreRecord::new(&store).to_toml().write().expect("what is kept can be given back");
}

fn phase_files(data: &[u8]) {
    let text = text(data);
    if let Some(analyzed) = explained(Analyzed::parse(&text)) {
        analyzed.write().expect("written");
    }
    if let Some(group) = explained(Group::parse(&text)) {
        assert_eq!(Group::parse(&group.write().expect("written")).expect("read"), group);
    }
    explained(RunToml::parse(&text));
    if let Some(system) = explained(SystemToml::parse(&text)) {
        assert_eq!(SystemToml::parse(&system.write().expect("written")).expect("read"), system);
    }
}

fn metadata_toml(data: &[u8]) {
    let Some(metadata) = explained(BuildMetadata::parse(&text(data))) else { return };
    let read = BuildMetadata::parse(&metadata.write()).expect("what was written can be read");
    assert_eq!(read.processes.len(), metadata.processes.len());
    assert_eq!(read.write(), metadata.write());
    BuildLabel::new(&metadata, "1").to_label().expect("a label");
}

fn labels(data: &[u8]) {
    let text = text(data);
    if let Some(label) = explained(LifecycleMetadata::parse(&text)) {
        let again = label.to_label().expect("a label");
        assert_eq!(LifecycleMetadata::parse(&again).expect("read").to_label().expect("written"), again);
        for layer in label.buildpacks.iter().flat_map(|buildpack| buildpack.layers.values()) {
            layer.to_restored_toml().write().expect("what a label has can be restored");
        }
    }
    if let Some(cache) = explained(CacheMetadata::parse(&text)) {
        cache.write().expect("what was read can be written");
    }
    explained(BuildLabel::parse(&text));
    explained(BuilderMetadata::parse(&text));
    explained(BuildpackLayersLabel::parse(&text));
    explained(System::from_label(&text));
}

fn environment(data: &[u8]) {
    use std::os::unix::ffi::OsStringExt;
    let lines = data.split(|byte| *byte == b'\n').filter_map(|line| {
        let at = line.iter().position(|byte| *byte == b'=')?;
        // No file is called otherwise.
        let name = &line[..at];
        let is_name = !name.is_empty() && !name.contains(&b'/') && !name.contains(&0);
        is_name.then(|| (OsString::from_vec(name.to_vec()), line[at + 1..].to_vec()))
    });
    let files: BTreeMap<OsString, Vec<u8>> = lines.collect();
    let mut environment = Environment::new();
    for modification in parse_environment_dir(&files, Operation::Override) {
        environment.apply(&modification);
    }
    for (name, value) in environment.iter() {
        let bytes = |text: &std::ffi::OsStr| text.as_encoded_bytes().to_vec();
        assert!(
            !name.is_empty() && !bytes(name).contains(&b'=') && !bytes(name).contains(&0),
            "no variable: {}",
            name.display()
        );
        assert!(!bytes(value).contains(&0), "no value: {}", value.display());
    }
}

fn reference(data: &[u8]) {
    let text = text(data);
    match text.parse::<Reference>() {
        Ok(reference) => assert_eq!(reference.to_string().parse::<Reference>().expect("reads back"), reference),
        Err(error) => drop((error.to_string(), error.hint())),
    }
}

/// A folder of this process, in memory where that is possible.
fn scratch() -> &'static Path {
    static DIR: OnceLock<tempfile::TempDir> = OnceLock::new();
    let parent =
        |memory: &'static str| if Path::new(memory).is_dir() { PathBuf::from(memory) } else { std::env::temp_dir() };
    DIR.get_or_init(|| tempfile::tempdir_in(parent("/dev/shm")).expect("a folder")).path()
}

fn store() -> &'static Store {
    static STORE: OnceLock<Store> = OnceLock::new();
    STORE.get_or_init(|| Store::open(scratch().join("store")).expect("a store"))
}

fn file(name: &str, data: &[u8]) -> PathBuf {
    let path = scratch().join(format!("{name}-{:?}", std::thread::current().id()));
    std::fs::write(&path, data).expect("a file");
    path
}

fn tar(data: &[u8]) {
    let path = file("tar", data);
    let tar = TarFile::new(&path, 1 << 20);
    if let Err(error) = tar.find(&["buildpack.toml", "a/b"], 1 << 16) {
        let _ = (error.to_string(), error.hint());
    }
}

fn archive(data: &[u8]) {
    let limits = LoadLimits { unpacked_bytes: 1 << 20, archive_bytes: 1 << 20 };
    if let Err(error) = store().load_from(&mut &*data, limits) {
        let _ = (error.to_string(), error.hint());
    }
}

fn planqk_json(data: &[u8]) {
    match PlanqkJson::parse("planqk.json", &text(data)) {
        Ok(json) => drop((json.resources.memory_bytes(), json.resources.gpus())),
        Err(error) => drop((error.to_string(), error.hint())),
    }
}

fn signature(data: &[u8]) {
    if let Some(signature) = Signature::parse(&text(data)) {
        let _ = signature.takes("data");
    }
}

fn result(data: &[u8]) {
    let mut scanner = ResultScanner::new(1 << 16);
    for part in data.chunks(7) {
        scanner.feed(part, &mut |_| {});
    }
    drop(scanner.finish(&mut |_| {}));
}

fn packages_index(data: &[u8]) {
    let Ok(paragraphs) = hoist_debian::parse_paragraphs(&text(data)) else { return };
    for paragraph in &paragraphs {
        if let Some(depends) = paragraph.get("Depends") {
            let _ = hoist_debian::parse_dependencies(depends);
        }
        if let Some(Ok(version)) = paragraph.get("Version").map(str::parse::<hoist_debian::Version>) {
            assert_eq!(version.cmp(&version), std::cmp::Ordering::Equal);
        }
    }
}

fn deb(data: &[u8]) {
    let Ok(deb) = hoist_debian::Deb::open(&file("deb", data)) else { return };
    let _ = deb.control_files();
    let _ = deb.visit(&mut |_| Ok::<(), hoist_debian::DebError>(()));
}

fn elf(data: &[u8]) {
    let _ = hoist_debian::read_elf(&mut std::io::Cursor::new(data));
}
