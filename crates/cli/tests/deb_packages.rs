//! Packages of Debian that an app asks for: programs, libraries, and headers to build with, from the mirror of the machine.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // helpers fail as loudly as their tests

mod support;

use support::{Said, hoist, run, tree};

fn build(dir: &tempfile::TempDir, name: &str, more: &[&str]) -> Said {
    run(hoist().args(["build", name, "--path", "."]).args(more).current_dir(dir.path()))
}

#[test]
fn a_program_of_debian_runs_in_the_image_and_an_unchanged_one_is_not_looked_for_again() {
    let dir =
        tree(&[("main.py", "print(1)\n"), ("apt.txt", "# reads JSON\njq\n"), ("Procfile", "web: jq -n '1 + 1'\n")]);
    build(&dir, "test-deb", &["--clear-cache"])
        .ok()
        .says("jq ")
        .says("(apt.txt line 2)")
        .says("3 packages for the image");
    assert_eq!(run(hoist().args(["run", "--network", "none", "test-deb"])).ok().stdout, "2\n");
    let found = run(hoist().args([
        "run",
        "--entrypoint",
        "launcher",
        "test-deb",
        "--",
        "sh",
        "-c",
        "command -v jq; echo $LD_LIBRARY_PATH",
    ]))
    .ok()
    .stdout;
    assert!(found.starts_with("/layers/hoist_deb-packages/packages/usr/bin/jq\n"), "{found}");
    assert!(found.contains("/layers/hoist_deb-packages/packages/usr/lib/"), "{found}");
    let sbom = dir.path().join("sbom");
    let args = ["--sbom-output-dir", sbom.to_str().unwrap()];
    build(&dir, "test-deb", &args).ok().says("3 packages of trixie, unchanged");
    for (file, wanted) in [("sbom.cdx.json", "pkg:deb/debian/jq@"), ("sbom.spdx.json", "pkg:deb/debian/libonig5@")] {
        let path = sbom.join("launch/hoist_deb-packages/packages").join(file);
        assert!(fs_err::read_to_string(&path).unwrap().contains(wanted), "{}", path.display());
    }
    fs_err::write(dir.path().join("apt.txt"), "jq\ntree\n").unwrap();
    build(&dir, "test-deb", &[]).ok().says("installing anew: asked for now: tree");
    fs_err::remove_file(dir.path().join("apt.txt")).unwrap();
    let said = build(&dir, "test-deb", &[]).ok();
    assert!(!said.stderr.contains("deb-packages"), "{}", said.stderr);
    run(hoist().args(["image", "rm", "test-deb"])).ok();
}

const EXTENSION: &str = r#"
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <oniguruma.h>
static PyObject *version(PyObject *self, PyObject *none) { return PyUnicode_FromString(onig_version()); }
static PyMethodDef methods[] = {{"version", version, METH_NOARGS, ""}, {0}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "sleuth", 0, -1, methods};
PyMODINIT_FUNC PyInit_sleuth(void) { return PyModule_Create(&module); }
"#;

#[test]
fn what_is_built_against_headers_finds_its_library_in_the_image_without_them() {
    let setup = "from setuptools import Extension, setup\nsetup(name='sleuth', version='1', ext_modules=[Extension('sleuth', ['sleuth.c'], libraries=['onig'])])\n";
    let dir = tree(&[
        ("requirements.txt", "./sleuth\n"),
        ("sleuth/setup.py", setup),
        ("sleuth/sleuth.c", EXTENSION),
        ("Aptfile", "libonig-dev\n"),
        ("main.py", "import sleuth\nprint(sleuth.version())\n"),
        ("Procfile", "web: python main.py\n"),
    ]);
    build(&dir, "test-deb-headers", &["--clear-cache"]).ok().says("for this build alone");
    let printed = run(hoist().args(["run", "--network", "none", "test-deb-headers"])).ok().stdout;
    assert!(printed.starts_with("6."), "{printed}");
    let headers = [
        "run",
        "--entrypoint",
        "launcher",
        "test-deb-headers",
        "--",
        "sh",
        "-c",
        "ls /layers/hoist_deb-packages; find / -name oniguruma.h 2> /dev/null; true",
    ];
    assert_eq!(run(hoist().args(headers)).ok().stdout, "packages\n");
    run(hoist().args(["image", "rm", "test-deb-headers"])).ok();
}

#[test]
fn a_package_that_is_not_there_is_named_with_its_place_and_with_what_may_be_meant() {
    let dir =
        tree(&[("main.py", "print(1)\n"), ("apt.txt", "libgl1-mesa-glx\n"), ("Procfile", "web: python main.py\n")]);
    let said = build(&dir, "test-deb-missing", &[]).code(1).says("getting packages from Debian's trixie");
    said.says("apt.txt line 1: libgl1-mesa-glx")
        .says("trixie has no such package in its main section")
        .says("did you mean libgl1");
    let said = build(&dir, "test-deb-missing", &["--env", "BP_DEB_PACKAGES=Not_a_name"]).code(1);
    said.says("BP_DEB_PACKAGES: Not_a_name").says("write libgl1");
}
