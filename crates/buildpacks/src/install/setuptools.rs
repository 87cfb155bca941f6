//! setuptools where it is silently counted on: `python -m venv` brought it until Python 3.11, and old packages (gunicorn 19, for one) import its
//! `pkg_resources` without asking for it. It is brought where something installed does so; an environment of a lock has what is locked and no more, and is
//! warned of.

use std::io;
use std::path::Path;

use fs_err as fs;

use super::distributions::{Distribution, installed};
use super::installation::{Installation, uv_failure};
use crate::failure::Failure;

/// Later ones have no `pkg_resources`, or warn of it at each import.
const WANTED: &str = "setuptools<81";
/// The first Python whose environments begin without it.
const FIRST_WITHOUT: u32 = 12;
/// Larger sources are data.
const MAX_SOURCE_BYTES: u64 = 1 << 20;

impl Installation<'_> {
    /// Brings setuptools where an environment of this Python would have it as a rule and something needs it.
    pub(super) fn bring_setuptools(&self) -> Result<(), Failure> {
        let minor = self.interpreter.minor_version();
        if !has_it_as_a_rule(&minor) {
            return Ok(());
        }
        let site_packages = &self.environment.site_packages;
        let found = who_imports(site_packages);
        let Some(who) = found.map_err(|error| Failure::io("looking at what was installed", &error))? else {
            return Ok(());
        };
        if !self.wanted.is_locked() && self.install_setuptools()? {
            self.output.step(format!(
                "setuptools comes along: {who} imports pkg_resources and does not ask for it, and environments of Python {minor} have it as a rule"
            ));
            return Ok(());
        }
        let lock = if self.wanted.is_locked() { ", and make the lock anew" } else { "" };
        self.output.warning(format!(
            "{who} imports pkg_resources, which is part of setuptools, and nothing asks for that: the import fails in the image; add {WANTED} to what the \
             app requires{lock}"
        ));
        Ok(())
    }

    /// Whether it could be installed.
    fn install_setuptools(&self) -> Result<bool, Failure> {
        let Ok(uv) = &self.uv else { return Ok(false) };
        let path = self.temporary.join("setuptools.txt");
        fs::write(&path, format!("{WANTED}\n")).map_err(|error| Failure::io("writing the requirements", &error))?;
        let mut arguments = self.arguments(&["pip", "install", "--no-deps", "--no-build"]);
        arguments.extend(self.prefix());
        arguments.extend(self.indexes());
        arguments.extend(["--requirements".into(), path.into()]);
        Ok(uv.run(self.app_dir, arguments).map_err(|error| uv_failure(&error))?.ok)
    }
}

fn has_it_as_a_rule(minor_version: &str) -> bool {
    let minor = minor_version.strip_prefix("3.").and_then(|minor| minor.parse::<u32>().ok());
    minor.is_some_and(|minor| minor < FIRST_WITHOUT)
}

/// The first distribution with a module that cannot be imported without `pkg_resources`; none where that is there.
fn who_imports(site_packages: &Path) -> io::Result<Option<String>> {
    if site_packages.join("pkg_resources").exists() {
        return Ok(None);
    }
    let all = installed(site_packages)?;
    Ok(all.into_iter().find(|one| imports(one, site_packages)).map(|one| one.name))
}

fn imports(distribution: &Distribution, site_packages: &Path) -> bool {
    let Ok(record) = fs::read_to_string(distribution.info_dir.join("RECORD")) else { return false };
    let sources = record.lines().filter_map(|line| line.split(',').next()).filter(|path| {
        let is_test = path.split('/').any(|part| part == "tests" || part == "test");
        path.strip_suffix(".py").is_some() && !path.starts_with(['/', '.']) && !is_test
    });
    sources.into_iter().any(|path| {
        let path = site_packages.join(path);
        let is_source = path.symlink_metadata().is_ok_and(|about| about.is_file() && about.len() <= MAX_SOURCE_BYTES);
        is_source && fs::read(path).is_ok_and(|bytes| needs_it(&String::from_utf8_lossy(&bytes)))
    })
}

/// Whether a module imports it at the margin, where nobody catches that it is not there.
fn needs_it(text: &str) -> bool {
    const STARTS: [&str; 4] = [
        "import pkg_resources",
        "from pkg_resources import",
        "__import__('pkg_resources')",
        "__import__(\"pkg_resources\")",
    ];
    text.contains("pkg_resources") && text.lines().any(|line| STARTS.iter().any(|start| line.starts_with(start)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_import_that_nobody_catches_counts() {
        for (text, wanted) in [
            ("import os\nimport pkg_resources\n", true),
            ("from pkg_resources import get_distribution\n", true),
            ("__import__('pkg_resources').declare_namespace(__name__)\n", true),
            ("try:\n    import pkg_resources\nexcept ImportError:\n    pass\n", false),
            ("def version():\n    import pkg_resources\n", false),
            ("# import pkg_resources\n", false),
        ] {
            assert_eq!(needs_it(text), wanted, "{text}");
        }
        for (minor, wanted) in [("3.9", true), ("3.11", true), ("3.12", false), ("3.13", false), ("4.0", false)] {
            assert_eq!(has_it_as_a_rule(minor), wanted, "{minor}");
        }
    }

    #[test]
    fn the_distribution_with_such_a_module_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| {
            fs::create_dir_all(dir.path().join(path).parent().unwrap()).unwrap();
            fs::write(dir.path().join(path), text).unwrap();
        };
        put("new/__init__.py", "import importlib\n");
        put("new-1.dist-info/RECORD", "new/__init__.py,,\nnew/tests/x.py,,\n../../../etc/x.py,,\n");
        put("new/tests/x.py", "import pkg_resources\n");
        assert_eq!(who_imports(dir.path()).unwrap(), None);
        put("old/util.py", "import pkg_resources\n");
        put("old-1.dist-info/RECORD", "old/gone.py,,\nold/util.py,sha256=x,1\n");
        assert_eq!(who_imports(dir.path()).unwrap().as_deref(), Some("old"));
        put("pkg_resources/__init__.py", "");
        assert_eq!(who_imports(dir.path()).unwrap(), None);
    }
}
