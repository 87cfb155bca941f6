//! hoist/pip with the real uv and the machine's package index, outside of any image: what is installed works, is the same each time, and
//! follows the requirements.

#![allow(clippy::disallowed_methods, clippy::unwrap_used)] // a test looks at the machine as it is

mod support;

use support::Bench;

#[test]
fn an_environment_follows_its_requirements_and_is_the_same_each_time() {
    let bench = Bench::new();
    // As an editor of Windows saves it.
    let utf16: Vec<u8> =
        [0xFF, 0xFE].into_iter().chain("flask\r\n".encode_utf16().flat_map(u16::to_le_bytes)).collect();
    let (code, said) = bench.build(&utf16);
    assert_eq!(code, 0, "{said}");
    assert!(bench.imports("flask"));
    let first = bench.contents();
    assert!(first.keys().any(|path| path.extension().is_some_and(|e| e == "pyc")), "bytecode is made");
    assert!(!first.keys().any(|path| path.ends_with("REQUESTED")), "nothing tells who wanted a package");

    let (_, said) = bench.build(&utf16);
    assert!(said.contains("unchanged"), "{said}");

    fs_err::remove_dir_all(bench.path("layers/env")).unwrap();
    let (code, said) = bench.build(&utf16);
    assert_eq!(code, 0, "{said}");
    assert!(first == bench.contents(), "a second installation has the same bytes");

    let (code, said) = bench.build(b"flask\ntabulate\n");
    assert!(code == 0 && said.contains("1 of them new or changed"), "{said}");
    assert!(bench.imports("flask, tabulate"));

    let (code, said) = bench.build(b"tabulate\n");
    assert_eq!(code, 0, "{said}");
    assert!(bench.imports("tabulate") && !bench.imports("flask"), "what is no longer required goes");
}

#[test]
fn a_failed_installation_is_explained_and_leaves_nothing() {
    let bench = Bench::new();
    let (code, said) = bench.build(b"flask\ncv2\n");
    assert_eq!(code, 1);
    assert!(
        said.contains("requirements.txt line 2: cv2") && said.contains("require `opencv-python-headless` instead"),
        "{said}"
    );
    assert!(!bench.path("layers/env").exists());
    let (code, said) = bench.build(b"flask==99.9\n");
    assert!(code == 1 && said.contains("the nearest version is 3."), "{said}");
    let (code, said) = bench.build(b"flask==3.0.0\nwerkzeug==2.0.0\n");
    assert!(
        code == 1 && said.contains("(which needs werkzeug>=3.0.0)") && said.contains("line 2: werkzeug==2.0.0"),
        "{said}"
    );
    let (code, said) = bench.build(b"mysqlclient==2.2.4\n");
    assert!(code == 75 && said.contains("run again"), "{said}");
    assert!(!bench.path("layers/env").exists(), "nothing half-made");
}
