//! Files of conda's: whether one leads, or what it includes does. An `environment.yml` that asks for Python, pip and included requirements alone is
//! pip's: installed with Debian's Python, faster. One that cannot be read is conda's, whose buildpack says why.

use hoist_environment::{EnvironmentFile, FILES, is_environment_file};

use super::{Kind, Leader, explain};
use crate::context::Context;
use crate::encoding::decode_text;
use crate::failure::Failure;

/// Larger files are read by nobody.
const MAX_BYTES: u64 = 4 << 20;

/// What an app has of conda's.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The file that counts.
    pub(super) file: Option<&'static str>,
    /// The same, where pip does not do.
    pub(super) needed: Option<&'static str>,
    /// Requirements files that the `environment.yml` includes: no rivals of it, nor of a lock that was made of it.
    pub(super) includes: Vec<String>,
}

impl Found {
    pub(super) fn of(context: &Context) -> Self {
        let Some(file) = file(context) else { return Self::default() };
        let mut names = FILES.into_iter().filter(|name| is_environment_file(name));
        let environment = names.find_map(|name| read(context, name));
        let includes = environment.iter().flat_map(EnvironmentFile::includes).map(str::to_owned).collect();
        let is_pips = is_environment_file(file) && environment.is_some_and(|found| found.only_includes().is_some());
        Self { file: Some(file), needed: Some(file).filter(|_| !is_pips), includes }
    }

    /// The first requirements file that a file of pip's includes, and a reason for people.
    pub(super) fn list(&self) -> Option<(String, String)> {
        let file = self.file.filter(|_| self.needed.is_none())?;
        Some((self.includes.first()?.clone(), format!("{file} includes it")))
    }
}

/// The file that counts where conda is meant.
pub(super) fn file(context: &Context) -> Option<&'static str> {
    FILES.into_iter().find(|name| context.app_file(name).is_some())
}

fn read(context: &Context, name: &str) -> Option<EnvironmentFile> {
    let path = context.app_file(name)?;
    if fs_err::metadata(&path).ok()?.len() > MAX_BYTES {
        return None;
    }
    EnvironmentFile::parse(&decode_text(&fs_err::read(path).ok()?).ok()?).ok()
}

/// The leader, if this hoist has what installs it.
pub(super) fn leads(file: &str, reason: String) -> Result<Leader, Failure> {
    if Kind::Conda.is_there() {
        return Ok(Leader { kind: Kind::Conda, file: file.to_owned(), reason });
    }
    Err(explain::foreign(file))
}
