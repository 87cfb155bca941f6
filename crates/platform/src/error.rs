//! Why a build, a run or a job did not succeed, whose fault that is, and what to do next.

use std::io::ErrorKind;
use std::path::PathBuf;

use hoist_base::BaseError;
use hoist_image::{LayerError, ReferenceError, StoreError};
use hoist_lifecycle::{AnalyzeError, BuildError, BuildpacksError, CacheError, DetectError, ExportError, RestoreError};
use hoist_sandbox::SandboxError;
use hoist_service::{DependencyError, InputError, ResultError, StageError};
use thiserror::Error;

/// Whose fault a failure is; the binary chooses the exit code by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The app, the service or the job.
    App,
    /// The command or its input.
    Usage,
    /// Hoist or the machine.
    Machine,
}

/// Why a build, a run or a job did not succeed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PlatformError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A bundle cannot be made or used.
    #[error(transparent)]
    Bundle(#[from] crate::bundle::BundleError),
    /// There is no base, and none can be fetched.
    #[error("there is no base of {suite} here, and without the network none can be made")]
    NoBaseOffline {
        /// Of which suite.
        suite: String,
    },
    /// A registry is the network.
    #[error("{name} is to be pushed to its registry, and no connection may be tried (--offline)")]
    PublishOffline {
        /// The image.
        name: String,
    },
    /// A layer of the builder.
    #[error("cannot make the layer of {what}")]
    Layer {
        /// What is in it.
        what: &'static str,
        /// Why not.
        source: LayerError,
    },
    /// The source cannot be staged.
    #[error(transparent)]
    Stage(#[from] StageError),
    /// A builder cannot be made or used.
    #[error(transparent)]
    Builder(#[from] crate::create::BuilderError),
    /// The project descriptor cannot be used.
    #[error(transparent)]
    Project(#[from] crate::project::ProjectError),
    /// The buildpacks that the build asks for cannot be had.
    #[error(transparent)]
    Chosen(#[from] crate::chosen::ChosenError),
    /// A package cannot be made.
    #[error(transparent)]
    Package(#[from] crate::buildpackage::PackageError),
    /// The base cannot be had.
    #[error(transparent)]
    Base(#[from] BaseError),
    /// The previous image or the cache cannot be looked at.
    #[error(transparent)]
    Analyze(#[from] AnalyzeError),
    /// A cache outside of the store cannot be emptied.
    #[error("forgetting the layers of earlier builds")]
    Cache(#[from] CacheError),
    /// An app image cannot be put on another run image.
    #[error(transparent)]
    Rebase(#[from] hoist_lifecycle::RebaseError),
    /// The SBOM documents of an image cannot be had.
    #[error(transparent)]
    ImageSboms(#[from] crate::sboms::SbomsError),
    /// The builder's buildpacks cannot be read.
    #[error(transparent)]
    Buildpacks(#[from] BuildpacksError),
    /// No buildpack applies, or one failed to say so.
    #[error(transparent)]
    Detect(#[from] DetectError),
    /// Cached layers cannot be brought back.
    #[error(transparent)]
    Restore(#[from] RestoreError),
    /// A buildpack failed.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The image cannot be made.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// The sandbox.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// The input of a service.
    #[error(transparent)]
    Input(#[from] InputError),
    /// The result of a job.
    #[error(transparent)]
    Result(#[from] ResultError),
    /// A name that is none.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// A temporary or cached file of hoist's own.
    #[error("cannot {action}")]
    Scratch {
        /// What was being done.
        action: String,
        /// Why not.
        source: std::io::Error,
    },
    /// The cache of the buildpacks was made by someone else.
    #[error("{} belongs to user {owner}, and the buildpacks of user {user} have to write there", dir.display())]
    CacheOwner {
        /// The folder.
        dir: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Who runs hoist.
        user: u32,
    },
    /// A place besides the store that cannot be used.
    #[error(transparent)]
    Place(#[from] crate::place::PlaceError),
    /// Places besides the store that did not get the image.
    #[error(transparent)]
    Places(#[from] crate::place::PlacesError),
    /// A pushed image has not everything attached that is attested of it.
    #[error(transparent)]
    Attest(Box<crate::attest::AttestError>),
    /// The report of a build cannot be written.
    #[error("cannot write {}", path.display())]
    Report {
        /// Where it was to be.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The name of what it is to be built with.
    #[error("{name} is the name of the builder or of the run image, and the app's image cannot have it too")]
    NameOfBuilder {
        /// As asked for.
        name: String,
    },
    /// The run image is made for another system than the builder.
    #[error("the run image {name} is made for {run}, and the builder for {build}")]
    RunImageTarget {
        /// The run image.
        name: String,
        /// What it is made for.
        run: String,
        /// What the builder is made for.
        build: String,
    },
    /// The SBOM documents of a build cannot be written.
    #[error("cannot write the SBOM documents to {}", dir.display())]
    Sbom {
        /// Where they were to be.
        dir: PathBuf,
        /// Why not.
        source: Box<hoist_lifecycle::PhaseError>,
    },
    /// The machine's configuration cannot be used.
    #[error("cannot use the machine's configuration: {action}")]
    Host {
        /// What was being done.
        action: String,
        /// Why not.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A volume of a run.
    #[error("cannot show {path} inside: it is not there")]
    VolumeMissing {
        /// On the host.
        path: PathBuf,
    },
    /// A port is to lead into a run that has no network.
    #[error("cannot publish a port of a run without network")]
    PublishWithoutNetwork,
    /// A name of a run that is none.
    #[error("{name:?} is no name of a run: letters, digits, -, _ and . make one, 63 at most")]
    BadName {
        /// As typed.
        name: String,
    },
    /// Another run has the name.
    #[error("a run called {name} is under way, and two of one name cannot be")]
    NameTaken {
        /// The name.
        name: String,
    },
    /// The image has no such process.
    #[error("the image has no process {process:?}; it has {known}")]
    NoSuchProcess {
        /// As asked for.
        process: String,
        /// What there is.
        known: String,
    },
    /// The image names a user that it does not have.
    #[error("the image wants to run as user {user:?}, whom its /etc/passwd and /etc/group do not know")]
    UnknownUser {
        /// As the image says.
        user: String,
    },
    /// The image starts nothing by itself.
    #[error("the image has neither an entry point nor a command, and none was given")]
    NothingToRun,
    /// A job of something that is no service.
    #[error("{what} is no service: it has no run function that could be called")]
    NotAService {
        /// The source or image.
        what: String,
    },
    /// The buildpacks that ran know of no lock.
    #[error("the buildpacks of this build wrote no lock")]
    NoLock,
    /// Nothing names the process of an app.
    #[error("{message}")]
    NoProcess {
        /// What was done, seen, and why it is wrong.
        message: String,
        /// The line that is probably wanted.
        hint: String,
    },
    /// The import of the entry point failed after the build.
    #[error("{message}")]
    ImportCheck {
        /// What was done, seen, and why it is wrong.
        message: String,
        /// The next step.
        hint: String,
    },
    /// Ctrl-C.
    #[error("stopped")]
    Cancelled,
}

impl PlatformError {
    pub(crate) fn scratch(action: impl Into<String>, source: std::io::Error) -> Self {
        Self::Scratch { action: action.into(), source }
    }

    /// What to do next.
    pub fn hint(&self) -> String {
        match self {
            Self::Store(error) => error.hint(),
            Self::Layer { source, .. } => source.hint(),
            Self::Stage(error) => error.hint(),
            Self::Builder(error) => error.hint().unwrap_or_default(),
            Self::Project(error) => error.hint(),
            Self::Chosen(error) => error.hint(),
            Self::Package(error) => error.hint(),
            Self::Base(error) => error.hint(),
            Self::Analyze(error) => error.hint().unwrap_or_default(),
            Self::Cache(error) => error.hint().unwrap_or_default(),
            Self::Buildpacks(error) => error.hint().unwrap_or_default(),
            Self::Rebase(error) => error.hint().unwrap_or_default(),
            Self::ImageSboms(error) => error.hint(),
            Self::Detect(error) => error.hint().unwrap_or_default(),
            Self::Bundle(error) => error.hint(),
            Self::PublishOffline { name } => {
                format!("build without --publish, and push where there is a network: hoist image push {name}")
            }
            Self::NoBaseOffline { .. } => {
                "build from a bundle, which has one: --bundle FILE; or make it where there is a network: hoist base show".to_owned()
            }
            Self::Restore(error) => error.hint().unwrap_or_default(),
            Self::Build(error) => error.hint().unwrap_or_default(),
            Self::Export(error) => error.hint().unwrap_or_default(),
            Self::Sandbox(error) => error.hint().unwrap_or_default(),
            Self::Input(error) => error.hint(),
            Self::Result(error) => error.hint().to_owned(),
            Self::Reference(error) => error.hint(),
            Self::Scratch { source, .. } => match source.kind() {
                ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
                    "look at who owns it, or take a store of your own: --store DIR".to_owned()
                }
                _ => "see whether the disk is full (hoist system df), then: hoist system prune".to_owned(),
            },
            Self::CacheOwner { dir, .. } => format!(
                "let its owner remove it (it is only a cache): rm -r {}; or take a store of your own: --store DIR",
                dir.display()
            ),
            Self::Place(error) => error.hint(),
            Self::Places(error) => error.hint(),
            Self::Attest(error) => error.hint(),
            Self::Report { .. } => "name a folder that you may write to: --report-output-dir DIR".to_owned(),
            Self::NameOfBuilder { .. } => "choose another name for the app's image".to_owned(),
            Self::RunImageTarget { .. } => "leave --run-image out for the builder's own".to_owned(),
            Self::Sbom { .. } => "name a folder that you may write to: --sbom-output-dir DIR".to_owned(),
            Self::Host { .. } => "see what is set and where: hoist config list".to_owned(),
            Self::VolumeMissing { path } => format!("make it first: mkdir -p {}", path.display()),
            Self::PublishWithoutNetwork => {
                "leave --network none out: a published run has a network of its own".to_owned()
            }
            Self::BadName { .. } => "choose another: --name my-run".to_owned(),
            Self::NameTaken { name } => format!("wait for it to end, or choose another: --name {name}-2"),
            Self::NoSuchProcess { .. } => "leave --process out for the default one".to_owned(),
            Self::UnknownUser { .. } => {
                "the image is broken: build it again, or look at it: hoist image inspect IMAGE".to_owned()
            }
            Self::NothingToRun => "name a command: hoist run IMAGE -- COMMAND".to_owned(),
            Self::NotAService { .. } => {
                "put a run(data, params) function into src/program.py, or start the app's own process: hoist run IMAGE"
                    .to_owned()
            }
            Self::ImportCheck { hint, .. } | Self::NoProcess { hint, .. } => hint.clone(),
            Self::NoLock => {
                "only hoist's own buildpacks for pip, uv, Poetry, PDM, Pipenv and pylock.toml write one: look who builds with `hoist plan`, and \
                 declare the packages that are needed, as in requirements.txt"
                    .to_owned()
            }
            Self::Cancelled => String::new(),
        }
    }

    /// Whether hoist's own files could not be read or written, whatever was given.
    fn is_of_the_disk(&self) -> bool {
        matches!(
            self,
            Self::Stage(
                StageError::Write { .. }
                    | StageError::AppDir { .. }
                    | StageError::Dependencies(DependencyError::Lift { .. })
            ) | Self::Input(InputError::Write { .. })
                | Self::Result(ResultError::Read { .. })
        )
    }

    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        if self.is_of_the_disk() {
            return Fault::Machine;
        }
        match self {
            Self::Place(error) => error.fault(),
            Self::Places(error) => error.fault(),
            Self::Attest(error) => error.fault(),
            Self::ImportCheck { .. }
            | Self::NoProcess { .. }
            | Self::Result(_)
            | Self::Cancelled
            | Self::Detect(DetectError::NoGroup { .. }) => Fault::App,
            Self::Build(error) if error.is_of_the_buildpack() => Fault::App,
            Self::Export(error) if error.is_of_the_buildpack() => Fault::App,
            Self::Cache(error) | Self::Analyze(AnalyzeError::Portable(error)) if error.is_of_the_request() => {
                Fault::Usage
            }
            Self::Bundle(error) if error.is_of_the_machine() => Fault::Machine,
            Self::Builder(error) if error.is_of_the_machine() => Fault::Machine,
            Self::Rebase(error) if error.is_of_the_machine() => Fault::Machine,
            Self::ImageSboms(error) if error.is_of_the_machine() => Fault::Machine,
            Self::Chosen(error) if error.is_of_the_machine() => Fault::Machine,
            Self::Package(error) if error.is_of_the_machine() => Fault::Machine,
            Self::Detect(DetectError::ExecEnv { .. })
            | Self::Bundle(_)
            | Self::NoBaseOffline { .. }
            | Self::PublishOffline { .. }
            | Self::Builder(_)
            | Self::Rebase(_)
            | Self::ImageSboms(_)
            | Self::Package(_)
            | Self::Chosen(_)
            | Self::Project(_)
            | Self::Stage(_)
            | Self::Input(_)
            | Self::Reference(_)
            | Self::VolumeMissing { .. }
            | Self::RunImageTarget { .. }
            | Self::NameOfBuilder { .. }
            | Self::NameTaken { .. }
            | Self::BadName { .. }
            | Self::PublishWithoutNetwork
            | Self::NoSuchProcess { .. }
            | Self::NothingToRun
            | Self::Sandbox(SandboxError::CommandNotFound { .. } | SandboxError::NotExecutable { .. })
            | Self::NotAService { .. }
            | Self::NoLock
            | Self::Base(BaseError::OtherArchitecture { .. })
            | Self::Store(StoreError::UnknownImage { .. }) => Fault::Usage,
            _ => Fault::Machine,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn io(kind: ErrorKind) -> std::io::Error {
        kind.into()
    }

    #[test]
    fn a_full_disk_is_never_the_users_fault() {
        let path = PathBuf::from("a.py");
        let full = || io(ErrorKind::StorageFull);
        for error in [
            PlatformError::from(StageError::Write { path: path.clone(), source: full() }),
            StageError::from(DependencyError::Lift { path: path.clone(), source: full() }).into(),
            InputError::Write { path: path.clone(), source: full() }.into(),
        ] {
            assert_eq!(error.fault(), Fault::Machine, "{error}");
        }
        let error = PlatformError::from(StageError::NotFound { path });
        assert_eq!(error.fault(), Fault::Usage);
    }

    #[test]
    fn a_folder_of_someone_else_is_no_full_disk() {
        let hint = |kind| PlatformError::scratch("make the cache folder", io(kind)).hint();
        assert_eq!(hint(ErrorKind::PermissionDenied), "look at who owns it, or take a store of your own: --store DIR");
        assert!(hint(ErrorKind::StorageFull).contains("disk is full"));
        let error = PlatformError::CacheOwner { dir: "/s/cache/build".into(), owner: 0, user: 1000 };
        assert_eq!(
            error.to_string(),
            "/s/cache/build belongs to user 0, and the buildpacks of user 1000 have to write there"
        );
        assert!(error.hint().contains("rm -r /s/cache/build"));
    }
}
