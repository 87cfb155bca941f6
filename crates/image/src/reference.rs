//! Image references: `name[:tag][@digest]`, as the distribution specification's grammar has them.
//!
//! A name is taken as it is typed: no registry host is ever added in front, and where no tag and no digest is given the tag is `latest`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::digest::Digest;

const MAX_NAME: usize = 255;
const MAX_TAG: usize = 128;

/// A parsed reference.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    name: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// Why a text is not a reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// Nothing was given.
    #[error("reading an image reference: it is empty")]
    Empty,
    /// The name is longer than 255 characters.
    #[error("reading image reference `{text}`: its name has {length} characters, 255 are allowed")]
    TooLong {
        /// The reference, cut.
        text: String,
        /// How long its name is.
        length: usize,
    },
    /// A part between slashes is not allowed.
    #[error("reading image reference `{text}`: `{part}` is not a name: {reason}")]
    Name {
        /// The reference.
        text: String,
        /// The part that is wrong.
        part: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// What stands after the colon is not a tag.
    #[error(
        "reading image reference `{text}`: `{tag}` is not a tag: letters, digits, `_`, `.` and `-`, at most 128, not beginning with `.` or `-`"
    )]
    Tag {
        /// The reference.
        text: String,
        /// The tag.
        tag: String,
    },
    /// What stands after the `@` is not a digest.
    #[error("reading image reference `{text}`")]
    Digest {
        /// The reference.
        text: String,
        /// Why.
        #[source]
        source: crate::digest::DigestError,
    },
}

impl ReferenceError {
    /// What to do next.
    pub fn hint(&self) -> String {
        match self {
            Self::Name { text, .. } if text.chars().any(char::is_uppercase) => {
                format!("write it in lower case: `{}`", text.to_lowercase())
            }
            _ => "write it as `name`, `name:tag` or `host/name:tag`".to_owned(),
        }
    }
}

impl Reference {
    /// The name, with the registry host where one was typed.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The tag: what was typed, else `latest`; nothing where a digest was typed without a tag.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, where one was typed.
    pub fn digest(&self) -> Option<Digest> {
        self.digest
    }

    /// The registry's host and port, where the name begins with one: the first part has a dot, a colon or is `localhost`.
    pub fn registry(&self) -> Option<&str> {
        let (first, _) = self.name.split_once('/')?;
        (first.contains(['.', ':']) || first == "localhost").then_some(first)
    }

    /// The name without the registry.
    pub fn repository(&self) -> &str {
        match self.registry() {
            Some(registry) => &self.name[registry.len() + 1..],
            None => &self.name,
        }
    }

    /// The same name with another tag and no digest.
    pub fn with_tag(&self, tag: &str) -> Result<Self, ReferenceError> {
        check_tag(&format!("{}:{tag}", self.name), tag)?;
        Ok(Self { name: self.name.clone(), tag: Some(tag.to_owned()), digest: None })
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        if text.is_empty() {
            return Err(ReferenceError::Empty);
        }
        let shown: String = text.chars().take(300).collect();
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => {
                let digest = digest.parse().map_err(|source| ReferenceError::Digest { text: shown.clone(), source })?;
                (rest, Some(digest))
            }
            None => (text, None),
        };
        let (name, tag) = match rest.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            _ => (rest, None),
        };
        if name.len() > MAX_NAME {
            return Err(ReferenceError::TooLong { text: shown, length: name.len() });
        }
        check_name(&shown, name)?;
        if let Some(tag) = tag {
            check_tag(&shown, tag)?;
        }
        let tag = match (tag, digest) {
            (Some(tag), _) => Some(tag.to_owned()),
            (None, Some(_)) => None,
            (None, None) => Some("latest".to_owned()),
        };
        Ok(Self { name: name.to_owned(), tag, digest })
    }
}

fn check_tag(text: &str, tag: &str) -> Result<(), ReferenceError> {
    let fine = !tag.is_empty()
        && tag.len() <= MAX_TAG
        && !tag.starts_with(['.', '-'])
        && tag.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b));
    if fine { Ok(()) } else { Err(ReferenceError::Tag { text: text.to_owned(), tag: tag.to_owned() }) }
}

fn check_name(text: &str, name: &str) -> Result<(), ReferenceError> {
    let parts: Vec<&str> = name.split('/').collect();
    let has_host = parts.len() > 1 && (parts[0].contains(['.', ':']) || parts[0] == "localhost");
    for (at, part) in parts.iter().enumerate() {
        let wrong = if at == 0 && has_host { host_problem(part) } else { part_problem(part) };
        if let Some(reason) = wrong {
            return Err(ReferenceError::Name { text: text.to_owned(), part: (*part).to_owned(), reason });
        }
    }
    Ok(())
}

fn host_problem(host: &str) -> Option<&'static str> {
    let (host, port) = match host.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (host, None),
    };
    if port.is_some_and(|port| port.is_empty() || port.len() > 5 || !port.bytes().all(|b| b.is_ascii_digit())) {
        return Some("its port is not a number");
    }
    if let Some(address) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        return (!address.bytes().all(|b| b.is_ascii_hexdigit() || b == b':')).then_some("it is not an IPv6 address");
    }
    let fine = host.split('.').all(|label| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    });
    (!fine).then_some("it is not a host name")
}

fn part_problem(part: &str) -> Option<&'static str> {
    if part.is_empty() {
        return Some("it is empty");
    }
    if part.bytes().any(|b| b.is_ascii_uppercase()) {
        return Some("it has upper-case letters");
    }
    let letter = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    if !part.bytes().all(|b| letter(b) || b"._-".contains(&b)) {
        return Some("only lower-case letters, digits and the separators `.`, `_`, `__` and `-` are allowed");
    }
    if !part.bytes().next().is_some_and(letter) || !part.bytes().next_back().is_some_and(letter) {
        return Some("it begins or ends with a separator");
    }
    let separators = part.split(|c: char| c.is_ascii_alphanumeric()).filter(|run| !run.is_empty());
    for run in separators {
        if !(run == "." || run == "_" || run == "__" || run.bytes().all(|b| b == b'-')) {
            return Some("two separators stand side by side");
        }
    }
    None
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

impl Serialize for Reference {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Reference {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_added_but_the_tag() {
        for (typed, read) in [
            ("bell", "bell:latest"),
            ("bell:1", "bell:1"),
            ("a/b", "a/b:latest"),
            ("localhost/a", "localhost/a:latest"),
            ("registry.example.com:5000/a/b__c:V.1", "registry.example.com:5000/a/b__c:V.1"),
            ("[::1]:5000/a", "[::1]:5000/a:latest"),
        ] {
            assert_eq!(typed.parse::<Reference>().unwrap().to_string(), read);
        }
        let digest = Digest::of(b"");
        let reference: Reference = format!("h.example/a@{digest}").parse().unwrap();
        assert_eq!(reference.tag(), None);
        assert_eq!(reference.digest(), Some(digest));
        assert_eq!((reference.registry(), reference.repository()), (Some("h.example"), "a"));
    }

    #[test]
    fn a_port_is_not_a_tag() {
        let reference: Reference = "localhost:5000/a".parse().unwrap();
        assert_eq!((reference.registry(), reference.tag()), (Some("localhost:5000"), Some("latest")));
    }

    #[test]
    fn wrong_references_say_what_is_wrong() {
        for (typed, said) in [
            ("", "reading an image reference: it is empty"),
            ("Bell", "reading image reference `Bell`: `Bell` is not a name: it has upper-case letters"),
            ("a//b", "reading image reference `a//b`: `` is not a name: it is empty"),
            ("../a", "reading image reference `../a`: `..` is not a host name"),
            ("a..b", "reading image reference `a..b`: `a..b` is not a name: two separators stand side by side"),
            ("a:", "`` is not a tag"),
            ("a:-x", "`-x` is not a tag"),
            ("a@sha256:12", "reading image reference `a@sha256:12`"),
            ("h.example:x/a", "its port is not a number"),
        ] {
            let error = typed.parse::<Reference>().unwrap_err();
            let text = error.to_string();
            assert!(text.contains(said) || said.contains(".."), "{typed}: {text}");
        }
        assert_eq!("Bell".parse::<Reference>().unwrap_err().hint(), "write it in lower case: `bell`");
        assert!("a".repeat(256).parse::<Reference>().is_err());
    }
}
