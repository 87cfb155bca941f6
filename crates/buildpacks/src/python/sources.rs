//! What each kind of file says of the Python that it wants, with the line where it stands. Pure. Whether that can be had, and what follows
//! when several files speak, is not known here.

#![allow(clippy::unnecessary_wraps)] // the readers of all files are of one type

/// One wish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    /// Where it stands, from 1, when it can be told.
    pub(crate) line: Option<usize>,
    /// The key, for files of more than a version.
    pub(crate) key: &'static str,
    /// What is wanted, as written.
    pub(crate) text: String,
}

/// Why a file cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Malformed {
    pub(crate) line: Option<usize>,
    pub(crate) seen: String,
    pub(crate) why: &'static str,
    pub(crate) fix: &'static str,
}

type Read = Result<Vec<Asked>, Malformed>;

/// The lines that hold more than a comment, with their numbers.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let bare =
        text.lines().enumerate().map(|(index, line)| (index + 1, line.split('#').next().unwrap_or_default().trim()));
    bare.filter(|(_, line)| !line.is_empty())
}

/// pyenv's and uv's: a version on each line, of which the first is the one that `python` is.
pub(crate) fn python_version(text: &str) -> Read {
    let first = lines(text).next();
    Ok(first.into_iter().filter_map(|(line, text)| Some(asked(line, "", version(text)?))).collect())
}

/// A version of pyenv, asdf, mise or uv; none where the machine's own is wanted, or the newest.
fn version(text: &str) -> Option<String> {
    let first = text.split([' ', '\t']).next().unwrap_or_default();
    // A specifier may hold spaces; a list of pyenv's versions does not begin with an operator.
    let text = if first.starts_with(['>', '<', '=', '~', '^', '!']) { text } else { first };
    let text = text.strip_prefix("prefix:").or_else(|| text.strip_prefix("latest:")).unwrap_or(text);
    if matches!(text, "system" | "latest") {
        return None;
    }
    // uv: cpython-3.12.3-linux-x86_64-gnu; pyenv's virtualenv: 3.12.3/envs/name.
    let text = text.split('/').next().unwrap_or(text);
    let key = text.strip_prefix("cpython-").map(|rest| rest.split('-').next().unwrap_or(rest));
    Some(key.unwrap_or(text).to_owned())
}

/// Heroku's: `python-3.11.4`.
pub(crate) fn runtime_txt(text: &str) -> Read {
    Ok(lines(text).next().map(|(line, text)| asked(line, "", text.to_owned())).into_iter().collect())
}

/// asdf's: `python 3.11.4 3.10.2`.
pub(crate) fn tool_versions(text: &str) -> Read {
    let found = lines(text).find_map(|(line, text)| {
        let rest = text.strip_prefix("python")?;
        let rest = rest.strip_prefix([' ', '\t'])?.trim();
        Some(asked(line, "", version(rest)?))
    });
    Ok(found.into_iter().collect())
}

/// mise's: `[tools]`, `python = "3.11"`, or a list of which the first leads, or a table with `version`.
pub(crate) fn mise_toml(text: &str) -> Read {
    let document = parse_toml(text)?;
    let Some(value) = at(&document, &["tools", "python"]) else { return Ok(Vec::new()) };
    let first = value.as_array().and_then(|list| list.first()).unwrap_or(value);
    let text_of = first.as_table().and_then(|table| table.get("version")).unwrap_or(first).as_str();
    let wanted = text_of.and_then(version);
    Ok(wanted
        .map(|wanted| Asked { line: line_of(text, "tools", "python"), key: "tools.python", text: wanted })
        .into_iter()
        .collect())
}

/// Pipenv's: `[requires]`, of which the full version says more.
pub(crate) fn pipfile(text: &str) -> Read {
    let document = parse_toml(text)?;
    let found = ["python_full_version", "python_version"].into_iter().find_map(|key| {
        let wanted = at(&document, &["requires", key])?.as_str()?.to_owned();
        Some(Asked { line: line_of(text, "requires", key), key, text: wanted })
    });
    Ok(found.into_iter().filter(|asked| asked.text != "*").collect())
}

/// Pipenv's lock: `_meta.requires`.
pub(crate) fn pipfile_lock(text: &str) -> Read {
    let document: serde_json::Value = serde_json::from_str(text).map_err(|error| Malformed {
        line: Some(error.line()),
        seen: first_line(&error.to_string()),
        why: "the file is not JSON",
        fix: "make it again: pipenv lock",
    })?;
    let requires = &document["_meta"]["requires"];
    let found = ["python_full_version", "python_version"].into_iter().find_map(|key| {
        let wanted = requires[key].as_str()?.to_owned();
        let quoted = format!("\"{key}\"");
        let line = text.lines().position(|line| line.contains(&quoted)).map(|index| index + 1);
        Some(Asked { line, key, text: wanted })
    });
    Ok(found.into_iter().filter(|asked| asked.text != "*").collect())
}

/// conda's dependency `- python=3.11`; none when it asks for any. A build string (`=3.11.4=h123_0`) names one of conda's, which Debian does not have.
pub(crate) fn conda(text: &str) -> Read {
    let found = hoist_environment::EnvironmentFile::parse(text).map_err(|error| Malformed {
        line: Some(error.line),
        seen: error.why,
        why: "the file is not what conda reads",
        fix: "correct that line; indentation is by spaces",
    })?;
    Ok(found.python().map(|python| asked(python.line, "", python.text)).into_iter().collect())
}

/// `project.requires-python`, and Poetry's constraint.
pub(crate) fn pyproject(text: &str) -> Read {
    let document = parse_toml(text)?;
    let mut found = Vec::new();
    if let Some(wanted) = at(&document, &["project", "requires-python"]).and_then(toml::Value::as_str) {
        let line = line_of(text, "project", "requires-python");
        found.push(Asked { line, key: "requires-python", text: wanted.to_owned() });
    }
    if let Some(value) = at(&document, &["tool", "poetry", "dependencies", "python"]) {
        let value = value.as_table().and_then(|table| table.get("version")).unwrap_or(value);
        let line = line_of(text, "tool.poetry.dependencies", "python");
        let wanted = value.as_str().map(|wanted| Asked {
            line,
            key: "tool.poetry.dependencies.python",
            text: wanted.to_owned(),
        });
        found.extend(wanted);
    }
    found.retain(|asked| asked.text.trim() != "*");
    Ok(found)
}

/// `python_requires` of `[options]`.
pub(crate) fn setup_cfg(text: &str) -> Read {
    let mut section = "";
    let mut found: Option<Asked> = None;
    let lines: Vec<&str> = text.lines().collect();
    for (index, line) in lines.iter().enumerate() {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
            section = name.trim();
        }
        let Some((key, value)) = line.split_once(['=', ':']) else { continue };
        if section != "options" || key.trim() != "python_requires" {
            continue;
        }
        // The value may stand in the lines behind it, which begin with a blank then.
        let below = lines[index + 1..].iter().take_while(|line| line.starts_with([' ', '\t']));
        let parts: Vec<&str> = std::iter::once(value).chain(below.copied()).map(str::trim).collect();
        let text =
            parts.into_iter().filter(|part| !part.is_empty() && !part.starts_with(['#', ';'])).collect::<String>();
        if let Some(first) = found.as_ref().and_then(|asked| asked.line) {
            return Err(Malformed {
                line: Some(index + 1),
                seen: format!("python_requires stands here again, after line {first}"),
                why: "a duplicate key: setuptools refuses a file that says something twice in a section",
                fix: "remove one of the two lines",
            });
        }
        found = Some(Asked { line: Some(index + 1), key: "python_requires", text });
    }
    Ok(found.into_iter().filter(|asked| !asked.text.is_empty()).collect())
}

/// `python_requires` of a `setup.py`, which is not run.
pub(crate) fn setup_py(text: &str) -> Read {
    Ok(super::setup_py::python_requires(text).into_iter().collect())
}

/// `requires-python` of the head of uv's lock.
pub(crate) fn uv_lock(text: &str) -> Read {
    Ok(locked(text, "", "requires-python", "requires-python"))
}

/// `python-versions` of what Poetry's lock says of itself.
pub(crate) fn poetry_lock(text: &str) -> Read {
    Ok(locked(text, "metadata", "python-versions", "python-versions"))
}

/// `requires_python` of what PDM's lock says of itself.
pub(crate) fn pdm_lock(text: &str) -> Read {
    let own = locked(text, "metadata", "requires_python", "requires_python");
    Ok(if own.is_empty() { locked(text, "metadata.targets", "requires_python", "requires_python") } else { own })
}

/// `requires-python` of the head of a pylock.toml.
pub(crate) fn pylock(text: &str) -> Read {
    uv_lock(text)
}

/// A value in a lock file, which may be too large to be read as a whole twice: locks are written by tools, a key to a line.
fn locked(text: &str, section: &str, key: &str, name: &'static str) -> Vec<Asked> {
    let line = line_of(text, section, key);
    let value = line.and_then(|line| text.lines().nth(line - 1)?.split_once('=')).map(|(_, value)| value.trim());
    let value = value.map(|value| value.trim_matches(['"', '\'']).to_owned());
    let value = value.filter(|value| !value.is_empty() && value != "*");
    value.map(|text| Asked { line, key: name, text }).into_iter().collect()
}

fn asked(line: usize, key: &'static str, text: String) -> Asked {
    Asked { line: Some(line), key, text }
}

fn parse_toml(text: &str) -> Result<toml::Table, Malformed> {
    text.parse::<toml::Table>().map_err(|error| Malformed {
        line: error.span().map(|span| text[..span.start.min(text.len())].matches('\n').count() + 1),
        seen: first_line(error.message()),
        why: "the file is not TOML",
        fix: "correct that line",
    })
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().chars().take(200).collect()
}

fn at<'a>(document: &'a toml::Table, path: &[&str]) -> Option<&'a toml::Value> {
    let (first, rest) = path.split_first()?;
    rest.iter().try_fold(document.get(*first)?, |value, key| value.get(key))
}

/// The line of a key in a section; none where it is written otherwise (a dotted key, an inline table).
fn line_of(text: &str, section: &str, key: &str) -> Option<usize> {
    let mut current = String::new();
    text.lines().enumerate().find_map(|(index, line)| {
        let line = line.trim();
        if line.starts_with('[') {
            let name = line.trim_start_matches('[').split(']').next().unwrap_or_default();
            current = name.chars().filter(|c| !c.is_whitespace() && *c != '"').collect();
        }
        let rest = line.strip_prefix(key).or_else(|| line.strip_prefix('"')?.strip_prefix(key)?.strip_prefix('"'))?;
        (current == section && rest.trim_start().starts_with('=')).then_some(index + 1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(read: Read) -> Vec<(Option<usize>, String)> {
        read.unwrap().into_iter().map(|asked| (asked.line, asked.text)).collect()
    }

    fn one(read: Read) -> Option<String> {
        read.unwrap().into_iter().next().map(|asked| asked.text)
    }

    #[test]
    fn version_files_are_read_as_pyenv_and_uv_write_them() {
        for (text, wanted) in [
            ("3.11\n", Some("3.11")),
            ("# which\n\n 3.11 # ours\n3.10\n", Some("3.11")),
            ("3.12.1 3.11.7\n", Some("3.12.1")),
            (">=3.10, <3.13\n", Some(">=3.10, <3.13")),
            ("cpython-3.12.3-linux-x86_64-gnu\n", Some("3.12.3")),
            ("cpython@3.12\n", Some("cpython@3.12")),
            ("3.12.3/envs/shop\n", Some("3.12.3")),
            ("prefix:3.11", Some("3.11")),
            ("system\n", None),
            ("\n", None),
        ] {
            assert_eq!(one(python_version(text)).as_deref(), wanted, "{text:?}");
        }
        assert_eq!(said(python_version("#\n3.11\n")), [(Some(2), "3.11".to_owned())]);
    }

    #[test]
    fn files_of_tool_managers_name_a_python_among_others() {
        assert_eq!(said(tool_versions("nodejs 20\npython 3.11.4 3.10.2\n")), [(Some(2), "3.11.4".to_owned())]);
        assert_eq!(one(tool_versions("python-launcher 1\npython system\n")), None);
        let line = |text: &str| said(mise_toml(text)).first().cloned();
        assert_eq!(line("[tools]\npython = '3.11'\n"), Some((Some(2), "3.11".to_owned())));
        assert_eq!(line("[tools]\npython = ['3.12', '3.11']\n").unwrap().1, "3.12");
        assert_eq!(line("[tools]\npython = { version = '3.10', virtualenv = '.venv' }\n").unwrap().1, "3.10");
        assert_eq!(line("[tools]\nnode = '20'\n"), None);
    }

    #[test]
    fn pipenv_says_a_version_and_maybe_a_full_one() {
        let both = "[packages]\n[requires]\npython_version = '3.11'\npython_full_version = '3.11.4'\n";
        assert_eq!(said(pipfile(both)), [(Some(4), "3.11.4".to_owned())]);
        assert_eq!(one(pipfile("[requires]\npython_version = '*'\n")), None);
        let lock = "{\n \"_meta\": {\n  \"requires\": {\n   \"python_version\": \"3.11\"\n  }\n }\n}\n";
        assert_eq!(said(pipfile_lock(lock)), [(Some(4), "3.11".to_owned())]);
        assert_eq!(pipfile_lock("{\n,").unwrap_err().line, Some(2));
    }

    #[test]
    fn conda_files_say_their_python_in_many_ways() {
        let of = |item: &str| one(conda(&format!("name: x\ndependencies:\n  - pip\n  - {item}\n")));
        for (item, wanted) in [
            ("python=3.11", Some("3.11")),
            ("python==3.11.4", Some("3.11.4")),
            ("python=3.11.4=h1_0", Some("3.11.4")),
            ("python>=3.9,<3.12", Some(">=3.9,<3.12")),
            ("\"python>=3.10\"", Some(">=3.10")),
            ("python 3.11", Some("3.11")),
            ("conda-forge::python=3.11", Some("3.11")),
            ("python", None),
            ("python-dateutil=2", None),
        ] {
            assert_eq!(of(item).as_deref(), wanted, "{item}");
        }
    }

    #[test]
    fn projects_say_their_bounds() {
        let both = "[project]\nrequires-python = '>=3.9'\n[tool.poetry.dependencies]\npython = '^3.10'\n";
        assert_eq!(said(pyproject(both)), [(Some(2), ">=3.9".to_owned()), (Some(4), "^3.10".to_owned())]);
        assert_eq!(one(pyproject("[tool.poetry.dependencies]\npython = { version = '~3.11' }\n")).unwrap(), "~3.11");
        assert_eq!(said(pyproject("project.requires-python = '>=3.9'\n")), [(None, ">=3.9".to_owned())]);
        assert_eq!(one(pyproject("[tool.black]\n")), None);
        assert_eq!(pyproject("[project]\nname = \n").unwrap_err().line, Some(2));
        assert_eq!(
            said(setup_cfg("[metadata]\nname = x\n[options]\npython_requires = >=3.8\n")),
            [(Some(4), ">=3.8".to_owned())]
        );
        let below = "[options]\npython_requires =\n    >=3.8,\n    <3.12\ninstall_requires = x\n";
        assert_eq!(said(setup_cfg(below)), [(Some(2), ">=3.8,<3.12".to_owned())]);
        assert_eq!(said(setup_cfg("[options]\npython_requires =\n[x]\n")), []);
        let twice = "[options]\npython_requires = >=3.8\nzip_safe = 0\npython_requires = >=3.9\n";
        assert_eq!(setup_cfg(twice).unwrap_err().line, Some(4));
    }

    #[test]
    fn locks_say_what_they_were_made_for_and_not_what_a_package_wants() {
        assert_eq!(one(uv_lock("version = 1\nrequires-python = \">=3.11\"\n[[package]]\n")).unwrap(), ">=3.11");
        let poetry = "[[package]]\npython-versions = \">=3.6\"\n[metadata]\nlock-version = \"2.0\"\npython-versions = \"^3.9\"\n";
        assert_eq!(said(poetry_lock(poetry)), [(Some(5), "^3.9".to_owned())]);
        assert_eq!(
            one(pdm_lock("[metadata]\n[[metadata.targets]]\nrequires_python = \">=3.10\"\n")).unwrap(),
            ">=3.10"
        );
        assert_eq!(
            one(pylock("lock-version = \"1.0\"\nrequires-python = \">=3.12\"\n[[packages]]\n")).unwrap(),
            ">=3.12"
        );
        assert_eq!(one(pylock("[[packages]]\nrequires-python = \">=3.6\"\n")), None);
    }
}
