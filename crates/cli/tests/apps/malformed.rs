//! Every manifest, malformed in every usual way: `hoist check` says the file and the line, in the words of the outcome, with its exit code. A project of
//! `fixtures/apps`, or one with nothing else, is copied and one file of it is changed.

use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use super::made;
use super::support::{Said, hoist, root_dir, run, tree};

/// A manifest, and where its lines are.
struct Manifest {
    /// The project that is right as it is; one of a program and a Procfile where it is empty.
    project: &'static str,
    file: &'static str,
    /// What the file says, where the project does not store it.
    text: &'static str,
    /// Other files that make it count.
    beside: &'static [(&'static str, &'static str)],
    /// A line of it that is a key of its own, and stands there once.
    line: &'static str,
    /// What takes the line's place where the syntax is wrong.
    broken: &'static str,
    /// What is said where the line stands twice; nothing where that does not matter.
    twice: &'static str,
    /// A line that no reader knows, behind the line; empty where each line means something.
    unknown: &'static str,
    /// Ten thousand of these more are read; none where a single one means something else.
    one_more: &'static str,
    /// Ways that this format takes, or that nobody can see.
    takes: &'static [&'static str],
    /// Whether it is refused in UTF-16: its specification has UTF-8 alone.
    is_utf8: bool,
    /// The exit code where it is refused.
    exit: i32,
}

/// What most have in common.
const USUAL: Manifest = Manifest {
    project: "",
    file: "",
    text: "",
    beside: &[],
    line: "",
    broken: "",
    twice: "duplicate",
    unknown: "",
    one_more: "",
    takes: &[],
    is_utf8: false,
    exit: 1,
};

const MANIFESTS: &[Manifest] = &[
    Manifest {
        project: "poetry-lock",
        file: "poetry.lock",
        unknown: "surprise = \"x\"",
        line: "lock-version = \"2.1\"",
        broken: "lock-version = \"2.1",
        one_more: "\n[[package]]\nname = \"more-{n}\"\nversion = \"1\"\noptional = false\ngroups = [\"main\"]\nfiles = []\n",
        ..USUAL
    },
    Manifest {
        project: "poetry-lock",
        file: "pyproject.toml",
        unknown: "surprise = \"x\"",
        line: "package-mode = false",
        broken: "package-mode = maybe",
        one_more: "\n[tool.poetry.group.g{n}.dependencies]\nfixture-more = \"*\"\n",
        ..USUAL
    },
    Manifest {
        project: "uv-lock",
        file: "uv.lock",
        unknown: "surprise = \"x\"",
        line: "revision = 3",
        broken: "revision = = 3",
        one_more: "\n[[package]]\nname = \"more-{n}\"\nversion = \"1\"\nsource = { registry = \"wheels\" }\n",
        ..USUAL
    },
    Manifest {
        project: "uv-lock",
        file: "pyproject.toml",
        unknown: "surprise = \"x\"",
        line: "version = \"1\"",
        broken: "version = 1.0.0",
        one_more: "\n[tool.own.g{n}]\n",
        ..USUAL
    },
    Manifest {
        project: "pdm-lock",
        file: "pdm.lock",
        unknown: "surprise = \"x\"",
        line: "lock_version = \"4.5.0\"",
        broken: "<<<<<<< HEAD",
        one_more: "\n[[package]]\nname = \"more-{n}\"\nversion = \"1\"\ngroups = [\"default\"]\nfiles = []\n",
        ..USUAL
    },
    Manifest {
        project: "pipenv-lock",
        file: "Pipfile.lock",
        unknown: "    \"surprise\": {},",
        line: "    \"_meta\": {\"hash\": {\"sha256\": \"00\"}, \"pipfile-spec\": 6, \"requires\": {}, \"sources\": []},",
        broken: "    \"_meta\": {\"hash\": 00},",
        ..USUAL
    },
    Manifest {
        project: "pipenv-lock",
        file: "Pipfile",
        line: "fixture-shop = \"*\"",
        broken: "fixture-shop = *",
        one_more: "more-{n} = \"*\"\n",
        ..USUAL
    },
    Manifest {
        project: "pylock",
        file: "pylock.toml",
        unknown: "surprise = \"x\"",
        line: "created-by = \"hand\"",
        broken: "created-by: hand",
        one_more: "\n[[packages]]\nname = \"more-{n}\"\nversion = \"1\"\n",
        ..USUAL
    },
    Manifest {
        project: "project",
        file: "pyproject.toml",
        unknown: "surprise = \"x\"",
        line: "version = \"1\"",
        broken: "version = ",
        ..USUAL
    },
    Manifest {
        file: "requirements.txt",
        text: "# ours\nsix==1.17.0\nclick\n",
        line: "six==1.17.0",
        broken: "six=1.17.0",
        twice: "",
        one_more: "more-{n}==1\n",
        takes: &["cut off"],
        ..USUAL
    },
    Manifest {
        file: "constraints.txt",
        text: "# ours\nsix<2\nclick\n",
        beside: &[("requirements.txt", "-c constraints.txt\nsix\n")],
        line: "six<2",
        broken: "six<<2",
        twice: "",
        one_more: "more-{n}<2\n",
        ..USUAL
    },
    Manifest {
        project: "conda-environment",
        file: "environment.yml",
        text: "channels: [conda-forge]\nname: a\ndependencies:\n  - python=3.11\n  - numpy\n",
        line: "name: a",
        broken: "name: a: b",
        twice: "name was said on line 2 already",
        unknown: "surprise: 1",
        one_more: "  - more-{n}\n",
        takes: &["cut off"],
        ..USUAL
    },
    Manifest {
        file: "package-list.txt",
        text: "# platform: linux-64\npython=3.11.9=h1_0\n",
        line: "python=3.11.9=h1_0",
        broken: "--file python",
        twice: "",
        one_more: "more-{n}=1=0\n",
        takes: &["cut off"],
        ..USUAL
    },
    Manifest {
        file: "conda-lock.yml",
        text: "version: 1\nmetadata:\n  content_hash: {linux-64: a}\n  channels:\n  - {url: conda-forge, used_env_vars: []}\n  platforms: [linux-64]\n  sources: [environment.yml]\npackage:\n- name: python\n  version: 3.11.9\n  manager: conda\n  platform: linux-64\n  dependencies: {}\n  url: https://packages.invalid/linux-64/python-3.11.9-h1_0.conda\n  hash: {md5: 0123456789abcdef0123456789abcdef}\n  category: main\n  optional: false\n",
        line: "  platforms: [linux-64]",
        broken: "  platforms: linux-64: x",
        unknown: "  surprise: 1",
        one_more: "- name: more-{n}\n  version: '1'\n  manager: conda\n  platform: linux-64\n  dependencies: {}\n  url: https://packages.invalid/linux-64/more-{n}-1-h1_0.conda\n  hash: {md5: 0123456789abcdef0123456789abcdef}\n  category: main\n  optional: false\n",
        ..USUAL
    },
    Manifest {
        file: "pixi.lock",
        text: "version: 6\nenvironments:\n  default:\n    channels:\n    - url: https://packages.invalid/c/\n    packages:\n      linux-64:\n      - conda: https://packages.invalid/c/linux-64/python-3.11.9-h1_0.conda\npackages:\n- conda: https://packages.invalid/c/linux-64/python-3.11.9-h1_0.conda\n  sha256: 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n",
        line: "version: 6",
        broken: "version: six",
        unknown: "surprise: 1",
        one_more: "- conda: https://packages.invalid/c/linux-64/more-{n}-1-h1_0.conda\n  sha256: 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n",
        ..USUAL
    },
    Manifest {
        file: "runtime.txt",
        text: "# ours\npython-3.11\n",
        line: "python-3.11",
        broken: "python-eleven",
        twice: "",
        one_more: "python-3.{n}\n",
        ..USUAL
    },
    Manifest {
        file: ".python-version",
        text: "# ours\n3.11\n",
        line: "3.11",
        broken: "3.x1",
        twice: "",
        one_more: "3.{n}\n",
        ..USUAL
    },
    Manifest {
        file: ".tool-versions",
        text: "# ours\npython 3.11.4\n",
        line: "python 3.11.4",
        broken: "python 3.x1",
        twice: "",
        unknown: "surprise 1",
        one_more: "surprise {n}\n",
        ..USUAL
    },
    Manifest {
        file: "mise.toml",
        text: "[tools]\npython = \"3.11\"\n",
        line: "python = \"3.11\"",
        broken: "python = 3.11.1",
        unknown: "surprise = 1",
        one_more: "[tools.x{n}]\nversion = \"1\"\n",
        ..USUAL
    },
    Manifest {
        file: "setup.py",
        text: "from setuptools import setup\nsetup(\n    name='a',\n    python_requires='>=3.9',\n)\n",
        line: "    python_requires='>=3.9',",
        broken: "    python_requires='=>3.9',",
        // It is not run: what Python says of it is said when it is built.
        twice: "",
        unknown: "    surprise=1,",
        one_more: "# {n}\n",
        takes: &["cut off"],
        ..USUAL
    },
    Manifest {
        file: "setup.cfg",
        text: "[metadata]\nname = a\n[options]\npython_requires = >=3.9\n",
        beside: &[("setup.py", "from setuptools import setup\nsetup()\n")],
        line: "python_requires = >=3.9",
        broken: "python_requires = =>3.9",
        unknown: "surprise = 1",
        one_more: "x{n} = 1\n",
        ..USUAL
    },
    Manifest {
        file: "Procfile",
        text: "# ours\nweb: python main.py\n",
        line: "web: python main.py",
        broken: "web = python main.py",
        twice: "",
        one_more: "w{n}: python main.py\n",
        takes: &["cut off"],
        ..USUAL
    },
    Manifest {
        file: "apt.txt",
        text: "# ours\nlibgl1\n",
        line: "libgl1",
        broken: "lib_gl!1",
        twice: "",
        takes: &["cut off"],
        ..USUAL
    },
    Manifest {
        file: "Aptfile",
        text: "# ours\nlibgl1\n",
        line: "libgl1",
        broken: ":repo:deb http://packages.invalid x main",
        twice: "",
        takes: &["cut off"],
        ..USUAL
    },
    Manifest {
        file: "project.toml",
        text: "[_]\nschema-version = \"0.2\"\n[com.heroku.buildpacks.deb-packages]\ninstall = [\"libgl1\"]\n[com.acme]\nx = 1\n",
        line: "install = [\"libgl1\"]",
        broken: "install = [libgl1]",
        one_more: "[[io.buildpacks.build.env]]\nname = \"A{n}\"\nvalue = \"b\"\n",
        is_utf8: true,
        exit: 2,
        ..USUAL
    },
    Manifest {
        file: ".condarc",
        text: "channels: [a]\nshow_channel_urls: true\n",
        beside: &[("environment.yml", "dependencies: [python, numpy]\n")],
        line: "channels: [a]",
        broken: "channels: a: b",
        twice: "channels was said on line 1 already",
        unknown: "surprise: 1",
        one_more: "x{n}: 1\n",
        ..USUAL
    },
];

/// Makes the bytes of a manifest from its text.
type Change = fn(&Manifest, &str) -> Vec<u8>;

/// What is checked, and what must come out.
struct Way {
    name: &'static str,
    change: Change,
    /// `LINE` is the number of the changed line.
    says: &'static [&'static str],
}

const WAYS: &[Way] = &[
    Way { name: "syntax", change: |it, text| text.replace(it.line, it.broken).into(), says: &["FILE line LINE"] },
    Way { name: "latin-1", change: |_, text| [b"# \xE9\n", text.as_bytes()].concat(), says: &["FILE line 1", "UTF-8"] },
    Way { name: "binary", change: |_, _| b"\x00\x01\x02\x7FELF".to_vec(), says: &["FILE line 1"] },
    Way {
        name: "twice",
        change: |it, text| text.replace(it.line, &format!("{0}\n{0}", it.line)).into(),
        says: &["FILE line", "TWICE"],
    },
    Way {
        name: "cut off",
        change: |it, text| text[..text.find(it.line).unwrap_or(0) + it.line.len() - 1].into(),
        says: &["FILE line"],
    },
];

/// Ways that do not matter.
const HARMLESS: &[(&str, Change)] = &[
    ("utf-8 with a mark", |_, text| [b"\xEF\xBB\xBF", text.as_bytes()].concat()),
    ("utf-16", |_, text| "\u{FEFF}".encode_utf16().chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect()),
    ("line ends of Windows", |_, text| text.replace('\n', "\r\n").into()),
    ("an unknown field", |it, text| text.replace(it.line, &format!("{}\n{}", it.line, it.unknown)).into()),
    ("ten thousand more", |it, text| {
        (0..10_000).fold(text.to_owned(), |text, n| text + &it.one_more.replace("{n}", &n.to_string())).into()
    }),
];

/// What a command says, with each place as most pages write it: `FILE line 3`. In files whose one line counts it needs no number, and programs are told
/// it all the same.
fn told(said: &Said, json: &serde_json::Value) -> String {
    let mut all = format!("{}{}", said.stdout, said.stderr).replace(", line ", " line ").replace(": line ", " line ");
    for problem in json["problems"].as_array().into_iter().flatten() {
        if let (Some(file), Some(line)) = (problem["file"].as_str(), problem["line"].as_u64()) {
            let _ = write!(all, "\n{file} line {line}: {}", problem["message"]);
        }
    }
    all
}

impl Manifest {
    fn stored(&self) -> String {
        if self.text.is_empty() {
            fs_err::read_to_string(root_dir().join("fixtures/apps").join(self.project).join(self.file)).unwrap()
        } else {
            self.text.to_owned()
        }
    }

    /// The project with other bytes in the file, or with a link in its place.
    fn write(&self, app_dir: &Path, bytes: Option<Vec<u8>>) {
        if self.project.is_empty() {
            fs_err::create_dir_all(app_dir).unwrap();
            fs_err::write(app_dir.join("main.py"), "print(1)\n").unwrap();
            fs_err::write(app_dir.join("Procfile"), "web: python main.py\n").unwrap();
        } else {
            made::copy(&root_dir().join("fixtures/apps").join(self.project), app_dir).unwrap();
        }
        for (file, text) in self.beside {
            fs_err::write(app_dir.join(file), text).unwrap();
        }
        let _ = fs_err::remove_file(app_dir.join(self.file));
        match bytes {
            Some(bytes) => fs_err::write(app_dir.join(self.file), bytes).unwrap(),
            None => std::os::unix::fs::symlink("/etc/hostname", app_dir.join(self.file)).unwrap(),
        }
    }
}

/// Answers the differences of one manifest.
fn differences(it: &Manifest, scratch_dir: &Path) -> Vec<String> {
    let text = it.stored();
    let line = text.lines().position(|line| line == it.line).map_or(0, |index| index + 1);
    assert!(line > 0, "{} of {} has no line {:?}", it.file, it.project, it.line);
    let mut found = Vec::new();
    let mut check = |name: &str, bytes: Option<Vec<u8>>, exit: i32, says: &[&str]| {
        let app_dir = scratch_dir.join(format!("{}-{}-{name}", it.project, it.file).replace(' ', "-"));
        it.write(&app_dir, bytes);
        let started = Instant::now();
        let said = run(hoist().arg("check").arg(&app_dir));
        let took = started.elapsed();
        let json = run(hoist().args(["check", "--json"]).arg(&app_dir));
        let all = told(&said, &serde_json::from_str(&json.stdout).unwrap_or_default());
        let is_told = |what: &str| {
            all.contains(&what.replace("FILE", it.file).replace("LINE", &line.to_string()).replace("TWICE", it.twice))
        };
        let is_calm = !all.contains("panicked at") && took < Duration::from_secs(10);
        if said.code != exit || json.code != exit || !says.iter().all(|what| is_told(what)) || !is_calm {
            found.push(format!(
                "{} of {}, {name}: exit code {} after {took:?}, wanted {exit} and {says:?} (line {line}):\n{all}",
                it.file, it.project, said.code,
            ));
        }
    };
    for way in WAYS {
        let is_fine = it.takes.contains(&way.name) || (way.name == "twice" && it.twice.is_empty());
        let (exit, says) = if is_fine { (0, &[][..]) } else { (it.exit, way.says) };
        check(way.name, Some((way.change)(it, &text)), exit, says);
    }
    for (name, change) in HARMLESS {
        match *name {
            "ten thousand more" if it.one_more.is_empty() => {}
            "an unknown field" if it.unknown.is_empty() => {}
            "utf-16" if it.is_utf8 => check(name, Some(change(it, &text)), it.exit, &["FILE line 1"]),
            name => check(name, Some(change(it, &text)), 0, &[]),
        }
    }
    check("a link out of the app", None, 2, &["the link FILE leads out of the source"]);
    found
}

#[test]
fn every_manifest_malformed_in_every_usual_way_is_named_with_its_line() {
    let scratch_dir = tree(&[]);
    let found: Vec<String> = MANIFESTS.iter().flat_map(|manifest| differences(manifest, scratch_dir.path())).collect();
    assert!(found.is_empty(), "{} differences\n{}", found.len(), found.join("\n"));
}

#[test]
fn more_packages_of_debian_than_anybody_needs_are_refused_with_their_file() {
    let app = tree(&[("main.py", "print(1)\n"), ("Procfile", "web: python main.py\n")]);
    let list = (0..10_000).fold(String::new(), |list, n| list + &format!("more{n}\n"));
    fs_err::write(app.path().join("apt.txt"), list).unwrap();
    let said = run(hoist().arg("check").arg(app.path())).code(1);
    assert!(said.stdout.contains("apt.txt: 10000 packages in all: at most 500 may be named"), "{}", said.stdout);
}
