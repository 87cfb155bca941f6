//! Takes credentials out of what people read: those that stand in addresses, whoever wrote them, and those that a build was given, wherever they
//! turn up in what a tool says. Pure.

/// What stands in the place of a credential.
const MASK: &str = "***";
/// What stands in hoist's own advice in the place of one.
const EXAMPLE: &str = "user:token";
/// Shorter ones are words that stand in any text.
const MIN_SECRET: usize = 6;
/// Parts of names (of variables, of what follows the `?` of an address) whose values are secret.
const SECRET_NAMES: &[&str] =
    &["password", "passwd", "token", "secret", "signature", "credential", "apikey", "api_key"];

/// Whether the value of a variable or of a part of an address is secret, by its name.
pub(crate) fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name == "sig" || SECRET_NAMES.iter().any(|part| name.contains(part))
}

/// Text with the credentials of every address replaced.
pub(crate) fn mask_credentials(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("://") {
        let (before, after) = rest.split_at(start + 3);
        result.push_str(before);
        let ends = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`' | ')');
        let (address, after) = after.split_at(after.find(ends).unwrap_or(after.len()));
        let address = match login_of(address) {
            Some(login) => {
                result.push_str(if login == EXAMPLE { login } else { MASK });
                &address[login.len()..]
            }
            None => address,
        };
        mask_query(address, &mut result);
        rest = after;
    }
    result.push_str(rest);
    result
}

/// `user:password` of an address behind its `://`. A password with a slash in it, which should have been escaped, is one all the same.
fn login_of(address: &str) -> Option<&str> {
    let authority = address.split('/').next().unwrap_or(address);
    if let Some(at) = authority.rfind('@') {
        return Some(&address[..at]);
    }
    let (_, port) = authority.split_once(':')?;
    let is_port = port.chars().all(|c| c.is_ascii_digit());
    address.rfind('@').filter(|_| !is_port).map(|at| &address[..at])
}

/// Appends an address with the secret values behind its `?` replaced.
fn mask_query(address: &str, result: &mut String) {
    let Some((before, query)) = address.split_once('?') else { return result.push_str(address) };
    result.push_str(before);
    for (number, pair) in query.split('&').enumerate() {
        result.push(if number == 0 { '?' } else { '&' });
        match pair.split_once('=').filter(|(name, _)| is_secret(name)) {
            Some((name, _)) => {
                result.push_str(name);
                result.push('=');
                result.push_str(MASK);
            }
            None => result.push_str(pair),
        }
    }
}

/// Credentials that a build was given. They are shown to nobody.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Secrets(Vec<String>);

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Secrets({})", self.0.len())
    }
}

impl Secrets {
    /// Adds one, in its own form and unescaped.
    pub(crate) fn push(&mut self, secret: &str) {
        let unescaped = unescape(secret);
        for secret in [secret.to_owned(), unescaped] {
            if secret.len() >= MIN_SECRET && !self.0.contains(&secret) {
                self.0.push(secret);
            }
        }
        // The longest first, so that no end of one is left.
        self.0.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    }

    /// Adds the passwords of all addresses of a text; a user without a password is a token.
    pub(crate) fn push_of_addresses(&mut self, text: &str) {
        for (at, _) in text.match_indices("://") {
            let address = text[at + 3..].split([' ', ',', '\n', '\t']).next().unwrap_or_default();
            if let Some(login) = login_of(address) {
                self.push(login.split_once(':').map_or(login, |(_, password)| password));
            }
        }
    }

    /// Text without them, and without those of addresses.
    pub(crate) fn mask(&self, text: &str) -> String {
        let mut text = mask_credentials(text);
        for secret in &self.0 {
            if text.contains(secret.as_str()) {
                text = text.replace(secret.as_str(), MASK);
            }
        }
        text
    }
}

/// `a%40b` as `a@b`; what is no such text stays as it is.
fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let digits =
            (first == b'%').then(|| after.get(..2)).flatten().and_then(|digits| std::str::from_utf8(digits).ok());
        if let Some(byte) = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            bytes.push(byte);
            rest = &after[2..];
        } else {
            bytes.push(first);
            rest = after;
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_of_addresses_never_reach_a_person_or_a_key() {
        for (text, masked) in [
            (
                "see https://user:s3cr@t@host/simple and http://token@h, https://plain/x@y",
                "see https://***@host/simple and http://***@h, https://plain/x@y",
            ),
            ("https://me:pa/ss@host/simple/", "https://***@host/simple/"),
            ("http://localhost:8080/a@1.0 ok", "http://localhost:8080/a@1.0 ok"),
            ("(https://h/x.whl?a=1&X-Amz-Signature=abc&b=2)", "(https://h/x.whl?a=1&X-Amz-Signature=***&b=2)"),
            ("git+ssh://git@host/x.git", "git+ssh://***@host/x.git"),
            ("https://user:token@host/simple", "https://user:token@host/simple"),
            ("a://b", "a://b"),
        ] {
            assert_eq!(mask_credentials(text), masked);
        }
    }

    #[test]
    fn what_a_build_was_given_is_masked_wherever_it_turns_up() {
        let mut secrets = Secrets::default();
        secrets.push_of_addresses("https://me:p%40ssw0rd@host/simple own=https://t0kent0ken@h/ https://me:abc@h/");
        secrets.push("p%40ssw0rd-and-more");
        let said = "user me, password p@ssw0rd (p%40ssw0rd) and p@ssw0rd-and-more, t0kent0ken, abc";
        assert_eq!(secrets.mask(said), "user me, password *** (***) and ***, ***, abc");
        assert!(!format!("{secrets:?}").contains("ssw0rd"));
        assert!(
            is_secret("UV_INDEX_OWN_PASSWORD") && is_secret("sig") && !is_secret("UV_INDEX") && !is_secret("design")
        );
    }
}
