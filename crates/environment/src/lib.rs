//! `environment.yml` as text: what it asks for, each entry with its line, and whether conda is needed for it. Pure.
//!
//! It knows neither rattler nor channels, so that a hoist without conda reads the file in the same way.

#![forbid(unsafe_code)]

mod file;
mod spec;
mod yaml;

pub use file::EnvironmentFile;
pub use spec::{included, pypi_line, python, split};
pub use yaml::{Located, Node, SyntaxError, parse};

/// Files of conda's at the root of an app, the exactest first: the first that is there is the one that counts.
pub const FILES: [&str; 6] =
    ["conda-lock.yml", "conda-lock.yaml", "pixi.lock", "package-list.txt", "environment.yml", "environment.yaml"];

/// Whether a file of conda's says what is wanted and not what was chosen.
pub fn is_environment_file(name: &str) -> bool {
    matches!(name, "environment.yml" | "environment.yaml")
}

/// Letters, digits and `_`, no digit first: what every shell takes as the name of a variable.
pub fn is_variable(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    !name.is_empty() && name.bytes().all(fits) && !name.starts_with(|first: char| first.is_ascii_digit())
}
