//! A folder as a source. It is only read: one walk, in which nothing but folders and links is looked at, then each file once.

use std::fs::OpenOptions;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};

use fs_err as fs;
use hoist_events::Reporter;
use nix::libc;

use super::StageError;
use super::app::Target;
use super::content::{Origin, Pourer};
use super::ignore::{Ignore, Verdict};
use super::tree::{Node, Tree, check_size, pour_error};
use crate::limits::Limits;

/// Fewer files than this are copied before a thread has begun.
const FILES_FOR_THREADS: usize = 128;
/// More threads wait for the file system more than they do.
const MAX_THREADS: usize = 8;
/// Files that a thread takes at a time.
const BATCH: usize = 16;

/// Copies the folder `source` into the tree; with `git`, what the `.gitignore` of each folder leaves.
pub(super) fn copy(
    source: &Path,
    ignore: &mut Ignore,
    git: bool,
    tree: &mut Tree<'_>,
    reporter: &dyn Reporter,
) -> Result<(), StageError> {
    let mut files = Vec::new();
    // Folders wait with whether they are made even where nothing is in them.
    let mut waiting = vec![(PathBuf::new(), Verdict::Take)];
    while let Some((dir, verdict)) = waiting.pop() {
        let host_dir = source.join(&dir);
        let mut entries = Vec::new();
        for entry in fs::read_dir(&host_dir).map_err(|source| StageError::read(&host_dir, source))? {
            entries.push(entry.map_err(|source| StageError::read(&host_dir, source))?);
        }
        let is_venv = entries.iter().any(|entry| entry.file_name() == "pyvenv.cfg");
        if is_venv && !dir.as_os_str().is_empty() {
            continue;
        }
        if verdict == Verdict::Take {
            tree.dir(&dir)?;
        }
        if git && let Some(text) = super::read_text(&host_dir.join(super::IgnoreFile::Git.name()))? {
            ignore.add_git(&text, &dir.to_string_lossy());
        }
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let path = dir.join(entry.file_name());
            let host = entry.path();
            let kind = entry.file_type().map_err(|source| StageError::read(&host, source))?;
            let text = path.to_string_lossy();
            let verdict = ignore.judge(&text, kind.is_dir());
            if verdict == Verdict::Leave {
                continue;
            }
            if kind.is_dir() {
                waiting.push((path, verdict));
            } else if kind.is_symlink() {
                let to = fs::read_link(&host).map_err(|source| StageError::read(&host, source))?;
                tree.link(&path, relative_to_app(source, &path, to))?;
            } else if kind.is_file() {
                tree.count(&path)?;
                tree.dir(&dir)?;
                files.push(path);
            } else {
                reporter.warn(&format!("{text} is a socket, pipe or device and is left out"), None);
            }
        }
    }
    copy_files(source, files, tree)
}

/// An absolute link into the source becomes relative; any other stays as it is and is judged by the tree.
fn relative_to_app(source: &Path, path: &Path, to: PathBuf) -> PathBuf {
    let Ok(inner) = to.strip_prefix(source) else { return to };
    let up = path.parent().map_or(0, |parent| parent.components().count());
    std::iter::repeat_n(Path::new(".."), up).collect::<PathBuf>().join(inner)
}

/// What the threads share.
struct Copying<'a> {
    source: &'a Path,
    files: &'a [PathBuf],
    target: Target<'a>,
    limits: &'a Limits,
    next: AtomicUsize,
    total_bytes: AtomicU64,
    newest: AtomicI64,
    stop: AtomicBool,
}

/// What a thread did: nodes by the number of their file, and the first failure.
type Done = (Vec<(usize, Node)>, Option<(usize, StageError)>);

fn copy_files(source: &Path, files: Vec<PathBuf>, tree: &mut Tree<'_>) -> Result<(), StageError> {
    let copying = Copying {
        source,
        files: &files,
        target: tree.target,
        limits: tree.limits,
        next: AtomicUsize::new(0),
        total_bytes: AtomicU64::new(tree.total_bytes),
        newest: AtomicI64::new(0),
        stop: AtomicBool::new(false),
    };
    let threads = match std::thread::available_parallelism() {
        Ok(many) if files.len() >= FILES_FOR_THREADS => many.get().min(MAX_THREADS),
        _ => 1,
    };
    let (mut nodes, mut failures) = (Vec::with_capacity(files.len()), Vec::new());
    std::thread::scope(|scope| {
        // A thread that the machine does not give is done without.
        let others: Vec<_> = (1..threads)
            .filter_map(|_| std::thread::Builder::new().spawn_scoped(scope, || copying.work()).ok())
            .collect();
        let mut all = vec![copying.work()];
        for other in others {
            all.push(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        for (done, failure) in all {
            nodes.extend(done);
            failures.extend(failure);
        }
    });
    // Of several failures the first file's, so that the same folder gives the same error.
    if let Some((_, error)) = failures.into_iter().min_by_key(|(at, _)| *at) {
        return Err(error);
    }
    tree.total_bytes = copying.total_bytes.into_inner();
    tree.newest = copying.newest.into_inner();
    nodes.sort_unstable_by_key(|(at, _)| *at);
    for (path, (_, node)) in files.into_iter().zip(nodes) {
        tree.insert(path, node);
    }
    Ok(())
}

impl Copying<'_> {
    fn work(&self) -> Done {
        let (mut done, mut pourer) = (Vec::new(), Pourer::new());
        while !self.stop.load(Ordering::Relaxed) {
            let first = self.next.fetch_add(BATCH, Ordering::Relaxed);
            if first >= self.files.len() {
                break;
            }
            for at in first..self.files.len().min(first + BATCH) {
                match self.copy(&self.files[at], &mut pourer) {
                    Ok(node) => done.push((at, node)),
                    Err(error) => {
                        self.stop.store(true, Ordering::Relaxed);
                        return (done, Some((at, error)));
                    }
                }
            }
        }
        (done, None)
    }

    fn copy(&self, path: &Path, pourer: &mut Pourer) -> Result<Node, StageError> {
        let host = self.source.join(path);
        let read = |source| StageError::read(&host, source);
        // What became a link or a pipe since the walk is not followed, and nobody waits for it.
        let open = OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(&host);
        let mut from = open.map_err(read)?;
        let about = from.metadata().map_err(read)?;
        if !about.is_file() {
            return Err(read(std::io::Error::other("it is no file any more")));
        }
        let size = about.len();
        self.newest.fetch_max(about.mtime(), Ordering::Relaxed);
        check_size(self.limits, path, size, self.total_bytes.fetch_add(size, Ordering::Relaxed))?;
        let executable = about.permissions().mode() & 0o111 != 0;
        let mut to = self.target.file(path, executable).map_err(|source| StageError::write(path, source))?;
        let copied = pourer.pour(&mut from, &mut to, size, Origin::File);
        let (size, digest) = copied.map_err(|error| pour_error(error, &host, path, size))?;
        Ok(Node::File { executable, size, digest })
    }
}
