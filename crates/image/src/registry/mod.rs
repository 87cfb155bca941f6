//! Registries as a place of images: a client of the OCI distribution protocol (distribution-spec 1.1), for pulling and pushing.
//!
//! ```text
//! name ─resolve→ manifest ─fetch, check→ blobs ─load_layer→ layers ─put_image→ Image
//! Image ─known_blob, compress→ blobs ─has, mount, upload→ manifest under a name
//! manifest's digest ─attach→ documents that refer to it ─attached→ what they are
//! ```
//!
//! It blocks, and works in a few threads (docs/adr/0050). Nobody on the other side is trusted: documents are bounded, every byte has a digest that is
//! checked before it is used, whoever is silent is not waited for. Credentials go to the registry and its token service alone.

mod artifact;
mod attach;
mod challenge;
mod copy;
mod error;
mod keys;
mod known;
mod login;
mod manifest;
mod pull;
mod push;
mod referrers;
mod resolve;
mod seen;
mod settings;
mod talk;
mod token;
mod upload;
mod verify;
mod wire;
mod work;

pub use artifact::Attachment;
pub use attach::{Attached, Attachments};
pub use copy::Copied;
pub use error::RegistryError;
pub use manifest::Platform;
pub use pull::Fetched;
pub use push::Sent;
pub use referrers::AttachedDocument;
pub use seen::{Seen, SeenLayer};
pub use settings::{KeyPlaces, RegistrySettings, RegistryTimes};
pub use talk::Registries;
