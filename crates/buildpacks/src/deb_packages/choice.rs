//! Which packages of Debian an app gets for what it asks for: those that its image needs beside the run image's, and those that builds need beside
//! the build image's.

use std::collections::BTreeSet;

use hoist_debian::{Index, Installed, LockedPackage, ResolveError, ResolveRequest, resolve};
use serde::{Deserialize, Serialize};

use super::wanted::Wanted;
use crate::archive::{self, Archive, ArchiveError};
use crate::context::Context;

/// What maintainer scripts and administrators use, and no program in an image does.
const DISPENSABLE: &[&str] = &[
    "adduser",
    "debconf",
    "debconf-2.0",
    "dpkg",
    "init-system-helpers",
    "install-info",
    "lsb-base",
    "passwd",
    "sensible-utils",
    "systemd",
    "sysvinit-utils",
    "ucf",
    "update-inetd",
    "man-db",
];

/// Programs that builds alone need.
const BUILD_TOOLS: &[&str] = &[
    "autoconf",
    "automake",
    "bison",
    "build-essential",
    "cargo",
    "clang",
    "cmake",
    "flex",
    "g++",
    "gcc",
    "gfortran",
    "libtool",
    "make",
    "meson",
    "nasm",
    "ninja-build",
    "pkg-config",
    "pkgconf",
    "rustc",
    "swig",
    "yasm",
];

/// The chosen packages, sorted by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Choice {
    /// For the image.
    pub(super) launch: Vec<LockedPackage>,
    /// For builds, where something is asked for that they alone need: with all of the image's that the build image lacks.
    pub(super) build: Option<Vec<LockedPackage>>,
}

/// What this machine chose less than a day ago, else what the newest indexes say.
pub(super) fn choose(
    context: &Context,
    archive: &Archive,
    suite: &str,
    wanted: &[Wanted],
) -> Result<Choice, ArchiveError> {
    let run = archive::run_packages(&context.root_dir);
    let in_run_image = |name: &str| run.as_ref().is_some_and(|list| list.lines().any(|line| line.trim() == name));
    let run_image = archive::installed(&context.root_dir, &in_run_image)?;
    let relations: Vec<String> = wanted.iter().map(Wanted::relation).collect();
    archive.remembered("packages", &[suite, &relations.join(",")], &run_image, || {
        let build_image = archive::installed(&context.root_dir, &|_| true)?;
        of_index(&archive.index()?, wanted, &run_image, &build_image).map_err(ArchiveError::Resolve)
    })
}

/// `-dev` packages, compilers and their kin.
fn is_for_building(name: &str) -> bool {
    name.ends_with("-dev") || BUILD_TOOLS.contains(&name)
}

fn of_index(
    index: &Index,
    wanted: &[Wanted],
    run_image: &Installed,
    build_image: &Installed,
) -> Result<Choice, ResolveError> {
    let asked = |name: &str| wanted.iter().any(|one| one.name == name);
    let excluded: BTreeSet<String> =
        DISPENSABLE.iter().filter(|name| !asked(name)).map(|name| (*name).to_owned()).collect();
    let chosen = |wanted: Vec<String>, installed: &Installed| -> Result<Vec<LockedPackage>, ResolveError> {
        let request = ResolveRequest { wanted, installed: installed.clone(), excluded: excluded.clone() };
        Ok(resolve(index, &request)?.packages.iter().map(LockedPackage::of).collect())
    };
    let mut at_launch = BTreeSet::new();
    let mut seen = BTreeSet::new();
    for one in wanted {
        if is_for_building(&one.name) {
            libraries_behind(index, &one.name, &mut seen, &mut at_launch);
        } else {
            at_launch.insert(one.relation());
        }
    }
    let launch = chosen(at_launch.iter().cloned().collect(), run_image)?;
    let build = if wanted.iter().any(|one| is_for_building(&one.name)) {
        Some(chosen(wanted.iter().map(Wanted::relation).chain(at_launch).collect(), build_image)?)
    } else {
        None
    };
    Ok(Choice { launch, build })
}

/// The libraries that what is built against a `-dev` package is linked to: what it depends on, also through others of its kind.
fn libraries_behind(index: &Index, name: &str, seen: &mut BTreeSet<String>, found: &mut BTreeSet<String>) {
    if !name.ends_with("-dev") || !seen.insert(name.to_owned()) {
        return;
    }
    let Some(package) = index.candidate(name) else { return };
    for alternative in package.depends.iter().filter_map(|dependency| dependency.0.first()) {
        if alternative.name.ends_with("-dev") {
            // The C library's own headers lead to nothing that an image lacks.
            if alternative.name != "libc6-dev" {
                libraries_behind(index, &alternative.name, seen, found);
            }
        } else if alternative.name.starts_with("lib") {
            found.insert(alternative.name.clone());
        }
    }
}
