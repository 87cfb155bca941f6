//! Versions and version specifiers (the "Version Specifiers" specification, PEP 440). Pure.

use std::cmp::Ordering;

/// Longer versions are none.
const MAX_LENGTH: usize = 200;

/// A version. Its text is kept by whoever needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Version {
    epoch: u64,
    release: Vec<u64>,
    /// `a`, `b` or `rc`, as 0, 1 or 2, and its number.
    pre: Option<(u8, u64)>,
    post: Option<u64>,
    dev: Option<u64>,
    local: Vec<Local>,
}

/// A part of a local version. Numbers are above words.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Local {
    Word(String),
    Number(u64),
}

impl Version {
    /// Reads a version as leniently as the specification does.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = text.trim().to_ascii_lowercase();
        if text.len() > MAX_LENGTH {
            return None;
        }
        let text = text.strip_prefix('v').unwrap_or(&text);
        let (public, local) = match text.split_once('+') {
            Some((public, local)) => (public, parse_local(local)?),
            None => (text, Vec::new()),
        };
        let (epoch, rest) = match public.split_once('!') {
            Some((epoch, rest)) => (epoch.parse().ok()?, rest),
            None => (0, public),
        };
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let numbers = rest[..end].trim_end_matches('.');
        let release = numbers.split('.').map(|part| part.parse().ok()).collect::<Option<Vec<u64>>>()?;
        let mut version = Self { epoch, release, pre: None, post: None, dev: None, local };
        version.take_suffixes(&rest[numbers.len()..])?;
        Some(version)
    }

    /// `rc1.post2.dev3`, with any separators.
    fn take_suffixes(&mut self, mut rest: &str) -> Option<()> {
        const WORDS: [(&str, Suffix); 12] = [
            ("alpha", Suffix::Pre(0)),
            ("beta", Suffix::Pre(1)),
            ("preview", Suffix::Pre(2)),
            ("pre", Suffix::Pre(2)),
            ("post", Suffix::Post),
            ("dev", Suffix::Dev),
            ("rev", Suffix::Post),
            ("rc", Suffix::Pre(2)),
            ("r", Suffix::Post),
            ("a", Suffix::Pre(0)),
            ("b", Suffix::Pre(1)),
            ("c", Suffix::Pre(2)),
        ];
        while !rest.is_empty() {
            // `1.0-1` is a post release without its word.
            if let Some(number) =
                rest.strip_prefix('-').filter(|number| number.starts_with(|c: char| c.is_ascii_digit()))
            {
                self.post = Some(number.parse().ok()?);
                return Some(());
            }
            let word = rest.trim_start_matches(['.', '-', '_']);
            let (text, suffix) = WORDS.into_iter().find(|(text, _)| word.starts_with(text))?;
            let after = word[text.len()..].trim_start_matches(['.', '-', '_']);
            let end = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
            let number = if end == 0 { 0 } else { after[..end].parse().ok()? };
            // Without a number, what was trimmed belongs to the next suffix.
            rest = if end == 0 { &word[text.len()..] } else { &after[end..] };
            match suffix {
                Suffix::Pre(kind) => self.pre = Some((kind, number)),
                Suffix::Post => self.post = Some(number),
                Suffix::Dev => self.dev = Some(number),
            }
        }
        Some(())
    }

    /// The number of the release at an index; missing ones are 0.
    fn number(&self, index: usize) -> u64 {
        self.release.get(index).copied().unwrap_or(0)
    }

    /// Whether it is an alpha, a beta, a candidate or a development release.
    fn is_prerelease(&self) -> bool {
        self.pre.is_some() || self.dev.is_some()
    }

    /// Compares without local versions.
    fn cmp_public(&self, other: &Self) -> Ordering {
        let length = self.release.len().max(other.release.len());
        let releases = (0..length).map(|index| self.number(index).cmp(&other.number(index)));
        self.epoch
            .cmp(&other.epoch)
            .then_with(|| releases.fold(Ordering::Equal, Ordering::then))
            .then_with(|| self.pre_key().cmp(&other.pre_key()))
            .then_with(|| self.post.map_or(-1, i128::from).cmp(&other.post.map_or(-1, i128::from)))
            .then_with(|| self.dev.map_or(i128::MAX, i128::from).cmp(&other.dev.map_or(i128::MAX, i128::from)))
    }

    /// `1.0.dev1` is before `1.0a1`, which is before `1.0`.
    fn pre_key(&self) -> (u8, u64) {
        match self.pre {
            Some((kind, number)) => (kind + 1, number),
            None if self.post.is_none() && self.dev.is_some() => (0, 0),
            None => (4, 0),
        }
    }

    fn same_release(&self, other: &Self) -> bool {
        self.epoch == other.epoch
            && (0..self.release.len().max(other.release.len())).all(|at| self.number(at) == other.number(at))
    }

    /// Whether `self` begins with the numbers of `prefix`, for `== 1.2.*`.
    fn starts_with(&self, prefix: &Self, count: usize) -> bool {
        self.epoch == prefix.epoch && (0..count).all(|index| self.number(index) == prefix.number(index))
    }
}

#[derive(Clone, Copy)]
enum Suffix {
    Pre(u8),
    Post,
    Dev,
}

fn parse_local(text: &str) -> Option<Vec<Local>> {
    let part = |part: &str| {
        let word = !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric());
        word.then(|| part.parse().map_or_else(|_| Local::Word(part.to_owned()), Local::Number))
    };
    text.split(['.', '-', '_']).map(part).collect()
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        self.cmp_public(other).then_with(|| self.local.cmp(&other.local))
    }
}

/// One comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Clause {
    operator: &'static str,
    version: Version,
    wildcard: bool,
}

impl Version {
    /// The release, the one before and the one behind it, and the same of every part before the last.
    fn around(&self) -> Vec<Self> {
        let of = |release: Vec<u64>| Self {
            epoch: self.epoch,
            release,
            pre: None,
            post: None,
            dev: None,
            local: Vec::new(),
        };
        let mut found = vec![of(self.release.clone()), of([self.release.as_slice(), &[1]].concat())];
        for length in 1..=self.release.len() {
            let next = |change: fn(u64) -> Option<u64>, rest: &[u64]| {
                let (last, front) = self.release[..length].split_last()?;
                Some(of([front, &[change(*last)?], rest].concat()))
            };
            found.extend(next(|last| last.checked_add(1), &[]));
            found.extend(next(|last| last.checked_sub(1), &[u64::MAX]));
        }
        found
    }
}

/// Comparisons that must all hold; none allow every version.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Specifiers(Vec<Clause>);

const OPERATORS: [&str; 8] = ["===", "~=", "==", "!=", "<=", ">=", "<", ">"];

impl Specifiers {
    /// Reads `>=1.2,<2`; nothing for text that is none.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let clause = |part: &str| {
            let operator = OPERATORS.into_iter().find(|operator| part.starts_with(operator))?;
            let text = part[operator.len()..].trim();
            let wildcard = text.ends_with(".*") && matches!(operator, "==" | "!=");
            let version = Version::parse(text.strip_suffix(".*").filter(|_| wildcard).unwrap_or(text))?;
            (operator != "~=" || version.release.len() > 1).then_some(Clause { operator, version, wildcard })
        };
        let parts = text.trim().trim_start_matches('(').trim_end_matches(')').split(',').map(str::trim);
        parts.filter(|part| !part.is_empty()).map(clause).collect::<Option<Vec<_>>>().map(Self)
    }

    /// Whether a version satisfies all. Pre-releases are versions like others: whoever locked one meant it.
    pub(crate) fn allow(&self, version: &Version) -> bool {
        self.0.iter().all(|clause| clause.allows(version))
    }

    /// Whether both allow the same final releases, however they are written: `>=3.13,<3.14` and `==3.13.*`. Each limit lies at a release that
    /// one of them names, at its neighbours, or at the next release of the parts before its last.
    pub(crate) fn allow_the_same_releases(&self, other: &Self) -> bool {
        let limits = self.0.iter().chain(&other.0).map(|clause| &clause.version);
        limits.flat_map(Version::around).all(|version| self.allow(&version) == other.allow(&version))
    }
}

impl Clause {
    fn allows(&self, version: &Version) -> bool {
        let wanted = &self.version;
        let equal = || match (self.wildcard, wanted.local.is_empty()) {
            (true, _) => version.starts_with(wanted, wanted.release.len()),
            (false, true) => version.cmp_public(wanted) == Ordering::Equal,
            (false, false) => version == wanted || version.cmp(wanted) == Ordering::Equal,
        };
        match self.operator {
            "==" | "===" => equal(),
            "!=" => !equal(),
            "~=" => {
                version.cmp_public(wanted) != Ordering::Less && version.starts_with(wanted, wanted.release.len() - 1)
            }
            "<=" => version.cmp_public(wanted) != Ordering::Greater,
            ">=" => version.cmp_public(wanted) != Ordering::Less,
            // `<2` does not mean `2rc1`, and `>1` does not mean `1.post1`.
            "<" => {
                version.cmp_public(wanted) == Ordering::Less
                    && !(version.is_prerelease() && !wanted.is_prerelease() && version.same_release(wanted))
            }
            _ => {
                version.cmp_public(wanted) == Ordering::Greater
                    && !(version.post.is_some() && wanted.post.is_none() && version.same_release(wanted))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_as_the_specification_has_them() {
        let ordered = [
            "1.0.dev456",
            "1.0a1",
            "1.0a2.dev456",
            "1.0a12",
            "1.0b1.dev456",
            "1.0b2",
            "1.0b2.post345.dev456",
            "1.0b2.post345",
            "1.0rc1.dev456",
            "1.0rc1",
            "1.0",
            "1.0+abc.5",
            "1.0+abc.7",
            "1.0+5",
            "1.0.post456.dev34",
            "1.0.post456",
            "1.1.dev1",
            "1.10",
            "1!0.1",
        ];
        for pair in ordered.windows(2) {
            assert!(Version::parse(pair[0]).unwrap() < Version::parse(pair[1]).unwrap(), "{pair:?}");
        }
        for (one, other) in
            [("1.0", "1"), ("v1.0.0", "1.0"), ("1.0-1", "1.0.post1"), ("1.0.ALPHA-2", "1a2"), ("1c1", "1.rc.1")]
        {
            let versions = [one, other].map(|text| Version::parse(text).unwrap());
            assert_eq!(versions[0].cmp(&versions[1]), Ordering::Equal, "{one} {other}");
        }
        for text in ["", "x", "1.x", "1..2", "1.0+", "1.0+a..b", "1a!b", "1!", "99999999999999999999999"] {
            assert_eq!(Version::parse(text), None, "{text}");
        }
    }

    #[test]
    fn specifiers_that_allow_the_same_are_the_same() {
        for (one, other) in [
            (">=3.13,<3.14", "==3.13.*"),
            ("~=3.11", ">=3.11,<4"),
            ("~=3.11", ">=3.11, ==3.*"),
            (">=3.9, !=3.9.1", "!=3.9.1,>=3.9.0"),
            (">=3.9,>=3.11", ">=3.11"),
            ("", ""),
        ] {
            let read = |text| Specifiers::parse(text).unwrap();
            assert!(read(one).allow_the_same_releases(&read(other)), "{one} and {other}");
            assert!(read(other).allow_the_same_releases(&read(one)), "{other} and {one}");
        }
        for (one, other) in [
            (">=3.13,<3.14", ">=3.13"),
            ("==3.13.*", "==3.13"),
            (">=3.13", ">3.13"),
            ("<3.14", "<=3.14"),
            (">=3.9", ">=3.9,!=3.9.1"),
            (">=3.9,!=3.10.*", ">=3.9"),
            ("~=3.11", "~=3.11.0"),
            ("", ">=3"),
            (">=3.12.1", ">=3.12"),
        ] {
            let read = |text| Specifiers::parse(text).unwrap();
            assert!(!read(one).allow_the_same_releases(&read(other)), "{one} and {other}");
            assert!(!read(other).allow_the_same_releases(&read(one)), "{other} and {one}");
        }
    }

    #[test]
    fn specifiers_allow_what_the_specification_allows() {
        for (text, yes, no) in [
            (">=1.2,<2", "1.9", "2.0"),
            ("~=1.4.2", "1.4.9", "1.5"),
            ("~=1.4", "1.9", "2.0"),
            ("==1.2.*", "1.2.7", "1.20"),
            ("!=1.2.*", "1.3", "1.2.7"),
            ("==1.2", "1.2.0+cpu", "1.2.1"),
            ("==1.2+cpu", "1.2+cpu", "1.2"),
            ("<2", "1.9rc1", "2rc1"),
            (">1.7", "1.7.1", "1.7.0.post1"),
            ("", "1", "none"),
        ] {
            let specifiers = Specifiers::parse(text).unwrap();
            assert!(specifiers.allow(&Version::parse(yes).unwrap()), "{text} allows {yes}");
            assert!(Version::parse(no).is_none_or(|no| !specifiers.allow(&no)), "{text} does not allow {no}");
        }
        for text in ["1.2", "=1", "~=1", ">=", ">=x"] {
            assert_eq!(Specifiers::parse(text), None, "{text}");
        }
    }
}
