//! Rebase: an app image of the store is put on another run image, most often a newer one of the same name. The app's layers stay as they are, byte for
//! byte (platform.md, "rebaser", is `hoist_lifecycle::rebase`); here the run image is chosen, and what is different below the app is told.

use std::collections::BTreeSet;
use std::path::PathBuf;

use hoist_image::{DiffId, Image, Layer, Platform, Reference, RegistryError, Store};
use hoist_lifecycle::{Foundation, RebaseError};
use hoist_spec::{ApiVersion, Report};
use serde::Serialize;

use crate::build::write_report_to;
use crate::builder::RUN_IMAGE_NAME;
use crate::create::BuilderError;
use crate::engine::{BaseChoice, LocalEngine};
use crate::error::PlatformError;
use crate::lookup::{PullPolicy, find_called};
use crate::os_packages::{OsPackages, PackageChanges, os_packages};
use crate::place::PlaceError;

/// What is to be put on what.
#[derive(Debug, Clone)]
pub struct RebaseRequest {
    /// The app image: a name or an id.
    pub image: String,
    /// The names that the rebased image gets.
    pub names: Vec<Reference>,
    /// The new run image; otherwise the one that the image's label names.
    pub run_image: Option<Reference>,
    /// Whether hoist's own run image is made from the newest packages first.
    pub newest: bool,
    /// Whether it is done although it is not safe.
    pub force: bool,
    /// Where `report.toml` goes.
    pub report_dir: Option<PathBuf>,
}

/// What came of it.
#[derive(Debug, Clone, Serialize)]
pub struct Rebased {
    /// The image's id now.
    pub image_id: String,
    /// Its id before.
    pub previous_id: String,
    /// The names that it got.
    pub names: Vec<String>,
    /// The run image that it stands on.
    pub run_image: String,
    /// The id of that.
    pub run_image_id: String,
    /// Whether it stood on that before.
    pub unchanged: bool,
    /// Layers of the app, which stayed.
    pub kept_layers: usize,
    /// Layers of the run image that went.
    pub removed_layers: usize,
    /// Layers of the run image that came.
    pub added_layers: usize,
    /// What is different among the packages of the operating system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub packages: Option<PackageChanges>,
    /// Why the packages cannot be told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub packages_unknown: Option<String>,
}

impl LocalEngine {
    /// Puts an app image on its run image as that is now, or on another one. Nothing is changed before all of it is known to fit.
    pub fn rebase(&self, request: &RebaseRequest) -> Result<Rebased, PlatformError> {
        let app = self.store().image(&request.image)?;
        let foundation = Foundation::of(&app, &request.image)?;
        let run_image = self.run_image_for(request, &foundation)?;
        let (rebased, config) = self.rebased(request, &app, &foundation, &run_image)?;
        let image = match config {
            Some(config) => {
                let image = self.store().put_image_bytes(config, &[])?;
                self.note_rebase(&app, &image)?;
                image
            }
            None => app,
        };
        for name in &request.names {
            self.store().tag(&image, name)?;
        }
        write_report(request, &rebased)?;
        Ok(rebased)
    }

    /// The same for an image of a registry. None of the app's layers is fetched, and nothing comes into the store but run images (their packages are
    /// compared): the image that is returned is to be pushed to that registry, where its layers are.
    pub fn rebase_remote(&self, request: &RebaseRequest, name: &Reference) -> Result<(Rebased, Image), PlatformError> {
        let of_registry = |error: RegistryError| PlatformError::from(PlaceError::from(error));
        let platform = Platform::of_this_machine();
        let app = self.registries().look(self.store(), name, &platform).map_err(of_registry)?.image;
        let foundation = Foundation::of(&app, &request.image)?;
        let run_image = self.run_image_for(request, &foundation)?;
        let below: BTreeSet<DiffId> = app.diff_ids()[..foundation.layers].iter().copied().collect();
        let session = self.store().lease()?;
        session.hold(&below.iter().copied().collect::<Vec<_>>())?;
        let fetched = self.registries().fetch_layers(self.store(), name, &platform, &below, self.reporter());
        fetched.map_err(of_registry)?;
        let (rebased, config) = self.rebased(request, &app, &foundation, &run_image)?;
        let image = match config {
            Some(config) => self.store().view_image(config)?,
            None => app,
        };
        write_report(request, &rebased)?;
        Ok((rebased, image))
    }

    /// What comes of it, and the new configuration where it is another one. The layers of both run images are in the store.
    fn rebased(
        &self,
        request: &RebaseRequest,
        app: &Image,
        foundation: &Foundation,
        (run_name, run_image): &(Reference, Image),
    ) -> Result<(Rebased, Option<Vec<u8>>), PlatformError> {
        let (old, kept) = app.diff_ids().split_at(foundation.layers);
        let unchanged = old == run_image.diff_ids();
        let put_on = || self.put_on(app, run_name, run_image, request.force);
        let config = if unchanged { None } else { Some(put_on()?) };
        let (packages, packages_unknown) = package_changes(self.store(), old, run_image)?;
        let image_id = match &config {
            Some(config) => self.store().view_image(config.clone())?.id(),
            None => app.id(),
        };
        let names = request.names.iter().map(ToString::to_string).collect();
        let shared = old.iter().zip(run_image.diff_ids()).take_while(|(old, new)| old == new).count();
        let rebased = Rebased {
            image_id: image_id.to_string(),
            previous_id: app.id().to_string(),
            run_image: run_name.to_string(),
            run_image_id: run_image.id().to_string(),
            unchanged,
            kept_layers: kept.len(),
            removed_layers: old.len() - shared,
            added_layers: run_image.diff_ids().len() - shared,
            packages,
            packages_unknown,
            names,
        };
        Ok((rebased, config))
    }

    fn put_on(&self, app: &Image, name: &Reference, run_image: &Image, force: bool) -> Result<Vec<u8>, PlatformError> {
        let request = hoist_lifecycle::RebaseRequest {
            app,
            run_image,
            run_name: name,
            run_reference: &run_image.id().to_string(),
            force,
            platform_api: ApiVersion::NEWEST_PLATFORM,
        };
        Ok(hoist_lifecycle::rebased_config(&request, self.reporter())?)
    }

    /// The run image that is asked for, else the first of the label's that the store has.
    fn run_image_for(
        &self,
        request: &RebaseRequest,
        foundation: &Foundation,
    ) -> Result<(Reference, Image), PlatformError> {
        let names = match &request.run_image {
            Some(name) => vec![name.clone()],
            None => std::iter::once(&foundation.names.image)
                .chain(&foundation.names.mirrors)
                .filter_map(|name| name.parse().ok())
                .collect(),
        };
        for name in &names {
            if let Some(image) = self.run_image_called(name, request.newest)? {
                return Ok((name.clone(), image));
            }
        }
        Err(match names.first() {
            Some(name) => BuilderError::no_image("run image", name.to_string()).into(),
            None => RebaseError::NoRunImage.into(),
        })
    }

    fn run_image_called(&self, name: &Reference, newest: bool) -> Result<Option<Image>, PlatformError> {
        if RUN_IMAGE_NAME.parse().is_ok_and(|own: Reference| own == *name) {
            let choice = if newest { BaseChoice::Newest } else { BaseChoice::Present };
            let image = self.store().image(&self.base(&choice)?.run_image)?;
            self.store().tag(&image, name)?;
            return Ok(Some(image));
        }
        self.bring(name).map_err(BuilderError::from)?;
        Ok(find_called(self.store(), name)?)
    }

    /// Whether a name stands for an image of its registry, because the store has none of that name or shall not be asked.
    pub fn is_remote(&self, image: &str) -> Result<Option<Reference>, PlatformError> {
        let Some(name) = image.parse::<Reference>().ok().filter(|name| name.registry().is_some()) else {
            return Ok(None);
        };
        let remote = match self.settings().pull_policy {
            PullPolicy::Never => false,
            PullPolicy::IfNotPresent => self.store().find_image(&name)?.is_none(),
            PullPolicy::Always => true,
        };
        Ok(remote.then_some(name))
    }

    /// Brings an app image that is asked for by its name from its registry, where that is to be asked.
    pub fn bring_app(&self, image: &str) -> Result<(), PlatformError> {
        match self.is_remote(image)? {
            Some(name) => Ok(self.fetch(&name).map_err(PlaceError::from)?),
            None => Ok(()),
        }
    }
}

/// What is different between these layers of the run image until now and the new one, or why that is not known.
fn package_changes(
    store: &Store,
    old: &[DiffId],
    run_image: &Image,
) -> Result<(Option<PackageChanges>, Option<String>), PlatformError> {
    let mut under: Vec<Layer> = Vec::new();
    for diff_id in old {
        match store.layer(diff_id)? {
            Some(layer) => under.push(layer),
            None => return Ok((None, Some(format!("of the run image until now: its layer {diff_id} is not there")))),
        }
    }
    Ok(match (os_packages(&under)?, os_packages(&run_image.layers()?)?) {
        (OsPackages::Known(old), OsPackages::Known(new)) => (Some(PackageChanges::between(&old, &new)), None),
        (OsPackages::Unknown(why), _) => (None, Some(format!("of the run image until now: {why}"))),
        (_, OsPackages::Unknown(why)) => (None, Some(format!("of the new run image: {why}"))),
    })
}

fn write_report(request: &RebaseRequest, rebased: &Rebased) -> Result<(), PlatformError> {
    let Some(dir) = &request.report_dir else { return Ok(()) };
    let mut report = Report::default();
    report.image.tags = request.names.iter().map(ToString::to_string).collect();
    report.image.image_id = Some(rebased.image_id.clone());
    write_report_to(&report, dir)
}
