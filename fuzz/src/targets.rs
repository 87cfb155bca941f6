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
    conda_lock, condarc, deb_packages, environment_yml, package_list, pdm_lock, pipfile, pipfile_lock, pixi_lock,
    poetry_lock, procfile, pylock, pyproject, python_projects, python_versions, requirements, setup_cfg, setup_py,
    sources, uv_lock,
};
use documents::{
    build_toml, builder_toml, buildpack_toml, extension_toml, labels, launch_toml, layer_toml, metadata_toml, order,
    package_toml, phase_files, plan, project_toml, store_toml,
};
use hoist_image::{LoadLimits, Reference, Store, TarFile};
use hoist_service::{PlanqkJson, ResultScanner, Signature};
use hoist_spec::{Environment, Operation, parse_environment_dir};
use installed::{copyrights, distribution};

#[path = "apps.rs"]
mod apps;
#[path = "documents.rs"]
mod documents;
#[path = "installed.rs"]
mod installed;

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
    Target {
        name: "conda_lock",
        run: conda_lock,
        seeds: &[
            "version: 1\nmetadata:\n  content_hash: {linux-64: a}\n  channels: [{url: ours, used_env_vars: []}]\n  platforms: [linux-64]\n  sources: [environment.yml]\npackage:\n- name: libgreet\n  version: '1.4'\n  manager: conda\n  platform: linux-64\n  dependencies: {python: '>=3'}\n  url: file:///c/linux-64/libgreet-1.4-h0_0.conda\n  hash: {sha256: 0000000000000000000000000000000000000000000000000000000000000000}\n  category: main\n  optional: false\n- name: six\n  version: 1.17.0\n  manager: pip\n  platform: linux-64\n  dependencies: {}\n  url: https://h.invalid/six-1.17.0-py2.py3-none-any.whl\n  hash: {sha256: 4721f391ed90541fddacab5acf947aa0d3dc7d27b2e1e8eda2be8970586c3274}\n  category: main\n  optional: false\n",
            include_str!("../../fixtures/apps/conda-lock-other-platform/conda-lock.yml"),
        ],
    },
    Target {
        name: "pixi_lock",
        run: pixi_lock,
        seeds: &[
            "version: 6\nenvironments:\n  default:\n    channels:\n    - url: file:///c/\n    indexes:\n    - https://h.invalid/simple\n    packages:\n      linux-64:\n      - conda: file:///c/linux-64/libgreet-1.4-h0_0.conda\n      - pypi: https://h.invalid/six-1.17.0-py2.py3-none-any.whl\npackages:\n- conda: file:///c/linux-64/libgreet-1.4-h0_0.conda\n  sha256: 0000000000000000000000000000000000000000000000000000000000000000\n  depends: [python >=3]\n- pypi: https://h.invalid/six-1.17.0-py2.py3-none-any.whl\n  name: six\n  version: 1.17.0\n  sha256: 4721f391ed90541fddacab5acf947aa0d3dc7d27b2e1e8eda2be8970586c3274\n",
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
        name: "setup_py",
        run: setup_py,
        seeds: &[
            "L = '>=3.9'  # it\nsetup(x=\"a\\\"b\", y=''z, python_requires=L, **{'python_requires': r'>=3' ',<4'})\n",
            "#!/usr/bin/env python\nfrom setuptools import (setup,\n    find_packages)\nV = \"\"\"3\n.9\"\"\"\nsetup(\n    name='a',  # python_requires='no'\n    python_requires = '>=' + V,\n    install_requires=['flask>=2; python_version<\"3.8\"', u\"six\"],\n)\n",
            "import setuptools; REQ = {'python_requires': f'>={3}.9'}; setuptools.setup(**REQ)\n",
        ],
    },
    Target {
        name: "setup_cfg",
        run: setup_cfg,
        seeds: &[
            "[metadata]\nname = a\nversion = 1\n; note\n[options]\npython_requires = >=3.9\n    ,<4\ninstall_requires =\n    flask>=2\n    six; python_version < '3.8'\n[options.extras_require]\ntest = pytest\n",
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
        ],
    },
    Target {
        name: "deb_packages",
        run: deb_packages,
        seeds: &[
            "# libraries\nlibgl1\n  ffmpeg=7:7.1-1 curl # two\nlibpq-dev\n",
            ":repo:deb http://h.invalid/ x main\nhttps://h.invalid/a.deb\n",
            "[com.heroku.buildpacks.deb-packages]\ninstall = [\"libgl1\", { name = \"ffmpeg\", skip_dependencies = true }]\n[_]\nschema-version = \"0.2\"\n",
        ],
    },
    Target {
        name: "distribution",
        run: distribution,
        seeds: &[
            "Metadata-Version: 2.4\nName: My.Pkg\nVersion: 1.0\nSummary: One\nLicense-Expression: MIT OR (Apache-2.0 AND LicenseRef-Own)\nLicense: BSD\nClassifier: License :: OSI Approved :: MIT License\nClassifier: License :: OSI Approved :: BSD License\n\nText\n---\nWheel-Version: 1.0\nTag: py2.py3-none-any\nTag: cp313-cp313-manylinux_2_17_x86_64.manylinux2014_x86_64\n---\nmy_pkg/a.py,sha256=x,0\n\"my_pkg/b,\"\"c\"\".py\",,\n../../../bin/tool,,\nmy_pkg-1.0.dist-info/RECORD,,\n---\n{\"url\": \"https://me:s3cret@h/r.git\", \"vcs_info\": {\"vcs\": \"git\", \"commit_id\": \"abc\"}, \"archive_info\": {\"hash\": \"sha256=00\"}}",
        ],
    },
    Target {
        name: "copyrights",
        run: copyrights,
        seeds: &[
            "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\nFiles: *\nCopyright: 2020 A\nLicense: GPL-2+ or Artistic, and Expat\n text\n\nFiles: debian/*\nLicense: X11\n",
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
