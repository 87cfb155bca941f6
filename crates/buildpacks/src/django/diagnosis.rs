//! From what a failed `manage.py` said to a page that helps. Pure.

use std::process::Output;

use super::VARIABLE;
use crate::context::Context;
use crate::failure::Failure;
use crate::install::{Secrets, distribution_of_import};

/// Lines of evidence.
const MAX_EVIDENCE: usize = 14;
/// Ends of the names of exceptions.
const EXCEPTIONS: [&str; 6] = ["Error", "Exception", "ImproperlyConfigured", "UndefinedValue", "NotFound", "Warning"];

/// What a process said, with nothing secret in it.
#[derive(Debug)]
pub(super) struct Said {
    text: String,
    code: Option<i32>,
}

impl Said {
    pub(super) fn of(output: &Output, secrets: &Secrets) -> Self {
        let both = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        Self { text: secrets.mask(&both.join("\n")), code: output.status.code() }
    }

    /// Lines that are not empty.
    pub(super) fn lines(&self) -> impl Iterator<Item = &str> {
        self.text.lines().map(str::trim_end).filter(|line| !line.trim().is_empty())
    }

    /// The last line that names an exception, as tracebacks end: `KeyError: 'SECRET_KEY'`.
    fn exception(&self) -> Option<&str> {
        let lines: Vec<&str> = self.lines().collect();
        let is_it = |line: &&&str| {
            let name = line.split([':', ' ']).next().unwrap_or_default();
            !line.starts_with(' ') && EXCEPTIONS.iter().any(|end| name.ends_with(end))
        };
        lines.iter().rev().find(is_it).or(lines.last()).copied()
    }

    fn evidence(&self) -> Vec<String> {
        let lines: Vec<&str> = self.lines().filter(|line| !line.contains("File \"<frozen ")).collect();
        lines[lines.len().saturating_sub(MAX_EVIDENCE)..].iter().map(|line| (*line).to_owned()).collect()
    }
}

/// Why it failed, as far as its words tell, and what helps.
struct Cause {
    why: String,
    fixes: Vec<String>,
    code: &'static str,
}

/// The page for a command of `manage.py` that failed.
pub(super) fn explain(command: &str, said: &Said, context: &Context) -> Failure {
    let ended = match said.code {
        Some(code) => format!("`{command}` ended with code {code}"),
        None => format!("a signal ended `{command}`"),
    };
    let exception = said.exception().unwrap_or_default();
    let is_set = |name: &str| context.variable(name).is_some();
    let Cause { why, fixes, code } = of_pydantic(said, is_set).unwrap_or_else(|| cause(exception, is_set));
    let off = format!("or build without static files: --env {VARIABLE}=false");
    let mut fixes = fixes.into_iter().chain([off]);
    let first = fixes.next().unwrap_or_default();
    let mut failure = Failure::new("collecting Django's static files", ended, why, first)
        .with_evidence(said.evidence())
        .of_kind(code);
    if !exception.is_empty() {
        failure = failure.and_seen(exception);
    }
    fixes.fold(failure, Failure::and_fix)
}

/// The fields that settings of pydantic miss, as its error lists them: a name at the margin, and below it `Field required`. Which variable gives a field is
/// the model's to say: its name, whatever the case, behind the model's prefix.
fn of_pydantic(said: &Said, is_set: impl Fn(&str) -> bool) -> Option<Cause> {
    let lines: Vec<&str> = said.lines().collect();
    let start =
        lines.iter().rposition(|line| line.contains("ValidationError: ") && line.contains("validation error"))?;
    let model = lines[start].rsplit(" for ").next()?.trim();
    let is_missing = |line: &str| {
        let line = line.trim_start();
        (line.starts_with("Field required") || line.starts_with("field required")) && line.contains("missing")
    };
    let is_field = |name: &str| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let fields = lines[start..].windows(2).filter(|pair| is_missing(pair[1])).map(|pair| pair[0]);
    // What lies within another field comes of that one's variable.
    let mut names: Vec<String> = fields.filter(|name| is_field(name)).map(str::to_ascii_uppercase).collect();
    names.retain(|name| !is_set(name) && !is_set(&name.to_ascii_lowercase()));
    let (list, them) = (names.join(", "), if names.len() == 1 { "it" } else { "each" });
    let options: Vec<String> = names.iter().map(|name| format!("--env {name}=VALUE")).collect();
    (!names.is_empty()).then(|| Cause {
        why: format!("{model} (pydantic) wants {list}, and a build has only the variables that it is given"),
        fixes: vec![
            format!(
                "build with {} (with the prefix of the model, where it has an env_prefix); the image keeps no such variable, and any value does that the \
                 settings take",
                options.join(" ")
            ),
            format!("or give {them} a default in {model}"),
        ],
        code: "django-variable-missing",
    })
}

fn cause(exception: &str, is_set: impl Fn(&str) -> bool) -> Cause {
    let one = |code, why: &str, fix: String| Cause { why: why.to_owned(), fixes: vec![fix], code };
    if let Some(name) = missing_variable(exception).filter(|name| !is_set(name)) {
        return Cause {
            why: format!("the settings want {name}, and a build has only the variables that it is given"),
            fixes: vec![
                format!(
                    "build with --env {name}=VALUE; the image does not keep it, and any value does that the settings take"
                ),
                format!("or give it a default in the settings: os.environ.get(\"{name}\", …)"),
            ],
            code: "django-variable-missing",
        };
    }
    if let Some(module) = between(exception, "No module named '", "'") {
        let top = module.split('.').next().unwrap_or(module);
        let package = distribution_of_import(&top.to_lowercase()).unwrap_or(top);
        return Cause {
            why: format!(
                "the settings or an app of the project import {module}, and it is neither installed nor in the app"
            ),
            fixes: vec![
                format!("add {package} to what the app requires, if it is a package"),
                "or, if it is the module of the settings, name the right one: --env DJANGO_SETTINGS_MODULE=…"
                    .to_owned(),
            ],
            code: "django-module-missing",
        };
    }
    let has = |part: &str| exception.contains(part);
    if has("OperationalError") || has("onnection refused") || has("could not translate host name") {
        return one(
            "django-database",
            "something asks the database while the project is loaded, and a build has none",
            "have it asked when a page is, not when a module is imported or an app gets ready".to_owned(),
        );
    }
    if has("could not be found with <") || has("MissingFileError") {
        return one(
            "django-file-missing",
            "a style sheet or script names a file that no app of the project has",
            "add the file, or correct the url() or import that names it".to_owned(),
        );
    }
    if let Some(path) = between(exception, "No such file or directory: '", "'") {
        return one(
            "django-file-missing",
            "a folder of STATICFILES_DIRS or another file that is wanted is not in the app; git keeps no empty folders",
            format!("add {path}, or leave it out of the settings"),
        );
    }
    if has("PermissionError") {
        return one(
            "django-permission",
            "the build may write into the app alone",
            "set STATIC_ROOT to a folder below BASE_DIR".to_owned(),
        );
    }
    one(
        "django-failed",
        "the project cannot be loaded as it is, or its files not be collected",
        "run the same command on your machine, with only the variables of the build, and mend what it says".to_owned(),
    )
}

/// The variable that is missed, by the words of Python, Django, django-environ, python-decouple and others.
fn missing_variable(exception: &str) -> Option<&str> {
    if let Some(name) = between(exception, "KeyError: '", "'") {
        return Some(name).filter(|name| is_variable(name));
    }
    if let Some(name) = between(exception, "The ", " setting must not be empty") {
        return Some(name).filter(|name| is_variable(name));
    }
    let lower = exception.to_lowercase();
    let speaks = ["environment variable", "envvar", "env var", "env variable", "not found. declare it"];
    if !speaks.iter().any(|words| lower.contains(words)) {
        return None;
    }
    exception.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).find(|word| is_variable(word))
}

fn is_variable(word: &str) -> bool {
    word.len() >= 3
        && word.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
        && word.starts_with(|c: char| c.is_ascii_uppercase())
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(start)?;
    rest.split_once(end).map(|(inner, _)| inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_that_is_missed_is_named_whoever_misses_it() {
        for (exception, name) in [
            ("KeyError: 'SECRET_KEY'", Some("SECRET_KEY")),
            ("KeyError: 'default'", None),
            (
                "django.core.exceptions.ImproperlyConfigured: The SECRET_KEY setting must not be empty.",
                Some("SECRET_KEY"),
            ),
            (
                "django.core.exceptions.ImproperlyConfigured: Set the DATABASE_URL environment variable",
                Some("DATABASE_URL"),
            ),
            (
                "decouple.UndefinedValueError: DB_NAME not found. Declare it as envvar or define a default value.",
                Some("DB_NAME"),
            ),
            ("environs.exceptions.EnvError: Environment variable \"API_TOKEN\" not set", Some("API_TOKEN")),
            ("ValueError: the environment variable is wrong", None),
            ("ImportError: SECRET_KEY", None),
        ] {
            assert_eq!(missing_variable(exception), name, "{exception}");
        }
        let page = |set: bool| cause("KeyError: 'SECRET_KEY'", |_| set);
        assert_eq!(page(false).code, "django-variable-missing");
        assert_eq!(page(true).code, "django-failed", "one that is set is not missed");
    }

    #[test]
    fn fields_that_settings_of_pydantic_miss_are_variables() {
        let page = |text: &str, set: &[&str]| {
            let said = Said { text: text.to_owned(), code: Some(1) };
            of_pydantic(&said, |name| set.contains(&name)).map(|cause| (cause.why, cause.fixes))
        };
        let second = "Traceback (most recent call last):\n  File \"x\", line 1\npydantic_core._pydantic_core.ValidationError: 3 validation errors for ShopSettings\nsecret_key\n  Field required [type=missing, input_value={}, input_type=dict]\n    For further information visit https://errors.pydantic.dev/2.11/v/missing\nDATABASE_URL\n  Field required [type=missing, input_value={}, input_type=dict]\n    For further information visit https://errors.pydantic.dev/2.11/v/missing\nport\n  Input should be a valid integer, unable to parse string as an integer [type=int_parsing, input_value='x', input_type=str]\n";
        let (why, fixes) = page(second, &[]).unwrap();
        assert!(why.starts_with("ShopSettings (pydantic) wants SECRET_KEY, DATABASE_URL, and a build"), "{why}");
        assert!(
            fixes[0].starts_with("build with --env SECRET_KEY=VALUE --env DATABASE_URL=VALUE (with"),
            "{}",
            fixes[0]
        );
        let (why, fixes) = page(second, &["secret_key"]).unwrap();
        assert!(why.contains("wants DATABASE_URL,") && fixes[1] == "or give it a default in ShopSettings", "{why}");
        assert_eq!(page(second, &["SECRET_KEY", "DATABASE_URL"]), None);
        let first = "pydantic.error_wrappers.ValidationError: 1 validation error for Settings\nsecret_key\n  field required (type=value_error.missing)\n";
        assert!(page(first, &[]).unwrap().0.starts_with("Settings (pydantic) wants SECRET_KEY,"));
        assert_eq!(page("KeyError: 'SECRET_KEY'\n", &[]), None);
    }

    #[test]
    fn each_cause_has_words_of_its_own() {
        for (exception, code, fix) in [
            ("ModuleNotFoundError: No module named 'PIL'", "django-module-missing", "add pillow to"),
            (
                "ValueError: The file 'a.png' could not be found with <whitenoise.X object>.",
                "django-file-missing",
                "url()",
            ),
            (
                "FileNotFoundError: [Errno 2] No such file or directory: '/workspace/static'",
                "django-file-missing",
                "/workspace/static",
            ),
            ("django.db.utils.OperationalError: connection to server failed", "django-database", "when a page is"),
            ("PermissionError: [Errno 13] Permission denied: '/srv'", "django-permission", "STATIC_ROOT"),
            ("CommandError: An error", "django-failed", "run the same command"),
        ] {
            let cause = cause(exception, |_| false);
            assert_eq!(cause.code, code, "{exception}");
            assert!(cause.fixes[0].contains(fix), "{}", cause.fixes[0]);
        }
    }

    #[test]
    fn the_exception_is_the_last_line_that_names_one() {
        let said = |text: &str| Said { text: text.to_owned(), code: Some(1) };
        let text = "Traceback (most recent call last):\n  File \"x\", line 1\nKeyError: 'A'\n\nDuring handling:\n  raise\nshop.errors.ConfigError: B\n  detail\n\n";
        assert_eq!(said(text).exception(), Some("shop.errors.ConfigError: B"));
        assert_eq!(said("CommandError: C\nmore\n").exception(), Some("CommandError: C"));
        assert_eq!(said("words\n").exception(), Some("words"));
        assert_eq!(said("").exception(), None);
    }
}
