//! OCI images: references, reproducible layers, the local store, archives. Knows no CNB.
//!
//! ```text
//! files, readers ─LayerBuilder→ Layer ─put_image→ Image ─lower_dirs→ overlay
//!                                                      └─save→ archive ─load→ Image
//! ```
//!
//! The store keeps trees, not tarballs (see [`Store`]); a layer's diffID is the one that the Go lifecycle would give it. Only two talk to
//! anybody: [`Daemon`] to a docker daemon, over its socket, and [`Registries`] to registries.
#![forbid(unsafe_code)]

mod adopt;
mod archive_write;
mod blob;
mod builder;
mod compress;
mod difference;
mod digest;
mod docker;
mod durable;
mod entry;
mod error;
mod image;
mod index;
mod layer;
mod layout_dir;
mod lease;
mod load;
mod load_layer;
mod outfile;
mod place;
mod prune;
mod record;
mod reference;
mod registry;
mod remove;
mod scratch;
mod source;
mod stop;
mod store;
mod tar_file;
mod tar_read;
mod tar_write;
mod transport;
mod verify;

pub use archive_write::{ArchiveFormat, SaveError};
pub use blob::Blob;
pub use builder::{LayerBuilder, Order, SealedLayer};
pub use compress::Compression;
pub use difference::Difference;
pub use digest::{DiffId, Digest, DigestError, Hasher, ImageId};
pub use docker::{Daemon, DaemonTimes, DockerAddress, DockerError, Looked, Pulled, Pushed};
pub use entry::{Attributes, Entry, Kind, LAYER_MTIME, Ownership};
pub use error::{LayerError, StoreError};
pub use image::{Image, Removed};
pub use index::Entries;
pub use layer::Layer;
pub use lease::Lease;
pub use load::{LoadError, LoadLimits, Loaded};
pub use oci_spec::image as oci;
pub use outfile::OutFile;
pub use prune::{DiskUsage, PruneOptions, Pruned};
pub use record::{Keeps, Record};
pub use reference::{Reference, ReferenceError};
pub use registry::{
    Attached, AttachedDocument, Attachment, Attachments, Copied, Fetched, KeyPlaces, Platform, Registries,
    RegistryError, RegistrySettings, RegistryTimes, Seen, SeenLayer, Sent,
};
pub use scratch::Scratch;
pub use store::Store;
pub use tar_file::{TarFile, leads_out};
pub use verify::Problem;
