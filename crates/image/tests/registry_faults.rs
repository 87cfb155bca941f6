//! Registries that misbehave in every way a registry can while something is transferred, played by a thread on loopback; real ones are in
//! `registries.rs`.
#![allow(clippy::unwrap_used, clippy::missing_panics_doc, missing_docs)] // tests fail loudly

#[path = "support/fake_registry.rs"]
mod fake_registry;
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use fake_registry::{
    Asked, Contents, FakeRegistry, Reply, logged_in, name, noise, pull, pull_fails, push, reply, settings, with_image,
};
use fs_err as fs;
use hoist_events::NullReporter;
use hoist_image::{
    Compression, Digest, LoadLimits, Platform, Registries, RegistryError, RegistrySettings, RegistryTimes,
};
use support::{chain, fresh, image, layer};

#[test]
fn an_image_goes_there_and_comes_back_and_what_is_there_is_not_sent_again() {
    let (registry, name, id) = with_image();
    let (_dir, store) = fresh();
    let fetched = pull(settings(), &store, &name).unwrap();
    assert_eq!((fetched.image.id(), fetched.fetched_layers, fetched.layers_there), (id, 2, 0));
    assert_eq!(store.find_image(&name).unwrap().unwrap().id(), id);
    let again = pull(settings(), &store, &name).unwrap();
    assert_eq!((again.fetched_layers, again.fetched_bytes), (0, 0));
    // What came from there is known to be there.
    registry.asked.lock().unwrap().clear();
    let sent = push(settings(), &fetched.image, &name).unwrap();
    assert!(sent.unchanged, "{sent:?}");
    assert_eq!(registry.count("POST", ""), 0);
    // Another repository of the same registry mounts it.
    let other = format!("{}/other/app:2", registry.host).parse().unwrap();
    let sent = push(settings(), &fetched.image, &other).unwrap();
    assert_eq!((sent.sent_layers, sent.layers_there), (0, 2), "{sent:?}");
    registry.contents.lock().unwrap().blobs.retain(|_, blob| blob.len() > 1000);
    registry.fail(|asked, _| asked.is("HEAD", "/third/app/blobs/").then(|| reply(404, &[], "")));
    let third = format!("{}/third/app:2", registry.host).parse().unwrap();
    let sent = push(settings(), &fetched.image, &third).unwrap();
    assert_eq!((sent.mounted_layers, sent.sent_layers), (1, 1), "{sent:?}");
}

#[test]
fn what_is_not_there_is_named() {
    let (registry, name, _) = with_image();
    let other = format!("{}/team/app:2", registry.host).parse().unwrap();
    let (_dir, store) = fresh();
    let error = pull(settings(), &store, &other).unwrap_err();
    assert_eq!(error.to_string(), format!("pulling `{other}`: {} has no image team/app:2", registry.host));
    assert!(error.hint().contains("docker login") && error.is_of_the_caller());
    registry.fail(|asked, _| asked.is("GET", "/blobs/").then(|| reply(404, &[], "")));
    let error = pull_fails(&registry, settings(), &name);
    assert!(error.to_string().contains("has no blob sha256:"), "{error}");
}

#[test]
fn a_blob_that_breaks_off_goes_on_where_it_was() {
    let (registry, name, id) = with_image();
    let rounds = AtomicUsize::new(0);
    registry.fail(move |asked, contents| {
        let blob = contents.blobs.get(asked.path.rsplit('/').next()?).filter(|blob| blob.len() > 100_000)?;
        if !asked.is("GET", "/blobs/") || rounds.fetch_add(1, Ordering::SeqCst) > 1 {
            return None;
        }
        let from: usize =
            asked.header("range").strip_prefix("bytes=").map_or(0, |r| r.trim_end_matches('-').parse().unwrap());
        let to = from + 200_000;
        let head = if from == 0 {
            format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", blob.len())
        } else {
            format!(
                "HTTP/1.1 206 Partial\r\nContent-Range: bytes {from}-{}/{}\r\nContent-Length: {}\r\n\r\n",
                blob.len() - 1,
                blob.len(),
                blob.len() - from
            )
        };
        Some(Reply::Raw([head.as_bytes(), &blob[from..to]].concat()))
    });
    let (_dir, store) = fresh();
    assert_eq!(pull(settings(), &store, &name).unwrap().image.id(), id);
    let ranges: Vec<String> =
        registry.asked().iter().map(|asked| asked.header("range").to_owned()).filter(|r| !r.is_empty()).collect();
    assert_eq!(ranges, ["bytes=200000-", "bytes=400000-"]);
}

#[test]
fn a_pull_that_was_ended_goes_on_where_it_was() {
    let (registry, name, id) = with_image();
    let stop = Arc::new(AtomicBool::new(false));
    let sign = Arc::clone(&stop);
    registry.fail(move |asked, contents| {
        let blob = contents.blobs.get(asked.path.rsplit('/').next()?).filter(|blob| blob.len() > 100_000)?;
        if !asked.is("GET", "/blobs/") || sign.swap(true, Ordering::SeqCst) {
            return None;
        }
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", blob.len());
        Some(Reply::Silence([head.as_bytes(), &blob[..300_000]].concat()))
    });
    let (_dir, store) = fresh();
    let began = Arc::new(std::sync::Mutex::new(None::<Instant>));
    let slow =
        RegistrySettings { times: RegistryTimes { silence: Duration::from_mins(1), ..settings().times }, ..settings() };
    let registries = Registries::new(slow).stop_when(move || {
        // Some time after the piece was on its way.
        let mut began = began.lock().unwrap();
        stop.load(Ordering::SeqCst) && began.get_or_insert_with(Instant::now).elapsed() > Duration::from_millis(300)
    });
    let platform = Platform::of_this_machine();
    let started = Instant::now();
    let error = registries
        .pull(&store, &name, std::slice::from_ref(&name), &platform, LoadLimits::default(), &NullReporter)
        .unwrap_err();
    assert!(matches!(error, RegistryError::Stopped { .. }), "{}", chain(&error));
    assert!(started.elapsed() < Duration::from_secs(10) && error.hint().contains("not sent again"));
    assert!(store.names().unwrap().is_empty());
    assert_eq!(pull(settings(), &store, &name).unwrap().image.id(), id);
    assert!(registry.asked().iter().any(|asked| asked.header("range") == "bytes=300000-"));
    // What is left of transfers goes with a prune.
    fs::write(store.root_dir().join("registries/partial").join("0".repeat(64)), "left").unwrap();
    store.prune(hoist_image::PruneOptions::default()).unwrap();
    assert_eq!(fs::read_dir(store.root_dir().join("registries/partial")).unwrap().count(), 0);
    assert_ne!(fs::read_dir(store.root_dir().join("registries/known")).unwrap().count(), 0);
}

#[test]
fn a_registry_that_does_not_know_ranges_is_asked_for_the_whole() {
    let (registry, name, id) = with_image();
    let rounds = AtomicUsize::new(0);
    registry.fail(move |asked, contents| {
        let blob = contents.blobs.get(asked.path.rsplit('/').next()?).filter(|blob| blob.len() > 100_000)?;
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", blob.len());
        let end = if rounds.fetch_add(1, Ordering::SeqCst) == 0 { 5000 } else { blob.len() };
        asked.is("GET", "/blobs/").then(|| Reply::Raw([head.as_bytes(), &blob[..end]].concat()))
    });
    let (_dir, store) = fresh();
    assert_eq!(pull(settings(), &store, &name).unwrap().image.id(), id);
}

#[test]
fn a_blob_that_never_comes_whole_is_given_up() {
    let (registry, name, _) = with_image();
    registry.fail(|asked, contents| {
        let blob = contents.blobs.get(asked.path.rsplit('/').next()?).filter(|blob| blob.len() > 100_000)?;
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", blob.len());
        asked.is("GET", "/blobs/").then(|| Reply::Raw([head.as_bytes(), &blob[..5000]].concat()))
    });
    let error = pull_fails(&registry, settings(), &name);
    assert!(matches!(error, RegistryError::Broken { .. }), "{}", chain(&error));
    assert!(
        error.to_string().contains("the connection to") && error.hint().contains("run the command again"),
        "{error}"
    );
}

#[test]
fn a_registry_that_lies_about_digests_and_lengths_is_not_believed() {
    let (registry, name, _) = with_image();
    let changed = |asked: &Asked, contents: &mut Contents, length: usize| {
        let mut blob = contents.blobs.get(asked.path.rsplit('/').next()?).filter(|blob| blob.len() > 100_000)?.clone();
        blob.resize(length.min(blob.len() + 5), 0);
        let middle = blob.len() / 2;
        blob[middle] ^= 1;
        asked.is("GET", "/blobs/").then(|| reply(200, &[], blob))
    };
    registry.fail(move |asked, contents| {
        let length = contents.blobs.get(asked.path.rsplit('/').next()?)?.len();
        changed(asked, contents, length)
    });
    let error = pull_fails(&registry, settings(), &name);
    assert!(
        error.to_string().contains("a layer of 127.0.0.1") && error.to_string().contains("should be sha256:"),
        "{error}"
    );
    assert!(error.hint().contains("do not use it"));
    registry.fail(move |asked, contents| changed(asked, contents, usize::MAX));
    let error = pull_fails(&registry, settings(), &name);
    assert!(error.to_string().contains("bytes long and is"), "{error}");
    registry.fail(move |asked, contents| {
        let blob = contents.blobs.get(asked.path.rsplit('/').next()?).filter(|blob| blob.len() > 100_000)?;
        let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        let piece = [format!("{:x}\r\n", blob.len()).as_bytes(), blob, b"\r\n"].concat();
        asked.is("GET", "/blobs/").then_some(Reply::Endless(head, piece))
    });
    let error = pull_fails(&registry, settings(), &name);
    assert!(error.to_string().ends_with("bytes long and is longer"), "{error}");
    registry.fail(|asked, contents| {
        let (kind, bytes) = contents.manifests.get(&("team/app".to_owned(), "1".to_owned()))?.clone();
        let headers = [("Content-Type", kind.as_str()), ("Docker-Content-Digest", &Digest::of(b"other").to_string())];
        asked.is("GET", "/manifests/").then(|| reply(200, &headers, bytes))
    });
    let error = pull_fails(&registry, settings(), &name);
    assert!(error.to_string().contains("manifest 1 of 127.0.0.1"), "{error}");
    registry.fail(|asked, contents| {
        let config = contents.blobs.values().find(|blob| blob.starts_with(b"{"))?.clone();
        let wanted = asked.path.ends_with(&Digest::of(&config).to_string()) && asked.method == "GET";
        let mut other = config;
        *other.last_mut()? = b' ';
        wanted.then(|| reply(200, &[], other))
    });
    let error = pull_fails(&registry, settings(), &name);
    assert!(error.to_string().contains("the image's configuration of 127.0.0.1"), "{error}");
}

#[test]
fn documents_without_an_end_are_bounded() {
    let (registry, name, _) = with_image();
    registry.fail(|asked, _| {
        let head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        asked.is("GET", "/manifests/").then(|| {
            Reply::Endless(head, b"10000\r\n".iter().copied().chain(vec![b' '; 0x10000]).chain(*b"\r\n").collect())
        })
    });
    let error = pull_fails(&registry, settings(), &name);
    assert!(error.to_string().ends_with("manifest 1 is longer than the 4194304 bytes that are allowed"), "{error}");
    registry.fail(|asked, _| {
        asked
            .is("GET", "/manifests/")
            .then(|| Reply::Endless(b"HTTP/1.1 200 OK\r\n".to_vec(), b"X: y\r\n".repeat(1000)))
    });
    let error = pull_fails(&registry, settings(), &name);
    assert!(matches!(error, RegistryError::NotARegistry { .. } | RegistryError::Broken { .. }), "{}", chain(&error));
    registry.fail(|asked, _| asked.is("GET", "/manifests/").then(|| reply(200, &[], "<html>a portal</html>")));
    let error = pull_fails(&registry, settings(), &name);
    assert!(error.to_string().contains("its manifest cannot be read"), "{error}");
}

#[test]
fn what_an_image_unpacks_to_is_bounded() {
    let (_registry, name, _) = with_image();
    let (_dir, store) = fresh();
    let platform = Platform::of_this_machine();
    for (limits, said) in [
        (LoadLimits { archive_bytes: 1000, ..LoadLimits::default() }, "what its layers have together"),
        (LoadLimits { unpacked_bytes: 1000, ..LoadLimits::default() }, ""),
    ] {
        let error = Registries::new(settings()).pull(&store, &name, &[], &platform, limits, &NullReporter).unwrap_err();
        assert!(
            chain(&error).contains(said) && chain(&error).contains("1000 bytes that are allowed"),
            "{}",
            chain(&error)
        );
        assert!(error.hint().contains("--max-size"), "{}", error.hint());
    }
}

#[test]
fn a_registry_that_says_nothing_is_not_waited_for() {
    let (registry, name, _) = with_image();
    registry.fail(|asked, _| asked.is("GET", "/manifests/").then(|| Reply::Silence(Vec::new())));
    let error = pull_fails(&registry, settings(), &name);
    assert!(error.to_string().ends_with("/v2/team/app/manifests/1 did not answer in time"), "{error}");
    let small = b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\nabc".to_vec();
    registry.fail(move |asked, _| asked.is("GET", "/manifests/").then(|| Reply::Silence(small.clone())));
    let error = pull_fails(&registry, settings(), &name);
    assert!(matches!(error, RegistryError::Silent { .. }), "{}", chain(&error));
}

#[test]
fn what_fails_for_a_while_is_tried_again_and_the_registry_says_when() {
    let (registry, name, id) = with_image();
    let rounds = AtomicUsize::new(0);
    registry.fail(move |asked, _| {
        let statuses = [503, 429, 500];
        let status = *statuses.get(rounds.fetch_add(usize::from(asked.is("GET", "/manifests/")), Ordering::SeqCst))?;
        asked.is("GET", "/manifests/").then(|| reply(status, &[("Retry-After", "1")], ""))
    });
    let (_dir, store) = fresh();
    let started = Instant::now();
    assert_eq!(pull(settings(), &store, &name).unwrap().image.id(), id);
    assert!(started.elapsed() >= Duration::from_secs(3), "it asked for a second each time");
    assert_eq!(registry.count("GET", "/manifests/"), 4);
    registry.fail(|asked, _| asked.is("GET", "/manifests/").then(|| reply(429, &[("Retry-After", "3600")], "")));
    let error = pull_fails(&registry, settings(), &name);
    assert!(
        error.to_string().ends_with("is asked too much and wants nothing for 3600 seconds; 2 are waited at most"),
        "{error}"
    );
    registry.fail(|asked, _| {
        let body = r#"{"errors":[{"code":"UNAVAILABLE","message":"the disk\nis on fire"}]}"#;
        asked.is("GET", "/manifests/").then(|| reply(503, &[], body))
    });
    let error = pull_fails(&registry, settings(), &name);
    assert!(error.to_string().ends_with("says: UNAVAILABLE: the disk is on fire (status 503)"), "{error}");
    assert!(error.hint().contains("try again later"));
}

#[test]
fn an_upload_in_pieces_goes_on_after_a_fault_and_after_a_stop() {
    let registry = FakeRegistry::start();
    let (_dir, store) = fresh();
    // Three pieces.
    let made = image(&store, "app", &[&layer(&store, "/large", &noise(165_000_000, 3))]);
    let name = name(&registry, "big/app:1");
    let rounds = Arc::new(AtomicUsize::new(0));
    let (count, stopped) = (Arc::clone(&rounds), Arc::new(AtomicBool::new(false)));
    let sign = Arc::clone(&stopped);
    registry.fail(move |asked, _| {
        if asked.method != "PATCH" {
            return None;
        }
        match count.fetch_add(1, Ordering::SeqCst) {
            1 => Some(reply(502, &[], "")), // the second piece is lost on its way
            2 => {
                sign.store(true, Ordering::SeqCst);
                Some(Reply::Silence(Vec::new()))
            }
            _ => None,
        }
    });
    let patient =
        RegistrySettings { times: RegistryTimes { silence: Duration::from_mins(1), ..settings().times }, ..settings() };
    let registries = Registries::new(patient.clone()).stop_when(move || stopped.load(Ordering::SeqCst));
    let error = registries.push(&made, &name, Compression::Zstd, &NullReporter).unwrap_err();
    assert!(matches!(error, RegistryError::Stopped { .. }), "{}", chain(&error));
    assert!(registry.contents.lock().unwrap().manifests.is_empty());
    registry.fail(|_, _| None);
    let sent = Registries::new(patient.clone()).push(&made, &name, Compression::Zstd, &NullReporter).unwrap();
    assert_eq!(sent.sent_layers, 1);
    let pieces: Vec<String> = registry
        .asked()
        .iter()
        .map(|asked| asked.header("content-range").to_owned())
        .filter(|r| !r.is_empty())
        .collect();
    assert!(pieces[0].starts_with(&format!("{}-", 64 << 20)), "the first piece is not sent again: {pieces:?}");
    assert_eq!(fs::read_dir(store.root_dir().join("registries/uploads")).unwrap().count(), 0);
    let (_dir, other) = fresh();
    assert_eq!(pull(patient.clone(), &other, &name).unwrap().image.id(), made.id());
    // An upload that the registry has forgotten begins again.
    let second = image(&store, "app2", &[&layer(&store, "/large", &noise(70_000_000, 5))]);
    let rounds = AtomicUsize::new(0);
    registry.fail(move |asked, contents| {
        if asked.method == "PATCH" && rounds.fetch_add(1, Ordering::SeqCst) == 1 {
            contents.uploads.clear();
            return Some(reply(404, &[], ""));
        }
        None
    });
    Registries::new(patient.clone()).push(&second, &name, Compression::Zstd, &NullReporter).unwrap();
}

#[test]
fn uploads_that_are_refused_are_told_with_the_registrys_words() {
    let registry = FakeRegistry::start();
    let (_dir, store) = fresh();
    let made = image(&store, "app", &[&layer(&store, "/one", "1")]);
    let name = name(&registry, "app");
    registry.fail(|asked, _| {
        asked
            .is("POST", "/uploads/")
            .then(|| reply(403, &[], r#"{"errors":[{"code":"DENIED","message":"quota exceeded"}]}"#))
    });
    let error = push(logged_in(&registry.host), &made, &name).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("pushing `{name}`: {} does not allow it to the user `ada` (DENIED: quota exceeded)", registry.host)
    );
    registry.fail(|asked, _| asked.is("PUT", "/uploads/").then(|| reply(413, &[], "<html>")));
    let error = push(settings(), &made, &name).unwrap_err();
    assert!(error.to_string().ends_with("says: status 413 (status 413)") && error.hint().contains("limit"), "{error}");
    registry.fail(|asked, _| asked.is("POST", "/uploads/").then(|| reply(202, &[], "")));
    let error = push(settings(), &made, &name).unwrap_err();
    assert!(error.to_string().contains("does not say where to"), "{error}");
    registry.fail(|asked, _| {
        asked
            .is("PUT", "/manifests/")
            .then(|| reply(201, &[("Docker-Content-Digest", &Digest::of(b"x").to_string())], ""))
    });
    let error = push(settings(), &made, &name).unwrap_err();
    assert!(matches!(error, RegistryError::Content { .. }), "{error}");
    registry.fail(|_, _| None);
    push(settings(), &made, &name).unwrap();
}

#[test]
fn a_full_disk_and_a_damaged_blob_are_said_as_what_they_are() {
    let registry = FakeRegistry::start();
    let (_dir, store) = fresh();
    let one = layer(&store, "/one", &noise(10_000, 9));
    let made = image(&store, "app", &[&one]);
    let blob = one.blob(Compression::Gzip).unwrap();
    let path = store.blob_path(&blob.digest);
    let mut bytes = fs::read(&path).unwrap();
    bytes[5000] ^= 1;
    fs::write(&path, bytes).unwrap();
    let name = name(&registry, "app");
    let error = push(settings(), &made, &name).unwrap_err();
    assert!(chain(&error).contains("its bytes have the digest"), "{}", chain(&error));
    // It was dropped, and is made again.
    push(settings(), &made, &name).unwrap();
}
