//! What of a source is not staged.
//!
//! Never staged: version control, virtual environments (any folder with a `pyvenv.cfg`), caches, `node_modules` and what file managers
//! leave. A service's `.planqkignore` is honoured as `.gitignore` is read (a name without a slash matches at any depth); where there is none,
//! its `.dockerignore` (every pattern stands at the root). Neither can take away what the contract needs: `planqk.json`, `src/program.py`,
//! a Procfile and the dependency files. Plain apps are staged whole, as other buildpack platforms do.
//!
//! What the caller asks for comes on top ([`crate::Selection`]): the patterns of a project descriptor, which take away whatever they say, and
//! the ignore files of other tools.

use crate::dependencies::Manager;

/// Folders and files that are of no use in an image.
const NEVER: &[&str] = &[
    ".git",
    ".hg",
    ".svn",
    ".venv",
    "venv",
    "__pycache__",
    "node_modules",
    ".tox",
    ".nox",
    ".mypy_cache",
    ".pytest_cache",
    ".ruff_cache",
    ".ipynb_checkpoints",
    ".DS_Store",
    "__MACOSX",
    "Thumbs.db",
];

/// More patterns than this nobody writes by hand; each is tried on each path.
const MAX_PATTERNS: usize = 1000;

/// What stays out of the staged app: several sets of patterns, each of which has to let a path in.
#[derive(Debug, Default)]
pub(super) struct Ignore {
    rules: Vec<Rules>,
}

/// Patterns that are read together: the last one that matches a path decides.
#[derive(Debug)]
struct Rules {
    patterns: Vec<Pattern>,
    reading: Reading,
}

/// What a set of patterns means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// What matches is left out, but never what the contract needs.
    Service,
    /// What matches is left out; a file of a folder that is left out can be kept.
    Exclude,
    /// The same, but nothing of a folder that is left out can be kept, as git has it.
    Git,
    /// What does not match is left out.
    Include,
}

#[derive(Debug)]
struct Pattern {
    /// Components; `**` stands for any number of them.
    parts: Vec<String>,
    keep: bool,
    dirs_only: bool,
}

/// Whose reading of patterns holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    /// A pattern without a slash matches at any depth.
    Git,
    /// Every pattern stands at the root.
    Docker,
}

impl Ignore {
    /// The patterns of one text.
    #[cfg(test)]
    pub(super) fn parse(text: &str, dialect: Dialect) -> Self {
        let mut ignore = Self::default();
        ignore.add(text, dialect, Reading::Service);
        ignore
    }

    /// Adds a set of patterns, one in each line.
    pub(super) fn add(&mut self, text: &str, dialect: Dialect, reading: Reading) {
        self.rules.push(Rules { patterns: Vec::new(), reading });
        self.extend_last(text, dialect, "");
    }

    /// Adds the patterns of `.gitignore` in the folder `dir` to those of the folders above it.
    pub(super) fn add_git(&mut self, text: &str, dir: &str) {
        if !self.rules.last().is_some_and(|rules| rules.reading == Reading::Git) {
            self.rules.push(Rules { patterns: Vec::new(), reading: Reading::Git });
        }
        self.extend_last(text, Dialect::Git, dir);
    }

    fn extend_last(&mut self, text: &str, dialect: Dialect, dir: &str) {
        let Some(rules) = self.rules.last_mut() else { return };
        let lines = text.strip_prefix('\u{feff}').unwrap_or(text).lines();
        let room = MAX_PATTERNS.saturating_sub(rules.patterns.len());
        rules.patterns.extend(lines.filter_map(|line| pattern(line, dialect, dir)).take(room));
    }

    /// Whether `path` (relative, with `/`) stays out. What lies above it was judged before.
    pub(super) fn judge(&self, path: &str, is_dir: bool) -> Verdict {
        let name = path.rsplit('/').next().unwrap_or(path);
        if is_never_staged(name) {
            return Verdict::Leave;
        }
        self.rules.iter().map(|rules| rules.judge(path, is_dir)).max().unwrap_or(Verdict::Take)
    }
}

impl Rules {
    fn judge(&self, path: &str, is_dir: bool) -> Verdict {
        if self.patterns.is_empty() && self.reading != Reading::Include
            || self.reading == Reading::Service && is_needed(path)
        {
            return Verdict::Take;
        }
        let parts: Vec<&str> = path.split('/').collect();
        let mut matched = false;
        for pattern in &self.patterns {
            if pattern.matches(&parts, is_dir) {
                matched = !pattern.keep;
            }
        }
        let keeps = || self.patterns.iter().any(|pattern| pattern.keep);
        let (excluded, open) = match self.reading {
            Reading::Service => (matched, keeps() || leads_to_needed(path)),
            Reading::Exclude => (matched, keeps()),
            Reading::Git => (matched, false),
            Reading::Include => (!matched, true),
        };
        match (excluded, is_dir && open) {
            (false, _) => Verdict::Take,
            (true, true) => Verdict::Open,
            (true, false) => Verdict::Leave,
        }
    }
}

impl Pattern {
    /// Whether it matches the path, or a folder above it.
    fn matches(&self, parts: &[&str], is_dir: bool) -> bool {
        matches(&self.parts, parts) && (is_dir || !self.dirs_only)
            // What is meant to be a folder is one where something is below it.
            || self.dirs_only && parts.len() > 1 && matches(&self.parts, &parts[..parts.len() - 1])
    }
}

/// What becomes of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Verdict {
    /// It is staged.
    Take,
    /// A folder that is left out, but in which something may be kept or needed.
    Open,
    /// It stays out, with all below it.
    Leave,
}

/// Whether a file or folder of this name is of no use in any image.
pub(super) fn is_never_staged(name: &str) -> bool {
    NEVER.contains(&name) || name.starts_with("._")
}

/// One line; the pattern holds below `dir`.
fn pattern(line: &str, dialect: Dialect, dir: &str) -> Option<Pattern> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    let (keep, line) = line.strip_prefix('!').map_or((false, line), |rest| (true, rest.trim_start()));
    let dirs_only = line.ends_with('/');
    let body = line.trim_end_matches('/');
    let anchored = dialect == Dialect::Docker || body.contains('/');
    let own = body.split('/').filter(|part| !part.is_empty() && *part != ".").map(str::to_owned);
    let mut parts: Vec<String> = dir.split('/').filter(|part| !part.is_empty()).map(literal).collect();
    if !anchored {
        parts.push("**".to_owned());
    }
    let above = parts.len();
    parts.extend(own);
    if parts.len() == above || parts.len() > 64 {
        return None;
    }
    Some(Pattern { parts, keep, dirs_only: dirs_only && dialect == Dialect::Git })
}

/// A pattern that matches this name alone.
fn literal(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for c in name.chars() {
        if matches!(c, '*' | '?' | '[' | '\\') {
            text.push('\\');
        }
        text.push(c);
    }
    text
}

/// Whether the pattern matches the path or a folder above it. Without recursion, as [`glob`]: of several `**` only the last one met has to be
/// taken back, so that no pattern takes exponential time.
fn matches(pattern: &[String], path: &[&str]) -> bool {
    let (mut p, mut n, mut any) = (0, 0, None);
    while n < path.len() {
        match pattern.get(p) {
            None => return true,
            // `**` at the end means everything below, not the folder itself.
            Some(part) if part == "**" && p + 1 == pattern.len() => return true,
            Some(part) if part == "**" => {
                any = Some((p, n));
                p += 1;
            }
            Some(part) if glob(part.as_bytes(), path[n].as_bytes()) => {
                p += 1;
                n += 1;
            }
            Some(_) => {
                let Some((at, from)) = any else { return false };
                any = Some((at, from + 1));
                p = at + 1;
                n = from + 1;
            }
        }
    }
    p == pattern.len()
}

/// `*`, `?` and `[a-z]` within one name, without recursion, so that no pattern takes exponential time.
fn glob(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n, mut star) = (0, 0, None);
    while n < name.len() {
        if p < pattern.len() && pattern[p] == b'*' {
            star = Some((p, n));
            p += 1;
        } else if let Some(length) = one(&pattern[p.min(pattern.len())..], name[n]) {
            p += length;
            n += 1;
        } else if let Some((at, from)) = star {
            star = Some((at, from + 1));
            p = at + 1;
            n = from + 1;
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

/// How many bytes of the pattern match one byte of the name.
fn one(pattern: &[u8], byte: u8) -> Option<usize> {
    match *pattern.first()? {
        b'?' => Some(1),
        b'\\' if pattern.len() > 1 => (pattern[1] == byte).then_some(2),
        b'[' => {
            let end = pattern.iter().skip(2).position(|byte| *byte == b']')? + 2;
            let (negated, set) = match &pattern[1..end] {
                [b'!' | b'^', rest @ ..] => (true, rest),
                set => (false, set),
            };
            let mut hit = set.contains(&byte);
            for window in set.windows(3) {
                hit |= window[1] == b'-' && (window[0]..=window[2]).contains(&byte);
            }
            (hit != negated).then_some(end + 1)
        }
        literal => (literal == byte).then_some(1),
    }
}

/// What the contract needs, wherever the ignore file says.
fn is_needed(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    path == "src/program.py"
        || path.ends_with("/src/program.py")
        || matches!(name, "planqk.json" | "Procfile" | ".python-version" | "pyproject.toml" | "project.toml")
        || Manager::of_file(name).is_some()
}

fn leads_to_needed(path: &str) -> bool {
    matches!(path, "src" | "app" | "app/user_code" | "app/user-code" | "app/user_code/src" | "app/user-code/src")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_dialect_reads_its_patterns() {
        let git = Ignore::parse("# note\n*.log\n/build\ndocs/\n!keep.log\ndata/**/big?.[bc]in\n", Dialect::Git);
        for (path, is_dir, wanted) in [
            ("a.log", false, true),
            ("x/y/a.log", false, true),
            ("keep.log", false, false),
            ("build", false, true),
            ("x/build", false, false),
            ("docs", false, false),
            ("data/a/b/big1.bin", false, true),
            ("data/big1.din", false, false),
            ("src/program.py", false, false),
            (".git", true, true),
            ("x/__pycache__", true, true),
        ] {
            let wanted = if wanted { Verdict::Leave } else { Verdict::Take };
            assert_eq!(git.judge(path, is_dir), wanted, "{path}");
        }
        let docker = Ignore::parse("*\n!src\n", Dialect::Docker);
        for (path, is_dir, wanted) in [
            ("README.md", false, Verdict::Leave),
            ("docs", true, Verdict::Open),
            ("docs/a.md", false, Verdict::Leave),
            ("src", true, Verdict::Take),
            ("src/libs/a.py", false, Verdict::Take),
            ("requirements.txt", false, Verdict::Take),
            ("planqk.json", false, Verdict::Take),
        ] {
            assert_eq!(docker.judge(path, is_dir), wanted, "{path}");
        }
        let docker = Ignore::parse("a.log", Dialect::Docker);
        assert_eq!((docker.judge("x/a.log", false), docker.judge("a.log", false)), (Verdict::Take, Verdict::Leave));
    }

    #[test]
    fn a_pattern_of_many_stars_is_judged_at_once() {
        let deep = vec!["a"; 60].join("/");
        let ignore = Ignore::parse(&format!("{}b\n{}a", "**/a/".repeat(30), "**/".repeat(60)), Dialect::Git);
        assert_eq!(ignore.judge(&deep, false), Verdict::Leave);
        assert_eq!(ignore.judge(&deep.replace('a', "c"), false), Verdict::Take);
    }

    proptest::proptest! {
        #[test]
        fn no_pattern_takes_long_or_falls_over(pattern in "[*?a\\[\\]!/\\\\-]{0,60}", path in "[a/]{1,60}") {
            let ignore = Ignore::parse(&pattern, Dialect::Git);
            let _ = ignore.judge(path.trim_matches('/'), false);
        }
    }
}
