//! A bill as SPDX 2.3 JSON. The time that the format demands is the build's `SOURCE_DATE_EPOCH`; the name that it demands for each document is made from
//! what stands in it.

use std::collections::BTreeMap;

use hoist_debian::{Sha256, hex};
use serde_json::{Value, json};

use super::licence::Term;
use super::{Bill, Component, Kind, Licences};

/// What the format has for what is not known.
const UNKNOWN: &str = "NOASSERTION";
const REFERENCE: &str = "LicenseRef-";

/// The document.
pub(super) fn document(bill: &Bill) -> String {
    let mut extracted = BTreeMap::new();
    let ids: Vec<String> = (0..bill.components.len()).map(|number| id(bill, number)).collect();
    let packages: Vec<Value> =
        bill.components.iter().zip(&ids).map(|(one, id)| package(one, id, &mut extracted)).collect();
    let relationships: Vec<Value> = ids
        .iter()
        .map(|id| json!({ "spdxElementId": "SPDXRef-DOCUMENT", "relationshipType": "DESCRIBES", "relatedSpdxElement": id }))
        .collect();
    let mut document = json!({
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": bill.tool,
        "documentNamespace": "",
        "creationInfo": {
            "created": created(bill.created_secs),
            "creators": [format!("Tool: {}-{}", bill.tool, crate::shipped::VERSION)],
        },
        "packages": packages,
        "relationships": relationships,
    });
    if !extracted.is_empty() {
        let texts = extracted
            .into_iter()
            .map(|(id, text)| json!({ "licenseId": id, "name": text, "extractedText": text }))
            .collect::<Vec<_>>();
        document["hasExtractedLicensingInfos"] = texts.into();
    }
    document["documentNamespace"] = name_of(&document.to_string()).into();
    document.to_string()
}

fn package(component: &Component, id: &str, extracted: &mut BTreeMap<String, String>) -> Value {
    let mut value = json!({
        "SPDXID": id,
        "name": component.name,
        "versionInfo": component.version,
        "downloadLocation": component.download.as_deref().unwrap_or(UNKNOWN),
        "filesAnalyzed": false,
        "licenseConcluded": UNKNOWN,
        "licenseDeclared": declared(&component.licences, extracted),
        "copyrightText": UNKNOWN,
        "primaryPackagePurpose": match component.kind {
            Kind::Library => "LIBRARY",
            Kind::Application => "APPLICATION",
        },
        "externalRefs": [{
            "referenceCategory": "PACKAGE-MANAGER",
            "referenceType": "purl",
            "referenceLocator": component.purl,
        }],
    });
    if !component.summary.is_empty() {
        value["summary"] = component.summary.clone().into();
    }
    if let Some(hash) = &component.sha256 {
        value["checksums"] = json!([{ "algorithm": "SHA256", "checksumValue": hash }]);
    }
    if let Some(name) = &component.archive {
        value["packageFileName"] = name.clone().into();
    }
    if let Some(hash) = &component.record_sha256 {
        value["comment"] = format!("SHA-256 of RECORD, the list of its files: {hash}").into();
    }
    value
}

/// All terms as one expression; names get a reference, and a text below `hasExtractedLicensingInfos`.
fn declared(licences: &Licences, extracted: &mut BTreeMap<String, String>) -> String {
    let mut expressions = Vec::new();
    for term in licences.terms() {
        match term {
            Term::Expression(text) => {
                for reference in references(text) {
                    extracted.entry(reference.to_owned()).or_insert_with(|| reference[REFERENCE.len()..].to_owned());
                }
                expressions.push(text.clone());
            }
            Term::Name(name) => {
                let reference = reference_of(name, extracted);
                extracted.insert(reference.clone(), name.clone());
                expressions.push(reference);
            }
        }
    }
    if expressions.is_empty() { UNKNOWN.to_owned() } else { Licences::all_of(&expressions) }
}

/// `LicenseRef-…` in an expression.
fn references(expression: &str) -> impl Iterator<Item = &str> {
    let words = expression.split(|c: char| c.is_whitespace() || matches!(c, '(' | ')' | '+'));
    words.filter(|word| word.starts_with(REFERENCE))
}

/// A reference for a name, which no other name has.
fn reference_of(name: &str, extracted: &BTreeMap<String, String>) -> String {
    let plain = format!("{REFERENCE}{}", idstring(name));
    match extracted.get(&plain) {
        Some(other) if other != name => format!("{plain}-{}", &hex(&Sha256::digest(name))[..8]),
        _ => plain,
    }
}

/// Letters, digits, `.` and `-` are what ids are made of.
fn idstring(text: &str) -> String {
    let mut result = String::new();
    for letter in text.chars().take(80) {
        if letter.is_ascii_alphanumeric() || letter == '.' {
            result.push(letter);
        } else if !result.ends_with('-') {
            result.push('-');
        }
    }
    result.trim_matches('-').to_owned()
}

/// The id of a package; the number keeps apart what would be spelt alike.
fn id(bill: &Bill, number: usize) -> String {
    let of = |component: &Component| idstring(&format!("{}-{}", component.name, component.version));
    let own = of(&bill.components[number]);
    let is_again = bill.components[..number].iter().any(|before| of(before) == own);
    if is_again { format!("SPDXRef-Package-{own}-{number}") } else { format!("SPDXRef-Package-{own}") }
}

/// `1980-01-01T00:00:01Z`: without parts of a second.
fn created(seconds: i64) -> String {
    let time = jiff::Timestamp::from_second(seconds).or_else(|_| jiff::Timestamp::from_second(super::EPOCH_SECS));
    time.unwrap_or_default().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A name that no other document has: a UUID of version 8 (RFC 9562, made of a hash) from the text.
fn name_of(text: &str) -> String {
    let mut digits = hex(&Sha256::digest(text))[..32].to_owned();
    digits.replace_range(12..13, "8");
    digits.replace_range(16..17, "8");
    let part = |range: std::ops::Range<usize>| &digits[range];
    format!("urn:uuid:{}-{}-{}-{}-{}", part(0..8), part(8..12), part(12..16), part(16..20), part(20..32))
}

#[cfg(test)]
mod tests {
    use super::super::{EPOCH_SECS, of_metadata};
    use super::*;

    fn bill(created_secs: i64, names: &[&str]) -> Bill {
        let one = |name: &&str| Component { name: (*name).to_owned(), version: "1".into(), ..Component::default() };
        Bill { tool: "hoist/pip", created_secs, components: names.iter().map(one).collect() }
    }

    #[test]
    fn the_same_has_the_same_name_and_another_has_another() {
        let of = |bill: &Bill| -> Value { serde_json::from_str(&document(bill)).unwrap() };
        let first = of(&bill(EPOCH_SECS, &["a"]));
        assert_eq!(first, of(&bill(EPOCH_SECS, &["a"])));
        assert_ne!(first["documentNamespace"], of(&bill(EPOCH_SECS, &["b"]))["documentNamespace"]);
        assert_eq!(first["creationInfo"]["created"], "1980-01-01T00:00:01Z");
        assert_eq!(of(&bill(1_700_000_000, &["a"]))["creationInfo"]["created"], "2023-11-14T22:13:20Z");
        assert_eq!(created(i64::MAX), "1980-01-01T00:00:01Z", "what is no time is none");
    }

    #[test]
    fn ids_are_of_the_allowed_letters_and_differ() {
        let bill = bill(EPOCH_SECS, &["a_b", "a.b", "a b", "ä"]);
        let ids: Vec<String> = (0..4).map(|number| id(&bill, number)).collect();
        assert_eq!(
            ids,
            ["SPDXRef-Package-a-b-1", "SPDXRef-Package-a.b-1", "SPDXRef-Package-a-b-1-2", "SPDXRef-Package-1"]
        );
    }

    #[test]
    fn a_name_gets_a_reference_of_its_own() {
        let mut extracted = BTreeMap::new();
        assert_eq!(declared(&of_metadata("License: Our Licence!\n"), &mut extracted), "LicenseRef-Our-Licence");
        let other = declared(&of_metadata("License: Our Licence?\n"), &mut extracted);
        assert!(other.starts_with("LicenseRef-Our-Licence-") && extracted.len() == 2, "{other} {extracted:?}");
        assert_eq!(declared(&of_metadata(""), &mut extracted), "NOASSERTION");
    }
}
