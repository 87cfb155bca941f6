//! Which process is to be started: from the launcher's own name, or from the command line.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use hoist_spec::{ApiVersion, BuildMetadata, Process};

use crate::Places;
use crate::error::LaunchError;

/// The process to be started.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Choice {
    /// Its type, where it is one of the image's processes.
    pub(crate) kind: Option<String>,
    /// Executable, or a line for the shell.
    pub(crate) command: OsString,
    /// Arguments.
    pub(crate) args: Vec<OsString>,
    /// Whether it starts without a shell.
    pub(crate) direct: bool,
    /// Whether a buildpack declared it: then the shell takes its arguments as words to be expanded.
    pub(crate) from_buildpack: bool,
    /// Where it starts.
    pub(crate) working_dir: PathBuf,
}

impl Choice {
    /// "If the final path element in `$0` matches the type of any buildpack-provided process type", that process; else what the command
    /// line says, without a shell after `--`.
    pub(crate) fn new(
        places: &Places,
        metadata: &BuildMetadata,
        name: &Path,
        args: Vec<OsString>,
    ) -> Result<Self, LaunchError> {
        let called = name.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let known = || metadata.processes.iter().map(|process| process.kind.clone()).collect::<Vec<_>>();
        if let Some(process) = metadata.process(called) {
            if places.platform_api.at_least(15) && !process.supports_exec_env(&places.exec_env) {
                return Err(LaunchError::ExecEnv { wanted: called.to_owned(), exec_env: places.exec_env.clone() });
            }
            return Self::of_image(places, metadata, process, args);
        }
        if name.parent().is_some_and(|dir| dir.ends_with("cnb/process")) {
            return Err(LaunchError::UnknownProcess { wanted: called.to_owned(), known: known() });
        }
        let mut args = args;
        let direct = args.len() > 1 && args[0] == "--";
        if direct {
            args.remove(0);
        }
        if args.is_empty() {
            return Err(LaunchError::NoCommand { known: known() });
        }
        let command = args.remove(0);
        let working_dir = places.app_dir.clone();
        Ok(Self { kind: None, command, args, direct, from_buildpack: false, working_dir })
    }

    fn of_image(
        places: &Places,
        metadata: &BuildMetadata,
        process: &Process,
        user_args: Vec<OsString>,
    ) -> Result<Self, LaunchError> {
        let mut entries = process.command.entries().into_iter();
        let Some(command) = entries.next().filter(|command| !command.is_empty()) else {
            return Err(LaunchError::EmptyCommand { process: process.kind.clone() });
        };
        let fixed: Vec<String> = entries.collect();
        let buildpack = metadata.buildpacks.iter().find(|buildpack| buildpack.id == process.buildpack_id);
        let api = buildpack.map_or(ApiVersion::NEWEST_BUILDPACK, |buildpack| buildpack.api);
        // Before Platform API 0.10 arguments are never overridden, and before Buildpack API 0.9 neither.
        let overridable = places.platform_api.at_least(10) && (!fixed.is_empty() || api.at_least(9));
        let mut args: Vec<OsString> = fixed.into_iter().map(Into::into).collect();
        if user_args.is_empty() || !overridable {
            args.extend(process.args.iter().map(Into::into));
        }
        args.extend(user_args);
        let working_dir = process.working_dir.as_ref().filter(|dir| !dir.is_empty());
        Ok(Self {
            kind: Some(process.kind.clone()),
            command: command.into(),
            args,
            direct: process.direct,
            from_buildpack: true,
            working_dir: working_dir.map_or_else(|| places.app_dir.clone(), |dir| places.app_dir.join(dir)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const METADATA: &str = r#"
[[buildpacks]]
id = "new"
api = "0.10"
[[buildpacks]]
id = "old"
api = "0.8"
[[processes]]
type = "web"
command = ["serve", "--fixed"]
args = ["--free"]
direct = true
buildpack-id = "new"
[[processes]]
type = "plain"
command = ["serve"]
args = ["--free"]
direct = true
buildpack-id = "new"
working-dir = "/other"
[[processes]]
type = "legacy"
command = ["serve $PORT"]
args = ["--free"]
direct = false
buildpack-id = "old"
exec-env = ["test"]
"#;

    fn choose(api: u32, exec_env: &str, name: &str, args: &[&str]) -> Result<Choice, LaunchError> {
        let places = Places {
            app_dir: "/workspace".into(),
            layers_dir: "/layers".into(),
            exec_env: exec_env.into(),
            platform_api: ApiVersion::new(0, api),
        };
        let metadata = BuildMetadata::parse(METADATA).unwrap();
        Choice::new(&places, &metadata, Path::new(name), args.iter().map(Into::into).collect())
    }

    #[test]
    fn user_arguments_replace_args_but_never_the_rest_of_command() {
        let web = choose(15, "test", "/cnb/process/web", &[]).unwrap();
        assert_eq!(web.args, ["--fixed", "--free"]);
        let web = choose(15, "test", "/cnb/process/web", &["--mine"]).unwrap();
        assert_eq!(web.args, ["--fixed", "--mine"]);
        let plain = choose(15, "test", "plain", &["--mine"]).unwrap();
        assert_eq!((plain.args, plain.working_dir), (vec!["--mine".into()], "/other".into()));
    }

    #[test]
    fn user_arguments_are_appended_below_buildpack_api_0_9_and_platform_api_0_10() {
        assert_eq!(choose(15, "test", "legacy", &["--mine"]).unwrap().args, ["--free", "--mine"]);
        assert_eq!(choose(9, "test", "plain", &["--mine"]).unwrap().args, ["--free", "--mine"]);
    }

    #[test]
    fn a_process_of_another_execution_environment_must_fail() {
        let error = choose(15, "production", "/cnb/process/legacy", &[]).unwrap_err();
        assert!(matches!(error, LaunchError::ExecEnv { .. }));
        assert!(choose(14, "production", "/cnb/process/legacy", &[]).is_ok());
    }

    #[test]
    fn a_command_runs_in_a_shell_unless_it_follows_two_dashes() {
        let shell = choose(15, "test", "/cnb/lifecycle/launcher", &["echo", "a"]).unwrap();
        assert_eq!((shell.command, shell.direct), ("echo".into(), false));
        let direct = choose(15, "test", "/cnb/lifecycle/launcher", &["--", "echo", "a"]).unwrap();
        assert_eq!((direct.command, direct.args, direct.direct), ("echo".into(), vec!["a".into()], true));
    }

    #[test]
    fn an_unknown_process_lists_those_that_there_are() {
        let error = choose(15, "test", "/cnb/process/nope", &[]).unwrap_err();
        assert_eq!(error.exit_code(), 82);
        assert_eq!(
            error.report(),
            "launcher: there is no process `nope` in this image\nlauncher: it has: web, plain, legacy; or give a command"
        );
        let error = choose(15, "test", "/cnb/lifecycle/launcher", &[]).unwrap_err();
        assert!(error.report().contains("it has: web, plain, legacy"));
    }
}
