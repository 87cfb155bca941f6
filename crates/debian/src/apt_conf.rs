//! The machine's apt settings that concern fetching: the check of Valid-Until and the proxy (apt.conf(5)).
//!
//! Reads the syntax only as far as those settings need it: `Name::Part "value";` and nested blocks, with all three kinds of comments.

use std::path::{Path, PathBuf};

/// What of apt's configuration concerns hoist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AptSettings {
    /// `Acquire::Check-Valid-Until`, true unless the machine says otherwise.
    pub check_valid_until: bool,
    /// `Acquire::http::Proxy`.
    pub http_proxy: Option<String>,
}

/// Reads `etc/apt/apt.conf.d/*` and `etc/apt/apt.conf` below a root, in apt's order. What cannot be read counts as not there.
pub fn read_apt_settings(root: &Path) -> AptSettings {
    let mut paths: Vec<PathBuf> = fs_err::read_dir(root.join("etc/apt/apt.conf.d"))
        .map(|entries| entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect())
        .unwrap_or_default();
    paths.retain(|path| path.extension().is_none_or(|ending| ending == "conf"));
    paths.sort();
    paths.push(root.join("etc/apt/apt.conf"));
    let mut settings = AptSettings { check_valid_until: true, http_proxy: None };
    for path in paths {
        if fs_err::metadata(&path).is_ok_and(|metadata| metadata.is_file() && metadata.len() < 1 << 20)
            && let Ok(text) = fs_err::read_to_string(&path)
        {
            apply(&text, &mut settings);
        }
    }
    settings
}

fn apply(text: &str, settings: &mut AptSettings) {
    for (name, value) in parse(text) {
        if name.eq_ignore_ascii_case("Acquire::Check-Valid-Until") {
            settings.check_valid_until =
                !matches!(value.to_ascii_lowercase().as_str(), "false" | "no" | "0" | "off" | "without");
        } else if name.eq_ignore_ascii_case("Acquire::http::Proxy") {
            settings.http_proxy =
                Some(value).filter(|value| !value.is_empty() && !value.eq_ignore_ascii_case("DIRECT"));
        }
    }
}

/// Full names and values, in order.
fn parse(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut scopes: Vec<String> = Vec::new();
    let mut words: Vec<String> = Vec::new();
    for token in tokens(text) {
        match token {
            Token::Word(word) => words.push(word),
            Token::Open => {
                scopes.push(words.first().cloned().unwrap_or_default());
                words.clear();
            }
            Token::Close => {
                scopes.pop();
                words.clear();
            }
            Token::End => {
                if let [name, value] = words.as_slice() {
                    let mut path = scopes.clone();
                    path.push(name.clone());
                    found.push((path.join("::"), value.clone()));
                }
                words.clear();
            }
        }
    }
    found
}

enum Token {
    Word(String),
    Open,
    Close,
    End,
}

fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        let Some(first) = rest.chars().next() else { return tokens };
        if rest.starts_with("//") || first == '#' {
            rest = rest.split_once('\n').map_or("", |(_, rest)| rest);
        } else if let Some(comment) = rest.strip_prefix("/*") {
            rest = comment.split_once("*/").map_or("", |(_, rest)| rest);
        } else if let Some(quoted) = rest.strip_prefix('"') {
            let (word, after) = quoted.split_once('"').unwrap_or((quoted, ""));
            tokens.push(Token::Word(word.to_owned()));
            rest = after;
        } else if matches!(first, '{' | '}' | ';') {
            tokens.push(match first {
                '{' => Token::Open,
                '}' => Token::Close,
                _ => Token::End,
            });
            rest = &rest[1..];
        } else {
            let end =
                rest.find(|c: char| c.is_whitespace() || matches!(c, '{' | '}' | ';' | '"')).unwrap_or(rest.len());
            tokens.push(Token::Word(rest[..end].to_owned()));
            rest = &rest[end..];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apt_settings_are_found_in_both_spellings() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("etc/apt/apt.conf.d");
        assert_eq!(read_apt_settings(root.path()), AptSettings { check_valid_until: true, http_proxy: None });
        fs_err::create_dir_all(&dir).unwrap();
        fs_err::write(dir.join("10a"), "# x\nAcquire::Check-Valid-Until \"false\"; // y\n").unwrap();
        fs_err::write(dir.join("20b.conf"), "Acquire { /* z */ http { Proxy \"http://proxy:3128\"; }; Retries 3; };")
            .unwrap();
        fs_err::write(dir.join("30c.bak"), "Acquire::Check-Valid-Until true;").unwrap();
        let expected = AptSettings { check_valid_until: false, http_proxy: Some("http://proxy:3128".into()) };
        assert_eq!(read_apt_settings(root.path()), expected);
        fs_err::write(root.path().join("etc/apt/apt.conf"), "acquire::http::proxy DIRECT;").unwrap();
        assert_eq!(read_apt_settings(root.path()).http_proxy, None);
    }
}
