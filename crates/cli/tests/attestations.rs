//! `--attest`: SBOM and provenance in a real registry, read there by skopeo, verified by openssl, and by nobody else's key.
#![allow(clippy::disallowed_methods, clippy::expect_used, clippy::panic)] // tests start processes and fail loudly

#[path = "../../image/tests/support/real_registry.rs"]
mod real_registry;
mod support;

use std::path::Path;
use std::process::Command;

use hoist_image::{Attributes, Store};
use real_registry::{Registry, Wants};
use serde_json::Value;
use support::{Said, executable_below, hoist, hoist_with_store, run, shared_store, tree};

const BUILDER: &str = "[build]\nimage = \"hoist/build\"\n[[run.images]]\nimage = \"hoist/run\"\n[[buildpacks]]\nuri = \"say\"\n[[order]]\n[[order.group]]\nid = \"test/say\"\nversion = \"1.0.0\"\n";
const BUILDPACK: &str = "api = \"0.10\"\n[buildpack]\nid = \"test/say\"\nversion = \"1.0.0\"\nsbom-formats = [\"application/vnd.cyclonedx+json\", \"application/spdx+json\"]\n";
const SAY: &str = r#"#!/usr/bin/env bash
mkdir "$CNB_LAYERS_DIR/word"
cp name "$CNB_LAYERS_DIR/word/name"
printf '[types]\nlaunch = true\n' > "$CNB_LAYERS_DIR/word.toml"
echo '{"bomFormat":"CycloneDX","specVersion":"1.5","components":[{"type":"library","name":"word-of-the-app","version":"7"}]}' > "$CNB_LAYERS_DIR/word.sbom.cdx.json"
echo '{"spdxVersion":"SPDX-2.3","packages":[{"SPDXID":"SPDXRef-word","name":"word-of-the-app","versionInfo":"7"}]}' > "$CNB_LAYERS_DIR/word.sbom.spdx.json"
printf '[[processes]]\ntype = "say"\ncommand = ["/bin/cat", "/layers/test_say/word/name"]\ndefault = true\n' > "$CNB_LAYERS_DIR/launch.toml"
"#;
const SECRET: &str = "hunter2-which-nobody-may-see";
const PROVENANCE: &str = "https://slsa.dev/provenance/v1";

/// A builder of one buildpack, that buildpack, an app, and two pairs of keys.
fn world() -> tempfile::TempDir {
    let dir = tree(&[
        ("builder.toml", BUILDER),
        ("say/buildpack.toml", BUILDPACK),
        ("say/bin/detect", "#!/usr/bin/env bash\n"),
        ("say/bin/build", SAY),
        ("app/name", "attested\n"),
    ]);
    executable_below(dir.path());
    for name in ["attest", "other"] {
        let (key, public) = (format!("{name}.key"), format!("{name}.pub"));
        openssl(dir.path(), &["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", &key]);
        openssl(dir.path(), &["pkey", "-in", &key, "-pubout", "-out", &public]);
    }
    dir
}

fn openssl(dir: &Path, args: &[&str]) {
    let done = Command::new("openssl").args(args).current_dir(dir).output().expect("openssl runs");
    let said = [done.stdout, done.stderr].concat();
    assert!(done.status.success(), "openssl {args:?}: {}", String::from_utf8_lossy(&said));
}

fn with(dir: &Path, args: &[&str]) -> Said {
    run(hoist().args(args).current_dir(dir))
}

fn skopeo(name: &str) -> Value {
    let from = format!("docker://{name}");
    let args = ["inspect", "--raw", "--tls-verify=false", &from];
    let done = Command::new("skopeo").args(args).env("TMPDIR", "/tmp").output().expect("skopeo runs");
    assert!(done.status.success(), "skopeo {args:?}: {}", String::from_utf8_lossy(&done.stderr));
    serde_json::from_slice(&done.stdout).expect("JSON")
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("no {pointer} in {value}"))
}

#[test]
fn sbom_and_provenance_of_a_published_image_are_attached_read_and_verified() {
    let (registry, dir) = (Registry::start(&Wants::default()), world());
    let (builder, app) = (registry.name("test/attested-builder"), registry.name("test/attested:1"));
    with(dir.path(), &["builder", "create", &builder]).ok();
    let secret = format!("API_TOKEN={SECRET}");
    let publish =
        ["build", &app, "--path", "app", "--builder", &builder, "--publish", "--attest", "--attest-key", "attest.key"];
    let options = ["-e", &secret, "--clear-cache", "--json"];
    let built = with(dir.path(), &[&publish[..], &options].concat()).ok();
    let built = built.says(&format!("{app}: 7 documents attached")).json();
    let digest = text(&built, "/outputs/0/id").to_owned();
    let attached = built["outputs"][0]["attached"].as_array().expect("what is attached");
    assert_eq!(attached.iter().filter(|one| one["place"] == "referrers").count(), 3, "{attached:?}");

    let repository = registry.name("test/attested");
    let tag = format!("{repository}:{}", digest.replace(':', "-"));
    let (index, sbom, att) = (skopeo(&tag), skopeo(&format!("{tag}.sbom")), skopeo(&format!("{tag}.att")));
    let kinds: Vec<&Value> =
        index["manifests"].as_array().expect("a list").iter().map(|one| &one["artifactType"]).collect();
    assert_eq!(kinds, ["application/vnd.cyclonedx+json", "application/spdx+json", "application/vnd.in-toto+json"]);
    assert_eq!(text(&sbom, "/layers/0/mediaType"), "application/vnd.cyclonedx+json");
    assert_eq!(text(&att, "/layers/0/annotations/predicateType"), PROVENANCE);
    for entry in index["manifests"].as_array().expect("a list") {
        let referrer = skopeo(&format!("{repository}@{}", text(entry, "/digest")));
        assert_eq!(text(&referrer, "/subject/digest"), digest);
    }

    provenance_says_what_is_known(dir.path(), &app, &digest, &builder);
    bills_have_the_app_and_the_system(dir.path(), &app);
    signatures_are_openssls(dir.path(), &app);
    nothing_is_attached_twice(dir.path(), &publish, &options, &app);
    no_blob_has_the_secret(&registry);
    what_only_labels_say_is_not_made_up(&registry, dir.path(), &app);
    a_rebased_image_is_attested_as_such(&registry, dir.path(), &app, text(&built, "/image_id"));
    with(dir.path(), &["image", "rm", &app, &builder]).ok();
}

fn shown(dir: &Path, name: &str, kind: &str) -> Value {
    with(dir, &["image", "attestations", name, "--show", kind]).ok().json()
}

fn provenance_says_what_is_known(dir: &Path, app: &str, digest: &str, builder: &str) {
    let made = shown(dir, app, "provenance");
    assert_eq!((text(&made, "/_type"), text(&made, "/predicateType")), ("https://in-toto.io/Statement/v1", PROVENANCE));
    assert_eq!(format!("sha256:{}", text(&made, "/subject/0/digest/sha256")), digest);
    assert_eq!(text(&made, "/subject/0/name"), app.trim_end_matches(":1"));
    let definition = &made["predicate"]["buildDefinition"];
    assert_eq!(text(definition, "/buildType"), "urn:hoist:build:v1");
    let given = &definition["externalParameters"];
    assert_eq!(given["env"], serde_json::json!(["API_TOKEN"]));
    assert_eq!(given["buildpacks"], serde_json::json!(["test/say@1.0.0"]));
    assert_eq!((text(given, "/builder"), text(given, "/runImage")), (&*format!("{builder}:latest"), "hoist/run"));
    let id = |name: &str| {
        with(dir, &["image", "inspect", "--json", name]).ok().json()["id"]
            .as_str()
            .expect("an id")
            .replace("sha256:", "")
    };
    let dependencies = definition["resolvedDependencies"].as_array().expect("dependencies");
    let named = |name: &str| dependencies.iter().find(|one| one["name"] == name).expect("a dependency");
    assert_eq!(text(named("build image"), "/digest/sha256"), id(builder));
    assert_eq!(text(named("run image"), "/digest/sha256"), id("hoist/run"));
    assert_eq!(text(named("run image"), "/mediaType"), "application/vnd.oci.image.config.v1+json");
    assert_eq!(text(named("source"), "/digest/hoistTree").len(), 64);
    assert_eq!(text(named("test/say"), "/uri"), "urn:cnb:builder:test/say@1.0.0");
    assert_eq!(text(&made, "/predicate/runDetails/builder/id"), "urn:hoist:local");
    assert_eq!(definition["internalParameters"], serde_json::json!({}));
}

fn bills_have_the_app_and_the_system(dir: &Path, app: &str) {
    let (cyclonedx, spdx) = (shown(dir, app, "cyclonedx"), shown(dir, app, "spdx"));
    assert!(text(&cyclonedx, "/metadata/component/purl").starts_with("pkg:oci/attested@sha256%3A"));
    assert_eq!(
        text(&spdx, "/packages/0/externalRefs/0/referenceLocator"),
        text(&cyclonedx, "/metadata/component/purl")
    );
    for list in [&cyclonedx["components"], &spdx["packages"]] {
        let names: Vec<&str> = list.as_array().expect("a list").iter().map(|one| text(one, "/name")).collect();
        assert!(names.contains(&"word-of-the-app") && names.contains(&"libc6"), "{names:?}");
    }
}

/// What cosign does: the signature over type and payload, with the public key.
fn signatures_are_openssls(dir: &Path, app: &str) {
    let written =
        with(dir, &["image", "attestations", app, "--json", "--key", "attest.pub", "--output-dir", "out"]).ok().json();
    let files: Vec<&str> = written["files"].as_array().expect("files").iter().filter_map(Value::as_str).collect();
    assert_eq!(files.len(), 3, "{files:?}");
    for file in files {
        let envelope: Value = serde_json::from_slice(&fs_err::read(dir.join(file)).expect("a file")).expect("JSON");
        assert_eq!(text(&envelope, "/payloadType"), "application/vnd.in-toto+json");
        for (name, pointer) in [("payload", "/payload"), ("signature", "/signatures/0/sig")] {
            fs_err::write(dir.join("base64"), text(&envelope, pointer)).expect("a file");
            openssl(dir, &["base64", "-d", "-A", "-in", "base64", "-out", name]);
        }
        let payload = fs_err::read(dir.join("payload")).expect("a file");
        let signed =
            [format!("DSSEv1 28 application/vnd.in-toto+json {} ", payload.len()).as_bytes(), &payload].concat();
        fs_err::write(dir.join("signed"), signed).expect("a file");
        openssl(dir, &["dgst", "-sha256", "-verify", "attest.pub", "-signature", "signature", "signed"]);
    }
    assert!(
        with(dir, &["image", "attestations", app, "--key", "attest.pub"]).ok().stdout.contains("signed with this key")
    );
    let signed = with(dir, &["image", "attestations", app, "--key", "attest.pub", "--show", PROVENANCE]).ok().json();
    assert_eq!(signed, shown(dir, app, "provenance"));
    with(dir, &["image", "attestations", app, "--show", "vex"])
        .code(2)
        .says(&format!("no vex is attached to {app}; cyclonedx, provenance, spdx are attached"));
    with(dir, &["image", "attestations", app, "--key", "other.pub"])
        .code(1)
        .says(&format!("nothing that is attached to {app} is signed with this key"))
        .says("it is signed with another key");
}

fn nothing_is_attached_twice(dir: &Path, build: &[&str], options: &[&str], app: &str) {
    let before = with(dir, &["image", "attestations", app]).ok().stdout;
    assert!(before.contains("7 documents attached") && before.contains("  provenance  referrer  "), "{before}");
    let push = ["image", "push", "--attest", "--attest-key", "attest.key", app];
    with(dir, &push).ok().says("everything was attached already");
    with(dir, &[build, options].concat()).ok().says("everything was attached already");
    assert_eq!(with(dir, &["image", "attestations", app]).ok().stdout, before);
    // Without the key the envelopes are others; what is attached otherwise is not.
    with(dir, &["image", "push", "--attest", app]).ok().says("3 of 7 documents attached, the others were there");
    assert!(
        with(dir, &["image", "attestations", app, "--key", "attest.pub"]).ok().stdout.contains("it has no signature")
    );
}

fn no_blob_has_the_secret(registry: &Registry) {
    let mut folders = vec![registry.dir.path().join("data")];
    let mut files = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs_err::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            files += 1;
            let bytes = fs_err::read(&path).expect("a file");
            assert!(!bytes.windows(SECRET.len()).any(|part| part == SECRET.as_bytes()), "{}", path.display());
        }
    }
    assert!(files > 20, "{files} files");
}

/// Another machine has the image from the registry: it knows the labels, and says what it does not know.
fn what_only_labels_say_is_not_made_up(registry: &Registry, dir: &Path, app: &str) {
    let store = dir.join("store");
    let other = |args: &[&str]| run(hoist_with_store(&store).args(args).current_dir(dir));
    other(&["image", "pull", app]).ok();
    let copy = registry.name("copied/attested");
    other(&["image", "push", "--attest", app, &copy]).ok();
    let made = shown(dir, &copy, "provenance");
    let definition = &made["predicate"]["buildDefinition"];
    assert_eq!(text(definition, "/buildType"), "urn:hoist:labels:v1");
    assert_eq!(text(&made, "/predicate/runDetails/builder/id"), "urn:hoist:unknown");
    let unknown = ["the files of the source", "the build image", "what else the build was given"];
    assert_eq!(definition["internalParameters"]["unknown"], serde_json::json!(unknown));
    assert_eq!(definition["externalParameters"]["buildpacks"], serde_json::json!(["test/say@1.0.0"]));
    // An image that no buildpack built has its SBOM alone.
    let run_image = registry.name("copied/run");
    with(dir, &["image", "push", "--attest", "hoist/run", &run_image])
        .ok()
        .says("no provenance is attached: no label of the image says how it was built")
        .says("5 documents attached");
}

fn a_rebased_image_is_attested_as_such(registry: &Registry, dir: &Path, app: &str, id: &str) {
    let (run_image, rebased) = (registry.name("test/attested-run"), registry.name("test/attested-rebased"));
    with(dir, &["image", "tag", app, &rebased]).ok();
    let newer = newer_run_image(&run_image);
    let args = ["rebase", &rebased, "--run-image", &run_image, "--force", "--publish", "--attest"];
    with(dir, &args).ok().says("7 documents attached");
    let made = shown(dir, &rebased, "provenance");
    assert_eq!(text(&made, "/predicate/buildDefinition/buildType"), "urn:hoist:build:v1");
    let dependencies = &made["predicate"]["buildDefinition"]["resolvedDependencies"];
    let digest_of = |name: &str| {
        let all = dependencies.as_array().expect("dependencies");
        let found = all.iter().find(|one| one["name"] == name).unwrap_or_else(|| panic!("no {name} in {dependencies}"));
        format!("sha256:{}", text(found, "/digest/sha256"))
    };
    assert_eq!((digest_of("image before the rebase").as_str(), digest_of("run image")), (id, newer));
    with(dir, &["image", "rm", &rebased, &run_image]).ok();
}

/// Hoist's run image with one file more, under that name; its id.
fn newer_run_image(name: &str) -> String {
    let store = Store::open(shared_store()).expect("the store");
    let base = store.image("hoist/run").expect("the run image");
    let mut builder = store.layer_builder().expect("a layer");
    builder.file("/etc/newer", Attributes::root(0o644), &mut &b"yes\n"[..], 4).expect("a file");
    let layer = builder.finish().expect("a layer");
    let mut config: Value = serde_json::from_slice(base.config_bytes()).expect("JSON");
    config["rootfs"]["diff_ids"].as_array_mut().expect("a list").push(layer.diff_id().to_string().into());
    config["history"].as_array_mut().expect("a list").push(serde_json::json!({"created_by": "a patch"}));
    let bytes = serde_json::to_vec(&config).expect("JSON");
    store.put_image_bytes(bytes, &[name.parse().expect("a name")]).expect("an image").id().to_string()
}

#[test]
fn what_cannot_be_attested_or_read_is_said_before_anything_is_made() {
    let dir = world();
    let store = dir.path().join("store");
    let hoist = |args: &[&str]| run(hoist_with_store(&store).args(args).current_dir(dir.path()));
    let nowhere = "the image goes to no registry, and nothing can be attached to it elsewhere";
    hoist(&["build", "shop", "--path", "app", "--attest"]).code(2).says(nowhere).says("--publish --attest");
    hoist(&["rebase", "shop", "--attest"]).code(2).says(nowhere);
    hoist(&["build", "shop", "--attest-key", "attest.key"]).code(2).says("--attest");
    let push = |key: &str| {
        hoist(&["build", "127.0.0.1:9/shop", "--path", "app", "--publish", "--attest", "--attest-key", key])
    };
    push("none.key").code(2).says("reading the key none.key that signs attestations: it is not there");
    push("attest.pub").code(2).says("it is a public key, and a private one signs").says("openssl genpkey");
    fs_err::write(
        dir.path().join("cosign.key"),
        "-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\nAA\n-----END ENCRYPTED SIGSTORE PRIVATE KEY-----\n",
    )
    .expect("a file");
    push("cosign.key").code(2).says("it is encrypted with a password").says("cosign import-key-pair");
    hoist(&["image", "attestations", "shop"]).code(2).says("names no registry");
    hoist(&["image", "attestations", "127.0.0.1:9/shop"]).code(3).says("nobody listens there");
    hoist(&["image", "attestations", "127.0.0.1:9/shop", "--key", "attest.key"]).code(2).says("openssl pkey");

    let registry = Registry::start(&Wants::default());
    let name = registry.name("bare");
    with(dir.path(), &["image", "push", "hoist/run", &name]).ok();
    let said = hoist(&["image", "attestations", &name]).ok().stdout;
    assert!(said.starts_with(&format!("nothing is attached to {name}:latest (sha256:")), "{said}");
    hoist(&["image", "attestations", &name, "--show", "provenance"])
        .code(2)
        .says(&format!("no provenance is attached to {name}:latest; nothing is attached"))
        .says("hoist image push --attest");
    hoist(&["image", "attestations", &registry.name("bare:2")]).code(2).says("has no image bare:2");
}
