//! Servers and other programs of packages that a Procfile starts: whether the app brings them. A program that is not there ends the image as soon as it
//! starts, with no more than its name.

use std::path::Path;

use crate::context::Context;
use crate::dependencies;
use crate::procfile_grammar::{Entry, Procfile};
use crate::propose;

/// Programs, and the package that has each.
const PROGRAMS: &[(&str, &str)] = &[
    ("gunicorn", "gunicorn"),
    ("uvicorn", "uvicorn"),
    ("hypercorn", "hypercorn"),
    ("daphne", "daphne"),
    ("granian", "granian"),
    ("waitress-serve", "waitress"),
    ("uwsgi", "uwsgi"),
    ("flask", "flask"),
    ("fastapi", "fastapi[standard]"),
    ("django-admin", "django"),
    ("streamlit", "streamlit"),
    ("chainlit", "chainlit"),
    ("celery", "celery"),
    ("rq", "rq"),
    ("dramatiq", "dramatiq"),
    ("alembic", "alembic"),
    ("scrapy", "scrapy"),
    ("jupyter", "jupyter"),
    ("voila", "voila"),
];

/// Words before a program that are none.
const BEFORE: [&str; 4] = ["exec", "env", "nohup", "time"];

/// A program of a package that a line starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Started<'a> {
    entry: &'a Entry,
    program: &'static str,
    package: &'static str,
}

/// What a check warns of: programs that no file of the app asks for, as far as its files say what is installed.
pub(crate) fn foresee(context: &Context, procfile: &Procfile) -> Vec<String> {
    let started = started(procfile);
    if started.is_empty() {
        return Vec::new();
    }
    let Ok(leader) = dependencies::leader(context) else { return Vec::new() };
    let lines = leader.as_ref().and_then(|_| propose::installed_lines(context));
    let is_there = |one: &Started<'_>| match (&leader, &lines) {
        (None, _) => false,
        (Some(_), Some(lines)) => propose::requires(context, Some(lines), bare(one.package)),
        (Some(_), None) => true,
    };
    let line = |one: Started<'_>| {
        let Started { entry: Entry { name, line, .. }, program, package } = one;
        match &leader {
            None => format!(
                "line {line}: {name} starts {program}, and no file of the app asks for it: write {package} into a file requirements.txt"
            ),
            Some(leader) => format!(
                "line {line}: {name} starts {program}, and {} has no such package: add {package} to what the app requires, and make the lock anew",
                leader.file
            ),
        }
    };
    started.into_iter().filter(|one| !is_there(one)).map(line).collect()
}

/// What a build warns of, when all is installed: programs that are nowhere on its path.
pub(crate) fn missing(context: &Context, procfile: &Procfile) -> Vec<String> {
    let path = context.environment.get("PATH").cloned().unwrap_or_default();
    let is_there = |one: &Started<'_>| {
        std::env::split_paths(&path).any(|dir| dir.join(one.program).exists() || has_module(&dir, bare(one.package)))
    };
    let line = |one: Started<'_>| {
        let Started { entry: Entry { name, .. }, program, package } = one;
        format!("{name} starts {program}, which nothing installs: add {package} to what the app requires")
    };
    started(procfile).into_iter().filter(|one| !is_there(one)).map(line).collect()
}

/// Whether an environment whose programs lie in `bin_dir` has a package: `python -m gunicorn` needs no program.
fn has_module(bin_dir: &Path, package: &str) -> bool {
    let Some(Ok(pythons)) = bin_dir.parent().map(|dir| fs_err::read_dir(dir.join("lib"))) else { return false };
    pythons.flatten().any(|python| python.path().join("site-packages").join(package).exists())
}

/// Without its extras.
fn bare(package: &str) -> &str {
    package.split('[').next().unwrap_or(package)
}

/// Each program once for each line.
fn started(procfile: &Procfile) -> Vec<Started<'_>> {
    let mut found: Vec<Started<'_>> = Vec::new();
    for entry in &procfile.entries {
        for name in programs(&entry.command) {
            let known = PROGRAMS.iter().find(|(program, _)| *program == name);
            let started = known.map(|(program, package)| Started { entry, program, package });
            found.extend(started.filter(|one| !found.contains(one)));
        }
    }
    found
}

/// The words of a command that are programs, as far as its text tells: the first of each part, without assignments, and modules that Python runs.
fn programs(command: &str) -> Vec<&str> {
    let parts = command.split(['&', '|', ';', '(', ')', '{', '}']);
    parts
        .filter_map(|part| {
            let is_before = |word: &&str| BEFORE.contains(word) || (word.contains('=') && !word.starts_with('-'));
            let mut words = part.split_whitespace().skip_while(is_before);
            let first = words.next()?.trim_matches(['"', '\'']);
            if first.starts_with("python") && words.next() == Some("-m") {
                return words.next();
            }
            Some(first)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_seen_in_every_part_of_a_command() {
        for (command, wanted) in [
            ("gunicorn app:app --bind 0.0.0.0:$PORT", &["gunicorn"][..]),
            ("PORT=80 exec uvicorn app:app", &["uvicorn"]),
            ("python manage.py migrate && gunicorn shop.wsgi", &["python", "gunicorn"]),
            ("python3 -m gunicorn app:app", &["gunicorn"]),
            ("env A=1 'celery' -A app worker", &["celery"]),
            ("./bin/gunicorn x; bash run.sh", &["./bin/gunicorn", "bash"]),
            ("", &[]),
        ] {
            assert_eq!(programs(command), wanted, "{command}");
        }
    }

    #[test]
    fn what_is_nowhere_on_the_path_of_the_build_is_missing() {
        let dir = tempfile::tempdir().unwrap();
        let mut context = Context {
            buildpack_dir: "/".into(),
            app_dir: "/".into(),
            platform_dir: "/".into(),
            root_dir: "/".into(),
            environment: crate::Environment::new(),
            bindings: crate::Bindings::default(),
        };
        context.environment.insert("PATH".to_owned(), dir.path().join("env/bin").into());
        let procfile =
            Procfile::parse("web: gunicorn a:a\nworker: python -m celery -A a\nother: python x.py\n").unwrap();
        assert_eq!(
            missing(&context, &procfile),
            [
                "web starts gunicorn, which nothing installs: add gunicorn to what the app requires",
                "worker starts celery, which nothing installs: add celery to what the app requires"
            ]
        );
        for path in ["env/bin", "env/lib/python3.13/site-packages/celery"] {
            fs_err::create_dir_all(dir.path().join(path)).unwrap();
        }
        fs_err::write(dir.path().join("env/bin/gunicorn"), "").unwrap();
        assert_eq!(missing(&context, &procfile), [""; 0]);
    }
}
