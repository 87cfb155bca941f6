//! YAML as a small tree with line numbers: what conda's files need. Bounded in size and depth; aliases are refused, because expanding them is how
//! YAML bombs work.

use saphyr_parser::{Event, Parser, StrInput};

/// Files that people write are far smaller.
const MAX_BYTES: usize = 1 << 20;
const MAX_DEPTH: usize = 16;

/// A text and the line on which it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located {
    /// The text, without quotes.
    pub text: String,
    /// Counted from 1.
    pub line: usize,
}

/// What cannot be read, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {why}")]
pub struct SyntaxError {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong there.
    pub why: String,
}

impl SyntaxError {
    /// What is wrong on a line.
    pub fn new(line: usize, why: impl Into<String>) -> Self {
        Self { line, why: why.into() }
    }
}

/// A node of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// A text.
    Text(Located),
    /// A list and its line.
    List(usize, Vec<Node>),
    /// A mapping and its line; no key is there twice.
    Map(usize, Vec<(Located, Node)>),
}

impl Node {
    /// The line on which it begins.
    pub fn line(&self) -> usize {
        match self {
            Self::Text(text) => text.line,
            Self::List(line, _) | Self::Map(line, _) => *line,
        }
    }

    /// Nothing was written.
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Text(text) if matches!(text.text.as_str(), "" | "~" | "null"))
    }

    /// The texts of a list; a single text is a list of one, as conda takes it.
    pub fn texts(self, what: &str) -> Result<Vec<Located>, SyntaxError> {
        match self {
            node if node.is_null() => Ok(Vec::new()),
            Self::Text(text) => Ok(vec![text]),
            Self::List(_, items) => items
                .into_iter()
                .map(|item| match item {
                    Self::Text(text) => Ok(text),
                    other => Err(SyntaxError::new(other.line(), format!("{what} holds something that is no text"))),
                })
                .collect(),
            Self::Map(line, _) => Err(SyntaxError::new(line, format!("{what} is no list"))),
        }
    }
}

/// Reads the first document of a text; none when it is empty.
pub fn parse(text: &str) -> Result<Option<Node>, SyntaxError> {
    if text.len() > MAX_BYTES {
        return Err(SyntaxError::new(1, format!("the file is larger than {MAX_BYTES} bytes")));
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader = Reader { parser: Parser::new_from_str(text) };
    while let Some((event, line)) = reader.next()? {
        match event {
            Event::StreamStart | Event::DocumentStart(_) | Event::Nothing => {}
            Event::StreamEnd | Event::DocumentEnd => return Ok(None),
            event => return reader.node(event, line, 0).map(Some),
        }
    }
    Ok(None)
}

struct Reader<'a> {
    parser: Parser<'a, StrInput<'a>>,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<Option<(Event<'a>, usize)>, SyntaxError> {
        match self.parser.next() {
            None => Ok(None),
            Some(Ok((event, span))) => Ok(Some((event, span.start.line()))),
            Some(Err(error)) => Err(SyntaxError::new(error.marker().line(), error.info())),
        }
    }

    fn node(&mut self, event: Event<'_>, line: usize, depth: usize) -> Result<Node, SyntaxError> {
        if depth > MAX_DEPTH {
            return Err(SyntaxError::new(line, format!("it is nested deeper than {MAX_DEPTH} levels")));
        }
        match event {
            Event::Scalar(text, ..) => Ok(Node::Text(Located { text: text.trim().to_owned(), line })),
            Event::SequenceStart(..) => {
                let mut items = Vec::new();
                while let Some((event, line)) = self.next()? {
                    if event == Event::SequenceEnd {
                        return Ok(Node::List(line, items));
                    }
                    items.push(self.node(event, line, depth + 1)?);
                }
                Err(SyntaxError::new(line, "a list does not end"))
            }
            Event::MappingStart(..) => self.map(line, depth),
            Event::Alias(_) => Err(SyntaxError::new(line, "aliases (*name) are not taken here; write the value")),
            _ => Err(SyntaxError::new(line, "something is missing here")),
        }
    }

    fn map(&mut self, start: usize, depth: usize) -> Result<Node, SyntaxError> {
        let mut members: Vec<(Located, Node)> = Vec::new();
        while let Some((event, line)) = self.next()? {
            if event == Event::MappingEnd {
                return Ok(Node::Map(start, members));
            }
            let Node::Text(key) = self.node(event, line, depth + 1)? else {
                return Err(SyntaxError::new(line, "a key is no text"));
            };
            if let Some((first, _)) = members.iter().find(|(known, _)| known.text == key.text) {
                let why = format!("{} was said on line {} already", key.text, first.line);
                return Err(SyntaxError::new(key.line, why));
            }
            let Some((event, line)) = self.next()? else { break };
            members.push((key, self.node(event, line, depth + 1)?));
        }
        Err(SyntaxError::new(start, "a mapping does not end"))
    }
}
