//! The calling side of a run: checks what is asked for, starts the child, stays with it and says how it ended.
//!
//! Works with any number of threads, since all that happens between fork and exec is the standard library's own `posix_spawn`.

use std::io;

use crate::cancel::Cancel;
use crate::error::SandboxError;
use crate::exit::{Exit, OutputSink};
use crate::forward::Forwarder;
use crate::monitors::Monitor;
use crate::network::NAME_SERVER;
use crate::session::Session;
use crate::spec::{Network, Process, Spec, Stdin};
use crate::wire::Order;

/// No kernel takes more of arguments and variables (`execve(2)`: three quarters of 8 MiB), most take less.
const ARGUMENTS_MAX_BYTES: usize = 6 << 20;

/// Runs a process to its end. Blocks; output, timeout and cancellation are handled on the calling thread.
///
/// # Errors
/// When the process could not be started, or its output not be passed on. What the process does wrong is in [`Exit`].
pub fn run(spec: &Spec, output: &mut dyn OutputSink, cancel: &Cancel) -> Result<Exit, SandboxError> {
    check(spec)?;
    let mut monitor = Monitor::start()?;
    run_with(&mut monitor, false, spec, output, cancel).map(|(exit, _)| exit)
}

/// Runs what [`check`] has seen; also answers whether the monitor waits for the next order, if it may.
pub(crate) fn run_with(
    monitor: &mut Monitor,
    may_stay: bool,
    spec: &Spec,
    output: &mut dyn OutputSink,
    cancel: &Cancel,
) -> Result<(Exit, bool), SandboxError> {
    let (forwarder, connector) = Forwarder::start(&spec.network, output)?.unzip();
    let mut session = Session::start(spec, connector.as_ref(), monitor, may_stay)?;
    // Only the connector may hold its end, so that the forwarder notices if it dies.
    drop(connector);
    let watched = session.watch(spec, output, cancel);
    let (stays, vanished) = session.finish();
    drop(forwarder);
    watched?;
    session.into_exit(spec, &vanished).map(|exit| (exit, stays))
}

pub(crate) fn check(spec: &Spec) -> Result<(), SandboxError> {
    use std::os::unix::ffi::OsStrExt;

    if spec.process.args.is_empty() {
        return Err(SandboxError::EmptyCommand);
    }
    let count = spec.root.lower_dirs.len();
    if !(1..=crate::root::LAYERS_MAX).contains(&count) {
        return Err(SandboxError::LayerCount { count, max: crate::root::LAYERS_MAX });
    }
    let variables = spec.process.env.iter().flat_map(|(key, value)| [key, value]);
    let bytes: usize = spec.process.args.iter().chain(variables).map(|text| text.len()).sum();
    if bytes > ARGUMENTS_MAX_BYTES {
        let path = spec.process.args[0].clone().into();
        return Err(SandboxError::NotExecutable { path, source: io::Error::from_raw_os_error(nix::libc::E2BIG) });
    }
    let zero = |bytes: &[u8]| bytes.contains(&0);
    if spec.process.args.iter().any(|arg| zero(arg.as_bytes())) {
        return Err(SandboxError::ZeroByte { what: "an argument".to_owned() });
    }
    match spec.process.env.iter().find(|(key, value)| zero(key.as_bytes()) || zero(value.as_bytes())) {
        Some((key, _)) => {
            Err(SandboxError::ZeroByte { what: format!("the variable {}", key.to_string_lossy().replace('\0', "\\0")) })
        }
        None => Ok(()),
    }
}

pub(crate) fn prepare(action: &'static str) -> impl FnOnce(io::Error) -> SandboxError {
    move |source| SandboxError::Prepare { action, source }
}

impl Order {
    pub(crate) fn new(spec: &Spec, stay: bool) -> Self {
        let pasta =
            if matches!(spec.network, Network::Private { .. }) { crate::capabilities::find_pasta() } else { None };
        let host_names = || fs_err::read_to_string("/etc/resolv.conf").unwrap_or_default();
        let resolv_conf = pasta.is_some().then(|| inner_resolv_conf(&host_names()));
        // The input goes by descriptor; it may be large.
        let process = Process {
            args: spec.process.args.clone(),
            env: spec.process.env.clone(),
            cwd: spec.process.cwd.clone(),
            user: spec.process.user,
            stdin: Stdin::Null,
            terminal: spec.process.terminal,
        };
        let (root, mounts, hostname) = (spec.root.clone(), spec.mounts.clone(), spec.hostname.clone());
        let spec = Spec {
            root,
            mounts,
            process,
            hostname,
            network: spec.network.clone(),
            limits: spec.limits.clone(),
            ..*spec
        };
        Self { spec, pasta, resolv_conf, stay }
    }
}

/// The host's search domains and options with the inner name server.
fn inner_resolv_conf(host: &str) -> String {
    let kept = host.lines().filter(|line| ["search", "domain", "options"].iter().any(|word| line.starts_with(word)));
    kept.fold(format!("nameserver {NAME_SERVER}\n"), |text, line| text + line + "\n")
}
