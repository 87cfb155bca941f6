//! `buildpack pull`: a package, or a buildpack that becomes one, from an address or a file into the store, under a name.

use hoist_image::Reference;
use hoist_spec::ModuleConfig;

use super::parts::Parts;
use super::{PackageError, PackageOutput, PackageRequest, PackageSource, Place};
use crate::engine::LocalEngine;
use crate::error::PlatformError;
use crate::module::{Found, Modules};

/// A buildpack is in the store.
#[derive(Debug)]
pub struct PulledBuildpack {
    /// `id@version`.
    pub main: String,
    /// `id@version` of all that is in it.
    pub modules: Vec<String>,
    /// Its names.
    pub names: Vec<Reference>,
    /// The image's id.
    pub id: String,
}

impl LocalEngine {
    /// Brings a buildpack into the store, under `names` or, without any, as `<id>:<version>`.
    pub fn pull_buildpack(&self, location: &str, names: &[Reference]) -> Result<PulledBuildpack, PlatformError> {
        let place = Place::typed();
        let wanted = ModuleConfig { location: location.to_owned(), ..ModuleConfig::default() };
        let lease = self.store().lease()?;
        let modules = Modules::new(self, &place.base_dir, &self.parts().buildpacks, &lease);
        let Found { modules, package } = modules.read(&wanted).map_err(place.failed_to("fetching", &wanted))?;
        let Some(main) = modules.first().map(|module| module.descriptor.clone()) else {
            return Err(PackageError::IsPackage { location: location.to_owned() }.into());
        };
        let names = match names {
            [] => {
                let name = format!("{}:{}", main.id, main.version);
                let wrong = |source| PackageError::Name { module: main.full_name(), source };
                vec![name.parse::<Reference>().map_err(wrong)?]
            }
            names => names.to_vec(),
        };
        let mut all: Vec<String> = modules.iter().map(|module| module.descriptor.full_name()).collect();
        all.sort();
        let id = if let Some(image) = package {
            for name in &names {
                self.store().tag(&image, name)?;
            }
            image.id().to_string()
        } else {
            let request = PackageRequest {
                kind: main.kind,
                source: PackageSource::Location(location.to_owned()),
                output: PackageOutput::Image(names.clone()),
                targets: Vec::new(),
                labels: Vec::new(),
                flatten: None,
            };
            let parts = Parts::alone(modules);
            parts.check(None)?;
            self.put_package(&request, &parts, None, false)?.id
        };
        Ok(PulledBuildpack { main: main.full_name(), modules: all, names, id })
    }
}
