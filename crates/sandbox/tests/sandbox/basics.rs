//! Running, output, roots, mounts and what is said when one of them is wrong.

use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use hoist_sandbox::{ExitStatus, Mount, MountKind, SandboxError, Stdin, Upper};

use crate::room::{self, Room, bind, error, four_parts, run};
use crate::{As, Test};

pub(crate) const TESTS: &[Test] = &[
    ("output_and_code_come_back", As::Both, output_and_code),
    ("the_environment_holds_only_what_was_given", As::Both, environment),
    ("input_is_given_as_bytes_or_not_at_all", As::Both, input),
    ("standard_streams_can_be_opened_by_name", As::Both, named_streams),
    ("a_signal_is_told_apart_from_a_code", As::Both, signal),
    ("a_missing_program_names_the_path_searched", As::Both, missing_program),
    ("a_file_that_is_no_program_is_told_apart", As::Both, no_program),
    ("a_missing_working_directory_is_named", As::Both, missing_cwd),
    ("bad_mounts_are_named", As::Both, bad_mounts),
    ("a_missing_layer_is_named", As::Both, missing_layer),
    ("impossible_specifications_start_nothing", As::Both, impossible),
    ("changes_go_to_the_upper_directory", As::Both, upper),
    ("a_throwaway_root_forgets", As::Both, throwaway),
    ("a_read_only_root_refuses_writes", As::Both, read_only),
    ("the_upper_one_of_127_layers_wins", As::Both, many_layers),
    ("mounts_show_what_was_given_and_how", As::Both, mounts),
    ("many_threads_run_at_once", As::Both, threads),
    ("pid_1_reaps_orphans", As::Both, zombies),
    ("orphans_do_not_delay_the_end", As::Both, orphans),
    ("without_init_the_process_is_pid_1", As::Both, without_init),
    ("the_callers_umask_and_working_directory_do_not_matter", As::Both, hostile_caller),
    ("dangling_links_of_an_image_are_followed_inside", As::Both, dangling),
    ("a_sink_that_fails_ends_the_run", As::Both, failing_sink),
    ("this_machine_can_be_described", As::Both, capabilities),
];

fn output_and_code(room: &Room) {
    let ran = room.probe(&["say", "result", "narration"]);
    assert_eq!((&*ran.stdout, &*ran.stderr, ran.status()), ("result\n", "narration\n", ExitStatus::Exited(0)));
    assert_eq!(room.probe(&["exit", "41"]).status(), ExitStatus::Exited(41));
    assert!(ran.exit.wall < Duration::from_secs(5) && ran.exit.peak_memory_bytes > 0);
}

fn environment(room: &Room) {
    let mut spec = room.spec(&["env"]);
    spec.process.env.push(("GREETING".into(), "hello = world".into()));
    assert_eq!(room::ok(&spec), "PATH=/usr/bin:/bin\nGREETING=hello = world\n");
    let bytes = std::os::unix::ffi::OsStringExt::from_vec(b"\xff\xfe".to_vec());
    spec.process.env = vec![("PATH".into(), "/bin".into()), ("BYTES".into(), bytes)];
    assert!(room::ok(&spec).starts_with("PATH=/bin\nBYTES=\u{fffd}"), "values need not be text");
}

fn input(room: &Room) {
    let mut spec = room.spec(&["input"]);
    assert_eq!(room::ok(&spec), "");
    spec.process.stdin = Stdin::Bytes(vec![b'x'; 300_000]);
    assert_eq!(room::ok(&spec).len(), 300_000);
    spec.process.stdin = Stdin::Inherit;
    assert_eq!(room::ok(&spec), "");
}

fn named_streams(room: &Room) {
    assert_eq!(room.ok(&["write", "/dev/stdout", "by name\n"]), "by name\ndone\n");
    assert_eq!(room.ok(&["write", "/dev/null", "gone"]), "done\n");
}

fn signal(room: &Room) {
    assert_eq!(room.probe(&["abort"]).status(), ExitStatus::Signaled(6));
    assert_eq!(room.probe(&["abort"]).status().code(), 134);
}

fn missing_program(room: &Room) {
    let mut spec = room.spec(&[]);
    spec.process.args = vec!["pyhton".into()];
    let failed = error(&spec);
    assert_eq!(failed.shell_code(), Some(127));
    assert_eq!(
        four_parts(&failed),
        "cannot start pyhton: it was not found inside the root file system (searched /usr/bin, /bin)\n\
         hint: check the spelling, or give the absolute path of the program inside the image"
    );
    spec.process.args = vec!["/bin/absent".into()];
    assert!(matches!(error(&spec), SandboxError::CommandNotFound { searched: None, .. }));
}

fn no_program(room: &Room) {
    let mut spec = room.spec(&[]);
    for path in ["/etc/passwd", "/etc"] {
        spec.process.args = vec![path.into()];
        let failed = error(&spec);
        assert_eq!(failed.shell_code(), Some(126), "{failed:?}");
        assert!(four_parts(&failed).starts_with(&format!("cannot start {path}: it is there but cannot be executed: ")));
    }
    let script = room.root_dir().join("bin/script");
    std::fs::write(&script, "not a program").unwrap();
    std::fs::set_permissions(&script, PermissionsExt::from_mode(0o755)).unwrap();
    spec.process.args = vec!["script".into()];
    assert!(four_parts(&error(&spec)).contains("/bin/script: it is there but cannot be executed: Exec format error"));
}

fn missing_cwd(room: &Room) {
    let mut spec = room.spec(&["env"]);
    spec.process.cwd = "/workspace".into();
    assert_eq!(
        four_parts(&error(&spec)),
        "cannot start probe in /workspace: there is no such directory inside the root file system: No such file or directory (os error 2)\n\
         hint: make the directory in the image or choose another working directory"
    );
}

fn bad_mounts(room: &Room) {
    let mut spec = room.spec(&["env"]);
    spec.mounts = vec![bind(Path::new("/absent-on-the-host"), "/data", true)];
    assert!(
        four_parts(&error(&spec))
            .starts_with("cannot mount /absent-on-the-host: it cannot be opened on the host: No such file")
    );
    let source = room.host_dir("data");
    for target in ["relative", "/", "/srv/../../up", "/etc/passwd", "/etc/passwd/below"] {
        spec.mounts = vec![bind(&source, target, true)];
        let failed = error(&spec);
        assert!(matches!(failed, SandboxError::MountTarget { .. }), "{target}: {failed:?}");
        assert!(failed.to_string().contains(target) && failed.hint().is_some());
    }
}

fn missing_layer(room: &Room) {
    let mut spec = room.spec(&["env"]);
    spec.root.lower_dirs.push("/absent-layer".into());
    assert!(
        four_parts(&error(&spec))
            .starts_with("cannot open /absent-layer, a layer of the root file system: No such file")
    );
}

fn impossible(room: &Room) {
    let mut spec = room.spec(&["env"]);
    spec.process.args.clear();
    assert!(matches!(error(&spec), SandboxError::EmptyCommand));
    let mut spec = room.spec(&["a\0b"]);
    assert!(matches!(error(&spec), SandboxError::ZeroByte { .. }));
    spec.process.args.pop();
    spec.root.lower_dirs = Vec::new();
    assert!(matches!(error(&spec), SandboxError::LayerCount { count: 0, .. }));
    spec.root.lower_dirs = vec![room.root_dir(); 1000];
    assert!(matches!(error(&spec), SandboxError::LayerCount { count: 1000, .. }));
}

/// A directory for changes that the user inside owns.
fn upper_dirs(room: &Room) -> Upper {
    let upper = Upper { upper_dir: room.host_dir("upper"), work_dir: room.host_dir("work") };
    std::fs::write(room.root_dir().join("srv/old"), "old").unwrap();
    for path in [room.root_dir().join("srv"), room.root_dir().join("srv/old"), upper.upper_dir.clone()] {
        let own = nix::unistd::geteuid().as_raw();
        let (uid, gid) = if room.is_root { (room::BUILDER.uid, room::BUILDER.gid) } else { (own, own) };
        std::os::unix::fs::chown(path, Some(uid), Some(gid)).unwrap();
    }
    upper
}

fn upper(room: &Room) {
    let upper = upper_dirs(room);
    let with_upper = |args: &[&str]| {
        let mut spec = room.spec(args);
        spec.root.upper = Some(upper.clone());
        room::ok(&spec)
    };
    assert_eq!(with_upper(&["write", "/srv/new", "fresh"]), "done\n");
    assert_eq!(with_upper(&["remove", "/srv/old"]), "done\n");
    assert_eq!(with_upper(&["ls", "/srv"]), "new\n", "a second run sees what the first one did");
    assert_eq!(std::fs::read_to_string(upper.upper_dir.join("srv/new")).unwrap(), "fresh");
    let whiteout = std::fs::symlink_metadata(upper.upper_dir.join("srv/old")).unwrap();
    assert!(whiteout.file_type().is_char_device() && whiteout.rdev() == 0);
    let owner = std::fs::metadata(upper.upper_dir.join("srv/new")).unwrap().uid();
    assert_eq!(owner, if room.is_root { room::BUILDER.uid } else { crate::ORDINARY });
    assert_eq!(std::fs::read_to_string(room.root_dir().join("srv/old")).unwrap(), "old", "layers are not touched");
}

fn throwaway(room: &Room) {
    let _ = upper_dirs(room);
    assert_eq!(room.ok(&["write", "/srv/new", "fresh"]), "done\n");
    assert_eq!(room.ok(&["ls", "/srv"]), "old\n");
}

fn read_only(room: &Room) {
    let _ = upper_dirs(room);
    let mut spec = room.spec(&["write", "/srv/new", "fresh"]);
    spec.root.read_only = true;
    spec.mounts = vec![Mount { target: "/made/here".into(), kind: MountKind::Tmpfs { size_bytes: 1 << 20 } }];
    assert_eq!(room::ok(&spec), "EROFS\n");
    spec.process.args = ["probe", "probe", "write", "/made/here/new", "fresh"].map(Into::into).to_vec();
    assert_eq!(room::ok(&spec), "done\n");
}

fn many_layers(room: &Room) {
    let mut layers: Vec<PathBuf> = Vec::new();
    for number in 0..126 {
        // Characters that mean something to mount(2) mean nothing here.
        let layer = room.host_dir(&format!("layer,{number}:a\\b"));
        std::fs::write(layer.join("who"), number.to_string()).unwrap();
        std::fs::write(layer.join(format!("file-{number}")), "").unwrap();
        layers.push(layer);
    }
    layers.push(room.root_dir());
    let mut spec = room.spec(&["cat", "/who"]);
    spec.root.lower_dirs = layers;
    assert_eq!(room::ok(&spec), "0");
    spec.process.args = ["probe", "probe", "ls", "/"].map(Into::into).to_vec();
    assert!(room::ok(&spec).contains("file-125\n"));
}

fn mounts(room: &Room) {
    let data = room.host_dir("data");
    std::fs::write(data.join("file"), "given").unwrap();
    let shown = |read_only, args: &[&str]| {
        let mut spec = room.spec(args);
        spec.mounts = vec![bind(&data, "/new/place", read_only), bind(&data.join("file"), "/etc/one", true)];
        room::ok(&spec)
    };
    assert_eq!(shown(true, &["cat", "/new/place/file"]), "given");
    assert_eq!(shown(true, &["cat", "/etc/one"]), "given");
    assert_eq!(shown(true, &["write", "/new/place/mine", "x"]), "EROFS\n");
    assert_eq!(shown(false, &["write", "/new/place/mine", "x"]), "done\n");
    assert_eq!(std::fs::read_to_string(data.join("mine")).unwrap(), "x");
}

fn threads(room: &Room) {
    std::thread::scope(|scope| {
        for thread in 0..8 {
            scope.spawn(move || {
                for turn in 0..5 {
                    let text = format!("{thread}-{turn}");
                    let mut garbage = Vec::new();
                    for _ in 0..100 {
                        garbage.push(vec![0_u8; 1000]);
                    }
                    assert_eq!(room.ok(&["say", &text, ""]), format!("{text}\n"));
                }
            });
        }
    });
}

fn zombies(room: &Room) {
    assert_eq!(room.ok(&["zombies"]), "0 zombies\n");
}

fn orphans(room: &Room) {
    let begun = std::time::Instant::now();
    assert_eq!(room.ok(&["orphan"]), "leaving\n");
    assert!(begun.elapsed() < Duration::from_secs(10), "it waited for a process that nobody waits for");
}

fn without_init(room: &Room) {
    let mut spec = room.spec(&["link", "/proc/self"]);
    spec.init = false;
    assert_eq!(room::ok(&spec), "done\n");
    spec.process.args = ["probe", "probe", "exit", "7"].map(Into::into).to_vec();
    assert_eq!(run(&spec).status(), ExitStatus::Exited(7));
}

fn capabilities(room: &Room) {
    let machine = hoist_sandbox::capabilities();
    assert!(machine.user_namespaces.available && machine.overlay.available && machine.seccomp.available, "{machine:?}");
    assert!(room.is_root || !machine.memory_limit.available || machine.cgroups == hoist_sandbox::CgroupKind::V2);
    assert!(!machine.memory_limit.reason.is_empty() && !machine.pasta.available, "PATH leads nowhere: {machine:?}");
}

fn hostile_caller(room: &Room) {
    let here = room.host_dir("here");
    std::env::set_current_dir(&here).unwrap();
    std::fs::remove_dir(&here).unwrap();
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o777));
    let mut spec = room.spec(&["write", "/tmp/x", "x"]);
    spec.mounts = vec![bind(&room.root_dir(), "/new/place", true)];
    assert_eq!(room::ok(&spec), "done\n");
    assert_eq!(room.ok(&["cat", "/etc/hosts"]).lines().count(), 3);
}

fn dangling(room: &Room) {
    std::os::unix::fs::symlink("../run/resolve/stub.conf", room.root_dir().join("etc/resolv.conf")).unwrap();
    std::os::unix::fs::symlink("/var/cache", room.root_dir().join("cache")).unwrap();
    assert_eq!(room.ok(&["cat", "/run/resolve/stub.conf"]), "# no network\n");
    let mut spec = room.spec(&["ls", "/var/cache/mine"]);
    spec.mounts = vec![bind(&room.root_dir().join("etc"), "/cache/mine", true)];
    assert_eq!(room::ok(&spec), "passwd\nresolv.conf\n");
}

struct Full;

impl hoist_sandbox::OutputSink for Full {
    fn stdout(&mut self, _: &[u8]) -> std::io::Result<()> {
        Err(std::io::ErrorKind::StorageFull.into())
    }

    fn stderr(&mut self, _: &[u8]) -> std::io::Result<()> {
        Ok(())
    }
}

fn failing_sink(room: &Room) {
    let failed =
        hoist_sandbox::run(&room.spec(&["flood"]), &mut Full, &hoist_sandbox::Cancel::new().unwrap()).unwrap_err();
    assert!(four_parts(&failed).starts_with("cannot pass on the output of the process: "), "{failed:?}");
}
