//! Which files of an app ask for packages, and the rule when there are several. Only `requirements.txt` is installed by this buildpack;
//! the others are known so that they are not passed over in silence.

use crate::context::Context;
use crate::encoding::decode_text;
use crate::failure::Failure;

/// The variable that names another requirements file (as in Paketo's buildpacks).
pub(crate) const REQUIREMENT_VARIABLE: &str = "BP_PIP_REQUIREMENT";
/// The variable that decides between several package managers.
pub(crate) const MANAGER_VARIABLE: &str = "HOIST_PACKAGE_MANAGER";

/// Files whose presence means that another manager leads.
const LOCKS: &[(&str, &str)] = &[
    ("poetry.lock", "Poetry"),
    ("uv.lock", "uv"),
    ("pdm.lock", "PDM"),
    ("Pipfile.lock", "Pipenv"),
    ("Pipfile", "Pipenv"),
    ("pylock.toml", "pylock.toml"),
    ("pixi.lock", "Pixi"),
    ("environment.yml", "conda"),
    ("environment.yaml", "conda"),
];

/// What an app asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Dependencies {
    /// No file asks for packages.
    None,
    /// This requirements file leads, for the reason given.
    Requirements { file: String, reason: String },
    /// Only files of managers that this version does not install.
    Foreign { files: Vec<String> },
    /// Two managers, and no rule.
    Ambiguous { requirements: String, others: Vec<(String, &'static str)> },
}

/// Looks at the root of the app.
pub(crate) fn dependencies(context: &Context) -> Dependencies {
    if let Some(file) = context.variable(REQUIREMENT_VARIABLE) {
        return Dependencies::Requirements {
            file: file.to_owned(),
            reason: format!("{REQUIREMENT_VARIABLE} names it"),
        };
    }
    let requirements = ["requirements.txt", "Requirements.txt", "REQUIREMENTS.txt"]
        .into_iter()
        .find(|name| context.app_file(name).is_some());
    let others: Vec<(String, &'static str)> = LOCKS
        .iter()
        .filter(|(name, _)| context.app_file(name).is_some())
        .map(|(name, manager)| ((*name).to_owned(), *manager))
        .collect();
    let Some(file) = requirements.map(str::to_owned) else {
        let mut files: Vec<String> = others.into_iter().map(|(name, _)| name).collect();
        if files.is_empty() && project_has_dependencies(context) {
            files.push("pyproject.toml".to_owned());
        }
        let included = files.iter().find_map(|name| included_by_conda(context, name));
        files.retain(|name| !is_pip_only(context, name));
        return match (included, files.is_empty()) {
            (Some((file, reason)), true) => Dependencies::Requirements { file, reason },
            (None, true) => Dependencies::None,
            (_, false) => Dependencies::Foreign { files },
        };
    };
    if context.variable(MANAGER_VARIABLE) == Some("pip") {
        return Dependencies::Requirements { file, reason: format!("{MANAGER_VARIABLE}=pip") };
    }
    let mut rivals = others;
    let conda_is_pip = rivals.iter().any(|(name, manager)| *manager == "conda" && is_pip_only(context, name));
    let names_another = |name: &str| {
        included_by_conda(context, name).is_some_and(|(included, _)| !included.eq_ignore_ascii_case(&file))
    };
    rivals.retain(|(name, _)| !is_pip_only(context, name) || names_another(name));
    if !rivals.is_empty() {
        return Dependencies::Ambiguous { requirements: file, others: rivals };
    }
    let reason = if conda_is_pip {
        "environment.yml asks for nothing that pip cannot do".to_owned()
    } else if project_has_dependencies(context) {
        "it leads over pyproject.toml, which has no lock file".to_owned()
    } else {
        "the only file that asks for packages".to_owned()
    };
    Dependencies::Requirements { file, reason }
}

/// Whether pyproject.toml declares dependencies (and is not only the settings of tools).
fn project_has_dependencies(context: &Context) -> bool {
    let text =
        context.app_file("pyproject.toml").and_then(|path| fs_err::read_to_string(path).ok()).unwrap_or_default();
    let Ok(document) = text.parse::<toml::Table>() else { return false };
    let has = |path: &[&str]| {
        let mut value = document.get(path[0]);
        for key in &path[1..] {
            value = value.and_then(|value| value.get(key));
        }
        value.is_some()
    };
    has(&["project", "dependencies"]) || has(&["tool", "poetry", "dependencies"])
}

/// The requirements file that a conda file includes, and a reason for people.
fn included_by_conda(context: &Context, name: &str) -> Option<(String, String)> {
    if !is_pip_only(context, name) {
        return None;
    }
    let text = decode_text(&fs_err::read(context.app_file(name)?).ok()?).ok()?;
    let included =
        text.lines().find_map(|line| line.trim().strip_prefix("- ")?.trim_matches(['"', '\'']).strip_prefix("-r"))?;
    let file = included.trim_start_matches(['=', ' ']).trim_start_matches("./").trim_matches(['"', '\'']);
    Some((file.to_owned(), format!("{name} includes it")))
}

/// Whether a conda file asks for Python, pip and `-r FILE` alone.
fn is_pip_only(context: &Context, name: &str) -> bool {
    if !name.starts_with("environment.y") {
        return false;
    }
    let text = context.app_file(name).and_then(|path| fs_err::read(path).ok()).unwrap_or_default();
    decode_text(&text).is_ok_and(|text| conda_is_pip_only(&text))
}

/// The entries of `dependencies:` are read line by line: anything unusual counts as something that pip cannot do.
fn conda_is_pip_only(text: &str) -> bool {
    let mut inside = false;
    for line in text.lines() {
        let bare = line.split(" #").next().unwrap_or_default().trim_end();
        if bare.is_empty() || bare.trim_start().starts_with('#') {
            continue;
        }
        if !bare.starts_with([' ', '-', '\t']) {
            inside = bare.starts_with("dependencies:");
            if inside && bare.trim_start_matches("dependencies:").trim().len() > 2 {
                return false;
            }
            continue;
        }
        if !inside {
            continue;
        }
        let Some(item) = bare.trim_start().strip_prefix('-').map(|item| item.trim().trim_matches(['"', '\''])) else {
            return false;
        };
        let name = item.split(['=', '<', '>', ' ', '!', '~']).next().unwrap_or_default();
        if !matches!(name, "python" | "pip" | "pip:") && !item.starts_with("-r") {
            return false;
        }
    }
    true
}

/// Explains what cannot be installed.
pub(crate) fn explain_foreign(files: &[String]) -> Failure {
    let list = files.join(", ");
    let export = match files.first().map(String::as_str) {
        Some("poetry.lock") => "poetry export -f requirements.txt -o requirements.txt",
        Some("uv.lock") => "uv export --format requirements.txt -o requirements.txt",
        Some("pdm.lock") => "pdm export -o requirements.txt",
        Some("Pipfile" | "Pipfile.lock") => "pipenv requirements > requirements.txt",
        Some("environment.yml" | "environment.yaml") => {
            "write what pip can install into requirements.txt, and the Python into .python-version"
        }
        _ => "uv pip compile pyproject.toml -o requirements.txt",
    };
    Failure::new(
        "choosing how to install the app's packages",
        format!("{list}, and no requirements.txt"),
        "this version of hoist installs packages from requirements.txt alone",
        format!("make one: {export}"),
    )
}

/// Explains two managers at once.
pub(crate) fn explain_ambiguous(requirements: &str, others: &[(String, &'static str)]) -> Failure {
    let list: Vec<String> = others.iter().map(|(name, manager)| format!("{name} ({manager})")).collect();
    Failure::new(
        "choosing how to install the app's packages",
        format!("{requirements} (pip) and {}", list.join(", ")),
        "two package managers are asked at once, and nothing says which leads",
        "remove the file that is not meant",
    )
    .and_fix(format!(
        "or let {requirements} lead: set {MANAGER_VARIABLE}=pip (`hoist build --env {MANAGER_VARIABLE}=pip …`)"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conda_file_that_only_includes_the_requirements_is_pips() {
        let planqk = "name: x\nchannels:\n  - defaults\ndependencies:\n  - python=3.11\n  - pip\n  - pip:\n      - -r requirements.txt\n";
        assert!(conda_is_pip_only(planqk));
        assert!(!conda_is_pip_only("dependencies:\n- python\n- numpy=1\n"));
        assert!(!conda_is_pip_only("dependencies: [python, numpy]\n"));
        assert!(!conda_is_pip_only("dependencies:\n- pip:\n  - flask\n"));
    }

    fn of(files: &[(&str, &str)]) -> Dependencies {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs_err::write(dir.path().join(name), text).unwrap();
        }
        dependencies(&Context {
            buildpack_dir: "/".into(),
            app_dir: dir.path().to_owned(),
            platform_dir: "/".into(),
            root_dir: "/".into(),
            environment: crate::Environment::new(),
            bindings: crate::Bindings::default(),
        })
    }

    #[test]
    fn the_requirements_that_a_conda_file_includes_are_the_ones_that_lead() {
        let conda = |file: &str| format!("dependencies:\n  - python=3.11\n  - pip:\n    - -r {file}\n");
        let included = |file: &str| Dependencies::Requirements {
            file: file.to_owned(),
            reason: "environment.yml includes it".to_owned(),
        };
        // Not there: the error is of the file that is missing, and not a build without packages.
        assert_eq!(of(&[("environment.yml", &conda("requirements.txt"))]), included("requirements.txt"));
        assert_eq!(of(&[("environment.yml", &conda("./deps.txt")), ("deps.txt", "")]), included("deps.txt"));
        let both = [("environment.yml", conda("requirements.txt")), ("requirements.txt", String::new())];
        let both = both.each_ref().map(|(name, text)| (*name, text.as_str()));
        assert!(matches!(of(&both), Dependencies::Requirements { file, .. } if file == "requirements.txt"));
        let two = [("environment.yml", conda("deps.txt")), ("requirements.txt", String::new())];
        assert!(matches!(
            of(&two.each_ref().map(|(name, text)| (*name, text.as_str()))),
            Dependencies::Ambiguous { .. }
        ));
    }
}
