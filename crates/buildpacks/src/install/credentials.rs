//! Who asks an index, as service bindings say it: a `.pypirc` (Python's own file for indexes) or a `netrc`. Put into the addresses of
//! the same host that have nobody yet. Pure.

use std::fmt::{self, Write as _};

/// A user of a host. The password is shown to nobody.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Login {
    host: String,
    user: String,
    pub(super) password: String,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Login({}@{})", self.user, self.host)
    }
}

/// The sections of a `.pypirc` that name a repository.
pub(super) fn of_pypirc(text: &str) -> Vec<Login> {
    let mut found = Vec::new();
    for section in text.split("\n[") {
        let value = |wanted: &str| {
            let pairs = section.lines().filter_map(|line| line.split_once(['=', ':']));
            pairs.filter(|(key, _)| key.trim() == wanted).map(|(_, value)| value.trim().to_owned()).next()
        };
        let host = value("repository").and_then(|url| Some(host_of(&url)?.to_owned()));
        if let (Some(host), Some(user), Some(password)) = (host, value("username"), value("password")) {
            found.push(Login { host, user, password });
        }
    }
    found
}

/// The machines of a `netrc`.
pub(super) fn of_netrc(text: &str) -> Vec<Login> {
    let mut found: Vec<Login> = Vec::new();
    let mut words = text.split_whitespace();
    while let Some(word) = words.next() {
        match (word, found.last_mut()) {
            ("machine", _) => {
                let host = words.next().unwrap_or_default().to_owned();
                found.push(Login { host, user: String::new(), password: String::new() });
            }
            ("login", Some(login)) => words.next().unwrap_or_default().clone_into(&mut login.user),
            ("password", Some(login)) => words.next().unwrap_or_default().clone_into(&mut login.password),
            _ => {}
        }
    }
    found
}

/// Addresses between blanks, each with who asks its host.
pub(super) fn add_logins(addresses: &str, logins: &[Login]) -> String {
    let add = |address: &str| {
        let login = host_of(address).and_then(|host| logins.iter().find(|login| login.host == host));
        match (login, address.split_once("://")) {
            (Some(Login { user, password, .. }), Some((scheme, rest))) => {
                format!("{scheme}://{}:{}@{rest}", escaped(user), escaped(password))
            }
            _ => address.to_owned(),
        }
    };
    addresses.split_whitespace().map(add).collect::<Vec<_>>().join(" ")
}

/// The same as a `netrc`. What has a blank in it cannot be written there.
pub(super) fn netrc(logins: &[Login]) -> String {
    let is_word = |text: &str| !text.is_empty() && !text.contains(char::is_whitespace);
    let whole = logins.iter().filter(|one| [&one.host, &one.user, &one.password].iter().all(|text| is_word(text)));
    whole.fold(String::new(), |mut text, Login { host, user, password }| {
        let _ = writeln!(text, "machine {host} login {user} password {password}");
        text
    })
}

/// The host of an address that names no user.
pub(super) fn host_of(address: &str) -> Option<&str> {
    let authority = address.split_once("://")?.1.split('/').next()?;
    (!authority.contains('@')).then(|| authority.split(':').next().unwrap_or(authority))
}

/// Text as a part of an address.
fn escaped(text: &str) -> String {
    let mut result = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            result.push(char::from(byte));
        } else {
            let _ = write!(result, "%{byte:02X}");
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logins_go_to_their_host_and_to_no_other() {
        let pypirc = "[distutils]\nindex-servers =\n    own\n[own]\nrepository = https://own.example:8080/legacy/\nusername: me\npassword = a:b@c\n[half]\nusername = x\n";
        let mut logins = of_pypirc(pypirc);
        logins.extend(of_netrc("machine other.example login you password p\nmachine x"));
        assert_eq!(logins.len(), 3);
        assert_eq!(
            add_logins("https://own.example/simple https://u@own.example/ more=https://other.example/s", &logins),
            "https://me:a%3Ab%40c@own.example/simple https://u@own.example/ more=https://you:p@other.example/s"
        );
        assert_eq!(
            add_logins("https://elsewhere.example/own.example", &logins),
            "https://elsewhere.example/own.example"
        );
        assert!(!format!("{logins:?}").contains("a:b@c"));
        assert_eq!(
            netrc(&logins),
            "machine own.example login me password a:b@c\nmachine other.example login you password p\n"
        );
    }
}
