//! Relations between packages: `Depends`, `Provides`, `Conflicts` and their kin (Debian Policy 7.1).
//!
//! A dependency is a list of alternatives, any of which satisfies it. Build profiles and architecture restrictions belong to source
//! packages and are not known here.

use std::fmt;

use crate::version::{Version, VersionError};

/// How a version must stand to the one named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VersionOperator {
    /// `<<`
    Earlier,
    /// `<=`
    EarlierOrEqual,
    /// `=`
    Equal,
    /// `>=`
    LaterOrEqual,
    /// `>>`
    Later,
}

/// An operator and the version it looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionConstraint {
    /// The operator.
    pub operator: VersionOperator,
    /// The version.
    pub version: Version,
}

/// One package that would satisfy a dependency: `name[:arch] [(op version)]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alternative {
    /// Name of a package, real or virtual.
    pub name: String,
    /// What stands behind the colon: `any`, `native` or an architecture.
    pub architecture: Option<String>,
    /// Which versions are meant; all where there is none.
    pub constraint: Option<VersionConstraint>,
}

/// Alternatives, any of which is enough.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependency(pub Vec<Alternative>);

/// A text that is no relation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RelationError {
    /// The grammar is broken.
    #[error("`{text}` is no package relation")]
    Grammar {
        /// The part that could not be read.
        text: String,
    },
    /// The version in parentheses is none.
    #[error("the relation `{text}` has a bad version")]
    Version {
        /// The part that could not be read.
        text: String,
        /// Why.
        source: VersionError,
    },
}

impl VersionConstraint {
    /// True where `version` is one of those meant.
    pub fn allows(&self, version: &Version) -> bool {
        let order = version.cmp(&self.version);
        match self.operator {
            VersionOperator::Earlier => order.is_lt(),
            VersionOperator::EarlierOrEqual => order.is_le(),
            VersionOperator::Equal => order.is_eq(),
            VersionOperator::LaterOrEqual => order.is_ge(),
            VersionOperator::Later => order.is_gt(),
        }
    }
}

impl Alternative {
    /// True where a package of that name would do in this version.
    pub fn allows(&self, version: &Version) -> bool {
        self.constraint.as_ref().is_none_or(|constraint| constraint.allows(version))
    }
}

impl fmt::Display for VersionOperator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Earlier => "<<",
            Self::EarlierOrEqual => "<=",
            Self::Equal => "=",
            Self::LaterOrEqual => ">=",
            Self::Later => ">>",
        })
    }
}

impl fmt::Display for Alternative {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if let Some(architecture) = &self.architecture {
            write!(f, ":{architecture}")?;
        }
        if let Some(constraint) = &self.constraint {
            write!(f, " ({} {})", constraint.operator, constraint.version)?;
        }
        Ok(())
    }
}

impl fmt::Display for Dependency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, alternative) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(" | ")?;
            }
            alternative.fmt(f)?;
        }
        Ok(())
    }
}

/// Reads a comma-separated list of dependencies. Empty parts are left out, as dpkg does.
pub fn parse_dependencies(text: &str) -> Result<Vec<Dependency>, RelationError> {
    text.split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(|part| {
            part.split('|').map(|one| parse_alternative(one.trim())).collect::<Result<Vec<_>, _>>().map(Dependency)
        })
        .collect()
}

fn parse_alternative(text: &str) -> Result<Alternative, RelationError> {
    let grammar = || RelationError::Grammar { text: text.chars().take(200).collect() };
    let (head, constraint) = match text.split_once('(') {
        Some((head, rest)) => {
            let inner = rest.strip_suffix(')').ok_or_else(grammar)?.trim();
            (head.trim(), Some(parse_constraint(inner, text)?))
        }
        None => (text, None),
    };
    let (name, architecture) = match head.split_once(':') {
        Some((name, architecture)) => (name, Some(architecture)),
        None => (head, None),
    };
    if !is_name(name) || architecture.is_some_and(|architecture| !is_name(architecture)) {
        return Err(grammar());
    }
    Ok(Alternative { name: name.to_owned(), architecture: architecture.map(str::to_owned), constraint })
}

/// True for what can be the name of a package or of an architecture, and so part of a path.
pub(crate) fn is_name(text: &str) -> bool {
    text.len() <= 256
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.' | b'_'))
}

fn parse_constraint(inner: &str, whole: &str) -> Result<VersionConstraint, RelationError> {
    let end = inner.find(|c| !matches!(c, '<' | '=' | '>')).unwrap_or(inner.len());
    let operator = match &inner[..end] {
        "<<" => VersionOperator::Earlier,
        // A single < or > is an old spelling that means "or equal".
        "<=" | "<" => VersionOperator::EarlierOrEqual,
        "=" => VersionOperator::Equal,
        ">=" | ">" => VersionOperator::LaterOrEqual,
        ">>" => VersionOperator::Later,
        _ => return Err(RelationError::Grammar { text: whole.chars().take(200).collect() }),
    };
    let version = inner[end..]
        .trim()
        .parse()
        .map_err(|source| RelationError::Version { text: whole.chars().take(200).collect(), source })?;
    Ok(VersionConstraint { operator, version })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relations_are_read_and_written_back() {
        let text = "libc6 (>= 2.38), awk | mawk:any (<< 2~), perl:native, x(= 1:2-3)";
        let dependencies = parse_dependencies(text).unwrap();
        let written: Vec<String> = dependencies.iter().map(ToString::to_string).collect();
        assert_eq!(written, ["libc6 (>= 2.38)", "awk | mawk:any (<< 2~)", "perl:native", "x (= 1:2-3)"]);
        let Dependency(alternatives) = &dependencies[0];
        assert!(alternatives[0].allows(&"2.38".parse().unwrap()));
        assert!(!alternatives[0].allows(&"2.38~rc1".parse().unwrap()));
        assert_eq!(parse_dependencies(" , ").unwrap(), vec![]);
    }

    #[test]
    fn what_is_no_relation_is_refused() {
        for text in ["a b", "a (1)", "a (>= )", "a (>= 1", "(>= 1)", "|", "a:b c"] {
            assert!(parse_dependencies(text).is_err(), "{text}");
        }
    }
}
