//! Services as people write them, from their folder to their result: staged, given an input, and what they print or leave told apart.
#![allow(clippy::unwrap_used)] // helpers fail as loudly as their tests

use std::path::Path;

use hoist_events::{Event, RecordingReporter};
use hoist_service::{
    Contract, Input, InputArgument, InputRequest, JobExit, Limits, Manager, Outcome, ResultScanner, Scanned,
    StageRequest, Staged, collect, resolve_input, stage, write_input,
};

/// A folder of files.
fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = dir.path().join(path);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, text).unwrap();
    }
    dir
}

/// The service staged into a folder of its own, and what was said of it.
fn staged(files: &[(&str, &str)]) -> (tempfile::TempDir, Staged, Vec<Event>) {
    let (source, app) = (tree(files), tempfile::tempdir().unwrap());
    let request = StageRequest {
        source: source.path(),
        app_dir: app.path(),
        contract: None,
        dependencies: None,
        manager: None,
        lift: true,
        selection: hoist_service::Selection::default(),
        owner: None,
        limits: Limits::default(),
    };
    let heard = RecordingReporter::default();
    let staged = stage(&request, &heard).unwrap();
    for (path, text) in files {
        assert_eq!(fs_err::read_to_string(source.path().join(path)).unwrap(), *text, "the source is only read");
    }
    (app, staged, heard.events())
}

fn choices(events: &[Event]) -> Vec<(&str, &str)> {
    let mut found = Vec::new();
    for event in events {
        if let Event::Choice { what, chosen, .. } = event {
            found.push((what.as_str(), chosen.as_str()));
        }
    }
    found
}

fn input_of(staged: &Staged, data: Option<&str>) -> Input {
    let request = InputRequest {
        data: data.map(InputArgument::parse),
        defaults: staged.default_input.clone(),
        ..InputRequest::default()
    };
    resolve_input(&request, &mut std::io::empty()).unwrap()
}

fn printed(text: &str) -> (Scanned, Vec<String>) {
    let (mut scanner, mut logs) = (ResultScanner::new(1 << 20), Vec::new());
    scanner.feed(text.as_bytes(), &mut |line| logs.push(line.to_owned()));
    let found = scanner.finish(&mut |line| logs.push(line.to_owned()));
    (found, logs)
}

#[test]
fn a_starter_with_both_files_goes_pips_way_and_prints_its_block() {
    let (app, staged, events) = staged(&[
        ("planqk.json", "{\"name\": \"grizzly bear\", \"resources\": {\"cpu\": 0.5, \"memory\": 1}}"),
        (
            "environment.yml",
            "name: grizzly\nchannels:\n  - defaults\ndependencies:\n  - python>=3.10\n  - pip\n  - pip:\n      - -r requirements.txt\n",
        ),
        ("requirements.txt", "loguru==0.7.2\n"),
        ("src/__init__.py", ""),
        (
            "src/program.py",
            "from typing import Any, Dict, Union\nfrom .libs.return_objects import ResultResponse, ErrorResponse\n\n\ndef run(data: Dict[str, Any] = None, params: Dict[str, Any] = None) -> Union[ResultResponse, ErrorResponse]:\n    return ResultResponse({})\n",
        ),
        ("src/libs/__init__.py", ""),
        ("src/libs/return_objects.py", "class ResultResponse: ...\n"),
        ("input/data.json", "{\"values\": [1.50]}"),
        ("input/params.json", "{\"round_off\": false}"),
        ("openapi-spec.yml", "openapi: 3.0.0\n"),
    ]);
    assert_eq!(staged.name, "grizzly-bear");
    assert_eq!(choices(&events), [("service contract", "G1"), ("dependency file", "environment.yml")]);
    let dependencies = staged.dependencies.as_ref().unwrap();
    assert_eq!(
        (dependencies.manager, dependencies.python.as_ref().unwrap().version.as_str()),
        (Manager::Pip, ">=3.10")
    );
    assert!(!app.path().join("input").exists(), "an input is no part of the image");

    let dir = tempfile::tempdir().unwrap();
    write_input(&input_of(&staged, None), Contract::G1, staged.signature.as_ref(), dir.path()).unwrap();
    let given = |path: &str| fs_err::read_to_string(dir.path().join("input").join(path)).unwrap();
    assert_eq!(given("data/data.json"), "{\"values\": [1.50]}");
    assert_eq!(given("params.json"), "{\"round_off\": false}");

    let (scanned, logs) =
        printed("working\n\nPlanQK:Job:MultilineResult\n{\"result\": {\"sum\": 1.50}}\nPlanQK:Job:MultilineResult\n");
    let result = collect(Contract::G1, scanned, None, JobExit::Code(0), None).unwrap();
    assert!(matches!(&result.outcome, Outcome::Value(Some(json)) if json.as_str() == "{\"result\": {\"sum\": 1.50}}"));
    assert_eq!(logs, ["working"]);
}

#[test]
fn a_typed_service_has_a_file_and_a_default_for_each_parameter() {
    let (app, staged, events) = staged(&[
        ("planqk.json", "{\"name\": \"calc\"}"),
        ("pyproject.toml", "[project]\nname = \"calc\"\nrequires-python = \">=3.11\"\ndependencies = []\n"),
        ("requirements.txt", "pydantic>=2\n"),
        (
            "src/program.py",
            "from pydantic import BaseModel\n\nclass InputData(BaseModel):\n    values: list[float]\n\ndef run(data: InputData, shots: int = 10, api_key: str = \"\"):\n    ...\n",
        ),
        ("input/data.json", "{\"values\": [1]}"),
        ("input/shots.json", "20"),
        ("input/api_key.txt", "hidden"),
        ("input/table.json", "{}"),
    ]);
    assert_eq!(choices(&events), [("service contract", "G2"), ("dependency file", "requirements.txt")]);
    assert!(app.path().join("input/table.json").is_file(), "what no parameter takes is the service's own");
    assert!(!app.path().join("input/api_key.txt").exists());

    let dir = tempfile::tempdir().unwrap();
    let written =
        write_input(&input_of(&staged, Some("{\"values\": [2]}")), Contract::G2, staged.signature.as_ref(), dir.path())
            .unwrap();
    let given = |key: &str| fs_err::read_to_string(dir.path().join(format!("input/{key}.json"))).unwrap();
    assert_eq!(
        (given("data"), given("shots"), given("api_key")),
        ("{\"values\": [2]}".into(), "20".into(), "\"hidden\"".into())
    );

    let output_dir = written.output_dir.unwrap();
    fs_err::write(output_dir.join("output.json"), "{\"mean\": 2.0}").unwrap();
    fs_err::write(output_dir.join("plot.svg"), "<svg/>").unwrap();
    let result = collect(Contract::G2, Scanned::default(), Some(&output_dir), JobExit::Code(0), None).unwrap();
    assert!(matches!(&result.outcome, Outcome::Value(Some(json)) if json.as_str() == "{\"mean\": 2.0}"));
    assert_eq!(result.files.iter().map(|file| file.name.as_str()).collect::<Vec<_>>(), ["plot.svg"]);
}

#[test]
fn a_job_template_keeps_its_own_program_and_its_user_codes_wishes() {
    let (app, staged, events) = staged(&[
        ("Procfile", "job: python -m app\n"),
        ("requirements.txt", "loguru\n"),
        (".python-version", "3.13\n"),
        ("app/__init__.py", ""),
        ("app/__main__.py", ""),
        ("app/user_code/src/program.py", "def run(data, params): ...\n"),
        ("app/user_code/requirements.txt", "numpy\n"),
        ("app/user_code/.python-version", "3.11\n"),
        ("app/user_code/input/data.json", "{}"),
    ]);
    assert_eq!(choices(&events), [("service contract", "G1")]);
    assert_eq!(staged.layout.user_code_dir(), Path::new("app/user_code"));
    let read = |path: &str| fs_err::read_to_string(app.path().join(path)).unwrap();
    assert_eq!((read("requirements.txt"), read(".python-version")), ("loguru\nnumpy\n".into(), "3.11\n".into()));
    assert!(staged.default_input.data.is_some());
}

#[test]
fn a_job_that_was_stopped_is_told_by_how_it_ended() {
    let (scanned, _) = printed("PlanQK:Job:MultilineResult\n{\"half\": ");
    let result = collect(Contract::G1, scanned, None, JobExit::OutOfMemory, Some("Killed")).unwrap();
    assert!(matches!(&result.outcome, Outcome::Error(error) if error.code == "out_of_memory"));
    assert_eq!(result.warnings.len(), 1);
}
