//! What the store does about damage: it is found, named, and gone after the next build or load; and a folder of somebody else is left alone.
#![allow(clippy::unwrap_used)] // helpers of tests may panic

mod support;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use fs_err as fs;
use hoist_image::{ArchiveFormat, Compression, Keeps, Layer, LoadLimits, PruneOptions, SaveError, Store, StoreError};
use support::{fresh, image, layer};

fn folder_of(layer: &Layer) -> std::path::PathBuf {
    layer.tree_dir().parent().unwrap().to_owned()
}

/// Does something to the folder of a layer.
type Harm = fn(&Path);

#[test]
fn a_damaged_layer_is_named_once_and_made_again_by_whoever_wants_it() {
    let (_dir, store) = fresh();
    let harm: [(&str, Harm); 5] = [
        ("`/a` has another content", |dir| fs::write(dir.join("tree/a"), "B").unwrap()),
        ("`/added` does not belong to the layer", |dir| fs::write(dir.join("tree/added"), "").unwrap()),
        ("`/a` has the mode 600", |dir| {
            fs::set_permissions(dir.join("tree/a"), std::fs::Permissions::from_mode(0o600)).unwrap();
        }),
        ("does not begin as an index does", |dir| fs::write(dir.join("index"), "").unwrap()),
        ("meta.json", |dir| fs::write(dir.join("meta.json"), "{").unwrap()),
    ];
    for (said, harm) in harm {
        let made = layer(&store, "/a", "A");
        let whole = image(&store, "x", &[&made]);
        assert_eq!(store.verify(&whole), [], "{said}");
        harm(&folder_of(&made));
        let problems = store.verify(&whole);
        assert_eq!(problems.len(), 1, "{said}");
        assert!(problems[0].to_string().contains(said), "{}", problems[0]);
        assert!(!whole.has_its_layers().unwrap(), "{said}: it is not used again");
        assert!(store.layer(&made.diff_id()).unwrap().is_none(), "{said}");
        assert_eq!(layer(&store, "/a", "A").diff_id(), made.diff_id());
        assert_eq!(store.verify(&whole), [], "{said}: made again");
        assert!(whole.has_its_layers().unwrap());
    }
}

#[test]
fn a_layer_that_is_whole_after_all_is_kept() {
    let (_dir, store) = fresh();
    let made = layer(&store, "/a", "A");
    let whole = image(&store, "x", &[&made]);
    fs::write(made.tree_dir().join("a"), "B").unwrap();
    assert_eq!(store.verify(&whole).len(), 1);
    fs::write(made.tree_dir().join("a"), "A").unwrap();
    assert!(store.layer(&made.diff_id()).unwrap().is_some());
    assert!(!folder_of(&made).join("unsynced").exists());
}

#[test]
fn what_a_power_failure_left_of_a_layer_is_no_layer() {
    let (_dir, store) = fresh();
    // the folder's name reached the disk, what is in it did not
    for files in [&["index", "meta.json", "unsynced"][..], &["meta.json", "unsynced"], &["unsynced"]] {
        let made = layer(&store, "/a", "A");
        for file in files {
            fs::write(folder_of(&made).join(file), "").unwrap();
        }
        assert!(store.layer(&made.diff_id()).unwrap().is_none() || *files == ["unsynced"]);
        let again = layer(&store, "/a", "A");
        assert_eq!(store.verify_layer(again.diff_id()), None, "{files:?}");
    }
    let made = layer(&store, "/a", "A");
    for file in ["index", "meta.json", "unsynced"] {
        fs::remove_file(folder_of(&made).join(file)).ok();
    }
    assert_eq!(store.verify_layer(layer(&store, "/a", "A").diff_id()), None, "a folder without any document");
}

#[test]
fn an_image_that_cannot_be_read_hides_no_other_can_be_removed_and_put_again() {
    let (_dir, store) = fresh();
    let only = layer(&store, "/a", "A");
    let (good, bad) = (image(&store, "good", &[]), image(&store, "bad", &[&only]));
    let path = store.root_dir().join("images/sha256").join(bad.id().hex());
    fs::write(&path, "{").unwrap();
    let error = store.image("bad").unwrap_err();
    assert!(error.hint().ends_with(&format!("rm {}", path.display())), "{}", error.hint());
    assert_eq!(store.image_ids().unwrap().len(), 2);
    assert_eq!(store.image("good").unwrap().id(), good.id());
    assert_eq!(image(&store, "bad", &[&only]).id(), bad.id());
    assert_eq!(store.image("bad").unwrap().id(), bad.id(), "put again, it is whole");
    fs::write(&path, "{").unwrap();
    let removed = store.remove_image("bad").unwrap();
    assert!(removed.image && removed.id == bad.id());
    assert!(matches!(store.image("bad").unwrap_err(), StoreError::UnknownImage { .. }));
}

#[test]
fn a_damaged_blob_does_not_leave_the_machine_and_is_made_again() {
    let (dir, store) = fresh();
    let made = layer(&store, "/a", "A");
    let whole = image(&store, "x", &[&made]);
    let blob = made.blob(Compression::Gzip).unwrap();
    let path = store.blob_path(&blob.digest);
    let mut bytes = fs::read(&path).unwrap();
    let out = dir.path().join("out");
    for round in 0..2 {
        bytes[20] ^= 1;
        fs::write(&path, &bytes).unwrap();
        let error = if round == 0 {
            whole.save_to_file(&out, &[], ArchiveFormat::Oci, Compression::Gzip).unwrap_err()
        } else {
            whole.save_to_dir(&out, &[], Compression::Gzip).unwrap_err()
        };
        assert!(matches!(error, SaveError::Store(StoreError::CorruptBlob { .. })), "{error}");
        assert!(error.hint().contains("try again"), "{}", error.hint());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing half-made is left");
        whole.save_to_file(&out, &[], ArchiveFormat::Oci, Compression::Gzip).unwrap();
        let other = Store::open(dir.path().join("other")).unwrap();
        assert_eq!(other.verify(&other.load(&out, LoadLimits::default()).unwrap()[0].image), []);
        drop(other);
        fs::remove_file(&out).unwrap();
        fs::remove_dir_all(dir.path().join("other")).unwrap();
        bytes = fs::read(&path).unwrap();
    }
}

#[test]
fn a_folder_that_holds_something_else_does_not_become_a_store() {
    let dir = tempfile::tempdir().unwrap();
    for (path, named) in [("thesis.txt", "thesis.txt"), ("scratch/notes", "scratch/notes"), ("refs/book", "refs/book")]
    {
        let root = dir.path().join(named.replace('/', "-"));
        let file = root.join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, "years of work").unwrap();
        let error = Store::open(&root).unwrap_err();
        let said = format!("opening the store `{}`: it holds `{named}` and is no store of hoist", root.display());
        assert_eq!(error.to_string(), said);
        assert!(error.hint().starts_with("name a new or an empty folder"));
        assert_eq!(fs::read_dir(&root).unwrap().count(), 1, "nothing was made in it");
    }
    let mount = dir.path().join("mount");
    fs::create_dir_all(mount.join("lost+found")).unwrap();
    fs::create_dir_all(mount.join("cache/host")).unwrap();
    Store::open(&mount).unwrap();
}

/// Layers hold setuid programs of strangers.
#[test]
fn nobody_else_gets_at_the_layers_whatever_folder_the_store_is_made_in() {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let store = Store::open(dir.path()).unwrap();
    for folder in ["layers", "blobs", "scratch", "images", "records"] {
        let mode = fs::metadata(store.root_dir().join(folder)).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o700, "{folder}");
    }
}

/// Threads that begin and end work while another prunes: nobody loses a folder or a layer.
#[test]
fn work_that_begins_during_a_prune_is_not_taken_for_dead() {
    let (_dir, store) = fresh();
    let root = store.root_dir().to_owned();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let pruning = scope.spawn(|| {
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                Store::open(&root).unwrap().prune(PruneOptions::default()).unwrap();
            }
        });
        let workers: Vec<_> = (0..3)
            .map(|worker| {
                let root = &root;
                scope.spawn(move || {
                    for round in 0..20 {
                        let store = Store::open(root).unwrap();
                        let scratch = store.scratch("work").unwrap();
                        fs::write(scratch.path().join("file"), "mine").unwrap();
                        let body = format!("{worker} {round}");
                        let made = layer(&store, "/f", &body);
                        store.put_record("test", &body, &round, &[Keeps::Layer(made.diff_id())]).unwrap();
                        assert_eq!(fs::read_to_string(scratch.path().join("file")).unwrap(), "mine");
                    }
                })
            })
            .collect();
        for worker in workers {
            worker.join().unwrap();
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        pruning.join().unwrap();
    });
    assert_eq!(store.all_layers().unwrap().len(), 60);
}
