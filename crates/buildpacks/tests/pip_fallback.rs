//! What uv refuses and pip takes, with the real ones.

#![allow(clippy::disallowed_methods, clippy::unwrap_used)] // a test looks at the machine as it is

mod support;

use std::process::Command;

use support::Bench;

fn bench() -> Bench {
    let bench = Bench::with_shared_cache();
    bench.built("");
    bench
}

#[test]
fn an_option_behind_a_requirement_is_pips_and_never_where_the_shared_cache_can_be_written() {
    let mut bench = bench();
    let wheel = bench.wheel("hoist_optional", "1", &[("hoist_optional.py", b"x = 1\n")]);
    fs_err::copy(wheel, bench.path("app/hoist_optional-1-py3-none-any.whl")).unwrap();
    let requirements = "./hoist_optional-1-py3-none-any.whl --config-settings=\"a=b\"\n";
    let (code, said) = bench.build(requirements);
    assert!(code == 75 && said.contains("uv does not take an option after a requirement"), "{said}");
    bench.set("HOIST_SOURCE_BUILDS", "allow");
    let said = bench.built(requirements);
    assert!(said.contains("uv does not take an option after a requirement; pip installs instead"), "{said}");
    assert!(bench.imports("hoist_optional"));
    assert!(bench.path("layers/env/lib").read_dir().unwrap().flatten().all(|python| {
        let site = python.path().join("site-packages");
        site.join("__pycache__").exists() && !site.join("pip").exists()
    }));
    let metadata = fs_err::read_to_string(bench.path("layers/env.toml")).unwrap();
    assert!(metadata.contains("hoist-optional @ file://"), "{metadata}");
}

#[test]
fn an_editable_repository_is_pips() {
    let mut bench = bench();
    bench.set("HOIST_SOURCE_BUILDS", "allow");
    let repository = bench.path("repository");
    bench.write(
        "repository/setup.py",
        "from setuptools import setup\nsetup(name='hoist-edited', version='1', py_modules=['hoist_edited'])\n",
    );
    bench.write("repository/hoist_edited.py", "x = 7\n");
    for arguments in [
        &["init", "--quiet"][..],
        &["add", "."],
        &["-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "-m", "first"],
    ] {
        assert!(Command::new("git").args(arguments).current_dir(&repository).status().unwrap().success());
    }
    let said = bench.built(format!("-e git+file://{}#egg=hoist-edited\n", repository.display()));
    assert!(
        said.contains("uv does not take an editable requirement that is no folder; pip installs instead"),
        "{said}"
    );
    assert_eq!(bench.prints("import hoist_edited; print(hoist_edited.x)"), "7");
}

#[test]
fn a_folder_of_the_app_is_built_by_uv() {
    let mut bench = bench();
    bench.write(
        "app/own/setup.py",
        "from setuptools import setup\nsetup(name='hoist-own', version='1', py_modules=['hoist_own'])\n",
    );
    bench.write("app/own/hoist_own.py", "x = 9\n");
    let (code, said) = bench.build("./own\n");
    assert!(code == 75 && said.contains("requirements.txt line 1: ./own"), "{said}");
    bench.set("HOIST_SOURCE_BUILDS", "allow");
    let said = bench.built("./own\n");
    assert!(said.contains("Building hoist-own") && !said.contains("pip installs instead"), "{said}");
    assert_eq!(bench.prints("import hoist_own; print(hoist_own.x)"), "9");
}

#[test]
fn what_pip_refuses_as_well_is_explained() {
    let mut bench = bench();
    bench.set("HOIST_SOURCE_BUILDS", "allow");
    let (code, said) = bench.build("six\n--no-deps\n");
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("requirements.txt line 2: --no-deps") && said.contains("remove it from the line"), "{said}");
    let (code, said) = bench.build("hg+https://host.invalid/lib#egg=lib\n");
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("requirements.txt line 1: hg+") && said.contains("the build image has no hg"), "{said}");
}

#[test]
fn wheels_may_be_preferred() {
    let mut bench = bench();
    bench.set("HOIST_SOURCE_BUILDS", "allow");
    let said = bench.built("--prefer-binary\nsix\n");
    assert!(said.contains("uv does not know --prefer-binary; pip installs instead"), "{said}");
    bench.set("HOIST_SOURCE_BUILDS", "deny");
    bench.set("PIP_PREFER_BINARY", "1");
    let said = bench.built("six>=1\n");
    assert!(!said.contains("pip installs"), "with wheels alone uv does as asked: {said}");
}

#[test]
fn settings_that_build_from_source_are_seen_beforehand() {
    let mut bench = bench();
    bench.set("PIP_NO_BINARY", "six");
    let (code, said) = bench.build("six\n");
    assert!(code == 75 && said.contains("PIP_NO_BINARY is six"), "{said}");
    bench.set("HOIST_SOURCE_BUILDS", "allow");
    bench.built("six\n");
    let metadata = fs_err::read_to_string(bench.path("layers/env.toml")).unwrap();
    let is_source = metadata.contains("\"six==1") && metadata.contains("  # built from six-1.");
    assert!(is_source && !metadata.contains(".whl"), "no wheel is claimed: {metadata}");
}

#[test]
fn no_index_is_asked_when_none_may_be() {
    let mut bench = bench();
    bench.offline();
    bench.wheel("hoist_other", "1", &[("hoist_other.py", b"")]);
    let (code, said) = bench.build("six\n");
    assert!(code == 1 && said.contains("six"), "the index of the machine has it, and is not asked: {said}");
    bench.built("hoist_other\n");
}

#[test]
fn a_file_of_constraints_that_changed_is_heeded() {
    let mut bench = bench();
    bench.offline();
    for version in ["1", "2"] {
        bench.wheel("hoist_other", version, &[("hoist_other.py", format!("x = {version}\n").as_bytes())]);
    }
    bench.set("PIP_CONSTRAINT", "limits.txt");
    bench.write("app/limits.txt", "hoist-other==1\n");
    bench.built("hoist_other\n");
    assert_eq!(bench.prints("import hoist_other; print(hoist_other.x)"), "1");
    bench.write("app/limits.txt", "hoist-other==2\n");
    let said = bench.built("hoist_other\n");
    assert!(said.contains("a file of constraints changed"), "{said}");
    assert_eq!(bench.prints("import hoist_other; print(hoist_other.x)"), "2");
}

#[test]
fn a_wheel_of_the_app_that_changed_is_installed_again() {
    let mut bench = bench();
    bench.offline();
    for text in ["x = 1\n", "x = 22\n"] {
        let wheel = bench.wheel("hoist_local", "1", &[("hoist_local.py", text.as_bytes())]);
        bench.write("app/hoist_local-1-py3-none-any.whl", fs_err::read(wheel).unwrap());
        // As staging leaves it: the same time for every file.
        let path = bench.path("app/hoist_local-1-py3-none-any.whl");
        assert!(Command::new("touch").args(["-d", "1980-01-01T00:00:01Z"]).arg(path).status().unwrap().success());
        bench.built("./hoist_local-1-py3-none-any.whl\n");
    }
    assert_eq!(bench.prints("import hoist_local; print(hoist_local.x)"), "22");
}
