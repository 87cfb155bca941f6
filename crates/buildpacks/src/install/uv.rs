//! uv: the pinned binary, taken from its wheel by the interpreter's own pip, and how it is run.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use fs_err as fs;

use super::interpreter::Interpreter;
use super::settings::{Settings, mask_credentials};
use crate::context::Environment;
use crate::keep;
use crate::process;

/// The version of uv that is used.
pub(crate) const UV_VERSION: &str = "0.13.9";

/// Architecture, SHA-256 of the wheel, SHA-256 of the binary inside of it.
const PINS: &[(&str, &str, &str)] = &[
    (
        "x86_64",
        "d7f459fe4fd247d830351c75686d3996ace3c6f3f728eb0e85a30b7ada0cef19",
        "b73acdf73b96c3ac9e56d2fa933427b3ee6a901e3cce6ba1e3ecb3f91ca0d86a",
    ),
    (
        "aarch64",
        "5435c5ce14a56431208ca0996416d310f1598e8c2c8ba707688985a16bb82dbe",
        "bbecb5ac518030bb5e84f1999c577228460192832ac24a92bd772735682979f4",
    ),
];

/// Lines of uv's about what takes long.
const TOLD: &[&str] = &["Downloading ", "Building ", "Updating "];

const UNPACK: &str = "import glob, sys, zipfile
name = 'uv-' + sys.argv[2] + '.data/scripts/uv'
wheel = zipfile.ZipFile(glob.glob(sys.argv[1] + '/uv-*.whl')[0])
open(sys.argv[1] + '/uv', 'wb').write(wheel.read(name))
";

/// Why there is no uv.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UvError {
    #[error("there is no pinned uv for {architecture}")]
    Architecture { architecture: &'static str },
    #[error("uv {UV_VERSION} was not kept, and this build may not use the network")]
    Offline,
    #[error("pip could not fetch uv {UV_VERSION} from the package index: {message}")]
    Fetch { message: String },
    #[error("what pip fetched as uv has another hash than the pinned one: {found}")]
    Hash { found: String },
    #[error("{action}")]
    Io { action: &'static str, source: std::io::Error },
}

/// A uv that can be run.
#[derive(Debug, Clone)]
pub(crate) struct Uv {
    binary: PathBuf,
    environment: Environment,
}

/// What a run of uv said.
#[derive(Debug, Clone)]
pub(crate) struct UvRun {
    pub(crate) ok: bool,
    /// Standard error and output, credentials masked.
    pub(crate) text: String,
}

impl Uv {
    /// The pinned uv from `bin_dir`, fetched first when it is not there or is not what it should be.
    pub(crate) fn obtain(
        interpreter: &Interpreter,
        settings: &Settings,
        bin_dir: &Path,
        cache_dir: &Path,
        temporary: &Path,
    ) -> Result<Self, UvError> {
        let pin = pin()?;
        let binary = binary(bin_dir, pin);
        if !keep::is_verified(&binary, pin.2).unwrap_or(false) {
            if settings.is_offline {
                return Err(UvError::Offline);
            }
            fetch(interpreter, settings, pin.1, &temporary.join("fetch"))?;
            let fetched = temporary.join("fetch/uv");
            let found =
                keep::sha256_of(&fetched).map_err(|source| UvError::Io { action: "reading the fetched uv", source })?;
            if found != pin.2 {
                return Err(UvError::Hash { found });
            }
            settle(&fetched, &binary).map_err(|source| UvError::Io { action: "keeping the fetched uv", source })?;
        }
        Ok(Self::at(binary, settings, cache_dir, temporary))
    }

    /// The pinned uv from `bin_dir`, when it is there already.
    pub(crate) fn kept(settings: &Settings, bin_dir: &Path, cache_dir: &Path, temporary: &Path) -> Option<Self> {
        let pin = pin().ok()?;
        let binary = binary(bin_dir, pin);
        let is_kept = keep::is_verified(&binary, pin.2).unwrap_or(false);
        is_kept.then(|| Self::at(binary, settings, cache_dir, temporary))
    }

    fn at(binary: PathBuf, settings: &Settings, cache_dir: &Path, temporary: &Path) -> Self {
        let mut environment = settings.uv.clone();
        let path = settings.uv.get("PATH").cloned().unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
        let fixed = [
            ("PATH", path),
            ("HOME", temporary.into()),
            ("TMPDIR", temporary.into()),
            ("UV_CACHE_DIR", cache_dir.into()),
            ("UV_LINK_MODE", "copy".into()),
            ("UV_NO_CONFIG", "1".into()),
            ("UV_PYTHON_DOWNLOADS", "never".into()),
            ("UV_NO_PROGRESS", "1".into()),
            ("NO_COLOR", "1".into()),
            ("SOURCE_DATE_EPOCH", "315532801".into()),
        ];
        environment.extend(fixed.map(|(name, value)| (name.to_owned(), value)));
        Self { binary, environment }
    }

    /// The same uv with another value of a variable.
    #[must_use]
    pub(crate) fn with_variable(&self, name: &str, value: impl Into<std::ffi::OsString>) -> Self {
        let mut changed = self.clone();
        changed.environment.insert(name.to_owned(), value.into());
        changed
    }

    /// A variable as uv sees it; empty when it is not set.
    pub(crate) fn variable(&self, name: &str) -> String {
        self.environment.get(name).map(|value| value.to_string_lossy().into_owned()).unwrap_or_default()
    }

    /// Runs uv in `dir` to its end.
    pub(crate) fn run<I, S>(&self, dir: &Path, arguments: I) -> Result<UvRun, UvError>
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        self.run_heard(dir, arguments, &mut |_| {})
    }

    /// The same; what takes long is told as it begins (`Downloading torch (800 MiB)`).
    pub(crate) fn run_heard<I, S>(
        &self,
        dir: &Path,
        arguments: I,
        heard: &mut dyn FnMut(&str),
    ) -> Result<UvRun, UvError>
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        let mut command = process::command(&self.binary, &self.environment);
        command.current_dir(dir).args(arguments);
        let mut tell = |line: &str| {
            let line = line.trim_start();
            if TOLD.iter().any(|start| line.starts_with(start)) {
                heard(&mask_credentials(line));
            }
        };
        let output = process::run_heard(&mut command, &mut tell);
        let output = output.map_err(|source| UvError::Io { action: "starting uv", source })?;
        let both = [output.stderr, output.stdout].concat();
        Ok(UvRun { ok: output.status.success(), text: mask_credentials(&String::from_utf8_lossy(&both)) })
    }
}

type Pin = (&'static str, &'static str, &'static str);

fn pin() -> Result<&'static Pin, UvError> {
    let architecture = std::env::consts::ARCH;
    PINS.iter().find(|pin| pin.0 == architecture).ok_or(UvError::Architecture { architecture })
}

fn binary(bin_dir: &Path, pin: &Pin) -> PathBuf {
    bin_dir.join(format!("uv-{UV_VERSION}-{}", &pin.2[..16]))
}

fn fetch(interpreter: &Interpreter, settings: &Settings, hash: &str, dir: &Path) -> Result<(), UvError> {
    let io = |source| UvError::Io { action: "fetching uv", source };
    fs::create_dir_all(dir).map_err(io)?;
    let list = dir.join("uv.txt");
    fs::write(&list, format!("uv=={UV_VERSION} --hash=sha256:{hash}\n")).map_err(io)?;
    let mut command = interpreter.pip(&settings.pip, dir);
    command.args([
        "download",
        "--quiet",
        "--require-hashes",
        "--no-deps",
        "--only-binary",
        ":all:",
        "--no-cache-dir",
        "--dest",
    ]);
    command.arg(dir).arg("--requirement").arg(&list).current_dir(dir);
    let output = process::run(&mut command).map_err(io)?;
    if !output.status.success() {
        let text = settings.secrets.mask(&String::from_utf8_lossy(&output.stderr));
        // That there is no uv is what follows; a certificate or a name that is not known is why.
        let why = text.lines().find(|line| line.contains("after connection broken by"));
        let error = text.lines().rev().find(|line| line.contains("ERROR")).or(text.lines().last());
        let message = why.or(error).unwrap_or("no message").trim().to_owned();
        return Err(UvError::Fetch { message });
    }
    let mut command = process::command(&interpreter.executable, &Environment::new());
    command.args(["-I", "-S", "-c", UNPACK]).arg(dir).arg(UV_VERSION);
    let output = process::run(&mut command).map_err(io)?;
    if output.status.success() {
        Ok(())
    } else {
        Err(UvError::Fetch {
            message: format!("its wheel cannot be read: {}", String::from_utf8_lossy(&output.stderr).trim()),
        })
    }
}

/// Puts the fetched binary into its place, in one piece.
fn settle(fetched: &Path, binary: &Path) -> std::io::Result<()> {
    keep::put_with(binary, 0o755, |file| {
        std::io::copy(&mut fs::File::open(fetched)?, file)?;
        file.sync_all()
    })
}
