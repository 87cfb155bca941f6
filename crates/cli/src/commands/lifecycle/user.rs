//! As whom a phase works. Platforms start the phases that need a daemon or credentials as root, and name the build image's user.
//!
//! ```text
//! with -daemon     the process stays root, and lowers its rights on the file system to that user's (setfsuid): it opens the daemon's
//!                  socket with root's rights again, as it needs one connection for each request. Buildpacks (creator) become the user
//!                  for good, and cannot look into a process of root's.
//! without          the process becomes the user for good.
//! ```

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use nix::unistd::{Gid, Uid};

use super::flags::Flags;
use super::{GENERAL, INVALID_ARGUMENTS, Phase};
use crate::failure::Failure;

/// `<uid>` and `<gid>`; those of this process where they are not given.
pub(super) fn wanted(flags: &Flags) -> Result<(u32, u32), Failure> {
    let number = |flag: &str, own: u32| match flags.text(flag) {
        None => Ok(own),
        Some(text) => text.parse::<u32>().map_err(|_| {
            let problem = format!("`{text}` is not a number for -{flag}");
            Failure::coded(problem, "give the build image's user", INVALID_ARGUMENTS)
        }),
    };
    Ok((number("uid", nix::unistd::geteuid().as_raw())?, number("gid", nix::unistd::getegid().as_raw())?))
}

/// A phase that was started as root gives `dirs` to the build image's user and goes on with that user's rights. Answers whom buildpacks must
/// become, where that is not yet the user of this process.
pub(super) fn become_user(
    phase: Phase,
    (uid, gid): (u32, u32),
    daemon: bool,
    dirs: &[&Path],
) -> Result<Option<(u32, u32)>, Failure> {
    if !nix::unistd::geteuid().is_root() {
        return Ok(None);
    }
    if uid == 0 {
        if phase.runs_buildpacks() {
            let text = "this phase runs the code of buildpacks, and refuses to do so as root";
            return Err(Failure::coded(text, "name the build image's user: -uid and -gid", GENERAL));
        }
        return Ok(None);
    }
    for dir in dirs {
        give(dir, uid, gid).map_err(|error| Failure::new(&error, None, GENERAL))?;
    }
    let failed = |error: nix::Error| {
        Failure::coded(format!("becoming user {uid}:{gid}: {error}"), "run the phase as that user", GENERAL)
    };
    nix::unistd::setgroups(&[Gid::from_raw(gid)]).map_err(failed)?;
    if daemon {
        // Threads that are started from here on have these rights, too.
        nix::unistd::setfsgid(Gid::from_raw(gid));
        nix::unistd::setfsuid(Uid::from_raw(uid));
        // These calls tell nothing of a failure; one with an id that nobody has answers which is in force.
        let in_force = (nix::unistd::setfsuid(Uid::from_raw(u32::MAX)), nix::unistd::setfsgid(Gid::from_raw(u32::MAX)));
        if in_force != (Uid::from_raw(uid), Gid::from_raw(gid)) {
            return Err(failed(nix::Error::EPERM));
        }
        return Ok(Some((uid, gid)));
    }
    nix::unistd::setgid(Gid::from_raw(gid)).and_then(|()| nix::unistd::setuid(Uid::from_raw(uid))).map_err(failed)?;
    Ok(None)
}

/// Does something with the rights on the file system that this process was started with.
pub(super) fn as_started(work: &mut dyn FnMut()) {
    let own = nix::unistd::setfsuid(nix::unistd::geteuid());
    work();
    nix::unistd::setfsuid(own);
}

/// Processes of the same user cannot look into this one: its environment may hold credentials, and it is connected to a daemon.
pub(super) fn hide() -> Result<(), Failure> {
    nix::sys::prctl::set_dumpable(false).map_err(|error| Failure::new(&error, None, GENERAL))
}

/// An entry of `/etc/passwd`.
pub(super) struct Account {
    pub(super) name: OsString,
    pub(super) home_dir: PathBuf,
}

/// The account of a user, if the container has one. Read by hand: a static program does not load the C library's modules.
pub(super) fn account(uid: u32) -> Option<Account> {
    parse_account(&fs_err::read_to_string("/etc/passwd").ok()?, uid)
}

fn parse_account(text: &str, uid: u32) -> Option<Account> {
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then_some(())?;
        Some(Account { name: name.into(), home_dir: fields.nth(2).filter(|dir| !dir.is_empty())?.into() })
    })
}

/// Changes the owner of a directory and everything in it, unless the directory is the user's already. Links are changed, not followed.
fn give(dir: &Path, uid: u32, gid: u32) -> std::io::Result<()> {
    use std::os::unix::fs::MetadataExt;
    let there = match fs_err::symlink_metadata(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    if there.uid() == uid && there.gid() == gid {
        return Ok(());
    }
    let mut waiting: Vec<OsString> = vec![dir.as_os_str().to_owned()];
    while let Some(path) = waiting.pop() {
        std::os::unix::fs::lchown(&path, Some(uid), Some(gid))?;
        if fs_err::symlink_metadata(PathBuf::from(&path))?.is_dir() {
            for entry in fs_err::read_dir(PathBuf::from(&path))? {
                waiting.push(entry?.path().into_os_string());
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_s_home_is_that_of_etc_passwd() {
        let text = "root:x:0:0:root:/root:/bin/sh\ncnb:x:1001:1000::/home/cnb:/bin/sh\nbad line\nnone:x:7:7:::\n";
        let account = parse_account(text, 1001).unwrap();
        assert_eq!((account.name, account.home_dir), ("cnb".into(), "/home/cnb".into()));
        assert!(parse_account(text, 7).is_none());
        assert!(parse_account(text, 8).is_none());
    }
}
