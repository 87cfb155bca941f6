//! Hoist's buildpacks alone, as a program: link `bin/detect` and `bin/build` of a buildpack's folder to it, as a builder links them to
//! hoist. For trying them out without a builder.

#[allow(clippy::print_stdout)] // a tool for the developer
fn main() {
    hoist_buildpacks::main_if_buildpack();
    for buildpack in hoist_buildpacks::shipped() {
        println!("{}@{}", buildpack.id, buildpack.version);
    }
}
