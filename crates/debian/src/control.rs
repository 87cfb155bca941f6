//! Debian control data: paragraphs of `Name: value` fields (deb822(5), Debian Policy 5.1).
//!
//! Knows the shape only, no field's meaning. Continuation lines are kept with their line breaks; field names compare without case.

/// One paragraph: fields in the order in which they were written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Paragraph {
    fields: Vec<(String, String)>,
}

/// A line that is no control data.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line} is no `Name: value` field: {problem}")]
pub struct ControlError {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub problem: &'static str,
}

impl Paragraph {
    /// The value of a field; lines after the first are joined with `\n`, without their leading blank.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// All fields, in order.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        self.fields.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// Adds a field, or replaces the one of that name where it stands.
    pub fn set(&mut self, name: &str, value: &str) {
        match self.fields.iter_mut().find(|(key, _)| key.eq_ignore_ascii_case(name)) {
            Some((_, old)) => value.clone_into(old),
            None => self.fields.push((name.to_owned(), value.to_owned())),
        }
    }

    /// Adds a field behind the one named, or replaces the one of its name.
    pub fn set_after(&mut self, after: &str, name: &str, value: &str) {
        let place = self.fields.iter().position(|(key, _)| key.eq_ignore_ascii_case(after));
        match place {
            Some(place) if self.get(name).is_none() => {
                self.fields.insert(place + 1, (name.to_owned(), value.to_owned()));
            }
            _ => self.set(name, value),
        }
    }

    /// True where no field is set.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }
}

impl std::fmt::Display for Paragraph {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (name, value) in &self.fields {
            let mut lines = value.split('\n');
            let first = lines.next().unwrap_or("");
            writeln!(f, "{name}:{}{first}", if first.is_empty() { "" } else { " " })?;
            for line in lines {
                writeln!(f, " {line}")?;
            }
        }
        Ok(())
    }
}

/// Reads paragraphs. Lines that begin with `#` are comments. Signed text is read after its armour was removed.
pub fn parse_paragraphs(text: &str) -> Result<Vec<Paragraph>, ControlError> {
    let mut paragraphs = Vec::new();
    let mut current = Paragraph::default();
    for (index, line) in text.lines().enumerate() {
        let fail = |problem| ControlError { line: index + 1, problem };
        if line.starts_with('#') {
            continue;
        }
        if line.trim().is_empty() {
            if !current.is_empty() {
                paragraphs.push(std::mem::take(&mut current));
            }
        } else if line.starts_with([' ', '\t']) {
            let (_, value) =
                current.fields.last_mut().ok_or_else(|| fail("it continues a field, but none precedes it"))?;
            value.push('\n');
            value.push_str(line[1..].trim_end());
        } else {
            let (name, value) = line.split_once(':').ok_or_else(|| fail("it has no colon"))?;
            if name.is_empty() || name.contains(char::is_whitespace) {
                return Err(fail("the name before the colon is empty or has blanks"));
            }
            if current.get(name).is_some() {
                return Err(fail("the field is there twice"));
            }
            current.fields.push((name.to_owned(), value.trim().to_owned()));
        }
    }
    if !current.is_empty() {
        paragraphs.push(current);
    }
    Ok(paragraphs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paragraphs_are_read_and_written_back() {
        let text = "Package: a\nDescription: short\n long\n .\n more\n\n# comment\n\nPackage: b\nEmpty:\n x\n";
        let paragraphs = parse_paragraphs(text).unwrap();
        assert_eq!(paragraphs.len(), 2);
        assert_eq!(paragraphs[0].get("description"), Some("short\nlong\n.\nmore"));
        assert_eq!(paragraphs[0].to_string(), "Package: a\nDescription: short\n long\n .\n more\n");
        assert_eq!(paragraphs[1].to_string(), "Package: b\nEmpty:\n x\n");
        let mut first = paragraphs[0].clone();
        first.set_after("Package", "Status", "install ok installed");
        first.set_after("Package", "Status", "x");
        assert_eq!(first.fields().map(|(name, _)| name).collect::<Vec<_>>(), ["Package", "Status", "Description"]);
    }

    #[test]
    fn a_line_that_is_no_field_is_named() {
        for (text, line) in [("a: b\nc\n", 2), (" a", 1), (": x", 1), ("a b: c", 1), ("a: 1\nA: 2", 2)] {
            assert_eq!(parse_paragraphs(text).unwrap_err().line, line, "{text:?}");
        }
    }
}
