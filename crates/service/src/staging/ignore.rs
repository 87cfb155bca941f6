//! What of a source is not staged.
//!
//! Never staged: version control, virtual environments (any folder with a `pyvenv.cfg`), caches, `node_modules` and what file managers
//! leave. A service's `.planqkignore` is honoured as `.gitignore` is read (a name without a slash matches at any depth); where there is none,
//! its `.dockerignore` (every pattern stands at the root). Neither can take away what the contract needs: `planqk.json`, `src/program.py`,
//! a Procfile and the dependency files. Plain apps are staged whole, as other buildpack platforms do.

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

/// Patterns of an ignore file.
#[derive(Debug, Default)]
pub(super) struct Ignore {
    patterns: Vec<Pattern>,
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
    pub(super) fn parse(text: &str, dialect: Dialect) -> Self {
        let patterns = text.strip_prefix('\u{feff}').unwrap_or(text).lines().filter_map(|line| pattern(line, dialect));
        Self { patterns: patterns.take(MAX_PATTERNS).collect() }
    }

    /// Whether `path` (relative, with `/`) stays out. What lies above it was judged before.
    pub(super) fn judge(&self, path: &str, is_dir: bool) -> Verdict {
        let name = path.rsplit('/').next().unwrap_or(path);
        if is_never_staged(name) {
            return Verdict::Leave;
        }
        if self.patterns.is_empty() || is_needed(path) {
            return Verdict::Take;
        }
        let parts: Vec<&str> = path.split('/').collect();
        let mut excluded = false;
        for pattern in &self.patterns {
            let hit = matches(&pattern.parts, &parts) && (is_dir || !pattern.dirs_only);
            if hit {
                excluded = !pattern.keep;
            }
        }
        let open = is_dir && (self.patterns.iter().any(|pattern| pattern.keep) || leads_to_needed(path));
        match (excluded, open) {
            (false, _) => Verdict::Take,
            (true, true) => Verdict::Open,
            (true, false) => Verdict::Leave,
        }
    }
}

/// What becomes of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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

fn pattern(line: &str, dialect: Dialect) -> Option<Pattern> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    let (keep, line) = line.strip_prefix('!').map_or((false, line), |rest| (true, rest.trim_start()));
    let dirs_only = line.ends_with('/');
    let body = line.trim_end_matches('/');
    let anchored = dialect == Dialect::Docker || body.contains('/');
    let mut parts: Vec<String> =
        body.split('/').filter(|part| !part.is_empty() && *part != ".").map(str::to_owned).collect();
    if parts.is_empty() || parts.len() > 64 {
        return None;
    }
    if !anchored {
        parts.insert(0, "**".to_owned());
    }
    Some(Pattern { parts, keep, dirs_only: dirs_only && dialect == Dialect::Git })
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
