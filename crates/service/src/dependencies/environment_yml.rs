//! `environment.yml` as far as it matters here: channels, dependencies, pip's part and variables, each with its line.
//!
//! Read as YAML events with bounds on size, depth and aliases (which are refused: expanding them is how YAML bombs work).

use saphyr_parser::{Event, Parser};

use super::DependencyError;

const MAX_BYTES: usize = 1 << 20;
const MAX_DEPTH: usize = 16;

/// A text of the file and the line on which it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Located {
    pub(super) text: String,
    pub(super) line: usize,
}

/// What the file says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct EnvironmentYml {
    /// Conda's part, without pip's.
    pub(super) conda: Vec<Located>,
    /// The lines below `pip:`.
    pub(super) pip: Vec<Located>,
    pub(super) variables: Vec<(String, String)>,
}

/// A node of the document.
enum Node {
    Text(Located),
    List(Vec<Node>),
    Map(Vec<(Located, Node)>),
}

impl EnvironmentYml {
    /// Reads the text of the file called `name`.
    pub(super) fn parse(name: &str, text: &str) -> Result<Self, DependencyError> {
        let bad = |line: usize, why: String| DependencyError::Yaml { file: name.to_owned(), line, why };
        if text.len() > MAX_BYTES {
            return Err(bad(1, format!("it is larger than {MAX_BYTES} bytes")));
        }
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut reader = Reader { parser: Parser::new_from_str(text), bad: &bad };
        let Some(root) = reader.document()? else { return Ok(Self::default()) };
        let Node::Map(members) = root else {
            return Err(bad(1, "it is not a mapping with a key dependencies".to_owned()));
        };
        let mut found = Self::default();
        for (key, value) in members {
            match key.text.as_str() {
                "dependencies" => found.add_dependencies(key.line, value, &bad)?,
                "variables" => {
                    if let Node::Map(variables) = value {
                        for (name, value) in variables {
                            let Node::Text(value) = value else {
                                return Err(bad(name.line, format!("the variable {} is no text", name.text)));
                            };
                            found.variables.push((name.text, value.text));
                        }
                    }
                }
                misspelt if misspelt.to_ascii_lowercase().starts_with("dep") => {
                    return Err(bad(key.line, format!("{misspelt} is no key; dependencies is meant")));
                }
                _ => {}
            }
        }
        Ok(found)
    }

    fn add_dependencies(
        &mut self,
        line: usize,
        value: Node,
        bad: &dyn Fn(usize, String) -> DependencyError,
    ) -> Result<(), DependencyError> {
        let items = match value {
            Node::List(items) => items,
            Node::Text(text) if text.text.is_empty() => return Ok(()),
            _ => return Err(bad(line, "dependencies is no list".to_owned())),
        };
        for item in items {
            match item {
                Node::Text(text) => self.conda.push(text),
                Node::Map(members) => {
                    for (key, value) in members {
                        match value {
                            Node::List(lines) if key.text == "pip" => {
                                for entry in lines {
                                    let Node::Text(text) = entry else {
                                        return Err(bad(
                                            key.line,
                                            "pip's list holds something that is no text".to_owned(),
                                        ));
                                    };
                                    self.pip.push(text);
                                }
                            }
                            _ => {
                                return Err(bad(
                                    key.line,
                                    format!("{} in dependencies is not known; there is pip: with a list", key.text),
                                ));
                            }
                        }
                    }
                }
                Node::List(_) => return Err(bad(line, "dependencies holds a list in a list".to_owned())),
            }
        }
        Ok(())
    }
}

struct Reader<'a, 'b> {
    parser: Parser<'a, saphyr_parser::StrInput<'a>>,
    bad: &'b dyn Fn(usize, String) -> DependencyError,
}

impl<'a> Reader<'a, '_> {
    fn next(&mut self) -> Result<Option<(Event<'a>, usize)>, DependencyError> {
        match self.parser.next() {
            None => Ok(None),
            Some(Ok((event, span))) => Ok(Some((event, span.start.line()))),
            Some(Err(error)) => Err((self.bad)(error.marker().line(), error.info().to_owned())),
        }
    }

    /// The first document.
    fn document(&mut self) -> Result<Option<Node>, DependencyError> {
        while let Some((event, line)) = self.next()? {
            match event {
                Event::StreamStart | Event::DocumentStart(_) | Event::Nothing => {}
                Event::StreamEnd | Event::DocumentEnd => return Ok(None),
                event => return self.node(event, line, 0).map(Some),
            }
        }
        Ok(None)
    }

    fn node(&mut self, event: Event<'_>, line: usize, depth: usize) -> Result<Node, DependencyError> {
        if depth > MAX_DEPTH {
            return Err((self.bad)(line, format!("it is nested deeper than {MAX_DEPTH} levels")));
        }
        match event {
            Event::Scalar(text, ..) => Ok(Node::Text(Located { text: text.trim().to_owned(), line })),
            Event::SequenceStart(..) => {
                let mut items = Vec::new();
                while let Some((event, line)) = self.next()? {
                    if event == Event::SequenceEnd {
                        return Ok(Node::List(items));
                    }
                    items.push(self.node(event, line, depth + 1)?);
                }
                Err((self.bad)(line, "a list does not end".to_owned()))
            }
            Event::MappingStart(..) => {
                let mut members = Vec::new();
                while let Some((event, line)) = self.next()? {
                    if event == Event::MappingEnd {
                        return Ok(Node::Map(members));
                    }
                    let Node::Text(key) = self.node(event, line, depth + 1)? else {
                        return Err((self.bad)(line, "a key is no text".to_owned()));
                    };
                    let Some((event, line)) = self.next()? else { break };
                    members.push((key, self.node(event, line, depth + 1)?));
                }
                Err((self.bad)(line, "a mapping does not end".to_owned()))
            }
            Event::Alias(_) => Err((self.bad)(line, "aliases (*name) are not taken here; write the value".to_owned())),
            _ => Err((self.bad)(line, "something is missing here".to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conda_pip_and_variables_are_told_apart_with_their_lines() {
        let text = "name: planqk\nchannels:\n  - defaults\ndependencies:\n  - python=3.11\n  - pip\n  - pip:\n      - -r requirements.txt\n      - \"loguru>=0.7\"  # log\nvariables:\n  A: 1\n";
        let found = EnvironmentYml::parse("environment.yml", text).unwrap();
        assert_eq!(
            found.conda,
            [Located { text: "python=3.11".into(), line: 5 }, Located { text: "pip".into(), line: 6 }]
        );
        assert_eq!(
            found.pip.iter().map(|entry| entry.text.as_str()).collect::<Vec<_>>(),
            ["-r requirements.txt", "loguru>=0.7"]
        );
        assert_eq!(found.variables, [("A".to_owned(), "1".to_owned())]);
        assert_eq!(EnvironmentYml::parse("e", "").unwrap(), EnvironmentYml::default());
    }

    #[test]
    fn broken_and_hostile_files_are_errors_with_a_line() {
        let error = |text: &str| EnvironmentYml::parse("environment.yml", text).unwrap_err().to_string();
        assert!(error("dependencies:\n  - a\n - b\n").contains("line 3"), "{}", error("dependencies:\n  - a\n - b\n"));
        assert!(error("a: &x [1]\nb: *x\n").contains("aliases"));
        assert!(error(&"[".repeat(100)).contains("nested") || error(&"[".repeat(100)).contains("line"));
        assert!(error("- a\n").contains("mapping"));
        assert!(error("dependencies: 3\n").contains("no list"));
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_the_reader_fall_over(text in "(dependencies:|pip:|\n|  |- |a|\\[|\\{|&x|\\*x|'|\"|#|\\PC){0,30}") {
            let _ = EnvironmentYml::parse("environment.yml", &text);
        }
    }
}
