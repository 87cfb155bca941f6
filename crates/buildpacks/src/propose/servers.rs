//! Which program serves a web app: the first that the app requires, else what comes with its framework, and what would be better. Pure.

use super::sources::Module;

/// The port that the platform names.
pub(super) const PORT: &str = "${PORT:-8080}";

/// What a server is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Made {
    /// An object of the module.
    Object,
    /// What a function of it answers.
    Factory,
}

/// The kinds of web apps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Interface {
    /// Flask's, which comes with a server for development.
    Flask,
    /// Any other WSGI app.
    Wsgi,
    /// An ASGI app.
    Asgi,
    /// Quart's, which comes with hypercorn.
    Quart,
}

/// A line, and what it lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Served {
    pub(super) line: String,
    /// A package that the line needs and nobody asks for.
    pub(super) needs: Option<&'static str>,
    /// A package with a better server, and the line for it.
    pub(super) better: Option<(&'static str, String)>,
}

/// The line for `name` of a module.
pub(super) fn serve(
    interface: Interface,
    made: Made,
    module: &Module,
    name: &str,
    requires: &dyn Fn(&str) -> bool,
) -> Served {
    let done = |line: String| Served { line, needs: None, better: None };
    match interface {
        Interface::Flask | Interface::Wsgi => {
            let gunicorn = gunicorn(made, module, name);
            if requires("gunicorn") {
                done(gunicorn)
            } else if requires("waitress") {
                done(waitress(made, module, name))
            } else if interface == Interface::Flask {
                Served { better: Some(("gunicorn", gunicorn)), ..done(flask(module, name)) }
            } else {
                Served { needs: Some("gunicorn"), ..done(gunicorn) }
            }
        }
        Interface::Asgi | Interface::Quart => {
            let brings_uvicorn = ["uvicorn", "uvicorn-worker", "fastapi-cli", "fastapi[standard]", "fastapi[all]"]
                .iter()
                .any(|package| requires(package));
            if brings_uvicorn {
                done(uvicorn(made, module, name))
            } else if (requires("hypercorn") || interface == Interface::Quart) && made == Made::Object {
                done(hypercorn(module, name))
            } else if requires("daphne") && made == Made::Object {
                done(format!("web: {}daphne -b 0.0.0.0 -p {PORT} {}:{name}", module.before, module.name))
            } else {
                Served { needs: Some("uvicorn"), ..done(uvicorn(made, module, name)) }
            }
        }
    }
}

fn gunicorn(made: Made, module: &Module, name: &str) -> String {
    let target = match made {
        Made::Object => format!("{}:{name}", module.name),
        Made::Factory => format!("'{}:{name}()'", module.name),
    };
    format!("web: {}gunicorn --bind 0.0.0.0:{PORT} {target}", module.before)
}

fn waitress(made: Made, module: &Module, name: &str) -> String {
    let call = if made == Made::Factory { "--call " } else { "" };
    format!("web: {}waitress-serve --listen=0.0.0.0:{PORT} {call}{}:{name}", module.before, module.name)
}

fn flask(module: &Module, name: &str) -> String {
    format!("web: {}flask --app {}:{name} run --host 0.0.0.0 --port {PORT}", module.before, module.name)
}

fn uvicorn(made: Made, module: &Module, name: &str) -> String {
    let factory = if made == Made::Factory { " --factory" } else { "" };
    format!("web: {}uvicorn {}:{name}{factory} --host 0.0.0.0 --port {PORT}", module.before, module.name)
}

fn hypercorn(module: &Module, name: &str) -> String {
    format!("web: {}hypercorn --bind 0.0.0.0:{PORT} {}:{name}", module.before, module.name)
}
