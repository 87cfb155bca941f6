//! DiffIDs of tricky layers, computed once with Go's `archive/tar` (the way the Go lifecycle fills its headers) and kept here.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation)] // helpers of tests may panic
#![allow(clippy::disallowed_methods)] // starts itself as another user

use std::path::{Path, PathBuf};
use std::process::Command;

use hoist_image::{Attributes, Kind, LayerBuilder, Order, Store};

/// Name of the case, SHA-256 of the tar that Go writes, its length.
const GO: &[(&str, &str, u64)] = &[
    ("empty", "5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef", 1024),
    ("simple", "3c984735fb16e1dc3011e9f3132b69d72ee60a7b6226898015452b04de3e5402", 5120),
    ("walk", "ff39e3d1a4ce8700527f1904f1dd598023e60f7f2138469e0b480c9132537d56", 5120),
    ("path", "c708cdfacb5296a52e534bab3775cd825699f805bad17b54d2476844eeef58f2", 5120),
    ("name98", "be8594ce3c2b4eeb0b3c7904fa05b3116f8fe5e90b597310a7490eb01064f89d", 2048),
    ("name99", "5765d43c72fc6f9ee39b9c21e80405dac1643b2bd925d80a6f4073d5ff53b0b5", 2048),
    ("name100", "1181a8f0182f3e8e7e4803a3b877910d93e229a053059fb89c278a860fe31b92", 3072),
    ("name101", "57df281d65ef7805376e02cf4f383d489bc58fab5858f20468973a115e15c4d5", 3072),
    ("name120", "9017ecc6c006238f5665c088168861eec74371adce5bd17ef321ee1a2d6b4fc7", 3072),
    ("deep9", "cf33ece83b3ff996f31ea9d9182d1795e2024347eeaf134ed81302d7384985ae", 6656),
    ("deep10", "be89c0e0e1fc928c3212050a193f01f196e62ec30625d2cf1d523a4696bd7e5a", 7168),
    ("deep14", "dca89a955c6774173fb3bc41834fc5eff9af9345641f01e7e10db34fadf089aa", 9216),
    ("deep15", "17c978588c9557578cdfaa398b4bb12e3ea517f8b8fff4dca7c2db586113e8f9", 9728),
    ("deep16", "0d5e73d76d997ff321998860f6acf4d9a175f7c99ef08586d9c69ad22d84170e", 10240),
    ("deep17", "ced1f9ad534cdaddf95d62bc24951eafe4a7eedda95c7ef935224a78511b0938", 10752),
    ("deep25", "ab056d4be2736138f565301234ebf7b1f5e6e8c4b8c49aea7af492979d3a512d", 15872),
    ("deep26", "09b05e93c9a4ca7f790204bfbe7fe97ca3f4cb531c9b1f6acbc2ff5ebf7110cc", 17408),
    ("deep30", "43216ac51149e2c1277e915b740e3172e1cabda6b3b12579296fd110126aff6a", 23552),
    ("longlast", "25449525ff18f66a994a28e4c396d04d3674e997f553b16b41f6a21e2774ceb8", 4608),
    ("slash100", "ab82f57dfc7d66dbd09786e95957adf500d24c7a471c10e15fe9da510466dbae", 2560),
    ("slash100utf8", "845dc218351560c657a5622dc90a2f77768e29dab216ff6af6cdbee0347b5559", 3584),
    ("utf8", "a11b5659f2fe8f13a80b9b402d8d02a7bb2cdc07e3cd3399ffbabe45dbf51e69", 5632),
    ("latin", "24508ebd77baf575380f2078620bc22276d4fe341dd98c2fa6799ec8d76a2a5f", 3584),
    ("utf8long", "03d24d97d767fa3811e1efddde78d9fef1e07c097bd097096a3c584d70cebae6", 21504),
    ("link99", "91d4ca17634cb3a8b563d4f430a51ded8429464a3f55e85b722c7aa767b6f600", 1536),
    ("link100", "92dbfc7e699d12745f7ce4f9eae52cab3ba12490724ac8a81e97cd3b201837df", 1536),
    ("link101", "de51afd512c1477152b7722b1c074b5f6b4867b5fb0a237702a6f6a94b0badec", 2560),
    ("link255", "580059b458be4bf4e831bcad954ed1aa0c59b5ddf25e480c920aead99d2ade1a", 2560),
    ("link1000", "f1bc968ec72329c0f3ff65bd980d85cb374a20e95ef58cc37d56a8fb50bf4128", 3072),
    ("linkutf8", "1b4435b3fe7bed3f2a28f9396b276daf861c33d68d4b6377eab972ec68ee3edd", 2560),
    ("splitandlonglink", "4902713297451c90c4361435c65ee7d5a8a2a7df36ecd9ccb1f93d9ce8a52314", 9728),
    ("modes", "b4e551fbe60b649c4023d3f4f53e03404ea44f5c4fe1a6b978b3f9aaa6f5127d", 4096),
    ("uid2097151", "48933a4f6c27b4101382c19f081dbafdec163a75a50269611a517256fb585777", 2048),
    ("uid2097152", "6b4128ec1e297b6b793d69961d22491b1a44e76b20feaac2919607a2a696ffc9", 3072),
    ("uid4294967294", "9c05c984d80880cda7c07f0ab4c4fd83a2d63bef1eb266e13b01fae5b582785b", 3072),
    ("devices", "1679d4861de6ad3053d4b52d6618c304c1348721b09252fc19b87fc0907c8748", 2560),
    ("hardlink", "941fc528586f78f70fccc0fcd7dd098d7f4a77c4b2b4f17e7bc9ee410fe89cfb", 2560),
    ("whiteout", "8b6132e2b8fe3aec5614d9990592e8d959cffe672955ec88302e38b6be431dcf", 3072),
    ("root", "093484c7403a3c3e1eb9c7723d945076f86d02d78fb36dba852c4b6b80ae728a", 2048),
];

const OWNER: Attributes = Attributes::new(1001, 1000, 0o755);

fn directory(builder: &mut LayerBuilder, path: &str) {
    builder.directory(path, OWNER).unwrap();
}

fn file(builder: &mut LayerBuilder, path: impl AsRef<Path>, body: &str) {
    with(builder, path, Attributes::new(1001, 1000, 0o644), body);
}

fn with(builder: &mut LayerBuilder, path: impl AsRef<Path>, attributes: Attributes, body: &str) {
    builder.file(path, attributes, &mut body.as_bytes(), body.len() as u64).unwrap();
}

fn deep(count: usize, segment: &str) -> String {
    format!("/{}", format!("{segment}/").repeat(count))
}

fn link(builder: &mut LayerBuilder, path: &str, target: &str) {
    builder.symlink(path, target, Attributes::root(0o777)).unwrap();
}

fn fill_named(builder: &mut LayerBuilder, case: &str) {
    match case {
        "empty" => {}
        "walk" | "path" => {
            file(builder, "/a.txt", "3");
            directory(builder, "/a-b");
            file(builder, "/a-b/c", "2");
            directory(builder, "/a");
            file(builder, "/a/b", "1");
            builder.order(if case == "walk" { Order::Walk } else { Order::Path });
        }
        "longlast" => file(builder, deep(3, &"s".repeat(60)) + &"t".repeat(101), "x"),
        "slash100" => file(builder, format!("/{}/f", "s".repeat(99)), "x"),
        "slash100utf8" => file(builder, format!("/{}/ü", "s".repeat(98)), "x"),
        "utf8" => file(builder, "/usr/share/größe/日本語.txt", "x"),
        "latin" => {
            use std::os::unix::ffi::OsStrExt;
            file(builder, PathBuf::from(std::ffi::OsStr::from_bytes(b"/x/\xff\xfe")), "x");
        }
        "utf8long" => file(builder, deep(12, "ordner-ä") + "datei", "x"),
        "linkutf8" => link(builder, "/l", "zu/größe"),
        "splitandlonglink" => link(builder, &(deep(14, "directory") + "l"), &"t".repeat(150)),
        "modes" => {
            with(builder, "/s", Attributes::root(0o4755), "s");
            with(builder, "/t", Attributes::new(0, 5, 0o2755), "s");
            builder.directory("/u", Attributes::root(0o1777)).unwrap();
            with(builder, "/v", Attributes::root(0), "");
        }
        "devices" => {
            builder.device("/p", Attributes::root(0o600), Kind::Fifo).unwrap();
            builder.device("/c", Attributes::root(0o666), Kind::CharacterDevice { major: 1, minor: 3 }).unwrap();
            builder.device("/b", Attributes::new(0, 6, 0o660), Kind::BlockDevice { major: 8, minor: 1 }).unwrap();
        }
        "hardlink" => {
            file(builder, "/a", "x");
            builder.hard_link("/b", "/a").unwrap();
        }
        "whiteout" => {
            builder.opaque("/d").unwrap();
            builder.whiteout("/e/gone").unwrap();
        }
        "root" => {
            builder.directory("/", Attributes::root(0o755)).unwrap();
            file(builder, "/a", "");
        }
        _ => fill_numbered(builder, case),
    }
}

fn fill_numbered(builder: &mut LayerBuilder, case: &str) {
    let digits = case.trim_start_matches(|c: char| !c.is_ascii_digit());
    let number: usize = digits.parse().unwrap();
    match case.trim_end_matches(|c: char| c.is_ascii_digit()) {
        "name" => file(builder, format!("/{}", "n".repeat(number)), "x"),
        "deep" => file(builder, deep(number, "directory") + "file.txt", "x"),
        "link" => link(builder, "/l", &"t".repeat(number)),
        "uid" => {
            let id = u32::try_from(number).unwrap();
            with(builder, "/f", Attributes::new(id, id, 0o644), "x");
        }
        other => panic!("unknown case {other}"),
    }
}

fn fill(builder: &mut LayerBuilder, case: &str) {
    // parents that nobody gives are owned as the case says
    if case != "simple" {
        for parent in ["/d", "/e"] {
            builder.parent(parent, Attributes::root(0o755)).unwrap();
        }
        return fill_named(builder, case);
    }
    directory(builder, "/layers/a");
    file(builder, "/layers/a/empty", "");
    file(builder, "/layers/a/one", "1");
    file(builder, "/layers/a/block", &"x".repeat(512));
    builder.symlink("/layers/a/link", "one", Attributes::new(1001, 1000, 0o777)).unwrap();
}

#[test]
fn every_diff_id_is_the_one_that_go_makes() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path().join("store")).unwrap();
    for (case, sha256, size) in GO {
        let mut builder = store.layer_builder().unwrap();
        fill(&mut builder, case);
        let layer = builder.finish().unwrap();
        let mut tar = Vec::new();
        assert_eq!((layer.diff_id().hex().as_str(), layer.size_bytes()), (*sha256, *size), "{case}");
        layer.write_tar(&mut tar).unwrap();
        assert_eq!(tar.len() as u64, *size, "{case}: the tar made again");
        assert_eq!(store.verify_layer(layer.diff_id()), None, "{case}");
    }
}

/// The tree of an ordinary user cannot hold owners, devices and some modes; the index can.
#[test]
fn an_ordinary_user_gets_the_same_diff_ids() {
    use std::os::unix::fs::{PermissionsExt, chown};
    if std::env::var_os("HOIST_TEST_AS_USER").is_some() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let (program, home) = (dir.path().join("program"), dir.path().join("home"));
    std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    std::fs::create_dir(&home).unwrap();
    chown(&home, Some(65534), Some(65534)).unwrap();
    let output = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(&program)
        .args(["every_diff_id_is_the_one_that_go_makes", "--exact"])
        .env("TMPDIR", &home)
        .env("HOIST_TEST_AS_USER", "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && text.contains("1 passed"), "{text}{}", String::from_utf8_lossy(&output.stderr));
}
