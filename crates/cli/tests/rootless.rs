//! The whole main job as an ordinary user, with subordinate ids and without: the same result and the same image ids as root gets.
#![allow(clippy::disallowed_methods, clippy::expect_used, clippy::panic)] // tests start processes and fail loudly

mod support;

use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::{Said, example, hoist, poison, run, shared_store};

/// An ordinary user of this machine, who is removed at the end with everything that is theirs.
struct User {
    name: String,
    uid: u32,
    gid: u32,
    home: PathBuf,
}

impl User {
    fn make() -> Self {
        assert!(nix::unistd::geteuid().is_root(), "this test makes a user of its own and has to be run by root");
        let name = format!("hoist-e2e-{}", std::process::id());
        // Far from the ids that images use: root's sandboxes on this machine are not to be taken for this user's.
        let ids = ["--key", "UID_MIN=20000", "--key", "GID_MIN=20000"];
        run(Command::new("useradd").args(["--create-home", "--shell", "/bin/sh"]).args(ids).arg(&name)).ok();
        let user = nix::unistd::User::from_name(&name).expect("the accounts are readable").expect("the new user");
        let made = Self { name, uid: user.uid.as_raw(), gid: user.gid.as_raw(), home: user.dir };
        let files = ["sum", "bell"].map(example);
        run(Command::new("cp").arg("-r").args(files).arg(&made.home)).ok();
        run(Command::new("cp").arg(env!("CARGO_BIN_EXE_hoist")).arg(made.home.join("hoist"))).ok();
        made.owns(&made.home);
        made
    }

    fn owns(&self, path: &Path) {
        run(Command::new("chown").args(["-R", &format!("{}:{}", self.uid, self.gid)]).arg(path)).ok();
    }

    /// A store that has only what the shared one has downloaded.
    fn store(&self, name: &str) -> PathBuf {
        let store = self.home.join(name);
        fs_err::create_dir_all(store.join("cache")).expect("the folder of the store");
        let cache = shared_store().join("cache/host");
        if cache.is_dir() {
            run(Command::new("cp").arg("-r").arg(cache).arg(store.join("cache"))).ok();
        }
        self.owns(&store);
        store
    }

    /// `hoist ARGS… HOME/SOURCE` as this user, in their home.
    fn hoist(&self, store: &Path, args: &[&str], source: &str) -> Said {
        let mut command = Command::new(self.home.join("hoist"));
        poison(&mut command);
        command.arg("--store").arg(store).args(args).arg(self.home.join(source)).env("HOME", &self.home);
        run(command.current_dir(&self.home).uid(self.uid).gid(self.gid))
    }

    fn subordinate_ids(&self) -> Vec<String> {
        let mut found = Vec::new();
        for file in ["/etc/subuid", "/etc/subgid"] {
            let text = fs_err::read_to_string(file).unwrap_or_default();
            found.extend(text.lines().filter(|line| line.starts_with(&format!("{}:", self.name))).map(str::to_owned));
        }
        found
    }

    /// Through usermod, which locks the files against others.
    fn set_subordinate_ids(&self, given: bool) {
        let option = |kind: &str| format!("--{}-sub{kind}s", if given { "add" } else { "del" });
        let range = "1879048192-1879113727";
        let (uids, gids) = (option("uid"), option("gid"));
        let mut command = Command::new("usermod");
        if given {
            command.args([&uids, range, &gids, range]);
        } else {
            let everything = "0-4294967294";
            command.args([&uids, everything, &gids, everything]);
        }
        run(command.arg(&self.name)).ok();
    }

    fn processes(&self) -> Vec<String> {
        let processes = fs_err::read_dir("/proc").expect("/proc").flatten();
        let own = processes.filter(|entry| entry.metadata().is_ok_and(|metadata| metadata.uid() == self.uid));
        own.filter(|entry| entry.file_name().to_string_lossy().bytes().all(|byte| byte.is_ascii_digit()))
            .map(|entry| fs_err::read_to_string(entry.path().join("cmdline")).unwrap_or_default().replace('\0', " "))
            .collect()
    }

    /// Nothing runs, nothing is mounted, no work in progress lies about.
    fn nothing_is_left(&self, store: &Path) {
        assert_eq!(self.processes(), Vec::<String>::new());
        let mounts = fs_err::read_to_string("/proc/self/mounts").expect("the mounts");
        assert!(!mounts.contains(&self.home.display().to_string()), "{mounts}");
        for folder in ["scratch", "leases"] {
            let left: Vec<_> = fs_err::read_dir(store.join(folder)).expect("a folder of the store").collect();
            assert!(left.is_empty(), "{folder}: {left:?}");
        }
        for folder in ["/tmp", "/var/tmp", "/dev/shm"] {
            let found = run(Command::new("find").args([folder, "-maxdepth", "2", "-uid", &self.uid.to_string()]));
            assert_eq!(found.stdout, "", "files of the user in {folder}");
        }
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let _ = Command::new("userdel").args(["--remove", "--force", &self.name]).output();
        let _ = std::fs::remove_dir_all(&self.home);
    }
}

fn image_id(said: &Said) -> String {
    said.json()["image_id"].as_str().expect("an image id").to_owned()
}

#[test]
fn an_ordinary_user_gets_the_same_results_and_images_as_root() {
    let user = User::make();
    let root = |name: &str| {
        let image = format!("test/rootless-{name}");
        let built = run(hoist().args(["build", "--json", &image, "--path"]).arg(example(name))).ok();
        let result = run(hoist().args(["job", "run"]).arg(example(name))).ok();
        (image_id(&built), result.json())
    };
    let (sum, bell) = (root("sum"), root("bell"));

    user.set_subordinate_ids(true);
    assert!(!user.subordinate_ids().is_empty(), "the user has subordinate ids now");
    let store = user.store("with");
    for (name, (id, result)) in [("bell", &bell), ("sum", &sum)] {
        let said = user.hoist(&store, &["job", "run"], name).ok();
        assert_eq!(&said.json(), result, "{name}");
        let off = |line: &&str| line.contains("limit") && line.contains(" off: ");
        let notes: Vec<&str> = said.stderr.lines().filter(off).collect();
        for limit in ["memory", "cpu"] {
            let told = notes.iter().any(|note| note.contains(limit));
            assert!(told, "{name} asks for a {limit} limit, which is off:\n{}", said.stderr);
        }
        let built = user.hoist(&store, &["build", "--json", "x", "--path"], name).ok();
        assert_eq!(&image_id(&built), id, "{name}: {}", built.stderr);
    }
    user.nothing_is_left(&store);

    user.set_subordinate_ids(false);
    assert_eq!(user.subordinate_ids(), Vec::<String>::new());
    let store = user.store("without");
    let said = user.hoist(&store, &["job", "run"], "sum").ok();
    assert_eq!(said.json(), sum.1);
    let built = user.hoist(&store, &["build", "--json", "x", "--path"], "sum").ok();
    assert_eq!(image_id(&built), sum.0, "{}", built.stderr);
    user.nothing_is_left(&store);

    for name in ["sum", "bell"] {
        run(hoist().args(["image", "rm", &format!("test/rootless-{name}")])).ok();
    }
}
