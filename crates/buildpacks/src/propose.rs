//! The line that an app without a Procfile would need, by what lies in it: web frameworks are seen by the text of the sources, which are read and
//! never run. Knows no processes and no buildpacks.

use std::path::{Path, PathBuf};

use crate::context::Context;
use crate::encoding::decode_text;
use crate::failure::Failure;

/// Where sources are looked for, and how many.
const MAX_DEPTH: usize = 3;
const MAX_FILES: usize = 300;
const MAX_FILE_BYTES: u64 = 1 << 20;
/// Folders that hold other people's code, or none that starts.
const SKIPPED: &[&str] = &[
    "node_modules",
    "venv",
    "env",
    "__pycache__",
    "site-packages",
    "vendor",
    "tests",
    "test",
    "docs",
    "docs_src",
    "examples",
    "migrations",
];
/// Files that people start, in the order of likelihood.
const STARTED: &[&str] =
    &["main.py", "app.py", "server.py", "run.py", "start.py", "bot.py", "wsgi.py", "asgi.py", "hello.py"];
const PORT: &str = "${PORT:-8080}";

/// A line for a Procfile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Proposal {
    /// `web: gunicorn shop:app`.
    pub(crate) line: String,
    /// What was seen: `app.py line 3 makes the Flask app called app`.
    pub(crate) seen: String,
    /// A package that the line needs and no file asks for.
    pub(crate) needs: Option<&'static str>,
}

/// One source, as far as it was read.
struct Source {
    /// Below the app.
    path: PathBuf,
    text: String,
    /// It lies in a package below `src` of a project that is installed: `src` is then no part of its name.
    installed_from_src: bool,
}

/// A framework whose app is an object at the left margin of a file.
struct Framework {
    name: &'static str,
    /// What makes the object: `FastAPI(`.
    maker: &'static str,
    /// The program that serves it, and whether that comes with the framework.
    line: fn(target: &str) -> String,
    needs: &'static str,
}

const FRAMEWORKS: &[Framework] = &[
    Framework { name: "FastAPI", maker: "FastAPI", line: uvicorn, needs: "uvicorn" },
    Framework { name: "Starlette", maker: "Starlette", line: uvicorn, needs: "uvicorn" },
    Framework { name: "Quart", maker: "Quart", line: uvicorn, needs: "uvicorn" },
    Framework { name: "Flask", maker: "Flask", line: gunicorn, needs: "gunicorn" },
    Framework { name: "Dash", maker: "Dash", line: gunicorn_server, needs: "gunicorn" },
];

fn uvicorn(target: &str) -> String {
    format!("web: uvicorn {target} --host 0.0.0.0 --port {PORT}")
}

fn gunicorn(target: &str) -> String {
    format!("web: gunicorn --bind 0.0.0.0:{PORT} {target}")
}

/// Dash keeps its WSGI app in an attribute.
fn gunicorn_server(target: &str) -> String {
    gunicorn(&format!("{target}.server"))
}

/// What an app without a process is told: the line that it probably needs, and that nothing is started without one.
pub(crate) fn explain(context: &Context) -> Failure {
    let doing = "looking for the process that the image starts";
    let why = "nothing names the program that an image of this app starts, and a Python without one would only wait for input";
    let Some(proposal) = propose(context) else {
        return Failure::new(
            doing,
            "there is no Procfile, and no file that tells how the app is started",
            why,
            "write a line like this one into a file called Procfile: web: python FILE.py",
        );
    };
    let mut failure = Failure::new(
        doing,
        format!("there is no Procfile, and {}", proposal.seen),
        why,
        format!("write this line into a file called Procfile: {}", proposal.line),
    );
    if let Some(package) = proposal.needs {
        failure = failure.and_fix(format!("and add {package} to what the app requires"));
    }
    let command = proposal.line.trim_start_matches("web: ").replace('\'', "\"");
    failure.and_fix(format!("or for this build alone: --env 'BP_PROCFILE_DEFAULT_PROCESS={command}'"))
}

/// The line that fits best.
fn propose(context: &Context) -> Option<Proposal> {
    let sources = read_sources(&context.app_dir);
    let requires = |package: &str| requires(context, package);
    django(context, &sources)
        .or_else(|| streamlit(&sources))
        .or_else(|| gradio(&sources))
        .or_else(|| object(&sources))
        .or_else(|| factory(&sources))
        .or_else(|| script(context))
        .or_else(|| package(&sources))
        .or_else(|| file(&sources))
        .map(|proposal| Proposal { needs: proposal.needs.filter(|package| !requires(package)), ..proposal })
}

fn read_sources(app_dir: &Path) -> Vec<Source> {
    let walk = walkdir::WalkDir::new(app_dir).max_depth(MAX_DEPTH).sort_by_file_name().into_iter();
    let entries = walk.filter_entry(|entry| {
        let name = entry.file_name().to_string_lossy();
        entry.depth() == 0 || !(name.starts_with('.') || SKIPPED.contains(&name.as_ref()))
    });
    let files = entries.flatten().filter(|entry| {
        entry.file_type().is_file()
            && entry.path().extension().is_some_and(|extension| extension == "py")
            && entry.metadata().is_ok_and(|about| about.len() <= MAX_FILE_BYTES)
    });
    let project = fs_err::read_to_string(app_dir.join("pyproject.toml")).unwrap_or_default();
    let is_installed = !app_dir.join("src/__init__.py").exists()
        && (project.lines().any(|line| line.trim() == "[build-system]") || app_dir.join("setup.py").is_file());
    let mut sources: Vec<Source> = files
        .take(MAX_FILES)
        .filter_map(|entry| {
            let path = entry.path().strip_prefix(app_dir).ok()?.to_owned();
            let installed_from_src = is_installed && path.starts_with("src") && path.components().count() > 2;
            Some(Source { path, text: decode_text(&fs_err::read(entry.path()).ok()?).ok()?, installed_from_src })
        })
        .collect();
    // What lies at the root and is called as such files are is started rather than what lies below.
    sources.sort_by_key(|source| (source.path.components().count(), rank(&source.path), source.path.clone()));
    sources
}

fn rank(path: &Path) -> usize {
    STARTED.iter().position(|name| path.file_name().is_some_and(|file| file == *name)).unwrap_or(STARTED.len())
}

impl Source {
    /// `shop.wsgi` of `shop/wsgi.py`; none for names that no import statement takes.
    fn module(&self) -> Option<String> {
        let path = self.path.with_extension("");
        let parts: Vec<&str> = path.iter().map(|part| part.to_str()).collect::<Option<_>>()?;
        let is_name = |part: &&str| !part.is_empty() && part.chars().all(|c| c.is_alphanumeric() || c == '_');
        let parts = if parts.last() == Some(&"__init__") { &parts[..parts.len() - 1] } else { &parts[..] };
        let parts = if self.installed_from_src { &parts[1..] } else { parts };
        (!parts.is_empty() && parts.iter().all(is_name)).then(|| parts.join("."))
    }

    /// Whether a line imports the package.
    fn imports(&self, package: &str) -> bool {
        self.text.lines().any(|line| {
            let words: Vec<&str> = line.split([' ', ',', '\t']).filter(|word| !word.is_empty()).take(2).collect();
            matches!(words.as_slice(), ["import" | "from", name] if name.split('.').next() == Some(package))
        })
    }

    fn shown(&self) -> String {
        self.path.display().to_string()
    }
}

/// `manage.py` and the package with `wsgi.py`.
fn django(context: &Context, sources: &[Source]) -> Option<Proposal> {
    context.app_file("manage.py")?;
    let wsgi =
        sources.iter().find(|source| source.path.ends_with("wsgi.py") && source.text.contains("get_wsgi_application"));
    let Some(module) = wsgi.and_then(Source::module) else {
        let line = format!("web: python manage.py runserver --noreload 0.0.0.0:{PORT}");
        return Some(Proposal { line, seen: "manage.py is Django's".to_owned(), needs: None });
    };
    let seen = format!("manage.py and {} are Django's", wsgi.map(Source::shown).unwrap_or_default());
    Some(Proposal { line: gunicorn(&module), seen, needs: Some("gunicorn") })
}

fn streamlit(sources: &[Source]) -> Option<Proposal> {
    let source = sources.iter().find(|source| source.imports("streamlit"))?;
    let file = source.shown();
    Some(Proposal {
        line: format!("web: streamlit run {file} --server.address 0.0.0.0 --server.port {PORT} --server.headless true"),
        seen: format!("{file} imports streamlit"),
        needs: None,
    })
}

fn gradio(sources: &[Source]) -> Option<Proposal> {
    let source = sources.iter().find(|source| source.imports("gradio") && source.text.contains(".launch("))?;
    let file = source.shown();
    Some(Proposal {
        line: format!("web: GRADIO_SERVER_NAME=0.0.0.0 GRADIO_SERVER_PORT={PORT} python {file}"),
        seen: format!("{file} launches a Gradio app"),
        needs: None,
    })
}

/// `app = FastAPI()` at the left margin.
fn object(sources: &[Source]) -> Option<Proposal> {
    sources.iter().find_map(|source| {
        let module = source.module()?;
        source.text.lines().enumerate().find_map(|(index, line)| {
            let (name, value) = line.split_once('=')?;
            let name = name.split(':').next()?.trim_end();
            let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            let called = value.trim_start().split('(').next().filter(|_| value.contains('('))?.trim();
            let called = called.rsplit('.').next()?;
            let framework = FRAMEWORKS.iter().find(|framework| framework.maker == called).filter(|_| is_name)?;
            Some(Proposal {
                line: (framework.line)(&format!("{module}:{name}")),
                seen: format!("{} line {} makes the {} app called {name}", source.shown(), index + 1, framework.name),
                needs: Some(framework.needs),
            })
        })
    })
}

/// `def create_app(…)` of Flask.
fn factory(sources: &[Source]) -> Option<Proposal> {
    sources.iter().filter(|source| source.imports("flask")).find_map(|source| {
        let module = source.module()?;
        let name = ["create_app", "make_app"].into_iter().find(|name| {
            let start = format!("def {name}(");
            source.text.lines().any(|line| line.starts_with(&start))
        })?;
        Some(Proposal {
            line: gunicorn(&format!("'{module}:{name}()'")),
            seen: format!("{} has a function {name} that makes a Flask app", source.shown()),
            needs: Some("gunicorn"),
        })
    })
}

/// The first of the project's own programs.
fn script(context: &Context) -> Option<Proposal> {
    let text = decode_text(&fs_err::read(context.app_file("pyproject.toml")?).ok()?).ok()?;
    let document: toml::Table = text.parse().ok()?;
    let scripts = |path: &[&str]| {
        let first = document.get(path[0])?;
        path[1..]
            .iter()
            .try_fold(first, |value, key| value.get(key))?
            .as_table()?
            .iter()
            .next()
            .map(|(name, _)| name.clone())
    };
    let (key, name) = scripts(&["project", "scripts"])
        .map(|name| ("project.scripts", name))
        .or_else(|| scripts(&["tool", "poetry", "scripts"]).map(|name| ("tool.poetry.scripts", name)))?;
    let line = format!("web: {name}");
    Some(Proposal { line, seen: format!("{key} of pyproject.toml names the program {name}"), needs: None })
}

/// A package that `python -m` starts.
fn package(sources: &[Source]) -> Option<Proposal> {
    let source =
        sources.iter().find(|source| source.path.ends_with("__main__.py") && source.path.components().count() > 1)?;
    let module = source.module()?;
    let name = module.strip_suffix(".__main__")?;
    Some(Proposal {
        line: format!("web: python -m {name}"),
        seen: format!("{} is a program", source.shown()),
        needs: None,
    })
}

/// A file that is called as programs are, or the only one.
fn file(sources: &[Source]) -> Option<Proposal> {
    let at_root: Vec<&Source> = sources
        .iter()
        .filter(|source| source.path.components().count() == 1 && !source.path.ends_with("setup.py"))
        .collect();
    let usual = sources.iter().find(|source| rank(&source.path) < STARTED.len());
    let source = usual.or_else(|| (at_root.len() == 1).then(|| at_root[0]))?;
    let path = source.shown();
    Some(Proposal { line: format!("web: python {path}"), seen: format!("{path} looks like the program"), needs: None })
}

/// Whether a dependency file speaks of a package. A word in a comment counts too: then a person has thought of it.
fn requires(context: &Context, package: &str) -> bool {
    let named = context.variable("BP_PIP_REQUIREMENT").unwrap_or("requirements.txt");
    let files = [
        named,
        "pyproject.toml",
        "Pipfile",
        "environment.yml",
        "environment.yaml",
        "setup.py",
        "setup.cfg",
        "uv.lock",
        "poetry.lock",
        "pdm.lock",
        "pylock.toml",
    ];
    files.iter().filter_map(|name| context.app_file(name)).any(|path| {
        let text = fs_err::read(path).ok().and_then(|bytes| decode_text(&bytes).ok()).unwrap_or_default();
        text.split(|c: char| !(c.is_alphanumeric() || matches!(c, '-' | '_' | '.')))
            .any(|word| word.eq_ignore_ascii_case(package))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn the_line_fits_what_is_there() {
        let flask = "from flask import Flask\napp = Flask(__name__)\n";
        let fastapi = "import fastapi\n\napi: fastapi.FastAPI = fastapi.FastAPI(title='x')\n";
        let wsgi = "from django.core.wsgi import get_wsgi_application\napplication = get_wsgi_application()\n";
        for (files, line) in [
            (&[("shop.py", flask)][..], "web: gunicorn --bind 0.0.0.0:${PORT:-8080} shop:app\n"),
            (&[("shop/__init__.py", flask)], "gunicorn --bind 0.0.0.0:${PORT:-8080} shop:app\n"),
            (&[("src/shop/web.py", flask)], "gunicorn --bind 0.0.0.0:${PORT:-8080} src.shop.web:app\n"),
            (
                &[("src/shop/web.py", flask), ("pyproject.toml", "[build-system]\nrequires = []\n")],
                "gunicorn --bind 0.0.0.0:${PORT:-8080} shop.web:app\n",
            ),
            (
                &[("app/main.py", fastapi), ("app/__init__.py", "")],
                "web: uvicorn app.main:api --host 0.0.0.0 --port ${PORT:-8080}\n",
            ),
            (&[("manage.py", ""), ("shop/wsgi.py", wsgi)], "web: gunicorn --bind 0.0.0.0:${PORT:-8080} shop.wsgi\n"),
            (&[("ui.py", "import streamlit as st\n")], "web: streamlit run ui.py --server.address 0.0.0.0"),
            (
                &[("ui.py", "import gradio as gr\ngr.Interface(f).launch()\n")],
                "web: GRADIO_SERVER_NAME=0.0.0.0 GRADIO_SERVER_PORT=${PORT:-8080} python ui.py\n",
            ),
            (
                &[("web.py", "import flask\ndef create_app(x=1):\n    return flask.Flask(x)\n")],
                "gunicorn --bind 0.0.0.0:${PORT:-8080} 'web:create_app()'\n",
            ),
            (
                &[("pyproject.toml", "[project]\nname = 'x'\n[project.scripts]\nshop = 'x:main'\n"), ("x.py", "")],
                "web: shop\n",
            ),
            (&[("shop/__main__.py", ""), ("main2.py", ""), ("b.py", "")], "web: python -m shop\n"),
            (&[("server.py", ""), ("main.py", "")], "web: python main.py\n"),
            (&[("only.py", ""), ("setup.py", "")], "web: python only.py\n"),
            (&[("a.py", ""), ("b.py", "")], "web: python FILE.py\n"),
        ] {
            let text = page(files);
            assert!(text.contains(line), "{line}\n{text}");
        }
    }

    #[test]
    fn a_page_says_what_was_seen_and_what_is_still_needed() {
        let app = "from flask import Flask\n\napp = Flask(__name__)\n";
        assert_eq!(
            page(&[("app.py", app), ("requirements.txt", "flask\n")]),
            "Error while looking for the process that the image starts\n  seen  there is no Procfile, and app.py line 3 makes the Flask app called app\n  why   nothing names the program that an image of this app starts, and a Python without one would only wait for input\n  do    write this line into a file called Procfile: web: gunicorn --bind 0.0.0.0:${PORT:-8080} app:app\n        and add gunicorn to what the app requires\n        or for this build alone: --env 'BP_PROCFILE_DEFAULT_PROCESS=gunicorn --bind 0.0.0.0:${PORT:-8080} app:app'\n"
        );
        assert!(!page(&[("app.py", app), ("requirements.txt", "flask\ngunicorn==23.0\n")]).contains("and add"));
    }

    #[test]
    fn what_only_looks_like_an_app_is_none() {
        for text in [
            "    app = Flask(x)\n",
            "# app = Flask(x)\n",
            "app == Flask(x)\n",
            "app = Flaskish(x)\n",
            "app.x = Flask(x)\n",
        ] {
            let text = page(&[("one.py", text), ("two.py", "")]);
            assert!(text.contains("web: python FILE.py"), "{text}");
        }
    }
}
