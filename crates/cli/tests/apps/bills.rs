//! The bills of materials that a build wrote: what they list, and where they break a rule of their formats (CycloneDX 1.5, SPDX 2.3) or differ.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// What the bills of an image say.
#[derive(Debug, Default)]
pub struct Bills {
    /// `name` and `name version` of all components.
    pub names: BTreeSet<String>,
    /// What is wrong with them.
    pub wrong: Vec<String>,
}

/// Reads the bills below `<sbom>/launch`, each in both formats.
pub fn read(dir: &Path) -> Bills {
    let mut bills = Bills::default();
    for cyclonedx_path in find(dir) {
        let spdx_path = cyclonedx_path.with_file_name("sbom.spdx.json");
        let layer_dir = cyclonedx_path.parent().unwrap_or(dir);
        let buildpack = layer_dir.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy().into_owned();
        let mut wrong = Vec::new();
        let (cyclonedx, spdx) = (document(&cyclonedx_path), document(&spdx_path));
        check_cyclonedx(&cyclonedx, &buildpack, &mut wrong);
        check_spdx(&spdx, &buildpack, &mut wrong);
        let components = all(&cyclonedx["components"], ["name", "version", "purl"]);
        let packages = all(&spdx["packages"], ["name", "versionInfo", ""]);
        let in_both = |one: &[String; 3], other: &[String; 3]| one[..2] == other[..2];
        if components.len() != packages.len() || !components.iter().zip(&packages).all(|(a, b)| in_both(a, b)) {
            wrong.push(format!("CycloneDX lists {components:?}, SPDX {packages:?}"));
        }
        for [name, version, _] in components {
            bills.names.insert(format!("{name} {version}"));
            bills.names.insert(name);
        }
        bills.wrong.extend(wrong.into_iter().map(|what| format!("the bill of {}: {what}", layer_dir.display())));
    }
    bills
}

fn find(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for path in fs_err::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.file_name().is_some_and(|name| name == "sbom.cdx.json") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn document(path: &Path) -> Value {
    let text = fs_err::read_to_string(path).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_default()
}

fn all(list: &Value, keys: [&str; 3]) -> Vec<[String; 3]> {
    let text = |value: &Value, key: &str| value[key].as_str().unwrap_or_default().to_owned();
    let one = |value: &Value| keys.map(|key| text(value, key));
    list.as_array().into_iter().flatten().map(one).collect()
}

fn check_cyclonedx(document: &Value, buildpack: &str, wrong: &mut Vec<String>) {
    let mut must = must(wrong, "CycloneDX");
    must(document["bomFormat"] == "CycloneDX" && document["specVersion"] == "1.5", "its format is another");
    must(document.get("serialNumber").is_none(), "a serial number is of chance");
    must(document["metadata"].get("timestamp").is_none(), "a time is of the moment");
    let tool = document["metadata"]["tools"]["components"][0]["name"].as_str().unwrap_or_default();
    must(tool.replace('/', "_") == buildpack, &format!("{tool:?} made it, and it lies at {buildpack}"));
    let mut references = BTreeSet::new();
    for component in document["components"].as_array().into_iter().flatten() {
        let purl = component["purl"].as_str().unwrap_or_default();
        must(purl.starts_with("pkg:") && purl.contains('@'), &format!("{purl:?} is no package URL"));
        must(references.insert(component["bom-ref"].to_string()), &format!("{purl} is there twice"));
        let hashes = component["hashes"].as_array().into_iter().flatten();
        for hash in hashes {
            must(hash["alg"] == "SHA-256" && is_sha256(&hash["content"]), &format!("{purl} has the hash {hash}"));
        }
        let licences: Vec<&Value> = component["licenses"].as_array().into_iter().flatten().collect();
        let is_one = |licence: &&Value| licence["license"]["id"].is_string() != licence["license"]["name"].is_string();
        let is_expression = licences.len() == 1 && licences[0]["expression"].is_string();
        must(is_expression || licences.iter().all(is_one), &format!("{purl} has the licences {licences:?}"));
    }
}

fn check_spdx(document: &Value, buildpack: &str, wrong: &mut Vec<String>) {
    let mut must = must(wrong, "SPDX");
    must(document["spdxVersion"] == "SPDX-2.3" && document["dataLicense"] == "CC0-1.0", "its format is another");
    must(document["SPDXID"] == "SPDXRef-DOCUMENT" && document["name"].is_string(), "it has no name");
    must(document["creationInfo"]["created"] == "1980-01-01T00:00:01Z", "a time is of the moment");
    let namespace = document["documentNamespace"].as_str().unwrap_or_default();
    must(namespace.len() == 45 && namespace.starts_with("urn:uuid:"), "its name is no address");
    let creator = document["creationInfo"]["creators"][0].as_str().unwrap_or_default();
    let tool = creator.strip_prefix("Tool: ").and_then(|tool| tool.rsplit_once('-')).unwrap_or_default().0;
    must(tool.replace('/', "_") == buildpack, &format!("{creator:?} made it, and it lies at {buildpack}"));
    let list = |name: &str| document[name].as_array().cloned().unwrap_or_default();
    let described: BTreeSet<String> = list("relationships")
        .iter()
        .filter(|one| one["spdxElementId"] == "SPDXRef-DOCUMENT" && one["relationshipType"] == "DESCRIBES")
        .map(|one| one["relatedSpdxElement"].to_string())
        .collect();
    let texts: BTreeSet<String> = list("hasExtractedLicensingInfos")
        .iter()
        .filter(|one| one["extractedText"].as_str().is_some_and(|text| !text.is_empty()))
        .map(|one| one["licenseId"].as_str().unwrap_or_default().to_owned())
        .collect();
    let mut ids = BTreeSet::new();
    for package in list("packages") {
        let id = package["SPDXID"].as_str().unwrap_or_default();
        let is_id = id.strip_prefix("SPDXRef-").is_some_and(is_idstring) && ids.insert(id.to_owned());
        must(is_id && described.contains(&package["SPDXID"].to_string()), &format!("{id:?} is no id"));
        must(
            package["filesAnalyzed"] == false && package["downloadLocation"].is_string(),
            &format!("{id} lacks a part"),
        );
        must(package["externalRefs"][0]["referenceType"] == "purl", &format!("{id} has no package URL"));
        for checksum in package["checksums"].as_array().into_iter().flatten() {
            let is_good = checksum["algorithm"] == "SHA256" && is_sha256(&checksum["checksumValue"]);
            must(is_good, &format!("{id} has the checksum {checksum}"));
        }
        let declared = package["licenseDeclared"].as_str().unwrap_or_default();
        must(!declared.is_empty(), &format!("{id} declares no licence"));
        for word in declared.split([' ', '(', ')']).filter(|word| word.starts_with("LicenseRef-")) {
            must(is_idstring(word) && texts.contains(word), &format!("{word} has no text"));
        }
    }
}

fn must<'a>(wrong: &'a mut Vec<String>, format: &'a str) -> impl FnMut(bool, &str) + 'a {
    move |holds, otherwise| {
        if !holds {
            wrong.push(format!("{format}: {otherwise}"));
        }
    }
}

fn is_idstring(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-".contains(&byte))
}

fn is_sha256(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()))
}
