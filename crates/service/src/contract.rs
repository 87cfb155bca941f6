//! Which of the two generations of the contract a service speaks, seen from its layout and the signature of `run`.
//!
//! The rule, in this order: what the user forces; a job template is G1; a program that imports `planqk.commons` or `qhub` is G2; a `run`
//! whose parameters are called otherwise than `data`, `params` or `**kwargs`, or which annotates them with a class of its own (pydantic,
//! `DataPool`, `int` …), is G2; an `openapi.yaml` beside it (G1 wrote `openapi-spec.yml`) is G2; all else is G1.
//!
//! The program is read as text, never executed: a few lines of Python's grammar (strings, comments, brackets) suffice for a `def` line.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::layout::Layout;

/// A generation of the service contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub enum Contract {
    /// The job template: `/var/input/{data,params}.json` in, a marked block on stdout out.
    G1,
    /// One file for each top-level key in `/var/runtime/input`, files in `/var/runtime/output`.
    G2,
}

impl Contract {
    /// `G1` or `G2`, as `HOIST_CONTRACT` has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::G1 => "G1",
            Self::G2 => "G2",
        }
    }
}

impl std::fmt::Display for Contract {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl std::str::FromStr for Contract {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.to_ascii_uppercase().as_str() {
            "G1" => Ok(Self::G1),
            "G2" => Ok(Self::G2),
            _ => Err(format!("{text} is no contract: there are G1 and G2")),
        }
    }
}

/// The contract that was chosen, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContractChoice {
    /// Which.
    pub contract: Contract,
    /// Why, as a clause: `run takes the parameters "shots" and "seed"`.
    pub reason: String,
}

/// The parameters of `run`, as far as its text tells.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Signature {
    /// Names and annotations in order, without `*args` and `**kwargs`.
    pub parameters: Vec<(String, Option<String>)>,
    /// Whether it takes `**kwargs`.
    pub takes_any: bool,
}

impl Signature {
    /// Finds `def run(` at the left margin of `program`.
    pub fn parse(program: &str) -> Option<Self> {
        let code = blank_strings_and_comments(program);
        let mut search = 0;
        let start = loop {
            let at = search + code[search..].find("def run")?;
            let line_start = code[..at].rfind('\n').map_or(0, |newline| newline + 1);
            let rest = code[at + "def run".len()..].trim_start_matches([' ', '\t']);
            if matches!(&code[line_start..at], "" | "async ") && rest.starts_with('(') {
                break code.len() - rest.len() + 1;
            }
            search = at + 1;
        };
        let mut signature = Self::default();
        for parameter in split_parameters(&code[start..]) {
            signature.add(&parameter);
        }
        Some(signature)
    }

    fn add(&mut self, text: &str) {
        let text = text.trim();
        if text.starts_with("**") {
            self.takes_any = true;
        } else if !text.is_empty() && !text.starts_with('*') && text != "/" {
            let declared = text.split_once('=').map_or(text, |(before, _)| before);
            let (name, annotation) = match declared.split_once(':') {
                Some((name, annotation)) => (name, Some(annotation.trim().to_owned())),
                None => (declared, None),
            };
            self.parameters.push((name.trim().to_owned(), annotation));
        }
    }

    /// Whether `data` or `params` is a parameter of `run`. `**kwargs` takes them too, unless the parameters beside it have other names: then it
    /// takes the members that are left.
    pub fn takes(&self, name: &str) -> bool {
        let named = |name: &str| self.parameters.iter().any(|(known, _)| known == name);
        let whole = self.parameters.is_empty() || named("data") || named("params");
        named(name) || (self.takes_any && whole)
    }

    /// Whether a key of the input reaches `run`: it is a parameter, or `**kwargs` takes it.
    pub(crate) fn accepts(&self, key: &str) -> bool {
        self.takes_any || self.parameters.iter().any(|(known, _)| known == key)
    }
}

/// Whether `program` gets its `run` from elsewhere, at the left margin or in a `try:` there: `from .solver import run`, `import x as run`,
/// `from .solver import *`, `run = solve`.
pub(crate) fn imports_run(program: &str) -> bool {
    let code = blank_strings_and_comments(program).replace("\\\n", " ");
    let mut open = false; // in the brackets of an import that goes over several lines
    code.lines().any(|line| {
        let importing = open || line.split_whitespace().any(|word| word == "import");
        open = importing && (open || line.contains('(')) && !line.contains(')');
        let behind = line.strip_prefix("run").map_or("", str::trim_start);
        let assigned = behind.starts_with([':', '=']) && !behind.starts_with("==");
        let names = line.rsplit("import").next().unwrap_or(line);
        let mut names = names.split([',', '(', ')']).filter_map(|name| name.split_whitespace().last());
        assigned || (importing && names.any(|name| matches!(name, "run" | "*")))
    })
}

/// Chooses the contract of the service at `root`. `program` is the text of its `src/program.py`, where there is one.
pub(crate) fn choose(root: &Path, layout: &Layout, program: Option<&str>, forced: Option<Contract>) -> ContractChoice {
    let choice = |contract, reason: &str| ContractChoice { contract, reason: reason.to_owned() };
    if let Some(contract) = forced {
        return choice(contract, "it was asked for");
    }
    if matches!(layout, Layout::JobTemplate { .. }) {
        return choice(Contract::G1, "job templates are of the first generation");
    }
    let Some(program) = program else { return choice(Contract::G1, "there is no src/program.py to look at") };
    for line in program.lines() {
        let mut words = line.split_whitespace();
        if matches!(words.next(), Some("import" | "from"))
            && let Some(module) = words.next()
            && ["planqk.commons", "planqk_commons", "qhub"].iter().any(|known| module.starts_with(known))
        {
            return choice(Contract::G2, &format!("src/program.py imports {}", module.trim_end_matches(',')));
        }
    }
    if let Some(signature) = Signature::parse(program) {
        for (name, annotation) in &signature.parameters {
            if !matches!(name.as_str(), "data" | "params" | "params_dict") {
                return choice(Contract::G2, &format!("run takes a parameter called {name}"));
            }
            if let Some(class) = annotation.as_deref().filter(|annotation| !is_plain_dict(annotation)) {
                return choice(Contract::G2, &format!("run wants {name} as {class}"));
            }
        }
    }
    if root.join("openapi.yaml").is_file() {
        return choice(Contract::G2, "there is an openapi.yaml");
    }
    choice(Contract::G1, "run takes data and params")
}

/// Whether an annotation says no more than "whatever JSON has".
fn is_plain_dict(annotation: &str) -> bool {
    annotation.split(|c: char| !(c.is_alphanumeric() || c == '_')).filter(|word| !word.is_empty()).all(|word| {
        [
            "Dict", "dict", "Any", "any", "Optional", "None", "Union", "Mapping", "str", "typing", "List", "list",
            "object",
        ]
        .contains(&word)
    }) && annotation.trim() != "str"
}

/// The code with strings emptied and comments gone, at the same length in bytes where that matters not: only structure is left.
fn blank_strings_and_comments(program: &str) -> String {
    let bytes = program.as_bytes();
    let mut out = String::with_capacity(program.len());
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'#' => at += program[at..].find('\n').unwrap_or(program.len() - at),
            quote @ (b'"' | b'\'') => {
                let end = string_end(bytes, at, quote);
                // An annotation in quotes is a type all the same.
                let name = program[at..end].trim_matches(['"', '\'']);
                let is_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | ' ' | '|');
                if out.trim_end().ends_with(':') && name.chars().all(is_name) {
                    out.push_str(name);
                }
                at = end;
            }
            _ => {
                let length = program[at..].chars().next().map_or(1, char::len_utf8);
                out.push_str(&program[at..at + length]);
                at += length;
            }
        }
    }
    out
}

/// Where the string that opens at `at` ends.
fn string_end(bytes: &[u8], at: usize, quote: u8) -> usize {
    let triple = bytes[at..].starts_with(&[quote; 3]);
    let mut end = at + if triple { 3 } else { 1 };
    while end < bytes.len() {
        match bytes[end] {
            b'\\' => end += 1,
            b'\n' if !triple => return end,
            byte if byte == quote && (!triple || bytes[end..].starts_with(&[quote; 3])) => {
                return end + if triple { 3 } else { 1 };
            }
            _ => {}
        }
        end += 1;
    }
    bytes.len()
}

/// The parameters between an opening bracket (already passed) and its closing one.
fn split_parameters(code: &str) -> Vec<String> {
    let (mut depth, mut parameters, mut current) = (0usize, Vec::new(), String::new());
    for c in code.chars() {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' if depth == 0 => break,
            ')' | ']' | '}' => depth -= 1,
            ',' if depth == 0 => {
                parameters.push(std::mem::take(&mut current));
                continue;
            }
            _ => {}
        }
        current.push(c);
    }
    parameters.push(current);
    parameters
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contract(program: &str) -> Contract {
        choose(Path::new("/nonexistent"), &Layout::PlanQk, Some(program), None).contract
    }

    #[test]
    fn the_generation_is_seen_from_the_signature() {
        for g1 in [
            "def run(data=None, params=None): pass",
            "def run(data: Optional[Dict[str, Any]] = None, params: dict[str, Any] | None = None) -> ResultResponse: ...",
            "def run(data: Dict=None, params: Dict=None, params_dict=None): pass",
            "def run(**kwargs):\n  pass",
            "\"\"\"\ndef run(shots: int): no\n\"\"\"\n# def run(a, b)\nasync def run(data, params): pass",
            "class A:\n    def run(self, x): pass\ndef run(data, params): pass",
            "x = 1",
        ] {
            assert_eq!(contract(g1), Contract::G1, "{g1}");
        }
        for g2 in [
            "def run(data: InputData, params: InputParams) -> CalculationResult: ...",
            "def run(shots: int = 5): ...",
            "def run(\n    data: 'InputData',  # what ) comes\n    values: list[float],\n): ...",
            "def run(data: \"InputData\", params: \"InputParams\"): ...",
            "from planqk.commons.datapool import DataPool\ndef run(data): ...",
            "def run (data: int): ...",
        ] {
            assert_eq!(contract(g2), Contract::G2, "{g2}");
        }
        let forced = choose(Path::new("/"), &Layout::PlanQk, Some("def run(data: int): ..."), Some(Contract::G1));
        assert_eq!(forced.contract, Contract::G1);
    }

    #[test]
    fn a_run_from_elsewhere_is_seen() {
        for yes in [
            "from .solver import run",
            "from .solver import a, run\n",
            "from .solver import (\n    a,\n    run,\n)",
            "import solver as run",
            "from .solver import *  # all",
            "try:\n    from .fast import run\nexcept ImportError:\n    from .slow import run",
            "run = lambda data, params: 1",
            "run: Callable = solve",
        ] {
            assert!(imports_run(yes), "{yes}");
        }
        for no in [
            "from .run import start",
            "import run_it",
            "# import run",
            "x = 'import run'",
            "runs = 1",
            "import os\nos.run",
        ] {
            assert!(!imports_run(no), "{no}");
        }
    }

    #[test]
    fn parameters_are_named_with_their_annotations() {
        let signature =
            Signature::parse("def run(a, /, b: Dict[str, int] = {}, *rest, c=(1, 2), **kw):\n  pass").unwrap();
        let names: Vec<_> = signature.parameters.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["a", "b", "c"]);
        assert_eq!(signature.parameters[1].1.as_deref(), Some("Dict[str, int]"));
        assert!(signature.takes_any && !signature.takes("data"), "the members of data are what **kw takes");
        assert!(Signature::parse("def run(**kw): ...").unwrap().takes("data"));
        assert!(Signature::parse("def run(data, **kw): ...").unwrap().takes("params"));
    }

    proptest::proptest! {
        #[test]
        fn no_program_makes_the_reader_fall_over(text in "(def run|\\(|\\)|\"|'|\"\"\"|#|\n|\\\\|ä|[a-z:,= ]){0,40}") {
            let _ = Signature::parse(&text);
        }
    }
}
