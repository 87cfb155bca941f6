//! The shipped examples, run for real: base from Debian packages, buildpacks in the sandbox, result on stdout.

mod support;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::json;
use support::{example, hoist, hoist_says, mounts_left, run};

#[test]
fn bell_prints_its_counts_as_json_and_leaves_only_caches() {
    let said = run(hoist().args(["job", "run"]).arg(example("bell"))).ok();
    let result = said.json();
    let text = result.to_string();
    assert!(text.contains("\"00\"") && text.contains("\"11\""), "{text}");
    assert!(!text.contains("\"01\""), "a Bell pair is correlated: {text}");
    let again = run(hoist().args(["job", "run", "--json"]).arg(example("bell"))).ok().json();
    assert_eq!(again["result"], result, "the seed makes it repeatable");
    let left = hoist_says(["image", "ls", "--json"]).ok().json();
    let unnamed = |image: &&serde_json::Value| image["names"].as_array().is_none_or(Vec::is_empty);
    let images = left.as_array().into_iter().flatten().filter(unnamed);
    let ids: Vec<_> = images.filter_map(|image| image["id"].as_str()).collect();
    assert!(!ids.contains(&again["image_id"].as_str().unwrap()), "the image of a job goes with it: {left}");
    assert!(mounts_left().is_empty(), "{:?}", mounts_left());
}

#[test]
fn sum_takes_its_input_from_the_command_line() {
    let own = run(hoist().args(["job", "run"]).arg(example("sum"))).ok();
    assert!(own.json().to_string().contains("sum"), "{}", own.stdout);
    let said = run(hoist().args(["job", "run", "--data", r#"{"values": [1, 2, 39]}"#]).arg(example("sum"))).ok();
    assert!(said.json().to_string().contains("42"), "{}", said.stdout);
    let mut child = hoist()
        .args(["job", "run", "--data", "-"])
        .arg(example("sum"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(br#"{"values": [20, 22]}"#).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("42"), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_job_template_layout_runs_its_user_code() {
    let said = run(hoist().args(["job", "run", "--json"]).arg(example("template"))).ok();
    assert_eq!(said.json()["status"], json!("SUCCEEDED"), "{}", said.stdout);
    assert!(said.stderr.contains("requirements.txt"), "the choice between the two files is told:\n{}", said.stderr);
}

#[test]
fn the_web_app_answers_on_localhost() {
    hoist_says(
        ["build", "test/web", "--path"].map(std::ffi::OsString::from).into_iter().chain([example("web").into()]),
    )
    .ok();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut child = hoist()
        .args(["run", "-e", "PORT=8080", "-p", &format!("{port}:8080"), "--name", "web-test", "test/web"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let answer = first_answer(port, Duration::from_secs(30));
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(child.id().cast_signed()), nix::sys::signal::Signal::SIGINT)
        .unwrap();
    let stopped = Instant::now();
    let code = child.wait().unwrap();
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(answer.starts_with("HTTP/1.") && answer.contains(" 200 OK"), "{answer}\n{said}");
    assert_eq!(code.code(), Some(130), "{said}");
    assert!(stopped.elapsed() < Duration::from_secs(5), "Ctrl-C ends at once");
    assert!(mounts_left().is_empty(), "{:?}", mounts_left());
    hoist_says(["image", "rm", "test/web"]).ok();
}

fn first_answer(port: u16, patience: Duration) -> String {
    let started = Instant::now();
    let mut answer = String::new();
    while started.elapsed() < patience {
        if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) {
            let _ = stream.write_all(b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n");
            answer.clear();
            if stream.read_to_string(&mut answer).is_ok() && answer.starts_with("HTTP/") {
                return answer;
            }
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    answer
}
