//! Requirements files that cannot be read, explained.

use super::requirements::RequirementsError;
use crate::failure::Failure;

/// Explains requirements files that cannot be read.
pub(crate) fn explain_unreadable(error: &RequirementsError) -> Failure {
    let doing = "reading the requirements";
    let from = |included_from: &Option<(std::path::PathBuf, usize)>| match included_from {
        Some((file, line)) => format!(", which {} line {line} includes", file.display()),
        None => String::new(),
    };
    let failure = match error {
        RequirementsError::Missing { path, included_from, near } => {
            let seen = format!("there is no {}{}", path.display(), from(included_from));
            let fix = match near.first() {
                Some(name) => format!("did you mean `{name}`? Change the line, or add the missing file"),
                None => "add the file to the app, or remove the line".to_owned(),
            };
            Failure::new(doing, seen, "every included file must be in the app", fix)
                .and_fix("look whether .gitignore or an exclude rule keeps the file away")
        }
        RequirementsError::Outside { path, included_from } => Failure::new(
            doing,
            format!("{}{}", path.display(), from(included_from)),
            "the path leads out of the app, and only the app's files are in the build",
            "move the file into the app and include it from there",
        ),
        RequirementsError::NotText { path, line, reason } => Failure::new(
            doing,
            match line {
                Some(line) => format!("{} line {line}: {reason}", path.display()),
                None => format!("{}: {reason}", path.display()),
            },
            "a requirements file is text in UTF-8 or UTF-16",
            "save it again as UTF-8 (`pip freeze > requirements.txt` in a Unix shell does)",
        ),
        RequirementsError::TooLarge { path, bytes } => Failure::new(
            doing,
            format!("{} has {bytes} bytes", path.display()),
            "a requirements file of this size is something else by mistake",
            "look what the file is",
        ),
        RequirementsError::Circular { path, from: (file, line) } => Failure::new(
            doing,
            format!("{} line {line} includes {}, which leads there itself", file.display(), path.display()),
            "files that include each other have no end",
            format!("remove that line of {}", file.display()),
        ),
        RequirementsError::TooMany => Failure::new(
            doing,
            error.to_string(),
            "that many files are an error",
            "put the requirements into fewer files",
        ),
    };
    failure.of_kind(match error {
        RequirementsError::Missing { .. } => "include-missing",
        RequirementsError::Outside { .. } => "include-outside",
        RequirementsError::Circular { .. } => "include-circular",
        RequirementsError::NotText { .. } | RequirementsError::TooLarge { .. } | RequirementsError::TooMany => {
            "file-unreadable"
        }
    })
}
