//! The other programs that this binary is: by the name that it is called by, so that an image needs no second binary.
//!
//! Two are `exec.d` programs (buildpack.md, "exec.d"): they answer variables as TOML on file descriptor 3. Where such a program is a link to the
//! launcher itself, the launcher does its work without starting it. `hoist/procfile` puts the links into images; the names stand there, too.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;
use std::process::ExitCode;

use hoist_spec::Environment;

use crate::certificates;
use crate::concurrency;
use crate::live_reload;

/// Where every image has the launcher.
const LAUNCHER: &str = "/cnb/lifecycle/launcher";
/// The file descriptor that the specification names.
const OUTPUT_FD: i32 = 3;

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Program {
    /// Sets `WEB_CONCURRENCY` by the limits of the container.
    WebConcurrency,
    /// Has the certificates of service bindings trusted.
    Certificates,
    /// Starts its arguments, and starts them anew when sources change.
    LiveReload,
}

impl Program {
    /// The one that goes by the last part of this name.
    pub(crate) fn called(name: &Path) -> Option<Self> {
        match name.file_name()?.to_str()? {
            "hoist-web-concurrency" => Some(Self::WebConcurrency),
            "hoist-certificates" => Some(Self::Certificates),
            "hoist-live-reload" => Some(Self::LiveReload),
            _ => None,
        }
    }

    /// The `exec.d` program that is a link to the launcher.
    pub(crate) fn linked(path: &Path) -> Option<Self> {
        let is_launcher = path.read_link().is_ok_and(|target| target == Path::new(LAUNCHER));
        Self::called(path).filter(|program| is_launcher && *program != Self::LiveReload)
    }

    /// The variables that it sets, where its work is that. What cannot be done is said on standard error, and starts the process all the same.
    pub(crate) fn variables(self, environment: &Environment) -> Vec<(&'static str, OsString)> {
        match self {
            Self::WebConcurrency => concurrency::variables(environment),
            Self::Certificates => certificates::variables(environment),
            Self::LiveReload => Vec::new(),
        }
    }

    /// Is this program, started as a process.
    pub(crate) fn run(self, arguments: &[OsString], environment: &Environment) -> ExitCode {
        if self == Self::LiveReload {
            return live_reload::run(arguments);
        }
        match answer(&self.variables(environment)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                say(&format!("writing variables to file descriptor {OUTPUT_FD}: {error}"));
                ExitCode::FAILURE
            }
        }
    }
}

/// A line for whoever reads the log of the container.
pub(crate) fn say(text: &str) {
    // Nothing can be done about a closed stderr.
    let _ = io::stderr().write_all(format!("hoist: {text}\n").as_bytes());
}

fn answer(variables: &[(&str, OsString)]) -> io::Result<()> {
    // SAFETY: asks about a number, whatever it is.
    if unsafe { libc::fcntl(OUTPUT_FD, libc::F_GETFD) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is open, was given to this process for this, and nothing else here knows of it.
    let mut file = std::fs::File::from(unsafe { OwnedFd::from_raw_fd(OUTPUT_FD) });
    debug_assert_eq!(file.as_raw_fd(), OUTPUT_FD);
    file.write_all(document(variables).as_bytes())
}

/// As TOML: names are bare keys, values basic strings. What is not Unicode cannot be said in it. (The writer of `toml` is larger than all else here.)
fn document(variables: &[(&str, OsString)]) -> String {
    let mut text = String::new();
    for (name, value) in variables {
        let Some(value) = value.to_str() else { continue };
        text.push_str(name);
        text.push_str(" = \"");
        for c in value.chars() {
            match c {
                '"' | '\\' => text.extend(['\\', c]),
                c if c.is_ascii_control() => {
                    let _ = write!(text, "\\u{:04X}", u32::from(c));
                }
                c => text.push(c),
            }
        }
        text.push_str("\"\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_link_to_the_launcher_is_done_without_a_process() {
        let dir = tempfile::tempdir().unwrap();
        let link = |name: &str, target: &str| {
            let path = dir.path().join(name);
            std::os::unix::fs::symlink(target, &path).unwrap();
            path
        };
        let linked = |name: &str, target: &str| Program::linked(&link(name, target));
        assert_eq!(linked("hoist-certificates", LAUNCHER), Some(Program::Certificates));
        assert_eq!(linked("other", LAUNCHER), None);
        assert_eq!(linked("hoist-web-concurrency", "/workspace/evil"), None);
        assert_eq!(linked("hoist-live-reload", LAUNCHER), None);
        assert_eq!(
            Program::called(Path::new("/layers/x/web/exec.d/web/hoist-web-concurrency")),
            Some(Program::WebConcurrency)
        );
        assert_eq!(Program::called(Path::new("/cnb/process/web")), None);
    }

    #[test]
    fn variables_are_a_document_whatever_their_values_hold() {
        let text = document(&[("A", "1".into()), ("B", "a\"b\\c\nd\u{7f}é".into())]);
        let table: toml::Table = text.parse().unwrap();
        assert_eq!((table["A"].as_str(), table["B"].as_str()), (Some("1"), Some("a\"b\\c\nd\u{7f}é")));
    }
}
