//! Documents of registries that are huge, deep, circular or something else, lists without an end, names that cannot be removed; and how few
//! questions a push asks.
#![allow(clippy::unwrap_used, clippy::missing_panics_doc, missing_docs)] // tests fail loudly

#[path = "support/fake_registry.rs"]
mod fake_registry;
mod support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use fake_registry::{FakeRegistry, Reply, logged_in, name, noise, pull, pull_fails, push, reply, settings, with_image};
use fs_err as fs;
use hoist_events::NullReporter;
use hoist_image::{Digest, Platform, Registries, RegistryError};
use support::{chain, fresh, image, layer};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// What a pull says of a manifest that is this document.
fn refused(document: &str, kind: &'static str) -> String {
    let (registry, name, _) = with_image();
    let document = document.to_owned();
    registry.fail(move |asked, _| {
        asked.is("GET", "/manifests/").then(|| reply(200, &[("Content-Type", kind)], document.clone()))
    });
    let error = pull_fails(&registry, settings(), &name);
    assert!(error.is_of_the_caller(), "{}", chain(&error));
    let text = chain(&error);
    assert!(text.len() < 1000, "{text}");
    text.strip_prefix(&format!("pulling `{name}`: ")).unwrap_or(&text).to_owned()
}

fn digest(text: &str) -> Digest {
    Digest::of(text.as_bytes())
}

#[test]
fn documents_of_the_wrong_kind_are_refused_in_words() {
    let empty = digest("");
    let image = |config: &str, layer: &str| {
        format!(
            r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{{"mediaType":"{config}","digest":"{empty}","size":2}},"layers":[{{"mediaType":"{layer}","digest":"{empty}","size":2}}]}}"#
        )
    };
    let (config, tar) = ("application/vnd.oci.image.config.v1+json", "application/vnd.oci.image.layer.v1.tar+gzip");
    for (document, said) in [
        (
            image("application/vnd.cncf.helm.config.v1+json", tar),
            "it is no image but a document of the type application/vnd.cncf.helm.config.v1+json",
        ),
        (
            image(config, "application/vnd.in-toto+json"),
            "it has a layer of the type application/vnd.in-toto+json, which hoist cannot read",
        ),
        (
            image(config, "application/vnd.oci.image.layer.v1.tar+gzip+encrypted"),
            "it has a layer of the type application/vnd.oci.image.layer.v1.tar+gzip+encrypted, which hoist cannot read",
        ),
        (r#"{"schemaVersion":1,"fsLayers":[]}"#.to_owned(), "its manifest is of schema version 1, which nobody makes"),
        (r#"{"schemaVersion":2}"#.to_owned(), "its manifest names neither layers nor images"),
        (
            r#"{"schemaVersion":2,"manifests":[],"layers":[]}"#.to_owned(),
            "its manifest is an index and an image at once",
        ),
        (
            format!(r#"{{"schemaVersion":2,"mediaType":"{INDEX}","manifests":[]}}"#),
            "its manifest calls itself application/vnd.oci.image.index.v1+json, the registry application/vnd.oci.image.manifest",
        ),
        (
            r#"{"schemaVersion":2,"config":{"digest":"sha256:short","size":1},"layers":[]}"#.to_owned(),
            "its manifest cannot be read: ",
        ),
        (
            format!("{}{}", "[".repeat(100_000), "]".repeat(100_000)),
            "its manifest cannot be read: invalid type: sequence",
        ),
        (
            format!(r#"{{"schemaVersion":2,"x":{}1{}}}"#, "{\"a\":".repeat(5000), "}".repeat(5000)),
            "its manifest names neither layers nor images",
        ),
        (
            format!(
                r#"{{"schemaVersion":2,"config":{{"mediaType":"{config}","digest":"{empty}","size":2}},"layers":[{}]}}"#,
                vec![format!(r#"{{"mediaType":"{tar}","digest":"{empty}","size":1}}"#); 501].join(",")
            ),
            "it has 501 layers, 500 are allowed",
        ),
    ] {
        let text = refused(&document, MANIFEST);
        assert!(text.starts_with(said), "{text}");
    }
    let entry = format!(r#"{{"mediaType":"{MANIFEST}","digest":"{empty}","size":2}}"#);
    let index = format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, vec![entry; 501].join(","));
    assert_eq!(refused(&index, INDEX), "it lists 501 images, 500 are allowed");
}

#[test]
fn indexes_in_indexes_end_and_one_that_leads_to_itself_is_no_index() {
    let (registry, name, id) = with_image();
    let within = |bytes: &[u8], kind: &str| {
        let entry = format!(r#"{{"mediaType":"{kind}","digest":"{}","size":{}}}"#, Digest::of(bytes), bytes.len());
        format!(r#"{{"schemaVersion":2,"mediaType":"{INDEX}","manifests":[{entry}]}}"#).into_bytes()
    };
    {
        let mut contents = registry.contents.lock().unwrap();
        let key = |tag: &str| ("team/app".to_owned(), tag.to_owned());
        let (kind, mut bytes) = contents.manifests[&key("1")].clone();
        let mut kind = kind;
        for depth in 1..=5 {
            bytes = within(&bytes, &kind);
            INDEX.clone_into(&mut kind);
            let entry = (kind.clone(), bytes.clone());
            contents.manifests.insert(key(&Digest::of(&bytes).to_string()), entry.clone());
            contents.manifests.insert(key(&format!("deep{depth}")), entry);
        }
    }
    let (_dir, store) = fresh();
    let deep = |depth: usize| pull(settings(), &store, &name.with_tag(&format!("deep{depth}")).unwrap());
    assert_eq!(deep(3).unwrap().image.id(), id);
    let error = deep(4).unwrap_err();
    assert!(error.to_string().ends_with("its indexes lie in each other too deeply"), "{error}");
    // Whatever is asked for, the same index comes.
    let entry = format!(r#"{{"mediaType":"{INDEX}","digest":"{}","size":300}}"#, digest("another"));
    let index = format!(r#"{{"schemaVersion":2,"mediaType":"{INDEX}","manifests":[{entry}]}}"#);
    registry.fail(move |asked, _| {
        asked.is("GET", "/manifests/").then(|| reply(200, &[("Content-Type", INDEX)], index.clone()))
    });
    let error = pull_fails(&registry, settings(), &name);
    assert!(matches!(error, RegistryError::Content { .. }), "{error}");
    assert!(error.to_string().contains(&format!("should be {} and is sha256:", digest("another"))), "{error}");
}

#[test]
fn what_comes_byte_by_byte_is_not_waited_for() {
    let (registry, name, _) = with_image();
    registry.fail(|asked, contents| {
        let blob = contents.blobs.get(asked.path.rsplit('/').next()?).filter(|blob| blob.len() > 100_000)?;
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", blob.len());
        asked.is("GET", "/blobs/").then(|| Reply::Drip(head.into_bytes(), blob.clone()))
    });
    let mut with = settings();
    with.times.silence = Duration::from_millis(500);
    with.times.attempts = 2;
    let error = pull_fails(&registry, with, &name);
    assert!(matches!(error, RegistryError::Silent { .. }), "{}", chain(&error));
    assert!(error.hint().contains("what has come or gone already is not sent again"), "{}", error.hint());
    // A blob that begins and stops.
    registry.fail(|asked, contents| {
        let blob = contents.blobs.get(asked.path.rsplit('/').next()?).filter(|blob| blob.len() > 100_000)?;
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", blob.len());
        asked.is("GET", "/blobs/").then(|| Reply::Silence([head.as_bytes(), &blob[..1000]].concat()))
    });
    let mut with = settings();
    with.times.silence = Duration::from_millis(500);
    with.times.attempts = 2;
    let error = pull_fails(&registry, with, &name);
    assert!(error.to_string().contains("did not answer in time"), "{error}");
    // A question has a time for the whole of it.
    registry.fail(|asked, _| {
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 4000\r\n\r\n".to_vec();
        asked.is("GET", "/manifests/").then(|| Reply::Drip(head, vec![b' '; 4000]))
    });
    let mut with = settings();
    with.times.question = Duration::from_secs(1);
    with.times.attempts = 2;
    let started = Instant::now();
    let error = pull_fails(&registry, with, &name);
    assert!(matches!(error, RegistryError::Silent { .. }), "{}", chain(&error));
    assert!(started.elapsed() < Duration::from_secs(8));
}

#[test]
fn lists_of_tags_have_an_end_and_stay_with_the_registry() {
    let (registry, name, _) = with_image();
    let tags = |with: &FakeRegistry| Registries::new(logged_in(&with.host)).tags(&name);
    let page = AtomicUsize::new(0);
    registry.fail(move |asked, _| {
        let at = page.fetch_add(1, Ordering::SeqCst);
        let next = format!("</v2/team/app/tags/list?n=1&last=t{at}>; rel=\"next\"");
        asked.is("GET", "/tags/").then(|| reply(200, &[("Link", &next)], format!(r#"{{"tags":["t{at}"]}}"#)))
    });
    let error = tags(&registry).unwrap_err();
    assert!(error.to_string().ends_with("more than 200 pages of tags"), "{error}");
    // In a circle.
    registry.fail(|asked, _| {
        let link = [("Link", "</v2/team/app/tags/list?n=1>; rel=\"next\"")];
        asked.is("GET", "/tags/").then(|| reply(200, &link, r#"{"tags":["b","a","a b","\u001b[2J"]}"#))
    });
    assert_eq!(tags(&registry).unwrap(), ["a", "b"], "what no tag can be is left out");
    assert_eq!(registry.count("GET", "/tags/"), 2);
    let elsewhere = FakeRegistry::start();
    let link = format!("<http://{}/v2/team/app/tags/list>; rel=\"next\"", elsewhere.host);
    registry
        .fail(move |asked, _| asked.is("GET", "/tags/").then(|| reply(200, &[("Link", &link)], r#"{"tags":["a"]}"#)));
    let error = tags(&registry).unwrap_err();
    assert!(error.to_string().ends_with("more tags that lie with somebody else"), "{error}");
    assert!(elsewhere.asked().is_empty());
    registry.fail(|asked, _| asked.is("GET", "/tags/").then(|| reply(200, &[], "<html>")));
    assert!(tags(&registry).unwrap_err().to_string().ends_with("a list of tags that cannot be read"));
    registry.fail(|asked, _| asked.is("GET", "/tags/").then(|| reply(200, &[], vec![b' '; 5 << 20])));
    assert!(
        tags(&registry)
            .unwrap_err()
            .to_string()
            .ends_with("a list of tags is longer than the 4194304 bytes that are allowed")
    );
}

#[test]
fn a_registry_that_removes_nothing_says_so() {
    let (registry, name, _) = with_image();
    registry.fail(|asked, _| match asked.method.as_str() {
        "DELETE" => Some(reply(405, &[], r#"{"errors":[{"code":"UNSUPPORTED"}]}"#)),
        _ if asked.path.contains("/tags/") => Some(reply(200, &[], r#"{"tags":["1"]}"#)),
        _ => None,
    });
    let error = Registries::new(settings()).remove(&name).unwrap_err();
    assert!(error.to_string().ends_with("does not remove images for those who ask this way"), "{error}");
    assert!(error.hint().contains("a setting of the registry's own") && error.is_of_the_caller());
    registry.fail(|asked, _| asked.is("DELETE", "").then(|| reply(403, &[], "")));
    let error = Registries::new(logged_in(&registry.host)).remove(&name).unwrap_err();
    assert!(error.to_string().contains("does not allow it to the user `ada`"), "{error}");
}

#[test]
fn a_copy_that_breaks_off_leaves_no_name_and_goes_on_where_it_was() {
    let (registry, from, _) = with_image();
    let target = FakeRegistry::start();
    let to = name(&target, "copy/app:1");
    let (_dir, store) = fresh();
    registry.fail(|asked, contents| {
        let blob = contents.blobs.get(asked.path.rsplit('/').next()?).filter(|blob| blob.len() > 100_000)?;
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", blob.len());
        // The first part comes once, and nothing after it.
        let first = asked.header("range").is_empty();
        let bytes = if first { [head.as_bytes(), &blob[..200_000]].concat() } else { Vec::new() };
        asked.is("GET", "/blobs/").then_some(Reply::Raw(bytes))
    });
    let copy = || Registries::new(settings()).copy(&store, &from, &to, &NullReporter);
    let error = copy().unwrap_err();
    assert!(error.to_string().starts_with(&format!("copying `{from}` to `{to}`: ")), "{error}");
    assert!(target.contents.lock().unwrap().manifests.is_empty(), "no name before all of it is there");
    registry.fail(|_, _| None);
    let copied = copy().unwrap();
    assert!(copied.sent_blobs >= 1, "{copied:?}");
    assert!(registry.asked().iter().any(|asked| asked.header("range") == "bytes=200000-"), "it goes on");
    assert_eq!(fs::read_dir(store.root_dir().join("blobs/sha256")).unwrap().count(), 0);
    assert!(store.images().unwrap().is_empty());
    let (_other_dir, other) = fresh();
    pull(settings(), &other, &to).unwrap();
    // What lies is not handed on.
    registry.fail(|asked, contents| {
        let blob = contents.blobs.get(asked.path.rsplit('/').next()?).filter(|blob| blob.len() > 100_000)?;
        let mut other = blob.clone();
        other[5] ^= 1;
        asked.is("GET", "/blobs/").then(|| reply(200, &[], other))
    });
    let third = FakeRegistry::start();
    let error = Registries::new(settings()).copy(&store, &from, &name(&third, "x"), &NullReporter).unwrap_err();
    assert!(matches!(error, RegistryError::Content { .. }), "{error}");
    assert!(third.contents.lock().unwrap().manifests.is_empty());
}

#[test]
fn a_push_after_a_change_asks_for_what_is_new_alone() {
    let registry = FakeRegistry::start();
    let (_dir, store) = fresh();
    let base: Vec<_> = (0..40).map(|at| layer(&store, &format!("/layer{at}"), &format!("wheel {at}"))).collect();
    let with = |own: &str| {
        let own = layer(&store, "/app", own);
        image(&store, "app", &base.iter().chain([&own]).collect::<Vec<_>>())
    };
    let name = name(&registry, "team/app:1");
    push(settings(), &with("one"), &name).unwrap();
    registry.fail(|_, _| None);
    let sent = push(settings(), &with("two"), &name).unwrap();
    assert_eq!((sent.sent_layers, sent.layers_there), (1, 40), "{sent:?}");
    // The manifest; the layer and the configuration: asked for, begun, sent; the manifest. Beside that, whether it speaks TLS.
    let asked: Vec<String> = registry.asked().iter().map(|asked| asked.method.clone()).collect();
    let count = |method: &str| asked.iter().filter(|one| *one == method).count();
    assert_eq!((count("HEAD"), count("POST"), count("PUT")), (2, 2, 3), "{asked:?}");
    assert!(count("GET") <= 3 && asked.len() <= 10, "{asked:?}");
    let bytes: usize = registry.asked().iter().map(|asked| asked.body.len()).sum();
    assert!(bytes < 30_000, "{bytes}");
    // Nothing changed: one question.
    registry.fail(|_, _| None);
    assert!(push(settings(), &with("two"), &name).unwrap().unchanged);
    assert_eq!(registry.count("GET", "/manifests/"), 1);
    assert_eq!(registry.asked().iter().filter(|asked| asked.method != "GET").count(), 0);
}

#[test]
fn a_registry_that_lost_a_layer_gets_it_again() {
    let (registry, name, _) = with_image();
    let (_dir, store) = fresh();
    let (one, two) = (layer(&store, "/one", &noise(700_000, 7)), layer(&store, "/two", "three"));
    let made = image(&store, "app", &[&one, &two]);
    let lost = registry.contents.lock().unwrap().blobs.iter().find(|(_, blob)| blob.len() > 100_000).unwrap().0.clone();
    registry.contents.lock().unwrap().blobs.remove(&lost).unwrap();
    registry.fail(|asked, contents| {
        let text = String::from_utf8_lossy(&asked.body).into_owned();
        let missing = |part: &str| {
            let digest = part.split('"').next().unwrap_or_default();
            !contents.blobs.contains_key(&format!("sha256:{digest}"))
        };
        let lacks = asked.is("PUT", "/manifests/") && text.split("\"sha256:").skip(1).any(missing);
        lacks.then(|| reply(400, &[], r#"{"errors":[{"code":"MANIFEST_BLOB_UNKNOWN"}]}"#))
    });
    // What the image of that name had was taken for there, and is not.
    let sent = push(settings(), &made, &name).unwrap();
    assert_eq!(registry.count("PUT", "/manifests/"), 2);
    assert!(registry.contents.lock().unwrap().blobs.contains_key(&lost), "{sent:?}");
    let (_other_dir, other) = fresh();
    assert_eq!(pull(settings(), &other, &name).unwrap().image.id(), made.id());
}

#[test]
fn layers_that_the_store_lacks_are_pushed_where_they_are_and_nowhere_else() {
    let (registry, name, id) = with_image();
    let (_dir, store) = fresh();
    let platform = Platform::of_this_machine();
    let seen = Registries::new(settings()).look(&store, &name, &platform).unwrap();
    assert_eq!((seen.image.id(), seen.layers.len()), (id, 2));
    assert_eq!(registry.count("GET", "/blobs/"), 1, "the configuration alone");
    let other = name.with_tag("again").unwrap();
    let sent = push(settings(), &seen.image, &other).unwrap();
    assert_eq!((sent.sent_layers, sent.layers_there, sent.sent_bytes), (0, 2, 0), "{sent:?}");
    let elsewhere = FakeRegistry::start();
    let error = push(settings(), &seen.image, &fake_registry::name(&elsewhere, "a")).unwrap_err();
    assert!(
        chain(&error).contains("image sha256:") && elsewhere.contents.lock().unwrap().manifests.is_empty(),
        "{error}"
    );
    // Damage is found where it is.
    registry.fail(|asked, contents| {
        let blob = contents.blobs.get(asked.path.rsplit('/').next()?).filter(|blob| blob.len() > 100_000)?;
        asked.is("GET", "/blobs/").then(|| reply(200, &[], [&blob[..], b"x"].concat()))
    });
    let verify = || Registries::new(settings()).verify(&store, &name, &platform, &NullReporter).unwrap().1;
    let problems = verify();
    assert!(problems.len() == 1 && problems[0].contains("is longer than the"), "{problems:?}");
    registry.fail(|asked, contents| {
        let small = contents.blobs.iter().find(|(_, blob)| blob.len() < 200 && !blob.starts_with(b"{"))?.0.clone();
        (asked.is("GET", "/blobs/") && asked.path.ends_with(&small)).then(|| reply(404, &[], ""))
    });
    let problems = verify();
    assert!(problems.len() == 1 && problems[0].contains("the registry has no blob sha256:"), "{problems:?}");
    registry.fail(|_, _| None);
    assert!(verify().is_empty());
}
