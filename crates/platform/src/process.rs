//! What process an image's configuration means: command, variables, folder and user, as the OCI image specification has them.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use fs_err as fs;
use hoist_image::Image;
use hoist_sandbox::{Process, User};

use crate::error::PlatformError;

/// Where OCI runtimes look for programs when the image does not say.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Accounts files are small; a larger one is not read.
const MAX_PASSWD_BYTES: u64 = 1 << 20;

/// What the caller wants different from the image.
#[derive(Debug, Default)]
pub(crate) struct Overrides<'a> {
    /// A process type of a buildpacks image.
    pub(crate) process: Option<&'a str>,
    /// A program in place of the entry point.
    pub(crate) entrypoint: Option<&'a str>,
    /// Arguments in place of the image's own.
    pub(crate) args: &'a [OsString],
    /// Variables; later ones win.
    pub(crate) env: &'a [(String, String)],
}

/// The process of an image, with overrides.
pub(crate) fn process_of(image: &Image, overrides: &Overrides<'_>) -> Result<Process, PlatformError> {
    let config = image.config().config().clone().unwrap_or_default();
    let mut args: Vec<OsString> = match (overrides.entrypoint, overrides.process) {
        (Some(program), _) => vec![program.into()],
        (None, Some(process)) => vec![process_program(image, process)?.into_os_string()],
        (None, None) => config.entrypoint().iter().flatten().map(OsString::from).collect(),
    };
    if !overrides.args.is_empty() {
        if starts_words(&args, overrides.args) {
            args.push("--".into());
        }
        args.extend(overrides.args.iter().cloned());
    } else if overrides.entrypoint.is_none() && overrides.process.is_none() {
        args.extend(config.cmd().iter().flatten().map(OsString::from));
    }
    if args.is_empty() {
        return Err(PlatformError::NothingToRun);
    }
    let account = account(image, config.user().as_deref().unwrap_or_default())?;
    let mut process = Process::new(args, account.user);
    process.cwd = match config.working_dir().as_deref() {
        None | Some("") => PathBuf::from("/"),
        Some(dir) => PathBuf::from(dir),
    };
    process.env = environment(config.env().as_deref().unwrap_or_default(), &account, overrides.env);
    Ok(process)
}

/// Whether the launcher is given a program and its arguments. Without `--` it takes the first word alone for a line of the shell and loses the
/// others, which nobody means; a line with spaces stays one.
fn starts_words(program: &[OsString], args: &[OsString]) -> bool {
    let is_launcher = |path: &OsString| path == "launcher" || path == "/cnb/lifecycle/launcher";
    let is_word = |text: &OsString| text != "--" && !text.to_string_lossy().contains(char::is_whitespace);
    matches!(program, [one] if is_launcher(one)) && args.len() > 1 && is_word(&args[0])
}

fn environment(image: &[String], account: &Account, wanted: &[(String, String)]) -> Vec<(OsString, OsString)> {
    let mut env: Vec<(String, String)> =
        vec![("PATH".into(), DEFAULT_PATH.into()), ("HOME".into(), account.home.clone())];
    let own = image.iter().filter_map(|pair| pair.split_once('=')).map(|(name, value)| (name.into(), value.into()));
    for (name, value) in own.chain(wanted.iter().cloned()) {
        env.retain(|(known, _)| *known != name);
        env.push((name, value));
    }
    env.into_iter().map(|(name, value)| (name.into(), value.into())).collect()
}

/// `/cnb/process/<type>`, which the lifecycle puts into the image for each process.
fn process_program(image: &Image, process: &str) -> Result<PathBuf, PlatformError> {
    let folder = Path::new("cnb/process");
    let mut known: Vec<String> = Vec::new();
    for dir in image.lower_dirs()? {
        let Ok(entries) = fs::read_dir(dir.join(folder)) else { continue };
        known.extend(entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()));
    }
    known.sort();
    known.dedup();
    if known.iter().any(|name| name == process) {
        return Ok(Path::new("/").join(folder).join(process));
    }
    let known = if known.is_empty() { "none at all".to_owned() } else { known.join(", ") };
    Err(PlatformError::NoSuchProcess { process: process.to_owned(), known })
}

#[derive(Debug, PartialEq, Eq)]
struct Account {
    user: User,
    home: String,
}

/// `user`, `uid`, `user:group` or `uid:gid`; names are looked up in the image's own files.
fn account(image: &Image, text: &str) -> Result<Account, PlatformError> {
    let (user, group) = match text.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (text, None),
    };
    let passwd = read_topmost(image, "etc/passwd")?;
    let groups = read_topmost(image, "etc/group")?;
    resolve_account(user, group, &passwd, &groups).ok_or_else(|| PlatformError::UnknownUser { user: text.to_owned() })
}

fn resolve_account(user: &str, group: Option<&str>, passwd: &str, groups: &str) -> Option<Account> {
    let user = if user.is_empty() { "0" } else { user };
    let line = passwd
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|fields| fields.len() >= 6 && (fields[0] == user || fields[2] == user));
    let uid = match &line {
        Some(fields) => fields[2].parse().ok()?,
        None => user.parse().ok()?,
    };
    let gid = match group {
        Some(group) => groups
            .lines()
            .map(|line| line.split(':').collect::<Vec<_>>())
            .find(|fields| fields.len() >= 3 && fields[0] == group)
            .and_then(|fields| fields[2].parse().ok())
            .or_else(|| group.parse().ok())?,
        None => line.as_ref().and_then(|fields| fields[3].parse().ok()).unwrap_or(0),
    };
    let home =
        line.map(|fields| fields[5].to_owned()).filter(|home| home.starts_with('/')).unwrap_or_else(|| "/".into());
    Some(Account { user: User { uid, gid }, home })
}

/// The uppermost layer's regular file of that name; never a link, which could lead anywhere on the host.
fn read_topmost(image: &Image, path: &str) -> Result<String, PlatformError> {
    for dir in image.lower_dirs()? {
        let file = dir.join(path);
        let parent_is_real = fs::symlink_metadata(dir.join("etc")).is_ok_and(|about| about.is_dir());
        if parent_is_real
            && let Ok(about) = fs::symlink_metadata(&file)
            && about.is_file()
            && about.len() <= MAX_PASSWD_BYTES
        {
            let bytes =
                fs::read(&file).map_err(|source| PlatformError::scratch("read the image's accounts", source))?;
            return Ok(String::from_utf8_lossy(&bytes).into_owned());
        }
    }
    Ok(String::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\ncnb:x:1002:1000::/home/cnb:/bin/sh\nbroken\n";
    const GROUP: &str = "root:x:0:\ncnb:x:1000:\nvideo:x:44:cnb\n";

    fn resolved(user: &str, group: Option<&str>) -> Option<(u32, u32, String)> {
        resolve_account(user, group, PASSWD, GROUP).map(|account| (account.user.uid, account.user.gid, account.home))
    }

    #[test]
    fn a_user_is_a_name_or_a_number_with_or_without_a_group() {
        assert_eq!(resolved("", None), Some((0, 0, "/root".into())));
        assert_eq!(resolved("cnb", None), Some((1002, 1000, "/home/cnb".into())));
        assert_eq!(resolved("1002", Some("1000")), Some((1002, 1000, "/home/cnb".into())));
        assert_eq!(resolved("cnb", Some("video")), Some((1002, 44, "/home/cnb".into())));
        assert_eq!(resolved("77", None), Some((77, 0, "/".into())));
        assert_eq!(resolved("nobody", None), None);
    }

    #[test]
    fn words_for_the_launcher_are_a_program_and_its_arguments() {
        let words = |text: &[&str]| text.iter().map(OsString::from).collect::<Vec<_>>();
        let launcher = words(&["/cnb/lifecycle/launcher"]);
        assert!(starts_words(&launcher, &words(&["python", "main.py"])));
        for line in [&["env"][..], &["--", "python", "main.py"], &["echo $0 $1", "a", "b"]] {
            assert!(!starts_words(&launcher, &words(line)), "{line:?}");
        }
        assert!(!starts_words(&words(&["/cnb/process/web"]), &words(&["--port", "80"])));
    }

    #[test]
    fn the_callers_variables_win_over_the_images() {
        let account = Account { user: User { uid: 1, gid: 1 }, home: "/home/cnb".into() };
        let env = environment(&["PATH=/x".into(), "A=1".into()], &account, &[("A".into(), "2".into())]);
        assert_eq!(env, [("HOME", "/home/cnb"), ("PATH", "/x"), ("A", "2")].map(|(a, b)| (a.into(), b.into())));
    }
}
