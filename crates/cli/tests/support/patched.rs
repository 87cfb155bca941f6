//! A run image as it is after a security update, made of hoist's own.

use hoist_image::{Attributes, Image, Store};
use serde_json::{Value, json};

use super::shared_store;

/// Dpkg's list in an image.
pub const STATUS: &str = "/var/lib/dpkg/status";

/// Gives `name` to a run image like hoist's own, with one package in another version, one more and one less.
pub fn patched_run_image(name: &str) -> Image {
    let store = Store::open(shared_store()).expect("the store");
    let base = store.image("hoist/run").expect("hoist's run image");
    let layers = base.layers().expect("its layers");
    let status = layers.iter().rev().find_map(|layer| {
        let entry = layer.entry(STATUS.as_ref()).expect("a layer that can be read");
        entry.map(|entry| layer.file_path(entry))
    });
    let text = fs_err::read_to_string(status.expect("a list of dpkg")).expect("the list");
    let mut paragraphs: Vec<String> = text.split("\n\n").map(str::to_owned).collect();
    let own = |name: &str, paragraphs: &[String]| {
        let begin = format!("Package: {name}\n");
        paragraphs.iter().position(|paragraph| paragraph.starts_with(&begin)).expect("a package of the base")
    };
    let libc = own("libc6", &paragraphs);
    let version = paragraphs[libc].lines().find(|line| line.starts_with("Version: ")).expect("a version").to_owned();
    paragraphs[libc] = paragraphs[libc].replace(&version, "Version: 9.99");
    let tzdata = own("tzdata", &paragraphs);
    paragraphs.remove(tzdata);
    paragraphs
        .insert(0, "Package: a-new-one\nStatus: install ok installed\nArchitecture: all\nVersion: 1.0".to_owned());
    let text = paragraphs.join("\n\n");
    let mut builder = store.layer_builder().expect("a layer");
    builder.file(STATUS, Attributes::root(0o644), &mut text.as_bytes(), text.len() as u64).expect("a file");
    let layer = builder.finish().expect("a layer");
    let mut config: Value = serde_json::from_slice(base.config_bytes()).expect("its configuration");
    config["rootfs"]["diff_ids"].as_array_mut().expect("layers").push(json!(layer.diff_id().to_string()));
    config["history"].as_array_mut().expect("a history").push(json!({"created_by": "a patch"}));
    let bytes = serde_json::to_vec(&config).expect("a configuration");
    store.put_image_bytes(bytes, &[name.parse().expect("a name")]).expect("an image")
}
