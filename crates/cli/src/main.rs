//! The hoist binary: arguments, wiring, terminal.
//!
//! One file for each command below `commands/`. What a command does is in the libraries; what it prints and which code it ends with
//! is here.

mod attach;
mod commands;
mod context;
mod engine;
mod failure;
mod interrupt;
mod registry;
mod settings;
mod terminal;
mod yaml;

use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{CommandFactory, Parser, Subcommand, ValueEnum};
use hoist_events::Reporter;
use hoist_sandbox::Cancel;
use serde_json::json;

use crate::context::Context;
use crate::failure::Failure;
use crate::settings::{Key, Settings};
use crate::terminal::{JsonLines, Terminal, Verbosity};

/// Where help shows what every command takes.
const GLOBAL: &str = "Options of every command";

const EXAMPLES: &str = "\
Examples:
  hoist init my-service && hoist job run my-service   a new service, and its result
  hoist build shop --path my-web-app                  an image of any Python app
  hoist run -p 8080:8080 shop                         run it";

/// Turns a folder of Python into an OCI image and runs it: no Docker, no root, no Dockerfile
#[derive(Debug, Parser)]
#[command(name = "hoist", version, max_term_width = 110, disable_help_subcommand = true, after_help = EXAMPLES)]
#[allow(clippy::struct_excessive_bools)] // flags are independent of each other
pub(crate) struct Cli {
    /// Answer in JSON
    #[arg(long, global = true, help_heading = GLOBAL, display_order = 901)]
    json: bool,
    /// How progress is told on stderr
    #[arg(long, global = true, help_heading = GLOBAL, display_order = 902, value_enum, default_value = "text")]
    events: EventFormat,
    /// Say only what went wrong
    #[arg(short, long, global = true, help_heading = GLOBAL, display_order = 903, conflicts_with = "verbose")]
    quiet: bool,
    /// Say every phase, layer and decision; also -v, but for `run`, where that is a volume
    #[arg(long, global = true, help_heading = GLOBAL, display_order = 904)]
    verbose: bool,
    /// Never use colours
    #[arg(long, global = true, help_heading = GLOBAL, display_order = 905)]
    no_color: bool,
    /// Use colours also where no terminal is
    #[arg(long, global = true, help_heading = GLOBAL, display_order = 905)]
    force_color: bool,
    /// Begin each line of progress with the time (UTC)
    #[arg(long, global = true, help_heading = GLOBAL, display_order = 905)]
    timestamps: bool,
    /// Folder of layers, images and caches
    #[arg(long, global = true, help_heading = GLOBAL, display_order = 906, value_name = "DIR")]
    store: Option<PathBuf>,
    /// Debian mirror for bases and interpreters, in place of the machine's
    #[arg(long, global = true, help_heading = GLOBAL, display_order = 907, value_name = "URL")]
    mirror: Option<String>,
    /// Debian suite of the base
    #[arg(long, global = true, help_heading = GLOBAL, display_order = 908, value_name = "NAME")]
    suite: Option<String>,
    /// Keyring to verify Debian's indexes with
    #[arg(long, global = true, help_heading = GLOBAL, display_order = 909, value_name = "FILE")]
    keyring: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

/// How progress is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum EventFormat {
    /// Lines for a person, bars on a terminal
    Text,
    /// One JSON object a line
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    Init(commands::init::InitArgs),
    Check(commands::check::CheckArgs),
    Plan(Box<commands::plan::PlanArgs>),
    Build(Box<commands::build::BuildArgs>),
    Bundle(Box<commands::bundle::BundleArgs>),
    Run(commands::run::RunArgs),
    Job(commands::job::JobArgs),
    Image(commands::image::ImageArgs),
    #[command(alias = "inspect-image")]
    Inspect(commands::inspect::InspectArgs),
    Rebase(commands::rebase::RebaseArgs),
    Sbom(commands::sbom::SbomArgs),
    Builder(commands::builder::BuilderArgs),
    Buildpack(commands::buildpack::BuildpackArgs),
    Extension(commands::extension::ExtensionArgs),
    Base(commands::base::BaseArgs),
    Lifecycle(commands::lifecycle::LifecycleArgs),
    System(commands::system::SystemArgs),
    Config(commands::config::ConfigArgs),
    Completion(commands::completion::CompletionArgs),
    /// Print the version, as --version does without the name
    #[command(hide = true)]
    Version,
}

impl Command {
    /// Whether the command hears of Ctrl-C and then removes what it began. The others end at once: what they leave is nothing, or in the store,
    /// where prune finds it.
    fn cleans_up(&self) -> bool {
        if let Self::Image(args) = self {
            return args.cleans_up();
        }
        !matches!(
            self,
            Self::Init(_)
                | Self::Inspect(_)
                | Self::Sbom(_)
                | Self::Base(_)
                | Self::System(_)
                | Self::Config(_)
                | Self::Completion(_)
                | Self::Version
        )
    }
}

fn main() -> ExitCode {
    // Both leave here when the process is one of hoist's own helpers: the sandbox's child, or a buildpack inside the sandbox.
    hoist_sandbox::main_if_child();
    hoist_buildpacks::main_if_buildpack();
    // In a builder image hoist is also the lifecycle.
    if let Some(code) = commands::lifecycle::main_if_phase() {
        return code;
    }
    // What hoist makes for the sandbox is read there by another user, whatever the caller's umask is.
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
    let args = with_verbose(std::env::args_os().collect());
    let cli = match Cli::try_parse_from(&args) {
        Ok(cli) => cli,
        Err(error) => return refuse_arguments(&error, &args),
    };
    let plain = cli.no_color || engine::variable("NO_COLOR").is_some_and(|value| !value.is_empty());
    let color = cli.force_color || (!plain && std::io::stderr().is_terminal());
    let json = cli.json;
    match run(cli, color) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if json && !failure.is_silent() {
                let _ = writeln!(std::io::stdout().lock(), "{:#}", failure.json());
            }
            let _ = write!(std::io::stderr().lock(), "{}", failure.text(color));
            ExitCode::from(failure.exit_code())
        }
    }
}

/// `-v` is pack's `--verbose`, except where a command has a `-v` of its own. What stands behind `--` is not hoist's.
fn with_verbose(mut args: Vec<OsString>) -> Vec<OsString> {
    let root = Cli::command();
    let own = args.iter().position(|arg| arg == "--").unwrap_or(args.len());
    let mut command = &root;
    for arg in args[..own].iter_mut().skip(1) {
        command = command.find_subcommand(&arg).unwrap_or(command);
        if arg == "-v" && command.get_arguments().all(|known| known.get_short() != Some('v')) {
            *arg = "--verbose".into();
        }
    }
    args
}

/// Arguments that are none of a command; also help and the version, which clap counts among them.
fn refuse_arguments(error: &clap::Error, args: &[OsString]) -> ExitCode {
    let _ = error.print();
    if !error.use_stderr() {
        return ExitCode::SUCCESS;
    }
    if args.iter().take_while(|arg| *arg != "--").any(|arg| arg == "--json") {
        let text = error.render().to_string();
        let (message, rest) = text.split_once("\n\n").unwrap_or((&text, ""));
        let message = message.trim_start_matches("error: ").trim_end().to_owned();
        let _ = writeln!(std::io::stdout().lock(), "{:#}", Failure::usage(message, rest.trim()).json());
    }
    ExitCode::from(failure::Code::Usage.number())
}

fn run(cli: Cli, color: bool) -> Result<(), Failure> {
    let cancel = Cancel::new().map_err(|error| Failure::new(&error, None, failure::Code::Hoist))?;
    if cli.command.cleans_up() {
        let told = std::io::stderr().is_terminal() && !matches!(cli.command, Command::Run(_));
        interrupt::cancel_on_signals(&cancel, told)?;
    }
    let verbosity = match (cli.quiet, cli.verbose) {
        (true, _) => Verbosity::Quiet,
        (_, true) => Verbosity::Verbose,
        _ => Verbosity::Normal,
    };
    let terminal = Arc::new(Terminal::new(verbosity, color, cli.timestamps));
    let reporter: Arc<dyn Reporter> = match cli.events {
        EventFormat::Text => Arc::clone(&terminal) as Arc<dyn Reporter>,
        EventFormat::Json => Arc::new(JsonLines),
    };
    let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
    let settings = Settings::load(&[
        (Key::Store, path(&cli.store)),
        (Key::Mirror, cli.mirror.clone()),
        (Key::Suite, cli.suite.clone()),
        (Key::Keyring, path(&cli.keyring)),
    ])?;
    let context = Context { settings, reporter, json: cli.json, cancel, registry: registry::Said::default() };
    dispatch(cli.command, &context).inspect_err(|_| terminal.tell_failure())
}

fn dispatch(command: Command, context: &Context) -> Result<(), Failure> {
    match command {
        Command::Init(args) => args.run(context),
        Command::Check(args) => args.run(context),
        Command::Plan(args) => args.run(context),
        Command::Build(args) => args.run(context),
        Command::Bundle(args) => args.run(context),
        Command::Run(args) => args.run(context),
        Command::Job(args) => args.run(context),
        Command::Image(args) => args.run(context),
        Command::Inspect(args) => args.run(context),
        Command::Rebase(args) => args.run(context),
        Command::Sbom(args) => args.run(context),
        Command::Builder(args) => args.run(context),
        Command::Buildpack(args) => args.run(context),
        Command::Extension(args) => args.run(context),
        Command::Base(args) => args.run(context),
        Command::Lifecycle(args) => args.run(context),
        Command::System(args) => args.run(context),
        Command::Config(args) => args.run(context),
        Command::Completion(args) => args.run(context),
        Command::Version if context.json => context.print_json(&json!({"version": env!("CARGO_PKG_VERSION")})),
        Command::Version => context.print(concat!(env!("CARGO_PKG_VERSION"), "\n")),
    }
}
