//! Symptoms of the requirements themselves: names, versions, conflicts, Pythons.

use super::super::names::{distribution_of_import, is_standard_library, near_names};
use super::text::{between, split_requirement};
use super::{DOING, Evidence, Probe};
use crate::failure::Failure;
use crate::pip::requirements::normalize;

/// A line that is no requirement.
pub(super) fn unreadable_line(evidence: &Evidence<'_>, flat: &str) -> Option<Failure> {
    let marks =
        [("Couldn't parse requirement in `", "` at position "), ("Error parsing included file in `", "` at position ")];
    let (file, position) = marks.iter().find_map(|(before, after)| {
        let file = between(flat, before, after)?;
        let position = flat.split_once(after)?.1.split(' ').next()?.parse::<usize>().ok()?;
        Some((file, position))
    })?;
    let found = evidence.tree.files.iter().find(|known| file.ends_with(&*known.path.to_string_lossy()));
    let seen = match found {
        Some(known) => {
            let position =
                (0..=position.min(known.text.len())).rev().find(|at| known.text.is_char_boundary(*at)).unwrap_or(0);
            let line = known.text[..position].matches('\n').count() + 1;
            let text = known.text.lines().nth(line - 1).unwrap_or_default();
            format!("{} line {line}: {text}", known.path.display())
        }
        None => format!("{file} at position {position}"),
    };
    Some(
        Failure::new(
            DOING,
            seen,
            "the line is no requirement",
            "write one requirement in a line, as `name`, `name==1.2` or `name>=1,<2`",
        )
        .and_fix(
            "comments begin with `#`; text pasted from a terminal or a document may hold more than the requirement",
        ),
    )
}

/// An option that no installer takes in a requirements file.
pub(super) fn unknown_option(evidence: &Evidence<'_>, flat: &str) -> Option<Failure> {
    let option = flat.split_once("no such option: ")?.1.split(' ').next()?;
    let tree = evidence.tree;
    let place = tree.files.iter().find_map(|file| {
        let (at, line) = file.text.lines().enumerate().find(|(_, line)| line.contains(option))?;
        Some(format!("{} line {}: {}", file.path.display(), at + 1, line.trim()))
    });
    Some(Failure::new(
        DOING,
        place.unwrap_or_else(|| option.to_owned()),
        format!("{option} is no option of requirements files"),
        "remove it from the line",
    ))
}

/// A folder or an archive that a line names and nobody has.
pub(super) fn missing_path(evidence: &Evidence<'_>, flat: &str) -> Option<Failure> {
    let path = between(flat, "Distribution not found at: file://", " ")
        .or_else(|| flat.split_once("Distribution not found at: file://").map(|(_, rest)| rest.trim()))
        .or_else(|| between(flat, "File `", "` does not exist"))?;
    let name = std::path::Path::new(path.trim_end_matches('/')).file_name()?.to_string_lossy().into_owned();
    let tree = evidence.tree;
    let line = tree.requirements.iter().find(|line| line.text.contains(&name))?;
    Some(
        Failure::new(
            DOING,
            format!("{} line {}: {}", tree.files[line.file].path.display(), line.line, line.text),
            "there is nothing at that path of the app",
            "correct the path, or add what it names; it is read from the app's folder, and not from the file's",
        )
        .and_fix("look whether .gitignore or an exclude rule keeps it away"),
    )
}

/// A package that this Python is too old or too new for.
pub(super) fn wrong_python(evidence: &Evidence<'_>, flat: &str) -> Option<Failure> {
    let (who, wanted) = unfit(flat)?;
    let (name, version) = split_requirement(who);
    let because = evidence.python_reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
    let change = super::python_change(evidence.python_reason);
    let mut failure = Failure::new(
        DOING,
        evidence.place(name),
        format!("{name}{version} wants Python {wanted}, and this build has {}{because}", evidence.python_version),
        match crate::python::satisfying(wanted) {
            Some(minor) => format!("choose a Python that it runs on, for example {minor}: {}", change(minor)),
            None => "none of the Pythons that can be had fits it: take another version of it".to_owned(),
        },
    );
    // An index that does not say which Pythons its files are for answers with the same version.
    let other = (evidence.probe)(Probe::Highest(name)).filter(|other| !version.ends_with(other.as_str()));
    if let Some(other) = other {
        failure = failure
            .and_fix(format!("or require {name}=={other}, the newest that runs on Python {}", evidence.python_version));
    }
    Some(failure)
}

/// Who wants which Python: "the current Python version (3.11.7) does not satisfy Python>=3.12 and django==6.0 depends on Python>=3.12", or
/// "django==6.0 requires Python >=3.12".
fn unfit(flat: &str) -> Option<(&str, &str)> {
    // "all versions of django require Python >=3.12", too.
    let said = flat.split_once(" requires Python ").or_else(|| flat.split_once(" require Python "));
    if let Some((before, after)) = said {
        return Some((before.rsplit(' ').next()?, after.split(' ').next()?.trim_end_matches(['.', ','])));
    }
    let wanted = between(flat, ") does not satisfy Python", " ")?.trim_matches(['(', ')', ',']);
    let who = between(flat, &format!("{wanted} and "), " depends on Python")
        .or_else(|| between(flat, "and ", " depends on Python"))?;
    Some((who.rsplit(' ').next()?, wanted))
}

/// A name that the index does not know.
pub(super) fn unknown_package(evidence: &Evidence<'_>, flat: &str) -> Option<Failure> {
    let before = flat
        .split_once(" was not found in the package registry")
        .or_else(|| flat.split_once(" was not found in the provided package locations"))
        .map(|(before, _)| before);
    let name = match before {
        Some(before) => before.rsplit(' ').next()?.trim_matches('`'),
        // pip's words; with a version in them there are other versions.
        None if flat.contains("(from versions: none)") => {
            split_requirement(flat.split_once("No matching distribution found for ")?.1.split(' ').next()?).0
        }
        None => return None,
    };
    let normal = normalize(name);
    let failure = |why: String, fix: String| Failure::new(DOING, evidence.place(name), why, fix);
    if let Some(distribution) = distribution_of_import(&normal) {
        return Some(failure(
            format!("the package index has no `{name}`: that is what one imports, and it comes with `{distribution}`"),
            format!("require `{distribution}` instead"),
        ));
    }
    if is_standard_library(&normal) {
        return Some(failure(
            format!("the package index has no `{name}`: the module is part of Python itself"),
            "remove the line".to_owned(),
        ));
    }
    let why = format!("the package index has no `{name}`");
    let near = near_names(&normal);
    Some(match near.as_slice() {
        [] => failure(why, "check the spelling on the package's own page".to_owned())
            .and_fix("when it is a private package, name its index: PIP_EXTRA_INDEX_URL, or `--extra-index-url` in the requirements"),
        [one] => failure(why, format!("did you mean `{one}`?")),
        many => failure(why, format!("did you mean one of these: {}?", many.join(", "))),
    })
}

/// A version that does not exist.
pub(super) fn unknown_version(evidence: &Evidence<'_>, flat: &str) -> Option<Failure> {
    let what = match between(flat, "there is no version of ", " and ") {
        Some(what) => what,
        // "only flask<=3.1.3 is available and you require flask>=90"
        None if flat.contains(" is available and you require ") => {
            flat.split_once(" is available and you require ")?.1.split([' ', ',']).next()?
        }
        None => between(flat, "there are no versions of ", " and ")?,
    };
    let (name, constraint) = split_requirement(what.trim_end_matches(','));
    let version = constraint.trim_start_matches(['=', '>', '<', '~', '!']).split(',').next().unwrap_or_default();
    let exact = constraint.starts_with("==");
    let below = if exact { (evidence.probe)(Probe::Highest(&format!("{name}<{version}"))) } else { None };
    let above = if exact { (evidence.probe)(Probe::Lowest(&format!("{name}>{version}"))) } else { None };
    let newest = (evidence.probe)(Probe::Highest(name));
    let mut failure = Failure::new(
        DOING,
        evidence.place(name),
        format!("the package index has {name}, but no version {constraint}"),
        match (&below, &above, &newest) {
            (Some(below), Some(above), _) => format!("the nearest versions are {below} and {above}"),
            (Some(one), None, _) | (None, Some(one), _) => {
                format!("the nearest version is {one}: require {name}=={one}")
            }
            (None, None, Some(newest)) => format!("the newest version is {newest}: require {name}=={newest}"),
            (None, None, None) => "look which versions the index has: pip index versions ".to_owned() + name,
        },
    );
    if let Some(newest) =
        newest.filter(|newest| below.as_ref() != Some(newest) && above.is_some() && above.as_ref() != Some(newest))
    {
        failure = failure.and_fix(format!("the newest is {newest}"));
    }
    if flat.contains("index-strategy") {
        failure = failure
            .and_why("more than one index is set, and uv takes a package from the first index that has it at all");
        failure = failure.and_fix("to choose among all indexes as pip does, set UV_INDEX_STRATEGY=unsafe-best-match");
    }
    Some(failure)
}

/// A package with files, but none for this machine.
pub(super) fn no_wheel(evidence: &Evidence<'_>, flat: &str) -> Option<Failure> {
    let (before, rest) = flat
        .split_once(" has no wheels with a matching ")
        .or_else(|| flat.split_once(" have no wheels with a matching "))?;
    let (name, version) = split_requirement(before.rsplit(' ').next()?);
    let of_python = rest.starts_with("Python");
    let why = if of_python {
        format!("{name}{version} has no wheel for Python {} and no source distribution", evidence.python_version)
    } else {
        format!("{name}{version} has no wheel for {} Linux and no source distribution", std::env::consts::ARCH)
    };
    let fix = if of_python {
        "require another version of it, or choose a Python that it supports (.python-version)"
    } else {
        "require another version of it, or one that is made for Linux"
    };
    let mut failure = Failure::new(DOING, evidence.place(name), why, fix);
    if let Some((_, tags)) = flat.split_once("following Python ABI tags: ") {
        let tags = tags.split_once(" hint:").map_or(tags, |(tags, _)| tags);
        failure = failure.and_why(format!("its wheels are for {}", tags.replace('`', "")));
    }
    if let Some(newest) = (evidence.probe)(Probe::Highest(name)) {
        failure = failure.and_fix(format!("{name}=={newest} has one that fits"));
    }
    Some(failure)
}

/// Two sides that cannot both be had.
pub(super) fn conflict(evidence: &Evidence<'_>, flat: &str) -> Option<Failure> {
    if !flat.contains("requirements are unsatisfiable") && !flat.contains("conflicting dependencies") {
        return None;
    }
    let demands = demands(flat);
    let fought_over = demands
        .iter()
        .map(|demand| demand.name.as_str())
        .find(|name| {
            demands
                .iter()
                .filter(|demand| demand.name == **name)
                .map(|demand| &demand.constraint)
                .collect::<std::collections::BTreeSet<_>>()
                .len()
                > 1
        })?
        .to_owned();
    let mut sides: Vec<String> = Vec::new();
    for demand in demands.iter().filter(|demand| demand.name == fought_over) {
        let side = match &demand.by {
            Some(by) => {
                let place = evidence.place(split_requirement(by).0);
                format!(
                    "{place}{} needs {}{}",
                    if place.ends_with(by.as_str()) { " (which".to_owned() } else { format!(" ({by}") },
                    demand.name,
                    demand.constraint
                ) + ")"
            }
            None => direct_side(evidence, demand),
        };
        if !sides.contains(&side) {
            sides.push(side);
        }
    }
    let mut sides = sides.into_iter();
    let mut failure = Failure::new(
        DOING,
        sides.next()?,
        format!("no version of {fought_over} satisfies both sides"),
        format!(
            "change one of these lines so that both accept one version of {fought_over}, or leave the versions open and let the resolver choose"
        ),
    );
    for side in sides {
        failure = failure.and_seen(side);
    }
    Some(failure)
}

/// Who demands which versions of what.
struct Demand {
    by: Option<String>,
    name: String,
    constraint: String,
}

fn direct_side(evidence: &Evidence<'_>, demand: &Demand) -> String {
    let wanted = format!("{}{}", demand.name, demand.constraint).replace(' ', "");
    let tree = evidence.tree;
    let line = tree.requirements.iter().find(|line| {
        line.name.as_deref() == Some(&normalize(&demand.name))
            && line.text.replace(' ', "").to_lowercase().contains(&demand.constraint)
    });
    match line {
        Some(line) => format!("{} line {}: {}", tree.files[line.file].path.display(), line.line, line.text),
        None => tree.place_of(&demand.name).unwrap_or(wanted),
    }
}

/// Takes apart uv's sentences: "X depends on Y", "all versions of X depend on Y", "you require Z and W".
fn demands(flat: &str) -> Vec<Demand> {
    let mut found = Vec::new();
    let clean = |word: &str| word.trim_matches(['`', ',', '.', ':']).to_owned();
    let mut push = |by: Option<String>, what: &str| {
        let (name, constraint) = split_requirement(what);
        if !name.is_empty()
            && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
            && !constraint.is_empty()
        {
            found.push(Demand { by, name: name.to_lowercase(), constraint: constraint.to_owned() });
        }
    };
    // "all versions of X depend on Y", too.
    for verb in [" depends on ", " depend on "] {
        for (at, _) in flat.match_indices(verb) {
            let by = clean(flat[..at].rsplit(' ').next().unwrap_or_default());
            let what = clean(flat[at + verb.len()..].split(' ').next().unwrap_or_default());
            push(Some(by), &what);
        }
    }
    for (at, _) in flat.match_indices("you require ") {
        // "we can conclude that you require …" restates what was said before.
        if flat[..at].ends_with("conclude that ") {
            continue;
        }
        let mut words = flat[at + "you require ".len()..].split(' ').peekable();
        while let Some(word) = words.next() {
            let ends = word.ends_with(',') || word.ends_with('.');
            push(None, &clean(word));
            if ends || words.next_if_eq(&"and").is_none() {
                break;
            }
        }
    }
    found
}
