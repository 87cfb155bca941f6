//! `WWW-Authenticate`: how a registry wants to be told who asks (RFC 9110, section 11.6.1; the distribution project's "token" specification).

use std::collections::BTreeMap;

/// Challenges in one answer; a registry has one or two.
const MAX_CHALLENGES: usize = 8;

/// What a registry wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Challenge {
    /// A token of a token service.
    Bearer { realm: String, service: Option<String>, scope: Option<String> },
    /// A user and a password.
    Basic,
}

/// The challenge that is answered: a token's before a password's. None where nothing is wanted that can be given.
pub(super) fn parse_challenges<'a>(headers: impl Iterator<Item = &'a str>) -> Option<Challenge> {
    let all: Vec<Challenge> = headers.flat_map(parse_header).take(MAX_CHALLENGES).collect();
    let bearer = all.iter().find(|challenge| matches!(challenge, Challenge::Bearer { .. }));
    bearer.or(all.first()).cloned()
}

/// One header may hold several challenges: `Basic realm="a", Bearer realm="b",service="c"`.
fn parse_header(text: &str) -> Vec<Challenge> {
    let mut found = Vec::new();
    let mut rest = text.trim_start_matches([' ', ',']);
    while let Some((kind, after)) = token(rest) {
        let (parameters, after) = parameters(after.trim_start());
        let get = |name: &str| parameters.get(name).cloned();
        match kind.to_ascii_lowercase().as_str() {
            "basic" => found.push(Challenge::Basic),
            "bearer" => {
                if let Some(realm) = get("realm") {
                    found.push(Challenge::Bearer { realm, service: get("service"), scope: get("scope") });
                }
            }
            _ => {}
        }
        rest = after.trim_start_matches([' ', ',']);
    }
    found
}

/// The parameters up to the next challenge, which is a word without a `=`.
fn parameters(text: &str) -> (BTreeMap<String, String>, &str) {
    let mut parameters = BTreeMap::new();
    let mut rest = text;
    loop {
        let trimmed = rest.trim_start_matches([' ', ',']);
        let Some((name, after)) = token(trimmed) else { return (parameters, trimmed) };
        let Some(value) = after.trim_start().strip_prefix('=') else { return (parameters, trimmed) };
        let value = value.trim_start();
        let (value, after) = match value.strip_prefix('"') {
            Some(quoted) => match unquote(quoted) {
                Some(found) => found,
                None => return (parameters, ""),
            },
            None => match token(value) {
                Some((word, after)) => (word.to_owned(), after),
                None => return (parameters, ""),
            },
        };
        parameters.entry(name.to_ascii_lowercase()).or_insert(value);
        rest = after;
    }
}

fn token(text: &str) -> Option<(&str, &str)> {
    let end =
        text.find(|c: char| !(c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~/:".contains(c))).unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

fn unquote(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => {
                value.push(c);
                escaped = false;
            }
            '\\' => escaped = true,
            '"' => return Some((value, &text[at + 1..])),
            c => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Challenge {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Challenge::Bearer { realm: realm.to_owned(), service: owned(service), scope: owned(scope) }
    }

    #[test]
    fn challenges_are_read_in_every_form_that_registries_have() {
        let whole = r#"Bearer realm="https://a.example/token",service="r.example",scope="repository:a/b:pull,push""#;
        for (headers, expected) in [
            (
                &[whole][..],
                Some(bearer("https://a.example/token", Some("r.example"), Some("repository:a/b:pull,push"))),
            ),
            (&["basic realm=\"x\""], Some(Challenge::Basic)),
            (&["Basic"], Some(Challenge::Basic)),
            (&["Basic realm=\"a, b\", bearer Realm = \"c\" , service=d"], Some(bearer("c", Some("d"), None))),
            (&["Basic realm=x", "Bearer realm=\"q\\\"q\""], Some(bearer("q\"q", None, None))),
            (&["Negotiate", "Basic realm=\"x\""], Some(Challenge::Basic)),
            (&["Bearer service=\"without a realm\""], None),
            (&["Bearer realm=\"never ends"], None),
            (&["Digest realm=\"x\", nonce=\"Basic\""], None),
            (&[""], None),
            (&[], None),
        ] {
            assert_eq!(parse_challenges(headers.iter().copied()), expected, "{headers:?}");
        }
    }

    proptest! {
        #[test]
        fn nothing_that_a_registry_says_breaks_the_parser(text in "\\PC{0,200}") {
            let _ = parse_challenges(std::iter::once(text.as_str()));
        }
    }
}
