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
            seen(line_in(why), why.clone()),
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
                at(if file == "package-list.txt" { "# platform:" } else { "platforms:" }),
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
        "is the name right? A mirror is named with BP_CONDA_CHANNEL_ALIAS=ADDRESS (the names stay), or in a .condarc of this machine: channel_alias, custom_channels, default_channels",
    );
    failure.page.seen.clear();
    for one in unreachable {
        failure.page.seen.push(format!("{}: no answer at {}", one.name, one.places.join(" or ")));
        failure.page.evidence.push(one.why.clone());
    }
    let said = failure.page.evidence.join(" ");
    if said.contains("401") || said.contains("403") {
        failure = failure.and_fix("who asks is told by a binding of type conda with `host`, `username` and `token`, or in the channel's address in a .condarc");
    }
    if said.to_lowercase().contains("certificate") {
        failure = failure.and_fix("where a proxy has certificates of its own, name its bundle: SSL_CERT_FILE, or a binding of type ca-certificates");
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
    if tree.contains("No candidates were found") || tree.contains("no candidates were found") {
        let channels: Vec<&str> = inputs.channels.iter().map(|channel| channel.name.as_str()).collect();
        failure = failure.and_fix(format!("is the name right, and its channel among {}?", channels.join(", ")));
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
    let doing = format!("fetching {package}");
    if why.contains("hash mismatch") {
        return Failure::new(
            doing,
            "the archive has another hash than the channel says",
            "it was changed on the way or on a mirror, or the mirror's list is older than its files",
            "ask the mirror's owner; install nothing of it until that is clear",
        )
        .with_evidence(vec![why.to_owned()]);
    }
    if why.contains("404") {
        return Failure::new(
            doing,
            "the channel does not have the file",
            "a lock or list names it, and it was withdrawn, or the mirror lacks it",
            "lock again, or use a mirror that has it",
        )
        .with_evidence(vec![why.to_owned()]);
    }
    Failure::new(
        doing,
        why.to_owned(),
        "the archive could not be had whole",
        "build again; if that does not help, look at the mirror",
    )
}

/// What uv or pip said of `pip:`.
pub(super) fn pip(inputs: &Inputs, text: &str) -> Failure {
    let said: Vec<String> = text.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect();
    let first = said.iter().find(|line| line.contains("error") || line.contains('×') || line.contains("ERROR"));
    let seen = first.map_or("the installer failed", |line| line.trim_start_matches([' ', '×']).trim()).to_owned();
    let start = said.len().saturating_sub(MAX_EVIDENCE);
    Failure::new(
        format!("installing pip: of {}", inputs.file),
        seen,
        "conda's packages are there; what pip is to add to them could not be installed",
        "mend the lines below pip:, or take the package from a channel of conda's",
    )
    .with_evidence(said[start..].to_vec())
}
