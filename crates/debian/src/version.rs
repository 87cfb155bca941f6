//! Debian version numbers and their order, as deb-version(7) and Debian Policy 5.6.12 define them.
//!
//! Knows nothing of packages. The order is total on what two versions *mean*; the text is kept as it was written.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A version: `[epoch:]upstream[-revision]`. Ordered and compared as dpkg does, so `1.0` equals `1.0-0` and `0:1.0`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Version {
    text: String,
    epoch: u32,
    /// Where the upstream part begins and ends in `text`; the revision, if there is one, begins one byte after the end.
    upstream: (usize, usize),
}

/// A text that is no version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no Debian version: {problem}")]
pub struct VersionError {
    /// What was read.
    pub text: String,
    /// What is wrong with it.
    pub problem: &'static str,
}

impl Version {
    /// The text as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The number before the colon, 0 where there is none.
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// The part between epoch and revision.
    pub fn upstream(&self) -> &str {
        &self.text[self.upstream.0..self.upstream.1]
    }

    /// The part after the last hyphen, empty where there is none.
    pub fn revision(&self) -> &str {
        self.text.get(self.upstream.1 + 1..).unwrap_or("")
    }
}

impl FromStr for Version {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, VersionError> {
        let fail = |problem| VersionError { text: text.chars().take(200).collect(), problem };
        if text.is_empty() {
            return Err(fail("it is empty"));
        }
        if text.len() > 512 {
            return Err(fail("it is longer than 512 bytes"));
        }
        let (epoch, start) = match text.split_once(':') {
            Some((epoch, _)) => {
                if epoch.is_empty() || !epoch.bytes().all(|b| b.is_ascii_digit()) {
                    return Err(fail("the epoch before the colon is not a number"));
                }
                (epoch.parse().map_err(|_| fail("the epoch is too large"))?, epoch.len() + 1)
            }
            None => (0, 0),
        };
        let rest = &text[start..];
        let end = start + rest.rfind('-').unwrap_or(rest.len());
        if start == end {
            return Err(fail("the upstream part is empty"));
        }
        if end + 1 == text.len() {
            return Err(fail("the revision after the hyphen is empty"));
        }
        let upstream_ok = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'+' | b'-' | b'~' | b':');
        let revision_ok = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'+' | b'~');
        if !text[start..end].bytes().all(upstream_ok) || !text.get(end + 1..).unwrap_or("").bytes().all(revision_ok) {
            return Err(fail("only letters, digits and . + - ~ : are allowed"));
        }
        Ok(Self { text: text.to_owned(), epoch, upstream: (start, end) })
    }
}

impl TryFrom<String> for Version {
    type Error = VersionError;

    fn try_from(text: String) -> Result<Self, VersionError> {
        text.parse()
    }
}

impl From<Version> for String {
    fn from(version: Version) -> Self {
        version.text
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        self.epoch
            .cmp(&other.epoch)
            .then_with(|| compare_part(self.upstream().as_bytes(), other.upstream().as_bytes()))
            .then_with(|| compare_part(self.revision().as_bytes(), other.revision().as_bytes()))
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Version {}

impl Hash for Version {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // Equal versions may be written differently (1.0 and 1.0-0), so only what equality implies may be hashed.
        self.epoch.hash(state);
    }
}

/// Rank of a character in the parts that are not digits: `~` before the end, the end before letters, letters before the rest.
fn rank(byte: Option<u8>) -> i32 {
    match byte {
        Some(b'~') => -1,
        None => 0,
        Some(b) if b.is_ascii_digit() => 0,
        Some(b) if b.is_ascii_alphabetic() => i32::from(b),
        Some(b) => i32::from(b) + 256,
    }
}

/// Compares an upstream part or a revision: in turns a run without digits by [`rank`], and a run of digits as a number.
fn compare_part(mut left: &[u8], mut right: &[u8]) -> Ordering {
    while !left.is_empty() || !right.is_empty() {
        loop {
            let (l, r) = (left.first().copied(), right.first().copied());
            let in_run = |b: Option<u8>| b.is_some_and(|b| !b.is_ascii_digit());
            if !in_run(l) && !in_run(r) {
                break;
            }
            let order = rank(l).cmp(&rank(r));
            if order != Ordering::Equal {
                return order;
            }
            left = &left[1..];
            right = &right[1..];
        }
        let (l, left_rest) = split_number(left);
        let (r, right_rest) = split_number(right);
        let order = l.len().cmp(&r.len()).then_with(|| l.cmp(r));
        if order != Ordering::Equal {
            return order;
        }
        (left, right) = (left_rest, right_rest);
    }
    Ordering::Equal
}

/// Takes the leading digits, without leading zeros.
fn split_number(part: &[u8]) -> (&[u8], &[u8]) {
    let end = part.iter().position(|b| !b.is_ascii_digit()).unwrap_or(part.len());
    let (digits, rest) = part.split_at(end);
    let zeros = digits.iter().position(|b| *b != b'0').unwrap_or(digits.len());
    (&digits[zeros..], rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    #[test]
    fn versions_are_ordered_as_dpkg_orders_them() {
        // Each line ascends; checked once against `dpkg --compare-versions`.
        for line in [
            "1.0~~ 1.0~~a 1.0~ 1.0 1.0-0.1 1.0-1 1.0a 1.0+b 1.0.0 1.00.1 1.2 1.10 2.0 1:0.1 2:0",
            "0~rc1 0 0+git 1~bpo 1",
            "2.41-12 2.41-12+deb13u1 2.41-12+deb13u2 2.42~ 2.42-1",
            "3.13.5-2 3.13.5-2+b1 3.13.5-10",
        ] {
            let versions: Vec<Version> = line.split(' ').map(version).collect();
            for (i, left) in versions.iter().enumerate() {
                for (j, right) in versions.iter().enumerate() {
                    assert_eq!(left.cmp(right), i.cmp(&j), "{left} and {right}");
                }
            }
        }
        for (left, right) in [("1.0", "1.0-0"), ("0:1", "1"), ("1.01", "1.1"), ("1-00", "1-0"), ("1.", "1.0")] {
            assert_eq!(version(left), version(right));
        }
    }

    #[test]
    fn a_version_falls_into_epoch_upstream_and_revision() {
        let v = version("2:1.0-rc-3");
        assert_eq!((v.epoch(), v.upstream(), v.revision()), (2, "1.0-rc", "3"));
        for text in ["", ":1", "a:1", "1:", "1-", "-1", "1 2", "1_2", "ä"] {
            assert!(text.parse::<Version>().is_err(), "{text}");
        }
    }

    fn any_version() -> impl Strategy<Value = Version> {
        "([0-2]:)?[0-2a+.~]{1,6}(-[0-1a+.~]{1,3})?".prop_map(|text| version(&text))
    }

    proptest! {
        #[test]
        fn the_order_is_total(a in any_version(), b in any_version(), c in any_version()) {
            prop_assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
            prop_assert_eq!(a.cmp(&a.clone()), Ordering::Equal);
            if a <= b && b <= c { prop_assert!(a <= c); }
            if a == b { prop_assert_eq!(a.cmp(&c), b.cmp(&c)); }
        }
    }
}
