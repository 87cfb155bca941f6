//! What is attested of an image: in-toto Statements v1, with SLSA provenance v1 (<https://slsa.dev/provenance/v1>) or an SBOM in it. Made of the image's labels
//! and of what this machine remembers of its build; what neither says is named as unknown, and nothing depends on the time. docs/attestations.md explains
//! `urn:hoist:build:v1` and `urn:hoist:labels:v1`.

use hoist_debian::masked;
use hoist_image::{Digest, Image, Reference};
use hoist_spec::{
    BUILD_METADATA_LABEL, BuildLabel, LIFECYCLE_METADATA_LABEL, LifecycleMetadata, PROJECT_METADATA_LABEL,
};
use serde_json::{Map, Value, json};

use crate::attest::note::BuildNote;
use crate::create::image_label;

pub(crate) const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
pub(crate) const PROVENANCE: &str = "https://slsa.dev/provenance/v1";
/// Hoist built it, on the machine that attests.
const BUILT_HERE: &str = "urn:hoist:build:v1";
/// Hoist read its labels: who built it is not known.
const FROM_LABELS: &str = "urn:hoist:labels:v1";
const BUILDER_ID: &str = "urn:hoist:local";
const UNKNOWN_BUILDER_ID: &str = "urn:hoist:unknown";
/// A digest of this is that of an image's configuration, its id, and not that of a manifest.
const CONFIG_TYPE: &str = "application/vnd.oci.image.config.v1+json";
const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
/// How deep somebody's description of the source may be.
const MAX_DEPTH: usize = 8;

/// A statement about the image that has this digest in a repository.
pub(crate) fn statement(name: &Reference, digest: &Digest, predicate_type: &str, predicate: &Value) -> Value {
    json!({
        "_type": STATEMENT_TYPE,
        "subject": [{"name": name.name(), "digest": {"sha256": digest.hex()}}],
        "predicateType": predicate_type,
        "predicate": predicate,
    })
}

/// How the image was built; nothing where nothing says so.
pub(crate) fn provenance(image: &Image, note: Option<&BuildNote>) -> Option<Value> {
    let label = |name| image_label(image, name);
    let built = label(BUILD_METADATA_LABEL).and_then(|text| BuildLabel::parse(&text).ok());
    let exported = label(LIFECYCLE_METADATA_LABEL).and_then(|text| LifecycleMetadata::parse(&text).ok());
    if note.is_none() && built.is_none() && exported.is_none() {
        return None;
    }
    let project = label(PROJECT_METADATA_LABEL).and_then(|text| serde_json::from_str::<Value>(&text).ok());
    let project = project.map(|project| without_credentials(&project["source"], 0)).filter(|source| !source.is_null());
    let mut facts = Facts::default();
    facts.source(note, project);
    facts.run_image(exported.as_ref());
    facts.build_image(note);
    facts.buildpacks(built.as_ref());
    facts.given(note);
    let internal = if facts.unknown.is_empty() { json!({}) } else { json!({"unknown": facts.unknown}) };
    let (build_type, builder) = match note {
        Some(note) => (BUILT_HERE, json!({"id": BUILDER_ID, "version": {"hoist": note.hoist}})),
        None => (FROM_LABELS, json!({"id": UNKNOWN_BUILDER_ID})),
    };
    Some(json!({
        "buildDefinition": {
            "buildType": build_type,
            "externalParameters": facts.parameters,
            "internalParameters": internal,
            "resolvedDependencies": facts.dependencies,
        },
        "runDetails": {"builder": builder},
    }))
}

#[derive(Default)]
struct Facts {
    parameters: Map<String, Value>,
    dependencies: Vec<Value>,
    unknown: Vec<&'static str>,
}

impl Facts {
    fn set(&mut self, name: &str, value: impl Into<Value>) {
        self.parameters.insert(name.to_owned(), value.into());
    }

    fn source(&mut self, note: Option<&BuildNote>, project: Option<Value>) {
        let mut digest = Map::new();
        if let Some(note) = note {
            digest.insert("hoistTree".to_owned(), json!(note.source));
        } else {
            self.unknown.push("the files of the source");
        }
        let commit = project.as_ref().and_then(|project| project["version"]["commit"].as_str());
        if let Some(commit) = commit {
            digest.insert("gitCommit".to_owned(), json!(commit));
        }
        if !digest.is_empty() {
            self.dependencies.push(json!({"name": "source", "digest": digest}));
        }
        if let Some(project) = project {
            self.set("source", project);
        }
    }

    fn run_image(&mut self, exported: Option<&LifecycleMetadata>) {
        let run = exported.map(|exported| &exported.run_image).filter(|run| !run.reference.is_empty());
        let Some(run) = run else {
            self.unknown.push("the run image");
            return;
        };
        if !run.image.is_empty() {
            self.set("runImage", without_login(&run.image));
        }
        // A digest behind a name is that of a manifest, and one without a name an image's id.
        let (digest, media_type) = match run.reference.rsplit_once('@') {
            Some((_, digest)) => (digest, MANIFEST_TYPE),
            None => (run.reference.as_str(), CONFIG_TYPE),
        };
        match image("run image", &run.image, digest, media_type) {
            Some(image) => self.dependencies.push(image),
            None => self.unknown.push("the digest of the run image"),
        }
    }

    fn build_image(&mut self, note: Option<&BuildNote>) {
        let Some(note) = note else {
            self.unknown.push("the build image");
            return;
        };
        self.set("builder", note.build_image.name.clone());
        self.dependencies.extend(image("build image", &note.build_image.name, &note.build_image.id, CONFIG_TYPE));
    }

    fn buildpacks(&mut self, built: Option<&BuildLabel>) {
        let Some(built) = built else {
            self.unknown.push("the buildpacks");
            return;
        };
        let names: Vec<String> = built.buildpacks.iter().map(|one| format!("{}@{}", one.id, one.version)).collect();
        // As pack names a buildpack that lies in a builder.
        self.dependencies.extend(
            built
                .buildpacks
                .iter()
                .zip(&names)
                .map(|(one, name)| json!({"name": one.id, "uri": format!("urn:cnb:builder:{name}")})),
        );
        self.set("buildpacks", names);
    }

    fn given(&mut self, note: Option<&BuildNote>) {
        let Some(note) = note else {
            self.unknown.push("what else the build was given");
            return;
        };
        self.set("env", note.env.clone());
        self.set("network", note.network.clone());
        self.set("executionEnvironment", note.exec_env.clone());
        if !note.volumes.is_empty() {
            self.set("volumes", note.volumes.clone());
        }
        if let Some(process) = &note.process {
            self.set("defaultProcess", process.clone());
        }
        if let Some(created) = note.created {
            self.set("creationTime", created);
        }
        if let Some(from) = &note.rebased_from {
            self.dependencies.extend(image("image before the rebase", "", from, CONFIG_TYPE));
        }
    }
}

/// A resource descriptor of an image.
fn image(what: &str, name: &str, digest: &str, media_type: &str) -> Option<Value> {
    let digest: Digest = digest.parse().ok()?;
    let mut found = json!({"name": what, "digest": {"sha256": digest.hex()}, "mediaType": media_type});
    if let Ok(name) = name.parse::<Reference>() {
        found["uri"] = json!(docker_purl(&name));
    }
    Some(found)
}

/// As BuildKit names images: `pkg:docker/team/app@1?repository_url=registry.example`.
fn docker_purl(name: &Reference) -> String {
    let version = name.digest().map_or_else(|| name.tag().unwrap_or("latest").to_owned(), |digest| digest.to_string());
    let registry = name.registry().map(|host| format!("?repository_url={}", host.replace(':', "%3A")));
    format!("pkg:docker/{}@{}{}", name.repository(), version.replace(':', "%3A"), registry.unwrap_or_default())
}

/// `pkg:oci/app@sha256:…?repository_url=registry.example/team/app`.
pub(crate) fn oci_purl(name: &Reference, digest: &Digest) -> String {
    let last = name.repository().rsplit('/').next().unwrap_or_default();
    format!("pkg:oci/{last}@sha256%3A{}?repository_url={}", digest.hex(), name.name().replace(':', "%3A"))
}

/// An address without its login and without what stands behind its `?`, which may be a signature.
fn without_login(text: &str) -> String {
    let masked = masked(text);
    match masked.split_once('?') {
        Some((address, _)) if address.contains("://") => address.to_owned(),
        _ => masked,
    }
}

fn without_credentials(value: &Value, depth: usize) -> Value {
    match value {
        _ if depth > MAX_DEPTH => Value::Null,
        Value::String(text) => json!(without_login(text)),
        Value::Array(all) => all.iter().map(|one| without_credentials(one, depth + 1)).collect(),
        Value::Object(all) => all.iter().map(|(key, one)| (key.clone(), without_credentials(one, depth + 1))).collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_images_are_package_urls() {
        for (name, purl) in [
            ("hoist/run", "pkg:docker/hoist/run@latest"),
            ("r.example:5000/a/b:1", "pkg:docker/a/b@1?repository_url=r.example%3A5000"),
        ] {
            assert_eq!(docker_purl(&name.parse().unwrap()), purl);
        }
        let digest = Digest::of(b"");
        let purl = oci_purl(&"r.example:5000/a/b:1".parse().unwrap(), &digest);
        assert_eq!(purl, format!("pkg:oci/b@sha256%3A{}?repository_url=r.example%3A5000/a/b", digest.hex()));
    }

    #[test]
    fn addresses_lose_their_credentials_however_deep_they_stand() {
        let source = json!({"type": "git", "metadata": {"repository": "https://ada:s3cret@git.example/a.git?token=s3cret", "refs": ["main"]}});
        let shown = without_credentials(&source, 0);
        assert_eq!(shown["metadata"]["repository"], "https://***@git.example/a.git");
        assert_eq!(shown["metadata"]["refs"], json!(["main"]));
        let deep = (0..20).fold(json!("https://ada:s3cret@x"), |inner, _| json!([inner]));
        assert!(!without_credentials(&deep, 0).to_string().contains("s3cret"));
    }
}
