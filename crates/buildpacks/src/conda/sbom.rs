//! Packages of conda's in the bill of materials: what is really installed, as the environment's own records (`conda-meta`) say it.

use hoist_conda::Package;

use crate::sbom::{Component, of_metadata, purl_encoded};

pub(super) fn component(package: &Package) -> Component {
    let file = package.url.rsplit('/').next().unwrap_or_default();
    let kind = if file.ends_with(".conda") { "conda" } else { "tar.bz2" };
    let channel = package.channel.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let purl = format!(
        "pkg:conda/{}@{}?build={}&channel={}&subdir={}&type={kind}",
        purl_encoded(&package.name),
        purl_encoded(&package.version),
        purl_encoded(&package.build),
        purl_encoded(channel),
        purl_encoded(&package.subdir),
    );
    // Channels write expressions of SPDX, and at times free text: as Python's metadata does.
    let license = package.license.as_deref().unwrap_or_default().replace(['\n', '\r'], " ");
    Component {
        name: package.name.clone(),
        version: package.version.clone(),
        purl,
        licences: of_metadata(&format!("License-Expression: {license}\n")),
        sha256: package.sha256.clone(),
        // A folder of the machine that built is no place for others.
        download: Some(package.url.clone()).filter(|url| !url.starts_with("file:")),
        archive: Some(file.to_owned()),
        ..Component::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_is_known_by_its_build_and_channel() {
        let package = Package {
            name: "libfoo".into(),
            version: "1!2.0".into(),
            build: "h0_0".into(),
            subdir: "linux-64".into(),
            url: "https://c.invalid/ours/linux-64/libfoo-1!2.0-h0_0.conda".into(),
            channel: "https://c.invalid/ours/".into(),
            license: Some("MIT OR Apache-2.0".into()),
            sha256: Some("00ff".into()),
            md5: None,
        };
        let found = component(&package);
        assert_eq!(found.purl, "pkg:conda/libfoo@1%212.0?build=h0_0&channel=ours&subdir=linux-64&type=conda");
        assert_eq!(found.licences, of_metadata("License-Expression: MIT OR Apache-2.0\n"));
        assert_eq!(found.archive.as_deref(), Some("libfoo-1!2.0-h0_0.conda"));
        assert_eq!(found.sha256.as_deref(), Some("00ff"));
    }
}
