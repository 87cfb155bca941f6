//! How images get the programs that run before their processes, by who builds them.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // helpers fail as loudly as their tests

mod support;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use support::Bench;

const PROGRAMS: [&str; 2] =
    ["layers/web/exec.d/web/hoist-web-concurrency", "layers/certificates/exec.d/hoist-certificates"];

#[test]
fn hoists_images_get_links_to_their_launcher_and_others_copies_of_hoists_or_nothing() {
    let mut bench = Bench::new();
    bench.buildpack("hoist/procfile");
    bench.write("app/Procfile", "web: python main.py\n");
    bench.set("BP_LIVE_RELOAD_ENABLED", "true");
    let (code, said) = bench.build_app();
    assert_eq!(code, 0, "{said}");
    for program in PROGRAMS.iter().chain(&["layers/live-reload/bin/hoist-live-reload"]) {
        assert_eq!(fs_err::read_link(bench.path(program)).unwrap(), Path::new("/cnb/lifecycle/launcher"));
    }
    let launch = fs_err::read_to_string(bench.path("layers/launch.toml")).unwrap();
    assert!(launch.contains("hoist-live-reload") && launch.contains("no-reload"), "{launch}");

    bench.set("HOIST_SOURCE_BUILDS", "");
    bench.write("root/cnb/lifecycle/launcher", "another launcher");
    let (code, said) = bench.build_app();
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("left to the platform: this builder has another launcher"), "{said}");
    assert!(said.contains("BP_LIVE_RELOAD_ENABLED changes nothing: this builder has another"), "{said}");
    assert!(PROGRAMS.iter().all(|program| !bench.path(program).exists()));
    assert!(bench.path("layers/web/env.launch/web/FORWARDED_ALLOW_IPS.default").exists());

    let launcher = "a launcher that is hoist-web-concurrency, too";
    bench.write("root/cnb/lifecycle/launcher", launcher);
    let (code, said) = bench.build_app();
    assert_eq!(code, 0, "{said}");
    for program in PROGRAMS {
        let path = bench.path(program);
        assert_eq!(fs_err::read_to_string(&path).unwrap(), launcher);
        assert_eq!(path.symlink_metadata().unwrap().permissions().mode() & 0o777, 0o755);
    }

    bench.set("BP_RUNTIME_CERT_BINDING_DISABLED", "true");
    bench.set("BP_LIVE_RELOAD_ENABLED", "false");
    assert_eq!(bench.build_app().0, 0);
    assert!(!bench.path("layers/certificates").exists() && !bench.path("layers/live-reload").exists());
    bench.set("BP_LIVE_RELOAD_ENABLED", "often");
    let (code, said) = bench.build_app();
    assert!(code == 1 && said.contains("BP_LIVE_RELOAD_ENABLED=often"), "{said}");
}

#[test]
fn what_the_image_before_has_is_not_made_again() {
    let mut bench = Bench::new();
    bench.buildpack("hoist/procfile");
    bench.write("app/Procfile", "web: python main.py\n");
    assert_eq!(bench.build_app().0, 0);
    // A lifecycle restores of a layer that is not cached what was said of it, and not its folder.
    let forget = |bench: &Bench| {
        for layer in ["web", "certificates"] {
            fs_err::remove_dir_all(bench.path(&format!("layers/{layer}"))).unwrap();
            let path = bench.path(&format!("layers/{layer}.toml"));
            let mut table: toml::Table = fs_err::read_to_string(&path).unwrap().parse().unwrap();
            assert_eq!(table.remove("types").unwrap()["launch"].as_bool(), Some(true));
            fs_err::write(&path, table.to_string()).unwrap();
        }
    };
    forget(&bench);
    assert_eq!(bench.build_app().0, 0);
    for layer in ["web", "certificates"] {
        assert!(!bench.path(&format!("layers/{layer}")).exists(), "{layer}");
        let text = fs_err::read_to_string(bench.path(&format!("layers/{layer}.toml"))).unwrap();
        assert!(text.contains("launch = true") && text.contains("/cnb/lifecycle/launcher"), "{text}");
    }

    // Another platform builds: links would lead to another launcher.
    bench.set("HOIST_SOURCE_BUILDS", "");
    bench.write("root/cnb/lifecycle/launcher", "it is hoist-web-concurrency");
    assert_eq!(bench.build_app().0, 0);
    assert!(PROGRAMS.iter().all(|program| bench.path(program).is_file()));
    forget(&bench);
    bench.write("root/cnb/lifecycle/launcher", "a newer hoist-web-concurrency");
    assert_eq!(bench.build_app().0, 0);
    for program in PROGRAMS {
        assert_eq!(fs_err::read_to_string(bench.path(program)).unwrap(), "a newer hoist-web-concurrency");
    }
}
