//! Wheels made to have their code run at the build, where the shared cache can be written: none of it may run.

#![allow(clippy::disallowed_methods, clippy::unwrap_used)] // a test looks at the machine as it is

mod support;

use support::Bench;

/// Code that leaves a trace.
fn trap(bench: &Bench) -> Vec<u8> {
    format!("open({:?}, 'a').write(__name__ + '\\n')\n", bench.path("trace").display().to_string()).into_bytes()
}

fn trace(bench: &Bench) -> String {
    fs_err::read_to_string(bench.path("trace")).unwrap_or_default()
}

#[test]
fn code_that_a_wheel_has_run_at_every_start_never_runs_at_the_build() {
    let mut bench = Bench::with_shared_cache();
    bench.built("");
    bench.offline();
    let code = trap(&bench);
    let pth =
        [b"import os; exec(", format!("{:?}", String::from_utf8(code.clone()).unwrap()).as_bytes(), b")\n"].concat();
    bench.wheel(
        "hoist_trap",
        "1",
        &[
            ("hoist_trap.pth", &pth),
            ("sitecustomize.py", &code),
            ("usercustomize.py", &code),
            ("_manylinux.py", &code),
            ("hoist_trap/__init__.py", b""),
        ],
    );
    for number in 0..10 {
        bench.wheel("hoist_other", &number.to_string(), &[("hoist_other.py", b"x = 1\n")]);
    }
    let started = |bench: &Bench| bench.built("hoist_trap\nhoist_other==1\n");
    started(&bench);
    assert_eq!(trace(&bench), "", "while it was installed");
    // As a restored layer: the interpreter's file has another time, so uv asks it about itself again.
    let touched =
        std::process::Command::new("touch").arg("-h").arg(bench.path("layers/env/bin/python")).status().unwrap();
    assert!(touched.success());
    for cached in ["interpreter-v4", "interpreter-v5", "interpreter-v3"] {
        let _ = fs_err::remove_dir_all(support::shared_cache().join("pip/uv").join(cached));
    }
    let said = bench.built("hoist_trap\nhoist_other==2\n");
    assert!(said.contains("updating"), "{said}");
    assert_eq!(trace(&bench), "", "while it was updated");
    assert!(bench.imports("hoist_trap, hoist_other"));
    assert_ne!(trace(&bench), "", "the trap works when the app starts");
}

#[test]
fn a_program_called_python_does_not_take_the_interpreters_place() {
    let mut bench = Bench::with_shared_cache();
    bench.own_interpreter();
    let interpreter = fs_err::read(bench.path("bin/python3")).unwrap();
    bench.built("");
    bench.offline();
    bench.wheel(
        "hoist_taker",
        "1",
        &[("data:scripts/python", b"#!/bin/sh\necho taken > /dev/null\n"), ("taker.py", b"")],
    );
    let (code, said) = bench.build("hoist_taker\n");
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("hoist_taker") && said.contains("reserved name `python`"), "{said}");
    bench.wheel(
        "hoist_taker",
        "2",
        &[("info:entry_points.txt", b"[console_scripts]\npython3 = taker:main\n"), ("taker.py", b"def main(): pass\n")],
    );
    let (code, said) = bench.build("hoist_taker==2\n");
    assert_eq!(code, 1, "{said}");
    assert!(fs_err::read(bench.path("bin/python3")).unwrap() == interpreter, "the interpreter itself is as it was");
}

#[test]
fn a_wheel_sets_no_variables_of_later_buildpacks() {
    let mut bench = Bench::with_shared_cache();
    bench.built("");
    bench.offline();
    bench.wheel(
        "hoist_setter",
        "1",
        &[
            ("data:data/env.build/HOIST_INTERPRETER.override", b"/workspace/evil"),
            ("data:data/env/VIRTUAL_ENV.override", b"/workspace/evil"),
            ("data:data/exec.d/evil", b"#!/bin/sh\n"),
            ("data:data/share/fine.txt", b"fine"),
            ("setter.py", b""),
        ],
    );
    let said = bench.built("hoist_setter\n");
    assert!(said.contains("warning: a package brings env.build/HOIST_INTERPRETER.override, exec.d/evil"), "{said}");
    assert!(!bench.path("layers/env/env.build/HOIST_INTERPRETER.override").exists());
    assert_eq!(
        fs_err::read_to_string(bench.path("layers/env/env/VIRTUAL_ENV.override")).unwrap(),
        bench.path("layers/env").display().to_string()
    );
    assert!(bench.path("layers/env/share/fine.txt").exists());
}
