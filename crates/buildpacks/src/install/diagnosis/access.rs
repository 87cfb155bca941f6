//! Symptoms of the way to the index: names, certificates, credentials, hashes.

use super::text::between;
use super::{DOING, Evidence};
use crate::failure::Failure;

const SETTINGS: &str = "the index comes from PIP_INDEX_URL or UV_DEFAULT_INDEX of the machine, a `pip` binding, or a line of the requirements";

/// The address that could not be had, without its path.
fn address(flat: &str) -> String {
    let url = between(flat, "Failed to fetch: ", " ")
        .or_else(|| between(flat, "for url (", ")"))
        .or_else(|| between(flat, "for url: ", " "))
        .or_else(|| between(flat, "index URL (", ")"))
        .or_else(|| between(flat, "An index (", ")"))
        .unwrap_or("the package index")
        .trim_matches('`');
    match url.split_once("://") {
        Some((scheme, rest)) => format!("{scheme}://{}", rest.split('/').next().unwrap_or(rest)),
        None => url.to_owned(),
    }
}

/// DNS, connection, time, certificates, and answers that tell of a failure.
pub(super) fn unreachable_index(_: &Evidence<'_>, flat: &str) -> Option<Failure> {
    if let Some(failure) = failing_index(flat) {
        return Some(failure);
    }
    let has = |symptoms: &[&str]| symptoms.iter().any(|symptom| flat.contains(symptom));
    if !has(&[
        "Failed to fetch",
        "error sending request",
        "Request failed",
        "Failed to download",
        "Max retries exceeded",
    ]) {
        return None;
    }
    let index = address(flat);
    if has(&[
        "dns error",
        "failed to lookup address",
        "Name or service not known",
        "Temporary failure in name resolution",
    ]) {
        return Some(
            Failure::new(
                DOING,
                format!("the name in {index} has no address"),
                "the package index's host is not known here",
                SETTINGS,
            )
            .and_fix("check the spelling of the host, the network of the build (`--network host`), and HTTPS_PROXY"),
        );
    }
    if has(&[
        "invalid peer certificate",
        "UnknownIssuer",
        "certificate verify failed",
        "CertificateVerify",
        "self-signed certificate",
    ]) {
        return Some(
            Failure::new(
                DOING,
                format!("{index} shows a certificate that nobody known here signed"),
                "the index has a certificate of a private authority, or a proxy stands between",
                "set SSL_CERT_FILE to a PEM file with the authority's certificate, or give a `ca-certificates` binding",
            )
            .and_fix("as a last resort, name the host in PIP_TRUSTED_HOST"),
        );
    }
    if has(&[
        "Connection refused",
        "tcp connect error",
        "Connection reset",
        "Network is unreachable",
        "operation timed out",
        "timed out",
    ]) {
        return Some(
            Failure::new(DOING, format!("{index} does not answer"), "nothing can be fetched from there", SETTINGS)
                .and_fix("check that the index is up, and HTTPS_PROXY; a slow one may need PIP_DEFAULT_TIMEOUT"),
        );
    }
    None
}

/// An address in a requirement that leads to nothing.
pub(super) fn nothing_there(evidence: &Evidence<'_>, flat: &str) -> Option<Failure> {
    let (_, rest) = flat.split_once("(404 Not Found) for url (")?;
    let url = rest.split(')').next()?;
    let tree = evidence.tree;
    let line =
        tree.requirements.iter().find(|line| super::super::settings::mask_credentials(&line.text).contains(url))?;
    Some(Failure::new(
        DOING,
        format!("{} line {}: {}", tree.files[line.file].path.display(), line.line, line.text),
        "there is nothing at that address (404 Not Found)",
        "check the address, or require the package by its name",
    ))
}

/// An index that answers with an error of its own (5xx).
fn failing_index(flat: &str) -> Option<Failure> {
    let (_, rest) = flat.split_once("HTTP status server error (")?;
    let status = rest.split(')').next()?;
    Some(
        Failure::new(
            DOING,
            format!("{} answers {status}", address(flat)),
            "the index itself has failed, and tries again did not help",
            "wait and build again",
        )
        .and_fix(SETTINGS),
    )
}

/// 401 and 403.
pub(super) fn refused_by_index(_: &Evidence<'_>, flat: &str) -> Option<Failure> {
    let (status, why) = if flat.contains("401 Unauthorized") {
        ("401 Unauthorized", "the index wants a user and a password (or a token), and got none or wrong ones")
    } else if flat.contains("403 Forbidden") {
        ("403 Forbidden", "the index knows who asks and does not allow it")
    } else {
        return None;
    };
    Some(Failure::new(DOING, format!("{} answers {status}", address(flat)), why, SETTINGS).and_fix(
        "put the credentials into the address (https://user:token@host/simple), and try it with `pip download`",
    ))
}

/// A file with another hash than the requirements say.
pub(super) fn hash_mismatch(evidence: &Evidence<'_>, flat: &str) -> Option<Failure> {
    let what = between(flat, "Hash mismatch for `", "`")?;
    let name = super::text::split_requirement(what).0;
    let list = |after: &str, before: &str| between(flat, after, before).unwrap_or("?").to_owned();
    let expected = list("Expected: ", " Computed:");
    let computed = flat.split_once("Computed: ").map_or("?", |(_, rest)| rest.split(' ').next().unwrap_or("?"));
    Some(
        Failure::new(
            DOING,
            evidence.place(name),
            format!("the index gives {what} with another hash than the requirements allow"),
            format!("when the file was replaced by its makers or a mirror, write the new hash: --hash={computed}"),
        )
        .and_seen(format!("wanted {expected}"))
        .and_seen(format!("got    {computed}"))
        .and_why("that is a hash of another file of this version, or the file was tampered with")
        .and_fix("or lock again: uv pip compile --generate-hashes requirements.in -o requirements.txt"),
    )
}
