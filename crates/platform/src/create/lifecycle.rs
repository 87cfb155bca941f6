//! `[lifecycle] uri`: another lifecycle than hoist's own for a builder, as the Go lifecycle is released: `lifecycle.toml` and the programs below
//! one folder, in a tar or unpacked, or an image of the store with `/cnb/lifecycle`.
//!
//! Hoist itself builds with its own whichever a builder has; pack and other platforms use the one inside.

use std::io;
use std::path::{Path, PathBuf};

use fs_err as fs;
use hoist_debian::{FetchError, FetchOptions, Fetcher, masked};
use hoist_image::{Attributes, Image, Kind, Layer, LayerBuilder, LayerError, Store, StoreError, TarFile};
use hoist_spec::{BuilderLifecycle, DocumentError};
use thiserror::Error;

use crate::bounded::read_bytes;
use crate::builder::LIFECYCLE_VERSION;
use crate::lookup::find_called;
use crate::module::{Location, MAX_DESCRIPTOR_BYTES, MAX_DOWNLOAD_BYTES};
use crate::place::{docker_has, how_to_bring};

/// Its descriptor, at the root of the archive.
const DESCRIPTOR: &str = "lifecycle.toml";
/// Where its programs are in a builder.
const LIFECYCLE_DIR: &str = "/cnb/lifecycle";
/// What the images of released lifecycles are called, as pack knows them; the tag is the version.
const IMAGES: &str = "buildpacksio/lifecycle";
/// Every lifecycle has them.
const PROGRAMS: [&str; 7] = ["analyzer", "builder", "creator", "detector", "exporter", "launcher", "restorer"];
/// Released lifecycles unpack to some hundred megabytes.
const MAX_UNPACKED_BYTES: u64 = 2 << 30;

/// Why the lifecycle cannot be had.
#[derive(Debug, Error)]
pub enum LifecycleError {
    /// It would have to be looked up and fetched.
    #[error("lifecycle {version} is not hoist's own, which is {LIFECYCLE_VERSION}, and the store has no image {image}")]
    Version {
        /// As asked for.
        version: String,
        /// The name that its image has.
        image: String,
        /// Whether the docker daemon has that.
        in_docker: bool,
    },
    /// The image of a release is of another one.
    #[error("lifecycle {version} was asked for, and the image {image} has {seen}")]
    OtherVersion {
        /// As asked for.
        version: String,
        /// The image.
        image: String,
        /// What it has.
        seen: String,
    },
    /// Nothing is there.
    #[error("finding the lifecycle `{location}`: it is neither a file, a folder nor an image of the store")]
    NotThere {
        /// As written.
        location: String,
    },
    /// It cannot be fetched.
    #[error("fetching the lifecycle {url}")]
    Fetch {
        /// From where.
        url: String,
        /// Why not.
        source: Box<FetchError>,
    },
    /// A file cannot be read or written.
    #[error("reading the lifecycle `{location}`: {action}")]
    Io {
        /// As written.
        location: String,
        /// What was being done.
        action: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// Its files cannot be a layer.
    #[error("reading the lifecycle `{location}`")]
    Layer {
        /// As written.
        location: String,
        /// Why not.
        source: LayerError,
    },
    /// The descriptor is wrong.
    #[error("reading the lifecycle `{location}`")]
    Descriptor {
        /// As written.
        location: String,
        /// What is wrong.
        source: DocumentError,
    },
    /// Something that every lifecycle has is not there.
    #[error("reading the lifecycle `{location}`: it has no {what}")]
    Missing {
        /// As written.
        location: String,
        /// What.
        what: String,
    },
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl LifecycleError {
    /// What to do next.
    pub fn hint(&self) -> String {
        match self {
            Self::Version { image, in_docker: true, .. } => how_to_bring(image, true),
            Self::Version { .. } => {
                "fetch its archive and name that: uri = \"lifecycle.tgz\"; or remove the table: hoist builds with its own lifecycle, whichever a builder has"
                    .to_owned()
            }
            Self::OtherVersion { seen, .. } => format!("write version = \"{seen}\", or bring in the right image"),
            Self::NotThere { .. } => "correct the path; relative ones start at the folder of builder.toml".to_owned(),
            Self::Fetch { source, .. } => format!("{}; or fetch it yourself and name the file", source.hint()),
            Self::Io { .. } => "look for a full disk and for the permissions of the file".to_owned(),
            Self::Layer { source, .. } => source.hint(),
            Self::Descriptor { source, .. } => source.hint().unwrap_or_default(),
            Self::Missing { .. } => {
                "name the archive of a released lifecycle: lifecycle.toml, and the programs in a folder beside it".to_owned()
            }
            Self::Store(error) => error.hint(),
        }
    }

    /// Whether the network or the disk is at fault, and not what was asked for.
    pub(super) fn is_of_the_machine(&self) -> bool {
        matches!(self, Self::Fetch { .. } | Self::Io { .. } | Self::Store(_))
    }
}

/// Finds the lifecycle at `location` and makes its layer.
pub(super) fn find(
    store: &Store,
    location: &str,
    base_dir: &Path,
) -> Result<(BuilderLifecycle, Layer), LifecycleError> {
    let parsed = Location::parse(location, false, base_dir);
    let location = masked(location);
    let location = location.as_str();
    let not_there = || LifecycleError::NotThere { location: location.to_owned() };
    let (text, layer) = match parsed.map_err(|_| not_there())? {
        Location::Folder(dir) => from_folder(store, location, &dir)?,
        Location::File(path) => from_tar(store, location, &path)?,
        Location::Http(url) => {
            let failed = |source| LifecycleError::Fetch { url: location.to_owned(), source: Box::new(source) };
            let bytes = Fetcher::new(FetchOptions::from_environment()).get(&url, MAX_DOWNLOAD_BYTES).map_err(failed)?;
            let scratch = store.scratch("lifecycle")?;
            let path = scratch.path().join("download");
            let action = "keeping what was fetched";
            fs::write(&path, bytes).map_err(|source| LifecycleError::Io {
                location: location.to_owned(),
                action,
                source,
            })?;
            from_tar(store, location, &path)?
        }
        Location::Image(name) => {
            let image = find_called(store, &name)?.ok_or_else(not_there)?;
            from_image(store, location, &image)?
        }
        Location::Shipped(_) => return Err(not_there()),
    };
    checked(location, &text, layer)
}

/// A release by its version, as far as nothing has to be fetched: none where it is hoist's own, else the image of it in the store.
pub(super) fn find_release(store: &Store, version: &str) -> Result<Option<(BuilderLifecycle, Layer)>, LifecycleError> {
    let wanted = version.strip_prefix('v').unwrap_or(version);
    if wanted == LIFECYCLE_VERSION {
        return Ok(None);
    }
    let name = format!("{IMAGES}:{wanted}");
    let image = match name.parse() {
        Ok(name) => find_called(store, &name)?,
        Err(_) => None,
    };
    let Some(image) = image else {
        let in_docker = docker_has(&name);
        return Err(LifecycleError::Version { version: version.to_owned(), image: name, in_docker });
    };
    let (text, layer) = from_image(store, &name, &image)?;
    let (described, layer) = checked(&name, &text, layer)?;
    if described.version != wanted {
        let (version, seen) = (version.to_owned(), described.version);
        return Err(LifecycleError::OtherVersion { version, image: name, seen });
    }
    Ok(Some((described, layer)))
}

fn checked(location: &str, text: &str, layer: Layer) -> Result<(BuilderLifecycle, Layer), LifecycleError> {
    for program in PROGRAMS {
        if layer.entry(&Path::new(LIFECYCLE_DIR).join(program))?.is_none() {
            let what = format!("program {program}");
            return Err(LifecycleError::Missing { location: location.to_owned(), what });
        }
    }
    let wrong = |source| LifecycleError::Descriptor { location: location.to_owned(), source };
    Ok((BuilderLifecycle::parse_descriptor(text).map_err(wrong)?, layer))
}

fn from_tar(store: &Store, location: &str, path: &Path) -> Result<(String, Layer), LifecycleError> {
    let failed = |source| LifecycleError::Layer { location: location.to_owned(), source };
    let tar = TarFile::new(path, MAX_UNPACKED_BYTES);
    let found = tar.find(&[DESCRIPTOR], MAX_DESCRIPTOR_BYTES).map_err(failed)?;
    let (_, content) = found.ok_or_else(|| missing(location))?;
    let mut builder = store.layer_builder()?;
    tar.add_to(&mut builder, &place, &|_, kind, mode| dress(kind, mode)).map_err(failed)?;
    Ok((text_of(location, content)?, finish(builder).map_err(failed)?))
}

/// What lies one folder deep is a program (or its SBOM); nothing else is taken.
fn place(path: &Path) -> Option<PathBuf> {
    let deep = path.components().count() == 2;
    deep.then(|| Path::new(LIFECYCLE_DIR).join(path.file_name().unwrap_or_default()))
}

fn from_folder(store: &Store, location: &str, dir: &Path) -> Result<(String, Layer), LifecycleError> {
    let io = |action| move |source| LifecycleError::Io { location: location.to_owned(), action, source };
    let descriptor = dir.join(DESCRIPTOR);
    if !descriptor.is_file() {
        return Err(missing(location));
    }
    let content = read_bytes(&descriptor, MAX_DESCRIPTOR_BYTES).map_err(io("reading its descriptor"))?;
    let failed = |source| LifecycleError::Layer { location: location.to_owned(), source };
    let mut builder = store.layer_builder()?;
    let programs = dir.join("lifecycle");
    let entries = fs::read_dir(&programs).map_err(|_| LifecycleError::Missing {
        location: location.to_owned(),
        what: "folder called lifecycle with the programs".to_owned(),
    })?;
    for entry in entries {
        let host = entry.map_err(io("listing its programs"))?.path();
        let about = fs::metadata(&host).map_err(io("looking at a program"))?;
        if about.is_file() {
            let mode = std::os::unix::fs::PermissionsExt::mode(&about.permissions());
            let kind = Kind::File { size_bytes: about.len(), crc32: 0 };
            let place = Path::new(LIFECYCLE_DIR).join(host.file_name().unwrap_or_default());
            // A link to a program is the program.
            let real = fs::canonicalize(&host).map_err(io("looking at a program"))?;
            builder.copy_file(place, dress(&kind, mode), &real).map_err(failed)?;
        }
    }
    Ok((text_of(location, content)?, finish(builder).map_err(failed)?))
}

/// The topmost layer with a lifecycle, as images of lifecycles have it.
fn from_image(store: &Store, location: &str, image: &Image) -> Result<(String, Layer), LifecycleError> {
    let failed = |source| LifecycleError::Layer { location: location.to_owned(), source };
    let descriptor = Path::new(LIFECYCLE_DIR).join(DESCRIPTOR);
    for layer in image.layers()?.iter().rev() {
        let Some(entry) = layer.entry(&descriptor)?.cloned() else { continue };
        // A link would be followed on this machine, wherever it leads.
        if !matches!(entry.kind, Kind::File { size_bytes, .. } if size_bytes <= MAX_DESCRIPTOR_BYTES) {
            return Err(missing(location));
        }
        let content = fs::read(layer.file_path(&entry)).map_err(|source| LifecycleError::Io {
            location: location.to_owned(),
            action: "reading its descriptor",
            source,
        })?;
        let mut builder = store.layer_builder()?;
        for entry in layer.entries()? {
            let entry = entry?;
            if entry.path.parent() == Some(Path::new(LIFECYCLE_DIR)) && entry.path != descriptor {
                builder.link_entry(layer, &entry).map_err(failed)?;
            }
        }
        return Ok((text_of(location, content)?, finish(builder).map_err(failed)?));
    }
    Err(missing(location))
}

fn missing(location: &str) -> LifecycleError {
    LifecycleError::Missing { location: location.to_owned(), what: DESCRIPTOR.to_owned() }
}

fn text_of(location: &str, content: Vec<u8>) -> Result<String, LifecycleError> {
    String::from_utf8(content)
        .map_err(|_| LifecycleError::Missing { location: location.to_owned(), what: format!("{DESCRIPTOR} in UTF-8") })
}

fn dress(kind: &Kind, mode: u32) -> Attributes {
    match kind {
        Kind::File { .. } if mode & 0o111 == 0 => Attributes::root(0o644),
        _ => Attributes::root(0o755),
    }
}

/// It replaces whichever lifecycle the build image has, and platforms of before find it at `/lifecycle`.
fn finish(mut builder: LayerBuilder) -> Result<Layer, LayerError> {
    builder.directory(LIFECYCLE_DIR, Attributes::root(0o755))?;
    builder.opaque(LIFECYCLE_DIR)?;
    builder.symlink("/lifecycle", LIFECYCLE_DIR, Attributes::root(0o644))?;
    builder.leave_out_parents();
    builder.finish()
}
