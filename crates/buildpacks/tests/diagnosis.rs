//! What a person reads when packages cannot be installed, for each kind of failure and each manager, provoked with the real uv and the real pip
//! against an index of this machine.

#![allow(clippy::disallowed_methods, clippy::unwrap_used)] // a test looks at the machine as it is

mod support;

use support::{Bench, TestIndex};

/// A bench that has fetched uv, with an empty app.
fn ready() -> Bench {
    let bench = Bench::with_shared_cache();
    bench.built("");
    fs_err::remove_file(bench.path("app/requirements.txt")).unwrap();
    bench
}

/// A build against an index with the wheels of a folder.
struct World {
    bench: Bench,
    _index: TestIndex,
}

impl World {
    fn new(make: impl FnOnce(&Bench)) -> Self {
        let mut bench = ready();
        make(&bench);
        let index = TestIndex::over(&bench.path("wheels"));
        bench.set("PIP_INDEX_URL", format!("{}/dated/simple", index.http));
        bench.set("PIP_RETRIES", "0");
        bench.set("PIP_FIND_LINKS", "");
        Self { bench, _index: index }
    }

    #[track_caller]
    fn page(&self, requirements: &str) -> String {
        let (code, said) = self.bench.build(requirements);
        assert_eq!(code, 1, "{said}");
        said[said.find("Error while").unwrap()..].to_owned()
    }
}

#[track_caller]
fn assert_says(page: &str, words: &[&str]) {
    for words in words {
        assert!(page.contains(words), "{words:?} is not in\n{page}");
    }
}

fn three_versions(bench: &Bench) {
    for version in ["1.0", "1.5", "3.0"] {
        bench.wheel("acme", version, &[("acme.py", b"")]);
    }
}

#[test]
fn a_version_that_is_not_there_is_told_with_its_neighbours() {
    let world = World::new(three_versions);
    let page = world.page("acme==2.0\n");
    assert_says(
        &page,
        &["requirements.txt line 1: acme==2.0", "no version ==2.0", "the nearest versions are 1.5 and 3.0"],
    );
    assert_says(&world.page("acme>=4\n"), &["requirements.txt line 1: acme>=4", "3.0"]);
}

#[test]
fn a_name_that_is_none_is_told_with_what_is_meant() {
    let world = World::new(three_versions);
    assert_says(
        &world.page("acme\nsklearn==1.0\n"),
        &["requirements.txt line 2: sklearn==1.0", "require `scikit-learn` instead"],
    );
    assert_says(&world.page("bs4\n"), &["comes with `beautifulsoup4`"]);
    assert_says(&world.page("PIL\n"), &["comes with `pillow`"]);
    assert_says(&world.page("sqlite3\n"), &["the module is part of Python itself", "remove the line"]);
    assert_says(&world.page("numpi\n"), &["did you mean one of these: numpy"]);
    assert_says(&world.page("own-thing-of-ours\n"), &["PIP_EXTRA_INDEX_URL"]);
}

#[test]
fn sides_that_do_not_fit_are_both_told() {
    let world = World::new(|bench| {
        three_versions(bench);
        bench.wheel_of("shop", "1", "py3-none-any", "Requires-Dist: acme>=3\n", &[("shop.py", b"")]);
    });
    let page = world.page("shop==1\nacme==1.5\n");
    assert_says(
        &page,
        &[
            "requirements.txt line 2: acme==1.5",
            "requirements.txt line 1: shop==1",
            "needs acme>=3",
            "no version of acme satisfies",
        ],
    );
}

#[test]
fn another_python_is_asked_for_where_this_one_was_chosen() {
    let world = World::new(|bench| {
        bench.wheel_of("late", "2", "py3-none-any", "Requires-Python: >=3.99\n", &[("late.py", b"")]);
        bench.wheel("late", "1", &[("late.py", b"")]);
    });
    assert_says(&world.page("late==2\n"), &["requirements.txt line 1: late==2", "wants Python >=3.99"]);
    assert!(!world.page("late==2\n").contains("or require late==2"), "it does not run here");
}

#[test]
fn wheels_for_other_machines_are_told() {
    let world = World::new(|bench| {
        bench.wheel_of("wind", "1", "py3-none-win_amd64", "", &[("wind.py", b"")]);
        bench.wheel_of("old", "1", "cp27-cp27m-manylinux1_x86_64", "", &[("old.py", b"")]);
    });
    assert_says(&world.page("wind==1\n"), &["requirements.txt line 1: wind==1", "has no wheel for", "made for Linux"]);
    assert_says(&world.page("old==1\n"), &["requirements.txt line 1: old==1", "no source distribution"]);
}

const ZEROS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// The buildpack, the files of an app, the command that locks anew.
type Lock = (&'static str, Vec<(&'static str, String)>, &'static str);

/// A lock of each manager for acme 1.0, with a hash that is not its file's.
fn locks() -> Vec<Lock> {
    let project =
        "[project]\nname = \"shop\"\nversion = \"1\"\nrequires-python = \">=3.9\"\ndependencies = [\"acme==1.0\"]\n";
    let wheel = "acme-1.0-py3-none-any.whl";
    let file = format!("{{file = \"{wheel}\", hash = \"sha256:{ZEROS}\"}}");
    vec![
        (
            "hoist/uv",
            vec![
                ("pyproject.toml", project.to_owned()),
                ("uv.lock", format!("version = 1\nrequires-python = \">=3.9\"\n[[package]]\nname = \"acme\"\nversion = \"1.0\"\nsource = {{ registry = \"https://index.invalid/simple\" }}\nwheels = [{{ url = \"https://index.invalid/{wheel}\", hash = \"sha256:{ZEROS}\" }}]\n[[package]]\nname = \"shop\"\nversion = \"1\"\nsource = {{ virtual = \".\" }}\ndependencies = [{{ name = \"acme\" }}]\n[package.metadata]\nrequires-dist = [{{ name = \"acme\", specifier = \"==1.0\" }}]\n")),
            ],
            "uv lock --upgrade-package acme",
        ),
        (
            "hoist/poetry",
            vec![
                ("pyproject.toml", "[tool.poetry]\nname = \"shop\"\nversion = \"1\"\npackage-mode = false\n[tool.poetry.dependencies]\npython = \">=3.9\"\nacme = \"1.0\"\n".to_owned()),
                ("poetry.lock", format!("[[package]]\nname = \"acme\"\nversion = \"1.0\"\ndescription = \"\"\noptional = false\npython-versions = \"*\"\ngroups = [\"main\"]\nfiles = [\n    {file},\n]\n\n[metadata]\nlock-version = \"2.1\"\npython-versions = \">=3.9\"\ncontent-hash = \"00\"\n")),
            ],
            "poetry update --lock acme",
        ),
        (
            "hoist/pdm",
            vec![
                ("pyproject.toml", format!("{project}[tool.pdm]\ndistribution = false\n")),
                ("pdm.lock", format!("[metadata]\ngroups = [\"default\"]\nstrategy = [\"inherit_metadata\"]\nlock_version = \"4.5.0\"\ncontent_hash = \"sha256:00\"\n\n[[package]]\nname = \"acme\"\nversion = \"1.0\"\ngroups = [\"default\"]\nfiles = [\n    {file},\n]\n")),
            ],
            "pdm update --no-sync acme",
        ),
        (
            "hoist/pipenv",
            vec![
                ("Pipfile", "[packages]\nacme = \"==1.0\"\n".to_owned()),
                ("Pipfile.lock", format!("{{\"_meta\": {{\"hash\": {{\"sha256\": \"00\"}}, \"pipfile-spec\": 6, \"requires\": {{}}, \"sources\": []}}, \"default\": {{\"acme\": {{\"hashes\": [\"sha256:{ZEROS}\"], \"version\": \"==1.0\"}}}}, \"develop\": {{}}}}\n")),
            ],
            "pipenv upgrade acme",
        ),
        (
            "hoist/pylock",
            vec![("pylock.toml", format!("lock-version = \"1.0\"\ncreated-by = \"x\"\n[[packages]]\nname = \"acme\"\nversion = \"1.0\"\nwheels = [{{name = \"{wheel}\", url = \"https://index.invalid/{wheel}\", hashes = {{sha256 = \"{ZEROS}\"}}}}]\n"))],
            "hoist check --lock pylock.toml",
        ),
        (
            "hoist/pip",
            vec![("requirements.txt", format!("#    pip-compile --generate-hashes requirements.in\nacme==1.0 \\\n    --hash=sha256:{ZEROS}\n"))],
            "pip-compile --generate-hashes requirements.in",
        ),
    ]
}

#[test]
fn a_file_with_another_hash_is_told_with_what_locks_anew() {
    for (id, files, command) in locks() {
        let world = World::new(three_versions);
        world.bench.buildpack(id);
        for (name, text) in &files {
            world.bench.write(&format!("app/{name}"), text);
        }
        let (code, said) = world.bench.build_app();
        assert_eq!(code, 1, "{id}: {said}");
        let lock = files.last().unwrap().0;
        let place = format!("{lock} line ");
        assert_says(
            &said,
            &[&place, "acme==1.0", "another hash than", &format!("wanted sha256:{ZEROS}"), "got    sha256:", command],
        );
    }
}

/// pip's own words, where uv does not take the requirements.
#[test]
fn pip_says_too_why_an_index_gives_nothing() {
    let index = TestIndex::start();
    let mut bench = ready();
    bench.set("HOIST_SOURCE_BUILDS", "allow");
    bench.set("PIP_RETRIES", "0");
    bench.set("PIP_FIND_LINKS", "");
    let mut page = |url: String| {
        bench.set("PIP_INDEX_URL", url);
        let (code, said) = bench.build("flask --config-settings=\"a=b\"\n");
        assert!(code == 1 && said.contains("pip installs instead"), "{code} {said}");
        said[said.find("Error while").unwrap()..].to_owned()
    };
    let with_credentials = index.http.replace("://", "://me:s3cret-word@");
    let unauthorised = page(format!("{with_credentials}/401/simple"));
    assert_says(
        &unauthorised,
        &["answers 401 Unauthorized", "its address comes from the variable PIP_INDEX_URL", "pypirc"],
    );
    assert!(!unauthorised.contains("s3cret-word"), "{unauthorised}");
    assert_says(&page(format!("{}/403/simple", index.http)), &["answers 403 Forbidden"]);
    assert_says(&page(format!("{}/500/simple", index.http)), &["the index itself has failed"]);
    let untrusted = page(format!("{}/simple", index.https));
    assert_says(
        &untrusted,
        &["shows a certificate that nobody known here signed", "SSL_CERT_FILE", "`ca-certificates` binding"],
    );
    assert!(!untrusted.contains("has no `flask`"), "{untrusted}");
    assert_says(
        &page("https://index.invalid/simple".to_owned()),
        &["the name in https://index.invalid has no address"],
    );
    assert_says(&page("http://127.0.0.1:9/simple".to_owned()), &["does not answer"]);
}

#[test]
fn the_binding_that_names_an_index_is_told() {
    let index = TestIndex::start();
    let mut bench = ready();
    bench.set("PIP_RETRIES", "0");
    bench.set("PIP_INDEX_URL", "");
    bench.set("PIP_FIND_LINKS", "");
    bench.write("platform/bindings/company/type", "pip\n");
    bench.write("platform/bindings/company/pip.conf", format!("[global]\nindex-url = {}/403/simple\n", index.http));
    let (code, said) = bench.build("flask\n");
    assert_eq!(code, 1, "{said}");
    assert_says(
        &said,
        &["answers 403 Forbidden", "its address comes from PIP_INDEX_URL, in pip.conf of the binding `company`"],
    );
}
