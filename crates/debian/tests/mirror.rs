//! A mirror of our own: what is believed, what is refused, and what is said about it.
#![allow(clippy::unwrap_used)] // tests

mod fake;

use std::path::Path;

use fake::{Item, Mirror, chain, new_key};
use hoist_debian::{
    DebCache, FetchOptions, Fetcher, Index, IndexError, IndexRequest, Installed, LockedPackage, PackageFile,
    ResolveError, ResolveRequest, Source, UnpackOptions, fetch_packages, resolve, unpack_into,
};
use hoist_events::NullReporter;

fn load(mirror: &Mirror, sources: &[Source], cache: &Path) -> Result<Index, IndexError> {
    let keyring = mirror.keyring();
    let request = IndexRequest { sources, architecture: "amd64", keyring: &keyring, cache_dir: cache };
    Index::load(&fetcher(), &request, &NullReporter)
}

fn fetcher() -> Fetcher {
    Fetcher::new(FetchOptions { silence: Some(std::time::Duration::from_secs(2)), ..FetchOptions::default() })
}

fn wrong(mirror: &Mirror, source: Source) -> (String, String) {
    let cache = tempfile::tempdir().unwrap();
    let error = load(mirror, &[source], cache.path()).unwrap_err();
    assert_eq!(fs_err::read_dir(cache.path()).unwrap().count(), 0);
    (chain(&error), error.hint())
}

#[test]
fn the_highest_version_among_the_suites_is_fetched_over_http_though_the_mirror_breaks_off() {
    let mut mirror = Mirror::new();
    mirror.package("a", "1.0", "", &[Item::File("./usr/a", b"old")]);
    mirror.publish("trixie", "");
    mirror.clear();
    mirror.package("a", "1.0+deb13u1", "", &[Item::File("./usr/a", &vec![b'x'; 300_000])]);
    mirror.publish("trixie-security", "");
    let uri = mirror.serve(true);
    let mut sources: Vec<Source> = ["trixie", "trixie-updates", "trixie-security"]
        .iter()
        .map(|suite| Source::new(&uri, suite, &["main"]))
        .collect();
    sources[1].optional = true;
    let dir = tempfile::tempdir().unwrap();
    let index = load(&mirror, &sources, &dir.path().join("indexes")).unwrap();
    assert_eq!(
        index.releases().iter().map(|release| release.suite.as_str()).collect::<Vec<_>>(),
        ["trixie", "trixie-security"]
    );
    let package = index.candidate("a").unwrap();
    assert_eq!(package.version.as_str(), "1.0+deb13u1");
    let cache = DebCache::new(&dir.path().join("debs"));
    let paths = fetch_packages(&fetcher(), &[PackageFile::from(&package)], &cache, &NullReporter).unwrap();
    let root = dir.path().join("root");
    unpack_into(&paths[0], &root, &UnpackOptions::default()).unwrap();
    assert_eq!(fs_err::metadata(root.join("usr/a")).unwrap().len(), 300_000);
    // A lock finds the file again, whichever suite it is in by now.
    let locked = LockedPackage { suite: "trixie".into(), ..LockedPackage::of(&package) };
    let cache = DebCache::new(&dir.path().join("others"));
    fetch_packages(&fetcher(), &[locked.file(&sources)], &cache, &NullReporter).unwrap();
}

#[test]
fn an_index_that_was_read_before_is_not_fetched_again() {
    let mut mirror = Mirror::new();
    mirror.package("a", "1", "", &[]);
    mirror.publish("trixie", "");
    let cache = tempfile::tempdir().unwrap();
    load(&mirror, &[mirror.source("trixie")], cache.path()).unwrap();
    fs_err::remove_file(mirror.path("dists/trixie/main/binary-amd64/Packages")).unwrap();
    assert!(load(&mirror, &[mirror.source("trixie")], cache.path()).unwrap().contains("a"));
    // Damaged, it is not used.
    let kept = fs_err::read_dir(cache.path()).unwrap().next().unwrap().unwrap().path();
    fs_err::write(&kept, "x").unwrap();
    assert!(load(&mirror, &[mirror.source("trixie")], cache.path()).is_err());
}

#[test]
fn an_index_that_is_not_to_be_believed_is_refused_with_its_reason() {
    let mut mirror = Mirror::new();
    mirror.package("a", "1", "", &[]);
    mirror.publish("trixie", "Valid-Until: Sat, 21 Nov 2020 02:10:46 UTC\n");
    let (message, hint) = wrong(&mirror, mirror.source("trixie"));
    assert!(message.ends_with("cannot be used: it was valid until Sat, 21 Nov 2020 02:10:46 UTC"), "{message}");
    assert!(hint.contains("Check-Valid-Until: no"), "{hint}");
    let cache = tempfile::tempdir().unwrap();
    load(&mirror, &[Source { check_valid_until: false, ..mirror.source("trixie") }], cache.path()).unwrap();

    mirror.publish("trixie", "");
    let good = fs_err::read_to_string(mirror.path("dists/trixie/InRelease")).unwrap();
    mirror.write("dists/forky/InRelease", &good);
    let (message, _) = wrong(&mirror, mirror.source("forky"));
    assert!(message.ends_with("cannot be used: it is the index of `trixie`, not of `forky`"), "{message}");

    mirror.write("dists/trixie/InRelease", good.replace("2026", "2027"));
    let (message, hint) = wrong(&mirror, mirror.source("trixie"));
    assert!(
        message.contains("is not believed: no trusted key signed the index")
            && message.contains("the signature is wrong"),
        "{message}"
    );
    assert!(hint.contains("do not use this mirror"), "{hint}");

    mirror.write("dists/trixie/InRelease", "<html>log in</html>");
    let (message, hint) = wrong(&mirror, mirror.source("trixie"));
    assert!(message.contains("the index is not signed: it begins with `<html>log in</html>`"), "{message}");
    assert!(hint.contains("a login page"), "{hint}");

    mirror.sign("trixie", "Codename: trixie\n", &new_key());
    // Optional suites may be missing; they may not be badly signed.
    let (message, _) = wrong(&mirror, Source { optional: true, ..mirror.source("trixie") });
    assert!(message.contains("its key is not in the keyring"), "{message}");

    let (message, hint) = wrong(&mirror, mirror.source("bogus"));
    assert!(message.contains("has no suite `bogus`"), "{message}");
    assert!(hint.contains("trixie"), "{hint}");
}

#[test]
fn text_outside_of_the_signature_is_never_read() {
    let mut mirror = Mirror::new();
    mirror.package("a", "1", "", &[]);
    mirror.publish("trixie", "");
    let good = fs_err::read_to_string(mirror.path("dists/trixie/InRelease")).unwrap();
    for forged in [format!("Codename: trixie\n{good}"), format!("{good}\nCodename: trixie\n")] {
        mirror.write("dists/trixie/InRelease", forged);
        let (message, _) = wrong(&mirror, mirror.source("trixie"));
        assert!(message.contains("the index is not signed"), "{message}");
    }
}

#[test]
fn packages_and_indexes_with_other_content_are_refused() {
    let mut mirror = Mirror::new();
    mirror.package("a", "1", "", &[Item::File("./a", b"a")]);
    mirror.publish("trixie", "");
    let cache = tempfile::tempdir().unwrap();
    let index = load(&mirror, &[mirror.source("trixie")], cache.path()).unwrap();
    let file = PackageFile::from(&index.candidate("a").unwrap());
    let path = mirror.path("pool/main/a_1_amd64.deb");
    let mut content = fs_err::read(&path).unwrap();
    let debs = DebCache::new(&cache.path().join("debs"));
    let attempt = |content: &[u8]| {
        fs_err::write(&path, content).unwrap();
        let error = fetch_packages(&fetcher(), std::slice::from_ref(&file), &debs, &NullReporter).unwrap_err();
        assert_eq!(fs_err::read_dir(cache.path().join("debs")).unwrap().count(), 0);
        error.to_string()
    };
    content[70] ^= 1;
    assert!(attempt(&content).contains("is not what the signed index says: expected sha256:"));
    content.push(0);
    assert!(attempt(&content).contains("is longer than the"));
    content.truncate(20);
    assert!(attempt(&content).contains("got 20 bytes"));

    let packages = "dists/trixie/main/binary-amd64/Packages";
    let text = fs_err::read_to_string(mirror.path(packages)).unwrap();
    mirror.write(packages, text.replace("nobody", "anyone"));
    let (message, hint) = wrong(&mirror, mirror.source("trixie"));
    assert!(message.contains("is not what the signed index says"), "{message}");
    assert!(hint.contains("being updated"), "{hint}");
}

fn names(
    index: &Index,
    wanted: &[&str],
    change: impl FnOnce(&mut ResolveRequest),
) -> Result<Vec<String>, ResolveError> {
    let mut request =
        ResolveRequest { wanted: wanted.iter().map(|&name| name.to_owned()).collect(), ..ResolveRequest::default() };
    change(&mut request);
    Ok(resolve(index, &request)?.packages.into_iter().map(|package| package.name).collect())
}

fn world() -> (Mirror, Index) {
    let mut mirror = Mirror::new();
    for (name, version, fields) in [
        ("app", "1", "Depends: libc (>= 2), mta, awk:any\n"),
        ("libc", "2.1", ""),
        ("exim", "1", "Provides: mta\nConflicts: mta, other\n"),
        ("mawk", "1", "Provides: awk (= 3)\n"),
        ("other", "1", ""),
        ("wants-awk-2", "1", "Depends: awk (<< 3) | fallback\n"),
        ("fallback", "1", ""),
        ("picky", "1", "Depends: exim | fallback, other\n"),
        ("circle", "1", "Depends: square\n"),
        ("square", "1", "Pre-Depends: circle\n"),
        ("broken", "1", "Depends: middle\n"),
        ("middle", "1", "Depends: libc (>= 3)\n"),
        ("foreign", "1", "Depends: libc:arm64\n"),
    ] {
        mirror.package(name, version, fields, &[]);
    }
    mirror.publish("trixie", "");
    let cache = tempfile::tempdir().unwrap();
    let index = load(&mirror, &[mirror.source("trixie")], cache.path()).unwrap();
    (mirror, index)
}

#[test]
fn dependencies_are_resolved_as_debian_means_them() {
    let (_mirror, index) = world();
    let plain = |_: &mut ResolveRequest| {};
    assert_eq!(names(&index, &["app"], plain).unwrap(), ["app", "exim", "libc", "mawk"]);
    // awk is provided as version 3, which is not earlier than 3.
    assert_eq!(names(&index, &["wants-awk-2"], plain).unwrap(), ["fallback", "wants-awk-2"]);
    // exim would do first, but conflicts with `other`, which is needed next.
    assert_eq!(names(&index, &["fallback", "picky"], plain).unwrap(), ["fallback", "other", "picky"]);
    assert_eq!(names(&index, &["circle"], plain).unwrap(), ["circle", "square"]);
    let without = |request: &mut ResolveRequest| {
        request.excluded.insert("mta".into());
        request.installed = Installed {
            packages: [("libc".to_owned(), "2.5".parse().unwrap())].into(),
            provides: vec![("awk".into(), None)],
        };
    };
    assert_eq!(names(&index, &["app"], without).unwrap(), ["app"]);
}

#[test]
fn what_cannot_be_resolved_names_the_chain_and_near_names() {
    let (_mirror, index) = world();
    let fail = |wanted: &[&str]| {
        let error = names(&index, wanted, |_| {}).unwrap_err();
        (error.to_string(), error.hint())
    };
    let (message, _) = fail(&["broken"]);
    assert_eq!(
        message,
        "no package satisfies `libc (>= 3)`, which is needed by broken 1 → middle 1; there is only libc 2.1"
    );
    let (message, hint) = fail(&["falback"]);
    assert_eq!((message.as_str(), hint.as_str()), ("no package satisfies `falback`", "did you mean fallback?"));
    let (message, _) = fail(&["exim", "other"]);
    assert!(message.starts_with("other and exim exclude each other (`other`)"), "{message}");
    assert!(fail(&["foreign"]).0.contains("`libc:arm64`"));
    assert!(fail(&["not a name"]).0.contains("cannot be read"));
}

#[test]
fn a_hostile_package_changes_nothing_outside() {
    let dir = tempfile::tempdir().unwrap();
    let outside = dir.path().join("outside");
    fs_err::create_dir(&outside).unwrap();
    let target = outside.to_str().unwrap();
    let unpack = |name: &str, items: &[Item<'_>]| {
        let path = dir.path().join(format!("{name}.deb"));
        fs_err::write(&path, fake::deb("Package: x\n", items)).unwrap();
        let root = dir.path().join(name);
        unpack_into(&path, &root, &UnpackOptions::default()).map_err(|error| chain(&error))
    };
    for (name, items, problem) in [
        ("absolute", vec![Item::File("/etc/x", b"x")], "its path is absolute"),
        ("up", vec![Item::File("./a/../../x", b"x")], "leads out of the package"),
        ("hard", vec![Item::Hard("./x", "../outside/y")], "leads out of the package"),
        ("device", vec![Item::Device("./dev")], "neither file, directory nor link"),
        ("circle", vec![Item::Link("./a", "b"), Item::Link("./b", "a"), Item::File("./a/x", b"x")], "turn in a circle"),
        ("over", vec![Item::Dir("./d"), Item::File("./d", b"x")], "a directory stands where a file should be"),
    ] {
        let message = unpack(name, &items).unwrap_err();
        assert!(message.contains(problem), "{name}: {message}");
    }
    // Links that lead out are kept as links, but nothing goes through them to the outside.
    unpack(
        "link",
        &[
            Item::Link("./l", target),
            Item::File("./l/x", b"x"),
            Item::Link("./m", "../outside"),
            Item::File("./m/y", b"y"),
        ],
    )
    .unwrap();
    unpack("replace", &[Item::Link("./f", &format!("{target}/z")), Item::File("./f", b"z")]).unwrap();
    assert_eq!(fs_err::read_dir(&outside).unwrap().count(), 0);
    // Hard links inside work, and set-id bits go.
    unpack("good", &[Item::File("./f", b"f"), Item::Hard("./g", "./f")]).unwrap();
    let metadata = fs_err::metadata(dir.path().join("good/g")).unwrap();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o7777, 0o755);
}

#[test]
fn what_is_no_package_is_said_to_be_none() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.deb");
    let good = fake::deb("Package: x\n", &[Item::File("./a", &[7; 9000])]);
    for (content, problem) in [
        (&b""[..], "it is too short"),
        (b"PK\x03\x04xxxxxxxxxxxxxxx", "does not begin as an ar archive"),
        (&good[..good.len() - 20], "a member is cut off"),
        (&good[..72], "it has no control.tar"),
    ] {
        fs_err::write(&path, content).unwrap();
        let error = unpack_into(&path, &dir.path().join("root"), &UnpackOptions::default()).unwrap_err();
        assert!(chain(&error).contains(problem), "{}", chain(&error));
    }
}
