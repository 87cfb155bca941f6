//! The lines of a Procfile: the union of what the other platforms' parsers take (reference: Paketo, Heroku, Google, railpack).
//!
//! `name: command`, with any space before the name, before and after the colon. What others would drop or refuse is taken with a warning
//! that shows the corrected line; what is no process line at all is an error that shows one. No line is ever dropped silently.

/// A line `name: command`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) command: String,
    /// The line, from 1.
    pub(crate) line: usize,
}

/// A Procfile that was read.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Procfile {
    /// In the order of the file, each name once.
    pub(crate) entries: Vec<Entry>,
    pub(crate) warnings: Vec<String>,
}

/// A line that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: `{text}`")]
pub(crate) struct GrammarError {
    pub(crate) line: usize,
    pub(crate) text: String,
    pub(crate) why: &'static str,
    /// The line as it is probably meant.
    pub(crate) corrected: String,
}

/// Names longer than this are no names.
const NAME_BYTES: usize = 63;

impl Procfile {
    /// Reads the decoded text.
    pub(crate) fn parse(text: &str) -> Result<Self, GrammarError> {
        let mut found = Self::default();
        let mut lines = text.lines().enumerate();
        while let Some((at, first)) = lines.next() {
            let line = at + 1;
            let mut whole = first.trim_end().to_owned();
            while let Some(open) = whole.strip_suffix('\\').filter(|open| !open.trim_start().starts_with('#')) {
                let next = lines.next().map_or("", |(_, next)| next.trim());
                let joined = format!("{} {next}", open.trim_end());
                whole.clear();
                whole.push_str(joined.trim_end());
                found.warn(line, "it goes on behind a backslash, which other platforms do not take", &whole);
            }
            let trimmed = whole.trim();
            if !trimmed.is_empty() && !trimmed.starts_with('#') {
                found.add(line, &whole)?;
            }
        }
        Ok(found)
    }

    fn warn(&mut self, line: usize, why: &str, corrected: &str) {
        self.warnings.push(format!("Procfile line {line}: {why}; write it as: {}", corrected.trim()));
    }

    fn add(&mut self, line: usize, whole: &str) -> Result<(), GrammarError> {
        let (name, command) = split(whole).map_err(|why| GrammarError {
            line,
            text: whole.trim().to_owned(),
            why,
            corrected: corrected(whole),
        })?;
        let plain = format!("{name}: {command}");
        let colon = whole.find(':').unwrap_or(0);
        if whole.starts_with(char::is_whitespace) {
            self.warn(line, "it begins with a space, and other platforms drop it", &plain);
        } else if whole[..colon].ends_with(char::is_whitespace) {
            self.warn(line, "there is a space before the colon, and other platforms drop it", &plain);
        }
        if let Some(at) = self.entries.iter().position(|entry| entry.name == name) {
            let earlier = self.entries.remove(at);
            self.warnings.push(format!(
                "Procfile line {line}: {name} stands on line {} already, and this line counts; remove the other, or give it a name of its own",
                earlier.line
            ));
        }
        self.entries.push(Entry { name: name.to_owned(), command: command.to_owned(), line });
        Ok(())
    }

    /// The process that the image runs by default: `web`, else the only one.
    pub(crate) fn default_entry(&self) -> Option<&Entry> {
        let web = self.entries.iter().find(|entry| entry.name == "web");
        web.or(if self.entries.len() == 1 { self.entries.first() } else { None })
    }
}

fn split(whole: &str) -> Result<(&str, &str), &'static str> {
    let (name, command) = whole.split_once(':').ok_or("there is no `:` between a name and a command")?;
    let (name, command) = (name.trim(), command.trim());
    if name.is_empty() {
        return Err("there is no name before the `:`");
    }
    if name.len() > NAME_BYTES || !name.chars().all(is_name_char) {
        return Err("a name is made of letters, digits, `-` and `_`");
    }
    if command.is_empty() {
        return Err("there is no command after the `:`");
    }
    Ok((name, command))
}

fn is_name_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_')
}

/// `my worker: command` has a name; `gunicorn app:app` has none.
fn reads_as_name(name: &str, command: &str) -> bool {
    !name.trim().contains(char::is_whitespace) || command.is_empty() || command.starts_with(char::is_whitespace)
}

/// The line as it is probably meant.
fn corrected(whole: &str) -> String {
    let text = whole.trim().trim_start_matches("- ").trim_start();
    // `"web": command`, `my worker: command`, `web = command`, `web` alone, or a command alone.
    let (name, command) = match text.split_once(':') {
        Some((name, command)) if !name.contains(['/', '=']) && reads_as_name(name, command) => (name, command),
        _ => match text.split_once('=') {
            Some((name, command))
                if name.trim().chars().all(is_name_char) && !name.trim().is_empty() && name.ends_with(' ') =>
            {
                (name, command)
            }
            _ => ("web", text),
        },
    };
    let mut clean = String::new();
    for c in name.trim().trim_matches(['"', '\'']).chars() {
        if is_name_char(c) {
            clean.push(c);
        } else if !clean.ends_with('-') && !clean.is_empty() {
            clean.push('-');
        }
    }
    let clean = clean.trim_matches('-');
    let name = if clean.is_empty() || clean.len() > NAME_BYTES { "web" } else { clean };
    match command.trim() {
        "" => format!("{name}: python main.py"),
        command if command == name => format!("{name}: python main.py"),
        command => format!("{name}: {command}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(text: &str) -> Vec<(String, String)> {
        Procfile::parse(text).unwrap().entries.into_iter().map(|entry| (entry.name, entry.command)).collect()
    }

    fn one(text: &str) -> (String, String, usize) {
        let found = Procfile::parse(text).unwrap();
        let entry = found.entries[0].clone();
        (entry.name, entry.command, found.warnings.len())
    }

    #[test]
    fn the_union_of_all_grammars_is_taken() {
        let of = |name: &str, command: &str, warnings| (name.to_owned(), command.to_owned(), warnings);
        assert_eq!(one("web: python x.py"), of("web", "python x.py", 0));
        assert_eq!(one("web:cmd"), of("web", "cmd", 0));
        assert_eq!(one("web : python -m app.py"), of("web", "python -m app.py", 1));
        assert_eq!(one("  web: cmd"), of("web", "cmd", 1));
        assert_eq!(one("My_Work-er2:\tcmd --c \"k: v\" # b"), of("My_Work-er2", "cmd --c \"k: v\" # b", 0));
        assert_eq!(one("\n# note\nweb: a \\\n  --b\n"), of("web", "a --b", 1));
        assert_eq!(entries("web: a\nworker: b\nweb: c\n"), [("worker".into(), "b".into()), ("web".into(), "c".into())]);
        assert_eq!(
            Procfile::parse("web: a\nweb: b").unwrap().warnings,
            [
                "Procfile line 2: web stands on line 1 already, and this line counts; remove the other, or give it a name of its own"
            ]
        );
        assert!(Procfile::parse("web : a").unwrap().warnings[0].ends_with("write it as: web: a"));
    }

    #[test]
    fn a_line_that_is_none_is_shown_as_it_should_be() {
        for (text, line, corrected) in [
            ("gunicorn app:app\n", 1, "web: gunicorn app:app"),
            ("\nweb\n", 2, "web: python main.py"),
            ("web:\n", 1, "web: python main.py"),
            ("web = python x.py", 1, "web: python x.py"),
            ("\"web\": cmd", 1, "web: cmd"),
            ("my worker: cmd", 1, "my-worker: cmd"),
            ("- web: cmd", 1, "web: cmd"),
            (": cmd", 1, "web: cmd"),
        ] {
            let error = Procfile::parse(text).unwrap_err();
            assert_eq!((error.line, error.corrected.as_str()), (line, corrected), "{text:?}");
        }
    }

    #[test]
    fn web_or_the_only_one_is_the_default() {
        let default = |text: &str| Procfile::parse(text).unwrap().default_entry().map(|entry| entry.name.clone());
        assert_eq!(default("a: x\nweb: y").as_deref(), Some("web"));
        assert_eq!(default("a: x").as_deref(), Some("a"));
        assert_eq!(default("a: x\nb: y"), None);
    }
}
