//! Reading what installers print.

const MAX_EVIDENCE_LINES: usize = 30;

/// All on one line, with single spaces and without the marks of causes.
pub(super) fn flatten(text: &str) -> String {
    text.split_whitespace().filter(|word| !matches!(*word, "×" | "╰─▶" | "├─▶" | "│")).collect::<Vec<_>>().join(" ")
}

/// The text between two marks.
pub(super) fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let start = text.find(before)? + before.len();
    let end = text[start..].find(after)?;
    Some(text[start..start + end].trim())
}

/// Splits `flask==3.0.0` or `werkzeug>=3,<4` into the name and the rest.
pub(super) fn split_requirement(text: &str) -> (&str, &str) {
    let end = text.find(['=', '<', '>', '!', '~', '[', ' ', ';']).unwrap_or(text.len());
    (text[..end].trim_matches(['`', '\'', '"', ',']), text[end..].trim_end_matches(['`', '\'', '"', ',', '.']).trim())
}

/// The first line that tells an error.
pub(super) fn first_error(text: &str) -> String {
    let line = text.lines().find(|line| line.starts_with("error") || line.contains("ERROR")).or(text.lines().last());
    line.unwrap_or("nothing").trim_start_matches("error: ").trim().to_owned()
}

/// The installer's words without noise: the first lines and the last ones when there are many.
pub(crate) fn evidence_lines(text: &str) -> Vec<String> {
    let noise =
        ["Using Python ", "Using CPython ", "Resolved ", "warning: Failed to hardlink", "Prepared ", "Audited "];
    let lines: Vec<String> = text
        .lines()
        .map(|line| line.trim_end().chars().filter(|c| !c.is_control() || *c == '\t').take(300).collect::<String>())
        .filter(|line| !line.is_empty() && !noise.iter().any(|start| line.starts_with(start)))
        .collect();
    if lines.len() <= MAX_EVIDENCE_LINES {
        return lines;
    }
    let head = 4;
    let tail = MAX_EVIDENCE_LINES - head;
    let mut result = lines[..head].to_vec();
    result.push(format!("… {} lines …", lines.len() - MAX_EVIDENCE_LINES));
    result.extend_from_slice(&lines[lines.len() - tail..]);
    result
}
