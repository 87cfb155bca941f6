//! `/etc/passwd` and `/etc/group`: Debian's fixed accounts and the `cnb` user. There is no shadow file: no password opens any account.

use crate::GID;
use crate::tree::Tree;

/// Where `base-passwd` keeps the accounts that every Debian system has.
const PASSWD_MASTER: &str = "usr/share/base-passwd/passwd.master";
const GROUP_MASTER: &str = "usr/share/base-passwd/group.master";

/// The accounts of Debian's package, or root and nobody where there is no such package.
#[derive(Debug, Clone)]
pub(crate) struct Masters {
    passwd: String,
    group: String,
}

impl Masters {
    /// Takes them from the unpacked packages.
    pub(crate) fn of(tree: &Tree) -> Self {
        let text = |path: &str, fallback: &str| {
            tree.read(path).and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_else(|| fallback.to_owned())
        };
        Self {
            passwd: text(
                PASSWD_MASTER,
                "root:*:0:0:root:/root:/bin/sh\nnobody:*:65534:65534:nobody:/nonexistent:/bin/false\n",
            ),
            group: text(GROUP_MASTER, "root:*:0:\nnogroup:*:65534:\n"),
        }
    }

    /// Writes the account files and the home folder of a `cnb` user with this id.
    pub(crate) fn write(&self, tree: &mut Tree, uid: u32) {
        tree.file("etc/passwd", format!("{}cnb:*:{uid}:{GID}:cnb:/home/cnb:/bin/sh\n", with_newline(&self.passwd)));
        tree.file("etc/group", format!("{}cnb:*:{GID}:\n", with_newline(&self.group)));
        tree.directory("home/cnb", 0o755, uid, GID);
    }
}

fn with_newline(text: &str) -> String {
    if text.is_empty() || text.ends_with('\n') { text.to_owned() } else { format!("{text}\n") }
}
