//! Doors for `fuzz/`, which stands outside of this crate: parsers of what the makers of packages write, as builds call them one after the other.
//! (What an app has is reached through [`crate::foresee()`].)

use std::path::Path;

use crate::install::bill_of;
use crate::sbom::debian::take_copyrights;

/// The bills of materials, in all formats, of what lies in a site-packages folder.
#[must_use]
pub fn bills_of(site_packages: &Path) -> Vec<String> {
    bill_of(site_packages).map(|bill| bill.documents().to_vec()).unwrap_or_default()
}

/// Reads the copyright files of Debian's packages below a root, and removes their folders.
pub fn read_copyrights(root: &Path) {
    let _ = take_copyrights(root);
}
