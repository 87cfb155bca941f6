//! Symptoms of the way to the index: names, certificates, credentials, answers that tell of a failure.

use super::text::between;
use super::{DOING, Evidence};
use crate::failure::Failure;

/// An index and who names it; or the address that a requirement itself has.
struct Index {
    /// Its address without the path; "the package index" where the installer does not say it.
    address: String,
    /// What to look at to change it.
    origin: String,
    /// What it is, for people.
    what: &'static str,
}

impl Index {
    fn of(evidence: &Evidence<'_>, flat: &str) -> Self {
        let url = between(flat, "Failed to fetch: ", " ")
            .or_else(|| between(flat, "Could not fetch URL ", ": "))
            .or_else(|| between(flat, "for url (", ")"))
            .or_else(|| between(flat, "for url: ", " "))
            .or_else(|| between(flat, "index URL (", ")"))
            .or_else(|| between(flat, "An index (", ")"))
            .unwrap_or("the package index")
            .trim_matches('`');
        let address = match url.split_once("://") {
            Some((scheme, rest)) => format!("{scheme}://{}", rest.split('/').next().unwrap_or(rest)),
            None => url.to_owned(),
        };
        if let Some(place) = direct(evidence, url) {
            let origin = format!("its address stands in {place}");
            return Self { address, origin, what: "the server of that address" };
        }
        let origin = match (evidence.origin)(&address) {
            Some(who) => format!("its address comes from {who}"),
            None => "the index comes from PIP_INDEX_URL or UV_DEFAULT_INDEX of the machine, a `pip` binding, or a line of the requirements".to_owned(),
        };
        Self { address, origin, what: "the index" }
    }
}

/// The line of a requirement that has this address: `requirements.txt line 2: lib @ https://…`.
fn direct(evidence: &Evidence<'_>, url: &str) -> Option<String> {
    let is_it = |text: &str| url.contains("://") && super::super::settings::mask_credentials(text).contains(url);
    let line = evidence.tree.requirements.iter().find(|line| is_it(&line.text))?;
    let file = evidence.tree.files[line.file].path.display();
    Some(format!("{file} line {}: {}", line.line, super::super::settings::mask_credentials(&line.text)))
}

/// What an installer says of the way, and what that means.
const BROKEN: &[&str] = &[
    "Failed to fetch",
    "error sending request",
    "Request failed",
    "Failed to download",
    "Max retries exceeded",
    "after connection broken by",
    "Could not fetch URL",
];
const NAMELESS: &[&str] = &[
    "dns error",
    "failed to lookup address",
    "Name or service not known",
    "Temporary failure in name resolution",
    "nodename nor servname",
];
const UNTRUSTED: &[&str] = &[
    "invalid peer certificate",
    "UnknownIssuer",
    "certificate verify failed",
    "CERTIFICATE_VERIFY_FAILED",
    "CertificateVerify",
    "self-signed certificate",
];
const SILENT: &[&str] = &[
    "Connection refused",
    "tcp connect error",
    "Connection reset",
    "Network is unreachable",
    "operation timed out",
    "timed out",
];

/// DNS, connection, time, certificates, and answers that tell of a failure.
pub(super) fn unreachable_index(evidence: &Evidence<'_>, flat: &str) -> Option<Failure> {
    if let Some(failure) = failing_index(evidence, flat) {
        return Some(failure);
    }
    let has = |symptoms: &[&str]| symptoms.iter().any(|symptom| flat.contains(symptom));
    if !has(BROKEN) {
        return None;
    }
    let Index { address, origin, what } = Index::of(evidence, flat);
    if has(NAMELESS) {
        let failure = Failure::new(
            DOING,
            format!("the name in {address} has no address"),
            if what == "the index" {
                "the package index's host is not known here"
            } else {
                "its host is not known here"
            },
            origin,
        );
        let fix = "check the spelling of the host, the network of the build (`--network host`), and HTTPS_PROXY";
        return Some(failure.and_fix(fix).of_kind("index-unknown-host"));
    }
    if has(UNTRUSTED) {
        let failure = Failure::new(
            DOING,
            format!("{address} shows a certificate that nobody known here signed"),
            format!("{what} has a certificate of a private authority, or a proxy stands between"),
            "set SSL_CERT_FILE to a PEM file with the authority's certificate, or give a `ca-certificates` binding \
             (a folder with a file `type` that says ca-certificates, and the PEM file)",
        );
        let failure = failure.and_fix("as a last resort, name the host in PIP_TRUSTED_HOST").and_fix(origin);
        return Some(failure.of_kind("index-certificate"));
    }
    if has(SILENT) {
        let failure =
            Failure::new(DOING, format!("{address} does not answer"), "nothing can be fetched from there", origin);
        let fix = format!("check that {what} is up, and HTTPS_PROXY; a slow one may need PIP_DEFAULT_TIMEOUT");
        return Some(failure.and_fix(fix).of_kind("index-silent"));
    }
    None
}

/// An address in a requirement that leads to nothing.
pub(super) fn nothing_there(evidence: &Evidence<'_>, flat: &str) -> Option<Failure> {
    let (_, rest) = flat.split_once("(404 Not Found) for url (")?;
    let url = rest.split(')').next()?;
    Some(Failure::new(
        DOING,
        direct(evidence, url)?,
        "there is nothing at that address (404 Not Found)",
        "check the address, or require the package by its name",
    ))
}

/// An index that answers with an error of its own (5xx).
fn failing_index(evidence: &Evidence<'_>, flat: &str) -> Option<Failure> {
    let status = match flat.split_once("HTTP status server error (") {
        Some((_, rest)) => rest.split(')').next()?,
        None => between(flat, "too many ", " error responses")?,
    };
    let Index { address, origin, what } = Index::of(evidence, flat);
    let failure = Failure::new(
        DOING,
        format!("{address} answers {status}"),
        format!("{what} itself has failed, and tries again did not help"),
        "wait and build again",
    );
    Some(failure.and_fix(origin).of_kind("index-failing"))
}

/// 401 and 403.
pub(super) fn refused_by_index(evidence: &Evidence<'_>, flat: &str) -> Option<Failure> {
    let has = |status: &str| {
        let (number, words) = status.split_once(' ').unwrap_or((status, ""));
        flat.contains(status) || flat.contains(&format!("{number} Client Error: {words}"))
    };
    let (status, why) = if has("401 Unauthorized") {
        ("401 Unauthorized", "wants a user and a password (or a token), and got none or wrong ones")
    } else if has("403 Forbidden") {
        ("403 Forbidden", "knows who asks and does not allow it")
    } else {
        return None;
    };
    let Index { address, origin, what } = Index::of(evidence, flat);
    let why = format!("{what} {why}");
    let failure = Failure::new(DOING, format!("{address} answers {status}"), why, origin);
    let fix = "put the credentials into the address (https://user:token@host/simple), or into a binding of type `pypirc` or `netrc`; \
               try them with `pip download`";
    Some(failure.and_fix(fix).of_kind("index-credentials"))
}
