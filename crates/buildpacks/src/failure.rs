//! What a person reads when a buildpack fails: what was being done, what was seen, why it is wrong, what to do next.

use std::fmt;

use crate::install::mask_credentials;

/// The exit code of a build that would have to run a stranger's build code while that is denied (`HOIST_SOURCE_BUILDS=deny`). The
/// platform then runs the buildpack again without the shared cache. (`EX_TEMPFAIL` of sysexits.)
pub const EXIT_NEEDS_SOURCE_BUILD: u8 = 75;

/// A failure with its explanation. Each operation's own error enum is turned into one of these at the buildpack's door.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The explanation (boxed: a result should not grow by it).
    pub page: Box<Page>,
    /// The exit code of the process.
    pub exit_code: u8,
}

/// The four parts of an explanation, and what supports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// What was being done, as "installing requirements.txt".
    pub doing: String,
    /// What was seen.
    pub seen: Vec<String>,
    /// Why that is wrong.
    pub why: Vec<String>,
    /// What to do next; commands and lines to paste where there are any.
    pub fix: Vec<String>,
    /// What the tool said, shortened, with credentials masked.
    pub evidence: Vec<String>,
    /// The kind of failure in a word or two that stay the same over versions of hoist (`include-missing`), for programs; empty where it has none.
    pub code: &'static str,
}

/// Something to look at that does not stop a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// The kind of it, for programs; see [`Page::code`].
    pub code: &'static str,
    /// What a person reads.
    pub text: String,
}

impl Warning {
    /// A warning of a kind.
    pub(crate) fn new(code: &'static str, text: impl Into<String>) -> Self {
        Self { code, text: mask_credentials(&text.into()) }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A line of a page: whoever wrote it, no credential in an address is shown.
fn line(text: impl Into<String>) -> String {
    mask_credentials(&text.into())
}

impl Failure {
    /// A failure while `doing`, with one line for each of the other parts. What was seen and done is the app's: passwords in addresses are masked.
    pub fn new(
        doing: impl Into<String>,
        seen: impl Into<String>,
        why: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        let page = Page {
            doing: line(doing),
            seen: vec![line(seen)],
            why: vec![line(why)],
            fix: vec![line(fix)],
            evidence: Vec::new(),
            code: "",
        };
        Self { page: Box::new(page), exit_code: 1 }
    }

    /// An input/output error: the machine failed, not the app.
    pub fn io(doing: impl Into<String>, error: &dyn std::error::Error) -> Self {
        Self::new(
            doing,
            chain(error),
            "the file system of the build did not do what was asked",
            "look for a full disk or missing permissions, then build again",
        )
    }

    /// Adds a line to what was seen.
    #[must_use]
    pub fn and_seen(mut self, text: impl Into<String>) -> Self {
        self.page.seen.push(line(text));
        self
    }

    /// Adds a line to why it is wrong.
    #[must_use]
    pub fn and_why(mut self, text: impl Into<String>) -> Self {
        self.page.why.push(line(text));
        self
    }

    /// Adds a line to what to do.
    #[must_use]
    pub fn and_fix(mut self, text: impl Into<String>) -> Self {
        self.page.fix.push(line(text));
        self
    }

    /// Sets what the tool said.
    #[must_use]
    pub fn with_evidence(mut self, lines: Vec<String>) -> Self {
        self.page.evidence = lines.into_iter().map(line).collect();
        self
    }

    /// Says what kind of failure it is; who is nearest to the cause speaks first, and is not corrected.
    #[must_use]
    pub fn of_kind(mut self, code: &'static str) -> Self {
        if self.page.code.is_empty() {
            self.page.code = code;
        }
        self
    }

    /// Sets the exit code.
    #[must_use]
    pub fn with_exit_code(mut self, code: u8) -> Self {
        self.exit_code = code;
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let page = &self.page;
        writeln!(f, "Error while {}", page.doing)?;
        for (title, lines) in [("seen", &page.seen), ("why", &page.why), ("do", &page.fix)] {
            for (number, line) in lines.iter().enumerate() {
                writeln!(f, "  {:<6}{line}", if number == 0 { title } else { "" })?;
            }
        }
        if !page.evidence.is_empty() {
            writeln!(f, "  said")?;
            for line in &page.evidence {
                writeln!(f, "    | {line}")?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}

/// An error and its sources on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        source = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_page_shows_a_credential_of_an_address() {
        let failure = Failure::new("a", "requirements.txt line 1: x @ https://me:s3cret@host/x.whl", "b", "c")
            .and_fix("https://s3cret@host/")
            .with_evidence(vec!["GET ftp://u:s3cret@host".into()]);
        assert!(!failure.to_string().contains("s3cret"), "{failure}");
        assert!(!Warning::new("x", "https://u:s3cret@h").text.contains("s3cret"));
    }

    #[test]
    fn the_first_who_names_the_kind_is_believed() {
        let failure = Failure::new("a", "b", "c", "d").of_kind("near").of_kind("far");
        assert_eq!(failure.page.code, "near");
    }

    #[test]
    fn a_failure_reads_as_a_page() {
        let failure = Failure::new(
            "reading the Procfile",
            "line 2: `web`",
            "there is no `:` after the name",
            "write `web: command`",
        )
        .and_fix("or remove the line")
        .with_evidence(vec!["web".into()]);
        assert_eq!(
            failure.to_string(),
            "Error while reading the Procfile\n  seen  line 2: `web`\n  why   there is no `:` after the name\n  do    write `web: command`\n        or remove the line\n  said\n    | web\n"
        );
    }
}
