//! `package-list.txt`: what `conda list --explicit` writes (addresses, with hashes), or `conda list --export` (`name=version=build`). Pure.

use hoist_environment::{Located, SyntaxError};

const MAX_BYTES: usize = 8 << 20;
const MAX_LINES: usize = 50_000;

/// What the file says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PackageList {
    /// The system that it was written on: `linux-64`.
    pub platform: Option<Located>,
    /// Addresses of archives, with `#` and a hash where there is one.
    pub archives: Vec<Located>,
    /// What a solver has to look for.
    pub specs: Vec<Located>,
}

impl PackageList {
    /// Reads the text of a file.
    pub fn parse(text: &str) -> Result<Self, SyntaxError> {
        if text.len() > MAX_BYTES || text.lines().count() > MAX_LINES {
            return Err(SyntaxError::new(1, "the file is larger than any list of packages"));
        }
        let mut found = Self::default();
        let mut explicit = None;
        for (number, line) in text.strip_prefix('\u{feff}').unwrap_or(text).lines().enumerate() {
            let located = |text: &str| Located { text: text.to_owned(), line: number + 1 };
            let line = line.trim();
            if let Some(platform) = line.strip_prefix("# platform:") {
                found.platform = Some(located(platform.trim()));
            } else if line == "@EXPLICIT" {
                explicit = Some(number + 1);
            } else if line.is_empty() || line.starts_with('#') {
            } else if line.contains("://") || line.starts_with('/') {
                found.archives.push(located(line));
            } else if line.starts_with(['-', '@']) {
                return Err(SyntaxError::new(number + 1, format!("`{line}` is neither a package nor an address")));
            } else {
                found.specs.push(located(line));
            }
        }
        if let (Some(line), Some(first)) = (explicit, found.specs.first()) {
            let why = format!("`{}` is no address, and @EXPLICIT on line {line} says that all are", first.text);
            return Err(SyntaxError::new(first.line, why));
        }
        if found.archives.is_empty() && found.specs.is_empty() && explicit.is_none() {
            return Err(SyntaxError::new(1, "it names no package"));
        }
        if let (Some(archive), Some(_)) = (found.archives.first(), found.specs.first()) {
            return Err(SyntaxError::new(archive.line, "addresses and names of packages are mixed"));
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_lists_are_read() {
        let exported = PackageList::parse("# platform: linux-64\nlibfoo=1.2=h0_0\npython=3.11.9\n").unwrap();
        assert_eq!(exported.platform.unwrap().text, "linux-64");
        assert_eq!(exported.specs[1], Located { text: "python=3.11.9".into(), line: 3 });
        let explicit =
            PackageList::parse("@EXPLICIT\nhttps://c.invalid/linux-64/libfoo-1.2-h0_0.conda#0123\n").unwrap();
        assert_eq!((explicit.archives.len(), explicit.specs.len()), (1, 0));
    }

    #[test]
    fn what_is_no_list_is_said_with_its_line() {
        let error = |text: &str| PackageList::parse(text).unwrap_err().to_string();
        assert!(error("@EXPLICIT\npython=3\n").starts_with("line 2: `python=3` is no address"));
        assert!(error("# nothing\n").contains("no package"));
        assert!(error("--file x\n").starts_with("line 1"));
        assert!(error("a=1\nfile:///c/linux-64/a-1-0.conda\n").contains("mixed"));
    }
}
