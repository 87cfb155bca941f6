//! The real base, made from the machine's own mirror, and looked at without running it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Instant;

use hoist_debian::read_elf;
use hoist_events::NullReporter;
use hoist_image::oci::ImageConfiguration;
use hoist_image::{Kind, Layer, Store};

use crate::{Base, BaseError, BaseRequest, Mirroring, ensure_base, find_base};

/// Kept between runs below the target directory, so that packages are fetched once.
fn cache_dir() -> PathBuf {
    let root = std::env::current_exe().unwrap();
    root.parent().and_then(Path::parent).unwrap().join("tmp/base-cache")
}

fn mirroring() -> Result<Mirroring, BaseError> {
    Mirroring::of_machine(Path::new("/"), None, &cache_dir())
}

fn layers(store: &Store, id: &str) -> (ImageConfiguration, Vec<Layer>) {
    let image = store.image(id).unwrap();
    (image.config().clone(), image.layers().unwrap())
}

/// A file as the image shows it: links followed inside, upper layers first.
fn find(layers: &[Layer], path: &str) -> Option<PathBuf> {
    let mut path = PathBuf::from(path);
    for _ in 0..20 {
        let mut walked = PathBuf::new();
        let parts: Vec<_> = path.components().map(|part| part.as_os_str().to_owned()).collect();
        let mut link = None;
        for (number, part) in parts.iter().enumerate() {
            walked.push(part);
            let entry = layers.iter().rev().find_map(|layer| layer.entry(&walked).unwrap().map(|entry| (layer, entry)));
            match entry.map(|(layer, entry)| (layer, entry, entry.kind.clone())) {
                Some((_, _, Kind::Symlink { target })) => {
                    let rest: PathBuf = parts[number + 1..].iter().collect();
                    let base = walked.parent().unwrap().to_owned();
                    link = Some(normal(&base.join(target).join(rest)));
                    break;
                }
                Some((layer, entry, Kind::File { .. } | Kind::HardLink { .. })) if number + 1 == parts.len() => {
                    return Some(layer.file_path(entry));
                }
                _ => {}
            }
        }
        path = link?;
    }
    None
}

fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::from("/");
    for part in path.components() {
        match part {
            std::path::Component::ParentDir => {
                normal.pop();
            }
            std::path::Component::Normal(name) => normal.push(name),
            _ => {}
        }
    }
    normal
}

fn text(layers: &[Layer], path: &str) -> String {
    let path = find(layers, path).unwrap_or_else(|| panic!("{path} is missing"));
    String::from_utf8_lossy(&fs_err::read(path).unwrap()).into_owned()
}

/// Every library that a program or library of the image needs is in one of the folders that the loader searches.
fn assert_needs_are_met(layers: &[Layer]) {
    let mut libraries = BTreeSet::new();
    let mut needs = BTreeSet::new();
    for layer in layers {
        for entry in layer.entries().unwrap() {
            let entry = entry.unwrap();
            let name = entry.path.file_name().unwrap().to_string_lossy().into_owned();
            libraries.insert(name);
            if let Kind::File { .. } = entry.kind {
                let mut file = fs_err::File::open(layer.file_path(&entry)).unwrap();
                if let Some(elf) = read_elf(&mut file) {
                    needs.extend(elf.needed.into_iter().map(|needed| (needed, entry.path.clone())));
                }
            }
        }
    }
    assert!(needs.len() > 100);
    let missing: Vec<_> = needs.iter().filter(|(needed, _)| !libraries.contains(needed)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

fn make(dir: &Path) -> (Store, Base) {
    let store = Store::open(dir).unwrap();
    let base = ensure_base(&store, &BaseRequest::default(), &mirroring, &NullReporter).unwrap();
    (store, base)
}

#[test]
#[allow(clippy::too_many_lines)] // one base, looked at from all sides
fn the_trixie_base_is_complete_reproducible_and_found_again_without_network() {
    let dir = tempfile::tempdir().unwrap();
    let started = Instant::now();
    let (store, base) = make(&dir.path().join("a"));
    let took = started.elapsed();
    let (config, run) = layers(&store, &base.run_image);
    let (build_config, build) = layers(&store, &base.build_image);
    let sizes: Vec<u64> = build.iter().map(Layer::size_bytes).collect();
    println!(
        "made in {took:?}; {} + {} packages, layers of {sizes:?} bytes",
        base.lock.run.len(),
        base.lock.build.len()
    );

    assert_eq!(build[0].diff_id(), run[0].diff_id());
    assert!(sizes[0] < 90_000_000, "{sizes:?}");
    for path in [
        "/bin/sh",
        "/bin/bash",
        "/usr/bin/awk",
        "/usr/bin/env",
        "/bin/sed",
        "/usr/bin/find",
        "/etc/ssl/cert.pem",
        "/usr/lib/ssl/cert.pem",
        "/etc/ld.so.cache",
        "/etc/localtime",
        "/etc/services",
        "/usr/lib/os-release",
        "/usr/share/doc/bash/copyright",
        "/usr/share/doc/libgcc-s1/copyright",
        "/lib64/ld-linux-x86-64.so.2",
        "/var/lib/dpkg/info/bash.list",
    ] {
        let path = if cfg!(target_arch = "x86_64") { path } else { path.trim_end_matches("-x86-64.so.2") };
        assert!(find(&run, path).is_some(), "{path}");
    }
    for path in [
        "/usr/bin/apt",
        "/usr/bin/dpkg",
        "/usr/bin/gcc",
        "/usr/bin/perl",
        "/etc/shadow",
        "/usr/share/man",
        "/usr/share/doc/bash/README",
    ] {
        assert!(find(&run, path).is_none(), "{path}");
    }
    for path in [
        "/usr/bin/gcc",
        "/usr/bin/c++",
        "/usr/bin/cc",
        "/usr/bin/make",
        "/usr/bin/git",
        "/usr/include/stdio.h",
        "/usr/bin/pkg-config",
    ] {
        assert!(find(&build, path).is_some(), "{path}");
    }
    assert!(text(&run, "/etc/passwd").contains("\ncnb:*:1002:1000:cnb:/home/cnb:"));
    assert!(text(&build, "/etc/passwd").contains("\ncnb:*:1001:1000:cnb:/home/cnb:"));
    assert!(text(&run, "/etc/group").ends_with("\ncnb:*:1000:\n"));
    assert!(text(&run, "/etc/ssl/certs/ca-certificates.crt").matches("BEGIN CERTIFICATE").count() > 100);
    let modes: Vec<u32> = ["/tmp", "/var/tmp", "/root"]
        .iter()
        .map(|path| run[0].entry(Path::new(path)).unwrap().unwrap().attributes.mode)
        .collect();
    assert_eq!(modes, [0o1777, 0o1777, 0o700]);
    let status = text(&build, "/var/lib/dpkg/status");
    assert_eq!(status.matches("Status: install ok installed").count(), base.lock.run.len() + base.lock.build.len());
    assert_eq!(text(&run, "/var/lib/dpkg/status").matches("\nVersion: ").count(), base.lock.run.len());
    assert_eq!(config.config().as_ref().unwrap().user().as_deref(), Some("1002:1000"));
    let env = build_config.config().as_ref().unwrap().env().clone().unwrap();
    assert!(env.contains(&"CNB_USER_ID=1001".to_owned()) && env.contains(&"CNB_GROUP_ID=1000".to_owned()));
    let labels = config.config().as_ref().unwrap().labels().clone().unwrap();
    assert_eq!(
        (labels["io.buildpacks.base.distro.name"].as_str(), labels["io.buildpacks.base.distro.version"].as_str()),
        ("debian", "13")
    );
    // A name for compilers in the build image's layer that leads to a library of the run image's.
    assert!(text(&build, "/etc/ld.so.cache").contains("\0libresolv.so\0/lib/"));
    assert!(!text(&run, "/etc/ld.so.cache").contains("\0libresolv.so\0"));
    assert_needs_are_met(&build);
    assert_needs_are_met(&run);

    // Found again, without asking for a mirror; and fast.
    let started = Instant::now();
    assert_eq!(find_base(&store, &BaseRequest::default()).unwrap().as_ref(), Some(&base));
    println!("found in {:?}", started.elapsed());
    let none = || -> Result<Mirroring, BaseError> { panic!("the network was asked for") };
    assert_eq!(ensure_base(&store, &BaseRequest::default(), &none, &NullReporter).unwrap(), base);

    // Made again elsewhere from its lock: the same images.
    let store = Store::open(dir.path().join("b")).unwrap();
    let request = BaseRequest { lock: Some(base.lock.clone()), ..BaseRequest::default() };
    let again = ensure_base(&store, &request, &mirroring, &NullReporter).unwrap();
    assert_eq!(again, base);
}
