//! Passwords and tokens of what is required reach no layer, no bill of materials, no cache and no message, with the real uv, git and pip and a server on
//! this machine that asks who asks.

#![allow(clippy::disallowed_methods, clippy::unwrap_used)] // a test looks at the machine as it is

mod support;

use std::path::Path;
use std::process::Command;

use support::{Bench, TestIndex, shared_cache};

const SECRET: &str = "s3cret-tok";
const BACKEND: &str = r#"import os, zipfile
def build_wheel(directory, config_settings=None, metadata_directory=None):
    name, info = "hoist_lib-1.5-py3-none-any.whl", "hoist_lib-1.5.dist-info/"
    with zipfile.ZipFile(os.path.join(directory, name), "w") as wheel:
        wheel.writestr("hoist_lib.py", "VERSION = '1.5'\n")
        wheel.writestr(info + "METADATA", "Metadata-Version: 2.4\nName: hoist-lib\nVersion: 1.5\nLicense-Expression: MIT\n")
        wheel.writestr(info + "WHEEL", "Wheel-Version: 1.0\nGenerator: own\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(info + "RECORD", "hoist_lib.py,,\n%sMETADATA,,\n%sWHEEL,,\n%sRECORD,,\n" % (info, info, info))
    return name
"#;

/// A bench where packages may be built, and a server with a wheel and a repository.
fn served() -> (Bench, TestIndex) {
    let mut bench = Bench::with_shared_cache();
    bench.built("");
    bench.set("HOIST_SOURCE_BUILDS", "");
    bench.set("PIP_RETRIES", "0");
    bench.wheel("hoist_other", "2", &[("hoist_other.py", b"")]);
    let source = bench.path("source");
    bench.write("source/backend.py", BACKEND);
    bench.write(
        "source/pyproject.toml",
        "[project]\nname = 'hoist-lib'\nversion = '1.5'\n[build-system]\nrequires = []\nbuild-backend = 'backend'\nbackend-path = ['.']\n",
    );
    git(&source, &["init", "--quiet"]);
    git(&source, &["add", "."]);
    git(&source, &["-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "-m", "first"]);
    let bare = bench.path("wheels/lib.git");
    git(&source, &["clone", "--quiet", "--bare", ".", &bare.display().to_string()]);
    git(&bare, &["update-server-info"]);
    let server = TestIndex::over(&bench.path("wheels"));
    (bench, server)
}

fn git(dir: &Path, arguments: &[&str]) {
    let done = Command::new("git").args(arguments).current_dir(dir).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

/// Files below a folder that hold the secret.
fn holders(dir: &Path) -> Vec<String> {
    let files = walkdir::WalkDir::new(dir).into_iter().flatten().filter(|entry| entry.file_type().is_file());
    let holds = |path: &Path| {
        let bytes = fs_err::read(path).unwrap_or_default();
        bytes.windows(SECRET.len()).any(|window| window == SECRET.as_bytes())
    };
    files.map(walkdir::DirEntry::into_path).filter(|path| holds(path)).map(|path| path.display().to_string()).collect()
}

fn assert_kept_nowhere(bench: &Bench, said: &str) {
    assert!(!said.contains(SECRET), "{said}");
    for dir in [bench.path("layers"), shared_cache().join("pip/uv-building"), shared_cache().join("pip/resolutions")] {
        assert_eq!(holders(&dir), Vec::<String>::new());
    }
}

#[test]
fn a_password_in_an_address_reaches_nothing_that_is_kept_or_said() {
    let (bench, server) = served();
    for login in [format!("me:{SECRET}"), SECRET.to_owned()] {
        let address = server.http.replace("://", &format!("://{login}@"));
        let requirements = format!(
            "hoist_lib @ git+{address}/secret/lib.git\nhoist_other @ {address}/secret/hoist_other-2-py3-none-any.whl\n"
        );
        let said = bench.built(&requirements);
        assert_kept_nowhere(&bench, &said);
        assert!(said.contains("warning: requirements.txt line 1 has a password or token in an address"), "{said}");
        assert!(bench.imports("hoist_lib, hoist_other"));
        let cyclonedx = fs_err::read_to_string(bench.path("layers/env.sbom.cdx.json")).unwrap();
        let spdx = fs_err::read_to_string(bench.path("layers/env.sbom.spdx.json")).unwrap();
        let place = server.http.clone();
        assert!(cyclonedx.contains(&format!("vcs_url=git%2B{place}/secret/lib.git%40")), "{cyclonedx}");
        assert!(spdx.contains(&format!("\"downloadLocation\":\"git+{place}/secret/lib.git@")), "{spdx}");
        let said = bench.built(&requirements);
        assert!(said.contains("2 packages, unchanged"), "{said}");
    }
}

#[test]
fn pip_in_uv_s_place_keeps_no_password_either() {
    let (bench, server) = served();
    let address = server.http.replace("://", &format!("://me:{SECRET}@"));
    let said = bench.built(format!(
        "--prefer-binary\nhoist_lib @ git+{address}/secret/lib.git\nhoist_other @ {address}/secret/hoist_other-2-py3-none-any.whl\n"
    ));
    assert!(said.contains("pip installs instead"), "{said}");
    assert_kept_nowhere(&bench, &said);
    assert!(bench.imports("hoist_lib, hoist_other"));
}

#[test]
fn a_wrong_token_is_explained_without_it() {
    let (bench, server) = served();
    let address = server.http.replace("://", &format!("://wrong-{SECRET}@"));
    let (code, said) = bench.build(format!("hoist_lib @ git+{address}/secret/lib.git\n"));
    assert!(code == 1 && said.contains("the repository does not take this token"), "{said}");
    assert!(said.contains("requirements.txt line 1: hoist_lib @ git+http://***@localhost"), "{said}");
    assert_kept_nowhere(&bench, &said);
    let (code, said) = bench.build(format!("hoist_other @ {address}/secret/hoist_other-2-py3-none-any.whl\n"));
    assert!(code == 1 && said.contains("401"), "{said}");
    assert_kept_nowhere(&bench, &said);
}

#[test]
fn a_binding_gives_the_login_of_a_repository_and_of_an_archive() {
    let (bench, server) = served();
    let requirements = format!(
        "hoist_lib @ git+{0}/secret/lib.git\nhoist_other @ {0}/secret/hoist_other-2-py3-none-any.whl\n",
        server.http
    );
    let repository = requirements.lines().next().unwrap();
    let (code, said) = bench.build(repository);
    assert!(code == 1 && said.contains("the repository wants credentials"), "{said}");
    bench.write("platform/bindings/own/type", "netrc");
    bench.write("platform/bindings/own/.netrc", format!("machine localhost login me password {SECRET}\n"));
    let said = bench.built(&requirements);
    assert!(!said.contains("has a password"), "{said}");
    assert_kept_nowhere(&bench, &said);
    assert!(bench.imports("hoist_lib, hoist_other"));
}
