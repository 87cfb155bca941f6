//! Who asks a registry, and by which way: credentials, tokens, redirections, mirrors, proxies, played by threads on loopback.
#![allow(clippy::unwrap_used, clippy::missing_panics_doc, missing_docs)] // tests fail loudly

#[path = "support/fake_registry.rs"]
mod fake_registry;
mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use fake_registry::{Asked, FakeRegistry, PASSWORD, logged_in, pull, pull_fails, push, reply, settings, with_image};
use fs_err as fs;
use hoist_events::NullReporter;
use hoist_image::{Digest, KeyPlaces, LoadLimits, Reference, Registries, RegistrySettings};
use support::{chain, fresh, image, layer};

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
fn a_registry_that_is_not_there_is_said_so_and_where() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (_dir, store) = fresh();
    let wanted: Reference = format!("127.0.0.1:{port}/app").parse().unwrap();
    let error = pull(settings(), &store, &wanted).unwrap_err();
    assert_eq!(error.to_string(), format!("pulling `{wanted}`: connecting to http://127.0.0.1:{port}/v2/"));
    assert!(error.hint().starts_with("nobody listens there"), "{}", error.hint());
}

#[test]
fn a_401_without_an_end_is_asked_a_few_times_alone_and_shows_no_secret() {
    let (registry, name, _) = with_image();
    let basic = |asked: &Asked| {
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
    let error = pull(with(std::slice::from_ref(&registry.host)), &store, &other).unwrap_err();
    assert_eq!(error.to_string(), format!("pulling `{other}`: {} has no image team/app:2", origin.host));
    let error = pull(with(&["a b".to_owned()]), &store, &other).unwrap_err();
    assert!(error.to_string().contains("the mirror `a b`"), "{error}");
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
