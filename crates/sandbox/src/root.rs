//! Makes `/`: an overlay of the layer trees, what is mounted in it, and the farewell to the host's tree.
//!
//! Every path of the host is opened before anything is mounted, every path inside is resolved by `openat2` with RESOLVE_IN_ROOT: whatever
//! symlinks an image holds, nothing is created or mounted outside of it.

use std::fmt::Write as _;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use nix::fcntl::{OFlag, open, readlinkat};
use nix::libc;
use nix::mount::{MsFlags, mount};
use nix::sys::stat::{Mode, mkdirat};

use crate::inside;
use crate::spec::{Mount, MountKind, Upper};
use crate::sys;
use crate::wire::{Failure, Order, Step};

/// The most layers: their options fit a page (`mount(2)`) with each layer named by a descriptor.
pub(crate) const LAYERS_MAX: usize = 180;

/// How many links a mount point may lead through: the kernel's own limit.
const LINKS_MAX: usize = 40;

/// Builds the root and makes it `/`; the controlling side of a terminal in it, where the process has one.
pub(crate) fn enter(order: &Order) -> Result<Option<OwnedFd>, Failure> {
    let spec = &order.spec;
    let overlay = |_: &str| Failure::at(Step::Overlay, "", "/");
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
        .map_err(|e| Failure::at(Step::Namespace, "mount", "")(e.into()))?;
    let layers = spec.root.lower_dirs.iter().map(|path| open_dir(path)).collect::<Result<Vec<_>, _>>()?;
    let upper = spec.root.upper.as_ref().map(open_upper).transpose()?;
    let sources = spec.mounts.iter().map(open_source).collect::<Result<Vec<_>, _>>()?;
    let host = inside::Host::open(order)?;
    let stage = Stage::new(&inside::memory_size(&spec.limits)).map_err(overlay("stage"))?;
    let root = stage.mount_overlay(&layers, upper).map_err(overlay("overlay"))?;
    drop(layers);
    let controller = inside::mount_all(&root, order, host, &stage.dir)?;
    for (wanted, source) in spec.mounts.iter().zip(sources) {
        mount_one(&root, wanted, source)?;
    }
    if spec.root.read_only {
        sys::set_attributes(&root, sys::READ_ONLY, 0).map_err(Failure::at(Step::Mount, "a read-only root", "/"))?;
    }
    sys::pivot(&root).map_err(Failure::at(Step::Mount, "the root file system", "/"))?;
    Ok(controller)
}

fn open_dir(path: &Path) -> Result<OwnedFd, Failure> {
    open(path, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
        .map_err(|e| Failure::at(Step::Layer, "", path)(e.into()))
}

fn open_upper(upper: &Upper) -> Result<(OwnedFd, OwnedFd), Failure> {
    // A `volatile` overlay marks its work directory and refuses to be mounted again; what the mark warns of (a crash of the machine)
    // is the store's to notice, not ours.
    let mark = upper.work_dir.join("work/incompat/volatile");
    let _ = fs_err::remove_file(mark.join("dirty"));
    let _ = fs_err::remove_dir(&mark);
    let _ = fs_err::remove_dir(upper.work_dir.join("work/incompat"));
    Ok((open_dir(&upper.upper_dir)?, open_dir(&upper.work_dir)?))
}

/// A detached mount of what will appear.
fn open_source(wanted: &Mount) -> Result<OwnedFd, Failure> {
    match &wanted.kind {
        MountKind::Bind { source, read_only } => {
            let at = || Failure::at(Step::MountSource, "", source);
            let tree = sys::clone_tree(source, sys::RECURSIVE).map_err(at())?;
            let attributes = sys::NO_SUID | sys::NO_DEV | if *read_only { sys::READ_ONLY } else { 0 };
            sys::set_attributes(&tree, attributes, sys::RECURSIVE).map_err(at())?;
            Ok(tree)
        }
        MountKind::Tmpfs { size_bytes } => {
            let size = size_bytes.to_string();
            sys::new_mount("tmpfs", &[("size", &size), ("mode", "1777")], sys::NO_SUID | sys::NO_DEV)
                .map_err(Failure::at(Step::Mount, "a directory in memory", &wanted.target))
        }
    }
}

fn mount_one(root: &OwnedFd, wanted: &Mount, source: OwnedFd) -> Result<(), Failure> {
    let is_dir = is_directory(&source).map_err(Failure::at(Step::MountTarget, "", &wanted.target))?;
    let target =
        make_target(root, &wanted.target, is_dir).map_err(Failure::at(Step::MountTarget, "", &wanted.target))?;
    let what = match &wanted.kind {
        MountKind::Bind { source, .. } => source.display().to_string(),
        MountKind::Tmpfs { .. } => "a directory in memory".to_owned(),
    };
    sys::attach(source, target).map_err(Failure::at(Step::Mount, what, &wanted.target))
}

/// Whether a descriptor is a directory's.
pub(crate) fn is_directory(fd: impl AsFd) -> io::Result<bool> {
    let kind = nix::sys::stat::fstat(fd)?.st_mode & libc::S_IFMT;
    Ok(kind == libc::S_IFDIR)
}

/// Opens a mount point inside the root, making it and its parents where they are missing, also where dangling links of the image point to.
pub(crate) fn make_target(root: &OwnedFd, target: &Path, directory: bool) -> io::Result<OwnedFd> {
    let mut target = target.to_path_buf();
    for _ in 0..LINKS_MAX {
        match try_target(root, &target, directory)? {
            Made::Target(found) => return Ok(found),
            Made::Elsewhere(next) => target = next,
        }
    }
    Err(io::Error::from_raw_os_error(libc::ELOOP))
}

enum Made {
    Target(OwnedFd),
    /// A dangling link leads there (a path inside the root).
    Elsewhere(PathBuf),
}

fn try_target(root: &OwnedFd, target: &Path, directory: bool) -> io::Result<Made> {
    let names = inside_names(target)?;
    let mut parent = root.as_fd().try_clone_to_owned()?;
    let mut so_far = PathBuf::from("/");
    for (index, name) in names.iter().enumerate() {
        let as_directory = directory || index + 1 < names.len();
        parent = match sys::open_in_root(root, &so_far.join(name), libc::O_PATH) {
            Ok(found) => {
                if is_directory(&found)? != as_directory {
                    return Err(io::Error::from_raw_os_error(if as_directory { libc::ENOTDIR } else { libc::EISDIR }));
                }
                found
            }
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => match readlinkat(&parent, name) {
                Ok(link) => return Ok(Made::Elsewhere(follow(&so_far, Path::new(&link), &names[index + 1..]))),
                Err(_) => make_entry(parent.as_fd(), name, as_directory)?,
            },
            Err(error) => return Err(error),
        };
        so_far.push(name);
    }
    Ok(Made::Target(parent))
}

/// Where a link in `parent` leads, with what comes after it; `..` stops at `/`.
fn follow(parent: &Path, link: &Path, rest: &[PathBuf]) -> PathBuf {
    let mut path = PathBuf::from("/");
    for component in parent.join(link).components().chain(rest.iter().flat_map(|name| name.components())) {
        match component {
            Component::Normal(name) => path.push(name),
            Component::ParentDir => drop(path.pop()),
            _ => {}
        }
    }
    path
}

fn inside_names(target: &Path) -> io::Result<Vec<PathBuf>> {
    let mut names = Vec::new();
    for component in target.components() {
        match component {
            Component::RootDir | Component::CurDir => {}
            Component::Normal(name) => names.push(PathBuf::from(name)),
            Component::ParentDir | Component::Prefix(_) => return Err(io::Error::from_raw_os_error(libc::EINVAL)),
        }
    }
    if names.is_empty() || !target.is_absolute() {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    Ok(names)
}

/// Makes one entry in a directory that is known to be inside, following nothing.
fn make_entry(parent: BorrowedFd<'_>, name: &Path, directory: bool) -> io::Result<OwnedFd> {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    if directory {
        mkdirat(parent, name, Mode::from_bits_truncate(0o755))?;
        return Ok(nix::fcntl::openat(parent, name, flags | OFlag::O_PATH | OFlag::O_DIRECTORY, Mode::empty())?);
    }
    let create = flags | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY;
    drop(nix::fcntl::openat(parent, name, create, Mode::from_bits_truncate(0o644))?);
    Ok(nix::fcntl::openat(parent, name, flags | OFlag::O_PATH, Mode::empty())?)
}

/// Where the overlay is put together: a small file system in memory over some directory that every machine has.
struct Stage {
    dir: OwnedFd,
}

impl Stage {
    fn new(size: &str) -> io::Result<Self> {
        let dir = sys::new_mount("tmpfs", &[("mode", "0755"), ("size", size)], sys::NO_SUID | sys::NO_DEV)?;
        let place = ["/sys", "/mnt", "/tmp", "/var"].iter().find(|place| Path::new(place).is_dir()).unwrap_or(&"/proc");
        let target = open(*place, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
        sys::attach(&dir, target)?;
        Ok(Self { dir })
    }

    fn make(&self, name: &str) -> io::Result<OwnedFd> {
        make_entry(self.dir.as_fd(), Path::new(name), true)
    }

    /// Layers by descriptor: short, free of characters that `mount(2)` would interpret, and reachable whatever was mounted over them.
    fn mount_overlay(&self, layers: &[OwnedFd], upper: Option<(OwnedFd, OwnedFd)>) -> io::Result<OwnedFd> {
        let root = self.make("root")?;
        let (upper, work) = match upper {
            Some(given) => given,
            None => (self.make("upper")?, self.make("work")?),
        };
        let mut options = String::from("userxattr,volatile,lowerdir=");
        for (index, layer) in layers.iter().enumerate() {
            let separator = if index == 0 { "" } else { ":" };
            let _ = write!(options, "{separator}/proc/self/fd/{}", layer.as_raw_fd());
        }
        let _ =
            write!(options, ",upperdir=/proc/self/fd/{},workdir=/proc/self/fd/{}", upper.as_raw_fd(), work.as_raw_fd());
        let target = format!("/proc/self/fd/{}", root.as_raw_fd());
        mount(
            Some("overlay"),
            target.as_str(),
            Some("overlay"),
            MsFlags::MS_NODEV | MsFlags::MS_NOSUID,
            Some(options.as_str()),
        )?;
        Ok(nix::fcntl::openat(&self.dir, "root", OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_stay_inside() {
        let rest = [PathBuf::from("x")];
        assert_eq!(follow(Path::new("/etc"), Path::new("../run/resolv.conf"), &[]), Path::new("/run/resolv.conf"));
        assert_eq!(follow(Path::new("/etc"), Path::new("../../../../outside"), &rest), Path::new("/outside/x"));
        assert_eq!(follow(Path::new("/etc"), Path::new("/outside"), &rest), Path::new("/outside/x"));
    }

    #[test]
    fn targets_are_absolute_and_go_down() {
        for bad in ["relative", "/", "", "/a/../b"] {
            assert!(inside_names(Path::new(bad)).is_err(), "{bad}");
        }
        assert_eq!(inside_names(Path::new("/a//./b/")).unwrap(), [PathBuf::from("a"), PathBuf::from("b")]);
    }
}
