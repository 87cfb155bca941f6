//! One SBOM of a whole image: what its buildpacks wrote, document by document, and the packages of the operating system below, in one document as
//! scanners take it. CycloneDX 1.5 (or what the newest of the documents is) and SPDX 2.3; documents of Syft's own format are not among them.
//!
//! What stands in the documents was written by buildpacks, so nothing is taken for granted but that it is JSON: what has another shape is passed over.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use hoist_events::Reporter;
use hoist_image::{Digest, Image, Store};
use hoist_spec::{DISTRO_NAME_LABEL, DISTRO_VERSION_LABEL};
use serde_json::{Map, Value, json};

use crate::engine::LocalEngine;
use crate::error::PlatformError;
use crate::os_packages::{OsPackage, OsPackages, list_os_packages};
use crate::sboms::{SbomsError, documents};

/// The format of a whole image's SBOM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BillFormat {
    /// `CycloneDX` JSON.
    CycloneDx,
    /// SPDX 2.3 JSON.
    Spdx,
}

impl BillFormat {
    fn name(self) -> &'static str {
        match self {
            Self::CycloneDx => "cyclonedx",
            Self::Spdx => "spdx",
        }
    }
}

/// What an image says of itself in its bill.
struct Subject {
    name: String,
    purl: Option<String>,
    id: String,
    /// The distribution's name and version, as its labels have them.
    distribution: Option<(String, String)>,
}

impl LocalEngine {
    /// The SBOM of a whole image. An image without documents, such as a run image, has its operating system's packages.
    /// It is called `name` in it.
    pub fn bill(&self, image: &str, name: &str, format: BillFormat) -> Result<Value, PlatformError> {
        let called = BillName { name: name.to_owned(), purl: None };
        bill_of(self.store(), &self.store().image(image)?, &called, format, self.reporter())
    }
}

/// What an image is called in its bill.
pub(crate) struct BillName {
    /// Its name, as it was asked for.
    pub(crate) name: String,
    /// Its package URL, where it is in a registry.
    pub(crate) purl: Option<String>,
}

/// The SBOM of a whole image under that name.
pub(crate) fn bill_of(
    store: &Store,
    image: &Image,
    called: &BillName,
    format: BillFormat,
    reporter: &dyn Reporter,
) -> Result<Value, PlatformError> {
    let wanted = called.name.as_str();
    let own = match documents(store, image, wanted) {
        Ok(own) => own,
        Err(SbomsError::None { .. }) => Vec::new(),
        Err(other) => return Err(other.into()),
    };
    let mut parts = Vec::new();
    for document in own.iter().filter(|document| document.format == Some(format.name())) {
        parts.push(document.read(wanted)?);
    }
    let packages = match list_os_packages(&image.layers()?)? {
        OsPackages::Known(packages) => packages,
        OsPackages::Unknown(why) => {
            let text = format!("the operating system's packages are not in the SBOM of {wanted}: {why}");
            reporter.warn(&text, Some("have the image scanned by what knows that system"));
            Vec::new()
        }
    };
    let subject = Subject::of(image, called);
    Ok(match format {
        BillFormat::CycloneDx => cyclonedx(&subject, &parts, &packages),
        BillFormat::Spdx => spdx(&subject, &parts, &packages),
    })
}

impl Subject {
    fn of(image: &Image, called: &BillName) -> Self {
        let labels = image.config().config().as_ref().and_then(|config| config.labels().as_ref());
        let label = |key: &str| labels.and_then(|labels| labels.get(key)).cloned();
        Self {
            name: called.name.clone(),
            purl: called.purl.clone(),
            id: image.id().to_string(),
            distribution: label(DISTRO_NAME_LABEL).zip(label(DISTRO_VERSION_LABEL)),
        }
    }

    /// Names the document by what it is about: the same image has the same name of its bill.
    fn urn(&self, format: BillFormat) -> String {
        let hash = Digest::of(format!("{} of {}", format.name(), self.id).as_bytes()).to_string();
        let digits: String = hash.rsplit(':').next().unwrap_or_default().chars().take(32).collect();
        // A UUID of version 8: what is in it is up to whoever makes it (RFC 9562).
        format!(
            "urn:uuid:{}-{}-8{}-8{}-{}",
            &digits[..8],
            &digits[8..12],
            &digits[13..16],
            &digits[17..20],
            &digits[20..]
        )
    }

    /// `pkg:deb/debian/libc6@2.41-12?arch=amd64&distro=debian-13`.
    fn purl(&self, package: &OsPackage) -> String {
        let (namespace, distro) = match &self.distribution {
            Some((name, version)) => (name.as_str(), format!("&distro={}-{}", encoded(name), encoded(version))),
            None if package.kind == "apk" => ("alpine", String::new()),
            None => ("debian", String::new()),
        };
        let (name, version, arch) = (encoded(&package.name), encoded(&package.version), encoded(&package.architecture));
        format!("pkg:{}/{}/{name}@{version}?arch={arch}{distro}", package.kind, encoded(namespace))
    }
}

/// Percent-encoded as package URLs have it.
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b".-_~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

fn items<'a>(document: &'a Value, key: &str) -> impl Iterator<Item = &'a Map<String, Value>> {
    document[key].as_array().into_iter().flatten().filter_map(Value::as_object)
}

fn text<'a>(object: &'a Map<String, Value>, key: &str) -> Option<&'a str> {
    object.get(key).and_then(Value::as_str)
}

/// Gives each thing one name in the whole document: what is the same in two documents stands there once, and what only has the same name gets another.
#[derive(Default)]
struct Names {
    taken: BTreeMap<String, Value>,
}

impl Names {
    /// The name for `what`, which its own document calls `name`, and whether it is new.
    fn take(&mut self, name: &str, what: &Value) -> (String, bool) {
        let mut own = name.to_owned();
        let mut number = 2;
        while let Some(there) = self.taken.get(&own) {
            if there == what {
                return (own, false);
            }
            own = format!("{name}-{number}");
            number += 1;
        }
        self.taken.insert(own.clone(), what.clone());
        (own, true)
    }
}

fn cyclonedx(subject: &Subject, parts: &[Value], packages: &[OsPackage]) -> Value {
    let (mut names, mut components, mut dependencies) = (Names::default(), Vec::new(), Vec::new());
    let mut version = "1.5".to_owned();
    for part in parts {
        let mut renamed = BTreeMap::new();
        for one in items(part, "components") {
            let fallback =
                || format!("{}@{}", text(one, "name").unwrap_or_default(), text(one, "version").unwrap_or_default());
            let name = text(one, "bom-ref").map_or_else(fallback, str::to_owned);
            let (own, is_new) = names.take(&name, &Value::Object(one.clone()));
            if is_new {
                let mut component = one.clone();
                component.insert("bom-ref".to_owned(), json!(own));
                components.push(Value::Object(component));
            }
            renamed.insert(name, own);
        }
        for one in items(part, "dependencies") {
            let Some(own) = text(one, "ref").and_then(|name| renamed.get(name)) else { continue };
            let on = one.get("dependsOn").and_then(Value::as_array).into_iter().flatten();
            let on: Vec<&String> = on.filter_map(|name| renamed.get(name.as_str()?)).collect();
            dependencies.push(json!({"ref": own, "dependsOn": on}));
        }
        if let Some(newer) =
            part["specVersion"].as_str().filter(|newer| newer.starts_with("1.") && is_newer(newer, &version))
        {
            newer.clone_into(&mut version);
        }
    }
    let known: BTreeSet<String> = components.iter().filter_map(|one| one["name"].as_str().map(str::to_owned)).collect();
    for package in packages.iter().filter(|package| !is_there(&known, parts, package)) {
        let purl = subject.purl(package);
        components.push(
            json!({"type": "library", "bom-ref": purl, "name": package.name, "version": package.version, "purl": purl}),
        );
    }
    if let Some((name, version)) = &subject.distribution {
        components.push(json!({"type": "operating-system", "bom-ref": format!("os:{name}@{version}"), "name": name, "version": version}));
    }
    let mut component =
        json!({"type": "container", "bom-ref": subject.id, "name": subject.name, "version": subject.id});
    if let Some(purl) = &subject.purl {
        component["purl"] = json!(purl);
    }
    json!({
        "bomFormat": "CycloneDX",
        "specVersion": version,
        "serialNumber": subject.urn(BillFormat::CycloneDx),
        "version": 1,
        "metadata": {
            "tools": {"components": [{"type": "application", "name": "hoist", "version": env!("CARGO_PKG_VERSION")}]},
            "component": component,
        },
        "components": components,
        "dependencies": dependencies,
    })
}

/// `1.10` is newer than `1.9`.
fn is_newer(one: &str, other: &str) -> bool {
    let minor = |version: &str| version.split_once('.').and_then(|(_, minor)| minor.parse::<u32>().ok());
    minor(one) > minor(other)
}

/// Whether a document of a buildpack that installs packages of the system has that one with its licences and hashes.
fn is_there(names: &BTreeSet<String>, parts: &[Value], package: &OsPackage) -> bool {
    let is = |one: &Map<String, Value>| {
        text(one, "name") == Some(&package.name)
            && text(one, "version").or_else(|| text(one, "versionInfo")) == Some(&package.version)
    };
    names.contains(&package.name)
        && parts.iter().any(|part| items(part, "components").chain(items(part, "packages")).any(is))
}

fn spdx(subject: &Subject, parts: &[Value], packages: &[OsPackage]) -> Value {
    let root = "SPDXRef-Image";
    let (mut names, mut licences) = (Names::default(), Names::default());
    let (mut all, mut relationships, mut texts) = (Vec::new(), Vec::new(), Vec::new());
    let contains = |id: &str| json!({"spdxElementId": root, "relationshipType": "CONTAINS", "relatedSpdxElement": id});
    for part in parts {
        let mut renamed = BTreeMap::new();
        for one in items(part, "hasExtractedLicensingInfos") {
            // The text of a licence that two documents call alike is the same, or one of the two is as good.
            if text(one, "licenseId").is_some_and(|id| licences.take(id, &Value::Null).1) {
                texts.push(Value::Object(one.clone()));
            }
        }
        for one in items(part, "packages") {
            let Some(id) = text(one, "SPDXID") else { continue };
            let (own, is_new) = names.take(id, &Value::Object(one.clone()));
            if is_new {
                let mut package = one.clone();
                package.insert("SPDXID".to_owned(), json!(own));
                all.push(Value::Object(package));
                relationships.push(contains(&own));
            }
            renamed.insert(id.to_owned(), own);
        }
        for one in items(part, "relationships") {
            let ends = ["spdxElementId", "relatedSpdxElement"].map(|key| text(one, key).and_then(|id| renamed.get(id)));
            if let [Some(from), Some(to)] = ends {
                let kind = text(one, "relationshipType").unwrap_or("OTHER");
                relationships.push(json!({"spdxElementId": from, "relationshipType": kind, "relatedSpdxElement": to}));
            }
        }
    }
    let known: BTreeSet<String> = all.iter().filter_map(|one| one["name"].as_str().map(str::to_owned)).collect();
    for package in packages.iter().filter(|package| !is_there(&known, parts, package)) {
        let plain = |text: &str| text.replace(|c: char| !c.is_ascii_alphanumeric() && c != '.', "-");
        let id = format!("SPDXRef-Package-{}-{}-{}", package.kind, plain(&package.name), plain(&package.version));
        let purl = subject.purl(package);
        let (own, _) = names.take(&id, &json!(purl));
        relationships.push(contains(&own));
        all.push(json!({
            "SPDXID": own, "name": package.name, "versionInfo": package.version, "downloadLocation": "NOASSERTION",
            "filesAnalyzed": false, "licenseConcluded": "NOASSERTION", "licenseDeclared": "NOASSERTION", "copyrightText": "NOASSERTION",
            "externalRefs": [{"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": purl}],
        }));
    }
    let mut own = json!({
        "SPDXID": root, "name": subject.name, "versionInfo": subject.id, "downloadLocation": "NOASSERTION", "filesAnalyzed": false,
        "licenseConcluded": "NOASSERTION", "licenseDeclared": "NOASSERTION", "copyrightText": "NOASSERTION", "primaryPackagePurpose": "CONTAINER",
    });
    if let Some(purl) = &subject.purl {
        own["externalRefs"] =
            json!([{"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": purl}]);
    }
    all.insert(0, own);
    relationships.insert(
        0,
        json!({"spdxElementId": "SPDXRef-DOCUMENT", "relationshipType": "DESCRIBES", "relatedSpdxElement": root}),
    );
    let mut document = json!({
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": subject.name,
        "documentNamespace": subject.urn(BillFormat::Spdx),
        // As the image itself, which has no time of its own.
        "creationInfo": {"created": "1980-01-01T00:00:01Z", "creators": [format!("Tool: hoist-{}", env!("CARGO_PKG_VERSION"))]},
        "packages": all,
        "relationships": relationships,
    });
    if !texts.is_empty() {
        document["hasExtractedLicensingInfos"] = Value::Array(texts);
    }
    document
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject() -> Subject {
        let id = format!("sha256:{}", "0".repeat(64));
        Subject { name: "shop".into(), purl: None, id, distribution: Some(("debian".into(), "13".into())) }
    }

    fn package(name: &str) -> OsPackage {
        OsPackage { name: name.into(), version: "1+2".into(), architecture: "amd64".into(), kind: "deb" }
    }

    #[test]
    fn what_two_documents_say_of_the_same_thing_stands_there_once() {
        let flask =
            json!({"type": "library", "bom-ref": "a", "name": "flask", "version": "3", "purl": "pkg:pypi/flask@3"});
        let other = json!({"type": "library", "bom-ref": "a", "name": "other", "version": "1"});
        let parts = [
            json!({"specVersion": "1.6", "components": [flask], "dependencies": [{"ref": "a", "dependsOn": ["a", "gone"]}]}),
            json!({"specVersion": "1.4", "components": [flask, other, 7], "dependencies": [{"ref": "a", "dependsOn": []}]}),
            json!("no document"),
        ];
        let all = cyclonedx(&subject(), &parts, &[package("libc6"), package("flask")]);
        let names: Vec<&str> =
            all["components"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["flask", "other", "libc6", "flask", "debian"]);
        assert_eq!(all["components"][1]["bom-ref"], "a-2");
        assert_eq!(all["components"][2]["purl"], "pkg:deb/debian/libc6@1%2B2?arch=amd64&distro=debian-13");
        assert_eq!(
            (&all["specVersion"], &all["dependencies"][0]),
            (&json!("1.6"), &json!({"ref": "a", "dependsOn": ["a"]}))
        );
        assert_eq!(all["metadata"]["component"]["type"], "container");
    }

    #[test]
    fn one_document_of_spdx_describes_the_image_and_contains_the_rest() {
        let flask = json!({"SPDXID": "SPDXRef-Package-flask-3", "name": "flask", "versionInfo": "3", "licenseDeclared": "LicenseRef-x"});
        let texts = json!([{"licenseId": "LicenseRef-x", "extractedText": "x"}]);
        let part = json!({"packages": [flask], "hasExtractedLicensingInfos": texts,
            "relationships": [{"spdxElementId": "SPDXRef-DOCUMENT", "relationshipType": "DESCRIBES", "relatedSpdxElement": "SPDXRef-Package-flask-3"}]});
        let all = spdx(&subject(), &[part.clone(), part], &[package("libc6")]);
        let names: Vec<&str> =
            all["packages"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["shop", "flask", "libc6"]);
        assert_eq!(all["packages"][2]["SPDXID"], "SPDXRef-Package-deb-libc6-1-2");
        let kinds: Vec<&str> = all["relationships"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["relationshipType"].as_str().unwrap())
            .collect();
        assert_eq!(kinds, ["DESCRIBES", "CONTAINS", "CONTAINS"]);
        assert_eq!(all["hasExtractedLicensingInfos"].as_array().unwrap().len(), 1);
        assert!(all["documentNamespace"].as_str().unwrap().starts_with("urn:uuid:"));
    }
}
