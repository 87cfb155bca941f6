//! `buildpack package` and `extension package`: a buildpack with what it depends on as an image of the store or as a `.cnb` file
//! (distribution.md, "Buildpackage").
//!
//! ```text
//! package.toml ─find→ Parts ─check→ layers + labels ─put→ image | .cnb, for each target
//! ```
//!
//! The layers are those that pack makes of the same files; the parts stand in the order of their names, so that the same parts are the same package.

mod error;
mod inspect;
mod parts;
mod pull;
mod scaffold;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use hoist_image::oci::{Arch, ConfigBuilder, ImageConfigurationBuilder, Os, RootFsBuilder};
use hoist_image::{ArchiveFormat, Compression, Image, Layer, Reference};
use hoist_spec::{
    BUILDPACK_LAYERS_LABEL, BUILDPACKAGE_METADATA_LABEL, BuildpackageMetadata, EXTENSION_LAYERS_LABEL, ImageTarget,
    ModuleConfig, PackageConfig, Target,
};

use crate::bounded::read_text;
use crate::engine::LocalEngine;
use crate::error::PlatformError;
use crate::module::{ModuleKind, Modules, drop_unnamed};
pub use error::PackageError;
pub use inspect::{BuildpackPlace, InspectedBuildpack};
use parts::{Parts, distinct};
pub use pull::PulledBuildpack;
pub use scaffold::{NewBuildpack, ScaffoldError};

/// Larger than any package.toml.
pub(crate) const MAX_CONFIG_BYTES: u64 = 4 << 20;
/// What the images of packages say of when they were made, as pack has it: nothing.
const CREATED: &str = "1980-01-01T00:00:01Z";

/// What is to be made.
#[derive(Debug, Clone)]
pub struct PackageRequest {
    /// A package of a buildpack or of an image extension.
    pub kind: ModuleKind,
    /// What of.
    pub source: PackageSource,
    /// What it becomes.
    pub output: PackageOutput,
    /// What it is to be for, where that is not what the buildpack says.
    pub targets: Vec<Target>,
    /// Labels besides those of packages.
    pub labels: Vec<(String, String)>,
    /// Puts all parts into one layer but these (`id@version`).
    pub flatten: Option<Vec<String>>,
}

/// What a package is made of.
#[derive(Debug, Clone)]
pub enum PackageSource {
    /// The path of a `package.toml`.
    Config(PathBuf),
    /// A folder, a tar or an address of a buildpack.
    Location(String),
}

/// What a package becomes.
#[derive(Debug, Clone)]
pub enum PackageOutput {
    /// An image of the store with these names.
    Image(Vec<Reference>),
    /// A file, by its path; several targets become several files.
    File(PathBuf),
}

/// A package was made.
#[derive(Debug)]
pub struct Packaged {
    /// `id@version` of the main buildpack.
    pub main: String,
    /// `id@version` of all, sorted.
    pub modules: Vec<String>,
    /// One for each target.
    pub outputs: Vec<PackagedOutput>,
}

/// One image or file.
#[derive(Debug)]
pub struct PackagedOutput {
    /// What it is for; nothing for what the buildpack is for.
    pub target: Option<Target>,
    /// The image's id.
    pub id: String,
    /// The file, where it is one.
    pub file: Option<PathBuf>,
}

/// The processor of this machine, as images name it.
pub fn machine_arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

impl LocalEngine {
    /// Makes a package.
    pub fn package(&self, request: &PackageRequest) -> Result<Packaged, PlatformError> {
        let (config, place) = self.package_config(request)?;
        let main = match request.kind {
            ModuleKind::Buildpack => config.buildpack.as_ref(),
            ModuleKind::Extension => config.extension.as_ref(),
        };
        let Some(main) = main else {
            let seen = match request.kind {
                ModuleKind::Buildpack => ModuleKind::Extension,
                ModuleKind::Extension => ModuleKind::Buildpack,
            };
            let path = place.path.unwrap_or_default();
            return Err(PackageError::WrongConfig { path, seen, wanted: request.kind }.into());
        };
        // What it is for stands in the buildpack itself, unless it is a composite; so it is read before the targets are known.
        let lease = self.store().lease()?;
        let shipped = &self.parts().buildpacks;
        let modules = Modules::new(self, &place.base_dir, shipped, &lease);
        let first = place.main(&modules, main, request.kind)?;
        let described = first.descriptor();
        let own = if described.order.is_empty() { &described.label.targets } else { &config.targets };
        let targets = wanted_targets(request, own)?;
        let mut packaged = Packaged { main: described.full_name(), modules: Vec::new(), outputs: Vec::new() };
        let several = targets.len() > 1;
        for target in targets {
            let mut modules = Modules::new(self, &place.base_dir, shipped, &lease);
            if let Some(target) = &target {
                modules = modules.for_target(target.clone());
            }
            let parts = place.parts(&modules, &first, main, &config.dependencies)?;
            parts.check(target.as_ref())?;
            packaged.modules = parts.names();
            packaged.outputs.push(self.put_package(request, &parts, target, several)?);
        }
        Ok(packaged)
    }

    fn package_config(&self, request: &PackageRequest) -> Result<(PackageConfig, Place), PackageError> {
        let path = match &request.source {
            PackageSource::Location(location) => {
                let main = ModuleConfig { location: location.clone(), ..ModuleConfig::default() };
                let mut config = PackageConfig::default();
                match request.kind {
                    ModuleKind::Buildpack => config.buildpack = Some(main),
                    ModuleKind::Extension => config.extension = Some(main),
                }
                return Ok((config, Place::typed()));
            }
            PackageSource::Config(path) => path,
        };
        let text =
            read_text(path, MAX_CONFIG_BYTES).map_err(|source| PackageError::Read { path: path.clone(), source })?;
        let config =
            PackageConfig::parse(&text).map_err(|source| PackageError::Config { path: path.clone(), source })?;
        for warning in &config.warnings {
            self.reporter().warn(&format!("{}: {}", path.display(), warning.text), Some(&warning.fix));
        }
        let base_dir = path.parent().unwrap_or(Path::new(".")).to_owned();
        Ok((config, Place { path: Some(path.clone()), base_dir }))
    }

    fn put_package(
        &self,
        request: &PackageRequest,
        parts: &Parts,
        target: Option<Target>,
        several: bool,
    ) -> Result<PackagedOutput, PlatformError> {
        let placed = parts.layers(self.store(), request.flatten.as_deref())?;
        let image = |names: &[Reference], arch: &str| {
            let config = image_config(request, parts, &placed, target.as_ref(), arch)?;
            Ok::<Image, PlatformError>(self.store().put_image(&config, names)?)
        };
        let arch = target.as_ref().map(|target| target.arch.as_str()).filter(|arch| !arch.is_empty());
        match &request.output {
            PackageOutput::Image(names) => {
                let image = image(names, arch.unwrap_or(machine_arch()))?;
                Ok(PackagedOutput { id: image.id().to_string(), target, file: None })
            }
            PackageOutput::File(path) => {
                // A file may go anywhere: it says a processor only where the buildpack does.
                let image = image(&[], arch.unwrap_or_default())?;
                let path = file_path(path, target.as_ref().filter(|_| several));
                let saved = image.save_to_file(&path, &[], ArchiveFormat::Oci, Compression::Gzip);
                drop_unnamed(self.store(), &image);
                saved.map_err(|source| PackageError::Save { path: path.clone(), source: Box::new(source) })?;
                Ok(PackagedOutput { id: image.id().to_string(), target, file: Some(path) })
            }
        }
    }
}

/// Where the parts of a package are named.
struct Place {
    /// The package.toml, where there is one.
    path: Option<PathBuf>,
    /// Relative paths start here.
    base_dir: PathBuf,
}

/// The targets that packages are made for; `None` for whatever the buildpack runs on.
fn wanted_targets(request: &PackageRequest, own: &[Target]) -> Result<Vec<Option<Target>>, PackageError> {
    let asked = if request.targets.is_empty() { own } else { &request.targets };
    let asked: Vec<Target> = asked.iter().flat_map(Target::expand).collect();
    if let Some(target) = asked.iter().find(|target| target.os == "windows") {
        // A buildpack may name Windows besides; it is left out then.
        if !request.targets.is_empty() || asked.iter().all(|target| target.os == "windows") {
            return Err(PackageError::System { target: target.to_string() });
        }
    }
    let asked: Vec<Target> = asked.into_iter().filter(|target| target.os != "windows").collect();
    if asked.is_empty() {
        return Ok(vec![None]);
    }
    if matches!(request.output, PackageOutput::File(_)) {
        return Ok(asked.into_iter().map(Some).collect());
    }
    if request.targets.len() > 1 {
        return Err(PackageError::SeveralTargets { count: request.targets.len() });
    }
    let here = ImageTarget { os: "linux".to_owned(), arch: machine_arch().to_owned(), ..ImageTarget::default() };
    match asked.iter().find(|target| target.matches(&here)) {
        Some(target) => Ok(vec![Some(target.clone())]),
        // One that was asked for by name is made: the file of an image goes elsewhere with `image save`.
        None if request.targets.len() == 1 => Ok(vec![asked.into_iter().next()]),
        None => {
            let targets: Vec<String> = asked.iter().map(ToString::to_string).collect();
            let machine = format!("linux/{}", machine_arch());
            Err(PackageError::OtherMachine { targets: targets.join(", "), machine })
        }
    }
}

/// `pip.cnb` for one target, `pip-linux-arm64.cnb` where there are several. Two of one processor would overwrite each other, so the variant and
/// the distribution are named, too.
fn file_path(path: &Path, target: Option<&Target>) -> PathBuf {
    let Some(target) = target else { return path.to_owned() };
    let distro = target.distros.first().map(|distro| format!("{}-{}", distro.name, distro.version));
    let parts = [Some(target.os.clone()), Some(target.arch.clone()), Some(target.variant.clone()), distro];
    let parts: Vec<String> = parts.into_iter().flatten().filter(|part| !part.is_empty()).collect();
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let extension = path.extension().map(|extension| format!(".{}", extension.to_string_lossy())).unwrap_or_default();
    path.with_file_name(format!("{stem}-{}{extension}", parts.join("-")))
}

fn image_config(
    request: &PackageRequest,
    parts: &Parts,
    placed: &[(usize, Layer)],
    target: Option<&Target>,
    arch: &str,
) -> Result<hoist_image::oci::ImageConfiguration, PlatformError> {
    let unwritable = |error: &dyn std::error::Error| PlatformError::Host {
        action: "writing the configuration of a package".to_owned(),
        source: error.to_string().into(),
    };
    let metadata = BuildpackageMetadata { info: parts.main().descriptor.info.clone(), stacks: parts.stacks() };
    let (layers_label, layers) = (parts.layers_label(placed), distinct(placed));
    let mut labels: BTreeMap<String, String> = request.labels.iter().cloned().collect();
    let name = match request.kind {
        ModuleKind::Buildpack => BUILDPACK_LAYERS_LABEL,
        ModuleKind::Extension => EXTENSION_LAYERS_LABEL,
    };
    labels.insert(BUILDPACKAGE_METADATA_LABEL.to_owned(), metadata.to_label().map_err(|error| unwritable(&error))?);
    labels.insert(name.to_owned(), layers_label.to_label().map_err(|error| unwritable(&error))?);
    let diff_ids: Vec<String> = layers.iter().map(|layer| layer.diff_id().to_string()).collect();
    let config = ConfigBuilder::default()
        .labels(labels.into_iter().collect::<std::collections::HashMap<_, _>>())
        .build()
        .map_err(|error| unwritable(&error))?;
    let rootfs =
        RootFsBuilder::default().typ("layers").diff_ids(diff_ids).build().map_err(|error| unwritable(&error))?;
    let mut builder = ImageConfigurationBuilder::default()
        .created(CREATED)
        .os(Os::Linux)
        .architecture(Arch::from(arch))
        .config(config)
        .rootfs(rootfs);
    if let Some(target) = target.filter(|target| !target.variant.is_empty()) {
        builder = builder.variant(target.variant.clone());
    }
    builder.build().map_err(|error| unwritable(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(output: PackageOutput, targets: &[&str]) -> PackageRequest {
        PackageRequest {
            kind: ModuleKind::Buildpack,
            source: PackageSource::Location(".".to_owned()),
            output,
            targets: targets.iter().map(|target| target.parse().unwrap()).collect(),
            labels: Vec::new(),
            flatten: None,
        }
    }

    fn made(request: &PackageRequest, own: &[&str]) -> Vec<String> {
        let own: Vec<Target> = own.iter().map(|target| target.parse().unwrap()).collect();
        let made = wanted_targets(request, &own).unwrap();
        made.into_iter().map(|target| target.map_or("-".to_owned(), |target| target.to_string())).collect()
    }

    #[test]
    fn files_are_made_for_all_targets_and_images_for_one() {
        let file = || PackageOutput::File("x.cnb".into());
        let image = || PackageOutput::Image(Vec::new());
        let here = format!("linux/{}", machine_arch());
        assert_eq!(made(&request(file(), &[]), &[]), ["-"]);
        assert_eq!(
            made(&request(file(), &[]), &["linux/s390x", "linux/arm64:a@1;a@2", "windows/amd64"]),
            ["linux/s390x", "linux/arm64:a@1", "linux/arm64:a@2"]
        );
        assert_eq!(made(&request(file(), &["linux/s390x"]), &["linux/arm64"]), ["linux/s390x"]);
        assert_eq!(made(&request(image(), &[]), &["linux/s390x", &here]), [here.as_str()]);
        assert_eq!(made(&request(image(), &["linux/s390x"]), &[]), ["linux/s390x"]);
        let refused = |request: &PackageRequest, own: &[&str]| {
            let own: Vec<Target> = own.iter().map(|target| target.parse().unwrap()).collect();
            wanted_targets(request, &own).unwrap_err().to_string()
        };
        assert_eq!(
            refused(&request(image(), &[]), &["linux/s390x"]),
            format!("none of the targets linux/s390x is {here}, and the images of the store are for this machine")
        );
        assert_eq!(
            refused(&request(image(), &["linux/s390x", "linux/arm64"]), &[]),
            "an image is made for one target, and 2 were asked for"
        );
        assert_eq!(
            refused(&request(file(), &["windows/amd64"]), &[]),
            "a package for windows/amd64 cannot be made: hoist makes packages for linux"
        );
    }

    #[test]
    fn files_of_several_targets_are_called_by_them() {
        let path = |target: &str| file_path(Path::new("/a/pip.cnb"), Some(&target.parse().unwrap()));
        assert_eq!(path("linux/arm64"), Path::new("/a/pip-linux-arm64.cnb"));
        assert_eq!(path("linux/arm/v6:debian@13"), Path::new("/a/pip-linux-arm-v6-debian-13.cnb"));
        assert_eq!(file_path(Path::new("pip.cnb"), None), Path::new("pip.cnb"));
    }
}
