//! Build caches that other lifecycles read and write too: folders and images.
#![allow(clippy::unwrap_used, reason = "functions beside the tests")]

mod support;

use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

use hoist_events::{Event, LayerAction};
use hoist_image::{Attributes, DiffId, Digest, Layer, LayerBuilder, Store};
use hoist_lifecycle::{CacheFolder, CacheImage, PortableCache};
use hoist_spec::{ApiVersion, CacheMetadata};
use support::{Outcome, World};

const METADATA: &str = "io.buildpacks.lifecycle.cache.metadata";

/// A buildpack that makes a layer for launch and one for the cache alone, each with an SBOM document, unless it finds them.
const BUILD: &str = r#"
for name in tool work; do
  L="$CNB_LAYERS_DIR/$name"
  if [ -e "$L/file" ]; then echo "found $name $(cat "$L/file")"; else mkdir -p "$L"; echo "made $name"; echo "content of $name" > "$L/file"; echo '{}' > "$L.sbom.cdx.json"; fi
  [ -e "$L.sbom.cdx.json" ] && echo "document of $name"
done
printf '[types]\nlaunch = true\ncache = true\n[metadata]\nkey = "value"\n' > "$CNB_LAYERS_DIR/tool.toml"
printf '[types]\ncache = true\n' > "$CNB_LAYERS_DIR/work.toml"
"#;
const SBOM: &str = "sbom-formats = [\"application/vnd.cyclonedx+json\"]";
const MADE: [&str; 4] = ["made tool", "document of tool", "made work", "document of work"];
const FOUND: [&str; 4] =
    ["found tool content of tool", "document of tool", "found work content of work", "document of work"];

fn world() -> World {
    let mut world = World::new();
    world.buildpack("acme/tool", "0.10", SBOM, "exit 0", BUILD);
    world.group(&["acme/tool"]);
    world
}

/// A world with a cache folder, and the folder.
fn world_with_folder() -> (World, PathBuf) {
    let mut world = world();
    let dir = world.dir.path().join("cache");
    world.portable_cache = Some(PortableCache::Folder(CacheFolder::new(&dir)));
    (world, dir)
}

/// As on a machine that has never built anything.
fn forget(world: &mut World) {
    world.store = Store::open(world.dir.path().join(format!("store-{}", rand()))).unwrap();
}

fn rand() -> u64 {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
}

fn warnings(outcome: &Outcome) -> Vec<String> {
    let warning = |event: &Event| match event {
        Event::Warning { text, .. } => Some(text.clone()),
        _ => None,
    };
    outcome.events.iter().filter_map(warning).collect()
}

/// What was said of the cache when it was written.
fn written(outcome: &Outcome) -> Option<String> {
    outcome.events.iter().find_map(|event| match event {
        Event::Step { text } => text.split_once("`: ").map(|(_, text)| text.to_owned()),
        _ => None,
    })
}

fn metadata(dir: &Path) -> CacheMetadata {
    CacheMetadata::parse(&fs_err::read_to_string(dir.join("committed").join(METADATA)).unwrap()).unwrap()
}

fn tar_path(dir: &Path, layer: &str) -> PathBuf {
    dir.join("committed").join(format!("{}.tar", metadata(dir).buildpacks[0].layers[layer].sha))
}

#[test]
fn a_folder_has_the_layers_as_tars_named_by_their_digests_and_the_document_of_the_go_lifecycle() {
    let (world, dir) = world_with_folder();
    let built = world.build().unwrap();
    assert_eq!(written(&built).as_deref(), Some("3 layers written, 0 kept"));
    let text = fs_err::read_to_string(dir.join("committed").join(METADATA)).unwrap();
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert!(text.ends_with("}\n"));
    let tool = &value["buildpacks"][0]["layers"]["tool"];
    assert_eq!(value["buildpacks"][0]["key"], "acme/tool");
    assert_eq!(tool["data"]["key"], "value");
    assert_eq!((&tool["launch"], &tool["cache"], &tool["build"]), (&true.into(), &true.into(), &false.into()));
    assert_eq!(tool["sha"], built.exported.metadata.buildpack("acme/tool").unwrap().layers["tool"].sha);
    for name in ["tool", "work"] {
        let bytes = fs_err::read(tar_path(&dir, name)).unwrap();
        assert_eq!(Digest::of(&bytes).to_string(), value["buildpacks"][0]["layers"][name]["sha"]);
    }
    let sbom = dir.join("committed").join(format!("{}.tar", value["sbom"]["sha"].as_str().unwrap()));
    assert!(sbom.is_file());
    let names: Vec<_> = fs_err::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["committed"], "nothing else is left");
}

/// What the exporter of the Go lifecycle 0.21 wrote for the same files: the digests are those of its tars.
const OF_GO: &str = concat!(
    r#"{"sbom":{"sha":""},"buildpacks":[{"key":"test/count","version":"1.0.0","layers":{"count":{"sha":"#,
    r#""sha256:9378e94221b3143243e6e62ea24e6c006004207c91fb662065ae2923287ef351","data":{"key":"go"},"#,
    r#""build":false,"launch":false,"cache":true},"kept":{"sha":"#,
    r#""sha256:6435ad4d67b486e7e3328c24ebe37b676b3913842dca2dc403fdc3b43b91a55f","data":null,"#,
    r#""build":false,"launch":true,"cache":true}}}]}"#
);

#[test]
fn the_folder_is_the_one_that_the_go_lifecycle_writes_byte_by_byte() {
    let (mut world, dir) = world_with_folder();
    let build = r#"
mkdir "$CNB_LAYERS_DIR/count" "$CNB_LAYERS_DIR/kept"
printf 'x\nx\n' > "$CNB_LAYERS_DIR/count/builds"; printf '[types]\ncache = true\n[metadata]\nkey = "go"\n' > "$CNB_LAYERS_DIR/count.toml"
echo content > "$CNB_LAYERS_DIR/kept/file"; printf '[types]\nlaunch = true\ncache = true\n' > "$CNB_LAYERS_DIR/kept.toml"
"#;
    world.buildpack("test/count", "0.10", "", "exit 0", build);
    world.order.clear();
    world.group(&["test/count"]);
    world.build().unwrap();
    let text = fs_err::read_to_string(dir.join("committed").join(METADATA)).unwrap();
    assert_eq!(text, format!("{OF_GO}\n"));
    assert_eq!(fs_err::read_dir(dir.join("committed")).unwrap().count(), 3);
}

#[test]
fn another_machine_gets_its_layers_from_the_folder_and_makes_the_same_image() {
    let (mut world, dir) = world_with_folder();
    let first = world.build().unwrap();
    assert_eq!(first.output(), MADE);
    let before = fs_err::metadata(tar_path(&dir, "tool")).unwrap().ino();
    forget(&mut world);
    let second = world.build().unwrap();
    assert_eq!(second.output(), FOUND);
    assert_eq!(second.layer("tool"), [LayerAction::Restored, LayerAction::Reused]);
    assert!(!first.strangers && second.strangers, "only what comes out of the folder may be anyone's");
    assert_eq!(first.id(), second.id());
    assert_eq!(written(&second).as_deref(), Some("0 layers written, 3 kept"));
    assert_eq!(fs_err::metadata(tar_path(&dir, "tool")).unwrap().ino(), before, "it was linked, not written again");
    assert!(warnings(&second).is_empty(), "{:?}", warnings(&second));
}

#[test]
fn below_platform_api_0_14_a_cached_launch_layer_needs_a_previous_image_that_has_it() {
    let (mut world, _) = world_with_folder();
    world.platform_api = ApiVersion::new(0, 13);
    world.build().unwrap();
    assert_eq!(world.build().unwrap().output(), FOUND);
    forget(&mut world);
    let output = world.build().unwrap().output();
    assert_eq!(output, ["made tool", "document of tool", "found work content of work", "document of work"]);
}

#[test]
fn a_cache_image_in_the_store_restores_and_lists_what_is_new() {
    let mut world = world();
    let name: hoist_image::Reference = "acme/cache".parse().unwrap();
    world.portable_cache = Some(PortableCache::Image(CacheImage::Store(name.clone())));
    assert_eq!(world.build().unwrap().output(), MADE);
    let image = world.store.find_image(&name).unwrap().unwrap();
    assert_eq!(image.diff_ids().len(), 3);
    world.name = "another".into();
    let second = world.build().unwrap();
    assert_eq!(second.output(), FOUND, "the cache is that of the cache image, not of the image's name");
    assert_eq!(written(&second).as_deref(), Some("0 layers written, 3 kept"));
    let PortableCache::Image(cache) = world.portable_cache.clone().unwrap() else { return };
    cache.clear(&world.store).unwrap();
    world.name = "a third".replace(' ', "-");
    assert_eq!(world.build().unwrap().output(), MADE);
}

#[test]
fn a_cache_image_in_an_oci_layout_carries_layers_to_another_machine() {
    let mut world = world();
    let dir = world.dir.path().join("below").join("layout");
    world.portable_cache = Some(PortableCache::Image(CacheImage::Layout(dir.clone())));
    let first = world.build().unwrap();
    assert_eq!(first.output(), MADE);
    for _ in 0..2 {
        forget(&mut world);
        let next = world.build().unwrap();
        assert_eq!(next.output(), FOUND);
        assert_eq!(first.id(), next.id());
    }
    let names: Vec<_> = fs_err::read_dir(dir.parent().unwrap()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["layout"]);
    CacheImage::Layout(dir.clone()).clear(&world.store).unwrap();
    assert!(!dir.exists());
    forget(&mut world);
    assert_eq!(world.build().unwrap().output(), MADE);

    let own = world.dir.path().join("own");
    fs_err::create_dir(&own).unwrap();
    fs_err::write(own.join("thesis.txt"), "dear to somebody").unwrap();
    world.portable_cache = Some(PortableCache::Image(CacheImage::Layout(own.clone())));
    let built = world.build().unwrap();
    assert!(warnings(&built)[0].contains("it is there already and not an empty folder"), "{:?}", warnings(&built));
    assert!(own.join("thesis.txt").is_file());

    // A layout with something of somebody's in it is not replaced either: that would go with it.
    world.portable_cache = Some(PortableCache::Image(CacheImage::Layout(dir.clone())));
    world.build().unwrap();
    fs_err::write(dir.join("thesis.txt"), "dear to somebody").unwrap();
    world.buildpack(
        "acme/tool",
        "0.10",
        SBOM,
        "exit 0",
        &format!("{BUILD}\necho more >> \"$CNB_LAYERS_DIR/work/file\""),
    );
    let built = world.build().unwrap();
    assert!(warnings(&built)[0].contains("it is there already and not an empty folder"), "{:?}", warnings(&built));
    assert!(dir.join("thesis.txt").is_file());
}

#[test]
fn a_portable_cache_leaves_the_cache_of_the_image_s_name_alone() {
    let (mut world, _) = world_with_folder();
    let portable = world.portable_cache.take();
    world.build().unwrap();
    world.portable_cache.clone_from(&portable);
    assert_eq!(world.build().unwrap().output(), MADE, "the folder is empty");
    world.portable_cache = None;
    let own = world.build().unwrap();
    assert_eq!(own.output(), FOUND);
    assert!(!own.strangers);
}

/// A layer's tar with a wrong digest is not used, said, and replaced by the build.
#[test]
fn a_tar_that_is_not_what_its_name_says_is_not_used_and_is_written_again() {
    let (mut world, dir) = world_with_folder();
    world.build().unwrap();
    let path = tar_path(&dir, "tool");
    let mut bytes = fs_err::read(&path).unwrap();
    let at = bytes.windows(7).position(|window| window == b"content").unwrap();
    bytes[at] = b'C';
    fs_err::write(&path, &bytes).unwrap();
    forget(&mut world);
    let built = world.build().unwrap();
    assert_eq!(built.output()[..3], ["made tool", "document of tool", "found work content of work"]);
    assert!(warnings(&built)[0].contains("should have the digest"), "{:?}", warnings(&built));
    assert_eq!(written(&built).as_deref(), Some("1 layers written, 2 kept"));
    forget(&mut world);
    assert_eq!(world.build().unwrap().output(), FOUND);
}

/// Puts a layer of a stranger's into the cache, in the place of `tool`.
fn plant(dir: &Path, fill: impl FnOnce(&mut LayerBuilder)) {
    let scratch = tempfile::tempdir().unwrap();
    let store = Store::open(scratch.path().join("store")).unwrap();
    let mut builder = store.layer_builder().unwrap();
    fill(&mut builder);
    let layer: Layer = builder.finish().unwrap();
    let mut metadata = metadata(dir);
    metadata.buildpacks[0].layers.get_mut("tool").unwrap().sha = layer.diff_id().to_string();
    let mut bytes = Vec::new();
    layer.write_tar(&mut bytes).unwrap();
    fs_err::write(dir.join("committed").join(format!("{}.tar", layer.diff_id())), bytes).unwrap();
    fs_err::write(dir.join("committed").join(METADATA), metadata.write().unwrap()).unwrap();
}

/// Adds what no cached layer may have.
type Plant = fn(&mut LayerBuilder, Attributes);

#[test]
fn a_cached_layer_with_files_outside_of_its_folder_or_with_devices_is_not_used() {
    let root = Attributes::root(0o755);
    let plants: [(Plant, &str); 4] = [
        (|b, a| _ = b.file("/usr/bin/env", a, &mut &b"x"[..], 1).unwrap(), "it has `/usr`"),
        (|b, a| _ = b.file("/layers/acme_tool/other/x", a, &mut &b"x"[..], 1).unwrap(), "/layers/acme_tool/other"),
        (|b, _| _ = b.whiteout("/layers/acme_tool/tool/x").unwrap(), "/layers/acme_tool/tool/x"),
        (
            |b, a| {
                let kind = hoist_image::Kind::CharacterDevice { major: 1, minor: 3 };
                b.device("/layers/acme_tool/tool/null", a, kind).unwrap();
            },
            "/layers/acme_tool/tool/null",
        ),
    ];
    for (fill, named) in plants {
        let (mut world, dir) = world_with_folder();
        world.build().unwrap();
        plant(&dir, |builder| fill(builder, root));
        forget(&mut world);
        let built = world.build().unwrap();
        assert_eq!(built.output()[0], "made tool");
        assert!(warnings(&built)[0].contains(named), "{:?}", warnings(&built));
    }
}

#[test]
fn a_layer_of_the_store_is_not_given_to_a_cache_that_only_names_it() {
    let (mut world, dir) = world_with_folder();
    world.build().unwrap();
    let run = world.run_image().diff_ids()[0];
    let mut metadata = metadata(&dir);
    metadata.buildpacks[0].layers.get_mut("tool").unwrap().sha = run.to_string();
    fs_err::write(dir.join("committed").join(METADATA), metadata.write().unwrap()).unwrap();
    world.name = "another".into();
    let built = world.build().unwrap();
    assert_eq!(built.output()[0], "made tool");
    assert!(warnings(&built)[0].contains("outside of its own folder"), "{:?}", warnings(&built));
}

#[test]
fn links_in_a_cache_folder_are_not_followed_and_junk_is_an_empty_cache() {
    let (mut world, dir) = world_with_folder();
    world.build().unwrap();
    let path = tar_path(&dir, "tool");
    let elsewhere = world.dir.path().join("elsewhere.tar");
    fs_err::rename(&path, &elsewhere).unwrap();
    symlink(&elsewhere, &path).unwrap();
    forget(&mut world);
    assert_eq!(world.build().unwrap().output()[0], "made tool");
    assert!(fs_err::symlink_metadata(tar_path(&dir, "tool")).unwrap().is_file(), "the link was replaced");

    for junk in ["{", "[1]", "{\"buildpacks\": 7}"] {
        fs_err::write(dir.join("committed").join(METADATA), junk).unwrap();
        let built = world.build().unwrap();
        assert_eq!(built.output(), MADE, "{junk}");
        assert!(warnings(&built)[0].contains("reading what is in the cache"), "{:?}", warnings(&built));
    }
    let huge = fs_err::File::create(dir.join("committed").join(METADATA)).unwrap();
    huge.set_len(1 << 40).unwrap();
    let built = world.build().unwrap();
    assert!(warnings(&built)[0].contains("has more than"), "{:?}", warnings(&built));

    fs_err::remove_dir_all(dir.join("committed")).unwrap();
    let victim = world.dir.path().join("victim");
    fs_err::create_dir(&victim).unwrap();
    fs_err::write(victim.join("file"), "x").unwrap();
    symlink(&victim, dir.join("committed")).unwrap();
    let built = world.build().unwrap();
    assert!(warnings(&built)[0].contains("it is not a folder"), "{:?}", warnings(&built));
    assert!(victim.join("file").is_file());
}

/// A build that is stopped at any moment before the exchange leaves the old cache, and the next one finds it.
#[test]
fn a_write_that_is_not_committed_leaves_the_old_cache() {
    let (mut world, dir) = world_with_folder();
    world.build().unwrap();
    let before = fs_err::read(dir.join("committed").join(METADATA)).unwrap();
    let folder = CacheFolder::new(&dir);
    let id: DiffId = metadata(&dir).buildpacks[0].layers["tool"].sha.parse().unwrap();
    let mut writer = folder.begin(&std::collections::BTreeSet::new()).unwrap();
    assert!(writer.keep(&id, None));
    std::mem::forget(writer); // as a kill does: nothing is tidied
    assert!(dir.join("staging").is_dir());
    assert_eq!(fs_err::read(dir.join("committed").join(METADATA)).unwrap(), before);

    // The Go lifecycle was stopped between its two renames.
    fs_err::rename(dir.join("committed"), dir.join("committed-backup")).unwrap();
    forget(&mut world);
    // (The lock of the writer above went with its file, which a kill closes.)
    assert_eq!(folder.metadata().unwrap().unwrap().buildpacks[0].key, "acme/tool");
}

#[test]
fn the_next_write_tidies_what_a_stopped_one_left() {
    let (mut world, dir) = world_with_folder();
    world.build().unwrap();
    fs_err::rename(dir.join("committed"), dir.join("committed-backup")).unwrap();
    fs_err::create_dir(dir.join("staging")).unwrap();
    fs_err::write(dir.join("staging/half.tar"), "half").unwrap();
    forget(&mut world);
    let built = world.build().unwrap();
    assert_eq!(built.output(), FOUND);
    assert_eq!(written(&built).as_deref(), Some("0 layers written, 3 kept"));
    let names: Vec<_> = fs_err::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["committed"]);
}

#[test]
fn a_launch_cache_has_every_layer_above_the_run_image_and_gives_them_back() {
    let mut world = World::new();
    let build = r#"
L="$CNB_LAYERS_DIR/tool"
if [ -e "$L.toml" ]; then echo metadata; else mkdir -p "$L"; echo x > "$L/file"; echo made; fi
printf '[types]\nlaunch = true\n' > "$L.toml"
"#;
    world.buildpack("acme/tool", "0.10", "", "exit 0", build);
    world.group(&["acme/tool"]);
    let dir = world.dir.path().join("launch");
    world.launch_cache = Some(dir.clone());
    let first = world.build().unwrap();
    let run_layers = world.run_image().diff_ids().len();
    let committed = || fs_err::read_dir(dir.join("committed")).unwrap().count();
    assert_eq!(committed(), first.exported.image.diff_ids()[run_layers..].len());
    assert!(!dir.join("committed").join(METADATA).exists());

    // The image is known here, its buildpack's layer is not: as after an image came from elsewhere without its layers.
    let sha = first.exported.metadata.buildpack("acme/tool").unwrap().layers["tool"].sha.clone();
    let layer = world.store.root_dir().join("layers/sha256").join(sha.strip_prefix("sha256:").unwrap());
    fs_err::remove_dir_all(&layer).unwrap();
    let second = world.build().unwrap();
    assert_eq!(second.output(), ["metadata"]);
    assert_eq!(first.id(), second.id());
    assert!(layer.is_dir());
}

/// A layer that hoist divides is whole in the cache, for others; hoist itself goes on with the parts.
#[test]
fn a_divided_layer_is_one_tar_in_the_cache_and_divided_again_on_another_machine() {
    let mut world = World::new();
    let build = r#"
L="$CNB_LAYERS_DIR/env"; S="$L/lib/python3.13/site-packages"
if [ -e "$S/one.py" ]; then echo found; else
  mkdir -p "$S"
  for name in one two; do
    mkdir -p "$S/$name-1.0.dist-info"; echo "$name" > "$S/$name.py"
    printf '%s.py,,\n%s-1.0.dist-info/RECORD,,\n' "$name" "$name" > "$S/$name-1.0.dist-info/RECORD"
  done
  echo made
fi
printf '[types]\nlaunch = true\ncache = true\n[metadata.hoist]\nsplit = "distributions"\n' > "$L.toml"
"#;
    world.buildpack("acme/pip", "0.10", "", "exit 0", build);
    world.group(&["acme/pip"]);
    let dir = world.dir.path().join("cache");
    world.portable_cache = Some(PortableCache::Folder(CacheFolder::new(&dir)));
    let first = world.build().unwrap();
    let cached = metadata(&dir).buildpacks[0].layers["env"].clone();
    let in_image = first.exported.metadata.buildpack("acme/pip").unwrap().layers["env"].clone();
    assert!(in_image.hoist.is_some() && cached.hoist == in_image.hoist);
    assert_ne!(cached.sha, in_image.sha, "a digest of the whole tar, not of the list of parts");
    let bytes = fs_err::read(dir.join("committed").join(format!("{}.tar", cached.sha))).unwrap();
    assert_eq!(Digest::of(&bytes).to_string(), cached.sha);
    assert_eq!(fs_err::read_dir(dir.join("committed")).unwrap().count(), 2);

    let again = world.build().unwrap();
    assert_eq!(
        (again.output(), again.layer("env")),
        (vec!["found".to_owned()], vec![LayerAction::Restored, LayerAction::Reused])
    );
    assert_eq!(written(&again).as_deref(), Some("0 layers written, 1 kept"));
    forget(&mut world);
    let elsewhere = world.build().unwrap();
    assert_eq!(elsewhere.output(), ["found"]);
    assert_eq!(first.id(), elsewhere.id());
    assert_eq!(metadata(&dir).buildpacks[0].layers["env"], cached);
}
