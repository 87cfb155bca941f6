//! Runs the commands of a project and says how they differ from what is expected.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{self, Stdio};
use std::time::{Duration, Instant};

use super::bills;
use super::channel;
use super::expected::{Build, Check, Command, Expected, Run};
use super::index::Index;
use super::made;
use super::support::{Said, hoist, run, tree};

/// One command takes no longer.
const PATIENCE: Duration = Duration::from_secs(90);
/// What is shown of a command that went wrong.
const SHOWN_LINES: usize = 30;

/// How a project differs from what is expected, a text for each difference.
pub fn differences(name: &str, project_dir: &Path, scratch_dir: &Path) -> Vec<String> {
    let app_dir = scratch_dir.join(name);
    let prepared = Expected::read(project_dir).and_then(|mut expected| {
        made::copy(project_dir, &app_dir).map_err(|error| error.to_string())?;
        if let Some(login) = &expected.index {
            let address = Index::over(&app_dir, login).map_err(|error| format!("the index: {error}"))?.address();
            expected.change(&mut |text| text.replace("{index}", &address));
        }
        if expected.conda {
            expected.change(&mut channel::fill);
        }
        expected.make.iter().try_for_each(|made| made::make(&app_dir, made))?;
        Ok(expected)
    });
    let expected = match prepared {
        Ok(expected) => expected,
        Err(error) => return vec![format!("expected.toml: {error}")],
    };
    let program = || {
        let mut command = hoist();
        if expected.conda {
            command.env("CONDARC", channel::condarc());
        }
        command
    };
    let mut found = Vec::new();
    if let Some(check) = &expected.check {
        found.extend(checked(check, &program, &app_dir));
    }
    let image = format!("apps/{name}");
    if let Some(build) = &expected.build {
        let bills_dir = scratch_dir.join(format!("{name}.sbom"));
        let wrong = built(build, program(), &image, &app_dir, &bills_dir);
        let is_built = wrong.is_empty();
        found.extend(wrong);
        if let Some(run) = expected.run.as_ref().filter(|_| is_built) {
            found.extend(ran(run, &image));
        }
        if build.common.exit == 0 {
            let _ = finish(hoist().args(["image", "rm", &image]));
        }
    }
    found
}

/// Builds something from the machine's own index, where uv comes from: the indexes of projects do not have it.
pub fn fetch_uv() {
    let app = tree(&[("Procfile", "web: true\n"), ("requirements.txt", "tabulate\n")]);
    run(hoist().args(["build", "apps/first", "--path"]).arg(app.path())).ok();
    let _ = finish(hoist().args(["image", "rm", "apps/first"]));
}

fn checked(expected: &Check, program: &dyn Fn() -> process::Command, app_dir: &Path) -> Vec<String> {
    let call = |json: &[&str]| {
        let mut command = program();
        command
            .arg("check")
            .args(json)
            .arg(app_dir)
            .args(&expected.common.args)
            .args(variables(&expected.common, "--env"));
        finish(&mut command)
    };
    let said = match call(&[]) {
        Ok(said) => said,
        Err(error) => return vec![format!("check: {error}")],
    };
    let mut found = told("check", &expected.common, &said);
    let said = match call(&["--json"]) {
        Ok(said) => said,
        Err(error) => return vec![format!("check --json: {error}")],
    };
    let report: serde_json::Value = serde_json::from_str(&said.stdout).unwrap_or_default();
    if said.code != expected.common.exit {
        found.push(format!("check --json: exit code {}, and not {}", said.code, expected.common.exit));
    }
    let mut compare = |what: &str, wanted: Option<&String>, is: &serde_json::Value| {
        if wanted.is_some_and(|wanted| is.as_str() != Some(wanted)) {
            found.push(format!("check: {what} is {is}, and not {wanted:?}"));
        }
    };
    compare("python", expected.python.as_ref(), &report["python"]["value"]);
    compare("dependencies", expected.dependencies.as_ref(), &report["dependencies"]);
    let reason = report["python"]["reason"].as_str().unwrap_or_default();
    if expected.python_because.as_ref().is_some_and(|wanted| !reason.contains(wanted)) {
        found
            .push(format!("check: python is chosen because {reason:?}, and not because {:?}", expected.python_because));
    }
    found
}

fn built(
    expected: &Build,
    mut command: process::Command,
    image: &str,
    app_dir: &Path,
    bills_dir: &Path,
) -> Vec<String> {
    command.args(["build", image, "--path"]).arg(app_dir).arg("--sbom-output-dir").arg(bills_dir);
    command.args(&expected.common.args).args(variables(&expected.common, "--env"));
    let said = match finish(&mut command) {
        Ok(said) => said,
        Err(error) => return vec![format!("build: {error}")],
    };
    let mut found = told("build", &expected.common, &said);
    let bills = bills::read(&bills_dir.join("launch"));
    found.extend(bills.wrong);
    for wanted in expected.packages.iter().filter(|wanted| !bills.names.contains(*wanted)) {
        found.push(format!("build: {wanted} is not in the bills of materials: {:?}", bills.names));
    }
    for unwanted in expected.no_packages.iter().filter(|unwanted| bills.names.contains(*unwanted)) {
        found.push(format!("build: {unwanted} is in the bill of materials"));
    }
    found
}

fn ran(expected: &Run, image: &str) -> Vec<String> {
    let mut command = hoist();
    command.arg("run").args(variables(&expected.common, "--env"));
    if let Some(path) = &expected.get {
        return served(expected, command, image, path);
    }
    command.arg(image).args(&expected.common.args);
    let said = match finish(&mut command) {
        Ok(said) => said,
        Err(error) => return vec![format!("run: {error}")],
    };
    let mut found = told("run", &expected.common, &said);
    if expected.prints.as_ref().is_some_and(|wanted| *wanted != said.stdout) {
        found.push(format!(
            "run: printed {:?}, and not {:?}",
            said.stdout,
            expected.prints.as_deref().unwrap_or_default()
        ));
    }
    found
}

fn served(expected: &Run, mut command: process::Command, image: &str, path: &str) -> Vec<String> {
    let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).map_or(0, |at| at.port());
    command.args(["-e", "PORT=8080", "-p", &format!("{port}:8080"), image]).args(&expected.common.args);
    let mut child = match command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn() {
        Ok(child) => child,
        Err(error) => return vec![format!("run: {error}")],
    };
    let started = Instant::now();
    let mut answer = String::new();
    let is_running = |child: &mut process::Child| matches!(child.try_wait(), Ok(None));
    while !answer.starts_with("HTTP/") && started.elapsed() < PATIENCE && is_running(&mut child) {
        std::thread::sleep(Duration::from_millis(50));
        answer = fetch(port, path).unwrap_or_default();
    }
    let pid = nix::unistd::Pid::from_raw(child.id().cast_signed());
    let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT);
    let mut errors = String::new();
    let _ = child.stderr.take().map(|mut pipe| pipe.read_to_string(&mut errors));
    if let Err(error) = child.wait() {
        return vec![format!("run: {error}")];
    }
    let missing = expected.answers.iter().filter(|wanted| !answer.contains(*wanted));
    missing.map(|wanted| format!("run: {wanted:?} is not in the answer {answer:?}\n{}", shown(&errors))).collect()
}

fn fetch(port: u16, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn variables(command: &Command, flag: &str) -> Vec<String> {
    command.env.iter().flat_map(|(name, value)| [flag.to_owned(), format!("{name}={value}")]).collect()
}

/// What a command said against what it must say.
fn told(what: &str, expected: &Command, said: &Said) -> Vec<String> {
    let all = format!("{}{}", said.stdout, said.stderr);
    let mut found = Vec::new();
    if said.code != expected.exit {
        found.push(format!("{what}: exit code {}, and not {}", said.code, expected.exit));
    }
    let missing = expected.says.iter().filter(|wanted| !all.contains(*wanted));
    found.extend(missing.map(|wanted| format!("{what}: does not say {wanted:?}")));
    let unwanted = expected.says_not.iter().filter(|unwanted| all.contains(*unwanted));
    found.extend(unwanted.map(|unwanted| format!("{what}: says {unwanted:?}")));
    // A program that breaks is never what was meant.
    found.extend(
        ["panicked at", "Traceback (most recent"]
            .into_iter()
            .filter(|sign| what != "run" && all.contains(sign))
            .map(|sign| format!("{what}: says {sign:?}")),
    );
    if !found.is_empty() {
        found.push(format!("{what} said:\n{}", shown(&all)));
    }
    found
}

fn shown(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(SHOWN_LINES);
    let cut = |line: &&str| format!("      | {}", line.chars().take(300).collect::<String>());
    lines[from..].iter().map(cut).collect::<Vec<_>>().join("\n")
}

/// Runs a command to its end, or ends it.
fn finish(command: &mut process::Command) -> Result<Said, String> {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(|error| error.to_string())?;
    let read = |mut pipe: Box<dyn Read + Send>| {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            let _ = pipe.read_to_end(&mut bytes);
            String::from_utf8_lossy(&bytes).into_owned()
        })
    };
    let stdout = child.stdout.take().map(|pipe| read(Box::new(pipe)));
    let stderr = child.stderr.take().map(|pipe| read(Box::new(pipe)));
    let started = Instant::now();
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if started.elapsed() < PATIENCE => std::thread::sleep(Duration::from_millis(5)),
            Ok(None) => {
                let pid = nix::unistd::Pid::from_raw(child.id().cast_signed());
                let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
                std::thread::sleep(Duration::from_secs(2));
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("not done after {PATIENCE:?}, and ended"));
            }
            Err(error) => return Err(error.to_string()),
        }
    };
    let text =
        |pipe: Option<std::thread::JoinHandle<String>>| pipe.and_then(|pipe| pipe.join().ok()).unwrap_or_default();
    Ok(Said { code: status.code().unwrap_or(-1), stdout: text(stdout), stderr: text(stderr) })
}
