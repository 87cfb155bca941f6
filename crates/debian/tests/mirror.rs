//! A mirror of our own: what is believed, what is refused, and what is said about it.
#![allow(clippy::unwrap_used)] // tests

mod fake;

use std::ops::ControlFlow;
use std::path::Path;

use fake::{Item, Mirror, chain, new_key};
use hoist_debian::{
    DebCache, FetchOptions, Fetcher, Index, IndexError, IndexRequest, Installed, LockedPackage, PackageFile,
    ResolveError, ResolveRequest, Source, UnpackOptions, fetch_each, fetch_packages, resolve, unpack_into,
};
use hoist_events::{Event, NullReporter, RecordingReporter};

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
    let files = fs_err::read_dir(cache.path()).unwrap().map(|entry| entry.unwrap().path());
    let kept: Vec<_> = files.filter(|path| path.extension().is_some_and(|ending| ending == "packages-1")).collect();
    assert_eq!(kept.len(), 1);
    fs_err::write(&kept[0], "x").unwrap();
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
fn a_mirror_that_goes_back_to_an_older_index_is_refused() {
    let mut mirror = Mirror::new();
    mirror.package("a", "2", "", &[]);
    mirror.publish("trixie", "");
    let cache = tempfile::tempdir().unwrap();
    let source = mirror.source("trixie");
    load(&mirror, std::slice::from_ref(&source), cache.path()).unwrap();

    // As validly signed, but older.
    mirror.publish_dated("trixie", "Wed, 18 Nov 2026 02:10:46 UTC", "");
    let error = load(&mirror, std::slice::from_ref(&source), cache.path()).unwrap_err();
    let message = chain(&error);
    assert!(
        message.ends_with("it was made Wed, 18 Nov 2026 02:10:46 UTC, and one made Sat, 21 Nov 2026 02:10:46 UTC was accepted before: the mirror went back in time"),
        "{message}"
    );
    assert!(error.hint().contains("holds updates back") && error.hint().contains("Check-Valid-Until: no"));
    // A frozen mirror is old on purpose, one that lags by hours is none, and another machine does not know.
    load(&mirror, &[Source { check_valid_until: false, ..source.clone() }], cache.path()).unwrap();
    load(&mirror, std::slice::from_ref(&source), tempfile::tempdir().unwrap().path()).unwrap();
    assert!(load(&mirror, std::slice::from_ref(&source), cache.path()).is_err());
    mirror.publish_dated("trixie", "Sat, 21 Nov 2026 00:00:00 UTC", "");
    load(&mirror, std::slice::from_ref(&source), cache.path()).unwrap();

    // What no trusted key signed is not remembered: nobody can make hoist refuse the true index.
    let memory = cache.path().join("trixie.accepted");
    assert!(memory.exists());
    mirror.sign("trixie", "Codename: trixie\nDate: Sat, 21 Nov 2126 02:10:46 UTC\n", &new_key());
    fs_err::copy(mirror.path("dists/trixie/InRelease"), &memory).unwrap();
    mirror.publish("trixie", "");
    load(&mirror, &[source], cache.path()).unwrap();
}

#[test]
fn a_mirror_without_security_updates_is_warned_of() {
    let mut mirror = Mirror::new();
    mirror.package("a", "1", "", &[]);
    mirror.publish("trixie", "");
    mirror.publish("trixie-updates", "");
    let optional = |suite: &str| Source { optional: true, ..mirror.source(suite) };
    let sources = [mirror.source("trixie"), optional("trixie-updates"), optional("trixie-security")];
    let cache = tempfile::tempdir().unwrap();
    let keyring = mirror.keyring();
    let load = || {
        let request =
            IndexRequest { sources: &sources, architecture: "amd64", keyring: &keyring, cache_dir: cache.path() };
        let recorder = RecordingReporter::default();
        Index::load(&fetcher(), &request, &recorder).unwrap();
        let warning = |event| if let Event::Warning { text, .. } = event { Some(text) } else { None };
        recorder.events().into_iter().filter_map(warning).collect::<Vec<String>>()
    };
    let uri = mirror.file_uri();
    let security = format!("{uri} has no trixie-security: security updates are left out");
    assert_eq!(load(), std::slice::from_ref(&security));
    fs_err::remove_file(mirror.path("dists/trixie-updates/InRelease")).unwrap();
    let mut said = load();
    said.sort();
    assert_eq!(said, [security, format!("{uri} has no trixie-updates any more; it had one of {}", fake::DATE)]);
}

#[test]
fn files_are_handed_on_as_they_arrive_and_one_failure_ends_all() {
    let mut mirror = Mirror::new();
    for name in ["a", "b", "c"] {
        mirror.package(name, "1", "", &[Item::File("./f", name.as_bytes())]);
    }
    mirror.publish("trixie", "");
    let dir = tempfile::tempdir().unwrap();
    let index = load(&mirror, &[mirror.source("trixie")], &dir.path().join("indexes")).unwrap();
    let mut files: Vec<PackageFile> =
        ["a", "b", "c"].iter().map(|name| PackageFile::from(&index.candidate(name).unwrap())).collect();
    let cache = DebCache::new(&dir.path().join("debs"));
    let seen = std::sync::Mutex::new(Vec::new());
    let hear = |place: usize, path: std::path::PathBuf| {
        assert!(path.exists());
        seen.lock().unwrap().push(place);
        ControlFlow::Continue(())
    };
    fetch_each(&fetcher(), &files, &cache, &NullReporter, &hear).unwrap();
    seen.lock().unwrap().sort_unstable();
    assert_eq!(*seen.lock().unwrap(), [0, 1, 2]);
    // A damaged one is fetched again; who has enough ends the rest.
    fs_err::write(cache.path(&files[1].sha256), vec![0; usize::try_from(files[1].size_bytes).unwrap()]).unwrap();
    fetch_packages(&fetcher(), &files, &cache, &NullReporter).unwrap();
    assert_eq!(fake::sha256(&fs_err::read(cache.path(&files[1].sha256)).unwrap()), files[1].sha256);
    fetch_each(&fetcher(), &files, &cache, &NullReporter, &|_, _| ControlFlow::Break(())).unwrap();
    files[2].urls = vec![format!("{}/pool/none.deb", mirror.file_uri())];
    files[2].sha256 = "0".repeat(64);
    let error = fetch_packages(&fetcher(), &files, &cache, &NullReporter).unwrap_err();
    assert!(error.to_string().contains("pool/none.deb"), "{error}");
}

#[test]
fn what_a_killed_hoist_left_in_the_cache_is_removed() {
    let mut mirror = Mirror::new();
    mirror.package("a", "1", "", &[]);
    mirror.publish("trixie", "");
    let dir = tempfile::tempdir().unwrap();
    let old = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000);
    for (path, is_old) in [("debs/.incoming-old", true), ("debs/.incoming-new", false), ("x.packages-1", true)] {
        let path = dir.path().join(path);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(&path, "half").unwrap();
        if is_old {
            fs_err::File::options().append(true).open(&path).unwrap().file().set_modified(old).unwrap();
        }
    }
    let index = load(&mirror, &[mirror.source("trixie")], dir.path()).unwrap();
    let file = PackageFile::from(&index.candidate("a").unwrap());
    fetch_packages(&fetcher(), &[file], &DebCache::new(&dir.path().join("debs")), &NullReporter).unwrap();
    let there = |path: &str| dir.path().join(path).exists();
    assert_eq!([there("debs/.incoming-old"), there("debs/.incoming-new"), there("x.packages-1")], [false, true, false]);
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
        (
            "pax",
            vec![Item::Other("./x", tar::EntryType::XHeader, b"13 path=/etc\n"), Item::File("./x", b"x")],
            "neither file, directory nor link",
        ),
        (
            "long",
            vec![Item::Other("././@LongLink", tar::EntryType::GNULongName, &[b'a'; 5000]), Item::File("./x", b"x")],
            "its name is too long",
        ),
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
    let long = format!("./{}/x\0", "d".repeat(200));
    unpack(
        "deep",
        &[Item::Other("././@LongLink", tar::EntryType::GNULongName, long.as_bytes()), Item::File("./x", b"x")],
    )
    .unwrap();
    assert_eq!(fs_err::read(dir.path().join("deep").join(&long[2..202]).join("x")).unwrap(), b"x");
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
