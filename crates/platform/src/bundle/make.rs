//! Making a bundle: the app is built with an empty cache, so that what it needs lies in there, and built again from that without the network. Only what
//! gave an image that way is packed.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fs_err as fs;
use hoist_base::Base;
use hoist_events::{Event, TransferId};
use hoist_image::{Compression, Image, OutFile};
use hoist_spec::ProjectBuildpackSource;

use super::collect::{Collected, list, pack, remove_idle};
use super::document::{BundleContents, BundledImage, BundledPackage, Document, Trust};
use super::error::BundleError;
use super::file;
use crate::bill::BillFormat;
use crate::builder::{BUILD_IMAGE_NAME, BUILD_USER, RUN_IMAGE_NAME};
use crate::engine::{BaseChoice, LocalEngine};
use crate::error::PlatformError;
use crate::request::{BuildNetwork, BuildRequest};
use crate::supplies::{Stock, Supplies, copy_cache, links_dir};

/// Where hoist's buildpacks keep uv, below their cache.
const UV_DIR: &str = "pip/uv-bin";

/// A bundle was made.
#[derive(Debug)]
pub struct Bundled {
    /// Where it is.
    pub path: PathBuf,
    /// What is in it.
    pub contents: BundleContents,
    /// What differs between the image that was built with the network and the one without, where something does.
    pub difference: Option<String>,
    /// From the first to the last step.
    pub elapsed: Duration,
}

/// The images that a build stands on.
struct Foundations {
    base: Option<Base>,
    /// By the names that they are asked for by.
    images: BTreeMap<String, Image>,
    own_buildpacks: BTreeSet<String>,
}

impl LocalEngine {
    /// Makes a bundle of all that the build of `request` needs.
    pub fn bundle(&self, request: &BuildRequest, output: &Path) -> Result<Bundled, PlatformError> {
        let started = Instant::now();
        if self.is_offline() || request.network == BuildNetwork::None {
            return Err(BundleError::Offline.into());
        }
        let unwritable = |source| BundleError::Write { path: output.to_owned(), source };
        let out = OutFile::begin(output).map_err(unwritable)?;
        let scratch = self.store().scratch("bundle")?;
        let cache_dir = scratch.path().join("cache");
        fs::create_dir(&cache_dir).map_err(BundleError::collect("making a folder"))?;
        let lease = self.store().lease()?;

        // It is called by its hash, and where an environment of conda's has no pip nobody else could fetch it.
        let uv_dir = cache_dir.join(UV_DIR);
        self.lend_uv(&uv_dir).map_err(BundleError::collect("taking uv from the cache"))?;
        self.reporter().step("building once with an empty cache, to see what the app needs");
        let built = self.again()?.with_stock(Stock::Collected(cache_dir.clone())).build_apart(request)?;
        lease.hold_image(&built.image)?;
        let settled = self.with_project(request)?;
        let foundations = self.foundations(&settled)?;
        for image in foundations.images.values() {
            lease.hold_image(image)?;
        }
        remove_idle(&cache_dir).map_err(BundleError::collect("clearing up"))?;
        let (sources, keyring) = self.apt_binding()?;
        let trust = Trust::of(self.host(), &sources, &keyring);

        let packages = self.packages_of(&built.image)?;
        if !packages.iter().any(|package| package.kind == "pypi") && uv_dir.is_dir() {
            fs::remove_dir_all(&uv_dir).map_err(BundleError::collect("clearing up"))?;
        }
        take_links(&trust.link_dirs, &packages, &cache_dir)
            .map_err(BundleError::collect("taking packages from the folders of find-links"))?;

        self.reporter().step("building again without the network, from what was fetched");
        let again = self.build_without_network(request, &settled, &cache_dir, &foundations, &trust)?;
        let difference = built.image.difference(&again)?.map(|difference| difference.to_string());
        if let Some(difference) = &difference {
            let text = format!("what is built without the network is not the same image: {difference}");
            self.reporter().warn(&text, Some("a package that is built from source may be another one each time"));
        }

        let collected = list(&cache_dir, &|| self.go_on())?;
        let mut document = describe(&settled, &built.staged.name, &built.image, foundations, trust)?;
        document.packages = packages;
        let images = scratch.path().join(file::IMAGES);
        self.write_images(&document, &images)?;
        let cache = scratch.path().join(file::CACHE);
        self.write_cache(&collected, &cache_dir, &cache).map_err(|error| self.unless_cancelled(error))?;
        (document.files, document.links) = (collected.files, collected.links);
        for image in [&built.image, &again] {
            self.store().remove_unnamed(image.id())?;
        }
        let text = serde_json::to_vec(&document).map_err(|error| unwritable(io::Error::other(error)))?;
        self.reporter().step(&format!("writing {}", output.display()));
        self.go_on().map_err(|_| PlatformError::Cancelled)?;
        file::write(BufWriter::with_capacity(1 << 20, out.file()), &text, &images, &cache).map_err(unwritable)?;
        let bytes = out.file().metadata().map_err(unwritable)?.len();
        out.publish().map_err(unwritable)?;
        let digest = hoist_image::Digest::of(&text).hex();
        let contents = document.contents(&digest, bytes);
        Ok(Bundled { path: output.to_owned(), contents, difference, elapsed: started.elapsed() })
    }

    /// Copies uv, where earlier builds fetched it.
    fn lend_uv(&self, uv_dir: &Path) -> io::Result<()> {
        let shared = self.store().root_dir().join("cache/build").join(UV_DIR);
        if !shared.is_dir() {
            return Ok(());
        }
        let user = nix::unistd::geteuid().is_root().then_some(BUILD_USER);
        let above = uv_dir.parent().unwrap_or(uv_dir);
        fs::create_dir_all(above)?;
        if let Some(user) = user {
            std::os::unix::fs::lchown(above, Some(user.uid), Some(user.gid))?;
        }
        copy_cache(&shared, uv_dir, user)
    }

    /// The proof that nothing is missing.
    fn build_without_network(
        &self,
        request: &BuildRequest,
        settled: &BuildRequest,
        cache_dir: &Path,
        foundations: &Foundations,
        trust: &Trust,
    ) -> Result<Image, PlatformError> {
        let images = foundations.images.iter().map(|(name, image)| (name.clone(), image.id().to_string())).collect();
        let supplies = Supplies {
            bundle: None,
            cache_dir: cache_dir.to_owned(),
            base: foundations.base.clone(),
            sources: trust.sources.clone(),
            keyring: trust.keyring().unwrap_or_default(),
            link_dirs: trust.link_dirs.iter().map(PathBuf::from).collect(),
            images,
            run_image: settled.run_image.as_ref().map(ToString::to_string),
            builder: settled.builder.as_ref().map(ToString::to_string),
            own_buildpacks: foundations.own_buildpacks.clone(),
            _held: None,
        };
        supplies.make_link_dirs().map_err(BundleError::collect("making a folder"))?;
        let offline = self.again()?.with_host(trust.host()).with_stock(Stock::Supplied(Arc::new(supplies)));
        match offline.build_apart(request) {
            Ok(built) => Ok(built.image),
            Err(PlatformError::Cancelled) => Err(PlatformError::Cancelled),
            Err(source) => Err(BundleError::NotRepeatable { source: Box::new(source) }.into()),
        }
    }

    fn foundations(&self, request: &BuildRequest) -> Result<Foundations, PlatformError> {
        let mut images = BTreeMap::new();
        let (mut needs_base, mut own_buildpacks) = (request.builder.is_none(), BTreeSet::new());
        if let Some(name) = &request.builder {
            let builder = self.named_builder(name, &request.run_image_mirrors)?;
            own_buildpacks = builder.own_buildpacks;
            images.insert(name.to_string(), builder.image);
            needs_base = builder.run_image_names.image == RUN_IMAGE_NAME;
            if !needs_base {
                let name: hoist_image::Reference = builder.run_image_names.image.parse()?;
                images.insert(name.to_string(), builder.run_image);
            }
        }
        if let Some(name) = &request.run_image {
            images.insert(name.to_string(), self.wanted_image("run image", &name.to_string())?);
        }
        let choice = &request.buildpacks;
        for wanted in choice.group.iter().chain(&choice.pre).chain(&choice.post) {
            let ProjectBuildpackSource::Locator(text) = &wanted.source else { continue };
            let text = text.strip_prefix("docker://").unwrap_or(text);
            if let Ok(name) = text.parse()
                && !Path::new(text).exists()
                && let Some(image) = self.find_named(&name)?
            {
                images.insert(name.to_string(), image);
            }
        }
        let base = if needs_base { Some(self.base(&BaseChoice::Present)?) } else { None };
        if let Some(base) = &base {
            images.insert(RUN_IMAGE_NAME.to_owned(), self.store().image(&base.run_image)?);
            images.insert(BUILD_IMAGE_NAME.to_owned(), self.store().image(&base.build_image)?);
        }
        Ok(Foundations { base, images, own_buildpacks })
    }

    /// The packages of an image, by its bill.
    fn packages_of(&self, image: &Image) -> Result<Vec<BundledPackage>, PlatformError> {
        let bill = self.bill(&image.id().to_string(), "the app", BillFormat::CycloneDx)?;
        let mut packages: Vec<BundledPackage> = bill["components"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|component| {
                let text = |key: &str| component[key].as_str().unwrap_or_default().to_owned();
                let purl = text("purl");
                let kind = purl.strip_prefix("pkg:")?.split('/').next()?.to_owned();
                Some(BundledPackage { kind, name: text("name"), version: text("version") })
            })
            .collect();
        packages.sort();
        packages.dedup();
        Ok(packages)
    }

    fn write_images(&self, document: &Document, path: &Path) -> Result<(), PlatformError> {
        let bytes: u64 = document.images.iter().map(|image| image.bytes).sum();
        self.reporter().step(&format!("packing {} images, {} MB", document.images.len(), bytes / 1_000_000));
        let ids: BTreeSet<&str> = document.images.iter().map(|image| image.id.as_str()).collect();
        let images = ids.into_iter().map(|id| self.store().image(id)).collect::<Result<Vec<_>, _>>()?;
        let images: Vec<&Image> = images.iter().collect();
        let file = fs::File::create_new(path).map_err(BundleError::collect("packing the images"))?;
        let mut out = BufWriter::with_capacity(1 << 20, file);
        self.store()
            .save_together(&images, &mut out, Compression::Zstd)
            .map_err(|error| BundleError::Save(Box::new(error)))?;
        out.flush().map_err(BundleError::collect("packing the images"))?;
        self.go_on().map_err(|_| PlatformError::Cancelled)
    }

    fn write_cache(&self, collected: &Collected, cache_dir: &Path, path: &Path) -> Result<(), BundleError> {
        let total: u64 = collected.files.iter().map(|file| file.bytes).sum();
        self.reporter().step(&format!(
            "packing {} files that were fetched, {} MB",
            collected.files.len(),
            total / 1_000_000
        ));
        let file = fs::File::create_new(path).map_err(BundleError::collect("packing what was fetched"))?;
        self.transferred("packing", total, |told| {
            pack(cache_dir, &collected.files, BufWriter::with_capacity(1 << 20, file), told)
        })
        .map_err(BundleError::collect("packing what was fetched"))
    }

    /// Tells of the bytes that `work` says it did, and ends it where nobody wants it any more.
    pub(super) fn transferred(
        &self,
        what: &str,
        total: u64,
        work: impl FnOnce(&mut dyn FnMut(u64) -> io::Result<()>) -> io::Result<()>,
    ) -> io::Result<()> {
        let id = TransferId::next();
        let mut done_bytes = 0;
        self.reporter().report(&Event::TransferStarted { id, what: what.to_owned(), total_bytes: Some(total) });
        let result = work(&mut |bytes| {
            done_bytes += bytes;
            self.reporter().report(&Event::TransferProgressed { id, done_bytes });
            self.go_on()
        });
        self.reporter().report(&Event::TransferFinished { id, done_bytes });
        result
    }

    /// An error where Ctrl-C was pressed.
    pub(super) fn go_on(&self) -> io::Result<()> {
        if self.cancel().is_cancelled() { Err(io::ErrorKind::Interrupted.into()) } else { Ok(()) }
    }
}

/// The document without the files.
fn describe(
    request: &BuildRequest,
    app: &str,
    image: &Image,
    foundations: Foundations,
    trust: Trust,
) -> Result<Document, PlatformError> {
    let Foundations { base, images, own_buildpacks } = foundations;
    let mut listed = Vec::new();
    for (name, image) in images {
        listed.push(BundledImage { name, id: image.id().to_string(), bytes: image.size_bytes()? });
    }
    Ok(Document {
        hoist: env!("CARGO_PKG_VERSION").to_owned(),
        architecture: hoist_debian::native_architecture().to_owned(),
        app: app.to_owned(),
        image_id: image.id().to_string(),
        base,
        builder: request.builder.as_ref().map(ToString::to_string),
        run_image: request.run_image.as_ref().map(ToString::to_string),
        own_buildpacks,
        images: listed,
        trust,
        packages: Vec::new(),
        files: Vec::new(),
        links: Vec::new(),
    })
}

/// Takes those files of folders of packages that are of packages of the image.
fn take_links(dirs: &[String], packages: &[BundledPackage], cache_dir: &Path) -> io::Result<()> {
    let normal = |name: &str| name.to_lowercase().replace(['_', '.'], "-");
    let wanted: BTreeSet<String> =
        packages.iter().filter(|package| package.kind == "pypi").map(|package| normal(&package.name)).collect();
    for (number, dir) in dirs.iter().enumerate() {
        let place = links_dir(cache_dir, number);
        fs::create_dir_all(&place)?;
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let stem = name.strip_suffix(".tar.gz").or_else(|| name.strip_suffix(".zip"));
            let of = match (name.strip_suffix(".whl"), stem) {
                (Some(wheel), _) => wheel.split('-').next(),
                (None, Some(source)) => source.rsplit_once('-').map(|(of, _)| of),
                (None, None) => None,
            };
            if of.is_some_and(|of| wanted.contains(&normal(of))) && entry.path().is_file() {
                fs::copy(entry.path(), place.join(&name))?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_folder_of_packages_those_of_the_image_are_taken() {
        let dir = tempfile::tempdir().unwrap();
        let wheels = dir.path().join("wheels");
        fs::create_dir(&wheels).unwrap();
        for name in ["My_Pkg-1-py3-none-any.whl", "other-1-py3-none-any.whl", "a.b-c-2.tar.gz", "notes.txt"] {
            fs::write(wheels.join(name), "x").unwrap();
        }
        let of = |kind: &str, name: &str| BundledPackage { kind: kind.into(), name: name.into(), version: "1".into() };
        let packages = [of("pypi", "my-pkg"), of("pypi", "a-b-c"), of("deb", "other")];
        take_links(&[wheels.display().to_string()], &packages, dir.path()).unwrap();
        let mut taken: Vec<_> =
            fs::read_dir(links_dir(dir.path(), 0)).unwrap().flatten().map(|one| one.file_name()).collect();
        taken.sort();
        assert_eq!(taken, ["My_Pkg-1-py3-none-any.whl", "a.b-c-2.tar.gz"]);
    }
}
