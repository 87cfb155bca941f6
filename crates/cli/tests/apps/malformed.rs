//! Every manifest, malformed in every usual way: `hoist check` says the file and the line, in the words of the outcome, with its exit code. A project of
//! `fixtures/apps` is copied and one file of it is changed.

use std::path::Path;
use std::time::{Duration, Instant};

use super::made;
use super::support::{hoist, root_dir, run, tree};

/// A manifest, and where its lines are.
struct Manifest {
    /// The project that is right as it is.
    project: &'static str,
    file: &'static str,
    /// A line of it that is a key of its own, and stands there once.
    line: &'static str,
    /// What takes the line's place where the syntax is wrong.
    broken: &'static str,
    /// Ten thousand of these more are read.
    one_more: &'static str,
}

const MANIFESTS: &[Manifest] = &[
    Manifest {
        project: "poetry-lock",
        file: "poetry.lock",
        line: "lock-version = \"2.1\"",
        broken: "lock-version = \"2.1",
        one_more: "\n[[package]]\nname = \"more-{n}\"\nversion = \"1\"\noptional = false\ngroups = [\"main\"]\nfiles = []\n",
    },
    Manifest {
        project: "poetry-lock",
        file: "pyproject.toml",
        line: "package-mode = false",
        broken: "package-mode = maybe",
        one_more: "\n[tool.poetry.group.g{n}.dependencies]\nfixture-more = \"*\"\n",
    },
    Manifest {
        project: "uv-lock",
        file: "uv.lock",
        line: "revision = 3",
        broken: "revision = = 3",
        one_more: "\n[[package]]\nname = \"more-{n}\"\nversion = \"1\"\nsource = { registry = \"wheels\" }\n",
    },
    Manifest {
        project: "uv-lock",
        file: "pyproject.toml",
        line: "version = \"1\"",
        broken: "version = 1.0.0",
        one_more: "\n[tool.own.g{n}]\n",
    },
    Manifest {
        project: "pdm-lock",
        file: "pdm.lock",
        line: "lock_version = \"4.5.0\"",
        broken: "<<<<<<< HEAD",
        one_more: "\n[[package]]\nname = \"more-{n}\"\nversion = \"1\"\ngroups = [\"default\"]\nfiles = []\n",
    },
    Manifest {
        project: "pipenv-lock",
        file: "Pipfile.lock",
        line: "    \"_meta\": {\"hash\": {\"sha256\": \"00\"}, \"pipfile-spec\": 6, \"requires\": {}, \"sources\": []},",
        broken: "    \"_meta\": {\"hash\": 00},",
        one_more: "",
    },
    Manifest {
        project: "pipenv-lock",
        file: "Pipfile",
        line: "fixture-shop = \"*\"",
        broken: "fixture-shop = *",
        one_more: "more-{n} = \"*\"\n",
    },
    Manifest {
        project: "pylock",
        file: "pylock.toml",
        line: "created-by = \"hand\"",
        broken: "created-by: hand",
        one_more: "\n[[packages]]\nname = \"more-{n}\"\nversion = \"1\"\n",
    },
    Manifest {
        project: "project",
        file: "pyproject.toml",
        line: "version = \"1\"",
        broken: "version = ",
        one_more: "",
    },
];

/// Makes the bytes of a manifest from its text.
type Change = fn(&Manifest, &str) -> Vec<u8>;

/// What is checked, and what must come out.
struct Way {
    name: &'static str,
    change: Change,
    exit: i32,
    /// `LINE` is the number of the changed line.
    says: &'static [&'static str],
}

const WAYS: &[Way] = &[
    Way {
        name: "syntax",
        change: |it, text| text.replace(it.line, it.broken).into(),
        exit: 1,
        says: &["FILE line LINE"],
    },
    Way {
        name: "latin-1",
        change: |_, text| [b"# \xE9\n", text.as_bytes()].concat(),
        exit: 1,
        says: &["FILE", "UTF-8"],
    },
    Way { name: "binary", change: |_, _| b"\x00\x01\x02\x7FELF".to_vec(), exit: 1, says: &["FILE"] },
    Way {
        name: "twice",
        change: |it, text| text.replace(it.line, &format!("{0}\n{0}", it.line)).into(),
        exit: 1,
        says: &["FILE line", "duplicate"],
    },
    Way {
        name: "cut off",
        change: |it, text| text[..text.find(it.line).unwrap_or(0) + it.line.len() - 1].into(),
        exit: 1,
        says: &["FILE"],
    },
];

/// Ways that do not matter.
const HARMLESS: &[(&str, Change)] = &[
    ("utf-8 with a mark", |_, text| [b"\xEF\xBB\xBF", text.as_bytes()].concat()),
    ("utf-16", |_, text| "\u{FEFF}".encode_utf16().chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect()),
    ("line ends of Windows", |_, text| text.replace('\n', "\r\n").into()),
    ("ten thousand more", |it, text| {
        (0..10_000).fold(text.to_owned(), |text, n| text + &it.one_more.replace("{n}", &n.to_string())).into()
    }),
];

/// Answers the differences of one manifest.
fn differences(it: &Manifest, scratch_dir: &Path) -> Vec<String> {
    let text = fs_err::read_to_string(root_dir().join("fixtures/apps").join(it.project).join(it.file)).unwrap();
    let line = text.lines().position(|line| line == it.line).map_or(0, |index| index + 1);
    assert!(line > 0, "{} of {} has no line {:?}", it.file, it.project, it.line);
    let mut found = Vec::new();
    let mut check = |name: &str, bytes: Option<Vec<u8>>, exit: i32, says: &[&str]| {
        let app_dir = scratch_dir.join(format!("{}-{}-{name}", it.project, it.file).replace(' ', "-"));
        made::copy(&root_dir().join("fixtures/apps").join(it.project), &app_dir).unwrap();
        fs_err::remove_file(app_dir.join(it.file)).unwrap();
        match bytes {
            Some(bytes) => fs_err::write(app_dir.join(it.file), bytes).unwrap(),
            None => std::os::unix::fs::symlink("/etc/hostname", app_dir.join(it.file)).unwrap(),
        }
        let started = Instant::now();
        let said = run(hoist().arg("check").arg(&app_dir));
        let all = format!("{}{}", said.stdout, said.stderr);
        let told = |what: &str| all.contains(&what.replace("FILE", it.file).replace("LINE", &line.to_string()));
        let is_calm = !all.contains("panicked at") && started.elapsed() < Duration::from_secs(10);
        if said.code != exit || !says.iter().all(|what| told(what)) || !is_calm {
            found.push(format!(
                "{} of {}, {name}: exit code {} after {:?}, wanted {exit} and {says:?} (line {line}):\n{all}",
                it.file,
                it.project,
                said.code,
                started.elapsed(),
            ));
        }
    };
    for way in WAYS {
        check(way.name, Some((way.change)(it, &text)), way.exit, way.says);
    }
    for (name, change) in HARMLESS {
        check(name, Some(change(it, &text)), 0, &[]);
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
