//! The line that an app without a Procfile is told to write: written as it was told, built and run, it answers. With the real packages.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // helpers fail as loudly as their tests

mod support;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use support::{hoist, hoist_says, run, tree};

const PATIENCE: Duration = Duration::from_secs(40);
const FLASK: &str =
    "from flask import Flask\n\napp = Flask(__name__)\n\n\n@app.get('/')\ndef hello():\n    return 'hello of flask'\n";
const FACTORY: &str = "import flask\n\n\ndef create_app():\n    app = flask.Flask(__name__)\n    app.get('/')(lambda: 'hello of the factory')\n    return app\n";
const FASTAPI: &str = "from fastapi import FastAPI\n\nfrom app.words import WORD\n\napi = FastAPI()\n\n\n@api.get('/')\ndef hello():\n    return WORD\n";
const QUART: &str = "from quart import Quart\n\napp = Quart(__name__)\n\n\n@app.get('/')\nasync def hello():\n    return 'hello of quart'\n";
const DJANGO_MANAGE: &str = "import os\nimport sys\n\nos.environ.setdefault('DJANGO_SETTINGS_MODULE', 'shop.settings')\n\nif __name__ == '__main__':\n    from django.core.management import execute_from_command_line\n\n    execute_from_command_line(sys.argv)\n";
const DJANGO_SETTINGS: &str = "SECRET_KEY = 'x'\nALLOWED_HOSTS = ['*']\nROOT_URLCONF = 'shop.urls'\nINSTALLED_APPS = []\nWSGI_APPLICATION = 'shop.wsgi.application'\n";
const DJANGO_URLS: &str = "from django.http import HttpResponse\nfrom django.urls import path\n\nurlpatterns = [path('', lambda request: HttpResponse('hello of django'))]\n";
const DJANGO_WSGI: &str = "import os\n\nfrom django.core.wsgi import get_wsgi_application\n\nos.environ.setdefault('DJANGO_SETTINGS_MODULE', 'shop.settings')\napplication = get_wsgi_application()\n";
const SERVER: &str = "import os\nfrom http.server import BaseHTTPRequestHandler, HTTPServer\n\n\nclass Hello(BaseHTTPRequestHandler):\n    def do_GET(self):\n        self.send_response(200)\n        self.end_headers()\n        self.wfile.write(b'hello of the program')\n\n\ndef main():\n    HTTPServer(('0.0.0.0', int(os.environ['PORT'])), Hello).serve_forever()\n\n\nif __name__ == '__main__':\n    main()\n";
const PROJECT: &str = "[project]\nname = 'shop'\nversion = '1'\n\n[project.scripts]\nserve = 'shop.cli:main'\n";

/// The line of the first problem of a check.
fn proposed(app: &Path) -> String {
    let report = run(hoist().args(["check", "--json"]).arg(app)).code(1).json();
    let problems = report["problems"].as_array().unwrap();
    let missing = problems.iter().find(|problem| problem["code"] == "process-missing").unwrap();
    let fixes = missing["fixes"].as_array().unwrap().iter().filter_map(|fix| fix.as_str());
    let mark = "into a file called Procfile: ";
    fixes.into_iter().find_map(|fix| Some(fix.split_once(mark)?.1.to_owned())).unwrap()
}

/// Writes the proposal as it was told, builds and runs; fails unless the app answers.
#[track_caller]
fn assert_serves(name: &str, files: &[(&str, &str)], program: &str, answer: &str) {
    let app = tree(files);
    let line = proposed(app.path());
    assert!(line.contains(program), "{line}");
    fs_err::write(app.path().join("Procfile"), format!("{line}\n")).unwrap();
    let image = format!("test/proposed-{name}");
    run(hoist().args(["build", &image, "--path"]).arg(app.path())).ok();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut command = hoist();
    command.args(["run", "-e", "PORT=8099", "-p", &format!("{port}:8099"), &image]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let started = Instant::now();
    let mut heard = String::new();
    while !heard.starts_with("HTTP/") && started.elapsed() < PATIENCE && child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(50));
        heard = fetch(port).unwrap_or_default();
    }
    let pid = nix::unistd::Pid::from_raw(child.id().cast_signed());
    let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT);
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    child.wait().unwrap();
    assert!(heard.contains(" 200 OK") && heard.contains(answer), "{line}\n{heard}\n{said}");
    hoist_says(["image", "rm", &image]).ok();
}

fn fetch(port: u16) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.replace("HTTP/1.0 200 \r", "HTTP/1.0 200 OK\r").replace("HTTP/1.1 200 \r", "HTTP/1.1 200 OK\r"))
}

#[test]
fn flask_answers_with_its_own_server_and_with_gunicorn_wherever_it_lies() {
    let plain = ("requirements.txt", "flask\n");
    let gunicorn = ("requirements.txt", "flask\ngunicorn\n");
    assert_serves("flask", &[("shop.py", FLASK), plain], "flask --app shop:app run", "hello of flask");
    assert_serves("factory", &[("shop/web.py", FACTORY), gunicorn], "gunicorn", "hello of the factory");
    let below = format!("import words\n{FLASK}");
    let files = [("back/app.py", below.as_str()), ("back/words.py", ""), gunicorn];
    assert_serves("below", &files, "PYTHONPATH=back gunicorn", "hello of flask");
    let inside = format!("from shop import words\n{FLASK}");
    let files =
        [("src/shop/web.py", inside.as_str()), ("src/shop/__init__.py", ""), ("src/shop/words.py", ""), gunicorn];
    assert_serves("src", &files, "PYTHONPATH=src gunicorn", "hello of flask");
}

#[test]
fn asgi_apps_answer_with_the_server_that_is_there() {
    let files = [
        ("app/main.py", FASTAPI),
        ("app/words.py", "WORD = 'hello of fastapi'\n"),
        ("app/__init__.py", ""),
        ("requirements.txt", "fastapi\nuvicorn\n"),
    ];
    assert_serves("fastapi", &files, "uvicorn app.main:api", "hello of fastapi");
    assert_serves("quart", &[("web.py", QUART), ("requirements.txt", "quart\n")], "hypercorn", "hello of quart");
}

#[test]
fn django_answers_with_its_own_server_and_from_a_folder_with_gunicorn() {
    let files = |home: &str| {
        [
            ("manage.py", DJANGO_MANAGE),
            ("shop/settings.py", DJANGO_SETTINGS),
            ("shop/urls.py", DJANGO_URLS),
            ("shop/wsgi.py", DJANGO_WSGI),
            ("shop/__init__.py", ""),
        ]
        .map(|(path, text)| (format!("{home}{path}"), text))
    };
    for (name, home, requirements, program) in [
        ("django", "", "django\n", "manage.py runserver"),
        ("django-below", "back/", "django\ngunicorn\n", "PYTHONPATH=back gunicorn"),
    ] {
        let files = files(home);
        let mut files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), *text)).collect();
        files.push(("requirements.txt", requirements));
        assert_serves(name, &files, program, "hello of django");
    }
}

#[test]
fn programs_answer_whether_or_not_the_project_is_installed() {
    assert_serves("file", &[("server.py", SERVER), ("other.py", "")], "python server.py", "hello of the program");
    let files = [
        ("pyproject.toml", PROJECT),
        ("src/shop/cli.py", SERVER),
        ("src/shop/__init__.py", ""),
        ("requirements.txt", "# none\n"),
    ];
    assert_serves("script", &files, "PYTHONPATH=src python -c", "hello of the program");
    let installed =
        format!("{PROJECT}\n[build-system]\nrequires = ['setuptools']\nbuild-backend = 'setuptools.build_meta'\n");
    let files = [("pyproject.toml", installed.as_str()), ("src/shop/cli.py", SERVER), ("src/shop/__init__.py", "")];
    assert_serves("installed", &files, "web: serve", "hello of the program");
    let files = [("shop/__main__.py", SERVER), ("shop/__init__.py", "")];
    assert_serves("module", &files, "python -m shop", "hello of the program");
}
