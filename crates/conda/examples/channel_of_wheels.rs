//! A channel of conda's made of wheels, for `bench/conda.sh`: the machine's Python made relocatable, and each wheel as a package with the wheel's own files
//! and what it requires of the others.
//!
//! Usage: `channel_of_wheels CHANNEL WHEEL…`. The last wheel is there a second time, as a later build.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::unwrap_used,
    missing_docs,
    reason = "a tool to measure with"
)]

#[path = "../../cli/tests/support/house.rs"]
mod house;

use std::collections::BTreeSet;
use std::io::Read;
use std::path::Path;

use house::channel::{Channel, Content, Package, Prefix};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (channel, wheels) = arguments.split_first().unwrap();
    let mut channel = Channel::at(Path::new(channel));
    let python = house::python();
    let minor = python.version.rsplit_once('.').unwrap().0.to_owned();
    channel.add(&python);
    let names: BTreeSet<String> = wheels.iter().map(|wheel| name_of(wheel)).collect();
    for (number, wheel) in wheels.iter().enumerate() {
        let package = package(wheel, &minor, &names);
        channel.add(&package);
        if number + 1 == wheels.len() {
            let place = format!("lib/python{minor}/site-packages/later_build.py");
            channel.add(&package.build("h1_1").file(&place, "LATER = True\n"));
        }
    }
    for name in names {
        println!("{name}");
    }
}

fn name_of(wheel: &str) -> String {
    let file = wheel.rsplit('/').next().unwrap();
    file.split('-').next().unwrap().to_lowercase().replace(['_', '.'], "-")
}

fn package(wheel: &str, minor: &str, names: &BTreeSet<String>) -> Package {
    let name = name_of(wheel);
    let version = wheel.rsplit('/').next().unwrap().split('-').nth(1).unwrap().to_owned();
    let mut package = Package::new(&name, &version).needs(&["python"]);
    let mut archive = zip::ZipArchive::new(std::fs::File::open(wheel).unwrap()).unwrap();
    for at in 0..archive.len() {
        let mut entry = archive.by_index(at).unwrap();
        if entry.is_dir() {
            continue;
        }
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        let inside = entry.name().to_owned();
        if inside.ends_with(".dist-info/METADATA") {
            let text = String::from_utf8_lossy(&bytes);
            let requires = text.lines().filter_map(|line| line.strip_prefix("Requires-Dist: "));
            // Extras and other systems' are left out.
            let plain = requires.filter(|line| !line.contains(';'));
            let wanted = plain.map(|line| {
                let end = line.find(|c: char| !(c.is_ascii_alphanumeric() || "-_.".contains(c))).unwrap_or(line.len());
                line[..end].to_lowercase().replace(['_', '.'], "-")
            });
            let known: BTreeSet<String> = wanted.filter(|wanted| names.contains(wanted) && *wanted != name).collect();
            package.depends.extend(known);
        }
        let place = format!("lib/python{minor}/site-packages/{inside}");
        package.files.push((place, Content::File { bytes, mode: 0o644, prefix: Prefix::None }));
    }
    package
}
