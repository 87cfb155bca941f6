//! What the makers of packages write, as it lies in an environment or a package of Debian: read for the bill of materials and the lock.

use std::path::PathBuf;

use super::scratch;

/// The files of a distribution, in the order in which an input has them, with lines of dashes between.
const FILES: [&str; 4] = ["METADATA", "WHEEL", "RECORD", "direct_url.json"];

fn folder(name: &str) -> PathBuf {
    let dir = scratch().join(format!("{name}-{:?}", std::thread::current().id()));
    std::fs::create_dir_all(&dir).expect("a folder");
    dir
}

pub(super) fn distribution(data: &[u8]) {
    let site_packages = folder("site-packages");
    let info_dir = site_packages.join("my_pkg-1.0.dist-info");
    std::fs::create_dir_all(&info_dir).expect("a folder");
    let mut rest = data;
    for file in FILES {
        let at = rest.windows(5).position(|window| window == b"\n---\n");
        let (part, after) = at.map_or((rest, &[][..]), |at| (&rest[..=at], &rest[at + 5..]));
        std::fs::write(info_dir.join(file), part).expect("a file");
        rest = after;
    }
    for document in hoist_buildpacks::fuzzed::bills_of(&site_packages) {
        serde_json::from_str::<serde_json::Value>(&document).expect("a bill is JSON");
    }
}

pub(super) fn copyrights(data: &[u8]) {
    let root = folder("root");
    let dir = root.join("usr/share/doc/a");
    std::fs::create_dir_all(&dir).expect("a folder");
    std::fs::write(dir.join("copyright"), data).expect("a file");
    hoist_buildpacks::fuzzed::read_copyrights(&root);
}
