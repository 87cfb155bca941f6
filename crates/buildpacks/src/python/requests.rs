//! Who asks for a Python: variables and the files of an app, in order of precedence.

use super::version::{Request, RequestKind};
use crate::context::Context;
use crate::encoding::decode_text;

const MAX_FILE_BYTES: u64 = 4 << 20;

/// All requests of a build, in order of precedence: `BP_CPYTHON_VERSION`, `HOIST_PYTHON_VERSION` (from the platform, with
/// `HOIST_PYTHON_REASON`), `.python-version`, `runtime.txt`, the conda file, `requires-python`.
pub(crate) fn requests(context: &Context) -> Vec<Request> {
    let mut found = Vec::new();
    let mut push = |source: String, text: String, kind| found.push(Request { source, text, kind });
    if let Some(text) = context.variable("BP_CPYTHON_VERSION") {
        push("BP_CPYTHON_VERSION".into(), text.into(), RequestKind::Variable);
    }
    if let Some(text) = context.variable("HOIST_PYTHON_VERSION") {
        let reason = context.variable("HOIST_PYTHON_REASON").unwrap_or("HOIST_PYTHON_VERSION");
        push(reason.into(), text.into(), RequestKind::Variable);
    }
    if let Some(text) = text_of(context, ".python-version").and_then(|text| first_line(&text)) {
        push(".python-version".into(), text, RequestKind::File);
    }
    // Other languages have a runtime.txt too.
    if let Some(text) = text_of(context, "runtime.txt").and_then(|text| first_line(&text)) {
        push("runtime.txt".into(), text, RequestKind::File);
    }
    for name in ["environment.yml", "environment.yaml"] {
        if let Some(text) = text_of(context, name).and_then(|text| conda_python(&text)) {
            push(name.into(), text, RequestKind::File);
        }
    }
    if let Some((key, text)) = text_of(context, "pyproject.toml").and_then(|text| project_python(&text)) {
        push(format!("{key} in pyproject.toml"), text, RequestKind::Bound);
    }
    found
}

fn text_of(context: &Context, name: &str) -> Option<String> {
    let path = context.app_file(name)?;
    if fs_err::metadata(&path).ok()?.len() > MAX_FILE_BYTES {
        return None;
    }
    decode_text(&fs_err::read(path).ok()?).ok()
}

/// The first line that is neither empty nor a comment.
fn first_line(text: &str) -> Option<String> {
    text.lines()
        .map(|line| line.split('#').next().unwrap_or_default().trim())
        .find(|line| !line.is_empty())
        .map(str::to_owned)
}

/// The version in a conda file's dependency `- python=3.11`; none when it asks for any.
fn conda_python(text: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let item = line.trim().strip_prefix('-')?.split(" #").next()?.trim().trim_matches(['"', '\'']);
        let rest = item.strip_prefix("python")?;
        if !rest.starts_with(['=', '<', '>', '~', '!', ' ']) {
            return None;
        }
        let version = rest.trim();
        // `=3.11.4=h123_0` names a build of conda's, which Debian does not have.
        let wanted = match version.trim_start_matches('=') {
            exact if exact.len() < version.len() || !version.starts_with(['<', '>', '~', '!']) => {
                exact.split('=').next()?.trim()
            }
            range => range,
        };
        (!wanted.is_empty()).then(|| wanted.to_owned())
    })
}

/// `project.requires-python`, or Poetry's constraint.
fn project_python(text: &str) -> Option<(&'static str, String)> {
    let document: toml::Table = text.parse().ok()?;
    let at = |path: &[&str]| {
        let mut value = document.get(path[0])?;
        for key in &path[1..] {
            value = value.get(key)?;
        }
        value.as_str().map(str::to_owned)
    };
    at(&["project", "requires-python"])
        .map(|text| ("requires-python", text))
        .or_else(|| {
            at(&["tool", "poetry", "dependencies", "python"]).map(|text| ("tool.poetry.dependencies.python", text))
        })
        .filter(|(_, text)| text != "*")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conda_files_say_their_python_in_many_ways() {
        let of = |item: &str| conda_python(&format!("name: x\ndependencies:\n  - pip\n  - {item}\n"));
        for (item, wanted) in [
            ("python=3.11", Some("3.11")),
            ("python==3.11.4", Some("3.11.4")),
            ("python=3.11.4=h1_0", Some("3.11.4")),
            ("python>=3.9,<3.12", Some(">=3.9,<3.12")),
            ("\"python>=3.10\"", Some(">=3.10")),
            ("python 3.11", Some("3.11")),
            ("python", None),
            ("python-dateutil=2", None),
        ] {
            assert_eq!(of(item).as_deref(), wanted, "{item}");
        }
    }

    #[test]
    fn projects_say_their_bounds() {
        assert_eq!(project_python("[project]\nrequires-python = '>=3.9'").unwrap().1, ">=3.9");
        assert_eq!(project_python("[tool.poetry.dependencies]\npython = '^3.9'").unwrap().1, "^3.9");
        assert_eq!(project_python("[tool.black]\n"), None);
    }

    #[test]
    fn comments_of_a_version_file_are_no_version() {
        assert_eq!(first_line("# which\n\n 3.11 # ours\n").as_deref(), Some("3.11"));
        assert_eq!(first_line("\n"), None);
    }
}
