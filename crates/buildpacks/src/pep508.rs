//! Requirements and environment markers (the "Dependency specifiers" specification, PEP 508, with the markers of lock files, PEP 751). Pure.

use std::collections::BTreeSet;

use crate::pep440::{Specifiers, Version};
use crate::pip::requirements::normalize;

/// Deeper parentheses are nobody's.
const MAX_DEPTH: usize = 64;
/// Longer markers are nobody's.
const MAX_LENGTH: usize = 16 << 10;

/// A requirement, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Requirement {
    /// The normalised name.
    pub(crate) name: String,
    /// Normalised.
    pub(crate) extras: Vec<String>,
    /// `>=1,<2` as written, empty for any.
    pub(crate) specifier: String,
    /// Behind the `@`.
    pub(crate) url: Option<String>,
    pub(crate) marker: Option<Marker>,
}

impl Requirement {
    /// Reads `name[extra]>=1; marker` or `name @ url ; marker`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let end = text.find(|c: char| !is_name(c)).unwrap_or(text.len());
        let name = &text[..end];
        if !name.starts_with(|c: char| c.is_ascii_alphanumeric()) {
            return None;
        }
        let mut rest = text[end..].trim_start();
        let mut extras = Vec::new();
        if let Some(inside) = rest.strip_prefix('[') {
            let (list, after) = inside.split_once(']')?;
            extras = list.split(',').map(str::trim).filter(|extra| !extra.is_empty()).map(normalize).collect();
            rest = after.trim_start();
        }
        let (rest, url) = match rest.strip_prefix('@') {
            Some(url) => {
                let url = url.trim_start();
                let end = url.find(" ;").or_else(|| url.find("\t;")).unwrap_or(url.len());
                (&url[end..], Some(url[..end].trim().to_owned()))
            }
            None => (rest, None),
        };
        let (specifier, marker) = match rest.split_once(';') {
            Some((specifier, marker)) => (specifier, Some(Marker::parse(marker)?)),
            None => (rest, None),
        };
        let specifier = specifier.trim().trim_start_matches('(').trim_end_matches(')').trim().to_owned();
        Specifiers::parse(&specifier)?;
        Some(Self { name: normalize(name), extras, specifier, url, marker })
    }
}

/// A condition on the environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Marker {
    All(Vec<Self>),
    Any(Vec<Self>),
    Compare { left: Operand, operator: String, right: Operand },
}

/// A side of a comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Operand {
    Variable(String),
    Text(String),
}

/// What markers ask about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MarkerEnvironment {
    /// `3.13.5`.
    python: String,
    machine: &'static str,
    /// The extras that are on, normalised.
    pub(crate) extras: BTreeSet<String>,
    /// The groups that are on, normalised.
    pub(crate) groups: BTreeSet<String>,
}

impl MarkerEnvironment {
    /// Linux on this machine, with a Python of this version (`3.13.5`).
    pub(crate) fn linux(python: &str) -> Self {
        Self {
            python: python.to_owned(),
            machine: std::env::consts::ARCH,
            extras: BTreeSet::new(),
            groups: BTreeSet::new(),
        }
    }

    fn value(&self, variable: &str) -> String {
        match variable {
            "python_version" => self.python.split('.').take(2).collect::<Vec<_>>().join("."),
            "python_full_version" | "implementation_version" => self.python.clone(),
            "os_name" | "os.name" => "posix".to_owned(),
            "sys_platform" | "sys.platform" => "linux".to_owned(),
            "platform_machine" | "platform.machine" => self.machine.to_owned(),
            "platform_system" => "Linux".to_owned(),
            "implementation_name" => "cpython".to_owned(),
            "platform_python_implementation" | "platform.python_implementation" | "python_implementation" => {
                "CPython".to_owned()
            }
            // platform_release, platform_version: the kernel's, which no image knows.
            _ => String::new(),
        }
    }
}

impl Marker {
    /// Reads a marker.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if text.len() > MAX_LENGTH {
            return None;
        }
        let tokens = tokens(text)?;
        let mut parser = Parser { tokens: &tokens, at: 0, depth: 0 };
        let marker = parser.any()?;
        (parser.at == tokens.len()).then_some(marker)
    }

    /// Whether it holds.
    pub(crate) fn holds(&self, environment: &MarkerEnvironment) -> bool {
        match self {
            Self::All(parts) => parts.iter().all(|part| part.holds(environment)),
            Self::Any(parts) => parts.iter().any(|part| part.holds(environment)),
            Self::Compare { left, operator, right } => compare(left, operator, right, environment),
        }
    }
}

/// Whether text is a marker that holds; no text always does. Text that is no marker counts as one that holds: the installer will say so.
pub(crate) fn holds(text: Option<&str>, environment: &MarkerEnvironment) -> bool {
    text.and_then(Marker::parse).is_none_or(|marker| marker.holds(environment))
}

fn compare(left: &Operand, operator: &str, right: &Operand, environment: &MarkerEnvironment) -> bool {
    use Operand::{Text, Variable};
    let negated = matches!(operator, "!=" | "not in");
    // `extra == 'x'`, and PEP 751's `'x' in extras`.
    let (set, name) = match (left, right) {
        (Variable(variable), Text(name)) | (Text(name), Variable(variable)) => match variable.as_str() {
            "extra" | "extras" => (Some(&environment.extras), name),
            "dependency_groups" => (Some(&environment.groups), name),
            _ => (None, name),
        },
        _ => (None, &String::new()),
    };
    if let Some(set) = set {
        return set.contains(&normalize(name)) != negated;
    }
    let value = |operand: &Operand| match operand {
        Variable(variable) => environment.value(variable),
        Text(text) => text.clone(),
    };
    let (one, other) = (value(left), value(right));
    match operator {
        "in" => return other.contains(&one),
        "not in" => return !other.contains(&one),
        _ => {}
    }
    let is_version = |operand: &Operand| matches!(operand, Variable(name) if name.contains("version") && !name.starts_with("platform"));
    // `'3.8' < python_version` is turned round.
    let (version, specifier) = if is_version(right) && !is_version(left) {
        (&other, format!("{}{one}", mirrored(operator)))
    } else {
        (&one, format!("{operator}{other}"))
    };
    if (is_version(left) || is_version(right))
        && let (Some(specifiers), Some(version)) = (Specifiers::parse(&specifier), Version::parse(version))
    {
        return specifiers.allow(&version);
    }
    match operator {
        "==" | "===" | "~=" => one == other,
        "!=" => one != other,
        "<" => one < other,
        "<=" => one <= other,
        ">" => one > other,
        _ => one >= other,
    }
}

fn mirrored(operator: &str) -> &str {
    match operator {
        "<" => ">",
        "<=" => ">=",
        ">" => "<",
        ">=" => "<=",
        same => same,
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Token<'a> {
    Open,
    Close,
    Word(&'a str),
    Text(&'a str),
    Operator(&'a str),
}

fn tokens(text: &str) -> Option<Vec<Token<'_>>> {
    let mut found = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '(' => {
                found.push(Token::Open);
                1
            }
            ')' => {
                found.push(Token::Close);
                1
            }
            '\'' | '"' => {
                let inside = rest[1..].split(first).next().filter(|inside| inside.len() + 1 < rest.len())?;
                found.push(Token::Text(inside));
                inside.len() + 2
            }
            '<' | '>' | '=' | '!' | '~' => {
                let end = rest.find(|c| !matches!(c, '<' | '>' | '=' | '!' | '~')).unwrap_or(rest.len());
                found.push(Token::Operator(&rest[..end]));
                end
            }
            c if c.is_ascii_alphabetic() => {
                let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.');
                let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
                found.push(Token::Word(&rest[..end]));
                end
            }
            _ => return None,
        };
        rest = rest[length..].trim_start();
    }
    Some(found)
}

struct Parser<'a> {
    tokens: &'a [Token<'a>],
    at: usize,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn next(&mut self) -> Option<&'a Token<'a>> {
        let token = self.tokens.get(self.at);
        self.at += 1;
        token
    }

    fn takes(&mut self, word: &str) -> bool {
        let found = self.tokens.get(self.at) == Some(&Token::Word(word));
        self.at += usize::from(found);
        found
    }

    fn any(&mut self) -> Option<Marker> {
        let mut parts = vec![self.all()?];
        while self.takes("or") {
            parts.push(self.all()?);
        }
        Some(if parts.len() == 1 { parts.remove(0) } else { Marker::Any(parts) })
    }

    fn all(&mut self) -> Option<Marker> {
        let mut parts = vec![self.one()?];
        while self.takes("and") {
            parts.push(self.one()?);
        }
        Some(if parts.len() == 1 { parts.remove(0) } else { Marker::All(parts) })
    }

    fn one(&mut self) -> Option<Marker> {
        if self.tokens.get(self.at) == Some(&Token::Open) {
            self.at += 1;
            self.depth += 1;
            if self.depth > MAX_DEPTH {
                return None;
            }
            let inside = self.any()?;
            self.depth -= 1;
            return (self.next()? == &Token::Close).then_some(inside);
        }
        let left = self.operand()?;
        let operator = match self.next()? {
            Token::Operator(operator) if matches!(*operator, "==" | "===" | "!=" | "<" | "<=" | ">" | ">=" | "~=") => {
                (*operator).to_owned()
            }
            Token::Word("in") => "in".to_owned(),
            Token::Word("not") if self.takes("in") => "not in".to_owned(),
            _ => return None,
        };
        let right = self.operand()?;
        Some(Marker::Compare { left, operator, right })
    }

    fn operand(&mut self) -> Option<Operand> {
        match self.next()? {
            Token::Word(word) if !matches!(*word, "and" | "or" | "in" | "not") => {
                Some(Operand::Variable((*word).to_owned()))
            }
            Token::Text(text) => Some(Operand::Text((*text).to_owned())),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_hold_as_on_this_machine() {
        let mut environment = MarkerEnvironment::linux("3.11.2");
        environment.extras.insert("web-ui".to_owned());
        environment.groups.insert("docs".to_owned());
        for (text, wanted) in [
            ("python_version >= '3.9'", true),
            ("python_version < \"3.10\"", false),
            ("python_full_version < '3.11.3' and sys_platform != 'win32'", true),
            ("'3.10' < python_version", true),
            ("python_version in '3.10 3.11'", true),
            ("python_version not in '3.10,3.11'", false),
            ("python_version == '3.11.*'", true),
            ("extra == 'Web_UI'", true),
            ("extra != 'web-ui' or extra == 'x'", false),
            ("'docs' in dependency_groups and 'web-ui' in extras", true),
            ("'dev' in dependency_groups", false),
            ("(os_name == 'nt' or platform_system == 'Linux') and implementation_name == 'cpython'", true),
            ("os_name == 'nt' or os_name == 'x' and os_name == 'posix'", false),
            ("platform_release >= '4'", false),
        ] {
            assert_eq!(Marker::parse(text).map(|marker| marker.holds(&environment)), Some(wanted), "{text}");
        }
        let deep = format!("{}os_name == 'x'{}", "(".repeat(5000), ")".repeat(5000));
        for text in ["", "os_name", "os_name == ", "os_name = 'x'", "os_name == 'x", "'x' and 'y'", &deep, "a == 'b')"]
        {
            assert_eq!(Marker::parse(text), None, "{text}");
        }
    }

    #[test]
    fn requirements_are_taken_apart() {
        let found = Requirement::parse("Zope.Interface[test, Docs] >=5, <6 ; python_version > '3'").unwrap();
        assert_eq!((found.name.as_str(), found.specifier.as_str()), ("zope-interface", ">=5, <6"));
        assert_eq!(found.extras, ["test", "docs"]);
        assert!(found.marker.is_some() && found.url.is_none());
        let found = Requirement::parse("lib @ git+https://h/x.git@v1#egg=lib ; os_name == 'posix'").unwrap();
        assert_eq!(found.url.as_deref(), Some("git+https://h/x.git@v1#egg=lib"));
        assert_eq!(Requirement::parse("x (>=1)").unwrap().specifier, ">=1");
        for text in ["", "-e .", "x==", "x ; nope", "x[", "./x"] {
            assert_eq!(Requirement::parse(text), None, "{text}");
        }
    }
}
