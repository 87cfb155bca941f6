//! The configurations of the two images, as the CNB spec asks for them (Platform interface, "Build Image" and "Run Image").

use hoist_image::oci::{
    Arch, ConfigBuilder, History, HistoryBuilder, ImageConfiguration, ImageConfigurationBuilder, Os, RootFsBuilder,
};
use hoist_image::{Layer, Store};

use crate::error::BaseError;
use crate::lock::BaseLock;
use crate::{BUILD_UID, GID, RUN_UID};

/// When everything in an image was made, so that the same packages give the same image.
const CREATED: &str = "1980-01-01T00:00:01Z";
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What an image says of its distribution.
#[derive(Debug, Clone)]
pub(crate) struct Distribution {
    /// `ID` of os-release.
    pub(crate) id: String,
    /// `VERSION_ID`, or the codename where the suite has no version yet.
    pub(crate) version: String,
}

impl Distribution {
    /// Reads `/etc/os-release`.
    pub(crate) fn parse(os_release: &str, suite: &str) -> Self {
        let field = |name: &str| {
            os_release
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
                .map(|value| value.trim_matches('"').to_owned())
        };
        Self {
            id: field("ID").unwrap_or_else(|| "debian".into()),
            version: field("VERSION_ID").or_else(|| field("VERSION_CODENAME")).unwrap_or_else(|| suite.to_owned()),
        }
    }
}

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Run,
    Build,
}

/// Stores an image of these layers and answers with its id.
pub(crate) fn put(
    store: &Store,
    role: Role,
    layers: &[&Layer],
    lock: &BaseLock,
    distribution: &Distribution,
) -> Result<hoist_image::Image, BaseError> {
    let config = configuration(role, layers, lock, distribution)
        .map_err(|error| BaseError::Configuration { problem: error.to_string() })?;
    store.put_image(&config, &[]).map_err(|source| BaseError::Store { source })
}

fn configuration(
    role: Role,
    layers: &[&Layer],
    lock: &BaseLock,
    distribution: &Distribution,
) -> Result<ImageConfiguration, oci_spec::OciSpecError> {
    let mut environment = vec![PATH.to_owned(), "LANG=C.UTF-8".to_owned()];
    let uid = match role {
        Role::Run => RUN_UID,
        Role::Build => {
            environment.push(format!("CNB_USER_ID={BUILD_UID}"));
            environment.push(format!("CNB_GROUP_ID={GID}"));
            BUILD_UID
        }
    };
    let description = match role {
        Role::Run => "runs apps: shell, certificates, time zones and common libraries, no compiler, no package manager",
        Role::Build => "builds apps: the run image with a C and C++ compiler, make and git",
    };
    let labels = [
        ("io.buildpacks.base.distro.name", distribution.id.clone()),
        ("io.buildpacks.base.distro.version", distribution.version.clone()),
        ("io.buildpacks.base.description", format!("{} {}: {description}", distribution.id, distribution.version)),
        ("io.buildpacks.base.maintainer", "hoist".to_owned()),
        ("io.hoist.base.lock", lock.digest()),
        ("io.hoist.base.suite", lock.suite.clone()),
    ];
    let config = ConfigBuilder::default()
        .user(format!("{uid}:{GID}"))
        .env(environment)
        .labels(
            labels
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect::<std::collections::HashMap<_, _>>(),
        )
        .build()?;
    let history = (0..layers.len()).map(history).collect::<Result<Vec<_>, _>>()?;
    let rootfs = RootFsBuilder::default()
        .typ("layers".to_owned())
        .diff_ids(layers.iter().map(|layer| layer.diff_id().to_string()).collect::<Vec<_>>())
        .build()?;
    ImageConfigurationBuilder::default()
        .created(CREATED.to_owned())
        .architecture(architecture(&lock.architecture))
        .os(Os::Linux)
        .config(config)
        .rootfs(rootfs)
        .history(history)
        .build()
}

fn history(number: usize) -> Result<History, oci_spec::OciSpecError> {
    let made = if number == 0 { "hoist: packages of the run image" } else { "hoist: packages of the build image" };
    HistoryBuilder::default().created(CREATED.to_owned()).created_by(made.to_owned()).build()
}

/// OCI's name of an architecture of Debian.
fn architecture(debian: &str) -> Arch {
    match debian {
        "amd64" => Arch::Amd64,
        "arm64" => Arch::ARM64,
        "i386" => Arch::i386,
        "ppc64el" => Arch::PowerPC64le,
        "riscv64" => Arch::RISCV64,
        "s390x" => Arch::s390x,
        other => Arch::Other(other.to_owned()),
    }
}
