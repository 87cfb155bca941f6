//! The line that an app without a Procfile would need, by what lies in it: web frameworks are seen by the text of the sources, which are read and
//! never run. The line works with what the app requires; what would be better, or is missing, is said beside it. Knows no processes and no buildpacks.

mod programs;
mod servers;
mod sources;

use crate::context::Context;
use crate::dependencies;
use crate::failure::Failure;

use programs::Programs;
use servers::{Interface, Made, PORT, Served, serve};
use sources::{Module, Source, Sources, is_project_installed};
pub(crate) use sources::{installed_lines, requires};

/// A line for a Procfile.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Proposal {
    /// The line, `web: gunicorn shop:app`, and what it lacks.
    served: Served,
    /// What was seen: `app.py line 3 makes the Flask app called app`.
    seen: String,
    /// What must be changed in the app first.
    first: Option<String>,
    /// The package that the app is written for.
    package: Option<String>,
}

impl Proposal {
    fn new(served: Served, seen: String) -> Self {
        Self { served, seen, first: None, package: None }
    }

    /// The same, of an app that is written for a framework.
    fn of(mut self, framework: &str) -> Self {
        self.package = Some(framework.to_lowercase());
        self
    }
}

/// What is looked at.
struct App<'a> {
    context: &'a Context,
    sources: Sources,
    /// Whether the build installs the project itself.
    is_installed: bool,
    /// See [`installed_lines`].
    lines: Option<String>,
}

/// Frameworks whose app is an object, the call that makes it, and how it is served.
const FRAMEWORKS: &[(&str, &str, Interface)] = &[
    ("FastAPI", "FastAPI", Interface::Asgi),
    ("Starlette", "Starlette", Interface::Asgi),
    ("Litestar", "Litestar", Interface::Asgi),
    ("Quart", "Quart", Interface::Quart),
    ("Flask", "Flask", Interface::Flask),
    ("Dash", "Dash", Interface::Wsgi),
];
/// Functions that make an app.
const FACTORIES: [&str; 3] = ["create_app", "make_app", "get_app"];

/// What an app without a process is told: the line that it probably needs, and that nothing is started without one.
pub(crate) fn explain(context: &Context) -> Failure {
    let doing = "looking for the process that the image starts";
    let why = "nothing names the program that an image of this app starts, and a Python without one would only wait for input";
    let Some(Proposal { served, seen, first, package }) = propose(context) else {
        let (seen, start) = match Programs::of(context) {
            Some(programs) => (
                format!("there is no Procfile, and {} of pyproject.toml names {}", programs.key, programs.listed()),
                "PROGRAM",
            ),
            None => {
                ("there is no Procfile, and no file that tells how the app is started".to_owned(), "python FILE.py")
            }
        };
        let fix = format!("write a line like this one into a file called Procfile: web: {start}");
        return Failure::new(doing, seen, why, fix);
    };
    let Served { line, needs, better } = served;
    let write = format!("write this line into a file called Procfile: {line}");
    let seen = format!("there is no Procfile, and {seen}");
    let mut failure = match first {
        Some(first) => Failure::new(doing, seen, why, first).and_fix(format!("then {write}")),
        None => Failure::new(doing, seen, why, write),
    };
    let undeclared = package.filter(|_| matches!(dependencies::leader(context), Ok(None)));
    if let Some(package) = undeclared {
        failure = failure.and_fix(format!(
            "and write {} into a file requirements.txt: no file of the app asks for packages, and none is installed",
            needs.map_or(package.clone(), |needs| format!("{package} and {needs}"))
        ));
    } else if let Some(package) = needs {
        failure = failure.and_fix(format!("and add {package} to what the app requires"));
    }
    let command = line.trim_start_matches("web: ").replace('\'', "\"");
    failure = failure.and_fix(format!("or for this build alone: --env 'BP_PROCFILE_DEFAULT_PROCESS={command}'"));
    if let Some((package, line)) = better {
        let fix = format!("better for more than a try: add {package} to what the app requires, and write {line}");
        failure = failure.and_fix(fix);
    }
    failure
}

/// The line that fits best.
fn propose(context: &Context) -> Option<Proposal> {
    let app = App {
        context,
        sources: Sources::read(context),
        is_installed: is_project_installed(context),
        lines: installed_lines(context),
    };
    app.django()
        .map(|found| found.of("django"))
        .or_else(|| app.streamlit().map(|found| found.of("streamlit")))
        .or_else(|| app.gradio().map(|found| found.of("gradio")))
        .or_else(|| app.object())
        .or_else(|| app.factory())
        .or_else(|| app.script())
        .or_else(|| app.package())
        .or_else(|| app.file())
}

/// A line that lacks nothing.
fn line(line: String, seen: String) -> Proposal {
    Proposal::new(Served { line, needs: None, better: None }, seen)
}

impl App<'_> {
    fn serve(&self, interface: Interface, made: Made, module: &Module, name: &str) -> Served {
        serve(interface, made, module, name, &|package| self.requires(package))
    }

    fn requires(&self, package: &str) -> bool {
        requires(self.context, self.lines.as_deref(), package)
    }

    /// `manage.py`, wherever it lies, and the package with `wsgi.py` or `asgi.py` below its folder.
    fn django(&self) -> Option<Proposal> {
        let is_manage = |source: &&Source| {
            source.path.ends_with("manage.py")
                && (source.path.components().count() == 1 || source.text.contains("DJANGO_SETTINGS_MODULE"))
        };
        let manage = self.sources.0.iter().find(is_manage)?;
        let home = manage.path.parent()?;
        let of = |file: &str, maker: &str| {
            let is_it = |source: &&Source| {
                source.path.starts_with(home) && source.path.ends_with(file) && source.text.contains(maker)
            };
            let source = self.sources.0.iter().find(is_it)?;
            let below = source.path.strip_prefix(home).ok()?.with_extension("");
            let name = below.iter().map(|part| part.to_str()).collect::<Option<Vec<_>>>()?.join(".");
            let before = match home.to_str()? {
                "" => String::new(),
                home => format!("PYTHONPATH={home} "),
            };
            Some((source.shown(), Module { name, before }))
        };
        let has = |package: &str| self.requires(package);
        let runserver = format!("web: python {} runserver --noreload 0.0.0.0:{PORT}", manage.shown());
        let wsgi = of("wsgi.py", "get_wsgi_application");
        let is_async = !has("gunicorn") && !has("waitress") && ["uvicorn", "daphne", "hypercorn"].into_iter().any(has);
        let asgi = of("asgi.py", "get_asgi_application").filter(|_| is_async || wsgi.is_none());
        let interface = if asgi.is_some() { Interface::Asgi } else { Interface::Wsgi };
        let Some((file, module)) = asgi.or(wsgi) else {
            return Some(line(runserver, format!("{} is Django's", manage.shown())));
        };
        let mut served = self.serve(interface, Made::Object, &module, "application");
        if let Some(package) = served.needs.take() {
            served = Served { better: Some((package, served.line)), line: runserver, needs: None };
        }
        Some(Proposal::new(served, format!("{} and {file} are Django's", manage.shown())))
    }

    fn streamlit(&self) -> Option<Proposal> {
        let source = self.sources.0.iter().find(|source| source.imports("streamlit"))?;
        let file = source.shown();
        let options = format!("--server.address 0.0.0.0 --server.port {PORT} --server.headless true");
        Some(line(format!("web: streamlit run {file} {options}"), format!("{file} imports streamlit")))
    }

    fn gradio(&self) -> Option<Proposal> {
        let launches = |source: &&Source| source.imports("gradio") && source.text.contains(".launch(");
        let file = self.sources.0.iter().find(launches)?.shown();
        let command = format!("web: GRADIO_SERVER_NAME=0.0.0.0 GRADIO_SERVER_PORT={PORT} python {file}");
        Some(line(command, format!("{file} launches a Gradio app")))
    }

    /// `app = FastAPI()` at the left margin.
    fn object(&self) -> Option<Proposal> {
        self.sources.0.iter().find_map(|source| {
            let module = source.module(self.is_installed)?;
            source.text.lines().enumerate().find_map(|(index, text)| {
                let (name, maker) = assigned(text)?;
                let (framework, _, interface) = FRAMEWORKS.iter().find(|(_, known, _)| *known == maker)?;
                let seen = format!("{} line {} makes the {framework} app called {name}", source.shown(), index + 1);
                let entry = self.entry(source, name);
                let proposal = match (*framework, entry) {
                    ("Dash", _) => self.dash(source, &module, name, seen),
                    (_, None) => Proposal::new(self.serve(*interface, Made::Object, &module, name), seen),
                    (_, Some((entry, file))) => {
                        let seen = format!("{seen}, which {file} imports to be started");
                        Proposal::new(self.serve(*interface, Made::Object, &entry, name), seen)
                    }
                };
                Some(proposal.of(framework))
            })
        })
    }

    /// The file at the app's root that imports the app from the package of `maker`: what else of the package it imports makes the app whole (its pages).
    fn entry(&self, maker: &Source, name: &str) -> Option<(Module, String)> {
        let package = maker.path.iter().next().filter(|_| maker.path.components().count() > 1)?.to_str()?;
        let at_root = self.sources.0.iter().filter(|source| source.path.components().count() == 1);
        let is_entry = |source: &&Source| {
            let shown = source.shown();
            let is_test = shown.starts_with("test") || shown.ends_with("_test.py") || shown == "conftest.py";
            // A server that begins while the file is imported never lets another one begin.
            let starts = source.text.lines().any(|line| line.starts_with(&format!("{name}.run(")));
            !is_test && !starts && source.takes(name, package)
        };
        let source = at_root.into_iter().find(is_entry)?;
        Some((source.module(self.is_installed)?, source.shown()))
    }

    /// Dash keeps its WSGI app in an attribute, which servers take by a name of its own.
    fn dash(&self, source: &Source, module: &Module, app: &str, seen: String) -> Proposal {
        let attribute = format!("{app}.server");
        let is_server = |text: &&str| text.split_once('=').is_some_and(|(_, value)| value.trim() == attribute);
        let named = source.text.lines().filter(|text| !text.starts_with([' ', '\t', '#'])).find(is_server);
        let named = named.and_then(|text| text.split(['=', ':']).next()).map(str::trim);
        let served = self.serve(Interface::Wsgi, Made::Object, module, named.unwrap_or("server"));
        let runs = [".run(", ".run_server("].iter().any(|call| source.text.contains(&format!("{app}{call}")));
        let own = format!("web: HOST=0.0.0.0 PORT={PORT} python {}", source.shown());
        let add = format!("add the line `server = {attribute}` to {}", source.shown());
        match (named, served.needs) {
            (Some(_), None) => Proposal::new(served, seen),
            (Some(_), Some(package)) if runs => {
                Proposal::new(Served { line: own, needs: None, better: Some((package, served.line)) }, seen)
            }
            (None, _) if runs => line(own, seen),
            (named, _) => Proposal { first: named.is_none().then_some(add), ..Proposal::new(served, seen) },
        }
    }

    /// `def create_app(…)` at the left margin.
    fn factory(&self) -> Option<Proposal> {
        let makers = [
            ("flask", "Flask", Interface::Flask),
            ("fastapi", "FastAPI", Interface::Asgi),
            ("starlette", "Starlette", Interface::Asgi),
        ];
        self.sources.0.iter().find_map(|source| {
            let (_, framework, interface) = makers.iter().find(|(package, ..)| source.imports(package))?;
            let module = source.module(self.is_installed)?;
            let name = FACTORIES.into_iter().find(|name| {
                let start = format!("def {name}(");
                source.text.lines().any(|line| line.starts_with(&start))
            })?;
            let seen = format!("{} has a function {name} that makes a {framework} app", source.shown());
            Some(Proposal::new(self.serve(*interface, Made::Factory, &module, name), seen).of(framework))
        })
    }

    /// The project's own program, or what it calls, where the project itself is not installed.
    fn script(&self) -> Option<Proposal> {
        let programs = Programs::of(self.context)?;
        let (name, target) = programs.chosen()?;
        let seen = format!("{} of pyproject.toml names the program {name}", programs.key);
        if self.is_installed {
            return Some(line(format!("web: {name}"), seen));
        }
        let (module, function) = target.split_once(':')?;
        let function = function.split('[').next().unwrap_or(function).trim();
        let found = self.sources.of_name(module.trim())?;
        let first = function.split('.').next().unwrap_or(function);
        let is_word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.');
        let program = format!("import sys; from {} import {first}; sys.exit({function}())", found.name);
        let seen = format!("{seen}, which is not installed because the project is not");
        function.chars().all(is_word).then(|| line(format!("web: {}python -c '{program}'", found.before), seen))
    }

    /// A package that `python -m` starts.
    fn package(&self) -> Option<Proposal> {
        let is_program =
            |source: &&Source| source.path.ends_with("__main__.py") && source.path.components().count() > 1;
        let source = self.sources.0.iter().find(is_program)?;
        let module = source.module(self.is_installed)?;
        let name = module.name.strip_suffix(".__main__")?;
        Some(line(format!("web: {}python -m {name}", module.before), format!("{} is a program", source.shown())))
    }

    /// A file that is called as programs are, or the only one.
    fn file(&self) -> Option<Proposal> {
        let at_root = |source: &&Source| source.path.components().count() == 1 && !source.path.ends_with("setup.py");
        let at_root: Vec<&Source> = self.sources.0.iter().filter(at_root).collect();
        let usual = self.sources.0.iter().find(|source| source.is_usual());
        let source = usual.or_else(|| (at_root.len() == 1).then(|| at_root[0]))?;
        let path = source.shown();
        Some(line(format!("web: python {path}"), format!("{path} looks like the program")))
    }
}

/// `app` and `FastAPI` of `app: X = fastapi.FastAPI(…)` at the left margin.
fn assigned(text: &str) -> Option<(&str, &str)> {
    let (name, value) = text.split_once('=')?;
    let name = name.split(':').next()?.trim_end();
    let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let called = value.trim_start().split('(').next().filter(|_| value.contains('('))?.trim();
    is_name.then_some((name, called.rsplit('.').next()?))
}

#[cfg(test)]
mod tests;
