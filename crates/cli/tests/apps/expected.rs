//! `expected.toml` of a project below `fixtures/apps`: what is made for it, which commands are run, and what they must say. The words are
//! explained in `fixtures/apps/README.md`.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expected {
    /// What the project shows, in one sentence.
    pub about: String,
    /// Files that are made for the test.
    #[serde(default)]
    pub make: Vec<Made>,
    /// `user:password` of an index on this machine, which has the wheels of the project's folder `all` at `/all/simple/`, and so on. `{index}` in
    /// arguments, variables and made texts is its host and port.
    pub index: Option<String>,
    /// Whether the machine has a channel of conda's, `ours` (`crates/cli/tests/support/house.rs`). In arguments, variables and made texts, `{channel}` is
    /// its address, `{python}` the version of its Python, and `{sha256:greet}` the hash of the archive of that name.
    #[serde(default)]
    pub conda: bool,
    /// `hoist check`.
    pub check: Option<Check>,
    /// `hoist build`.
    pub build: Option<Build>,
    /// `hoist run` of what was built.
    pub run: Option<Run>,
}

/// A file that is not stored as it is.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Made {
    /// Where, below the project.
    pub path: String,
    /// Its text; without one, that of the stored file of this name.
    pub text: Option<String>,
    /// How often the text is written; `{n}` in it is the number.
    #[serde(default = "one")]
    pub repeat: usize,
    /// How the text is encoded.
    #[serde(default)]
    pub encoding: Encoding,
    /// Whether lines end as on Windows.
    #[serde(default)]
    pub crlf: bool,
    /// The target of a symbolic link, in place of a text.
    pub link: Option<String>,
    /// The folder that a bare repository is made of, in place of a text: one commit, the same at each time.
    pub repository: Option<String>,
    /// The channel of `conda = true`, in place of a text.
    #[serde(default)]
    pub channel: bool,
    /// A pure-Python package, in place of a text; its name and version are those of the file.
    pub package: Option<Package>,
}

/// A wheel (`name-version-py3-none-any.whl`) or a source distribution (`name-version.tar.gz`) to be made.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Package {
    /// What it depends on.
    #[serde(default)]
    pub requires: Vec<String>,
    /// Its extras.
    #[serde(default)]
    pub extras: BTreeMap<String, Vec<String>>,
    /// Its `Requires-Python`.
    pub requires_python: Option<String>,
    /// The text of its one module, which is called like the package; without one, it holds `VERSION`.
    pub module: Option<String>,
    /// Its programs: name and `module:function`.
    #[serde(default)]
    pub scripts: BTreeMap<String, String>,
}

#[derive(Debug, Default, Clone, Copy, Deserialize)]
pub enum Encoding {
    #[default]
    #[serde(rename = "utf-8")]
    Utf8,
    #[serde(rename = "utf-8-bom")]
    Utf8Bom,
    #[serde(rename = "utf-16le")]
    Utf16Le,
    #[serde(rename = "utf-16be")]
    Utf16Be,
    #[serde(rename = "latin-1")]
    Latin1,
}

/// What every command has.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Check {
    #[serde(flatten)]
    pub common: Command,
    /// The Python that would be taken.
    pub python: Option<String>,
    /// A part of why.
    pub python_because: Option<String>,
    /// The file that would lead.
    pub dependencies: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Build {
    #[serde(flatten)]
    pub common: Command,
    /// `name version` or `name` of what the bills of materials must hold.
    #[serde(default)]
    pub packages: Vec<String>,
    /// Names that they must not hold.
    #[serde(default)]
    pub no_packages: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    #[serde(flatten)]
    pub common: Command,
    /// The whole standard output.
    pub prints: Option<String>,
    /// A path to be fetched over HTTP from port 8080 (`PORT` is set); the process is stopped then.
    pub get: Option<String>,
    /// What the answer must hold.
    #[serde(default)]
    pub answers: Vec<String>,
}

/// How a command is called and what it must say.
#[derive(Debug, Default, Deserialize)]
pub struct Command {
    /// Further arguments.
    #[serde(default)]
    pub args: Vec<String>,
    /// Variables: of the build, or of the process.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// The exit code.
    #[serde(default)]
    pub exit: i32,
    /// What must stand in what is said, standard output and error.
    #[serde(default)]
    pub says: Vec<String>,
    /// What must not.
    #[serde(default)]
    pub says_not: Vec<String>,
}

fn one() -> usize {
    1
}

impl Expected {
    /// Changes all arguments, variables and texts.
    pub fn change(&mut self, change: &mut dyn FnMut(&str) -> String) {
        let all = [
            self.check.as_mut().map(|check| &mut check.common),
            self.build.as_mut().map(|build| &mut build.common),
            self.run.as_mut().map(|run| &mut run.common),
        ];
        self.make.iter_mut().filter_map(|made| made.text.as_mut()).for_each(|text| *text = change(text));
        for command in all.into_iter().flatten() {
            command.args.iter_mut().chain(command.env.values_mut()).for_each(|text| *text = change(text));
        }
    }

    /// Reads and checks a project's file.
    pub fn read(project_dir: &Path) -> Result<Self, String> {
        let text = fs_err::read_to_string(project_dir.join("expected.toml")).map_err(|error| error.to_string())?;
        let expected: Self = toml::from_str(&text).map_err(|error| error.to_string())?;
        if expected.about.trim().is_empty() {
            return Err("`about` says nothing".to_owned());
        }
        if expected.check.is_none() && expected.build.is_none() {
            return Err("neither [check] nor [build] is expected to do anything".to_owned());
        }
        let is_built = expected.build.as_ref().is_some_and(|build| build.common.exit == 0);
        if expected.run.is_some() && !is_built {
            return Err("[run] wants a [build] that succeeds".to_owned());
        }
        Ok(expected)
    }
}
