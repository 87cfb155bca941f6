//! What dpkg would know of the packages: `/var/lib/dpkg/status` and the lists of files, which scanners of vulnerabilities and makers of
//! bills of materials read.

use std::collections::BTreeMap;

use hoist_debian::{LockedPackage, Paragraph, parse_paragraphs};

use crate::error::BaseError;
use crate::paths::is_kept;
use crate::paths::merged;
use crate::stage::Staged;
use crate::tree::Tree;

/// Where dpkg keeps what it knows.
const FOLDER: &str = "var/lib/dpkg";

/// Paragraphs of the status file by package name.
#[derive(Debug, Default, Clone)]
pub(crate) struct Status {
    paragraphs: BTreeMap<String, Paragraph>,
}

impl Status {
    /// Notes a package, and writes its lists into the tree that it is unpacked into.
    pub(crate) fn add(&mut self, package: &LockedPackage, staged: &Staged, tree: &mut Tree) -> Result<(), BaseError> {
        let wrong = |problem: String| BaseError::Control { package: package.name.clone(), problem };
        let text = staged.control.get("control").ok_or_else(|| wrong("there is none".into()))?;
        let text = std::str::from_utf8(text).map_err(|_| wrong("it is no UTF-8".into()))?;
        let paragraphs = parse_paragraphs(text).map_err(|error| wrong(error.to_string()))?;
        let mut paragraph = paragraphs.into_iter().next().ok_or_else(|| wrong("it is empty".into()))?;
        if paragraph.get("Package") != Some(&package.name) || paragraph.get("Version") != Some(&package.version) {
            let seen = format!("{} {}", paragraph.get("Package").unwrap_or(""), paragraph.get("Version").unwrap_or(""));
            return Err(wrong(format!("it is of {seen}, the index said {} {}", package.name, package.version)));
        }
        paragraph.set_after("Package", "Status", "install ok installed");
        let stem = if paragraph.get("Multi-Arch") == Some("same") {
            format!("{FOLDER}/info/{}:{}", package.name, package.architecture)
        } else {
            format!("{FOLDER}/info/{}", package.name)
        };
        let mut list = String::from("/.\n");
        for (path, _) in &staged.nodes {
            list.push('/');
            list.push_str(path);
            list.push('\n');
        }
        tree.file(&format!("{stem}.list"), list);
        if let Some(sums) = staged.control.get("md5sums") {
            tree.file(&format!("{stem}.md5sums"), kept_sums(&String::from_utf8_lossy(sums)));
        }
        self.paragraphs.insert(package.name.clone(), paragraph);
        Ok(())
    }

    /// Writes the status file.
    pub(crate) fn write(&self, tree: &mut Tree) {
        let text: Vec<String> = self.paragraphs.values().map(ToString::to_string).collect();
        tree.file(&format!("{FOLDER}/status"), text.join("\n"));
    }
}

/// Lines of `md5  path` whose files are in the image, their paths as there.
fn kept_sums(text: &str) -> String {
    let mut kept = String::new();
    for line in text.lines() {
        if let Some((sum, path)) = line.split_once("  ") {
            let path = merged(path);
            if is_kept(&path, false) {
                kept.push_str(sum);
                kept.push_str("  ");
                kept.push_str(&path);
                kept.push('\n');
            }
        }
    }
    kept
}
