//! What is attached to images: in a real registry (Debian's, which lists no referrers), in one that does, and in registries that are wrong about it.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::missing_panics_doc, missing_docs)] // tests fail loudly

#[path = "support/fake_registry.rs"]
mod fake_registry;
#[path = "support/real_registry.rs"]
mod real_registry;
mod support;

use std::process::Command;
use std::sync::Mutex;

use fake_registry::{FakeRegistry, name, reply, settings};
use hoist_events::NullReporter;
use hoist_image::{Attached, Attachment, Attachments, Compression, Digest, Reference, Registries, RegistryError};
use real_registry::{Registry, Wants};
use serde_json::{Value, json};
use support::{chain, fresh, image, layer};

const CYCLONEDX: &str = "application/vnd.cyclonedx+json";
const STATEMENT: &str = "application/vnd.in-toto+json";
const ENVELOPE: &str = "application/vnd.dsse.envelope.v1+json";
const PREDICATE: &str = "https://slsa.dev/provenance/v1";

fn document(media_type: &str, content: &str) -> Attachment {
    let key = if media_type == ENVELOPE { "predicateType" } else { "in-toto.io/predicate-type" };
    let is_statement = [STATEMENT, ENVELOPE].contains(&media_type);
    let annotations = is_statement.then(|| (key.to_owned(), PREDICATE.to_owned())).into_iter().collect();
    Attachment { media_type: media_type.to_owned(), content: content.into(), annotations }
}

fn wanted(statement: &str) -> Attachments {
    Attachments {
        referrers: vec![document(CYCLONEDX, r#"{"bomFormat":"CycloneDX"}"#), document(STATEMENT, statement)],
        att: vec![document(ENVELOPE, &format!("envelope of {statement}"))],
        sbom: Some(document(CYCLONEDX, &format!("bill of {statement}"))),
    }
}

fn attach(name: &Reference, subject: &Digest, wanted: &Attachments) -> Result<Vec<Attached>, RegistryError> {
    Registries::new(settings()).attach(name, subject, wanted, &NullReporter)
}

/// An image under that name, and its digest.
fn pushed(name: &Reference) -> Digest {
    let (_dir, store) = fresh();
    let made = image(&store, "app", &[&layer(&store, "/a", "a")]);
    Registries::new(settings()).push(&made, name, Compression::Gzip, &NullReporter).unwrap().digest
}

/// `skopeo inspect --raw` of a tag of the repository.
fn raw(name: &Reference, tag: &str) -> Value {
    let from = format!("docker://{}:{tag}", name.name());
    let args = ["inspect", "--raw", "--tls-verify=false", &from];
    let done = Command::new("skopeo").args(args).env("TMPDIR", "/tmp").output().unwrap();
    assert!(done.status.success(), "skopeo {args:?}: {}", String::from_utf8_lossy(&done.stderr));
    serde_json::from_slice(&done.stdout).unwrap()
}

fn digests(listed: &Value) -> Vec<&str> {
    listed.as_array().unwrap().iter().map(|one| one["digest"].as_str().unwrap()).collect()
}

#[test]
fn a_registry_without_a_list_of_referrers_gets_the_tag_of_the_specification() {
    let registry = Registry::start(&Wants::default());
    let name: Reference = registry.name("team/app:1").parse().unwrap();
    let subject = pushed(&name);
    let first = attach(&name, &subject, &wanted("one")).unwrap();
    assert!(first.iter().all(|one| !one.was_there), "{first:?}");
    let tag = format!("sha256-{}", subject.hex());
    let places: Vec<&str> = first.iter().map(|one| one.place.as_str()).collect();
    assert_eq!(places, ["referrers", "referrers", &format!("{tag}.sbom"), &format!("{tag}.att")]);

    let index = raw(&name, &tag);
    assert_eq!(index["mediaType"], "application/vnd.oci.image.index.v1+json");
    assert_eq!(digests(&index["manifests"]), [first[0].digest.to_string(), first[1].digest.to_string()]);
    assert_eq!(index["manifests"][0]["artifactType"], CYCLONEDX);
    assert_eq!(index["manifests"][1]["annotations"]["in-toto.io/predicate-type"], PREDICATE);
    let by_digest = format!("docker://{}@{}", name.name(), first[1].digest);
    let done = Command::new("skopeo").args(["inspect", "--raw", "--tls-verify=false", &by_digest]).output().unwrap();
    let referrer: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(referrer["subject"]["digest"], subject.to_string());
    assert_eq!(referrer["config"]["mediaType"], "application/vnd.oci.empty.v1+json");
    assert_eq!(raw(&name, &format!("{tag}.sbom"))["layers"][0]["mediaType"], CYCLONEDX);
    assert_eq!(raw(&name, &format!("{tag}.att"))["layers"][0]["annotations"]["predicateType"], PREDICATE);

    // The same again changes nothing; another statement comes beside the first, and another bill in its place.
    let again = attach(&name, &subject, &wanted("one")).unwrap();
    assert!(again.iter().all(|one| one.was_there), "{again:?}");
    assert_eq!(raw(&name, &tag), index);
    attach(&name, &subject, &wanted("two")).unwrap();
    assert_eq!(digests(&raw(&name, &tag)["manifests"]).len(), 3);
    assert_eq!(digests(&raw(&name, &format!("{tag}.att"))["layers"]).len(), 2);
    assert_eq!(digests(&raw(&name, &format!("{tag}.sbom"))["layers"]), [Digest::of(b"bill of two").to_string()]);

    let registries = Registries::new(settings());
    let (seen, found) = registries.attached(&name).unwrap();
    assert_eq!((seen, found.len()), (subject, 6));
    let read = |at: usize| String::from_utf8(registries.attached_content(&name, &found[at]).unwrap()).unwrap();
    assert_eq!((read(1).as_str(), read(3).as_str(), read(4).as_str()), ("one", "bill of two", "envelope of one"));
    assert_eq!(
        (found[1].predicate_type.as_deref(), found[4].predicate_type.as_deref()),
        (Some(PREDICATE), Some(PREDICATE))
    );
    assert_eq!((found[3].place.as_str(), found[1].media_type.as_str()), (&*format!("{tag}.sbom"), STATEMENT));
}

#[test]
fn what_cosign_and_others_attached_stays() {
    let registry = Registry::start(&Wants::default());
    let name: Reference = registry.name("app").parse().unwrap();
    let subject = pushed(&name);
    // As cosign writes it: with a history, and annotations of its own.
    let dir = tempfile::tempdir().unwrap();
    let (layer, config) =
        (br#"{"payload":"","signatures":[{"sig":""}]}"#.to_vec(), br#"{"history":[{}],"rootfs":{}}"#.to_vec());
    let descriptor = |kind: &str, bytes: &[u8]| json!({"mediaType": kind, "digest": Digest::of(bytes).to_string(), "size": bytes.len()});
    let mut theirs = descriptor(ENVELOPE, &layer);
    theirs["annotations"] =
        json!({"dev.cosignproject.cosign/signature": "", "predicateType": "https://example.com/other"});
    let manifest = json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config":
        descriptor("application/vnd.oci.image.config.v1+json", &config), "layers": [theirs]})
    .to_string();
    for bytes in [&layer, &config] {
        fs_err::write(dir.path().join(Digest::of(bytes).hex()), bytes).unwrap();
    }
    fs_err::write(dir.path().join("manifest.json"), manifest).unwrap();
    fs_err::write(dir.path().join("version"), "Directory Transport Version: 1.1\n").unwrap();
    let (from, to) =
        (format!("dir:{}", dir.path().display()), format!("docker://{}:sha256-{}.att", name.name(), subject.hex()));
    let done = Command::new("skopeo").args(["copy", "-q", "--dest-tls-verify=false", &from, &to]).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    attach(&name, &subject, &wanted("one")).unwrap();
    let tag = format!("sha256-{}.att", subject.hex());
    let layers = raw(&name, &tag)["layers"].clone();
    assert_eq!((&layers[0], layers.as_array().unwrap().len()), (&theirs, 2));
}

#[test]
fn a_registry_that_lists_referrers_gets_no_tag_for_it() {
    let registry = FakeRegistry::start();
    registry.contents.lock().unwrap().lists_referrers = true;
    let name = name(&registry, "team/app:1");
    let subject = pushed(&name);
    attach(&name, &subject, &wanted("one")).unwrap();
    let tag = format!("sha256-{}", subject.hex());
    assert_eq!(registry.count("PUT", &format!("/manifests/{tag}.")), 2);
    assert_eq!(registry.asked().iter().filter(|asked| asked.path.ends_with(&tag)).count(), 0);
    registry.fail(|_, _| None);
    let again = attach(&name, &subject, &wanted("one")).unwrap();
    assert!(again.iter().all(|one| one.was_there));
    assert_eq!(registry.count("PUT", "") + registry.count("POST", ""), 0);
    let (_, found) = Registries::new(settings()).attached(&name).unwrap();
    assert_eq!(found.iter().filter(|one| one.place == "referrers").count(), 2);
    // In pages, and with what is no entry among them.
    let (subject_text, host) = (subject.to_string(), registry.host.clone());
    registry.fail(move |asked, contents| {
        let all: Value = serde_json::from_str(&fake_registry::referrers(contents, "team/app", &subject_text)).unwrap();
        let page = |entries: Value| json!({"schemaVersion": 2, "manifests": entries}).to_string();
        if asked.path.contains("/referrers/") && asked.path.ends_with("page=2") {
            return Some(reply(200, &[], page(json!([all["manifests"][1]]))));
        }
        let link = format!("<http://{host}{}?page=2>; rel=\"next\"", asked.path);
        let first = page(json!([7, {"digest": "sha512:00", "size": 1}, all["manifests"][0]]));
        asked.path.contains("/referrers/").then(|| reply(200, &[("Link", &link)], first))
    });
    let (_, found) = Registries::new(settings()).attached(&name).unwrap();
    assert_eq!(found.iter().filter(|one| one.place == "referrers").count(), 2);
}

fn refused(error: &RegistryError, said: &str, hint: &str) {
    assert!(chain(error).contains(said) && error.hint().contains(hint), "{}\n{}", chain(error), error.hint());
}

#[test]
fn a_tag_that_is_no_list_or_that_others_write_is_told() {
    let registry = FakeRegistry::start();
    let name = name(&registry, "app:1");
    let subject = pushed(&name);
    let tag = format!("sha256-{}", subject.hex());
    // Somebody's image has that name.
    let of_image = registry.contents.lock().unwrap().manifests[&("app".to_owned(), "1".to_owned())].clone();
    registry.contents.lock().unwrap().manifests.insert(("app".to_owned(), tag.clone()), of_image);
    let error = attach(&name, &subject, &wanted("one")).unwrap_err();
    refused(
        &error,
        &format!(
            "the tag {tag} of {}/app: it is a document of application/vnd.oci.image.manifest.v1+json, without a list of manifests",
            registry.host
        ),
        "look who wrote it",
    );
    registry.contents.lock().unwrap().manifests.remove(&("app".to_owned(), tag.clone()));

    // Another writer's list wins once: ours comes again, and theirs stays.
    let theirs = json!({"mediaType": "x", "digest": format!("sha256:{}", "1".repeat(64)), "size": 1});
    let other =
        json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [theirs]})
            .to_string();
    let (own_tag, left) = (tag.clone(), Mutex::new(1));
    let over = other.clone();
    registry.fail(move |asked, contents| {
        let mut left = left.lock().unwrap();
        if asked.method != "PUT" || !asked.path.ends_with(&own_tag) || *left == 0 {
            return None;
        }
        *left -= 1;
        let entry = ("application/vnd.oci.image.index.v1+json".to_owned(), over.clone().into_bytes());
        contents.manifests.insert(("app".to_owned(), own_tag.clone()), entry);
        Some(reply(201, &[], ""))
    });
    attach(&name, &subject, &wanted("one")).unwrap();
    let index: Value =
        serde_json::from_slice(&registry.contents.lock().unwrap().manifests[&("app".to_owned(), tag.clone())].1)
            .unwrap();
    assert_eq!((&index["manifests"][0], digests(&index["manifests"]).len()), (&theirs, 3));

    // And for ever.
    let own_tag = tag.clone();
    registry.contents.lock().unwrap().manifests.remove(&("app".to_owned(), tag.clone()));
    registry
        .fail(move |asked, _| (asked.method == "PUT" && asked.path.ends_with(&own_tag)).then(|| reply(201, &[], "")));
    let error = attach(&name, &subject, &wanted("one")).unwrap_err();
    refused(
        &error,
        "somebody else writes it at the same time: 6 times",
        "run the command again when the others have ended",
    );
    assert_eq!(registry.count("PUT", &format!("/manifests/{tag}")), 6);
}

#[test]
fn lists_and_documents_that_lie_are_refused_within_bounds() {
    let registry = FakeRegistry::start();
    registry.contents.lock().unwrap().lists_referrers = true;
    let name = name(&registry, "app:1");
    let subject = pushed(&name);
    attach(&name, &subject, &wanted("one")).unwrap();
    let registries = Registries::new(settings());
    let (_, found) = registries.attached(&name).unwrap();
    let all = |entries: usize| {
        let one = json!({"mediaType": "x", "digest": format!("sha256:{}", "1".repeat(64)), "size": 1});
        json!({"schemaVersion": 2, "manifests": vec![one; entries]}).to_string()
    };
    let answers: Vec<(String, &str, &str)> = vec![
        (all(1001), "it lists 1001 documents, 1000 are allowed", "look at host and port"),
        ("<html>".into(), "does not speak as a registry: it cannot be read", "look at host and port"),
        (format!("{}{}", all(1), " ".repeat(5 << 20)), "longer than the 4194304 bytes", "lies about its length"),
    ];
    for (body, said, hint) in answers {
        registry.fail(move |asked, _| asked.path.contains("/referrers/").then(|| reply(200, &[], body.clone())));
        refused(&registries.attached(&name).unwrap_err(), said, hint);
    }
    let again = all(600);
    registry.fail(move |asked, _| {
        let link = format!("<{}>; rel=\"next\"", asked.path);
        asked.path.contains("/referrers/").then(|| reply(200, &[("Link", &link)], again.clone()))
    });
    refused(
        &registries.attached(&name).unwrap_err(),
        "more than 1000 documents refer to one image",
        "look at host and port",
    );
    assert_eq!(registry.count("GET", "/referrers/"), 2);

    let empty = all(0);
    registry.fail(move |asked, _| {
        let link = r#"<http://other.example/v2/>; rel="next""#;
        asked.path.contains("/referrers/").then(|| reply(200, &[("Link", link)], empty.clone()))
    });
    refused(
        &registries.attached(&name).unwrap_err(),
        "more referrers that lie with somebody else",
        "look at host and port",
    );

    let content = |at: usize| registries.attached_content(&name, &found[at]).unwrap_err();
    registry.fail(|asked, _| asked.path.contains("/blobs/").then(|| reply(200, &[], "other")));
    refused(&content(3), "document sha256:", "do not use it");
    registry.fail(|asked, _| asked.path.contains("/blobs/").then(|| reply(200, &[], "x".repeat(1000))));
    refused(&content(3), "longer than the", "lies about its length");
    let mut huge = found[3].clone();
    huge.size_bytes = u64::MAX;
    let error = registries.attached_content(&name, &huge).unwrap_err();
    refused(&error, "bytes, 268435456 are allowed", "look who wrote it");
    registry.fail(|asked, contents| {
        let digest = asked.path.rsplit('/').next()?;
        let (kind, bytes) = contents.manifests.get(&("app".to_owned(), digest.to_owned()))?;
        asked
            .path
            .contains("/manifests/sha256:")
            .then(|| reply(200, &[("Content-Type", kind)], [&bytes[..], b" "].concat()))
    });
    refused(&content(0), "should be", "do not use it");
    registry.fail(|asked, _| asked.is("PUT", "/manifests/").then(|| reply(403, &[], "{}")));
    let error = attach(&name, &subject, &wanted("two")).unwrap_err();
    refused(
        &error,
        &format!("attaching to `{}@{subject}`: {} does not allow it to anybody", name.name(), registry.host),
        "log in first",
    );
}
