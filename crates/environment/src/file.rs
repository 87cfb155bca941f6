//! `environment.yml`: what conda's `env create` reads, each entry with its line. Pure.

use crate::is_variable;
use crate::spec;
use crate::yaml::{Located, Node, SyntaxError, parse};

/// More than any real environment asks for.
const MAX_ENTRIES: usize = 20_000;
/// What conda reads.
const KNOWN: [&str; 6] = ["name", "prefix", "channels", "dependencies", "variables", "platforms"];

/// What the file says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EnvironmentFile {
    /// The environment's name.
    pub name: Option<String>,
    /// Channels by name or address, the first one first; without `nodefaults`.
    pub channels: Vec<Located>,
    /// Whether `nodefaults` is among the channels.
    pub no_defaults: bool,
    /// Conda's packages.
    pub specs: Vec<Located>,
    /// The lines below `pip:`; none when there is no such section.
    pub pip: Option<Vec<Located>>,
    /// Variables of the environment.
    pub variables: Vec<(Located, String)>,
    /// Keys that conda does not read.
    pub unknown: Vec<Located>,
}

impl EnvironmentFile {
    /// Reads the text of a file.
    pub fn parse(text: &str) -> Result<Self, SyntaxError> {
        let mut found = Self::default();
        let members = match parse(text)? {
            None => return Err(SyntaxError::new(1, "the file is empty: there is no key dependencies")),
            Some(Node::Map(_, members)) => members,
            Some(other) => return Err(SyntaxError::new(other.line(), "it is no mapping with a key dependencies")),
        };
        for (key, value) in members {
            match key.text.as_str() {
                "name" => {
                    if let Node::Text(name) = value {
                        found.name = Some(name.text);
                    }
                }
                "channels" => found.add_channels(value)?,
                "dependencies" => found.add_dependencies(key.line, value)?,
                "variables" => found.add_variables(value)?,
                "prefix" | "platforms" => {}
                other => {
                    if let Some(meant) = meant(other) {
                        return Err(SyntaxError::new(key.line, format!("{other} is no key; {meant} is meant")));
                    }
                    found.unknown.push(key);
                }
            }
        }
        Ok(found)
    }

    /// Whether it asks for packages that pip cannot bring under the same name: something else than Python, pip, setuptools and wheel.
    pub fn needs_conda(&self) -> bool {
        let is_pips = |spec: &Located| matches!(&*spec::split(&spec.text).0, "python" | "pip" | "setuptools" | "wheel");
        !self.specs.iter().all(is_pips)
    }

    /// The requirements files that it includes, where it asks for Python, pip and those files alone.
    pub fn only_includes(&self) -> Option<Vec<&str>> {
        let is_pips = |spec: &Located| matches!(&*spec::split(&spec.text).0, "python" | "pip");
        let requirements = |line: &'_ Located| match spec::included(&line.text) {
            Some(("-r", _)) => true,
            Some(_) | None => false,
        };
        let lines = self.pip.as_deref().unwrap_or_default();
        (self.specs.iter().all(is_pips) && lines.iter().all(requirements)).then(|| self.includes().collect())
    }

    /// The files that lines below `pip:` include.
    pub fn includes(&self) -> impl Iterator<Item = &str> {
        let lines = self.pip.iter().flatten().filter_map(|line| spec::included(&line.text));
        lines.map(|(_, file)| file.trim_start_matches("./"))
    }

    /// The Python that it asks for, as a version (`3.11`) or PEP 440 specifiers (`>=3.9,<3.12`); none when any will do.
    pub fn python(&self) -> Option<Located> {
        self.specs.iter().find_map(|entry| {
            let (name, version) = spec::split(&entry.text);
            let version = (name == "python").then(|| spec::python(&version)).flatten()?;
            Some(Located { text: version, line: entry.line })
        })
    }

    fn add_channels(&mut self, value: Node) -> Result<(), SyntaxError> {
        for channel in value.texts("channels")? {
            if channel.text == "nodefaults" {
                self.no_defaults = true;
            } else if !channel.text.is_empty() {
                self.channels.push(channel);
            }
        }
        Ok(())
    }

    fn add_dependencies(&mut self, line: usize, value: Node) -> Result<(), SyntaxError> {
        let items = match value {
            node if node.is_null() => return Ok(()),
            Node::List(_, items) => items,
            _ => return Err(SyntaxError::new(line, "dependencies is no list")),
        };
        if items.len() > MAX_ENTRIES {
            return Err(SyntaxError::new(line, format!("dependencies has more than {MAX_ENTRIES} entries")));
        }
        for item in items {
            match item {
                Node::Text(spec) if spec.text.is_empty() => {
                    return Err(SyntaxError::new(spec.line, "an entry of dependencies is empty"));
                }
                Node::Text(spec) => self.specs.push(spec),
                Node::Map(_, members) => {
                    for (key, value) in members {
                        if key.text != "pip" {
                            let why = format!("{} in dependencies is not known; there is pip: with a list", key.text);
                            return Err(SyntaxError::new(key.line, why));
                        }
                        self.pip.get_or_insert_default().extend(value.texts("pip:")?);
                    }
                }
                Node::List(line, _) => return Err(SyntaxError::new(line, "dependencies holds a list in a list")),
            }
        }
        Ok(())
    }

    fn add_variables(&mut self, value: Node) -> Result<(), SyntaxError> {
        let members = match value {
            node if node.is_null() => return Ok(()),
            Node::Map(_, members) => members,
            other => return Err(SyntaxError::new(other.line(), "variables is no mapping of names and values")),
        };
        for (name, value) in members {
            let Node::Text(value) = value else {
                return Err(SyntaxError::new(name.line, format!("the variable {} is no text", name.text)));
            };
            if !is_variable(&name.text) {
                return Err(SyntaxError::new(name.line, format!("{:?} is no name of a variable", name.text)));
            }
            if value.text.contains('\0') {
                return Err(SyntaxError::new(value.line, format!("the value of {} holds a NUL", name.text)));
            }
            self.variables.push((name, value.text));
        }
        Ok(())
    }
}

/// The key that is meant by another word.
fn meant(word: &str) -> Option<&'static str> {
    let near = KNOWN.into_iter().find(|known| is_near(known, word));
    near.or_else(|| word.to_ascii_lowercase().starts_with("dep").then_some("dependencies"))
}

/// Whether two words differ by one letter that is missing, too many, wrong or swapped, or by case.
fn is_near(known: &str, word: &str) -> bool {
    let (known, word) = (known.as_bytes(), word.to_ascii_lowercase().into_bytes());
    if known.len().abs_diff(word.len()) > 1 {
        return false;
    }
    let start = known.iter().zip(&word).take_while(|(a, b)| a == b).count();
    let end = known[start..].iter().rev().zip(word[start..].iter().rev()).take_while(|(a, b)| a == b).count();
    let (left, right) = (known.len() - start - end, word.len() - start - end);
    let swapped = left == 2 && right == 2 && known[start] == word[start + 1] && known[start + 1] == word[start];
    (left <= 1 && right <= 1) || swapped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_read_with_its_line() {
        let text = "name: x\nchannels:\n  - conda-forge\n  - nodefaults\ndependencies:\n  - python=3.11\n  - numpy >=1.26,<2  # fast\n  - pip:\n    - -r requirements.txt\n    - loguru\nvariables:\n  MODE: fast\nprefix: /opt/x\nowner: me\n";
        let found = EnvironmentFile::parse(text).unwrap();
        let texts = |list: &[Located]| list.iter().map(|one| (one.text.clone(), one.line)).collect::<Vec<_>>();
        assert_eq!(texts(&found.channels), [("conda-forge".to_owned(), 3)]);
        assert!(found.no_defaults);
        assert_eq!(texts(&found.specs), [("python=3.11".to_owned(), 6), ("numpy >=1.26,<2".to_owned(), 7)]);
        assert_eq!(texts(&found.pip.unwrap()), [("-r requirements.txt".to_owned(), 9), ("loguru".to_owned(), 10)]);
        assert_eq!(found.variables[0].0.text, "MODE");
        assert_eq!(texts(&found.unknown), [("owner".to_owned(), 14)]);
    }

    #[test]
    fn what_cannot_be_read_is_named_with_its_line() {
        let error = |text: &str| EnvironmentFile::parse(text).unwrap_err().to_string();
        assert!(error("dependencies:\n  - a\n - b\n").starts_with("line 3"));
        assert_eq!(error("name: x\ndependecies:\n  - a\n"), "line 2: dependecies is no key; dependencies is meant");
        assert_eq!(error("chanels: [a]\n"), "line 1: chanels is no key; channels is meant");
        assert_eq!(error("name: a\nname: b\n"), "line 2: name was said on line 1 already");
        assert_eq!(
            error("dependencies:\n- npm:\n  - a\n"),
            "line 2: npm in dependencies is not known; there is pip: with a list"
        );
        assert_eq!(error("variables:\n  A: \"a\\0b\"\n"), "line 2: the value of A holds a NUL");
        assert_eq!(error("variables:\n  1A: x\n"), "line 2: \"1A\" is no name of a variable");
        assert!(error("a: &x [1]\nb: *x\n").contains("aliases"));
        assert!(error("").contains("empty"));
        assert!(error("- a\n").contains("no mapping"));
        assert!(error("dependencies: 3\n").contains("no list"));
        assert_eq!(error("dependency: [a]\n"), "line 1: dependency is no key; dependencies is meant");
        assert!(error(&"[".repeat(100)).contains("nested"));
    }

    #[test]
    fn whether_conda_is_needed_is_seen() {
        let of = |entries: &str| EnvironmentFile::parse(&format!("dependencies: [{entries}]\n")).unwrap();
        assert!(of("python=3.11, numpy").needs_conda());
        assert!(of("pip, gcc_linux-64").needs_conda());
        let pips = of("python=3.11, setuptools<70, pip, pip: [-r requirements.txt, flask]");
        assert!(!pips.needs_conda() && pips.only_includes().is_none());
        let list = of("conda-forge::python >=3.9, pip, pip: [-r ./requirements.txt, --requirement=b.txt]");
        assert_eq!(list.only_includes().unwrap(), ["requirements.txt", "b.txt"]);
        assert_eq!(list.python().unwrap().text, ">=3.9");
        assert_eq!(of("python, pip: [-c a.txt]").only_includes(), None);
        assert_eq!(of("python").only_includes(), Some(vec![]));
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_the_reader_fall_over(text in "(dependencies:|pip:|\n|  |- |a|\\[|\\{|&x|\\*x|'|\"|#|\\PC){0,30}") {
            if let Ok(found) = EnvironmentFile::parse(&text) {
                let _ = (found.needs_conda(), found.only_includes(), found.python());
            }
        }
    }
}
