//! The files by which an app says what it needs, read with their places: what is wrong in one is told with its file and line.

use std::path::Path;
use std::sync::OnceLock;

use serde::de::DeserializeOwned;

use crate::context::Context;
use crate::encoding::decode_text;
use crate::failure::Failure;

/// Larger files are locks of nobody.
const MAX_BYTES: u64 = 32 << 20;

/// A text file of the app.
#[derive(Debug, Clone)]
pub(crate) struct Manifest {
    /// Its path below the app, for people.
    pub(crate) name: String,
    /// What it says, decoded.
    pub(crate) text: String,
    /// Where its lines end, once somebody asked: a lock of thousands of packages is asked for the line of each.
    ends: OnceLock<Vec<usize>>,
}

impl Manifest {
    /// Reads a file of the app; none when it is not there (or is a link that leads out).
    pub(crate) fn read(context: &Context, name: &str) -> Result<Option<Self>, Failure> {
        let Some(path) = context.app_file(name) else {
            let is_link = context.app_dir.join(name).symlink_metadata().is_ok_and(|about| about.is_symlink());
            return if is_link { Err(leads_out(name)) } else { Ok(None) };
        };
        Self::read_path(name, &path).map(Some)
    }

    fn read_path(name: &str, path: &Path) -> Result<Self, Failure> {
        let doing = format!("reading {name}");
        let bytes = fs_err::metadata(path).map_err(|error| Failure::io(&doing, &error))?.len();
        if bytes > MAX_BYTES {
            return Err(Failure::new(
                doing,
                format!("{name} has {bytes} bytes"),
                "a file of this size is something else by mistake",
                "look what the file is",
            ));
        }
        let bytes = fs_err::read(path).map_err(|error| Failure::io(&doing, &error))?;
        let text = decode_text(&bytes).map_err(|error| {
            let seen = error.in_file(name);
            Failure::new(doing, seen, "it is a text file in UTF-8", "save it again as UTF-8").of_kind("file-malformed")
        })?;
        Ok(Self { name: name.to_owned(), text, ends: OnceLock::new() })
    }

    /// What it says as TOML.
    pub(crate) fn toml<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        toml::from_str(&self.text).map_err(|error| {
            let line = error.span().map(|span| self.line_at(span.start));
            self.malformed("TOML", line, error.message())
        })
    }

    /// What it says as JSON.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_str(&self.text).map_err(|error| {
            let text = error.to_string();
            let bare = text.split(" at line ").next().unwrap_or(&text);
            self.malformed("JSON", Some(error.line()), bare)
        })
    }

    /// The line of an offset, from 1.
    pub(crate) fn line_at(&self, offset: usize) -> usize {
        let find = || self.text.match_indices('\n').map(|(at, _)| at).collect();
        self.ends.get_or_init(find).partition_point(|end| *end < offset) + 1
    }

    /// The first line that contains `text`, from 1; 1 where none does.
    pub(crate) fn line_with(&self, text: &str) -> usize {
        self.text.lines().position(|line| line.contains(text)).map_or(1, |index| index + 1)
    }

    fn malformed(&self, format: &str, line: Option<usize>, what: &str) -> Failure {
        let place = line.map_or_else(|| self.name.clone(), |line| format!("{} line {line}", self.name));
        let what = what.lines().collect::<Vec<_>>().join(", ");
        let mut failure = Failure::new(
            format!("reading {}", self.name),
            format!("{place}: {what}"),
            format!("the file is no {format} of the shape that it should have"),
            if self.name.ends_with("lock") || self.name.starts_with("pylock") {
                "make the lock anew with the tool that wrote it; if it was merged by hand, look for conflict marks"
            } else {
                "correct that line"
            },
        );
        if let Some(text) = line.and_then(|line| self.text.lines().nth(line - 1)).filter(|text| !text.trim().is_empty())
        {
            failure = failure.and_seen(text.trim().chars().take(160).collect::<String>());
        }
        failure.of_kind("file-malformed")
    }

    /// A page about something at a line that is well-formed but cannot be used.
    pub(crate) fn refuse(&self, line: usize, seen: &str, why: &str, fix: &str) -> Failure {
        Failure::new(format!("reading {}", self.name), format!("{} line {line}: {seen}", self.name), why, fix)
    }
}

fn leads_out(name: &str) -> Failure {
    Failure::new(
        format!("reading {name}"),
        format!("{name} is a link that leads to no file of the app"),
        "only the app's own files are in the build",
        "put the file itself in its place",
    )
}
