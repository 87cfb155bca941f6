//! The channel of conda's that projects with `conda = true` install from: made once, when the first of them asks.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::house;

fn made() -> &'static Path {
    static HOUSE: OnceLock<PathBuf> = OnceLock::new();
    HOUSE.get_or_init(|| house::make(&Path::new(env!("CARGO_TARGET_TMPDIR")).join("apps-channel")))
}

/// The channel's folder.
pub fn dir() -> PathBuf {
    made().join("ours")
}

/// The machine's settings of conda, which lead there.
pub fn condarc() -> PathBuf {
    made().join("condarc")
}

/// A text with what is only known once the channel is made: `{channel}`, `{python}`, `{sha256:NAME}`.
pub fn fill(text: &str) -> String {
    if !text.contains('{') {
        return text.to_owned();
    }
    let archives: Vec<String> =
        house::files_below(&dir()).iter().map(|path| format!("file://{}", path.display())).collect();
    let archive = |start: &str| {
        let wanted = |address: &&String| address.rsplit('/').next().is_some_and(|name| name.starts_with(start));
        archives.iter().find(wanted).cloned().unwrap_or_default()
    };
    let python = archive("python-");
    let version = python.rsplit('/').next().and_then(|name| name.split('-').nth(1)).unwrap_or_default();
    let mut filled = text.replace("{channel}", &format!("file://{}", dir().display())).replace("{python}", version);
    while let Some((before, (name, after))) =
        filled.split_once("{sha256:").and_then(|(before, rest)| Some((before, rest.split_once('}')?)))
    {
        filled = format!("{before}{}{after}", house::sha256(&archive(&format!("{name}-"))));
    }
    filled
}
