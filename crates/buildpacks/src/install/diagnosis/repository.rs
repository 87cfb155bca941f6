//! Symptoms of requirements that are repositories (`git+https://…`): git itself, the host, the repository, the branch, the credentials.

use super::text::between;
use super::{DOING, Evidence};
use crate::failure::Failure;

/// What git says, why that is, and what to do.
const CAUSES: &[(&str, &str, &str)] = &[
    (
        "Could not resolve host",
        "the name of the repository's host has no address here",
        "check the spelling of the host, the network of the build (`--network host`), and HTTPS_PROXY",
    ),
    (
        "couldn't find remote ref",
        "the repository has no such branch, tag or commit",
        "look which there are: git ls-remote URL",
    ),
    (
        "could not read Username",
        "the repository wants credentials, or it is not there",
        "check the spelling; for a private one put a token into the address (git+https://user:token@host/…), or publish a wheel of it to a private index",
    ),
    (
        "could not read Password",
        "the repository does not take this token, or is not there",
        "check the token in the address, and the spelling",
    ),
    ("Authentication failed", "the repository does not take these credentials", "check the token in the address"),
    (
        "Permission denied (publickey)",
        "the build has no SSH key for the repository",
        "use git+https:// with a token in the address: keys of the machine do not reach a build",
    ),
    (
        "Host key verification failed",
        "the build does not know the SSH host",
        "use git+https://: keys of the machine do not reach a build",
    ),
    ("cannot run ssh", "the build image has no SSH client", "use git+https:// with a token in the address"),
    (
        "certificate",
        "the repository's host shows a certificate that nobody known here signed",
        "set SSL_CERT_FILE to a PEM file with the authority's certificate, or give a `ca-certificates` binding",
    ),
    (
        "Failed to connect to",
        "the repository's host does not answer",
        "check that it is up, the network of the build (`--network host`), and HTTPS_PROXY",
    ),
    (
        "does not appear to be a git repository",
        "there is no repository at that address",
        "check the address; a folder of the app is required by its path: ./folder",
    ),
    ("not found", "there is no repository at that address, or it is private", "check the address, and the token in it"),
];

/// A repository that cannot be had.
pub(super) fn failed_repository(evidence: &Evidence<'_>, flat: &str) -> Option<Failure> {
    let missing = if flat.contains("Git executable not found") {
        Some("git")
    } else {
        between(flat, "Cannot find command '", "'")
    };
    if let Some(program) = missing {
        return Some(Failure::new(
            DOING,
            place(evidence, flat),
            format!("the requirement is a repository, and the build image has no {program}"),
            format!("take a build image with {program} (hoist's own has git), or require a released version"),
        ));
    }
    if !flat.contains("Git operation failed") && !flat.contains("git clone") {
        return None;
    }
    let said = &flat[flat.find("fatal:").or_else(|| flat.find("stderr")).unwrap_or(0)..];
    let (_, why, fix) = CAUSES.iter().find(|(symptom, _, _)| said.contains(symptom)).unwrap_or(&(
        "",
        "git cannot fetch the repository, in its own words below",
        "try it by hand: git ls-remote URL",
    ));
    Some(Failure::new(DOING, place(evidence, flat), *why, *fix))
}

/// The line that requires it, by its name or its address.
fn place(evidence: &Evidence<'_>, flat: &str) -> String {
    let name = between(flat, "Failed to download and build `", "`").and_then(|what| what.split([' ', '@', '=']).next());
    if let Some(place) = name.and_then(|name| evidence.tree.place_of(name)) {
        return place;
    }
    let tree = evidence.tree;
    let line = tree.requirements.iter().find(|line| {
        let url = line.text.split([' ', '#', ';']).find(|word| word.contains("://")).unwrap_or_default();
        let url = url.split_once('+').map_or(url, |(_, url)| url);
        let bare = url.rsplit_once('@').filter(|(before, _)| before.contains("://")).map_or(url, |(before, _)| before);
        let missing = flat.contains("Cannot find command") && line.text.contains('+');
        missing || !bare.is_empty() && flat.contains(&*super::super::settings::mask_credentials(bare))
    });
    line.map_or_else(
        || "a requirement that is a repository".to_owned(),
        |line| {
            format!(
                "{} line {}: {}",
                tree.files[line.file].path.display(),
                line.line,
                super::super::settings::mask_credentials(&line.text)
            )
        },
    )
}
