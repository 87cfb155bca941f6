//! Runs an image: its layers as an overlay, changes thrown away at the end.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use fs_err as fs;
use hoist_image::{Image, Lease, Scratch};
use hoist_sandbox::{Exit, Mount, Network, OutputSink, Process, Publish, Root, Spec, Stdin, Upper};
use hoist_service::{Contract, InputRequest, resolve_input, write_input};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use crate::contract::ImageContract;
use crate::engine::LocalEngine;
use crate::error::PlatformError;
use crate::process::{Overrides, process_of};
use crate::request::{RunNetwork, RunRequest, Volume};
use crate::runner::bind;

/// A root file system for one run; dropping it removes what the run wrote.
pub(crate) struct RunRoot {
    pub(crate) root: Root,
    scratch: Scratch,
    /// Keeps the image's layers from being pruned while they are mounted.
    _lease: Lease,
}

impl RunRoot {
    /// The folder for further files of this run.
    pub(crate) fn scratch_dir(&self) -> &Path {
        self.scratch.path()
    }
}

impl LocalEngine {
    /// Starts a process of an image and waits for its end; its output goes to `sink` as it comes.
    pub fn run(&self, request: &RunRequest, sink: &mut dyn OutputSink) -> Result<Exit, PlatformError> {
        let image = self.store().image(&request.image)?;
        let _name = request.name.as_deref().map(|name| self.take_name(name)).transpose()?;
        let run_root = self.run_root(&image)?;
        let overrides = Overrides {
            process: request.process.as_deref(),
            entrypoint: request.entrypoint.as_deref(),
            args: &request.args,
            env: &request.env,
        };
        let mut process = process_of(&image, &overrides)?;
        let mut mounts = volumes(&request.volumes)?;
        let takes_stdin = request.input.data.is_none() && request.input.params.is_none();
        process.terminal = request.terminal;
        if takes_stdin {
            process.stdin = if request.stdin { Stdin::Inherit } else { Stdin::Null };
        } else {
            mounts.extend(self.input_mounts(request, &image, &mut process, run_root.scratch_dir())?);
        }
        let mut spec = Spec::new(run_root.root.clone(), process);
        spec.mounts = mounts;
        spec.limits = request.limits.clone();
        spec.network = self.network(request.network, &request.publish)?;
        if let Some(name) = &request.name {
            spec.hostname.clone_from(name);
        }
        Ok(hoist_sandbox::run(&spec, sink, self.cancel())?)
    }

    /// Input files for a run of a service; its output is shown as it is, so there is no place for result files to come back from.
    fn input_mounts(
        &self,
        request: &RunRequest,
        image: &Image,
        process: &mut Process,
        scratch_dir: &Path,
    ) -> Result<Vec<Mount>, PlatformError> {
        let contract = ImageContract::of(image);
        let Some(kind) = contract.contract else {
            return Err(PlatformError::NotAService { what: request.image.clone() });
        };
        let wanted = InputRequest {
            data: request.input.data.clone(),
            params: request.input.params.clone(),
            ..InputRequest::default()
        };
        let input = resolve_input(&wanted, &mut std::io::stdin().lock())?;
        let dir = scratch_dir.join("input");
        fs::create_dir(&dir).map_err(|source| PlatformError::scratch("make the folder of the input", source))?;
        let written = write_input(&input, kind, contract.signature.as_ref(), &dir)?;
        if kind == Contract::G2 {
            let hint = format!("hoist job run {} prints it", request.image);
            self.reporter().warn("the result of this service is a file, which goes away with the run", Some(&hint));
        }
        if let Some(dir) = &written.output_dir {
            self.give_to(dir, process.user)?;
        }
        for (name, value) in written.env {
            if !request.env.iter().any(|(known, _)| *known == name) {
                process.env.push((name.into(), value.into()));
            }
        }
        Ok(written.mounts.into_iter().map(|mount| bind(mount.source, mount.target, mount.read_only)).collect())
    }

    /// A root of the image's layers with a place for changes beside the store.
    pub(crate) fn run_root(&self, image: &Image) -> Result<RunRoot, PlatformError> {
        let lease = self.store().lease()?;
        lease.hold_image(image)?;
        let scratch = self.store().scratch("run")?;
        let upper_dir = scratch.path().join("upper");
        let work_dir = scratch.path().join("work");
        for dir in [&upper_dir, &work_dir] {
            fs::create_dir(dir).map_err(|source| PlatformError::scratch("make the folder of a run", source))?;
        }
        set_root_mode(&upper_dir)?;
        let root =
            Root { lower_dirs: image.lower_dirs()?, upper: Some(Upper { upper_dir, work_dir }), read_only: false };
        Ok(RunRoot { root, scratch, _lease: lease })
    }

    /// The network that was asked for; otherwise private where something leads out of it or in, else the host's.
    pub(crate) fn network(&self, wanted: Option<RunNetwork>, publish: &[Publish]) -> Result<Network, PlatformError> {
        let private = || Network::Private { publish: publish.to_vec() };
        match wanted {
            Some(RunNetwork::None) if !publish.is_empty() => Err(PlatformError::PublishWithoutNetwork),
            Some(RunNetwork::None) => Ok(Network::None),
            Some(RunNetwork::Private) => Ok(private()),
            None if !publish.is_empty() || hoist_sandbox::has_way_out() => Ok(private()),
            Some(RunNetwork::Host) | None => {
                for port in publish.iter().filter(|port| port.host_port != port.container_port) {
                    let text = format!(
                        "port {} is not published as {}: the run shares the host's network",
                        port.container_port, port.host_port
                    );
                    self.reporter().warn(&text, Some("leave --network host out"));
                }
                Ok(Network::Host)
            }
        }
    }

    fn take_name(&self, name: &str) -> Result<RunName, PlatformError> {
        let valid = !name.is_empty()
            && name.len() <= 63
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
            && name.starts_with(|c: char| c.is_ascii_alphanumeric());
        if !valid {
            return Err(PlatformError::BadName { name: name.to_owned() });
        }
        RunName::take(&self.store().root_dir().join("runs"), name)
    }
}

/// The name of a run that is under way: a locked file, which goes with this value. What a kill leaves is an unlocked file, which the next run
/// of that name takes over.
struct RunName {
    path: PathBuf,
    _locked: Flock<File>,
}

impl RunName {
    fn take(dir: &Path, name: &str) -> Result<Self, PlatformError> {
        let failed = |source| PlatformError::scratch("note the name of the run", source);
        fs::create_dir_all(dir).map_err(failed)?;
        let path = dir.join(name);
        loop {
            let file = fs::OpenOptions::new().create(true).append(true).open(&path).map_err(failed)?;
            let locked = Flock::lock(file.into_file(), FlockArg::LockExclusiveNonblock);
            let locked = locked.map_err(|(_, error)| match error {
                Errno::EWOULDBLOCK => PlatformError::NameTaken { name: name.to_owned() },
                error => failed(error.into()),
            })?;
            // A run that ended between opening and locking took the file away: then nobody else would see this lock.
            let (own, there) = (locked.metadata().map_err(failed)?, fs::symlink_metadata(&path));
            if there.is_ok_and(|there| there.ino() == own.ino()) {
                return Ok(Self { path, _locked: locked });
            }
        }
    }
}

impl Drop for RunName {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path); // an unlocked file that stays is no name taken
    }
}

/// The upper directory is the root as the process sees it: anyone may read and pass, whatever the umask was.
pub(crate) fn set_root_mode(dir: &Path) -> Result<(), PlatformError> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(dir, std::fs::Permissions::from_mode(0o755))
        .map_err(|source| PlatformError::scratch("open the root folder", source))
}

fn volumes(volumes: &[Volume]) -> Result<Vec<Mount>, PlatformError> {
    volumes
        .iter()
        .map(|volume| {
            let source: PathBuf = fs::canonicalize(&volume.source)
                .map_err(|_| PlatformError::VolumeMissing { path: volume.source.clone() })?;
            Ok(bind(source, &volume.target, volume.read_only))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_taken_while_its_run_goes_on_and_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let runs = dir.path().join("runs");
        let first = RunName::take(&runs, "web").unwrap();
        let second = RunName::take(&runs, "web").err().unwrap();
        assert_eq!(second.to_string(), "a run called web is under way, and two of one name cannot be");
        drop(first);
        assert_eq!(fs::read_dir(&runs).unwrap().count(), 0);
        fs::write(runs.join("web"), "").unwrap(); // as a killed run leaves it
        drop(RunName::take(&runs, "web").unwrap());
        assert_eq!(fs::read_dir(&runs).unwrap().count(), 0);
    }
}
