//! A real registry (Debian's docker-registry) on loopback: plain, with TLS and passwords, with certificates of clients; skopeo beside.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::missing_panics_doc, missing_docs)] // tests fail loudly

#[path = "support/real_registry.rs"]
mod real_registry;
mod support;

use std::process::Command;

use fs_err as fs;
use hoist_events::NullReporter;
use hoist_image::{
    Compression, Fetched, Image, KeyPlaces, LoadLimits, Platform, Reference, Registries, RegistryError,
    RegistrySettings, Sent, Store,
};
use real_registry::{PASSWORD, Registry, Wants};
use support::{chain, fresh, image, layer};

fn name_in(registry: &Registry, rest: &str) -> Reference {
    registry.name(rest).parse().unwrap()
}

fn settings() -> RegistrySettings {
    RegistrySettings { certificate_dirs: Vec::new(), ..RegistrySettings::from_environment(&|_| None) }
}

fn push(with: &RegistrySettings, image: &Image, name: &Reference) -> Result<Sent, RegistryError> {
    Registries::new(with.clone()).push(image, name, Compression::Gzip, &NullReporter)
}

fn pull(with: &RegistrySettings, store: &Store, name: &Reference) -> Result<Fetched, RegistryError> {
    let platform = Platform { os: "linux".into(), architecture: "amd64".into(), variant: None };
    Registries::new(with.clone()).pull(
        store,
        name,
        std::slice::from_ref(name),
        &platform,
        LoadLimits::default(),
        &NullReporter,
    )
}

fn skopeo(args: &[&str]) -> String {
    let done = Command::new("skopeo").args(args).env("TMPDIR", "/tmp").output().unwrap();
    assert!(done.status.success(), "skopeo {args:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

#[test]
fn an_image_is_pushed_pulled_and_pushed_again_with_the_changed_layer_alone() {
    let registry = Registry::start(&Wants::default());
    let (_dir, store) = fresh();
    let (base, one) = (layer(&store, "/base", &"base ".repeat(50_000)), layer(&store, "/app", "one"));
    let first = image(&store, "app", &[&base, &one]);
    let name = name_in(&registry, "team/app:1");
    let sent = push(&settings(), &first, &name).unwrap();
    assert_eq!((sent.sent_layers, sent.layers_there, sent.unchanged), (2, 0, false));
    assert!(push(&settings(), &first, &name).unwrap().unchanged);
    let second = image(&store, "app", &[&base, &layer(&store, "/app", "two")]);
    let sent = push(&settings(), &second, &name).unwrap();
    assert_eq!((sent.sent_layers, sent.layers_there), (1, 1));
    assert!(sent.sent_bytes < 1000, "{sent:?}");
    let (_other_dir, other) = fresh();
    let fetched = pull(&settings(), &other, &name).unwrap();
    assert_eq!((fetched.image.id(), fetched.digest), (second.id(), sent.digest));
    assert!(other.verify(&fetched.image).is_empty());
    // By its digest, and under the same blobs again from the other store.
    let by_digest = format!("{}@{}", name.name(), sent.digest).parse().unwrap();
    assert_eq!(pull(&settings(), &other, &by_digest).unwrap().image.id(), second.id());
    assert!(push(&settings(), &fetched.image, &name).unwrap().unchanged);
    // Another repository gets the layers without a byte of them.
    let sent = push(&settings(), &second, &name_in(&registry, "other/app")).unwrap();
    assert_eq!((sent.mounted_layers, sent.sent_bytes), (2, 0), "{sent:?}");
    let error = pull(&settings(), &other, &name_in(&registry, "team/app:9")).unwrap_err();
    assert!(error.to_string().ends_with("has no image team/app:9"), "{error}");
}

#[test]
fn two_apps_that_share_layers_send_them_once() {
    let registry = Registry::start(&Wants::default());
    let (_dir, store) = fresh();
    let shared: Vec<_> = (0..5).map(|at| layer(&store, &format!("/wheel{at}"), &"numpy ".repeat(at + 1))).collect();
    let with = |own: &str| {
        let own = layer(&store, "/app", own);
        image(&store, "app", &shared.iter().chain([&own]).collect::<Vec<_>>())
    };
    let sent = push(&settings(), &with("first"), &name_in(&registry, "team/first")).unwrap();
    assert_eq!((sent.sent_layers, sent.mounted_layers), (6, 0));
    let sent = push(&settings(), &with("second"), &name_in(&registry, "team/second")).unwrap();
    assert_eq!((sent.sent_layers, sent.mounted_layers), (1, 5), "{sent:?}");
    // Into a repository that has one of them, from another machine, whose own blobs are the same: they are asked for and there.
    let (_other_dir, other) = fresh();
    let again: Vec<_> = (0..5).map(|at| layer(&other, &format!("/wheel{at}"), &"numpy ".repeat(at + 1))).collect();
    let own = layer(&other, "/app", "third");
    let third = image(&other, "app", &again.iter().chain([&own]).collect::<Vec<_>>());
    let sent = push(&settings(), &third, &name_in(&registry, "team/second:3")).unwrap();
    assert_eq!((sent.sent_layers, sent.layers_there), (1, 5), "{sent:?}");
}

#[test]
fn what_hoist_pushes_skopeo_reads_and_the_other_way_round() {
    let registry = Registry::start(&Wants::default());
    let (dir, store) = fresh();
    let made = image(&store, "app", &[&layer(&store, "/a", "a"), &layer(&store, "/b", "b")]);
    for compression in [Compression::Gzip, Compression::Zstd] {
        let name = name_in(&registry, &format!("app:{}", format!("{compression:?}").to_lowercase()));
        let sent = Registries::new(settings()).push(&made, &name, compression, &NullReporter).unwrap();
        let seen = skopeo(&["inspect", "--tls-verify=false", "--format", "{{.Digest}}", &format!("docker://{name}")]);
        assert_eq!(seen.trim(), sent.digest.to_string());
    }
    let gzip = format!("docker://{}", name_in(&registry, "app:gzip"));
    let out = format!("oci:{}", dir.path().join("out").display());
    skopeo(&["copy", "-q", "--src-tls-verify=false", &gzip, &out]);
    // Docker's schema 2, as docker and skopeo push it.
    let docker = name_in(&registry, "app:docker");
    skopeo(&["copy", "-q", "--dest-tls-verify=false", "--format", "v2s2", &out, &format!("docker://{docker}")]);
    let (_other_dir, other) = fresh();
    let fetched = pull(&settings(), &other, &docker).unwrap();
    assert_eq!(fetched.image.diff_ids(), made.diff_ids());
    assert!(other.verify(&fetched.image).is_empty());
}

#[test]
fn a_large_layer_goes_in_pieces_and_comes_back() {
    let registry = Registry::start(&Wants::default());
    let (_dir, store) = fresh();
    let mut state = 7_u64;
    let noise: Vec<u8> = (0..70_000_000 / 8)
        .flat_map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        })
        .collect();
    let mut builder = store.layer_builder().unwrap();
    builder.file("/noise", hoist_image::Attributes::root(0o644), &mut noise.as_slice(), noise.len() as u64).unwrap();
    let made = image(&store, "app", &[&builder.finish().unwrap()]);
    let name = name_in(&registry, "big");
    let sent = push(&settings(), &made, &name).unwrap();
    assert!(sent.sent_bytes > 64 << 20);
    let (_other_dir, other) = fresh();
    assert_eq!(pull(&settings(), &other, &name).unwrap().image.id(), made.id());
}

#[test]
fn tls_and_passwords_are_kept_to() {
    let registry = Registry::start(&Wants { tls: true, passwords: true, ..Wants::default() });
    let (dir, store) = fresh();
    let made = image(&store, "app", &[&layer(&store, "/a", "a")]);
    let name = name_in(&registry, "team/app");
    // Nobody vouches for it.
    let error = push(&settings(), &made, &name).unwrap_err();
    assert!(matches!(error, RegistryError::Tls { .. }), "{}", chain(&error));
    assert!(error.hint().contains("SSL_CERT_FILE") && error.hint().contains("certs.d"), "{}", error.hint());
    let trusting =
        RegistrySettings { certificate_dirs: registry.certificate_dirs(&[("ca.crt", "ca.crt")]), ..settings() };
    let error = push(&trusting, &made, &name).unwrap_err();
    assert!(
        error.to_string().contains("does not allow it to anybody (UNAUTHORIZED: authentication required)"),
        "{error}"
    );
    let config = dir.path().join("config.json");
    let with = |pair: &str| {
        fs::write(&config, format!(r#"{{"auths":{{"{}":{{"auth":"{pair}"}}}}}}"#, registry.host)).unwrap();
        RegistrySettings { keys: KeyPlaces { files: vec![config.clone()], ..KeyPlaces::default() }, ..trusting.clone() }
    };
    let error = push(&with("YWRhOndyb25nLVNFQ1JFVA=="), &made, &name).unwrap_err();
    assert!(
        error.to_string().contains("does not allow it to the user `ada`") && !chain(&error).contains("SECRET"),
        "{error}"
    );
    let right = with("YWRhOnRyMHViNGRvciYz");
    assert_eq!(PASSWORD.len(), 11);
    push(&right, &made, &name).unwrap();
    let (_other_dir, other) = fresh();
    assert_eq!(pull(&right, &other, &name).unwrap().image.id(), made.id());
    // The authority by the variable, and no check at all where that is said.
    let by_file = RegistrySettings {
        ca_file: Some(registry.dir.path().join("ca.crt")),
        certificate_dirs: Vec::new(),
        ..right.clone()
    };
    assert!(push(&by_file, &made, &name).unwrap().unchanged);
    let unchecked = RegistrySettings { insecure: vec![registry.host.clone()], certificate_dirs: Vec::new(), ..right };
    assert!(push(&unchecked, &made, &name).unwrap().unchanged);
}

#[test]
fn a_registry_may_ask_for_a_clients_certificate() {
    let registry = Registry::start(&Wants { tls: true, client_certificates: true, ..Wants::default() });
    let (_dir, store) = fresh();
    let made = image(&store, "app", &[&layer(&store, "/a", "a")]);
    let name = name_in(&registry, "app");
    let with =
        |files: &[(&str, &str)]| RegistrySettings { certificate_dirs: registry.certificate_dirs(files), ..settings() };
    let error = push(&with(&[("ca.crt", "ca.crt")]), &made, &name).unwrap_err();
    assert!(matches!(error, RegistryError::Tls { .. }), "{}", chain(&error));
    let error = push(&with(&[("client.crt", "client.cert"), ("server.key", "client.key")]), &made, &name).unwrap_err();
    assert!(error.to_string().contains("certificate and key do not belong together"), "{error}");
    push(&with(&[("client.key", "client.key")]), &made, &name).unwrap();
}
