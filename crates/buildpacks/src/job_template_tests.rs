//! Services of each layout through detect and build, with the machine's own Python, and their processes started for real.

use std::collections::BTreeMap;
use std::ffi::OsString;

use fs_err as fs;

use super::*;
use crate::binding::Bindings;
use crate::output::Output;
use crate::process;
use crate::procfile::ProcfileBuildpack;

struct Case {
    _dir: tempfile::TempDir,
    context: Context,
    layers_dir: PathBuf,
}

fn case(files: &[(&str, &str)], variables: &[(&str, &str)]) -> Case {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = dir.path().join("workspace").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let layers_dir = dir.path().join("layers");
    fs::create_dir_all(&layers_dir).unwrap();
    let mut environment: BTreeMap<String, OsString> = BTreeMap::new();
    environment.insert("PATH".into(), process::own_environment()["PATH"].clone());
    environment.extend(variables.iter().map(|(name, value)| ((*name).to_owned(), OsString::from(value))));
    let context = Context {
        buildpack_dir: dir.path().to_owned(),
        app_dir: dir.path().join("workspace"),
        platform_dir: dir.path().join("platform"),
        root_dir: dir.path().to_owned(),
        environment,
        bindings: Bindings::default(),
    };
    Case { _dir: dir, context, layers_dir }
}

impl Case {
    fn build(&self, buildpack: &dyn Buildpack) -> Result<Vec<LaunchProcess>, Failure> {
        let output = Output::to(Box::new(std::io::sink()));
        let mut context = BuildContext {
            common: &self.context,
            output: &output,
            layers_dir: self.layers_dir.clone(),
            plan: Vec::new(),
            processes: Vec::new(),
            labels: Vec::new(),
            unmet: Vec::new(),
        };
        buildpack.build(&mut context)?;
        Ok(context.processes)
    }

    fn detects(&self, buildpack: &dyn Buildpack) -> bool {
        let output = Output::to(Box::new(std::io::sink()));
        let detection = buildpack.detect(&DetectContext { common: &self.context, output: &output }).unwrap();
        matches!(detection, Detection::Pass { .. })
    }

    fn layer_file(&self, name: &str) -> String {
        fs::read_to_string(self.layers_dir.join(name)).unwrap_or_default()
    }

    /// Starts the process as the launcher would, and answers stdout.
    fn start(&self, argv: &[String]) -> String {
        let mut environment = self.context.environment.clone();
        environment.insert("PYTHONPATH".into(), self.layer_file("runner/env.launch/PYTHONPATH.append").into());
        environment.insert("DATA_VALUE".into(), "{\"a\": 2}".into());
        let mut command = process::command(argv[0].replace("python", "python3"), &environment);
        let output = process::run(command.args(&argv[1..]).current_dir(&self.context.app_dir)).unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

const PROGRAM: &str = "def run(data=None, params=None):\n    return {'doubled': data['a'] * 2}\n";

#[test]
fn resources_of_planqk_json_become_labels() {
    let planqk = r#"{"name": "x", "resources": {"cpu": 0.5, "memory": 2}}"#;
    let one = case(&[("app/user_code/planqk.json", planqk), ("app/user_code/src/program.py", "")], &[]);
    let labels = resources(&one.context, Service::of(&one.context).unwrap());
    let expected = [("io.hoist.service.cpus", "0.5"), ("io.hoist.service.memory-bytes", "2147483648")];
    assert_eq!(labels, expected.map(|(name, value)| (name, value.to_owned())));
    let odd = case(&[("planqk.json", r#"{"resources": {"cpu": "many", "memory": -1}}"#)], &[]);
    assert!(resources(&odd.context, Service::PlanQk).is_empty());
}

#[test]
fn a_service_gets_the_runner_and_its_process_answers() {
    let case =
        case(&[("src/program.py", PROGRAM)], &[("HOIST_CONTRACT", "G1"), ("HOIST_LAUNCH_ENV", "{\"MODE\": \"fast\"}")]);
    assert!(case.detects(&JobTemplate));
    let processes = case.build(&JobTemplate).unwrap();
    assert_eq!(processes[0].command, ["python", "-m", "hoist_runner"]);
    assert!(processes[0].default && processes[0].kind == "job");
    assert_eq!(case.layer_file("runner/env.launch/ENTRY_POINT.default"), "src.program:run");
    assert_eq!(case.layer_file("runner/env.launch/HOIST_CONTRACT.default"), "G1");
    assert_eq!(case.layer_file("runner/env.launch/MODE.default"), "fast");
    let compiled = fs::read_dir(case.layers_dir.join("runner/hoist_runner/__pycache__")).unwrap().count();
    assert_eq!(compiled, RUNNER.iter().filter(|file| !file.path.contains(".txt")).count());
    assert!(case.start(&processes[0].command).contains("\"doubled\": 4"));
    // A second build finds the layer as it should be and leaves it alone.
    fs::write(case.layers_dir.join("runner/mark"), "").unwrap();
    case.build(&JobTemplate).unwrap();
    assert!(case.layers_dir.join("runner/mark").is_file());
}

#[test]
fn a_service_trusts_the_certificates_of_its_bindings_like_any_process() {
    let program = "certificates/exec.d/hoist-certificates";
    let of_hoist = [("HOIST_SOURCE_BUILDS", "deny")];
    let service = case(&[("src/program.py", PROGRAM)], &of_hoist);
    service.build(&JobTemplate).unwrap();
    assert_eq!(fs::read_link(service.layers_dir.join(program)).unwrap(), Path::new("/cnb/lifecycle/launcher"));
    let toml = service.layer_file("certificates.toml");
    assert!(toml.contains("launch = true"), "{toml}");
    // Where a Procfile is, its buildpack does it.
    fs::write(service.context.app_dir.join("Procfile"), "worker: python w.py\n").unwrap();
    let other =
        Case { layers_dir: service.layers_dir.join("other"), context: service.context.clone(), ..case(&[], &[]) };
    fs::create_dir(&other.layers_dir).unwrap();
    other.build(&JobTemplate).unwrap();
    assert!(!other.layers_dir.join("certificates").exists());
    let off = case(&[("src/program.py", PROGRAM)], &[of_hoist[0], ("BP_RUNTIME_CERT_BINDING_DISABLED", "yes")]);
    off.build(&JobTemplate).unwrap();
    assert!(!off.layers_dir.join("certificates").exists());
}

#[test]
fn a_template_with_a_program_of_its_own_runs_that() {
    let files = [
        ("app/__init__.py", ""),
        ("app/__main__.py", "from app.user_code.src.program import run\nprint(run({'a': 3}))\n"),
        ("app/user_code/src/program.py", PROGRAM),
        ("Procfile", "web : python -m app\n"),
    ];
    let own = case(&files, &[]);
    let processes = own.build(&JobTemplate).unwrap();
    assert_eq!(processes[0].command, ["python", "-m", "app"]);
    assert!(!processes[0].default, "the Procfile's web is the default");
    assert_eq!(own.start(&processes[0].command).trim(), "{'doubled': 6}");
    let ours = case(&files[..3], &[("HOIST_JOB_RUNNER", "hoist")]);
    let processes = ours.build(&JobTemplate).unwrap();
    assert!(processes[0].default);
    assert!(ours.start(&processes[0].command).contains("\"doubled\": 4"));
    let dash = case(&[("app/user-code/src/program.py", PROGRAM)], &[]);
    let processes = dash.build(&JobTemplate).unwrap();
    assert_eq!(dash.layer_file("runner/env.launch/ENTRY_POINT.default"), "app/user-code/src/program.py:run");
    assert!(dash.start(&processes[0].command).contains("\"doubled\": 4"));
}

#[test]
fn what_is_no_service_or_no_sense_is_said() {
    assert!(!case(&[("main.py", "")], &[]).detects(&JobTemplate));
    let bare = case(&[("planqk.json", "{}")], &[]);
    assert!(bare.detects(&JobTemplate));
    assert!(bare.build(&JobTemplate).unwrap_err().to_string().contains("there is no src/program.py"));
    let path = case(&[("src/program.py", PROGRAM)], &[("HOIST_LAUNCH_ENV", "{\"PATH\": \"/x\"}")]);
    assert!(path.build(&JobTemplate).unwrap_err().to_string().contains("no variable that a service may set"));
    let other = case(&[("src/program.py", PROGRAM)], &[("HOIST_JOB_RUNNER", "x")]);
    assert!(other.build(&JobTemplate).is_err());
}

#[test]
fn a_procfile_becomes_processes() {
    let case = case(
        &[("Procfile", "\u{feff}web: gunicorn app:app --bind 0.0.0.0:$PORT\r\nworker: MODE=slow python w.py\r\n")],
        &[],
    );
    assert!(case.detects(&ProcfileBuildpack));
    let processes = case.build(&ProcfileBuildpack).unwrap();
    assert_eq!(processes[0].command, ["bash", "-c", "gunicorn app:app --bind 0.0.0.0:$PORT"]);
    assert_eq!((processes[0].default, processes[1].default), (true, false));
    assert_eq!(processes[1].command, ["python", "w.py"]);
    assert_eq!(case.layer_file("variables/env.launch/worker/MODE.override"), "slow");
    fs::write(case.context.app_dir.join("Procfile"), "gunicorn app:app\n").unwrap();
    let page = case.build(&ProcfileBuildpack).unwrap_err().to_string();
    assert!(
        page.contains("line 1: `gunicorn app:app`") && page.contains("write line 1 as: web: gunicorn app:app"),
        "{page}"
    );
    fs::write(case.context.app_dir.join("Procfile"), "# nothing\n").unwrap();
    assert!(case.build(&ProcfileBuildpack).unwrap_err().to_string().contains("no process"));
}

#[test]
fn a_command_may_come_without_a_file() {
    let case = case(&[("main.py", "")], &[("BP_PROCFILE_DEFAULT_PROCESS", "python main.py")]);
    assert!(case.detects(&ProcfileBuildpack));
    let processes = case.build(&ProcfileBuildpack).unwrap();
    assert_eq!((processes[0].kind.as_str(), processes[0].default), ("web", true));
}
