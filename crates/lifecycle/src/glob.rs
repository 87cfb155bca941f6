//! Patterns of `[[slices]]`: those of Go's `filepath.Match`, as the specification says.

/// A pattern that ends in the middle of a class or an escape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BadPattern;

/// Whether a whole name matches. `*` and `?` do not match `/`.
pub(crate) fn matches(pattern: &str, name: &str) -> Result<bool, BadPattern> {
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    // Where a star was seen last, and how much of the name it takes: enough for backtracking, in quadratic time at most.
    let mut star: Option<(usize, usize)> = None;
    let (mut p, mut n) = (0, 0);
    check(&pattern)?;
    loop {
        if p < pattern.len() && pattern[p] == '*' {
            star = Some((p + 1, n));
            p += 1;
            continue;
        }
        if p == pattern.len() && n == name.len() {
            return Ok(true);
        }
        if p < pattern.len()
            && n < name.len()
            && let Some(next) = one(&pattern, p, name[n])
        {
            p = next;
            n += 1;
            continue;
        }
        match star {
            Some((after, taken)) if taken < name.len() && name[taken] != '/' => {
                star = Some((after, taken + 1));
                p = after;
                n = taken + 1;
            }
            _ => return Ok(false),
        }
    }
}

/// Matches one character with the element at `at`; answers where the next element begins.
fn one(pattern: &[char], at: usize, c: char) -> Option<usize> {
    match pattern[at] {
        '?' => (c != '/').then_some(at + 1),
        '\\' => (pattern.get(at + 1) == Some(&c)).then_some(at + 2),
        '[' => {
            let (inside, end) = class(pattern, at, c)?;
            (inside && c != '/').then_some(end)
        }
        literal => (literal == c).then_some(at + 1),
    }
}

/// Whether a class holds the character, and where it ends.
fn class(pattern: &[char], at: usize, c: char) -> Option<(bool, usize)> {
    let mut i = at + 1;
    let negated = pattern.get(i) == Some(&'^');
    i += usize::from(negated);
    let mut found = false;
    let mut first = true;
    loop {
        if pattern.get(i) == Some(&']') && !first {
            return Some((found != negated, i + 1));
        }
        first = false;
        let (low, next) = class_char(pattern, i)?;
        let (high, next) = if pattern.get(next) == Some(&'-') { class_char(pattern, next + 1)? } else { (low, next) };
        found |= (low..=high).contains(&c);
        i = next;
    }
}

fn class_char(pattern: &[char], at: usize) -> Option<(char, usize)> {
    match pattern.get(at)? {
        '-' | ']' => None,
        '\\' => Some((*pattern.get(at + 1)?, at + 2)),
        c => Some((*c, at + 1)),
    }
}

fn check(pattern: &[char]) -> Result<(), BadPattern> {
    let mut at = 0;
    while at < pattern.len() {
        at = match pattern[at] {
            '\\' if at + 1 >= pattern.len() => return Err(BadPattern),
            '\\' => at + 2,
            '[' => class(pattern, at, 'a').ok_or(BadPattern)?.1,
            _ => at + 1,
        };
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slice_globs_follow_the_go_pattern_syntax() {
        for (pattern, name, expected) in [
            ("abc", "abc", true),
            ("*", "abc", true),
            ("*c", "abc", true),
            ("a*", "ab/c", false),
            ("a*/b", "abc/b", true),
            ("a*b*c*d*e*/f", "axbxcxdxexxx/f", true),
            ("a*b*c*d*e*/f", "axbxcxdxexxx/fff", false),
            ("a?c", "a/c", false),
            ("a[b-d]e", "ace", true),
            ("a[^b]", "ac", true),
            ("a[^b]", "ab", false),
            ("a\\*b", "a*b", true),
            ("a\\*b", "axb", false),
            ("[a-z]*.js", "main.js", true),
            ("static/*", "static/a/b", false),
        ] {
            assert_eq!(matches(pattern, name), Ok(expected), "{pattern} {name}");
        }
        for bad in ["[", "[a", "a\\", "[]a]", "[-]"] {
            assert_eq!(matches(bad, "x"), Err(BadPattern), "{bad}");
        }
    }
}
