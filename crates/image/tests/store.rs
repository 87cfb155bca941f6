//! The store: what it keeps, what it lets go, what it says when something is wrong, and what a kill or a second process does to it.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation)] // helpers of tests may panic
#![allow(clippy::disallowed_methods)] // child processes and the environment that starts them

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use hoist_image::{
    Attributes, Compression, DiffId, Keeps, Kind, Layer, LayerError, Order, Ownership, Problem, PruneOptions, Store,
    StoreError,
};
use proptest::prelude::*;
use support::{fresh, image, layer};

/// Message, sources and hint as a person reads them.
fn page(error: &dyn std::error::Error, hint: &str) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text = format!("{text}\n  because: {inner}");
        source = inner.source();
    }
    format!("{text}\n  {hint}")
}

#[test]
fn an_image_is_found_by_name_by_id_and_by_the_beginning_of_its_id() {
    let (_dir, store) = fresh();
    let made = image(&store, "bell", &[&layer(&store, "/a", "1")]);
    for wanted in ["bell", "bell:latest", &made.id().to_string(), &made.id().hex(), &made.id().hex()[..12]] {
        assert_eq!(store.image(wanted).unwrap().id(), made.id(), "{wanted}");
    }
    assert_eq!(store.image(&format!("bell@{}", made.id())).unwrap().id(), made.id());
    assert_eq!(made.names().unwrap(), ["bell:latest".parse().unwrap()]);
    let again = image(&store, "bell", &[&layer(&store, "/a", "2")]);
    assert_eq!(store.image("bell").unwrap().id(), again.id());
    assert!(made.names().unwrap().is_empty());
}

#[test]
fn an_unknown_image_is_answered_with_names_that_look_like_it() {
    let (_dir, store) = fresh();
    let only = layer(&store, "/a", "1");
    image(&store, "bell:1", &[&only]);
    image(&store, "tower", &[&only]);
    let error = store.image("bel").unwrap_err();
    assert_eq!(
        page(&error, &error.hint()),
        "looking for image `bel`: the store has no image of that name or id\n  did you mean `bell:1`? All of them: `hoist image ls`"
    );
    let error = store.image("zebra").unwrap_err();
    assert_eq!(error.hint(), "see what there is: `hoist image ls`; bring one in: `hoist image load FILE`");
}

#[test]
fn the_same_content_makes_the_same_layer_whatever_the_order_and_the_second_is_dropped() {
    let (_dir, store) = fresh();
    let paths = ["/b/c", "/a", "/b/a", "/b-a/x"];
    let make = |paths: &mut dyn Iterator<Item = &&str>| {
        let mut builder = store.layer_builder().unwrap();
        for path in paths {
            builder.file(path, Attributes::root(0o600), &mut path.as_bytes(), path.len() as u64).unwrap();
        }
        builder.finish().unwrap()
    };
    let forward = make(&mut paths.iter());
    let backward = make(&mut paths.iter().rev());
    assert_eq!(forward.diff_id(), backward.diff_id());
    assert_eq!(fs::read_dir(store.root_dir().join("scratch")).unwrap().count(), 0);
    assert_eq!(store.all_layers().unwrap().len(), 1);
}

#[test]
fn what_a_path_may_not_be_is_refused() {
    let (_dir, store) = fresh();
    let mut builder = store.layer_builder().unwrap();
    let attributes = Attributes::root(0o644);
    builder.file("/a", attributes, &mut b"".as_slice(), 0).unwrap();
    builder.symlink("/link", "/etc", attributes).unwrap();
    let mut add = |path: &str| builder.file(path, attributes, &mut b"x".as_slice(), 1).map(|_| ()).unwrap_err();
    assert!(matches!(add("/../x"), LayerError::Path { .. }));
    assert!(matches!(add("/.wh.x"), LayerError::Path { .. }));
    assert!(matches!(add("/a/x"), LayerError::NotADirectory { .. }));
    assert!(matches!(add("/link/x"), LayerError::NotADirectory { .. }));
    assert!(matches!(add("/a"), LayerError::Twice { .. }));
    assert!(matches!(add("/"), LayerError::Path { .. }));
    let short = builder.file("/s", attributes, &mut b"abc".as_slice(), 4).map(|_| ()).unwrap_err();
    assert_eq!(short.to_string(), "adding `/s` to a layer: 3 bytes came, 4 were announced");
    let long = builder.file("/t", attributes, &mut b"abcde".as_slice(), 4).map(|_| ()).unwrap_err();
    assert!(matches!(long, LayerError::Size { .. }));
}

#[test]
fn files_are_adopted_by_renaming_and_linked_from_layer_to_layer() {
    use std::os::unix::fs::{MetadataExt, symlink};
    let (_dir, store) = fresh();
    let scratch = store.scratch("build").unwrap();
    let upper = scratch.path().join("upper");
    fs::create_dir_all(upper.join("lib/deep")).unwrap();
    fs::write(upper.join("lib/one"), "1").unwrap();
    fs::write(upper.join("lib/deep/two"), "22").unwrap();
    fs::hard_link(upper.join("lib/one"), scratch.path().join("outside")).unwrap();
    symlink("../one", upper.join("lib/deep/link")).unwrap();
    let inode = fs::metadata(upper.join("lib/deep/two")).unwrap().ino();
    let mut builder = store.layer_builder().unwrap();
    builder.adopt_tree(&upper, "/layers/x", Ownership { uid: 1001, gid: 1000 }).unwrap();
    let adopted = builder.finish().unwrap();
    assert_eq!(fs::metadata(adopted.tree_dir().join("layers/x/lib/deep/two")).unwrap().ino(), inode);
    fs::write(scratch.path().join("outside"), "changed").unwrap();
    assert_eq!(
        fs::read_to_string(adopted.tree_dir().join("layers/x/lib/one")).unwrap(),
        "1",
        "a file with two names is copied"
    );

    let mut builder = store.layer_builder().unwrap();
    for entry in adopted.entries().unwrap() {
        builder.link_entry(&adopted, &entry.unwrap()).unwrap();
    }
    assert_eq!(builder.finish().unwrap().diff_id(), adopted.diff_id());
    let mut builder = store.layer_builder().unwrap();
    // as when a layer is put together from several: the folder is given twice
    builder.directory("/layers/x/lib", Attributes::root(0o755)).unwrap();
    builder.directory("/layers/x/lib", Attributes::root(0o755)).unwrap();
    builder.link_from(&adopted, "/layers/x/lib/deep/two").unwrap();
    let linked = builder.finish().unwrap();
    assert_eq!(fs::metadata(linked.tree_dir().join("layers/x/lib/deep/two")).unwrap().ino(), inode);
    assert_eq!(store.verify_layer(linked.diff_id()), None);
}

#[test]
fn verify_names_the_first_file_that_differs() {
    let (_dir, store) = fresh();
    let mut builder = store.layer_builder().unwrap();
    for name in ["/a", "/b", "/c"] {
        builder.file(name, Attributes::root(0o644), &mut b"same".as_slice(), 4).unwrap();
    }
    let layer = builder.finish().unwrap();
    let image = image(&store, "x", &[&layer]);
    assert_eq!(store.verify(&image), []);
    fs::write(layer.tree_dir().join("b"), "sama").unwrap();
    fs::write(layer.tree_dir().join("c"), "longer").unwrap();
    let problems = store.verify(&image);
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].to_string(), format!("layer {}: `/b` has another content", layer.diff_id()));
    let error = layer.write_tar(&mut std::io::sink()).unwrap_err();
    assert!(page(&error, &error.hint()).contains("has another length"), "{error}");
    assert!(error.hint().contains("`hoist image verify IMAGE` finds what is damaged"), "{}", error.hint());
    fs::remove_dir_all(layer.tree_dir().parent().unwrap()).unwrap();
    assert_eq!(store.verify(&image), [Problem::Missing { diff_id: layer.diff_id() }]);
}

#[test]
fn a_corrupt_blob_says_so_and_what_to_do() {
    let (dir, store) = fresh();
    let archive = dir.path().join("a.tar");
    // a tar that hoist would write otherwise (times), so that its blob is what is kept
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(1);
    header.set_mode(0o644);
    header.set_mtime(5);
    header.set_username("someone").unwrap();
    tar.append_data(&mut header, "file", b"x".as_slice()).unwrap();
    write_docker_archive(&archive, &[tar.into_inner().unwrap()]);
    let loaded = store.load(&archive, hoist_image::LoadLimits::default()).unwrap();
    let layer = loaded[0].image.layers().unwrap().remove(0);
    let blob = layer.blob(Compression::Gzip).unwrap();
    let path = store.blob_path(&blob.digest);
    let mut bytes = fs::read(&path).unwrap();
    let last = bytes.len() - 20;
    bytes[last] ^= 1;
    fs::write(&path, bytes).unwrap();
    let error = layer.write_tar(&mut std::io::sink()).unwrap_err();
    let text = page(&error, &error.hint());
    assert!(text.starts_with(&format!("reading blob {}: its bytes have the digest sha256:", blob.digest)), "{text}");
    assert!(text.ends_with("otherwise load the image again"), "{text}");
    assert_eq!(store.verify(&loaded[0].image).len(), 1);
}

fn write_docker_archive(path: &Path, layers: &[Vec<u8>]) {
    let digest = |bytes: &[u8]| hoist_image::Digest::of(bytes).to_string();
    let ids: Vec<String> = layers.iter().map(|layer| digest(layer)).collect();
    let config =
        serde_json::json!({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": ids}})
            .to_string();
    let name = format!("{}.json", &digest(config.as_bytes())[7..]);
    let files: Vec<String> = (0..layers.len()).map(|number| format!("{number}/layer.tar")).collect();
    let manifest = serde_json::json!([{"Config": name, "RepoTags": ["loaded:1"], "Layers": files}]).to_string();
    let mut out = tar::Builder::new(fs::File::create(path).unwrap());
    let mut put = |name: &str, bytes: &[u8]| {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        out.append_data(&mut header, name, bytes).unwrap();
    };
    put("manifest.json", manifest.as_bytes());
    put(&name, config.as_bytes());
    for (file, layer) in files.iter().zip(layers) {
        put(file, layer);
    }
    out.finish().unwrap();
}

#[test]
fn prune_takes_what_nothing_needs_and_nothing_else() {
    let (dir, _) = fresh();
    let root = dir.path().join("store");
    let (kept, recorded, doomed) = {
        let store = Store::open(&root).unwrap();
        let (kept, recorded, doomed) = (layer(&store, "/a", "1"), layer(&store, "/b", "2"), layer(&store, "/c", "3"));
        image(&store, "kept", &[&kept]);
        image(&store, "gone", &[&kept, &doomed]);
        doomed.blob(Compression::Gzip).unwrap();
        store.put_record("cache", "key", &"value", &[Keeps::Layer(recorded.diff_id())]).unwrap();
        assert!(store.remove_image("gone").unwrap().image);
        // this handle's lease protects what it made
        assert_eq!(store.prune(PruneOptions::default()).unwrap().layers, []);
        (kept.diff_id(), recorded.diff_id(), doomed.diff_id())
    };
    let store = Store::open(&root).unwrap();
    fs::create_dir(root.join("scratch/build-dead-1-1")).unwrap();
    fs::write(root.join("scratch/build-dead-1-1/file"), "left").unwrap();
    let would = store.prune(PruneOptions { dry_run: true, blobs: false }).unwrap();
    assert!(store.df().unwrap().unused_layer_bytes > 0);
    let did = store.prune(PruneOptions::default()).unwrap();
    assert_eq!(did, would);
    assert_eq!((did.layers.as_slice(), did.blobs, did.scratch), ([doomed].as_slice(), 1, 1));
    assert!(did.bytes > 0);
    assert!(store.layer(&doomed).unwrap().is_none());
    assert!(store.layer(&kept).unwrap().is_some() && store.layer(&recorded).unwrap().is_some());
    assert_eq!(store.record::<String>("cache", "key").unwrap().as_deref(), Some("value"));
    assert_eq!(store.prune(PruneOptions::default()).unwrap().bytes, 0);
    assert_eq!(fs::read_dir(root.join("scratch")).unwrap().count(), 0);
}

#[test]
fn a_lease_keeps_the_image_that_runs() {
    let (dir, _) = fresh();
    let root = dir.path().join("store");
    let running = {
        let store = Store::open(&root).unwrap();
        image(&store, "app", &[&layer(&store, "/a", "1")]);
        store.image("app").unwrap().diff_ids()[0]
    };
    std::thread::sleep(Duration::from_millis(600));
    let store = Store::open(&root).unwrap();
    let lease = store.lease().unwrap();
    lease.hold_image(&store.image("app").unwrap()).unwrap();
    store.remove_image("app").unwrap();
    assert_eq!(store.prune(PruneOptions::default()).unwrap().layers, []);
    drop(lease);
    assert_eq!(store.prune(PruneOptions::default()).unwrap().layers, [running]);
}

#[test]
fn a_tree_that_a_power_failure_caught_is_recomputed_before_it_is_used() {
    let (_dir, store) = fresh();
    let (good, bad) = (layer(&store, "/a", "good"), layer(&store, "/b", "bad!"));
    for layer in [&good, &bad] {
        fs::write(layer.tree_dir().parent().unwrap().join("unsynced"), "another boot").unwrap();
    }
    fs::write(bad.tree_dir().join("b"), "").unwrap(); // what a file system does to data that was not written out
    assert!(store.layer(&good.diff_id()).unwrap().is_some());
    assert!(store.layer(&bad.diff_id()).unwrap().is_none());
    assert_eq!(layer(&store, "/b", "bad!").diff_id(), bad.diff_id());
}

#[test]
fn a_full_disk_is_named_and_leaves_nothing_half_made() {
    assert!(
        Command::new("id").arg("-u").output().unwrap().stdout == b"0\n",
        "this test mounts a small file system and needs root"
    );
    let dir = tempfile::tempdir().unwrap();
    let mount = |args: &[&str]| assert!(Command::new(args[0]).args(&args[1..]).status().unwrap().success());
    mount(&["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", dir.path().to_str().unwrap()]);
    let outcome = std::panic::catch_unwind(|| {
        let store = Store::open(dir.path().join("store")).unwrap();
        let mut builder = store.layer_builder().unwrap();
        let big = vec![7u8; 4 << 20];
        let error = builder
            .file("/big", Attributes::root(0o644), &mut big.as_slice(), big.len() as u64)
            .map(|_| ())
            .unwrap_err();
        drop(builder);
        let text = page(&error, &error.hint());
        let (first, rest) = text.split_once('\n').unwrap();
        assert_eq!(first, "adding `/big` to a layer: writing its content");
        assert!(rest.contains("No space left on device"), "{text}");
        assert!(rest.ends_with("the disk is full: free some space, `hoist system prune` removes what nothing needs; nothing half-made was left"), "{text}");
        assert_eq!(fs::read_dir(store.root_dir().join("scratch")).unwrap().count(), 0);
        assert_eq!(layer(&store, "/small", "fits").size_bytes(), 2048);
    });
    mount(&["umount", dir.path().to_str().unwrap()]);
    outcome.unwrap();
}

#[test]
fn a_store_of_another_version_is_refused() {
    let (dir, _) = fresh();
    fs::write(dir.path().join("store/version"), "hoist-store 99\n").unwrap();
    let error = Store::open(dir.path().join("store")).unwrap_err();
    let root = dir.path().join("store");
    assert_eq!(
        error.to_string(),
        format!(
            "opening the store `{}`: its version is `hoist-store 99`, this hoist understands `hoist-store 1`",
            root.display()
        )
    );
    assert!(error.hint().starts_with("use the hoist that made it"));
}

#[test]
fn opening_an_image_of_a_hundred_layers_takes_a_millisecond_or_two() {
    let (_dir, store) = fresh();
    let layers: Vec<Layer> = (0..100).map(|number| layer(&store, &format!("/{number}"), "x")).collect();
    image(&store, "tall", &layers.iter().collect::<Vec<_>>());
    let best = (0..20)
        .map(|_| {
            let begun = Instant::now();
            let store = Store::open(store.root_dir()).unwrap();
            assert_eq!(store.image("tall").unwrap().lower_dirs().unwrap().len(), 100);
            begun.elapsed()
        })
        .min()
        .unwrap();
    println!("open and lower_dirs: {best:?}");
    assert!(best < Duration::from_millis(5), "{best:?}");
}

/// The child of the two tests below: makes layers and images until it is killed or done.
#[test]
fn child_that_fills_a_store() {
    let Ok(root) = std::env::var("HOIST_TEST_STORE") else { return };
    let rounds: u32 = std::env::var("HOIST_TEST_ROUNDS").unwrap().parse().unwrap();
    let store = Store::open(root).unwrap();
    for round in 0..rounds {
        let mut layers = vec![layer(&store, "/base", "shared")];
        for part in 0..3 {
            let mut builder = store.layer_builder().unwrap();
            for file in 0..10 {
                let body = format!("{round} {part} {file}").repeat(50);
                builder
                    .file(format!("/p{part}/f{file}"), Attributes::root(0o644), &mut body.as_bytes(), body.len() as u64)
                    .unwrap();
            }
            layers.push(builder.finish().unwrap());
        }
        let image = image(&store, &format!("app:{round}"), &layers.iter().collect::<Vec<_>>());
        store.put_record("cache", &format!("{round}"), &round, &[image.id().into()]).unwrap();
        layers[1].blob(Compression::Gzip).unwrap();
    }
}

fn child(root: &Path, rounds: u32) -> std::process::Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["child_that_fills_a_store", "--exact", "-q", "--nocapture"])
        .env("HOIST_TEST_STORE", root)
        .env("HOIST_TEST_ROUNDS", rounds.to_string())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// Every image that has a name is whole.
fn check_whole(store: &Store) -> usize {
    let names = store.names().unwrap();
    for (name, id) in &names {
        let image = store.image_by_id(id).unwrap();
        assert_eq!(store.verify(&image), [], "{name}");
    }
    names.len()
}

#[test]
fn a_kill_at_any_moment_costs_at_most_the_work_in_progress() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("store");
    let mut seen = 0;
    for step in 0..56u32 {
        if step >= 40 && seen > 0 {
            break;
        }
        let mut child = child(&root, 1000);
        // A slow disk gets more time, until one child got as far as an image.
        let longer = if step < 40 { 1 } else { 1 << (step - 40).min(9) };
        std::thread::sleep(Duration::from_micros(3000 + u64::from(step) * 1700) * longer);
        child.kill().unwrap();
        child.wait().unwrap();
        let store = Store::open(&root).unwrap();
        let whole = check_whole(&store);
        assert!(whole >= seen, "an image is lost");
        seen = whole;
    }
    assert!(seen > 0, "no child got as far as an image");
    let store = Store::open(&root).unwrap();
    store.prune(PruneOptions::default()).unwrap();
    assert_eq!(fs::read_dir(root.join("scratch")).unwrap().count(), 0);
    assert_eq!(fs::read_dir(root.join("leases")).unwrap().count(), 0);
    assert_eq!(check_whole(&store), seen);
}

#[test]
fn two_processes_and_a_prune_at_once_do_not_disturb_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("store");
    let mut children = [child(&root, 25), child(&root, 25)];
    let store = loop {
        if let Ok(store) = Store::open(&root) {
            break store;
        }
    };
    while children.iter_mut().any(|child| child.try_wait().unwrap().is_none()) {
        store.prune(PruneOptions { dry_run: false, blobs: true }).unwrap();
        std::thread::sleep(Duration::from_millis(1));
    }
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(check_whole(&store), 25);
}

#[derive(Debug, Clone)]
enum Step {
    Put { name: u8, layers: Vec<u8> },
    Remove(u8),
    Prune,
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0u8..5, prop::collection::vec(0u8..8, 0..4)).prop_map(|(name, layers)| Step::Put { name, layers }),
        2 => (0u8..5).prop_map(Step::Remove),
        1 => Just(Step::Prune),
        1 => Just(Step::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_store_does_what_a_map_of_names_does(steps in prop::collection::vec(step(), 1..25)) {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("store");
        let mut store = Store::open(&root).unwrap();
        let mut model: BTreeMap<u8, Vec<DiffId>> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Put { name, layers } => {
                    let layers: Vec<Layer> = layers.iter().map(|which| layer(&store, "/f", &which.to_string())).collect();
                    image(&store, &format!("n{name}"), &layers.iter().collect::<Vec<_>>());
                    model.insert(name, layers.iter().map(Layer::diff_id).collect());
                }
                Step::Remove(name) => {
                    let removed = store.remove_image(&format!("n{name}"));
                    prop_assert_eq!(removed.is_ok(), model.remove(&name).is_some());
                }
                Step::Prune => _ = store.prune(PruneOptions { dry_run: false, blobs: true }).unwrap(),
                Step::Reopen => store = Store::open(&root).unwrap(),
            }
            let names: Vec<String> = store.names().unwrap().into_iter().map(|(name, _)| name.to_string()).collect();
            let expected: Vec<String> = model.keys().map(|name| format!("n{name}:latest")).collect();
            prop_assert_eq!(names, expected);
            for (name, layers) in &model {
                let image = store.image(&format!("n{name}")).unwrap();
                prop_assert_eq!(image.diff_ids(), layers.as_slice());
                prop_assert_eq!(store.verify(&image), []);
            }
        }
    }

    #[test]
    fn another_reader_finds_in_the_tar_what_was_put_in(files in prop::collection::btree_map("[a-zA-ZäÜ日 .-]{1,60}(/[a-z]{1,90}){0,3}", prop::collection::vec(any::<u8>(), 0..600), 0..12), by_path: bool) {
        let (_dir, store) = fresh();
        let mut builder = store.layer_builder().unwrap();
        builder.order(if by_path { Order::Path } else { Order::Walk });
        let mut expected = BTreeMap::new();
        for (path, body) in &files {
            let absolute = PathBuf::from("/").join(path);
            if builder.file(&absolute, Attributes::new(7, 8, 0o640), &mut body.as_slice(), body.len() as u64).is_ok() {
                let clean: PathBuf = absolute.components().collect();
                expected.insert(clean, body.clone());
            }
        }
        let layer = builder.finish().unwrap();
        let mut bytes = Vec::new();
        layer.write_tar(&mut bytes).unwrap();
        let mut found = BTreeMap::new();
        for entry in tar::Archive::new(bytes.as_slice()).entries().unwrap() {
            let mut entry = entry.unwrap();
            if entry.header().entry_type().is_file() {
                let mut body = Vec::new();
                std::io::Read::read_to_end(&mut entry, &mut body).unwrap();
                found.insert(entry.path().unwrap().into_owned(), body);
            }
        }
        prop_assert_eq!(found, expected);
        let files = layer.entries().unwrap().filter(|entry| matches!(entry.as_ref().unwrap().kind, Kind::File { .. })).count();
        prop_assert!(files <= layer.entry_count() as usize);
    }
}

#[test]
fn an_error_of_a_record_names_its_kind() {
    let (_dir, store) = fresh();
    let error = store.put_record("../x", "k", &1, &[]).unwrap_err();
    assert!(matches!(error, StoreError::Record { .. }));
    let missing = "sha256:0000000000000000000000000000000000000000000000000000000000000000".parse::<DiffId>().unwrap();
    let error = store.put_record("cache", "k", &1, &[missing.into()]).unwrap_err();
    assert_eq!(error.to_string(), format!("opening record `k`: its layer {missing} is not in the store"));
}
