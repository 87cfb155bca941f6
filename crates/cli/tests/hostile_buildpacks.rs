//! Buildpacks that mean harm or are broken: what a user reads, that time and memory are bounded, and that nothing is left behind.
//!
//! One buildpack does whatever the app's scripts say, so that each case is an app.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // helpers fail as loudly as their tests, which start processes

mod support;

use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use support::{Said, executable_below, hoist, mounts_left, run, shared_store, tree};

const BUILDER: &str = r#"
[build]
image = "hoist/build"
[[run.images]]
image = "hoist/run"
[[buildpacks]]
uri = "hostile"
[[order]]
[[order.group]]
id = "test/hostile"
"#;

const DESCRIPTOR: &str = "api = \"0.10\"\n[buildpack]\nid = \"test/hostile\"\nversion = \"1.0.0\"\n";

/// The builder, made once.
fn builder() -> &'static str {
    static BUILDER_NAME: OnceLock<&str> = OnceLock::new();
    BUILDER_NAME.get_or_init(|| {
        let program = |script: &str| format!("#!/usr/bin/env bash\n[ ! -e {script} ] || . ./{script}\n");
        let dir = tree(&[
            ("builder.toml", BUILDER),
            ("hostile/buildpack.toml", DESCRIPTOR),
            ("hostile/bin/detect", &program("detect.sh")),
            ("hostile/bin/build", &program("build.sh")),
        ]);
        executable_below(dir.path());
        let config = dir.path().join("builder.toml");
        run(hoist().args(["builder", "create", "test-hostile", "--config"]).arg(config)).ok();
        "test-hostile"
    })
}

/// A build of an app with this script; `name` keeps the cases apart.
fn build_args(name: &str, app: &tempfile::TempDir) -> Command {
    let mut command = hoist();
    command.args(["build", &format!("test-hostile-{name}"), "--builder", builder(), "--clear-cache", "--path"]);
    command.arg(app.path());
    command
}

fn build(name: &str, script: &str) -> Said {
    run(&mut build_args(name, &tree(&[("build.sh", script)])))
}

fn shell(name: &str, script: &str) -> String {
    let image = format!("test-hostile-{name}");
    run(hoist().args(["run", &image, "--entrypoint", "/bin/sh", "--", "-c", script])).ok().stdout
}

/// The image can be removed and the store is sound.
fn sound(name: &str) {
    let image = format!("test-hostile-{name}");
    run(hoist().args(["image", "verify", &image])).ok();
    run(hoist().args(["image", "rm", &image])).ok();
    nothing_is_left();
}

fn nothing_is_left() {
    run(hoist().args(["system", "df", "--json"])).ok();
    // The folder of the tests may be a mount itself.
    let own = format!(" {} ", env!("CARGO_TARGET_TMPDIR"));
    let left: Vec<String> = mounts_left().into_iter().filter(|mount| !mount.contains(&own)).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn documents_that_a_buildpack_left_are_refused_with_their_place() {
    for (file, text, said) in [
        ("launch.toml", "[[processes]]\ntype = 1\n", "launch.toml, line 2, column 8: invalid type: integer `1`"),
        (
            "launch.toml",
            "[[processes]]\ntype = \"../x\"\ncommand = [\"x\"]\n",
            "processes[0].type: `../x` is not a process type",
        ),
        ("launch.toml", "[[labels]]\nkey = \"a\"\n", "launch.toml, line 1, column 1: missing field `value`"),
        (
            "launch.toml",
            "[[slices]]\npaths = [\"../../etc\"]\n",
            "the slice pattern `../../etc` is not a path in the app",
        ),
        ("launch.toml", "[[slices]]\npaths = [\"[\"]\n", "the slice pattern `[` is not a path in the app"),
        (
            "build.toml",
            "[[unmet]]\nname = \"x\"\n",
            "build.toml: unmet[0].name: `x` is not an entry of the buildpack plan",
        ),
        ("build.toml", "unmet = 3\n", "build.toml, line 1, column 9"),
        ("store.toml", "[metadata\n", "store.toml, line 1, column 10"),
        ("l.toml", "launch = true\n", "layer content metadata: launch: must stand in [types]"),
        ("l.toml", "[types]\nlaunch = \"yes\"\n", "layer content metadata, line 2, column 10"),
        ("l.toml", "[types]\nlaunch = true\n", "layer `l` of test/hostile is for launch, but it has no content"),
    ] {
        let script = format!("cat > \"$CNB_LAYERS_DIR/{file}\" <<'END'\n{text}END\n");
        let refused = build("document", &script).code(1).says(said).says("try: ");
        let place = format!("/layers/test_hostile/{file}");
        assert!(!said.contains(".toml") || refused.stderr.contains(&place), "{file}: {}", refused.stderr);
    }
    nothing_is_left();
}

#[test]
fn documents_of_another_kind_or_size_are_refused_at_once() {
    let started = Instant::now();
    for (script, said) in [
        ("ln -s /etc/passwd \"$CNB_LAYERS_DIR/l.toml\"", "/layers/test_hostile/l.toml is not a regular file"),
        ("mkfifo \"$CNB_LAYERS_DIR/launch.toml\"", "/layers/test_hostile/launch.toml is not a regular file"),
        ("mkdir \"$CNB_LAYERS_DIR/store.toml\"", "/layers/test_hostile/store.toml is not a file"),
        ("head -c 17M /dev/zero > \"$CNB_LAYERS_DIR/build.toml\"", "build.toml has more than 16777216 bytes"),
        ("printf 'a\\377' > \"$CNB_LAYERS_DIR/launch.toml\"", "launch.toml is not UTF-8"),
        ("printf 'a%.0s=[' {1..50000} > \"$CNB_LAYERS_DIR/launch.toml\"", "launch.toml, line 1"),
        ("printf 'a=%s' \"$(printf '[%.0s' {1..50000})\" > \"$CNB_LAYERS_DIR/store.toml\"", "store.toml, line 1"),
    ] {
        build("kind", script).code(1).says(said);
    }
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    nothing_is_left();
}

#[test]
fn what_detect_leaves_is_refused_with_its_place() {
    let detect = |script: &str| run(&mut build_args("detect", &tree(&[("detect.sh", script)])));
    detect("echo it breaks; exit 7")
        .code(1)
        .says("test/hostile@1.0.0: failed with code 7")
        .says("it breaks")
        .says("try: ");
    detect("printf '[[requires]]\\nname = 1\\n' > $2").code(1).says("build plan, line 2, column 8");
    detect("printf '[[requires]]\\nname = \"x\"\\nversion = \"1\"\\n' > $2")
        .code(1)
        .says("requires[0].version: is not supported");
    detect("rm $2; mkfifo $2").code(1).says("plan.toml is not a regular file");
    detect("rm $2; ln -s /etc/passwd $2").code(1).says("plan.toml is not a regular file");
    detect("head -c 5M /dev/zero > $2").code(1).says("plan.toml has more than 4194304 bytes");
    detect("kill -9 $$").code(1).says("signal 9 ended it");
    nothing_is_left();
}

#[test]
fn what_is_written_outside_of_layers_and_app_is_not_in_the_image() {
    let script = r#"
for path in /etc/evil /usr/bin/evil /cnb/evil /evil /layers/evil "$HOME/evil" /tmp/evil /var/tmp/evil /cnb/buildpacks/evil /platform/evil; do
  echo evil > "$path" 2>/dev/null || echo "not $path"
done
mkdir -p /layers/other/l; echo evil > /layers/other/l/evil; printf '[types]\nlaunch = true\n' > /layers/other/l.toml
mkdir -p /layers/config /layers/sbom/launch; echo evil > /layers/config/metadata.toml; echo evil > /layers/sbom/launch/evil
"#;
    build("outside", script).ok().says("not /etc/evil").says("not /cnb/evil").says("not /platform/evil");
    assert_eq!(
        shell("outside", "find / -xdev -name 'evil*' 2>/dev/null; grep -c evil /layers/config/metadata.toml; true"),
        "0\n"
    );
    sound("outside");
}

#[test]
fn links_and_odd_files_in_place_of_layers_gain_nothing() {
    build(
        "links",
        "ln -s /etc \"$CNB_LAYERS_DIR/l\"; printf '[types]\\nlaunch = true\\n' > \"$CNB_LAYERS_DIR/l.toml\"",
    )
    .code(1)
    .says("layer `l` of test/hostile is for launch, but it has no content");
    build("links", "cd /layers; mv test_hostile old; ln -s /etc test_hostile").code(1).says("is not below a directory");
    build("links", "mv /layers /old && ln -s /etc /layers; exit 3")
        .code(1)
        .says("test/hostile@1.0.0 failed: exit code 3");
    let whiteout = "mkdir -p \"$CNB_LAYERS_DIR/l\"; cd \"$CNB_LAYERS_DIR\"; echo > l/.wh.x; printf '[types]\\nlaunch = true\\n' > l.toml";
    build("links", whiteout).code(1).says("names that begin with `.wh.` mean removal in an image");
    for name in ["..", "store", "launch"] {
        let script = format!(
            "printf '[types]\\nlaunch = true\\n' > \"$CNB_LAYERS_DIR/{name}.toml\"; mkdir -p \"$CNB_LAYERS_DIR/{name}\""
        );
        build("links", &script).ok();
    }
    let script = r#"
cd "$CNB_LAYERS_DIR"; mkdir -p l/sub; cd l
mknod device c 1 3 2>&1; mkfifo fifo; ln -s /etc/passwd link; ln -s ../../../../etc above; echo x > $'new\nline'; echo x > $'\377'; chmod 4755 fifo
ln fifo hard
printf '[types]\nlaunch = true\ncache = true\n' > ../l.toml
"#;
    build("links", script).ok().says("mknod: device: Operation not permitted");
    let listed = shell(
        "links",
        "cd /layers/test_hostile/l; ls -A | wc -l; test -p fifo && test -L link && test -d sub && test ! -e device && echo as it was",
    );
    assert!(listed.ends_with("as it was\n"), "{listed}");
    sound("links");
}

#[test]
fn labels_of_the_lifecycle_s_own_stay_as_they_are() {
    let label = |key: &str| format!("[[labels]]\nkey = \"{key}\"\nvalue = \"evil\"\n");
    let labels = label("io.buildpacks.lifecycle.metadata") + &label("own");
    build("labels", &format!("cat > \"$CNB_LAYERS_DIR/launch.toml\" <<'END'\n{labels}END\n"))
        .ok()
        .says("a buildpack wants to set the label io.buildpacks.lifecycle.metadata, which is the lifecycle's own");
    let shown = run(hoist().args(["image", "inspect", "test-hostile-labels", "--json"])).ok().json();
    let labels = shown["config"]["config"]["Labels"].clone();
    assert_eq!(labels["own"], "evil");
    assert!(labels["io.buildpacks.lifecycle.metadata"].as_str().unwrap().starts_with('{'), "{labels}");
    sound("labels");
}

#[test]
fn more_layers_than_an_image_can_have_are_refused() {
    let script = "for n in {1..130}; do mkdir \"$CNB_LAYERS_DIR/$n\"; printf '[types]\\nlaunch = true\\n' > \"$CNB_LAYERS_DIR/$n.toml\"; done";
    build("many", script).code(1).says("the image would have 136 layers, and container engines take no more than 127");
    let slices: String = "[[slices]]\npaths = [\"x\"]\n".repeat(200);
    let script = format!("cat > \"$CNB_LAYERS_DIR/launch.toml\" <<'END'\n{slices}END\n");
    build("many", &script).code(1).says("launch.toml: slices: there are 200, and an image cannot have more than 100");
    nothing_is_left();
}

#[test]
fn a_buildpack_that_never_ends_is_ended() {
    let started = Instant::now();
    let app = tree(&[("build.sh", "echo begun; sleep 600")]);
    run(build_args("endless", &app).args(["--build-timeout", "1s"]))
        .code(1)
        .says("test/hostile@1.0.0 failed: it took more than 1 s")
        .says("--build-timeout");
    let app = tree(&[("detect.sh", "sleep 600")]);
    run(build_args("endless", &app).args(["--build-timeout", "1s"])).code(1).says("it took more than 1 s");
    assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
    nothing_is_left();
}

/// Processes on this machine whose command line holds this word.
fn living(word: &str) -> usize {
    let all = fs_err::read_dir("/proc").unwrap().flatten();
    let lines = all.filter_map(|entry| fs_err::read(entry.path().join("cmdline")).ok());
    lines.filter(|line| String::from_utf8_lossy(line).contains(word)).count()
}

#[test]
fn children_that_are_left_behind_are_ended_with_their_buildpack() {
    let script = "for n in 1 2 3; do setsid sleep 98761 >/dev/null 2>&1 & done; sleep 98761 & disown -a; echo done";
    build("children", script).ok().says("done");
    assert_eq!(living("98761"), 0);
    sound("children");
}

#[test]
fn a_fork_bomb_and_a_glutton_of_memory_are_ended() {
    let started = Instant::now();
    let app = tree(&[(
        "build.sh",
        "bomb() { bomb 98762 2>/dev/null | bomb 98762 2>/dev/null & }; bomb 2>/dev/null; sleep 98762",
    )]);
    run(build_args("bomb", &app).args(["--build-timeout", "2s"])).code(1).says("it took more than 2 s");
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
    assert_eq!(living("98762"), 0);
    let app = tree(&[("build.sh", "head -c 2G /dev/zero | tail > /dev/null; exit 9")]);
    let said = run(build_args("memory", &app).args(["--build-memory", "64M", "--build-timeout", "30s"])).code(1);
    assert!(
        said.stderr.contains("it wanted more than its 64 MB of memory") || said.stderr.contains("exit code 9"),
        "{}",
        said.stderr
    );
    nothing_is_left();
}

/// What is printed goes through hoist line by line, none of it is kept, and a loop is ended.
#[test]
fn a_buildpack_that_prints_without_end_is_ended_and_its_output_is_not_kept() {
    for script in ["yes", "cat /dev/zero"] {
        let app = tree(&[("build.sh", script)]);
        let said = tree(&[("out", "")]);
        let file = fs_err::File::create(said.path().join("out")).unwrap();
        let started = Instant::now();
        let mut child =
            build_args("loud", &app).stdout(Stdio::null()).stderr(Stdio::from(file.into_parts().0)).spawn().unwrap();
        let status = fs_err::read_to_string;
        let mut peak_kb = 0;
        let code = loop {
            if let Some(ended) = child.try_wait().unwrap() {
                break ended.code();
            }
            let text = status(format!("/proc/{}/status", child.id())).unwrap_or_default();
            let peak = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("0 kB");
            peak_kb = peak_kb.max(peak.trim().trim_end_matches(" kB").parse::<u64>().unwrap());
            assert!(started.elapsed() < Duration::from_mins(1), "{:?}", started.elapsed());
            std::thread::sleep(Duration::from_millis(5));
        };
        assert_eq!(code, Some(1));
        assert!((1..200_000).contains(&peak_kb), "{peak_kb} kB");
        let tail = run(Command::new("tail").args(["-c", "1000"]).arg(said.path().join("out"))).stdout;
        assert!(tail.contains("it wrote more than 256 MB of output"), "{tail}");
    }
    assert!(shared_store().is_dir());
    nothing_is_left();
}
