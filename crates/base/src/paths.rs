//! Which paths of a package go into an image, and where.

/// Directories that merged-/usr systems keep below /usr.
pub(crate) const MERGED: [&str; 6] = ["bin", "sbin", "lib", "lib32", "lib64", "libx32"];

/// The path on a merged-/usr system: `lib/x` becomes `usr/lib/x`.
pub(crate) fn merged(path: &str) -> String {
    let first = path.split('/').next().unwrap_or("");
    if MERGED.contains(&first) { format!("usr/{path}") } else { path.to_owned() }
}

/// Folders that no program in an image reads.
const DROPPED: [&str; 18] = [
    // Programs that work on dpkg's and debconf's data.
    "usr/sbin/update-ca-certificates",
    "usr/sbin/update-passwd",
    "usr/share/bash-completion",
    "usr/share/bug",
    "usr/share/debconf",
    "usr/share/doc-base",
    "usr/share/gcc/python",
    "usr/share/gdb",
    "usr/share/gitweb",
    "usr/share/groff",
    "usr/share/info",
    "usr/share/linda",
    "usr/share/lintian",
    "usr/share/locale",
    "usr/share/man",
    "usr/share/menu",
    "usr/share/pixmaps",
    "usr/share/zsh",
];

/// True for what goes into an image: no documentation, manuals or translations, but always the copyright files (which licences ask for)
/// and the links between folders of documentation that lead to them.
pub(crate) fn is_kept(path: &str, is_symlink: bool) -> bool {
    let below = |folder: &str| path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    if below("usr/share/doc") {
        let depth = path.split('/').count();
        return path.ends_with("/copyright") || (is_symlink && depth == 4);
    }
    // Static sanitizer libraries, whose shared halves are excluded too.
    if path.starts_with("usr/lib/gcc/") {
        let name = path.rsplit('/').next().unwrap_or("");
        if ["liba", "libhwa", "libl", "libt", "libub"]
            .iter()
            .any(|start| name.strip_prefix(start).is_some_and(|rest| rest.starts_with("san")))
        {
            return false;
        }
    }
    !DROPPED.iter().any(|folder| below(folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documentation_goes_and_copyright_stays() {
        for (path, link, kept) in [
            ("usr/share/doc/bash/copyright", false, true),
            ("usr/share/doc/bash/README", false, false),
            ("usr/share/doc/libgcc-s1", true, true),
            ("usr/share/doc/bash", false, false),
            ("usr/share/locale/de", false, false),
            ("usr/share/locales", false, true),
            ("usr/lib/gcc/x86_64-linux-gnu/14/libasan.a", false, false),
            ("usr/lib/gcc/x86_64-linux-gnu/14/libgcc.a", false, true),
        ] {
            assert_eq!(is_kept(path, link), kept, "{path}");
        }
        assert_eq!(merged("lib/x"), "usr/lib/x");
        assert_eq!(merged("library/x"), "library/x");
    }
}
