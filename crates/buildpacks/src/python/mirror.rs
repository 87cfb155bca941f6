//! What it means that uv could not fetch or use a standalone build: the mirror or the list that the user names is looked at in uv's words. Pure.

use super::requests::{LIST_VARIABLE, MIRROR_VARIABLE};
use super::version::debian_words;
use crate::failure::Failure;
use crate::install::settings::mask_credentials;

/// Letters of a line that are shown.
const MAX_LINE_CHARS: usize = 240;

/// What a failed `uv python install` means.
pub(super) fn explain(wanted: &str, text: &str, mirror: &str, list: &str) -> Failure {
    let doing = format!("fetching Python {wanted}, which Debian does not have, as a standalone build");
    let said =
        Said { text, lower: text.to_lowercase(), mirror: &mask_credentials(mirror), list: &mask_credentials(list) };
    let [seen, why, fix] = said.of_the_archive().or_else(|| said.of_the_list()).unwrap_or_else(|| said.of_the_way());
    let mut failure = Failure::new(doing, seen, why, fix);
    if said.named().is_empty() {
        failure =
            failure.and_fix("a folder does as well: file:///srv/pythons, with --volume /srv/pythons:/srv/pythons:ro");
    }
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    failure
        .and_fix(format!("or choose a Python of Debian: {} (.python-version, BP_CPYTHON_VERSION)", debian_words()))
        .with_evidence(lines.take(8).map(shortened).collect())
}

/// What uv said, and what it was told; addresses are masked.
struct Said<'a> {
    text: &'a str,
    lower: String,
    mirror: &'a str,
    list: &'a str,
}

/// What was seen, why it is wrong, what to do.
type Page = [String; 3];

impl Said<'_> {
    fn has(&self, parts: &[&str]) -> bool {
        parts.iter().any(|part| self.lower.contains(part))
    }

    /// The list, else the mirror; empty where uv's own source is asked.
    fn named(&self) -> &str {
        if self.list.is_empty() { self.mirror } else { self.list }
    }

    /// There is an archive, and it is not right.
    fn of_the_archive(&self) -> Option<Page> {
        if self.has(&["hash mismatch", "checksum"]) {
            let hash_after = |word: &str| {
                let (_, rest) = self.text.split_once(word)?;
                rest.split_whitespace().next().filter(|hash| hash.bytes().all(|byte| byte.is_ascii_hexdigit()))
            };
            let seen = match (hash_after("Computed:"), hash_after("Expected:")) {
                (Some(is), Some(wanted)) => format!("the archive has the SHA-256 {is}, and the list says {wanted}"),
                _ => "the archive has another checksum than the list says".to_owned(),
            };
            let why = "it is damaged, or the mirror has other builds under the same names".to_owned();
            let fix = if self.list.is_empty() {
                format!("mend the mirror, or name a list of its own builds: --env {LIST_VARIABLE}=URL")
            } else {
                "put the right archive there, or its SHA-256 into the list".to_owned()
            };
            return Some([seen, why, fix]);
        }
        if self.has(&["before message length", "error decoding response body", "error reading a body"]) {
            let why = "the connection ended before all of it had come: the server, or a proxy on the way, cut it off";
            let fix = "build again; where it ends early again, look at the limits of size and time of the server and the proxy";
            return Some([self.last_cause(), why.to_owned(), fix.to_owned()]);
        }
        let damaged = [
            "failed to extract",
            "invalid tar",
            "unexpected end of file",
            "invalid gzip",
            "corrupt",
            "_sysconfigdata_",
        ];
        self.has(&damaged).then(|| {
            let why = "the archive is damaged: it ends too early, or is something else";
            let fix = "look whether the mirror has the whole file, and copy it there anew";
            [self.last_cause(), why.to_owned(), fix.to_owned()]
        })
    }

    /// The list is none, is not there, or lacks what is wanted.
    fn of_the_list(&self) -> Option<Page> {
        if self.has(&["unable to parse the json"]) {
            let why = format!("what {LIST_VARIABLE} names is no list of standalone builds");
            let fix = "write it as uv's own list is written: an object of JSON with a key for each build";
            return Some([self.last_cause(), why, fix.to_owned()]);
        }
        if self.has(&["fetching remote python downloads json"]) {
            let missing = ["there is no list", "look for the address that the list has, and name it"];
            let [trouble, fix] = self.trouble(missing);
            let why = format!("{LIST_VARIABLE} names {}: {trouble}", self.list);
            return Some([self.last_cause(), why, fix.to_owned()]);
        }
        let is_lacking =
            self.has(&["no download found", "no downloads found", "no python", "not found for request", "invalid"]);
        (is_lacking && self.status() == 0).then(|| {
            let machine = std::env::consts::ARCH;
            let why =
                format!("the list of standalone builds has none of this version for this machine ({machine} Linux)");
            let fix = if self.list.is_empty() {
                "choose another patch release, or leave the patch open".to_owned()
            } else {
                format!("add it to the list that {LIST_VARIABLE} names, or choose a version that it has for {machine}")
            };
            [self.first_line(), why, fix]
        })
    }

    /// The archive is not there, or cannot be had.
    fn of_the_way(&self) -> Page {
        let named = self.named();
        if named.starts_with("file:") || named.starts_with('/') {
            let why = format!("the build looks for it in {named}, and sees the folders that it is given");
            let fix = "give it the folder: --volume DIR:DIR:ro; and look whether the file lies in it";
            return [self.last_cause(), why, fix.to_owned()];
        }
        if named.is_empty() {
            let why = "uv's own source of these builds cannot be reached from here".to_owned();
            let fix = format!(
                "name a mirror of python-build-standalone that this machine reaches: --env {MIRROR_VARIABLE}=URL"
            );
            return [self.first_line(), why, fix];
        }
        let missing = ["there is no such file", "look whether the mirror has the file of that name"];
        let [trouble, fix] = self.trouble(missing);
        [self.last_cause(), format!("{named} does not give it: {trouble}"), fix.to_owned()]
    }

    /// The status of a server that refused, as uv writes it: `HTTP status client error (404 Not Found)`.
    fn status(&self) -> u16 {
        let after = |word: &str| self.lower.split_once(word)?.1.get(..3)?.parse().ok();
        after("status client error (").or_else(|| after("status server error (")).unwrap_or(0)
    }

    /// What a server's answer means, where it is not that something is `missing`, and what to do.
    fn trouble(&self, missing: [&'static str; 2]) -> [&'static str; 2] {
        match self.status() {
            404 | 410 => missing,
            401 | 403 => [
                "it wants a login, or another one",
                "put the user and the password into the address, before its host (hoist shows them nowhere)",
            ],
            500.. => ["the server failed", "build again later, or look into the server's log"],
            _ if self.has(&["certificate"]) => [
                "its certificate is not trusted here",
                "give hoist the certificate: SSL_CERT_FILE=FILE, or a binding of type ca-certificates",
            ],
            _ => [
                "it cannot be reached from here",
                "look whether the server runs, at the name of its host, and at the proxy (HTTPS_PROXY, NO_PROXY)",
            ],
        }
    }

    fn first_line(&self) -> String {
        let line = self.text.lines().map(str::trim).find(|line| line.starts_with("error"));
        shortened(line.or(self.text.lines().next()).unwrap_or("uv said nothing").trim_start_matches("error: "))
    }

    /// The error, and the deepest of its causes.
    fn last_cause(&self) -> String {
        let cause = self.text.lines().rev().find_map(|line| line.trim().strip_prefix("cause: "));
        cause.map_or_else(|| self.first_line(), |cause| format!("{}: {}", self.first_line(), shortened(cause)))
    }
}

fn shortened(line: &str) -> String {
    line.chars().take(MAX_LINE_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mirror_that_cannot_be_reached_is_explained() {
        let text = "error: Request failed after 3 retries in 8.5s\n  cause: Failed to download `https://host/cpython-3.12.16.tar.gz`\n  cause: dns error\n";
        assert_eq!(
            explain("3.12", text, "", "").to_string(),
            "Error while fetching Python 3.12, which Debian does not have, as a standalone build\n  seen  Request failed after 3 retries in 8.5s\n  why   uv's own source of these builds cannot be reached from here\n  do    name a mirror of python-build-standalone that this machine reaches: --env UV_PYTHON_INSTALL_MIRROR=URL\n        a folder does as well: file:///srv/pythons, with --volume /srv/pythons:/srv/pythons:ro\n        or choose a Python of Debian: 3.13, 3.11 or 3.9 (.python-version, BP_CPYTHON_VERSION)\n  said\n    | error: Request failed after 3 retries in 8.5s\n    | cause: Failed to download `https://host/cpython-3.12.16.tar.gz`\n    | cause: dns error\n"
        );
        let there = explain("3.12", text, "https://host", "").to_string();
        assert!(there.contains("https://host does not give it: it cannot be reached from here"), "{there}");
        let folder = explain("3.12", "error: Failed to read\n", "file:///srv/pythons", "").to_string();
        assert!(folder.contains("--volume DIR:DIR:ro"), "{folder}");
        let secret = explain(
            "3.12",
            "error: HTTP status client error (401 Unauthorized) for url\n",
            "https://me:pass@host/p",
            "",
        )
        .to_string();
        assert!(
            secret.contains("***@host/p does not give it: it wants a login") && !secret.contains("pass@"),
            "{secret}"
        );
    }

    #[test]
    fn what_is_wrong_with_an_archive_or_a_list_is_told_apart() {
        let other =
            explain("3.12", "error: Python installation is missing a `_sysconfigdata_` file\n", "", "file:///l.json");
        assert!(
            other.to_string().contains("the archive is damaged: it ends too early, or is something else"),
            "{other}"
        );
        let said = "error: Failed to install cpython-3.13.5\n  cause: Failed to extract archive: x.tar.gz\n  cause: Invalid tar file\n  cause: unexpected end of file\n";
        let damaged = explain("3.13", said, "file:///srv/pythons", "").to_string();
        assert!(damaged.contains("seen  Failed to install cpython-3.13.5: unexpected end of file"), "{damaged}");
        assert!(damaged.contains("the archive is damaged") && !damaged.contains("--volume"), "{damaged}");
        let said = "error: Unable to parse the JSON Python download list at `/l.json`\n  cause: EOF while parsing\n";
        assert!(explain("3.13", said, "", "file:///l.json").to_string().contains("is no list of standalone builds"));
        let said = "error: No download found for request: cpython-3.13-linux-x86_64-gnu\n";
        assert!(
            explain("3.13", said, "", "file:///l.json").to_string().contains("none of this version for this machine")
        );
    }
}
