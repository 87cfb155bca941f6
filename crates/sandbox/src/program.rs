//! Finds the program to execute inside the root, as the user that runs it, and refuses what would execute hoist itself.
//!
//! Until the first exec, `/proc/self/exe` is the hoist binary of the host. An image whose program, or the interpreter in whose `#!` line, is
//! that link would run it inside and could then open it for writing (CVE-2019-5736). So neither may lead through a link of /proc. (As root
//! the binary is executed from a read-only mount besides, see [`crate::run()`].)

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::libc;
use nix::unistd::{AccessFlags, access};

use crate::spec::Spec;
use crate::sys;
use crate::wire::{Failure, Step};

/// How many scripts may interpret each other: the kernel's own limit.
const INTERPRETERS_MAX: usize = 5;
/// How much of a `#!` line the kernel reads.
const FIRST_LINE_MAX: u64 = 256;

/// The path to execute: as given if it has a slash, otherwise found in the `PATH` of the process. The working directory is entered.
pub(crate) fn resolve(spec: &Spec) -> Result<PathBuf, Failure> {
    let cwd = &spec.process.cwd;
    nix::unistd::chdir(cwd).map_err(|e| Failure::at(Step::WorkingDirectory, "", cwd)(e.into()))?;
    let command = spec.process.args.first().map(PathBuf::from).unwrap_or_default();
    let search =
        spec.process.env.iter().find(|(key, _)| key == "PATH").map(|(_, value)| value.clone()).unwrap_or_default();
    let missing =
        || Failure::at(Step::CommandNotFound, search.to_string_lossy(), &command)(io::ErrorKind::NotFound.into());
    if command.as_os_str().is_empty() {
        return Err(missing());
    }
    if command.as_os_str().as_bytes().contains(&b'/') {
        return if is_usable(&command)? { Ok(command) } else { Err(missing()) };
    }
    let mut refused = None;
    for directory in search.as_bytes().split(|byte| *byte == b':').filter(|directory| !directory.is_empty()) {
        let candidate = Path::new(OsStr::from_bytes(directory)).join(&command);
        match is_usable(&candidate) {
            Ok(true) => return Ok(candidate),
            Ok(false) => {}
            Err(failure) => refused = Some(failure),
        }
    }
    Err(refused.unwrap_or_else(missing))
}

/// Whether there is a program; an error if there is one that cannot be executed.
fn is_usable(path: &Path) -> Result<bool, Failure> {
    let refused = || Failure::at(Step::NotExecutable, "", path);
    match fs_err::metadata(path) {
        Err(_) => return Ok(false),
        Ok(metadata) if metadata.is_dir() => return Err(refused()(io::Error::from_raw_os_error(libc::EISDIR))),
        Ok(_) => {}
    }
    access(path, AccessFlags::X_OK).map_err(|errno| refused()(errno.into()))?;
    check_interpreters(path).map(|()| true).map_err(refused())
}

fn check_interpreters(path: &Path) -> io::Result<()> {
    let mut path = path.to_path_buf();
    for _ in 0..=INTERPRETERS_MAX {
        let file = match sys::open_without_magic(&path) {
            // What the interpreter of a script is missing for, exec says.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other?,
        };
        match interpreter(&file)? {
            Some(next) => path = next,
            None => return Ok(()),
        }
    }
    Err(io::Error::from_raw_os_error(libc::ELOOP))
}

/// The program in the `#!` line of a script.
fn interpreter(file: &File) -> io::Result<Option<PathBuf>> {
    let mut start = Vec::new();
    file.take(FIRST_LINE_MAX).read_to_end(&mut start)?;
    Ok(parse_interpreter(&start))
}

fn parse_interpreter(start: &[u8]) -> Option<PathBuf> {
    let line = start.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    let word = line.split(|byte| matches!(byte, b' ' | b'\t' | 0)).find(|word| !word.is_empty())?;
    Some(PathBuf::from(OsStr::from_bytes(word)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interpreter_is_the_first_word_after_the_mark() {
        assert_eq!(parse_interpreter(b"#! \t/bin/sh -e\nrest"), Some("/bin/sh".into()));
        assert_eq!(parse_interpreter(b"#!/proc/self/exe"), Some("/proc/self/exe".into()));
        assert_eq!(parse_interpreter(b"\x7fELF"), None);
        assert_eq!(parse_interpreter(b"#!\n/bin/sh"), None);
    }
}
