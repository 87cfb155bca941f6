//! What people write for a Python version: PEP 440 specifiers, Poetry's caret, conda's single `=`, and bare numbers. Pure.

use std::fmt;

/// A release of Python: major, minor, patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Release(pub(crate) [u32; 3]);

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0[0], self.0[1], self.0[2])
    }
}

/// What must hold: all conditions of one of the alternatives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Specifiers(Vec<Vec<Condition>>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Condition {
    operator: Operator,
    /// As many numbers as were written, 1 to 3.
    numbers: Vec<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    /// The numbers that were written are the release's. Where one patch release of each minor can be had, a patch is a wish.
    Is,
    IsNot,
    AtLeast,
    Above,
    AtMost,
    Below,
    /// `~=` of PEP 440: the last number may grow.
    Compatible,
    /// `~` of Poetry: the patch may grow.
    Tilde,
    /// `^` of Poetry: all but the major may grow.
    Caret,
}

/// Longer is no version of Python.
const MAX_BYTES: usize = 400;

impl Specifiers {
    /// Reads `3.11`, `python-3.11.4`, `>=3.9,<3.12`, `>=3.9 <3.12`, `~=3.11`, `^3.9 || ^2.7`, `3.11.*`, `=3.11`, `cpython@3.11`, `*`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = text.trim().trim_matches(['"', '\'']);
        if text.len() > MAX_BYTES {
            return None;
        }
        let text = text.strip_prefix("cpython").or_else(|| text.strip_prefix("python")).unwrap_or(text);
        let text = text.trim_start_matches(['-', '@', ' ']);
        let alternatives = text.split('|').map(str::trim).filter(|part| !part.is_empty());
        let alternatives = alternatives.map(conditions).collect::<Option<Vec<_>>>()?;
        (!alternatives.is_empty()).then_some(Self(alternatives))
    }

    /// Whether a release satisfies them, a patch that is asked for by number being a wish.
    pub(crate) fn allow(&self, release: Release) -> bool {
        self.0.iter().any(|all| all.iter().all(|condition| condition.allows(release, 2)))
    }

    /// Whether a release satisfies them to the last number.
    pub(crate) fn allow_exactly(&self, release: Release) -> bool {
        self.0.iter().any(|all| all.iter().all(|condition| condition.allows(release, 3)))
    }

    /// The patch release that is asked for by number.
    pub(crate) fn pinned_patch(&self) -> Option<Release> {
        let [only] = self.0.as_slice() else { return None };
        only.iter().find(|c| c.operator == Operator::Is && c.numbers.len() == 3).map(Condition::floor)
    }
}

/// The conditions of one alternative. Commas and spaces separate them; a space may stand behind an operator as well.
fn conditions(text: &str) -> Option<Vec<Condition>> {
    let mut found = Vec::new();
    for part in text.split(',').filter(|part| !part.trim().is_empty()) {
        let mut operator = String::new();
        for word in part.split_whitespace() {
            operator.push_str(word);
            if word.ends_with(|c: char| c.is_ascii_alphanumeric() || c == '*') {
                found.push(Condition::parse(&operator)?);
                operator.clear();
            }
        }
        if !operator.is_empty() {
            return None;
        }
    }
    (!found.is_empty()).then_some(found)
}

impl Condition {
    fn parse(text: &str) -> Option<Self> {
        const OPERATORS: &[(&str, Operator)] = &[
            ("===", Operator::Is),
            ("==", Operator::Is),
            ("!=", Operator::IsNot),
            (">=", Operator::AtLeast),
            ("<=", Operator::AtMost),
            ("~=", Operator::Compatible),
            (">", Operator::Above),
            ("<", Operator::Below),
            ("^", Operator::Caret),
            ("~", Operator::Tilde),
            ("=", Operator::Is),
            ("", Operator::Is),
        ];
        let (operator, rest) =
            OPERATORS.iter().find_map(|(mark, operator)| Some((*operator, text.strip_prefix(mark)?)))?;
        if rest == "*" {
            return Some(Self { operator: Operator::AtLeast, numbers: vec![0] });
        }
        let rest = rest.trim_end_matches(".*").trim_end_matches(".x");
        if rest.len() > 20 {
            return None;
        }
        let numbers = rest.split('.').map(|number| number.parse::<u32>().ok()).collect::<Option<Vec<u32>>>()?;
        (1..=3).contains(&numbers.len()).then_some(Self { operator, numbers })
    }

    fn floor(&self) -> Release {
        let number = |index: usize| self.numbers.get(index).copied().unwrap_or(0);
        Release([number(0), number(1), number(2)])
    }

    fn starts(&self, release: Release, count: usize) -> bool {
        self.numbers.iter().take(count).zip(release.0).all(|(wanted, is)| *wanted == is)
    }

    /// `depth` numbers of a release that is asked for by number must be right.
    fn allows(&self, release: Release, depth: usize) -> bool {
        let floor = self.floor();
        match self.operator {
            Operator::Is => self.starts(release, depth),
            Operator::IsNot => !self.starts(release, 3),
            Operator::AtLeast => release >= floor,
            Operator::Above => release > floor && !(self.numbers.len() < 3 && self.starts(release, 3)),
            Operator::AtMost => release <= floor,
            Operator::Below => release < floor,
            Operator::Compatible => release >= floor && self.starts(release, (self.numbers.len() - 1).max(1)),
            Operator::Tilde => release >= floor && self.starts(release, self.numbers.len().min(2)),
            Operator::Caret => release >= floor && self.starts(release, 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specifiers_mean_what_their_authors_say() {
        let allows = |text: &str, numbers: [u32; 3]| Specifiers::parse(text).is_some_and(|s| s.allow(Release(numbers)));
        for (text, yes, no) in [
            (">=3.9,<3.12", [3, 11, 2], [3, 13, 5]),
            ("~=3.11.1", [3, 11, 2], [3, 13, 5]),
            ("~=3.9", [3, 13, 5], [4, 0, 0]),
            (">3.11", [3, 13, 5], [3, 11, 2]),
            ("<=3.12", [3, 11, 2], [3, 13, 5]),
            ("^3.9", [3, 13, 5], [4, 0, 0]),
            ("==3.11.9", [3, 11, 2], [3, 13, 5]),
            ("!=3.11.*", [3, 13, 5], [3, 11, 2]),
            ("~3.9", [3, 9, 2], [3, 11, 2]),
            ("~3", [3, 13, 5], [4, 0, 0]),
            ("^2.7 || ^3.11", [3, 13, 5], [3, 9, 2]),
            ("3.9|3.11", [3, 11, 2], [3, 10, 0]),
            (">=3.9 <3.12", [3, 11, 2], [3, 13, 5]),
            (">= 3.9, < 3.12", [3, 11, 2], [3, 13, 5]),
            ("3.11.*", [3, 11, 2], [3, 13, 5]),
            (">=3.*", [3, 0, 0], [2, 7, 18]),
        ] {
            assert!(allows(text, yes), "{text} should allow {yes:?}");
            assert!(!allows(text, no), "{text} should not allow {no:?}");
        }
        assert!(allows("*", [3, 8, 0]));
        let exact = Specifiers::parse("3.11.4").unwrap();
        assert!(exact.allow(Release([3, 11, 2])) && !exact.allow_exactly(Release([3, 11, 2])));
        for text in ["", "three", "3.1.2.3", "pypy-3.9", "3.13t", ">=", "|", ",", "3.11-dev", "3.14.0rc1"] {
            assert_eq!(Specifiers::parse(text), None, "{text}");
        }
    }
}
