//! Processes of an image: limits, volumes, variables, networks, exit codes.
#![allow(clippy::disallowed_methods, clippy::expect_used, clippy::panic)] // tests start processes and fail loudly

mod support;

use std::process::Stdio;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use support::{Said, example, hoist, mounts_left, run, tree};

/// An image of a service, built once for all tests of this file.
fn image() -> &'static str {
    static IMAGE: OnceLock<&str> = OnceLock::new();
    IMAGE.get_or_init(|| {
        run(hoist().args(["build", "test/run", "--path"]).arg(example("sum"))).ok();
        "test/run"
    })
}

/// Runs a Python program in the image, with options of `hoist run`.
fn python(options: &[&str], program: &str) -> Said {
    let mut command = hoist();
    command.arg("run").args(options).args(["--entrypoint", "launcher", image(), "python", "-c", program]);
    run(&mut command)
}

#[test]
fn the_exit_code_is_the_process_s() {
    python(&[], "import sys; sys.exit(7)").code(7);
    python(&[], "import os; os.kill(os.getpid(), 9)").code(137);
    let said = run(hoist().args(["run", "--process", "nope", image()])).code(2);
    assert!(said.stderr.contains("job"), "the processes that there are:\n{}", said.stderr);
    let input = ["--process", "job", image(), "--data", r#"{"values": [40, 2]}"#];
    let said = run(hoist().arg("run").args(input)).ok();
    assert!(said.stdout.contains("\"sum\": 42"), "{}", said.stdout);
}

#[test]
fn what_stands_behind_the_image_is_passed_on_as_it_is() {
    let program = "import sys; print(sys.argv[1:])";
    let launcher = ["run", "--network", "none", "--entrypoint", "launcher", image()];
    let seen = |before: &[&str], args: &[&str]| {
        let command = [before, &["python", "-c", program], args].concat();
        run(hoist().args(launcher).args(command)).ok().stdout.trim().to_owned()
    };
    let all = ["-v", "--data", "x", "--", "-", "--memory=1"];
    assert_eq!(seen(&[], &all), "['-v', '--data', 'x', '--', '-', '--memory=1']");
    assert_eq!(seen(&["--"], &all), seen(&[], &all));
    assert_eq!(seen(&["--", "--"], &["a"]), "['a']", "the launcher's own --");
    assert_eq!(seen(&["--timeout", "60"], &["a"]), "['a']", "an option behind the image");
}

#[test]
fn memory_time_and_processes_are_bounded() {
    let program = "x = bytearray(300 << 20); print(len(x))";
    python(&["--memory", "64M"], program).code(137).says("--memory");
    assert_eq!(python(&["--memory", "1G"], program).ok().stdout.trim(), "314572800");

    let started = Instant::now();
    python(&["--timeout", "1"], "import time; time.sleep(60)").code(124).says("--timeout");
    assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());

    let forks = "
import os, time
made = 0
try:
    while made < 60:
        if os.fork() == 0:
            time.sleep(30)
            os._exit(0)
        made += 1
except OSError:
    print(made)
";
    let started = Instant::now();
    let said = python(&["--pids", "10"], forks).ok();
    let made: u32 = said.stdout.trim().parse().expect("the fork that failed was counted");
    assert!((1..10).contains(&made), "{made}");
    assert!(started.elapsed() < Duration::from_secs(15), "children end with the first process");
}

#[test]
fn volumes_show_what_was_given_and_no_more() {
    let dir = tree(&[("a", "hello"), ("sub/b", "there")]);
    let path = dir.path().display();
    let said = python(&["-v", &format!("{path}:/data:ro")], "print(open('/data/a').read()); open('/data/new', 'w')");
    let said = said.code(1).says("Read-only file system");
    assert_eq!(said.stdout.trim(), "hello");
    std::os::unix::fs::chown(dir.path(), Some(1002), Some(1000)).expect("root gives the folder to the run user");
    python(&["-v", &format!("{path}:/data")], "open('/data/new', 'w').write('written')").ok();
    assert_eq!(fs_err::read_to_string(dir.path().join("new")).expect("the new file"), "written");
    python(&["-v", &format!("{path}/nope:/data")], "print(1)").code(2).says("mkdir");
    assert!(!dir.path().join("nope").exists(), "nothing is made on the host");
    let seen = python(&[], &format!("import os; print(os.path.exists('{path}'))")).ok();
    assert_eq!(seen.stdout.trim(), "False");
}

#[test]
fn variables_come_from_files_and_arguments_and_the_host_s_stay_out() {
    let dir = tree(&[("env", "# comment\nA=1\nB=from file\nTAKEN\n")]);
    let file = dir.path().join("env").display().to_string();
    let program =
        "import os; print(*(os.environ.get(name) for name in ('A', 'B', 'C', 'TAKEN', 'PIP_TARGET')), sep='|')";
    let said = run(hoist().env("TAKEN", "here").args(["run", "--env-file", &file, "-e", "B=2", "-e", "C=x=y"]).args([
        "--entrypoint",
        "launcher",
        image(),
        "python",
        "-c",
        program,
    ]));
    assert_eq!(said.ok().stdout.trim(), "1|2|x=y|here|None");
    python(&["-e", "=1"], "").code(2);
    python(&["--env-file", "/nonexistent/env"], "").code(2).says("/nonexistent/env");
}

#[test]
fn no_network_is_none() {
    let program = "
import socket
print([name for _, name in socket.if_nameindex()])
socket.create_connection(('192.0.2.1', 80), 2)
";
    let said = python(&["--network", "none"], program).code(1).says("unreachable");
    assert_eq!(said.stdout.trim(), "['lo']");
}

#[test]
fn two_runs_of_one_name_cannot_be_at_once() {
    let program = "print('up', flush=True); input()";
    let args = ["run", "--name", "twice", "--entrypoint", "launcher", image(), "--", "--", "python", "-c", program];
    let mut first = hoist().args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("hoist starts");
    let mut line = String::new();
    let mut output = std::io::BufReader::new(first.stdout.take().expect("its output"));
    std::io::BufRead::read_line(&mut output, &mut line).expect("a line");
    assert_eq!(line, "up\n");
    let second = python(&["--name", "twice"], "print(1)");
    std::io::Write::write_all(&mut first.stdin.take().expect("its input"), b"\n").expect("a line goes in");
    assert!(first.wait().expect("its end").success());
    assert_eq!(second.code(2).says("twice").stdout, "");
    python(&["--name", "twice"], "print(1)").ok();
    assert!(mounts_left().is_empty(), "{:?}", mounts_left());
}

#[test]
fn the_memory_of_planqk_json_is_a_job_s() {
    let program = "def run(data, params):\n    return len(bytearray(400 << 20))\n";
    let app = tree(&[
        ("planqk.json", r#"{"name": "m", "resources": {"cpu": 1, "memory": 0.1}}"#),
        ("src/program.py", program),
    ]);
    run(hoist().args(["job", "run"]).arg(app.path())).code(1).says("resources.memory");
    let said = run(hoist().args(["job", "run", "--memory", "1G"]).arg(app.path())).ok();
    assert_eq!(said.stdout.trim(), "419430400");
}

#[test]
fn a_typed_service_gives_its_answer_and_its_files() {
    let program = r#"
import pathlib
from dataclasses import dataclass

@dataclass
class Answer:
    total: float
    count: int

def run(values: list[float], factor: int = 1) -> Answer:
    pathlib.Path("/var/runtime/output/report.txt").write_text("made of %d values\n" % len(values))
    return Answer(sum(values) * factor, len(values))
"#;
    let app = tree(&[("src/program.py", program), ("planqk.json", "{\"name\": \"typed\"}")]);
    let output = app.path().with_extension("output");
    let data = r#"{"values": [1, 2], "factor": 2}"#;
    let said = run(hoist().args(["job", "run", "--data", data, "--output"]).arg(&output).arg(app.path())).ok();
    assert_eq!(said.json(), serde_json::json!({"count": 2, "total": 6.0}));
    let report = fs_err::read_to_string(output.join("report.txt")).expect("the file of the result");
    assert_eq!(report, "made of 2 values\n");
    fs_err::remove_dir_all(&output).expect("the folder goes");
    let wrong = r#"{"values": [1], "factor": "x"}"#;
    run(hoist().args(["job", "run", "--data", wrong]).arg(app.path())).code(2).says("factor is \"x\"");
}

#[test]
fn a_job_that_prints_a_lot_keeps_its_result_apart() {
    let program =
        "def run(data, params):\n    for n in range(200000):\n        print('line', n)\n    return {\"n\": 1}\n";
    let app = tree(&[("src/program.py", program)]);
    let said = run(hoist().args(["job", "run"]).arg(app.path())).ok();
    assert_eq!(said.json(), serde_json::json!({"n": 1}));
    assert!(
        said.stderr.lines().filter(|line| line.starts_with("line ")).count() == 200_000,
        "every line comes through"
    );
}
