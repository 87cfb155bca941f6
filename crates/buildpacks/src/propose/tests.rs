//! The lines that are proposed, by what lies in an app. Whether they work is shown by `crates/cli/tests/proposed.rs`.

use super::*;

const FLASK: &str = "from flask import Flask\napp = Flask(__name__)\n";
const FASTAPI: &str = "import fastapi\n\napi: fastapi.FastAPI = fastapi.FastAPI(title='x')\n";
const GUNICORN: (&str, &str) = ("requirements.txt", "-r base.txt\n");
const BASE: (&str, &str) = ("base.txt", "gunicorn\n");

fn page(files: &[(&str, &str)]) -> String {
    let dir = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = dir.path().join(path);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, text).unwrap();
    }
    explain(&Context {
        buildpack_dir: "/".into(),
        app_dir: dir.path().to_owned(),
        platform_dir: "/".into(),
        root_dir: "/".into(),
        environment: crate::Environment::new(),
        bindings: crate::Bindings::default(),
    })
    .to_string()
}

#[track_caller]
fn assert_line(files: &[(&str, &str)], line: &str) {
    let text = page(files);
    assert!(text.contains(&format!("called Procfile: web: {line}\n")), "{line}\n{text}");
}

#[test]
fn a_framework_is_served_by_what_the_app_requires() {
    let dash = "import dash\napp = dash.Dash(__name__)\n";
    let dash_run = "import dash\napp = dash.Dash(__name__)\nif __name__ == '__main__':\n    app.run(debug=True)\n";
    let dash_server = "import dash\napp = dash.Dash(__name__)\nserver = app.server\n";
    let factory = "import flask\ndef create_app(x=1):\n    return flask.Flask(x)\n";
    let maker = "from fastapi import FastAPI\ndef create_app():\n    return FastAPI()\n";
    let quart = "from quart import Quart\napp = Quart(__name__)\n";
    for (files, line) in [
        (&[("shop.py", FLASK), GUNICORN, BASE][..], "gunicorn --bind 0.0.0.0:${PORT:-8080} shop:app"),
        (&[("shop.py", FLASK)], "flask --app shop:app run --host 0.0.0.0 --port ${PORT:-8080}"),
        (
            &[("shop.py", FLASK), ("requirements.txt", "flask\nwaitress\n")],
            "waitress-serve --listen=0.0.0.0:${PORT:-8080} shop:app",
        ),
        (&[("shop/__init__.py", FLASK), GUNICORN, BASE], "gunicorn --bind 0.0.0.0:${PORT:-8080} shop:app"),
        (&[("web.py", factory), GUNICORN, BASE], "gunicorn --bind 0.0.0.0:${PORT:-8080} 'web:create_app()'"),
        (&[("web.py", factory)], "flask --app web:create_app run --host 0.0.0.0 --port ${PORT:-8080}"),
        (&[("web.py", maker)], "uvicorn web:create_app --factory --host 0.0.0.0 --port ${PORT:-8080}"),
        (
            &[("app/main.py", FASTAPI), ("app/__init__.py", "")],
            "uvicorn app.main:api --host 0.0.0.0 --port ${PORT:-8080}",
        ),
        (&[("m.py", FASTAPI), ("requirements.txt", "hypercorn\n")], "hypercorn --bind 0.0.0.0:${PORT:-8080} m:api"),
        (&[("m.py", FASTAPI), ("requirements.txt", "daphne\n")], "daphne -b 0.0.0.0 -p ${PORT:-8080} m:api"),
        (&[("m.py", quart)], "hypercorn --bind 0.0.0.0:${PORT:-8080} m:app"),
        (&[("d.py", dash_run)], "HOST=0.0.0.0 PORT=${PORT:-8080} python d.py"),
        (&[("d.py", dash_server), GUNICORN, BASE], "gunicorn --bind 0.0.0.0:${PORT:-8080} d:server"),
        (&[("d.py", dash), GUNICORN, BASE], "gunicorn --bind 0.0.0.0:${PORT:-8080} d:server"),
        (
            &[("ui.py", "import streamlit as st\n")],
            "streamlit run ui.py --server.address 0.0.0.0 --server.port ${PORT:-8080} --server.headless true",
        ),
        (
            &[("ui.py", "import gradio as gr\ngr.Interface(f).launch()\n")],
            "GRADIO_SERVER_NAME=0.0.0.0 GRADIO_SERVER_PORT=${PORT:-8080} python ui.py",
        ),
    ] {
        assert_line(files, line);
    }
    assert!(page(&[("d.py", dash), GUNICORN, BASE]).contains("add the line `server = app.server` to d.py"));
}

#[test]
fn a_file_that_imports_the_app_of_a_package_is_what_is_started() {
    let package = [("shop/__init__.py", FLASK), ("shop/web.py", "from . import app, pages\n"), GUNICORN, BASE];
    let line = |file: &str, text: &str, wanted: &str| {
        let files = [&package[..], &[(file, text)]].concat();
        assert_line(&files, &format!("gunicorn --bind 0.0.0.0:${{PORT:-8080}} {wanted}:app"));
        page(&files)
    };
    let told = line("startup.py", "from shop.web import app\n", "startup");
    let seen = "shop/__init__.py line 2 makes the Flask app called app, which startup.py imports to be started";
    assert!(told.contains(seen), "{told}");
    line("wsgi.py", "from shop import (db, app)  # all of it\nif __name__ == '__main__':\n    app.run()\n", "wsgi");
    // A server of its own, another package's app, a test, a name that only begins so, a function's own import.
    line("run.py", "from shop import app\napp.run(debug=True)\n", "shop");
    line("other.py", "from shopping import app\n", "shop");
    line("test_shop.py", "from shop import app\n", "shop");
    line("tools.py", "from shop import app_of\n", "shop");
    line("lazy.py", "def f():\n    from shop import app\n", "shop");
}

#[test]
fn django_is_served_wherever_it_lies() {
    let wsgi = "from django.core.wsgi import get_wsgi_application\napplication = get_wsgi_application()\n";
    let asgi = "from django.core.asgi import get_asgi_application\napplication = get_asgi_application()\n";
    let manage = "os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'shop.settings')\n";
    for (files, line) in [
        (
            &[("manage.py", ""), ("shop/wsgi.py", wsgi), GUNICORN, BASE][..],
            "gunicorn --bind 0.0.0.0:${PORT:-8080} shop.wsgi:application",
        ),
        (&[("manage.py", ""), ("shop/wsgi.py", wsgi)], "python manage.py runserver --noreload 0.0.0.0:${PORT:-8080}"),
        (&[("manage.py", "")], "python manage.py runserver --noreload 0.0.0.0:${PORT:-8080}"),
        (
            &[("back/manage.py", manage), ("back/shop/wsgi.py", wsgi), GUNICORN, BASE],
            "PYTHONPATH=back gunicorn --bind 0.0.0.0:${PORT:-8080} shop.wsgi:application",
        ),
        (
            &[("manage.py", ""), ("shop/wsgi.py", wsgi), ("shop/asgi.py", asgi), ("requirements.txt", "uvicorn\n")],
            "uvicorn shop.asgi:application --host 0.0.0.0 --port ${PORT:-8080}",
        ),
        (
            &[("manage.py", ""), ("shop/wsgi.py", wsgi), ("shop/asgi.py", asgi), GUNICORN, BASE],
            "gunicorn --bind 0.0.0.0:${PORT:-8080} shop.wsgi:application",
        ),
    ] {
        assert_line(files, line);
    }
}

#[test]
fn a_module_is_found_where_its_imports_begin() {
    let project = (
        "pyproject.toml",
        "[project]\nname = 'shop'\nversion = '1'\n[build-system]\nrequires = []\n[tool.x]\ngunicorn = 1\n",
    );
    let bare = "import models\nfrom flask import Flask\napp = Flask(__name__)\n";
    let absolute = "from back.models import x\nfrom flask import Flask\napp = Flask(__name__)\n";
    let from_above = "from app.models import x\nfrom flask import Flask\napp = Flask(__name__)\n";
    let relative = "from .models import x\nfrom flask import Flask\napp = Flask(__name__)\n";
    let from_src = "from src.shop.models import x\nfrom flask import Flask\napp = Flask(__name__)\n";
    for (files, line) in [
        (&[("src/shop/web.py", FLASK), project][..], "gunicorn --bind 0.0.0.0:${PORT:-8080} shop.web:app"),
        (
            &[("src/shop/web.py", FLASK), GUNICORN, BASE],
            "PYTHONPATH=src gunicorn --bind 0.0.0.0:${PORT:-8080} shop.web:app",
        ),
        (&[("src/shop/web.py", from_src), GUNICORN, BASE], "gunicorn --bind 0.0.0.0:${PORT:-8080} src.shop.web:app"),
        (
            &[("back/app.py", bare), ("back/models.py", ""), GUNICORN, BASE],
            "PYTHONPATH=back gunicorn --bind 0.0.0.0:${PORT:-8080} app:app",
        ),
        (
            &[("back/app.py", absolute), ("back/models.py", ""), GUNICORN, BASE],
            "gunicorn --bind 0.0.0.0:${PORT:-8080} back.app:app",
        ),
        (
            &[("back/app.py", relative), ("back/models.py", ""), GUNICORN, BASE],
            "gunicorn --bind 0.0.0.0:${PORT:-8080} back.app:app",
        ),
        (&[("src/shop/__main__.py", "")], "PYTHONPATH=src python -m shop"),
        (
            &[("e-shop/app/main.py", from_above), ("e-shop/app/models.py", ""), GUNICORN, BASE],
            "PYTHONPATH=e-shop gunicorn --bind 0.0.0.0:${PORT:-8080} app.main:app",
        ),
    ] {
        assert_line(files, line);
    }
}

#[test]
fn programs_of_the_project_and_files_are_started() {
    let scripts = "[project]\nname = 'x'\ndependencies = []\n[project.scripts]\nshop = 'x.cli:main'\n";
    for (files, line) in [
        (&[("pyproject.toml", scripts), ("x/cli.py", "")][..], "shop"),
        (&[("pyproject.toml", scripts), ("x/cli.py", ""), ("requirements.txt", "-e .\n")], "shop"),
        (
            &[("pyproject.toml", scripts), ("x/cli.py", ""), ("requirements.txt", "six\n")],
            "python -c 'import sys; from x.cli import main; sys.exit(main())'",
        ),
        (
            &[("pyproject.toml", scripts), ("src/x/cli.py", ""), ("requirements.txt", "six\n")],
            "PYTHONPATH=src python -c 'import sys; from x.cli import main; sys.exit(main())'",
        ),
        (
            &[
                ("pyproject.toml", scripts),
                ("x/cli.py", "import api\n"),
                ("x/api.py", ""),
                ("requirements.txt", "six\n"),
            ],
            "python -c 'import sys; from x.cli import main; sys.exit(main())'",
        ),
        (&[("pyproject.toml", scripts), ("main.py", ""), ("requirements.txt", "six\n")], "python main.py"),
        (&[("shop/__main__.py", ""), ("main2.py", ""), ("b.py", "")], "python -m shop"),
        (&[("server.py", ""), ("main.py", "")], "python main.py"),
        (&[("only.py", ""), ("setup.py", "")], "python only.py"),
        (&[("a.py", ""), ("b.py", "")], "python FILE.py"),
    ] {
        assert_line(files, line);
    }
}

#[test]
fn of_several_programs_the_one_that_is_likely_meant_is_proposed_or_none() {
    let project = |name: &str, programs: &[&str]| {
        let lines = programs.iter().map(|name| format!("{name} = 'x.cli:main'\n")).collect::<Vec<_>>().concat();
        format!("[project]\nname = '{name}'\ndependencies = []\n[project.scripts]\n{lines}")
    };
    for (name, programs, line) in [
        ("Big_Shop", &["a-tool", "big-shop", "shop-web"][..], "big-shop"),
        ("shop", &["a-tool", "shop-server", "z-tool"], "shop-server"),
        ("shop", &["a-tool"], "a-tool"),
    ] {
        assert_line(&[("pyproject.toml", &project(name, programs)), ("x/cli.py", "")], line);
    }
    let rsa = project("rsa", &["pyrsa-decrypt", "pyrsa-encrypt", "pyrsa-keygen"]);
    let said = page(&[("pyproject.toml", &rsa), ("x/cli.py", ""), ("x/core.py", "")]);
    assert!(
        said.contains("project.scripts of pyproject.toml names the programs pyrsa-decrypt, pyrsa-encrypt and pyrsa-keygen, none of which is called as the project or a server is")
            && said.contains("called Procfile: web: PROGRAM\n"),
        "{said}"
    );
    assert_line(&[("pyproject.toml", &rsa), ("main.py", "")], "python main.py");
    let several = project("shop", &["serve", "web"]);
    assert!(page(&[("pyproject.toml", &several), ("x/cli.py", "")]).contains("web: PROGRAM"), "who is to say which");
    let poetry = "[tool.poetry]\nname = 'shop'\n[tool.poetry.scripts]\nadmin = 'x:a'\nshop = 'x:b'\n[tool.poetry.dependencies]\npython = '*'\n";
    assert_line(&[("pyproject.toml", poetry), ("x.py", "")], "python -c 'import sys; from x import b; sys.exit(b())'");
}

#[test]
fn a_page_says_what_was_seen_and_what_would_be_better() {
    assert_eq!(
        page(&[("app.py", FLASK), ("requirements.txt", "flask\n")]),
        "Error while looking for the process that the image starts\n  seen  there is no Procfile, and app.py line 2 makes the Flask app called app\n  why   nothing names the program that an image of this app starts, and a Python without one would only wait for input\n  do    write this line into a file called Procfile: web: flask --app app:app run --host 0.0.0.0 --port ${PORT:-8080}\n        or for this build alone: --env 'BP_PROCFILE_DEFAULT_PROCESS=flask --app app:app run --host 0.0.0.0 --port ${PORT:-8080}'\n        better for more than a try: add gunicorn to what the app requires, and write web: gunicorn --bind 0.0.0.0:${PORT:-8080} app:app\n"
    );
    assert!(
        page(&[("m.py", FASTAPI), ("requirements.txt", "fastapi\n")])
            .contains("and add uvicorn to what the app requires")
    );
    let for_development = "[packages]\nfastapi = '*'\n[dev-packages]\nuvicorn = '*'\n";
    assert!(
        page(&[("m.py", FASTAPI), ("Pipfile", for_development)]).contains("and add uvicorn to what the app requires")
    );
    let lock = "{\"_meta\": {}, \"default\": {\"fastapi\": {\"version\": \"==1\"}}, \"develop\": {\"uvicorn\": {\"version\": \"==1\"}}}";
    assert!(page(&[("m.py", FASTAPI), ("Pipfile.lock", lock)]).contains("and add uvicorn to what the app requires"));
    let lock = lock.replace("\"fastapi\"", "\"hypercorn\": {\"version\": \"==1\"}, \"fastapi\"");
    assert!(page(&[("m.py", FASTAPI), ("Pipfile.lock", &lock)]).contains("web: hypercorn "));
    let undeclared = "into a file requirements.txt: no file of the app asks for packages, and none is installed";
    assert!(page(&[("m.py", FASTAPI)]).contains(&format!("and write fastapi and uvicorn {undeclared}")));
    assert!(page(&[("manage.py", "")]).contains(&format!("and write django {undeclared}")));
    assert!(!page(&[("m.py", FASTAPI), ("requirements.txt", "uvicorn[standard]==0.30\n")]).contains("and add"));
}

#[test]
fn what_only_looks_like_an_app_is_none() {
    for text in
        ["    app = Flask(x)\n", "# app = Flask(x)\n", "app == Flask(x)\n", "app = Flaskish(x)\n", "app.x = Flask(x)\n"]
    {
        let text = page(&[("one.py", text), ("two.py", "")]);
        assert!(text.contains("web: python FILE.py"), "{text}");
    }
}
