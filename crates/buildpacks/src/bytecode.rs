//! Compiles Python sources to hash-based `.pyc` files that are never checked against their source (PEP 552), so that the fixed times in
//! an image do not make them stale. Only the given files are compiled, by two processes of the interpreter.

use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::context::Environment;
use crate::process;

const PROGRAM: &str = include_str!("compile.py");
const PROCESSES: usize = 2;

/// Why nothing could be compiled. A source with a syntax error is no failure: it has no `.pyc`, as with pip.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BytecodeError {
    #[error("{} could not be started to compile", python.display())]
    Start { python: PathBuf, source: std::io::Error },
    #[error("the compiling interpreter failed: {message}")]
    Failed { message: String },
}

/// Compiles `files`, given by their absolute paths, and answers how many have no `.pyc` because of a syntax error.
pub(crate) fn compile(python: &Path, files: &[PathBuf]) -> Result<usize, BytecodeError> {
    if files.is_empty() {
        return Ok(0);
    }
    let wanted = if files.len() < 16 { 1 } else { PROCESSES };
    let mut children = Vec::new();
    for share in shares(files, wanted) {
        children.push(start(python, &share)?);
    }
    let mut failed = 0;
    for child in children {
        let output =
            child.wait_with_output().map_err(|source| BytecodeError::Start { python: python.to_owned(), source })?;
        if !output.status.success() {
            return Err(BytecodeError::Failed { message: String::from_utf8_lossy(&output.stderr).trim().to_owned() });
        }
        failed += String::from_utf8_lossy(&output.stdout).trim().parse::<usize>().unwrap_or(0);
    }
    Ok(failed)
}

/// Splits so that both processes have as many bytes of source.
fn shares(files: &[PathBuf], count: usize) -> Vec<Vec<&Path>> {
    let size = |path: &Path| fs_err::metadata(path).map_or(0, |data| data.len());
    let mut sized: Vec<(u64, &Path)> = files.iter().map(|path| (size(path), path.as_path())).collect();
    sized.sort_by(|a, b| b.cmp(a));
    let mut shares: Vec<(u64, Vec<&Path>)> = vec![(0, Vec::new()); count];
    for (bytes, path) in sized {
        if let Some(least) = shares.iter_mut().min_by_key(|(sum, _)| *sum) {
            // Opening and writing a file costs about as much as compiling 2 KB.
            least.0 += bytes + 2048;
            least.1.push(path);
        }
    }
    shares.into_iter().map(|(_, paths)| paths).collect()
}

/// The interpreter with the program, which sees nothing but Python's own modules: what is compiled belongs to strangers.
fn compiler(python: &Path) -> Command {
    // A fixed hash seed: before Python 3.11 the order of a frozen set in a .pyc follows it. (`-I` would not see the variable.)
    let environment = Environment::from([("PYTHONHASHSEED".into(), "0".into()), ("LANG".into(), "C.UTF-8".into())]);
    let mut command = process::command(python, &environment);
    command.args(["-S", "-s", "-B", "-X", "utf8", "-c", PROGRAM]).current_dir("/").stdin(Stdio::piped());
    command
}

fn start(python: &Path, files: &[&Path]) -> Result<std::process::Child, BytecodeError> {
    let started = |source| BytecodeError::Start { python: python.to_owned(), source };
    let mut child = process::start(&mut compiler(python)).map_err(started)?;
    let list = files.iter().map(|path| path.as_os_str()).collect::<Vec<_>>().join(OsStr::new("\0"));
    if let Some(mut stdin) = child.stdin.take() {
        match stdin.write_all(list.as_bytes()) {
            // An interpreter that ended before it read says why on its way out.
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => return Err(started(error)),
            _ => {}
        }
    }
    Ok(child)
}

/// Where the interpreter keeps the bytecode of a source: `a/b.py` → `a/__pycache__/b.cpython-313.pyc`.
pub(crate) fn pyc_path(source: &Path, tag: &str) -> Option<PathBuf> {
    let stem = source.file_stem()?.to_str()?;
    Some(source.parent()?.join("__pycache__").join(format!("{stem}.{tag}.pyc")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_of_the_folder_it_is_started_in_are_not_imported() {
        let dir = tempfile::tempdir().unwrap();
        let trap = "open(__file__ + '.ran', 'w').close()\nraise SystemExit('not Python\'s own')\n";
        for name in ["os", "types", "warnings", "threading", "contextlib", "importlib", "sitecustomize"] {
            fs_err::write(dir.path().join(format!("{name}.py")), trap).unwrap();
        }
        let source = dir.path().join("fine.py");
        fs_err::write(&source, "x = 1\n").unwrap();
        let python = which("python3");
        let mut child = process::start(compiler(&python).current_dir(dir.path())).unwrap();
        child.stdin.take().unwrap().write_all(source.as_os_str().as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(fs_err::read_dir(dir.path().join("__pycache__")).unwrap().count(), 1);
        let ran = |entry: &fs_err::DirEntry| entry.path().extension().is_some_and(|extension| extension == "ran");
        assert_eq!(fs_err::read_dir(dir.path()).unwrap().flatten().filter(ran).count(), 0);
    }

    fn which(program: &str) -> PathBuf {
        let path = process::own_environment()["PATH"].clone();
        std::env::split_paths(&path).map(|dir| dir.join(program)).find(|file| file.is_file()).unwrap()
    }
}
