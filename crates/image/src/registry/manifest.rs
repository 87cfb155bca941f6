//! Manifests and indexes, of the image specification and of docker (schema 2).

use serde::Deserialize;

use crate::digest::Digest;
use crate::image::MAX_LAYERS;

/// What is asked for, the preferred first.
pub(super) const ACCEPTED: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, \
     application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json";
/// "Registries SHOULD enforce some limit on manifests of 4 megabytes" (distribution-spec, "Pushing Manifests").
pub(super) const MAX_BYTES: u64 = 4 << 20;
/// Entries of an index; large ones have some dozens.
const MAX_ENTRIES: usize = 500;

/// A machine that an image is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Platform {
    /// `linux`.
    pub os: String,
    /// `amd64`.
    pub architecture: String,
    /// `v7`, where it was said.
    pub variant: Option<String>,
}

impl Platform {
    /// The machine that this is.
    pub fn of_this_machine() -> Self {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        Self { os: "linux".to_owned(), architecture: architecture.to_owned(), variant: None }
    }

    /// Whether an image for `other` is one for this.
    fn takes(&self, other: &Self) -> bool {
        self.os == other.os
            && self.architecture == other.architecture
            && (self.variant.is_none() || self.variant == other.variant)
    }
}

impl std::fmt::Display for Platform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.as_ref().map_or(Ok(()), |variant| write!(f, "/{variant}"))
    }
}

impl std::str::FromStr for Platform {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split('/').collect();
        let fine =
            |part: &&str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b));
        match parts.as_slice() {
            [os, architecture, rest @ ..] if rest.len() < 2 && parts.iter().all(fine) => Ok(Self {
                os: (*os).to_owned(),
                architecture: (*architecture).to_owned(),
                variant: rest.first().map(|variant| (*variant).to_owned()),
            }),
            _ => Err(format!("{text:?} is no platform: write it as linux/amd64 or linux/arm/v7")),
        }
    }
}

/// What a manifest or an index refers to.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Descriptor {
    #[serde(rename = "mediaType", default)]
    pub(super) media_type: String,
    pub(super) digest: Digest,
    pub(super) size: u64,
    #[serde(default)]
    platform: Option<Listed>,
}

#[derive(Debug, Clone, Deserialize)]
struct Listed {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    variant: Option<String>,
}

impl Descriptor {
    /// The machine that it is for, where one is named.
    fn platform(&self) -> Option<Platform> {
        let Listed { os, architecture, variant } = self.platform.clone()?;
        Some(Platform { os, architecture, variant: variant.filter(|variant| !variant.is_empty()) })
    }
}

/// A document, by its kind.
#[derive(Debug)]
pub(super) enum Document {
    /// One image.
    Image { config: Descriptor, layers: Vec<Descriptor> },
    /// Images for several machines.
    Index(Vec<Descriptor>),
}

impl Document {
    /// What such a document is called where nobody says it.
    pub(super) fn usual_type(&self) -> &'static str {
        match self {
            Self::Image { .. } => "application/vnd.oci.image.manifest.v1+json",
            Self::Index(_) => "application/vnd.oci.image.index.v1+json",
        }
    }
}

#[derive(Deserialize)]
struct Raw {
    #[serde(rename = "schemaVersion", default)]
    version: u64,
    #[serde(rename = "mediaType", default)]
    media_type: Option<String>,
    #[serde(rename = "artifactType", default)]
    artifact_type: Option<String>,
    #[serde(default)]
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Option<Vec<Descriptor>>,
    #[serde(default)]
    manifests: Option<Vec<Descriptor>>,
}

/// Reads a document; says what it is where it is no image.
pub(super) fn parse_document(bytes: &[u8], content_type: Option<&str>) -> Result<Document, String> {
    let raw = parse_raw(bytes, content_type)?;
    let artifact_type = raw.artifact_type.clone();
    let document = raw.document()?;
    let Document::Image { config, layers } = &document else { return Ok(document) };
    let is_config = matches!(
        config.media_type.as_str(),
        "application/vnd.oci.image.config.v1+json" | "application/vnd.docker.container.image.v1+json"
    );
    if !is_config {
        let kind = artifact_type.as_ref().unwrap_or(&config.media_type);
        return Err(format!("it is no image but a document of the type {}", shown(kind)));
    }
    match layers.iter().find(|layer| !is_layer(&layer.media_type)) {
        Some(layer) => Err(format!("it has a layer of the type {}, which hoist cannot read", shown(&layer.media_type))),
        None => Ok(document),
    }
}

/// The same of whatever has the shape of an image, such as what is attached to one: for whoever hands it on as it is.
pub(super) fn parse_any_document(bytes: &[u8], content_type: Option<&str>) -> Result<Document, String> {
    parse_raw(bytes, content_type)?.document()
}

fn parse_raw(bytes: &[u8], content_type: Option<&str>) -> Result<Raw, String> {
    let raw: Raw = serde_json::from_slice(bytes).map_err(|error| format!("its manifest cannot be read: {error}"))?;
    if raw.version != 2 {
        return Err(format!(
            "its manifest is of schema version {}, which nobody makes since 2016; version 2 is understood",
            raw.version
        ));
    }
    let said = content_type.map(|kind| kind.split(';').next().unwrap_or(kind).trim());
    if let (Some(inside), Some(outside)) = (raw.media_type.as_deref(), said)
        && inside != outside
        && outside.contains("vnd.")
    {
        return Err(format!("its manifest calls itself {}, the registry {}", shown(inside), shown(outside)));
    }
    Ok(raw)
}

impl Raw {
    fn document(self) -> Result<Document, String> {
        match (self.manifests, self.config, self.layers) {
            (Some(_), _, Some(_)) => Err("its manifest is an index and an image at once".to_owned()),
            (Some(entries), _, None) if entries.len() > MAX_ENTRIES => {
                Err(format!("it lists {} images, {MAX_ENTRIES} are allowed", entries.len()))
            }
            (Some(entries), _, None) => Ok(Document::Index(entries)),
            (None, Some(_), Some(layers)) if layers.len() > MAX_LAYERS => {
                Err(format!("it has {} layers, {MAX_LAYERS} are allowed", layers.len()))
            }
            (None, Some(config), Some(layers)) => Ok(Document::Image { config, layers }),
            _ => Err("its manifest names neither layers nor images".to_owned()),
        }
    }
}

/// Layers that are tars, plain or compressed. Those that only their maker may hand out are read where the registry has them.
fn is_layer(media_type: &str) -> bool {
    let kind = media_type.strip_prefix("application/vnd.oci.image.layer.").or_else(|| {
        media_type
            .strip_prefix("application/vnd.docker.image.rootfs.")
            .or_else(|| media_type.strip_prefix("application/vnd.docker.image."))
    });
    kind.is_some_and(|kind| !kind.contains("encrypted") && kind.contains("tar"))
}

fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(120).collect()
}

/// The image of an index that is for `wanted`; else those that there are.
pub(super) fn choose<'a>(entries: &'a [Descriptor], wanted: &Platform) -> Result<&'a Descriptor, Vec<String>> {
    let fitting = |entry: &&Descriptor| entry.platform().is_some_and(|platform| wanted.takes(&platform));
    if let Some(found) = entries.iter().find(fitting) {
        return Ok(found);
    }
    match entries {
        // Tools that make images for no machine in particular name none.
        [only] if only.platform().is_none() => Ok(only),
        _ => {
            let named = entries.iter().filter_map(Descriptor::platform).map(|platform| shown(&platform.to_string()));
            let mut there: Vec<String> = named.filter(|name| name != "unknown/unknown").collect(); // attestations
            there.sort();
            there.dedup();
            there.truncate(20);
            Err(there)
        }
    }
}

/// Whether an image whose configuration names that machine is one for `wanted`; one that names none is for all.
pub(super) fn suits(wanted: &Platform, os: &str, architecture: &str) -> bool {
    (os.is_empty() || os == wanted.os) && (architecture.is_empty() || architecture == wanted.architecture)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn descriptor(kind: &str) -> String {
        format!(r#"{{"mediaType":"{kind}","digest":"{}","size":3}}"#, Digest::of(b"abc"))
    }

    fn manifest(config: &str, layers: &[&str]) -> String {
        let layers: Vec<String> = layers.iter().map(|kind| descriptor(kind)).collect();
        format!(r#"{{"schemaVersion":2,"config":{},"layers":[{}]}}"#, descriptor(config), layers.join(","))
    }

    #[test]
    fn images_of_both_kinds_are_read_and_others_are_named() {
        let oci = manifest(
            "application/vnd.oci.image.config.v1+json",
            &[
                "application/vnd.oci.image.layer.v1.tar+zstd",
                "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
            ],
        );
        let docker = manifest(
            "application/vnd.docker.container.image.v1+json",
            &["application/vnd.docker.image.rootfs.diff.tar.gzip"],
        );
        for (text, layers) in [(&oci, 2), (&docker, 1)] {
            let Document::Image { layers: found, .. } = parse_document(text.as_bytes(), None).unwrap() else {
                panic!()
            };
            assert_eq!(found.len(), layers);
        }
        let config = "application/vnd.oci.image.config.v1+json";
        for (text, kind, said) in [
            (r#"{"schemaVersion":1}"#.to_owned(), None, "schema version 1"),
            ("{".to_owned(), None, "cannot be read"),
            (r#"{"schemaVersion":2}"#.to_owned(), None, "neither layers nor images"),
            (r#"{"schemaVersion":2,"manifests":[],"layers":[]}"#.to_owned(), None, "an index and an image at once"),
            (
                manifest("application/vnd.cncf.helm.config.v1+json", &[]),
                None,
                "no image but a document of the type application/vnd.cncf.helm",
            ),
            (manifest(config, &["application/vnd.oci.image.layer.v1.tar+encrypted"]), None, "cannot read"),
            (manifest(config, &["application/vnd.oci.image.layer.v1.tar"; 501]), None, "501 layers"),
            (
                r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#
                    .to_owned(),
                Some("application/vnd.oci.image.manifest.v1+json"),
                "calls itself application/vnd.oci.image.index.v1+json",
            ),
        ] {
            let error = parse_document(text.as_bytes(), kind).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn the_image_for_a_machine_is_chosen_and_otherwise_those_there_are_named() {
        let entry = |platform: &str| {
            format!(
                r#"{{"mediaType":"m","digest":"{}","size":1,"platform":{platform}}}"#,
                Digest::of(platform.as_bytes())
            )
        };
        let text = format!(
            r#"{{"schemaVersion":2,"manifests":[{},{},{},{}]}}"#,
            entry(r#"{"os":"unknown","architecture":"unknown"}"#),
            entry(r#"{"os":"linux","architecture":"arm","variant":"v6"}"#),
            entry(r#"{"os":"linux","architecture":"arm","variant":"v7"}"#),
            entry(r#"{"os":"linux","architecture":"amd64"}"#),
        );
        let Document::Index(entries) = parse_document(text.as_bytes(), None).unwrap() else { panic!() };
        let chosen = |wanted: &str| {
            choose(&entries, &wanted.parse().unwrap()).map(|found| found.platform().unwrap().to_string())
        };
        assert_eq!(chosen("linux/amd64").unwrap(), "linux/amd64");
        assert_eq!(chosen("linux/arm/v7").unwrap(), "linux/arm/v7");
        assert_eq!(chosen("linux/arm").unwrap(), "linux/arm/v6");
        assert_eq!(chosen("linux/s390x").unwrap_err(), ["linux/amd64", "linux/arm/v6", "linux/arm/v7"]);
        for wrong in ["linux", "linux/", "a/b/c/d", "linux/a b"] {
            assert!(wrong.parse::<Platform>().is_err(), "{wrong}");
        }
    }
}
