//! The bundle of certificates that `update-ca-certificates` would have made, and the links that OpenSSL looks at.

use crate::tree::Tree;

/// Where the package `ca-certificates` keeps single certificates.
const FOLDER: &str = "usr/share/ca-certificates/";
/// Where programs look for the bundle.
const BUNDLE: &str = "etc/ssl/certs/ca-certificates.crt";

/// Makes the bundle from the certificates of the tree, if it has any.
pub(crate) fn write(tree: &mut Tree) {
    let paths: Vec<String> = tree
        .names()
        .map(|(path, _)| path.to_owned())
        .filter(|path| {
            path.starts_with(FOLDER) && std::path::Path::new(path).extension().is_some_and(|ending| ending == "crt")
        })
        .collect();
    if paths.is_empty() {
        return;
    }
    let (mut bundle, mut list) = (Vec::new(), String::new());
    for path in &paths {
        if let Some(certificate) = tree.read(path) {
            bundle.extend_from_slice(&certificate);
            if !certificate.ends_with(b"\n") {
                bundle.push(b'\n');
            }
            list.push_str(&path[FOLDER.len()..]);
            list.push('\n');
        }
    }
    for path in &paths {
        let name = path.rsplit('/').next().unwrap_or(path).trim_end_matches(".crt").replace(' ', "_");
        tree.symlink(&format!("etc/ssl/certs/{name}.pem"), &format!("/{path}"));
    }
    tree.file(BUNDLE, bundle);
    tree.file("etc/ca-certificates.conf", list);
    tree.symlink("etc/ssl/cert.pem", "certs/ca-certificates.crt");
    // From the package `openssl`, which holds the program and is left out.
    tree.directory("usr/lib/ssl", 0o755, 0, 0);
    tree.symlink("usr/lib/ssl/certs", "/etc/ssl/certs");
    tree.symlink("usr/lib/ssl/cert.pem", "/etc/ssl/certs/ca-certificates.crt");
    tree.symlink("usr/lib/ssl/private", "/etc/ssl/private");
}
