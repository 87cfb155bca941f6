//! A bill as CycloneDX 1.5 JSON. It has no serial number and no time, which the format allows.

use serde_json::{Value, json};

use super::licence::Term;
use super::{Bill, Component, Kind, Licences};

/// The document.
pub(super) fn document(bill: &Bill) -> String {
    let tool = json!({ "type": "application", "name": bill.tool, "version": crate::shipped::VERSION });
    json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": { "tools": { "components": [tool] } },
        "components": bill.components.iter().map(component).collect::<Vec<_>>(),
    })
    .to_string()
}

fn component(component: &Component) -> Value {
    let kind = match component.kind {
        Kind::Library => "library",
        Kind::Application => "application",
    };
    let mut value = json!({
        "type": kind,
        "bom-ref": component.purl,
        "name": component.name,
        "version": component.version,
        "purl": component.purl,
    });
    if !component.summary.is_empty() {
        value["description"] = component.summary.clone().into();
    }
    if let Some(hash) = &component.sha256 {
        value["hashes"] = json!([{ "alg": "SHA-256", "content": hash }]);
    }
    if !component.licences.terms().is_empty() {
        value["licenses"] = licences(&component.licences);
    }
    if let Some(url) = &component.download {
        let kind = if url.starts_with("git+") { "vcs" } else { "distribution" };
        value["externalReferences"] = json!([{ "type": kind, "url": url }]);
    }
    let known = [("hoist:archive", &component.archive), ("hoist:record-sha256", &component.record_sha256)];
    let properties: Vec<Value> =
        known.into_iter().filter_map(|(name, value)| Some(json!({ "name": name, "value": value.as_ref()? }))).collect();
    if !properties.is_empty() {
        value["properties"] = properties.into();
    }
    value
}

/// The format takes either one expression or licences one by one, never both.
fn licences(licences: &Licences) -> Value {
    let is_compound = |term: &Term| matches!(term, Term::Expression(text) if !is_id(text));
    if licences.terms().iter().any(is_compound)
        && let Some(expression) = licences.expression()
    {
        return json!([{ "expression": expression }]);
    }
    let one = |term: &Term| match term {
        Term::Expression(id) if is_id(id) => json!({ "license": { "id": id } }),
        Term::Expression(text) | Term::Name(text) => json!({ "license": { "name": text } }),
    };
    licences.terms().iter().map(one).collect::<Vec<_>>().into()
}

fn is_id(expression: &str) -> bool {
    spdx::license_id(expression).is_some()
}
