//! What every Debian system has besides its packages' files: merged /usr, folders with special modes, the small files of /etc, and the
//! alternatives that scripts rely on. Maintainer scripts would have made it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::ldcache::write_cache;
use crate::paths::merged;
use crate::stage::Content;
use crate::tree::Tree;

/// Folders with a mode that is not 0755, or an owner that is not root.
const FOLDERS: [(&str, u32, u32); 21] = [
    ("dev", 0o755, 0),
    ("etc", 0o755, 0),
    ("home", 0o755, 0),
    ("media", 0o755, 0),
    ("mnt", 0o755, 0),
    ("opt", 0o755, 0),
    ("proc", 0o755, 0),
    ("root", 0o700, 0),
    ("run", 0o755, 0),
    ("run/lock", 0o1777, 0),
    ("srv", 0o755, 0),
    ("sys", 0o755, 0),
    ("tmp", 0o1777, 0),
    ("usr/local", 0o755, 0),
    ("usr/local/bin", 0o755, 0),
    ("usr/local/lib", 0o755, 0),
    ("usr/local/sbin", 0o755, 0),
    ("usr/local/share", 0o755, 0),
    ("var/cache", 0o755, 0),
    ("var/mail", 0o2775, 8),
    ("var/tmp", 0o1777, 0),
];

/// Names that stand for whichever program is there: name, link, and the program that it should be.
const ALTERNATIVES: [(&str, &str); 9] = [
    ("awk", "mawk"),
    ("nawk", "mawk"),
    ("c++", "g++"),
    ("c89", "c89-gcc"),
    ("c99", "c99-gcc"),
    ("cc", "gcc"),
    ("pager", "more"),
    ("sh", "dash"),
    ("which", "which.debianutils"),
];

const NSSWITCH: &str = "passwd:         files\ngroup:          files\nshadow:         files\ngshadow:        files\n\n\
    hosts:          files dns\nnetworks:       files\n\nprotocols:      files\nservices:       files\nethers:         files\n\
    rpc:            files\n\nnetgroup:       nis\n";
const HOSTS: &str = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n";

/// Makes the skeleton of a run image.
pub(crate) fn write(tree: &mut Tree) {
    for (path, mode, gid) in FOLDERS {
        tree.directory(path, mode, 0, gid);
    }
    for name in crate::paths::MERGED {
        let usr = format!("usr/{name}");
        if tree.contains(&usr) || tree.names().any(|(path, _)| path.starts_with(&format!("{usr}/"))) {
            tree.remove(name);
            tree.symlink(name, &usr);
        }
    }
    tree.symlink("var/run", "/run");
    tree.symlink("var/lock", "/run/lock");
    tree.symlink("var/spool/mail", "../mail");
    tree.symlink("etc/mtab", "../proc/self/mounts");
    tree.file("etc/nsswitch.conf", NSSWITCH);
    tree.file("etc/hosts", HOSTS);
    tree.file("etc/resolv.conf", "");
    tree.file("etc/hostname", "localhost\n");
    tree.file("etc/timezone", "Etc/UTC\n");
    tree.symlink("etc/localtime", "/usr/share/zoneinfo/Etc/UTC");
    tree.symlink("etc/dpkg/origins/default", "debian");
    for (from, to) in [("dot.profile", "root/.profile"), ("dot.bashrc", "root/.bashrc"), ("profile", "etc/profile")] {
        if let Some(text) = tree.read(&format!("usr/share/base-files/{from}")) {
            tree.file(to, text);
        }
    }
}

/// Makes the alternatives whose programs are in the tree and whose names are not taken.
pub(crate) fn write_alternatives(tree: &mut Tree) {
    for (name, program) in ALTERNATIVES {
        let (link, target) = (format!("usr/bin/{name}"), format!("usr/bin/{program}"));
        if tree.contains(&link) || !tree.contains(&target) {
            continue;
        }
        if name == "sh" {
            tree.symlink(&link, program);
        } else {
            tree.symlink(&link, &format!("/etc/alternatives/{name}"));
            tree.symlink(&format!("etc/alternatives/{name}"), &format!("/{target}"));
        }
    }
}

/// What the loader finds in the layers of an image, lowest layer first.
#[derive(Debug, Default)]
pub(crate) struct Loadable {
    /// The name that a library goes by, and the path under that name.
    names: BTreeMap<String, String>,
    /// Where all libraries are.
    paths: BTreeSet<String>,
}

impl Loadable {
    /// Notes the libraries of one more layer.
    pub(crate) fn add(&mut self, tree: &Tree) {
        let machine = tree.libraries.values().map(|elf| elf.machine).next();
        for (path, elf) in &tree.libraries {
            let Some((folder, name)) = path.rsplit_once('/') else { continue };
            self.paths.insert(path.clone());
            let name = elf.soname.as_deref().unwrap_or(name);
            let linked = format!("{folder}/{name}");
            if Some(elf.machine) == machine && tree.contains(&linked) {
                self.names.entry(name.to_owned()).or_insert_with(|| shown(&linked));
            }
        }
        // The names that compilers look for; they may lead to a library of a lower layer.
        for (path, content) in tree.names() {
            if let (Content::Symlink(target), Some((folder, name))) = (content, path.rsplit_once('/')) {
                let to = if let Some(absolute) = target.strip_prefix('/') {
                    merged(absolute)
                } else {
                    format!("{folder}/{target}")
                };
                let is_plain = Path::new(name).extension().is_some_and(|ending| ending == "so");
                if name.starts_with("lib") && is_plain && self.leads_to_library(tree, to) {
                    self.names.entry(name.to_owned()).or_insert_with(|| shown(path));
                }
            }
        }
    }

    /// True where a path is a library or one link away from it.
    fn leads_to_library(&self, tree: &Tree, path: String) -> bool {
        let next = match (tree.content(&path), path.rsplit_once('/')) {
            (Some(Content::Symlink(target)), Some((folder, _))) => format!("{folder}/{target}"),
            _ => path,
        };
        let shown = shown(&next);
        self.paths.contains(&next) || self.names.values().any(|known| *known == shown)
    }

    /// Writes the loader's cache.
    pub(crate) fn write(&self, tree: &mut Tree, architecture: &str) {
        tree.file("etc/ld.so.cache", write_cache(&self.names, architecture));
    }
}

/// As `ldconfig` shows it, without the folder that /lib is merged into.
fn shown(path: &str) -> String {
    format!("/{}", path.strip_prefix("usr/").unwrap_or(path))
}
