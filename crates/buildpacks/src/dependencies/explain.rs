//! Pages about files that cannot be chosen between.

use super::{Kind, MANAGER_VARIABLES};
use crate::context::Context;
use crate::failure::Failure;

pub(super) const DOING: &str = "choosing how to install the app's packages";

/// A file that needs conda, alone, and nobody to read it.
pub(super) fn foreign(file: &str) -> Failure {
    Failure::new(
        DOING,
        format!("{file}, and no other file that asks for packages"),
        "this hoist was compiled without what installs packages of conda (the feature `conda`)",
        "write what pip can install into requirements.txt, and the Python into .python-version",
    )
}

/// Files of several managers.
pub(super) fn ambiguous(context: &Context, first: &str, others: &[&str]) -> Failure {
    let tell = |file: &&str| format!("{file} ({})", manager_of(file));
    let list: Vec<String> = others.iter().map(tell).collect();
    let all = std::iter::once(&first).chain(others).map(|file| manager_of(file));
    let words: Vec<&str> = all.filter(|word| *word != "conda" || cfg!(feature = "conda")).collect();
    let variable = MANAGER_VARIABLES[0];
    let mut failure = Failure::new(
        DOING,
        format!("{} and {}", tell(&first), list.join(", ")),
        "several package managers are asked at once, and nothing says which leads",
        "remove the file that is not meant",
    );
    if let Some(word) = words.first() {
        failure = failure.and_fix(format!(
            "or choose: set {variable} to {} (`hoist build --env {variable}={word} …`)",
            words.join(" or ")
        ));
    }
    let requirements = others.iter().chain([&first]).find(|file| file.eq_ignore_ascii_case("requirements.txt"));
    let lock = others.iter().chain([&first]).find(|file| file.ends_with("lock") || **file == "pylock.toml");
    if let (Some(requirements), Some(lock)) = (requirements, lock)
        && let Some(difference) = super::drift::difference(context, requirements, lock)
    {
        failure = failure.and_seen(difference);
    }
    failure.of_kind("managers-ambiguous")
}

fn manager_of(file: &str) -> &'static str {
    match file {
        "Pipfile" => "pipenv",
        file => Kind::ALL
            .into_iter()
            .find(|kind| kind.lock() == Some(file))
            .map_or_else(|| if hoist_environment::FILES.contains(&file) { "conda" } else { "pip" }, Kind::word),
    }
}

/// A word that is no manager.
pub(super) fn unknown_manager(word: &str) -> Failure {
    let known: Vec<&str> = Kind::ALL.into_iter().filter(|kind| kind.is_there()).map(Kind::word).collect();
    Failure::new(
        DOING,
        format!("{} is `{word}`", MANAGER_VARIABLES[0]),
        "hoist installs for no manager of this name",
        format!("set it to one of: {}", known.join(", ")),
    )
    .of_kind("manager-unknown")
}

/// A manager that was asked for, without its file.
pub(super) fn not_there(variable: &str, kind: Kind) -> Failure {
    let file = kind.lock().unwrap_or(match kind {
        Kind::Pip => "requirements.txt",
        Kind::Conda => "environment.yml",
        _ => "pyproject.toml",
    });
    Failure::new(
        DOING,
        format!("{variable} is {}, and there is no {file}", kind.word()),
        "the manager that was asked for has nothing to install from",
        format!("add {file} to the app, or unset {variable}"),
    )
    .and_fix("look whether .gitignore or an exclude rule keeps the file away")
    .of_kind("manager-file-missing")
}

/// A file that was there a moment ago.
pub(crate) fn gone(file: &str) -> Failure {
    Failure::new(
        format!("reading {file}"),
        format!("there is no {file}"),
        "it led when the app was looked at",
        "build again",
    )
}
