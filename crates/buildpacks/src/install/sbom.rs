//! The bill of materials of an environment: CycloneDX 1.5 JSON of what is really installed. No time and no serial number, so that the same
//! environment has the same bill.

use fs_err as fs;
use serde_json::{Value, json};

use super::distributions::{Distribution, parse_metadata};
use super::lock::Lock;

/// The bill of what the buildpack of this id installed.
pub(crate) fn cyclonedx(buildpack: &str, distributions: &[Distribution], lock: &Lock) -> String {
    let components: Vec<Value> = distributions.iter().map(|distribution| component(distribution, lock)).collect();
    let document = json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": { "tools": { "components": [{ "type": "application", "name": buildpack, "version": crate::shipped::VERSION }] } },
        "components": components,
    });
    document.to_string()
}

fn component(distribution: &Distribution, lock: &Lock) -> Value {
    let metadata = parse_metadata(&fs::read_to_string(distribution.info_dir.join("METADATA")).unwrap_or_default());
    let purl = format!("pkg:pypi/{}@{}", distribution.name, distribution.version.replace('+', "%2B"));
    let mut value = json!({
        "type": "library",
        "bom-ref": purl.clone(),
        "name": if metadata.name.is_empty() { &distribution.name } else { &metadata.name },
        "version": distribution.version,
        "purl": purl,
    });
    if let Some(summary) = metadata.summary {
        value["description"] = summary.into();
    }
    if let Some(hash) = lock.hash_of(&distribution.name) {
        value["hashes"] = json!([{ "alg": "SHA-256", "content": hash }]);
    }
    if let Some(expression) = metadata.license_expression {
        value["licenses"] = json!([{ "expression": expression }]);
    } else if let Some(text) = metadata.license_text {
        value["licenses"] = json!([{ "license": { "name": text } }]);
    }
    value
}
