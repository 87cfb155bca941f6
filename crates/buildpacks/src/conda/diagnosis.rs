//! What a person reads when conda's part fails: from rattler's errors, with the manifest's line.

use hoist_conda::{CondaError, LockError, UnknownChannel, Unreachable, mask};
use hoist_environment::SyntaxError;

use super::inputs::Inputs;
use crate::as_of::{AsOf, VARIABLE};
use crate::failure::Failure;

/// Lines of a tree that are shown.
const MAX_EVIDENCE: usize = 40;

/// A file that cannot be read; its line is the evidence.
pub(super) fn unreadable(file: &str, error: &SyntaxError, text: &str) -> Failure {
    // Addresses stand in these files, and who asks stands in addresses.
    let text = mask(text);
    let line = text.lines().nth(error.line.saturating_sub(1)).unwrap_or_default();
    let evidence =
        if line.trim().is_empty() { Vec::new() } else { vec![format!("{}: {}", error.line, line.trim_end())] };
    Failure::new(
        format!("reading {file}"),
        format!("{file} line {}: {}", error.line, mask(&error.why)),
        "what cannot be read cannot be installed",
        format!("mend line {} of {file}", error.line),
    )
    .with_evidence(evidence)
    .of_kind("file-malformed")
}

/// A channel's name that means nothing.
pub(super) fn channel(file: &str, line: usize, error: &UnknownChannel) -> Failure {
    let place = if line > 0 { format!("{file} line {line}") } else { "the settings of conda".to_owned() };
    Failure::new(
        "looking up conda's channels",
        format!("{place}: {error}"),
        "a channel is a name, an address, the whole path of a folder, or a folder of the app (./NAME)",
        "write its address, or say where it is with custom_channels in a .condarc",
    )
    .of_kind("channel-invalid")
}

/// A lock that is of no use.
pub(super) fn lock(file: &str, error: &LockError, text: &str) -> Failure {
    let doing = format!("reading {file}");
    let at = |words: &str| text.lines().position(|line| line.contains(words)).map(|index| index + 1);
    let seen = |line: Option<usize>, what: String| match line {
        Some(line) => format!("{file} line {line}: {what}"),
        None => format!("{file}: {what}"),
    };
    match error {
        LockError::Syntax(why) => Failure::new(
            doing,
            seen(line_in(why).or_else(|| Some(line_of_key(why, text))), why.clone()),
            "the lock is damaged, or of a kind that this version does not know",
            format!("make {file} anew with the tool that wrote it"),
        )
        .of_kind("file-malformed"),
        LockError::Environment { wanted, has } => Failure::new(
            doing,
            seen(at("environments:"), format!("it has no environment `{wanted}`; there is {}", listed(has))),
            "BP_CONDA_ENVIRONMENT says which environment is installed; `default` without it",
            format!("set BP_CONDA_ENVIRONMENT to one of {}", listed(has)),
        )
        .of_kind("lock-environment"),
        LockError::Platform { wanted, has } => Failure::new(
            doing,
            seen(
                at(if file == "package-list.txt" { "# platform:" } else { "platforms:" })
                    .or_else(|| at(&format!("{}:", has.first()?))),
                if has.is_empty() {
                    format!("it locks no packages, and the image is {wanted}")
                } else {
                    format!("it is for {}, and the image is {wanted}", listed(has))
                },
            ),
            "packages of another system do not run in the image",
            if file == "package-list.txt" {
                format!("write the list on {wanted}, or remove it and let environment.yml be solved")
            } else {
                format!("lock for {wanted}, too: add it to platforms and lock again")
            },
        )
        .of_kind("lock-platform"),
        LockError::Source(name) => Failure::new(
            doing,
            seen(at(name), format!("{name} is locked as sources to be built")),
            "hoist installs packages and builds none of conda's",
            format!("publish {name} as a package, or install it with pip"),
        )
        .of_kind("lock-source"),
    }
}

/// The line that a parser names: `… at line 3 column 1`.
fn line_in(why: &str) -> Option<usize> {
    let rest = why.split("line ").nth(1)?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok().filter(|line| *line > 0)
}

/// The line of the key that a parser names without saying where (`duplicate entry with key "version"`): the last one that begins with it, because the
/// second of two is one too many. The first line where there is none.
fn line_of_key(why: &str, text: &str) -> usize {
    let key = why.split(['`', '"']).nth(1).unwrap_or_default();
    let is_key = |line: &str| line.strip_prefix(key).is_some_and(|rest| rest.starts_with(':'));
    let numbered = text.lines().enumerate().filter(|(_, line)| !key.is_empty() && is_key(line));
    numbered.last().map_or(1, |(index, _)| index + 1)
}

fn listed(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// What rattler said.
pub(super) fn explain(error: &CondaError, inputs: &Inputs) -> Failure {
    page(error, inputs).of_kind(match error {
        CondaError::Client { .. } => "conda-settings",
        CondaError::Channel(_) => "channel-invalid",
        CondaError::Override(_) => "conda-override",
        CondaError::Spec { .. } => "requirement-invalid",
        CondaError::Unreachable { .. } => "channel-unreachable",
        CondaError::Unsolvable { .. } => "conflict",
        CondaError::Fetch { .. } => "package-unavailable",
        CondaError::Hostile { .. } | CondaError::Install { .. } => "package-refused",
        CondaError::Prefix { .. } => "",
    })
}

fn page(error: &CondaError, inputs: &Inputs) -> Failure {
    let file = &inputs.file;
    match error {
        CondaError::Client { why } => Failure::new(
            "preparing to reach conda's channels",
            why.clone(),
            "a proxy, a certificate file or ssl_verify is set to what cannot be used",
            "look at HTTPS_PROXY, SSL_CERT_FILE and ssl_verify in .condarc",
        ),
        CondaError::Channel(error) => channel(file, 0, error),
        CondaError::Override(error) => Failure::new(
            "looking at the system below the packages",
            error.to_string(),
            "virtual packages have versions like 12.4",
            "give a version, or unset the variable",
        ),
        CondaError::Spec { spec, line, why } => Failure::new(
            format!("reading {file}"),
            if *line > 0 {
                format!("{file} line {line}: `{spec}` names no package")
            } else {
                format!("`{spec}` names no package")
            },
            why.clone(),
            "write it as `name`, `name=1.2`, `name >=1.2,<2` or `channel::name`",
        ),
        CondaError::Unreachable { unreachable } => reach(unreachable),
        CondaError::Unsolvable { tree } => unsolvable(tree, inputs),
        CondaError::Fetch { package, why } => fetch(package, why),
        CondaError::Hostile { package, why } => Failure::new(
            format!("unpacking {package}"),
            why.clone(),
            "a package writes only into its own environment, and is as large as it says: this one is broken or hostile",
            "take another version or build of it, and tell the channel's owner",
        ),
        CondaError::Install { package, why } => Failure::new(
            format!("installing {package}"),
            why.clone(),
            "the archive could not be put into the environment",
            "choose another version or build of it, or tell the channel's owner",
        ),
        CondaError::Prefix { source, .. } => Failure::io(error.to_string(), source),
    }
}

fn reach(unreachable: &[Unreachable]) -> Failure {
    let mut failure = Failure::new(
        "asking conda's channels what they have",
        String::new(),
        "without the channel's list of packages nothing can be chosen",
        "",
    );
    failure.page.seen.clear();
    failure.page.fix.clear();
    for one in unreachable {
        let places = one.places.join(" or ");
        let why = one.why.to_lowercase();
        let has = |words: &[&str]| words.iter().any(|word| why.contains(word));
        let (seen, fix) = if has(&["(401", "(403"]) {
            (
                format!("{}: {places} wants a login, or another one", one.name),
                "who asks is told by a binding of type conda with `host`, `username` and `token`, or in the channel's address in a .condarc",
            )
        } else if has(&["parse", "decod", "deserial"]) {
            (
                format!("{}: what {places} answers is no list of packages, or a part of one", one.name),
                "build again; if that does not help, tell the channel's owner, or name a mirror with BP_CONDA_CHANNEL_ALIAS=ADDRESS",
            )
        } else if has(&["certificate"]) {
            (
                format!("{}: the certificate of {places} is not trusted here", one.name),
                "where a proxy has certificates of its own, name its bundle: SSL_CERT_FILE, or a binding of type ca-certificates",
            )
        } else {
            (
                format!("{}: no answer at {places}", one.name),
                "is the name right? A mirror is named with BP_CONDA_CHANNEL_ALIAS=ADDRESS (the names stay), or in a .condarc of this machine: channel_alias, custom_channels, default_channels",
            )
        };
        failure = failure.and_seen(seen);
        if !failure.page.fix.iter().any(|known| known == fix) {
            failure = failure.and_fix(fix);
        }
        failure.page.evidence.push(one.why.clone());
    }
    failure
}

fn unsolvable(tree: &str, inputs: &Inputs) -> Failure {
    let evidence: Vec<String> =
        tree.lines().filter(|line| !line.trim().is_empty()).take(MAX_EVIDENCE).map(str::to_owned).collect();
    let doing = format!("choosing the packages of {}", inputs.file);
    let mut failure = Failure::new(doing, "no packages fit together", "each line below excludes another one", "");
    failure.page.fix.clear();
    for name in words(tree) {
        if let Some(line) = inputs.line_of(name) {
            let seen = format!("{} line {line} asks for {name}", inputs.file);
            if !failure.page.seen.contains(&seen) {
                failure.page.seen.push(seen);
            }
        }
    }
    if tree.contains("__cuda") {
        failure = failure
            .and_fix("a package needs a GPU: say which CUDA the image will find, `--env CONDA_OVERRIDE_CUDA=12.4`");
    }
    if tree.contains("__glibc") {
        failure = failure
            .and_fix(format!("the image's C library is {}: choose a build for it, or another base", inputs.glibc));
    }
    let unknown = without_candidates(tree);
    if unknown.iter().any(|name| matches!(*name, "__osx" | "__win")) {
        failure = failure
            .and_fix("that package is for another system than the image's: take another one, or another build of it");
    }
    if unknown.iter().any(|name| !name.starts_with("__")) {
        let channels: Vec<&str> = inputs.channels.iter().map(|channel| channel.name.as_str()).collect();
        failure = failure.and_fix(format!("is the name right, and its channel among {}?", channels.join(", ")));
    }
    if unknown.contains(&"python") && inputs.line_of("python").is_none() {
        failure = failure.and_seen("python is wanted besides: it runs the app");
    }
    if let Some(as_of) = &inputs.as_of {
        failure = dated(failure, as_of, tree);
    }
    if failure.page.fix.is_empty() {
        failure = failure.and_fix("loosen one of the versions named here");
    }
    failure.with_evidence(evidence)
}

/// A day was asked for: what came later is not there, and what does not say when it came is not, either.
fn dated(failure: Failure, as_of: &AsOf, tree: &str) -> Failure {
    let day = as_of.written();
    let mut failure = failure.and_seen(format!("packages are to be those of {day} ({VARIABLE})"));
    if tree.contains("has no timestamp") {
        failure = failure.and_seen("the channel does not say of some packages when they were made");
        failure = failure.and_fix(format!(
            "without their times nobody can tell what the channel had on that day: use a channel that has them, or leave {VARIABLE} out; a lock (conda-lock, pixi) keeps versions without any dates"
        ));
    }
    if tree.contains("uploaded after the cutoff") {
        failure = failure.and_fix("take a later day, or require versions that were there by then");
    }
    failure
}

/// Names of which a tree says that nothing of them was found.
fn without_candidates<'a>(tree: &'a str) -> Vec<&'a str> {
    const WORDS: &str = "o candidates were found";
    let of_line = |line: &'a str| -> Option<&'a str> {
        let (before, after) = line.split_once(WORDS)?;
        // `No candidates were found for NAME …`, or `└─ NAME …, for which no candidates were found`.
        let named = after.trim_start().strip_prefix("for ").unwrap_or(before);
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        named.trim_start_matches(|c| !is_name(c)).split(|c| !is_name(c)).next().filter(|name| !name.is_empty())
    };
    tree.lines().filter_map(of_line).collect()
}

/// Words of a tree that may be names of packages.
fn words(tree: &str) -> Vec<&str> {
    let mut found: Vec<&str> = Vec::new();
    for word in tree.split(|c: char| !(c.is_ascii_alphanumeric() || "-_.".contains(c))) {
        if !word.is_empty() && !found.contains(&word) && found.len() < 200 {
            found.push(word);
        }
    }
    found
}

fn fetch(package: &str, why: &str) -> Failure {
    let why = why.strip_prefix("failed to interact with the package cache layer.: ").unwrap_or(why);
    let has = |words: &[&str]| words.iter().any(|word| why.contains(word));
    let [seen, reason, fix] = if has(&["hash mismatch"]) {
        [
            "the archive has another hash than the channel says",
            "it was changed on the way or on a mirror, it is not whole, or the mirror's list is older than its files",
            "ask the mirror's owner; install nothing of it until that is clear",
        ]
    } else if has(&["404", "No such file or directory"]) {
        [
            "the channel does not have the file",
            "a lock or list names it, and it was withdrawn, or the mirror lacks it",
            "lock again, or use a mirror that has it",
        ]
    } else if has(&["401 ", "403 ", "(401", "(403"]) {
        [
            "the server wants a login for the file, or another one",
            "the channel's list is open, and its archives are not",
            "who asks is told by a binding of type conda with `host`, `username` and `token`, or in the channel's address in a .condarc",
        ]
    } else if has(&["before message length", "error reading a body", "error decoding response body"]) {
        [
            "the connection ended before the whole archive had come",
            "the server, or a proxy on the way, cut it off",
            "build again; where it ends early again, look at the limits of size and time of the server and the proxy",
        ]
    } else if has(&["the archive cannot be read"]) {
        [
            "the archive is damaged",
            "the channel has it like that: its hash is the one that the channel says",
            "take another version or build of it, and tell the channel's owner",
        ]
    } else {
        [why, "the archive could not be had whole", "build again; if that does not help, look at the mirror"]
    };
    let failure = Failure::new(format!("fetching {package}"), seen, reason, fix);
    if seen == why { failure } else { failure.with_evidence(vec![why.to_owned()]) }
}

/// What uv or pip said of `pip:`.
pub(super) fn pip(file: &str, text: &str) -> Failure {
    let said: Vec<String> = text.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect();
    let first = said.iter().find(|line| line.contains("error") || line.contains('×') || line.contains("ERROR"));
    let seen = first.map_or("the installer failed", |line| line.trim_start_matches([' ', '×']).trim()).to_owned();
    let start = said.len().saturating_sub(MAX_EVIDENCE);
    let doing = format!("installing pip: of {file}");
    if said.iter().any(|line| line.ends_with("No module named pip")) {
        return Failure::new(
            doing,
            "the environment has no pip",
            "what is below pip: is installed by uv, which could not be fetched here, or else by the environment's own pip",
            "add `pip` to the packages of conda's",
        )
        .with_evidence(said[start..].to_vec());
    }
    Failure::new(
        doing,
        seen,
        "conda's packages are there; what pip is to add to them could not be installed",
        "mend the lines below pip:, or take the package from a channel of conda's",
    )
    .with_evidence(said[start..].to_vec())
}

#[cfg(test)]
mod tests {
    #[test]
    fn an_environment_without_pip_is_told_to_ask_for_it() {
        let page = super::pip("environment.yml", "/layers/env/bin/python3.11: No module named pip\n").page;
        assert_eq!(page.seen, ["the environment has no pip"]);
        assert_eq!(page.fix, ["add `pip` to the packages of conda's"]);
        let other = super::pip("environment.yml", "error: no such wheel\n").page;
        assert_eq!(other.seen, ["error: no such wheel"]);
    }
}
