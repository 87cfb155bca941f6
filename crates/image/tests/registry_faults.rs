//! Registries that misbehave in every way a registry can, played by a thread on loopback; real ones are in `registries.rs`.
#![allow(clippy::unwrap_used, clippy::missing_panics_doc, missing_docs)] // tests fail loudly

#[path = "support/fake_registry.rs"]
mod fake_registry;
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use fake_registry::{FakeRegistry, Reply, reply};
use fs_err as fs;
use hoist_events::NullReporter;
use hoist_image::{
    Compression, Digest, Fetched, Image, KeyPlaces, LoadLimits, Platform, Reference, Registries, RegistryError,
    RegistrySettings, RegistryTimes, Sent, Store,
};
use support::{chain, fresh, image, layer};

const PASSWORD: &str = "tr0ub4dor-SECRET";

fn settings() -> RegistrySettings {
    let times = RegistryTimes {
        question: Duration::from_secs(5),
        silence: Duration::from_millis(600),
        helper: Duration::from_secs(1),
        attempts: 4,
        pause: Duration::from_millis(20),
        longest_pause: Duration::from_secs(2),
    };
    RegistrySettings { times, certificate_dirs: Vec::new(), ..RegistrySettings::from_environment(&|_| None) }
}

/// Logged in at that registry.
fn logged_in(host: &str) -> RegistrySettings {
    let pair = "YWRhOnRyMHViNGRvci1TRUNSRVQ="; // ada and the password
    let registry_auth = Some(format!(r#"{{"{host}":"Basic {pair}"}}"#));
    RegistrySettings { keys: KeyPlaces { registry_auth, ..KeyPlaces::default() }, ..settings() }
}

fn name(registry: &FakeRegistry, rest: &str) -> Reference {
    format!("{}/{rest}", registry.host).parse().unwrap()
}

fn push(with: RegistrySettings, image: &Image, name: &Reference) -> Result<Sent, RegistryError> {
    Registries::new(with).push(image, name, Compression::Gzip, &NullReporter)
}

fn pull(with: RegistrySettings, store: &Store, name: &Reference) -> Result<Fetched, RegistryError> {
    let platform = "linux/amd64".parse::<Platform>().unwrap();
    let names = [name.clone()];
    Registries::new(with).pull(store, name, &names, &platform, LoadLimits::default(), &NullReporter)
}

/// Bytes that no compression makes shorter.
fn noise(length: usize, seed: u64) -> String {
    let mut state = seed | 1;
    let next = |state: &mut u64| {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        char::from(33 + u8::try_from(*state % 90).unwrap())
    };
    (0..length).map(|_| next(&mut state)).collect()
}

/// A registry with an image of two layers, and that image's id.
fn with_image() -> (FakeRegistry, Reference, hoist_image::ImageId) {
    let registry = FakeRegistry::start();
    let (_dir, store) = fresh();
    let (one, two) = (layer(&store, "/one", &noise(700_000, 7)), layer(&store, "/two", "two"));
    let made = image(&store, "app", &[&one, &two]);
    let name = name(&registry, "team/app:1");
    push(settings(), &made, &name).unwrap();
    registry.asked.lock().unwrap().clear();
    (registry, name, made.id())
}

/// What a pull fails with. The store has nothing of the image then, and a pull without the fault works.
fn pull_fails(registry: &FakeRegistry, with: RegistrySettings, name: &Reference) -> RegistryError {
    let (_dir, store) = fresh();
    let started = Instant::now();
    let error = pull(with, &store, name).unwrap_err();
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    assert!(store.images().unwrap().is_empty() && store.names().unwrap().is_empty());
    assert!(!chain(&error).contains("SECRET") && !error.hint().contains("SECRET"), "{}", chain(&error));
    registry.fail(|_, _| None);
    pull(settings(), &store, name).unwrap();
    let image = store.find_image(name).unwrap().unwrap();
    assert!(store.verify(&image).is_empty());
    error
}

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
fn names_without_a_registry_and_digests_that_are_pushed_are_refused_before_anybody_is_asked() {
    let (_dir, store) = fresh();
    let made = image(&store, "app", &[&layer(&store, "/one", "1")]);
    let error = push(settings(), &made, &"team/app".parse().unwrap()).unwrap_err();
    assert_eq!(error.to_string(), "pushing `team/app:latest`: `team/app` names no registry");
    assert!(error.hint().contains("HOST/team/app") && error.is_of_the_caller());
    let error = pull(settings(), &store, &"team/app".parse().unwrap()).unwrap_err();
    assert_eq!(error.to_string(), "pulling `team/app:latest`: `team/app` names no registry");
    let digest = Digest::of(b"");
    let error = push(settings(), &made, &format!("r.example/a@{digest}").parse().unwrap()).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("pushing to `r.example/a@{digest}`: a digest is no name that an image can get")
    );
    assert!(error.hint().contains("HOST/NAME:TAG"));
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
fn a_registry_that_is_not_there_is_said_so_and_where() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (_dir, store) = fresh();
    let wanted: Reference = format!("127.0.0.1:{port}/app").parse().unwrap();
    let error = pull(settings(), &store, &wanted).unwrap_err();
    assert_eq!(error.to_string(), format!("pulling `{wanted}`: connecting to http://127.0.0.1:{port}/v2/"));
    assert!(error.hint().starts_with("nobody listens there"), "{}", error.hint());
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
    let slow = RegistrySettings {
        times: RegistryTimes { silence: Duration::from_secs(60), ..settings().times },
        ..settings()
    };
    let registries = Registries::new(slow).stop_when(move || {
        // Some time after the piece was on its way.
        let mut began = began.lock().unwrap();
        stop.load(Ordering::SeqCst) && began.get_or_insert_with(Instant::now).elapsed() > Duration::from_millis(300)
    });
    let platform = Platform::of_this_machine();
    let started = Instant::now();
    let error =
        registries.pull(&store, &name, &[name.clone()], &platform, LoadLimits::default(), &NullReporter).unwrap_err();
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
    let changed = |asked: &fake_registry::Asked, contents: &mut fake_registry::Contents, length: usize| {
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
            Reply::Endless(head, b"10000\r\n".iter().copied().chain([b' '; 0x10000]).chain(*b"\r\n").collect())
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
fn a_401_without_an_end_is_asked_a_few_times_alone_and_shows_no_secret() {
    let (registry, name, _) = with_image();
    let basic = |asked: &fake_registry::Asked| {
        let body = format!(
            r#"{{"errors":[{{"code":"UNAUTHORIZED","message":"no {}, no {PASSWORD}"}}]}}"#,
            asked.header("authorization")
        );
        reply(401, &[("WWW-Authenticate", "Basic realm=\"x\"")], body)
    };
    registry.fail(move |asked, _| Some(basic(asked)));
    let with = logged_in(&registry.host);
    let error = pull_fails(&registry, with, &name);
    assert!(
        error.to_string().ends_with("does not allow it to the user `ada` (UNAUTHORIZED: no Basic ***, no ***)"),
        "{error}"
    );
    registry.fail(move |asked, _| Some(basic(asked)));
    let (_dir, store) = fresh();
    let error = pull(settings(), &store, &name).unwrap_err();
    assert!(
        error.to_string().contains("does not allow it to anybody") && error.hint().contains("docker login 127.0.0.1"),
        "{error}"
    );
    assert!(registry.count("GET", "/manifests/") <= 2);
    // A token that is given and never taken.
    let realm = format!("http://{}/token", registry.host);
    registry.fail(move |asked, _| {
        if asked.is("GET", "/token") {
            return Some(reply(200, &[], r#"{"token":"tok-SECRET","expires_in":300}"#));
        }
        let challenge = format!("Bearer realm=\"{realm}\",service=\"s\"");
        Some(reply(
            401,
            &[("WWW-Authenticate", &challenge)],
            r#"{"errors":[{"code":"DENIED","message":"tok-SECRET"}]}"#,
        ))
    });
    let with = logged_in(&registry.host);
    let error = pull(with, &store, &name).unwrap_err();
    assert!(error.to_string().ends_with("(DENIED: ***)"), "{error}");
    assert_eq!((registry.count("GET", "/token"), registry.count("GET", "/manifests/")), (1, 2));
}

#[test]
fn tokens_are_fetched_once_and_with_what_is_needed() {
    let (registry, name, id) = with_image();
    let realm = format!("http://{}/token", registry.host);
    registry.fail(move |asked, _| {
        if asked.path.contains("/token") {
            return Some(reply(200, &[], r#"{"access_token":"tok"}"#));
        }
        let challenge = format!("Bearer realm=\"{realm}\",service=\"the service\",scope=\"repository:team/app:pull\"");
        let fine = asked.header("authorization") == "Bearer tok" || asked.path == "/v2/";
        (!fine).then(|| reply(401, &[("WWW-Authenticate", &challenge)], ""))
    });
    let (_dir, store) = fresh();
    assert_eq!(pull(logged_in(&registry.host), &store, &name).unwrap().image.id(), id);
    let asked: Vec<_> = registry.asked().into_iter().filter(|asked| asked.path.contains("/token")).collect();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].path, "/token?service=the%20service&scope=repository%3Ateam%2Fapp%3Apull&account=ada");
    assert!(asked[0].header("authorization").starts_with("Basic "));
    // An identity token goes the other way, and nowhere else.
    let mut with = settings();
    with.keys.registry_auth = Some(format!(r#"{{"{}":"X-Identity refresh-SECRET"}}"#, registry.host));
    registry.asked.lock().unwrap().clear();
    let (_dir, store) = fresh();
    assert_eq!(pull(with, &store, &name).unwrap().image.id(), id);
    let asked: Vec<_> = registry.asked().into_iter().filter(|asked| asked.path.contains("/token")).collect();
    let body = String::from_utf8(asked[0].body.clone()).unwrap();
    assert_eq!((asked.len(), asked[0].method.as_str(), asked[0].header("authorization")), (1, "POST", ""));
    assert!(body.contains("grant_type=refresh_token") && body.contains("refresh_token=refresh-SECRET"), "{body}");
    let others = registry.asked().into_iter().filter(|asked| !asked.path.contains("/token"));
    assert!(others.into_iter().all(|asked| !format!("{asked:?}").contains("refresh-SECRET")));
}

#[test]
fn credentials_do_not_follow_to_another_host() {
    let (registry, name, id) = with_image();
    let storage = FakeRegistry::start();
    let blobs = registry.contents.lock().unwrap().blobs.clone();
    storage.fail(move |asked, _| {
        let digest = asked.path.split('?').next()?.rsplit('/').next()?;
        Some(reply(200, &[], blobs.get(digest)?.clone()))
    });
    let other = storage.host.replace("127.0.0.1", "localhost");
    registry.fail(move |asked, _| {
        if asked.header("authorization").is_empty() && asked.path != "/v2/" {
            return Some(reply(401, &[("WWW-Authenticate", "Basic realm=\"x\"")], ""));
        }
        let digest = asked.path.rsplit('/').next()?;
        let location = format!("http://{other}/store/{digest}?signature=SECRET");
        asked.is("GET", "/blobs/").then(|| reply(307, &[("Location", &location)], ""))
    });
    let (_dir, store) = fresh();
    assert_eq!(pull(logged_in(&registry.host), &store, &name).unwrap().image.id(), id);
    assert!(registry.asked().iter().any(|asked| asked.header("authorization").starts_with("Basic ")));
    assert!(storage.asked().len() >= 3 && storage.asked().iter().all(|asked| asked.header("authorization").is_empty()));
    // What fails there is told without the signature, and a 401 of strangers gets no answer.
    storage.fail(|_, _| Some(reply(401, &[("WWW-Authenticate", "Basic realm=\"phishing\"")], "")));
    let (_dir, store) = fresh();
    let error = pull(logged_in(&registry.host), &store, &name).unwrap_err();
    assert!(!chain(&error).contains("SECRET"), "{}", chain(&error));
    assert!(storage.asked().iter().all(|asked| asked.header("authorization").is_empty()));
    // A redirection in a circle ends.
    registry.fail(|asked, _| asked.is("GET", "/manifests/").then(|| reply(302, &[("Location", &asked.path)], "")));
    let error = pull(settings(), &store, &name).unwrap_err();
    assert!(error.to_string().contains("redirections without an end"), "{error}");
    assert_eq!(registry.count("GET", "/manifests/"), 6);
}

#[test]
fn an_index_gives_the_image_for_the_machine_or_says_which_there_are() {
    let (registry, name, id) = with_image();
    {
        let mut contents = registry.contents.lock().unwrap();
        let key = |tag: &str| ("team/app".to_owned(), tag.to_owned());
        let (kind, bytes) = contents.manifests[&key("1")].clone();
        let entry = |architecture: &str, digest: Digest| {
            format!(
                r#"{{"mediaType":"{kind}","digest":"{digest}","size":{},"platform":{{"os":"linux","architecture":"{architecture}"}}}}"#,
                bytes.len()
            )
        };
        let index = format!(
            r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{},{}]}}"#,
            entry("s390x", Digest::of(b"none")),
            entry("amd64", Digest::of(&bytes))
        );
        contents
            .manifests
            .insert(key("many"), ("application/vnd.oci.image.index.v1+json".to_owned(), index.into_bytes()));
    }
    let many = name.with_tag("many").unwrap();
    let (_dir, store) = fresh();
    assert_eq!(pull(settings(), &store, &many).unwrap().image.id(), id);
    let asked = |platform: &str| {
        let platform = platform.parse().unwrap();
        Registries::new(settings())
            .pull(&store, &many, &[], &platform, LoadLimits::default(), &NullReporter)
            .unwrap_err()
    };
    assert_eq!(
        asked("linux/riscv64").to_string(),
        format!("pulling `{many}`: it is not for linux/riscv64, but for linux/amd64, linux/s390x")
    );
    assert!(asked("linux/s390x").to_string().contains("has no image team/app@sha256:"));
    let single = Registries::new(settings())
        .pull(&store, &name, &[], &"linux/arm64".parse().unwrap(), LoadLimits::default(), &NullReporter)
        .unwrap_err();
    assert_eq!(single.to_string(), format!("pulling `{name}`: it is not for linux/arm64, but for linux/amd64"));
    assert!(single.hint().contains("--platform"));
    // By a digest, what comes must have it.
    let digest = Digest::of(b"none");
    let error = pull(settings(), &store, &format!("{}/team/app@{digest}", registry.host).parse().unwrap()).unwrap_err();
    assert!(error.to_string().ends_with(&format!("has no image team/app@{digest}")), "{error}");
}

#[test]
fn mirrors_are_asked_first_and_one_that_fails_is_passed_over() {
    let (registry, name, id) = with_image();
    let origin = FakeRegistry::start();
    let wanted: Reference = format!("{}/team/app:1", origin.host).parse().unwrap();
    let with = |mirrors: &[String]| {
        let mut with = settings();
        with.mirrors.insert(origin.host.clone(), mirrors.to_vec());
        with
    };
    let (_dir, store) = fresh();
    let fetched = pull(with(&["127.0.0.1:9".to_owned(), registry.host.clone()]), &store, &wanted).unwrap();
    assert_eq!((fetched.image.id(), fetched.from), (id, format!("{}/team/app", registry.host)));
    assert_eq!(origin.count("GET", "/manifests/"), 0);
    assert!(store.find_image(&wanted).unwrap().is_some(), "it has the name that was asked for");
    drop(name);
    // Nobody has it: the registry itself has the last word.
    let other: Reference = format!("{}/team/app:2", origin.host).parse().unwrap();
    let error = pull(with(&[registry.host.clone()]), &store, &other).unwrap_err();
    assert_eq!(error.to_string(), format!("pulling `{other}`: {} has no image team/app:2", origin.host));
    let error = pull(with(&["a b".to_owned()]), &store, &other).unwrap_err();
    assert!(error.to_string().contains("the mirror `a b`"), "{error}");
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
    let patient = RegistrySettings {
        times: RegistryTimes { silence: Duration::from_secs(60), ..settings().times },
        ..settings()
    };
    let registries = Registries::new(patient).stop_when(move || stopped.load(Ordering::SeqCst));
    let error = registries.push(&made, &name, Compression::Zstd, &NullReporter).unwrap_err();
    assert!(matches!(error, RegistryError::Stopped { .. }), "{}", chain(&error));
    assert!(registry.contents.lock().unwrap().manifests.is_empty());
    registry.fail(|_, _| None);
    let sent = Registries::new(settings()).push(&made, &name, Compression::Zstd, &NullReporter).unwrap();
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
    assert_eq!(pull(settings(), &other, &name).unwrap().image.id(), made.id());
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
    Registries::new(settings()).push(&second, &name, Compression::Zstd, &NullReporter).unwrap();
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

#[test]
fn a_helper_that_hangs_is_ended_and_named() {
    use std::os::unix::fs::PermissionsExt;
    let (registry, name, id) = with_image();
    let dir = tempfile::tempdir().unwrap();
    let helper = dir.path().join("docker-credential-slow");
    fs::write(&helper, "#!/bin/sh\nsleep 60\n").unwrap();
    fs::set_permissions(&helper, PermissionsExt::from_mode(0o755)).unwrap();
    let config = dir.path().join("config.json");
    fs::write(&config, format!(r#"{{"credHelpers":{{"{}":"slow"}}}}"#, registry.host)).unwrap();
    let path = std::env::join_paths([dir.path(), "/usr/bin".as_ref(), "/bin".as_ref()]).unwrap();
    let keys = KeyPlaces { files: vec![config], path: Some(path), ..KeyPlaces::default() };
    let (_dir, store) = fresh();
    let with = || RegistrySettings { keys: keys.clone(), ..settings() };
    let started = Instant::now();
    let error = pull(with(), &store, &name).unwrap_err();
    assert_eq!(
        error.to_string(),
        "asking the credential helper `docker-credential-slow`: it has said nothing for 1 seconds"
    );
    assert!(started.elapsed() < Duration::from_secs(10) && registry.asked().is_empty());
    fs::write(&helper, "#!/bin/sh\necho '{\"Username\":\"<token>\",\"Secret\":\"x\"}'\n").unwrap();
    assert_eq!(pull(with(), &store, &name).unwrap().image.id(), id);
}

#[test]
fn a_proxy_is_gone_through_and_its_refusal_told() {
    let (registry, _, id) = with_image();
    let inside = registry.host.clone();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = listener.local_addr().unwrap();
    let lines = Arc::new(std::sync::Mutex::new(Vec::new()));
    let log = Arc::clone(&lines);
    std::thread::spawn(move || {
        use std::io::{BufRead, BufReader, Write};
        for stream in listener.incoming() {
            let (inside, log) = (inside.clone(), Arc::clone(&log));
            std::thread::spawn(move || {
                let mut stream = BufReader::new(stream.unwrap());
                let mut head = Vec::new();
                loop {
                    let mut line = String::new();
                    stream.read_line(&mut line).unwrap();
                    if line.trim().is_empty() {
                        break;
                    }
                    head.push(line.trim().to_owned());
                }
                let refused = head[0].contains("refused.example");
                log.lock().unwrap().extend(head);
                let mut out = stream.get_ref().try_clone().unwrap();
                if refused {
                    out.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n").unwrap();
                    return;
                }
                out.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
                let mut to = std::net::TcpStream::connect(&inside).unwrap();
                let mut back = to.try_clone().unwrap();
                let up = std::thread::spawn(move || {
                    let _ = std::io::copy(&mut stream, &mut to);
                });
                let _ = std::io::copy(&mut back, &mut out);
                let _ = out.shutdown(std::net::Shutdown::Both);
                up.join().unwrap();
            });
        }
    });
    let mut with = settings();
    with.insecure = vec!["registry.example:5000".to_owned(), "refused.example".to_owned()];
    with.proxies.insert("HTTP_PROXY".into(), format!("http://me:pass-SECRET@{proxy}"));
    with.proxies.insert("HTTPS_PROXY".into(), format!("http://me:pass-SECRET@{proxy}"));
    let (_dir, store) = fresh();
    let wanted = "registry.example:5000/team/app:1".parse().unwrap();
    assert_eq!(pull(with.clone(), &store, &wanted).unwrap().image.id(), id);
    let seen = lines.lock().unwrap().join("\n");
    assert!(
        seen.contains("CONNECT registry.example:5000 HTTP/1.1") && seen.contains("Proxy-Authorization: Basic"),
        "{seen}"
    );
    let error = pull(with.clone(), &store, &"refused.example/app".parse().unwrap()).unwrap_err();
    assert!(chain(&error).contains("the proxy refuses") && !chain(&error).contains("SECRET"), "{}", chain(&error));
    with.proxies.insert("HTTPS_PROXY".into(), "socks5://127.0.0.1:1".into());
    let error = pull(with, &store, &"r.example/app".parse().unwrap()).unwrap_err();
    assert!(error.to_string().contains("not through SOCKS"), "{error}");
}
