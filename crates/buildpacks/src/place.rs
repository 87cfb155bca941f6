//! Where in the app a page speaks of, for programs: its words name files and lines in one way everywhere (`requirements.txt line 3: flask==3`), and
//! what they quote of a line is found in it again. Reads files of the app and nothing else.

use std::path::{Path, PathBuf};

use crate::encoding::decode_text;

/// A larger file has no line that somebody looks at.
const MAX_FILE_BYTES: u64 = 16 << 20;

/// A place in the app. Lines and columns count from 1, columns in characters; the end is behind the last one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Path below the app.
    pub file: PathBuf,
    /// The line.
    pub line: Option<usize>,
    /// The first column and the one behind the last, where the line is known.
    pub columns: Option<(usize, usize)>,
}

/// The place that the first of these texts speaks of which speaks of one. The last text may name the file whose lines the others speak of (`reading
/// the Procfile`, `line 2: …`).
pub fn place_of<'a>(app_dir: &Path, texts: impl IntoIterator<Item = &'a str>) -> Option<Place> {
    let texts: Vec<&str> = texts.into_iter().collect();
    let whole = texts.last().and_then(|text| file_in(app_dir, text));
    let of_whole = |text: &&str| {
        let rest = text.strip_prefix("line ")?;
        place_at(app_dir, whole.clone()?, rest)
    };
    // A line is worth more than a file that an earlier text names.
    let of_line = || texts.iter().find_map(|text| of_whole(text).or_else(|| with_line(app_dir, text)));
    of_line().or_else(|| texts.iter().find_map(|text| of_file(app_dir, text)))
}

/// `FILE line N…`.
fn with_line(app_dir: &Path, text: &str) -> Option<Place> {
    text.match_indices(" line ").find_map(|(at, mark)| {
        let file = file_at(app_dir, text[..at].rsplit(' ').next()?)?;
        place_at(app_dir, file, &text[at + mark.len()..])
    })
}

/// The place in a file that `3: flask==3` speaks of.
fn place_at(app_dir: &Path, file: PathBuf, rest: &str) -> Option<Place> {
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let line: usize = rest[..digits].parse().ok().filter(|line| *line > 0)?;
    let columns = read(app_dir, &file).and_then(|whole| columns(whole.lines().nth(line - 1)?, &rest[digits..]));
    Some(Place { file, line: Some(line), columns })
}

/// The first word that is a file of the app; what is quoted from one names none.
fn file_in(app_dir: &Path, text: &str) -> Option<PathBuf> {
    let unquoted = text.split('`').step_by(2);
    unquoted.flat_map(|part| part.split(' ')).find_map(|word| file_at(app_dir, word))
}

/// A file alone; `.python-version says 3.7` quotes what stands in it.
fn of_file(app_dir: &Path, text: &str) -> Option<Place> {
    let file = file_in(app_dir, text)?;
    let quoted =
        text.split_once(" says ").map(|(_, said)| said.split(';').next().unwrap_or(said).trim_matches(['`', ' ']));
    let found = quoted.filter(|quoted| !quoted.is_empty()).and_then(|quoted| {
        let whole = read(app_dir, &file)?;
        let (index, line) = whole.lines().enumerate().find(|(_, line)| line.contains(quoted))?;
        Some((index + 1, columns(line, &format!(" says {quoted}"))))
    });
    let (line, columns) = found.map_or((None, None), |(line, columns)| (Some(line), columns));
    Some(Place { file, line, columns })
}

/// A word as a path below the app, where a file is.
fn file_at(app_dir: &Path, word: &str) -> Option<PathBuf> {
    let name = word.trim_matches(|c: char| matches!(c, '`' | '\'' | '"' | ',' | ';' | ':' | '(' | ')'));
    let path = crate::pip::requirements::lexical(Path::new(name)).filter(|path| !path.as_os_str().is_empty())?;
    let is_file = |path: &Path| app_dir.join(path).symlink_metadata().is_ok_and(|about| about.is_file());
    is_file(&path).then_some(path)
}

fn read(app_dir: &Path, file: &Path) -> Option<String> {
    let path = app_dir.join(file);
    fs_err::metadata(&path).ok().filter(|about| about.len() <= MAX_FILE_BYTES)?;
    decode_text(&fs_err::read(path).ok()?).ok()
}

/// What the words behind a line's number quote of it (`: flask==3`, ` (requires-python) says >=3.9`), else all of it but the blanks around.
fn columns(line: &str, words: &str) -> Option<(usize, usize)> {
    let quoted = words
        .split_once(" says ")
        .map(|(_, said)| said)
        .or_else(|| words.strip_prefix(": "))
        .map(|said| said.split("; ").next().unwrap_or(said).trim_matches(['`', ' ']));
    let found = quoted.filter(|quoted| !quoted.is_empty()).and_then(|quoted| Some((line.find(quoted)?, quoted.len())));
    let (start, length) = found.unwrap_or_else(|| (line.len() - line.trim_start().len(), line.trim().len()));
    let column = |at: usize| line[..at].chars().count() + 1;
    (length > 0).then(|| (column(start), column(start + length)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_pages_lead_to_files_lines_and_columns() {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in [
            ("requirements.txt", "six\n  # größer\n  flask==3 # web\n-r base.txt\n"),
            (".python-version", "# ours\n3.7\n"),
            ("pyproject.toml", "[project]\nrequires-python = \">=3.99\"\n"),
            ("uv.lock", "version = 1\n"),
        ] {
            fs_err::write(dir.path().join(name), text).unwrap();
        }
        let of = |texts: &[&str]| {
            let Place { file, line, columns } = place_of(dir.path(), texts.iter().copied())?;
            Some((file.display().to_string(), line.unwrap_or(0), columns.unwrap_or((0, 0))))
        };
        for (text, file, line, columns) in [
            ("requirements.txt line 3: flask==3", "requirements.txt", 3, (3, 11)),
            ("requirements.txt line 3: flask==3; why", "requirements.txt", 3, (3, 11)),
            ("there is no base.txt, which requirements.txt line 4 includes", "requirements.txt", 4, (1, 12)),
            ("pyproject.toml line 2 (requires-python) says >=3.99", "pyproject.toml", 2, (20, 26)),
            (".python-version says 3.7", ".python-version", 2, (1, 4)),
            ("uv.lock is older than the project: httpx was added", "uv.lock", 0, (0, 0)),
            ("requirements.txt line 99: gone", "requirements.txt", 99, (0, 0)),
        ] {
            assert_eq!(of(&[text]), Some((file.to_owned(), line, columns)), "{text}");
        }
        assert_eq!(of(&["line 2: `3.7`", "reading the .python-version"]), Some((".python-version".into(), 2, (1, 4))));
        assert_eq!(of(&["it is `uv.lock x`"]), None, "what is quoted is no place");
        assert_eq!(of(&["nothing.txt line 3: x", "BP_AS_OF is `x`", "../../etc/passwd line 1"]), None);
        assert_eq!(of(&["uv.lock is odd", "requirements.txt line 1: six"]).unwrap().1, 1, "a line is worth more");
    }
}
