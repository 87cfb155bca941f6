//! In what two images differ, named by the first layer and the first file: what a rebuild that made another image is asked.

use std::cmp::Ordering;
use std::fmt;
use std::path::PathBuf;

use serde_json::Value;

use crate::digest::DiffId;
use crate::entry::{Entry, Kind};
use crate::error::StoreError;
use crate::image::Image;
use crate::layer::Layer;

/// The first thing in which two images differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Which layer, counted from 1 and from the lowest; none where only the configuration differs.
    pub layer: Option<usize>,
    /// What the history says of that layer.
    pub created_by: Option<String>,
    /// The layer of the one and of the other.
    pub diff_ids: (Option<DiffId>, Option<DiffId>),
    /// The first file that differs, or the key of the configuration.
    pub at: Option<PathBuf>,
    /// In what, as a sentence's end: `has 12 bytes in the one and 13 in the other`.
    pub problem: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(layer) = self.layer {
            write!(f, "layer {layer}")?;
            if let Some(created_by) = &self.created_by {
                write!(f, " ({created_by})")?;
            }
            write!(f, ": ")?;
        }
        if let Some(at) = &self.at {
            write!(f, "{} ", at.display())?;
        }
        f.write_str(&self.problem)
    }
}

impl Image {
    /// The first thing in which `other` is different; none where the two are the same.
    pub fn difference(&self, other: &Self) -> Result<Option<Difference>, StoreError> {
        if self.id() == other.id() {
            return Ok(None);
        }
        let (own, others) = (self.diff_ids(), other.diff_ids());
        let Some(at) = (0..own.len().max(others.len())).find(|at| own.get(*at) != others.get(*at)) else {
            return Ok(Some(difference_of_configurations(self, other)));
        };
        let diff_ids = (own.get(at).copied(), others.get(at).copied());
        let first = match diff_ids {
            (Some(one), Some(two)) => {
                let open = |image: &Self, diff_id| -> Result<Layer, StoreError> {
                    let missing = || StoreError::MissingLayer { what: format!("image {}", image.id()), diff_id };
                    Layer::open(self.store(), diff_id)?.ok_or_else(missing)
                };
                first_file(&open(self, one)?, &open(other, two)?)?
            }
            (Some(_), None) => (None, "is only in the one".to_owned()),
            _ => (None, "is only in the other".to_owned()),
        };
        let image = if diff_ids.0.is_some() { self } else { other };
        let (at_file, problem) = first;
        Ok(Some(Difference { layer: Some(at + 1), created_by: created_by(image, at), diff_ids, at: at_file, problem }))
    }
}

/// What the history says of a layer, where it has one entry for each.
fn created_by(image: &Image, at: usize) -> Option<String> {
    let config: Value = serde_json::from_slice(image.config_bytes()).ok()?;
    let entry =
        config["history"].as_array()?.iter().filter(|entry| entry["empty_layer"] != Value::Bool(true)).nth(at)?;
    entry["created_by"].as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

/// The first file that is not the same in two layers, by path.
fn first_file(one: &Layer, two: &Layer) -> Result<(Option<PathBuf>, String), StoreError> {
    let (own, others) = (sorted(one)?, sorted(two)?);
    let (mut left, mut right) = (own.iter().peekable(), others.iter().peekable());
    loop {
        let found = match (left.peek(), right.peek()) {
            (None, None) => break,
            (Some(entry), None) => Some((entry, "is only in the one".to_owned())),
            (None, Some(entry)) => Some((entry, "is only in the other".to_owned())),
            (Some(entry), Some(other)) => match entry.path.cmp(&other.path) {
                Ordering::Less => Some((entry, "is only in the one".to_owned())),
                Ordering::Greater => Some((other, "is only in the other".to_owned())),
                Ordering::Equal => difference_of_entries(entry, other).map(|problem| (entry, problem)),
            },
        };
        if let Some((entry, problem)) = found {
            return Ok((Some(entry.path.clone()), problem));
        }
        left.next();
        right.next();
    }
    Ok((None, "has the same files in another order, or written in another way".to_owned()))
}

fn sorted(layer: &Layer) -> Result<Vec<Entry>, StoreError> {
    let mut entries = layer.entries()?.collect::<Result<Vec<_>, _>>()?;
    // A removal and what is put in its place have the same path.
    entries.sort_by(|a, b| a.path.cmp(&b.path).then_with(|| kind(&a.kind).cmp(kind(&b.kind))));
    Ok(entries)
}

fn difference_of_entries(one: &Entry, two: &Entry) -> Option<String> {
    if one == two {
        return None;
    }
    let (kinds, attributes) = ((kind(&one.kind), kind(&two.kind)), (&one.attributes, &two.attributes));
    Some(match (&one.kind, &two.kind) {
        _ if kinds.0 != kinds.1 => format!("is a {} in the one and a {} in the other", kinds.0, kinds.1),
        (Kind::File { size_bytes: one, .. }, Kind::File { size_bytes: two, .. }) if one != two => {
            format!("has {one} bytes in the one and {two} in the other")
        }
        (Kind::File { crc32: one, .. }, Kind::File { crc32: two, .. }) if one != two => {
            "has the same length and another content".to_owned()
        }
        (Kind::Symlink { target: one }, Kind::Symlink { target: two })
        | (Kind::HardLink { target: one }, Kind::HardLink { target: two })
            if one != two =>
        {
            format!("leads to {} in the one and to {} in the other", one.display(), two.display())
        }
        _ if attributes.0.mode != attributes.1.mode => {
            format!("has the mode {:o} in the one and {:o} in the other", attributes.0.mode, attributes.1.mode)
        }
        _ if attributes.0 != attributes.1 => "belongs to another user or group".to_owned(),
        _ if one.mtime_secs != two.mtime_secs => {
            format!("has the time {} in the one and {} in the other", one.mtime_secs, two.mtime_secs)
        }
        _ => "is another device".to_owned(),
    })
}

fn kind(kind: &Kind) -> &'static str {
    match kind {
        Kind::Directory => "directory",
        Kind::File { .. } => "file",
        Kind::Symlink { .. } => "symbolic link",
        Kind::HardLink { .. } => "hard link",
        Kind::CharacterDevice { .. } => "character device",
        Kind::BlockDevice { .. } => "block device",
        Kind::Fifo => "pipe",
        Kind::Whiteout => "removal",
        Kind::Opaque => "removal of all below",
    }
}

fn difference_of_configurations(one: &Image, two: &Image) -> Difference {
    let parse = |image: &Image| serde_json::from_slice::<Value>(image.config_bytes()).unwrap_or_default();
    let (key, problem) = first_key(&parse(one), &parse(two), "")
        .unwrap_or_else(|| (String::new(), "the configuration is written in another way".to_owned()));
    let at = (!key.is_empty()).then(|| PathBuf::from(format!("configuration, {key}:")));
    Difference { layer: None, created_by: None, diff_ids: (None, None), at, problem }
}

/// The first key under which two documents differ. Labels may hold whatever their buildpacks wrote, so no value is shown.
fn first_key(one: &Value, two: &Value, path: &str) -> Option<(String, String)> {
    match (one, two) {
        (Value::Object(own), Value::Object(others)) => {
            let mut keys: Vec<&String> = own.keys().chain(others.keys()).collect();
            keys.sort();
            keys.dedup();
            keys.into_iter().find_map(|key| {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                match (own.get(key), others.get(key)) {
                    (Some(one), Some(two)) => first_key(one, two, &path),
                    (Some(_), None) => Some((path, "is only in the one".to_owned())),
                    _ => Some((path, "is only in the other".to_owned())),
                }
            })
        }
        (one, two) if one == two => None,
        _ => Some((path.to_owned(), "has another value".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{Attributes, Store};

    fn image(store: &Store, files: &[&[(&str, &str, u32)]], label: &str) -> Image {
        let layer = |files: &&[(&str, &str, u32)]| {
            let mut builder = store.layer_builder().unwrap();
            for (path, text, mode) in *files {
                builder.file(path, Attributes::root(*mode), &mut text.as_bytes(), text.len() as u64).unwrap();
            }
            builder.finish().unwrap().diff_id().to_string()
        };
        let diff_ids: Vec<String> = files.iter().map(layer).collect();
        let history: Vec<Value> = (0..diff_ids.len()).map(|at| json!({"created_by": format!("step {at}")})).collect();
        let config = json!({"architecture": "amd64", "os": "linux", "config": {"Labels": {"a": label}}, "history": history,
            "rootfs": {"type": "layers", "diff_ids": diff_ids}});
        store.put_image_bytes(serde_json::to_vec(&config).unwrap(), &[]).unwrap()
    }

    #[test]
    fn the_first_layer_and_its_first_file_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let low: &[(&str, &str, u32)] = &[("/low", "x", 0o644)];
        let make = |top: &[(&str, &str, u32)], label: &str| image(&store, &[low, top], label);
        let one = make(&[("/a", "x", 0o644), ("/b", "yy", 0o644)], "1");
        assert_eq!(one.difference(&make(&[("/a", "x", 0o644), ("/b", "yy", 0o644)], "1")).unwrap(), None);
        let told = |other: &Image| one.difference(other).unwrap().unwrap().to_string();
        for (top, expected) in [
            (&[("/a", "x", 0o644), ("/b", "yyy", 0o644)][..], "/b has 2 bytes in the one and 3 in the other"),
            (&[("/a", "x", 0o644), ("/b", "yz", 0o644)], "/b has the same length and another content"),
            (&[("/a", "x", 0o755), ("/b", "yy", 0o644)], "/a has the mode 644 in the one and 755 in the other"),
            (&[("/b", "yy", 0o644)], "/a is only in the one"),
            (&[("/a", "x", 0o644), ("/aa", "", 0o644), ("/b", "yy", 0o644)], "/aa is only in the other"),
        ] {
            assert_eq!(told(&make(top, "1")), format!("layer 2 (step 1): {expected}"));
        }
        let label = make(&[("/a", "x", 0o644), ("/b", "yy", 0o644)], "2");
        assert_eq!(told(&label), "configuration, config.Labels.a: has another value");
        assert_eq!(told(&image(&store, &[low], "1")), "layer 2 (step 1): is only in the one");
        assert_eq!(
            image(&store, &[low], "1").difference(&one).unwrap().unwrap().to_string(),
            "layer 2 (step 1): is only in the other"
        );
    }
}
