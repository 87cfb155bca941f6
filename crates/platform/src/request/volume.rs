//! A folder or file of the host that is shown inside.

use std::path::PathBuf;
use std::str::FromStr;

/// A folder or file of the host that a run sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// On the host.
    pub source: PathBuf,
    /// Absolute path inside.
    pub target: PathBuf,
    /// Whether the run may not write there.
    pub read_only: bool,
}

impl FromStr for Volume {
    type Err = String;

    /// `HOST:CONTAINER[:ro|:rw]`.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| format!("{text:?} is no volume: {why}; write HOST:CONTAINER or HOST:CONTAINER:ro");
        let mut parts = text.split(':');
        let (Some(source), Some(target)) = (parts.next(), parts.next()) else { return Err(wrong("a : is missing")) };
        let read_only = match parts.next() {
            None | Some("rw") => false,
            Some("ro") => true,
            Some(other) => return Err(wrong(&format!("{other:?} is neither ro nor rw"))),
        };
        if parts.next().is_some() {
            return Err(wrong("it has too many parts"));
        }
        if !target.starts_with('/') || target.split('/').any(|part| part == "..") || target.trim_matches('/').is_empty()
        {
            return Err(wrong("the place inside must be an absolute path below /"));
        }
        Ok(Self { source: PathBuf::from(source), target: PathBuf::from(target), read_only })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_is_two_paths_and_a_mode() {
        let volume: Volume = "./data:/data:ro".parse().unwrap();
        assert_eq!(volume, Volume { source: "./data".into(), target: "/data".into(), read_only: true });
        assert!("/a:/b".parse::<Volume>().is_ok_and(|volume| !volume.read_only));
        for wrong in ["/a", "/a:b", "/a:/", "/a:/b/../c", "/a:/b:rx", "/a:/b:ro:x"] {
            let error = wrong.parse::<Volume>().unwrap_err();
            assert!(error.contains("write HOST:CONTAINER"), "{wrong}: {error}");
        }
    }
}
