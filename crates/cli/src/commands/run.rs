//! `hoist run`: starts a process of an image.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use fs_err as fs;
use hoist_platform::{PullPolicy, RunInput, RunNetwork, RunRequest, Volume};
use hoist_sandbox::{Limits, Protocol, Publish};
use hoist_service::InputArgument;
use thiserror::Error;

use crate::attach::Attached;
use crate::context::Context;
use crate::engine;
use crate::failure::{Code, Failure};
use crate::registry::{RegistryFlags, apply_policy};
use crate::settings::Key;

const EXAMPLES: &str = "\
Examples:
  hoist run -p 8080:8080 shop                               the web process, on http://localhost:8080
  hoist run --process worker shop                           another process type of the image
  hoist run --entrypoint launcher shop python -V            any command, in the app's environment
  hoist run --memory 1G -v ./data:/data:ro shop -- --fast   with a limit, a folder, and --fast as its argument";

/// Start a process of an image
///
/// Options stand before or after the image; the first word behind it that is none begins the arguments, which are passed on as they are.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, after_long_help = EXAMPLES)]
pub(crate) struct RunArgs {
    /// Name or id of the image
    image: String,
    /// Process type to start, in place of the image's default (`hoist image inspect` lists them)
    #[arg(long, value_name = "TYPE")]
    process: Option<String>,
    /// Program to start in place of the image's entry point; `launcher` sets up a built app's environment for any command
    #[arg(long, value_name = "PROGRAM", conflicts_with = "process")]
    entrypoint: Option<String>,
    #[command(flatten)]
    how: RunOptions,
    /// Folder or file of the host to show inside; a missing one is an error, nothing is made on the host
    #[arg(short, long = "volume", value_name = "HOST:CONTAINER[:ro]")]
    volumes: Vec<Volume>,
    /// Port of this machine that leads to a port inside; on localhost alone where no IP is given
    #[arg(short, long = "publish", value_name = "[IP:]HOST:CONTAINER[/udp]")]
    publish: Vec<PublishArg>,
    /// Let the process read what is typed; input from a pipe or file it reads in any case
    #[arg(short, long, conflicts_with_all = ["data", "params"])]
    interactive: bool,
    /// Give the process a terminal; with -i, yours is joined to it
    #[arg(short, long)]
    tty: bool,
    /// Name of this run; two runs of one name cannot be at once
    #[arg(long)]
    name: Option<String>,
    /// data of a service: a file, JSON, or - for standard input
    #[arg(long, value_name = "FILE|JSON|-")]
    data: Option<String>,
    /// params of a service: a file, JSON, or - for standard input
    #[arg(long, value_name = "FILE|JSON|-")]
    params: Option<String>,
    /// When an image with a registry in its name is fetched from there: always, if-not-present or never
    #[arg(long, value_name = "POLICY")]
    pull_policy: Option<PullPolicy>,
    #[command(flatten)]
    registry: RegistryFlags,
    /// Arguments of the process, in place of its own; after -- where the first begins with a -
    #[arg(trailing_var_arg = true, value_name = "ARGS")]
    args: Vec<OsString>,
}

/// The options that `run` and `job run` share.
#[derive(Debug, Args)]
pub(crate) struct RunOptions {
    /// Most memory it may use: 512M, 2G
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub(crate) memory: Option<u64>,
    /// Most processor time it may use: 0.5, 2
    #[arg(long, value_name = "NUMBER", value_parser = parse_cpus)]
    pub(crate) cpus: Option<f64>,
    /// Most processes and threads at once
    #[arg(long, value_name = "NUMBER")]
    pub(crate) pids: Option<u64>,
    /// Longest time it may take: 90, 90s, 5m, 1h
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) timeout: Option<Duration>,
    /// Network: private (its own, with published ports and a way out), host or none
    #[arg(long, value_name = "NETWORK")]
    pub(crate) network: Option<RunNetwork>,
    /// Variable of the process, NAME=VALUE, or NAME to take it from here
    #[arg(short, long = "env", value_name = "NAME[=VALUE]")]
    pub(crate) env: Vec<String>,
    /// File with a variable in each line
    #[arg(long, value_name = "FILE")]
    pub(crate) env_file: Vec<PathBuf>,
}

impl RunOptions {
    pub(crate) fn limits(&self) -> Limits {
        Limits {
            memory_bytes: self.memory,
            cpus: self.cpus,
            pids: self.pids,
            timeout: self.timeout,
            output_bytes: None,
        }
    }

    pub(crate) fn network(&self, context: &Context) -> Result<Option<RunNetwork>, Failure> {
        match (self.network, context.settings.get(Key::RunNetwork)) {
            (Some(network), _) => Ok(Some(network)),
            (None, Some(name)) => {
                name.parse().map(Some).map_err(|reason: String| Failure::usage(reason, "hoist config list"))
            }
            (None, None) => Ok(None),
        }
    }
}

impl RunArgs {
    pub(crate) fn run(self, context: &Context) -> Result<(), Failure> {
        apply_policy(context, self.pull_policy);
        self.registry.apply(context)?;
        let attached = self.tty.then(|| Attached::open(self.interactive)).transpose()?;
        let mut env = read_env_files(&self.how.env_file, &self.how.env, Unset::LeftOut)?;
        if attached.is_some() && !env.iter().any(|(name, _)| name == "TERM") {
            env.push(("TERM".to_owned(), engine::variable("TERM").unwrap_or_else(|| "xterm".to_owned())));
        }
        let request = RunRequest {
            image: self.image,
            process: self.process,
            entrypoint: self.entrypoint,
            args: self.args,
            env,
            volumes: self.volumes,
            publish: self.publish.iter().map(|publish| publish.0).collect(),
            name: self.name,
            limits: self.how.limits(),
            network: self.how.network(context)?,
            // A terminal is read only where that was asked for: a service in the background must not take what is typed to the shell.
            stdin: self.interactive || !std::io::stdin().is_terminal(),
            terminal: attached.as_ref().map(Attached::size),
            input: RunInput {
                data: self.data.as_deref().map(InputArgument::parse),
                params: self.params.as_deref().map(InputArgument::parse),
            },
        };
        let engine = engine::open(context)?;
        engine.bring_app(&request.image)?;
        let exit = engine.run(&request, &mut engine::PassThrough::new(context, attached))?;
        engine::exit_as(context, &exit)
    }
}

#[derive(Debug, Error)]
#[error("cannot read the variables in {path}")]
struct EnvFileError {
    path: PathBuf,
    source: std::io::Error,
}

/// What becomes of `NAME` alone where hoist's own environment has no such variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unset {
    /// It is empty: variables of a build, as pack has them.
    Empty,
    /// It is left out: variables of a process, as docker has them.
    LeftOut,
}

/// The variables of all files, then those given one by one, which win. `NAME` alone takes the value from hoist's own environment.
pub(crate) fn read_env_files(
    files: &[PathBuf],
    single: &[String],
    unset: Unset,
) -> Result<Vec<(String, String)>, Failure> {
    let mut variables = Vec::new();
    for path in files {
        let text = fs::read_to_string(path).map_err(|source| {
            let hint = "name a text file with a line NAME=VALUE for each variable: --env-file FILE".to_owned();
            Failure::new(&EnvFileError { path: path.clone(), source }, Some(hint), Code::Usage)
        })?;
        for (number, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
            let line = line.trim();
            if !line.is_empty() && !line.starts_with('#') {
                let place = format!("{}:{}", path.display(), number + 1);
                variables.extend(variable(line, &place, unset)?);
            }
        }
    }
    for text in single {
        variables.extend(variable(text, "--env", unset)?);
    }
    Ok(variables)
}

fn variable(text: &str, place: &str, unset: Unset) -> Result<Option<(String, String)>, Failure> {
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (text, engine::variable(text)),
    };
    let valid = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
    if !valid {
        return Err(Failure::usage(
            format!("{place}: {name:?} is no name of a variable: letters, digits and _ make one"),
            "write NAME=VALUE",
        ));
    }
    let value = value.or_else(|| (unset == Unset::Empty).then(String::new));
    Ok(value.map(|value| (name.to_owned(), value)))
}

/// `512M`, `2G`, `2GiB`, `1000000`; powers of 1024, as docker reads them.
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is no size: write 512M or 2G");
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = text[digits.len()..].to_ascii_lowercase();
    let shift = match unit.trim_end_matches('b').trim_end_matches('i') {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return Err(wrong()),
    };
    let value: f64 = digits.parse().map_err(|_| wrong())?;
    let bytes = value * f64::from(1_u32 << (shift % 40)) * if shift == 40 { 1_099_511_627_776.0 } else { 1.0 };
    if !(1.0..1e18).contains(&bytes) {
        return Err(wrong());
    }
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // between 1 and 1e18
    Ok(bytes as u64)
}

fn parse_cpus(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|cpus| (0.01..=4096.0).contains(cpus))
        .ok_or_else(|| format!("{text:?} is no number of processors: write 0.5 or 2"))
}

/// `90`, `90s`, `5m`, `1h`.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match &text[digits.len()..] {
        "" | "s" => 1.0,
        "ms" => 0.001,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        _ => f64::NAN,
    };
    let seconds = digits.parse::<f64>().unwrap_or(f64::NAN) * factor;
    if (0.001..=31_536_000.0).contains(&seconds) {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        Err(format!("{text:?} is no time: write 90, 90s, 5m or 1h"))
    }
}

/// `-p`, as docker writes it.
#[derive(Debug, Clone)]
struct PublishArg(Publish);

impl FromStr for PublishArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no published port: write 8080:8080, 0.0.0.0:8080:8080 or 5353:53/udp");
        let (text, protocol) = match text.strip_suffix("/udp") {
            Some(rest) => (rest, Protocol::Udp),
            None => (text.strip_suffix("/tcp").unwrap_or(text), Protocol::Tcp),
        };
        let (rest, container) = text.rsplit_once(':').ok_or_else(wrong)?;
        let (ip, host) = match rest.rsplit_once(':') {
            Some((ip, host)) => (ip.trim_matches(['[', ']']).parse().map_err(|_| wrong())?, host),
            // Unlike docker, and on purpose: what runs on a laptop is not offered to its whole network.
            None => (IpAddr::V4(Ipv4Addr::LOCALHOST), rest),
        };
        let container_port = container.parse().ok().filter(|port| *port != 0).ok_or_else(wrong)?;
        let host_port = host.parse().map_err(|_| wrong())?;
        Ok(Self(Publish { protocol, host_ip: ip, host_port, container_port }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_times_and_ports_read_as_people_write_them() {
        assert_eq!(parse_size("512M").unwrap(), 512 << 20);
        assert_eq!(parse_size("1.5GiB").unwrap(), 3 << 29);
        assert_eq!(parse_size("1T").unwrap(), 1 << 40);
        assert_eq!(parse_size("lots").unwrap_err(), "\"lots\" is no size: write 512M or 2G");
        assert_eq!(parse_duration("5m").unwrap(), Duration::from_mins(5));
        assert!(parse_duration("5 minutes").is_err());
        let publish: PublishArg = "0.0.0.0:80:8080".parse().unwrap();
        assert_eq!((publish.0.host_port, publish.0.container_port), (80, 8080));
        assert_eq!("8080:8080".parse::<PublishArg>().unwrap().0.host_ip, IpAddr::V4(Ipv4Addr::LOCALHOST));
        let publish: PublishArg = "0:53/udp".parse().unwrap();
        assert_eq!((publish.0.protocol, publish.0.container_port), (Protocol::Udp, 53));
        assert_eq!("80:80/tcp".parse::<PublishArg>().unwrap().0.protocol, Protocol::Tcp);
        for wrong in ["8080", "80:0", "80:80/sctp", "x:80/udp"] {
            assert!(wrong.parse::<PublishArg>().unwrap_err().ends_with("or 5353:53/udp"), "{wrong}");
        }
    }

    #[test]
    fn a_variable_without_a_name_is_refused_with_its_place() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("env");
        fs::write(&path, "# comment\nA=1\n=2\n").unwrap();
        let failure = read_env_files(std::slice::from_ref(&path), &[], Unset::Empty).unwrap_err();
        assert!(
            failure.text(false).contains(&format!("{}:3: \"\" is no name", path.display())),
            "{}",
            failure.text(false)
        );
        fs::write(&path, "A=1\n").unwrap();
        assert_eq!(read_env_files(&[path], &["A=2".into()], Unset::Empty).unwrap().last().unwrap().1, "2");
    }

    #[test]
    fn a_name_alone_is_empty_for_a_build_and_left_out_for_a_process() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("env");
        fs::write(&path, "\u{feff}# a comment\r\n  A= \nHOIST_NO_SUCH_VARIABLE\nB=\"1\" # 2\n").unwrap();
        let read = |unset| {
            let all = read_env_files(std::slice::from_ref(&path), &["HOIST_NONE_EITHER".into()], unset).unwrap();
            all.into_iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>()
        };
        assert_eq!(read(Unset::Empty), ["A=", "HOIST_NO_SUCH_VARIABLE=", "B=\"1\" # 2", "HOIST_NONE_EITHER="]);
        assert_eq!(read(Unset::LeftOut), ["A=", "B=\"1\" # 2"]);
    }
}
