//! Bills of materials: what was really installed into a layer, written beside it as CycloneDX 1.5 and as SPDX 2.3 (buildpack.md, "Software-Bill-of-
//! Materials"). Nothing in them is of this moment or by chance, so that the same layer has the same bills. It does not know where the components
//! come from: the buildpacks say it.

mod cyclonedx;
pub(crate) mod debian;
mod licence;
mod spdx;

use std::fmt::Write as _;
use std::io::Read as _;
use std::path::Path;

use fs_err as fs;

use crate::context::Context;
use crate::failure::Failure;
use crate::layer::{Layer, SbomFormat};

pub(crate) use licence::{Licences, of_metadata};

/// The media types of what [`Bill::write`] writes, for `buildpack.toml`.
pub(crate) const FORMATS: [&str; 2] = ["application/vnd.cyclonedx+json", "application/spdx+json"];

/// The time that reproducible documents name when nothing else is asked for.
const EPOCH_VARIABLE: &str = "SOURCE_DATE_EPOCH";
/// The day after which no format of archive is older, as lifecycles take it: 1980-01-01T00:00:01Z.
const EPOCH_SECS: i64 = 315_532_801;

/// What was installed into a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bill {
    /// The id of the buildpack that installed it.
    pub(crate) tool: &'static str,
    /// Seconds since 1970.
    pub(crate) created_secs: i64,
    /// In the order in which they are written.
    pub(crate) components: Vec<Component>,
}

/// Something that was installed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Component {
    pub(crate) kind: Kind,
    pub(crate) name: String,
    pub(crate) version: String,
    /// Its package URL, by which others know it.
    pub(crate) purl: String,
    /// One line about it; may be empty.
    pub(crate) summary: String,
    pub(crate) licences: Licences,
    /// The SHA-256 of the archive that it came as, in hexadecimal digits.
    pub(crate) sha256: Option<String>,
    /// Where it came from, when that is no index: an address without credentials, as SPDX writes it (`git+https://…@commit`).
    pub(crate) download: Option<String>,
    /// The name of the archive.
    pub(crate) archive: Option<String>,
    /// The SHA-256 of its RECORD, the list of its files with their hashes, when no archive has a hash.
    pub(crate) record_sha256: Option<String>,
}

/// What a component is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Kind {
    #[default]
    Library,
    Application,
}

impl Bill {
    /// An empty bill of a buildpack; its time is `SOURCE_DATE_EPOCH` of the build.
    pub(crate) fn new(tool: &'static str, context: &Context) -> Self {
        let asked = context.variable(EPOCH_VARIABLE).and_then(|text| text.parse().ok());
        Self { tool, created_secs: asked.unwrap_or(EPOCH_SECS), components: Vec::new() }
    }

    /// Writes the bill beside a layer, in all formats.
    pub(crate) fn write(&self, layer: &Layer) -> Result<(), Failure> {
        let [cyclonedx, spdx] = self.documents();
        layer.write_sbom(SbomFormat::CycloneDx, &cyclonedx)?;
        layer.write_sbom(SbomFormat::Spdx, &spdx)
    }

    /// The bill as CycloneDX and as SPDX.
    pub(crate) fn documents(&self) -> [String; 2] {
        [cyclonedx::document(self), spdx::document(self)]
    }
}

/// The start of a text file, up to a number of bytes: what strangers write has no end.
pub(crate) fn read_start(path: &Path, max_bytes: u64) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(max_bytes).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A part of a package URL, in the encoding of its specification: letters, digits and `.-_~`, and `:` and `/` where they mean nothing.
pub(crate) fn purl_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b".-_~:/".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn bill() -> Bill {
        let text = "Name: Both\nLicense-Expression: MIT OR (Apache-2.0 AND LicenseRef-Own)\n\n";
        Bill {
            tool: "hoist/pip",
            created_secs: EPOCH_SECS,
            components: vec![
                Component {
                    name: "Both".into(),
                    version: "1.0+local".into(),
                    purl: "pkg:pypi/both@1.0%2Blocal".into(),
                    summary: "Two of them".into(),
                    licences: of_metadata(text),
                    sha256: Some("00ff".into()),
                    ..Component::default()
                },
                Component {
                    kind: Kind::Application,
                    name: "of_git".into(),
                    version: "2".into(),
                    purl: "pkg:pypi/of-git@2?vcs_url=git%2Bhttps://host.example/r.git%40abc".into(),
                    licences: of_metadata(
                        "License: Our own, see LICENCE\nClassifier: License :: OSI Approved :: BSD License\n",
                    ),
                    download: Some("git+https://host.example/r.git@abc".into()),
                    record_sha256: Some("11".into()),
                    ..Component::default()
                },
                Component {
                    name: "silent".into(),
                    version: "3".into(),
                    purl: "pkg:pypi/silent@3".into(),
                    ..Component::default()
                },
            ],
        }
    }

    #[test]
    fn both_formats_say_the_same_and_who_made_them() {
        insta::assert_snapshot!("cyclonedx", pretty(&cyclonedx::document(&bill())));
        insta::assert_snapshot!("spdx", pretty(&spdx::document(&bill())));
    }

    /// Indented, without what another version of hoist makes different.
    fn pretty(json: &str) -> String {
        let mut document: serde_json::Value = serde_json::from_str(json).unwrap();
        if let Some(name) = document.get_mut("documentNamespace") {
            *name = "urn:uuid:…".into();
        }
        serde_json::to_string_pretty(&document).unwrap().replace(crate::shipped::VERSION, "VERSION")
    }

    #[test]
    fn what_is_no_letter_of_a_package_url_is_encoded() {
        assert_eq!(purl_encoded("git+https://h/a b.git@é"), "git%2Bhttps://h/a%20b.git%40%C3%A9");
    }
}
