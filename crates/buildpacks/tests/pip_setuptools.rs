//! setuptools comes along where an old package counts on it and environments have it as a rule, with the real uv.

#![allow(clippy::disallowed_methods, clippy::unwrap_used)] // a test looks at the machine as it is

mod support;

use support::Bench;

/// Says which Python the machine has: until 3.11 environments begin with setuptools.
fn has_it_as_a_rule() -> bool {
    let program = "import sys; print(int(sys.version_info < (3, 12)))";
    let output = std::process::Command::new("python3").args(["-I", "-c", program]).output().unwrap();
    output.stdout.starts_with(b"1")
}

#[test]
fn a_package_that_counts_on_setuptools_gets_it_unless_a_lock_says_otherwise() {
    let mut bench = Bench::with_shared_cache();
    bench.built("");
    bench.offline();
    bench.wheel("old", "1.0", &[("old/__init__.py", b"import pkg_resources\n")]);
    bench.wheel("setuptools", "80.0", &[("pkg_resources/__init__.py", b"here = True\n")]);
    bench.wheel("setuptools", "82.0", &[("setuptools/__init__.py", b"")]);
    let said = bench.built("old\n");
    if !has_it_as_a_rule() {
        assert!(!bench.imports("old") && !said.contains("setuptools"), "{said}");
        return;
    }
    assert!(said.contains("setuptools comes along: old imports pkg_resources and does not ask for it"), "{said}");
    assert!(said.contains("2 packages, 2 of them new") && bench.imports("old"), "{said}");
    let again = bench.built("old\n");
    assert!(again.contains("2 packages, unchanged"), "{again}");
    // What does not need it goes without.
    bench.wheel("new", "1.0", &[("new/__init__.py", b"")]);
    fs_err::remove_dir_all(bench.path("layers/env")).unwrap();
    let said = bench.built("new\n");
    assert!(said.contains("1 package, ") && !bench.imports("pkg_resources"), "{said}");

    bench.buildpack("hoist/pylock");
    fs_err::remove_file(bench.path("app/requirements.txt")).unwrap();
    let wheel = bench.path("wheels/old-1.0-py3-none-any.whl");
    let hash = hoist_debian::hex(&hoist_debian::Sha256::digest(fs_err::read(&wheel).unwrap()));
    let lock = format!(
        "lock-version = \"1.0\"\ncreated-by = \"test\"\n[[packages]]\nname = \"old\"\nversion = \"1.0\"\n[[packages.wheels]]\nname = \"old-1.0-py3-none-any.whl\"\nurl = \"file://{}\"\nhashes = {{ sha256 = \"{hash}\" }}\n",
        wheel.display()
    );
    bench.write("app/pylock.toml", lock);
    let (code, said) = bench.build_app();
    assert_eq!(code, 0, "{said}");
    assert!(
        said.contains("warning: old imports pkg_resources, which is part of setuptools, and nothing asks for that: the import fails in the image; add setuptools<81 to what the app requires, and make the lock anew"),
        "{said}"
    );
    assert!(!bench.imports("old"));
}
