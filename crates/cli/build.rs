//! Builds the launcher for size and hands its path and digest to the crate, which carries its bytes.
//!
//! The launcher goes into app images, so it is a binary of its own with a profile of its own (size, LTO, no unwinding). Cargo cannot give a
//! dependency another profile, hence a nested cargo with a target directory below `OUT_DIR`: the outer build holds the lock of the other.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::expect_used,
    clippy::panic,
    reason = "a build script talks to cargo through its environment and its output, and fails by panicking"
)]

use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

/// The launcher goes into every image: it must stay small.
const MAX_BYTES: usize = 1_500_000;

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("cargo sets {name} for build scripts"))
}

fn main() {
    let root = PathBuf::from(variable("CARGO_MANIFEST_DIR")).join("../..");
    for path in
        ["Cargo.lock", "crates/launcher/Cargo.toml", "crates/launcher/src", "crates/spec/Cargo.toml", "crates/spec/src"]
    {
        println!("cargo::rerun-if-changed={}", root.join(path).display());
    }
    let target = variable("TARGET");
    let target_dir = PathBuf::from(variable("OUT_DIR")).join("launcher");
    let launcher = target_dir.join(&target).join("release/hoist-launcher");
    build(&root, &target, &target_dir);
    let program = std::fs::read(&launcher).expect("cargo built the launcher");
    let bytes = program.len();
    assert!(bytes <= MAX_BYTES, "the launcher has {bytes} bytes; {MAX_BYTES} are allowed");
    println!("cargo::rustc-env=HOIST_LAUNCHER_PATH={}", launcher.display());
    println!("cargo::rustc-env=HOIST_LAUNCHER_DIGEST=sha256:{:x}", Sha256::digest(&program));
}

fn build(root: &Path, target: &str, target_dir: &Path) {
    let mut cargo = Command::new(variable("CARGO"));
    cargo.current_dir(root);
    cargo.args(["build", "--release", "--locked", "--quiet", "--package", "hoist-launcher", "--target", target]);
    cargo.arg("--target-dir").arg(target_dir);
    // The same crates as the outer build, so that nothing is fetched; clippy's driver and the outer flags stay outside.
    for name in ["RUSTC_WORKSPACE_WRAPPER", "CARGO_BUILD_TARGET", "CARGO_TARGET_DIR", "CARGO_INCREMENTAL", "RUSTFLAGS"]
    {
        cargo.env_remove(name);
    }
    cargo.env("CARGO_ENCODED_RUSTFLAGS", ["-Ctarget-feature=+crt-static", "-Crelocation-model=static"].join("\u{1f}"));
    for (name, value) in [
        ("OPT_LEVEL", "z"),
        ("LTO", "fat"),
        ("PANIC", "abort"),
        ("CODEGEN_UNITS", "1"),
        ("STRIP", "symbols"),
        ("DEBUG", "false"),
        ("INCREMENTAL", "false"),
    ] {
        cargo.env(format!("CARGO_PROFILE_RELEASE_{name}"), value);
    }
    let status = cargo.status().expect("cargo can be started");
    assert!(status.success(), "building the launcher failed: {status}");
}
