//! The memory of indexes: the newest signed Release file of each suite that was accepted, so that a mirror cannot go back to an older
//! one, which is as validly signed as the newest.
//!
//! It is kept as it came, and its signature is checked again: whoever can write the folder can make hoist forget, but cannot make it
//! remember what Debian never signed.

use std::io::Write;
use std::path::{Path, PathBuf};

use crate::keyring::Keyring;
use crate::release::{Release, ReleaseError};

/// Mirrors follow each other by hours, and one address may lead to several: so much older is no going back.
const LAG_SECS: i64 = 36 * 3600;
/// The longest file that is read.
const LIMIT_BYTES: u64 = 16 << 20;

/// The memory of one suite.
pub(crate) struct Accepted {
    path: PathBuf,
    newest: Option<Release>,
}

/// How an index stands to the newest that was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Age {
    /// Newer, or the first one.
    Newer,
    /// The same, or so little older that another mirror explains it.
    Known,
}

impl Accepted {
    /// What was accepted of a suite before.
    pub(crate) fn of(cache_dir: &Path, suite: &str, keyring: &Keyring) -> Self {
        let name: String = suite.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect();
        let path = cache_dir.join(format!("{name}.accepted"));
        let newest = read(&path, keyring).filter(|release| release.check(suite, None).is_ok());
        Self { path, newest }
    }

    /// The date of the newest one, as written.
    pub(crate) fn date(&self) -> Option<&str> {
        self.newest.as_ref().map(|release| release.field("Date"))
    }

    /// Refuses an index that is older than one accepted before.
    pub(crate) fn check(&self, release: &Release) -> Result<Age, ReleaseError> {
        match &self.newest {
            Some(newest) if release.date_secs + LAG_SECS < newest.date_secs => Err(ReleaseError::Older {
                date: or_unknown(release.field("Date")),
                accepted: or_unknown(newest.field("Date")),
            }),
            Some(newest) if release.date_secs <= newest.date_secs => Ok(Age::Known),
            _ => Ok(Age::Newer),
        }
    }

    /// Remembers a signed file, all or nothing.
    pub(crate) fn keep(&self, message: &[u8]) -> std::io::Result<()> {
        let dir = self.path.parent().unwrap_or(Path::new("."));
        fs_err::create_dir_all(dir)?;
        let mut file = tempfile::Builder::new().prefix(".index-").tempfile_in(dir)?;
        file.write_all(message)?;
        file.persist(&self.path).map_err(|error| error.error)?;
        Ok(())
    }

    /// Where it is kept, for messages.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

fn or_unknown(date: &str) -> String {
    if date.is_empty() { "at an unknown time".to_owned() } else { date.to_owned() }
}

fn read(path: &Path, keyring: &Keyring) -> Option<Release> {
    if fs_err::metadata(path).ok()?.len() > LIMIT_BYTES {
        return None;
    }
    let text = keyring.verify(&fs_err::read_to_string(path).ok()?).ok()?;
    Release::parse(&text).ok()
}
