//! Environments from a real channel: chosen, fetched, unpacked and patched by rattler. The channel is made by the test; nothing of the code knows.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

mod support;

use std::path::Path;

use hoist_conda::{CondaError, Engine, Network, Settings, Solution, Task, installed, virtual_packages};
use hoist_environment::Located;
use support::{Channel, PLACEHOLDER, Package, Prefix, serve};

fn channel(dir: &Path) -> Channel {
    let mut channel = Channel::at(dir);
    let patched = [b"\x7fELF".as_slice(), PLACEHOLDER.as_bytes(), b"/share/data\0rest"].concat();
    channel.add(
        &Package::new("libfoo", "1.4")
            .binary("lib/libfoo.so.1", patched, Prefix::Binary)
            .link("lib/libfoo.so", "libfoo.so.1"),
    );
    channel.add(&Package::new("libfoo", "2.0").file("lib/libfoo.so.2", "two"));
    channel.add(
        &Package::new("python", "3.11.9")
            .build("h1_cpython")
            .needs(&["libfoo <2", "__glibc >=2.17"])
            .program("bin/python3.11", &format!("#!/bin/sh\nexec {PLACEHOLDER}/bin/real \"$@\"\n"))
            .link("bin/python", "python3.11")
            .file("lib/python3.11/os.py", "x = 1\n"),
    );
    channel.add(
        &Package::new("greet", "0.1.0")
            .noarch_python()
            .tar_bz2()
            .needs(&["python >=3.9"])
            .entry_point("greet = greet:main")
            .file("site-packages/greet/__init__.py", "def main(): print('hello')\n"),
    );
    channel.add(&Package::new("modern", "1.0").needs(&["libfoo >=2", "greet"]).file("share/modern", ""));
    channel.add(&Package::new("cudalib", "12.0").needs(&["__cuda >=12"]).file("lib/cuda", ""));
    channel
}

struct House {
    dir: tempfile::TempDir,
}

impl House {
    fn new() -> Self {
        let house = Self { dir: tempfile::tempdir().unwrap() };
        channel(&house.path("channel"));
        house
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    fn solve_at(&self, address: &str, specs: &[&str], settings: Settings) -> Result<Solution, CondaError> {
        self.solve_before(address, specs, settings, None)
    }

    fn solve_before(
        &self,
        address: &str,
        specs: &[&str],
        mut settings: Settings,
        before: Option<&str>,
    ) -> Result<Solution, CondaError> {
        let channels = settings.resolve(address)?;
        let engine = Engine::new(&self.path("cache"), &Network::default(), &settings)?;
        let specs = specs.iter().enumerate().map(|(at, text)| Located { text: (*text).into(), line: at + 5 }).collect();
        let virtual_packages = virtual_packages("2.41", &settings.overrides)?;
        let before = before.map(str::to_owned);
        engine.solve(&Task { specs, channels, virtual_packages, any_channel: false, before })
    }

    fn solve(&self, specs: &[&str]) -> Result<Solution, CondaError> {
        self.solve_at(self.path("channel").to_str().unwrap(), specs, Settings::default())
    }

    fn install(&self, prefix: &str, solution: &Solution) -> Result<(), CondaError> {
        let engine = Engine::new(&self.path("cache"), &Network::default(), &Settings::default()).unwrap();
        engine.install(&self.path(prefix), solution)
    }
}

fn names(solution: &Solution) -> Vec<String> {
    solution.packages().iter().map(|one| format!("{}={}={}", one.name, one.version, one.build)).collect()
}

#[test]
fn an_environment_is_chosen_and_installed_with_its_own_place_written_in() {
    let house = House::new();
    let solution = house.solve(&["greet"]).unwrap();
    assert_eq!(names(&solution), ["greet=0.1.0=py_0", "libfoo=1.4=h0_0", "python=3.11.9=h1_cpython"]);
    house.install("env", &solution).unwrap();
    let env = house.path("env");
    let read = |name: &str| std::fs::read(env.join(name)).unwrap();
    let place = env.display().to_string();
    assert_eq!(
        String::from_utf8(read("bin/python3.11")).unwrap(),
        format!("#!/bin/sh\nexec {place}/bin/real \"$@\"\n")
    );
    let library = read("lib/libfoo.so.1");
    assert_eq!(library.len(), 4 + PLACEHOLDER.len() + "/share/data\0rest".len(), "a binary keeps its length");
    assert!(library.starts_with(format!("\x7fELF{place}/share/data\0").as_bytes()) && library.ends_with(b"rest"));
    assert!(String::from_utf8(read("bin/greet")).unwrap().starts_with(&format!("#!{place}/bin/python3.11")));
    for (link, target) in [("bin/python", "python3.11"), ("lib/libfoo.so", "libfoo.so.1")] {
        assert_eq!(std::fs::read_link(env.join(link)).unwrap(), Path::new(target));
    }
    assert!(env.join("lib/python3.11/site-packages/greet/__init__.py").is_file());
    let listed = installed(&env).unwrap();
    assert_eq!(listed.len(), 3);
    assert_eq!(listed[0].0.license.as_deref(), Some("MIT"));
    assert_eq!(listed[0].0.sha256.as_ref().unwrap().len(), 64);
}

#[test]
fn the_same_environment_is_the_same_files_whatever_cache_it_came_from() {
    let house = House::new();
    let solution = house.solve(&["greet"]).unwrap();
    house.install("one/env", &solution).unwrap();
    std::fs::rename(house.path("one/env"), house.path("first")).unwrap();
    std::fs::rename(house.path("cache"), house.path("old-cache")).unwrap();
    house.install("one/env", &house.solve(&["greet"]).unwrap()).unwrap();
    let mut compared = 0;
    let mut stack = vec![house.path("first")];
    while let Some(dir) = stack.pop() {
        for entry in std::fs::read_dir(&dir).unwrap().flatten() {
            let other = house.path("one/env").join(entry.path().strip_prefix(house.path("first")).unwrap());
            if entry.file_type().unwrap().is_dir() {
                stack.push(entry.path());
            } else if entry.file_type().unwrap().is_file() {
                assert_eq!(std::fs::read(entry.path()).unwrap(), std::fs::read(&other).unwrap(), "{}", other.display());
                compared += 1;
            }
        }
    }
    assert!(compared > 6, "{compared}");
}

#[test]
fn what_does_not_fit_together_is_shown_as_a_tree() {
    let house = House::new();
    let Err(CondaError::Unsolvable { tree }) = house.solve(&["modern", "python=3.11"]) else { panic!("it fits") };
    assert!(tree.contains("modern") && tree.contains("libfoo <2"), "{tree}");
    let Err(CondaError::Unsolvable { tree }) = house.solve(&["nowhere-to-be-found"]) else { panic!("it is there") };
    assert!(tree.contains("nowhere-to-be-found"), "{tree}");
    let Err(CondaError::Spec { line, .. }) = house.solve(&["libfoo", "python ==="]) else { panic!("it is one") };
    assert_eq!(line, 6);
}

#[test]
fn a_gpu_is_there_when_somebody_says_so() {
    let house = House::new();
    let Err(CondaError::Unsolvable { tree }) = house.solve(&["cudalib"]) else { panic!("there is no GPU") };
    assert!(tree.contains("__cuda >=12"), "{tree}");
    let mut settings = Settings::default();
    settings.merge_variables([("CONDA_OVERRIDE_CUDA", "12.4")].into_iter());
    let address = house.path("channel");
    assert_eq!(
        names(&house.solve_at(address.to_str().unwrap(), &["cudalib"], settings).unwrap()),
        ["cudalib=12.0=h0_0"]
    );
}

#[test]
fn a_channel_behind_a_login_is_asked_with_it_and_nothing_keeps_it() {
    let house = House::new();
    // me:secret
    let port = serve(&house.path("channel"), Some("Basic bWU6c2VjcmV0"));
    let address = format!("http://me:secret@127.0.0.1:{port}");
    let mut settings = Settings::default();
    let channels = settings.resolve(&address).unwrap();
    let engine = Engine::new(&house.path("cache"), &Network::default(), &settings).unwrap();
    let specs = vec![Located { text: "libfoo=1.4".into(), line: 1 }];
    let virtual_packages = virtual_packages("2.41", &settings.overrides).unwrap();
    let solution = engine.solve(&Task { specs, channels, virtual_packages, any_channel: false, before: None }).unwrap();
    engine.install(&house.path("env"), &solution).unwrap();
    let about = std::fs::read_to_string(house.path("env/conda-meta/libfoo-1.4-h0_0.json")).unwrap();
    assert!(!about.contains("secret") && about.contains("127.0.0.1"), "{about}");

    let wrong = house.solve_at(&format!("http://me:wrong@127.0.0.1:{port}"), &["libfoo"], Settings::default());
    let Err(CondaError::Unreachable { unreachable }) = wrong else { panic!("it let everybody in") };
    assert!(unreachable[0].why.contains("401") && !unreachable[0].why.contains("wrong"), "{unreachable:?}");
}

#[test]
fn a_mirror_that_does_not_answer_is_followed_by_the_next_one() {
    let house = House::new();
    let mut settings = Settings::default();
    let here = house.path("channel").display().to_string();
    settings.merge(&format!("mirrored_channels:\n  c:\n    - http://127.0.0.1:9\n    - file://{here}\n")).unwrap();
    assert_eq!(names(&house.solve_at("c", &["libfoo"], settings).unwrap()), ["libfoo=2.0=h0_0"]);
    let Err(CondaError::Unreachable { unreachable }) =
        house.solve_at("http://127.0.0.1:9/c", &["libfoo"], Settings::default())
    else {
        panic!("somebody answered")
    };
    assert_eq!(unreachable[0].places, ["http://127.0.0.1:9/c/"]);
}

#[test]
fn an_archive_that_is_not_what_the_channel_says_is_refused() {
    let house = House::new();
    let solution = house.solve(&["libfoo=2.0"]).unwrap();
    let mut other = Channel::at(&house.path("other"));
    let evil = other.add(&Package::new("libfoo", "2.0").file("lib/libfoo.so.2", "evil"));
    std::fs::copy(evil, house.path("channel/linux-64/libfoo-2.0-h0_0.conda")).unwrap();
    let error = house.install("env", &solution).unwrap_err();
    let CondaError::Fetch { package, why } = &error else { panic!("{error}") };
    assert!(package.contains("libfoo-2.0-h0_0") && why.contains("hash mismatch"), "{error}");
    assert!(!house.path("env/lib/libfoo.so.2").exists());
}

#[test]
fn an_archive_writes_nothing_outside_of_the_environment() {
    let house = House::new();
    let mut channel = Channel::at(&house.path("hostile"));
    let absolute = house.path("escaped").display().to_string();
    let made = [
        Package::new("climber", "1").file("../../../escaped", "x"),
        Package::new("linker", "1").link("lib/out", "../../../").file("lib/out/escaped", "x"),
        Package::new("absolute", "1").file(&absolute, "x"),
        Package::new("lister", "1").file("lib/x", "x").listed(&absolute),
        Package::new("upward", "1").file("lib/x", "x").listed("lib/../../../escaped"),
        Package::new("hard", "1").hard_link("lib/out", "../../../../etc/passwd"),
    ];
    for package in made {
        let name = package.name.clone();
        channel.add(&package);
        channel.add(&Package { name: format!("{name}-old"), ..package }.tar_bz2());
        for name in [name.clone(), format!("{name}-old")] {
            let channel = house.path("hostile");
            let solution = house.solve_at(channel.to_str().unwrap(), &[&name], Settings::default()).unwrap();
            let done = house.install(&format!("deep/{name}"), &solution);
            for place in ["escaped", "deep/escaped", "cache/escaped", "cache/packages/escaped"] {
                assert!(!house.path(place).exists(), "{name} wrote {place}: {done:?}");
            }
            assert!(!house.path("deep").join(&name).join("lib").exists(), "nothing of {name} is installed");
            let Err(CondaError::Hostile { package, why }) = done else { panic!("{name}: {done:?}") };
            assert!(package.starts_with(&name) && why.contains("outside of the environment"), "{package}: {why}");
        }
    }
}

#[test]
fn a_list_of_archives_is_installed_as_it_is_and_keeps_no_login() {
    let house = House::new();
    // me:secret
    let port = serve(&house.path("channel"), Some("Basic bWU6c2VjcmV0"));
    let address = format!("http://me:secret@127.0.0.1:{port}/linux-64/libfoo-1.4-h0_0.conda");
    let mut settings = Settings::default();
    let plain = settings.without_login(&address);
    assert_eq!(plain, format!("http://127.0.0.1:{port}/linux-64/libfoo-1.4-h0_0.conda"));
    let engine = Engine::new(&house.path("cache"), &Network::default(), &settings).unwrap();
    let solution = engine.explicit(&[Located { text: plain.clone(), line: 2 }]).unwrap();
    assert_eq!(names(&solution), ["libfoo=1.4=h0_0"]);
    assert_eq!(solution.packages()[0].channel, format!("http://127.0.0.1:{port}/"));
    engine.install(&house.path("env"), &solution).unwrap();
    assert!(house.path("env/lib/libfoo.so").exists());
    let about = std::fs::read_to_string(house.path("env/conda-meta/libfoo-1.4-h0_0.json")).unwrap();
    assert!(!about.contains("secret"), "{about}");

    let wrong = format!("{plain}#{}", "0".repeat(64));
    let error = engine.explicit(&[Located { text: wrong, line: 2 }]).unwrap_err();
    assert!(error.to_string().contains("hash mismatch"), "{error}");
    for bad in ["12", "sha256:xyz"] {
        let error = engine.explicit(&[Located { text: format!("{plain}#{bad}"), line: 2 }]).unwrap_err();
        assert!(matches!(&error, CondaError::Spec { why, .. } if why.contains("no hash")), "{error}");
    }
    let gone = plain.replace("1.4", "1.5");
    let error = engine.explicit(&[Located { text: gone, line: 2 }]).unwrap_err();
    assert!(matches!(&error, CondaError::Fetch { why, .. } if why.contains("404")), "{error}");
    let none = engine.explicit(&[Located { text: "https://c.invalid/x".into(), line: 2 }]).unwrap_err();
    assert!(matches!(none, CondaError::Spec { line: 2, .. }), "{none}");
}

#[test]
fn packages_are_as_the_channel_had_them_on_a_day() {
    const JANUARY_2024: u64 = 1_704_067_200_000;
    let house = House::new();
    let mut channel = Channel::at(&house.path("dated"));
    channel.add(&Package::new("tool", "1.0").made(Some(JANUARY_2024 - 1)).file("a", ""));
    channel.add(&Package::new("tool", "2.0").made(Some(JANUARY_2024 + 1)).file("a", ""));
    channel.add(&Package::new("tool", "3.0").made(None).file("a", ""));
    channel.add(&Package::new("timeless", "1.0").made(None).file("a", ""));
    let address = house.path("dated").display().to_string();
    let of = |specs: &[&str], before| house.solve_before(&address, specs, Settings::default(), before);
    assert_eq!(names(&of(&["tool"], None).unwrap()), ["tool=3.0=h0_0"]);
    assert_eq!(names(&of(&["tool"], Some("2024-01-01T00:00:00Z")).unwrap()), ["tool=1.0=h0_0"]);
    let tree = |specs: &[&str]| match of(specs, Some("2024-01-01T00:00:00Z")) {
        Err(CondaError::Unsolvable { tree }) => tree,
        other => panic!("{other:?}"),
    };
    // What the diagnosis goes by.
    assert!(tree(&["timeless"]).contains("has no timestamp"), "{}", tree(&["timeless"]));
    assert!(tree(&["tool >=2,<3"]).contains("uploaded after the cutoff"), "{}", tree(&["tool >=2,<3"]));
}

#[test]
fn another_archive_at_the_same_place_is_another_package() {
    // Two builds see their apps at the same place, and share a cache; an index need not say hashes.
    let house = House::new();
    let without_hashes = || {
        let path = house.path("channel/linux-64/repodata.json");
        let mut index: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        for record in index["packages.conda"].as_object_mut().unwrap().values_mut() {
            record.as_object_mut().unwrap().retain(|key, _| key != "sha256" && key != "size");
        }
        std::fs::write(&path, index.to_string()).unwrap();
    };
    without_hashes();
    house.install("one", &house.solve(&["libfoo=2.0"]).unwrap()).unwrap();
    let mut other = Channel::at(&house.path("channel"));
    let archive = other.add(&Package::new("libfoo", "2.0").file("lib/libfoo.so.2", "another"));
    without_hashes();
    house.install("two", &house.solve(&["libfoo=2.0"]).unwrap()).unwrap();
    let engine = Engine::new(&house.path("cache"), &Network::default(), &Settings::default()).unwrap();
    let listed = engine.explicit(&[Located { text: archive.display().to_string(), line: 1 }]).unwrap();
    house.install("three", &listed).unwrap();
    let read = |env: &str| std::fs::read_to_string(house.path(env).join("lib/libfoo.so.2")).unwrap();
    assert_eq!([read("one"), read("two"), read("three")], ["two", "another", "another"]);
}

#[test]
fn an_environment_is_changed_where_that_gives_the_same_files() {
    let house = House::new();
    let mut channel = channel(&house.path("channel"));
    channel.add(&Package::new("share", "1.0").file("lib/python3.11/site-packages/share/a.py", "").file("share/x", "1"));
    channel.add(&Package::new("share", "2.0").file("share/x", "2"));
    channel.add(&Package::new("rival", "1.0").file("share/x", "mine"));
    let engine = Engine::new(&house.path("cache"), &Network::default(), &Settings::default()).unwrap();
    let solved = |specs: &[&str]| house.solve(specs).unwrap();
    engine.install(&house.path("env"), &solved(&["greet", "share=1.0"])).unwrap();
    let cache = house.path("env/lib/python3.11/site-packages/share/__pycache__");
    std::fs::create_dir(&cache).unwrap();
    std::fs::write(cache.join("a.cpython-311.pyc"), "").unwrap();
    let changed = engine.update(&house.path("env"), &solved(&["greet", "share=2.0"])).unwrap().unwrap();
    assert_eq!(changed.into_iter().collect::<Vec<_>>(), ["share"]);
    assert_eq!(std::fs::read_to_string(house.path("env/share/x")).unwrap(), "2");
    assert!(!house.path("env/lib/python3.11/site-packages/share").exists(), "bytecode goes with its source");
    // Two packages with one file, and another Python: made anew.
    assert_eq!(engine.update(&house.path("env"), &solved(&["greet", "share=2.0", "rival"])).unwrap(), None);
    engine.install(&house.path("old"), &solved(&["libfoo"])).unwrap();
    assert_eq!(engine.update(&house.path("old"), &solved(&["greet"])).unwrap(), None);
}
