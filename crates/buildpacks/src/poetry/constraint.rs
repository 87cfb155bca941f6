//! Poetry's version constraints (`^1.2`, `~1.2`, `1.*`, `>=1 <2`, `<2 || >=3`) as specifiers of PEP 440. Pure.

use crate::pep440::{Specifiers, Version};

/// Alternatives, any of which may hold; each is a specifier of PEP 440.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Constraint {
    pub(crate) alternatives: Vec<String>,
}

impl Constraint {
    /// Reads a constraint; nothing for text that is none.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let parts = text.replace("||", "|");
        let alternatives = parts.split('|').map(alternative).collect::<Option<Vec<_>>>()?;
        Some(Self { alternatives })
    }

    /// Whether a version satisfies it.
    pub(crate) fn allows(&self, version: &str) -> bool {
        let Some(version) = Version::parse(version) else { return false };
        self.alternatives.iter().filter_map(|text| Specifiers::parse(text)).any(|one| one.allow(&version))
    }

    /// The alternative for new versions, which stands last by custom.
    pub(crate) fn newest(&self) -> &str {
        self.alternatives.last().map_or("", String::as_str)
    }
}

/// Clauses between commas or blanks.
fn alternative(text: &str) -> Option<String> {
    // An operator may stand apart from its version.
    let mut joined = text.trim().to_owned();
    for operator in ["=", "<", ">", "^", "~", "!"] {
        while joined.contains(&format!("{operator} ")) {
            joined = joined.replace(&format!("{operator} "), operator);
        }
    }
    let mut clauses = Vec::new();
    for part in joined.split([',', ' ', '\t']).filter(|part| !part.is_empty()) {
        clauses.extend(clause(part)?);
    }
    let specifier = clauses.join(",");
    Specifiers::parse(&specifier)?;
    Some(specifier)
}

fn clause(text: &str) -> Option<Vec<String>> {
    if matches!(text, "*" | "x" | "X" | "") {
        return Some(Vec::new());
    }
    if let Some(version) = text.strip_prefix('^') {
        return Some(vec![format!(">={version}"), format!("<{}", caret_end(version)?)]);
    }
    if let Some(version) = text.strip_prefix('~').filter(|rest| !rest.starts_with('=')) {
        let numbers = numbers(version)?;
        let end = if numbers.len() < 2 { bump(&numbers, 0) } else { bump(&numbers, 1) };
        return Some(vec![format!(">={version}"), format!("<{end}")]);
    }
    if text.starts_with(['=', '<', '>', '!', '~']) {
        let bare = text.trim_start_matches('=');
        let single = text.starts_with('=') && !text.starts_with("==");
        return Some(vec![if single { format!("=={bare}") } else { text.to_owned() }]);
    }
    Some(vec![format!("=={}", text.replace(".x", ".*"))])
}

/// The first version that `^` does not allow: the left-most number that is not 0 may not change.
fn caret_end(version: &str) -> Option<String> {
    let numbers = numbers(version)?;
    let at = numbers.iter().position(|number| *number != 0).unwrap_or(numbers.len() - 1);
    Some(bump(&numbers, at))
}

fn bump(numbers: &[u64], at: usize) -> String {
    let kept = numbers.iter().take(at).map(u64::to_string);
    let raised = numbers.get(at).copied().unwrap_or(0).saturating_add(1).to_string();
    kept.chain([raised]).collect::<Vec<_>>().join(".")
}

/// The numbers that a version begins with.
fn numbers(version: &str) -> Option<Vec<u64>> {
    let end = version.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(version.len());
    let text = version[..end].trim_end_matches('.');
    text.split('.').map(|number| number.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn poetrys_operators_are_those_of_its_manual() {
        for (text, wanted) in [
            ("^1.2.3", ">=1.2.3,<2"),
            ("^1", ">=1,<2"),
            ("^0.2.3", ">=0.2.3,<0.3"),
            ("^0.0.3", ">=0.0.3,<0.0.4"),
            ("^0.0", ">=0.0,<0.1"),
            ("^0", ">=0,<1"),
            ("^2.0b1", ">=2.0b1,<3"),
            ("~1.2.3", ">=1.2.3,<1.3"),
            ("~1.2", ">=1.2,<1.3"),
            ("~1", ">=1,<2"),
            ("~=1.2", "~=1.2"),
            ("*", ""),
            ("1.2.*", "==1.2.*"),
            ("1.2.3", "==1.2.3"),
            ("=1.2", "==1.2"),
            (">= 1.2, < 1.5", ">=1.2,<1.5"),
            (">=1.2 <1.5", ">=1.2,<1.5"),
            ("!=1.3", "!=1.3"),
        ] {
            let found = Constraint::parse(text).map(|constraint| constraint.alternatives);
            assert_eq!(found, Some(vec![wanted.to_owned()]), "{text}");
        }
        let either = Constraint::parse("<2 || ^3.1").unwrap();
        assert!(either.allows("1.9") && either.allows("3.2") && !either.allows("2.5"));
        assert_eq!(either.newest(), ">=3.1,<4");
        for text in ["^", "^x", "not a version", ">=", "^99999999999999999999999"] {
            assert_eq!(Constraint::parse(text), None, "{text}");
        }
    }
}
