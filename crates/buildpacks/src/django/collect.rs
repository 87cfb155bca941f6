//! Runs `manage.py`: first to learn what it would do, then to collect the files. Starts processes and copies files; explains nothing.

use std::path::Path;

use fs_err as fs;
use serde::{Deserialize, Serialize};

use super::diagnosis::{self, Said};
use super::kept::{self, Snapshot};
use super::key::variables;
use super::project::Project;
use super::{VARIABLE, Wish};
use crate::context::{BuildContext, Context, Environment};
use crate::failure::Failure;
use crate::install::{Secrets, is_secret};
use crate::layer::Layer;
use crate::output::Output;
use crate::process;

const PROBE: &str = include_str!("probe.py");
/// Lines that are shown of what `collectstatic` says when all is well.
const MAX_LINES: usize = 12;

/// What became of the static files.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Outcome {
    /// This many files were made, of which Django says that it copied so many; the others the storage made of them.
    Collected {
        files: usize,
        #[serde(default)]
        copied: Option<usize>,
    },
    /// None, and why.
    None { reason: String },
    /// None, and they may be missed.
    Missed { reason: String },
}

impl Outcome {
    pub(super) fn say(&self, output: &Output, is_kept: bool) {
        let unchanged = if is_kept { ", unchanged" } else { "" };
        match self {
            Self::Collected { files, copied } => {
                let made = copied.and_then(|copied| files.checked_sub(copied)).filter(|made| *made > 0);
                let of = match (copied, made) {
                    (Some(copied), Some(made)) => {
                        format!(
                            ": {copied} copied, and {made} that the storage made of them (names with hashes, compressed ones, lists)"
                        )
                    }
                    _ => String::new(),
                };
                output.step(format!("{} in the image{unchanged}{of}", counted(*files)));
            }
            Self::None { reason } => output.step(format!("no static files are collected: {reason}")),
            Self::Missed { reason } => output.warning(format!("no static files are collected: {reason}")),
        }
    }
}

fn counted(files: usize) -> String {
    if files == 1 { "1 static file".to_owned() } else { format!("{files} static files") }
}

/// The answer of the probe.
#[derive(Debug, Deserialize)]
struct Answer {
    enabled: bool,
    /// `STATIC_ROOT`, absolute.
    root: Option<String>,
    /// The class of the storage.
    storage: String,
    /// Whether the storage is a folder.
    local: bool,
}

/// Asks, collects and keeps.
pub(super) fn run(
    context: &BuildContext<'_>,
    project: &Project,
    wish: Wish,
    layer: &Layer,
) -> Result<Outcome, Failure> {
    let common = context.common;
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
    let secrets = secrets_of(&common.environment);
    let before = snapshot(&common.app_dir)?;
    let answer = ask(common, project, &secrets)?;
    if let Some(outcome) = refusal(&answer, &common.app_dir, wish) {
        return Ok(outcome);
    }
    context.output.step(project.command());
    let mut command = process::command(&project.python, &environment(common));
    command.arg(&project.manage).args(["collectstatic", "--noinput"]).current_dir(&common.app_dir);
    let output = process::run(&mut command).map_err(|error| Failure::io("starting manage.py", &error))?;
    let said = Said::of(&output, &secrets);
    if !output.status.success() {
        return Err(diagnosis::explain(&project.command(), &said, common));
    }
    for line in said.lines().take(MAX_LINES) {
        context.output.detail(line);
    }
    if let Some(more) = said.lines().count().checked_sub(MAX_LINES).filter(|more| *more > 0) {
        context.output.detail(format!("… {more} more lines"));
    }
    keep(context, &answer, &before, copied(said.lines()), layer)
}

/// How many files Django says that it copied: `1 static file copied to '/workspace/staticfiles', 3 post-processed.`
fn copied<'a>(mut lines: impl Iterator<Item = &'a str>) -> Option<usize> {
    lines.find_map(|line| {
        let (count, rest) = line.trim().split_once(" static file")?;
        let rest = rest.strip_prefix('s').unwrap_or(rest);
        rest.starts_with(" copied").then(|| count.parse().ok())?
    })
}

fn snapshot(app_dir: &Path) -> Result<Snapshot, Failure> {
    Snapshot::of(app_dir).map_err(|error| Failure::io("looking at the files of the app", &error))
}

fn ask(common: &Context, project: &Project, secrets: &Secrets) -> Result<Answer, Failure> {
    let failed = |error: std::io::Error| Failure::io("asking Django for its settings", &error);
    let temporary = tempfile::tempdir().map_err(failed)?;
    let answer_path = temporary.path().join("answer.json");
    let mut command = process::command(&project.python, &environment(common));
    command.args(["-c", PROBE, &project.manage]).arg(&answer_path).current_dir(&common.app_dir);
    let output = process::run(&mut command).map_err(failed)?;
    let answer = fs::read(&answer_path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
    answer.filter(|_| output.status.success()).ok_or_else(|| {
        let command = format!("python {} help collectstatic", project.manage);
        diagnosis::explain(&command, &Said::of(&output, secrets), common)
    })
}

/// Why nothing is to be collected.
fn refusal(answer: &Answer, app_dir: &Path, wish: Wish) -> Option<Outcome> {
    if !answer.enabled {
        let reason = "django.contrib.staticfiles is not among INSTALLED_APPS".to_owned();
        return Some(Outcome::None { reason });
    }
    if !answer.local {
        let reason = format!(
            "{} keeps them elsewhere, and a build uploads nothing unasked: run collectstatic when you deploy, or build with --env {VARIABLE}=true",
            answer.storage
        );
        return (wish != Wish::Always).then_some(Outcome::None { reason });
    }
    let Some(root) = &answer.root else {
        let fix = "set it in the settings (STATIC_ROOT = BASE_DIR / \"staticfiles\") if the app serves its own";
        return Some(Outcome::None { reason: format!("STATIC_ROOT is not set; {fix}") });
    };
    (!Path::new(root).starts_with(app_dir)).then(|| Outcome::Missed {
        reason: format!(
            "STATIC_ROOT is {root}, which does not lie in the app ({}) and so not in the image; set it to a folder below BASE_DIR",
            app_dir.display()
        ),
    })
}

/// What was made goes into the layer; what was made besides is told.
fn keep(
    context: &BuildContext<'_>,
    answer: &Answer,
    before: &Snapshot,
    copied: Option<usize>,
    layer: &Layer,
) -> Result<Outcome, Failure> {
    let app_dir = &context.common.app_dir;
    let after = snapshot(app_dir)?;
    let changed = after.changed_since(before);
    kept::keep(app_dir, &changed, layer.dir()).map_err(|error| Failure::io("keeping the static files", &error))?;
    let root = answer.root.as_deref().map(Path::new);
    let (collected, besides): (Vec<&Path>, Vec<&Path>) =
        changed.into_iter().partition(|path| root.is_some_and(|root| app_dir.join(path).starts_with(root)));
    if !besides.is_empty() {
        let mut names: Vec<String> = besides.iter().take(3).map(|path| path.display().to_string()).collect();
        if besides.len() > names.len() {
            names.push(format!("{} more", besides.len() - names.len()));
        }
        context.output.detail(format!("it also wrote {}, which is in the image, too", names.join(", ")));
    }
    Ok(Outcome::Collected { files: collected.len(), copied })
}

/// The environment of the app, without what hoist tells its own buildpacks. Bytecode of the app would be written with the time of the build.
fn environment(common: &Context) -> Environment {
    let mut environment = variables(&common.environment);
    environment.insert("PYTHONDONTWRITEBYTECODE".to_owned(), "1".into());
    environment.insert("PYTHONUNBUFFERED".to_owned(), "1".into());
    environment
}

/// What must not be shown: values of variables that are called as secrets are, and passwords in addresses.
fn secrets_of(environment: &Environment) -> Secrets {
    let mut secrets = Secrets::default();
    for (name, value) in environment {
        let value = value.to_string_lossy();
        let called = name.to_ascii_lowercase();
        if is_secret(&called) || ["key", "pass", "pwd", "dsn", "salt", "auth"].iter().any(|part| called.contains(part))
        {
            secrets.push(&value);
        }
        secrets.push_of_addresses(&value);
    }
    secrets
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(root: Option<&str>, local: bool) -> Answer {
        Answer { enabled: true, root: root.map(str::to_owned), storage: "S3Storage".into(), local }
    }

    fn reason(answer: &Answer, wish: Wish) -> Option<String> {
        match refusal(answer, Path::new("/workspace"), wish)? {
            Outcome::None { reason } | Outcome::Missed { reason } => Some(reason),
            Outcome::Collected { .. } => None,
        }
    }

    #[test]
    fn files_that_would_go_elsewhere_are_not_collected_unasked() {
        assert_eq!(reason(&answer(Some("/workspace/static"), true), Wish::WhereLocal), None);
        assert!(reason(&answer(Some("/srv/static"), true), Wish::Always).unwrap().contains("not in the image"));
        assert!(reason(&answer(None, true), Wish::Always).unwrap().starts_with("STATIC_ROOT is not set"));
        assert!(reason(&answer(None, false), Wish::WhereLocal).unwrap().starts_with("S3Storage keeps them elsewhere"));
        assert_eq!(reason(&answer(None, false), Wish::Always), None);
        let disabled = Answer { enabled: false, ..answer(None, true) };
        assert!(reason(&disabled, Wish::Always).unwrap().contains("INSTALLED_APPS"));
    }

    #[test]
    fn what_django_copied_and_what_the_storage_made_of_it_are_told_apart() {
        let said = |lines: &[&str], files: usize| {
            let (output, said) = Output::caught();
            Outcome::Collected { files, copied: copied(lines.iter().copied()) }.say(&output, false);
            said.text().trim().to_owned()
        };
        let one = "1 static file copied to '/workspace/staticfiles', 1 post-processed.";
        assert_eq!(
            said(&["Post-processed 'a.css' as 'a.1.css'", one], 3),
            "3 static files in the image: 1 copied, and 2 that the storage made of them (names with hashes, compressed ones, lists)"
        );
        assert_eq!(said(&["", "130 static files copied to '/x'."], 130), "130 static files in the image");
        assert_eq!(said(&["0 static files copied to '/x', 1 unmodified."], 0), "0 static files in the image");
        assert_eq!(said(&["many static files copied", "x"], 2), "2 static files in the image");
    }

    #[test]
    fn values_of_secrets_are_masked_and_names_of_settings_are_not() {
        let pairs = [
            ("DJANGO_KEY", "k3y-of-django"),
            ("DATABASE_URL", "postgres://me:pa55word@db/shop"),
            ("DJANGO_SETTINGS_MODULE", "shop.settings"),
        ];
        let environment: Environment = pairs.iter().map(|(name, value)| ((*name).to_owned(), value.into())).collect();
        let said = secrets_of(&environment).mask("shop.settings k3y-of-django pa55word postgres://me:pa55word@db/shop");
        assert_eq!(said, "shop.settings *** *** postgres://***@db/shop");
    }
}
