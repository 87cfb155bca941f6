//! What is sent to a daemon: an image without a name and without the layers that the daemon has. Nothing is compressed.
//!
//! Docker's own storage takes a docker-archive and looks into it only for layers that it does not know (by the chain of diffIDs up to them).
//! Containerd's and podman take an OCI layout and look only for blobs that they do not have; with plain tars a blob's digest is the layer's diffID.

use std::collections::BTreeSet;
use std::io::Write;

use serde_json::json;

use crate::archive_write::{LAYOUT, SaveError, descriptor, doing, put, put_dir, put_header};
use crate::compress::Compression;
use crate::digest::{DiffId, Digest};
use crate::error::StoreError;
use crate::image::Image;
use crate::tar_write;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// The manifest of an image whose layers are plain tars; its digest is the image's identity for a daemon that keeps blobs.
pub(super) fn plain_manifest(image: &Image) -> Result<Vec<u8>, StoreError> {
    let layers: Vec<_> = image
        .layers()?
        .iter()
        .map(|layer| descriptor(Compression::None.media_type(), &layer.diff_id().0, layer.size_bytes()))
        .collect();
    let config =
        descriptor("application/vnd.oci.image.config.v1+json", &image.id().0, image.config_bytes().len() as u64);
    let manifest = json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers });
    Ok(manifest.to_string().into_bytes())
}

/// Writes a docker-archive.
pub(super) fn write_docker(image: &Image, there: &BTreeSet<DiffId>, out: &mut dyn Write) -> Result<(), SaveError> {
    image.save_docker(out, &[], there)?;
    finish(out)
}

/// Writes an OCI layout with plain layers.
pub(super) fn write_plain_oci(image: &Image, there: &BTreeSet<DiffId>, out: &mut dyn Write) -> Result<(), SaveError> {
    let action = "writing the image for the docker daemon";
    let manifest = plain_manifest(image)?;
    let digest = Digest::of(&manifest);
    let mut listed = descriptor(MANIFEST, &digest, manifest.len() as u64);
    listed["platform"] =
        json!({ "architecture": image.config().architecture().to_string(), "os": image.config().os().to_string() });
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [listed],
    });
    let blob = |digest: &Digest| format!("blobs/sha256/{}", digest.hex());
    put(out, "oci-layout", LAYOUT).map_err(doing(action))?;
    put(out, "index.json", index.to_string().as_bytes()).map_err(doing(action))?;
    for dir in ["blobs", "blobs/sha256"] {
        put_dir(out, dir).map_err(doing(action))?;
    }
    put(out, &blob(&digest), &manifest).map_err(doing(action))?;
    put(out, &blob(&image.id().0), image.config_bytes()).map_err(doing(action))?;
    let mut done = there.clone();
    for layer in image.layers()? {
        if done.insert(layer.diff_id()) {
            put_header(out, &blob(&layer.diff_id().0), layer.size_bytes()).map_err(doing(action))?;
            layer.write_tar(out)?;
            tar_write::write_padding(out, layer.size_bytes()).map_err(doing(action))?;
        }
    }
    finish(out)
}

fn finish(out: &mut dyn Write) -> Result<(), SaveError> {
    tar_write::write_end(out).and_then(|()| out.flush()).map_err(doing("finishing the archive"))
}
