//! The launcher as a process: environment, exec.d, shell processes, working directories, errors, and a root without anything else.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "the tests start the launcher")]

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const LAUNCHER: &str = env!("CARGO_BIN_EXE_hoist-launcher");

struct Image {
    dir: tempfile::TempDir,
}

impl Image {
    fn new(metadata: &str) -> Self {
        let image = Self { dir: tempfile::tempdir().unwrap() };
        image.file("layers/config/metadata.toml", metadata);
        std::fs::create_dir_all(image.path("workspace")).unwrap();
        std::fs::create_dir_all(image.path("cnb/process")).unwrap();
        image
    }

    fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    fn file(&self, path: &str, content: &str) {
        let path = self.path(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
    }

    fn program(&self, path: &str, content: &str) {
        self.file(path, &format!("#!/bin/bash\n{content}\n"));
        std::fs::set_permissions(self.path(path), std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Runs `/cnb/process/<name>` or, for `launcher`, the launcher, in a poisoned environment.
    fn run(&self, name: &str, args: &[&str]) -> Output {
        let link = if name == "launcher" { self.path("cnb/launcher") } else { self.path("cnb/process").join(name) };
        if link.symlink_metadata().is_err() {
            symlink(LAUNCHER, &link).unwrap();
        }
        let mut command = Command::new(&link);
        command.args(args).env_clear();
        command.env("CNB_PLATFORM_API", "0.15").env("CNB_DEPRECATION_MODE", "quiet");
        command.env("CNB_APP_DIR", self.path("workspace")).env("CNB_LAYERS_DIR", self.path("layers"));
        command.env("PATH", "/cnb/process:/cnb/lifecycle:/usr/bin:/bin").env("LC_ALL", "xx_YY.bad").env("KEPT", "yes");
        command.output().unwrap()
    }
}

fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

const METADATA: &str = r#"
[[buildpacks]]
id = "acme/new"
api = "0.10"
[[buildpacks]]
id = "acme/old"
api = "0.8"
[[processes]]
type = "env"
command = ["env"]
args = []
direct = true
buildpack-id = "acme/new"
[[processes]]
type = "where"
command = ["pwd"]
direct = true
working-dir = "sub"
buildpack-id = "acme/new"
[[processes]]
type = "shell"
command = ["echo profile=$PROFILE app=$APP; pwd"]
direct = false
buildpack-id = "acme/old"
[[processes]]
type = "words"
command = ["printf"]
args = ["%s|", "$PROFILE", "a b"]
direct = false
buildpack-id = "acme/old"
"#;

#[test]
fn launch_layers_change_the_environment_in_their_order() {
    let image = Image::new(METADATA);
    for (layer, value) in [("acme_new/a", "1"), ("acme_old/b", "2")] {
        image.file(&format!("layers/{layer}/bin/x"), "");
        image.file(&format!("layers/{layer}/env/LIST.append"), value);
        image.file(&format!("layers/{layer}/env/LIST.delim"), ":");
        image.file(&format!("layers/{layer}/env.build/BUILD"), "no");
    }
    image.file("layers/acme_new/a/env.launch/ONE.default", "first");
    image.file("layers/acme_old/b/env.launch/ONE.default", "second");
    image.file("layers/acme_old/b/env.launch/env/MINE", "process");
    image.file("layers/acme_old/b/env.launch/other/MINE", "other");
    let output = stdout(&image.run("env", &[]));
    let layers = image.path("layers").display().to_string();
    let has = |line: &str| assert!(output.lines().any(|seen| seen == line), "{line} is not in\n{output}");
    has(&format!("PATH={layers}/acme_old/b/bin:{layers}/acme_new/a/bin:/usr/bin:/bin"));
    has("LIST=1:2");
    has("ONE=first");
    has("MINE=process");
    has("KEPT=yes");
    assert!(!output.contains("CNB_") && !output.contains("BUILD="), "{output}");
}

#[test]
fn exec_d_programs_set_variables_through_file_descriptor_3() {
    let image = Image::new(METADATA);
    image.program("layers/acme_new/a/exec.d/1", "printf 'A = \"one\"\\n' >&3; echo from exec.d; pwd");
    image.program("layers/acme_new/a/exec.d/2", "printf 'B = \"%s two\"\\n' \"$A\" >&3");
    image.program("layers/acme_new/a/exec.d/env/3", "printf 'C = \"three\"\\n' >&3");
    image.program("layers/acme_new/a/exec.d/web/4", "exit 1");
    let output = stdout(&image.run("env", &[]));
    for line in ["A=one", "B=one two", "C=three", "from exec.d"] {
        assert!(output.lines().any(|seen| seen == line), "{line} is not in\n{output}");
    }
    assert!(output.contains(&format!("{}\n", image.path("workspace").display())));
}

/// "execute each file in each `<layers>/<layer>/exec.d` …", and after that "each file in each `<layers>/<layer>/exec.d/<process>`".
#[test]
fn programs_and_scripts_for_one_process_run_after_those_for_all() {
    let image = Image::new(METADATA);
    let note = |word: &str| format!("printf 'SAID = \"%s{word}\"\\n' \"${{SAID:-}}\" >&3");
    for (path, word) in [("acme_new/a/exec.d/env/1", "3"), ("acme_new/b/exec.d/2", "1"), ("acme_old/a/exec.d/1", "2")] {
        image.program(&format!("layers/{path}"), &note(word));
    }
    assert!(stdout(&image.run("env", &[])).lines().any(|line| line == "SAID=123"));
    image.file("layers/acme_new/a/profile.d/shell/1.sh", "export PROFILE=${PROFILE}2");
    image.file("layers/acme_old/a/profile.d/1.sh", "export PROFILE=${PROFILE:-}1");
    assert!(stdout(&image.run("shell", &[])).starts_with("profile=12 "));
}

#[test]
fn a_failing_exec_d_program_and_wrong_output_are_errors() {
    let image = Image::new(METADATA);
    image.program("layers/acme_new/a/exec.d/1", "exit 3");
    let output = image.run("env", &[]);
    assert_eq!(output.status.code(), Some(82));
    assert!(String::from_utf8_lossy(&output.stderr).contains("exec.d/1 failed: exit status: 3"));
    image.program("layers/acme_new/a/exec.d/1", "echo 'A = 1' >&3");
    let output = image.run("env", &[]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("`A` is not a string"), "{output:?}");
    image.program("layers/acme_new/a/exec.d/1", "while printf '# %01000d\\n' 0 >&3 2>/dev/null; do :; done");
    let output = image.run("env", &[]);
    assert_eq!(output.status.code(), Some(82));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.ends_with("exec.d/1 wrote: it is more than 4 MiB\n"), "{said}");
}

/// As an image has them whose launcher may be another.
#[test]
fn exec_d_programs_of_hoists_own_answer_as_processes() {
    let image = Image::new(METADATA);
    for program in ["exec.d/hoist-certificates", "exec.d/env/hoist-web-concurrency"] {
        let path = image.path("layers/acme_new/a").join(program);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::copy(LAUNCHER, path).unwrap();
    }
    let certificate = "-----BEGIN CERTIFICATE-----\nours\n-----END CERTIFICATE-----\n";
    image.file("bindings/ours/type", "ca-certificates");
    image.file("bindings/ours/ca.crt", certificate);
    image.file("bindings/database/type", "postgresql");
    std::fs::create_dir(image.path("tmp")).unwrap();
    for (name, path) in [("SERVICE_BINDING_ROOT", "bindings"), ("TMPDIR", "tmp")] {
        image.file(&format!("layers/acme_new/a/env.launch/{name}.override"), &image.path(path).display().to_string());
    }
    let output = stdout(&image.run("env", &[]));
    let value = |name: &str| {
        let of_line = |line: &str| line.strip_prefix(name)?.strip_prefix('=').map(str::to_owned);
        output.lines().find_map(of_line).unwrap_or_else(|| panic!("{name} is not in\n{output}"))
    };
    assert!(value("WEB_CONCURRENCY").parse::<u32>().unwrap() > 0);
    let bundle = value("SSL_CERT_FILE");
    assert!(bundle.starts_with(&image.path("tmp").display().to_string()));
    assert_eq!(value("REQUESTS_CA_BUNDLE"), bundle);
    assert!(std::fs::read_to_string(bundle).unwrap().ends_with(certificate));
}

#[test]
fn a_process_starts_in_its_working_directory() {
    let image = Image::new(METADATA);
    std::fs::create_dir_all(image.path("workspace/sub")).unwrap();
    assert_eq!(stdout(&image.run("where", &[])).trim_end(), image.path("workspace/sub").display().to_string());
}

#[test]
fn shell_processes_of_old_buildpacks_get_profile_scripts() {
    let image = Image::new(METADATA);
    image.file("layers/acme_old/a/profile.d/1.sh", "export PROFILE=wrong");
    image.file("layers/acme_old/a/profile.d/shell/2.sh", "export PROFILE=right");
    image.file("layers/acme_old/a/profile.d/words/2.sh", "export PROFILE='two words'");
    image.file("workspace/.profile", "export APP=too");
    let app = image.path("workspace").display().to_string();
    assert_eq!(stdout(&image.run("shell", &[])), format!("profile=right app=too\n{app}\n"));
    assert_eq!(stdout(&image.run("words", &[])), "two words|a b|");
}

#[test]
fn a_command_of_the_user_is_a_script_or_direct() {
    let image = Image::new(METADATA);
    assert_eq!(stdout(&image.run("launcher", &["echo $KEPT"])), "yes\n");
    assert_eq!(stdout(&image.run("launcher", &["--", "echo", "$KEPT"])), "$KEPT\n");
    let output = image.run("launcher", &["--", "no-such-program"]);
    assert_eq!(output.status.code(), Some(82));
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "launcher: `no-such-program` is not found in PATH=/usr/bin:/bin\n"
    );
}

#[test]
fn incompatible_apis_have_their_exit_codes() {
    let image = Image::new("[[buildpacks]]\nid = \"a\"\napi = \"0.99\"\n");
    assert_eq!(image.run("launcher", &["x"]).status.code(), Some(12));
    let output = Command::new(LAUNCHER).env_clear().output().unwrap();
    assert_eq!(output.status.code(), Some(11));
}

/// Nothing but the launcher and the configuration: no libc, no shell, no accounts.
#[test]
fn it_runs_in_an_empty_root() {
    let metadata = r#"
[[buildpacks]]
id = "a"
api = "0.10"
[[processes]]
type = "web"
command = ["launcher", "--", "x"]
direct = true
buildpack-id = "a"
"#;
    let image = Image::new(metadata);
    std::fs::create_dir_all(image.path("cnb/lifecycle")).unwrap();
    std::fs::copy(LAUNCHER, image.path("cnb/lifecycle/launcher")).unwrap();
    std::fs::create_dir_all(image.path("layers/a/l/bin")).unwrap();
    std::fs::copy(LAUNCHER, image.path("layers/a/l/bin/launcher")).unwrap();
    symlink("/cnb/lifecycle/launcher", image.path("cnb/process/web")).unwrap();
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "chroot"]).arg(image.dir.path()).arg("/cnb/process/web");
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("CNB_PLATFORM_API", "0.15");
    let output = command.output().unwrap();
    // The process is the launcher again, and misses the variable that the first one took away: it was found, started, and is static.
    assert_eq!(output.status.code(), Some(11), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stderr).lines().next(), Some("launcher: CNB_PLATFORM_API is not set"));
    assert!(Path::new(LAUNCHER).exists());
}
