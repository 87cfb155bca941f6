//! Conda files that ask for nothing that pip cannot do, read line by line: anything unusual counts as something that pip cannot do.

use crate::context::Context;
use crate::encoding::decode_text;

/// The requirements file that a conda file includes, and a reason for people.
pub(super) fn included(context: &Context, name: &str) -> Option<(String, String)> {
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
pub(super) fn is_pip_only(context: &Context, name: &str) -> bool {
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
}
